//! *Census*: who asked for what over a stretch of time, in memory that does not grow with what is sent.
//!
//! It counts by address and network, by path template, by user agent, and by their combinations; it knows how many
//! different clients there were and how long requests took. Each count comes with the most that it may be short of.
//! Two censuses of two parts of a log, taken at once, are one.
//!
//! Combinations share out all requests: each is counted in exactly one of them. A client has combinations of its own
//! once it is heavy enough to be a suspect and the combination comes again; until then its requests belong to nobody's.

mod combinations;
mod frequent;
mod names;
mod prefixes;
mod sketches;
mod tally;

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use toban_model::event::Request;
use toban_model::{Busiest, Combined, Named, Origin, Prefix, Time};

pub(crate) use frequent::{Counted, Frequent, Tally};
pub(crate) use names::{ANY, NameId, Names, hash_of};
pub(crate) use prefixes::{Bits, address, bits};
use prefixes::{Key, Prefixes};
use sketches::{Distinct, Durations};
pub(crate) use tally::{Sum, Visits};

/// Some 16 Ki templates are 2 MiB.
const PATHS_MAX: usize = 1 << 14;
pub(crate) const AGENTS_MAX: usize = 1 << 11;
/// About 90 bytes each: 1.5 MiB.
const COMBINATIONS_MAX: usize = (1 << 14) / 8 * 7;
/// A client's combination is let in when it came this often; most come once. Its counters at the door are a byte each.
const KNOCKS_MIN: u8 = 4;
const DOORS: usize = 1 << 16;
/// Requests that are counted at once: together they stay in the nearest cache.
const ROWS: usize = 256;
/// A client is heavy with this many requests, or with this part of all of them.
const HEAVY_MIN: u32 = 32;
const HEAVY_PART: u32 = 8192;

/// The methods that are told apart: RFC 9110, RFC 5789, WebDAV's, and what proxies and scanners send. The first stands
/// for a line without one, the last for all others.
const METHODS: [&str; 20] = [
    "",
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "PROPFIND",
    "PROPPATCH",
    "MKCOL",
    "COPY",
    "MOVE",
    "LOCK",
    "UNLOCK",
    "REPORT",
    "PRI",
    "*",
];

fn method_id(method: &[u8]) -> u8 {
    match method {
        b"GET" => 1,
        b"POST" => 2,
        _ => METHODS.iter().position(|known| known.as_bytes() == method).unwrap_or(METHODS.len() - 1) as u8,
    }
}

/// Minutes since the epoch.
fn minute(at: Time) -> u32 {
    at.as_micros().div_euclid(60_000_000) as u32
}

/// An unknown client's address.
const NOBODY: Bits = 0;
/// A forwarded address that is not kept: different from none at all.
const SOMEBODY: Bits = 1;

/// What requests have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Combination {
    peer: Bits,
    /// Zero if the request did not come through a proxy.
    forwarded: Bits,
    path: NameId,
    agent: NameId,
    method: u8,
}

impl Hash for Combination {
    /// In two words instead of five. Nobody is his own proxy, so the two addresses do not cancel each other out.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.peer ^ self.forwarded.rotate_left(64));
        state.write_u64(u64::from(self.path) << 32 | u64::from(self.agent) << 8 ^ u64::from(self.method));
    }
}

impl Combination {
    fn is_somebodys(&self) -> bool {
        self.forwarded > SOMEBODY || self.forwarded == 0 && self.peer != NOBODY
    }

    /// Without the client.
    fn nobodys(self) -> Combination {
        match self.forwarded {
            0 => Combination { peer: NOBODY, ..self },
            _ => Combination { forwarded: self.forwarded.min(SOMEBODY), ..self },
        }
    }

    /// One step wider.
    fn wider(mut self) -> Combination {
        if self.forwarded > SOMEBODY {
            self.forwarded = SOMEBODY;
        } else if self.forwarded == 0 && self.peer != NOBODY {
            self.peer = NOBODY;
        } else if self.agent != ANY {
            self.agent = ANY;
        } else if self.path != ANY {
            self.path = ANY;
        } else {
            self.peer = NOBODY;
            self.method = METHODS.len() as u8 - 1;
        }
        self
    }
}

/// A request that waits to be counted.
#[derive(Clone, Copy, Debug, Default)]
struct Row {
    peer: Bits,
    forwarded: Bits,
    path: NameId,
    agent: NameId,
    method: u8,
    minute: u32,
    sum: Sum,
}

/// Who asked for what over a stretch of time.
#[derive(Clone, Debug)]
pub struct Census {
    /// What waits to be counted, and room for the combinations that it makes.
    rows: Box<[Row]>,
    waiting: usize,
    keys: Vec<(Combination, u32)>,
    peers: Prefixes,
    forwarded: Prefixes,
    paths: Names,
    agents: Names,
    combinations: Frequent<Combination, Sum>,
    doors: Box<[u8]>,
    clients: Distinct,
    durations: Durations,
    total: u32,
    span: Option<(Time, Time)>,
}

impl Default for Census {
    fn default() -> Self {
        Census {
            rows: vec![Row::default(); ROWS].into(),
            waiting: 0,
            keys: Vec::with_capacity(ROWS),
            peers: Prefixes::default(),
            forwarded: Prefixes::default(),
            paths: Names::paths(PATHS_MAX),
            agents: Names::agents(AGENTS_MAX),
            combinations: Frequent::new(COMBINATIONS_MAX),
            doors: vec![0; DOORS].into(),
            clients: Distinct::default(),
            durations: Durations::default(),
            total: 0,
            span: None,
        }
    }
}

impl Census {
    /// Counts a request that came from `peer`, who may have `forwarded` it for somebody.
    #[inline]
    pub fn request(&mut self, peer: IpAddr, forwarded: Option<IpAddr>, request: &Request<'_>) {
        self.request_hashed(peer, forwarded, request, hash_of(request.path));
    }

    /// The same of one whose path was hashed already.
    #[inline]
    pub(crate) fn request_hashed(
        &mut self,
        peer: IpAddr,
        forwarded: Option<IpAddr>,
        request: &Request<'_>,
        path: u64,
    ) {
        self.make_room();
        if let Some(micros) = request.duration_us {
            self.durations.add(micros);
        }
        let path = self.paths.count_hashed(request.path, path);
        let agent = request.agent.map_or(ANY, |agent| self.agents.count(agent));
        self.reach(request.time);
        // Written field by field where it stands: put together elsewhere it would be waited for to be copied.
        let Some(row) = self.rows.get_mut(self.waiting) else { return };
        row.peer = bits(peer);
        row.forwarded = forwarded.map_or(0, |address| bits(address).max(SOMEBODY + 1));
        (row.path, row.agent) = (path, agent);
        row.method = method_id(request.method);
        row.minute = minute(request.time);
        row.sum = Sum::one(request.status.unwrap_or(0), request.duration_us.unwrap_or(0));
        self.waiting += 1;
    }

    /// Counts what is already summed up of one client, method, path and agent.
    pub(crate) fn sum(
        &mut self,
        (peer, forwarded): (IpAddr, Option<IpAddr>),
        (method, path, agent): (&str, &str, &str),
        at: Time,
        sum: Sum,
    ) {
        self.make_room();
        let row = Row {
            peer: bits(peer),
            forwarded: forwarded.map_or(0, |address| bits(address).max(SOMEBODY + 1)),
            path: self.paths.find(path.as_bytes()),
            agent: self.agents.find(agent.as_bytes()),
            method: method_id(method.as_bytes()),
            minute: minute(at),
            sum,
        };
        self.reach(at);
        if let Some(place) = self.rows.get_mut(self.waiting) {
            *place = row;
            self.waiting += 1;
        }
    }

    #[inline]
    fn make_room(&mut self) {
        if self.waiting >= ROWS || self.paths.is_full() || self.agents.is_full() {
            self.settle();
        }
    }

    /// Counts the rows that wait. One step for all of them after the other: the memory that each row of a step needs
    /// is fetched while others are at work, which makes it three times as fast as row by row.
    pub(crate) fn settle(&mut self) {
        let all = std::mem::take(&mut self.rows);
        let rows = &all[..std::mem::take(&mut self.waiting)];
        let mut keys = std::mem::take(&mut self.keys);
        self.total += rows.iter().map(|row| row.sum.requests).sum::<u32>();
        let heavy = HEAVY_MIN.max(self.total / HEAVY_PART);
        keys.extend(rows.iter().map(|row| self.origin(row, heavy)));
        for ((key, before), row) in keys.iter_mut().zip(rows) {
            let (path, by_path) = self.paths.heavy(row.path, heavy);
            let (agent, by_agent) = self.agents.heavy(row.agent, heavy);
            (key.path, key.agent) = (path, agent);
            // What a new combination may have been before it was one: none of its parts was more.
            *before = by_path.min(by_agent).min(*before);
        }
        for ((key, before), row) in keys.drain(..).zip(rows) {
            let key = match self.combinations.known(key) {
                Ok(entry) => {
                    entry.tally.add(&row.sum);
                    continue;
                }
                Err(hash) if key.is_somebodys() => {
                    let door = &mut self.doors[hash as usize >> 16 & (DOORS - 1)];
                    *door += 1;
                    if *door < KNOCKS_MIN {
                        key.nobodys()
                    } else {
                        *door = 0;
                        key
                    }
                }
                Err(_) => key,
            };
            let entry = self.combinations.entry(key);
            if entry.tally.requests == 0 {
                entry.missed = entry.missed.saturating_add(before);
            }
            entry.tally.add(&row.sum);
        }
        (self.rows, self.keys) = (all, keys);
        if self.paths.is_full() || self.agents.is_full() {
            self.forget_names();
        }
        while self.combinations.is_full() {
            self.forget_combinations();
        }
    }

    /// Counts a row for its addresses, and begins its combination.
    #[inline]
    fn origin(&mut self, row: &Row, heavy: u32) -> (Combination, u32) {
        let mut key = Combination {
            peer: row.peer,
            forwarded: row.forwarded,
            path: ANY,
            agent: ANY,
            method: row.method,
        };
        let mut before = u32::MAX;
        let mut suspect = |known: &mut Counted<Key, Visits>, clients: &mut Distinct| {
            let requests = known.tally.requests;
            if requests == 0 {
                clients.add(known.key.bits());
            }
            if requests >= heavy {
                before = before.min(requests.saturating_add(known.missed));
            }
            known.tally.add(row.minute, row.sum.requests);
            requests >= heavy
        };
        if !suspect(self.peers.entry(row.peer), &mut self.clients) {
            key.peer = NOBODY;
        }
        if row.forwarded != 0 && !suspect(self.forwarded.entry(row.forwarded), &mut self.clients) {
            key.forwarded = SOMEBODY;
        }
        (key, before)
    }

    #[inline]
    fn reach(&mut self, at: Time) {
        let (from, to) = self.span.get_or_insert((at, at));
        *from = (*from).min(at);
        *to = (*to).max(at);
    }

    #[cold]
    fn forget_names(&mut self) {
        if self.paths.is_full() {
            let ids = self.paths.purge();
            self.combinations.rename(|key| Combination { path: ids[key.path as usize], ..key });
        }
        if self.agents.is_full() {
            let ids = self.agents.purge();
            self.combinations.rename(|key| Combination { agent: ids[key.agent as usize], ..key });
        }
    }

    #[cold]
    fn forget_combinations(&mut self) {
        self.doors.fill(0);
        for light in self.combinations.purge() {
            self.combinations.entry(light.key.wider()).tally.add(&light.tally);
        }
    }

    /// Takes in what was counted in another part of the same log.
    pub fn absorb(&mut self, mut other: Census) {
        self.settle();
        other.settle();
        let paths = self.paths.absorb(&other.paths);
        let agents = self.agents.absorb(&other.agents);
        other.combinations.rename(|key| Combination {
            path: paths[key.path as usize],
            agent: agents[key.agent as usize],
            ..key
        });
        self.combinations.absorb(other.combinations);
        self.peers.absorb(other.peers);
        self.forwarded.absorb(other.forwarded);
        self.clients.absorb(&other.clients);
        self.durations.absorb(&other.durations);
        self.total += other.total;
        for at in other.span.iter().flat_map(|(from, to)| [from, to]) {
            self.reach(*at);
        }
        if self.paths.is_full() || self.agents.is_full() {
            self.forget_names();
        }
        while self.combinations.is_full() {
            self.forget_combinations();
        }
    }

    /// The times of the first and the last request.
    pub fn span(&self) -> Option<(Time, Time)> {
        self.span
    }

    /// The busiest addresses and networks, paths, agents and combinations, at most `n` of each, the busiest first.
    pub fn busiest(&self, n: usize) -> Busiest {
        let mut census = self.clone();
        census.settle();
        let mut prefixes: Vec<Origin> = (1..4).flat_map(|level| census.peers.level(level)).collect();
        heaviest(&mut prefixes, n, |origin| (origin.requests, origin.prefix));
        let mut addresses = census.peers.level(0);
        heaviest(&mut addresses, n, |origin| (origin.requests, origin.prefix));
        // A template is worth its name from the weight of the n-th on, and from a thousandth of everything.
        let least = census.total / 1000;
        let ids = census.paths.widen(|requests| requests < least);
        census.combinations.rename(|key| Combination { path: ids[key.path as usize], ..key });
        let ids = census.agents.widen(|requests| requests < least);
        census.combinations.rename(|key| Combination { agent: ids[key.agent as usize], ..key });
        let named = |names: &Names| {
            let mut all: Vec<Named> = names
                .ids()
                .map(|id| {
                    let (requests, missed) = names.requests(id);
                    Named { name: names.text(id), requests, missed }
                })
                .filter(|named| named.requests > 0)
                .collect();
            heaviest(&mut all, n, |named| (named.requests, named.name.clone()));
            all
        };
        let mut combinations = census.combined();
        heaviest(&mut combinations, n, |combined| {
            let Combined { client, method, path, agent, .. } = combined;
            (combined.requests, (*client, *method, path.clone(), agent.clone()))
        });
        let quantile = |part| Some(self.durations.quantile(part)? as f64 / 1e6);
        Busiest {
            addresses,
            prefixes,
            paths: named(&census.paths),
            agents: named(&census.agents),
            combinations,
            clients: census.clients.estimate(),
            durations_s: quantile(0.5).and_then(|half| Some([half, quantile(0.9)?, quantile(0.99)?])),
        }
    }

    /// What each address did that is known one by one.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (Bits, &Visits)> {
        self.peers.addresses().map(|known| (known.key.bits(), &known.tally))
    }

    /// Every combination, for what is usual.
    pub(crate) fn holders(&self) -> impl Iterator<Item = Held> {
        self.combinations.iter().filter(|known| known.tally.requests > 0).map(|known| {
            let Combination { peer, forwarded, path, agent, method } = known.key;
            Held {
                peer: address(peer),
                forwarded: (forwarded > 0)
                    .then(|| address(if forwarded > SOMEBODY { forwarded } else { NOBODY })),
                method: METHODS[usize::from(method)],
                path: self.paths.text(path),
                agent: self.agents.text(agent),
                sum: known.tally,
            }
        })
    }

    /// The TCP peers that requests came from, each request counted once: addresses, and for the rest their networks.
    pub(crate) fn origins(&self) -> impl Iterator<Item = (Prefix, u32)> {
        self.peers.parts()
    }

    /// In the same way the clients behind proxies.
    pub(crate) fn forwarded(&self) -> impl Iterator<Item = (Prefix, u32)> {
        self.forwarded.parts()
    }
}

/// A part of what is usual. An address that is not kept is the unspecified one.
pub(crate) struct Held {
    pub(crate) peer: IpAddr,
    pub(crate) forwarded: Option<IpAddr>,
    pub(crate) method: &'static str,
    pub(crate) path: Arc<str>,
    pub(crate) agent: Arc<str>,
    pub(crate) sum: Sum,
}

fn heaviest<T, K: Ord>(all: &mut Vec<T>, n: usize, key: impl Fn(&T) -> (u32, K)) {
    all.sort_by_cached_key(|one| {
        let (requests, name) = key(one);
        (std::cmp::Reverse(requests), name)
    });
    all.truncate(n);
}

#[cfg(test)]
mod tests;
