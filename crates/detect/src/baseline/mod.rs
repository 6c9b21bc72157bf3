//! What is usual for a vital on this host at this hour of the week, and since when it has been out of that.
//!
//! The noun is the [`Baseline`]: for each vital the last two weeks hour by hour (`hours`), the hour that goes on
//! (`present`) and the last minutes (`recent`), in less than 2 KiB. Everything is a function of names, times and values
//! that were fed in; what is kept of it (`kept`) outlives a restart.
//!
//! Two questions are answered apart. Whether a reading is in the range of what was read at such hours: that is the
//! table, and a burst of a second may be above it. And whether the level of the last three minutes is above what levels
//! lasted as long at such hours: that is a symptom, and it is asked only once a day is known.

mod hours;
mod kept;
mod present;
mod recent;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use toban_model::{Time, Usual, Vital, VitalState};

use hours::{HOURS, Hour, Hours};
use present::Present;
use recent::{Lasting, Recent};

/// Below a minute of history a range says nothing.
const LEARNED_MIN: Duration = Duration::from_secs(60);
/// With less than a day nobody knows what the night brings: only what is sane on any host is asked then. One hour of
/// it may be missing: the agent was restarted, a clock was set.
const GROWN: Duration = Duration::from_secs(23 * 3600);
/// A reading stands for the time since the one before it, up to this.
const STANDS_FOR: Duration = Duration::from_secs(60);
/// More distinct vitals than any host has that is read so often; beyond it new ones are unknown.
const VITALS_MAX: usize = 1000;
/// A vital that was not seen for so long makes room: its interface, its disk, its container is gone.
const FORGOTTEN: Duration = Duration::from_secs(14 * 86_400);
/// What was out of the usual before a restart goes on if it was not longer.
const KEEPS_ON: Duration = Duration::from_secs(3600);
/// A departure is over when all of the last minutes was below this part of the limit.
const OVER: f64 = 0.8;
/// A clock that went back by more was set; by less, what was learned is read again.
const SET_BACK: Duration = Duration::from_secs(2 * 3600);

/// What is known of one vital.
#[derive(Clone, Debug)]
struct Known {
    hours: Hours,
    present: Present,
    recent: Recent,
    learned_to: Time,
    learned_ms: u64,
    /// Since when it has been above what lasts here.
    since: Option<Time>,
    /// What is usual at one hour: it is asked for every few seconds, and changes with the hour.
    cached: Option<(i64, Scale)>,
}

/// What is usual, and how far beyond it a level must be to be out of it.
#[derive(Clone, Copy, Debug)]
struct Scale {
    usual: Hour,
    /// How many days it rests on, at most fourteen.
    days: f64,
}

impl Scale {
    /// The highest level that may last. One day tells little of the next: the slack is twice what the vital ranges
    /// over, and shrinks to the half of that in two weeks. What bursts reach at such hours is no news either.
    fn limit(&self) -> f64 {
        let Hour { low, lasting, high } = self.usual;
        let slack = 0.75 + 1.25 / self.days.max(1.0).sqrt();
        (lasting + slack * (lasting - low).max(lasting / 2.0)).max(high)
    }

    /// The range of single readings: half as wide again after minutes, a tenth after a week.
    fn range(&self, learned: Duration) -> (f64, f64) {
        let Hour { low, lasting, high } = self.usual;
        let high = high.max(lasting);
        let slack = 0.1 + 0.4 / (1.0 + learned.as_secs_f64() / 3600.0);
        (low * (1.0 - slack), high + slack * (high - low).max(high * 0.1))
    }
}

impl Known {
    fn new(at: Time) -> Known {
        Known {
            hours: Hours::new(),
            present: Present::new(hour_of(at)),
            recent: Recent::new(),
            learned_to: Time::ZERO,
            learned_ms: 0,
            since: None,
            cached: None,
        }
    }

    fn learned(&self) -> Duration {
        Duration::from_millis(self.learned_ms).min(Duration::from_secs(HOURS as u64 * 3600))
    }

    fn is_grown(&self) -> bool {
        self.learned() >= GROWN
    }

    fn see(&mut self, at: Time, value: f64, learn: bool, sane: impl FnOnce() -> Sane) {
        let learned = learn && self.learn(at, value);
        if let Some(level) = self.recent.take(at, value) {
            self.follow(at, value, level, learned, sane());
        }
    }

    /// Makes a reading part of what is usual, once.
    fn learn(&mut self, at: Time, value: f64) -> bool {
        let first = self.learned_ms == 0;
        if !first && at <= self.learned_to && self.learned_to.since(at) < SET_BACK {
            return false;
        }
        let stands_for =
            if first { Duration::from_secs(1) } else { at.since(self.learned_to).min(STANDS_FOR) };
        self.learned_ms += u64::try_from(stands_for.as_millis()).unwrap_or(0);
        self.learned_to = at;
        let hour = hour_of(at);
        if self.present.hour != hour {
            if let Some(seen) = self.present.hour() {
                self.hours.put(self.present.hour, seen);
            }
            self.present = Present::new(hour);
        }
        self.present.take(value);
        true
    }

    fn scale(&self, hour: i64) -> Option<Scale> {
        match self.cached {
            Some((of, scale)) if of == hour => Some(scale),
            _ if self.learned() < LEARNED_MIN => None,
            _ => {
                let now = (self.present.hour <= hour).then(|| self.present.hour()).flatten();
                let days = self.hours.known() as f64 / 24.0;
                Some(Scale { usual: self.hours.usual(hour, now)?, days })
            }
        }
    }

    /// The highest level that may last without being a symptom.
    fn limit(&self, hour: i64, sane: Sane) -> f64 {
        let seen = self.scale(hour).map_or(0.0, |scale| scale.limit());
        seen.max(if self.is_grown() { sane.quiet } else { sane.high })
    }

    /// Compares the level of the last minutes, and the reading that follows them, with what lasts here: a job of
    /// three minutes has just ended.
    fn follow(&mut self, at: Time, value: f64, level: Option<Lasting>, learned: bool, sane: Sane) {
        let Some(level) = level else {
            self.since = None;
            return;
        };
        let hour = hour_of(at);
        if self.is_grown() && self.cached.is_none_or(|(of, _)| of != hour) {
            self.cached = self.scale(hour).map(|scale| (hour, scale));
        }
        // Where nothing is sane on every host and little is known of this one, nothing is out of the usual.
        let limit =
            if self.is_grown() || sane.high.is_finite() { self.limit(hour, sane) } else { f64::INFINITY };
        self.since = match self.since {
            None => (level.lowest.min(value) > limit).then_some(level.from),
            // What comes and goes at the limit is one departure.
            Some(since) => (level.highest > OVER * limit).then_some(since),
        };
        if learned {
            let lowest = level.lowest as f32;
            self.present.lasting = Some(self.present.lasting.map_or(lowest, |known| known.max(lowest)));
        }
    }
}

fn hour_of(at: Time) -> i64 {
    at.as_secs().div_euclid(3600)
}

/// The usual ranges of all vitals of a host.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    /// Of the host: a load is sane by it.
    cores: u32,
    vitals: BTreeMap<String, Box<Known>>,
}

impl Baseline {
    /// Of a host with so many cores, about which nothing is known.
    pub fn new(cores: u32) -> Baseline {
        Baseline { cores, vitals: BTreeMap::new() }
    }

    /// Takes one reading, of at most a minute after the one before. With `learn` it becomes part of what is usual;
    /// the caller says no during an incident. One that was learned already (a recording is read again) is not learned
    /// twice.
    pub fn see(&mut self, at: Time, name: &str, value: f64, unit: &str, learn: bool) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        if !self.vitals.contains_key(name) {
            if self.vitals.len() >= VITALS_MAX && !self.make_room(at) {
                return;
            }
            self.vitals.insert(name.to_owned(), Box::new(Known::new(at)));
        }
        let Some(known) = self.vitals.get_mut(name) else { return };
        known.see(at, value, learn, || {
            if rises_matter(name) { sane(name, unit, self.cores) } else { Sane::ANYTHING }
        });
    }

    fn make_room(&mut self, at: Time) -> bool {
        let before = self.vitals.len();
        self.vitals.retain(|_, known| at.since(known.learned_to) < FORGOTTEN);
        self.vitals.len() < before
    }

    /// The newest reading that was learned of any vital.
    pub fn learned_to(&self) -> Option<Time> {
        self.vitals.values().map(|known| known.learned_to).max()
    }

    /// As it serves a moment before or after it was kept: what was out of the usual then is told of that time alone.
    /// `None` if `at` is so long before it that too little from before `at` is still known.
    pub fn as_of(mut self, at: Time) -> Option<Baseline> {
        let newest = self.learned_to().unwrap_or(at);
        if newest > at || at.since(newest) > KEEPS_ON {
            self.vitals.values_mut().for_each(|known| known.since = None);
        }
        (newest.since(at) < FORGOTTEN / 2).then_some(self)
    }

    /// What is usual for readings of a vital at this time of the week; `None` before a minute was seen.
    pub fn usual(&self, at: Time, name: &str) -> Option<Usual> {
        let known = self.vitals.get(name)?;
        let (low, high) = known.scale(hour_of(at))?.range(known.learned());
        Some(Usual { low, high, seconds: u32::try_from(known.learned().as_secs()).unwrap_or(u32::MAX) })
    }

    /// The least that a vital is usually at this time of the week; `None` before a day was seen.
    pub(crate) fn least(&self, at: Time, name: &str) -> Option<f64> {
        let known = self.vitals.get(name).filter(|known| known.is_grown())?;
        Some(known.scale(hour_of(at))?.usual.low)
    }

    /// The vital beside its usual; where nothing is known, beside what is sane on any host.
    pub fn judge(&self, at: Time, name: &str, value: f64, unit: &str) -> Vital {
        let sane = sane(name, unit, self.cores);
        let known = self.vitals.get(name);
        let since = known.and_then(|known| known.since);
        let usual = match self.usual(at, name) {
            // A share that is usually 3 % is not "high" at 9 %: nothing is used up and nobody waits for it.
            Some(usual) => Some(Usual { high: usual.high.max(sane.quiet), ..usual }),
            None if sane.high.is_finite() => Some(Usual { low: 0.0, high: sane.high, seconds: 0 }),
            None => None,
        };
        // Bursts may be higher than what lasts: what has lasted is shown beside what may last.
        let lasts = known.filter(|known| known.since.is_some()).map(|known| known.limit(hour_of(at), sane));
        let usual =
            usual.map(|usual| Usual { high: usual.high.min(lasts.unwrap_or(f64::INFINITY)), ..usual });
        let state = match usual {
            None => VitalState::Unknown,
            Some(_) if since.is_some() => VitalState::High,
            Some(usual) if value > usual.high && rises_matter(name) => VitalState::High,
            Some(usual) if value < usual.low && falls_matter(name) => VitalState::Low,
            Some(_) => VitalState::Usual,
        };
        Vital { name: name.to_owned(), value, unit: unit.to_owned(), usual, state, since }
    }
}

/// What is known of a vital on every host.
#[derive(Clone, Copy, Debug)]
struct Sane {
    /// The highest value that is fine on a host nobody knows yet.
    high: f64,
    /// The one up to which no value is worth a word.
    quiet: f64,
}

impl Sane {
    const ANYTHING: Sane = Sane { high: f64::INFINITY, quiet: f64::INFINITY };
}

fn sane(name: &str, unit: &str, cores: u32) -> Sane {
    let cores = f64::from(cores.max(1));
    let family = name.split(':').next().unwrap_or(name);
    let (high, quiet) = match family {
        "cpu.busy" => (85.0, 40.0),
        "cpu.iowait" => (25.0, 10.0),
        // One process that spins for ever is a load of 1 on any host, however many cores it has.
        "load.1" => (cores * 1.5, 0.5),
        "load.5" | "load.15" => (f64::INFINITY, 0.5),
        "memory.used" => (90.0, 70.0),
        "disk.used" | "disk.inodes" => (90.0, 80.0),
        "conntrack.used" | "file_handles.used" => (80.0, 50.0),
        "processes.blocked" => (cores * 2.0, cores),
        _ => {
            let quiet = match unit {
                "%" | "ms" => 10.0,
                "/s" => 1.0,
                "B/s" => 100e3,
                "B" => 10e6,
                "" => 2.0,
                _ => 0.0,
            };
            (f64::INFINITY, quiet)
        }
    };
    Sane { high, quiet }
}

/// Less of these is bad news; less CPU is not.
fn falls_matter(name: &str) -> bool {
    name.starts_with("http.pages") || name.starts_with("http.requests")
}

/// More of these is no news: what is free, and what the kernel gives back when it is asked for.
fn rises_matter(name: &str) -> bool {
    let family = name.split(':').next().unwrap_or(name);
    !matches!(
        family,
        "memory.available"
            | "memory.free"
            | "memory.total"
            | "memory.swap_total"
            | "memory.cached"
            | "memory.buffers"
            | "memory.mapped"
            | "disk.free"
            | "recorder.age"
    )
}
