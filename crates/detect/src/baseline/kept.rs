//! How a baseline is kept over a restart.
//!
//! ```text
//! all     "toban usual 1\n", then each vital by name
//! vital   u8 length of the name, name, i64 learned to (µs), u64 learned (ms), i64 out of the usual since (µs) or 0,
//!         i64 newest hour, u16 hours, 5 bytes each hour (the oldest first),
//!         i64 present hour, f32 min, f32 max, f32 lasting or NaN, u8 buckets, (i16 bucket, u16 count) each
//! ```
//!
//! Numbers are little-endian. What does not read as this to its end is no baseline: it is learned anew from the
//! samples.

use std::collections::BTreeMap;

use toban_model::Time;

use super::hours::{HOURS, UNSEEN};
use super::present::Present;
use super::recent::Recent;
use super::{Baseline, Known, VITALS_MAX};

const HEAD: &[u8] = b"toban usual 1\n";

impl Baseline {
    /// Everything that outlives a restart, some 1.8 KiB a vital; the last three minutes do not.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = HEAD.to_vec();
        for (name, known) in &self.vitals {
            let Ok(length) = u8::try_from(name.len()) else { continue };
            out.push(length);
            out.extend(name.as_bytes());
            known.write(&mut out);
        }
        out
    }

    /// Reads what [`Baseline::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8], cores: u32) -> Option<Baseline> {
        let mut rest = bytes.strip_prefix(HEAD)?;
        let mut vitals = BTreeMap::new();
        while !rest.is_empty() && vitals.len() < VITALS_MAX {
            let [length] = take(&mut rest)?;
            let (name, after) = rest.split_at_checked(usize::from(length))?;
            rest = after;
            vitals.insert(str::from_utf8(name).ok()?.to_owned(), Box::new(Known::read(&mut rest)?));
        }
        Some(Baseline { cores, vitals })
    }
}

impl Known {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.learned_to.as_micros().to_le_bytes());
        out.extend(self.learned_ms.to_le_bytes());
        out.extend(self.since.map_or(0, Time::as_micros).to_le_bytes());
        let newest = self.hours.newest();
        let oldest = (newest - HOURS as i64 + 1..=newest).find(|h| self.hours.packed(*h).is_some());
        let hours = oldest.map_or(0, |oldest| (newest - oldest + 1) as u16);
        out.extend(newest.to_le_bytes());
        out.extend(hours.to_le_bytes());
        for hour in newest - i64::from(hours) + 1..=newest {
            out.extend(self.hours.packed(hour).unwrap_or(UNSEEN));
        }
        let present = &self.present;
        out.extend(present.hour.to_le_bytes());
        for value in [present.min, present.max, present.lasting.unwrap_or(f32::NAN)] {
            out.extend(value.to_le_bytes());
        }
        out.push(present.counts().len() as u8);
        for (bucket, count) in present.counts() {
            out.extend(bucket.to_le_bytes());
            out.extend(count.to_le_bytes());
        }
    }

    fn read(rest: &mut &[u8]) -> Option<Known> {
        let mut known = Known::new(Time::ZERO);
        known.recent = Recent::new();
        known.learned_to = Time::from_micros(i64::from_le_bytes(take(rest)?));
        known.learned_ms = u64::from_le_bytes(take(rest)?);
        known.since = Some(i64::from_le_bytes(take(rest)?)).filter(|at| *at != 0).map(Time::from_micros);
        let newest = hour(rest)?;
        let hours = u16::from_le_bytes(take(rest)?);
        if usize::from(hours) > HOURS {
            return None;
        }
        for hour in newest - i64::from(hours) + 1..=newest {
            known.hours.put_packed(hour, take(rest)?);
        }
        known.present = Present::new(hour(rest)?);
        known.present.min = f32::from_le_bytes(take(rest)?);
        known.present.max = f32::from_le_bytes(take(rest)?);
        known.present.lasting = Some(f32::from_le_bytes(take(rest)?)).filter(|lasting| !lasting.is_nan());
        let [buckets] = take(rest)?;
        for _ in 0..buckets {
            known.present.add(i16::from_le_bytes(take(rest)?), u16::from_le_bytes(take(rest)?));
        }
        let whole = known.present.max.is_finite() && !known.present.min.is_nan();
        whole.then_some(known)
    }
}

/// An hour since the epoch that time can have.
fn hour(rest: &mut &[u8]) -> Option<i64> {
    let hour = i64::from_le_bytes(take(rest)?);
    (hour.abs() <= i64::MAX / 3_600_000_000).then_some(hour)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}
