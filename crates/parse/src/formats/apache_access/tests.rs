//! What is read by LogFormat strings, and whom such lines cannot name.

use super::*;
use crate::formats::tests::{check, clock};
use crate::{show, sniff};

const COMBINED: &str = "combined";

#[test]
fn requests_that_are_none() {
    let check = |request: &str, expected: &str| {
        let line = format!(r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "{request}" 400 - "-" "-""#);
        check(COMBINED, line.as_bytes(), &format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {expected}"));
    };
    check("", "status=400");
    check("GET", "method=GET status=400");
    check("GET /", "method=GET path=/ status=400");
    check("GET /a b c HTTP/1.1", r#"method=GET path="/a b c" protocol=HTTP/1.1 status=400"#);
    check(r#"GET /\"quoted\" HTTP/1.1"#, r#"method=GET path="/\"quoted\"" protocol=HTTP/1.1 status=400"#);
    check(r"GET /\\", r"method=GET path=/\\ status=400");
    check(
        "GET http://www.example.com/a?b HTTP/1.1",
        "method=GET path=http://www.example.com/a protocol=HTTP/1.1 status=400",
    );
    check(r"\x03 HTTP/1.1", r#"status=400 raw="\x03 HTTP/1.1""#);
    check("OPTIONS * HTTP/1.0", "method=OPTIONS path=* protocol=HTTP/1.0 status=400");
}

#[test]
fn users_with_spaces() {
    let check = |user: &str, expected: &str| {
        let line =
            format!(r#"192.0.2.10 - {user} [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 401 9 "-" "-""#);
        let rest = "method=GET path=/ protocol=HTTP/1.1 status=401 bytes=9";
        check(
            COMBINED,
            line.as_bytes(),
            &format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {rest}{expected}"),
        );
    };
    check("-", "");
    check(r#""""#, r#" user="""""#);
    check("mary ann", r#" user="mary ann""#);
    // A user name that looks like the rest of a line does not end the user's field.
    check("x [01/Jan/2020:00:00:00 +0000]", r#" user="x [01/Jan/2020:00:00:00 +0000]""#);
    check(
        r#"x [01/Jan/2020:00:00:00 +0000] \"GET /forged HTTP/1.1\" 200"#,
        r#" user="x [01/Jan/2020:00:00:00 +0000] \"GET /forged HTTP/1.1\" 200""#,
    );
}

#[test]
fn a_forged_line_inside_a_field_names_nobody_else() {
    let forged = r#"203.0.113.9 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 1 \"-\" \"-\""#;
    let formats = [
        (
            "combined",
            format!(r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET /{forged} HTTP/1.1" 404 1 "-" "-""#),
        ),
        (
            "combined",
            format!(
                r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 404 1 "{forged}" "{forged}""#
            ),
        ),
        (
            "combined",
            format!(r#"192.0.2.10 - {forged} [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 404 1 "-" "-""#),
        ),
        (
            r#""%{User-Agent}i" "%{X-Forwarded-For}i" %h %t "%r""#,
            format!(r#""{forged}" "203.0.113.9" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1""#),
        ),
    ];
    for (string, line) in formats {
        let mut format = Format::from_name_or_string(string, &clock()).unwrap();
        let request = format.request(line.as_bytes()).unwrap();
        assert_eq!(request.peer, Some([192, 0, 2, 10].into()), "{string}\n{line}");
        assert_eq!(request.client, request.peer);
    }
}

#[test]
fn text_without_quotes_before_the_address_names_nobody_if_it_can_be_read_twice() {
    let format = r#"%{X-Forwarded-For}i %h %l %u %t "%r" %>s"#;
    let rest = r#"[22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200"#;
    let known = "method=GET path=/ protocol=HTTP/1.1 status=200";
    check(
        format,
        format!("- 192.0.2.10 - - {rest}").as_bytes(),
        &format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {known}"),
    );
    check(
        format,
        format!("198.51.100.9 192.0.2.10 - - {rest}").as_bytes(),
        &format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 forwarded=198.51.100.9 {known}"),
    );
    check(
        format,
        format!("x 203.0.113.9 - - 192.0.2.10 - - {rest}").as_bytes(),
        &format!("time=2026-11-22T01:23:44Z forwarded=x {known} user=\"- 192.0.2.10 - -\""),
    );
    // More readings than anyone would try.
    let mut many = Format::from_name_or_string(format, &clock()).unwrap();
    let line = format!("{}192.0.2.10 - - {rest}", "a ".repeat(20_000));
    assert_eq!(many.request(line.as_bytes()).and_then(|request| request.peer), None);
    assert!(!many.has_names());
}

#[test]
fn formats_that_people_write() {
    let stamp = "[22/Nov/2026:01:23:44 +0000]";
    // The lab's own, as in a configuration file and with mod_remoteip.
    check(
        r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D %{X-Forwarded-For}i - any"#,
        format!(
            r#"192.0.2.10 - - {stamp} "GET / HTTP/1.1" 200 7 "-" "-" 1500 198.51.100.7, 192.0.2.99 - any"#
        )
        .as_bytes(),
        r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 forwarded="198.51.100.7, 192.0.2.99" method=GET path=/ protocol=HTTP/1.1 status=200 bytes=7 duration_us=1500"#,
    );
    check(
        r#"%a %{c}a %t "%r" %s %>s %{ms}T %T"#,
        format!(r#"198.51.100.7 192.0.2.10 {stamp} "GET / HTTP/1.1" 301 200 1500 1"#).as_bytes(),
        "time=2026-11-22T01:23:44Z peer=192.0.2.10 client=198.51.100.7 method=GET path=/ protocol=HTTP/1.1 status=200 duration_us=1500000",
    );
    check(
        r#"%{%Y-%m-%dT%T}t.%{usec_frac}t%{%z}t %h:%{remote}p "%m %U%q %H" %400,501{User-agent}i|%!200{Referer}i|"#,
        br#"2026-11-22T10:23:44.123456+0900 2001:db8::7:49152 "GET /a?b=c HTTP/2.0" -|-|"#,
        "time=2026-11-22T01:23:44.123456Z peer=2001:db8::7 method=GET path=/a protocol=HTTP/2.0",
    );
    // Without an offset the time is the host's own.
    check(
        "%{%d.%m.%Y %H:%M:%S}t %h %r %s",
        b"22.11.2026 10:23:44 192.0.2.10 GET /a 200 5 HTTP/1.1 404",
        r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path="/a 200 5" protocol=HTTP/1.1 status=404"#,
    );
    check(
        r#"{"at":%{usec}t,"client":"%a","line":"%r","agent":"%{User-Agent}i","us":%D}"#,
        br#"{"at":1795310624000001,"client":"192.0.2.10","line":"GET / HTTP/1.1","agent":"a \"b\", c","us":15}"#,
        r#"time=2026-11-22T01:23:44.000001Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1 duration_us=15 agent="a \"b\", c""#,
    );
    // When it ended and how long it took say when it came.
    check(
        "%h\\t%{end:msec}t\\t%D\\t%%",
        b"192.0.2.10\t1795310644000\t20000000\t%",
        "time=2026-11-22T01:23:44Z peer=192.0.2.10 duration_us=20000000",
    );
    check(
        r#"LogFormat "%h %t \"%r\" %X %{SSL_PROTOCOL}x %I" mine"#,
        format!(r#"192.0.2.10 {stamp} "GET / HTTP/1.1" + TLSv1.3 312"#).as_bytes(),
        "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1",
    );
}

#[test]
fn with_remoteip_the_client_is_no_peer() {
    let mut format = Format::apache(r#"%h %t "%r""#, true, &clock()).unwrap();
    let event = format.parse(br#"198.51.100.7 [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1""#).unwrap();
    assert_eq!(
        show(&event),
        "time=2026-11-22T01:23:44Z client=198.51.100.7 method=GET path=/ protocol=HTTP/1.1"
    );
}

#[test]
fn where_names_are_looked_up_nobody_is_named() {
    let line = |host: &str| format!(r#"{host} - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5"#);
    let mut format = Format::from_name_or_string("common", &clock()).unwrap();
    let mut peer = |host: &str| format.request(line(host).as_bytes()).unwrap().peer;
    assert_eq!(peer("192.0.2.10"), Some([192, 0, 2, 10].into()));
    assert_eq!(peer("crawler.example.com"), None);
    // This may be the name that somebody gave to their own address.
    assert_eq!(peer("192.0.2.10"), None);
    assert!(format.has_names());
}

#[test]
fn lines_that_do_not_fit() {
    for line in [
        "",
        "-",
        "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200",
        "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"cut o",
        "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" more",
        "192.0.2.10 - - [32/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\"",
        "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" ok 5 \"-\" \"-\"",
    ] {
        check(COMBINED, line.as_bytes(), "none");
    }
    check(
        COMBINED,
        b"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET /\xff\x00 HTTP/1.1\" 200 5 \"-\" \"-\"\r\n",
        "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=\"/\\xff\\u{0}\" protocol=HTTP/1.1 status=200 bytes=5",
    );
}

#[test]
fn sniffed() {
    let check = |lines: &[&str], expected: &str| {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(sniff(&lines, &clock()).map_or("none".into(), |f| f.describe()), expected);
    };
    let combined = r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#;
    check(&["", "no log", "at all"], "none");
    check(&[combined, "no log"], "apache-access (combined)");
    check(&[&format!("{combined} 20002740")], "apache-access (combined-us)");
    check(&[&format!("www.example.jp:80 {combined}")], "apache-access (vhost_combined)");
    check(
        &[r#"www.example.jp 192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5"#],
        "apache-access (vhost_common)",
    );
    check(
        &[
            &format!("{combined} 2002740 \"-\" - any"),
            &format!("{combined} 15 \"198.51.100.7, 192.0.2.3\" - any"),
        ],
        r#"apache-access (%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D "%{X-Forwarded-For}i" %{word}n %{word}n)"#,
    );
    check(
        &[&format!("{combined} 2002740 - - any"), &format!("{combined} 15 198.51.100.7, 192.0.2.3 - any")],
        r#"apache-access (%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D %{rest}n)"#,
    );
    check(&[&format!("{combined} 312 400"), &format!("{combined} 97 210")], "apache-access (combinedio)");
    check(
        &[&format!("{combined} 20002740 3"), &format!("{combined} 97 0")],
        r#"apache-access (%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D %{number}n)"#,
    );
    check(&[&format!("{combined} 0"), &format!("{combined} 2")], "apache-access (combined-s)");
    check(
        &[r#"192.0.2.10 www.example.jp - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 200 5 "-" "-""#],
        "apache-access (lighttpd)",
    );
    check(
        &[&format!(r#"{combined} 91241 "web@docker" "http://172.18.0.3:80" 12ms"#)],
        "apache-access (traefik)",
    );
}

#[test]
fn wrong_formats_say_what_would_be_right() {
    let check = |string: &str, expected: &str| {
        assert_eq!(Format::from_name_or_string(string, &clock()).unwrap_err().to_string(), expected);
    };
    check(
        "%h %t %{Referer",
        r#"at byte 6 of the format, "%{Referer" is no complete directive; %{…} with its closing brace, such as %{Referer}i would be right"#,
    );
    check(
        "%h %t %",
        r#"at byte 6 of the format, "%" is no complete directive; a letter such as %h, or %% for a percent sign would be right"#,
    );
    check(
        "%h %t %{%Q}t",
        r#"at byte 6 of the format, "%{%Q}t" is no complete directive; a strftime format such as %{%Y-%m-%dT%H:%M:%S%z}t would be right"#,
    );
    check("%h %l %u", "the format has no time of the request; %t would be right");
    check(
        "%t %h%u",
        r#"at byte 5 of the format, "%u" follows "%h" with nothing between, and where one ends nobody can tell; a space or a quote between them would be right"#,
    );
    for adjacent in ["%t %b%>s", "%t %D%b", "%{sec}t%b %h", "%t %p%p", "%t %h%X", "%t %m%U"] {
        let error = Format::from_name_or_string(adjacent, &clock()).unwrap_err();
        assert!(matches!(error, Error::Adjacent { .. }), "{adjacent}: {error}");
    }
    assert!(
        Format::from_name_or_string("combind", &clock())
            .unwrap_err()
            .to_string()
            .contains("did you mean combined?")
    );
    assert!(matches!(
        Format::from_name_or_string(&"%h".repeat(100_000), &clock()),
        Err(Error::TooLong { len: 200_000 })
    ));
}

#[test]
fn fields_with_nothing_between_that_end_by_themselves() {
    let check = |rest: &str, expected: &str| {
        let line = format!("192.0.2.10 [22/Nov/2026:01:23:44 +0000] {rest}");
        let expected = match expected {
            "none" => expected.to_owned(),
            expected => format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {expected}").trim_end().to_owned(),
        };
        check("%h %t %>s%b%X%D", line.as_bytes(), &expected);
        // What is not kept ends in the same place.
        check(
            "%h %t %s%O%X%D %>s",
            format!("{line} 404").as_bytes(),
            &expected.replace("status=200", "status=404"),
        );
    };
    check("2005120+17", "status=200 bytes=5120 duration_us=17");
    check("200--17", "status=200 duration_us=17");
    check("200-X17", "status=200 duration_us=17");
    check("20017", "none");
    check("20 5120+17", "none");
    check("200512017", "none");
}

#[test]
fn a_word_has_no_spaces() {
    let format = "%h|%t|%v|%D";
    check(
        format,
        b"192.0.2.10|[22/Nov/2026:01:23:44 +0000]|www.example.jp|17",
        "time=2026-11-22T01:23:44Z peer=192.0.2.10 duration_us=17 host=www.example.jp",
    );
    check(format, b"192.0.2.10|[22/Nov/2026:01:23:44 +0000]|www example|17", "none");
    check(format, b"a name|[22/Nov/2026:01:23:44 +0000]|www.example.jp|17", "none");
}

/// All of mod_log_config, mod_logio, mod_ssl and mod_remoteip, each between others, as it is and without a value.
#[test]
fn every_directive() {
    let known = "time=2026-11-22T01:23:44Z peer=192.0.2.10";
    let check = |directive: &str, value: &str, expected: &str| {
        let line = format!("192.0.2.10 [22/Nov/2026:01:23:44 +0000] {value} end");
        let expected = format!("{known} {expected}");
        check(&format!("%h %t {directive} end"), line.as_bytes(), expected.trim_end());
    };
    for (directive, value, expected) in [
        ("%%", "%", ""),
        ("%A", "10.0.0.5", ""),
        ("%B", "0", "bytes=0"),
        ("%b", "-", ""),
        ("%O", "5321", "bytes=5321"),
        ("%I", "312", ""),
        ("%S", "5633", ""),
        ("%^FB", "1240", ""),
        ("%^FB", "-", ""),
        ("%D", "1500", "duration_us=1500"),
        ("%T", "2", "duration_us=2000000"),
        ("%{s}T", "2", "duration_us=2000000"),
        ("%{ms}T", "1500", "duration_us=1500000"),
        ("%{us}T", "1500", "duration_us=1500"),
        ("%f", "/var/www/a b.html", ""),
        ("%R", "proxy:unix:/run/php/php8.2-fpm.sock|fcgi://localhost", ""),
        ("%H", "HTTP/1.1", "protocol=HTTP/1.1"),
        ("%m", "POST", "method=POST"),
        ("%U%q", "/a b?c=d", r#"path="/a b""#),
        ("%r", "GET /a b HTTP/1.1", r#"method=GET path="/a b" protocol=HTTP/1.1"#),
        ("%s", "302", "status=302"),
        ("%<s", "302", "status=302"),
        ("%>s", "404", "status=404"),
        ("%<u", "mary ann", r#"user="mary ann""#),
        ("%k", "17", ""),
        ("%l", "-", ""),
        ("%L", "aR2kq38AAQEAAB@2DxMAAAAA", ""),
        ("%p", "443", ""),
        ("%{canonical}p", "443", ""),
        ("%{local}p", "8443", ""),
        ("%{remote}p", "53412", ""),
        ("%P", "143", ""),
        ("%{tid}P", "140213581244096", ""),
        ("%{hextid}P", "7f86377fe6c0", ""),
        ("%{hextid}P", "0x7f86377fe6c0", ""),
        ("%v", "www.example.jp", "host=www.example.jp"),
        ("%V", "www.example.jp", "host=www.example.jp"),
        ("%X", "+", ""),
        ("%X", "-", ""),
        ("%{session}C", "a=b; c=d", ""),
        ("%{UNIQUE_ID}e", "aR2kq38AAQEAAB@2DxMAAAAA", ""),
        ("%{ratio}n", "47", ""),
        ("%{Content-Type}o", "text/html; charset=UTF-8", ""),
        ("%{SSL_PROTOCOL}x", "TLSv1.3", ""),
        ("%{SSL_CLIENT_S_DN}x", "CN=mary ann,O=x", ""),
        ("%{cipher}c", "TLS_AES_128_GCM_SHA256", ""),
        ("%{X-Checksum}^ti", "a b", ""),
        ("%{X-Checksum}^to", "-", ""),
        ("%{Host}i", "www.example.jp:8080", "host=www.example.jp:8080"),
        ("%{X-FORWARDED-FOR}i", "198.51.100.7, 192.0.2.99", r#"forwarded="198.51.100.7, 192.0.2.99""#),
        ("%!200,304,302{Referer}i", "https://x/", "referer=https://x/"),
        ("%400,501{User-agent}i", "-", ""),
        ("%!200D", "-", ""),
        ("%!400r", "-", ""),
        ("%!200>s", "-", ""),
    ] {
        check(directive, value, expected);
    }
    // What decides over the address.
    let event = "time=2026-11-22T01:23:44Z peer=192.0.2.10 client=198.51.100.7";
    for format in ["%a %{c}a %t", "%h %{c}h %t", "%<a %{c}a %t"] {
        crate::formats::tests::check(format, b"198.51.100.7 192.0.2.10 [22/Nov/2026:01:23:44 +0000]", event);
    }
}
