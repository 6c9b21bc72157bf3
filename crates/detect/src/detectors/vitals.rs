//! `vitals`: a number of the host has stood above its usual for minutes. Where nothing is known of the host, a number
//! that is sane on none is told at once.

use toban_model::{Situation, Symptom, SymptomKind, Text, Time, Vital, VitalState};

use super::Detector;

pub(super) const DETECTOR: Detector = Detector {
    id: "vitals",
    about: Text::fixed("a vital is above its usual", "バイタルが平常時の範囲を超えています"),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    let symptom = |vital: &Vital, since: Time| Symptom {
        kind: SymptomKind::High,
        what: vital.name.clone(),
        text: Text::new(
            format!("{} is {:.1} {}", vital.name, vital.value, vital.unit),
            format!("{} が {:.1} {} です", vital.name, vital.value, vital.unit),
        ),
        value: vital.value,
        usual: vital.usual.map(|u| u.high),
        since,
    };
    let unknown = |vital: &Vital| vital.usual.is_some_and(|usual| usual.seconds == 0);
    let since = |vital: &Vital| vital.since.or(unknown(vital).then_some(situation.at));
    let high = situation.vitals.iter().filter(|vital| vital.state == VitalState::High);
    high.filter_map(|vital| Some(symptom(vital, since(vital)?))).collect()
}
