//! Control groups of a test host: a directory in each v1 hierarchy that matters, or one in v2.
//!
//! Both are found from the mounts, since distributions differ in where they put them and which they use.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

/// Memory limits a host; lxcfs reads the rest to answer for the host's own CPU and load, and it looks for the
/// accounts of a CPU set under that set's own path, so a host has a set of its own, too.
const CONTROLLERS: &[&str] = &["memory", "cpuacct", "cpu", "cpuset", "pids"];

/// A host that forks without end must not take the machine with it.
const PIDS_MAX: u32 = 4096;

/// Killed processes need a moment to leave.
const LEAVE_MAX: Duration = Duration::from_secs(10);

/// The groups of one host: the same relative path in each hierarchy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cgroups {
    /// As the kernel log names it, such as `/machine.slice/m417/web1`.
    pub(crate) path: String,
    pub(crate) dirs: Vec<PathBuf>,
}

struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<String>,
    unified: bool,
}

pub(crate) fn has_memory() -> bool {
    hierarchies().iter().any(|hierarchy| hierarchy.has("memory"))
}

/// Controllers of v1 as they are mounted here, to be mounted the same way inside a host.
pub(crate) fn v1_mounts() -> Vec<String> {
    let v1 = hierarchies().into_iter().filter(|hierarchy| !hierarchy.unified && hierarchy.wanted());
    v1.map(|hierarchy| hierarchy.controllers.join(",")).collect()
}

impl Hierarchy {
    fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|has| has == controller)
    }

    fn wanted(&self) -> bool {
        CONTROLLERS.iter().any(|controller| self.has(controller))
    }
}

fn hierarchies() -> Vec<Hierarchy> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, mount, kind, options, ..] = fields[..] else { continue };
        let mount = PathBuf::from(mount);
        let controllers: Vec<String> = match kind {
            "cgroup" => options.split(',').filter(|o| CONTROLLERS.contains(o)).map(str::to_owned).collect(),
            "cgroup2" => fs::read_to_string(mount.join("cgroup.controllers"))
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            _ => continue,
        };
        if !found.iter().any(|known| known.controllers == controllers) {
            found.push(Hierarchy { mount, controllers, unified: kind == "cgroup2" });
        }
    }
    found.retain(Hierarchy::wanted);
    found
}

impl Cgroups {
    pub(crate) fn create(path: &str, memory_limit_bytes: Option<u64>) -> anyhow::Result<Self> {
        let mut cgroups = Self { path: path.to_owned(), dirs: Vec::new() };
        for hierarchy in hierarchies() {
            let dir = hierarchy.mount.join(path.trim_start_matches('/'));
            fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
            if hierarchy.unified {
                delegate(&hierarchy.mount, &dir)?;
            } else if hierarchy.has("cpuset") {
                inherit_cpus(&hierarchy.mount, &dir)?;
            }
            if let Some(limit) = memory_limit_bytes.filter(|_| hierarchy.has("memory")) {
                let file = if hierarchy.unified { "memory.max" } else { "memory.limit_in_bytes" };
                fs::write(dir.join(file), limit.to_string())
                    .with_context(|| format!("could not limit the memory of {}", dir.display()))?;
                if hierarchy.unified {
                    // As on the servers of the stories, there is no swap to hide in. Absent without swap accounting.
                    let _ = fs::write(dir.join("memory.swap.max"), "0");
                }
            }
            if hierarchy.has("pids") {
                fs::write(dir.join("pids.max"), PIDS_MAX.to_string())?;
            }
            cgroups.dirs.push(dir);
        }
        if cgroups.dirs.is_empty() {
            bail!("no control group hierarchy was found");
        }
        Ok(cgroups)
    }

    /// The files that a process writes its pid to in order to join.
    pub(crate) fn procs(&self) -> Vec<PathBuf> {
        self.dirs.iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// The machine's pids of all processes inside.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let Some(dir) = self.dirs.first() else { return Vec::new() };
        let procs = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        procs.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Removes the groups as soon as the last process has left, with parents that are then empty.
    pub(crate) fn remove(&self) {
        let until = Instant::now() + LEAVE_MAX;
        for dir in &self.dirs {
            while fs::remove_dir(dir).is_err() && dir.exists() && Instant::now() < until {
                thread::sleep(Duration::from_millis(20));
            }
            // Parents may be shared: removing one that is in use fails, and that is right.
            for parent in dir.ancestors().skip(1).take(self.path.matches('/').count().saturating_sub(1)) {
                let _ = fs::remove_dir(parent);
            }
        }
    }
}

/// In v2 a parent must hand its controllers down before a child has them.
fn delegate(mount: &Path, dir: &Path) -> anyhow::Result<()> {
    let mut parents: Vec<&Path> = dir.ancestors().skip(1).take_while(|at| at.starts_with(mount)).collect();
    parents.reverse();
    for parent in parents {
        let has = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        for controller in has.split_whitespace().filter(|has| CONTROLLERS.contains(has)) {
            fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"))
                .with_context(|| format!("could not hand {controller} down from {}", parent.display()))?;
        }
    }
    Ok(())
}

/// In v1 a new set has no CPU and no memory node, and nothing may join it until it has.
fn inherit_cpus(mount: &Path, dir: &Path) -> anyhow::Result<()> {
    let mut below: Vec<&Path> = dir.ancestors().take_while(|at| *at != mount).collect();
    below.reverse();
    for at in below {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let parents = at.parent().map(|parent| fs::read_to_string(parent.join(file))).transpose()?;
            fs::write(at.join(file), parents.unwrap_or_default().trim())
                .with_context(|| format!("could not set {file} of {}", at.display()))?;
        }
    }
    Ok(())
}
