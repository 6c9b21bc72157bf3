//! What servers and the kernel say in words, counted by kind and minute.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use toban_model::event::{ErrorLine, KernelWord};
use toban_model::{ErrorClass, KernelNews, OomKill, Time};

use crate::tables::HashMap;
use crate::words::Words;

const MINUTE: Duration = Duration::from_secs(60);
/// Kinds of error line over all services; a stranger cannot invent codes, but a module's text may.
const CLASSES_MAX: usize = 512;
/// A day of minutes for each kind.
const MINUTES_MAX: usize = 1440;
/// What the kernel said is told for so long: a file system that went read-only stays so.
const SAID_FOR: Duration = Duration::from_secs(3600);
/// Kills kept one by one.
const KILLS_MAX: usize = 1024;
/// A class's run ends after this pause.
const RUN_PAUSE: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
struct Class {
    minutes: BTreeMap<Time, u32>,
    first_of_run: Time,
    last: Time,
}

impl Class {
    fn add(&mut self, at: Time) {
        if at.since(self.last) > RUN_PAUSE || self.last == Time::ZERO {
            self.first_of_run = at;
        }
        self.last = self.last.max(at);
        *self.minutes.entry(at.bucket(MINUTE)).or_insert(0) += 1;
        while self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }

    fn count(&self, from: Time, to: Time) -> u32 {
        let from = from.bucket(MINUTE);
        if from > to { 0 } else { self.minutes.range(from..=to).map(|(_, n)| n).sum() }
    }
}

/// The error logs of all services.
#[derive(Debug, Default)]
pub(crate) struct Errors {
    classes: HashMap<(String, String), Class>,
}

impl Errors {
    pub(crate) fn line(&mut self, service: &str, at: Time, line: &ErrorLine<'_>) {
        let Some(code) = code_of(line) else { return };
        let key = (service.to_owned(), code);
        if !self.classes.contains_key(&key) && self.classes.len() >= CLASSES_MAX {
            return;
        }
        self.classes.entry(key).or_default().add(at);
    }

    /// Since when a server has been saying that it has no worker left, looking back from `at`.
    pub(crate) fn saturated_since(&self, service: &str, at: Time, within: Duration) -> Option<Time> {
        let class = self.classes.get(&(service.to_owned(), "AH00161".to_owned()))?;
        (at.since(class.last) <= within).then_some(class.first_of_run)
    }

    pub(crate) fn close(&self, from: Time, at: Time) -> Vec<ErrorClass> {
        let window = at.since(from).as_secs_f64().max(60.0);
        let mut out: Vec<ErrorClass> = self
            .classes
            .iter()
            .filter_map(|((service, code), class)| {
                let count = class.count(from, at);
                let oldest = class.minutes.keys().next().copied().unwrap_or(from);
                let before = class.count(oldest, from - MINUTE);
                let usual_seconds = from.since(oldest).as_secs_f64();
                let usual =
                    if usual_seconds > 0.0 { f64::from(before) / usual_seconds * window } else { 0.0 };
                (count > 0).then(|| ErrorClass {
                    service: service.clone(),
                    code: code.clone(),
                    count,
                    usual,
                    first: class.first_of_run,
                    last: class.last,
                })
            })
            .collect();
        out.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| (&a.service, &a.code).cmp(&(&b.service, &b.code)))
        });
        out
    }
}

/// The server's own code, or a fixed name for the few messages without one. Never free text.
fn code_of(line: &ErrorLine<'_>) -> Option<String> {
    if let Some(code) = line.code {
        return Some(code.to_owned());
    }
    let has = |needle: &str| line.text.windows(needle.len()).any(|w| w == needle.as_bytes());
    let name = if has("seems busy") {
        "seems-busy"
    } else if has("pm.max_children") {
        "max-children"
    } else if has("Too many connections")
        || has("too many clients already")
        || has("remaining connection slots")
    {
        "too-many-connections"
    } else if has("No space left on device") {
        "no-space"
    } else if has("Too many open files") || has("EMFILE") {
        "open-files"
    } else if has("Cannot assign requested address") || has("EADDRNOTAVAIL") {
        "no-port"
    } else if has("worker_connections are not enough") {
        "worker-connections"
    } else if has("upstream timed out") {
        "upstream-timed-out"
    } else if line.text.starts_with(b"connect() ") && has("(111:")
        || line.text.starts_with(b"connect() to unix:")
    {
        "upstream-refused"
    } else if has("HY000/2002") || has("SQLSTATE[HY000] [2002]") || has("Can't connect to local") {
        "database-refused"
    } else if has("could not be resolved (")
        || has("emporary failure in name resolution")
        || has("getaddrinfo failed")
    {
        "name-resolution"
    } else {
        return None;
    };
    Some(name.to_owned())
}

/// The kernel log.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    kills: VecDeque<OomKill>,
    by_minute: BTreeMap<Time, u32>,
    syn_flooding: VecDeque<(Time, u16)>,
    conntrack_full: Option<Time>,
    words: Words,
}

impl Kernel {
    pub(crate) fn word(&mut self, at: Time, word: &KernelWord) {
        self.words.take(at, word);
        match word {
            KernelWord::OomKilled { pid, comm, anon_rss_kb, cgroup, .. } => {
                *self.by_minute.entry(at.bucket(MINUTE)).or_insert(0) += 1;
                while self.by_minute.len() > MINUTES_MAX {
                    self.by_minute.pop_first();
                }
                let kill = OomKill {
                    at,
                    pid: *pid,
                    comm: comm.clone(),
                    anon_rss_bytes: anon_rss_kb.unwrap_or(0).saturating_mul(1024),
                    cgroup: *cgroup,
                };
                // A log's past comes in pieces, the newest first.
                self.kills.insert(self.kills.partition_point(|known| known.at <= at), kill);
                if self.kills.len() > KILLS_MAX {
                    self.kills.pop_front();
                }
            }
            KernelWord::SynFlooding { port } => {
                self.syn_flooding.push_back((at, *port));
                if self.syn_flooding.len() > 64 {
                    self.syn_flooding.pop_front();
                }
            }
            KernelWord::ConntrackFull => self.conntrack_full = Some(at),
            _ => {}
        }
    }

    /// The first kill of the run that reaches up to `at`.
    pub(crate) fn killing_since(&self, at: Time, within: Duration) -> Option<Time> {
        let mut first: Option<Time> = None;
        for kill in self.kills.iter().rev() {
            let reference = first.unwrap_or(at);
            if reference.since(kill.at) > if first.is_none() { within } else { RUN_PAUSE } {
                break;
            }
            first = Some(kill.at);
        }
        first
    }

    pub(crate) fn close(&self, from: Time, at: Time) -> KernelNews {
        let oom: Vec<OomKill> = self.kills.iter().filter(|k| k.at >= from && k.at <= at).cloned().collect();
        let listed = u32::try_from(oom.len()).unwrap_or(u32::MAX);
        // The minute that the window begins in may hold older kills; the list is exact there.
        let whole = from.bucket(MINUTE) + MINUTE;
        let counted =
            if whole > at { 0 } else { self.by_minute.range(whole..=at).map(|(_, n)| n).sum::<u32>() };
        KernelNews {
            oom_count: listed.max(counted),
            oom,
            oom_usual: 0,
            syn_flooding: self
                .syn_flooding
                .iter()
                .filter(|s| s.0 >= from && s.0 <= at)
                .map(|s| s.1)
                .collect(),
            conntrack_full: self.conntrack_full.is_some_and(|t| t >= from && t <= at),
            said: self.words.said(from.min(at - SAID_FOR), at),
            reports: self.words.reports(from, at),
        }
    }
}
