//! What has failed: each with the one answer that is right, its look-alikes beside it, and what must stay silent.

use std::time::Duration;

use toban_model::{
    Asked, Certificate, CulpritKind, Edited, ErrorClass, Failures, Finding, Hung, KernelSaid, KernelWord,
    KnownServer, LifeLine, LifeWord, Misconfigured, NetworkTrouble, ProcessId, Resolution, ResolverLook,
    ServiceKind, Situation, Stopped, Supervisor, Time, Trouble, UpstreamGone, Verdict,
};

use crate::diagnose;

fn at(second: i64) -> Time {
    Time::from_secs(1_700_000_000 + second)
}

fn known(service: &str, exe: &str, unit: &str) -> KnownServer {
    KnownServer {
        service: service.into(),
        kind: match service {
            "apache" => ServiceKind::Apache,
            "php-fpm" => ServiceKind::PhpFpm,
            _ => ServiceKind::Other,
        },
        exe: exe.into(),
        supervisor: Supervisor::Systemd(unit.into()),
        enabled: Some(true),
        listens: Vec::new(),
        listens_unix: Vec::new(),
        config: Vec::new(),
        logs: Vec::new(),
        backends: Vec::new(),
    }
}

fn apache() -> KnownServer {
    KnownServer {
        listens: vec!["0.0.0.0:80".parse().unwrap(), "0.0.0.0:443".parse().unwrap()],
        ..known("apache", "/usr/sbin/apache2", "apache2.service")
    }
}

fn php() -> KnownServer {
    KnownServer {
        listens_unix: vec!["/run/php/php8.2-fpm.sock".into()],
        ..known("php-fpm", "/usr/sbin/php-fpm8.2", "php8.2-fpm.service")
    }
}

fn stopped(known: KnownServer, words: Vec<LifeLine>) -> Stopped {
    Stopped { known, since: at(-30), served_s: 5000, words, edited: Vec::new(), out_of_memory: false }
}

fn said(second: i64, word: LifeWord, text: &str) -> LifeLine {
    LifeLine { at: at(second), word, text: text.into(), source: "/var/log/syslog".into() }
}

fn mistyped() -> LifeWord {
    LifeWord::Complaint { file: Some("/etc/apache2/sites-enabled/ssl.conf".into()), line: Some(5) }
}

fn situation(failures: Failures) -> Situation {
    Situation { at: at(0), from: at(-120), failures, ..Situation::default() }
}

/// What is found: cause, verdict and culprits of each.
fn found(situation: &Situation) -> Vec<(String, Verdict, Vec<String>)> {
    let diagnosis = diagnose(situation);
    assert_eq!(diagnose(situation), diagnosis, "a replay is exact");
    for finding in &diagnosis.findings {
        assert!(!finding.summary.en.is_empty() && finding.summary.en != finding.summary.ja, "{finding:#?}");
        assert!(!finding.advice.is_empty() || !finding.remedies.is_empty(), "{finding:#?}");
    }
    let culprits = |finding: &Finding| finding.culprits.iter().map(|culprit| culprit.value.clone()).collect();
    diagnosis.findings.iter().map(|f| (f.cause.clone(), f.verdict, culprits(f))).collect()
}

#[track_caller]
fn check(situation: &Situation, expected: &[(&str, Verdict, &[&str])]) {
    let found = found(situation);
    let found: Vec<(&str, Verdict, Vec<&str>)> =
        found.iter().map(|(c, v, who)| (c.as_str(), *v, who.iter().map(String::as_str).collect())).collect();
    let expected: Vec<(&str, Verdict, Vec<&str>)> =
        expected.iter().map(|(c, v, who)| (*c, *v, who.to_vec())).collect();
    assert_eq!(found, expected);
}

use Verdict::{Incident, Watch};

#[test]
fn a_quiet_host_has_nothing() {
    let certificates = vec![certificate(80)];
    let resolution = Resolution {
        resolvers: vec![resolver("10.0.0.53", Asked::Answered(3), 1)],
        answered_before: true,
        ..Resolution::default()
    };
    check(&situation(Failures { certificates, resolution, ..Failures::default() }), &[]);
}

#[test]
fn down_for_no_reason_that_is_known() {
    let words = vec![said(-30, LifeWord::Failed, "Main process exited, code=killed, status=9/KILL")];
    let failures = Failures { stopped: vec![stopped(apache(), words)], ..Failures::default() };
    check(&situation(failures.clone()), &[("service-down", Incident, &["apache2.service"])]);
    let finding = &diagnose(&situation(failures)).findings[0];
    assert_eq!(finding.culprits[0].kind, CulpritKind::Unit);
    assert_eq!(finding.since, at(-30));
    assert!(finding.evidence.iter().any(|e| e.what == "last-words" && e.text.en.contains("status=9/KILL")));
    assert!(finding.advice.iter().any(|advice| advice.en.contains("systemctl start apache2.service")));
}

#[test]
fn a_mistyped_line_is_named_and_the_server_is_its_effect() {
    let words = vec![
        said(-31, LifeWord::Stopped, "AH00169: caught SIGTERM, shutting down"),
        said(-30, mistyped(), "AH00526: Syntax error on line 5 of …: Invalid command 'SSLCertficateFile'"),
        said(-30, LifeWord::Failed, "apache2.service: Failed with result 'exit-code'."),
    ];
    let mut gone = stopped(apache(), words);
    gone.edited = vec![Edited { path: "/etc/apache2/sites-available/ssl.conf".into(), at: at(-40) }];
    let failures =
        Failures { stopped: vec![gone.clone()], certificates: vec![certificate(1)], ..Failures::default() };
    check(
        &situation(failures.clone()),
        &[
            ("config-error", Incident, &["/etc/apache2/sites-enabled/ssl.conf:5"]),
            ("certificate-expiry", Watch, &["/etc/ssl/site.pem"]),
        ],
    );
    let finding = &diagnose(&situation(failures)).findings[0];
    assert_eq!(finding.effects[0].what, "service-down");
    assert!(finding.advice[0].en.contains("apachectl -t"));
    // It has been started since, and ended later for another reason.
    gone.words.push(said(-10, LifeWord::Started, "resuming normal operations"));
    gone.words.push(said(-5, LifeWord::Failed, "code=killed, status=11/SEGV"));
    gone.edited.clear();
    let failures = Failures { stopped: vec![gone], ..Failures::default() };
    check(&situation(failures), &[("service-down", Incident, &["apache2.service"])]);
}

#[test]
fn a_change_right_before_the_end_where_nobody_wrote_down_why() {
    let mut gone = stopped(apache(), vec![said(-30, LifeWord::Stopped, "caught SIGTERM, shutting down")]);
    let edit = |second| Edited { path: "/etc/apache2/sites-available/shop.conf".into(), at: at(second) };
    gone.edited = vec![edit(-45)];
    let failures = Failures { stopped: vec![gone.clone()], ..Failures::default() };
    check(&situation(failures), &[("config-error", Incident, &["/etc/apache2/sites-available/shop.conf"])]);
    gone.edited = vec![edit(-9000)];
    let failures = Failures { stopped: vec![gone.clone()], ..Failures::default() };
    check(&situation(failures), &[("service-down", Incident, &["apache2.service"])]);
    // It was started with that file and served: the change is no reason to be gone.
    gone.words.insert(0, said(-40, LifeWord::Started, "resuming normal operations"));
    gone.edited = vec![edit(-45)];
    let failures = Failures { stopped: vec![gone.clone()], ..Failures::default() };
    check(&situation(failures), &[("service-down", Incident, &["apache2.service"])]);
    gone.words.remove(0);
    // The kernel killed it: the change is an accident.
    gone.edited = vec![edit(-45)];
    gone.out_of_memory = true;
    let failures = Failures { stopped: vec![gone], ..Failures::default() };
    check(&situation(failures), &[("service-down", Incident, &["apache2.service"])]);
}

#[test]
fn it_runs_and_would_not_start_again() {
    let broken = Misconfigured {
        known: apache(),
        complaint: said(-60, mistyped(), "AH00526: Syntax error"),
        edited: vec![Edited { path: "/etc/apache2/sites-available/ssl.conf".into(), at: at(-70) }],
    };
    let failures = Failures { misconfigured: vec![broken], ..Failures::default() };
    check(&situation(failures), &[("config-error", Watch, &["/etc/apache2/sites-enabled/ssl.conf:5"])]);
}

fn refused(code: &str, count: u32) -> ErrorClass {
    ErrorClass {
        service: "apache".into(),
        code: code.into(),
        count,
        usual: 0.0,
        first: at(-25),
        last: at(-1),
    }
}

fn socket_gone(refused: u32) -> UpstreamGone {
    UpstreamGone {
        name: "/run/php/php8.2-fpm.sock".into(),
        of: "apache".into(),
        since: at(-25),
        refused,
        listened: true,
    }
}

#[test]
fn what_requests_are_handed_on_to_is_named_and_not_who_misses_it() {
    let gone = stopped(php(), vec![said(-30, LifeWord::Stopped, "exiting, bye-bye!")]);
    let failures =
        Failures { stopped: vec![gone.clone()], upstreams: vec![socket_gone(40)], ..Failures::default() };
    let mut missed = situation(failures);
    missed.errors = vec![refused("AH01079", 40)];
    check(&missed, &[("dependency-down", Incident, &["/run/php/php8.2-fpm.sock"])]);
    assert!(diagnose(&missed).findings[0].summary.en.contains("php8.2-fpm.service"));
    // Nobody has asked for it yet.
    let failures = Failures { upstreams: vec![socket_gone(0)], ..Failures::default() };
    check(&situation(failures), &[("dependency-down", Watch, &["/run/php/php8.2-fpm.sock"])]);
    // It cannot read its configuration: that comes first.
    let file = Some("/etc/php/8.2/fpm/pool.d/www.conf".into());
    let mut broken = gone;
    broken.words = vec![said(-30, LifeWord::Complaint { file, line: Some(23) }, "unknown entry")];
    let failures =
        Failures { stopped: vec![broken], upstreams: vec![socket_gone(40)], ..Failures::default() };
    check(&situation(failures), &[("config-error", Incident, &["/etc/php/8.2/fpm/pool.d/www.conf:23"])]);
}

#[test]
fn a_database_that_pages_miss() {
    let database = KnownServer {
        listens: vec!["127.0.0.1:3306".parse().unwrap()],
        ..known("mariadbd", "/usr/sbin/mariadbd", "mariadb.service")
    };
    let gone = stopped(database, vec![said(-30, LifeWord::Failed, "mariadbd got signal 11")]);
    let failures = Failures { stopped: vec![gone], ..Failures::default() };
    check(&situation(failures.clone()), &[("service-down", Incident, &["mariadb.service"])]);
    let mut missed = situation(failures);
    missed.errors = vec![refused("database-refused", 12)];
    check(&missed, &[("dependency-down", Incident, &["127.0.0.1:3306"])]);
}

fn hung(states: [u32; 4], queue: u32, waits_in: &str) -> Hung {
    Hung {
        service: "app".into(),
        master: ProcessId { pid: 7, start_ticks: 1 },
        since: at(-20),
        queue,
        states,
        waits_in: Some(waits_in.into()),
    }
}

#[test]
fn a_server_that_answers_nobody() {
    let of = |hung: Hung| situation(Failures { hung: vec![hung], ..Failures::default() });
    check(&of(hung([4, 0, 0, 0], 9, "do_signal_stop")), &[("service-hung", Incident, &["app"])]);
    check(&of(hung([0, 3, 1, 0], 9, "folio_wait_bit_common")), &[("service-hung", Incident, &["app"])]);
    check(&of(hung([0, 0, 4, 0], 9, "futex_wait_queue")), &[("service-hung", Incident, &["app"])]);
    // It waits for somebody else: that is not clear from here.
    check(&of(hung([0, 0, 4, 0], 9, "poll_schedule_timeout")), &[]);
}

fn resolver(address: &str, asked: Asked, waiting: u32) -> ResolverLook {
    ResolverLook { address: address.parse().unwrap(), asked, waiting }
}

#[test]
fn name_servers_that_do_not_answer() {
    let of = |resolution: Resolution| situation(Failures { resolution, ..Failures::default() });
    let silent = |looks, answered_before, said, waiting| Resolution {
        resolvers: vec![resolver("10.0.0.53", Asked::Silent, waiting)],
        silent: Some((at(-60), looks)),
        answered_before,
        said,
    };
    let named: &[(&str, Verdict, &[&str])] = &[("dns-failure", Incident, &["10.0.0.53"])];
    check(&of(silent(3, true, 0, 0)), named);
    check(&of(silent(1, false, 4, 0)), named);
    check(&of(silent(1, false, 0, 2)), named);
    check(&of(silent(1, true, 0, 0)), &[]);
    // A host that never had one, and that nobody misses.
    check(&of(silent(9, false, 0, 0)), &[]);
    let second_answers = Resolution {
        resolvers: vec![
            resolver("10.0.0.53", Asked::Silent, 1),
            resolver("10.0.0.54", Asked::Answered(2), 0),
        ],
        answered_before: true,
        ..Resolution::default()
    };
    check(&of(second_answers), &[("dns-failure", Watch, &["10.0.0.53"])]);
    // The network is cut: names are the smallest trouble.
    let mut cut = of(silent(3, true, 9, 9));
    cut.failures.network = vec![NetworkTrouble {
        interface: "eth0".into(),
        trouble: Trouble::GatewaySilent("10.0.0.1".parse().unwrap()),
        since: at(-60),
    }];
    check(&cut, &[("network-loss", Incident, &["10.0.0.1"])]);
}

#[test]
fn links() {
    let of = |trouble| {
        let trouble = NetworkTrouble { interface: "eno1".into(), trouble, since: at(-60) };
        situation(Failures { network: vec![trouble], ..Failures::default() })
    };
    check(&of(Trouble::NoCarrier), &[("network-loss", Incident, &["eno1"])]);
    check(&of(Trouble::Flaps(5)), &[("network-loss", Watch, &["eno1"])]);
}

fn certificate(days: i64) -> Certificate {
    Certificate {
        path: "/etc/ssl/site.pem".into(),
        services: vec!["apache".into()],
        name: "www.example.jp".into(),
        not_before: at(-86_400 * 60),
        not_after: at(86_400 * days),
    }
}

#[test]
fn certificates() {
    let of = |days| situation(Failures { certificates: vec![certificate(days)], ..Failures::default() });
    let path: &[&str] = &["/etc/ssl/site.pem"];
    check(&of(15), &[]);
    check(&of(13), &[("certificate-expiry", Watch, path)]);
    check(&of(0), &[("certificate-expiry", Incident, path)]);
    check(&of(-3), &[("certificate-expiry", Incident, path)]);
    assert!(diagnose(&of(-3)).findings[0].summary.en.contains("3 days ago"));
}

fn kernel(word: KernelWord, count: u32, second: i64) -> Situation {
    let mut situation = situation(Failures::default());
    situation.kernel.said = vec![KernelSaid { word, first: at(second - 5), last: at(second), count }];
    situation
}

#[test]
fn failing_hardware() {
    let disk = |device: &str| KernelWord::IoError { device: device.into() };
    check(&kernel(disk("sda"), 7, -20), &[("hardware-error", Incident, &["sda"])]);
    check(&kernel(disk("sr0"), 7, -20), &[]);
    check(&kernel(disk("sda"), 7, -3000), &[]);
    check(&kernel(KernelWord::ReadOnly, 1, -3000), &[("hardware-error", Incident, &["file system"])]);
    check(&kernel(KernelWord::MemoryCorrected, 1, -20), &[]);
    check(&kernel(KernelWord::MemoryCorrected, 40, -20), &[("hardware-error", Watch, &["memory"])]);
    // A program that crashes is no hardware.
    check(&kernel(KernelWord::Segfault { comm: "php".into(), pid: 7 }, 9, -20), &[]);
}

#[test]
fn what_the_kernel_said_is_told_beside_what_is_named() {
    let mut both = kernel(KernelWord::ConntrackFull, 3, -20);
    both.failures.certificates = vec![certificate(1)];
    let finding = &diagnose(&both).findings[0];
    let said = finding.evidence.iter().find(|e| e.what == "kernel-word").unwrap();
    assert_eq!(said.value, at(-20).as_secs_f64());
    assert!(said.text.en.contains("dropped") && said.text.ja.contains("破棄"));
    let words = crate::kernel_words(&kernel(KernelWord::ConntrackFull, 3, -20));
    assert_eq!(words.len(), 1);
    assert_eq!(crate::kernel_words(&kernel(KernelWord::ConntrackFull, 3, -900)), [], "before the window");
    let long_ago = at(0) - Duration::from_secs(900);
    assert!(long_ago < both.from);
}
