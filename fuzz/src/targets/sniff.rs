//! Any lines, to find out what they are.
//!
//! What is found fits at least one of them, and looking again finds the same.

use toban_parse::{formats, sniff};

use crate::{Target, known};

pub(super) const TARGET: Target = Target { id: "sniff", run, seeds };

/// Every line is read by dozens of formats; more of them find nothing that these do not.
const LINES_MAX: usize = 32;

fn run(input: &[u8]) {
    let lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').take(LINES_MAX).collect();
    let found = sniff(&lines, &known::clock());
    let again = sniff(&lines, &known::clock());
    assert_eq!(found.as_ref().map(|format| format.describe()), again.map(|format| format.describe()));
    if let Some(mut format) = found {
        let fits = lines.iter().any(|line| format.parse(line).is_some());
        assert!(fits, "no line is {}", format.describe());
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let of = |unit: &toban_parse::formats::Unit| {
        let samples = known::samples(unit);
        samples.into_iter().map(|(_, samples)| known::lines_of(&samples)).enumerate().collect::<Vec<_>>()
    };
    let named = |unit: &toban_parse::formats::Unit, (n, lines)| (format!("{}-{n}", unit.id), lines);
    formats::ALL.iter().flat_map(|unit| of(unit).into_iter().map(|seed| named(unit, seed))).collect()
}
