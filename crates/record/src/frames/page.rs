//! Samples to the chunks of a page and back.

use std::collections::HashMap;

use toban_model::{ProcessId, Processes, Sample, Time};

use super::column_file::{Chunks, ColumnFile, Page, What, sealed};
use super::pack;
use super::series::{self, FIELDS, Interned, Key, Peers, Spans, Vital};
use super::wire::{Bytes, block, string, unzigzag, varint, zigzag};
use super::{Losses, PAGE_ROWS_MAX, PAGE_SAMPLES, PAGE_TEXTS_BYTES_MAX};
use crate::Error;

const LEVEL: i32 = 6;
/// Texts of one page when unpacked: what is kept of them, and one sample's more.
const TEXTS_BYTES_MAX: usize = 2 * PAGE_TEXTS_BYTES_MAX;
/// One number a sample each: the moment, took, late, the processes' count and how many were looked at.
const HEADS: usize = 5;

/// The rows of one kind in a page, by what they are known by.
struct Table<K, const N: usize> {
    places: HashMap<K, usize>,
    series: Vec<Series<K, N>>,
    rows: usize,
    /// Mostly the rows come in the same order as in the sample before.
    next: usize,
}

struct Series<K, const N: usize> {
    key: K,
    at: Vec<u32>,
    last: [u64; N],
    /// Which numbers changed in each row, and by how much: a tenth of the memory that the rows themselves take.
    changes: Vec<u8>,
}

impl<K, const N: usize> Series<K, N> {
    fn push(&mut self, sample: u32, numbers: [u64; N]) {
        self.at.push(sample);
        let changed = (0..N).filter(|&field| numbers[field] != self.last[field]);
        varint(&mut self.changes, changed.clone().map(|field| 1 << field).sum());
        for field in changed {
            let change = numbers[field].wrapping_sub(self.last[field]) as i64;
            varint(&mut self.changes, zigzag(change));
        }
        self.last = numbers;
    }

    /// By how much one number changed in each row.
    fn changes(&self, field: usize) -> impl Iterator<Item = i64> {
        let mut rest = Bytes(&self.changes);
        self.at.iter().map_while(move |_| {
            let mask = rest.varint()?;
            let mut change = 0;
            for bit in (0..N).filter(|bit| mask >> bit & 1 == 1) {
                let word = rest.varint()?;
                if bit == field {
                    change = unzigzag(word);
                }
            }
            Some(change)
        })
    }
}

impl<K, const N: usize> Default for Table<K, N> {
    fn default() -> Table<K, N> {
        Table { places: HashMap::new(), series: Vec::new(), rows: 0, next: 0 }
    }
}

impl<K: Key, const N: usize> Table<K, N> {
    fn push(&mut self, sample: u32, key: K, numbers: [u64; N]) {
        let at = match self.series.get(self.next) {
            Some(series) if series.key == key => self.next,
            _ => *self.places.entry(key).or_insert_with_key(|key| {
                let series = Series { key: key.clone(), at: Vec::new(), last: [0; N], changes: Vec::new() };
                self.series.push(series);
                self.series.len() - 1
            }),
        };
        self.next = at + 1;
        let series = &mut self.series[at];
        if series.at.last() != Some(&sample) {
            series.push(sample, numbers);
            self.rows += 1;
        }
    }

    /// Appends keys, where each is, and number by number what changed since the row before.
    fn write(&self, out: &mut Vec<u8>, samples: usize) {
        varint(out, self.series.len() as u64);
        for series in &self.series {
            series.key.write(out);
            pack::presence(out, &series.at, samples);
        }
        let mut column = Vec::with_capacity(self.rows);
        for field in 0..N {
            column.clear();
            for series in &self.series {
                column.extend(series.changes(field));
            }
            pack::integers(out, &column);
        }
    }
}

/// What [`Table`] wrote.
#[derive(Debug)]
struct Rows<K, const N: usize> {
    keys: Vec<K>,
    /// Series by series.
    numbers: [Vec<i64>; N],
    /// The series and the place of each row, sample by sample.
    rows: Vec<(u32, u32)>,
    /// Where in `rows` each sample begins.
    begins: Vec<usize>,
}

impl<K, const N: usize> Default for Rows<K, N> {
    fn default() -> Rows<K, N> {
        Rows { keys: Vec::new(), numbers: [const { Vec::new() }; N], rows: Vec::new(), begins: Vec::new() }
    }
}

impl<K: Key, const N: usize> Rows<K, N> {
    fn read(bytes: &mut Bytes<'_>, samples: usize) -> Option<Rows<K, N>> {
        let mut all = Rows { begins: vec![0; samples + 1], ..Rows::default() };
        let mut series = Vec::new();
        let mut count = 0;
        for _ in 0..bytes.count()? {
            all.keys.push(K::read(bytes)?);
            let at = pack::read_presence(bytes, samples)?;
            count += at.len();
            if count > 4 * PAGE_ROWS_MAX {
                return None;
            }
            for &sample in &at {
                all.begins[sample as usize + 1] += 1;
            }
            series.push(at);
        }
        for sample in 0..samples {
            all.begins[sample + 1] += all.begins[sample];
        }
        let mut next = all.begins.clone();
        all.rows.resize(count, (0, 0));
        let places =
            (0..).zip(&series).flat_map(|(nth, at)| at.iter().map(move |sample| (nth, *sample as usize)));
        for (place, (nth, sample)) in (0..).zip(places) {
            all.rows[next[sample]] = (nth, place);
            next[sample] += 1;
        }
        for column in &mut all.numbers {
            *column = pack::read_integers(bytes, count)?;
            let mut begin = 0;
            for at in &series {
                let mut number = 0i64;
                for change in &mut column[begin..begin + at.len()] {
                    number = number.wrapping_add(*change);
                    *change = number;
                }
                begin += at.len();
            }
        }
        Some(all)
    }

    fn sample(&self, at: usize) -> impl Iterator<Item = (&K, [u64; N])> {
        let rows = match (self.begins.get(at), self.begins.get(at + 1)) {
            (Some(&begin), Some(&end)) => &self.rows[begin..end],
            _ => &[],
        };
        rows.iter().map(|&(series, place)| {
            let numbers = std::array::from_fn(|field| self.numbers[field][place as usize] as u64);
            (&self.keys[series as usize], numbers)
        })
    }
}

/// A vital's numbers in a page.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// In which samples.
    pub(super) at: Vec<u32>,
    pub(super) values: Vec<f64>,
}

impl Points {
    fn value(&self, sample: usize) -> Option<f64> {
        let place = match self.at.get(sample) {
            // It is in every sample so far.
            Some(at) if *at as usize == sample => sample,
            _ => self.at.binary_search(&(sample as u32)).ok()?,
        };
        self.values.get(place).copied()
    }
}

/// The columns of a segment that is being closed. Only the page that is being filled is kept unpacked.
#[derive(Default)]
pub(super) struct Columns {
    pages: Vec<Page>,
    times: Chunks,
    vitals: Vec<(Vital, Chunks)>,
    process_chunks: Chunks,
    socket_chunks: Chunks,
    // The page that is being filled.
    heads: Vec<[i64; HEADS]>,
    places: HashMap<Vital, usize>,
    points: Vec<Points>,
    texts: Interned,
    processes: Table<ProcessId, FIELDS>,
    sockets: Table<Peers, 1>,
}

impl Columns {
    pub(super) fn push(&mut self, sample: &Sample) {
        let at = self.heads.len() as u32;
        let count = sample.processes.count.into();
        self.heads.push([
            sample.at.as_micros(),
            sample.took_us.into(),
            sample.late_us.into(),
            count,
            count - i64::from(sample.processes.looked_at),
        ]);
        for (next, reading) in sample.readings.iter().enumerate() {
            let vital = Vital::of(reading);
            let place = match self.vitals.get(next) {
                Some((known, _)) if *known == vital => next,
                _ => *self.places.entry(vital).or_insert_with_key(|vital| {
                    self.vitals.push((vital.clone(), vec![Vec::new(); self.pages.len()]));
                    self.points.push(Points::default());
                    self.vitals.len() - 1
                }),
            };
            let points = &mut self.points[place];
            if points.at.last() != Some(&at) {
                points.at.push(at);
                points.values.push(reading.value);
            }
        }
        for process in &sample.processes.busiest {
            let fields = series::fields(process, &sample.texts, &mut self.texts);
            self.processes.push(at, process.id, fields);
        }
        for sockets in &sample.sockets {
            self.sockets.push(at, Peers::of(sockets), [sockets.count.into()]);
        }
        (self.processes.next, self.sockets.next) = (0, 0);
        let rows = self.processes.rows.max(self.sockets.rows);
        if self.heads.len() == PAGE_SAMPLES
            || rows >= PAGE_ROWS_MAX
            || self.texts.bytes() >= PAGE_TEXTS_BYTES_MAX
        {
            self.end_page();
        }
    }

    fn end_page(&mut self) {
        let moments = self.heads.iter().map(|head| Time::from_micros(head[0]));
        let (Some(first), Some(last)) = (moments.clone().min(), moments.max()) else { return };
        let samples = self.heads.len();
        self.pages.push(Page { first, last, samples });

        let mut times = Vec::new();
        for field in 0..HEADS {
            let column: Vec<i64> = self.heads.iter().map(|head| head[field]).collect();
            pack::integers(&mut times, &column);
        }
        self.times.push(sealed(times));
        self.heads.clear();

        for ((_, chunks), points) in self.vitals.iter_mut().zip(&mut self.points) {
            let mut chunk = Vec::new();
            if !points.at.is_empty() {
                pack::presence(&mut chunk, &points.at, samples);
                pack::floats(&mut chunk, &points.values);
                chunk = sealed(chunk);
                points.at.clear();
                points.values.clear();
            }
            chunks.push(chunk);
        }

        let texts = std::mem::take(&mut self.texts);
        let processes = std::mem::take(&mut self.processes);
        let mut chunk = Vec::new();
        if processes.rows > 0 {
            let mut list = Vec::new();
            varint(&mut list, texts.texts().len() as u64);
            for text in texts.texts() {
                string(&mut list, text);
            }
            block(&mut chunk, &zstd::bulk::compress(&list, LEVEL).unwrap_or_default());
            processes.write(&mut chunk, samples);
            chunk = sealed(chunk);
        }
        self.process_chunks.push(chunk);

        let sockets = std::mem::take(&mut self.sockets);
        let mut chunk = Vec::new();
        if sockets.rows > 0 {
            sockets.write(&mut chunk, samples);
            chunk = sealed(chunk);
        }
        self.socket_chunks.push(chunk);
    }

    /// The pages and columns of the file.
    pub(super) fn finish(mut self) -> (Vec<Page>, Vec<(What, Chunks)>) {
        self.end_page();
        let mut columns = vec![(What::Times, self.times.clone())];
        columns.extend(self.vitals.into_iter().map(|(vital, chunks)| (What::Vital(vital), chunks)));
        columns.push((What::Times, self.times));
        columns.push((What::Processes, self.process_chunks));
        columns.push((What::Sockets, self.socket_chunks));
        (self.pages, columns)
    }
}

/// One number of each sample in a page: the moment.
pub(super) fn moments(
    file: &ColumnFile,
    page: usize,
    losses: &mut Losses,
) -> Result<Option<Vec<Time>>, Error> {
    let moments = heads::<1>(file, page, losses)?;
    Ok(moments.map(|[moments]| moments.into_iter().map(Time::from_micros).collect()))
}

/// The first so many numbers of each sample.
fn heads<const N: usize>(
    file: &ColumnFile,
    page: usize,
    losses: &mut Losses,
) -> Result<Option<[Vec<i64>; N]>, Error> {
    let samples = file.directory.pages[page].samples;
    for column in file.columns(|what| *what == What::Times) {
        if let Some(chunk) = file.chunk(column, page, losses)? {
            let mut rest = Bytes(&chunk);
            let mut heads = [const { Vec::new() }; N];
            for column in &mut heads {
                match pack::read_integers(&mut rest, samples) {
                    Some(numbers) => *column = numbers,
                    None => return Ok(None),
                }
            }
            return Ok(Some(heads));
        }
    }
    Ok(None)
}

/// One vital in a page.
pub(super) fn points(
    file: &ColumnFile,
    column: usize,
    page: usize,
    losses: &mut Losses,
) -> Result<Option<Points>, Error> {
    let samples = file.directory.pages[page].samples;
    Ok(file.chunk(column, page, losses)?.and_then(|chunk| {
        let mut rest = Bytes(&chunk);
        let at = pack::read_presence(&mut rest, samples)?;
        let values = pack::read_floats(&mut rest, at.len())?;
        Some(Points { at, values })
    }))
}

/// A page that was read.
#[derive(Debug)]
pub(super) struct Unpacked {
    heads: [Vec<i64>; HEADS],
    vitals: Vec<(Vital, Points)>,
    texts: Vec<Box<str>>,
    processes: Rows<ProcessId, FIELDS>,
    sockets: Rows<Peers, 1>,
}

impl Unpacked {
    /// Reads a page. `None` within if its times are lost.
    pub(super) fn read(
        file: &mut ColumnFile,
        page: usize,
        readings_only: bool,
        losses: &mut Losses,
    ) -> Result<Option<Unpacked>, Error> {
        let vitals = file.columns(|what| matches!(what, What::Vital(_)));
        file.load(file.columns(|what| matches!(what, What::Times | What::Vital(_))).into_iter())?;
        let Some(heads) = heads::<HEADS>(file, page, losses)? else { return Ok(None) };
        let samples = heads[0].len();
        let mut unpacked = Unpacked {
            heads,
            vitals: Vec::with_capacity(vitals.len()),
            texts: Vec::new(),
            processes: Rows::default(),
            sockets: Rows::default(),
        };
        for column in vitals {
            let What::Vital(vital) = file.directory.columns[column].what.clone() else { continue };
            if let Some(points) = points(file, column, page, losses)? {
                unpacked.vitals.push((vital, points));
            }
        }
        if readings_only {
            return Ok(Some(unpacked));
        }
        for column in file.columns(|what| matches!(what, What::Processes | What::Sockets)) {
            let Some(chunk) = file.chunk(column, page, losses)? else { continue };
            let mut rest = Bytes(&chunk);
            if file.directory.columns[column].what == What::Processes {
                if let Some((texts, rows)) = processes(&mut rest, samples) {
                    (unpacked.texts, unpacked.processes) = (texts, rows);
                }
            } else {
                unpacked.sockets = Rows::read(&mut rest, samples).unwrap_or_default();
            }
        }
        Ok(Some(unpacked))
    }

    pub(super) fn moments(&self) -> impl Iterator<Item = Time> {
        self.heads[0].iter().copied().map(Time::from_micros)
    }

    pub(super) fn sample(&self, at: usize) -> Sample {
        let head = |field: usize| self.heads[field][at];
        let mut spans = Spans::default();
        let busiest = self.processes.sample(at);
        let busiest = busiest
            .map(|(id, fields)| series::process(*id, &fields, |number| spans.span(&self.texts, number)))
            .collect();
        let mut sample = Sample {
            at: Time::from_micros(head(0)),
            took_us: head(1) as u32,
            late_us: head(2) as u32,
            readings: self
                .vitals
                .iter()
                .filter_map(|(vital, points)| points.value(at).map(|value| vital.reading(value)))
                .collect(),
            processes: Processes { count: head(3) as u32, looked_at: (head(3) - head(4)) as u32, busiest },
            sockets: self.sockets.sample(at).map(|(peers, [count])| peers.count(count)).collect(),
            ..Sample::default()
        };
        series::finish(&mut sample, spans);
        sample
    }
}

fn processes(bytes: &mut Bytes<'_>, samples: usize) -> Option<(Vec<Box<str>>, Rows<ProcessId, FIELDS>)> {
    let list = zstd::bulk::decompress(bytes.block()?, TEXTS_BYTES_MAX).ok()?;
    let mut list = Bytes(&list);
    let texts = (0..list.count()?).map(|_| list.str().map(Box::from)).collect::<Option<_>>()?;
    Some((texts, Rows::read(bytes, samples)?))
}
