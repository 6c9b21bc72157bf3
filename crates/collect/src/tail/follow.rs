//! One followed log: the file that its name means now, and those that came before it and are not read to their ends.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::generations::{self, Anchor, Missed, current_of};
use super::open::{Look, Open, Turn};
use super::position::{Mark, Position};
use super::{Health, LogId, Start};
use crate::history::{Entry, is_settled, listing};
use crate::root::open_regular;
use crate::{Error, Root};

/// Looks at a directory in which files are being renamed before it is left for the next turn.
const LOOKS: usize = 3;

/// See the module.
pub(super) struct Follow {
    pub(super) id: LogId,
    pub(super) path: PathBuf,
    pub(super) health: Health,
    /// What the path named at the last look.
    current: Option<Open>,
    /// Rotated away, oldest first: read before the current one.
    old: Vec<Open>,
    /// Where to begin, as long as that is not found out.
    remembered: Option<Position>,
}

impl Follow {
    /// A log that does not exist yet is waited for if its directory exists, or if it was read before.
    pub(super) fn begin(root: &Root, id: LogId, path: PathBuf, start: Start) -> Result<Follow, Error> {
        let mut follow =
            Follow { id, path, health: Health::default(), current: None, old: Vec::new(), remembered: None };
        let opened = open_regular(&follow.path);
        let known = match (&opened, &start) {
            (Err(error), Start::At(_)) => error.is_missing(),
            (Err(error), _) => {
                error.is_missing() && follow.path.parent().is_some_and(std::path::Path::is_dir)
            }
            (Ok(_), _) => true,
        };
        match (opened, start) {
            (Err(error), _) if !known => return Err(error),
            (_, Start::At(position)) => {
                follow.remembered = Some(position);
                follow.look_for_remembered(root);
            }
            (Ok(file), start) => {
                let reading = |source| Error::reading(&follow.path, source);
                let offset = match start {
                    Start::End => file.metadata().map_err(reading)?.len(),
                    _ => 0,
                };
                follow.current = Some(Open::plain(file, offset).map_err(reading)?);
            }
            (Err(_), _) => {}
        }
        Ok(follow)
    }

    pub(super) fn position(&self) -> Option<Position> {
        if self.remembered.is_some() {
            return self.remembered.clone();
        }
        let mut marks: Vec<Mark> = self.old.iter().chain(&self.current).map(Open::mark).collect();
        Some(Position { last: marks.pop()?, older: marks })
    }

    /// Reads what there is, oldest first. True if files have changed places.
    pub(super) fn read(&mut self, root: &Root, turn: &mut Turn<'_>) -> bool {
        if self.remembered.is_some() && !self.look_for_remembered(root) {
            return false;
        }
        for index in 0..self.old.len() {
            let look = self.old[index].read(turn, &mut self.health);
            if look == Look::Truncated {
                turn.outcome.more |= self.truncated(root, index);
                return true;
            }
            // A successor's lines come after all of its predecessor's.
            if turn.left == 0 {
                turn.outcome.more = true;
                return false;
            }
        }
        if self.current.as_ref().is_some_and(|current| current.is_blank() && current.is_filled()) {
            // While it was empty it may have been filled, copied and emptied again.
            let queued = self.old.len();
            if !self.catch_up(root) {
                return false;
            }
            if self.old.len() > queued {
                turn.outcome.more = true;
                return true;
            }
        }
        if let Some(current) = &mut self.current {
            let look = current.read(turn, &mut self.health);
            if look == Look::Truncated {
                turn.outcome.more |= self.truncated(root, self.old.len());
                return true;
            }
            if turn.left == 0 {
                turn.outcome.more = true;
                return false;
            }
        }
        // What the new file holds comes in the next round, after the rest of the old one.
        let moved = self.reopen(root);
        turn.outcome.more |= moved;
        self.let_go(turn);
        moved
    }

    /// Closes what nobody writes to any more.
    fn let_go(&mut self, turn: &mut Turn<'_>) {
        // A server may write to a renamed file for ever, and logs may be rotated every second.
        const OLD_MAX: usize = 16;
        // An empty file has no content by which its place could be found: then the one before it tells.
        let blank = self.current.as_ref().is_none_or(Open::is_blank);
        let mut index = 0;
        while index + usize::from(blank) < self.old.len() {
            let open = &mut self.old[index];
            if open.is_done() || open.has_ended() && self.old.len() > OLD_MAX {
                let mut open = self.old.remove(index);
                open.finish(turn, &mut self.health);
            } else {
                index += 1;
            }
        }
    }

    /// Finds where reading stopped before a restart: then comes the rest of that file, each one that came after it, and
    /// the current one. False if the files are being renamed at this moment.
    fn look_for_remembered(&mut self, root: &Root) -> bool {
        let Some(position) = self.remembered.clone() else { return true };
        for _ in 0..LOOKS {
            let files = listing(root, &self.path);
            if files.is_empty() {
                // Its file system may not be mounted yet.
                self.health.problem = Some(Error::Missing { path: self.path.clone() }.to_string());
                return false;
            }
            let Ok(resumed) = Resumed::at(&files, &position) else { break };
            if !is_settled(&files, &listing(root, &self.path)) {
                continue;
            }
            self.remembered = None;
            self.old = resumed.old;
            self.current = resumed.current;
            self.health.truncations += resumed.truncations;
            self.health.lost_track |= resumed.lost_track;
            return true;
        }
        false
    }

    /// A file that is read was cut in place. Its copy has what was not read of it, and it begins anew. False if that
    /// has to wait.
    fn truncated(&mut self, root: &Root, index: usize) -> bool {
        for _ in 0..LOOKS {
            let files = listing(root, &self.path);
            let Some(open) = self.old.get_mut(index).or(self.current.as_mut()) else { return false };
            let mark = open.mark();
            let own = files.iter().position(|entry| entry.identity == open.identity);
            let copy = generations::find(&files, &mark);
            let anchor =
                copy.as_ref().map_or(Anchor::Moment(mark.modified_ns), |copy| Anchor::File(copy.index));
            let Ok(missed) = generations::between(&files, anchor, own, own) else { break };
            if !is_settled(&files, &listing(root, &self.path)) {
                continue;
            }
            // An archive of it may hold more than was seen, and is read to its end.
            let held = copy.as_ref().map_or(0, |copy| copy.held.unwrap_or(u64::MAX));
            self.health.lost_bytes += open.unread_beyond(held);
            self.health.truncations += 1 + missed.copies;
            if open.restart().is_err() {
                return false;
            }
            let copy = copy.map(|mut copy| {
                copy.open.sealed = true;
                copy.open
            });
            self.old.splice(index..index, copy.into_iter().chain(missed.files));
            return true;
        }
        false
    }

    /// Before the first byte of a file that was empty is read: queues what came between its predecessor and it. False if
    /// that has to wait.
    fn catch_up(&mut self, root: &Root) -> bool {
        for _ in 0..LOOKS {
            let files = listing(root, &self.path);
            let Some(current) = &self.current else { return false };
            let own = files.iter().position(|entry| entry.identity == current.identity);
            let anchor = match self.old.last() {
                Some(old) => anchor(&files, old),
                None => Anchor::Moment(current.mark().modified_ns),
            };
            let Ok(missed) = generations::between(&files, anchor, own, own) else { break };
            if is_settled(&files, &listing(root, &self.path)) {
                self.queue(missed);
                return true;
            }
        }
        false
    }

    /// Opens what the path names now, if that is another file than the one that is open; says whether it did.
    fn reopen(&mut self, root: &Root) -> bool {
        let identity = |meta: &Metadata| (meta.dev(), meta.ino());
        match std::fs::metadata(&self.path) {
            Ok(meta) if self.current.as_ref().is_some_and(|open| open.identity == identity(&meta)) => {
                self.health.problem = None;
                return false;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.current.is_none() {
                    self.health.problem = Some(Error::Missing { path: self.path.clone() }.to_string());
                }
                return false;
            }
            Err(error) => {
                self.health.problem = Some(Error::reading(&self.path, error).to_string());
                return false;
            }
        }
        for _ in 0..LOOKS {
            let files = listing(root, &self.path);
            let opened = open_regular(&self.path)
                .and_then(|file| Open::plain(file, 0).map_err(|source| Error::reading(&self.path, source)));
            let open = match opened {
                Ok(open) => open,
                Err(error) => {
                    self.health.problem = Some(error.to_string());
                    return false;
                }
            };
            let newest = self.current.as_ref().or(self.old.last());
            // A link may be turned back to where it was, and a rename may be taken back.
            let back = self.old.iter().position(|old| old.identity == open.identity);
            let missed = match newest {
                Some(newest) if back.is_none() => {
                    generations::between(&files, anchor(&files, newest), None, None)
                }
                _ => Ok(Missed::default()),
            };
            let here = files.first().is_some_and(|first| first.is_current && first.identity == open.identity);
            let Ok(missed) = missed else { return false };
            if !here || !is_settled(&files, &listing(root, &self.path)) {
                continue;
            }
            let open = back.map_or(open, |index| self.old.remove(index));
            if let Some(mut old) = self.current.take() {
                self.health.rotations += 1;
                old.retire();
                self.old.push(old);
            }
            self.queue(missed);
            self.current = Some(open);
            self.health.problem = None;
            return true;
        }
        false
    }

    fn queue(&mut self, missed: Missed) {
        self.health.rotations += missed.files.len() as u64 - missed.copies;
        self.health.truncations += missed.copies;
        self.old.extend(missed.files);
    }
}

/// What stands between a file that is open and those that are newer.
fn anchor(files: &[Entry], open: &Open) -> Anchor {
    generations::index_of(files, open).map_or_else(|| Anchor::Moment(open.mark().modified_ns), Anchor::File)
}

/// The file that had the inode when the mark was made, whatever became of its content.
fn original(files: &[Entry], mark: &Mark) -> Option<usize> {
    files.iter().position(|entry| {
        // An inode is used again once its file is gone.
        let as_old = entry.created_ns.is_none_or(|created| created <= mark.modified_ns);
        entry.identity.1 == mark.inode && as_old
    })
}

/// Where reading goes on after a restart.
#[derive(Default)]
struct Resumed {
    old: Vec<Open>,
    current: Option<Open>,
    truncations: u64,
    lost_track: bool,
}

impl Resumed {
    fn at(files: &[Entry], position: &Position) -> io::Result<Resumed> {
        let mut resumed = Resumed::default();
        let mut found: Vec<(usize, Open)> = Vec::new();
        for mark in position.older.iter().chain([&position.last]).filter(|mark| !mark.is_blank()) {
            let Some(generations::Found { index, mut open, .. }) = generations::find(files, mark) else {
                resumed.lost_track = true;
                continue;
            };
            if open.identity.1 == mark.inode {
                open.retire();
            } else {
                // A copy, and if the original is still there it was truncated.
                resumed.truncations += u64::from(!open.sealed || original(files, mark).is_some());
                open.sealed = true;
            }
            if found.iter().all(|(_, known)| known.identity != open.identity) {
                found.push((index, open));
            }
        }
        found.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
        let current = current_of(files);
        let newest = found.last().map(|(index, _)| *index);
        if newest.is_some() && newest == current {
            resumed.current = found.pop().map(|(_, open)| open);
            resumed.old = found.into_iter().map(|(_, open)| open).collect();
            return Ok(resumed);
        }
        let anchor = newest.map_or(Anchor::Moment(position.last.modified_ns), Anchor::File);
        let missed = generations::between(files, anchor, None, original(files, &position.last))?;
        resumed.truncations += missed.copies;
        resumed.old = found.into_iter().map(|(_, open)| open).chain(missed.files).collect();
        if let Some(index) = current {
            let path = &files[index].path;
            resumed.current = open_regular(path).ok().map(|file| Open::plain(file, 0)).transpose()?;
        }
        Ok(resumed)
    }
}
