//! Who holds the workers beyond what they usually hold: the combination of method, path and way that carries the
//! excess, and the networks behind it.
//!
//! The measure is share against usual share (a risk ratio, as in MacroBase, SIGMOD 2017, and DIFF, VLDB 2018), of
//! workers held and not of requests counted: forty slow requests hold more than four thousand quick ones. A group
//! that is merely slow together with everybody else keeps its usual share and is nobody's culprit.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use toban_model::{Holder, Prefix, Situation, Traffic, Via, is_private, prefix_of};

/// A combination must hold this part of all held workers to be worth naming.
const SUPPORT_MIN: f64 = 0.2;
/// And this many times its usual share.
const RATIO_MIN: f64 = 3.0;
/// From here on a combination is new to this host: whoever sends it is part of it.
const RATIO_NEW: f64 = 20.0;
/// A network below this part of the held workers is noise beside the others.
const NETWORK_SHARE_MIN: f64 = 0.01;
/// A network with more than this part of usual requests is not named as a whole.
pub(crate) const USUAL_SHARE_MAX: f64 = 0.001;
/// Fewer usual requests than this tell nothing about who is usual here.
const USUAL_REQUESTS_MIN: f64 = 100.0;
/// Two addresses of one network that do the same unusual thing are one offender.
const ADDRESSES_FOR_NETWORK: usize = 2;
/// The networks that addresses are grouped by.
const NETWORK_V4: u8 = 24;
const NETWORK_V6: u8 = 64;
/// A browser holds up to six connections; nobody alone holds this many requests at once for long.
const CONCURRENCY_CERTAIN: f64 = 8.0;
const CONCURRENCY_HIGH: f64 = 3.0;
/// The same path again and again within the window, where usual clients ask for it once or twice.
const REPEATS_A_MINUTE: f64 = 6.0;
/// Differences in coverage below this are chance; then the sharper combination wins.
const COVERAGE_SLACK: f64 = 0.06;

/// What requests have in common; `None` is "any".
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) method: Option<Arc<str>>,
    pub(crate) path: Option<Arc<str>>,
    pub(crate) via: Option<Via>,
    pub(crate) agent: Option<Arc<str>>,
}

impl Shape {
    fn matches(&self, holder: &Holder) -> bool {
        self.method.as_ref().is_none_or(|m| *m == holder.method)
            && self.path.as_ref().is_none_or(|p| *p == holder.path)
            && self.via.is_none_or(|v| v == holder.client.via)
            && self.agent.as_ref().is_none_or(|a| *a == holder.agent)
    }

    fn attributes(&self) -> usize {
        usize::from(self.method.is_some())
            + usize::from(self.path.is_some())
            + usize::from(self.via.is_some())
            + usize::from(self.agent.is_some())
    }

    /// The combinations that a holder belongs to, at most three attributes; with agents only those that have one.
    fn of(holder: &Holder, agents: bool) -> impl Iterator<Item = Shape> {
        (0..8u8).filter(move |bits| !agents || *bits != 7).filter_map(move |bits| {
            let method = bits & 1 != 0;
            let path = bits & 2 != 0;
            let via = bits & 4 != 0;
            // What the view does not tell is no attribute, and "there is no balancer" tells nobody apart.
            let told = (!method || !holder.method.is_empty())
                && (!path || (!holder.path.is_empty() && &*holder.path != "*"))
                && (!via || holder.client.via != Via::None)
                && (!agents || (!holder.agent.is_empty() && &*holder.agent != "*"));
            told.then(|| Shape {
                method: method.then(|| holder.method.clone()),
                path: path.then(|| holder.path.clone()),
                via: via.then_some(holder.client.via),
                agent: agents.then(|| holder.agent.clone()),
            })
        })
    }
}

/// A network that takes part.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Offender {
    pub(crate) prefix: Prefix,
    /// Workers held.
    pub(crate) held: f64,
    /// Distinct addresses seen.
    pub(crate) addresses: usize,
    /// The packet filter sees these addresses as TCP peers: a ban would work.
    pub(crate) is_peer: bool,
}

/// The group that holds the workers beyond its usual.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// What its requests have in common, as narrow as the requests are alike.
    pub(crate) shape: Shape,
    /// Its networks, the heaviest first.
    pub(crate) offenders: Vec<Offender>,
    /// Workers that it holds.
    pub(crate) held: f64,
    /// Of so many.
    pub(crate) total: f64,
    /// Its connections that wait for a worker.
    pub(crate) queued: f64,
    /// Its share of held workers against the shape's usual share.
    pub(crate) ratio: f64,
    /// The part of the group that asks this server to be its proxy.
    pub(crate) proxy_share: f64,
    /// Seconds that each of its requests has held a worker so far, or held it: the median.
    pub(crate) held_s_median: f64,
    /// The same for everybody else.
    pub(crate) others_held_s_median: f64,
    /// The log and the sockets name the same.
    pub(crate) two_views: bool,
    /// Where it was seen: `sock_diag` or `access_log`.
    pub(crate) source: &'static str,
}

impl Group {
    pub(crate) fn share(&self) -> f64 {
        self.held / self.total.max(1.0)
    }
}

/// Requests that are new to this host and come from everywhere: no network stands out.
#[derive(Clone, Debug)]
pub(crate) struct Spread {
    pub(crate) shape: Shape,
    /// The part of held workers.
    pub(crate) share: f64,
    pub(crate) ratio: f64,
    /// Distinct addresses that sent them.
    pub(crate) addresses: usize,
    pub(crate) source: &'static str,
}

/// How heavy each request group weighs in one view.
struct View<'a> {
    rows: Vec<(&'a Holder, f64)>,
    total: f64,
    /// Requests over the window in minutes; `None` for a live view, where a row is a worker.
    minutes: Option<f64>,
    source: &'static str,
}

/// What the usual time says about shapes and addresses.
struct Usual<'a> {
    holders: &'a [Holder],
    requests: f64,
    held_s: f64,
    by_address: HashMap<IpAddr, u32>,
    /// With those whose addresses are not known one by one.
    origins: Vec<(Prefix, u32)>,
    clients_a_minute: f64,
}

impl<'a> Usual<'a> {
    fn new(traffic: &'a Traffic) -> Usual<'a> {
        let origins: Vec<_> = traffic.usual.origins.iter().chain(&traffic.usual.forwarded).copied().collect();
        let mut by_address: HashMap<IpAddr, u32> = HashMap::new();
        for (prefix, requests) in
            origins.iter().filter(|(prefix, _)| prefix.prefix_len() == prefix.max_prefix_len())
        {
            *by_address.entry(prefix.addr()).or_insert(0) += requests;
        }
        Usual {
            holders: &traffic.usual.holders,
            requests: traffic.usual.holders.iter().map(|h| f64::from(h.requests)).sum(),
            held_s: traffic.usual.holders.iter().map(|h| h.held_s).sum(),
            by_address,
            origins,
            clients_a_minute: traffic.clients.usual,
        }
    }

    /// The larger of the shape's shares of requests and of held time.
    fn share(&self, shape: &Shape) -> f64 {
        let held: f64 = self.holders.iter().filter(|h| shape.matches(h)).map(|h| h.held_s).sum();
        // One request more than was seen: what never came in a short history may still be usual.
        let floor = 1.0 / (self.requests + 20.0);
        self.share_of_requests(shape).max(held / self.held_s.max(1e-9)).max(floor)
    }

    fn share_of_requests(&self, shape: &Shape) -> f64 {
        let requests = self.holders.iter().filter(|h| shape.matches(h)).map(|h| f64::from(h.requests));
        requests.sum::<f64>() / self.requests.max(1.0)
    }

    /// The part of usual requests that came from a prefix.
    fn prefix_share(&self, prefix: &Prefix) -> f64 {
        let inside = self.origins.iter().filter(|(origin, _)| prefix.contains(origin));
        let hits: f64 = inside.map(|(_, requests)| f64::from(*requests)).sum();
        hits / self.requests.max(1.0)
    }
}

/// Finds the group behind one service's held workers, if a group is behind them.
pub(crate) fn attribute(situation: &Situation, traffic: &Traffic) -> (Option<Group>, Option<Spread>) {
    let usual = Usual::new(traffic);
    let (live_view, log_view) = (live_view(traffic), log_view(traffic));
    // Who floods chooses any agent, so it tells only where all else is as usual: random paths, many networks.
    let sharpest =
        |view| best(situation, view, &usual, false).or_else(|| best(situation, view, &usual, true));
    let (live, logged) = (live_view.as_ref().and_then(sharpest), log_view.as_ref().and_then(sharpest));
    if live.is_none() && logged.is_none() {
        let views = [live_view, log_view];
        return (None, views.iter().flatten().find_map(|view| spread(situation, view, &usual)));
    }
    (agreed(live, logged, traffic), None)
}

/// The two views as one group.
fn agreed(live: Option<Group>, logged: Option<Group>, traffic: &Traffic) -> Option<Group> {
    let mut group = match (live, logged) {
        (Some(mut live), Some(logged)) => {
            live.two_views = logged.offenders.iter().any(|o| {
                live.offenders.iter().any(|l| l.prefix.contains(&o.prefix) || o.prefix.contains(&l.prefix))
            });
            // Peers of the same shape whose requests have all ended stand in the log alone.
            if live.two_views && (logged.shape == live.shape || logged.proxy_share > 0.5) {
                adopt(&mut live, &logged);
            }
            live
        }
        (Some(live), None) => live,
        (None, Some(logged)) => logged,
        (None, None) => return None,
    };
    let queued_for = |p: &Prefix| traffic.queued.iter().filter(|h| p.contains(&h.client.peer)).count() as f64;
    group.queued = group.offenders.iter().map(|o| queued_for(&o.prefix)).sum();
    group.offenders.sort_by(|a, b| b.held.total_cmp(&a.held).then_with(|| a.prefix.cmp(&b.prefix)));
    Some(group)
}

/// What nobody usually asks for and many ask for now, with a method that changes something: people read pages, and
/// a crowd of them does too; nobody sends one form from everywhere at once.
fn spread(situation: &Situation, view: &View<'_>, usual: &Usual<'_>) -> Option<Spread> {
    let mut shapes: BTreeMap<Shape, (f64, HashSet<IpAddr>)> = BTreeMap::new();
    for (holder, weight) in view.rows.iter().filter(|(h, _)| !matches!(&*h.method, "GET" | "HEAD" | "")) {
        if situation.balancers.contains(&holder.client.address) {
            continue;
        }
        for shape in
            Shape::of(holder, false).filter(|s| s.method.is_some() && s.path.is_some() && s.via.is_none())
        {
            let entry = shapes.entry(shape).or_default();
            entry.0 += weight;
            entry.1.insert(holder.client.address);
        }
    }
    let (shape, (held, addresses)) = shapes.into_iter().max_by(|a, b| a.1.0.total_cmp(&b.1.0))?;
    let share = held / view.total;
    let ratio = share / usual.share(&shape);
    let found = Spread { shape, share, ratio, addresses: addresses.len(), source: view.source };
    (share >= SUPPORT_MIN && ratio >= RATIO_NEW).then_some(found)
}

/// Adds the networks that only the log has.
fn adopt(group: &mut Group, logged: &Group) {
    for offender in &logged.offenders {
        if let Some(known) = group.offenders.iter_mut().find(|o| o.prefix.contains(&offender.prefix)) {
            known.addresses = known.addresses.max(offender.addresses);
            continue;
        }
        let replaced: f64 = group
            .offenders
            .extract_if(.., |o| offender.prefix.contains(&o.prefix))
            .map(|narrow| narrow.held)
            .sum();
        group.offenders.push(Offender { held: replaced, ..offender.clone() });
    }
}

fn live_view(traffic: &Traffic) -> Option<View<'_>> {
    let rows: Vec<_> = traffic.live.iter().map(|h| (h, 1.0)).collect();
    let total = rows.len() as f64;
    (rows.len() >= 5).then_some(View { rows, total, minutes: None, source: "sock_diag" })
}

fn log_view(traffic: &Traffic) -> Option<View<'_>> {
    let seconds = traffic.now.seconds.max(1.0);
    let timed = traffic.now.holders.iter().any(|h| h.held_s > 0.0);
    // Without durations what failed tells most of what was held; where nothing fails, what was asked.
    let sum =
        |value: fn(&Holder) -> u32| traffic.now.holders.iter().map(|h| f64::from(value(h))).sum::<f64>();
    let failing = sum(|h| h.server_errors) >= 0.1 * sum(|h| h.requests);
    let weight = |h: &Holder| {
        let untimed = if failing { h.server_errors } else { h.requests };
        let held = if timed { h.held_s } else { f64::from(untimed) };
        held / seconds
    };
    let rows: Vec<_> = traffic.now.holders.iter().map(|h| (h, weight(h))).collect();
    let total: f64 = rows.iter().map(|(_, w)| w).sum();
    (total > 0.0).then_some(View { rows, total, minutes: Some(seconds / 60.0), source: "access_log" })
}

/// The combination whose networks cover most of what is held.
fn best(situation: &Situation, view: &View<'_>, usual: &Usual<'_>, agents: bool) -> Option<Group> {
    let mut weights: BTreeMap<Shape, f64> = BTreeMap::new();
    for (holder, weight) in &view.rows {
        for shape in Shape::of(holder, agents) {
            *weights.entry(shape).or_insert(0.0) += weight;
        }
    }
    let mut candidates: Vec<Group> = weights
        .into_iter()
        .filter(|(_, weight)| weight / view.total >= SUPPORT_MIN)
        .filter_map(|(shape, weight)| {
            let ratio = weight / view.total / usual.share(&shape);
            if shape.attributes() > 0 && ratio < RATIO_MIN {
                return None;
            }
            group(situation, view, usual, shape, ratio)
        })
        .collect();
    let top = candidates.iter().map(Group::share).fold(0.0, f64::max);
    if top < SUPPORT_MIN {
        return None;
    }
    candidates.retain(|c| c.share() >= top - COVERAGE_SLACK);
    // The sharpest first; of equally sharp ones the simplest, since what it implies is added below.
    candidates.sort_by(|a, b| {
        b.ratio.total_cmp(&a.ratio).then_with(|| a.shape.attributes().cmp(&b.shape.attributes()))
    });
    let mut group = candidates.into_iter().next()?;
    narrow(&mut group, view, usual);
    Some(group)
}

/// The networks that send one shape, with what they hold; `None` if they act as usual clients do.
fn group(
    situation: &Situation,
    view: &View<'_>,
    usual: &Usual<'_>,
    shape: Shape,
    ratio: f64,
) -> Option<Group> {
    #[derive(Default)]
    struct Network<'a> {
        held: f64,
        by_address: BTreeMap<IpAddr, (f64, f64)>,
        is_peer: bool,
        rows: Vec<(&'a Holder, f64)>,
    }
    let mut networks: BTreeMap<Prefix, Network<'_>> = BTreeMap::new();
    for (holder, weight) in view.rows.iter().filter(|(h, _)| shape.matches(h)) {
        let client = holder.client;
        // In the live view a balancer stands for people that cannot be told apart.
        // Where no usual traffic is known, a peer in a private network may well be the balancer.
        let may_be_ours = usual.requests < USUAL_REQUESTS_MIN && is_private(client.peer);
        if situation.balancers.contains(&client.address) || may_be_ours || never(situation, client.address) {
            continue;
        }
        let network = networks.entry(prefix_of(client.address, NETWORK_V4, NETWORK_V6)).or_default();
        network.held += weight;
        network.is_peer |= client.peer == client.address;
        let entry = network.by_address.entry(client.address).or_insert((0.0, 0.0));
        entry.0 += weight;
        entry.1 += f64::from(holder.requests);
        network.rows.push((holder, *weight));
    }
    let proxied = |h: &Holder| &*h.method == "CONNECT" || &*h.path == "absolute-uri";
    let new_here = shape.attributes() > 0 && ratio >= RATIO_NEW;
    let mut offenders = Vec::new();
    let mut rows: Vec<(&Holder, f64)> = Vec::new();
    let in_group: HashSet<IpAddr> = networks.values().flat_map(|n| n.by_address.keys().copied()).collect();
    for (prefix, network) in &networks {
        if network.held < NETWORK_SHARE_MIN * view.total {
            continue;
        }
        let addresses = network.by_address.len();
        let proxy =
            network.rows.iter().filter(|(h, _)| proxied(h)).map(|(_, w)| w).sum::<f64>() / network.held;
        let concurrency = network.held / addresses as f64;
        let requests: f64 = network.by_address.values().map(|v| v.1).sum();
        let repeats =
            view.minutes.map_or(0.0, |minutes| requests / addresses as f64 / minutes.max(1.0 / 6.0));
        // A crowd is many more people than usual who each behave; a flood is few who do not.
        let crowd = in_group.len() as f64 > (usual.clients_a_minute * 2.0).max(50.0);
        let unsafe_method = network.rows.iter().all(|(h, _)| !matches!(&*h.method, "GET" | "HEAD" | ""));
        // Nobody's server is asked to be a proxy by chance; where it is one, the ratio is low.
        let hostile = (proxy > 0.5 && ratio >= RATIO_MIN)
            || concurrency >= CONCURRENCY_CERTAIN
            || (concurrency >= CONCURRENCY_HIGH && !crowd)
            || (new_here && unsafe_method)
            || (new_here && !crowd && repeats >= REPEATS_A_MINUTE)
            || (repeats >= REPEATS_A_MINUTE * 5.0 && network.held >= 0.1 * view.total);
        if !hostile {
            continue;
        }
        let whole = usual.prefix_share(prefix) <= USUAL_SHARE_MAX
            && addresses >= ADDRESSES_FOR_NETWORK
            && !protected_inside(situation, prefix);
        if whole {
            offenders.push(Offender {
                prefix: *prefix,
                held: network.held,
                addresses,
                is_peer: network.is_peer,
            });
            rows.extend(&network.rows);
            continue;
        }
        for (address, (held, _)) in &network.by_address {
            let seen =
                f64::from(usual.by_address.get(address).copied().unwrap_or(0)) / usual.requests.max(1.0);
            // A usual client that does more of what it usually does is no offender unless it does ten times more.
            if seen > USUAL_SHARE_MAX && held / view.total < seen * 10.0 {
                continue;
            }
            let prefix = prefix_of(*address, 32, 128);
            offenders.push(Offender { prefix, held: *held, addresses: 1, is_peer: network.is_peer });
            rows.extend(network.rows.iter().filter(|(h, _)| h.client.address == *address));
        }
    }
    let held: f64 = offenders.iter().map(|o| o.held).sum();
    if held <= 0.0 {
        return None;
    }
    let proxy_held: f64 = rows.iter().filter(|(h, _)| proxied(h)).map(|(_, w)| w).sum();
    let named = |h: &Holder| offenders.iter().any(|o| o.prefix.contains(&h.client.address));
    let others: Vec<(&Holder, f64)> = view.rows.iter().copied().filter(|(h, _)| !named(h)).collect();
    Some(Group {
        shape,
        held,
        total: view.total,
        queued: 0.0,
        ratio,
        proxy_share: proxy_held / held,
        held_s_median: median(rows.iter().map(|(h, _)| h.held_s / f64::from(h.requests.max(1)))),
        others_held_s_median: median(others.iter().map(|(h, _)| h.held_s / f64::from(h.requests.max(1)))),
        two_views: false,
        source: view.source,
        offenders,
    })
}

/// Adds to the shape what (nearly) all of the group's requests share and usual requests do not.
fn narrow(group: &mut Group, view: &View<'_>, usual: &Usual<'_>) {
    let rows: Vec<&(&Holder, f64)> = view
        .rows
        .iter()
        .filter(|(h, _)| {
            group.shape.matches(h) && group.offenders.iter().any(|o| o.prefix.contains(&h.client.address))
        })
        .collect();
    let total: f64 = rows.iter().map(|(_, w)| w).sum();
    let shared = |shape: &Shape| {
        rows.iter().filter(|(h, _)| shape.matches(h)).map(|(_, w)| w).sum::<f64>() >= 0.95 * total
    };
    let Some((sample, _)) = rows.iter().max_by(|a, b| a.1.total_cmp(&b.1)).copied() else { return };
    let singles = Shape::of(sample, false).filter(|s| s.attributes() == 1);
    for single in singles {
        // "authority" is what every CONNECT asks for: it adds nothing to the method.
        let adds =
            single.path.as_deref() != Some("authority") && single.path.as_deref() != Some("absolute-uri");
        // By requests: one that was slow once, when the site was just started, must not make a way the usual one.
        if adds && shared(&single) && usual.share_of_requests(&single) < 0.5 {
            group.shape.method = group.shape.method.take().or(single.method);
            group.shape.path = group.shape.path.take().or(single.path);
            group.shape.via = group.shape.via.or(single.via);
        }
    }
    if group.shape.path.as_deref().is_some_and(|p| p == "authority" || p == "absolute-uri") {
        group.shape.path = None;
    }
}

/// Addresses that are never named: the host's own and the machines that it lives by.
fn never(situation: &Situation, address: IpAddr) -> bool {
    let host = &situation.host;
    address.is_loopback()
        || host.own.contains(&address)
        || host.gateways.contains(&address)
        || host.resolvers.contains(&address)
        || host.logins.contains(&address)
}

fn protected_inside(situation: &Situation, prefix: &Prefix) -> bool {
    let host = &situation.host;
    [&host.own, &host.gateways, &host.resolvers, &host.logins, &situation.balancers]
        .into_iter()
        .flatten()
        .any(|a| prefix.contains(a))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
