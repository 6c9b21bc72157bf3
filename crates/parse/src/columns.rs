//! *Columns*: logs whose first lines say what stands where (`#Fields: date time c-ip …`), as the W3C's extended log format
//! has it. See <https://www.w3.org/TR/WD-logfile.html>.
//!
//! # Who may be named
//!
//! A line counts only if it has as many columns as its header has names: a stranger could add columns at most, where a
//! server does not replace the spaces in what they wrote, and never take any away.

use memchr::memchr;
use toban_model::Time;
use toban_model::event::Request;

use crate::http::{present, status, take_target};
use crate::scan::{Scan, address, decimal_micros, number, two};
use crate::stamp::{Civil, Dates, time_of_day};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Skip,
    /// In UTC, or in the host's own zone.
    Date {
        local: bool,
    },
    Time {
        local: bool,
    },
    Client,
    Forwarded,
    Method,
    Stem,
    /// The target with its query.
    Target,
    Status,
    Bytes,
    Taken,
    TakenMillis,
    Agent,
    Referer,
    /// The host that was asked for; of two the one with the higher rank.
    Host(u8),
    User,
    Protocol,
    /// A number or `-`, which only tells that the columns are in their places.
    Number,
    /// An address or `-`, likewise.
    Address,
}

/// The columns of a log, as its header names them.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    columns: Box<[Column]>,
    separator: u8,
}

/// What else is known of a log with columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// What a duration without a fraction is counted in, in microseconds.
    pub(crate) taken_us: u64,
    /// The day, where only the header says it.
    pub(crate) day: Option<(u16, u8, u8)>,
}

impl Columns {
    /// From the names behind `#Fields:`; `None` if they are not those of requests.
    pub(crate) fn named(names: &[u8], separator: u8) -> Option<Columns> {
        let columns: Box<[Column]> =
            names.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty()).map(column).collect();
        let has = |wanted: fn(&Column) -> bool| columns.iter().any(wanted);
        let has_time = has(|column| matches!(column, Column::Time { .. }));
        let has_request = has(|column| matches!(column, Column::Method | Column::Stem | Column::Target));
        (has_time && has_request).then_some(Columns { columns, separator })
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Reads one line. With `quotes` a column may stand in quotes and hold spaces.
    pub(crate) fn read<'a>(
        &self,
        line: &'a [u8],
        quotes: bool,
        habits: Habits,
        dates: &mut Dates,
    ) -> Option<Request<'a>> {
        let mut request = Request::BLANK;
        let (mut day, mut clock, mut local) = (habits.day, None, false);
        let mut target: &[u8] = b"";
        let mut host_rank = 0;
        let mut rest = Some(line);
        let mut quote_seen = false;
        for column in &self.columns {
            let text = rest?;
            let quoted = quotes && text.first() == Some(&b'"');
            let (text, behind) = match quoted.then(|| quoted_len(text)).flatten() {
                Some(len) if text.get(len).is_none_or(|b| *b == self.separator) => {
                    (&text[1..len - 1], text.get(len + 1..))
                }
                _ => match memchr(self.separator, text) {
                    Some(len) => (&text[..len], Some(&text[len + 1..])),
                    None => (text, None),
                },
            };
            rest = behind;
            quote_seen |= quoted || quotes && text.contains(&b'"');
            match column {
                Column::Skip => {}
                Column::Date { local: here } => (day, local) = (Some(date(text)?), local || *here),
                Column::Time { local: here } => {
                    let mut scan = Scan::new(text);
                    clock = Some(time_of_day(&mut scan)?);
                    scan.rest.is_empty().then_some(())?;
                    local |= *here;
                }
                Column::Client => {
                    let named = address(text);
                    (named.is_some() || present(text).is_none() || quoted).then_some(())?;
                    // A quote in front of it may be one that a stranger wrote, and have moved it.
                    request.peer = named.filter(|_| !quote_seen);
                    request.client = request.peer;
                }
                Column::Forwarded => request.forwarded = present(text),
                Column::Method => request.method = present(text).unwrap_or_default(),
                Column::Stem | Column::Target => target = present(text).unwrap_or_default(),
                Column::Status => request.status = status(text)?,
                Column::Bytes => request.bytes = optional_number(text)?,
                Column::Taken if text.contains(&b'.') => request.duration_us = Some(decimal_micros(text)?),
                Column::Taken => {
                    let count = optional_number(text)?;
                    request.duration_us = count.and_then(|count| count.checked_mul(habits.taken_us));
                }
                Column::TakenMillis => {
                    let count = optional_number(text)?;
                    request.duration_us = count.and_then(|count| count.checked_mul(1000));
                }
                Column::Agent => request.agent = present(text),
                Column::Referer => request.referer = present(text),
                Column::Host(rank) => {
                    if *rank >= host_rank && present(text).is_some() {
                        (request.host, host_rank) = (Some(text), *rank);
                    }
                }
                Column::User => request.user = present(text),
                Column::Protocol => request.protocol = present(text).unwrap_or_default(),
                Column::Number => {
                    optional_number(text)?;
                }
                Column::Address => {
                    (present(text).is_none() || address(text).is_some()).then_some(())?;
                }
            }
        }
        rest.is_none().then_some(())?;
        take_target(&mut request, target);
        let ((year, month, day), (hour, minute, second, micros)) = (day?, clock?);
        let civil = Civil { year: i32::from(year), month, day, hour, minute, second, micros };
        let ended = if local {
            dates.local(&civil)?.as_micros()
        } else {
            civil.utc_secs()? * 1_000_000 + i64::from(micros)
        };
        // Such a line is written when the request has ended.
        request.time = Time::from_micros(ended.saturating_sub_unsigned(request.duration_us.unwrap_or(0)));
        Some(request)
    }
}

/// The outer `None` says that it is neither absent nor a number.
#[inline]
fn optional_number(text: &[u8]) -> Option<Option<u64>> {
    present(text).map_or(Some(None), |text| number(text).map(Some))
}

/// The length of a text in quotes, in which a doubled quote stands for one.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr(b'"', text.get(at..)?)? + 1;
        if text.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// `2026-11-22`.
pub(crate) fn date(text: &[u8]) -> Option<(u16, u8, u8)> {
    match text {
        [year @ .., b'-', m1, m2, b'-', d1, d2] if year.len() == 4 => {
            Some((number(year)? as u16, two(&[*m1, *m2])?, two(&[*d1, *d2])?))
        }
        _ => None,
    }
}

/// What a name stands for. Those of the W3C, of IIS and its Advanced Logging, of CloudFront and of Blue Coat.
fn column(name: &[u8]) -> Column {
    match name.to_ascii_lowercase().as_slice() {
        b"date" | b"date-utc" => Column::Date { local: false },
        b"time" | b"time-utc" => Column::Time { local: false },
        b"date-local" | b"localdate" => Column::Date { local: true },
        b"time-local" | b"localtime" => Column::Time { local: true },
        b"c-ip" => Column::Client,
        b"x-forwarded-for" | b"cs(x-forwarded-for)" => Column::Forwarded,
        b"cs-method" => Column::Method,
        b"cs-uri-stem" | b"cs-uri-path" => Column::Stem,
        b"cs-uri" => Column::Target,
        b"sc-status" => Column::Status,
        b"sc-bytes" => Column::Bytes,
        b"time-taken" => Column::Taken,
        b"timetakenms" => Column::TakenMillis,
        b"cs(user-agent)" => Column::Agent,
        b"cs(referer)" | b"cs(referrer)" => Column::Referer,
        b"x-host-header" => Column::Host(3),
        b"cs-host" => Column::Host(2),
        b"cs(host)" => Column::Host(1),
        b"cs-username" => Column::User,
        b"cs-version" | b"cs-protocol-version" => Column::Protocol,
        b"s-port" | b"c-port" | b"cs-bytes" | b"sc-substatus" | b"sc-win32-status" => Column::Number,
        b"s-ip" => Column::Address,
        _ => Column::Skip,
    }
}
