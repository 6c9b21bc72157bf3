//! *JSON* as logs hold it: one object a line, read once from the left, nothing built and nothing allocated.
//!
//! It forgives what servers that paste JSON together by hand really write, and nothing else: a value that is missing or
//! a lone `-`, and escapes that are not JSON's (`\x22`, as nginx and Apache write it).

pub(crate) mod names;

use memchr::memchr2;

/// Deeper than any server nests. Without a limit a line could overflow the stack.
const DEPTH_MAX: u32 = 16;

/// What stands between two quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// As the line has it.
    pub(crate) raw: &'a [u8],
    /// Holds a backslash.
    pub(crate) escaped: bool,
}

/// A value that holds no other values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Text(Text<'a>),
    /// A number, `true`, `false`, `null`, `-` or nothing at all.
    Bare(&'a [u8]),
}

/// Takes what an object holds, in its order.
pub(crate) trait Sink<'a> {
    /// An object begins behind this key. What is in it is passed on if this says so.
    fn open(&mut self, key: Text<'a>) -> bool;
    /// That object ends.
    fn close(&mut self);
    /// A value, or the first one of an array.
    fn value(&mut self, key: Text<'a>, value: Value<'a>);
}

/// Reads an object and nothing else; `None` if the line is no such thing.
pub(crate) fn read<'a>(line: &'a [u8], sink: &mut impl Sink<'a>) -> Option<()> {
    let mut reader = Reader { line, at: 0 };
    reader.expect(b'{')?;
    reader.object(Some(sink), 0)?;
    reader.space();
    (reader.at == line.len()).then_some(())
}

struct Reader<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r') = self.line.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is no space, stepped over.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        self.space();
        let byte = *self.line.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// An object whose brace is read.
    fn object<S: Sink<'a>>(&mut self, mut sink: Option<&mut S>, depth: u32) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        let mut first = true;
        loop {
            match self.next()? {
                b'"' => {}
                b'}' if first => return Some(()),
                _ => return None,
            }
            first = false;
            let key = self.text()?;
            self.expect(b':')?;
            self.space();
            match self.line.get(self.at)? {
                b'{' => {
                    self.at += 1;
                    let wanted = sink.as_deref_mut().is_some_and(|sink| sink.open(key));
                    self.object(sink.as_deref_mut().filter(|_| wanted), depth + 1)?;
                    if let (true, Some(sink)) = (wanted, sink.as_deref_mut()) {
                        sink.close();
                    }
                }
                b'[' => {
                    self.at += 1;
                    let value = self.array::<S>(depth + 1)?;
                    if let (Some(sink), Some(value)) = (sink.as_deref_mut(), value) {
                        sink.value(key, value);
                    }
                }
                _ => {
                    let value = self.scalar()?;
                    if let Some(sink) = sink.as_deref_mut() {
                        sink.value(key, value);
                    }
                }
            }
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// An array whose bracket is read; its first value, unless that holds others.
    fn array<S: Sink<'a>>(&mut self, depth: u32) -> Option<Option<Value<'a>>> {
        if depth >= DEPTH_MAX {
            return None;
        }
        self.space();
        if self.line.get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(None);
        }
        let mut first = None;
        for index in 0.. {
            self.space();
            match self.line.get(self.at)? {
                b'{' => {
                    self.at += 1;
                    self.object(None::<&mut S>, depth + 1)?;
                }
                b'[' => {
                    self.at += 1;
                    self.array::<S>(depth + 1)?;
                }
                _ => {
                    let value = self.scalar()?;
                    if index == 0 {
                        first = Some(value);
                    }
                }
            }
            match self.next()? {
                b',' => {}
                b']' => break,
                _ => return None,
            }
        }
        Some(first)
    }

    #[inline]
    fn scalar(&mut self) -> Option<Value<'a>> {
        if self.line.get(self.at) == Some(&b'"') {
            self.at += 1;
            return self.text().map(Value::Text);
        }
        let rest = &self.line[self.at..];
        let len = rest.iter().take_while(|b| BARE[usize::from(**b)]).count();
        let bare = &rest[..len];
        self.at += len;
        let known = match bare {
            b"" | b"-" | b"null" | b"true" | b"false" => true,
            [b'-', digit, ..] | [digit, ..] => digit.is_ascii_digit(),
        };
        known.then_some(Value::Bare(bare))
    }

    /// A string whose first quote is read.
    #[inline]
    fn text(&mut self) -> Option<Text<'a>> {
        let start = self.at;
        let mut escaped = false;
        loop {
            let at = self.at + quote_or_backslash(&self.line[self.at..])?;
            if self.line[at] == b'"' {
                self.at = at + 1;
                return Some(Text { raw: &self.line[start..at], escaped });
            }
            escaped = true;
            // What follows a backslash ends nothing, whatever it is.
            self.at = at + 2;
            if self.at > self.line.len() {
                return None;
            }
        }
    }
}

/// The bytes that numbers and the few words are made of.
const BARE: [bool; 256] = {
    let mut bare = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        bare[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'+' | b'-' | b'.');
        byte += 1;
    }
    bare
};

/// Where the first of the two stands. Most strings are shorter than what a search costs to set up, so they are looked
/// through eight bytes at a time first.
#[inline]
fn quote_or_backslash(text: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const QUOTES: u64 = ONES * b'"' as u64;
    const BACKSLASHES: u64 = ONES * b'\\' as u64;
    // Marks at least the first byte that is zero, see "Determine if a word has a zero byte" in Bit Twiddling Hacks.
    let zeroes = |word: u64| word.wrapping_sub(ONES) & !word & (ONES << 7);
    let (words, tail) = text.as_chunks::<8>();
    for (index, eight) in words.iter().enumerate() {
        if index == 4 {
            return memchr2(b'"', b'\\', &text[32..]).map(|found| 32 + found);
        }
        let word = u64::from_le_bytes(*eight);
        let marks = zeroes(word ^ QUOTES) | zeroes(word ^ BACKSLASHES);
        if marks != 0 {
            return Some(index * 8 + marks.trailing_zeros() as usize / 8);
        }
    }
    tail.iter().position(|b| matches!(b, b'"' | b'\\')).map(|found| words.len() * 8 + found)
}

/// Appends the text without its escapes. What is no escape stays as it is.
pub(crate) fn unescape(raw: &[u8], into: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        into.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let len = match rest.get(1) {
            Some(b'n') => push(into, b'\n'),
            Some(b't') => push(into, b'\t'),
            Some(b'r') => push(into, b'\r'),
            Some(b'b') => push(into, 8),
            Some(b'f') => push(into, 12),
            Some(same @ (b'"' | b'\\' | b'/')) => push(into, *same),
            Some(b'x') => match hex(rest.get(2..4)) {
                Some(byte) => push(into, byte as u8) + 2,
                None => push(into, b'\\') - 1,
            },
            Some(b'u') => match unicode(rest) {
                Some((letter, len)) => {
                    into.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                    len
                }
                None => push(into, b'\\') - 1,
            },
            _ => push(into, b'\\') - 1,
        };
        rest = &rest[len..];
    }
    into.extend_from_slice(rest);
}

/// The length of an escape of one letter.
fn push(into: &mut Vec<u8>, byte: u8) -> usize {
    into.push(byte);
    2
}

/// `\u003c`, or a pair of them; with its length.
fn unicode(rest: &[u8]) -> Option<(char, usize)> {
    let high = hex(rest.get(2..6))?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    let low = rest.get(6..8).filter(|head| *head == b"\\u").and_then(|_| hex(rest.get(8..12)))?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    digits?.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Show(String);

    impl<'a> Sink<'a> for Show {
        fn open(&mut self, key: Text<'a>) -> bool {
            self.0 += &format!("{}{{ ", String::from_utf8_lossy(key.raw));
            key.raw != b"closed"
        }

        fn close(&mut self) {
            self.0 += "} ";
        }

        fn value(&mut self, key: Text<'a>, value: Value<'a>) {
            let text = match value {
                Value::Text(text) => format!("'{}'", String::from_utf8_lossy(text.raw)),
                Value::Bare(bare) => String::from_utf8_lossy(bare).into_owned(),
            };
            self.0 += &format!("{}={text} ", String::from_utf8_lossy(key.raw));
        }
    }

    fn check(line: &str, expected: &str) {
        let mut show = Show::default();
        let read = read(line.as_bytes(), &mut show).map_or("none", |()| show.0.trim_end());
        assert_eq!(read, expected, "{line}");
    }

    #[test]
    fn objects() {
        check("{}", "");
        check(r#" { "a" : "b" , "c":-1.5e3,"d":true } "#, "a='b' c=-1.5e3 d=true");
        check(r#"{"a":{"b":{"c":1},"d":2},"e":null}"#, "a{ b{ c=1 } d=2 } e=null");
        check(r#"{"closed":{"b":1},"c":[{"a":1},2],"d":["x","y"],"e":[],"f":[[1]]}"#, "closed{ d='x'");
        check(r#"{"a":"\"b\\","c":"\\\""}"#, r#"a='\"b\\' c='\\\"'"#);
        // Pasted together by hand.
        check(r#"{"a":,"b":-,"c":}"#, "a= b=- c=");
    }

    #[test]
    fn what_is_no_object() {
        for line in [
            "",
            "{",
            "}",
            "[]",
            "1",
            "{a:1}",
            r#"{"a"}"#,
            r#"{"a":1"#,
            r#"{"a":"b}"#,
            r#"{"a":"b\"}"#,
            r#"{"a":"b\"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":nil}"#,
            r#"{"a":1}x"#,
            r#"{"a":1}{}"#,
            r#"{"a":[1}"#,
            r#"{,}"#,
            r#"{"a":[1,2"#,
            r#"{"a":'b'}"#,
            "{\"a\":--1}",
        ] {
            check(line, "none");
        }
        check(
            &format!("{}1{}", r#"{"a":"#.repeat(16), "}".repeat(16)),
            &format!("{}a=1{}", "a{ ".repeat(15), " }".repeat(15)),
        );
        check(&format!("{}1{}", r#"{"a":"#.repeat(17), "}".repeat(17)), "none");
        check(&format!(r#"{{"a":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)), "none");
    }

    #[test]
    fn escapes() {
        let check = |raw: &str, expected: &str| {
            let mut text = Vec::new();
            unescape(raw.as_bytes(), &mut text);
            assert_eq!(text.escape_ascii().to_string(), expected, "{raw}");
        };
        check("plain", "plain");
        check(r#"\"\\\/\n\t"#, r#"\"\\/\n\t"#);
        check(r"\u003ca\u00e9\ud83d\ude00", r"<a\xc3\xa9\xf0\x9f\x98\x80");
        check(r"\x22\x16\x5C", r#"\"\x16\\"#);
        // Halves and scraps.
        check(r"\ud83d\u0041 \ud83d \u00 \xg0 \q \", r"\\ud83dA \\ud83d \\u00 \\xg0 \\q \\");
    }
}
