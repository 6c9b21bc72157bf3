//! `apache-access`: Apache's access log, by the server's own `LogFormat` string.
//! See <https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats>.
//!
//! Apache escapes quotes, backslashes and control characters in every field that a stranger can fill, since 2.0.46.

use toban_model::Text;

use super::{Sample, Unit, Way};
use crate::plan::{Field, Part, Piece, Plan, Role, Stamp};
use crate::strftime::Strftime;
use crate::{Clock, Error, Format};

/// The ready-made format strings: Debian's own, and those with the duration at the end that people add.
const NICKNAMES: &[(&str, &str)] = &[
    ("combined", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#),
    ("combined-us", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D"#),
    ("combined-s", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %T"#),
    ("common", r#"%h %l %u %t "%r" %>s %b"#),
    ("common-us", r#"%h %l %u %t "%r" %>s %b %D"#),
    ("vhost_combined", r#"%v:%p %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#),
    ("vhost_combined-us", r#"%v:%p %h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D"#),
    ("vhost_common", r#"%v %h %l %u %t "%r" %>s %b"#),
    // lighttpd's own, and Traefik's `common`, which are written in the same words.
    ("lighttpd", r#"%h %V %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#),
    (
        "traefik",
        r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %k "%{router}n" "%{server}n" %{ms}Tms"#,
    ),
];

pub(crate) const UNIT: Unit = Unit {
    id: "apache-access",
    about: Text::fixed(
        "Apache's access log, compiled from its LogFormat string",
        "Apache のアクセスログです。LogFormat の文字列をコンパイルして読みます",
    ),
    nicknames: NICKNAMES,
    samples: SAMPLES,
    way: Way::String { compile: |string, clock| Format::apache(string, false, clock), candidates },
};

/// The format string of a nickname that Apache or Debian define, where a configuration names it.
pub(crate) fn nickname(name: &str) -> Option<&'static str> {
    NICKNAMES.iter().find(|(known, _)| *known == name).map(|(_, string)| *string)
}

/// Compiles a format string, as the configuration file has it (`\"`) or already without that file's escapes.
pub(crate) fn compile(string: &str, remoteip: bool) -> Result<Plan, Error> {
    let parts = Parser { string: unquoted(string), at: 0, remoteip }.parts()?;
    Plan::compile(parts, true, "%t")
}

/// The string of a whole `LogFormat "…" nickname` line; anything else as it is.
fn unquoted(string: &str) -> &str {
    let Some(rest) = string.trim().strip_prefix("LogFormat ") else { return string };
    let rest = rest.trim_start();
    let Some(inside) = rest.strip_prefix('"') else { return rest };
    match crate::window::unescaped_quote(inside.as_bytes()) {
        Some(end) => &inside[..end],
        None => inside,
    }
}

struct Parser<'s> {
    string: &'s str,
    at: usize,
    remoteip: bool,
}

impl Parser<'_> {
    fn parts(mut self) -> Result<Vec<Part>, Error> {
        // Where the format has both, the two differ only because mod_remoteip is at work.
        self.remoteip |= self.string.contains("%{c}a") || self.string.contains("%{c}h");
        let mut parts = Vec::new();
        while let Some(byte) = self.next() {
            match byte {
                b'%' => self.directive(&mut parts)?,
                b'\\' => parts.push(Part::Literal(match self.next() {
                    Some(b'n') => vec![b'\n'],
                    Some(b't') => vec![b'\t'],
                    Some(b'r') => vec![b'\r'],
                    Some(escaped @ (b'"' | b'\\')) => vec![escaped],
                    Some(other) => vec![b'\\', other],
                    None => vec![b'\\'],
                })),
                byte => parts.push(Part::Literal(vec![byte])),
            }
        }
        Ok(parts)
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.string.as_bytes().get(self.at).copied();
        self.at += usize::from(byte.is_some());
        byte
    }

    /// One directive, of which the `%` is read.
    fn directive(&mut self, parts: &mut Vec<Part>) -> Result<(), Error> {
        let start = self.at - 1;
        let mut argument = None;
        // The status before an internal redirect is the default for %s and for nothing else that is read here.
        let mut last = false;
        let letter = loop {
            let Some(byte) = self.next() else {
                return Err(self.error(start, "a letter such as %h, or %% for a percent sign"));
            };
            match byte {
                // Conditions (`%400,501{User-agent}i`) decide whether there is a value or `-`.
                b'!' | b',' | b'0'..=b'9' | b'<' => {}
                b'>' => last = true,
                b'{' => {
                    let rest = &self.string.as_bytes()[self.at..];
                    let Some(len) = memchr::memchr(b'}', rest) else {
                        return Err(self.error(start, "%{…} with its closing brace, such as %{Referer}i"));
                    };
                    argument = Some(String::from_utf8_lossy(&rest[..len]).into_owned());
                    self.at += len + 1;
                }
                // `%{Name}^ti`, `%^FB`.
                b'^' => {
                    self.next();
                    self.next();
                    break b'^';
                }
                letter => break letter,
            }
        };
        if letter == b'%' {
            parts.push(Part::Literal(vec![b'%']));
            return Ok(());
        }
        if !letter.is_ascii_alphabetic() && letter != b'^' {
            return Err(self.error(start, "a letter such as %h, or %% for a percent sign"));
        }
        let text = String::from_utf8_lossy(&self.string.as_bytes()[start..self.at]).into_owned();
        let mut piece = Piece { field: Field::Skip, rank: 0, free: true, end: false, at: start, text };
        let argument = argument.as_deref();
        if letter == b't' {
            return self.time(argument, piece, parts);
        }
        let role = if self.remoteip { Role::Client } else { Role::Both };
        let role = if argument == Some("c") { Role::Peer } else { role };
        (piece.field, piece.rank, piece.free) = match (letter, argument) {
            (b'h', _) => (Field::Address { role, names: true }, 0, false),
            (b'a', _) => (Field::Address { role, names: false }, 0, false),
            // The answer of an identd ends at a space, see mod_ident.
            (b'l', _) => (Field::Skip, 0, false),
            (b'u', _) => (Field::User, 0, true),
            (b'r', _) => (Field::Request, 0, true),
            (b'm', _) => (Field::Method, 0, true),
            (b'U', _) => (Field::Target, 0, true),
            (b'q', _) => (Field::Query, 0, true),
            (b'H', _) => (Field::Protocol, 0, true),
            (b's', _) => (Field::Status, u8::from(last), false),
            (b'b' | b'B', _) => (Field::Bytes, 1, false),
            (b'O', _) => (Field::Bytes, 0, false),
            (b'D', _) => (Field::Duration { unit_us: 1 }, 3, false),
            (b'T', Some("us")) => (Field::Duration { unit_us: 1 }, 3, false),
            (b'T', Some("ms")) => (Field::Duration { unit_us: 1000 }, 2, false),
            (b'T', _) => (Field::Duration { unit_us: 1_000_000 }, 1, false),
            (b'v', _) => (Field::Host, 2, false),
            (b'V', _) => (Field::Host, 1, true),
            (b'i', Some(name)) => header(name),
            (b'p' | b'P' | b'k' | b'I' | b'S', _) => (Field::SkipNumber, 0, false),
            (b'A' | b'X' | b'L', _) => (Field::Skip, 0, false),
            // A hexadecimal thread, a handler, a file, notes, cookies, variables, other modules': found by what
            // follows them.
            _ => (Field::Skip, 0, true),
        };
        if letter == b'P' && argument == Some("hextid") {
            piece.field = Field::Skip;
        }
        parts.push(Part::Piece(piece));
        Ok(())
    }

    fn time(&self, argument: Option<&str>, mut piece: Piece, parts: &mut Vec<Part>) -> Result<(), Error> {
        let argument = argument.unwrap_or_default();
        let format = match argument.strip_prefix("end:") {
            Some(format) => {
                piece.end = true;
                format
            }
            None => argument.strip_prefix("begin:").unwrap_or(argument),
        };
        let (stamp, rank) = match format {
            "" => (Stamp::Clf, 1),
            "sec" => (Stamp::Epoch { unit_us: 1_000_000 }, 1),
            "msec" => (Stamp::Epoch { unit_us: 1000 }, 2),
            "usec" => (Stamp::Epoch { unit_us: 1 }, 3),
            "msec_frac" => (Stamp::Fraction { digits: 3 }, 0),
            "usec_frac" => (Stamp::Fraction { digits: 6 }, 0),
            format => match Strftime::compile(format) {
                Ok(strftime) => (Stamp::Strftime(strftime), 0),
                Err(_) => {
                    return Err(self.error(piece.at, "a strftime format such as %{%Y-%m-%dT%H:%M:%S%z}t"));
                }
            },
        };
        // When it was received is better known than reckoned.
        piece.rank = if piece.end { rank } else { rank + 10 };
        let bracketed = argument.is_empty() || matches!(argument, "begin" | "end");
        piece.field = Field::Time { stamp, used: true };
        if bracketed {
            parts.push(Part::Literal(vec![b'[']));
        }
        parts.push(Part::Piece(piece));
        if bracketed {
            parts.push(Part::Literal(vec![b']']));
        }
        Ok(())
    }

    fn error(&self, start: usize, expected: &'static str) -> Error {
        let found = self.string.as_bytes()[start..].iter().take(24).copied().collect::<Vec<u8>>();
        Error::Directive { at: start, found: String::from_utf8_lossy(&found).into_owned(), expected }
    }
}

fn header(name: &str) -> (Field, u8, bool) {
    let field = match name.to_ascii_lowercase().as_str() {
        "user-agent" => Field::Agent,
        "referer" => Field::Referer,
        "x-forwarded-for" => Field::Forwarded,
        "host" => Field::Host,
        _ => Field::Skip,
    };
    (field, 0, true)
}

/// The nicknames, and what people append to `combined`, guessed from the lines themselves.
fn candidates(lines: &[&[u8]], clock: &Clock) -> Vec<Format> {
    let columns = appended(lines, clock);
    let mut formats: Vec<Format> = NICKNAMES
        .iter()
        .filter(|(name, _)| match (*name, columns.as_deref()) {
            ("combined-us", columns) => columns.is_some_and(has_micros),
            ("lighttpd", _) => lines.iter().any(|line| has_host(line)),
            ("combined-s", columns) => matches!(columns, Some([Column::Number { max: ..MICROS_MIN }])),
            _ => true,
        })
        .filter_map(|(name, string)| Some(Format::apache(string, false, clock).ok()?.called(name)))
        .collect();
    if let Some(columns) = columns.filter(|columns| !columns.is_empty()) {
        formats.extend(Format::apache(&guess(&columns), false, clock));
    }
    formats
}

/// Whether a host stands where Apache has the answer of an identd, which nobody asks any more.
fn has_host(line: &[u8]) -> bool {
    line.split(|b| *b == b' ').nth(1).is_some_and(|word| word.contains(&b'.') || word == b"localhost")
}

/// Whether the first column can be what `%D` writes: a column of nothing but small numbers is more likely to be seconds.
fn has_micros(columns: &[Column]) -> bool {
    matches!(columns.first(), Some(Column::Number { max: MICROS_MIN.. }))
}

/// No request is served in less; a request of so many seconds is rare enough not to be all there is.
const MICROS_MIN: u64 = 50;

/// The columns behind `combined`, as far as the lines have them in common; `None` if no line starts with it.
fn appended(lines: &[&[u8]], clock: &Clock) -> Option<Vec<Column>> {
    let combined = nickname("combined")?;
    // A field that takes all that is left and hands it out again.
    let mut lenient = Format::apache(&format!("{combined} %{{Host}}i"), false, clock).ok()?;
    let mut columns: Option<Vec<Column>> = None;
    for line in lines {
        let Some(rest) = lenient.request(line).and_then(|request| request.host) else { continue };
        let row = row(rest);
        columns = Some(match columns {
            None => row,
            Some(known) if known.len() == row.len() => known.iter().zip(row).map(|(a, b)| a.or(b)).collect(),
            // Something in them holds spaces. Only in front of it is it clear which column is which.
            Some(known) => match (known.first(), row.first()) {
                (Some(Column::Number { .. }), Some(Column::Number { .. })) => {
                    vec![known[0].or(row[0]), Column::Rest]
                }
                _ => vec![Column::Rest],
            },
        });
    }
    columns
}

/// `combined`, then a directive for each column.
fn guess(columns: &[Column]) -> String {
    let mut string = nickname("combined").unwrap_or_default().to_owned();
    for (at, column) in columns.iter().enumerate() {
        string += match column {
            Column::Number { .. } if at == 0 && has_micros(columns) => " %D",
            Column::Number { .. } => " %{number}n",
            Column::Word => " %{word}n",
            Column::Quoted { addresses: true } => " \"%{X-Forwarded-For}i\"",
            Column::Quoted { .. } => " \"%{quoted}n\"",
            Column::Rest => return string + " %{rest}n",
        };
    }
    string
}

#[derive(Clone, Copy)]
enum Column {
    Number {
        max: u64,
    },
    Word,
    Quoted {
        addresses: bool,
    },
    /// All that is left, whatever it is.
    Rest,
}

impl Column {
    fn or(self, other: Column) -> Column {
        match (self, other) {
            (Column::Number { max }, Column::Number { max: other }) => Column::Number { max: max.max(other) },
            (Column::Quoted { addresses }, Column::Quoted { addresses: other }) => {
                Column::Quoted { addresses: addresses || other }
            }
            (Column::Number { .. } | Column::Word, Column::Number { .. } | Column::Word) => Column::Word,
            _ => Column::Rest,
        }
    }
}

/// What stands behind `combined` in one line.
fn row(mut rest: &[u8]) -> Vec<Column> {
    /// More than anyone logs.
    const COLUMNS_MAX: usize = 16;
    let mut row = Vec::new();
    loop {
        let (column, len) = match rest.strip_prefix(b"\"") {
            Some(inside) => {
                let Some(len) = crate::window::unescaped_quote(inside) else { break };
                let first = inside[..len].split(|b| *b == b',').next().unwrap_or_default();
                (Column::Quoted { addresses: crate::scan::address(first).is_some() }, len + 2)
            }
            None => {
                let len = memchr::memchr(b' ', rest).unwrap_or(rest.len());
                (crate::scan::number(&rest[..len]).map_or(Column::Word, |max| Column::Number { max }), len)
            }
        };
        row.push(column);
        match &rest[len..] {
            [] => return row,
            [b' ', after @ ..] if row.len() < COLUMNS_MAX => rest = after,
            _ => break,
        }
    }
    row.push(Column::Rest);
    row
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"192.0.2.10 - - [22/Nov/2026:10:23:44 +0900] "GET /index.html?page=2 HTTP/1.1" 200 5120 "https://www.example.jp/" "Mozilla/5.0 (X11; Linux x86_64)""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/index.html protocol=HTTP/1.1 status=200 bytes=5120 agent="Mozilla/5.0 (X11; Linux x86_64)" referer=https://www.example.jp/"#,
    },
    Sample {
        format: "",
        line: r#"2001:db8::7 - mary [22/Nov/2026:01:23:44 +0000] "POST /xmlrpc.php HTTP/1.0" 200 240 "-" "-""#,
        event: "time=2026-11-22T01:23:44Z peer=2001:db8::7 method=POST path=/xmlrpc.php protocol=HTTP/1.0 status=200 bytes=240 user=mary",
    },
    // The connection was closed before a request came.
    Sample {
        format: "",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "-" 408 - "-" "-""#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 status=408",
    },
    // TLS spoken to a port that does not.
    Sample {
        format: "",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "\x16\x03\x01\x02" 400 483 "-" "-""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 status=400 bytes=483 raw=\x16\x03\x01\x02"#,
    },
    // Apache wakes its own children.
    Sample {
        format: "",
        line: r#"::1 - - [22/Nov/2026:01:23:44 +0000] "OPTIONS * HTTP/1.0" 200 126 "-" "Apache/2.4.62 (Debian) (internal dummy connection)""#,
        event: r#"time=2026-11-22T01:23:44Z peer=::1 method=OPTIONS path=* protocol=HTTP/1.0 status=200 bytes=126 agent="Apache/2.4.62 (Debian) (internal dummy connection)""#,
    },
    Sample {
        format: "combined-us",
        line: r#"198.51.100.11 - - [22/Nov/2026:01:23:44 +0000] "CONNECT www.example.com:443 HTTP/1.1" 504 374 "https://www.example.net" "Mozilla/5.0" 20002740"#,
        event: "time=2026-11-22T01:23:44Z peer=198.51.100.11 method=CONNECT path=www.example.com:443 protocol=HTTP/1.1 status=504 bytes=374 duration_us=20002740 agent=Mozilla/5.0 referer=https://www.example.net",
    },
    Sample {
        format: "vhost_combined",
        line: r#"www.example.jp:443 ::ffff:192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 304 - "-" "curl/8.5.0""#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/ protocol=HTTP/1.1 status=304 agent=curl/8.5.0 host=www.example.jp",
    },
    Sample {
        format: "lighttpd",
        line: r#"192.0.2.10 www.example.jp mary ann [22/Nov/2026:01:23:44 +0000] "GET /index.html HTTP/1.1" 200 5120 "-" "Mozilla/5.0""#,
        event: r#"time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/index.html protocol=HTTP/1.1 status=200 bytes=5120 agent=Mozilla/5.0 host=www.example.jp user="mary ann""#,
    },
    Sample {
        format: "traefik",
        line: r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET /api HTTP/2.0" 502 11 "-" "curl/8.5.0" 91241 "web@docker" "http://172.18.0.3:80" 1250ms"#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/api protocol=HTTP/2.0 status=502 bytes=11 duration_us=1250000 agent=curl/8.5.0",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use super::*;
    use crate::{show, sniff};

    const COMBINED: &str = "combined";

    #[test]
    fn requests_that_are_none() {
        let check = |request: &str, expected: &str| {
            let line = format!(r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "{request}" 400 - "-" "-""#);
            check(
                COMBINED,
                line.as_bytes(),
                &format!("time=2026-11-22T01:23:44Z peer=192.0.2.10 {expected}"),
            );
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
                format!(
                    r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET /{forged} HTTP/1.1" 404 1 "-" "-""#
                ),
            ),
            (
                "combined",
                format!(
                    r#"192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 404 1 "{forged}" "{forged}""#
                ),
            ),
            (
                "combined",
                format!(
                    r#"192.0.2.10 - {forged} [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1" 404 1 "-" "-""#
                ),
            ),
            (
                r#""%{User-Agent}i" "%{X-Forwarded-For}i" %h %t "%r""#,
                format!(
                    r#""{forged}" "203.0.113.9" 192.0.2.10 [22/Nov/2026:01:23:44 +0000] "GET / HTTP/1.1""#
                ),
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
            &[
                &format!("{combined} 2002740 - - any"),
                &format!("{combined} 15 198.51.100.7, 192.0.2.3 - any"),
            ],
            r#"apache-access (%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %D %{rest}n)"#,
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
            r#"at byte 5 of the format, "%u" follows another field with nothing between; a space or a quote between them would be right"#,
        );
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
}
