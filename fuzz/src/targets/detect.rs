//! Any events, to what counts them: the scan of logs, its census, and the watch over a live host.
//!
//! The input is steps of eight bytes. The counts lie within the bounds that they come with, nothing is lost or counted
//! twice, also when two halves are counted apart, nobody is blamed for another's lines, and memory does not grow.

use std::collections::{BTreeMap, BTreeSet};
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

/// When the first event was.
const START: Time = Time::from_secs(1_795_312_800);
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

/// What is known of the events that were fed.
#[derive(Default)]
struct Exact {
    /// Who did what stands at a place.
    clients: Vec<IpAddr>,
    /// Requests of each address.
    requests: BTreeMap<IpAddr, u32>,
    total: u32,
    with_agent: u32,
}

fn run(input: &[u8]) {
    let (steps, _) = input.as_chunks::<8>();
    let passes_on = steps.first().is_some_and(|step| step[6] == 255);
    let scan = || Scan::new("web", passes_on);
    let (mut whole, mut one, mut other) = (scan(), scan(), scan());
    let mut watch = Watch::new(Host::default(), Vec::new());
    let mut part = watch.part("web");
    let mut exact = Exact::default();
    let now = feed(steps, &mut |half, place, event| {
        exact.count(event);
        whole.event(event, place);
        if half == 0 { &mut one } else { &mut other }.event(event, place);
        let read = START;
        match event {
            _ if exact.clients.len() > WATCHED_MAX => {}
            Event::Request(request) if half == 0 => part.request(request),
            Event::Request(request) => watch.request("web", request),
            Event::Error(error) => watch.error("web", read, error),
            Event::Kernel(kernel) => watch.kernel(kernel.time.unwrap_or(read), &kernel.word),
            Event::Service(_) | Event::Silent => {}
        }
    });
    one.absorb(other);
    for mut scan in [whole, one] {
        scan.end();
        counts(&scan, &exact);
        let judgement = scan.judge();
        let mut again = judgement.again("web");
        if let Some(again) = &mut again {
            feed(steps, &mut |_, place, event| {
                if let Event::Request(request) = event {
                    again.request(request, place);
                }
            });
        }
        for (blamed, places) in judgement.verdicts(again) {
            let client = |(file, place): &Place| {
                assert_eq!(*file, FILE);
                exact.clients[usize::try_from(*place).expect("a place that was given")]
            };
            names(&blamed, places.iter().map(client));
        }
    }
    watch.absorb(part);
    for live in [false, true] {
        let _situation = watch.close(now, live);
    }
}

impl Exact {
    fn count(&mut self, event: &Event<'_>) {
        let client = match event {
            Event::Request(request) => request.client,
            Event::Error(error) => error.peer,
            Event::Service(said) => said.client,
            Event::Kernel(_) | Event::Silent => None,
        };
        let client = canonical(client.unwrap_or(Ipv4Addr::UNSPECIFIED.into()));
        self.clients.push(client);
        if let Event::Request(request) = event {
            self.total += 1;
            self.with_agent += u32::from(request.agent.is_some());
            *self.requests.entry(client).or_default() += 1;
        }
    }
}

/// Takes an event, which half of the log it is of, and its place.
type Take<'a> = dyn FnMut(usize, Place, &Event<'_>) + 'a;

/// Makes events of the steps, always the same ones. Returns when the last one was.
fn feed(steps: &[[u8; 8]], take: &mut Take<'_>) -> Time {
    let mut now = START;
    let mut count = 0;
    for (n, step) in steps.iter().enumerate() {
        let pause = i64::from(step[5]) + i64::from(i8::from_ne_bytes([step[6]])) * 60;
        now = Time::from_micros(now.as_micros().saturating_add(pause * 1_000_000));
        let half = usize::from(n >= steps.len() / 2);
        events(step, now, &mut |event| {
            if count < EVENTS_MAX {
                take(half, (FILE, count as u64), event);
                count += 1;
            }
            count < EVENTS_MAX
        });
    }
    now
}

/// The events of one step, until there is no room for more.
fn events(
    [kind, who, what, how, status, _, _, more]: &[u8; 8],
    now: Time,
    take: &mut dyn FnMut(&Event<'_>) -> bool,
) {
    let number = u32::from(*who) << 3 | u32::from(*how & 7);
    let held = match more % 4 {
        0 => None,
        1 => Some(u64::from(*what) * 1000),
        2 => Some(u64::from(*more) * 1_000_000),
        _ => Some(u64::MAX >> (more / 4)),
    };
    let account = of(ACCOUNTS, *more).as_bytes();
    let request = Request {
        time: now,
        peer: Some(client(number)),
        client: Some(client(number)),
        forwarded: (how & 8 > 0).then_some(&b"198.51.100.7, 203.0.113.9"[..]),
        method: of(METHODS, how >> 4).as_bytes(),
        path: of(PATHS, *what).as_bytes(),
        protocol: b"HTTP/1.1",
        status: of(STATUSES, *status),
        duration_us: held,
        agent: (status & 128 > 0).then_some(of(AGENTS, *status >> 4).as_bytes()),
        user: (more & 8 > 0).then_some(account),
        ..Request::BLANK
    };
    let time = Some(now).filter(|_| status & 1 == 0);
    match kind % 8 {
        0 | 1 => {
            take(&Event::Request(request));
        }
        // The same over and over, many clients, many paths.
        2..5 => {
            for n in 0..(u32::from(*status) + 1) << (more % 9) {
                let name = format!("/{}/x{n:x}y", n % 5);
                let (number, path) = match kind % 8 {
                    2 => (number, of(PATHS, *what)),
                    3 => (number.wrapping_add(n), of(PATHS, *what)),
                    _ => (number.wrapping_add(n % 7), name.as_str()),
                };
                let client = Some(client(number));
                if !take(&Event::Request(Request { client, peer: client, path: path.as_bytes(), ..request }))
                {
                    break;
                }
            }
        }
        5 => {
            take(&Event::Error(ErrorLine {
                time,
                level: Level::Error,
                pid: None,
                peer: Some(client(number)),
                code: (status & 2 > 0).then_some("AH00161"),
                module: None,
                offence: Offence::ALL.get(usize::from(*what)).copied(),
                account: Some(account),
                text: b"server reached pm.max_children",
            }));
        }
        6 => {
            take(&Event::Service(ServiceLine {
                time,
                service: of(ACCOUNTS, what >> 4).as_bytes(),
                pid: None,
                client: (status & 2 == 0).then(|| client(number)),
                account: Some(account),
                act: of(ACTS, *what),
                times: 1 << (status % 32),
                text: b"",
            }));
        }
        _ => {
            take(&Event::Kernel(KernelLine {
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
            }));
        }
    }
}

/// The census of so many requests says how many of them are whose, at least, and at most.
fn counts(scan: &Scan, exact: &Exact) {
    let Exact { requests, total, with_agent, .. } = exact;
    let busiest = scan.census().busiest(usize::MAX);
    for one in &busiest.combinations {
        assert!(0 < one.requests && one.requests <= *total, "{total} are {one:?}");
    }
    assert_eq!(busiest.paths.iter().map(|one| one.requests).sum::<u32>(), *total, "by path");
    assert_eq!(busiest.agents.iter().map(|one| one.requests).sum::<u32>(), *with_agent, "by agent");
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
    let all: BTreeSet<IpAddr> = blamed.clients.iter().copied().chain(blamed.client).map(canonical).collect();
    assert!(!all.is_empty());
    for client in clients {
        assert!(all.contains(&client), "{client} did what is blamed on {blamed:?}");
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for kind in 0..8u8 {
        for (name, what, more) in [("few", 0, 0), ("some", 4, 1), ("many", 2, 3)] {
            let steps = (0..8u8).flat_map(|n| [kind, n, what + n, 16 * n, 129 + n, 30, 0, more]);
            seeds.push((format!("{kind}-{name}"), steps.collect()));
        }
    }
    seeds
}
