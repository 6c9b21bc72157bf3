//! `oom-kill`: the kernel killed processes for memory. Kills are counted, not reports: reports are rate-limited.

use toban_model::{Situation, Symptom, SymptomKind, Text};

use super::Detector;

pub(super) const DETECTOR: Detector = Detector {
    id: "oom-kill",
    about: Text::fixed(
        "the kernel killed processes for memory",
        "メモリ不足のためカーネルがプロセスを強制終了しました",
    ),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    let kernel = &situation.kernel;
    let Some(first) = kernel.oom.first() else { return Vec::new() };
    let n = kernel.oom_count;
    vec![Symptom {
        kind: SymptomKind::OomKill,
        what: first.comm.clone(),
        text: Text::new(
            format!("the kernel killed {n} processes for memory ({})", first.comm),
            format!("メモリ不足のためカーネルが {n} 個のプロセスを強制終了しました({})", first.comm),
        ),
        value: f64::from(n),
        usual: Some(f64::from(kernel.oom_usual)),
        since: first.at,
    }]
}
