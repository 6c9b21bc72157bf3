//! How long bans take in the real kernel, and what they cost here: run it in a network namespace of its own, as
//! `unshare --net target/release/examples/bans 1000000`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement")]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use toban_model::Prefix;
use toban_respond::{Firewall, Nftables, Target};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let hosts: u32 = arguments.next().map_or(1_000_000, |n| n.parse().unwrap());
    let prefixes: u32 = arguments.next().map_or(100_000, |n| n.parse().unwrap());
    let piece: u32 = arguments.next().map_or(16_384, |n| n.parse().unwrap());
    let mut nft = Nftables::open().unwrap();
    let length = Duration::from_secs(3600);
    let host = |n: u32| Target::new(net(0x0b00_0000 + n.wrapping_mul(3), 32), &[80, 443]);
    let wide = |n: u32| Target::new(net(0x2000_0000 + (n << 8), 24), &[80, 443]);
    for (what, count, target) in
        [("hosts", hosts, &host as &dyn Fn(u32) -> Target), ("/24s", prefixes, &wide)]
    {
        let begun = Instant::now();
        let mut at = 0;
        while at < count {
            let end = (at + piece).min(count);
            let bans: BTreeMap<Target, Duration> = (at..end).map(|n| (target(n), length)).collect();
            nft.put(&bans).unwrap();
            at = end;
        }
        println!("{count} {what}, put in and seen: {:?}; {}", begun.elapsed(), memory());
        let mut one: Vec<Duration> = (0..200)
            .map(|n| {
                let begun = Instant::now();
                nft.put(&BTreeMap::from([(target(count + n), length)])).unwrap();
                begun.elapsed()
            })
            .collect();
        one.sort();
        println!("one more of {what}: median {:?}, p99 {:?}", one[100], one[197]);
    }
    let all: Vec<Target> = (0..hosts).map(host).collect();
    let begun = Instant::now();
    let held = nft.held_of(&all.iter().collect::<Vec<_>>()).unwrap().unwrap();
    println!("{} of {hosts} looked up one by one: {:?}", held.bans.len(), begun.elapsed());
}

fn net(bits: u32, length: u8) -> Prefix {
    Prefix::V4(Ipv4Net::new(Ipv4Addr::from(bits), length).unwrap())
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap().to_owned();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    format!("{peak}, user {} s, system {} s", ticks(after[11]), ticks(after[12]))
}

fn ticks(text: &str) -> f64 {
    text.parse::<f64>().unwrap() / 100.0
}
