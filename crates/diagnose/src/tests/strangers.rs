//! What strangers do beyond holding workers, each with its look-alikes.

use std::time::Duration;

use toban_model::{
    Attempts, Connected, Crawl, HalfOpen, ListenQueue, MailFlow, Outbound, Reason, Sender, Vital, VitalState,
};

use super::*;

const AT: i64 = 1_700_000_000;

fn seconds_ago(seconds: u64) -> Time {
    Time::from_secs(AT) - Duration::from_secs(seconds)
}

fn quiet_host() -> Situation {
    Situation { at: Time::from_secs(AT), from: seconds_ago(120), ..Situation::default() }
}

fn attempt(cause: &str, clients: &[&str], count: u32) -> Attempts {
    Attempts {
        cause: cause.into(),
        service: "dovecot".into(),
        ports: vec![110, 143],
        clients: clients.iter().map(|client| ip(client)).collect(),
        peers: true,
        networks: Vec::new(),
        in_ten_minutes: count,
        in_a_minute: count / 4,
        things: 30,
        account: None,
        path: None,
        first: seconds_ago(50),
        last: seconds_ago(1),
        entered: None,
        all: count,
        usual: Some(2.0),
        sources: clients.len() as u32,
        usual_sources: Some(1.0),
        usual_clients: (0, 40),
    }
}

fn queue(port: u16, len: u32, full: bool) -> ListenQueue {
    ListenQueue {
        port,
        service: Some("dovecot".into()),
        len,
        limit: 24,
        full_since: full.then(|| seconds_ago(20)),
    }
}

fn with(attempts: Vec<Attempts>) -> Situation {
    let mut situation = quiet_host();
    situation.strangers.attempts = attempts;
    situation
}

/// The causes that are told, the answer first, with how grave it is and who did it.
fn answer(situation: &Situation) -> Vec<(String, Verdict, Vec<String>)> {
    let diagnosis = diagnose(situation);
    for finding in &diagnosis.findings {
        assert_ne!(finding.summary.en, finding.summary.ja);
        assert!(!finding.remedies.is_empty() || !finding.advice.is_empty(), "{finding:#?}");
    }
    let told = diagnosis.findings.into_iter();
    told.map(|f| (f.cause, f.verdict, f.culprits.into_iter().map(|c| c.value).collect())).collect()
}

fn check(situation: &Situation, expected: Option<(&str, Verdict, &[&str])>) {
    let answer = answer(situation);
    let first = answer.first().map(|(cause, verdict, culprits)| {
        (cause.as_str(), *verdict, culprits.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let expected = expected.map(|(cause, verdict, culprits)| (cause, verdict, culprits.to_vec()));
    assert_eq!(first, expected);
    assert!(answer.len() <= 1, "{answer:?}");
}

#[test]
fn passwords_tried_are_watched_until_they_do_harm() {
    let one = || attempt("credential-attack", &["198.51.100.67"], 40);
    check(&with(vec![one()]), Some(("credential-attack", Verdict::Watch, &["198.51.100.67"])));
    // Everyday noise: too little, or no more than usual.
    check(&with(vec![Attempts { in_ten_minutes: 12, all: 12, ..one() }]), None);
    check(&with(vec![Attempts { usual: Some(35.0), all: 60, ..one() }]), None);
    // Somebody is in.
    let entered =
        Attempts { entered: Some((ip("198.51.100.67"), seconds_ago(3))), usual: Some(90.0), ..one() };
    check(&with(vec![entered]), Some(("credential-attack", Verdict::Incident, &["198.51.100.67"])));
}

#[test]
fn a_queue_that_they_fill_makes_an_incident_of_it() {
    let mut situation = with(vec![attempt("credential-attack", &["198.51.100.67"], 70)]);
    situation.strangers.queues.push(queue(110, 25, true));
    situation.resources.push(ResourceUse {
        name: "dovecot.accept-queue:110".into(),
        used: 25.0,
        limit: Some(24.0),
        usual: None,
        exhausted_since: Some(seconds_ago(20)),
        limit_from: None,
    });
    // SYN_RECV behind a full accept queue is no flood of its own.
    situation.strangers.half_open.push(HalfOpen {
        port: 110,
        count: 25,
        networks: vec![("203.0.113.0/24".parse().unwrap(), 20)],
    });
    situation.vitals.push(cookies(8.0));
    situation.kernel.syn_flooding.push(110);
    check(&situation, Some(("credential-attack", Verdict::Incident, &["198.51.100.67"])));
    let diagnosis = diagnose(&situation);
    let finding = &diagnosis.findings[0];
    assert_eq!(finding.resource.as_ref().map(|r| r.name.as_str()), Some("dovecot.accept-queue:110"));
    let effects: Vec<(&str, f64)> = finding.effects.iter().map(|e| (e.what.as_str(), e.value)).collect();
    assert_eq!(effects, [("exhausted", 25.0), ("slow-greeting", 25.0), ("half-open", 25.0)]);
    let said = &finding.effects[2].text.en;
    assert!(said.ends_with("203.0.113.0/24 20 · all others 5"), "{said}");
    assert!(finding.ruled_out.iter().any(|out| out.cause == "syn-flood"), "{:?}", finding.ruled_out);
    let steps = &finding.remedies[0].plan.steps;
    let toban_model::Action::Ban { prefixes, ports, .. } = &steps[0] else { panic!("{steps:?}") };
    assert_eq!((prefixes.len(), &ports[..]), (1, &[110, 143][..]));
    // Another service's queue is another's matter.
    situation.strangers.attempts[0].ports = vec![22];
    assert_eq!(answer(&situation)[0].1, Verdict::Watch);
}

fn no_room(service: &str) -> ResourceUse {
    ResourceUse {
        name: format!("{service}.processes"),
        used: 12.0,
        limit: None,
        usual: None,
        exhausted_since: Some(seconds_ago(20)),
        limit_from: None,
    }
}

#[test]
fn who_uses_up_a_service_is_named_by_the_connections_there_however_few_the_failures() {
    let theirs: toban_model::Prefix = "198.51.100.0/24".parse().unwrap();
    let few = Attempts { in_ten_minutes: 6, all: 6, ..attempt("credential-attack", &["198.51.100.67"], 6) };
    let mut situation = with(vec![few]);
    situation.resources.push(no_room("dovecot"));
    situation.symptoms.push(toban_model::Symptom {
        kind: toban_model::SymptomKind::Exhausted,
        what: "dovecot.processes".into(),
        text: toban_model::Text::fixed("dovecot.processes used up", "dovecot.processes を使い切っています"),
        value: 12.0,
        usual: None,
        since: seconds_ago(20),
    });
    let connected =
        |count, networks| vec![Connected { port: 110, service: Some("dovecot".into()), count, networks }];
    situation.strangers.connected = connected(60, vec![(theirs, 48)]);
    check(&situation, Some(("credential-attack", Verdict::Incident, &["198.51.100.67"])));
    // Two together have most of them.
    let mut two = situation.clone();
    two.strangers.attempts.push(attempt("credential-attack", &["192.0.2.67"], 5));
    two.strangers.connected = connected(60, vec![(theirs, 24), ("192.0.2.0/24".parse().unwrap(), 20)]);
    check(&two, Some(("credential-attack", Verdict::Incident, &["198.51.100.67", "192.0.2.67"])));
    // Others have the connections: who guesses beside them did not do it.
    for networks in [vec![], vec![("203.0.113.0/24".parse().unwrap(), 50)], vec![(theirs, 20)]] {
        situation.strangers.connected = connected(60, networks);
        check(&situation, Some(("not-clear", Verdict::Incident, &[])));
    }
    // Nobody guesses at all.
    situation.strangers.attempts.clear();
    check(&situation, Some(("not-clear", Verdict::Incident, &[])));
    let diagnosis = diagnose(&situation);
    let finding = &diagnosis.findings[0];
    assert!(finding.confidence < crate::CONFIDENCE_MIN && finding.remedies.is_empty());
    assert!(finding.advice[0].en.contains("sport = :110"), "{}", finding.advice[0].en);
    // And no incident is opened by that.
    let mut course = crate::Course::default();
    assert!((1..9).all(|second| course.look(Time::from_secs(second), &diagnosis) == crate::Turn::Quiet));
}

#[test]
fn a_crowd_is_told_by_what_it_has_in_common() {
    let clients: Vec<String> = (0..150).map(|n| format!("198.{}.7.{}", 18 + n % 40, 1 + n)).collect();
    let clients: Vec<&str> = clients.iter().map(String::as_str).collect();
    let mut crowd = attempt("distributed-credential-attack", &clients, 300);
    crowd.clients.sort();
    (crowd.service, crowd.path) = ("apache".into(), Some("/wp-login.php".into()));
    check(
        &with(vec![crowd.clone()]),
        Some(("distributed-credential-attack", Verdict::Watch, &["/wp-login.php"])),
    );
    // Noise from everywhere, a few in ten minutes.
    check(&with(vec![Attempts { in_ten_minutes: 40, all: 40, ..crowd }]), None);
}

#[test]
fn nobody_is_banned_who_shares_an_address_with_a_usual_client() {
    let shared = Attempts { usual_clients: (1, 40), ..attempt("credential-attack", &["198.51.100.67"], 40) };
    let mut situation = with(vec![shared]);
    situation.strangers.attempts[0].entered = Some((ip("198.51.100.67"), seconds_ago(3)));
    let diagnosis = diagnose(&situation);
    assert!(diagnosis.findings[0].remedies.is_empty());
}

fn cookies(rate: f64) -> Vital {
    Vital {
        name: "tcp.syn_cookies".into(),
        value: rate,
        unit: "/s".into(),
        usual: None,
        state: VitalState::Unknown,
        since: None,
    }
}

#[test]
fn connections_that_are_never_completed() {
    let mut situation = quiet_host();
    situation.strangers.queues.push(queue(110, 0, false));
    situation.strangers.half_open.push(HalfOpen { port: 110, count: 25, networks: Vec::new() });
    situation.vitals.push(cookies(120.0));
    check(&situation, Some(("syn-flood", Verdict::Incident, &[])));
    // A busy server that does not accept: both queues are full.
    situation.strangers.queues[0] = queue(110, 25, true);
    check(&situation, None);
    // Some handshakes on their way.
    situation.strangers.queues[0] = queue(110, 1, false);
    situation.strangers.half_open[0].count = 6;
    situation.vitals[0].value = 0.0;
    check(&situation, None);
}

fn crawl(robots: bool, distinct: f64) -> Crawl {
    Crawl {
        service: "apache".into(),
        network: "198.51.100.0/24".parse().unwrap(),
        agent: "ExampleBot/2.1 (+https://bot.example.com/)".into(),
        requests: 2700,
        seconds: 60.0,
        clients: 8,
        ok_share: 0.99,
        reads_share: 1.0,
        distinct_share: distinct,
        robots: robots.then(|| seconds_ago(61)),
        first: seconds_ago(61),
    }
}

#[test]
fn an_honest_crawler_is_no_flood_and_a_flood_is_no_crawler() {
    let crawled = |crawl: Crawl, busy: u32| {
        let mut mix = quiet(None);
        mix.live = live("198.51.100", 8, 52, Via::None, ("GET", "/articles/*"));
        mix.busy = busy;
        let mut situation = closed(mix);
        situation.strangers.crawls.push(crawl);
        situation
    };
    let named = |situation: &Situation| answer(situation).first().map(|(cause, ..)| cause.clone());
    assert_eq!(named(&crawled(crawl(true, 0.97), LIMIT)).as_deref(), Some("aggressive-crawler"));
    let diagnosis = diagnose(&crawled(crawl(true, 0.97), LIMIT));
    assert!(diagnosis.findings.iter().all(|f| f.cause != "http-flood"), "{diagnosis:#?}");
    assert!(diagnosis.findings[0].remedies.is_empty());
    // The same words, other deeds.
    assert_eq!(named(&crawled(crawl(false, 0.97), LIMIT)).as_deref(), Some("http-flood"));
    assert_eq!(named(&crawled(crawl(true, 0.02), LIMIT)).as_deref(), Some("http-flood"));
    // It reads, and nothing suffers.
    let mut mix = quiet(None);
    mix.busy = 9;
    let mut situation = closed(mix);
    situation.strangers.crawls.push(crawl(true, 0.97));
    assert_eq!(named(&situation), None);
}

fn mail(mails: u32, sent: u32, deferred: u32) -> MailFlow {
    MailFlow {
        queued: Some(u64::from(deferred)),
        growth: Some(f64::from(deferred) / 2.0),
        usual: Some([0.0, 3.0]),
        senders: vec![Sender {
            uid: Some(33),
            account: None,
            mails,
            usual: Some(2.0),
            first: seconds_ago(40),
            clients: Vec::new(),
        }],
        sent,
        deferred,
        bounced: 0,
        domains: 1,
        reasons: vec![Reason { relay: String::new(), code: "4.4.1".into(), count: deferred }],
        failing_since: Some(seconds_ago(40)),
        scripts: Vec::new(),
        posters: Vec::new(),
    }
}

fn mailing(mail: MailFlow) -> Situation {
    let mut situation = quiet_host();
    situation.strangers.mail = Some(mail);
    situation
}

#[test]
fn the_host_that_sends_spam_and_the_one_whose_relay_is_down() {
    let script = "/var/www/html/wp-content/uploads/.cache.php";
    let spam = MailFlow {
        scripts: vec![(script.into(), 1500)],
        posters: vec![(ip("203.0.113.8"), 38, true), (ip("192.0.2.4"), 1, false)],
        ..mail(1522, 0, 1522)
    };
    check(&mailing(spam), Some(("outbound-abuse", Verdict::Incident, &[script, "203.0.113.8"])));
    check(&mailing(mail(1522, 0, 1522)), Some(("outbound-abuse", Verdict::Incident, &["uid 33"])));
    // The same number, and people take it: a newsletter.
    check(&mailing(MailFlow { growth: Some(0.0), ..mail(1522, 1500, 22) }), None);
    // As much mail as ever, and the next server is away.
    let relay = Reason { relay: "relay.example.net[192.0.2.25]:25".into(), code: "4.4.1".into(), count: 80 };
    let down = MailFlow { reasons: vec![relay], ..mail(2, 0, 80) };
    check(
        &mailing(down),
        Some(("mail-queue-growth", Verdict::Incident, &["relay.example.net[192.0.2.25]:25"])),
    );
    // Some mails always wait.
    check(&mailing(MailFlow { growth: Some(0.0), ..mail(2, 30, 3) }), None);
}

#[test]
fn a_process_that_reaches_out_to_many() {
    let outbound = |exe: &str, port, peers| {
        let mut situation = quiet_host();
        situation.strangers.outbound.push(Outbound {
            process: ProcessId { pid: 4711, start_ticks: 9 },
            parent: 1,
            comm: "perl".into(),
            command: "perl /tmp/.x".into(),
            exe: exe.into(),
            user: 33,
            port,
            opening: peers,
            peers,
        });
        situation
    };
    check(&outbound("/usr/bin/perl", 25, 60), Some(("outbound-abuse", Verdict::Incident, &["perl"])));
    // Postfix does its work while the net is away; a proxy's or crawler's few servers are no flood.
    check(&outbound("/usr/lib/postfix/sbin/smtp", 25, 60), None);
    check(&outbound("/usr/bin/php8.2", 443, 30), None);
}
