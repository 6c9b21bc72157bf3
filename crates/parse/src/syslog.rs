//! The head that syslog daemons put before a line: BSD's (RFC 3164), the same with an ISO stamp (rsyslog's file format),
//! and the head of RFC 5424; each with or without a priority in front. What `journalctl` prints looks the same.

use toban_model::Time;

use crate::rfc5424;
use crate::scan::{Scan, number};
use crate::stamp::{self, Dates};
use crate::window::{self, find, find_far};

/// `Nov 22 01:23:44 web1 haproxy[123]: ` or `2026-11-22T01:23:44.123456+09:00 web1 kernel: `.
pub(crate) struct Head<'a> {
    /// RFC 5424 may leave it out.
    pub(crate) time: Option<Time>,
    /// The program; empty if the line has none (`last message repeated 3 times`).
    pub(crate) tag: &'a [u8],
    pub(crate) pid: Option<u32>,
    pub(crate) text: &'a [u8],
}

pub(crate) fn head<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Head<'a>> {
    let line = behind_priority(line);
    let mut scan = Scan::new(line);
    let bsd = match line {
        [b'1', b' ', ..] => return rfc5424::head(line, dates),
        [b'0'..=b'9', ..] => false,
        _ => true,
    };
    let time = Some(if bsd { stamp::syslog(&mut scan, dates)? } else { stamp::iso(&mut scan, dates)? });
    scan.literal(b" ")?;
    let (host, mut text) = word(scan.rest);
    let mut tag = host;
    // `--no-hostname` leaves the host out, and no host ends with a colon.
    if !(bsd && host.ends_with(b":")) {
        scan.rest = text;
        (tag, text) = word(text);
    }
    match tag.strip_suffix(b":") {
        Some(tag) if !tag.is_empty() => {
            let (tag, pid) = with_pid(tag);
            Some(Head { time, tag, pid, text })
        }
        // With an ISO stamp this would be many a program's own log.
        _ => bsd.then_some(Head { time, tag: b"", pid: None, text: scan.rest }),
    }
}

/// The first word, and what follows it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    match find_far(text, b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

/// `sshd[123]` or `sshd`.
fn with_pid(tag: &[u8]) -> (&[u8], Option<u32>) {
    let bracketed = tag.strip_suffix(b"]").and_then(|tag| {
        let bracket = find(tag, b'[')?;
        let digits = window::Head { rest: &tag[bracket + 1..], len: tag.len() - bracket - 1 };
        Some((&tag[..bracket], u32::try_from(digits.number()?).ok()))
    });
    bracketed.unwrap_or((tag, None))
}

/// The line without `<34>`.
fn behind_priority(line: &[u8]) -> &[u8] {
    let [b'<', rest @ ..] = line else { return line };
    match rest.iter().take(4).position(|b| *b == b'>') {
        Some(end) if number(&rest[..end]).is_some_and(|priority| priority <= 191) => &rest[end + 1..],
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    fn check(line: &str, expected: &str) {
        let mut dates = Dates::new(&clock());
        let read = head(line.as_bytes(), &mut dates).map_or("none".to_owned(), |head| {
            let stamp = |time: Time| jiff::Timestamp::from_microsecond(time.as_micros()).unwrap().to_string();
            let time = head.time.map_or("-".to_owned(), stamp);
            let (tag, text) = (head.tag.escape_ascii(), head.text.escape_ascii());
            format!("{time} {tag} {:?} {text}", head.pid.unwrap_or(0))
        });
        assert_eq!(read, expected, "{line}");
    }

    #[test]
    fn heads_of_every_kind() {
        check("Nov 22 10:23:44 web1 sshd[7]: a: b", "2026-11-22T01:23:44Z sshd 7 a: b");
        check("<86>Nov  2 10:23:44 web1 sshd-session[7]: a", "2026-11-02T01:23:44Z sshd-session 7 a");
        check("Nov 22 10:23:44.5 web1 kernel: [ 1.2] a", "2026-11-22T01:23:44.5Z kernel 0 [ 1.2] a");
        check("Nov 22 10:23:44 sshd[7]: no host", "2026-11-22T01:23:44Z sshd 7 no host");
        check(
            "2026-11-22T10:23:44.5-03:30 web1 postfix/smtpd[7]: a",
            "2026-11-22T13:53:44.5Z postfix/smtpd 7 a",
        );
        check("2026-11-22T10:23:44+0900 web1 sudo:   anna : a", "2026-11-22T01:23:44Z sudo 0   anna : a");
        check("<5>2026-11-22T10:23:44Z web1 a.b_c-d[7]:", "2026-11-22T10:23:44Z a.b_c-d 7 ");
        check(
            "Nov 22 10:23:44 web1 last message repeated 3 times",
            "2026-11-22T01:23:44Z  0 last message repeated 3 times",
        );
        check("2026-11-22T10:23:44Z web1 no tag here", "none");
        check("2026-11-22 10:23:44 ERROR: a program's own", "none");
        check("<192>Nov 22 10:23:44 web1 sshd[7]: a", "none");
        check("Nov 22 10:23:44", "none");
        check("", "none");
    }
}
