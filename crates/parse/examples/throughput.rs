//! How fast lines are read on one core: `cargo run --release -p toban-parse --example throughput [FORMAT]`.
//! It makes its own lines, always the same ones.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::fmt::Write as _;
use std::time::Instant;

use toban_model::Time;
use toban_parse::{Clock, Format};

const LINES: usize = 500_000;

fn main() {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    let name = std::env::args().nth(1).unwrap_or_else(|| "combined-us".to_owned());
    let mut format = match Format::from_name_or_string(&name, &clock) {
        Ok(format) => format,
        Err(error) => return println!("could not use the log format: {error}"),
    };
    let log = lines();
    let mut best = f64::MAX;
    let (mut fit, mut held_us) = (0u64, 0u64);
    for _ in 0..5 {
        (fit, held_us) = (0, 0);
        let start = Instant::now();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', log.as_bytes()) {
            let line = &log.as_bytes()[from..end];
            from = end + 1;
            if let Some(request) = format.request(line) {
                fit += 1;
                held_us += request.duration_us.unwrap_or(0) + u64::from(request.client.is_some());
            }
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!(
        "{}: {fit} of {LINES} lines fit, {:.2} M lines/s, {:.0} MB/s (checksum {held_us})",
        format.describe(),
        LINES as f64 / best / 1e6,
        log.len() as f64 / best / 1e6,
    );
}

/// Lines of `combined` with `%D`.
fn lines() -> String {
    let mut log = String::new();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for line in 0..LINES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = state >> 33;
        let second = line / 50;
        // Writing to a string cannot fail.
        let _ = writeln!(
            log,
            "198.{}.{}.{} - - [22/Nov/2026:{:02}:{:02}:{:02} +0000] \"GET /shop/item/{}?ref={} HTTP/1.1\" 200 {} \"https://www.example.jp/list?page={}\" \"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36\" {}",
            18 + dice % 2,
            dice >> 3 & 255,
            dice >> 11 & 255,
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            dice % 5000,
            dice % 97,
            dice % 90_000,
            dice % 40,
            dice % 400_000,
        );
    }
    log
}
