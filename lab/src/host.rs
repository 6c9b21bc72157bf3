//! A test host as the keeper sees it: the process that holds its namespaces, its first process, its groups.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use crate::boot::BootSpec;
use crate::cgroup::Cgroups;
use crate::plan::HostPlan;

/// A start script that takes longer has failed: all of them return within a second when alone.
const COMMAND_MAX: Duration = Duration::from_secs(60);

/// Every command in a host starts from this and nothing of the caller's.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
];

/// What is needed to enter a host, from any process of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Door {
    /// The host's pid 1, as the machine counts.
    pub(crate) init: u32,
    pub(crate) cgroups: Cgroups,
}

impl Door {
    /// A command inside the host, member of its control groups, killed if the machine's side of it is killed.
    pub(crate) fn command(&self, argv: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@""#,
        ]);
        command.arg("sh").args(self.cgroups.procs()).arg("--");
        command.args(["nsenter", "-t"]).arg(self.init.to_string());
        command.args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"]);
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).args(argv);
        command.env_clear().envs(ENVIRONMENT.iter().copied());
        command
    }

    /// A path inside the host, seen from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.init)).join(inside.trim_start_matches('/'))
    }
}

/// A running host. Its processes end with the keeper's thread that started it.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) door: Door,
    holder: Child,
}

impl Host {
    pub(crate) fn boot(
        dir: &Path,
        plan: &HostPlan,
        cgroups: Cgroups,
        lxcfs: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let place = dir.join(format!("host-{}", plan.name));
        fs::create_dir_all(&place)?;
        let helper = crate::roles::helper()?;
        let spec =
            BootSpec { host: plan.clone(), place, lxcfs: lxcfs.map(Path::to_owned), helper: helper.clone() };
        let spec_file = dir.join(format!("boot-{}.json", plan.name));
        fs::write(&spec_file, serde_json::to_vec(&spec)?)?;

        let mut command = Command::new("sh");
        command.args([
            "-c",
            r#"while [ "$1" != -- ]; do echo $$ >"$1" || exit 125; shift; done; shift; exec "$@""#,
        ]);
        command.arg("sh").args(cgroups.procs()).arg("--");
        command.args(["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child"]);
        command.args([
            "--net",
            "--pid",
            "--mount",
            "--uts",
            "--ipc",
            "--cgroup",
            "--propagation",
            "private",
            "--",
        ]);
        command.arg(&helper).args(["lab-role", "boot"]).arg(&spec_file);
        command.env_clear().envs(ENVIRONMENT.iter().copied());
        let mut holder = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;

        let mut said = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        if said.trim() != "ready" {
            let _ = holder.kill();
            let _ = holder.wait();
            bail!("host {} did not come up", plan.name);
        }
        let init = child_of(holder.id()).context("the host's first process is gone")?;
        Ok(Self { name: plan.name.clone(), door: Door { init, cgroups }, holder })
    }

    /// Runs a command inside to its end and says what it said if it failed.
    pub(crate) fn run(&self, argv: &[String]) -> anyhow::Result<()> {
        let mut child = self
            .door
            .command(argv)
            .stdin(Stdio::null())
            // Daemons keep what they inherit, so a pipe here would never end.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("could not run {argv:?}"))?;
        let until = Instant::now() + COMMAND_MAX;
        loop {
            if let Some(status) = child.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                bail!("on {}, {} ended with {status}", self.name, argv.join(" "));
            }
            if Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("on {}, {} did not end within {COMMAND_MAX:?}", self.name, argv.join(" "));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn end(&mut self) {
        // unshare --kill-child takes the host's pid 1 along, and that takes everything inside.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        self.door.cgroups.remove();
    }
}

/// The one child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // The name in brackets may hold anything; the parent is the second field after it.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        if let Some(of) = after.split_whitespace().nth(1).and_then(|field| field.parse().ok()) {
            parents.insert(pid, of);
        }
    }
    parents.into_iter().find(|(_, of)| *of == parent).map(|(pid, _)| pid)
}
