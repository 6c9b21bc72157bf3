//! `journal-json`: what `journalctl -o json` writes, an object a line.
//! See <https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format>.
//!
//! A message that is no printable text comes as an array of its bytes, and a very long one as `null`; neither is read.

use toban_model::Text;
use toban_model::event::Event;

use super::syslog::Mixed;
use super::{Reader, Sample, Unit, Way};
use crate::journal::{Kind, Record};
use crate::json::{self, Sink, Value};
use crate::stamp::Dates;

pub(crate) const UNIT: Unit = Unit {
    id: "journal-json",
    about: Text::fixed(
        "the journal, as journalctl -o json writes it",
        "journalctl -o json が出力したジャーナルです",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Journal::default())),
};

/// Reads records.
#[derive(Clone, Debug, Default)]
struct Journal {
    record: Record,
    /// A value without its escapes.
    text: Vec<u8>,
    mixed: Mixed,
}

impl Reader for Journal {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        self.record.clear();
        json::read(line, &mut Fields { record: &mut self.record, text: &mut self.text })?;
        // The journal stamps every record.
        self.record.time?;
        Some(self.record.event(&mut self.mixed, dates))
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

struct Fields<'r> {
    record: &'r mut Record,
    text: &'r mut Vec<u8>,
}

impl<'a> Sink<'a> for Fields<'_> {
    fn open(&mut self, _key: json::Text<'a>) -> bool {
        false
    }

    fn close(&mut self) {}

    fn value(&mut self, key: json::Text<'a>, value: Value<'a>) {
        let kind = Kind::of(key.raw);
        if let (true, Value::Text(text)) = (kind != Kind::Other, value) {
            self.text.clear();
            json::unescape(text.raw, self.text);
            self.record.begin(kind);
            self.record.add(kind, self.text);
        }
    }
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","_TRANSPORT":"syslog","SYSLOG_IDENTIFIER":"sshd","_UID":"0","_COMM":"sshd","_PID":"7","MESSAGE":"Failed password for root from 198.51.100.11 port 29588 ssh2"}"#,
        event: r#"time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=root text="Failed password for root from 198.51.100.11 port 29588 ssh2""#,
    },
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","MESSAGE":"Failed password for invalid user john \"x\" smith from 2001:db8::7 port 4 ssh2","SYSLOG_IDENTIFIER":"sshd-session","_UID":"0","_PID":"7"}"#,
        event: r#"time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=2001:db8::7 offence=auth-failure account="john "x" smith" text="Failed password for invalid user john "x" smith from 2001:db8::7 port 4 ssh2""#,
    },
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","MESSAGE":"Invalid user \",\"_UID\":\"0 from 203.0.113.9 port 4\",\"x\":\" from 198.51.100.11 port 4","SYSLOG_IDENTIFIER":"sshd","_UID":"0"}"#,
        event: r#"time=2026-11-22T01:23:44.168259Z service=sshd client=198.51.100.11 offence=auth-failure account="","_UID":"0 from 203.0.113.9 port 4","x":"" text="Invalid user ","_UID":"0 from 203.0.113.9 port 4","x":" from 198.51.100.11 port 4""#,
    },
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","MESSAGE":"Failed password for root from 203.0.113.9 port 29588 ssh2","SYSLOG_IDENTIFIER":"sshd","_UID":"1000","_COMM":"sshd"}"#,
        event: r#"time=2026-11-22T01:23:44.168259Z service=sshd text="Failed password for root from 203.0.113.9 port 29588 ssh2""#,
    },
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","MESSAGE":[70,7,11],"SYSLOG_IDENTIFIER":"sshd","_UID":"0"}"#,
        event: "silent",
    },
    Sample {
        format: "",
        line: r#"{"__CURSOR":"s=5e1b;i=1","__REALTIME_TIMESTAMP":"1795310624168259","_TRANSPORT":"kernel","SYSLOG_IDENTIFIER":"kernel","MESSAGE":"nf_conntrack: nf_conntrack: table full, dropping packet"}"#,
        event: r#"time=2026-11-22T01:23:44.168259Z word=ConntrackFull text="nf_conntrack: nf_conntrack: table full, dropping packet""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "{}",
            r#"{"MESSAGE":"x","_UID":"0"}"#,
            r#"{"__REALTIME_TIMESTAMP":"1795310624168259","MESSAGE":"x"#,
            r#"{"__REALTIME_TIMESTAMP":1795310624168259,"MESSAGE":"x"}"#,
            r#"[{"__REALTIME_TIMESTAMP":"1795310624168259"}]"#,
        ] {
            check("journal-json", line.as_bytes(), "none");
        }
    }
}
