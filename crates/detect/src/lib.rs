//! Watches the stream in bounded memory and closes it into a [`Situation`]: what is now, beside what is usual.
//!
//! The noun is the [`Watch`]. Time comes in with events and samples; nothing here reads a clock, so the same input
//! gives the same situation.

mod activity;
mod baseline;
pub mod census;
pub mod detectors;
mod growth;
mod holdings;
mod news;
mod offence;
mod origin;
mod resources;
mod scan;
mod series;
mod standing;
mod strangers;
mod symbols;
mod tables;
mod traffic;
mod words;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use toban_model::event::{ErrorLine, KernelWord, Request, ServiceLine};
use toban_model::{
    Crowd, Holdings, Host, Inspection, KnownServer, ListenQueue, Outage, Outbound, Prefix, ProcessId,
    ProcessLook, Pulse, Reading, ReadingKind, Sample, ServerView, Service, ServiceKind, Situation, Strangers,
    Time, Vital,
};

pub use baseline::Baseline;
pub use offence::offence;
pub use scan::{Again, Judgement, Place, Scan, Verdict};
pub use standing::Standing;

use crate::activity::Processes;
use crate::holdings::HoldingsWatch;
use crate::news::{Errors, Kernel};
use crate::origin::Origins;
use crate::strangers::Doings;
use crate::traffic::{Past, TrafficWatch};

/// Services with traffic of their own; a host with more vhost logs than this has them summed by service.
const SERVICES_MAX: usize = 32;
/// How long the live busy counts are kept, one a second.
const BUSY_FOR: Duration = Duration::from_secs(900);
/// What is judged, looking back.
const NEWS_WINDOW: Duration = Duration::from_secs(120);
/// This part of a limit is exhausted: the last workers come and go between two looks.
pub(crate) const FULL: f64 = 0.95;

/// Everything that toban holds in memory about a host's present and usual.
#[derive(Debug)]
pub struct Watch {
    host: Host,
    origins: Origins,
    traffic: Vec<TrafficWatch>,
    errors: Errors,
    kernel: Kernel,
    baseline: Baseline,
    /// When the last sample was begun, and its readings.
    last: Option<(Time, Vec<Reading>)>,
    vitals: BTreeMap<String, (f64, String)>,
    views: BTreeMap<String, ServerView>,
    busy: BTreeMap<String, VecDeque<(Time, bool)>>,
    taught: Option<Time>,
    aside: Arc<[(Time, Time)]>,
    holdings: HoldingsWatch,
    standing: Standing,
    processes: Processes,
    doings: Doings,
    outage: Option<Outage>,
}

/// What is read of the past of one service's traffic beside a [`Watch`], on another thread.
#[derive(Debug)]
pub struct Part {
    service: String,
    past: Option<Past>,
}

impl Part {
    /// How long before its newest line a log is of long ago.
    pub const FRESH_FOR: Duration = traffic::FRESH_FOR;

    /// Takes one line of long ago.
    #[inline]
    pub fn request(&mut self, request: &Request<'_>) {
        if let Some(past) = &mut self.past {
            past.request(request);
        }
    }
}

impl Watch {
    /// A watch over a host. `trusted` are proxies that the user or a server's configuration trusts.
    pub fn new(host: Host, mut trusted: Vec<Prefix>) -> Watch {
        let cores = host.cores;
        trusted.extend(host.services.iter().flat_map(|s| s.trusted_proxies.iter().copied()));
        Watch {
            host,
            origins: Origins::new(trusted),
            traffic: Vec::new(),
            errors: Errors::default(),
            kernel: Kernel::default(),
            baseline: Baseline::new(cores),
            last: None,
            vitals: BTreeMap::new(),
            views: BTreeMap::new(),
            busy: BTreeMap::new(),
            taught: None,
            aside: Arc::new([]),
            holdings: HoldingsWatch::default(),
            standing: Standing::default(),
            processes: Processes::default(),
            doings: Doings::default(),
            outage: None,
        }
    }

    /// Takes what is known of the host's last outage.
    pub fn set_outage(&mut self, outage: Option<Outage>) {
        self.outage = outage;
    }

    /// The host as it was found last.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Takes what a new look at the host found: logins come and go, servers restart.
    pub fn host_changed(&mut self, host: Host) {
        self.host = host;
    }

    /// Takes the times of known incidents: no request that ended in one is usual. Without this the requests of a
    /// first wave would be the usual that a second one is judged by, and the attackers usual clients.
    pub fn set_aside(&mut self, mut spans: Vec<(Time, Time)>) {
        spans.sort_unstable();
        spans.dedup_by(|next, kept| {
            let joined = next.0 <= kept.1;
            kept.1 = if joined { kept.1.max(next.1) } else { kept.1 };
            joined
        });
        self.aside = spans.into();
        for traffic in &mut self.traffic {
            traffic.set_aside(self.aside.clone());
        }
    }

    /// Takes one line of a service's access log.
    pub fn request(&mut self, service: &str, request: &Request<'_>) {
        self.doings.request(service, request);
        if let Some(traffic) = self.traffic_of(service) {
            traffic.request(request);
        }
    }

    /// The traffic of a service; `None` if there are too many.
    fn traffic_of(&mut self, service: &str) -> Option<&mut TrafficWatch> {
        let known = self.traffic.iter().position(|traffic| traffic.service() == service);
        if known.is_none() && self.traffic.len() < SERVICES_MAX {
            self.traffic.push(TrafficWatch::new(service, self.aside.clone()));
        }
        let last = self.traffic.len() - 1;
        known
            .or(Some(last).filter(|last| self.traffic[*last].service() == service))
            .map(|at| &mut self.traffic[at])
    }

    /// Room for what another thread reads of a service's access log of long ago: more than [`Part::FRESH_FOR`] before
    /// its newest line.
    pub fn part(&mut self, service: &str) -> Part {
        let past = self.traffic_of(service).map(|traffic| traffic.past());
        Part { service: service.to_owned(), past }
    }

    /// Takes what another thread read.
    pub fn absorb(&mut self, part: Part) {
        if let (Some(traffic), Some(past)) = (self.traffic_of(&part.service), part.past) {
            traffic.absorb(past);
        }
    }

    /// Takes one line of a service's error log. A line without a time of its own counts when it was `read`.
    pub fn error(&mut self, service: &str, read: Time, line: &ErrorLine<'_>) {
        self.errors.line(service, line.time.unwrap_or(read), line);
        self.doings.error(service, line);
    }

    /// Takes one line of a service that is no web server. A line without a time of its own counts when it was `read`.
    pub fn said(&mut self, read: Time, line: &ServiceLine<'_>) {
        self.doings.said(read, line);
    }

    /// Takes a look at the listeners' accept queues.
    pub fn queues(&mut self, at: Time, queues: Vec<ListenQueue>) {
        self.doings.queues(at, queues);
    }

    /// A vital's number in the last sample.
    pub fn vital(&self, name: &str) -> Option<f64> {
        self.vitals.get(name).map(|(value, _)| *value)
    }

    /// Takes a look at the processes that open connections to many others.
    pub fn outbound(&mut self, at: Time, outbound: Vec<Outbound>) {
        self.doings.outbound(at, outbound);
    }

    /// Takes one word of the kernel, with its true wall-clock time.
    pub fn kernel(&mut self, at: Time, word: &KernelWord) {
        self.kernel.word(at, word);
        self.holdings.kernel(at, word);
        if let KernelWord::OomConstraint { memcg: Some(group), .. } = word {
            self.processes.killed_in = Some((at, group.clone()));
        }
    }

    /// Takes a look at what there is only so much of.
    pub fn holdings(&mut self, found: Holdings) {
        self.holdings.look(found);
    }

    /// Takes a slow look at what may have failed.
    pub fn inspect(&mut self, look: Inspection) {
        self.standing.inspect(look);
    }

    /// Takes the servers' pulses of this second.
    pub fn pulse(&mut self, at: Time, pulses: Vec<Pulse>) {
        self.standing.pulse(at, pulses);
    }

    /// toban itself restarts servers at `at`: that they are gone is no failure of theirs.
    pub fn own_work(&mut self, at: Time) {
        self.standing.own_work(at);
    }

    /// Servers that were seen to serve and are gone.
    pub fn missing(&self) -> Vec<KnownServer> {
        self.standing.missing()
    }

    /// What was seen to work here.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Takes what was seen to work before a restart.
    pub fn set_standing(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// Processes that have been busy for a while and are worth a closer look now; hand it to [`Watch::looked`].
    pub fn suspects(&self, now: Time) -> Vec<ProcessId> {
        self.processes.suspects(now)
    }

    /// Takes the looks at those that were asked for. One of which there is none is gone.
    pub fn looked(&mut self, asked: &[ProcessId], looks: Vec<ProcessLook>) {
        self.processes.looked(asked, looks);
    }

    /// Whether all processes should be counted now; hand them to [`Watch::crowd`].
    pub fn wants_crowd(&self, now: Time) -> bool {
        self.processes.wants_crowd(now)
    }

    /// Takes all processes put together.
    pub fn crowd(&mut self, crowd: Crowd) {
        self.processes.crowd(crowd);
    }

    /// Takes what a record holds of a unit's memory, in bytes: whether it grows is asked over hours.
    pub fn unit_memory(&mut self, unit: &str, points: impl Iterator<Item = (Time, f64)>) {
        self.processes.growths.recorded(unit, points);
    }

    /// What is usual for the vitals.
    pub fn baseline(&self) -> &Baseline {
        &self.baseline
    }

    /// Takes what was known of the vitals before a restart.
    pub fn set_baseline(&mut self, baseline: Baseline) {
        self.baseline = baseline;
    }

    /// Takes a sample; with `learn` its vitals become part of what is usual.
    pub fn sample(&mut self, sample: &Sample, learn: bool) {
        self.doings.sample(sample);
        let rates = self.traffic.iter().flat_map(|t| t.rates(sample.at)).collect::<Vec<_>>();
        self.vitals.clear();
        for (name, value) in rates {
            *self.vitals.entry(name.to_owned()).or_insert((0.0, "/s".to_owned())) = (value, "/s".to_owned());
        }
        for (place, reading) in sample.readings.iter().enumerate() {
            if let Some(value) = self.derive(sample, reading, place) {
                self.vitals.insert(reading.name.to_string(), (value, reading.unit.to_string()));
            }
        }
        for (name, (value, unit)) in &self.vitals {
            self.baseline.see(sample.at, name, *value, unit, learn);
        }
        let vitals = &self.vitals;
        let vital = |name: &str| vitals.get(name).map(|(value, _)| *value);
        self.processes.sample(sample, &vital, self.host.boot);
        let (at, readings) = self.last.get_or_insert_with(Default::default);
        *at = sample.at;
        readings.clone_from(&sample.readings);
    }

    /// A gauge is its number; a counter is its growth a second since the last sample.
    fn derive(&self, sample: &Sample, reading: &Reading, place: usize) -> Option<f64> {
        match reading.kind {
            ReadingKind::Gauge => Some(reading.value),
            ReadingKind::Counter => {
                let (at, last) = self.last.as_ref()?;
                // Nearly always it stands where it stood: hundreds are looked up each second.
                let same = last.get(place).filter(|r| r.name == reading.name);
                let before = same.or_else(|| last.iter().find(|r| r.name == reading.name))?;
                let seconds = sample.at.since(*at).as_secs_f64();
                // A counter that went back was set anew (an interface came again): there is no rate to tell.
                (seconds > 0.0 && reading.value >= before.value)
                    .then(|| (reading.value - before.value) / seconds)
            }
        }
    }

    /// The readings that servers give at this moment, to be recorded with the sample.
    pub fn server_readings(&self) -> Vec<Reading> {
        let gauge = |name: String, value: u32| Reading {
            name: name.into(),
            value: f64::from(value),
            unit: "".into(),
            kind: ReadingKind::Gauge,
        };
        self.views
            .values()
            .flat_map(|view| {
                [
                    gauge(format!("{}.workers.busy", view.service), view.busy),
                    gauge(format!("{}.accept_queue", view.service), view.queue_len),
                ]
            })
            .collect()
    }

    /// Takes a live look at one server.
    pub fn view(&mut self, view: ServerView) {
        let full = resources::is_full(&view);
        let ring = self.busy.entry(view.service.clone()).or_default();
        ring.push_back((view.at, full));
        while ring.front().is_some_and(|(t, _)| view.at.since(*t) > BUSY_FOR) {
            ring.pop_front();
        }
        self.views.insert(view.service.clone(), view);
    }

    /// The oldest request that is known of any service: how far back the usual reaches.
    pub fn history_from(&self) -> Option<Time> {
        self.traffic.iter().filter_map(TrafficWatch::oldest).min()
    }

    /// The newest request, or line of another service, that is known.
    pub fn history_to(&self) -> Option<Time> {
        self.traffic.iter().filter_map(TrafficWatch::newest).chain(self.doings.newest()).max()
    }

    /// Since when a live server has been full without a pause of ten seconds.
    fn full_since(&self, service: &str, at: Time) -> Option<Time> {
        let ring = self.busy.get(service)?;
        let mut since = None;
        let mut last_full = at;
        for (t, full) in ring.iter().rev() {
            if *full {
                since = Some(*t);
                last_full = *t;
            } else if last_full.since(*t) > Duration::from_secs(10) {
                break;
            }
        }
        since.filter(|_| at.since(ring.back().map_or(Time::ZERO, |b| b.0)) < Duration::from_secs(30))
    }

    /// Closes the window at `at`. `live` says that this host is looked at as it is now: the logs are complete up
    /// to `at` and silence means that nothing ended.
    pub fn close(&mut self, at: Time, live: bool) -> Situation {
        let kernel_onset = self.kernel.killing_since(at, NEWS_WINDOW);
        let mut onsets: Vec<Option<Time>> = Vec::new();
        for traffic in &self.traffic {
            let service = traffic.service();
            let full_since = self.full_since(service, at);
            let mut onset = [traffic.onset(at, live), kernel_onset].into_iter().flatten().min();
            if let (Some(since), Some(view)) = (full_since, self.views.get(service)) {
                let held = resources::held_for(view);
                let said = self.errors.saturated_since(service, at, Duration::from_secs(600));
                onset = [onset, Some(since), Some(at - held), said].into_iter().flatten().min();
            }
            onsets.push(onset);
        }
        let first = onsets.iter().flatten().min().copied();
        let until = first.unwrap_or(at);
        if self
            .taught
            .is_none_or(|t| t != until && (first.is_some() || at.since(t) > Duration::from_secs(30)))
        {
            self.origins.forget();
            for (traffic, onset) in self.traffic.iter_mut().zip(&onsets) {
                traffic.teach(&mut self.origins, onset.unwrap_or(until));
            }
            self.taught = Some(until);
        }
        let traffic: Vec<_> = self
            .traffic
            .iter_mut()
            .zip(&onsets)
            .map(|(t, onset)| {
                let view = self.views.get(t.service()).cloned();
                t.close(at, *onset, live, &self.origins, view.as_ref())
            })
            .collect();
        let from = first.unwrap_or(at - NEWS_WINDOW).max(at - BUSY_FOR);
        let vitals: Vec<Vital> = self
            .vitals
            .iter()
            .map(|(name, (value, unit))| self.baseline.judge(at, name, *value, unit))
            .collect();
        let servers: Vec<ServerView> = self.views.values().cloned().collect();
        let balancers =
            self.origins.seen(traffic.iter().flat_map(|t| t.usual.holders.iter().map(|h| &h.client.peer)));
        let usual_seconds = traffic.iter().map(|t| t.usual.seconds).fold(0.0, f64::max);
        let mut situation = Situation {
            at,
            from,
            host: self.host.clone(),
            vitals,
            servers,
            traffic,
            errors: self.errors.close(from - Duration::from_secs(30), at),
            kernel: self.kernel.close(from - Duration::from_secs(5), at),
            balancers,
            usual_seconds,
            activity: self.processes.close(at, &self.host),
            strangers: self.doings.close(at, &self.host, &self.origins),
            outage: self.outage.clone(),
            ..Situation::default()
        };
        situation.holdings = self.holdings.close(at, &situation.vitals);
        situation.failures =
            self.standing.close(at, situation.host.boot, &situation.kernel, &situation.errors, |service| {
                self.views.get(service).is_some_and(resources::is_full)
            });
        if let Some(mail) = &mut situation.strangers.mail {
            mail.usual = self.baseline.usual(at, "mail.queue").map(|usual| [usual.low, usual.high]);
        }
        situation.resources =
            resources::all(&situation, |service| self.full_since(service, at), &self.baseline);
        situation.resources.extend(holdings::resources(&situation.holdings, at, &self.baseline));
        situation.resources.extend(strangers::resources(&situation.strangers, &situation.host));
        situation.symptoms = detectors::symptoms(&situation);
        situation
    }

    /// Those who did something since this was last asked and are blamed for it whatever else there is: for who must
    /// answer before the next window is closed. How much of it is usual here says whether it is news, and is left out.
    /// `None` where there is nobody.
    pub fn blamed_alone(&mut self, at: Time) -> Option<Situation> {
        let mut attempts = self.doings.alone(at, &self.host, &self.origins);
        if attempts.is_empty() {
            return None;
        }
        attempts.iter_mut().for_each(|attempt| attempt.usual = None);
        let strangers = Strangers { attempts, ..Strangers::default() };
        Some(Situation { at, from: at, host: self.host.clone(), strangers, ..Situation::default() })
    }

    /// Services whose workers are worth a live look.
    pub fn viewable(host: &Host) -> impl Iterator<Item = &Service> {
        host.services
            .iter()
            .filter(|s| matches!(s.kind, ServiceKind::Apache | ServiceKind::Nginx | ServiceKind::PhpFpm))
    }
}
