//! Small fast readers of `/proc`: fixed buffers, no regular expressions, no allocation beyond the caller's buffer.
//!
//! The parsers take bytes and are total: a form that they do not know yields `None` or nothing, never a panic.
//! See proc(5) and its siblings for each file.

use std::path::{Path, PathBuf};

use toban_model::{ProcessId, Time};

use crate::{Error, Root, limits};

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
    /// Ticks on the processor: user, nice, system, irq, softirq and steal.
    pub busy_ticks: u64,
    /// Ticks without work while a disk was waited for.
    pub iowait_ticks: u64,
    /// Ticks taken by the hypervisor (part of `busy_ticks`).
    pub steal_ticks: u64,
    /// Processors in the list.
    pub cores: u32,
    /// When the kernel started, in seconds since the epoch.
    pub boot_s: u64,
    /// Processes and threads made since boot.
    pub forks: u64,
    /// Tasks that can run now.
    pub running: u64,
    /// Tasks that wait for a disk.
    pub blocked: u64,
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
                    let (user, nice, system, _idle) = (next(), next(), next(), next());
                    stat.iowait_ticks = next();
                    let (irq, softirq) = (next(), next());
                    stat.steal_ticks = next();
                    stat.busy_ticks = [user, nice, system, irq, softirq, stat.steal_ticks]
                        .iter()
                        .fold(0, |sum: u64, n| sum.saturating_add(*n));
                }
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

/// The first figure of `/proc/loadavg`.
pub fn load_1(bytes: &[u8]) -> Option<f64> {
    std::str::from_utf8(fields(bytes).next()?).ok()?.parse().ok()
}

/// Bytes that all interfaces but the loopback received and sent, from `/proc/net/dev`.
pub fn interface_bytes(bytes: &[u8]) -> (u64, u64) {
    let mut sums = (0u64, 0u64);
    for line in lines(bytes) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let name = line[..colon].trim_ascii();
        if name == b"lo" {
            continue;
        }
        let mut words = fields(&line[colon + 1..]).map(|word| number(word).unwrap_or(0));
        sums.0 = sums.0.saturating_add(words.next().unwrap_or(0));
        // Received has eight columns; the ninth is bytes sent.
        sums.1 = sums.1.saturating_add(words.nth(7).unwrap_or(0));
    }
    sums
}

/// One counter of `/proc/net/snmp` or `/proc/net/netstat`, whose lines come in pairs: names, then numbers.
pub fn paired(bytes: &[u8], group: &str, name: &str) -> Option<u64> {
    let mut lines = lines(bytes);
    loop {
        let names = lines.next()?;
        let numbers = lines.next()?;
        let Some(rest) = names.strip_prefix(group.as_bytes()) else { continue };
        if rest.first() != Some(&b':') {
            continue;
        }
        let position = fields(names).position(|word| word == name.as_bytes())?;
        // CurrEstab and others never are negative; MaxConn is (-1) and is not asked for.
        return number(fields(numbers).nth(position)?);
    }
}

/// One number of `/proc/net/sockstat`, such as `TCP` `orphan`.
pub fn sockstat(bytes: &[u8], group: &str, name: &str) -> Option<u64> {
    for line in lines(bytes) {
        let mut words = fields(line);
        let Some(key) = words.next() else { continue };
        if key.strip_suffix(b":") == Some(group.as_bytes()) {
            words.find(|word| *word == name.as_bytes())?;
            return number(words.next()?);
        }
    }
    None
}

/// A whole disk in `/proc/diskstats`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its name: `sda`, `nvme0n1`, `dm-0`.
    pub name: String,
    /// Milliseconds since boot during which it had work.
    pub busy_ms: u64,
}

/// The disks that did anything since boot, without partitions, loop devices and RAM disks.
pub fn disks(bytes: &[u8]) -> Vec<Disk> {
    let mut disks: Vec<Disk> = Vec::new();
    for line in lines(bytes) {
        let mut words = fields(line);
        let Some(name) = words.nth(2) else { continue };
        // Fields 4 and 8 of the documented list: reads and writes completed; 13 is time with work, in ms.
        let mut numbers = words.map(|word| number(word).unwrap_or(0));
        let reads = numbers.next().unwrap_or(0);
        let writes = numbers.nth(3).unwrap_or(0);
        let Some(busy_ms) = numbers.nth(4) else { continue };
        if reads + writes == 0
            || [&b"loop"[..], b"ram", b"zram", b"sr", b"fd"].iter().any(|p| name.starts_with(p))
        {
            continue;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        // A partition follows its disk: sda, sda1; nvme0n1, nvme0n1p1.
        let is_partition = disks.iter().any(|disk| {
            name.strip_prefix(disk.name.as_str()).is_some_and(|rest| {
                let rest = rest.strip_prefix('p').unwrap_or(rest);
                !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
            }) && !disk.name.starts_with("dm-")
                && !disk.name.starts_with("md")
        });
        if !is_partition && disks.len() < limits::DISKS_MAX {
            disks.push(Disk { name, busy_ms });
        }
    }
    disks
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

/// The file systems of `/proc/mounts` that can fill up.
pub fn mounts(bytes: &[u8]) -> Vec<Mount> {
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
        if read_only || of_container || !REAL_KINDS.contains(&kind.as_str()) {
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

/// `/proc/PID/stat`, as much of it as is used.
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
    /// From the file's bytes. The name stands in parentheses and may itself hold blanks and parentheses.
    pub fn parse(bytes: &[u8]) -> Option<Process> {
        let open = memchr::memchr(b'(', bytes)?;
        let close = memchr::memrchr(b')', bytes)?;
        let pid = u32::try_from(number(&bytes[..open])?).ok()?;
        let comm = String::from_utf8_lossy(bytes.get(open + 1..close)?).into_owned();
        let mut words = fields(bytes.get(close + 1..)?);
        let state = char::from(*words.next()?.first()?);
        let mut numbers = words.map(|word| number(word).unwrap_or(0));
        let ppid = u32::try_from(numbers.next()?).ok()?;
        // Fields 14, 15 utime and stime; 20 threads; 22 start; 24 rss. The iterator stands after field 4.
        let utime = numbers.nth(9)?;
        let stime = numbers.next()?;
        let threads = u32::try_from(numbers.nth(4)?).unwrap_or(u32::MAX);
        let start_ticks = numbers.nth(1)?;
        let rss_pages = numbers.nth(1)?;
        Some(Process {
            id: ProcessId { pid, start_ticks },
            comm,
            state,
            ppid,
            cpu_ticks: utime.saturating_add(stime),
            threads,
            rss_pages,
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
    split_nul(root, &format!("/proc/{pid}/cmdline"))
}

/// The environment that a process was started with; needs the same user or root.
pub fn environment(root: &Root, pid: u32) -> Vec<(String, String)> {
    split_nul(root, &format!("/proc/{pid}/environ"))
        .into_iter()
        .filter_map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

fn split_nul(root: &Root, path: &str) -> Vec<String> {
    let mut buffer = Vec::new();
    let bytes = root.read(path, &mut buffer).unwrap_or_default();
    bytes
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
    let path = root.at(format!("/proc/{pid}/fd"));
    let Ok(dir) = openat(
        rustix::fs::CWD,
        &path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    ) else {
        return false;
    };
    let Ok(entries) = Dir::read_from(&dir) else { return false };
    let mut target = Vec::with_capacity(256);
    for entry in entries.flatten().take(limits::FDS_PER_PROCESS_MAX) {
        let Some(fd) = number(entry.file_name().to_bytes()).and_then(|fd| u32::try_from(fd).ok()) else {
            continue;
        };
        let Ok(link) = readlinkat(&dir, entry.file_name(), std::mem::take(&mut target)) else { continue };
        let bytes = link.as_bytes();
        if let Some(inode) = bytes.strip_prefix(b"socket:[").and_then(number) {
            each(fd, FdTarget::Socket(inode));
        } else if bytes.first() == Some(&b'/') {
            use std::os::unix::ffi::OsStrExt;
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

/// The memory cgroup of this process, where one limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryCgroup {
    dir: PathBuf,
    v2: bool,
    /// The limit, in bytes.
    pub limit_bytes: u64,
}

impl MemoryCgroup {
    /// The lowest limit between this process's cgroup and the root of the hierarchy, if it is below the machine's
    /// memory. A limit counts wherever it stands on the way up.
    pub fn find(root: &Root, machine_bytes: u64) -> Option<MemoryCgroup> {
        let mut buffer = Vec::new();
        let text = String::from_utf8_lossy(root.read("/proc/self/cgroup", &mut buffer).ok()?).into_owned();
        let mut best: Option<MemoryCgroup> = None;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let v2 = hierarchy == "0" && controllers.is_empty();
            if !v2 && !controllers.split(',').any(|controller| controller == "memory") {
                continue;
            }
            let bases: &[&str] =
                if v2 { &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] } else { &["/sys/fs/cgroup/memory"] };
            for base in bases {
                // Inside a container the path may be the machine's while only the container's part is mounted;
                // the walk ends at the mount itself, which is then the container's own cgroup.
                for level in Path::new(path).ancestors() {
                    let dir = Path::new(base).join(level.strip_prefix("/").unwrap_or(level));
                    let file = dir.join(if v2 { "memory.max" } else { "memory.limit_in_bytes" });
                    // v2 says "max" where there is no limit; v1 gives a number beyond all memory.
                    let Some(limit_bytes) = root.read(&file, &mut buffer).ok().and_then(number) else {
                        continue;
                    };
                    if limit_bytes < machine_bytes
                        && best.as_ref().is_none_or(|b| limit_bytes < b.limit_bytes)
                    {
                        best = Some(MemoryCgroup { dir, v2, limit_bytes });
                    }
                }
            }
        }
        best
    }

    /// Bytes in use that cannot simply be dropped (without the inactive file cache).
    pub fn used_bytes(&self, root: &Root, buffer: &mut Vec<u8>) -> Option<u64> {
        let file = if self.v2 { "memory.current" } else { "memory.usage_in_bytes" };
        let usage = number(root.read(self.dir.join(file), buffer).ok()?)?;
        let stat = root.read(self.dir.join("memory.stat"), buffer).unwrap_or_default();
        let cache =
            value_of(stat, if self.v2 { b"inactive_file" } else { b"total_inactive_file" }).unwrap_or(0);
        Some(usage.saturating_sub(cache))
    }

    /// Processes that the kernel killed here because the limit was met, since the cgroup was made.
    pub fn oom_kills(&self, root: &Root, buffer: &mut Vec<u8>) -> Option<u64> {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        value_of(root.read(self.dir.join(file), buffer).ok()?, b"oom_kill")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read() {
        let stat = Stat::parse(
            b"cpu  10 1 5 1000 7 2 3 4 0 0\ncpu0 5 0 0 0 0 0 0 0 0 0\ncpu1 5 0 0 0 0 0 0 0 0 0\nbtime 1700000000\n\
              processes 99\nprocs_running 2\nprocs_blocked 1\n",
        )
        .unwrap();
        assert_eq!(stat.busy_ticks, 10 + 1 + 5 + 2 + 3 + 4);
        assert_eq!((stat.cores, stat.iowait_ticks, stat.forks, stat.running, stat.blocked), (2, 7, 99, 2, 1));
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
        let text = b"Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn CurrEstab RetransSegs\nTcp: 200 -1 17 5\n";
        assert_eq!(paired(text, "Tcp", "CurrEstab"), Some(17));
        assert_eq!(paired(text, "Tcp", "RetransSegs"), Some(5));
        assert_eq!(paired(text, "Tcp", "Nothing"), None);
        assert_eq!(sockstat(b"sockets: used 9\nTCP: inuse 5 orphan 70 tw 0\n", "TCP", "orphan"), Some(70));
    }

    #[test]
    fn disks_without_partitions() {
        let text = b"   8  0 sda 10 0 0 0 20 0 0 0 0 1234 0\n   8  1 sda1 10 0 0 0 20 0 0 0 0 1000 0\n\
             259 0 nvme0n1 1 0 0 0 2 0 0 0 0 77 0\n 259 1 nvme0n1p1 1 0 0 0 2 0 0 0 0 70 0\n\
             7 0 loop0 5 0 0 0 0 0 0 0 0 1 0\n 8 16 sdb 0 0 0 0 0 0 0 0 0 0 0\n";
        let names: Vec<_> = disks(text).into_iter().map(|disk| (disk.name, disk.busy_ms)).collect();
        assert_eq!(names, [("sda".to_owned(), 1234), ("nvme0n1".to_owned(), 77)]);
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
