//! Shows what was found: the same model values as JSON for scripts ([`json`]) and as text for people ([`text`]), in
//! English and Japanese.
//!
//! Everything here is a pure function from model values to a string. The zone, the width and whether colour is wanted
//! are arguments; nothing is read from the environment and nothing is decided. Whatever a stranger wrote (a path, a
//! method) is made harmless before it reaches a terminal.

mod agent;
mod format;
pub mod json;
mod layout;
pub mod prometheus;
pub mod text;
pub mod top;
mod words;

#[cfg(test)]
mod fixtures;

use toban_model::{Finding, Host, Situation, Symptom, Text, Time, Verdict, Vital};

pub use agent::{Process, Role};
pub use format::{bytes, count, duration, moment, rfc3339, value};
pub use layout::Style;
pub use words::{ports, step, vital_label};

/// What `toban why` found, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The host.
    pub host: &'a Host,
    /// The moment that was judged.
    pub at: Time,
    /// The start of the window.
    pub from: Time,
    /// In one word.
    pub verdict: Verdict,
    /// The answer first.
    pub findings: &'a [Finding],
    /// What is out of the usual.
    pub symptoms: &'a [Symptom],
    /// The vitals against their usual.
    pub vitals: &'a [Vital],
    /// How many seconds of usual time the comparison rests on.
    pub usual_seconds: f64,
    /// The oldest request that was read of; `None` if of none.
    pub history_from: Option<Time>,
    /// What the reader should know about this answer: that an agent is running, that a log could not be read.
    pub notes: &'a [Text],
    /// Also say what was found on the host (`--explain`).
    pub explain: bool,
    /// The agent's processes, for `toban status`.
    pub agent: &'a [Process],
}

impl<'a> Answer<'a> {
    /// The answer for a situation that was judged.
    pub fn new(situation: &'a Situation, verdict: Verdict, findings: &'a [Finding]) -> Answer<'a> {
        Answer {
            host: &situation.host,
            at: situation.at,
            from: situation.from,
            verdict,
            findings,
            symptoms: &situation.symptoms,
            vitals: &situation.vitals,
            usual_seconds: situation.usual_seconds,
            history_from: None,
            notes: &[],
            explain: false,
            agent: &[],
        }
    }

    /// Since when the host has been as it is: the answer's start, or the oldest symptom's.
    pub fn since(&self) -> Option<Time> {
        match self.findings.first() {
            Some(finding) => Some(finding.since),
            None => self.symptoms.iter().map(|symptom| symptom.since).min(),
        }
    }
}
