//! A *plan*: a server's own format string, compiled once into literals and fields, and followed over each line from the
//! left with no search beyond the end of each field.
//!
//! # Who may be named
//!
//! The address fields are found by their place in the format, never by looking for something that resembles an
//! address. What a stranger writes stands in quotes that the server escapes, so it cannot end its own field early.
//! Where a format puts a stranger's text in front of an address without such quotes (`%{X-Forwarded-For}i %h …`), a
//! line can be read in more than one way: then all readings are compared, and if they do not agree on the address, the
//! line names nobody.

use std::net::IpAddr;

use memchr::{memchr, memrchr};
use toban_model::Time;
use toban_model::event::Request;

use crate::Error;
use crate::scan::{address, decimal_micros, number, unescaped_quote};
use crate::stamp::Dates;
use crate::strftime::{Partial, Strftime};

/// How often one line may be tried anew where a field's end is not certain. A line that needs more is not one of this
/// format; without the limit a line of spaces would cost the square of its length.
const RETRIES_MAX: u32 = 1024;

/// What a field holds.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    /// Nothing that toban needs.
    Skip,
    /// A number or `-` that toban does not need, but that helps to find what it needs.
    SkipNumber,
    /// An address; `names` if the server writes a name there when it looks them up.
    Address { role: Role, names: bool },
    /// `X-Forwarded-For`.
    Forwarded,
    /// The request line.
    Request,
    /// The method alone.
    Method,
    /// The target alone, with or without its query.
    Target,
    /// The query alone, `?` included.
    Query,
    /// The protocol alone.
    Protocol,
    /// The status.
    Status,
    /// Bytes sent.
    Bytes,
    /// How long it took: a decimal number of this many microseconds.
    Duration { unit_us: u64 },
    /// `User-Agent`.
    Agent,
    /// `Referer`.
    Referer,
    /// The host asked for.
    Host,
    /// The user.
    User,
    /// When; read but not kept if another piece says it better.
    Time { stamp: Stamp, used: bool },
}

/// Whose address it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The TCP peer, and therefore the client.
    Both,
    /// The client as a trusted proxy reported it.
    Client,
    /// The TCP peer.
    Peer,
}

/// How a time is written.
#[derive(Clone, Debug)]
pub(crate) enum Stamp {
    /// `22/Nov/2026:01:23:44 +0000`
    Clf,
    /// `2026-11-22T01:23:44+09:00`
    Iso,
    /// A decimal number of this many microseconds since the epoch.
    Epoch { unit_us: u64 },
    /// So many digits of a second's fraction, beside another stamp.
    Fraction { digits: usize },
    /// By a strftime format, perhaps only a part of the whole.
    Strftime(Strftime),
}

/// A piece of a format string.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) field: Field,
    /// Of two pieces for one field, the one with the higher rank is read.
    pub(crate) rank: u8,
    /// May hold the text that follows it: spaces, for most.
    pub(crate) free: bool,
    /// Times only: of the request's end, not its start.
    pub(crate) end: bool,
    /// Its place in the format string.
    pub(crate) at: usize,
    /// As the format string has it.
    pub(crate) text: String,
}

/// Literals and pieces, in the order of the format string.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Piece(Piece),
}

/// How the end of a field is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A stamp, which knows its own length.
    Own,
    /// At the first byte of the literal behind it.
    Word,
    /// At the next quote that is not escaped.
    Quoted,
    /// At an occurrence of the literal behind it, the first from which on the rest fits.
    Bare,
    /// At the end of the line.
    Rest,
}

#[derive(Clone, Debug)]
struct Step {
    field: Field,
    shape: Shape,
    /// The literal behind the field.
    then: Box<[u8]>,
}

/// A compiled format string.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    lead: Box<[u8]>,
    steps: Box<[Step]>,
    /// A stranger's text of uncertain end stands in front of an address.
    ambiguous: bool,
    escaped: bool,
    /// The time is that of the end of the request.
    pub(crate) stamps_end: bool,
    /// A name was seen where an address is expected: the server looks names up, and whoever owns an address chooses
    /// its name, even `192.0.2.7`. From then on such a field names nobody.
    pub(crate) names: bool,
}

/// What is read of a line so far.
#[derive(Clone, Copy)]
struct Reading<'a> {
    request: Request<'a>,
    time: Option<i64>,
    partial: Partial,
    name: bool,
}

impl Plan {
    /// Compiles the parts of a format string. `escaped` tells that the server escapes quotes inside fields.
    pub(crate) fn compile(parts: Vec<Part>, escaped: bool, no_time: &'static str) -> Result<Self, Error> {
        let parts = drop_doubles(join(parts)?);
        let mut lead = Vec::new();
        let mut steps: Vec<(Piece, Vec<u8>)> = Vec::new();
        for part in parts {
            match (part, steps.last_mut()) {
                (Part::Piece(piece), _) => steps.push((piece, Vec::new())),
                (Part::Literal(text), Some((_, then))) => then.extend(text),
                (Part::Literal(text), None) => lead.extend(text),
            }
        }
        let times =
            || steps.iter().filter(|(piece, _)| matches!(piece.field, Field::Time { used: true, .. }));
        let complete = times()
            .any(|(piece, _)| !matches!(piece.field, Field::Time { stamp: Stamp::Fraction { .. }, .. }));
        if !complete {
            return Err(Error::NoTime { expected: no_time });
        }
        let stamps_end = times().any(|(piece, _)| piece.end);
        let mut ambiguous = false;
        let mut stranger = false;
        let steps = steps
            .into_iter()
            .map(|(piece, then)| {
                let is_address = matches!(piece.field, Field::Address { .. });
                ambiguous |= stranger && is_address;
                let shape = match (&piece.field, then.first()) {
                    (Field::Time { .. }, _) => Shape::Own,
                    (_, None) => Shape::Rest,
                    (_, Some(b'"')) if piece.free && escaped => Shape::Quoted,
                    _ if piece.free => Shape::Bare,
                    // A v6 address holds what would end it.
                    (_, Some(first))
                        if is_address && (first.is_ascii_hexdigit() || b":.%".contains(first)) =>
                    {
                        Shape::Bare
                    }
                    _ => Shape::Word,
                };
                stranger |= shape == Shape::Bare && piece.free;
                Step { field: piece.field, shape, then: then.into() }
            })
            .collect();
        Ok(Plan { lead: lead.into(), steps, ambiguous, escaped, stamps_end, names: false })
    }

    /// How many fields the format has: of two that fit, the one that knows more is the better.
    pub(crate) fn width(&self) -> usize {
        self.steps.iter().filter(|step| !matches!(step.field, Field::Skip)).count()
    }

    /// Reads one line.
    #[inline]
    pub(crate) fn read<'a>(&mut self, line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
        starts_with(line, &self.lead).then_some(())?;
        let start = self.lead.len();
        let blank = Reading { request: BLANK, time: None, partial: Partial::default(), name: false };
        let reading = if self.ambiguous {
            self.agreed(line, start, blank, dates)?
        } else {
            let mut reading = blank;
            match self.straight(line, start, &mut reading, dates) {
                Some(()) => reading,
                None => self.retried(line, start, blank, dates)?,
            }
        };
        let micros = match reading.time {
            Some(micros) => micros + i64::from(reading.partial.micros),
            None => reading.partial.assemble(dates)?,
        };
        let mut request = reading.request;
        let held = if self.stamps_end { request.duration_us.unwrap_or(0) } else { 0 };
        request.time = Time::from_micros(micros.saturating_sub_unsigned(held));
        self.names |= reading.name;
        Some(request)
    }

    /// Every field ends at the first place where it can.
    #[inline]
    fn straight<'a>(
        &self,
        line: &'a [u8],
        mut at: usize,
        reading: &mut Reading<'a>,
        dates: &mut Dates,
    ) -> Option<()> {
        for step in &self.steps {
            let end = self.step(step, line, at, reading, dates)?;
            at = end + step.then.len();
        }
        (at == line.len()).then_some(())
    }

    /// Takes one field from `at`, at the first place where it can end; returns that place.
    #[inline]
    fn step<'a>(
        &self,
        step: &Step,
        line: &'a [u8],
        at: usize,
        reading: &mut Reading<'a>,
        dates: &mut Dates,
    ) -> Option<usize> {
        let rest = &line[at..];
        let len = match step.shape {
            Shape::Own => {
                let Field::Time { stamp, used } = &step.field else { return None };
                if *used {
                    stamp.read(rest, reading, dates)?
                } else {
                    stamp.read(rest, &mut reading.clone(), dates)?
                }
            }
            Shape::Word => rest.iter().position(|b| *b == step.then[0])?,
            Shape::Quoted => unescaped_quote(rest)?,
            Shape::Bare => find(rest, &step.then)?,
            Shape::Rest => rest.len(),
        };
        starts_with(&rest[len..], &step.then).then_some(())?;
        self.take(&step.field, &rest[..len], reading)?;
        Some(at + len)
    }

    /// The first reading that fits, for a line that does not fit straight.
    #[cold]
    fn retried<'a>(
        &self,
        line: &'a [u8],
        start: usize,
        blank: Reading<'a>,
        dates: &mut Dates,
    ) -> Option<Reading<'a>> {
        let mut first = None;
        let mut retries = RETRIES_MAX;
        self.walk(0, line, start, blank, dates, &mut retries, &mut |reading| {
            first = Some(reading);
            false
        });
        first
    }

    /// The first reading that fits, naming somebody only if all readings name the same.
    fn agreed<'a>(
        &self,
        line: &'a [u8],
        start: usize,
        blank: Reading<'a>,
        dates: &mut Dates,
    ) -> Option<Reading<'a>> {
        let mut first: Option<Reading<'a>> = None;
        let mut agree = true;
        let mut retries = RETRIES_MAX;
        self.walk(0, line, start, blank, dates, &mut retries, &mut |reading| match &first {
            None => {
                first = Some(reading);
                true
            }
            Some(known) => {
                let (one, other) = (&known.request, &reading.request);
                agree = one.peer == other.peer && one.client == other.client;
                agree
            }
        });
        let mut reading = first?;
        if !agree || retries == 0 {
            reading.request.peer = None;
            reading.request.client = None;
            reading.name = false;
        }
        Some(reading)
    }

    /// Tries every place where a bare field can end, leftmost first; `found` says whether to go on. Returns the same.
    #[expect(clippy::too_many_arguments, reason = "the state of one search, which lives nowhere else")]
    fn walk<'a>(
        &self,
        mut index: usize,
        line: &'a [u8],
        mut at: usize,
        mut reading: Reading<'a>,
        dates: &mut Dates,
        retries: &mut u32,
        found: &mut dyn FnMut(Reading<'a>) -> bool,
    ) -> bool {
        while let Some(step) = self.steps.get(index) {
            index += 1;
            if step.shape != Shape::Bare {
                let Some(end) = self.step(step, line, at, &mut reading, dates) else { return true };
                at = end + step.then.len();
                continue;
            }
            // A server that escapes quotes writes none inside a field.
            let limit = if self.escaped {
                unescaped_quote(&line[at..]).map_or(line.len(), |quote| at + quote)
            } else {
                line.len()
            };
            let mut end = at;
            while let Some(distance) = line.get(end..).and_then(|rest| find(rest, &step.then)) {
                end += distance;
                if end > limit {
                    break;
                }
                *retries = retries.saturating_sub(1);
                if *retries == 0 {
                    return false;
                }
                let mut branch = reading;
                if self.take(&step.field, &line[at..end], &mut branch).is_some()
                    && !self.walk(index, line, end + step.then.len(), branch, dates, retries, found)
                {
                    return false;
                }
                end += 1;
            }
            return true;
        }
        if at == line.len() { found(reading) } else { true }
    }

    /// Puts a field's text where it belongs; `None` if it cannot be such a field.
    #[inline]
    fn take<'a>(&self, field: &Field, text: &'a [u8], reading: &mut Reading<'a>) -> Option<()> {
        let request = &mut reading.request;
        match field {
            Field::Skip | Field::Query => {}
            Field::SkipNumber => {
                optional(text, |text| text.iter().all(u8::is_ascii_digit).then_some(()))?;
            }
            Field::Address { role, names } => match address(text) {
                Some(_) if *names && self.names => {}
                Some(address) => name(request, *role, address),
                None if *names => reading.name |= text != b"-" && !text.starts_with(b"unix:"),
                None if text == b"-" || text.starts_with(b"unix:") => {}
                None => return None,
            },
            Field::Forwarded => request.forwarded = present(text),
            Field::Request => take_request_line(request, text),
            Field::Method => request.method = present(text).unwrap_or_default(),
            Field::Target => request.path = path(request.method, present(text).unwrap_or_default()),

            Field::Protocol => request.protocol = present(text).unwrap_or_default(),
            Field::Status => {
                let status = optional(text, |text| if text.len() == 3 { number(text) } else { None })?;
                request.status = status.map(|status| status as u16);
            }
            Field::Bytes => request.bytes = optional(text, number)?,
            Field::Duration { unit_us } => {
                request.duration_us = optional(text, |text| duration(text, *unit_us))?;
            }
            Field::Agent => request.agent = present(text),
            Field::Referer => request.referer = present(text),
            Field::Host => request.host = present(text),
            Field::User => request.user = present(text),
            // Read already, by its own length.
            Field::Time { .. } => {}
        }
        Some(())
    }
}

impl Stamp {
    /// Reads the stamp that `rest` starts with; returns its length.
    #[inline]
    fn read(&self, rest: &[u8], reading: &mut Reading<'_>, dates: &mut Dates) -> Option<usize> {
        match self {
            Stamp::Clf => {
                reading.time = Some(dates.clf(rest.first_chunk::<26>()?)?);
                Some(26)
            }
            Stamp::Iso => {
                let mut scan = crate::scan::Scan::new(rest);
                reading.time = Some(crate::stamp::iso(&mut scan, dates)?.as_micros());
                Some(rest.len() - scan.rest.len())
            }
            Stamp::Epoch { unit_us } => {
                let digits = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
                // Any later than this is no date of a log, and would not fit the arithmetic that follows.
                let micros = duration(&rest[..digits], *unit_us).filter(|micros| *micros < 1 << 60)?;
                reading.time = Some(i64::try_from(micros).ok()?);
                Some(digits)
            }
            Stamp::Fraction { digits } => {
                reading.partial.micros = crate::scan::micros_of_fraction(rest.get(..*digits)?)?;
                Some(*digits)
            }
            Stamp::Strftime(format) => format.read(rest, &mut reading.partial),
        }
    }
}

/// A request of which nothing is known.
pub(crate) const BLANK: Request<'static> = Request {
    time: Time::from_micros(0),
    peer: None,
    client: None,
    forwarded: None,
    method: b"",
    path: b"",
    protocol: b"",
    status: None,
    bytes: None,
    duration_us: None,
    agent: None,
    referer: None,
    host: None,
    user: None,
    raw_request: b"",
};

/// Splits a request line. It is a stranger's: TLS, another protocol, or nothing leave only `raw_request`.
#[inline]
pub(crate) fn take_request_line<'a>(request: &mut Request<'a>, line: &'a [u8]) {
    let Some(line) = present(line) else { return };
    request.raw_request = line;
    let (method, rest) = match memchr(b' ', line) {
        Some(space) => (&line[..space], &line[space + 1..]),
        None => (line, &b""[..]),
    };
    if !method.iter().all(|b| b.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(b)) {
        return;
    }
    request.method = method;
    let target = match memrchr(b' ', rest) {
        Some(space) if rest[space + 1..].starts_with(b"HTTP/") => {
            request.protocol = &rest[space + 1..];
            &rest[..space]
        }
        _ => rest,
    };
    request.path = path(method, target);
}

#[inline]
fn path<'a>(method: &[u8], target: &'a [u8]) -> &'a [u8] {
    if method == b"CONNECT" {
        return target;
    }
    &target[..memchr(b'?', target).unwrap_or(target.len())]
}

fn name(request: &mut Request<'_>, role: Role, address: IpAddr) {
    if role != Role::Client {
        request.peer = Some(address);
    }
    if role != Role::Peer {
        request.client = Some(address);
    }
}

/// Text that is there: not `-`, not empty.
#[inline]
fn present(text: &[u8]) -> Option<&[u8]> {
    (!text.is_empty() && text != b"-").then_some(text)
}

/// A value that may be absent (`-` or empty). The outer `None` says that it is neither absent nor a value.
#[inline]
fn optional<T>(text: &[u8], value: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match text {
        b"" | b"-" => Some(None),
        // A clock that was set back makes a duration negative.
        [b'-', rest @ ..] if number(rest).is_some() => Some(None),
        _ => value(text).map(Some),
    }
}

#[inline]
fn duration(text: &[u8], unit_us: u64) -> Option<u64> {
    match unit_us {
        1 => number(text),
        _ => {
            let millionths = u128::from(decimal_micros(text)?);
            u64::try_from(millionths * u128::from(unit_us) / 1_000_000).ok()
        }
    }
}

/// Where the literal stands first. What is looked for is one to three bytes long and mostly near, which is when to set
/// up a substring search costs more than it saves.
#[inline]
fn find(text: &[u8], literal: &[u8]) -> Option<usize> {
    let first = *literal.first()?;
    let mut from = 0;
    loop {
        let at = from + memchr(first, text.get(from..)?)?;
        if starts_with(&text[at..], literal) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// `slice::starts_with` calls memcmp, which for such lengths takes longer than everything else in a field.
#[inline]
fn starts_with(text: &[u8], literal: &[u8]) -> bool {
    match literal {
        [] => true,
        [a] => matches!(text, [x, ..] if x == a),
        [a, b] => matches!(text, [x, y, ..] if x == a && y == b),
        [a, b, c] => matches!(text, [x, y, z, ..] if x == a && y == b && z == c),
        _ => text.starts_with(literal),
    }
}

/// Makes one literal of neighbouring ones, and one field of neighbouring ones that nothing separates.
fn join(parts: Vec<Part>) -> Result<Vec<Part>, Error> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        match (part, joined.last_mut()) {
            (Part::Literal(text), _) if text.is_empty() => {}
            (Part::Literal(text), Some(Part::Literal(before))) => before.extend(text),
            (Part::Piece(piece), Some(Part::Piece(before))) => match (&before.field, &piece.field) {
                (Field::Time { .. }, _) => joined.push(Part::Piece(piece)),
                (Field::Target, Field::Query | Field::Skip) => {}
                (Field::Skip | Field::Query, Field::Skip | Field::Query) => before.free = true,
                _ => return Err(Error::Adjacent { at: piece.at, found: piece.text }),
            },
            (part, _) => joined.push(part),
        }
    }
    Ok(joined)
}

/// Of several pieces for one field keeps the best; the others are skipped over.
fn drop_doubles(mut parts: Vec<Part>) -> Vec<Part> {
    let pieces = || {
        parts.iter().enumerate().filter_map(|(i, part)| match part {
            Part::Piece(piece) => Some((i, piece)),
            Part::Literal(_) => None,
        })
    };
    let has_request = pieces().any(|(_, piece)| matches!(piece.field, Field::Request));
    let has_whole_time = pieces().any(|(_, piece)| whole_time(&piece.field));
    let has_epoch =
        pieces().any(|(_, piece)| matches!(piece.field, Field::Time { stamp: Stamp::Epoch { .. }, .. }));
    let mut dropped = Vec::new();
    for (i, piece) in pieces() {
        let in_request = matches!(piece.field, Field::Method | Field::Target | Field::Protocol);
        let better = pieces().any(|(j, other)| {
            same_slot(&piece.field, &other.field)
                && (other.rank > piece.rank || other.rank == piece.rank && j < i)
        });
        let part_of_known_time = match &piece.field {
            Field::Time { stamp: Stamp::Strftime(_), .. } => has_whole_time,
            Field::Time { stamp: Stamp::Fraction { .. }, .. } => has_epoch,
            _ => false,
        };
        if better || part_of_known_time || has_request && in_request {
            dropped.push(i);
        }
    }
    for i in dropped {
        if let Part::Piece(piece) = &mut parts[i] {
            piece.end = false;
            match &mut piece.field {
                // A stamp knows where it ends, which still helps to find what is behind it.
                Field::Time { used, .. } => *used = false,
                field @ (Field::Status | Field::Bytes) => *field = Field::SkipNumber,
                field => *field = Field::Skip,
            }
        }
    }
    parts
}

fn whole_time(field: &Field) -> bool {
    matches!(field, Field::Time { stamp: Stamp::Clf | Stamp::Iso | Stamp::Epoch { .. }, .. })
}

fn same_slot(one: &Field, other: &Field) -> bool {
    // Each address role and each piece of a time counts for itself.
    match (one, other) {
        (Field::Skip | Field::SkipNumber | Field::Query | Field::Address { .. }, _) => false,
        (Field::Time { .. }, Field::Time { .. }) => whole_time(one) && whole_time(other),
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}
