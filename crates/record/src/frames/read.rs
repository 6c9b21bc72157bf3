//! The reading end: a cursor over the samples of a stretch of time.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::vec;

use toban_model::{Sample, Time};

use super::wire::{self, Dictionary, Framed};
use super::{HEADER_BYTES, RECORD_HEAD_BYTES, SUFFIX, TAG_LAST, TAG_SAMPLE};
use crate::Error;

/// Looking for the next valid record stops after this many bytes have been checksummed: a bound on what one damaged
/// segment can cost. What is left of the segment is then given up.
const RESYNC_BYTES_MAX: usize = 64 << 20;

/// What could not be read. All zero for a recording that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Bytes after the last whole record of a segment: a crash, or a sample that is being written at this moment.
    pub torn_bytes: u64,
    /// Bytes that belong to no valid record, in the middle of a segment.
    pub damaged_bytes: u64,
    /// Readings whose name was in a lost record.
    pub nameless_readings: u64,
    /// Segments that could not be read at all: not ours, a newer version, or a damaged header.
    pub unreadable_segments: u64,
}

/// The samples from `from` up to and with `to`, in the order in which they were written. A directory that does not
/// exist holds none.
pub fn frames(dir: &Path, from: Time, to: Time) -> Result<Cursor, Error> {
    // A segment's name is no later than its samples, so those that begin after `to` are not even opened.
    let mut segments = segments(dir)?;
    segments.retain(|(start, _)| *start <= to);
    Ok(Cursor { from, to, segments: segments.into_iter(), open: None, losses: Losses::default() })
}

/// Reads samples one after the other; holds one segment (4 MiB) in memory.
#[derive(Debug)]
pub struct Cursor {
    from: Time,
    to: Time,
    segments: vec::IntoIter<(Time, PathBuf)>,
    open: Option<OpenSegment>,
    losses: Losses,
}

#[derive(Debug)]
struct OpenSegment {
    bytes: Vec<u8>,
    at: usize,
    names: Dictionary,
    resync_left: usize,
}

impl Cursor {
    /// What could not be read so far.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    /// Opens the next segment that may hold something. `None` at the end.
    fn next_segment(&mut self) -> Option<Result<OpenSegment, Error>> {
        loop {
            let (_, path) = self.segments.next()?;
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                // Retention took it between the listing and now.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Some(Err(Error::io(&path, e))),
            };
            if bytes.is_empty() {
                // Begun at this moment: its header waits for the first flush.
                continue;
            }
            if wire::read_header(&bytes).is_none() {
                self.losses.unreadable_segments += 1;
                continue;
            }
            if closed_before(&bytes, self.from) {
                continue;
            }
            let names = Dictionary::default();
            return Some(Ok(OpenSegment { bytes, at: HEADER_BYTES, names, resync_left: RESYNC_BYTES_MAX }));
        }
    }
}

impl Iterator for Cursor {
    type Item = Result<Sample, Error>;

    fn next(&mut self) -> Option<Result<Sample, Error>> {
        loop {
            let segment = match &mut self.open {
                Some(segment) => segment,
                None => match self.next_segment()? {
                    Ok(segment) => self.open.insert(segment),
                    Err(e) => return Some(Err(e)),
                },
            };
            match segment.next(&mut self.losses) {
                Some(sample) if sample.at >= self.from && sample.at <= self.to => return Some(Ok(sample)),
                Some(_) => {}
                None => self.open = None,
            }
        }
    }
}

impl OpenSegment {
    fn next(&mut self, losses: &mut Losses) -> Option<Sample> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            match wire::framed(rest) {
                Framed::Valid(payload, len) => {
                    self.at += len;
                    // Else it is the end mark, or a kind of record that a later version added.
                    if let Some((&TAG_SAMPLE, sample)) = payload.split_first() {
                        match self.names.read(sample) {
                            Some((sample, nameless)) => {
                                losses.nameless_readings += nameless;
                                return Some(sample);
                            }
                            None => losses.damaged_bytes += len as u64,
                        }
                    }
                }
                Framed::Torn | Framed::Damaged => match resync(rest, &mut self.resync_left) {
                    Some(skip) => {
                        losses.damaged_bytes += skip as u64;
                        self.at += skip;
                    }
                    None => {
                        losses.torn_bytes += rest.len() as u64;
                        self.at = self.bytes.len();
                    }
                },
            }
        }
    }
}

/// How far it is to the next valid record, looking from the second byte on.
fn resync(bytes: &[u8], budget: &mut usize) -> Option<usize> {
    for skip in 1..bytes.len().saturating_sub(RECORD_HEAD_BYTES) {
        let rest = &bytes[skip..];
        if !wire::plausible(rest) {
            continue;
        }
        let len = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if len > *budget {
            *budget = 0;
            return None;
        }
        *budget -= len;
        if let Framed::Valid(..) = wire::framed(rest) {
            return Some(skip);
        }
    }
    None
}

/// Where the last valid record of a segment ends.
pub(super) fn valid_end(bytes: &[u8]) -> usize {
    let mut at = HEADER_BYTES.min(bytes.len());
    let mut budget = RESYNC_BYTES_MAX;
    let mut end = at;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        match wire::framed(rest) {
            Framed::Valid(_, len) => {
                at += len;
                end = at;
            }
            Framed::Torn | Framed::Damaged => match resync(rest, &mut budget) {
                Some(skip) => at += skip,
                None if budget == 0 => return bytes.len(),
                None => break,
            },
        }
    }
    end
}

/// The segment was closed in order, and before `from`: nothing in it is wanted.
fn closed_before(bytes: &[u8], from: Time) -> bool {
    let Some(at) = bytes.len().checked_sub(RECORD_HEAD_BYTES + 1 + size_of::<i64>()) else { return false };
    match wire::framed(&bytes[at..]) {
        Framed::Valid([TAG_LAST, last @ ..], _) => wire::read_last(last).is_some_and(|last| last < from),
        _ => false,
    }
}

/// The segments of a directory with the time in their name, oldest first. Other files are left alone.
pub(super) fn segments(dir: &Path) -> Result<Vec<(Time, PathBuf)>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(dir, e)),
    };
    let mut segments = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let start = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| path.extension().is_some_and(|extension| extension == SUFFIX))
            .and_then(|stem| stem.parse().ok());
        if let Some(start) = start {
            segments.push((Time::from_micros(start), path));
        }
    }
    segments.sort();
    Ok(segments)
}
