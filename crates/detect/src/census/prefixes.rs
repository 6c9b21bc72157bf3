//! Addresses and the networks that they lie in: IPv4 by /32, /24 and /16, IPv6 by /128, /64, /48 and /32.
//!
//! Each line is counted once, for its address. What is too light to be kept moves up into its network, so networks lose
//! nothing when addresses do: ten million addresses of one request each are some heavy networks.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use toban_model::{Origin, Prefix};

use super::frequent::{Counted, Frequent, Tally};
use super::tally::Visits;

/// Prefix lengths from narrow to wide. IPv4 addresses are kept as `::ffff:a.b.c.d`, so /24 is /120.
const V4: [u8; 3] = [128, 120, 112];
const V6: [u8; 4] = [128, 64, 48, 32];
/// A table of 2^n entries holds seven eighths of them. 37 bytes each: the addresses are 1.2 MiB.
const ADDRESSES_MAX: usize = (1 << 15) / 8 * 7;
const NETWORKS_MAX: [usize; 3] = [(1 << 14) / 8 * 7, (1 << 14) / 8 * 7, (1 << 13) / 8 * 7];

/// An address, or the first one of a network.
pub(crate) type Bits = u128;

/// An address as the number that it is counted by.
#[inline]
pub(crate) fn bits(address: IpAddr) -> Bits {
    match address {
        IpAddr::V4(v4) => 0xffff_0000_0000 | u128::from(u32::from(v4)),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// An address in a table. A number of sixteen bytes would leave gaps between entries, and the fewer bytes they are, the
/// more of them stay in the nearest cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key([u32; 4]);

impl Key {
    #[inline]
    fn of(bits: Bits) -> Key {
        Key([(bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32])
    }

    #[inline]
    pub(crate) fn bits(self) -> Bits {
        self.0.iter().fold(0, |bits, part| bits << 32 | Bits::from(*part))
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.bits());
    }
}

fn is_v4(bits: Bits) -> bool {
    bits >> 32 == 0xffff
}

/// The address of a number.
pub(crate) fn address(bits: Bits) -> IpAddr {
    toban_model::canonical(IpAddr::V6(Ipv6Addr::from(bits)))
}

/// The lengths of its networks, from narrow to wide.
fn lengths(bits: Bits) -> &'static [u8] {
    if is_v4(bits) { &V4 } else { &V6 }
}

fn network(bits: Bits, length: u8) -> Bits {
    bits & (u128::MAX << (128 - u32::from(length)).min(127))
}

#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    /// By address, then by networks from narrow to wide.
    levels: [Frequent<Key, Visits>; 4],
    /// What does not even fit into a wide network.
    rest: u32,
}

impl Default for Prefixes {
    fn default() -> Self {
        let [narrow, middle, wide] = NETWORKS_MAX.map(Frequent::new);
        Prefixes { levels: [Frequent::new(ADDRESSES_MAX), narrow, middle, wide], rest: 0 }
    }
}

impl Prefixes {
    /// The entry of an address.
    #[inline]
    pub(crate) fn entry(&mut self, address: Bits) -> &mut Counted<Key, Visits> {
        if self.levels[0].is_full() {
            self.purge(0);
        }
        self.levels[0].entry(Key::of(address))
    }

    /// How often an address came, at most.
    pub(super) fn at_most(&self, address: Bits) -> u32 {
        let addresses = &self.levels[0];
        let known = addresses.find(Key::of(address));
        known.map_or(addresses.floor(), |known| known.tally.requests.saturating_add(known.missed))
    }

    #[cold]
    fn purge(&mut self, level: usize) {
        for light in self.levels[level].purge() {
            let key = light.key.bits();
            match lengths(key).get(level + 1) {
                Some(length) => self.add(level + 1, network(key, *length), &light.tally),
                None => self.rest = self.rest.saturating_add(light.tally.weight()),
            }
        }
        if level + 1 < self.levels.len() && self.levels[level + 1].is_full() {
            self.purge(level + 1);
        }
    }

    fn add(&mut self, level: usize, key: Bits, visits: &Visits) {
        self.levels[level].entry(Key::of(key)).tally.merge(visits);
    }

    pub(crate) fn absorb(&mut self, other: Prefixes) {
        for (mine, theirs) in self.levels.iter_mut().zip(other.levels) {
            mine.absorb(theirs);
        }
        self.rest = self.rest.saturating_add(other.rest);
        for level in 0..self.levels.len() {
            if self.levels[level].is_full() {
                self.purge(level);
            }
        }
    }

    /// The addresses that are known one by one, with what each did.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Counted<Key, Visits>> {
        self.levels[0].iter()
    }

    /// Everything that was counted, each request once: addresses, and networks with what came from the addresses in
    /// them that are not known one by one.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Prefix, u32)> {
        self.levels.iter().enumerate().flat_map(|(level, table)| {
            table
                .iter()
                .filter_map(move |known| Some((prefix(known.key.bits(), level)?, known.tally.weight())))
        })
    }

    /// All origins of one level (0 for addresses, 1 for /24 and /64, 2 for /16 and /48, 3 for IPv6's /32) with
    /// everything inside them.
    pub(crate) fn level(&self, level: usize) -> Vec<Origin> {
        let mut all = Frequent::<Key, Visits>::new(usize::MAX);
        for table in &self.levels[..=level] {
            for known in table.iter() {
                let key = known.key.bits();
                let Some(length) = lengths(key).get(level) else { continue };
                all.entry(Key::of(network(key, *length))).tally.merge(&known.tally);
            }
        }
        let floor = self.levels[level].floor();
        all.iter()
            .filter_map(|known| {
                let own = self.levels[level].find(known.key);
                Some(Origin {
                    prefix: prefix(known.key.bits(), level)?,
                    requests: known.tally.weight(),
                    missed: own.map_or(floor, |own| own.missed),
                })
            })
            .collect()
    }
}

/// The network of a level as a prefix.
fn prefix(bits: Bits, level: usize) -> Option<Prefix> {
    let length = *lengths(bits).get(level)?;
    let length = if is_v4(bits) { length - 96 } else { length };
    Prefix::new(address(bits), length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(prefixes: &mut Prefixes, address: &str, n: u32) {
        let address: IpAddr = address.parse().unwrap();
        prefixes.entry(bits(address)).tally.add(0, n);
    }

    fn requests(prefixes: &Prefixes, prefix: &str) -> Option<(u32, u32)> {
        let wanted: Prefix = prefix.parse().unwrap();
        let found = (0..4).flat_map(|level| prefixes.level(level)).find(|origin| origin.prefix == wanted);
        found.map(|origin| (origin.requests, origin.missed))
    }

    #[test]
    fn networks_hold_their_addresses() {
        let mut prefixes = Prefixes::default();
        count(&mut prefixes, "192.0.2.1", 3);
        count(&mut prefixes, "192.0.2.2", 4);
        count(&mut prefixes, "192.0.77.2", 5);
        count(&mut prefixes, "2001:db8:0:1::7", 6);
        count(&mut prefixes, "2001:db8:0:2::7", 7);
        for (prefix, expected) in [
            ("192.0.2.1/32", Some((3, 0))),
            ("192.0.2.0/24", Some((7, 0))),
            ("192.0.0.0/16", Some((12, 0))),
            ("2001:db8:0:1::7/128", Some((6, 0))),
            ("2001:db8:0:1::/64", Some((6, 0))),
            ("2001:db8::/48", Some((13, 0))),
            ("2001:db8::/32", Some((13, 0))),
            ("198.51.100.0/24", None),
        ] {
            assert_eq!(requests(&prefixes, prefix), expected, "{prefix}");
        }
    }

    #[test]
    fn ten_times_more_addresses_than_fit_lose_no_request() {
        let mut prefixes = Prefixes::default();
        let all = 10 * ADDRESSES_MAX as u32;
        for n in 0..all {
            let address = if n % 3 == 0 {
                IpAddr::from(std::net::Ipv6Addr::from(0x2001_0db8u128 << 96 | u128::from(n) << 64))
            } else {
                IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 | n))
            };
            prefixes.entry(bits(address)).tally.add(0, 1);
            if n % 10 == 0 {
                count(&mut prefixes, "198.51.100.7", 1);
            }
        }
        let parts: u32 = prefixes.parts().map(|(_, n)| n).sum();
        assert_eq!(parts + prefixes.rest, all + all / 10);
        let (kept, missed) = requests(&prefixes, "198.51.100.7/32").unwrap();
        assert!(kept <= all / 10 && all / 10 <= kept + missed, "{kept} {missed}");
        let wide = requests(&prefixes, "2001:db8::/32").unwrap();
        assert_eq!(wide, (all.div_ceil(3), 0));
    }
}
