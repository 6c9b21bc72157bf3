//! Feeds the log engine what strangers could feed it. A *target* takes any bytes, makes of them what a stranger can
//! reach (lines, format strings, archives, events), and panics where a promise is broken.
//!
//! The engine that makes up inputs is libFuzzer (`main.rs`, run by `cargo xtask fuzz`). It begins with what stands in
//! `seeds/` and `regressions/`, which an ordinary test replays without it (`tests/replay.rs`).

mod known;
pub mod targets;

/// One way to feed the log engine.
pub struct Target {
    /// Its name for ever, and that of its folders.
    pub id: &'static str,
    /// Panics if these bytes break a promise.
    pub run: fn(&[u8]),
    /// Inputs to begin with, made of what the formats say of themselves: a file's name, and what it holds.
    pub seeds: fn() -> Vec<(String, Vec<u8>)>,
}
