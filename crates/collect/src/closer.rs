//! A closer look at a few processes: what they did since their start, whom they descend from, who is at the other end
//! of their connections.
//!
//! It costs some ten small files a process, and one question to the kernel about sockets if one of them has any; so
//! it is asked about suspects alone, and not in every second.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read as _;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use toban_model::{Ancestor, NamedProcess, ProcessId, ProcessLook, ProcessPeer, TcpState, Time};

use crate::procfs::{self, FdTarget, TICKS_PER_SECOND};
use crate::sockets::{self, Filter, States};
use crate::{Root, limits, patience};

/// Ancestors told of: a cron job's tool has about five.
const PARENTS_MAX: usize = 8;
/// Connections told of one process.
const PEERS_MAX: usize = 16;
/// Longest command line that is kept, in bytes.
const COMMAND_BYTES: u64 = 512;
const MICROS_PER_TICK: u64 = 1_000_000 / TICKS_PER_SECOND;
/// What is looked for: every state that a process can be caught in. TIME_WAIT has no process, SYN_RECV none yet.
const HELD: States =
    States::OPEN.and(States::LISTEN).and(States::of(TcpState::SynSent)).and(States::of(TcpState::FinWait2));

/// Looks at processes; those that are gone, or are others by now, are left out. Of more than
/// [`limits::SUSPECTS_MAX`] only the first are looked at.
pub fn look(root: &Root, ids: &[ProcessId], now: Time) -> Vec<ProcessLook> {
    let booted = booted(root, now);
    let mut buffer = Vec::new();
    let mut owners: HashMap<u64, usize> = HashMap::new();
    let mut looks: Vec<ProcessLook> = Vec::new();
    for id in ids.iter().take(limits::SUSPECTS_MAX) {
        if let Some(look) = one(root, *id, now, booted, &mut buffer) {
            let (look, inodes) = look;
            owners.extend(inodes.into_iter().map(|inode| (inode, looks.len())));
            looks.push(look);
        }
    }
    if owners.is_empty() {
        return looks;
    }
    let wanted = Filter { states: HELD, local_ports: Vec::new(), with_info: true };
    for socket in sockets::tcp(root, &wanted).map(|sockets| sockets.list).unwrap_or_default() {
        let connection = socket.connection;
        let Some(look) = owners.get(&connection.inode).map(|at| &mut looks[*at]) else { continue };
        if connection.state == TcpState::Listen {
            look.listens = true;
        } else if look.peers.len() < PEERS_MAX {
            look.peers.push(ProcessPeer {
                address: connection.peer,
                state: connection.state,
                silent_ms: connection.last_received_ms,
                unread: connection.recv_queue,
            });
        }
    }
    looks
}

/// Whether a process is there, is the same one, and does not only wait to be reaped.
pub fn runs(root: &Root, id: ProcessId) -> bool {
    let mut buffer = Vec::new();
    procfs::Process::read(root, id.pid, &mut buffer)
        .is_some_and(|process| process.id == id && !matches!(process.state, 'Z' | 'X'))
}

/// When the clock began that start times are counted by.
pub(crate) fn booted(root: &Root, now: Time) -> Time {
    if !root.is_live() {
        return procfs::boot_time(root).unwrap_or_default();
    }
    let up = clock_gettime(ClockId::Boottime);
    now - Duration::new(up.tv_sec.unsigned_abs(), u32::try_from(up.tv_nsec).unwrap_or(0))
}

/// One process and the inodes of its sockets.
fn one(
    root: &Root,
    id: ProcessId,
    now: Time,
    booted: Time,
    buffer: &mut Vec<u8>,
) -> Option<(ProcessLook, Vec<u64>)> {
    let pid = id.pid;
    let stat = Numbers::read(root, pid, buffer).filter(|stat| stat.start_ticks == id.start_ticks)?;
    let process = named(root, pid, booted, buffer)?;
    let queued_us = root
        .read(format!("/proc/{pid}/schedstat"), buffer)
        .ok()
        .and_then(|bytes| procfs::number(procfs::fields(bytes).nth(1)?))
        .map(|ns| ns / 1000);
    let status = root.read(format!("/proc/{pid}/status"), buffer).unwrap_or_default();
    let rests = procfs::value_of(status, b"voluntary_ctxt_switches:");
    let (calls, bytes) = match root.read(format!("/proc/{pid}/io"), buffer) {
        Ok(io) => {
            let sum = |a: &[u8], b: &[u8]| Some(procfs::value_of(io, a)? + procfs::value_of(io, b)?);
            (sum(b"syscr:", b"syscw:"), sum(b"rchar:", b"wchar:"))
        }
        Err(_) => (None, None),
    };
    let (mut inodes, mut fingerprint) = (Vec::new(), 0_u64);
    let handles_seen = procfs::for_each_fd(root, pid, |fd, target| {
        let mut hasher = DefaultHasher::new();
        fd.hash(&mut hasher);
        match target {
            FdTarget::Socket(inode) => {
                inode.hash(&mut hasher);
                inodes.push(inode);
            }
            FdTarget::Path(path) => path.hash(&mut hasher),
        }
        // A sum, since the kernel promises no order.
        fingerprint = fingerprint.wrapping_add(hasher.finish());
    });
    let look = ProcessLook {
        at: now,
        process,
        threads: stat.threads,
        is_nice: stat.nice > 0,
        has_terminal: stat.terminal != 0,
        user_us: stat.user_ticks.saturating_mul(MICROS_PER_TICK),
        system_us: stat.system_ticks.saturating_mul(MICROS_PER_TICK),
        queued_us,
        rests,
        faults: stat.faults,
        calls,
        bytes,
        handles: handles_seen.then_some(fingerprint),
        peers: Vec::new(),
        listens: false,
    };
    Some((look, inodes))
}

/// A process with its names and ancestors; `None` when it is gone.
pub(crate) fn named(root: &Root, pid: u32, booted: Time, buffer: &mut Vec<u8>) -> Option<NamedProcess> {
    let stat = procfs::Process::read(root, pid, buffer)?;
    let mut parents = Vec::new();
    let mut next = stat.ppid;
    while next > 1 && parents.len() < PARENTS_MAX {
        let Some(parent) = procfs::Process::read(root, next, buffer) else { break };
        let command = command(root, next);
        parents.push(Ancestor { pid: next, comm: parent.comm, command });
        next = parent.ppid;
    }
    Some(NamedProcess {
        id: stat.id,
        started: stat.id.started(booted),
        comm: stat.comm,
        command: command(root, pid),
        parents,
    })
}

/// The command line, arguments apart by blanks.
pub(crate) fn command(root: &Root, pid: u32) -> String {
    let path = root.at(format!("/proc/{pid}/cmdline"));
    let bytes = patience::within(move || {
        let mut bytes = Vec::new();
        if let Ok(file) = std::fs::File::open(path) {
            // On an error what came before it counts.
            let _ = file.take(COMMAND_BYTES).read_to_end(&mut bytes);
        }
        bytes
    })
    .unwrap_or_default();
    let text = String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(&bytes)).replace('\0', " ");
    text.trim_end().to_owned()
}

/// What [`procfs::ProcessStat`] leaves out, since the sampler has no use for it.
struct Numbers {
    terminal: u64,
    faults: u64,
    user_ticks: u64,
    system_ticks: u64,
    nice: i64,
    threads: u32,
    start_ticks: u64,
}

impl Numbers {
    fn read(root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Option<Numbers> {
        let bytes = root.read(format!("/proc/{pid}/stat"), buffer).ok()?;
        // The name may hold anything; fields are counted from what follows it (field 3 is the first).
        let after = bytes.get(memchr::memrchr(b')', bytes)? + 1..)?;
        let fields: Vec<&str> = std::str::from_utf8(after).ok()?.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        let number = |at: usize| field(at)?.parse().ok();
        Some(Numbers {
            terminal: number(7)?,
            faults: number(10)?,
            user_ticks: number(14)?,
            system_ticks: number(15)?,
            nice: field(19)?.parse().ok()?,
            threads: u32::try_from(number(20)?).ok()?,
            start_ticks: number(22)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::root::tests::tree;

    const STAT: &str =
        "283 (a (b) c) R 200 283 200 34816 -1 4194304 77 0 0 0 201 1774 0 0 20 5 3 0 5000 1000 250 0 0\n";

    #[test]
    fn a_copy_of_its_files_is_read() {
        let dir = tree(&[
            ("proc/stat", "cpu 1 1 1 1\nbtime 1700000000\n"),
            ("proc/283/stat", STAT),
            ("proc/283/cmdline", "a\0b c\0"),
            ("proc/283/io", "rchar: 100\nwchar: 20\nsyscr: 5000\nsyscw: 2\nread_bytes: 0\n"),
            ("proc/283/status", "Name:\ta\nvoluntary_ctxt_switches:\t2\nnonvoluntary_ctxt_switches:\t837\n"),
            ("proc/283/schedstat", "19750000000 3000000 900\n"),
            ("proc/200/stat", "200 (watch.sh) S 1 200 200 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 900 1 1 0 0\n"),
            ("proc/200/cmdline", "/bin/bash\0/usr/local/bin/watch.sh\0"),
        ]);
        let root = Root::new(dir.path());
        let id = ProcessId { pid: 283, start_ticks: 5000 };
        let now = Time::from_secs(1_700_001_000);
        let looks = look(&root, &[id, ProcessId { pid: 283, start_ticks: 4999 }], now);
        let [look] = &looks[..] else { panic!("one is another process: {looks:?}") };
        assert_eq!(look.process.started, Time::from_secs(1_700_000_050));
        assert_eq!((look.process.comm.as_str(), look.process.command.as_str()), ("a (b) c", "a b c"));
        let parents: Vec<&str> = look.process.parents.iter().map(|p| p.command.as_str()).collect();
        assert_eq!(parents, ["/bin/bash /usr/local/bin/watch.sh"]);
        assert_eq!((look.user_us, look.system_us), (2_010_000, 17_740_000));
        assert_eq!((look.calls, look.bytes, look.rests), (Some(5002), Some(120), Some(2)));
        assert_eq!((look.queued_us, look.threads, look.faults), (Some(3000), 3, 77));
        assert!(look.is_nice && look.has_terminal && !look.listens);
        assert_eq!(look.handles, None, "there is no fd directory");
    }

    #[test]
    fn this_process_is_seen_with_its_peers() {
        let root = Root::host();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        let stat = procfs::Process::read(&root, std::process::id(), &mut Vec::new()).unwrap();
        assert!(runs(&root, stat.id) && !runs(&root, ProcessId { pid: stat.id.pid, start_ticks: 1 }));
        let now = Time::from_micros(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64);
        let ours = |looks: &[ProcessLook]| {
            let address = client.peer_addr().unwrap();
            looks[0].peers.iter().find(|p| p.address == address && p.state == TcpState::CloseWait).copied()
        };
        // The end of the connection may take a moment to come.
        let until = std::time::Instant::now() + Duration::from_secs(30);
        let looks = loop {
            let looks = look(&root, &[stat.id], now);
            assert_eq!(looks.len(), 1);
            if ours(&looks).is_some() || std::time::Instant::now() > until {
                break looks;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let found = ours(&looks).expect("the connection that its peer closed");
        // The end counts as one until it is read.
        assert!(found.unread <= 1, "{found:?}");
        let look = &looks[0];
        assert!(look.listens && look.calls.is_some_and(|calls| calls > 0) && look.handles.is_some());
        assert!(look.process.started < now && look.process.started > Time::from_secs(1_000_000_000));
        assert!(!look.process.command.is_empty() && !look.process.parents.is_empty());
    }
}
