//! The writing end: one process appends, segment by segment; a thread of its own closes them and makes room.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use toban_model::{Sample, Time};

use super::places::{self, COLUMNS, ROWS};
use super::row_file::RowFile;
use super::rows::{RunWriter, Scope};
use super::wire;
use super::{HEADER_BYTES, SEGMENT, TAG_LAST, VERSION, keep};
use crate::Error;

/// What could not be written yet is kept up to this, then all of it is dropped and counted: a quarter of an hour of
/// samples, for a disk that is full or does not answer.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Closing that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(60);

/// How much is kept, and how soon it is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A segment is closed when its rows are as large as this, or the hour is over.
    pub segment_bytes: u64,
    /// The oldest seconds become minutes, and the oldest minutes are deleted, when all together are larger than this.
    pub retain_bytes: u64,
    /// What the kernel has is forced to the disk at least this often; from then on it outlives a power loss.
    pub sync: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            segment_bytes: 16 << 20,
            retain_bytes: 1 << 30,
            // Every second sample, however late it is, so that a power loss costs two seconds at most.
            sync: Duration::from_millis(1500),
        }
    }
}

/// The samples of one host, open for appending.
#[derive(Debug)]
pub struct Frames {
    dir: PathBuf,
    limits: Limits,
    segment: Option<Segment>,
    torn_bytes: u64,
    dropped: u64,
    /// Something is to be closed.
    due: bool,
    keeper: Option<JoinHandle<Result<(), Error>>>,
    keeper_begins: fn(),
    /// When closing failed the last time, until it succeeds.
    failed: Option<Time>,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    run: RunWriter,
    /// Bytes that are in the file for certain.
    written: u64,
    pending: Vec<u8>,
    /// How many samples `pending` holds.
    waiting: u64,
    start: Time,
    last: Time,
    synced: Option<Time>,
}

impl Frames {
    /// Opens the directory for appending, creating it when it is missing (0700). The torn tail of the newest row file,
    /// if nobody writes it, is cut off and counted in [`Frames::torn_bytes`]. Appending begins a new segment.
    pub fn open(dir: &Path, limits: Limits) -> Result<Frames, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, e))?;
        let newest = places::segments(dir)?.pop().filter(|segment| segment.columns.is_none());
        let torn_bytes = match newest.and_then(|segment| segment.rows) {
            Some(path) => cut_torn_tail(&path)?,
            None => 0,
        };
        let mut frames = Frames {
            dir: dir.to_owned(),
            limits,
            segment: None,
            torn_bytes,
            dropped: 0,
            due: true,
            keeper: None,
            keeper_begins: || {},
            failed: None,
        };
        frames.start_keeper();
        Ok(frames)
    }

    /// Has the thread that closes segments begin with this: it inherits the priority of the one that appends.
    pub fn keeper_begins_with(&mut self, begins: fn()) {
        self.keeper_begins = begins;
    }

    /// How many bytes of a torn tail were cut off when it was opened.
    pub fn torn_bytes(&self) -> u64 {
        self.torn_bytes
    }

    /// How many samples were lost since it was opened: because the disk took nothing for a quarter of an hour, or because
    /// a sample was too large to be one.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends a sample, which then outlives the process. It may wait for the disk.
    ///
    /// An error means that the disk takes nothing now, or that closing failed: what is waiting is kept and tried again
    /// with the next sample, as long as there is room for it in memory; what there is no room for is counted in
    /// [`Frames::dropped`]. Go on appending.
    pub fn append(&mut self, sample: &Sample) -> Result<(), Error> {
        let ends = self.segment.as_ref().is_some_and(|segment| {
            sample.at < segment.last
                || segment.bytes() >= self.limits.segment_bytes
                || sample.at.bucket(SEGMENT) != segment.start.bucket(SEGMENT)
        });
        // If the old segment cannot be ended because the disk is full, it goes on; its order is then not promised,
        // but nothing is lost.
        let ended = if ends { self.end() } else { Ok(()) };
        let kept = self.look_after(sample.at);
        let segment = match &mut self.segment {
            Some(segment) => segment,
            None => match Segment::begin(&self.dir, sample.at) {
                Ok(segment) => self.segment.insert(segment),
                Err(e) => {
                    self.dropped += 1;
                    return Err(e);
                }
            },
        };
        if segment.pending.len() > PENDING_BYTES_MAX {
            self.dropped += segment.waiting;
            segment.drop_pending();
        }
        if segment.run.is_full() {
            segment.run = RunWriter::default();
        }
        if segment.run.write(&mut segment.pending, sample) {
            segment.waiting += 1;
            segment.last = sample.at;
        } else {
            // What would follow in its run is a difference to it.
            segment.run = RunWriter::default();
            self.dropped += 1;
        }
        let sync = segment.synced.is_none_or(|synced| sample.at.since(synced) >= self.limits.sync);
        segment.flush(sync).and(ended).and(kept)
    }

    /// Hands everything to the kernel and forces it to the disk.
    pub fn flush(&mut self) -> Result<(), Error> {
        match &mut self.segment {
            Some(segment) => segment.flush(true),
            None => Ok(()),
        }
    }

    /// Waits until everything that is to be closed is closed and there is room again, which is otherwise done behind
    /// the writer's back.
    pub fn settle(&mut self) -> Result<(), Error> {
        let before = self.join_keeper();
        if self.due {
            self.start_keeper();
        }
        before.and(self.join_keeper())
    }

    /// Ends the segment in order.
    fn end(&mut self) -> Result<(), Error> {
        if let Some(segment) = &mut self.segment {
            segment.end()?;
            self.segment = None;
            self.due = true;
        }
        Ok(())
    }

    /// Starts what is due, and tells what became of what was started.
    fn look_after(&mut self, now: Time) -> Result<(), Error> {
        let mut told = Ok(());
        if self.keeper.as_ref().is_some_and(JoinHandle::is_finished) {
            let outcome = self.join_keeper();
            let failed = outcome.is_err().then_some(now);
            // That it still fails is not told every minute.
            if std::mem::replace(&mut self.failed, failed).is_none() {
                told = outcome;
            }
        }
        let waits = self.failed.is_some_and(|failed| now >= failed && now.since(failed) < RETRY);
        if self.due && self.keeper.is_none() && !waits {
            self.start_keeper();
        }
        told
    }

    fn start_keeper(&mut self) {
        let (dir, limits, begins) = (self.dir.clone(), self.limits, self.keeper_begins);
        let keeper = thread::Builder::new().name("toban-keep".into()).spawn(move || {
            begins();
            keep::keep(&dir, limits)
        });
        // Without a thread it stays due.
        self.due = keeper.is_err();
        self.keeper = keeper.ok();
    }

    fn join_keeper(&mut self) -> Result<(), Error> {
        let Some(keeper) = self.keeper.take() else { return Ok(()) };
        let told = keeper.join().unwrap_or_else(|_| {
            let source = io::Error::other("closing a segment ended in a panic");
            Err(Error::Io { path: self.dir.clone(), source })
        });
        self.due |= told.is_err();
        told
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        // Nobody is left to hear of a failure; an end without the mark reads like a crash, which is handled.
        let _ = self.end();
        let _ = self.join_keeper();
    }
}

impl Segment {
    fn begin(dir: &Path, start: Time) -> Result<Segment, Error> {
        // Two writers, or a clock that was set back to the very microsecond: the next free name.
        let mut name = start.max(Time::ZERO);
        loop {
            let path = places::path(dir, name, ROWS);
            let fail = |e| Error::io(&path, e);
            let created = if path.with_extension(COLUMNS).exists() {
                Err(ErrorKind::AlreadyExists.into())
            } else {
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)
            };
            match created {
                Ok(file) => {
                    file.lock().map_err(fail)?;
                    // Until it was locked it looked like one that was left empty, and may have been removed.
                    if ino(path.metadata()) == ino(file.metadata()) {
                        return Ok(Segment {
                            file,
                            run: RunWriter::default(),
                            written: 0,
                            pending: wire::header(VERSION, start).to_vec(),
                            waiting: 0,
                            start,
                            last: start,
                            synced: None,
                            path,
                        });
                    }
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => name = name + Duration::from_micros(1),
                Err(e) => return Err(fail(e)),
            }
        }
    }

    fn bytes(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Forgets what could not be written; the next sample begins a run of its own.
    fn drop_pending(&mut self) {
        let header = if self.written == 0 { HEADER_BYTES } else { 0 };
        self.pending.truncate(header);
        self.waiting = 0;
        self.run = RunWriter::default();
    }

    fn end(&mut self) -> Result<(), Error> {
        let before = self.pending.len();
        wire::record(&mut self.pending, |out| {
            out.push(TAG_LAST);
            out.extend_from_slice(&self.last.as_micros().to_le_bytes());
        });
        let ended = self.flush(true);
        if ended.is_err() {
            // It may be tried again with the next sample; it must not pile up meanwhile.
            self.pending.truncate(before);
        }
        ended
    }

    fn flush(&mut self, sync: bool) -> Result<(), Error> {
        let fail = |e| Error::io(&self.path, e);
        if !self.pending.is_empty() {
            if let Err(e) = self.file.write_all(&self.pending) {
                // Part of it may be in the file: back to the last whole record, so that a retry does not tear it.
                let back = self.file.set_len(self.written);
                let seek = io::Seek::seek(&mut self.file, io::SeekFrom::Start(self.written));
                return Err(fail(back.and(seek.map(|_| ())).err().unwrap_or(e)));
            }
            self.written += self.pending.len() as u64;
            self.pending.clear();
            self.waiting = 0;
        }
        if sync {
            self.file.sync_data().map_err(fail)?;
            if self.synced.is_none() {
                places::sync_dir_of(&self.path).map_err(fail)?;
            }
            self.synced = Some(self.last);
        }
        Ok(())
    }
}

fn ino(file: io::Result<Metadata>) -> Option<u64> {
    file.ok().map(|file| file.ino())
}

/// Cuts the torn tail off a row file that nobody writes, and says how long it was. A file that is all tail (its header
/// never made it to the disk whole) is removed.
fn cut_torn_tail(path: &Path) -> Result<u64, Error> {
    let Some(file) = keep::left(path)? else { return Ok(0) };
    let bytes = places::bytes(path);
    if bytes < HEADER_BYTES as u64 {
        places::remove(path)?;
        return Ok(bytes);
    }
    let Some(rows) = RowFile::open(path, Scope::Readings)? else { return Ok(0) };
    let (end, torn) = rows.valid_end()?;
    if torn > 0 {
        file.set_len(end).map_err(|e| Error::io(path, e))?;
    }
    Ok(torn)
}
