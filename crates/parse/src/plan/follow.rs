//! A plan followed over one line.

use std::net::IpAddr;

use memchr::memrchr;
use toban_model::Time;
use toban_model::event::Request;

use super::{Field, Plan, Role, Shape, Stamp, Step};
use crate::scan::{Head, find, number, unescaped_quote};
use crate::stamp::Dates;
use crate::strftime::Partial;

/// How often one line may be tried anew where a field's end is not certain. A line that needs more is not one of this
/// format; without the limit a line of spaces would cost the square of its length.
const RETRIES_MAX: u32 = 1024;

/// What is read of a line so far.
#[derive(Clone, Copy)]
struct Reading<'a> {
    request: Request<'a>,
    time: Option<i64>,
    partial: Partial,
    name: bool,
}

const BLANK_READING: Reading<'static> =
    Reading { request: BLANK, time: None, partial: Partial::BLANK, name: false };

impl Plan {
    /// Reads one line.
    #[inline]
    pub(crate) fn read<'a>(&mut self, line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
        let rest = self.lead.strip(line)?;
        let mut reading = BLANK_READING;
        if self.ambiguous {
            reading = self.agreed(rest, dates)?;
        } else if self.straight(rest, &mut reading, dates).is_none() {
            reading = self.retried(rest, dates)?;
        }
        let micros = match reading.time {
            Some(micros) => micros + i64::from(reading.partial.micros),
            None => reading.partial.assemble(dates)?,
        };
        let held = if self.stamps_end { reading.request.duration_us.unwrap_or(0) } else { 0 };
        reading.request.time = Time::from_micros(micros.saturating_sub_unsigned(held));
        self.names |= reading.name;
        Some(reading.request)
    }

    /// Every field ends at the first place where it can.
    #[inline]
    fn straight<'a>(&self, mut rest: &'a [u8], reading: &mut Reading<'a>, dates: &mut Dates) -> Option<()> {
        for step in &self.steps {
            rest = self.step(step, rest, reading, dates)?;
        }
        rest.is_empty().then_some(())
    }

    /// Takes one field that `rest` starts with, to the first place where it can end, and steps over what is behind it.
    #[inline]
    fn step<'a>(
        &self,
        step: &Step,
        rest: &'a [u8],
        reading: &mut Reading<'a>,
        dates: &mut Dates,
    ) -> Option<&'a [u8]> {
        let len = match step.shape {
            Shape::Own => {
                let Field::Time { stamp, used } = &step.field else { return None };
                if *used {
                    stamp.read(rest, reading, dates)?
                } else {
                    stamp.read(rest, &mut reading.clone(), dates)?
                }
            }
            Shape::Word => find(rest, step.then.first())?,
            Shape::Quoted => unescaped_quote(rest)?,
            Shape::Bare => step.then.find(rest)?,
            Shape::Rest => rest.len(),
        };
        let after = step.then.strip(rest.get(len..)?)?;
        self.take(&step.field, Head { rest, len }, reading)?;
        Some(after)
    }

    /// The first reading that fits, for a line that does not fit straight.
    #[cold]
    fn retried<'a>(&self, line: &'a [u8], dates: &mut Dates) -> Option<Reading<'a>> {
        let mut first = None;
        let mut retries = RETRIES_MAX;
        self.walk(0, line, BLANK_READING, dates, &mut retries, &mut |reading| {
            first = Some(reading);
            false
        });
        first
    }

    /// The first reading that fits, naming somebody only if all readings name the same.
    fn agreed<'a>(&self, line: &'a [u8], dates: &mut Dates) -> Option<Reading<'a>> {
        let mut first: Option<Reading<'a>> = None;
        let mut agree = true;
        let mut retries = RETRIES_MAX;
        self.walk(0, line, BLANK_READING, dates, &mut retries, &mut |reading| match &first {
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
        mut rest: &'a [u8],
        mut reading: Reading<'a>,
        dates: &mut Dates,
        retries: &mut u32,
        found: &mut dyn FnMut(Reading<'a>) -> bool,
    ) -> bool {
        while let Some(step) = self.steps.get(index) {
            index += 1;
            if step.shape != Shape::Bare {
                let Some(after) = self.step(step, rest, &mut reading, dates) else { return true };
                rest = after;
                continue;
            }
            // A server that escapes quotes writes none inside a field.
            let limit = if self.escaped { unescaped_quote(rest) } else { None }.unwrap_or(rest.len());
            let mut len = 0;
            while let Some(distance) = rest.get(len..).and_then(|rest| step.then.find(rest)) {
                len += distance;
                if len > limit {
                    break;
                }
                *retries = retries.saturating_sub(1);
                if *retries == 0 {
                    return false;
                }
                let mut branch = reading;
                if self.take(&step.field, Head { rest, len }, &mut branch).is_some()
                    && !self.walk(index, &rest[len + step.then.len()..], branch, dates, retries, found)
                {
                    return false;
                }
                len += 1;
            }
            return true;
        }
        if rest.is_empty() { found(reading) } else { true }
    }

    /// Puts a field's text where it belongs; `None` if it cannot be such a field.
    #[inline]
    fn take<'a>(&self, field: &Field, head: Head<'a>, reading: &mut Reading<'a>) -> Option<()> {
        let request = &mut reading.request;
        let text = head.text();
        match field {
            Field::Skip | Field::Query => {}
            Field::SkipNumber => {
                optional(text, || text.iter().all(u8::is_ascii_digit).then_some(()))?;
            }
            Field::Address { role, names } => match head.address() {
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
                let status = optional(text, || if text.len() == 3 { head.number() } else { None })?;
                request.status = status.map(|status| status as u16);
            }
            Field::Bytes => request.bytes = optional(text, || head.number())?,
            Field::Duration { unit_us } => {
                request.duration_us = optional(text, || head.micros(*unit_us))?;
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
                let micros =
                    Head { rest, len: digits }.micros(*unit_us).filter(|micros| *micros < 1 << 60)?;
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
    let (method, rest) = match line {
        // By far the most; the rest of the methods are looked at more closely.
        [b'G', b'E', b'T', b' ', rest @ ..] => (&line[..3], rest),
        _ => {
            let (method, rest) = line.split_at(find(line, b' ').unwrap_or(line.len()));
            if !method.iter().all(|b| b.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(b)) {
                return;
            }
            (method, rest.get(1..).unwrap_or_default())
        }
    };
    request.method = method;
    let (target, protocol) = split_protocol(rest);
    request.protocol = protocol;
    request.path = path(method, target);
}

/// The target and the protocol behind it, which is what follows the last space.
#[inline]
fn split_protocol(text: &[u8]) -> (&[u8], &[u8]) {
    let space = match text {
        // `HTTP/1.1`, by its length.
        [.., b' ', b'H', b'T', b'T', b'P', b'/', _, b'.', minor] if *minor != b' ' => text.len() - 9,
        _ => match memrchr(b' ', text) {
            Some(space) if text[space + 1..].starts_with(b"HTTP/") => space,
            _ => return (text, b""),
        },
    };
    (&text[..space], &text[space + 1..])
}

#[inline]
fn path<'a>(method: &[u8], target: &'a [u8]) -> &'a [u8] {
    if method == b"CONNECT" {
        return target;
    }
    &target[..find(target, b'?').unwrap_or(target.len())]
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
    match text {
        [] | [b'-'] => None,
        text => Some(text),
    }
}

/// A value that may be absent (`-` or empty). The outer `None` says that it is neither absent nor a value.
#[inline]
fn optional<T>(text: &[u8], value: impl FnOnce() -> Option<T>) -> Option<Option<T>> {
    match text {
        [] | [b'-'] => Some(None),
        // A clock that was set back makes a duration negative.
        [b'-', rest @ ..] if number(rest).is_some() => Some(None),
        _ => value().map(Some),
    }
}
