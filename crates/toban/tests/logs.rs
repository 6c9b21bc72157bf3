//! `toban why --log`: incidents told by access logs alone, generated from a seed, with look-alikes and forgeries.
//! Other seeds: `TOBAN_SEED=7 cargo test -p toban --test logs`.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// A small generator of its own (SplitMix64): tests must not change with a library's version.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

fn seed() -> u64 {
    std::env::var("TOBAN_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1)
}

/// 2024-03-05 10:00:00 UTC.
const START: u64 = 1_709_632_800;
const QUIET_S: u64 = 600;

/// One line to be, with the time that it is written (the request's end).
struct Line {
    received: u64,
    held_us: u64,
    peer: String,
    forwarded: String,
    request: String,
    status: u16,
    agent: String,
}

#[derive(Default)]
struct Log(Vec<Line>);

impl Log {
    fn add(&mut self, received: u64, held_us: u64, peer: &str, forwarded: &str, request: &str, status: u16) {
        self.0.push(Line {
            received,
            held_us,
            peer: peer.into(),
            forwarded: forwarded.into(),
            request: request.into(),
            status,
            agent: "Mozilla/5.0 (X11; Linux x86_64)".into(),
        });
    }

    /// In the order that a server writes: by the end.
    fn write(mut self, name: &str) -> PathBuf {
        self.0.sort_by_key(|l| l.received * 1_000_000 + l.held_us);
        let mut text = String::new();
        for l in &self.0 {
            let time = stamp(l.received);
            let (peer, request, status, agent) = (&l.peer, &l.request, l.status, &l.agent);
            let (held, forwarded) = (l.held_us, &l.forwarded);
            writeln!(text, "{peer} - - [{time}] \"{request} HTTP/1.1\" {status} 512 \"-\" \"{agent}\" {held} \"{forwarded}\"")
                .expect("a string takes all");
        }
        let dir = std::env::temp_dir().join(format!("toban-logs-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("access.log");
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn stamp(epoch: u64) -> String {
    let s = epoch - 1_709_596_800; // 2024-03-05 00:00:00 UTC
    format!("05/Mar/2024:{:02}:{:02}:{:02} +0000", s / 3600, s / 60 % 60, s % 60)
}

const PAGES: &[&str] = &["GET /", "GET /news/17", "GET /about", "GET /shop/list?page=2", "POST /contact"];
const ASSETS: &[&str] = &["GET /style.css", "GET /app.js", "GET /logo.png"];

/// People who read pages, through a balancer if one is given.
fn people(log: &mut Log, draw: &mut Draw, from: u64, to: u64, balancer: Option<&str>, page_us: u64) {
    for t in from..to {
        for _ in 0..4 {
            let client = format!("203.0.{}.{}", 100 + draw.below(12), 1 + draw.below(40));
            let (peer, forwarded) = match balancer {
                Some(balancer) => (balancer, client.as_str()),
                None => (client.as_str(), "-"),
            };
            let held = page_us / 2 + draw.below(page_us);
            log.add(t, held, peer, forwarded, draw.pick(PAGES), if page_us > 5_000_000 { 504 } else { 200 });
            for _ in 0..3 {
                log.add(t, 300 + draw.below(500), peer, forwarded, draw.pick(ASSETS), 200);
            }
        }
    }
}

const FORMAT: &str =
    "%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-agent}i\" %D \"%{X-Forwarded-For}i\"";

fn why(path: &std::path::Path, format: Option<&str>) -> Value {
    let log = match format {
        Some(format) => format!("{}={format}", path.display()),
        None => path.display().to_string(),
    };
    let out =
        Command::new(env!("CARGO_BIN_EXE_toban")).args(["why", "--json", "--log", &log]).output().unwrap();
    assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn culprits(answer: &Value) -> Vec<String> {
    let mut all: Vec<String> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|f| f["culprits"].as_array().unwrap().iter())
        .filter(|c| matches!(c["kind"].as_str(), Some("prefix" | "address")))
        .map(|c| c["value"].as_str().unwrap().to_owned())
        .collect();
    all.sort();
    all
}

fn check(name: &str, log: Log, cause: Option<&str>, named: &[&str]) -> Value {
    let path = log.write(name);
    let answer = why(&path, Some(FORMAT));
    let first = answer["findings"].get(0).and_then(|f| f["cause"].as_str());
    assert_eq!(first, cause, "{name}, seed {}: {answer:#}", seed());
    assert_eq!(culprits(&answer), named, "{name}, seed {}: {answer:#}", seed());
    // Without being told the format it finds one, and names nobody else.
    let found = why(&path, None);
    for culprit in culprits(&found) {
        assert!(named.contains(&culprit.as_str()), "{name}, format found by itself: {culprit}");
    }
    drop(std::fs::remove_dir_all(path.parent().unwrap()));
    answer
}

#[test]
fn a_quiet_log_is_quiet() {
    let (mut log, mut draw) = (Log::default(), Draw(seed()));
    people(&mut log, &mut draw, START, START + QUIET_S, Some("10.0.0.9"), 20_000);
    let answer = check("quiet", log, None, &[]);
    let from: jiff::Timestamp = answer["history_from"].as_str().unwrap().parse().unwrap();
    assert_eq!(from.as_second(), START as i64);
    let reach = answer["history_s"].as_f64().unwrap() - QUIET_S as f64;
    assert!(reach.abs() < 2.0, "{reach}");
}

#[test]
fn strangers_use_the_server_as_their_proxy() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 100));
    let lb = "10.0.0.9";
    people(&mut log, &mut draw, START, START + QUIET_S, Some(lb), 20_000);
    let from = START + QUIET_S;
    people(&mut log, &mut draw, from, from + 60, Some(lb), 14_000_000);
    for t in from..from + 60 {
        for _ in 0..3 {
            let peer = format!("198.51.100.{}", 10 + draw.below(12));
            log.add(t, 20_000_000 + draw.below(90_000), &peer, "-", "CONNECT www.example.org:443", 504);
        }
    }
    let answer = check("connect", log, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
    let where_ = &answer["findings"][0]["culprits"][0]["where"];
    assert_eq!(where_["method"], "CONNECT");
    assert_eq!(where_["via_balancer"], "no");
}

#[test]
fn a_flood_on_one_path_from_v6() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 200));
    people(&mut log, &mut draw, START, START + QUIET_S, None, 20_000);
    let from = START + QUIET_S;
    people(&mut log, &mut draw, from, from + 60, None, 9_000_000);
    for t in from..from + 60 {
        for _ in 0..12 {
            let peer = format!("2001:db8:77:1::{:x}", 1 + draw.below(9));
            log.add(t, 4_000_000 + draw.below(900_000), &peer, "-", "POST /wp/api.php", 200);
        }
    }
    let answer = check("flood", log, Some("http-flood"), &["2001:db8:77:1::/64"]);
    assert_eq!(answer["findings"][0]["culprits"][0]["where"]["path"], "/wp/api.php");
}

#[test]
fn a_crowd_is_nobodys_fault() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 300));
    people(&mut log, &mut draw, START, START + QUIET_S, Some("10.0.0.9"), 20_000);
    let from = START + QUIET_S;
    for t in from..from + 60 {
        for _ in 0..40 {
            let client = format!("198.18.{}.{}", draw.below(40), 1 + draw.below(250));
            log.add(
                t,
                1_000_000 + draw.below(2_000_000),
                "10.0.0.9",
                &client,
                "GET /sale",
                if draw.below(4) == 0 { 503 } else { 200 },
            );
            log.add(t, 500, "10.0.0.9", &client, draw.pick(ASSETS), 200);
        }
    }
    let path = log.write("crowd");
    let answer = why(&path, Some(FORMAT));
    assert_eq!(culprits(&answer), Vec::<String>::new(), "{answer:#}");
}

#[test]
fn a_slow_backend_has_no_culprit() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 400));
    people(&mut log, &mut draw, START, START + QUIET_S, Some("10.0.0.9"), 20_000);
    people(&mut log, &mut draw, START + QUIET_S, START + QUIET_S + 60, Some("10.0.0.9"), 16_000_000);
    check("slow", log, Some("slow-backend"), &[]);
}

/// Rule 3 of the safety rules: text that an attacker can write never names a victim.
#[test]
fn a_victim_in_headers_is_never_named() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 500));
    let victim = "192.0.2.77";
    people(&mut log, &mut draw, START, START + QUIET_S, Some("10.0.0.9"), 20_000);
    let from = START + QUIET_S;
    people(&mut log, &mut draw, from, from + 60, Some("10.0.0.9"), 9_000_000);
    let forged = format!(
        "x\\\" 200 1 \\\"-\\\" \\\"-\\\" 1 \\\"-\\\"\\n{victim} - - [{}] \\\"CONNECT a:443 HTTP/1.1\\\" 504 1",
        stamp(from)
    );
    for t in from..from + 60 {
        for _ in 0..3 {
            let peer = format!("198.51.100.{}", 10 + draw.below(12));
            let request = format!("CONNECT {victim}:443");
            log.add(t, 20_000_000, &peer, victim, &request, 504);
            log.0.last_mut().unwrap().agent.clone_from(&forged);
        }
    }
    let answer = check("forged", log, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
    let named = answer["findings"][0]["remedies"].to_string();
    assert!(!named.contains(victim), "{named}");
}

/// A stranger who comes directly and invents a forwarded header for each request is not a balancer, and those whom
/// he names are not clients.
#[test]
fn an_invented_header_makes_no_balancer() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 600));
    people(&mut log, &mut draw, START, START + QUIET_S, None, 20_000);
    let from = START + QUIET_S;
    people(&mut log, &mut draw, from, from + 60, None, 9_000_000);
    for t in from..from + 60 {
        for _ in 0..12 {
            let invented = format!("192.0.2.{}", draw.below(250));
            log.add(t, 5_000_000, "198.51.100.9", &invented, "POST /login", 200);
        }
    }
    check("invented", log, Some("http-flood"), &["198.51.100.9"]);
}

/// Requests that hold their worker until the server's timeout, `each` a second.
fn connects(log: &mut Log, draw: &mut Draw, from: u64, to: u64, each: u64) {
    for t in from..to {
        for _ in 0..each {
            let peer = format!("198.51.100.{}", 10 + draw.below(12));
            log.add(t, 20_000_000 + draw.below(90_000), &peer, "-", "CONNECT www.example.org:443", 504);
        }
    }
}

#[test]
fn an_outage_twice_as_long_as_the_quiet_before() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 700));
    let lb = Some("10.0.0.9");
    people(&mut log, &mut draw, START, START + 1200, lb, 20_000);
    people(&mut log, &mut draw, START + 1200, START + 3600, lb, 14_000_000);
    connects(&mut log, &mut draw, START + 1200, START + 3600, 3);
    let answer = check("long", log, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
    let since = answer["findings"][0]["since"].as_str().unwrap();
    assert!(since.starts_with("2024-03-05T10:20") || since.starts_with("2024-03-05T10:19"), "{since}");
}

#[test]
fn a_log_that_begins_in_the_outage() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 800));
    people(&mut log, &mut draw, START, START + 120, Some("10.0.0.9"), 14_000_000);
    connects(&mut log, &mut draw, START, START + 120, 3);
    check("begins", log, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
}

#[test]
fn a_login_of_the_usual_time_in_the_attackers_network() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 900));
    let from = START + QUIET_S;
    people(&mut log, &mut draw, START, from, Some("10.0.0.9"), 20_000);
    people(&mut log, &mut draw, from, from + 60, Some("10.0.0.9"), 14_000_000);
    connects(&mut log, &mut draw, from, from + 60, 3);
    for t in (START..from + 60).step_by(5) {
        let quiet = t < from;
        log.add(
            t,
            if quiet { 20_000 } else { 20_000_000 },
            "198.51.100.200",
            "-",
            "GET /admin",
            if quiet { 200 } else { 504 },
        );
    }
    let path = log.write("admin");
    let answer = why(&path, Some(FORMAT));
    let named = culprits(&answer);
    assert_eq!(answer["findings"][0]["cause"], "open-proxy-abuse", "{answer:#}");
    assert!(
        !named.is_empty()
            && named
                .iter()
                .all(|c| c.starts_with("198.51.100.") && c != "198.51.100.200" && !c.contains('/')),
        "{named:?}"
    );
}

#[test]
fn a_usual_client_of_the_flooded_path_is_not_named() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 1000));
    let from = START + QUIET_S;
    people(&mut log, &mut draw, START, from, None, 20_000);
    people(&mut log, &mut draw, from, from + 60, None, 9_000_000);
    for t in (START..from + 60).step_by(20) {
        log.add(t, 30_000, "192.0.2.5", "-", "POST /xmlrpc.php", 200);
    }
    for t in from..from + 60 {
        for _ in 0..14 {
            let peer = format!("198.51.100.{}", 1 + draw.below(30));
            log.add(t, 4_000_000 + draw.below(900_000), &peer, "-", "POST /xmlrpc.php", 200);
        }
    }
    check("usual-client", log, Some("http-flood"), &["198.51.100.0/24"]);
}

#[test]
fn a_flood_through_the_balancer_is_named_and_not_banned_here() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 1100));
    let (from, lb) = (START + QUIET_S, "10.0.0.9");
    people(&mut log, &mut draw, START, from, Some(lb), 20_000);
    people(&mut log, &mut draw, from, from + 60, Some(lb), 9_000_000);
    for t in from..from + 60 {
        for _ in 0..12 {
            let client = format!("198.51.100.{}", 1 + draw.below(9));
            log.add(t, 4_000_000 + draw.below(900_000), lb, &client, "POST /xmlrpc.php", 200);
        }
    }
    let answer = check("through", log, Some("http-flood"), &["198.51.100.0/24"]);
    // A drop rule here would hit nobody but the balancer.
    assert_eq!(answer["findings"][0]["remedies"], serde_json::json!([]), "{answer:#}");
}

#[test]
fn an_eager_crawler_that_harms_nobody_is_no_incident() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 1200));
    let from = START + QUIET_S;
    people(&mut log, &mut draw, START, from + 60, None, 20_000);
    for t in from..from + 60 {
        for n in 0..45 {
            let peer = format!("198.51.100.{}", 1 + draw.below(8));
            log.add(
                t,
                40_000 + draw.below(200_000),
                &peer,
                "-",
                &format!("GET /archive/{}/{n}-title", t - from),
                200,
            );
        }
    }
    check("crawler", log, None, &[]);
}

#[test]
fn a_flood_from_everywhere_names_its_path() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 1300));
    let from = START + QUIET_S;
    people(&mut log, &mut draw, START, from, None, 20_000);
    people(&mut log, &mut draw, from, from + 60, None, 9_000_000);
    for t in from..from + 60 {
        for _ in 0..14 {
            let peer = format!("198.18.{}.{}", 1 + draw.below(250), 1 + draw.below(250));
            log.add(t, 4_000_000 + draw.below(900_000), &peer, "-", "POST /wp-login.php", 200);
        }
    }
    let answer = check("everywhere", log, Some("http-flood"), &[]);
    assert_eq!(answer["findings"][0]["culprits"][0]["value"], "/wp-login.php");
}

#[test]
fn a_proxy_is_asked_for_by_whole_urls_too() {
    let (mut log, mut draw) = (Log::default(), Draw(seed() + 1400));
    let from = START + QUIET_S;
    people(&mut log, &mut draw, START, from, None, 20_000);
    people(&mut log, &mut draw, from, from + 60, None, 9_000_000);
    for t in from..from + 60 {
        for _ in 0..4 {
            let peer = format!("198.51.100.{}", 1 + draw.below(12));
            let request = format!("GET http://ads.example.net/x?{}", draw.below(1000));
            log.add(t, 20_000_000, &peer, "-", &request, 504);
        }
    }
    check("absolute", log, Some("open-proxy-abuse"), &["198.51.100.0/24"]);
}

/// A record of the journal as `journalctl -o export` writes it, with the message counted.
fn record(at: u64, identifier: &str, message: &str) -> Vec<u8> {
    let fields = format!("__CURSOR=s=1;i={at}\n__REALTIME_TIMESTAMP={at}000000\n_TRANSPORT=kernel\n");
    let mut record = format!("{fields}SYSLOG_IDENTIFIER={identifier}\nMESSAGE\n").into_bytes();
    record.extend((message.len() as u64).to_le_bytes());
    record.extend(message.as_bytes());
    record.extend(b"\n\n");
    record
}

/// The journal's records end with blank lines, may hold some, and are cut where a log's past is read in pieces.
#[test]
fn the_exported_journal_is_read_to_its_records_ends() {
    let mut journal = Vec::new();
    // Some pieces' worth.
    for at in START..START + 600 {
        for _ in 0..10 {
            journal.extend(record(at, "kernel", &"nothing\n\nof note\n".repeat(30)));
        }
        if at >= START + 500 && at % 10 == 0 {
            let killed = format!("Out of memory: Killed process {at} (apache2) total-vm:2kB, anon-rss:1kB");
            journal.extend(record(at, "kernel", &killed));
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("journal.export");
    std::fs::write(&path, journal).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_toban"))
        .args(["why", "--json", "--at", &(START + 600).to_string(), "--log", path.to_str().unwrap()])
        .output()
        .unwrap();
    let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer["findings"][0]["cause"], "memory-exhaustion", "{answer:#}");
    assert_eq!(answer["findings"][0]["effects"][0]["value"], 10, "{answer:#}");
    assert_eq!(answer["history_from"], Value::Null);
}
