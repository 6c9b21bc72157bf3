//! How fast the lines of web servers and proxies are read on one core:
//! `cargo run --release -p toban-parse --example throughput_web [FORMAT]…`. It repeats each format's samples, and counts
//! the time that it was given a core, so that a busy host says much the same.

#![expect(clippy::print_stdout, reason = "a program that measures and prints")]

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
        let Ok(format) = Format::from_name_or_string(unit.id, &clock) else { continue };
        let own = |sample: &&formats::Sample| sample.format.is_empty() && sample.event != "none";
        for sample in unit.samples.iter().filter(own) {
            let log = format!("{}\n", sample.line).repeat(LINES);
            let mut format = format.clone();
            let mut best = f64::MAX;
            let mut named = 0;
            for _ in 0..5 {
                named = 0;
                let start = on_core_s();
                let mut from = 0;
                for end in memchr::memchr_iter(b'\n', log.as_bytes()) {
                    let line = &log.as_bytes()[from..end];
                    from = end + 1;
                    if let Some(Event::Request(request)) = format.parse(line) {
                        named += usize::from(request.client.is_some());
                    }
                }
                best = best.min(on_core_s() - start);
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

/// Seconds that this process has had a core; see proc_pid_schedstat(5).
fn on_core_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|first| first.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}
