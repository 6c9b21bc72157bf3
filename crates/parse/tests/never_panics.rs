//! Whatever is fed, lines and format strings alike, nothing panics, and nobody is named who was not in the line.

#![expect(clippy::unwrap_used, reason = "a test says no better what went wrong")]

use proptest::prelude::*;
use toban_model::Time;
use toban_model::event::Event;
use toban_parse::{Clock, Format, formats, show, sniff};

fn clock() -> Clock {
    let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
    Clock { now: Time::from_secs(1_795_312_800), zone }
}

fn all() -> Vec<Format> {
    let mut formats: Vec<Format> = Vec::new();
    for unit in formats::ALL {
        formats.push(Format::from_name_or_string(unit.id, &clock()).unwrap());
        for (name, _) in unit.nicknames {
            formats.push(Format::from_name_or_string(name, &clock()).unwrap());
        }
    }
    for string in [
        r#"%{X-Forwarded-For}i %V %h:%{remote}p %l %u %{%Y-%m-%dT%T}t.%{msec_frac}t%{%z}t %r %U%q %>s %D"#,
        r#"%{end:usec}t %a %{c}a "%r" '%{User-Agent}i' %{ms}T"#,
        r#"$msec $http_x_forwarded_for $remote_addr "$request" $request_time $time_iso8601"#,
        r#"log_format x escape=none '"$http_user_agent" $remote_addr $time_local';"#,
    ] {
        formats.push(Format::from_name_or_string(string, &clock()).unwrap());
    }
    formats
}

fn read_all(line: &[u8]) {
    for mut format in all() {
        if let Some(event) = format.parse(line) {
            let _ = show(&event);
        }
    }
}

/// A sample, damaged: cut, doubled, with bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&'static str> =
        formats::ALL.iter().flat_map(|unit| unit.samples).map(|sample| sample.line).collect();
    let splice = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4), 0..3usize);
    let splices = prop::collection::vec(splice, 0..6);
    (prop::sample::select(lines), splices, any::<prop::sample::Index>(), any::<bool>()).prop_map(
        |(line, splices, cut, whole)| {
            let mut line = line.as_bytes().to_vec();
            for (at, bytes, removed) in splices {
                let at = at.index(line.len() + 1);
                let end = (at + removed).min(line.len());
                line.splice(at..end, bytes);
            }
            if !whole && !line.is_empty() {
                line.truncate(cut.index(line.len()));
            }
            line
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(line in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&line);
    }

    #[test]
    fn damaged_lines(line in damaged()) {
        read_all(&line);
        let _ = sniff(&[&line], &clock());
    }

    #[test]
    fn any_string_is_a_format_or_an_error(string in "[%${}<>!^a-zA-Z0-9 \\\\\"'\\[\\]:,._\u{e9}-]{0,60}", line in damaged()) {
        for string in [string.clone(), format!("%t {string}"), format!("$time_local {string}"), format!("log_format x {string}")] {
            match Format::from_name_or_string(&string, &clock()) {
                Ok(mut format) => { format.parse(&line); }
                Err(error) => prop_assert!(!error.to_string().is_empty()),
            }
        }
    }

    #[test]
    fn any_clock_will_do(now in any::<i64>(), line in damaged()) {
        let clock = Clock { now: Time::from_micros(now), zone: clock().zone };
        for unit in formats::ALL {
            Format::from_name_or_string(unit.id, &clock).unwrap().parse(&line);
        }
    }

    /// What a stranger writes, with the escapes that Apache adds, never becomes an address.
    #[test]
    fn text_never_becomes_an_address(text in "[ -~]{0,80}", place in 0..4usize) {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
        let mut fields = ["-", "GET / HTTP/1.1", "-", "-"];
        fields[place] = &escaped;
        let [user, request, referer, agent] = fields;
        let line = format!(
            r#"192.0.2.10 - {user} [22/Nov/2026:01:23:44 +0000] "{request}" 404 9 "{referer}" "{agent}""#
        );
        let mut format = Format::from_name_or_string("combined", &clock()).unwrap();
        let event = format.parse(line.as_bytes());
        match event {
            Some(Event::Request(request)) => {
                prop_assert_eq!(request.peer, Some([192, 0, 2, 10].into()));
                prop_assert_eq!(request.client, request.peer);
                prop_assert_eq!(request.status, Some(404));
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Where the format leaves it open where a stranger's text ends, the address is the right one or none.
    #[test]
    fn text_without_quotes_never_becomes_an_address(
        forwarded in "([0-9.,: -]|203[.]0[.]113[.]9| - |[ -~]){0,30}",
        user in "([0-9. -]|203[.]0[.]113[.]9 - |\\[22/Nov/2026:01:23:44 [+]0000\\] ){0,12}",
    ) {
        let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let (forwarded, user) = (escape(&forwarded), escape(&user));
        let line = format!(
            r#"{forwarded} 192.0.2.10 - {user} [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 404 9"#
        );
        let string = r#"%{X-Forwarded-For}i %a %l %u %t "%r" %>s %b"#;
        let mut format = Format::from_name_or_string(string, &clock()).unwrap();
        let request = format.request(line.as_bytes());
        let peer = request.and_then(|request| request.peer);
        prop_assert!(peer.is_none() || peer == Some([192, 0, 2, 10].into()), "{:?}\n{}", peer, line);
    }
}

#[test]
fn long_lines() {
    for byte in [b' ', b'"', b'\\', b'[', b':', b',', b'a', 0, 0xff] {
        read_all(&vec![byte; 65_536]);
        let mut line = br#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] ""#.to_vec();
        line.resize(65_536, byte);
        read_all(&line);
        line.extend(br#"" 200 5 "-" "-""#);
        read_all(&line);
    }
}

/// Each field of uncertain end is a level deeper, on a thread's small stack too.
#[test]
fn deep_formats() {
    let string = format!("%t {}%h", "%{x}n ".repeat(2000));
    let mut format = Format::from_name_or_string(&string, &clock()).unwrap();
    let line = format!("[22/Nov/2026:01:23:44 +0000] {}192.0.2.10", "- ".repeat(2000));
    format.parse(line.as_bytes());
    let mut format =
        Format::from_name_or_string(&"%u ".repeat(1000).replacen("%u", "%t", 1), &clock()).unwrap();
    format.parse(format!("[22/Nov/2026:01:23:44 +0000] {}", "a ".repeat(999)).as_bytes());
}
