//! The acting part: a process of its own, which alone holds the rights to change this host, the firewall and the book.
//!
//! `toban run` is that process. It starts the *watch*, a child that reads logs and judges and has given its rights away
//! ([`crate::rights`]), and takes typed orders from it over a socket pair. Whatever comes that way is held against the
//! mode, the causes that the user listed, the budget and the safety rules here once more, with what this side itself knows
//! of the host: the child may have been talked into anything by what strangers wrote.

mod line;
mod serve;
mod watch;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use toban_model::{ActionId, ActionRecord, IncidentId, Plan, Protected};
use toban_record::{BOOK, Book};
use toban_respond::verify::Outcome;
use toban_respond::{Engine, Nftables};

use crate::hooks::Event;
use crate::ledger::Kept;

pub(crate) use serve::{Terms, serve};
pub(crate) use watch::Hands;

/// What the watch asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Carry a plan out.
    CarryOut { plan: Plan, protected: Box<Protected>, incident: Option<IncidentId> },
    /// Say what an action has brought, and take it back if that was nothing.
    Conclude { id: ActionId, outcome: Outcome, measured: BTreeMap<String, f64> },
    /// Run the user's command for an event; its words are the user's, the JSON goes to its standard input.
    Hook { event: Event, json: String },
}

/// What the watch is told.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A plan was carried out, refused, or failed; what it became stands in the record.
    Acted(Box<ActionRecord>),
    /// The kernel did not hold what the book says, and does again; so many bans were put back.
    Reconciled { restored: usize },
    /// What a hook said, or why it failed.
    Hook(String),
    /// It could not be done.
    Failed(String),
}

/// One acting part on a host at a time: the agent's and a person's command wait for each other.
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its lock, which ends with it")] File);

impl Turn {
    /// Waits for the turn.
    pub(crate) fn take(state: &Path) -> anyhow::Result<Turn> {
        let path = state.join(BOOK).join("actor.lock");
        let file = File::create(&path).with_context(|| format!("could not open {}", path.display()))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .with_context(|| format!("could not lock {}", path.display()))?;
        Ok(Turn(file))
    }
}

/// Opens the engine on this host's book and firewall.
pub(crate) fn engine(book: &Arc<Book>) -> toban_respond::Result<Engine> {
    Ok(Engine::new(Box::new(Kept(book.clone())), Box::new(Nftables::open()?)))
}
