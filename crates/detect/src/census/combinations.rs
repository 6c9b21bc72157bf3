//! What requests have in common, summed up over everything else.
//!
//! A census counts each request in exactly one combination of all attributes. Here these cells are added up to every
//! combination of some of them, as in a data cube; one of which nearly all belongs to a narrower one says nothing more
//! and is left out.

use toban_model::Combined;

use super::{ANY, Bits, Census, Combination, METHODS, NOBODY, NameId, SOMEBODY, address};
use crate::tables::HashMap;

/// One is told by a narrower one that has this part of it, in percent.
const NEARLY_ALL: u64 = 95;
const ANY_METHOD: u8 = METHODS.len() as u8 - 1;

/// Attributes; what is absent may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Attributes {
    client: Bits,
    path: NameId,
    agent: NameId,
    method: u8,
}

impl Attributes {
    fn of(cell: &Combination) -> Attributes {
        let client = if cell.forwarded > SOMEBODY { cell.forwarded } else { cell.peer };
        let client = if client > SOMEBODY { client } else { NOBODY };
        Attributes { client, path: cell.path, agent: cell.agent, method: cell.method }
    }

    /// Each attribute by itself, as long as there is one; a method alone says nothing.
    fn alone(self) -> [Option<Attributes>; 3] {
        let none = Attributes { client: NOBODY, path: ANY, agent: ANY, method: ANY_METHOD };
        [
            (self.client != NOBODY).then_some(Attributes { client: self.client, ..none }),
            (self.path != ANY).then_some(Attributes { path: self.path, ..none }),
            (self.agent != ANY).then_some(Attributes { agent: self.agent, ..none }),
        ]
    }

    /// Without one attribute, for each that it has.
    fn wider(self) -> impl Iterator<Item = Attributes> {
        [
            Attributes { client: NOBODY, ..self },
            Attributes { path: ANY, ..self },
            Attributes { agent: ANY, ..self },
            Attributes { method: ANY_METHOD, ..self },
        ]
        .into_iter()
        .filter(move |wider| *wider != self)
    }

    /// Itself, and all that is wider and still of two attributes or more.
    fn all(self) -> impl Iterator<Item = Attributes> {
        (0..16u8).filter_map(move |without| {
            let has = [self.client != NOBODY, self.path != ANY, self.agent != ANY, self.method != ANY_METHOD];
            if (0..4).any(|at| without >> at & 1 == 1 && !has[at]) {
                return None;
            }
            let [client, path, agent, method] = [0, 1, 2, 3].map(|at| without >> at & 1 == 0);
            let kept = Attributes {
                client: if client { self.client } else { NOBODY },
                path: if path { self.path } else { ANY },
                agent: if agent { self.agent } else { ANY },
                method: if method { self.method } else { ANY_METHOD },
            };
            (kept.alone().into_iter().flatten().count() >= 2).then_some(kept)
        })
    }
}

impl Census {
    /// All combinations of two and more attributes, each with all requests that it fits.
    pub(super) fn combined(&self) -> Vec<Combined> {
        let mut sums: HashMap<Attributes, u32> = HashMap::default();
        // What an attribute has in all cells. Requests that came before it was heavy stand elsewhere.
        let mut seen: HashMap<Attributes, u32> = HashMap::default();
        for cell in self.combinations.iter() {
            let attributes = Attributes::of(&cell.key);
            for alone in attributes.alone().into_iter().flatten() {
                *seen.entry(alone).or_default() += cell.tally.requests;
            }
            for kept in attributes.all() {
                *sums.entry(kept).or_default() += cell.tally.requests;
            }
        }
        let mut told: HashMap<Attributes, u32> = HashMap::default();
        for (attributes, requests) in &sums {
            for wider in attributes.wider() {
                let narrower = told.entry(wider).or_default();
                *narrower = (*narrower).max(*requests);
            }
        }
        let says_more = |attributes: &Attributes, requests: u32| {
            let narrower = told.get(attributes).copied().unwrap_or(0);
            u64::from(narrower) * 100 < u64::from(requests) * NEARLY_ALL
        };
        let sums =
            sums.iter().filter(|(attributes, requests)| **requests > 0 && says_more(attributes, **requests));
        sums.map(|(attributes, requests)| self.named(*attributes, *requests, &seen)).collect()
    }

    fn named(&self, attributes: Attributes, requests: u32, seen: &HashMap<Attributes, u32>) -> Combined {
        let Attributes { client, path, agent, method } = attributes;
        // No part of it came less often than it, and none stands elsewhere more often than it is not seen.
        let (mut most, mut unseen) = (u32::MAX, 0u32);
        for alone in attributes.alone().into_iter().flatten() {
            let came = self.at_most(alone);
            most = most.min(came);
            let seen = seen.get(&alone).copied().unwrap_or(0);
            unseen = unseen.saturating_add(came.saturating_sub(seen));
        }
        Combined {
            client: (client != NOBODY).then(|| address(client)),
            method: METHODS[usize::from(method)],
            path: (path != ANY).then(|| self.paths.text(path)),
            agent: (agent != ANY).then(|| self.agents.text(agent)),
            requests,
            missed: unseen.min(most.saturating_sub(requests)),
        }
    }

    /// How often one attribute came, at most.
    fn at_most(&self, alone: Attributes) -> u32 {
        // What was counted and what may be missing; of a client, what came from it and what came for it.
        let (one, other) = match alone {
            Attributes { path, .. } if path != ANY => self.paths.requests(path),
            Attributes { agent, .. } if agent != ANY => self.agents.requests(agent),
            Attributes { client, .. } => (self.peers.at_most(client), self.forwarded.at_most(client)),
        };
        one.saturating_add(other)
    }
}
