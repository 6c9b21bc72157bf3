//! `port-exhaustion`: all ephemeral ports towards one place are taken, and nobody here can connect to it.
//!
//! Needs: as many connections from one own address to one place as there are ports. Most are in TIME-WAIT when a
//! program connects anew for each request; open ones are a pool that grows.

use toban_model::{Destination, Text};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, share};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "port-exhaustion",
    about: Text::fixed(
        "no ephemeral port is left towards one place",
        "特定の接続先に対するエフェメラルポートを使い切っています",
    ),
    rules_out: &["conntrack-full", "fd-exhaustion"],
    needs: Needs::Nothing,
    judge,
};

const SAID: &[(&str, &str)] = &[("no-port", "Cannot assign requested address")];
/// A program with this part of the open connections is who connects.
const MOST: f64 = 0.5;

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(ports) = &picture.situation.holdings.ports else { return Judged::Unknown };
    let limit = ports.limit;
    let full = ports.destinations.iter().find_map(|to| Some((to, to.full_since?)));
    let Some((to, seen)) = full else {
        let most = ports.destinations.first().map_or(0, |to| to.used);
        let (most_en, most_ja) = if most > 0 {
            (format!("{most}"), format!("{most}"))
        } else {
            ("fewer than half".into(), "半数未満".into())
        };
        return Judged::Not(Text::new(
            format!("{most_en} of {limit} ephemeral ports are taken towards any one place"),
            format!("1 つの接続先に対するエフェメラルポートの使用は {limit} のうち {most_ja} です"),
        ));
    };
    let since = holdings::since(picture, SAID, seen);
    let open: u32 = to.owners.iter().map(|(_, n)| n).sum();
    let first = to.owners.first().filter(|(_, n)| f64::from(*n) >= MOST * f64::from(open.max(1)));
    let (place, used, waiting) = (to.to, to.used, to.time_wait);
    let (by_en, by_ja) = match first {
        Some((owner, _)) => {
            let owner = holdings::owner(owner);
            (format!("They are {owner}'s."), format!("接続しているのは {owner} です。"))
        }
        None => ("Who connects is not clear.".into(), "どのプロセスが接続しているかは不明です。".into()),
    };
    Judged::Is(Candidate {
        confidence: if holdings::said(picture, "no-port").is_empty() { 0.88 } else { 0.96 },
        culprits: first
            .iter()
            .map(|(owner, n)| holdings::process(picture, owner, share(f64::from(*n), f64::from(open))))
            .collect(),
        evidence: vec![evidence(
            "ports",
            Text::new(format!("connections to {place}"), format!("{place} への接続")),
            Text::new(
                format!("{used} of {limit} ports: {waiting} in TIME-WAIT, {} open", to.established),
                format!("{limit} ポートのうち {used}: TIME-WAIT {waiting}、使用中 {}", to.established),
            ),
            f64::from(used),
            None,
            "sock_diag",
        )],
        summary: Text::new(
            format!(
                "No port is left for another connection to {place}: {used} of {limit} are taken, {waiting} of them in TIME-WAIT.\n{by_en}"
            ),
            format!(
                "{place} への新しい接続に使えるポートがありません。{limit} のうち {used} を使用中で、うち {waiting} は TIME-WAIT です。\n{by_ja}"
            ),
        ),
        advice: advice(to, limit),
        since: Some(since),
        resource: holdings::resource(picture, &format!("ports:{place}")).cloned(),
        effects: holdings::effects(picture, SAID, since),
        ..Candidate::default()
    })
}

fn advice(to: &Destination, limit: u32) -> Vec<Text> {
    let mut all = Vec::new();
    if to.time_wait > to.established {
        all.push(Text::fixed(
            "let ports in TIME-WAIT be used again after a second: sysctl -w net.ipv4.tcp_tw_reuse=1",
            "TIME-WAIT のポートを 1 秒後に再利用できるようにしてください: sysctl -w net.ipv4.tcp_tw_reuse=1",
        ));
    } else {
        let place = to.to;
        all.push(Text::new(
            format!("see what the open connections wait for: ss -tnpo dst {place} | head"),
            format!("使用中の接続が何を待っているか確認してください: ss -tnpo dst {place} | head"),
        ));
    }
    if limit < 60_000 {
        all.push(Text::fixed(
            "more ports: sysctl -w net.ipv4.ip_local_port_range='1024 65535' (reserve what services listen on in net.ipv4.ip_local_reserved_ports)",
            "ポートの範囲を広げてください: sysctl -w net.ipv4.ip_local_port_range='1024 65535'(サービスの待ち受けポートは net.ipv4.ip_local_reserved_ports で除外)",
        ));
    }
    all.push(Text::fixed(
        "for good: let the client keep its connections (keepalive, a pool) instead of a new one for each request",
        "恒久対策: リクエストごとに接続せず、接続を再利用してください(keepalive、コネクションプール)",
    ));
    all
}

#[cfg(test)]
mod tests {
    use toban_model::{Owner, Ports, ProcessId, Situation, Time};

    use super::*;
    use crate::diagnose;

    #[test]
    fn the_client_is_named_and_a_busy_one_is_not() {
        let at = Time::from_secs(1_700_000_000);
        let owner = |comm: &str, pid| Owner {
            process: ProcessId { pid, start_ticks: 1 },
            comm: comm.into(),
            unit: None,
        };
        let situation = |used, full| Situation {
            at,
            holdings: toban_model::Holdings {
                ports: Some(Ports {
                    limit: 28_232,
                    destinations: vec![Destination {
                        from: "192.0.2.1".parse().unwrap(),
                        to: "192.0.2.5:3306".parse().unwrap(),
                        used,
                        time_wait: used - 40,
                        established: 40,
                        owners: vec![(owner("php-fpm8.2", 9), 38), (owner("cron", 3), 2)],
                        full_since: Some(at).filter(|_| full),
                    }],
                }),
                ..Default::default()
            },
            ..Situation::default()
        };
        let found = diagnose(&situation(28_230, true)).findings;
        assert_eq!((found[0].cause.as_str(), found[0].culprits.len()), ("port-exhaustion", 1));
        assert_eq!(found[0].culprits[0].value, "php-fpm8.2");
        assert!(found[0].advice[0].en.contains("tcp_tw_reuse=1"));
        assert_eq!(diagnose(&situation(20_000, false)).findings, []);
    }
}
