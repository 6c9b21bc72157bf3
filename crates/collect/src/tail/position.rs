//! How far a log was read, told so that the place is found again whatever became of the file meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use serde::{Deserialize, Serialize};

use crate::limits;

/// A piece of content, to be known again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Over how many bytes, at most [`limits::FINGERPRINT_BYTES`].
    pub bytes: u32,
    /// FNV-1a over them.
    pub hash: u64,
}

impl Fingerprint {
    /// Of at most [`limits::FINGERPRINT_BYTES`] bytes.
    pub(super) fn of(bytes: &[u8]) -> Fingerprint {
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Fingerprint { bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX), hash }
    }

    pub(super) fn len(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0).min(limits::FINGERPRINT_BYTES)
    }
}

/// How far one file was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The file's inode. It may be another file's by now, which the fingerprints tell.
    pub inode: u64,
    /// Bytes read, up to the end of the last whole line.
    pub offset: u64,
    /// What the file begins with.
    pub head: Fingerprint,
    /// What stands right before `offset`. A file that was truncated and has grown again has something else there.
    pub before: Fingerprint,
    /// When the file was last written to before it was read, in nanoseconds since 1970.
    pub modified_ns: i64,
}

/// How far a log was read, to be kept and given back after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The newest file.
    pub last: Mark,
    /// Rotated files that are still read, or that the newest one followed while it is empty; oldest first.
    pub older: Vec<Mark>,
}

/// What a mark's fingerprints are of.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) head: Vec<u8>,
    pub(super) before: Vec<u8>,
}

impl Mark {
    /// That of a file which is read up to `offset`.
    pub(crate) fn of(file: &File, offset: u64) -> io::Result<Mark> {
        let meta = file.metadata()?;
        let content = Content::around(file, offset)?;
        Ok(content.mark(meta.ino(), offset, modified_ns(&meta)))
    }

    /// Nothing of the file's content is known, since it had none.
    pub(super) fn is_blank(&self) -> bool {
        self.head.bytes == 0
    }

    /// A file whose first bytes these are, as many as a fingerprint takes, begins as the one of this mark.
    pub(super) fn begins_with(&self, head: &[u8]) -> bool {
        !self.is_blank() && head.get(..self.head.len()).map(Fingerprint::of) == Some(self.head)
    }

    /// The bytes before the mark are the end of these.
    pub(super) fn ends_with(&self, before: &[u8]) -> bool {
        let from = before.len().checked_sub(self.before.len());
        from.is_some_and(|from| Fingerprint::of(&before[from..]) == self.before)
    }

    /// This is the file, or a copy of it that holds as much.
    pub(super) fn matches(&self, file: &File) -> io::Result<bool> {
        let content = Content::around(file, self.offset)?;
        Ok(self.begins_with(&content.head) && self.ends_with(&content.before))
    }
}

impl Content {
    /// Reads it, as far as the file goes. What it has read does not reach `offset` in a file that is shorter.
    pub(super) fn around(file: &File, offset: u64) -> io::Result<Content> {
        let head = bytes_at(file, 0, limits::FINGERPRINT_BYTES)?;
        let from = offset.saturating_sub(limits::FINGERPRINT_BYTES as u64);
        let wanted = usize::try_from(offset - from).unwrap_or(0);
        let mut before = bytes_at(file, from, wanted)?;
        if before.len() < wanted {
            before.clear();
        }
        Ok(Content { head, before })
    }

    pub(super) fn mark(&self, inode: u64, offset: u64, modified_ns: i64) -> Mark {
        let (head, before) = (Fingerprint::of(&self.head), Fingerprint::of(&self.before));
        Mark { inode, offset, head, before, modified_ns }
    }

    /// The stream's next bytes, from `at` on, were taken into account: what it begins with is known better.
    pub(super) fn extend_head(&mut self, at: u64, bytes: &[u8]) {
        let missing = limits::FINGERPRINT_BYTES - self.head.len().min(limits::FINGERPRINT_BYTES);
        let Some(known) = (self.head.len() as u64).checked_sub(at).and_then(|n| usize::try_from(n).ok())
        else {
            return;
        };
        if let Some(new) = bytes.get(known..) {
            self.head.extend_from_slice(&new[..new.len().min(missing)]);
        }
    }

    /// These bytes were read.
    pub(super) fn advance(&mut self, bytes: &[u8]) {
        let keep = limits::FINGERPRINT_BYTES;
        if bytes.len() >= keep {
            self.before.clear();
        }
        self.before.extend_from_slice(&bytes[bytes.len().saturating_sub(keep)..]);
        let surplus = self.before.len().saturating_sub(keep);
        self.before.drain(..surplus);
    }

    /// The file still holds, before `offset`, what was read there: it was not cut and filled anew.
    pub(super) fn stands(&self, file: &File, offset: u64) -> io::Result<bool> {
        let (known, from) = match self.before.is_empty() {
            true => (&self.head, 0),
            false => (&self.before, offset.saturating_sub(self.before.len() as u64)),
        };
        Ok(bytes_at(file, from, known.len())? == *known)
    }
}

pub(crate) fn modified_ns(meta: &std::fs::Metadata) -> i64 {
    meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec())
}

/// At most so many bytes of a file; fewer where it ends.
pub(super) fn bytes_at(file: &File, at: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; wanted];
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
