//! What is written, cut, flipped, closed and filled up, and what a reader still finds in it.

mod closing;
mod damage;
mod minutes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use toban_model::{
    ProcessId, ProcessUse, Processes, Reading, ReadingKind, Sample, SocketCount, Span, TcpState, Texts, Time,
};

use super::places::{self, COLUMNS, MINUTES, ROWS};
use super::{Cursor, Frames, HEADER_BYTES, Limits, Losses, frames, wire};
use crate::Error;

/// A full hour.
const BEGIN: i64 = 1_608_800_400;

const fn reading(name: &'static str, unit: &'static str, kind: ReadingKind, value: f64) -> (Named, f64) {
    ((name, unit, kind), value)
}

type Named = (&'static str, &'static str, ReadingKind);

/// What version 1 wrote once, and has to be readable for ever.
fn readings(second: i64) -> Vec<Reading> {
    use ReadingKind::{Counter, Gauge};
    let mut readings = vec![
        reading("load.1", "", Gauge, 0.3 + second as f64 / 7.0),
        reading("net.rx", "B/s", Counter, 1e12 + second as f64),
        reading("apache.workers.busy", "", Gauge, 300.0),
        reading("memory.used", "%", Gauge, 61.5),
    ];
    if second > 3 {
        readings.push(reading("disk.used:/var", "%", Gauge, -0.0));
    }
    let made = |((name, unit, kind), value): (Named, f64)| Reading {
        name: name.into(),
        value,
        unit: unit.into(),
        kind,
    };
    readings.into_iter().map(made).collect()
}

/// A sample with everything in it: rows that stay, come, go and come back, and texts that change.
fn sample(second: i64) -> Sample {
    let nth = second as u64;
    let mut texts = Texts::default();
    let wait = texts.push(if second % 5 == 0 { "" } else { "do_epoll_wait" });
    let busiest = (0..6).filter(|pid| (second / 3 + pid) % 4 != 0).map(|pid| ProcessUse {
        id: ProcessId { pid: 100 + pid as u32, start_ticks: 77 },
        parent: 1,
        user: 33,
        state: if (second + pid) % 3 == 0 { b'R' } else { b'S' },
        threads: 1 + (nth / 9) as u32,
        cpu_us: nth * 10_000 * pid as u64,
        resident: (1 << 40) - nth * 4096,
        handles: (pid != 2).then_some(pid as u32),
        read: (second % 7 != 0).then_some(nth),
        written: (pid != 3).then_some(u64::MAX / 2 + nth),
        comm: texts.push("php-fpm"),
        command: texts.push(&format!("php-fpm: pool www{pid} {}", second / 100)),
        group: texts.push("/system.slice/php-fpm.service"),
        waits_in: wait,
    });
    let busiest: Vec<ProcessUse> = busiest.collect();
    let sockets = |state, peers: Option<&str>, count| SocketCount {
        state,
        port: 443,
        peers: peers.map(|peers| peers.parse().unwrap()),
        count,
    };
    Sample {
        at: Time::from_secs(BEGIN + second),
        took_us: 812,
        late_us: (nth * nth % 97) as u32,
        readings: readings(second),
        processes: Processes { count: 200 + (nth % 3) as u32, looked_at: 200 - (nth % 2) as u32, busiest },
        sockets: vec![
            sockets(TcpState::Established, None, 40 + (nth % 5) as u32),
            sockets(TcpState::TimeWait, None, 7),
            sockets(TcpState::Established, Some("192.0.2.0/24"), 30),
            sockets(TcpState::Established, Some("2001:db8:7::/48"), 1 + (nth % 11) as u32),
        ],
        texts,
    }
}

/// The same sample with its texts laid out anew: what is equal means the same.
fn told(sample: &Sample) -> Sample {
    let mut texts = Texts::default();
    let mut again = |span: Span| texts.push(sample.texts.get(span));
    let mut busiest: Vec<ProcessUse> = sample.processes.busiest.clone();
    busiest.sort_by_key(|process| (process.id.pid, process.id.start_ticks));
    for process in &mut busiest {
        process.comm = again(process.comm);
        process.command = again(process.command);
        process.group = again(process.group);
        process.waits_in = again(process.waits_in);
    }
    let processes = Processes { busiest, ..sample.processes.clone() };
    Sample { processes, texts, ..sample.clone() }
}

fn same(read: &[Sample], written: &[Sample]) -> bool {
    read.len() == written.len() && read.iter().zip(written).all(|(read, written)| told(read) == told(written))
}

fn at(second: i64) -> Time {
    Time::from_secs(BEGIN + second)
}

/// A test's disk is not to be waited for.
fn limits() -> Limits {
    Limits { sync: Duration::from_secs(600), ..Limits::default() }
}

/// A directory whose writer has gone, of samples 0..count.
fn written(dir: &Path, count: i64, limits: Limits) -> Vec<Sample> {
    let mut frames = Frames::open(dir, limits).unwrap();
    let samples: Vec<Sample> = (0..count).map(sample).collect();
    for sample in &samples {
        frames.append(sample).unwrap();
    }
    samples
}

/// Closes everything.
fn settle(dir: &Path) {
    Frames::open(dir, limits()).unwrap().settle().unwrap();
}

fn all(dir: &Path) -> (Vec<Sample>, Losses) {
    drain(frames(dir, Time::ZERO, Time::from_secs(i64::MAX)).unwrap())
}

fn drain(mut cursor: Cursor) -> (Vec<Sample>, Losses) {
    let samples = cursor.by_ref().map(Result::unwrap).collect();
    (samples, cursor.losses())
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == suffix));
    files.sort();
    files
}

fn only(dir: &Path, suffix: &str) -> PathBuf {
    let files = files(dir, suffix);
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[test]
fn what_was_written_is_read_back_bit_by_bit_before_and_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 1500, limits());
    for closed in [false, true] {
        if closed {
            settle(dir.path());
            assert!(files(dir.path(), ROWS).is_empty());
            assert_eq!(files(dir.path(), COLUMNS).len(), 1);
        }
        let (read, losses) = all(dir.path());
        assert!(same(&read, &samples), "closed: {closed}");
        assert!(read[5].readings[4].value.is_sign_negative());
        assert_eq!(losses, Losses::default());
        let (middle, _) = drain(frames(dir.path(), at(595), at(1210)).unwrap());
        assert!(same(&middle, &samples[595..=1210]));
        let (light, _) = drain(frames(dir.path(), at(5), at(700)).unwrap().readings_only());
        assert_eq!(light.len(), 696);
        assert!(light.iter().zip(&samples[5..]).all(|(a, b)| a.readings == b.readings && a.at == b.at));
        assert!(light.iter().all(|sample| sample.processes.busiest.is_empty()));
    }
}

#[test]
fn version_1_stays_readable() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/frames/fixtures/version-1.tbf");
    let dir = tempfile::tempdir().unwrap();
    fs::copy(&fixture, dir.path().join(format!("{:020}.tbf", 1_608_800_000_000_000u64))).unwrap();
    let old = |second: i64| Sample {
        at: Time::from_secs(1_608_800_000 + second),
        took_us: 812,
        late_us: 3,
        readings: readings(second),
        ..Sample::default()
    };
    for closed in [false, true] {
        if closed {
            settle(dir.path());
            only(dir.path(), COLUMNS);
        }
        let (read, losses) = all(dir.path());
        assert_eq!(read, (0..20).map(old).collect::<Vec<_>>(), "closed: {closed}");
        assert_eq!(losses, Losses::default());
        let series = super::vital(dir.path(), "load.1", old(3).at, old(5).at).unwrap();
        assert_eq!(series.points.len(), 3);
        assert_eq!(series.points[0].value, old(3).readings[0].value);
        assert_eq!(super::moment(dir.path(), old(7).at).unwrap().0, Some(old(7)));
    }
}

#[test]
fn a_killed_writer_loses_nothing_that_it_had_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), limits()).unwrap();
    for second in 0..10 {
        writer.append(&sample(second)).unwrap();
    }
    // As kill -9 does: no drop runs, the lock goes with the process (here: with the file that is leaked).
    std::mem::forget(writer);
    let (read, losses) = all(dir.path());
    assert_eq!(read.len(), 10);
    assert_eq!(losses, Losses::default());
}

#[test]
fn a_second_writer_leaves_the_first_ones_segment_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Frames::open(dir.path(), limits()).unwrap();
    first.append(&sample(0)).unwrap();
    let mut second = Frames::open(dir.path(), limits()).unwrap();
    assert_eq!(second.torn_bytes(), 0);
    second.append(&sample(1)).unwrap();
    second.settle().unwrap();
    first.append(&sample(2)).unwrap();
    second.append(&sample(3)).unwrap();
    drop((first, second));
    let (mut read, losses) = all(dir.path());
    read.sort_by_key(|sample| sample.at);
    assert!(same(&read, &[0, 1, 2, 3].map(sample)));
    assert_eq!(losses, Losses::default());
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), limits()).unwrap();
    for second in [50, 51, 20, 21, 20] {
        writer.append(&sample(second)).unwrap();
    }
    drop(writer);
    for closed in [false, true] {
        if closed {
            settle(dir.path());
        }
        let (read, losses) = all(dir.path());
        assert_eq!((read.len(), losses), (5, Losses::default()));
        let (early, _) = drain(frames(dir.path(), at(0), at(30)).unwrap());
        assert_eq!(early.len(), 3);
        for (asked, newest) in [(30, Some(21)), (60, Some(51)), (50, Some(50)), (19, None)] {
            let (found, _) = super::moment(dir.path(), at(asked)).unwrap();
            assert_eq!(found.map(|found| found.at), newest.map(at), "{asked}");
        }
    }
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("x.tbf"), "mine").unwrap();
    fs::write(dir.path().join("00000000000000000007.tbf"), "something that is not a segment at all").unwrap();
    assert_eq!(all(dir.path()).1.unreadable_segments, 1);
    written(dir.path(), 3, limits());
    settle(dir.path());
    assert!(dir.path().join("notes.txt").exists() && dir.path().join("x.tbf").exists());
    assert_eq!(all(dir.path()).0.len(), 3);
    assert!(all(&dir.path().join("missing")).0.is_empty());
}

#[test]
fn a_full_disk_is_said_and_the_samples_wait() {
    let Some(mount) = SmallDisk::mount() else { return };
    let dir = mount.0.path().join("frames");
    let mut writer = Frames::open(&dir, limits()).unwrap();
    writer.append(&sample(0)).unwrap();
    let ballast = mount.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    let mut failed = 0;
    for second in 1..400 {
        match writer.append(&sample(second)) {
            Err(Error::DiskFull { .. }) => failed += 1,
            other => other.unwrap(),
        }
    }
    assert!(failed > 10, "{failed}");
    fs::remove_file(&ballast).unwrap();
    writer.append(&sample(400)).unwrap();
    drop(writer);
    let (read, losses) = all(&dir);
    assert!(same(&read, &(0..=400).map(sample).collect::<Vec<_>>()));
    assert_eq!(losses, Losses::default());
}

#[test]
fn a_disk_that_stays_full_costs_samples_and_not_memory() {
    let Some(mount) = SmallDisk::mount() else { return };
    let dir = mount.0.path().join("frames");
    let mut writer = Frames::open(&dir, limits()).unwrap();
    writer.append(&sample(0)).unwrap();
    let ballast = mount.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    // Over the end of an hour, so that closing fails as well.
    let mut second = 0;
    while writer.dropped() == 0 {
        second += 1;
        let _ = writer.append(&sample(second));
        assert!(second < 100_000);
    }
    let dropped = writer.dropped();
    fs::remove_file(&ballast).unwrap();
    for after in 1..=10 {
        writer.append(&sample(second + after)).unwrap();
    }
    drop(writer);
    let (read, losses) = all(&dir);
    assert!(same(&read[read.len() - 11..], &(second..=second + 10).map(sample).collect::<Vec<_>>()));
    assert_eq!(read.len() as u64 + dropped, second as u64 + 11);
    assert_eq!(losses, Losses::default());
}

/// A file system of 256 KiB; needs root, and says so without it.
pub(crate) struct SmallDisk(pub(crate) tempfile::TempDir);

impl SmallDisk {
    pub(crate) fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "toban-test"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !done {
            eprintln!("skipped: mounting a small tmpfs needs root");
        }
        done.then_some(SmallDisk(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_samples_come_back(seconds in proptest::collection::vec(proptest::collection::vec((0usize..40, any::<u64>(), 0u8..5), 0..40), 1..5), took in any::<u32>()) {
        let number = |bits: u64, way: u8| match way {
            0 => f64::from_bits(bits),
            1 => (bits >> 12) as f64,
            2 => ((bits >> 40) as f64) / 100.0,
            3 => f64::from(f32::from_bits(bits as u32)),
            _ => -((bits >> 50) as f64) / 10_000.0,
        };
        let samples: Vec<Sample> = (0..).zip(&seconds).map(|(second, values)| {
            let mut sample = Sample { at: at(second), took_us: took, late_us: took / 3, ..Sample::default() };
            for &(name, bits, way) in values {
                // One number for each vital, in the order in which the first sample that had it came.
                let name = format!("v.{name}");
                if sample.readings.iter().all(|reading| reading.name != *name) {
                    let kind = if bits % 2 == 0 { ReadingKind::Gauge } else { ReadingKind::Counter };
                    sample.readings.push(Reading { name: name.into(), value: number(bits, way), unit: "ms".into(), kind });
                }
            }
            for &(pid, bits, way) in values {
                let id = ProcessId { pid: pid as u32, start_ticks: bits };
                if sample.processes.busiest.iter().all(|process| process.id != id) {
                    let comm = sample.texts.push(&format!("{bits}"));
                    sample.processes.busiest.push(ProcessUse {
                        id, parent: took, user: bits as u32, state: way, threads: took, cpu_us: bits, resident: !bits,
                        handles: (way > 1).then_some(bits as u32), read: (way > 2).then_some(bits >> 1), written: None,
                        comm, command: Span::default(), group: comm, waits_in: Span::default(),
                    });
                }
            }
            sample
        }).collect();
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Frames::open(dir.path(), limits()).unwrap();
        for sample in &samples {
            writer.append(sample).unwrap();
        }
        drop(writer);
        // A number may be none, so bits are compared.
        let bits = |sample: &Sample| {
            let mut bits: Vec<_> = sample.readings.iter().map(|r| (r.name.to_string(), r.value.to_bits(), r.kind)).collect();
            bits.sort_by(|a, b| a.0.cmp(&b.0));
            (bits, told(&Sample { readings: Vec::new(), ..sample.clone() }))
        };
        for closed in [false, true] {
            if closed {
                settle(dir.path());
            }
            let (read, losses) = all(dir.path());
            prop_assert_eq!(losses, Losses::default());
            prop_assert_eq!(read.iter().map(bits).collect::<Vec<_>>(), samples.iter().map(bits).collect::<Vec<_>>());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), kind in 0..5, framed in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = match kind { 0 => Vec::new(), 1 => wire::header(1, Time::ZERO).to_vec(), _ => wire::header(2, Time::ZERO).to_vec() };
        if framed {
            wire::record(&mut file, |out| out.extend(&bytes));
        } else {
            file.extend(&bytes);
        }
        fs::write(dir.path().join(format!("{:020}.{}", 0, if kind > 2 { COLUMNS } else { ROWS })), file).unwrap();
        fs::write(dir.path().join(format!("{:020}.{MINUTES}", 0)), &bytes).unwrap();
        let _ = all(dir.path());
        let _ = super::vital(dir.path(), "load.1", Time::ZERO, at(0)).unwrap();
        let _ = super::moment(dir.path(), at(0)).unwrap();
        let _ = Frames::open(dir.path(), limits()).unwrap().settle();
    }
}
