//! A pool of children behind the web server: stuck at what they ask, or merely too few.

use toban_model::{
    Prefix, ProcessId, ResourceUse, ServerView, Service, ServiceKind, Situation, Supervisor, Vital,
    VitalState, Waiting, Worker,
};

use super::{LB, LIMIT, Mix, balanced, closed, holder, ip, live, quiet};
use crate::diagnose;
use toban_model::{Rate, Via};

const DATABASE: &str = "/run/mysqld/mysqld.sock";
const CHILDREN: u32 = 8;

/// The same with a full pool behind it, whose children have been held for so long and ask this.
fn with_pool(mix: Mix, held_ms: u64, asks: Option<&str>) -> Situation {
    let mut situation = closed(mix);
    let since = situation.from;
    situation.host.services.push(Service {
        id: "php-fpm".into(),
        kind: ServiceKind::PhpFpm,
        master: ProcessId { pid: 50, start_ticks: 1 },
        pids: vec![50],
        exe: "/usr/sbin/php-fpm8.2".into(),
        listens: Vec::new(),
        listens_unix: vec!["/run/php/php8.2-fpm.sock".into()],
        worker_limit: Some(CHILDREN),
        worker_limit_from: Some("pm.max_children in /etc/php/8.2/fpm/pool.d/www.conf".into()),
        trusted_proxies: Vec::<Prefix>::new(),
        backends: Vec::new(),
        logs: Vec::new(),
        config: Vec::new(),
        supervisor: Supervisor::CommandLine,
        one_connection_per_process: true,
    });
    let child = |n: u32| Worker {
        process: ProcessId { pid: 60 + n, start_ticks: 1 },
        peer: None,
        port: None,
        held_ms: Some(held_ms),
        waiting: Waiting::Backend,
        method: None,
        path: None,
        rss_bytes: 12_000_000,
        asks: asks.map(Into::into),
    };
    situation.servers.push(ServerView {
        service: "php-fpm".into(),
        at: situation.at,
        workers: (0..CHILDREN).map(child).collect(),
        busy: CHILDREN,
        limit: Some(CHILDREN),
        queue: Vec::new(),
        queue_len: 40,
        queue_limit: 511,
    });
    situation.resources.push(ResourceUse {
        name: "php-fpm.workers".into(),
        used: f64::from(CHILDREN),
        limit: Some(f64::from(CHILDREN)),
        usual: Some([0.0, 4.0]),
        exhausted_since: Some(since),
        limit_from: None,
    });
    for (name, value) in [("cpu.busy", 20.0), ("memory.used", 30.0)] {
        let unit = "%".to_owned();
        let state = VitalState::Usual;
        situation.vitals.push(Vital { name: name.into(), value, unit, usual: None, state, since: None });
    }
    situation
}

/// Sixty people behind a balancer whose pages take a third of a second; all workers wait.
fn waiting() -> Mix {
    let mut mix = quiet(Some(ip(LB)));
    for usual in mix.usual.iter_mut().filter(|usual| &*usual.path == "/") {
        usual.held_s = f64::from(usual.requests) * 0.33;
    }
    for now in mix.now.iter_mut().filter(|now| &*now.path == "/") {
        now.held_s = f64::from(now.requests) * 1.9;
    }
    mix.live = balanced(LIMIT, ("GET", "/"));
    mix.requests = Rate { now: 20.0, usual: 18.0 };
    mix.busy = LIMIT;
    mix
}

fn named(situation: &Situation) -> Vec<(String, Vec<String>)> {
    let values = |culprits: &[toban_model::Culprit]| culprits.iter().map(|c| c.value.clone()).collect();
    let findings = diagnose(situation).findings;
    findings.iter().map(|finding| (finding.cause.clone(), values(&finding.culprits))).collect()
}

#[test]
fn children_that_are_stuck_name_what_they_ask() {
    let all = named(&with_pool(waiting(), 6000, Some(DATABASE)));
    assert_eq!(all, [("slow-backend".to_owned(), vec![DATABASE.to_owned()])]);
    // What they wait for is not known: the pool itself is slow, and nothing behind it is blamed.
    let all = named(&with_pool(waiting(), 6000, None));
    assert_eq!(all, [("slow-backend".to_owned(), vec![])]);
}

#[test]
fn children_that_do_usual_pages_are_too_few() {
    let situation = with_pool(waiting(), 150, Some(DATABASE));
    assert_eq!(named(&situation), [("worker-limit".to_owned(), vec!["php-fpm".to_owned()])]);
    // More of them would not be faster where the processors or the memory are short.
    for (name, value) in [("cpu.busy", 97.0), ("memory.used", 98.5)] {
        let mut situation = situation.clone();
        situation.vitals.iter_mut().filter(|v| v.name == name).for_each(|v| v.value = value);
        assert!(named(&situation).iter().all(|(cause, _)| cause != "worker-limit"), "{name}");
    }
    // A burst that is over at once: nobody waited.
    let mut burst = situation.clone();
    burst.servers.iter_mut().for_each(|view| view.queue_len = view.queue_len.min(1));
    assert!(named(&burst).iter().all(|(cause, _)| cause != "worker-limit"));
    let mut quick = situation.clone();
    quick.traffic[0].now = quick.traffic[0].usual.clone();
    assert!(named(&quick).iter().all(|(cause, _)| cause != "worker-limit"));
    // A crowd is a crowd, however many children there are, also when few of it have been answered.
    for (requests, clients) in [(60.0, 500.0), (110.0, 95.0)] {
        let mut crowd = waiting();
        crowd.requests = Rate { now: requests, usual: 18.0 };
        crowd.clients = Rate { now: clients, usual: 50.0 };
        assert_eq!(named(&with_pool(crowd, 150, None))[0].0, "flash-crowd");
    }
}

#[test]
fn a_flood_beside_a_stuck_database_is_told_by_what_dominates_and_both_are_named() {
    for (flooders, first, second) in [(48, "http-flood", "slow-backend"), (15, "slow-backend", "http-flood")]
    {
        let mut mix = waiting();
        mix.live = live("198.51.100", 3, flooders, Via::Direct, ("POST", "/search"));
        mix.live.extend(balanced(LIMIT - flooders, ("GET", "/")));
        let all = named(&with_pool(mix, 6000, Some(DATABASE)));
        let causes: Vec<&str> = all.iter().map(|(cause, _)| cause.as_str()).collect();
        assert_eq!(causes, [first, second], "{flooders}");
        let flood = all.iter().find(|(cause, _)| cause == "http-flood").unwrap();
        assert_eq!(flood.1, ["198.51.100.0/24"]);
    }
}

#[test]
fn a_flood_beside_a_crowd_is_told_by_what_dominates_and_both_are_named() {
    for (flooders, first, second) in [(48, "http-flood", "flash-crowd"), (13, "flash-crowd", "http-flood")] {
        let mut mix = quiet(Some(ip(LB)));
        mix.live = live("198.51.100", 3, flooders, Via::Direct, ("POST", "/search"));
        mix.live.extend(balanced(LIMIT - flooders, ("GET", "/sale")));
        mix.now = (0..640u32)
            .map(|i| {
                let client = format!("198.18.{}.{}", i / 200, i % 200);
                holder(&client, (Via::Balancer, Some(ip(LB))), ("GET", "/sale"), 2, 1.4)
            })
            .collect();
        mix.requests = Rate { now: 48.0, usual: 14.5 };
        mix.clients = Rate { now: 644.0, usual: 48.0 };
        mix.busy = LIMIT;
        let all = named(&closed(mix));
        let causes: Vec<&str> = all.iter().map(|(cause, _)| cause.as_str()).collect();
        assert_eq!(causes, [first, second], "{flooders}");
    }
}

#[test]
fn workers_that_the_kernel_has_just_killed_count_by_its_own_table() {
    const MB: u64 = 1 << 20;
    let apache = |situation: &mut Situation| {
        let mut service = situation.host.services[0].clone();
        (service.id, service.kind) = ("apache".into(), ServiceKind::Apache);
        service.exe = "/usr/sbin/apache2".into();
        service.worker_limit_from = Some("MaxRequestWorkers in mpm_prefork.conf".into());
        situation.host.services = vec![service];
        situation.servers.retain(|view| view.service == "apache");
    };
    let reported = |processes: u32, each: u64| {
        let mut mix = quiet(None);
        mix.live = vec![holder("192.0.2.1", (Via::None, None), ("GET", "/"), 1, 0.2)];
        mix.oom = 20;
        let mut situation = with_pool(mix, 150, None);
        apache(&mut situation);
        situation.kernel.reports = vec![toban_model::OomReport {
            at: situation.at,
            asked_by: "apache2".into(),
            memcg: None,
            limit_bytes: None,
            victim: "apache2".into(),
            largest: vec![("apache2".into(), processes, u64::from(processes) * each)],
        }];
        diagnose(&situation).findings.remove(0)
    };
    // Of 4 GiB.
    let finding = reported(LIMIT - 2, 100 * MB);
    assert_eq!(finding.cause, "worker-limit");
    let advice = |finding: &toban_model::Finding| format!("{finding:#?}");
    assert!(advice(&finding).contains("lower the limit to 32 (MaxRequestWorkers"), "{finding:#?}");
    assert_ne!(reported(LIMIT - 2, 30 * MB).cause, "worker-limit", "they have room");
    assert_ne!(reported(2, 2000 * MB).cause, "worker-limit", "two that grew are no matter of their number");
}
