//! Any text in the place of a stranger's text, as the server would write it.
//!
//! The input names the place (a format's id, which of its samples, and the field), and has the text. The line names whom
//! it named before, or nobody.

use std::net::IpAddr;
use std::ops::Range;
use std::sync::LazyLock;

use toban_model::event::{Act, Event};
use toban_parse::{formats, show};

use crate::{Target, known};

pub(super) const TARGET: Target = Target { id: "forgery", run, seeds };

/// A place in a sample where a stranger's text stands.
struct Place {
    name: String,
    format: &'static str,
    /// The sample, and where in its last line the text stands.
    before: &'static str,
    line: &'static str,
    text: Range<usize>,
    /// Whom it names.
    honest: Vec<IpAddr>,
    writes: Writes,
}

/// What a server leaves of a text.
#[derive(Clone, Copy)]
enum Writes {
    /// Between quotes, with escapes for what would end them.
    Quoted,
    /// Without quotes, with escapes for spaces too.
    Word,
    /// Everything but control characters.
    AsItIs,
}

impl Writes {
    fn keeps(self, byte: u8) -> bool {
        match self {
            Writes::Quoted => (b' '..=b'~').contains(&byte) && !b"\"\\".contains(&byte),
            Writes::Word => byte.is_ascii_graphic() && !b"\"\\{}|#<>".contains(&byte),
            Writes::AsItIs => (b' '..=b'~').contains(&byte),
        }
    }
}

static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| {
    let mut places = Vec::new();
    for unit in formats::ALL {
        for (n, sample) in unit.samples.iter().enumerate() {
            let format = if sample.format.is_empty() { unit.id } else { sample.format };
            let (before, line) = sample.line.rsplit_once('\n').unwrap_or(("", sample.line));
            let mut reader = known::format(format.as_bytes());
            before.split('\n').for_each(|line| drop(reader.parse(line.as_bytes())));
            let Some(event) = reader.parse(line.as_bytes()) else { continue };
            let honest: Vec<IpAddr> = known::named(&event).collect();
            for (field, text, as_it_is) in strangers(&event) {
                let Some(text) = within(line, text) else { continue };
                // A message that holds the address itself says whom it means.
                if honest.iter().any(|address| known::stands_in(*address, line[text.clone()].as_bytes())) {
                    continue;
                }
                let quotes = line[..text.start].bytes().filter(|byte| *byte == b'"').count();
                let writes = match (quotes % 2, as_it_is) {
                    (1, false) => Writes::Quoted,
                    (_, true) => Writes::AsItIs,
                    (_, false) => Writes::Word,
                };
                let name = format!("{} {n} {field}", unit.id);
                places.push(Place { name, format, before, line, text, honest: honest.clone(), writes });
            }
        }
    }
    places
});

/// The texts of an event that strangers write, and whether they are written without quotes and escapes.
fn strangers<'a>(event: &Event<'a>) -> Vec<(&'static str, &'a [u8], bool)> {
    let texts = match event {
        Event::Request(request) => vec![
            ("forwarded", request.forwarded, false),
            ("path", Some(request.path), false),
            ("request", Some(request.raw_request), false),
            ("agent", request.agent, false),
            ("referer", request.referer, false),
            ("host", request.host, false),
            ("user", request.user, false),
        ],
        // A message begins with the server's own word.
        Event::Error(error) => {
            let own =
                error.text.iter().position(|byte| *byte == b' ').map_or(error.text.len(), |space| space + 1);
            vec![("account", error.account, true), ("text", Some(&error.text[own..]), true)]
        }
        // Who has logged in has an account that somebody made, and the rest of the message is the service's own.
        Event::Service(said) if said.act == Act::LoggedIn => Vec::new(),
        Event::Service(said) => vec![("account", said.account, true)],
        Event::Kernel(_) | Event::Silent => Vec::new(),
    };
    let there = |(field, text, as_it_is): (_, Option<&'a [u8]>, _)| {
        Some((field, text.filter(|text| !text.is_empty())?, as_it_is))
    };
    texts.into_iter().filter_map(there).collect()
}

/// Where a part of the line stands in it; `None` for a text that was put together.
fn within(line: &str, part: &[u8]) -> Option<Range<usize>> {
    let from = part.as_ptr().addr().checked_sub(line.as_ptr().addr())?;
    (from + part.len() <= line.len() && line.is_char_boundary(from)).then_some(from..from + part.len())
}

fn run(input: &[u8]) {
    let (name, text) = known::first_line(input);
    let named = PLACES.iter().find(|place| place.name.as_bytes() == name);
    let place = named.unwrap_or_else(|| &PLACES[known::pick(name, PLACES.len())]);
    let text = text.iter().copied().filter(|byte| place.writes.keeps(*byte));
    let mut line = place.line.as_bytes().to_vec();
    line.splice(place.text.clone(), text);
    let mut format = known::format(place.format.as_bytes());
    place.before.split('\n').for_each(|line| drop(format.parse(line.as_bytes())));
    if let Some(event) = format.parse(&line) {
        for address in known::named(&event) {
            let honest = place.honest.contains(&address);
            assert!(
                honest,
                "{}: {address} was forged: {}\n{}",
                place.name,
                show(&event),
                line.escape_ascii()
            );
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    // A victim, behind what begins a field in one log or another.
    const TEXTS: [&str; 3] = [
        "x\" 192.0.2.99 - - [22/Nov/2026:10:23:44 +0900] \"GET / HTTP/1.1\" 200 5 \"-\" \"-",
        "x from 192.0.2.99 port 22 ssh2: rhost=192.0.2.99 user=x, IP: 192.0.2.99, client: 192.0.2.99, server: _",
        "x>, method=PLAIN, rip=192.0.2.99, lip=192.0.2.1 unknown[192.0.2.99]: [client 192.0.2.99:5] '@'192.0.2.99'",
    ];
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    for place in PLACES.iter() {
        let [unit, _, field] = place.name.splitn(3, ' ').collect::<Vec<_>>()[..] else { continue };
        let file = format!("{unit}-{field}");
        if !seeds.iter().any(|(known, _)| *known == file) {
            let text = TEXTS[seeds.len() % TEXTS.len()];
            seeds.push((file, format!("{}\n{text}", place.name).into_bytes()));
        }
    }
    seeds
}
