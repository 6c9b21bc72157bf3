//! `fd-exhaustion`: a process, or the machine, can open no more files and sockets.
//!
//! Needs: a process at its RLIMIT_NOFILE, or the machine at `fs.file-max`. A server whose handles are the connections
//! of a group that holds its workers suffers that group, which is told instead.

use toban_model::{HandleHolder, Text, Time, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, share, shown};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "fd-exhaustion",
    about: Text::fixed(
        "a process, or the machine, can open no more files and sockets",
        "プロセスまたはシステム全体で、開けるファイル数の上限に達しています",
    ),
    rules_out: &["port-exhaustion"],
    needs: Needs::Nothing,
    judge,
};

const SAID: &[(&str, &str)] = &[("open-files", "Too many open files")];
/// A process with this part of the machine's handles has most of them.
const MOST: f64 = 0.5;
/// A leak is near its limit and goes on growing.
const NEAR: f64 = 0.9;
const GREW: f64 = 0.1;

fn judge(picture: &Picture<'_>) -> Judged {
    let found = &picture.situation.holdings;
    if picture.group.is_some() && picture.is_incident() {
        return Judged::Unknown;
    }
    let machine = holdings::resource(picture, "file-handles");
    if let Some((resource, seen)) = machine.and_then(|resource| Some((resource, resource.exhausted_since?))) {
        let all = resource.used;
        let first = found.handle_holders.iter().max_by_key(|holder| holder.used);
        let first = first.filter(|holder| holder.used as f64 >= MOST * all);
        let limit = resource.limit.unwrap_or(all);
        let (by_en, by_ja) = match first {
            Some(holder) => {
                let (owner, used) = (holdings::owner(&holder.owner), holder.used);
                (format!("{owner} has {used} of them."), format!("うち {used} 個は {owner} のものです。"))
            }
            None => ("Who has them is not clear.".into(), "どのプロセスのものかは不明です。".into()),
        };
        let since = holdings::since(picture, SAID, seen);
        let doubled = (limit * 2.0).round();
        return Judged::Is(Candidate {
            confidence: 0.95,
            culprits: first
                .iter()
                .map(|holder| holdings::process(picture, &holder.owner, share(holder.used as f64, all)))
                .collect(),
            evidence: found.handle_holders.iter().take(3).map(told).collect(),
            summary: Text::new(
                format!("The machine can open no more files: {all:.0} of {limit:.0} are open.\n{by_en}"),
                format!(
                    "システム全体で開けるファイル数の上限に達しています({limit:.0} のうち {all:.0})。\n{by_ja}"
                ),
            ),
            advice: first
                .map(|holder| holdings::restart(&holder.owner))
                .into_iter()
                .chain([Text::new(
                    format!("room until it is mended: sysctl -w fs.file-max={doubled:.0}"),
                    format!("応急処置として上限を上げてください: sysctl -w fs.file-max={doubled:.0}"),
                )])
                .collect(),
            since: Some(since),
            resource: Some(resource.clone()),
            effects: holdings::effects(picture, SAID, since),
            ..Candidate::default()
        });
    }
    let full = found.handle_holders.iter().filter_map(|holder| Some((holder.full_since?, holder)));
    if let Some((seen, holder)) = full.max_by_key(|(_, holder)| holder.used) {
        return Judged::Is(of_process(picture, holder, seen, Verdict::Incident));
    }
    let leaks = |holder: &&HandleHolder| {
        let (used, limit) = (holder.used as f64, holder.limit as f64);
        used >= NEAR * limit && holder.grown as f64 >= GREW * limit
    };
    if let Some(holder) = found.handle_holders.iter().find(leaks) {
        return Judged::Is(of_process(picture, holder, picture.situation.at, Verdict::Watch));
    }
    match found.handles {
        Some(handles) => {
            let (used, limit) = (handles.used, handles.limit);
            let near = found.handle_holders.first();
            let (near_en, near_ja) = near.map_or_else(
                || {
                    (
                        "no process is near its own limit".to_owned(),
                        "自身の上限に近いプロセスはありません".to_owned(),
                    )
                },
                |holder| {
                    let (comm, used, limit) =
                        (crate::tell::clean(&holder.owner.comm), holder.used, holder.limit);
                    (
                        format!("the nearest, {comm}, has {used} of {limit}"),
                        format!("最も近い {comm} で {limit} のうち {used}"),
                    )
                },
            );
            Judged::Not(Text::new(
                format!("{used} of {limit} files are open; {near_en}"),
                format!("開いているファイルは {limit} のうち {used}、{near_ja}"),
            ))
        }
        None => Judged::Unknown,
    }
}

fn told(holder: &HandleHolder) -> toban_model::Evidence {
    let (used, limit) = (holder.used, holder.limit);
    let (most_en, most_ja) = match &holder.mostly {
        Some((what, count)) => {
            let what = shown(what);
            (format!("; {count} of them {what}"), format!("、うち {count} は {what}"))
        }
        None => Default::default(),
    };
    let owner = holdings::owner(&holder.owner);
    evidence(
        "open-files",
        Text::new(format!("open files of {owner}"), format!("{owner} の開いているファイル")),
        Text::new(format!("{used} of {limit}{most_en}"), format!("{limit} のうち {used}{most_ja}")),
        used as f64,
        None,
        "procfs",
    )
}

fn of_process(picture: &Picture<'_>, holder: &HandleHolder, seen: Time, verdict: Verdict) -> Candidate {
    let (used, limit) = (holder.used, holder.limit);
    let (owner, pid) = (holdings::owner(&holder.owner), holder.owner.process.pid);
    let since = holdings::since(picture, SAID, seen);
    let (mostly_en, mostly_ja) = match holder.mostly.as_ref().map(|(what, count)| (what.as_str(), count)) {
        Some(("socket", count)) => {
            (format!("\n{count} of them are sockets."), format!("\nうち {count} 個はソケットです。"))
        }
        Some((what, count)) => {
            let what = shown(what);
            (format!("\n{count} of them are {what}."), format!("\nうち {count} 個は {what} です。"))
        }
        None => Default::default(),
    };
    let summary = if verdict == Verdict::Incident {
        Text::new(
            format!("{owner} can open no more files and connections: {used} of {limit} are open.{mostly_en}"),
            format!(
                "{owner} はこれ以上ファイルや接続を開けません。上限 {limit} のうち {used} を使用中です。{mostly_ja}"
            ),
        )
    } else {
        Text::new(
            format!("{owner} opens files and does not close them: {used} of {limit} are open.{mostly_en}"),
            format!(
                "{owner} の開いているファイルが増え続けています。上限 {limit} のうち {used} を使用中です。{mostly_ja}"
            ),
        )
    };
    let doubled = limit.saturating_mul(2);
    let mut advice = vec![
        Text::new(
            format!("see what is open: ls -l /proc/{pid}/fd | tail -n 30"),
            format!("開いているものを確認してください: ls -l /proc/{pid}/fd | tail -n 30"),
        ),
        Text::new(
            format!("room at once, without a restart: prlimit --pid {pid} --nofile={doubled}:{doubled}"),
            format!("再起動せずに上限を上げる場合: prlimit --pid {pid} --nofile={doubled}:{doubled}"),
        ),
    ];
    if let Some(unit) = &holder.owner.unit {
        let unit = holdings::quoted(unit);
        advice.push(Text::new(
            format!("for good, if it needs so many: systemctl edit {unit}, with LimitNOFILE={doubled} under [Service]"),
            format!("恒久的に必要な場合: systemctl edit {unit} で [Service] に LimitNOFILE={doubled} を設定してください"),
        ));
    }
    advice.push(holdings::restart(&holder.owner));
    Candidate {
        verdict,
        confidence: if verdict == Verdict::Watch {
            0.7
        } else if holdings::said(picture, "open-files").is_empty() {
            0.85
        } else {
            0.96
        },
        culprits: vec![holdings::process(picture, &holder.owner, share(used as f64, limit as f64))],
        evidence: vec![told(holder)],
        summary,
        advice,
        since: Some(since),
        resource: holdings::resource(picture, &format!("file-handles:{}", holder.owner.comm)).cloned(),
        effects: holdings::effects(picture, SAID, since),
        ..Candidate::default()
    }
}

#[cfg(test)]
mod tests {
    use toban_model::{CulpritKind, Handles, Owner, ProcessId, Situation};

    use super::*;
    use crate::diagnose;

    const NOW: Time = Time::from_secs(1_700_000_000);

    fn with(used: u64, full: bool, grown: u64) -> Situation {
        let mut situation = Situation { at: NOW, ..Situation::default() };
        situation.holdings.handles = Some(Handles { used: 4000, limit: 900_000 });
        situation.holdings.handle_holders.push(HandleHolder {
            owner: Owner {
                process: ProcessId { pid: 77, start_ticks: 5 },
                comm: "api".into(),
                unit: Some("api.service".into()),
            },
            used,
            limit: 1024,
            mostly: Some(("socket".into(), used - 20)),
            full_since: full.then_some(NOW),
            grown,
        });
        situation
    }

    #[test]
    fn a_process_at_its_limit_is_named_and_one_that_is_busy_is_not() {
        let found = diagnose(&with(1024, true, 0)).findings;
        let finding = &found[0];
        assert_eq!((finding.cause.as_str(), finding.verdict), ("fd-exhaustion", Verdict::Incident));
        let culprit = &finding.culprits[0];
        assert_eq!((culprit.kind, culprit.value.as_str()), (CulpritKind::Process, "api"));
        assert_eq!(culprit.process.as_ref().map(|process| process.id.pid), Some(77));
        assert!(finding.advice.iter().any(|text| text.en.contains("prlimit --pid 77 --nofile=2048:2048")));
        let leak = diagnose(&with(960, false, 300)).findings;
        assert_eq!(leak[0].verdict, Verdict::Watch);
        // A proxy that is used well.
        assert_eq!(diagnose(&with(960, false, 20)).findings, []);
    }
}
