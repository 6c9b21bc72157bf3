//! The past of logs as rotation leaves it: names, copies, archives whole and damaged, budgets, threads.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use super::*;

fn gz(path: &Path, text: &str) {
    std::fs::write(path, gz_bytes(text.as_bytes())).unwrap();
}

fn gz_bytes(text: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn zst_bytes(text: &[u8]) -> Vec<u8> {
    let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
    // As zstd(1) does.
    writer.include_checksum(true).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn xz_bytes(text: &[u8]) -> Vec<u8> {
    let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 6);
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

fn bz2_bytes(text: &[u8]) -> Vec<u8> {
    let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    writer.write_all(text).unwrap();
    writer.finish().unwrap()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: &[(&str, Compress)] =
    &[("gz", gz_bytes), ("zst", zst_bytes), ("xz", xz_bytes), ("bz2", bz2_bytes)];

/// Lines of these tests tell their time as `@123 …`.
fn time_of(line: &[u8]) -> Option<Time> {
    let number = line.strip_prefix(b"@")?.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(number).ok()?.parse().ok().map(Time::from_secs)
}

const ALL: Wanted<'static> = Wanted {
    budget_bytes: None,
    deadline: None,
    time_of: &time_of,
    progress: None,
    alone: None,
    wants: &|_, _| true,
};

fn lines_of(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

fn collect_wanted(path: &Path, wanted: &Wanted<'_>) -> (Vec<String>, Report) {
    let mut workers = [Vec::new()];
    let report = read(&Root::host(), path, wanted, &mut workers, |lines, chunk| {
        lines.extend(lines_of(chunk.bytes));
        ControlFlow::Continue(())
    })
    .unwrap();
    let [lines] = workers;
    (lines, report)
}

fn collect(path: &Path, budget: u64) -> (Vec<String>, Report) {
    collect_wanted(path, &Wanted { budget_bytes: Some(budget), ..ALL })
}

/// Numbered lines with times, of different lengths.
fn numbered(range: std::ops::Range<u64>) -> String {
    let words = "GET /index.html HTTP/1.1 200 5120 Mozilla/5.0 (compatible) ".repeat(6);
    range.map(|n| format!("@{n} {}\n", &words[..(n * 7919 % 300) as usize])).collect()
}

/// The numbers of the lines that several workers took, sorted.
fn numbers(path: &Path, wanted: &Wanted<'_>, workers: usize) -> (Vec<i64>, Report) {
    let mut taken = vec![Vec::new(); workers];
    let report = read(&Root::host(), path, wanted, &mut taken, |numbers, chunk| {
        assert!(chunk.bytes.len() <= limits::HISTORY_CHUNK_BYTES);
        numbers.extend(chunk.bytes.split(|b| *b == b'\n').filter_map(time_of).map(Time::as_secs));
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut all = taken.concat();
    all.sort_unstable();
    (all, report)
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
    assert_eq!(report.end.as_ref().unwrap().last.offset, 6);
    // The tail goes on exactly where the history ended.
    let mut tailer = crate::tail::Tailer::new(Root::host());
    tailer.add(&path, crate::tail::Start::At(report.end.unwrap())).unwrap();
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"shed\n").unwrap();
    let mut next = Vec::new();
    tailer.read(&mut |_, line| next.push(String::from_utf8_lossy(line).into_owned()));
    assert_eq!(next, ["unfinished"]);
}

#[test]
fn a_server_may_still_write_to_the_file_rotated_last() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let append = |name: &str, text: &str| {
        File::options().append(true).create(true).open(at(name)).unwrap().write_all(text.as_bytes()).unwrap();
    };
    append("a.1", "1\n");
    append("a", "");
    let follow = |position: Position| {
        let mut tailer = crate::tail::Tailer::new(Root::host());
        tailer.add(&at("a"), crate::tail::Start::At(position)).unwrap();
        let mut lines = Vec::new();
        while tailer.read(&mut |_, line| lines.push(String::from_utf8_lossy(line).into_owned())).more {}
        (lines, tailer.positions().remove(0).1)
    };
    let (lines, report) = collect_wanted(&at("a"), &ALL);
    assert_eq!(lines, ["1"]);
    append("a.1", "2\n");
    append("a", "3\n");
    let (lines, position) = follow(report.end.unwrap());
    assert_eq!(lines, ["2", "3"]);
    append("a.1", "4\n");
    assert_eq!(follow(position).0, ["4"]);
    // Right after a rotation the log itself may not be there yet.
    std::fs::remove_file(at("a")).unwrap();
    let (lines, report) = collect_wanted(&at("a"), &ALL);
    assert_eq!(lines, ["1", "2", "4"]);
    append("a.1", "5\n");
    append("a", "6\n");
    assert_eq!(follow(report.end.unwrap()).0, ["5", "6"]);
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
    let missing = dir.path().join("b");
    let missing = read(&Root::host(), &missing, &ALL, &mut [()], |(), _| ControlFlow::Continue(()));
    assert!(missing.unwrap_err().is_missing());
}

#[test]
fn a_line_without_end_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, format!("1\n{}\n2\n", "x".repeat(3 << 20))).unwrap();
    let (mut lines, report) = collect(&path, 1 << 30);
    lines.sort();
    assert_eq!((lines, report.cut_lines), (vec!["1".to_owned(), "2".to_owned()], 1));
}

#[test]
fn every_line_once_whatever_the_workers_and_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    std::fs::write(&path, numbered(60_000..90_000)).unwrap();
    // By their names two of them are in the wrong order; `.4` calls itself plain and is not.
    std::fs::write(dir.path().join("access.log.1"), numbered(40_000..60_000)).unwrap();
    std::fs::write(dir.path().join("access.log.2.gz"), gz_bytes(numbered(10_000..20_000).as_bytes()))
        .unwrap();
    std::fs::write(dir.path().join("access.log.3.zst"), zst_bytes(numbered(20_000..40_000).as_bytes()))
        .unwrap();
    std::fs::write(dir.path().join("access.log.4"), bz2_bytes(numbered(5_000..10_000).as_bytes())).unwrap();
    std::fs::write(dir.path().join("access.log-20200101.xz"), xz_bytes(numbered(0..5_000).as_bytes()))
        .unwrap();
    let progress = Progress::default();
    for workers in 1..=4 {
        let (numbers, report) = numbers(&path, &Wanted { progress: Some(&progress), ..ALL }, workers);
        assert!(numbers.into_iter().eq(0..90_000), "{workers} workers");
        assert!(report.complete && report.stopped.is_none() && report.cut_lines == 0);
        assert_eq!(report.since, Some(Time::from_secs(0)));
        let names: Vec<_> =
            report.files.iter().map(|f| f.path.file_name().unwrap().to_str().unwrap()).collect();
        let newest_first = ["", ".1", ".3.zst", ".2.gz", ".4", "-20200101.xz"];
        assert_eq!(names, newest_first.map(|ending| format!("access.log{ending}")));
    }
    let on_disk: u64 =
        std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert_eq!((progress.done(), progress.all()), (4 * on_disk, 4 * on_disk));
    assert_eq!(size(&Root::host(), &path, None).unwrap(), on_disk);
}

#[test]
fn a_budget_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let (newest, older, oldest) = (numbered(20_000..30_000), numbered(10_000..20_000), numbered(0..10_000));
    std::fs::write(&path, &newest).unwrap();
    std::fs::write(dir.path().join("a.1"), &older).unwrap();
    std::fs::write(dir.path().join("a.2.gz"), gz_bytes(oldest.as_bytes())).unwrap();
    let all = newest.len() + older.len() + oldest.len();
    for workers in [1, 3] {
        for budget in
            [1, 1_000, newest.len() / 2, newest.len() + 10_000, all - oldest.len() / 2, all - 1, all]
        {
            let wanted = Wanted { budget_bytes: Some(budget as u64), ..ALL };
            let (numbers, report) = numbers(&path, &wanted, workers);
            assert!(report.bytes <= budget as u64);
            assert!(report.bytes + 400 > budget as u64 || workers > 1, "{} of {budget}", report.bytes);
            let first = numbers.first().copied();
            assert_eq!(report.since.map(Time::as_secs), first, "budget {budget}");
            assert!(numbers.into_iter().eq(first.unwrap_or(30_000)..30_000), "budget {budget}");
            assert_eq!(report.stopped, (budget < all).then_some(Stop::Budget));
            assert_eq!(report.complete, budget == all);
        }
    }
}

#[test]
fn an_archive_that_says_nothing_of_its_size_is_cut_at_the_budget() {
    for (ending, compress) in COMPRESSIONS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, numbered(30_000..30_010)).unwrap();
        // Two members: the trailer of gzip tells of the last alone.
        let members = [numbered(10_000..29_000), numbered(29_000..30_000)];
        let newer: Vec<u8> = members.iter().flat_map(|text| compress(text.as_bytes())).collect();
        std::fs::write(dir.path().join(format!("a.1.{ending}")), newer).unwrap();
        std::fs::write(dir.path().join(format!("a.2.{ending}")), compress(numbered(0..10_000).as_bytes()))
            .unwrap();
        for workers in [1, 2] {
            let (taken, report) = numbers(&path, &ALL, workers);
            assert!(taken.into_iter().eq(0..30_010), "{ending}");
            assert!(report.complete);
            let (taken, report) = numbers(&path, &Wanted { budget_bytes: Some(1_000_000), ..ALL }, workers);
            assert_eq!(report.stopped, Some(Stop::Budget));
            assert!(report.bytes <= 1_000_000 && taken.is_sorted_by(|a, b| a < b), "{ending}");
            // Whatever part of the archive it was, what stands behind a gap is not called unbroken.
            let since = report.since.unwrap().as_secs();
            assert!((10_000..=30_000).contains(&since));
            assert!(taken.iter().copied().filter(|n| *n >= since).eq(since..30_010), "{ending} {since}");
        }
    }
}

#[test]
fn a_deadline_that_has_passed_still_tells_where_to_follow() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "1\n2\nunfini").unwrap();
    let (lines, report) = collect_wanted(&path, &Wanted { deadline: Some(Instant::now()), ..ALL });
    assert_eq!(lines, [""; 0]);
    assert_eq!((report.stopped, report.end.as_ref().unwrap().last.offset), (Some(Stop::Deadline), 4));
    assert_eq!(report.files[0].part, Part::Nothing);
}

#[test]
fn a_deadline_ends_it_and_what_was_read_is_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, numbered(0..50_000)).unwrap();
    let wanted = Wanted { deadline: Some(Instant::now() + Duration::from_millis(100)), ..ALL };
    let mut workers = [Vec::new(), Vec::new()];
    let report = read(&Root::host(), &path, &wanted, &mut workers, |taken, chunk| {
        taken.extend(chunk.bytes.split(|b| *b == b'\n').filter_map(time_of).map(Time::as_secs));
        std::thread::sleep(Duration::from_millis(40));
        ControlFlow::Continue(())
    })
    .unwrap();
    let mut taken = workers.concat();
    taken.sort_unstable();
    assert_eq!((report.stopped, report.files[0].part), (Some(Stop::Deadline), Part::End));
    assert!(taken.iter().copied().eq(taken[0]..50_000) && taken[0] > 0);
    assert_eq!(report.since, Some(Time::from_secs(taken[0])));
}

#[test]
fn the_caller_breaks_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, numbered(0..50_000)).unwrap();
    gz(&dir.path().join("a.1.gz"), "@0 older\n");
    let mut chunks = [0];
    let report = read(&Root::host(), &path, &ALL, &mut chunks, |chunks, chunk| {
        assert!(chunk.is_newest() && chunk.path == path);
        *chunks += 1;
        if *chunks == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!((chunks, report.stopped), ([2], Some(Stop::Caller)));
    assert_eq!((report.files[0].part, report.files[1].part), (Part::End, Part::Nothing));
}

#[test]
fn nobody_waits_for_a_worker_that_panicked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    // It does not say how large it is, so all of the budget is kept for it.
    std::fs::write(dir.path().join("a.1.zst"), zst_bytes(numbered(100..200).as_bytes())).unwrap();
    std::fs::write(dir.path().join("a.2.zst"), zst_bytes(numbered(0..100).as_bytes())).unwrap();
    let panicked = std::panic::catch_unwind(|| {
        let wanted = Wanted { budget_bytes: Some(1_000), ..ALL };
        read(&Root::host(), &path, &wanted, &mut [(), ()], |(), _| {
            std::thread::sleep(Duration::from_millis(50));
            panic!("a bug in the caller")
        })
    });
    assert!(panicked.is_err());
}

#[test]
fn damaged_archives_give_the_whole_lines_they_have() {
    for (ending, compress) in COMPRESSIONS {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "@900000 now\n").unwrap();
        let mut truncated = compress(numbered(20_000..40_000).as_bytes());
        truncated.truncate(truncated.len() * 2 / 3);
        std::fs::write(dir.path().join(format!("a.1.{ending}")), truncated).unwrap();
        let mut flipped = compress(numbered(5_000..20_000).as_bytes());
        let middle = flipped.len() / 2;
        flipped[middle..middle + 64].fill(0x55);
        std::fs::write(dir.path().join(format!("a.2.{ending}")), flipped).unwrap();
        std::fs::write(dir.path().join("a.3"), numbered(0..5_000)).unwrap();
        let (numbers, report) = numbers(&path, &ALL, 2);
        let newer: Vec<i64> = numbers.iter().copied().filter(|n| (20_000..40_000).contains(n)).collect();
        assert!(newer.iter().copied().eq(20_000..20_000 + newer.len() as i64), "{ending}");
        // A block of bzip2 is larger than what is left here.
        assert!(newer.len() > 1_000 || *ending == "bz2", "{ending} {}", newer.len());
        // What stands behind the damage may be rubbish before a checksum tells.
        assert!((0..5_000).all(|n| numbers.binary_search(&n).is_ok()), "reading goes on: {ending}");
        let problems: Vec<bool> = report.files.iter().map(|file| file.problem.is_some()).collect();
        assert_eq!(problems, [false, true, true, false], "{ending}");
        assert!(!report.complete && report.stopped.is_none());
        assert_eq!(report.since, Some(Time::from_secs(900_000)), "{ending}");
    }
}

#[test]
fn what_stands_there_twice_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let at = |name: &str| dir.path().join(name);
    std::fs::write(&path, numbered(900..1_000)).unwrap();
    // logrotate copies the log and will truncate it; gzip has written half of `.1.gz`; `.2` has been renamed while it
    // was compressed.
    std::fs::write(at("a.1"), numbered(900..950)).unwrap();
    std::fs::write(at("a.2"), numbered(500..900)).unwrap();
    let half = gz_bytes(numbered(500..900).as_bytes());
    std::fs::write(at("a.2.gz"), &half[..half.len() / 2]).unwrap();
    std::fs::write(at("a.3.gz"), gz_bytes(numbered(0..500).as_bytes())).unwrap();
    std::fs::write(at("a.4.zst"), zst_bytes(numbered(0..500).as_bytes())).unwrap();
    std::os::unix::fs::symlink(at("a.4.zst"), at("a.5.zst")).unwrap();
    let (numbers, report) = numbers(&path, &ALL, 1);
    assert!(numbers.into_iter().eq(0..1_000));
    assert_eq!(report.files.len(), 3);
    assert!(report.complete);
    // Without times only names tell twins: equal lines alone may be of two days.
    std::fs::write(at("b"), "ping\n").unwrap();
    std::fs::write(at("b.1"), "ping\npong\n").unwrap();
    gz(&at("b.1.gz"), "ping\npong\n");
    assert_eq!(collect_wanted(&at("b"), &ALL).0, ["ping", "ping", "pong"]);
}

#[test]
fn names_tell_where_lines_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "now\n").unwrap();
    std::fs::write(dir.path().join("a.1"), "@100 older\n").unwrap();
    std::fs::write(dir.path().join("a.2"), "banner\n@300 newer\n").unwrap();
    std::fs::write(dir.path().join("a.3"), "oldest\n").unwrap();
    let (lines, _) = collect_wanted(&path, &ALL);
    assert_eq!(lines, ["now", "banner", "@300 newer", "@100 older", "oldest"]);
}

#[test]
fn long_lines_between_chunks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let chunk = limits::HISTORY_CHUNK_BYTES;
    // Lines of exactly a chunk, one more and one less, and some around a boundary.
    for long in [chunk - 2, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 17] {
        let text = format!("@1 a\n@2 b\n{}\n@3 c\n", "x".repeat(long));
        std::fs::write(&path, &text).unwrap();
        let archive = dir.path().join("other.gz");
        gz(&archive, &text);
        for path in [&path, &archive] {
            let (lines, report) = collect_wanted(path, &ALL);
            let short = lines.iter().filter(|line| line.starts_with('@')).count();
            assert_eq!((short, report.cut_lines), (3, u64::from(long >= chunk)), "{long}");
            assert_eq!(lines.len(), 3 + usize::from(long < chunk));
            assert!(report.complete);
        }
    }
}

#[test]
fn samples_come_from_the_newest_file_that_has_lines() {
    let root = Root::host();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    gz(&dir.path().join("a.2.gz"), &numbered(0..1_000));
    assert!(sample(&root, &path).unwrap().starts_with(b"@0 "));
    std::fs::write(dir.path().join("a.1"), numbered(1_000..2_000)).unwrap();
    let lines = sample(&root, &path).unwrap();
    let numbers: Vec<i64> = lines
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| time_of(l).unwrap().as_secs())
        .collect();
    assert!(numbers.iter().copied().eq(numbers[0]..2_000) && numbers[0] > 1_000);
    assert!(lines.len() <= limits::SAMPLE_BYTES && lines.len() + 400 > limits::SAMPLE_BYTES);
    std::fs::write(&path, "").unwrap();
    assert_eq!(sample(&root, &path).unwrap(), lines, "an empty file has none");
    std::fs::write(&path, "new\nunfini").unwrap();
    assert_eq!(sample(&root, &path).unwrap(), b"new\n");
    assert!(sample(&root, &dir.path().join("b")).unwrap_err().is_missing());
}

#[test]
fn a_stream_reads_every_compression() {
    let dir = tempfile::tempdir().unwrap();
    let text = numbered(0..10_000);
    let path = dir.path().join("plain.log");
    std::fs::write(&path, &text).unwrap();
    let read_all = |path: &Path| {
        let mut bytes = Vec::new();
        stream(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    assert!(read_all(&path) == text.as_bytes());
    for (_, compress) in COMPRESSIONS {
        std::fs::write(&path, [compress(text.as_bytes()), compress(b"and more\n")].concat()).unwrap();
        assert!(read_all(&path) == format!("{text}and more\n").as_bytes());
    }
    let lz4 = dir.path().join("a.lz4");
    File::create(&lz4).unwrap().write_all(b"\x04\x22\x4d\x18rest").unwrap();
    assert!(stream(&lz4).err().unwrap().to_string().contains("gzip, zstd, xz or bzip2"));
}
