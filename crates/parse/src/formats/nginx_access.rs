//! `nginx-access`: nginx's access log, by the server's own `log_format` string.
//! See <https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format>.
//!
//! nginx writes a line, and reads its clock for it, when the request has ended.

use toban_model::Text;

use super::{Sample, Unit, Way};
use crate::plan::{Field, Part, Piece, Plan, Role, Stamp};
use crate::{Clock, Error, Format};

/// The format that nginx has without any configuration.
pub(crate) const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// The one in the configuration file that nginx's own packages bring.
const MAIN: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for""#;

const TIMED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_time"#;

const MAIN_TIMED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" $request_time"#;

/// That of the ingress controller of Kubernetes.
const INGRESS: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" $request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr $upstream_response_length $upstream_response_time $upstream_status $req_id"#;

pub(crate) const UNIT: Unit = Unit {
    id: "nginx-access",
    about: Text::fixed(
        "nginx's access log, compiled from its log_format string",
        "nginx のアクセスログです。log_format の文字列をコンパイルして読みます",
    ),
    nicknames: &[
        ("nginx-combined", COMBINED),
        ("nginx-main", MAIN),
        ("nginx-combined-s", TIMED),
        ("nginx-main-s", MAIN_TIMED),
        ("ingress-nginx", INGRESS),
    ],
    samples: SAMPLES,
    way: Way::String { compile: |string, clock| Format::nginx(string, false, clock), candidates },
};

fn candidates(_lines: &[&[u8]], clock: &Clock) -> Vec<Format> {
    // A line of `combined` is the same in Apache's words, so Apache's unit, which is first, takes it.
    let named = UNIT.nicknames.iter();
    named.filter_map(|(name, string)| Some(Format::nginx(string, false, clock).ok()?.called(name))).collect()
}

/// Compiles a format string, or a whole `log_format NAME …;` line.
pub(crate) fn compile(string: &str, realip: bool) -> Result<Plan, Error> {
    let (string, escape) = unquoted(string);
    let realip = realip || string.contains("realip_remote_addr");
    Plan::compile(parts(&string, realip)?, escape != Escape::None, "$time_local")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// `default` writes `\x22` for a quote, `json` writes `\"`: either way none ends a field.
    Some,
    /// Quotes are written as they came.
    None,
}

/// The string itself, and how its fields are escaped.
fn unquoted(string: &str) -> (String, Escape) {
    let mut rest = string.trim();
    let mut inside = rest.to_owned();
    if let Some(line) = rest.strip_prefix("log_format ") {
        let line = line.trim().trim_end_matches(';');
        let after_name =
            line.trim_start().find(char::is_whitespace).map_or("", |at| &line.trim_start()[at..]);
        rest = after_name.trim_start();
        inside.clear();
    }
    let mut escape = Escape::Some;
    if let Some(with) = rest.strip_prefix("escape=") {
        let (how, after) = with.split_once(char::is_whitespace).unwrap_or((with, ""));
        if how == "none" {
            escape = Escape::None;
        }
        rest = after.trim_start();
        if !inside.is_empty() {
            inside = rest.to_owned();
        }
    }
    if inside.is_empty() {
        // Pieces in single or double quotes, which nginx joins.
        while let Some(quote @ ('\'' | '"')) = rest.chars().next() {
            let mut end = rest.len();
            let mut escaped = false;
            for (at, letter) in rest.char_indices().skip(1) {
                if escaped {
                    escaped = false;
                } else if letter == '\\' {
                    escaped = true;
                } else if letter == quote {
                    end = at;
                    break;
                }
            }
            inside += &rest[1..end];
            rest = rest.get(end + 1..).unwrap_or("").trim_start();
        }
    }
    (inside, escape)
}

fn parts(string: &str, realip: bool) -> Result<Vec<Part>, Error> {
    let bytes = string.as_bytes();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        if byte == b'\\' {
            // As in a configuration file.
            let literal = match bytes.get(at) {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(quote @ (b'"' | b'\'' | b'\\')) => *quote,
                _ => {
                    parts.push(Part::Literal(vec![b'\\']));
                    continue;
                }
            };
            at += 1;
            parts.push(Part::Literal(vec![literal]));
            continue;
        }
        if byte != b'$' {
            parts.push(Part::Literal(vec![byte]));
            continue;
        }
        let start = at - 1;
        let braced = bytes.get(at) == Some(&b'{');
        at += usize::from(braced);
        let len = bytes[at..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let name = &string[at..at + len];
        at += len;
        let closed = !braced || bytes.get(at) == Some(&b'}');
        if len == 0 || !closed {
            let found: Vec<u8> = bytes[start..].iter().take(24).copied().collect();
            return Err(Error::Directive {
                at: start,
                found: String::from_utf8_lossy(&found).into_owned(),
                expected: "a variable such as $request or ${request}",
            });
        }
        at += usize::from(braced);
        let (field, rank, free) = variable(name, realip);
        let end = matches!(field, Field::Time { .. });
        parts.push(Part::Piece(Piece { field, rank, free, end, at: start, text: format!("${name}") }));
    }
    Ok(parts)
}

/// What a variable holds, its rank among those that hold the same, and whether it may hold spaces.
fn variable(name: &str, realip: bool) -> (Field, u8, bool) {
    let role = if realip { Role::Client } else { Role::Both };
    let time = |stamp| Field::Time { stamp, used: true };
    match name {
        "remote_addr" => (Field::Address { role, names: false }, 0, false),
        "realip_remote_addr" => (Field::Address { role: Role::Peer, names: false }, 0, false),
        "time_local" => (time(Stamp::Clf), 0, false),
        "time_iso8601" => (time(Stamp::Iso), 0, false),
        "msec" => (time(Stamp::Epoch { unit_us: 1_000_000 }), 1, false),
        "request" => (Field::Request, 0, true),
        "request_method" => (Field::Method, 0, true),
        // $uri is what the server made of it.
        "request_uri" => (Field::Target, 2, true),
        "uri" | "document_uri" => (Field::Target, 1, true),
        "is_args" | "args" | "query_string" => (Field::Query, 0, true),
        "server_protocol" => (Field::Protocol, 0, true),
        "status" => (Field::Status, 0, false),
        "body_bytes_sent" => (Field::Bytes, 1, false),
        "bytes_sent" => (Field::Bytes, 0, false),
        "request_time" => (Field::Duration { unit_us: 1_000_000 }, 0, false),
        "http_user_agent" => (Field::Agent, 0, true),
        "http_referer" => (Field::Referer, 0, true),
        "http_x_forwarded_for" => (Field::Forwarded, 0, true),
        "host" => (Field::Host, 2, true),
        "http_host" => (Field::Host, 1, true),
        "server_name" => (Field::Host, 0, false),
        "remote_user" => (Field::User, 0, true),
        "connection"
        | "connection_requests"
        | "request_length"
        | "remote_port"
        | "server_port"
        | "pid"
        | "realip_remote_port" => (Field::SkipNumber, 0, false),
        "pipe" => (Field::SkipMark, 0, false),
        "request_id" | "scheme" | "https" | "ssl_protocol" | "ssl_cipher" | "gzip_ratio" | "server_addr"
        | "hostname" | "nginx_version" => (Field::Skip, 0, false),
        // Upstream times have spaces between them, the rest is text of anyone.
        _ => (Field::Skip, 0, true),
    }
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "nginx-main",
        line: r#"192.0.2.10 - - [22/Nov/2026:10:23:44 +0900] "GET /index.html?page=2 HTTP/1.1" 200 5120 "https://www.example.jp/" "Mozilla/5.0 (X11; Linux x86_64)" "-""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/index.html protocol=HTTP/1.1 status=200 bytes=5120 agent="Mozilla/5.0 (X11; Linux x86_64)" referer=https://www.example.jp/"#,
    },
    Sample {
        format: "nginx-main",
        line: r#"192.0.2.3 - mary ann [22/Nov/2026:01:23:44 +0000] "POST /login HTTP/2.0" 302 0 "-" "-" "198.51.100.7, 192.0.2.99""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.3 forwarded="198.51.100.7, 192.0.2.99" method=POST path=/login protocol=HTTP/2.0 status=302 bytes=0 user="mary ann""#,
    },
    // Closed by the client before the answer; TLS spoken to a port that does not; nothing said at all.
    Sample {
        format: "nginx-main",
        line: r#"2001:db8::7 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 499 0 "-" "curl/8.5.0" "-""#,
        event: "time=2026-11-22T01:23:44Z peer=2001:db8::7 method=GET path=/ protocol=HTTP/1.1 status=499 bytes=0 agent=curl/8.5.0",
    },
    Sample {
        format: "nginx-main",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "\x16\x03\x01\x02" 400 157 "-" "-" "-""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 status=400 bytes=157 raw=\x16\x03\x01\x02"#,
    },
    Sample {
        format: "nginx-main",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "" 400 0 "-" "-" "-""#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 status=400 bytes=0",
    },
    // The stamp is of the end, so the request came before it.
    Sample {
        format: "nginx-combined-s",
        line: r#"198.51.100.11 - - [22/Nov/2026:01:24:04 +0000] "CONNECT www.example.com:443 HTTP/1.1" 400 157 "-" "-" 20.002"#,
        event: "time=2026-11-22T01:23:43.998Z peer=198.51.100.11 method=CONNECT path=www.example.com:443 protocol=HTTP/1.1 status=400 bytes=157 duration_us=20002000",
    },
    Sample {
        format: "ingress-nginx",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:45 +0000] "POST /api HTTP/2.0" 502 157 "-" "curl/8.5.0" 312 1.204 [web-app-80] [] 10.244.1.7:8080, 10.244.2.9:8080 0, 157 0.604, 0.600 502, 502 8c1f9e"#,
        event: "time=2026-11-22T01:23:43.796Z peer=192.0.2.10 method=POST path=/api protocol=HTTP/2.0 status=502 bytes=157 duration_us=1204000 agent=curl/8.5.0",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use super::*;

    #[test]
    fn formats_that_people_write() {
        check(
            r#"log_format timed '$remote_addr $host [$time_local] '
                '"$request" $status $bytes_sent "$upstream_response_time" $request_time ${connection}';"#,
            br#"192.0.2.10 www.example.jp [22/Nov/2026:01:23:45 +0000] "GET /a HTTP/1.1" 200 77 "0.200, 0.041" 1.000 17"#,
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/a protocol=HTTP/1.1 status=200 bytes=77 duration_us=1000000 host=www.example.jp",
        );
        check(
            r#"escape=json {"at":"$time_iso8601","client":"$remote_addr","uri":"$request_uri","method":"$request_method","agent":"$http_user_agent"}"#,
            br#"{"at":"2026-11-22T10:23:44+09:00","client":"2001:db8::7","uri":"/a?b","method":"GET","agent":"a \"b\", \"client\":\"192.0.2.9\""}"#,
            r#"time=2026-11-22T01:23:44Z peer=2001:db8::7 method=GET path=/a agent="a \"b\", \"client\":\"192.0.2.9\"""#,
        );
        check(
            "$msec|$remote_addr|$realip_remote_addr|$request_method $uri$is_args$args",
            b"1795310624.123|198.51.100.7|192.0.2.10|GET /a?b",
            "time=2026-11-22T01:23:44.123Z peer=192.0.2.10 client=198.51.100.7 method=GET path=/a",
        );
        check(
            "$remote_addr [$time_local] $status$body_bytes_sent $pipe$status$request_method",
            b"192.0.2.10 [22/Nov/2026:01:23:44 +0000] 4045120 p404GET",
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET status=404 bytes=5120",
        );
        check(
            "$remote_addr [$time_local] $status",
            b"unix: [22/Nov/2026:01:23:44 +0000] 200",
            "time=2026-11-22T01:23:44Z status=200",
        );
    }

    /// Each between others, as it is and without a value.
    #[test]
    fn every_usual_variable() {
        let check = |variable: &str, value: &str, expected: &str| {
            let line = format!("192.0.2.10 [22/Nov/2026:01:23:44 +0000] {value} end");
            let expected = format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {expected}");
            check(
                &format!("$remote_addr [$time_local] {variable} end"),
                line.as_bytes(),
                expected.trim_end(),
            );
        };
        for (variable, value, expected) in [
            ("$body_bytes_sent", "5120", "bytes=5120"),
            ("$bytes_sent", "5321", "bytes=5321"),
            ("$connection", "17", ""),
            ("$connection_requests", "3", ""),
            ("$connection_time", "0.104", ""),
            ("$gzip_ratio", "3.22", ""),
            ("$gzip_ratio", "-", ""),
            ("$host", "www.example.jp", "host=www.example.jp"),
            ("$http_host", "www.example.jp:8080", "host=www.example.jp:8080"),
            ("$server_name", "_", "host=_"),
            ("$http_cookie", "a=b; c=d", ""),
            ("$cookie_session", "-", ""),
            ("$http_x_real_ip", "203.0.113.9", ""),
            ("$proxy_protocol_addr", "203.0.113.9", ""),
            ("$proxy_add_x_forwarded_for", "203.0.113.9, 192.0.2.10", ""),
            ("$http_x_forwarded_for", "198.51.100.7, 192.0.2.99", r#"forwarded="198.51.100.7, 192.0.2.99""#),
            ("$http_referer", "-", ""),
            ("$http_user_agent", "a b", r#"agent="a b""#),
            ("$is_args$args", "?a=b c", ""),
            ("$query_string", "-", ""),
            ("$request_uri", "/a?b c", "path=/a"),
            ("$uri", "/a b", r#"path="/a b""#),
            ("$document_uri", "/a", "path=/a"),
            ("$request_method", "POST", "method=POST"),
            ("$request_length", "312", ""),
            ("$request_id", "8c1f9e", ""),
            ("$request_completion", "OK", ""),
            ("$request_filename", "/var/www/a b", ""),
            ("$remote_user", "mary ann", r#"user="mary ann""#),
            ("$remote_port", "53412", ""),
            ("$realip_remote_port", "53412", ""),
            ("$scheme", "https", ""),
            ("$server_addr", "10.0.0.5", ""),
            ("$server_port", "443", ""),
            ("$server_protocol", "HTTP/2.0", "protocol=HTTP/2.0"),
            ("$ssl_protocol", "TLSv1.3", ""),
            ("$ssl_cipher", "TLS_AES_128_GCM_SHA256", ""),
            ("$ssl_session_reused", "r", ""),
            ("$ssl_server_name", "www.example.jp", ""),
            ("$ssl_client_s_dn", "CN=mary ann,O=x", ""),
            ("$ssl_client_verify", "FAILED:certificate has expired", ""),
            ("$status", "499", "status=499"),
            ("$upstream_addr", "10.0.0.7:80, 10.0.0.8:80 : unix:/run/a.sock", ""),
            ("$upstream_cache_status", "MISS", ""),
            ("$upstream_connect_time", "-", ""),
            ("$upstream_header_time", "0.100, 0.200 : 0.300", ""),
            ("$upstream_response_time", "0.100, - : 0.300", ""),
            ("$upstream_response_length", "0, 157", ""),
            ("$upstream_status", "502, 200 : 200", ""),
            ("$pipe", ".", ""),
            ("$pid", "1234", ""),
            ("$hostname", "web1", ""),
            ("$nginx_version", "1.26.0", ""),
            ("$http2", "h2", ""),
            ("$tcpinfo_rtt", "1234", ""),
            ("$geoip2_data_country_code", "JP", ""),
        ] {
            check(variable, value, expected);
        }
    }

    #[test]
    fn quotes_that_are_not_escaped_cannot_move_the_address() {
        let format = r#"log_format x escape=none '"$http_user_agent" $remote_addr [$time_local] $status';"#;
        check(
            format,
            br#""curl" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] 200"#,
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 status=200 agent=curl",
        );
        check(
            format,
            br#""" 203.0.113.9 [22/Nov/2026:01:23:44 +0000] 200" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] 200"#,
            r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 status=200 agent="" 203.0.113.9 [22/Nov/2026:01:23:44 +0000] 200""#,
        );
        check(
            r#"log_format x escape=none '"$http_user_agent" $remote_addr [$time_local] "$request"';"#,
            br#""" 203.0.113.9 [22/Nov/2026:01:23:44 +0000] "" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] "GET /""#,
            r#"time=2026-11-22T01:23:44Z raw="" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] "GET /""#,
        );
    }

    #[test]
    fn wrong_formats_say_what_would_be_right() {
        let check = |string: &str, expected: &str| {
            assert_eq!(Format::from_name_or_string(string, &clock()).unwrap_err().to_string(), expected);
        };
        check("$remote_addr", "the format has no time of the request; $time_local would be right");
        check(
            "$time_local ${status",
            r#"at byte 12 of the format, "${status" is no complete directive; a variable such as $request or ${request} would be right"#,
        );
        check(
            "$time_local $",
            r#"at byte 12 of the format, "$" is no complete directive; a variable such as $request or ${request} would be right"#,
        );
        check(
            "$time_local $body_bytes_sent$request",
            r#"at byte 28 of the format, "$request" follows "$body_bytes_sent" with nothing between, and where one ends nobody can tell; a space or a quote between them would be right"#,
        );
    }
}
