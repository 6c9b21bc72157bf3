//! Servers that fall and servers that are restarted, beside each other.

use toban_model::{Edited, GatewayLook, LifeLine, LinkLook, ProcessId, ServiceKind, Supervisor, Upstream};

use super::*;

const BEGIN: i64 = 1_700_000_000;

fn at(second: i64) -> Time {
    Time::from_secs(BEGIN + second)
}

fn boot() -> Time {
    at(-86_400)
}

fn apache(enabled: Option<bool>) -> KnownServer {
    KnownServer {
        service: "apache".into(),
        kind: ServiceKind::Apache,
        exe: "/usr/sbin/apache2".into(),
        supervisor: Supervisor::Systemd("apache2.service".into()),
        enabled,
        listens: vec!["0.0.0.0:80".parse().unwrap()],
        listens_unix: Vec::new(),
        config: vec!["/etc/apache2/apache2.conf".into()],
        logs: Vec::new(),
        backends: Vec::new(),
    }
}

fn said(second: i64, word: LifeWord) -> LifeLine {
    LifeLine { at: at(second), word, text: "words".into(), source: "/var/log/syslog".into() }
}

fn look(second: i64, known: KnownServer, running: Option<Time>, words: Vec<LifeLine>) -> Inspection {
    let servers = vec![ServerLook { known, running_since: running, words, edited: Vec::new() }];
    Inspection { at: at(second), servers, ..Inspection::default() }
}

fn stopped(standing: &Standing, second: i64) -> Vec<Stopped> {
    standing.close(at(second), boot(), &KernelNews::default(), &[], |_| false).stopped
}

/// Twenty minutes of service.
fn served(enabled: Option<bool>) -> Standing {
    let mut standing = Standing::default();
    for second in (0..1200).step_by(10) {
        standing.inspect(look(second, apache(enabled), Some(boot()), Vec::new()));
    }
    standing
}

#[test]
fn what_served_and_is_gone_is_down_and_a_restart_is_not() {
    let mut standing = served(Some(true));
    assert_eq!(stopped(&standing, 1195), []);
    assert_eq!(standing.missing(), []);
    standing.inspect(look(1200, apache(Some(true)), None, Vec::new()));
    assert_eq!(standing.missing().len(), 1);
    assert_eq!(stopped(&standing, 1203), [], "a restart takes seconds");
    let mut restarted = standing.clone();
    restarted.inspect(look(1204, apache(Some(true)), Some(at(1203)), Vec::new()));
    assert_eq!(stopped(&restarted, 1210), []);
    standing.inspect(look(1208, apache(Some(true)), None, vec![said(1199, LifeWord::Failed)]));
    let down = stopped(&standing, 1209);
    assert_eq!(down.len(), 1);
    assert_eq!((down[0].since, down[0].served_s), (at(1199), 1190));
    // While packages are exchanged it may take minutes.
    let mut upgraded = standing.clone();
    let mut gone = look(1210, apache(Some(true)), None, Vec::new());
    gone.maintenance = true;
    upgraded.inspect(gone);
    assert_eq!(stopped(&upgraded, 1210), []);
    // Nothing is told by a look that is long past.
    assert_eq!(stopped(&standing, 1300), []);
}

#[test]
fn what_nobody_wants_to_run_is_not_down() {
    let mut standing = served(Some(true));
    standing.inspect(look(1210, apache(Some(false)), None, vec![said(1205, LifeWord::Stopped)]));
    assert_eq!(stopped(&standing, 1230), [], "stopped and disabled");
    let mut standing = served(None);
    standing.inspect(look(1210, apache(None), None, Vec::new()));
    standing.inspect(look(1220, apache(None), None, Vec::new()));
    assert_eq!(stopped(&standing, 1230), [], "started by hand, and ended without a word");
    standing.inspect(look(1230, apache(None), None, vec![said(1205, LifeWord::Failed)]));
    assert_eq!(stopped(&standing, 1230).len(), 1, "it served for long and ended with an error");
}

#[test]
fn known_from_files_alone() {
    let of = |enabled, words| {
        let mut standing = Standing::default();
        standing.inspect(look(0, apache(enabled), None, words));
        stopped(&standing, 1).len()
    };
    let died = || vec![said(-500, LifeWord::Started), said(-60, LifeWord::Stopped)];
    assert_eq!(of(Some(true), died()), 1);
    assert_eq!(of(Some(false), died()), 0);
    assert_eq!(of(None, died()), 0);
    assert_eq!(of(Some(true), Vec::new()), 0, "installed, and never started");
    assert_eq!(of(Some(true), vec![said(-90_000, LifeWord::Stopped)]), 0, "in an earlier boot");
    assert_eq!(of(Some(true), vec![said(-2, LifeWord::Stopped)]), 0, "this may be a restart");
}

#[test]
fn a_restart_of_toban_forgets_nothing() {
    let standing = served(Some(true));
    let bytes = serde_json::to_vec(&standing).unwrap();
    let mut standing: Standing = serde_json::from_slice(&bytes).unwrap();
    standing.inspect(look(4000, apache(Some(true)), None, Vec::new()));
    let down = stopped(&standing, 4001);
    assert_eq!(down.len(), 1);
    assert_eq!(down[0].since, at(1190), "gone since it was seen last");
}

#[test]
fn killed_for_memory() {
    let mut standing = served(Some(true));
    standing.inspect(look(1200, apache(Some(true)), None, Vec::new()));
    let kill = OomKill { at: at(1197), pid: 7, comm: "apache2".into(), anon_rss_bytes: 1, cgroup: false };
    let kernel = KernelNews { oom: vec![kill], ..KernelNews::default() };
    let failures = standing.close(at(1210), boot(), &kernel, &[], |_| false);
    assert!(failures.stopped[0].out_of_memory);
}

#[test]
fn the_next_start_would_fail() {
    let complaint = || {
        let file = Some("/etc/apache2/sites-enabled/x.conf".into());
        said(100, LifeWord::Complaint { file, line: Some(3) })
    };
    let edited = |second| Edited { path: "/etc/apache2/sites-available/x.conf".into(), at: at(second) };
    let of = |words: Vec<LifeLine>, edited: Vec<Edited>| {
        let mut standing = Standing::default();
        let mut inspection = look(200, apache(Some(true)), Some(at(0)), words);
        inspection.servers[0].edited = edited;
        standing.inspect(inspection);
        let failures = standing.close(at(200), boot(), &KernelNews::default(), &[], |_| false);
        failures.misconfigured.len()
    };
    assert_eq!(of(vec![complaint()], vec![edited(95)]), 1);
    assert_eq!(of(vec![complaint()], vec![edited(150)]), 0, "mended since");
    assert_eq!(of(vec![complaint(), said(120, LifeWord::Started)], vec![edited(95)]), 0, "it started since");
    assert_eq!(of(vec![complaint()], vec![edited(-50)]), 0, "it started with it");
}

fn pulse(queue: u32, ticks: u64, states: [u32; 4]) -> Pulse {
    Pulse {
        service: "app".into(),
        master: ProcessId { pid: 7, start_ticks: 1 },
        lives: true,
        queue,
        cpu_ticks: ticks,
        states,
        waits_in: None,
    }
}

#[test]
fn a_server_that_takes_nothing() {
    let of = |pulses: &[Pulse], full: bool| {
        let mut standing = Standing::default();
        standing.inspect(Inspection { at: at(0), ..Inspection::default() });
        for (second, pulse) in (0..).zip(pulses) {
            standing.pulse(at(second), vec![pulse.clone()]);
        }
        let at = at(pulses.len() as i64 - 1);
        standing.close(at, boot(), &KernelNews::default(), &[], |_| full).hung.len()
    };
    let halted = pulse(0, 50, [3, 0, 0, 0]);
    assert_eq!(of(std::slice::from_ref(&halted), false), 0, "one look is none");
    assert_eq!(of(&vec![halted.clone(); 2], false), 1);
    let asleep = pulse(4, 50, [0, 0, 3, 0]);
    assert_eq!(of(&vec![asleep.clone(); 8], false), 0);
    assert_eq!(of(&vec![asleep.clone(); 12], false), 1);
    assert_eq!(of(&vec![asleep.clone(); 12], true), 0, "full is another matter");
    let working: Vec<Pulse> = (0..12).map(|n| pulse(4, 50 + n, [0, 0, 3, 0])).collect();
    assert_eq!(of(&working, false), 0);
    let draining: Vec<Pulse> =
        (0..12).map(|n| pulse(if n % 4 == 3 { 2 } else { 4 }, 50, [0, 0, 3, 0])).collect();
    assert_eq!(of(&draining, false), 0);
    assert_eq!(of(&vec![pulse(0, 50, [0, 0, 3, 0]); 20], false), 0, "idle");
}

#[test]
fn places_that_nobody_listens_at() {
    let place = |second, listens| Inspection {
        at: at(second),
        upstreams: vec![Upstream { name: "/run/php.sock".into(), of: "apache".into(), listens }],
        ..Inspection::default()
    };
    let refused = |count| ErrorClass {
        service: "apache".into(),
        code: "AH01079".into(),
        count,
        usual: 0.0,
        first: at(3),
        last: at(5),
    };
    let gone = |standing: &Standing, second, errors: &[ErrorClass]| {
        standing.close(at(second), boot(), &KernelNews::default(), errors, |_| false).upstreams
    };
    // Configured and never used.
    let mut standing = Standing::default();
    standing.inspect(place(0, false));
    assert_eq!(gone(&standing, 20, &[refused(4)]), [], "one look may fall into a restart");
    standing.inspect(place(2, false));
    assert_eq!(gone(&standing, 20, &[]), []);
    assert_eq!(gone(&standing, 20, &[refused(4)])[0].refused, 4);
    // It listened before.
    let mut standing = Standing::default();
    standing.inspect(place(0, true));
    standing.inspect(place(10, false));
    assert_eq!(gone(&standing, 12, &[]), [], "a restart");
    standing.inspect(place(12, false));
    assert_eq!(gone(&standing, 14, &[refused(4)]), [], "refused in a restart");
    let mut own = standing.clone();
    own.own_work(at(16));
    assert_eq!(gone(&own, 18, &[refused(4)]), [], "toban restarts it");
    assert_eq!(gone(&own, 23, &[refused(4)]).len(), 1, "and it has not come back");
    let missed = gone(&standing, 18, &[]);
    assert_eq!((missed.len(), missed[0].listened, missed[0].refused), (1, true, 0));
    standing.inspect(place(20, true));
    assert_eq!(gone(&standing, 22, &[refused(4)]), []);
}

#[test]
fn links_and_gateways() {
    let network = |second, carrier, changes, answers| Inspection {
        at: at(second),
        links: vec![LinkLook {
            interface: "eth0".into(),
            default_route: false,
            carrier,
            changes,
            hardware: true,
        }],
        gateways: vec![GatewayLook {
            address: "10.0.0.1".parse().unwrap(),
            interface: "eth0".into(),
            answers,
        }],
        ..Inspection::default()
    };
    let troubles = |looks: Vec<Inspection>| {
        let mut standing = Standing::default();
        let last = looks.last().unwrap().at;
        looks.into_iter().for_each(|look| standing.inspect(look));
        let failures = standing.close(last, boot(), &KernelNews::default(), &[], |_| false);
        failures.network.into_iter().map(|trouble| trouble.trouble).collect::<Vec<_>>()
    };
    assert_eq!(troubles(vec![network(0, true, 1, true)]), []);
    assert_eq!(troubles(vec![network(0, false, 1, true)]), [], "a port that never had a cable");
    assert_eq!(troubles(vec![network(0, true, 1, true), network(10, false, 2, true)]), [Trouble::NoCarrier]);
    assert_eq!(troubles(vec![network(0, true, 1, false)]), [], "it is being asked for the first time");
    let gateway = "10.0.0.1".parse().unwrap();
    assert_eq!(
        troubles(vec![network(0, true, 1, false), network(2, true, 1, false)]),
        [Trouble::GatewaySilent(gateway)]
    );
    assert_eq!(troubles(vec![network(0, true, 1, true), network(60, true, 9, true)]), [Trouble::Flaps(4)]);
}
