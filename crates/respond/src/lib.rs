//! Plans, checks the safety rules, acts, measures, undoes: the only part of toban that changes the host.
//!
//! It is given typed plans and never sees text that a stranger wrote. [`safety::check`] makes a plan safe or refuses
//! it; [`Engine::carry_out`] writes the audit record, acts, looks whether it is so, and can take it back.

pub mod actions;
mod command;
mod engine;
mod error;
mod firewall;
pub mod hook;
mod ledger;
mod netlink;
mod nft;
mod process;
pub mod safety;
pub mod verify;

pub use engine::{Engine, Reconciled};
pub use error::{Error, LedgerError, Result};
pub use firewall::{Firewall, Gate, Held, KernelBan, Target, Wanted};
pub use ledger::{Ledger, MemoryLedger, Progress, Respawn, StepProgress};
pub use nft::{Nftables, TABLE};
