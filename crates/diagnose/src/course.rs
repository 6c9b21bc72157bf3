//! The course of an incident: when a diagnosis opens one, goes on with one, and when it is over.
//!
//! Symptoms flicker: a queue breathes, a server is restarted. An incident opens when two looks in a row agree and
//! ends after a minute of quiet, so that one night is one incident.

use std::time::Duration;

use toban_model::{Time, Verdict};

use crate::Diagnosis;

/// Looks in a row that must agree before an incident is opened.
const LOOKS_MIN: u32 = 2;
/// So much quiet ends one.
const QUIET: Duration = Duration::from_secs(60);

/// What a look changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing is going on.
    Quiet,
    /// Something may be beginning: look again.
    Doubt,
    /// An incident begins.
    Opens,
    /// It goes on, with these findings.
    GoesOn,
    /// It goes on, but this look shows nothing.
    Pauses,
    /// It has ended.
    Ends,
}

/// Follows the looks at one host.
#[derive(Clone, Debug, Default)]
pub struct Course {
    open: bool,
    cause: Option<String>,
    agreeing: u32,
    last_seen: Time,
}

impl Course {
    /// The course of an incident that was open when toban was stopped.
    pub fn resumed(at: Time) -> Course {
        Course { open: true, last_seen: at, ..Course::default() }
    }

    /// Whether an incident is open.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Takes one look.
    pub fn look(&mut self, at: Time, diagnosis: &Diagnosis) -> Turn {
        let cause = diagnosis.findings.first().map(|f| f.cause.clone());
        let seen = diagnosis.verdict == Verdict::Incident && cause.is_some();
        if seen {
            self.agreeing = if self.cause == cause { self.agreeing + 1 } else { 1 };
            self.cause = cause;
            self.last_seen = at;
            if self.open {
                return Turn::GoesOn;
            }
            if self.agreeing >= LOOKS_MIN {
                self.open = true;
                return Turn::Opens;
            }
            return Turn::Doubt;
        }
        self.agreeing = 0;
        // Exhausted but not explained is no end, and resources that only just came free are watched a while.
        if self.open && diagnosis.verdict != Verdict::Incident && at.since(self.last_seen) >= QUIET {
            *self = Course::default();
            return Turn::Ends;
        }
        if self.open { Turn::Pauses } else { Turn::Quiet }
    }
}

#[cfg(test)]
mod tests {
    use toban_model::{Finding, Text};

    use super::*;

    fn incident(cause: &str) -> Diagnosis {
        let finding = Finding {
            cause: cause.into(),
            confidence: 0.9,
            since: Time::ZERO,
            summary: Text::default(),
            resource: None,
            culprits: Vec::new(),
            evidence: Vec::new(),
            effects: Vec::new(),
            ruled_out: Vec::new(),
            remedies: Vec::new(),
        };
        Diagnosis { verdict: Verdict::Incident, findings: vec![finding] }
    }

    #[test]
    fn one_night_is_one_incident() {
        let mut course = Course::default();
        let ok = Diagnosis::default();
        let flood = incident("http-flood");
        let turns: Vec<Turn> =
            [(1, &ok), (2, &flood), (3, &ok), (4, &flood), (5, &flood), (6, &flood), (20, &ok)]
                .into_iter()
                .map(|(s, d)| course.look(Time::from_secs(s), d))
                .collect();
        use Turn::{Doubt, GoesOn, Opens, Pauses, Quiet};
        assert_eq!(turns, [Quiet, Doubt, Quiet, Doubt, Opens, GoesOn, Pauses]);
        assert_eq!(course.look(Time::from_secs(30), &flood), GoesOn);
        assert_eq!(course.look(Time::from_secs(89), &ok), Pauses);
        assert_eq!(course.look(Time::from_secs(91), &ok), Turn::Ends);
        assert_eq!(course.look(Time::from_secs(92), &ok), Quiet);
    }
}
