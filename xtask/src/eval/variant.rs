//! Variants of a situation: what stands in it is changed, and what is right about it with it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toban_model::{
    Client, Holder, Look, Prefix, Rate, Side, Situation, Strangers, Symptom, SymptomKind, Text, Traffic, Via,
    prefix_of,
};
use toban_record::Case;
use toban_record::case::Anonymizer;

use super::{Expected, Known};

/// A way to change a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// Not at all.
    AsRecorded,
    /// Other addresses, host names and paths.
    Addresses,
    /// Everybody comes by IPv6.
    Ipv6,
    /// The host is usually busier, or has less to do.
    Usual,
    /// Nothing is known of the time before.
    Cold,
    /// A crawler, a scan for logins and a backup job beside it.
    Distractors,
    /// Another case at the same time.
    Two,
}

impl Variant {
    pub(super) const ALL: &[Variant] = &[
        Variant::AsRecorded,
        Variant::Addresses,
        Variant::Ipv6,
        Variant::Usual,
        Variant::Cold,
        Variant::Distractors,
        Variant::Two,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Variant::AsRecorded => "as recorded",
            Variant::Addresses => "addresses",
            Variant::Ipv6 => "IPv6",
            Variant::Usual => "usual",
            Variant::Cold => "cold",
            Variant::Distractors => "distractors",
            Variant::Two => "two at once",
        }
    }

    /// The variant, unless there is none of this case.
    pub(super) fn of(self, known: &Known, other: &Known, random: &mut fastrand::Rng) -> Option<Known> {
        let mut out = Known {
            name: format!("{} · {}", self.name(), known.name),
            situation: known.situation.clone(),
            expected: known.expected.clone(),
        };
        let situation = &mut out.situation;
        match self {
            Variant::AsRecorded => {}
            Variant::Addresses => {
                let mut key = [0; 32];
                random.fill(&mut key);
                let mapped = Anonymizer::new(key);
                out.expected.iter_mut().for_each(|expected| expected.map(|address| mapped.address(address)));
                let case = Case {
                    looks: vec![Look { situation: situation.clone(), ..Look::default() }],
                    ..empty_case()
                };
                *situation = mapped.case(&case).ok()?.looks.pop()?.situation;
            }
            Variant::Ipv6 => {
                let net = 0x2a00 + random.u16(..0x200);
                let six = |address: IpAddr| in_six(address, net);
                out.expected.iter_mut().for_each(|expected| expected.map(six));
                for traffic in &mut situation.traffic {
                    each_client(traffic, |client| {
                        client.address = six(client.address);
                        client.peer = six(client.peer);
                    });
                }
                situation.balancers.iter_mut().for_each(|balancer| *balancer = six(*balancer));
                strangers_in_six(&mut situation.strangers, six);
                for worker in situation.servers.iter_mut().flat_map(|server| &mut server.workers) {
                    if let Some(peer) = &mut worker.peer {
                        peer.set_ip(six(peer.ip()));
                    }
                }
            }
            Variant::Usual => {
                let times = 2f64.powf(random.f64() * 3.0 - 1.5);
                for traffic in &mut situation.traffic {
                    for holder in &mut traffic.usual.holders {
                        holder.requests = (f64::from(holder.requests) * times).ceil() as u32;
                        holder.held_s *= times;
                    }
                    for rate in [&mut traffic.requests, &mut traffic.pages_ok, &mut traffic.clients] {
                        rate.usual *= times;
                    }
                }
            }
            Variant::Cold => {
                situation.usual_seconds = 0.0;
                for traffic in &mut situation.traffic {
                    traffic.usual = Side::default();
                    for rate in [
                        &mut traffic.requests,
                        &mut traffic.pages_ok,
                        &mut traffic.clients,
                        &mut traffic.server_errors,
                    ] {
                        *rate = Rate { usual: 0.0, ..*rate };
                    }
                }
                for vital in &mut situation.vitals {
                    vital.usual = None;
                }
                situation.resources.iter_mut().for_each(|resource| resource.usual = None);
            }
            Variant::Distractors => {
                let strangers = distract(situation, random);
                if let Some(expected) = out.expected.first_mut() {
                    expected.innocents.extend(strangers);
                }
            }
            Variant::Two => {
                let both = join(situation, &other.situation)?;
                out.situation = both;
                out.name = format!("{} + {}", out.name, other.name);
                out.expected.extend(other.expected.iter().cloned());
            }
        }
        Some(out)
    }
}

impl Expected {
    fn map(&mut self, map: impl Fn(IpAddr) -> IpAddr) {
        self.culprits.iter_mut().chain(&mut self.innocents).for_each(|address| *address = map(*address));
    }
}

fn empty_case() -> Case {
    Case {
        incident: toban_model::Incident {
            id: toban_model::IncidentId(0),
            since: toban_model::Time::ZERO,
            opened: toban_model::Time::ZERO,
            ended: None,
            cause: String::new(),
            findings: Vec::new(),
        },
        looks: Vec::new(),
        samples: Vec::new(),
        actions: Vec::new(),
        logs: Vec::new(),
    }
}

/// Neighbours of a /24 are neighbours of a /64.
fn in_six(address: IpAddr, net: u16) -> IpAddr {
    match address {
        IpAddr::V4(v4) if !v4.is_loopback() && !v4.is_unspecified() => {
            let [a, b, c, d] = v4.octets();
            Ipv6Addr::new(net, u16::from_be_bytes([a, b]), u16::from(c), 0, 0, 0, 0, u16::from(d)).into()
        }
        other => other,
    }
}

fn strangers_in_six(strangers: &mut Strangers, six: impl Fn(IpAddr) -> IpAddr) {
    let company = |network: &mut Prefix| *network = prefix_of(six(network.addr()), 24, 48);
    strangers.crawls.iter_mut().for_each(|crawl| company(&mut crawl.network));
    let connected = strangers.connected.iter_mut().flat_map(|port| &mut port.networks);
    let half_open = strangers.half_open.iter_mut().flat_map(|port| &mut port.networks);
    connected.chain(half_open).for_each(|(network, _)| company(network));
    for attempt in &mut strangers.attempts {
        attempt.clients.iter_mut().for_each(|client| *client = six(*client));
        attempt.clients.sort();
        for network in &mut attempt.networks {
            *network = prefix_of(six(network.addr()), 24, 64);
        }
        if let Some((client, _)) = &mut attempt.entered {
            *client = six(*client);
        }
    }
    if let Some(mail) = &mut strangers.mail {
        mail.posters.iter_mut().for_each(|(client, ..)| *client = six(*client));
        mail.senders.iter_mut().flat_map(|one| &mut one.clients).for_each(|client| *client = six(*client));
    }
}

fn each_client(traffic: &mut Traffic, mut change: impl FnMut(&mut Client)) {
    let Traffic { now, usual, live, queued, .. } = traffic;
    for holder in now.holders.iter_mut().chain(&mut usual.holders).chain(live).chain(queued) {
        change(&mut holder.client);
    }
    for side in [now, usual] {
        for (origin, _) in side.origins.iter_mut().chain(&mut side.forwarded) {
            let mut client = Client { address: origin.addr(), peer: origin.addr(), via: Via::None };
            change(&mut client);
            let bits = if client.peer.is_ipv6() && origin.addr().is_ipv4() {
                // 24 bits of company are 64 afterwards, and one address is one.
                if origin.prefix_len() == 32 { 128 } else { origin.prefix_len() * 2 + 16 }
            } else {
                origin.prefix_len()
            };
            if let Ok(mapped) = toban_model::Prefix::new(client.peer, bits) {
                *origin = mapped.trunc();
            }
        }
    }
}

/// What else goes on, and who must not be named for it.
fn distract(situation: &mut Situation, random: &mut fastrand::Rng) -> Vec<IpAddr> {
    let mut strangers = Vec::new();
    let mut somebody = |random: &mut fastrand::Rng| {
        let address =
            IpAddr::V4(Ipv4Addr::new(random.u8(60..90), random.u8(..), random.u8(..), random.u8(1..255)));
        strangers.push(address);
        address
    };
    for traffic in &mut situation.traffic {
        let crawler = somebody(random);
        let pages = random.u32(5..60);
        let minute = traffic.now.seconds.max(1.0);
        let holder = |address: IpAddr, method: &str, path: String, requests: u32, held_s: f64| Holder {
            client: Client { address, peer: address, via: Via::None },
            method: method.into(),
            path: path.into(),
            agent: "Mozilla/5.0 (compatible; bot)".into(),
            requests,
            ok: requests,
            server_errors: 0,
            held_s,
        };
        for page in 0..pages {
            traffic.now.holders.push(holder(crawler, "GET", format!("/page/{page}"), 1, 0.02));
        }
        for _ in 0..random.u32(3..12) {
            let guesser = somebody(random);
            traffic.now.holders.push(holder(guesser, "POST", "/wp-login.php".into(), 2, 0.1));
            traffic.now.origins.push((guesser.into(), 2));
        }
        traffic.now.origins.push((crawler.into(), pages));
        traffic.requests.now += f64::from(pages) / minute;
    }
    let at = situation.at;
    situation.symptoms.push(Symptom {
        kind: SymptomKind::High,
        what: "disk.busy:sda".into(),
        text: Text::fixed("disk.busy:sda is 80 %", "disk.busy:sda が 80 % です"),
        value: 80.0,
        usual: Some(10.0),
        since: at,
    });
    strangers
}

/// Two situations in one, if they are of different things.
fn join(one: &Situation, other: &Situation) -> Option<Situation> {
    // Two incidents of the same server's workers would have to share them out: nothing that can be added up.
    if !one.traffic.is_empty() && !other.traffic.is_empty() {
        return None;
    }
    let mut out = serde_json::to_value(one).ok()?;
    let from = serde_json::to_value(other).ok()?;
    for (key, value) in from["strangers"].as_object()? {
        let here = &mut out["strangers"][key];
        if here.is_null() {
            *here = value.clone();
        } else if let (Some(here), Some(more)) = (here.as_array_mut(), value.as_array()) {
            here.extend(more.iter().cloned());
        }
    }
    for (key, value) in from.as_object()? {
        let here = &mut out[key];
        let is_list = ["symptoms", "resources", "vitals", "errors"].contains(&key.as_str());
        if is_list && let (Some(here), Some(more)) = (here.as_array_mut(), value.as_array()) {
            let known: Vec<_> = here.iter().map(|item| item["name"].clone()).collect();
            here.extend(
                more.iter().filter(|item| item["name"].is_null() || !known.contains(&item["name"])).cloned(),
            );
        } else if here.is_null() || here.as_array().is_some_and(Vec::is_empty) {
            *here = value.clone();
        }
    }
    serde_json::from_value(out).ok()
}
