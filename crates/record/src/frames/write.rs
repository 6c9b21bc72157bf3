//! The writing end: one process appends, segment by segment.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toban_model::{Sample, Time};

use super::wire::{self, Names};
use super::{HEADER_BYTES, SUFFIX, read};
use crate::Error;

/// What could not be written yet is kept up to this, then the oldest of it is dropped and counted: some minutes of
/// samples, for a disk that is full or does not answer.
const PENDING_BYTES_MAX: usize = 1024 * 1024;

/// How much is kept, and how soon it is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment is closed when it is as large as this.
    pub segment_bytes: u64,
    /// The oldest segments are deleted when all together are larger than this.
    pub retain_bytes: u64,
    /// Samples are handed to the kernel at least this often; from then on they outlive the process.
    pub flush: Duration,
    /// What the kernel has is forced to the disk at least this often; from then on it outlives a power loss.
    pub sync: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            segment_bytes: 4 << 20,
            retain_bytes: 1 << 30,
            flush: Duration::from_secs(2),
            // A busy disk pays for each of these; a power loss costs at most so many seconds of samples.
            sync: Duration::from_secs(10),
        }
    }
}

/// The segments of one host, open for appending.
#[derive(Debug)]
pub struct Frames {
    dir: PathBuf,
    limits: Limits,
    segment: Option<Segment>,
    torn_bytes: u64,
    dropped: u64,
    /// The sample that came with the last flush.
    flushed: Option<Time>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    names: Names,
    /// Bytes that are in the file for certain.
    written: u64,
    pending: Vec<u8>,
    /// How many samples `pending` holds.
    waiting: u64,
    last: Time,
    synced: Time,
}

impl Frames {
    /// Opens the directory for appending, creating it when it is missing (0700). The torn tail of the newest segment,
    /// if nobody writes it, is cut off and counted in [`Frames::torn_bytes`]. Appending begins a new segment.
    pub fn open(dir: &Path, limits: Limits) -> Result<Frames, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, e))?;
        let mut frames =
            Frames { dir: dir.to_owned(), limits, segment: None, torn_bytes: 0, dropped: 0, flushed: None };
        if let Some((_, newest)) = read::segments(dir)?.pop() {
            frames.torn_bytes = cut_torn_tail(&newest)?;
        }
        frames.retain()?;
        Ok(frames)
    }

    /// How many bytes of a torn tail were cut off when it was opened.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// How many samples were lost since it was opened: because the disk took nothing for minutes, or because a sample
    /// was too large to be one.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a sample. An error means that the disk takes nothing now: what is waiting is kept and tried again with
    /// the next sample, as long as there is room for it; what there is no room for is counted in [`Frames::dropped`].
    pub fn append(&mut self, sample: &Sample) -> Result<(), Error> {
        let ends = self
            .segment
            .as_ref()
            .is_some_and(|segment| sample.at < segment.last || segment.bytes() >= self.limits.segment_bytes);
        // If the old segment cannot be ended because the disk is full, it goes on; its order is then not promised,
        // but nothing is lost.
        let ended = if ends { self.close() } else { Ok(()) };
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => match self.retain().and_then(|()| Segment::begin(&self.dir, sample.at)) {
                Ok(segment) => self.segment.insert(segment),
                Err(e) => {
                    self.dropped += 1;
                    return Err(e);
                }
            },
        };
        if segment.pending.len() > PENDING_BYTES_MAX {
            // The names in what is dropped are lost with it, so what follows goes to a new segment.
            self.dropped += segment.waiting + 1;
            self.segment = None;
            return ended.and(Err(Error::DiskFull { path: self.dir.clone() }));
        }
        if segment.names.write(&mut segment.pending, sample) {
            segment.waiting += 1;
            segment.last = sample.at;
        } else {
            self.dropped += 1;
        }
        let due = self
            .flushed
            .is_none_or(|flushed| sample.at < flushed || sample.at.since(flushed) >= self.limits.flush);
        if due {
            self.flushed = Some(sample.at);
            let sync = sample.at.since(segment.synced) >= self.limits.sync;
            segment.flush(sync)?;
        }
        ended
    }

    /// Hands everything to the kernel and forces it to the disk.
    pub fn flush(&mut self) -> Result<(), Error> {
        match &mut self.segment {
            Some(segment) => segment.flush(true),
            None => Ok(()),
        }
    }

    /// Ends the segment in order.
    fn close(&mut self) -> Result<(), Error> {
        if let Some(segment) = &mut self.segment {
            wire::write_last(&mut segment.pending, segment.last);
            if let Err(e) = segment.flush(true) {
                // The end mark may be tried again with the next sample; it must not pile up meanwhile.
                let mark = segment.pending.len().saturating_sub(LAST_RECORD_BYTES);
                segment.pending.truncate(mark);
                return Err(e);
            }
            self.segment = None;
        }
        Ok(())
    }

    /// Deletes the oldest segments until what is there, and one segment more, fits.
    fn retain(&self) -> Result<(), Error> {
        let mut segments = Vec::new();
        for (_, path) in read::segments(&self.dir)? {
            let bytes = fs::metadata(&path).map(|meta| meta.len()).unwrap_or(0);
            segments.push((path, bytes));
        }
        let mut total: u64 = segments.iter().map(|(_, bytes)| bytes).sum();
        let room = self.limits.retain_bytes.saturating_sub(self.limits.segment_bytes);
        for (path, bytes) in segments {
            if total <= room {
                break;
            }
            match fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(&path, e)),
                _ => total -= bytes,
            }
        }
        Ok(())
    }
}

/// The record that [`wire::write_last`] appends.
const LAST_RECORD_BYTES: usize = super::RECORD_HEAD_BYTES + 1 + size_of::<i64>();

impl Drop for Frames {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; an end without the mark reads like a crash, which is handled.
        let _ = self.close();
    }
}

impl Segment {
    fn begin(dir: &Path, start: Time) -> Result<Segment, Error> {
        // Two writers, or a clock that was set back to the very microsecond: the next free name.
        let mut stamp = start.as_micros().max(0);
        loop {
            let path = dir.join(format!("{stamp:020}.{SUFFIX}"));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => {
                    file.lock().map_err(|e| Error::io(&path, e))?;
                    return Ok(Segment {
                        path,
                        file,
                        names: Names::default(),
                        written: 0,
                        pending: wire::header(start).to_vec(),
                        waiting: 0,
                        last: start,
                        synced: start,
                    });
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => stamp += 1,
                Err(e) => return Err(Error::io(&path, e)),
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    fn flush(&mut self, sync: bool) -> Result<(), Error> {
        if !self.pending.is_empty() {
            if let Err(e) = self.file.write_all(&self.pending) {
                // Part of it may be in the file: back to the last whole record, so that a retry does not tear it.
                let back = self.file.set_len(self.written);
                let seek = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.written));
                return Err(Error::io(&self.path, back.and(seek.map(|_| ())).err().unwrap_or(e)));
            }
            self.written += self.pending.len() as u64;
            self.pending.clear();
            self.waiting = 0;
        }
        if sync {
            self.file.sync_data().map_err(|e| Error::io(&self.path, e))?;
            self.synced = self.last;
        }
        Ok(())
    }
}

/// Cuts the torn tail off a segment that nobody writes, and says how long it was. A segment that is all tail (its
/// header never made it to the disk whole) is removed.
fn cut_torn_tail(path: &Path) -> Result<u64, Error> {
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io(path, e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(0),
        Err(TryLockError::Error(e)) => return Err(Error::io(path, e)),
    }
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    if bytes.len() < HEADER_BYTES {
        fs::remove_file(path).map_err(|e| Error::io(path, e))?;
        return Ok(bytes.len() as u64);
    }
    let keep = read::valid_end(&bytes);
    let torn = (bytes.len() - keep) as u64;
    if torn > 0 {
        file.set_len(keep as u64).map_err(|e| Error::io(path, e))?;
    }
    Ok(torn)
}
