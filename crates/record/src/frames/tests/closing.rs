//! Rows that become columns while others look, and what is read of them one vital or one moment at a time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::frames::{Point, moment, vital};

/// Small ones, so that much is closed in little time.
fn small() -> Limits {
    Limits { segment_bytes: 4 * 1024, ..limits() }
}

#[test]
fn nothing_is_lost_or_doubled_for_a_reader_while_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    let count = 6000;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|nth| {
                let (done, dir) = (&done, dir.path());
                scope.spawn(move || {
                    let (mut rounds, mut seen) = (0, 0);
                    loop {
                        let last = done.load(Ordering::Relaxed);
                        let moments: Vec<Time> = if nth == 0 {
                            let cursor = frames(dir, Time::ZERO, at(count)).unwrap();
                            cursor.readings_only().map(|sample| sample.unwrap().at).collect()
                        } else {
                            let series = vital(dir, "net.rx", Time::ZERO, at(count)).unwrap();
                            series.points.iter().map(|point| point.at).collect()
                        };
                        let expected: Vec<Time> = (0..moments.len() as i64).map(at).collect();
                        assert_eq!(moments, expected, "round {rounds} of reader {nth}");
                        assert!(moments.len() >= seen, "what was there is gone");
                        seen = moments.len();
                        rounds += 1;
                        if last {
                            assert_eq!(seen as i64, count);
                            return rounds;
                        }
                    }
                })
            })
            .collect();
        let mut writer = Frames::open(dir.path(), small()).unwrap();
        let mut closed = HashSet::new();
        for second in 0..count {
            writer.append(&sample(second)).unwrap();
            if second % 100 == 0 {
                closed.extend(files(dir.path(), COLUMNS));
            }
        }
        drop(writer);
        done.store(true, Ordering::Relaxed);
        assert!(closed.len() > 5, "{} were closed meanwhile", closed.len());
        for reader in readers {
            assert!(reader.join().unwrap() > 2);
        }
    });
}

#[test]
fn whoever_dies_while_closing_leaves_nothing_that_counts_twice() {
    let dir = tempfile::tempdir().unwrap();
    let samples = written(dir.path(), 300, limits());
    let rows = only(dir.path(), ROWS);
    let kept = fs::read(&rows).unwrap();
    settle(dir.path());
    let columns = only(dir.path(), COLUMNS);
    let whole = fs::read(&columns).unwrap();

    // Before the row file was removed; and before the columns were whole.
    fs::write(&rows, &kept).unwrap();
    fs::write(columns.with_extension("tmp"), &whole[..whole.len() / 2]).unwrap();
    assert!(same(&all(dir.path()).0, &samples));
    settle(dir.path());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(same(&all(dir.path()).0, &samples));

    // Columns that are no use do not cost the rows.
    fs::write(&rows, &kept).unwrap();
    fs::write(&columns, "").unwrap();
    assert!(same(&all(dir.path()).0, &samples));
    settle(dir.path());
    assert!(same(&all(dir.path()).0, &samples));
}

#[test]
fn an_hour_ends_where_the_clock_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), limits()).unwrap();
    // Ten seconds around each of two full hours.
    for second in (3595..3605).chain(7195..7205) {
        writer.append(&sample(second)).unwrap();
    }
    writer.settle().unwrap();
    assert_eq!(files(dir.path(), COLUMNS).len(), 2);
    assert_eq!(files(dir.path(), ROWS).len(), 1);
    assert_eq!(all(dir.path()).0.len(), 20);
}

#[test]
fn one_vital_and_one_moment_are_what_a_cursor_finds() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), small()).unwrap();
    let samples: Vec<Sample> = (0..1400).filter(|second| second % 97 > 3).map(sample).collect();
    for (nth, sample) in samples.iter().enumerate() {
        writer.append(sample).unwrap();
        if nth == 1000 {
            writer.settle().unwrap();
        }
    }
    assert!(!files(dir.path(), ROWS).is_empty() && files(dir.path(), COLUMNS).len() > 3);
    for name in ["load.1", "disk.used:/var", "no.such"] {
        for (from, to) in
            [(at(0), at(2000)), (at(2), at(9)), (at(333), at(1111)), (at(1390), at(1395)), (at(9), at(2))]
        {
            let expected: Vec<Point> = samples
                .iter()
                .filter(|sample| sample.at >= from && sample.at <= to)
                .flat_map(|sample| {
                    let reading = sample.readings.iter().find(|reading| reading.name == *name);
                    reading.map(|reading| Point { at: sample.at, value: reading.value })
                })
                .collect();
            let series = vital(dir.path(), name, from, to).unwrap();
            assert_eq!(series.points, expected, "{name} {from:?} {to:?}");
            assert!(series.minutes.is_empty() && series.losses == Losses::default());
            assert!(expected.is_empty() || series.unit == if name == "load.1" { "" } else { "%" });
        }
    }
    for second in (0..1500).step_by(13) {
        let expected = samples.iter().rfind(|sample| sample.at <= at(second));
        let (found, losses) = moment(dir.path(), at(second)).unwrap();
        assert_eq!(found.as_ref().map(told), expected.map(told), "{second}");
        assert_eq!(losses, Losses::default());
    }
    assert_eq!(moment(dir.path(), at(-1)).unwrap().0, None);
}

#[test]
fn a_sample_that_is_too_large_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Frames::open(dir.path(), limits()).unwrap();
    let mut draw = fastrand::Rng::with_seed(1);
    for second in 0..100 {
        let mut sample = sample(second);
        if second == 30 {
            let name = |draw: &mut fastrand::Rng| (0..64).map(|_| draw.alphanumeric()).collect::<String>();
            let many =
                (0..8000).map(|_| Reading { name: name(&mut draw).into(), ..sample.readings[0].clone() });
            sample.readings.extend(many.collect::<Vec<_>>());
        }
        writer.append(&sample).unwrap();
    }
    assert_eq!(writer.dropped(), 1);
    drop(writer);
    let (read, losses) = all(dir.path());
    assert!(same(&read, &(0..100).filter(|second| *second != 30).map(sample).collect::<Vec<_>>()));
    assert_eq!(losses, Losses::default());
}

#[test]
fn closing_waits_for_room_and_loses_nothing() {
    let Some(mount) = SmallDisk::mount() else { return };
    let dir = mount.0.path().join("frames");
    let samples = written(&dir, 900, limits());
    let rows = places::bytes(&only(&dir, ROWS));
    let ballast = mount.0.path().join("ballast");
    let _ = fs::write(&ballast, vec![0; 256 * 1024 - rows as usize - 8192]);
    let mut writer = Frames::open(&dir, limits()).unwrap();
    let failed = writer.settle();
    assert!(matches!(failed, Err(Error::DiskFull { .. })), "{failed:?}");
    assert!(same(&all(&dir).0, &samples));
    fs::remove_file(&ballast).unwrap();
    // A minute later it is tried again.
    for second in 900..1200 {
        writer.append(&sample(second)).unwrap();
    }
    writer.settle().unwrap();
    assert_eq!((files(&dir, COLUMNS).len(), files(&dir, ROWS).len()), (1, 1));
    assert_eq!(all(&dir).0.len(), 1200);
}
