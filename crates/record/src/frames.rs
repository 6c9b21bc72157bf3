//! The samples of every second, in append-only segment files.
//!
//! # Layout (version 1)
//!
//! A directory holds segments named `<start>.tbf`; `<start>` is the first sample's time in microseconds since the
//! epoch, 20 digits, so that names sort by time. All fixed-width numbers are little-endian; `varint` is LEB128.
//!
//! ```text
//! segment = header record*
//! header  = "TBNFRAME" version:u32 start:i64 crc:u32          24 bytes; crc is CRC-32 of the 20 bytes before it
//! record  = len:u32 crc:u32 payload[len]                      crc is CRC-32 of the len field and the payload
//! payload = 0x01 sample | 0x02 last:i64
//! sample  = at:i64 took_us:varint late_us:varint names:varint name* readings:varint reading*
//! name    = id:varint kind:u8 unit:string text:string         kind is 0 for a gauge, 1 for a counter
//! string  = len:varint bytes[len]                             UTF-8
//! reading = (id << 2 | form):varint value
//! value   = f64 (form 0) | integer:varint (form 1) | f32 (form 2), whichever gives the same f64 back, bit by bit
//! ```
//!
//! Each segment has its own dictionary: a name is spelled out in the first sample that uses it and has the same id up
//! to the segment's end. Ids are written, not counted, so that a lost record cannot shift the ones after it. A segment
//! that was closed in order ends with a 0x02 record that carries the time of its newest sample; one without it was cut
//! off by a crash, or is still being written.
//!
//! # What damage means
//!
//! A **torn tail** (the last record is shorter than it says) is what a crash or a power loss leaves: readers stop
//! there, and the next writer cuts it off. A **damaged record** in the middle is stepped over: the reader looks for the
//! next place that holds a valid record. Readings whose name was in a lost record are left out. All of it is counted
//! in [`Losses`], none of it is an error. What a strange or newer header says is not read at all.
//!
//! A segment never goes back in time: when the clock is set back, a new one is begun. A writer keeps an exclusive
//! flock(2) on the segment that it writes, so a second writer never touches it. Readers take no lock.

mod read;
mod wire;
mod write;

pub use read::{Cursor, Losses, frames};
pub use write::{Frames, Limits};

/// The file name's ending.
pub(crate) const SUFFIX: &str = "tbf";
pub(crate) const MAGIC: &[u8; 8] = b"TBNFRAME";
pub(crate) const VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const RECORD_HEAD_BYTES: usize = 8;
/// A sample of some hundred readings is about 2 KiB. A record beyond this is damage, or a bug that made it.
pub(crate) const RECORD_BYTES_MAX: usize = 256 * 1024;
pub(crate) const TAG_SAMPLE: u8 = 1;
pub(crate) const TAG_LAST: u8 = 2;

const _: () = assert!(HEADER_BYTES == MAGIC.len() + size_of::<u32>() + size_of::<i64>() + size_of::<u32>());

#[cfg(test)]
pub(crate) mod tests;
