//! One look at one process: what is read, and through which handle.

use std::io::Write as _;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::Entry;
use crate::{Error, Root, limits, procfs};

/// Most handles that are kept; each holds some hundred bytes of the kernel's memory.
const HANDLES_MAX: u64 = 8_192;
/// Longest `stat`, `io` or `wchan` file with room to spare.
const FILE_BYTES: usize = 2 << 10;
/// What the kernel hands over of a directory at once.
const LIST_BYTES: usize = 32 << 10;
/// Most handles of one process that are counted one by one, on kernels that do not tell their number.
const COUNTED_MAX: u32 = 4_096;

/// Which processes a pass looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Those that did something of late, and those whose turn it is.
    Wanted,
    /// All others.
    Resting,
}

/// Reads `/proc/PID/…` with buffers of its own.
pub(super) struct Looker {
    proc: Option<OwnedFd>,
    buffer: Vec<u8>,
    list: Vec<u8>,
    /// How many handles are kept now, and how many may be.
    pub(super) handles: usize,
    handles_max: usize,
    /// Since Linux 6.2 the size of `/proc/PID/fd` is the number of handles.
    sized: bool,
}

impl Looker {
    pub(super) fn new() -> Looker {
        // Half of what this process may open; the logs and everything else have the other half.
        let open_max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Looker {
            proc: None,
            buffer: vec![0; FILE_BYTES],
            list: Vec::with_capacity(LIST_BYTES),
            handles: 0,
            handles_max: usize::try_from((open_max / 2).min(HANDLES_MAX)).unwrap_or(0),
            sized: false,
        }
    }

    /// The numbers of all processes, ascending, as many as are looked at; returns how many there are.
    pub(super) fn list(&mut self, root: &Root, pids: &mut Vec<u32>) -> Result<usize, Error> {
        let failed = |errno: Errno| Error::reading(&root.at("/proc"), errno.into());
        if self.proc.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let proc = rustix::fs::open(root.at("/proc"), flags, Mode::empty()).map_err(failed)?;
            self.proc = Some(proc);
            // Of a copy it is the size of a directory.
            self.sized = root.is_live() && std::fs::metadata("/proc/self/fd").is_ok_and(|fd| fd.len() > 0);
        }
        let Some(proc) = &self.proc else { return Ok(0) };
        rustix::fs::seek(proc, SeekFrom::Start(0)).map_err(failed)?;
        pids.clear();
        let mut count = 0;
        let mut entries = RawDir::new(proc, self.list.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let Some(pid) = pid_of(entry.map_err(failed)?.file_name().to_bytes()) else { continue };
            count += 1;
            if pids.len() < limits::PROCESSES_MAX {
                pids.push(pid);
            }
        }
        // The kernel gives them in order; a copy of its files need not.
        pids.sort_unstable();
        Ok(count)
    }

    /// Looks at one process. Returns the ticks that it used since its last look, all of them if it was born since.
    pub(super) fn look(&mut self, entry: &mut Entry, second: u32) -> u64 {
        if let Some(handle) = &entry.handle {
            match read(handle, &mut self.buffer) {
                Ok(len) if len > 0 => return take(entry, &self.buffer[..len], second),
                // It ended; another may have its number by now.
                _ => *entry = Entry::new(entry.id.pid, true),
            }
        }
        let Ok(handle) = self.open(entry.id.pid, "stat") else {
            entry.known = false;
            return 0;
        };
        let grown = match read(&handle, &mut self.buffer) {
            Ok(len) => take(entry, &self.buffer[..len], second),
            Err(_) => 0,
        };
        if entry.known && self.handles < self.handles_max {
            self.handles += 1;
            entry.handle = Some(handle);
        }
        grown
    }

    /// Bytes read and written, and open handles. What may not be seen stays unknown.
    pub(super) fn ask_more(&mut self, entry: &mut Entry) {
        let pid = entry.id.pid;
        if let Some(bytes) = self.file(pid, "io") {
            let (read, written) =
                (procfs::value_of(bytes, b"read_bytes:"), procfs::value_of(bytes, b"write_bytes:"));
            let sum = |read: Option<u64>, written: Option<u64>| {
                read.zip(written).map(|(read, written)| read + written)
            };
            if let (Some(before), Some(now)) = (sum(entry.read, entry.written), sum(read, written)) {
                entry.io_heat = entry.io_heat.saturating_add(now.saturating_sub(before));
            }
            (entry.read, entry.written) = (read, written);
        }
        if self.sized
            && let Some(proc) = &self.proc
            && let Ok(stat) = rustix::fs::statat(proc, path(pid, "fd").bytes(), AtFlags::empty())
        {
            entry.handles = u32::try_from(stat.st_size).ok();
        }
    }

    /// Its effective user.
    pub(super) fn user(&self, pid: u32) -> Option<u32> {
        let stat = rustix::fs::statat(self.proc.as_ref()?, path(pid, "").bytes(), AtFlags::empty()).ok()?;
        Some(stat.st_uid)
    }

    /// Its handles, counted one by one: for kernels that do not tell their number.
    pub(super) fn count_handles(&mut self, pid: u32) -> Option<u32> {
        if self.sized {
            return None;
        }
        let dir = self.open(pid, "fd").ok()?;
        let mut entries = RawDir::new(&dir, self.list.spare_capacity_mut());
        let mut count = 0;
        while count < COUNTED_MAX
            && let Some(entry) = entries.next()
        {
            count += u32::from(pid_of(entry.ok()?.file_name().to_bytes()).is_some());
        }
        Some(count)
    }

    /// The kernel function that it waits in.
    pub(super) fn waits_in(&mut self, pid: u32) -> Option<&str> {
        let text = std::str::from_utf8(self.file(pid, "wchan")?).ok()?.trim_ascii();
        (!text.is_empty() && text != "0").then_some(text)
    }

    fn file(&mut self, pid: u32, file: &str) -> Option<&[u8]> {
        let handle = self.open(pid, file).ok()?;
        let len = read(&handle, &mut self.buffer).ok()?;
        Some(&self.buffer[..len])
    }

    fn open(&self, pid: u32, file: &str) -> Result<OwnedFd, Errno> {
        let proc = self.proc.as_ref().ok_or(Errno::BADF)?;
        // A fixture may hold anything; to open it must not wait.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(proc, path(pid, file).bytes(), flags, Mode::empty())
    }
}

/// Takes in what the `stat` file says; returns the ticks used since the last look.
fn take(entry: &mut Entry, bytes: &[u8], second: u32) -> u64 {
    let Some(stat) = procfs::ProcessStat::parse(bytes) else {
        entry.known = false;
        return 0;
    };
    if entry.known && entry.id.start_ticks != stat.id.start_ticks {
        *entry = Entry { handle: entry.handle.take(), ..Entry::new(entry.id.pid, true) };
    }
    let before = if entry.known {
        entry.cpu_ticks
    } else if entry.born {
        0
    } else {
        stat.cpu_ticks
    };
    let grown = stat.cpu_ticks.saturating_sub(before);
    if !entry.known {
        entry.since = second;
    }
    entry.known = true;
    entry.id.start_ticks = stat.id.start_ticks;
    entry.is_kernel = stat.is_kernel;
    entry.state = stat.state;
    entry.parent = stat.ppid;
    entry.threads = stat.threads;
    entry.comm = [0; 16];
    let comm = &stat.comm[..stat.comm.len().min(entry.comm.len())];
    entry.comm[..comm.len()].copy_from_slice(comm);
    entry.cpu_ticks = stat.cpu_ticks;
    entry.resident_pages = stat.rss_pages;
    entry.cpu_heat += grown * 1024;
    entry.idle_looks = if grown > 0 { 0 } else { entry.idle_looks.saturating_add(1) };
    entry.looked = second;
    grown
}

fn read(handle: &OwnedFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match rustix::io::pread(handle, &mut *buffer, 0) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

fn pid_of(name: &[u8]) -> Option<u32> {
    name.iter().all(u8::is_ascii_digit).then(|| u32::try_from(procfs::number(name)?).ok())?
}

/// `PID/file`, without asking for memory.
struct ShortPath {
    bytes: [u8; 24],
    len: usize,
}

impl ShortPath {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

fn path(pid: u32, file: &str) -> ShortPath {
    let mut bytes = [0; 24];
    let room = bytes.len();
    let mut rest = &mut bytes[..];
    write!(rest, "{pid}/{file}").expect("a number of ten digits and a name of at most eight bytes fit");
    let len = room - rest.len();
    ShortPath { bytes, len }
}
