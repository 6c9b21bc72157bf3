//! `conntrack-full`: the table of tracked connections is full, and the kernel drops the packets of new ones.
//!
//! Needs: the table at its limit, or the kernel's word that it is. One network with most of the entries is named;
//! a table that is too small for what usually comes names nobody.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toban_model::{Culprit, CulpritKind, Prefix, Text, Tracked, Where, prefix_of};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, share};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "conntrack-full",
    about: Text::fixed(
        "the table of tracked connections is full: packets of new connections are dropped",
        "conntrack テーブルが満杯で、新しい接続のパケットが破棄されています",
    ),
    rules_out: &["port-exhaustion", "network-saturation"],
    needs: Needs::Nothing,
    judge,
};

/// A source with this part of the table has filled it.
const MOST: f64 = 0.5;
/// So many entries must have been read to say so.
const READ_MIN: u64 = 100;

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(tracked) = &picture.situation.holdings.tracked else {
        if picture.situation.kernel.conntrack_full {
            return Judged::Is(said_only(picture));
        }
        return Judged::Unknown;
    };
    let (used, limit) = (tracked.used, tracked.limit);
    let Some(since) = tracked.full_since else {
        return Judged::Not(Text::new(
            format!("{used} of {limit} entries of the connection table are used"),
            format!("conntrack テーブルは {limit} のうち {used} を使用中です"),
        ));
    };
    let culprits = culprits(picture, tracked);
    let (by_en, by_ja) = match culprits.first() {
        Some(culprit) => {
            let (who, percent) = (&culprit.value, culprit.share * 100.0);
            (
                format!("{percent:.0} % of them were begun by {who}."),
                format!("うち {percent:.0} % は {who} が開始したものです。"),
            )
        }
        None => (
            "Nobody stands out among those who began them.".into(),
            "開始元に突出したものはありません。".into(),
        ),
    };
    let mut told = Vec::new();
    if tracked.drops_per_s > 0.0 {
        let drops = tracked.drops_per_s;
        told.push(evidence(
            "conntrack-drops",
            Text::fixed("dropped for want of an entry", "破棄された接続"),
            Text::new(format!("{drops:.1} a second"), format!("毎秒 {drops:.1} 件")),
            drops,
            Some(0.0),
            "procfs",
        ));
    }
    if tracked.read > 0 {
        let named: Vec<String> = tracked.sources.iter().take(3).map(|(ip, n)| format!("{ip} {n}")).collect();
        let (named, unanswered, read) = (named.join(" · "), tracked.unanswered, tracked.read);
        told.push(evidence(
            "conntrack-sources",
            Text::fixed("who began them", "開始元"),
            Text::new(
                format!("{named}; {unanswered} of {read} were never answered"),
                format!("{named}。{read} のうち {unanswered} は無応答"),
            ),
            tracked.sources.first().map_or(0.0, |(_, n)| *n as f64),
            None,
            "conntrack",
        ));
    }
    let doubled = limit.saturating_mul(2);
    let mut advice = vec![
        Text::new(
            format!(
                "room at once (some 300 bytes of memory each): sysctl -w net.netfilter.nf_conntrack_max={doubled}"
            ),
            format!(
                "応急処置として上限を上げてください(1 件あたり約 300 バイト): sysctl -w net.netfilter.nf_conntrack_max={doubled}"
            ),
        ),
        Text::fixed(
            "forget idle connections sooner than after five days: sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=3600",
            "アイドル接続を既定の 5 日より早く破棄してください: sysctl -w net.netfilter.nf_conntrack_tcp_timeout_established=3600",
        ),
    ];
    if culprits.is_empty() {
        let command =
            "conntrack -L -o extended 2>/dev/null | grep -o 'src=[^ ]*' | sort | uniq -c | sort -rn | head";
        advice.push(Text::new(
            format!("look who began them: {command}"),
            format!("開始元を確認してください: {command}"),
        ));
    }
    Judged::Is(Candidate {
        confidence: 0.95,
        culprits,
        evidence: told,
        summary: Text::new(
            format!(
                "The table of tracked connections is full, {used} of {limit}: new connections are dropped.\n{by_en}"
            ),
            format!(
                "conntrack テーブルが満杯です({limit} のうち {used})。新しい接続は破棄されます。\n{by_ja}"
            ),
        ),
        advice,
        since: Some(since),
        resource: holdings::resource(picture, "conntrack").cloned(),
        effects: holdings::effects(picture, &[], since),
        ..Candidate::default()
    })
}

/// Only the kernel log is there to tell.
fn said_only(picture: &Picture<'_>) -> Candidate {
    Candidate {
        confidence: 0.8,
        summary: Text::fixed(
            "The kernel says that the table of tracked connections is full: new connections are dropped.",
            "カーネルが conntrack テーブルの満杯を報告しています。新しい接続は破棄されます。",
        ),
        advice: vec![Text::fixed(
            "see how full it is: sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
            "使用量を確認してください: sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",
        )],
        since: Some(picture.situation.from),
        ..Candidate::default()
    }
}

/// One source with most of the entries, or one network of several; own addresses and balancers carry others'.
fn culprits(picture: &Picture<'_>, tracked: &Tracked) -> Vec<Culprit> {
    if tracked.read < READ_MIN {
        return Vec::new();
    }
    let situation = picture.situation;
    let host = &situation.host;
    let carries =
        |ip: &IpAddr| situation.balancers.contains(ip) || host.gateways.contains(ip) || ip.is_loopback();
    let named = |kind, value: String, count: u64| Culprit {
        kind,
        value,
        share: share(count as f64, tracked.read as f64),
        r#where: Where::new(),
        process: None,
    };
    let most = |count: u64| count as f64 >= MOST * tracked.read as f64;
    if let Some((ip, count)) = tracked.sources.first().filter(|(ip, count)| most(*count) && !carries(ip)) {
        let kind = if host.own.contains(ip) { CulpritKind::Host } else { CulpritKind::Address };
        return vec![named(kind, ip.to_string(), *count)];
    }
    let mut networks: BTreeMap<Prefix, u64> = BTreeMap::new();
    for (ip, count) in tracked.sources.iter().filter(|(ip, _)| !carries(ip) && !host.own.contains(ip)) {
        *networks.entry(prefix_of(*ip, 24, 48)).or_insert(0) += count;
    }
    let largest = networks.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| most(*count));
    largest.map(|(prefix, count)| named(CulpritKind::Prefix, prefix.to_string(), count)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use toban_model::{Situation, Time};

    use super::*;
    use crate::diagnose;

    fn full(sources: &[(&str, u64)]) -> Situation {
        let at = Time::from_secs(1_700_000_000);
        let mut situation = Situation { at, ..Situation::default() };
        situation.holdings.tracked = Some(Tracked {
            used: 262_144,
            limit: 262_144,
            sources: sources.iter().map(|(ip, n)| (ip.parse().unwrap(), *n)).collect(),
            read: 100_000,
            unanswered: 60_000,
            full_since: Some(at),
            drops_per_s: 12.0,
            ..Tracked::default()
        });
        situation
    }

    #[test]
    fn who_filled_the_table_is_named_if_one_did() {
        let value = |situation: &Situation| {
            let found = diagnose(situation).findings;
            assert_eq!(found[0].cause, "conntrack-full");
            found[0].culprits.first().map(|culprit| culprit.value.clone())
        };
        assert_eq!(
            value(&full(&[("198.51.100.9", 80_000), ("192.0.2.1", 400)])),
            Some("198.51.100.9".into())
        );
        let network = full(&[("198.51.100.9", 30_000), ("198.51.100.10", 30_000), ("192.0.2.1", 400)]);
        assert_eq!(value(&network), Some("198.51.100.0/24".into()));
        assert_eq!(value(&full(&[("198.51.100.9", 9000), ("192.0.2.1", 8000)])), None);
        // A balancer's entries are its clients'.
        let mut balanced = full(&[("192.0.2.1", 90_000)]);
        balanced.balancers.push("192.0.2.1".parse().unwrap());
        assert_eq!(value(&balanced), None);
        let mut half = full(&[]);
        half.holdings.tracked.as_mut().unwrap().full_since = None;
        assert_eq!(diagnose(&half).findings, []);
    }
}
