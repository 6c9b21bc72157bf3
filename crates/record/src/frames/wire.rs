//! Samples to bytes and back. Every byte that is read may be damaged: nothing here panics or trusts a length.

use std::collections::HashMap;

use toban_model::{Reading, ReadingKind, Sample, Time};

use super::{HEADER_BYTES, MAGIC, RECORD_BYTES_MAX, RECORD_HEAD_BYTES, TAG_LAST, TAG_SAMPLE, VERSION};

const FORM_F64: u64 = 0;
const FORM_INTEGER: u64 = 1;
const FORM_F32: u64 = 2;
/// Beyond 2^53 an f64 does not hold every integer.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
/// Names in one segment; far more than vitals exist, and a bound on what a damaged file can make us keep.
const NAMES_MAX: usize = 65_536;

pub(super) fn header(start: Time) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&start.as_micros().to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The start time, if this is the header of a segment that can be read.
pub(super) fn read_header(bytes: &[u8]) -> Option<Time> {
    let head = bytes.get(..HEADER_BYTES)?;
    let mut rest = Bytes(head);
    let magic = rest.take(8)?;
    let version = rest.u32()?;
    let start = rest.i64()?;
    let crc = rest.u32()?;
    (magic == MAGIC && version == VERSION && crc == crc32fast::hash(&head[..20]))
        .then(|| Time::from_micros(start))
}

/// Appends one record. `fill` writes the payload. False, and nothing appended, if the payload is too long.
fn record(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
    let begin = out.len();
    out.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
    fill(out);
    let len = out.len() - begin - RECORD_HEAD_BYTES;
    if len > RECORD_BYTES_MAX {
        out.truncate(begin);
        return false;
    }
    let len = (len as u32).to_le_bytes();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len);
    crc.update(&out[begin + RECORD_HEAD_BYTES..]);
    out[begin..begin + 4].copy_from_slice(&len);
    out[begin + 4..begin + 8].copy_from_slice(&crc.finalize().to_le_bytes());
    true
}

/// Appends the record that ends a segment in order.
pub(super) fn write_last(out: &mut Vec<u8>, last: Time) {
    record(out, |out| {
        out.push(TAG_LAST);
        out.extend_from_slice(&last.as_micros().to_le_bytes());
    });
}

/// How a record at the start of some bytes looks.
pub(super) enum Framed<'a> {
    /// Whole and valid: its payload, and its length with head.
    Valid(&'a [u8], usize),
    /// The bytes end before it does.
    Torn,
    /// It is not what was written.
    Damaged,
}

pub(super) fn framed(bytes: &[u8]) -> Framed<'_> {
    let mut rest = Bytes(bytes);
    let (Some(len), Some(crc)) = (rest.u32(), rest.u32()) else { return Framed::Torn };
    let len = len as usize;
    if len == 0 || len > RECORD_BYTES_MAX {
        return Framed::Damaged;
    }
    let Some(payload) = rest.take(len) else { return Framed::Torn };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(payload);
    if hasher.finalize() == crc { Framed::Valid(payload, RECORD_HEAD_BYTES + len) } else { Framed::Damaged }
}

/// Cheap test whether a record could begin here, before its checksum is worked out.
pub(super) fn plausible(bytes: &[u8]) -> bool {
    let mut rest = Bytes(bytes);
    let Some(len) = rest.u32() else { return false };
    let len = len as usize;
    let tag = bytes.get(RECORD_HEAD_BYTES);
    len > 0
        && len <= RECORD_BYTES_MAX
        && bytes.len() >= RECORD_HEAD_BYTES + len
        && (tag == Some(&TAG_SAMPLE) || tag == Some(&TAG_LAST))
}

/// A reading's identity: the same name with another unit or kind is another entry.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Name {
    text: toban_model::Name,
    unit: toban_model::Name,
    counter: bool,
}

/// The writer's dictionary of one segment.
#[derive(Default)]
pub(super) struct Names {
    ids: HashMap<Name, u64>,
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Names({})", self.ids.len())
    }
}

impl Names {
    /// Appends a sample's record. False if it is too long to be kept.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, sample: &Sample) -> bool {
        let known = self.ids.len();
        let mut new = Vec::new();
        let mut new_count = 0;
        let mut readings = Vec::with_capacity(sample.readings.len() * 6);
        for reading in &sample.readings {
            let name = Name {
                text: reading.name.clone(),
                unit: reading.unit.clone(),
                counter: reading.kind == ReadingKind::Counter,
            };
            let next = self.ids.len() as u64;
            let id = *self.ids.entry(name).or_insert_with(|| {
                varint(&mut new, next);
                new.push(u8::from(reading.kind == ReadingKind::Counter));
                string(&mut new, &reading.unit);
                string(&mut new, &reading.name);
                new_count += 1;
                next
            });
            value(&mut readings, id, reading.value);
        }
        let written = record(out, |out| {
            out.push(TAG_SAMPLE);
            out.extend_from_slice(&sample.at.as_micros().to_le_bytes());
            varint(out, sample.took_us.into());
            varint(out, sample.late_us.into());
            varint(out, new_count);
            out.extend_from_slice(&new);
            varint(out, sample.readings.len() as u64);
            out.extend_from_slice(&readings);
        });
        if !written {
            // The names in it were not written either.
            self.ids.retain(|_, id| *id < known as u64);
        }
        written
    }
}

/// The reader's dictionary of one segment.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    names: HashMap<u64, (toban_model::Name, toban_model::Name, ReadingKind)>,
}

impl Dictionary {
    /// Reads a sample's payload (without its tag). `None` if the bytes make no sense, which a valid checksum rules out
    /// unless another program wrote them. The number is of readings left out because their name was lost.
    pub(super) fn read(&mut self, payload: &[u8]) -> Option<(Sample, u64)> {
        let mut rest = Bytes(payload);
        let at = Time::from_micros(rest.i64()?);
        let took_us = u32::try_from(rest.varint()?).ok()?;
        let late_us = u32::try_from(rest.varint()?).ok()?;
        for _ in 0..rest.varint()? {
            let id = rest.varint()?;
            let kind = if rest.u8()? == 0 { ReadingKind::Gauge } else { ReadingKind::Counter };
            let unit = rest.string()?;
            let text = rest.string()?;
            if self.names.len() < NAMES_MAX {
                self.names.insert(id, (text.into(), unit.into(), kind));
            }
        }
        let count = rest.varint()?;
        // Each reading is at least two bytes, so a wrong count cannot make us reserve much.
        let mut readings = Vec::with_capacity(usize::try_from(count).ok()?.min(payload.len() / 2));
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

/// The time that a 0x02 payload (without its tag) carries.
pub(super) fn read_last(payload: &[u8]) -> Option<Time> {
    Bytes(payload).i64().map(Time::from_micros)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn string(out: &mut Vec<u8>, text: &str) {
    varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn value(out: &mut Vec<u8>, id: u64, value: f64) {
    let narrow = value as f32;
    if value.is_sign_positive() && value <= INTEGER_MAX && value.fract() == 0.0 {
        varint(out, id << 2 | FORM_INTEGER);
        varint(out, value as u64);
    } else if f64::from(narrow).to_bits() == value.to_bits() {
        varint(out, id << 2 | FORM_F32);
        out.extend_from_slice(&narrow.to_le_bytes());
    } else {
        varint(out, id << 2 | FORM_F64);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        let len = usize::try_from(self.varint()?).ok()?;
        Some(std::str::from_utf8(self.take(len)?).ok()?.to_owned())
    }
}
