//! From a finding's remedies to the plan that is carried out: the user's settings, what must not be hit, and what has
//! been done already.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::time::Duration;

use toban_model::{Action, Ban, Finding, Plan, Prefix, Protected, Situation, Time};

use crate::config::{BanPorts, Config};

/// A service that was restarted less than this ago is not restarted again: what it needs is time.
const RESTART_PAUSE: Duration = Duration::from_secs(120);
/// Peers of the usual time that are handed to the safety rules, the busiest first.
const USUAL_PEERS_MAX: usize = 50_000;

/// What the safety rules guard, gathered anew for each plan.
pub(crate) fn protected(situation: &Situation, config: &Config, allowed: &[Prefix]) -> Protected {
    let host = &situation.host;
    let mut usual: HashMap<IpAddr, u32> = HashMap::new();
    for (origin, requests) in situation.traffic.iter().flat_map(|t| &t.usual.origins) {
        *usual.entry(origin.addr()).or_insert(0) += requests;
    }
    let mut usual_peers: Vec<(IpAddr, u32)> = usual.into_iter().collect();
    usual_peers.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    usual_peers.truncate(USUAL_PEERS_MAX);
    Protected {
        own: host.own.clone(),
        gateways: host.gateways.clone(),
        resolvers: host.resolvers.clone(),
        balancers: situation.balancers.clone(),
        logins: host.logins.clone(),
        allowlist: config
            .allow
            .prefixes
            .iter()
            .chain(allowed)
            // A configured proxy is a balancer also before its first request.
            .chain(&config.proxy.trusted)
            .copied()
            .collect(),
        usual_peers,
    }
}

/// The user's length and ports in a plan's bans.
pub(crate) fn with_settings(mut plan: Plan, config: &Config) -> Plan {
    for step in &mut plan.steps {
        if let Action::Ban { ports, for_s, .. } = step {
            *for_s = config.ban.length.as_secs();
            if let BanPorts::List(list) = &config.ban.ports {
                ports.clone_from(list);
            }
        }
    }
    plan
}

/// What is left to do of a finding's first remedy: prefixes that are banned already and services that were just
/// restarted are left out; `None` when nothing is left.
pub(crate) fn what_is_left(
    finding: &Finding,
    bans: &[Ban],
    restarted: &HashMap<String, Time>,
    now: Time,
) -> Option<Plan> {
    let mut plan = finding
        .remedies
        .iter()
        .find(|r| matches!(r.plan.steps.first(), Some(Action::Ban { .. })))?
        .plan
        .clone();
    let banned: HashSet<Prefix> = bans.iter().filter(|b| b.until > now).map(|b| b.prefix).collect();
    let stands = |p: &Prefix| banned.iter().any(|b| b.contains(p));
    for step in &mut plan.steps {
        if let Action::Ban { prefixes, .. } = step {
            prefixes.retain(|p| !stands(p));
        }
    }
    let new = matches!(plan.steps.first(), Some(Action::Ban { prefixes, .. }) if !prefixes.is_empty());
    if !new {
        plan.steps.remove(0);
    }
    plan.steps.retain(|step| match step {
        Action::Restart(restart) => {
            restarted.get(&restart.service).is_none_or(|at| now.since(*at) >= RESTART_PAUSE)
        }
        _ => true,
    });
    // Ending sockets again is only worth a plan of its own beside a new ban or a restart.
    plan.steps.iter().any(|s| !matches!(s, Action::EndSockets { .. })).then_some(plan)
}

/// How much of each resource is used: what a plan's prediction is held against.
pub(crate) fn used(situation: &Situation) -> BTreeMap<String, f64> {
    situation.resources.iter().map(|r| (r.name.clone(), r.used)).collect()
}

/// Of what was measured, that which was predicted.
pub(crate) fn of_predicted(
    predicted: &BTreeMap<String, f64>,
    used: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    predicted.keys().filter_map(|name| Some((name.clone(), *used.get(name)?))).collect()
}
