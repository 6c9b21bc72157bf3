//! *Recent*: what clients did to services in the last hour, judged at any moment by the rules of the scan, beside how
//! much of it is usual here.
//!
//! Each deed is kept by itself, in a ring of fixed size: a flood of them shortens the hour. What was before is counted
//! by spans of ten minutes for a week.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::Duration;

use foldhash::quality::FixedState;
use toban_model::event::{ErrorLine, Event, Request, ServiceLine};
use toban_model::{Attempts, Prefix, Time, canonical, is_private, prefix_of, same_family_contains};

use super::deeds::{
    Accounts, Deed, Deeds, Door, Live, Marks, Told, UNSAID, Way, What, Who, told, told_of_request,
};
use super::judge;
use super::story::Story;
use crate::census::{Bits, Frequent, Tally, address, bits};
use crate::origin::last_forwarded;
use crate::tables::HashMap;

/// What is judged.
const KEPT: Duration = Duration::from_secs(3600);
/// 80 bytes each: 2.5 MiB.
const STEPS_MAX: usize = 1 << 15;
const SPAN: Duration = Duration::from_secs(600);
/// Ten-minute spans of a week; about 50 bytes each for every service with failures.
const SPANS_MAX: usize = 1008;
const SERVICES_MAX: usize = 32;
/// So many spans before now tell what is usual.
const SPANS_MIN: usize = 6;
/// Clients that ask for pages and clients that log in: some 40 bytes each.
const CLIENTS_MAX: usize = 1 << 14;
/// Names of accounts and paths that are remembered to be shown.
const NAMES_MAX: usize = 4096;
const NAME_BYTES: usize = 96;
/// Who has done nothing for so long is not at it now.
const NOW: Duration = Duration::from_secs(120);
/// What is told.
const TOLD_MAX: usize = 64;
/// Failures before a login that are no slip of the one who has the account.
const FAILED_BEFORE: usize = 5;
/// With this part of all failures an account or a path is what they are about.
const ABOUT: f64 = 0.8;
/// A private address with so many accounts and this part of all logins passes on what others send.
const PASSES_ON_ACCOUNTS: u32 = 3;
const PASSES_ON_SHARE: f64 = 0.5;
/// Who was sent away so often within ten minutes while a password of theirs was looked at, and was never let in, is with
/// those who are blamed for guessing there: of their network, or of another. No program that has a password tries two in a
/// minute.
const SENT_AWAY_MIN: usize = 8;
const SENT_AWAY_ELSEWHERE_MIN: usize = 20;
/// 24 bytes each.
const SENT_AWAY_MAX: usize = 1 << 13;
/// With so many steps to judge, it is done less often.
const STEPS_A_SECOND: usize = 8192;
/// Whoever is not among so many is judged with all others.
const FRESH_MAX: usize = 256;

#[derive(Clone, Copy, Debug)]
struct Step {
    who: Who,
    /// Whom it asks for, if its peer is a proxy; that is known only when it is judged.
    forwarded: Option<Bits>,
    at: Time,
    deed: Option<Deed>,
    what: What,
    door: Door,
    times: u16,
}

/// Requests of a client, to be weighed against its deeds.
#[derive(Clone, Copy, Debug, Default)]
struct Asked(u32);

impl Tally for Asked {
    fn weight(&self) -> u32 {
        self.0
    }

    fn merge(&mut self, other: &Asked) {
        self.0 = self.0.saturating_add(other.0);
    }
}

/// The logins of a client, whenever they were.
#[derive(Clone, Copy, Debug, Default)]
struct Regular {
    logins: u32,
    own: Accounts,
    first: Option<Time>,
}

impl Tally for Regular {
    fn weight(&self) -> u32 {
        self.logins
    }

    fn merge(&mut self, other: &Regular) {
        self.logins = self.logins.saturating_add(other.logins);
        self.own.merge(other.own);
        self.first = self.first.into_iter().chain(other.first).min();
    }
}

/// What failed at one service within ten minutes, and about how many clients it was (linear counting).
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    times: u32,
    clients: [u64; 4],
}

impl Span {
    fn add(&mut self, client: Bits, times: u32) {
        self.times = self.times.saturating_add(times);
        let place = FixedState::with_seed(0).hash_one(client) as usize % 256;
        self.clients[place / 64] |= 1 << (place % 64);
    }

    fn sources(&self) -> f64 {
        let empty: u32 = self.clients.iter().map(|word| word.count_zeros()).sum();
        256.0 * (256.0 / f64::from(empty.max(1))).ln()
    }
}

type Spans = BTreeMap<Time, Span>;

/// What is known of the deeds of the last hour, and how often there were such before.
#[derive(Debug)]
pub(crate) struct Recent {
    services: Vec<(Vec<u8>, Way)>,
    steps: VecDeque<Step>,
    newest: Time,
    /// The oldest line of each service: before it nothing is known.
    since: HashMap<Vec<u8>, Time>,
    /// By half-hours, the older first.
    asked: [Frequent<Who, Asked>; 2],
    asked_from: Time,
    regulars: Frequent<Who, Regular>,
    live: Live,
    /// By service and whether it is about passwords.
    spans: HashMap<(Vec<u8>, bool), Spans>,
    /// Who was sent away for want of room before it was known whether the password was right.
    sent_away: VecDeque<(Who, Time)>,
    names: HashMap<What, Box<str>>,
    doors: HashMap<Door, Box<str>>,
    told: RefCell<(Time, Vec<Attempts>)>,
    /// Who did something since it was last asked who is blamed alone.
    fresh: BTreeSet<Bits>,
}

impl Default for Recent {
    fn default() -> Recent {
        Recent {
            services: Vec::new(),
            steps: VecDeque::new(),
            newest: Time::ZERO,
            since: HashMap::default(),
            asked: [Frequent::new(CLIENTS_MAX), Frequent::new(CLIENTS_MAX)],
            asked_from: Time::ZERO,
            regulars: Frequent::new(CLIENTS_MAX),
            live: Live::default(),
            spans: HashMap::default(),
            sent_away: VecDeque::new(),
            names: HashMap::default(),
            doors: HashMap::default(),
            told: RefCell::default(),
            fresh: BTreeSet::new(),
        }
    }
}

impl Recent {
    /// Takes one request of a service.
    pub(crate) fn request(&mut self, service: &str, request: &Request<'_>) {
        let Some(peer) = request.peer.or(request.client).map(canonical) else { return };
        let Some(id) = self.service(service.as_bytes(), Way::Requests, request.time) else { return };
        // What the server itself reports for a proxy it trusts is as good as a peer.
        let reported = request.client.map(canonical).filter(|client| *client != peer);
        let forwarded = reported.or_else(|| request.forwarded.and_then(last_forwarded));
        self.turn(request.time);
        if self.newest.since(request.time) <= KEPT {
            let asked = &mut self.asked[usize::from(request.time >= self.asked_from)];
            for client in forwarded.into_iter().chain([peer]) {
                asked.entry(Who::new(client, id)).tally.0 += 1;
            }
            if asked.is_full() {
                asked.purge();
            }
        }
        if let Some(told) = told_of_request(request, false) {
            if told.deed == Some(Deed::Guess) && self.doors.len() < NAMES_MAX {
                self.doors.entry(told.door).or_insert_with(|| name(request.path));
            }
            self.note(&Told { client: peer, ..told }, forwarded.map(bits), id, request.user);
        }
    }

    /// Takes one complaint of a service.
    pub(crate) fn error(&mut self, service: &str, line: &ErrorLine<'_>) {
        let event = Event::Error(*line);
        let Some(told) = told(&event) else { return };
        let Some(id) = self.service(service.as_bytes(), Way::Errors, told.time) else { return };
        self.note(&told, None, id, line.account);
    }

    /// Takes one line of a service that is no web server.
    pub(crate) fn said(&mut self, line: &ServiceLine<'_>) {
        let event = Event::Service(*line);
        let Some(told) = told(&event) else { return };
        let Some(id) = self.service(line.service, Way::Logins, told.time) else { return };
        self.note(&told, None, id, line.account);
    }

    /// Somebody was sent away for want of room while a password was looked at. By itself that is nobody's fault.
    pub(crate) fn sent_away(&mut self, service: &[u8], client: IpAddr, at: Time) {
        let Some(id) = self.service(service, Way::Logins, at) else { return };
        self.sent_away.push_back((Who::new(client, id), at));
        if self.sent_away.len() > SENT_AWAY_MAX {
            self.sent_away.pop_front();
        }
    }

    /// Adds to those who guess at a service who does as they do and was never let in: their neighbours who guess at
    /// several accounts, too, and who was sent away as they were.
    fn join(
        &self,
        blamed: &mut [(Story, judge::Cause)],
        stories: &[Story],
        service: u8,
        at: Time,
        spared: impl Fn(Bits) -> bool,
    ) {
        if !blamed.iter().any(|(_, (_, deeds))| *deeds == [Deed::Guess]) {
            return;
        }
        let mut sent_away: BTreeMap<Bits, usize> = BTreeMap::new();
        for (who, then) in &self.sent_away {
            if who.service == service && *then <= at && at.since(*then) <= SPAN {
                *sent_away.entry(who.client).or_default() += 1;
            }
        }
        let network = |client: Bits| prefix_of(address(client), 24, 64);
        let is_named =
            |client: Bits| blamed.iter().any(|(story, _)| story.clients.binary_search(&client).is_ok());
        let is_regular = |client: Bits| self.regulars.iter().any(|known| known.key.client == client);
        let guess = |story: &&Story| story.logins == 0 && story.times(Deed::Guess) > 0;
        let mut others: Vec<Story> =
            stories.iter().filter(guess).filter(|story| !is_named(story.clients[0])).cloned().collect();
        for (client, times) in &sent_away {
            let is_known = stories.iter().any(|story| story.clients == [*client]);
            if *times >= SENT_AWAY_MIN && !is_known && !is_regular(*client) && !spared(*client) {
                let who = Who { service, client: *client };
                others.push(Story::new(who, &Deeds::default(), Way::Logins, 0, &Marks::default()));
            }
        }
        for (story, _) in blamed.iter_mut().filter(|(_, (_, deeds))| *deeds == [Deed::Guess]) {
            let networks: BTreeSet<Prefix> = story.clients.iter().map(|client| network(*client)).collect();
            let joins = |other: &Story| {
                let client = other.clients[0];
                let away = sent_away.get(&client).copied().unwrap_or_default();
                let near = networks.contains(&network(client));
                near && (other.accounts().len() > 1 || away >= SENT_AWAY_MIN)
                    || away >= SENT_AWAY_ELSEWHERE_MIN
            };
            let (joined, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut others).into_iter().partition(joins);
            others = rest;
            if let Some(together) = Story::together(std::iter::once(&*story).chain(&joined)) {
                *story = together;
            }
        }
    }

    /// When the last thing was done that is kept.
    pub(crate) fn newest(&self) -> Time {
        self.newest
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.steps.len()
    }

    /// Requests of a client to whatever service, in the last half-hours.
    pub(crate) fn asked_by(&self, client: IpAddr) -> u32 {
        let client = bits(canonical(client));
        let of = |id: usize| Who { service: id as u8, client };
        let asked = (0..self.services.len())
            .flat_map(|id| self.asked.iter().filter_map(move |asked| asked.find(of(id))));
        asked.map(|found| found.tally.0).sum()
    }

    fn service(&mut self, name: &[u8], way: Way, at: Time) -> Option<u8> {
        if let Some(since) = self.since.get_mut(name) {
            *since = at.min(*since);
        } else if self.since.len() < SERVICES_MAX {
            self.since.insert(name.to_vec(), at);
        } else {
            return None;
        }
        let known = self.services.iter().position(|(known, its)| known == name && *its == way);
        let id = known.unwrap_or_else(|| {
            self.services.push((name.to_vec(), way));
            self.services.len() - 1
        });
        u8::try_from(id).ok()
    }

    /// Half an hour is over.
    fn turn(&mut self, at: Time) {
        if at.since(self.asked_from) >= KEPT / 2 && at > self.asked_from {
            self.asked.swap(0, 1);
            self.asked[1] = Frequent::new(CLIENTS_MAX);
            self.asked_from = at;
        }
    }

    fn note(&mut self, told: &Told<'_>, forwarded: Option<Bits>, service: u8, account: Option<&[u8]>) {
        let who = Who::new(told.client, service);
        if told.login {
            self.live.add(told.what);
            let mut one = Regular { logins: 1, first: Some(told.time), ..Regular::default() };
            one.own.add(told.what);
            for client in forwarded.into_iter().chain([who.client]) {
                self.regulars.entry(Who { client, ..who }).tally.merge(&one);
            }
            if self.regulars.is_full() {
                self.regulars.purge();
            }
        }
        if let Some(deed) = told.deed {
            let name = self.services[usize::from(service)].0.clone();
            let spans = self.spans.entry((name, deed == Deed::Guess)).or_default();
            spans.entry(told.time.bucket(SPAN)).or_default().add(forwarded.unwrap_or(who.client), told.times);
            if spans.len() > SPANS_MAX {
                spans.pop_first();
            }
        }
        if told.deed.is_some() && self.fresh.len() < FRESH_MAX {
            self.fresh.insert(forwarded.unwrap_or(who.client));
        }
        self.newest = self.newest.max(told.time);
        if self.newest.since(told.time) > KEPT {
            return;
        }
        if let Some(account) = account.filter(|_| told.what != UNSAID && self.names.len() < NAMES_MAX) {
            self.names.entry(told.what).or_insert_with(|| self::name(account));
        }
        self.steps.push_back(Step {
            who,
            forwarded,
            at: told.time,
            deed: told.deed,
            what: told.what,
            door: told.door,
            times: u16::try_from(told.times).unwrap_or(u16::MAX),
        });
        if self.steps.len() > STEPS_MAX {
            let newest = self.newest;
            self.steps.retain(|step| newest.since(step.at) <= KEPT);
            while self.steps.len() > STEPS_MAX * 7 / 8 {
                self.steps.pop_front();
            }
        }
    }

    /// Who is at it at `at`. Nobody is named whom `spares` spares, as the host itself; `is_proxy` knows whose word on
    /// its clients counts.
    pub(crate) fn judge(
        &self,
        at: Time,
        spares: impl Fn(IpAddr) -> bool,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Vec<Attempts> {
        let mut told = self.told.borrow_mut();
        let pause = Duration::from_millis((self.steps.len() * 1000 / STEPS_A_SECOND) as u64);
        if at < told.0 || at.since(told.0) >= pause {
            *told = (at, self.judged(at, None, spares, is_proxy));
        }
        told.1.clone()
    }

    /// Who is at it, of those who did something since this was last asked, each judged as if there were nobody else:
    /// what one is blamed for alone, nobody else makes good.
    pub(crate) fn judge_alone(
        &mut self,
        at: Time,
        spares: impl Fn(IpAddr) -> bool,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Vec<Attempts> {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh.is_empty() {
            return Vec::new();
        }
        let mut blamed = self.judged(at, Some(&fresh), spares, is_proxy);
        blamed.retain(|attempt| attempt.clients.len() == 1);
        blamed
    }

    /// `only` these clients, or all.
    fn judged(
        &self,
        at: Time,
        only: Option<&BTreeSet<Bits>>,
        spares: impl Fn(IpAddr) -> bool,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) -> Vec<Attempts> {
        let asked_for = |client: Bits| only.is_none_or(|only| only.contains(&client));
        let known = self.steps.iter().filter(|step| step.at <= at && at.since(step.at) <= KEPT);
        let mut steps: Vec<Step> = known.copied().collect();
        for step in &mut steps {
            step.forwarded = step.forwarded.filter(|_| is_proxy(address(step.who.client)));
            step.who.client = step.forwarded.unwrap_or(step.who.client);
        }
        steps.retain(|step| asked_for(step.who.client));
        if !steps.iter().any(|step| step.deed.is_some() && at.since(step.at) <= NOW) {
            return Vec::new();
        }
        steps.sort_by_key(|step| step.at);
        let passing = self.passing_on();
        let spared = |client: Bits, way: Way| {
            let address = address(client);
            address.is_loopback()
                || spares(address)
                || is_proxy(address)
                || way == Way::Logins && passing.contains(&client)
        };
        let (mut deeds, mut marks) = (BTreeMap::<Who, Deeds>::new(), Marks::default());
        for step in &steps {
            let told = Told {
                client: address(step.who.client),
                time: step.at,
                service: None,
                way: self.way(step.who),
                deed: step.deed,
                what: step.what,
                door: step.door,
                times: u32::from(step.times),
                login: step.deed.is_none(),
            };
            deeds.entry(step.who).or_default().add(&told);
            marks.add(step.who, &told, (0, step.at.as_micros().unsigned_abs()));
        }
        let mut own: BTreeMap<Bits, Accounts> = BTreeMap::new();
        for regular in self.regulars.iter().filter(|regular| asked_for(regular.key.client)) {
            own.entry(regular.key.client).or_default().merge(regular.tally.own);
        }
        let mut by_service: BTreeMap<u8, Vec<Story>> = BTreeMap::new();
        for (who, deeds) in &deeds {
            let way = self.way(*who);
            if spared(who.client, way) {
                continue;
            }
            let asked = self.asked.iter().filter_map(|asked| asked.find(*who)).map(|found| found.tally.0);
            let mut story = Story::new(*who, deeds, way, asked.sum(), &marks);
            story.know(own.get(&who.client).copied().unwrap_or_default());
            story.logins = story.logins.max(self.regulars.find(*who).map_or(0, |known| known.tally.logins));
            by_service.entry(who.service).or_default().push(story);
        }
        let mut all: Vec<Attempts> = Vec::new();
        for (service, stories) in &by_service {
            let mut blamed = judge::gathered(judge::judge(stories, &self.live));
            self.join(&mut blamed, stories, *service, at, |client| spared(client, Way::Logins));
            for (story, (cause, deeds)) in blamed {
                self.tell(&mut all, at, &steps, &story, cause, deeds);
            }
        }
        all.sort_by(|a, b| b.in_ten_minutes.cmp(&a.in_ten_minutes).then(a.clients.cmp(&b.clients)));
        all.truncate(TOLD_MAX);
        all
    }

    fn tell(
        &self,
        all: &mut Vec<Attempts>,
        at: Time,
        steps: &[Step],
        story: &Story,
        cause: &str,
        deeds: &[Deed],
    ) {
        let theirs = |step: &&Step| {
            step.who.service == story.service && story.clients.binary_search(&step.who.client).is_ok()
        };
        let theirs: Vec<&Step> = steps.iter().filter(theirs).collect();
        let counted = || theirs.iter().filter(|step| step.deed.is_some_and(|deed| deeds.contains(&deed)));
        let within = |span: Duration| {
            let recent = counted().filter(|step| at.since(step.at) <= span);
            recent.map(|step| u32::from(step.times)).sum::<u32>()
        };
        let times: Vec<Time> = counted().map(|step| step.at).collect();
        let Some(last) = times.last().copied().filter(|last| at.since(*last) <= NOW) else { return };
        // Since when it goes on without a long pause.
        let pause = times.windows(2).rposition(|pair| pair[1].since(pair[0]) > SPAN / 2);
        let first = times[pause.map_or(0, |pause| pause + 1)];
        let (things, account, path) = self.things(counted().copied());
        let clients: Vec<IpAddr> = story.clients.iter().map(|client| address(*client)).collect();
        let name = &self.services[usize::from(story.service)].0;
        let (all_now, sources, usual) = self.usual(name, deeds.contains(&Deed::Guess), at, first);
        let regulars: BTreeSet<Bits> = self
            .regulars
            .iter()
            .filter(|known| {
                known.key.service == story.service && known.tally.first.is_some_and(|t| t < first)
            })
            .map(|known| known.key.client)
            .collect();
        let networks = self.networks(story, steps);
        let hit = |client: &Bits| {
            let client = address(*client);
            clients.binary_search(&client).is_ok()
                || networks.iter().any(|network| same_family_contains(network, client))
        };
        let usual_clients =
            (regulars.iter().filter(|client| hit(client)).count() as u32, regulars.len() as u32);
        let new = Attempts {
            cause: cause.to_owned(),
            service: String::from_utf8_lossy(name).into_owned(),
            ports: Vec::new(),
            networks,
            in_ten_minutes: within(SPAN),
            in_a_minute: within(SPAN / 10),
            things,
            account,
            path,
            first,
            last,
            entered: self.entered(&theirs, story),
            all: all_now,
            usual: usual.map(|(times, _)| times),
            peers: theirs.iter().all(|step| step.forwarded.is_none()),
            sources,
            usual_sources: usual.map(|(_, sources)| sources),
            usual_clients,
            clients,
        };
        // The same is told by requests and by complaints.
        match all.iter_mut().find(|known| {
            (&known.cause, &known.service, &known.clients) == (&new.cause, &new.service, &new.clients)
        }) {
            Some(known) if known.in_ten_minutes >= new.in_ten_minutes => {}
            Some(known) => *known = new,
            None => all.push(new),
        }
    }

    fn way(&self, who: Who) -> Way {
        self.services[usize::from(who.service)].1
    }

    /// How many different things were tried, and the account or the path that it nearly always was.
    fn things<'s>(&self, steps: impl Iterator<Item = &'s Step>) -> (u32, Option<String>, Option<String>) {
        let (mut whats, mut doors): (BTreeMap<What, u32>, BTreeMap<Door, u32>) = Default::default();
        let mut all = 0;
        for step in steps {
            all += 1;
            if step.what > super::deeds::ONE {
                *whats.entry(step.what).or_default() += 1;
            }
            if step.door != 0 {
                *doors.entry(step.door).or_default() += 1;
            }
        }
        let most = |count: &u32| f64::from(*count) >= ABOUT * f64::from(all);
        let what = whats.iter().find(|(_, count)| most(count)).and_then(|(what, _)| self.names.get(what));
        let door = doors.iter().find(|(_, count)| most(count)).and_then(|(door, _)| self.doors.get(door));
        (whats.len() as u32, what.map(|name| name.to_string()), door.map(|name| name.to_string()))
    }

    /// The first of them who got in behind failures, and was never in before.
    fn entered(&self, steps: &[&Step], story: &Story) -> Option<(IpAddr, Time)> {
        let mut failed: BTreeMap<Bits, usize> = BTreeMap::new();
        for step in steps {
            let before = failed.entry(step.who.client).or_default();
            match step.deed {
                Some(Deed::Guess) => *before += 1,
                None if *before >= FAILED_BEFORE => {
                    let who = Who { service: story.service, client: step.who.client };
                    let first = self.regulars.find(who).and_then(|known| known.tally.first);
                    if first.is_none_or(|first| first >= step.at) {
                        return Some((address(step.who.client), step.at));
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// Failures at a service within ten minutes, of how many clients, and what nine of ten such spans before `first`
    /// stayed below.
    fn usual(&self, service: &[u8], guesses: bool, at: Time, first: Time) -> (u32, u32, Option<(f64, f64)>) {
        let now = self.steps.iter().filter(|step| {
            step.deed.is_some_and(|deed| (deed == Deed::Guess) == guesses)
                && step.at <= at
                && at.since(step.at) <= SPAN
                && self.services[usize::from(step.who.service)].0 == service
        });
        let (mut times, mut clients) = (0u32, BTreeSet::new());
        for step in now {
            times += u32::from(step.times);
            clients.insert(step.who.client);
        }
        let spans = self.spans.get(&(service.to_vec(), guesses));
        let before = first.bucket(SPAN);
        let known = self
            .since
            .get(service)
            .map_or(0, |since| (before.since(since.bucket(SPAN)).as_secs() / SPAN.as_secs()) as usize);
        let usual = spans.filter(|_| known >= SPANS_MIN).map(|spans| {
            let earlier = || spans.range(..before).rev().take(known.min(SPANS_MAX)).map(|(_, span)| span);
            let decile = |mut all: Vec<f64>| {
                // Spans in which nothing failed are not held one by one.
                all.resize(known.min(SPANS_MAX).max(all.len()), 0.0);
                all.sort_by(f64::total_cmp);
                all[(all.len() - 1) * 9 / 10]
            };
            (
                decile(earlier().map(|span| f64::from(span.times)).collect()),
                decile(earlier().map(Span::sources).collect()),
            )
        });
        (times, clients.len() as u32, usual)
    }

    /// Networks with several of them and nobody else who logs in, asks or fails.
    fn networks(&self, story: &Story, steps: &[Step]) -> Vec<Prefix> {
        let mut inside: BTreeMap<Prefix, usize> = BTreeMap::new();
        for client in &story.clients {
            *inside.entry(prefix_of(address(*client), 24, 64)).or_default() += 1;
        }
        inside.retain(|network, clients| *clients >= if network.addr().is_ipv4() { 4 } else { 2 });
        if inside.is_empty() {
            return Vec::new();
        }
        let others = self.regulars.iter().map(|known| known.key.client);
        let others = others.chain(self.asked.iter().flat_map(Frequent::iter).map(|known| known.key.client));
        let others = others.chain(steps.iter().map(|step| step.who.client));
        for other in others.filter(|other| story.clients.binary_search(other).is_err()) {
            inside.remove(&prefix_of(address(other), 24, 64));
        }
        inside.into_keys().collect()
    }

    /// Private addresses that many people's logins come from.
    fn passing_on(&self) -> BTreeSet<Bits> {
        let mut all: BTreeMap<u8, u32> = BTreeMap::new();
        for known in self.regulars.iter() {
            *all.entry(known.key.service).or_default() += known.tally.logins;
        }
        let passes = |known: &&crate::census::Counted<Who, Regular>| {
            let share = f64::from(known.tally.logins) / f64::from(all[&known.key.service].max(1));
            is_private(address(known.key.client))
                && known.tally.own.count() >= PASSES_ON_ACCOUNTS
                && share >= PASSES_ON_SHARE
        };
        self.regulars.iter().filter(passes).map(|known| known.key.client).collect()
    }
}

fn name(text: &[u8]) -> Box<str> {
    String::from_utf8_lossy(&text[..text.len().min(NAME_BYTES)]).into()
}
