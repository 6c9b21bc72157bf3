//! The course of an incident: when a diagnosis opens one, goes on with one, and when it is over.
//!
//! Symptoms flicker: a queue breathes, a server is restarted. An incident opens when two looks in a row agree and
//! ends after a minute of quiet, so that one night is one incident.

use std::time::Duration;

use toban_model::{Evidence, Finding, Time, Verdict};

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
        // What is only unusual neither opens an incident nor gives it its name.
        // Nor what has no cause that is clear.
        let is_clear = |f: &&Finding| f.confidence >= crate::CONFIDENCE_MIN;
        let grave = diagnosis.findings.first().filter(|f| f.verdict == Verdict::Incident).filter(is_clear);
        let cause = grave.map(|f| f.cause.clone());
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

/// What an open incident says after one more look: the sharpest that was seen of each cause, with all effects.
///
/// The aftermath of a cure (dead requests that end, kills that were under way) must not replace the cause that was
/// named while it was at work. A further cause joins when it names somebody, or when nobody was named before.
pub fn gather(kept: &mut Vec<Finding>, seen: &[Finding]) {
    for new in seen {
        let nobody_named = kept.iter().all(|f| f.culprits.is_empty());
        match kept.iter_mut().find(|f| f.cause == new.cause) {
            Some(old) => {
                let mut effects = std::mem::take(&mut old.effects);
                for effect in &new.effects {
                    match effects.iter_mut().find(|e| e.what == effect.what) {
                        Some(known) if worse(effect, known) => *known = effect.clone(),
                        Some(_) => {}
                        None => effects.push(effect.clone()),
                    }
                }
                if new.confidence >= old.confidence && new.culprits.len() >= old.culprits.len() {
                    *old = Finding { since: old.since.min(new.since), ..new.clone() };
                }
                old.effects = effects;
            }
            None if !new.culprits.is_empty() || nobody_named => kept.push(new.clone()),
            None => {}
        }
    }
    crate::in_order(kept);
    crate::number_remedies(kept);
}

/// Page views are worse when they are fewer, everything else when it is more.
fn worse(new: &Evidence, known: &Evidence) -> bool {
    if new.what == "page-views" { new.value < known.value } else { new.value > known.value }
}

#[cfg(test)]
mod tests {
    use toban_model::Text;

    use super::*;

    fn incident(cause: &str) -> Diagnosis {
        let finding = Finding {
            cause: cause.into(),
            verdict: Verdict::Incident,
            confidence: 0.9,
            since: Time::ZERO,
            summary: Text::default(),
            resource: None,
            culprits: Vec::new(),
            evidence: Vec::new(),
            effects: Vec::new(),
            ruled_out: Vec::new(),
            remedies: Vec::new(),
            advice: Vec::new(),
        };
        Diagnosis { verdict: Verdict::Incident, findings: vec![finding] }
    }

    #[test]
    fn the_aftermath_does_not_replace_the_cause() {
        let mut kept = incident("http-flood").findings;
        kept[0].culprits.push(toban_model::Culprit {
            kind: toban_model::CulpritKind::Prefix,
            value: "198.51.100.0/24".into(),
            share: 0.9,
            r#where: toban_model::Where::new(),
            process: None,
        });
        let named = kept.clone();
        gather(&mut kept, &incident("memory-exhaustion").findings);
        assert_eq!(kept, named);
        let mut weaker = incident("http-flood").findings;
        weaker[0].confidence = 0.7;
        gather(&mut kept, &weaker);
        assert_eq!(kept, named);
    }

    #[test]
    fn what_is_only_unusual_opens_nothing() {
        let mut course = Course::default();
        let mut unusual = incident("scanner");
        unusual.findings[0].verdict = Verdict::Watch;
        for second in 0..10 {
            assert_eq!(course.look(Time::from_secs(second), &unusual), Turn::Quiet);
        }
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
