//! Chance that depends on the seed alone, and not on the version of any library.

/// A generator of numbers: SplitMix64. <https://prng.di.unimi.it/splitmix64.c>
pub(crate) struct Random(u64);

impl Random {
    /// The stream `stream` of a seed; streams do not disturb each other.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut seeded = Self(seed ^ stream.wrapping_mul(0xD605_0BB5_9E3D_5D4B));
        // Neighbouring seeds are strangers to each other.
        Self(seeded.bits())
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// From 0 to below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of several.
    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A log-normal number: half of them are below `median`, and two thirds within a factor of e^`sigma` of it.
    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    /// The time to the next of events that come at random, in the unit of `mean`.
    pub(crate) fn gap(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// Draws numbers with given weights, each in constant time: Walker's alias method.
pub(crate) struct Weighted {
    /// For each slot: how much of it is its own, and whose the rest is.
    slots: Vec<(f64, u32)>,
}

impl Weighted {
    /// Zipf's law: the k-th of `n` has a weight of k^-`exponent`.
    pub(crate) fn zipf(n: usize, exponent: f64) -> Self {
        Self::new(&(1..=n).map(|k| (k as f64).powf(-exponent)).collect::<Vec<_>>())
    }

    pub(crate) fn new(weights: &[f64]) -> Self {
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let mut left: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..left.len()).partition(|&at| left[at] < 1.0);
        let mut slots = vec![(1.0, 0); left.len()];
        while let (Some(needs), Some(&gives)) = (small.pop(), large.last()) {
            slots[needs] = (left[needs], gives as u32);
            left[gives] -= 1.0 - left[needs];
            if left[gives] < 1.0 {
                small.extend(large.pop());
            }
        }
        Self { slots }
    }

    pub(crate) fn pick(&self, random: &mut Random) -> usize {
        let at = random.below(self.slots.len());
        let (own, other) = self.slots[at];
        if random.unit() < own { at } else { other as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_kept() {
        let (mut random, zipf) = (Random::new(3, 0), Weighted::zipf(10, 1.0));
        let mut drawn = [0u32; 10];
        for _ in 0..100_000 {
            drawn[zipf.pick(&mut random)] += 1;
        }
        let all: f64 = (1..=10).map(|k| 1.0 / f64::from(k)).sum();
        for (k, count) in (1..).zip(drawn) {
            let expected = 100_000.0 / f64::from(k) / all;
            assert!((f64::from(count) - expected).abs() < 5.0 * expected.sqrt(), "{k}: {count}, {expected}");
        }
    }

    #[test]
    fn a_log_normal_number_has_its_median_and_spread() {
        let mut random = Random::new(4, 0);
        let mut drawn: Vec<f64> = (0..20_000).map(|_| random.log_normal(40.0, 0.7)).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((drawn[10_000] - 40.0).abs() < 1.5, "{}", drawn[10_000]);
        // One sigma above the median are 84.1 %.
        assert!((drawn[16_827] - 40.0 * 0.7_f64.exp()).abs() < 4.0, "{}", drawn[16_827]);
    }
}
