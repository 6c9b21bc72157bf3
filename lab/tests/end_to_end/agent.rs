//! `toban run` inside a lab's web server, as systemd would run it.

use std::fmt;
use std::process::{Child, Stdio};
use std::time::Duration;

use toban_lab::now;

use crate::stage::{Stage, TOBAN, wait_for};

const WORDS: &str = "/run/toban-words";
const PID: &str = "/run/toban-pid";

/// A running agent. What it says is kept over restarts.
pub(crate) struct Agent {
    child: Child,
    pid: String,
    /// When it was started.
    pub(crate) started: f64,
}

/// What an agent has cost so far.
pub(crate) struct Cost {
    cpu_s: f64,
    pss_mib: f64,
    rss_mib: f64,
    ran_s: f64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { cpu_s, pss_mib, rss_mib, ran_s } = self;
        let of_a_core = cpu_s / ran_s * 100.0;
        write!(
            f,
            "{cpu_s:.2} s of CPU in {ran_s:.0} s ({of_a_core:.1} % of a core), PSS {pss_mib:.1} MiB, RSS {rss_mib:.1} MiB"
        )
    }
}

impl Agent {
    /// Starts it and waits until it says that it is on duty.
    pub(crate) fn start(stage: &Stage, args: &[&str]) -> Agent {
        let said_before = Self::words(stage).matches("on duty").count();
        let script = format!("echo $$ >{PID}; exec {TOBAN} run \"$@\" >>{WORDS} 2>&1");
        let argv = [&["sh", "-c", script.as_str(), "sh"], args].concat();
        let started = now();
        let mut child = stage
            .lab
            .command(stage.lab.web(), &argv)
            .unwrap()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(30.0, "the agent", || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("the agent ended with {status}: {}", Self::words(stage));
            }
            (Self::words(stage).matches("on duty").count() > said_before).then_some(())
        });
        let pid = stage.run(&["cat", PID]).out.trim().to_owned();
        Agent { child, pid, started }
    }

    /// All that agents have said in this lab.
    pub(crate) fn words(stage: &Stage) -> String {
        stage.run(&["sh", "-c", &format!("cat {WORDS} 2>/dev/null")]).out
    }

    /// It is running still.
    pub(crate) fn lives(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Kills it as the kernel's memory killer would: nothing is saved or said.
    pub(crate) fn kill_9(mut self, stage: &Stage) {
        assert_eq!(stage.run(&["kill", "-9", &self.pid]).code, 0);
        let _ = self.child.wait();
    }

    /// Asks it to stop.
    pub(crate) fn stop(mut self, stage: &Stage) {
        assert_eq!(stage.run(&["kill", "-TERM", &self.pid]).code, 0);
        let status = wait_for(20.0, "the end of the agent", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", Self::words(stage));
        std::thread::sleep(Duration::from_millis(50));
    }

    /// What it has cost until now, with its watch.
    pub(crate) fn cost(&self, stage: &Stage) -> Cost {
        let children = stage.run(&["cat", &format!("/proc/{0}/task/{0}/children", self.pid)]).out;
        let pids: Vec<&str> = std::iter::once(self.pid.as_str()).chain(children.split_whitespace()).collect();
        let mut cost = Cost { cpu_s: 0.0, pss_mib: 0.0, rss_mib: 0.0, ran_s: now() - self.started };
        for pid in pids {
            let stat = stage.run(&["cat", &format!("/proc/{pid}/stat")]).out;
            let after = stat.rsplit_once(')').unwrap().1;
            // utime and stime, in ticks of a hundredth of a second: fields 14 and 15 of proc_pid_stat(5).
            let ticks = after.split_whitespace().skip(11).take(2).map(|f| f.parse::<f64>().unwrap());
            cost.cpu_s += ticks.sum::<f64>() / 100.0;
            let rollup = stage.run(&["cat", &format!("/proc/{pid}/smaps_rollup")]).out;
            let mib = |name: &str| {
                let line = rollup.lines().find(|line| line.starts_with(name)).unwrap();
                line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
            };
            cost.pss_mib += mib("Pss:");
            cost.rss_mib += mib("Rss:");
        }
        cost
    }
}
