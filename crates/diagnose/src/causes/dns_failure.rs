//! `dns-failure`: the name servers of this host do not answer, and somebody here waits for them.
//!
//! Needs: none answers a question that each of them can; and they did before, or programs say that names cannot be
//! resolved, or wait for an answer. A host that never had one is not broken.

use toban_model::{Asked, CulpritKind, ResolverLook, Text, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::named;
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "dns-failure",
    about: Text::fixed("name servers do not answer", "ネームサーバが応答していません"),
    rules_out: &["network-loss"],
    needs: Needs::Nothing,
    judge,
};

/// One question may be lost on its way.
const LOOKS_MIN: u32 = 2;

fn judge(picture: &Picture<'_>) -> Judged {
    let resolution = &picture.situation.failures.resolution;
    let resolvers = &resolution.resolvers;
    if resolvers.is_empty() {
        return Judged::Unknown;
    }
    let answers = |resolver: &&ResolverLook| matches!(resolver.asked, Asked::Answered(_));
    let waiting: u32 = resolvers.iter().map(|resolver| resolver.waiting).sum();
    let missed = resolution.said > 0 || waiting > 0;
    let first_silent = resolvers.first().is_some_and(|first| !answers(&first));
    let (verdict, confidence) = match (resolution.silent, resolvers.iter().find(answers)) {
        // Programs ask the first one and wait five seconds before they turn to the next.
        (_, Some(_)) if first_silent && missed => (Verdict::Watch, 0.75),
        (_, Some(ResolverLook { address, asked: Asked::Answered(ms), .. })) => {
            return Judged::Not(Text::new(
                format!("the name server {address} answers within {ms} ms"),
                format!("ネームサーバ {address} は {ms} ms で応答しています"),
            ));
        }
        (Some((_, looks)), _) if resolution.answered_before && looks >= LOOKS_MIN => {
            (Verdict::Incident, 0.93)
        }
        (Some(_), _) if missed => (Verdict::Incident, 0.9),
        _ => return Judged::Unknown,
    };
    // Without a network nobody answers.
    if super::network_loss::is_cut(picture) {
        return Judged::Not(Text::fixed(
            "the network itself is gone, so name servers cannot be reached either",
            "ネットワーク自体が切れているため、ネームサーバにも到達できません",
        ));
    }
    let silent: Vec<&ResolverLook> = resolvers.iter().filter(|resolver| !answers(resolver)).collect();
    let list = silent.iter().map(|resolver| resolver.address.to_string()).collect::<Vec<_>>().join(", ");
    let mut told: Vec<_> = resolvers
        .iter()
        .map(|resolver| {
            let (en, ja, value) = match resolver.asked {
                Asked::Answered(ms) => {
                    (format!("answers within {ms} ms"), format!("{ms} ms で応答"), f64::from(ms))
                }
                Asked::Silent => {
                    ("does not answer within a second".into(), "1 秒以内に応答なし".into(), -1.0)
                }
                Asked::Refused => ("is not there".into(), "到達不能".into(), -1.0),
            };
            let address = resolver.address;
            evidence(
                "resolver",
                Text::new(format!("name server {address}"), format!("ネームサーバ {address}")),
                Text::new(en, ja),
                value,
                None,
                "dns",
            )
        })
        .collect();
    if missed {
        let said = resolution.said;
        told.push(evidence(
            "waits-for-names",
            Text::fixed("who misses them", "影響"),
            Text::new(
                format!("{waiting} sockets wait for an answer; {said} log lines of names not resolved"),
                format!("応答待ちのソケット {waiting} 個、名前解決失敗のログ {said} 行"),
            ),
            f64::from(waiting + said),
            Some(0.0),
            "procfs",
        ));
    }
    Judged::Is(Candidate {
        verdict,
        confidence,
        culprits: silent.iter().map(|r| named(CulpritKind::Host, r.address.to_string())).collect(),
        evidence: told,
        summary: Text::new(
            format!("Names cannot be resolved: {list} of /etc/resolv.conf does not answer."),
            format!("名前解決ができません。/etc/resolv.conf の {list} が応答していません。"),
        ),
        advice: vec![Text::new(
            format!(
                "try another one (dig @{} example.com), and put one that answers first in /etc/resolv.conf",
                first_of(&list)
            ),
            format!(
                "手動で確認し(dig @{} example.com)、応答するネームサーバを /etc/resolv.conf の先頭に記述してください",
                first_of(&list)
            ),
        )],
        since: resolution.silent.map(|(since, _)| since),
        ..Candidate::default()
    })
}

fn first_of(list: &str) -> &str {
    list.split(", ").next().unwrap_or_default()
}
