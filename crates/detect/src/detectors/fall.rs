//! `fall`: fewer page views than usual. Nothing is red on a graph of errors when nobody gets through at all.

use toban_model::{Situation, Symptom, SymptomKind, Text};

use super::Detector;

/// Below this part of the usual it is a fall.
const PART: f64 = 0.5;
/// A site with fewer page views a second than this falls to nothing by chance.
const RATE_MIN: f64 = 0.5;
/// At least so much usual time must be known.
const SECONDS_MIN: f64 = 60.0;

pub(super) const DETECTOR: Detector = Detector {
    id: "fall",
    about: Text::fixed("fewer page views than usual", "ページビューが平常時より減っています"),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    situation
        .traffic
        .iter()
        .filter(|t| t.usual.seconds >= SECONDS_MIN && t.pages_ok.usual >= RATE_MIN)
        .filter_map(|t| {
            let (now, usual) = (t.pages_ok.now, t.pages_ok.usual);
            let since = t.onset?;
            (now < usual * PART).then(|| Symptom {
                kind: SymptomKind::Fall,
                what: "http.pages_ok".into(),
                text: Text::new(
                    format!("page views fell from {usual:.1} to {now:.1} a second"),
                    format!("ページビューが毎秒 {usual:.1} 件から {now:.1} 件に減りました"),
                ),
                value: now,
                usual: Some(usual),
                since,
            })
        })
        .collect()
}
