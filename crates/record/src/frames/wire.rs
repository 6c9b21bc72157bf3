//! Numbers, texts and checked records as bytes. Every byte that is read may be damaged: nothing here panics or trusts
//! a length.

use toban_model::Time;

use super::{HEADER_BYTES, MAGIC, RECORD_BYTES_MAX, RECORD_HEAD_BYTES, TAGS};

/// The header of a row file.
pub(super) fn header(version: u32, start: Time) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    bytes[12..20].copy_from_slice(&start.as_micros().to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version, if this is the header of a row file.
pub(super) fn read_header(bytes: &[u8]) -> Option<u32> {
    let head = bytes.get(..HEADER_BYTES)?;
    let mut rest = Bytes(head);
    let magic = rest.take(8)?;
    let version = rest.u32()?;
    let _start = rest.i64()?;
    (magic == MAGIC && rest.u32()? == crc32fast::hash(&head[..20])).then_some(version)
}

/// Appends one record. `fill` writes the payload. False, and nothing appended, if the payload is too long.
pub(super) fn record(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
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

/// How a record at the start of some bytes looks.
pub(super) enum Framed {
    /// Whole and valid: its length with its head.
    Valid(usize),
    /// The bytes end before it does.
    Torn,
    /// It is not what was written.
    Damaged,
}

pub(super) fn framed(bytes: &[u8]) -> Framed {
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
    if hasher.finalize() == crc { Framed::Valid(RECORD_HEAD_BYTES + len) } else { Framed::Damaged }
}

/// Cheap test whether a record could begin here, before its checksum is worked out: the length that it says.
pub(super) fn plausible(bytes: &[u8]) -> Option<usize> {
    let len = Bytes(bytes).u32()? as usize;
    let tag = bytes.get(RECORD_HEAD_BYTES)?;
    (len > 0 && len <= RECORD_BYTES_MAX && bytes.len() >= RECORD_HEAD_BYTES + len && TAGS.contains(tag))
        .then_some(len)
}

/// LEB128.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Small numbers of either sign as small ones: 0, -1, 1, -2 are 0, 1, 2, 3.
pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    block(out, text.as_bytes());
}

/// Bytes with their length before them.
pub(super) fn block(out: &mut Vec<u8>, bytes: &[u8]) {
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Which of `count` things, as their number and the gaps between them.
pub(super) fn picks(out: &mut Vec<u8>, picked: impl Iterator<Item = usize> + Clone) {
    varint(out, picked.clone().count() as u64);
    let mut next = 0;
    for at in picked {
        varint(out, (at - next) as u64);
        next = at + 1;
    }
}

/// What is left to read.
#[derive(Clone)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        // Most are of one byte.
        if let Some((&byte, rest)) = self.0.split_first().filter(|(byte, _)| **byte < 0x80) {
            self.0 = rest;
            return Some(byte.into());
        }
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

    /// A number of things, each of which takes at least one bit of what is left: a wrong one reserves little.
    pub(super) fn count(&mut self) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count <= self.0.len().saturating_mul(8)).then_some(count)
    }

    pub(super) fn small(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(super) fn block(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.varint()?).ok()?;
        self.take(len)
    }

    pub(super) fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.block()?).ok()
    }

    /// What [`picks`] wrote: each below `count`, ascending.
    pub(super) fn picks(&mut self, count: usize) -> Option<Vec<usize>> {
        let picked = self.count()?;
        let mut all = Vec::with_capacity(picked.min(count));
        let mut next = 0usize;
        for _ in 0..picked {
            let at = next.checked_add(usize::try_from(self.varint()?).ok()?)?;
            if at >= count {
                return None;
            }
            all.push(at);
            next = at + 1;
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
            let mut out = Vec::new();
            varint(&mut out, zigzag(value));
            assert_eq!(Bytes(&out).varint(), Some(zigzag(value)));
        }
        assert!([0, -1, 1, -2].map(zigzag) == [0, 1, 2, 3]);
    }

    #[test]
    fn picks_come_back() {
        for picked in [vec![], vec![0], vec![2, 3, 9], (0..10).collect()] {
            let mut out = Vec::new();
            picks(&mut out, picked.iter().copied());
            assert_eq!(Bytes(&out).picks(10), Some(picked.clone()));
            assert!(picked.last() != Some(&9) || Bytes(&out).picks(9).is_none());
        }
    }
}
