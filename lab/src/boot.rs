//! The first process of a test host: makes its file system, then is its `/sbin/init`.
//!
//! The host's root is an overlay over the machine's, so every stock package is there and every change is its own
//! and in memory. /proc, /sys, /dev, /run and /tmp are new.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};
use rustix::process::{WaitOptions, wait};
use serde::{Deserialize, Serialize};

use crate::plan::HostPlan;
use crate::vitals;

/// A host may write this much; it is memory, so it has an end.
const DISK: &str = "size=4g,mode=755";

/// `adm`, who may read logs, has had this number on every Debian.
const ADM: u32 = 4;

/// Kinds of file systems that hold files; what is mounted from them must be seen inside, too.
const REAL: &[&str] = &["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "overlay", "virtiofs", "9p"];

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BootSpec {
    pub(crate) host: HostPlan,
    pub(crate) place: PathBuf,
    pub(crate) lxcfs: Option<PathBuf>,
    pub(crate) helper: PathBuf,
}

/// Builds the host and becomes its init. Returns only with an error.
pub(crate) fn boot(spec_file: &Path) -> anyhow::Result<()> {
    let spec: BootSpec = serde_json::from_slice(&fs::read(spec_file)?)?;
    let root = file_system(&spec.place)?;
    kernel_views(&root, spec.lxcfs.as_deref())?;
    devices(&root.join("dev"))?;
    fresh_state(&root, &spec.host)?;
    for file in &spec.host.files {
        let path = root.join(file.path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Never through a link of the package's: it would lead out of the new root.
        let _ = fs::remove_file(&path);
        fs::write(&path, &file.content).with_context(|| format!("could not write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    let init = root.join("usr/sbin/init");
    let _ = fs::remove_file(&init);
    fs::write(&init, "")?;
    mount_bind(&spec.helper, &init).context("could not put init in place")?;

    rustix::system::sethostname(spec.host.name.as_bytes())?;
    std::env::set_current_dir(&root)?;
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")?;
    let failed = Command::new("/sbin/init").arg0("/sbin/init").exec();
    bail!("could not start init: {failed}");
}

/// The host's pid 1: buries the dead and otherwise sleeps.
pub(crate) fn init() -> ! {
    let mut out = std::io::stdout();
    let _ = out.write_all(b"ready\n").and_then(|()| out.flush());
    loop {
        if wait(WaitOptions::empty()).is_err() {
            // No child at all; the next one is an orphan that can wait a moment.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn file_system(place: &Path) -> anyhow::Result<PathBuf> {
    let others = real_mounts();
    mount_new("tmpfs", place, "tmpfs", MountFlags::empty(), DISK)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| place.join(name));
    for dir in [&upper, &work, &root] {
        fs::create_dir(dir)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount_new("overlay", &root, "overlay", MountFlags::empty(), &options)?;
    for other in others {
        let inside = root.join(other.strip_prefix("/").unwrap_or(&other));
        if inside.exists() {
            mount_bind(&other, &inside).with_context(|| format!("could not show {}", other.display()))?;
        }
    }
    Ok(root)
}

/// File systems below / that an overlay over / does not contain.
fn real_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let own = ["/proc", "/sys", "/dev", "/run", "/tmp"];
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        Some((PathBuf::from(fields.next()?), fields.next()?))
    });
    lines
        .filter(|(at, kind)| REAL.contains(kind) && at != Path::new("/"))
        .filter(|(at, _)| at.is_dir() && !own.iter().any(|own| at.starts_with(own)))
        .map(|(at, _)| at)
        .collect()
}

fn kernel_views(root: &Path, lxcfs: Option<&Path>) -> anyhow::Result<()> {
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_new("proc", &root.join("proc"), "proc", safe, "")?;
    if let Some(lxcfs) = lxcfs {
        for name in vitals::FILES {
            let (from, to) = (lxcfs.join("proc").join(name), root.join("proc").join(name));
            // One that this lxcfs does not have stays the machine's.
            let _ = mount_bind(from, to);
        }
    }
    mount_new("sysfs", &root.join("sys"), "sysfs", safe | MountFlags::RDONLY, "")?;
    let groups = root.join("sys/fs/cgroup");
    let v1 = crate::cgroup::v1_mounts();
    if v1.is_empty() {
        mount_new("cgroup2", &groups, "cgroup2", safe, "")?;
        return read_only(&groups);
    }
    mount_new("tmpfs", &groups, "tmpfs", safe, "mode=755")?;
    for controllers in v1 {
        let dir = groups.join(&controllers);
        fs::create_dir(&dir)?;
        mount_new("cgroup", &dir, "cgroup", safe, &controllers)?;
        read_only(&dir)?;
    }
    read_only(&groups)
}

/// The mount alone is made read-only: the hierarchy behind it is the machine's.
fn read_only(at: &Path) -> anyhow::Result<()> {
    let flags =
        MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount_remount(at, flags, "").with_context(|| format!("could not make {} read-only", at.display()))
}

fn devices(dev: &Path) -> anyhow::Result<()> {
    mount_new("tmpfs", dev, "tmpfs", MountFlags::NOSUID, "mode=755")?;
    let nodes =
        [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
    for (name, major, minor) in nodes {
        let mode = Mode::from_raw_mode(0o666);
        mknodat(CWD, dev.join(name), FileType::CharacterDevice, mode, makedev(major, minor))?;
        // The umask took the group's and others' right to write.
        fs::set_permissions(dev.join(name), fs::Permissions::from_mode(0o666))?;
    }
    for dir in ["pts", "shm"] {
        fs::create_dir(dev.join(dir))?;
    }
    mount_new(
        "devpts",
        &dev.join("pts"),
        "devpts",
        MountFlags::NOSUID,
        "newinstance,ptmxmode=0666,mode=620,gid=5",
    )?;
    mount_new("tmpfs", &dev.join("shm"), "tmpfs", MountFlags::NOSUID, "mode=1777")?;
    symlink("pts/ptmx", dev.join("ptmx"))?;
    symlink("/proc/self/fd", dev.join("fd"))?;
    for (n, name) in ["stdin", "stdout", "stderr"].into_iter().enumerate() {
        symlink(format!("/proc/self/fd/{n}"), dev.join(name))?;
    }
    Ok(())
}

/// /run, /tmp and /var/log of a machine that was just set up.
fn fresh_state(root: &Path, host: &HostPlan) -> anyhow::Result<()> {
    mount_new("tmpfs", &root.join("run"), "tmpfs", MountFlags::NOSUID, "mode=755,size=256m")?;
    mount_new("tmpfs", &root.join("tmp"), "tmpfs", MountFlags::NOSUID, "mode=1777,size=1g")?;
    fs::create_dir_all(root.join("run/lock"))?;
    fs::set_permissions(root.join("run/lock"), fs::Permissions::from_mode(0o1777))?;
    let log = root.join("var/log");
    for entry in fs::read_dir(&log)?.flatten() {
        let path = entry.path();
        if entry.file_type()?.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    fs::create_dir(log.join("apache2"))?;
    fs::set_permissions(log.join("apache2"), fs::Permissions::from_mode(0o750))?;
    chown(log.join("apache2"), Some(0), Some(ADM))?;
    for empty in ["run/utmp", "var/log/wtmp", "var/log/btmp", "var/log/lastlog", "var/log/kern.log"] {
        fs::write(root.join(empty), "")?;
    }
    fs::set_permissions(log.join("kern.log"), fs::Permissions::from_mode(0o640))?;
    // sshd writes into no other.
    fs::set_permissions(log.join("btmp"), fs::Permissions::from_mode(0o600))?;
    chown(log.join("kern.log"), Some(0), Some(ADM))?;
    let HostPlan { name, address, .. } = host;
    fs::write(root.join("etc/hostname"), format!("{name}\n"))?;
    let _ = fs::remove_file(root.join("etc/hosts"));
    fs::write(
        root.join("etc/hosts"),
        format!("127.0.0.1\tlocalhost\n{address}\t{name}.example.jp {name}\n"),
    )?;
    // No resolver: a name that is not in /etc/hosts fails at once instead of after seconds.
    let _ = fs::remove_file(root.join("etc/resolv.conf"));
    fs::write(root.join("etc/resolv.conf"), "")?;
    Ok(())
}

fn mount_new(what: &str, at: &Path, kind: &str, flags: MountFlags, options: &str) -> anyhow::Result<()> {
    let options = std::ffi::CString::new(OsStr::new(options).as_encoded_bytes())?;
    mount(what, at, kind, flags, Some(options.as_c_str()))
        .with_context(|| format!("could not mount {kind} at {}", at.display()))
}
