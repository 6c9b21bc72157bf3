//! One JSON document for each command, as scripts read it. Fields are only ever added; the names and their meaning
//! stay for ever.
//!
//! The types here are twins of the model's: what is stored and passed around may change, what is printed may not.

mod scan;

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};
use toban_model::event::{Act, Event, Offence};
use toban_model::{
    Action, ActionRecord, ActionState, Actor, Ban, Collateral, Culprit, CulpritKind, Evidence, Finding, Host,
    Incident, Lang, Plan, Remedy, ResourceUse, Risk, Supervisor, Symptom, SymptomKind, Time, Verdict, Vital,
    VitalState,
};

use crate::format::rfc3339;
use crate::{Answer, Process, words};
pub use scan::scan;

/// The version of every document here.
const VERSION: u32 = 1;

/// A number: whole ones without a decimal point, as people and `jq` expect of a count; what is no number is null.
#[derive(Clone, Copy)]
struct Number(f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if !self.0.is_finite() {
            to.serialize_none()
        } else if self.0.fract() == 0.0 && self.0.abs() <= EXACT {
            to.serialize_i64(self.0 as i64)
        } else {
            to.serialize_f64(self.0)
        }
    }
}

/// A share or a confidence: three decimals are more than is known.
fn share(n: f64) -> Number {
    Number((n * 1000.0).round() / 1000.0)
}

fn numbers(map: &BTreeMap<String, f64>) -> BTreeMap<&str, Number> {
    map.iter().map(|(name, value)| (name.as_str(), Number(*value))).collect()
}

#[derive(Serialize)]
struct WhyJson<'a> {
    version: u32,
    host: &'a str,
    at: String,
    window: Window,
    verdict: Verdict,
    findings: Vec<FindingJson<'a>>,
    vitals: Vec<VitalJson<'a>>,
    symptoms: Vec<SymptomJson<'a>>,
    usual_s: Number,
    history_from: Option<String>,
    history_s: Option<Number>,
    notes: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<HostJson<'a>>,
}

#[derive(Serialize)]
struct Window {
    from: String,
    to: String,
}

#[derive(Serialize)]
struct FindingJson<'a> {
    cause: &'a str,
    verdict: Verdict,
    confidence: Number,
    level: &'static str,
    since: String,
    summary: &'a str,
    resource: Option<ResourceJson<'a>>,
    culprits: Vec<CulpritJson<'a>>,
    evidence: Vec<EvidenceJson<'a>>,
    effects: Vec<EvidenceJson<'a>>,
    ruled_out: Vec<RuledOutJson<'a>>,
    remedies: Vec<RemedyJson<'a>>,
    advice: Vec<&'a str>,
}

#[derive(Serialize)]
struct ResourceJson<'a> {
    name: &'a str,
    used: Number,
    limit: Option<Number>,
    usual: Option<[Number; 2]>,
    exhausted_since: Option<String>,
    limit_from: Option<&'a str>,
}

#[derive(Serialize)]
struct CulpritJson<'a> {
    kind: CulpritKind,
    value: &'a str,
    share: Number,
    r#where: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    process: Option<ProcessJson<'a>>,
}

/// A process that is named. What is not known is null or empty, so that the fields are always there.
#[derive(Serialize)]
struct ProcessJson<'a> {
    pid: u32,
    start_time: String,
    start_ticks: u64,
    comm: &'a str,
    cmdline: Option<&'a str>,
    age_s: Number,
    parents: Vec<String>,
}

#[derive(Serialize)]
struct EvidenceJson<'a> {
    what: &'a str,
    label: &'a str,
    text: &'a str,
    value: Number,
    usual: Option<Number>,
    source: &'a str,
}

#[derive(Serialize)]
struct RuledOutJson<'a> {
    cause: &'a str,
    because: &'a str,
}

#[derive(Serialize)]
struct RemedyJson<'a> {
    id: u32,
    text: &'a str,
    #[serde(flatten)]
    plan: PlanJson<'a>,
    risk: Risk,
    reversible: bool,
    command: String,
}

/// A plan: its first step spelled out, because that is what most of them are, and all of them in `steps`.
#[derive(Serialize)]
struct PlanJson<'a> {
    action: &'static str,
    target: String,
    targets: Vec<String>,
    ports: &'a [u16],
    for_s: Option<u64>,
    steps: Vec<StepJson<'a>>,
    predicted: BTreeMap<&'a str, Number>,
    collateral: Collateral,
}

#[derive(Default, Serialize)]
struct StepJson<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefixes: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ports: Option<&'a [u16]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    for_s: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supervisor: Option<&'a Supervisor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_within_s: Option<u64>,
}

#[derive(Serialize)]
struct VitalJson<'a> {
    name: &'a str,
    value: Number,
    unit: &'a str,
    usual: Option<[Number; 2]>,
    state: VitalState,
    usual_s: Option<u32>,
    since: Option<String>,
}

#[derive(Serialize)]
struct SymptomJson<'a> {
    kind: SymptomKind,
    what: &'a str,
    text: &'a str,
    value: Number,
    usual: Option<Number>,
    since: String,
}

#[derive(Serialize)]
struct HostJson<'a> {
    cores: u32,
    memory_bytes: u64,
    own: Vec<String>,
    services: Vec<ServiceJson<'a>>,
    kernel_logs: Vec<String>,
    blind: &'a [String],
}

#[derive(Serialize)]
struct ServiceJson<'a> {
    id: &'a str,
    kind: toban_model::ServiceKind,
    pid: u32,
    processes: usize,
    listens: Vec<String>,
    worker_limit: Option<u32>,
    worker_limit_from: Option<&'a str>,
    trusted_proxies: Vec<String>,
    backends: &'a [String],
    supervisor: &'a Supervisor,
    logs: Vec<LogJson<'a>>,
    config: Vec<String>,
}

#[derive(Serialize)]
struct LogJson<'a> {
    path: String,
    role: toban_model::LogRole,
    format: Option<&'a str>,
}

/// `toban why --json`.
pub fn why(answer: &Answer<'_>, lang: Lang, tz: &TimeZone) -> String {
    document(&WhyJson {
        version: VERSION,
        host: &answer.host.name,
        at: rfc3339(answer.at, tz),
        window: Window { from: rfc3339(answer.from, tz), to: rfc3339(answer.at, tz) },
        verdict: answer.verdict,
        findings: answer.findings.iter().map(|f| finding(f, answer.at, lang, tz)).collect(),
        vitals: answer.vitals.iter().map(|v| vital(v, tz)).collect(),
        symptoms: answer.symptoms.iter().map(|s| symptom(s, lang, tz)).collect(),
        usual_s: Number(answer.usual_seconds),
        history_from: answer.history_from.map(|from| rfc3339(from, tz)),
        history_s: answer.history_from.map(|from| Number(answer.at.since(from).as_secs_f64())),
        notes: answer.notes.iter().map(|note| note.lang(lang)).collect(),
        found: answer.explain.then(|| host(answer.host)),
    })
}

/// `toban status --json`: what `why` says without the findings' detail.
pub fn status(answer: &Answer<'_>, lang: Lang, tz: &TimeZone) -> String {
    #[derive(Serialize)]
    struct Status<'a> {
        version: u32,
        host: &'a str,
        at: String,
        verdict: Verdict,
        causes: Vec<&'a str>,
        vitals: Vec<VitalJson<'a>>,
        symptoms: Vec<SymptomJson<'a>>,
        usual_s: Number,
        agent: &'a [Process],
    }
    document(&Status {
        version: VERSION,
        host: &answer.host.name,
        at: rfc3339(answer.at, tz),
        verdict: answer.verdict,
        causes: answer.findings.iter().map(|finding| finding.cause.as_str()).collect(),
        vitals: answer.vitals.iter().map(|v| vital(v, tz)).collect(),
        symptoms: answer.symptoms.iter().map(|s| symptom(s, lang, tz)).collect(),
        usual_s: Number(answer.usual_seconds),
        agent: answer.agent,
    })
}

/// `toban actions --json`: the audit trail, in the order given.
pub fn actions(actions: &[ActionRecord], lang: Lang, tz: &TimeZone) -> String {
    #[derive(Serialize)]
    struct ActionJson<'a> {
        id: i64,
        at: String,
        incident: Option<i64>,
        by: Actor,
        cause: &'a str,
        reason: &'a str,
        state: ActionState,
        changed: String,
        #[serde(flatten)]
        plan: PlanJson<'a>,
        measured: BTreeMap<&'a str, Number>,
        notes: &'a [String],
    }
    #[derive(Serialize)]
    struct Actions<'a> {
        version: u32,
        actions: Vec<ActionJson<'a>>,
    }
    let actions = actions
        .iter()
        .map(|action| ActionJson {
            id: action.id.0,
            at: rfc3339(action.at, tz),
            incident: action.incident.map(|id| id.0),
            by: action.by,
            cause: &action.plan.cause,
            reason: action.plan.reason.lang(lang),
            state: action.state,
            changed: rfc3339(action.changed, tz),
            plan: plan(&action.plan),
            measured: numbers(&action.measured),
            notes: &action.notes,
        })
        .collect();
    document(&Actions { version: VERSION, actions })
}

/// `toban bans --json`: the bans, with what is left of each at `now`.
pub fn bans(bans: &[Ban], now: Time, tz: &TimeZone) -> String {
    #[derive(Serialize)]
    struct BanJson<'a> {
        prefix: String,
        ports: &'a [u16],
        since: String,
        until: String,
        left_s: u64,
        action: i64,
        reason: &'a str,
    }
    #[derive(Serialize)]
    struct Bans<'a> {
        version: u32,
        at: String,
        bans: Vec<BanJson<'a>>,
    }
    let bans = bans
        .iter()
        .map(|ban| BanJson {
            prefix: ban.prefix.to_string(),
            ports: &ban.ports,
            since: rfc3339(ban.since, tz),
            until: rfc3339(ban.until, tz),
            left_s: ban.until.since(now).as_secs(),
            action: ban.action.0,
            reason: &ban.reason,
        })
        .collect();
    document(&Bans { version: VERSION, at: rfc3339(now, tz), bans })
}

/// `toban incidents --json`: the incidents, in the order given.
pub fn incidents(incidents: &[Incident], now: Time, lang: Lang, tz: &TimeZone) -> String {
    #[derive(Serialize)]
    struct IncidentJson<'a> {
        id: i64,
        since: String,
        opened: String,
        ended: Option<String>,
        lasted_s: u64,
        cause: &'a str,
        findings: Vec<FindingJson<'a>>,
    }
    #[derive(Serialize)]
    struct Incidents<'a> {
        version: u32,
        incidents: Vec<IncidentJson<'a>>,
    }
    let incidents = incidents
        .iter()
        .map(|incident| {
            let end = incident.ended.unwrap_or(now);
            IncidentJson {
                id: incident.id.0,
                since: rfc3339(incident.since, tz),
                opened: rfc3339(incident.opened, tz),
                ended: incident.ended.map(|ended| rfc3339(ended, tz)),
                lasted_s: end.since(incident.since).as_secs(),
                cause: &incident.cause,
                findings: incident.findings.iter().map(|f| finding(f, end, lang, tz)).collect(),
            }
        })
        .collect();
    document(&Incidents { version: VERSION, incidents })
}

fn document(value: &impl Serialize) -> String {
    // Only a map with keys that are not strings, or a failing Serialize, is an error; the twins above have neither.
    let mut text = serde_json::to_string_pretty(value).expect("the twins are plain structs with string keys");
    text.push('\n');
    text
}

fn finding<'a>(finding: &'a Finding, at: Time, lang: Lang, tz: &TimeZone) -> FindingJson<'a> {
    FindingJson {
        cause: &finding.cause,
        verdict: finding.verdict,
        confidence: share(finding.confidence),
        level: words::level(finding.confidence).1,
        since: rfc3339(finding.since, tz),
        summary: finding.summary.lang(lang),
        resource: finding.resource.as_ref().map(|resource| self::resource(resource, tz)),
        culprits: finding.culprits.iter().map(|culprit| self::culprit(culprit, at, tz)).collect(),
        evidence: finding.evidence.iter().map(|evidence| self::evidence(evidence, lang)).collect(),
        effects: finding.effects.iter().map(|evidence| self::evidence(evidence, lang)).collect(),
        ruled_out: finding
            .ruled_out
            .iter()
            .map(|out| RuledOutJson { cause: &out.cause, because: out.because.lang(lang) })
            .collect(),
        remedies: finding.remedies.iter().map(|remedy| self::remedy(remedy, lang)).collect(),
        advice: finding.advice.iter().map(|advice| advice.lang(lang)).collect(),
    }
}

fn resource<'a>(resource: &'a ResourceUse, tz: &TimeZone) -> ResourceJson<'a> {
    ResourceJson {
        name: &resource.name,
        used: Number(resource.used),
        limit: resource.limit.map(Number),
        usual: resource.usual.map(|usual| usual.map(Number)),
        exhausted_since: resource.exhausted_since.map(|since| rfc3339(since, tz)),
        limit_from: resource.limit_from.as_deref(),
    }
}

fn culprit<'a>(culprit: &'a Culprit, at: Time, tz: &TimeZone) -> CulpritJson<'a> {
    let process = culprit.process.as_ref().map(|process| {
        let parent = |parent: &toban_model::Ancestor| {
            let command = if parent.command.is_empty() { &parent.comm } else { &parent.command };
            format!("{} {command}", parent.pid)
        };
        ProcessJson {
            pid: process.id.pid,
            start_time: rfc3339(process.started, tz),
            start_ticks: process.id.start_ticks,
            comm: &process.comm,
            cmdline: Some(process.command.as_str()).filter(|command| !command.is_empty()),
            age_s: Number(at.since(process.started).as_secs() as f64),
            parents: process.parents.iter().map(parent).collect(),
        }
    });
    CulpritJson {
        kind: culprit.kind,
        value: &culprit.value,
        share: share(culprit.share),
        r#where: &culprit.r#where,
        process,
    }
}

fn evidence(evidence: &Evidence, lang: Lang) -> EvidenceJson<'_> {
    EvidenceJson {
        what: &evidence.what,
        label: evidence.label.lang(lang),
        text: evidence.text.lang(lang),
        value: Number(evidence.value),
        usual: evidence.usual.map(Number),
        source: &evidence.source,
    }
}

fn remedy(remedy: &Remedy, lang: Lang) -> RemedyJson<'_> {
    RemedyJson {
        id: remedy.id,
        text: remedy.text.lang(lang),
        plan: plan(&remedy.plan),
        risk: remedy.risk,
        reversible: remedy.reversible,
        command: format!("toban fix {}", remedy.id),
    }
}

fn plan(plan: &Plan) -> PlanJson<'_> {
    let first = plan.steps.first();
    let targets: Vec<String> = match first {
        Some(Action::Ban { prefixes, .. } | Action::EndSockets { prefixes, .. }) => {
            prefixes.iter().map(ToString::to_string).collect()
        }
        Some(Action::Restart(restart)) => vec![restart.service.clone()],
        Some(Action::StopProcess { process }) => vec![process.pid.to_string()],
        Some(Action::AcceptOnlyFrom { from, .. }) => from.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    let steps: Vec<StepJson<'_>> = plan.steps.iter().map(step).collect();
    PlanJson {
        action: first.map_or("none", Action::id),
        target: targets.join(", "),
        targets,
        ports: steps.first().and_then(|step| step.ports).unwrap_or_default(),
        for_s: steps.first().and_then(|step| step.for_s),
        steps,
        predicted: numbers(&plan.predicted),
        collateral: plan.collateral,
    }
}

fn step(action: &Action) -> StepJson<'_> {
    let prefixes = |list: &[toban_model::Prefix]| Some(list.iter().map(ToString::to_string).collect());
    let step = StepJson { action: action.id(), ..StepJson::default() };
    match action {
        Action::Ban { prefixes: who, ports, for_s } => {
            StepJson { prefixes: prefixes(who), ports: Some(ports), for_s: Some(*for_s), ..step }
        }
        Action::EndSockets { prefixes: who, ports } => {
            StepJson { prefixes: prefixes(who), ports: Some(ports), ..step }
        }
        Action::Restart(restart) => StepJson {
            service: Some(&restart.service),
            pid: Some(restart.master.pid),
            supervisor: Some(&restart.supervisor),
            ..step
        },
        Action::StopProcess { process } => StepJson { pid: Some(process.pid), ..step },
        Action::AcceptOnlyFrom { ports, from, confirm_within_s } => StepJson {
            prefixes: prefixes(from),
            ports: Some(ports),
            confirm_within_s: Some(*confirm_within_s),
            ..step
        },
    }
}

fn vital<'a>(vital: &'a Vital, tz: &TimeZone) -> VitalJson<'a> {
    VitalJson {
        name: &vital.name,
        value: Number(vital.value),
        unit: &vital.unit,
        usual: vital.usual.map(|usual| [Number(usual.low), Number(usual.high)]),
        state: vital.state,
        usual_s: vital.usual.map(|usual| usual.seconds),
        since: vital.since.map(|since| rfc3339(since, tz)),
    }
}

fn symptom<'a>(symptom: &'a Symptom, lang: Lang, tz: &TimeZone) -> SymptomJson<'a> {
    SymptomJson {
        kind: symptom.kind,
        what: &symptom.what,
        text: symptom.text.lang(lang),
        value: Number(symptom.value),
        usual: symptom.usual.map(Number),
        since: rfc3339(symptom.since, tz),
    }
}

fn host(host: &Host) -> HostJson<'_> {
    HostJson {
        cores: host.cores,
        memory_bytes: host.memory_bytes,
        own: host.own.iter().map(ToString::to_string).collect(),
        services: host
            .services
            .iter()
            .map(|service| ServiceJson {
                id: &service.id,
                kind: service.kind,
                pid: service.master.pid,
                processes: service.pids.len(),
                listens: service
                    .listens
                    .iter()
                    .map(ToString::to_string)
                    .chain(service.listens_unix.iter().map(|path| path.display().to_string()))
                    .collect(),
                worker_limit: service.worker_limit,
                worker_limit_from: service.worker_limit_from.as_deref(),
                trusted_proxies: service.trusted_proxies.iter().map(ToString::to_string).collect(),
                backends: &service.backends,
                supervisor: &service.supervisor,
                logs: service
                    .logs
                    .iter()
                    .map(|log| LogJson {
                        path: log.path.display().to_string(),
                        role: log.role,
                        format: log.format.as_deref(),
                    })
                    .collect(),
                config: service.config.iter().map(|path| path.display().to_string()).collect(),
            })
            .collect(),
        kernel_logs: host.kernel_logs.iter().map(|path| path.display().to_string()).collect(),
        blind: &host.blind,
    }
}

#[cfg(test)]
mod tests;

/// One parsed line, as `toban parse --json` prints it: one object, no newline.
///
/// `client` is an address that the server itself saw or that its own trusted proxy reported; what a request's text
/// claims is never in it. `offence` is what toban reads from a request; a service's own word goes before it.
pub fn event(line: u64, event: &Event<'_>, offence: Option<Offence>) -> String {
    #[derive(Default, Serialize)]
    struct EventJson<'a> {
        line: u64,
        time: Option<f64>,
        client: Option<std::net::IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        service: Option<std::borrow::Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offence: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        logged_in: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        times: Option<u32>,
        #[serde(flatten)]
        request: Option<RequestJson>,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<String>,
    }
    #[derive(Serialize)]
    struct RequestJson {
        method: Option<String>,
        path: Option<String>,
        status: Option<u16>,
        bytes: Option<u64>,
        duration: Option<f64>,
    }
    let told = |bytes: &[u8]| (!bytes.is_empty()).then(|| String::from_utf8_lossy(bytes).into_owned());
    let blank = EventJson { line, offence: offence.map(Offence::id), ..EventJson::default() };
    let json = match event {
        Event::Request(request) => EventJson {
            time: Some(request.time.as_secs_f64()),
            client: request.client,
            request: Some(RequestJson {
                method: told(request.method),
                path: told(request.path),
                status: request.status,
                bytes: request.bytes,
                duration: request.duration_us.map(|us| us as f64 / 1e6),
            }),
            account: request.user.and_then(told),
            ..blank
        },
        Event::Error(error) => EventJson {
            time: error.time.map(Time::as_secs_f64),
            client: error.peer,
            service: Some("error".into()),
            offence: error.offence.map(Offence::id),
            account: error.account.and_then(told),
            code: error.code,
            text: told(error.text),
            ..blank
        },
        Event::Kernel(kernel) => EventJson {
            time: kernel.time.map(Time::as_secs_f64),
            service: Some("kernel".into()),
            text: told(kernel.text),
            ..blank
        },
        Event::Service(said) => EventJson {
            time: said.time.map(Time::as_secs_f64),
            client: said.client,
            service: Some(String::from_utf8_lossy(said.service)),
            offence: match said.act {
                Act::Offence(offence) => Some(offence.id()),
                _ => None,
            },
            logged_in: (said.act == Act::LoggedIn).then_some(true),
            times: Some(said.times).filter(|times| *times != 1),
            account: said.account.and_then(told),
            text: told(said.text),
            ..blank
        },
        Event::Silent => blank,
    };
    serde_json::to_string(&json).expect("numbers and text serialize")
}
