//! The part of strftime(3) that servers' log formats use, compiled once and read from the left.

use crate::scan::{micros_of_fraction, number, two};
use crate::stamp::{Civil, Dates, day_padded, month, offset};

/// A strftime format, compiled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Strftime(Box<[Item]>);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Literal(u8),
    Year,
    YearOfCentury,
    Month,
    MonthName,
    Day,
    Hour,
    HourOf12,
    Afternoon,
    Minute,
    Second,
    Epoch,
    Offset,
    /// Letters that say nothing new: a weekday, a zone's name.
    Letters,
    /// Digits that say nothing new: the day of the year.
    Digits(usize),
}

/// What the pieces of a date have said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Partial {
    year: Option<u16>,
    month: Option<u8>,
    day: Option<u8>,
    hour: Option<u8>,
    minute: Option<u8>,
    second: Option<u8>,
    afternoon: Option<bool>,
    offset: Option<i32>,
    epoch: Option<u64>,
    /// The fraction of the second.
    pub(crate) micros: u32,
}

impl Strftime {
    /// Compiles; the error is the place and the text of what is not understood.
    pub(crate) fn compile(format: &str) -> Result<Self, (usize, String)> {
        let mut items = Vec::new();
        let bytes = format.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if byte != b'%' {
                items.push(Item::Literal(byte));
                at += 1;
                continue;
            }
            // `%-d`, `%Ey` and `%Od` are variants of `%d` and `%y`.
            let flags = bytes[at + 1..].iter().take_while(|b| b"-_0^#EO".contains(b)).count();
            let letter = at + 1 + flags;
            match bytes.get(letter) {
                Some(b'Y') => items.push(Item::Year),
                Some(b'y') => items.push(Item::YearOfCentury),
                Some(b'm') => items.push(Item::Month),
                Some(b'b' | b'h' | b'B') => items.push(Item::MonthName),
                Some(b'd' | b'e') => items.push(Item::Day),
                Some(b'H' | b'k') => items.push(Item::Hour),
                Some(b'I' | b'l') => items.push(Item::HourOf12),
                Some(b'p' | b'P') => items.push(Item::Afternoon),
                Some(b'M') => items.push(Item::Minute),
                Some(b'S') => items.push(Item::Second),
                Some(b's') => items.push(Item::Epoch),
                Some(b'z') => items.push(Item::Offset),
                Some(b'a' | b'A' | b'Z') => items.push(Item::Letters),
                Some(b'j') => items.push(Item::Digits(3)),
                Some(b'u' | b'w') => items.push(Item::Digits(1)),
                Some(b'U' | b'W' | b'V' | b'C' | b'g') => items.push(Item::Digits(2)),
                Some(b'G') => items.push(Item::Digits(4)),
                Some(b'T') => time_of_day(&mut items, true),
                Some(b'R') => time_of_day(&mut items, false),
                Some(b'F') => date(&mut items, b'-', [Item::Year, Item::Month, Item::Day]),
                Some(b'D') => date(&mut items, b'/', [Item::Month, Item::Day, Item::YearOfCentury]),
                Some(b'n') => items.push(Item::Literal(b'\n')),
                Some(b't') => items.push(Item::Literal(b'\t')),
                Some(b'%') => items.push(Item::Literal(b'%')),
                _ => {
                    return Err((
                        at,
                        String::from_utf8_lossy(&bytes[at..bytes.len().min(letter + 1)]).into_owned(),
                    ));
                }
            }
            at = letter + 1;
        }
        Ok(Strftime(items.into()))
    }

    /// Reads the date that `text` starts with; returns its length.
    pub(crate) fn read(&self, text: &[u8], partial: &mut Partial) -> Option<usize> {
        let mut rest = text;
        for item in &self.0 {
            let len = match item {
                Item::Literal(_) => 1,
                Item::Year => 4,
                Item::YearOfCentury | Item::Month | Item::Day | Item::Hour | Item::HourOf12 => {
                    // Padded with a zero, a space, or not at all.
                    if rest.get(1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 }
                }
                Item::Minute | Item::Second | Item::Afternoon => 2,
                Item::Digits(count) => *count,
                Item::Offset if rest.get(3) == Some(&b':') => 6,
                Item::Offset => 5,
                Item::Epoch => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
                Item::MonthName | Item::Letters => {
                    rest.iter().take_while(|b| b.is_ascii_alphabetic() || **b >= 0x80).count()
                }
            };
            let (value, after) = rest.split_at_checked(len)?;
            let small = || match value {
                [digit] if digit.is_ascii_digit() => Some(digit - b'0'),
                _ => day_padded(value),
            };
            match item {
                Item::Literal(byte) => (value == [*byte]).then_some(())?,
                Item::Year => partial.year = Some(number(value)? as u16),
                Item::YearOfCentury => partial.year = Some(2000 + u16::from(small()?)),
                Item::Month => partial.month = Some(small()?),
                Item::MonthName => partial.month = Some(month(value.get(..3)?)?),
                Item::Day => partial.day = Some(small()?),
                Item::Hour => partial.hour = Some(small()?),
                Item::HourOf12 => partial.hour = Some(small().filter(|hour| (1..=12).contains(hour))? % 12),
                Item::Afternoon => match value.to_ascii_uppercase().as_slice() {
                    b"AM" => partial.afternoon = Some(false),
                    b"PM" => partial.afternoon = Some(true),
                    _ => return None,
                },
                Item::Minute => partial.minute = Some(two(value)?),
                Item::Second => partial.second = Some(two(value)?),
                Item::Epoch => partial.epoch = Some(number(value).filter(|secs| *secs < 1 << 40)?),
                Item::Offset => partial.offset = Some(offset(value)?),
                Item::Letters => {}
                Item::Digits(_) => {
                    micros_of_fraction(value)?;
                }
            }
            rest = after;
        }
        Some(text.len() - rest.len())
    }
}

fn time_of_day(items: &mut Vec<Item>, seconds: bool) {
    items.extend([Item::Hour, Item::Literal(b':'), Item::Minute]);
    if seconds {
        items.extend([Item::Literal(b':'), Item::Second]);
    }
}

fn date(items: &mut Vec<Item>, between: u8, [first, second, third]: [Item; 3]) {
    items.extend([first, Item::Literal(between), second, Item::Literal(between), third]);
}

impl Partial {
    /// Nothing was said.
    pub(crate) const BLANK: Partial = Partial {
        year: None,
        month: None,
        day: None,
        hour: None,
        minute: None,
        second: None,
        afternoon: None,
        offset: None,
        epoch: None,
        micros: 0,
    };

    /// Microseconds since the epoch, if the pieces make a date.
    pub(crate) fn assemble(&self, dates: &mut Dates) -> Option<i64> {
        if let Some(secs) = self.epoch {
            return Some(i64::try_from(secs).ok()? * 1_000_000 + i64::from(self.micros));
        }
        let mut civil = Civil {
            year: i32::from(self.year.unwrap_or(0)),
            month: self.month?,
            day: self.day?,
            hour: self.hour? + if self.afternoon == Some(true) && self.hour? < 12 { 12 } else { 0 },
            minute: self.minute?,
            second: self.second.unwrap_or(0),
            micros: self.micros,
        };
        match (self.year, self.offset) {
            (None, _) => dates.local_without_year(civil).map(toban_model::Time::as_micros),
            (Some(_), None) => dates.local(&civil).map(toban_model::Time::as_micros),
            (Some(_), Some(east)) => {
                civil.micros = 0;
                Some((civil.utc_secs()? - i64::from(east)) * 1_000_000 + i64::from(self.micros))
            }
        }
    }
}
