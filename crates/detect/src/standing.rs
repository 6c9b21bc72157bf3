//! What stands and what has fallen: servers that served here and are gone, upstreams, name servers, links and gateways that
//! answered before and do not now.
//!
//! The noun is the [`Standing`]. It remembers what was seen to work, because a thing that never worked has not failed; that
//! memory outlives a restart.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toban_model::{
    Asked, ErrorClass, Failures, Hung, Inspection, KernelNews, KnownServer, LifeWord, Misconfigured,
    NetworkTrouble, OomKill, Pulse, Resolution, ResolverLook, ServerLook, Stopped, Time, Trouble, Upstream,
    UpstreamGone,
};

/// Servers that are remembered; the one seen longest ago is forgotten first.
const SERVERS_MAX: usize = 128;
const UPSTREAMS_MAX: usize = 256;
const LINKS_MAX: usize = 64;
/// A restart takes seconds, and an upgrade or a rotation of logs is known by what runs meanwhile.
const RESTART: Duration = Duration::from_secs(6);
const MAINTENANCE: Duration = Duration::from_secs(300);
/// A server that nobody is known to start again must have served so long for its end to matter.
const SERVED_MIN_S: u64 = 600;
/// What was said longer ago of a server that is not running is how somebody left it.
const SAID_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// A look is good for so long.
const FRESH: Duration = Duration::from_secs(60);
/// Nothing moves for so long where it is not certain at once.
const STUCK: Duration = Duration::from_secs(10);
/// A gateway that is asked for the first time in a while answers within a second.
const ARP: Duration = Duration::from_secs(1);
/// Changes of a link's signal are counted for so long.
const FLAPS_WITHIN: Duration = Duration::from_secs(300);
/// So many of them are no cable being moved.
const FLAPS_MIN: u32 = 6;
/// Codes by which a server says that nobody took the request that it handed on.
const REFUSED: &[&str] = &["AH01079", "AH00957", "AH01114", "AH02454", "upstream-refused"];

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    known: KnownServer,
    last: Time,
    served_s: u64,
    missing_since: Option<Time>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Silence {
    worked: bool,
    since: Option<Time>,
    looks: u32,
}

impl Silence {
    fn look(&mut self, at: Time, works: bool) {
        if works {
            *self = Silence { worked: true, ..Silence::default() };
        } else {
            self.since.get_or_insert(at);
            self.looks += 1;
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct LinkSeen {
    signal: Silence,
    changes: VecDeque<(Time, u64)>,
}

#[derive(Clone, Debug)]
struct Still {
    since: Time,
    looks: u32,
    pulse: Pulse,
}

/// What is remembered of a host's servers and of what they need.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    servers: BTreeMap<String, Seen>,
    /// By the service that hands on and the place.
    upstreams: BTreeMap<String, Silence>,
    resolution: Silence,
    links: BTreeMap<String, LinkSeen>,
    gateways: BTreeMap<IpAddr, Silence>,
    #[serde(skip)]
    asked: Vec<ResolverLook>,
    #[serde(skip)]
    last: Option<Inspection>,
    #[serde(skip)]
    still: BTreeMap<String, Still>,
    /// Until then what is gone is gone by toban's own hand.
    #[serde(skip)]
    own_work: Option<Time>,
}

impl Standing {
    /// toban itself restarts servers now. What is gone meanwhile, and for as long as a restart takes, is no failure.
    pub(crate) fn own_work(&mut self, at: Time) {
        self.own_work = Some(at + RESTART);
    }

    /// Takes a slow look.
    pub(crate) fn inspect(&mut self, look: Inspection) {
        let at = look.at;
        let before = self.last.as_ref().map(|last| last.at);
        for server in &look.servers {
            let id = &server.known.service;
            if server.running_since.is_some() {
                // A server that listens nowhere is no server.
                if server.known.listens.is_empty() && server.known.listens_unix.is_empty() {
                    continue;
                }
                let since_last = before.map_or(0, |before| at.since(before).as_secs().min(60));
                let seen = self.servers.entry(id.clone()).or_insert_with(|| Seen {
                    known: server.known.clone(),
                    last: at,
                    served_s: 0,
                    missing_since: None,
                });
                seen.known.clone_from(&server.known);
                seen.served_s += since_last;
                (seen.last, seen.missing_since) = (at, None);
            } else if let Some(seen) = self.servers.get_mut(id) {
                // After a restart of toban it has been gone since it was seen last, as far as is known.
                seen.missing_since.get_or_insert(if before.is_none() { seen.last } else { at });
                seen.known.enabled = server.known.enabled;
            }
        }
        while self.servers.len() > SERVERS_MAX {
            let oldest = self.servers.iter().min_by_key(|(_, seen)| seen.last).map(|(id, _)| id.clone());
            self.servers.remove(&oldest.unwrap_or_default());
        }
        for upstream in &look.upstreams {
            let key = key_of(upstream);
            if self.upstreams.len() < UPSTREAMS_MAX || self.upstreams.contains_key(&key) {
                self.upstreams.entry(key).or_default().look(at, upstream.listens);
            }
        }
        if !look.resolvers.is_empty() {
            let answered = look.resolvers.iter().any(|r| matches!(r.asked, Asked::Answered(_)));
            self.resolution.look(at, answered);
            self.asked.clone_from(&look.resolvers);
        }
        for link in &look.links {
            if self.links.len() >= LINKS_MAX && !self.links.contains_key(&link.interface) {
                continue;
            }
            let seen = self.links.entry(link.interface.clone()).or_default();
            seen.signal.look(at, link.carrier);
            if seen.changes.back().is_some_and(|(_, changes)| *changes > link.changes) {
                seen.changes.clear();
            }
            seen.changes.push_back((at, link.changes));
            while seen.changes.front().is_some_and(|(then, _)| at.since(*then) > FLAPS_WITHIN)
                || seen.changes.len() > 300
            {
                seen.changes.pop_front();
            }
        }
        // One that is not in the table any more is not needed, which says nothing.
        self.gateways.retain(|address, _| look.gateways.iter().any(|gateway| gateway.address == *address));
        for gateway in &look.gateways {
            self.gateways.entry(gateway.address).or_default().look(at, gateway.answers);
        }
        self.last = Some(look);
    }

    /// Takes the servers' pulses.
    pub(crate) fn pulse(&mut self, at: Time, pulses: Vec<Pulse>) {
        self.still.retain(|id, _| pulses.iter().any(|pulse| pulse.service == *id));
        for pulse in pulses {
            let halted = pulse.states[0] > 0 && pulse.states[1..] == [0; 3];
            let moved = self.still.get(&pulse.service).is_none_or(|still| {
                let before = &still.pulse;
                before.master != pulse.master
                    || pulse.cpu_ticks != before.cpu_ticks
                    || pulse.queue < before.queue
            });
            if !pulse.lives || pulse.queue == 0 && !halted {
                self.still.remove(&pulse.service);
            } else if moved {
                self.still.insert(pulse.service.clone(), Still { since: at, looks: 1, pulse });
            } else if let Some(still) = self.still.get_mut(&pulse.service) {
                still.looks += 1;
                still.pulse = pulse;
            }
        }
    }

    /// Servers that were seen to serve and are gone: those worth a look at what they said.
    pub(crate) fn missing(&self) -> Vec<KnownServer> {
        self.servers
            .values()
            .filter(|seen| seen.missing_since.is_some())
            .map(|seen| seen.known.clone())
            .collect()
    }

    /// Whether a place where somebody listened has nobody now.
    pub fn misses_upstream(&self) -> bool {
        let gone = |upstream: &&Upstream| !upstream.listens;
        self.last
            .iter()
            .flat_map(|last| &last.upstreams)
            .filter(gone)
            .any(|upstream| self.upstreams.get(&key_of(upstream)).is_some_and(|silence| silence.worked))
    }

    /// What has failed by `at`. `is_full` says of a service that all its workers are busy.
    pub(crate) fn close(
        &self,
        at: Time,
        boot: Time,
        kernel: &KernelNews,
        errors: &[ErrorClass],
        is_full: impl Fn(&str) -> bool,
    ) -> Failures {
        let Some(last) = self.last.as_ref().filter(|last| at.since(last.at) <= FRESH) else {
            return Failures::default();
        };
        let mut failures = Failures { certificates: last.certificates.clone(), ..Failures::default() };
        let own_work = self.own_work.is_some_and(|until| at < until);
        for look in last.servers.iter().filter(|look| !own_work || look.running_since.is_some()) {
            if look.running_since.is_some() {
                failures.misconfigured.extend(misconfigured(look));
            } else {
                failures.stopped.extend(self.stopped(look, last.maintenance, at, boot, &kernel.oom));
            }
        }
        failures.hung = self
            .still
            .values()
            .filter(|still| {
                let halted = still.pulse.states[0] > 0 && still.pulse.states[1..] == [0; 3];
                let lasts = at.since(still.since) >= STUCK;
                still.looks >= 2 && (halted || lasts) && !is_full(&still.pulse.service)
            })
            .map(|still| Hung {
                service: still.pulse.service.clone(),
                master: still.pulse.master,
                since: still.since,
                queue: still.pulse.queue,
                states: still.pulse.states,
                waits_in: still.pulse.waits_in.clone(),
            })
            .collect();
        let grace = if last.maintenance { MAINTENANCE } else { RESTART };
        for upstream in last.upstreams.iter().filter(|upstream| !upstream.listens && !own_work) {
            let Some(silence) = self.upstreams.get(&key_of(upstream)) else { continue };
            let said = errors.iter().filter(|e| e.service == upstream.of && REFUSED.contains(&&*e.code));
            let refused: u32 = said.clone().map(|e| e.count).sum();
            let first = said.map(|e| e.first).min();
            let gone = silence.since.unwrap_or(last.at);
            // Of one that was never seen to listen only who was refused there can tell that somebody should.
            let missed_since = if silence.worked { Some(gone) } else { first };
            if missed_since.is_some_and(|since| at.since(since) >= grace) && silence.looks >= 2 {
                failures.upstreams.push(UpstreamGone {
                    name: upstream.name.clone(),
                    of: upstream.of.clone(),
                    since: first.unwrap_or(gone).min(gone),
                    refused,
                    listened: silence.worked,
                });
            }
        }
        failures.resolution = Resolution {
            resolvers: self.asked.clone(),
            silent: self.resolution.since.map(|since| (since, self.resolution.looks)),
            answered_before: self.resolution.worked,
            said: errors.iter().filter(|e| e.code == "name-resolution").map(|e| e.count).sum(),
        };
        failures.network = self.network(last, at);
        failures
    }

    fn network(&self, last: &Inspection, at: Time) -> Vec<NetworkTrouble> {
        let mut out = Vec::new();
        for link in &last.links {
            let Some(seen) = self.links.get(&link.interface) else { continue };
            let mut trouble = |trouble, since| {
                out.push(NetworkTrouble { interface: link.interface.clone(), trouble, since });
            };
            // A port without a cable is no failure, unless something was to go out there.
            if let Some(since) = seen.signal.since
                && (link.default_route || seen.signal.worked && link.hardware)
            {
                trouble(Trouble::NoCarrier, since);
                continue;
            }
            if let (Some((_, first)), Some((_, now))) = (seen.changes.front(), seen.changes.back()) {
                let changes = u32::try_from(now - first).unwrap_or(u32::MAX);
                let first = seen.changes.iter().find(|(_, n)| n > first).map(|(then, _)| *then);
                if let (true, Some(since)) = (changes >= FLAPS_MIN && link.hardware, first) {
                    trouble(Trouble::Flaps(changes / 2), since);
                }
            }
        }
        for gateway in &last.gateways {
            let Some(silence) = self.gateways.get(&gateway.address) else { continue };
            let Some(since) = silence.since else { continue };
            if silence.looks >= 2 && at.since(since) >= ARP {
                let trouble = Trouble::GatewaySilent(gateway.address);
                out.push(NetworkTrouble { interface: gateway.interface.clone(), trouble, since });
            }
        }
        out
    }

    fn stopped(
        &self,
        look: &ServerLook,
        maintenance: bool,
        at: Time,
        boot: Time,
        kills: &[OomKill],
    ) -> Option<Stopped> {
        let known = &look.known;
        // Nobody wants it to run.
        if known.enabled == Some(false) {
            return None;
        }
        let life: Vec<_> =
            look.words.iter().filter(|line| line.word != LifeWord::Other && line.at <= at).collect();
        let started = life.iter().rposition(|line| line.word == LifeWord::Started);
        let ending = life.get(started.map_or(0, |at| at + 1)..).unwrap_or_default();
        let failed = ending.iter().any(|l| matches!(l.word, LifeWord::Failed | LifeWord::Complaint { .. }));
        let seen = self.servers.get(&known.service);
        let (since, served_s) = match seen {
            Some(seen) => {
                let missing = seen.missing_since?;
                let grace = if maintenance { MAINTENANCE } else { RESTART };
                if at.since(missing) < grace {
                    return None;
                }
                let low_port = known.listens.iter().any(|l| l.port() < 32_768 && !l.ip().is_loopback());
                if known.enabled.is_none() && !(failed && seen.served_s >= SERVED_MIN_S && low_port) {
                    return None;
                }
                let said = ending.iter().map(|line| line.at).find(|said| *said + FRESH >= seen.last);
                (said.unwrap_or(missing), seen.served_s)
            }
            None => {
                // Known from files alone: it is meant to run at boot, and its logs show that it did in this one.
                let newest = life.last()?.at;
                let left = newest < boot || at.since(newest) > SAID_WITHIN;
                let grace = if maintenance { MAINTENANCE } else { RESTART };
                if known.enabled != Some(true) || left || at.since(newest) < grace {
                    return None;
                }
                (ending.first().map_or(newest, |line| line.at), 0)
            }
        };
        let name = known.exe.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let out_of_memory = kills.iter().any(|kill| {
            !kill.comm.is_empty()
                && name.starts_with(&kill.comm)
                && kill.at + MAINTENANCE >= since
                && kill.at <= since + RESTART
        });
        Some(Stopped {
            known: known.clone(),
            since,
            served_s,
            words: look.words.clone(),
            edited: look.edited.clone(),
            out_of_memory,
        })
    }
}

/// The service that hands on and the place.
fn key_of(upstream: &Upstream) -> String {
    format!("{} {}", upstream.of, upstream.name)
}

/// A server that runs, and that said of its changed configuration that it cannot: at its next start it would be gone.
fn misconfigured(look: &ServerLook) -> Option<Misconfigured> {
    let started = look.running_since?;
    let life = || look.words.iter().rev().filter(|line| line.word != LifeWord::Other);
    let complaint = life().find(|line| matches!(line.word, LifeWord::Complaint { .. }))?;
    let LifeWord::Complaint { file, .. } = &complaint.word else { return None };
    let healed = life().any(|line| line.word == LifeWord::Started && line.at >= complaint.at);
    // What was changed after it was complained of may be right again.
    let mended = look
        .edited
        .iter()
        .any(|edit| file.as_ref().is_none_or(|file| same(file, &edit.path)) && edit.at > complaint.at);
    let edited = look.edited.iter().any(|edit| edit.at > started);
    (complaint.at > started && edited && !healed && !mended).then(|| Misconfigured {
        known: look.known.clone(),
        complaint: complaint.clone(),
        edited: look.edited.clone(),
    })
}

/// The same file, by one of its names: `sites-enabled` holds links to `sites-available`.
fn same(one: &std::path::Path, other: &std::path::Path) -> bool {
    one == other || one.file_name() == other.file_name()
}

#[cfg(test)]
mod tests;
