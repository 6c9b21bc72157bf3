//! `network-saturation`: a link carries all that it can, or throws packets away for want of room.
//!
//! Needs: a link of known speed near it, or growing overruns. It is an incident when something suffers by it; a backup
//! that uses a free link well is not.

use std::time::Duration;

use toban_model::{Culprit, CulpritKind, Link, Talker, Text, Time, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, bytes, share};
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "network-saturation",
    about: Text::fixed(
        "a network link carries all that it can, or loses packets",
        "ネットワーク回線が上限に達しているか、パケットを取りこぼしています",
    ),
    rules_out: &["conntrack-full"],
    needs: Needs::Nothing,
    judge,
};

/// Whose bytes are this part of what the link carries fills it.
const MOST: f64 = 0.5;
/// Segments sent again, as a part of the packets sent: more than this is felt.
const RESENT: f64 = 0.02;
/// A burst is shorter.
const LASTS: Duration = Duration::from_secs(30);

fn judge(picture: &Picture<'_>) -> Judged {
    let found = &picture.situation.holdings;
    let full = found.links.iter().find_map(|link| Some((link, link.full_since?)));
    let losing = found.links.iter().find_map(|link| Some((link, link.losing_since?)));
    let Some((link, seen)) = full.or(losing) else {
        let share = |link: &Link| Some(link.received_bytes_s.max(link.sent_bytes_s) / link.speed_bytes_s?);
        let busiest = found.links.iter().filter_map(|link| Some((share(link)?, link)));
        return match busiest.max_by(|a, b| a.0.total_cmp(&b.0)) {
            Some((share, link)) => {
                let (name, percent) = (clean(&link.name), share * 100.0);
                Judged::Not(Text::new(
                    format!("{name} carries {percent:.0} % of its speed"),
                    format!("{name} の使用率は {percent:.0} % です"),
                ))
            }
            None => Judged::Unknown,
        };
    };
    let suffers = suffers(picture, link, seen);
    let lasts = picture.situation.at.since(seen) >= LASTS;
    if full.is_none() && !suffers && !lasts {
        return Judged::Unknown;
    }
    let verdict = if suffers { Verdict::Incident } else { Verdict::Watch };
    Judged::Is(candidate(picture, link, seen, verdict))
}

/// Whether more than the link's own numbers are out of order.
fn suffers(picture: &Picture<'_>, link: &Link, seen: Time) -> bool {
    let rate = |name: &str| {
        picture.situation.vitals.iter().find(|vital| vital.name == name).map(|vital| vital.value)
    };
    let sent = rate("ip.sent").unwrap_or(0.0);
    let resent = rate("tcp.retransmits").unwrap_or(0.0);
    let loses = link.losing_since.is_some() && link.full_since.is_some();
    loses || sent > 0.0 && resent >= RESENT * sent || !holdings::effects(picture, &[], seen).is_empty()
}

fn candidate(picture: &Picture<'_>, link: &Link, seen: Time, verdict: Verdict) -> Candidate {
    let name = clean(&link.name).into_owned();
    let sends = link.sent_bytes_s >= link.received_bytes_s;
    let now = link.sent_bytes_s.max(link.received_bytes_s);
    let of = |talker: &Talker| if sends { talker.sent_bytes_s } else { talker.received_bytes_s };
    let talkers = &picture.situation.holdings.talkers;
    let first =
        talkers.iter().max_by(|a, b| of(a).total_cmp(&of(b))).filter(|talker| of(talker) >= MOST * now);
    let first = first.filter(|talker| !picture.situation.balancers.contains(&talker.peer));
    let rate = bytes(now);
    let (way_en, way_ja) = if sends { ("sends", "送信") } else { ("receives", "受信") };
    let (state_en, state_ja) = match link.speed_bytes_s.filter(|_| link.full_since.is_some()) {
        Some(speed) => {
            let speed = bytes(speed);
            (
                format!("{name} {way_en} {rate} a second, all that it can ({speed})."),
                format!("{name} の{way_ja}が毎秒 {rate} で、上限({speed})に達しています。"),
            )
        }
        None => {
            let percent = link.lost_share * 100.0;
            (
                format!("{name} loses {percent:.1} % of the packets that arrive."),
                format!("{name} が受信パケットの {percent:.1} % を取りこぼしています。"),
            )
        }
    };
    let (by_en, by_ja) = match first {
        Some(talker) => {
            let (peer, port, rate) = (talker.peer, talker.port, bytes(of(talker)));
            let owner = talker.owner.as_ref().map(holdings::owner).unwrap_or_else(|| "?".into());
            (
                format!("{rate} a second of it are {owner} with {peer}, port {port}."),
                format!("うち毎秒 {rate} は {owner} と {peer}(ポート {port})との通信です。"),
            )
        }
        None => ("Nobody stands out.".into(), "突出した通信相手はありません。".into()),
    };
    let named: Vec<String> = talkers
        .iter()
        .take(4)
        .map(|talker| {
            let comm = talker.owner.as_ref().map_or("?".into(), |owner| clean(&owner.comm).into_owned());
            format!("{comm}–{} {}/s", talker.peer, bytes(of(talker)))
        })
        .collect();
    let mut told = Vec::new();
    if !named.is_empty() {
        let named = named.join(" · ");
        told.push(evidence(
            "talkers",
            Text::fixed("who talks most", "通信量の多い相手"),
            Text::new(named.clone(), named),
            first.map_or(0.0, of).round(),
            None,
            "sock_diag",
        ));
    }
    Candidate {
        verdict,
        confidence: if first.is_some() { 0.85 } else { 0.7 },
        culprits: first.map(|talker| culprit(picture, talker, share(of(talker), now))).into_iter().collect(),
        evidence: told,
        summary: Text::new(format!("{state_en}\n{by_en}"), format!("{state_ja}\n{by_ja}")),
        advice: vec![
            Text::fixed(
                "see the connections that move most: ss -tnpi state established | less",
                "通信量の多い接続を確認してください: ss -tnpi state established | less",
            ),
            Text::new(
                format!(
                    "slow a transfer down instead of ending it: rsync --bwlimit=20m, or tc qdisc replace dev {name} root fq_codel"
                ),
                format!(
                    "転送を止めずに抑える場合: rsync --bwlimit=20m、または tc qdisc replace dev {name} root fq_codel"
                ),
            ),
        ],
        since: Some(seen),
        resource: holdings::resource(picture, &format!("network:{}", link.name)).cloned(),
        effects: holdings::effects(picture, &[], seen),
        ..Candidate::default()
    }
}

fn culprit(picture: &Picture<'_>, talker: &Talker, share: f64) -> Culprit {
    let r#where = Where::from([
        ("port".to_owned(), talker.port.to_string()),
        ("peer".to_owned(), talker.peer.to_string()),
    ]);
    match &talker.owner {
        Some(owner) => Culprit { r#where, ..holdings::process(picture, owner, share) },
        None => Culprit {
            kind: CulpritKind::Address,
            value: talker.peer.to_string(),
            share,
            r#where,
            process: None,
        },
    }
}

#[cfg(test)]
mod tests {
    use toban_model::{Owner, ProcessId, Situation, Vital, VitalState};

    use super::*;
    use crate::diagnose;

    const NOW: Time = Time::from_secs(1_700_000_000);

    fn with(sent: f64, resent: f64, of_first: f64) -> Situation {
        let vital = |name: &str, value| Vital {
            name: name.into(),
            value,
            unit: "/s".into(),
            usual: None,
            state: VitalState::Unknown,
            since: None,
        };
        let mut situation = Situation {
            at: NOW,
            vitals: vec![vital("ip.sent", 80_000.0), vital("tcp.retransmits", resent)],
            ..Situation::default()
        };
        situation.holdings.links.push(Link {
            name: "eth0".into(),
            speed_bytes_s: Some(125e6),
            sent_bytes_s: sent,
            full_since: Some(NOW - Duration::from_secs(40)).filter(|_| sent > 112e6),
            ..Link::default()
        });
        situation.holdings.talkers.push(Talker {
            peer: "198.51.100.7".parse().unwrap(),
            port: 22,
            owner: Some(Owner {
                process: ProcessId { pid: 5, start_ticks: 1 },
                comm: "rsync".into(),
                unit: None,
            }),
            sent_bytes_s: of_first,
            received_bytes_s: 0.0,
        });
        situation
    }

    #[test]
    fn a_full_link_is_an_incident_when_it_is_felt() {
        let found = diagnose(&with(122e6, 4000.0, 110e6)).findings;
        assert_eq!((found[0].cause.as_str(), found[0].verdict), ("network-saturation", Verdict::Incident));
        assert_eq!(found[0].culprits[0].value, "rsync");
        let found = diagnose(&with(122e6, 10.0, 20e6)).findings;
        assert_eq!((found[0].verdict, found[0].culprits.len()), (Verdict::Watch, 0));
        assert_eq!(diagnose(&with(60e6, 4000.0, 50e6)).findings, []);
    }
}
