//! `toban scan`: whom toban's own detectors would blame for what stands in some logs, and for what.

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use toban_collect::Root;
use toban_collect::history::{self, Chunk, Wanted};
use toban_detect::{Place, Scan, Verdict};
use toban_model::Blamed;
use toban_model::event::Event;
use toban_parse::{Clock, Format, sniff};

use crate::cli::{self, Exit};
use crate::flow::{SNIFFED_LINES, service_of};
use crate::out::{eprint_all, print_all, style};
use crate::why::Asked;
use crate::{clock, meter};

/// Line numbers that are told of one who is blamed.
const LINES_MAX: usize = 1000;

/// One thread's part of the work.
struct Worker {
    scan: Scan,
    format: Format,
    lines: u64,
    misfits: u64,
    first_misfits: Vec<String>,
}

impl Worker {
    fn new(format: Format) -> Worker {
        Worker { scan: Scan::default(), format, lines: 0, misfits: 0, first_misfits: Vec::new() }
    }

    /// Takes whole lines, the first of which stands at `offset` in its file.
    fn take(&mut self, service: &str, file: u32, offset: u64, bytes: &[u8]) {
        let mut from = 0;
        while from < bytes.len() {
            let len = memchr::memchr(b'\n', &bytes[from..]).unwrap_or(bytes.len() - from);
            let line = &bytes[from..from + len];
            let place = (file, offset + from as u64);
            from += len + 1;
            if line.is_empty() {
                continue;
            }
            self.lines += 1;
            match self.format.parse(line) {
                Some(Event::Request(request)) => self.scan.request(service, &request, place),
                Some(event) => self.scan.event(service, &event, place),
                None => self.misfit(line),
            }
        }
    }

    #[cold]
    fn misfit(&mut self, line: &[u8]) {
        self.misfits += 1;
        if self.first_misfits.len() < 3 {
            self.first_misfits.push(crate::flow::shown(line));
        }
    }
}

/// Runs the command.
pub(crate) fn scan(asked: &Asked<'_>, scan: &cli::Scan) -> anyhow::Result<Exit> {
    let zone = scan.tz.clone().unwrap_or_else(|| asked.zone.clone());
    let present = clock::now();
    let now = scan.now.as_ref().map_or(Ok(present), |when| when.resolve(present, &zone))?;
    let clock = Clock { now, zone: zone.clone() };
    let mut all = Scan::default();
    for (number, log) in scan.logs.iter().enumerate() {
        let part = one(log, number as u32, scan, &clock)?;
        if number == 0 { all = part } else { all.absorb(part) }
    }
    let verdicts = all.blamed();
    let blamed = with_line_numbers(&scan.logs, verdicts)?;
    let busiest = scan.top.map(|n| all.census().busiest(usize::from(n)));
    if scan.json {
        print_all(&toban_views::json::scan(&blamed, busiest.as_ref()));
    } else {
        let style = style(asked.colour);
        print_all(&toban_views::text::blamed(&blamed, asked.lang, &zone, style));
        if let Some(busiest) = busiest {
            print_all(&toban_views::text::busiest(&busiest, asked.lang, style));
        }
    }
    Ok(if blamed.is_empty() { Exit::Ok } else { Exit::Finding })
}

/// Reads one log on all threads.
fn one(log: &Path, file: u32, scan: &cli::Scan, clock: &Clock) -> anyhow::Result<Scan> {
    let at = log.display();
    let root = Root::host();
    let path = std::path::absolute(log).unwrap_or_else(|_| log.to_path_buf());
    let format = match &scan.format {
        Some(text) => Format::from_name_or_string(text, clock)?,
        None => {
            let sample = history::sample(&root, &path).with_context(|| format!("could not read {at}"))?;
            let lines: Vec<&[u8]> =
                sample.split(|b| *b == b'\n').filter(|line| !line.is_empty()).take(SNIFFED_LINES).collect();
            match sniff(&lines, clock) {
                Some(format) => format,
                None if lines.is_empty() => return Ok(Scan::default()),
                None => bail!("{at}: no known format fits its lines; say which with --format"),
            }
        }
    };
    let service = service_of(&format).to_owned();
    let threads = if format.leans_on_earlier_lines() { 1 } else { scan.threads() };
    let mut workers: Vec<Worker> = (0..threads).map(|_| Worker::new(format.clone())).collect();
    let cut = if format.leans_on_earlier_lines() {
        in_order(&path, |offset, bytes| workers[0].take(&service, file, offset, bytes))?;
        0
    } else {
        let progress = history::Progress::default();
        let report = meter::during(&progress, || {
            let wanted = Wanted { progress: Some(&progress), alone: true, ..Wanted::default() };
            history::read(&root, &path, &wanted, &mut workers, |worker, chunk: Chunk<'_>| {
                worker.take(&service, file, chunk.offset, chunk.bytes);
                ControlFlow::Continue(())
            })
        })?;
        if let Some(problem) = report.files.iter().find_map(|file| file.problem.as_ref()) {
            eprint_all(&format!("toban: could not read all of {at}: {problem}\n"));
        }
        report.cut_lines
    };
    let mut workers = workers.into_iter();
    let Some(mut whole) = workers.next() else { bail!("no thread to read with") };
    for worker in workers {
        whole.scan.absorb(worker.scan);
        whole.lines += worker.lines;
        whole.misfits += worker.misfits;
        whole.first_misfits.extend(worker.first_misfits);
    }
    let mut said =
        format!("{at}: {}; {} lines, {} did not fit", format.describe(), whole.lines, whole.misfits + cut);
    for misfit in whole.first_misfits.iter().take(3) {
        said += &format!("\n    {misfit}");
    }
    eprint_all(&(said + "\n"));
    Ok(whole.scan)
}

/// Hands over whole lines from the first to the last, with the offset of each piece.
fn in_order(path: &Path, mut each: impl FnMut(u64, &[u8])) -> anyhow::Result<()> {
    let mut log = history::stream(path).with_context(|| format!("could not read {}", path.display()))?;
    let (mut line, mut offset) = (Vec::new(), 0);
    loop {
        line.clear();
        let len =
            log.read_until(b'\n', &mut line).with_context(|| format!("could not read {}", path.display()))?;
        if len == 0 {
            return Ok(());
        }
        each(offset, &line);
        offset += len as u64;
    }
}

/// Those who are blamed, with the numbers of their lines, counted from 1.
fn with_line_numbers(logs: &[PathBuf], verdicts: Vec<Verdict>) -> anyhow::Result<Vec<Blamed>> {
    let mut numbers: Vec<BTreeMap<u64, u64>> = vec![BTreeMap::new(); logs.len()];
    for (file, offset) in verdicts.iter().flat_map(|(_, places)| places.iter().take(LINES_MAX)) {
        numbers[*file as usize].insert(*offset, 0);
    }
    for (log, numbers) in logs.iter().zip(&mut numbers) {
        number_lines(log, numbers).with_context(|| format!("could not read {}", log.display()))?;
    }
    let number = |(file, offset): &Place| numbers[*file as usize].get(offset).copied();
    Ok(verdicts
        .into_iter()
        .map(|(blamed, places)| {
            let lines = places.iter().take(LINES_MAX).filter_map(number).collect();
            Blamed { lines, ..blamed }
        })
        .collect())
}

/// Finds the numbers of the lines that begin at these offsets.
fn number_lines(log: &Path, numbers: &mut BTreeMap<u64, u64>) -> anyhow::Result<()> {
    let mut wanted = numbers.iter_mut().peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let mut log = history::stream(log)?;
    let (mut offset, mut number) = (0u64, 1u64);
    while wanted.peek().is_some() {
        let bytes = log.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        let mut counted = 0;
        while let Some((place, line)) = wanted.next_if(|(place, _)| **place < offset + len as u64) {
            let at = (*place - offset) as usize;
            number += memchr::memchr_iter(b'\n', &bytes[counted..at]).count() as u64;
            counted = at;
            *line = number;
        }
        number += memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
        offset += len as u64;
        log.consume(len);
    }
    Ok(())
}
