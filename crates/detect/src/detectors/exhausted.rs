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
            // Where the limit is not known, the number is of those who found no room.
            let (en, ja) = resource.limit.map_or_else(Default::default, |limit| {
                let limit = limit / scale;
                (
                    format!(": {used:.0}{unit} of {limit:.0}{unit}"),
                    format!(": {limit:.0}{unit} のうち {used:.0}{unit}"),
                )
            });
            Some(Symptom {
                kind: SymptomKind::Exhausted,
                what: resource.name.clone(),
                text: Text::new(
                    format!("{} used up{en}", resource.name),
                    format!("{} を使い切っています{ja}", resource.name),
                ),
                value: resource.used,
                usual: resource.usual.map(|u| u[1]),
                since,
            })
        })
        .collect()
}
