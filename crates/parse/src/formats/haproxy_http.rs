//! `haproxy-http`: HAProxy's log of HTTP requests (`option httplog`), behind a syslog head or alone.
//! See <https://docs.haproxy.org/2.6/configuration.html#8.2.3>.
//!
//! HAProxy writes control characters, quotes and braces inside captured text as `#22`, so fields end where they seem to.
//! A connection of which no request came is one of the [`super::haproxy_tcp`] lines, which stand in the same file.

use toban_model::Text;
use toban_model::event::{Event, Request};

use super::{Sample, Unit, Way, haproxy_tcp};
use crate::plan::take_request_line;
use crate::scan::{Scan, address_with_port, number, two};
use crate::stamp::{Civil, Dates, month, time_of_day};
use crate::syslog;

pub(crate) const UNIT: Unit = Unit {
    id: "haproxy-http",
    about: Text::fixed("HAProxy's log of HTTP requests", "HAProxy の HTTP リクエストのログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| match read(line, dates) {
        Some(request) => Some(Event::Request(request)),
        None => haproxy_tcp::connection_error(line, dates).map(Event::Error),
    }),
};

pub(crate) fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
    // The line's own stamp is of the moment of receipt and finer than the daemon's.
    let text = syslog::head(line, dates).map_or(line, |head| head.text);
    let mut scan = Scan::new(text);
    let mut request = Request::BLANK;
    let peer = scan.until(b" ")?;
    request.peer = address_with_port(peer);
    if request.peer.is_none() && !peer.starts_with(b"unix:") {
        return None;
    }
    request.client = request.peer;
    scan.literal(b"[")?;
    request.time = accepted(scan.until(b"] ")?, dates)?;
    let _frontend = scan.until(b" ")?;
    let _backend_and_server = scan.until(b" ")?;
    request.duration_us = held(scan.until(b" ")?, 5)?;
    // -1 where no answer was sent.
    let status = scan.until(b" ")?;
    request.status = match status {
        b"-1" => None,
        _ if status.len() == 3 => Some(number(status)? as u16),
        _ => return None,
    };
    // With `option logasap` a plus says that more was sent later.
    let bytes = scan.until(b" ")?;
    request.bytes = Some(number(bytes.strip_prefix(b"+").unwrap_or(bytes))?);
    for _ in 0..2 {
        let _captured_cookie = scan.until(b" ")?;
    }
    let _termination = scan.until(b" ")?;
    let _connections = scan.until(b" ")?;
    let _queues = scan.until(b" ")?;
    // Captured headers, which may hold spaces, in braces.
    while scan.literal(b"{").is_some() {
        scan.until(b"}")?;
        scan.literal(b" ")?;
    }
    scan.literal(b"\"")?;
    // A line that syslog cut short has no closing quote, and is read all the same.
    let end = memchr::memchr(b'"', scan.rest).unwrap_or(scan.rest.len());
    match scan.take(end)? {
        b"<BADREQ>" => request.raw_request = b"<BADREQ>",
        line => take_request_line(&mut request, line),
    }
    Some(request)
}

/// `22/Nov/2026:10:23:44.168`, local time.
pub(super) fn accepted(text: &[u8], dates: &mut Dates) -> Option<toban_model::Time> {
    let mut scan = Scan::new(text);
    let [day @ .., b'/'] = scan.take(3)? else { return None };
    let [name @ .., b'/'] = scan.take(4)? else { return None };
    let [year @ .., b':'] = scan.take(5)? else { return None };
    let (day, month, year) = (two(day)?, month(name)?, number(year)? as i32);
    let (hour, minute, second, micros) = time_of_day(&mut scan)?;
    dates.local(&Civil { year, month, day, hour, minute, second, micros })
}

/// The last of `count` timers `0/0/0/12/12`, in milliseconds. The outer `None` says that these are no timers.
pub(super) fn held(timers: &[u8], count: usize) -> Option<Option<u64>> {
    let mut fields = timers.split(|b| *b == b'/');
    let total = fields.by_ref().nth(count - 1)?;
    if fields.next().is_some() {
        return None;
    }
    let total = total.strip_prefix(b"+").unwrap_or(total);
    if total == b"-1" {
        return Some(None);
    }
    Some(Some(number(total)?.checked_mul(1000)?))
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"Nov 22 10:23:45 lb1 haproxy[123]: 198.51.100.11:29588 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 "GET /a?b HTTP/1.1""#,
        event: "time=2026-11-22T01:23:44.168Z peer=198.51.100.11 method=GET path=/a protocol=HTTP/1.1 status=200 bytes=374 duration_us=12000",
    },
    Sample {
        format: "",
        line: r#"2001:db8::7:29588 [22/Nov/2026:10:23:44.168] web~ web/<NOSRV> 0/-1/-1/-1/3001 503 217 - - SC-- 9/9/0/0/3 0/0 "GET / HTTP/1.1""#,
        event: "time=2026-11-22T01:23:44.168Z peer=2001:db8::7 method=GET path=/ protocol=HTTP/1.1 status=503 bytes=217 duration_us=3001000",
    },
    Sample {
        format: "",
        line: r#"2026-11-22T10:23:45.000001+09:00 lb1 haproxy[123]: 192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/15000/15000 504 194 - - sH-- 1/1/0/0/0 0/0 {www.example.jp|Mozilla/5.0 (X11)} {} "POST /x HTTP/1.1""#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=POST path=/x protocol=HTTP/1.1 status=504 bytes=194 duration_us=15000000",
    },
    Sample {
        format: "",
        line: r#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/<NOSRV> -1/-1/-1/-1/0 400 187 - - PR-- 1/1/0/0/0 0/0 "<BADREQ>""#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 status=400 bytes=187 duration_us=0 raw=<BADREQ>",
    },
    // The client went away before an answer.
    Sample {
        format: "",
        line: r#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/-1/8000 -1 0 - - CD-- 1/1/0/0/0 0/0 "GET /slow HTTP/2.0""#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=GET path=/slow protocol=HTTP/2.0 bytes=0 duration_us=8000000",
    },
    // With `option httpslog`.
    Sample {
        format: "",
        line: r#"Nov 22 10:23:45 lb1 haproxy[123]: 192.0.2.10:5 [22/Nov/2026:10:23:44.168] https~ web/web1 0/0/1/2/3 401 88 - - ---- 1/1/0/0/0 0/0 "GET /admin HTTP/1.1" 0/0000000000000000/0/0/0 www.example.jp/TLSv1.3/TLS_AES_128_GCM_SHA256"#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=GET path=/admin protocol=HTTP/1.1 status=401 bytes=88 duration_us=3000",
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:45 lb1 haproxy[123]: 192.0.2.10:5 [22/Nov/2026:10:23:44.168] https/1: SSL handshake failure",
        event: r#"time=2026-11-22T01:23:44.168Z level=error peer=192.0.2.10 module=https/1 offence=protocol-error text="SSL handshake failure""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Nov 22 10:23:45 lb1 haproxy[123]: Server web/web1 is DOWN, reason: Layer7 timeout, check duration: 3001ms.",
            "192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12 200 374 - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
            "192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 1/0/200 374 -- 1/1/0/0/0 0/0",
            "someone:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 \"GET / HTTP/1.1\"",
        ] {
            check("haproxy-http", line.as_bytes(), "none");
        }
    }

    #[test]
    fn a_forged_line_in_a_header_names_nobody() {
        check(
            "haproxy-http",
            br#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/1/1 200 3 - - ---- 1/1/0/0/0 0/0 {x 203.0.113.9:5 [22/Nov/2026:10:23:44.168] web} "GET / HTTP/1.1""#,
            "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1 status=200 bytes=3 duration_us=1000",
        );
    }
}
