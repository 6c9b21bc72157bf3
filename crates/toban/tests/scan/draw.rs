//! Everything random, from a seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A small generator of its own (SplitMix64): tests must not change with a library's version.
pub(crate) struct Draw(u64);

impl Draw {
    pub(crate) fn new(seed: u64, what: &str) -> Draw {
        let salt = what.bytes().fold(seed, |sum, byte| sum.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte));
        Draw(salt)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// From one number to another, both included.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len() as u64) as usize]
    }

    /// The time between two events that know nothing of each other, in seconds.
    pub(crate) fn gap(&mut self, mean_s: f64) -> f64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        -mean_s * (1.0 - unit).ln()
    }

    /// A public address, in a network where nobody else is.
    pub(crate) fn v4(&mut self) -> Ipv4Addr {
        loop {
            let [a, b, c, d] = (self.next() as u32).to_be_bytes();
            let special = matches!(a, 0 | 10 | 100 | 127 | 169 | 172 | 192 | 198 | 203 | 224..);
            if !special && d != 0 && d != 255 {
                return Ipv4Addr::new(a, b, c, d);
            }
        }
    }

    pub(crate) fn v6(&mut self) -> Ipv6Addr {
        let site = u128::from(self.next()) >> 4 | 0x2 << 60;
        Ipv6Addr::from(site << 64 | u128::from(self.next()))
    }

    /// One in four has IPv6.
    pub(crate) fn address(&mut self) -> IpAddr {
        if self.one_in(4) { self.v6().into() } else { self.v4().into() }
    }

    /// Different addresses of one network.
    pub(crate) fn network(&mut self, n: usize, v6: bool) -> Vec<IpAddr> {
        let mut all = std::collections::BTreeSet::new();
        let (four, six) = (self.v4().octets(), u128::from(self.v6()) >> 64);
        while all.len() < n {
            all.insert(if v6 {
                IpAddr::from(Ipv6Addr::from(six << 64 | u128::from(self.next())))
            } else {
                IpAddr::from([four[0], four[1], four[2], self.between(1, 254) as u8])
            });
        }
        let mut all: Vec<IpAddr> = all.into_iter().collect();
        for at in (1..all.len()).rev() {
            all.swap(at, self.below(at as u64 + 1) as usize);
        }
        all
    }
}
