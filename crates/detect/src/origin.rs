//! Who asked, and by which way: an address counts only if the server itself saw it.

use std::net::IpAddr;

use toban_model::{Client, Prefix, Via, canonical, is_private, same_family_contains};

use crate::tables::{HashMap, HashSet};

/// Peers followed while learning; a balancer is among the busiest, so late strangers may be left out.
const PEERS_MAX: usize = 10_000;
/// Forwarded addresses remembered for a peer.
const FORWARDED_MAX: usize = 16;
/// A balancer carries many people's requests: this many requests, for this many addresses, at least.
const REQUESTS_MIN: u32 = 50;
const FORWARDED_MIN: usize = 4;
/// At least this part of a balancer's requests names whom it asks for; the rest are its own health checks.
const FORWARDED_SHARE_MIN: f64 = 0.5;
/// A public peer must carry this part of all usual requests, a peer in a private network a smaller one: strangers
/// can send any header, but they cannot be most of the usual traffic, nor come from a private address.
const PUBLIC_SHARE_MIN: f64 = 0.5;
const PRIVATE_SHARE_MIN: f64 = 0.05;

/// Peers that carry other people's requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    configured: Vec<Prefix>,
    learned: HashSet<IpAddr>,
}

impl Origins {
    pub(crate) fn new(configured: Vec<Prefix>) -> Origins {
        Origins { configured, learned: HashSet::default() }
    }

    /// Whether any balancer is known: without one, coming directly is how everybody comes.
    fn any(&self) -> bool {
        !self.configured.is_empty() || !self.learned.is_empty()
    }

    pub(crate) fn is_balancer(&self, peer: IpAddr) -> bool {
        self.learned.contains(&peer) || self.configured.iter().any(|p| same_family_contains(p, peer))
    }

    /// The balancers by address: the learned ones, and configured ones that were seen.
    pub(crate) fn seen<'a>(&self, peers: impl Iterator<Item = &'a IpAddr>) -> Vec<IpAddr> {
        let mut all: HashSet<IpAddr> = peers.copied().filter(|p| self.is_balancer(*p)).collect();
        all.extend(&self.learned);
        all.extend(self.configured.iter().filter(|p| p.prefix_len() == p.max_prefix_len()).map(Prefix::addr));
        let mut all: Vec<IpAddr> = all.into_iter().collect();
        all.sort_unstable();
        all
    }

    /// The client behind a peer. A forwarded address counts only when the peer is a balancer.
    pub(crate) fn client(&self, peer: IpAddr, forwarded: Option<IpAddr>) -> Client {
        if self.is_balancer(peer) {
            Client { address: forwarded.unwrap_or(peer), peer, via: Via::Balancer }
        } else {
            Client { address: peer, peer, via: if self.any() { Via::Direct } else { Via::None } }
        }
    }

    /// What was learned is out of date.
    pub(crate) fn forget(&mut self) {
        self.learned.clear();
    }

    /// Learns from one service's usual traffic: `(peer, forwarded, requests)`. Of traffic that is not known to be usual only peers
    /// in private networks are believed, since most of it may be a stranger's.
    pub(crate) fn learn(
        &mut self,
        traffic: impl Iterator<Item = (IpAddr, Option<IpAddr>, u32)>,
        is_usual: bool,
    ) {
        #[derive(Default)]
        struct Peer {
            requests: u32,
            with_forwarded: u32,
            forwarded: HashSet<IpAddr>,
        }
        let mut peers: HashMap<IpAddr, Peer> = HashMap::default();
        let mut total = 0u64;
        for (peer, forwarded, requests) in traffic {
            total += u64::from(requests);
            if !peers.contains_key(&peer) && peers.len() >= PEERS_MAX {
                continue;
            }
            let entry = peers.entry(peer).or_default();
            entry.requests += requests;
            if let Some(address) = forwarded {
                entry.with_forwarded += requests;
                if entry.forwarded.len() < FORWARDED_MAX {
                    entry.forwarded.insert(address);
                }
            }
        }
        let balancers = peers
            .into_iter()
            .filter(|(address, peer)| {
                let share = f64::from(peer.requests) / (total as f64).max(1.0);
                let needed = if is_private(*address) { PRIVATE_SHARE_MIN } else { PUBLIC_SHARE_MIN };
                (is_usual || is_private(*address))
                    && peer.requests >= REQUESTS_MIN
                    && peer.forwarded.len() >= FORWARDED_MIN
                    && f64::from(peer.with_forwarded) >= FORWARDED_SHARE_MIN * f64::from(peer.requests)
                    && share >= needed
            })
            .map(|(address, _)| address);
        self.learned.extend(balancers);
    }
}

/// The last address of an `X-Forwarded-For`: the one that the nearest proxy itself wrote. What stands before it came
/// in with the request and may be anybody's invention.
pub(crate) fn last_forwarded(header: &[u8]) -> Option<IpAddr> {
    let last = header.rsplit(|b| *b == b',').next()?;
    let text = std::str::from_utf8(last.trim_ascii()).ok()?;
    text.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_nearest_proxys_word_counts() {
        assert_eq!(last_forwarded(b"203.0.113.9, 192.0.2.1"), Some(ip("192.0.2.1")));
        assert_eq!(last_forwarded(b"unknown"), None);
        assert_eq!(last_forwarded(b"-"), None);
    }

    #[test]
    fn a_balancer_is_learned_and_a_forger_is_not() {
        let mut origins = Origins::default();
        let mut usual = Vec::new();
        for i in 0..200u32 {
            usual.push((ip("10.1.2.3"), Some(IpAddr::from([192, 0, 2, (i % 50) as u8])), 2));
            // A stranger who invents a header for each request, and is a fifth of the traffic.
            usual.push((ip("203.0.113.66"), Some(IpAddr::from([192, 0, 2, (i % 250) as u8])), 1));
        }
        origins.learn(usual.into_iter(), true);
        assert!(origins.is_balancer(ip("10.1.2.3")));
        // Another service, whose clients all come directly.
        origins.learn((0..200).map(|i| (IpAddr::from([198, 51, 100, i]), None, 10)), true);
        assert!(origins.is_balancer(ip("10.1.2.3")));
        assert!(!origins.is_balancer(ip("203.0.113.66")));
        assert_eq!(origins.client(ip("203.0.113.66"), Some(ip("192.0.2.9"))).address, ip("203.0.113.66"));
        assert_eq!(origins.client(ip("10.1.2.3"), Some(ip("192.0.2.9"))).address, ip("192.0.2.9"));
        assert_eq!(origins.client(ip("203.0.113.66"), None).via, Via::Direct);
    }
}
