//! The files that a log's past stands in, opened all at once and put in order by what they say.
//!
//! They stay open from here on: a rotation that comes in between renames them and changes nothing of what is read.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use toban_model::Time;

use super::archive::{self, At, Compression};
use super::names;
use crate::root::open_regular;
use crate::{Error, Root, limits};

/// One file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// The log itself, not a rotated one.
    pub(super) is_current: bool,
    pub(super) content: Content,
    /// On disk, when it was opened.
    pub(super) size: u64,
    identity: (u64, u64),
    /// When the first line was written that tells it.
    pub(super) first: Option<Time>,
    /// What it begins with.
    head: Vec<u8>,
}

pub(super) enum Content {
    Plain(File),
    Archive(File, Compression),
    /// Why it cannot be read.
    Unreadable(String),
}

impl Source {
    fn open(path: PathBuf, is_current: bool) -> Result<Source, Error> {
        let file = open_regular(&path)?;
        let meta = file.metadata().map_err(|source| Error::reading(&path, source))?;
        let content = match Compression::of(&file, &path) {
            Ok(Some(compression)) => Content::Archive(file, compression),
            Ok(None) => Content::Plain(file),
            Err(error) => Content::Unreadable(error.to_string()),
        };
        let identity = (meta.dev(), meta.ino());
        Ok(Source { path, is_current, content, size: meta.len(), identity, first: None, head: Vec::new() })
    }

    fn unreadable(path: PathBuf, error: &Error) -> Source {
        let content = Content::Unreadable(error.to_string());
        Source { path, is_current: false, content, size: 0, identity: (0, 0), first: None, head: Vec::new() }
    }

    /// The first bytes of its lines, inflated, as far as they can be read.
    fn beginning(&self) -> Vec<u8> {
        let mut bytes = vec![0; limits::HISTORY_PROBE_BYTES];
        let mut filled = 0;
        let _what_was_read_before_an_error_counts = match &self.content {
            Content::Plain(file) => archive::fill_from(&mut At::new(file), &mut bytes, &mut filled),
            Content::Archive(file, compression) => compression
                .inflate(At::new(file))
                .and_then(|mut lines| archive::fill_from(&mut lines, &mut bytes, &mut filled)),
            Content::Unreadable(_) => Ok(()),
        };
        bytes.truncate(filled);
        bytes
    }

    fn learn(&mut self, time_of: &dyn Fn(&[u8]) -> Option<Time>) {
        let mut beginning = self.beginning();
        self.first = beginning.split(|byte| *byte == b'\n').find_map(time_of);
        beginning.truncate(limits::HISTORY_SAME_BYTES);
        self.head = beginning;
    }

    /// One is a copy of the other, or of its beginning: an archive and what it is being made of, a log and its copy
    /// before it is truncated.
    fn same(&self, other: &Source) -> bool {
        let compared = self.head.len().min(other.head.len());
        let dated = self.first.is_some() && self.first == other.first;
        let twins = || names::uncompressed_name(&self.path) == names::uncompressed_name(&other.path);
        compared > 0 && self.head[..compared] == other.head[..compared] && (dated || twins())
    }

    /// Of two that are the same, the greater is read.
    fn wholeness(&self) -> (bool, bool, u64) {
        (self.is_current, matches!(self.content, Content::Plain(_)), self.size)
    }
}

/// Opens one file, which is not being written, or of which only so many bytes count.
pub(super) fn alone(root: &Root, path: &Path, bytes: u64) -> Result<Vec<Source>, Error> {
    let mut source = Source::open(root.at(path), false)?;
    if let Content::Plain(_) = source.content {
        source.size = source.size.min(bytes);
    }
    Ok(vec![source])
}

/// Opens the log and all its rotated files, newest first by their names.
pub(super) fn open(root: &Root, path: &Path) -> Result<Vec<Source>, Error> {
    let current = root.at(path);
    let mut sources = Vec::new();
    // While files are being renamed one may be missed; another look finds it.
    const LOOKS: usize = 3;
    for _ in 0..LOOKS {
        let settled;
        (sources, settled) = look(root, &current)?;
        if settled {
            break;
        }
    }
    if sources.is_empty() {
        return Err(Error::Missing { path: current });
    }
    Ok(sources)
}

/// What there is, and whether nothing was renamed meanwhile.
fn look(root: &Root, current: &Path) -> Result<(Vec<Source>, bool), Error> {
    let before = names::listing(root, current);
    let mut sources = Vec::with_capacity(before.len());
    if !before.first().is_some_and(|entry| entry.is_current) {
        // A directory, a device or what may not be looked at is an error. What was rotated a moment ago is not: the
        // past is still there.
        match open_regular(current) {
            Err(error) if !error.is_missing() => return Err(error),
            _ => {}
        }
    }
    for entry in &before {
        match Source::open(entry.path.clone(), entry.is_current) {
            Ok(source) => sources.push(source),
            Err(error) if entry.is_current && !error.is_missing() => return Err(error),
            Err(error) => sources.push(Source::unreadable(entry.path.clone(), &error)),
        }
    }
    let opened = sources.iter().map(|source| source.identity);
    // While it was opened nothing had moved if nothing has moved since.
    let same = opened.zip(&before).all(|(identity, entry)| identity == entry.identity || identity == (0, 0));
    let settled = same && names::is_settled(&before, &names::listing(root, current));
    Ok((sources, settled))
}

/// Puts them in order by the first line that tells its time, newest first, and leaves out what stands there twice. A
/// file without such a line keeps the place that its name gives it, and so do all when the deadline has passed.
pub(super) fn order(
    sources: Vec<Source>,
    time_of: &dyn Fn(&[u8]) -> Option<Time>,
    deadline: Option<Instant>,
) -> Vec<Source> {
    let mut kept: Vec<Source> = Vec::with_capacity(sources.len());
    for mut source in sources {
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            source.learn(time_of);
        }
        match kept.iter_mut().find(|known| known.same(&source)) {
            Some(known) if known.wholeness() < source.wholeness() => *known = source,
            Some(_) => {}
            None => kept.push(source),
        }
    }
    let places: Vec<usize> = (0..kept.len()).filter(|place| kept[*place].first.is_some()).collect();
    let mut by_time = places.clone();
    by_time.sort_by_key(|place| std::cmp::Reverse(kept[*place].first));
    let mut moved: Vec<Option<Source>> = kept.into_iter().map(Some).collect();
    let dated: Vec<Option<Source>> = by_time.into_iter().map(|place| moved[place].take()).collect();
    for (place, source) in places.into_iter().zip(dated) {
        moved[place] = source;
    }
    moved.into_iter().flatten().collect()
}

/// Whole lines from the end of a plain file, or from the start of an archive; empty if there are none.
pub(super) fn sample(source: &Source) -> Vec<u8> {
    let Content::Plain(file) = &source.content else {
        let mut lines = source.beginning();
        lines.truncate(memchr::memrchr(b'\n', &lines).map_or(0, |at| at + 1));
        return lines;
    };
    let mut lines = vec![0; limits::SAMPLE_BYTES.min(usize::try_from(source.size).unwrap_or(usize::MAX))];
    let from = source.size - lines.len() as u64;
    if file.read_exact_at(&mut lines, from).is_err() {
        return Vec::new();
    }
    let begin = if from == 0 { 0 } else { memchr::memchr(b'\n', &lines).map_or(lines.len(), |at| at + 1) };
    let end = memchr::memrchr(b'\n', &lines).map_or(begin, |at| at + 1);
    lines.truncate(end.max(begin));
    lines.drain(..begin);
    lines
}
