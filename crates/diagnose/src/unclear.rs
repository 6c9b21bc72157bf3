//! `not-clear`: something is used up or fails, and no cause of the catalogue explains it. Nobody is named; told is what is
//! felt, who is connected there, and where to look next.

use toban_model::{Evidence, Finding, Symptom, SymptomKind, Text, Verdict};

use crate::picture::Picture;
use crate::tell;

/// No cause of the catalogue.
const CAUSE: &str = "not-clear";
/// Below what a cause needs to be named.
const CONFIDENCE: f64 = 0.3;
/// Networks that are told.
const NETWORKS_MAX: usize = 4;

/// What there is to say of an incident without a cause.
pub(crate) fn finding(picture: &Picture<'_>) -> Option<Finding> {
    let situation = picture.situation;
    let grave = situation.symptoms.iter().filter(|symptom| symptom.kind != SymptomKind::High);
    let first = grave.min_by_key(|symptom| (symptom.kind != SymptomKind::Exhausted, symptom.since))?;
    let said = &first.text;
    let connected = connected(picture, first);
    let port = connected.as_ref().map(|(port, _)| *port);
    Some(Finding {
        cause: CAUSE.to_owned(),
        verdict: Verdict::Incident,
        confidence: CONFIDENCE,
        since: first.since,
        summary: Text::new(
            format!("{}. What is behind it is not clear.", said.en),
            format!("{}。原因は断定できません。", said.ja),
        ),
        resource: situation.resources.iter().find(|resource| resource.name == first.what).cloned(),
        culprits: Vec::new(),
        evidence: connected.into_iter().map(|(_, evidence)| evidence).collect(),
        effects: Vec::new(),
        ruled_out: Vec::new(),
        remedies: Vec::new(),
        advice: vec![next(first, port)],
    })
}

/// Who is connected to it, by network, and where.
fn connected(picture: &Picture<'_>, symptom: &Symptom) -> Option<(u16, Evidence)> {
    let (service, what) = symptom.what.split_once('.')?;
    let port = what.split_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let is_its = |one: &&toban_model::Connected| match port {
        Some(port) => one.port == port,
        None => one.service.as_deref() == Some(service),
    };
    let all = picture.situation.strangers.connected.iter().filter(is_its).max_by_key(|one| one.count)?;
    let first = all.networks.iter().take(NETWORKS_MAX);
    let rest = all.count.saturating_sub(first.clone().map(|(_, count)| count).sum());
    let named: String = first.map(|(network, count)| format!("{network} {count} · ")).collect();
    let port = all.port;
    let evidence = tell::evidence(
        "connected",
        Text::new(format!("connections at port {port}"), format!("{port} 番ポートの接続")),
        Text::new(format!("{named}all others {rest}"), format!("{named}その他 {rest}")),
        f64::from(all.count),
        None,
        "sock_diag",
    );
    Some((port, evidence))
}

fn next(symptom: &Symptom, port: Option<u16>) -> Text {
    match (symptom.what.split_once('.'), port) {
        (Some((service, _)), Some(port)) => Text::new(
            format!(
                "see who is connected and whom {service} waits for: `ss -tnp state established '( sport = :{port} )'`, and its log"
            ),
            format!(
                "接続元と {service} の待ち先を `ss -tnp state established '( sport = :{port} )'` とログで確認してください"
            ),
        ),
        _ => Text::fixed(
            "see what is busy and what waits: `toban status`, `toban top`, `ps -eo pid,stat,wchan:20,etime,cmd --sort=-rss | head -30`",
            "負荷の高い処理と待ち状態のプロセスを `toban status`、`toban top`、`ps -eo pid,stat,wchan:20,etime,cmd --sort=-rss | head -30` で確認してください",
        ),
    }
}
