//! A log that is written without pause, rotated every second in every way, and followed by a tailer that is stopped and
//! started at random: nothing that the disk holds is lost, nothing is read twice.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests may panic, and say what they measured")]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use toban_collect::tail::{Health, LogId, Position, Start, Tailer};
use toban_collect::{Root, history};

const WRITERS: usize = 2;
const LINES_PER_SECOND: u64 = 50_000;

struct Bench {
    path: PathBuf,
    /// Counts the renames, after which writers open the log anew.
    renames: AtomicU64,
    truncations: AtomicU64,
    over: AtomicBool,
    /// Held while a line is half written, so that truncation does not tear it.
    half_written: Mutex<()>,
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

impl Bench {
    fn rotated(&self, number: usize, ending: &str) -> PathBuf {
        PathBuf::from(format!("{}.{number}{ending}", self.path.display()))
    }

    /// Writes numbered lines, some of them in two pieces; returns how many.
    fn write(&self, writer: usize, seed: u64) -> u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut log, mut renames) = (open(&self.path), 0);
        let begun = Instant::now();
        let mut number = 0;
        while !self.over.load(Ordering::Relaxed) {
            let seen = self.renames.load(Ordering::Relaxed);
            // A server goes on with the old file until it is told.
            if seen != renames && random.u8(..10) == 0 {
                (log, renames) = (open(&self.path), seen);
            }
            let due = begun.elapsed().as_secs_f64() * (LINES_PER_SECOND / WRITERS as u64) as f64;
            let mut lines = Vec::new();
            while (number as f64) < due {
                let padding = "-".repeat(random.usize(..150));
                writeln!(lines, "<{writer} {number} {padding}>").unwrap();
                number += 1;
            }
            if random.u8(..10) == 0 && lines.len() > 1 {
                let _whole = self.half_written.lock().unwrap();
                let (first, second) = lines.split_at(random.usize(1..lines.len()));
                log.write_all(first).unwrap();
                std::thread::sleep(Duration::from_micros(random.u64(..2_000)));
                log.write_all(second).unwrap();
            } else {
                let _others_lines_are_whole = self.half_written.lock().unwrap();
                log.write_all(&lines).unwrap();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        number
    }

    /// As logrotate does: renames the older ones upwards, compresses some, then renames the log or copies and truncates
    /// it.
    fn rotate(&self, every: Duration, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut count = 0;
        while !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(every);
            // With `delaycompress`, now and then.
            let plain: Vec<usize> = (2..=count).filter(|number| self.rotated(*number, "").exists()).collect();
            if random.bool() {
                plain.into_iter().for_each(|number| self.compress(number));
            }
            for number in (1..=count).rev() {
                for ending in ["", ".gz"] {
                    let from = self.rotated(number, ending);
                    if from.exists() {
                        std::fs::rename(from, self.rotated(number + 1, ending)).unwrap();
                    }
                }
            }
            count += 1;
            if count % 2 == 0 {
                self.copy_and_truncate(&mut random);
            } else {
                std::fs::rename(&self.path, self.rotated(1, "")).unwrap();
                std::thread::sleep(Duration::from_millis(random.u64(..20)));
                drop(open(&self.path));
                self.renames.fetch_add(1, Ordering::Relaxed);
                if random.bool() {
                    // All have reopened it before the next rotation, or some have not.
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
        }
    }

    fn copy_and_truncate(&self, random: &mut fastrand::Rng) {
        let mut original = File::open(&self.path).unwrap();
        let mut copy = File::create(self.rotated(1, "")).unwrap();
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = original.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            copy.write_all(&buffer[..read]).unwrap();
        }
        std::thread::sleep(Duration::from_micros(random.u64(..3_000)));
        let _no_line_is_half_written = self.half_written.lock().unwrap();
        OpenOptions::new().write(true).open(&self.path).unwrap().set_len(0).unwrap();
        self.truncations.fetch_add(1, Ordering::Relaxed);
    }

    fn compress(&self, number: usize) {
        let plain = self.rotated(number, "");
        let modified = plain.metadata().unwrap().modified().unwrap();
        let gz = File::create(self.rotated(number, ".gz")).unwrap();
        let mut writer = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
        std::io::copy(&mut File::open(&plain).unwrap(), &mut writer).unwrap();
        writer.finish().unwrap().set_modified(modified).unwrap();
        std::fs::remove_file(plain).unwrap();
    }

    /// What the disk holds in the end, by writer.
    fn held(&self) -> Vec<Vec<u64>> {
        let mut held = vec![Vec::new(); WRITERS];
        let mut files = history::rotations(&Root::host(), &self.path);
        files.insert(0, self.path.clone());
        for file in files.iter().rev() {
            let mut lines = BufReader::new(history::stream(file).unwrap());
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).unwrap() > 0 {
                if let Some((writer, number)) = line.strip_suffix(b"\n").and_then(understand) {
                    held[writer].push(number);
                }
                line.clear();
            }
        }
        held
    }
}

/// A whole line.
fn understand(line: &[u8]) -> Option<(usize, u64)> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix('<')?.strip_suffix('>')?;
    let mut words = line.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Follows, and stops and starts at random.
#[derive(Default)]
struct Followed {
    lines: Vec<Vec<u64>>,
    torn: Vec<String>,
    truncations: u64,
    lost_track: bool,
    restarts: u64,
}

impl Followed {
    fn take(&mut self, line: &[u8]) {
        match understand(line) {
            Some((writer, number)) => self.lines[writer].push(number),
            None => self.torn.push(String::from_utf8_lossy(line).into_owned()),
        }
    }

    fn add(&mut self, health: &Health) {
        self.truncations += health.truncations;
        self.lost_track |= health.lost_track;
    }

    fn follow(&mut self, bench: &Bench, seconds: u64, random: &mut fastrand::Rng) {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut start = Start::Beginning;
        while !bench.over.load(Ordering::Relaxed) {
            let mut tailer = Tailer::new(Root::host());
            let id = tailer.add(&bench.path, start).unwrap();
            let stop = Instant::now() + Duration::from_millis(random.u64(..1_000));
            loop {
                let more = tailer.read(&mut |_, line| self.take(line)).more;
                let now = Instant::now();
                if now >= end && !more {
                    bench.over.store(true, Ordering::Relaxed);
                }
                // Also in the middle of what there is to read.
                if now >= stop {
                    break;
                }
                if !more {
                    tailer.wait(Duration::from_millis(random.u64(..100)));
                }
            }
            self.add(tailer.health(id).unwrap());
            start = Start::At(remember(&tailer));
            self.restarts += 1;
            // Sometimes several rotations go by.
            if random.u8(..4) == 0 {
                std::thread::sleep(Duration::from_millis(random.u64(..3_000)));
            }
        }
        self.rest(bench, start);
    }

    /// What was written until everybody stopped.
    fn rest(&mut self, bench: &Bench, start: Start) {
        std::thread::sleep(Duration::from_secs(2));
        let mut tailer = Tailer::new(Root::host());
        let id = tailer.add(&bench.path, start).unwrap();
        for _ in 0..3 {
            while tailer.read(&mut |_, line| self.take(line)).more {}
        }
        self.add(tailer.health(id).unwrap());
    }
}

/// The position as it comes back from a file.
fn remember(tailer: &Tailer) -> Position {
    let positions: BTreeMap<u32, Position> =
        tailer.positions().into_iter().map(|(LogId(id), position)| (id, position)).collect();
    let text = serde_json::to_string(&positions).unwrap();
    let mut positions: BTreeMap<u32, Position> = serde_json::from_str(&text).unwrap();
    positions.remove(&0).unwrap()
}

fn torture(seconds: u64, seed: u64, directory: &Path) {
    let dir = tempfile::tempdir_in(directory).unwrap();
    let bench = Bench {
        path: dir.path().join("access.log"),
        renames: AtomicU64::new(0),
        truncations: AtomicU64::new(0),
        over: AtomicBool::new(false),
        half_written: Mutex::new(()),
    };
    drop(open(&bench.path));
    let mut followed = Followed { lines: vec![Vec::new(); WRITERS], ..Followed::default() };
    let written: Vec<u64> = std::thread::scope(|scope| {
        let bench = &bench;
        let _stopped_also_by_a_panic = Stop(&bench.over);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || bench.write(writer, seed + writer as u64)))
            .collect();
        scope.spawn(move || bench.rotate(Duration::from_secs(1), seed));
        followed.follow(bench, seconds, &mut fastrand::Rng::with_seed(seed));
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let truncations = bench.truncations.load(Ordering::Relaxed);
    let renames = bench.renames.load(Ordering::Relaxed);
    let held = bench.held();
    let (mut gaps, mut missing) = (0, 0);
    for writer in 0..WRITERS {
        let (lines, held) = (&mut followed.lines[writer], &held[writer]);
        // Between a look at the renamed file and one at the new one a writer may write to both.
        let steps_back = lines.windows(2).filter(|pair| pair[0] > pair[1]).count() as u64;
        assert!(steps_back <= renames, "seed {seed}: {steps_back} steps back, {renames} renames");
        lines.sort_unstable();
        if let Some(pair) = lines.windows(2).find(|pair| pair[0] == pair[1]) {
            panic!("seed {seed}: line {} of writer {writer} is read twice", pair[0]);
        }
        let lost: Vec<u64> =
            held.iter().filter(|number| lines.binary_search(number).is_err()).copied().collect();
        assert!(lost.is_empty(), "seed {seed}: {} lines that the disk holds, from {}", lost.len(), lost[0]);
        let ends =
            [*lines.first().unwrap_or(&0) > 0, lines.last().is_none_or(|last| last + 1 < written[writer])];
        gaps += lines.windows(2).filter(|pair| pair[1] != pair[0] + 1).count()
            + ends.into_iter().filter(|end| *end).count();
        missing += written[writer] - lines.len() as u64;
    }
    let reported = followed.truncations;
    println!(
        "seed {seed}: {} lines, {} restarts, {truncations} truncations of which {reported} are reported; {missing} \
         lines are nowhere, in {gaps} gaps",
        written.iter().sum::<u64>(),
        followed.restarts
    );
    assert_eq!(followed.torn, [""; 0], "seed {seed}");
    assert!(!followed.lost_track, "seed {seed}");
    assert!(gaps as u64 <= reported * WRITERS as u64, "seed {seed}: {gaps} gaps, {reported} reported");
    assert!(reported <= truncations, "seed {seed}: {truncations} truncations, {reported} reported");
}

#[test]
fn nothing_is_lost_and_nothing_doubled() {
    torture(10, 1, &std::env::temp_dir());
}

/// `TORTURE_SECONDS=60 TORTURE_SEED=7 cargo nextest run -p toban-collect --run-ignored only torture`
#[test]
#[ignore = "runs for minutes, as long as it is told to"]
fn torture_for_longer() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let directory = std::env::var_os("TORTURE_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds = number("TORTURE_SECONDS", 60);
    torture(seconds, number("TORTURE_SEED", 7), &directory);
}
