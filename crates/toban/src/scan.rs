//! `toban scan`: whom toban's own detectors would blame for what stands in some logs, and for what.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::path::Path;

use anyhow::{Context as _, bail};
use toban_collect::history::{self, Chunk, Wanted};
use toban_collect::{Root, limits};
use toban_detect::{Again, Place, Scan, Verdict};
use toban_model::Blamed;
use toban_model::event::{Event, Request};
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

/// A log that was read.
struct Counted<'a> {
    log: Log<'a>,
    /// Its bytes, inflated.
    bytes: u64,
    numbers: Numbers,
}

/// Lines of a file that were read together. A line's place is where its lot begins and how many lines stand before it in
/// the lot: so its number is known without counting again, and places are in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Lot {
    from: u64,
    to: u64,
    lines: u64,
}

/// The number of the first line of each lot of a file.
#[derive(Default)]
struct Numbers(Vec<(Lot, u64)>);

impl Numbers {
    fn of(mut lots: Vec<Lot>) -> Numbers {
        lots.sort_unstable();
        let (mut number, mut end) = (1, 0);
        let mut numbers = Vec::with_capacity(lots.len());
        for lot in lots {
            // Behind a line that was too long to be read no number is sure.
            if lot.from != end {
                break;
            }
            numbers.push((lot, number));
            (number, end) = (number + lot.lines, lot.to);
        }
        Numbers(numbers)
    }

    fn number(&self, place: u64) -> Option<u64> {
        let after = self.0.partition_point(|(lot, _)| lot.from <= place);
        let (lot, number) = self.0.get(after.checked_sub(1)?)?;
        (place - lot.from < lot.lines).then(|| number + place - lot.from)
    }
}

/// What a reading is for.
trait Purpose: Clone + Send {
    /// A client's lines may be passed over.
    const CHOOSES: bool;
    /// Whether a client's lines count.
    fn chooses(&self, client: IpAddr) -> bool;
    fn take(&mut self, event: &Event<'_>, place: Place);
    fn request(&mut self, request: &Request<'_>, place: Place);
    /// Takes in what was found in another part of the log.
    fn absorb(&mut self, other: Self);
}

impl Purpose for Scan {
    const CHOOSES: bool = false;

    fn chooses(&self, _: IpAddr) -> bool {
        true
    }

    #[inline]
    fn take(&mut self, event: &Event<'_>, place: Place) {
        self.event(event, place);
    }

    #[inline]
    fn request(&mut self, request: &Request<'_>, place: Place) {
        self.request(request, place);
    }

    fn absorb(&mut self, other: Scan) {
        self.absorb(other);
    }
}

impl Purpose for Again {
    const CHOOSES: bool = true;

    #[inline]
    fn chooses(&self, client: IpAddr) -> bool {
        self.asks_for(client)
    }

    #[inline]
    fn take(&mut self, event: &Event<'_>, place: Place) {
        if let Event::Request(request) = event {
            self.request(request, place);
        }
    }

    #[inline]
    fn request(&mut self, request: &Request<'_>, place: Place) {
        self.request(request, place);
    }

    fn absorb(&mut self, other: Again) {
        self.absorb(other);
    }
}

/// One thread's part of a reading.
struct Worker<T> {
    format: Format,
    /// What it is for.
    part: T,
    lots: Vec<Lot>,
    lines: u64,
    misfits: u64,
    first_misfits: Vec<String>,
}

impl<T: Purpose> Worker<T> {
    /// Takes whole lines, the first of which stands at `offset` in its file.
    fn take(&mut self, (file, offset): Place, bytes: &[u8]) {
        let mut lines = 0;
        let of_requests = self.format.is_of_requests();
        let mut request = Request::BLANK;
        for line in lines_of(bytes) {
            let place = (file, offset + lines);
            lines += 1;
            if T::CHOOSES && self.format.leading_client(line).is_some_and(|client| !self.part.chooses(client))
            {
                self.lines += 1;
                continue;
            }
            let fits = if of_requests {
                let fits = self.format.read(line, &mut request);
                if fits {
                    self.part.request(&request, place);
                }
                fits
            } else {
                let event = self.format.parse(line);
                if let Some(event) = &event {
                    self.part.take(event, place);
                }
                event.is_some()
            };
            if !fits && is_blank(line) {
                continue;
            }
            self.lines += 1;
            if !fits {
                self.misfit(line);
            }
        }
        self.lots.push(Lot { from: offset, to: offset + bytes.len() as u64, lines });
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
        match log.and_then(|log| log.map(Log::count).transpose()) {
            Ok(Some((log, found, whole))) => {
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
        let service = log.log.service();
        if let Some(fresh) = judgement.again(service) {
            let found = log.read_again(&fresh)?;
            again.entry(service).or_insert(fresh).absorb(found);
        }
    }
    let blamed = with_line_numbers(&logs, judgement.verdicts(again.into_values()));
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
    fn count(mut self) -> anyhow::Result<(Counted<'a>, Scan, bool)> {
        let at = self.path.display();
        let fresh = Scan::new(self.service(), self.format.id() == "squid");
        let (mut whole, mut told) = self.read(u64::MAX, &fresh, &|_, _| true)?;
        // Somewhere stands a name where addresses should be, so any of those may be a name, which a stranger chose.
        if whole.format.has_names() && !self.format.has_names() {
            self.format = whole.format;
            (whole, told) = self.read(u64::MAX, &fresh, &|_, _| true)?;
        }
        whole.part.end();
        whole.lots.extend(&told.long);
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
        if self.format.has_names() {
            said += "\n    in place of addresses stand names, which strangers choose: who is told by those is not named";
        }
        eprint_all(&(said + "\n"));
        let bytes = whole.lots.iter().map(|lot| lot.to).max().unwrap_or(0);
        let log = Counted { log: self, bytes, numbers: Numbers::of(whole.lots) };
        Ok((log, whole.part, told.problem.is_none()))
    }

    /// Reads so many bytes of it on all threads: the parts of it that are wanted, line by line.
    fn read<T: Purpose>(
        &self,
        bytes: u64,
        fresh: &T,
        wants: &(dyn Fn(u64, u64) -> bool + Sync),
    ) -> anyhow::Result<(Worker<T>, Told)> {
        let worker = |_| Worker {
            format: self.format.clone(),
            part: fresh.clone(),
            lots: Vec::new(),
            lines: 0,
            misfits: 0,
            first_misfits: Vec::new(),
        };
        let mut workers: Vec<Worker<T>> = (0..self.threads).map(worker).collect();
        let told = if self.format.leans_on_earlier_lines() {
            in_order(self.path, |offset, bytes| workers[0].take((self.number, offset), bytes))?
        } else {
            let progress = history::Progress::default();
            let report = meter::during(&progress, || {
                let wanted =
                    Wanted { progress: Some(&progress), alone: Some(bytes), wants, ..Wanted::default() };
                let path = absolute(self.path);
                history::read(&Root::host(), &path, &wanted, &mut workers, |worker, chunk: Chunk<'_>| {
                    worker.take((self.number, chunk.offset), chunk.bytes);
                    ControlFlow::Continue(())
                })
            })?;
            Told {
                problem: report.files.iter().find_map(|file| file.problem.clone()),
                cut_lines: report.cut_lines,
                long: Vec::new(),
            }
        };
        let mut workers = workers.into_iter();
        let Some(mut whole) = workers.next() else { bail!("no thread to read with") };
        for worker in workers {
            whole.part.absorb(worker.part);
            whole.lots.extend(worker.lots);
            if worker.format.has_names() {
                whole.format = worker.format;
            }
            whole.lines += worker.lines;
            whole.misfits += worker.misfits;
            whole.first_misfits.extend(worker.first_misfits);
        }
        Ok((whole, told))
    }
}

impl Counted<'_> {
    /// Looks up what one reading could not tell.
    fn read_again(&self, fresh: &Again) -> anyhow::Result<Again> {
        let wants = |from, to| fresh.wants(self.log.number, from, to);
        Ok(self.log.read(self.bytes, fresh, &wants)?.0.part)
    }
}

/// What was not read.
struct Told {
    problem: Option<String>,
    cut_lines: u64,
    /// Where lines stand that were too long, as far as that is known.
    long: Vec<Lot>,
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
    let (mut offset, mut from, mut long) = (0, 0, Vec::new());
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
            from = if too_long { from } else { offset };
            offset += begun.len() as u64;
            (too_long, begun) = (true, Vec::new());
        }
        if first.ends_with(b"\n") {
            if !too_long {
                each(offset, &begun);
            }
            offset += begun.len() as u64;
            if too_long {
                long.push(Lot { from, to: offset, lines: 1 });
            }
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
    Ok(Told { problem, cut_lines: long.len() as u64 + u64::from(too_long), long })
}

/// Those who are blamed, with the numbers of their lines.
fn with_line_numbers(logs: &[Counted<'_>], verdicts: Vec<Verdict>) -> Vec<Blamed> {
    let numbers: BTreeMap<u32, &Numbers> = logs.iter().map(|log| (log.log.number, &log.numbers)).collect();
    let number = |(file, place): &Place| Some((*file as usize, numbers.get(file)?.number(*place)?));
    let numbered = |(blamed, places): (Blamed, Vec<Place>)| Blamed {
        lines: places.iter().filter_map(number).collect(),
        ..blamed
    };
    verdicts.into_iter().map(numbered).collect()
}
