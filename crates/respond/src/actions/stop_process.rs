//! `stop-process`: one process is asked to end, and killed if it does not.
//!
//! What it must not be is looked up right before, on the very process that is held: an SSH server, a kernel thread,
//! toban's own line, somebody's login shell, a service's first process, whatever listens.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::Signal;
use toban_model::{Action, Text};

use super::{Form, Room, not_mine, nothing_to_take_back};
use crate::{Error, Result, process, safety};

pub(super) const FORM: Form = Form {
    id: "stop-process",
    text: Text::fixed(
        "Asks one process to end, and kills it if it does not.",
        "プロセス1個に終了を求め、応じなければ強制終了します。",
    ),
    reversible: false,
    needed: true,
    carry_out,
    take_back: nothing_to_take_back,
};

/// Between asking and killing: a loop that never ends seldom hears.
const TERM_GRACE: Duration = Duration::from_secs(5);
const KILL_GRACE: Duration = Duration::from_secs(5);
/// PF_KTHREAD of `linux/sched.h`.
const KERNEL_THREAD: u32 = 0x0020_0000;
/// Handles looked at; what has more is no lost client.
const HANDLES_MAX: usize = 4096;

fn carry_out(_: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::StopProcess { process: id } = action else { return Err(not_mine(action)) };
    let pid = id.pid;
    let Some(held) = process::hold(*id)? else {
        return Ok(format!("stop-process: {pid} had ended by itself"));
    };
    // Looked at after it is held: all of this is true of the process that the signal goes to.
    if let Some(why) = protected(pid) {
        return Err(Error::NotThatProcess { pid, why: why.to_owned() });
    }
    for (signal, grace, said) in
        [(Signal::TERM, TERM_GRACE, "ended when asked"), (Signal::KILL, KILL_GRACE, "had to be killed")]
    {
        held.signal(signal)?;
        if held.wait(grace) {
            return Ok(format!("stop-process: {pid} {said}"));
        }
    }
    Err(Error::NotThatProcess { pid, why: "it does not even end by KILL".to_owned() })
}

/// Why a process is never stopped one by one; `None` for one that may be.
fn protected(pid: u32) -> Option<&'static str> {
    let Some(stat) = process::stat(pid) else { return Some("it cannot be looked at") };
    if stat.flags & KERNEL_THREAD != 0 || stat.parent == 2 {
        return Some("it is a thread of the kernel");
    }
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let program =
        exe.as_deref().and_then(|exe| exe.file_name()).map(|name| name.to_string_lossy().into_owned());
    let program = program.unwrap_or_default();
    if safety::names_sshd(program.trim_end_matches(" (deleted)")) {
        return Some("it is an SSH server: it is the way in");
    }
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if arguments.first() == Some(&b'-') || (stat.session == pid && stat.terminal != 0) {
        return Some("it is somebody's login shell, or leads a terminal");
    }
    if stat.parent == 1 && stat.session == pid {
        return Some("it is a service's first process: restart the service");
    }
    match listens(pid) {
        Some(false) => None,
        Some(true) => Some("it listens: somebody is served by it"),
        None => Some("it cannot be told whether it listens"),
    }
}

/// Whether a process has a listening socket, TCP or unix.
fn listens(pid: u32) -> Option<bool> {
    let mut inodes = HashSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        if inodes.len() >= HANDLES_MAX {
            return None;
        }
        let link = std::fs::read_link(entry.path()).unwrap_or_default();
        let inode: Option<u64> =
            link.to_str().and_then(|text| text.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
        inodes.extend(inode);
    }
    if inodes.is_empty() {
        return Some(false);
    }
    // Its own network namespace, which need not be ours. The columns: proc_pid_net(5), proc_net(5).
    for (file, state_at, state, inode_at) in
        [("tcp", 3, "0A", 9), ("tcp6", 3, "0A", 9), ("unix", 3, "00010000", 6)]
    {
        let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/net/{file}")) else {
            // Without IPv6 there is no tcp6.
            if file == "tcp6" {
                continue;
            }
            return None;
        };
        let listening = text.lines().skip(1).any(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            words.get(state_at) == Some(&state)
                && words
                    .get(inode_at)
                    .and_then(|inode| inode.parse().ok())
                    .is_some_and(|i| inodes.contains(&i))
        });
        if listening {
            return Some(true);
        }
    }
    Some(false)
}
