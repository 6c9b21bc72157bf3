//! Words and facts that the causes of exhaustion share: amounts, owners, paths in commands, and what was suffered.

use toban_model::{
    Culprit, CulpritKind, ErrorClass, Evidence, FileUse, Filesystem, NamedProcess, Owner, ResourceUse,
    SymptomKind, Text, Time, Where,
};

use crate::picture::Picture;
use crate::tell::{clean, evidence};

/// A made part of the whole: rounded to percents.
pub(crate) fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { ((part / whole).clamp(0.0, 1.0) * 100.0).round() / 100.0 } else { 0.0 }
}

/// Bytes as people say them.
pub(crate) fn bytes(bytes: f64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(scale, _)| bytes >= *scale) {
        Some((scale, unit)) if bytes < scale * 100.0 => format!("{:.1} {unit}", bytes / scale),
        Some((scale, unit)) => format!("{:.0} {unit}", bytes / scale),
        None => format!("{bytes:.0} B"),
    }
}

/// A path as a shell takes it: a stranger may have chosen it.
pub(crate) fn quoted(path: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:@%=".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return path.to_owned();
    }
    format!("'{}'", shown(path).replace('\'', r"'\''"))
}

/// A path as people may be shown it, whole: a command needs it so.
pub(crate) fn shown(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `nginx (pid 42, nginx.service)`.
pub(crate) fn owner(owner: &Owner) -> String {
    let (comm, pid) = (clean(&owner.comm), owner.process.pid);
    match &owner.unit {
        Some(unit) => format!("{comm} (pid {pid}, {})", clean(unit)),
        None => format!("{comm} (pid {pid})"),
    }
}

/// How a process is restarted: by its unit, else by whoever started it.
pub(crate) fn restart(owner: &Owner) -> Text {
    let (comm, pid) = (clean(&owner.comm).into_owned(), owner.process.pid);
    match owner.unit.as_deref().filter(|unit| unit.ends_with(".service")) {
        Some(unit) => {
            let command = format!("systemctl restart {}", quoted(unit));
            Text::new(command.clone(), command)
        }
        None => Text::new(
            format!("restart {comm} (pid {pid}) the way it was started; see ps -fp {pid}"),
            format!("{comm}(pid {pid})を起動時と同じ方法で再起動してください(起動方法の確認: ps -fp {pid})"),
        ),
    }
}

/// A process as a culprit.
pub(crate) fn process(picture: &Picture<'_>, owner: &Owner, share: f64) -> Culprit {
    let unit = owner.unit.iter().map(|unit| ("unit".to_owned(), unit.clone()));
    Culprit {
        kind: CulpritKind::Process,
        value: owner.comm.clone(),
        share,
        r#where: Where::from_iter(unit),
        process: Some(NamedProcess::known_by(owner.process, &owner.comm, picture.situation.host.boot)),
    }
}

/// A file as a culprit, with who writes it.
pub(crate) fn file(file: &FileUse, share: f64) -> Culprit {
    let mut r#where = Where::new();
    if let Some(writer) = &file.writer {
        r#where.insert("process".into(), writer.comm.clone());
        r#where.insert("pid".into(), writer.process.pid.to_string());
        r#where.extend(writer.unit.iter().map(|unit| ("unit".into(), unit.clone())));
    }
    if file.deleted {
        r#where.insert("deleted".into(), "yes".into());
    }
    Culprit { kind: CulpritKind::File, value: file.path.clone(), share, r#where, process: None }
}

/// The exhausted resource of a name.
pub(crate) fn resource<'a>(picture: &Picture<'a>, name: &str) -> Option<&'a ResourceUse> {
    picture.situation.resources.iter().find(|resource| resource.name == name)
}

/// File systems whose resource (`disk` or `inodes`) is exhausted, the largest first.
pub(crate) fn exhausted<'a>(
    picture: &Picture<'a>,
    kind: &str,
) -> Vec<(&'a Filesystem, &'a ResourceUse, Time)> {
    let mut all: Vec<_> = (picture.situation.holdings.filesystems.iter())
        .filter_map(|filesystem| {
            let resource = resource(picture, &format!("{kind}:{}", filesystem.mount))?;
            Some((filesystem, resource, resource.exhausted_since?))
        })
        .collect();
    all.sort_by_key(|(filesystem, ..)| std::cmp::Reverse(filesystem.size_bytes));
    all
}

/// The lines of a code that were logged lately and are unusual.
pub(crate) fn said<'a>(picture: &Picture<'a>, code: &str) -> Vec<&'a ErrorClass> {
    let unusual = |class: &&ErrorClass| class.code == code && f64::from(class.count) > class.usual * 2.0;
    picture.situation.errors.iter().filter(unusual).collect()
}

/// What was suffered since: error lines of these codes, failed requests, lost page views; oldest first.
pub(crate) fn effects(picture: &Picture<'_>, codes: &[(&str, &'static str)], since: Time) -> Vec<Evidence> {
    let mut all: Vec<(Time, Evidence)> = Vec::new();
    for (code, words) in codes {
        for class in said(picture, code) {
            let count = class.count;
            let service = &class.service;
            let told = evidence(
                "error-log",
                Text::new(format!("{service} error log"), format!("{service} のエラーログ")),
                Text::new(format!("“{words}” ×{count}"), format!("「{words}」が {count} 件")),
                f64::from(count),
                Some(class.usual),
                "error_log",
            );
            all.push((class.first, told));
        }
    }
    let suffered = |kind: SymptomKind, what: &str| {
        kind == SymptomKind::Fall || kind == SymptomKind::Errors && what == "http.server_errors"
    };
    for symptom in picture.situation.symptoms.iter().filter(|s| suffered(s.kind, &s.what)) {
        // What began long before is another story's.
        if symptom.since + std::time::Duration::from_secs(120) >= since {
            let what = if symptom.kind == SymptomKind::Fall { "page-views" } else { "server-errors" };
            let (text, usual) = (symptom.text.clone(), symptom.usual);
            all.push((
                symptom.since,
                evidence(what, Text::default(), text, symptom.value, usual, "access_log"),
            ));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, told)| told).collect()
}

/// When it began: what was logged of it may be older than the first look.
pub(crate) fn since(picture: &Picture<'_>, codes: &[(&str, &'static str)], seen: Time) -> Time {
    let logged = codes.iter().flat_map(|(code, _)| said(picture, code)).map(|class| class.first);
    logged.chain([seen]).min().unwrap_or(seen)
}
