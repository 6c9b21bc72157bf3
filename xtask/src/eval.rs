//! `cargo xtask eval`: how often toban is right, on the recorded cases and on variants of them that it has never seen.
//!
//! A case in `cases/` is what an agent saw of a real incident in the lab, and beside it stands what really was the case.
//! A variant is drawn from a seed: other addresses, IPv6, another host's usual, no quiet history at all, distractors
//! beside it, another case at the same time. `--record` makes a case of a scenario.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks")]

mod record;
mod variant;

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use toban_diagnose::{CONFIDENCE_MIN, diagnose};
use toban_model::{CulpritKind, Finding, Prefix, Situation};
use toban_record::Case;

use self::variant::Variant;
use crate::steps::root;

/// Arguments of `eval`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Variants are drawn from this; any number draws fresh ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Variants of each kind of each look
    #[arg(long, default_value_t = 20)]
    variants: u32,
    /// Show each one that is not right
    #[arg(long)]
    verbose: bool,
    /// Record a case of this scenario of the lab instead (root)
    #[arg(long, value_name = "SCENARIO")]
    record: Option<String>,
}

/// What really was the case, beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Expected {
    cause: String,
    /// Addresses that did it; empty where no address did.
    culprits: Vec<IpAddr>,
    /// Addresses that must not be named.
    innocents: Vec<IpAddr>,
}

/// One situation with what is right about it.
struct Known {
    name: String,
    situation: Situation,
    expected: Vec<Expected>,
}

/// How an answer was.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    all: u32,
    first: u32,
    top_three: u32,
    not_clear: u32,
    wrong: u32,
    missed_culprits: u32,
    innocents: u32,
}

/// Runs the evaluation, or records a case.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if let Some(scenario) = &args.record {
        return record::record(scenario, args.seed).map(|()| ExitCode::SUCCESS);
    }
    let known = known()?;
    ensure!(!known.is_empty(), "there are no cases in {}", folder().display());
    let mut scores: BTreeMap<(&str, String), Score> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(args.seed);
    for case in &known {
        for variant in Variant::ALL {
            // What is drawn of nothing is the same each time.
            let times = if *variant == Variant::AsRecorded { 1 } else { args.variants };
            for _ in 0..times {
                let other = &known[random.usize(..known.len())];
                let Some(made) = variant.of(case, other, &mut random) else { continue };
                let score = judge(&made, args.verbose);
                scores.entry((variant.name(), case.name.clone())).or_default().add(score);
            }
        }
    }
    print(&scores);
    Ok(ExitCode::SUCCESS)
}

fn folder() -> PathBuf {
    root().join("cases")
}

/// Every look of every case.
fn known() -> Result<Vec<Known>> {
    let mut all = Vec::new();
    let mut names: Vec<PathBuf> =
        fs::read_dir(folder()).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    names.sort();
    for path in names.iter().filter(|path| path.extension().is_some_and(|ending| ending == "case")) {
        let case = Case::read(path)?;
        let beside = path.with_extension("json");
        let expected = fs::read(&beside).with_context(|| format!("could not read {}", beside.display()))?;
        let expected: Expected = serde_json::from_slice(&expected)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(case.looks.into_iter().map(|look| Known {
            name: name.clone(),
            situation: look.situation,
            expected: vec![expected.clone()],
        }));
    }
    Ok(all)
}

fn judge(known: &Known, verbose: bool) -> Score {
    let mut findings = diagnose(&known.situation).findings;
    // What is not clear names nothing.
    findings.retain(|finding| finding.confidence >= CONFIDENCE_MIN);
    let is = |finding: &Finding| known.expected.iter().any(|expected| expected.cause == finding.cause);
    let first = findings.first().is_some_and(is);
    // Of two at once both are to be told.
    let top = |expected: &Expected| findings.iter().take(3).any(|finding| finding.cause == expected.cause);
    let named: Vec<Prefix> =
        findings.iter().flat_map(|finding| &finding.culprits).filter_map(network).collect();
    let names = |address: &IpAddr| named.iter().any(|prefix| prefix.contains(address));
    let culprits: Vec<&IpAddr> = known.expected.iter().flat_map(|expected| &expected.culprits).collect();
    let innocents = known
        .expected
        .iter()
        .flat_map(|expected| &expected.innocents)
        .filter(|innocent| names(innocent) && !culprits.contains(innocent));
    let score = Score {
        all: 1,
        first: u32::from(first),
        top_three: u32::from(known.expected.iter().all(top)),
        not_clear: u32::from(findings.is_empty()),
        wrong: u32::from(!first && !findings.is_empty()),
        missed_culprits: u32::from(first && culprits.iter().any(|culprit| !names(culprit))),
        innocents: innocents.count() as u32,
    };
    if verbose
        && (score.first == 0 || score.top_three == 0 || score.innocents > 0 || score.missed_culprits > 0)
    {
        let said: Vec<String> = findings
            .iter()
            .map(|finding| {
                format!(
                    "{} {:.2} {:?}",
                    finding.cause,
                    finding.confidence,
                    finding.culprits.iter().map(|c| &c.value).collect::<Vec<_>>()
                )
            })
            .collect();
        eprintln!(
            "{}: {}",
            known.name,
            if said.is_empty() { "nothing".to_owned() } else { said.join(" · ") }
        );
    }
    score
}

/// The addresses that a culprit is.
fn network(culprit: &toban_model::Culprit) -> Option<Prefix> {
    match culprit.kind {
        CulpritKind::Address => culprit.value.parse::<IpAddr>().ok().map(Prefix::from),
        CulpritKind::Prefix => culprit.value.parse().ok(),
        _ => None,
    }
}

impl Score {
    fn add(&mut self, other: Score) {
        self.all += other.all;
        self.first += other.first;
        self.top_three += other.top_three;
        self.not_clear += other.not_clear;
        self.wrong += other.wrong;
        self.missed_culprits += other.missed_culprits;
        self.innocents += other.innocents;
    }
}

fn print(scores: &BTreeMap<(&str, String), Score>) {
    let head = ["variant", "case", "all", "first", "top 3", "not clear", "wrong", "missed", "innocents"];
    println!(
        "{:<14} {:<22} {:>6} {:>7} {:>7} {:>10} {:>6} {:>7} {:>10}",
        head[0], head[1], head[2], head[3], head[4], head[5], head[6], head[7], head[8]
    );
    let mut sum = Score::default();
    let line = |variant: &str, case: &str, s: &Score| {
        let part = |n: u32| format!("{:.1} %", f64::from(n) * 100.0 / f64::from(s.all.max(1)));
        println!(
            "{variant:<14} {case:<22} {:>6} {:>7} {:>7} {:>10} {:>6} {:>7} {:>10}",
            s.all,
            part(s.first),
            part(s.top_three),
            s.not_clear,
            s.wrong,
            s.missed_culprits,
            s.innocents
        );
    };
    for ((variant, case), score) in scores {
        line(variant, case, score);
        sum.add(*score);
    }
    line("all", "", &sum);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recorded_case_is_judged_rightly() {
        let known = known().unwrap();
        assert!(!known.is_empty());
        for case in &known {
            let score = judge(case, true);
            let right = (score.first, score.top_three, score.missed_culprits, score.innocents);
            assert_eq!(right, (1, 1, 0, 0), "{}", case.name);
        }
    }

    #[test]
    fn variants_are_drawn_from_the_seed_and_still_a_case() {
        let known = known().unwrap();
        let drawn = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            let each = |variant: &Variant| variant.of(&known[0], &known[known.len() - 1], &mut random);
            Variant::ALL.iter().map(each).map(|made| made.map(|made| made.situation)).collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
    }
}
