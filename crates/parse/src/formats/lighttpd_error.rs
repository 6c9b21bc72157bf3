//! `lighttpd-error`: lighttpd's error log. Its access log is `lighttpd`, among Apache's formats.
//! See <https://redmine.lighttpd.net/projects/lighttpd/wiki/Server_errorlogDetails>.
//!
//! Where a line names an address, it ends with it, behind whatever a stranger wrote.

use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level, Offence};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, address};
use crate::stamp::{Dates, iso};

pub(crate) const UNIT: Unit = Unit {
    id: "lighttpd-error",
    about: Text::fixed("lighttpd's error log", "lighttpd のエラーログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Error)),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut scan = Scan::new(line);
    let time = iso(&mut scan, dates)?;
    scan.literal(b": (")?;
    // Where in the source: `mod_auth.c.828`.
    let place = scan.until(b") ")?;
    let number = memchr::memrchr(b'.', place)?;
    let (module, number) = (&place[..number], &place[number + 1..]);
    (module.ends_with(b".c") && !number.is_empty() && number.iter().all(u8::is_ascii_digit)).then_some(())?;
    let text = scan.rest;
    let (peer, offence) = match module {
        b"mod_auth.c" | b"http_auth.c" => match failed_login(text) {
            Some(peer) => (peer, Some(Offence::AuthFailure)),
            None => (None, None),
        },
        b"mod_openssl.c" | b"mod_gnutls.c" | b"mod_mbedtls.c" | b"mod_wolfssl.c" | b"mod_nss.c" => {
            let peer = in_last_brackets(text);
            (peer, peer.map(|_| Offence::ProtocolError))
        }
        _ => (None, None),
    };
    let account = offence.filter(|offence| *offence == Offence::AuthFailure).and_then(|_| account(text));
    let level = if text.starts_with(b"server st") { Level::Notice } else { Level::Error };
    Some(ErrorLine {
        time: Some(time),
        level,
        pid: None,
        peer,
        code: None,
        module: Some(module),
        offence,
        account,
        text,
    })
}

/// Whose login failed; the outer `None` if none did.
fn failed_login(text: &[u8]) -> Option<Option<std::net::IpAddr>> {
    let failed = [&b"password doesn't match for "[..], b"digest: auth failed", b"get_password failed"];
    failed.iter().any(|head| text.starts_with(head)).then_some(())?;
    let at = memchr::memmem::rfind(text, b" IP: ")?;
    Some(address(text[at + 5..].trim_ascii()))
}

/// The name in `username: mary ann, IP: 192.0.2.10`, older without the comma, and in `failed for mary: wrong password`.
fn account(text: &[u8]) -> Option<&[u8]> {
    let end = memchr::memmem::rfind(text, b" IP: ")?;
    let text = text[..end].strip_suffix(b",").unwrap_or(&text[..end]);
    let name = match memchr::memmem::find(text, b" username: ") {
        Some(at) => &text[at + 11..],
        None => {
            let behind = text.strip_prefix(b"digest: auth failed for ")?;
            &behind[..memchr::memmem::rfind(behind, b": ")?]
        }
    };
    Some(name.trim_ascii()).filter(|name| !name.is_empty())
}

fn in_last_brackets(text: &[u8]) -> Option<std::net::IpAddr> {
    let inside = text.strip_suffix(b")")?;
    address(&inside[memchr::memrchr(b'(', inside)? + 1..])
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (mod_auth.c.828) password doesn't match for /admin/ username: mary ann, IP: 192.0.2.10",
        event: r#"time=2026-11-22T01:23:44Z level=error peer=192.0.2.10 module=mod_auth.c offence=auth-failure account="mary ann" text="password doesn't match for /admin/ username: mary ann, IP: 192.0.2.10""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (http_auth.c.924) password doesn't match for /admin username: root IP: 2001:db8::7",
        event: r#"time=2026-11-22T01:23:44Z level=error peer=2001:db8::7 module=http_auth.c offence=auth-failure account=root text="password doesn't match for /admin username: root IP: 2001:db8::7""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (mod_auth.c.545) digest: auth failed for  mary: wrong password, IP: 198.51.100.11",
        event: r#"time=2026-11-22T01:23:44Z level=error peer=198.51.100.11 module=mod_auth.c offence=auth-failure account=mary text="digest: auth failed for  mary: wrong password, IP: 198.51.100.11""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (mod_openssl.c.3470) SSL: 1 error:0A00010B:SSL routines::wrong version number (198.51.100.11)",
        event: r#"time=2026-11-22T01:23:44Z level=error peer=198.51.100.11 module=mod_openssl.c offence=protocol-error text="SSL: 1 error:0A00010B:SSL routines::wrong version number (198.51.100.11)""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (gw_backend.c.278) establishing connection failed: socket: unix:/run/php/php8.2-fpm.sock: Resource temporarily unavailable",
        event: r#"time=2026-11-22T01:23:44Z level=error module=gw_backend.c text="establishing connection failed: socket: unix:/run/php/php8.2-fpm.sock: Resource temporarily unavailable""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44: (server.c.1588) server started (lighttpd/1.4.69)",
        event: r#"time=2026-11-22T01:23:44Z level=notice module=server.c text="server started (lighttpd/1.4.69)""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use toban_model::event::Event;

    #[test]
    fn only_the_end_of_a_line_names_a_client() {
        let check = |text: &str, expected: Option<[u8; 4]>| {
            let line = format!("2026-11-22 10:23:44: {text}");
            let mut format = crate::Format::from_name_or_string("lighttpd-error", &clock()).unwrap();
            let Some(Event::Error(error)) = format.parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(error.peer, expected.map(Into::into), "{line}");
        };
        let own = Some([192, 0, 2, 10]);
        check(
            "(mod_auth.c.8) password doesn't match for / username: x, IP: 203.0.113.9, IP: 192.0.2.10",
            own,
        );
        check("(mod_auth.c.8) password doesn't match for / IP: 203.0.113.9 username: x, IP: 192.0.2.10", own);
        check("(mod_auth.c.8) password doesn't match for / username: x, IP: 203.0.113.9 y", None);
        check("(gw_backend.c.8) x password doesn't match for / username: x, IP: 203.0.113.9", None);
        check("(request.c.8) invalid request (203.0.113.9)", None);
        check("(mod_openssl.c.8) SSL: x (203.0.113.9) y", None);
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "2026-11-22 10:23:44",
            "2026-11-22 10:23:44: server started",
            "2026-11-22 10:23:44: (server.c.x) server started",
            "2026-11-22 10:23:44: (server) started",
            "2026/11/22 10:23:44: (server.c.1588) server started",
        ] {
            check("lighttpd-error", line.as_bytes(), "none");
        }
    }
}
