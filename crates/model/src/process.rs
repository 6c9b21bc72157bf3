//! Processes and sockets in one second, as the recorder keeps them.
//!
//! The rows are plain numbers; their texts stand in the sample's own [`Texts`]. So a sample that is filled anew each
//! second asks for no memory, which is what lets it be filled while the host has none.

use serde::{Deserialize, Serialize};

use crate::{Prefix, ProcessId, TcpState};

/// Where a text stands in a sample's [`Texts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    start: u32,
    len: u32,
}

/// The texts of one sample, one behind the other, at most [`Texts::BYTES_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Texts(String);

impl Texts {
    /// More than this is not kept of one second.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Empty, with all the room that it will ever need.
    pub fn with_room() -> Texts {
        Texts(String::with_capacity(Texts::BYTES_MAX))
    }

    /// Keeps a text; what does not fit any more is cut at a character.
    pub fn push(&mut self, text: &str) -> Span {
        let mut room = text.len().min(Texts::BYTES_MAX - self.0.len());
        while !text.is_char_boundary(room) {
            room -= 1;
        }
        let text = &text[..room];
        let start = self.0.len() as u32;
        self.0.push_str(text);
        Span { start, len: text.len() as u32 }
    }

    /// The text of a span; empty for a span of another sample that does not fit here.
    pub fn get(&self, span: Span) -> &str {
        let start = span.start as usize;
        self.0.get(start..start + span.len as usize).unwrap_or_default()
    }

    /// Forgets all texts and keeps the room.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

/// One process in one second. Numbers that the kernel counts up are as it counts them: a reader takes differences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessUse {
    /// Which process.
    pub id: ProcessId,
    /// Its parent's number.
    pub parent: u32,
    /// Its effective user.
    pub user: u32,
    /// The letter of proc_pid_stat(5): `R`, `S`, `D`, `Z`, `T`, `I`…
    pub state: u8,
    /// Threads.
    pub threads: u32,
    /// User and system time since its start, in microseconds.
    pub cpu_us: u64,
    /// Resident memory, in bytes.
    pub resident: u64,
    /// Open file handles, where they could be counted.
    pub handles: Option<u32>,
    /// Bytes that it had read from storage since its start, where the kernel tells.
    pub read: Option<u64>,
    /// Bytes that it had written to storage since its start, where the kernel tells.
    pub written: Option<u64>,
    /// The command's name, at most 15 bytes.
    pub comm: Span,
    /// The command line, its arguments apart by blanks; cut where it is very long.
    pub command: Span,
    /// The cgroup that it belongs to, as `/proc/PID/cgroup` names it; where there are several, the one that systemd
    /// or a container gave.
    pub group: Span,
    /// The kernel function that it waits in, if it waits and the kernel tells.
    pub waits_in: Span,
}

/// The processes of one second: all are counted, the busiest kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Processes {
    /// How many there are, kernel threads included.
    pub count: u32,
    /// How many of them were looked at in this second, or are known to rest because all processor time is accounted for
    /// without them. A pass that cannot end within its share is cut, and goes on in the next second where it was cut.
    pub looked_at: u32,
    /// The busiest by CPU, memory, I/O, threads and file handles.
    pub busiest: Vec<ProcessUse>,
}

/// How many sockets are in one state at one port with peers of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketCount {
    /// Their state.
    pub state: TcpState,
    /// The local port.
    pub port: u16,
    /// The peers' network (/24 or /48), or none for the sum over all peers.
    pub peers: Option<Prefix>,
    /// How many.
    pub count: u32,
}
