//! The files that are measured: made once for a seed and a size, and kept.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf, absolute};
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Context as _, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::ToSpan as _;
use jiff::tz::TimeZone;

use super::generate::{Access, DAY, Distinct, Generate, Sshd, VERSION};

/// A rotated log has so many files behind the current one, as `rotate 10` of logrotate leaves them.
const ROTATED: usize = 10;
/// A day of `--history` has this part of the large log's lines: all days together are about 1 GB compressed.
const HISTORY_PART: (u64, u64) = (4, 5);

/// Which log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Log {
    Access,
    Sshd,
    Distinct,
}

/// Where they are, and what they are made from.
#[derive(Clone, clap::Args)]
pub(crate) struct Files {
    /// Everything that is made is drawn from this
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Lines of the access log; sshd's has a fifth of them, that of --distinct twice as many
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) lines: u64,
    /// Where files are kept; bench in cargo's target directory if not given
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Files {
    /// Absolute.
    pub(crate) fn dir(&self) -> PathBuf {
        let dir = self.dir.clone().unwrap_or_else(|| crate::steps::target_dir().join("bench"));
        absolute(&dir).unwrap_or(dir)
    }

    pub(crate) fn lines_of(&self, log: Log) -> u64 {
        match log {
            Log::Access => self.lines,
            Log::Sshd => self.lines / 5,
            Log::Distinct => self.lines * 2,
        }
    }

    pub(crate) fn path(&self, log: Log) -> PathBuf {
        let (name, lines) = (log.name(), self.lines_of(log));
        self.dir().join(format!("{name}-v{VERSION}-seed{}-{lines}.log", self.seed))
    }

    pub(crate) fn generator(&self, log: Log) -> Box<dyn Generate> {
        let lines = self.lines_of(log);
        match log {
            Log::Access => Box::new(Access::new(self.seed, lines, DAY)),
            Log::Sshd => Box::new(Sshd::new(self.seed, lines)),
            Log::Distinct => Box::new(Distinct::new(self.seed, lines)),
        }
    }

    /// The current file of the rotated log.
    pub(crate) fn history(&self) -> PathBuf {
        let lines = self.history_lines();
        self.dir().join(format!("history-v{VERSION}-seed{}-{lines}/access.log", self.seed))
    }

    fn history_lines(&self) -> u64 {
        self.lines * HISTORY_PART.0 / HISTORY_PART.1
    }

    /// Makes a log unless it is there.
    pub(crate) fn make(&self, log: Log) -> Result<()> {
        let path = self.path(log);
        if path.exists() {
            return Ok(());
        }
        whole(&path, |file| write_all(&*self.generator(log), file))
    }

    /// Makes the rotated log unless it is there: today's and yesterday's as they are, older days compressed.
    pub(crate) fn make_history(&self) -> Result<()> {
        let current = self.history();
        let missing: Vec<(usize, PathBuf)> = (0..=ROTATED)
            .map(|ago| (ago, PathBuf::from(format!("{}{}", current.display(), suffix(ago)))))
            .filter(|(_, path)| !path.exists())
            .collect();
        let left = Mutex::new(missing.into_iter());
        let next = || left.lock().ok()?.next();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            let work = || -> Result<()> {
                while let Some((ago, path)) = next() {
                    self.make_day(ago, &path)?;
                }
                Ok(())
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| worker.join().expect("a day is made without a panic"))
        })
    }

    fn make_day(&self, ago: usize, path: &Path) -> Result<()> {
        let day = DAY.saturating_sub((ago as i64).days());
        let log = Access::new(self.seed, self.history_lines(), day);
        whole(path, |file| {
            if ago < 2 {
                return write_all(&log, file);
            }
            let mut packed = GzEncoder::new(file, Compression::default());
            write_all(&log, &mut packed)?;
            packed.finish().map(drop)
        })?;
        // It was last written to at midnight.
        let midnight = day.tomorrow()?.to_zoned(TimeZone::UTC)?.timestamp();
        File::options().append(true).open(path)?.set_modified(SystemTime::from(midnight))?;
        Ok(())
    }
}

impl Log {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Log::Access => "access",
            Log::Sshd => "sshd",
            Log::Distinct => "distinct",
        }
    }
}

/// logrotate's names, with `delaycompress`.
fn suffix(ago: usize) -> String {
    match ago {
        0 => String::new(),
        1 => ".1".to_owned(),
        ago => format!(".{ago}.gz"),
    }
}

/// A file has its name when it is whole.
fn whole(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let could_not = || format!("could not write {}", path.display());
    let partial = PathBuf::from(format!("{}.part", path.display()));
    let make = || -> std::io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut file = BufWriter::with_capacity(1 << 20, File::create(&partial)?);
        write(&mut file)?;
        file.flush()?;
        fs::rename(&partial, path)
    };
    make().with_context(could_not)
}

fn write_all(log: &dyn Generate, file: &mut dyn Write) -> std::io::Result<()> {
    let mut done = Ok(());
    log.each(&mut |line| {
        if done.is_ok() {
            done = file.write_all(line.text).and_then(|()| file.write_all(b"\n"));
        }
    });
    done
}

/// Lines from the middle of a file on, at most so many, as a file beside it.
pub(crate) fn middle(of: &Path, lines: u64) -> Result<PathBuf> {
    let path = of.with_extension(format!("middle-{lines}"));
    if !path.exists() {
        let mut from = BufReader::with_capacity(1 << 20, File::open(of)?);
        from.seek(SeekFrom::Start(of.metadata()?.len() / 2))?;
        // The rest of a line that began before.
        from.skip_until(b'\n')?;
        whole(&path, |file| {
            let mut line = Vec::new();
            for _ in 0..lines {
                line.clear();
                if from.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                file.write_all(&line)?;
            }
            Ok(())
        })?;
    }
    Ok(path)
}

/// Lines of a file.
pub(crate) fn count(file: &Path) -> Result<u64> {
    let (mut from, mut lines) = (BufReader::with_capacity(1 << 20, File::open(file)?), 0);
    while from.skip_until(b'\n')? > 0 {
        lines += 1;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_rotated_log_goes_back_ten_days() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { seed: 2, lines: 2_000, dir: Some(dir.path().to_owned()) };
        files.make_history().unwrap();
        let folder = files.history().parent().unwrap().to_owned();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 11);
        let mut text = String::new();
        let oldest = File::open(folder.join("access.log.10.gz")).unwrap();
        assert_eq!(
            oldest.metadata().unwrap().modified().unwrap(),
            SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_741_132_800)
        );
        flate2::read::GzDecoder::new(oldest).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1_600);
        assert!(text.lines().all(|line| line.contains(" [04/Mar/2025:")), "{}", &text[..200]);
        let yesterday = fs::read_to_string(folder.join("access.log.1")).unwrap();
        assert!(yesterday.lines().all(|line| line.contains(" [13/Mar/2025:")));
    }

    #[test]
    fn the_middle_is_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.log");
        fs::write(&file, (10..40).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        let part = middle(&file, 3).unwrap();
        assert_eq!(count(&part).unwrap(), 3);
        assert_eq!(fs::read_to_string(part).unwrap(), "line 26\nline 27\nline 28\n");
    }
}
