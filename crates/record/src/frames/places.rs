//! Which files there are, and how a new one comes to be whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use toban_model::Time;

use crate::Error;

pub(super) const ROWS: &str = "tbf";
pub(super) const COLUMNS: &str = "tbc";
pub(super) const MINUTES: &str = "tbm";
const UNFINISHED: &str = "tmp";

/// A file of samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// The time in its name: no later than its samples.
    pub(super) start: Time,
    pub(super) rows: Option<PathBuf>,
    pub(super) columns: Option<PathBuf>,
}

impl Segment {
    /// The file that counts.
    pub(super) fn path(&self) -> &Path {
        self.columns.as_deref().or(self.rows.as_deref()).unwrap_or(Path::new(""))
    }
}

/// The segments of a directory, oldest first. A directory that does not exist holds none.
pub(super) fn segments(dir: &Path) -> Result<Vec<Segment>, Error> {
    let mut segments = BTreeMap::<Time, Segment>::new();
    // A listing that runs while a file is closed may see neither of its names; a second one begins after that.
    for _ in 0..2 {
        for (start, path) in named(dir, &[ROWS, COLUMNS])? {
            let segment =
                segments.entry(start).or_insert_with(|| Segment { start, rows: None, columns: None });
            if ends_with(&path, COLUMNS) {
                segment.columns = Some(path);
            } else {
                segment.rows = Some(path);
            }
        }
    }
    Ok(segments.into_values().collect())
}

/// The files of minutes with their days, oldest first.
pub(super) fn days(dir: &Path) -> Result<Vec<(Time, PathBuf)>, Error> {
    named(dir, &[MINUTES])
}

/// What was being written when somebody died.
pub(super) fn unfinished(dir: &Path) -> Result<Vec<(Time, PathBuf)>, Error> {
    named(dir, &[UNFINISHED])
}

fn ends_with(path: &Path, suffix: &str) -> bool {
    path.extension().is_some_and(|extension| extension == suffix)
}

/// Our files; others are left alone.
fn named(dir: &Path, suffixes: &[&str]) -> Result<Vec<(Time, PathBuf)>, Error> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(dir, e)),
    };
    let mut named = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let start = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .filter(|_| suffixes.iter().any(|suffix| ends_with(&path, suffix)))
            .and_then(|stem| stem.parse().ok());
        if let Some(start) = start {
            named.push((Time::from_micros(start), path));
        }
    }
    named.sort();
    Ok(named)
}

/// The path of a file by its time.
pub(super) fn path(dir: &Path, start: Time, suffix: &str) -> PathBuf {
    dir.join(format!("{:020}.{suffix}", start.as_micros()))
}

/// Writes a file that is there whole or not at all, also after a power loss.
pub(super) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<(), Error> {
    let unfinished = path.with_extension(UNFINISHED);
    let written = (|| {
        let file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let mut out = BufWriter::new(&file);
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_dir_of(path)
    })();
    written.map_err(|e| {
        // Half of it must not hold the room that is missing.
        let _ = fs::remove_file(&unfinished);
        Error::io(path, e)
    })
}

/// Forces to the disk which files there are beside this one.
pub(super) fn sync_dir_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Removes a file; one that is not there is as good.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::io(path, e)),
        _ => Ok(()),
    }
}

/// How long a file is; 0 if it is gone.
pub(super) fn bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| meta.len())
}
