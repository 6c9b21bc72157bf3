//! `syn-flood`: connections are begun and never completed, until a listener has no room for those of others.
//!
//! Needs: a full queue of half-open connections (cookies are sent, or the kernel said so) while the accept queue has
//! room. A server that does not accept fills both: that is its own slowness, not a flood.

use std::collections::BTreeMap;

use toban_model::{
    Action, Collateral, Culprit, CulpritKind, HalfOpen, ListenQueue, Plan, Remedy, ResourceUse, Risk, Text,
    Verdict, Where,
};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "syn-flood",
    about: Text::fixed(
        "connections are begun and never completed",
        "完了しない接続要求(SYN)が大量に送られています",
    ),
    rules_out: &["http-flood", "flash-crowd", "credential-attack"],
    needs: Needs::Nothing,
    judge,
};

/// Half-open connections of a moment: people's handshakes take a tenth of a second each.
const HALF_OPEN_MIN: u32 = 16;
/// Cookies, or dropped SYNs, a second.
const COOKIES_MIN: f64 = 3.0;
/// A queue that is filled to this part has no room to speak of.
const FULL: f64 = 0.9;
/// A network with this part of the half-open connections stands out; its addresses may be forged all the same.
const STANDS_OUT: f64 = 0.3;
const BAN_FOR_S: u64 = 3600;

fn rate(picture: &Picture<'_>, names: &[&str]) -> f64 {
    let vitals = picture.situation.vitals.iter().filter(|vital| names.contains(&vital.name.as_str()));
    vitals.map(|vital| vital.value).fold(0.0, f64::max)
}

fn judge(picture: &Picture<'_>) -> Judged {
    let strangers = &picture.situation.strangers;
    let cookies = rate(picture, &["tcp.syn_cookies", "tcp.syn_queue_full"]);
    let Some(most) = strangers.half_open.iter().filter(|port| port.port != 0).max_by_key(|port| port.count)
    else {
        return Judged::Not(Text::fixed("no connection is half open", "ハーフオープンの接続はありません"));
    };
    let queue = strangers.queues.iter().find(|queue| queue.port == most.port);
    let (port, count) = (most.port, most.count);
    let no_room = |queue: &&ListenQueue| {
        queue.full_since.is_some() || f64::from(queue.len) >= FULL * f64::from(queue.limit.max(1))
    };
    if let Some(queue) = queue.filter(no_room) {
        let (len, limit) = (queue.len, queue.limit);
        return Judged::Not(Text::new(
            format!(
                "the accept queue of port {port} is full ({len} of {limit}): the {count} half-open connections wait for the server"
            ),
            format!(
                "{port} 番ポートの accept キューが満杯です({limit} のうち {len})。ハーフオープンの {count} 接続はサーバの処理待ちによるものです"
            ),
        ));
    }
    let said = picture.situation.kernel.syn_flooding.contains(&port);
    let limit = queue.map(|queue| queue.limit.saturating_add(1));
    // The queue of half-open connections is as long as the listener's backlog.
    let full = limit.is_some_and(|limit| f64::from(count) >= FULL * f64::from(limit));
    let overflows = cookies >= COOKIES_MIN;
    if count < HALF_OPEN_MIN || !(overflows || full || said && count >= HALF_OPEN_MIN * 2) {
        return Judged::Not(Text::new(
            format!("{count} half-open connections at port {port}, {cookies:.0} cookies a second"),
            format!("{port} 番ポートのハーフオープン接続は {count}、SYN cookie は毎秒 {cookies:.0} 件です"),
        ));
    }
    Judged::Is(candidate(picture, most, queue, cookies, full || overflows))
}

fn candidate(
    picture: &Picture<'_>,
    most: &HalfOpen,
    queue: Option<&ListenQueue>,
    cookies: f64,
    full: bool,
) -> Candidate {
    let (port, count) = (most.port, most.count);
    let since =
        picture.situation.symptoms.iter().filter(|s| s.what.starts_with("tcp.syn")).map(|s| s.since).min();
    let since = since.unwrap_or(picture.situation.at);
    let limit = queue.map(|queue| f64::from(queue.limit.saturating_add(1)));
    let service = queue.and_then(|queue| queue.service.clone());
    let mut r#where = Where::from([("port".to_owned(), port.to_string())]);
    if let Some(service) = service {
        r#where.insert("service".into(), service);
    }
    let networks = most.networks.iter().filter(|(_, held)| f64::from(*held) >= STANDS_OUT * f64::from(count));
    // A connection that stands is no forgery: who completes handshakes from there can be dropped by name.
    let real = |network: &toban_model::Prefix| {
        picture.situation.strangers.attempts.iter().any(|attempt| {
            attempt.clients.iter().any(|client| toban_model::same_family_contains(network, *client))
        })
    };
    let networks: Vec<_> = networks.collect();
    let culprits = networks.iter().map(|(network, held)| Culprit {
        kind: CulpritKind::Prefix,
        value: network.to_string(),
        share: (f64::from(*held) / f64::from(count) * 100.0).round() / 100.0,
        r#where: r#where.clone(),
        process: None,
    });
    let (from_en, from_ja) = match &networks[..] {
        [] => ("from everywhere".to_owned(), "送信元は分散しています".to_owned()),
        some => {
            let list = some.iter().map(|(network, _)| network.to_string()).collect::<Vec<_>>().join(", ");
            (
                format!("most from {list} (which may be forged)"),
                format!("多くは {list} からです(送信元は偽装の可能性があります)"),
            )
        }
    };
    let bans: Vec<_> = networks.iter().map(|(network, _)| *network).filter(real).collect();
    let of = limit.map_or("?".to_owned(), |limit| format!("{limit:.0}"));
    Candidate {
        verdict: if full { Verdict::Incident } else { Verdict::Watch },
        confidence: if cookies >= COOKIES_MIN { 0.92 } else { 0.8 },
        culprits: culprits.collect(),
        evidence: vec![
            tell::evidence(
                "half-open",
                Text::new(
                    format!("half-open connections, port {port}"),
                    format!("{port} 番ポートのハーフオープン接続"),
                ),
                Text::new(format!("{count} of {of}; {from_en}"), format!("{of} のうち {count}。{from_ja}")),
                f64::from(count),
                None,
                "sock_diag",
            ),
            tell::evidence(
                "syn-cookies",
                Text::fixed("SYN cookies sent", "SYN cookie の送出"),
                Text::new(format!("{cookies:.0} a second"), format!("毎秒 {cookies:.0} 件")),
                cookies,
                Some(0.0),
                "procfs",
            ),
        ],
        summary: Text::new(
            format!(
                "Port {port} is sent connections that are never completed: {count} half open, {cookies:.0} cookies a second; {from_en}."
            ),
            format!(
                "{port} 番ポートに、完了しない接続要求が送られています。ハーフオープンは {count} 接続、SYN cookie は毎秒 {cookies:.0} 件です。{from_ja}。"
            ),
        ),
        remedies: ban(bans, port).into_iter().collect(),
        advice: vec![
            Text::fixed(
                "see that cookies are on: `sysctl net.ipv4.tcp_syncookies` (1); with them the service goes on",
                "`sysctl net.ipv4.tcp_syncookies` が 1 であることを確認してください。有効であればサービスは継続できます",
            ),
            Text::fixed(
                "lengthen the queues: `sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192`, and the server's own backlog",
                "`sysctl -w net.core.somaxconn=4096 net.ipv4.tcp_max_syn_backlog=8192` とサーバ側の backlog でキューを長くしてください",
            ),
            Text::fixed(
                "if the line itself fills up, only the provider upstream can drop it",
                "回線自体が埋まる場合は、上流の事業者に遮断を依頼してください",
            ),
        ],
        since: Some(since),
        resource: Some(ResourceUse {
            name: format!("syn-queue:{port}"),
            used: f64::from(count),
            limit,
            usual: None,
            exhausted_since: full.then_some(since),
            limit_from: Some("net.core.somaxconn".into()),
        }),
        effects: Vec::new(),
    }
}

fn ban(prefixes: Vec<toban_model::Prefix>, port: u16) -> Option<Remedy> {
    if prefixes.is_empty() {
        return None;
    }
    let list = prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    Some(Remedy {
        id: 0,
        text: Text::new(
            format!("drop {list} on {port} for 1 h"),
            format!("{list} からの {port} 番ポート宛て通信を 1 時間遮断します"),
        ),
        risk: Risk::Medium,
        reversible: true,
        plan: Plan {
            cause: CAUSE.id.to_owned(),
            reason: Text::fixed(
                "syn-flood: most half-open connections",
                "syn-flood: ハーフオープン接続の大半",
            ),
            steps: vec![Action::Ban { prefixes, ports: vec![port], for_s: BAN_FOR_S }],
            predicted: BTreeMap::new(),
            collateral: Collateral::default(),
        },
    })
}
