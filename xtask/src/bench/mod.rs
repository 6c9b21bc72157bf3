//! `cargo xtask bench`: toban beside its peers, on the same input in the same run.
#![allow(dead_code, unused_imports, reason = "wip")]

mod accuracy;
mod generate;
mod truth;
