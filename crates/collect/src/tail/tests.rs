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
