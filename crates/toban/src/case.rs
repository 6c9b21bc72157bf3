//! `toban case export` and `toban replay`: an incident in one file, and the same judgement of it elsewhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use toban_collect::{Root, history};
use toban_diagnose::{diagnose, gather};
use toban_model::{IncidentId, Time, Verdict};
use toban_parse::{Clock, Format, sniff};
use toban_record::Case;
use toban_record::case::{Anonymizer, LogLine};
use toban_views::Answer;

use crate::cli::{self, Exit};
use crate::flow::{Flow, SNIFFED_LINES, lines_of, time_of};
use crate::out::{eprint_all, print_all, style};
use crate::why::Asked;
use crate::{clock, commands};

/// So long before it began and after it ended belongs to a case.
const BEFORE: Duration = Duration::from_secs(300);
const AFTER: Duration = Duration::from_secs(60);
/// Of each log.
const LINES_MAX: usize = 5_000;
/// Reading all logs.
const LOGS_FOR: Duration = Duration::from_secs(8);

/// `toban case export`.
pub(crate) fn export(asked: &Asked<'_>, export: &cli::Export) -> anyhow::Result<Exit> {
    let record = commands::reading(asked)?;
    let id = IncidentId(export.id);
    let incident = record.incident(id)?;
    let present = clock::now();
    let (from, to) = (incident.since - BEFORE, incident.ended.unwrap_or(present) + AFTER);
    let samples = record.frames(from, to)?;
    let actions = commands::book_of(asked)?.actions(usize::MAX)?;
    let mut case = Case {
        looks: record.looks(id)?,
        // What of it is damaged is no reason to keep the rest back.
        samples: samples.flatten().collect(),
        actions: actions.into_iter().rev().filter(|a| a.incident == Some(id)).collect(),
        logs: slices(asked, from, to),
        incident,
    };
    if case.looks.is_empty() {
        eprint_all("nothing of what was seen then is in the record any more: the case cannot be replayed\n");
    }
    if export.anonymize {
        case = anonymized(&case)?;
    }
    case.write(&export.output)?;
    let (looks, samples, lines) = (case.looks.len(), case.samples.len(), case.logs.len());
    let to = export.output.display();
    eprint_all(&format!("{to}: {looks} looks, {samples} samples, {lines} lines of logs\n"));
    Ok(Exit::Ok)
}

/// Without its people, and judged again: the findings' words are made anew from what is left.
fn anonymized(case: &Case) -> anyhow::Result<Case> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut key))
        .context("no random key")?;
    let mut out = Anonymizer::new(key)
        .case(case)
        .map_err(|detail| anyhow::anyhow!("the case could not be anonymized: {detail}"))?;
    for look in &mut out.looks {
        let diagnosis = diagnose(&look.situation);
        (look.verdict, look.findings) = (diagnosis.verdict, diagnosis.findings);
        gather(&mut out.incident.findings, &look.findings);
    }
    Ok(out)
}

/// What the logs of this host said in that time.
fn slices(asked: &Asked<'_>, from: Time, to: Time) -> Vec<LogLine> {
    let present = clock::now();
    let root = Root::host();
    let flow = Flow::host(root.clone(), asked.config, asked.zone.clone(), present, None);
    let clock = Clock { now: present, zone: asked.zone.clone() };
    let deadline = Instant::now() + LOGS_FOR;
    let mut out = Vec::new();
    for (_, source) in flow.sources() {
        let Ok(sample) = history::sample(&root, &source.path) else { continue };
        let first: Vec<&[u8]> = lines_of(&sample).take(SNIFFED_LINES).collect();
        let known = Format::from_source(&source, &clock).and_then(Result::ok);
        let Some(format) = known.or_else(|| sniff(&first, &clock)) else { continue };
        // By file, the oldest first, and by place: they are read the newest first.
        let found: BTreeMap<(Reverse<usize>, u64), Vec<LogLine>> = BTreeMap::new();
        let wanted = history::Wanted { deadline: Some(deadline), ..history::Wanted::default() };
        let mut workers = [(format, found, 0)];
        let read =
            history::read(&root, &source.path, &wanted, &mut workers, |(format, found, lines), chunk| {
                let (mut kept, mut older) = (Vec::new(), false);
                for line in lines_of(chunk.bytes) {
                    let Some(at) = time_of(format, line) else { continue };
                    older |= at < from;
                    if at >= from && at <= to {
                        let line = String::from_utf8_lossy(line).into_owned();
                        kept.push(LogLine { path: source.path.clone(), line });
                    }
                }
                *lines += kept.len();
                found.insert((Reverse(chunk.file), chunk.offset), kept);
                if older || *lines >= LINES_MAX { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        if let Err(error) = read {
            eprint_all(&format!("could not read {}: {error}\n", source.path.display()));
        }
        let [(_, found, _)] = workers;
        let found: Vec<LogLine> = found.into_values().flatten().collect();
        let surplus = found.len().saturating_sub(LINES_MAX);
        out.extend(found.into_iter().skip(surplus));
    }
    out
}

/// `toban replay`.
pub(crate) fn replay(asked: &Asked<'_>, path: &Path, json: bool) -> anyhow::Result<Exit> {
    let case = Case::read(path)?;
    anyhow::ensure!(
        !case.looks.is_empty(),
        "{}: the case holds no looks, so nothing can be judged",
        path.display()
    );
    let mut findings = Vec::new();
    let (mut verdict, mut worst) = (Verdict::Ok, &case.looks[0]);
    let mut otherwise = 0;
    for look in &case.looks {
        let diagnosis = diagnose(&look.situation);
        otherwise += usize::from((diagnosis.verdict, &diagnosis.findings) != (look.verdict, &look.findings));
        gather(&mut findings, &diagnosis.findings);
        if diagnosis.verdict > verdict {
            (verdict, worst) = (diagnosis.verdict, look);
        }
    }
    if otherwise > 0 {
        let all = case.looks.len();
        eprint_all(&format!(
            "{otherwise} of {all} looks are judged otherwise than when they were recorded\n"
        ));
    }
    let answer = Answer::new(&worst.situation, verdict, &findings);
    print_all(&if json {
        toban_views::json::why(&answer, asked.lang, &asked.zone)
    } else {
        toban_views::text::why(&answer, asked.lang, &asked.zone, style(asked.colour))
    });
    Ok(if findings.is_empty() { Exit::Ok } else { Exit::Finding })
}
