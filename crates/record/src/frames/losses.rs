//! What could not be read, counted.

use std::ops::AddAssign;

/// What could not be read. All zero for a recording that is whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Bytes after the last whole record of a row file: a crash, or a sample that is being written at this moment.
    pub torn_bytes: u64,
    /// Bytes that belong to no valid record, in the middle of a row file.
    pub damaged_bytes: u64,
    /// Samples that say only what changed since one that is lost.
    pub orphaned_samples: u64,
    /// Readings whose name was in a lost record.
    pub nameless_readings: u64,
    /// Pages of a column that are not what was written: up to ten minutes of one vital, of the processes or of the sockets.
    pub damaged_pages: u64,
    /// Files that could not be read at all: not ours, a newer version, or a damaged header.
    pub unreadable_segments: u64,
}

impl Losses {
    pub(super) const KINDS: usize = 5;

    /// All but the torn bytes, which are no loss once the file is closed, in the order of the files' layout.
    pub(super) fn numbers(&self) -> [u64; Losses::KINDS] {
        [
            self.damaged_bytes,
            self.orphaned_samples,
            self.nameless_readings,
            self.damaged_pages,
            self.unreadable_segments,
        ]
    }

    pub(super) fn of(numbers: [u64; Losses::KINDS]) -> Losses {
        let [damaged_bytes, orphaned_samples, nameless_readings, damaged_pages, unreadable_segments] =
            numbers;
        Losses {
            torn_bytes: 0,
            damaged_bytes,
            orphaned_samples,
            nameless_readings,
            damaged_pages,
            unreadable_segments,
        }
    }
}

impl AddAssign for Losses {
    fn add_assign(&mut self, more: Losses) {
        self.torn_bytes += more.torn_bytes;
        self.damaged_bytes += more.damaged_bytes;
        self.orphaned_samples += more.orphaned_samples;
        self.nameless_readings += more.nameless_readings;
        self.damaged_pages += more.damaged_pages;
        self.unreadable_segments += more.unreadable_segments;
    }
}
