//! A vital's last three minutes, for what lasts: a burst that is over in a minute is nobody's symptom.

use toban_model::Time;

/// Readings are averaged over this long, so that a rate that comes in bursts has a level.
const BIN_S: i64 = 20;
/// So many bins are what "lasting" means.
const BINS: i64 = 9;
/// The window is known when its oldest bin is at least so many bins old: readings may come once a minute.
const REACH: i64 = 7;
/// After so many bins without a reading nothing has lasted.
const GAP: i64 = 30;

/// The level of the last three minutes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lasting {
    pub(super) from: Time,
    pub(super) lowest: f64,
    pub(super) highest: f64,
}

#[derive(Clone, Debug)]
pub(super) struct Recent {
    /// The bins that are complete, by number since the epoch, in a ring.
    bins: [(u32, f32); BINS as usize],
    now: u32,
    sum: f64,
    count: u32,
}

impl Recent {
    pub(super) fn new() -> Recent {
        Recent { bins: [(0, 0.0); BINS as usize], now: 0, sum: 0.0, count: 0 }
    }

    /// Takes a reading. With the first one of a new bin it tells what the minutes before it kept to; after a gap
    /// there is nothing that lasted.
    pub(super) fn take(&mut self, at: Time, value: f64) -> Option<Option<Lasting>> {
        let bin = u32::try_from(at.as_secs() / BIN_S).unwrap_or(0);
        if bin == self.now {
            self.sum += value;
            self.count += 1;
            return None;
        }
        let before = std::mem::replace(&mut self.now, bin);
        let (sum, count) = (self.sum, self.count);
        (self.sum, self.count) = (value, 1);
        if count == 0 {
            return None;
        }
        self.bins[before as usize % self.bins.len()] = (before, (sum / f64::from(count)) as f32);
        if bin < before || i64::from(bin - before) > GAP {
            return Some(None);
        }
        let mut level = Lasting { from: at, lowest: f64::INFINITY, highest: 0.0 };
        let mut oldest = bin;
        for (n, mean) in self.bins {
            if n < bin && i64::from(bin - n) <= BINS {
                oldest = oldest.min(n);
                level.lowest = level.lowest.min(f64::from(mean));
                level.highest = level.highest.max(f64::from(mean));
            }
        }
        level.from = Time::from_secs(i64::from(oldest) * BIN_S);
        (i64::from(bin - oldest) >= REACH).then_some(Some(level))
    }
}
