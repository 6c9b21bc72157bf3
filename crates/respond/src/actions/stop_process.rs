//! `stop-process`: one process is asked to end, and killed if it does not.
//!
//! What it must not be is looked up right before, on the very process that is held: an SSH server, a kernel thread,
//! toban's own line, somebody's login shell, a service's first process, whatever listens.

use std::collections::HashSet;
use std::time::Duration;

use rustix::process::Signal;
use toban_model::{Action, ProcessId, Text};

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
    stop(*id)
}

fn stop(id: ProcessId) -> Result<String> {
    let pid = id.pid;
    let Some(held) = process::hold(id)? else {
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::OwnedFd;
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Child, Command, Stdio};
    use std::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn id(child: &Child) -> ProcessId {
        process::stat(child.id()).unwrap().id
    }

    /// The signal that ended a child.
    fn ended_by(child: &mut Child) -> Option<i32> {
        child.wait().unwrap().signal()
    }

    #[track_caller]
    fn refused(child: &mut Child, id: ProcessId, words: &str) {
        let error = stop(id).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(child.try_wait().unwrap(), None, "it runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn one_that_hears_ends_and_one_that_does_not_is_killed() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let known = id(&child);
        assert_eq!(stop(known).unwrap(), format!("stop-process: {} ended when asked", child.id()));
        assert_eq!(ended_by(&mut child), Some(Signal::TERM.as_raw()));
        // Once more: it is gone, and nothing else is hit.
        assert!(stop(known).is_ok_and(|said| said.contains("had ended by itself")));
        let script = "trap '' TERM; echo ready; while :; do sleep 1; done";
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        assert_eq!(stop(id(&child)).unwrap(), format!("stop-process: {} had to be killed", child.id()));
        assert_eq!(ended_by(&mut child), Some(Signal::KILL.as_raw()));
    }

    #[test]
    fn another_process_of_the_same_number_is_left_alone() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let known = id(&child);
        let other = ProcessId { start_ticks: known.start_ticks - 1, ..known };
        refused(&mut child, other, "started at another time");
        let own = process::stat(std::process::id()).unwrap();
        assert!(stop(own.id).is_err());
        assert!(stop(process::stat(own.parent).unwrap().id).is_err(), "who started it");
        assert!(stop(ProcessId { pid: 1, start_ticks: 1 }).is_err());
    }

    #[test]
    fn who_is_served_by_it_and_who_sits_before_it_are_not_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Command::new("sleep").arg("1000").stdin(OwnedFd::from(listener)).spawn().unwrap();
        let known = id(&server);
        refused(&mut server, known, "listens");
        let mut shell = Command::new("sleep").arg0("-bash").arg("1000").spawn().unwrap();
        // Until it is the program, it has our command line.
        let until = Instant::now() + LIMIT;
        let is_shell =
            |pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| c.starts_with(b"-bash"));
        while !is_shell(shell.id()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        let known = id(&shell);
        refused(&mut shell, known, "login shell");
    }

    #[test]
    fn a_daemon_is_its_services_first_process() {
        let argument = format!("1000.{}", std::process::id());
        assert!(Command::new("setsid").args(["--fork", "sleep", &argument]).status().unwrap().success());
        let ours = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
                line.starts_with(b"sleep\0") && line.ends_with(format!("{argument}\0").as_bytes())
            })
        };
        let until = Instant::now() + LIMIT;
        let daemon = loop {
            match process::all().into_iter().find(ours).and_then(process::stat) {
                Some(stat) => break stat,
                None => assert!(Instant::now() < until, "the daemon did not begin"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let error = stop(daemon.id).map_err(|error| error.to_string());
        let still = process::runs(daemon.id);
        let pid = rustix::process::Pid::from_raw(i32::try_from(daemon.id.pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        // Where orphans go to somebody else than process 1 it is that one's child.
        if daemon.parent == 1 {
            assert!(still && error.is_err_and(|error| error.contains("first process")));
        }
    }
}
