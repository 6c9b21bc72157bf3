//! What is read from JSON lines, and whom they cannot name.

use crate::formats::tests::{check, clock};
use crate::{Format, show};

const TIME: &str = r#""time":"2026-11-22T01:23:44Z""#;

/// Reads the lines one after the other in one format; compares whom the last one names.
fn named(format: &str, lines: &[&str], expected: &str) {
    let mut format = Format::from_name_or_string(format, &clock()).unwrap();
    let mut last = String::new();
    for line in lines {
        let line = format!(r#"{{{TIME},"request":"GET / HTTP/1.1",{line}}}"#);
        last = format.parse(line.as_bytes()).map_or("none".to_owned(), |event| show(&event));
    }
    let who = last.split(" method").next().and_then(|head| head.split_once("44Z")).map(|(_, who)| who.trim());
    assert_eq!(who, Some(expected), "{lines:?}");
}

#[test]
fn whose_address() {
    let check = |line: &str, expected: &str| named("json-access", &[line], expected);
    check(r#""remote_addr":"192.0.2.10""#, "peer=192.0.2.10");
    check(r#""remoteAddress":"[2001:db8::7]:443""#, "peer=2001:db8::7");
    check(r#""client_ip":"192.0.2.10","status":200"#, "peer=192.0.2.10");
    check(
        r#""realip_remote_addr":"192.0.2.3","remote_addr":"198.51.100.7""#,
        "peer=192.0.2.3 client=198.51.100.7",
    );
    // A name that people give to a header: the server's own counts, and a list gives the header away.
    check(r#""client_ip":"203.0.113.9","remote_addr":"192.0.2.10""#, "peer=192.0.2.10");
    check(r#""client_ip":"203.0.113.9, 192.0.2.10""#, "");
    named("json-access", &[r#""client_ip":"203.0.113.9, 192.0.2.10""#, r#""client_ip":"203.0.113.9""#], "");
    check(r#""client":"192.0.2.10","ip":"203.0.113.9""#, "");
    check(r#""remote_addr":"unix:","client_ip":"203.0.113.9""#, "");
    check(r#""x_real_ip":"203.0.113.9","http_x_forwarded_for":"203.0.113.9""#, "forwarded=203.0.113.9");
    // Traefik's: the header only where there is nothing else.
    check(r#""ClientAddr":"192.0.2.10:5","ClientHost":"192.0.2.10""#, "peer=192.0.2.10");
    check(
        r#""ClientAddr":"192.0.2.10:5","ClientHost":"203.0.113.9, 192.0.2.3""#,
        r#"peer=192.0.2.10 forwarded="203.0.113.9, 192.0.2.3""#,
    );
    check(r#""ClientHost":"192.0.2.10""#, "peer=192.0.2.10");
    check(r#""ClientAddr":"unix:","ClientHost":"unknown""#, "forwarded=unknown");
    // Where the server looks names up, an address may be one of those names.
    named("json-access", &[r#""remote_host":"crawler.example.com""#, r#""remote_host":"203.0.113.9""#], "");
}

#[test]
fn a_field_that_a_stranger_added_names_nobody() {
    let usual = r#""remote_addr":"192.0.2.10","agent":"x""#;
    for forged in [
        r#""remote_addr":"192.0.2.10","agent":"","remote_addr":"203.0.113.9","y":"x""#,
        r#""agent":"","remote_addr":"203.0.113.9","y":"x","remote_addr":"192.0.2.10""#,
        r#""remote_addr":"192.0.2.10","agent":"","remoteAddr":"203.0.113.9","y":"x""#,
        r#""remote_addr":"192.0.2.10","agent":"","realip_remote_addr":"203.0.113.9","y":"x""#,
        r#""remote_addr":"192.0.2.10","agent":"","request":{"remote_ip":"203.0.113.9"},"y":"x""#,
        r#""remote_addr":"192.0.2.10","agent":"","ip":"203.0.113.9","y":"x""#,
    ] {
        named("json-access", &[usual, forged], "");
        named("json-access", &[usual, forged, usual], "peer=192.0.2.10");
    }
    named(
        "json-access",
        &[usual, r#""remote_addr":"192.0.2.10","agent":"","ip":"192.0.2.10""#],
        "peer=192.0.2.10",
    );
    let usual = r#""ip":"192.0.2.10","agent":"x""#;
    let forged = r#""ip":"192.0.2.10","agent":"","remote_addr":"203.0.113.9""#;
    named("json-access", &[usual, forged], "");
    named("json:client=ip", &[usual, forged], "peer=192.0.2.10");
    let many: Vec<String> = (0..20).map(|_| r#""remote_addr":"203.0.113.9""#.to_owned()).collect();
    named("json-access", &[&many.join(",")], "");
}

#[test]
fn a_header_is_no_field() {
    for header in [
        r#""headers":{"remote_ip":["203.0.113.9"],"Remote_ip":["203.0.113.9"],"client_ip":["203.0.113.9"]}"#,
        r#""headers":{"X-Forwarded-For":["203.0.113.9"]}"#,
        r#""headers":{".remote_ip":["203.0.113.9"]},"tls":{"remote_ip":"203.0.113.9"}"#,
    ] {
        let line = format!(
            r#"{{"ts":1795310624.5,"logger":"http.log.access","request":{{{header},"remote_ip":"192.0.2.10","method":"GET","uri":"/"}},"status":200}}"#
        );
        let mut format = Format::from_name_or_string("json-access", &clock()).unwrap();
        // Twice, the second time by what is remembered.
        for _ in 0..2 {
            let request = format.request(line.as_bytes()).unwrap();
            assert_eq!(request.peer, Some([192, 0, 2, 10].into()), "{line}");
            assert_eq!(request.client, request.peer);
        }
    }
    let traefik = r#""ClientAddr":"192.0.2.10:1","request_Remote-Ip":"203.0.113.9","request_.remote_ip":"203.0.113.9","downstream_Remote-Address":"203.0.113.9""#;
    named("json-access", &[traefik], "peer=192.0.2.10");
}

#[test]
fn quotes_stay_inside() {
    for text in [
        r#"\",\"remote_addr\":\"203.0.113.9\",\"x\":\""#,
        r#"\\\",\"remote_addr\":\"203.0.113.9"#,
        r#"\u0022,\u0022remote_addr\u0022:\u0022203.0.113.9"#,
        r#"\x22,\x22remote_addr\x22:\x22203.0.113.9"#,
        r#"\\"#,
        r#"{\"remote_addr\":\"203.0.113.9\"}\n{\"remote_addr\":\"203.0.113.9\"}"#,
    ] {
        let line =
            format!(r#""agent":"{text}","remote_addr":"192.0.2.10","referer":"{text}","path":"/{text}""#);
        named("json-access", &[&line], "peer=192.0.2.10");
    }
}

#[test]
fn times() {
    let check = |time: &str, expected: &str| {
        let line = format!(r#"{{"t":{time},"request":"GET / HTTP/1.1"}}"#);
        let expected = match expected {
            "none" => "none".to_owned(),
            expected => format!("time={expected} method=GET path=/ protocol=HTTP/1.1"),
        };
        check("json-access", line.as_bytes(), &expected);
    };
    check("1795310624", "2026-11-22T01:23:44Z");
    check(r#""1795310624.123""#, "2026-11-22T01:23:44.123Z");
    check("1795310624123", "2026-11-22T01:23:44.123Z");
    check("1795310624123456", "2026-11-22T01:23:44.123456Z");
    check("1795310624123456789", "2026-11-22T01:23:44.123456Z");
    check(r#""22/Nov/2026:10:23:44 +0900""#, "2026-11-22T01:23:44Z");
    check(r#""2026-11-22T10:23:44.123456789+09:00""#, "2026-11-22T01:23:44.123456Z");
    // Without an offset it is the host's own.
    check(r#""2026-11-22 10:23:44""#, "2026-11-22T01:23:44Z");
    check("17953106241", "none");
    check(r#""""#, "none");
    check("null", "none");
}

#[test]
fn durations() {
    let check = |field: &str, expected: Option<u64>| {
        let line = format!(r#"{{{TIME},"method":"GET","path":"/","status":200,{field}}}"#);
        let mut format = Format::from_name_or_string("json-access", &clock()).unwrap();
        assert_eq!(format.request(line.as_bytes()).unwrap().duration_us, expected, "{field}");
    };
    check(r#""request_time":"0.243""#, Some(243_000));
    check(r#""duration_ms":12.5"#, Some(12_500));
    check(r#""time_taken_us":1500"#, Some(1500));
    check(r#""Duration":1532671"#, Some(1532));
    check(r#""duration":15"#, Some(15_000));
    check(r#""duration":0.015"#, Some(15_000));
    check(r#""latency":"1.5ms""#, Some(1500));
    check(r#""latency":"12.5µs""#, Some(12));
    check(r#""latency":"1m2.5s""#, Some(62_500_000));
    check(r#""latency":"-""#, None);
    check(r#""latency":-1"#, None);
    check(r#""latency":"soon""#, None);
}

#[test]
fn behind_a_syslog_head() {
    let event = "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1";
    let json = format!(r#"{{{TIME},"remote_addr":"192.0.2.10","request":"GET / HTTP/1.1"}}"#);
    check("json-access", format!("Nov 22 10:23:45 web1 nginx: {json}").as_bytes(), event);
    check("json-access", format!("2026-11-22T10:23:45+09:00 web1 nginx[7]: @cee: {json}").as_bytes(), event);
}

#[test]
fn lines_that_do_not_fit() {
    let whole = r#"{"time":"2026-11-22T01:23:44Z","remote_addr":"192.0.2.10","request":"GET / HTTP/1.1"}"#;
    for end in 0..whole.len() {
        check("json-access", &whole.as_bytes()[..end], "none");
    }
    for line in [
        r#"{"time":"2026-11-22T01:23:44Z","level":"info","msg":"started"}"#,
        r#"{"time":"2026-11-22T01:23:44Z","status":200}"#,
        r#"{"time":"2026-11-22T01:23:44Z","status":"ok","path":"/var/www"}"#,
        r#"{"remote_addr":"192.0.2.10","request":"GET / HTTP/1.1"}"#,
        r#"{"time":"2026-11-22T01:23:44Z","request":"GET / HTTP/1.1"},"#,
        r#"[{"time":"2026-11-22T01:23:44Z","request":"GET / HTTP/1.1"}]"#,
        "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"",
    ] {
        check("json-access", line.as_bytes(), "none");
    }
    check(
        "json-access",
        br#"{"level":"error","ts":1795310624.5,"logger":"http.log.error.log0","msg":"dial","request":{"remote_ip":"192.0.2.10","method":"GET","uri":"/"},"status":502}"#,
        "silent",
    );
}

#[test]
fn wrong_mappings_say_what_would_be_right() {
    let check = |mapping: &str, expected: &str| {
        let error = Format::from_name_or_string(mapping, &clock()).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    };
    check(
        "json:colour=x",
        r#"behind json: stands "colour=x"; FIELD=NAME with one of time, end, peer, client, "#,
    );
    check(
        "json:time=a,client",
        r#"behind json: stands "client"; client=NAME with the name that the log has for it would be right"#,
    );
    check("json:time=a,time=b", r#"behind json: stands "time=b"; each field once would be right"#);
    check("json:", r#"behind json: stands ""; FIELD=NAME with"#);
    let format = Format::from_name_or_string("json:time=ts", &clock()).unwrap();
    assert_eq!(format.describe(), "json-access (json:time=ts)");
}
