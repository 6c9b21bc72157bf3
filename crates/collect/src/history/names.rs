//! Which files are the past of a log, told by their names.

use std::cmp::Reverse;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::tail::modified_ns;
use crate::{Root, limits};

/// Endings of compressed files.
const COMPRESSED: &[&str] = &["gz", "zst", "xz", "bz2", "lz4"];

/// Whether the name is that of a compressed file.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| COMPRESSED.contains(&ending))
}

/// The rotated files of a log, newest first by their names, at most [`limits::HISTORY_FILES_MAX`]; `path` is the
/// host's, or as opened.
///
/// Known are the forms of logrotate, savelog, cronolog and of loggers that rotate by themselves: `access.log.1`,
/// `access.log.2.gz`, `access.1.log`, `access.log-20240131.gz`, `access-20240131.log`, `access.log-2024013122`,
/// `access.log.2024-01-31`, `access-2024-01-31T22-00-00.000.log.gz`, `access.log.old`.
pub fn rotations(root: &Root, path: &Path) -> Vec<PathBuf> {
    let path = if path.starts_with(root.path()) { path.to_path_buf() } else { root.at(path) };
    // What a link names is rotated in its own directory, under its own name.
    let real = std::fs::canonicalize(&path).ok().filter(|real| *real != path);
    let mut found: Vec<(Age, bool, PathBuf)> =
        [Some(path), real].into_iter().flatten().flat_map(|path| beside(&path)).collect();
    // Of `.1` and `.1.gz` the plain one first: it is whole while the other is being written.
    found.sort();
    found.truncate(limits::HISTORY_FILES_MAX);
    found.into_iter().map(|(_, _, path)| path).collect()
}

fn beside(path: &Path) -> Vec<(Age, bool, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let path = entry.path();
            Some((age(name, entry.file_name().to_str()?)?, is_compressed(&path), path))
        })
        .collect()
}

/// A file of a log, as a look at the directory finds it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: PathBuf,
    /// The log itself, not a rotated one.
    pub(crate) is_current: bool,
    /// Device and inode.
    pub(crate) identity: (u64, u64),
    pub(crate) size: u64,
    /// When it was last written to, in nanoseconds since 1970.
    pub(crate) modified_ns: i64,
    /// When it was made, the same, where the file system tells.
    pub(crate) created_ns: Option<i64>,
}

impl Entry {
    fn of(path: PathBuf, is_current: bool) -> Option<Entry> {
        let meta = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let since_1970 = meta.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
        Some(Entry {
            path,
            is_current,
            identity: (meta.dev(), meta.ino()),
            size: meta.len(),
            modified_ns: modified_ns(&meta),
            created_ns: since_1970.and_then(|since| i64::try_from(since.as_nanos()).ok()),
        })
    }
}

/// The log, if it is there, and its rotated files, newest first by their names; each file once.
pub(crate) fn listing(root: &Root, path: &Path) -> Vec<Entry> {
    let mut listing: Vec<Entry> = Vec::new();
    let current = Entry::of(path.to_path_buf(), true);
    let rotated = rotations(root, path).into_iter().filter_map(|path| Entry::of(path, false));
    for entry in current.into_iter().chain(rotated) {
        if listing.iter().all(|known| known.identity != entry.identity) {
            listing.push(entry);
        }
    }
    listing
}

/// Nothing was renamed, made or removed between two looks.
pub(crate) fn is_settled(before: &[Entry], after: &[Entry]) -> bool {
    let names = |entries: &[Entry]| -> Vec<_> {
        entries.iter().map(|entry| (entry.path.clone(), entry.identity)).collect()
    };
    names(before) == names(after)
}

/// The name without the ending that compressing added.
pub(crate) fn uncompressed_name(path: &Path) -> PathBuf {
    if is_compressed(path) { path.with_extension("") } else { path.to_path_buf() }
}

/// Sorts newest first: numbers upwards, dates downwards.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Number(u64),
    /// The digits of the date and of the time if there is one, so that both compare from the left.
    Date(Reverse<String>),
}

fn age(name: &str, candidate: &str) -> Option<Age> {
    let plain = COMPRESSED
        .iter()
        .find_map(|ending| candidate.strip_suffix(ending)?.strip_suffix('.'))
        .unwrap_or(candidate);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let added = plain.strip_prefix(name).or_else(|| {
        // logrotate's `extension`: the number or the date stands before it.
        let added = plain.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
        (!extension.is_empty()).then_some(added)
    })?;
    if added == ".old" {
        return Some(Age::Number(1));
    }
    let counts = added.strip_prefix('.').filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    let digits: String = added.chars().filter(char::is_ascii_digit).collect();
    // A date has at least six digits, as in 2024-01.
    if let (Some(number), ..6) = (counts, digits.len()) {
        return number.parse().ok().map(Age::Number);
    }
    let separated = added.chars().all(|c| c.is_ascii_digit() || ".-_:TZ".contains(c));
    (added.starts_with(['.', '-', '_']) && separated && (6..=20).contains(&digits.len()))
        .then_some(Age::Date(Reverse(digits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_newest_first() {
        for (name, newest_first) in [
            (
                "access.log",
                &[
                    "access.log.0",
                    "access.log.1",
                    "access.log.2.gz",
                    "access.log.10.zst",
                    "access.log.100.xz",
                ][..],
            ),
            ("access.log", &["access.1.log", "access.2.log.bz2"]),
            ("access_log", &["access_log.old", "access_log.2"]),
            ("access.log", &["access.log-20261122.gz", "access.log-20261121", "access.log-20251231.xz"]),
            ("access.log", &["access.log-2026112202", "access.log-2026112201.gz", "access.log-20261122"]),
            ("access.log", &["access-20261122.log", "access-20261121.log.gz"]),
            ("access.log", &["access.log.2026-11-22", "access.log.2026-11-21.gz", "access.log.2026-01"]),
            ("access.log", &["access-2026-11-22T10-00-00.001.log.gz", "access-2026-11-22T10-00-00.000.log"]),
            ("access_log", &["access_log.1700003600", "access_log.1700000000"]),
            ("error", &["error_20261122", "error.2026.11.21"]),
        ] {
            let ages: Vec<Age> =
                newest_first.iter().map(|c| age(name, c).unwrap_or_else(|| panic!("{c}"))).collect();
            assert!(ages.is_sorted() && ages.first() != ages.last(), "{newest_first:?} {ages:?}");
        }
    }

    #[test]
    fn other_files_are_other_logs() {
        for (name, other) in [
            ("access.log", "access.log"),
            ("access.log", "access.log.gz"),
            ("access.log", "access.log.bak"),
            ("access.log", "other_access.log.1"),
            ("access.log", "access-2.log"),
            ("access.log", "access.log-2"),
            ("access.log", "access.log.1.gz.tmp"),
            ("access.log", "access2.log"),
            ("access", "access.log.1"),
            ("error.log", "error.log.swp"),
        ] {
            assert_eq!(age(name, other), None, "{other}");
        }
    }
}
