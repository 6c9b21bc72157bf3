//! `mysql-error`: the error log of MySQL 5.5 to 8, MariaDB and Percona.
//!
//! A refused login is an event of the service `mysql`, and all else a line of an error log. The account's name is a
//! stranger's text and may hold quotes; the host comes behind it, and little behind that, so it is read from the end.
//!
//! A crash leaves lines without a stamp, and so does a start. They say nothing by themselves, and count as the log's own
//! once a line with a stamp was read.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::event::{ErrorLine, Event, Level, ServiceLine};
use toban_model::{Text, Time};

use super::{Reader, Sample, Unit, Way};
use crate::scan::{Scan, address, number, two};
use crate::service::{AUTH_FAILURE, first_word};
use crate::stamp::{Civil, Dates, iso, time_of_day};
use crate::syslog::Head;

/// How messages that matter start, and the fixed name that this gives them where the server numbers none.
const CODES: &[(&str, &str)] = &[
    ("Too many connections", "too-many-connections"),
    ("Aborted connection ", "aborted-connection"),
    ("InnoDB: A long semaphore wait", "long-semaphore-wait"),
    ("InnoDB: Semaphore wait has lasted", "long-semaphore-wait"),
    ("InnoDB: page_cleaner: ", "slow-page-cleaner"),
    ("InnoDB: Cannot allocate memory", "out-of-memory"),
    ("Out of memory", "out-of-memory"),
    ("Disk is full", "disk-full"),
    ("Can't create thread", "no-thread"),
    ("Error in accept: ", "accept-failed"),
];

pub(crate) const UNIT: Unit = Unit {
    id: "mysql-error",
    about: Text::fixed("the error log of MySQL and MariaDB", "MySQL と MariaDB のエラーログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Log { begun: false })),
};

/// Reads the log's lines.
#[derive(Clone, Debug)]
struct Log {
    /// A line with a stamp was read.
    begun: bool,
}

impl Reader for Log {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let mut scan = Scan::new(line);
        match stamp(&mut scan, dates).and_then(|time| Some(message(scan.rest)?.event(Some(time), None))) {
            Some(event) => {
                self.begun = true;
                Some(event)
            }
            None => self.begun.then_some(Event::Silent),
        }
    }

    /// What follows a crash's first line has no head of its own.
    fn leans_on_earlier_lines(&self) -> bool {
        true
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

/// The event of a line that came through syslog or the journal, with the log's own stamp or without.
pub(crate) fn event<'a>(head: &Head<'a>, dates: &mut Dates) -> Option<Event<'a>> {
    let mut scan = Scan::new(head.text);
    let time = stamp(&mut scan, dates);
    let text = if time.is_some() { scan.rest } else { head.text };
    Some(message(text)?.event(time.or(head.time), head.pid))
}

/// `2026-11-22T01:23:44.123456Z `, `2026-11-22  1:23:44 ` or `261122  1:23:44 `.
fn stamp(scan: &mut Scan<'_>, dates: &mut Dates) -> Option<Time> {
    let time = match scan.rest {
        [y1, y2, m1, m2, d1, d2, b' ', rest @ ..] => {
            let (year, month, day) = (two(&[*y1, *y2])?, two(&[*m1, *m2])?, two(&[*d1, *d2])?);
            scan.rest = rest;
            let (hour, minute, second, micros) = time_of_day(scan)?;
            dates.local(&Civil { year: 2000 + i32::from(year), month, day, hour, minute, second, micros })?
        }
        _ => iso(scan, dates)?,
    };
    scan.literal(b" ")?;
    Some(time)
}

/// What stands behind the stamp, taken apart.
struct Message<'a> {
    level: Level,
    code: Option<&'a str>,
    module: Option<&'a [u8]>,
    text: &'a [u8],
}

/// `12 [Note] [MY-010926] [Server] text`, without some or all of the first, third and fourth; or `mysqld_safe text`.
fn message(text: &[u8]) -> Option<Message<'_>> {
    let (word, behind) = first_word(text);
    if word == b"mysqld_safe" {
        return Some(Message { level: Level::Notice, code: None, module: Some(word), text: behind });
    }
    if let Some(text) = behind.strip_prefix(b"- ").or_else(|| text.strip_prefix(b"- "))
        && is_crash(text)
    {
        return Some(Message { level: Level::Critical, code: Some("crashed"), module: None, text });
    }
    let mut scan = Scan::new(if number(word).is_some() { behind } else { text });
    scan.literal(b"[")?;
    let level = match scan.until(b"] ")? {
        b"ERROR" | b"Error" => Level::Error,
        b"Warning" | b"WARNING" => Level::Warning,
        b"Note" | b"System" => Level::Notice,
        _ => return None,
    };
    let mut code = None;
    let mut module = None;
    if scan.rest.starts_with(b"[MY-") {
        scan.literal(b"[")?;
        code = std::str::from_utf8(scan.until(b"] ")?).ok();
        scan.literal(b"[")?;
        module = Some(scan.until(b"] ")?);
    }
    let text = scan.rest;
    let code = code.or_else(|| is_crash(text).then_some("crashed")).or_else(|| {
        CODES.iter().find(|(words, _)| text.starts_with(words.as_bytes())).map(|(_, code)| *code)
    });
    Some(Message { level, code, module, text })
}

/// `mysqld got signal 11 ;`, `/usr/sbin/mariadbd got signal 6 ;`.
fn is_crash(text: &[u8]) -> bool {
    let (program, rest) = first_word(text);
    (program.ends_with(b"mysqld") || program.ends_with(b"mariadbd")) && rest.starts_with(b"got signal ")
}

impl<'a> Message<'a> {
    fn event(self, time: Option<Time>, pid: Option<u32>) -> Event<'a> {
        if let Some((account, client)) = denied(self.text) {
            return Event::Service(ServiceLine {
                time,
                service: b"mysql",
                pid,
                client,
                account,
                act: AUTH_FAILURE,
                times: 1,
                text: self.text,
            });
        }
        Event::Error(ErrorLine {
            time,
            level: self.level,
            pid,
            peer: aborted(self.text),
            code: self.code,
            module: self.module,
            offence: None,
            account: None,
            text: self.text,
        })
    }
}

/// `Access denied for user 'NAME'@'HOST' (using password: YES)`: whom it says to be who, where that is sure.
fn denied(text: &[u8]) -> Option<(Option<&[u8]>, Option<IpAddr>)> {
    let rest = text.strip_prefix(b"Access denied for user '")?;
    let ended = [&b" (using password: YES)"[..], b" (using password: NO)", b". Account is locked."]
        .iter()
        .find_map(|end| rest.strip_suffix(*end));
    // A database's name may stand at the end of a line that ends otherwise.
    let sure = ended.is_some() || memmem::find_iter(rest, b"'@'").count() == 1;
    let both = ended.unwrap_or(rest).strip_suffix(b"'");
    let Some(both) = both.filter(|_| sure) else { return Some((None, None)) };
    let at = memmem::rfind(both, b"'@'")?;
    Some((Some(&both[..at]).filter(|name| !name.is_empty()), address(&both[at + 3..])))
}

/// `Aborted connection 5 to db: 'x' user: 'y' host: 'ADDR' (Got timeout reading communication packets)`.
fn aborted(text: &[u8]) -> Option<IpAddr> {
    let rest = text.strip_prefix(b"Aborted connection ")?;
    let mut hosts = memmem::find_iter(rest, b"' host: '");
    let (Some(at), None) = (hosts.next(), hosts.next()) else { return None };
    let host = &rest[at + 9..];
    address(&host[..memchr::memchr(b'\'', host)?])
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "2026-11-22T01:23:44.123456Z 12 [Note] [MY-010926] [Server] Access denied for user 'root'@'198.51.100.11' (using password: YES)",
        event: r#"time=2026-11-22T01:23:44.123456Z service=mysql client=198.51.100.11 offence=auth-failure account=root text="Access denied for user 'root'@'198.51.100.11' (using password: YES)""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.123456-05:00 12 [Note] Access denied for user 'john smith'@'2001:db8::7' (using password: YES)",
        event: r#"time=2026-11-22T15:23:44.123456Z service=mysql client=2001:db8::7 offence=auth-failure account="john smith" text="Access denied for user 'john smith'@'2001:db8::7' (using password: YES)""#,
    },
    Sample {
        format: "",
        line: "2026-11-22  9:23:44 140123 [Warning] Access denied for user 'root'@'localhost' (using password: YES)",
        event: r#"time=2026-11-22T00:23:44Z service=mysql offence=auth-failure account=root text="Access denied for user 'root'@'localhost' (using password: YES)""#,
    },
    Sample {
        format: "",
        line: "261122  0:04:00 [Warning] Access denied for user 'root'@'198.51.100.11' (using password: NO)",
        event: r#"time=2026-11-21T15:04:00Z service=mysql client=198.51.100.11 offence=auth-failure account=root text="Access denied for user 'root'@'198.51.100.11' (using password: NO)""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44 5 [Warning] Aborted connection 5 to db: 'shop' user: 'shop' host: '192.0.2.10' (Got timeout reading communication packets)",
        event: r#"time=2026-11-22T01:23:44Z level=warning peer=192.0.2.10 code=aborted-connection text="Aborted connection 5 to db: 'shop' user: 'shop' host: '192.0.2.10' (Got timeout reading communication packets)""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T01:23:44.123456Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections.",
        event: r#"time=2026-11-22T01:23:44.123456Z level=notice code=MY-010931 module=Server text="/usr/sbin/mysqld: ready for connections.""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T01:23:44Z UTC - mysqld got signal 11 ;
This could be because you hit a bug.",
        event: "silent",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn complaints() {
        let check = |line: &str, expected: &str| check("mysql-error", line.as_bytes(), expected);
        check(
            "2026-11-22 10:23:44 0 [Warning] Too many connections",
            "time=2026-11-22T01:23:44Z level=warning code=too-many-connections text=\"Too many connections\"",
        );
        check(
            "2026-11-22T01:23:44Z UTC - mysqld got signal 11 ;",
            "time=2026-11-22T01:23:44Z level=critical code=crashed text=\"mysqld got signal 11 ;\"",
        );
        check(
            "261122 10:23:44 [ERROR] /usr/sbin/mariadbd got signal 6 ;",
            "time=2026-11-22T01:23:44Z level=error code=crashed text=\"/usr/sbin/mariadbd got signal 6 ;\"",
        );
        check(
            "261122 10:23:44 mysqld_safe Number of processes running now: 0",
            "time=2026-11-22T01:23:44Z level=notice module=mysqld_safe text=\"Number of processes running now: 0\"",
        );
        check(
            "2026-11-22 10:23:44 0 [Note] x\n\nstack_bottom = 0x7f\n2026-11-22 10:23:44 1 [Note] y",
            "time=2026-11-22T01:23:44Z level=notice text=y",
        );
        check(
            "2026-11-22 10:23:44 7 [Warning] Access denied for user 'a'@'192.0.2.7'. Account is locked.",
            "time=2026-11-22T01:23:44Z service=mysql client=192.0.2.7 offence=auth-failure account=a text=\"Access denied for user 'a'@'192.0.2.7'. Account is locked.\"",
        );
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Version: '8.0.36'  socket: '/run/mysqld/mysqld.sock'  port: 3306",
            "2026-11-22T01:23:44.123456Z",
            "2026-11-22 10:23:44 web1 sshd[7]: a",
            "2026/11/22 10:23:44 [error] 1#1: x",
            "2026-11-22 10:23:44 5 [Loud] x",
        ] {
            check("mysql-error", line.as_bytes(), "none");
        }
    }
}
