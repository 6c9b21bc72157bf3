//! Follows many log files at once through rotation, truncation and re-creation.
//!
//! inotify(7) on the directories only wakes the caller; every look goes by the files themselves, so that an event
//! lost, an overlay or a network file system without events costs a second and no line.
//!
//! A log that is renamed is read on for a while, since servers write to the old file until they are told to reopen.
//! A log that is copied and truncated is known by its first bytes ([`Position::fingerprint`]), not only by its size:
//! it may have grown beyond the old offset before the next look.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::root::open_regular;
use crate::{Error, Root, history, limits};

/// A followed log, in the order of [`Tailer::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u32);

/// The start of a file's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// Over how many bytes, at most [`limits::FINGERPRINT_BYTES`].
    pub bytes: u32,
    /// FNV-1a over them.
    pub hash: u64,
}

/// How far a log was read, to be given back after a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The file's inode.
    pub inode: u64,
    /// Bytes read, up to the end of the last whole line.
    pub offset: u64,
    /// What the file began with.
    pub fingerprint: Fingerprint,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first line.
    Beginning,
    /// With the next line that is written.
    End,
    /// Where reading stopped before; what was rotated away since is read from its rotated file.
    At(Position),
}

/// What one round of reading brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Lines handed over.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Some log has more to read right now; call again before waiting.
    pub more: bool,
}

/// What happened to a log since it is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Lines longer than [`limits::LINE_BYTES_MAX`], of which only that much was handed over.
    pub cut_lines: u64,
    /// Replaced by another file.
    pub rotations: u64,
    /// Cut to a smaller size in place.
    pub truncations: u64,
    /// A remembered position was found nowhere, so lines may be missing.
    pub lost_track: bool,
    /// Why it cannot be read at this moment.
    pub problem: Option<String>,
}

struct Open {
    file: File,
    device: u64,
    inode: u64,
    offset: u64,
    partial: Vec<u8>,
    /// The rest of a line that was cut is passed over.
    skipping: bool,
    fingerprint: Fingerprint,
    last_data: Instant,
}

struct Follow {
    id: LogId,
    path: PathBuf,
    current: Option<Open>,
    /// Rotated away and still read, oldest first.
    old: Vec<Open>,
    health: Health,
}

/// Follows logs. See the module.
pub struct Tailer {
    root: Root,
    follows: Vec<Follow>,
    watch: Option<OwnedFd>,
    watched: Vec<PathBuf>,
    buffer: Vec<u8>,
}

impl Tailer {
    /// Follows nothing yet.
    pub fn new(root: Root) -> Tailer {
        // Without inotify (max_user_instances) waiting is by time alone.
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        Tailer { root, follows: Vec::new(), watch, watched: Vec::new(), buffer: vec![0; 256 << 10] }
    }

    /// Follows one more log. A file that does not exist yet is waited for if its directory exists.
    pub fn add(&mut self, path: &Path, start: Start) -> Result<LogId, Error> {
        let path = self.root.at(path);
        if self.follows.len() >= limits::LOGS_MAX {
            return Err(Error::TooMany { path, limit: limits::LOGS_MAX });
        }
        let id = LogId(u32::try_from(self.follows.len()).unwrap_or(u32::MAX));
        let mut follow = Follow { id, path, current: None, old: Vec::new(), health: Health::default() };
        match open_regular(&follow.path) {
            Ok(file) => follow.begin(&self.root, file, start)?,
            Err(error) if error.is_missing() && follow.path.parent().is_some_and(Path::is_dir) => {
                if let Start::At(position) = start {
                    follow.resume_rotated(&self.root, position);
                }
            }
            Err(error) => return Err(error),
        }
        self.watch_directory(&follow.path);
        self.follows.push(follow);
        Ok(id)
    }

    fn watch_directory(&mut self, path: &Path) {
        let Some(watch) = &self.watch else { return };
        // A log behind a link changes in the directory of its target.
        let real = std::fs::canonicalize(path).ok();
        for directory in [path.parent(), real.as_deref().and_then(Path::parent)].into_iter().flatten() {
            if self.watched.iter().any(|known| known == directory) {
                continue;
            }
            let flags = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
            if inotify::add_watch(watch, directory, flags).is_ok() {
                self.watched.push(directory.to_path_buf());
            }
        }
    }

    /// Waits until a followed directory changes, at most this long. False when nothing was noticed; read anyway
    /// at least once a second, since not every file system tells.
    pub fn wait(&self, at_most: Duration) -> bool {
        let Some(watch) = &self.watch else {
            const WITHOUT_EVENTS: Duration = Duration::from_millis(200);
            std::thread::sleep(at_most.min(WITHOUT_EVENTS));
            return true;
        };
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at_most.subsec_nanos().into(),
        };
        let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
        if !matches!(rustix::event::poll(&mut fds, Some(&timeout)), Ok(1..)) {
            return false;
        }
        // The events only wake; what they say is looked up in the files.
        let mut buffer = [MaybeUninit::uninit(); 16 << 10];
        let mut events = inotify::Reader::new(watch, &mut buffer);
        const EVENTS_MAX: usize = 100_000;
        for _ in 0..EVENTS_MAX {
            if events.next().is_err() {
                break;
            }
        }
        true
    }

    /// Hands over every whole line that is there, without its newline, log by log, each log's lines in order.
    pub fn read(&mut self, each: &mut dyn FnMut(LogId, &[u8])) -> Outcome {
        let mut outcome = Outcome::default();
        for follow in &mut self.follows {
            follow.read(&mut self.buffer, each, &mut outcome);
        }
        outcome
    }

    /// How far each log was read.
    pub fn positions(&self) -> Vec<(LogId, Position)> {
        self.follows.iter().filter_map(|follow| Some((follow.id, follow.position()?))).collect()
    }

    /// The path of a log, as the host calls it.
    pub fn path(&self, id: LogId) -> Option<PathBuf> {
        Some(self.root.host_path(&self.follow(id)?.path))
    }

    /// What happened to a log.
    pub fn health(&self, id: LogId) -> Option<&Health> {
        Some(&self.follow(id)?.health)
    }

    /// How many logs are followed.
    pub fn len(&self) -> usize {
        self.follows.len()
    }

    /// Whether none is followed.
    pub fn is_empty(&self) -> bool {
        self.follows.is_empty()
    }

    fn follow(&self, id: LogId) -> Option<&Follow> {
        self.follows.get(usize::try_from(id.0).ok()?)
    }
}

impl Follow {
    fn begin(&mut self, root: &Root, file: File, start: Start) -> Result<(), Error> {
        let mut open = Open::new(file, 0).map_err(|source| Error::reading(&self.path, source))?;
        match start {
            Start::Beginning => {}
            Start::End => {
                let size = open.size();
                open.offset = size;
                // In the middle of a line: the rest of it is not a line.
                let mut last = [0];
                open.skipping =
                    size > 0 && !matches!((open.file.read_at(&mut last, size - 1), last), (Ok(1), [b'\n']));
            }
            Start::At(position) => {
                if open.matches(position) {
                    open.offset = position.offset;
                } else {
                    self.resume_rotated(root, position);
                }
            }
        }
        open.learn();
        self.current = Some(open);
        Ok(())
    }

    /// The remembered file has been rotated: its rest is read first, then every newer one.
    fn resume_rotated(&mut self, root: &Root, position: Position) {
        let mut newer = Vec::new();
        for path in history::rotations(root, &self.path) {
            let Ok(file) = open_regular(&path) else { continue };
            let Ok(mut open) = Open::new(file, 0) else { continue };
            if open.matches(position) {
                open.offset = position.offset;
                newer.push(open);
                newer.reverse();
                self.old = newer;
                return;
            }
            // A compressed one in between is lost to the tail; its lines are in the past that history reads.
            if history::is_compressed(&path) {
                break;
            }
            newer.push(open);
        }
        self.health.lost_track = true;
    }

    fn read(&mut self, buffer: &mut [u8], each: &mut dyn FnMut(LogId, &[u8]), outcome: &mut Outcome) {
        let mut budget = limits::TAIL_TURN_BYTES;
        for open in &mut self.old {
            open.read(self.id, &mut budget, buffer, each, outcome, &mut self.health);
        }
        // The successor's lines come after all of the predecessor's.
        if budget == 0 {
            outcome.more = true;
            return;
        }
        if let Some(open) = &mut self.current {
            if open.truncated() {
                self.health.truncations += 1;
                open.restart();
            }
            open.read(self.id, &mut budget, buffer, each, outcome, &mut self.health);
            if budget == 0 {
                outcome.more = true;
                return;
            }
        }
        // What the new file holds comes in the next round, after the rest of the old one.
        outcome.more |= self.reopen();
        let grace = Duration::from_secs(limits::ROTATED_GRACE_S);
        let id = self.id;
        self.old.retain_mut(|open| {
            let keep = open.last_data.elapsed() < grace;
            if !keep && !open.partial.is_empty() {
                // Its writer is gone; what it left is its last line.
                each(id, &open.partial);
                outcome.lines += 1;
            }
            keep
        });
    }

    /// Opens what the path names now, if that is another file than the one that is open; says whether it did.
    fn reopen(&mut self) -> bool {
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if self.current.is_none() {
                    self.health.problem = Some(Error::Missing { path: self.path.clone() }.to_string());
                }
                return false;
            }
            Err(error) => {
                self.health.problem = Some(Error::reading(&self.path, error).to_string());
                return false;
            }
        };
        if let Some(open) = &self.current
            && (open.device, open.inode) == (meta.dev(), meta.ino())
        {
            self.health.problem = None;
            return false;
        }
        let opened = open_regular(&self.path)
            .and_then(|file| Open::new(file, 0).map_err(|source| Error::reading(&self.path, source)));
        match opened {
            Ok(open) => {
                self.health.problem = None;
                if let Some(mut old) = self.current.replace(open) {
                    self.health.rotations += 1;
                    old.last_data = Instant::now();
                    const OLD_MAX: usize = 4;
                    if self.old.len() >= OLD_MAX {
                        self.old.remove(0);
                    }
                    self.old.push(old);
                }
                true
            }
            Err(error) => {
                self.health.problem = Some(error.to_string());
                false
            }
        }
    }

    fn position(&self) -> Option<Position> {
        // What is being read on in a rotated file comes first: after a restart all that follows is read again from
        // there, so only an unread rest counts.
        let unread = self.old.iter().find(|open| open.offset < open.size());
        let open = unread.or(self.current.as_ref())?;
        let unfinished = if open.skipping { 0 } else { open.partial.len() as u64 };
        Some(Position {
            inode: open.inode,
            offset: open.offset.saturating_sub(unfinished),
            fingerprint: open.fingerprint,
        })
    }
}

impl Open {
    fn new(file: File, offset: u64) -> io::Result<Open> {
        let meta = file.metadata()?;
        Ok(Open {
            device: meta.dev(),
            inode: meta.ino(),
            file,
            offset,
            partial: Vec::new(),
            skipping: false,
            fingerprint: Fingerprint::default(),
            last_data: Instant::now(),
        })
    }

    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len())
    }

    fn matches(&self, position: Position) -> bool {
        if self.size() < position.offset {
            return false;
        }
        if position.fingerprint.bytes == 0 {
            return self.inode == position.inode;
        }
        fingerprint(&self.file, position.fingerprint.bytes) == position.fingerprint
    }

    /// Cut in place: smaller than what was read, or grown anew with another beginning.
    fn truncated(&self) -> bool {
        let size = self.size();
        size < self.offset
            || size > self.offset
                && self.fingerprint.bytes > 0
                && fingerprint(&self.file, self.fingerprint.bytes) != self.fingerprint
    }

    fn restart(&mut self) {
        self.offset = 0;
        self.partial.clear();
        self.skipping = false;
        self.fingerprint = Fingerprint::default();
    }

    /// Takes more of the beginning into the fingerprint while the file is short.
    fn learn(&mut self) {
        let known = u64::from(self.fingerprint.bytes);
        if known < limits::FINGERPRINT_BYTES as u64 && known < self.offset {
            let wanted = self.offset.min(limits::FINGERPRINT_BYTES as u64);
            self.fingerprint = fingerprint(&self.file, u32::try_from(wanted).unwrap_or(0));
        }
    }

    fn read(
        &mut self,
        id: LogId,
        budget: &mut usize,
        buffer: &mut [u8],
        each: &mut dyn FnMut(LogId, &[u8]),
        outcome: &mut Outcome,
        health: &mut Health,
    ) {
        while *budget > 0 {
            let room = buffer.len().min(*budget);
            let read = match self.file.read_at(&mut buffer[..room], self.offset) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    health.problem = Some(error.to_string());
                    break;
                }
            };
            self.offset += read as u64;
            *budget -= read;
            outcome.bytes += read as u64;
            self.last_data = Instant::now();
            let mut rest = &buffer[..read];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                let line = &rest[..end];
                rest = &rest[end + 1..];
                if std::mem::take(&mut self.skipping) {
                    continue;
                }
                if self.partial.is_empty() {
                    let cut = line.len() > limits::LINE_BYTES_MAX;
                    health.cut_lines += u64::from(cut);
                    each(id, &line[..line.len().min(limits::LINE_BYTES_MAX)]);
                } else {
                    self.keep(line, health);
                    each(id, &self.partial);
                    self.partial.clear();
                    self.skipping = false;
                }
                outcome.lines += 1;
            }
            if !self.skipping && !rest.is_empty() {
                self.keep(rest, health);
                if self.skipping {
                    // Handed over as soon as it is too long: its end may never come.
                    each(id, &self.partial);
                    outcome.lines += 1;
                    self.partial.clear();
                }
            }
        }
        self.learn();
    }

    /// Adds to the unfinished line; beyond the limit the rest of it is passed over.
    fn keep(&mut self, bytes: &[u8], health: &mut Health) {
        let room = limits::LINE_BYTES_MAX - self.partial.len().min(limits::LINE_BYTES_MAX);
        if bytes.len() > room {
            health.cut_lines += 1;
            self.skipping = true;
        }
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The fingerprint of a file of which `offset` bytes are known.
pub(crate) fn fingerprint_of(file: &File, offset: u64) -> Fingerprint {
    fingerprint(file, u32::try_from(offset.min(limits::FINGERPRINT_BYTES as u64)).unwrap_or(0))
}

fn fingerprint(file: &File, bytes: u32) -> Fingerprint {
    let mut start = [0; limits::FINGERPRINT_BYTES];
    let wanted = usize::try_from(bytes).unwrap_or(0).min(start.len());
    let mut read = 0;
    while read < wanted {
        match file.read_at(&mut start[read..wanted], read as u64) {
            Ok(0) | Err(_) => break,
            Ok(n) => read += n,
        }
    }
    let hash = start[..read].iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Fingerprint { bytes: u32::try_from(read).unwrap_or(0), hash }
}

#[cfg(test)]
mod tests {
    use std::fs::{OpenOptions, remove_file, rename, write};
    use std::io::Write;

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        tailer: Tailer,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { dir: tempfile::tempdir().unwrap(), tailer: Tailer::new(Root::host()) }
        }
        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }
        fn append(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        fn read(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            while self.tailer.read(&mut |_, line| lines.push(String::from_utf8_lossy(line).into_owned())).more
            {
            }
            lines
        }
    }

    #[test]
    fn from_the_end_and_partial_lines() {
        let mut bench = Bench::new();
        bench.append("a", "old\nhalf");
        let path = bench.path("a");
        bench.tailer.add(&path, Start::End).unwrap();
        assert_eq!(bench.read(), [""; 0]);
        bench.append("a", " of a line\nnew\npar");
        assert_eq!(bench.read(), ["new"]);
        bench.append("a", "tial\n");
        assert_eq!(bench.read(), ["partial"]);
    }

    #[test]
    fn rename_rotation_loses_nothing() {
        let mut bench = Bench::new();
        bench.append("a", "1\n");
        let path = bench.path("a");
        let id = bench.tailer.add(&path, Start::Beginning).unwrap();
        assert_eq!(bench.read(), ["1"]);
        bench.append("a", "2\n");
        rename(bench.path("a"), bench.path("a.1")).unwrap();
        bench.append("a", "4\n");
        bench.append("a.1", "3\n");
        assert_eq!(bench.read(), ["2", "3", "4"]);
        bench.append("a.1", "3b\n");
        bench.append("a", "5\n");
        assert_eq!(bench.read(), ["3b", "5"], "some child still writes to the old file");
        assert_eq!(bench.tailer.health(id).unwrap().rotations, 1);
    }

    #[test]
    fn truncation_is_seen_even_when_it_has_grown_again() {
        let mut bench = Bench::new();
        bench.append("a", "first\nsecond\n");
        let path = bench.path("a");
        let id = bench.tailer.add(&path, Start::Beginning).unwrap();
        assert_eq!(bench.read().len(), 2);
        write(&path, "third\n").unwrap();
        assert_eq!(bench.read(), ["third"]);
        write(&path, "quite another beginning\nand more\n").unwrap();
        assert_eq!(bench.read(), ["quite another beginning", "and more"]);
        assert_eq!(bench.tailer.health(id).unwrap().truncations, 2);
    }

    #[test]
    fn deletion_and_creation() {
        let mut bench = Bench::new();
        let path = bench.path("later");
        let id = bench.tailer.add(&path, Start::End).unwrap();
        assert_eq!(bench.read(), [""; 0]);
        assert!(bench.tailer.health(id).unwrap().problem.is_some());
        bench.append("later", "1\n");
        assert_eq!(bench.read(), ["1"], "all of a new file is new");
        bench.append("later", "2\n");
        assert_eq!(bench.read(), ["2"]);
        remove_file(&path).unwrap();
        assert_eq!(bench.read(), [""; 0]);
        bench.append("later", "3\n");
        assert_eq!(bench.read(), ["3"]);
        assert_eq!(bench.tailer.health(id).unwrap().rotations, 1);
        assert_eq!(bench.tailer.health(id).unwrap().problem, None);
    }

    #[test]
    fn long_lines_are_cut_and_counted() {
        let mut bench = Bench::new();
        let path = bench.path("a");
        let id = bench.tailer.add(&path, Start::Beginning).unwrap();
        let exact = "y".repeat(limits::LINE_BYTES_MAX);
        let long = "x".repeat(limits::LINE_BYTES_MAX + 1);
        let endless = "z".repeat(700_000);
        bench.append("a", &format!("{exact}\n{long}\nshort\n{endless}"));
        bench.read();
        let mut bench2 = Bench::new();
        std::mem::swap(&mut bench.tailer, &mut bench2.tailer);
        bench.tailer = Tailer::new(Root::host());
        let again = bench.tailer.add(&path, Start::Beginning).unwrap();
        let lines = bench.read();
        let lens: Vec<usize> = lines.iter().map(String::len).collect();
        assert_eq!(lens, [limits::LINE_BYTES_MAX, limits::LINE_BYTES_MAX, 5, limits::LINE_BYTES_MAX]);
        bench.append("a", "zzz\nnext\n");
        assert_eq!(bench.read(), ["next"]);
        assert_eq!(bench.tailer.health(again).unwrap().cut_lines, 2);
        assert_eq!(bench2.tailer.health(id).unwrap().cut_lines, 2);
    }

    #[test]
    fn what_is_no_log_is_refused_by_name() {
        let mut bench = Bench::new();
        let dir = bench.path("dir");
        std::fs::create_dir(&dir).unwrap();
        let fifo = bench.path("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        let socket = bench.path("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, part) in [
            (dir.clone(), "it is a directory; give the log file in it"),
            (fifo, "it is a FIFO"),
            (socket, "it is a socket"),
            (PathBuf::from("/dev/null"), "it is a character device"),
            (bench.path("no/such/dir/a"), "no such file"),
        ] {
            let error = bench.tailer.add(&path, Start::End).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(path.to_str().unwrap()), "{error}");
        }
        assert!(bench.tailer.is_empty());
    }

    #[test]
    fn a_fifo_in_the_place_of_a_log_does_not_block() {
        let mut bench = Bench::new();
        bench.append("a", "1\n");
        let path = bench.path("a");
        let id = bench.tailer.add(&path, Start::Beginning).unwrap();
        assert_eq!(bench.read(), ["1"]);
        remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        bench.read();
        assert!(bench.tailer.health(id).unwrap().problem.as_deref().unwrap().contains("FIFO"));
    }

    #[test]
    fn a_remembered_position_is_found_again() {
        let mut bench = Bench::new();
        bench.append("a", "1\n2\nunfini");
        let path = bench.path("a");
        bench.tailer.add(&path, Start::Beginning).unwrap();
        assert_eq!(bench.read(), ["1", "2"]);
        let position = bench.tailer.positions()[0].1;
        assert_eq!(position.offset, 4);
        let resume = |bench: &mut Bench| {
            bench.tailer = Tailer::new(Root::host());
            let id = bench.tailer.add(&path, Start::At(position)).unwrap();
            let mut lines = bench.read();
            lines.extend(bench.read());
            (lines, bench.tailer.health(id).unwrap().lost_track)
        };
        bench.append("a", "shed\n");
        assert_eq!(resume(&mut bench), (vec!["unfinished".to_owned()], false));
        // Rotated twice while nobody looked.
        rename(bench.path("a"), bench.path("a.2")).unwrap();
        bench.append("a.1", "between\n");
        bench.append("a", "now\n");
        assert_eq!(resume(&mut bench), (["unfinished", "between", "now"].map(str::to_owned).to_vec(), false));
        // Copied and truncated.
        remove_file(bench.path("a.1")).unwrap();
        rename(bench.path("a.2"), bench.path("a.1")).unwrap();
        assert_eq!(resume(&mut bench).0, ["unfinished", "now"]);
        // Gone for good.
        remove_file(bench.path("a.1")).unwrap();
        assert_eq!(resume(&mut bench), (vec!["now".to_owned()], true));
    }

    #[test]
    fn a_write_wakes() {
        let mut bench = Bench::new();
        bench.append("a", "");
        let path = bench.path("a");
        bench.tailer.add(&path, Start::End).unwrap();
        assert!(!bench.tailer.wait(Duration::from_millis(1)) || bench.tailer.watch.is_none());
        bench.append("a", "x\n");
        assert!(bench.tailer.wait(Duration::from_secs(5)));
        assert_eq!(bench.read(), ["x"]);
        assert!(!bench.tailer.wait(Duration::from_millis(1)) || bench.tailer.watch.is_none());
    }
}
