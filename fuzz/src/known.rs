//! Every *known* format, ready to be cloned, and what their events say of anybody's address.

use std::net::IpAddr;
use std::sync::LazyLock;

use toban_model::event::Event;
use toban_model::{Time, canonical};
use toban_parse::formats::{self, Sample, Unit};
use toban_parse::{Clock, Format};

/// Every id, nickname, and format string of a sample.
static KNOWN: LazyLock<Vec<(String, Format)>> = LazyLock::new(|| {
    let mut known: Vec<(String, Format)> = Vec::new();
    for unit in formats::ALL {
        let nicknames = unit.nicknames.iter().map(|(name, _)| *name);
        let strings = unit.samples.iter().map(|sample| sample.format).filter(|string| !string.is_empty());
        for name in std::iter::once(unit.id).chain(nicknames).chain(strings) {
            if !known.iter().any(|(other, _)| other == name) {
                let format = Format::from_name_or_string(name, &clock()).expect("its own samples use it");
                known.push((name.to_owned(), format));
            }
        }
    }
    known
});

/// 22 November 2026, in a zone that has an hour twice and one not at all.
pub(crate) fn clock() -> Clock {
    let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").expect("a zone of POSIX");
    Clock { now: Time::from_secs(1_795_312_800), zone }
}

/// The format of this name; for what is no name always the same one, so that every input is some format's.
pub(crate) fn format(name: &[u8]) -> Format {
    let named = KNOWN.iter().find(|(known, _)| known.as_bytes() == name);
    named.unwrap_or_else(|| &KNOWN[pick(name, KNOWN.len())]).1.clone()
}

/// A place in a list of `len` for any name.
pub(crate) fn pick(name: &[u8], len: usize) -> usize {
    name.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte))) % len.max(1)
}

/// The first line, and what follows it.
pub(crate) fn first_line(input: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', input) {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, b""),
    }
}

/// The samples of a unit by the format that they are in.
pub(crate) fn samples(unit: &Unit) -> Vec<(&'static str, Vec<&'static Sample>)> {
    let mut all: Vec<(&str, Vec<&Sample>)> = Vec::new();
    for sample in unit.samples {
        let format = if sample.format.is_empty() { unit.id } else { sample.format };
        match all.iter_mut().find(|(known, _)| *known == format) {
            Some((_, samples)) => samples.push(sample),
            None => all.push((format, vec![sample])),
        }
    }
    all
}

/// The lines of samples, one after another.
pub(crate) fn lines_of(samples: &[&Sample]) -> Vec<u8> {
    samples.iter().flat_map(|sample| [sample.line, "\n"].concat().into_bytes()).collect()
}

/// Whom an event names.
pub(crate) fn named(event: &Event<'_>) -> impl Iterator<Item = IpAddr> {
    let all = match event {
        Event::Request(request) => [request.peer, request.client],
        Event::Error(error) => [error.peer, None],
        Event::Service(said) => [said.client, None],
        Event::Kernel(_) | Event::Silent => [None, None],
    };
    all.into_iter().flatten()
}

/// Whether the address stands in the text, in whatever form it can be written.
pub(crate) fn stands_in(address: IpAddr, text: &[u8]) -> bool {
    // A v4 address in the form of v6 takes the most.
    const LEN_MAX: usize = "0000:0000:0000:0000:0000:ffff:255.255.255.255".len();
    if memchr::memmem::find(text, address.to_string().as_bytes()).is_some() {
        return true;
    }
    let of_address = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    text.split(|byte| !of_address(byte)).any(|word| {
        (0..word.len()).any(|from| {
            (from + 2..=word.len().min(from + LEN_MAX)).any(|to| {
                let written = std::str::from_utf8(&word[from..to]).ok();
                let written = written.and_then(|text| text.parse::<IpAddr>().ok());
                written.is_some_and(|written| canonical(written) == address)
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_every_form() {
        let check = |address: &str, text: &str, expected| {
            assert_eq!(stands_in(address.parse().expect("it is one"), text.as_bytes()), expected, "{text}");
        };
        check("192.0.2.7", "from 192.0.2.7.", true);
        check("192.0.2.7", "[::ffff:c000:207]:80", true);
        check("192.0.2.7", "::FFFF:192.0.2.7%eth0", true);
        check("2001:db8::7", "x2001:0DB8:0:0:0:0:0:7", true);
        check("192.0.2.7", "192.0.2", false);
        check("192.0.2.7", "192.0.2.77 192.0.2.8", true);
        check("2001:db8::7", "2001:db8::8", false);
    }
}
