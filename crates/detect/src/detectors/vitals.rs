//! `vitals`: a number of the host stands above its usual.

use toban_model::{Situation, Symptom, SymptomKind, Text, VitalState};

use super::Detector;

pub(super) const DETECTOR: Detector = Detector {
    id: "vitals",
    about: Text::fixed("a vital is above its usual", "バイタルが平常時の範囲を超えています"),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    situation
        .vitals
        .iter()
        .filter(|vital| vital.state == VitalState::High)
        .map(|vital| Symptom {
            kind: SymptomKind::High,
            what: vital.name.clone(),
            text: Text::new(
                format!("{} is {:.1} {}", vital.name, vital.value, vital.unit),
                format!("{} が {:.1} {} です", vital.name, vital.value, vital.unit),
            ),
            value: vital.value,
            usual: vital.usual.map(|u| u.high),
            since: situation.at,
        })
        .collect()
}
