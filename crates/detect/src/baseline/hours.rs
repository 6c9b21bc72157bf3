//! A vital's last two weeks, hour by hour, and what they say of one hour of the week.
//!
//! What is usual is read from the hours when it is asked for, so each rule is one line over what was seen: nothing is
//! folded away that a later hour would judge differently.

/// Two weeks, and the hours next to the same hour two weeks ago.
pub(super) const HOURS: usize = 14 * 24 + 2;
const DAY: i64 = 24;
const WEEK: i64 = 7 * DAY;
/// What is the same on so many days back is usual at that hour of the day.
const DAYS_LENT: i64 = 4;
/// A step shows when most of two days differ from the same days a week ago, by this factor.
const STEP_WITHIN: i64 = 2 * DAY;
const STEP: f64 = 2.0;

/// One hour of a vital, or what is usual at one hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Hour {
    /// The second percentile of its readings.
    pub(super) low: f64,
    /// The highest level that it kept for minutes.
    pub(super) lasting: f64,
    /// The 98th percentile of its readings.
    pub(super) high: f64,
}

impl Hour {
    fn wider(self, other: Hour) -> Hour {
        Hour {
            low: self.low.min(other.low),
            lasting: self.lasting.max(other.lasting),
            high: self.high.max(other.high),
        }
    }

    fn narrower(self, other: Hour) -> Hour {
        Hour {
            low: self.low.max(other.low),
            lasting: self.lasting.min(other.lasting),
            high: self.high.min(other.high),
        }
    }

    fn times(self, factor: f64) -> Hour {
        Hour { low: self.low * factor, lasting: self.lasting * factor, high: self.high * factor }
    }

    /// Of several, the values at one rank from the outside: 0 is the widest.
    fn ranked(hours: &[Hour], rank: usize) -> Option<Hour> {
        let from_top = hours.len().checked_sub(rank + 1)?;
        let at = |pick: fn(&Hour) -> f64, place| nth(hours.iter().map(pick).collect(), place);
        Some(Hour {
            low: at(|h| h.low, rank),
            lasting: at(|h| h.lasting, from_top),
            high: at(|h| h.high, from_top),
        })
    }
}

/// The value at a place, counted from the lowest.
fn nth(mut all: Vec<f64>, place: usize) -> f64 {
    *all.select_nth_unstable_by(place, f64::total_cmp).1
}

/// As it is kept: `lasting` and `high` as the upper half of an `f32` (right to 0.4 %), `low` as its part of `lasting`
/// in 255ths.
pub(super) type Packed = [u8; 5];
/// No finite number has these upper bits.
pub(super) const UNSEEN: Packed = [0xff; 5];

fn pack(hour: Hour) -> Packed {
    let half = |value: f64| {
        let bits = (value.clamp(0.0, 1e38) as f32).to_bits();
        ((bits + 0x8000) >> 16) as u16
    };
    let [a, b] = half(hour.lasting).to_le_bytes();
    let [c, d] = half(hour.high).to_le_bytes();
    let part = if hour.lasting > 0.0 { (hour.low / hour.lasting).clamp(0.0, 1.0) * 255.0 } else { 0.0 };
    [a, b, c, d, part as u8]
}

fn unpack(packed: Packed) -> Option<Hour> {
    let [a, b, c, d, part] = packed;
    let whole = |low, high| f64::from(f32::from_bits(u32::from(u16::from_le_bytes([low, high])) << 16));
    let (lasting, high) = (whole(a, b), whole(c, d));
    (lasting.is_finite() && high.is_finite()).then(|| Hour {
        low: lasting * f64::from(part) / 255.0,
        lasting,
        high,
    })
}

/// The hours since the epoch up to `newest`, in a ring.
#[derive(Clone, Debug)]
pub(super) struct Hours {
    newest: i64,
    ring: [Packed; HOURS],
}

impl Hours {
    pub(super) fn new() -> Hours {
        Hours { newest: 0, ring: [UNSEEN; HOURS] }
    }

    fn slot(hour: i64) -> usize {
        hour.rem_euclid(HOURS as i64) as usize
    }

    pub(super) fn newest(&self) -> i64 {
        self.newest
    }

    pub(super) fn put(&mut self, hour: i64, seen: Hour) {
        self.put_packed(hour, pack(seen));
    }

    /// Puts an hour; what lies between the newest so far and it was not seen. One before the newest takes its place
    /// in time: the clock was set back, and what is later than now is of no time at all.
    pub(super) fn put_packed(&mut self, hour: i64, seen: Packed) {
        let gap = hour.saturating_sub(self.newest);
        for skipped in (hour - gap.clamp(0, HOURS as i64) + 1)..=hour {
            self.ring[Hours::slot(skipped)] = UNSEEN;
        }
        for later in hour + 1..=self.newest.min(hour + HOURS as i64) {
            self.ring[Hours::slot(later)] = UNSEEN;
        }
        self.newest = hour;
        self.ring[Hours::slot(hour)] = seen;
    }

    pub(super) fn packed(&self, hour: i64) -> Option<Packed> {
        let held = hour <= self.newest && hour > self.newest - HOURS as i64;
        held.then(|| self.ring[Hours::slot(hour)]).filter(|packed| *packed != UNSEEN)
    }

    fn seen(&self, hour: i64) -> Option<Hour> {
        self.packed(hour).and_then(unpack)
    }

    /// How many hours are known.
    pub(super) fn known(&self) -> usize {
        self.ring.iter().filter(|packed| **packed != UNSEEN).count()
    }

    /// An hour with its neighbours: what runs at ten to four runs at ten past four on another day.
    fn around(&self, hour: i64) -> Option<Hour> {
        (hour - 1..=hour + 1).filter_map(|h| self.seen(h)).reduce(Hour::wider)
    }

    /// What is usual at `hour`, of what was seen before it and of `now`, the hour that goes on, where little else is
    /// known.
    ///
    /// It is the widest of three: the same hour of the week, where what was seen in one week of two does not count;
    /// the same hour of the last days, where what was seen on one day of several does not count; and what nine tenths
    /// of all hours of these days kept to. So a nightly job, a weekly one and a busy Monday are usual, a step is so on
    /// the third day, and two hours of an incident that nobody noticed are not.
    pub(super) fn usual(&self, hour: i64, now: Option<Hour>) -> Option<Hour> {
        let days: Vec<Hour> = (1..=DAYS_LENT).filter_map(|d| self.around(hour - d * DAY)).collect();
        let same_hour = Hour::ranked(&days, usize::from(days.len() > 2));
        let mut all: Vec<Hour> = (hour - DAYS_LENT * DAY..hour).filter_map(|h| self.seen(h)).collect();
        all.extend(now.filter(|_| all.len() < 3));
        let any_hour = Hour::ranked(&all, all.len() / 10);
        [self.same_hour_of_week(hour), same_hour, any_hour].into_iter().flatten().reduce(Hour::wider)
    }

    fn same_hour_of_week(&self, hour: i64) -> Option<Hour> {
        let one = self.around(hour - WEEK)?;
        if let Some(factor) = self.step(hour) {
            // All is at another level since: a week ago is told at today's.
            return Some(one.times(factor));
        }
        Some(self.around(hour - 2 * WEEK).map_or(one, |two| one.narrower(two)))
    }

    /// By how much the last two days stand above or below the same days a week ago, if that is no mere noise.
    fn step(&self, hour: i64) -> Option<f64> {
        let median = |to: i64| {
            let all: Vec<f64> = (to - STEP_WITHIN..to).filter_map(|h| Some(self.seen(h)?.lasting)).collect();
            let half = all.len() / 2;
            (all.len() as i64 >= STEP_WITHIN / 2).then(|| nth(all, half)).filter(|m| *m > 0.0)
        };
        let factor = median(hour)? / median(hour - WEEK)?;
        (!(1.0 / STEP..=STEP).contains(&factor)).then_some(factor)
    }
}
