//! `exhausted`: something finite is used up.

use toban_model::{Situation, Symptom, SymptomKind, Text};

use super::Detector;

pub(super) const DETECTOR: Detector = Detector {
    id: "exhausted",
    about: Text::fixed("a resource is used up", "資源を使い切っています"),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    situation
        .resources
        .iter()
        .filter_map(|resource| {
            let since = resource.exhausted_since?;
            let limit = resource.limit.map_or("?".to_owned(), |l| format!("{l:.0}"));
            Some(Symptom {
                kind: SymptomKind::Exhausted,
                what: resource.name.clone(),
                text: Text::new(
                    format!("{} used up: {:.0} of {limit}", resource.name, resource.used),
                    format!("{} を使い切っています: {limit} のうち {:.0}", resource.name, resource.used),
                ),
                value: resource.used,
                usual: resource.usual.map(|u| u[1]),
                since,
            })
        })
        .collect()
}
