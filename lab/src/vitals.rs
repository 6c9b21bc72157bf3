//! A host's own memory, CPU and load in /proc, by lxcfs. Without it the host shows the machine's.
//!
//! One lxcfs serves all hosts of a lab: it answers by the control groups of the reader's pid 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};

/// What a host gets from lxcfs. Not uptime: process ages are counted from the machine's boot.
pub(crate) const FILES: &[&str] = &["meminfo", "stat", "loadavg", "swaps"];

const TRIES: usize = 5;
const AGAIN_AFTER: Duration = Duration::from_millis(300);
const READY_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Lxcfs {
    daemon: Child,
    pub(crate) at: PathBuf,
}

impl Lxcfs {
    /// Starts it in this process's own mount namespace; `None` where it does not work.
    pub(crate) fn start(dir: &Path) -> Option<Self> {
        let at = dir.join("lxcfs");
        fs::create_dir_all(&at).ok()?;
        // It keeps its controllers below /run/lxcfs whatever it is told; several labs must not meet there.
        fs::create_dir_all("/run/lxcfs").ok()?;
        mount("tmpfs", "/run/lxcfs", "tmpfs", MountFlags::empty(), None).ok()?;
        // It mounts all hierarchies for itself, and that fails while the kernel still takes one of a former lxcfs down.
        (0..TRIES).find_map(|_| {
            let started = Self::start_once(dir, at.clone());
            if started.is_none() {
                thread::sleep(AGAIN_AFTER);
            }
            started
        })
    }

    fn start_once(dir: &Path, at: PathBuf) -> Option<Self> {
        let daemon = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "lxcfs", "-f", "-l", "-p"])
            .arg(dir.join("lxcfs.pid"))
            .arg(&at)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let mut lxcfs = Self { daemon, at };
        let until = Instant::now() + READY_MAX;
        while Instant::now() < until {
            if lxcfs.at.join("proc/meminfo").exists() {
                return Some(lxcfs);
            }
            if !matches!(lxcfs.daemon.try_wait(), Ok(None)) {
                return None;
            }
            thread::sleep(Duration::from_millis(20));
        }
        lxcfs.end();
        None
    }

    pub(crate) fn end(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
