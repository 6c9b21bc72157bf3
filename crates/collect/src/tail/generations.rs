//! Which files hold the lines that come after those that were read, when files were renamed, copied or compressed
//! since the last look.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::open::Open;
use super::position::{Content, Mark, bytes_at};
use crate::history::{At, Compression, Entry, fill, is_compressed, uncompressed_name};
use crate::limits;
use crate::root::open_regular;

/// What is known to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// The file of this index and every older one.
    File(usize),
    /// What has not been written to after this moment, in nanoseconds since 1970: the files themselves are not found any
    /// more.
    Moment(i64),
}

/// Files that were not read, oldest first.
#[derive(Default)]
pub(super) struct Missed {
    pub(super) files: Vec<Open>,
    /// How many of them are copies of a file that was truncated then.
    pub(super) copies: u64,
}

/// A file that a mark is of.
pub(super) struct Found {
    pub(super) index: usize,
    /// Put where the mark is, or at its end if it ends before.
    pub(super) open: Open,
    /// How many bytes it holds, uncompressed, if that is known.
    pub(super) held: Option<u64>,
}

/// The file that a mark is of, or a copy or an archive of it.
pub(super) fn find(listing: &[Entry], mark: &Mark) -> Option<Found> {
    if mark.is_blank() {
        return None;
    }
    let inode = |index: &usize| listing[*index].identity.1 == mark.inode;
    let own = (0..listing.len()).filter(inode);
    let others = (0..listing.len()).filter(|index| !inode(index));
    let plain = |index: usize| plain_at(&listing[index], mark).map(|open| (index, open));
    if let Some((index, open)) = own.chain(others).find_map(plain) {
        return Some(Found { index, open, held: Some(listing[index].size) });
    }
    // An archive last: reading up to the mark costs inflating.
    let archives = (0..listing.len()).filter_map(|index| Some((index, archive(&listing[index].path)?)));
    for (index, (file, compression)) in archives {
        if let Some(open) = archive_at(&file, compression, mark) {
            return Some(Found { index, open, held: None });
        }
    }
    (0..listing.len()).find_map(|index| {
        let (open, held) = shorter_copy(&listing[index], mark).ok()??;
        Some(Found { index, open, held: Some(held) })
    })
}

fn plain_at(entry: &Entry, mark: &Mark) -> Option<Open> {
    if entry.size < mark.offset {
        return None;
    }
    let file = open_regular(&entry.path).ok()?;
    let is_plain = matches!(Compression::of(&file, &entry.path), Ok(None));
    (is_plain && mark.matches(&file).ok()?).then(|| Open::plain(file, mark.offset).ok())?
}

/// What a truncated file was copied to before the last bytes were written that were read of it.
fn shorter_copy(entry: &Entry, mark: &Mark) -> io::Result<Option<(Open, u64)>> {
    // Both times are those of the last writes before the truncation. A file of another day may begin alike.
    const APART_NS: u64 = 60_000_000_000;
    if entry.is_current || entry.modified_ns.abs_diff(mark.modified_ns) > APART_NS {
        return Ok(None);
    }
    let Some((file, compression)) = archive(&entry.path) else {
        let Ok(file) = open_regular(&entry.path) else { return Ok(None) };
        let head = bytes_at(&file, 0, limits::FINGERPRINT_BYTES)?;
        let shorter = entry.size <= mark.offset && mark.begins_with(&head);
        return Ok(if shorter { Some((Open::plain(file, entry.size)?, entry.size)) } else { None });
    };
    let mut content = Content::default();
    let mut lines = compression.inflate(At::new(&file))?;
    let mut buffer = vec![0; limits::ARCHIVE_INPUT_BYTES];
    let mut size = 0;
    loop {
        let read = fill(&mut lines, &mut buffer)?;
        content.extend_head(size, &buffer[..read]);
        content.advance(&buffer[..read]);
        size += read as u64;
        if size > mark.offset || !mark.begins_with(&content.head) {
            return Ok(None);
        }
        if read < buffer.len() {
            let open = Open::archive(Box::new(io::empty()), &file.metadata()?, size, content);
            return Ok(Some((open, size)));
        }
    }
}

fn archive(path: &Path) -> Option<(File, Compression)> {
    let file = open_regular(path).ok()?;
    let compression = Compression::of(&file, path).ok()??;
    Some((file, compression))
}

/// What an archive's content begins with.
fn archive_head(file: &File, compression: Compression) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    compression.inflate(At::new(file))?.take(limits::FINGERPRINT_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn archive_at(file: &File, compression: Compression, mark: &Mark) -> Option<Open> {
    let head = archive_head(file, compression).ok()?;
    if !mark.begins_with(&head) {
        return None;
    }
    let meta = file.metadata().ok()?;
    let mut lines = compression.inflate(At::new(file.try_clone().ok()?)).ok()?;
    let mut before = vec![0; mark.before.len()];
    let skip = mark.offset.checked_sub(before.len() as u64)?;
    io::copy(&mut lines.by_ref().take(skip), &mut io::sink()).ok().filter(|skipped| *skipped == skip)?;
    lines.read_exact(&mut before).ok()?;
    mark.ends_with(&before).then(|| Open::archive(lines, &meta, mark.offset, Content { head, before }))
}

/// Where an open file stands now: under another name, or compressed.
pub(super) fn index_of(listing: &[Entry], open: &Open) -> Option<usize> {
    let named = listing.iter().position(|entry| entry.identity == open.identity);
    named.or_else(|| {
        let mark = open.mark();
        let same = |entry: &Entry| {
            let (file, compression) = archive(&entry.path)?;
            Some(mark.begins_with(&archive_head(&file, compression).ok()?))
        };
        (!mark.is_blank()).then(|| listing.iter().position(|entry| same(entry) == Some(true)))?
    })
}

/// The files between what is read and the file `until`, by default the log itself, which is read next from its start.
/// What is older than `original` was copied from that file, which is still there and was truncated.
pub(super) fn between(
    listing: &[Entry],
    anchor: Anchor,
    until: Option<usize>,
    original: Option<usize>,
) -> io::Result<Missed> {
    let until = until.or(current_of(listing));
    let first = until.map_or(0, |until| until + 1);
    let last = match anchor {
        Anchor::File(index) => index,
        Anchor::Moment(_) => listing.len(),
    };
    let mut missed = Missed::default();
    for index in (first..last.max(first)).rev() {
        let entry = &listing[index];
        // Names that logrotate once gave and gives no more may sort before newer ones.
        let newer = match anchor {
            Anchor::File(index) => entry.modified_ns >= listing[index].modified_ns,
            Anchor::Moment(moment) => entry.modified_ns > moment,
        };
        // It is being compressed, and is read as long as it is whole.
        let twin = is_compressed(&entry.path) && {
            let plain = uncompressed_name(&entry.path);
            listing.iter().any(|other| other.path == plain)
        };
        if !newer || twin || entry.size == 0 {
            continue;
        }
        let next = until.map(|until| &listing[until]);
        let Some(mut open) = open_unread(entry, next)? else { continue };
        if original.is_some_and(|original| original < index) || is_copy(listing, index) {
            open.sealed = true;
            missed.copies += 1;
        }
        missed.files.push(open);
    }
    Ok(missed)
}

fn open_unread(entry: &Entry, next: Option<&Entry>) -> io::Result<Option<Open>> {
    if let Some((file, compression)) = archive(&entry.path) {
        let head = archive_head(&file, compression).unwrap_or_default();
        let meta = file.metadata()?;
        let lines = compression.inflate(At::new(file))?;
        return Ok(Some(Open::archive(lines, &meta, 0, Content { head, before: Vec::new() })));
    }
    let Ok(file) = open_regular(&entry.path) else { return Ok(None) };
    if next.is_some_and(|next| is_copy_in_the_making(&file, next)) {
        return Ok(None);
    }
    let open = Open::plain(file, 0)?;
    Ok((open.identity == entry.identity).then_some(open))
}

/// The log has been copied and will be truncated: until then it is read from the original.
fn is_copy_in_the_making(file: &File, original: &Entry) -> bool {
    let Ok(original) = open_regular(&original.path) else { return false };
    let head = |file| bytes_at(file, 0, limits::HISTORY_SAME_BYTES).unwrap_or_default();
    let (copy, original) = (head(file), head(&original));
    let compared = copy.len().min(original.len());
    // Some lines without a time may be equal in two files that have nothing to do with each other.
    compared >= limits::FINGERPRINT_BYTES && copy[..compared] == original[..compared]
}

/// The index of the log itself, if it is there.
pub(super) fn current_of(listing: &[Entry]) -> Option<usize> {
    listing.first().is_some_and(|first| first.is_current).then_some(0)
}

/// A file that was made after one that is newer than it: then its lines were written before it was made.
fn is_copy(listing: &[Entry], index: usize) -> bool {
    let Some(created) = listing[index].created_ns else { return false };
    !is_compressed(&listing[index].path)
        && listing[..index].iter().any(|newer| {
            !is_compressed(&newer.path) && newer.created_ns.is_some_and(|earlier| earlier < created)
        })
}
