//! What logs alone tell: whom one would blame, and who asked for what how often.

use std::net::IpAddr;
use std::sync::Arc;

use crate::{Prefix, Time};

/// Somebody whom toban's detectors would blame for what stands in a log.
#[derive(Clone, Debug, PartialEq)]
pub struct Blamed {
    /// The client, if it is one.
    pub client: Option<IpAddr>,
    /// The network of a spread attack, if it has one.
    pub prefix: Option<Prefix>,
    /// The clients of a spread attack, in order.
    pub clients: Vec<IpAddr>,
    /// The cause, by its id in the catalogue.
    pub cause: &'static str,
    /// The service that it was done to.
    pub service: String,
    /// How often.
    pub count: u32,
    /// When for the first time.
    pub first: Time,
    /// When for the last time.
    pub last: Time,
    /// The first lines that count: which log, from 0, and the number of the line in it, from 1.
    pub lines: Vec<(usize, u64)>,
}

/// How much came from an address or a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Where from.
    pub prefix: Prefix,
    /// Requests, at least.
    pub requests: u32,
    /// At most so many more.
    pub missed: u32,
}

/// A path template or a user agent with its requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The name, a stranger's text; `*` for all that are too light for one.
    pub name: Arc<str>,
    /// Requests, at least.
    pub requests: u32,
    /// At most so many more.
    pub missed: u32,
}

/// Requests that have all this in common. What is absent may be anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Combined {
    /// The client, if it is a heavy one.
    pub client: Option<IpAddr>,
    /// The method; `*` for any.
    pub method: &'static str,
    /// The path's template.
    pub path: Option<Arc<str>>,
    /// The user agent.
    pub agent: Option<Arc<str>>,
    /// Requests, at least.
    pub requests: u32,
    /// At most so many more.
    pub missed: u32,
}

/// The heavy hitters of some traffic, the heaviest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Busiest {
    /// Clients, one by one.
    pub addresses: Vec<Origin>,
    /// Networks of all lengths, with everything in them.
    pub prefixes: Vec<Origin>,
    /// Path templates.
    pub paths: Vec<Named>,
    /// User agents.
    pub agents: Vec<Named>,
    /// Combinations: each request is counted in one of them.
    pub combinations: Vec<Combined>,
    /// Different clients, and the most by which this is wrong.
    pub clients: (u64, u64),
    /// Seconds in which the half, nine of ten and 99 of 100 requests were served, right to 1.6 %.
    pub durations_s: Option<[f64; 3]>,
}
