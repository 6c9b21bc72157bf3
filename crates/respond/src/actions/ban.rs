//! `ban`: packets from these prefixes are dropped for a time.
//!
//! The book first, then the kernel: whatever dies in between, the next look at both completes it.

use std::collections::BTreeMap;
use std::time::Duration;

use toban_model::{Action, Ban, Text};

use super::{Form, Room, not_mine};
use crate::Result;
use crate::engine::{put_back_what_is_left, put_or_rebuild};
use crate::firewall::Target;

pub(super) const FORM: Form = Form {
    id: "ban",
    text: Text::fixed(
        "Drops packets from prefixes, on some TCP ports or on all, for a time.",
        "指定したプレフィックスからのパケットを、指定したTCPポート(省略時はすべて)で、一定時間破棄します。",
    ),
    reversible: true,
    // Measured: ending sockets and restarting without the drop gives the attack its connections back at once.
    needed: true,
    carry_out,
    take_back,
};

fn carry_out(room: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::Ban { prefixes, ports, for_s } = action else { return Err(not_mine(action)) };
    let until = room.record.at + Duration::from_secs(*for_s);
    let bans: Vec<Ban> = prefixes
        .iter()
        .map(|prefix| Ban {
            prefix: *prefix,
            ports: Target::new(*prefix, ports).ports,
            since: room.record.at,
            until,
            action: room.record.id,
            reason: room.record.plan.reason.en.to_string(),
        })
        .collect();
    let left = until.since(room.now);
    if left.is_zero() {
        return Ok("ban: its time is over already".to_owned());
    }
    room.ledger.put_bans(&bans)?;
    // Somebody else's longer ban of the same prefix stays as long as it was.
    let others = room.ledger.bans_of(prefixes)?;
    let wanted = crate::engine::wanted_bans(&others, room.now);
    let put: BTreeMap<Target, Duration> = bans
        .iter()
        .map(Target::of)
        .map(|target| {
            let time = wanted.get(&target).copied().unwrap_or(left);
            (target, time)
        })
        .collect();
    match put_or_rebuild(room.firewall, room.ledger, room.now, &put) {
        Ok(()) => Ok(format!(
            "ban: {} {} in the kernel",
            put.len(),
            if put.len() == 1 { "prefix" } else { "prefixes" }
        )),
        Err(error) => {
            // Nothing of it stands: not in the book, and not in the kernel as far as it can still be reached.
            room.ledger.remove_bans(&bans)?;
            let _ = put_back_what_is_left(room.firewall, room.ledger, room.now, put.into_keys().collect());
            Err(error)
        }
    }
}

fn take_back(room: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::Ban { prefixes, ports, .. } = action else { return Err(not_mine(action)) };
    let targets: Vec<Target> = prefixes.iter().map(|prefix| Target::new(*prefix, ports)).collect();
    let mine: Vec<Ban> = room
        .ledger
        .bans_of(prefixes)?
        .into_iter()
        .filter(|ban| ban.action == room.record.id && targets.contains(&Target::of(ban)))
        .collect();
    room.ledger.remove_bans(&mine)?;
    put_back_what_is_left(room.firewall, room.ledger, room.now, targets)?;
    Ok(format!("ban: {} taken out", mine.len()))
}
