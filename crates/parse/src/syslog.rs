//! The head that syslog daemons put before a line, in their two usual forms.

use toban_model::Time;

use crate::scan::{Scan, number};
use crate::stamp::{self, Dates};

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
    scan.literal(b" ")?;
    let _host = scan.until(b" ")?;
    let mut tag = scan.until(b": ")?;
    let mut pid = None;
    if let Some(bracket) = memchr::memchr(b'[', tag)
        && let Some(digits) = tag[bracket + 1..].strip_suffix(b"]")
    {
        pid = Some(u32::try_from(number(digits)?).ok()?);
        tag = &tag[..bracket];
    }
    // The first colon belongs to the text if what stands before it is no tag.
    (!tag.contains(&b' ')).then_some(Head { time, tag, pid, text: scan.rest })
}
