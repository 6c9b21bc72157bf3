//! Who there is: the addresses of usual clients, of attackers, and of those who are only written about.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv6Addr};

use super::random::{Random, Weighted};

/// Networks of usual clients begin with these, those of attackers with none of them.
const USUAL: [u8; 24] =
    [5, 24, 31, 37, 46, 62, 71, 73, 76, 78, 80, 82, 84, 86, 88, 90, 93, 95, 98, 118, 126, 151, 178, 217];
const HOSTILE: [u8; 8] = [45, 91, 103, 141, 185, 193, 194, 212];
/// Usual clients come from so many networks (/16, or /32 in IPv6), a few of which have most of them.
const NETWORKS: usize = 1_500;
/// This share of usual clients has IPv6.
const SIX: f64 = 0.08;

/// So many different addresses of usual clients.
pub(crate) fn usual(random: &mut Random, count: usize) -> Vec<IpAddr> {
    let networks: Vec<[u8; 2]> =
        (0..NETWORKS).map(|_| [*random.one(&USUAL), random.below(256) as u8]).collect();
    let which = Weighted::zipf(NETWORKS, 0.6);
    let (mut seen, mut clients) = (HashSet::with_capacity(count), Vec::with_capacity(count));
    while clients.len() < count {
        let [a, b] = networks[which.pick(random)];
        let [c, d, e, f, ..] = random.bits().to_le_bytes();
        let client = if random.chance(SIX) {
            // A customer has a /64 and in it an address that means nothing.
            let network = [0x2a01, u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]), u16::from(e)];
            six(network, random.bits())
        } else {
            IpAddr::from([a, b, c.max(1), f.clamp(1, 254)])
        };
        if seen.insert(client) {
            clients.push(client);
        }
    }
    clients
}

/// A network to attack from, a /24.
pub(crate) fn hostile_network(random: &mut Random) -> [u8; 3] {
    let [b, c, ..] = random.bits().to_le_bytes();
    [*random.one(&HOSTILE), b, c]
}

/// The `nth` address of such a network that attacks; there are 120.
pub(crate) fn attacker(network: [u8; 3], nth: usize) -> IpAddr {
    let [a, b, c] = network;
    IpAddr::from([a, b, c, 4 + 2 * (nth % 120) as u8])
}

/// The `nth` address of such a network whose user has nothing to do with the attack.
pub(crate) fn neighbour(network: [u8; 3], nth: usize) -> IpAddr {
    let [a, b, c] = network;
    IpAddr::from([a, b, c, 5 + 2 * (nth % 120) as u8])
}

/// An attacker with IPv6: one of many addresses in one /64.
pub(crate) fn attacker_six(random: &mut Random) -> IpAddr {
    six([0x2a0e, 0xb107, 0x27f, 0], random.bits())
}

/// Addresses of RFC 5737 and RFC 3849, which nobody has.
pub(crate) fn victims(random: &mut Random) -> Vec<IpAddr> {
    let four = (0..6).map(|nth| IpAddr::from([203, 0, 113, (40 * nth + random.between(1, 39)) as u8]));
    let mut victims: Vec<IpAddr> = four.collect();
    victims.extend((0..2).map(|nth| six([0x2001, 0xdb8, 0, nth], random.bits())));
    victims
}

/// The `nth` of 2^29 IPv4 addresses that all differ, without any order.
pub(crate) fn scattered_four(nth: u32, key: u64) -> IpAddr {
    const MASK: u32 = (1 << 29) - 1;
    // An odd factor permutes the numbers below a power of two, and so does what a shift to the right is xored into.
    let mut mixed = nth.wrapping_mul(0x9E37_79B1) & MASK;
    mixed ^= mixed >> 15;
    mixed = mixed.wrapping_mul(0x85EB_CA6B) & MASK ^ (key as u32 & MASK);
    let [a, b, c, d] = mixed.to_be_bytes();
    let first = USUAL.iter().chain(&HOSTILE).nth(usize::from(a)).unwrap_or(&USUAL[0]);
    IpAddr::from([*first, b, c, d])
}

/// The `nth` of 2^64 IPv6 addresses that all differ, each in a /64 of its own and all in one /20.
pub(crate) fn scattered_six(nth: u64, key: u64) -> IpAddr {
    let mixed =
        nth.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xD6E8_FEB8_6659_FD93) ^ key;
    let network = (0x2_a020 << 44) | (mixed >> 20);
    Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(mixed)).into()
}

fn six(network: [u16; 4], host: u64) -> IpAddr {
    let network = network.into_iter().fold(0u64, |all, group| all << 16 | u64::from(group));
    Ipv6Addr::from_bits(u128::from(network) << 64 | u128::from(host)).into()
}
