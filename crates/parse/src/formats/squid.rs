//! `squid`: Squid's own access log.
//! See <http://www.squid-cache.org/Doc/config/logformat/> (`squid`) and <https://wiki.squid-cache.org/Features/LogFormat>.
//! Its `common` and `combined` are Apache's.
//!
//! Squid writes a line when the request has ended. The client's address stands in front of everything that a stranger
//! writes, but with `log_fqdn` (until 3.2) it is a name, and whoever owns an address chooses its name, even `192.0.2.7`.

use toban_model::event::{Event, Request};
use toban_model::{Text, Time};

use super::{Reader, Sample, Unit, Way};
use crate::http::{present, status, take_target};
use crate::scan::{Scan, address, decimal_micros, number};
use crate::stamp::Dates;
use crate::syslog;

pub(crate) const UNIT: Unit = Unit {
    id: "squid",
    about: Text::fixed("Squid's own access log", "Squid 独自形式のアクセスログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Squid { names: false })),
};

/// Remembers that names are looked up.
#[derive(Clone, Debug)]
struct Squid {
    names: bool,
}

impl Reader for Squid {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        self.request(line).or_else(|| self.request(syslog::head(line, dates)?.text)).map(Event::Request)
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl Squid {
    #[inline]
    fn request<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
        let mut scan = Scan::new(line);
        let ended = scan.until(b" ")?;
        (ended.len() >= 14 && ended[ended.len() - 4] == b'.').then_some(())?;
        let ended = decimal_micros(ended).filter(|micros| *micros < 1 << 60)?;
        scan.rest = scan.rest.trim_ascii_start();
        // A clock that was set back makes it negative.
        let held_ms = scan.until(b" ")?;
        let held_ms =
            number(held_ms.strip_prefix(b"-").unwrap_or(held_ms)).filter(|_| !held_ms.starts_with(b"-"));
        let client = scan.until(b" ")?;
        let result = scan.until(b" ")?;
        let slash = memchr::memchr(b'/', result)?;
        let (code, answer) = (&result[..slash], &result[slash + 1..]);
        let is_code = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
        (!code.is_empty() && code.iter().all(is_code)).then_some(())?;
        let status = status(answer)?;
        let bytes = number(scan.until(b" ")?)?;
        let method = scan.until(b" ")?;

        let mut request = Request::BLANK;
        request.peer = address(client);
        self.names |= request.peer.is_none() && client != b"-";
        if self.names {
            request.peer = None;
        }
        request.client = request.peer;
        request.status = status;
        request.bytes = Some(bytes);
        request.duration_us = held_ms.and_then(|ms| ms.checked_mul(1000));
        let held = request.duration_us.unwrap_or(0);
        request.time = Time::from_micros(i64::try_from(ended).ok()?.saturating_sub_unsigned(held));
        let (url, user) = url_and_user(scan.rest)?;
        match method {
            // What came was no request; Squid says so in the URL's place.
            b"-" | b"NONE" => request.raw_request = url,
            method => {
                request.method = method;
                take_target(&mut request, url);
            }
        }
        request.user = present(user);
        Some(request)
    }
}

/// The URL ends at a space, but with `uri_whitespace allow` it may hold some: then it ends where the user and Squid's
/// own `HIER_DIRECT/192.0.2.3` follow.
fn url_and_user(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut first = None;
    let mut end = 0;
    while let Some(space) = memchr::memchr(b' ', &rest[end..]) {
        end += space;
        let behind = &rest[end + 1..];
        let Some(len) = memchr::memchr(b' ', behind) else { break };
        let user = &behind[..len];
        let hierarchy = &behind[user.len() + 1..];
        let capitals = hierarchy.iter().take_while(|b| b.is_ascii_uppercase() || **b == b'_').count();
        if capitals > 2 && hierarchy.get(capitals) == Some(&b'/') {
            return Some((&rest[..end], user));
        }
        first = first.or(Some((&rest[..end], user)));
        end += 1;
    }
    first
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "1795310625.373   1250 192.0.2.10 TCP_MISS/200 5120 GET http://www.example.jp/index.html?page=2 - HIER_DIRECT/198.51.100.20 text/html",
        event: "time=2026-11-22T01:23:44.123Z peer=192.0.2.10 method=GET path=http://www.example.jp/index.html status=200 bytes=5120 duration_us=1250000",
    },
    Sample {
        format: "",
        line: "1795310644.123  20000 2001:db8::7 TCP_TUNNEL/200 39742 CONNECT www.example.com:443 mary%20ann HIER_DIRECT/2001:db8::20 -",
        event: "time=2026-11-22T01:23:44.123Z peer=2001:db8::7 method=CONNECT path=www.example.com:443 status=200 bytes=39742 duration_us=20000000 user=mary%20ann",
    },
    // A proxy that is not open.
    Sample {
        format: "",
        line: "1795310624.123      0 198.51.100.11 TCP_DENIED/407 3901 GET http://www.example.com/ - HIER_NONE/- text/html",
        event: "time=2026-11-22T01:23:44.123Z peer=198.51.100.11 method=GET path=http://www.example.com/ status=407 bytes=3901 duration_us=0",
    },
    // TLS spoken to a port that does not; nothing said at all.
    Sample {
        format: "",
        line: "1795310624.123      0 198.51.100.11 NONE/400 3815 NONE error:invalid-request - HIER_NONE/- text/html",
        event: "time=2026-11-22T01:23:44.123Z peer=198.51.100.11 status=400 bytes=3815 duration_us=0 raw=error:invalid-request",
    },
    Sample {
        format: "",
        line: "1795310684.123  60000 198.51.100.11 NONE_NONE/000 0 - error:transaction-end-before-headers - HIER_NONE/- -",
        event: "time=2026-11-22T01:23:44.123Z peer=198.51.100.11 bytes=0 duration_us=60000000 raw=error:transaction-end-before-headers",
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:45 proxy1 (squid-1)[77]: 1795310624.123     20 192.0.2.10 TCP_REFRESH_UNMODIFIED/304 317 GET http://www.example.jp/a - TIMEOUT_HIER_DIRECT/198.51.100.20 -",
        event: "time=2026-11-22T01:23:44.103Z peer=192.0.2.10 method=GET path=http://www.example.jp/a status=304 bytes=317 duration_us=20000",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use crate::Format;

    #[test]
    fn urls_with_spaces() {
        check(
            "squid",
            b"1795310624.123      0 192.0.2.10 TCP_MISS/404 9 GET http://x/1795310624.123 0 203.0.113.9 mary HIER_DIRECT/198.51.100.20 text/html; a b",
            r#"time=2026-11-22T01:23:44.123Z peer=192.0.2.10 method=GET path="http://x/1795310624.123 0 203.0.113.9" status=404 bytes=9 duration_us=0 user=mary"#,
        );
        let spaces =
            format!("1795310624.123 0 192.0.2.10 TCP_MISS/404 9 GET http://x/{}", " ".repeat(60_000));
        let mut format = Format::from_name_or_string("squid", &clock()).unwrap();
        assert!(format.request(spaces.as_bytes()).is_some());
    }

    #[test]
    fn where_names_are_looked_up_nobody_is_named() {
        let line =
            |host: &str| format!("1795310624.123 0 {host} TCP_MISS/404 9 GET http://x/ - HIER_DIRECT/- -");
        let mut format = Format::from_name_or_string("squid", &clock()).unwrap();
        let mut peer = |host: &str| format.request(line(host).as_bytes()).unwrap().peer;
        assert_eq!(peer("-"), None);
        assert_eq!(peer("192.0.2.10"), Some([192, 0, 2, 10].into()));
        assert_eq!(peer("crawler.example.com"), None);
        assert_eq!(peer("203.0.113.9"), None);
    }

    #[test]
    fn lines_that_do_not_fit() {
        let whole = "1795310624.123      0 192.0.2.10 TCP_MISS/404 9 GET http://x/ - HIER_DIRECT/- -";
        for line in [
            "",
            "1795310624.123",
            &whole[..50],
            &whole.replace("TCP_MISS/404", "TCP_MISS 404"),
            &whole.replace("TCP_MISS", "Tcp"),
            &whole.replace(" 9 ", " - "),
            &whole.replace("1795310624.123", "1795310624"),
            "2026/11/22 10:23:44 kid1| Starting Squid Cache version 5.7 for x86_64-pc-linux-gnu...",
        ] {
            check("squid", line.as_bytes(), "none");
        }
    }
}
