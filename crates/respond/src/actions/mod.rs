//! The actions: one file each, listed in [`ALL`].
//!
//! An action is a filled-in form. Its `carry_out` does one step and returns what it saw, in a few words for the audit
//! trail; it says so only after having looked. It may be called again for a step that a crash cut short, and must
//! then finish it: doing something twice has the effect of doing it once.

mod accept_only_from;
mod ban;
mod end_sockets;
mod restart;
mod stop_process;

pub(crate) use accept_only_from::gate;

use toban_model::{Action, ActionRecord, Text, Time};

use crate::firewall::Firewall;
use crate::ledger::{Ledger, Progress};
use crate::{Error, Result};

/// Every action, in the order of the reference.
pub static ALL: &[&Form] =
    &[&ban::FORM, &end_sockets::FORM, &restart::FORM, &stop_process::FORM, &accept_only_from::FORM];

/// What an action is.
pub struct Form {
    /// Its id in the contract.
    pub id: &'static str,
    /// What it does, for the manual.
    pub text: Text,
    /// Whether it can be taken back.
    pub reversible: bool,
    /// Without it the rest of the plan is pointless or harmful, so the plan ends where it fails.
    pub(crate) needed: bool,
    /// Does one step.
    pub(crate) carry_out: fn(&mut Room<'_>, &Action) -> Result<String>,
    /// Takes it back.
    pub(crate) take_back: fn(&mut Room<'_>, &Action) -> Result<String>,
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.id)
    }
}

/// What an action works with.
pub(crate) struct Room<'a> {
    pub(crate) now: Time,
    pub(crate) ledger: &'a mut dyn Ledger,
    pub(crate) firewall: &'a mut dyn Firewall,
    /// The record that the step belongs to.
    pub(crate) record: &'a ActionRecord,
    /// Kept in the ledger by whoever changes it.
    pub(crate) progress: &'a mut Progress,
    /// The step was begun before, and nobody knows how far it came.
    pub(crate) again: bool,
}

/// The form of an action.
pub fn form(action: &Action) -> &'static Form {
    ALL.iter().find(|form| form.id == action.id()).expect("the list's own test compares it with the model")
}

fn nothing_to_take_back(_: &mut Room<'_>, action: &Action) -> Result<String> {
    Ok(format!("{}: cannot be taken back", action.id()))
}

fn not_mine(action: &Action) -> Error {
    Error::NoSuchAction { id: 0, why: format!("{} was handed to another action", action.id()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder_and_the_model() {
        let here = concat!(env!("CARGO_MANIFEST_DIR"), "/src/actions");
        let mut files: Vec<String> = std::fs::read_dir(here)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| {
                name.strip_suffix(".rs").filter(|name| *name != "mod").map(|name| name.replace('_', "-"))
            })
            .collect();
        files.sort();
        let mut ids: Vec<&str> = ALL.iter().map(|form| form.id).collect();
        ids.sort_unstable();
        assert_eq!(files, ids);
        for form in ALL {
            assert!(!form.text.en.is_empty() && !form.text.ja.is_empty(), "{}", form.id);
        }
    }
}
