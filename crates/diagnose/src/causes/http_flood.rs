//! `http-flood`: few networks send more than the server can work on, on one path or on all.
//!
//! Needs: something used up; a group that holds workers beyond its usual and does not behave as usual clients do.

use toban_model::{Culprit, CulpritKind, Remedy, Text, Where};

use super::{Candidate, Cause, Judged, confidence_of, culprits_of};
use crate::attribution::Spread;
use crate::picture::Picture;
use crate::{remedies, tell};

pub(super) const CAUSE: Cause = Cause {
    id: "http-flood",
    about: Text::fixed(
        "few networks send more requests than the server can work on",
        "少数のネットワークから、サーバが処理しきれない量のリクエストが来ています",
    ),
    rules_out: &["open-proxy-abuse", "flash-crowd", "slow-backend", "slow-clients", "memory-exhaustion"],
    judge,
    summary,
    remedies: remedies_of,
};

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(group) = &picture.group else {
        if let Some(spread) = &picture.spread {
            return Judged::Is(from_everywhere(spread));
        }
        return Judged::Not(Text::fixed(
            "no network holds more workers than its usual share",
            "平常時の割合を超えてワーカーを占有しているネットワークはありません",
        ));
    };
    if group.proxy_share >= 0.5 {
        let share = group.proxy_share * 100.0;
        return Judged::Not(Text::new(
            format!(
                "{share:.0} % of their requests ask for another host: it is the proxying that holds workers"
            ),
            format!("リクエストの {share:.0} % が他ホスト宛てであり、ワーカーの占有はプロキシ目的のものです"),
        ));
    }
    if super::slow_clients::is_it(picture) || super::load_balancer_bypass::is_it(group) {
        return Judged::Unknown;
    }
    Judged::Is(Candidate {
        confidence: confidence_of(group, 0.64),
        culprits: culprits_of(group),
        evidence: Vec::new(),
    })
}

/// No network to name or to ban: what is asked for is the culprit.
fn from_everywhere(spread: &Spread) -> Candidate {
    let (percent, ratio, addresses) = (spread.share * 100.0, spread.ratio, spread.addresses);
    let method = spread.shape.method.as_deref().unwrap_or_default().to_owned();
    Candidate {
        confidence: 0.7,
        culprits: vec![Culprit {
            kind: CulpritKind::Path,
            value: spread.shape.path.as_deref().unwrap_or_default().to_owned(),
            share: (spread.share * 100.0).round() / 100.0,
            r#where: Where::from([("method".to_owned(), method)]),
            process: None,
        }],
        evidence: vec![tell::evidence(
            "share-against-usual",
            Text::fixed("share against usual", "平常時の割合との比"),
            Text::new(
                format!(
                    "{percent:.0} % of held workers, {ratio:.0} times the usual share, from {addresses} addresses"
                ),
                format!(
                    "占有中のワーカーの {percent:.0} %。平常時の割合の {ratio:.0} 倍、送信元 {addresses} アドレス"
                ),
            ),
            spread.share,
            None,
            spread.source,
        )],
    }
}

fn summary(picture: &Picture<'_>) -> Text {
    if let (None, Some(spread)) = (&picture.group, &picture.spread) {
        let (en, ja) = tell::exhaustion(picture);
        let method = tell::clean(spread.shape.method.as_deref().unwrap_or_default());
        let path = tell::clean(spread.shape.path.as_deref().unwrap_or_default());
        let addresses = spread.addresses;
        return Text::new(
            format!("{en}\n{method} {path} floods it from {addresses} addresses; no network stands out."),
            format!(
                "{ja}\n{method} {path} が {addresses} 個のアドレスから大量に送られています。突出したネットワークはありません。"
            ),
        );
    }
    tell::held_by(picture, "requests", "リクエスト")
}

fn remedies_of(picture: &Picture<'_>) -> Vec<Remedy> {
    remedies::against_group(picture, CAUSE.id)
}
