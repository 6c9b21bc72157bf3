//! `w3c`: logs in the W3C's extended format, of IIS above all, whose `#Fields:` line says what stands where.
//! See <https://www.w3.org/TR/WD-logfile.html> and
//! <https://learn.microsoft.com/en-us/previous-versions/windows/it-pro/windows-server-2003/cc786596(v=ws.10)>.
//!
//! Times are UTC. IIS writes a plus for each space in what a stranger sent, so none of them can add a column. Others put
//! such text in quotes, not all of them with care: then an address counts only if no quote stands in front of it.

use toban_model::Text;
use toban_model::event::{Event, Request};

use super::{Reader, Sample, Unit, Way};
use crate::columns::{Columns, Habits, date};
use crate::stamp::Dates;

pub(crate) const UNIT: Unit = Unit {
    id: "w3c",
    about: Text::fixed(
        "W3C extended logs by their #Fields line, such as those of IIS",
        "IIS などの W3C 拡張形式のログです。#Fields の行に従って読みます",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(W3c { columns: None, software: Software::Unsaid, day: None })),
};

/// The columns that IIS writes unless told otherwise, for a file that is read from its middle: those of 8 to 10, of 7, of
/// 6, of Azure's web apps, and all that there are. No two of them fit one line.
const USUAL: &[&str] = &[
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken",
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus sc-win32-status time-taken",
    "date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus sc-win32-status",
    "date time s-sitename s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status sc-substatus sc-win32-status",
    "date time s-sitename cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Cookie) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes cs-bytes time-taken",
    "date time s-sitename s-computername s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs-version cs(User-Agent) cs(Cookie) cs(Referer) cs-host sc-status sc-substatus sc-win32-status sc-bytes cs-bytes time-taken",
];

#[derive(Clone, Debug)]
struct W3c {
    columns: Option<Columns>,
    software: Software,
    /// As `#Date:` has it.
    day: Option<(u16, u8, u8)>,
}

/// Who writes, by `#Software:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Software {
    Unsaid,
    /// IIS and Blue Coat's proxies, which count milliseconds.
    InMillis,
    /// Who puts strangers' texts in quotes, and counts milliseconds too.
    Quoting,
    /// Counts seconds, as the W3C has it.
    Other,
}

impl Reader for W3c {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        match line.strip_prefix(b"#") {
            Some(said) => self.directive(said),
            None => self.request(line, dates).map(Event::Request),
        }
    }

    fn leans_on_earlier_lines(&self) -> bool {
        true
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl W3c {
    fn directive(&mut self, said: &[u8]) -> Option<Event<'static>> {
        let colon = memchr::memchr(b':', said)?;
        let value = said[colon + 1..].trim_ascii();
        let says = |part: &[u8]| memchr::memmem::find(value, part).is_some();
        match &said[..colon] {
            b"Fields" if says(b"x-edge-location") => return None,
            b"Fields" => {
                let separator = if value.contains(&b'\t') { b'\t' } else { b' ' };
                self.columns = Columns::named(value, separator);
            }
            b"Software" if says(b"Advanced Logging") => self.software = Software::Quoting,
            b"Software" if says(b"Microsoft") || says(b"SGOS") => self.software = Software::InMillis,
            b"Software" => self.software = Software::Other,
            b"Date" => self.day = value.get(..10).and_then(date),
            b"Version" | b"Start-Date" | b"End-Date" | b"Remark" => {}
            _ => return None,
        }
        Some(Event::Silent)
    }

    #[inline]
    fn request<'a>(&mut self, line: &'a [u8], dates: &mut Dates) -> Option<Request<'a>> {
        let taken_us = if self.software == Software::Other { 1_000_000 } else { 1000 };
        let habits = Habits { taken_us, day: self.day };
        let Some(columns) = &self.columns else {
            let (columns, request) = guess(line, habits, dates)?;
            self.columns = Some(columns);
            return Some(request);
        };
        let plain = columns.read(line, false, habits, dates).filter(|_| self.software != Software::Quoting);
        plain.or_else(|| line.contains(&b'"').then(|| columns.read(line, true, habits, dates))?)
    }
}

/// The usual columns that fit this line.
#[cold]
fn guess<'a>(line: &'a [u8], habits: Habits, dates: &mut Dates) -> Option<(Columns, Request<'a>)> {
    let count = memchr::memchr_iter(b' ', line).count() + 1;
    USUAL.iter().find_map(|names| {
        let columns = Columns::named(names.as_bytes(), b' ').filter(|columns| columns.len() == count)?;
        let request = columns.read(line, false, habits, dates)?;
        let is_method = |method: &[u8]| !method.is_empty() && method.iter().all(u8::is_ascii_uppercase);
        (is_method(request.method) && request.peer.is_some()).then_some((columns, request))
    })
}

const SAMPLES: &[Sample] = &[
    Sample { format: "", line: "#Software: Microsoft Internet Information Services 10.0", event: "silent" },
    Sample {
        format: "",
        line: "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) cs(Referer) sc-status sc-substatus sc-win32-status time-taken",
        event: "silent",
    },
    Sample {
        format: "",
        line: "2026-11-22 01:23:45 10.0.0.5 GET /index.html page=2 443 - 192.0.2.10 Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64) https://www.example.jp/ 200 0 0 1250",
        event: "time=2026-11-22T01:23:43.75Z peer=192.0.2.10 method=GET path=/index.html status=200 duration_us=1250000 agent=Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64) referer=https://www.example.jp/",
    },
    Sample {
        format: "",
        line: r"2026-11-22 01:23:44 10.0.0.5 POST /owa/auth.owa - 443 EXAMPLE\mary+ann 2001:db8::7 - - 401 1 2148074254 0",
        event: r"time=2026-11-22T01:23:44Z peer=2001:db8::7 method=POST path=/owa/auth.owa status=401 duration_us=0 user=EXAMPLE\mary+ann",
    },
    Sample {
        format: "",
        line: "2026-11-22 01:24:44 fe80::1%4 GET / - 80 - ::ffff:192.0.2.10 - - 500 0 64 60000",
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/ status=500 duration_us=60000000",
    },
    // Read from its middle, IIS 7's.
    Sample {
        format: "",
        line: "2026-11-22 01:23:44 10.0.0.5 GET /.env - 80 - 198.51.100.11 curl/8.5.0 - 404 0 2 15",
        event: "time=2026-11-22T01:23:43.985Z peer=198.51.100.11 method=GET path=/.env status=404 duration_us=15000 agent=curl/8.5.0",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use crate::{Format, show};

    /// Reads the lines one after the other; compares what the last one says.
    fn last(lines: &[&str], expected: &str) {
        let mut format = Format::from_name_or_string("w3c", &clock()).unwrap();
        let mut event = String::new();
        for line in lines {
            event = format.parse(line.as_bytes()).map_or("none".to_owned(), |event| show(&event));
        }
        assert_eq!(event, expected, "{lines:?}");
    }

    #[test]
    fn columns_by_the_header() {
        let iis = "#Software: Microsoft Internet Information Services 10.0";
        last(
            &[
                iis,
                "#Date: 2026-11-22 00:00:01",
                "#Fields: time c-ip cs-method cs-uri-stem sc-status",
                "01:23:44 192.0.2.10 GET /a 200",
            ],
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/a status=200",
        );
        // Other fields from here on.
        last(
            &[
                iis,
                "#Fields: date time c-ip cs-method cs-uri-stem sc-status",
                "2026-11-22 01:23:44 192.0.2.10 GET /a 200",
                "#Fields: date time cs-method cs-uri-stem c-ip cs-host sc-bytes cs-version",
                "2026-11-22 01:23:44 GET /b 192.0.2.11 www.example.jp 77 HTTP/1.1",
            ],
            "time=2026-11-22T01:23:44Z peer=192.0.2.11 method=GET path=/b protocol=HTTP/1.1 bytes=77 host=www.example.jp",
        );
        // Seconds, as the W3C has it, and the kernel's own log of what never reached IIS.
        last(
            &[
                "#Software: WebThing",
                "#Fields: date time c-ip cs-method cs-uri time-taken",
                "2026-11-22 01:23:46 192.0.2.10 GET /a?b=c 2",
            ],
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/a duration_us=2000000",
        );
        last(
            &[
                "#Software: Microsoft HTTP API 2.0",
                "#Fields: date time c-ip c-port s-ip s-port cs-version cs-method cs-uri streamid sc-status s-siteid s-reason s-queuename transport",
                "2026-11-22 01:23:44 192.0.2.10 53412 10.0.0.5 80 - - - - - - Timer_ConnectionIdle - -",
            ],
            "time=2026-11-22T01:23:44Z peer=192.0.2.10",
        );
        last(
            &[
                "#Fields: date-local time-local c-ip cs-method TimeTakenMS",
                "2026-11-22 10:23:44.250 192.0.2.10 GET 250",
            ],
            "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET duration_us=250000",
        );
    }

    #[test]
    fn columns_without_a_header() {
        let known = "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/a";
        last(
            &["2026-11-22 01:23:44 W3SVC1 10.0.0.5 GET /a - 80 - 192.0.2.10 x 200 0 0"],
            &format!("{known} status=200 agent=x"),
        );
        last(
            &["2026-11-22 01:23:44 10.0.0.5 GET /a - 80 - 192.0.2.10 x 200 0 0 0"],
            &format!("{known} status=200 duration_us=0 agent=x"),
        );
        last(
            &[
                "2026-11-22 01:23:44 SITE__2173 GET /a X-ARR-LOG-ID=2b 443 - 192.0.2.10 x c=1 - www.example.jp 304 0 0 353 1594 0",
            ],
            &format!("{known} status=304 bytes=353 duration_us=0 agent=x host=www.example.jp"),
        );
        last(&["2026-11-22 01:23:44 10.0.0.5 GET /a"], "none");
    }

    #[test]
    fn quotes_move_no_address() {
        let fields = "#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) sc-status";
        let advanced = "#Software: IIS Advanced Logging Module";
        let head = "2026-11-22 01:23:44 10.0.0.5 GET /a";
        let known = "time=2026-11-22T01:23:44Z peer=192.0.2.10 method=GET path=/a status=200";
        last(
            &[advanced, fields, &format!(r#"{head} - 80 - 192.0.2.10 "a b ""c"" d" 200"#)],
            &format!(r#"{known} agent="a b ""c"" d""#),
        );
        // An address in quotes comes from a header.
        let nobody = "time=2026-11-22T01:23:44Z method=GET path=/a status=200";
        last(
            &[advanced, fields, &format!(r#"{head} - 80 - "203.0.113.9" "x" 200"#)],
            &format!("{nobody} agent=x"),
        );
        // A quote in the query takes columns away, the agent gives them back.
        last(
            &[fields, &format!(r#"{head} "q 80 - 192.0.2.10 " 80 - 203.0.113.9 x" 200"#)],
            &format!(r#"{nobody} agent="x"""#),
        );
        last(&[fields, &format!("{head} - 80 - 192.0.2.10 x 203.0.113.9 y 200")], "none");
        last(&[fields, &format!("{head} - 80 mary 203.0.113.9 192.0.2.10 x 200")], "none");
    }

    #[test]
    fn lines_that_do_not_fit() {
        let whole = super::SAMPLES[2].line;
        for line in [
            "",
            "#",
            "# a comment",
            "#Fields: date time x-edge-location sc-bytes c-ip cs-method",
            &whole.replace("192.0.2.10", "crawler.example.com"),
            &whole.replace(" 200 ", " ok "),
            &whole.replace("2026-11-22", "2026-11-32"),
            &format!("{whole} 1"),
            &whole.replace(' ', "\t"),
            &whole[..whole.len() - 5],
        ] {
            check("w3c", line.as_bytes(), "none");
        }
    }
}
