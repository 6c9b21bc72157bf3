//! Real incidents on real software, in namespaces of their own.
//!
//! A [`Lab`] is one run of a scenario: test hosts with stock Debian servers, clients, attackers and an
//! administrator with their own source addresses on the wire, and nothing that leaves the namespaces.
//!
//! One process, the *keeper*, is the ancestor of everything in a lab. It ends at a deadline, when it is told to,
//! or when the process that wants the lab goes away, and everything dies with it: namespaces are held by
//! processes alone and mounts live in the keeper's own mount namespace, so nothing has to be hunted down.
//!
//! ```no_run
//! # fn main() -> Result<(), toban_lab::LabError> {
//! use std::time::Duration;
//! let mut lab = toban_lab::Lab::up("connect-flood", &toban_lab::Params::new(7))?;
//! lab.quiet(Duration::from_secs(30))?;
//! lab.start_incident(Duration::from_secs(60))?;
//! let seen = lab.exec("web1", &["ss", "-tn"])?;
//! # drop(seen);
//! # Ok(())
//! # }
//! ```

mod boot;
mod cgroup;
mod error;
mod host;
mod keeper;
mod kernel_log;
mod lab;
mod net;
mod params;
mod plan;
mod prerequisites;
mod roles;
pub mod scenarios;
mod state;
mod stats;
mod traffic;
mod vitals;

pub use error::LabError;
pub use lab::{Lab, Life, list};
pub use params::Params;
pub use plan::{Attackers, Clients, Server, Times, Truth};
pub use prerequisites::{check, install, install_packages};
pub use roles::run_role;
pub use state::Listed;
pub use stats::{KindStats, Outcome, Second, Stats};

/// The time now as seconds since the epoch, the form that all times of a lab have.
pub fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
