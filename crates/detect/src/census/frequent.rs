//! *Frequent*: the keys that come most often, with what each of them did, in a table of fixed size.
//!
//! When the table is full, the lightest half of it is put out and handed to the caller, who counts it under something
//! wider (a network for an address, `/item/*` for `/item/123`). So nothing is lost, only told less exactly; and the
//! error is known: a key that was put out had at most the weight of the heaviest one put out with it. The sum of these
//! weights is the *floor*: no key that is absent came more often, and none that is present came more often than its
//! count and the floor at the time when it (last) came in. Counts are never too high.
//!
//! It is the lossy counting of Manku and Motwani (VLDB 2002) with the table's size as the trigger, and exact for every
//! key that comes in before the first purge and stays.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::tables::Scatter;

/// What is summed up for a key.
pub(crate) trait Tally: Copy + Default {
    /// What decides who stays.
    fn weight(&self) -> u32;
    /// Adds another sum for the same key.
    fn merge(&mut self, other: &Self);
}

/// A key, what it did, and how much may be missing of its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<K, T> {
    pub(crate) key: K,
    pub(crate) missed: u32,
    pub(crate) tally: T,
}

#[derive(Clone, Debug)]
pub(crate) struct Frequent<K, T> {
    table: HashTable<Counted<K, T>>,
    hasher: Scatter,
    max: usize,
    floor: u32,
}

impl<K: Copy + Eq + Hash, T: Tally> Frequent<K, T> {
    /// A table of at most `max` keys.
    pub(crate) fn new(max: usize) -> Self {
        Frequent { table: HashTable::new(), hasher: Scatter::default(), max, floor: 0 }
    }

    /// The entry of a key, which comes in if it is not there.
    #[inline]
    pub(crate) fn entry(&mut self, key: K) -> &mut Counted<K, T> {
        let hash = self.hasher.hash_one(key);
        match self.table.find_entry(hash, |known| known.key == key) {
            Ok(known) => known.into_mut(),
            Err(absent) => {
                let fresh = Counted { key, missed: self.floor, tally: T::default() };
                let hasher = &self.hasher;
                absent.into_table().insert_unique(hash, fresh, |known| hasher.hash_one(known.key)).into_mut()
            }
        }
    }

    /// The entry of a key that is there; otherwise the key's hash.
    #[inline]
    pub(crate) fn known(&mut self, key: K) -> Result<&mut Counted<K, T>, u64> {
        let hash = self.hasher.hash_one(key);
        self.table.find_mut(hash, |known| known.key == key).ok_or(hash)
    }

    /// What is known of a key.
    pub(crate) fn find(&self, key: K) -> Option<&Counted<K, T>> {
        self.table.find(self.hasher.hash_one(key), |known| known.key == key)
    }

    /// No key that is absent came more often than this.
    pub(crate) fn floor(&self) -> u32 {
        self.floor
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Counted<K, T>> {
        self.table.iter()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it is time to purge.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.table.len() >= self.max
    }

    /// Puts out the lightest half, and all that are as light as the heaviest of them: who goes does not depend on
    /// the order in which they came.
    pub(crate) fn purge(&mut self) -> Vec<Counted<K, T>> {
        let mut weights: Vec<u32> = self.table.iter().map(|known| known.tally.weight()).collect();
        if weights.is_empty() {
            return Vec::new();
        }
        let middle = (weights.len() - 1) / 2;
        let (_, threshold, _) = weights.select_nth_unstable(middle);
        let threshold = *threshold;
        self.floor = self.floor.saturating_add(threshold);
        self.table.extract_if(|known| known.tally.weight() <= threshold).collect()
    }

    /// Gives keys other names; those that now have the same one are one.
    pub(crate) fn rename(&mut self, name: impl Fn(K) -> K) {
        let old = std::mem::take(&mut self.table);
        for known in old {
            self.add(Counted { key: name(known.key), ..known });
        }
    }

    /// Adds what was counted elsewhere for a key.
    pub(crate) fn add(&mut self, other: Counted<K, T>) {
        let entry = self.entry(other.key);
        entry.missed = if entry.tally.weight() == 0 { other.missed } else { entry.missed.max(other.missed) };
        entry.tally.merge(&other.tally);
    }

    /// Takes in another table's keys; it may be full afterwards.
    pub(crate) fn absorb(&mut self, other: Self) {
        // A key that only one of them knows may have been put out of the other.
        let (mine, theirs) = (self.floor, other.floor);
        for known in &mut self.table {
            let also = other.find(known.key).map_or(theirs, |other| other.missed);
            known.missed = known.missed.saturating_add(also);
        }
        for known in other.table {
            let hash = self.hasher.hash_one(known.key);
            match self.table.find_mut(hash, |own| own.key == known.key) {
                Some(own) => own.tally.merge(&known.tally),
                None => {
                    let missed = known.missed.saturating_add(mine);
                    self.table.insert_unique(hash, Counted { missed, ..known }, |known| {
                        self.hasher.hash_one(known.key)
                    });
                }
            }
        }
        self.floor = mine.saturating_add(theirs);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    impl Tally for u32 {
        fn weight(&self) -> u32 {
            *self
        }

        fn merge(&mut self, other: &u32) {
            *self += other;
        }
    }

    /// Numbers by a power law, always the same ones.
    fn stream(seed: u64, n: usize) -> impl Iterator<Item = u64> {
        let mut state = seed;
        (0..n).map(move |_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let u = ((state >> 11) as f64 / (1u64 << 53) as f64).max(1e-9);
            (1.0 / u.powf(1.2)) as u64
        })
    }

    fn count(table: &mut Frequent<u64, u32>, keys: impl Iterator<Item = u64>) -> u64 {
        let mut rest = 0;
        for key in keys {
            table.entry(key).tally += 1;
            if table.is_full() {
                rest += table.purge().iter().map(|out| u64::from(out.tally)).sum::<u64>();
            }
        }
        rest
    }

    fn check_bounds(table: &Frequent<u64, u32>, exact: &HashMap<u64, u32>) {
        for (key, count) in exact {
            match table.find(*key) {
                Some(known) => {
                    assert!(known.tally <= *count, "{key}: {} of {count}", known.tally);
                    assert!(*count <= known.tally + known.missed, "{key}: {count} of {known:?}");
                }
                None => assert!(*count <= table.floor(), "{key}: {count} absent, floor {}", table.floor()),
            }
        }
    }

    #[test]
    fn counts_are_within_their_bounds() {
        let mut table = Frequent::new(256);
        let mut exact: HashMap<u64, u32> = HashMap::new();
        stream(1, 200_000).for_each(|key| *exact.entry(key).or_default() += 1);
        let rest = count(&mut table, stream(1, 200_000));
        assert!(table.len() < 256 && exact.len() > 1000, "{} of {}", table.len(), exact.len());
        check_bounds(&table, &exact);
        let kept: u64 = table.iter().map(|known| u64::from(known.tally)).sum();
        assert_eq!(kept + rest, 200_000, "nothing is lost");
        assert!(table.floor() < 200_000 / 100, "the floor is low: {}", table.floor());
    }

    #[test]
    fn two_tables_are_one() {
        let (mut one, mut other) = (Frequent::new(128), Frequent::new(128));
        let mut exact: HashMap<u64, u32> = HashMap::new();
        stream(1, 50_000).chain(stream(2, 50_000)).for_each(|key| *exact.entry(key).or_default() += 1);
        count(&mut one, stream(1, 50_000));
        count(&mut other, stream(2, 50_000));
        one.absorb(other);
        check_bounds(&one, &exact);
    }
}
