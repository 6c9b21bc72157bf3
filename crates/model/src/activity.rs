//! What single processes and groups of them do, beyond the busiest of each second: closer looks at a few suspects,
//! groups of the same kind, and who holds the memory.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{ProcessId, TcpState, Time};

/// A process, told so that a person knows which one it is. Its texts are its own, so a stranger's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedProcess {
    /// Its number and start.
    pub id: ProcessId,
    /// When it began, by the wall clock.
    pub started: Time,
    /// The command's name, at most 15 bytes.
    pub comm: String,
    /// The command line, arguments apart by blanks; empty where it has none.
    pub command: String,
    /// Its parent, its parent's parent and so on, at most eight, process 1 left out.
    pub parents: Vec<Ancestor>,
}

impl NamedProcess {
    /// One of which no more than this is known, on a host that was started at `boot`.
    pub fn known_by(id: ProcessId, comm: &str, boot: Time) -> NamedProcess {
        NamedProcess {
            id,
            started: id.started(boot),
            comm: comm.to_owned(),
            command: String::new(),
            parents: Vec::new(),
        }
    }
}

/// One of those that a process descends from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its command line.
    pub command: String,
}

/// A TCP connection of a process, and how long nothing has come from the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessPeer {
    /// The other end.
    pub address: SocketAddr,
    /// The connection's state.
    pub state: TcpState,
    /// Milliseconds since data last came in, where the kernel tells.
    pub silent_ms: Option<u32>,
    /// Bytes that came in and were not read.
    pub unread: u32,
}

/// One closer look at one process. Numbers that the kernel counts up are as it counts them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessLook {
    /// When.
    pub at: Time,
    /// Which.
    pub process: NamedProcess,
    /// Threads.
    pub threads: u32,
    /// Its priority was lowered: somebody meant it to run for long.
    pub is_nice: bool,
    /// It has a terminal, so somebody sits before it.
    pub has_terminal: bool,
    /// Time in its own code, in microseconds.
    pub user_us: u64,
    /// Time in the kernel, in microseconds.
    pub system_us: u64,
    /// Time in which its first thread wanted a processor and had none, in microseconds.
    pub queued_us: Option<u64>,
    /// Times its first thread gave the processor away by itself, to wait for something.
    pub rests: Option<u64>,
    /// Page faults that needed no disk: memory that it touched for the first time.
    pub faults: u64,
    /// read(2) and write(2) calls, those included that brought nothing. Calls on sockets alone (recv, send) do not
    /// count.
    pub calls: Option<u64>,
    /// Bytes that these calls moved.
    pub bytes: Option<u64>,
    /// A fingerprint of what its file handles refer to; `None` where they may not be seen.
    pub handles: Option<u64>,
    /// Its TCP connections, at most 16.
    pub peers: Vec<ProcessPeer>,
    /// It has a listening TCP socket: somebody may be served by it.
    pub listens: bool,
}

/// A process that has kept a core busy, and what it did meanwhile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BusyProcess {
    /// As it was looked at last.
    pub last: ProcessLook,
    /// Since when it has used a core, or has wanted one, nearly without a pause.
    pub since: Time,
    /// How many cores it uses now.
    pub cores: f64,
    /// How many it would use if it had them: the time in which it waited for a processor counts, where it is known.
    pub wanted: f64,
    /// The part of its whole life that it was on a processor, in cores.
    pub life_cores: f64,
    /// For how many seconds it has been looked at closely.
    pub watched_s: f64,
    /// For how many of them, up to now, it has moved no byte.
    pub still_s: f64,
    /// In that time: the part that it spent in the kernel of the processor time that it used, 0 to 1.
    pub system_share: f64,
    /// Calls a second of processor time that moved nothing, where the kernel counts them.
    pub empty_calls: Option<f64>,
    /// How often a second it waited for something by itself.
    pub rests: Option<f64>,
    /// New memory pages a second.
    pub faults: f64,
    /// What its file handles refer to has changed.
    pub handles_changed: bool,
    /// It belongs to a service that listens here.
    pub serves: bool,
}

/// Processes of the same name with parents of the same command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Kin {
    /// The one that was started first.
    pub oldest: NamedProcess,
    /// How many there are.
    pub count: u32,
    /// How many of them wait and cannot be interrupted (`D`).
    pub stuck: u32,
    /// How many of them run or could (`R`).
    pub running: u32,
    /// When each was started, oldest first, at most 512 of them.
    pub starts: Vec<Time>,
    /// Processor time that all of them have used, in microseconds.
    pub cpu_us: u64,
    /// The kernel function that most of them wait in.
    pub waits_in: Option<String>,
    /// The parent has the same program: these are a server's workers.
    pub like_parent: bool,
    /// They belong to a service that listens here.
    pub serves: bool,
}

/// Who holds memory: a unit, a container, or where there are none a program with all its processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryHolder {
    /// The unit's name, or the program's.
    pub name: String,
    /// It is a unit or a container.
    pub is_unit: bool,
    /// How many processes.
    pub processes: u32,
    /// Memory that is theirs alone (resident without shared pages), in bytes.
    pub private_bytes: u64,
    /// The largest of them.
    pub largest: NamedProcess,
    /// What the largest holds, in bytes.
    pub largest_bytes: u64,
}

/// All processes at one moment, put together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Crowd {
    /// When.
    pub at: Time,
    /// The largest groups of kin, at most 16, each of at least eight.
    pub kin: Vec<Kin>,
    /// Who holds most memory, at most 8.
    pub memory: Vec<MemoryHolder>,
    /// How many processes wait and cannot be interrupted, the kernel's own threads left out.
    pub stuck: u32,
}

/// Memory that grows with time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Growth {
    /// The unit's name, or the process's.
    pub name: String,
    /// The process, if it is one and not a unit.
    pub process: Option<ProcessId>,
    /// Its command line, where that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// Since when it is known.
    pub from: Time,
    /// Up to when.
    pub to: Time,
    /// What it held at the beginning and holds now, in bytes.
    pub bytes: [f64; 2],
    /// Growth in each quarter of the time, in bytes.
    pub quarters: [f64; 4],
    /// How much of the growth a straight line explains, 0 to 1.
    pub straight: f64,
    /// How its number of processes has changed, now by then.
    pub processes_ratio: f64,
    /// How the host's requests have changed, the last quarter's by the first's; `None` where none are known.
    pub requests_ratio: Option<f64>,
}

/// A disk, and who makes it work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskLoad {
    /// The device.
    pub device: String,
    /// The part of the time with work, in percent, over the last half minute or what is known of it.
    pub busy: f64,
    /// Requests that wait or are served, on average.
    pub queue: f64,
    /// Since when it has been nearly always busy.
    pub since: Time,
    /// Bytes a second, read and written.
    pub bytes: [f64; 2],
}

/// What a process reads and writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskUser {
    /// Which.
    pub id: ProcessId,
    /// Its name and command line.
    pub comm: String,
    /// Its command line.
    pub command: String,
    /// Its unit's or container's cgroup.
    pub group: String,
    /// Bytes a second from storage and to it.
    pub bytes: [f64; 2],
    /// The part of the looks in which it waited for the disk, 0 to 1.
    pub waits: f64,
}

/// What is known of the processes in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// Processes that have kept a core busy, the longest first.
    pub busy: Vec<BusyProcess>,
    /// All of them put together, when they were last counted.
    pub crowd: Crowd,
    /// Groups of kin as they were some time ago: whether they grow.
    pub kin_before: Vec<(ProcessId, u32, Time)>,
    /// Memory that grows.
    pub growing: Vec<Growth>,
    /// Processes whose memory has grown within the last minutes, also of those that have just ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growing_soon: Vec<Growth>,
    /// Disks without a pause.
    pub disks: Vec<DiskLoad>,
    /// Who uses the disks, the most first.
    pub disk_users: Vec<DiskUser>,
    /// The part of the looks of the last half minute in which tasks waited for a disk, and how many as a mean.
    pub waiting: [f64; 2],
    /// The memory cgroup whose limit was met at the last kill.
    pub killed_in: Option<String>,
}
