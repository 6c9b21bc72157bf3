//! Small fast readers of `/proc`: fixed buffers, no regular expressions, no allocation beyond the caller's buffer.
//!
//! The parsers take bytes and are total: a form that they do not know yields `None` or nothing, never a panic.
//! See proc(5) and its siblings for each file.

use std::path::{Path, PathBuf};

use toban_model::{ProcessId, Time};

use crate::{Error, Root, limits, patience};

/// USER_HZ: the kernel gives times to user space in hundredths of a second on every architecture that is in use.
pub const TICKS_PER_SECOND: u64 = 100;

/// The number at the start of the bytes, leading blanks skipped.
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    let start = bytes.iter().position(|b| !matches!(b, b' ' | b'\t'))?;
    let digits = &bytes[start..];
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    digits[..end].iter().try_fold(0u64, |n, d| n.checked_mul(10)?.checked_add(u64::from(d - b'0')))
}

pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

pub(crate) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|b| matches!(b, b' ' | b'\t')).filter(|field| !field.is_empty())
}

/// The value of `key` in a file of `key value` lines (`MemTotal:  123 kB`, `oom_kill 3`).
pub(crate) fn value_of(bytes: &[u8], key: &[u8]) -> Option<u64> {
    lines(bytes).find_map(|line| {
        let rest = line.strip_prefix(key)?;
        matches!(rest.first(), Some(b' ' | b'\t')).then(|| number(rest))?
    })
}

/// `/proc/stat`: cumulative processor time in ticks, and process counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Ticks of all processors together.
    pub all: CpuTicks,
    /// Processors in the list.
    pub cores: u32,
    /// Interrupts served since boot.
    pub interrupts: u64,
    /// Context switches since boot.
    pub switches: u64,
    /// When the kernel started, in seconds since the epoch.
    pub boot_s: u64,
    /// Processes and threads made since boot.
    pub forks: u64,
    /// Tasks that can run now.
    pub running: u64,
    /// Tasks that wait for a disk.
    pub blocked: u64,
}

/// Ticks of one processor, or of all, by what they were used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTicks {
    /// In programs, guests of this host's own included.
    pub user: u64,
    /// In programs of lowered priority.
    pub nice: u64,
    /// In the kernel, for a task.
    pub system: u64,
    /// Without work while a disk was waited for.
    pub iowait: u64,
    /// In interrupts.
    pub irq: u64,
    /// In what interrupts leave for later.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
    /// In guests; counted in `user` and `nice` too.
    pub guest: u64,
}

impl CpuTicks {
    /// Ticks that the processor was not idle, stolen ones included.
    pub fn busy(&self) -> u64 {
        self.of_tasks().saturating_add(self.irq).saturating_add(self.softirq).saturating_add(self.steal)
    }

    /// Ticks that some task used.
    pub fn of_tasks(&self) -> u64 {
        self.user.saturating_add(self.nice).saturating_add(self.system)
    }

    fn parse<'a>(words: impl Iterator<Item = &'a [u8]>) -> CpuTicks {
        let mut numbers = words.map(|word| number(word).unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        let (user, nice, system, _idle) = (next(), next(), next(), next());
        let (iowait, irq, softirq, steal) = (next(), next(), next(), next());
        CpuTicks { user, nice, system, iowait, irq, softirq, steal, guest: next().saturating_add(next()) }
    }
}

impl Stat {
    /// From the file's bytes.
    pub fn parse(bytes: &[u8]) -> Option<Stat> {
        let mut stat = Stat::default();
        let mut seen = false;
        for line in lines(bytes) {
            let mut words = fields(line);
            let Some(key) = words.next() else { continue };
            let mut next = || words.next().and_then(number).unwrap_or(0);
            match key {
                b"cpu" => {
                    seen = true;
                    stat.all = CpuTicks::parse(words);
                }
                b"intr" => stat.interrupts = next(),
                b"ctxt" => stat.switches = next(),
                b"btime" => stat.boot_s = next(),
                b"processes" => stat.forks = next(),
                b"procs_running" => stat.running = next(),
                b"procs_blocked" => stat.blocked = next(),
                _ if key.starts_with(b"cpu") => stat.cores += 1,
                _ => {}
            }
        }
        seen.then_some(stat)
    }
}

/// Each processor of `/proc/stat`: its number, and its ticks.
pub fn cores(stat: &[u8]) -> impl Iterator<Item = (&str, CpuTicks)> {
    lines(stat).filter_map(|line| {
        let mut words = fields(line);
        let core = words.next()?.strip_prefix(b"cpu").filter(|core| !core.is_empty())?;
        Some((std::str::from_utf8(core).ok()?, CpuTicks::parse(words)))
    })
}

/// `/proc/meminfo`, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meminfo {
    /// All memory.
    pub total_bytes: u64,
    /// What can be had without swapping, as the kernel estimates it.
    pub available_bytes: u64,
    /// Swap in use.
    pub swap_used_bytes: u64,
}

impl Meminfo {
    /// From the file's bytes. Kernels before 3.14 have no MemAvailable: free + buffers + cached stands in.
    pub fn parse(bytes: &[u8]) -> Option<Meminfo> {
        let kb = |key: &[u8]| value_of(bytes, key).map(|kb| kb.saturating_mul(1024));
        let total_bytes = kb(b"MemTotal:")?;
        let available_bytes = kb(b"MemAvailable:").or_else(|| {
            Some(kb(b"MemFree:")?.saturating_add(kb(b"Buffers:")?).saturating_add(kb(b"Cached:")?))
        })?;
        let swap_used_bytes = kb(b"SwapTotal:").unwrap_or(0).saturating_sub(kb(b"SwapFree:").unwrap_or(0));
        Some(Meminfo { total_bytes, available_bytes, swap_used_bytes })
    }
}

/// The numbers of a file of `key value` lines, such as `/proc/vmstat`.
pub fn keyed(bytes: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    lines(bytes).filter_map(|line| {
        let mut words = fields(line);
        let key = words.next()?;
        Some((key.strip_suffix(b":").unwrap_or(key), number(words.next()?)?))
    })
}

/// The counters of one group of `/proc/net/snmp` or `/proc/net/netstat`, whose lines come in pairs: names, then
/// numbers. Those that are negative are left out: of them -1 says that there is no limit.
pub fn paired<'a>(bytes: &'a [u8], group: &'static str) -> impl Iterator<Item = (&'a [u8], u64)> {
    let is_groups = move |line: &&[u8]| {
        line.strip_prefix(group.as_bytes()).is_some_and(|rest| rest.first() == Some(&b':'))
    };
    let mut lines = lines(bytes).filter(is_groups);
    let names = lines.next().unwrap_or_default();
    let numbers = lines.next().unwrap_or_default();
    fields(names).zip(fields(numbers)).skip(1).filter_map(|(name, word)| Some((name, number(word)?)))
}

/// The numbers of one group of `/proc/net/sockstat`, such as `TCP`: names and numbers by turns.
pub fn sockstat<'a>(bytes: &'a [u8], group: &'static str) -> impl Iterator<Item = (&'a [u8], u64)> {
    let line = lines(bytes).find_map(|line| {
        let rest = line.strip_prefix(group.as_bytes())?;
        rest.strip_prefix(b":")
    });
    let mut words = fields(line.unwrap_or_default());
    std::iter::from_fn(move || Some((words.next()?, number(words.next()?)?)))
}

/// A whole disk in `/proc/diskstats`. Its counters begin at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disk<'a> {
    /// Its name: `sda`, `nvme0n1`, `dm-0`.
    pub name: &'a str,
    /// Reads completed.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes completed.
    pub writes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Requests that it works on now.
    pub in_flight: u64,
    /// Milliseconds during which it had work.
    pub busy_ms: u64,
    /// Milliseconds that its requests waited and were worked on, summed: its growth is the queue's length.
    pub queued_ms: u64,
}

/// The disks that did anything since boot, without partitions, loop devices and RAM disks.
pub fn disks(bytes: &[u8]) -> impl Iterator<Item = Disk<'_>> {
    // Sectors of this file are of 512 bytes, whatever the disk's own are.
    const SECTOR_BYTES: u64 = 512;
    let mut last = "";
    lines(bytes).filter_map(move |line| {
        let mut words = fields(line);
        let name = std::str::from_utf8(words.nth(2)?).ok()?;
        let mut numbers = words.map(|word| number(word).unwrap_or(0));
        let (reads, _merged, read_sectors, _ms) =
            (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
        let (writes, _merged, written_sectors, _ms) =
            (numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?);
        let (in_flight, busy_ms, queued_ms) = (numbers.next()?, numbers.next()?, numbers.next()?);
        // A partition follows its disk: sda, sda1; nvme0n1, nvme0n1p1.
        let is_partition = !last.is_empty()
            && !last.starts_with("dm-")
            && !last.starts_with("md")
            && name.strip_prefix(last).is_some_and(|rest| {
                let rest = rest.strip_prefix('p').unwrap_or(rest);
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
            });
        if is_partition {
            return None;
        }
        last = name;
        let is_disk = !["loop", "ram", "zram", "sr", "fd"].iter().any(|kind| name.starts_with(kind));
        (is_disk && reads + writes > 0).then_some(Disk {
            name,
            reads,
            read_bytes: read_sectors.saturating_mul(SECTOR_BYTES),
            writes,
            written_bytes: written_sectors.saturating_mul(SECTOR_BYTES),
            in_flight,
            busy_ms,
            queued_ms,
        })
    })
}

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where, as the host sees it.
    pub point: PathBuf,
    /// Which kind: `ext4`, `overlay`.
    pub kind: String,
    /// It cannot be written.
    pub read_only: bool,
}

/// Kinds that keep data on a disk of this host. Network file systems are left out on purpose: asking one whose
/// server is gone blocks for ever.
const REAL_KINDS: &[&str] = &[
    "ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "jfs", "reiserfs", "nilfs2", "bcachefs", "vfat",
    "exfat", "ntfs", "ntfs3", "ufs", "overlay", "simfs",
];

/// The file systems of `/proc/mounts` that keep data on a disk and can fill up.
pub fn mounts(bytes: &[u8]) -> Vec<Mount> {
    mounts_of(bytes, &[])
}

/// The same with those of further kinds.
pub fn mounts_of(bytes: &[u8], further: &[&str]) -> Vec<Mount> {
    let mut mounts: Vec<Mount> = Vec::new();
    for line in lines(bytes) {
        let mut words = fields(line);
        let (Some(_device), Some(point), Some(kind), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let kind = String::from_utf8_lossy(kind).into_owned();
        let point = unescape_mount(point);
        let read_only = options.split(|b| *b == b',').any(|option| option == b"ro");
        // An overlay below these is a container's root: it shares the disk of the host's own.
        let of_container = kind == "overlay"
            && ["/var/lib/", "/run/"].iter().any(|prefix| point.to_string_lossy().starts_with(prefix));
        let wanted = REAL_KINDS.contains(&kind.as_str()) || further.contains(&kind.as_str());
        if read_only || of_container || !wanted {
            continue;
        }
        // A later mount on the same point hides the earlier one.
        mounts.retain(|mount| mount.point != point);
        if mounts.len() < limits::MOUNTS_MAX {
            mounts.push(Mount { point, kind, read_only });
        }
    }
    mounts
}

/// Blanks in a mount point are written as `\040`.
fn unescape_mount(point: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    let mut out = Vec::with_capacity(point.len());
    let mut rest = point;
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'\\'
            && let Some(octal) = tail.get(..3)
            && octal.iter().all(|b| (b'0'..=b'7').contains(b))
        {
            let value = octal.iter().fold(0u32, |n, b| n * 8 + u32::from(b - b'0'));
            out.push(u8::try_from(value & 0xff).unwrap_or(b'?'));
            rest = &tail[3..];
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

/// The flag of a kernel thread (include/linux/sched.h).
const PF_KTHREAD: u64 = 0x0020_0000;

/// `/proc/PID/stat`, as much of it as is used, in the buffer that it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat<'a> {
    /// Its number and start.
    pub id: ProcessId,
    /// The program's short name (15 bytes at most), which may be any bytes.
    pub comm: &'a [u8],
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: u8,
    /// Its parent.
    pub ppid: u32,
    /// Ticks on the processor, user and system.
    pub cpu_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// Resident pages.
    pub rss_pages: u64,
    /// It is a thread of the kernel.
    pub is_kernel: bool,
}

impl ProcessStat<'_> {
    /// From the file's bytes. The name stands in parentheses and may itself hold blanks and parentheses.
    pub fn parse(bytes: &[u8]) -> Option<ProcessStat<'_>> {
        let open = memchr::memchr(b'(', bytes)?;
        let close = memchr::memrchr(b')', bytes)?;
        let pid = u32::try_from(number(&bytes[..open])?).ok()?;
        let comm = bytes.get(open + 1..close)?;
        let mut words = fields(bytes.get(close + 1..)?);
        let state = *words.next()?.first()?;
        let mut numbers = words.map(|word| number(word).unwrap_or(0));
        let ppid = u32::try_from(numbers.next()?).ok()?;
        // Fields 9 flags; 14, 15 utime and stime; 20 threads; 22 start; 24 rss. The iterator stands after field 4.
        let is_kernel = numbers.nth(4)? & PF_KTHREAD != 0;
        let utime = numbers.nth(4)?;
        let stime = numbers.next()?;
        let threads = u32::try_from(numbers.nth(4)?).unwrap_or(u32::MAX);
        let start_ticks = numbers.nth(1)?;
        let rss_pages = numbers.nth(1)?;
        let cpu_ticks = utime.saturating_add(stime);
        let id = ProcessId { pid, start_ticks };
        Some(ProcessStat { id, comm, state, ppid, cpu_ticks, threads, rss_pages, is_kernel })
    }
}

/// A process as its `stat` file says, to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number and start.
    pub id: ProcessId,
    /// The program's short name (15 bytes at most).
    pub comm: String,
    /// `R`, `S`, `D`, `Z`, `T`, …
    pub state: char,
    /// Its parent.
    pub ppid: u32,
    /// Ticks on the processor, user and system.
    pub cpu_ticks: u64,
    /// Threads.
    pub threads: u32,
    /// Resident pages.
    pub rss_pages: u64,
}

impl Process {
    /// From the file's bytes.
    pub fn parse(bytes: &[u8]) -> Option<Process> {
        let stat = ProcessStat::parse(bytes)?;
        Some(Process {
            id: stat.id,
            comm: String::from_utf8_lossy(stat.comm).into_owned(),
            state: char::from(stat.state),
            ppid: stat.ppid,
            cpu_ticks: stat.cpu_ticks,
            threads: stat.threads,
            rss_pages: stat.rss_pages,
        })
    }

    /// Reads one process; `None` when it is gone.
    pub fn read(root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Option<Process> {
        Process::parse(root.read(format!("/proc/{pid}/stat"), buffer).ok()?)
    }

    /// Resident memory, in bytes.
    pub fn rss_bytes(&self) -> u64 {
        self.rss_pages.saturating_mul(rustix::param::page_size() as u64)
    }
}

/// VmRSS of `/proc/PID/status`, in bytes. Exact, where the figure in `stat` may lag by some pages a processor.
pub fn status_rss_bytes(bytes: &[u8]) -> Option<u64> {
    value_of(bytes, b"VmRSS:").map(|kb| kb.saturating_mul(1024))
}

/// The numbers of all processes, in the order of `/proc`, at most [`limits::PROCESSES_MAX`].
pub fn pids(root: &Root) -> Result<Vec<u32>, Error> {
    let path = root.at("/proc");
    let entries = std::fs::read_dir(&path).map_err(|source| Error::reading(&path, source))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .take(limits::PROCESSES_MAX)
        .collect())
}

/// The children of a process. Not every kernel has the `children` file, so all processes are looked through
/// where it is absent.
pub fn children(root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Vec<u32> {
    if let Ok(bytes) = root.read(format!("/proc/{pid}/task/{pid}/children"), buffer) {
        let list: Vec<u32> = fields(bytes).filter_map(|word| u32::try_from(number(word)?).ok()).collect();
        return list;
    }
    pids(root)
        .unwrap_or_default()
        .into_iter()
        .filter(|child| Process::read(root, *child, buffer).is_some_and(|process| process.ppid == pid))
        .collect()
}

/// The arguments of a process. A process may overwrite them (nginx, php-fpm, sshd do), so they are its own text.
pub fn arguments(root: &Root, pid: u32) -> Vec<String> {
    split_nul(root, format!("/proc/{pid}/cmdline"))
}

/// The environment that a process was started with; needs the same user or root.
pub fn environment(root: &Root, pid: u32) -> Vec<(String, String)> {
    split_nul(root, format!("/proc/{pid}/environ"))
        .into_iter()
        .filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

fn split_nul(root: &Root, path: String) -> Vec<String> {
    let root = root.clone();
    let bytes = patience::within(move || {
        let mut bytes = Vec::new();
        let _ = root.read(path, &mut bytes);
        bytes
    });
    bytes
        .unwrap_or_default()
        .split(|b| *b == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect()
}

/// The program that a process runs; after an upgrade the kernel appends ` (deleted)`, which is taken off.
pub fn exe(root: &Root, pid: u32) -> Option<PathBuf> {
    let path = std::fs::read_link(root.at(format!("/proc/{pid}/exe"))).ok()?;
    Some(match path.to_str().and_then(|text| text.strip_suffix(" (deleted)")) {
        Some(rest) => PathBuf::from(rest),
        None => path,
    })
}

/// The kernel function that a process sleeps in; `None` when it runs or when this may not be seen.
pub fn wchan(root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Option<String> {
    let bytes = root.read(format!("/proc/{pid}/wchan"), buffer).ok()?;
    let text = std::str::from_utf8(bytes).ok()?.trim();
    (!text.is_empty() && text != "0").then(|| text.to_owned())
}

/// What a file descriptor refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FdTarget {
    /// A socket, by inode.
    Socket(u64),
    /// A path (` (deleted)` kept).
    Path(PathBuf),
}

/// Calls `each` for every socket and path that a process has open; false when its table may not be read.
pub fn for_each_fd(root: &Root, pid: u32, mut each: impl FnMut(u32, FdTarget)) -> bool {
    use rustix::fs::{Dir, Mode, OFlags, openat, readlinkat};
    use std::os::unix::ffi::OsStrExt;
    let path = root.at(format!("/proc/{pid}/fd"));
    let Ok(dir) = openat(
        rustix::fs::CWD,
        &path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    ) else {
        return false;
    };
    let Ok(mut entries) = Dir::new(dir) else { return false };
    let mut target = Vec::with_capacity(256);
    for _ in 0..limits::FDS_PER_PROCESS_MAX {
        let Some(Ok(entry)) = entries.read() else { break };
        let Ok(dir) = entries.fd() else { break };
        let Some(fd) = number(entry.file_name().to_bytes()).and_then(|fd| u32::try_from(fd).ok()) else {
            continue;
        };
        let Ok(link) = readlinkat(dir, entry.file_name(), std::mem::take(&mut target)) else { continue };
        let bytes = link.as_bytes();
        if let Some(inode) = bytes.strip_prefix(b"socket:[").and_then(number) {
            each(fd, FdTarget::Socket(inode));
        } else if bytes.first() == Some(&b'/') {
            each(fd, FdTarget::Path(Path::new(std::ffi::OsStr::from_bytes(bytes)).to_path_buf()));
        }
        target = link.into_bytes();
    }
    true
}

/// When the kernel started, from `/proc/stat`. `/proc/uptime` would be finer, but is the machine's where
/// containers share it.
pub fn boot_time(root: &Root) -> Result<Time, Error> {
    let mut buffer = Vec::new();
    let stat = Stat::parse(root.read("/proc/stat", &mut buffer)?).ok_or_else(|| Error::Form {
        path: root.at("/proc/stat"),
        expected: "a line that begins with cpu",
    })?;
    Ok(Time::from_secs(i64::try_from(stat.boot_s).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read() {
        let stat = Stat::parse(
            b"cpu  10 1 5 1000 7 2 3 4 0 0\ncpu0 5 0 0 0 0 0 0 0 0 0\ncpu1 5 0 0 0 0 0 0 0 0 0\nintr 70 1 2\nctxt 80\n\
              btime 1700000000\nprocesses 99\nprocs_running 2\nprocs_blocked 1\n",
        )
        .unwrap();
        assert_eq!(stat.all.busy(), 10 + 1 + 5 + 2 + 3 + 4);
        assert_eq!((stat.cores, stat.all.iowait, stat.forks, stat.running, stat.blocked), (2, 7, 99, 2, 1));
        assert_eq!((stat.interrupts, stat.switches, stat.boot_s), (70, 80, 1_700_000_000));
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"\xff\xfe"), None);
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let line = b"42 (a) (b c) S 1 42 42 0 -1 4194560 100 0 0 0 7 3 0 0 20 0 5 0 12345 1000000 250 0 0";
        let process = Process::parse(line).unwrap();
        assert_eq!(process.comm, "a) (b c");
        assert_eq!((process.id.pid, process.id.start_ticks, process.ppid), (42, 12345, 1));
        assert_eq!((process.cpu_ticks, process.threads, process.rss_pages, process.state), (10, 5, 250, 'S'));
        for cut in 0..line.len() {
            let _ = Process::parse(&line[..cut]);
        }
    }

    #[test]
    fn mounts_are_real_and_writable() {
        let list = mounts(
            b"proc /proc proc rw 0 0\n/dev/vda / ext4 rw,relatime 0 0\n/dev/loop0 /snap/x squashfs ro 0 0\n\
              tmpfs /run tmpfs rw 0 0\noverlay /var overlay rw,lowerdir=/a 0 0\n/dev/b /my\\040data xfs rw 0 0\n\
              overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\nnas:/x /nas nfs4 rw 0 0\n/dev/c /iso ext4 ro 0 0\n",
        );
        let points: Vec<_> = list.iter().map(|mount| mount.point.to_str().unwrap()).collect();
        assert_eq!(points, ["/", "/var", "/my data"]);
    }

    #[test]
    fn counters_in_pairs() {
        let text = b"Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn CurrEstab RetransSegs\nTcp: 200 -1 17 5\nTcpExt: A\nTcpExt: 9\n";
        let tcp: Vec<_> = paired(text, "Tcp").collect();
        assert_eq!(tcp, [(&b"RtoMin"[..], 200), (b"CurrEstab", 17), (b"RetransSegs", 5)]);
        assert_eq!(paired(text, "Udp").count(), 0);
        let text = b"sockets: used 9\nTCP: inuse 5 orphan 70 tw 0\n";
        assert_eq!(
            sockstat(text, "TCP").collect::<Vec<_>>(),
            [(&b"inuse"[..], 5), (b"orphan", 70), (b"tw", 0)]
        );
        assert_eq!(sockstat(text, "UDP").count(), 0);
        assert_eq!(
            keyed(b"MemTotal:  12 kB\noom_kill 3\nx\n").collect::<Vec<_>>(),
            [(&b"MemTotal"[..], 12), (b"oom_kill", 3)]
        );
    }

    #[test]
    fn disks_without_partitions() {
        let text = b"   8  0 sda 10 1 16 3 20 2 32 4 5 1234 77\n   8  1 sda1 10 0 0 0 20 0 0 0 0 1000 0\n\
             259 0 nvme0n1 1 0 0 0 2 0 0 0 0 77 0\n 259 1 nvme0n1p1 1 0 0 0 2 0 0 0 0 70 0\n\
             7 0 loop0 5 0 0 0 0 0 0 0 0 1 0\n 8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n 8 17 sdb1 1 0 0 0 1 0 0 0 0 9 0\n\
             253 0 dm-1 1 0 0 0 0 0 0 0 0 5 0\n 253 1 dm-10 1 0 0 0 0 0 0 0 0 6 0\n";
        let names: Vec<_> = disks(text).map(|disk| (disk.name, disk.busy_ms)).collect();
        assert_eq!(names, [("sda", 1234), ("nvme0n1", 77), ("dm-1", 5), ("dm-10", 6)]);
        let sda = Disk {
            name: "sda",
            reads: 10,
            read_bytes: 16 * 512,
            writes: 20,
            written_bytes: 32 * 512,
            in_flight: 5,
            busy_ms: 1234,
            queued_ms: 77,
        };
        assert_eq!(disks(text).next(), Some(sda));
    }

    #[test]
    fn this_process_is_seen() {
        let root = Root::host();
        let mut buffer = Vec::new();
        let me = Process::read(&root, std::process::id(), &mut buffer).unwrap();
        assert_eq!(me.id.pid, std::process::id());
        assert!(me.rss_bytes() > 0 && me.threads >= 1);
        assert!(pids(&root).unwrap().contains(&std::process::id()));
        assert!(boot_time(&root).unwrap() > Time::from_secs(1_000_000_000));
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut found = false;
        assert!(for_each_fd(&root, std::process::id(), |_, target| {
            found |= target == FdTarget::Path(file.path().into());
        }));
        assert!(found);
    }
}
