//! `dependency-down`: what a server hands its requests on to is gone, and the server itself is well.
//!
//! Needs: nobody listens at the place, and the server says that it was refused there (or somebody listened there before).
//! The place is named, not the server that misses it.

use toban_model::{CulpritKind, Situation, Stopped, Text, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::{commands, last_words, named, places, serves, unit_of, where_to_read};
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "dependency-down",
    about: Text::fixed(
        "what requests are handed on to (php-fpm, a database, an upstream) is gone",
        "リクエストの引き渡し先(php-fpm、データベース、上流サーバ)が停止しています",
    ),
    rules_out: &["service-hung", "slow-backend"],
    needs: Needs::Nothing,
    judge,
};

/// Servers that others ask for data.
const DATABASES: &[&str] = &["mariadbd", "mysqld", "postgres", "redis-server", "memcached"];

/// One place that is missed.
struct Missed {
    place: String,
    by: String,
    refused: u32,
    since: toban_model::Time,
}

/// The place of a stopped server that another one misses.
pub(super) fn missed<'a>(situation: &'a Situation, stopped: &Stopped) -> Option<&'a str> {
    let failures = &situation.failures;
    let upstream = failures.upstreams.iter().find(|upstream| serves(&stopped.known, &upstream.name));
    upstream.map(|upstream| upstream.of.as_str()).or_else(|| {
        let refused = situation.errors.iter().find(|error| error.code == "database-refused")?;
        DATABASES.contains(&stopped.known.service.as_str()).then_some(&*refused.service)
    })
}

fn judge(picture: &Picture<'_>) -> Judged {
    let situation = picture.situation;
    let failures = &situation.failures;
    let stopped_at = |place: &str| failures.stopped.iter().find(|stopped| serves(&stopped.known, place));
    let mut all: Vec<Missed> = failures
        .upstreams
        .iter()
        .map(|upstream| Missed {
            place: upstream.name.clone(),
            by: upstream.of.clone(),
            refused: upstream.refused,
            since: upstream.since,
        })
        .collect();
    for stopped in &failures.stopped {
        let error = situation.errors.iter().find(|error| error.code == "database-refused");
        if let (Some(error), true) = (error, DATABASES.contains(&stopped.known.service.as_str())) {
            let unix = stopped.known.listens_unix.first().map(|path| path.display().to_string());
            let tcp = stopped.known.listens.first().map(ToString::to_string);
            all.push(Missed {
                place: tcp.or(unix).unwrap_or_else(|| unit_of(&stopped.known)),
                by: error.service.clone(),
                refused: error.count,
                since: error.first,
            });
        }
    }
    // One that cannot read its configuration is down for that.
    all.retain(|missed| !stopped_at(&missed.place).is_some_and(super::config_error::explains));
    all.sort_by_key(|missed| (std::cmp::Reverse(missed.refused), missed.since));
    let Some(first) = all.first() else {
        return if situation.host.services.iter().any(|service| !service.backends.is_empty()) {
            Judged::Not(Text::fixed(
                "somebody listens at every place that requests are handed on to",
                "リクエストの引き渡し先はすべて待ち受けています",
            ))
        } else {
            Judged::Unknown
        };
    };
    let gone = stopped_at(&first.place).or_else(|| {
        failures
            .stopped
            .iter()
            .find(|s| DATABASES.contains(&&*s.known.service) && places(&s.known).contains(&first.place))
    });
    let (place, by, refused) = (clean(&first.place).into_owned(), first.by.clone(), first.refused);
    let (who_en, who_ja) = gone.map_or_else(Default::default, |stopped| {
        let unit = unit_of(&stopped.known);
        (format!(" ({unit})"), format!("({unit})"))
    });
    let mut told = vec![evidence(
        "refused",
        Text::new(format!("{by} was refused"), format!("{by} の接続失敗")),
        Text::new(
            format!("×{refused} at {place}, where nobody listens"),
            format!("{place} で {refused} 件(待ち受けるプロセスなし)"),
        ),
        f64::from(refused),
        Some(0.0),
        "error_log",
    )];
    let mut advice = Vec::new();
    if let Some(stopped) = gone {
        told.extend(last_words(&stopped.words));
        let (_, start) = commands(&stopped.known);
        let read = where_to_read(&stopped.known);
        advice.push(Text::new(
            format!("read why it ended: {read}"),
            format!("停止した理由を確認してください: {read}"),
        ));
        advice.push(Text::new(format!("start it again: {start}"), format!("再度起動してください: {start}")));
    } else {
        advice.push(Text::new(
            format!("find who should listen at {place} and start it; if nobody should, correct the configuration of {by}"),
            format!("{place} で待ち受けるべきサービスを起動してください。不要な設定であれば {by} の設定を修正してください"),
        ));
    }
    let since = gone.map_or(first.since, |stopped| stopped.since.min(first.since));
    Judged::Is(Candidate {
        verdict: if refused > 0 { Verdict::Incident } else { Verdict::Watch },
        confidence: if refused > 0 { 0.95 } else { 0.7 },
        culprits: all
            .iter()
            .filter(|missed| (missed.refused > 0) == (refused > 0))
            .map(|missed| named(CulpritKind::Upstream, missed.place.clone()))
            .collect(),
        evidence: told,
        summary: Text::new(
            format!("{place}{who_en} is gone: {by} hands requests on to it, and nobody listens there."),
            format!("{by} の引き渡し先 {place}{who_ja} が停止しており、待ち受けるプロセスがありません。"),
        ),
        advice,
        since: Some(since),
        ..Candidate::default()
    })
}
