//! The parts of a host that come and go and have a vital each: disks, interfaces, units.
//!
//! A part's names are made when it is first told of and then kept. Only so many are told of, the busiest; a part that
//! is told of stays until another is clearly busier, so that its vital has few holes.

use toban_model::{Name, Reading, ReadingKind};

/// One vital that each part has: `disk.busy` becomes `disk.busy:sda`.
pub(crate) struct Stem {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) kind: ReadingKind,
}

/// A vital that is its number.
pub(crate) const fn each_gauge(name: &'static str, unit: &'static str) -> Stem {
    Stem { name, unit, kind: ReadingKind::Gauge }
}

/// A vital that is its number's growth.
pub(crate) const fn each_counter(name: &'static str, unit: &'static str) -> Stem {
    Stem { name, unit, kind: ReadingKind::Counter }
}

/// More parts than this are not known at all: a thousand virtual interfaces are one for each container of a large host.
const KNOWN_MAX: usize = 1_024;
/// A part that was not there for so many rounds is forgotten.
const FORGOTTEN_AFTER: u32 = 120;
/// How much busier another has to be to take a part's place.
const CLEARLY: f64 = 1.5;

/// The parts of one kind, with `N` vitals each.
pub(crate) struct Parts<const N: usize> {
    stems: &'static [Stem; N],
    told_max: usize,
    parts: Vec<Part<N>>,
    cursor: usize,
    round: u32,
    ranks: Vec<(f64, usize)>,
}

struct Part<const N: usize> {
    key: Box<str>,
    names: Option<[Name; N]>,
    values: [Option<f64>; N],
    work: f64,
    busy: f64,
    round: u32,
    told: bool,
}

impl<const N: usize> Parts<N> {
    /// None yet; the busiest `told_max` of them will be told of.
    pub(crate) fn new(stems: &'static [Stem; N], told_max: usize) -> Parts<N> {
        Parts { stems, told_max, parts: Vec::new(), cursor: 0, round: 0, ranks: Vec::new() }
    }

    /// Notes a part's numbers of this round. `work` counts up with what it does: its growth says how busy it is.
    pub(crate) fn note(&mut self, key: &str, work: f64, values: [Option<f64>; N]) {
        let round = self.round;
        let Some(part) = self.find(key) else { return };
        let grown = (work - part.work).max(0.0);
        part.busy = part.busy * 0.9 + grown;
        part.work = work;
        part.values = values;
        part.round = round;
    }

    /// Files name their parts in the same order each time, so the next one is most often where it is looked for.
    fn find(&mut self, key: &str) -> Option<&mut Part<N>> {
        let len = self.parts.len();
        let at = (0..len).map(|step| (self.cursor + step) % len).find(|at| *self.parts[*at].key == *key);
        let at = match at {
            Some(at) => at,
            None if len < KNOWN_MAX => {
                let values = [None; N];
                let key = key.into();
                // Its first work is from before it was known: it says nothing about now.
                self.parts.push(Part {
                    key,
                    names: None,
                    values,
                    work: f64::MAX,
                    busy: 0.0,
                    round: 0,
                    told: false,
                });
                len
            }
            None => return None,
        };
        self.cursor = at + 1;
        Some(&mut self.parts[at])
    }

    /// Tells of the parts that were noted since the last time, and begins a new round.
    pub(crate) fn tell(&mut self, out: &mut Vec<Reading>) {
        let round = self.round;
        self.parts.retain(|part| round.wrapping_sub(part.round) < FORGOTTEN_AFTER);
        self.choose();
        for part in self.parts.iter_mut().filter(|part| part.told && part.round == round) {
            let names = part.names.get_or_insert_with(|| {
                std::array::from_fn(|n| Name::from(format!("{}:{}", self.stems[n].name, part.key)))
            });
            for ((stem, name), value) in self.stems.iter().zip(names).zip(part.values) {
                if let Some(value) = value {
                    out.push(Reading { name: name.clone(), value, unit: stem.unit.into(), kind: stem.kind });
                }
            }
        }
        self.round += 1;
        self.cursor = 0;
    }

    fn choose(&mut self) {
        let here = |part: &Part<N>| part.round == self.round;
        self.ranks.clear();
        for (at, part) in self.parts.iter().enumerate().filter(|(_, part)| here(part)) {
            let bonus = if part.told { CLEARLY } else { 1.0 };
            self.ranks.push((part.busy * bonus, at));
        }
        // Among equals the one that was first in the file.
        self.ranks.sort_unstable_by(|(a, i), (b, j)| b.total_cmp(a).then(i.cmp(j)));
        for part in &mut self.parts {
            part.told = false;
        }
        for (_, at) in self.ranks.iter().take(self.told_max) {
            self.parts[*at].told = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static STEMS: [Stem; 2] = [each_counter("disk.reads", "/s"), each_gauge("disk.queue", "")];

    fn told(parts: &mut Parts<2>, noted: &[(&str, f64)]) -> Vec<String> {
        for (key, work) in noted {
            parts.note(key, *work, [Some(*work), (*work > 0.0).then_some(1.0)]);
        }
        let mut out = Vec::new();
        parts.tell(&mut out);
        out.iter().map(|reading| format!("{}={}", reading.name, reading.value)).collect()
    }

    #[test]
    fn absent_numbers_and_parts_are_not_told() {
        let mut parts = Parts::new(&STEMS, 8);
        assert_eq!(
            told(&mut parts, &[("sda", 0.0), ("sdb", 5.0)]),
            ["disk.reads:sda=0", "disk.reads:sdb=5", "disk.queue:sdb=1"]
        );
        assert_eq!(told(&mut parts, &[("sdb", 6.0)]), ["disk.reads:sdb=6", "disk.queue:sdb=1"]);
    }

    #[test]
    fn the_busiest_are_told_and_stay() {
        let mut parts = Parts::new(&STEMS, 1);
        let first = |told: Vec<String>| told[0].split('=').next().unwrap().to_owned();
        told(&mut parts, &[("a", 1000.0), ("b", 50.0)]);
        assert_eq!(
            first(told(&mut parts, &[("a", 1000.0), ("b", 60.0)])),
            "disk.reads:b",
            "growth counts, not the sum"
        );
        assert_eq!(
            first(told(&mut parts, &[("a", 1010.0), ("b", 61.0)])),
            "disk.reads:b",
            "not clearly busier"
        );
        assert_eq!(first(told(&mut parts, &[("a", 1100.0), ("b", 62.0)])), "disk.reads:a");
    }

    #[test]
    fn what_went_away_is_forgotten() {
        let mut parts = Parts::new(&STEMS, 1);
        for n in 0..3 * KNOWN_MAX {
            let key = format!("veth{n}");
            told(&mut parts, &[(&key, 1.0)]);
        }
        assert_eq!(parts.parts.len(), FORGOTTEN_AFTER as usize);
    }
}
