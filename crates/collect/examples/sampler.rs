//! What a second of the recorder's sampler costs:
//! `cargo run --release -p toban-collect --example sampler -- --seconds 20 --idle 500 --busy 0 --sockets 0`.
//!
//! With `--beat` by the recorder's own thread, with `--show` it prints the last sample whole.
//!
//! Starts so many idle processes, busy ones and connections to itself, samples once a second, and prints the share of a
//! processor that this process used, what each collector took, and what a sample holds. What it started it ends.

#![expect(clippy::print_stdout, reason = "it says what was measured")]

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use toban_collect::beat::Beat;
use toban_collect::{Root, Sampler};
use toban_model::Time;

/// Ends what it holds.
struct Children(Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn start(count: usize, program: &str, arguments: &[&str]) -> std::io::Result<Children> {
    let mut children = Children(Vec::new());
    for _ in 0..count {
        children.0.push(Command::new(program).args(arguments).spawn()?);
    }
    Ok(children)
}

fn option(name: &str, default: usize) -> usize {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// Processor time of this whole process, and how often it slept and was put to sleep.
fn used() -> (Duration, u64, u64) {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0)
    };
    let cpu = Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0));
    (cpu, of("voluntary_ctxt_switches:"), of("nonvoluntary_ctxt_switches:"))
}

fn memory_kb() -> String {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    text.lines()
        .find(|line| line.starts_with("Pss:"))
        .map_or_else(String::new, |line| line[4..].trim().to_owned())
}

/// The same by the recorder's own thread, with its memory locked and its priority raised.
fn beat(seconds: usize) -> std::io::Result<()> {
    let mut beat = Beat::start(Root::host()).map_err(std::io::Error::other)?;
    for note in beat.notes() {
        println!("not permitted   {}", note.en);
    }
    let (mut late, mut took, mut begun) = (0, 0, (used(), Instant::now()));
    for second in 0..WARM_UP + seconds {
        if second == WARM_UP {
            (late, took, begun) = (0, 0, (used(), Instant::now()));
        }
        if let Some(sample) = beat.next(Duration::from_secs(5)) {
            late = late.max(sample.late_us);
            took = took.max(sample.took_us);
        }
    }
    let ((cpu, ..), at) = begun;
    let share = 100.0 * (used().0 - cpu).as_secs_f64() / at.elapsed().as_secs_f64();
    println!("processor       {share:.2} % of a core");
    println!("latest          {late} µs");
    println!("longest         {took} µs");
    println!("memory          {} (PSS)", memory_kb());
    Ok(())
}

/// Samples before anything is measured.
const WARM_UP: usize = 10;

fn main() -> std::io::Result<()> {
    let seconds = option("--seconds", 20);
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let _idle = start(option("--idle", 0), "sleep", &["3600"])?;
    let _busy = start(option("--busy", 0), "sh", &["-c", "while :; do sleep 0.2; done"])?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut held = Vec::new();
    for _ in 0..option("--sockets", 0) / 2 {
        held.push(TcpStream::connect(listener.local_addr()?)?);
        held.push(listener.accept()?.0);
    }

    if std::env::args().any(|word| word == "--beat") {
        return beat(seconds);
    }
    let mut sampler = Sampler::new(Root::host());
    let mut sample = Sampler::empty();
    let mut begun = (used(), Instant::now(), Vec::new());
    let (mut took_max, mut cut) = (0, 0);
    for second in 0..WARM_UP + seconds {
        if second == WARM_UP {
            begun = (used(), Instant::now(), sampler.costs().collect());
            (took_max, cut) = (0, 0);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        sampler.sample(Time::from_micros(i64::try_from(now.as_micros()).unwrap_or(0)), &mut sample);
        if second == 0 {
            println!("first sample    {} ms", sample.took_us / 1000);
        }
        took_max = took_max.max(sample.took_us);
        cut += usize::from(sample.processes.looked_at < sample.processes.count);
        std::thread::sleep(
            Duration::from_secs(1).saturating_sub(Duration::from_micros(sample.took_us.into())),
        );
    }
    let ((cpu, slept, put_off), at, before) = begun;
    let (cpu_now, slept_now, put_off_now) = used();
    let cpu = cpu_now - cpu;
    let seconds = at.elapsed().as_secs_f64();
    println!("processor       {:.2} % of a core", 100.0 * cpu.as_secs_f64() / seconds);
    println!(
        "a sample        {:.0} µs, the longest {took_max} µs on the clock",
        cpu.as_secs_f64() * 1e6 / seconds
    );
    for ((id, cost), (_, before)) in sampler.costs().zip(before) {
        println!("  {id:13} {:.0} µs", (cost - before).as_secs_f64() * 1e6 / seconds);
    }
    let processes = &sample.processes;
    let per_process = cpu.as_secs_f64() * 1e6 / seconds / f64::from(processes.count.max(1));
    println!(
        "processes       {}, {per_process:.1} µs each; the pass was cut in {cut} seconds",
        processes.count
    );
    println!(
        "rows            {} readings, {} processes, {} sockets",
        sample.readings.len(),
        processes.busiest.len(),
        sample.sockets.len()
    );
    println!("memory          {} (PSS)", memory_kb());
    println!(
        "switches        {:.1} voluntary, {:.1} not, a second",
        (slept_now - slept) as f64 / seconds,
        (put_off_now - put_off) as f64 / seconds
    );
    for failure in sampler.failures() {
        println!("failed          {} {} times: {}", failure.collector, failure.times, failure.last);
    }
    if std::env::args().any(|word| word == "--show") {
        for reading in &sample.readings {
            println!("{} = {} {}", reading.name, reading.value, reading.unit);
        }
        for row in &processes.busiest {
            let text = |span| sample.texts.get(span);
            println!(
                "{} {} {} {} cpu {} ms, {} MiB, {:?} handles, {:?} {:?} | {} | {} | {} | {}",
                row.id.pid,
                char::from(row.state),
                row.user,
                row.threads,
                row.cpu_us / 1000,
                row.resident >> 20,
                row.handles,
                row.read,
                row.written,
                text(row.comm),
                text(row.command),
                text(row.group),
                text(row.waits_in),
            );
        }
        for row in &sample.sockets {
            println!("{row:?}");
        }
    }
    Ok(())
}
