//! The samples of every second: a row file that grows by a record a second, files of columns for the hours before, and
//! minutes for the days that there is no room for otherwise.
//!
//! # Files
//!
//! All of them lie in one directory and are named by a time in microseconds since the epoch, 20 digits, so that names
//! sort by time. Fixed-width numbers are little-endian, `varint` is LEB128, `zigzag` puts the sign into the lowest bit,
//! `string` and `block` are a varint length and so many bytes, a crc is CRC-32.
//!
//! - `<start>.tbf`: **rows**, one record a sample. The newest is written to; a full hour, 16 MiB, or a clock that was
//!   set back begin the next one.
//! - `<start>.tbc`: **columns**, what a row file becomes when it is closed. It is written beside it as `<start>.tmp`,
//!   forced to the disk and renamed; then the row file is removed. Where both are there, the columns count.
//! - `<day>.tbm`: the **minutes** of one UTC day.
//!
//! # Rows (version 2)
//!
//! ```text
//! file    = header record*
//! header  = "TBNFRAME" version:u32 start:i64 crc:u32          24 bytes; crc is of the 20 bytes before it
//! record  = len:u32 crc:u32 payload[len]                      crc is of the len field and the payload
//! payload = 0x03 at:i64 zstd(body)                            the first sample of a run
//!         | 0x04 at:i64 before:u32 body                       what changed since the record whose crc is `before`
//!         | 0x02 last:i64                                     the end: the file was closed in order
//! body    = took_us:varint late_us:varint slots<vital, number>
//!           texts:varint string* count:varint looked_at:varint slots<process, fields> slots<peers, integer>
//! slots   = turned:picks new:varint key* changed:bits value*
//! picks   = count:varint gap:varint*                          ascending places, as the gaps between them
//! vital   = kind:u8 unit:string name:string                   kind is 0 for a gauge, 1 for a counter
//! process = pid:varint start_ticks:varint
//! peers   = state:u8 port:u16 (0 | 4 len:u8 address[4] | 6 len:u8 address[16])
//! integer = zigzag(now − before):varint
//! fields  = mask:varint integer*                              one for each bit, in the order of `series::Fields`
//! number  = (zigzag(now·scale − before·scale) << 2 | form):varint     form 0, 1, 2: scale 1, 100, 10 000
//!         | ((skip·9 + len) << 2 | 3):varint bits[len]        f64 bits that changed, `skip` zero bytes left out below
//! ```
//!
//! A **run** is 60 samples that need nothing but each other: names, processes and texts are numbered in the order in
//! which the run spells them. Slots are the series of one kind; `turned` are those that come or go, `new` ones are
//! spelled, and of those that are there, `changed` tells which have a new value; the first value is a difference to 0.
//!
//! Version 1 had readings alone; it is still read (`version1`):
//!
//! ```text
//! payload = 0x01 sample | 0x02 last:i64
//! sample  = at:i64 took_us:varint late_us:varint names:varint name* readings:varint reading*
//! name    = id:varint kind:u8 unit:string text:string         the id is valid up to the end of the file
//! reading = (id << 2 | form):varint value
//! value   = f64 (form 0) | integer:varint (form 1) | f32 (form 2)
//! ```
//!
//! # Columns and minutes (version 1)
//!
//! ```text
//! file      = head directory chunk* directory head
//! head      = magic[8] version:u32 directory_len:u32 directory_crc:u32 crc:u32         24 bytes, crc of 20
//! magic     = "TBNCOLUM" | "TBNMINUT"
//! directory = zstd(pages:varint page* columns:varint column* losses:varint[5])
//! page      = first:i64 last:i64 samples:varint
//! column    = what chunk_len:varint*                          a length for each page; 0 where it has no chunk
//! what      = 0 times | 1 vital | 2 processes | 3 sockets
//! chunk     = body crc:u32                                    column by column, in each page by page
//! times     = integers[5]                                     at, took_us, late_us, count, count − looked_at
//! vital     = presence floats
//! processes = block(zstd(texts:varint string*)) table<process, 13>
//! sockets   = table<peers, 1>
//! table     = series:varint (key presence)* integers*         series by series, each row less the one before it
//! presence  = runs:varint (gap:varint len:varint)*            no runs: in every sample
//! integers  = 0 zigzag:varint | 1 zigzag:varint* | 2 block(pco of i64)        the same | a few | many
//! floats    = 0…2 integers (scaled as above) | 3 block(pco of f64)
//! ```
//!
//! A page is ten minutes, or less if these have more than 32 768 rows of processes. The times stand twice. `losses` is what was lost of the
//! rows when they became columns. In a file of minutes the only page is the day, a vital's chunk is `presence` and the
//! integers `seconds`, `mean`, `mean − low`, `high − mean`; the last three are f32, ordered as integers and rounded to
//! eleven significant bits (0.05 %). A counter's minute is of its growth a second.
//!
//! # What damage means
//!
//! A **torn tail** of rows is what a crash or a power loss leaves: readers stop there, and the next writer cuts it off.
//! A record is handed to the kernel with each sample and forced to the disk every two seconds. A **damaged record** is
//! stepped over and costs what is left of its run; readers know by `before` that a record is missing. A **damaged
//! chunk** costs its column in its page. Of the directory there are two. All of it is counted in [`Losses`], none of it
//! is an error. What a strange or newer header says is not read at all, and not touched.
//!
//! # Who may do what at once
//!
//! A writer holds an exclusive flock(2) on the row file that it writes; closing, folding and deleting are done under one
//! on the directory. Readers take no lock: what is renamed or removed meanwhile they find under its other name, or it
//! was the oldest. A file never goes back in time, so names tell where to look.

mod column_file;
mod keep;
mod losses;
mod minutes;
mod pack;
mod page;
mod places;
mod read;
mod row_file;
mod rows;
mod series;
mod version1;
mod wire;
mod write;

use std::time::Duration;

pub use losses::Losses;
pub use minutes::Minute;
pub use read::{Cursor, Point, Series, frames, moment, vital};
pub use write::{Frames, Limits};

pub(crate) const MAGIC: &[u8; 8] = b"TBNFRAME";
pub(crate) const VERSION: u32 = 2;
pub(crate) const HEADER_BYTES: usize = 24;
pub(crate) const RECORD_HEAD_BYTES: usize = 8;
/// A sample is about 1 KiB, the first of a run some 8. A record beyond this is damage, or a bug that made it.
pub(crate) const RECORD_BYTES_MAX: usize = 256 * 1024;
pub(crate) const TAG_SAMPLE: u8 = 1;
pub(crate) const TAG_LAST: u8 = 2;
pub(crate) const TAG_FIRST: u8 = 3;
pub(crate) const TAG_NEXT: u8 = 4;
pub(crate) const TAGS: &[u8] = &[TAG_SAMPLE, TAG_LAST, TAG_FIRST, TAG_NEXT];

/// Samples in a run: what one damaged record can cost.
pub(crate) const RUN_SAMPLES: usize = 60;
/// The first record of a run, unpacked.
pub(crate) const RUN_BODY_BYTES_MAX: usize = 1 << 20;
/// A row file is closed when the hour is over: its size, and the minutes of one hour are then in one file.
pub(crate) const SEGMENT: Duration = Duration::from_secs(3600);

/// Ten minutes at most: what is unpacked to read one moment, and what one damaged chunk can cost.
pub(crate) const PAGE_SAMPLES: usize = 600;
/// Pages of another toban may be longer.
pub(crate) const PAGE_SAMPLES_MAX: usize = 1 << 16;
/// A page with so many process or socket rows is ended: a bound on the memory that closing takes.
pub(crate) const PAGE_ROWS_MAX: usize = 1 << 15;
/// The same for its texts.
pub(crate) const PAGE_TEXTS_BYTES_MAX: usize = 1 << 20;
/// A packed directory: some thousands of vitals take a tenth of it.
pub(crate) const DIRECTORY_BYTES_MAX: usize = 4 << 20;

const _: () = assert!(HEADER_BYTES == MAGIC.len() + size_of::<u32>() + size_of::<i64>() + size_of::<u32>());

#[cfg(test)]
pub(crate) mod tests;
