//! `journal-export`: what `journalctl -o export` writes. See <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
//!
//! A record is a field a line, `NAME=value`, and ends with a blank line. A value that is not plain text comes as its
//! name, a line feed, its length in eight bytes, little end first, and its bytes, which may be anything: line feeds, and
//! what looks like another record. So bytes are counted, and a log is best read from its start.

use toban_model::Text;
use toban_model::event::Event;

use super::syslog::Mixed;
use super::{Reader, Sample, Unit, Way};
use crate::journal::{Kind, Record};
use crate::stamp::Dates;

/// The longest value that is believed; the journal's own limit for a record is a gigabyte.
const VALUE_BYTES_MAX: u64 = 1 << 30;

pub(crate) const UNIT: Unit = Unit {
    id: "journal-export",
    about: Text::fixed(
        "the journal, as journalctl -o export writes it",
        "journalctl -o export が出力したジャーナルです",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Journal::default())),
};

/// Reads records.
#[derive(Clone, Debug, Default)]
struct Journal {
    place: Place,
    record: Record,
    mixed: Mixed,
}

/// Where in a record the next line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// Between records, or nowhere known. A record begins with its cursor.
    #[default]
    Outside,
    /// At the start of a field, or at the end.
    Field,
    /// In the length of a value: so many of its bytes are read, and make this.
    Length(Kind, u32, u64),
    /// In a value of which so many bytes are to come.
    Value(Kind, u64),
}

impl Reader for Journal {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let place = std::mem::take(&mut self.place);
        self.place = match place {
            Place::Outside if line.starts_with(b"__CURSOR=") => {
                self.record.clear();
                Place::Field
            }
            Place::Outside => return None,
            Place::Field if line.is_empty() => return Some(self.record.event(&mut self.mixed, dates)),
            Place::Field => self.field(line)?,
            Place::Length(..) | Place::Value(..) => self.value(place, line)?,
        };
        Some(Event::Silent)
    }

    fn leans_on_earlier_lines(&self) -> bool {
        true
    }

    fn fork(&self) -> Box<dyn Reader> {
        // Elsewhere in the log is outside of any record.
        Box::new(Journal::default())
    }

    fn keeps_returns(&self) -> bool {
        true
    }
}

impl Journal {
    /// `NAME=value`, or a name alone before a counted value; `None` if it is neither.
    fn field(&mut self, line: &[u8]) -> Option<Place> {
        let equals = memchr::memchr(b'=', line);
        let name = &line[..equals.unwrap_or(line.len())];
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
        {
            return None;
        }
        let kind = Kind::of(name);
        self.record.begin(kind);
        let Some(equals) = equals else { return Some(Place::Length(kind, 0, 0)) };
        self.record.add(kind, &line[equals + 1..]);
        Some(Place::Field)
    }

    /// A line in a counted value, where the line feed counts too; `None` if the value does not end with a line.
    fn value(&mut self, place: Place, line: &[u8]) -> Option<Place> {
        let mut rest = line;
        let (kind, left) = match place {
            Place::Length(kind, mut read, mut length) => {
                while read < 8 {
                    // The line feed may be the last byte of the length, or one in its middle.
                    let (byte, behind) = rest.split_first().unwrap_or((&b'\n', rest));
                    length |= u64::from(*byte) << (8 * read);
                    read += 1;
                    if rest.is_empty() {
                        return Some(if read < 8 {
                            Place::Length(kind, read, length)
                        } else {
                            Place::Value(kind, length)
                        });
                    }
                    rest = behind;
                }
                (kind, length)
            }
            Place::Value(kind, left) => (kind, left),
            Place::Outside | Place::Field => return None,
        };
        let here = rest.len() as u64;
        if left > VALUE_BYTES_MAX || left < here {
            return None;
        }
        self.record.add(kind, rest);
        if left == here {
            return Some(Place::Field);
        }
        self.record.add(kind, b"\n");
        Some(Place::Value(kind, left - here - 1))
    }
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_IDENTIFIER=sshd\n_UID=0\n_COMM=sshd\n_PID=7\nMESSAGE=Failed password for root from 198.51.100.11 port 29588 ssh2\n\n",
        event: "time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=root text=\"Failed password for root from 198.51.100.11 port 29588 ssh2\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_UID=0\nSYSLOG_IDENTIFIER=sshd-session\nMESSAGE\n\x48\x00\x00\x00\x00\x00\x00\x00Failed password for invalid user john\nsmith from 2001:db8::7 port 4 ssh2\n_PID=7\n\n",
        event: "time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=2001:db8::7 offence=auth-failure account=\"john\\nsmith\" text=\"Failed password for invalid user john\\nsmith from 2001:db8::7 port 4 ssh2\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\nMESSAGE\n\x71\x00\x00\x00\x00\x00\x00\x00Invalid user x\n\n__CURSOR=s=5e1b\n_UID=0\nMESSAGE=Invalid user y from 203.0.113.9 port 4\n\n from 198.51.100.11 port 4\n_UID=0\nSYSLOG_IDENTIFIER=sshd\n_PID=7\n\n",
        event: "time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=\"x\\n\\n__CURSOR=s=5e1b\\n_UID=0\\nMESSAGE=Invalid user y from 203.0.113.9 port 4\\n\\n\" text=\"Invalid user x\\n\\n__CURSOR=s=5e1b\\n_UID=0\\nMESSAGE=Invalid user y from 203.0.113.9 port 4\\n\\n from 198.51.100.11 port 4\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_TRANSPORT=kernel\nSYSLOG_IDENTIFIER=kernel\nMESSAGE=TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.\n\n",
        event: "time=2026-11-22T01:23:44.168259Z word=SynFlooding { port: 443 } text=\"TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_UID=109\n_COMM=smtpd\nSYSLOG_IDENTIFIER=postfix/smtpd\n_PID=7\nMESSAGE=lost connection after UNKNOWN from unknown[198.51.100.11]\n\n",
        event: "time=2026-11-22T01:23:44.168259Z service=postfix pid=7 client=198.51.100.11 offence=protocol-error text=\"lost connection after UNKNOWN from unknown[198.51.100.11]\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_UID=1000\n_COMM=sshd\nSYSLOG_IDENTIFIER=sshd\n_PID=7\nMESSAGE=Failed password for root from 203.0.113.9 port 4 ssh2\n\n",
        event: "time=2026-11-22T01:23:44.168259Z service=sshd pid=7 text=\"Failed password for root from 203.0.113.9 port 4 ssh2\"",
    },
    Sample {
        format: "",
        line: "__CURSOR=s=5e1b;i=1;b=2a;m=3;t=4;x=5\n__REALTIME_TIMESTAMP=1795310624168259\n_PID=7\n_COMM=systemd\n\n",
        event: "silent",
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};
    use crate::Format;

    /// A record with the message counted, whatever its length.
    fn record(fields: &str, message: &[u8]) -> Vec<u8> {
        let mut record = format!("__CURSOR=s=5e1b;i=1\n{fields}MESSAGE\n").into_bytes();
        record.extend((message.len() as u64).to_le_bytes());
        record.extend(message);
        record.extend(b"\n\n");
        record
    }

    #[test]
    fn counted_values_may_hold_anything() {
        let mut format = Format::from_name_or_string("journal-export", &clock()).unwrap();
        // A length of ten is a line feed itself, and messages may end with one.
        for message in
            [&b"0123456789"[..], b"a\r\nb\r\n", b"\n\n\n", b"MESSAGE=x\n\n__CURSOR=y\n", &[b'\n'; 2570]]
        {
            for _ in 0..2 {
                let log = record("SYSLOG_IDENTIFIER=app\n", message);
                let lines: Vec<&[u8]> = log.split_inclusive(|b| *b == b'\n').collect();
                let (last, before) = lines.split_last().unwrap();
                for line in before {
                    assert_eq!(format.parse(line), Some(toban_model::event::Event::Silent));
                }
                match format.parse(last) {
                    Some(toban_model::event::Event::Service(said)) => assert_eq!(said.text, message),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn a_broken_record_is_left() {
        let mut format = Format::from_name_or_string("journal-export", &clock()).unwrap();
        let mut broken = record("", b"0123456789");
        // Says that it is shorter than it is.
        let at = broken.len() - 12 - 8;
        broken[at] = 4;
        broken.extend(b"MESSAGE=x\n\n");
        let read: Vec<bool> =
            broken.split_inclusive(|b| *b == b'\n').map(|line| format.parse(line).is_some()).collect();
        assert_eq!(read, [true, true, false, false, false, false]);
        let whole = record("", b"y");
        assert!(whole.split_inclusive(|b| *b == b'\n').all(|line| format.parse(line).is_some()));
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in ["", "MESSAGE=x", "x\ny", "__CURSOR=s=1\nno field", "__CURSOR=s=1\na=b"] {
            check("journal-export", line.as_bytes(), "none");
        }
    }
}
