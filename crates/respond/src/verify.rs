//! Did it help? Predicted against measured, over time. A pure function: no clock, no I/O.
//!
//! "Not better yet" some seconds after a ban is no proof that the ban was wrong: what it changes at once is only that
//! nothing new comes in, and what is held is let go at the pace of the server's timeouts. So a lack of effect is
//! called only at the end of a fixed time, while a success is called as soon as it has lasted, and harm as soon as it
//! is beyond doubt.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toban_model::Time;

/// A prediction counts as met when this much of the way from before to predicted is done. Not all of it: predictions
/// are made from usual values, and usual traffic comes back with a burst.
pub const WAY_MET: f64 = 0.8;
/// Less than this of the way by the end is no effect; what lies between helped, if less than hoped.
pub const WAY_NONE: f64 = 0.3;
/// A success must last this long: queues breathe.
pub const LASTING: Duration = Duration::from_secs(5);
/// At the end of this it is decided. Longer than the timeouts that hold workers on usual settings would let us wait
/// (Apache's is 60 s), shorter than the two minutes that a useless action may stand.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// Usual traffic below this share of what it was before the action is harm …
pub const HARM_SHARE: f64 = 0.5;
/// … when it has lasted this long; a restart costs some seconds.
pub const HARM_LASTING: Duration = Duration::from_secs(15);

/// What is to be said of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Too early.
    Wait,
    /// It helped.
    Worked,
    /// It changed nothing that was predicted.
    NoEffect,
    /// Usual traffic suffers since.
    Harmed,
}

/// What was measured at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// When.
    pub at: Time,
    /// By the names of the prediction and of the guards.
    pub values: BTreeMap<String, f64>,
}

/// What was expected, and against what.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expectation {
    /// When the last step was done.
    pub done: Time,
    /// The values right before.
    pub before: BTreeMap<String, f64>,
    /// What they should come to.
    pub predicted: BTreeMap<String, f64>,
    /// What must not fall: usual traffic, by name (`pages.ok`), with its value right before.
    pub guards: BTreeMap<String, f64>,
}

/// Judges an action by what was measured since, oldest first.
pub fn judge(expected: &Expectation, measured: &[Measured], now: Time) -> Outcome {
    let since: Vec<&Measured> = measured.iter().filter(|m| m.at >= expected.done && m.at <= now).collect();
    let harmed = |m: &Measured| {
        expected.guards.iter().any(|(name, before)| {
            *before > 0.0 && m.values.get(name).is_some_and(|now| *now < before * HARM_SHARE)
        })
    };
    if lasted(&since, now, HARM_LASTING, &harmed) {
        return Outcome::Harmed;
    }
    let all_met = |m: &Measured| {
        let mut ways = ways(expected, m).peekable();
        ways.peek().is_some() && ways.all(|way| way >= WAY_MET)
    };
    if lasted(&since, now, LASTING, &all_met) && !since.last().is_some_and(|m| harmed(m)) {
        return Outcome::Worked;
    }
    if now.since(expected.done) < PATIENCE {
        return Outcome::Wait;
    }
    // The median of the last part, since a single reading proves nothing.
    let late: Vec<&&Measured> = since.iter().filter(|m| now.since(m.at) <= LASTING * 2).collect();
    let mut best: Vec<f64> = late.iter().filter_map(|m| ways(expected, m).reduce(f64::max)).collect();
    best.sort_by(f64::total_cmp);
    match best.get(best.len() / 2) {
        Some(way) if *way >= WAY_NONE => Outcome::Worked,
        // Nothing could be measured, so nothing is known to have helped.
        _ => Outcome::NoEffect,
    }
}

/// How much of the way from before to predicted is done, for each prediction that can be judged.
fn ways<'a>(expected: &'a Expectation, measured: &'a Measured) -> impl Iterator<Item = f64> + 'a {
    expected.predicted.iter().filter_map(|(name, target)| {
        let before = expected.before.get(name)?;
        let now = measured.values.get(name)?;
        let whole = target - before;
        // Where nothing was to change, staying is the success.
        Some(if whole.abs() < f64::EPSILON { 1.0 } else { (now - before) / whole })
    })
}

/// Whether every reading of the last `time` says so, and there are readings that far back.
fn lasted(since: &[&Measured], now: Time, time: Duration, is: &dyn Fn(&Measured) -> bool) -> bool {
    let Some(first_no) = since.iter().rposition(|m| !is(m)) else {
        return since.first().is_some_and(|first| now.since(first.at) >= time);
    };
    since.get(first_no + 1).is_some_and(|first| now.since(first.at) >= time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    /// Workers were 300, 29 predicted; pages 10 a second. One reading a second from `f(second) = (workers, pages)`.
    fn outcome_at(second: i64, pages_before: f64, f: impl Fn(i64) -> (f64, f64)) -> Outcome {
        let expected = Expectation {
            done: Time::from_secs(1000),
            before: map(&[("workers", 300.0)]),
            predicted: map(&[("workers", 29.0)]),
            guards: map(&[("pages", pages_before)]),
        };
        let measured: Vec<Measured> = (0..=second)
            .map(|s| {
                let (workers, pages) = f(s);
                Measured {
                    at: Time::from_secs(1000 + s),
                    values: map(&[("workers", workers), ("pages", pages)]),
                }
            })
            .collect();
        judge(&expected, &measured, Time::from_secs(1000 + second))
    }

    #[test]
    fn not_better_yet_is_no_proof() {
        let slow = |s: i64| (300.0 - 5.0 * s as f64, 0.0);
        assert_eq!(outcome_at(20, 0.0, slow), Outcome::Wait);
        assert_eq!(outcome_at(60, 0.0, |s| (f64::max(29.0, 300.0 - 5.0 * s as f64), 0.0)), Outcome::Worked);
    }

    #[test]
    fn a_quick_success_has_to_last() {
        let at_once = |_: i64| (31.0, 10.0);
        assert_eq!(outcome_at(3, 10.0, at_once), Outcome::Wait);
        assert_eq!(outcome_at(5, 10.0, at_once), Outcome::Worked);
        let flickers = |s: i64| (if s % 3 == 0 { 300.0 } else { 29.0 }, 10.0);
        assert_eq!(outcome_at(40, 10.0, flickers), Outcome::Wait);
    }

    #[test]
    fn no_effect_is_called_at_the_end_and_not_before() {
        let nothing = |_: i64| (300.0, 10.0);
        assert_eq!(outcome_at(89, 10.0, nothing), Outcome::Wait);
        assert_eq!(outcome_at(90, 10.0, nothing), Outcome::NoEffect);
        assert_eq!(outcome_at(90, 10.0, |_| (150.0, 10.0)), Outcome::Worked);
    }

    #[test]
    fn harm_is_called_when_it_has_lasted() {
        let falls = |_: i64| (29.0, 1.0);
        assert_eq!(outcome_at(10, 10.0, falls), Outcome::Wait);
        assert_eq!(outcome_at(15, 10.0, falls), Outcome::Harmed);
        assert_eq!(outcome_at(20, 10.0, |s| (29.0, if s < 8 { 0.0 } else { 10.0 })), Outcome::Worked);
    }

    #[test]
    fn nothing_measured_is_nothing_known() {
        let expected = Expectation { done: Time::from_secs(1000), ..Expectation::default() };
        assert_eq!(judge(&expected, &[], Time::from_secs(1010)), Outcome::Wait);
        assert_eq!(judge(&expected, &[], Time::from_secs(1100)), Outcome::NoEffect);
    }
}
