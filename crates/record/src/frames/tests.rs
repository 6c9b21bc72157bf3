//! Segments that were cut, flipped and filled up, and what a cursor still finds in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use toban_model::{Reading, ReadingKind, Sample, Time};

use super::{Cursor, Frames, HEADER_BYTES, Limits, Losses, frames, read};
use crate::Error;

fn sample(second: i64) -> Sample {
    let reading = |name: &str, unit: &str, kind, value| Reading {
        name: name.to_owned().into(),
        value,
        unit: unit.to_owned().into(),
        kind,
    };
    let mut readings = vec![
        reading("load.1", "", ReadingKind::Gauge, 0.3 + second as f64 / 7.0),
        reading("net.rx", "B/s", ReadingKind::Counter, 1e12 + second as f64),
        reading("apache.workers.busy", "", ReadingKind::Gauge, 300.0),
        reading("memory.used", "%", ReadingKind::Gauge, 61.5),
    ];
    if second > 3 {
        readings.push(reading("disk.used:/var", "%", ReadingKind::Gauge, -0.0));
    }
    Sample {
        at: Time::from_secs(1_608_800_000 + second),
        took_us: 812,
        late_us: 3,
        readings,
        ..Sample::default()
    }
}

fn at(second: i64) -> Time {
    sample(second).at
}

fn limits() -> Limits {
    Limits { flush: Duration::ZERO, ..Limits::default() }
}

/// A closed directory of samples 0..count.
fn written(dir: &Path, count: i64, limits: Limits) -> Vec<Sample> {
    let mut frames = Frames::open(dir, limits).unwrap();
    let samples: Vec<Sample> = (0..count).map(sample).collect();
    for sample in &samples {
        frames.append(sample).unwrap();
    }
    samples
}

fn all(dir: &Path) -> (Vec<Sample>, Losses) {
    drain(frames(dir, Time::ZERO, Time::from_secs(i64::MAX)).unwrap())
}

fn drain(mut cursor: Cursor) -> (Vec<Sample>, Losses) {
    let samples = cursor.by_ref().map(Result::unwrap).collect();
    (samples, cursor.losses())
}

fn only_segment(dir: &Path) -> PathBuf {
    let mut segments = read::segments(dir).unwrap();
    assert_eq!(segments.len(), 1);
    segments.remove(0).1
}

#[test]
fn what_was_written_is_read_back_bit_by_bit() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 20, limits());
    let (read, losses) = all(dir.path());
    assert_eq!(read, samples);
    assert!(read[5].readings[4].value.is_sign_negative());
    assert_eq!(losses, Losses::default());
    let (middle, _) = drain(frames(dir.path(), at(5), at(7)).unwrap());
    assert_eq!(middle, samples[5..=7]);
}

#[test]
fn cut_at_every_byte_keeps_every_whole_sample() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 6, limits());
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let (before, losses) = all(dir.path());
        assert_eq!(before, samples[..before.len()], "cut at {len}");

        // The next writer cuts the tail off, writes to a segment of its own, and nothing whole is lost.
        let mut writer = Frames::open(dir.path(), limits()).unwrap();
        writer.append(&sample(100)).unwrap();
        if len >= HEADER_BYTES {
            assert_eq!(writer.torn_bytes(), losses.torn_bytes, "cut at {len}");
        }
        drop(writer);
        let (after, losses) = all(dir.path());
        assert_eq!(after[..before.len()], before);
        assert_eq!(after.last(), Some(&sample(100)));
        assert_eq!(losses, Losses::default(), "cut at {len}");
        fs::remove_dir_all(dir.path()).unwrap();
        fs::create_dir(dir.path()).unwrap();
    }
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_that_it_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 8, limits());
    let path = only_segment(dir.path());
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &bytes).unwrap();
        let (read, losses) = all(dir.path());
        if bit / 8 < HEADER_BYTES {
            assert_eq!((read.len(), losses.unreadable_segments), (0, 1), "bit {bit}");
            continue;
        }
        assert!(read.len() >= samples.len() - 1, "bit {bit}: {} samples", read.len());
        assert_ne!(losses, Losses::default(), "bit {bit} was not noticed");
        for found in &read {
            let original = samples.iter().find(|sample| sample.at == found.at).expect("no sample is made up");
            // The first sample carries the names, so the ones after it may lack readings, never have wrong ones.
            assert!(found.readings.iter().all(|reading| original.readings.contains(reading)), "bit {bit}");
        }
    }
}

#[test]
fn a_killed_writer_loses_what_it_had_not_flushed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), Limits::default()).unwrap();
    for second in 0..10 {
        writer.append(&sample(second)).unwrap();
    }
    // As kill -9 does: no drop runs, the lock goes with the process (here: with the file that is leaked).
    std::mem::forget(writer);
    let (read, losses) = all(dir.path());
    assert_eq!(read.len(), 9, "flushed at 0, 2, 4, 6 and 8");
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
    first.append(&sample(2)).unwrap();
    second.append(&sample(3)).unwrap();
    drop((first, second));
    let (mut read, losses) = all(dir.path());
    read.sort_by_key(|sample| sample.at);
    assert_eq!(read, [0, 1, 2, 3].map(sample));
    assert_eq!(losses, Losses::default());
}

#[test]
fn old_segments_go_when_there_is_too_much() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { segment_bytes: 1024, retain_bytes: 8 * 1024, ..limits() };
    let samples = written(dir.path(), 2000, limits);
    let total: u64 =
        read::segments(dir.path()).unwrap().iter().map(|(_, path)| fs::metadata(path).unwrap().len()).sum();
    assert!(total <= limits.retain_bytes + 256, "{total} bytes");
    let (read, losses) = all(dir.path());
    assert_eq!(read[..], samples[samples.len() - read.len()..]);
    assert!(read.len() > 50);
    assert_eq!(losses, Losses::default());
    // A part of it, across segments.
    let (part, _) = drain(frames(dir.path(), at(1960), at(1980)).unwrap());
    assert_eq!(part, samples[1960..=1980]);
}

#[test]
fn a_clock_that_is_set_back_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), limits()).unwrap();
    for second in [50, 51, 20, 21, 20] {
        writer.append(&sample(second)).unwrap();
    }
    drop(writer);
    let (read, _) = all(dir.path());
    assert_eq!(read.len(), 5);
    let (early, _) = drain(frames(dir.path(), at(0), at(30)).unwrap());
    assert_eq!(early.len(), 3);
}

#[test]
fn other_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    fs::write(dir.path().join("x.tbf"), "mine").unwrap();
    fs::write(dir.path().join("00000000000000000007.tbf"), "something that is not a segment at all").unwrap();
    assert_eq!(all(dir.path()).1.unreadable_segments, 1);
    written(dir.path(), 3, Limits { segment_bytes: 64, retain_bytes: 4096, ..limits() });
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
    for second in 1..200 {
        match writer.append(&sample(second)) {
            Err(Error::DiskFull { .. }) => failed += 1,
            other => other.unwrap(),
        }
    }
    assert!(failed > 10, "{failed}");
    fs::remove_file(&ballast).unwrap();
    writer.append(&sample(200)).unwrap();
    drop(writer);
    let (read, losses) = all(&dir);
    assert_eq!(read, (0..=200).map(sample).collect::<Vec<_>>());
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
    #[test]
    fn any_sample_comes_back(values in proptest::collection::vec((0usize..40, any::<u64>()), 0..60), took in any::<u32>()) {
        let readings = values.iter().map(|&(name, bits)| Reading {
            name: format!("v.{name}").into(),
            value: f64::from_bits(bits),
            unit: "ms".into(),
            kind: if name % 2 == 0 { ReadingKind::Gauge } else { ReadingKind::Counter },
        }).collect();
        let sample = Sample { at: Time::from_secs(7), took_us: took, late_us: took / 3, readings, ..Sample::default() };
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Frames::open(dir.path(), limits()).unwrap();
        writer.append(&sample).unwrap();
        drop(writer);
        let (read, _) = all(dir.path());
        let bits = |sample: &Sample| sample.readings.iter().map(|r| (r.name.to_string(), r.value.to_bits(), r.kind)).collect::<Vec<_>>();
        prop_assert_eq!(bits(&read[0]), bits(&sample));
        prop_assert_eq!(read[0].took_us, took);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), header in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = if header { super::wire::header(Time::ZERO).to_vec() } else { Vec::new() };
        file.extend(bytes);
        fs::write(dir.path().join("00000000000000000000.tbf"), file).unwrap();
        let _ = all(dir.path());
        drop(Frames::open(dir.path(), limits()).unwrap());
    }
}
