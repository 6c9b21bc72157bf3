//! Seconds that there is no room for become minutes, and these go last.

use super::*;
use crate::frames::vital;

const HOUR: i64 = 3600;

/// Six hours with one sample in four seconds, in very little room.
fn a_quarter_day(dir: &Path) -> (Vec<Sample>, Limits) {
    let tight = Limits { segment_bytes: 8 * 1024, retain_bytes: 80 * 1024, ..limits() };
    let samples: Vec<Sample> = (0..6 * HOUR).step_by(4).map(sample).collect();
    let mut writer = Frames::open(dir, tight).unwrap();
    for sample in &samples {
        writer.append(sample).unwrap();
        if sample.at.as_secs() % 600 == 0 {
            writer.settle().unwrap();
        }
    }
    writer.settle().unwrap();
    (samples, tight)
}

#[test]
fn what_there_is_no_room_for_becomes_minutes() {
    let dir = tempfile::tempdir().unwrap();
    let (samples, tight) = a_quarter_day(dir.path());
    let sum = |suffix: &str| files(dir.path(), suffix).iter().map(|path| places::bytes(path)).sum::<u64>();
    assert!(sum(COLUMNS) + sum(ROWS) + sum(MINUTES) <= tight.retain_bytes);
    let (read, losses) = all(dir.path());
    assert_eq!(losses, Losses::default());
    assert!(read.len() > 1000 && read.len() < samples.len() - 1000, "{}", read.len());
    assert!(same(&read, &samples[samples.len() - read.len()..]));

    for (name, counter) in [("load.1", false), ("net.rx", true), ("disk.used:/var", false)] {
        let series = vital(dir.path(), name, Time::ZERO, at(6 * HOUR)).unwrap();
        assert_eq!(series.points.len(), read.len());
        let (mut minutes, first) = (series.minutes, read[0].at);
        // The minute that the seconds begin in is told by them; all minutes before it are there.
        assert!(minutes.iter().all(|minute| minute.at + Duration::from_secs(60) <= first));
        let whole = (first.as_secs() - BEGIN) / 60;
        assert!(
            (whole - 1..=whole).contains(&(minutes.len() as i64)),
            "{name}: {} of {whole}",
            minutes.len()
        );
        // A file that ended within a minute cost its counters the step to the next one.
        minutes.retain(|minute| minute.seconds == 15);
        assert!(minutes.len() as i64 > whole * 3 / 4, "{name}: {} whole ones of {whole}", minutes.len());
        for minute in minutes {
            let end = minute.at + Duration::from_secs(60);
            let within = |at: Time| at >= minute.at && at < end;
            let value = |sample: &Sample| sample.readings.iter().find(|r| r.name == *name).map(|r| r.value);
            let values: Vec<f64> = samples
                .windows(2)
                .filter(|pair| within(pair[1].at))
                .filter_map(|pair| {
                    let (before, now) = (value(&pair[0])?, value(&pair[1])?);
                    Some(if counter { (now - before) / 4.0 } else { now })
                })
                .collect();
            if values.len() != 15 {
                continue;
            }
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let near = |kept: f64, was: f64| (kept - was).abs() <= was.abs() / 2000.0;
            assert!(near(minute.mean, mean), "{name} {minute:?} {mean}");
            assert!(near(minute.low, values.iter().copied().fold(f64::MAX, f64::min)), "{name} {minute:?}");
            assert!(near(minute.high, values.iter().copied().fold(f64::MIN, f64::max)), "{name} {minute:?}");
        }
    }
    let asked = vital(dir.path(), "load.1", at(600), at(700)).unwrap();
    assert_eq!(asked.minutes.iter().map(|minute| minute.at).collect::<Vec<_>>(), [at(600), at(660)]);
}

#[test]
fn folding_twice_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 600, limits());
    settle(dir.path());
    let columns = only(dir.path(), COLUMNS);
    let kept = fs::read(&columns).unwrap();
    let nothing = Limits { retain_bytes: 8192, ..limits() };
    let mut before = None;
    for round in 0..2 {
        // Somebody died after writing the minutes and before removing the seconds.
        fs::write(&columns, &kept).unwrap();
        Frames::open(dir.path(), nothing).unwrap().settle().unwrap();
        assert!(files(dir.path(), COLUMNS).is_empty());
        let minutes = vital(dir.path(), "load.1", Time::ZERO, at(600)).unwrap().minutes;
        assert_eq!(minutes.len(), 10, "round {round}");
        assert!(minutes.iter().all(|minute| minute.seconds == 60));
        assert_eq!(before.get_or_insert(minutes.clone()), &minutes);
    }
}

#[test]
fn the_oldest_minutes_go_last() {
    let dir = tempfile::tempdir().unwrap();
    // Less than one segment: all seconds become minutes.
    let tight = Limits { retain_bytes: 12 * 1024, ..limits() };
    for day in 0..6 {
        let mut writer = Frames::open(dir.path(), tight).unwrap();
        for second in 0..300 {
            writer.append(&sample(day * 24 * HOUR + second)).unwrap();
        }
        drop(writer);
    }
    Frames::open(dir.path(), tight).unwrap().settle().unwrap();
    let days = places::days(dir.path()).unwrap();
    assert!((1..6).contains(&days.len()), "{days:?}");
    assert_eq!(days.last().unwrap().0, at(5 * 24 * HOUR).bucket(Duration::from_secs(86_400)));
    let bytes: u64 = days.iter().map(|(_, path)| places::bytes(path)).sum();
    assert!(bytes <= tight.retain_bytes / 8);
}
