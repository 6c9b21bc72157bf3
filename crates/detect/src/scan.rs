//! *Scan*: whom one would blame for what stands in some logs, and for what.
//!
//! It counts what each client did against a service, beside the [`Census`] of all requests, and judges at the end, when
//! it is known what the others did. Memory is bounded: a client whose deeds are the lightest is put out.
//!
//! The rules are made to miss rather than to name an innocent: somebody who logs in does not guess passwords, one wrong
//! password is a mistake, and who asks much is no flood if everybody asks for the same.

use std::collections::BTreeMap;
use std::net::IpAddr;

use toban_model::event::{Act, Event, Offence, Request};
use toban_model::{Blamed, Prefix, Time, prefix_of};

use crate::census::{Bits, Census, Frequent, Tally, address, bits};
use crate::offence::{is_login, offence};

/// Clients with deeds: about 110 bytes each, 3.5 MiB.
const CLIENTS_MAX: usize = 1 << 15;
const ACCOUNTS_MAX: usize = 1 << 13;
/// Services in one scan; a log of more is summed up under the last.
const SERVICES_MAX: usize = 64;
/// What is done within this time is one attempt at something.
const WINDOW_S: i64 = 600;
/// Guesses at a password within the window that nobody makes by mistake, at a service and at a web page.
const GUESSES_MIN: u32 = 5;
const WEB_GUESSES_MIN: u32 = 10;
/// So many guesses in all, at so many accounts, are guesses however slow they come.
const SLOW_GUESSES_MIN: u32 = 10;
const SLOW_ACCOUNTS_MIN: u32 = 3;
/// Clients with a few guesses each at accounts that others guess at too.
const SPREAD_CLIENTS_MIN: usize = 12;
const ACCOUNT_CLIENTS_MIN: u32 = 4;
/// A login excuses so many failures.
const EXCUSED_MAX: u32 = 20;
const PROBES_MIN: u32 = 5;
const RELAYS_MIN: u32 = 3;
/// Requests that found nothing, when they are most of what a client asked for.
const MISSES_MIN: u32 = 40;
/// Lines that are remembered, 24 bytes each, and at most so many of one client.
const MARKS_MAX: usize = 1 << 16;
const MARKS_OF_ONE_MAX: u32 = 1000;
/// Requests in a minute of one kind that no reader makes.
const FLOOD_MIN: u32 = 300;

/// Whom it was done to, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Who {
    client: Bits,
    service: u8,
}

/// What a client did to a service.
#[derive(Clone, Copy, Debug, Default)]
struct Deeds {
    by_offence: [Pace; Offence::ALL.len()],
    /// Requests that found nothing.
    misses: u32,
    logins: u32,
    /// Up to four accounts that it tried, as hashes; how many there were in all, roughly.
    accounts: [u32; 4],
    tried: u64,
}

/// How often and how fast.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    count: u32,
    /// In the present window, and in the busiest one.
    window: u32,
    most: u32,
    /// Seconds since the epoch.
    begun: i64,
    first: i64,
    last: i64,
}

impl Pace {
    fn step(&mut self, at: i64) {
        if self.count == 0 {
            (self.first, self.last) = (at, at);
        }
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        self.count += 1;
        if at.abs_diff(self.begun) >= WINDOW_S.unsigned_abs() || self.window == 0 {
            (self.begun, self.window) = (at, 0);
        }
        self.window += 1;
        self.most = self.most.max(self.window);
    }

    fn merge(&mut self, other: &Pace) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        // Two halves of one window that was read in two parts.
        let together = if self.begun.abs_diff(other.begun) < WINDOW_S.unsigned_abs() {
            self.window + other.window
        } else {
            0
        };
        self.most = self.most.max(other.most).max(together);
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        if other.begun > self.begun {
            (self.begun, self.window) = (other.begun, other.window);
        }
    }
}

impl Deeds {
    fn of(&self, offence: Offence) -> &Pace {
        &self.by_offence[offence as usize]
    }

    fn try_account(&mut self, account: u32) {
        self.tried |= 1 << (account & 63);
        if !self.accounts.contains(&account)
            && let Some(free) = self.accounts.iter_mut().find(|known| **known == 0)
        {
            *free = account;
        }
    }

    /// Different accounts, at least.
    fn accounts(&self) -> u32 {
        self.tried.count_ones()
    }
}

impl Tally for Deeds {
    fn weight(&self) -> u32 {
        self.by_offence.iter().map(|pace| pace.count).sum::<u32>() + self.misses / 4
    }

    fn merge(&mut self, other: &Deeds) {
        for (mine, theirs) in self.by_offence.iter_mut().zip(&other.by_offence) {
            mine.merge(theirs);
        }
        self.misses += other.misses;
        self.logins += other.logins;
        for account in other.accounts.into_iter().filter(|account| *account != 0) {
            self.try_account(account);
        }
        self.tried |= other.tried;
    }
}

/// Who tried an account.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    failures: u32,
    /// Different clients by their hash, at least.
    clients: u64,
}

impl Tally for Tried {
    fn weight(&self) -> u32 {
        self.failures
    }

    fn merge(&mut self, other: &Tried) {
        self.failures += other.failures;
        self.clients |= other.clients;
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Service {
    name: Vec<u8>,
    /// It answers requests, of which a client makes many.
    web: bool,
}

/// Somebody who is blamed, and where the first of the lines stand that count, in order.
pub type Verdict = (Blamed, Vec<Place>);

/// Where an event stands: its file, and the place of its line in it.
pub type Place = (u32, u64);

/// A line that counts against somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    who: Who,
    offence: Option<Offence>,
    place: Place,
}

/// What an event says for the scan.
struct Told<'a> {
    time: Option<Time>,
    client: Option<IpAddr>,
    service: &'a [u8],
    offence: Option<Offence>,
    account: Option<&'a [u8]>,
    login: bool,
}

fn told<'a>(event: &Event<'a>) -> Told<'a> {
    let nothing = Told { time: None, client: None, service: b"", offence: None, account: None, login: false };
    match event {
        Event::Request(request) => Told {
            time: Some(request.time),
            client: request.client.map(toban_model::canonical),
            offence: offence(request),
            account: request.user,
            ..nothing
        },
        Event::Error(error) => Told {
            time: error.time,
            client: error.peer.map(toban_model::canonical),
            offence: error.offence,
            account: error.account,
            ..nothing
        },
        Event::Service(said) => Told {
            time: said.time,
            client: said.client.map(toban_model::canonical),
            service: said.service,
            offence: match said.act {
                Act::Offence(offence) => Some(offence),
                _ => None,
            },
            account: said.account,
            login: said.act == Act::LoggedIn,
        },
        Event::Kernel(_) | Event::Silent => nothing,
    }
}

fn is_miss(request: &Request<'_>) -> bool {
    matches!(request.status, Some(403 | 404 | 410))
}

/// Counts what is in some logs, to be judged at the end.
#[derive(Clone, Debug)]
pub struct Scan {
    census: Census,
    deeds: Frequent<Who, Deeds>,
    accounts: Frequent<u32, Tried>,
    services: Vec<Service>,
    /// The first service that answered requests.
    web: String,
    marks: Vec<Mark>,
}

impl Default for Scan {
    fn default() -> Self {
        Scan {
            census: Census::default(),
            deeds: Frequent::new(CLIENTS_MAX),
            accounts: Frequent::new(ACCOUNTS_MAX),
            services: Vec::new(),
            web: String::new(),
            marks: Vec::new(),
        }
    }
}

impl Scan {
    /// What was asked for, by whom.
    pub fn census(&self) -> &Census {
        &self.census
    }

    /// Takes one event of a log, whose service is this one unless the event names another.
    #[inline]
    pub fn event(&mut self, service: &str, event: &Event<'_>, place: Place) {
        if let Event::Request(request) = event {
            self.request(service, request, place);
            return;
        }
        let told = told(event);
        let (Some(client), Some(time)) = (told.client, told.time) else { return };
        if told.offence.is_none() && !told.login {
            return;
        }
        let service = if told.service.is_empty() { service.as_bytes() } else { told.service };
        let who = Who { client: bits(client), service: self.service(service, false) };
        let mark = Mark { who, offence: told.offence, place };
        self.note(mark, time, told.account, |deeds| deeds.logins += u32::from(told.login));
    }

    /// Takes one request.
    #[inline]
    pub fn request(&mut self, service: &str, request: &Request<'_>, place: Place) {
        let Some(client) = request.client.or(request.peer) else { return };
        self.census.request(client, None, request);
        if self.web.is_empty() {
            self.web.push_str(service);
        }
        let offence = offence(request);
        let miss = is_miss(request);
        let login = (request.method == b"POST" || request.user.is_some()) && is_login(request);
        if offence.is_none() && !miss && !login {
            return;
        }
        let who = Who { client: bits(client), service: self.service(service.as_bytes(), true) };
        if login && self.deeds.find(who).is_none() {
            return;
        }
        self.note(Mark { who, offence, place }, request.time, request.user, |deeds| {
            deeds.misses += u32::from(miss);
            deeds.logins += u32::from(login);
        });
    }

    fn note(&mut self, mark: Mark, time: Time, account: Option<&[u8]>, more: impl Fn(&mut Deeds)) {
        let account = account.map(account_id);
        let deeds = &mut self.deeds.entry(mark.who).tally;
        more(deeds);
        if self.marks.len() < MARKS_MAX && deeds.weight() <= MARKS_OF_ONE_MAX {
            self.marks.push(mark);
        }
        if let Some(offence) = mark.offence {
            deeds.by_offence[offence as usize].step(time.as_micros().div_euclid(1_000_000));
            if let Some(account) = account.filter(|_| offence == Offence::AuthFailure) {
                deeds.try_account(account);
                let tried = &mut self.accounts.entry(account).tally;
                tried.failures += 1;
                tried.clients |= 1 << (spread(mark.who.client) & 63);
            }
        }
        if self.deeds.is_full() {
            self.deeds.purge();
        }
        if self.accounts.is_full() {
            self.accounts.purge();
        }
    }

    fn service(&mut self, name: &[u8], web: bool) -> u8 {
        let known = self.services.iter().position(|known| known.name == name && known.web == web);
        let id = known.unwrap_or_else(|| {
            if self.services.len() < SERVICES_MAX {
                self.services.push(Service { name: name.to_vec(), web });
            }
            self.services.len() - 1
        });
        id as u8
    }

    /// Takes in what was counted in another part of the same logs.
    pub fn absorb(&mut self, mut other: Scan) {
        self.census.absorb(other.census);
        if self.web.is_empty() {
            self.web = other.web;
        }
        let services: Vec<u8> = other.services.iter().map(|s| self.service(&s.name, s.web)).collect();
        other.deeds.rename(|who| Who { service: services[usize::from(who.service)], ..who });
        self.deeds.absorb(other.deeds);
        let marks = other.marks.into_iter().map(|mark| {
            let service = services[usize::from(mark.who.service)];
            Mark { who: Who { service, ..mark.who }, ..mark }
        });
        self.marks.extend(marks);
        self.accounts.absorb(other.accounts);
        if self.deeds.is_full() {
            self.deeds.purge();
        }
        if self.accounts.is_full() {
            self.accounts.purge();
        }
    }

    /// Whom one would blame, the heaviest first.
    pub fn blamed(&mut self) -> Vec<Verdict> {
        self.census.settle();
        let requests: BTreeMap<Bits, (u32, u32)> = self
            .census
            .addresses()
            .map(|(client, visits)| (client, (visits.requests, visits.busiest)))
            .collect();
        let mut marks = self.marks.clone();
        marks.sort_unstable();
        let mut all: Vec<Verdict> = Vec::new();
        // Clients with a few guesses each, by service.
        let mut few: BTreeMap<u8, Vec<(IpAddr, Pace)>> = BTreeMap::new();
        let mut relays: BTreeMap<(u8, Prefix), Vec<(IpAddr, Pace)>> = BTreeMap::new();
        for known in self.deeds.iter() {
            let (who, deeds) = (known.key, &known.tally);
            let asked = requests.get(&who.client).map_or(0, |(requests, _)| *requests);
            let found = self.verdicts(who, deeds, asked, &marks);
            if found.is_empty() {
                let client = address(who.client);
                let guesses = deeds.of(Offence::AuthFailure);
                if guesses.count > 0 && deeds.logins == 0 && self.others_try_too(deeds) {
                    few.entry(who.service).or_default().push((client, *guesses));
                }
                let relay = deeds.of(Offence::RelayAttempt);
                if relay.count > 0 {
                    let network = prefix_of(client, 24, 64);
                    relays.entry((who.service, network)).or_default().push((client, *relay));
                }
            }
            all.extend(found);
        }
        all.extend(self.floods(&requests));
        for (service, clients) in few {
            if clients.len() >= SPREAD_CLIENTS_MIN {
                let cause = "distributed-credential-attack";
                all.push(self.together(cause, service, None, clients, Offence::AuthFailure, &marks));
            }
        }
        for ((service, network), clients) in relays {
            if clients.len() >= SPREAD_CLIENTS_MIN {
                let (cause, network) = ("open-proxy-abuse", Some(network));
                all.push(self.together(cause, service, network, clients, Offence::RelayAttempt, &marks));
            }
        }
        all.sort_by(|(a, _), (b, _)| {
            let key = |blamed: &Blamed| (blamed.prefix, blamed.client, blamed.cause, blamed.service.clone());
            b.count.cmp(&a.count).then_with(|| key(a).cmp(&key(b)))
        });
        all
    }

    fn name(&self, service: u8) -> String {
        let service = self.services.get(usize::from(service));
        service.map_or_else(String::new, |service| String::from_utf8_lossy(&service.name).into_owned())
    }

    /// What one client is blamed for by its own deeds.
    fn verdicts(&self, who: Who, deeds: &Deeds, asked: u32, marks: &[Mark]) -> Vec<Verdict> {
        let mut found = Vec::new();
        let mut blame = |cause, pace: &Pace, count, offence: Option<Offence>| {
            let blamed = Blamed {
                client: Some(address(who.client)),
                prefix: None,
                clients: Vec::new(),
                cause,
                service: self.name(who.service),
                count,
                first: Time::from_secs(pace.first),
                last: Time::from_secs(pace.last),
                lines: Vec::new(),
            };
            found.push((blamed, places(marks, who, offence).collect()));
        };
        let is_web = self.services.get(usize::from(who.service)).is_some_and(|service| service.web);
        let guesses = deeds.of(Offence::AuthFailure);
        let quick = guesses.most >= if is_web { WEB_GUESSES_MIN } else { GUESSES_MIN };
        let slow = guesses.count >= SLOW_GUESSES_MIN && deeds.accounts() >= SLOW_ACCOUNTS_MIN;
        let excused = deeds.logins > 0 && guesses.count < EXCUSED_MAX.max(deeds.logins * 3);
        if (quick || slow) && !excused {
            blame("credential-attack", guesses, guesses.count, Some(Offence::AuthFailure));
        }
        let relays = deeds.of(Offence::RelayAttempt);
        if relays.count >= RELAYS_MIN {
            let cause = if is_web { "open-proxy-abuse" } else { "scanner" };
            blame(cause, relays, relays.count, Some(Offence::RelayAttempt));
        }
        for offence in [Offence::Probe, Offence::ProtocolError] {
            let pace = deeds.of(offence);
            // A client that mostly does what others do has a broken link, not a scanner.
            let mostly = !is_web || u64::from(pace.count) * 10 >= u64::from(asked);
            if pace.count >= PROBES_MIN && mostly {
                blame("scanner", pace, pace.count, Some(offence));
            }
        }
        let probes = deeds.of(Offence::Probe);
        let misses = deeds.misses;
        if probes.count < PROBES_MIN && probes.count > 0 && misses >= MISSES_MIN && misses * 2 >= asked {
            blame("scanner", probes, misses, None);
        }
        found
    }

    /// Whether all accounts that it tried are tried by others who have no business here either.
    fn others_try_too(&self, deeds: &Deeds) -> bool {
        let mut accounts = deeds.accounts.iter().filter(|account| **account != 0).peekable();
        accounts.peek().is_some()
            && accounts.all(|account| {
                let known = self.accounts.find(*account);
                known.is_some_and(|tried| tried.tally.clients.count_ones() >= ACCOUNT_CLIENTS_MIN)
            })
    }

    /// Clients that ask for one thing, faster than anybody reads.
    fn floods(&self, requests: &BTreeMap<Bits, (u32, u32)>) -> Vec<Verdict> {
        let mut by_client: BTreeMap<IpAddr, BTreeMap<_, u32>> = BTreeMap::new();
        for combined in self.census.combined() {
            let Some(client) = combined.client else { continue };
            *by_client.entry(client).or_default().entry((combined.method, combined.path)).or_default() +=
                combined.requests;
        }
        let Some((from, to)) = self.census.span() else { return Vec::new() };
        let minutes = (to.since(from).as_secs_f64() / 60.0).max(1.0);
        let mut floods = Vec::new();
        for (client, kinds) in by_client {
            let Some((asked, busiest)) = requests.get(&bits(client)).copied() else { continue };
            let most = kinds.values().max().copied().unwrap_or(0);
            let sudden = f64::from(busiest) >= 5.0 * f64::from(asked) / minutes || minutes < 10.0;
            if busiest < FLOOD_MIN || !sudden || u64::from(most) * 10 < u64::from(asked) * 8 {
                continue;
            }
            let blamed = Blamed {
                client: Some(client),
                prefix: None,
                clients: Vec::new(),
                cause: "http-flood",
                service: self.web.clone(),
                count: asked,
                first: from,
                last: to,
                lines: Vec::new(),
            };
            floods.push((blamed, Vec::new()));
        }
        floods
    }

    fn together(
        &self,
        cause: &'static str,
        service: u8,
        prefix: Option<Prefix>,
        clients: Vec<(IpAddr, Pace)>,
        offence: Offence,
        marks: &[Mark],
    ) -> Verdict {
        let first = clients.iter().map(|(_, pace)| pace.first).min().unwrap_or(0);
        let last = clients.iter().map(|(_, pace)| pace.last).max().unwrap_or(0);
        let count = clients.iter().map(|(_, pace)| pace.count).sum();
        let mut clients: Vec<IpAddr> = clients.into_iter().map(|(client, _)| client).collect();
        clients.sort_unstable();
        let of_one = |client: &IpAddr| places(marks, Who { client: bits(*client), service }, Some(offence));
        let mut places: Vec<Place> = clients.iter().flat_map(of_one).collect();
        places.sort_unstable();
        let blamed = Blamed {
            client: None,
            prefix,
            clients,
            cause,
            service: self.name(service),
            count,
            first: Time::from_secs(first),
            last: Time::from_secs(last),
            lines: Vec::new(),
        };
        (blamed, places)
    }
}

/// Where a client's lines stand.
fn places(marks: &[Mark], who: Who, offence: Option<Offence>) -> impl Iterator<Item = Place> {
    let from = marks.partition_point(|mark| (mark.who, mark.offence) < (who, offence));
    let same = move |mark: &&Mark| (mark.who, mark.offence) == (who, offence);
    marks[from..].iter().take_while(same).map(|mark| mark.place)
}

/// An account as a number that is not zero.
fn account_id(account: &[u8]) -> u32 {
    use std::hash::BuildHasher;
    let mut lower = [0; 64];
    let len = account.len().min(lower.len());
    lower[..len].copy_from_slice(&account[..len]);
    lower.make_ascii_lowercase();
    foldhash::quality::FixedState::with_seed(0).hash_one(&lower[..len]) as u32 | 1
}

fn spread(client: Bits) -> u64 {
    use std::hash::BuildHasher;
    foldhash::quality::FixedState::with_seed(1).hash_one(client)
}
