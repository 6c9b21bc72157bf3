//! Processes that cannot be mistaken: a number counts only together with the start time, and a signal goes through
//! a file descriptor that holds the very process that was checked (pidfd_open(2)).

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use toban_model::ProcessId;

use crate::{Error, Result};

/// What is read of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    pub(crate) id: ProcessId,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// Its controlling terminal; 0 for none.
    pub(crate) terminal: i32,
    /// `PF_…` of the kernel.
    pub(crate) flags: u32,
    zombie: bool,
}

/// proc_pid_stat(5). The name may hold anything, so fields are counted from the last `)`.
pub(crate) fn stat(pid: u32) -> Option<Stat> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = text.get(text.iter().rposition(|b| *b == b')')? + 2..)?;
    let fields: Vec<&str> = std::str::from_utf8(after).ok()?.split_ascii_whitespace().collect();
    Some(Stat {
        id: ProcessId { pid, start_ticks: fields.get(19)?.parse().ok()? },
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        terminal: fields.get(4)?.parse().ok()?,
        flags: fields.get(6)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

/// The numbers of all processes.
pub(crate) fn all() -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Whether the process runs: there, the same one, and not merely waiting to be reaped.
pub(crate) fn runs(id: ProcessId) -> bool {
    stat(id.pid).is_some_and(|stat| stat.id == id && !stat.zombie)
}

/// This process and those that it descends from: none of them is ever stopped.
pub(crate) fn own_line() -> Vec<u32> {
    let mut line = vec![std::process::id()];
    while let Some(parent) =
        line.last().and_then(|pid| stat(*pid)).map(|stat| stat.parent).filter(|pid| *pid > 0)
    {
        line.push(parent);
    }
    line
}

/// Everything that belongs to a service: the descendants of its first process and, where that one leads a session
/// of its own as daemons do, what else is in the session (workers whose parent died). The first process comes first.
pub(crate) fn family(master: ProcessId) -> Vec<ProcessId> {
    let stats: BTreeMap<u32, Stat> = all().into_iter().filter_map(|pid| Some((pid, stat(pid)?))).collect();
    if stats.get(&master.pid).is_none_or(|stat| stat.id != master) {
        return vec![];
    }
    let mut found = vec![master];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        at += 1;
        // A child cannot be older than its parent: one that is has a parent of the same number that is long dead.
        let children = stats.values().filter(|stat| {
            (stat.parent == parent.pid || (stat.session == master.pid && parent == master))
                && stat.id.start_ticks >= master.start_ticks
        });
        let new: Vec<ProcessId> = children.map(|stat| stat.id).filter(|id| !found.contains(id)).collect();
        found.extend(new);
    }
    let own = own_line();
    found.retain(|id| !own.contains(&id.pid) && id.pid > 2);
    found
}

/// A process held by a file descriptor: whatever dies and is born, this stays the one that was checked.
pub(crate) struct Held {
    fd: OwnedFd,
    pub(crate) id: ProcessId,
}

/// Holds a process, if it is still the one. `Ok(None)`: it is gone.
pub(crate) fn hold(id: ProcessId) -> Result<Option<Held>> {
    let no = |why: &str| Error::NotThatProcess { pid: id.pid, why: why.to_owned() };
    let pid =
        i32::try_from(id.pid).ok().and_then(Pid::from_raw).ok_or_else(|| no("that is no process number"))?;
    if id.pid <= 2 || own_line().contains(&id.pid) {
        return Err(no("it is the system's first, toban itself or one that toban descends from"));
    }
    let fd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(no(&format!("pidfd_open: {errno}"))),
    };
    // Looked at after it is held: what matches now is what the descriptor means.
    match stat(id.pid) {
        Some(stat) if stat.id == id => Ok((!stat.zombie).then_some(Held { fd, id })),
        Some(_) => Err(no("it started at another time than the one that was meant")),
        None => Ok(None),
    }
}

impl Held {
    /// Sends a signal; to one that has ended meanwhile that is no error.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => {
                Err(Error::NotThatProcess { pid: self.id.pid, why: format!("it takes no signal: {errno}") })
            }
        }
    }

    /// Waits for its end; `false` if it has not come.
    pub(crate) fn wait(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = rustix::event::Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            // Readable when it has ended, also as long as its parent has not reaped it.
            match rustix::event::poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], Some(&timeout)) {
                Ok(0) | Err(_) if left.is_zero() => return false,
                Ok(0) | Err(_) => {}
                Ok(_) => return true,
            }
        }
    }
}

/// Ends processes: TERM to all, time to go, then KILL. Returns how many had to be asked at all.
pub(crate) fn end(ids: &[ProcessId], grace: Duration, kill_grace: Duration) -> Result<usize> {
    let mut held = Vec::new();
    for id in ids {
        // One whose number belongs to somebody else by now is as good as gone.
        if let Ok(Some(process)) = hold(*id) {
            held.push(process);
        }
    }
    let asked = held.len();
    for (signal, grace) in [(Signal::TERM, grace), (Signal::KILL, kill_grace)] {
        for process in &held {
            process.signal(signal)?;
        }
        let until = Instant::now() + grace;
        held.retain(|process| !process.wait(until.saturating_duration_since(Instant::now())));
        if held.is_empty() {
            return Ok(asked);
        }
    }
    Err(Error::NotThatProcess { pid: held[0].id.pid, why: "it does not even end by KILL".to_owned() })
}

/// Waits until the processes are not even zombies. `kill -0`, which init scripts ask with, takes a zombie for alive,
/// and a process 1 that is not an init (in containers) reaps late or never.
pub(crate) fn wait_reaped(ids: &[ProcessId], limit: Duration) {
    const LOOK_EVERY: Duration = Duration::from_millis(10);
    let until = Instant::now() + limit;
    while ids.iter().any(|id| stat(id.pid).is_some_and(|stat| stat.id == *id)) && Instant::now() < until {
        std::thread::sleep(LOOK_EVERY);
    }
}
