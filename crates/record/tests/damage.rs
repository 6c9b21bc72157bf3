//! Any file of the record cut or flipped anywhere: the record opens, what is read is what was written, what is lost is one
//! segment at most and is said, and the next writer goes on.
//!
//! `TOBAN_DAMAGES=2000` does it so often; the default is quick.
#![expect(clippy::expect_used, reason = "it is a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toban_model::{Reading, ReadingKind, Sample, Time};
use toban_record::frames::{Frames, Limits, Losses, frames, moment, vital};
use toban_record::{DATABASE, FRAMES, Record};

const BEGIN: i64 = 1_608_800_400;
const HOURS: i64 = 5;
/// Of so many seconds each sample stands for one.
const STEP: i64 = 4;

fn limits() -> Limits {
    Limits { segment_bytes: 8 * 1024, retain_bytes: 40 * 1024, sync: Duration::MAX }
}

fn sample(second: i64) -> Sample {
    let reading = |nth: i64| Reading {
        name: format!("v.{nth}").into(),
        value: (second * nth * nth % 977) as f64 / 8.0,
        unit: "".into(),
        kind: ReadingKind::Gauge,
    };
    let at = Time::from_secs(BEGIN + second);
    Sample { at, readings: (1..8).map(reading).collect(), ..Sample::default() }
}

/// A record with files of every kind, one of which is being written.
fn written(dir: &Path) -> Frames {
    let record = Record::open(dir).expect("a new record");
    for second in 0..30 {
        let at = Time::from_secs(BEGIN + second);
        let incident = record.open_incident(at, at, &[]).expect("it can be written");
        record.end_incident(incident.id, at).expect("it is there");
    }
    let mut writer = Frames::open(&dir.join(FRAMES), limits()).expect("a new directory");
    for second in (0..HOURS * 3600 - 600).step_by(STEP as usize) {
        writer.append(&sample(second)).expect("there is room");
        if second % 600 == 0 {
            writer.settle().expect("there is room");
        }
    }
    writer.settle().expect("there is room");
    writer
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("it is there").map(|entry| entry.expect("an entry").path());
    let mut all: Vec<PathBuf> = entries.collect();
    all.sort();
    all
}

fn read(dir: &Path) -> (BTreeMap<Time, Sample>, Losses) {
    let mut cursor = frames(dir, Time::ZERO, Time::from_secs(i64::MAX / 2_000_000)).expect("it always opens");
    let samples = cursor.by_ref().map(|sample| sample.expect("damage is no error"));
    let samples = samples.map(|sample| (sample.at, sample)).collect();
    (samples, cursor.losses())
}

#[test]
fn any_file_may_be_cut_or_flipped_anywhere() {
    let rounds: u32 = std::env::var("TOBAN_DAMAGES").ok().and_then(|n| n.parse().ok()).unwrap_or(120);
    let whole = tempfile::tempdir().expect("a directory");
    let writer = written(whole.path());
    let of_frames = files(&whole.path().join(FRAMES));
    let mut all: Vec<PathBuf> = of_frames.clone();
    all.push(whole.path().join(DATABASE));
    for kind in ["tbf", "tbc", "tbm"] {
        assert!(of_frames.iter().any(|path| path.extension().is_some_and(|e| e == kind)), "no {kind}");
    }
    let (before, losses) = read(&whole.path().join(FRAMES));
    assert_eq!(losses, Losses::default());
    let mut draw = fastrand::Rng::new();
    let (mut lost_most, mut aside) = (0, 0);
    for round in 0..rounds {
        let damaged = tempfile::tempdir().expect("a directory");
        fs::create_dir(damaged.path().join(FRAMES)).expect("it is new");
        for path in &all {
            let name = path.strip_prefix(whole.path()).expect("it is below");
            fs::copy(path, damaged.path().join(name)).expect("there is room");
        }
        let name = all[draw.usize(..all.len())].strip_prefix(whole.path()).expect("it is below");
        let path = damaged.path().join(name);
        let mut bytes = fs::read(&path).expect("it was copied");
        let place = draw.usize(..bytes.len());
        let cut = draw.bool();
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << draw.u8(0..8);
        }
        fs::write(&path, &bytes).expect("it was copied");
        let what =
            format!("round {round}: {} {} {place}", name.display(), if cut { "cut at" } else { "byte" });

        let kind = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        match Record::open(damaged.path()) {
            Ok(record) => aside += u32::from(record.set_aside().is_some()),
            Err(error) => {
                // One of the four bytes that say who wrote it: a newer toban's is never touched.
                let newer = matches!(error, toban_record::Error::TooNew { .. });
                assert!(kind == "db" && !cut && (60..64).contains(&place) && newer, "{what}: {error}");
            }
        }

        let dir = damaged.path().join(FRAMES);
        let (after, losses) = read(&dir);
        for (at, sample) in &after {
            let was = before.get(at).unwrap_or_else(|| panic!("{what}: {at:?} was made up"));
            let is_of = sample.readings.iter().all(|reading| was.readings.contains(reading));
            assert!(is_of, "{what}: {sample:?}");
        }
        let lost = before.len() - after.len();
        let poorer = after.iter().any(|(at, sample)| before[at] != *sample);
        lost_most = lost_most.max(lost);
        // Rows that end between two records are what a crash before the next one leaves.
        let said = losses != Losses::default() || kind == "tbf" && cut;
        assert!(said || lost == 0 && !poorer, "{what}: {lost} samples were lost, and it is not said");
        if matches!(kind.as_str(), "tbm" | "db") {
            assert!(lost == 0 && !poorer, "{what}");
        }
        let of_file = before.keys().filter(|at| !after.contains_key(at));
        let hours: Vec<i64> = of_file.map(|at| at.as_secs() / 3600).collect();
        assert!(hours.iter().all(|hour| *hour == hours[0]), "{what}: more than one segment was lost");

        let end = Time::from_secs(BEGIN + HOURS * 3600);
        let series = vital(&dir, "v.3", Time::ZERO, end).expect("damage is no error");
        assert!(series.points.len() <= before.len(), "{what}");
        moment(&dir, end).expect("damage is no error");
        let mut next = Frames::open(&dir, limits()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let new = sample(HOURS * 3600 + 60);
        next.append(&new).unwrap_or_else(|error| panic!("{what}: {error}"));
        next.flush().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(moment(&dir, new.at).expect("damage is no error").0, Some(new), "{what}");
    }
    drop(writer);
    eprintln!("{rounds} rounds, {lost_most} samples lost at most, {aside} databases set aside");
}
