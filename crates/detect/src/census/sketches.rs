//! Two sketches in fixed memory: how many different ones there were, and how long things took.

use std::hash::{BuildHasher, Hash};

use foldhash::quality::FixedState;

/// How many different keys there were: HyperLogLog (Flajolet et al., AofA 2007) with linear counting for few.
#[derive(Clone, Debug)]
pub(crate) struct Distinct {
    registers: Box<[u8]>,
}

/// 2^14 registers of a byte: a standard error of 0.8 %.
const REGISTER_BITS: u32 = 14;

impl Default for Distinct {
    fn default() -> Self {
        Distinct { registers: vec![0; 1 << REGISTER_BITS].into() }
    }
}

impl Distinct {
    #[inline]
    pub(crate) fn add(&mut self, key: impl Hash) {
        // The same everywhere, so that sketches of two threads or hosts can be put together.
        let hash = FixedState::with_seed(0).hash_one(key);
        let register = &mut self.registers[(hash >> (64 - REGISTER_BITS)) as usize];
        let rank = ((hash << REGISTER_BITS) | 1 << (REGISTER_BITS - 1)).leading_zeros() as u8 + 1;
        *register = (*register).max(rank);
    }

    pub(crate) fn absorb(&mut self, other: &Distinct) {
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// How many there were, and by how much that may be wrong (three standard errors).
    pub(crate) fn estimate(&self) -> (u64, u64) {
        let m = self.registers.len() as f64;
        let sum: f64 = self.registers.iter().map(|rank| 2f64.powi(-i32::from(*rank))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let empty = self.registers.iter().filter(|rank| **rank == 0).count() as f64;
        let estimate = if raw <= 2.5 * m && empty > 0.0 { m * (m / empty).ln() } else { raw };
        (estimate.round() as u64, (estimate * 3.0 * 1.04 / m.sqrt()).ceil() as u64)
    }
}

/// How long things took: a histogram whose buckets grow with the value, each less than 1.6 % wide.
#[derive(Clone, Debug)]
pub(crate) struct Durations {
    buckets: Box<[u32]>,
    total: u64,
}

/// Each doubling is cut into so many buckets.
const STEP_BITS: u32 = 6;
const STEPS: usize = 1 << STEP_BITS;
/// Up to 2^42 microseconds, some fifty days.
const DOUBLINGS: usize = 42;

impl Default for Durations {
    fn default() -> Self {
        Durations { buckets: vec![0; (DOUBLINGS - STEP_BITS as usize + 2) * STEPS].into(), total: 0 }
    }
}

impl Durations {
    #[inline]
    pub(crate) fn add(&mut self, micros: u64) {
        let bucket = &mut self.buckets[bucket(micros)];
        *bucket = bucket.saturating_add(1);
        self.total += 1;
    }

    pub(crate) fn absorb(&mut self, other: &Durations) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine = mine.saturating_add(*theirs);
        }
        self.total += other.total;
    }

    /// Microseconds that so large a part (0 to 1) stayed below or at; `None` if nothing was timed.
    pub(crate) fn quantile(&self, part: f64) -> Option<u64> {
        let rank = ((part * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return Some(middle(at));
            }
        }
        None
    }
}

#[inline]
fn bucket(micros: u64) -> usize {
    let micros = micros.min((1 << DOUBLINGS) - 1);
    if micros < STEPS as u64 {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEP_BITS;
    (shift as usize + 1) * STEPS + ((micros >> shift) as usize & (STEPS - 1))
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    if bucket < STEPS {
        return bucket as u64;
    }
    let shift = (bucket / STEPS - 1) as u32;
    let low = ((STEPS + bucket % STEPS) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_were() {
        for n in [0u64, 1, 10, 1000, 30_000, 50_000, 1_000_000] {
            let mut distinct = Distinct::default();
            for key in 0..n {
                distinct.add(u128::from(key) << 5);
                distinct.add(u128::from(key) << 5);
            }
            let (estimate, error) = distinct.estimate();
            assert!(estimate.abs_diff(n) <= error, "{n}: {estimate} ± {error}");
        }
    }

    #[test]
    fn durations_within_their_error() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), None);
        for micros in 1..=100_000u64 {
            durations.add(micros);
        }
        for (part, expected) in [(0.0, 1), (0.0005, 50), (0.5, 50_000), (0.99, 99_000), (1.0, 100_000)] {
            let found = durations.quantile(part).unwrap();
            assert!(found.abs_diff(expected) as f64 <= 0.016 * expected as f64, "{part}: {found} {expected}");
        }
        durations.add(u64::MAX);
        assert!(durations.quantile(1.0).unwrap() > 1 << 41);
    }
}
