//! From a finding's remedies to the plan that is carried out: the user's settings, what must not be hit, and what has
//! been done already.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use toban_collect::{Root, closer};
use toban_model::{Action, Ban, Finding, Host, Plan, Prefix, Protected, Rate, ServiceKind, Situation, Time};

use crate::config::{BanPorts, Config};

/// A service that was restarted less than this ago is not restarted again: what it needs is time.
const RESTART_PAUSE: Duration = Duration::from_secs(120);
/// One process is stopped, and then it is looked what that has brought.
const STOP_PAUSE: Duration = Duration::from_secs(30);
/// Peers of the usual time that are handed to the safety rules, the busiest first.
const USUAL_PEERS_MAX: usize = 50_000;

/// What the safety rules guard, gathered anew for each plan.
pub(crate) fn protected(situation: &Situation, config: &Config, allowed: &[Prefix]) -> Protected {
    let mut usual: HashMap<IpAddr, u32> = HashMap::new();
    for (origin, requests) in situation.traffic.iter().flat_map(|t| &t.usual.origins) {
        *usual.entry(origin.addr()).or_insert(0) += requests;
    }
    let mut usual_peers: Vec<(IpAddr, u32)> = usual.into_iter().collect();
    usual_peers.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    usual_peers.truncate(USUAL_PEERS_MAX);
    let learned = Protected { balancers: situation.balancers.clone(), usual_peers, ..Protected::default() };
    guarded(learned, &situation.host, config, allowed)
}

/// With what the host itself and the user's settings say.
pub(crate) fn guarded(mut known: Protected, host: &Host, config: &Config, allowed: &[Prefix]) -> Protected {
    let of_service = |service: &toban_model::Service| match service.kind {
        ServiceKind::Sshd => service.pids.clone(),
        _ => vec![service.master.pid],
    };
    known.own.extend(&host.own);
    known.gateways.extend(&host.gateways);
    known.resolvers.extend(&host.resolvers);
    known.logins.extend(&host.logins);
    // A configured proxy is a balancer also before its first request.
    known.allowlist.extend(config.allow.prefixes.iter().chain(allowed).chain(&config.proxy.trusted));
    known.processes.extend(host.services.iter().flat_map(of_service));
    known
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

/// Plans an hour; after that toban only tells.
const PLANS_AN_HOUR: usize = 20;
/// Prefixes an hour that are banned by plans which do nothing else: on the internet somebody new tries every minute.
const BANS_AN_HOUR: usize = 2000;

/// What the agent may still do this hour.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    plans: VecDeque<Time>,
    bans: VecDeque<(Time, usize)>,
}

impl Budget {
    /// Whether a plan is within it.
    pub(crate) fn allows(&mut self, plan: &Plan, now: Time) -> bool {
        let over = |at: &Time| now.since(*at) >= Duration::from_secs(3600);
        while self.plans.front().is_some_and(over) {
            self.plans.pop_front();
        }
        while self.bans.front().is_some_and(|(at, _)| over(at)) {
            self.bans.pop_front();
        }
        let banned: usize = self.bans.iter().map(|(_, prefixes)| prefixes).sum();
        match only_bans(plan) {
            true => banned + prefixes(plan) <= BANS_AN_HOUR,
            false => self.plans.len() < PLANS_AN_HOUR,
        }
    }

    /// It is carried out.
    pub(crate) fn spend(&mut self, plan: &Plan, now: Time) {
        match only_bans(plan) {
            true => self.bans.push_back((now, prefixes(plan))),
            false => self.plans.push_back(now),
        }
    }
}

/// Whether a plan does nothing to what runs here.
pub(crate) fn only_bans(plan: &Plan) -> bool {
    plan.steps.iter().all(|step| matches!(step, Action::Ban { .. } | Action::EndSockets { .. }))
}

fn prefixes(plan: &Plan) -> usize {
    let of = |step: &Action| if let Action::Ban { prefixes, .. } = step { prefixes.len() } else { 0 };
    plan.steps.iter().map(of).sum()
}

/// What the agent did of late that is not done again at once.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// When each service was restarted.
    pub(crate) restarted: HashMap<String, Time>,
    /// When a process was stopped last.
    pub(crate) stopped: Option<Time>,
}

impl Done {
    /// Takes in what was carried out.
    pub(crate) fn note(&mut self, steps: &[Action], now: Time) {
        for step in steps {
            match step {
                Action::Restart(restart) => drop(self.restarted.insert(restart.service.clone(), now)),
                Action::StopProcess { .. } => self.stopped = Some(now),
                _ => {}
            }
        }
    }
}

/// What is left to do of the first of a finding's remedies that the agent may carry out: prefixes that are banned
/// already and services that were just restarted are left out, and one process is stopped at a time; `None` when
/// nothing is left.
pub(crate) fn what_is_left(finding: &Finding, bans: &[Ban], done: &Done, now: Time) -> Option<Plan> {
    let by_itself =
        |plan: &Plan| matches!(plan.steps.first(), Some(Action::Ban { .. } | Action::StopProcess { .. }));
    let mut plan = finding.remedies.iter().find(|r| by_itself(&r.plan))?.plan.clone();
    let banned: HashSet<Prefix> = bans.iter().filter(|b| b.until > now).map(|b| b.prefix).collect();
    let stands = |p: &Prefix| banned.iter().any(|b| b.contains(p));
    for step in &mut plan.steps {
        if let Action::Ban { prefixes, .. } = step {
            prefixes.retain(|p| !stands(p));
        }
    }
    plan.steps.retain(|step| match step {
        Action::Ban { prefixes, .. } => !prefixes.is_empty(),
        Action::Restart(restart) => {
            done.restarted.get(&restart.service).is_none_or(|at| now.since(*at) >= RESTART_PAUSE)
        }
        Action::StopProcess { .. } => done.stopped.is_none_or(|at| now.since(at) >= STOP_PAUSE),
        _ => true,
    });
    // Ending sockets again is only worth a plan of its own beside a new ban or a restart.
    plan.steps.iter().any(|s| !matches!(s, Action::EndSockets { .. })).then_some(plan)
}

/// How much of each resource is used: what a plan's prediction is held against.
pub(crate) fn used(situation: &Situation) -> BTreeMap<String, f64> {
    situation.resources.iter().map(|r| (r.name.clone(), r.used)).collect()
}

/// Below so many a second, a fall to half is no news.
const GUARDED_MIN: f64 = 1.0;
/// With more pages than this many times the usual, the attackers' own are among them, and are meant to fall.
const GUARDED_MAX: f64 = 1.2;

/// The pages that clients get, a second: what an action must not harm.
fn pages(situation: &Situation) -> impl Iterator<Item = (String, &Rate)> {
    situation.traffic.iter().map(|traffic| (format!("{}.pages.ok", traffic.service), &traffic.pages_ok))
}

/// Those of them that can be judged by.
pub(crate) fn guards(situation: &Situation) -> BTreeMap<String, f64> {
    let worth = |rate: &Rate| rate.now >= GUARDED_MIN && rate.now <= rate.usual * GUARDED_MAX;
    pages(situation).filter(|(_, rate)| worth(rate)).map(|(name, rate)| (name, rate.now)).collect()
}

/// The same with what a plan was to end looked at itself: a process that is gone uses no core any more, whatever others
/// do with theirs.
pub(crate) fn measured(situation: &Situation, steps: &[Action]) -> BTreeMap<String, f64> {
    let mut used = used(situation);
    used.extend(pages(situation).map(|(name, rate)| (name, rate.now)));
    let mut stopped = steps.iter().filter_map(|step| match step {
        Action::StopProcess { process } => Some(*process),
        _ => None,
    });
    if let Some(process) = stopped.next() {
        let known = situation.activity.busy.iter().find(|busy| busy.last.process.id == process);
        let cores = match closer::runs(&Root::host(), process) {
            true => known.map_or(1.0, |busy| busy.cores),
            false => 0.0,
        };
        used.insert("cpu.core".to_owned(), cores);
    }
    used
}

/// Of what was measured, that which was predicted.
pub(crate) fn of_predicted(
    predicted: &BTreeMap<String, f64>,
    used: &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    predicted.keys().filter_map(|name| Some((name.clone(), *used.get(name)?))).collect()
}

#[cfg(test)]
mod tests {
    use toban_model::Traffic;

    use super::*;

    #[test]
    fn the_budget_is_spent_within_an_hour() {
        let at = |minute: u64| Time::from_secs(0) + Duration::from_secs(60 * minute);
        let ban = |count: usize| Plan {
            steps: vec![Action::Ban {
                prefixes: vec!["203.0.113.7/32".parse().unwrap(); count],
                ports: vec![22],
                for_s: 600,
            }],
            ..Plan::default()
        };
        let stop = Plan {
            steps: vec![Action::StopProcess { process: toban_model::ProcessId { pid: 7, start_ticks: 7 } }],
            ..Plan::default()
        };
        let mut budget = Budget::default();
        for _ in 0..PLANS_AN_HOUR {
            assert!(budget.allows(&stop, at(0)));
            budget.spend(&stop, at(0));
        }
        assert!(!budget.allows(&stop, at(59)) && budget.allows(&stop, at(60)));
        assert!(budget.allows(&ban(BANS_AN_HOUR), at(0)) && !budget.allows(&ban(BANS_AN_HOUR + 1), at(0)));
        budget.spend(&ban(BANS_AN_HOUR), at(0));
        assert!(!budget.allows(&ban(1), at(59)) && budget.allows(&ban(1), at(60)));
    }

    #[test]
    fn pages_are_guarded_where_they_are_the_usual_clients() {
        let of = |service: &str, now: f64, usual: f64| Traffic {
            service: service.to_owned(),
            pages_ok: Rate { now, usual },
            ..Traffic::default()
        };
        let traffic = vec![
            of("fewer", 6.0, 20.0),
            of("attacked", 200.0, 20.0),
            of("asleep", 0.4, 20.0),
            of("new", 9.0, 0.0),
        ];
        let situation = Situation { traffic, ..Situation::default() };
        assert_eq!(guards(&situation), BTreeMap::from([("fewer.pages.ok".to_owned(), 6.0)]));
        assert_eq!(measured(&situation, &[])["attacked.pages.ok"], 200.0);
    }
}
