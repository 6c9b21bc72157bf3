//! The head that syslog daemons put before a line, in their two usual forms.

use toban_model::Time;

use crate::scan::Scan;
use crate::stamp::{self, Dates};
use crate::window::{self, find_far};

/// `Nov 22 01:23:44 web1 haproxy[123]: ` or `2026-11-22T01:23:44.123456+09:00 web1 kernel: `.
pub(crate) struct Head<'a> {
    pub(crate) time: Time,
    pub(crate) tag: &'a [u8],
    #[expect(dead_code, reason = "the formats of services that log through syslog need it")]
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
