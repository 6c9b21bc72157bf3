//! Whose memory grows: of each unit, and of each large process, two numbers every few minutes for a day.

use std::collections::BTreeMap;
use std::time::Duration;

use toban_model::{Growth, ProcessId, Sample, Time};

/// Between two points.
const EVERY: Duration = Duration::from_secs(180);
/// A day of them.
const POINTS_MAX: usize = 480;
/// Series kept; beyond, the one that was seen longest ago makes room.
const SERIES_MAX: usize = 48;
/// Processes with less are in no series of their own.
const LARGE_BYTES: u64 = 64 << 20;
/// Less is no growth that anybody has to know of.
const GROWTH_BYTES_MIN: f64 = 64e6;
/// A shorter time says nothing about the next hours.
const SPAN_MIN: Duration = Duration::from_secs(2 * 3600);
/// Each large process, also every so often for some minutes: memory may end sooner than in hours.
const SOON_EVERY: Duration = Duration::from_secs(2);
const SOON_POINTS_MAX: usize = 300;
const SOON_SPAN_MIN: Duration = Duration::from_secs(15);
/// Processes followed that way, and how long after their end.
const SOON_SERIES_MAX: usize = 16;
const SOON_KEPT: Duration = Duration::from_secs(60);
/// It has begun to grow where it first held this part of its growth.
const BEGINS_AT: f64 = 0.03;
/// Points that are missing (a restart, a night off) may not be more than this part.
const GAPS_MAX: f64 = 0.3;

/// A unit, or a process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Unit(String),
    Process(u32, u64),
}

#[derive(Clone, Debug, Default)]
struct Series {
    name: String,
    command: String,
    /// When, bytes, processes.
    points: Vec<(Time, f64, f64)>,
}

#[derive(Debug, Default)]
pub(crate) struct Growths {
    series: BTreeMap<Who, Series>,
    /// Requests a second of all servers, at the same times.
    requests: Vec<(Time, f64)>,
    at: Time,
    soon: BTreeMap<Who, Series>,
    soon_at: Time,
}

impl Growths {
    pub(crate) fn sample(&mut self, sample: &Sample, vitals: &dyn Fn(&str) -> Option<f64>) {
        let at = sample.at;
        self.sample_soon(sample);
        if at.since(self.at) < EVERY {
            return;
        }
        self.at = at;
        for reading in &sample.readings {
            let Some(unit) = reading.name.strip_prefix("unit.memory:") else { continue };
            if matches!(unit, "none" | "kernel") {
                continue;
            }
            let processes = vitals(&format!("unit.processes:{unit}")).unwrap_or(1.0);
            self.put(Who::Unit(unit.to_owned()), unit, (at, reading.value, processes));
        }
        for row in sample.processes.busiest.iter().filter(|row| row.resident >= LARGE_BYTES) {
            let who = Who::Process(row.id.pid, row.id.start_ticks);
            self.put(who, sample.texts.get(row.comm), (at, row.resident as f64, 1.0));
        }
        if let Some(requests) = vitals("http.requests") {
            self.requests.push((at, requests));
            let over = self.requests.len().saturating_sub(POINTS_MAX);
            self.requests.drain(..over);
        }
    }

    fn sample_soon(&mut self, sample: &Sample) {
        let at = sample.at;
        if at.since(self.soon_at) < SOON_EVERY || sample.processes.busiest.is_empty() {
            return;
        }
        self.soon_at = at;
        self.soon.retain(|_, series| series.points.last().is_some_and(|last| at.since(last.0) <= SOON_KEPT));
        for row in sample.processes.busiest.iter().filter(|row| row.resident >= LARGE_BYTES) {
            let who = Who::Process(row.id.pid, row.id.start_ticks);
            if !self.soon.contains_key(&who) && self.soon.len() >= SOON_SERIES_MAX {
                continue;
            }
            let series = self.soon.entry(who).or_default();
            sample.texts.get(row.comm).clone_into(&mut series.name);
            sample.texts.get(row.command).clone_into(&mut series.command);
            series.points.push((at, row.resident as f64, 1.0));
            let over = series.points.len().saturating_sub(SOON_POINTS_MAX);
            series.points.drain(..over);
        }
    }

    /// Processes whose memory has grown within the last minutes, each from where that began; those that have just
    /// ended among them.
    pub(crate) fn soon(&self) -> Vec<Growth> {
        let growth = |(who, series): (&Who, &Series)| {
            let least = series.points.iter().map(|point| point.1).fold(f64::INFINITY, f64::min);
            let most = series.points.last()?.1;
            let begins = least + BEGINS_AT * (most - least);
            let begin = series.points.iter().rposition(|point| point.1 <= begins)?;
            let series = Series { points: series.points[begin..].to_vec(), ..series.clone() };
            let growth = grown(who, &series, &[])?;
            (growth.to.since(growth.from) >= SOON_SPAN_MIN).then_some(growth)
        };
        let mut growing: Vec<Growth> = self.soon.iter().filter_map(growth).collect();
        most_first(&mut growing);
        growing
    }

    fn put(&mut self, who: Who, name: &str, point: (Time, f64, f64)) {
        if !self.series.contains_key(&who) && self.series.len() >= SERIES_MAX {
            let last = |series: &Series| series.points.last().map_or(Time::ZERO, |point| point.0);
            let oldest = self.series.iter().min_by_key(|(_, series)| last(series));
            match oldest.map(|(who, series)| (who.clone(), last(series))) {
                Some((oldest, at)) if at < point.0 => drop(self.series.remove(&oldest)),
                _ => return,
            }
        }
        let series = self.series.entry(who).or_default();
        if series.name != name {
            name.clone_into(&mut series.name);
        }
        // What was recorded before a restart may come after what was seen since.
        let place = series.points.partition_point(|known| known.0 < point.0);
        let near = |known: Option<&(Time, f64, f64)>| {
            known.is_some_and(|known| known.0.since(point.0).max(point.0.since(known.0)) < EVERY / 2)
        };
        let known = place.checked_sub(1).and_then(|before| series.points.get(before));
        if near(known) || near(series.points.get(place)) {
            return;
        }
        series.points.insert(place, point);
        let over = series.points.len().saturating_sub(POINTS_MAX);
        series.points.drain(..over);
    }

    /// Takes what was recorded of a unit's memory, in any order.
    pub(crate) fn recorded(&mut self, unit: &str, points: impl Iterator<Item = (Time, f64)>) {
        for (at, bytes) in points {
            self.put(Who::Unit(unit.to_owned()), unit, (at, bytes, f64::NAN));
        }
    }

    pub(crate) fn close(&self) -> Vec<Growth> {
        let mut growing: Vec<Growth> =
            self.series.iter().filter_map(|(who, series)| self.growth(who, series)).collect();
        most_first(&mut growing);
        growing
    }

    fn growth(&self, who: &Who, series: &Series) -> Option<Growth> {
        let points = &series.points;
        let (from, to) = (points.first()?.0, points.last()?.0);
        let span = to.since(from);
        if self.at.since(to) > EVERY * 3
            || span < SPAN_MIN
            || (points.len() as f64) < (1.0 - GAPS_MAX) * span.as_secs_f64() / EVERY.as_secs_f64()
        {
            return None;
        }
        grown(who, series, &self.requests)
    }
}

fn most_first(growing: &mut [Growth]) {
    let bytes = |growth: &Growth| growth.bytes[1] - growth.bytes[0];
    growing.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)).then_with(|| a.name.cmp(&b.name)));
}

/// How a series has grown from its first point to its last; `None` where that is little.
fn grown(who: &Who, series: &Series, requests: &[(Time, f64)]) -> Option<Growth> {
    let points = &series.points;
    let (from, to) = (points.first()?.0, points.last()?.0);
    // Each level is a median of neighbours: a single reading may be a burst.
    let level = |from: usize, to: usize| {
        let mut values: Vec<f64> = points[from..to].iter().map(|point| point.1).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(0.0)
    };
    let n = points.len();
    let near = (n / 16).max(2);
    let levels: Vec<f64> = (0..=4)
        .map(|quarter| {
            let at = (n - 1) * quarter / 4;
            level(at.saturating_sub(near / 2), (at + near / 2 + 1).min(n))
        })
        .collect();
    let bytes = [levels[0], levels[4]];
    if bytes[1] - bytes[0] < GROWTH_BYTES_MIN {
        return None;
    }
    let quarters = [0, 1, 2, 3].map(|quarter| levels[quarter + 1] - levels[quarter]);
    let counts: Vec<f64> = points.iter().map(|point| point.2).filter(|count| count.is_finite()).collect();
    let processes_ratio = match (counts.first(), counts.last()) {
        (Some(first), Some(last)) if *first > 0.0 => last / first,
        _ => 1.0,
    };
    let requests: Vec<f64> =
        requests.iter().filter(|(at, _)| *at >= from && *at <= to).map(|(_, n)| *n).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let quarter = requests.len() / 4;
    let requests_ratio = (quarter >= 2)
        .then(|| mean(&requests[requests.len() - quarter..]) / mean(&requests[..quarter]).max(0.01));
    let process = match who {
        Who::Process(pid, start_ticks) => Some(ProcessId { pid: *pid, start_ticks: *start_ticks }),
        Who::Unit(_) => None,
    };
    Some(Growth {
        name: series.name.clone(),
        process,
        command: series.command.clone(),
        from,
        to,
        bytes,
        quarters,
        straight: straight(points),
        processes_ratio,
        requests_ratio,
    })
}

/// The part of the variance that a straight line explains.
fn straight(points: &[(Time, f64, f64)]) -> f64 {
    let n = points.len().max(1) as f64;
    let begin = points.first().map_or(Time::ZERO, |point| point.0);
    let x = |point: &(Time, f64, f64)| point.0.since(begin).as_secs_f64();
    let (mx, my) = (points.iter().map(x).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for point in points {
        let (dx, dy) = (x(point) - mx, point.1 - my);
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    if xx > 0.0 && yy > 0.0 { (xy * xy / (xx * yy)).min(1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use toban_model::{ProcessUse, Reading, ReadingKind, Span};

    use super::*;

    fn hour(hours: f64) -> Time {
        Time::from_secs(1_700_000_000) + Duration::from_secs_f64(hours * 3600.0)
    }

    fn feed(growths: &mut Growths, unit: &str, hours: f64, bytes: impl Fn(f64) -> f64) {
        let mut at = 0.0;
        while at <= hours {
            let (name, unit) = (format!("unit.memory:{unit}").into(), "B".into());
            let reading = Reading { name, value: bytes(at), unit, kind: ReadingKind::Gauge };
            let sample = Sample { at: hour(at), readings: vec![reading], ..Sample::default() };
            growths.sample(&sample, &|name| (name == "http.requests").then_some(10.0));
            at += 1.0 / 60.0;
        }
    }

    #[test]
    fn growth_is_told_by_quarters_and_by_how_straight_it_is() {
        let mut growths = Growths::default();
        feed(&mut growths, "app.service", 8.0, |h| 500e6 + 100e6 * h);
        let growing = growths.close();
        let [leak] = &growing[..] else { panic!("{growing:?}") };
        assert_eq!((leak.name.as_str(), leak.process), ("app.service", None));
        assert!(leak.straight > 0.99 && leak.quarters.iter().all(|q| (150e6..250e6).contains(q)), "{leak:?}");
        assert!((leak.bytes[1] - leak.bytes[0] - 800e6).abs() < 60e6, "{leak:?}");
        assert_eq!(leak.requests_ratio, Some(1.0));
        let mut growths = Growths::default();
        feed(&mut growths, "app.service", 1.5, |h| 500e6 + 100e6 * h);
        assert!(growths.close().is_empty(), "too short");
        let mut growths = Growths::default();
        feed(&mut growths, "app.service", 8.0, |h| 500e6 + 1e6 * h);
        assert!(growths.close().is_empty(), "too little");
    }

    #[test]
    fn what_grows_within_a_minute_is_told_from_where_it_began_and_after_its_end() {
        let row = |pid: u32, bytes: f64| {
            let id = ProcessId { pid, start_ticks: 1 };
            ProcessUse {
                id,
                parent: 1,
                user: 0,
                state: b'S',
                threads: 1,
                cpu_us: 0,
                resident: bytes as u64,
                handles: None,
                read: None,
                written: None,
                comm: Span::default(),
                command: Span::default(),
                group: Span::default(),
                waits_in: Span::default(),
            }
        };
        let mut growths = Growths::default();
        // Flat for five minutes, then it grows; another one fills a cache and stops.
        let begun = 300.0;
        for second in 0..340 {
            let seconds = f64::from(second);
            let leak = 80e6 + 12e6 * (seconds - begun).max(0.0);
            let cache = 80e6 + 12e6 * (seconds - begun).clamp(0.0, 15.0);
            let mut sample = Sample { at: hour(seconds / 3600.0), ..Sample::default() };
            sample.processes.busiest = vec![row(7, leak), row(8, cache)];
            growths.sample(&sample, &|_| None);
        }
        // It is gone, and something else is there.
        let mut sample = Sample { at: hour(350.0 / 3600.0), ..Sample::default() };
        sample.processes.busiest = vec![row(9, 1e6)];
        growths.sample(&sample, &|_| None);
        let growing = growths.soon();
        assert_eq!(
            growing.iter().map(|growth| growth.process.map(|id| id.pid)).collect::<Vec<_>>(),
            [Some(7), Some(8)]
        );
        let [leak, cache] = &growing[..] else { panic!() };
        assert!(leak.from.since(hour(begun / 3600.0)).as_secs() <= 3, "{leak:?}");
        assert!(leak.straight > 0.99 && leak.quarters.iter().all(|q| (60e6..140e6).contains(q)), "{leak:?}");
        assert!(cache.quarters[3] < 1e6, "{cache:?}");
        assert!(growths.close().is_empty());
    }

    #[test]
    fn what_was_recorded_joins_what_is_seen() {
        let mut growths = Growths::default();
        let recorded = (0..420).map(|minute| {
            let hours = f64::from(minute) / 60.0;
            (hour(hours), 500e6 + 100e6 * hours)
        });
        growths.recorded("app.service", recorded);
        let (name, unit, kind) = ("unit.memory:app.service".into(), "B".into(), ReadingKind::Gauge);
        let readings = vec![Reading { name, value: 1200e6, unit, kind }];
        growths.sample(&Sample { at: hour(7.0), readings, ..Sample::default() }, &|_| None);
        let growing = growths.close();
        assert!(
            growing.len() == 1 && growing[0].to == hour(7.0) && growing[0].straight > 0.99,
            "{growing:?}"
        );
    }

    #[test]
    fn memory_is_bounded_whatever_comes_and_goes() {
        let mut growths = Growths::default();
        for n in 0..500 {
            let readings = (0..20)
                .map(|unit| Reading {
                    name: format!("unit.memory:{}", n * 20 + unit).into(),
                    value: 1e9,
                    unit: "B".into(),
                    kind: ReadingKind::Gauge,
                })
                .collect();
            growths
                .sample(&Sample { at: hour(f64::from(n) / 10.0), readings, ..Sample::default() }, &|_| None);
        }
        assert!(growths.series.len() <= SERIES_MAX);
        assert!(growths.series.values().all(|series| series.points.len() <= POINTS_MAX));
    }
}
