//! A lab as a test or a command holds it: bring up, watch, attack, look inside, take down.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use crate::host::Door;
use crate::keeper::{Answer, Keep, Order, began};
use crate::params::Params;
use crate::plan::Truth;
use crate::state::{Dir, Listed, Phase, State, base};
use crate::stats::{self, Outcome, Stats};
use crate::{LabError, now, prerequisites, scenarios};

/// Services and all take some seconds; a loaded machine gets more.
const UP_MAX: Duration = Duration::from_secs(120);
const DOWN_MAX: Duration = Duration::from_secs(40);
const ANSWER_MAX: Duration = Duration::from_secs(10);
const NAME_MAX: usize = 40;

/// What ends a lab, beside its lifetime and [`Lab::down`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// The end of this process, however it ends, and the drop of the [`Lab`].
    Attached,
    /// Nothing else.
    Detached,
}

/// One running lab.
#[derive(Debug)]
pub struct Lab {
    name: String,
    dir: Dir,
    state: State,
    truth_at_start: Truth,
    keeper: Option<(Child, Option<ChildStdin>)>,
}

impl Lab {
    /// Brings a scenario up under a name of its own and with this process's life.
    pub fn up(scenario: &str, params: &Params) -> Result<Self, LabError> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::up_named(&format!("{scenario}-{}-{n}", std::process::id()), scenario, params, Life::Attached)
    }

    /// Brings a scenario up. Returns when its services run and normal clients have begun.
    pub fn up_named(name: &str, scenario: &str, params: &Params, life: Life) -> Result<Self, LabError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
            return Err(LabError::Usage(format!(
                "a lab's name is 1 to {NAME_MAX} of a-z 0-9 - _, not {name:?}"
            )));
        }
        let scenario = scenarios::find(scenario)?;
        prerequisites::check()?;
        let plan = scenarios::plan(scenario, params)?;
        prerequisites::check_plan(&plan)?;
        let dir = Dir::of(name);
        fs::create_dir_all(base())?;
        if dir.0.exists() && !dir.is_kept() {
            dir.sweep();
        }
        match fs::create_dir(&dir.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(LabError::Usage(format!(
                    "lab {name} is already up (cargo xtask lab down {name})"
                )));
            }
            made => made?,
        }
        // Held until the keeper runs, so that no one takes the new directory for a dead lab's.
        let lock = dir.lock()?;
        let json = |error: serde_json::Error| LabError::Failed(error.into());
        fs::write(dir.file("plan.json"), serde_json::to_vec_pretty(&plan).map_err(json)?)?;
        let keep = Keep { lifetime_s: params.lifetime.as_secs_f64(), attached: life == Life::Attached };
        fs::write(dir.file("keep.json"), serde_json::to_vec(&keep).map_err(json)?)?;
        make_admin_key(&dir, &plan.truth.web.host)?;

        let log = File::create(dir.file("keeper.log"))?;
        let mut command = Command::new("setsid");
        command.args(["unshare", "--mount", "--propagation", "private", "--"]).arg(crate::roles::helper()?);
        command.args(["lab-role", "keeper"]).arg(&dir.0).stdout(log.try_clone()?).stderr(log);
        command.stdin(if life == Life::Attached { Stdio::piped() } else { Stdio::null() });
        let mut keeper = command.spawn().context("could not start the keeper")?;
        drop(lock);
        let stdin = keeper.stdin.take();
        match wait_up(&dir, &mut keeper) {
            Ok(state) => {
                let keeper = (life == Life::Attached).then_some((keeper, stdin));
                Ok(Self { name: name.to_owned(), dir, state, truth_at_start: plan.truth, keeper })
            }
            Err(error) => {
                let _ = keeper.kill();
                let _ = keeper.wait();
                dir.sweep();
                Err(error.into())
            }
        }
    }

    /// A lab that another process brought up.
    pub fn open(name: &str) -> Result<Self, LabError> {
        let dir = Dir::of(name);
        if !dir.0.exists() || !dir.is_kept() {
            return Err(LabError::Usage(format!("no lab {name} is up")));
        }
        let state = dir.state()?;
        if state.phase != Phase::Up {
            return Err(LabError::Usage(format!("lab {name} is not up yet")));
        }
        let truth_at_start = dir.plan()?.truth;
        Ok(Self { name: name.to_owned(), dir, state, truth_at_start, keeper: None })
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The web server's host.
    pub fn web(&self) -> &str {
        &self.truth_at_start.web.host
    }

    /// The hosts that [`Lab::exec`] can enter.
    pub fn hosts(&self) -> Vec<String> {
        self.state.hosts.keys().cloned().collect()
    }

    /// Whether hosts see their own memory, CPU and load (lxcfs) or the machine's.
    pub fn has_own_vitals(&self) -> bool {
        self.state.own_vitals
    }

    /// Lets normal traffic flow for this long and says how it went.
    pub fn quiet(&self, during: Duration) -> Result<Stats, LabError> {
        thread::sleep(during);
        self.stats(during)
    }

    /// Lets the attackers loose; they stop by themselves after `at_most`.
    pub fn start_incident(&mut self, at_most: Duration) -> Result<(), LabError> {
        self.order(&Order::StartIncident { for_s: at_most.as_secs_f64() })
    }

    /// Ends the attack: all attackers' connections close.
    pub fn stop_incident(&mut self) -> Result<(), LabError> {
        self.order(&Order::StopIncident)
    }

    /// Whether the attackers are at it.
    pub fn has_incident(&self) -> bool {
        self.dir.state().is_ok_and(|state| state.incident_until.is_some())
    }

    /// A command that will run inside a host, as root, in its control groups. The caller decides about its
    /// standard streams; when it is killed, what runs inside is killed too.
    pub fn command(&self, host: &str, argv: &[&str]) -> Result<Command, LabError> {
        Ok(self.door(host)?.command(argv))
    }

    /// Runs a command inside a host to its end.
    pub fn exec(&self, host: &str, argv: &[&str]) -> Result<Output, LabError> {
        Ok(self.command(host, argv)?.stdin(Stdio::null()).output()?)
    }

    /// Starts a command inside a host, with pipes on stdout and stderr. It is killed when the thread that called
    /// this ends, at the latest.
    pub fn spawn(&self, host: &str, argv: &[&str]) -> Result<Child, LabError> {
        let mut command = self.command(host, argv)?;
        Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// A file or directory inside a host, as this process can open it.
    pub fn path(&self, host: &str, inside: &str) -> Result<std::path::PathBuf, LabError> {
        Ok(self.door(host)?.path(inside))
    }

    /// The machine's pid of a host's pid 1, for those who enter its namespaces themselves.
    pub fn init_pid(&self, host: &str) -> Result<u32, LabError> {
        Ok(self.door(host)?.init)
    }

    /// What really is the case, with times as far as they are known.
    pub fn truth(&self) -> Result<Truth, LabError> {
        let text = fs::read(self.dir.file("truth.json"))?;
        let mut truth: Truth =
            serde_json::from_slice(&text).map_err(|error| LabError::Failed(error.into()))?;
        truth.times.first_attack_packet = began(&self.dir);
        Ok(truth)
    }

    /// How normal clients fared: requests that ended in the last `window`.
    pub fn stats(&self, window: Duration) -> Result<Stats, LabError> {
        let to = now();
        Ok(Stats::over(&self.outcomes()?, to - window.as_secs_f64(), to, Outcome::ended))
    }

    /// The same for requests that began between two times (seconds since the epoch).
    pub fn stats_between(&self, from: f64, to: f64) -> Result<Stats, LabError> {
        Ok(Stats::over(&self.outcomes()?, from, to, |outcome| outcome.at))
    }

    /// Every request of a normal client so far.
    pub fn outcomes(&self) -> Result<Vec<Outcome>, LabError> {
        Ok(stats::read(&self.dir.file("outcomes")))
    }

    /// Takes the lab down and waits until nothing of it is left.
    pub fn down(mut self) -> Result<(), LabError> {
        self.end()
    }

    /// Takes a lab down by name, also one that failed or whose keeper was killed.
    pub fn down_named(name: &str) -> Result<(), LabError> {
        let dir = Dir::of(name);
        if !dir.0.exists() {
            return Err(LabError::Usage(format!("there is no lab {name}")));
        }
        take_down(&dir)
    }

    fn end(&mut self) -> Result<(), LabError> {
        let done = take_down(&self.dir);
        if let Some((mut keeper, stdin)) = self.keeper.take() {
            drop(stdin);
            if done.is_err() {
                let _ = keeper.kill();
            }
            let _ = keeper.wait();
        }
        done
    }

    fn door(&self, host: &str) -> Result<&Door, LabError> {
        self.state.hosts.get(host).ok_or_else(|| {
            let known = self.hosts().join(", ");
            LabError::Usage(format!("lab {} has no host {host}; it has {known}", self.name))
        })
    }

    fn order(&self, order: &Order) -> Result<(), LabError> {
        send(&self.dir, order).map_err(LabError::Failed)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A detached lab, or one that was only opened, outlives this value.
        if self.keeper.is_some() {
            let _ = self.end();
        }
    }
}

/// All labs of this machine, dead ones too.
pub fn list() -> Vec<Listed> {
    let mut all = Vec::new();
    for entry in fs::read_dir(base()).into_iter().flatten().flatten() {
        let dir = Dir(entry.path());
        let (state, plan) = (dir.state().ok(), dir.plan().ok());
        let phase = match (&state, dir.is_kept()) {
            (_, false) => "dead".to_owned(),
            (Some(State { phase: Phase::Up, incident_until: Some(_), .. }), true) => "incident".to_owned(),
            (Some(State { phase: Phase::Up, .. }), true) => "up".to_owned(),
            (Some(State { phase: Phase::Failed(_), .. }), true) => "failed".to_owned(),
            _ => "starting".to_owned(),
        };
        all.push(Listed {
            name: entry.file_name().to_string_lossy().into_owned(),
            scenario: plan.map(|plan| plan.truth.scenario).unwrap_or_default(),
            phase,
            ends_in_s: state.map_or(0, |state| (state.ends_at - now()).max(0.0) as u64),
        });
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn wait_up(dir: &Dir, keeper: &mut Child) -> anyhow::Result<State> {
    let until = Instant::now() + UP_MAX;
    loop {
        let ended = keeper.try_wait()?;
        match dir.state() {
            Ok(state) if state.phase == Phase::Up => return Ok(state),
            Ok(State { phase: Phase::Failed(why), .. }) if ended.is_some() => {
                return Err(anyhow!("the lab did not come up: {why}\n{}", keeper_log(dir)));
            }
            _ => {}
        }
        if let Some(status) = ended {
            return Err(anyhow!("the keeper ended with {status}\n{}", keeper_log(dir)));
        }
        if Instant::now() > until {
            return Err(anyhow!("the lab was not up within {UP_MAX:?}\n{}", keeper_log(dir)));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn keeper_log(dir: &Dir) -> String {
    fs::read_to_string(dir.file("keeper.log")).unwrap_or_default()
}

fn send(dir: &Dir, order: &Order) -> anyhow::Result<()> {
    let mut stream = UnixStream::connect(dir.file("orders")).context("the lab's keeper does not listen")?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    let answer: Answer = serde_json::from_slice(&said).context("the keeper gave no answer")?;
    answer.error.map_or(Ok(()), |error| Err(anyhow!(error)))
}

fn take_down(dir: &Dir) -> Result<(), LabError> {
    let until = Instant::now() + DOWN_MAX;
    // One that is still starting does not listen yet; its keeper stops at a signal.
    let asked = send(dir, &Order::Down).is_ok();
    if !asked
        && let Ok(state) = dir.state()
        && dir.is_kept()
        && let Some(pid) = rustix::process::Pid::from_raw(state.keeper as i32)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    while dir.0.exists() && dir.is_kept() {
        if Instant::now() > until {
            return Err(LabError::Failed(anyhow!("the lab was not down within {DOWN_MAX:?}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
    if dir.0.exists() {
        dir.sweep();
    }
    Ok(())
}

/// The administrator's key; its public half is put on the web host by the plan's files.
fn make_admin_key(dir: &Dir, web: &str) -> anyhow::Result<()> {
    let key = dir.file("admin-key");
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f"])
        .arg(&key)
        .stdin(Stdio::null())
        .output()
        .context("could not run ssh-keygen")?;
    if !made.status.success() {
        return Err(anyhow!("ssh-keygen failed: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let public = fs::read_to_string(key.with_extension("pub"))?;
    let mut plan = dir.plan()?;
    if let Some(host) = plan.hosts.iter_mut().find(|host| host.name == web) {
        host.files.push(crate::plan::FilePlan {
            path: "/root/.ssh/authorized_keys".into(),
            mode: 0o600,
            content: public,
        });
    }
    fs::write(dir.file("plan.json"), serde_json::to_vec_pretty(&plan)?)?;
    Ok(())
}
