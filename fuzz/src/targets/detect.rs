//! Any events, to what counts them: the scan of logs, its census, and the watch over a live host.
//!
//! The input is steps of eight bytes. The counts lie within the bounds that they come with, nothing is lost or counted
//! twice, also when two halves are counted apart, nobody is blamed for another's lines, and memory does not grow.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toban_detect::{Place, Scan, Watch};
use toban_model::event::{
    Act, ErrorLine, Event, KernelLine, KernelWord, Level, Offence, Request, ServiceLine,
};
use toban_model::{Blamed, Host, Prefix, Time, canonical};

use crate::Target;

pub(super) const TARGET: Target = Target { id: "detect", run, seeds };

/// More than nearly every table holds, so that it overflows.
const EVENTS_MAX: usize = 40_000;
/// The watch keeps its requests one by one, so more of them find nothing new.
const WATCHED_MAX: usize = 2_000;

/// All stand in the same file.
const FILE: u32 = 3;

const PATHS: &[&str] = &[
    "/",
    "/index.html",
    "/wp-login.php",
    "/xmlrpc.php",
    "/.env",
    "/item/123",
    "/shop/red-shoe/7",
    "",
    "*",
    "www.example.com:443",
    "http://www.example.com/",
    "/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/q/r",
    "/\u{e9}\u{7f}",
    "//",
];
const METHODS: &[&str] = &["GET", "POST", "", "CONNECT", "BREW", "HEAD"];
const AGENTS: &[&str] = &["", "curl/7.80.0", "Mozilla/5.0 (X11; Linux x86_64)", "\u{0}\u{1f}\u{e9}"];
const STATUSES: &[Option<u16>] =
    &[Some(200), Some(404), Some(401), None, Some(302), Some(503), Some(403), Some(0), Some(999), Some(407)];
const ACCOUNTS: &[&str] = &["root", "admin", "", "anna", "oracle", "x y"];
const ACTS: &[Act] = &[
    Act::Offence(Offence::AuthFailure),
    Act::LoggedIn,
    Act::Other,
    Act::Offence(Offence::RelayAttempt),
    Act::Offence(Offence::Probe),
    Act::Offence(Offence::ProtocolError),
];

fn of<T: Copy>(list: &[T], choice: u8) -> T {
    list[usize::from(choice) % list.len()]
}

/// Many addresses of both kinds, in few networks and in many, and those that stand for something else.
fn client(number: u32) -> IpAddr {
    let v6 = |bits: u128| IpAddr::V6(Ipv6Addr::from(bits));
    match number % 8 {
        0..4 => IpAddr::V4(Ipv4Addr::from(0xc612_0000 | (number / 8))),
        4 => IpAddr::V4(Ipv4Addr::from(number.wrapping_mul(0x9e37_79b9))),
        5 => v6(0x2001_0db8 << 96 | u128::from(number) << 64 | 7),
        6 => v6(0x2001_0db8 << 96 | u128::from(number)),
        _ => of(
            &[v6(0), v6(1), v6(0xffff_c000_0207), IpAddr::from([0, 0, 0, 0]), v6(u128::MAX)],
            (number / 8) as u8,
        ),
    }
}

struct Fed {
    whole: Scan,
    halves: [Scan; 2],
    watch: Watch,
    /// Who did what stands at a place.
    clients: Vec<IpAddr>,
    /// Requests of each address.
    requests: HashMap<IpAddr, u32>,
    total: u32,
    with_agent: u32,
    now: i64,
}

fn run(input: &[u8]) {
    let mut fed = Fed {
        whole: Scan::new("web", false),
        halves: [Scan::new("web", false), Scan::new("web", false)],
        watch: Watch::new(Host::default(), Vec::new()),
        clients: Vec::new(),
        requests: HashMap::new(),
        total: 0,
        with_agent: 0,
        now: 1_795_312_800_000_000,
    };
    let (steps, _) = input.as_chunks::<8>();
    for (n, step) in steps.iter().enumerate() {
        fed.step(step, usize::from(n >= steps.len() / 2));
    }
    let [mut joined, other] = fed.halves;
    joined.absorb(other);
    for scan in [&mut fed.whole, &mut joined] {
        scan.end();
        // Nothing is read again, so nobody is blamed for a flood.
        let blamed = scan.judge().verdicts([]);
        counts(scan, fed.total, fed.with_agent, &fed.requests);
        for (blamed, places) in blamed {
            let client = |(file, place): &Place| {
                assert_eq!(*file, FILE);
                fed.clients[usize::try_from(*place).expect("a place that was given")]
            };
            names(&blamed, places.iter().map(client));
        }
    }
    for live in [false, true] {
        let _situation = fed.watch.close(Time::from_micros(fed.now), live);
    }
}

impl Fed {
    fn step(&mut self, [kind, who, what, how, status, seconds, minutes, more]: &[u8; 8], half: usize) {
        let number = u32::from(*who) << 3 | u32::from(*how & 7);
        let pause = i64::from(*seconds) + i64::from(i8::from_ne_bytes([*minutes])) * 60;
        self.now = self.now.saturating_add(pause * 1_000_000);
        let held = match more % 4 {
            0 => None,
            1 => Some(u64::from(*what) * 1000),
            2 => Some(u64::from(*more) * 1_000_000),
            _ => Some(u64::MAX >> (more / 4)),
        };
        let account = of(ACCOUNTS, *more).as_bytes();
        let request = Request {
            time: Time::from_micros(self.now),
            peer: Some(client(number)),
            client: Some(client(number)),
            forwarded: (how & 8 > 0).then_some(&b"198.51.100.7, 203.0.113.9"[..]),
            method: of(METHODS, how >> 4).as_bytes(),
            path: of(PATHS, *what).as_bytes(),
            protocol: b"HTTP/1.1",
            status: of(STATUSES, *status),
            bytes: None,
            duration_us: held,
            agent: (status & 128 > 0).then_some(of(AGENTS, *status >> 4).as_bytes()),
            referer: None,
            host: None,
            user: (more & 8 > 0).then_some(account),
            raw_request: b"",
        };
        let time = Some(Time::from_micros(self.now));
        match kind % 8 {
            0 | 1 => self.event(half, &Event::Request(request)),
            // Many clients, many paths, or the same over and over.
            2..5 => {
                for n in 0..(u32::from(*status) + 1) << (more % 9) {
                    let (number, suffix) = match kind % 8 {
                        2 => (number, 0),
                        3 => (number.wrapping_add(n), 0),
                        _ => (number.wrapping_add(n % 7), n),
                    };
                    let path = match suffix {
                        0 => of(PATHS, *what).to_owned(),
                        _ => format!("/{}/x{suffix:x}y", suffix % 5),
                    };
                    let client = Some(client(number));
                    let status = of(STATUSES, *status);
                    let request = Request { client, peer: client, path: path.as_bytes(), status, ..request };
                    if !self.event(half, &Event::Request(request)) {
                        break;
                    }
                }
                true
            }
            5 => self.event(
                half,
                &Event::Error(ErrorLine {
                    time: time.filter(|_| status & 1 == 0),
                    level: Level::Error,
                    pid: None,
                    peer: Some(client(number)),
                    code: (status & 2 > 0).then_some("AH00161"),
                    module: None,
                    offence: Offence::ALL.get(usize::from(*what)).copied(),
                    account: Some(account),
                    text: b"server reached pm.max_children",
                }),
            ),
            6 => self.event(
                half,
                &Event::Service(ServiceLine {
                    time: time.filter(|_| status & 1 == 0),
                    service: if what & 64 > 0 { b"" } else { ACCOUNTS[usize::from(what % 3)].as_bytes() },
                    pid: None,
                    client: (status & 2 == 0).then(|| client(number)),
                    account: Some(account),
                    act: of(ACTS, *what),
                    times: 1 << (status % 32),
                    text: b"",
                }),
            ),
            _ => self.event(
                half,
                &Event::Kernel(KernelLine {
                    time,
                    boot_us: None,
                    text: b"",
                    word: match what % 3 {
                        0 => KernelWord::SynFlooding { port: 80 },
                        1 => KernelWord::ConntrackFull,
                        _ => KernelWord::OomKilled {
                            pid: 7,
                            comm: "httpd".to_owned(),
                            anon_rss_kb: held,
                            total_vm_kb: held,
                            cgroup: false,
                        },
                    },
                }),
            ),
        };
    }

    /// Feeds one event to all who count; whether there is room for another.
    fn event(&mut self, half: usize, event: &Event<'_>) -> bool {
        if self.clients.len() >= EVENTS_MAX {
            return false;
        }
        let place = (FILE, self.clients.len() as u64);
        let client = match event {
            Event::Request(request) => request.client,
            Event::Error(error) => error.peer,
            Event::Service(said) => said.client,
            Event::Kernel(_) | Event::Silent => None,
        };
        self.clients.push(canonical(client.unwrap_or(Ipv4Addr::UNSPECIFIED.into())));
        for scan in [&mut self.whole, &mut self.halves[half]] {
            scan.event(event, place);
        }
        if let Event::Request(request) = event {
            self.total += 1;
            self.with_agent += u32::from(request.agent.is_some());
            *self.requests.entry(self.clients[self.clients.len() - 1]).or_default() += 1;
        }
        let read = Time::from_micros(self.now);
        match event {
            _ if self.clients.len() > WATCHED_MAX => {}
            Event::Request(request) => self.watch.request("web", request),
            Event::Error(error) => self.watch.error("web", read, error),
            Event::Kernel(kernel) => self.watch.kernel(read, &kernel.word),
            Event::Service(_) | Event::Silent => {}
        }
        true
    }
}

/// The census of so many requests says how many of them are whose, at least, and at most.
fn counts(scan: &Scan, total: u32, with_agent: u32, requests: &HashMap<IpAddr, u32>) {
    let busiest = scan.census().busiest(usize::MAX);
    assert_eq!(busiest.combinations.iter().map(|one| one.requests).sum::<u32>(), total, "in combinations");
    assert_eq!(busiest.paths.iter().map(|one| one.requests).sum::<u32>(), total, "by path");
    assert_eq!(busiest.agents.iter().map(|one| one.requests).sum::<u32>(), with_agent, "by agent");
    for known in &busiest.addresses {
        let exact = requests.get(&known.prefix.addr()).copied().unwrap_or(0);
        assert!(known.requests <= exact && exact <= known.requests + known.missed, "{exact} are {known:?}");
    }
    // Each is compared with all addresses.
    const COMPARED: usize = 16;
    for known in busiest.prefixes.iter().take(COMPARED) {
        let inside = requests.iter().filter(|(address, _)| holds(&known.prefix, **address));
        let exact: u32 = inside.map(|(_, requests)| requests).sum();
        assert!(known.requests <= exact && exact <= known.requests + known.missed, "{exact} are {known:?}");
    }
    let sizes =
        [busiest.addresses.len(), busiest.prefixes.len(), busiest.paths.len(), busiest.combinations.len()];
    assert!(sizes.iter().all(|size| *size <= 1 << 17), "{sizes:?}");
}

fn holds(prefix: &Prefix, address: IpAddr) -> bool {
    prefix.contains(&address)
}

/// Somebody is blamed for what they did themselves.
fn names(blamed: &Blamed, clients: impl Iterator<Item = IpAddr>) {
    assert!(blamed.first <= blamed.last);
    let all: HashSet<IpAddr> = blamed.clients.iter().copied().chain(blamed.client).map(canonical).collect();
    assert!(!all.is_empty());
    for client in clients {
        assert!(all.contains(&client), "{client} did what is blamed on {blamed:?}");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for kind in 0..8u8 {
        for (name, what, more) in [("few", 0, 0), ("some", 4, 1), ("many", 2, 4)] {
            let steps = (0..8u8).flat_map(|n| [kind, n, what + n, 16 * n, 129 + n, 30, 0, more]);
            seeds.push((format!("{kind}-{name}"), steps.collect()));
        }
    }
    seeds
}
