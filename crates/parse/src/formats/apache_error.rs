//! `apache-error`: Apache's error log, as 2.4 and 2.2 write it without an `ErrorLogFormat`.
//! See <https://httpd.apache.org/docs/2.4/mod/core.html#errorlogformat>.
//!
//! The client's field comes before the message and behind nothing that a stranger can fill, so it is read in its place.
//! What a CGI program writes to its error output lands in the same file as it is, and can look like anything: a line of
//! this log alone is no reason to act against anyone.

use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, address, address_with_port};
use crate::stamp::{Dates, ctime};

pub(crate) const UNIT: Unit = Unit {
    id: "apache-error",
    about: Text::fixed("Apache's error log, 2.4 and 2.2", "Apache のエラーログです(2.4 と 2.2)"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Error)),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut scan = Scan::new(line);
    scan.literal(b"[")?;
    let time = ctime(&mut scan, dates)?;
    scan.literal(b"] [")?;
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
    let code = code(&mut scan);
    Some(ErrorLine {
        time: Some(time),
        level,
        pid,
        peer,
        code,
        module,
        offence: None,
        account: None,
        text: scan.rest,
    })
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
        event: r#"time=2026-11-22T01:24:04.168259Z level=error pid=143 peer=2001:db8::7 code=AH01630 module=authz_core text="client denied by server configuration: /var/www/html/.env""#,
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
