//! Text read through windows as wide as a register: what is near is found without a loop, and numbers without one for
//! their digits. A line is mostly short fields, for each of which a call costs more than the work.

use std::net::{IpAddr, Ipv4Addr};

use memchr::{memchr, memchr2};
use wide::u8x16;

use crate::scan::{decimal_micros, number, v6};

/// Where the byte stands first. For what is near.
#[inline(always)]
pub(crate) fn find(text: &[u8], byte: u8) -> Option<usize> {
    match text.first_chunk().map(|chunk| bits(chunk, byte)) {
        Some(found) if found != 0 => Some(found.trailing_zeros() as usize),
        _ => memchr(byte, text),
    }
}

/// Where the byte stands first, for texts of some dozen bytes.
#[inline(always)]
pub(crate) fn find_far(text: &[u8], byte: u8) -> Option<usize> {
    let Some(last) = text.last_chunk() else { return memchr(byte, text) };
    let mut rest = text;
    while let Some((chunk, after)) = rest.split_first_chunk() {
        let found = bits(chunk, byte);
        if found != 0 {
            return Some(text.len() - rest.len() + found.trailing_zeros() as usize);
        }
        rest = after;
    }
    // What of it was looked at before has no bit set.
    let found = bits(last, byte);
    (found != 0).then(|| text.len() - 16 + found.trailing_zeros() as usize)
}

/// Where the first quote stands that no backslash escapes.
#[inline(always)]
pub(crate) fn unescaped_quote(text: &[u8]) -> Option<usize> {
    let Some(last) = text.last_chunk() else { return behind_escapes(text, 0) };
    let mut rest = text;
    let (chunk, at) = loop {
        match rest.split_first_chunk() {
            Some((chunk, after)) => {
                if bits(chunk, b'"') | bits(chunk, b'\\') != 0 {
                    break (chunk, text.len() - rest.len());
                }
                rest = after;
            }
            // What of it was looked at before has no bit set.
            None => break (last, text.len() - 16),
        }
    };
    let quotes = bits(chunk, b'"');
    let found = quotes | bits(chunk, b'\\');
    let first = found & found.wrapping_neg();
    let at = at + found.trailing_zeros() as usize;
    if quotes & first != 0 { Some(at) } else { behind_escapes(text, at) }
}

/// The same from a place on where a backslash stands.
#[cold]
fn behind_escapes(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        // A backslash, and what it escapes.
        at += 2;
    }
}

/// The first `len` bytes of `rest`. What stands behind them is not theirs, but lets a register's worth be read at once.
#[derive(Clone, Copy)]
pub(crate) struct Head<'a> {
    pub(crate) rest: &'a [u8],
    /// At most that of `rest`.
    pub(crate) len: usize,
}

impl<'a> Head<'a> {
    #[inline(always)]
    pub(crate) fn text(self) -> &'a [u8] {
        self.rest.get(..self.len).unwrap_or_default()
    }

    /// The decimal number that it is, see [`number`].
    #[inline(always)]
    pub(crate) fn number(self) -> Option<u64> {
        let word = match self.rest.first_chunk() {
            Some(chunk) if matches!(self.len, 1..=8) => u64::from_le_bytes(*chunk) << (64 - 8 * self.len),
            _ => match (self.text().first_chunk(), self.text().last_chunk()) {
                // At the end of a line: two halves, which may overlap.
                (Some(first), Some(last)) if self.len <= 8 => {
                    u64::from(u32::from_le_bytes(*first)) << (64 - 8 * self.len)
                        | u64::from(u32::from_le_bytes(*last)) << 32
                }
                _ => return number(self.text()),
            },
        };
        eight_digits(word, self.len)
    }

    /// A decimal number of so many microseconds, in microseconds.
    #[inline(always)]
    pub(crate) fn micros(self, unit_us: u64) -> Option<u64> {
        match unit_us {
            1 => self.number(),
            1_000_000 => decimal_micros(self.text()),
            _ => {
                let millionths = u128::from(decimal_micros(self.text())?);
                u64::try_from(millionths * u128::from(unit_us) / 1_000_000).ok()
            }
        }
    }

    /// The address that it is, see [`crate::scan::address`].
    #[inline(always)]
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self.v4() {
            Some(address) => Some(IpAddr::V4(address)),
            None => v6(self.text()),
        }
    }

    #[inline(always)]
    pub(crate) fn v4(self) -> Option<Ipv4Addr> {
        if !matches!(self.len, 7..=15) {
            return None;
        }
        match self.rest.first_chunk() {
            Some(chunk) => v4(chunk, self.len),
            None => {
                let mut chunk = [0; V4_WINDOW];
                chunk.get_mut(..self.len)?.copy_from_slice(self.text());
                v4(&chunk, self.len)
            }
        }
    }
}

/// A text that is looked for, or must be next; mostly of one to three bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Literal {
    len: usize,
    /// Its first eight bytes, and which of them there are.
    word: u64,
    mask: u64,
    /// All of it, if it is longer than that.
    long: Option<Box<[u8]>>,
}

impl Literal {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut literal = Literal::short(text.get(..8).unwrap_or(text));
        if text.len() > 8 {
            (literal.len, literal.long) = (text.len(), Some(text.into()));
        }
        literal
    }

    /// Of eight bytes at most.
    pub(crate) const fn short(text: &[u8]) -> Self {
        let mut literal = Literal { len: text.len(), word: 0, mask: 0, long: None };
        let mut at = text.len();
        while at > 0 {
            at -= 1;
            literal.word = literal.word << 8 | text[at] as u64;
            literal.mask = literal.mask << 8 | 0xff;
        }
        literal
    }

    /// Its first byte; zero if it is empty.
    #[inline(always)]
    pub(crate) fn first(&self) -> u8 {
        self.word as u8
    }

    /// What follows it at the start of `text`.
    #[inline(always)]
    pub(crate) fn strip<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let fits = match text.first_chunk() {
            Some(chunk) => (u64::from_le_bytes(*chunk) ^ self.word) & self.mask == 0,
            None => self.ends(text),
        };
        match &self.long {
            Some(long) if fits => text.strip_prefix(&**long),
            _ if fits => text.get(self.len..),
            _ => None,
        }
    }

    /// Whether it starts a text of less than eight bytes.
    #[inline(always)]
    fn ends(&self, text: &[u8]) -> bool {
        match text {
            [] => self.len == 0,
            [byte] => self.len == 0 || self.len == 1 && *byte == self.first(),
            _ => {
                let mut chunk = [0; 8];
                chunk[..text.len()].copy_from_slice(text);
                (u64::from_le_bytes(chunk) ^ self.word) & self.mask == 0
            }
        }
    }

    /// Where it stands first in `text`.
    #[inline(always)]
    pub(crate) fn find(&self, text: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            let rest = text.get(at..)?;
            let near = find(rest, self.first())?;
            at += near;
            if self.strip(rest.get(near..)?).is_some() {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// Which of these bytes are the one looked for: bit by bit, from the lowest.
#[inline(always)]
fn bits(chunk: &[u8; 16], byte: u8) -> u32 {
    u8x16::new(*chunk).simd_eq(u8x16::splat(byte)).to_bitmask()
}

/// The number that the highest `len` (1 to 8) bytes of a word are, the others being zero.
#[inline(always)]
fn eight_digits(word: u64, len: usize) -> Option<u64> {
    let digits = word ^ 0x3030_3030_3030_3030 << (64 - 8 * len);
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Neighbours are joined: ones to twos, twos to fours, fours to eight.
    let twos = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let high = (twos & 0x0000_00ff_0000_00ff).wrapping_mul(100 + (1_000_000 << 32));
    let low = (twos >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(1 + (10_000 << 32));
    Some(high.wrapping_add(low) >> 32)
}

/// The longest dotted quad is of 15 bytes, and a fourth octet is read as four.
const V4_WINDOW: usize = 20;

/// The dotted quad that the first `len` (7 to 15) bytes are.
#[inline(always)]
fn v4(chunk: &[u8; V4_WINDOW], len: usize) -> Option<Ipv4Addr> {
    // Past the last possible, so that there is always one to be found.
    const NONE: u32 = 1 << 16;
    let dots = bits(chunk.first_chunk()?, b'.') & !(u32::MAX << len) | NONE;
    let first = dots.trailing_zeros() as usize;
    let dots = dots & (dots - 1) | NONE;
    let second = dots.trailing_zeros() as usize;
    let dots = dots & (dots - 1) | NONE;
    let third = dots.trailing_zeros() as usize;
    let (a, bad_a) = octet(chunk, 0, first);
    let (b, bad_b) = octet(chunk, first + 1, second);
    let (c, bad_c) = octet(chunk, second + 1, third);
    // Where a fourth dot is left, this is not all digits.
    let (d, bad_d) = octet(chunk, third + 1, len);
    let good = (bad_a | bad_b | bad_c | bad_d) & 0x8080_8080 == 0 && (a | b | c | d) <= 255;
    good.then(|| Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d))
}

/// One to three digits as a number; beside it something with the highest bit of a byte set if they are not.
#[inline(always)]
fn octet(chunk: &[u8; V4_WINDOW], start: usize, end: usize) -> (u32, u32) {
    let start = start & 15;
    let len = (end as u32).wrapping_sub(start as u32);
    let wrong_len = u32::from(len.wrapping_sub(1) > 2) << 7;
    let bytes = u32::from_le_bytes([chunk[start], chunk[start + 1], chunk[start + 2], chunk[start + 3]]);
    let digits = (bytes ^ 0x3030_3030).wrapping_shl(32u32.wrapping_sub(len.wrapping_mul(8)));
    let octet = (digits >> 8 & 0xff) * 100 + (digits >> 16 & 0xff) * 10 + (digits >> 24);
    (octet, digits.wrapping_add(0x7676_7676) | digits | wrong_len)
}
