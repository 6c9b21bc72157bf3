//! Reads this host; judges nothing.
//!
//! Everything here takes the root of the file system as a parameter ([`Root`]), so that a fixture tree, a mounted
//! disk of a dead host and the live host are read by the same code. No command is ever spawned: what a command
//! would print, the kernel's own interfaces say. Reading is bounded everywhere; the limits stand in [`limits`],
//! and what was cut is counted.

mod aside;
pub mod beat;
pub mod bell;
mod beside;
pub mod closer;
pub mod collectors;
pub mod crowd;
pub mod discover;
mod error;
pub mod history;
pub mod holdings;
pub mod inspect;
mod kept;
pub mod kernel;
pub mod limits;
pub mod listeners;
pub mod outbound;
mod parts;
mod patience;
pub mod priority;
mod processes;
pub mod procfs;
mod root;
pub mod scoreboard;
pub mod servers;
pub mod shutdown;
pub mod sockets;
mod sums;
pub mod tail;

pub use collectors::{Collector, Sampler};

pub use discover::discover;
pub use error::Error;
pub use patience::unanswered;
pub use root::Root;
