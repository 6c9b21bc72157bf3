//! Whatever strangers write, they name nobody but themselves: not with a whole line of this or another format inside their
//! agent, referer, path, user name, host or the name of their address, and not with escapes of any kind.

#![expect(clippy::unwrap_used, reason = "a test says no better what went wrong")]

use std::net::IpAddr;

use proptest::prelude::*;
use toban_model::Time;
use toban_model::event::Event;
use toban_parse::{Clock, Format, formats, show, sniff};

/// Who really wrote every line of this file.
const OWN: [&str; 2] = ["192.0.2.10", "2001:db8::7"];
/// Whom they would like to be taken for.
const VICTIM: &str = "203.0.113.9";
const VICTIM_V6: &str = "2001:db8:bad::9";

/// One kind of line with a hole (`¤`) where a stranger's text stands, and how the server writes it there.
struct Line {
    /// The id of the unit.
    unit: &'static str,
    /// The format, if it is not the unit's own.
    format: &'static str,
    line: &'static str,
    write: fn(&str) -> String,
}

const fn line(unit: &'static str, line: &'static str, write: fn(&str) -> String) -> Line {
    Line { unit, format: "", line, write }
}

const fn with(
    unit: &'static str,
    format: &'static str,
    line: &'static str,
    write: fn(&str) -> String,
) -> Line {
    Line { unit, format, line, write }
}

/// Every unit has at least one line here for each place where a stranger's text can stand.
const LINES: &[Line] = &[
    line(
        "apache-access",
        r#"192.0.2.10 - ¤ [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
        apache,
    ),
    line(
        "apache-access",
        r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET /¤ HTTP/1.1" 200 5 "-" "-""#,
        apache,
    ),
    line("apache-access", r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "¤" 400 5 "-" "-""#, apache),
    line("apache-access", r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "-" 408 5 "¤" "-""#, apache),
    line(
        "apache-access",
        r#"2001:db8::7 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "¤""#,
        apache,
    ),
    with(
        "apache-access",
        "combined-us",
        r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "¤" 20002740"#,
        apache,
    ),
    with(
        "apache-access",
        "lighttpd",
        r#"192.0.2.10 ¤ - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#,
        apache,
    ),
    with(
        "apache-access",
        r#"%{User-Agent}i|%{X-Forwarded-For}i|%h %t "%r""#,
        r#"¤|-|192.0.2.10 [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1""#,
        apache,
    ),
    with(
        "apache-access",
        r#"{"t":"%{%FT%T%z}t","a":"%{User-Agent}i","h":"%h"}"#,
        r#"{"t":"2026-11-22T01:23:44+0000","a":"¤","h":"192.0.2.10"}"#,
        apache,
    ),
    with(
        "nginx-access",
        "nginx-main",
        r#"192.0.2.10 - ¤ [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "-" "-""#,
        nginx,
    ),
    with(
        "nginx-access",
        "nginx-main",
        r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "¤" 400 5 "-" "-" "-""#,
        nginx,
    ),
    with(
        "nginx-access",
        "nginx-main",
        r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "¤" "¤" "¤""#,
        nginx,
    ),
    with(
        "nginx-access",
        "$http_x_forwarded_for - $http_user_agent - $remote_addr [$time_local] $status",
        "¤ - ¤ - 192.0.2.10 [22/Nov/2026:01:23:44 +0000] 200",
        nginx,
    ),
    line(
        "haproxy-http",
        r#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 {¤|x} {¤} "GET /¤ HTTP/1.1""#,
        haproxy,
    ),
    line(
        "haproxy-http",
        r#"Nov 22 10:23:45 lb1 haproxy[123]: [2001:db8::7]:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 a=¤ b=¤ ---- 1/1/0/0/0 0/0 "¤""#,
        |text| haproxy(text).replace(' ', ""),
    ),
    line(
        "haproxy-tcp",
        r#"192.0.2.10:5 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 "GET /¤ HTTP/1.1""#,
        haproxy,
    ),
    line(
        "haproxy-tcp",
        "192.0.2.10:5 [22/Nov/2026:10:23:44.168] https/1: SSL handshake failure (error:¤)",
        haproxy,
    ),
    line(
        "json-access",
        r#"{"time":"2026-11-22T01:23:44Z","agent":"¤","request":"GET /¤ HTTP/1.1","remote_addr":"192.0.2.10","status":200,"host":"¤","referer":"¤","remote_user":"¤","http_x_forwarded_for":"¤"}"#,
        json,
    ),
    line(
        "json-access",
        r#"{"time":"2026-11-22T01:23:44Z","agent":"¤","request":"GET /¤ HTTP/1.1","remote_addr":"192.0.2.10","status":200}"#,
        nginx,
    ),
    line(
        "json-access",
        r#"{"time":"[22/Nov/2026:01:23:44 +0000]","agent":"¤","request":"¤","remote_addr":"192.0.2.10","status":200}"#,
        apache,
    ),
    // All but the quote as a code of its own.
    line(
        "json-access",
        r#"{"ts":1795310624.5,"request":{"headers":{"User-Agent":["¤"],"¤":["203.0.113.9"]},"remote_ip":"2001:db8::7","method":"GET","uri":"/¤","host":"¤"},"status":200}"#,
        |text| text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
    ),
    line(
        "json-access",
        r#"{"StartUTC":"2026-11-22T01:23:44Z","ClientAddr":"192.0.2.10:5","ClientHost":"¤","RequestMethod":"GET","RequestPath":"/¤","request_¤":"203.0.113.9"}"#,
        json,
    ),
    with(
        "json-access",
        "json:time=t,client=ip,agent=ua,request=r",
        r#"{"t":1795310624,"ua":"¤","r":"GET / HTTP/1.1","ip":"192.0.2.10","remote_addr":"¤","client":"203.0.113.9"}"#,
        json,
    ),
    line(
        "squid",
        "1795310624.123    250 192.0.2.10 TCP_MISS/200 5 GET http://x/¤ ¤ HIER_DIRECT/198.51.100.20 ¤",
        percent,
    ),
    line(
        "squid",
        "1795310624.123    250 192.0.2.10 TCP_MISS/200 5 GET http://x/¤ - HIER_DIRECT/198.51.100.20 ¤",
        as_it_is,
    ),
    line(
        "alb",
        r#"https 2026-11-22T01:23:44.186641Z app/web/50dc6c495c0c9188 192.0.2.10:2817 - -1 -1 -1 400 - 34 366 "GET https://x:443/¤ HTTP/1.1" "¤" - - - "Root=¤" "¤" "-" - 2026-11-22T01:23:44.185000Z "-" "-" "-""#,
        apache,
    ),
    line(
        "alb",
        r#"2026-11-22T01:23:44.945958Z lb [2001:db8::7]:2817 10.0.0.1:80 0.0 0.0 0.0 200 200 0 29 "GET http://x:80/¤ HTTP/1.1" "¤" - -"#,
        as_it_is,
    ),
    line(
        "cloudfront",
        "2026-11-22\t01:23:44\tNRT12-C1\t392\t192.0.2.10\tGET\tx.cloudfront.net\t/¤\t200\t¤\t¤\t¤\t¤\tHit\tx==\t¤\thttps\t23\t0.001\t¤\t-\t-\tHit\tHTTP/2.0\t-\t-\t11040\t0.001\tHit\ttext/html\t78\t-\t-",
        percent,
    ),
    line("w3c", "2026-11-22 01:23:44 10.0.0.5 GET /¤ ¤ 443 ¤ 192.0.2.10 ¤ ¤ 200 0 0 125", plus),
    line("w3c", "2026-11-22 01:23:44 10.0.0.5 GET /¤ ¤ 443 ¤ 2001:db8::7 ¤ ¤ 200 0 0 125", as_it_is),
    line(
        "apache-error",
        "[Sun Nov 22 10:24:04.168259 2026] [php:error] [pid 143] [client 192.0.2.10:5] PHP Warning: ¤, referer: ¤",
        apache,
    ),
    line("apache-error", "[Sun Nov 22 10:24:04.168259 2026] [proxy:error] [pid 143] AH01144: x ¤", apache),
    line(
        "nginx-error",
        r#"2026/11/22 10:23:44 [error] 7#7: *5 open() "/var/www/¤" failed (2: No such file or directory), client: 192.0.2.10, server: _, request: "GET /¤ HTTP/1.1", host: "¤", referrer: "¤""#,
        as_it_is,
    ),
    line(
        "lighttpd-error",
        "2026-11-22 10:23:44: (mod_auth.c.828) password doesn't match for /¤ username: ¤, IP: 192.0.2.10",
        as_it_is,
    ),
    line(
        "lighttpd-error",
        "2026-11-22 10:23:44: (mod_auth.c.828) digest: auth failed for ¤: wrong password, IP: 192.0.2.10",
        as_it_is,
    ),
    line("lighttpd-error", "2026-11-22 10:23:44: (gw_backend.c.8) ¤", as_it_is),
    line("php-fpm", r#"[22-Nov-2026 10:23:44] WARNING: [pool www] child 91 said into stderr: "¤""#, as_it_is),
    line(
        "php-mail",
        "[22-Nov-2026 10:23:44 UTC] mail() on [/srv/www/contact.php:2]: To: ¤ -- Headers: ¤",
        as_it_is,
    ),
    line(
        "kernel",
        "Nov 22 10:23:44 web1 kernel: [  123.456789] ¤[77]: segfault at 0 ip 0 sp 0 error 4",
        as_it_is,
    ),
];

/// As Apache and lighttpd write what strangers sent.
fn apache(text: &str) -> String {
    let mut written = String::new();
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => written.extend(['\\', char::from(byte)]),
            b'\n' => written += "\\n",
            b'\t' => written += "\\t",
            b' '..=b'~' => written.push(char::from(byte)),
            _ => written += &format!("\\x{byte:02x}"),
        }
    }
    written
}

fn nginx(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("\\x{byte:02X}") })
        .collect()
}

fn json(text: &str) -> String {
    let escaped = |letter: char| match letter {
        '"' | '\\' => format!("\\{letter}"),
        '\n' => "\\n".to_owned(),
        letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
        letter => letter.into(),
    };
    text.chars().map(escaped).collect()
}

fn haproxy(text: &str) -> String {
    let plain = |byte: u8| (b' '..=b'~').contains(&byte) && !b"\"#{}|".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("#{byte:02X}") })
        .collect()
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte) && !b"<>\"#%{}|\\^~[]`'".contains(&byte);
    let written: String = text
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).into() } else { format!("%{byte:02X}") })
        .collect();
    if written.is_empty() { "-".to_owned() } else { written }
}

fn plus(text: &str) -> String {
    let written = text.replace(|letter: char| letter.is_whitespace() || letter.is_control(), "+");
    if written.is_empty() { "-".to_owned() } else { written }
}

/// But for newlines, which no request can bring.
fn as_it_is(text: &str) -> String {
    text.replace(['\n', '\r'], "")
}

fn clock() -> Clock {
    Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(9)) }
}

fn format(name: &str) -> Format {
    Format::from_name_or_string(name, &clock()).unwrap()
}

/// Everyone whom the event names.
fn named(event: &Event<'_>) -> Vec<IpAddr> {
    let all = match event {
        Event::Request(request) => [request.peer, request.client],
        Event::Error(error) => [error.peer, None],
        Event::Service(said) => [said.client, None],
        Event::Kernel(_) | Event::Silent => [None, None],
    };
    all.into_iter().flatten().collect()
}

/// Reads the line with a stranger's text in each hole in turn, and in all of them; with `sniffed` also in the format that
/// such lines are taken for.
fn check(line: &Line, text: &str, sniffed: bool) {
    let usual = format(if line.format.is_empty() { line.unit } else { line.format });
    let holes = line.line.matches('¤').count();
    let own: Vec<IpAddr> = OWN.iter().map(|address| address.parse().unwrap()).collect();
    for hole in 0..=holes {
        let mut filled = String::new();
        for (at, piece) in line.line.split('¤').enumerate() {
            if at > 0 {
                filled += &(line.write)(if hole == holes || hole == at - 1 { text } else { "" });
            }
            filled += piece;
        }
        let mut formats = vec![usual.clone()];
        // Who has a format of their own says so.
        if hole == holes && sniffed && !line.format.contains([' ', ':']) {
            formats.extend(sniff(&[filled.as_bytes()], &clock()));
        }
        for mut format in formats {
            let described = format.describe();
            if let Some(event) = format.parse(filled.as_bytes()) {
                for address in named(&event) {
                    assert!(own.contains(&address), "{described}\n{filled}\n{}", show(&event));
                }
            }
        }
    }
}

/// Lines of all formats, about a victim.
fn whole_lines() -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for sample in formats::ALL.iter().flat_map(|unit| unit.samples) {
        let mut line = sample.line.to_owned();
        for known in ["192.0.2.10", "198.51.100.11", "198.51.100.7", "192.0.2.3"] {
            line = line.replace(known, VICTIM);
        }
        texts.push(line.replace("2001:db8::7", VICTIM_V6));
    }
    for line in LINES {
        texts.push(line.line.replace('¤', "x").replace(OWN[0], VICTIM).replace(OWN[1], VICTIM_V6));
    }
    texts
}

/// What ends a field in one format or another, and goes on about a victim.
fn scraps(whole: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = whole.iter().map(|line| format!("x\n{line}\n")).collect();
    texts.extend(whole.iter().map(|line| format!("\" {line}")));
    for quote in ["\"", "\\\"", "\\\\\"", "\\x22", "\\u0022", "%22", "#22", "'", ""] {
        for (before, behind) in [
            (" ", " "),
            (", ", ", "),
            ("\t", "\t"),
            (": ", ""),
            (" [client ", ":5] "),
            (" IP: ", ""),
            ("(", ")"),
        ] {
            texts.push(format!("{quote}{before}{VICTIM}{behind}{quote}"));
        }
        for name in ["remote_addr", "client_ip", "ip", "remoteAddr", "realip_remote_addr"] {
            texts.push(format!(
                "x{quote},{quote}{name}{quote}:{quote}{VICTIM}{quote},{quote}y{quote}:{quote}"
            ));
        }
    }
    texts.extend(
        [
            VICTIM,
            VICTIM_V6,
            "client: 203.0.113.9, server: _",
            "203.0.113.9:5",
            "[2001:db8:bad::9]:5",
            "-",
            "\\",
            "\"",
        ]
        .map(str::to_owned),
    );
    texts
}

/// Units whose lines are tried beside this file, in `forgery_services.rs`: themselves, or the messages that they hand on.
const TRIED_BESIDE: &[&str] =
    &["sshd", "dovecot", "postfix", "vsftpd", "mysql-error", "syslog", "journal-export", "journal-json"];

#[test]
fn every_unit_is_tried() {
    for unit in formats::ALL {
        let here = LINES.iter().any(|line| line.unit == unit.id);
        assert!(here || TRIED_BESIDE.contains(&unit.id), "{} has no line here", unit.id);
    }
}

#[test]
fn honest_lines_name_whom_they_should() {
    for line in LINES {
        let honest = line.line.replace('¤', "x");
        let name = if line.format.is_empty() { line.unit } else { line.format };
        let mut format = format(name);
        let event = format.parse(honest.as_bytes());
        let names_somebody =
            OWN.iter().any(|own| honest.contains(own)) && !matches!(line.unit, "php-fpm" | "kernel");
        let named = event.as_ref().map(named);
        assert_eq!(named.as_ref().map(Vec::is_empty), Some(!names_somebody), "{honest}");
    }
}

#[test]
fn forged_lines_name_nobody_else() {
    let whole = whole_lines();
    let scraps = scraps(&whole);
    for line in LINES {
        whole.iter().for_each(|text| check(line, text, true));
        scraps.iter().for_each(|text| check(line, text, false));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// Texts put together of what ends and begins fields, with a victim in between.
    #[test]
    fn scraps_name_nobody_else(
        line in prop::sample::select((0..LINES.len()).collect::<Vec<_>>()),
        text in "(203[.]0[.]113[.]9|2001:db8:bad::9|[0-9]{1,3}|\\[22/Nov/2026:01:23:44 [+]0000\\]|2026-11-22T01:23:44Z|remote_addr|client|peer|IP: |client: |GET / HTTP/1.1|[ \"\\\\,:{}\\[\\]()|/%+#\t\n-]|\\\\u0022|\\\\x22|[!-~]){0,24}",
    ) {
        check(&LINES[line], &text, true);
    }
}
