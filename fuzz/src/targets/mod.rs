//! The targets, one file each.

use crate::Target;

mod archives;
mod cases;
mod compile;
mod detect;
mod forgery;
mod lines;
mod sniff;
mod transports;

/// All targets.
pub static ALL: &[&Target] = &[
    &lines::TARGET,
    &forgery::TARGET,
    &compile::TARGET,
    &sniff::TARGET,
    &transports::TARGET,
    &detect::TARGET,
    &archives::TARGET,
    &cases::TARGET,
];
