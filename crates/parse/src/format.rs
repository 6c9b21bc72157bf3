//! A *format*: one log's way of writing, ready to read its lines.

use std::net::IpAddr;

use toban_model::event::{Event, Request};
use toban_model::{LogDialect, LogRole, LogSource};

use crate::formats::{
    ALL, ReadLine, Reader, apache_access, apache_error, json_access, kernel, nginx_access, nginx_error,
    php_fpm,
};
use crate::plan::Plan;
use crate::scan::bare_line;
use crate::stamp::{Clock, Dates};
use crate::{Error, FORMAT_BYTES_MAX};

/// One log's way of writing, ready to read its lines.
///
/// It remembers only what makes the next line faster (the last minute) or safer (that the server looks names up), so a
/// clone may read another part of the same log.
#[derive(Clone, Debug)]
pub struct Format {
    id: &'static str,
    /// A nickname or the format string.
    way: String,
    /// `way` is a nickname.
    named: bool,
    inner: Inner,
    dates: Dates,
}

#[derive(Debug)]
enum Inner {
    Access(Box<Plan>),
    Lines(ReadLine),
    Records(Box<dyn Reader>),
}

impl Clone for Inner {
    fn clone(&self) -> Inner {
        match self {
            Inner::Access(plan) => Inner::Access(plan.clone()),
            Inner::Lines(read) => Inner::Lines(*read),
            Inner::Records(reader) => Inner::Records(reader.fork()),
        }
    }
}

impl Format {
    /// From what a person wrote behind `--log FILE=`: a format's id (`php-fpm`), a nickname (`combined`), a LogFormat
    /// string (with `%`), an ErrorLogFormat string (with `%M`), a log_format string (with `$`), or the names of a JSON
    /// log's fields (`json:time=ts,client=ip`).
    pub fn from_name_or_string(text: &str, clock: &Clock) -> Result<Format, Error> {
        let text = text.trim();
        for unit in ALL {
            if unit.id == text {
                return unit
                    .compile(unit.nicknames.first().map_or("", |(_, string)| string), clock)
                    .map(|format| format.called(unit.nicknames.first().map_or("", |(name, _)| name)));
            }
            if let Some((name, string)) = unit.nicknames.iter().find(|(name, _)| *name == text) {
                return unit.compile(string, clock).map(|format| format.called(name));
            }
        }
        if let Some(mapping) = text.strip_prefix("json:") {
            bounded(text)?;
            let reader = json_access::JsonReader::mapped(mapping)?;
            Ok(Format::records(json_access::UNIT.id, Box::new(reader), clock).called(text))
        } else if apache_error::is_error_format(text) {
            Format::apache_error(text, clock)
        } else if text.contains('%') {
            Format::apache(text, false, clock)
        } else if text.contains('$') {
            Format::nginx(text, false, clock)
        } else {
            Err(Error::UnknownName { name: text.chars().take(80).collect() })
        }
    }

    /// From an Apache `LogFormat` string. With `remoteip` (mod_remoteip is active) `%h` and `%a` are whom a trusted
    /// proxy reported, and only `%{c}a` is the peer.
    pub fn apache(string: &str, remoteip: bool, clock: &Clock) -> Result<Format, Error> {
        bounded(string)?;
        Ok(Format::access("apache-access", string, apache_access::compile(string, remoteip)?, clock))
    }

    /// From an Apache `ErrorLogFormat` string.
    pub fn apache_error(string: &str, clock: &Clock) -> Result<Format, Error> {
        bounded(string)?;
        apache_error::UNIT.compile(string, clock)
    }

    /// From an nginx `log_format` string. With `realip` (the realip module is active) `$remote_addr` is whom a trusted
    /// proxy reported, and only `$realip_remote_addr` is the peer.
    pub fn nginx(string: &str, realip: bool, clock: &Clock) -> Result<Format, Error> {
        bounded(string)?;
        Ok(Format::access("nginx-access", string, nginx_access::compile(string, realip)?, clock))
    }

    /// From what the server's configuration says of a log; `None` if it says too little and the lines must tell
    /// ([`sniff`]).
    pub fn from_source(source: &LogSource, clock: &Clock) -> Option<Result<Format, Error>> {
        match (source.role, source.dialect, source.format.as_deref()) {
            (LogRole::Access, LogDialect::Apache, Some(string)) => {
                let string = apache_access::nickname(string).unwrap_or(string);
                Some(Format::apache(string, source.remoteip, clock))
            }
            (LogRole::Access, LogDialect::Nginx, string) => {
                let string = string.filter(|name| *name != "combined").unwrap_or(nginx_access::COMBINED);
                Some(Format::nginx(string, source.remoteip, clock))
            }
            (LogRole::Access, ..) => None,
            (LogRole::Error, LogDialect::Apache, string) => {
                Some(Format::apache_error(string.unwrap_or_default(), clock))
            }
            (LogRole::Error, LogDialect::Nginx, _) => Some(nginx_error::UNIT.compile("", clock)),
            (LogRole::Error, LogDialect::PhpFpm, _) => Some(php_fpm::UNIT.compile("", clock)),
            (LogRole::Kernel, ..) | (_, LogDialect::Kernel, _) => Some(kernel::UNIT.compile("", clock)),
            (LogRole::Service, _, Some(name)) => Some(Format::from_name_or_string(name, clock)),
            (LogRole::Error, LogDialect::Unknown, _) | (LogRole::Service, ..) => None,
        }
    }

    /// Lines that are each read by themselves.
    pub(crate) fn lines(id: &'static str, read: ReadLine, clock: &Clock) -> Format {
        Format { id, way: String::new(), named: false, inner: Inner::Lines(read), dates: Dates::new(clock) }
    }

    /// Lines that lean on earlier ones.
    pub(crate) fn records(id: &'static str, reader: Box<dyn Reader>, clock: &Clock) -> Format {
        Format {
            id,
            way: String::new(),
            named: false,
            inner: Inner::Records(reader),
            dates: Dates::new(clock),
        }
    }

    fn access(id: &'static str, way: &str, plan: Plan, clock: &Clock) -> Format {
        Format {
            id,
            way: way.to_owned(),
            named: false,
            inner: Inner::Access(Box::new(plan)),
            dates: Dates::new(clock),
        }
    }

    pub(crate) fn called(mut self, nickname: &str) -> Format {
        if !nickname.is_empty() {
            self.way = nickname.to_owned();
            self.named = true;
        }
        self
    }

    /// It was made from this format string.
    pub(crate) fn written(mut self, string: &str) -> Format {
        self.way = string.to_owned();
        self
    }

    /// What the line says; `None` if it is not of this format. The line may carry its line ending.
    #[inline]
    pub fn parse<'a>(&'a mut self, line: &'a [u8]) -> Option<Event<'a>> {
        let line = match &self.inner {
            Inner::Records(reader) if reader.keeps_returns() => line.strip_suffix(b"\n").unwrap_or(line),
            _ => bare_line(line),
        };
        let dates = &mut self.dates;
        // One variable for all that is returned, so that a request is written to where the caller has room for it.
        let mut event = None;
        match &mut self.inner {
            Inner::Access(plan) => {
                if let Event::Request(request) = event.insert(Event::Request(Request::BLANK))
                    && plan.read(line, dates, request).is_none()
                {
                    event = None;
                }
            }
            Inner::Lines(read) => event = read(line, dates),
            Inner::Records(reader) => event = reader.read(line, dates),
        }
        event
    }

    /// The same for a log of requests alone, for the loop where every nanosecond counts.
    #[inline]
    pub fn request<'a>(&'a mut self, line: &'a [u8]) -> Option<Request<'a>> {
        let mut request = None;
        if let Inner::Access(_) = &self.inner {
            if !self.read(line, request.insert(Request::BLANK)) {
                request = None;
            }
        } else if let Some(Event::Request(found)) = self.parse(line) {
            request = Some(found);
        }
        request
    }

    /// Whether [`Format::read`] reads its lines.
    pub fn is_of_requests(&self) -> bool {
        matches!(self.inner, Inner::Access(_))
    }

    /// Reads a line of requests into `request`, which is [`Request::BLANK`] or was filled from this log before: to move one
    /// takes a twentieth of the time. False if the line does not fit, which leaves `request` as whatever it is.
    #[inline]
    pub fn read<'a>(&mut self, line: &'a [u8], request: &mut Request<'a>) -> bool {
        match &mut self.inner {
            Inner::Access(plan) => plan.read(bare_line(line), &mut self.dates, request).is_some(),
            Inner::Lines(_) | Inner::Records(_) => false,
        }
    }

    /// The client of a line of requests, where that can be told at once: much faster than all of the line. `None` says
    /// nothing; and whether the rest of the line fits is not known.
    #[inline]
    pub fn leading_client(&self, line: &[u8]) -> Option<IpAddr> {
        match &self.inner {
            Inner::Access(plan) => plan.leading_client(line),
            Inner::Lines(_) | Inner::Records(_) => None,
        }
    }

    /// The same, by the way that is taken for lines which do not fit straight: slower, and for tests that compare both.
    /// `None` also where a format has only one way.
    pub fn request_retried<'a>(&mut self, line: &'a [u8]) -> Option<Request<'a>> {
        match &mut self.inner {
            Inner::Access(plan) => plan.read_retried(bare_line(line), &mut self.dates),
            Inner::Lines(_) | Inner::Records(_) => None,
        }
    }

    /// The id of the unit that reads it: `apache-access`, `php-fpm`…
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// The id, with the nickname or the format string that it was made from: `apache-access (combined)`.
    pub fn describe(&self) -> String {
        if self.way.is_empty() { self.id.to_owned() } else { format!("{} ({})", self.id, self.way) }
    }

    /// Its lines are written with the time at which the request ended (nginx). [`Request::time`] is the time of
    /// receipt all the same: the duration, where the line has one, is taken off.
    pub fn stamps_end(&self) -> bool {
        match &self.inner {
            Inner::Access(plan) => plan.stamps_end,
            _ => false,
        }
    }

    /// Its lines can only be read one after another from the start of a file: a header says what they mean, or a
    /// record has many of them.
    pub fn leans_on_earlier_lines(&self) -> bool {
        matches!(&self.inner, Inner::Records(reader) if reader.leans_on_earlier_lines())
    }

    /// The server writes names instead of addresses into this log, so its client field names nobody. True once such
    /// a line was read.
    pub fn has_names(&self) -> bool {
        matches!(&self.inner, Inner::Access(plan) if plan.names)
    }

    /// Tells it beforehand that the server looks names up (`HostnameLookups On`), so that no line is trusted.
    pub fn with_names(mut self) -> Format {
        if let Inner::Access(plan) = &mut self.inner {
            plan.names = true;
        }
        self
    }

    /// Time has passed: dates without a year are judged by this clock from now on.
    pub fn set_clock(&mut self, clock: &Clock) {
        self.dates.set_clock(clock);
    }

    fn width(&self) -> usize {
        match &self.inner {
            Inner::Access(plan) => plan.width(),
            _ => 0,
        }
    }
}

/// The format that fits the most of these lines of a log; of those that fit equally many, the one that names more
/// clients, then the one that knows more of each line, then one with a name, then the first in the list. `None` if no line fits any.
pub fn sniff(lines: &[&[u8]], clock: &Clock) -> Option<Format> {
    let mut best: Option<((usize, usize, usize, bool), Format)> = None;
    for unit in ALL {
        for format in unit.candidates(lines, clock) {
            let mut reader = format.clone();
            let (mut fit, mut named) = (0, 0);
            for line in lines {
                if let Some(event) = reader.parse(line) {
                    fit += 1;
                    named += usize::from(matches!(event, Event::Request(Request { client: Some(_), .. })));
                }
            }
            let score = (fit, named, format.width(), format.named);
            if fit > 0 && best.as_ref().is_none_or(|(known, _)| score > *known) {
                // That names were seen in the sample is worth keeping; where in a record it ended is not.
                best = Some((score, reader.clone()));
            }
        }
    }
    best.map(|(_, format)| format)
}

fn bounded(string: &str) -> Result<(), Error> {
    if string.len() > FORMAT_BYTES_MAX { Err(Error::TooLong { len: string.len() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    #[test]
    fn from_what_the_configuration_says() {
        let check = |role, dialect, format: Option<&str>, expected: &str| {
            let format = format.map(str::to_owned);
            let source = LogSource { path: "/var/log/x".into(), role, dialect, format, remoteip: false };
            let made = match Format::from_source(&source, &clock()) {
                None => "sniff".to_owned(),
                Some(Ok(format)) => format.describe(),
                Some(Err(error)) => error.to_string(),
            };
            assert_eq!(made, expected);
        };
        use LogDialect::{Apache, Nginx, PhpFpm, Unknown};
        check(LogRole::Access, Apache, Some("%h %t"), "apache-access (%h %t)");
        check(LogRole::Access, Apache, Some("common"), r#"apache-access (%h %l %u %t "%r" %>s %b)"#);
        check(
            LogRole::Access,
            Apache,
            Some("%h"),
            "the format has no time of the request; %t would be right",
        );
        check(LogRole::Access, Apache, None, "sniff");
        check(LogRole::Access, Nginx, Some("$msec $status"), "nginx-access ($msec $status)");
        check(LogRole::Access, Unknown, None, "sniff");
        check(LogRole::Error, Apache, None, "apache-error");
        check(LogRole::Error, Apache, Some("[%t] %M"), "apache-error ([%t] %M)");
        check(LogRole::Error, Nginx, None, "nginx-error");
        check(LogRole::Error, PhpFpm, None, "php-fpm");
        check(LogRole::Kernel, Unknown, None, "kernel");
    }
}
