//! Reads the row records of version 1: readings alone, in a dictionary that lasts for the whole file.

use std::collections::HashMap;

use toban_model::{Name, Reading, ReadingKind, Sample, Time};

use super::wire::Bytes;

const FORM_F64: u64 = 0;
const FORM_INTEGER: u64 = 1;
const FORM_F32: u64 = 2;
/// Names in one segment; far more than vitals exist, and a bound on what a damaged file can make us keep.
const NAMES_MAX: usize = 65_536;

/// The reader's dictionary of one segment.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    names: HashMap<u64, (Name, Name, ReadingKind)>,
}

impl Dictionary {
    /// Reads a sample's payload (without its tag). `None` if the bytes make no sense, which a valid checksum rules out
    /// unless another program wrote them. The number is of readings left out because their name was lost.
    pub(super) fn read(&mut self, payload: &[u8]) -> Option<(Sample, u64)> {
        let mut rest = Bytes(payload);
        let at = Time::from_micros(rest.i64()?);
        let took_us = rest.small()?;
        let late_us = rest.small()?;
        for _ in 0..rest.varint()? {
            let id = rest.varint()?;
            let kind = if rest.u8()? == 0 { ReadingKind::Gauge } else { ReadingKind::Counter };
            let unit = rest.str()?.to_owned();
            let text = rest.str()?.to_owned();
            if self.names.len() < NAMES_MAX {
                self.names.insert(id, (text.into(), unit.into(), kind));
            }
        }
        let count = rest.count()?;
        // Each reading is at least two bytes, so a wrong count cannot make us reserve much.
        let mut readings = Vec::with_capacity(count.min(payload.len() / 2));
        let mut nameless = 0;
        for _ in 0..count {
            let word = rest.varint()?;
            let value = match word & 3 {
                FORM_F64 => f64::from_le_bytes(rest.array()?),
                FORM_INTEGER => rest.varint()? as f64,
                FORM_F32 => f32::from_le_bytes(rest.array()?).into(),
                _ => return None,
            };
            match self.names.get(&(word >> 2)) {
                Some((name, unit, kind)) => {
                    readings.push(Reading { name: name.clone(), value, unit: unit.clone(), kind: *kind });
                }
                None => nameless += 1,
            }
        }
        Some((Sample { at, took_us, late_us, readings, ..Sample::default() }, nameless))
    }
}
