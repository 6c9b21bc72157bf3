//! What the record of samples costs: bytes an hour, time a sample, and time to read it back from a cold disk.
//!
//! `cargo run --release -p toban-record --example frames_size -- [--hours 168] [--dir DIR]` writes samples as a host
//! with 500 idle and 50 busy processes gives them, then reads while it goes on writing.
#![expect(clippy::print_stdout, reason = "it is a program that prints")]

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::fs::{Advice, fadvise};
use rustix::time::{ClockId, Timespec, clock_gettime};
use toban_model::{
    Name, Prefix, ProcessId, ProcessUse, Processes, Reading, ReadingKind, Sample, SocketCount, TcpState,
    Texts, Time,
};
use toban_record::frames::{Frames, Limits, frames, moment, vital};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// A full hour.
const BEGIN: i64 = 1_700_000_000 / 3600 * 3600;
/// So much of the last hour is written and not closed when it is read.
const OPEN_S: i64 = 3_500;

fn main() -> Outcome<()> {
    let (mut hours, mut dir) = (26i64, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--hours" => hours = args.next().ok_or("--hours takes a number")?.parse()?,
            "--dir" => dir = args.next().map(PathBuf::from),
            _ => return Err(format!("unknown argument {arg}").into()),
        }
    }
    let own = tempfile::tempdir()?;
    let dir = dir.unwrap_or_else(|| own.path().to_owned());

    let mut host = Host::new();
    let mut writer = Frames::open(&dir, Limits { sync: Duration::MAX, ..Limits::default() })?;
    let (mut spent, mut rows) = (0.0, 0);
    for second in 0..hours * 3600 {
        let sample = host.second(second);
        let begun = Watch::start();
        writer.append(&sample)?;
        spent += begun.spent().1;
        if second == 3500 {
            println!("memory:    {:>9} KiB before anything is closed", high_water()?);
        }
        if second == 3599 {
            rows = bytes(&dir, "tbf");
            println!("rows:      {rows:>9} bytes an hour, {} vitals", sample.readings.len());
        }
        if second % 3600 == 3599 {
            // A real hour leaves time for that.
            writer.settle()?;
        }
    }
    println!("append:    {:>9.1} µs of CPU a sample without sync", spent * 1e3 / (hours * 3600) as f64);
    drop(writer);
    let begun = process_cpu_ms();
    let mut writer = Frames::open(&dir, Limits::default())?;
    writer.settle()?;
    println!("closing:   {:>9.0} ms of CPU an hour", process_cpu_ms() - begun);
    let columns = bytes(&dir, "tbc") / hours as u64;
    println!("columns:   {columns:>9} bytes an hour");
    println!("memory:    {:>9} KiB at most", high_water()?);

    let mut synced = Vec::new();
    for second in 0..60 {
        let sample = host.second(hours * 3600 + second);
        let begun = Instant::now();
        writer.append(&sample)?;
        synced.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    synced.sort_by(f64::total_cmp);
    println!("append:    {:>9.0} µs median, {:.0} µs at most with sync", synced[30], synced[59]);

    // The open hour is nearly full: the longest file that is read row by row.
    for second in 60..OPEN_S {
        writer.append(&host.second(hours * 3600 + second))?;
    }

    let done = AtomicBool::new(false);
    let end = (hours * 3600 + OPEN_S - 1) as f64;
    std::thread::scope(|scope| -> Outcome<()> {
        let (mut host, done) = (Host::new(), &done);
        scope.spawn(move || {
            let mut second = hours * 3600 + OPEN_S;
            while !done.load(Ordering::Relaxed) {
                if writer.append(&host.second(second)).is_err() {
                    return;
                }
                second += 1;
                std::thread::sleep(Duration::from_secs(1));
            }
        });
        let read = || -> Outcome<()> {
            let mut draw = Rng::with_seed(5);
            let mut times: [Vec<(f64, f64)>; 4] = Default::default();
            for _ in 0..10 {
                for (place, name) in ["cpu.busy", "memory.used"].into_iter().enumerate() {
                    forget(&dir)?;
                    let begun = Watch::start();
                    let to = Time::from_secs(BEGIN + hours * 3600 + OPEN_S - 1);
                    let series = vital(&dir, name, to - Duration::from_secs(86_400), to)?;
                    times[place].push(begun.spent());
                    assert!(
                        series.points.len() as i64 >= 86_400.min(hours * 3600),
                        "{}",
                        series.points.len()
                    );
                }
                let begin_of_open = hours * 3600;
                let anywhere = (draw.f64() * end) as i64;
                let open = begin_of_open + draw.i64(OPEN_S * 9 / 10..OPEN_S);
                for (place, second) in [(2, anywhere), (3, open)] {
                    forget(&dir)?;
                    let at = Time::from_secs(BEGIN + second) + Duration::from_millis(500);
                    let begun = Watch::start();
                    let (sample, _) = moment(&dir, at)?;
                    times[place].push(begun.spent());
                    assert_eq!(sample.map(|sample| sample.at.as_secs()), Some(at.as_secs()));
                }
            }
            let read =
                ["cpu.busy, a day", "memory.used, a day", "one moment of all", "one late in the open hour"];
            for (what, mut times) in read.into_iter().zip(times) {
                times.sort_by(|a, b| a.0.total_cmp(&b.0));
                let ((median, cpu), (most, _)) = (times[5], times[9]);
                println!(
                    "cold read: {median:>9.1} ms median ({cpu:.1} ms of CPU), {most:.1} ms at most: {what}"
                );
            }
            let begun = Instant::now();
            let to = Time::from_secs(BEGIN + 86_400);
            let count = frames(&dir, Time::ZERO, to)?.readings_only().count();
            println!("cursor:    {:>9.1} µs a sample of readings ({count})", per(begun, count));
            let begun = Instant::now();
            let count = frames(&dir, Time::ZERO, Time::from_secs(BEGIN + 7200))?.count();
            println!("cursor:    {:>9.1} µs a sample of everything ({count})", per(begun, count));
            Ok(())
        };
        let outcome = read();
        done.store(true, Ordering::Relaxed);
        outcome
    })?;
    println!(
        "an hour:   {:>9} bytes: columns, and half of the rows once in {hours} hours",
        columns + rows / 2 / hours as u64
    );
    Ok(())
}

/// Wall clock and processor time of this thread.
struct Watch(Instant, Timespec);

impl Watch {
    fn start() -> Watch {
        Watch(Instant::now(), clock_gettime(ClockId::ThreadCPUTime))
    }

    /// In milliseconds.
    fn spent(&self) -> (f64, f64) {
        let cpu = clock_gettime(ClockId::ThreadCPUTime) - self.1;
        (self.0.elapsed().as_secs_f64() * 1e3, cpu.tv_sec as f64 * 1e3 + cpu.tv_nsec as f64 / 1e6)
    }
}

fn process_cpu_ms() -> f64 {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    cpu.tv_sec as f64 * 1e3 + cpu.tv_nsec as f64 / 1e6
}

fn per(begun: Instant, count: usize) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / count as f64
}

fn bytes(dir: &Path, suffix: &str) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|extension| extension == suffix))
        .filter_map(|file| file.metadata().ok())
        .map(|meta| meta.len())
        .sum()
}

/// Drops every file from the page cache.
fn forget(dir: &Path) -> Outcome<()> {
    for entry in fs::read_dir(dir)? {
        if let Ok(file) = File::open(entry?.path()) {
            file.sync_all()?;
            fadvise(&file, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

fn high_water() -> Outcome<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// How a number goes on.
#[derive(Clone, Copy)]
enum Way {
    /// Counts up by about so much a second, in steps.
    Counter { mean: f64, step: f64 },
    /// Changes in a part of all seconds by up to so much, in steps.
    Walk { often: f64, by: f64, step: f64 },
    /// A share of a total: no short decimal.
    Share { often: f64, by: f64 },
}

struct Vital {
    reading: Reading,
    way: Way,
    raw: f64,
}

struct Process {
    row: ProcessUse,
    comm: String,
    command: String,
    group: String,
    /// Of a core.
    busy: f64,
    until: i64,
}

struct Host {
    draw: Rng,
    vitals: Vec<Vital>,
    processes: Vec<Process>,
    idle: Vec<Process>,
    sockets: Vec<SocketCount>,
    pid: u32,
}

const WAITS: [&str; 6] =
    ["", "do_epoll_wait", "poll_schedule_timeout", "futex_wait_queue", "hrtimer_nanosleep", "folio_wait_bit"];

impl Host {
    fn new() -> Host {
        let mut host = Host {
            draw: Rng::with_seed(11),
            vitals: Vec::new(),
            processes: Vec::new(),
            idle: Vec::new(),
            sockets: Vec::new(),
            pid: 1000,
        };
        host.add_vitals();
        for nth in 0..550 {
            let busy = if nth < 50 { 0.002 * 1.1f64.powi(nth) } else { 0.0003 };
            let process = host
                .process(format!("/usr/sbin/service-{nth} --listen --pool={nth} -c /etc/s{nth}.conf"), busy);
            if nth < 90 { host.processes.push(process) } else { host.idle.push(process) }
        }
        for nth in 0..15u16 {
            let (state, port) = (TcpState::Established, 80 + nth * 100);
            host.sockets.push(SocketCount { state, port, peers: None, count: 40 });
        }
        for _ in 0..85 {
            let peers = host.network();
            host.sockets.push(peers);
        }
        host
    }

    fn add_vitals(&mut self) {
        let counter = |mean: f64, step: f64| Way::Counter { mean, step };
        let walk = |often: f64, by: f64, step: f64| Way::Walk { often, by, step };
        let mut all: Vec<(String, &'static str, Way)> = vec![
            ("cpu.busy".into(), "%", counter(30.0, 0.25)),
            ("memory.used".into(), "%", Way::Share { often: 0.9, by: 0.02 }),
            ("load.1".into(), "", walk(0.2, 0.1, 0.01)),
            ("load.5".into(), "", walk(0.2, 0.02, 0.01)),
            ("load.15".into(), "", walk(0.1, 0.01, 0.01)),
        ];
        for (mode, mean) in
            [("user", 20.0), ("system", 8.0), ("iowait", 2.0), ("irq", 0.1), ("softirq", 0.7), ("steal", 0.0)]
        {
            all.push((format!("cpu.{mode}"), "%", counter(mean, 0.25)));
            all.extend((0..4).map(|core| (format!("cpu.{mode}:{core}"), "%", counter(mean, 1.0))));
        }
        for kind in ["cpu.some", "memory.some", "memory.full", "io.some", "io.full"] {
            all.push((format!("pressure.{kind}"), "%", counter(1.5, 0.0001)));
            all.push((format!("pressure.{kind}.10s"), "%", walk(0.5, 0.3, 0.01)));
        }
        for kind in [
            "available",
            "buffers",
            "cached",
            "dirty",
            "slab",
            "anon",
            "shmem",
            "mapped",
            "tables",
            "swap_used",
        ] {
            all.push((format!("memory.{kind}"), "B", walk(0.6, 2e6, 4096.0)));
        }
        for kind in
            ["pgfault", "pgmajfault", "pswpin", "pswpout", "pgscan", "pgsteal", "allocstall", "oom_kill"]
        {
            all.push((
                format!("vm.{kind}"),
                "/s",
                counter(if kind == "pgfault" { 4000.0 } else { 0.02 }, 1.0),
            ));
        }
        for disk in ["sda", "sdb"] {
            for (kind, mean, step) in [
                ("read", 2e5, 4096.0),
                ("written", 2e6, 4096.0),
                ("reads", 8.0, 1.0),
                ("writes", 60.0, 1.0),
                ("busy", 4.0, 0.1),
                ("queue", 0.1, 0.001),
            ] {
                all.push((format!("disk.{kind}:{disk}"), "/s", counter(mean, step)));
            }
        }
        for mount in ["/", "/var", "/home"] {
            all.push((format!("disk.used:{mount}"), "%", Way::Share { often: 0.3, by: 0.001 }));
            all.push((format!("disk.inodes:{mount}"), "%", Way::Share { often: 0.1, by: 0.0001 }));
        }
        for interface in ["eth0", "lo", "docker0"] {
            for (kind, mean) in [
                ("received", 3e5),
                ("sent", 2e6),
                ("packets_in", 900.0),
                ("packets_out", 1500.0),
                ("errors_in", 0.0),
                ("errors_out", 0.0),
                ("dropped_in", 0.001),
                ("dropped_out", 0.0),
            ] {
                all.push((format!("network.{kind}:{interface}"), "/s", counter(mean, 1.0)));
            }
        }
        for nth in 0..40 {
            let mean = [300.0, 40.0, 5.0, 0.2, 0.0, 0.0, 0.0, 0.0][nth % 8];
            all.push((format!("tcp.counter_{nth}"), "/s", counter(mean, 1.0)));
        }
        for nth in 0..10 {
            all.push((format!("sockstat.{nth}"), "", walk(0.5, 3.0, 1.0)));
        }
        for unit in 0..20 {
            let active = if unit < 8 { 1.0 } else { 0.02 };
            all.push((format!("group.memory:unit-{unit}.service"), "B", walk(0.5 * active, 1e6, 4096.0)));
            all.push((format!("group.cpu:unit-{unit}.service"), "%", counter(2.0 * active, 0.0001)));
            all.push((format!("group.processes:unit-{unit}.service"), "", walk(0.05 * active, 2.0, 1.0)));
            all.push((format!("unit.cpu:unit-{unit}.service"), "%", counter(2.0 * active, 1.0)));
            all.push((format!("unit.memory:unit-{unit}.service"), "B", walk(0.5 * active, 1e6, 4096.0)));
        }
        for (name, unit, way) in all {
            let kind =
                if matches!(way, Way::Counter { .. }) { ReadingKind::Counter } else { ReadingKind::Gauge };
            let raw = match way {
                Way::Counter { mean, step } => (mean * 1e5 / step).round() * step,
                Way::Walk { by, step, .. } => (by * 100.0 / step).round() * step,
                Way::Share { .. } => 40.0,
            };
            let reading = Reading { name: Name::from(name), value: raw, unit: unit.into(), kind };
            self.vitals.push(Vital { reading, way, raw });
        }
    }

    fn process(&mut self, command: String, busy: f64) -> Process {
        self.pid += 1;
        let draw = &mut self.draw;
        Process {
            row: ProcessUse {
                id: ProcessId { pid: self.pid, start_ticks: u64::from(self.pid) * 7 },
                parent: 1,
                user: draw.u32(0..5) * 1000,
                state: b'S',
                threads: draw.u32(1..30),
                cpu_us: draw.u64(0..1000) * 10_000,
                resident: draw.u64(100..100_000) * 4096,
                handles: Some(draw.u32(3..300)),
                read: Some(draw.u64(0..1 << 30)),
                written: Some(draw.u64(0..1 << 30)),
                comm: Default::default(),
                command: Default::default(),
                group: Default::default(),
                waits_in: Default::default(),
            },
            comm: format!("service-{}", self.pid),
            command,
            group: format!("/system.slice/unit-{}.service", self.pid % 20),
            busy,
            until: i64::MAX,
        }
    }

    fn network(&mut self) -> SocketCount {
        let [b, c] = [self.draw.u8(..), self.draw.u8(..)];
        let peers = Prefix::new([100, b, c, 0].into(), 24).ok();
        SocketCount { state: TcpState::Established, port: 80 + self.draw.u16(0..15) * 100, peers, count: 3 }
    }

    fn second(&mut self, second: i64) -> Sample {
        for vital in &mut self.vitals {
            let draw = &mut self.draw;
            match vital.way {
                Way::Counter { mean, step } => {
                    // Bursts, as traffic has them: between nothing and thrice the mean.
                    let grown = mean / step * 3.0 * draw.f64() * draw.f64() * 4.0 / 3.0;
                    let grown = grown.floor() + f64::from(u8::from(draw.f64() < grown.fract()));
                    vital.raw = ((vital.raw / step).round() + grown) * step;
                    vital.reading.value = decimal(vital.raw, step);
                }
                Way::Walk { often, by, step } if draw.f64() < often => {
                    vital.raw = (vital.raw + (draw.f64() - 0.5) * by).max(0.0);
                    vital.reading.value = decimal((vital.raw / step).round() * step, step);
                }
                Way::Share { often, by } if draw.f64() < often => {
                    vital.raw = (vital.raw + (draw.f64() - 0.5) * by).clamp(1.0, 99.0);
                    let total = 4_131_332.0;
                    vital.reading.value = (vital.raw * total / 100.0).round() / total * 100.0;
                }
                _ => {}
            }
        }
        for process in &mut self.processes {
            let (row, draw) = (&mut process.row, &mut self.draw);
            let ticks = process.busy * 200.0 * draw.f64();
            let ticks = ticks.floor() as u64 + u64::from(draw.f64() < ticks.fract());
            row.cpu_us += ticks * 10_000;
            if ticks > 0 {
                row.state = if draw.f64() < process.busy { b'R' } else { b'S' };
                if draw.f64() < 0.2 {
                    row.resident += draw.u64(0..20) * 4096;
                }
                if draw.f64() < 0.3 {
                    row.written = row.written.map(|written| written + draw.u64(1..50) * 4096);
                }
                if draw.f64() < 0.1 {
                    row.handles = Some(draw.u32(50..60));
                }
            }
        }
        // Those of little use come and go, and every second something is started that is soon over.
        for _ in 0..2 {
            let at = self.draw.usize(50..90);
            let other = self.draw.usize(..self.idle.len());
            std::mem::swap(&mut self.processes[at], &mut self.idle[other]);
        }
        self.processes.retain(|process| process.until > second);
        let mut short = self.process(format!("sh -c /usr/lib/probe --id={second} --quick"), 0.3);
        (short.until, short.row.cpu_us) = (second + self.draw.i64(1..4), 0);
        self.processes.push(short);
        for _ in 0..12 {
            let at = self.draw.usize(..self.sockets.len());
            let sockets = &mut self.sockets[at];
            sockets.count = (sockets.count + self.draw.u32(0..3)).saturating_sub(1).max(1);
        }
        for _ in 0..2 {
            let at = self.draw.usize(15..100);
            self.sockets[at] = self.network();
        }

        let mut texts = Texts::default();
        let draw = &mut self.draw;
        let busiest = self.processes.iter().map(|process| {
            let waits = if process.row.state == b'R' { 0 } else { 1 + process.row.id.pid as usize % 5 };
            ProcessUse {
                comm: texts.push(&process.comm),
                command: texts.push(&process.command),
                group: texts.push(&process.group),
                waits_in: texts.push(WAITS[waits]),
                ..process.row
            }
        });
        let busiest: Vec<ProcessUse> = busiest.collect();
        let late = draw.u32(50..150);
        Sample {
            at: Time::from_micros((BEGIN + second) * 1_000_000 + i64::from(late)),
            took_us: draw.u32(2500..3500),
            late_us: late,
            readings: self.vitals.iter().map(|vital| vital.reading.clone()).collect(),
            processes: Processes { count: 550 + draw.u32(0..5), looked_at: 550, busiest },
            sockets: self.sockets.clone(),
            texts,
        }
    }
}

/// A number as a sampler works it out: whole, or a whole number divided.
fn decimal(value: f64, step: f64) -> f64 {
    if step >= 1.0 { value.round() } else { (value / step).round() / (1.0 / step).round() }
}
