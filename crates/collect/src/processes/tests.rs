//! Processes that do what a test says, in a host made of files; and some real ones.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use toban_model::ProcessUse;

use super::facts::STUCK_S;
use super::*;

const LONG: Duration = Duration::from_secs(5);

/// A host made of files, whose processes do what a test says.
struct Host {
    dir: tempfile::TempDir,
    busy_ticks: u64,
}

impl Host {
    fn new() -> Host {
        let host = Host { dir: tempfile::tempdir().unwrap(), busy_ticks: 0 };
        fs::create_dir(host.dir.path().join("proc")).unwrap();
        host
    }

    fn root(&self) -> Root {
        Root::new(self.dir.path())
    }

    fn of(&self, pid: u32) -> PathBuf {
        self.dir.path().join(format!("proc/{pid}"))
    }

    fn write(&self, pid: u32, file: &str, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.of(pid)).unwrap();
        fs::write(self.of(pid).join(file), text).unwrap();
    }

    /// A process that began at `start` and has used so many ticks, a third of them in the kernel.
    fn stat(&self, pid: u32, comm: &str, start: u64, ticks: u64) {
        let (system, user) = (ticks / 3, ticks - ticks / 3);
        let text = format!(
            "{pid} ({comm}) S 1 1 1 0 -1 4194560 9 0 0 0 {user} {system} 7 7 20 0 3 0 {start} 1000 50 0 0\n"
        );
        self.write(pid, "stat", text);
    }

    fn sample(&mut self, table: &mut Table, ticks: u64) -> Sample {
        self.busy_ticks += ticks;
        let text = format!(
            "cpu {} 0 0 9 0 0 0 0 0 0\ncpu0 1\ncpu1 1\nprocesses 7\nprocs_running 1\nprocs_blocked 0\n",
            self.busy_ticks
        );
        fs::write(self.dir.path().join("proc/stat"), text).unwrap();
        let mut sample = crate::Sampler::empty();
        table.sample(&self.root(), &mut sample).unwrap();
        sample
    }
}

fn row(sample: &Sample, pid: u32) -> Option<&ProcessUse> {
    sample.processes.busiest.iter().find(|row| row.id.pid == pid)
}

fn reading(sample: &Sample, name: &str) -> Option<f64> {
    sample.readings.iter().find(|reading| reading.name == name).map(|reading| reading.value)
}

#[test]
fn a_row_says_all() {
    let mut host = Host::new();
    host.stat(7, "a) (b", 500, 90);
    host.write(7, "cmdline", "/bin/a\0-x\0");
    host.write(7, "cgroup", "0::/system.slice/web.service\n");
    host.write(7, "io", "rchar: 1\nread_bytes: 4096\nwrite_bytes: 8192\n");
    host.write(7, "wchan", "ep_poll");
    fs::create_dir(host.of(7).join("fd")).unwrap();
    for fd in ["0", "1", "2", "17"] {
        fs::write(host.of(7).join("fd").join(fd), "").unwrap();
    }
    // A thread of the kernel, and one that has ended and is not waited for.
    host.write(9, "stat", "9 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 30 0 0 20 0 1 0 5 0 0 0 0\n");
    host.write(10, "stat", "10 (gone) Z 7 1 1 0 -1 4194564 0 0 0 0 1 1 0 0 20 0 1 0 700 0 0 0 0\n");
    let mut table = Table::new(LONG, LONG);
    let sample = host.sample(&mut table, 1_000);
    assert_eq!((sample.processes.count, sample.processes.looked_at), (3, 3));
    let of = row(&sample, 7).unwrap();
    assert_eq!((of.id.start_ticks, of.parent, of.state, of.threads), (500, 1, b'S', 3));
    assert_eq!((of.cpu_us, of.resident), (900_000, 50 * rustix::param::page_size() as u64));
    assert_eq!((of.read, of.written, of.handles), (Some(4096), Some(8192), Some(4)));
    let texts = [of.comm, of.command, of.group, of.waits_in].map(|span| sample.texts.get(span));
    assert_eq!(texts, ["a) (b", "/bin/a -x", "/system.slice/web.service", "ep_poll"]);
    assert_eq!(reading(&sample, "processes.zombies"), Some(1.0));
    assert_eq!(reading(&sample, "unit.processes:web.service"), Some(1.0));
    assert_eq!(reading(&sample, "unit.processes:kernel"), Some(1.0));
    assert_eq!(
        reading(&sample, "unit.cpu:web.service"),
        Some(0.0),
        "what it used before we watched is not new"
    );

    // Forty ticks by the server, ten by a thread of the kernel, and fifty by somebody who is gone.
    host.stat(7, "a) (b", 500, 130);
    host.write(9, "stat", "9 (kworker/0:1) I 2 0 0 0 -1 69238880 0 0 0 0 0 40 0 0 20 0 1 0 5 0 0 0 0\n");
    let sample = host.sample(&mut table, 100);
    assert_eq!(row(&sample, 7).unwrap().cpu_us, 1_300_000);
    assert!(row(&sample, 9).is_some(), "threads of the kernel have rows too");
    // Of two processors forty ticks are 20 %.
    assert_eq!(reading(&sample, "unit.cpu:web.service"), Some(20.0));
    assert_eq!(reading(&sample, "unit.cpu:kernel"), Some(5.0));
    assert_eq!(reading(&sample, "processes.cpu_unseen"), Some(25.0));
}

#[test]
fn one_that_rests_is_looked_at_when_time_is_missing() {
    let mut host = Host::new();
    host.stat(7, "quiet", 500, 90);
    let mut table = Table::new(LONG, LONG);
    let rests = |table: &Table| {
        table.entries[0].idle_looks >= REST_AFTER && !table.entries[0].turn(table.second + 1, REST_S)
    };
    let mut waited = 0;
    host.sample(&mut table, 1);
    while !rests(&table) {
        host.sample(&mut table, 1);
        waited += 1;
        assert!(waited < 20);
    }
    // So little that it could be rounding: it is seen when it is its turn.
    host.stat(7, "quiet", 500, 92);
    let sample = host.sample(&mut table, 2);
    assert_eq!(sample.processes.looked_at, 1, "one that rests is accounted for");
    assert_eq!(row(&sample, 7).unwrap().cpu_us, 900_000);
    let mut seconds = 1;
    while row(&host.sample(&mut table, 0), 7).unwrap().cpu_us != 920_000 {
        seconds += 1;
        assert!(seconds < REST_S);
    }
    while !rests(&table) {
        host.sample(&mut table, 1);
    }
    // A process that wakes up and takes half a processor is seen in the same second.
    host.stat(7, "quiet", 500, 142);
    let sample = host.sample(&mut table, 50);
    assert_eq!(row(&sample, 7).unwrap().cpu_us, 1_420_000);
}

#[test]
fn a_pass_that_is_cut_goes_on_where_it_was_cut() {
    let mut host = Host::new();
    const PROCESSES: u32 = 100;
    for pid in 1..=PROCESSES {
        host.stat(pid, "many", 500, 10);
    }
    // No time at all: only as many are looked at as between two looks at the clock.
    let mut table = Table::new(Duration::ZERO, Duration::ZERO);
    let rounds = PROCESSES.div_ceil(STEPS);
    for round in 1..=rounds {
        let sample = host.sample(&mut table, 10);
        assert_eq!(sample.processes.count, PROCESSES);
        assert!(sample.processes.looked_at < PROCESSES || round == rounds, "it says that it was cut");
        let known = table.entries.iter().filter(|entry| entry.known).count();
        assert_eq!(known as u32, (round * STEPS).min(PROCESSES), "round {round}");
    }
    for _ in 0..rounds {
        host.sample(&mut table, 10);
    }
    assert!(table.entries.iter().all(|entry| entry.looked > rounds), "all of them again");
}

#[test]
fn a_number_that_is_used_again_is_another_process() {
    let mut host = Host::new();
    host.stat(7, "first", 500, 90);
    host.write(7, "cmdline", "first\0");
    let mut table = Table::new(LONG, LONG);
    host.sample(&mut table, 1_000);
    host.stat(7, "second", 800, 20);
    host.write(7, "cmdline", "second\0");
    let mut sample = host.sample(&mut table, 20);
    assert_eq!(reading(&sample, "processes.cpu_unseen"), Some(0.0), "all of its time is new, and seen");
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(5));
        sample = host.sample(&mut table, 0);
        if sample.texts.get(row(&sample, 7).unwrap().command) == "second" {
            break;
        }
    }
    let of = row(&sample, 7).unwrap();
    assert_eq!((of.id.start_ticks, of.cpu_us), (800, 200_000));
    assert_eq!((sample.texts.get(of.comm), sample.texts.get(of.command)), ("second", "second"));
    fs::remove_dir_all(host.of(7)).unwrap();
    let sample = host.sample(&mut table, 0);
    assert_eq!(sample.processes.count, 0);
    assert!(sample.processes.busiest.is_empty());
}

/// Whoever reads the command line of a process that holds its memory's lock waits; the others still get their texts.
#[test]
fn one_that_hangs_takes_nobodys_name() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let mut host = Host::new();
    host.stat(7, "hangs", 500, 90);
    // It is opened for reading as long as nobody writes.
    mknodat(CWD, host.of(7).join("cmdline"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let mut table = Table::new(LONG, LONG);
    host.sample(&mut table, 1_000);
    host.stat(8, "lives", 600, 50);
    host.write(8, "cmdline", "lives");
    let named = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(2));
        host.stat(8, "lives", 600, 50 + u64::from(table.second));
        let sample = host.sample(&mut table, 1);
        row(&sample, 8).is_some_and(|row| sample.texts.get(row.command) == "lives")
    });
    assert!(named);
    assert!(table.second > STUCK_S, "the first thread hangs");
}

#[test]
fn rubbish_is_no_process() {
    let mut host = Host::new();
    for (pid, text) in [(1, ""), (2, "2 (x"), (3, "3 (x) S"), (4, "\u{0}\u{ff}")] {
        host.write(pid, "stat", text);
    }
    fs::create_dir_all(host.of(5)).unwrap();
    host.stat(6, "right", 500, 1);
    host.write(6, "io", "read_bytes: x\n");
    host.write(6, "cgroup", "\u{0}:::\n");
    host.write(6, "cmdline", [0xff, 0, 0xfe]);
    let mut table = Table::new(LONG, LONG);
    for _ in 0..3 {
        let sample = host.sample(&mut table, 10);
        assert_eq!(sample.processes.count, 6);
        assert_eq!(sample.processes.busiest.len(), 1);
    }
}

/// What a program used that began and ended between two samples is not lost.
#[test]
fn short_lives_are_told_of_as_unseen() {
    let mut table = Table::new(LONG, LONG);
    let mut sample = crate::Sampler::empty();
    let mut look = || {
        sample.readings.clear();
        table.sample(&Root::host(), &mut sample).unwrap();
        let cores = f64::from(procfs::Stat::parse(&fs::read("/proc/stat").unwrap()).unwrap().cores);
        // In seconds of one processor.
        reading(&sample, "processes.cpu_unseen").unwrap() * cores / 100.0
    };
    look();
    std::thread::sleep(Duration::from_millis(200));
    let before = look();
    let lives =
        "for i in 1 2 3 4 5 6 7 8; do sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; done";
    let begun = Instant::now();
    assert!(Command::new("sh").args(["-c", lives]).status().unwrap().success());
    let unseen = look() - before;
    assert!(unseen > 0.1, "{unseen} s of up to {:?}", begun.elapsed());
}

/// A program that runs is seen with the time that it used, and with what it is called.
#[test]
fn a_live_process_is_seen() {
    let mut table = Table::new(LONG, LONG);
    let mut child = Command::new("sh").args(["-c", "ulimit -t 20; while :; do :; done"]).spawn().unwrap();
    let mut sample = crate::Sampler::empty();
    let mut seen = None;
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(100));
        sample.readings.clear();
        sample.processes.busiest.clear();
        sample.texts.clear();
        table.sample(&Root::host(), &mut sample).unwrap();
        seen = row(&sample, child.id()).map(|row| {
            (row.cpu_us, row.state, row.user, row.handles, sample.texts.get(row.command).to_owned())
        });
        // The text is answered aside.
        if seen.as_ref().is_some_and(|(cpu_us, _, _, _, command)| *cpu_us >= 200_000 && !command.is_empty()) {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let (cpu_us, state, user, handles, command) = seen.unwrap();
    assert!(cpu_us >= 200_000);
    assert_eq!((char::from(state), command.as_str()), ('R', "sh -c ulimit -t 20; while :; do :; done"));
    assert_eq!(user, rustix::process::geteuid().as_raw());
    assert!(handles.is_some_and(|handles| handles >= 3), "{handles:?}");
}
