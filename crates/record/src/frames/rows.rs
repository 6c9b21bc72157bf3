//! The row records of version 2: a run of samples, of which the first is spelled in full and each of the others is
//! what changed since the one before it.

use std::collections::HashMap;
use std::fmt;

use toban_model::{Name, ProcessId, Processes, ReadingKind, Sample, Time};

use super::series::{self, FIELDS, Fields, Interned, Key, Peers, Spans, Vital};
use super::wire::{self, Bytes, picks, string, unzigzag, varint, zigzag};
use super::{RUN_BODY_BYTES_MAX, RUN_SAMPLES, TAG_FIRST, TAG_NEXT};

/// zstd's: a first record is made once a minute, and a higher level saves a hundredth.
const LEVEL: i32 = 3;
/// Series that one run may hold; a bound on what a file that is not ours can make us keep.
const SLOTS_MAX: usize = 65_536;

/// Numbers that are written as what changed.
trait Value: Copy + Default + PartialEq {
    fn write(self, before: Self, out: &mut Vec<u8>);
    fn read(before: Self, bytes: &mut Bytes<'_>) -> Option<Self>;
    /// Steps over what [`Value::read`] would read.
    fn skip(bytes: &mut Bytes<'_>) -> Option<()> {
        Self::read(Self::default(), bytes).map(|_| ())
    }
}

/// A vital's raw number; two are the same if all their bits are.
#[derive(Clone, Copy, Default)]
struct Number(f64);

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

/// Beyond 2^53 an f64 does not hold every integer.
pub(super) const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;
/// Most numbers are whole at one of these: counts, load averages and shares in hundredths, microseconds as a share.
pub(super) const SCALES: [f64; 3] = [1.0, 100.0, 10_000.0];
/// Stands where a scale's index would: the changed bits follow.
const FORM_BITS: u64 = 3;

/// The integer that stands for a number at a scale; 0 for what has none.
pub(super) fn scaled(value: f64, scale: f64) -> i64 {
    let scaled = (value * scale).round();
    if scaled.abs() <= INTEGER_MAX { scaled as i64 } else { 0 }
}

impl Value for Number {
    fn write(self, before: Number, out: &mut Vec<u8>) {
        for (form, scale) in SCALES.into_iter().enumerate() {
            let now = scaled(self.0, scale);
            if (now as f64 / scale).to_bits() == self.0.to_bits() {
                return varint(out, zigzag(now - scaled(before.0, scale)) << 2 | form as u64);
            }
        }
        let changed = self.0.to_bits() ^ before.0.to_bits();
        let low = (changed.trailing_zeros() / 8).min(7);
        let len = 8 - low - changed.leading_zeros() / 8;
        varint(out, u64::from(low * 9 + len) << 2 | FORM_BITS);
        out.extend_from_slice(&(changed >> (low * 8)).to_le_bytes()[..len as usize]);
    }

    fn read(before: Number, bytes: &mut Bytes<'_>) -> Option<Number> {
        let word = bytes.varint()?;
        if word & 3 == FORM_BITS {
            let (low, len) = ((word >> 2) / 9, (word >> 2) % 9);
            let mut changed = [0; 8];
            changed.get_mut(..len as usize)?.copy_from_slice(bytes.take(len as usize)?);
            let changed = u64::from_le_bytes(changed).checked_shl(u32::try_from(low * 8).ok()?)?;
            return Some(Number(f64::from_bits(before.0.to_bits() ^ changed)));
        }
        let scale = SCALES[(word & 3) as usize];
        let now = scaled(before.0, scale).checked_add(unzigzag(word >> 2))?;
        Some(Number(now as f64 / scale))
    }

    fn skip(bytes: &mut Bytes<'_>) -> Option<()> {
        let word = bytes.varint()?;
        let len = if word & 3 == FORM_BITS { (word >> 2) % 9 } else { 0 };
        bytes.take(len as usize).map(|_| ())
    }
}

impl Value for u64 {
    fn write(self, before: u64, out: &mut Vec<u8>) {
        varint(out, zigzag(self.wrapping_sub(before) as i64));
    }

    fn read(before: u64, bytes: &mut Bytes<'_>) -> Option<u64> {
        Some(before.wrapping_add(unzigzag(bytes.varint()?) as u64))
    }
}

impl Value for Fields {
    fn write(self, before: Fields, out: &mut Vec<u8>) {
        let changed = (0..FIELDS).filter(|&at| self[at] != before[at]);
        varint(out, changed.clone().map(|at| 1 << at).sum());
        for at in changed {
            self[at].write(before[at], out);
        }
    }

    fn read(before: Fields, bytes: &mut Bytes<'_>) -> Option<Fields> {
        let mask = bytes.varint()?;
        let mut now = before;
        for (at, field) in now.iter_mut().enumerate() {
            if mask >> at & 1 == 1 {
                *field = u64::read(*field, bytes)?;
            }
        }
        Some(now)
    }
}

/// The series of one kind that a run has had so far, in the order in which they came.
struct Slots<K, V> {
    slots: Vec<Slot<K, V>>,
    /// Only the writer looks one up by its key.
    places: HashMap<K, usize>,
    /// Only the reader goes over those that are there again and again.
    live: Vec<usize>,
}

struct Slot<K, V> {
    key: K,
    /// Its newest number; kept while the series is away, since what leaves the busiest comes back.
    last: V,
    live: bool,
    now: Option<V>,
    /// Its numbers are read, and not stepped over.
    wanted: bool,
}

impl<K, V> Default for Slots<K, V> {
    fn default() -> Slots<K, V> {
        Slots { slots: Vec::new(), places: HashMap::new(), live: Vec::new() }
    }
}

impl<K: Key, V: Value> Slots<K, V> {
    /// Appends what changed. Of two rows with one key the first counts.
    fn write(&mut self, out: &mut Vec<u8>, rows: impl Iterator<Item = (K, V)>) {
        let known = self.slots.len();
        let mut next = 0;
        for (key, value) in rows {
            // Mostly the rows come in the same order as before.
            let at = match self.slots.get(next) {
                Some(slot) if slot.key == key => next,
                _ => *self.places.entry(key).or_insert_with_key(|key| {
                    self.slots.push(Slot::new(key.clone(), false, true));
                    self.slots.len() - 1
                }),
            };
            self.slots[at].now.get_or_insert(value);
            next = at + 1;
        }
        let turned = |&at: &usize| self.slots[at].live != self.slots[at].now.is_some();
        picks(out, (0..known).filter(turned));
        varint(out, (self.slots.len() - known) as u64);
        for slot in &self.slots[known..] {
            slot.key.write(out);
        }
        let changed = self.slots.iter().filter_map(|slot| slot.now.map(|now| now != slot.last));
        bits(out, changed);
        for slot in &mut self.slots {
            slot.live = slot.now.is_some();
            if let Some(now) = slot.now.take().filter(|now| *now != slot.last) {
                now.write(slot.last, out);
                slot.last = now;
            }
        }
    }

    /// Takes in what [`Slots::write`] appended. `read_key` also says whether the numbers are wanted.
    fn read<'a>(
        &mut self,
        bytes: &mut Bytes<'a>,
        read_key: impl Fn(&mut Bytes<'a>) -> Option<(K, bool)>,
    ) -> Option<()> {
        let turned = bytes.picks(self.slots.len())?;
        for at in &turned {
            self.slots[*at].live ^= true;
        }
        let new = bytes.count()?;
        for _ in 0..new {
            if self.slots.len() == SLOTS_MAX {
                return None;
            }
            let (key, wanted) = read_key(bytes)?;
            self.slots.push(Slot::new(key, true, wanted));
        }
        if new > 0 || !turned.is_empty() {
            self.live.clear();
            let live = self.slots.iter().enumerate().filter(|(_, slot)| slot.live);
            self.live.extend(live.map(|(at, _)| at));
        }
        let changed = bytes.take(self.live.len().div_ceil(8))?;
        for (live, changed) in self.live.chunks(8).zip(changed) {
            let mut left = *changed;
            while left != 0 {
                // The last byte may have more bits than there are slots, if it is not ours.
                let slot = &mut self.slots[*live.get(left.trailing_zeros() as usize)?];
                if slot.wanted {
                    slot.last = V::read(slot.last, bytes)?;
                } else {
                    V::skip(bytes)?;
                }
                left &= left - 1;
            }
        }
        Some(())
    }

    fn rows(&self) -> impl Iterator<Item = (&K, V)> {
        self.slots.iter().filter(|slot| slot.live).map(|slot| (&slot.key, slot.last))
    }
}

impl<K, V: Default> Slot<K, V> {
    fn new(key: K, live: bool, wanted: bool) -> Slot<K, V> {
        Slot { key, last: V::default(), live, now: None, wanted }
    }
}

fn bits(out: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    for (at, bit) in bits.enumerate() {
        if at % 8 == 0 {
            out.push(0);
        }
        if let Some(byte) = out.last_mut() {
            *byte |= u8::from(bit) << (at % 8);
        }
    }
}

/// A run that is being written.
#[derive(Default)]
pub(super) struct RunWriter {
    samples: usize,
    /// The checksum of the record before.
    before: u32,
    vitals: Slots<Vital, Number>,
    texts: Interned,
    processes: Slots<ProcessId, Fields>,
    sockets: Slots<Peers, u64>,
}

impl fmt::Debug for RunWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunWriter({} samples)", self.samples)
    }
}

impl RunWriter {
    /// The next sample belongs to a new run.
    pub(super) fn is_full(&self) -> bool {
        self.samples >= RUN_SAMPLES
    }

    /// Appends a sample's record. False if it is too long to be kept; the run is then over.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, sample: &Sample) -> bool {
        let begin = out.len();
        let written = if self.samples == 0 {
            let mut body = Vec::new();
            self.body(&mut body, sample);
            let Ok(packed) = zstd::bulk::compress(&body, LEVEL) else { return false };
            body.len() <= RUN_BODY_BYTES_MAX
                && wire::record(out, |out| {
                    out.push(TAG_FIRST);
                    out.extend_from_slice(&sample.at.as_micros().to_le_bytes());
                    out.extend_from_slice(&packed);
                })
        } else {
            wire::record(out, |out| {
                out.push(TAG_NEXT);
                out.extend_from_slice(&sample.at.as_micros().to_le_bytes());
                out.extend_from_slice(&self.before.to_le_bytes());
                self.body(out, sample);
            })
        };
        if written {
            self.samples += 1;
            self.before = checksum(&out[begin..]);
        }
        written
    }

    fn body(&mut self, out: &mut Vec<u8>, sample: &Sample) {
        varint(out, sample.took_us.into());
        varint(out, sample.late_us.into());
        self.vitals.write(out, sample.readings.iter().map(|r| (Vital::of(r), Number(r.value))));

        let known = self.texts.texts().len();
        let rows: Vec<(ProcessId, Fields)> = sample
            .processes
            .busiest
            .iter()
            .map(|process| (process.id, series::fields(process, &sample.texts, &mut self.texts)))
            .collect();
        let new = &self.texts.texts()[known..];
        varint(out, new.len() as u64);
        for text in new {
            string(out, text);
        }
        varint(out, sample.processes.count.into());
        varint(out, sample.processes.looked_at.into());
        self.processes.write(out, rows.into_iter());
        self.sockets.write(out, sample.sockets.iter().map(|s| (Peers::of(s), s.count.into())));
    }
}

/// The checksum that a whole record carries.
pub(super) fn checksum(record: &[u8]) -> u32 {
    record.get(4..8).and_then(|crc| crc.try_into().ok()).map_or(0, u32::from_le_bytes)
}

/// The moment of a record of version 2 by its payload, and whether it begins a run.
pub(super) fn moment(payload: &[u8]) -> Option<(Time, bool)> {
    let mut rest = Bytes(payload);
    let tag = rest.u8()?;
    let at = Time::from_micros(rest.i64()?);
    (tag == TAG_FIRST || tag == TAG_NEXT).then_some((at, tag == TAG_FIRST))
}

/// What of a sample is read.
#[derive(Clone, Debug, Default)]
pub(super) enum Scope {
    #[default]
    All,
    /// No processes and sockets.
    Readings,
    /// Of the readings, too, only those of this name are right.
    Vital(Name),
}

/// A run that is being read.
#[derive(Default)]
pub(super) struct RunReader {
    /// The checksum of the record that was taken in last; none before the first, and after a failure.
    before: Option<u32>,
    head: Sample,
    vitals: Slots<Vital, Number>,
    texts: Vec<Box<str>>,
    processes: Slots<ProcessId, Fields>,
    sockets: Slots<Peers, u64>,
    scope: Scope,
}

impl fmt::Debug for RunReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunReader({:?})", self.head.at)
    }
}

/// What became of a record.
pub(super) enum Taken {
    /// It is the newest of the run now.
    Sample,
    /// It is a difference to a record that is lost.
    Orphan,
    /// Its bytes make no sense, which a valid checksum rules out unless another program wrote them.
    Senseless,
}

impl RunReader {
    pub(super) fn new(scope: Scope) -> RunReader {
        RunReader { scope, ..RunReader::default() }
    }

    /// Takes in a whole valid record.
    pub(super) fn take(&mut self, payload: &[u8], checksum: u32) -> Taken {
        let Some((at, first)) = moment(payload) else { return Taken::Senseless };
        let rest = &payload[1 + size_of::<i64>()..];
        let read = if first {
            *self = RunReader::new(std::mem::take(&mut self.scope));
            zstd::bulk::decompress(rest, RUN_BODY_BYTES_MAX)
                .ok()
                .and_then(|body| self.read(at, &mut Bytes(&body)))
        } else {
            let mut rest = Bytes(rest);
            let before = rest.u32();
            if before.is_none() || self.before != before {
                self.before = None;
                return Taken::Orphan;
            }
            self.read(at, &mut rest)
        };
        self.before = read.map(|()| checksum);
        if read.is_some() { Taken::Sample } else { Taken::Senseless }
    }

    fn read(&mut self, at: Time, body: &mut Bytes<'_>) -> Option<()> {
        self.head.at = at;
        self.head.took_us = body.small()?;
        self.head.late_us = body.small()?;
        let scope = &self.scope;
        self.vitals.read(body, |bytes| match scope {
            Scope::Vital(name) => Vital::read_named(bytes, name),
            _ => Some((Vital::read(bytes)?, true)),
        })?;
        if !matches!(scope, Scope::All) {
            return Some(());
        }
        for _ in 0..body.count()? {
            self.texts.push(body.str()?.into());
        }
        self.head.processes.count = body.small()?;
        self.head.processes.looked_at = body.small()?;
        self.processes.read(body, |bytes| Some((ProcessId::read(bytes)?, true)))?;
        self.sockets.read(body, |bytes| Some((Peers::read(bytes)?, true)))
    }

    /// The newest sample.
    pub(super) fn sample(&self) -> Sample {
        let mut spans = Spans::default();
        let busiest = self
            .processes
            .rows()
            .map(|(id, fields)| series::process(*id, &fields, |number| spans.span(&self.texts, number)));
        let processes = Processes { busiest: busiest.collect(), ..self.head.processes.clone() };
        let mut sample = Sample {
            readings: self.vitals.rows().map(|(vital, value)| vital.reading(value.0)).collect(),
            processes,
            sockets: self.sockets.rows().map(|(peers, count)| peers.count(count)).collect(),
            ..self.head.clone()
        };
        series::finish(&mut sample, spans);
        sample
    }

    /// One vital of the newest sample, with its unit. `hint` makes the next search short.
    pub(super) fn value(&self, name: &str, hint: &mut usize) -> Option<(Name, ReadingKind, f64)> {
        let slots = &self.vitals.slots;
        let is_it = |slot: &Slot<Vital, Number>| slot.live && slot.wanted && slot.key.name == *name;
        if !slots.get(*hint).is_some_and(is_it) {
            *hint = slots.iter().position(is_it)?;
        }
        let slot = &slots[*hint];
        Some((slot.key.unit.clone(), slot.key.kind(), slot.last.0))
    }

    /// The newest sample's time.
    pub(super) fn at(&self) -> Time {
        self.head.at
    }

    /// The time of the record that continues this run, if these are its bytes.
    pub(super) fn next_at(&self, payload: &[u8]) -> Option<Time> {
        let (at, first) = moment(payload)?;
        let before = Bytes(payload.get(1 + size_of::<i64>()..)?).u32();
        (!first && before.is_some() && before == self.before).then_some(at)
    }
}
