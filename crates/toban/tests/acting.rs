//! The agent as two processes: each may fall, and neither the duty nor a ban is lost.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[path = "../../respond/tests/kernel/netns.rs"]
mod netns;

use netns::enter;

const TOBAN: &str = env!("CARGO_BIN_EXE_toban");
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends what it started, also when an assertion fails.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    fn start(state: &Path, words: &Path) -> Agent {
        Agent::start_with(state, words, &[])
    }

    fn start_with(state: &Path, words: &Path, more: &[&str]) -> Agent {
        let words = File::options().create(true).append(true).open(words).unwrap();
        let agent = Command::new(TOBAN)
            .args(["run", "--mode", "act", "--lang", "en", "--state"])
            .arg(state)
            .args(more)
            .stdin(Stdio::null())
            .stdout(words.try_clone().unwrap())
            .stderr(words)
            .spawn()
            .unwrap();
        Agent(agent)
    }

    /// Its watch, once there is one other than `old`.
    fn watch(&self, old: Option<u32>) -> u32 {
        let children = format!("/proc/{0}/task/{0}/children", self.0.id());
        wait_for("a watch", || {
            let children = fs::read_to_string(&children).unwrap();
            children.split_whitespace().map(|pid| pid.parse().unwrap()).find(|pid| Some(*pid) != old)
        })
    }

    fn signal(&self, name: &str) {
        kill(name, self.0.id());
    }
}

fn kill(name: &str, pid: u32) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn said(state: &Path, args: &[&str]) -> String {
    let output = Command::new(TOBAN).args(args).arg("--state").arg(state).output().unwrap();
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn either_process_may_fall_and_neither_duty_nor_ban_is_lost() {
    if !enter("either_process_may_fall_and_neither_duty_nor_ban_is_lost") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (state, words) = (dir.path().join("state"), dir.path().join("words"));
    let on_duty = |times: usize| {
        wait_for("the agent on duty", || {
            let words = fs::read_to_string(&words).unwrap_or_default();
            (words.matches("on duty;").count() >= times).then_some(())
        });
    };
    let mut agent = Agent::start(&state, &words);
    on_duty(1);
    said(&state, &["ban", "203.0.113.9", "--for", "1h"]);
    let banned = || said(&state, &["bans"]).matches("203.0.113.9/32").count();
    assert_eq!(banned(), 1);

    // What each holds: the one that reads strangers' text cannot touch the firewall.
    let status: serde_json::Value = serde_json::from_str(&said(&state, &["status", "--json"])).unwrap();
    let agents = status["agent"].as_array().unwrap();
    let of = |role: &str| agents.iter().find(|process| process["role"] == role).unwrap();
    let holds = |role: &str| of(role)["capabilities"].to_string().contains("cap_net_admin");
    assert!(holds("acting") && !holds("watch"), "{agents:#?}");
    assert_eq!(
        (&of("watch")["no_new_privileges"], &of("watch")["calls_filtered"]),
        (&true.into(), &true.into())
    );

    // The watch falls: it is started again, and bans are kept meanwhile.
    let first = agent.watch(None);
    assert_eq!(of("watch")["pid"], first);
    kill("-KILL", first);
    agent.watch(Some(first));
    on_duty(2);
    assert_eq!(banned(), 1);

    // The acting part falls, and its watch with it. Whoever starts it again finds the ban, and puts it back if it has to.
    let second = agent.watch(Some(first));
    agent.signal("-KILL");
    agent.0.wait().unwrap();
    wait_for("the end of the watch", || {
        let stat = fs::read_to_string(format!("/proc/{second}/stat")).unwrap_or_default();
        // A zombie is as good as gone: the first process here reaps late.
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
    assert!(Command::new("nft").args(["flush", "ruleset"]).status().is_ok_and(|status| status.success()));
    let mut agent = Agent::start(&state, &words);
    on_duty(3);
    assert_eq!(banned(), 1);

    agent.signal("-TERM");
    let ended = wait_for("the end of the agent", || agent.0.try_wait().unwrap());
    assert!(ended.success(), "{ended}: {}", fs::read_to_string(&words).unwrap());
    assert_eq!(banned(), 1, "a ban stands until its time");
    assert!(fs::read_to_string(&words).unwrap().contains("stopped; bans stay in force"));
}

/// A line in a log is answered when it is there, not at the next look: between the looks of this agent lies a minute.
#[test]
fn who_guesses_passwords_is_dropped_between_two_looks() {
    if !enter("who_guesses_passwords_is_dropped_between_two_looks") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (state, words, log) = (dir.path().join("state"), dir.path().join("words"), dir.path().join("auth"));
    File::create(&log).unwrap();
    let config = dir.path().join("toban.toml");
    let text = format!(
        "[agent]\nact_on = [\"credential-attack\"]\ninterval = \"60s\"\n[logs]\nfiles = [{{ path = \"{}\" }}]\n",
        log.display()
    );
    fs::write(&config, text).unwrap();
    let _agent = Agent::start_with(&state, &words, &["--config", &config.to_string_lossy()]);
    wait_for("the agent on duty", || {
        fs::read_to_string(&words).unwrap_or_default().contains("on duty;").then_some(())
    });
    let guess = |client: &str, times: u32| {
        let stamp = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let stamp =
            jiff::Timestamp::from_second(stamp).unwrap().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
        let line = |nth| {
            format!("{stamp} web sshd[{nth}]: Failed password for root from {client} port 4{nth} ssh2\n")
        };
        let lines: String = (1000..1000 + times).map(line).collect();
        File::options().append(true).open(&log).unwrap().write_all(lines.as_bytes()).unwrap();
    };
    let banned = || said(&state, &["bans"]);
    guess("203.0.113.77", 3);
    guess("198.51.100.9", 20);
    wait_for("the ban", || banned().contains("198.51.100.9/32").then_some(()));
    // The next one, while the first is hardly done.
    guess("198.51.100.10", 20);
    wait_for("the next ban", || banned().contains("198.51.100.10/32").then_some(()));
    assert!(!banned().contains("203.0.113.77"), "three may be slips");
}
