//! `toban run`: look every second, record, name the cause, and in mode `act` do something about it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::tz::TimeZone;
use toban_collect::Root;
use toban_collect::bell::Bell;
use toban_diagnose::{Course, Diagnosis, Turn, diagnose, gather};
use toban_model::{
    Action, ActionId, ActionRecord, ActionState, Finding, Incident, IncidentId, Lang, Look, Mode, Sample,
    Situation, Text, Time, Verdict,
};
use toban_record::{Book, Limits, Record};
use toban_respond::verify::{self, Expectation, Measured, Outcome};

use crate::actor::{self, Hands, Order, Report};
use crate::cli::Exit;
use crate::config::Config;
use crate::flow::Flow;
use crate::hooks::Event;
use crate::metrics::{self, Offered};
use crate::out::{self, eprint_all, print_all};
use crate::plans::Budget;
use crate::recorder::Recorder;
use crate::{clock, outage, plans, rights, why};

/// Below this a finding is told, and not acted on.
const SURE_MIN: f64 = 0.8;
/// An open incident is written at least this often while it goes on.
const KEEP_EVERY: Duration = Duration::from_secs(5);
/// What is usual is kept this often; a restart reads what was sampled since.
const KEEP_USUAL_EVERY: Duration = Duration::from_secs(15 * 60);
/// What was seen to work is kept this often: `toban why` reads it beside a running agent.
const KEEP_STANDING_EVERY: Duration = Duration::from_secs(60);
/// Reading what is on disk before the first look.
const HISTORY_FOR: Duration = Duration::from_secs(8);

/// A signal is heard so soon.
const HEARS_WITHIN: Duration = Duration::from_millis(200);
/// Looks follow on samples, which come on the second; where none comes for so long, on the clock.
const EARLY: Duration = Duration::from_millis(400);
const LATE: Duration = Duration::from_millis(500);

/// The second look at an incident is kept after so long, each further one after twice the time.
const FIRST_LOOKS: Duration = Duration::from_secs(2);

/// What the agent runs with.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) state: PathBuf,
    pub(crate) zone: TimeZone,
    pub(crate) lang: Lang,
    /// This is the child of an acting process.
    pub(crate) for_actor: bool,
}

/// What an action's effect is held against.
#[derive(Default)]
struct Before {
    used: BTreeMap<String, f64>,
    guards: BTreeMap<String, f64>,
}

/// An action whose effect is being measured.
struct Watched {
    id: ActionId,
    steps: Vec<Action>,
    expected: Expectation,
    measured: Vec<Measured>,
}

struct Agent {
    settings: Settings,
    record: Arc<Record>,
    recorder: Recorder,
    /// Came since the last look.
    samples: Vec<Sample>,
    flow: Flow,
    offered: Option<Offered>,
    course: Course,
    incident: Option<Incident>,
    /// Looks at it that were kept.
    looks: u32,
    kept: Time,
    kept_usual: Time,
    kept_standing: Time,
    book: Option<Book>,
    hands: Option<Hands>,
    acting: bool,
    watched: Vec<Watched>,
    done: plans::Done,
    budget: Budget,
    /// The resources and the usual traffic as they were when the last plan was ordered.
    before: Before,
    /// What the last look saw, where something may be done before the next one.
    seen: Option<Situation>,
}

/// How often who waits is woken by what is written: at once after a pause, and so many times a second on a busy host,
/// where each time costs.
struct Allowance {
    left: f64,
    at: Instant,
}

impl Allowance {
    const ONE_EVERY: Duration = Duration::from_millis(50);
    const MAX: f64 = 20.0;

    fn is_left(&mut self) -> bool {
        let gained = self.at.elapsed().as_secs_f64() / Allowance::ONE_EVERY.as_secs_f64();
        self.left = (self.left + gained).min(Allowance::MAX);
        self.at = Instant::now();
        self.left >= 1.0
    }

    fn take(&mut self) {
        self.left -= 1.0;
    }
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance { left: Allowance::MAX, at: Instant::now() }
    }
}

/// Runs until SIGINT or SIGTERM: as the acting process with the watch as its child where there is something to act on,
/// else as the watch alone.
pub(crate) fn run(settings: Settings) -> anyhow::Result<Exit> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("could not handle signals")?;
    }
    if settings.for_actor {
        return watch(settings, None, &stop);
    }
    // Bans that a former run left are kept in force in every mode; new ones are made in mode `act` alone.
    let owes =
        Book::open_to_read(&settings.state)?.is_some_and(|book| book.all_bans().is_ok_and(|b| !b.is_empty()));
    let (acts, hooks) = (settings.mode == Mode::Act || owes, settings.config.hooks.any());
    if !acts && !hooks {
        return watch(settings, None, &stop);
    }
    let book = Arc::new(Book::open(&settings.state).context("could not open the book of actions")?);
    let engine = match acts.then(|| actor::engine(&book)).transpose() {
        Ok(engine) => engine,
        Err(error) if hooks => {
            return watch(settings, Some(format!("{error}; hooks are not run either")), &stop);
        }
        Err(error) => return watch(settings, Some(error.to_string()), &stop),
    };
    rights::act_only(&settings.state)?;
    let terms = actor::Terms { mode: settings.mode, config: settings.config, state: settings.state };
    actor::serve(terms, engine, book, &stop)
}

fn watch(settings: Settings, cannot_act: Option<String>, stop: &AtomicBool) -> anyhow::Result<Exit> {
    let said_of_rights = rights::watch_only(&settings.state, settings.for_actor)?;
    let bell = Bell::new().context("could not make a bell")?;
    let hands = if settings.for_actor { Some(Hands::take(bell.clone())?) } else { None };
    let mut agent = Agent::start(settings, hands, cannot_act, &said_of_rights, &bell)?;
    let interval = agent.settings.config.agent.interval;
    let mut allowance = Allowance::default();
    agent.tick();
    let mut looked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // Only who may act at once is woken for what is written.
        let mut written = false;
        if !agent.may_act() {
            bell.wait(HEARS_WITHIN);
        } else if allowance.is_left() {
            written = agent.flow.wait(HEARS_WITHIN, &bell);
            if written {
                allowance.take();
            }
        } else {
            // What was written meanwhile wakes at once then.
            bell.wait(Allowance::ONE_EVERY);
        }
        let before = agent.samples.len();
        agent.samples.extend(agent.recorder.taken());
        let due = looked.elapsed() + EARLY >= interval && agent.samples.len() > before;
        if due || looked.elapsed() >= interval + LATE {
            looked = Instant::now();
            agent.tick();
        } else if written || agent.acting {
            agent.answer_at_once();
        }
        // Its parent starts it again, or whoever starts the parent.
        anyhow::ensure!(!agent.hands.as_ref().is_some_and(Hands::are_gone), "the acting part is gone");
    }
    agent.say(&Text::fixed(
        "stopped; bans stay in force until their time",
        "停止しました。遮断は期限まで有効です",
    ));
    agent.keep_usual(clock::now());
    agent.keep_standing(clock::now());
    if let Err(error) = outage::stopped(&agent.record, clock::now()) {
        agent.warn(&format!("that it was stopped in order is not kept: {error}"));
    }
    Ok(Exit::Ok)
}

impl Agent {
    fn start(
        settings: Settings,
        hands: Option<Hands>,
        cannot_act: Option<String>,
        said_of_rights: &Text,
        bell: &Bell,
    ) -> anyhow::Result<Agent> {
        // What is wrong with the configuration is said before anything is read.
        let offered = Offered::start(&settings.config.metrics)?;
        let record = Arc::new(Record::open(&settings.state).context("could not open the record")?);
        let now = clock::now();
        let mut flow = Flow::host(Root::host(), &settings.config, settings.zone.clone(), now, None);
        why::remember(&mut flow.watch, &record, now);
        let outage = outage::look(&record, flow.watch.host(), now);
        flow.watch.set_outage(outage);
        flow.read_history(Instant::now() + HISTORY_FOR);
        // After the logs' past was read: what is locked in memory then is what it is in the long run.
        let limits = Limits { retain_bytes: settings.config.record.retain_bytes, ..Limits::default() };
        let recorder = Recorder::start(Root::host(), record.frames_dir(), limits, bell.clone())?;
        let book = match hands {
            Some(_) => Book::open_to_read(&settings.state).context("could not read the book of actions")?,
            None => None,
        };
        let incident = record.open_incident_now()?;
        let mut agent = Agent {
            course: incident.as_ref().map_or_else(Course::default, |_| Course::resumed(now)),
            incident,
            looks: 0,
            recorder,
            samples: Vec::new(),
            flow,
            offered,
            kept: Time::ZERO,
            kept_usual: now,
            kept_standing: now,
            book,
            hands,
            acting: false,
            watched: Vec::new(),
            done: plans::Done::default(),
            budget: Budget::default(),
            before: Before::default(),
            seen: None,
            settings,
            record,
        };
        if let Some(aside) = agent.record.set_aside() {
            let aside = aside.display().to_string();
            agent.say(&Text::new(
                format!("the record was damaged and is kept as {aside}; a new one was begun"),
                format!("記録が壊れていたため {aside} として残し、新しい記録を始めました"),
            ));
        }
        if let Some(error) = cannot_act {
            agent.say(&Text::new(
                format!("cannot act: {error}; observing only"),
                format!("対処できません: {error}。監視のみを続けます"),
            ));
        }
        agent.say(said_of_rights);
        if let Err(error) = rights::note_processes(&agent.record, agent.settings.for_actor) {
            agent.warn(&format!("`toban status` will not know this agent: {error}"));
        }
        agent.greet();
        agent.resume_watching(now);
        Ok(agent)
    }

    /// Actions that a former run had done and not yet judged.
    fn resume_watching(&mut self, now: Time) {
        let done = self.book.as_ref().and_then(|book| book.actions_in_state(&[ActionState::Done]).ok());
        for action in done.into_iter().flatten().filter(|a| now.since(a.changed) < verify::PATIENCE * 2) {
            let before = self.incident.iter().flat_map(|i| &i.findings).filter_map(|f| f.resource.as_ref());
            let used = before.map(|r| (r.name.clone(), r.used)).collect();
            self.watch_effect(&action, Before { used, ..Before::default() });
        }
    }

    fn tick(&mut self) {
        let now = clock::now();
        let of_metrics = self.offered.as_ref().map(Offered::troubles).unwrap_or_default();
        for trouble in self.recorder.troubles().into_iter().chain(of_metrics) {
            self.warn(trouble.lang(self.settings.lang));
        }
        self.flow.follow(now);
        // Of an incident nothing is learned.
        let learn = !self.course.is_open();
        self.samples.iter().for_each(|sample| self.flow.watch.sample(sample, learn));
        let said = self.flow.look_at_servers(now);
        self.recorder.put_servers(said);
        self.flow.look_at_processes(now);
        if now.since(self.kept_usual) >= KEEP_USUAL_EVERY {
            self.keep_usual(now);
        }
        if now.since(self.kept_standing) >= KEEP_STANDING_EVERY {
            self.keep_standing(now);
        }
        if self.acting {
            self.flow.watch.own_work(now);
        }
        let situation = self.flow.close(now, true);
        let diagnosis = diagnose(&situation);
        self.follow_course(&situation, &diagnosis);
        if let (Some(offered), Some(sample)) = (&mut self.offered, self.samples.pop()) {
            offered.show(&situation, &diagnosis, sample.readings);
        }
        self.samples.clear();
        self.hear_actor(now);
        self.measure(&situation);
        self.respond(&situation, &diagnosis);
        self.seen = self.may_act().then_some(situation);
    }

    fn may_act(&self) -> bool {
        self.settings.mode == Mode::Act && self.hands.is_some()
    }

    /// Between two looks: acts on those who are blamed for what a line has just said, whatever else there is.
    fn answer_at_once(&mut self) {
        let now = clock::now();
        self.flow.follow(now);
        self.hear_actor(now);
        let Some(seen) = self.seen.take() else { return };
        // While something is being done they are kept for the next time.
        if !self.acting
            && let Some(blamed) = self.flow.watch.blamed_alone(now)
        {
            let diagnosis = diagnose(&blamed);
            if let Some(finding) = diagnosis.findings.iter().find(|finding| self.acts_on(finding)) {
                self.order(&seen, finding, now);
            }
        }
        self.seen = Some(seen);
    }

    fn follow_course(&mut self, situation: &Situation, diagnosis: &Diagnosis) {
        let now = situation.at;
        match self.course.look(now, diagnosis) {
            Turn::Opens => {
                let since = diagnosis.findings.first().map_or(now, |f| f.since);
                match self.record.open_incident(since, now, &diagnosis.findings) {
                    Ok(incident) => {
                        self.looks = 0;
                        self.keep_look(incident.id, situation, diagnosis);
                        self.incident = Some(incident);
                    }
                    Err(error) => self.warn(&format!("the incident is not recorded: {error}")),
                }
                self.set_aside();
                let mut answer = toban_views::Answer::new(situation, diagnosis.verdict, &diagnosis.findings);
                answer.history_from = self.flow.history_from();
                self.hook(Event::Finding, || {
                    toban_views::json::why(&answer, self.settings.lang, &self.settings.zone)
                });
                print_all(&toban_views::text::why(
                    &answer,
                    self.settings.lang,
                    &self.settings.zone,
                    out::style(crate::cli::Colour::Auto),
                ));
            }
            Turn::GoesOn => {
                let Some(incident) = &mut self.incident else { return };
                let before = incident.findings.clone();
                gather(&mut incident.findings, &diagnosis.findings);
                let named = |findings: &[toban_model::Finding]| {
                    findings.iter().flat_map(|f| &f.culprits).map(|c| c.value.clone()).collect::<Vec<_>>()
                };
                let changed = named(&before) != named(&incident.findings);
                let (id, opened) = (incident.id, incident.opened);
                if changed || (before != incident.findings && now.since(self.kept) >= KEEP_EVERY) {
                    incident.cause = incident.findings.first().map(|f| f.cause.clone()).unwrap_or_default();
                    self.kept = now;
                    let written = self.record.update_incident(incident);
                    if let Err(error) = written {
                        self.warn(&format!("the incident is not recorded: {error}"));
                    }
                }
                // Ever further apart, so that a long incident has looks from its beginning and from its end.
                if changed || now.since(opened) >= FIRST_LOOKS * 2u32.saturating_pow(self.looks.min(20)) {
                    self.keep_look(id, situation, diagnosis);
                }
            }
            Turn::Ends => {
                if let Some(mut incident) = self.incident.take() {
                    if let Err(error) = self.record.end_incident(incident.id, now) {
                        self.warn(&format!("the incident's end is not recorded: {error}"));
                    }
                    incident.ended = Some(now);
                    let ended = std::slice::from_ref(&incident);
                    self.hook(Event::Recovery, || {
                        toban_views::json::incidents(ended, now, self.settings.lang, &self.settings.zone)
                    });
                    self.set_aside();
                    let (id, cause) = (incident.id.0, incident.cause);
                    self.say(&Text::new(
                        format!("incident {id} ({cause}) is over"),
                        format!("インシデント {id}({cause})は収束しました"),
                    ));
                }
            }
            Turn::Quiet | Turn::Doubt | Turn::Pauses => {}
        }
    }

    /// Keeps what is seen now, so that it can be judged again.
    fn keep_look(&mut self, id: IncidentId, situation: &Situation, diagnosis: &Diagnosis) {
        let look = Look {
            situation: situation.clone(),
            verdict: diagnosis.verdict,
            findings: diagnosis.findings.clone(),
        };
        self.looks += 1;
        if let Err(error) = self.record.put_look(id, &look) {
            self.warn(&format!("what is seen now is not recorded: {error}"));
        }
    }

    /// What happens in an incident is not usual, also when it is over.
    fn set_aside(&mut self) {
        match self.record.incidents(why::INCIDENTS_MAX) {
            Ok(incidents) => why::set_aside(&mut self.flow.watch, &incidents),
            Err(error) => self.warn(&format!("the usual is not kept clear of the incident: {error}")),
        }
    }

    fn keep_usual(&mut self, now: Time) {
        self.kept_usual = now;
        if let Err(error) = why::keep(&self.flow, &self.record) {
            self.warn(&format!("what is usual is not kept over a restart: {error}"));
        }
    }

    fn keep_standing(&mut self, now: Time) {
        self.kept_standing = now;
        if let Err(error) = why::keep_standing(&self.flow, &self.record) {
            self.warn(&format!("what was seen to work is not kept over a restart: {error}"));
        }
    }

    fn hear_actor(&mut self, now: Time) {
        let Some(hands) = &self.hands else { return };
        let reports: Vec<Report> = hands.reports.try_iter().collect();
        for report in reports {
            match report {
                Report::Acted(record) => {
                    self.acting = false;
                    self.done.note(&record.plan.steps, now);
                    if !plans::only_bans(&record.plan) {
                        self.flow.watch.own_work(now);
                        self.flow.rediscover();
                    }
                    self.tell_action(&record);
                    let actions = std::slice::from_ref(&*record);
                    self.hook(Event::Action, || {
                        toban_views::json::actions(actions, self.settings.lang, &self.settings.zone)
                    });
                    if record.state == ActionState::Done {
                        let before = std::mem::take(&mut self.before);
                        self.watch_effect(&record, before);
                    }
                }
                Report::Reconciled { restored } => {
                    self.say(&Text::new(
                        format!("the firewall did not hold what it should; {restored} bans were put back"),
                        format!("ファイアウォールの内容が記録と異なっていたため、{restored} 件の遮断を復元しました"),
                    ));
                }
                Report::Hook(said) => self.warn(&said),
                Report::Failed(error) => {
                    self.acting = false;
                    self.warn(&error);
                }
            }
        }
    }

    fn watch_effect(&mut self, action: &ActionRecord, before: Before) {
        if self.watched.iter().any(|w| w.id == action.id) || action.plan.predicted.is_empty() {
            return;
        }
        self.watched.push(Watched {
            id: action.id,
            steps: action.plan.steps.clone(),
            expected: Expectation {
                done: action.changed,
                before: before.used,
                predicted: action.plan.predicted.clone(),
                guards: before.guards,
            },
            measured: Vec::new(),
        });
    }

    /// Compares what was predicted with what is, and has an action taken back that brought nothing.
    fn measure(&mut self, situation: &Situation) {
        let now = situation.at;
        let Some(hands) = &self.hands else { return };
        self.watched.retain_mut(|watched| {
            let values = plans::measured(situation, &watched.steps);
            watched.measured.push(Measured { at: now, values: values.clone() });
            match verify::judge(&watched.expected, &watched.measured, now) {
                Outcome::Wait => true,
                outcome => {
                    let measured = plans::of_predicted(&watched.expected.predicted, &values);
                    drop(hands.orders.send(Order::Conclude { id: watched.id, outcome, measured }));
                    false
                }
            }
        });
    }

    /// Whether a finding is sure enough, and of a cause that the user listed.
    fn acts_on(&self, finding: &Finding) -> bool {
        finding.confidence >= SURE_MIN && self.settings.config.agent.act_on.contains(&finding.cause)
    }

    fn respond(&mut self, situation: &Situation, diagnosis: &Diagnosis) {
        if !self.may_act() || self.acting {
            return;
        }
        let holds = self.course.is_open() && diagnosis.verdict == Verdict::Incident;
        // Whom the user wants gone for what they do is not waited for until they have used something up.
        let is_deed = |finding: &Finding| {
            let first = finding.remedies.first().and_then(|remedy| remedy.plan.steps.first());
            finding.resource.is_none() && matches!(first, Some(Action::Ban { .. }))
        };
        let due = |finding: &&Finding| self.acts_on(finding) && (holds || is_deed(finding));
        if let Some(finding) = diagnosis.findings.iter().find(due) {
            self.order(situation, finding, situation.at);
        }
    }

    /// Orders what is left to do of a finding's remedy.
    fn order(&mut self, situation: &Situation, finding: &Finding, now: Time) {
        let (Some(hands), Some(book)) = (&self.hands, &self.book) else { return };
        // Without the book it is not known what stands already.
        let (Ok(bans), Ok(allowed)) = (book.bans(now), book.allowed()) else { return };
        let Some(plan) = plans::what_is_left(finding, &bans, &self.done, now) else { return };
        if !self.budget.allows(&plan, now) {
            return;
        }
        let plan = plans::with_settings(plan, &self.settings.config);
        self.budget.spend(&plan, now);
        let order = Order::CarryOut {
            plan,
            protected: Box::new(plans::protected(situation, &self.settings.config, &allowed)),
            incident: self.incident.as_ref().map(|i: &Incident| -> IncidentId { i.id }),
        };
        if hands.orders.send(order).is_ok() {
            self.acting = true;
            self.before = Before { used: plans::used(situation), guards: plans::guards(situation) };
        }
    }

    /// Has the user's command for an event run, if there is one.
    fn hook(&self, event: Event, json: impl FnOnce() -> String) {
        if let Some(hands) = &self.hands
            && !event.command(&self.settings.config.hooks).is_empty()
        {
            drop(hands.orders.send(Order::Hook { event, json: json() }));
        }
    }

    fn tell_action(&self, record: &ActionRecord) {
        print_all(&toban_views::text::actions(
            std::slice::from_ref(record),
            self.settings.lang,
            &self.settings.zone,
            out::style(crate::cli::Colour::Auto),
        ));
    }

    /// What was found, and where to look.
    fn greet(&self) {
        let host = self.flow.watch.host();
        let style = out::style(crate::cli::Colour::Auto);
        print_all(&toban_views::text::explain(host, self.settings.lang, style));
        for reader in self.flow.readers() {
            self.say(&reader.describe());
        }
        for note in &self.flow.notes {
            self.say(note);
        }
        if let Some(address) = self.settings.config.metrics.listen {
            let place = metrics::place(address);
            self.say(&Text::new(
                format!("metrics are served at {place}"),
                format!("メトリクスを {place} で公開しています"),
            ));
        }
        let state = self.settings.state.display();
        let (mode_en, mode_ja) = match self.settings.mode {
            // It was said above what is missing.
            Mode::Act if self.hands.is_none() => {
                ("observing, since it cannot act", "対処できないため監視のみを行います")
            }
            Mode::Observe => ("observing: nothing will be changed", "監視のみ(何も変更しません)"),
            Mode::Ask => {
                ("prepared remedies wait for `toban fix N`", "対処案を用意し、`toban fix N` を待ちます")
            }
            Mode::Act => {
                ("acting on the causes that the configuration lists", "設定した原因には自動で対処します")
            }
        };
        self.say(&Text::new(
            format!("on duty; {mode_en}. The record is in {state}. Ask: toban why · toban status · toban incidents"),
            format!("当番を開始しました。{mode_ja}。記録: {state}。確認: toban why · toban status · toban incidents"),
        ));
    }

    fn say(&self, text: &Text) {
        let at = toban_views::moment(clock::now(), &self.settings.zone);
        print_all(&format!("{at}  {}\n", text.lang(self.settings.lang)));
    }

    fn warn(&self, text: &str) {
        let at = toban_views::moment(clock::now(), &self.settings.zone);
        eprint_all(&format!("{at}  {text}\n"));
    }
}
