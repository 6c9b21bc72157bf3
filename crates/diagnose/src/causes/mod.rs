//! The catalogue. Each cause is one file: what it explains, the evidence it needs, the look-alikes it rules out, its
//! words in both languages, its remedies, its tests. Adding one touches its file and [`ALL`].

mod aggressive_crawler;
mod certificate_expiry;
mod config_error;
mod conntrack_full;
mod credential_attack;
mod db_connections;
mod dependency_down;
mod disk_full;
mod distributed_credential_attack;
mod dns_failure;
mod fd_exhaustion;
mod flash_crowd;
mod hardware_error;
mod host_hung;
mod http_flood;
mod inode_exhaustion;
mod io_saturation;
mod load_balancer_bypass;
mod mail_queue_growth;
mod memory_exhaustion;
mod memory_leak;
mod network_loss;
mod network_saturation;
mod open_proxy_abuse;
mod outbound_abuse;
mod port_exhaustion;
mod process_pileup;
mod runaway_process;
mod scanner;
mod service_down;
mod service_hung;
mod slow_backend;
mod slow_clients;
mod syn_flood;
mod worker_limit;

use toban_model::{Culprit, CulpritKind, Evidence, Remedy, ResourceUse, Text, Time, Verdict, Where};

use crate::attribution::Group;
use crate::picture::Picture;

/// A filled-in form.
pub struct Cause {
    /// Its id in the catalogue, for ever the same.
    pub id: &'static str,
    /// What it is, in general.
    pub about: Text,
    /// Causes that look the same from outside and must be told apart.
    pub rules_out: &'static [&'static str],
    pub(crate) needs: Needs,
    pub(crate) judge: fn(&Picture<'_>) -> Judged,
}

/// When a cause is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Only while web servers are full, memory is short, or page views fall with errors: it explains that, and what
    /// is told of the held workers is told of it.
    Saturation,
    /// Always: it has a resource, a check or a process of its own, and tells of that alone.
    Nothing,
}

/// What a cause says of a picture.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one of each cause, for the length of a judgement")]
pub(crate) enum Judged {
    /// It explains this.
    Is(Candidate),
    /// It does not, and this number says why.
    Not(Text),
    /// The evidence that it needs is not there.
    Unknown,
}

/// A cause that explains the picture.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Whether something is exhausted or has failed by it, or is only out of the usual.
    pub(crate) verdict: Verdict,
    pub(crate) confidence: f64,
    pub(crate) culprits: Vec<Culprit>,
    /// Evidence of its own; with [`Needs::Saturation`] beside what is told of every group.
    pub(crate) evidence: Vec<Evidence>,
    /// This case in a sentence or two.
    pub(crate) summary: Text,
    pub(crate) remedies: Vec<Remedy>,
    /// What a person can do or look at next, where toban has no remedy of its own.
    pub(crate) advice: Vec<Text>,
    /// Since when, what is exhausted and what it did to the host, oldest first; with [`Needs::Saturation`] they are
    /// found in the picture, and stay empty here.
    pub(crate) since: Option<Time>,
    pub(crate) resource: Option<ResourceUse>,
    pub(crate) effects: Vec<Evidence>,
}

impl Default for Candidate {
    fn default() -> Candidate {
        Candidate {
            verdict: Verdict::Incident,
            confidence: 0.0,
            culprits: Vec::new(),
            evidence: Vec::new(),
            summary: Text::default(),
            remedies: Vec::new(),
            advice: Vec::new(),
            since: None,
            resource: None,
            effects: Vec::new(),
        }
    }
}

/// All causes, the sharpest first.
pub static ALL: &[Cause] = &[
    open_proxy_abuse::CAUSE,
    slow_clients::CAUSE,
    http_flood::CAUSE,
    load_balancer_bypass::CAUSE,
    flash_crowd::CAUSE,
    slow_backend::CAUSE,
    worker_limit::CAUSE,
    memory_exhaustion::CAUSE,
    disk_full::CAUSE,
    inode_exhaustion::CAUSE,
    fd_exhaustion::CAUSE,
    conntrack_full::CAUSE,
    port_exhaustion::CAUSE,
    db_connections::CAUSE,
    network_saturation::CAUSE,
    config_error::CAUSE,
    dependency_down::CAUSE,
    service_down::CAUSE,
    service_hung::CAUSE,
    network_loss::CAUSE,
    dns_failure::CAUSE,
    hardware_error::CAUSE,
    certificate_expiry::CAUSE,
    runaway_process::CAUSE,
    process_pileup::CAUSE,
    io_saturation::CAUSE,
    memory_leak::CAUSE,
    credential_attack::CAUSE,
    distributed_credential_attack::CAUSE,
    syn_flood::CAUSE,
    scanner::CAUSE,
    aggressive_crawler::CAUSE,
    outbound_abuse::CAUSE,
    mail_queue_growth::CAUSE,
    host_hung::CAUSE,
];

/// A group's networks as culprits.
pub(crate) fn culprits_of(group: &Group) -> Vec<Culprit> {
    let mut r#where = Where::new();
    if let Some(method) = &group.shape.method {
        r#where.insert("method".into(), method.to_string());
    }
    if let Some(path) = &group.shape.path {
        r#where.insert("path".into(), path.to_string());
    }
    if let Some(agent) = &group.shape.agent {
        r#where.insert("user_agent".into(), agent.to_string());
    }
    match group.shape.via {
        Some(toban_model::Via::Direct) => drop(r#where.insert("via_balancer".into(), "no".into())),
        Some(toban_model::Via::Balancer) => drop(r#where.insert("via_balancer".into(), "yes".into())),
        Some(toban_model::Via::None) | None => {}
    }
    group
        .offenders
        .iter()
        .map(|offender| {
            let host = offender.prefix.prefix_len() == offender.prefix.max_prefix_len();
            Culprit {
                kind: if host { CulpritKind::Address } else { CulpritKind::Prefix },
                value: if host { offender.prefix.addr().to_string() } else { offender.prefix.to_string() },
                share: (offender.held / group.total.max(1.0) * 100.0).round() / 100.0,
                r#where: r#where.clone(),
                process: None,
            }
        })
        .collect()
}

/// How sure an attack's group makes: by how much it holds, how new it is here, and whether two views agree.
pub(crate) fn confidence_of(group: &Group, base: f64) -> f64 {
    let coverage = (group.share() / 0.5).min(1.0) * 0.15;
    let newness = (group.ratio / 50.0).min(1.0) * 0.12;
    let views = if group.two_views { 0.06 } else { 0.0 };
    (base + coverage + newness + views).min(0.99)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_folder() {
        let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/causes"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "mod.rs")
            .map(|name| name.trim_end_matches(".rs").replace('_', "-"))
            .collect();
        files.sort();
        let mut ids: Vec<&str> = ALL.iter().map(|c| c.id).collect();
        ids.sort_unstable();
        assert_eq!(files, ids);
        for cause in ALL {
            assert!(!cause.about.en.is_empty() && !cause.about.ja.is_empty(), "{}", cause.id);
            assert_ne!(cause.about.en, cause.about.ja, "{}", cause.id);
            for other in cause.rules_out {
                assert!(ids.contains(other), "{} rules out {other}, which is not in the list", cause.id);
            }
        }
    }
}
