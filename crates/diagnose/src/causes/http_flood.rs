//! `http-flood`: few networks send more than the server can work on, on one path or on all.
//!
//! Needs: something used up; a group that holds workers beyond its usual and does not behave as usual clients do.

use toban_model::{Remedy, Text};

use super::{Candidate, Cause, Judged, confidence_of, culprits_of};
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

fn summary(picture: &Picture<'_>) -> Text {
    tell::held_by(picture, "requests", "リクエスト")
}

fn remedies_of(picture: &Picture<'_>) -> Vec<Remedy> {
    remedies::against_group(picture, CAUSE.id)
}
