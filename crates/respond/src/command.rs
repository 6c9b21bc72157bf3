//! Running a program of the host: a clean environment, a deadline, an end with its children, and little output.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Pid, Signal};

use crate::{Error, Result};

/// What a program finds: enough for init scripts, and nothing of toban's own environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What is kept of its output.
const OUTPUT_BYTES: usize = 4096;
/// What it may write. Not a pipe: a daemon that keeps its parent's output open would keep us waiting, and one that
/// writes to a closed pipe is killed. A file in memory that cannot grow does neither: a write beyond it fails.
const OUTPUT_ROOM: u64 = 64 * 1024;
/// How often a running program is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Gives what it runs a score of its own (util-linux).
const CHOOM: &str = "/usr/bin/choom";

/// A command, ready to run.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = if is_shielded() {
        // A service that is started by it would inherit that, and be the last to be ended when memory is out.
        let mut command = Command::new(CHOOM);
        command.args(["-n", "0", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    // A group of its own, so that it can be ended with its children.
    command.process_group(0);
    command
}

/// Whether the kernel spares this process when memory is out (proc_pid_oom_score_adj(5)), and children can do without.
fn is_shielded() -> bool {
    let score = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    score.trim_start().starts_with('-') && std::path::Path::new(CHOOM).exists()
}

/// Runs it to its end and returns its output; an exit code other than 0 is an error.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<String> {
    let words = words(command);
    let io = |source: rustix::io::Errno| Error::Io { path: command_path(&words), source: source.into() };
    let output =
        rustix::fs::memfd_create("output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(io)?;
    rustix::fs::ftruncate(&output, OUTPUT_ROOM).map_err(io)?;
    rustix::fs::fcntl_add_seals(&output, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)
        .map_err(io)?;
    let mut output = File::from(output);
    let both =
        |file: &File| file.try_clone().map_err(|source| Error::Io { path: command_path(&words), source });
    command.stdout(both(&output)?).stderr(both(&output)?);
    let mut child = command.spawn().map_err(|source| Error::Io { path: command_path(&words), source })?;
    // Let go of the copies that `command` holds.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let status = match wait(&mut child, limit) {
        Some(status) => status,
        None => {
            end_group(&mut child);
            return Err(Error::Deadline { command: words, limit });
        }
    };
    let said = last_words(&mut output);
    if status.success() {
        return Ok(said);
    }
    let status = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    };
    Err(Error::Command { command: words, status, output: said })
}

fn wait(child: &mut Child, limit: Duration) -> Option<std::process::ExitStatus> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < limit => std::thread::sleep(LOOK_EVERY),
            Ok(None) | Err(_) => return None,
        }
    }
}

fn end_group(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // Its group has its number as long as it has not been waited for, so this hits nobody else.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}

fn last_words(output: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = output.seek(SeekFrom::Start(0)).and_then(|_| output.take(OUTPUT_ROOM).read_to_end(&mut bytes));
    // Unused room is zeros.
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&bytes[end.saturating_sub(OUTPUT_BYTES)..end]);
    // Shown on terminals: what a service prints may carry a stranger's control characters.
    text.trim().chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn words(command: &Command) -> String {
    let mut words = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        words.push(' ');
        words.push_str(&argument.to_string_lossy());
    }
    words
}

fn command_path(words: &str) -> std::path::PathBuf {
    words.split(' ').next().unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = clean("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_command_that_does_not_end_is_killed_with_its_children() {
        let begun = Instant::now();
        let marker = format!("{}.5", 1_000_000 + std::process::id());
        let error = run(&mut sh(&format!("sleep {marker} & sleep {marker}")), Duration::from_millis(200))
            .unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(100));
        let left = crate::process::all().into_iter().filter(|pid| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .unwrap_or_default()
                .ends_with(format!("{marker}\0").as_bytes())
        });
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn output_is_kept_in_part_and_a_daemon_that_holds_it_open_keeps_nobody_waiting() {
        let begun = Instant::now();
        let said = run(&mut sh("sleep 3 & echo started"), Duration::from_secs(10)).unwrap();
        assert_eq!(said, "started");
        assert!(begun.elapsed() < Duration::from_secs(2));
        let error = run(
            &mut sh("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 3"),
            Duration::from_secs(10),
        );
        let Err(Error::Command { status, output, .. }) = error else { panic!("{error:?}") };
        assert_eq!((status.as_str(), output.len() <= OUTPUT_BYTES), ("exit code 3", true));
        assert!(output.ends_with("line 2999"), "{output}");
    }

    #[test]
    fn the_environment_is_clean() {
        let said = run(&mut sh("env | sort"), Duration::from_secs(10)).unwrap();
        assert!(!said.contains("CARGO"), "{said}");
        assert!(run(&mut clean("/no/such/program"), Duration::from_secs(1)).is_err());
    }
}
