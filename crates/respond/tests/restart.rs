//! Restarts of real processes: a small server with workers, by init script and by its own command line.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use toban_model::{
    Action, ActionId, ActionRecord, ActionState, Actor, Plan, ProcessId, Protected, Restart, Supervisor, Time,
};
use toban_respond::{
    Engine, Firewall, Gate, Held, Ledger, MemoryLedger, Progress, Respawn, Result, StepProgress, Target,
    Wanted,
};

/// Restarts need no packet filter.
struct NoFirewall;

impl Firewall for NoFirewall {
    fn put(&mut self, _: &BTreeMap<Target, Duration>) -> Result<()> {
        Ok(())
    }
    fn remove(&mut self, _: &[Target]) -> Result<()> {
        Ok(())
    }
    fn put_gate(&mut self, _: &Gate) -> Result<()> {
        Ok(())
    }
    fn remove_gate(&mut self, _: ActionId) -> Result<()> {
        Ok(())
    }
    fn held(&mut self) -> Result<Option<Held>> {
        Ok(None)
    }
    fn held_of(&mut self, _: &[&Target]) -> Result<Option<Held>> {
        self.held()
    }
    fn generation(&mut self) -> Result<Option<u32>> {
        Ok(None)
    }
    fn rebuild(&mut self, _: &Wanted) -> Result<()> {
        Ok(())
    }
}

/// A server in a directory of its own, so that its program is nobody else's: `server` is a shell under another name,
/// and its workers are `worker`s that outlive it if nobody ends them.
struct Server {
    directory: TempDir,
}

/// In a process of its own: what this one has open for writing, a child that another thread is just starting has open
/// as well for a moment, and a program that is open for writing cannot be run (ETXTBSY).
fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").args([from, to]).status().unwrap().success());
}

impl Server {
    fn new() -> Server {
        let server = Server { directory: tempfile::tempdir().unwrap() };
        for (from, to) in [("/bin/sh", "server"), ("/bin/sleep", "worker")] {
            copy(&std::fs::canonicalize(from).unwrap(), &server.path().join(to));
        }
        let here = server.path().display();
        server.write(
            "main.sh",
            &format!("echo $$ > {here}/pid\n{here}/worker 1000 &\n{here}/worker 1000 &\nwait\n"),
        );
        // Not `kill -0`: to it a zombie that waits to be reaped still runs.
        server.write(
            "init",
            &format!(
                "#!/bin/sh\ncase $1 in\n\
                 start) readlink /proc/$(cat {here}/pid)/exe >{here}/runs && exit 0; setsid {here}/server {here}/main.sh & sleep 0.2;;\n\
                 stop) kill $(cat {here}/pid);;\nesac\n"
            ),
        );
        server
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        let draft = self.path().join(format!("{name}.draft"));
        std::fs::write(&draft, text).unwrap();
        std::fs::set_permissions(&draft, std::fs::Permissions::from_mode(0o755)).unwrap();
        copy(&draft, &self.path().join(name));
    }

    /// All of its processes: number and program's name.
    fn processes(&self) -> BTreeMap<u32, String> {
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| {
                let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
                let exe = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
                Some((pid, exe.strip_prefix(self.path()).ok()?.to_str()?.to_owned()))
            })
            .collect()
    }

    fn start(&self) -> Restart {
        let status = Command::new("setsid")
            .args(["--fork"])
            .args([self.path().join("server"), self.path().join("main.sh")])
            .env("TOBAN_TEST_COLOUR", "blue = green")
            .current_dir(self.path())
            .status()
            .unwrap();
        assert!(status.success());
        self.wait();
        Restart { service: "small".to_owned(), master: self.master(), supervisor: Supervisor::CommandLine }
    }

    /// Until it runs with both workers, and no others.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let mut names: Vec<String> = self.processes().into_values().collect();
            names.sort();
            if names == ["server", "worker", "worker"] {
                return;
            }
            assert!(Instant::now() < until, "{names:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn master(&self) -> ProcessId {
        let pid = *self.processes().iter().find(|(_, name)| *name == "server").unwrap().0;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let start_ticks =
            stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
        ProcessId { pid, start_ticks }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for pid in self.processes().into_keys() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

fn plan(restart: &Restart) -> Plan {
    Plan { steps: vec![Action::Restart(restart.clone())], ..Plan::default() }
}

fn carry_out(restart: &Restart) -> ActionRecord {
    let mut engine = Engine::new(Box::new(MemoryLedger::default()), Box::new(NoFirewall));
    engine
        .carry_out(Time::from_secs(1_800_000_000), &plan(restart), &Protected::default(), Actor::Agent, None)
        .unwrap()
}

#[test]
fn an_init_script_whose_stop_leaves_workers() {
    let server = Server::new();
    let old = server.start();
    let before = server.processes();
    let restart = Restart { supervisor: Supervisor::Initd(server.path().join("init")), ..old.clone() };
    let record = carry_out(&restart);
    assert_eq!(record.state, ActionState::Done, "{:?}", record.notes);
    assert!(record.notes[0].contains("2 processes that its stop had left were ended"), "{:?}", record.notes);
    server.wait();
    assert!(server.processes().keys().all(|pid| !before.contains_key(pid)), "all of them are new");

    // The old process is gone: the same plan hits nobody now.
    let again = carry_out(&restart);
    assert_eq!(again.state, ActionState::Failed);
    assert!(again.notes[0].contains("is left alone"), "{:?}", again.notes);
    server.wait();
}

#[test]
fn its_own_command_line() {
    let server = Server::new();
    // Deaf to TERM, so that it has to be killed.
    let main = std::fs::read_to_string(server.path().join("main.sh")).unwrap();
    server.write("main.sh", &format!("trap '' TERM\n{main}"));
    let old = server.start();
    let before = server.processes();
    let record = carry_out(&old);
    assert_eq!(record.state, ActionState::Done, "{:?}", record.notes);
    server.wait();
    assert!(server.processes().keys().all(|pid| !before.contains_key(pid)));
    let pid = server.master().pid;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains("TOBAN_TEST_COLOUR=blue = green\0"));
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), server.path());
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().collect();
    assert_ne!(fields[1].parse::<u32>().unwrap(), std::process::id(), "it is not our child");
    assert_eq!(fields[3].parse::<u32>().unwrap(), pid, "it leads its own session");
}

/// The agent asks to be ended last when memory is out; a service that it restarts must not inherit that.
#[test]
fn a_restarted_service_is_not_spared_when_memory_is_out() {
    if std::fs::write("/proc/self/oom_score_adj", "-7").is_err() {
        eprintln!("SKIPPED: oom_score_adj cannot be lowered here");
        return;
    }
    let server = Server::new();
    let old = server.start();
    let initd = Supervisor::Initd(server.path().join("init"));
    let score = || {
        let path = format!("/proc/{}/oom_score_adj", server.master().pid);
        std::fs::read_to_string(path).unwrap().trim().to_owned()
    };
    for supervisor in [Supervisor::CommandLine, initd] {
        assert_eq!(
            carry_out(&Restart { master: server.master(), supervisor, ..old.clone() }).state,
            ActionState::Done
        );
        server.wait();
        assert_eq!(score(), "0");
    }
}

#[test]
fn another_process_with_its_number_is_left_alone() {
    let server = Server::new();
    let mut restart = server.start();
    restart.master.start_ticks += 1;
    let record = carry_out(&restart);
    assert_eq!(record.state, ActionState::Failed, "{:?}", record.notes);
    server.wait();
    // And one that we run below.
    let parent = std::os::unix::process::parent_id();
    let stat = std::fs::read_to_string(format!("/proc/{parent}/stat")).unwrap();
    let start_ticks =
        stat.rsplit_once(')').unwrap().1.split_ascii_whitespace().nth(19).unwrap().parse().unwrap();
    restart.master = ProcessId { pid: parent, start_ticks };
    let record = carry_out(&restart);
    assert_eq!(record.state, ActionState::Refused, "{:?}", record.notes);
}

#[test]
fn a_script_that_anybody_can_write_is_not_run() {
    let server = Server::new();
    let mut restart = server.start();
    let script = server.path().join("init");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o777)).unwrap();
    restart.supervisor = Supervisor::Initd(script);
    let record = carry_out(&restart);
    assert_eq!(record.state, ActionState::Failed);
    assert!(record.notes[0].contains("can be written by others"), "{:?}", record.notes);
    server.wait();
}

/// Killed between stop and start: the service must not stay down.
#[test]
fn a_restart_that_was_cut_short_is_finished() {
    let server = Server::new();
    let restart = server.start();
    let respawn = Respawn {
        service: "small".to_owned(),
        program: server.path().join("server"),
        arguments: vec![server.path().join("main.sh").to_str().unwrap().as_bytes().to_vec()],
        environment: vec![],
        directory: server.path().to_owned(),
        owner: (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw()),
    };
    let now = Time::from_secs(1_800_000_000);
    let intended = |restart: &Restart, respawn: Option<&Respawn>| {
        let mut ledger = MemoryLedger::default();
        let mut record = ActionRecord {
            id: ActionId(0),
            at: now,
            incident: None,
            by: Actor::Agent,
            plan: plan(restart),
            state: ActionState::Intended,
            measured: BTreeMap::new(),
            notes: vec![],
            changed: now,
        };
        record.id = ledger.intend(&record).unwrap();
        let progress = Progress { steps: vec![StepProgress::Begun], respawn: respawn.cloned() };
        ledger.put_progress(record.id, &progress).unwrap();
        Engine::new(Box::new(ledger), Box::new(NoFirewall))
    };
    for supervisor in [Supervisor::CommandLine, Supervisor::Initd(server.path().join("init"))] {
        let restart = Restart { supervisor, ..restart.clone() };
        for pid in server.processes().into_keys() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        while !server.processes().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let report = intended(&restart, Some(&respawn)).reconcile(now).unwrap();
        assert_eq!(report.settled[0].state, ActionState::Done, "{report:?}");
        assert!(report.settled[0].notes[0].contains("was down"), "{report:?}");
        server.wait();
        // Killed once more, after the start: it is not started twice.
        intended(&restart, Some(&respawn)).reconcile(now).unwrap();
        server.wait();
    }
}
