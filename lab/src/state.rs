//! What stands on disk about a lab: one directory an instance, and a lock that its keeper holds while it lives.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::host::Door;
use crate::plan::Plan;

/// Where the directories of all labs stand.
pub(crate) fn base() -> PathBuf {
    env::var_os("TOBAN_LAB_STATE").map_or_else(|| PathBuf::from("/run/toban-lab"), PathBuf::from)
}

/// What the keeper tells everyone else; rewritten whole, by rename.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) keeper: u32,
    pub(crate) ends_at: f64,
    pub(crate) hosts: BTreeMap<String, Door>,
    pub(crate) own_vitals: bool,
    pub(crate) incident_until: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    Starting,
    Up,
    Failed(String),
}

/// The files of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn of(name: &str) -> Self {
        Self(base().join(name))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn plan(&self) -> anyhow::Result<Plan> {
        Ok(serde_json::from_slice(&fs::read(self.file("plan.json"))?)?)
    }

    pub(crate) fn state(&self) -> anyhow::Result<State> {
        Ok(serde_json::from_slice(&fs::read(self.file("state.json"))?)?)
    }

    pub(crate) fn write_state(&self, state: &State) -> anyhow::Result<()> {
        replace(&self.file("state.json"), &serde_json::to_vec_pretty(state)?)?;
        Ok(())
    }

    /// Takes the lock, or `None` where a keeper has it. Held until the file is closed.
    pub(crate) fn lock(&self) -> io::Result<Option<File>> {
        let file = File::options().create(true).append(true).open(self.file("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether its keeper lives.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.lock(), Ok(None))
    }

    /// What a killed keeper could not put away: its processes died with it, its groups and its directory did not.
    pub(crate) fn sweep(&self) {
        if let Ok(state) = self.state() {
            for door in state.hosts.values() {
                door.cgroups.remove();
            }
        }
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Readers see the old file or the new one, never a half.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// One line of `lab list`.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// The instance.
    pub name: String,
    /// Its scenario.
    pub scenario: String,
    /// `starting`, `up`, `incident`, `failed` or `dead`.
    pub phase: String,
    /// It ends itself after this many seconds.
    pub ends_in_s: u64,
}
