//! The commands that change something, and those that show what was done: all through the same safety rules, the
//! same book and the same engine as the agent.

use std::io::{BufRead as _, IsTerminal as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use toban_collect::{Root, history};
use toban_model::event::Event;
use toban_model::{
    Action, ActionId, ActionRecord, ActionState, Actor, Ban, Plan, Prefix, Protected, Situation, Text,
};
use toban_parse::{Clock, Format, sniff};
use toban_record::{Book, Record};
use toban_respond::Engine;
use toban_respond::verify::{self, Expectation, Measured, Outcome};

use crate::actor::{self, Turn};
use crate::cli::{self, Exit};
use crate::out::{eprint_all, print_all, style};
use crate::why::{Asked, glance, now};
use crate::{clock, plans};

/// Rows of a list; the record keeps more.
const LISTED: usize = 200;
/// How often the effect of a remedy is looked at.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Lines that a format is found from.
const SNIFFED_LINES: usize = 200;

/// The record of a command that only reads; an empty one where no agent ever ran.
pub(crate) fn reading(asked: &Asked<'_>) -> anyhow::Result<Arc<Record>> {
    let found = Record::open_existing(asked.state).context("could not read the record")?;
    Ok(Arc::new(match found {
        Some(record) => record,
        None => Record::in_memory()?,
    }))
}

/// The book to look into; an empty one where nothing was ever done.
pub(crate) fn book_of(asked: &Asked<'_>) -> anyhow::Result<Arc<Book>> {
    let found = Book::open_to_read(asked.state).context("could not read the book of actions")?;
    Ok(Arc::new(match found {
        Some(book) => book,
        None => Book::in_memory()?,
    }))
}

/// Everything that a command needs to act.
struct Hands {
    book: Arc<Book>,
    engine: Engine,
    _turn: Turn,
}

impl Hands {
    fn take(asked: &Asked<'_>) -> anyhow::Result<Hands> {
        let book = Arc::new(Book::open(asked.state).context("could not open the book of actions")?);
        let turn = Turn::take(asked.state)?;
        let mut engine = actor::engine(&book).context("could not act")?;
        engine.reconcile(clock::now())?;
        Ok(Hands { book, engine, _turn: turn })
    }
}

pub(crate) fn ban(asked: &Asked<'_>, ban: &cli::Ban) -> anyhow::Result<Exit> {
    // Reading the logs takes seconds on a busy site; the agent does not have to wait its turn for that.
    let protected = protected_now(asked)?;
    let mut hands = Hands::take(asked)?;
    let length = ban.length.unwrap_or(asked.config.ban.length);
    // A person's own words, typed at this host by its owner; they are shown, never interpreted.
    let reason = ban.reason.clone().unwrap_or_else(|| "by hand".to_owned());
    let plan = Plan {
        cause: "manual".into(),
        reason: Text::new(reason.clone(), reason),
        steps: vec![Action::Ban {
            prefixes: vec![ban.prefix],
            ports: ban.ports.clone(),
            for_s: length.as_secs(),
        }],
        ..Plan::default()
    };
    let (engine, present) = (&mut hands.engine, clock::now());
    let record = match ban.force {
        true => engine.carry_out_forced(present, &plan, &protected, None)?,
        false => engine.carry_out(present, &plan, &protected, Actor::Person, None)?,
    };
    Ok(shown(asked, &record))
}

/// What must not be hit by a ban by hand: the host as it is, and its usual traffic as the logs on disk tell it.
fn protected_now(asked: &Asked<'_>) -> anyhow::Result<Protected> {
    let judged = glance(asked);
    Ok(plans::protected(&judged.situation, asked.config, &book_of(asked)?.allowed()?))
}

fn shown(asked: &Asked<'_>, record: &ActionRecord) -> Exit {
    let text = toban_views::text::actions(
        std::slice::from_ref(record),
        asked.lang,
        &asked.zone,
        style(asked.colour),
    );
    print_all(&text);
    match record.state {
        ActionState::Failed | ActionState::Refused => Exit::CouldNot,
        _ => Exit::Ok,
    }
}

pub(crate) fn unban(asked: &Asked<'_>, prefix: Prefix) -> anyhow::Result<Exit> {
    let mut hands = Hands::take(asked)?;
    let gone = hands.engine.unban(clock::now(), prefix)?;
    if gone.is_empty() {
        bail!("{prefix} is not banned; `toban bans` shows who is");
    }
    eprint_all(&format!("{prefix} is let in again\n"));
    Ok(Exit::Ok)
}

pub(crate) fn undo(asked: &Asked<'_>, id: i64) -> anyhow::Result<Exit> {
    let mut hands = Hands::take(asked)?;
    let record = hands.engine.undo(clock::now(), ActionId(id))?;
    Ok(shown(asked, &record))
}

pub(crate) fn allow(asked: &Asked<'_>, prefix: Prefix) -> anyhow::Result<Exit> {
    let book = Book::open(asked.state).context("could not open the book of actions")?;
    book.allow(&prefix, clock::now())?;
    eprint_all(&format!("{prefix} is never banned from now on\n"));
    // What is allowed and banned at once would be a promise broken: end the bans that hit it.
    let hit: Vec<Ban> = book
        .bans(clock::now())?
        .into_iter()
        .filter(|ban| ban.prefix.contains(&prefix) || prefix.contains(&ban.prefix))
        .collect();
    if !hit.is_empty() {
        let mut hands = Hands::take(asked)?;
        for ban in hit {
            hands.engine.unban(clock::now(), ban.prefix)?;
            eprint_all(&format!("the ban of {} is ended\n", ban.prefix));
        }
    }
    Ok(Exit::Ok)
}

/// The bans as the kernel holds them: only what was seen there is called banned.
pub(crate) fn bans(asked: &Asked<'_>, json: bool) -> anyhow::Result<Exit> {
    let book = book_of(asked)?;
    let present = clock::now();
    let mut bans = book.bans(present)?;
    match actor::engine(&book).and_then(|mut engine| engine.bans_in_kernel()) {
        Ok(held) => {
            let in_kernel = |ban: &Ban| held.iter().any(|k| k.target.prefix == ban.prefix);
            for missing in bans.iter().filter(|b| !in_kernel(b)) {
                eprint_all(&format!("{} should be banned and is not in the kernel\n", missing.prefix));
            }
            bans.retain(in_kernel);
        }
        Err(error) => {
            eprint_all(&format!("could not look into the kernel: {error}; this is what the book says\n"));
        }
    }
    print_all(&if json {
        toban_views::json::bans(&bans, present, &asked.zone)
    } else {
        toban_views::text::bans(&bans, present, asked.lang, &asked.zone, style(asked.colour))
    });
    Ok(Exit::Ok)
}

pub(crate) fn actions(asked: &Asked<'_>, json: bool) -> anyhow::Result<Exit> {
    let actions = book_of(asked)?.actions(LISTED)?;
    print_all(&if json {
        toban_views::json::actions(&actions, asked.lang, &asked.zone)
    } else {
        toban_views::text::actions(&actions, asked.lang, &asked.zone, style(asked.colour))
    });
    Ok(Exit::Ok)
}

pub(crate) fn incidents(asked: &Asked<'_>, json: bool) -> anyhow::Result<Exit> {
    let incidents = reading(asked)?.incidents(LISTED)?;
    let present = clock::now();
    print_all(&if json {
        toban_views::json::incidents(&incidents, present, asked.lang, &asked.zone)
    } else {
        toban_views::text::incidents(&incidents, present, asked.lang, &asked.zone, style(asked.colour))
    });
    Ok(Exit::Ok)
}

pub(crate) fn fix(asked: &Asked<'_>, fix: &cli::Fix) -> anyhow::Result<Exit> {
    let judged = now(asked, Root::host());
    let remedies: Vec<_> = judged.diagnosis.findings.iter().flat_map(|f| &f.remedies).collect();
    let Some(n) = fix.n else {
        if remedies.is_empty() {
            eprint_all("there is no remedy to carry out; `toban why` says how things stand\n");
        }
        for remedy in remedies {
            print_all(&format!("toban fix {}   {}\n", remedy.id, remedy.text.lang(asked.lang)));
        }
        return Ok(Exit::Ok);
    };
    let Some(remedy) = remedies.iter().find(|r| r.id == n) else {
        bail!("there is no remedy {n} now; `toban fix` lists them");
    };
    let mut plan = plans::with_settings(remedy.plan.clone(), asked.config);
    if let Some(within) = fix.confirm_within {
        for step in &mut plan.steps {
            if let Action::AcceptOnlyFrom { confirm_within_s, .. } = step {
                *confirm_within_s = within.as_secs();
            }
        }
    }
    print_all(&toban_views::text::plan(&plan, asked.lang, style(asked.colour)));
    if fix.dry_run {
        return Ok(Exit::Ok);
    }
    if !fix.yes && !confirmed()? {
        eprint_all("nothing was done\n");
        return Ok(Exit::Ok);
    }
    let mut hands = Hands::take(asked)?;
    let allowed = hands.book.allowed()?;
    let protected = plans::protected(&judged.situation, asked.config, &allowed);
    let incident = reading(asked)?.open_incident_now()?.map(|i| i.id);
    let record = hands.engine.carry_out(clock::now(), &plan, &protected, Actor::Person, incident)?;
    let within = record.plan.steps.iter().find_map(|step| match step {
        Action::AcceptOnlyFrom { confirm_within_s, .. } => Some(Duration::from_secs(*confirm_within_s)),
        _ => None,
    });
    let exit = shown(asked, &record);
    match within.filter(|_| record.state == ActionState::Done) {
        Some(within) => confirm(asked, hands, &record, within),
        None if record.state == ActionState::Done => measure(asked, hands, &record, &judged.situation),
        None => Ok(exit),
    }
}

/// Looks until it is clear whether it helped; what did not is taken back.
fn measure(
    asked: &Asked<'_>,
    mut hands: Hands,
    record: &ActionRecord,
    before: &Situation,
) -> anyhow::Result<Exit> {
    let expected = Expectation {
        done: record.changed,
        before: plans::used(before),
        predicted: record.plan.predicted.clone(),
        guards: plans::guards(before),
    };
    if expected.predicted.is_empty() {
        return Ok(Exit::Ok);
    }
    eprint_all("measuring whether it helps; this takes a quarter of a minute, at most a minute and a half\n");
    let mut measured = Vec::new();
    let mut flow = crate::why::opened(asked);
    loop {
        std::thread::sleep(MEASURE_EVERY);
        let present = clock::now();
        flow.follow(present);
        flow.look(present);
        let values = plans::measured(&flow.close(present, true), &record.plan.steps);
        measured.push(Measured { at: present, values: values.clone() });
        let outcome = verify::judge(&expected, &measured, present);
        if outcome == Outcome::Wait {
            continue;
        }
        let told = plans::of_predicted(&expected.predicted, &values);
        let settled = hands.engine.conclude(clock::now(), record.id, outcome, &told)?;
        return Ok(shown(asked, &settled));
    }
}

/// A risky change stands only if somebody who still gets through says so: at this prompt, or it is taken back.
fn confirm(
    asked: &Asked<'_>,
    mut hands: Hands,
    record: &ActionRecord,
    within: Duration,
) -> anyhow::Result<Exit> {
    eprint_all(&format!(
        "open a second connection to this host now. Type yes within {} s to keep the change; else it is taken back\n",
        within.as_secs()
    ));
    let (answer, answered) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // No terminal, no answer: the change is taken back, which is the safe side.
        if std::io::stdin().lock().read_line(&mut line).is_ok() {
            drop(answer.send(line));
        }
    });
    let kept = answered.recv_timeout(within).is_ok_and(|line| line.trim() == "yes");
    let settled = if kept {
        hands.engine.confirm(clock::now(), record.id)?
    } else {
        hands.engine.undo(clock::now(), record.id)?
    };
    Ok(shown(asked, &settled))
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody can be asked here; use --yes to do it or --dry-run to see it");
    }
    eprint_all("Do this? [y/N] ");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

pub(crate) fn parse(asked: &Asked<'_>, parse: &cli::Parse) -> anyhow::Result<Exit> {
    let zone: TimeZone = parse.tz.clone().unwrap_or_else(|| asked.zone.clone());
    let present = clock::now();
    let stamp = match &parse.now {
        Some(when) => when.resolve(present, &zone)?,
        None => present,
    };
    let parse_clock = Clock { now: stamp, zone };
    let at = parse.log.display();
    let mut log = history::stream(&parse.log).context("could not read the log")?;
    let mut format = match &parse.format {
        Some(text) => Some(Format::from_name_or_string(text, &parse_clock)?),
        None => None,
    };
    // Lines wait here until the format is found from them.
    let mut waiting: Vec<Vec<u8>> = Vec::new();
    let (mut number, mut misfits) = (0u64, 0u64);
    let mut out = String::new();
    let mut show = |format: &mut Format, line: &[u8]| {
        number += 1;
        match format.parse(line) {
            Some(Event::Silent) => return,
            Some(event) if parse.json => {
                let offence = match &event {
                    Event::Request(request) => toban_detect::offence(request),
                    _ => None,
                };
                out.push_str(&toban_views::json::event(number, &event, offence));
            }
            Some(event) => out.push_str(&toban_parse::show(&event)),
            None => {
                misfits += u64::from(!line.trim_ascii().is_empty());
                return;
            }
        }
        out.push('\n');
        if out.len() > 1 << 16 {
            print_all(&out);
            out.clear();
        }
    };
    loop {
        let mut line = Vec::new();
        let more = log.read_until(b'\n', &mut line).with_context(|| format!("could not read {at}"))? > 0;
        if format.is_none() && (!more || waiting.len() >= SNIFFED_LINES) {
            let lines: Vec<&[u8]> = waiting.iter().map(Vec::as_slice).collect();
            let found = sniff(&lines, &parse_clock);
            let Some(found) = found else {
                bail!("{at}: no known format fits its lines; say which with --format");
            };
            let found = format.insert(found);
            waiting.drain(..).for_each(|line| show(found, &line));
        }
        if !more {
            break;
        }
        match &mut format {
            Some(format) => show(format, &line),
            None => waiting.push(line),
        }
    }
    print_all(&out);
    let took = format.as_ref().map(Format::describe).unwrap_or_default();
    eprint_all(&format!("{at}: {took}; {misfits} lines were not understood\n"));
    Ok(Exit::Ok)
}
