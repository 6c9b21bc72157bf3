//! What is usual for a vital: a robust range over what was seen, in fixed memory.

use toban_model::{Usual, Vital, VitalState};

use crate::tables::HashMap;

/// Buckets grow by 10 %: a bound is right to 5 %, and 20 decades (1e-6 … 1e14) fit in 512 of them.
const GROWTH: f64 = 1.1;
const BUCKETS: usize = 512;
const SMALLEST: f64 = 1e-6;
/// Below a minute of history a range says nothing.
const SECONDS_MIN: u32 = 60;
/// More distinct vitals than any host has; beyond it new ones are `unknown`.
const VITALS_MAX: usize = 4096;

#[derive(Clone, Debug)]
struct Histogram {
    counts: Box<[u32; BUCKETS]>,
    zeros: u32,
    total: u32,
}

impl Histogram {
    fn new() -> Histogram {
        Histogram { counts: Box::new([0; BUCKETS]), zeros: 0, total: 0 }
    }

    fn add(&mut self, value: f64) {
        if self.total == u32::MAX {
            return;
        }
        self.total += 1;
        if value < SMALLEST {
            self.zeros += 1;
            return;
        }
        let bucket = (value / SMALLEST).ln() / GROWTH.ln();
        self.counts[(bucket as usize).min(BUCKETS - 1)] += 1;
    }

    /// The upper edge of the bucket that the quantile falls in.
    fn quantile(&self, q: f64) -> f64 {
        let rank = (q * f64::from(self.total)).ceil().max(1.0) as u32;
        let mut seen = self.zeros;
        if seen >= rank {
            return 0.0;
        }
        for (i, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return SMALLEST * GROWTH.powi(i32::try_from(i).unwrap_or(0) + 1);
            }
        }
        f64::INFINITY
    }
}

/// The usual ranges of all vitals of a host. One reading a second is expected.
#[derive(Clone, Debug, Default)]
pub struct Baseline {
    vitals: HashMap<String, Histogram>,
}

impl Baseline {
    /// Takes one reading of usual time. The caller does not feed readings of an incident.
    pub fn learn(&mut self, name: &str, value: f64) {
        if !value.is_finite() || value < 0.0 {
            return;
        }
        if let Some(histogram) = self.vitals.get_mut(name) {
            histogram.add(value);
        } else if self.vitals.len() < VITALS_MAX {
            let mut histogram = Histogram::new();
            histogram.add(value);
            self.vitals.insert(name.to_owned(), histogram);
        }
    }

    /// What is usual: the middle 98 %, widened by a slack for what short histories have not yet shown.
    pub fn usual(&self, name: &str) -> Option<Usual> {
        let histogram = self.vitals.get(name)?;
        if histogram.total < SECONDS_MIN {
            return None;
        }
        let (low, median, high) =
            (histogram.quantile(0.01), histogram.quantile(0.5), histogram.quantile(0.99));
        let slack = 0.1 * median;
        Some(Usual { low: (low - slack).max(0.0), high: high + slack, seconds: histogram.total })
    }

    /// The vital beside its usual; where nothing is known, beside what is sane on any host.
    pub fn judge(&self, name: &str, value: f64, unit: &str, cores: u32) -> Vital {
        let sane = sane(name, cores);
        let usual = match (self.usual(name), sane) {
            // A share that is usually 3 % is not "high" at 9 %: nothing is used up and nobody waits for it.
            (Some(usual), Some((_, harmless))) => Some(Usual { high: usual.high.max(harmless), ..usual }),
            (Some(usual), None) => Some(usual),
            (None, Some((high, _))) => Some(Usual { low: 0.0, high, seconds: 0 }),
            (None, None) => None,
        };
        let state = match usual {
            None => VitalState::Unknown,
            Some(usual) if value > usual.high => VitalState::High,
            Some(usual) if value < usual.low && falls_matter(name) => VitalState::Low,
            Some(_) => VitalState::Usual,
        };
        Vital { name: name.to_owned(), value, unit: unit.to_owned(), usual, state }
    }
}

/// The highest value that is fine on a host nobody knows yet, and the one below which no value is worth a word.
fn sane(name: &str, cores: u32) -> Option<(f64, f64)> {
    let cores = f64::from(cores.max(1));
    let family = name.split(':').next().unwrap_or(name);
    Some(match family {
        "cpu.busy" => (85.0, 40.0),
        "cpu.iowait" => (25.0, 10.0),
        "load.1" => (cores * 1.5, cores * 0.5),
        "memory.used" => (90.0, 70.0),
        "disk.used" | "disk.inodes" => (90.0, 80.0),
        "conntrack.used" => (80.0, 50.0),
        "files.used" => (80.0, 50.0),
        "processes.blocked" => (cores * 2.0, cores),
        _ => return None,
    })
}

/// Less of these is bad news; less CPU is not.
fn falls_matter(name: &str) -> bool {
    name.starts_with("http.pages") || name.starts_with("http.requests")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_was_seen_and_little_more() {
        let mut baseline = Baseline::default();
        for i in 0..3600 {
            baseline.learn("apache.workers.busy", f64::from(10 + i % 40));
        }
        let usual = baseline.usual("apache.workers.busy").unwrap();
        assert!(usual.low <= 11.0 && usual.low > 5.0, "{usual:?}");
        assert!((49.0..60.0).contains(&usual.high), "{usual:?}");
        assert_eq!(baseline.judge("apache.workers.busy", 300.0, "", 2).state, VitalState::High);
        assert_eq!(baseline.judge("apache.workers.busy", 0.0, "", 2).state, VitalState::Usual);
    }

    #[test]
    fn an_unknown_host_is_judged_by_what_is_sane() {
        let baseline = Baseline::default();
        assert_eq!(baseline.judge("load.1", 0.3, "", 2).state, VitalState::Usual);
        assert_eq!(baseline.judge("disk.used:/var", 97.0, "%", 2).state, VitalState::High);
        assert_eq!(baseline.judge("network.sent", 1e6, "B/s", 2).state, VitalState::Unknown);
    }

    #[test]
    fn a_minute_is_needed() {
        let mut baseline = Baseline::default();
        (0..59).for_each(|_| baseline.learn("x", 1.0));
        assert!(baseline.usual("x").is_none());
        baseline.learn("x", 1.0);
        assert!(baseline.usual("x").is_some());
        baseline.learn("x", f64::NAN);
    }
}
