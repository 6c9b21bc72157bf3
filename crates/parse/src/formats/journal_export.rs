//! `journal-export`: what `journalctl -o export` writes. See <https://systemd.io/JOURNAL_EXPORT_FORMATS/>.
//!
//! A record is a field a line, `NAME=value`, and ends with a blank line. A value that is not plain text comes as its
//! name, a line feed, its length in eight bytes, little end first, and its bytes, which may be anything: line feeds, and
//! what looks like another record. So bytes are counted, and a log is best read from its start.
//!
//! Fields whose name starts with `_` are the journal's own, the others are what the sender claims. Whoever may write
//! under a service's name is told from them: an ordinary user may not.

use toban_model::event::Event;
use toban_model::{Text, Time};

use super::syslog::Mixed;
use super::{Reader, Sample, Unit, Way, kernel, sshd};
use crate::scan::number;
use crate::service::{NOTHING, count};
use crate::stamp::Dates;
use crate::syslog::Head;

/// The longest message that is kept, in bytes. Of a longer one nothing is read, since what is cut from it is missed.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The longest value that is believed; the journal's own limit for a record is a gigabyte.
const VALUE_BYTES_MAX: u64 = 1 << 30;

/// User ids from here on are people's (systemd's `SYSTEM_UID_MAX`).
const ORDINARY_UID_MIN: u32 = 1000;

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

/// The fields that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Message,
    Identifier,
    Comm,
    Uid,
    Pid,
    Transport,
    Time,
    Other,
}

/// What the fields said so far.
#[derive(Clone, Debug, Default)]
struct Record {
    message: Vec<u8>,
    /// The message was too long.
    cut: bool,
    identifier: Vec<u8>,
    comm: Vec<u8>,
    uid: Option<u32>,
    pid: Option<u32>,
    from_kernel: bool,
    time: Option<Time>,
}

impl Reader for Journal {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let place = std::mem::take(&mut self.place);
        self.place = match place {
            Place::Outside if line.starts_with(b"__CURSOR=") => {
                self.record = Record::default();
                Place::Field
            }
            Place::Outside => return None,
            Place::Field if line.is_empty() => return Some(self.record.event(&mut self.mixed, dates)),
            Place::Field => self.record.field(line)?,
            Place::Length(..) | Place::Value(..) => self.record.value(place, line)?,
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

impl Kind {
    fn of(name: &[u8]) -> Kind {
        match name {
            b"MESSAGE" => Kind::Message,
            b"SYSLOG_IDENTIFIER" => Kind::Identifier,
            b"_COMM" => Kind::Comm,
            b"_UID" => Kind::Uid,
            b"_PID" => Kind::Pid,
            b"_TRANSPORT" => Kind::Transport,
            b"__REALTIME_TIMESTAMP" => Kind::Time,
            _ => Kind::Other,
        }
    }
}

impl Record {
    /// `NAME=value`, or a name alone before a counted value; `None` if it is neither.
    fn field(&mut self, line: &[u8]) -> Option<Place> {
        let equals = memchr::memchr(b'=', line);
        let name = &line[..equals.unwrap_or(line.len())];
        if name.is_empty() || !name.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_')
        {
            return None;
        }
        let kind = Kind::of(name);
        self.begin(kind);
        let Some(equals) = equals else { return Some(Place::Length(kind, 0, 0)) };
        self.add(kind, &line[equals + 1..]);
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
        self.add(kind, rest);
        if left == here {
            return Some(Place::Field);
        }
        self.add(kind, b"\n");
        Some(Place::Value(kind, left - here - 1))
    }

    /// A field begins. Of one that comes twice, the last is taken.
    fn begin(&mut self, kind: Kind) {
        match kind {
            Kind::Message => {
                self.message.clear();
                self.cut = false;
            }
            Kind::Identifier => self.identifier.clear(),
            Kind::Comm => self.comm.clear(),
            _ => {}
        }
    }

    /// A field's value, or a part of a counted one. The journal's own short values are never counted.
    fn add(&mut self, kind: Kind, value: &[u8]) {
        match kind {
            Kind::Message if self.message.len() + value.len() > MESSAGE_BYTES_MAX => self.cut = true,
            Kind::Message => self.message.extend_from_slice(value),
            Kind::Identifier => self.identifier.extend(value.iter().take(256)),
            Kind::Comm => self.comm.extend(value.iter().take(16)),
            Kind::Uid => self.uid = count(value),
            Kind::Pid => self.pid = count(value),
            Kind::Transport => self.from_kernel = value == b"kernel",
            Kind::Time => {
                self.time = number(value).and_then(|us| i64::try_from(us).ok()).map(Time::from_micros);
            }
            Kind::Other => {}
        }
    }

    fn event<'a>(&'a self, mixed: &mut Mixed, dates: &mut Dates) -> Event<'a> {
        if self.message.is_empty() {
            return Event::Silent;
        }
        let tag = if self.identifier.is_empty() { &self.comm } else { &self.identifier };
        let head = Head { time: self.time, tag, pid: self.pid, text: &self.message };
        if self.from_kernel {
            Event::Kernel(kernel::message(self.time, &self.message))
        } else if !self.cut && tag != b"kernel" && self.may_write_as(tag) {
            mixed.event(&head, dates)
        } else {
            NOTHING.by(if tag.is_empty() { b"journal" } else { tag }, &head)
        }
    }

    /// The journal knows the process to be root's, or a system account's under the program's own name.
    fn may_write_as(&self, tag: &[u8]) -> bool {
        let program = tag.rsplit(|b| *b == b'/').next().unwrap_or(tag);
        // The kernel keeps 15 bytes of a name.
        let own = self.comm == program[..program.len().min(15)];
        match self.uid {
            Some(0) => true,
            Some(uid) => uid < ORDINARY_UID_MIN && own && !sshd::is_tag(tag),
            None => own,
        }
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
    fn who_may_write_as_whom() {
        let check = |fields: &str, expected: bool| {
            let mut format = Format::from_name_or_string("journal-export", &clock()).unwrap();
            let log = record(fields, b"Failed password for root from 192.0.2.7 port 4 ssh2");
            let said = log
                .split_inclusive(|b| *b == b'\n')
                .fold(String::new(), |_, line| crate::show(&format.parse(line).unwrap()));
            assert_eq!(said.contains("client=192.0.2.7"), expected, "{fields}: {said}");
        };
        check("SYSLOG_IDENTIFIER=sshd\n_UID=0\n_COMM=sshd-session\n", true);
        check("SYSLOG_IDENTIFIER=sshd\n_UID=0\n", true);
        check("SYSLOG_IDENTIFIER=sshd\n_COMM=sshd\n", true);
        check("SYSLOG_IDENTIFIER=sshd\n_COMM=logger\n", false);
        check("SYSLOG_IDENTIFIER=sshd\n_UID=33\n_COMM=sshd\n", false);
        check("SYSLOG_IDENTIFIER=sshd\n_UID=1000\n_COMM=sshd\n", false);
        check("SYSLOG_IDENTIFIER=sshd\n", false);
        check("_UID=0\n_COMM=sshd\n", true);
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in ["", "MESSAGE=x", "x\ny", "__CURSOR=s=1\nno field", "__CURSOR=s=1\na=b"] {
            check("journal-export", line.as_bytes(), "none");
        }
    }
}
