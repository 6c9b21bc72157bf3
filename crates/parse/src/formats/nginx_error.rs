//! `nginx-error`: nginx's error log.
//!
//! nginx appends the client's address to its message, and both the message (a path, what a backend said) and what
//! follows (the request, the referrer) may hold a stranger's text as it came, quotes included. So the first such field
//! counts only behind a message of nginx's own words; behind any other it counts if nothing else in the line could be
//! taken for it.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level, Offence};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, address, number, two};
use crate::stamp::{Civil, Dates, time_of_day};

/// Where nginx cuts its lines (`NGX_MAX_ERROR_STR`). A line near to it may have lost its own client field, and then
/// the only one left is one that a stranger wrote.
const LINE_BYTES_MAX: usize = 2048;

/// How near: the longest that nginx adds behind the message before the client's address.
const MARGIN_BYTES: usize = 128;

pub(crate) const UNIT: Unit = Unit {
    id: "nginx-error",
    about: Text::fixed("nginx's error log", "nginx のエラーログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Error)),
};

pub(crate) fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut scan = Scan::new(line);
    let [year @ .., b'/'] = scan.take(5)? else { return None };
    let [month @ .., b'/'] = scan.take(3)? else { return None };
    let [day @ .., b' '] = scan.take(3)? else { return None };
    let (year, month, day) = (number(year)? as i32, two(month)?, two(day)?);
    let (hour, minute, second, micros) = time_of_day(&mut scan)?;
    let time = dates.local(&Civil { year, month, day, hour, minute, second, micros })?;
    scan.literal(b" [")?;
    let level = level(scan.until(b"] ")?)?;
    let pid = Some(u32::try_from(scan.number()?).ok()?);
    scan.literal(b"#")?;
    scan.number()?;
    scan.literal(b": ")?;
    // Only what concerns a connection has its number, and a client.
    let mut peer = None;
    let mut behind = scan;
    if behind.literal(b"*").is_some() && behind.number().is_some() && behind.literal(b" ").is_some() {
        scan = behind;
        if let Some(first) = own_words(scan.rest) {
            peer = first;
        } else if line.len() < LINE_BYTES_MAX - MARGIN_BYTES {
            peer = client(scan.rest);
        }
    }
    let (offence, account) = offence(scan.rest).unzip();
    let code = CODES.iter().find(|(words, _)| scan.rest.starts_with(words.as_bytes())).map(|(_, code)| *code);
    Some(ErrorLine {
        time: Some(time),
        level,
        pid,
        peer,
        code,
        module: None,
        offence,
        account: account.flatten(),
        text: scan.rest,
    })
}

/// How messages that matter start, and the fixed name that this gives them: nginx numbers none.
const CODES: &[(&str, &str)] = &[
    ("limiting requests, ", "limiting-requests"),
    ("limiting connections by zone ", "limiting-connections"),
];

/// How messages start that hold no stranger's text before the client's field.
const OWN_WORDS: &[&str] = &[
    "access forbidden by rule, ",
    "limiting requests, excess: ",
    "limiting connections by zone ",
    "delaying request, excess: ",
    "client sent invalid ",
    "client intended to send too large body: ",
    "client closed ",
    "connect() failed (",
    "recv() failed (",
    "upstream timed out (",
    "upstream prematurely closed connection while ",
    "no live upstreams while ",
    "SSL_do_handshake() failed (",
];

/// The first client field, if the text before it is all nginx's.
fn own_words(text: &[u8]) -> Option<Option<IpAddr>> {
    OWN_WORDS.iter().find(|words| text.starts_with(words.as_bytes()))?;
    let field = &text[memmem::find(text, b", client: ")? + 10..];
    Some(address(&field[..memchr::memchr(b',', field).unwrap_or(field.len())]))
}

/// What the message says that the client did wrong, and as whom.
fn offence(text: &[u8]) -> Option<(Offence, Option<&[u8]>)> {
    if let Some(rest) = text.strip_prefix(b"user \"") {
        let end = [&b"\": password mismatch, client: "[..], b"\" was not found in \""]
            .iter()
            .filter_map(|words| memmem::find(rest, words))
            .min()?;
        return Some((Offence::AuthFailure, Some(&rest[..end]).filter(|name| !name.is_empty())));
    }
    if text.starts_with(b"access forbidden by rule, ") {
        Some((Offence::Probe, None))
    } else if text.starts_with(b"client sent invalid ") {
        Some((Offence::ProtocolError, None))
    } else {
        None
    }
}

/// The address that all `client: ` fields of the text agree on.
fn client(text: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    for at in memmem::find_iter(text, b"client: ") {
        let field = &text[at + 8..];
        let len = field.iter().position(|b| *b == b',').unwrap_or(field.len());
        // nginx's own always holds an address; anything else is not its own.
        let Some(address) = address(&field[..len]) else { continue };
        if found.is_some_and(|known| known != address) {
            return None;
        }
        found = Some(address);
    }
    found
}

fn level(name: &[u8]) -> Option<Level> {
    Some(match name {
        b"emerg" => Level::Emergency,
        b"alert" => Level::Alert,
        b"crit" => Level::Critical,
        b"error" => Level::Error,
        b"warn" => Level::Warning,
        b"notice" => Level::Notice,
        b"info" => Level::Info,
        b"debug" => Level::Debug,
        _ => return None,
    })
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"2026/11/22 10:23:44 [error] 1234#1234: *5678 connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.11, server: example.jp, request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:9000/", host: "www.example.jp""#,
        event: r#"time=2026-11-22T01:23:44Z level=error pid=1234 peer=198.51.100.11 text="connect() failed (111: Connection refused) while connecting to upstream, client: 198.51.100.11, server: example.jp, request: "GET / HTTP/1.1", upstream: "http://127.0.0.1:9000/", host: "www.example.jp"""#,
    },
    Sample {
        format: "",
        line: r#"2026/11/22 10:23:44 [warn] 1234#0: *5678 a client request body is buffered to a temporary file /var/lib/nginx/body/0000000001, client: 2001:db8::7, server: _, request: "POST /upload HTTP/2.0""#,
        event: r#"time=2026-11-22T01:23:44Z level=warning pid=1234 peer=2001:db8::7 text="a client request body is buffered to a temporary file /var/lib/nginx/body/0000000001, client: 2001:db8::7, server: _, request: "POST /upload HTTP/2.0"""#,
    },
    Sample {
        format: "",
        line: "2026/11/22 10:23:44 [alert] 1234#1234: 768 worker_connections are not enough",
        event: r#"time=2026-11-22T01:23:44Z level=alert pid=1234 text="768 worker_connections are not enough""#,
    },
    Sample {
        format: "",
        line: "2026/11/22 10:23:44 [info] 1234#1234: *9 client sent invalid request while reading client request line, client: 192.0.2.10, server: _, request: \"\x16\"",
        event: r#"time=2026-11-22T01:23:44Z level=info pid=1234 peer=192.0.2.10 offence=protocol-error text="client sent invalid request while reading client request line, client: 192.0.2.10, server: _, request: "\u{16}"""#,
    },
    Sample {
        format: "",
        line: r#"2026/11/22 10:23:44 [error] 1234#1234: *9 user "john smith": password mismatch, client: 198.51.100.11, server: example.jp, request: "GET /admin HTTP/1.1", host: "example.jp""#,
        event: r#"time=2026-11-22T01:23:44Z level=error pid=1234 peer=198.51.100.11 offence=auth-failure account="john smith" text="user "john smith": password mismatch, client: 198.51.100.11, server: example.jp, request: "GET /admin HTTP/1.1", host: "example.jp"""#,
    },
    Sample {
        format: "",
        line: "2026/11/22 10:23:44 [emerg] 1#1: bind() to 0.0.0.0:80 failed (98: Address already in use)",
        event: r#"time=2026-11-22T01:23:44Z level=emergency pid=1 text="bind() to 0.0.0.0:80 failed (98: Address already in use)""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use toban_model::event::Event;

    #[test]
    fn a_forged_client_field_names_nobody() {
        let check = |text: &str, expected: Option<[u8; 4]>| {
            let line = format!("2026/11/22 10:23:44 [error] 7#7: *5 {text}");
            let mut format = crate::Format::from_name_or_string("nginx-error", &clock()).unwrap();
            let Some(Event::Error(error)) = format.parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(error.peer, expected.map(Into::into), "{line}");
        };
        let own = "client: 192.0.2.10, server: _";
        check(&format!("open() \"/x\" failed, {own}, request: \"GET /x\""), Some([192, 0, 2, 10]));
        check(&format!("open() \"/x, client: 203.0.113.9, server: _\" failed, {own}"), None);
        check(&format!("x, {own}, referrer: \"a\", client: 203.0.113.9, server: _\""), None);
        check(&format!("x, {own}, host: \"client: someone\""), Some([192, 0, 2, 10]));
        // The line was cut, and what is left of it is a stranger's.
        let long = format!("FastCGI sent in stderr: \"client: 203.0.113.9, {}", "x".repeat(1990));
        check(&long, None);
    }

    #[test]
    fn offences() {
        let check = |text: &str, expected: &str| {
            let line = format!("2026/11/22 10:23:44 [error] 7#7: *5 {text}");
            let mut format = crate::Format::from_name_or_string("nginx-error", &clock()).unwrap();
            let Some(Event::Error(error)) = format.parse(line.as_bytes()) else { panic!("{line}") };
            let account = error.account.map(|account| account.escape_ascii().to_string()).unwrap_or_default();
            let peer = error.peer.map(|peer| peer.to_string()).unwrap_or_default();
            assert_eq!(
                format!(
                    "{} {account} {peer} {}",
                    error.offence.map_or("-", |o| o.id()),
                    error.code.unwrap_or("")
                ),
                expected,
                "{line}"
            );
        };
        let own = "client: 192.0.2.10, server: _, request: \"GET /client: 203.0.113.9, HTTP/1.1\"";
        check(&format!("access forbidden by rule, {own}"), "probe  192.0.2.10 ");
        check(
            &format!("limiting requests, excess: 1.852 by zone \"one\", {own}"),
            "-  192.0.2.10 limiting-requests",
        );
        check(
            &format!("client sent invalid method while reading client request line, {own}"),
            "protocol-error  192.0.2.10 ",
        );
        let own = "client: 2001:db8::7, server: _, request: \"GET / HTTP/1.1\"";
        check(
            &format!("user \"a b\" was not found in \"/etc/nginx/x\", {own}"),
            "auth-failure a b 2001:db8::7 ",
        );
        check(&format!("open() \"/x\" failed (2: No such file or directory), {own}"), "-  2001:db8::7 ");
        // Two readings.
        check(
            &format!(
                "user \"a\": password mismatch, client: 203.0.113.9, server: _, request: \"\": password mismatch, {own}"
            ),
            "auth-failure a  ",
        );
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "2026/11/22",
            "2026/11/22 10:23:44 [error] x",
            "2026/11/22 10:23:44 [loud] 1#1: x",
            "PHP message: y",
        ] {
            check("nginx-error", line.as_bytes(), "none");
        }
    }
}
