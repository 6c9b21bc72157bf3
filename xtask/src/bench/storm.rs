//! `bench storm`: does the record go on while the host drowns? Two recorders in one storm, and the longest time that each
//! was blind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use toban_model::{Sample, Time};
use toban_record::frames;

use super::crowd::{Role, Started, now, part, start};
use crate::steps::release_toban;

/// The recorders and what eats memory share this.
const MEMORY_BYTES: u64 = 384 << 20;
/// What both recorders are given to begin, and the processes of the storm to be there.
const BEFORE: Duration = Duration::from_secs(12);
/// No gap in the host's vitals and in the processes above this, in seconds; beats fall within some milliseconds.
const HOST_GAP_MAX: f64 = 1.1;
const PROCESSES_GAP_MAX: f64 = 2.1;

#[derive(clap::Args)]
pub(super) struct StormArgs {
    /// How long it blows
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=300))]
    seconds: u64,
    /// Processes that turn in a loop, each in a session of its own
    #[arg(long, default_value_t = 400)]
    hogs: usize,
    /// Loops that start one program after the other
    #[arg(long, default_value_t = 8)]
    forks: usize,
    /// This program, instead of a release build of this workspace
    #[arg(long, value_name = "PATH")]
    toban: Option<PathBuf>,
}

pub(super) fn run(args: &StormArgs) -> Result<ExitCode> {
    let toban = match &args.toban {
        Some(path) => path.clone(),
        None => release_toban()?,
    };
    let dir = tempdir("storm")?;
    let group = Group::create()?;
    let blown = blow(args, &toban, &dir, &group);
    drop(group);
    let removed = fs::remove_dir_all(&dir);
    let held = blown?;
    removed.with_context(|| format!("could not remove {}", dir.display()))?;
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A directory of this run alone, to be removed by who made it.
pub(super) fn tempdir(name: &str) -> Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("toban-bench-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("could not make {}", dir.display()))?;
    Ok(dir)
}

fn blow(args: &StormArgs, toban: &Path, dir: &Path, group: &Group) -> Result<bool> {
    let (begin, end) = (now() + BEFORE.as_secs_f64(), now() + BEFORE.as_secs_f64() + args.seconds as f64);
    let state = dir.join("state");
    let config = dir.join("toban.toml");
    fs::write(&config, format!("[agent]\nstate = \"{}\"\n", state.display()))?;
    let mut recorder = Command::new(toban);
    recorder.arg("run").arg("--config").arg(&config);
    let recorder = start(&mut group.within(&recorder))?;
    let raw = dir.join("atop");
    let mut atop = Command::new("atop");
    atop.arg("-w").arg(&raw).arg("1");
    let atop = start(&mut group.within(&atop));

    let mut storm = Vec::new();
    for _ in 0..args.hogs {
        storm.push(start(&mut part(Role::Hog, begin, end)?)?);
    }
    for _ in 0..args.forks {
        storm.push(start(&mut part(Role::Fork, begin, end)?)?);
    }
    for nth in 0..2 {
        storm.push(start(&mut group.within(&part(Role::Memory, begin, end)?))?);
        let mut disk = part(Role::Disk, begin, end)?;
        disk.arg("--file").arg(dir.join(format!("disk{nth}")));
        storm.push(start(&mut group.within(&disk))?);
    }
    if now() > begin {
        bail!("this machine was too slow to start {} processes in {BEFORE:?}", storm.len());
    }
    let killed = group.killed();
    let mut load: f64 = 0.0;
    while now() < end {
        sleep(Duration::from_secs(1));
        let text = fs::read_to_string("/proc/loadavg")?;
        load = load.max(text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0));
    }
    drop(storm);
    sleep(Duration::from_secs(3));
    let killed = group.killed() - killed;
    stop(recorder)?;
    println!(
        "{} hogs in sessions of their own, {} fork loops, {} MiB for the recorders and what eats it, 2 writers: {} s, \
         load {load:.0}, {killed} killed for want of memory",
        args.hogs,
        args.forks,
        MEMORY_BYTES >> 20,
        args.seconds
    );
    println!("{:8}{:>10}{:>16}{:>24}", "", "samples", "longest gap s", "the same of processes s");

    let time = |seconds: f64| Time::from_micros((seconds * 1e6) as i64);
    let cursor = frames::frames(&state.join("frames"), time(begin), time(end))?;
    let samples: Vec<Sample> = cursor.collect::<Result<_, _>>()?;
    let at: Vec<f64> = samples.iter().map(|sample| sample.at.as_micros() as f64 / 1e6).collect();
    let host = longest_gap(begin, end, &at);
    let processes = longest_unseen(begin, end, &samples);
    println!("{:8}{:>10}{host:>16.2}{processes:>24.2}", "toban", samples.len());
    let cut = samples.iter().filter(|s| s.processes.looked_at < s.processes.count).count();
    let late = samples.iter().map(|sample| sample.late_us).max().unwrap_or(0);
    println!("        {cut} passes over all processes were cut and went on; at most {} ms late", late / 1000);

    if let Ok(atop) = atop {
        stop(atop)?;
        let at = samples_of_atop(&raw)?;
        let at: Vec<f64> = at.into_iter().filter(|at| (begin..=end).contains(at)).collect();
        let gap = longest_gap(begin, end, &at);
        println!("{:8}{:>10}{gap:>16.2}{gap:>24.2}", "atop", at.len());
    } else {
        println!("atop is not installed");
    }
    let held = host <= HOST_GAP_MAX && processes <= PROCESSES_GAP_MAX;
    if !held {
        println!("toban promises {HOST_GAP_MAX} s and {PROCESSES_GAP_MAX} s");
    }
    Ok(held)
}

/// The longest time without a sample.
fn longest_gap(begin: f64, end: f64, at: &[f64]) -> f64 {
    let ends = [begin].into_iter().chain(at.iter().copied()).zip(at.iter().copied().chain([end]));
    ends.map(|(before, after)| after - before).fold(0.0, f64::max)
}

/// The longest time between two looks at one process, however the passes were cut: from the sample before the first of
/// those that together looked at as many as there are, to the last of them. A second in which the pass was not there in
/// time has no look.
fn longest_unseen(begin: f64, end: f64, samples: &[Sample]) -> f64 {
    let samples: Vec<&Sample> = samples.iter().filter(|sample| sample.processes.looked_at > 0).collect();
    let at = |nth: usize| samples[nth].at.as_micros() as f64 / 1e6;
    let mut longest = samples.last().map_or(end - begin, |last| end - last.at.as_micros() as f64 / 1e6);
    for (nth, sample) in samples.iter().enumerate() {
        let mut seen = 0;
        let first = (0..=nth).rev().find(|nth| {
            seen += samples[*nth].processes.looked_at;
            seen >= sample.processes.count
        });
        // At the begin of the stretch a pass may have been under way.
        if let Some(first) = first {
            longest = longest.max(at(nth) - if first == 0 { begin } else { at(first - 1) });
        }
    }
    longest
}

/// When atop took its samples, by itself.
fn samples_of_atop(raw: &Path) -> Result<Vec<f64>> {
    let output = Command::new("atop").arg("-r").arg(raw).args(["-P", "CPU"]).output()?;
    // CPU host epoch date time interval …
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| line.starts_with("CPU "));
    Ok(lines.filter_map(|line| line.split(' ').nth(2)?.parse().ok()).collect())
}

/// Ends it in order, so that it writes what it has.
fn stop(mut started: Started) -> Result<()> {
    kill_process(Pid::from_child(&started.0), Signal::TERM)?;
    for _ in 0..100 {
        if started.0.try_wait()?.is_some() {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A control group with little memory.
struct Group {
    dir: PathBuf,
    unified: bool,
}

impl Group {
    fn create() -> Result<Group> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let found = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, mount, kind, options, ..] = fields[..] else { return None };
            let v1 = kind == "cgroup" && options.split(',').any(|option| option == "memory");
            let v2 = kind == "cgroup2"
                && fs::read_to_string(format!("{mount}/cgroup.controllers"))
                    .is_ok_and(|c| c.contains("memory"));
            (v1 || v2).then(|| (PathBuf::from(mount), v2))
        });
        let (mount, unified) = found.context("no control group hierarchy limits memory here")?;
        let dir = mount.join(format!("toban-bench-{}", std::process::id()));
        if unified {
            let _ = fs::write(mount.join("cgroup.subtree_control"), "+memory");
        }
        fs::create_dir(&dir).with_context(|| format!("could not make {} (root is needed)", dir.display()))?;
        let group = Group { dir, unified };
        let file = if unified { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.dir.join(file), MEMORY_BYTES.to_string())?;
        Ok(group)
    }

    /// The command, to be run in this group.
    fn within(&self, command: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.dir.join("cgroup.procs"));
        shell.arg(command.get_program()).args(command.get_args());
        shell
    }

    fn killed(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What is still in it was begun by this run: what a killed part had started.
        for _ in 0..50 {
            for pid in fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default().lines() {
                if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
                    let _ = kill_process(pid, Signal::KILL);
                }
            }
            if fs::remove_dir(&self.dir).is_ok() {
                return;
            }
            sleep(Duration::from_millis(100));
        }
    }
}
