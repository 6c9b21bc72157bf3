//! What a judgement says: findings with culprits, evidence, what was ruled out, and remedies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{NamedProcess, Plan, Text, Time};

/// The state of the host in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As usual.
    #[default]
    Ok,
    /// Out of the usual, nothing exhausted.
    Watch,
    /// Something is exhausted, failed or falling.
    Incident,
}

/// Something finite, with its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceUse {
    /// `apache.workers`, `memory`, `apache.accept-queue`.
    pub name: String,
    /// How much of it is used.
    pub used: f64,
    /// How much of it there is.
    pub limit: Option<f64>,
    /// How much of it is usually used, low and high.
    pub usual: Option<[f64; 2]>,
    /// Since when it has been exhausted, if it is.
    pub exhausted_since: Option<Time>,
    /// Where the limit is set.
    pub limit_from: Option<String>,
}

/// What kind of thing is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum CulpritKind {
    Address,
    Prefix,
    Asn,
    Path,
    Method,
    UserAgent,
    Account,
    Process,
    Unit,
    File,
    Upstream,
    Host,
}

/// The attributes that a culprit's requests share: `method`, `path`, `via_balancer`.
pub type Where = BTreeMap<String, String>;

/// Who or what did it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Culprit {
    /// What kind of thing it is.
    pub kind: CulpritKind,
    /// Its name: a prefix, a path, a unit.
    pub value: String,
    /// Its part of the whole that is explained, 0 to 1.
    pub share: f64,
    /// What its requests have in common.
    pub r#where: Where,
    /// The process, for a culprit of that kind.
    pub process: Option<NamedProcess>,
}

/// A number beside its usual, with where it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its id, kebab-case: `workers-held`.
    pub what: String,
    /// What it is, for a table's left column: "workers held, by network".
    pub label: Text,
    /// The fact, for the right column.
    pub text: Text,
    /// The number.
    pub value: f64,
    /// What is usual, if known.
    pub usual: Option<f64>,
    /// `sock_diag`, `scoreboard`, `access_log`, `error_log`, `kernel`, `procfs`.
    pub source: String,
}

/// A look-alike, and the number that rules it out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuledOut {
    /// The cause's id.
    pub cause: String,
    /// Why it is not the one.
    pub because: Text,
}

/// How much can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Risk {
    Low,
    Medium,
    High,
}

/// Usual clients that a remedy would hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collateral {
    /// Clients seen in the usual time that it hits.
    pub usual_clients_hit: u64,
    /// Clients seen in the usual time.
    pub of: u64,
}

/// Something that toban can do about a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remedy {
    /// Its number in this answer, from 1: `toban fix 1`.
    pub id: u32,
    /// What it does, step by step.
    pub plan: Plan,
    /// In words, one line.
    pub text: Text,
    /// How much can go wrong.
    pub risk: Risk,
    /// Whether `toban undo` takes it back.
    pub reversible: bool,
}

/// A cause, on this host, now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The cause's id in the catalogue.
    pub cause: String,
    /// How grave it is: [`Verdict::Incident`] or [`Verdict::Watch`].
    #[serde(default = "grave")]
    pub verdict: Verdict,
    /// 0 to 1.
    pub confidence: f64,
    /// Since when.
    pub since: Time,
    /// One sentence, or two.
    pub summary: Text,
    /// What is exhausted.
    pub resource: Option<ResourceUse>,
    /// Who.
    pub culprits: Vec<Culprit>,
    /// Why toban thinks so.
    pub evidence: Vec<Evidence>,
    /// What it did to the host, oldest first: OOM kills, lost page views.
    pub effects: Vec<Evidence>,
    /// What it is not.
    pub ruled_out: Vec<RuledOut>,
    /// What can be done.
    pub remedies: Vec<Remedy>,
    /// What a person can do or look at next that toban does not do by itself, the first thing first.
    #[serde(default)]
    pub advice: Vec<Text>,
}

/// Records of older versions hold only findings that were.
fn grave() -> Verdict {
    Verdict::Incident
}

/// The record's number of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IncidentId(pub i64);

/// Symptoms, findings and actions grouped in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its number.
    pub id: IncidentId,
    /// When it began on the host.
    pub since: Time,
    /// When toban opened it.
    pub opened: Time,
    /// When it ended, if it has.
    pub ended: Option<Time>,
    /// The cause named last.
    pub cause: String,
    /// The findings as last judged while it was open.
    pub findings: Vec<Finding>,
}
