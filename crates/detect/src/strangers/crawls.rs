//! *Crawls*: who reads page after page, by network and by what it calls itself, in tables of fixed size.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::quality::FixedState;
use toban_model::event::Request;
use toban_model::{Crawl, Prefix, Time, canonical, is_private, prefix_of};

use crate::origin::last_forwarded;
use crate::tables::HashMap;

/// Some 500 bytes each.
const READERS_MAX: usize = 1024;
/// Counted by halves of this.
const WINDOW: Duration = Duration::from_secs(120);
const AGENT_BYTES: usize = 256;
/// Fewer requests in a window are not worth telling.
const REQUESTS_MIN: u32 = 30;
const TOLD_MAX: usize = 16;

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    requests: u32,
    ok: u32,
    reads: u32,
    /// Different paths and addresses, by linear counting.
    paths: [u64; 16],
    clients: u64,
}

#[derive(Debug)]
struct Reader {
    agent: Box<str>,
    first: Time,
    last: Time,
    robots: Option<Time>,
    /// The half window that goes on, and the one before.
    half: Time,
    now: Count,
    before: Count,
}

#[derive(Debug, Default)]
pub(super) struct Crawls {
    readers: HashMap<(String, Prefix, u64), Reader>,
    newest: Time,
}

fn hash(bytes: &[u8]) -> u64 {
    FixedState::with_seed(0).hash_one(bytes)
}

/// About how many, of `bits` places of which so many are taken.
fn linear(taken: u32, bits: u32) -> f64 {
    let bits = f64::from(bits);
    bits * (bits / (bits - f64::from(taken)).max(1.0)).ln()
}

impl Crawls {
    #[inline]
    pub(super) fn request(&mut self, service: &str, request: &Request<'_>) {
        self.newest = self.newest.max(request.time);
        if self.newest.since(request.time) > WINDOW {
            return;
        }
        let Some(peer) = request.client.or(request.peer).map(canonical) else { return };
        // Nobody is banned for this, so the word of a proxy in one's own network is enough.
        let client = request.forwarded.and_then(last_forwarded).filter(|_| is_private(peer)).unwrap_or(peer);
        let agent = request.agent.unwrap_or_default();
        let network = prefix_of(client, 24, 48);
        if self.readers.len() >= READERS_MAX {
            self.thin();
        }
        let at = request.time;
        let key = (service.to_owned(), network, hash(agent));
        let reader = self.readers.entry(key).or_insert_with(|| Reader {
            agent: String::from_utf8_lossy(&agent[..agent.len().min(AGENT_BYTES)]).into(),
            first: at,
            last: at,
            robots: None,
            half: at,
            now: Count::default(),
            before: Count::default(),
        });
        if at.since(reader.last) > WINDOW {
            (reader.first, reader.robots) = (at, None);
            (reader.now, reader.before) = Default::default();
        }
        (reader.first, reader.last) = (reader.first.min(at), reader.last.max(at));
        if at.since(reader.half) >= WINDOW / 2 {
            reader.before = std::mem::take(&mut reader.now);
            reader.half = at;
        }
        if request.path == b"/robots.txt" {
            reader.robots.get_or_insert(at);
        }
        reader.now.add(request, client);
    }

    fn thin(&mut self) {
        let mut weights: Vec<u32> = self.readers.values().map(Reader::requests).collect();
        weights.sort_unstable();
        let middle = weights[weights.len() / 2];
        self.readers.retain(|_, reader| reader.requests() > middle);
    }

    pub(super) fn close(&self, at: Time) -> Vec<Crawl> {
        let busy = self.readers.iter().filter(|(_, reader)| {
            reader.requests() >= REQUESTS_MIN && at.since(reader.last) <= WINDOW / 4 && reader.last <= at
        });
        let mut all: Vec<Crawl> =
            busy.map(|((service, network, _), reader)| reader.tell(service, *network)).collect();
        all.sort_by(|a, b| {
            (b.requests, &a.network, &a.agent, &a.service)
                .cmp(&(a.requests, &b.network, &b.agent, &b.service))
        });
        all.truncate(TOLD_MAX);
        all
    }
}

impl Count {
    fn add(&mut self, request: &Request<'_>, client: IpAddr) {
        self.requests += 1;
        // A crawler is told to come again later (429), and asks for what is unchanged (304).
        self.ok +=
            u32::from(request.status.is_some_and(|status| (200..400).contains(&status) || status == 429));
        self.reads += u32::from(matches!(request.method, b"GET" | b"HEAD"));
        let place = hash(request.path) as usize % 1024;
        self.paths[place / 64] |= 1 << (place % 64);
        let octets = match client {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        self.clients |= 1 << (hash(&octets) % 64);
    }
}

impl Reader {
    fn requests(&self) -> u32 {
        self.now.requests + self.before.requests
    }

    fn tell(&self, service: &str, network: Prefix) -> Crawl {
        let (now, before) = (&self.now, &self.before);
        let requests = f64::from(self.requests().max(1));
        // A path counts once a half window: what is read again a minute later is read again.
        let distinct: f64 = [now, before]
            .map(|count| linear(count.paths.iter().map(|word| word.count_ones()).sum(), 1024))
            .iter()
            .sum();
        let from = if before.requests > 0 { self.half - WINDOW / 2 } else { self.half };
        Crawl {
            service: service.to_owned(),
            network,
            agent: self.agent.to_string(),
            requests: self.requests(),
            seconds: self.last.since(from.max(self.first)).as_secs_f64().max(1.0),
            clients: linear((now.clients | before.clients).count_ones(), 64).round() as u32,
            ok_share: f64::from(now.ok + before.ok) / requests,
            reads_share: f64::from(now.reads + before.reads) / requests,
            distinct_share: (distinct / requests).min(1.0),
            robots: self.robots,
            first: self.first,
        }
    }
}
