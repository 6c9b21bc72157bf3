//! What single processes do: each culprit beside the honest work that looks like it.

use std::time::Duration;

use toban_model::{
    Action, Ancestor, BusyProcess, CulpritKind, DiskLoad, DiskUser, Growth, Host, Kin, MemoryHolder,
    NamedProcess, OomKill, ProcessId, ProcessLook, ProcessPeer, Situation, Symptom, SymptomKind, TcpState,
    Text, Time, Verdict, Vital, VitalState,
};

use crate::{Diagnosis, diagnose};

const AT: Time = Time::from_secs(1_700_000_000);

fn ago(seconds: u64) -> Time {
    AT - Duration::from_secs(seconds)
}

fn named(pid: u32, comm: &str, age_s: u64, parents: &[(u32, &str)]) -> NamedProcess {
    let ancestor = |(pid, command): &(u32, &str)| Ancestor {
        pid: *pid,
        comm: command.rsplit('/').next().unwrap().to_owned(),
        command: (*command).to_owned(),
    };
    NamedProcess {
        id: ProcessId { pid, start_ticks: 5000 },
        started: ago(age_s),
        comm: comm.to_owned(),
        command: format!("/usr/bin/{comm} --some thing"),
        parents: parents.iter().map(ancestor).collect(),
    }
}

fn host() -> Situation {
    let host = Host { name: "web1".into(), cores: 8, memory_bytes: 8 << 30, ..Host::default() };
    Situation { at: AT, from: ago(60), host, ..Situation::default() }
}

/// One that has a core for itself, and about which nothing speaks.
fn busy(comm: &str, age_s: u64) -> BusyProcess {
    let cpu_us = age_s * 990_000;
    BusyProcess {
        last: ProcessLook {
            at: AT,
            process: named(19_175, comm, age_s, &[(19_172, "/bin/bash /usr/local/bin/watch.sh")]),
            threads: 1,
            is_nice: false,
            has_terminal: false,
            user_us: cpu_us,
            system_us: 0,
            queued_us: Some(0),
            rests: Some(2),
            faults: 100,
            calls: Some(1000),
            bytes: Some(50_000),
            handles: Some(1),
            peers: Vec::new(),
            listens: false,
        },
        since: ago(age_s),
        cores: 0.99,
        wanted: 0.99,
        life_cores: 0.99,
        watched_s: 10.0,
        still_s: 10.0,
        system_share: 0.02,
        empty_calls: Some(0.0),
        rests: Some(0.0),
        faults: 0.0,
        handles_changed: false,
        serves: false,
    }
}

fn peer(state: TcpState, silent_ms: u32) -> ProcessPeer {
    ProcessPeer { address: "192.0.2.43:43".parse().unwrap(), state, silent_ms: Some(silent_ms), unread: 0 }
}

fn with(comm: &str, age_s: u64, change: impl FnOnce(&mut BusyProcess)) -> BusyProcess {
    let mut process = busy(comm, age_s);
    change(&mut process);
    process
}

/// Reads the end of a connection again and again.
fn whois(age_s: u64) -> BusyProcess {
    with("whois", age_s, |p| {
        p.empty_calls = Some(150_000.0);
        p.system_share = 0.9;
        p.last.peers = vec![peer(TcpState::CloseWait, 600_000)];
    })
}

fn judged(processes: Vec<BusyProcess>) -> Diagnosis {
    let mut situation = host();
    situation.activity.busy = processes;
    let diagnosis = diagnose(&situation);
    assert_eq!(diagnose(&situation), diagnosis, "a replay is exact");
    for finding in &diagnosis.findings {
        assert_ne!(finding.summary.en, finding.summary.ja);
        assert!(finding.summary.en.is_ascii(), "{}", finding.summary.en);
    }
    diagnosis
}

#[test]
fn a_client_at_the_end_of_its_connection_is_an_incident_and_can_be_stopped() {
    let age = 13 * 86_400 + 15 * 3600;
    let diagnosis = judged(vec![whois(age)]);
    let finding = &diagnosis.findings[0];
    assert_eq!((finding.cause.as_str(), finding.verdict), ("runaway-process", Verdict::Incident));
    assert!(finding.confidence >= 0.9, "{}", finding.confidence);
    assert_eq!(finding.since, ago(age));
    for words in ["13 d 15 h", "192.0.2.43:43", "watch.sh", "19175"] {
        assert!(finding.summary.en.contains(words), "{words}: {}", finding.summary.en);
    }
    assert!(finding.summary.ja.contains("13 日 15 時間"), "{}", finding.summary.ja);
    let culprit = &finding.culprits[0];
    assert_eq!((culprit.kind, culprit.value.as_str()), (CulpritKind::Process, "whois"));
    assert_eq!(culprit.process.as_ref().unwrap().parents[0].pid, 19_172);
    let plan = &finding.remedies[0].plan;
    let process = ProcessId { pid: 19_175, start_ticks: 5000 };
    assert_eq!(plan.steps, [Action::StopProcess { process }]);
    assert_eq!(plan.predicted.get("cpu.core"), Some(&0.0));
}

#[test]
fn sockets_that_are_not_counted_as_calls_betray_it_by_the_kernels_time() {
    let spins = |share| {
        judged(vec![with("client", 600, |p| {
            p.system_share = share;
            p.last.peers = vec![peer(TcpState::CloseWait, 60_000)];
        })])
    };
    assert_eq!(spins(0.7).findings[0].cause, "runaway-process");
    // One that has fetched its data, and computes: its peer hung up long ago, and that is no matter.
    assert!(spins(0.02).findings.is_empty());
}

#[test]
fn a_read_that_brings_nothing_for_minutes_needs_no_peer() {
    let reader = |age| with("tool", age, |p| p.empty_calls = Some(80_000.0));
    assert!(judged(vec![reader(60)]).findings.is_empty(), "too young");
    assert_eq!(judged(vec![reader(300)]).findings[0].verdict, Verdict::Incident);
    // A worker of a service: told, and for a person to stop.
    let worker = with("worker", 300, |p| {
        p.empty_calls = Some(80_000.0);
        p.serves = true;
    });
    let diagnosis = judged(vec![worker]);
    assert_eq!(diagnosis.findings[0].verdict, Verdict::Watch);
    assert!(diagnosis.findings[0].remedies.is_empty() && !diagnosis.findings[0].advice.is_empty());
}

#[test]
fn honest_work_is_not_named() {
    let day = 86_400;
    let moves = |comm: &str| {
        with(comm, day, |p| {
            p.still_s = 0.0;
            p.empty_calls = None;
        })
    };
    let honest: Vec<(&str, BusyProcess)> = vec![
        ("a backup", moves("gzip")),
        ("a compiler", with("cc1plus", 40, |p| p.faults = 4000.0)),
        (
            "a video encoder",
            with("ffmpeg", day, |p| {
                p.still_s = 0.0;
                p.last.threads = 9;
                p.cores = 7.5;
            }),
        ),
        (
            "a virtual machine",
            with("qemu-system-x86", day, |p| {
                p.last.threads = 6;
                p.still_s = 4000.0;
            }),
        ),
        ("a scientific job that writes now and then", with("simulate", day, |p| p.still_s = 200.0)),
        (
            "one that somebody made wait for others",
            with("hash", day, |p| {
                p.last.is_nice = true;
                p.still_s = 4000.0;
            }),
        ),
        (
            "a benchmark at a terminal",
            with("bench", day, |p| {
                p.last.has_terminal = true;
                p.still_s = 4000.0;
            }),
        ),
        ("yes", moves("yes")),
        (
            "du in a cached tree",
            with("du", 600, |p| {
                p.handles_changed = true;
                p.system_share = 0.9;
            }),
        ),
        (
            "a busy database",
            with("mysqld", day, |p| {
                p.serves = true;
                p.last.threads = 40;
                p.still_s = 400.0;
            }),
        ),
        ("a web worker that computes", with("php-fpm8.2", 300, |p| p.serves = true)),
        (
            "one that polls and pauses",
            with("poller", day, |p| {
                p.rests = Some(40.0);
                p.empty_calls = Some(9000.0);
            }),
        ),
        (
            "one that polls a live peer",
            with("feed", day, |p| {
                p.empty_calls = Some(90_000.0);
                p.last.peers = vec![peer(TcpState::Established, 100)];
            }),
        ),
        (
            "one with unread data",
            with("slow", 60, |p| {
                p.last.peers = vec![ProcessPeer { unread: 4000, ..peer(TcpState::CloseWait, 60_000) }];
                p.system_share = 0.5;
            }),
        ),
        ("the same whois, ten seconds old", whois(10)),
        (
            "one that rests most of the time",
            with("client", 900, |p| {
                p.wanted = 0.2;
                p.empty_calls = Some(9000.0);
            }),
        ),
    ];
    for (what, process) in honest {
        let diagnosis = judged(vec![process]);
        assert!(diagnosis.findings.is_empty(), "{what}: {:#?}", diagnosis.findings);
        assert_eq!(diagnosis.verdict, Verdict::Ok, "{what}");
    }
}

#[test]
fn one_that_only_computes_is_unusual_after_hours_and_no_more() {
    let computes = |age, still_s| with("loop", age, |p| p.still_s = still_s);
    assert!(judged(vec![computes(1800, 1000.0)]).findings.is_empty());
    assert!(judged(vec![computes(7200, 1.0)]).findings.is_empty(), "one look is not enough");
    let diagnosis = judged(vec![computes(7200, 400.0)]);
    let finding = &diagnosis.findings[0];
    assert_eq!((diagnosis.verdict, finding.verdict), (Verdict::Watch, Verdict::Watch));
    assert!(finding.confidence < 0.6 && finding.remedies.is_empty(), "{finding:#?}");
}

#[test]
fn two_that_spin_are_both_named_and_honest_ones_beside_them_are_not() {
    let mut other = whois(500);
    other.last.process.id.pid = 20_000;
    let gzip = with("gzip", 86_400, |p| p.still_s = 0.0);
    let finding = judged(vec![gzip, whois(9000), other]).findings.remove(0);
    let pids: Vec<u32> = finding.culprits.iter().map(|c| c.process.as_ref().unwrap().id.pid).collect();
    assert_eq!(pids, [19_175, 20_000]);
    // One victim a plan: what the first brings is looked at before the second.
    assert_eq!(finding.remedies.iter().map(|r| r.plan.steps.len()).collect::<Vec<_>>(), [1, 1]);
}

/// `count` jobs, one every `gap_s`, all started by a script that cron begins.
fn jobs(count: u32, gap_s: u64, stuck: u32) -> Kin {
    let parents = [(900, "/usr/local/bin/backup-cron.sh"), (500, "/usr/sbin/cron")];
    let oldest = named(1000, "nfs-backup", u64::from(count) * gap_s, &parents);
    Kin {
        starts: (0..count).map(|n| ago(u64::from(count - n) * gap_s)).collect(),
        oldest,
        count,
        stuck,
        running: 0,
        cpu_us: u64::from(count) * 20_000,
        waits_in: Some("rpc_wait_bit_killable".into()),
        like_parent: false,
        serves: false,
    }
}

fn piled(kin: Kin, before: Option<(u32, u64)>) -> Diagnosis {
    let mut situation = host();
    situation.activity.kin_before =
        before.map(|(count, seconds)| (kin.oldest.id, count, ago(seconds))).into_iter().collect();
    situation.activity.crowd.at = AT;
    situation.activity.crowd.kin = vec![kin];
    diagnose(&situation)
}

#[test]
fn jobs_that_do_not_end_are_a_pile_named_by_their_script() {
    for before in [None, Some((90, 120))] {
        let diagnosis = piled(jobs(160, 60, 160), before);
        let finding = &diagnosis.findings[0];
        assert_eq!((finding.cause.as_str(), finding.verdict), ("process-pileup", Verdict::Incident));
        assert_eq!(finding.culprits[0].value, "nfs-backup");
        assert_eq!(finding.culprits[0].r#where["parent"], "/usr/local/bin/backup-cron.sh");
        assert!(finding.summary.en.contains("160") && finding.summary.en.contains("backup-cron.sh"));
        assert!(finding.remedies.is_empty() && finding.advice.len() == 2);
    }
    // They only sleep, waiting for a lock: unusual.
    assert_eq!(piled(jobs(30, 60, 0), Some((20, 600))).findings[0].verdict, Verdict::Watch);
}

#[test]
fn what_belongs_together_is_no_pile() {
    let change = |kin: Kin, change: fn(&mut Kin)| {
        let mut kin = kin;
        change(&mut kin);
        kin
    };
    let burst = |kin: &mut Kin| kin.starts = vec![ago(600); kin.count as usize];
    for (what, kin, before) in [
        ("a server's workers", change(jobs(300, 5, 200), |k| k.like_parent = true), None),
        ("a service's children", change(jobs(300, 5, 200), |k| k.serves = true), None),
        ("begun at once", change(jobs(64, 5, 64), burst), None),
        ("a pile that stands", jobs(20, 60, 20), Some((20, 300))),
        ("jobs that work", change(jobs(40, 5, 30), |k| k.cpu_us = 4_000_000_000), None),
        ("shells of people", change(jobs(40, 7200, 0), |k| k.oldest.parents[0].comm = "tmux".into()), None),
        ("a few", jobs(6, 60, 6), None),
        ("daemons", change(jobs(40, 60, 0), |k| k.oldest.parents.clear()), None),
    ] {
        let diagnosis = piled(kin, before);
        assert!(diagnosis.findings.is_empty(), "{what}: {:#?}", diagnosis.findings);
    }
}

fn disk(queue: f64, since_s: u64) -> DiskLoad {
    DiskLoad { device: "sda".into(), busy: 99.0, queue, since: ago(since_s), bytes: [1e6, 90e6] }
}

fn user(pid: u32, comm: &str, written: f64, waits: f64) -> DiskUser {
    DiskUser {
        id: ProcessId { pid, start_ticks: 7 },
        comm: comm.into(),
        command: format!("/usr/bin/{comm}"),
        group: "/system.slice/job.service".into(),
        bytes: [0.0, written],
        waits,
    }
}

fn on_disk(disk: DiskLoad, users: Vec<DiskUser>, stuck: u32, waiting: [f64; 2]) -> Situation {
    let mut situation = host();
    situation.activity.disks = vec![disk];
    situation.activity.disk_users = users;
    situation.activity.crowd.stuck = stuck;
    situation.activity.waiting = waiting;
    situation
}

fn vital(name: &str, value: f64) -> Vital {
    let (unit, state) = ("".to_owned(), VitalState::Unknown);
    Vital { name: name.into(), value, unit, usual: None, state, since: None }
}

#[test]
fn a_disk_that_others_wait_for_is_told_with_who_uses_it() {
    let users = || vec![user(70, "exporter", 80e6, 0.9), user(71, "mysqld", 1e6, 0.9)];
    let situation = on_disk(disk(30.0, 300), users(), 9, [1.0, 8.0]);
    let finding = diagnose(&situation).findings.remove(0);
    assert_eq!((finding.cause.as_str(), finding.verdict), ("io-saturation", Verdict::Incident));
    assert_eq!(finding.culprits.iter().map(|c| c.value.as_str()).collect::<Vec<_>>(), ["exporter"]);
    // Nobody stands out: nobody is named.
    let many = (0..6).map(|n| user(70 + n, "worker", 10e6, 0.9)).collect();
    let finding = diagnose(&on_disk(disk(30.0, 300), many, 9, [1.0, 8.0])).findings.remove(0);
    assert!(finding.culprits.is_empty());
    // Look-alikes.
    let backup = on_disk(disk(8.0, 300), users(), 1, [1.0, 1.2]);
    let fast = on_disk(disk(0.8, 300), users(), 9, [1.0, 8.0]);
    let burst = on_disk(disk(30.0, 300), users(), 9, [0.2, 0.4]);
    let mut swaps = on_disk(disk(30.0, 300), users(), 9, [1.0, 8.0]);
    swaps.vitals.push(vital("memory.swapped_out", 4000.0));
    let mut calm = on_disk(disk(30.0, 300), users(), 9, [1.0, 8.0]);
    calm.vitals.push(vital("pressure.io", 2.0));
    for (what, situation) in [
        ("a backup", backup),
        ("a fast disk", fast),
        ("a burst", burst),
        ("swap", swaps),
        ("no pressure", calm),
    ] {
        assert!(diagnose(&situation).findings.is_empty(), "{what}");
    }
}

fn growth(name: &str, hours: u64, bytes: [f64; 2], quarters: [f64; 4]) -> Growth {
    Growth {
        name: name.into(),
        process: Some(ProcessId { pid: 44, start_ticks: 9 }),
        command: String::new(),
        from: ago(hours * 3600),
        to: AT,
        bytes,
        quarters,
        straight: 0.98,
        processes_ratio: 1.0,
        requests_ratio: Some(1.0),
    }
}

fn grown(growth: Growth) -> Diagnosis {
    let mut situation = host();
    situation.vitals = vec![vital("memory.available", 2e9), vital("memory.used", 70.0)];
    situation.activity.growing = vec![growth];
    diagnose(&situation)
}

#[test]
fn memory_that_grows_with_time_alone_is_a_leak() {
    let even = [0.25e9; 4];
    let diagnosis = grown(growth("appd", 8, [0.5e9, 1.5e9], even));
    let finding = &diagnosis.findings[0];
    assert_eq!((finding.cause.as_str(), finding.verdict), ("memory-leak", Verdict::Watch));
    assert_eq!(finding.culprits[0].process.as_ref().unwrap().id.pid, 44);
    // 2 GB at 125 MB an hour.
    assert!(finding.summary.en.contains("16 h"), "{}", finding.summary.en);
    let with = |change: fn(&mut Growth)| {
        let mut it = growth("appd", 8, [0.5e9, 1.5e9], even);
        change(&mut it);
        grown(it)
    };
    for (what, diagnosis) in [
        ("a cache that has filled", with(|g| g.quarters = [0.7e9, 0.25e9, 0.05e9, 0.0])),
        ("more traffic", with(|g| g.requests_ratio = Some(2.5))),
        ("more workers", with(|g| g.processes_ratio = 2.0)),
        ("up and down", with(|g| g.straight = 0.4)),
        ("a step", with(|g| g.quarters = [0.0, 1.0e9, 0.0, 0.0])),
        (
            "little",
            with(|g| {
                g.bytes = [0.5e9, 0.6e9];
                g.quarters = [0.025e9; 4];
            }),
        ),
    ] {
        assert!(diagnosis.findings.is_empty(), "{what}: {:#?}", diagnosis.findings);
    }
}

#[test]
fn memory_that_ended_within_a_minute_names_who_grew() {
    // Of 8 GiB; it had run for an hour before.
    let leak = |change: &dyn Fn(&mut Growth)| {
        let mut growth = growth("php", 0, [0.3e9, 6.3e9], [1.5e9; 4]);
        (growth.from, growth.to) = (ago(62), ago(2));
        growth.command = "php /opt/read.php".into();
        change(&mut growth);
        growth
    };
    let told = |growth: Growth, change: &dyn Fn(&mut Situation)| {
        let mut situation = host();
        let comm = "php".to_owned();
        situation.kernel.oom =
            vec![OomKill { at: ago(2), pid: 9, comm, anon_rss_bytes: 6 << 30, cgroup: false }];
        situation.kernel.oom_count = 1;
        situation.symptoms.push(Symptom {
            kind: SymptomKind::OomKill,
            what: "php".into(),
            text: Text::fixed("en", "ja"),
            value: 1.0,
            usual: None,
            since: ago(2),
        });
        situation.activity.growing_soon = vec![growth];
        change(&mut situation);
        diagnose(&situation).findings.remove(0)
    };
    let finding = told(leak(&|_| {}), &|_| {});
    assert_eq!((finding.cause.as_str(), finding.culprits[0].kind), ("memory-leak", CulpritKind::Process));
    let process = finding.culprits[0].process.as_ref().unwrap();
    assert_eq!((process.id.pid, process.command.as_str()), (44, "php /opt/read.php"));
    let other = |growth: Growth, change: &dyn Fn(&mut Situation), what: &str| {
        let finding = told(growth, change);
        assert_eq!(finding.cause, "memory-exhaustion", "{what}: {finding:#?}");
    };
    let nothing = |_: &mut Situation| {};
    other(leak(&|g| g.quarters = [2e9, 2e9, 2e9, 0.0]), &nothing, "a cache that was full before");
    other(leak(&|g| g.bytes = [0.3e9, 1.3e9]), &nothing, "not enough to have ended it");
    other(leak(&|g| g.name = "sort".into()), &nothing, "another one was killed");
    let begun = |situation: &mut Situation| situation.host.boot = ago(70);
    other(leak(&|_| {}), &begun, "a job that grows from its start");
}

#[test]
fn who_holds_the_memory_is_told_when_the_kernel_kills() {
    let holder = |name: &str, comm: &str, bytes: u64| MemoryHolder {
        name: name.into(),
        is_unit: name.ends_with(".service"),
        processes: 3,
        private_bytes: bytes,
        largest: named(50, comm, 900, &[]),
        largest_bytes: bytes / 2,
    };
    let killed = |comm: &str, memory: Vec<MemoryHolder>| {
        let mut situation = host();
        let oom = OomKill { at: ago(2), pid: 9, comm: comm.into(), anon_rss_bytes: 1 << 30, cgroup: false };
        situation.kernel.oom = vec![oom];
        situation.kernel.oom_count = 1;
        situation.symptoms.push(Symptom {
            kind: SymptomKind::OomKill,
            what: comm.into(),
            text: Text::fixed("en", "ja"),
            value: 1.0,
            usual: None,
            since: ago(2),
        });
        situation.activity.crowd.memory = memory;
        let mut findings = diagnose(&situation).findings;
        assert_eq!(findings[0].cause, "memory-exhaustion");
        findings.remove(0)
    };
    let finding = killed(
        "reportd",
        vec![holder("report.service", "reportd", 6 << 30), holder("db.service", "mysqld", 1 << 30)],
    );
    assert_eq!(finding.culprits[0].value, "report.service");
    assert_eq!(finding.culprits[0].kind, CulpritKind::Unit);
    assert!(finding.summary.en.contains("report.service"), "{}", finding.summary.en);
    // A database that holds most of it by right, and somebody else was killed: told, not named.
    let finding = killed(
        "php-fpm",
        vec![holder("db.service", "mysqld", 5 << 30), holder("php.service", "php-fpm", 1 << 30)],
    );
    assert!(finding.culprits.is_empty());
    assert!(finding.evidence.iter().any(|e| e.what == "memory-held" && e.text.en.contains("db.service")));
}
