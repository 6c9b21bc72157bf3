//! The log formats, one file each.

use toban_model::Text;
use toban_model::event::Event;

use crate::stamp::Dates;
use crate::{Clock, Error, Format};

pub(crate) mod alb;
pub(crate) mod apache_access;
pub(crate) mod apache_error;
pub(crate) mod cloudfront;
pub(crate) mod dovecot;
pub(crate) mod haproxy_http;
pub(crate) mod haproxy_tcp;
pub(crate) mod journal_export;
pub(crate) mod journal_json;
pub(crate) mod json_access;
pub(crate) mod kernel;
pub(crate) mod lighttpd_error;
pub(crate) mod mysql_error;
pub(crate) mod nginx_access;
pub(crate) mod nginx_error;
pub(crate) mod php_fpm;
pub(crate) mod php_mail;
pub(crate) mod postfix;
pub(crate) mod squid;
pub(crate) mod sshd;
pub(crate) mod syslog;
pub(crate) mod vsftpd;
pub(crate) mod w3c;

/// All formats. When two fit a log equally well, the first one is taken.
pub static ALL: &[&Unit] = &[
    &apache_access::UNIT,
    &nginx_access::UNIT,
    &haproxy_http::UNIT,
    &haproxy_tcp::UNIT,
    &json_access::UNIT,
    &squid::UNIT,
    &alb::UNIT,
    &cloudfront::UNIT,
    &w3c::UNIT,
    &apache_error::UNIT,
    &nginx_error::UNIT,
    &lighttpd_error::UNIT,
    &php_fpm::UNIT,
    &php_mail::UNIT,
    &kernel::UNIT,
    &sshd::UNIT,
    &dovecot::UNIT,
    &postfix::UNIT,
    &vsftpd::UNIT,
    &mysql_error::UNIT,
    &syslog::UNIT,
    &journal_export::UNIT,
    &journal_json::UNIT,
];

/// A filled-in form: one kind of log.
pub struct Unit {
    /// Its name for ever.
    pub id: &'static str,
    /// What it is, for people.
    pub about: Text,
    /// Names for its usual format strings, the most usual first; empty where there is no format string.
    pub nicknames: &'static [(&'static str, &'static str)],
    /// Lines true to life, with what is read from them.
    pub samples: &'static [Sample],
    /// How its lines are read.
    pub(crate) way: Way,
}

/// How the lines of a format are read.
pub(crate) enum Way {
    /// By a format string.
    String {
        /// Makes a format from a format string.
        compile: fn(&str, &Clock) -> Result<Format, Error>,
        /// The formats worth trying on these lines.
        candidates: fn(&[&[u8]], &Clock) -> Vec<Format>,
    },
    /// Each by itself.
    Line(ReadLine),
    /// With what earlier lines said, or with bytes of the reader's own.
    Record(fn() -> Box<dyn Reader>),
}

/// Reads one line, without its line ending; `None` if it is not of the format.
pub(crate) type ReadLine = for<'a> fn(&'a [u8], &mut Dates) -> Option<Event<'a>>;

/// Reads lines that lean on earlier ones (a header, a record of many lines), or whose text has to be put together.
pub(crate) trait Reader: std::fmt::Debug + Send + Sync {
    /// Reads one line, without its line ending; `None` if it is not of the format.
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>>;

    /// Whether a line may mean nothing without those before it.
    fn leans_on_earlier_lines(&self) -> bool {
        false
    }

    /// A second one for another part of the same log.
    fn fork(&self) -> Box<dyn Reader>;

    /// A carriage return at the end of a line is data to it, not a part of the line ending.
    fn keeps_returns(&self) -> bool {
        false
    }
}

impl Unit {
    /// Makes a format from a format string, which is empty where the unit has none.
    pub(crate) fn compile(&self, string: &str, clock: &Clock) -> Result<Format, Error> {
        match self.way {
            Way::String { compile, .. } => compile(string, clock),
            Way::Line(read) => Ok(Format::lines(self.id, read, clock)),
            Way::Record(make) => Ok(Format::records(self.id, make(), clock)),
        }
    }

    /// The formats worth trying on these lines.
    pub(crate) fn candidates(&self, lines: &[&[u8]], clock: &Clock) -> Vec<Format> {
        match self.way {
            Way::String { candidates, .. } => candidates(lines, clock),
            Way::Line(_) | Way::Record(_) => self.compile("", clock).into_iter().collect(),
        }
    }
}

/// A line, and what is read from it.
pub struct Sample {
    /// A nickname or a format string; empty for the unit's own.
    pub format: &'static str,
    /// The line; of a record of many lines, all of them.
    pub line: &'static str,
    /// The event of the last line as [`crate::show()`] writes it, in a zone nine hours east of Greenwich, on 22 November 2026; `none` if
    /// the line does not fit.
    pub event: &'static str,
}

/// Every id and nickname.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter()
        .flat_map(|unit| std::iter::once(unit.id).chain(unit.nicknames.iter().map(|(name, _)| *name)))
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use toban_model::{Lang, Time};

    use super::*;

    /// 2026-11-22 11:00 in Japan.
    pub(crate) fn clock() -> Clock {
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
        Clock { now: Time::from_secs(1_795_312_800), zone }
    }

    /// Reads the line of a sample, or its lines, in one format, and compares the event of the last.
    pub(crate) fn check(format: &str, line: &[u8], expected: &str) {
        let mut format = Format::from_name_or_string(format, &clock()).unwrap();
        let mut event = "none".to_owned();
        for line in line.split_inclusive(|b| *b == b'\n') {
            event = format.parse(line).map_or("none".to_owned(), |event| crate::show(&event));
        }
        assert_eq!(event, expected, "\n  line: {}\n", line[..line.len().min(999)].escape_ascii());
    }

    #[test]
    fn the_list_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/formats");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs")
            .map(|name| name.trim_end_matches(".rs").replace('_', "-"))
            .collect();
        let ids: BTreeSet<String> = ALL.iter().map(|unit| unit.id.to_owned()).collect();
        assert_eq!(files, ids);
    }

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut seen = BTreeSet::new();
        for unit in ALL {
            assert!(
                unit.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                unit.id
            );
        }
        for name in names() {
            assert!(seen.insert(name), "{name} twice");
            assert!(!name.contains(['%', '$', '=', ' ']), "{name}");
        }
    }

    #[test]
    fn every_unit_speaks_both_languages() {
        for unit in ALL {
            for lang in [Lang::En, Lang::Ja] {
                assert!(!unit.about.lang(lang).is_empty(), "{}", unit.id);
            }
            assert_ne!(unit.about.en, unit.about.ja, "{}", unit.id);
        }
    }

    #[test]
    fn every_sample_reads_as_it_says() {
        for unit in ALL {
            assert!(unit.samples.len() >= 5, "{} needs samples", unit.id);
            for sample in unit.samples {
                let format = if sample.format.is_empty() { unit.id } else { sample.format };
                check(format, sample.line.as_bytes(), sample.event);
            }
        }
    }

    #[test]
    fn samples_are_sniffed_as_what_they_are() {
        for unit in ALL {
            let own: Vec<&[u8]> = unit
                .samples
                .iter()
                .filter(|sample| sample.format == unit.samples[0].format && sample.event != "none")
                .flat_map(|sample| sample.line.split_inclusive('\n').map(str::as_bytes))
                .collect();
            let sniffed = crate::sniff(&own, &clock()).map(|format| format.id());
            assert_eq!(sniffed, Some(unit.id));
        }
    }
}
