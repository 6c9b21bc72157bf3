//! Reads the past of a log from its rotated files, newest first, within a budget of bytes.
//!
//! Someone installs toban while the server burns: what was usual is on disk. The newest files tell the most, so
//! files come newest first; within a file lines come in order.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::root::open_regular;
use crate::tail::{Fingerprint, Position};
use crate::{Error, Root, limits};

/// What was read of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRead {
    /// The file, as the host calls it.
    pub path: PathBuf,
    /// Bytes of lines handed over, uncompressed.
    pub bytes: u64,
    /// From its first line on; otherwise the budget ended in it.
    pub whole: bool,
    /// Why it could not be read, or not to its end.
    pub problem: Option<String>,
}

/// How far the past was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The files, newest first.
    pub files: Vec<FileRead>,
    /// Bytes handed over, uncompressed.
    pub bytes: u64,
    /// Every file there is was read whole.
    pub complete: bool,
    /// Where the current file's whole lines ended: following can begin here without a line lost or doubled.
    pub end: Option<Position>,
    /// Lines longer than a chunk, passed over.
    pub cut_lines: u64,
}

/// Whether the name is that of a compressed file.
pub(crate) fn is_compressed(path: &Path) -> bool {
    path.extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| matches!(e, "gz" | "xz" | "zst" | "bz2" | "lz4"))
}

/// The rotated files of a log, newest first, at most [`limits::HISTORY_FILES_MAX`]; `path` is as opened.
///
/// Known are logrotate's forms: `access.log.1`, `access.log.2.gz`, `access.log-20240131.gz`, `access-20240131.log`.
pub fn rotations(root: &Root, path: &Path) -> Vec<PathBuf> {
    let path = if path.starts_with(root.path()) { path.to_path_buf() } else { root.at(path) };
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
    else {
        return Vec::new();
    };
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<(Age, bool, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let file_name = entry.file_name();
            let path = entry.path();
            Some((age(name, file_name.to_str()?)?, is_compressed(&path), path))
        })
        .collect();
    // Of `.1` and `.1.gz` (while it is being compressed) the plain one is whole.
    found.sort();
    found.dedup_by(|next, first| next.0 == first.0);
    found.truncate(limits::HISTORY_FILES_MAX);
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// Sorts newest first: numbers upwards, dates downwards.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    Number(u64),
    Date(std::cmp::Reverse<u64>),
}

fn age(name: &str, candidate: &str) -> Option<Age> {
    let plain = ["gz", "xz", "zst", "bz2", "lz4"]
        .iter()
        .find_map(|e| candidate.strip_suffix(e)?.strip_suffix('.'))
        .unwrap_or(candidate);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let suffix = plain.strip_prefix(name).or_else(|| {
        // logrotate's `extension`: the date stands before it.
        let middle = plain.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
        (!extension.is_empty() && middle.starts_with('-')).then_some(middle)
    })?;
    let digits: String = suffix.chars().filter(char::is_ascii_digit).collect();
    let separators = suffix.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '-' | '_' | 'T'));
    if digits.is_empty() || digits.len() > 18 || !separators || !suffix.starts_with(['.', '-']) {
        return None;
    }
    let number = digits.parse().ok()?;
    // A date has at least eight digits, or six as in 2024-01.
    Some(if digits.len() >= 6 { Age::Date(std::cmp::Reverse(number)) } else { Age::Number(number) })
}

/// Hands over the past of a log in chunks of whole lines until the budget (in bytes, uncompressed) is used up or
/// `each` breaks off. When a file is larger than what is left, its end is read.
pub fn read(
    root: &Root,
    path: &Path,
    budget_bytes: u64,
    each: &mut dyn FnMut(&Path, &[u8]) -> ControlFlow<()>,
) -> Result<Report, Error> {
    let current = root.at(path);
    let mut report = Report { complete: true, ..Report::default() };
    let mut paths = Vec::new();
    match open_regular(&current) {
        Ok(_) => paths.push(current.clone()),
        // Rotated a moment ago: the past is still there.
        Err(error) if error.is_missing() => {}
        Err(error) => return Err(error),
    }
    let rotated = rotations(root, &current);
    if paths.is_empty() && rotated.is_empty() {
        return Err(Error::Missing { path: current });
    }
    paths.extend(rotated);
    for path in paths {
        let left = budget_bytes.saturating_sub(report.bytes);
        if left == 0 {
            report.complete = false;
            break;
        }
        let is_current = path == current;
        let mut file = FileRead { path: root.host_path(&path), bytes: 0, whole: true, problem: None };
        let flow = match one(&path, left, is_current, &mut file, &mut report, each) {
            Ok(flow) => flow,
            Err(error) => {
                file.problem = Some(error.to_string());
                report.complete = false;
                ControlFlow::Continue(())
            }
        };
        report.bytes += file.bytes;
        report.complete &= file.whole;
        report.files.push(file);
        if flow.is_break() {
            report.complete = false;
            break;
        }
    }
    Ok(report)
}

fn one(
    path: &Path,
    left: u64,
    is_current: bool,
    file: &mut FileRead,
    report: &mut Report,
    each: &mut dyn FnMut(&Path, &[u8]) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Error> {
    let reading = |source| Error::reading(path, source);
    let mut opened = open_regular(path)?;
    if !is_compressed(path) {
        let size = opened.metadata().map_err(reading)?.len();
        let skip = size.saturating_sub(left);
        opened.seek(SeekFrom::Start(skip.saturating_sub(1))).map_err(reading)?;
        file.whole = skip == 0;
        let inode = inode(&opened);
        // Only what was there at the beginning: a log under load would never end.
        let mut limited = (&opened).take(size - skip.saturating_sub(1));
        let mut lines = Lines::new(skip > 0, !is_current);
        let flow = lines.read(&mut limited, path, file, each).map_err(reading)?;
        report.cut_lines += lines.cut;
        if is_current && flow.is_continue() {
            let offset = size.saturating_sub(lines.unfinished);
            let fingerprint = beginning(&opened, offset);
            report.end = Some(Position { inode, offset, fingerprint });
        }
        return Ok(flow);
    }
    if path.extension().is_none_or(|extension| extension != "gz") {
        let form = "a plain or gzip file (other compressions are not read)";
        return Err(Error::Form { path: path.to_path_buf(), expected: form });
    }
    // The trailer holds the uncompressed size modulo 4 GiB. It says how much of the start to pass over.
    let compressed = opened.metadata().map_err(reading)?.len();
    let (mut magic, mut trailer) = ([0; 2], [0; 4]);
    opened.read_exact(&mut magic).map_err(reading)?;
    if magic != [0x1f, 0x8b] {
        return Err(Error::Form { path: path.to_path_buf(), expected: "gzip" });
    }
    opened.rewind().map_err(reading)?;
    const HEAD_AND_TRAILER: u64 = 18;
    if compressed >= HEAD_AND_TRAILER {
        opened.seek(SeekFrom::End(-4)).map_err(reading)?;
        opened.read_exact(&mut trailer).map_err(reading)?;
        opened.rewind().map_err(reading)?;
    }
    let skip = u64::from(u32::from_le_bytes(trailer)).saturating_sub(left);
    // Passing over costs inflating; beyond this it is not worth what is left of the budget.
    const WORTH: u64 = 8;
    if skip > left.saturating_mul(WORTH) {
        file.whole = false;
        return Ok(ControlFlow::Continue(()));
    }
    file.whole = skip == 0;
    let mut inflated = flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, &opened));
    io::copy(&mut (&mut inflated).take(skip.saturating_sub(1)), &mut io::sink()).map_err(reading)?;
    // The trailer may lie: never hand over more than what is left.
    let mut limited = inflated.take(left.saturating_add(1));
    let mut lines = Lines::new(skip > 0, true);
    let flow = lines.read(&mut limited, path, file, each).map_err(reading);
    report.cut_lines += lines.cut;
    flow
}

/// One log file as a stream of bytes, inflated if it is gzip. A directory, a pipe or a device is refused before it is
/// opened for reading.
pub fn stream(path: &Path) -> Result<Box<dyn io::BufRead>, Error> {
    let reading = |source| Error::reading(path, source);
    let mut opened = open_regular(path)?;
    let mut magic = Vec::with_capacity(2);
    (&opened).take(2).read_to_end(&mut magic).map_err(reading)?;
    opened.rewind().map_err(reading)?;
    let buffered = io::BufReader::with_capacity(256 << 10, opened);
    if magic == [0x1f, 0x8b] {
        return Ok(Box::new(io::BufReader::new(flate2::bufread::MultiGzDecoder::new(buffered))));
    }
    Ok(Box::new(buffered))
}

fn inode(file: &File) -> u64 {
    use std::os::unix::fs::MetadataExt;
    file.metadata().map_or(0, |meta| meta.ino())
}

fn beginning(file: &File, offset: u64) -> Fingerprint {
    crate::tail::fingerprint_of(file, offset)
}

/// Cuts a stream into chunks of whole lines.
struct Lines {
    /// The stream begins in the middle of a line: up to the first newline it is passed over.
    inside: bool,
    /// A last line without newline counts.
    last_counts: bool,
    /// Bytes after the last newline.
    unfinished: u64,
    cut: u64,
}

impl Lines {
    fn new(inside: bool, last_counts: bool) -> Lines {
        Lines { inside, last_counts, unfinished: 0, cut: 0 }
    }

    fn read(
        &mut self,
        stream: &mut dyn Read,
        path: &Path,
        file: &mut FileRead,
        each: &mut dyn FnMut(&Path, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        let mut buffer = vec![0; limits::HISTORY_CHUNK_BYTES];
        let mut filled = 0;
        loop {
            let read = match stream.read(&mut buffer[filled..]) {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    // A broken archive still gave whole lines.
                    let _the_error_ends_it_anyway = self.give(&buffer[..filled], path, file, each);
                    return Err(error);
                }
            };
            filled += read;
            if read > 0 && filled < buffer.len() {
                continue;
            }
            if read == 0 {
                self.unfinished =
                    (filled - memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |at| at + 1)) as u64;
                let end = if self.last_counts {
                    filled
                } else {
                    filled - usize::try_from(self.unfinished).unwrap_or(0)
                };
                return Ok(self.give(&buffer[..end], path, file, each));
            }
            match memchr::memrchr(b'\n', &buffer[..filled]) {
                Some(at) => {
                    if self.give(&buffer[..=at], path, file, each).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    buffer.copy_within(at + 1..filled, 0);
                    filled -= at + 1;
                }
                None => {
                    // A line longer than the buffer is no log line.
                    self.cut += 1;
                    self.inside = true;
                    filled = 0;
                }
            }
        }
    }

    fn give(
        &mut self,
        mut bytes: &[u8],
        path: &Path,
        file: &mut FileRead,
        each: &mut dyn FnMut(&Path, &[u8]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if self.inside {
            let Some(at) = memchr::memchr(b'\n', bytes) else { return ControlFlow::Continue(()) };
            bytes = &bytes[at + 1..];
            self.inside = false;
        }
        if bytes.is_empty() {
            return ControlFlow::Continue(());
        }
        file.bytes += bytes.len() as u64;
        each(path, bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gz(path: &Path, text: &str) {
        let mut writer =
            flate2::write::GzEncoder::new(File::create(path).unwrap(), flate2::Compression::fast());
        writer.write_all(text.as_bytes()).unwrap();
        writer.finish().unwrap();
    }

    fn collect(path: &Path, budget: u64) -> (Vec<String>, Report) {
        let mut lines = Vec::new();
        let report = read(&Root::host(), path, budget, &mut |_, chunk| {
            lines.extend(String::from_utf8_lossy(chunk).lines().map(str::to_owned));
            ControlFlow::Continue(())
        })
        .unwrap();
        (lines, report)
    }

    #[test]
    fn newest_file_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.log");
        std::fs::write(&path, "c1\nc2\nunfini").unwrap();
        std::fs::write(dir.path().join("access.log.1"), "b1\nb2").unwrap();
        gz(&dir.path().join("access.log.2.gz"), "a1\na2\n");
        gz(&dir.path().join("access.log.10.gz"), "z1\n");
        std::fs::write(dir.path().join("access.log.bak"), "no\n").unwrap();
        std::fs::write(dir.path().join("other_access.log.1"), "no\n").unwrap();
        let (lines, report) = collect(&path, 1 << 20);
        assert_eq!(lines, ["c1", "c2", "b1", "b2", "a1", "a2", "z1"]);
        assert!(report.complete);
        assert_eq!(report.end.unwrap().offset, 6);
        // The tail goes on exactly where the history ended.
        let mut tailer = crate::tail::Tailer::new(Root::host());
        tailer.add(&path, crate::tail::Start::At(report.end.unwrap())).unwrap();
        std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"shed\n").unwrap();
        let mut next = Vec::new();
        tailer.read(&mut |_, line| next.push(String::from_utf8_lossy(line).into_owned()));
        assert_eq!(next, ["unfinished"]);
    }

    #[test]
    fn a_budget_takes_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1111\n2222\n3333\n").unwrap();
        gz(&dir.path().join("a-20240102.gz"), "4444\n5555\n6666\n");
        gz(&dir.path().join("a-20240101.gz"), "7777\n");
        for (budget, expected) in [
            (5, &["3333"][..]),
            (7, &["3333"]),
            (10, &["2222", "3333"]),
            (15, &["1111", "2222", "3333"]),
            (20, &["1111", "2222", "3333", "6666"]),
            (26, &["1111", "2222", "3333", "5555", "6666"]),
        ] {
            let (lines, report) = collect(&path, budget);
            assert_eq!(lines, expected, "budget {budget}");
            assert!(!report.complete && report.bytes <= budget);
        }
        assert_eq!(collect(&path, 1000).0.len(), 7);
    }

    #[test]
    fn broken_and_unknown_archives_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1\n").unwrap();
        std::fs::write(dir.path().join("a.1.gz"), "this is not gzip at all, but long enough").unwrap();
        std::fs::write(dir.path().join("a.2.xz"), "x").unwrap();
        std::fs::write(dir.path().join("a.3"), "3\n").unwrap();
        let (lines, report) = collect(&path, 1000);
        assert_eq!(lines, ["1", "3"]);
        assert_eq!(report.files.iter().filter(|file| file.problem.is_some()).count(), 2);
        assert!(!report.complete);
        let missing = read(&Root::host(), &dir.path().join("b"), 9, &mut |_, _| ControlFlow::Continue(()));
        assert!(missing.unwrap_err().is_missing());
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, format!("1\n{}\n2\n", "x".repeat(3 << 20))).unwrap();
        let (lines, report) = collect(&path, 1 << 30);
        assert_eq!(lines, ["1", "2"]);
        assert!(report.cut_lines >= 1);
    }
}
