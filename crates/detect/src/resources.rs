//! Everything finite on the host that is watched: limit, used, usual.

use std::time::Duration;

use toban_model::{ResourceUse, ServerView, Situation, Time, Waiting};

use crate::{Baseline, FULL};

/// The log's figure is over five seconds, in which the last workers come and go.
const HINDSIGHT_FULL: f64 = 0.8;

/// Whether a server has no worker left for a newcomer.
pub(crate) fn is_full(view: &ServerView) -> bool {
    view.limit.is_some_and(|limit| limit > 0 && f64::from(view.busy) >= FULL * f64::from(limit))
}

/// For how long the workers of a full server have been held: the ninth decile, so that one long poll of a usual
/// client does not date an incident.
pub(crate) fn held_for(view: &ServerView) -> Duration {
    let mut held: Vec<u64> =
        view.workers.iter().filter(|w| w.waiting != Waiting::Idle).filter_map(|w| w.held_ms).collect();
    held.sort_unstable();
    let decile = held.len().saturating_sub(1) * 9 / 10;
    Duration::from_millis(held.get(decile).copied().unwrap_or(0))
}

/// The resources of a situation.
pub(crate) fn all(
    situation: &Situation,
    full_since: impl Fn(&str) -> Option<Time>,
    baseline: &Baseline,
) -> Vec<ResourceUse> {
    let mut out = Vec::new();
    for view in &situation.servers {
        let service = situation.host.services.iter().find(|s| s.id == view.service);
        let traffic = situation.traffic.iter().find(|t| t.service == view.service);
        let name = format!("{}.workers", view.service);
        let recorded =
            baseline.usual(situation.at, &format!("{name}.busy")).map(|u| [u.low.floor(), u.high.ceil()]);
        // Little's law: requests a second times the seconds that each holds a worker are the workers held.
        let logged = traffic.filter(|t| t.usual.seconds >= 30.0).map(|t| {
            let held = t.usual.holders.iter().map(|h| h.held_s).sum::<f64>() / t.usual.seconds;
            [0.0, (held * 3.0).max(1.0).ceil()]
        });
        // Requests that time out together free their workers together: between two waves a look finds most workers
        // free, and hindsight does not. Without anybody waiting it is over.
        let limit = f64::from(view.limit.unwrap_or(u32::MAX));
        let waits = view.queue_len > 0 || situation.servers.iter().any(is_full);
        let hindsight =
            traffic.filter(|t| waits && t.held_peak >= HINDSIGHT_FULL * limit).and_then(|t| t.onset);
        out.push(ResourceUse {
            name,
            used: f64::from(view.busy),
            limit: view.limit.map(f64::from),
            usual: recorded.or(logged),
            exhausted_since: full_since(&view.service).into_iter().chain(hindsight).min(),
            limit_from: service.and_then(|s| s.worker_limit_from.clone()),
        });
        if view.queue_limit > 0 {
            out.push(ResourceUse {
                name: format!("{}.accept-queue", view.service),
                used: f64::from(view.queue_len),
                limit: Some(f64::from(view.queue_limit)),
                usual: baseline
                    .usual(situation.at, &format!("{}.accept_queue", view.service))
                    .map(|u| [u.low.floor(), u.high.ceil()]),
                exhausted_since: (view.queue_len >= view.queue_limit).then_some(view.at),
                limit_from: None,
            });
        }
    }
    for traffic in &situation.traffic {
        if situation.servers.iter().any(|v| v.service == traffic.service) {
            continue;
        }
        // Only logs were given: the workers held are known in hindsight, the limit only if the server said it.
        let held = traffic.now.holders.iter().map(|h| h.held_s).sum::<f64>() / traffic.now.seconds.max(1.0);
        let usual =
            traffic.usual.holders.iter().map(|h| h.held_s).sum::<f64>() / traffic.usual.seconds.max(1.0);
        let said = situation.errors.iter().find(|e| e.service == traffic.service && e.code == "AH00161");
        out.push(ResourceUse {
            name: format!("{}.workers", traffic.service),
            used: (held * 10.0).round() / 10.0,
            limit: None,
            usual: (traffic.usual.seconds >= 30.0).then(|| [0.0, (usual * 3.0).max(1.0).ceil()]),
            exhausted_since: said.map(|e| e.first),
            limit_from: None,
        });
    }
    // A core that one process has for itself. That is what cores are for, so it is never exhausted by that alone.
    if let Some(most) = situation.activity.busy.iter().map(|busy| busy.cores).max_by(f64::total_cmp) {
        out.push(ResourceUse {
            name: "cpu.core".into(),
            used: (most * 100.0).round() / 100.0,
            limit: Some(1.0),
            usual: None,
            exhausted_since: None,
            limit_from: None,
        });
    }
    if let Some(vital) = situation.vitals.iter().find(|v| v.name == "memory.used") {
        let total = situation.host.memory_bytes as f64;
        let first_kill = situation.kernel.oom.first().map(|k| k.at);
        out.push(ResourceUse {
            name: "memory".into(),
            used: (vital.value / 100.0 * total).round(),
            limit: Some(total),
            usual: vital.usual.map(|u| [u.low / 100.0 * total, u.high / 100.0 * total]),
            exhausted_since: first_kill.or((vital.value >= 98.0).then_some(situation.at)),
            limit_from: None,
        });
    }
    out
}
