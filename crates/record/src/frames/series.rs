//! What a sample is made of, as both files keep it: vitals, processes and sockets, each a key that stays the same and
//! numbers that change; and the texts of the processes by number.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use toban_model::{
    Name, Prefix, ProcessId, ProcessUse, Reading, ReadingKind, Sample, SocketCount, Span, TcpState, Texts,
};

use super::wire::{Bytes, string, varint};

/// What a series is known by.
pub(super) trait Key: Clone + Eq + Hash {
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &mut Bytes<'_>) -> Option<Self>;
}

/// A vital: the same name with another unit or kind is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Vital {
    pub(super) name: Name,
    pub(super) unit: Name,
    pub(super) counter: bool,
}

impl Vital {
    pub(super) fn of(reading: &Reading) -> Vital {
        Vital {
            name: reading.name.clone(),
            unit: reading.unit.clone(),
            counter: reading.kind == ReadingKind::Counter,
        }
    }

    pub(super) fn kind(&self) -> ReadingKind {
        if self.counter { ReadingKind::Counter } else { ReadingKind::Gauge }
    }

    /// As [`Key::read`], but without its names unless it has this one, and whether it has.
    pub(super) fn read_named(bytes: &mut Bytes<'_>, name: &str) -> Option<(Vital, bool)> {
        let mut rest = bytes.clone();
        let (_, _, found) = (bytes.u8()?, bytes.str()?, bytes.str()?);
        if found == name {
            return Some((Vital::read(&mut rest)?, true));
        }
        Some((Vital { name: "".into(), unit: "".into(), counter: false }, false))
    }

    pub(super) fn reading(&self, value: f64) -> Reading {
        Reading { name: self.name.clone(), value, unit: self.unit.clone(), kind: self.kind() }
    }
}

/// The usual ones need no memory: a day of files has thousands of columns.
fn unit(text: &str) -> Name {
    const USUAL: [&str; 6] = ["", "%", "B", "B/s", "/s", "ms"];
    match USUAL.into_iter().find(|unit| *unit == text) {
        Some(unit) => unit.into(),
        None => text.to_owned().into(),
    }
}

impl Key for Vital {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.counter.into());
        string(out, &self.unit);
        string(out, &self.name);
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Vital> {
        let counter = bytes.u8()? == 1;
        let unit = unit(bytes.str()?);
        Some(Vital { counter, unit, name: bytes.str()?.to_owned().into() })
    }
}

impl Key for ProcessId {
    fn write(&self, out: &mut Vec<u8>) {
        varint(out, self.pid.into());
        varint(out, self.start_ticks);
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<ProcessId> {
        Some(ProcessId { pid: bytes.small()?, start_ticks: bytes.varint()? })
    }
}

/// Which sockets are counted together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peers {
    state: TcpState,
    port: u16,
    peers: Option<Prefix>,
}

impl Peers {
    pub(super) fn of(sockets: &SocketCount) -> Peers {
        Peers { state: sockets.state, port: sockets.port, peers: sockets.peers }
    }

    pub(super) fn count(&self, count: u64) -> SocketCount {
        SocketCount { state: self.state, port: self.port, peers: self.peers, count: count as u32 }
    }
}

impl Key for Peers {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.state.number());
        out.extend_from_slice(&self.port.to_le_bytes());
        match self.peers {
            None => out.push(0),
            Some(Prefix::V4(net)) => {
                out.extend_from_slice(&[4, net.prefix_len()]);
                out.extend_from_slice(&net.addr().octets());
            }
            Some(Prefix::V6(net)) => {
                out.extend_from_slice(&[6, net.prefix_len()]);
                out.extend_from_slice(&net.addr().octets());
            }
        }
    }

    fn read(bytes: &mut Bytes<'_>) -> Option<Peers> {
        let state = TcpState::of_number(bytes.u8()?)?;
        let port = u16::from_le_bytes(bytes.array()?);
        let peers = match bytes.u8()? {
            0 => None,
            family => {
                let len = bytes.u8()?;
                let address: IpAddr = match family {
                    4 => bytes.array::<4>()?.into(),
                    _ => bytes.array::<16>()?.into(),
                };
                Some(Prefix::new(address, len).ok()?)
            }
        };
        Some(Peers { state, port, peers })
    }
}

/// A process's numbers, those that change most often first. What the kernel does not tell is 0, and what it tells is
/// one more; a text is its number in [`Interned`].
pub(super) type Fields = [u64; FIELDS];
pub(super) const FIELDS: usize = 13;

/// The numbers of one process; its texts are kept in `interned`.
pub(super) fn fields(process: &ProcessUse, texts: &Texts, interned: &mut Interned) -> Fields {
    let told = |number: Option<u64>| number.map_or(0, |number| number.saturating_add(1));
    let mut text = |span| interned.number(texts.get(span));
    [
        process.cpu_us,
        process.resident,
        told(process.written),
        told(process.read),
        text(process.waits_in),
        process.state.into(),
        process.threads.into(),
        told(process.handles.map(u64::from)),
        text(process.comm),
        text(process.command),
        text(process.group),
        process.parent.into(),
        process.user.into(),
    ]
}

/// The process with these numbers. `span` keeps the text of a number in the sample that is made.
pub(super) fn process(id: ProcessId, fields: &Fields, mut span: impl FnMut(u64) -> Span) -> ProcessUse {
    let [
        cpu_us,
        resident,
        written,
        read,
        waits_in,
        state,
        threads,
        handles,
        comm,
        command,
        group,
        parent,
        user,
    ] = *fields;
    let told = |number: u64| number.checked_sub(1);
    ProcessUse {
        id,
        parent: parent as u32,
        user: user as u32,
        state: state as u8,
        threads: threads as u32,
        cpu_us,
        resident,
        handles: told(handles).map(|handles| handles as u32),
        read: told(read),
        written: told(written),
        comm: span(comm),
        command: span(command),
        group: span(group),
        waits_in: span(waits_in),
    }
}

/// Each text once, by number; 0 is the empty one.
#[derive(Debug, Default)]
pub(super) struct Interned {
    numbers: HashMap<Box<str>, u64>,
    texts: Vec<Box<str>>,
    bytes: usize,
}

impl Interned {
    fn number(&mut self, text: &str) -> u64 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(text.into());
        self.bytes += text.len();
        let number = self.texts.len() as u64;
        self.numbers.insert(text.into(), number);
        number
    }

    /// In the order of their numbers.
    pub(super) fn texts(&self) -> &[Box<str>] {
        &self.texts
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The texts of a sample that is read: each is put into it once.
#[derive(Default)]
pub(super) struct Spans {
    texts: Texts,
    spans: HashMap<u64, Span>,
}

impl Spans {
    pub(super) fn span(&mut self, texts: &[Box<str>], number: u64) -> Span {
        let text = number.checked_sub(1).and_then(|at| texts.get(at as usize));
        match text {
            Some(text) => *self.spans.entry(number).or_insert_with(|| self.texts.push(text)),
            None => Span::default(),
        }
    }
}

/// Ends a sample that is read: every reader gives the rows in the same order, whatever file they come from.
pub(super) fn finish(sample: &mut Sample, spans: Spans) {
    sample.texts = spans.texts;
    sample.processes.busiest.sort_unstable_by_key(|process| (process.id.pid, process.id.start_ticks));
    // None, which is a sum over all peers, is before all counts.
    sample.sockets.sort_by_key(|sockets| sockets.peers.map(|_| Reverse(sockets.count)));
}
