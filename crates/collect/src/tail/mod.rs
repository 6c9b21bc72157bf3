//! Follows many log files at once through rotation, truncation and re-creation.
//!
//! inotify(7) on the directories only wakes the caller; every look goes by the files themselves, so that an event
//! lost, an overlay or a network file system without events costs a second and no line.
//!
//! A log that is renamed is read on for a while, since servers write to the old file until they are told to reopen.
//! A log that is copied and truncated is known by the bytes before the place up to which it was read, not only by its
//! size: it may have grown beyond that before the next look. What was not read of it by then is read from the copy.
//! When several rotations came between two looks, or while toban did not run, each file in between is read, in order.

mod follow;
mod generations;
mod open;
mod position;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::bell::{Bell, is_any_ready};
use crate::{Error, Root, limits};
use follow::Follow;
use open::Turn;
pub(crate) use position::modified_ns;
pub use position::{Fingerprint, Mark, Position};

/// A followed log, in the order of [`Tailer::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first line.
    Beginning,
    /// With the next line that is written.
    End,
    /// Where reading stopped before; what was rotated away since is read from its rotated files.
    At(Position),
}

/// What one round of reading brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines handed over.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Some log has more to read right now; call again before waiting.
    pub more: bool,
}

/// What happened to a log since it is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Lines longer than [`limits::LINE_BYTES_MAX`], of which only that much was handed over.
    pub cut_lines: u64,
    /// Replaced by another file.
    pub rotations: u64,
    /// Cut to a smaller size in place. Each time lines may be missing: those that were written after the copy was made
    /// and before the file was cut are nowhere, and nobody can count them.
    pub truncations: u64,
    /// Bytes that are known to have been there and were cut off before they were read.
    pub lost_bytes: u64,
    /// A remembered position was found nowhere, or an archive could not be read to its end, so lines may be missing.
    pub lost_track: bool,
    /// Why it cannot be read at this moment.
    pub problem: Option<String>,
}

/// Follows logs. See the module.
pub struct Tailer {
    root: Root,
    follows: Vec<Follow>,
    watch: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Tailer {
    /// Follows nothing yet.
    pub fn new(root: Root) -> Tailer {
        // Without inotify (max_user_instances) waiting is by time alone.
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Tailer { root, follows: Vec::new(), watch, buffer: vec![0; 256 << 10] }
    }

    /// Follows one more log. A file that does not exist yet is waited for if its directory exists, or if it was read
    /// before.
    pub fn add(&mut self, path: &Path, start: Start) -> Result<LogId, Error> {
        let path = self.root.at(path);
        if self.follows.len() >= limits::LOGS_MAX {
            return Err(Error::TooMany { path, limit: limits::LOGS_MAX });
        }
        let id = LogId(u32::try_from(self.follows.len()).unwrap_or(u32::MAX));
        let follow = Follow::begin(&self.root, id, path, start)?;
        self.watch_directory(&follow.path);
        self.follows.push(follow);
        Ok(id)
    }

    /// Asks to be woken. Asking again is cheap, and needed for a directory that has been made anew.
    fn watch_directory(&self, path: &Path) {
        let Some(watch) = &self.watch else { return };
        // A log behind a link changes in the directory of its target.
        let real = std::fs::canonicalize(path).ok();
        for directory in [path.parent(), real.as_deref().and_then(Path::parent)].into_iter().flatten() {
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            // Where it cannot be watched it is looked at all the same.
            let _watched = inotify::add_watch(watch, directory, flags);
        }
    }

    /// Waits until a followed directory changes, at most this long. False when nothing was noticed; read anyway
    /// at least once a second, since not every file system tells.
    pub fn wait(&self, at_most: Duration) -> bool {
        if self.watch.is_none() {
            const WITHOUT_EVENTS: Duration = Duration::from_millis(200);
            std::thread::sleep(at_most.min(WITHOUT_EVENTS));
            return true;
        }
        self.poll(at_most, None)
    }

    /// As [`Tailer::wait`], until the bell is rung; where nothing tells of changes, until then alone.
    pub fn wait_or(&self, at_most: Duration, bell: &Bell) -> bool {
        self.poll(at_most, Some(bell))
    }

    /// Whether a followed directory has changed.
    fn poll(&self, at_most: Duration, bell: Option<&Bell>) -> bool {
        let asked = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let fds = [self.watch.as_ref().map(AsFd::as_fd), bell.map(AsFd::as_fd)];
        let mut asked: Vec<PollFd<'_>> = fds.into_iter().flatten().map(asked).collect();
        if !is_any_ready(&mut asked, at_most) {
            return false;
        }
        if let Some(bell) = bell {
            bell.hush();
        }
        let Some(watch) = self.watch.as_ref().filter(|_| !asked[0].revents().is_empty()) else {
            return false;
        };
        // The events only wake; what they say is looked up in the files.
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        const EVENTS_MAX: usize = 100_000;
        for _ in 0..EVENTS_MAX {
            if events.next().is_err() {
                break;
            }
        }
        true
    }

    /// Hands over every whole line that is there, without its newline, log by log, each log's lines in order.
    pub fn read(&mut self, each: &mut dyn FnMut(LogId, &[u8])) -> Outcome {
        let mut outcome = Outcome::default();
        let mut moved = Vec::new();
        for (index, follow) in self.follows.iter_mut().enumerate() {
            let mut turn = Turn {
                id: follow.id,
                each: &mut *each,
                buffer: &mut self.buffer,
                left: limits::TAIL_TURN_BYTES,
                outcome: &mut outcome,
            };
            if follow.read(&self.root, &mut turn) || follow.health.problem.is_some() {
                moved.push(index);
            }
        }
        for index in moved {
            self.watch_directory(&self.follows[index].path);
        }
        outcome
    }

    /// How far each log was read.
    pub fn positions(&self) -> Vec<(LogId, Position)> {
        self.follows.iter().filter_map(|follow| Some((follow.id, follow.position()?))).collect()
    }

    /// The path of a log, as the host calls it.
    pub fn path(&self, id: LogId) -> Option<PathBuf> {
        Some(self.root.host_path(&self.follow(id)?.path))
    }

    /// What happened to a log.
    pub fn health(&self, id: LogId) -> Option<&Health> {
        Some(&self.follow(id)?.health)
    }

    /// How many logs are followed.
    pub fn len(&self) -> usize {
        self.follows.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.follows.is_empty()
    }

    fn follow(&self, id: LogId) -> Option<&Follow> {
        self.follows.get(usize::try_from(id.0).ok()?)
    }
}
