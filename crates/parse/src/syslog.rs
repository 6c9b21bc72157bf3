//! The head that syslog daemons put before a line, in their two usual forms.

use toban_model::Time;

use crate::scan::Scan;
use crate::stamp::{self, Dates};
use crate::window::{self, find_far};

/// `Nov 22 01:23:44 web1 haproxy[123]: ` or `2026-11-22T01:23:44.123456+09:00 web1 kernel: `.
pub(crate) struct Head<'a> {
    pub(crate) time: Time,
    pub(crate) tag: &'a [u8],
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the formats of services that log through syslog need it")
    )]
    pub(crate) pid: Option<u32>,
    pub(crate) text: &'a [u8],
}

pub(crate) fn head<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Head<'a>> {
    let mut scan = Scan::new(line);
    let time = match line {
        [b'0'..=b'9', ..] => stamp::iso(&mut scan, dates)?,
        _ => stamp::syslog(&mut scan, dates)?,
    };
    let rest = scan.rest.strip_prefix(b" ")?;
    let host = find_far(rest, b' ')?;
    let rest = &rest[host + 1..];
    // The first colon belongs to the text if what stands before it is no tag, and a tag has no space.
    let (tag, text) = rest.split_at(find_far(rest, b' ')?);
    let mut tag = tag.strip_suffix(b":")?;
    let mut pid = None;
    if let Some(inside) = tag.strip_suffix(b"]")
        && let Some(bracket) = find_far(inside, b'[')
    {
        let digits = window::Head { rest: &rest[bracket + 1..], len: inside.len() - bracket - 1 };
        pid = Some(u32::try_from(digits.number()?).ok()?);
        tag = &tag[..bracket];
    }
    Some(Head { time, tag, pid, text: &text[1..] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    #[test]
    fn heads() {
        let mut dates = Dates::new(&clock());
        let mut check = |rest: &str, expected: Option<(&str, Option<u32>, &str)>| {
            for stamp in ["Nov 22 10:23:44", "2026-11-22T10:23:44.123456+09:00", "2026-11-22T01:23:44Z"] {
                let line = format!("{stamp} {rest}");
                let head = head(line.as_bytes(), &mut dates);
                assert_eq!(
                    head.as_ref().map(|head| (head.tag, head.pid, head.text)),
                    expected.map(|(tag, pid, text)| (tag.as_bytes(), pid, text.as_bytes())),
                    "{line}"
                );
                let secs = head.map(|head| head.time.as_micros() / 1_000_000);
                assert_eq!(secs, expected.map(|_| 1_795_310_624), "{line}");
            }
        };
        check("web1 sshd[7]: Failed: no", Some(("sshd", Some(7), "Failed: no")));
        check("web1 systemd-logind[4294967295]: New", Some(("systemd-logind", Some(u32::MAX), "New")));
        check("web1.example.jp postfix/smtpd[46160]: x", Some(("postfix/smtpd", Some(46_160), "x")));
        check("web1 kernel: [  1.0] x", Some(("kernel", None, "[  1.0] x")));
        check("web1 kernel: ", Some(("kernel", None, "")));
        // Brackets that hold no process are the tag's own.
        check("web1 a]: x", Some(("a]", None, "x")));
        check("web1 a[1: x", Some(("a[1", None, "x")));
        check("web1 a:b: x", Some(("a:b", None, "x")));
        for rest in [
            "",
            "web1",
            "web1 kernel:",
            "web1 a b: x",
            "web1  a: x",
            "web1 a[]: x",
            "web1 a[b]: x",
            "web1 a[4294967296]: x",
        ] {
            check(rest, None);
        }
    }
}
