//! `slow-clients`: clients that send or read so slowly that each holds a worker for minutes (slowloris, slow read,
//! zero window).
//!
//! Needs the live view: most held workers wait for their client, not for a backend; a slow backend looks the same in
//! a log.

use toban_model::{Text, Waiting};

use super::{Candidate, Cause, Judged, Needs, confidence_of, culprits_of};
use crate::picture::Picture;
use crate::{remedies, tell};

pub(super) const CAUSE: Cause = Cause {
    id: "slow-clients",
    about: Text::fixed(
        "clients that send or read very slowly hold the workers",
        "送受信が極端に遅いクライアントがワーカーを占有しています",
    ),
    rules_out: &["http-flood", "slow-backend", "flash-crowd"],
    needs: Needs::Saturation,
    judge,
};

const WAITING_SHARE_MIN: f64 = 0.5;

pub(super) fn is_it(picture: &Picture<'_>) -> bool {
    picture.waiting_share(Waiting::Client).is_some_and(|share| share >= WAITING_SHARE_MIN)
}

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(share) = picture.waiting_share(Waiting::Client) else { return Judged::Unknown };
    let percent = share * 100.0;
    if share < WAITING_SHARE_MIN {
        return Judged::Not(Text::new(
            format!("{percent:.0} % of held workers wait for their client"),
            format!("クライアントの送受信を待っているワーカーは {percent:.0} % です"),
        ));
    }
    let group = picture.group.as_ref();
    // What a client does not take stays in its worker. The kernel's kills free workers, so they may never be full.
    let killed_for_it = group.is_some() && !picture.situation.kernel.oom.is_empty();
    if !picture.workers_full() && !killed_for_it {
        return Judged::Unknown;
    }
    Judged::Is(Candidate {
        confidence: group.map_or(0.55, |g| confidence_of(g, 0.62)),
        culprits: group.map(culprits_of).unwrap_or_default(),
        evidence: vec![tell::evidence(
            "waiting-for-client",
            Text::fixed("workers that wait for their client", "クライアント待ちのワーカー"),
            Text::new(format!("{percent:.0} %"), format!("{percent:.0} %")),
            share,
            None,
            "sock_diag",
        )],
        summary: tell::held_by(
            picture,
            "connections that send or read hardly anything",
            "ほとんど送受信しない接続",
        ),
        remedies: remedies::against_group(picture, CAUSE.id),
        ..Candidate::default()
    })
}
