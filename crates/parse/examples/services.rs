//! How fast the lines of services are read on one core:
//! `cargo run --release -p toban-parse --example services LOG [FORMAT]`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::time::Instant;

use toban_model::Time;
use toban_model::event::{Act, Event};
use toban_parse::{Clock, Format, sniff};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    let path = std::env::args().nth(1).ok_or("say which log to read")?;
    let log = std::fs::read(path)?;
    let first: Vec<&[u8]> = log.split(|b| *b == b'\n').take(200).collect();
    let mut format = match std::env::args().nth(2) {
        Some(name) => Format::from_name_or_string(&name, &clock)?,
        None => sniff(&first, &clock).ok_or("no known format fits")?,
    };
    let mut best = f64::MAX;
    let (mut lines, mut fit, mut offences, mut named) = (0u64, 0u64, 0u64, 0u64);
    for _ in 0..5 {
        (lines, fit, offences, named) = (0, 0, 0, 0);
        let start = Instant::now();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &log) {
            let line = &log[from..end];
            from = end + 1;
            lines += 1;
            if let Some(event) = format.parse(line) {
                fit += 1;
                if let Event::Service(said) = event {
                    offences += u64::from(matches!(said.act, Act::Offence(_)));
                    named += u64::from(said.client.is_some());
                }
            }
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{}: {fit} of {lines} lines fit, {offences} offences, {named} with a client, {:.2} M lines/s, {:.0} MB/s",
        format.describe(),
        lines as f64 / best / 1e6,
        log.len() as f64 / best / 1e6,
    );
    Ok(())
}
