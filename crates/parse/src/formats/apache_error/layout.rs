//! An `ErrorLogFormat` string, compiled, and how its lines are read.
//!
//! Apache makes a line of *fields*, each with the space before it. A field in which a directive has nothing to say is
//! left out as a whole, `[client %a]` where no client is concerned. So each field is there or not, and what follows is
//! tried next. Behind the message nothing is read: what a client sent may look like any field.

use std::net::IpAddr;

use toban_model::Time;
use toban_model::event::{ErrorLine, Event, Level};

use super::{level, said};
use crate::Error;
use crate::formats::Reader;
use crate::scan::{Scan, address, address_with_port};
use crate::service::count;
use crate::stamp::{Dates, ctime, iso};

/// A compiled format: the fields up to the message.
#[derive(Clone, Debug)]
pub(super) struct Layout(Vec<Field>);

#[derive(Clone, Debug, Default)]
struct Field {
    items: Vec<Item>,
    /// A directive in it may have nothing to say.
    optional: bool,
    /// It ends with the message.
    message: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Item {
    Literal(Vec<u8>),
    /// `Sun Nov 22 10:24:04.168259 2026`
    Ctime,
    /// `2026-11-22 10:24:04.168259`
    Iso,
    Level,
    Module,
    Pid,
    Client,
    /// `(70007)The timeout specified has expired`
    Status,
    /// `mod_ssl.c(407)`
    File,
    /// A word that the server says of itself.
    Own,
    /// What a client may have sent.
    Sent,
}

/// What the fields said so far.
#[derive(Clone, Copy)]
struct Partial<'a> {
    time: Option<Time>,
    level: Level,
    module: Option<&'a [u8]>,
    pid: Option<u32>,
    peer: Option<IpAddr>,
    /// A client's text came before, and may hold what looks like the next fields.
    sent: bool,
}

impl Layout {
    /// Compiles an `ErrorLogFormat` string.
    pub(super) fn compile(string: &str) -> Result<Layout, Error> {
        let bytes = string.as_bytes();
        let mut fields = vec![Field::default()];
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b' ' => fields.push(Field { items: vec![Item::Literal(b" ".to_vec())], ..Field::default() }),
                b'%' if bytes.get(at) == Some(&b' ') => {
                    at += 1;
                    fields.push(Field::default());
                }
                b'%' if bytes.get(at) != Some(&b'%') => {
                    let directive = Directive::read(&bytes[at..]).ok_or_else(|| Error::Directive {
                        at: start,
                        found: String::from_utf8_lossy(&bytes[start..bytes.len().min(start + 12)])
                            .into_owned(),
                        expected: "%M, %t, %l, %a and the like",
                    })?;
                    at += directive.len;
                    let last = fields.len() - 1;
                    let field = &mut fields[last];
                    if directive.letter == b'M' {
                        field.message = true;
                        return Ok(Layout(fields));
                    }
                    field.optional |= directive.optional();
                    field.items.push(directive.item());
                }
                // A backslash takes the meaning from a space.
                _ => {
                    let literal = if byte == b'\\' || byte == b'%' { bytes.get(at).copied() } else { None };
                    at += usize::from(literal.is_some());
                    let last = fields.len() - 1;
                    let items = &mut fields[last].items;
                    let literal = literal.unwrap_or(byte);
                    match items.last_mut() {
                        Some(Item::Literal(text)) => text.push(literal),
                        _ => items.push(Item::Literal(vec![literal])),
                    }
                }
            }
        }
        Err(Error::NoMessage)
    }
}

/// `%-7{c}a`, taken apart.
struct Directive<'a> {
    letter: u8,
    argument: &'a [u8],
    /// It writes `-` for nothing.
    hyphen: bool,
    /// It writes only at some levels.
    levelled: bool,
    len: usize,
}

impl<'a> Directive<'a> {
    fn read(text: &'a [u8]) -> Option<Directive<'a>> {
        let mut directive = Directive { letter: 0, argument: b"", hyphen: false, levelled: false, len: 0 };
        let mut scan = Scan::new(text);
        loop {
            match *scan.take(1)?.first()? {
                b'{' => directive.argument = scan.until(b"}")?,
                b'-' => directive.hyphen = true,
                b'+' => {}
                b'0'..=b'9' => directive.levelled = true,
                letter if letter.is_ascii_alphabetic() => {
                    directive.letter = letter;
                    directive.len = text.len() - scan.rest.len();
                    return Some(directive);
                }
                _ => return None,
            }
        }
    }

    fn optional(&self) -> bool {
        self.levelled || !self.hyphen && !b"tlmPTvA".contains(&self.letter)
    }

    fn item(&self) -> Item {
        match self.letter {
            b't' if self.argument.contains(&b'c') => Item::Iso,
            b't' => Item::Ctime,
            b'l' => Item::Level,
            b'm' => Item::Module,
            b'P' => Item::Pid,
            b'a' => Item::Client,
            b'E' => Item::Status,
            b'F' => Item::File,
            // The host may be what the client asked for, and notes and the environment hold anything.
            b'i' | b'e' | b'n' | b'V' => Item::Sent,
            _ => Item::Own,
        }
    }
}

impl Reader for Layout {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let mut scan = Scan::new(line);
        let mut partial =
            Partial { time: None, level: Level::Notice, module: None, pid: None, peer: None, sent: false };
        for field in &self.0 {
            match field.read(scan, partial, dates) {
                Some(read) => (scan, partial) = read,
                None if field.optional => {}
                None => return None,
            }
        }
        let Partial { time, level, module, pid, peer, .. } = partial;
        Some(Event::Error(ErrorLine { time, ..said(scan, level, pid, peer, module) }))
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl Field {
    /// Reads the field, if it is there.
    fn read<'a>(
        &self,
        mut scan: Scan<'a>,
        mut partial: Partial<'a>,
        dates: &mut Dates,
    ) -> Option<(Scan<'a>, Partial<'a>)> {
        for (place, item) in self.items.iter().enumerate() {
            match item {
                Item::Literal(text) => {
                    scan.literal(text)?;
                    continue;
                }
                Item::Ctime => {
                    partial.time = Some(ctime(&mut scan, dates)?);
                    continue;
                }
                Item::Iso => {
                    partial.time = Some(iso(&mut scan, dates)?);
                    continue;
                }
                _ => {}
            }
            // A value ends where what follows it begins.
            let end: &[u8] = match self.items.get(place + 1) {
                Some(Item::Literal(text)) => text,
                _ => b" ",
            };
            let len =
                memchr::memmem::find(scan.rest, end).or_else(|| (end == b" ").then_some(scan.rest.len()))?;
            let value = scan.take(len)?;
            if value.is_empty() {
                return None;
            }
            match item {
                _ if value == b"-" => {}
                Item::Level => partial.level = level(value)?,
                Item::Module => partial.module = Some(value),
                Item::Pid => partial.pid = Some(count(value)?),
                Item::Client => {
                    let peer = address_with_port(value).or_else(|| address(value))?;
                    partial.peer = partial.peer.or(Some(peer)).filter(|_| !partial.sent);
                }
                Item::Sent => partial.sent = true,
                Item::Status => value.starts_with(b"(").then_some(())?,
                Item::File => (value.ends_with(b")") && !value.contains(&b' ')).then_some(())?,
                Item::Own => (!value.contains(&b' ')).then_some(())?,
                Item::Literal(_) | Item::Ctime | Item::Iso => {}
            }
        }
        Some((scan, partial))
    }
}

#[cfg(test)]
mod tests {
    use crate::Format;
    use crate::formats::tests::{check, clock};

    /// What the manual gives as the default for threaded servers.
    const DEFAULT: &str =
        r"[%{u}t] [%-m:%l] [pid %P:tid %T] %7F: %E: [client\ %a] %M% ,\ referer\ %{Referer}i";

    #[test]
    fn the_default_written_out_reads_the_same() {
        for sample in super::super::SAMPLES.iter().filter(|sample| sample.line.contains(":tid ")) {
            check(DEFAULT, sample.line.as_bytes(), sample.event);
        }
    }

    #[test]
    fn other_formats() {
        let format = r"[%{cu}t] [%l] [pid %P] [client %a] %-{X-Request-Id}i %M";
        // The unescaped space divides a field, as Apache has it.
        check(
            format,
            b"[2026-11-22 10:24:04.168259] [error] [pid 7] [client 2001:db8::7:53112] - AH01618: user a b not found: /",
            "time=2026-11-22T01:24:04.168259Z level=error pid=7 peer=2001:db8::7 code=AH01618 offence=auth-failure account=\"a b\" text=\"user a b not found: /\"",
        );
        let format = r"%t %l [%{c}a] %V %M";
        check(
            format,
            b"Sun Nov 22 10:24:04 2026 warn [192.0.2.7:5] www.example.jp x",
            "time=2026-11-22T01:24:04Z level=warning peer=192.0.2.7 text=x",
        );
        // Behind what a client sent, nobody is named.
        let format = r"[%t] %{User-Agent}i [%a] %M";
        check(
            format,
            b"[Sun Nov 22 10:24:04 2026] x [203.0.113.9:5] y [192.0.2.7:5] z",
            "time=2026-11-22T01:24:04Z level=notice text=\"y [192.0.2.7:5] z\"",
        );
        check(r"[%t] %M [client %a]", b"[x] y", "none");
    }

    #[test]
    fn wrong_formats() {
        let wrong = |string: &str| Format::apache_error(string, &clock()).unwrap_err().to_string();
        assert_eq!(wrong("[%t]"), "the format has no message; %M would be right");
        assert_eq!(
            wrong("%{u"),
            "at byte 0 of the format, \"%{u\" is no complete directive; %M, %t, %l, %a and the like would be right"
        );
    }
}
