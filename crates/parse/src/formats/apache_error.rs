//! `apache-error`: Apache's error log, as 2.4 and 2.2 write it, or by an `ErrorLogFormat` string.
//! See <https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>.
//!
//! The client's field comes before the message and behind nothing that a stranger can fill, so it is read in its place.
//! What a CGI program writes to its error output lands in the same file as it is, and can look like anything: a line of
//! this log alone is no reason to act against anyone.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level, Offence};

use self::layout::Layout;
use super::{Sample, Unit, Way};
use crate::scan::{Scan, address, address_with_port};
use crate::stamp::{Dates, ctime};
use crate::syslog::Head;
use crate::{Clock, Error, Format};

mod layout;

pub(crate) const UNIT: Unit = Unit {
    id: "apache-error",
    about: Text::fixed("Apache's error log, 2.4 and 2.2", "Apache のエラーログです(2.4 と 2.2)"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::String { compile, candidates: |_, clock| compile("", clock).into_iter().collect() },
};

/// Whether this is an `ErrorLogFormat` string. None can do without `%M`, which no `LogFormat` string has.
pub(crate) fn is_error_format(string: &str) -> bool {
    Layout::compile(string).is_ok()
}

/// From an `ErrorLogFormat` string; without one Apache has formats of its own.
fn compile(string: &str, clock: &Clock) -> Result<Format, Error> {
    if string.is_empty() {
        return Ok(Format::lines(UNIT.id, |line, dates| read(line, dates).map(Event::Error), clock));
    }
    Ok(Format::records(UNIT.id, Box::new(Layout::compile(string)?), clock).written(string))
}

/// The event of a line that Apache wrote through syslog (`ErrorLog syslog`), which leaves the stamp to the daemon.
pub(crate) fn event<'a>(head: &Head<'a>) -> Option<Event<'a>> {
    let mut scan = Scan::new(head.text);
    scan.literal(b"[")?;
    let mut line = behind_stamp(scan)?;
    (line.time, line.pid) = (head.time, line.pid.or(head.pid));
    Some(Event::Error(line))
}

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut scan = Scan::new(line);
    scan.literal(b"[")?;
    let time = ctime(&mut scan, dates)?;
    scan.literal(b"] [")?;
    Some(ErrorLine { time: Some(time), ..behind_stamp(scan)? })
}

fn behind_stamp(mut scan: Scan<'_>) -> Option<ErrorLine<'_>> {
    let source = scan.until(b"] ")?;
    // 2.4 names the module (perhaps none: `[:error]`), 2.2 does not.
    let (module, name) = match memchr::memchr(b':', source) {
        Some(colon) => (Some(&source[..colon]).filter(|module| !module.is_empty()), &source[colon + 1..]),
        None => (None, source),
    };
    let level = level(name)?;
    let mut pid = None;
    let mut ported = false;
    if scan.literal(b"[pid ").is_some() {
        ported = true;
        pid = Some(u32::try_from(scan.number()?).ok()?);
        scan.until(b"] ")?;
        source_file(&mut scan);
        system_error(&mut scan);
    }
    let mut peer = None;
    if scan.literal(b"[client ").is_some() {
        let field = scan.until(b"] ")?;
        // 2.4 always adds a port, and `2001:db8::1:53112` alone would not tell whether there is one.
        peer = if ported { address_with_port(field).or_else(|| address(field)) } else { address(field) };
    }
    Some(said(scan, level, pid, peer, module))
}

/// The line, once its fields are read: what is left is the message.
pub(crate) fn said<'a>(
    mut scan: Scan<'a>,
    level: Level,
    pid: Option<u32>,
    peer: Option<IpAddr>,
    module: Option<&'a [u8]>,
) -> ErrorLine<'a> {
    let code = code(&mut scan);
    let text = scan.rest;
    let (offence, account) = offence(text, code, module).unzip();
    let account = account.flatten().filter(|account| !account.is_empty());
    ErrorLine { time: None, level, pid, peer, code, module, offence, account, text }
}

/// What the message says that the client did wrong, and as whom. Apache 2.4 numbers its messages; the words are 2.2's,
/// which names no module either.
///
/// That a client is *denied by server configuration* counts as a probe: what is closed on purpose is linked nowhere, and
/// who asks for it is looking around.
fn offence<'a>(
    text: &'a [u8],
    code: Option<&str>,
    module: Option<&[u8]>,
) -> Option<(Offence, Option<&'a [u8]>)> {
    let old = module.is_none();
    let words = text.strip_prefix(b"Digest: ").unwrap_or(text);
    let user = words.strip_prefix(b"user ").and_then(|rest| {
        let ends = [&b" not found: "[..], b": authentication failure for \"", b": password mismatch: "];
        let end = ends.iter().find_map(|end| memmem::find(rest, end))?;
        // mod_auth_digest: user `x' in realm `y' not found.
        let name = rest[..end]
            .strip_prefix(b"`")
            .and_then(|rest| Some(&rest[..memmem::find(rest, b"' in realm `")?]));
        Some(name.unwrap_or(&rest[..end]))
    });
    let offence = match code {
        Some("AH01617" | "AH01618" | "AH01790" | "AH01791" | "AH01792") => Offence::AuthFailure,
        Some("AH01630" | "AH01797" | "AH00126" | "AH10244") => Offence::Probe,
        Some("AH00135" | "AH00566" | "AH01614" | "AH02042") => Offence::ProtocolError,
        None if old && user.is_some() => Offence::AuthFailure,
        None if words.starts_with(b"client denied by server configuration: ") => Offence::Probe,
        None if old && words.starts_with(b"Invalid URI in request ") => Offence::Probe,
        None if old && words.starts_with(b"Invalid method in request ") => Offence::ProtocolError,
        None if old && words.starts_with(b"client used wrong authentication scheme: ") => {
            Offence::ProtocolError
        }
        None if module == Some(b"security2")
            && memmem::find(words, b"ModSecurity: Access denied ").is_some() =>
        {
            Offence::Probe
        }
        _ => return None,
    };
    Some((offence, if offence == Offence::AuthFailure { user } else { None }))
}

/// At debug level, where in the source: `mod_ssl.c(407): `.
fn source_file(scan: &mut Scan<'_>) {
    let name = scan.rest.iter().take_while(|b| b.is_ascii_alphanumeric() || b"_-./".contains(b)).count();
    let mut behind = Scan::new(&scan.rest[name..]);
    if scan.rest[..name].ends_with(b".c")
        && behind.literal(b"(").is_some()
        && behind.number().is_some()
        && behind.literal(b"): ").is_some()
    {
        *scan = behind;
    }
}

/// What the system said: `(70007)The timeout specified has expired: `. Only if the client's field follows, since
/// without one it is as good a text as any.
fn system_error(scan: &mut Scan<'_>) {
    let mut behind = *scan;
    let numbered = behind.literal(b"(").and_then(|()| behind.until(b")"));
    let is_code =
        |code: &[u8]| !code.is_empty() && code.iter().all(|b| b.is_ascii_alphanumeric() || b" -".contains(b));
    if numbered.is_some_and(is_code) && behind.until(b": ").is_some() && behind.rest.starts_with(b"[client ")
    {
        *scan = behind;
    }
}

fn code<'a>(scan: &mut Scan<'a>) -> Option<&'a str> {
    let [b'A', b'H', digits @ ..] = scan.rest else { return None };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    let mut behind = *scan;
    let code = behind.take(2 + digits)?;
    behind.literal(b": ")?;
    if digits != 5 {
        return None;
    }
    *scan = behind;
    std::str::from_utf8(code).ok()
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
        [b't', b'r', b'a', b'c', b'e', b'1'..=b'8'] => Level::Debug,
        _ => return None,
    })
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04.168259 2026] [proxy_fcgi:error] [pid 143:tid 143] (70007)The timeout specified has expired: [client 198.51.100.11:29588] AH01075: Error dispatching request to :443: (polling), referer: https://www.example.com",
        event: r#"time=2026-11-22T01:24:04.168259Z level=error pid=143 peer=198.51.100.11 code=AH01075 module=proxy_fcgi text="Error dispatching request to :443: (polling), referer: https://www.example.com""#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04.168259 2026] [mpm_prefork:error] [pid 120] AH00161: server reached MaxRequestWorkers setting, consider raising the MaxRequestWorkers setting",
        event: r#"time=2026-11-22T01:24:04.168259Z level=error pid=120 code=AH00161 module=mpm_prefork text="server reached MaxRequestWorkers setting, consider raising the MaxRequestWorkers setting""#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04.168259 2026] [authz_core:error] [pid 143:tid 281472] [client 2001:db8::7:53112] AH01630: client denied by server configuration: /var/www/html/.env",
        event: r#"time=2026-11-22T01:24:04.168259Z level=error pid=143 peer=2001:db8::7 code=AH01630 module=authz_core offence=probe text="client denied by server configuration: /var/www/html/.env""#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04.168259 2026] [ssl:trace3] [pid 143:tid 143] ssl_engine_io.c(2293): [client ::ffff:192.0.2.10:443] OpenSSL: read 5/5 bytes",
        event: r#"time=2026-11-22T01:24:04.168259Z level=debug pid=143 peer=192.0.2.10 module=ssl text="OpenSSL: read 5/5 bytes""#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04 2026] [error] [client 192.0.2.10] File does not exist: /var/www/favicon.ico",
        event: r#"time=2026-11-22T01:24:04Z level=error peer=192.0.2.10 text="File does not exist: /var/www/favicon.ico""#,
    },
    Sample {
        format: "",
        line: r#"[Sun Nov 22 10:24:04.168259 2026] [auth_basic:error] [pid 143] [client 198.51.100.11:51390] AH01617: user john smith: authentication failure for "/admin": Password Mismatch"#,
        event: r#"time=2026-11-22T01:24:04.168259Z level=error pid=143 peer=198.51.100.11 code=AH01617 module=auth_basic offence=auth-failure account="john smith" text="user john smith: authentication failure for "/admin": Password Mismatch""#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:24:04 2026] [notice] caught SIGTERM, shutting down",
        event: r#"time=2026-11-22T01:24:04Z level=notice text="caught SIGTERM, shutting down""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn only_the_clients_own_field_names_a_client() {
        let head = "[Sun Nov 22 10:24:04.168259 2026] [php:error] [pid 143]";
        let check = |text: &str, expected: &str| {
            let expected = format!("time=2026-11-22T01:24:04.168259Z level=error pid=143 {expected}");
            check("apache-error", format!("{head} {text}").as_bytes(), &expected);
        };
        check(
            "[client 192.0.2.10:5] PHP Warning: [client 203.0.113.9:1] AH01075: forged",
            r#"peer=192.0.2.10 module=php text="PHP Warning: [client 203.0.113.9:1] AH01075: forged""#,
        );
        check("said [client 203.0.113.9:1] x", r#"module=php text="said [client 203.0.113.9:1] x""#);
        check("(x\"y)z: [client 203.0.113.9:1] x", r#"module=php text="(x"y)z: [client 203.0.113.9:1] x""#);
        check("[client 203.0.113.9:x] x", "module=php text=x");
        check(
            "(111)Connection refused: AH00957: HTTP: attempt to connect to 192.0.2.3:80 failed",
            r#"module=php text="(111)Connection refused: AH00957: HTTP: attempt to connect to 192.0.2.3:80 failed""#,
        );
    }

    #[test]
    fn offences() {
        let check = |source: &str, text: &str, expected: &str| {
            let line = format!("[Sun Nov 22 10:24:04 2026] [{source}] [client 2001:db8::7] {text}");
            let mut format =
                crate::Format::from_name_or_string("apache-error", &super::super::tests::clock()).unwrap();
            let Some(super::Event::Error(error)) = format.parse(line.as_bytes()) else { panic!("{line}") };
            let account = error.account.map(|account| account.escape_ascii().to_string()).unwrap_or_default();
            assert_eq!(format!("{} {account}", error.offence.map_or("-", |o| o.id())), expected, "{line}");
            assert_eq!(error.peer, "2001:db8::7".parse().ok());
        };
        check("error", "user a b not found: /, referer: http://example.jp/", "auth-failure a b");
        check("error", "user  not found: /", "auth-failure ");
        check("error", "Digest: user `a' in realm `b c' not found: /x", "auth-failure a");
        check("error", "Digest: user a: password mismatch: /x", "auth-failure a");
        check("auth_basic:error", "AH01618: user a not found: /x", "auth-failure a");
        check("access_compat:error", "AH01797: client denied by server configuration: /x", "probe ");
        check("evasive20:error", "client denied by server configuration: /x", "probe ");
        check("core:error", "AH10244: invalid URI path (/cgi-bin/.%2e/.%2e/bin/sh)", "probe ");
        check("core:error", "AH00135: Invalid method in request \\x16\\x03\\x01", "protocol-error ");
        check(
            "security2:error",
            "[client 192.0.2.7] ModSecurity: Access denied with code 403 (phase 2).",
            "probe ",
        );
        check("authz_core:error", "AH01631: user a: authorization failure for \"/x\": ", "- ");
        check("php:notice", "user a not found: /x", "- ");
        check("error", "File does not exist: /srv/[client 203.0.113.9] user root not found: /", "- ");
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "[",
            "[Sun Nov 22 10:24:04 2026]",
            "[Sun Nov 22 10:24:04 2026] [loud] x",
            "PHP Warning:  something in /var/www/x.php",
            "AH00558: apache2: Could not reliably determine the server's fully qualified domain name",
            "[Sun Nov 22 10:24:04.168259 2026] [php:error] [pid x] y",
        ] {
            check("apache-error", line.as_bytes(), "none");
        }
    }
}
