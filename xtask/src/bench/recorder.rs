//! `bench recorder`: what it costs to watch a host every second, beside other programs that do, all at the same time over
//! the same processes; and how fast a week is read back.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::crowd::{CONNECTIONS, Role, Started, now, part, start};
use super::storm::tempdir;
use crate::steps::{cargo, release_toban, root, show};

/// Where node_exporter listens while it is measured, for this host alone.
const EXPORTER: &str = "127.0.0.1:19123";
#[derive(clap::Args)]
pub(super) struct RecorderArgs {
    /// How long is measured
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// Before that, so that what happens once at the start is not counted
    #[arg(long, default_value_t = 25)]
    warm: u64,
    /// Processes that sleep
    #[arg(long, default_value_t = 500)]
    idle: usize,
    /// Processes that work for half a per cent of a core
    #[arg(long, default_value_t = 50)]
    busy: usize,
    /// Then with so many that sleep; 0 for not
    #[arg(long, default_value_t = 5000)]
    many: usize,
    /// And with so many sockets; 0 for not
    #[arg(long, default_value_t = 20_000)]
    sockets: usize,
    /// Hours of recording that are read back; 0 for none
    #[arg(long, default_value_t = 168)]
    hours: u32,
    /// This program, instead of a release build of this workspace
    #[arg(long, value_name = "PATH")]
    toban: Option<PathBuf>,
}

/// One program that watches.
struct Watcher {
    name: &'static str,
    started: Started,
    /// Where it writes; some only answer.
    dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    /// Of a core, with children that have ended.
    cpu_s: f64,
    bytes: u64,
}

impl Watcher {
    fn cost(&self) -> Result<Cost> {
        let path = format!("/proc/{}/stat", self.started.0.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("{} has ended", self.name))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        if fields.first().is_none_or(|state| *state == "Z") {
            bail!("{} has ended", self.name);
        }
        // utime, stime, cutime and cstime of proc_pid_stat(5), in hundredths of a second.
        let ticks: u64 = fields.iter().skip(11).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Ok(Cost { cpu_s: ticks as f64 / 100.0, bytes: self.dir.as_deref().map_or(0, bytes_in) })
    }

    fn pss_bytes(&self) -> Result<u64> {
        let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.started.0.id()))?;
        let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        Ok(kib.context("no Pss")? << 10)
    }
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

pub(super) fn run(args: &RecorderArgs) -> Result<ExitCode> {
    let toban = match &args.toban {
        Some(path) => path.clone(),
        None => release_toban()?,
    };
    let dir = tempdir("recorder")?;
    let measured = watch(args, &toban, &dir);
    // What it holds was made by this run.
    let removed = fs::remove_dir_all(&dir);
    measured?;
    removed.with_context(|| format!("could not remove {}", dir.display()))?;
    if args.hours > 0 {
        read_back(args.hours)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn watch(args: &RecorderArgs, toban: &Path, dir: &Path) -> Result<()> {
    let end = now() + (args.seconds * 3 + args.warm * 3 + 300) as f64;
    let sleeper = || start(Command::new("sleep").arg((end - now()).ceil().to_string()));
    let mut crowd: Vec<Started> = (0..args.idle).map(|_| sleeper()).collect::<Result<_>>()?;
    for _ in 0..args.busy {
        crowd.push(start(&mut part(Role::Busy, 0.0, end)?)?);
    }

    let mut watchers = Vec::new();
    for (name, program) in [
        ("toban", toban),
        ("atop", Path::new("atop")),
        ("sadc", Path::new("/usr/lib/sysstat/sadc")),
        ("node_exporter", Path::new("prometheus-node-exporter")),
    ] {
        let own = dir.join(name);
        fs::create_dir_all(&own)?;
        let mut command = Command::new(program);
        let mut writes = Some(own.clone());
        match name {
            "toban" => {
                let config = dir.join("toban.toml");
                fs::write(&config, format!("[agent]\nstate = \"{}\"\n", own.display()))?;
                command.arg("run").arg("--config").arg(config);
            }
            "atop" => drop(command.arg("-w").arg(own.join("raw")).arg("1")),
            "sadc" => drop(command.args(["-F", "-L", "-S", "DISK", "1"]).arg(own.join("sa"))),
            _ => {
                command.arg(format!("--web.listen-address={EXPORTER}"));
                writes = None;
            }
        }
        match start(&mut command) {
            Ok(started) => watchers.push(Watcher { name, started, dir: writes }),
            Err(_) if name != "toban" => println!("{name:14} is not installed"),
            Err(error) => return Err(error),
        }
    }

    println!("{:14} {:>10} {:>10} {:>10}", "", "% of core", "PSS MiB", "MB/h");
    measure(args, &watchers, &format!("{} idle and {} busy processes", args.idle, args.busy))?;
    if args.many > 0 {
        // What the others cost then is not asked.
        watchers.truncate(1);
        let more = args.many.saturating_sub(args.idle);
        let more: Vec<Started> = (0..more).map(|_| sleeper()).collect::<Result<_>>()?;
        measure(args, &watchers, &format!("{} idle and {} busy processes", args.many, args.busy))?;
        drop(more);
    }
    if args.sockets > 0 {
        let holders = args.sockets.div_ceil(2 * CONNECTIONS);
        let holders: Vec<Started> =
            (0..holders).map(|_| start(&mut part(Role::Sockets, 0.0, end)?)).collect::<Result<_>>()?;
        let sockets = holders.len() * 2 * CONNECTIONS;
        measure(args, &watchers, &format!("{} processes, {sockets} sockets", args.idle + args.busy))?;
    }
    Ok(())
}

/// Measures over the same stretch of time what each costs.
fn measure(args: &RecorderArgs, watchers: &[Watcher], what: &str) -> Result<()> {
    tick(args.warm);
    let before: Vec<Cost> = watchers.iter().map(Watcher::cost).collect::<Result<_>>()?;
    let begun = Instant::now();
    tick(args.seconds);
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}, {seconds:.0} s, one look a second:");
    let mut first: Option<f64> = None;
    for (watcher, before) in watchers.iter().zip(before) {
        let after = watcher.cost()?;
        let cpu = (after.cpu_s - before.cpu_s) * 100.0 / seconds;
        let pss = watcher.pss_bytes()? as f64 / f64::from(1 << 20);
        let grown = after.bytes.saturating_sub(before.bytes) as f64 * 3600.0 / seconds / 1e6;
        let grown = if watcher.dir.is_some() { format!("{grown:.1}") } else { "-".to_owned() };
        let ratio = first.map_or_else(String::new, |first| format!("  {:.1} times toban's CPU", cpu / first));
        first = first.or(Some(cpu));
        println!("{:14} {cpu:>10.2} {pss:>10.1} {grown:>10}{ratio}", watcher.name);
    }
    Ok(())
}

/// Lets so many seconds go by, and asks node_exporter in each: it looks when it is asked.
fn tick(seconds: u64) {
    for _ in 0..seconds {
        let begun = Instant::now();
        if let Ok(mut connection) = TcpStream::connect(EXPORTER) {
            let _ = connection.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = write!(connection, "GET /metrics HTTP/1.0\r\n\r\n");
            let _ = connection.read_to_end(&mut Vec::new());
        }
        sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
}

/// A recording from a fixed seed, made by the real writer, read with a cold cache while it is written to.
fn read_back(hours: u32) -> Result<()> {
    let mut command =
        cargo(["run", "--release", "--quiet", "-p", "toban-record", "--example", "frames_size"]);
    command.current_dir(root()).args(["--", "--hours", &hours.to_string()]);
    let status = command.status().with_context(|| format!("could not run {}", show(&command)))?;
    if !status.success() {
        bail!("{} failed", show(&command));
    }
    Ok(())
}
