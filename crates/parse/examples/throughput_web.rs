//! How fast the lines of web servers and proxies are read on one core:
//! `cargo run --release -p toban-parse --example throughput_web [FORMAT]…`. It repeats each format's samples.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::time::Instant;

use toban_model::Time;
use toban_model::event::Event;
use toban_parse::{Clock, Format, formats};

const LINES: usize = 300_000;

fn main() {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    let asked: Vec<String> = std::env::args().skip(1).collect();
    for unit in formats::ALL {
        if !asked.is_empty() && !asked.iter().any(|name| name == unit.id) {
            continue;
        }
        let Ok(mut format) = Format::from_name_or_string(unit.id, &clock) else { continue };
        let own = |sample: &&formats::Sample| sample.format.is_empty() && sample.event != "none";
        for sample in unit.samples.iter().filter(own) {
            let log = format!("{}\n", sample.line).repeat(LINES);
            let mut best = f64::MAX;
            let mut named = 0;
            for _ in 0..3 {
                named = 0;
                let start = Instant::now();
                let mut from = 0;
                for end in memchr::memchr_iter(b'\n', log.as_bytes()) {
                    let line = &log.as_bytes()[from..end];
                    from = end + 1;
                    if let Some(Event::Request(request)) = format.parse(line) {
                        named += usize::from(request.client.is_some());
                    }
                }
                best = best.min(start.elapsed().as_secs_f64());
            }
            println!(
                "{}: {:.2} M lines/s, {:.0} MB/s, {named} named: {:.60}",
                unit.id,
                LINES as f64 / best / 1e6,
                log.len() as f64 / best / 1e6,
                sample.line,
            );
        }
    }
}
