//! The TCP sockets by state and local port, and the networks with the most peers; `tcp.syn_recv` and its siblings.
//!
//! A walk over all sockets costs half a microsecond for each. It is repeated as often as its share allows: every second
//! up to some thousand sockets, then less often; `recorder.age:sockets` says how old the figures are.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use toban_model::{Prefix, Sample, SocketCount, TcpState, prefix_of};

use super::{Collector, gauge, thread_time};
use crate::sockets::{Met, Walk};
use crate::{Error, Root};

/// Processor time that walks may take of a second, on average.
const SHARE: Duration = Duration::from_millis(2);
/// However many there are, they are walked over once in so many seconds.
const WALK_S_MAX: u32 = 30;
/// Most ports told apart; the sockets of the others stand at port 0, with those of connections to elsewhere.
const PORTS_MAX: usize = 128;
/// Most rows of sums: a port has sockets in four states as a rule.
const SUMS_MAX: usize = 160;
/// Most rows of networks, and most of one state and port.
const NETWORKS_MAX: usize = 64;
const NETWORKS_OF_PORT_MAX: usize = 8;
/// Most rows of both.
pub(super) const ROWS_MAX: usize = SUMS_MAX + NETWORKS_MAX;
/// Fewer peers than this make no network worth a row.
const PEERS_MIN: u32 = 4;
/// Places for networks. The kernel's order is as good as random, so a network that holds many sockets is met before
/// the table is full; what is met later counts in the sums alone.
const PLACES: usize = 8_192;

/// Asks for all sockets by sock_diag(7).
pub(super) struct Sockets {
    walk: Walk,
    tally: Tally,
    walked: Option<Instant>,
    /// Samples until the next walk.
    wait: u32,
}

impl Default for Sockets {
    fn default() -> Sockets {
        Sockets { walk: Walk::default(), tally: Tally::new(), walked: None, wait: 0 }
    }
}

impl Collector for Sockets {
    fn id(&self) -> &'static str {
        "sockets"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let mut result = Ok(());
        if self.wait > 0 {
            self.wait -= 1;
        } else {
            let begun = thread_time();
            self.tally.begin();
            result = self.walk.each(root, &mut |socket| self.tally.count(&socket));
            if result.is_ok() {
                self.tally.end();
                self.walked = Some(Instant::now());
            }
            let cost = (thread_time() - begun).as_micros() / SHARE.as_micros();
            self.wait = u32::try_from(cost).unwrap_or(WALK_S_MAX).min(WALK_S_MAX - 1);
        }
        let Some(walked) = self.walked else { return result };
        let tally = &self.tally;
        out.sockets.extend_from_slice(&tally.rows);
        for (name, states) in [
            ("tcp.syn_recv", &[TcpState::SynRecv][..]),
            ("tcp.syn_sent", &[TcpState::SynSent]),
            ("tcp.close_wait", &[TcpState::CloseWait]),
            ("tcp.fin_wait", &[TcpState::FinWait1, TcpState::FinWait2]),
            ("tcp.last_ack", &[TcpState::LastAck, TcpState::Closing]),
        ] {
            let count: u32 = states.iter().map(|state| tally.of_state[*state as usize]).sum();
            out.readings.push(gauge(name, f64::from(count), ""));
        }
        out.readings.push(gauge("recorder.age:sockets", walked.elapsed().as_secs_f64() * 1e3, "ms"));
        result
    }
}

/// The sockets of one network in one state at one port.
#[derive(Clone, Copy, Default)]
struct Place {
    walk: u32,
    count: u32,
    port: u16,
    state: u8,
    network: u64,
}

/// Counts of a walk, in memory of fixed size.
struct Tally {
    walk: u32,
    /// A bit for each port that something listens at, in this walk and in the one before.
    listening: [Vec<u64>; 2],
    ports: Vec<(u16, [u32; 11])>,
    of_state: [u32; 11],
    /// The counts that are told: those of the last walk that ended.
    rows: Vec<SocketCount>,
    counted: [u32; 11],
    places: Vec<Place>,
    taken: Vec<u32>,
    hash: RandomState,
}

impl Tally {
    fn new() -> Tally {
        let bits = || vec![0; 65_536 / 64];
        Tally {
            walk: 0,
            listening: [bits(), bits()],
            ports: Vec::with_capacity(PORTS_MAX),
            of_state: [0; 11],
            rows: Vec::with_capacity(ROWS_MAX),
            counted: [0; 11],
            places: vec![Place::default(); PLACES],
            taken: Vec::with_capacity(PLACES),
            hash: RandomState::new(),
        }
    }

    fn begin(&mut self) {
        self.walk += 1;
        self.listening.swap(0, 1);
        self.listening[0].fill(0);
        self.ports.clear();
        self.ports.push((0, [0; 11]));
        self.counted = [0; 11];
        self.taken.clear();
    }

    fn count(&mut self, socket: &Met) {
        let state = socket.state as usize;
        self.counted[state] += 1;
        let (word, bit) = (usize::from(socket.local_port / 64), 1 << (socket.local_port % 64));
        if socket.state == TcpState::Listen {
            self.listening[0][word] |= bit;
        }
        let listens = (self.listening[0][word] | self.listening[1][word]) & bit != 0;
        let port = self.port(if listens { socket.local_port } else { 0 });
        let (port, counts) = &mut self.ports[port];
        counts[state] += 1;
        if socket.state != TcpState::Listen {
            let port = *port;
            self.count_network(port, socket.state, network_of(socket.peer));
        }
    }

    fn port(&mut self, port: u16) -> usize {
        match self.ports.iter().position(|(known, _)| *known == port) {
            Some(at) => at,
            None if self.ports.len() < PORTS_MAX => {
                self.ports.push((port, [0; 11]));
                self.ports.len() - 1
            }
            None => 0,
        }
    }

    fn count_network(&mut self, port: u16, state: TcpState, network: u64) {
        let state = state as u8;
        let mut at = self.hash.hash_one((port, state, network)) as usize % PLACES;
        loop {
            let full = self.taken.len() >= PLACES * 3 / 4;
            let place = &mut self.places[at];
            if place.walk != self.walk {
                if !full {
                    *place = Place { walk: self.walk, count: 1, port, state, network };
                    self.taken.push(at as u32);
                }
                return;
            }
            if (place.port, place.state, place.network) == (port, state, network) {
                place.count += 1;
                return;
            }
            at = (at + 1) % PLACES;
        }
    }

    fn end(&mut self) {
        self.of_state = self.counted;
        self.rows.clear();
        for (port, counts) in &self.ports {
            for (state, count) in TcpState::ALL.iter().zip(counts).filter(|(_, count)| **count > 0) {
                if self.rows.len() < SUMS_MAX {
                    self.rows.push(SocketCount { state: *state, port: *port, peers: None, count: *count });
                }
            }
        }
        // In an order that does not change while the counts do.
        self.rows.sort_unstable_by_key(|row| (row.port, row.state as u8));
        let places = &self.places;
        self.taken.retain(|at| places[*at as usize].count >= PEERS_MIN);
        let key = |at: &u32| {
            let place = &places[*at as usize];
            (std::cmp::Reverse(place.count), place.port, place.state, place.network)
        };
        self.taken.sort_unstable_by_key(key);
        let sums = self.rows.len();
        for at in &self.taken {
            let place = &self.places[*at as usize];
            let state = TcpState::ALL[usize::from(place.state)];
            let of_port =
                self.rows[sums..].iter().filter(|row| row.port == place.port && row.state == state).count();
            if of_port < NETWORKS_OF_PORT_MAX {
                let peers = Some(prefix_from(place.network));
                self.rows.push(SocketCount { state, port: place.port, peers, count: place.count });
            }
            if self.rows.len() - sums >= NETWORKS_MAX {
                break;
            }
        }
    }
}

const IS_V6: u64 = 1 << 63;

/// The /24 or /48 of a peer, as a number.
fn network_of(peer: IpAddr) -> u64 {
    match peer {
        IpAddr::V4(v4) => u64::from(u32::from(v4) >> 8),
        IpAddr::V6(v6) => IS_V6 | (u128::from(v6) >> 80) as u64,
    }
}

fn prefix_from(network: u64) -> Prefix {
    let address = if network & IS_V6 == 0 {
        IpAddr::V4(Ipv4Addr::from((network as u32) << 8))
    } else {
        IpAddr::V6(Ipv6Addr::from(u128::from(network & !IS_V6) << 80))
    };
    prefix_of(address, 24, 48)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(state: TcpState, local_port: u16, peer: &str) -> Met {
        Met { state, local_port, peer: peer.parse().unwrap() }
    }

    fn rows(tally: &mut Tally, sockets: impl IntoIterator<Item = Met>) -> Vec<String> {
        tally.begin();
        sockets.into_iter().for_each(|socket| tally.count(&socket));
        tally.end();
        let show = |row: &SocketCount| {
            let peers = row.peers.map(|peers| format!(" {peers}")).unwrap_or_default();
            format!("{:?} {}{peers} {}", row.state, row.port, row.count)
        };
        tally.rows.iter().map(show).collect()
    }

    #[test]
    fn sums_and_networks() {
        use TcpState::{CloseWait, Established, Listen, SynSent};
        let mut tally = Tally::new();
        let mut sockets = vec![met(Listen, 80, "0.0.0.0")];
        sockets.extend((0..9).map(|n| met(Established, 80, &format!("192.0.2.{n}"))));
        sockets.extend((0..5).map(|n| met(CloseWait, 80, &format!("2001:db8:1:{n}::1"))));
        sockets.extend((0..3).map(|n| met(Established, 80, &format!("198.51.100.{n}"))));
        sockets.push(met(SynSent, 50_000, "203.0.113.1"));
        assert_eq!(
            rows(&mut tally, sockets),
            [
                "SynSent 0 1",
                "Established 80 12",
                "CloseWait 80 5",
                "Listen 80 1",
                "Established 80 192.0.2.0/24 9",
                "CloseWait 80 2001:db8:1::/48 5",
            ]
        );
        assert_eq!(rows(&mut tally, []), [""; 0], "nothing of the walk before is left");
    }

    #[test]
    fn a_flood_from_everywhere_hides_no_network() {
        let mut tally = Tally::new();
        let mut random = fastrand::Rng::with_seed(7);
        let mut sockets: Vec<Met> = (0..100_000)
            .map(|_| met(TcpState::SynRecv, 443, &Ipv4Addr::from(random.u32(..)).to_string()))
            .chain((0..2_000).map(|n| met(TcpState::SynRecv, 443, &format!("192.0.2.{}", n % 250))))
            .collect();
        random.shuffle(&mut sockets);
        sockets.insert(0, met(TcpState::Listen, 443, "::"));
        let rows = rows(&mut tally, sockets);
        assert_eq!(rows[..2], ["SynRecv 443 102000", "Listen 443 1"]);
        assert!(rows[2].starts_with("SynRecv 443 192.0.2.0/24 "), "{rows:?}");
        let count: u32 = rows[2].rsplit(' ').next().unwrap().parse().unwrap();
        assert!(count > 1_900, "{count}");
    }

    #[test]
    fn many_ports_and_networks_are_bounded() {
        let mut tally = Tally::new();
        let ports = (1..3_000).map(|port| met(TcpState::Listen, port, "0.0.0.0"));
        let peers = (0..60_000u32)
            .map(|n| met(TcpState::Established, (n % 3_000) as u16, &Ipv4Addr::from(n << 4).to_string()));
        let rows = rows(&mut tally, ports.chain(peers));
        assert!(rows.len() <= ROWS_MAX);
        assert_eq!(tally.of_state[TcpState::Established as usize], 60_000);
    }

    #[test]
    fn what_this_host_has() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let held: Vec<_> =
            (0..6).map(|_| std::net::TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
        let mut sample = Sample::default();
        Sockets::default().collect(&Root::host(), &mut sample).unwrap();
        let count = |peers: Option<&str>| {
            let peers = peers.map(|peers| peers.parse().unwrap());
            let is = |row: &&SocketCount| {
                row.port == port && row.state == TcpState::Established && row.peers == peers
            };
            sample.sockets.iter().find(is).map(|row| row.count)
        };
        assert_eq!(count(None), Some(6));
        assert_eq!(count(Some("127.0.0.0/24")), Some(6));
        drop(held);
    }
}
