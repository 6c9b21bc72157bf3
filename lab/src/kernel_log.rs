//! Each host's own kern.log. The machine has one kernel log, so its lines are given to the host that they are about.
//!
//! A report of the OOM killer names its control group only near its end, so it is held until then. Reports do not
//! mix: the kernel writes each under one lock (`oom_lock`). The line of a kill that comes without its report names
//! only a pid, which is looked up among the tasks that each host had a moment ago.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::cgroup::Cgroups;
use crate::host::Host;

/// A report with its table of tasks has some 150 lines here; a longer one belongs to a machine in real trouble.
const REPORT_LINES_MAX: usize = 5000;
/// A worker that is killed has lived longer than this.
const TASKS_EVERY: Duration = Duration::from_millis(250);
/// Pids are remembered for a while after their death; this many are enough for an hour of kills.
const TASKS_MAX: usize = 20_000;

struct Log {
    name: String,
    cgroups: Cgroups,
    file: File,
}

/// Starts the threads that fill every host's /var/log/kern.log from now on. They end with the process.
pub(crate) fn follow(hosts: &[Host]) -> anyhow::Result<()> {
    let mut logs = Vec::new();
    for host in hosts {
        let path = host.door.path("/var/log/kern.log");
        let file = OpenOptions::new().append(true).open(&path).context("could not open a kern.log")?;
        logs.push(Log { name: host.name.clone(), cgroups: host.door.cgroups.clone(), file });
    }
    // Some containers withhold it. Then hosts have an empty kern.log, as if the kernel had nothing to say.
    let Ok(mut kmsg) = File::open("/dev/kmsg") else { return Ok(()) };
    kmsg.seek(SeekFrom::End(0))?;

    let tasks: Arc<Mutex<HashMap<u32, usize>>> = Arc::default();
    let (watched, groups) =
        (Arc::clone(&tasks), logs.iter().map(|log| log.cgroups.clone()).collect::<Vec<_>>());
    thread::Builder::new().name("tasks".into()).spawn(move || {
        loop {
            for (owner, group) in groups.iter().enumerate() {
                let pids = group.pids();
                if let Ok(mut watched) = watched.lock() {
                    if watched.len() > TASKS_MAX {
                        watched.clear();
                    }
                    watched.extend(pids.into_iter().map(|pid| (pid, owner)));
                }
            }
            thread::sleep(TASKS_EVERY);
        }
    })?;
    thread::Builder::new().name("kernel-log".into()).spawn(move || {
        let mut split =
            Split { paths: logs.iter().map(|log| log.cgroups.path.clone()).collect(), held: Vec::new() };
        let mut record = vec![0; 16 * 1024];
        loop {
            let length = match kmsg.read(&mut record) {
                Ok(length) => length,
                // Lines were overwritten before they were read; the next read goes on with the oldest.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => continue,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let Some(line) = Line::parse(&String::from_utf8_lossy(&record[..length])) else { continue };
            let owner_of = |pid: u32| tasks.lock().ok().and_then(|tasks| tasks.get(&pid).copied());
            for (owner, line) in split.push(line, owner_of) {
                let Log { name, file, .. } = &mut logs[owner];
                let at = Timestamp::now().to_zoned(TimeZone::system()).strftime("%b %e %H:%M:%S").to_string();
                // A full disk of a host is the host's own affair.
                let _ = writeln!(file, "{at} {name} kernel: [{:>5}.{:06}] {}", line.s, line.us, line.text);
            }
        }
    })?;
    Ok(())
}

/// One kernel message with its time since boot.
#[derive(Debug, Clone, PartialEq)]
struct Line {
    s: u64,
    us: u64,
    text: String,
}

impl Line {
    /// `prio,seq,usec,flags;text`, then lines of a dictionary.
    /// <https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg>
    fn parse(record: &str) -> Option<Self> {
        let (head, rest) = record.split_once(';')?;
        let us: u64 = head.split(',').nth(2)?.parse().ok()?;
        Some(Self { s: us / 1_000_000, us: us % 1_000_000, text: rest.lines().next()?.to_owned() })
    }
}

struct Split {
    paths: Vec<String>,
    /// A report whose owner is not yet known.
    held: Vec<Line>,
}

impl Split {
    /// Takes one line and returns those whose owner is now known.
    fn push(&mut self, line: Line, owner_of: impl Fn(u32) -> Option<usize>) -> Vec<(usize, Line)> {
        if line.text.contains(" invoked oom-killer: ") {
            self.held = vec![line];
            return Vec::new();
        }
        if let Some(pid) = killed_pid(&line.text) {
            return owner_of(pid).map(|owner| (owner, line)).into_iter().collect();
        }
        if self.held.is_empty() {
            return Vec::new();
        }
        let end = line.text.starts_with("oom-kill:");
        let owner =
            self.paths.iter().position(|path| end && line.text.contains(&format!("task_memcg={path},")));
        self.held.push(line);
        if !end {
            if self.held.len() > REPORT_LINES_MAX {
                self.held.clear();
            }
            return Vec::new();
        }
        let report = std::mem::take(&mut self.held);
        owner.map(|owner| report.into_iter().map(|line| (owner, line)).collect()).unwrap_or_default()
    }
}

/// The pid in `Memory cgroup out of memory: Killed process 417 (apache2) …`, and of the reaper's line.
fn killed_pid(text: &str) -> Option<u32> {
    let after = match text.split_once("ut of memory: Killed process ") {
        Some((_, after)) => after,
        None => text.strip_prefix("oom_reaper: reaped process ")?,
    };
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(given: &[&str]) -> Vec<(usize, String)> {
        let mut split = Split { paths: vec!["/m7/web1".into(), "/m9/web1".into()], held: Vec::new() };
        let owner_of = |pid| if pid == 417 { Some(1) } else { None };
        given
            .iter()
            .flat_map(|text| split.push(Line { s: 0, us: 0, text: (*text).into() }, owner_of))
            .map(|(owner, line)| (owner, line.text))
            .collect()
    }

    #[test]
    fn a_report_goes_whole_to_the_host_that_it_names_at_its_end() {
        let end =
            "oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/m9/web1,task_memcg=/m9/web1,task=apache2,pid=3";
        let given =
            ["eth0: up", "apache2 invoked oom-killer: gfp_mask=0xcc0", "CPU: 0 UID: 33", end, "eth0: down"];
        assert_eq!(texts(&given), given[1..4].iter().map(|text| (1, (*text).to_owned())).collect::<Vec<_>>());
    }

    #[test]
    fn a_kill_without_a_report_goes_to_the_host_whose_task_it_was() {
        let mine = "Memory cgroup out of memory: Killed process 417 (apache2) total-vm:1kB";
        let other = "Memory cgroup out of memory: Killed process 5 (apache2) total-vm:1kB";
        assert_eq!(texts(&[mine, other]), [(1, mine.to_owned())]);
    }

    #[test]
    fn a_record_is_read_with_its_time() {
        let line = Line::parse("6,1234,90123456,-;TCP: something\n SUBSYSTEM=net\n").unwrap();
        assert_eq!(line, Line { s: 90, us: 123_456, text: "TCP: something".into() });
    }
}
