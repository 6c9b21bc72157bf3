//! `memory-leak`: the memory of one process or unit grows with time, and nothing that it does explains it.
//!
//! Needs: hours in which it grew on a line, in each quarter of them, with as many processes as before and no more
//! requests. A cache that fills flattens out; workers that become more take more; traffic takes more. Or, where memory
//! ended before that: minutes in which one process grew in the same way until the kernel killed it or one like it. A job
//! that grows from its start may just need more than there is.

use std::time::Duration;

use toban_model::{Culprit, CulpritKind, Evidence, Growth, NamedProcess, ResourceUse, Text, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell::{self, clean};

pub(super) const CAUSE: Cause = Cause {
    id: "memory-leak",
    about: Text::fixed(
        "the memory of a process grows steadily without more work",
        "処理量が増えていないのに、プロセスのメモリが増え続けています",
    ),
    rules_out: &["worker-limit"],
    needs: Needs::Nothing,
    judge,
};

/// Of the host's memory: less is no matter for days.
const OF_MEMORY_MIN: f64 = 0.03;
/// Of what it held at first.
const OF_ITSELF_MIN: f64 = 0.15;
const STRAIGHT_MIN: f64 = 0.85;
/// Each quarter brings at least this part of the growth; an even one brings a fourth.
const QUARTER_MIN: f64 = 0.1;
/// A unit of many shares pages among them that are counted for each, so more is asked of it.
const STRAIGHT_OF_MANY: f64 = 0.95;
const SPAN_OF_MANY: Duration = Duration::from_secs(6 * 3600);
const PROCESSES_RATIO_MAX: f64 = 1.2;

/// Of the memory that ended, where it ended within minutes.
const OF_ENDED_MIN: f64 = 0.3;
/// It had run so long before it grew.
const RAN_BEFORE: Duration = Duration::from_secs(30);
/// As much more traffic may well take more memory.
const TRAFFIC_MAX: f64 = 1.5;

/// Who grew until the memory ended, and how often the kernel killed one of its name.
pub(super) fn ended<'a>(picture: &Picture<'a>) -> Option<(&'a Growth, usize)> {
    let situation = picture.situation;
    let kernel = &situation.kernel;
    let limit = kernel.reports.last().and_then(|report| report.limit_bytes).unwrap_or(u64::MAX);
    let memory = situation.host.memory_bytes.min(limit) as f64;
    // What a server's workers take is a matter of their number and of what is asked of them.
    let is_worker = |name: &str| {
        let limited = situation.servers.iter().filter(|view| view.limit.is_some());
        let mut services = limited
            .filter_map(|view| situation.host.services.iter().find(|service| service.id == view.service));
        services.any(|service| service.exe.file_name().is_some_and(|exe| exe == name))
    };
    if picture.group.is_some() || picture.throughput_ratio().is_some_and(|ratio| ratio >= TRAFFIC_MAX) {
        return None;
    }
    situation.activity.growing_soon.iter().find_map(|growth| {
        let kills = kernel.oom.iter().filter(|kill| kill.comm == growth.name).count();
        let started = growth.process?.started(situation.host.boot);
        let ran = growth.from.since(started) >= RAN_BEFORE;
        let much = growth.bytes[1] - growth.bytes[0] >= OF_ENDED_MIN * memory;
        let is = kills > 0 && ran && much && is_leak(growth, memory) && !is_worker(&growth.name);
        is.then_some((growth, kills))
    })
}

fn soon(growth: &Growth, kills: usize, picture: &Picture<'_>) -> Candidate {
    let memory = picture.situation.host.memory_bytes as f64;
    let (span_en, span_ja) = tell::lasted(growth.to.since(growth.from));
    let (by, to) = (tell::bytes(growth.bytes[1] - growth.bytes[0]), tell::bytes(growth.bytes[1]));
    let name = clean(&growth.name);
    let culprit = culprit(picture, growth);
    let pid = culprit.process.as_ref().map_or(0, |process| process.id.pid);
    Candidate {
        verdict: Verdict::Incident,
        confidence: if kills > 1 { 0.85 } else { 0.75 },
        culprits: vec![culprit],
        evidence: vec![
            quarters(growth, "procfs"),
            tell::evidence(
                "killed",
                Text::fixed("killed by the kernel for memory", "メモリ不足による強制終了"),
                Text::new(format!("{name} ×{kills}"), format!("{name} {kills} 回")),
                kills as f64,
                None,
                "kernel",
            ),
        ],
        summary: Text::new(
            format!(
                "Memory ran out: {name} (pid {pid}) had grown by {by} to {to} within {span_en}, steadily and without more work."
            ),
            format!(
                "メモリが不足しました。{name}(pid {pid})のメモリが {span_ja}で {by} 増え、{to} になりました。処理量は増えておらず、一定の速さで増え続けていました。"
            ),
        ),
        advice: vec![Text::fixed(
            "find what it keeps; until then give it a limit of its own, so that it alone ends and is started again: systemctl set-property UNIT MemoryMax=…, Restart=on-failure",
            "解放されていないデータを特定してください。それまでは専用の上限を設け、そのプロセスだけが終了して再起動されるようにしてください: systemctl set-property UNIT MemoryMax=…、Restart=on-failure",
        )],
        since: Some(growth.from),
        resource: Some(ResourceUse {
            name: "memory".into(),
            used: growth.bytes[1].min(memory),
            limit: Some(memory),
            usual: None,
            exhausted_since: Some(growth.to),
            limit_from: None,
        }),
        ..Candidate::default()
    }
}

fn quarters(growth: &Growth, source: &'static str) -> Evidence {
    let quarters: Vec<String> = growth.quarters.iter().map(|bytes| tell::bytes(*bytes)).collect();
    tell::evidence(
        "growth",
        Text::fixed("growth in each quarter of the time", "期間を 4 等分した増加量"),
        Text::new(quarters.join(", "), quarters.join("、")),
        growth.bytes[1] - growth.bytes[0],
        None,
        source,
    )
}

fn judge(picture: &Picture<'_>) -> Judged {
    if let Some((growth, kills)) = ended(picture) {
        return Judged::Is(soon(growth, kills, picture));
    }
    let situation = picture.situation;
    let memory = situation.host.memory_bytes as f64;
    let growing = &situation.activity.growing;
    let Some(most) = growing.first() else { return Judged::Unknown };
    let Some(leak) = growing.iter().find(|growth| is_leak(growth, memory)) else {
        let name = clean(&most.name);
        let grown = tell::bytes(most.bytes[1] - most.bytes[0]);
        return Judged::Not(Text::new(
            format!("{name} grew most, by {grown}, and not steadily or with its work"),
            format!("最も増えたのは {name}({grown})ですが、一定の増加ではないか、処理量に応じた増加です"),
        ));
    };
    // One process may be most of what its unit grew by: then it is the one.
    let grown = |growth: &Growth| growth.bytes[1] - growth.bytes[0];
    let process = growing
        .iter()
        .find(|other| other.process.is_some() && grown(other) >= 0.7 * grown(leak) && is_leak(other, memory));
    let span = leak.to.since(leak.from);
    let per_s = grown(leak) / span.as_secs_f64().max(1.0);
    let vital = |name: &str| situation.vitals.iter().find(|v| v.name == name).map(|v| v.value);
    let available = vital("memory.available");
    let used = vital("memory.used");
    let exhausted = used.is_some_and(|used| used >= 90.0) || !situation.kernel.oom.is_empty();
    let hours = span.as_secs_f64() / 3600.0;
    // Where requests come in and nobody knows how many came then, they may have become more.
    let unknown = leak.requests_ratio.is_none() && !situation.traffic.is_empty();
    let confidence = (0.6 + (hours - 2.0) * 0.03).min(0.9) - if unknown { 0.15 } else { 0.0 };
    let (span_en, span_ja) = tell::lasted(span);
    let (by, to) = (tell::bytes(grown(leak)), tell::bytes(leak.bytes[1]));
    let name = clean(&leak.name);
    let (end_en, end_ja) = match available.filter(|_| per_s > 0.0) {
        Some(bytes) => {
            let (en, ja) = tell::lasted(Duration::from_secs_f64((bytes / per_s).clamp(0.0, 1e9)));
            (
                format!(" At this pace the memory lasts {en} more."),
                format!("このままでは約 {ja}でメモリを使い切ります。"),
            )
        }
        None => (String::new(), String::new()),
    };
    let mut evidence = vec![quarters(leak, "record")];
    if let Some(ratio) = leak.requests_ratio {
        evidence.push(tell::evidence(
            "requests",
            Text::fixed("requests meanwhile", "同じ期間のリクエスト数"),
            Text::new(format!("× {ratio:.2}"), format!("{ratio:.2} 倍")),
            ratio,
            Some(1.0),
            "access_log",
        ));
    }
    let culprit = culprit(picture, process.unwrap_or(leak));
    let advice = match (&culprit.process, culprit.kind) {
        (_, CulpritKind::Unit) => Text::new(
            format!(
                "restart it at a quiet hour before the memory ends: systemctl restart {name}; a limit makes it the only victim: systemctl set-property {name} MemoryMax=…"
            ),
            format!(
                "メモリが尽きる前に、利用の少ない時間帯に再起動してください: systemctl restart {name}。上限を設ければ影響を限定できます: systemctl set-property {name} MemoryMax=…"
            ),
        ),
        (Some(process), _) => {
            let pid = process.id.pid;
            Text::new(
                format!(
                    "restart it at a quiet hour before the memory ends; what it holds: grep -E 'Rss|Anon' /proc/{pid}/smaps_rollup"
                ),
                format!(
                    "メモリが尽きる前に、利用の少ない時間帯に再起動してください。内訳: grep -E 'Rss|Anon' /proc/{pid}/smaps_rollup"
                ),
            )
        }
        (None, _) => Text::fixed(
            "restart it at a quiet hour before the memory ends",
            "メモリが尽きる前に、利用の少ない時間帯に再起動してください",
        ),
    };
    Judged::Is(Candidate {
        verdict: if exhausted { Verdict::Incident } else { Verdict::Watch },
        confidence,
        culprits: vec![culprit],
        evidence,
        summary: Text::new(
            format!(
                "The memory of {name} has grown by {by} to {to} within {span_en}, steadily and without more work.{end_en}"
            ),
            format!(
                "{name} のメモリが {span_ja}で {by} 増え、{to} になりました。処理量は増えておらず、一定の速さで増え続けています。{end_ja}"
            ),
        ),
        advice: vec![advice],
        since: Some(leak.from),
        resource: used.map(|used| ResourceUse {
            name: "memory".into(),
            used: (used / 100.0 * memory).round(),
            limit: Some(memory),
            usual: None,
            exhausted_since: None,
            limit_from: None,
        }),
        ..Candidate::default()
    })
}

fn is_leak(growth: &Growth, memory: f64) -> bool {
    let grown = growth.bytes[1] - growth.bytes[0];
    let is_even = growth.quarters.iter().all(|quarter| *quarter >= QUARTER_MIN * grown);
    let of_many = growth.process.is_none() && growth.processes_ratio != 1.0;
    let enough = growth.straight >= if of_many { STRAIGHT_OF_MANY } else { STRAIGHT_MIN };
    let long = !of_many || growth.to.since(growth.from) >= SPAN_OF_MANY;
    // As much more traffic as memory is work, not a leak.
    let by_work = growth.requests_ratio.is_some_and(|ratio| {
        let memory_ratio = growth.bytes[1] / growth.bytes[0].max(1.0);
        ratio >= 1.0 + 0.5 * (memory_ratio - 1.0) && ratio >= 1.2
    });
    grown >= OF_MEMORY_MIN * memory
        && grown >= OF_ITSELF_MIN * growth.bytes[0]
        && is_even
        && enough
        && long
        && growth.processes_ratio <= PROCESSES_RATIO_MAX
        && !by_work
}

fn culprit(picture: &Picture<'_>, growth: &Growth) -> Culprit {
    let holders = &picture.situation.activity.crowd.memory;
    let boot = picture.situation.host.boot;
    let process = growth.process.map(|id| {
        let known = holders.iter().find(|holder| holder.largest.id == id).map(|h| h.largest.clone());
        known.unwrap_or_else(|| NamedProcess {
            command: growth.command.clone(),
            ..NamedProcess::known_by(id, &growth.name, boot)
        })
    });
    Culprit {
        kind: if process.is_some() { CulpritKind::Process } else { CulpritKind::Unit },
        value: growth.name.clone(),
        share: 1.0,
        r#where: Where::new(),
        process,
    }
}
