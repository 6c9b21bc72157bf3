//! The packet filter as the engine sees it: targets with a time, put in, taken out, and looked at.
//!
//! A trait, so that the engine's crash tests run on a filter in memory, and so that a host without nf_tables can
//! get another one. [`crate::Nftables`] is the real one.

use std::collections::BTreeMap;
use std::time::Duration;

use toban_model::{ActionId, Ban, Prefix};

use crate::Result;

/// What is dropped: a prefix, on some TCP ports or (when empty) on all ports and protocols.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Whom; host bits are zero.
    pub prefix: Prefix,
    /// On which TCP ports, sorted, without doubles.
    pub ports: Vec<u16>,
}

impl Target {
    /// In its one form: host bits cut, ports sorted.
    pub fn new(prefix: Prefix, ports: &[u16]) -> Target {
        let mut ports = ports.to_vec();
        ports.sort_unstable();
        ports.dedup();
        Target { prefix: prefix.trunc(), ports }
    }

    /// What a ban drops.
    pub fn of(ban: &Ban) -> Target {
        Target::new(ban.prefix, &ban.ports)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.prefix.fmt(f)?;
        for (index, port) in self.ports.iter().enumerate() {
            write!(f, "{}{port}", if index == 0 { " on " } else { "," })?;
        }
        Ok(())
    }
}

/// One ban as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelBan {
    /// What it drops.
    pub target: Target,
    /// For how much longer; `None` if the kernel would hold it for ever (toban never asks for that).
    pub remaining: Option<Duration>,
    /// Packets dropped by it so far: the proof that it does something. `None` on kernels that do not count.
    pub packets: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
}

/// "Only these may reach the ports", as the kernel is to hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The action that it belongs to; it names the set in the kernel.
    pub action: ActionId,
    /// Which TCP ports.
    pub ports: Vec<u16>,
    /// Who may.
    pub from: Vec<Prefix>,
    /// How long it holds without a confirmation. The kernel itself forgets the ports then, whatever has become of
    /// toban: that is the dead man's handle. `None` once it is confirmed.
    pub lapses_in: Option<Duration>,
}

/// All that the kernel is to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The bans, each with its remaining time.
    pub bans: BTreeMap<Target, Duration>,
    /// The gates.
    pub gates: Vec<Gate>,
}

/// All that the kernel holds for toban, if its table is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The bans.
    pub bans: BTreeMap<Target, KernelBan>,
    /// The gates whose ports have not lapsed: their action's number.
    pub gates: Vec<ActionId>,
}

/// A packet filter that can drop prefixes for a time.
///
/// Each method either does all of what it was asked and has looked, or returns an error. None retries for ever; the
/// engine decides. [`crate::Error::Gone`] means that somebody took the table apart and [`Firewall::rebuild`] is due.
pub trait Firewall: Send {
    /// Puts these in for so long (a target that is there gets the new time, shorter or longer), then looks
    /// whether each of them is there and whether the rules that make them effective are. Of thousands at a time some are
    /// looked at; the others are when the engine compares.
    fn put(&mut self, bans: &BTreeMap<Target, Duration>) -> Result<()>;
    /// Takes these out; one that is not there is no error.
    fn remove(&mut self, targets: &[Target]) -> Result<()>;
    /// Puts a gate in, or replaces the one of the same action, then looks.
    fn put_gate(&mut self, gate: &Gate) -> Result<()>;
    /// Takes a gate out; one that is not there is no error.
    fn remove_gate(&mut self, action: ActionId) -> Result<()>;
    /// Everything that is held. `Ok(None)` if there is no table at all, [`crate::Error::Gone`] if it is not whole.
    /// In a set of many thousands that just grew, some may not be listed: ask for these by name before calling them gone.
    fn held(&mut self) -> Result<Option<Held>>;
    /// As [`Firewall::held`], of these bans alone: each is looked up.
    fn held_of(&mut self, targets: &[&Target]) -> Result<Option<Held>>;
    /// A number that changes with every change of anybody to the packet filter; `None` where there is none. Bans that end
    /// by themselves do not change it.
    fn generation(&mut self) -> Result<Option<u32>>;
    /// Replaces everything by what is wanted, in one step as far as the kernel can, then looks.
    /// With nothing wanted, nothing is left behind.
    fn rebuild(&mut self, wanted: &Wanted) -> Result<()>;
}
