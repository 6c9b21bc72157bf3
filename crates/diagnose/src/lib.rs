//! Names the cause in one closed window: who holds the exhausted resource beyond what they usually hold, which
//! cause of the catalogue explains it, which look-alikes are ruled out by what number, and what can be done.
//!
//! The noun is the [`Diagnosis`]. Its only input is a [`Situation`]: nothing here does I/O or reads a clock.

mod attempts;
mod attribution;
mod backend;
pub mod causes;
mod course;
mod failures;
mod holdings;
mod picture;
mod remedies;
mod tell;
#[cfg(test)]
mod tests;
mod unclear;

pub use course::{Course, Turn, gather};
use toban_model::{Evidence, Finding, RuledOut, Situation, SymptomKind, Verdict};

use crate::causes::{Cause, Judged, Needs};
use crate::picture::Picture;

/// What the kernel said in the window, each with one sentence on what it means; the value is the time in seconds since the
/// epoch.
pub fn kernel_words(situation: &Situation) -> Vec<Evidence> {
    failures::kernel_words(situation)
}

/// Below this a cause is not named; "not clear" is a good answer.
pub const CONFIDENCE_MIN: f64 = 0.5;

/// What is the matter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagnosis {
    /// In one word.
    pub verdict: Verdict,
    /// The causes, ordered by how much of the incident they explain.
    pub findings: Vec<Finding>,
}

/// Judges one closed window.
pub fn diagnose(situation: &Situation) -> Diagnosis {
    let picture = Picture::new(situation);
    // Resource first: nothing used up, nothing killed, nothing falling is no incident, however odd a number looks.
    let saturated = picture.is_incident();
    let judged: Vec<_> = causes::ALL
        .iter()
        .filter(|cause| saturated || cause.needs == Needs::Nothing)
        .map(|cause| (cause, (cause.judge)(&picture)))
        .collect();
    let mut findings: Vec<Finding> = judged
        .iter()
        .filter_map(|(cause, outcome)| match outcome {
            Judged::Is(candidate) if candidate.confidence >= CONFIDENCE_MIN => {
                let ruled_out = ruled_out(cause, &judged);
                Some(tell::finding(&picture, cause, candidate, ruled_out))
            }
            _ => None,
        })
        .collect();
    in_order(&mut findings);
    number_remedies(&mut findings);
    let gravest = findings.iter().map(|finding| finding.verdict).max().unwrap_or_default();
    let symptoms = situation.symptoms.iter().map(|symptom| match symptom.kind {
        // Memory is short only as long as the kernel kills for it: `is_incident` looks at when.
        SymptomKind::Exhausted if symptom.what == "memory" => Verdict::Ok,
        SymptomKind::Exhausted | SymptomKind::Failed => Verdict::Incident,
        SymptomKind::High => Verdict::Watch,
        SymptomKind::Fall | SymptomKind::OomKill | SymptomKind::Errors => Verdict::Ok,
    });
    let of_saturation = if saturated { Verdict::Incident } else { Verdict::Ok };
    let verdict = symptoms.max().unwrap_or_default().max(gravest).max(of_saturation);
    if verdict == Verdict::Incident && findings.is_empty() {
        findings.extend(unclear::finding(&picture));
    }
    // Once, for the answer: what the kernel said in the window is read beside whatever is named.
    if let Some(first) = findings.first_mut() {
        let told = first.evidence.iter().any(|fact| fact.what == "kernel-word");
        first.evidence.extend(failures::kernel_words(situation).into_iter().filter(|_| !told));
    }
    Diagnosis { verdict, findings }
}

/// The answer first: what is exhausted or failed before what is only unusual, and the surest of them.
fn in_order(findings: &mut [Finding]) {
    findings.sort_by(|a, b| {
        b.verdict
            .cmp(&a.verdict)
            .then(b.confidence.total_cmp(&a.confidence))
            .then_with(|| a.cause.cmp(&b.cause))
    });
}

/// From 1 over the whole answer, so that each can be asked for by its number.
fn number_remedies(findings: &mut [Finding]) {
    for (id, remedy) in (1..).zip(findings.iter_mut().flat_map(|finding| &mut finding.remedies)) {
        remedy.id = id;
    }
}

/// The cause's look-alikes that said why they are not the one.
fn ruled_out(cause: &Cause, judged: &[(&Cause, Judged)]) -> Vec<RuledOut> {
    cause
        .rules_out
        .iter()
        .filter_map(|id| {
            let (_, outcome) = judged.iter().find(|(other, _)| other.id == *id)?;
            match outcome {
                Judged::Not(because) => Some(RuledOut { cause: (*id).to_owned(), because: because.clone() }),
                Judged::Is(_) | Judged::Unknown => None,
            }
        })
        .collect()
}
