//! Which files hold the lines that come after those that were read, when files were renamed, copied or compressed
//! since the last look.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::open::Open;
use super::position::{Content, Mark, bytes_at};
use crate::history::{At, Compression, Entry, is_compressed, uncompressed_name};
use crate::limits;
use crate::root::open_regular;

/// What is known to be read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    /// The file of this index and every older one.
    File(usize),
    /// None of them is found any more. What has not been written to after this moment is older.
    Moment(Mark),
}

/// Files that were not read, oldest first.
#[derive(Default)]
pub(super) struct Missed {
    pub(super) files: Vec<Open>,
    /// How many of them are copies of a file that was truncated then.
    pub(super) copies: u64,
}

/// The file that a mark is of, or a copy or an archive that holds as much, put where the mark is.
pub(super) fn find(listing: &[Entry], mark: &Mark) -> Option<(usize, Open)> {
    if mark.is_blank() {
        return None;
    }
    let plain = |index: usize| -> Option<(usize, Open)> {
        let entry = &listing[index];
        let file = (entry.size >= mark.offset).then(|| open_regular(&entry.path).ok())??;
        let is_plain = matches!(Compression::of(&file, &entry.path), Ok(None));
        let found = is_plain && mark.matches(&file).is_ok_and(|content| content.is_some());
        Some((index, found.then(|| Open::plain(file, mark.offset).ok())??))
    };
    let inode = |index: &usize| listing[*index].identity.1 == mark.inode;
    let own = (0..listing.len()).filter(inode);
    let others = (0..listing.len()).filter(|index| !inode(index));
    // An archive last: reading up to the mark costs inflating.
    own.chain(others).find_map(plain).or_else(|| {
        (0..listing.len()).find_map(|index| Some((index, archive_at(&listing[index].path, mark)?)))
    })
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

fn archive_at(path: &Path, mark: &Mark) -> Option<Open> {
    let (file, compression) = archive(path)?;
    let head = archive_head(&file, compression).ok()?;
    if !mark.begins_with(&head) {
        return None;
    }
    let meta = file.metadata().ok()?;
    let mut lines = compression.inflate(At::new(file)).ok()?;
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

/// The files between what is read and the file of index `until`, which is read next from its start; `None` is before
/// the newest.
pub(super) fn between(listing: &[Entry], anchor: Anchor, until: Option<usize>) -> io::Result<Missed> {
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
            Anchor::Moment(mark) => entry.modified_ns > mark.modified_ns,
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
        let Some(mut open) = open_unread(entry, anchor, next)? else { continue };
        if is_copy(listing, index) {
            open.sealed = true;
            missed.copies += 1;
        }
        missed.files.push(open);
    }
    Ok(missed)
}

fn open_unread(entry: &Entry, anchor: Anchor, next: Option<&Entry>) -> io::Result<Option<Open>> {
    if let Some((file, compression)) = archive(&entry.path) {
        let head = archive_head(&file, compression).unwrap_or_default();
        if known(anchor, &head, 0) {
            return Ok(None);
        }
        let meta = file.metadata()?;
        let lines = compression.inflate(At::new(file))?;
        return Ok(Some(Open::archive(lines, &meta, 0, Content { head, before: Vec::new() })));
    }
    let Ok(file) = open_regular(&entry.path) else { return Ok(None) };
    if next.is_some_and(|next| is_copy_in_the_making(&file, next)) {
        return Ok(None);
    }
    let open = Open::plain(file, 0)?;
    Ok((open.identity == entry.identity && !known(anchor, open.head(), entry.size)).then_some(open))
}

/// A copy that ends before the place up to which the original was read has nothing new.
fn known(anchor: Anchor, head: &[u8], size: u64) -> bool {
    matches!(anchor, Anchor::Moment(mark) if size <= mark.offset && mark.begins_with(head))
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

/// A file that was made after one that is newer than it: then its lines were written before it was made.
fn is_copy(listing: &[Entry], index: usize) -> bool {
    let Some(created) = listing[index].created else { return false };
    !is_compressed(&listing[index].path)
        && listing[..index].iter().any(|newer| {
            !is_compressed(&newer.path) && newer.created.is_some_and(|earlier| earlier < created)
        })
}
