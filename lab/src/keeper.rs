//! The keeper: the ancestor of everything in a lab. Brings it up, takes orders on a socket, and takes it down at
//! an order, at a signal, at its deadline, or when whoever wanted it is gone.
//!
//! Everything is started by its main thread, because a child's parent-death signal is tied to that thread.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::cgroup::Cgroups;
use crate::host::{Door, Host};
use crate::kernel_log;
use crate::net::{Netns, Router};
use crate::now;
use crate::plan::{Plan, Truth};
use crate::state::{Dir, Phase, State, replace};
use crate::vitals::Lxcfs;

/// One order, one line of JSON each way.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    StartIncident { for_s: f64 },
    StopIncident,
    Down,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) error: Option<String>,
}

/// How often the keeper looks at its deadlines while nothing happens.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };
/// An order that is not sent within this time is no order.
const ORDER_MAX: Duration = Duration::from_secs(2);

/// Instructions for a lab's keeper beside the plan.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Keep {
    pub(crate) lifetime_s: f64,
    /// Down as soon as stdin ends, that is, when the process that wanted the lab is gone.
    pub(crate) attached: bool,
}

struct Keeper {
    dir: Dir,
    plan: Plan,
    state: State,
    router: Router,
    outside: Vec<Netns>,
    hosts: Vec<Host>,
    lxcfs: Option<Lxcfs>,
    traffic: Vec<Child>,
    /// What began with the incident and ends with it.
    incident: Vec<Child>,
    /// Held for life: others know by it that this keeper lives.
    _lock: File,
}

pub(crate) fn keep(dir: &Path) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let dir = Dir(dir.to_owned());
    let lock = take_lock(&dir)?;
    let keep: Keep = serde_json::from_slice(&fs::read(dir.file("keep.json"))?)?;
    let plan = dir.plan()?;
    let lifetime = Duration::from_secs_f64(keep.lifetime_s);
    let state = State {
        phase: Phase::Starting,
        keeper: std::process::id(),
        ends_at: now() + keep.lifetime_s,
        hosts: Default::default(),
        own_vitals: false,
        incident_until: None,
    };
    dir.write_state(&state)?;
    let router = Router::new(&plan.lan, lifetime)?;
    let mut keeper = Keeper {
        dir,
        plan,
        state,
        router,
        outside: Vec::new(),
        hosts: Vec::new(),
        lxcfs: None,
        traffic: Vec::new(),
        incident: Vec::new(),
        _lock: lock,
    };
    let kept = keeper.up(lifetime).and_then(|()| keeper.serve(&stop, keep.attached));
    if let Err(error) = &kept {
        // The caller reads why and removes the directory.
        keeper.state.phase = Phase::Failed(format!("{error:#}"));
    }
    keeper.down(kept.is_err())?;
    kept
}

/// Whoever looks whether a lab lives holds its lock for an instant, so the keeper tries for a while.
fn take_lock(dir: &Dir) -> anyhow::Result<File> {
    for _ in 0..100 {
        if let Some(lock) = dir.lock()? {
            return Ok(lock);
        }
        thread::sleep(Duration::from_millis(20));
    }
    bail!("this lab has a keeper already");
}

impl Keeper {
    fn up(&mut self, lifetime: Duration) -> anyhow::Result<()> {
        self.lxcfs = Lxcfs::start(&self.dir.0);
        self.state.own_vitals = self.lxcfs.is_some();
        for plan in self.plan.hosts.clone() {
            // The kernel log names this path, so it says nothing about what runs here.
            let path = format!("/m{}/{}", std::process::id(), plan.name);
            let cgroups = Cgroups::create(&path, plan.memory_limit_bytes)?;
            self.state.hosts.insert(plan.name.clone(), Door { init: 0, cgroups: cgroups.clone() });
            self.dir.write_state(&self.state)?;
            let at = self.lxcfs.as_ref().map(|lxcfs| lxcfs.at.as_path());
            let host = Host::boot(&self.dir.0, &plan, cgroups, at)?;
            self.router.connect_server(&plan.name, host.door.init, plan.address)?;
            self.state.hosts.insert(plan.name.clone(), host.door.clone());
            self.hosts.push(host);
        }
        self.dir.write_state(&self.state)?;
        kernel_log::follow(&self.hosts)?;
        for (host, plan) in self.hosts.iter().zip(&self.plan.hosts) {
            // lxcfs counts a host's load from the first time that it is asked for it.
            host.run(&["cat", "/proc/loadavg"].map(str::to_owned))?;
            for command in plan.setup.iter().chain(&plan.services) {
                host.run(command)?;
            }
        }
        let admin = [ipnet::Ipv4Net::from(self.plan.admin.address)];
        let crowd = self.plan.clients.crowd.clone();
        let parties = [
            ("clients", &self.plan.clients.prefixes[..]),
            ("admin", &admin[..]),
            ("attackers", &self.plan.attack.prefixes[..]),
            ("crowd", crowd.as_ref().map_or(&[], |crowd| &crowd.prefixes[..])),
        ];
        for (name, prefixes) in parties {
            let netns = self.router.connect_outside(name, prefixes, lifetime)?;
            self.outside.push(netns);
        }
        self.login()?;
        fs::write(self.dir.file("clients.json"), serde_json::to_vec(&self.plan.clients)?)?;
        fs::write(self.dir.file("admin.json"), serde_json::to_vec(&self.plan.admin)?)?;
        fs::write(self.dir.file("attackers.json"), serde_json::to_vec(&self.plan.attack)?)?;
        fs::write(self.dir.file("crowd.json"), serde_json::to_vec(&crowd)?)?;
        for (netns, role, out) in [(0, "clients", "outcomes"), (1, "admin", "admin-outcomes")] {
            let child = self.start_traffic(netns, role, role, out)?;
            self.traffic.push(child);
        }
        self.plan.truth.times.up = now();
        self.write_truth()
    }

    /// The administrator's session: a real one, with a terminal, that stays open.
    fn login(&mut self) -> anyhow::Result<()> {
        let key = self.dir.file("admin-key");
        let web = self.plan.admin.web.ip().to_string();
        let child = self.outside[1]
            .command("setpriv")
            .args(["--pdeathsig", "KILL", "ssh", "-tt", "-F", "none", "-o", "BatchMode=yes"])
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                "-o",
                "LogLevel=ERROR",
            ])
            .args(["-o", "IdentitiesOnly=yes", "-i"])
            .arg(&key)
            .arg(format!("root@{web}"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", "/nonexistent")
            .env("TERM", "xterm")
            // The shell over there lives as long as this end of its input.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()?;
        self.traffic.push(child);
        Ok(())
    }

    fn start_traffic(&self, netns: usize, role: &str, plan: &str, out: &str) -> anyhow::Result<Child> {
        let helper = crate::roles::helper()?;
        let mut command: Command = self.outside[netns].command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(helper).args(["lab-role", role]);
        command.arg(self.dir.file(&format!("{plan}.json"))).arg(self.dir.file(out));
        command.stdin(Stdio::null()).spawn().with_context(|| format!("could not start the {plan}"))
    }

    fn serve(&mut self, stop: &AtomicBool, attached: bool) -> anyhow::Result<()> {
        let listener = UnixListener::bind(self.dir.file("orders"))?;
        // Said only now, so that whoever reads it can give orders.
        self.state.phase = Phase::Up;
        self.dir.write_state(&self.state)?;
        let stdin = io::stdin();
        while !stop.load(Ordering::Relaxed) && now() < self.state.ends_at {
            let mut wait = vec![PollFd::new(&listener, PollFlags::IN)];
            if attached {
                wait.push(PollFd::new(&stdin, PollFlags::IN));
            }
            match poll(&mut wait, Some(&LOOK_EVERY)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = wait.iter().map(|fd| !fd.revents().is_empty()).collect();
            if self.state.incident_until.is_some_and(|until| now() >= until) {
                self.stop_incident()?;
            }
            if ready.get(1) == Some(&true) && stdin.lock().read(&mut [0; 64]).unwrap_or(0) == 0 {
                return Ok(());
            }
            if ready.first() == Some(&true) {
                let (stream, _) = listener.accept()?;
                // A caller that says nonsense or goes away is its own trouble.
                if let Ok(true) = self.order(stream) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Carries out one order; true if it was to go down.
    fn order(&mut self, mut stream: UnixStream) -> anyhow::Result<bool> {
        stream.set_read_timeout(Some(ORDER_MAX))?;
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line)?;
        let order: Order = serde_json::from_str(&line)?;
        let done = match order {
            Order::StartIncident { for_s } => self.start_incident(for_s),
            Order::StopIncident => self.stop_incident(),
            Order::Down => Ok(()),
        };
        let answer = Answer { error: done.err().map(|error| format!("{error:#}")) };
        let _ = stream.write_all(&serde_json::to_vec(&answer)?);
        Ok(matches!(order, Order::Down))
    }

    fn start_incident(&mut self, for_s: f64) -> anyhow::Result<()> {
        self.stop_incident()?;
        let _ = fs::remove_file(self.dir.file("attack-began"));
        self.plan.truth.times.first_attack_packet = None;
        self.plan.truth.times.attack_end = None;
        self.write_truth()?;
        let attackers = self.start_traffic(2, "attackers", "attackers", "attack-began")?;
        self.incident.push(attackers);
        if self.plan.clients.crowd.is_some() {
            let crowd = self.start_traffic(3, "clients", "crowd", "crowd-outcomes")?;
            self.incident.push(crowd);
        }
        if let (Some(deed), Some(web)) = (&self.plan.admin.deed, self.hosts.first()) {
            let deed = web.door.command(deed).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
            self.incident.push(deed);
        }
        self.state.incident_until = Some(now() + for_s);
        self.dir.write_state(&self.state)
    }

    fn stop_incident(&mut self) -> anyhow::Result<()> {
        self.state.incident_until = None;
        self.dir.write_state(&self.state)?;
        for mut child in self.incident.drain(..) {
            let _ = child.kill();
            let _ = child.wait();
            self.plan.truth.times.attack_end = Some(now());
        }
        self.write_truth()
    }

    fn write_truth(&mut self) -> anyhow::Result<()> {
        let truth: &mut Truth = &mut self.plan.truth;
        truth.times.first_attack_packet = began(&self.dir);
        replace(&self.dir.file("truth.json"), &serde_json::to_vec_pretty(truth)?)?;
        Ok(())
    }

    fn down(&mut self, keep_dir: bool) -> anyhow::Result<()> {
        for child in self.incident.iter_mut().chain(&mut self.traffic) {
            let _ = child.kill();
            let _ = child.wait();
        }
        for host in &mut self.hosts {
            host.end();
        }
        // A host that did not come up has groups and no processes.
        for door in self.state.hosts.values() {
            door.cgroups.remove();
        }
        for netns in &mut self.outside {
            netns.end();
        }
        self.router.end();
        if let Some(lxcfs) = &mut self.lxcfs {
            lxcfs.end();
        }
        if keep_dir {
            return self.dir.write_state(&self.state);
        }
        // Mounts below it belong to this process's own namespace and are already on their way.
        let _ = rustix::mount::unmount(self.dir.file("lxcfs"), rustix::mount::UnmountFlags::DETACH);
        fs::remove_dir_all(&self.dir.0).context("could not remove the lab's directory")
    }
}

/// When the attackers sent their first packet, once they have.
pub(crate) fn began(dir: &Dir) -> Option<f64> {
    fs::read_to_string(dir.file("attack-began")).ok()?.trim().parse().ok()
}
