//! `worker-limit`: the limit itself is wrong for the memory: all workers together need more than there is.
//!
//! Needs: the kernel killed for memory, or memory is used up; workers × what each takes exceeds it; nobody stands out.

use toban_model::Text;

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "worker-limit",
    about: Text::fixed(
        "the worker limit is too high for the memory",
        "ワーカー数の上限がメモリに対して大きすぎます",
    ),
    rules_out: &["http-flood", "memory-exhaustion"],
    needs: Needs::Saturation,
    judge,
};

fn judge(picture: &Picture<'_>) -> Judged {
    if picture.group.is_some() {
        return Judged::Unknown;
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
        ..Candidate::default()
    })
}

fn summary(picture: &Picture<'_>) -> Text {
    let limit = picture.server.and_then(|s| s.limit).unwrap_or(0);
    Text::new(
        format!("Memory ran out: {limit} workers are allowed, and together they need more than there is."),
        format!("メモリが不足しました。上限 {limit} のワーカーがすべて動くと、搭載メモリを超えます。"),
    )
}
