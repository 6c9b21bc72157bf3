//! `flash-crowd`: many more people than usual, each behaving as people do.
//!
//! Needs: more requests end than usual, from more clients than usual, those of a group that stands out not counted. An
//! attack that holds the workers makes *fewer* requests end.

use toban_model::Text;

use super::{Candidate, Cause, Judged, Needs};
use crate::attribution::Group;
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "flash-crowd",
    about: Text::fixed(
        "many more visitors than usual, each behaving as usual",
        "訪問者が平常時より大幅に増えています。個々の動きは通常どおりです",
    ),
    rules_out: &["http-flood", "open-proxy-abuse", "slow-backend"],
    needs: Needs::Saturation,
    judge,
};

const REQUESTS_RATIO_MIN: f64 = 2.0;
/// Beside a group that holds workers, fewer requests end.
const REQUESTS_RATIO_MIN_BESIDE: f64 = 1.2;
const CLIENTS_RATIO_MIN: f64 = 2.5;
/// When a crowd has just come, few of it have an answer: so many more requests tell it by fewer clients.
const REQUESTS_RATIO_RUSH: f64 = 4.0;
const CLIENTS_RATIO_RUSH: f64 = 1.25;

fn judge(picture: &Picture<'_>) -> Judged {
    let (Some(requests), Some(clients)) = (picture.throughput_ratio(), people_ratio(picture)) else {
        return Judged::Unknown;
    };
    let requests_min = if picture.group.is_some() { REQUESTS_RATIO_MIN_BESIDE } else { REQUESTS_RATIO_MIN };
    let rush = picture.group.is_none() && requests >= REQUESTS_RATIO_RUSH && clients >= CLIENTS_RATIO_RUSH;
    if !rush && (clients < CLIENTS_RATIO_MIN || requests < requests_min) {
        return Judged::Not(Text::new(
            format!(
                "requests ended at {requests:.1} times, clients came at {clients:.1} times their usual rate"
            ),
            format!("終了したリクエストは平常時の {requests:.1} 倍、クライアント数は {clients:.1} 倍です"),
        ));
    }
    if !picture.workers_full() {
        return Judged::Unknown;
    }
    // Who holds most of the workers dominates.
    let by_group = picture.group.as_ref().map_or(0.0, Group::share);
    Judged::Is(Candidate {
        confidence: (0.6 + 0.05 * clients.min(6.0)).min(0.92) - 0.3 * by_group,
        culprits: Vec::new(),
        evidence: vec![tell::evidence(
            "clients",
            Text::fixed("distinct clients a minute", "1 分あたりのクライアント数"),
            Text::new(format!("{clients:.1} times the usual"), format!("平常時の {clients:.1} 倍")),
            picture.traffic.map_or(0.0, |t| t.clients.now),
            picture.traffic.map(|t| t.clients.usual),
            "access_log",
        )],
        summary: summary(picture),
        ..Candidate::default()
    })
}

/// Clients now against usual, without those of a group that stands out.
fn people_ratio(picture: &Picture<'_>) -> Option<f64> {
    let ratio = picture.clients_ratio()?;
    let usual = picture.traffic?.clients.usual;
    let theirs: usize =
        picture.group.iter().flat_map(|group| &group.offenders).map(|offender| offender.addresses).sum();
    Some((ratio - theirs as f64 / usual).max(0.0))
}

fn summary(picture: &Picture<'_>) -> Text {
    let times = people_ratio(picture).unwrap_or(1.0);
    let (en, ja) = tell::exhaustion(picture);
    Text::new(
        format!("{en}\nIt is visitors: {times:.1} times as many as usual, and none of them stands out."),
        format!("{ja}\n訪問者の急増です。平常時の {times:.1} 倍ですが、突出したクライアントはいません。"),
    )
}
