//! One web service's traffic: every request of the last minutes, the hours before folded by minute, all that was usual
//! before them in a census, and the line through time. All of it bounded, whatever is sent.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use toban_model::event::Request;
use toban_model::{Client, Holder, Prefix, Rate, ServerView, Side, Time, Traffic, Waiting, canonical};

use crate::census::{AGENTS_MAX, ANY, Census, NameId, Names, Sum};
use crate::origin::{Origins, last_forwarded};
use crate::series::{Series, WIDTH};
use crate::symbols::{self, Symbol, Symbols};
use crate::tables::{HashMap, HashSet, Scatter};

/// The requests of a stretch of time by what they have in common.
type Folded = HashMap<Key, Sum>;

/// Requests kept one by one, for this long at most. Longer than most servers' timeouts, so that an incident's first
/// requests are still there when they end.
const ROWS_FOR: Duration = Duration::from_secs(600);
/// 72 bytes each: 7 MiB.
const ROWS_MAX: usize = 100_000;
/// Folded requests over all minutes, about 100 bytes each: 10 MiB. The oldest minutes go into the census first.
const FOLDED_MAX: usize = 100_000;
/// Templates in the rows and minutes.
const PATHS_MAX: usize = 20_000;
/// What is older than this when it is read is counted in the census at once. An incident that lasts longer is part of
/// its own usual.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(6 * 3600);
const MINUTE: Duration = Duration::from_secs(60);
/// Fewer requests than this are no usual traffic to learn from.
const USUAL_REQUESTS_MIN: u32 = 100;
/// How often the usual side is put together anew while nothing happens.
const USUAL_EVERY: Duration = Duration::from_secs(30);
/// The window that is judged: at least this, at most [`ROWS_FOR`], three times what a slow request holds in between.
const WINDOW_MIN: Duration = Duration::from_secs(60);
/// Rates "now" are over this time.
const RATE_OVER: Duration = Duration::from_secs(20);
/// How far hindsight looks back for the most workers held: the longest usual timeout, so that no wave is missed.
const PEAK_OVER: Duration = Duration::from_secs(30);
/// Distinct groups handed on for judgement; the lightest are left out.
const HOLDERS_MAX: usize = 50_000;

#[derive(Clone, Copy, Debug)]
struct Row {
    end: Time,
    held_us: u64,
    key: Key,
    status: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Key {
    peer: IpAddr,
    forwarded: Option<IpAddr>,
    method: Symbol,
    path: NameId,
    agent: NameId,
}

impl Row {
    fn sum(&self) -> Sum {
        Sum::one(self.status, self.held_us)
    }
}

/// What is long over: a census of what was usual, and the line through all of the time.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    census: Census,
    series: Series,
    /// Times of which nothing is usual, in order.
    aside: Arc<[(Time, Time)]>,
}

impl Past {
    fn new(aside: Arc<[(Time, Time)]>) -> Past {
        Past { census: Census::default(), series: Series::default(), aside }
    }

    /// Takes one ended request of long ago.
    pub(crate) fn request(&mut self, request: &Request<'_>) {
        let end = self.line(request);
        let Some(peer) = request.peer.or(request.client) else { return };
        if !self.is_aside(end, end) {
            self.census.request(peer, request.forwarded.and_then(last_forwarded), request);
        }
    }

    /// Puts a request into the line through time. Returns when it ended.
    fn line(&mut self, request: &Request<'_>) -> Time {
        let held_us = request.duration_us.unwrap_or(0);
        let end = request.time + Duration::from_micros(held_us);
        let status = request.status.unwrap_or(0);
        let page_ok = (200..400).contains(&status) && symbols::is_page_view(request.method, request.path);
        self.series.add(end, held_us, page_ok, status >= 500);
        end
    }

    fn absorb(&mut self, other: Past) {
        self.series.absorb(&other.series);
        self.census.absorb(other.census);
    }

    /// Whether anything of `[from, to]` lies in a time of which nothing is usual.
    fn is_aside(&self, from: Time, to: Time) -> bool {
        let begun = self.aside.partition_point(|(since, _)| *since <= to);
        begun.checked_sub(1).is_some_and(|last| self.aside[last].1 >= from)
    }
}

/// The traffic of one service.
#[derive(Debug)]
pub(crate) struct TrafficWatch {
    service: String,
    methods: Symbols,
    paths: Names,
    agents: Names,
    rows: VecDeque<Row>,
    minutes: BTreeMap<Time, Folded>,
    folded: usize,
    past: Past,
    newest: Option<Time>,
    /// Rows whose end lies before their neighbours' (files are read newest first) make the queue unsorted.
    usual: Option<CachedUsual>,
}

#[derive(Debug)]
struct CachedUsual {
    until: Time,
    made: Time,
    side: Side,
    clients_a_minute: f64,
    held_s_median: f64,
}

impl TrafficWatch {
    pub(crate) fn new(service: &str, aside: Arc<[(Time, Time)]>) -> TrafficWatch {
        TrafficWatch {
            service: service.to_owned(),
            methods: Symbols::methods(),
            paths: Names::paths(PATHS_MAX),
            agents: Names::agents(AGENTS_MAX),
            rows: VecDeque::new(),
            minutes: BTreeMap::new(),
            folded: 0,
            past: Past::new(aside),
            newest: None,
            usual: None,
        }
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    pub(crate) fn newest(&self) -> Option<Time> {
        self.newest
    }

    pub(crate) fn oldest(&self) -> Option<Time> {
        self.past.series.start()
    }

    /// Room for what another thread reads of the past.
    pub(crate) fn past(&self) -> Past {
        Past::new(self.past.aside.clone())
    }

    /// Takes what another thread read of the past.
    pub(crate) fn absorb(&mut self, past: Past) {
        self.past.absorb(past);
        self.usual = None;
    }

    /// Takes one ended request. One without an address that the server saw is counted in the rates and holds
    /// nobody to account.
    pub(crate) fn request(&mut self, request: &Request<'_>) {
        let end = request.time + Duration::from_micros(request.duration_us.unwrap_or(0));
        if self.newest.is_some_and(|newest| newest.since(end) > FRESH_FOR) {
            self.past.request(request);
            return;
        }
        self.past.line(request);
        let Some(peer) = request.peer.or(request.client) else { return };
        // Before this one has names: those that it was given would be others' afterwards.
        if self.paths.is_full() || self.agents.is_full() {
            self.forget_names();
        }
        let row = Row {
            end,
            held_us: request.duration_us.unwrap_or(0),
            status: request.status.unwrap_or(0),
            key: Key {
                peer: canonical(peer),
                forwarded: request.forwarded.and_then(last_forwarded),
                method: self.methods.id(&symbols::method(request.method)),
                path: self.paths.count(request.path),
                agent: request.agent.map_or(ANY, |agent| self.agents.count(agent)),
            },
        };
        self.newest = Some(self.newest.map_or(end, |newest| newest.max(end)));
        if self.newest.is_some_and(|newest| newest.since(end) > ROWS_FOR) {
            self.fold(&row);
            return;
        }
        self.rows.push_back(row);
        while self.rows.len() > ROWS_MAX
            || self.rows.front().is_some_and(|r| self.newest.is_some_and(|n| n.since(r.end) > ROWS_FOR))
        {
            let Some(row) = self.rows.pop_front() else { break };
            self.fold(&row);
        }
    }

    fn fold(&mut self, row: &Row) {
        let minute = self.minutes.entry(row.end.bucket(MINUTE)).or_default();
        let before = minute.len();
        minute.entry(row.key).or_default().add(&row.sum());
        self.folded += minute.len() - before;
        while self.folded > FOLDED_MAX {
            let Some((at, oldest)) = self.minutes.pop_first() else { break };
            self.folded -= oldest.len();
            if !self.past.is_aside(at, at + MINUTE) {
                self.remember(at, &oldest);
            }
        }
    }

    /// Puts a usual minute into the census.
    fn remember(&mut self, at: Time, minute: &Folded) {
        // In order, so that equal input gives equal output.
        let mut keys: Vec<&Key> = minute.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let (method, path) = (self.methods.name(key.method), self.paths.text(key.path));
            let agent = self.agents.text(key.agent);
            self.past.census.sum((key.peer, key.forwarded), (&method, &path, &agent), at, minute[key]);
        }
    }

    /// Makes room for new names: the light ones become stars, here and in everything that is kept.
    #[cold]
    fn forget_names(&mut self) {
        let purged = |names: &mut Names| names.is_full().then(|| names.purge());
        let (paths, agents) = (purged(&mut self.paths), purged(&mut self.agents));
        let now = |ids: &Option<Vec<NameId>>, id: NameId| ids.as_ref().map_or(id, |ids| ids[id as usize]);
        let renamed = |key: Key| Key { path: now(&paths, key.path), agent: now(&agents, key.agent), ..key };
        for row in &mut self.rows {
            row.key = renamed(row.key);
        }
        self.folded = 0;
        for minute in self.minutes.values_mut() {
            let mut fresh = Folded::with_capacity_and_hasher(minute.len(), Scatter::default());
            for (key, sum) in minute.drain() {
                fresh.entry(renamed(key)).or_default().add(&sum);
            }
            self.folded += fresh.len();
            *minute = fresh;
        }
        self.usual = None;
    }

    /// Since when this traffic has been out of its usual. `live` says that the log is complete up to `at`, so that
    /// silence is a fall and not an end of the file.
    pub(crate) fn onset(&self, at: Time, live: bool) -> Option<Time> {
        let at = if live { at } else { self.newest.map_or(at, |n| n + WIDTH) };
        self.past.series.onset(at)
    }

    /// Takes other times of which nothing is usual, in order and apart from each other.
    pub(crate) fn set_aside(&mut self, aside: Arc<[(Time, Time)]>) {
        if self.past.aside != aside {
            self.past.aside = aside;
            self.usual = None;
        }
    }

    /// Usual folded minutes that ended before `until`.
    fn usual_minutes(&self, until: Time) -> impl Iterator<Item = &Folded> {
        let before = self.minutes.range(..until.bucket(MINUTE));
        before.filter(|(at, _)| !self.past.is_aside(**at, **at + MINUTE)).map(|(_, minute)| minute)
    }

    /// Usual fresh rows that ended before `until`.
    fn usual_rows(&self, until: Time) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.end < until && !self.past.is_aside(row.end, row.end))
    }

    /// Every usual group, folded and fresh, that ended before `until`, without the census.
    fn sums_before(&self, until: Time) -> Folded {
        let mut sums = Folded::default();
        for (key, sum) in self.usual_minutes(until).flatten() {
            sums.entry(*key).or_default().add(sum);
        }
        for row in self.usual_rows(until) {
            sums.entry(row.key).or_default().add(&row.sum());
        }
        sums
    }

    /// Learns this service's balancers from the time before `until`.
    pub(crate) fn teach(&mut self, origins: &mut Origins, until: Time) {
        self.past.census.settle();
        let past = || {
            let known = self.past.census.holders().filter(|held| !held.peer.is_unspecified());
            known.map(|held| (held.peer, held.forwarded, held.sum.requests))
        };
        let usual = self.sums_before(until);
        let requests = usual.values().map(|sum| sum.requests).sum::<u32>()
            + past().map(|(.., requests)| requests).sum::<u32>();
        // Better a balancer that is known from a bad time than one that is taken for a stranger.
        let is_usual = requests >= USUAL_REQUESTS_MIN;
        let sums = if is_usual { usual } else { self.sums_before(self.newest.unwrap_or(until) + MINUTE) };
        let fresh = sums.iter().map(|(key, sum)| (key.peer, key.forwarded, sum.requests));
        let all: Vec<_> = fresh.chain(past()).collect();
        if !all.is_empty() {
            origins.learn(all.into_iter(), is_usual);
        }
    }

    /// Whether the usual side for this onset has to be put together anew.
    pub(crate) fn usual_is_stale(&self, until: Time, at: Time, quiet: bool) -> bool {
        self.usual.as_ref().is_none_or(|usual| {
            if quiet { at.since(usual.made) >= USUAL_EVERY } else { usual.until != until }
        })
    }

    fn make_usual(&mut self, origins: &Origins, until: Time, at: Time) {
        self.past.census.settle();
        let sums = self.sums_before(until);
        let from = self.past.series.start().unwrap_or(until);
        let mut a_minute: Vec<usize> = self
            .usual_minutes(until)
            .map(|keys| keys.keys().map(|k| k.forwarded.unwrap_or(k.peer)).collect::<HashSet<_>>().len())
            .collect();
        let mut by_minute: BTreeMap<Time, HashSet<IpAddr>> = BTreeMap::new();
        for row in self.usual_rows(until) {
            let client = row.key.forwarded.unwrap_or(row.key.peer);
            by_minute.entry(row.end.bucket(MINUTE)).or_default().insert(client);
        }
        a_minute.extend(by_minute.values().map(HashSet::len));
        a_minute.sort_unstable();
        let clients_a_minute = a_minute.get(a_minute.len() / 2).copied().unwrap_or(0) as f64;
        let aside: Duration =
            self.past.aside.iter().map(|(since, to)| (*to).min(until).since((*since).max(from))).sum();
        let seconds = until.since(from).saturating_sub(aside).as_secs_f64();
        let side = self.side(origins, sums, Some(&self.past.census), seconds);
        let held_s_median = held_median(&side.holders);
        self.usual = Some(CachedUsual { until, made: at, side, clients_a_minute, held_s_median });
    }

    fn side(&self, origins: &Origins, sums: Folded, past: Option<&Census>, seconds: f64) -> Side {
        let mut holders: Vec<Holder> = Vec::with_capacity(sums.len());
        let (mut from, mut behind) = (HashMap::<Prefix, u32>::default(), HashMap::<Prefix, u32>::default());
        let holder = |(peer, forwarded), method, path, agent, sum: &Sum| Holder {
            client: origins.client(peer, forwarded),
            method,
            path,
            agent,
            requests: sum.requests,
            ok: sum.ok,
            server_errors: sum.server_errors,
            held_s: sum.held_us as f64 / 1e6,
        };
        // Each name once.
        let (mut paths, mut agents) =
            (HashMap::<NameId, Arc<str>>::default(), HashMap::<NameId, Arc<str>>::default());
        for (key, sum) in sums {
            let path = paths.entry(key.path).or_insert_with(|| self.paths.text(key.path)).clone();
            let agent = agents.entry(key.agent).or_insert_with(|| self.agents.text(key.agent)).clone();
            let one = holder((key.peer, key.forwarded), self.methods.name(key.method), path, agent, &sum);
            let Client { address, peer, .. } = one.client;
            *from.entry(peer.into()).or_insert(0) += sum.requests;
            if peer != address {
                *behind.entry(address.into()).or_insert(0) += sum.requests;
            }
            holders.push(one);
        }
        if let Some(census) = past {
            for held in census.holders() {
                holders.push(holder(
                    (held.peer, held.forwarded),
                    held.method.into(),
                    held.path,
                    held.agent,
                    &held.sum,
                ));
            }
            census.origins().for_each(|(prefix, requests)| *from.entry(prefix).or_insert(0) += requests);
            census.forwarded().for_each(|(prefix, requests)| *behind.entry(prefix).or_insert(0) += requests);
        }
        let [from, behind] = [from, behind].map(|origins| {
            let mut all: Vec<(Prefix, u32)> = origins.into_iter().collect();
            all.sort_unstable();
            all
        });
        // Sorted by everything, so that equal input gives equal output.
        holders.sort_unstable_by(|a, b| {
            (b.requests, a.client.peer, a.client.address, &a.method, &a.path, &a.agent).cmp(&(
                a.requests,
                b.client.peer,
                b.client.address,
                &b.method,
                &b.path,
                &b.agent,
            ))
        });
        let folded = holders.len().saturating_sub(HOLDERS_MAX) as u64;
        holders.truncate(HOLDERS_MAX);
        Side { seconds, holders, origins: from, forwarded: behind, folded }
    }

    /// The closed window at `at`, against what was before `onset` (or before the window, when all is as usual).
    pub(crate) fn close(
        &mut self,
        at: Time,
        onset: Option<Time>,
        live: bool,
        origins: &Origins,
        view: Option<&ServerView>,
    ) -> Traffic {
        let end = if live { at } else { self.newest.unwrap_or(at) };
        let quiet = onset.is_none();
        let until = onset.unwrap_or(end - WINDOW_MIN);
        if self.usual_is_stale(until, at, quiet) {
            self.make_usual(origins, until, at);
        }
        // A window of three slow requests: over a shorter one the log's figure swings with the server's timeout.
        let mut slowest = Duration::ZERO;
        for row in self.rows.iter().filter(|row| row.end >= until) {
            slowest = slowest.max(Duration::from_micros(row.held_us));
        }
        let window = (slowest * 3).clamp(WINDOW_MIN, ROWS_FOR);
        let from = until.max(end - window);
        let mut sums = Folded::default();
        let mut clients = HashSet::default();
        for row in self.rows.iter().filter(|row| row.end >= from) {
            sums.entry(row.key).or_default().add(&row.sum());
            if end.since(row.end) <= MINUTE {
                clients.insert(row.key.forwarded.unwrap_or(row.key.peer));
            }
        }
        let seconds = end.since(from).as_secs_f64().max(1.0);
        let now = self.side(origins, sums, None, seconds);
        let recent = end - RATE_OVER.min(end.since(until).max(WIDTH));
        let rate = |value: fn(&crate::series::Bucket) -> u32| {
            let sum: u32 =
                self.past.series.range(recent.bucket(WIDTH), end + WIDTH).map(|(_, b)| value(b)).sum();
            f64::from(sum) / end.since(recent.bucket(WIDTH)).as_secs_f64().max(1.0)
        };
        let start = self.past.series.start().unwrap_or(until);
        let line = self.past.series.usual(start, until).unwrap_or_default();
        let (live_holders, queued) =
            view.map(|view| holders_of(view, origins, &self.paths)).unwrap_or_default();
        let usual = self.usual.as_ref().expect("made above when it was missing");
        // A history that is itself an outage is nobody's usual; then nothing is known, and that is said.
        let sick = quiet && is_sick(&usual.side);
        let line = if sick { crate::series::Usual::default() } else { line };
        let usual_side = if sick { Side::default() } else { usual.side.clone() };
        Traffic {
            service: self.service.clone(),
            now,
            usual: usual_side,
            live: live_holders,
            queued,
            requests: Rate { now: rate(|b| b.requests), usual: line.requests },
            pages_ok: Rate { now: rate(|b| b.pages_ok), usual: line.pages_ok },
            server_errors: Rate { now: rate(|b| b.server_errors), usual: line.server_errors },
            clients: Rate { now: clients.len() as f64, usual: usual.clients_a_minute },
            onset,
            last_line: self.newest,
            held_peak: self
                .past
                .series
                .range((end - PEAK_OVER).max(until), end + WIDTH)
                .map(|(_, b)| b.held_us as f64 / 1e6 / WIDTH.as_secs_f64())
                .fold(0.0, f64::max),
            held_s_usual_median: usual.held_s_median,
        }
    }

    /// Rates of this second as raw readings, for the record.
    pub(crate) fn rates(&self, at: Time) -> [(&'static str, f64); 3] {
        let to = at.bucket(WIDTH);
        let sum = |value: fn(&crate::series::Bucket) -> u32| -> f64 {
            self.past.series.range(to - WIDTH, to).map(|(_, b)| f64::from(value(b))).sum::<f64>()
                / WIDTH.as_secs_f64()
        };
        [
            ("http.requests", sum(|b| b.requests)),
            ("http.pages_ok", sum(|b| b.pages_ok)),
            ("http.server_errors", sum(|b| b.server_errors)),
        ]
    }
}

/// Whether a fifth of all answers were errors of the server.
fn is_sick(side: &Side) -> bool {
    let (requests, errors) = side
        .holders
        .iter()
        .fold((0u64, 0u64), |sum, h| (sum.0 + u64::from(h.requests), sum.1 + u64::from(h.server_errors)));
    requests > 0 && errors * 5 >= requests
}

/// The median time that a request holds a worker, weighted by requests.
fn held_median(holders: &[Holder]) -> f64 {
    let mut each: Vec<(f64, u32)> =
        holders.iter().map(|h| (h.held_s / f64::from(h.requests.max(1)), h.requests)).collect();
    each.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = each.iter().map(|e| u64::from(e.1)).sum::<u64>() / 2;
    let mut seen = 0;
    for (held, requests) in each {
        seen += u64::from(requests);
        if seen >= half {
            return held;
        }
    }
    0.0
}

/// The live view as holders: the busy workers, and the connections that wait for one.
fn holders_of(view: &ServerView, origins: &Origins, paths: &Names) -> (Vec<Holder>, Vec<Holder>) {
    let held = view
        .workers
        .iter()
        .filter(|w| w.waiting != Waiting::Idle)
        .filter_map(|w| {
            let peer = canonical(w.peer?.ip());
            let path = w.path.as_deref().unwrap_or("").split('?').next().unwrap_or("");
            Some(Holder {
                client: origins.client(peer, None),
                method: symbols::method(w.method.as_deref().unwrap_or("").as_bytes()).into(),
                path: paths.name(path.as_bytes()),
                agent: "".into(),
                requests: 1,
                ok: 0,
                server_errors: 0,
                held_s: w.held_ms.unwrap_or(0) as f64 / 1e3,
            })
        })
        .collect();
    let queued = view
        .queue
        .iter()
        .map(|q| Holder {
            client: origins.client(canonical(q.peer.ip()), None),
            method: "".into(),
            path: "".into(),
            agent: "".into(),
            requests: 1,
            ok: 0,
            server_errors: 0,
            held_s: 0.0,
        })
        .collect();
    (held, queued)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The peers of the usual side with their requests, and its seconds.
    fn usual(aside: &[(i64, i64)]) -> (Vec<(String, u32)>, f64) {
        let mut watch = TrafficWatch::new("web", Arc::new([]));
        let day = (0..120).map(|n| (n * 10, "192.0.2.1", &b"GET"[..]));
        // Two waves: one in minutes that are folded by now, one among the fresh rows.
        let waves = (100..160).chain(1000..1060).map(|n| (n, "198.51.100.7", &b"CONNECT"[..]));
        let mut all: Vec<_> = day.chain(waves).collect();
        all.sort_by_key(|(at, ..)| *at);
        for (at, peer, method) in all {
            watch.request(&Request {
                time: Time::from_secs(at),
                peer: peer.parse().ok(),
                client: peer.parse().ok(),
                method,
                path: b"/",
                status: Some(200),
                duration_us: Some(1000),
                protocol: b"HTTP/1.1",
                ..Request::BLANK
            });
        }
        let seconds = |s: &(i64, i64)| (Time::from_secs(s.0), Time::from_secs(s.1));
        watch.set_aside(aside.iter().map(seconds).collect());
        let at = Time::from_secs(1200);
        let side = watch.close(at, Some(at), true, &Origins::new(Vec::new()), None).usual;
        let holders = side.holders.iter().map(|h| (h.client.peer.to_string(), h.requests)).collect();
        (holders, side.seconds)
    }

    #[test]
    fn requests_of_an_incident_are_not_usual() {
        let (all, seconds) = usual(&[]);
        assert_eq!(all.iter().map(|(_, n)| n).sum::<u32>(), 240);
        assert_eq!(seconds, 1200.0);
        let (clear, seconds) = usual(&[(100, 165), (1000, i64::MAX / 1_000_000)]);
        assert!(clear.iter().all(|(peer, _)| peer == "192.0.2.1"), "{clear:?}");
        assert!(!clear.is_empty());
        assert_eq!(seconds, 1200.0 - 65.0 - 200.0);
    }

    /// A log is read from its newest lines backwards, and so many different paths stand in it that names are forgotten.
    #[test]
    fn names_may_be_forgotten_while_old_requests_come_in() {
        let mut watch = TrafficWatch::new("web", Vec::new().into());
        const NEWEST: i64 = 1_000_000;
        let word = |n: i64| -> String {
            (0..5).map(|place| char::from(b'a' + (n / 26i64.pow(place) % 26) as u8)).collect()
        };
        let all = 2 * (FOLDED_MAX + PATHS_MAX) as i64;
        for n in 0..all {
            let path = format!("/{}/{}", word(n), word(n * 7));
            watch.request(&Request {
                time: Time::from_secs(if n == 0 { NEWEST } else { NEWEST - 700 - n / 20 }),
                peer: Some((0x0a00_0000 | n as u32).to_be_bytes().into()),
                method: b"GET",
                path: path.as_bytes(),
                status: Some(200),
                ..Request::BLANK
            });
        }
        let counted: u32 = watch.past.census.busiest(1).addresses.iter().map(|origin| origin.requests).sum();
        assert!(counted > 0, "the oldest minutes were put into the census");
    }
}
