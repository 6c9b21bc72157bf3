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
use crate::stamp::{Civil, Dates, day_padded, offset, time_of_day};
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
    ("mysqld got signal ", "crashed"),
    ("mariadbd got signal ", "crashed"),
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
    let (year, month, day) = match scan.rest {
        [y1, y2, m1, m2, d1, d2, b' ', ..] => {
            (2000 + i32::from(two(&[*y1, *y2])?), two(&[*m1, *m2])?, two(&[*d1, *d2])?)
        }
        [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b' ' | b'T', ..] => {
            (number(&[*y1, *y2, *y3, *y4])? as i32, two(&[*m1, *m2])?, two(&[*d1, *d2])?)
        }
        _ => return None,
    };
    scan.take(if scan.rest[4] == b'-' { 11 } else { 7 })?;
    // Old servers pad the hour with a space.
    let hour = day_padded(scan.rest.get(..2)?)?;
    let padded = [b'0' + hour / 10, b'0' + hour % 10];
    let rest = scan.rest;
    let mut clock = [0; 15];
    let len = rest.len().min(15);
    clock[..len].copy_from_slice(&rest[..len]);
    clock[..2].copy_from_slice(&padded);
    let mut inner = Scan::new(&clock[..len]);
    let (hour, minute, second, micros) = time_of_day(&mut inner)?;
    scan.take(len - inner.rest.len())?;
    let civil = Civil { year, month, day, hour, minute, second, micros };
    let time = match scan.rest {
        [b' ', ..] => dates.local(&civil)?,
        [b'Z' | b'+' | b'-', ..] => {
            let (zone, _) = first_word(scan.rest);
            scan.take(zone.len())?;
            let east = i64::from(offset(zone)?);
            Time::from_micros((civil.utc_secs()? - east) * 1_000_000 + i64::from(micros))
        }
        _ => return None,
    };
    scan.literal(b" ")?;
    Some(time)
}
