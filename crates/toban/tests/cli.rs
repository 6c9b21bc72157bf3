//! The real binary against input that is wrong and a host that withholds something: a clear word, the right exit
//! code, and nothing lost, hung or changed. What needs root or a program says aloud that it is skipped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const TOBAN: &str = env!("CARGO_BIN_EXE_toban");
/// No command may take longer: not with a FIFO that nobody writes to, and not with a log that never ends.
const COMMAND: Duration = Duration::from_secs(30);

struct Said {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command to its end, which must come.
#[track_caller]
fn run(argv: &[&str]) -> Said {
    let mut out = tempfile::tempfile().unwrap();
    let mut err = tempfile::tempfile().unwrap();
    let mut child = command(argv, &out, &err).spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > COMMAND {
            child.kill().unwrap();
            panic!("{argv:?} did not end within {COMMAND:?}");
        }
        thread::sleep(Duration::from_millis(10));
    };
    let (out, err) = (text(&mut out), text(&mut err));
    assert!(!err.contains("panicked"), "{argv:?}: {err}");
    Said { code: status.code().unwrap_or(-1), out, err }
}

fn command(argv: &[&str], out: &File, err: &File) -> Command {
    let mut command = Command::new(argv[0]);
    command.args(&argv[1..]).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
    command
}

fn text(file: &mut File) -> String {
    use std::io::Seek as _;
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[track_caller]
fn toban(args: &[&str]) -> Said {
    run(&[&[TOBAN], args].concat())
}

/// It ended with this code and these words on stderr, and said nothing else than that it could not.
#[track_caller]
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let said = toban(args);
    assert_eq!(said.code, code, "{args:?}: {}{}", said.out, said.err);
    assert_eq!(said.out, "", "{args:?}");
    assert!(said.err.starts_with("toban: ") || code == 2, "{args:?}: {}", said.err);
    for word in words {
        assert!(said.err.contains(word), "{args:?}: {word:?} is not in {}", said.err);
    }
}

fn at(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_str().unwrap().to_owned()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Said past the capture of the test runner.
fn skipped(because: &str) {
    let _ = writeln!(std::io::stderr().lock(), "skipped: {because}");
}

/// A command in a network namespace of its own, with an address; `None` where there can be none.
fn in_namespace() -> Option<impl Fn(&str) -> Said> {
    if !is_root() {
        skipped("a network namespace of one's own needs root");
        return None;
    }
    let inside = |script: &str| {
        let script = format!("ip link set lo up && ip addr add 192.0.2.1/24 dev lo && {script}");
        run(&["unshare", "--net", "--", "sh", "-c", &script])
    };
    if inside("nft list ruleset").code != 0 {
        skipped("no network namespace of one's own here, or ip or nft is missing");
        return None;
    }
    Some(inside)
}

/// A log of plausible requests.
fn write_log(path: &str, lines: usize, between: &[(usize, String)]) {
    let mut log = String::new();
    for n in 0..lines {
        let (minute, second) = (n / 60 % 60, n % 60);
        log.push_str(&format!(
            "192.0.2.{} - - [24/Dec/2020:19:{minute:02}:{second:02} +0900] \"GET /page{} HTTP/1.1\" 200 512 \"-\" \"x\"\n",
            n % 50 + 1,
            n % 7
        ));
        for (_, line) in between.iter().filter(|(at, _)| *at == n) {
            log.push_str(line);
            log.push('\n');
        }
    }
    fs::write(path, log).unwrap();
}

#[test]
fn an_unknown_key_is_shown_where_it_stands_with_the_right_one() {
    let dir = TempDir::new().unwrap();
    let config = at(&dir, "toban.toml");
    fs::write(&config, "# mine\n[agent]\n  mod = \"act\"\n").unwrap();
    let word = format!("{config}:3:3: unknown key \"mod\" in [agent]; did you mean \"mode\"?");
    for args in [&["check"][..], &["why"], &["status"], &["run", "--state", &at(&dir, "state")]] {
        refused(&[args, &["--config", &config]].concat(), 2, &[&word]);
    }
    // An agent that is not right does not begin.
    assert!(!dir.path().join("state").exists());
    refused(&["check", "--config", &at(&dir, "none.toml")], 2, &["none.toml", "o such file"]);
}

#[test]
fn a_moment_that_is_still_to_come_is_a_usage_error() {
    for args in [
        &["why", "--at", "2999-01-01T00:00:00Z"][..],
        &["why", "--at", "2999-01-01 00:00"],
        &["why", "--since", "2999-01-01"],
        &["why", "--since", "-2h", "--until", "2999-01-01"],
        &["why", "--at", "32503680000"],
    ] {
        refused(args, 2, &["in the future"]);
    }
    refused(&["why", "--at", "yesterday-ish"], 2, &["expected a time such as"]);
    refused(&["frobnicate"], 2, &["frobnicate"]);
}

#[test]
fn what_is_no_log_is_named_and_nobody_waits_for_it() {
    let dir = TempDir::new().unwrap();
    let (folder, fifo, missing) = (at(&dir, "folder"), at(&dir, "fifo"), at(&dir, "missing.log"));
    fs::create_dir(&folder).unwrap();
    assert_eq!(run(&["mkfifo", &fifo]).code, 0);
    for command in [&["why", "--log"][..], &["parse"]] {
        let on = |path| [command, &[path]].concat();
        refused(&on(&folder), 3, &[&folder, "directory"]);
        refused(&on(&fifo), 3, &[&fifo, "FIFO"]);
        refused(&on(&missing), 3, &[&missing, "no such file"]);
        refused(&on("/dev/zero"), 3, &["/dev/zero", "device"]);
    }
}

#[test]
fn a_log_without_permission_is_named() {
    let dir = TempDir::new().unwrap();
    let log = at(&dir, "access.log");
    write_log(&log, 10, &[]);
    fs::set_permissions(&log, fs::Permissions::from_mode(0o000)).unwrap();
    let said = if is_root() {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // A copy where anybody may start it.
        let copy = at(&dir, "toban");
        fs::copy(TOBAN, &copy).unwrap();
        let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
        if run(&[&nobody[..], &[&copy, "--version"]].concat()).code != 0 {
            return skipped("root cannot become nobody here");
        }
        run(&[&nobody[..], &[&copy, "why", "--log", &log]].concat())
    } else {
        toban(&["why", "--log", &log])
    };
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains(&log) && said.err.contains("permission denied"), "{}", said.err);
}

#[test]
fn a_line_of_sixteen_kilobytes_is_counted_and_its_neighbours_are_not_lost() {
    let dir = TempDir::new().unwrap();
    let log = at(&dir, "access.log");
    let (noise, zeros) = ("A".repeat(16 * 1024), "\0".repeat(16 * 1024));
    let path = "b".repeat(16 * 1024);
    let long =
        format!("192.0.2.9 - - [24/Dec/2020:19:10:00 +0900] \"GET /{path} HTTP/1.1\" 200 5 \"-\" \"x\"");
    write_log(&log, 1200, &[(300, noise), (500, zeros), (600, long)]);
    let parsed = toban(&["parse", "--json", &log]);
    assert_eq!(parsed.code, 0, "{}", parsed.err);
    assert!(parsed.err.contains("2 lines were not understood"), "{}", parsed.err);
    let events: Vec<Value> = parsed.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 1201);
    assert_eq!(events.last().unwrap()["line"], 1203);
    let said = toban(&["why", "--json", "--log", &log]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    let answer: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(answer["verdict"], "ok");
    let notes = answer["notes"].to_string();
    assert!(notes.contains("1,203 lines, 2 did not fit"), "{notes}");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let dir = TempDir::new().unwrap();
    let file = at(&dir, "file");
    fs::write(&file, "not a directory").unwrap();
    let below = format!("{file}/state");
    refused(&["run", "--state", &below], 3, &[&below]);
    refused(&["run", "--state", &file], 3, &[&file]);
    refused(&["ban", "198.51.100.7", "--state", &below], 3, &[&below]);
    refused(&["run", "--state", "/proc/no/such"], 3, &["/proc/no/such"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "not a directory");
}

#[test]
fn a_person_cannot_ban_what_must_never_be_banned() {
    let dir = TempDir::new().unwrap();
    let state = at(&dir, "state");
    let Some(inside) = in_namespace() else { return };
    for (prefix, rule) in [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("192.0.2.1", "an address of this host"),
        ("192.0.2.0/24", "an address of this host"),
        ("198.0.0.0/8", "wider than /16"),
        ("0.0.0.0/0", "wider than /16"),
        ("::/0", "wider than /32"),
        ("2001:db8::/31", "wider than /32"),
        ("224.0.0.1", "multicast"),
        ("255.255.255.255", "broadcast"),
        ("fe80::1", "link-local"),
    ] {
        let said = inside(&format!("{TOBAN} ban {prefix} --state {state}; echo exit $?; nft list ruleset"));
        let (words, ruleset) = said.out.split_once("exit 3\n").unwrap_or_else(|| {
            panic!("{prefix}: {}{}", said.out, said.err);
        });
        // The table may break lines within the words.
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("refused") && words.contains(rule), "{prefix}: {words}");
        assert!(!ruleset.contains("elements = "), "{prefix}: {ruleset}");
    }
    let said = toban(&["bans", "--json", "--state", &state]);
    let bans: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(bans["bans"].as_array().map(Vec::len), Some(0));
    // The same way a ban that harms nobody goes through.
    let said = inside(&format!("{TOBAN} ban 198.51.100.0/24 --state {state} && nft list ruleset"));
    assert!(said.code == 0 && said.out.contains("elements = { 198.51.100.0"), "{}{}", said.out, said.err);
}

#[test]
fn without_the_right_to_act_it_says_so_and_goes_on_observing() {
    let dir = TempDir::new().unwrap();
    let state = at(&dir, "state");
    if in_namespace().is_none() {
        return;
    }
    let limited =
        ["unshare", "--net", "--", "setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--"];
    if run(&[&limited[..], &["true"]].concat()).code != 0 {
        return skipped("setpriv cannot give a right away here");
    }
    let said = run(&[&limited[..], &[TOBAN, "ban", "198.51.100.7", "--state", &state]].concat());
    assert_eq!(said.code, 3, "{}{}", said.out, said.err);
    assert!(said.err.contains("CAP_NET_ADMIN"), "{}", said.err);

    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    let argv = [&limited[..], &[TOBAN, "run", "--mode", "act", "--state", &state]].concat();
    let mut agent = Agent(command(&argv, &out, &err).spawn().unwrap());
    let begun = Instant::now();
    while !text(&mut out).contains("on duty") {
        assert!(begun.elapsed() < COMMAND && agent.lives(), "{}{}", text(&mut out), text(&mut err));
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(3));
    let words = text(&mut out);
    assert!(agent.lives(), "{words}{}", text(&mut err));
    assert!(words.contains("cannot act:") && words.contains("CAP_NET_ADMIN"), "{words}");
    assert!(words.contains("observing") && !words.contains("acting on"), "{words}");
    assert_eq!(words.matches("cannot act:").count(), 1, "said again and again: {words}");
    let recorded = fs::read_dir(Path::new(&state).join("frames")).unwrap().count();
    assert!(recorded > 0, "nothing is recorded");
    rustix::process::kill_process(rustix::process::Pid::from_child(&agent.0), rustix::process::Signal::TERM)
        .unwrap();
    assert!(agent.0.wait().unwrap().success());
}

/// Ended at the latest with the test.
struct Agent(Child);

impl Agent {
    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
