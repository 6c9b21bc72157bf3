//! The head of RFC 5424: `<34>1 2026-11-22T10:23:44.003Z web1 sshd 123 ID47 [a@1 k="v"] text`, where `-` stands for what
//! is not known, also without the priority. See <https://www.rfc-editor.org/rfc/rfc5424#section-6>.

use crate::scan::{Scan, number};
use crate::stamp::{self, Dates};
use crate::syslog::Head;
use crate::window::unescaped_quote;

/// Reads what stands behind the priority.
pub(crate) fn head<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Head<'a>> {
    let mut scan = Scan::new(line);
    scan.literal(b"1 ")?;
    let stamp = scan.until(b" ")?;
    let time = match stamp {
        b"-" => None,
        _ => {
            let mut stamp = Scan::new(stamp);
            let time = stamp::iso(&mut stamp, dates)?;
            stamp.rest.is_empty().then_some(Some(time))?
        }
    };
    let _host = scan.until(b" ")?;
    let tag = scan.until(b" ")?;
    let pid = scan.until(b" ")?;
    let _message_id = scan.until(b" ")?;
    structured_data(&mut scan)?;
    // A line may end behind its structured data.
    let text = match scan.rest {
        [] => b"",
        [b' ', text @ ..] => text,
        _ => return None,
    };
    Some(Head {
        time,
        tag: if tag == b"-" { b"" } else { tag },
        // The process id may be any word.
        pid: number(pid).and_then(|pid| u32::try_from(pid).ok()),
        text: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text),
    })
}

/// `-`, or elements `[id name="value" …]` whose values may hold brackets, and quotes behind a backslash.
fn structured_data(scan: &mut Scan<'_>) -> Option<()> {
    if scan.literal(b"-").is_some() {
        return Some(());
    }
    scan.literal(b"[")?;
    loop {
        let end = scan.rest.iter().position(|b| matches!(b, b'"' | b']'))?;
        let quoted = scan.rest[end] == b'"';
        scan.rest = &scan.rest[end + 1..];
        if quoted {
            scan.rest = &scan.rest[unescaped_quote(scan.rest)? + 1..];
        } else if scan.literal(b"[").is_none() {
            return Some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    #[test]
    fn heads() {
        let check = |line: &str, expected: &str| {
            let mut dates = Dates::new(&clock());
            let read = head(line.as_bytes(), &mut dates).map_or("none".to_owned(), |head| {
                let (tag, text) = (head.tag.escape_ascii(), head.text.escape_ascii());
                format!("{:?} {tag} {:?} {text}", head.time.map(toban_model::Time::as_micros), head.pid)
            });
            assert_eq!(read, expected, "{line}");
        };
        check(
            "1 2003-10-11T22:14:15.003Z web1 su 7 ID47 - \u{feff}'su root' failed",
            "Some(1065910455003000) su Some(7) \\'su root\\' failed",
        );
        check(
            "1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc - - - a",
            "Some(1061727255000003) myproc None a",
        );
        check(r#"1 - - - - - [a@1 k="v\"] x\]" l="]"][b@1] [c] d"#, "None  None [c] d");
        check(r#"1 - web1 app web - [a k="v"]"#, "None app None ");
        check(r#"1 - web1 app web - [a k="v"]x"#, "none");
        check(r#"1 - web1 app web - [a k="v]"#, "none");
        check("1 2003 web1 su 7 - - a", "none");
        check("1 2003-10-11T22:14:15.003Zx web1 su 7 - - a", "none");
        check("1 -", "none");
    }
}
