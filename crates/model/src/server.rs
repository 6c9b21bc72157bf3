//! What a server is doing at this moment, seen from its sockets and processes without asking it anything.
//!
//! An access log speaks only when a request has ended; this is the view of those that have not.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{ProcessId, Time};

/// TCP states, by the kernel's numbers (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are RFC 9293's")]
pub enum TcpState {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl TcpState {
    /// All of them, in the order of the kernel's numbers: each stands at its own place.
    pub const ALL: [TcpState; 11] = [
        TcpState::Established,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::FinWait1,
        TcpState::FinWait2,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::Listen,
        TcpState::Closing,
    ];

    /// The kernel's number, from 1 on.
    pub const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The state with the kernel's number.
    pub fn of_number(number: u8) -> Option<TcpState> {
        TcpState::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// One TCP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Our end.
    pub local: SocketAddr,
    /// The other end; v4-mapped addresses are brought to v4.
    pub peer: SocketAddr,
    /// Its state.
    pub state: TcpState,
    /// Bytes received and not read by the process; for a listener the accept queue's length.
    pub recv_queue: u32,
    /// Bytes sent and not acknowledged; for a listener the accept queue's limit.
    pub send_queue: u32,
    /// 0 when no process has it (still in the accept queue, or an orphan).
    pub inode: u64,
    /// The owner, if one was found.
    pub pid: Option<u32>,
    /// A zero-window probe timer runs: the peer does not read.
    pub persist: bool,
    /// Milliseconds since data last came in.
    pub last_received_ms: Option<u32>,
    /// Payload bytes received so far.
    pub bytes_received: Option<u64>,
    /// Payload bytes the peer has acknowledged so far.
    pub bytes_acked: Option<u64>,
}

/// What a worker waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Waiting {
    /// For the next connection: it is free.
    Idle,
    /// For the client to send or to read.
    Client,
    /// For the backend, a file or a lock: the request is in and nothing has been answered.
    Backend,
    /// It is on the processor.
    Running,
    /// Cannot be told.
    Unknown,
}

/// One worker of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// Its process.
    pub process: ProcessId,
    /// The connection that it serves.
    pub peer: Option<SocketAddr>,
    /// The port that the peer came to.
    pub port: Option<u16>,
    /// For how long it has been held by this request, in milliseconds, as well as the sockets tell.
    pub held_ms: Option<u64>,
    /// What it waits for.
    pub waiting: Waiting,
    /// The request's method, from the scoreboard. A stranger's text.
    pub method: Option<String>,
    /// The request's path without query, from the scoreboard. A stranger's text, cut to what the scoreboard keeps.
    pub path: Option<String>,
    /// Resident memory, in bytes.
    pub rss_bytes: u64,
    /// The only thing that it has a connection to while it waits at a socket: another server's unix socket, or its
    /// address and port.
    #[serde(default)]
    pub asks: Option<Box<str>>,
}

/// A connection that waits to be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedPeer {
    /// The other end.
    pub peer: SocketAddr,
    /// The port that it came to.
    pub port: u16,
    /// The peer has closed already; the server will work for nobody.
    pub gone: bool,
}

/// One server at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerView {
    /// The service's id.
    pub service: String,
    /// When.
    pub at: Time,
    /// Its workers, the busy and the free.
    pub workers: Vec<Worker>,
    /// How many of them hold a request or a connection.
    pub busy: u32,
    /// How many there can be.
    pub limit: Option<u32>,
    /// Connections that wait to be accepted, at most 4096 of them.
    pub queue: Vec<QueuedPeer>,
    /// The accept queue's length over all listeners (TCP, or unix for a backend).
    pub queue_len: u32,
    /// The accept queues' limit, summed.
    pub queue_limit: u32,
}
