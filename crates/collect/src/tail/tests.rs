//! Every way in which a log is rotated while it is followed.

use std::fs::{OpenOptions, remove_file, rename, write};
use std::io::Write;
use std::time::Duration;

use super::*;

struct Bench {
    dir: tempfile::TempDir,
    tailer: Tailer,
}

impl Bench {
    fn new() -> Bench {
        Bench { dir: tempfile::tempdir().unwrap(), tailer: Tailer::new(Root::host()) }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn append(&self, name: &str, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
    fn read(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while self.tailer.read(&mut |_, line| lines.push(String::from_utf8_lossy(line).into_owned())).more {}
        lines
    }
}

#[test]
fn from_the_end_and_partial_lines() {
    let mut bench = Bench::new();
    bench.append("a", "old\nhalf");
    let path = bench.path("a");
    bench.tailer.add(&path, Start::End).unwrap();
    assert_eq!(bench.read(), [""; 0]);
    bench.append("a", " of a line\nnew\npar");
    assert_eq!(bench.read(), ["new"]);
    bench.append("a", "tial\n");
    assert_eq!(bench.read(), ["partial"]);
}

#[test]
fn rename_rotation_loses_nothing() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    let path = bench.path("a");
    let id = bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read(), ["1"]);
    bench.append("a", "2\n");
    rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "4\n");
    bench.append("a.1", "3\n");
    assert_eq!(bench.read(), ["2", "3", "4"]);
    bench.append("a.1", "3b\n");
    bench.append("a", "5\n");
    assert_eq!(bench.read(), ["3b", "5"], "some child still writes to the old file");
    assert_eq!(bench.tailer.health(id).unwrap().rotations, 1);
}

#[test]
fn truncation_is_seen_even_when_it_has_grown_again() {
    let mut bench = Bench::new();
    bench.append("a", "first\nsecond\n");
    let path = bench.path("a");
    let id = bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read().len(), 2);
    write(&path, "third\n").unwrap();
    assert_eq!(bench.read(), ["third"]);
    write(&path, "quite another beginning\nand more\n").unwrap();
    assert_eq!(bench.read(), ["quite another beginning", "and more"]);
    assert_eq!(bench.tailer.health(id).unwrap().truncations, 2);
}

#[test]
fn deletion_and_creation() {
    let mut bench = Bench::new();
    let path = bench.path("later");
    let id = bench.tailer.add(&path, Start::End).unwrap();
    assert_eq!(bench.read(), [""; 0]);
    assert!(bench.tailer.health(id).unwrap().problem.is_some());
    bench.append("later", "1\n");
    assert_eq!(bench.read(), ["1"], "all of a new file is new");
    bench.append("later", "2\n");
    assert_eq!(bench.read(), ["2"]);
    remove_file(&path).unwrap();
    assert_eq!(bench.read(), [""; 0]);
    bench.append("later", "3\n");
    assert_eq!(bench.read(), ["3"]);
    assert_eq!(bench.tailer.health(id).unwrap().rotations, 1);
    assert_eq!(bench.tailer.health(id).unwrap().problem, None);
}

#[test]
fn long_lines_are_cut_and_counted() {
    let mut bench = Bench::new();
    let path = bench.path("a");
    let id = bench.tailer.add(&path, Start::Beginning).unwrap();
    let exact = "y".repeat(limits::LINE_BYTES_MAX);
    let long = "x".repeat(limits::LINE_BYTES_MAX + 1);
    let endless = "z".repeat(700_000);
    bench.append("a", &format!("{exact}\n{long}\nshort\n{endless}"));
    bench.read();
    let mut bench2 = Bench::new();
    std::mem::swap(&mut bench.tailer, &mut bench2.tailer);
    bench.tailer = Tailer::new(Root::host());
    let again = bench.tailer.add(&path, Start::Beginning).unwrap();
    let lines = bench.read();
    let lens: Vec<usize> = lines.iter().map(String::len).collect();
    assert_eq!(lens, [limits::LINE_BYTES_MAX, limits::LINE_BYTES_MAX, 5, limits::LINE_BYTES_MAX]);
    bench.append("a", "zzz\nnext\n");
    assert_eq!(bench.read(), ["next"]);
    assert_eq!(bench.tailer.health(again).unwrap().cut_lines, 2);
    assert_eq!(bench2.tailer.health(id).unwrap().cut_lines, 2);
}

#[test]
fn what_is_no_log_is_refused_by_name() {
    let mut bench = Bench::new();
    let dir = bench.path("dir");
    std::fs::create_dir(&dir).unwrap();
    let fifo = bench.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let socket = bench.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, part) in [
        (dir.clone(), "it is a directory; give the log file in it"),
        (fifo, "it is a FIFO"),
        (socket, "it is a socket"),
        (PathBuf::from("/dev/null"), "it is a character device"),
        (bench.path("no/such/dir/a"), "no such file"),
    ] {
        let error = bench.tailer.add(&path, Start::End).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(path.to_str().unwrap()), "{error}");
    }
    assert!(bench.tailer.is_empty());
}

#[test]
fn a_fifo_in_the_place_of_a_log_does_not_block() {
    let mut bench = Bench::new();
    bench.append("a", "1\n");
    let path = bench.path("a");
    let id = bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read(), ["1"]);
    remove_file(&path).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    bench.read();
    assert!(bench.tailer.health(id).unwrap().problem.as_deref().unwrap().contains("FIFO"));
}

#[test]
fn a_remembered_position_is_found_again() {
    let mut bench = Bench::new();
    bench.append("a", "1\n2\nunfini");
    let path = bench.path("a");
    bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read(), ["1", "2"]);
    let position = bench.tailer.positions()[0].1.clone();
    assert_eq!(position.last.offset, 4);
    let resume = |bench: &mut Bench| {
        bench.tailer = Tailer::new(Root::host());
        let id = bench.tailer.add(&path, Start::At(position.clone())).unwrap();
        let mut lines = bench.read();
        lines.extend(bench.read());
        (lines, bench.tailer.health(id).unwrap().lost_track)
    };
    bench.append("a", "shed\n");
    assert_eq!(resume(&mut bench), (vec!["unfinished".to_owned()], false));
    // Rotated twice while nobody looked.
    rename(bench.path("a"), bench.path("a.2")).unwrap();
    bench.append("a.1", "between\n");
    bench.append("a", "now\n");
    assert_eq!(resume(&mut bench), (["unfinished", "between", "now"].map(str::to_owned).to_vec(), false));
    // Copied and truncated.
    remove_file(bench.path("a.1")).unwrap();
    rename(bench.path("a.2"), bench.path("a.1")).unwrap();
    assert_eq!(resume(&mut bench).0, ["unfinished", "now"]);
    // Gone for good.
    remove_file(bench.path("a.1")).unwrap();
    assert_eq!(resume(&mut bench), (vec!["now".to_owned()], true));
}

#[test]
fn a_write_wakes() {
    let mut bench = Bench::new();
    bench.append("a", "");
    let path = bench.path("a");
    bench.tailer.add(&path, Start::End).unwrap();
    assert!(!bench.tailer.wait(Duration::from_millis(1)) || bench.tailer.watch.is_none());
    bench.append("a", "x\n");
    assert!(bench.tailer.wait(Duration::from_secs(5)));
    assert_eq!(bench.read(), ["x"]);
    assert!(!bench.tailer.wait(Duration::from_millis(1)) || bench.tailer.watch.is_none());
}

impl Bench {
    fn restart(&mut self, name: &str, position: Position) -> LogId {
        self.tailer = Tailer::new(Root::host());
        let path = self.path(name);
        self.tailer.add(&path, Start::At(position)).unwrap()
    }

    fn position(&self) -> Position {
        self.tailer.positions()[0].1.clone()
    }

    fn health(&self) -> &Health {
        self.tailer.health(LogId(0)).unwrap()
    }

    /// As logrotate's copytruncate.
    fn copy_and_truncate(&self, name: &str, copy: &str) {
        std::fs::copy(self.path(name), self.path(copy)).unwrap();
        self.truncate(name);
    }

    fn truncate(&self, name: &str) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }
}

/// Clocks of file systems tick in milliseconds.
fn a_moment() {
    std::thread::sleep(Duration::from_millis(20));
}

fn follow(name: &str, text: &str) -> Bench {
    let mut bench = Bench::new();
    bench.append(name, text);
    let path = bench.path(name);
    bench.tailer.add(&path, Start::Beginning).unwrap();
    bench
}

#[test]
fn what_was_not_read_before_a_truncation_is_read_from_the_copy() {
    let mut bench = follow("a", "1\n");
    assert_eq!(bench.read(), ["1"]);
    bench.append("a", "2\n3\n");
    bench.copy_and_truncate("a", "a.1");
    bench.append("a", "4\nand it has grown beyond the old size\n");
    assert_eq!(bench.read(), ["2", "3", "4", "and it has grown beyond the old size"]);
    assert_eq!((bench.health().truncations, bench.health().lost_bytes), (1, 0));
    // Twice between two looks: the second time from empty to empty.
    bench.append("a", "5\n");
    rename(bench.path("a.1"), bench.path("a.2")).unwrap();
    bench.copy_and_truncate("a", "a.1");
    a_moment();
    bench.append("a", "6\n");
    rename(bench.path("a.2"), bench.path("a.3")).unwrap();
    rename(bench.path("a.1"), bench.path("a.2")).unwrap();
    bench.copy_and_truncate("a", "a.1");
    assert_eq!(bench.read(), ["5", "6"]);
    assert_eq!((bench.health().truncations, bench.health().lost_bytes), (3, 0));
    // Filled, copied and emptied between two looks, both of which see an empty file.
    a_moment();
    bench.append("a", "7\n");
    rename(bench.path("a.1"), bench.path("a.4")).unwrap();
    bench.copy_and_truncate("a", "a.1");
    assert_eq!(bench.read(), [""; 0]);
    bench.append("a", "8\n");
    assert_eq!(bench.read(), ["7", "8"]);
    assert_eq!(bench.health().truncations, 4);
}

#[test]
fn a_copy_that_ends_before_what_was_read_is_not_read_again() {
    let old = "as long as a fingerprint at least\n".repeat(8);
    let mut bench = follow("a", &old);
    std::fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "2\n");
    assert_eq!(bench.read().len(), 9);
    let position = bench.position();
    bench.truncate("a");
    assert_eq!(bench.read(), [""; 0]);
    bench.append("a", "3\n");
    assert_eq!(bench.read(), ["3"]);
    // The same when toban did not run, and when the copy has been compressed.
    for compress in [false, true] {
        if compress {
            let gz = std::fs::File::create(bench.path("a.1.gz")).unwrap();
            let mut gz = flate2::write::GzEncoder::new(gz, flate2::Compression::fast());
            gz.write_all(old.as_bytes()).unwrap();
            gz.finish().unwrap();
            remove_file(bench.path("a.1")).unwrap();
        }
        bench.restart("a", position.clone());
        assert_eq!(bench.read(), ["3"]);
        assert_eq!((bench.health().truncations, bench.health().lost_track), (1, false));
    }
}

#[test]
fn a_copy_before_the_truncation_is_not_read_twice() {
    let long = |from: u32| -> String { (from..from + 60).map(|n| format!("line {n}\n")).collect() };
    let mut bench = follow("a", "0\n");
    assert_eq!(bench.read(), ["0"]);
    let position = bench.position();
    rename(bench.path("a"), bench.path("a.2")).unwrap();
    bench.append("a", &long(1));
    std::fs::copy(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "in the copy no more\n");
    bench.restart("a", position);
    assert_eq!(bench.read().len(), 61);
    bench.truncate("a");
    bench.append("a", &long(100));
    assert_eq!(bench.read().len(), 60);
}

#[test]
fn bytes_that_are_known_to_be_lost_are_counted() {
    let line = format!("{}\n", "x".repeat(999));
    let mut bench = follow("a", &line.repeat(5_000));
    // One turn is not enough for all of it.
    let mut lines = 0;
    assert!(bench.tailer.read(&mut |_, _| lines += 1).more);
    bench.truncate("a");
    bench.append("a", "new\n");
    assert_eq!(bench.read(), ["new"]);
    let health = bench.health();
    assert_eq!((health.truncations, health.lost_bytes), (1, (5_000 - lines) * 1_000));
    assert!(lines > 1_000 && lines < 5_000);
    // An unfinished line is lost too. That a line ends in the middle of a copy does not make it a line.
    bench.append("a", "unfini");
    bench.read();
    bench.truncate("a");
    bench.append("a", "next\nhalf a l");
    bench.read();
    bench.copy_and_truncate("a", "a.1");
    bench.append("a", "last\n");
    assert_eq!(bench.read(), ["last"]);
    assert_eq!(bench.health().lost_bytes, (5_000 - lines) * 1_000 + 6 + 8);
}

#[test]
fn files_that_begin_alike_are_told_apart() {
    // As the access logs of IIS and of anything that writes the extended log file format.
    let head = format!("#Fields:{}\n", " date time c-ip cs-method cs-uri-stem".repeat(20));
    let mut bench = follow("a", &format!("{head}1\n2\n"));
    assert_eq!(bench.read().len(), 3);
    let position = bench.position();
    bench.append("a", "3\n");
    bench.copy_and_truncate("a", "a.1");
    bench.append("a", &format!("{head}4\n5\n6\n"));
    assert_eq!(bench.read(), ["3", head.trim_end(), "4", "5", "6"]);
    bench.restart("a", position);
    assert_eq!(bench.read(), ["3", head.trim_end(), "4", "5", "6"]);
}

#[test]
fn an_inode_used_again_is_another_file() {
    let mut bench = follow("a", "1\n2\n");
    assert_eq!(bench.read(), ["1", "2"]);
    let mut position = bench.position();
    rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a.1", "3\n");
    bench.append("a", "another\nfile\n");
    // The new file has the inode that is remembered, the old one was restored from a backup.
    position.last.inode = std::os::unix::fs::MetadataExt::ino(&bench.path("a").metadata().unwrap());
    bench.restart("a", position.clone());
    assert_eq!(bench.read(), ["3", "another", "file"]);
    remove_file(bench.path("a.1")).unwrap();
    bench.restart("a", position);
    assert_eq!(bench.read(), ["another", "file"]);
    assert!(bench.health().lost_track);
}

#[test]
fn what_was_compressed_meanwhile_is_read_from_there() {
    let gz = |text: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    let zst = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
    let xz = |text: &[u8]| {
        let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 1);
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    let bz2 = |text: &[u8]| {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    };
    type Compress<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;
    for (ending, compress) in [("gz", &gz as Compress), ("zst", &zst), ("xz", &xz), ("bz2", &bz2)] {
        let old: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        let mut bench = follow("a", &old);
        assert_eq!(bench.read().len(), 1_000);
        let position = bench.position();
        remove_file(bench.path("a")).unwrap();
        // It went on, was rotated and compressed, as were its successors.
        write(bench.path(&format!("a-20261120.{ending}")), compress(format!("{old}1000\n").as_bytes()))
            .unwrap();
        write(bench.path(&format!("a-20261121.{ending}")), compress(b"1001\n1002\n")).unwrap();
        bench.append("a-20261122", "1003\n");
        bench.append("a", "1004\n");
        bench.restart("a", position);
        assert_eq!(bench.read(), ["1000", "1001", "1002", "1003", "1004"], "{ending}");
        assert!(!bench.health().lost_track);
        // All that is behind: the next start begins with the newest.
        bench.append("a", "1005\n");
        bench.restart("a", bench.position());
        assert_eq!(bench.read(), ["1005"]);
    }
}

#[test]
fn names_of_an_earlier_scheme_are_not_newer() {
    let mut bench = follow("a", "2\n");
    assert_eq!(bench.read(), ["2"]);
    // logrotate was told to use dates last year; what it numbered before is still there.
    bench.append("a.1", "1\n");
    let last_year = std::time::SystemTime::now() - Duration::from_secs(400 * 86_400);
    std::fs::File::open(bench.path("a.1")).unwrap().set_modified(last_year).unwrap();
    let position = bench.position();
    rename(bench.path("a"), bench.path("a-20261122")).unwrap();
    bench.append("a", "3\n");
    assert_eq!(bench.read(), ["3"]);
    bench.restart("a", position);
    assert_eq!(bench.read(), ["3"]);
}

#[test]
fn both_files_of_a_rotation_are_remembered() {
    let mut bench = follow("a", "1\n");
    rename(bench.path("a"), bench.path("a.1")).unwrap();
    bench.append("a", "new 1\n");
    assert_eq!(bench.read(), ["1", "new 1"]);
    // Some children of the server write to the old file, others to the new one, and toban is restarted.
    let position = bench.position();
    bench.append("a.1", "2\n");
    bench.append("a", "new 2\n");
    bench.restart("a", position);
    assert_eq!(bench.read(), ["2", "new 2"]);
    bench.append("a.1", "3\n");
    assert_eq!(bench.read(), ["3"]);
}

#[test]
fn several_renames_between_two_looks() {
    let mut bench = follow("a", "1\n");
    assert_eq!(bench.read(), ["1"]);
    for (number, text) in [(2, "3\n"), (3, "4\n"), (4, "5\n")] {
        for old in (1..number).rev() {
            let from = bench.path(&format!("a.{old}"));
            if from.exists() {
                rename(from, bench.path(&format!("a.{}", old + 1))).unwrap();
            }
        }
        if number == 2 {
            bench.append("a", "2\n");
        }
        rename(bench.path("a"), bench.path("a.1")).unwrap();
        bench.append("a", text);
    }
    assert_eq!(bench.read(), ["1", "2", "3", "4", "5"][1..]);
    assert_eq!((bench.health().rotations, bench.health().truncations), (3, 0));
}

#[test]
fn a_directory_that_is_made_anew_and_one_that_comes_later() {
    let mut bench = Bench::new();
    std::fs::create_dir(bench.path("logs")).unwrap();
    bench.append("logs/a", "1\n");
    let path = bench.path("logs/a");
    bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read(), ["1"]);
    let position = bench.position();
    rename(bench.path("logs"), bench.path("away")).unwrap();
    assert_eq!(bench.read(), [""; 0]);
    std::fs::create_dir(bench.path("logs")).unwrap();
    bench.append("logs/a", "2\n");
    assert_eq!(bench.read(), ["2"]);
    // The new directory wakes, too.
    while bench.tailer.wait(Duration::from_millis(1)) {}
    bench.append("logs/a", "3\n");
    assert!(bench.tailer.wait(Duration::from_secs(5)));
    assert_eq!(bench.read(), ["3"]);
    // Not mounted yet when toban starts.
    std::fs::remove_dir_all(bench.path("logs")).unwrap();
    bench.restart("logs/a", position.clone());
    assert_eq!(bench.read(), [""; 0]);
    assert!(bench.health().problem.is_some());
    assert_eq!(bench.position(), position, "what is not found yet is not forgotten");
    bench.append("away/a", "4\n");
    rename(bench.path("away"), bench.path("logs")).unwrap();
    assert_eq!(bench.read(), ["4"]);
    assert_eq!((bench.health().lost_track, bench.health().problem.as_deref()), (false, None));
}

#[test]
fn a_link_is_switched() {
    use std::os::unix::fs::symlink;
    let mut bench = Bench::new();
    bench.append("monday", "1\n");
    symlink(bench.path("monday"), bench.path("now")).unwrap();
    let path = bench.path("now");
    bench.tailer.add(&path, Start::Beginning).unwrap();
    assert_eq!(bench.read(), ["1"]);
    bench.append("monday", "2\n");
    bench.append("tuesday", "3\n");
    remove_file(&path).unwrap();
    symlink(bench.path("tuesday"), &path).unwrap();
    assert_eq!(bench.read(), ["2", "3"]);
    // And back, after which the same lines are not new.
    remove_file(&path).unwrap();
    symlink(bench.path("monday"), &path).unwrap();
    bench.append("monday", "4\n");
    bench.append("tuesday", "5\n");
    let mut lines = bench.read();
    lines.sort();
    assert_eq!(lines, ["4", "5"]);
    // What it names is rotated under its own name.
    let position = bench.position();
    bench.append("monday", "6\n");
    rename(bench.path("monday"), bench.path("monday.1")).unwrap();
    bench.append("monday", "7\n");
    bench.restart("now", position);
    assert_eq!(bench.read(), ["6", "7"]);
}

#[test]
fn a_hole_is_no_line() {
    let mut bench = follow("a", "1\n");
    let mut writer = OpenOptions::new().write(true).open(bench.path("a")).unwrap();
    writer.write_all(&b"old line\n".repeat(20_000)).unwrap();
    assert_eq!(bench.read().len(), 20_000);
    // Who does not append goes on at the old offset.
    bench.truncate("a");
    writer.write_all(b"new line\nand another\n").unwrap();
    assert_eq!(bench.read(), ["new line", "and another"]);
    assert_eq!(bench.health().cut_lines, 0);
}

#[test]
fn without_events_files_are_looked_at() {
    let mut bench = follow("a", "1\n");
    bench.tailer.watch = None;
    assert_eq!(bench.read(), ["1"]);
    bench.append("a", "2\n");
    assert!(bench.tailer.wait(Duration::from_millis(1)), "the caller is told to look");
    assert_eq!(bench.read(), ["2"]);
}

#[test]
fn many_logs_at_once() {
    let mut bench = Bench::new();
    const LOGS: usize = 200;
    for log in 0..LOGS {
        bench.append(&format!("{log}.log"), "1\n");
        let path = bench.path(&format!("{log}.log"));
        bench.tailer.add(&path, Start::Beginning).unwrap();
    }
    for log in 0..LOGS {
        let name = format!("{log}.log");
        bench.append(&name, "2\n");
        rename(bench.path(&name), bench.path(&format!("{name}.1"))).unwrap();
        bench.append(&name, "3\n");
    }
    let mut lines = vec![Vec::new(); LOGS];
    while bench.tailer.read(&mut |LogId(log), line| lines[log as usize].push(line[0])).more {}
    assert!(lines.iter().all(|lines| lines == b"123"));
    assert_eq!(bench.tailer.positions().len(), LOGS);
}

#[test]
fn a_look_at_the_middle_of_a_line_does_not_cut_it() {
    let mut bench = follow("a", "");
    let whole = "one line in many pieces, of which each is looked at";
    for piece in whole.as_bytes().chunks(3) {
        bench.append("a", std::str::from_utf8(piece).unwrap());
        assert_eq!(bench.read(), [""; 0]);
        let position = bench.position();
        bench.restart("a", position);
    }
    bench.append("a", "\n");
    assert_eq!(bench.read(), [whole]);
}
