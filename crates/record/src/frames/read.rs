//! The reading end: all samples of a stretch of time, one vital of it, or one moment. No reader takes a lock.

use std::path::Path;
use std::time::Duration;
use std::vec;

use toban_model::{Name, ReadingKind, Sample, Time};

use super::column_file::{ColumnFile, Magic, What};
use super::minutes::{self, Minute};
use super::page::{self, Unpacked};
use super::places::{self, COLUMNS, ROWS, Segment};
use super::row_file::RowFile;
use super::rows::Scope;
use super::{Losses, SEGMENT};
use crate::Error;

/// The samples from `from` up to and with `to`, in the order in which they were written. A directory that does not
/// exist holds none.
pub fn frames(dir: &Path, from: Time, to: Time) -> Result<Cursor, Error> {
    // A segment's name is no later than its samples, so those that begin after `to` are not even opened.
    let mut segments = places::segments(dir)?;
    segments.retain(|segment| segment.start <= to);
    Ok(Cursor {
        from,
        to,
        segments: segments.into_iter(),
        open: None,
        readings_only: false,
        losses: Losses::default(),
    })
}

/// Reads samples one after the other; holds ten minutes of them in memory.
#[derive(Debug)]
pub struct Cursor {
    from: Time,
    to: Time,
    segments: vec::IntoIter<Segment>,
    open: Option<Open>,
    readings_only: bool,
    losses: Losses,
}

impl Cursor {
    /// Reads no processes and sockets, which takes a fraction of the time.
    #[must_use]
    pub fn readings_only(self) -> Cursor {
        Cursor { readings_only: true, ..self }
    }

    /// What could not be read so far.
    pub fn losses(&self) -> Losses {
        self.losses
    }

    fn step(&mut self) -> Result<Option<Sample>, Error> {
        loop {
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let Some(segment) = self.segments.next() else { return Ok(None) };
                    let Some(mut open) = Open::segment(&segment, self.readings_only, &mut self.losses)?
                    else {
                        continue;
                    };
                    open.limit(self.from, self.to)?;
                    self.open.insert(open)
                }
            };
            match open.next(&mut self.losses) {
                Ok(Some(sample)) if sample.at >= self.from && sample.at <= self.to => {
                    return Ok(Some(sample));
                }
                Ok(Some(_)) => {}
                Ok(None) => self.open = None,
                Err(e) => {
                    // What cannot be read is not tried again: the next one may be on a better part of the disk.
                    self.open = None;
                    return Err(e);
                }
            }
        }
    }
}

impl Iterator for Cursor {
    type Item = Result<Sample, Error>;

    fn next(&mut self) -> Option<Result<Sample, Error>> {
        self.step().transpose()
    }
}

/// One segment that is being read.
#[derive(Debug)]
pub(super) enum Open {
    Rows(Box<RowFile>),
    Columns(Box<Pages>),
}

/// The pages of a file of columns, one after the other.
#[derive(Debug)]
pub(super) struct Pages {
    file: Box<ColumnFile>,
    /// The pages that are wanted.
    pages: vec::IntoIter<usize>,
    page: Option<(Unpacked, usize)>,
    readings_only: bool,
}

impl Open {
    /// Opens what counts of a segment. `None` if it is gone, is not yet begun, or cannot be read, which is counted.
    pub(super) fn segment(
        segment: &Segment,
        readings_only: bool,
        losses: &mut Losses,
    ) -> Result<Option<Open>, Error> {
        let scope = if readings_only { Scope::Readings } else { Scope::All };
        match open(segment, &scope)? {
            Found::Gone => return Ok(None),
            Found::Rows(rows) => return Ok(Some(Open::Rows(rows))),
            Found::Columns(file) => {
                *losses += file.directory.losses;
                let pages = (0..file.directory.pages.len()).collect::<Vec<_>>().into_iter();
                return Ok(Some(Open::Columns(Box::new(Pages { file, pages, page: None, readings_only }))));
            }
            Found::Unreadable => losses.unreadable_segments += 1,
        }
        Ok(None)
    }

    /// Leaves out what is certainly outside.
    fn limit(&mut self, from: Time, to: Time) -> Result<(), Error> {
        match self {
            Open::Rows(rows) => rows.skip_to(from),
            Open::Columns(columns) => {
                columns.pages = wanted(&columns.file, from, to).into_iter();
                Ok(())
            }
        }
    }

    pub(super) fn next(&mut self, losses: &mut Losses) -> Result<Option<Sample>, Error> {
        match self {
            Open::Rows(rows) => Ok(rows.advance(losses)?.then(|| rows.sample())),
            Open::Columns(columns) => columns.next(losses),
        }
    }
}

impl Pages {
    fn next(&mut self, losses: &mut Losses) -> Result<Option<Sample>, Error> {
        loop {
            if let Some((page, at)) = &mut self.page {
                if *at < page.moments().count() {
                    *at += 1;
                    return Ok(Some(page.sample(*at - 1)));
                }
                self.page = None;
            }
            let Some(page) = self.pages.next() else { return Ok(None) };
            self.page =
                Unpacked::read(&mut self.file, page, self.readings_only, losses)?.map(|page| (page, 0));
        }
    }
}

enum Found {
    Rows(Box<RowFile>),
    Columns(Box<ColumnFile>),
    /// Retention took it.
    Gone,
    Unreadable,
}

/// Opens a segment under whichever name it has by now.
fn open(segment: &Segment, scope: &Scope) -> Result<Found, Error> {
    let columns = segment.columns.clone().or_else(|| Some(segment.rows.as_ref()?.with_extension(COLUMNS)));
    let rows = segment.rows.clone().or_else(|| Some(segment.columns.as_ref()?.with_extension(ROWS)));
    let mut found = Found::Gone;
    // What is closed in between is found at the third look.
    for path in [&columns, &rows, &columns].into_iter().flatten() {
        let looked = if Some(path) == rows.as_ref() {
            RowFile::open(path, scope.clone()).map(|rows| rows.map(|rows| Found::Rows(Box::new(rows))))
        } else {
            ColumnFile::open(path, Magic::Samples).map(|file| file.map(|file| Found::Columns(Box::new(file))))
        };
        match looked {
            Ok(Some(looked)) => return Ok(looked),
            Ok(None) => found = Found::Unreadable,
            Err(e) if e.is_gone() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// The pages that touch a stretch of time.
fn wanted(file: &ColumnFile, from: Time, to: Time) -> Vec<usize> {
    let pages = file.directory.pages.iter().enumerate();
    pages.filter(|(_, page)| page.last >= from && page.first <= to).map(|(at, _)| at).collect()
}

/// One vital at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When.
    pub at: Time,
    /// The raw number, as in [`toban_model::Reading::value`].
    pub value: f64,
}

/// One vital over a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its unit; empty if it was not found.
    pub unit: Name,
    /// Gauge or counter.
    pub kind: ReadingKind,
    /// Every second that is kept, in the order in which they were written.
    pub points: Vec<Point>,
    /// The minutes of the time whose seconds are no longer kept.
    pub minutes: Vec<Minute>,
    /// What could not be read.
    pub losses: Losses,
}

/// One vital from `from` up to and with `to`. Nothing else is read.
pub fn vital(dir: &Path, name: &str, from: Time, to: Time) -> Result<Series, Error> {
    let mut series = Series {
        unit: "".into(),
        kind: ReadingKind::Gauge,
        points: Vec::new(),
        minutes: Vec::new(),
        losses: Losses::default(),
    };
    let wanted = Scope::Vital(Name::from(name.to_owned()));
    // The seconds first: what becomes minutes meanwhile is then seen twice rather than not at all.
    for segment in places::segments(dir)?.into_iter().filter(|segment| segment.start <= to) {
        match open(&segment, &wanted)? {
            Found::Gone => {}
            Found::Unreadable => series.losses.unreadable_segments += 1,
            Found::Rows(mut rows) => series.read_rows(&mut rows, name, from, to)?,
            Found::Columns(mut file) => series.read_columns(&mut file, name, from, to)?,
        }
    }
    let (found, mut minutes) = minutes::vital(dir, name, from, to, &mut series.losses)?;
    if let Some(found) = found
        && series.points.is_empty()
    {
        (series.unit, series.kind) = (found.unit.clone(), found.kind());
    }
    let mut kept: Vec<Time> = series.points.iter().map(|point| point.at).collect();
    kept.sort_unstable();
    minutes.retain(|minute| {
        let after = kept.partition_point(|at| *at < minute.at);
        kept.get(after).is_none_or(|at| *at >= minute.at + Duration::from_secs(60))
    });
    series.minutes = minutes;
    Ok(series)
}

impl Series {
    fn read_rows(&mut self, rows: &mut RowFile, name: &str, from: Time, to: Time) -> Result<(), Error> {
        rows.skip_to(from)?;
        let mut hint = 0;
        while rows.advance(&mut self.losses)? {
            let at = rows.moment();
            if at < from || at > to {
                continue;
            }
            if let Some((unit, kind, value)) = rows.value(name, &mut hint) {
                (self.unit, self.kind) = (unit, kind);
                self.points.push(Point { at, value });
            }
        }
        Ok(())
    }

    fn read_columns(&mut self, file: &mut ColumnFile, name: &str, from: Time, to: Time) -> Result<(), Error> {
        self.losses += file.directory.losses;
        let pages = wanted(file, from, to);
        if pages.is_empty() {
            return Ok(());
        }
        for column in file.columns(|what| matches!(what, What::Vital(vital) if vital.name == *name)) {
            if let What::Vital(vital) = &file.directory.columns[column].what {
                (self.unit, self.kind) = (vital.unit.clone(), vital.kind());
            }
            let mut moments = Vec::new();
            for &page in &pages {
                moments.push(page::moments(file, page, &mut self.losses)?);
            }
            file.load([column].into_iter())?;
            for (&page, moments) in pages.iter().zip(moments) {
                let Some(moments) = moments else { continue };
                let Some(found) = page::points(file, column, page, &mut self.losses)? else {
                    continue;
                };
                let points = found.at.into_iter().zip(found.values);
                let points = points.map(|(at, value)| Point { at: moments[at as usize], value });
                self.points.extend(points.filter(|point| point.at >= from && point.at <= to));
            }
        }
        Ok(())
    }
}

/// The newest sample at or before `at`, as far as seconds are kept, and what could not be read on the way.
pub fn moment(dir: &Path, at: Time) -> Result<(Option<Sample>, Losses), Error> {
    let mut losses = Losses::default();
    let mut newest: Option<Sample> = None;
    for segment in places::segments(dir)?.into_iter().rev().filter(|segment| segment.start <= at) {
        // Only a clock that was set back lets an older segment hold something newer, and none is longer than an hour.
        if newest.as_ref().is_some_and(|newest| segment.start + SEGMENT < newest.at) {
            break;
        }
        let found = match open(&segment, &Scope::All)? {
            Found::Gone => None,
            Found::Unreadable => {
                losses.unreadable_segments += 1;
                None
            }
            Found::Rows(mut rows) => {
                rows.skip_to(at)?;
                let mut found: Option<Sample> = None;
                while rows.advance(&mut losses)? {
                    let moment = rows.moment();
                    if moment > at {
                        break;
                    }
                    // Only the last one is put together.
                    let goes_on = rows.next_moment()?.is_some_and(|next| next >= moment && next <= at);
                    if !goes_on && found.as_ref().is_none_or(|found| found.at <= moment) {
                        found = Some(rows.sample());
                    }
                }
                found
            }
            Found::Columns(mut file) => {
                losses += file.directory.losses;
                let after = newest.as_ref().map(|newest| newest.at);
                newest_of(&mut file, at, after, &mut losses)?
            }
        };
        newest = found.into_iter().chain(newest).reduce(|a, b| if a.at > b.at { a } else { b });
    }
    Ok((newest, losses))
}

/// The newest sample at or before `at`, if there is one after `after`.
fn newest_of(
    file: &mut ColumnFile,
    at: Time,
    after: Option<Time>,
    losses: &mut Losses,
) -> Result<Option<Sample>, Error> {
    let mut best: Option<(Time, usize)> = None;
    let floor = |best: Option<(Time, usize)>| best.map(|(moment, _)| moment).max(after);
    for page in wanted(file, Time::from_micros(i64::MIN), at) {
        let span = file.directory.pages[page];
        if floor(best).is_some_and(|floor| span.last <= floor) {
            continue;
        }
        let moments = page::moments(file, page, losses)?.unwrap_or_default();
        let newest = moments.into_iter().filter(|moment| *moment <= at).max();
        if let Some(moment) = newest.filter(|moment| floor(best).is_none_or(|floor| *moment > floor)) {
            best = Some((moment, page));
        }
    }
    let Some((moment, page)) = best else { return Ok(None) };
    let unpacked = Unpacked::read(file, page, false, losses)?;
    Ok(unpacked.and_then(|page| {
        let place = page.moments().position(|at| at == moment)?;
        Some(page.sample(place))
    }))
}
