//! `memory-exhaustion`: memory ran out, and nothing sharper explains why.

use std::collections::BTreeMap;

use toban_model::Text;

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
    if matches!((super::worker_limit::CAUSE.judge)(picture), Judged::Is(_)) {
        return Judged::Unknown;
    }
    Judged::Is(Candidate { confidence: 0.6, summary: summary(picture), ..Candidate::default() })
}

fn summary(picture: &Picture<'_>) -> Text {
    let kernel = &picture.situation.kernel;
    let mut by_comm: BTreeMap<&str, u32> = BTreeMap::new();
    kernel.oom.iter().for_each(|k| *by_comm.entry(&k.comm).or_insert(0) += 1);
    let most = by_comm.iter().max_by_key(|(_, n)| **n).map_or("?", |(comm, _)| *comm);
    let most = tell::clean(most);
    let n = kernel.oom_count;
    Text::new(
        format!(
            "Memory ran out: the kernel killed {n} processes, most of them {most}. What filled it is not clear."
        ),
        format!(
            "メモリが不足し、カーネルが {n} 個のプロセスを強制終了しました(多くは {most})。何がメモリを使い切ったかは不明です。"
        ),
    )
}
