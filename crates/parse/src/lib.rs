//! Turns lines into events at memory speed.
//!
//! A [`Format`] is one log's way of writing, ready to read lines: by name, compiled from the server's own format string,
//! or sniffed from the lines. [`Format::parse`] takes a line's bytes and gives what it says, borrowed from the line, or
//! `None` if the line is not of this format; counting those is the caller's.
//!
//! Here is no I/O, no clock and no regular expression, and no input panics: not the lines, not the format strings.
//! What is deliberately absent: any judgement of what a line means for the host, and any search for addresses. An
//! address is what stands in the server's own field.

mod columns;
mod error;
mod format;
pub mod formats;
mod http;
mod journal;
mod json;
mod life;
mod plan;
mod rfc5424;
mod scan;
mod service;
mod show;
mod stamp;
mod strftime;
mod syslog;
mod window;

pub use error::Error;
pub use format::{Format, sniff};
pub use life::{Spoken, Spokesman, life_line, life_word, shown, unit_word};
pub use show::show;
pub use stamp::Clock;

/// The longest format string that is compiled, in bytes. Apache's own configuration lines end at 8 KiB.
pub const FORMAT_BYTES_MAX: usize = 16 * 1024;
