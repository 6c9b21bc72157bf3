//! Bans in the real kernel, by number: `unshare --net target/release/examples/bans 1000000 32` puts in so many of that
//! prefix length as plans do, some thousands at a time, and then some one by one. `cargo xtask bench bans` runs it beside
//! other programs.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use toban_model::Prefix;
use toban_respond::{Firewall, Nftables, Target};

/// As many as one plan may name.
const AT_ONCE: u32 = 16_384;
const ONE_BY_ONE: u32 = 200;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|n| n.parse::<u32>().unwrap());
    let (count, length) = (arguments.next().unwrap(), arguments.next().unwrap());
    let mut nft = Nftables::open().unwrap();
    let time = Duration::from_secs(3600);
    let target = |n: u32| {
        let address = Ipv4Addr::from(0x0b00_0000 + (n << (32 - length)));
        Target::new(Prefix::V4(Ipv4Net::new(address, u8::try_from(length).unwrap()).unwrap()), &[])
    };
    for from in (0..count).step_by(AT_ONCE as usize) {
        let to = (from + AT_ONCE).min(count);
        nft.put(&(from..to).map(|n| (target(n), time)).collect::<BTreeMap<_, _>>()).unwrap();
    }
    let mut one: Vec<f64> = (count..count + ONE_BY_ONE)
        .map(|n| {
            let begun = Instant::now();
            nft.put(&BTreeMap::from([(target(n), time)])).unwrap();
            begun.elapsed().as_secs_f64()
        })
        .collect();
    one.sort_by(f64::total_cmp);
    println!("{} {}", one[one.len() / 2], one[one.len() - 2]);
}
