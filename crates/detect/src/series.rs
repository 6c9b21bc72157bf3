//! A service's traffic as a line through time: five-second buckets over the whole history that was read.

use std::collections::VecDeque;
use std::time::Duration;

use toban_model::Time;

/// Buckets of this width; a line is put where its request ended.
pub(crate) const WIDTH: Duration = Duration::from_secs(5);
/// Two weeks. Older buckets fall off.
const BUCKETS_MAX: usize = 14 * 86_400 / 5;
/// What a request held is spread over at most so many buckets back (10 minutes).
const SPREAD_MAX: i64 = 120;

/// Pauses within an incident.
const BRIDGED_MIN: Duration = Duration::from_secs(10);
const BRIDGED_MAX: Duration = Duration::from_secs(60);

/// What ended (and was held) in one bucket.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) requests: u32,
    pub(crate) pages_ok: u32,
    pub(crate) server_errors: u32,
    pub(crate) held_us: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    start: Option<Time>,
    buckets: VecDeque<Bucket>,
}

/// What is usual for the series, robustly.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usual {
    pub(crate) requests: f64,
    pub(crate) pages_ok: f64,
    pub(crate) server_errors: f64,
    pub(crate) server_errors_far: f64,
    pub(crate) held: f64,
    pub(crate) held_far: f64,
}

impl Series {
    /// Adds one ended request.
    pub(crate) fn add(&mut self, end: Time, held_us: u64, page_ok: bool, server_error: bool) {
        let Some(at) = self.index(end) else { return };
        let bucket = &mut self.buckets[at];
        bucket.requests += 1;
        bucket.pages_ok += u32::from(page_ok);
        bucket.server_errors += u32::from(server_error);
        self.spread(at, end, held_us);
    }

    /// Puts what was held where it was held, not where the request ended.
    fn spread(&mut self, at: usize, end: Time, held_us: u64) {
        let width = WIDTH.as_micros() as u64;
        let into_bucket = u64::try_from(end.since(end.bucket(WIDTH)).as_micros()).unwrap_or(width);
        let mut left = held_us;
        let mut room = into_bucket;
        for back in 0..=SPREAD_MAX {
            let Some(index) = at.checked_sub(back as usize) else { break };
            let part = left.min(room);
            self.buckets[index].held_us += part;
            left -= part;
            if left == 0 {
                break;
            }
            room = width;
        }
    }

    fn index(&mut self, at: Time) -> Option<usize> {
        let bucket = at.bucket(WIDTH);
        let start = *self.start.get_or_insert(bucket);
        if bucket < start {
            // History is read newest file first; there is room in front until the limit.
            let missing = (start.since(bucket).as_micros() / WIDTH.as_micros()) as usize;
            if self.buckets.len() + missing > BUCKETS_MAX {
                return None;
            }
            (0..missing).for_each(|_| self.buckets.push_front(Bucket::default()));
            self.start = Some(bucket);
            return Some(0);
        }
        let index = (bucket.since(start).as_micros() / WIDTH.as_micros()) as usize;
        if index >= self.buckets.len() + BUCKETS_MAX {
            // A stamp weeks ahead of all others is a clock that was set wrong, not a reason to forget everything.
            return None;
        }
        while self.buckets.len() <= index {
            self.buckets.push_back(Bucket::default());
        }
        while self.buckets.len() > BUCKETS_MAX {
            self.buckets.pop_front();
            self.start = self.start.map(|s| s + WIDTH);
        }
        index.checked_sub((self.start?.since(start).as_micros() / WIDTH.as_micros()) as usize)
    }

    /// Adds what another part of the same log says.
    pub(crate) fn absorb(&mut self, other: &Series) {
        let Some(start) = other.start else { return };
        // From the newest on: what does not fit is the oldest.
        for (at, theirs) in other.buckets.iter().enumerate().rev() {
            if theirs.requests == 0 && theirs.held_us == 0 {
                continue;
            }
            let Some(at) = self.index(start + WIDTH * u32::try_from(at).unwrap_or(u32::MAX)) else {
                continue;
            };
            let mine = &mut self.buckets[at];
            mine.requests += theirs.requests;
            mine.pages_ok += theirs.pages_ok;
            mine.server_errors += theirs.server_errors;
            mine.held_us += theirs.held_us;
        }
    }

    pub(crate) fn start(&self) -> Option<Time> {
        self.start
    }

    /// The buckets in `[from, to)`, oldest first.
    pub(crate) fn range(&self, from: Time, to: Time) -> impl DoubleEndedIterator<Item = (Time, &Bucket)> {
        let start = self.start.unwrap_or(Time::ZERO);
        self.buckets
            .iter()
            .enumerate()
            .map(move |(i, b)| (start + WIDTH * u32::try_from(i).unwrap_or(u32::MAX), b))
            .filter(move |(t, _)| *t >= from && *t < to)
    }

    /// What is usual in `[from, to)`; `None` with less than half a minute of it.
    pub(crate) fn usual(&self, from: Time, to: Time) -> Option<Usual> {
        let buckets: Vec<Bucket> = self.range(from, to).map(|(_, b)| *b).collect();
        if buckets.len() < 6 {
            return None;
        }
        let secs = WIDTH.as_secs_f64();
        let (errors, errors_far) = median_and_far(&buckets, |b| f64::from(b.server_errors) / secs);
        let (held, held_far) = median_and_far(&buckets, |b| b.held_us as f64 / 1e6 / secs);
        Some(Usual {
            requests: median_and_far(&buckets, |b| f64::from(b.requests) / secs).0,
            pages_ok: median_and_far(&buckets, |b| f64::from(b.pages_ok) / secs).0,
            server_errors: errors,
            server_errors_far: errors_far,
            held,
            held_far,
        })
    }

    /// Since when the traffic has been out of its usual without a longer pause, looking back from `at`.
    ///
    /// What is usual comes from the older half of the history, so an incident may fill nearly the whole newer half
    /// and is still seen against what was before it.
    pub(crate) fn onset(&self, at: Time) -> Option<Time> {
        let start = self.start?;
        let middle = start + at.since(start) / 2;
        let usual = self.usual(start, middle)?;
        let secs = WIDTH.as_secs_f64();
        let strange = |b: &Bucket, settled: bool| {
            let held = b.held_us as f64 / 1e6 / secs;
            let pages = f64::from(b.pages_ok) / secs;
            let errors = f64::from(b.server_errors) / secs;
            held > (usual.held * 3.0).max(usual.held_far).max(1.0)
                || errors > (usual.server_errors * 3.0).max(usual.server_errors_far).max(0.6)
                || (settled && usual.pages_ok > 1.0 && pages < usual.pages_ok * 0.4)
        };
        // Waves of a server's timeout are one incident; but a short history must not be bridged to its first buckets,
        // in which a site that was just started is not yet as usual.
        let bridged = (at.since(start) / 6).clamp(BRIDGED_MIN, BRIDGED_MAX);
        let mut onset = None;
        let mut last_strange = at;
        for (t, bucket) in self.range(start, at).rev() {
            // The newest bucket is still filling and must not look like a fall.
            let settled = at.since(t) > WIDTH;
            if strange(bucket, settled) {
                onset = Some(t);
                last_strange = t;
            } else if last_strange.since(t) > bridged {
                break;
            }
        }
        onset
    }
}

/// The median, and the value that lies far above it: eight median absolute deviations. Both hold as long as less than
/// half of the buckets are of an incident, which a high quantile does not.
fn median_and_far(buckets: &[Bucket], value: impl Fn(&Bucket) -> f64) -> (f64, f64) {
    let middle = |values: &mut Vec<f64>| {
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let mut values: Vec<f64> = buckets.iter().map(value).collect();
    let median = middle(&mut values);
    let mut deviations: Vec<f64> = values.iter().map(|v| (v - median).abs()).collect();
    (median, median + 8.0 * middle(&mut deviations))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(series: &mut Series, from: i64, to: i64) {
        for s in from..to {
            for i in 0..10 {
                series.add(Time::from_micros(s * 1_000_000 + i * 100_000), 20_000, i < 4, false);
            }
        }
    }

    #[test]
    fn a_quiet_history_has_no_onset() {
        let mut series = Series::default();
        quiet(&mut series, 1_000_000, 1_000_300);
        assert_eq!(series.onset(Time::from_secs(1_000_300)), None);
    }

    #[test]
    fn held_workers_are_dated_to_when_they_were_held() {
        let mut series = Series::default();
        quiet(&mut series, 1_000_000, 1_000_100);
        // Forty requests that all end at 120 s after having held a worker for 20 s each.
        for i in 0..40 {
            series.add(Time::from_micros(1_000_120_000_000 + i), 20_000_000, false, true);
        }
        let onset = series.onset(Time::from_secs(1_000_121)).unwrap();
        assert_eq!(onset.as_secs(), 1_000_100);
    }

    #[test]
    fn a_slow_start_is_not_the_onset() {
        let mut series = Series::default();
        series.add(Time::from_secs(1_000_000), 1000, true, false);
        quiet(&mut series, 1_000_010, 1_000_045);
        for i in 0..40 {
            series.add(Time::from_micros(1_000_054_000_000 + i), 8_000_000, false, true);
        }
        let onset = series.onset(Time::from_secs(1_000_055)).unwrap();
        assert_eq!(onset.as_secs(), 1_000_045);
    }

    #[test]
    fn a_fall_is_seen() {
        let mut series = Series::default();
        quiet(&mut series, 1_000_000, 1_000_200);
        let onset = series.onset(Time::from_secs(1_000_240));
        // Nothing was logged any more after 200: the buckets that are missing count only once a line comes.
        assert_eq!(onset, None);
        series.add(Time::from_secs(1_000_240), 1000, false, false);
        let onset = series.onset(Time::from_secs(1_000_250)).unwrap();
        assert_eq!(onset.as_secs(), 1_000_200);
    }
}
