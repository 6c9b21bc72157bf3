//! `worker-limit`: the limit itself is wrong: all workers together need more memory than there is, or a pool has too few
//! children for its usual pages.
//!
//! Needs, of too high a limit: the kernel killed for memory; workers × what each takes exceeds it; nobody stands out. Of
//! too low a one: every child is busy and pages queue for one, each page takes as long as usual, there is room for more
//! children in memory and on the processors, and nobody stands out.

use toban_model::{Culprit, CulpritKind, Text, Waiting, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

/// With more work than this the processors are what is short, in percent.
const CPU_MAX: f64 = 80.0;

pub(super) const CAUSE: Cause = Cause {
    id: "worker-limit",
    about: Text::fixed(
        "the worker limit is too high for the memory, or too low for the visitors",
        "ワーカー数の上限がメモリに対して大きすぎるか、訪問者数に対して小さすぎます",
    ),
    rules_out: &["http-flood", "memory-exhaustion", "slow-backend", "flash-crowd"],
    needs: Needs::Saturation,
    judge,
};

fn judge(picture: &Picture<'_>) -> Judged {
    if picture.group.is_some() {
        return Judged::Unknown;
    }
    if let Some(candidate) = too_few(picture) {
        return Judged::Is(candidate);
    }
    let Some(needed) = picture.memory_if_full() else { return Judged::Unknown };
    let memory = picture.situation.host.memory_bytes as f64;
    if memory <= 0.0 || needed < memory {
        return Judged::Not(Text::new(
            format!("all workers together need {:.0} % of the memory", needed / memory.max(1.0) * 100.0),
            format!("全ワーカーが必要とするメモリは全体の {:.0} % です", needed / memory.max(1.0) * 100.0),
        ));
    }
    if picture.situation.kernel.oom.is_empty() {
        return Judged::Unknown;
    }
    Judged::Is(Candidate {
        confidence: 0.75,
        culprits: Vec::new(),
        evidence: vec![tell::evidence(
            "memory-if-full",
            Text::fixed("memory if all workers are used", "全ワーカー使用時のメモリ"),
            Text::new(
                format!("{:.0} MB needed, {:.0} MB there", needed / 1e6, memory / 1e6),
                format!("必要 {:.0} MB、搭載 {:.0} MB", needed / 1e6, memory / 1e6),
            ),
            needed,
            Some(memory),
            "procfs",
        )],
        summary: summary(picture),
        advice: fitting(picture, needed / memory).into_iter().collect(),
        ..Candidate::default()
    })
}

/// Of the memory, what workers may have at most: the system and its caches need the rest.
const FOR_WORKERS: f64 = 0.8;

/// The limit that would fit, where now `over` times the memory would be needed.
fn fitting(picture: &Picture<'_>, over: f64) -> Option<Text> {
    let limit = (f64::from(picture.server?.limit?) / over * FOR_WORKERS).floor();
    let (service, from) = (picture.service?, picture.service?.worker_limit_from.as_deref()?);
    let (id, from) = (&service.id, tell::clean(from));
    (limit >= 1.0).then(|| {
        Text::new(
            format!("lower the limit to {limit:.0} ({from}) and restart {id}: so many have room; or make each smaller"),
            format!("上限を {limit:.0} に下げて({from})、{id} を再起動してください。メモリに収まるのはこの数までです。1 ワーカーあたりの使用量を減らす方法もあります"),
        )
    })
}

fn summary(picture: &Picture<'_>) -> Text {
    let limit = picture.server.and_then(|s| s.limit).unwrap_or(0);
    Text::new(
        format!("Memory ran out: {limit} workers are allowed, and together they need more than there is."),
        format!("メモリが不足しました。上限 {limit} のワーカーがすべて動くと、搭載メモリを超えます。"),
    )
}

/// So many times the usual requests are no usual pages, though who sends them is not known yet.
const CROWD_RATIO: f64 = 3.5;

/// A pool whose children are all busy with usual pages, while the host is not.
fn too_few(picture: &Picture<'_>) -> Option<Candidate> {
    let backend = picture.backend.as_ref().filter(|pool| pool.is_as_usual() && pool.is_queued_for())?;
    let (service, limit) = (&backend.view.service, backend.view.limit?);
    let crowd = matches!((super::flash_crowd::CAUSE.judge)(picture), Judged::Is(_))
        || picture.throughput_ratio().is_some_and(|ratio| ratio >= CROWD_RATIO);
    let vital = |name: &str| picture.situation.vitals.iter().find(|v| v.name == name).map(|v| v.value);
    let cpu = vital("cpu.busy")?;
    let busy: Vec<f64> = backend
        .view
        .workers
        .iter()
        .filter(|w| w.waiting != Waiting::Idle)
        .map(|w| w.rss_bytes as f64)
        .collect();
    let each = busy.iter().sum::<f64>() / busy.len().max(1) as f64;
    let total = picture.situation.host.memory_bytes as f64;
    let free = total * (1.0 - vital("memory.used")? / 100.0);
    let queued = backend.view.queue_len;
    // Twice as many must fit.
    let fits = each > 0.0 && f64::from(limit) * each < free * 0.8;
    let room = cpu < CPU_MAX && fits && picture.situation.kernel.oom.is_empty();
    if crowd || !room || picture.spread.is_some() {
        return None;
    }
    let (held, usual, now) = (backend.held_s, backend.usual_s, backend.now_s);
    let from = picture.situation.host.services.iter().find(|s| s.id == *service);
    let from = from.and_then(|s| s.worker_limit_from.clone()).unwrap_or_else(|| "pm.max_children".into());
    let (from, doubled) = (tell::clean(&from).into_owned(), limit.saturating_mul(2));
    let (en, ja) = tell::exhaustion(picture);
    Some(Candidate {
        confidence: 0.8,
        culprits: vec![Culprit {
            kind: CulpritKind::Upstream,
            value: service.clone(),
            share: 1.0,
            r#where: Where::from([("limit".to_owned(), limit.to_string())]),
            process: None,
        }],
        evidence: vec![
            tell::evidence(
                "pages-queued",
                Text::fixed("pages that wait for a child", "子プロセス待ちのページ"),
                Text::new(
                    format!("{queued} wait, all {limit} children are busy"),
                    format!("{queued} 件が待機中。子プロセスは {limit} のすべてが使用中"),
                ),
                f64::from(queued),
                None,
                "sock_diag",
            ),
            tell::evidence(
                "held-per-page",
                Text::fixed("how long a page has held its child", "1 ページの子プロセス占有時間"),
                Text::new(
                    format!(
                        "mean {held:.2} s so far; with the queue a page takes {now:.2} s, {usual:.2} s is usual"
                    ),
                    format!(
                        "現在まで平均 {held:.2} 秒。待ち時間を含めると 1 ページ {now:.2} 秒(平常時 {usual:.2} 秒)"
                    ),
                ),
                held,
                Some(usual),
                "sock_diag",
            ),
        ],
        summary: Text::new(
            format!(
                "{en}\n{service} may have {limit} children, and all are busy with usual pages; CPU ({cpu:.0} %) and memory have room for more."
            ),
            format!(
                "{ja}\n{service} の子プロセスは上限 {limit} のすべてが通常のページで使用中です。CPU({cpu:.0} %)とメモリには余裕があります。"
            ),
        ),
        advice: vec![Text::new(
            format!(
                "raise the limit, to {doubled} for instance ({from}), and restart {service}: one child takes {}",
                tell::bytes(each)
            ),
            format!(
                "上限を引き上げ(例: {doubled}、設定元: {from})、{service} を再起動してください。子プロセス 1 つのメモリは {} です",
                tell::bytes(each)
            ),
        )],
        ..Candidate::default()
    })
}
