//! File systems: how full they are, and while one is full or fills, the files that take its room.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, StatxFlags, readlinkat, statat};
use toban_model::{FileUse, Filesystem, Place, Time};

use super::{open_dir, owner, places};
use crate::procfs::{self, Mount};
use crate::{Root, limits};

/// Smaller ones are made for one purpose and are full by it.
const SIZE_MIN: u64 = 16 << 20;
/// Files told of each file system.
const FILES_TOLD_MAX: usize = 12;
/// Open files that are looked at in full.
const CLOSE_LOOKS_MAX: usize = 64;
/// So much of a look may go into reading who has what open.
const WRITERS_FOR: Duration = Duration::from_millis(1500);
/// Directories are searched again after so long.
const SEARCH_EVERY: Duration = Duration::from_secs(60);
/// One that would be full within so long at its present speed fills.
const FILLS_WITHIN_S: f64 = 3600.0;
/// In the first looks nobody knows yet what fills: these are looked at closely.
const FIRST_LOOKS: u32 = 2;
const FIRST_LOOKS_USED: f64 = 0.85;

#[derive(Default)]
pub(super) struct Space {
    looks: u32,
    before: HashMap<PathBuf, (Instant, u64)>,
    searched: HashMap<PathBuf, (Instant, places::Found)>,
}

/// A file system that is looked at closely.
struct Tight {
    at: usize,
    point: PathBuf,
    device: u64,
    overlay: bool,
    full: bool,
}

impl Space {
    pub(super) fn look(&mut self, root: &Root, pids: &[u32], now: Time) -> Vec<Filesystem> {
        self.looks += 1;
        let mut buffer = Vec::new();
        let Ok(bytes) = root.read("/proc/mounts", &mut buffer) else { return Vec::new() };
        let mounts = procfs::mounts_of(bytes, &["tmpfs"]);
        let mut all: Vec<Filesystem> = Vec::new();
        let mut seen = Vec::new();
        let mut tight = Vec::new();
        for mount in mounts.iter().filter(|mount| is_a_place(mount)) {
            let path = root.at(&mount.point);
            let (Ok(stat), Ok(meta)) = (rustix::fs::statvfs(&path), std::fs::metadata(&path)) else {
                continue;
            };
            let overlay = mount.kind == "overlay";
            // Bind mounts and overlays on one disk report the same numbers; an overlay by a number of its own.
            let fsid = if overlay { 0 } else { stat.f_fsid };
            let same = (fsid, stat.f_blocks, stat.f_bfree, stat.f_files, stat.f_ffree);
            if !meta.is_dir() || seen.contains(&same) {
                continue;
            }
            seen.push(same);
            let filesystem = filesystem(mount, &stat);
            if filesystem.size_bytes < SIZE_MIN {
                continue;
            }
            let full = is_full(filesystem.free_bytes, filesystem.size_bytes)
                || filesystem.inodes > 0 && is_full_of_inodes(filesystem.inodes_free, filesystem.inodes);
            if full || self.fills(&mount.point, &filesystem) {
                let (at, point, device) = (all.len(), mount.point.clone(), meta.dev());
                tight.push(Tight { at, point, device, overlay, full });
            }
            all.push(filesystem);
        }
        if tight.is_empty() {
            return all;
        }
        let mut files = open_files(root, pids, &tight, &mounts);
        for (this, files) in tight.iter().zip(&mut files) {
            files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
            let filesystem = &mut all[this.at];
            if this.full {
                let found = self.search(root, this, filesystem, now);
                filesystem.bytes_in = found.bytes_in.clone();
                filesystem.inodes_in = found.inodes_in.clone();
                for file in &found.files {
                    if !files.iter().any(|open| open.id == file.id) {
                        files.push(file.clone());
                    }
                }
                files.sort_by_key(|file| std::cmp::Reverse(file.bytes));
            }
            files.truncate(FILES_TOLD_MAX);
            filesystem.files = std::mem::take(files);
        }
        all
    }

    /// Whether it fills so fast that it is worth a close look.
    fn fills(&mut self, point: &Path, filesystem: &Filesystem) -> bool {
        let (now, free) = (Instant::now(), filesystem.free_bytes);
        let share = filesystem.used_bytes as f64 / filesystem.size_bytes as f64;
        let before = self.before.insert(point.to_owned(), (now, free));
        let fast = before.is_some_and(|(at, before)| {
            let seconds = now.duration_since(at).as_secs_f64();
            let rate = before.saturating_sub(free) as f64 / seconds.max(0.1);
            rate > 0.0 && free as f64 / rate < FILLS_WITHIN_S
        });
        fast || self.looks <= FIRST_LOOKS && share >= FIRST_LOOKS_USED
    }

    fn search(&mut self, root: &Root, this: &Tight, filesystem: &Filesystem, now: Time) -> &places::Found {
        let fresh = |(at, _): &mut (Instant, places::Found)| at.elapsed() < SEARCH_EVERY;
        self.searched.retain(|_, searched| fresh(searched));
        let sizes = is_full(filesystem.free_bytes, filesystem.size_bytes);
        let entry = self.searched.entry(this.point.clone());
        &entry
            .or_insert_with(|| (Instant::now(), places::search(root, &this.point, this.device, sizes, now)))
            .1
    }
}

/// Whether an ordinary user has no room left: what a single block more would be used up by any log line.
fn is_full(free: u64, size: u64) -> bool {
    free <= (size / 1000).min(1 << 20)
}

fn is_full_of_inodes(free: u64, all: u64) -> bool {
    free <= (all / 10_000).min(64)
}

/// Memory file systems of containers, services and devices are nobody's disk.
fn is_a_place(mount: &Mount) -> bool {
    let point = mount.point.to_string_lossy();
    let own = ["/sys", "/proc", "/snap", "/run/lock", "/run/credentials", "/run/user"];
    let below = |at: &str| point == at || point.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
    let of_container = mount.kind == "tmpfs"
        && [
            "/var/lib/docker",
            "/var/lib/containerd",
            "/var/lib/kubelet",
            "/var/lib/containers",
            "/run/containerd",
        ]
        .iter()
        .any(|at| below(at));
    let device = mount.kind == "tmpfs" && below("/dev") && point != "/dev/shm";
    !own.iter().any(|at| below(at)) && !of_container && !device
}

fn filesystem(mount: &Mount, stat: &rustix::fs::StatVfs) -> Filesystem {
    // As df(1): what is reserved for root is nobody's.
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    Filesystem {
        mount: mount.point.to_string_lossy().into_owned(),
        kind: mount.kind.clone(),
        size_bytes: used.saturating_add(stat.f_bavail).saturating_mul(stat.f_frsize),
        used_bytes: used.saturating_mul(stat.f_frsize),
        free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        inodes: stat.f_files,
        inodes_free: stat.f_favail.min(stat.f_ffree),
        ..Filesystem::default()
    }
}

/// The files on these file systems that processes have open for writing, or open at all if they are deleted.
fn open_files(root: &Root, pids: &[u32], tight: &[Tight], mounts: &[Mount]) -> Vec<Vec<FileUse>> {
    let until = Instant::now() + WRITERS_FOR;
    let mut found: HashMap<(u64, u64), Open> = HashMap::new();
    for pid in pids {
        let Some(dir) = open_dir(&root.at(format!("/proc/{pid}/fd"))) else { continue };
        let Ok(entries) = Dir::read_from(&dir) else { continue };
        let mut target = Vec::with_capacity(256);
        for entry in entries.flatten().take(limits::FDS_PER_PROCESS_MAX) {
            if Instant::now() > until {
                break;
            }
            let name = entry.file_name();
            let Ok(link) = readlinkat(&dir, name, std::mem::take(&mut target)) else { continue };
            let bytes = link.as_bytes();
            let (path, deleted) = match bytes.strip_suffix(b" (deleted)") {
                Some(path) => (path, true),
                None => (bytes, false),
            };
            // The link's own mode says how the file was opened. A deleted one takes room however it is open.
            let writes =
                || statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|own| own.st_mode & 0o200 != 0);
            if path.first() == Some(&b'/')
                && (deleted || writes())
                && let Ok(stat) = statat(&dir, name, AtFlags::empty())
                && stat.st_mode & 0o170_000 == 0o100_000
                && let Some(of) = tight.iter().position(|this| this.holds(stat.st_dev, path, mounts))
            {
                let Some(fd) = procfs::number(name.to_bytes()).and_then(|fd| u32::try_from(fd).ok()) else {
                    continue;
                };
                let bytes = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let modified = Time::from_secs(stat.st_mtime);
                // Of those that share a file the first is the one that the others were forked from.
                found.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| Open {
                    of,
                    pid: *pid,
                    fd,
                    path: path.to_vec(),
                    deleted: deleted && stat.st_nlink == 0,
                    bytes,
                    size,
                    modified,
                });
            }
            target = link.into_bytes();
        }
    }
    let mut largest: Vec<((u64, u64), Open)> = found.into_iter().collect();
    largest.sort_by_key(|(id, open)| (std::cmp::Reverse(open.bytes), *id));
    largest.truncate(CLOSE_LOOKS_MAX);
    let mut files: Vec<Vec<FileUse>> = tight.iter().map(|_| Vec::new()).collect();
    for (id, open) in largest {
        files[open.of].push(open.told(root, id));
    }
    files
}

struct Open {
    of: usize,
    pid: u32,
    fd: u32,
    path: Vec<u8>,
    deleted: bool,
    bytes: u64,
    size: u64,
    modified: Time,
}

impl Open {
    fn told(self, root: &Root, id: (u64, u64)) -> FileUse {
        let Open { pid, fd, bytes, deleted, modified, .. } = self;
        let mut buffer = Vec::new();
        let info = root.read(format!("/proc/{pid}/fdinfo/{fd}"), &mut buffer).unwrap_or_default();
        FileUse {
            path: String::from_utf8_lossy(&self.path).into_owned(),
            id,
            bytes,
            deleted,
            appended: is_appended(info, self.size),
            born: born(&root.at(format!("/proc/{pid}/fd/{fd}"))),
            modified,
            writer: owner(root, pid),
            fd: Some(fd),
            grown_bytes: 0,
        }
    }
}

/// From `/proc/PID/fdinfo/FD`: opened with O_APPEND, or the writer stands at the file's end (proc_pid_fdinfo(5)).
fn is_appended(info: &[u8], size: u64) -> bool {
    const O_APPEND: u64 = 0o2000;
    let word =
        |key: &[u8]| procfs::lines(info).find_map(|line| line.strip_prefix(key).map(<[u8]>::trim_ascii));
    let flags = word(b"flags:").and_then(|text| u64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok());
    let offset = word(b"pos:").and_then(procfs::number).unwrap_or(0);
    flags.unwrap_or(0) & O_APPEND != 0 || size > 0 && offset >= size - size / 10
}

/// When a file was made, where the file system keeps that.
pub(super) fn born(path: &Path) -> Option<Time> {
    let statx = rustix::fs::statx(rustix::fs::CWD, path, AtFlags::empty(), StatxFlags::BTIME).ok()?;
    let known = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
    (known && statx.stx_btime.tv_sec > 0).then(|| Time::from_secs(statx.stx_btime.tv_sec))
}

/// What a file that nobody has open takes.
pub(super) fn closed_file(path: &Path, shown: &Path, meta: &Metadata) -> FileUse {
    FileUse {
        path: shown.to_string_lossy().into_owned(),
        id: (meta.dev(), meta.ino()),
        bytes: meta.blocks().saturating_mul(512),
        deleted: false,
        appended: false,
        born: born(path),
        modified: Time::from_secs(meta.mtime()),
        writer: None,
        fd: None,
        grown_bytes: 0,
    }
}

impl Tight {
    /// Whether an open file lies on it. Files of an overlay may be told with the device of its layer: their path says.
    fn holds(&self, device: u64, path: &[u8], mounts: &[Mount]) -> bool {
        if device == self.device {
            return true;
        }
        let path = Path::new(OsStr::from_bytes(path));
        let nearest = mounts.iter().filter(|mount| path.starts_with(&mount.point));
        let nearest = nearest.max_by_key(|mount| mount.point.components().count());
        self.overlay && nearest.is_some_and(|mount| mount.point == self.point)
    }
}

/// A place where nothing was found.
pub(super) fn place(path: &Path) -> Place {
    Place { path: path.to_string_lossy().into_owned(), ..Place::default() }
}

/// Those of one process on one device.
#[cfg(test)]
pub(super) fn open_files_on(root: &Root, pids: &[u32], device: u64) -> Vec<FileUse> {
    let tight = [Tight { at: 0, point: PathBuf::new(), device, overlay: false, full: true }];
    open_files(root, pids, &tight, &[]).remove(0)
}
