//! The hour that goes on: its readings counted in few buckets, for the percentiles that are kept of it.

use super::hours::Hour;

/// Buckets grow by 5 %, and two that lie closest become one where a vital needs more of them.
const GROWTH: f64 = 1.05;
const BUCKETS: usize = 32;
/// A smaller reading is zero: nothing that is measured here is worth a word below a millionth of its unit.
const SMALLEST: f64 = 1e-6;
const ZERO: i16 = i16::MIN;
/// The part of the readings that the range leaves out on each side.
const LEFT_OUT: f64 = 0.02;

/// One hour so far.
#[derive(Clone, Debug)]
pub(super) struct Present {
    /// Since the epoch.
    pub(super) hour: i64,
    pub(super) buckets: [(i16, u16); BUCKETS],
    pub(super) used: u8,
    pub(super) min: f32,
    pub(super) max: f32,
    /// The highest level that lasted.
    pub(super) lasting: Option<f32>,
}

impl Present {
    pub(super) fn new(hour: i64) -> Present {
        Present { hour, buckets: [(0, 0); BUCKETS], used: 0, min: f32::INFINITY, max: 0.0, lasting: None }
    }

    pub(super) fn counts(&self) -> &[(i16, u16)] {
        &self.buckets[..usize::from(self.used).min(BUCKETS)]
    }

    pub(super) fn take(&mut self, value: f64) {
        self.min = self.min.min(value as f32);
        self.max = self.max.max(value as f32);
        let bucket = if value < SMALLEST { ZERO } else { (value.ln() / GROWTH.ln()).floor() as i16 };
        self.add(bucket, 1);
    }

    pub(super) fn add(&mut self, bucket: i16, count: u16) {
        let at = match self.counts().binary_search_by_key(&bucket, |(b, _)| *b) {
            Ok(at) => {
                self.buckets[at].1 = self.buckets[at].1.saturating_add(count);
                return;
            }
            Err(at) => at,
        };
        if usize::from(self.used) == BUCKETS {
            self.merge();
            return self.add(bucket, count);
        }
        self.buckets.copy_within(at..usize::from(self.used), at + 1);
        self.buckets[at] = (bucket, count);
        self.used += 1;
    }

    /// Makes one of the two buckets that lie closest, at the place of the fuller one.
    fn merge(&mut self) {
        let gap = |i: usize| i32::from(self.buckets[i + 1].0) - i32::from(self.buckets[i].0);
        let Some(at) = (0..BUCKETS - 1).min_by_key(|i| gap(*i)) else { return };
        let ((low, a), (high, b)) = (self.buckets[at], self.buckets[at + 1]);
        self.buckets[at] = (if a > b { low } else { high }, a.saturating_add(b));
        self.buckets.copy_within(at + 2.., at + 1);
        self.used -= 1;
    }

    /// The value that this part of the readings does not exceed.
    fn quantile(&self, q: f64) -> f64 {
        let total: u32 = self.counts().iter().map(|(_, count)| u32::from(*count)).sum();
        let rank = (q * f64::from(total)).ceil().max(1.0) as u32;
        let mut below = 0;
        let bucket = self.counts().iter().find(|(_, count)| {
            below += u32::from(*count);
            below >= rank
        });
        let value = match bucket {
            Some((ZERO, _)) | None => 0.0,
            Some((bucket, _)) => GROWTH.powf(f64::from(*bucket) + 0.5),
        };
        value.clamp(f64::from(self.min).min(f64::from(self.max)), f64::from(self.max))
    }

    /// The hour as it is known now; `None` before the first reading. Where nothing lasted yet, all did.
    pub(super) fn hour(&self) -> Option<Hour> {
        let high = (self.used > 0).then(|| self.quantile(1.0 - LEFT_OUT))?;
        let lasting = self.lasting.map_or(high, f64::from);
        Some(Hour { low: self.quantile(LEFT_OUT), lasting, high })
    }
}
