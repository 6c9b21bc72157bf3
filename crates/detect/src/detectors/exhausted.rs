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
            // Memory and disks are told in MB, workers in numbers.
            let is_bytes = resource.name == "memory" || resource.name.starts_with("disk:");
            let (scale, unit) = if is_bytes { (1e6, " MB") } else { (1.0, "") };
            let used = resource.used / scale;
            let limit = resource.limit.map_or("?".to_owned(), |l| format!("{:.0}{unit}", l / scale));
            Some(Symptom {
                kind: SymptomKind::Exhausted,
                what: resource.name.clone(),
                text: Text::new(
                    format!("{} used up: {used:.0}{unit} of {limit}", resource.name),
                    format!("{} を使い切っています: {limit} のうち {used:.0}{unit}", resource.name),
                ),
                value: resource.used,
                usual: resource.usual.map(|u| u[1]),
                since,
            })
        })
        .collect()
}
