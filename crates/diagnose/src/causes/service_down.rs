//! `service-down`: something that is meant to serve here does not run any more.
//!
//! Needs: it served (it was seen to, or its log says so), it is meant to run, nobody listens in its place, and that is no
//! restart. What was stopped and disabled is as somebody wants it.

use toban_model::{Stopped, Text};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::{commands, last_words, places, unit_culprit, unit_of, where_to_read};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "service-down",
    about: Text::fixed("a server that should run does not", "動作しているべきサーバが停止しています"),
    rules_out: &["service-hung"],
    needs: Needs::Nothing,
    judge,
};

/// The server was killed for memory: that is the cause then, and this its effect.
const CONFIDENCE_KILLED: f64 = 0.55;

fn judge(picture: &Picture<'_>) -> Judged {
    let failures = &picture.situation.failures;
    if failures.stopped.is_empty() {
        return if picture.situation.host.services.is_empty() {
            Judged::Unknown
        } else {
            Judged::Not(Text::fixed(
                "every server that is known to serve here runs",
                "ここで動作するはずのサーバはすべて動作しています",
            ))
        };
    }
    let down: Vec<&Stopped> = failures
        .stopped
        .iter()
        .filter(|stopped| !super::config_error::explains(stopped))
        .filter(|stopped| super::dependency_down::missed(picture.situation, stopped).is_none())
        .collect();
    let Some(first) = down.iter().min_by_key(|stopped| stopped.since) else {
        return Judged::Not(Text::fixed(
            "what is down is so for a reason that is named",
            "停止しているサーバの原因は別に特定されています",
        ));
    };
    let names = down.iter().map(|stopped| unit_of(&stopped.known)).collect::<Vec<_>>().join(", ");
    let places: Vec<String> =
        down.iter().map(|stopped| places(&stopped.known)).filter(|places| !places.is_empty()).collect();
    let (where_en, where_ja) = if places.is_empty() {
        (String::new(), String::new())
    } else {
        let places = places.join(", ");
        (format!(": nobody listens on {places}"), format!("({places} で待ち受けるプロセスがありません)"))
    };
    let killed = down.iter().any(|stopped| stopped.out_of_memory);
    let (why_en, why_ja) = if killed {
        ("\nThe kernel killed it when memory ran out.", "\nメモリ不足のためカーネルに強制終了されました。")
    } else {
        ("", "")
    };
    let mut told = Vec::new();
    for stopped in &down {
        if stopped.served_s > 0 {
            let (name, minutes) = (unit_of(&stopped.known), stopped.served_s / 60);
            told.push(evidence(
                "served-before",
                Text::new(format!("{name} before"), format!("{name} の以前の状態")),
                Text::new(
                    format!("seen to serve for {minutes} min"),
                    format!("{minutes} 分間の稼働を確認済み"),
                ),
                stopped.served_s as f64,
                None,
                "procfs",
            ));
        }
        told.extend(last_words(&stopped.words));
    }
    let killed_now = killed && picture.is_incident();
    Judged::Is(Candidate {
        confidence: if killed_now { CONFIDENCE_KILLED } else { 0.93 },
        culprits: down.iter().map(|stopped| unit_culprit(&stopped.known)).collect(),
        evidence: told,
        summary: Text::new(
            format!("{names} is down{where_en}.{why_en}"),
            format!("{names} が停止しています{where_ja}。{why_ja}"),
        ),
        advice: down.iter().take(3).flat_map(|stopped| advice(stopped)).collect(),
        since: Some(first.since),
        ..Candidate::default()
    })
}

fn advice(stopped: &Stopped) -> [Text; 2] {
    let (_, start) = commands(&stopped.known);
    let read = where_to_read(&stopped.known);
    [
        Text::new(format!("read why it ended: {read}"), format!("停止した理由を確認してください: {read}")),
        Text::new(format!("start it again: {start}"), format!("再度起動してください: {start}")),
    ]
}
