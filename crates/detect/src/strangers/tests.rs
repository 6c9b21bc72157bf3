//! Streams of lines, and who is said to be at it.

use toban_model::event::{Act, Offence};
use toban_model::{Attempts, Prefix, ReadingKind};

use super::*;

const FAILED: Act = Act::Offence(Offence::AuthFailure);

fn at(seconds: f64) -> Time {
    Time::from_micros(1_700_000_000_000_000 + (seconds * 1e6) as i64)
}

struct Host1 {
    doings: Doings,
    host: Host,
    origins: Origins,
}

impl Host1 {
    fn new() -> Host1 {
        Host1 { doings: Doings::default(), host: Host::default(), origins: Origins::default() }
    }

    fn said(&mut self, seconds: f64, service: &str, client: &str, account: &str, act: Act) {
        self.doings.said(
            at(seconds),
            &ServiceLine {
                time: Some(at(seconds)),
                service: service.as_bytes(),
                pid: None,
                client: client.parse().ok(),
                account: Some(account.as_bytes()).filter(|account| !account.is_empty()),
                act,
                times: 1,
                text: b"",
            },
        );
    }

    fn asked(&mut self, seconds: f64, client: &str, request: &str, status: u16) {
        let (method, path) = request.split_once(' ').unwrap();
        self.doings.request(
            "apache",
            &Request {
                time: at(seconds),
                peer: client.parse().ok(),
                client: client.parse().ok(),
                method: method.as_bytes(),
                path: path.as_bytes(),
                status: Some(status),
                raw_request: request.as_bytes(),
                ..Request::BLANK
            },
        );
    }

    fn text(&mut self, seconds: f64, service: &str, text: &str) {
        self.doings.said(
            at(seconds),
            &ServiceLine {
                time: Some(at(seconds)),
                service: service.as_bytes(),
                pid: None,
                client: None,
                account: None,
                act: Act::Other,
                times: 1,
                text: text.as_bytes(),
            },
        );
    }

    fn attempts(&self, seconds: f64) -> Vec<Attempts> {
        self.doings.close(at(seconds), &self.host, &self.origins).attempts
    }
}

/// Between two looks only those are judged who did something, and only for what they are blamed for alone.
#[test]
fn who_is_blamed_alone_is_told_once_and_at_once() {
    let mut host = Host1::new();
    let alone = |host: &mut Host1, seconds: f64| -> Vec<String> {
        let attempts = host.doings.alone(at(seconds), &host.host, &host.origins);
        attempts.iter().map(|attempt| attempt.clients[0].to_string()).collect()
    };
    everyday(&mut host, 0.0, 600.0);
    for nth in 0..11 {
        host.said(600.0 + f64::from(nth), "sshd", "203.0.113.9", "root", FAILED);
    }
    // Each of a crowd does little: that is seen with all others.
    for nth in 0..60 {
        host.said(605.0, "sshd", &format!("198.51.{nth}.9"), "admin", FAILED);
    }
    assert!(alone(&mut host, 611.0).is_empty());
    host.said(612.0, "sshd", "203.0.113.9", "root", FAILED);
    assert_eq!(alone(&mut host, 612.0), ["203.0.113.9"]);
    assert!(alone(&mut host, 613.0).is_empty(), "nobody did anything since");
    let all = host.attempts(613.0);
    assert!(all.iter().any(|attempt| attempt.clients.contains(&"203.0.113.9".parse().unwrap())), "{all:?}");
}

/// People who log in, one who mistypes, and a monitor that looks every three seconds.
fn everyday(host: &mut Host1, from: f64, to: f64) {
    let mut now = from;
    while now < to {
        let person = (now as u32 / 7) % 20;
        host.said(
            now,
            "dovecot",
            &format!("192.0.2.{}", 10 + person),
            &format!("user{person}"),
            Act::LoggedIn,
        );
        host.said(now + 1.0, "dovecot", "10.0.0.9", "", Act::Other);
        now += 3.0;
    }
    for slip in 0..3 {
        host.said(from + 2.0 * f64::from(slip), "dovecot", "192.0.2.77", "anna", FAILED);
    }
    host.said(from + 9.0, "dovecot", "192.0.2.77", "anna", Act::LoggedIn);
}

#[test]
fn everyday_is_nobodys_attack() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for seconds in [10.0, 600.0, 1800.0] {
        assert_eq!(host.attempts(seconds), []);
    }
}

#[test]
fn one_who_tries_a_dictionary_is_named_while_it_goes_on() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for n in 0..40 {
        host.said(1800.0 + f64::from(n), "dovecot", "198.51.100.67", &format!("word{n}"), FAILED);
    }
    everyday(&mut host, 1800.0, 1840.0);
    let attempts = host.attempts(1840.0);
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!((attempt.cause.as_str(), attempt.service.as_str()), ("credential-attack", "dovecot"));
    assert_eq!(attempt.clients, ["198.51.100.67".parse::<IpAddr>().unwrap()]);
    assert_eq!((attempt.in_ten_minutes, attempt.things), (40, 40));
    assert_eq!(attempt.first, at(1800.0));
    assert_eq!(attempt.ports, [110, 143, 993, 995]);
    assert_eq!(attempt.entered, None);
    assert!(attempt.peers);
    // It ends by itself.
    assert_eq!(host.attempts(2000.0), []);
}

#[test]
fn who_gets_in_behind_failures_is_told() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for n in 0..30 {
        host.said(1800.0 + f64::from(n), "sshd", "2001:db8:7::9", &format!("name{}", n % 9), FAILED);
    }
    host.said(1831.0, "sshd", "2001:db8:7::9", "backup", Act::LoggedIn);
    let attempts = host.attempts(1833.0);
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0].entered, Some(("2001:db8:7::9".parse().unwrap(), at(1831.0))));
    assert_eq!(attempts[0].ports, [22]);
}

#[test]
fn many_with_two_tries_each() {
    let mut host = Host1::new();
    for n in 0..60 {
        host.asked(f64::from(n * 10), &format!("192.0.2.{}", n % 30), "GET /articles/1", 200);
    }
    for n in 0..300u32 {
        let source = n % 150;
        let client = format!("198.{}.{}.{}", 18 + source % 2, source, 5 + source % 90);
        host.asked(600.0 + f64::from(n) / 6.0, &client, "POST /wp-login.php", 200);
    }
    host.asked(610.0, "192.0.2.44", "GET /wp-login.php", 200);
    host.asked(612.0, "192.0.2.44", "POST /wp-login.php", 200);
    host.asked(619.0, "192.0.2.44", "POST /wp-login.php", 302);
    let attempts = host.attempts(650.0);
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!(attempt.cause, "distributed-credential-attack");
    assert_eq!(attempt.clients.len(), 150);
    assert!(!attempt.clients.contains(&"192.0.2.44".parse().unwrap()));
    assert_eq!(attempt.path.as_deref(), Some("/wp-login.php"));
    assert_eq!((attempt.in_ten_minutes, attempt.sources), (300, 151));
}

/// Each has tried enough to be blamed alone, and one a multiple of that.
#[test]
fn many_who_try_much_each_are_one_crowd_and_who_stands_out_is_named_besides() {
    let mut host = Host1::new();
    let crowd: Vec<String> = (0..50u32).map(|n| format!("198.{}.{n}.{}", 18 + n % 12, 5 + n)).collect();
    for n in 0..600u32 {
        let (client, account) = (&crowd[n as usize % 50], format!("word{}", n / 50 % 6));
        host.said(f64::from(n) / 8.0, "sshd", client, &account, FAILED);
    }
    for n in 0..3 {
        host.said(70.0 + f64::from(n), "sshd", "203.0.113.9", "anna", FAILED);
    }
    let attempts = host.attempts(76.0);
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    assert_eq!(attempt.cause, "distributed-credential-attack");
    assert_eq!((attempt.clients.len(), attempt.in_ten_minutes), (50, 600));
    for n in 0..200u32 {
        host.said(76.0, "sshd", "192.0.2.66", &format!("name{n}"), FAILED);
    }
    let causes: Vec<(String, usize)> =
        host.attempts(77.0).into_iter().map(|attempt| (attempt.cause, attempt.clients.len())).collect();
    assert_eq!(causes[0], ("distributed-credential-attack".into(), 50));
    assert_eq!(causes[1..], [("credential-attack".into(), 1)]);
}

/// Lines as Dovecot 2.3 writes them while a dictionary is tried.
fn sent_away(host: &mut Host1, seconds: f64, client: &str) {
    let text = format!(
        "pop3-login: Disconnected: Connection queue full (disconnected while authenticating, waited 1 secs): user=<>, method=PLAIN, rip={client}, lip=10.160.198.99, session=<HV15G+Vg2ZjGEptr>"
    );
    host.doings.said(
        at(seconds),
        &ServiceLine {
            time: Some(at(seconds)),
            service: b"dovecot",
            pid: None,
            client: client.parse().ok(),
            account: None,
            act: Act::Other,
            times: 1,
            text: text.as_bytes(),
        },
    );
}

#[test]
fn who_is_sent_away_as_the_guessers_are_is_one_of_them_and_who_was_ever_let_in_is_not() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for n in 0..30u32 {
        host.said(1800.0 + f64::from(n), "dovecot", "198.51.100.67", &format!("word{n}"), FAILED);
        for client in ["198.51.100.68", "203.0.113.9", "192.0.2.12"] {
            sent_away(&mut host, 1800.0 + f64::from(n), client);
        }
    }
    for n in 0..9 {
        // A neighbour of a guesser, and somebody else, whose program tries now and then.
        sent_away(&mut host, 1800.0 + f64::from(n), "198.51.100.69");
        sent_away(&mut host, 1800.0 + f64::from(n), "203.0.113.200");
    }
    let attempts = host.attempts(1830.0);
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    let clients: Vec<String> = attempt.clients.iter().map(ToString::to_string).collect();
    assert_eq!(clients, ["198.51.100.67", "198.51.100.68", "198.51.100.69", "203.0.113.9"]);
    assert_eq!((attempt.cause.as_str(), attempt.in_ten_minutes), ("credential-attack", 30));
}

#[test]
fn a_neighbour_of_a_guesser_who_guesses_too_is_named_and_one_who_mistyped_is_not() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for n in 0..30u32 {
        host.said(1800.0 + f64::from(n), "dovecot", "198.51.100.67", &format!("word{n}"), FAILED);
    }
    for n in 0..3u32 {
        host.said(1820.0 + f64::from(n), "dovecot", "198.51.100.70", &format!("word{n}"), FAILED);
        host.said(1820.0 + f64::from(n), "dovecot", "198.51.100.71", "clara", FAILED);
        host.said(1820.0 + f64::from(n), "dovecot", "203.0.113.70", &format!("word{n}"), FAILED);
    }
    let attempts = host.attempts(1830.0);
    let [attempt] = &attempts[..] else { panic!("{attempts:?}") };
    let clients: Vec<String> = attempt.clients.iter().map(ToString::to_string).collect();
    assert_eq!(clients, ["198.51.100.67", "198.51.100.70"]);
}

/// The look-alike: whoever knows the passwords does not answer, and everybody is sent away.
#[test]
fn everybody_is_sent_away_where_passwords_are_not_answered_for() {
    let mut host = Host1::new();
    everyday(&mut host, 0.0, 1800.0);
    for n in 0..300u32 {
        sent_away(&mut host, 1800.0 + f64::from(n) / 10.0, &format!("192.0.2.{}", 10 + n % 30));
    }
    assert_eq!(host.attempts(1830.0), []);
}

#[test]
fn established_connections_are_counted_by_network() {
    let row = |state, port, peers: Option<&str>, count| toban_model::SocketCount {
        state,
        port,
        peers: peers.map(|network| network.parse().unwrap()),
        count,
    };
    let mut host = Host1::new();
    host.doings.sample(&Sample {
        at: at(5.0),
        sockets: vec![
            row(TcpState::Established, 0, None, 30),
            row(TcpState::Established, 110, None, 20),
            row(TcpState::CloseWait, 110, None, 6),
            row(TcpState::TimeWait, 110, None, 90),
            row(TcpState::Established, 110, Some("192.0.2.0/24"), 5),
            row(TcpState::Established, 110, Some("198.51.100.0/24"), 9),
            row(TcpState::CloseWait, 110, Some("198.51.100.0/24"), 6),
        ],
        ..Sample::default()
    });
    let connected = host.doings.close(at(5.0), &host.host, &host.origins).connected;
    let networks = vec![("198.51.100.0/24".parse().unwrap(), 15), ("192.0.2.0/24".parse().unwrap(), 5)];
    assert_eq!(connected, [Connected { port: 110, service: None, count: 26, networks }]);
}

/// Mail clients behind a balancer that does not say who they are: an attack through it is the balancer's to stop.
#[test]
fn a_private_address_that_everybody_comes_from_is_nobody() {
    let mut host = Host1::new();
    for n in 0..200u32 {
        host.said(f64::from(n), "dovecot", "10.0.0.1", &format!("user{}", n % 40), Act::LoggedIn);
    }
    for n in 0..400u32 {
        host.said(200.0 + f64::from(n) / 10.0, "dovecot", "10.0.0.1", &format!("word{n}"), FAILED);
    }
    assert_eq!(host.attempts(240.0), []);
}

#[test]
fn what_is_usual_stands_beside_it() {
    let mut host = Host1::new();
    // For two hours 30 failures in ten minutes, from everywhere.
    for n in 0..360u32 {
        host.said(f64::from(n) * 20.0, "sshd", &format!("203.0.{}.{}", n % 200, n % 250), "root", FAILED);
    }
    for n in 0..60 {
        host.said(7200.0 + f64::from(n) / 2.0, "sshd", "198.51.100.3", "admin", FAILED);
    }
    let attempts = host.attempts(7230.0);
    let found =
        attempts.iter().find(|attempt| attempt.clients == ["198.51.100.3".parse::<IpAddr>().unwrap()]);
    let usual = found.unwrap().usual.unwrap();
    assert!((25.0..=35.0).contains(&usual), "{usual}");
    let sources = found.unwrap().usual_sources.unwrap();
    assert!((20.0..=40.0).contains(&sources), "{sources}");
}

#[test]
fn a_network_of_attackers_and_nobody_else() {
    let mut host = Host1::new();
    for n in 0..200u32 {
        let client = format!("198.51.100.{}", 1 + n % 20);
        host.said(f64::from(n) / 4.0, "sshd", &client, &format!("word{}", n % 50), FAILED);
    }
    let network: Prefix = "198.51.100.0/24".parse().unwrap();
    let all = |host: &Host1| host.attempts(50.0).into_iter().flat_map(|a| a.networks).collect::<Vec<_>>();
    let named = all(&host);
    assert!(named.iter().all(|named| *named == network), "{named:?}");
    // Somebody lives there.
    host.said(49.0, "sshd", "198.51.100.200", "anna", Act::LoggedIn);
    assert_eq!(all(&host), []);
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut host = Host1::new();
    for n in 0..50_000u32 {
        let client = IpAddr::from(n.wrapping_mul(2_654_435_761).to_be_bytes());
        host.said(f64::from(n) / 50.0, "sshd", &client.to_string(), &format!("word{n}"), FAILED);
        host.asked(f64::from(n) / 50.0, &client.to_string(), "POST /login", 401);
    }
    // It ends, and with some answer.
    let _ = host.attempts(1000.0);
    assert!(host.doings.recent.held() <= 1 << 15);
}

#[test]
fn services_that_have_no_room() {
    let check = |service: &str, text: &str, expected: Option<(&str, Option<u32>)>| {
        let mut host = Host1::new();
        host.text(5.0, service, text);
        let refusals = host.doings.refusals(at(9.0));
        assert_eq!(refusals.first().map(|r| (r.service.as_str(), r.limit)), expected, "{text}");
        assert_eq!(host.doings.refusals(at(400.0)), []);
    };
    let reached = "master: Warning: service(pop3-login): process_limit (24) reached, client connections are being dropped";
    check("dovecot", reached, Some(("dovecot", Some(24))));
    let full = "pop3-login: Disconnected: Connection queue full (disconnected while authenticating, waited 2 secs): user=<>, method=PLAIN, rip=198.51.100.67";
    check("dovecot", full, Some(("dovecot", None)));
    let smtp = r#"warning: service "smtp" (25) has reached its process limit "100": new clients may experience noticeable delays"#;
    check("postfix", smtp, Some(("postfix", Some(100))));
    check("sshd", "error: beginning MaxStartups throttling", Some(("sshd", None)));
    for last in ["MaxStartups", "Maxstartups"] {
        let line = format!("drop connection #10 from [198.51.100.7]:46482 on [192.0.2.1]:22 past {last}");
        check("sshd", &line, Some(("sshd", None)));
    }
    let longer = "error: in MaxStartups throttling for 00:05:04, 93 connections dropped";
    check("sshd", longer, Some(("sshd", None)));
    let penalty =
        "drop connection #0 from [198.51.100.7]:46482 on [192.0.2.1]:22 penalty: failed authentication";
    check("sshd", penalty, None);
    // What a client says is no service's word.
    check("dovecot", "imap-login: Login: user=<process_limit (1) reached>, rip=192.0.2.1", None);
    check("sshd", "Invalid user beginning MaxStartups throttling from 192.0.2.1 port 5", None);
}

#[test]
fn sshd_throttles_until_it_says_that_it_does_no_more() {
    let mut host = Host1::new();
    host.text(5.0, "sshd", "error: beginning MaxStartups throttling");
    assert_eq!(host.doings.refusals(at(200.0)).len(), 1);
    host.text(290.0, "sshd", "exited MaxStartups throttling after 00:04:45, 93 connections dropped");
    assert_eq!(host.doings.refusals(at(291.0)), []);
    assert_eq!(host.doings.refusals(at(280.0)).len(), 1, "the past stays as it was");
}

#[test]
fn a_full_queue_is_one_that_stays_full() {
    let queue = |len| ListenQueue { port: 110, service: None, len, limit: 24, full_since: None };
    let mut host = Host1::new();
    host.doings.queues(at(1.0), vec![queue(25)]);
    let since =
        |host: &Host1, now| host.doings.close(at(now), &host.host, &host.origins).queues[0].full_since;
    assert_eq!(since(&host, 1.0), None, "a burst that is taken in at once");
    host.doings.queues(at(2.0), vec![queue(25)]);
    host.doings.queues(at(3.0), vec![queue(20)]);
    assert_eq!(since(&host, 3.0), Some(at(1.0)));
    host.doings.queues(at(20.0), vec![queue(0)]);
    assert_eq!(since(&host, 20.0), None);
}

#[test]
fn half_open_connections_by_port() {
    let count = |port, peers: Option<&str>, count| toban_model::SocketCount {
        state: TcpState::SynRecv,
        port,
        peers: peers.map(|peers| peers.parse().unwrap()),
        count,
    };
    let mut host = Host1::new();
    host.doings.sample(&Sample {
        sockets: vec![count(80, None, 30), count(25, None, 2), count(80, Some("203.0.113.0/24"), 22)],
        ..Sample::default()
    });
    let half_open = host.doings.close(at(1.0), &host.host, &host.origins).half_open;
    let told: Vec<_> = half_open.iter().map(|h| (h.port, h.count, h.networks.len())).collect();
    assert_eq!(told, [(80, 30, 1), (25, 2, 0)]);
}

#[test]
fn who_reads_page_after_page() {
    let mut host = Host1::new();
    let mut read = |seconds: f64, client: &str, agent: &'static str, path: &str| {
        host.doings.request(
            "apache",
            &Request {
                time: at(seconds),
                peer: client.parse().ok(),
                client: client.parse().ok(),
                method: b"GET",
                path: path.as_bytes(),
                status: Some(200),
                agent: Some(agent.as_bytes()),
                ..Request::BLANK
            },
        );
    };
    read(0.0, "203.0.113.5", "ExampleBot/1.0 (+https://bot.example.com)", "/robots.txt");
    for n in 0..600u32 {
        let now = 1.0 + f64::from(n) / 10.0;
        let client = format!("203.0.113.{}", 5 + n % 8);
        read(now, &client, "ExampleBot/1.0 (+https://bot.example.com)", &format!("/articles/{n}"));
        read(now, "198.51.100.9", "ExampleBot/1.0 (+https://bot.example.com)", "/search");
    }
    let crawls = host.doings.close(at(62.0), &host.host, &host.origins).crawls;
    assert_eq!(crawls.len(), 2);
    let crawler = crawls.iter().find(|crawl| crawl.network.to_string() == "203.0.113.0/24").unwrap();
    assert_eq!((crawler.robots, crawler.requests), (Some(at(0.0)), 601));
    assert!(crawler.distinct_share > 0.85, "{crawler:?}");
    assert!((6..=10).contains(&crawler.clients), "{crawler:?}");
    let flood = crawls.iter().find(|crawl| crawl.network.to_string() == "198.51.100.0/24").unwrap();
    assert_eq!(flood.robots, None);
    assert!(flood.distinct_share < 0.05, "{flood:?}");
}

#[test]
fn the_way_of_mails() {
    let mut host = Host1::new();
    // An honest form now and then, for two hours.
    for n in 0..12 {
        host.text(f64::from(n) * 600.0, "postfix", &format!("A{n:04X}: uid=33 from=<www-data>"));
        let sent = format!(
            "A{n:04X}: to=<a@example.com>, relay=mx.example.com[192.0.2.25]:25, delay=1, delays=0/0/1/0, dsn=2.0.0, status=sent (250 ok)"
        );
        host.text(f64::from(n) * 600.0 + 1.0, "postfix", &sent);
    }
    for n in 0..200 {
        let now = 7300.0 + f64::from(n) / 10.0;
        if n % 40 == 0 {
            host.asked(now, "203.0.113.8", "POST /uploads/.cache.php", 200);
            host.asked(now, "192.0.2.9", "GET /articles/4", 200);
        }
        host.text(now, "php-mail", "/var/www/html/uploads/.cache.php");
        host.text(now, "postfix", &format!("B{n:04X}: uid=33 from=<www-data>"));
        let put_off = format!(
            "B{n:04X}: to=<u{n}@mail.example.net>, relay=none, delay=2, delays=0/0/2/0, dsn=4.4.1, status=deferred (connect to mail.example.net: timed out, dsn=2.0.0, status=sent )"
        );
        host.text(now, "postfix", &put_off);
    }
    let gauge = |value| Sample {
        at: at(7320.0),
        readings: vec![toban_model::Reading {
            name: "mail.queue".into(),
            value,
            unit: "".into(),
            kind: ReadingKind::Gauge,
        }],
        ..Sample::default()
    };
    host.doings.sample(&Sample { at: at(7260.0), ..gauge(0.0) });
    host.doings.sample(&gauge(200.0));
    let mail = host.doings.close(at(7320.0), &host.host, &host.origins).mail.unwrap();
    assert_eq!((mail.queued, mail.growth), (Some(200), Some(200.0)));
    assert_eq!((mail.sent, mail.deferred, mail.domains), (0, 200, 1));
    assert_eq!(mail.reasons[0].code, "4.4.1");
    assert_eq!((mail.senders[0].uid, mail.senders[0].mails), (Some(33), 200));
    assert!(mail.senders[0].usual.unwrap() <= 1.0, "{:?}", mail.senders);
    assert_eq!(mail.senders[0].first, at(7300.0));
    assert_eq!(mail.scripts, [("/var/www/html/uploads/.cache.php".to_owned(), 200)]);
    assert_eq!(mail.posters, [("203.0.113.8".parse().unwrap(), 5, true)]);
}
