//! Minutes: what is kept of each vital of a day when its seconds are given up.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use toban_model::{Sample, Time};

use super::column_file::{self, ColumnFile, Magic, Page, What, sealed};
use super::pack;
use super::places::{self, MINUTES};
use super::series::Vital;
use super::wire::Bytes;
use super::{Losses, PAGE_SAMPLES_MAX};
use crate::Error;

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const DAY_MINUTES: usize = 1440;
/// A counter's growth over a longer gap says nothing about one minute.
const GAP_MAX: Duration = Duration::from_secs(60);
/// Bits of an f32 that are rounded away: ten of the mantissa stay, and the one that is not written.
const ROUNDED_BITS: u32 = 13;

const _: () = assert!(DAY_MINUTES <= PAGE_SAMPLES_MAX);

/// One minute of a vital. A counter's numbers are its growth a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minute {
    /// When it began.
    pub at: Time,
    /// The mean of its seconds, to 0.05 % as all of these.
    pub mean: f64,
    /// The lowest second.
    pub low: f64,
    /// The highest second.
    pub high: f64,
    /// How many seconds were read.
    pub seconds: u32,
}

#[derive(Clone, Copy)]
struct Sum {
    seconds: u32,
    sum: f64,
    low: f64,
    high: f64,
}

/// Folds samples into minutes.
#[derive(Default)]
pub(super) struct Fold {
    places: HashMap<Vital, usize>,
    vitals: Vec<Folded>,
}

struct Folded {
    vital: Vital,
    before: Option<(Time, f64)>,
    minutes: Vec<(Time, Sum)>,
}

impl Fold {
    pub(super) fn push(&mut self, sample: &Sample) {
        for (next, reading) in sample.readings.iter().enumerate() {
            let vital = Vital::of(reading);
            let place = match self.vitals.get(next) {
                Some(folded) if folded.vital == vital => next,
                _ => *self.places.entry(vital).or_insert_with_key(|vital| {
                    self.vitals.push(Folded { vital: vital.clone(), before: None, minutes: Vec::new() });
                    self.vitals.len() - 1
                }),
            };
            self.vitals[place].push(sample.at, reading.value);
        }
    }

    /// Puts the minutes into the files of their days.
    pub(super) fn write(self, dir: &Path) -> Result<(), Error> {
        let minutes = self.vitals.iter().flat_map(|folded| &folded.minutes);
        let mut days: Vec<Time> = minutes.map(|(at, _)| at.bucket(DAY)).collect();
        days.sort_unstable();
        days.dedup();
        days.into_iter().try_for_each(|day| self.write_day(dir, day))
    }

    fn write_day(&self, dir: &Path, day: Time) -> Result<(), Error> {
        let path = places::path(dir, day, MINUTES);
        let mut columns = Vec::new();
        let mut known = Vec::new();
        let mut losses = Losses::default();
        if path.exists()
            && let Some(file) = ColumnFile::open(&path, Magic::Minutes)?
        {
            losses = file.directory.losses;
            for at in 0..file.directory.columns.len() {
                let What::Vital(vital) = &file.directory.columns[at].what else { continue };
                let mut minutes =
                    read_day(&file, at, &mut losses)?.unwrap_or_else(|| vec![None; DAY_MINUTES]);
                if let Some(folded) = self.vitals.iter().find(|folded| folded.vital == *vital) {
                    folded.add_to(&mut minutes, day);
                }
                columns.push((What::Vital(vital.clone()), vec![packed(&minutes)]));
                known.push(vital.clone());
            }
        }
        for folded in self.vitals.iter().filter(|folded| !known.contains(&folded.vital)) {
            let mut minutes = vec![None; DAY_MINUTES];
            folded.add_to(&mut minutes, day);
            columns.push((What::Vital(folded.vital.clone()), vec![packed(&minutes)]));
        }
        let page = Page { first: day, last: day + DAY - MINUTE, samples: DAY_MINUTES };
        places::write_whole(&path, |out| {
            column_file::write(out, Magic::Minutes, vec![page], &columns, losses)
        })
    }
}

impl Folded {
    fn push(&mut self, at: Time, value: f64) {
        let value = if self.vital.counter {
            let before = self.before.replace((at, value));
            let Some((since, before)) = before else { return };
            let span = at.since(since);
            // A counter that fell was set to zero in between.
            if span.is_zero() || span > GAP_MAX || value < before {
                return;
            }
            (value - before) / span.as_secs_f64()
        } else {
            value
        };
        if !value.is_finite() {
            return;
        }
        let minute = at.bucket(MINUTE);
        match self.minutes.last_mut() {
            Some((at, sum)) if *at == minute => {
                sum.seconds += 1;
                sum.sum += value;
                sum.low = sum.low.min(value);
                sum.high = sum.high.max(value);
            }
            _ => self.minutes.push((minute, Sum { seconds: 1, sum: value, low: value, high: value })),
        }
    }

    /// Two files may share a minute, and after a crash a file is folded twice: the lowest and highest of both count, and
    /// the mean of the one that has more of the minute.
    fn add_to(&self, minutes: &mut [Option<Minute>], day: Time) {
        for (at, sum) in self.minutes.iter().filter(|(at, _)| at.bucket(DAY) == day) {
            let place = (at.since(day).as_secs() / MINUTE.as_secs()) as usize;
            let mean = sum.sum / f64::from(sum.seconds);
            let new = Minute { at: *at, mean, low: sum.low, high: sum.high, seconds: sum.seconds };
            let Some(minute) = minutes.get_mut(place) else { continue };
            *minute = Some(match *minute {
                None => new,
                Some(old) => Minute {
                    low: old.low.min(new.low),
                    high: old.high.max(new.high),
                    ..if new.seconds > old.seconds { new } else { old }
                },
            });
        }
    }
}

fn packed(minutes: &[Option<Minute>]) -> Vec<u8> {
    let at: Vec<u32> = (0..).zip(minutes).filter_map(|(at, minute)| minute.map(|_| at)).collect();
    if at.is_empty() {
        return Vec::new();
    }
    let column = |of: &dyn Fn(&Minute) -> i64| minutes.iter().flatten().map(of).collect::<Vec<i64>>();
    let mut out = Vec::new();
    pack::presence(&mut out, &at, minutes.len());
    pack::integers(&mut out, &column(&|minute| minute.seconds.into()));
    pack::integers(&mut out, &column(&|minute| ordered(minute.mean)));
    pack::integers(&mut out, &column(&|minute| ordered(minute.mean) - ordered(minute.low)));
    pack::integers(&mut out, &column(&|minute| ordered(minute.high) - ordered(minute.mean)));
    sealed(out)
}

fn read_day(
    file: &ColumnFile,
    column: usize,
    losses: &mut Losses,
) -> Result<Option<Vec<Option<Minute>>>, Error> {
    let Some(Page { first: day, samples, .. }) = file.directory.pages.first().copied() else {
        return Ok(None);
    };
    Ok(file.chunk(column, 0, losses)?.and_then(|chunk| {
        let mut rest = Bytes(&chunk);
        let at = pack::read_presence(&mut rest, samples)?;
        let mut column = || pack::read_integers(&mut rest, at.len());
        let (seconds, mean, low, high) = (column()?, column()?, column()?, column()?);
        let mut minutes = vec![None; samples];
        for (nth, &at) in at.iter().enumerate() {
            minutes[at as usize] = Some(Minute {
                at: day + MINUTE * at,
                mean: unordered(mean[nth]),
                low: unordered(mean[nth].saturating_sub(low[nth])),
                high: unordered(mean[nth].saturating_add(high[nth])),
                seconds: seconds[nth] as u32,
            });
        }
        Some(minutes)
    }))
}

/// The minutes of one vital in all days that touch `from` up to `to`.
pub(super) fn vital(
    dir: &Path,
    name: &str,
    from: Time,
    to: Time,
    losses: &mut Losses,
) -> Result<(Option<Vital>, Vec<Minute>), Error> {
    let (mut found, mut all) = (None, Vec::new());
    for (day, path) in places::days(dir)? {
        if day > to || day + DAY <= from {
            continue;
        }
        let file = match ColumnFile::open(&path, Magic::Minutes) {
            Ok(Some(file)) => file,
            Ok(None) => {
                losses.unreadable_segments += 1;
                continue;
            }
            Err(e) if e.is_gone() => continue,
            Err(e) => return Err(e),
        };
        *losses += file.directory.losses;
        for column in file.columns(|what| matches!(what, What::Vital(vital) if vital.name == *name)) {
            if let What::Vital(vital) = &file.directory.columns[column].what {
                found = Some(vital.clone());
            }
            let minutes = read_day(&file, column, losses)?.unwrap_or_default().into_iter().flatten();
            all.extend(minutes.filter(|minute| minute.at + MINUTE > from && minute.at <= to));
        }
    }
    Ok((found, all))
}

/// A number's place among all rounded ones.
fn ordered(value: f64) -> i64 {
    let bits = (value.clamp(f32::MIN.into(), f32::MAX.into()) as f32).to_bits();
    let rounded = (bits & (u32::MAX >> 1)) + (1 << (ROUNDED_BITS - 1));
    let magnitude = i64::from(rounded >> ROUNDED_BITS);
    if bits >> 31 == 1 { -magnitude } else { magnitude }
}

fn unordered(place: i64) -> f64 {
    let magnitude =
        u32::try_from(place.unsigned_abs()).unwrap_or(u32::MAX).min(u32::MAX >> (ROUNDED_BITS + 1));
    let value = f64::from(f32::from_bits(magnitude << ROUNDED_BITS));
    // Rounding up the very largest ends in what is no number.
    let value = if value.is_finite() { value } else { f32::MAX.into() };
    if place < 0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_keeps_the_order_and_half_a_thousandth() {
        let mut draw = fastrand::Rng::with_seed(3);
        let mut before = (f64::NEG_INFINITY, i64::MIN);
        let mut numbers: Vec<f64> =
            (0..10_000).map(|_| (draw.f64() - 0.5) * 10f64.powi(draw.i32(-20..30))).collect();
        numbers.extend([0.0, 1.0, 2048.0, f64::MAX, f64::MIN]);
        numbers.sort_by(f64::total_cmp);
        for number in numbers {
            let place = ordered(number);
            assert!(place >= before.1, "{number} after {before:?}");
            before = (number, place);
            if number.abs() < 1e38 {
                assert!((unordered(place) - number).abs() <= number.abs() / 2000.0, "{number}");
            }
        }
        assert_eq!(
            [0.0, 1.0, 100.0, 2047.0, -3.5].map(|n| unordered(ordered(n))),
            [0.0, 1.0, 100.0, 2047.0, -3.5]
        );
    }
}
