//! A candidate told as a finding: summary, evidence beside its usual, effects in time order.

use std::borrow::Cow;

use toban_model::{Evidence, Finding, RuledOut, SymptomKind, Text, Via};

use crate::causes::{Candidate, Cause, Needs};
use crate::picture::Picture;

/// Networks that are named one by one in a line; the rest are summed.
const NAMED_MAX: usize = 3;

pub(crate) fn finding(
    picture: &Picture<'_>,
    cause: &Cause,
    candidate: &Candidate,
    ruled_out: Vec<RuledOut>,
) -> Finding {
    let Candidate {
        verdict, culprits, evidence, summary, remedies, advice, since, resource, effects, ..
    } = candidate.clone();
    let mut finding = Finding {
        cause: cause.id.to_owned(),
        verdict,
        confidence: (candidate.confidence * 100.0).round() / 100.0,
        since: since.unwrap_or(picture.situation.at),
        summary,
        resource,
        culprits,
        evidence,
        effects,
        ruled_out,
        remedies,
        advice,
    };
    if cause.needs == Needs::Saturation {
        finding.since = picture.since();
        finding.resource = picture.exhausted().cloned();
        finding.evidence.splice(0..0, group_evidence(picture));
        finding.evidence.extend(error_evidence(picture));
        finding.effects = effects_of(picture);
    }
    finding
}

pub(crate) fn evidence(
    what: &str,
    label: Text,
    text: Text,
    value: f64,
    usual: Option<f64>,
    source: &str,
) -> Evidence {
    Evidence { what: what.to_owned(), label, text, value, usual, source: source.to_owned() }
}

/// A stranger's words as they may be shown: printable, and not long.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    let fine = |c: char| c.is_ascii_graphic() || c == ' ';
    if text.len() <= 80 && text.chars().all(fine) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().take(80).map(|c| if fine(c) { c } else { '?' }).collect())
    }
}

/// What ran out, in a sentence of each language.
pub(crate) fn exhaustion(picture: &Picture<'_>) -> (String, String) {
    let Some(resource) = picture.exhausted() else {
        return ("Requests fail.".into(), "リクエストが失敗しています。".into());
    };
    let usual = resource.usual.map(|[low, high]| {
        let range =
            if low >= 1.0 && low < high { format!("{low:.0}–{high:.0}") } else { format!("≤ {high:.0}") };
        (format!(", {range} is usual"), format!("(平常時 {range})"))
    });
    let (usual_en, usual_ja) = usual.unwrap_or_default();
    let used = resource.used;
    if resource.name == "memory" {
        let (used, total) = (used / 1e6, resource.limit.unwrap_or(0.0) / 1e6);
        return (
            format!("Memory ran out: {used:.0} of {total:.0} MB are used."),
            format!("メモリが不足しています。{total:.0} MB のうち {used:.0} MB を使用中です。"),
        );
    }
    let service = resource.name.split('.').next().unwrap_or("?");
    let name = match service {
        "apache" => "Apache",
        other => other,
    };
    match resource.limit {
        Some(limit) if used >= 0.95 * limit => (
            format!("{name} has no free worker: {used:.0} of {limit:.0} busy{usual_en}."),
            format!(
                "{name} に空きワーカーがありません。{limit:.0} のうち {used:.0} が使用中です{usual_ja}。"
            ),
        ),
        Some(limit) if resource.exhausted_since.is_some() => (
            format!(
                "{name} runs out of workers in waves: {used:.0} of {limit:.0} busy at this moment{usual_en}."
            ),
            format!(
                "{name} のワーカーが断続的に枯渇しています。現在は {limit:.0} のうち {used:.0} が使用中です{usual_ja}。"
            ),
        ),
        Some(limit) => (
            format!("{name} holds {used:.0} of {limit:.0} workers{usual_en}."),
            format!("{name} のワーカーは {limit:.0} のうち {used:.0} が使用中です{usual_ja}。"),
        ),
        // A log without durations tells what failed and not what was held.
        None if used < 1.0 => ("Requests fail.".into(), "リクエストが失敗しています。".into()),
        None => (
            format!("{name} held {used:.0} workers{usual_en}."),
            format!("{name} のワーカーは平均 {used:.0} が使用中でした{usual_ja}。"),
        ),
    }
}

/// "271 of them are held by … from …", with the way they came.
pub(crate) fn held_by(picture: &Picture<'_>, what_en: &str, what_ja: &str) -> Text {
    let (en, ja) = exhaustion(picture);
    let Some(group) = &picture.group else { return Text::new(en, ja) };
    let (networks_en, networks_ja) = networks(group.offenders.iter().map(|o| o.prefix.to_string()));
    let request = [group.shape.method.as_deref(), group.shape.path.as_deref()]
        .into_iter()
        .flatten()
        .map(clean)
        .collect::<Vec<_>>()
        .join(" ");
    let (what_en, what_ja) = if request.is_empty() || request == "CONNECT" {
        (what_en.to_owned(), what_ja.to_owned())
    } else {
        (format!("{request} {what_en}"), format!("{request} {what_ja}"))
    };
    let held = group.held;
    let workers = picture.workers().map(|w| w.name.as_str());
    let (of_en, of_ja) = if picture.exhausted().map(|r| r.name.as_str()) == workers {
        (format!("{held:.0} of them are"), format!("うち {held:.0} は"))
    } else {
        (format!("{held:.0} web server workers are"), format!("Web サーバの {held:.0} ワーカーは"))
    };
    let (way_en, way_ja) = match group.shape.via {
        Some(Via::Direct) => (
            ",\nsent straight to this host, past the load balancer",
            "\nロードバランサーを経由せず、このサーバに直接送られています。",
        ),
        _ => ("", ""),
    };
    Text::new(
        format!("{en}\n{of_en} held by {what_en} from {networks_en}{way_en}."),
        format!("{ja}\n{of_ja} {networks_ja} からの {what_ja}が占有しています。{way_ja}"),
    )
}

fn networks(prefixes: impl Iterator<Item = String>) -> (String, String) {
    let all: Vec<String> = prefixes.collect();
    let named = all.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(NAMED_MAX);
    if more == 0 {
        (named.clone(), named)
    } else {
        (format!("{named} and {more} more"), format!("{named} ほか {more} 件"))
    }
}

fn group_evidence(picture: &Picture<'_>) -> Vec<Evidence> {
    let Some(group) = &picture.group else { return Vec::new() };
    let mut out = Vec::new();
    let named: Vec<String> =
        group.offenders.iter().take(NAMED_MAX).map(|o| format!("{} {:.0}", o.prefix, o.held)).collect();
    let rest: f64 = group.total - group.offenders.iter().take(NAMED_MAX).map(|o| o.held).sum::<f64>();
    let named = named.join(" · ");
    out.push(evidence(
        "workers-held",
        Text::fixed("workers held, by network", "ワーカー占有数(ネットワーク別)"),
        Text::new(format!("{named} · all others {rest:.0}"), format!("{named} · その他 {rest:.0}")),
        (group.held * 10.0).round() / 10.0,
        Some(0.0),
        group.source,
    ));
    let (theirs, others) = (group.held_s_median, group.others_held_s_median);
    out.push(evidence(
        "held-for",
        Text::fixed("how long they hold one", "占有時間"),
        Text::new(
            format!("median {theirs:.1} s; everyone else {others:.2} s"),
            format!("中央値 {theirs:.1} 秒(その他は {others:.2} 秒)"),
        ),
        theirs,
        picture.traffic.map(|t| t.held_s_usual_median),
        group.source,
    ));
    let ratio = group.ratio;
    out.push(evidence(
        "share-against-usual",
        Text::fixed("share against usual", "平常時の割合との比"),
        Text::new(
            format!(
                "{:.0} % of held workers, {ratio:.0} times the usual share of such requests",
                group.share() * 100.0
            ),
            format!(
                "占有中のワーカーの {:.0} %。同種リクエストの平常時の割合の {ratio:.0} 倍",
                group.share() * 100.0
            ),
        ),
        (group.share() * 100.0).round() / 100.0,
        None,
        group.source,
    ));
    if group.shape.via == Some(Via::Direct) {
        let usual = (picture.usual_direct_share().unwrap_or(0.0) * 100.0).abs();
        out.push(evidence(
            "not-through-balancer",
            Text::fixed("not through the balancer", "ロードバランサー非経由"),
            Text::new(
                format!("100 % of these; {usual:.0} % of usual traffic"),
                format!("これらの 100 %(平常時のトラフィックでは {usual:.0} %)"),
            ),
            1.0,
            Some(usual / 100.0),
            group.source,
        ));
    }
    if group.queued > 0.0 {
        let queued = group.queued;
        out.push(evidence(
            "waiting-in-queue",
            Text::fixed("more of them waiting", "待ち行列"),
            Text::new(
                format!("{queued:.0} connections in the accept queue"),
                format!("accept キューに {queued:.0} 接続"),
            ),
            queued,
            Some(0.0),
            "sock_diag",
        ));
    }
    out
}

fn error_evidence(picture: &Picture<'_>) -> Vec<Evidence> {
    picture
        .situation
        .errors
        .iter()
        .filter(|e| f64::from(e.count) > e.usual * 5.0)
        .take(3)
        .map(|e| {
            evidence(
                "error-log",
                Text::new(format!("{} error log", e.service), format!("{} のエラーログ", e.service)),
                Text::new(
                    format!("{} ×{}; {:.0} in as long a time usually", e.code, e.count, e.usual),
                    format!("{} が {} 件(平常時は同じ時間で {:.0} 件)", e.code, e.count, e.usual),
                ),
                f64::from(e.count),
                Some(e.usual),
                "error_log",
            )
        })
        .collect()
}

/// What the cause did to the host, oldest first.
fn effects_of(picture: &Picture<'_>) -> Vec<Evidence> {
    let mut symptoms: Vec<_> = picture
        .situation
        .symptoms
        .iter()
        .filter(|s| s.kind != SymptomKind::High && (s.kind != SymptomKind::Errors || !s.what.contains(':')))
        .collect();
    symptoms.sort_by_key(|s| s.since);
    symptoms
        .into_iter()
        .map(|s| {
            let (what, source) = match s.kind {
                SymptomKind::Exhausted => ("exhausted", "procfs"),
                SymptomKind::OomKill => ("oom-kills", "kernel"),
                SymptomKind::Fall => ("page-views", "access_log"),
                SymptomKind::Errors => ("server-errors", "access_log"),
                SymptomKind::High => ("high", "procfs"),
                SymptomKind::Failed => ("failed", "check"),
            };
            evidence(what, Text::default(), s.text.clone(), s.value, s.usual, source)
        })
        .collect()
}
