//! Small readers over bytes: what every format needs, none of which can panic or run longer than its input.

use std::net::{IpAddr, Ipv6Addr};

use memchr::{memchr, memmem};

use crate::window::Head;

/// A line being taken apart from the left.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    /// What is not read yet.
    pub(crate) rest: &'a [u8],
}

impl<'a> Scan<'a> {
    pub(crate) fn new(line: &'a [u8]) -> Self {
        Scan { rest: line }
    }

    /// Steps over `text`, which must be next.
    pub(crate) fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// What stands before the next `end`, and steps over both.
    pub(crate) fn until(&mut self, end: &[u8]) -> Option<&'a [u8]> {
        let at = match end {
            [byte] => memchr(*byte, self.rest)?,
            _ => memmem::find(self.rest, end)?,
        };
        let (found, rest) = self.rest.split_at(at);
        self.rest = &rest[end.len()..];
        Some(found)
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(found)
    }

    /// A decimal number of at least one digit.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let digits = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        number(self.take(digits)?)
    }
}

/// A line without its line ending.
#[inline]
pub(crate) fn bare_line(line: &[u8]) -> &[u8] {
    match line {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\r' | b'\n'] => line,
        line => line,
    }
}

/// A decimal number and nothing else.
#[inline]
pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    // Nineteen digits always fit; nobody has served 10 exabytes in one answer.
    if bytes.is_empty() || bytes.len() > 19 {
        return None;
    }
    let mut value = 0u64;
    for byte in bytes {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    Some(value)
}

/// Two digits.
#[inline]
pub(crate) fn two(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [a, b] if a.is_ascii_digit() && b.is_ascii_digit() => Some((a - b'0') * 10 + (b - b'0')),
        _ => None,
    }
}

/// Digits as a fraction of one, in millionths: `5` and `500` are both half.
pub(crate) fn micros_of_fraction(digits: &[u8]) -> Option<u32> {
    let mut micros = 0;
    let mut unit = 100_000;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        micros += u32::from(byte - b'0') * unit;
        unit /= 10;
    }
    Some(micros)
}

/// A decimal number such as `12` or `0.243`, in millionths.
pub(crate) fn decimal_micros(bytes: &[u8]) -> Option<u64> {
    match memchr(b'.', bytes) {
        None => number(bytes)?.checked_mul(1_000_000),
        Some(dot) => number(&bytes[..dot])?
            .checked_mul(1_000_000)?
            .checked_add(u64::from(micros_of_fraction(&bytes[dot + 1..])?)),
    }
}

/// An address and nothing else; a v4-mapped one is v4, a scope (`%eth0`) is dropped.
#[inline]
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    Head { rest: bytes, len: bytes.len() }.address()
}

/// An address with colons.
#[cold]
pub(crate) fn v6(bytes: &[u8]) -> Option<IpAddr> {
    // The longest is 45 bytes; a scope is at most an interface's name (15) and its sign.
    if bytes.len() > 61 || memchr(b':', bytes).is_none() {
        return None;
    }
    let unscoped = &bytes[..memchr(b'%', bytes).unwrap_or(bytes.len())];
    let address: Ipv6Addr = match groups(unscoped) {
        Some(groups) => groups.into(),
        None => std::str::from_utf8(unscoped).ok()?.parse().ok()?,
    };
    Some(toban_model::canonical(IpAddr::V6(address)))
}

/// An address that is written in groups of hexadecimal digits alone, in a third of the standard library's time. `None`
/// says nothing.
fn groups(bytes: &[u8]) -> Option<[u16; 8]> {
    let mut groups = [0u16; 8];
    let (mut n, mut at, mut gap) = (0, 0, None);
    if bytes.starts_with(b"::") {
        (gap, at) = (Some(0), 2);
    }
    while at < bytes.len() {
        let mut group = 0;
        let start = at;
        while let Some(digit) = bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16)) {
            group = group << 4 | digit;
            at += 1;
            if at - start > 4 {
                return None;
            }
        }
        if at == start {
            return None;
        }
        *groups.get_mut(n)? = group as u16;
        n += 1;
        match (bytes.get(at), bytes.get(at + 1)) {
            (None, _) => break,
            (Some(b':'), Some(b':')) if gap.is_none() => (gap, at) = (Some(n), at + 2),
            (Some(b':'), Some(_)) => at += 1,
            _ => return None,
        }
    }
    match gap {
        None => (n == 8).then_some(groups),
        // The gap stands for one group at least.
        Some(gap) => {
            (n < 8).then(|| groups[gap..].rotate_right(8 - n))?;
            Some(groups)
        }
    }
}

/// An address with a port behind it, as servers write them: `192.0.2.7:443`, `[2001:db8::7]:443`, and Apache's
/// `2001:db8::7:443`.
pub(crate) fn address_with_port(bytes: &[u8]) -> Option<IpAddr> {
    let colon = memchr::memrchr(b':', bytes)?;
    let port = number(&bytes[colon + 1..])?;
    let host = &bytes[..colon];
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    if port > 65535 { None } else { address(host) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::window::unescaped_quote;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(address(text.as_bytes()).map(|a| a.to_string()).as_deref(), expected, "{text}");
        };
        check("192.0.2.7", Some("192.0.2.7"));
        check("255.255.255.255", Some("255.255.255.255"));
        check("256.0.2.7", None);
        check("1.2.3", None);
        check("1.2.3.4.5", None);
        check("1..3.4", None);
        check("0192.0.2.7", None);
        check("198.51.10.011", None);
        check("192.00.2.7", None);
        check("0.0.0.0", Some("0.0.0.0"));
        check("9.10.99.100", Some("9.10.99.100"));
        check("192.0.2.7 ", None);
        check("2001:db8::7", Some("2001:db8::7"));
        check("::ffff:192.0.2.7", Some("192.0.2.7"));
        check("fe80::1%eth0", Some("fe80::1"));
        check("-", None);
        check("", None);
        check("dead.example", None);
    }

    #[test]
    fn groups_are_read_as_the_standard_library_reads_them() {
        const PIECES: [&str; 6] = [":", "::", "1", "dead", "0", "12345"];
        let mut texts = vec![String::new()];
        for _ in 0..7 {
            texts = texts
                .iter()
                .flat_map(|text| PIECES.iter().map(move |piece| format!("{text}{piece}")))
                .filter(|text| !text.contains(":::") && text.len() < 24)
                .collect();
            for text in &texts {
                let theirs: Option<Ipv6Addr> = text.parse().ok();
                let ours = groups(text.as_bytes()).map(Ipv6Addr::from);
                assert!(ours.is_none() || ours == theirs, "{text}: {ours:?}, {theirs:?}");
            }
        }
        for text in ["1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3::5:6:7:8", "::", "1::"] {
            assert_eq!(groups(text.as_bytes()).map(Ipv6Addr::from), text.parse().ok(), "{text}");
        }
        for text in ["1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8::", "1::2::3", "1:", ":1"] {
            assert_eq!(groups(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn addresses_with_ports() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                address_with_port(text.as_bytes()).map(|a| a.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check("192.0.2.7:443", Some("192.0.2.7"));
        check("[2001:db8::7]:443", Some("2001:db8::7"));
        check("2001:db8::7:443", Some("2001:db8::7"));
        check("::1:53112", Some("::1"));
        check("192.0.2.7", None);
        check("192.0.2.7:70000", None);
    }

    #[test]
    fn quotes() {
        let check = |text: &str, expected| assert_eq!(unescaped_quote(text.as_bytes()), expected, "{text}");
        check(r#"a" b"#, Some(1));
        check(r#"a\" b"#, None);
        check(r#"a\\" b"#, Some(3));
        check(r#"a\\\" b" "#, Some(7));
        check("", None);
    }

    #[test]
    fn decimals() {
        assert_eq!(decimal_micros(b"0.243"), Some(243_000));
        assert_eq!(decimal_micros(b"12"), Some(12_000_000));
        assert_eq!(decimal_micros(b"-"), None);
        assert_eq!(decimal_micros(b"1.2.3"), None);
        assert_eq!(decimal_micros(b"9999999999999999999"), None);
    }
}
