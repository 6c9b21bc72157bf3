//! `hardware-error`: the kernel says that a disk, the memory, the processor or a card of this machine fails.
//!
//! Needs: the kernel's own words of the last minutes; of a file system that went read-only, of the last hour, since it
//! stays so. What hangs for it (tasks, load) is its effect.

use std::time::Duration;

use toban_model::{CulpritKind, KernelSaid, KernelWord, Text, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::named;
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "hardware-error",
    about: Text::fixed(
        "a disk, the memory or another part of the machine fails",
        "ディスクやメモリなどのハードウェアに障害が発生しています",
    ),
    rules_out: &[],
    needs: Needs::Nothing,
    judge,
};

const RECENT: Duration = Duration::from_secs(600);
const STAYS: Duration = Duration::from_secs(3600);
/// A module that had its errors corrected once is watched; more of them announce its end.
const CORRECTED_MIN: u32 = 3;

/// How grave a word is, and which part it is about.
fn part(word: &KernelWord) -> Option<(Verdict, String)> {
    Some(match word {
        KernelWord::IoError { device } | KernelWord::FilesystemError { device } => {
            // An empty drive says the same, and a loop is what it lies on.
            let virtual_or_empty = ["fd", "sr", "loop", "ram", "zram"].iter().any(|kind| {
                device.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            });
            if virtual_or_empty {
                return None;
            }
            (Verdict::Incident, device.clone())
        }
        KernelWord::DiskTimeout { device } => (Verdict::Incident, device.clone()),
        KernelWord::DiskLinkReset { port } => (Verdict::Watch, port.clone()),
        KernelWord::ReadOnly => (Verdict::Incident, "file system".into()),
        KernelWord::HardwareError => (Verdict::Incident, "processor or memory".into()),
        KernelWord::MemoryCorrected => (Verdict::Watch, "memory".into()),
        KernelWord::Thermal => (Verdict::Watch, "processor".into()),
        KernelWord::TransmitTimeout { interface } => (Verdict::Incident, interface.clone()),
        _ => return None,
    })
}

fn judge(picture: &Picture<'_>) -> Judged {
    let situation = picture.situation;
    let mut words: Vec<(&KernelSaid, Verdict, String)> = situation
        .kernel
        .said
        .iter()
        .filter_map(|said| {
            let (verdict, part) = part(&said.word)?;
            let lasts = if said.word == KernelWord::ReadOnly { STAYS } else { RECENT };
            let enough = said.word != KernelWord::MemoryCorrected || said.count >= CORRECTED_MIN;
            (situation.at.since(said.last) <= lasts && enough).then_some((said, verdict, part))
        })
        .collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(b.0.count.cmp(&a.0.count)).then(a.2.cmp(&b.2)));
    let Some((first, verdict, part)) = words.first() else {
        return Judged::Not(Text::fixed(
            "the kernel says nothing of failing hardware",
            "カーネルログにハードウェア障害の記録はありません",
        ));
    };
    let meaning = first.word.meaning().unwrap_or_default();
    let part = clean(part).into_owned();
    let count = first.count;
    let mut culprits: Vec<String> = words.iter().map(|(_, _, part)| clean(part).into_owned()).collect();
    culprits.dedup();
    let disk = matches!(
        first.word,
        KernelWord::IoError { .. }
            | KernelWord::FilesystemError { .. }
            | KernelWord::ReadOnly
            | KernelWord::DiskTimeout { .. }
            | KernelWord::DiskLinkReset { .. }
    );
    let advice = if disk {
        Text::new(
            format!(
                "save what matters now, then look at the disk: dmesg -T | grep -i error; smartctl -a /dev/{part}"
            ),
            format!(
                "まず重要なデータを退避し、ディスクを確認してください: dmesg -T | grep -i error; smartctl -a /dev/{part}"
            ),
        )
    } else {
        Text::fixed(
            "read the whole report and plan an exchange of the part: dmesg -T | grep -iE 'error|edac|mce|thermal'; on a virtual machine ask its provider",
            "記録全体を確認し、部品の交換を計画してください: dmesg -T | grep -iE 'error|edac|mce|thermal'。仮想マシンの場合は提供元に問い合わせてください",
        )
    };
    let hung = situation.kernel.said.iter().find(|said| matches!(said.word, KernelWord::HungTask { .. }));
    Judged::Is(Candidate {
        verdict: *verdict,
        confidence: if *verdict == Verdict::Incident { 0.92 } else { 0.8 },
        culprits: culprits.into_iter().map(|part| named(CulpritKind::File, part)).collect(),
        evidence: words
            .iter()
            .map(|(said, _, part)| {
                let (times, part, id) = (said.count, clean(part), said.word.id().unwrap_or("?"));
                evidence(
                    "kernel-word",
                    Text::new(format!("kernel: {id}"), format!("カーネル: {id}")),
                    Text::new(format!("×{times} ({part})"), format!("{times} 件({part})")),
                    said.last.as_secs_f64(),
                    None,
                    "kernel",
                )
            })
            .collect(),
        summary: Text::new(
            format!("{part}: the kernel reports failing hardware ×{count}. {}", meaning.en),
            format!("{part}: カーネルがハードウェア障害を {count} 件報告しています。{}", meaning.ja),
        ),
        advice: vec![advice],
        since: words.iter().map(|(said, ..)| said.first).min(),
        effects: hung
            .into_iter()
            .map(|said| {
                let times = said.count;
                evidence(
                    "hung-tasks",
                    Text::default(),
                    Text::new(
                        format!("processes waited for minutes in the kernel ×{times}"),
                        format!("プロセスがカーネル内で数分間待たされました({times} 件)"),
                    ),
                    f64::from(times),
                    Some(0.0),
                    "kernel",
                )
            })
            .collect(),
        ..Candidate::default()
    })
}
