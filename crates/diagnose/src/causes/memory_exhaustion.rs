//! `memory-exhaustion`: memory ran out, and nothing sharper explains why. It tells who holds it, and which limit was met.

use std::collections::BTreeMap;

use toban_model::{Culprit, CulpritKind, Evidence, MemoryHolder, Text, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "memory-exhaustion",
    about: Text::fixed("memory ran out", "メモリが不足しました"),
    rules_out: &["http-flood", "worker-limit"],
    needs: Needs::Saturation,
    judge,
};

fn judge(picture: &Picture<'_>) -> Judged {
    let kernel = &picture.situation.kernel;
    if kernel.oom.is_empty() {
        return Judged::Not(Text::fixed(
            "the kernel killed nothing for memory",
            "メモリ不足による強制終了はありません",
        ));
    }
    if let Some(group) = &picture.group {
        let held = group.held;
        return Judged::Not(Text::new(
            format!(
                "memory ran out because of the {held:.0} workers that the group holds: an effect, not the cause"
            ),
            format!("メモリ不足は、この集団が占有した {held:.0} ワーカーの結果であり、原因ではありません"),
        ));
    }
    let limit = matches!((super::worker_limit::CAUSE.judge)(picture), Judged::Is(_));
    if limit || super::memory_leak::ended(picture).is_some() {
        return Judged::Unknown;
    }
    let holder = holder(picture);
    Judged::Is(Candidate {
        confidence: if holder.is_some() { 0.75 } else { 0.6 },
        culprits: holder.map(|(holder, share)| culprit(holder, share)).into_iter().collect(),
        evidence: evidence(picture),
        summary: summary(picture, holder),
        advice: holder.map(|(holder, _)| advice(holder)).into_iter().collect(),
        ..Candidate::default()
    })
}

/// Of all that processes hold, who has this part has filled the memory …
const HOLDER_SHARE: f64 = 0.5;
/// … if nobody else comes near.
const AHEAD: f64 = 2.0;

/// Who filled the memory: far ahead of everybody else, and the kernel killed there too. A database may well hold most
/// of the memory by right; then others are killed.
fn holder<'a>(picture: &Picture<'a>) -> Option<(&'a MemoryHolder, f64)> {
    let activity = &picture.situation.activity;
    let held = &activity.crowd.memory;
    let all: f64 = held.iter().map(|holder| holder.private_bytes as f64).sum();
    let (first, second) = (held.first()?, held.get(1).map_or(0.0, |h| h.private_bytes as f64));
    let bytes = first.private_bytes as f64;
    let share = bytes / all.max(1.0);
    let killed = &picture.situation.kernel.oom;
    let hit = killed.iter().filter(|kill| kill.comm == first.largest.comm).count();
    let is_victim = hit * 2 > killed.len();
    let in_group = activity.killed_in.as_deref().is_some_and(|group| group.ends_with(&first.name));
    (share >= HOLDER_SHARE && bytes >= AHEAD * second && (is_victim || in_group)).then_some((first, share))
}

fn culprit(holder: &MemoryHolder, share: f64) -> Culprit {
    Culprit {
        kind: if holder.is_unit { CulpritKind::Unit } else { CulpritKind::Process },
        value: holder.name.clone(),
        share: (share * 100.0).round() / 100.0,
        r#where: Where::from([("processes".to_owned(), holder.processes.to_string())]),
        process: (!holder.is_unit).then(|| holder.largest.clone()),
    }
}

fn evidence(picture: &Picture<'_>) -> Vec<Evidence> {
    let activity = &picture.situation.activity;
    let mut out = Vec::new();
    let one = |holder: &MemoryHolder| {
        let (name, bytes, n) =
            (tell::clean(&holder.name), tell::bytes(holder.private_bytes as f64), holder.processes);
        if n == 1 { format!("{name} {bytes}") } else { format!("{name} {bytes} ({n})") }
    };
    let list: Vec<String> = activity.crowd.memory.iter().take(4).map(one).collect();
    if let Some(first) = activity.crowd.memory.first() {
        out.push(tell::evidence(
            "memory-held",
            Text::fixed("memory held now, by whom", "現在のメモリ使用元"),
            Text::new(list.join(" · "), list.join(" · ")),
            first.private_bytes as f64,
            None,
            "procfs",
        ));
    }
    let of_group = picture.situation.kernel.oom.iter().filter(|kill| kill.cgroup).count();
    let limit = match &activity.killed_in {
        Some(group) if of_group > 0 => {
            let group = tell::clean(group).into_owned();
            Some(Text::new(format!("that of the cgroup {group}"), format!("cgroup {group} の上限")))
        }
        _ if of_group > 0 => Some(Text::fixed("that of a cgroup", "cgroup の上限")),
        _ => Some(Text::fixed("the machine's whole memory", "マシン全体のメモリ")),
    };
    out.extend(limit.map(|text| {
        let label = Text::fixed("which limit was met", "到達した上限");
        tell::evidence("limit", label, text, of_group as f64, None, "kernel")
    }));
    out
}

fn advice(holder: &MemoryHolder) -> Text {
    let name = tell::clean(&holder.name);
    let pid = holder.largest.id.pid;
    if holder.is_unit {
        Text::new(
            format!(
                "look at what it holds (systemd-cgtop -m; systemctl status {name}), restart it, and give it a limit: systemctl set-property {name} MemoryMax=…"
            ),
            format!(
                "内訳を確認し(systemd-cgtop -m、systemctl status {name})、再起動のうえ上限を設けてください: systemctl set-property {name} MemoryMax=…"
            ),
        )
    } else {
        Text::new(
            format!("look at what the largest holds: grep -E 'Rss|Anon' /proc/{pid}/smaps_rollup"),
            format!("最大のプロセスの内訳を確認してください: grep -E 'Rss|Anon' /proc/{pid}/smaps_rollup"),
        )
    }
}

fn summary(picture: &Picture<'_>, holder: Option<(&MemoryHolder, f64)>) -> Text {
    let kernel = &picture.situation.kernel;
    let mut by_comm: BTreeMap<&str, u32> = BTreeMap::new();
    kernel.oom.iter().for_each(|k| *by_comm.entry(&k.comm).or_insert(0) += 1);
    let most = by_comm.iter().max_by_key(|(_, n)| **n).map_or("?", |(comm, _)| *comm);
    let most = tell::clean(most);
    let n = kernel.oom_count;
    if let Some((holder, share)) = holder {
        let (name, bytes) = (tell::clean(&holder.name), tell::bytes(holder.private_bytes as f64));
        let (processes, percent) = (holder.processes, share * 100.0);
        return Text::new(
            format!(
                "Memory ran out: the kernel killed {n} processes, most of them {most}. {name} holds {bytes} of it in {processes} processes, {percent:.0} % of all that processes hold."
            ),
            format!(
                "メモリが不足し、カーネルが {n} 個のプロセスを強制終了しました(多くは {most})。{name} が {processes} プロセスで {bytes}(プロセス全体の {percent:.0} %)を使用しています。"
            ),
        );
    }
    Text::new(
        format!(
            "Memory ran out: the kernel killed {n} processes, most of them {most}. What filled it is not clear."
        ),
        format!(
            "メモリが不足し、カーネルが {n} 個のプロセスを強制終了しました(多くは {most})。何がメモリを使い切ったかは不明です。"
        ),
    )
}
