//! `toban why` and `toban status`: look, compare with the usual, judge, and say it.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use toban_collect::{Root, priority};
use toban_detect::{Baseline, Watch};
use toban_diagnose::{Diagnosis, diagnose};
use toban_model::{Incident, Lang, Situation, Text, Time, Verdict};
use toban_record::Record;
use toban_views::Answer;

use crate::cli::{Colour, Exit, Why};
use crate::config::Config;
use crate::flow::Flow;
use crate::out::{print_all, style};
use crate::{clock, outage, rights};

/// The answer comes within ten seconds; so much of them may go into reading history.
const HISTORY_FOR: Duration = Duration::from_secs(6);
/// Rates need two looks with a second between them.
const LOOKS_APART: Duration = Duration::from_millis(1100);
/// The slow looks, at what takes a full disk's room and at what may have failed, end by then, counted from the question.
const SETTLED_BY: Duration = Duration::from_secs(9);
/// Suspects are looked at again after this, so often.
const LOOKS_CLOSER_APART: Duration = Duration::from_millis(500);
const LOOKS_CLOSER: usize = 2;
/// Samples of so long ago tell what is usual.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);

/// Memory that grows is looked at over a day.
const MEMORY_REMEMBERED: Duration = Duration::from_secs(86_400);
/// Incidents that are kept out of the usual, the newest first.
pub(crate) const INCIDENTS_MAX: usize = 1000;

/// What a question is asked with.
pub(crate) struct Asked<'a> {
    pub(crate) config: &'a Config,
    pub(crate) state: &'a Path,
    pub(crate) zone: TimeZone,
    pub(crate) lang: Lang,
    pub(crate) colour: Colour,
}

/// A server that was relieved works its backlog off; that is not usual either.
const AFTERMATH: Duration = Duration::from_secs(60);

/// Tells the watch which times were incidents; one that is still open goes on.
pub(crate) fn set_aside(watch: &mut Watch, incidents: &[Incident]) {
    const ON: Time = Time::from_micros(i64::MAX);
    watch.set_aside(incidents.iter().map(|i| (i.since, i.ended.map_or(ON, |e| e + AFTERMATH))).collect());
}

/// Where the record keeps what is usual.
const BASELINE: &str = "baseline";
/// So much is read again of what was learned: what lasts for minutes is known by it.
const READ_AGAIN: Duration = Duration::from_secs(15 * 60);

/// Keeps what is usual over a restart.
pub(crate) fn keep(flow: &Flow, record: &Record) -> Result<(), toban_record::Error> {
    record.put_state(BASELINE, &flow.watch.baseline().to_bytes())
}

/// Where the record keeps what was seen to work.
const STANDING: &str = "standing";

/// Keeps what was seen to work over a restart.
pub(crate) fn keep_standing(flow: &Flow, record: &Record) -> Result<(), toban_record::Error> {
    // Maps with text keys and numbers: it cannot fail.
    let bytes = serde_json::to_vec(flow.watch.standing()).unwrap_or_default();
    record.put_state(STANDING, &bytes)
}

/// Takes what was kept of the usual, and the samples recorded since, up to `at`; those of incidents are not usual.
/// Where nothing was kept, or `at` is long before it, all samples of a week are read.
pub(crate) fn remember(watch: &mut Watch, record: &Record, at: Time) {
    let incidents = record.incidents(INCIDENTS_MAX).unwrap_or_default();
    set_aside(watch, &incidents);
    let standing = record.state(STANDING).ok().flatten();
    if let Some(standing) = standing.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
        watch.set_standing(standing);
    }
    let in_incident =
        |t: Time| incidents.iter().any(|i| t >= i.since && t <= i.ended.unwrap_or(at) + AFTERMATH);
    let kept = record.state(BASELINE).ok().flatten();
    let cores = watch.host().cores;
    let kept = kept.and_then(|bytes| Baseline::from_bytes(&bytes, cores)).and_then(|kept| kept.as_of(at));
    let mut from = at - REMEMBERED;
    if let Some(kept) = kept {
        from = from.max(kept.learned_to().unwrap_or(from).min(at) - READ_AGAIN);
        watch.set_baseline(kept);
    }
    remember_memory(watch, record, at);
    let Ok(samples) = record.frames(from, at) else { return };
    for sample in samples.readings_only().flatten() {
        let learn = !in_incident(sample.at);
        watch.sample(&sample, learn);
    }
}

/// Takes what was recorded of the units' memory: whether it grows is seen over hours.
fn remember_memory(watch: &mut Watch, record: &Record, at: Time) {
    let Ok((Some(sample), _)) = record.moment(at) else { return };
    for reading in &sample.readings {
        let Some(unit) = reading.name.strip_prefix("unit.memory:") else { continue };
        let Ok(series) = record.vital(&reading.name, at - MEMORY_REMEMBERED, at) else { continue };
        let seconds = series.points.iter().map(|point| (point.at, point.value));
        let minutes = series.minutes.iter().map(|minute| (minute.at, minute.mean));
        watch.unit_memory(unit, minutes.chain(seconds));
    }
}

/// A judged moment.
pub(crate) struct Judged {
    pub(crate) situation: Situation,
    pub(crate) diagnosis: Diagnosis,
    pub(crate) notes: Vec<Text>,
    history_from: Option<Time>,
}

/// Looks at this host as it is now.
pub(crate) fn now(asked: &Asked<'_>, root: Root) -> Judged {
    let begun = Instant::now();
    let settled_by = begun + SETTLED_BY;
    let live = root.is_live();
    let _haste = live.then(priority::hasten);
    let mut flow = Flow::host(root, asked.config, asked.zone.clone(), clock::now(), None);
    if live {
        if let Ok(Some(record)) = Record::open_existing(asked.state) {
            remember(&mut flow.watch, &record, clock::now());
            let outage = outage::look(&record, flow.watch.host(), clock::now());
            flow.watch.set_outage(outage);
        }
        flow.look(clock::now());
    }
    flow.read_history(begun + HISTORY_FOR);
    if live {
        std::thread::sleep(LOOKS_APART.saturating_sub(begun.elapsed()));
        flow.follow(clock::now());
        if Instant::now() < settled_by {
            flow.look(clock::now());
        } else {
            flow.notes.push(left_out("rates of the last seconds", "直近数秒の変化"));
        }
        // What a process does between two looks tells whether it works.
        for _ in 0..LOOKS_CLOSER {
            std::thread::sleep(LOOKS_CLOSER_APART);
            if Instant::now() >= settled_by || !flow.look_closer(clock::now()) {
                break;
            }
        }
        // One that hangs leaves the other its part.
        if !flow.holdings.settle(clock::now, crate::flow::share(settled_by, 2), &mut flow.watch) {
            flow.notes
                .push(left_out("file systems, handles and ports", "ファイルシステム・ハンドル・ポート"));
        }
        if let Some(inspector) = &mut flow.inspector
            && !inspector.finish(&mut flow.watch, settled_by)
        {
            flow.notes.push(left_out("servers that may have failed", "停止した可能性のあるサービス"));
        }
        let unanswered = toban_collect::unanswered();
        if unanswered > 0 {
            flow.notes.push(Text::new(
                format!(
                    "{unanswered} questions about processes were not answered in time, because their memory is locked: command lines and requests may be missing"
                ),
                format!(
                    "プロセスのメモリがロックされていたため {unanswered} 件の問い合わせに時間内の応答がなく、コマンドラインやリクエストの一部は不明です"
                ),
            ));
        }
    }
    let at = if live { clock::now() } else { flow.watch.history_to().unwrap_or_else(clock::now) };
    judged(flow, at, live)
}

/// What there was no time for.
fn left_out(en: &str, ja: &str) -> Text {
    Text::new(
        format!("{en} were not looked at to the end: this host answers too slowly"),
        format!("ホストの応答が遅いため、{ja} は最後まで確認できませんでした"),
    )
}

/// This host with what its logs on disk say.
pub(crate) fn opened(asked: &Asked<'_>) -> Flow {
    let mut flow = Flow::host(Root::host(), asked.config, asked.zone.clone(), clock::now(), None);
    flow.read_history(Instant::now() + HISTORY_FOR);
    flow
}

/// The host and its usual traffic, without waiting for rates.
pub(crate) fn glance(asked: &Asked<'_>) -> Judged {
    let mut flow = opened(asked);
    flow.look(clock::now());
    judged(flow, clock::now(), true)
}

fn judged(mut flow: Flow, at: Time, live: bool) -> Judged {
    let situation = flow.close(at, live);
    let diagnosis = diagnose(&situation);
    let mut notes = std::mem::take(&mut flow.notes);
    if diagnosis.findings.is_empty() {
        notes.extend(toban_diagnose::kernel_words(&situation).into_iter().map(|said| {
            let at = toban_views::moment(Time::from_micros((said.value * 1e6) as i64), flow.zone());
            let line = |label: &str, text: &str| format!("{at} {label} {text}");
            Text::new(line(&said.label.en, &said.text.en), line(&said.label.ja, &said.text.ja))
        }));
    }
    notes.extend(flow.blind_spots().into_iter().map(|spot| Text::new(spot.clone(), spot)));
    let misfits = flow.readers().iter().filter(|r| r.misfits > 0 && r.misfits * 2 > r.lines);
    let misfits: Vec<Text> = misfits.map(crate::flow::Reader::describe).collect();
    notes.extend(misfits.into_iter().filter(|text| !notes.contains(text)).collect::<Vec<_>>());
    Judged { situation, diagnosis, notes, history_from: flow.history_from() }
}

/// `toban why`.
pub(crate) fn why(asked: &Asked<'_>, why: &Why) -> anyhow::Result<Exit> {
    let present = clock::now();
    let moment = |when: &crate::cli::When| when.resolve_past(present, &asked.zone);
    let until = match (&why.at, &why.since, &why.until) {
        (Some(at), ..) | (None, _, Some(at)) => Some(moment(at)),
        (None, Some(since), None) => {
            moment(since)?;
            None
        }
        (None, None, None) => None,
    };
    let until = until.transpose()?;
    loop {
        let answer = if !why.log.is_empty() {
            let flow = Flow::logs(&why.log, asked.config, asked.zone.clone(), present, until)?;
            let at = until.or(flow.watch.history_to()).unwrap_or(present);
            judged(flow, at, false)
        } else if let Some(until) = until {
            past(asked, why.root.as_deref(), until)
        } else {
            now(asked, why.root.as_ref().map_or_else(Root::host, Root::new))
        };
        show(asked, why, &answer);
        match why.watch {
            Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
            None => return Ok(exit_of(&answer.diagnosis)),
        }
    }
}

/// A past moment: from the logs and the record, without a look at what is now.
fn past(asked: &Asked<'_>, root: Option<&Path>, at: Time) -> Judged {
    let record = Record::open_existing(asked.state).ok().flatten();
    // In an incident that the agent saw, what it saw itself tells more than what is left on the disk.
    let own = record.as_ref().filter(|_| root.is_none());
    if let Some(look) = own.and_then(|record| record.look_before(at).ok().flatten()) {
        let seen = toban_views::moment(look.situation.at, &asked.zone);
        return Judged {
            diagnosis: diagnose(&look.situation),
            situation: look.situation,
            notes: vec![Text::new(
                format!("as the agent saw it at {seen}"),
                format!("{seen} にエージェントが記録した状況です"),
            )],
            history_from: None,
        };
    }
    let root = root.map_or_else(Root::host, Root::new);
    let mut flow = Flow::host(root, asked.config, asked.zone.clone(), clock::now(), Some(at));
    if let Some(record) = &record {
        remember(&mut flow.watch, record, at);
    }
    flow.read_history(Instant::now() + HISTORY_FOR);
    judged(flow, at, false)
}

fn exit_of(diagnosis: &Diagnosis) -> Exit {
    let found = diagnosis.verdict == Verdict::Incident || !diagnosis.findings.is_empty();
    if found { Exit::Finding } else { Exit::Ok }
}

fn answer_of<'a>(judged: &'a Judged, explain: bool) -> Answer<'a> {
    let mut answer = Answer::new(&judged.situation, judged.diagnosis.verdict, &judged.diagnosis.findings);
    answer.notes = &judged.notes;
    answer.history_from = judged.history_from;
    answer.explain = explain;
    answer
}

fn show(asked: &Asked<'_>, why: &Why, judged: &Judged) {
    let answer = answer_of(judged, why.explain);
    if why.json {
        print_all(&toban_views::json::why(&answer, asked.lang, &asked.zone));
    } else {
        print_all(&toban_views::text::why(&answer, asked.lang, &asked.zone, style(asked.colour)));
    }
}

/// `toban status`.
pub(crate) fn status(asked: &Asked<'_>, json: bool) -> Exit {
    let judged = now(asked, Root::host());
    let record = Record::open_existing(asked.state).ok().flatten();
    let agent = record.as_ref().map(rights::held_by_agent).unwrap_or_default();
    let answer = Answer { agent: &agent, ..answer_of(&judged, false) };
    if json {
        print_all(&toban_views::json::status(&answer, asked.lang, &asked.zone));
    } else {
        print_all(&toban_views::text::status(&answer, asked.lang, &asked.zone, style(asked.colour)));
    }
    exit_of(&judged.diagnosis)
}

#[cfg(test)]
mod tests {
    use toban_model::{Reading, ReadingKind, Sample};
    use toban_record::{Frames, Limits};

    use super::*;

    /// A host with nothing on it but what its record says.
    fn remembered(root: &Path, record: &Record, at: Time) -> Flow {
        let config = Config::default();
        let mut flow = Flow::host(Root::new(root), &config, TimeZone::UTC, at, None);
        remember(&mut flow.watch, record, at);
        flow
    }

    #[test]
    fn what_is_usual_outlives_the_samples_that_it_was_learned_from() {
        let (root, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let record = Record::open(state.path()).unwrap();
        let begun = Time::from_secs(1_700_000_000);
        let after = |seconds| begun + Duration::from_secs(seconds);
        let sampled = |from: u64, to: u64, load: f64| {
            let mut frames = Frames::open(&record.frames_dir().unwrap(), Limits::default()).unwrap();
            for t in (from..to).step_by(60) {
                let (name, unit) = ("load.1".into(), "".into());
                let readings = vec![Reading { name, value: load, unit, kind: ReadingKind::Gauge }];
                frames.append(&Sample { at: after(t), readings, ..Sample::default() }).unwrap();
            }
            frames.flush().unwrap();
        };
        sampled(0, 86_400, 4.0);
        let flow = remembered(root.path(), &record, after(86_400));
        let usual = flow.watch.baseline().usual(after(86_400), "load.1").unwrap();
        assert_eq!(usual.seconds, 1 + 1439 * 60);
        keep(&flow, &record).unwrap();
        std::fs::remove_dir_all(record.frames_dir().unwrap()).unwrap();
        // The next start learns what was sampled since, and that it has been out of the usual for minutes.
        sampled(86_400, 87_000, 40.0);
        let mut flow = remembered(root.path(), &record, after(87_000));
        let usual = flow.watch.baseline().usual(after(87_000), "load.1").unwrap();
        assert_eq!(usual.seconds, 1 + 1449 * 60);
        let situation = flow.close(after(87_000), true);
        assert!(usual.low > 3.0 && usual.high < 6.0, "{usual:?}");
        assert_eq!(
            situation.vitals[0].since.map(|since| since.since(after(86_400)).as_secs() < 60),
            Some(true)
        );
    }
}
