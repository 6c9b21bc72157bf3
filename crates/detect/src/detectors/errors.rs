//! `errors`: a server says things that it usually does not say.

use std::time::Duration;

use toban_model::{Situation, Symptom, SymptomKind, Text};

use super::Detector;

/// A handful of lines is everyday noise.
const COUNT_MIN: u32 = 5;
/// Below so much history nothing is known to be usual.
const SECONDS_MIN: f64 = 30.0;
const TIMES_USUAL: f64 = 5.0;

pub(super) const DETECTOR: Detector = Detector {
    id: "errors",
    about: Text::fixed("errors that are unusual here", "平常時にはないエラーが出ています"),
    detect,
};

fn detect(situation: &Situation) -> Vec<Symptom> {
    let logged = situation
        .errors
        .iter()
        .filter(|e| e.count >= COUNT_MIN && f64::from(e.count) > e.usual * TIMES_USUAL)
        .map(|e| Symptom {
            kind: SymptomKind::Errors,
            what: format!("{}:{}", e.service, e.code),
            text: Text::new(
                format!("{} says {} ×{}", e.service, e.code, e.count),
                format!("{} のログに {} が {} 件あります", e.service, e.code, e.count),
            ),
            value: f64::from(e.count),
            usual: Some(e.usual),
            since: e.first,
        });
    let answered = situation
        .traffic
        .iter()
        .filter(|t| t.server_errors.now > (t.server_errors.usual * 3.0).max(1.0))
        .filter_map(|t| {
            // Where no usual time is known, a fifth of all answers is too much on any server.
            let since = t.onset.or_else(|| {
                let unknown = t.usual.seconds < SECONDS_MIN && t.server_errors.now > t.requests.now * 0.2;
                unknown.then(|| t.last_line.unwrap_or(situation.at) - Duration::from_secs_f64(t.now.seconds))
            })?;
            Some(Symptom {
                kind: SymptomKind::Errors,
                what: "http.server_errors".into(),
                text: Text::new(
                    format!("{:.1} answers of 500 and above a second", t.server_errors.now),
                    format!("500 番台の応答が毎秒 {:.1} 件あります", t.server_errors.now),
                ),
                value: t.server_errors.now,
                usual: Some(t.server_errors.usual),
                since,
            })
        });
    logged.chain(answered).collect()
}
