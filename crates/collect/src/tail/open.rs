//! One open file of a followed log: its bytes become lines, and it is noticed when it was cut under the reader.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use super::position::{Content, Mark, modified_ns};
use super::{Health, LogId, Outcome};
use crate::limits;

/// Where lines go, and what one turn of a log has left.
pub(super) struct Turn<'a> {
    pub(super) id: LogId,
    pub(super) each: &'a mut dyn FnMut(LogId, &[u8]),
    pub(super) buffer: &'a mut [u8],
    /// Bytes that may still be read.
    pub(super) left: usize,
    pub(super) outcome: &'a mut Outcome,
}

enum Body {
    Plain(File),
    /// The lines of an archive, from `offset` on.
    Archive(Box<dyn Read + Send>),
}

/// See the module.
pub(super) struct Open {
    body: Body,
    /// Device and inode.
    pub(super) identity: (u64, u64),
    /// Nobody writes to it any more: a copy or an archive.
    pub(super) sealed: bool,
    /// It was the log, and another file took its place.
    retired: bool,
    /// Bytes read.
    offset: u64,
    /// Where the line begins that is not whole yet. What was cut off as too long counts as read.
    whole: u64,
    /// The bytes from `whole` on.
    partial: Vec<u8>,
    /// The rest of a line that was cut is passed over.
    skipping: bool,
    /// What stands at the start and before `whole`.
    content: Content,
    modified_ns: i64,
    /// The largest size it was seen at.
    seen: u64,
    ended: bool,
    last_data: Instant,
}

/// What a look at a file found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It was read, to its end unless the turn was over.
    Read,
    /// It was cut in place, and may have grown again.
    Truncated,
}

impl Open {
    /// A plain file, read up to `offset`.
    pub(super) fn plain(file: File, offset: u64) -> io::Result<Open> {
        let meta = file.metadata()?;
        let content = Content::around(&file, offset)?;
        Ok(Open::new(Body::Plain(file), &meta, offset, content))
    }

    /// An archive, of which the stream hands over what comes after `offset`.
    pub(super) fn archive(
        lines: Box<dyn Read + Send>,
        meta: &Metadata,
        offset: u64,
        content: Content,
    ) -> Open {
        Open { sealed: true, ..Open::new(Body::Archive(lines), meta, offset, content) }
    }

    fn new(body: Body, meta: &Metadata, offset: u64, content: Content) -> Open {
        Open {
            body,
            identity: (meta.dev(), meta.ino()),
            sealed: false,
            retired: false,
            offset,
            whole: offset,
            partial: Vec::new(),
            // In the middle of a line: the rest of it is not a line.
            skipping: offset > 0 && content.before.last() != Some(&b'\n'),
            content,
            modified_ns: modified_ns(meta),
            seen: meta.len(),
            ended: false,
            last_data: Instant::now(),
        }
    }

    pub(super) fn mark(&self) -> Mark {
        self.content.mark(self.identity.1, self.whole, self.modified_ns)
    }

    /// Nothing was there to be read yet.
    pub(super) fn is_blank(&self) -> bool {
        self.content.head.is_empty()
    }

    /// A file that was blank has something to read.
    pub(super) fn is_filled(&self) -> bool {
        matches!(&self.body, Body::Plain(file) if file.metadata().is_ok_and(|meta| meta.len() > 0))
    }

    /// All of it was read, and nobody is going to write to it.
    pub(super) fn is_done(&self) -> bool {
        self.ended
            && (self.sealed || self.last_data.elapsed() >= Duration::from_secs(limits::ROTATED_GRACE_S))
    }

    /// All of it was read for now.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Another file took its place.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.last_data = Instant::now();
    }

    /// Bytes that were seen and not read, beyond `held` bytes that a copy has.
    pub(super) fn unread_beyond(&self, held: u64) -> u64 {
        self.seen.max(self.offset).saturating_sub(held.max(self.whole))
    }

    /// Begins anew with a file that was cut.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        if let Body::Plain(file) = &self.body {
            let file = file.try_clone()?;
            *self = Open::plain(file, 0)?;
        }
        Ok(())
    }

    /// Hands over the whole lines that came.
    pub(super) fn read(&mut self, turn: &mut Turn<'_>, health: &mut Health) -> Look {
        let looked = self.try_read(turn, health);
        looked.unwrap_or_else(|error| {
            // Half an archive is read as far as it goes.
            self.ended = true;
            health.lost_track |= matches!(self.body, Body::Archive(_));
            health.problem = Some(error.to_string());
            Look::Read
        })
    }

    fn try_read(&mut self, turn: &mut Turn<'_>, health: &mut Health) -> io::Result<Look> {
        let (mut modified_ns, mut size) = (self.modified_ns, 0);
        if let Body::Plain(file) = &self.body {
            let meta = file.metadata()?;
            modified_ns = super::position::modified_ns(&meta);
            if meta.len() < self.offset {
                return Ok(Look::Truncated);
            }
            if meta.len() == self.offset {
                self.ended = true;
                // Filled anew up to the very same size is not the same.
                let touched = modified_ns != self.modified_ns;
                self.modified_ns = modified_ns;
                return Ok(if touched && !self.content.stands(file, self.whole)? {
                    Look::Truncated
                } else {
                    Look::Read
                });
            }
            size = meta.len();
        }
        self.ended = false;
        while turn.left > 0 {
            let room = turn.buffer.len().min(turn.left);
            let read = match &mut self.body {
                Body::Plain(file) => file.read_at(&mut turn.buffer[..room], self.offset),
                Body::Archive(lines) => lines.read(&mut turn.buffer[..room]),
            };
            let read = match read {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if read == 0 {
                self.ended = true;
                break;
            }
            // Looked at after reading: what stands there now has stood there all the while, so the bytes just read
            // follow it.
            if let Body::Plain(file) = &self.body
                && !self.content.stands(file, self.whole)?
            {
                return Ok(Look::Truncated);
            }
            self.seen = self.seen.max(size);
            turn.left -= read;
            turn.outcome.bytes += read as u64;
            self.last_data = Instant::now();
            let buffer = std::mem::take(&mut turn.buffer);
            self.take(&buffer[..read], turn, health);
            turn.buffer = buffer;
        }
        self.modified_ns = modified_ns;
        Ok(Look::Read)
    }

    fn take(&mut self, bytes: &[u8], turn: &mut Turn<'_>, health: &mut Health) {
        self.content.extend_head(self.offset, bytes);
        self.offset += bytes.len() as u64;
        let mut rest = bytes;
        if let Some(last) = memchr::memrchr(b'\n', bytes) {
            // The unfinished line is whole with the first newline.
            self.content.advance(&self.partial);
            let whole;
            (whole, rest) = bytes.split_at(last + 1);
            self.content.advance(whole);
            self.whole = self.offset - rest.len() as u64;
            self.lines(whole, turn, health);
        }
        if self.skipping {
            self.pass_over(rest);
            return;
        }
        if self.partial.is_empty() {
            // Who writes on at the old offset after a truncation leaves a hole, and a hole is no part of a line.
            let line = without_hole(rest);
            self.pass_over(&rest[..rest.len() - line.len()]);
            rest = line;
        }
        let unfinished = self.partial.len();
        if !self.keep(rest, health) {
            // Handed over as soon as it is too long: its end may never come.
            turn.line(&self.partial);
            self.content.advance(&self.partial[..unfinished]);
            self.content.advance(rest);
            self.partial.clear();
            self.skipping = true;
            self.whole = self.offset;
        }
    }

    fn pass_over(&mut self, bytes: &[u8]) {
        self.content.advance(bytes);
        self.whole += bytes.len() as u64;
    }

    /// Hands over lines that end with a newline each.
    fn lines(&mut self, mut bytes: &[u8], turn: &mut Turn<'_>, health: &mut Health) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if self.partial.is_empty() {
                let line = without_hole(line);
                health.cut_lines += u64::from(line.len() > limits::LINE_BYTES_MAX);
                turn.line(&line[..line.len().min(limits::LINE_BYTES_MAX)]);
            } else {
                self.keep(line, health);
                turn.line(&self.partial);
                self.partial.clear();
            }
        }
    }

    /// Adds to the unfinished line; false if that makes it too long, then it is cut.
    fn keep(&mut self, bytes: &[u8], health: &mut Health) -> bool {
        let room = limits::LINE_BYTES_MAX - self.partial.len().min(limits::LINE_BYTES_MAX);
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
        health.cut_lines += u64::from(bytes.len() > room);
        bytes.len() <= room
    }

    /// What stands after the last newline is the last line if its writer left it so. In a copy, and in a file that may
    /// be one, it is half a line and counts as lost.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, health: &mut Health) {
        if self.partial.is_empty() {
            return;
        }
        if self.retired && !self.sealed {
            turn.line(&self.partial);
        } else {
            health.lost_bytes += self.partial.len() as u64;
        }
        self.content.advance(&self.partial);
        self.partial.clear();
        self.whole = self.offset;
        self.skipping = true;
    }
}

impl Turn<'_> {
    fn line(&mut self, line: &[u8]) {
        (self.each)(self.id, line);
        self.outcome.lines += 1;
    }
}

fn without_hole(line: &[u8]) -> &[u8] {
    match line {
        [0, ..] => &line[line.iter().position(|byte| *byte != 0).unwrap_or(line.len())..],
        _ => line,
    }
}
