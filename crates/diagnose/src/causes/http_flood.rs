//! `http-flood`: few networks send more than the server can work on, on one path or on all.
//!
//! Needs: something used up; a group that holds workers beyond its usual and does not behave as usual clients do.

use toban_model::{Culprit, CulpritKind, Text, Where};

use super::{Candidate, Cause, Judged, Needs, confidence_of, culprits_of};
use crate::attribution::Spread;
use crate::picture::Picture;
use crate::{remedies, tell};

pub(super) const CAUSE: Cause = Cause {
    id: "http-flood",
    about: Text::fixed(
        "few networks send more requests than the server can work on",
        "少数のネットワークから、サーバが処理しきれない量のリクエストが来ています",
    ),
    rules_out: &[
        "open-proxy-abuse",
        "flash-crowd",
        "slow-backend",
        "slow-clients",
        "memory-exhaustion",
        "aggressive-crawler",
    ],
    needs: Needs::Saturation,
    judge,
};

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(group) = &picture.group else {
        if let Some(spread) = &picture.spread {
            return Judged::Is(from_everywhere(picture, spread));
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
    if let Some(crawl) = super::aggressive_crawler::is_it(picture) {
        let distinct = crawl.distinct_share * 100.0;
        return Judged::Not(Text::new(
            format!(
                "{} read robots.txt and asks for {distinct:.0} % new pages, as a crawler does",
                crawl.network
            ),
            format!(
                "{} は robots.txt を取得し、{distinct:.0} % が新しいページへのアクセスであり、クローラの動作です",
                crawl.network
            ),
        ));
    }
    if super::slow_clients::is_it(picture) || super::load_balancer_bypass::is_it(group) {
        return Judged::Unknown;
    }
    Judged::Is(Candidate {
        confidence: confidence_of(group, 0.64),
        culprits: culprits_of(group),
        summary: tell::held_by(picture, "requests", "リクエスト"),
        remedies: remedies::against_group(picture, CAUSE.id),
        ..Candidate::default()
    })
}

/// No network to name or to ban: what is asked for is the culprit.
fn from_everywhere(picture: &Picture<'_>, spread: &Spread) -> Candidate {
    let (percent, ratio, addresses) = (spread.share * 100.0, spread.ratio, spread.addresses);
    let method = spread.shape.method.as_deref().unwrap_or_default();
    let path = spread.shape.path.as_deref().unwrap_or_default();
    let (en, ja) = tell::exhaustion(picture);
    let asked = format!("{} {}", tell::clean(method), tell::clean(path));
    Candidate {
        confidence: 0.7,
        culprits: vec![Culprit {
            kind: CulpritKind::Path,
            value: path.to_owned(),
            share: (spread.share * 100.0).round() / 100.0,
            r#where: Where::from([("method".to_owned(), method.to_owned())]),
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
        summary: Text::new(
            format!("{en}\n{asked} floods it from {addresses} addresses; no network stands out."),
            format!(
                "{ja}\n{asked} が {addresses} 個のアドレスから大量に送られています。突出したネットワークはありません。"
            ),
        ),
        ..Candidate::default()
    }
}
