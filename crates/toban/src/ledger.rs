//! The book of actions and bans as the acting part uses it.

use std::sync::Arc;

use toban_model::{ActionId, ActionRecord, ActionState, Ban, Prefix};
use toban_record::Book;
use toban_respond::{Ledger, LedgerError, Progress};

/// The book that an engine keeps.
pub(crate) struct Kept(pub(crate) Arc<Book>);

fn failed(error: impl std::fmt::Display) -> LedgerError {
    LedgerError(error.to_string())
}

impl Ledger for Kept {
    fn version(&self) -> Result<Option<u64>, LedgerError> {
        self.0.version().map(Some).map_err(failed)
    }

    fn intend(&mut self, record: &ActionRecord) -> Result<ActionId, LedgerError> {
        let intended =
            self.0.intend_action(record.at, record.incident, record.by, &record.plan).map_err(failed)?.id;
        if record.state != ActionState::Intended || !record.notes.is_empty() {
            self.0.update_action(&ActionRecord { id: intended, ..record.clone() }).map_err(failed)?;
        }
        Ok(intended)
    }

    fn update(&mut self, record: &ActionRecord) -> Result<(), LedgerError> {
        self.0.update_action(record).map_err(failed)
    }

    fn action(&self, id: ActionId) -> Result<Option<ActionRecord>, LedgerError> {
        match self.0.action(id) {
            Ok(record) => Ok(Some(record)),
            Err(toban_record::Error::NoAction { .. }) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }

    fn open_actions(&self) -> Result<Vec<ActionRecord>, LedgerError> {
        self.0
            .actions_in_state(&[ActionState::Intended, ActionState::Done, ActionState::Worked])
            .map_err(failed)
    }

    fn bans(&self) -> Result<Vec<Ban>, LedgerError> {
        self.0.all_bans().map_err(failed)
    }

    fn bans_of(&self, prefixes: &[Prefix]) -> Result<Vec<Ban>, LedgerError> {
        self.0.bans_of(prefixes).map_err(failed)
    }

    fn put_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        self.0.put_bans(bans).map_err(failed)
    }

    fn remove_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        self.0.remove_bans(bans).map_err(failed)
    }

    fn put_progress(&mut self, id: ActionId, progress: &Progress) -> Result<(), LedgerError> {
        let bytes = serde_json::to_vec(progress).map_err(failed)?;
        self.0.put_progress(id, &bytes).map_err(failed)
    }

    fn progress(&self, id: ActionId) -> Result<Option<Progress>, LedgerError> {
        let bytes = self.0.progress(id).map_err(failed)?;
        bytes.map(|bytes| serde_json::from_slice(&bytes).map_err(failed)).transpose()
    }
}
