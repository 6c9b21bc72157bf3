//! Dates as logs write them, to microseconds since the epoch. The zone comes from the line where it has one, otherwise
//! from the `Clock`; a year that the line leaves out is judged by the clock's `now`.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use toban_model::Time;

use crate::scan::{Scan, micros_of_fraction, number, two};
use crate::window::Head;

/// What a line's date needs when it does not say it: the zone, and the year by what is now.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The moment that a date without a year lies before.
    pub now: Time,
    /// The zone of dates without one.
    pub zone: TimeZone,
}

/// A date and time of day on a calendar, in no zone yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Civil {
    pub(crate) year: i32,
    pub(crate) month: u8,
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    /// 60 in a leap second.
    pub(crate) second: u8,
    pub(crate) micros: u32,
}

impl Civil {
    /// Seconds since the epoch if this were UTC; `None` if there is no such date.
    pub(crate) fn utc_secs(&self) -> Option<i64> {
        let valid = (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && self.day >= 1
            && self.day <= days_in_month(self.year, self.month)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60;
        valid.then(|| {
            days(self.year, self.month, self.day) * 86_400
                + i64::from(self.hour) * 3600
                + i64::from(self.minute) * 60
                + i64::from(self.second)
        })
    }
}

fn days_in_month(year: i32, month: u8) -> u8 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since the epoch. See <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>.
fn days(year: i32, month: u8, day: u8) -> i64 {
    let (month, day) = (i64::from(month), i64::from(day));
    let year = i64::from(year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// `Jan` … `Dec`.
pub(crate) fn month(name: &[u8]) -> Option<u8> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// `+0900`, `+09:00`, `-0330` or `Z`, in seconds east of Greenwich.
pub(crate) fn offset(bytes: &[u8]) -> Option<i32> {
    let (sign, hours, minutes) = match bytes {
        b"Z" | b"z" => return Some(0),
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => (sign, two(&[*h1, *h2])?, two(&[*m1, *m2])?),
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let east = i32::from(hours) * 3600 + i32::from(minutes) * 60;
    match sign {
        b'+' => Some(east),
        b'-' => Some(-east),
        _ => None,
    }
}

/// Reads dates; remembers the last minute of each kind, since neighbouring lines share it.
#[derive(Clone, Debug)]
pub(crate) struct Dates {
    clock: Clock,
    /// `22/Nov/2026:01:23:` and ` +0000`.
    clf: Memo<4>,
    /// `2026-11-22T01:23:` and `+09:00`.
    iso: Memo<4>,
    /// `Nov 22 01:23:`
    syslog: Memo<2>,
    /// The last local minute (as if UTC) and the epoch seconds it means.
    local: Option<(i64, i64)>,
}

/// The last minute as it was written, in pieces as wide as a register, which may overlap; and the epoch seconds at which
/// it starts.
#[derive(Clone, Debug, Default)]
struct Memo<const N: usize>(Option<([u64; N], i64)>);

impl<const N: usize> Memo<N> {
    #[inline(always)]
    fn start(&self, written: [u64; N]) -> Option<i64> {
        self.0.filter(|(known, _)| *known == written).map(|(_, start)| start)
    }

    fn keep(&mut self, written: [u64; N], start: i64) -> i64 {
        self.0 = Some((written, start));
        start
    }
}

/// Eight bytes of a stamp.
#[inline(always)]
fn word<const N: usize>(stamp: &[u8; N], at: usize) -> u64 {
    stamp[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// A second of a minute that starts at these epoch seconds; 60 is a leap second.
#[inline(always)]
fn second_of(start: i64, second: u8) -> Option<i64> {
    (second <= 60).then_some((start + i64::from(second)) * 1_000_000)
}

impl Dates {
    pub(crate) fn new(clock: &Clock) -> Self {
        Dates {
            clock: clock.clone(),
            clf: Memo::default(),
            iso: Memo::default(),
            syslog: Memo::default(),
            local: None,
        }
    }

    pub(crate) fn set_clock(&mut self, clock: &Clock) {
        *self = Dates::new(clock);
    }

    /// `22/Nov/2026:01:23:44 +0000`, which is always 26 bytes.
    #[inline]
    pub(crate) fn clf(&mut self, bytes: &[u8; 26]) -> Option<i64> {
        let (second_and_zone, minute) = (word(bytes, 18), [word(bytes, 0), word(bytes, 8), word(bytes, 10)]);
        let written = [minute[0], minute[1], minute[2], second_and_zone >> 16];
        let start = match self.clf.start(written) {
            Some(start) => start,
            None => self.clf.keep(written, clf_minute(bytes)?),
        };
        second_of(start, two(&bytes[18..20])?)
    }

    /// A local date in the clock's zone. Of an hour that comes twice it is the first, of one that does not come the
    /// hour after.
    pub(crate) fn local(&mut self, civil: &Civil) -> Option<Time> {
        let secs = civil.utc_secs()?;
        let second = secs.rem_euclid(60);
        let minute = secs - second;
        let start = match self.local {
            Some((known, start)) if known == minute => start,
            _ => {
                let year = i16::try_from(civil.year).ok()?;
                let (month, day) = (civil.month as i8, civil.day as i8);
                let date =
                    DateTime::new(year, month, day, civil.hour as i8, civil.minute as i8, 0, 0).ok()?;
                let moment = self.clock.zone.to_ambiguous_timestamp(date).compatible().ok()?;
                // A leap second rolls into the next minute, as POSIX time has it, so it is not this one's start.
                if civil.second < 60 {
                    self.local = Some((minute, moment.as_second()));
                }
                moment.as_second() + if civil.second == 60 { 60 } else { 0 }
            }
        };
        Some(Time::from_micros((start + second) * 1_000_000 + i64::from(civil.micros)))
    }

    /// A local date without a year: the last such date whose minute does not begin after now (by more than a day, for
    /// clocks that disagree and zones that are wrong).
    pub(crate) fn local_without_year(&mut self, civil: Civil) -> Option<Time> {
        let latest = self.clock.now.as_micros().saturating_add(86_400_000_000);
        // Within what a calendar can say, whatever clock was given.
        let this_year = (1970 + latest / 86_400_000_000 * 400 / 146_097).clamp(1, 9998) as i32;
        // 29 February may be eight years back.
        let minute = (this_year - 8..=this_year + 1).rev().find_map(|year| {
            self.local(&Civil { year, second: 0, micros: 0, ..civil })
                .filter(|time| time.as_micros() <= latest)
        })?;
        let second = second_of(0, civil.second)?;
        Some(Time::from_micros(minute.as_micros() + second + i64::from(civil.micros)))
    }
}

/// Where the minute of a common-log-format stamp starts.
#[cold]
fn clf_minute(bytes: &[u8; 26]) -> Option<i64> {
    let shaped = bytes[2] == b'/' && bytes[6] == b'/' && bytes[20] == b' ';
    let colons = bytes[11] == b':' && bytes[14] == b':' && bytes[17] == b':';
    if !shaped || !colons {
        return None;
    }
    let civil = Civil {
        year: number(&bytes[7..11])? as i32,
        month: month(&bytes[3..6])?,
        day: two(&bytes[..2])?,
        hour: two(&bytes[12..14])?,
        minute: two(&bytes[15..17])?,
        second: 0,
        micros: 0,
    };
    Some(civil.utc_secs()? - i64::from(offset(&bytes[21..26])?))
}

/// `01:23:44`, the hour padded with a zero or a space, with an optional fraction (`.` or `,`): hour, minute, second,
/// microseconds.
pub(crate) fn time_of_day(scan: &mut Scan<'_>) -> Option<(u8, u8, u8, u32)> {
    let [hour @ .., b':'] = scan.take(3)? else { return None };
    let [minute @ .., b':'] = scan.take(3)? else { return None };
    let second = scan.take(2)?;
    Some((day_padded(hour)?, two(minute)?, two(second)?, fraction(scan)))
}

/// `.123456` or `,123` if it is there, in microseconds.
#[inline]
fn fraction(scan: &mut Scan<'_>) -> u32 {
    let [b'.' | b',', rest @ ..] = scan.rest else { return 0 };
    // Six digits and no seventh, as syslog daemons write it.
    if rest.get(6).is_some_and(|byte| !byte.is_ascii_digit())
        && let Some(micros) = (Head { rest, len: 6 }).number()
    {
        scan.rest = &rest[6..];
        return micros as u32;
    }
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(digits);
    scan.rest = rest;
    micros_of_fraction(digits).unwrap_or(0)
}

/// `2026-11-22T01:23:44.123456+09:00`, also with a space for the `T` and without fraction or offset.
pub(crate) fn iso(scan: &mut Scan<'_>, dates: &mut Dates) -> Option<Time> {
    let (stamp, rest) = scan.rest.split_first_chunk::<19>()?;
    scan.rest = rest;
    let micros = fraction(scan);
    let zone = scan.take(match scan.rest {
        [b'Z', ..] => 1,
        [b'+' | b'-', _, _, b':', ..] => 6,
        [b'+' | b'-', ..] => 5,
        _ => 0,
    })?;
    let mut zone_word = [0; 8];
    zone_word[..zone.len()].copy_from_slice(zone);
    let written = [word(stamp, 0), word(stamp, 8), word(stamp, 9), u64::from_le_bytes(zone_word)];
    let start = match dates.iso.start(written) {
        Some(start) => start,
        None => {
            let start = iso_minute(stamp, zone, dates)?;
            dates.iso.keep(written, start)
        }
    };
    Some(Time::from_micros(second_of(start, two(&stamp[17..])?)? + i64::from(micros)))
}

/// Where the minute of an ISO stamp starts.
#[cold]
fn iso_minute(stamp: &[u8; 19], zone: &[u8], dates: &mut Dates) -> Option<i64> {
    let mut scan = Scan::new(stamp);
    let [year @ .., b'-'] = scan.take(5)? else { return None };
    let [month @ .., b'-'] = scan.take(3)? else { return None };
    let [day @ .., b'T' | b' '] = scan.take(3)? else { return None };
    let (year, month, day) = (number(year)? as i32, two(month)?, two(day)?);
    let (hour, minute, ..) = time_of_day(&mut scan)?;
    let civil = Civil { year, month, day, hour, minute, second: 0, micros: 0 };
    match zone {
        [] => Some(dates.local(&civil)?.as_micros() / 1_000_000),
        zone => Some(civil.utc_secs()? - i64::from(offset(zone)?)),
    }
}

/// `Nov 22 01:23:44`, the day padded with a space; no year, no zone.
pub(crate) fn syslog(scan: &mut Scan<'_>, dates: &mut Dates) -> Option<Time> {
    let padded;
    let (stamp, rest) = match scan.rest.split_first_chunk::<15>()? {
        // Some do not pad the day: `Nov 2 01:23:44`.
        ([a, b, c, b' ', day, b' ', time @ ..], _) => {
            let [h1, h2, c1, m1, m2, c2, s1, s2, _] = *time;
            padded = [*a, *b, *c, b' ', b' ', *day, b' ', h1, h2, c1, m1, m2, c2, s1, s2];
            (&padded, &scan.rest[14..])
        }
        whole => whole,
    };
    scan.rest = rest;
    let written = [word(stamp, 0), word(stamp, 5)];
    let start = match dates.syslog.start(written) {
        Some(start) => start,
        None => {
            let start = syslog_minute(stamp, dates)?;
            dates.syslog.keep(written, start)
        }
    };
    let micros = fraction(scan);
    Some(Time::from_micros(second_of(start, two(&stamp[13..])?)? + i64::from(micros)))
}

/// Where the minute of a syslog stamp starts.
#[cold]
fn syslog_minute(stamp: &[u8; 15], dates: &mut Dates) -> Option<i64> {
    let mut scan = Scan::new(stamp);
    let month = month(scan.take(3)?)?;
    scan.literal(b" ")?;
    let day = day_padded(scan.take(2)?)?;
    scan.literal(b" ")?;
    let (hour, minute, ..) = time_of_day(&mut scan)?;
    let civil = Civil { year: 0, month, day, hour, minute, second: 0, micros: 0 };
    Some(dates.local_without_year(civil)?.as_micros() / 1_000_000)
}

/// `Sun Nov 22 01:24:04.168259 2026`, local time: C's `ctime`, with Apache's fraction.
pub(crate) fn ctime(scan: &mut Scan<'_>, dates: &mut Dates) -> Option<Time> {
    let [.., b' '] = scan.take(4)? else { return None };
    let month = month(scan.take(3)?)?;
    scan.literal(b" ")?;
    let day = day_padded(scan.take(2)?)?;
    scan.literal(b" ")?;
    let (hour, minute, second, micros) = time_of_day(scan)?;
    scan.literal(b" ")?;
    let year = number(scan.take(4)?)? as i32;
    dates.local(&Civil { year, month, day, hour, minute, second, micros })
}

/// Two digits, or a space and one.
pub(crate) fn day_padded(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b' ', digit] if digit.is_ascii_digit() => Some(digit - b'0'),
        _ => two(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dates(now: &str, zone: &str) -> Dates {
        let now: jiff::Timestamp = now.parse().unwrap();
        Dates::new(&Clock { now: Time::from_secs(now.as_second()), zone: TimeZone::posix(zone).unwrap() })
    }

    fn show(time: Option<Time>) -> String {
        time.map_or("none".into(), |t| jiff::Timestamp::from_microsecond(t.as_micros()).unwrap().to_string())
    }

    #[test]
    fn clf_with_its_own_offset() {
        let check = |text: &str, expected: &str| {
            let mut dates = dates("2026-11-22T00:00:00Z", "JST-9");
            let bytes: &[u8; 26] = text.as_bytes().try_into().unwrap();
            // Twice, the second time from the memo.
            for _ in 0..2 {
                assert_eq!(show(dates.clf(bytes).map(Time::from_micros)), expected, "{text}");
            }
        };
        check("22/Nov/2026:01:23:44 +0000", "2026-11-22T01:23:44Z");
        check("22/Nov/2026:01:23:44 +0900", "2026-11-21T16:23:44Z");
        check("29/Feb/2024:23:59:59 -0330", "2024-03-01T03:29:59Z");
        check("29/Feb/2026:23:59:59 +0000", "none");
        check("22/Nov/2026:01:23:4x +0000", "none");
        check("22/Nov/2026:25:23:44 +0000", "none");
        check("22/nov/2026:01:23:44 +0000", "none");
        check("22-Nov-2026:01:23:44 +0000", "none");
        check("31/Dec/2016:23:59:60 +0000", "2017-01-01T00:00:00Z");
    }

    #[test]
    fn iso_stamps() {
        let check = |text: &str, expected: &str| {
            let mut dates = dates("2026-11-22T00:00:00Z", "JST-9");
            assert_eq!(show(iso(&mut Scan::new(text.as_bytes()), &mut dates)), expected, "{text}");
        };
        check("2026-11-22T01:23:44.123456+09:00 x", "2026-11-21T16:23:44.123456Z");
        check("2026-11-22T01:23:44Z", "2026-11-22T01:23:44Z");
        check("2026-11-22 01:23:44,5 x", "2026-11-21T16:23:44.5Z");
        check("2026-11-22T01:23", "none");
        check("2026-13-22T01:23:44Z", "none");
    }

    #[test]
    fn a_missing_year_is_the_last_one_possible() {
        let check = |now: &str, text: &str, expected: &str| {
            assert_eq!(
                show(syslog(&mut Scan::new(text.as_bytes()), &mut dates(now, "UTC0"))),
                expected,
                "{text}"
            );
        };
        check("2026-11-22T02:00:00Z", "Nov 22 01:23:44 web1", "2026-11-22T01:23:44Z");
        check("2026-11-22T02:00:00Z", "Nov  2 01:23:44 web1", "2026-11-02T01:23:44Z");
        check("2026-11-22T02:00:00Z", "Nov 2 01:23:44 web1", "2026-11-02T01:23:44Z");
        check("2026-11-22T02:00:00Z", "Dec 31 23:59:59 web1", "2025-12-31T23:59:59Z");
        check("2026-12-31T23:59:00Z", "Jan  1 00:00:10 web1", "2027-01-01T00:00:10Z");
        check("2026-11-22T02:00:00Z", "Feb 29 00:00:00 web1", "2024-02-29T00:00:00Z");
        check("2026-11-22T02:00:00Z", "Feb 30 00:00:00 web1", "none");
    }

    #[test]
    fn local_stamps_follow_the_zone() {
        let check = |text: &str, expected: &str| {
            let mut dates = dates("2026-11-22T02:00:00Z", "CET-1CEST,M3.5.0,M10.5.0/3");
            for _ in 0..2 {
                assert_eq!(show(ctime(&mut Scan::new(text.as_bytes()), &mut dates)), expected, "{text}");
            }
        };
        check("Sun Nov 22 01:24:04.168259 2026", "2026-11-22T00:24:04.168259Z");
        check("Wed Jul  1 01:24:04 2026", "2026-06-30T23:24:04Z");
        // The hour that comes twice, and the one that does not come.
        check("Sun Oct 25 02:30:00 2026", "2026-10-25T00:30:00Z");
        check("Sun Mar 29 02:30:00 2026", "2026-03-29T01:30:00Z");
        check("Sat Dec 31 23:59:60 2016", "2016-12-31T23:00:00Z");
    }

    /// Second by second over the ends of minutes, years, summer and winter, with stamps of other minutes between.
    #[test]
    fn what_is_remembered_changes_nothing() {
        let rule = "CET-1CEST,M3.5.0,M10.5.0/3";
        let zone = TimeZone::posix(rule).unwrap();
        let mut dates = dates("2027-03-29T00:00:00Z", rule);
        let mut check = |kind: &str, text: &str, expected: jiff::Timestamp| {
            let bytes = text.as_bytes();
            let time = match kind {
                "clf" => dates.clf(bytes.try_into().unwrap()).map(Time::from_micros),
                "iso" => iso(&mut Scan::new(bytes), &mut dates),
                _ => syslog(&mut Scan::new(bytes), &mut dates),
            };
            assert_eq!(show(time), expected.to_string(), "{text}");
        };
        let turns =
            ["2026-10-25T00:59:00Z", "2026-12-31T22:59:00Z", "2027-03-01T22:59:30Z", "2027-03-28T00:59:00Z"];
        for turn in turns {
            let turn: jiff::Timestamp = turn.parse().unwrap();
            for second in 0..150 {
                for away in [0, -3600, -86_400 * 40] {
                    let micros = (second * 104_729 + 7) % 1_000_000;
                    let whole = turn.checked_add(jiff::SignedDuration::from_secs(second + away)).unwrap();
                    let finer = whole.checked_add(jiff::SignedDuration::from_micros(micros)).unwrap();
                    let there = finer.to_zoned(zone.clone());
                    let show = |format: &str| there.strftime(format).to_string();
                    check("clf", &show("%d/%b/%Y:%H:%M:%S %z"), whole);
                    check("iso", &show("%Y-%m-%dT%H:%M:%S.%6f%:z web1"), finer);
                    check("iso", &show("%Y-%m-%dT%H:%M:%S%z"), whole);
                    check("iso", &finer.to_string(), finer);
                    // Without an offset, of an hour that comes twice it is the first.
                    let first = |date: DateTime| zone.to_ambiguous_timestamp(date).compatible().unwrap();
                    let date = there.datetime();
                    check("iso", &show("%Y-%m-%d %H:%M:%S,%6f x"), first(date));
                    check(
                        "syslog",
                        &show("%b %e %H:%M:%S web1"),
                        first(date.with().subsec_nanosecond(0).build().unwrap()),
                    );
                }
            }
        }
    }

    #[test]
    fn seconds_are_looked_at_whatever_is_remembered() {
        let mut dates = dates("2026-11-22T02:00:00Z", "UTC0");
        for (second, fits) in
            [("59", true), ("60", true), ("61", false), ("5 ", false), ("x1", false), ("00", true)]
        {
            let clf = format!("22/Nov/2026:01:23:{second} +0000");
            assert_eq!(dates.clf(clf.as_bytes().try_into().unwrap()).is_some(), fits, "{clf}");
            for (text, read) in [
                (format!("2026-11-22T01:23:{second}Z"), iso as fn(&mut Scan<'_>, &mut Dates) -> Option<Time>),
                (format!("Nov 22 01:23:{second} web1"), syslog),
            ] {
                assert_eq!(read(&mut Scan::new(text.as_bytes()), &mut dates).is_some(), fits, "{text}");
            }
        }
        // A hole in a file is no date.
        assert_eq!(dates.clf(b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x0044\0\0\0\0\0\0"), None);
    }
}
