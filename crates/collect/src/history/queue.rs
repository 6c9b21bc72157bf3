//! The work that several threads share when a log's past is read: chunks of plain files from their ends backwards, and
//! whole archives, newest first, within one budget.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::archive::Compression;
use super::inflate::Archive;
use super::sources::{Content, Source};
use super::{Part, Stop};
use crate::limits;

/// Bytes looked through at once for the end of a line.
const BLOCK_BYTES: usize = 16 << 10;

/// A piece of work.
pub(super) enum Work<'a> {
    /// Whole lines of a plain file.
    Lines { index: usize, file: &'a File, from: u64, to: u64 },
    /// A whole archive.
    Archive(Archive<'a>),
}

/// What became of one file.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) bytes: u64,
    pub(super) part: Part,
    pub(super) problem: Option<String>,
    /// Lines longer than a chunk.
    pub(super) cut_lines: u64,
    /// The byte of a plain file from which on everything was taken.
    pub(super) from: u64,
    /// Where the last chunk ended that could not be read.
    gap: u64,
    /// Where reading of an archive began, if not with its first line.
    pub(super) begins: Vec<u8>,
}

pub(super) struct Queue<'a> {
    sources: &'a [Source],
    deadline: Option<Instant>,
    state: Mutex<State>,
    /// An archive took less of the budget than was kept for it.
    freed: Condvar,
}

struct State {
    /// Bytes that may still be handed out.
    left: u64,
    /// Bytes kept for archives under way.
    kept: u64,
    /// The file that work is taken from, and in a plain one where the lines end that nobody has taken.
    index: usize,
    end: Option<u64>,
    stopped: Option<Stop>,
    tallies: Vec<Tally>,
    /// Where the whole lines of the log itself end.
    current_end: Option<u64>,
}

/// What all threads together came to.
pub(super) struct Outcome {
    pub(super) tallies: Vec<Tally>,
    pub(super) stopped: Option<Stop>,
    pub(super) current_end: Option<u64>,
}

/// Lines that end where it was asked for.
enum Before {
    Lines {
        from: u64,
    },
    /// One line that is longer than a chunk begins there.
    TooLong {
        from: u64,
    },
    /// The line there is longer than what is left of the budget.
    NoRoom,
}

impl<'a> Queue<'a> {
    pub(super) fn new(
        sources: &'a [Source],
        budget_bytes: Option<u64>,
        deadline: Option<Instant>,
    ) -> Queue<'a> {
        // Where the log's whole lines end is known even when there is no time to read any.
        let current = sources.iter().find(|source| source.is_current);
        let current_end = current.and_then(|source| match &source.content {
            Content::Plain(file) => line_start(file, source.size, deadline).ok(),
            _ => None,
        });
        let state = State {
            left: budget_bytes.unwrap_or(u64::MAX),
            kept: 0,
            index: 0,
            end: None,
            stopped: None,
            tallies: vec![Tally::default(); sources.len()],
            current_end,
        };
        Queue { sources, deadline, state: Mutex::new(state), freed: Condvar::new() }
    }

    /// The next piece, or `None` when there is no more to do.
    pub(super) fn next(&self) -> Option<Work<'a>> {
        let mut state = self.lock();
        loop {
            if state.stopped.is_some() {
                return None;
            }
            let source = self.sources.get(state.index)?;
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.stop(&mut state, Stop::Deadline);
                continue;
            }
            if state.left == 0 {
                if state.kept == 0 {
                    self.stop(&mut state, Stop::Budget);
                    continue;
                }
                state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            match &source.content {
                Content::Plain(file) => {
                    let index = state.index;
                    match self.lines(&mut state, source, file) {
                        Ok(Some((from, to))) => return Some(Work::Lines { index, file, from, to }),
                        Ok(None) => {}
                        Err(error) => {
                            state.tallies[index].problem = Some(problem_of(&error));
                            state.pass();
                        }
                    }
                }
                &Content::Archive(ref file, compression) => {
                    let index = state.index;
                    let (skip, room) = plan(compression, file, source.size, state.left);
                    // Passing over costs inflating; beyond this it is not worth what is left of the budget.
                    const WORTH: u64 = 8;
                    if skip / WORTH > room {
                        state.left = 0;
                        continue;
                    }
                    state.left -= room;
                    state.kept += room;
                    state.pass();
                    if skip > 0 {
                        self.stop(&mut state, Stop::Budget);
                    }
                    return Some(Work::Archive(Archive { index, file, compression, skip, room }));
                }
                Content::Unreadable(problem) => {
                    let index = state.index;
                    state.tallies[index].problem = Some(problem.clone());
                    state.pass();
                }
            }
        }
    }

    /// The last lines of a plain file that nobody has taken; `None` when the file is through or the budget is.
    fn lines(&self, state: &mut State, source: &Source, file: &File) -> io::Result<Option<(u64, u64)>> {
        let index = state.index;
        let to = match state.end {
            Some(end) => end,
            None => {
                let end = if source.is_current { state.current_end.unwrap_or(0) } else { source.size };
                state.tallies[index].from = end;
                end
            }
        };
        state.end = Some(to);
        if to == 0 {
            state.tallies[index].part = Part::Whole;
            state.pass();
            return Ok(None);
        }
        match before(file, to, state.left, self.deadline)? {
            Before::Lines { from } => {
                state.left -= to - from;
                state.end = Some(from);
                let tally = &mut state.tallies[index];
                tally.bytes += to - from;
                tally.from = from;
                tally.part = Part::End;
                Ok(Some((from, to)))
            }
            Before::TooLong { from } => {
                state.end = Some(from);
                state.tallies[index].from = from;
                state.tallies[index].cut_lines += 1;
                Ok(None)
            }
            Before::NoRoom => {
                state.left = 0;
                Ok(None)
            }
        }
    }

    /// A chunk of a plain file could not be read.
    pub(super) fn failed(&self, index: usize, from: u64, to: u64, problem: &io::Error) {
        let mut state = self.lock();
        let tally = &mut state.tallies[index];
        tally.bytes -= to - from;
        tally.gap = tally.gap.max(to);
        tally.problem.get_or_insert_with(|| problem_of(problem));
        // Nobody wants what lies beyond the gap; chunks under way are handed out all the same.
        if state.index == index {
            state.pass();
        }
    }

    /// An archive is through, for which `room` bytes of the budget were kept.
    pub(super) fn finished(&self, index: usize, tally: Tally, room: u64) {
        let mut state = self.lock();
        state.kept -= room;
        state.left = state.left.saturating_add(room.saturating_sub(tally.bytes));
        state.tallies[index] = tally;
        drop(state);
        self.freed.notify_all();
    }

    /// Takes more of the budget for an archive that is larger than it said: at most `wanted` bytes.
    pub(super) fn more(&self, wanted: u64) -> u64 {
        let mut state = self.lock();
        let granted = wanted.min(state.left);
        state.left -= granted;
        state.kept += granted;
        if granted < wanted {
            self.stop(&mut state, Stop::Budget);
        }
        granted
    }

    /// Reading ends now. The budget ends only for who asks for more of it.
    pub(super) fn is_over(&self) -> bool {
        let mut state = self.lock();
        if state.stopped.is_none() && self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.stop(&mut state, Stop::Deadline);
        }
        matches!(state.stopped, Some(Stop::Deadline | Stop::Caller))
    }

    /// The caller has enough.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        self.stop(&mut state, Stop::Caller);
    }

    fn stop(&self, state: &mut State, why: Stop) {
        state.stopped.get_or_insert(why);
        self.freed.notify_all();
    }

    pub(super) fn outcome(self) -> Outcome {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let State { mut tallies, stopped, current_end, .. } = state;
        for tally in tallies.iter_mut().filter(|tally| tally.gap > 0) {
            tally.from = tally.from.max(tally.gap);
            tally.part = if tally.bytes > 0 { Part::End } else { Part::Nothing };
        }
        Outcome { tallies, stopped, current_end }
    }

    /// A thread that panicked ends the reading by itself; what it left behind is whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// On to the next file.
    fn pass(&mut self) {
        self.index += 1;
        self.end = None;
    }
}

fn problem_of(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it became shorter while it was read".into(),
        _ => error.to_string(),
    }
}

/// Held by each thread: nobody waits for one that panicked.
pub(super) struct Held<'q, 'a>(pub(super) &'q Queue<'a>);

impl Drop for Held<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.end();
        }
    }
}

/// How much of an archive is passed over, and how much of the budget is kept for it.
fn plan(compression: Compression, file: &File, size: u64, left: u64) -> (u64, u64) {
    let told = compression.inflated_bytes(file, size);
    let room = compression.inflated_bytes_about(file, size).clamp(1, left);
    (told.map_or(0, |bytes| bytes.saturating_sub(room)), room)
}

/// The lines that end at `to`, at most as much as a chunk and the budget hold. Only the place where they begin is
/// looked for.
fn before(file: &File, to: u64, left: u64, deadline: Option<Instant>) -> io::Result<Before> {
    let chunk = limits::HISTORY_CHUNK_BYTES as u64;
    let Some(earliest) = to.checked_sub(chunk.min(left)).filter(|from| *from > 0) else {
        return Ok(Before::Lines { from: 0 });
    };
    let mut block = [0; BLOCK_BYTES];
    // The newline before the first of these lines; the last byte is the end of the last one.
    let mut at = earliest - 1;
    while at < to - 1 {
        let bytes = &mut block[..BLOCK_BYTES.min(usize::try_from(to - 1 - at).unwrap_or(BLOCK_BYTES))];
        file.read_exact_at(bytes, at)?;
        if let Some(newline) = memchr::memchr(b'\n', bytes) {
            return Ok(Before::Lines { from: at + newline as u64 + 1 });
        }
        at += bytes.len() as u64;
    }
    if left < chunk {
        return Ok(Before::NoRoom);
    }
    Ok(Before::TooLong { from: line_start(file, earliest, deadline)? })
}

/// Where the line begins that goes on at `end`. Whoever wrote a hole or a binary of any size into a log does not hold
/// up the reading beyond its time.
fn line_start(file: &File, end: u64, deadline: Option<Instant>) -> io::Result<u64> {
    let mut block = [0; BLOCK_BYTES];
    let mut at = end;
    while at > 0 && deadline.is_none_or(|deadline| at == end || Instant::now() < deadline) {
        let from = at.saturating_sub(BLOCK_BYTES as u64);
        let bytes = &mut block[..BLOCK_BYTES.min(usize::try_from(at - from).unwrap_or(BLOCK_BYTES))];
        file.read_exact_at(bytes, from)?;
        if let Some(newline) = memchr::memrchr(b'\n', bytes) {
            return Ok(from + newline as u64 + 1);
        }
        at = from;
    }
    Ok(at)
}
