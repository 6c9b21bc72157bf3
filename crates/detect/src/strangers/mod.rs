//! *Doings*: what strangers do beyond holding workers, and what this host does to strangers, as logs and sockets tell.

mod crawls;
mod mail;

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use memchr::memmem;
use toban_model::event::{ErrorLine, Request, ServiceLine};
use toban_model::{
    Attempts, Connected, HalfOpen, Host, ListenQueue, Outbound, Refusals, ResourceUse, Sample, Service,
    ServiceKind, Strangers, TcpState, Time, canonical,
};

use crate::origin::Origins;
use crate::scan::Recent;
use crawls::Crawls;
use mail::Mail;

/// A refusal is over after this pause, and a queue that breathes is full throughout.
const PAUSE: Duration = Duration::from_secs(75);
const BREATH: Duration = Duration::from_secs(10);
/// sshd says that it throttles when it begins, and again at the first connection that it drops five minutes later.
const THROTTLING: Duration = Duration::from_secs(330);
const REFUSALS_MAX: usize = 4096;
/// What a look at sockets told is true for so long.
const FRESH: Duration = Duration::from_secs(30);
/// Where services are reached that log under another name than the one they listen by, and when nobody is seen to
/// listen.
const PORTS: &[(&str, &[u16])] = &[
    ("sshd", &[22]),
    ("dovecot", &[110, 143, 993, 995]),
    ("postfix", &[25, 465, 587]),
    ("vsftpd", &[21]),
    ("mysql", &[3306]),
];

/// A service said that it has no room, or that it has room again.
#[derive(Debug)]
struct Refusal {
    at: Time,
    service: &'static str,
    limit: Option<u32>,
    is_over: bool,
}

/// See the module's own words.
#[derive(Debug, Default)]
pub(crate) struct Doings {
    recent: Recent,
    crawls: Crawls,
    mail: Mail,
    refusals: VecDeque<Refusal>,
    queues: Vec<ListenQueue>,
    queues_at: Time,
    /// By port: since when a queue has been full, and when it was last.
    full: BTreeMap<u16, (Time, Time)>,
    half_open: Vec<HalfOpen>,
    connected: Vec<Connected>,
    outbound: (Time, Vec<Outbound>),
}

impl Doings {
    #[inline]
    pub(crate) fn request(&mut self, service: &str, request: &Request<'_>) {
        self.recent.request(service, request);
        self.crawls.request(service, request);
        self.mail.request(request);
    }

    pub(crate) fn error(&mut self, service: &str, line: &ErrorLine<'_>) {
        self.recent.error(service, line);
    }

    pub(crate) fn said(&mut self, read: Time, line: &ServiceLine<'_>) {
        let line = &ServiceLine { time: Some(line.time.unwrap_or(read)), ..*line };
        self.recent.said(line);
        self.mail.said(line);
        if let (Some(client), Some(at)) = (line.client.filter(|_| is_sent_away(line)), line.time) {
            self.recent.sent_away(line.service, client, at);
        }
        let over = line.service == b"sshd" && line.text.starts_with(b"exited MaxStartups throttling");
        let said = if over { Some(("sshd", None)) } else { refusal(line) };
        if let (Some((service, limit)), Some(at)) = (said, line.time) {
            self.refusals.push_back(Refusal { at, service, limit, is_over: over });
            if self.refusals.len() > REFUSALS_MAX {
                self.refusals.pop_front();
            }
        }
    }

    /// The newest deed.
    pub(crate) fn newest(&self) -> Option<Time> {
        Some(self.recent.newest()).filter(|newest| *newest > Time::ZERO)
    }

    pub(crate) fn sample(&mut self, sample: &Sample) {
        let queued: Vec<f64> =
            sample.readings.iter().filter(|r| &*r.name == "mail.queue").map(|r| r.value).collect();
        if let [queued] = queued[..] {
            self.mail.queued(sample.at, queued);
        }
        self.connected(sample);
        self.half_open.clear();
        for row in sample.sockets.iter().filter(|row| row.state == TcpState::SynRecv) {
            let known = self.half_open.iter().position(|known| known.port == row.port);
            let at = known.unwrap_or_else(|| {
                self.half_open.push(HalfOpen { port: row.port, count: 0, networks: Vec::new() });
                self.half_open.len() - 1
            });
            match row.peers {
                None => self.half_open[at].count = row.count,
                Some(network) => self.half_open[at].networks.push((network, row.count)),
            }
        }
    }

    /// Counts established connections, also those whose peer has hung up and that nobody has closed.
    fn connected(&mut self, sample: &Sample) {
        let is_open = |state| matches!(state, TcpState::Established | TcpState::CloseWait);
        self.connected.clear();
        for row in sample.sockets.iter().filter(|row| row.port != 0 && is_open(row.state)) {
            let known = self.connected.iter().position(|known| known.port == row.port);
            let at = known.unwrap_or_else(|| {
                let (port, networks) = (row.port, Vec::new());
                self.connected.push(Connected { port, service: None, count: 0, networks });
                self.connected.len() - 1
            });
            let port = &mut self.connected[at];
            match row.peers {
                None => port.count += row.count,
                Some(network) => match port.networks.iter_mut().find(|(known, _)| *known == network) {
                    Some((_, count)) => *count += row.count,
                    None => port.networks.push((network, row.count)),
                },
            }
        }
        for port in &mut self.connected {
            port.networks.sort_by_key(|(network, count)| (std::cmp::Reverse(*count), *network));
        }
    }

    pub(crate) fn queues(&mut self, at: Time, queues: Vec<ListenQueue>) {
        for queue in &queues {
            // Full is what takes nobody more: the kernel lets one more in than the limit says.
            if queue.len >= queue.limit.max(1) {
                let (since, last) = self.full.entry(queue.port).or_insert((at, at));
                if at.since(*last) > BREATH {
                    *since = at;
                }
                *last = at;
            }
        }
        (self.queues, self.queues_at) = (queues, at);
    }

    pub(crate) fn outbound(&mut self, at: Time, outbound: Vec<Outbound>) {
        self.outbound = (at, outbound);
    }

    /// Who is blamed alone, of those who did something since this was last asked.
    pub(crate) fn alone(&mut self, at: Time, host: &Host, origins: &Origins) -> Vec<Attempts> {
        let proxy = |address| origins.is_balancer(canonical(address));
        let attempts = self.recent.judge_alone(at, |address| is_own(host, address), proxy);
        with_ports(attempts, host)
    }

    pub(crate) fn close(&self, at: Time, host: &Host, origins: &Origins) -> Strangers {
        let proxy = |address| origins.is_balancer(canonical(address));
        let attempts = with_ports(self.recent.judge(at, |address| is_own(host, address), proxy), host);
        let fresh = at.since(self.queues_at) <= FRESH;
        let queues = self.queues.iter().filter(|_| fresh).map(|queue| ListenQueue {
            service: service_at(host, queue.port).map(|service| service.id.clone()),
            full_since: self
                .full
                .get(&queue.port)
                // Once may be a burst that is taken in at once.
                .filter(|(since, last)| last > since && at.since(*last) <= BREATH)
                .map(|(since, _)| *since),
            ..queue.clone()
        });
        let connected = self.connected.iter().map(|port| Connected {
            service: service_at(host, port.port).map(|service| service.id.clone()),
            ..port.clone()
        });
        Strangers {
            attempts,
            refusals: self.refusals(at),
            queues: queues.collect(),
            half_open: self.half_open.clone(),
            connected: connected.collect(),
            crawls: self.crawls.close(at),
            mail: self.mail.close(at, &self.recent),
            outbound: if at.since(self.outbound.0) <= FRESH { self.outbound.1.clone() } else { Vec::new() },
        }
    }

    fn refusals(&self, at: Time) -> Vec<Refusals> {
        let mut all: Vec<Refusals> = Vec::new();
        let mut sorted: Vec<&Refusal> = self.refusals.iter().filter(|refusal| refusal.at <= at).collect();
        sorted.sort_by_key(|refusal| refusal.at);
        let pause = |service: &str| if service == "sshd" { THROTTLING } else { PAUSE };
        for refusal in sorted {
            if refusal.is_over {
                all.retain(|known| known.service != refusal.service);
                continue;
            }
            let new = Refusals {
                service: refusal.service.to_owned(),
                count: 0,
                limit: refusal.limit,
                first: refusal.at,
                last: refusal.at,
            };
            let known = all.iter().position(|known| known.service == refusal.service).unwrap_or_else(|| {
                all.push(new.clone());
                all.len() - 1
            });
            let known = &mut all[known];
            if refusal.at.since(known.last) > pause(&known.service) {
                *known = Refusals { limit: refusal.limit.or(known.limit), ..new };
            }
            known.count += u32::from(at.since(refusal.at) <= Duration::from_secs(60));
            known.limit = refusal.limit.or(known.limit);
            known.last = refusal.at;
        }
        all.retain(|known| at.since(known.last) <= pause(&known.service));
        all
    }
}

/// The accept queues and the limits that services spoke of, as resources.
pub(crate) fn resources(strangers: &Strangers, host: &Host) -> Vec<ResourceUse> {
    let mut all: Vec<ResourceUse> = Vec::new();
    for queue in strangers.queues.iter().filter(|queue| queue.limit > 0) {
        // Web servers' queues are seen with their workers.
        let Some(service) = queue.service.as_ref().and_then(|id| host.services.iter().find(|s| s.id == *id))
        else {
            continue;
        };
        if !matches!(service.kind, ServiceKind::Sshd | ServiceKind::Other) {
            continue;
        }
        let new = ResourceUse {
            name: format!("{}.accept-queue:{}", service.id, queue.port),
            used: f64::from(queue.len),
            limit: Some(f64::from(queue.limit)),
            usual: None,
            exhausted_since: queue.full_since,
            limit_from: None,
        };
        if new.exhausted_since.is_some() || new.used > 0.0 {
            all.push(new);
        }
    }
    all.extend(strangers.refusals.iter().map(|refusals| ResourceUse {
        name: format!("{}.processes", refusals.service),
        used: refusals.limit.map_or(f64::from(refusals.count), f64::from),
        limit: refusals.limit.map(f64::from),
        usual: None,
        exhausted_since: Some(refusals.first),
        limit_from: None,
    }));
    all
}

/// Not those with a session at sshd: whoever tries passwords there has one.
fn is_own(host: &Host, address: IpAddr) -> bool {
    host.own.contains(&address) || host.gateways.contains(&address)
}

fn with_ports(mut attempts: Vec<Attempts>, host: &Host) -> Vec<Attempts> {
    for attempt in &mut attempts {
        attempt.ports = ports(host, &attempt.service);
    }
    attempts
}

fn service_at(host: &Host, port: u16) -> Option<&Service> {
    host.services.iter().find(|service| service.listens.iter().any(|listen| listen.port() == port))
}

/// Whether a service of the host is the one that logs under this name.
fn logs_as(service: &Service, name: &str) -> bool {
    service.id == name
        || service.id.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
        // Postfix's listener calls itself `master`.
        || service.exe.components().any(|part| part.as_os_str() == name)
        || name == "mysql" && matches!(service.id.as_str(), "mysqld" | "mariadbd")
}

fn ports(host: &Host, name: &str) -> Vec<u16> {
    let listens = host.services.iter().filter(|service| logs_as(service, name));
    let mut ports: Vec<u16> = listens.flat_map(|service| &service.listens).map(|l| l.port()).collect();
    if ports.is_empty() {
        let stock = PORTS.iter().find(|(known, _)| *known == name).map(|(_, ports)| ports.to_vec());
        ports = stock.unwrap_or_default();
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// `pop3-login: Disconnected: Connection queue full (disconnected while authenticating, waited 6 secs): user=<>, …`: a client
/// whose password was looked at had to make room for another. That takes long where passwords are wrong, since those are
/// answered late, and also where whoever knows them does not answer.
fn is_sent_away(line: &ServiceLine<'_>) -> bool {
    const WORDS: &[u8] = b"Connection queue full (disconnected while authenticating";
    let Some(colon) = memmem::find(line.text, b"-login: ").filter(|_| line.service == b"dovecot") else {
        return false;
    };
    // Dovecot's own words stand before the first field.
    let said = &line.text[colon + 8..];
    let own = &said[..memmem::find(said, b"user=<").unwrap_or(0)];
    memmem::find(own, WORDS).is_some()
}

/// Who had no room for a client, with the limit if the line names it. Only a service's own first words count: what a
/// client said comes behind them.
fn refusal(line: &ServiceLine<'_>) -> Option<(&'static str, Option<u32>)> {
    let number = |text: &[u8]| {
        let digits: Vec<u8> = text
            .iter()
            .skip_while(|b| !b.is_ascii_digit())
            .take_while(|b| b.is_ascii_digit())
            .copied()
            .collect();
        String::from_utf8(digits).ok()?.parse().ok()
    };
    match line.service {
        b"dovecot" => {
            let colon = memmem::find(line.text, b": ")?;
            let (process, said) = (&line.text[..colon], &line.text[colon + 2..]);
            if process == b"master" {
                let said = said.strip_prefix(b"Warning: ").unwrap_or(said).strip_prefix(b"service(")?;
                let limit = memmem::find(said, b"process_limit (")
                    .or_else(|| memmem::find(said, b"client_limit ("))?;
                return memmem::find(said, b" reached").map(|_| ("dovecot", number(&said[limit..])));
            }
            let said = said.strip_prefix(b"Info: ").unwrap_or(said);
            let said =
                said.strip_prefix(b"Disconnected: ").or_else(|| said.strip_prefix(b"Login aborted: "))?;
            (process.ends_with(b"-login") && said.starts_with(b"Connection queue full"))
                .then_some(("dovecot", None))
        }
        b"postfix" => {
            let said = line.text.strip_prefix(b"warning: service \"")?;
            let limit = memmem::find(said, b" has reached its process limit \"")?;
            Some(("postfix", number(&said[limit..])))
        }
        b"sshd" => {
            let said = line.text.strip_prefix(b"error: ").unwrap_or(line.text);
            // One that is dropped for a penalty (since 9.8) is kept out, and takes no room.
            let dropped = said.starts_with(b"drop connection #")
                && (said.ends_with(b" past MaxStartups") || said.ends_with(b" past Maxstartups"));
            let throttles = said.starts_with(b"beginning MaxStartups throttling")
                || said.starts_with(b"in MaxStartups throttling for ");
            (dropped || throttles).then_some(("sshd", None))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
