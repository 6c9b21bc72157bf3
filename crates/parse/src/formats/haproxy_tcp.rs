//! `haproxy-tcp`: HAProxy's log of TCP connections (`option tcplog`), behind a syslog head or alone.
//! See <https://docs.haproxy.org/2.6/configuration.html#8.2.2> and, for connections that came to nothing,
//! <https://docs.haproxy.org/2.6/configuration.html#8.2.5>.
//!
//! Nothing in these lines is a stranger's text. One HAProxy serves both kinds of traffic and writes one log, so the lines
//! of [`super::haproxy_http`] are read here too; a log that has only those is theirs.

use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level, Offence, Request};

use super::haproxy_http::{self, accepted, held};
use super::{Sample, Unit, Way};
use crate::scan::{Scan, address_with_port, number};
use crate::stamp::Dates;
use crate::syslog;

pub(crate) const UNIT: Unit = Unit {
    id: "haproxy-tcp",
    about: Text::fixed("HAProxy's log of TCP connections", "HAProxy の TCP 接続のログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(event),
};

/// The event of a line that HAProxy wrote, of whichever kind.
pub(super) fn event<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
    read(line, dates)
        .or_else(|| haproxy_http::read(line, dates))
        .map(Event::Request)
        .or_else(|| connection_error(line, dates).map(Event::Error))
}

/// A connection, as a request of which only the outside is known.
fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
    let mut request = Request::BLANK;
    let mut scan = head(line, dates, &mut request)?;
    let _frontend = scan.until(b" ")?;
    let backend_and_server = scan.until(b" ")?;
    backend_and_server.contains(&b'/').then_some(())?;
    request.duration_us = held(scan.until(b" ")?, 3)?;
    // With `option logasap` a plus says that more was sent later.
    let bytes = scan.until(b" ")?;
    request.bytes = Some(number(bytes.strip_prefix(b"+").unwrap_or(bytes))?);
    let _termination = scan.until(b" ").filter(|state| state.len() == 2)?;
    let connections = scan.until(b" ")?;
    (connections.iter().filter(|b| **b == b'/').count() == 4).then_some(request)
}

/// A connection that ended before anything could be served, which HAProxy says in words of its own.
pub(super) fn connection_error<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut request = Request::BLANK;
    let mut scan = head(line, dates, &mut request)?;
    let place = scan.until(b": ")?;
    (place.contains(&b'/') && !place.contains(&b' ')).then_some(())?;
    let text = scan.rest;
    Some(ErrorLine {
        time: Some(request.time),
        level: Level::Error,
        pid: None,
        peer: request.peer,
        code: None,
        module: Some(place),
        offence: offence(text),
        account: None,
        text,
    })
}

/// The peer and the time, which every line begins with.
fn head<'a>(line: &'a [u8], dates: &mut Dates, request: &mut Request<'a>) -> Option<Scan<'a>> {
    let text = syslog::head(line, dates).map_or(line, |head| head.text);
    let mut scan = Scan::new(text);
    let peer = scan.until(b" ")?;
    request.peer = address_with_port(peer);
    if request.peer.is_none() && !peer.starts_with(b"unix:") {
        return None;
    }
    request.client = request.peer;
    scan.literal(b"[")?;
    request.time = accepted(scan.until(b"] ")?, dates)?;
    Some(scan)
}

/// What the peer did wrong, if it was the peer.
fn offence(text: &[u8]) -> Option<Offence> {
    let says = |part: &[u8]| memchr::memmem::find(text, part).is_some();
    if says(b"heartbeat") {
        return Some(Offence::Probe);
    }
    let handshake = says(b"SSL handshake") || says(b"SSL client") || says(b"SSL renego");
    let header = says(b"PROXY protocol") || says(b"NetScaler Client IP");
    (handshake || header).then_some(Offence::ProtocolError)
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "Nov 22 10:23:49 lb1 haproxy[14387]: 192.0.2.10:33313 [22/Nov/2026:10:23:44.443] mail bck/srv1 0/0/5007 212 -- 0/0/0/0/3 0/0",
        event: "time=2026-11-22T01:23:44.443Z peer=192.0.2.10 bytes=212 duration_us=5007000",
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:49.000001+09:00 lb1 haproxy[14387]: 2001:db8::7:33313 [22/Nov/2026:10:23:44.443] mysql~ mysql/<NOSRV> -1/-1/3001 0 SC 9/9/8/0/0 0/12",
        event: "time=2026-11-22T01:23:44.443Z peer=2001:db8::7 bytes=0 duration_us=3001000",
    },
    Sample {
        format: "",
        line: "192.0.2.10:33313 [22/Nov/2026:10:23:44.443] ssh ssh/bastion 1/0/+86400000 +41212 cD 1/1/1/1/0 0/0",
        event: "time=2026-11-22T01:23:44.443Z peer=192.0.2.10 bytes=41212 duration_us=86400000000",
    },
    Sample {
        format: "",
        line: "unix:1 [22/Nov/2026:10:23:44.443] local local/srv 0/0/1 2 -- 1/1/1/1/0 0/0",
        event: "time=2026-11-22T01:23:44.443Z bytes=2 duration_us=1000",
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:45 lb1 haproxy[123]: 198.51.100.11:49152 [22/Nov/2026:10:23:44.168] https-in/1: SSL handshake failure (error:0A00010B:SSL routines::wrong version number)",
        event: r#"time=2026-11-22T01:23:44.168Z level=error peer=198.51.100.11 module=https-in/1 offence=protocol-error text="SSL handshake failure (error:0A00010B:SSL routines::wrong version number)""#,
    },
    Sample {
        format: "",
        line: "198.51.100.11:49152 [22/Nov/2026:10:23:44.168] fe/sock-1: Received something which does not look like a PROXY protocol header",
        event: r#"time=2026-11-22T01:23:44.168Z level=error peer=198.51.100.11 module=fe/sock-1 offence=protocol-error text="Received something which does not look like a PROXY protocol header""#,
    },
    Sample {
        format: "",
        line: "198.51.100.11:49152 [22/Nov/2026:10:23:44.168] fe/1: Stopped a TLSv1 heartbeat attack (CVE-2014-0160)",
        event: r#"time=2026-11-22T01:23:44.168Z level=error peer=198.51.100.11 module=fe/1 offence=probe text="Stopped a TLSv1 heartbeat attack (CVE-2014-0160)""#,
    },
    // This host's own trouble.
    Sample {
        format: "",
        line: "198.51.100.11:49152 [22/Nov/2026:10:23:44.168] fe/1: Too many SSL connections",
        event: r#"time=2026-11-22T01:23:44.168Z level=error peer=198.51.100.11 module=fe/1 text="Too many SSL connections""#,
    },
    // A frontend in HTTP mode of the same HAProxy.
    Sample {
        format: "",
        line: r#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 "GET /a?b HTTP/1.1""#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=GET path=/a protocol=HTTP/1.1 status=200 bytes=374 duration_us=12000",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Nov 22 10:23:45 lb1 haproxy[123]: Proxy web stopped (cumulated conns: FE: 5, BE: 5).",
            "Nov 22 10:23:45 lb1 haproxy[123]: Server web/web1 is DOWN, reason: Layer4 timeout: x",
            "192.0.2.10:33313 [22/Nov/2026:10:23:44.443] mail bck/srv1 0/0/5007 212 -- 0/0/0",
            "192.0.2.10:33313 [22/Nov/2026:10:23:44.443] mail bck/srv1 0/5007 212 -- 0/0/0/0/3 0/0",
            "192.0.2.10:33313 [22/Nov/2026:10:23:44.443] mail bck srv1: x",
            "192.0.2.10 [22/Nov/2026:10:23:44.443] fe/1: SSL handshake failure",
            "someone:1 [22/Nov/2026:10:23:44.443] fe/1: SSL handshake failure",
        ] {
            check("haproxy-tcp", line.as_bytes(), "none");
        }
    }
}
