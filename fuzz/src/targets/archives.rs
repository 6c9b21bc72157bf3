//! Any bytes as the rotated, compressed past of a log.
//!
//! The input is four bytes that choose the compression, the budget, and how an archive of the rest is damaged, and the
//! rest. It is read within its budget, each line once, and a damaged archive costs nothing but what stands behind the
//! damage.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use tempfile::TempDir;
use toban_collect::history::{self, Part, Wanted};
use toban_collect::{Root, limits};

use crate::Target;

pub(super) const TARGET: Target = Target { id: "archives", run, seeds };

type Compress = fn(&[u8]) -> Vec<u8>;

const COMPRESSIONS: [(&str, Compress); 4] = [
    ("gz", |text| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(text).and_then(|()| writer.finish()).expect("memory takes all")
    }),
    ("zst", |text| zstd::encode_all(text, 1).expect("memory takes all")),
    ("xz", |text| {
        let mut writer = liblzma::write::XzEncoder::new(Vec::new(), 0);
        writer.write_all(text).and_then(|()| writer.finish()).expect("memory takes all")
    }),
    ("bz2", |text| {
        let mut writer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        writer.write_all(text).and_then(|()| writer.finish()).expect("memory takes all")
    }),
];

/// The log that is being written, beside its archive.
const NEWEST: &[u8] = b"newest\n";
/// What a few bytes can be blown up to stays below this.
const BUDGETS: [u64; 4] = [4 << 20, 1 << 16, 1000, 20];
/// Enough to see that a stream goes on.
const STREAMED_MAX: u64 = 1 << 20;

thread_local! {
    /// One directory for all inputs, in memory where there is such a place.
    static DIRECTORY: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

fn run(input: &[u8]) {
    let Some(([choice, damage, at, value], rest)) =
        input.split_first_chunk().map(|(head, rest)| (*head, rest))
    else {
        return;
    };
    let (ending, compress) = COMPRESSIONS[usize::from(choice & 3)];
    let budget = BUDGETS[usize::from(choice >> 2 & 3)];
    let alone = choice & 16 != 0;
    // Either these bytes are the archive, or they are the lines in it and it is damaged.
    let raw = choice & 32 != 0;
    let mut archive = if raw { rest.to_vec() } else { compress(rest) };
    let place = usize::from(at) * archive.len() / 256;
    match damage % 5 {
        1 => archive.truncate(place),
        2 => archive[place..].iter_mut().take(1).for_each(|byte| *byte ^= value.max(1)),
        3 => archive.extend_from_within(place..),
        4 => drop(archive.drain(place..(place + usize::from(value)).min(archive.len()))),
        _ => {}
    }
    let whole = !raw && damage % 5 == 0;
    DIRECTORY.with_borrow_mut(|directory| {
        let directory = directory.get_or_insert_with(directory_in_memory);
        let path = directory.path().join("a.log");
        let older = directory.path().join(format!("a.log.1.{ending}"));
        fs::write(&path, NEWEST)
            .and_then(|()| fs::write(&older, &archive))
            .expect("the directory takes files");
        read(if alone { &older } else { &path }, budget, alone, whole.then_some(rest));
        if let Ok(stream) = history::stream(&older) {
            let mut streamed = Vec::new();
            let ended = stream.take(STREAMED_MAX).read_to_end(&mut streamed);
            assert!(!whole || ended.is_ok() && streamed == rest, "a whole archive is streamed whole");
        }
        fs::remove_file(&older).expect("it was written above");
    });
}

fn directory_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("there is a place for temporary files")
}

/// Reads a log and its past; `lines` is what the archive must hold if nothing is wrong with it.
fn read(path: &Path, budget: u64, alone: bool, lines: Option<&[u8]>) {
    let wanted = Wanted { budget_bytes: Some(budget), alone: alone.then_some(u64::MAX), ..Wanted::default() };
    let mut workers = [Vec::<(usize, u64, Vec<u8>)>::new()];
    let report = history::read(&Root::host(), path, &wanted, &mut workers, |chunks, chunk| {
        assert!(!chunk.bytes.is_empty() && chunk.bytes.len() <= limits::HISTORY_CHUNK_BYTES);
        chunks.push((chunk.file, chunk.offset, chunk.bytes.to_vec()));
        ControlFlow::Continue(())
    });
    let report = report.expect("there is a log");
    let [chunks] = workers;
    let handed: u64 = chunks.iter().map(|(.., bytes)| bytes.len() as u64).sum();
    assert_eq!(report.bytes, handed);
    assert!(handed <= budget, "{handed} of {budget}");
    assert_eq!(report.bytes, report.files.iter().map(|file| file.bytes).sum::<u64>());
    let older = report.files.len() - 1;
    let of_archive: Vec<_> =
        chunks.iter().filter(|(file, ..)| *file == older && (alone || older > 0)).collect();
    let mut end = None;
    for (_, offset, bytes) in &of_archive {
        assert!(end.is_none_or(|end| end <= *offset), "each line once");
        end = Some(offset + bytes.len() as u64);
    }
    for file in &report.files {
        assert!(file.part != Part::Nothing || file.bytes == 0);
        assert!(file.problem.is_none() || !report.complete);
    }
    if let (Some(lines), true, true) = (lines, report.complete, report.cut_lines == 0) {
        let handed: Vec<u8> = of_archive.iter().flat_map(|(.., bytes)| bytes.iter().copied()).collect();
        assert!(handed == lines, "a whole archive is handed over whole");
    }
    let wanted_all = NEWEST.len() as u64 + lines.map_or(0, |lines| lines.len() as u64);
    if lines.is_some_and(|lines| lines.len() < limits::HISTORY_CHUNK_BYTES) && wanted_all <= budget {
        assert!(report.complete, "{report:?}");
    }
    let sample = history::sample(&Root::host(), path).expect("there is a log");
    assert!(sample.len() <= limits::SAMPLE_BYTES && sample.last().is_none_or(|byte| *byte == b'\n'));
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let text = b"192.0.2.10 - - [22/Nov/2026:10:23:44 +0900] \"GET / HTTP/1.1\" 200 5\nsecond\nthird";
    let mut seeds = Vec::new();
    for (n, (ending, compress)) in (0u8..).zip(COMPRESSIONS) {
        for (name, damage) in ["whole", "truncated", "flipped", "repeated", "shortened"].into_iter().zip(0..)
        {
            seeds.push((format!("{ending}-{name}"), [&[n, damage, 128, 3], &text[..]].concat()));
        }
        let members = [compress(text), compress(b"\nmore\n")].concat();
        seeds.push((format!("{ending}-raw"), [&[n | 32, 0, 0, 0], &members[..]].concat()));
    }
    seeds
}
