//! Runs the program over a log, and compares what it says with the truth.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use jiff::tz::TimeZone;
use serde_json::Value;
use toban_model::{Prefix, same_family_contains};

use crate::log::{Attack, Format, Log, Truth, write};

/// Places that are told at most.
const LINES_MAX: usize = 1000;

/// What came of one log.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) logs: usize,
    pub(crate) wrong: usize,
    pub(crate) attackers: usize,
    pub(crate) missed: usize,
    pub(crate) innocents: usize,
    pub(crate) problems: Vec<String>,
}

#[derive(Debug)]
struct Verdict {
    clients: BTreeSet<IpAddr>,
    prefix: Option<Prefix>,
    cause: String,
    service: String,
    count: u64,
    first: f64,
    last: f64,
    lines: Vec<u64>,
}

fn verdict(value: &Value) -> Verdict {
    let address = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let all = value["clients"].as_array().into_iter().flatten();
    Verdict {
        clients: all
            .map(address)
            .chain(value["client"].as_str().map(|client| client.parse().unwrap()))
            .collect(),
        prefix: value["prefix"].as_str().map(|prefix| prefix.parse().unwrap()),
        cause: value["cause"].as_str().unwrap().into(),
        service: value["service"].as_str().unwrap().into(),
        count: value["count"].as_u64().unwrap(),
        first: value["first"].as_f64().unwrap(),
        last: value["last"].as_f64().unwrap(),
        lines: value["lines"].as_array().unwrap().iter().map(|line| line.as_u64().unwrap()).collect(),
    }
}

/// What `toban scan --json` says.
pub(crate) fn scan(args: &[&str]) -> (Vec<Value>, String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_toban"));
    let out = command.args(["scan", "--json"]).args(args).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (lines, said, out.status.code().unwrap_or(-1))
}

/// Writes a log, has it read, and compares.
pub(crate) fn check(name: &str, log: &mut Log, format: Format, zone: &TimeZone, dir: &Path) -> Outcome {
    let (text, truth) = write(log, format, zone);
    let path = dir.join(format!("{}.log", name.replace([' ', ','], "-")));
    std::fs::write(&path, text).unwrap();
    let zone = zone.iana_name().unwrap_or("UTC").to_owned();
    let now = "2026-03-12T00:00:00Z";
    let (said, errors, code) = scan(&["--tz", &zone, "--now", now, path.to_str().unwrap()]);
    let mut outcome = compare(&log.attacks, &truth, &said.iter().map(verdict).collect::<Vec<_>>());
    if code != 0 || !errors.contains(" 0 did not fit") {
        outcome.problems.push(format!("exit {code}: {errors}"));
    }
    if outcome.problems.is_empty() {
        std::fs::remove_file(&path).unwrap();
    } else {
        outcome.problems.push(format!("the log is {}", path.display()));
    }
    outcome
}

fn compare(attacks: &[Attack], truth: &Truth, verdicts: &[Verdict]) -> Outcome {
    let mut outcome = Outcome::default();
    let of = |attack: &Attack, verdict: &Verdict| {
        attack.service == verdict.service && attack.causes.contains(&verdict.cause.as_str())
    };
    for (id, clients) in &truth.attacks {
        let attack = &attacks[*id];
        for (client, lines) in clients {
            outcome.attackers += 1;
            let named: Vec<&Verdict> = verdicts.iter().filter(|v| v.clients.contains(client)).collect();
            if !named.iter().any(|verdict| of(attack, verdict)) {
                outcome.missed += 1;
                let causes: Vec<&str> = named.iter().map(|verdict| verdict.cause.as_str()).collect();
                let (causes, lines, times) =
                    (causes.join(", "), lines.len(), lines.iter().map(|(_, times, _)| times).sum::<u32>());
                outcome.problems.push(format!(
                    "missed: {client} at {}, {:?} with {lines} lines, {times} times; it is named for: {causes}",
                    attack.service, attack.causes
                ));
            }
        }
    }
    let mut innocents = BTreeSet::new();
    let mut told = BTreeSet::new();
    for verdict in verdicts {
        let Verdict { clients, prefix, cause, service, .. } = verdict;
        if clients.is_empty() {
            outcome.problems.push(format!("{cause} at {service} names nobody"));
        }
        let mut expected: Vec<(u64, u32, f64)> = Vec::new();
        let mut exact = true;
        for client in clients {
            let theirs = truth.attacks.iter().filter(|(id, _)| of(&attacks[**id], verdict));
            let before = expected.len();
            for (id, who) in theirs {
                if let Some(lines) = who.get(client) {
                    exact &= attacks[*id].exact;
                    expected.extend(lines);
                }
            }
            if expected.len() == before {
                innocents.insert(*client);
                outcome.problems.push(format!(
                    "{client} is blamed for {cause} at {service}, and did not do it: {verdict:?}"
                ));
            }
        }
        if let Some(prefix) = prefix {
            for (client, _) in truth
                .clients
                .iter()
                .filter(|(client, guilty)| !**guilty && same_family_contains(prefix, **client))
            {
                innocents.insert(*client);
                outcome
                    .problems
                    .push(format!("{client} is in {prefix}, which is blamed for {cause} at {service}"));
            }
        }
        expected.sort_by_key(|(line, ..)| *line);
        lines(verdict, &expected, exact, &mut outcome.problems);
        for line in &verdict.lines {
            if !told.insert(*line) {
                outcome.problems.push(format!("line {line} is told twice, also for {cause} at {service}"));
            }
        }
    }
    outcome.innocents = innocents.len();
    outcome
}

/// Whether the lines are those that count.
fn lines(verdict: &Verdict, expected: &[(u64, u32, f64)], exact: bool, problems: &mut Vec<String>) {
    let Verdict { clients, cause, service, count, first, last, lines, .. } = verdict;
    let who = format!("{cause} at {service} by {} clients such as {:?}", clients.len(), clients.first());
    let numbers: Vec<u64> = expected.iter().map(|(line, ..)| *line).collect();
    if !lines.is_sorted() || lines.len() > LINES_MAX {
        problems.push(format!("{who}: {} lines, or out of order", lines.len()));
    }
    if let Some(foreign) = lines.iter().find(|line| numbers.binary_search(line).is_err()) {
        problems.push(format!("{who}: line {foreign} is not theirs, or does not count"));
    }
    let (Some(begin), Some(end)) = (expected.first(), expected.last()) else { return };
    let times: u64 = expected.iter().map(|(_, times, _)| u64::from(*times)).sum();
    if exact {
        if lines[..] != numbers[..numbers.len().min(LINES_MAX)] {
            problems.push(format!("{who}: {} lines of {}", lines.len(), numbers.len()));
        }
        if *count != times {
            problems.push(format!("{who}: a count of {count}, not {times}"));
        }
        if (first - begin.2).abs() > 0.001 || (last - end.2).abs() > 0.001 {
            problems.push(format!("{who}: {first} to {last}, not {} to {}", begin.2, end.2));
        }
    } else if *count * 10 < times * 6 || *count > times {
        problems.push(format!("{who}: a count of {count} of {times}"));
    } else if *first < begin.2 - 0.001 || *last > end.2 + 0.001 {
        problems.push(format!("{who}: {first} to {last} is outside {} to {}", begin.2, end.2));
    }
}
