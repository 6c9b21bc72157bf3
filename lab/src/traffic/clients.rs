//! Normal people with browsers. They come when they come, whether the server is well or not (an open loop), look at
//! a page with its images and styles on one connection, sometimes at a second page, and leave when it takes too long.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::http::Connection;
use super::{Record, STACK_BYTES};
use crate::now;
use crate::plan::ClientsPlan;
use crate::stats::Outcome;

/// Visitors at once. At the usual rate and with the usual patience a dead server collects fewer than 80.
const VISITS_MAX: usize = 300;

const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (Linux; Android 13; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Mobile Safari/537.36",
];

/// After a page, this share of people looks at another.
const STAY_PERCENT: u8 = 65;
/// Pages of the longest visit.
const PAGES_MAX: usize = 6;
/// Someone who had to wait this long looks at no other page: so page views fall before a single one fails.
const SLOW: Duration = Duration::from_secs(3);
/// A visit's mean number of requests while all is well, from the shares here and in [`visit`].
const REQUESTS_OF_A_VISIT: f64 = 7.3;

struct Visitors {
    plan: ClientsPlan,
    record: Record,
    here: AtomicUsize,
}

pub(crate) fn run(spec: &Path, out: &Path) -> anyhow::Result<()> {
    crate::roles::end_with_parent()?;
    let plan: ClientsPlan = serde_json::from_slice(&std::fs::read(spec)?)?;
    if let Some(mail) = &plan.mail {
        return super::mail::run(&plan, mail, Record::create(out)?);
    }
    let visitors = Arc::new(Visitors { plan, record: Record::create(out)?, here: AtomicUsize::new(0) });
    let mut rng = fastrand::Rng::new();
    let visits_per_s = visitors.plan.requests_per_s / REQUESTS_OF_A_VISIT;
    loop {
        // Times between arrivals of people who do not know of each other.
        let pause = -(1.0 - rng.f64()).ln() / visits_per_s;
        thread::sleep(Duration::from_secs_f64(pause.min(5.0)));
        if visitors.here.fetch_add(1, Ordering::Relaxed) >= VISITS_MAX {
            visitors.here.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let each = Arc::clone(&visitors);
        let seed = rng.u64(..);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            visit(&each, fastrand::Rng::with_seed(seed));
            each.here.fetch_sub(1, Ordering::Relaxed);
        })?;
    }
}

fn visit(visitors: &Visitors, mut rng: fastrand::Rng) {
    let site = &visitors.plan.site;
    let pick = |rng: &mut fastrand::Rng, from: &[String]| rng.choice(from).cloned().unwrap_or_default();
    let Some(source) = rng.choice(&visitors.plan.addresses).copied() else { return };
    let agent = rng.choice(AGENTS).copied().unwrap_or_default();
    let mut visit = Visit { visitors, source, agent, connection: None };

    let mut referer = String::new();
    for n in 0..PAGES_MAX {
        // A popular few pages and a long tail, as on any site.
        let popular = if rng.bool() { site.pages.len().min(4) } else { site.pages.len() };
        let page = pick(&mut rng, &site.pages[..popular]);
        let began = Instant::now();
        if !visit.ask("page", "GET", &page, &referer, 200) {
            return;
        }
        // The first page brings the styles and scripts, later ones find them in the browser's cache.
        for _ in 0..if n == 0 { rng.usize(2..=4) } else { rng.usize(0..=2) } {
            thread::sleep(Duration::from_millis(rng.u64(5..60)));
            visit.ask("static", "GET", &pick(&mut rng, &site.statics), &page, 200);
        }
        match rng.u8(..100) {
            0..3 => {
                thread::sleep(Duration::from_millis(rng.u64(200..900)));
                visit.ask("post", "POST", &site.post, &page, 303);
            }
            3..6 => {
                visit.ask("missing", "GET", &pick(&mut rng, &site.missing), &page, 404);
            }
            _ => {}
        }
        if began.elapsed() > SLOW || rng.u8(..100) >= STAY_PERCENT {
            return;
        }
        referer = page;
        thread::sleep(Duration::from_millis(rng.u64(300..2500)));
    }
}

struct Visit<'a> {
    visitors: &'a Visitors,
    source: Ipv4Addr,
    agent: &'a str,
    connection: Option<Connection>,
}

impl Visit<'_> {
    /// One request, recorded; true if it went well.
    fn ask(&mut self, kind: &str, method: &str, path: &str, referer: &str, expected: u16) -> bool {
        let ClientsPlan { target, host_header, patience_ms, .. } = &self.visitors.plan;
        let body = if method == "POST" { "name=Hanako&message=Hello%2C+is+it+open+on+Sunday%3F" } else { "" };
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host_header}\r\nUser-Agent: {}\r\nAccept: */*\r\nConnection: keep-alive\r\n",
            self.agent
        );
        if !referer.is_empty() {
            request.push_str(&format!("Referer: http://{host_header}{referer}\r\n"));
        }
        if !body.is_empty() {
            let length = body.len();
            request.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n"
            ));
        }
        request.push_str("\r\n");
        request.push_str(body);

        let (at, began) = (now(), Instant::now());
        let deadline = began + Duration::from_millis(*patience_ms);
        // A kept connection may have been closed meanwhile; a browser then asks once more on a new one.
        let kept = self.connection.take();
        let mut answer = match kept {
            Some(connection) => Self::on(connection, &request, deadline),
            None => None,
        };
        if answer.is_none() {
            answer = Connection::open(self.source, *target, deadline)
                .ok()
                .and_then(|connection| Self::on(connection, &request, deadline));
        }
        let status = answer.as_ref().map_or(0, |(status, _)| *status);
        self.connection = answer.and_then(|(_, connection)| connection);
        let outcome = Outcome {
            at,
            ms: began.elapsed().as_millis() as u64,
            kind: kind.into(),
            status,
            ok: status == expected,
            client: self.source.to_string(),
            path: path.into(),
        };
        self.visitors.record.push(&outcome);
        outcome.ok
    }

    fn on(mut connection: Connection, request: &str, deadline: Instant) -> Option<(u16, Option<Connection>)> {
        let answer = connection.request(request.as_bytes(), deadline).ok()?;
        Some((answer.status, answer.stays.then_some(connection)))
    }
}
