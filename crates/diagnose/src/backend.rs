//! The *backend*: the children behind a web server that make its pages, whom they ask, and whether one page holds a child
//! longer than it usually does. A child that is held long waits for something; children that are merely all busy are few.

use std::collections::BTreeMap;

use toban_model::{Holder, ServerView, ServiceKind, Situation, Traffic, Waiting, Worker};

/// Fewer busy children than this tell nothing.
const BUSY_MIN: usize = 3;
/// This part of them asks the same upstream.
const ASKING_MIN: f64 = 0.5;
/// A page that holds its child for so many times its usual has not merely waited for its turn on a busy host.
const LONGER: f64 = 3.0;
/// Pages that wait for their turn longer than they then take.
const SLOWER: f64 = 2.0;
/// Below this a look cannot tell a long page from the time between two looks, in seconds.
const HELD_MIN_S: f64 = 0.9;

/// The children of a pool that has none left for the next page.
pub(crate) struct Backend<'a> {
    pub(crate) view: &'a ServerView,
    /// How long they have been held so far: the mean, in seconds.
    pub(crate) held_s: f64,
    /// For how long a page usually holds a worker, in seconds; 0 when it is not known.
    pub(crate) usual_s: f64,
    /// The same of those that ended lately: with its time in the queue for a child.
    pub(crate) now_s: f64,
    /// What most of them ask and wait for, and which part.
    pub(crate) asks: Option<(&'a str, f64)>,
}

impl<'a> Backend<'a> {
    /// The pool behind the web server, if it is full.
    pub(crate) fn of(situation: &'a Situation, traffic: Option<&'a Traffic>) -> Option<Backend<'a>> {
        let is_pool = |view: &&ServerView| {
            let kind = situation.host.services.iter().find(|s| s.id == view.service).map(|s| s.kind);
            kind == Some(ServiceKind::PhpFpm)
        };
        let view = situation.servers.iter().filter(is_pool).find(|view| {
            let name = format!("{}.workers", view.service);
            situation.resources.iter().any(|r| r.name == name && r.exhausted_since.is_some())
        })?;
        let busy: Vec<&Worker> = view.workers.iter().filter(|w| w.waiting != Waiting::Idle).collect();
        if busy.len() < BUSY_MIN {
            return None;
        }
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        busy.iter().filter_map(|w| w.asks.as_deref()).for_each(|name| *asked.entry(name).or_insert(0) += 1);
        let most = asked.into_iter().max_by_key(|(_, n)| *n);
        let asks = most.map(|(name, n)| (name, n as f64 / busy.len() as f64));
        let held: f64 = busy.iter().map(|w| w.held_ms.unwrap_or(0) as f64 / 1e3).sum();
        Some(Backend {
            view,
            held_s: held / busy.len() as f64,
            usual_s: traffic.map_or(0.0, |traffic| page_s(&traffic.usual.holders)),
            now_s: traffic.map_or(0.0, |traffic| page_s(&traffic.now.holders)),
            asks: asks.filter(|(_, share)| *share >= ASKING_MIN),
        })
    }

    /// Each page holds its child far longer than a page usually takes.
    pub(crate) fn is_stuck(&self) -> bool {
        self.view.queue_len > 0 && self.held_s >= (self.usual_s * LONGER).max(HELD_MIN_S)
    }

    /// A look finds other pages than the one before it found.
    pub(crate) fn is_quick(&self) -> bool {
        self.held_s < HELD_MIN_S
    }

    /// Pages queue, and that makes them slow; a burst that finds every child busy for a moment does not.
    pub(crate) fn is_queued_for(&self) -> bool {
        self.view.queue_len * 2 >= self.view.busy && self.now_s >= self.usual_s * SLOWER
    }

    /// Each page holds its child about as long as a page usually takes.
    pub(crate) fn is_as_usual(&self) -> bool {
        self.usual_s > 0.0 && self.held_s <= self.usual_s * 1.5
    }
}

/// How long a page holds a worker: the mean weighted by what was held, since the many files take no time.
fn page_s(holders: &[Holder]) -> f64 {
    let held: f64 = holders.iter().map(|h| h.held_s).sum();
    let weighted: f64 = holders.iter().map(|h| h.held_s * h.held_s / f64::from(h.requests.max(1))).sum();
    if held > 0.0 { weighted / held } else { 0.0 }
}
