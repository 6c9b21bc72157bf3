//! Text read through windows as wide as a register: what is near is found without a loop, and numbers without one for
//! their digits. A line is mostly short fields, for each of which a call costs more than the work.

use std::net::{IpAddr, Ipv4Addr};

use memchr::memchr;
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
    let quote = find_far(text, b'"')?;
    match quote.checked_sub(1).and_then(|before| text.get(before)) {
        Some(b'\\') => behind_escapes(text, quote),
        _ => Some(quote),
    }
}

/// The same, if a backslash stands before the first quote.
#[cold]
fn behind_escapes(text: &[u8], mut quote: usize) -> Option<usize> {
    let mut from = 0;
    loop {
        // Each run of backslashes belongs to one quote, so this stays linear.
        let slashes = text[from..quote].iter().rev().take_while(|b| **b == b'\\').count();
        if slashes % 2 == 0 {
            return Some(quote);
        }
        from = quote + 1;
        quote = from + memchr(b'"', &text[from..])?;
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
            1_000_000 => match self.text() {
                // To the millisecond, as nginx has it.
                [whole @ .., b'.', a, b, c]
                    if a.is_ascii_digit() && b.is_ascii_digit() && c.is_ascii_digit() =>
                {
                    let millis = u64::from(a - b'0') * 100 + u64::from(b - b'0') * 10 + u64::from(c - b'0');
                    let whole = Head { rest: self.rest, len: whole.len() }.number()?;
                    whole.checked_mul(1_000_000)?.checked_add(millis * 1000)
                }
                text => decimal_micros(text),
            },
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
        match (text.first_chunk(), &self.long) {
            (Some(chunk), None) => {
                let differs = (u64::from_le_bytes(*chunk) ^ self.word) & self.mask != 0;
                if differs { None } else { text.get(self.len..) }
            }
            (None, None) => self.strip_end(text),
            (_, Some(long)) => text.strip_prefix(&**long),
        }
    }

    /// The same for a text of less than eight bytes.
    #[inline(never)]
    fn strip_end<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let (start, rest) = text.split_at_checked(self.len)?;
        start.iter().zip(self.word.to_le_bytes()).all(|(a, b)| *a == b).then_some(rest)
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
    let dots = bits(chunk.first_chunk()?, b'.') & !(u32::MAX << len);
    let after = |dots: u32| (dots | NONE).trailing_zeros() + 1;
    let (b, dots) = (after(dots), dots & dots.wrapping_sub(1));
    let (c, dots) = (after(dots), dots & dots.wrapping_sub(1));
    let d = after(dots);
    let end = len as u32 + 1;
    // One to three digits each; none but the last can be empty without being taken for a dot.
    let lens = [b - 1, (c - 1).wrapping_sub(b), (d - 1).wrapping_sub(c), (end - 1).wrapping_sub(d)];
    if (lens[0] | lens[1] | lens[2] | lens[3]) > 3 || lens[3] == 0 {
        return None;
    }
    let octet = |start: u32, len: u32| {
        let start = start as usize & 15;
        let bytes = [chunk[start], chunk[start + 1], chunk[start + 2], chunk[start + 3]];
        u64::from((u32::from_le_bytes(bytes) ^ 0x3030_3030).wrapping_shl(32u32.wrapping_sub(8 * len)))
    };
    let first = octet(0, lens[0]) | octet(b, lens[1]) << 32;
    let last = octet(c, lens[2]) | octet(d, lens[3]) << 32;
    let not_digits = first.wrapping_add(0x7676_7676_7676_7676) | first;
    let not_digits = not_digits | last.wrapping_add(0x7676_7676_7676_7676) | last;
    // Of zero, hundreds, tens, ones: tens and ones are joined, and hundreds added.
    const LOW: u64 = 0x0000_00ff_0000_00ff;
    let join = |digits: u64| {
        let twos = digits.wrapping_mul(10).wrapping_add(digits >> 8);
        (twos >> 16 & LOW) + (twos & LOW) * 100
    };
    let (first, last) = (join(first), join(last));
    if not_digits & 0x8080_8080_8080_8080 != 0 || (first | last) & !LOW != 0 {
        return None;
    }
    let octets = first | last << 16;
    // No server writes zeros in front, and what does may mean octal: then there are more digits than the octets need, one
    // each and one more from ten and from a hundred on.
    let tens = (octets + 0x7ff6_7ff6_7ff6_7ff6) >> 15 & 0x0001_0001_0001_0001;
    let hundreds = (octets + 0x7f9c_7f9c_7f9c_7f9c) >> 15 & 0x0001_0001_0001_0001;
    if (tens + hundreds).wrapping_mul(0x0001_0001_0001_0001) >> 48 != len as u64 - 7 {
        return None;
    }
    Some(Ipv4Addr::from(((octets | octets >> 24) as u32).to_le_bytes()))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    /// All places where a window can end, and all places where something can stand in it.
    #[test]
    fn bytes_and_quotes_are_found_wherever_they_stand() {
        for len in 0..70 {
            for at in 0..len {
                let mut text = vec![b'a'; len];
                text[at] = b'"';
                for end in at..len {
                    let found = Some(at).filter(|at| *at < end);
                    assert_eq!(find(&text[..end], b'"'), found, "{at} in {end}");
                    assert_eq!(find_far(&text[..end], b'"'), found, "{at} in {end}");
                    assert_eq!(unescaped_quote(&text[..end]), found, "{at} in {end}");
                }
                // Behind each number of backslashes, and before another quote.
                for slashes in 0..=at.min(5) {
                    text[at - slashes..at].fill(b'\\');
                    assert_eq!(unescaped_quote(&text), (slashes % 2 == 0).then_some(at));
                    let next = (slashes % 2 == 0).then_some(at).or(Some(len));
                    assert_eq!(unescaped_quote(&[&text[..], b"\""].concat()), next);
                }
            }
        }
    }

    #[test]
    fn literals_of_any_length() {
        let text = b"\" [] - \"0123456789";
        for len in 0..text.len() {
            let literal = Literal::new(&text[..len]);
            for end in 0..=text.len() {
                assert_eq!(
                    literal.strip(&text[..end]),
                    text[..end].strip_prefix(&text[..len]),
                    "{len} of {end}"
                );
            }
            let mut other = *text;
            for at in 0..text.len() {
                other[at] ^= 1;
                assert_eq!(literal.strip(&other).is_some(), at >= len, "{len}, {at} differs");
                other[at] ^= 1;
            }
            let hidden = [b"\" x[\" [x", &text[..]].concat();
            let found = (0..hidden.len()).find(|at| hidden[*at..].starts_with(&text[..len]));
            assert_eq!(literal.find(&hidden), found.filter(|_| len > 0), "{len}");
        }
    }

    #[test]
    fn numbers_wherever_they_end() {
        let numbers =
            "0|7|42|007|1234|99999|123456|1234567|99999999|123456789||-|1 2|12a4|:5|/1|\u{b2}".split('|');
        for text in numbers {
            let expected = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
            for behind in ["", " ", " 123", "0000000000", "\" \"-\" \"-\""] {
                let rest = format!("{text}{behind}");
                let head = Head { rest: rest.as_bytes(), len: text.len() };
                assert_eq!(head.number(), expected, "{text} before {behind:?}");
                assert_eq!(head.micros(1), expected, "{text} before {behind:?}");
                assert_eq!(head.micros(1000), expected.map(|n: u64| n * 1000), "{text} before {behind:?}");
            }
        }
        let micros = |text: &str| Head { rest: text.as_bytes(), len: text.len() }.micros(1_000_000);
        assert_eq!(micros("0.243"), Some(243_000));
        assert_eq!(micros("17"), Some(17_000_000));
        assert_eq!(micros("12345.678"), Some(12_345_678_000));
        assert_eq!(micros("1.5"), Some(1_500_000));
        for text in [".243", "1.2.243", "1.24x", "-0.243", "9999999999999999.243"] {
            assert_eq!(micros(text), None, "{text}");
        }
    }

    #[test]
    fn every_octet_in_every_place() {
        let check = |text: &str, behind: &str| {
            let expected = text.parse::<Ipv4Addr>().ok().map(IpAddr::from);
            let rest = format!("{text}{behind}");
            let address = Head { rest: rest.as_bytes(), len: text.len() }.v4();
            assert_eq!(address.map(IpAddr::from), expected, "{text} before {behind:?}");
        };
        for behind in ["", " ", " - - [22/Nov/2026:01:23:44", ".1", "5", "12345678901234567890"] {
            for octet in 0..=300 {
                for other in ["0", "10", "255"] {
                    check(&format!("{octet}.{other}.{other}.{other}"), behind);
                    check(&format!("{other}.{octet}.{other}.{other}"), behind);
                    check(&format!("{other}.{other}.{octet}.{other}"), behind);
                    check(&format!("{other}.{other}.{other}.{octet}"), behind);
                }
            }
            let others = "1.2.3|1.2.3.|.1.2.3|1..2.3|1.2.3.4.5|0192.0.2.7|192.0.2.0007|1.2.3.4 |1.2.3.-4|1.2.3.4a|\
                007.01.002.3|1.2.3.+4|111.222.33.4444|1111.2.3.4|1.2.3:4|1,2.3.4|1.2.3.4\0|...|1.......";
            for text in others.split('|') {
                check(text, behind);
            }
        }
    }
}
