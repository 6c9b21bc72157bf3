//! Where memory is out: what toban costs there, how long its answer takes, and who took the memory.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::look_alikes::{assert_first, assert_nobody};
use crate::stage::{Said, Stage, TOBAN, alone, brief, say, sleep_until, wait_for};

/// What an answer may cost, whatever state the host is in.
const MEMORY_MAX_MIB: u64 = 200;
const CPU_MAX_S: f64 = 10.0;
/// It comes within ten seconds; a test machine has two cores for the whole lab, and others beside it.
const TOOK_MAX_S: f64 = 50.0;

/// Asks without the agent's record, and looks meanwhile at what that costs. Says both.
fn ask_and_measure(stage: &Stage) -> Said {
    const PID: &str = "/run/why-pid";
    let host = stage.lab.web();
    let script = format!("echo $$ >{PID}; exec {TOBAN} why --json --state /run/no-state");
    let _ = fs::remove_file(stage.lab.path(host, PID).unwrap());
    let mut command = stage.lab.command(host, &["timeout", "-k", "1", "60", "sh", "-c", &script]).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let begun = Instant::now();
    let child = command.spawn().unwrap();
    let asking = thread::spawn(move || (child.wait_with_output().unwrap(), begun.elapsed()));
    let (mut peak_kib, mut cpu_s) = (0, 0.0);
    while !asking.is_finished() {
        let file = |path: &str| fs::read_to_string(stage.lab.path(host, path).unwrap()).unwrap_or_default();
        let pid = file(PID);
        let status = file(&format!("/proc/{}/status", pid.trim()));
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
        peak_kib = peak.map_or(peak_kib, |kib| kib.parse::<u64>().unwrap().max(peak_kib));
        let stat = file(&format!("/proc/{}/stat", pid.trim()));
        // utime and stime, in hundredths of a second: fields 14 and 15 of proc_pid_stat(5).
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let ticks: f64 =
            after.split_whitespace().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum();
        cpu_s = f64::max(cpu_s, ticks / 100.0);
        thread::sleep(Duration::from_millis(20));
    }
    let (ended, took) = asking.join().unwrap();
    let said = Said {
        code: ended.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&ended.stdout).into_owned(),
        err: String::from_utf8_lossy(&ended.stderr).into_owned(),
        took,
    };
    let took_s = took.as_secs_f64();
    say(&format!("why --json took {took_s:.2} s, {cpu_s:.2} s of CPU, {} MiB at most", peak_kib >> 10));
    assert!(peak_kib > 0, "its memory was not seen");
    assert!(peak_kib < MEMORY_MAX_MIB << 10, "{peak_kib} KiB");
    assert!(cpu_s < CPU_MAX_S, "{cpu_s} s of CPU");
    assert!(took_s < TOOK_MAX_S, "{took_s} s");
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    said
}

/// The limit is named, and nobody who came.
#[track_caller]
fn assert_limit(stage: &Stage, answer: &Value) {
    let finding = assert_first(stage, answer);
    assert_eq!(finding["culprits"].as_array().map(Vec::len), Some(0), "{finding:#}");
    assert_nobody(answer);
}

#[test]
fn too_many_workers_for_the_memory_are_named_while_it_is_out() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("many-workers") else { return };
    stage.quiet(25);
    let quiet = stage.toban(&["why", "--json"]);
    assert_eq!(quiet.json()["findings"].as_array().map(Vec::len), Some(0), "{}", quiet.out);
    let agent = Agent::start(&stage, &[]);
    let began = stage.attack(120);
    sleep_until(began + 15.0);
    assert_limit(&stage, &ask_and_measure(&stage).json());
    let figures = stage.lab.stats_between(began, now() - 8.0).unwrap();
    say(&format!("meanwhile {}", brief(&figures)));
    let incident = wait_for(30.0, "the agent's incident", || {
        let answer = stage.toban(&["incidents", "--json"]).json();
        answer["incidents"].as_array()?.first().cloned()
    });
    assert_eq!(incident["cause"], stage.truth.cause, "{incident:#}\n{}", Agent::words(&stage));
    agent.stop(&stage);
}

/// Programs that only count, each in a session of its own. They end by themselves after a minute.
struct Busy(String);

impl Busy {
    fn start(stage: &Stage, count: u32) -> Busy {
        let script = format!(
            "for n in $(seq {count}); do setsid timeout -k 1 60 sh -c 'while :; do :; done' >/dev/null 2>&1 & echo $!; done"
        );
        Busy(stage.run(&["sh", "-c", &script]).out)
    }

    fn stop(self, stage: &Stage) {
        stage.run(&[&["kill"], &self.0.split_whitespace().collect::<Vec<_>>()[..]].concat());
    }
}

#[test]
fn an_answer_comes_where_memory_is_out_and_a_hundred_programs_run() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("many-workers") else { return };
    stage.quiet(15);
    let began = stage.attack(120);
    let busy = Busy::start(&stage, 100);
    sleep_until(began + 15.0);
    let answer = ask_and_measure(&stage).json();
    say(stage.run(&["cat", "/proc/loadavg"]).out.trim());
    busy.stop(&stage);
    assert_limit(&stage, &answer);
}
