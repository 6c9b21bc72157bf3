//! Looks for what has failed: servers that should run, name servers, links, gateways, certificates. Each part reads one
//! kind of thing and judges nothing; what may wait for a disk or a network is for a thread of its own.

mod certificates;
pub mod known;
mod network;
mod pulse;
mod resolvers;
mod tails;

pub use certificates::certificates;
pub use known::{known_servers, runs_maintenance};
pub use network::{gateways, links};
pub use pulse::{Pulses, upstreams};
pub use resolvers::{ask, waiting};
pub use tails::{last_lines, spoken_logs};
