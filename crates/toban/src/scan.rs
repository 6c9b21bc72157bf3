//! `toban scan`: whom toban's own detectors would blame for what stands in some logs, and for what.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail};
use toban_collect::history::{self, Chunk, Wanted};
use toban_collect::{Root, limits};
use toban_detect::{Again, Place, Scan, Verdict};
use toban_model::Blamed;
use toban_model::event::Event;
use toban_parse::{Clock, Format, sniff};

use crate::cli::{self, Exit};
use crate::flow::{SNIFFED_LINES, is_blank, lines_of, service_of, shown};
use crate::out::{eprint_all, print_all, style};
use crate::why::Asked;
use crate::{clock, meter};

/// Lines that do not fit and are shown.
const MISFITS_SHOWN: usize = 3;

/// A log that is read, perhaps twice.
struct Log<'a> {
    path: &'a Path,
    /// Among all logs.
    number: u32,
    format: Format,
    threads: usize,
}

/// One thread's part of a reading.
struct Worker<T> {
    format: Format,
    /// What it is for.
    part: T,
    lines: u64,
    misfits: u64,
    first_misfits: Vec<String>,
}

impl<T> Worker<T> {
    /// Takes whole lines, the first of which stands at `offset` in its file.
    fn take(&mut self, (file, offset): Place, bytes: &[u8], each: impl Fn(&mut T, &Event<'_>, Place)) {
        let mut from = 0;
        while from < bytes.len() {
            let len = memchr::memchr(b'\n', &bytes[from..]).unwrap_or(bytes.len() - from);
            let line = &bytes[from..from + len];
            let place = (file, offset + from as u64);
            from += len + 1;
            let event = self.format.parse(line);
            if event.is_none() && is_blank(line) {
                continue;
            }
            self.lines += 1;
            match event {
                Some(event) => each(&mut self.part, &event, place),
                None => self.misfit(line),
            }
        }
    }

    #[cold]
    fn misfit(&mut self, line: &[u8]) {
        self.misfits += 1;
        if self.first_misfits.len() < MISFITS_SHOWN {
            self.first_misfits.push(shown(line));
        }
    }
}

/// Runs the command.
pub(crate) fn scan(asked: &Asked<'_>, scan: &cli::Scan) -> anyhow::Result<Exit> {
    let zone = scan.tz.clone().unwrap_or_else(|| asked.zone.clone());
    let present = clock::now();
    let now = scan.now.as_ref().map_or(Ok(present), |when| when.resolve(present, &zone))?;
    let clock = Clock { now, zone: zone.clone() };
    let (mut logs, mut all, mut is_whole) = (Vec::new(), None::<Scan>, true);
    for (number, path) in scan.logs.iter().enumerate() {
        // One that cannot be read is no reason to say nothing of the others.
        let log = Log::open(path, number as u32, scan, &clock);
        match log.and_then(|log| log.map(|log| Ok((log.count()?, log))).transpose()) {
            Ok(Some(((found, whole), log))) => {
                is_whole &= whole;
                match &mut all {
                    Some(all) => all.absorb(found),
                    None => all = Some(found),
                }
                logs.push(log);
            }
            Ok(None) => eprint_all(&format!("{}: it is empty\n", path.display())),
            Err(error) if scan.logs.len() == 1 => return Err(error),
            Err(error) if error.is::<toban_parse::Error>() => return Err(error),
            Err(error) => {
                is_whole = false;
                eprint_all(&format!("toban: {error:#}\n"));
            }
        }
    }
    let all = all.unwrap_or_else(|| Scan::new("", false));
    let judgement = all.judge();
    let mut again: BTreeMap<&str, Again> = BTreeMap::new();
    for log in &logs {
        let service = log.service();
        if let Some(fresh) = judgement.again(service) {
            let found = log.read_again(&fresh)?;
            again.entry(service).or_insert(fresh).absorb(found);
        }
    }
    let blamed = with_line_numbers(&scan.logs, judgement.verdicts(again.into_values()))?;
    let busiest = scan.top.map(|n| all.census().busiest(usize::from(n)));
    if scan.json {
        let names: Vec<String> = scan.logs.iter().map(|log| log.display().to_string()).collect();
        print_all(&toban_views::json::scan(&blamed, busiest.as_ref(), &names));
    } else {
        let style = style(asked.colour);
        print_all(&toban_views::text::blamed(&blamed, asked.lang, &zone, style));
        if let Some(busiest) = busiest {
            print_all(&toban_views::text::busiest(&busiest, asked.lang, style));
        }
    }
    Ok(if is_whole { Exit::Ok } else { Exit::CouldNot })
}

impl<'a> Log<'a> {
    fn open(path: &'a Path, number: u32, scan: &cli::Scan, clock: &Clock) -> anyhow::Result<Option<Log<'a>>> {
        let at = path.display();
        let sample = sample(path).with_context(|| format!("could not read {at}"))?;
        let lines: Vec<&[u8]> = lines_of(&sample).take(SNIFFED_LINES).collect();
        let format = match &scan.format {
            Some(text) => Format::from_name_or_string(text, clock)?,
            None => match sniff(&lines, clock) {
                Some(format) => format,
                None if lines.iter().all(|line| is_blank(line)) => return Ok(None),
                None => bail!("{at}: no known format fits its lines; say which with --format"),
            },
        };
        let threads = if format.leans_on_earlier_lines() { 1 } else { scan.threads() };
        Ok(Some(Log { path, number, format, threads }))
    }

    fn service(&self) -> &'static str {
        service_of(&self.format)
    }

    /// Counts everything that is in it; and whether that is all.
    fn count(&self) -> anyhow::Result<(Scan, bool)> {
        let at = self.path.display();
        let fresh = Scan::new(self.service(), self.format.id() == "squid");
        let (mut whole, told) = self.read(|| fresh.clone(), |_, _| true, Scan::event, Scan::absorb)?;
        whole.part.end();
        if let Some(problem) = &told.problem {
            eprint_all(&format!("toban: could not read all of {at}: {problem}\n"));
        }
        if whole.misfits > 0 && whole.misfits == whole.lines {
            let example = whole.first_misfits.first().map_or("", String::as_str);
            bail!(
                "{at}: none of its lines is of the format {}. It begins: {example}",
                self.format.describe()
            );
        }
        let misfits = whole.misfits + told.cut_lines;
        let mut said =
            format!("{at}: {}; {} lines, {misfits} did not fit", self.format.describe(), whole.lines);
        for misfit in whole.first_misfits.iter().take(MISFITS_SHOWN) {
            said += &format!("\n    {misfit}");
        }
        eprint_all(&(said + "\n"));
        Ok((whole.part, told.problem.is_none()))
    }

    /// Looks up what one reading could not tell.
    fn read_again(&self, fresh: &Again) -> anyhow::Result<Again> {
        let each = |again: &mut Again, event: &Event<'_>, place: Place| {
            if let Event::Request(request) = event {
                again.request(request, place);
            }
        };
        let wants = |again: &Again, (from, to): (u64, u64)| again.wants(self.number, from, to);
        Ok(self.read(|| fresh.clone(), wants, each, Again::absorb)?.0.part)
    }

    /// Reads it on all threads: the parts of it that are wanted, line by line.
    fn read<T: Send>(
        &self,
        fresh: impl Fn() -> T,
        wants: impl Fn(&T, (u64, u64)) -> bool + Sync,
        each: impl Fn(&mut T, &Event<'_>, Place) + Sync,
        absorb: impl Fn(&mut T, T),
    ) -> anyhow::Result<(Worker<T>, Told)> {
        let worker = |_| Worker {
            format: self.format.clone(),
            part: fresh(),
            lines: 0,
            misfits: 0,
            first_misfits: Vec::new(),
        };
        let mut workers: Vec<Worker<T>> = (0..self.threads).map(worker).collect();
        let told = if self.format.leans_on_earlier_lines() {
            in_order(self.path, |offset, bytes| workers[0].take((self.number, offset), bytes, &each))?
        } else {
            let progress = history::Progress::default();
            let report = meter::during(&progress, || {
                let wanted = Wanted { progress: Some(&progress), alone: true, ..Wanted::default() };
                let path = absolute(self.path);
                history::read(&Root::host(), &path, &wanted, &mut workers, |worker, chunk: Chunk<'_>| {
                    if wants(&worker.part, (chunk.offset, chunk.offset + chunk.bytes.len() as u64)) {
                        worker.take((self.number, chunk.offset), chunk.bytes, &each);
                    }
                    ControlFlow::Continue(())
                })
            })?;
            Told {
                problem: report.files.iter().find_map(|file| file.problem.clone()),
                cut_lines: report.cut_lines,
            }
        };
        let mut workers = workers.into_iter();
        let Some(mut whole) = workers.next() else { bail!("no thread to read with") };
        for worker in workers {
            absorb(&mut whole.part, worker.part);
            whole.lines += worker.lines;
            whole.misfits += worker.misfits;
            whole.first_misfits.extend(worker.first_misfits);
        }
        Ok((whole, told))
    }
}

/// What was not read.
struct Told {
    problem: Option<String>,
    cut_lines: u64,
}

/// Some whole lines, or the only one if it has no end yet.
fn sample(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut lines = history::sample(&Root::host(), &absolute(path))?;
    if lines.is_empty() {
        history::stream(path)?.take(limits::SAMPLE_BYTES as u64).read_to_end(&mut lines)?;
    }
    Ok(lines)
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// Hands over whole lines from the first to the last, with the offset of the first of each lot.
fn in_order(path: &Path, mut each: impl FnMut(u64, &[u8])) -> anyhow::Result<Told> {
    let mut log = history::stream(path).with_context(|| format!("could not read {}", path.display()))?;
    // A line that began in an earlier lot, and of one that is too long only that it did.
    let (mut begun, mut too_long) = (Vec::new(), false);
    let (mut offset, mut cut_lines) = (0, 0);
    let problem = loop {
        let bytes = match log.fill_buf() {
            Ok([]) => break None,
            Ok(bytes) => bytes,
            Err(error) => break Some(error.to_string()),
        };
        let (first, rest) = match memchr::memchr(b'\n', bytes) {
            Some(end) => bytes.split_at(end + 1),
            None => (bytes, &bytes[bytes.len()..]),
        };
        begun.extend_from_slice(first);
        if begun.len() > limits::HISTORY_CHUNK_BYTES {
            cut_lines += u64::from(!too_long);
            offset += begun.len() as u64;
            (too_long, begun) = (true, Vec::new());
        }
        if first.ends_with(b"\n") {
            if !too_long {
                each(offset, &begun);
            }
            offset += begun.len() as u64;
            too_long = false;
            begun.clear();
            let whole = memchr::memrchr(b'\n', rest).map_or(0, |end| end + 1);
            each(offset, &rest[..whole]);
            offset += whole as u64;
            begun.extend_from_slice(&rest[whole..]);
        }
        let read = bytes.len();
        log.consume(read);
    };
    if !begun.is_empty() && !too_long {
        each(offset, &begun);
    }
    Ok(Told { problem, cut_lines })
}

/// Those who are blamed, with the numbers of their lines.
fn with_line_numbers(logs: &[impl AsRef<Path>], verdicts: Vec<Verdict>) -> anyhow::Result<Vec<Blamed>> {
    let mut numbers: Vec<BTreeMap<u64, u64>> = vec![BTreeMap::new(); logs.len()];
    for (file, offset) in verdicts.iter().flat_map(|(_, places)| places) {
        numbers[*file as usize].insert(*offset, 0);
    }
    for (log, numbers) in logs.iter().map(AsRef::as_ref).zip(&mut numbers) {
        number_lines(log, numbers).with_context(|| format!("could not read {}", log.display()))?;
    }
    let number = |(file, offset): &Place| {
        let log = *file as usize;
        Some((log, numbers[log].get(offset).copied()?))
    };
    let numbered = |(blamed, places): (Blamed, Vec<Place>)| Blamed {
        lines: places.iter().filter_map(number).collect(),
        ..blamed
    };
    Ok(verdicts.into_iter().map(numbered).collect())
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
