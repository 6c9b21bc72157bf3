//! What can be done against a group: typed plans with a predicted effect and the usual clients that they would hit.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use toban_model::{Action, Collateral, Plan, Prefix, Remedy, Restart, Risk, ServiceKind, Text, Via, Waiting};

use crate::attribution::{Group, USUAL_SHARE_MAX};
use crate::picture::Picture;

/// An attacker comes back; an innocent who was hit does not wait for ever.
const BAN_FOR_S: u64 = 3600;
/// A structural change is taken back unless somebody who still gets through confirms it.
const CONFIRM_WITHIN_S: u64 = 60;
const HTTP_PORTS: [u16; 2] = [80, 443];

/// Drop the group's networks, end what they hold, and restart what still works for them; and the structural cure
/// where there is one.
pub(crate) fn against_group(picture: &Picture<'_>, cause: &str) -> Vec<Remedy> {
    let mut out = Vec::new();
    out.extend(ban(picture, cause));
    out.extend(only_from_balancer(picture, cause));
    out
}

fn ports(picture: &Picture<'_>) -> Vec<u16> {
    let mut ports: Vec<u16> =
        picture.service.map(|s| s.listens.iter().map(|l| l.port()).collect()).unwrap_or_default();
    if ports.is_empty() {
        ports.extend(HTTP_PORTS);
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn ban(picture: &Picture<'_>, cause: &str) -> Option<Remedy> {
    let group = picture.group.as_ref()?;
    // A packet filter drops peers. Who came through the balancer is dropped there, not here.
    let prefixes: Vec<Prefix> = group.offenders.iter().filter(|o| o.is_peer).map(|o| o.prefix).collect();
    if prefixes.is_empty() {
        return None;
    }
    let collateral = collateral(picture, |peer| prefixes.iter().any(|p| p.contains(peer)));
    if collateral.of > 0 && collateral.usual_clients_hit as f64 > USUAL_SHARE_MAX * collateral.of as f64 {
        return None;
    }
    let ports = ports(picture);
    let mut steps = vec![
        Action::Ban { prefixes: prefixes.clone(), ports: ports.clone(), for_s: BAN_FOR_S },
        Action::EndSockets { prefixes: prefixes.clone(), ports: ports.clone() },
    ];
    let restarts = restarts(picture);
    let names: Vec<String> = restarts.iter().map(|r| r.service.clone()).collect();
    steps.extend(restarts.into_iter().map(Action::Restart));
    let mut predicted = BTreeMap::new();
    if let Some(workers) = picture.workers() {
        predicted.insert(workers.name.clone(), left(workers.used, group));
    }
    let list = prefixes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let on = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let (and_en, and_ja) = if names.is_empty() {
        (String::new(), String::new())
    } else {
        let names = names.join(", ");
        (format!(", restart {names}"), format!("、{names} を再起動します"))
    };
    Some(Remedy {
        id: 0,
        text: Text::new(
            format!("drop {list} on {on} for 1 h, end their connections{and_en}"),
            format!(
                "{list} からの {on} 番ポート宛て通信を 1 時間遮断し、接続を切断{}",
                if and_ja.is_empty() { "します".into() } else { format!("し{and_ja}") }
            ),
        ),
        risk: if names.is_empty() { Risk::Low } else { Risk::Medium },
        reversible: true,
        plan: Plan {
            cause: cause.to_owned(),
            reason: Text::new(
                format!("{cause}: they hold {:.0} of {:.0} workers", group.held, group.total),
                format!("{cause}: {:.0} のうち {:.0} ワーカーを占有", group.total, group.held),
            ),
            steps,
            predicted,
            collateral,
        },
    })
}

/// What goes on working for the banned after their sockets are gone. A drop rule alone leaves what is queued in the
/// backend, and a reload keeps that queue: the backend is stopped and started.
fn restarts(picture: &Picture<'_>) -> Vec<Restart> {
    let restart = |service: &toban_model::Service| Restart {
        service: service.id.clone(),
        master: service.master,
        supervisor: service.supervisor.clone(),
    };
    let situation = picture.situation;
    let web = picture.service;
    let mut out = Vec::new();
    for service in situation.host.services.iter().filter(|s| s.kind == ServiceKind::PhpFpm) {
        let ours = web.is_some_and(|w| {
            service.listens_unix.iter().any(|l| w.backends.iter().any(|b| b.contains(&*l.to_string_lossy())))
                || service.listens.iter().any(|l| w.backends.iter().any(|b| b.contains(&l.to_string())))
        });
        let view = situation.servers.iter().find(|v| v.service == service.id);
        let full = view.is_some_and(|v| v.queue_len > 0 || v.limit.is_some_and(|l| v.busy >= l));
        if ours && full {
            out.push(restart(service));
        }
    }
    // Killed for memory again and again, the server's workers still reclaim and swap for dead requests; or they
    // compute the answer for a client that is gone. Who only waits for such a client is free when its socket ends.
    let for_client = picture.waiting_share(Waiting::Client);
    let reclaiming = !situation.kernel.oom.is_empty() && for_client.is_none_or(|s| s < 0.5);
    let computing = for_client.is_some_and(|s| s < 0.5) && out.is_empty();
    if let Some(web) = web.filter(|_| reclaiming || computing) {
        out.push(restart(web));
    }
    out
}

fn only_from_balancer(picture: &Picture<'_>, cause: &str) -> Option<Remedy> {
    let group = picture.group.as_ref()?;
    let balancers = &picture.situation.balancers;
    if group.shape.via != Some(Via::Direct) || balancers.is_empty() {
        return None;
    }
    let host = &picture.situation.host;
    let one = |address: &IpAddr| Prefix::from(*address);
    let mut from: Vec<Prefix> = balancers.iter().map(one).collect();
    from.extend(host.logins.iter().chain(&host.own).map(one));
    from.sort_unstable();
    from.dedup();
    let ports = ports(picture);
    let on = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let list = balancers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut predicted = BTreeMap::new();
    if let Some(workers) = picture.workers() {
        predicted.insert(workers.name.clone(), left(workers.used, group));
    }
    Some(Remedy {
        id: 0,
        text: Text::new(
            format!("accept {on} only from the balancer ({list})"),
            format!("{on} 番ポートへの接続をロードバランサー({list})からのみ許可します"),
        ),
        risk: Risk::High,
        reversible: true,
        plan: Plan {
            cause: cause.to_owned(),
            reason: Text::fixed(
                "only the balancer needs to reach the web server",
                "Web サーバに到達する必要があるのはロードバランサーだけです",
            ),
            collateral: collateral(picture, |peer| !from.iter().any(|p| p.contains(peer))),
            steps: vec![Action::AcceptOnlyFrom { ports, from, confirm_within_s: CONFIRM_WITHIN_S }],
            predicted,
        },
    })
}

/// Workers that stay busy without the group: by its share, since not every busy worker's peer is known.
fn left(used: f64, group: &Group) -> f64 {
    (used * (1.0 - group.share().min(1.0))).round()
}

/// The usual clients that a packet filter would hit: those whose TCP peer it drops.
fn collateral(picture: &Picture<'_>, drops: impl Fn(&IpAddr) -> bool) -> Collateral {
    let Some(traffic) = picture.traffic else { return Collateral::default() };
    let mut all: HashSet<Prefix> = HashSet::new();
    let mut hit: HashSet<Prefix> = HashSet::new();
    for holder in traffic.usual.holders.iter().filter(|holder| !holder.client.address.is_unspecified()) {
        all.insert(holder.client.address.into());
        if drops(&holder.client.peer) {
            hit.insert(holder.client.address.into());
        }
    }
    // Those who are not known with what they asked for.
    for (origin, _) in &traffic.usual.origins {
        if all.insert(*origin) && drops(&origin.addr()) {
            hit.insert(*origin);
        }
    }
    Collateral { usual_clients_hit: hit.len() as u64, of: all.len() as u64 }
}
