//! Reads the past of a log from its rotated and compressed files, newest first, on as many threads as the caller has
//! workers, within a budget of bytes and of time.
//!
//! Someone installs toban while the server burns: what was usual is on disk. The newest tells the most, so files come
//! newest first, and a plain file comes in chunks of whole lines from its end. Chunks are of different threads, so
//! workers see them in no exact order; within a chunk lines come in order. Whatever the files are, a worker costs one
//! chunk and what an archive asks for to be inflated.

mod archive;
mod inflate;
mod names;
mod queue;
mod sources;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use toban_model::Time;

use crate::root::open_regular;
use crate::tail::{Mark, Position};
use crate::{Error, Root, limits};
pub(crate) use archive::{At, Compression, fill};
pub use names::rotations;
pub(crate) use names::{Entry, is_compressed, is_settled, listing, uncompressed_name};
use queue::{Held, Queue, Tally, Work};
use sources::{Content, Source};

/// How much of the past is wanted.
pub struct Wanted<'a> {
    /// Bytes of lines at most, uncompressed. What does not fit is the oldest.
    pub budget_bytes: Option<u64>,
    /// When reading ends. Each worker finishes the chunk that it has.
    pub deadline: Option<Instant>,
    /// The time of a line if it tells one: by it the files are put in order.
    pub time_of: &'a dyn Fn(&[u8]) -> Option<Time>,
    /// Told how far the reading is.
    pub progress: Option<&'a Progress>,
    /// The named file alone, as whatever it is, of a plain one at most so many bytes from its start; otherwise it is a
    /// log that is being written, and its past comes with it.
    pub alone: Option<u64>,
    /// Whether lines between these places of a file are wanted. The same plain file, of the same length, is always cut
    /// at the same places.
    pub wants: &'a (dyn Fn(u64, u64) -> bool + Sync),
}

impl Default for Wanted<'_> {
    /// Everything.
    fn default() -> Self {
        Wanted {
            budget_bytes: None,
            deadline: None,
            time_of: &|_| None,
            progress: None,
            alone: None,
            wants: &|_, _| true,
        }
    }
}

/// Whole lines of one file.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Which file, as in [`Report::files`]: 0 is the newest.
    pub file: usize,
    /// The file, as the host calls it.
    pub path: &'a Path,
    /// Where they begin in the file, or in what an archive holds, in bytes.
    pub offset: u64,
    /// Each line with its newline; the last one of a rotated file may lack it.
    pub bytes: &'a [u8],
}

impl Chunk<'_> {
    /// Whether it is of the newest file.
    pub fn is_newest(&self) -> bool {
        self.file == 0
    }
}

/// How much of a file was handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// No line.
    #[default]
    Nothing,
    /// From the first line on, not to the last: an archive that is damaged or that was not finished.
    Beginning,
    /// The newest lines.
    End,
    /// Every line.
    Whole,
}

/// Why reading ended before all was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// [`Wanted::budget_bytes`] is used up.
    Budget,
    /// [`Wanted::deadline`] has passed.
    Deadline,
    /// The caller broke off.
    Caller,
}

/// What was read of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// The file, as the host calls it.
    pub path: PathBuf,
    /// Bytes of lines handed over, uncompressed.
    pub bytes: u64,
    /// How much of it that is.
    pub part: Part,
    /// Why it could not be read, or not whole. A file that was left for want of budget has no problem.
    pub problem: Option<String>,
}

/// How far the past was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The files, newest first. One that is a copy of another is not among them.
    pub files: Vec<FileRead>,
    /// Bytes handed over, uncompressed.
    pub bytes: u64,
    /// Every file there is was read whole.
    pub complete: bool,
    /// Why it ended before everything was read; `None` when only problems are in the way.
    pub stopped: Option<Stop>,
    /// From this moment on nothing is missing; `None` if no line told a time.
    pub since: Option<Time>,
    /// Where the log's whole lines ended when reading began: following can begin here without a line lost or doubled.
    /// `None` if there is no plain file.
    pub end: Option<Position>,
    /// Lines longer than [`limits::HISTORY_CHUNK_BYTES`], passed over.
    pub cut_lines: u64,
}

/// How far reading is, for another thread to look at. Readings one after the other may share one: then `all` grows as
/// they begin; [`size`] tells it beforehand.
#[derive(Debug, Default)]
pub struct Progress {
    done: AtomicU64,
    all: AtomicU64,
}

impl Progress {
    /// Bytes on disk that are read, or need not be any more.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed).min(self.all())
    }

    /// Bytes on disk that are to be read.
    pub fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

/// Hands over the past of a log until the budget ends or `each` breaks off, and tells how far that was.
///
/// Each worker is used by one thread, the first one by the calling thread. A plain file is shared by all of them, an
/// archive is inflated and handed over by one.
pub fn read<W: Send>(
    root: &Root,
    path: &Path,
    wanted: &Wanted<'_>,
    workers: &mut [W],
    each: impl Fn(&mut W, Chunk<'_>) -> ControlFlow<()> + Sync,
) -> Result<Report, Error> {
    let sources = match wanted.alone {
        Some(bytes) => sources::alone(root, path, bytes)?,
        None => sources::open(root, path)?,
    };
    let sources = sources::order(sources, wanted.time_of, wanted.deadline);
    let paths: Vec<PathBuf> = sources.iter().map(|source| root.host_path(&source.path)).collect();
    let unwatched = Progress::default();
    let progress = wanted.progress.unwrap_or(&unwatched);
    let all = on_disk(&sources, wanted.budget_bytes);
    let before = progress.all.fetch_add(all, Ordering::Relaxed);
    let queue = Queue::new(&sources, wanted.budget_bytes, wanted.deadline);
    let reading = Reading { queue, paths: &paths, progress, wants: wanted.wants };
    if let Some((first, others)) = workers.split_first_mut() {
        std::thread::scope(|scope| {
            for worker in others {
                scope.spawn(|| reading.work(worker, &each));
            }
            reading.work(first, &each);
        });
    }
    progress.done.store(before + all, Ordering::Relaxed);
    let outcome = reading.queue.outcome();
    let mut report = Report {
        bytes: outcome.tallies.iter().map(|tally| tally.bytes).sum(),
        complete: outcome.tallies.iter().all(|tally| tally.part == Part::Whole && tally.problem.is_none()),
        stopped: outcome.stopped,
        since: since(&sources, &outcome.tallies, wanted.time_of),
        end: None,
        cut_lines: outcome.tallies.iter().map(|tally| tally.cut_lines).sum(),
        files: Vec::with_capacity(sources.len()),
    };
    report.end = end(&sources, outcome.current_end);
    for (path, tally) in paths.into_iter().zip(outcome.tallies) {
        let Tally { bytes, part, problem, .. } = tally;
        report.files.push(FileRead { path, bytes, part, problem });
    }
    Ok(report)
}

/// Where following goes on: with the log itself, and with the file rotated last, which some process may still write to.
fn end(sources: &[Source], current_end: Option<u64>) -> Option<Position> {
    let plain = |source: &Source, offset: u64| match &source.content {
        Content::Plain(file) => Mark::of(file, offset).ok(),
        _ => None,
    };
    let current = sources.iter().find(|source| source.is_current);
    let last = current.and_then(|source| plain(source, current_end?));
    let rotated =
        sources.iter().filter(|source| !source.is_current).find_map(|source| plain(source, source.size));
    match last {
        Some(last) => Some(Position { last, older: rotated.into_iter().collect() }),
        None => Some(Position { last: rotated?, older: Vec::new() }),
    }
}

/// From when on nothing is missing: back through files that were read whole, to the one that was not.
fn since(sources: &[Source], tallies: &[Tally], time_of: &dyn Fn(&[u8]) -> Option<Time>) -> Option<Time> {
    let mut since = None;
    for (source, tally) in sources.iter().zip(tallies) {
        match (tally.part, &source.content) {
            (Part::Whole, _) => since = source.first.or(since),
            (Part::End, content) => {
                let mut begins = tally.begins.clone();
                if let Content::Plain(file) = content {
                    begins.resize(BEGINS_BYTES, 0);
                    let read = file.read_at(&mut begins, tally.from).unwrap_or(0);
                    begins.truncate(read);
                }
                return begins.split(|byte| *byte == b'\n').find_map(time_of).or(since);
            }
            (Part::Beginning | Part::Nothing, _) => break,
        }
    }
    since
}

/// Enough for the first lines of what was read of a file.
const BEGINS_BYTES: usize = 16 << 10;

/// The bytes on disk of a log and of its past that reading with this budget is going to read, about.
pub fn size(root: &Root, path: &Path, budget_bytes: Option<u64>) -> Result<u64, Error> {
    Ok(on_disk(&sources::open(root, path)?, budget_bytes))
}

fn on_disk(sources: &[Source], budget_bytes: Option<u64>) -> u64 {
    let mut left = budget_bytes.unwrap_or(u64::MAX);
    let mut all = 0;
    for source in sources {
        let lines = match &source.content {
            Content::Plain(_) => source.size,
            Content::Archive(file, compression) => compression.inflated_bytes_about(file, source.size),
            Content::Unreadable(_) => 0,
        };
        if lines > left {
            let part = u128::from(source.size) * u128::from(left) / u128::from(lines);
            return all + u64::try_from(part).unwrap_or(source.size);
        }
        left -= lines;
        all += source.size;
    }
    all
}

/// Whole lines of the newest file that has any, at most [`limits::SAMPLE_BYTES`], for finding the format: of a plain
/// file its end, of an archive its start. Empty if there are none.
pub fn sample(root: &Root, path: &Path) -> Result<Vec<u8>, Error> {
    let sources = sources::open(root, path)?;
    Ok(sources.iter().map(sources::sample).find(|lines| !lines.is_empty()).unwrap_or_default())
}

/// One log file as a stream of bytes, inflated if it is compressed. A directory, a pipe or a device is refused before it
/// is opened for reading.
pub fn stream(path: &Path) -> Result<Box<dyn io::BufRead>, Error> {
    const BUFFER_BYTES: usize = 256 << 10;
    let file = open_regular(path)?;
    Ok(match Compression::of(&file, path)? {
        None => Box::new(io::BufReader::with_capacity(BUFFER_BYTES, file)),
        Some(compression) => {
            let lines = compression.inflate(At::new(file)).map_err(|source| Error::reading(path, source))?;
            Box::new(io::BufReader::with_capacity(BUFFER_BYTES, lines))
        }
    })
}

/// What the threads of one reading share.
struct Reading<'a> {
    queue: Queue<'a>,
    paths: &'a [PathBuf],
    progress: &'a Progress,
    wants: &'a (dyn Fn(u64, u64) -> bool + Sync),
}

impl Reading<'_> {
    fn work<W>(&self, worker: &mut W, each: &impl Fn(&mut W, Chunk<'_>) -> ControlFlow<()>) {
        let _until_it_panics = Held(&self.queue);
        let mut buffer = vec![0; limits::HISTORY_CHUNK_BYTES];
        while let Some(work) = self.queue.next() {
            let mut hand = |file: usize, offset: u64, bytes: &[u8]| {
                if !(self.wants)(offset, offset + bytes.len() as u64) {
                    return ControlFlow::Continue(());
                }
                let flow = each(worker, Chunk { file, path: &self.paths[file], offset, bytes });
                if flow.is_break() {
                    self.queue.end();
                }
                flow
            };
            match work {
                Work::Lines { from, to, .. } if !(self.wants)(from, to) => {
                    self.progress.done.fetch_add(to - from, Ordering::Relaxed);
                }
                Work::Lines { index, file, from, to } => {
                    let (mut at, mut begun) = (from, 0);
                    while at < to {
                        let left = usize::try_from(to - at).unwrap_or(usize::MAX);
                        let filled = begun + left.min(limits::HISTORY_READ_BYTES).min(buffer.len() - begun);
                        if let Err(error) = file.read_exact_at(&mut buffer[begun..filled], at) {
                            self.queue.failed(index, at - begun as u64, to, &error);
                            break;
                        }
                        let starts = at - begun as u64;
                        at += (filled - begun) as u64;
                        self.progress.done.fetch_add((filled - begun) as u64, Ordering::Relaxed);
                        let newline = memchr::memrchr(b'\n', &buffer[..filled]);
                        let whole = if at == to { filled } else { newline.map_or(0, |end| end + 1) };
                        if whole > 0 && hand(index, starts, &buffer[..whole]).is_break() {
                            break;
                        }
                        buffer.copy_within(whole..filled, 0);
                        begun = filled - whole;
                    }
                }
                Work::Archive(archive) => {
                    archive.read(&self.queue, &self.progress.done, &mut buffer, &mut hand);
                }
            }
        }
    }
}
