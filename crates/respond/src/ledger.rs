//! The book: which actions were intended and what became of them, and which bans are to stand.
//!
//! The kernel holds what is enforced, the book what should be. Who keeps it is the binary's choice (SQLite there,
//! memory in tests); what it must promise stands on the trait.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use toban_model::{ActionId, ActionRecord, ActionState, Ban, Prefix};

use crate::LedgerError;

/// How far one step of a plan has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepProgress {
    /// Not begun.
    #[default]
    Ahead,
    /// Begun: what was found of it after a crash has to be settled.
    Begun,
    /// Done, and seen to be so.
    Done,
    /// It could not be done.
    Failed,
}

/// How a service is started again when nobody but toban does it. Kept before the service is stopped, so that a toban
/// that dies in between can start it when it comes back. May hold secrets (the environment): readable by root only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Respawn {
    /// The service's id.
    pub service: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments, without the program's own name. Bytes, since they need not be UTF-8.
    pub arguments: Vec<Vec<u8>>,
    /// Its environment, `NAME=value` each.
    pub environment: Vec<Vec<u8>>,
    /// Its working directory.
    pub directory: PathBuf,
    /// Its user and group.
    pub owner: (u32, u32),
}

/// How far an action has come, in enough detail to be settled after a crash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// One for each step of the plan.
    pub steps: Vec<StepProgress>,
    /// What a stopped service needs to be started again.
    pub respawn: Option<Respawn>,
}

/// Keeps the book.
///
/// Every method that writes returns only when what it wrote survives power loss (SQLite: `synchronous = FULL`).
/// One engine at a time uses a ledger.
pub trait Ledger: Send {
    /// A number that changes whenever anybody writes to the book; `None` where that is not known.
    fn version(&self) -> Result<Option<u64>, LedgerError> {
        Ok(None)
    }
    /// Writes a record before anything is done and gives it its number; `record.id` is ignored.
    fn intend(&mut self, record: &ActionRecord) -> Result<ActionId, LedgerError>;
    /// Replaces the record of that number.
    fn update(&mut self, record: &ActionRecord) -> Result<(), LedgerError>;
    /// One record.
    fn action(&self, id: ActionId) -> Result<Option<ActionRecord>, LedgerError>;
    /// The records in state `Intended`, `Done` or `Worked`, oldest first: those that something may stand of.
    fn open_actions(&self) -> Result<Vec<ActionRecord>, LedgerError>;
    /// Every ban of the book. An address may be in it several times, for several actions.
    fn bans(&self) -> Result<Vec<Ban>, LedgerError>;
    /// The bans of just these prefixes. Asked for with each ban, so a large book answers it by an index.
    fn bans_of(&self, prefixes: &[Prefix]) -> Result<Vec<Ban>, LedgerError> {
        let prefixes: BTreeSet<&Prefix> = prefixes.iter().collect();
        Ok(self.bans()?.into_iter().filter(|ban| prefixes.contains(&ban.prefix)).collect())
    }
    /// Writes bans, all or none. The key is (action, prefix, ports): one that is there is replaced.
    fn put_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError>;
    /// Takes bans out by their key, all or none. One that is not there is no error.
    fn remove_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError>;
    /// Keeps how far an action has come; replaces what was kept for it.
    fn put_progress(&mut self, id: ActionId, progress: &Progress) -> Result<(), LedgerError>;
    /// What was kept last for an action.
    fn progress(&self, id: ActionId) -> Result<Option<Progress>, LedgerError>;
}

/// A book in memory, for tests and for a run without a state directory. A clone is the same book.
#[derive(Clone, Debug, Default)]
pub struct MemoryLedger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    actions: BTreeMap<i64, ActionRecord>,
    bans: BTreeMap<(i64, Prefix, Vec<u16>), Ban>,
    progress: BTreeMap<i64, Progress>,
}

impl MemoryLedger {
    fn book(&self) -> MutexGuard<'_, Book> {
        // A panic while the lock is held (the crash tests do that) leaves each single change whole.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn key(ban: &Ban) -> (i64, Prefix, Vec<u16>) {
    (ban.action.0, ban.prefix, ban.ports.clone())
}

impl Ledger for MemoryLedger {
    fn intend(&mut self, record: &ActionRecord) -> Result<ActionId, LedgerError> {
        let mut book = self.book();
        let id = ActionId(book.actions.last_key_value().map_or(0, |(id, _)| *id) + 1);
        book.actions.insert(id.0, ActionRecord { id, ..record.clone() });
        Ok(id)
    }

    fn update(&mut self, record: &ActionRecord) -> Result<(), LedgerError> {
        self.book().actions.insert(record.id.0, record.clone());
        Ok(())
    }

    fn action(&self, id: ActionId) -> Result<Option<ActionRecord>, LedgerError> {
        Ok(self.book().actions.get(&id.0).cloned())
    }

    fn open_actions(&self) -> Result<Vec<ActionRecord>, LedgerError> {
        let open = |record: &&ActionRecord| {
            matches!(record.state, ActionState::Intended | ActionState::Done | ActionState::Worked)
        };
        Ok(self.book().actions.values().filter(open).cloned().collect())
    }

    fn bans(&self) -> Result<Vec<Ban>, LedgerError> {
        Ok(self.book().bans.values().cloned().collect())
    }

    fn put_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        self.book().bans.extend(bans.iter().map(|ban| (key(ban), ban.clone())));
        Ok(())
    }

    fn remove_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        let mut book = self.book();
        for ban in bans {
            book.bans.remove(&key(ban));
        }
        Ok(())
    }

    fn put_progress(&mut self, id: ActionId, progress: &Progress) -> Result<(), LedgerError> {
        self.book().progress.insert(id.0, progress.clone());
        Ok(())
    }

    fn progress(&self, id: ActionId) -> Result<Option<Progress>, LedgerError> {
        Ok(self.book().progress.get(&id.0).cloned())
    }
}
