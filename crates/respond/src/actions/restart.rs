//! `restart`: a service is stopped and started again.
//!
//! Not reloaded: a reload inherits the listening sockets and with them the queue that the attack filled. And a stop
//! that leaves processes is no stop: the same sockets live on in them.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use toban_model::{Action, ProcessId, Restart, Supervisor, Text};

use super::{Form, Room, not_mine, nothing_to_take_back};
use crate::ledger::Respawn;
use crate::{Error, Result, command, process, safety};

pub(super) const FORM: Form = Form {
    id: "restart",
    text: Text::fixed(
        "Stops a service, makes sure that it is gone, and starts it again.",
        "サービスを停止し、プロセスが残っていないことを確かめてから、起動し直します。",
    ),
    reversible: false,
    needed: false,
    carry_out,
    take_back: nothing_to_take_back,
};

/// A unit's own stop timeout is 90 s by default, but a service that holds a whole incident up that long is killed
/// by its operator, too. systemd goes on by itself if `systemctl` is ended.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(60);
/// An init script's stop: Debian's apache2 waits up to 20 s.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);
/// Between asking and killing.
const TERM_GRACE: Duration = Duration::from_secs(10);
/// What an init script's stop left over gets.
const REST_GRACE: Duration = Duration::from_secs(3);
const KILL_GRACE: Duration = Duration::from_secs(5);
/// Until the dead are reaped; an init does it at once.
const REAP_LIMIT: Duration = Duration::from_secs(3);
/// Until a process of the service is seen again.
const START_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn carry_out(room: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::Restart(restart) = action else { return Err(not_mine(action)) };
    if room.again {
        return settle(restart, room.progress.respawn.as_ref());
    }
    let master = restart.master;
    if !process::runs(master) {
        return Err(Error::NotThatProcess {
            pid: master.pid,
            why: "it is gone, or another process has its number".to_owned(),
        });
    }
    let exe = exe_of(master.pid);
    if let Some(exe) = &exe
        && let Some(name) = exe.file_name()
        && safety::names_sshd(&name.to_string_lossy())
    {
        return Err(Error::NotThatProcess { pid: master.pid, why: "it is an SSH server".to_owned() });
    }
    if process::own_line().contains(&master.pid) {
        return Err(Error::NotThatProcess { pid: master.pid, why: "toban runs below it".to_owned() });
    }
    let family = process::family(master);
    match &restart.supervisor {
        Supervisor::Systemd(unit) => systemd(restart, unit),
        Supervisor::Initd(script) => initd(restart, script, &family, exe.as_deref()),
        Supervisor::CommandLine => {
            // Kept before anything is stopped: after a crash in the middle only this tells how it was started.
            let respawn = read_respawn(restart)?;
            room.progress.respawn = Some(respawn.clone());
            room.ledger.put_progress(room.record.id, room.progress)?;
            command_line(restart, &family, &respawn)
        }
    }
}

fn failed(restart: &Restart, why: impl Into<String>) -> Error {
    Error::Restart { service: restart.service.clone(), why: why.into() }
}

fn exe_of(pid: u32) -> Option<PathBuf> {
    let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    // An upgraded program's old file; the new one has its name.
    let bytes = exe.as_os_str().as_bytes();
    Some(match bytes.strip_suffix(b" (deleted)") {
        Some(name) => PathBuf::from(std::ffi::OsStr::from_bytes(name)),
        None => exe,
    })
}

fn systemd(restart: &Restart, unit: &str) -> Result<String> {
    let mut command = command::clean("systemctl");
    command.args(["restart", "--no-ask-password", "--", unit]);
    command::run(&mut command, SYSTEMCTL_LIMIT)?;
    if process::runs(restart.master) {
        return Err(failed(
            restart,
            format!(
                "systemctl restarted {unit}, but process {} is still the old one: it is not that unit's",
                restart.master.pid
            ),
        ));
    }
    let mut command = command::clean("systemctl");
    command.args(["is-active", "--", unit]);
    command::run(&mut command, SYSTEMCTL_LIMIT)?;
    Ok(format!("restart: {} by systemd ({unit}), active", restart.service))
}

fn initd(restart: &Restart, script: &Path, family: &[ProcessId], exe: Option<&Path>) -> Result<String> {
    check_script(restart, script)?;
    let mut stop = command::clean(script);
    stop.arg("stop");
    let stopped = command::run(&mut stop, SCRIPT_LIMIT);
    let left = process::end(family, REST_GRACE, KILL_GRACE)?;
    process::wait_reaped(family, REAP_LIMIT);
    // A stop that failed or hung is no reason to leave the service down: what is gone has to come back.
    let mut start = command::clean(script);
    start.arg("start");
    command::run(&mut start, SCRIPT_LIMIT)?;
    if let Some(exe) = exe {
        wait_for_new(restart, exe, family)?;
    }
    let mut said = format!("restart: {} by {}", restart.service, script.display());
    if left > 0 {
        said.push_str(&format!(", {left} processes that its stop had left were ended"));
    }
    if let Err(error) = stopped {
        said.push_str(&format!(", its stop failed ({error})"));
    }
    Ok(said)
}

/// A restart that a crash cut short. What matters is that the service is not left down: if its old process is gone,
/// it is started, which does nothing where it was started already. If the old one still runs a while later, the stop
/// had not begun, and is not begun now.
fn settle(restart: &Restart, respawn: Option<&Respawn>) -> Result<String> {
    let until = Instant::now() + TERM_GRACE;
    while process::runs(restart.master) {
        if Instant::now() >= until {
            return Ok(format!("restart: {} was not stopped, it runs as before", restart.service));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    match &restart.supervisor {
        Supervisor::Systemd(unit) => {
            let mut start = command::clean("systemctl");
            start.args(["start", "--no-ask-password", "--", unit]);
            command::run(&mut start, SYSTEMCTL_LIMIT)?;
        }
        Supervisor::Initd(script) => {
            check_script(restart, script)?;
            process::wait_reaped(&[restart.master], REAP_LIMIT);
            let mut start = command::clean(script);
            start.arg("start");
            command::run(&mut start, SCRIPT_LIMIT)?;
            // Which program to look for is not known any more.
            let script = script.display();
            return Ok(format!("restart: {} was down, and {script} start ended well", restart.service));
        }
        Supervisor::CommandLine => {
            // Not kept, so the crash came before the stop; whoever stopped it then was not toban.
            let respawn = respawn
                .ok_or_else(|| failed(restart, "it is gone, and it is not known how it was started"))?;
            let exe = std::fs::canonicalize(&respawn.program).unwrap_or_else(|_| respawn.program.clone());
            let runs = process::all().into_iter().any(|pid| {
                exe_of(pid).as_deref() == Some(&exe)
                    && std::fs::read(format!("/proc/{pid}/cmdline"))
                        .is_ok_and(|line| zero_ended(&line).get(1..) == Some(respawn.arguments.as_slice()))
            });
            if !runs {
                spawn(restart, respawn, &[])?;
            }
        }
    }
    Ok(format!("restart: {} was down and is started", restart.service))
}

/// It is run with toban's rights, so nobody else may be able to write it.
fn check_script(restart: &Restart, script: &Path) -> Result<()> {
    let metadata =
        std::fs::metadata(script).map_err(|source| Error::Io { path: script.to_owned(), source })?;
    if metadata.mode() & 0o022 != 0 {
        return Err(failed(restart, format!("{} can be written by others than its owner", script.display())));
    }
    Ok(())
}

fn command_line(restart: &Restart, family: &[ProcessId], respawn: &Respawn) -> Result<String> {
    if let Some(master) = process::hold(restart.master).ok().flatten() {
        master.signal(rustix::process::Signal::TERM)?;
        master.wait(TERM_GRACE);
    }
    let left = process::end(family, Duration::ZERO, KILL_GRACE)?;
    spawn(restart, respawn, family)?;
    let mut said = format!("restart: {} with its own command line", restart.service);
    if left > 0 {
        said.push_str(&format!(", {left} processes had to be killed"));
    }
    Ok(said)
}

fn spawn(restart: &Restart, respawn: &Respawn, old: &[ProcessId]) -> Result<()> {
    // setsid(1) forks, so the service gets a session of its own and belongs to process 1, not to toban.
    let mut command = command::clean("setsid");
    command
        .arg("--fork")
        .arg(&respawn.program)
        .args(respawn.arguments.iter().map(|argument| std::ffi::OsStr::from_bytes(argument)))
        .current_dir(if respawn.directory.is_dir() { respawn.directory.as_path() } else { Path::new("/") })
        .env_clear()
        .envs(respawn.environment.iter().filter_map(|variable| {
            let at = variable.iter().position(|b| *b == b'=')?;
            Some((
                std::ffi::OsStr::from_bytes(&variable[..at]),
                std::ffi::OsStr::from_bytes(&variable[at + 1..]),
            ))
        }));
    if respawn.owner != (0, 0) && rustix::process::geteuid().is_root() {
        command.uid(respawn.owner.0).gid(respawn.owner.1);
    }
    command::run(&mut command, SCRIPT_LIMIT)?;
    wait_for_new(restart, &respawn.program, old)
}

/// A process of that program that is none of the old ones, and that is still there a moment later.
fn wait_for_new(restart: &Restart, exe: &Path, old: &[ProcessId]) -> Result<()> {
    // What is started may be a link or a script's interpreter.
    let exe = std::fs::canonicalize(exe).unwrap_or_else(|_| exe.to_owned());
    let until = Instant::now() + START_LIMIT;
    let oldest = old.iter().map(|id| id.start_ticks).max().unwrap_or(0);
    let is_new = |pid: u32| {
        process::stat(pid).map(|stat| stat.id).filter(|id| {
            id.start_ticks >= oldest && !old.contains(id) && exe_of(pid).as_deref() == Some(&exe)
        })
    };
    while Instant::now() < until {
        if let Some(id) = process::all().into_iter().find_map(is_new) {
            std::thread::sleep(LOOK_EVERY * 5);
            if process::runs(id) || process::all().into_iter().any(|pid| is_new(pid).is_some()) {
                return Ok(());
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Err(failed(
        restart,
        format!(
            "it was started, but no process of {} is there after {} s",
            exe.display(),
            START_LIMIT.as_secs()
        ),
    ))
}

/// How a running process was started, as far as the kernel remembers.
fn read_respawn(restart: &Restart) -> Result<Respawn> {
    let pid = restart.master.pid;
    let read = |name: &str| {
        let path = PathBuf::from(format!("/proc/{pid}/{name}"));
        std::fs::read(&path).map_err(|source| Error::Io { path, source })
    };
    let directory = PathBuf::from(format!("/proc/{pid}/cwd"));
    let owner = std::fs::metadata(format!("/proc/{pid}"))
        .map(|metadata| (metadata.uid(), metadata.gid()))
        .map_err(|source| Error::Io { path: format!("/proc/{pid}").into(), source })?;
    let exe = exe_of(pid).ok_or_else(|| failed(restart, "its program cannot be read"))?;
    let words = zero_ended(&read("cmdline")?);
    let (program, arguments) = command_of(restart, &exe, &words)?;
    let respawn = Respawn {
        service: restart.service.clone(),
        program,
        arguments,
        environment: zero_ended(&read("environ")?),
        directory: std::fs::read_link(&directory).unwrap_or_else(|_| "/".into()),
        owner,
    };
    // All of it was read of the process that was meant.
    if process::runs(restart.master) {
        return Ok(respawn);
    }
    Err(Error::NotThatProcess { pid, why: "it ended while it was being read".to_owned() })
}

fn zero_ended(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() { vec![] } else { bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect() }
}

/// Program and arguments to start again. Some servers write a title over their own command line.
fn command_of(restart: &Restart, exe: &Path, words: &[Vec<u8>]) -> Result<(PathBuf, Vec<Vec<u8>>)> {
    let first =
        words.first().map(|word| String::from_utf8_lossy(word).trim_end().to_owned()).unwrap_or_default();
    if let Some(rest) = first.strip_prefix("nginx: master process ") {
        // nginx keeps its arguments in the title, joined by spaces: those of `-g` cannot be told apart again.
        let mut arguments: Vec<Vec<u8>> = Vec::new();
        let mut rest = rest.split(' ').skip(1).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = rest.next() {
            arguments.push(word.as_bytes().to_vec());
            if word == "-g" {
                let directives: Vec<&str> =
                    std::iter::from_fn(|| rest.next_if(|word| !matches!(*word, "-c" | "-p" | "-e")))
                        .collect();
                arguments.push(directives.join(" ").into_bytes());
            }
        }
        return Ok((exe.to_owned(), arguments));
    }
    if let Some(config) =
        first.strip_prefix("php-fpm: master process (").and_then(|rest| rest.strip_suffix(')'))
    {
        let arguments = ["--daemonize", "--fpm-config", config].map(|word| word.as_bytes().to_vec());
        return Ok((exe.to_owned(), arguments.to_vec()));
    }
    if first.is_empty() || first.contains(": ") {
        return Err(failed(
            restart,
            "it has written over its own command line, so it cannot be started again with it",
        ));
    }
    // A program of many names (busybox) is chosen by the name it was called by.
    let called = PathBuf::from(std::ffi::OsString::from_vec(words[0].clone()));
    let same = called.is_absolute() && std::fs::canonicalize(&called).is_ok_and(|real| real == exe);
    Ok((if same { called } else { exe.to_owned() }, words[1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_turned_back_into_a_command_line() {
        let restart = Restart {
            service: "x".to_owned(),
            master: ProcessId { pid: 9, start_ticks: 9 },
            supervisor: Supervisor::CommandLine,
        };
        let check = |title: &str, expected: Option<&[&str]>| {
            let words: Vec<Vec<u8>> = title.split('\0').map(|word| word.as_bytes().to_vec()).collect();
            let found =
                command_of(&restart, Path::new("/usr/sbin/server"), &words).ok().map(|(_, arguments)| {
                    arguments.into_iter().map(|word| String::from_utf8(word).unwrap()).collect::<Vec<_>>()
                });
            assert_eq!(
                found.as_deref(),
                expected.map(|e| e.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()).as_deref()
            );
        };
        check(
            "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;",
            Some(&["-g", "daemon on; master_process on;"]),
        );
        check("nginx: master process nginx -c /etc/n.conf", Some(&["-c", "/etc/n.conf"]));
        check(
            "php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)   ",
            Some(&["--daemonize", "--fpm-config", "/etc/php/8.2/fpm/php-fpm.conf"]),
        );
        check("/usr/sbin/apache2\0-k\0start", Some(&["-k", "start"]));
        check("postgres: main", None);
        check("", None);
    }
}
