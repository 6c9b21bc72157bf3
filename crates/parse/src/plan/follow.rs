//! A plan followed over one line.

use std::net::IpAddr;

use memchr::memrchr;
use toban_model::Time;
use toban_model::event::Request;

use super::{
    AGENT, APACHE, Field, LAST_AGENT, MICROS, NGINX, Plan, REFERER, REQUEST, Role, Run, Shape, Stamp, Step,
};
use crate::http::{path, present};
use crate::scan::{Scan, micros_of_fraction, number, v6};
use crate::stamp::Dates;
use crate::strftime::Partial;
use crate::window::{Head, find, unescaped_quote};

/// How often one line may be tried anew where a field's end is not certain. A line that needs more is not one of this
/// format; without the limit a line of spaces would cost the square of its length.
const RETRIES_MAX: u32 = 1024;

/// What is read of a line so far, beside the request itself.
#[derive(Clone, Copy)]
struct Beside {
    time: Option<i64>,
    partial: Partial,
    name: bool,
}

impl Beside {
    const BLANK: Beside = Beside { time: None, partial: Partial::BLANK, name: false };
}

/// A way to read a line.
#[derive(Clone, Copy)]
struct Reading<'a> {
    request: Request<'a>,
    beside: Beside,
}

impl Reading<'_> {
    const BLANK: Reading<'static> = Reading { request: Request::BLANK, beside: Beside::BLANK };
}

/// A bare field, before which of its ends is tried next.
struct Fork<'a> {
    /// Its step.
    index: usize,
    /// What it starts.
    rest: &'a [u8],
    /// The first place that was not tried.
    from: usize,
    /// The last place where it can end.
    limit: usize,
    /// What was read before it.
    reading: Reading<'a>,
}

impl Plan {
    /// Reads one line into `request`, which is [`Request::BLANK`] or what this plan read before; if the line does not fit, nothing
    /// in it can be relied on.
    ///
    /// A request is too large to be handed from one to the next: that would take a tenth of the time.
    #[inline]
    pub(crate) fn read<'a>(
        &mut self,
        line: &'a [u8],
        dates: &mut Dates,
        request: &mut Request<'a>,
    ) -> Option<()> {
        let rest = self.lead.strip(line)?;
        let mut beside = Beside::BLANK;
        // Every other field is written whatever stands in it.
        (request.peer, request.client) = (None, None);
        (request.method, request.path, request.protocol, request.raw_request) = (b"", b"", b"", b"");
        if self.ambiguous || self.straight(rest, request, &mut beside, dates).is_none() {
            let reading = self.retried(rest, dates)?;
            (*request, beside) = (reading.request, reading.beside);
        }
        self.finish(request, &beside, dates)
    }

    /// The client, where the line begins with its IPv4 address and can be read in one way only: for whoever looks for a
    /// few clients' lines, a tenth of the work. `None` says nothing.
    #[inline]
    pub(crate) fn leading_client(&self, line: &[u8]) -> Option<IpAddr> {
        let step = self.steps.first()?;
        let Field::Address { role: Role::Both | Role::Client, names } = step.field else { return None };
        let also = |step: &Step| matches!(step.field, Field::Address { role: Role::Both | Role::Client, .. });
        if self.ambiguous
            || step.shape != Shape::Word
            || names && self.names
            || self.steps[1..].iter().any(also)
        {
            return None;
        }
        let rest = self.lead.strip(line)?;
        let len = find(rest, step.then.first())?;
        Head { rest, len }.v4().map(IpAddr::V4)
    }

    /// The same by the way that is taken for lines that do not fit straight.
    pub(crate) fn read_retried<'a>(&mut self, line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
        let Reading { mut request, beside } = self.retried(self.lead.strip(line)?, dates)?;
        self.finish(&mut request, &beside, dates)?;
        Some(request)
    }

    #[inline(always)]
    fn finish(&mut self, request: &mut Request<'_>, beside: &Beside, dates: &mut Dates) -> Option<()> {
        let micros = match beside.time {
            Some(micros) => micros + i64::from(beside.partial.micros),
            None => beside.partial.assemble(dates)?,
        };
        request.time = Time::from_micros(match request.duration_us {
            Some(held) if self.stamps_end => micros.saturating_sub_unsigned(held),
            _ => micros,
        });
        self.names |= beside.name;
        Some(())
    }

    /// Every field ends at the first place where it can.
    #[inline(always)]
    fn straight<'a>(
        &self,
        mut rest: &'a [u8],
        request: &mut Request<'a>,
        beside: &mut Beside,
        dates: &mut Dates,
    ) -> Option<()> {
        // Written out, since the compiler unrolls no loop as large as this, and then what is known of each step is lost.
        macro_rules! follow {
            ($($step:expr),+) => {{
                $(rest = self.step($step, rest, request, beside, dates)?;)+
            }};
        }
        for run in &self.runs {
            match run {
                Run::One(at) => follow!(self.steps.get(*at)?),
                Run::Apache => follow!(&APACHE[0], &APACHE[1]),
                Run::Nginx => follow!(&NGINX[0]),
                Run::Request => follow!(&REQUEST[0], &REQUEST[1], &REQUEST[2], &REQUEST[3]),
                Run::Referer => follow!(&REFERER[0], &REFERER[1]),
                Run::LastAgent => follow!(&LAST_AGENT[0]),
                Run::Agent => follow!(&AGENT[0]),
                Run::Micros => follow!(&MICROS[0]),
            }
        }
        rest.is_empty().then_some(())
    }

    /// Takes one field that `rest` starts with, to the first place where it can end; returns what follows it and its
    /// literal.
    ///
    /// Like all that it calls for a usual field, it is always inlined: what is known of a step must reach them.
    #[inline(always)]
    fn step<'a>(
        &self,
        step: &Step,
        rest: &'a [u8],
        request: &mut Request<'a>,
        beside: &mut Beside,
        dates: &mut Dates,
    ) -> Option<&'a [u8]> {
        let len = match step.shape {
            Shape::Own => {
                let Field::Time { stamp, used } = &step.field else { return None };
                if *used {
                    stamp.read(rest, beside, dates)?
                } else {
                    stamp.read(rest, &mut beside.clone(), dates)?
                }
            }
            Shape::Status => {
                if rest.first() == Some(&b'-') {
                    1
                } else {
                    3
                }
            }
            Shape::Mark => 1,
            Shape::Digits => digits(rest),
            Shape::Word => {
                let len = find(rest, step.then.first())?;
                if step.then.first() != b' ' && find(rest, b' ').is_some_and(|space| space < len) {
                    return None;
                }
                len
            }
            Shape::Quoted => unescaped_quote(rest)?,
            Shape::Bare => step.then.find(rest)?,
            Shape::Rest => rest.len(),
        };
        let after = step.then.strip(rest.get(len..)?)?;
        self.take(&step.field, Head { rest, len }, request, beside)?;
        Some(after)
    }

    /// The first reading that fits, for a line that does not fit straight.
    #[cold]
    fn retried<'a>(&self, line: &'a [u8], dates: &mut Dates) -> Option<Reading<'a>> {
        if self.ambiguous {
            return self.agreed(line, dates);
        }
        let mut first = None;
        let mut retries = RETRIES_MAX;
        self.walk(line, dates, &mut retries, |reading| {
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
        self.walk(line, dates, &mut retries, |reading| match &first {
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
            reading.beside.name = false;
        }
        Some(reading)
    }

    /// Tries every place where a bare field can end, leftmost first; `found` says whether to go on.
    fn walk<'a>(
        &self,
        line: &'a [u8],
        dates: &mut Dates,
        retries: &mut u32,
        mut found: impl FnMut(Reading<'a>) -> bool,
    ) {
        // Not on the thread's own stack: a format may have more fields than that has room for.
        let mut forks: Vec<Fork<'a>> = Vec::new();
        let (mut index, mut rest, mut reading) = (0, line, Reading::BLANK);
        loop {
            let fits = loop {
                let Some(step) = self.steps.get(index) else { break rest.is_empty() };
                if step.shape == Shape::Bare {
                    // A server that escapes quotes writes none inside a field.
                    let limit = if self.escaped { unescaped_quote(rest) } else { None }.unwrap_or(rest.len());
                    forks.push(Fork { index, rest, from: 0, limit, reading });
                    break false;
                }
                let Reading { request, beside } = &mut reading;
                let Some(after) = self.step(step, rest, request, beside, dates) else { break false };
                (index, rest) = (index + 1, after);
            };
            if fits && !found(reading) {
                return;
            }
            // On from the last field that can end elsewhere.
            loop {
                let Some(fork) = forks.last_mut() else { return };
                let step = &self.steps[fork.index];
                let distance = fork.rest.get(fork.from..).and_then(|rest| step.then.find(rest));
                let Some(len) =
                    distance.map(|distance| fork.from + distance).filter(|len| *len <= fork.limit)
                else {
                    forks.pop();
                    continue;
                };
                fork.from = len + 1;
                *retries -= 1;
                if *retries == 0 {
                    return;
                }
                reading = fork.reading;
                let head = Head { rest: fork.rest, len };
                let Reading { request, beside } = &mut reading;
                if let Some(after) = step.then.strip(&fork.rest[len..])
                    && self.take(&step.field, head, request, beside).is_some()
                {
                    (index, rest) = (fork.index + 1, after);
                    break;
                }
            }
        }
    }

    /// Puts a field's text where it belongs; `None` if it cannot be such a field.
    #[inline(always)]
    fn take<'a>(
        &self,
        field: &Field,
        head: Head<'a>,
        request: &mut Request<'a>,
        beside: &mut Beside,
    ) -> Option<()> {
        let text = head.text();
        match field {
            Field::Skip | Field::Query => {}
            Field::SkipMark => {
                if text.len() != 1 || text[0].is_ascii_digit() {
                    absent(text)?;
                }
            }
            Field::SkipNumber | Field::SkipStatus => {
                if !text.iter().all(u8::is_ascii_digit) {
                    absent(text)?;
                }
            }
            Field::Address { role, names } => {
                // Of two branches, so that the usual one puts four bytes in their place instead of copying seventeen.
                if let Some(address) = head.v4() {
                    if !(*names && self.names) {
                        name(request, *role, IpAddr::V4(address));
                    }
                    return Some(());
                }
                match v6(text) {
                    Some(_) if *names && self.names => {}
                    Some(address) => name(request, *role, address),
                    None if *names => beside.name |= text != b"-" && !text.starts_with(b"unix:"),
                    None if text == b"-" || text.starts_with(b"unix:") => {}
                    None => return None,
                }
            }
            Field::Forwarded => request.forwarded = present(text),
            Field::Request => take_request_line(request, text),
            Field::Method => request.method = present(text).unwrap_or_default(),
            Field::Target => request.path = path(request.method, present(text).unwrap_or_default()),
            Field::Protocol => request.protocol = present(text).unwrap_or_default(),
            Field::Status => {
                let status = match text {
                    [a, b, c] if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() => {
                        Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
                    }
                    _ => None,
                };
                request.status = or_absent(status, text)?;
            }
            Field::Bytes => request.bytes = or_absent(head.number(), text)?,
            Field::Duration { unit_us } => {
                request.duration_us = or_absent(head.micros(*unit_us), text)?;
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
    #[inline(always)]
    fn read(&self, rest: &[u8], beside: &mut Beside, dates: &mut Dates) -> Option<usize> {
        match self {
            Stamp::Clf => {
                beside.time = Some(dates.clf(rest.first_chunk::<26>()?)?);
                Some(26)
            }
            Stamp::Iso => {
                let mut scan = Scan::new(rest);
                beside.time = Some(crate::stamp::iso(&mut scan, dates)?.as_micros());
                Some(rest.len() - scan.rest.len())
            }
            Stamp::Epoch { unit_us } => {
                let digits = rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
                // Any later than this is no date of a log, and would not fit the arithmetic that follows.
                let micros =
                    Head { rest, len: digits }.micros(*unit_us).filter(|micros| *micros < 1 << 60)?;
                beside.time = Some(i64::try_from(micros).ok()?);
                Some(digits)
            }
            Stamp::Fraction { digits } => {
                beside.partial.micros = micros_of_fraction(rest.get(..*digits)?)?;
                Some(*digits)
            }
            Stamp::Strftime(format) => format.read(rest, &mut beside.partial),
        }
    }
}

/// Splits a request line. It is a stranger's: TLS, another protocol, or nothing leave only `raw_request`.
#[inline(always)]
pub(crate) fn take_request_line<'a>(request: &mut Request<'a>, line: &'a [u8]) {
    let Some(line) = present(line) else { return };
    request.raw_request = line;
    let (method, rest) = match line.split_first_chunk() {
        // By far the most; other methods are looked at more closely.
        Some((start, rest)) if u32::from_le_bytes(*start) == u32::from_le_bytes(*b"GET ") => {
            (&start[..3], rest)
        }
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

/// The target, and the protocol if that is what follows the last space.
#[inline(always)]
fn split_protocol(text: &[u8]) -> (&[u8], &[u8]) {
    const HTTP_1: u64 = u64::from_le_bytes(*b" HTTP/1.");
    const HTTP_2: u64 = u64::from_le_bytes(*b" HTTP/2.");
    if let Some((target, protocol)) = text.split_last_chunk::<9>()
        && let Some(start) = protocol.first_chunk()
        && matches!(u64::from_le_bytes(*start), HTTP_1 | HTTP_2)
        && protocol[8] != b' '
    {
        return (target, &protocol[1..]);
    }
    match memrchr(b' ', text) {
        Some(space) if text[space + 1..].starts_with(b"HTTP/") => (&text[..space], &text[space + 1..]),
        _ => (text, b""),
    }
}

#[inline(always)]
fn name(request: &mut Request<'_>, role: Role, address: IpAddr) {
    if role != Role::Client {
        request.peer = Some(address);
    }
    if role != Role::Peer {
        request.client = Some(address);
    }
}

/// How many digits are in front, or the one byte of `-`.
fn digits(text: &[u8]) -> usize {
    match text.first() {
        Some(b'-') => 1,
        _ => text.iter().take_while(|b| b.is_ascii_digit()).count(),
    }
}

/// A value, or that there is none (`-` or empty). The outer `None` says that it is neither.
#[inline(always)]
fn or_absent<T>(value: Option<T>, text: &[u8]) -> Option<Option<T>> {
    if value.is_none() {
        absent(text)?;
    }
    Some(value)
}

/// `None` if something stands there that should be a value.
fn absent(text: &[u8]) -> Option<()> {
    match text {
        [] | [b'-'] => Some(()),
        // A clock that was set back makes a duration negative.
        [b'-', rest @ ..] => number(rest).map(|_| ()),
        _ => None,
    }
}
