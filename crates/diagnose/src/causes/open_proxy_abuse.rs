//! `open-proxy-abuse`: strangers use this server as their proxy, and each request holds a worker.
//!
//! Needs: workers used up; a group that holds them beyond its usual; its requests are CONNECT or name another host.

use toban_model::Text;

use super::{Candidate, Cause, Judged, Needs, confidence_of, culprits_of};
use crate::picture::Picture;
use crate::{remedies, tell};

pub(super) const CAUSE: Cause = Cause {
    id: "open-proxy-abuse",
    about: Text::fixed(
        "strangers use this server as their proxy; each request holds a worker",
        "外部の第三者がこのサーバをプロキシとして使おうとし、1 リクエストごとにワーカーを占有します",
    ),
    rules_out: &["http-flood", "flash-crowd", "slow-backend", "slow-clients"],
    needs: Needs::Saturation,
    judge,
};

/// This part of the group asks for a proxy.
const PROXY_SHARE_MIN: f64 = 0.6;

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(group) = &picture.group else {
        return Judged::Not(Text::fixed(
            "no requests for other hosts (CONNECT) hold workers",
            "他ホスト宛てのリクエスト(CONNECT)はワーカーを占有していません",
        ));
    };
    if group.proxy_share < PROXY_SHARE_MIN {
        let share = (group.proxy_share * 100.0).abs();
        return Judged::Not(Text::new(
            format!("{share:.0} % of their requests ask for another host"),
            format!("他ホスト宛てのリクエストは {share:.0} % です"),
        ));
    }
    Judged::Is(Candidate {
        confidence: confidence_of(group, 0.66),
        culprits: culprits_of(group),
        summary: tell::held_by(picture, "CONNECT requests", "CONNECT リクエスト"),
        remedies: remedies::against_group(picture, CAUSE.id),
        ..Candidate::default()
    })
}
