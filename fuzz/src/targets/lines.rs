//! Any lines, to the reader of any format.
//!
//! The input is a format's name, and lines. With `@MICROS ` in front of the name the clock is set to that.
//!
//! What was read before makes reading faster and safer, and changes nothing else. Nobody is named who does not stand in
//! the lines.

use toban_model::Time;
use toban_model::event::{Act, Event};
use toban_parse::{Clock, Format, formats, show};

use crate::{Target, known};

pub(super) const TARGET: Target = Target { id: "lines", run, seeds };

fn run(input: &[u8]) {
    let (name, lines) = known::first_line(input);
    let start = format(name);
    let mut one = start.clone();
    let mut same = start.clone();
    let mut end = 0;
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        end += line.len();
        let mut fork = one.clone();
        let mut fork_of_requests = one.clone();
        let event = one.parse(line);
        assert_eq!(event, same.parse(line), "the same lines say the same");
        if !start.leans_on_earlier_lines() {
            assert_eq!(event, fork.parse(line), "a clone reads on");
        }
        let request = match &event {
            Some(Event::Request(request)) => Some(*request),
            _ => None,
        };
        if !start.leans_on_earlier_lines() {
            assert_eq!(request, fork_of_requests.request(line), "both ways to ask for a request");
        }
        let seen = if start.leans_on_earlier_lines() { &lines[..end] } else { line };
        if let Some(event) = &event {
            for address in known::named(event) {
                assert!(known::stands_in(address, seen), "nobody wrote {address}: {}", show(event));
            }
        }
        if !start.leans_on_earlier_lines() {
            let mut alone = start.clone();
            forgets(event, alone.parse(line));
        }
    }
}

/// What is remembered may take a name or an offence away from what the line alone says, and nothing else.
#[track_caller]
fn forgets<'a>(mut event: Option<Event<'a>>, mut alone: Option<Event<'a>>) {
    match (&mut event, &mut alone) {
        (Some(Event::Request(event)), Some(Event::Request(alone))) => {
            // What a header says of the client is told only where that is not known better.
            if event.peer != alone.peer {
                alone.forwarded = event.forwarded;
            }
            alone.peer = alone.peer.filter(|_| event.peer.is_some());
            alone.client = alone.client.filter(|_| event.client.is_some());
        }
        (Some(Event::Service(event)), Some(Event::Service(alone))) if event.act == Act::Other => {
            alone.act = Act::Other;
        }
        _ => {}
    }
    assert_eq!(event, alone, "left: behind other lines, right: alone");
}

fn format(name: &[u8]) -> Format {
    let (_, rest) = at(name);
    let mut format = known::format(rest);
    format.set_clock(&clock(name));
    format
}

fn clock(name: &[u8]) -> Clock {
    Clock { now: at(name).0.unwrap_or(known::clock().now), ..known::clock() }
}

/// The time in front of a name.
fn at(name: &[u8]) -> (Option<Time>, &[u8]) {
    let parts = name.strip_prefix(b"@").and_then(|rest| {
        let space = memchr::memchr(b' ', rest)?;
        let micros = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        Some((Time::from_micros(micros), &rest[space + 1..]))
    });
    parts.map_or((None, name), |(time, rest)| (Some(time), rest))
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for unit in formats::ALL {
        for (n, (format, samples)) in known::samples(unit).into_iter().enumerate() {
            let lines = [format.as_bytes(), b"\n", &known::lines_of(&samples)].concat();
            seeds.push((format!("{}-{n}", unit.id), lines));
        }
    }
    seeds
}
