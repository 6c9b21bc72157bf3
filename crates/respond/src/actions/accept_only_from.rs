//! `accept-only-from`: only these may reach the ports. Commit-confirmed.
//!
//! The structural cure, and the one action that can lock its owner out. So the ports that the gate closes are set
//! elements with a timeout: without a confirmation the *kernel* forgets them and the gate stands open, though toban
//! be dead by then. Confirming puts them in without a timeout.

use std::time::Duration;

use toban_model::{Action, ActionState, Text};

use super::{Form, Room, not_mine};
use crate::firewall::Gate;
use crate::{Error, Result};

pub(super) const FORM: Form = Form {
    id: "accept-only-from",
    text: Text::fixed(
        "Lets only named prefixes reach some TCP ports; reverts by itself unless confirmed in time.",
        "指定したTCPポートへの接続を、指定したプレフィックスからだけに限定します。期限までに確認がなければ自動的に元に戻ります。",
    ),
    reversible: true,
    needed: true,
    carry_out,
    take_back,
};

/// The gate that an action asks for at a moment; none once its time for confirmation is over.
pub(crate) fn gate(
    record: &toban_model::ActionRecord,
    action: &Action,
    now: toban_model::Time,
) -> Option<Gate> {
    let Action::AcceptOnlyFrom { ports, from, confirm_within_s } = action else { return None };
    // `Worked` is what a confirmation makes of it: a person has looked.
    let lapses_in = match record.state {
        ActionState::Worked => None,
        _ => Some((record.at + Duration::from_secs(*confirm_within_s)).since(now)),
    };
    if lapses_in.is_some_and(|time| time.is_zero()) {
        return None;
    }
    Some(Gate { action: record.id, ports: ports.clone(), from: from.clone(), lapses_in })
}

fn carry_out(room: &mut Room<'_>, action: &Action) -> Result<String> {
    let Some(gate) = gate(room.record, action, room.now) else {
        return Ok("accept-only-from: its time for confirmation is over".to_owned());
    };
    match room.firewall.put_gate(&gate) {
        Err(Error::Gone { .. }) => {
            crate::engine::rebuild(room.firewall, room.ledger, room.now)?;
            room.firewall.put_gate(&gate)?;
        }
        other => other?,
    }
    Ok(format!("accept-only-from: {} prefixes may reach {} ports", gate.from.len(), gate.ports.len()))
}

fn take_back(room: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::AcceptOnlyFrom { .. } = action else { return Err(not_mine(action)) };
    match room.firewall.remove_gate(room.record.id) {
        // The caller has changed the record's state, so a rebuild leaves this gate out.
        Err(Error::Gone { .. }) => crate::engine::rebuild(room.firewall, room.ledger, room.now)?,
        other => other?,
    }
    Ok("accept-only-from: open again".to_owned())
}
