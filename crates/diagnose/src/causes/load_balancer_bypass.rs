//! `load-balancer-bypass`: requests come straight to the web server's own address, past the balancer, and nothing
//! else tells them apart.
//!
//! Needs: a known balancer; a group whose only common mark is that it did not come through it.

use toban_model::{Text, Via};

use super::{Candidate, Cause, Judged, Needs, confidence_of, culprits_of};
use crate::attribution::Group;
use crate::picture::Picture;
use crate::{remedies, tell};

pub(super) const CAUSE: Cause = Cause {
    id: "load-balancer-bypass",
    about: Text::fixed(
        "requests come straight to this server, past the load balancer",
        "ロードバランサーを経由せず、このサーバに直接リクエストが来ています",
    ),
    rules_out: &["open-proxy-abuse", "flash-crowd", "slow-backend"],
    needs: Needs::Saturation,
    judge,
};

pub(super) fn is_it(group: &Group) -> bool {
    group.shape.via == Some(Via::Direct)
        && group.shape.method.is_none()
        && group.shape.path.is_none()
        && group.proxy_share < 0.5
}

fn judge(picture: &Picture<'_>) -> Judged {
    match &picture.group {
        Some(group) if is_it(group) => Judged::Is(Candidate {
            confidence: confidence_of(group, 0.6),
            culprits: culprits_of(group),
            summary: tell::held_by(picture, "requests", "リクエスト"),
            remedies: remedies::against_group(picture, CAUSE.id),
            ..Candidate::default()
        }),
        _ => Judged::Unknown,
    }
}
