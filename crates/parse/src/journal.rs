//! A *record* of systemd's journal, whatever way it was written out.
//!
//! Fields whose name starts with `_` are the journal's own, the others are what the sender claims. From them it is told
//! who may write under a service's name: an ordinary user may not.

use toban_model::Time;
use toban_model::event::Event;

use crate::formats::syslog::Mixed;
use crate::formats::{kernel, sshd};
use crate::scan::number;
use crate::service::{NOTHING, count};
use crate::stamp::Dates;
use crate::syslog::Head;

/// The longest message that is kept, in bytes. Of a longer one nothing is read, since what is cut from it is missed.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// The longest name of a program that is kept, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// User ids from here on are people's (systemd's `SYSTEM_UID_MAX`).
const ORDINARY_UID_MIN: u32 = 1000;

/// The fields that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Message,
    Identifier,
    Comm,
    Uid,
    Pid,
    Transport,
    Time,
    Other,
}

impl Kind {
    pub(crate) fn of(name: &[u8]) -> Kind {
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

/// What the fields said so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    message: Vec<u8>,
    /// Some of the message is missing.
    cut: bool,
    identifier: Vec<u8>,
    comm: Vec<u8>,
    uid: Option<u32>,
    pid: Option<u32>,
    from_kernel: bool,
    pub(crate) time: Option<Time>,
}

impl Record {
    /// Forgets all fields.
    pub(crate) fn clear(&mut self) {
        self.message.clear();
        self.identifier.clear();
        self.comm.clear();
        (self.cut, self.from_kernel) = (false, false);
        (self.uid, self.pid, self.time) = (None, None, None);
    }

    /// A field begins. Of one that comes twice, the last is taken.
    pub(crate) fn begin(&mut self, kind: Kind) {
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

    /// A field's value, or a part of a long one. The journal's own short values come whole.
    pub(crate) fn add(&mut self, kind: Kind, value: &[u8]) {
        match kind {
            Kind::Message if self.message.len() + value.len() > MESSAGE_BYTES_MAX => self.cut = true,
            Kind::Message => self.message.extend_from_slice(value),
            Kind::Identifier => add_name(&mut self.identifier, value),
            Kind::Comm => add_name(&mut self.comm, value),
            Kind::Uid => self.uid = count(value),
            Kind::Pid => self.pid = count(value),
            Kind::Transport => self.from_kernel = value == b"kernel",
            Kind::Time => {
                self.time = number(value).and_then(|us| i64::try_from(us).ok()).map(Time::from_micros);
            }
            Kind::Other => {}
        }
    }

    /// What the record says, once it is whole.
    pub(crate) fn event<'a>(&'a self, mixed: &mut Mixed, dates: &mut Dates) -> Event<'a> {
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

fn add_name(name: &mut Vec<u8>, value: &[u8]) {
    let room = NAME_BYTES_MAX.saturating_sub(name.len());
    name.extend_from_slice(&value[..value.len().min(room)]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    #[test]
    fn who_may_write_as_whom() {
        let check = |fields: &[(&str, &str)], expected: bool| {
            let mut record = Record::default();
            let message = ("MESSAGE", "Failed password for root from 192.0.2.7 port 4 ssh2");
            for (name, value) in fields.iter().chain([&message]) {
                record.begin(Kind::of(name.as_bytes()));
                record.add(Kind::of(name.as_bytes()), value.as_bytes());
            }
            let mut mixed = Mixed::default();
            let said = crate::show(&record.event(&mut mixed, &mut Dates::new(&clock())));
            assert_eq!(said.contains("client=192.0.2.7"), expected, "{fields:?}: {said}");
        };
        let sshd = ("SYSLOG_IDENTIFIER", "sshd");
        check(&[sshd, ("_UID", "0"), ("_COMM", "sshd-session")], true);
        check(&[sshd, ("_UID", "0")], true);
        check(&[sshd, ("_COMM", "sshd")], true);
        check(&[sshd, ("_COMM", "logger")], false);
        check(&[sshd, ("_UID", "33"), ("_COMM", "sshd")], false);
        check(&[sshd, ("_UID", "1000"), ("_COMM", "sshd")], false);
        check(&[sshd], false);
        check(&[("_UID", "0"), ("_COMM", "sshd")], true);
    }

    #[test]
    fn a_message_that_is_too_long_names_nobody() {
        let mut record = Record::default();
        record.add(Kind::Uid, b"0");
        record.add(Kind::Identifier, b"sshd");
        record.add(Kind::Message, b"Failed password for invalid user x from 203.0.113.9 port 4 ssh2");
        record.add(Kind::Message, &vec![b' '; MESSAGE_BYTES_MAX]);
        let mut mixed = Mixed::default();
        let said = crate::show(&record.event(&mut mixed, &mut Dates::new(&clock())));
        assert!(!said.contains("client="), "{said}");
    }
}
