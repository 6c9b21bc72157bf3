//! One archive, inflated and handed over by one thread, a chunk of whole lines at a time.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::AtomicU64;

use super::Part;
use super::archive::{self, At, Compression};
use super::queue::{Queue, Tally};

/// An archive to be read, and how much of it.
pub(super) struct Archive<'a> {
    pub(super) index: usize,
    pub(super) file: &'a File,
    pub(super) compression: Compression,
    /// Bytes to pass over at its start.
    pub(super) skip: u64,
    /// Bytes of the budget that are kept for it.
    pub(super) room: u64,
}

/// Takes the lines of a file by its index, with the place where they begin in what it holds.
pub(super) type Hand<'a> = dyn FnMut(usize, u64, &[u8]) -> ControlFlow<()> + 'a;

impl Archive<'_> {
    /// Hands its lines over and tells the queue what became of it. Of a damaged one the whole lines before the damage
    /// count. `done` counts its bytes on disk.
    pub(super) fn read(
        mut self,
        queue: &Queue<'_>,
        done: &AtomicU64,
        buffer: &mut [u8],
        hand: &mut Hand<'_>,
    ) {
        let mut tally = Tally::default();
        if let Err(error) = self.inflate(queue, done, buffer, &mut tally, hand) {
            tally.problem = Some(match error.kind() {
                io::ErrorKind::UnexpectedEof => "the archive is cut off".into(),
                _ => error.to_string(),
            });
        }
        queue.finished(self.index, tally, self.room);
    }

    fn inflate(
        &mut self,
        queue: &Queue<'_>,
        done: &AtomicU64,
        buffer: &mut [u8],
        tally: &mut Tally,
        hand: &mut Hand<'_>,
    ) -> io::Result<()> {
        let mut stream = self.compression.inflate(At::counted(self.file, done))?;
        // The byte before tells whether a line begins where handing over does.
        let mut skip = self.skip.saturating_sub(1);
        while skip > 0 {
            let wanted = buffer.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            let skipped = archive::fill(&mut stream, &mut buffer[..wanted])?;
            skip -= skipped as u64;
            if skipped < wanted || queue.is_over() {
                return Ok(());
            }
        }
        let mut inside_line = self.skip > 0;
        // Where the buffer begins in what the archive holds.
        let mut offset = self.skip.saturating_sub(1);
        let mut filled = 0;
        loop {
            let read = archive::fill_from(&mut stream, buffer, &mut filled);
            let ended = read.is_ok() && filled < buffer.len();
            let mut begin = 0;
            if inside_line {
                let newline = memchr::memchr(b'\n', &buffer[..filled]);
                begin = newline.map_or(filled, |newline| newline + 1);
                inside_line = newline.is_none();
            }
            let newline = memchr::memrchr(b'\n', &buffer[begin..filled]);
            // The last line of a file that is complete needs no newline.
            let end = if ended { filled } else { newline.map_or(begin, |newline| begin + newline + 1) };
            if end == 0 && filled == buffer.len() {
                // A line longer than the buffer is no log line.
                tally.cut_lines += 1;
                inside_line = true;
                offset += filled as u64;
                filled = 0;
                continue;
            }
            let fitting = self.fitting(queue, tally.bytes, &buffer[begin..end]);
            let mut flow = ControlFlow::Continue(());
            if !fitting.is_empty() {
                if tally.bytes == 0 && self.skip > 0 {
                    tally.begins = fitting[..fitting.len().min(super::BEGINS_BYTES)].to_vec();
                }
                tally.bytes += fitting.len() as u64;
                tally.part = Part::Beginning;
                flow = hand(self.index, offset + begin as u64, fitting);
            }
            let fits = fitting.len() == end - begin;
            read?;
            if ended && fits {
                tally.part = if self.skip > 0 { Part::End } else { Part::Whole };
            }
            if ended || !fits || flow.is_break() || queue.is_over() {
                return Ok(());
            }
            buffer.copy_within(end..filled, 0);
            offset += end as u64;
            filled -= end;
        }
    }

    /// As many of these lines as the budget allows. An archive may hold more than it says, and then asks for more.
    fn fitting<'l>(&mut self, queue: &Queue<'_>, handed: u64, lines: &'l [u8]) -> &'l [u8] {
        let wanted = handed + lines.len() as u64;
        if wanted > self.room {
            self.room += queue.more(wanted - self.room);
        }
        match usize::try_from(self.room - handed) {
            Ok(room) if room < lines.len() => {
                &lines[..memchr::memrchr(b'\n', &lines[..room]).map_or(0, |newline| newline + 1)]
            }
            _ => lines,
        }
    }
}
