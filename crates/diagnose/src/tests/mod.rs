//! Situations made of numbers, each with the one answer that is right; the look-alikes beside each other.

mod backends;
mod failures;
mod processes;
mod strangers;

use std::net::IpAddr;

use toban_model::{
    Client, Host, OomKill, Rate, ResourceUse, ServerView, Side, Situation, Symptom, SymptomKind, Text, Time,
    Traffic, Verdict, Via, Waiting, Worker,
};
use toban_model::{Holder, ProcessId};

use crate::diagnose;

const LIMIT: u32 = 60;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Who sends what, and how it stands now.
struct Mix {
    at: Time,
    balancer: Option<IpAddr>,
    usual: Vec<Holder>,
    now: Vec<Holder>,
    live: Vec<Holder>,
    waiting: Waiting,
    requests: Rate,
    clients: Rate,
    oom: u32,
    busy: u32,
}

fn holder(
    client: &str,
    via: (Via, Option<IpAddr>),
    request: (&str, &str),
    requests: u32,
    held_s: f64,
) -> Holder {
    Holder {
        client: Client { address: ip(client), peer: via.1.unwrap_or(ip(client)), via: via.0 },
        method: request.0.into(),
        path: request.1.into(),
        agent: "".into(),
        requests,
        ok: requests,
        server_errors: 0,
        held_s,
    }
}

/// Sixty people who read pages; behind a balancer if there is one.
fn quiet(balancer: Option<IpAddr>) -> Mix {
    let via = balancer.map_or((Via::None, None), |b| (Via::Balancer, Some(b)));
    let mut usual = Vec::new();
    for i in 0..60 {
        let client = format!("192.0.2.{i}");
        usual.push(holder(&client, via, ("GET", "/"), 20, 0.6));
        usual.push(holder(&client, via, ("GET", "/style.css"), 40, 0.04));
        usual.push(holder(&client, via, ("POST", "/contact"), 1, 0.05));
    }
    Mix {
        at: Time::from_secs(1_700_000_000),
        balancer,
        now: usual
            .iter()
            .map(|h| Holder { requests: 1, ok: 1, held_s: h.held_s / 20.0, ..h.clone() })
            .collect(),
        usual,
        live: Vec::new(),
        waiting: Waiting::Backend,
        requests: Rate { now: 18.0, usual: 18.0 },
        clients: Rate { now: 50.0, usual: 50.0 },
        oom: 0,
        busy: 3,
    }
}

fn closed(mix: Mix) -> Situation {
    let full = mix.busy >= LIMIT;
    let since = mix.at - std::time::Duration::from_secs(8);
    let workers = mix
        .live
        .iter()
        .enumerate()
        .map(|(i, h)| Worker {
            process: ProcessId { pid: 100 + i as u32, start_ticks: 1 },
            peer: Some((h.client.peer, 40_000).into()),
            port: Some(80),
            held_ms: Some(5000),
            waiting: mix.waiting,
            method: None,
            path: None,
            rss_bytes: 8_000_000,
            asks: None,
        })
        .collect();
    let mut symptoms = Vec::new();
    let mut symptom = |kind, what: &str| {
        symptoms.push(Symptom {
            kind,
            what: what.into(),
            text: Text::fixed("en", "ja"),
            value: 1.0,
            usual: None,
            since,
        });
    };
    if full {
        symptom(SymptomKind::Exhausted, "apache.workers");
    }
    if mix.oom > 0 {
        symptom(SymptomKind::OomKill, "apache2");
    }
    let mut situation = Situation {
        at: mix.at,
        from: since,
        host: Host {
            name: "web1".into(),
            cores: 2,
            memory_bytes: 4 << 30,
            own: vec![ip("10.0.0.2")],
            ..Host::default()
        },
        symptoms,
        balancers: mix.balancer.into_iter().collect(),
        usual_seconds: 200.0,
        ..Situation::default()
    };
    situation.resources.push(ResourceUse {
        name: "apache.workers".into(),
        used: f64::from(mix.busy),
        limit: Some(f64::from(LIMIT)),
        usual: Some([1.0, 10.0]),
        exhausted_since: full.then_some(since),
        limit_from: None,
    });
    situation.servers.push(ServerView {
        service: "apache".into(),
        at: mix.at,
        workers,
        busy: mix.busy,
        limit: Some(LIMIT),
        queue: Vec::new(),
        queue_len: 0,
        queue_limit: 511,
    });
    situation.kernel.oom = (0..mix.oom)
        .map(|i| OomKill { at: since, pid: i, comm: "apache2".into(), anon_rss_bytes: 1 << 25, cgroup: true })
        .collect();
    situation.kernel.oom_count = mix.oom;
    situation.traffic.push(Traffic {
        service: "apache".into(),
        now: side(60.0, mix.now),
        usual: side(200.0, mix.usual),
        live: mix.live,
        queued: Vec::new(),
        requests: mix.requests,
        pages_ok: Rate::default(),
        server_errors: Rate::default(),
        clients: mix.clients,
        onset: full.then_some(since),
        last_line: Some(mix.at),
        held_peak: 0.0,
        held_s_usual_median: 0.02,
    });
    situation
}

const LB: &str = "10.0.0.1";

/// `n` live workers held by addresses of a network, several each.
fn live(network: &str, addresses: u32, n: u32, via: Via, request: (&str, &str)) -> Vec<Holder> {
    (0..n)
        .map(|i| holder(&format!("{network}.{}", 10 + i % addresses), (via, None), request, 1, 5.0))
        .collect()
}

fn balanced(n: u32, request: (&str, &str)) -> Vec<Holder> {
    (0..n).map(|_| holder(LB, (Via::Balancer, Some(ip(LB))), request, 1, 5.0)).collect()
}

/// What must come out: the first cause and exactly these culprits.
fn check(mix: Mix, cause: Option<&str>, culprits: &[&str]) {
    let situation = closed(mix);
    let diagnosis = diagnose(&situation);
    let first = diagnosis.findings.first();
    assert_eq!(first.map(|f| f.cause.as_str()), cause, "{diagnosis:#?}");
    let mut named: Vec<&str> =
        first.map(|f| f.culprits.iter().map(|c| c.value.as_str()).collect()).unwrap_or_default();
    named.sort_unstable();
    assert_eq!(named, culprits);
    if let Some(finding) = first {
        assert_ne!(finding.summary.en, finding.summary.ja);
        assert_eq!(diagnose(&situation), diagnosis, "a replay is exact");
    }
}

#[test]
fn quiet_is_ok() {
    let situation = closed(quiet(Some(ip(LB))));
    assert_eq!(diagnose(&situation).verdict, Verdict::Ok);
    check(quiet(Some(ip(LB))), None, &[]);
}

#[test]
fn connect_flood_seen_by_sockets_before_any_log_line() {
    let mut mix = quiet(Some(ip(LB)));
    mix.live = live("198.51.100", 8, 36, Via::Direct, ("CONNECT", "authority"));
    mix.live.extend(live("203.0.113", 3, 6, Via::Direct, ("CONNECT", "authority")));
    mix.live.extend(live("192.0.2", 1, 1, Via::Direct, ("GET", "/")));
    mix.live.extend(balanced(17, ("GET", "/")));
    mix.busy = LIMIT;
    let situation = closed(mix);
    let diagnosis = diagnose(&situation);
    let finding = &diagnosis.findings[0];
    assert_eq!(finding.cause, "open-proxy-abuse");
    let named: Vec<&str> = finding.culprits.iter().map(|c| c.value.as_str()).collect();
    assert_eq!(named, ["198.51.100.0/24", "203.0.113.0/24"]);
    assert_eq!(finding.culprits[0].r#where["method"], "CONNECT");
    assert_eq!(finding.culprits[0].r#where["via_balancer"], "no");
    assert!(finding.remedies.iter().any(|r| r.plan.steps[0].id() == "ban"));
    assert!(finding.remedies.iter().any(|r| r.plan.steps[0].id() == "accept-only-from"));
    assert!(finding.confidence > 0.85, "{}", finding.confidence);
}

/// A first look at a site that was just started, past the balancer, held a worker longer than all others together.
#[test]
fn a_slow_request_does_not_make_its_way_the_usual_one() {
    let mut mix = quiet(Some(ip(LB)));
    mix.usual.push(holder("192.0.2.200", (Via::Direct, None), ("GET", "/"), 1, 90.0));
    mix.live = live("198.51.100", 8, 42, Via::Direct, ("CONNECT", "authority"));
    mix.live.extend(balanced(18, ("GET", "/")));
    mix.busy = LIMIT;
    let diagnosis = diagnose(&closed(mix));
    let finding = &diagnosis.findings[0];
    assert_eq!(finding.cause, "open-proxy-abuse");
    assert_eq!(finding.culprits[0].value, "198.51.100.0/24");
    assert_eq!(finding.culprits[0].r#where["via_balancer"], "no");
}

#[test]
fn connect_flood_from_one_connection_each() {
    let mut mix = quiet(Some(ip(LB)));
    mix.live = live("198.51.100", 40, 40, Via::Direct, ("CONNECT", "authority"));
    mix.live.extend(balanced(20, ("GET", "/")));
    mix.busy = LIMIT;
    check(mix, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
}

#[test]
fn sockets_without_a_scoreboard_still_name_the_way() {
    let mut mix = quiet(Some(ip(LB)));
    mix.live = live("198.51.100", 8, 40, Via::Direct, ("", ""));
    mix.live.extend(balanced(20, ("", "")));
    mix.busy = LIMIT;
    check(mix, Some("load-balancer-bypass"), &["198.51.100.0/24"]);
}

#[test]
fn flood_on_one_path_and_the_memory_it_takes() {
    let mut mix = quiet(None);
    mix.live = live("198.51.100", 30, 50, Via::None, ("POST", "/xmlrpc.php"));
    mix.live
        .extend((0..10).map(|i| holder(&format!("192.0.2.{i}"), (Via::None, None), ("GET", "/"), 1, 4.0)));
    mix.busy = LIMIT;
    mix.oom = 30;
    check(mix, Some("http-flood"), &["198.51.100.0/24"]);
}

#[test]
fn a_crowd_is_nobodys_fault() {
    let mut mix = quiet(Some(ip(LB)));
    mix.live = balanced(60, ("GET", "/sale"));
    mix.now = (0..640u32)
        .map(|i| {
            let client = format!("198.18.{}.{}", i / 200, i % 200);
            holder(&client, (Via::Balancer, Some(ip(LB))), ("GET", "/sale"), 2, 1.4)
        })
        .collect();
    mix.requests = Rate { now: 48.0, usual: 14.5 };
    mix.clients = Rate { now: 644.0, usual: 48.0 };
    mix.busy = LIMIT;
    check(mix, Some("flash-crowd"), &[]);
}

#[test]
fn a_crowd_without_a_balancer_is_not_banned_either() {
    let mut mix = quiet(None);
    let crowd = |i: u32| format!("198.18.{}.{}", i / 200, i % 200);
    mix.live = (0..60).map(|i| holder(&crowd(i * 7), (Via::None, None), ("GET", "/sale"), 1, 1.0)).collect();
    mix.now = (0..640u32).map(|i| holder(&crowd(i), (Via::None, None), ("GET", "/sale"), 2, 1.4)).collect();
    mix.requests = Rate { now: 48.0, usual: 14.5 };
    mix.clients = Rate { now: 644.0, usual: 48.0 };
    mix.busy = LIMIT;
    check(mix, Some("flash-crowd"), &[]);
}

#[test]
fn a_slow_backend_is_slow_for_all() {
    let mut mix = quiet(Some(ip(LB)));
    mix.live = balanced(60, ("GET", "/"));
    mix.now = mix.usual.iter().map(|h| Holder { requests: 2, held_s: 29.0, ..h.clone() }).collect();
    mix.requests = Rate { now: 1.6, usual: 13.4 };
    mix.busy = LIMIT;
    check(mix, Some("slow-backend"), &[]);
}

#[test]
fn a_slow_backend_makes_direct_usual_clients_no_culprits() {
    let mut mix = quiet(None);
    mix.live =
        (0..60).map(|i| holder(&format!("192.0.2.{i}"), (Via::None, None), ("GET", "/"), 1, 9.0)).collect();
    mix.requests = Rate { now: 1.6, usual: 13.4 };
    mix.busy = LIMIT;
    check(mix, Some("slow-backend"), &[]);
}

#[test]
fn slow_readers() {
    let mut mix = quiet(None);
    mix.live = live("198.51.100", 5, 55, Via::None, ("GET", "/big"));
    mix.waiting = Waiting::Client;
    mix.busy = LIMIT;
    check(mix, Some("slow-clients"), &["198.51.100.0/24"]);
}

#[test]
fn the_flood_in_the_log_alone() {
    let mut mix = quiet(Some(ip(LB)));
    mix.now.extend((0..12).map(|i| {
        holder(&format!("198.51.100.{}", 10 + i), (Via::Direct, None), ("CONNECT", "authority"), 20, 400.0)
    }));
    mix.now.push(holder("192.0.2.9", (Via::Balancer, Some(ip(LB))), ("GET", "/"), 40, 700.0));
    mix.busy = LIMIT;
    check(mix, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
}

#[test]
fn a_login_in_the_attackers_network_keeps_the_network_open() {
    let mut mix = quiet(None);
    mix.live = live("198.51.100", 4, 56, Via::None, ("POST", "/xmlrpc.php"));
    mix.busy = LIMIT;
    let mut situation = closed(mix);
    situation.host.logins.push(ip("198.51.100.200"));
    let diagnosis = diagnose(&situation);
    let culprits: Vec<&str> = diagnosis.findings[0].culprits.iter().map(|c| c.value.as_str()).collect();
    assert_eq!(culprits, ["198.51.100.10", "198.51.100.11", "198.51.100.12", "198.51.100.13"]);
}

/// One side of the traffic, with where it came from.
fn side(seconds: f64, holders: Vec<Holder>) -> Side {
    let direct = |h: &&Holder| h.client.peer == h.client.address;
    let origins = holders.iter().map(|h| (h.client.peer.into(), h.requests)).collect();
    let forwarded =
        holders.iter().filter(|h| !direct(h)).map(|h| (h.client.address.into(), h.requests)).collect();
    Side { seconds, holders, origins, forwarded, folded: 0 }
}
