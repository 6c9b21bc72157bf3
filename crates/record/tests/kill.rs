//! kill -9 at random moments: what was appended is there, nothing twice, and the next writer goes on.
//!
//! `TOBAN_KILLS=200` does it so often; the default is quick.
#![expect(clippy::expect_used, reason = "it is a test")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use toban_model::{Reading, ReadingKind, Sample, Time};
use toban_record::frames::{Frames, Limits, Losses, frames};

/// Writers that follow one another in one directory.
const ROUNDS_OF_ONE: u32 = 20;
const CHILD: &str = "TOBAN_TEST_WRITES_TO";

fn sample(second: i64) -> Sample {
    let reading = |nth: i64| Reading {
        name: format!("v.{nth}").into(),
        value: (second * nth) as f64 / 8.0,
        unit: "".into(),
        kind: ReadingKind::Gauge,
    };
    Sample { at: Time::from_secs(second), readings: (0..40).map(reading).collect(), ..Sample::default() }
}

/// Runs in a process of its own: writes as fast as it can, and says what is appended.
fn write(dir: &Path) -> ! {
    let limits = Limits { segment_bytes: 32 * 1024, ..Limits::default() };
    let mut writer = Frames::open(dir, limits).expect("the directory can be written");
    let next = frames(dir, Time::ZERO, Time::from_secs(i64::MAX)).expect("the directory can be read");
    let mut second = next.last().map_or(0, |sample| sample.expect("a sample").at.as_secs() + 1);
    let mut out = std::io::stdout().lock();
    loop {
        writer.append(&sample(second)).expect("there is room");
        if writeln!(out, "appended {second}").is_err() {
            std::process::exit(0);
        }
        second += 1;
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_loses_nothing_that_it_appended() {
    if let Ok(dir) = std::env::var(CHILD) {
        write(Path::new(&dir));
    }
    let rounds: u32 = std::env::var("TOBAN_KILLS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let mut dir = tempfile::tempdir().expect("a directory");
    let me = std::env::current_exe().expect("a test is a program");
    let mut draw = fastrand::Rng::new();
    let mut torn = 0;
    for round in 0..rounds {
        // Each round reads all that the ones before it wrote.
        if round % ROUNDS_OF_ONE == 0 {
            dir = tempfile::tempdir().expect("a directory");
        }
        let mut child = Command::new(&me)
            .args([
                "--exact",
                "a_writer_that_is_killed_at_any_moment_loses_nothing_that_it_appended",
                "--nocapture",
            ])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let reader = std::thread::spawn(move || {
            let lines = out.lines().map_while(Result::ok);
            lines.filter_map(|line| line.strip_prefix("appended ")?.parse::<i64>().ok()).last()
        });
        std::thread::sleep(Duration::from_micros(draw.u64(0..400_000)));
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        let appended = reader.join().expect("it only reads");

        let mut cursor = frames(dir.path(), Time::ZERO, Time::from_secs(i64::MAX)).expect("it always opens");
        let read: Vec<Sample> = cursor.by_ref().map(|sample| sample.expect("it can be read")).collect();
        let losses = cursor.losses();
        torn += u32::from(losses.torn_bytes > 0);
        assert_eq!(Losses { torn_bytes: 0, ..losses }, Losses::default(), "round {round}");
        assert!(read.len() as i64 > appended.unwrap_or(-1), "round {round}: {} of {appended:?}", read.len());
        for (second, read) in (0..).zip(&read) {
            assert_eq!(*read, sample(second), "round {round}");
        }
    }
    eprintln!("{rounds} rounds, {torn} with a torn tail");
}
