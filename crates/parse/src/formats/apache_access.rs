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
    ("combinedio", r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %I %O"#),
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
            (b'X', _) => (Field::SkipMark, 0, false),
            (b'A' | b'L', _) => (Field::Skip, 0, false),
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
            ("vhost_combined" | "vhost_combined-us", _) => lines.iter().any(|line| has_port(line)),
            ("lighttpd", _) => lines.iter().any(|line| has_host(line)),
            ("combinedio", Some([Column::Number { .. }, Column::Number { .. }])) => {
                lines.iter().all(|line| counts_bytes(line))
            }
            ("combinedio", _) => false,
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

/// Whether the line begins with a host and a port, and not with an address and a colon in some other field.
fn has_port(line: &[u8]) -> bool {
    let word = line.split(|b| *b == b' ').next().unwrap_or_default();
    memchr::memrchr(b':', word).is_some_and(|colon| crate::scan::number(&word[colon + 1..]).is_some())
}

/// Whether the last number can be of all bytes sent: with the headers they are more than those of the body.
fn counts_bytes(line: &[u8]) -> bool {
    let mut words = line.rsplit(|b| *b == b' ').map(crate::scan::number);
    let (Some(Some(sent)), Some(Some(_received))) = (words.next(), words.next()) else { return false };
    let body = memchr::memmem::find(line, b"\" ").and_then(|at| line[at + 2..].split(|b| *b == b' ').nth(1));
    body.is_some_and(|body| crate::scan::number(body).unwrap_or(0) < sent)
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
mod tests;
