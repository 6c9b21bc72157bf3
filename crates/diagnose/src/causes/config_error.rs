//! `config-error`: a server does not run, or would not start again, since its configuration was changed.
//!
//! Needs: the server's own word of what it does not understand; or, where nobody wrote that down, a change right before or
//! after its end. What a configuration test would say is the administrator's to ask: nothing is run here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toban_model::{CulpritKind, Edited, Evidence, LifeLine, LifeWord, Stopped, Text, Time, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::{commands, complaint, last_words, named, places, unit_of, words};
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "config-error",
    about: Text::fixed(
        "a server's configuration was changed and cannot be read by it",
        "サーバの設定が変更され、読み込めなくなっています",
    ),
    rules_out: &["service-hung"],
    needs: Needs::Nothing,
    judge,
};

/// Somebody who changes a file restarts the server within this time.
const BEFORE: Duration = Duration::from_secs(600);
/// Logs tell the second, files a part of it.
const TO_THE_SECOND: Duration = Duration::from_secs(2);
/// And may go on changing it when that fails.
const AFTER: Duration = Duration::from_secs(300);

/// Whether a stopped server's configuration explains why it does not run.
pub(super) fn explains(stopped: &Stopped) -> bool {
    fault(stopped).is_some()
}

/// What is wrong with the configuration of a stopped server.
enum Fault<'a> {
    /// It said so.
    Said(&'a LifeLine),
    /// It was changed at that time.
    Edited(&'a Edited),
}

fn fault(stopped: &Stopped) -> Option<Fault<'_>> {
    complaint(stopped).map(Fault::Said).or_else(|| edit_of(stopped).map(Fault::Edited))
}

/// The change that came right before or after the end, if the server shut down in order and did not come again.
fn edit_of(stopped: &Stopped) -> Option<&Edited> {
    if stopped.out_of_memory {
        return None;
    }
    let orderly = stopped.words.iter().rev().find(|line| line.word != LifeWord::Other);
    orderly.filter(|line| matches!(line.word, LifeWord::Stopped | LifeWord::Failed))?;
    // What it was started with it could read.
    let started =
        stopped.words.iter().filter(|line| line.word == LifeWord::Started).map(|line| line.at).max();
    stopped.edited.iter().find(|edit| {
        edit.at + BEFORE >= stopped.since
            && edit.at <= stopped.since + AFTER
            && started.is_none_or(|started| edit.at > started + TO_THE_SECOND)
    })
}

fn judge(picture: &Picture<'_>) -> Judged {
    let failures = &picture.situation.failures;
    // Where several are down, one that said why comes first.
    let down = failures.stopped.iter().filter_map(|stopped| Some((stopped, fault(stopped)?)));
    if let Some((stopped, fault)) =
        down.min_by_key(|(stopped, fault)| (matches!(fault, Fault::Edited(_)), stopped.since))
    {
        return Judged::Is(match fault {
            Fault::Said(line) => of_complaint(stopped, line),
            Fault::Edited(edit) => of_edit(stopped, edit),
        });
    }
    let Some(broken) = failures.misconfigured.first() else { return Judged::Unknown };
    let unit = unit_of(&broken.known);
    let place = place(&broken.complaint.word);
    let (at_en, at_ja) = at_place(place.as_ref());
    let (test, _) = commands(&broken.known);
    Judged::Is(Candidate {
        verdict: Verdict::Watch,
        confidence: 0.9,
        culprits: culprits(place, &broken.edited),
        evidence: last_words(std::slice::from_ref(&broken.complaint)),
        summary: Text::new(
            format!("{unit} runs with its old configuration; with the new one it could not start{at_en}."),
            format!("{unit} は古い設定のまま動作しています。新しい設定では起動できません{at_ja}。"),
        ),
        advice: test.into_iter().map(|test| repair(&test)).collect(),
        since: Some(broken.complaint.at),
        ..Candidate::default()
    })
}

fn of_complaint(stopped: &Stopped, line: &LifeLine) -> Candidate {
    let unit = unit_of(&stopped.known);
    let place = place(&line.word);
    let (at_en, at_ja) = at_place(place.as_ref());
    let said = words(line);
    let edited = place.as_ref().and_then(|(file, _)| edit_in(&stopped.edited, file));
    let mut told = last_words(std::slice::from_ref(line));
    told.extend(edited.map(|edit| changed(edit, stopped.since)));
    Candidate {
        confidence: if edited.is_some() { 0.97 } else { 0.92 },
        culprits: culprits(place, &stopped.edited),
        evidence: told,
        summary: Text::new(
            format!("{unit} does not start: it cannot read its configuration{at_en}.\nIt says: {said}"),
            format!("{unit} は設定を読み込めないため起動できません{at_ja}。\nメッセージ: {said}"),
        ),
        advice: advice(stopped),
        since: Some(line.at.min(stopped.since)),
        effects: vec![down(stopped)],
        ..Candidate::default()
    }
}

fn of_edit(stopped: &Stopped, edit: &Edited) -> Candidate {
    let unit = unit_of(&stopped.known);
    let mut told = vec![changed(edit, stopped.since)];
    told.extend(last_words(&stopped.words));
    let file = edit.path.display().to_string();
    Candidate {
        confidence: 0.7,
        culprits: vec![named(CulpritKind::File, file.clone())],
        evidence: told,
        summary: Text::new(
            format!(
                "{unit} was stopped and did not come again; its configuration was changed at that time ({file})."
            ),
            format!("{unit} は停止したまま起動していません。同じ頃に設定({file})が変更されています。"),
        ),
        advice: advice(stopped),
        since: Some(stopped.since),
        effects: vec![down(stopped)],
        ..Candidate::default()
    }
}

/// `path:line` of the word, else the file that was changed last.
fn culprits(place: Option<(PathBuf, Option<u32>)>, edited: &[Edited]) -> Vec<toban_model::Culprit> {
    let value = match (place, edited.first()) {
        (Some((file, Some(line))), _) => format!("{}:{line}", file.display()),
        (Some((file, None)), _) => file.display().to_string(),
        (None, Some(edit)) => edit.path.display().to_string(),
        (None, None) => return Vec::new(),
    };
    vec![named(CulpritKind::File, value)]
}

fn place(word: &LifeWord) -> Option<(PathBuf, Option<u32>)> {
    match word {
        LifeWord::Complaint { file: Some(file), line } => Some((file.clone(), *line)),
        _ => None,
    }
}

fn at_place(place: Option<&(PathBuf, Option<u32>)>) -> (String, String) {
    match place {
        Some((file, Some(line))) => {
            let file = file.display().to_string();
            let file = clean(&file);
            (format!(", line {line} of {file}"), format!("({file} の {line} 行目)"))
        }
        Some((file, None)) => {
            let file = file.display().to_string();
            let file = clean(&file);
            (format!(", {file}"), format!("({file})"))
        }
        None => (String::new(), String::new()),
    }
}

/// Files are called by links, too: `sites-enabled/x` is `sites-available/x`.
fn edit_in<'a>(edited: &'a [Edited], file: &Path) -> Option<&'a Edited> {
    edited
        .iter()
        .find(|edit| edit.path == file)
        .or_else(|| edited.iter().find(|edit| edit.path.file_name() == file.file_name()))
}

fn changed(edit: &Edited, since: Time) -> Evidence {
    let file = edit.path.display().to_string();
    let seconds = since.since(edit.at).as_secs();
    let (when_en, when_ja) = if edit.at <= since {
        (format!("{seconds} s before it was gone"), format!("停止の {seconds} 秒前"))
    } else {
        let seconds = edit.at.since(since).as_secs();
        (format!("{seconds} s after it was gone"), format!("停止の {seconds} 秒後"))
    };
    evidence(
        "changed",
        Text::fixed("changed file", "変更されたファイル"),
        Text::new(format!("{file}, {when_en}"), format!("{file}({when_ja})")),
        edit.at.as_secs_f64(),
        None,
        "stat",
    )
}

fn down(stopped: &Stopped) -> Evidence {
    let (unit, places) = (unit_of(&stopped.known), places(&stopped.known));
    evidence(
        "service-down",
        Text::default(),
        Text::new(
            format!("{unit} is down; nobody listens on {places}"),
            format!("{unit} が停止し、{places} で待ち受けるプロセスがありません"),
        ),
        1.0,
        Some(0.0),
        "procfs",
    )
}

fn advice(stopped: &Stopped) -> Vec<Text> {
    let (test, start) = commands(&stopped.known);
    let start = Text::new(format!("then start it: {start}"), format!("その後、起動してください: {start}"));
    test.iter().map(|test| repair(test)).chain([start]).collect()
}

fn repair(test: &str) -> Text {
    Text::new(
        format!("mend the file until this finds no fault: {test}"),
        format!("次のコマンドでエラーが出なくなるまでファイルを修正してください: {test}"),
    )
}
