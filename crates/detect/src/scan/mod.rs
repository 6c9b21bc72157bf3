//! *Scan*: whom one would blame for what stands in some logs, and for what.
//!
//! It sums up what each client did against each service (its [`deeds`]), beside the [`Census`] of all requests, and judges
//! when all is read and it is known what the others did. What a first reading cannot hold, the addresses of a flood and
//! their lines, a second one looks up ([`Again`]). Memory is bounded: a client whose deeds are the lightest is put out.

mod deeds;
mod floods;
mod judge;
mod recent;
mod story;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use toban_model::event::{Event, Request};
use toban_model::{Blamed, Prefix, Time, canonical, is_private, prefix_of, same_family_contains};

use crate::census::{Bits, Census, Frequent, address, bits, hash_of};
use deeds::{Accounts, Deeds, LINES_MAX, Live, Mark, Marks, Sum, Told, Way, Who, told, told_of_request};
pub use floods::Again;
use floods::{Bursts, Flood, Suspect};
pub(crate) use recent::Recent;
use story::Story;

/// Clients with deeds: about 220 bytes each, 6 MiB.
const CLIENTS_MAX: usize = (1 << 15) / 8 * 7;
/// Services in one scan; a log of more is summed up under the last.
const SERVICES_MAX: usize = 64;
/// Proxies in front of a server: not more than so many, and together at least this part of what it is asked.
const PROXIES_MAX: usize = 8;
const PROXIES_SHARE: f64 = 0.5;
/// A private address with less than this part of it is a host like others.
const PROXY_SHARE: f64 = 0.01;

/// Where an event stands: its file, and the place of its line in it, at about so many bytes.
pub type Place = (u32, u64);

/// Somebody who is blamed, and where the first of the lines stand that count, in order.
pub type Verdict = (Blamed, Vec<Place>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    name: Vec<u8>,
    way: Way,
    /// The times of its first and its last request.
    span: Option<(Time, Time)>,
}

/// The services that every log may be of: its own as its requests tell, and as its complaints do.
const REQUESTS: u8 = 0;
const ERRORS: u8 = 1;

/// Counts what is in some logs, to be judged at the end.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The service is there to pass requests on.
    passes_on: bool,
    census: Census,
    services: Vec<Service>,
    deeds: Frequent<Who, Deeds>,
    marks: Marks,
    live: Live,
    bursts: Bursts,
    proxies: BTreeSet<Bits>,
}

impl Scan {
    /// For a log of this service. One that `passes_on` is there for requests to other hosts.
    pub fn new(service: &str, passes_on: bool) -> Scan {
        let named = |way| Service { name: service.into(), way, span: None };
        Scan {
            passes_on,
            census: Census::default(),
            services: vec![named(Way::Requests), named(Way::Errors)],
            deeds: Frequent::new(CLIENTS_MAX),
            marks: Marks::default(),
            live: Live::default(),
            bursts: Bursts::default(),
            proxies: BTreeSet::new(),
        }
    }

    /// What was asked for, by whom.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Takes one event of the log.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, place: Place) {
        if let Event::Request(request) = event {
            self.request(request, place);
        } else if let Some(told) = told(event) {
            let service = match told.service {
                Some(name) => self.service(name, told.way),
                None => ERRORS,
            };
            self.note(&told, service, place);
        }
    }

    /// Takes one request of the log.
    #[inline]
    pub fn request(&mut self, request: &Request<'_>, place: Place) {
        let Some(client) = request.client.or(request.peer).map(canonical) else { return };
        let path = hash_of(request.path);
        self.census.request_hashed(client, None, request, path);
        self.bursts.count(bits(client), (request, path), REQUESTS, place);
        if let Some(told) = told_of_request(request, self.passes_on) {
            self.note(&told, REQUESTS, place);
        }
    }

    fn note(&mut self, told: &Told<'_>, service: u8, place: Place) {
        let who = Who::new(told.client, service);
        self.deeds.entry(who).tally.add(told);
        self.marks.add(who, told, place);
        if told.login {
            self.live.add(told.what);
        }
        self.bound();
    }

    fn bound(&mut self) {
        while self.deeds.is_full() {
            for light in self.deeds.purge() {
                self.marks.forget(light.key);
            }
        }
    }

    fn service(&mut self, name: &[u8], way: Way) -> u8 {
        let known = self.services.iter().position(|known| known.name == name && known.way == way);
        let id = known.unwrap_or_else(|| {
            if self.services.len() < SERVICES_MAX {
                self.services.push(Service { name: name.to_vec(), way, span: None });
            }
            self.services.len() - 1
        });
        id as u8
    }

    /// Takes in what was counted in another part of the same log.
    pub fn absorb(&mut self, mut other: Scan) {
        self.bursts.settle(REQUESTS);
        other.bursts.settle(REQUESTS);
        self.census.absorb(other.census);
        self.proxies.append(&mut other.proxies);
        let mut services = Vec::with_capacity(other.services.len());
        for Service { name, way, span } in other.services {
            let id = self.service(&name, way);
            self.services[usize::from(id)].reach(span);
            services.push(id);
        }
        let service = |id: u8| services[usize::from(id)];
        let name = |who: Who| Who { service: service(who.service), ..who };
        other.deeds.rename(name);
        self.deeds.absorb(other.deeds);
        self.marks.absorb(other.marks, name);
        self.live.absorb(other.live);
        self.bursts.absorb(other.bursts, service);
        self.bound();
    }

    /// The log is read to its end. What it tells as a whole is noted, before another log's scan takes it in.
    pub fn end(&mut self) {
        self.bursts.settle(REQUESTS);
        self.census.settle();
        self.services[usize::from(REQUESTS)].reach(self.census.span());
        // Who passes on everybody's requests did none of what is asked for.
        let all: u64 = self.census.addresses().map(|(_, visits)| u64::from(visits.requests)).sum();
        let shares = |least: f64| {
            let private = self.census.addresses().filter(|(client, _)| is_private(address(*client)));
            let shares =
                private.map(move |(client, visits)| (client, f64::from(visits.requests) / all as f64));
            shares.filter(move |(_, share)| *share >= least)
        };
        let (busy, share) = shares(PROXY_SHARE).fold((0, 0.0), |(n, sum), (_, share)| (n + 1, sum + share));
        if busy <= PROXIES_MAX && share >= PROXIES_SHARE {
            self.proxies = shares(0.0).map(|(client, _)| client).collect();
        }
    }

    /// Judges all, when all logs are read.
    pub fn judge(&self) -> Judgement {
        let asked: BTreeMap<Bits, u32> =
            self.census.addresses().map(|(client, visits)| (client, visits.requests)).collect();
        let mut by_service: BTreeMap<u8, Vec<Story>> = BTreeMap::new();
        let mut known: BTreeSet<Bits> = asked.keys().copied().collect();
        // Whoever reads mail here mistypes where mail is sent, too.
        let mut own: BTreeMap<Bits, Accounts> = BTreeMap::new();
        for deeds in self.deeds.iter() {
            known.insert(deeds.key.client);
            own.entry(deeds.key.client).or_default().merge(deeds.tally.own);
        }
        for deeds in self.deeds.iter() {
            let who = deeds.key;
            let way = self.services[usize::from(who.service)].way;
            if way == Way::Logins || !self.proxies.contains(&who.client) {
                let asked = if way == Way::Requests { asked.get(&who.client).copied() } else { None };
                let mut story = Story::new(who, &deeds.tally, way, asked.unwrap_or(0), &self.marks);
                story.know(own[&who.client]);
                by_service.entry(who.service).or_default().push(story);
            }
        }
        let mut blamed = Blame { services: self.services.clone(), known, all: Vec::new() };
        for stories in by_service.values_mut() {
            stories.sort_by(|a, b| a.clients.cmp(&b.clients));
            for (story, (cause, deeds)) in judge::judge(stories, &self.live) {
                let mut sum = Sum::default();
                deeds.iter().for_each(|deed| sum.add(story.sum(*deed)));
                let marks = deeds.iter().flat_map(|deed| story.marks(*deed));
                let places = marks.map(Mark::place).collect();
                blamed.add(cause, story.service, judge::clients(&story).collect(), &sum, places);
            }
        }
        let minutes = |service: u8| {
            let span = self.services[usize::from(service)].span;
            span.map_or(1, |(from, to)| (to.since(from).as_secs() / 60 + 1) as usize)
        };
        let suspects = self.bursts.suspects(minutes, &self.proxies).into();
        Judgement { blamed, suspects }
    }
}

impl Service {
    fn reach(&mut self, span: Option<(Time, Time)>) {
        if let Some((from, to)) = span {
            let (first, last) = self.span.get_or_insert((from, to));
            (*first, *last) = ((*first).min(from), (*last).max(to));
        }
    }
}

/// Who is blamed, as far as one reading of the logs tells.
pub struct Judgement {
    blamed: Blame,
    suspects: Arc<[Suspect]>,
}

impl Judgement {
    /// A second reading of the logs of a service, if one is needed.
    pub fn again(&self, service: &str) -> Option<Again> {
        let known = |s: &Service| s.name == service.as_bytes() && s.way == Way::Requests;
        let id = self.blamed.services.iter().position(known)? as u8;
        let is_asked = self.suspects.iter().any(|suspect| suspect.service == id);
        is_asked.then(|| Again::new(&self.suspects, id))
    }

    /// Whom one would blame, the heaviest first.
    pub fn verdicts(mut self, again: impl IntoIterator<Item = Again>) -> Vec<Verdict> {
        for again in again {
            let floods =
                again.floods(|service, client, count| self.blamed.is_for(service, client, count / 2));
            for Flood { service, clients, sum, places } in floods {
                self.blamed.add("http-flood", service, clients, &sum, places);
            }
        }
        let mut all = self.blamed.all;
        for (_, places) in &mut all {
            places.sort_unstable();
            places.dedup();
            places.truncate(LINES_MAX);
        }
        all.sort_by(|(a, _), (b, _)| b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b))));
        all
    }
}

/// What tells verdicts apart.
fn key(blamed: &Blamed) -> (Option<IpAddr>, &[IpAddr], &str, &str) {
    (blamed.client, &blamed.clients, blamed.cause, &blamed.service)
}

/// Verdicts as they come in.
struct Blame {
    services: Vec<Service>,
    /// Everybody who is known, blamed or not.
    known: BTreeSet<Bits>,
    all: Vec<Verdict>,
}

impl Blame {
    fn add(&mut self, cause: &'static str, service: u8, clients: Vec<IpAddr>, sum: &Sum, places: Vec<Place>) {
        let name = &self.services[usize::from(service)].name;
        let alone = if let [client] = clients[..] { Some(client) } else { None };
        let blamed = Blamed {
            client: alone,
            prefix: if alone.is_none() { self.network(&clients) } else { None },
            clients: if alone.is_none() { clients } else { Vec::new() },
            cause,
            service: String::from_utf8_lossy(name).into_owned(),
            count: sum.times,
            first: sum.first,
            last: sum.last,
            lines: Vec::new(),
        };
        // The same is told by requests and by complaints, or of two things that were flooded.
        match self.all.iter_mut().find(|(known, _)| key(known) == key(&blamed)) {
            Some((known, more)) => {
                known.count = known.count.saturating_add(blamed.count);
                (known.first, known.last) = (known.first.min(blamed.first), known.last.max(blamed.last));
                more.extend(places);
            }
            None => self.all.push((blamed, places)),
        }
    }

    /// The network of these, if nobody else is known in it.
    fn network(&self, clients: &[IpAddr]) -> Option<Prefix> {
        let network = prefix_of(*clients.first()?, 24, 64);
        let first = bits(network.network());
        let inside = |client: Bits| same_family_contains(&network, address(client));
        let others = self.known.range(first..).take_while(|client| inside(**client));
        let alone = others.into_iter().all(|client| clients.contains(&address(*client)));
        (alone && clients.iter().all(|client| inside(bits(*client)))).then_some(network)
    }

    /// Whether a client is blamed for so much at a service already.
    fn is_for(&self, service: u8, client: Bits, least: u32) -> bool {
        let (service, client) = (&self.services[usize::from(service)].name, address(client));
        self.all.iter().any(|(blamed, _)| {
            blamed.service.as_bytes() == service
                && blamed.count >= least
                && (blamed.client == Some(client) || blamed.clients.contains(&client))
        })
    }
}
