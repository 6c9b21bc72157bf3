//! How fast lines are read on one core:
//! `cargo run --release -p toban-parse --example throughput [FORMAT [FILE]]`.
//! Without a file it makes its own lines, always the same ones, for the formats that begin like `combined`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program that measures and prints")]

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use toban_model::Time;
use toban_model::event::Event;
use toban_parse::{Clock, Format};

/// Own lines.
const LINES: u64 = 500_000;
/// Own lines are read so often, and the best time counts: it is the one that the rest of the machine disturbed least.
const PASSES: u32 = 7;
/// What is held of a file at a time; a line that is longer is cut.
const CHUNK_BYTES: usize = 128 * 1024;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "combined-us".to_owned());
    if let Err(error) = measure(&name, arguments.next().as_deref()) {
        println!("could not measure: {error}");
    }
}

fn measure(name: &str, file: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    let mut format = Format::from_name_or_string(name, &clock)?;
    let best = match file {
        Some(path) => pass(&mut format, std::fs::File::open(path)?)?,
        None => {
            let log = lines(name);
            let mut best = pass(&mut format, log.as_bytes())?;
            for _ in 1..PASSES {
                let next = pass(&mut format, log.as_bytes())?;
                if next.parsing < best.parsing {
                    best = next;
                }
            }
            best
        }
    };
    let (lines, seconds) = (best.lines as f64, best.parsing.as_secs_f64());
    println!(
        "{}: {} of {} lines fit, {:.2} M lines/s, {:.0} MB/s, {:.0} ns a line of {:.0} bytes; with reading {:.2} M lines/s (checksum {:x})",
        format.describe(),
        best.fit,
        best.lines,
        lines / seconds / 1e6,
        best.bytes as f64 / seconds / 1e6,
        seconds / lines * 1e9,
        best.bytes as f64 / lines,
        lines / best.whole.as_secs_f64() / 1e6,
        best.checksum,
    );
    Ok(())
}

#[derive(Default)]
struct Tally {
    lines: u64,
    fit: u64,
    bytes: u64,
    checksum: u64,
    parsing: Duration,
    whole: Duration,
}

/// Reads all of a log once.
fn pass(format: &mut Format, mut log: impl Read) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut held = 0;
    let begin = Instant::now();
    loop {
        let got = log.read(&mut buffer[held..])?;
        held += got;
        let start = Instant::now();
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[..held]) {
            tally.line(format, &buffer[from..end]);
            from = end + 1;
        }
        if (got == 0 || from == 0 && held == CHUNK_BYTES) && from < held {
            tally.line(format, &buffer[from..held]);
            from = held;
        }
        tally.parsing += start.elapsed();
        tally.bytes += from as u64;
        if got == 0 {
            break;
        }
        buffer.copy_within(from..held, 0);
        held -= from;
    }
    tally.whole = begin.elapsed();
    Ok(tally)
}

impl Tally {
    #[inline]
    fn line(&mut self, format: &mut Format, line: &[u8]) {
        self.lines += 1;
        let event = &format.parse(line);
        self.fit += u64::from(event.is_some());
        // So that no part of the work can be left out.
        if let Some(Event::Request(request)) = event {
            let mut sum = request.time.as_micros() as u64;
            sum ^= request.duration_us.unwrap_or(0) << 32 ^ request.bytes.unwrap_or(0);
            sum += u64::from(request.client.is_some()) + u64::from(request.status.unwrap_or(0));
            sum += request.path.len() as u64 + request.agent.map_or(0, <[u8]>::len) as u64;
            self.checksum = self.checksum.wrapping_mul(31).wrapping_add(sum);
        }
    }
}

/// What real clients say of themselves.
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.5.0",
    "-",
];

/// Lines of `combined`, with the duration behind them where the format's name says so.
fn lines(name: &str) -> String {
    let mut log = String::new();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for line in 0..LINES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let dice = state >> 33;
        let second = line / 50;
        // Writing to a string cannot fail.
        let _ = match dice >> 20 & 31 {
            0 => write!(log, "2001:db8:{:x}::{:x}", dice & 0xfff, dice >> 12 & 0xff),
            _ => write!(log, "198.{}.{}.{}", 18 + dice % 2, dice >> 3 & 255, dice >> 11 & 255),
        };
        let _ = write!(
            log,
            " - - [22/Nov/2026:{:02}:{:02}:{:02} +0000] \"GET /shop/item/{}?ref={} HTTP/1.1\" 200 {} ",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60,
            dice % 5000,
            dice % 97,
            dice % 90_000,
        );
        let _ = match dice >> 7 & 3 {
            0 => write!(log, "\"-\""),
            _ => write!(log, "\"https://www.example.jp/list?page={}\"", dice % 40),
        };
        let _ = write!(log, " \"{}\"", AGENTS[(dice >> 9) as usize % AGENTS.len()]);
        let micros = dice % 400_000;
        let _ = match name.rsplit('-').next() {
            Some("us") => writeln!(log, " {micros}"),
            Some("s") => writeln!(log, " {}.{:03}", micros / 100_000, micros % 1000),
            _ => writeln!(log),
        };
    }
    log
}
