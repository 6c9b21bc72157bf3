//! `host-hung`: the host stopped answering, nothing shut it down, and it was started again.

use toban_model::{Outage, Text, Verdict, Vital};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "host-hung",
    about: Text::fixed(
        "the host stopped answering and was not shut down in order",
        "サーバが応答しなくなり、正常なシャットダウンなしに停止しました",
    ),
    rules_out: &[],
    needs: Needs::Nothing,
    judge,
};

/// Vitals that are told one by one.
const VITALS_MAX: usize = 6;

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(outage) = &picture.situation.outage else { return Judged::Unknown };
    let first = outage.findings.first();
    let at = outage.last.as_secs();
    Judged::Is(Candidate {
        // It is over: the host is back, and what it does now is judged beside this.
        verdict: Verdict::Watch,
        confidence: if outage.vitals.is_empty() && first.is_none() { 0.6 } else { 0.8 },
        culprits: first.map(|finding| finding.culprits.clone()).unwrap_or_default(),
        evidence: outage.vitals.iter().take(VITALS_MAX).map(evidence).collect(),
        summary: summary(outage),
        since: Some(outage.last),
        effects: first.map(|finding| finding.effects.clone()).unwrap_or_default(),
        advice: vec![Text::new(
            format!("the moments before: toban why --at {at}, toban top --at {at}"),
            format!("停止直前の状況: toban why --at {at}、toban top --at {at}"),
        )],
        ..Candidate::default()
    })
}

fn summary(outage: &Outage) -> Text {
    let away = outage.boot.since(outage.last).as_secs();
    let (away_en, away_ja) = match away {
        0..=119 => (format!("{away} s"), format!("{away} 秒")),
        120..=7199 => (format!("{} min", away / 60), format!("{} 分", away / 60)),
        _ => (format!("{} h", away / 3600), format!("{} 時間", away / 3600)),
    };
    let (then_en, then_ja) = match outage.findings.first() {
        Some(finding) => {
            (format!("Shortly before: {}", finding.summary.en), format!("停止の直前: {}", finding.summary.ja))
        }
        None if outage.vitals.is_empty() => (
            "Until then every vital was as usual: think of power, hardware or the hypervisor.".to_owned(),
            "直前まで全バイタルが平常どおりでした。電源・ハードウェア・仮想化基盤の問題が考えられます。"
                .to_owned(),
        ),
        None => (
            "What was out of the usual in the minutes before is below; its cause is not clear.".to_owned(),
            "直前の数分間に平常時の範囲を外れていた項目を以下に示します。原因は断定できません。".to_owned(),
        ),
    };
    Text::new(
        format!(
            "This host stopped answering and was started again {away_en} later; nothing shut it down in order.\n{then_en}"
        ),
        format!(
            "サーバが応答しなくなり、{away_ja}後に再起動しました。正常なシャットダウンの記録はありません。\n{then_ja}"
        ),
    )
}

fn evidence(vital: &Vital) -> toban_model::Evidence {
    let (value, unit) = (vital.value, &vital.unit);
    let usual = vital.usual.filter(|usual| usual.seconds > 0);
    let (usual_en, usual_ja) = usual.map_or_else(Default::default, |usual| {
        (
            format!("; {:.1}–{:.1} is usual", usual.low, usual.high),
            format!("(平常時 {:.1}–{:.1})", usual.low, usual.high),
        )
    });
    tell::evidence(
        &vital.name,
        Text::new(vital.name.clone(), vital.name.clone()),
        Text::new(format!("{value:.1} {unit}{usual_en}"), format!("{value:.1} {unit}{usual_ja}")),
        value,
        usual.map(|usual| usual.high),
        "recording",
    )
}

#[cfg(test)]
mod tests {
    use toban_model::{Situation, Time, Usual, VitalState};

    use crate::diagnose;

    use super::*;

    #[test]
    fn the_last_minutes_are_told() {
        let vital = Vital {
            name: "memory.used".into(),
            value: 99.0,
            unit: "%".into(),
            usual: Some(Usual { low: 20.0, high: 61.0, seconds: 86_400 }),
            state: VitalState::High,
            since: None,
        };
        let (last, boot) = (Time::from_secs(1_700_000_000), Time::from_secs(1_700_001_300));
        let outage = Outage { last, boot, vitals: vec![vital], findings: vec![] };
        let situation =
            Situation { at: Time::from_secs(1_700_002_000), outage: Some(outage), ..Situation::default() };
        let diagnosis = diagnose(&situation);
        assert_eq!(diagnosis.verdict, Verdict::Watch);
        let finding = &diagnosis.findings[0];
        assert_eq!((finding.cause.as_str(), finding.since), ("host-hung", last));
        assert!(finding.summary.en.contains("21 min later"), "{}", finding.summary.en);
        assert_eq!(finding.evidence[0].text.en, "99.0 %; 20.0–61.0 is usual");
        assert!(diagnose(&Situation { outage: None, ..situation }).findings.is_empty());
    }
}
