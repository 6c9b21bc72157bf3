//! The engine: carries plans out, takes them back, and keeps book and kernel the same.
//!
//! The order is always: audit record, book, kernel, look. So whatever is killed at whatever moment, what is found
//! afterwards is one of few things, and [`Engine::reconcile`] knows each of them:
//!
//! | found | it means | it becomes |
//! | --- | --- | --- |
//! | action `Intended`, no ban of it in the book | nothing was done | `Failed` |
//! | action `Intended`, bans in the book | the kernel may or may not have them | put in, `Done` |
//! | action `Intended`, a restart begun | the service may be down | started if it is, `Done` |
//! | action `Intended`, a gate | nobody could confirm it | taken out |
//! | ban in the book, not in the kernel | flushed, or the host was restarted | put in with its remaining time |
//! | ban in the kernel, not in the book | undone or expired half-way, or foreign | taken out |
//! | ban of an action that does not stand any more | an undo was cut short | taken out of both |
//!
//! **When a step fails.** If the ban fails, the plan ends there: to end sockets and restart a service without the drop
//! rule gives the attack everything back at once and costs the usual clients a restart. If a later step fails, the ban
//! stays (it passed the safety rules and ends by itself), the other steps go on, the action is `Done` with the failure
//! in its notes, and what is measured afterwards decides whether it helped. If nothing of a plan stands, it is
//! `Failed`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toban_model::{
    Action, ActionId, ActionRecord, ActionState, Actor, Ban, IncidentId, Plan, Prefix, Protected, Time,
};

use crate::actions::{Room, form, gate};
use crate::firewall::{Firewall, Held, KernelBan, Target, Wanted};
use crate::ledger::{Ledger, Progress, StepProgress};
use crate::safety::{self, Refusal};
use crate::verify::Outcome;
use crate::{Error, Result};

/// The kernel counts in jiffies, the book in wall-clock time, and a clock may be set: a difference below this is left,
/// since a new time costs the element its counter.
const DRIFT: Duration = Duration::from_secs(5);

/// Book and kernel are compared in full at least this often, though neither seems to have changed.
const COMPARE_EVERY: Duration = Duration::from_secs(300);
/// More bans than this are looked up one by one instead of being listed: a list of a large set costs by its square.
/// A ban that is in the kernel and not in the book is not noticed then; it ends by itself.
const LISTED_MAX: usize = 16_384;

/// Carries plans out. One engine at a time uses a ledger and a network namespace.
pub struct Engine {
    ledger: Box<dyn Ledger>,
    firewall: Box<dyn Firewall>,
    same: Option<Same>,
}

/// When book and kernel were the same, and by what it is known that they still are.
struct Same {
    at: Time,
    book: u64,
    kernel: u32,
    /// The next ban or gate ends.
    ends: Time,
}

/// What a comparison of book and kernel found and put right.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reconciled {
    /// In the book and not in the kernel: put in again, and seen there.
    pub restored: Vec<Target>,
    /// In toban's table and not in the book: taken out.
    pub foreign: Vec<Target>,
    /// In both with different times: the book's was set.
    pub retimed: Vec<Target>,
    /// Why the table was made anew as a whole, if it was.
    pub rebuilt: Option<String>,
    /// Actions that a crash had cut short, as they stand now.
    pub settled: Vec<ActionRecord>,
}

impl Reconciled {
    /// Whether book and kernel were the same already.
    pub fn was_in_order(&self) -> bool {
        *self == Reconciled::default()
    }
}

impl Engine {
    /// Call [`Engine::reconcile`] before anything else.
    pub fn new(ledger: Box<dyn Ledger>, firewall: Box<dyn Firewall>) -> Engine {
        Engine { ledger, firewall, same: None }
    }

    /// Checks a plan against the safety rules and carries it out. The record that comes back says how far it came;
    /// an error means that the ledger failed, and then nothing further was done.
    pub fn carry_out(
        &mut self,
        now: Time,
        plan: &Plan,
        protected: &Protected,
        by: Actor,
        incident: Option<IncidentId>,
    ) -> Result<ActionRecord> {
        let checked = safety::check(plan, protected, by).map(|safe| (safe, Vec::new()));
        self.carry_out_checked(now, plan, checked, by, incident)
    }

    /// As [`Engine::carry_out`], for a person who insists: the rules that were overridden stand in the record's notes.
    pub fn carry_out_forced(
        &mut self,
        now: Time,
        plan: &Plan,
        protected: &Protected,
        incident: Option<IncidentId>,
    ) -> Result<ActionRecord> {
        self.carry_out_checked(now, plan, safety::check_forced(plan, protected), Actor::Person, incident)
    }

    fn carry_out_checked(
        &mut self,
        now: Time,
        plan: &Plan,
        checked: Result<(Plan, Vec<Refusal>), Vec<Refusal>>,
        by: Actor,
        incident: Option<IncidentId>,
    ) -> Result<ActionRecord> {
        let mut record = ActionRecord {
            id: ActionId(0),
            at: now,
            incident,
            by,
            plan: plan.clone(),
            state: ActionState::Intended,
            measured: BTreeMap::new(),
            notes: vec![],
            changed: now,
        };
        let in_words = |refusal: &Refusal| format!("{}: {}", refusal.rule, refusal.text.en);
        match checked {
            Ok((safe, overridden)) => {
                record.plan = safe;
                record.notes =
                    overridden.iter().map(|refusal| format!("forced past {}", in_words(refusal))).collect();
            }
            Err(refusals) => {
                record.state = ActionState::Refused;
                record.notes = refusals.iter().map(in_words).collect();
                record.id = self.ledger.intend(&record)?;
                return Ok(record);
            }
        }
        record.id = self.ledger.intend(&record)?;
        let mut progress =
            Progress { steps: vec![StepProgress::Ahead; record.plan.steps.len()], respawn: None };
        for index in 0..record.plan.steps.len() {
            let step = record.plan.steps[index].clone();
            let form = form(&step);
            progress.steps[index] = StepProgress::Begun;
            if keeps_progress(&step) {
                self.ledger.put_progress(record.id, &progress)?;
            }
            match self.step(now, &record, &mut progress, &step, false) {
                Ok(said) => {
                    progress.steps[index] = StepProgress::Done;
                    record.notes.push(said);
                }
                Err(Error::Ledger(error)) => return Err(error.into()),
                Err(error) => {
                    progress.steps[index] = StepProgress::Failed;
                    record.notes.push(format!("{}: could not: {error}", form.id));
                    if form.needed {
                        record.notes.extend(
                            record.plan.steps[index + 1..]
                                .iter()
                                .map(|step| format!("{}: left out after that", step.id())),
                        );
                        break;
                    }
                }
            }
            if keeps_progress(&step) {
                self.ledger.put_progress(record.id, &progress)?;
            }
        }
        let any_done = progress.steps.contains(&StepProgress::Done);
        record.state = if any_done { ActionState::Done } else { ActionState::Failed };
        self.ledger.update(&record)?;
        Ok(record)
    }

    fn step(
        &mut self,
        now: Time,
        record: &ActionRecord,
        progress: &mut Progress,
        step: &Action,
        again: bool,
    ) -> Result<String> {
        let mut room = Room {
            now,
            ledger: self.ledger.as_mut(),
            firewall: self.firewall.as_mut(),
            record,
            progress,
            again,
        };
        (form(step).carry_out)(&mut room, step)
    }

    /// Takes an action back, as far as it can be.
    pub fn undo(&mut self, now: Time, id: ActionId) -> Result<ActionRecord> {
        let record = self.open_action(id)?;
        self.take_back(now, record, ActionState::Undone)
    }

    fn open_action(&self, id: ActionId) -> Result<ActionRecord> {
        let no = |why: String| Error::NoSuchAction { id: id.0, why };
        let record = self.ledger.action(id)?.ok_or_else(|| no("there is none of that number".to_owned()))?;
        match record.state {
            ActionState::Intended | ActionState::Done | ActionState::Worked => Ok(record),
            state => Err(no(format!("it does not stand any more ({state:?})"))),
        }
    }

    /// The state first: if we die in between, what is left is of an action that does not stand, and is taken out.
    fn take_back(&mut self, now: Time, mut record: ActionRecord, state: ActionState) -> Result<ActionRecord> {
        record.state = state;
        record.changed = now;
        self.ledger.update(&record)?;
        let mut failed = None;
        for step in record.plan.steps.clone().iter().rev() {
            let mut progress = Progress::default();
            let mut room = Room {
                now,
                ledger: self.ledger.as_mut(),
                firewall: self.firewall.as_mut(),
                record: &record,
                progress: &mut progress,
                again: false,
            };
            match (form(step).take_back)(&mut room, step) {
                Ok(said) => record.notes.push(format!("undo: {said}")),
                Err(error) => {
                    record.notes.push(format!("undo: {}: could not: {error}", step.id()));
                    failed = failed.or(Some(error));
                }
            }
        }
        self.ledger.update(&record)?;
        failed.map_or(Ok(record), Err)
    }

    /// A person has looked at a commit-confirmed action and keeps it: it stands from now on, as `Worked`.
    pub fn confirm(&mut self, now: Time, id: ActionId) -> Result<ActionRecord> {
        let mut record = self.open_action(id)?;
        if record.state != ActionState::Done || !has_gate(&record) {
            return Err(Error::NoSuchAction {
                id: id.0,
                why: "it does not wait for a confirmation".to_owned(),
            });
        }
        if record
            .plan
            .steps
            .iter()
            .any(|step| matches!(step, Action::AcceptOnlyFrom { .. }) && gate(&record, step, now).is_none())
        {
            let record = self.take_back(now, record, ActionState::Undone)?;
            return Err(Error::NoSuchAction {
                id: record.id.0,
                why: "its time for confirmation was over, it is undone".to_owned(),
            });
        }
        record.state = ActionState::Worked;
        record.changed = now;
        record.notes.push("confirmed".to_owned());
        self.ledger.update(&record)?;
        for step in record.plan.steps.iter().filter(|step| matches!(step, Action::AcceptOnlyFrom { .. })) {
            self.step(now, &record, &mut Progress::default(), step, false)?;
        }
        Ok(record)
    }

    /// Writes down what was measured after an action, and takes it back if it had no effect or harmed.
    pub fn conclude(
        &mut self,
        now: Time,
        id: ActionId,
        outcome: Outcome,
        measured: &BTreeMap<String, f64>,
    ) -> Result<ActionRecord> {
        let mut record = self.open_action(id)?;
        record.measured.extend(measured.iter().map(|(name, value)| (name.clone(), *value)));
        record.changed = now;
        match outcome {
            Outcome::Wait => {}
            Outcome::Worked if has_gate(&record) && record.state == ActionState::Done => {
                record.notes.push("it helped; it still waits for a confirmation".to_owned());
            }
            Outcome::Worked => record.state = ActionState::Worked,
            Outcome::NoEffect => return self.take_back(now, record, ActionState::NoEffect),
            Outcome::Harmed => return self.take_back(now, record, ActionState::Harmed),
        }
        self.ledger.update(&record)?;
        Ok(record)
    }

    /// Takes every ban of a prefix out, whichever action made it; returns those that it found.
    pub fn unban(&mut self, now: Time, prefix: Prefix) -> Result<Vec<Ban>> {
        let prefix = safety::canonical_prefix(&prefix);
        let (gone, left): (Vec<Ban>, Vec<Ban>) =
            self.ledger.bans()?.into_iter().partition(|ban| ban.prefix == prefix);
        self.ledger.remove_bans(&gone)?;
        put_back_what_is_left(
            self.firewall.as_mut(),
            self.ledger.as_mut(),
            now,
            gone.iter().map(Target::of).collect(),
        )?;
        for id in gone.iter().map(|ban| ban.action).collect::<BTreeSet<_>>() {
            let Some(mut record) = self.ledger.action(id)? else { continue };
            record.notes.push(format!("unbanned by hand: {prefix}"));
            record.changed = now;
            if !left.iter().any(|ban| ban.action == id) && !has_gate(&record) {
                record.state = ActionState::Undone;
            }
            self.ledger.update(&record)?;
        }
        Ok(gone)
    }

    /// Ends what is over: the kernel has dropped the bans by itself already, the book follows. Gates that nobody
    /// confirmed are undone. Returns the actions that changed.
    pub fn expire(&mut self, now: Time) -> Result<Vec<ActionRecord>> {
        let (over, left): (Vec<Ban>, Vec<Ban>) =
            self.ledger.bans()?.into_iter().partition(|ban| ban.until <= now);
        let mut changed = Vec::new();
        if !over.is_empty() {
            self.ledger.remove_bans(&over)?;
            put_back_what_is_left(
                self.firewall.as_mut(),
                self.ledger.as_mut(),
                now,
                over.iter().map(Target::of).collect(),
            )?;
        }
        let has_ended: BTreeSet<ActionId> = over.iter().map(|ban| ban.action).collect();
        for mut record in self.ledger.open_actions()? {
            let lapsed = record.state == ActionState::Done
                && record.plan.steps.iter().any(|step| {
                    matches!(step, Action::AcceptOnlyFrom { .. }) && gate(&record, step, now).is_none()
                });
            if lapsed {
                record.notes.push("nobody confirmed it in time".to_owned());
                changed.push(self.take_back(now, record, ActionState::Undone)?);
                continue;
            }
            let bans_are_over =
                has_ended.contains(&record.id) && !left.iter().any(|ban| ban.action == record.id);
            if bans_are_over && !has_gate(&record) {
                if record.state == ActionState::Worked {
                    record.notes.push("it worked, and its time is over".to_owned());
                }
                record.state = ActionState::Expired;
                record.changed = now;
                self.ledger.update(&record)?;
                changed.push(record);
            }
        }
        // The last one leaves the host's rules as they were.
        if !changed.is_empty() && standing(self.ledger.as_ref(), now)? == Wanted::default() {
            self.firewall.rebuild(&Wanted::default())?;
        }
        Ok(changed)
    }

    /// Ends what is over, compares book and kernel, and makes the kernel what the book says: at start, after a foreign
    /// flush, and now and then. Bans that are missing get their remaining time; nothing is ever in there twice.
    pub fn reconcile(&mut self, now: Time) -> Result<Reconciled> {
        if self.is_still_same(now)? {
            return Ok(Reconciled::default());
        }
        self.same = None;
        let report = self.compare(now)?;
        self.same = self.now_same(now)?;
        Ok(report)
    }

    fn is_still_same(&mut self, now: Time) -> Result<bool> {
        let Some(same) = &self.same else { return Ok(false) };
        Ok(now < same.ends
            && now.since(same.at) < COMPARE_EVERY
            && self.ledger.version()? == Some(same.book)
            && self.firewall.generation()? == Some(same.kernel))
    }

    fn now_same(&mut self, now: Time) -> Result<Option<Same>> {
        let (Some(book), Some(kernel)) = (self.ledger.version()?, self.firewall.generation()?) else {
            return Ok(None);
        };
        let wanted = standing(self.ledger.as_ref(), now)?;
        let gates = wanted.gates.iter().filter_map(|gate| gate.lapses_in);
        let ends =
            wanted.bans.values().copied().chain(gates).min().map_or(now + COMPARE_EVERY, |left| now + left);
        Ok(Some(Same { at: now, book, kernel, ends }))
    }

    fn compare(&mut self, now: Time) -> Result<Reconciled> {
        let mut report = Reconciled::default();
        let open = self.ledger.open_actions()?;
        let standing_ids: BTreeSet<ActionId> = open.iter().map(|record| record.id).collect();
        let orphans: Vec<Ban> =
            self.ledger.bans()?.into_iter().filter(|ban| !standing_ids.contains(&ban.action)).collect();
        if !orphans.is_empty() {
            self.ledger.remove_bans(&orphans)?;
        }
        self.expire(now)?;

        let wanted = standing(self.ledger.as_ref(), now)?;
        let nothing = wanted == Wanted::default();
        match held_for(self.firewall.as_mut(), &wanted) {
            Ok(None) if nothing => {}
            Ok(None) => {
                report.rebuilt = Some("there was no table toban".to_owned());
                report.restored = wanted.bans.keys().cloned().collect();
                self.firewall.rebuild(&wanted)?;
            }
            Err(Error::Gone { what }) => {
                report.rebuilt = Some(what);
                // What the broken table still held cannot be trusted to have worked.
                report.restored = wanted.bans.keys().cloned().collect();
                self.firewall.rebuild(&wanted)?;
            }
            Ok(Some(held)) => {
                report.foreign =
                    held.bans.keys().filter(|target| !wanted.bans.contains_key(target)).cloned().collect();
                let mut put = BTreeMap::new();
                for (target, time) in &wanted.bans {
                    match held.bans.get(target) {
                        None => report.restored.push(target.clone()),
                        Some(ban) if ban.remaining.is_some_and(|left| left.abs_diff(*time) <= DRIFT) => {
                            continue;
                        }
                        Some(_) => report.retimed.push(target.clone()),
                    }
                    put.insert(target.clone(), *time);
                }
                let gates: BTreeSet<ActionId> = wanted.gates.iter().map(|gate| gate.action).collect();
                let same_gates = gates == held.gates.iter().copied().collect();
                if !same_gates {
                    report.rebuilt = Some("a gate was missing, or one too many".to_owned());
                }
                if nothing || !same_gates {
                    self.firewall.rebuild(&wanted)?;
                } else {
                    if !report.foreign.is_empty() {
                        self.firewall.remove(&report.foreign)?;
                    }
                    if !put.is_empty() {
                        self.firewall.put(&put)?;
                    }
                }
            }
            Err(error) => return Err(error),
        }

        for record in open.into_iter().filter(|record| record.state == ActionState::Intended) {
            report.settled.push(self.settle(now, record)?);
        }
        Ok(report)
    }

    /// An action that was found half-way. Its bans have been put in by now. What was not begun is not begun now: the
    /// plan answers a moment that has passed, and if the incident goes on, there will be a new one.
    fn settle(&mut self, now: Time, mut record: ActionRecord) -> Result<ActionRecord> {
        let mut progress = self.ledger.progress(record.id)?.unwrap_or_default();
        progress.steps.resize(record.plan.steps.len(), StepProgress::Ahead);
        let bans = self.ledger.bans()?.iter().filter(|ban| ban.action == record.id).count();
        let mut stands = bans > 0;
        if stands {
            record.notes.push(format!("found half-way at start: {bans} bans are in the kernel"));
        }
        for (index, step) in record.plan.steps.clone().iter().enumerate() {
            match (step, &progress.steps[index]) {
                (Action::Restart(_), StepProgress::Begun) => {
                    match self.step(now, &record, &mut progress, step, true) {
                        Ok(said) => record.notes.push(format!("found half-way at start: {said}")),
                        Err(Error::Ledger(error)) => return Err(error.into()),
                        Err(error) => record
                            .notes
                            .push(format!("found half-way at start: {}: could not: {error}", step.id())),
                    }
                    stands = true;
                }
                // What was asked to end has ended, or goes on; which of both is seen.
                (Action::StopProcess { process }, _) if !crate::process::runs(*process) => {
                    record.notes.push(format!("found half-way at start: process {} is gone", process.pid));
                    stands = true;
                }
                (_, StepProgress::Done) => stands = true,
                (Action::AcceptOnlyFrom { .. }, _) => self.firewall.remove_gate(record.id)?,
                _ => {}
            }
        }
        record.state = if stands { ActionState::Done } else { ActionState::Failed };
        if !stands {
            record.notes.push("found at start: nothing of it had been done".to_owned());
        }
        record.changed = now;
        self.ledger.update(&record)?;
        Ok(record)
    }

    /// What the kernel holds, not what the book wishes.
    pub fn bans_in_kernel(&mut self) -> Result<Vec<KernelBan>> {
        // What has ended in the book by now may stand in the kernel for a moment longer.
        let wanted = Wanted { bans: wanted_bans(&self.ledger.bans()?, Time::ZERO), gates: vec![] };
        let held = held_for(self.firewall.as_mut(), &wanted)?;
        Ok(held.map(|held| held.bans.into_values().collect()).unwrap_or_default())
    }

    /// The book's bans.
    pub fn bans(&self) -> Result<Vec<Ban>> {
        Ok(self.ledger.bans()?)
    }

    /// The audit trail's record of an action.
    pub fn action(&self, id: ActionId) -> Result<Option<ActionRecord>> {
        Ok(self.ledger.action(id)?)
    }
}

/// Steps of which a crash leaves something that only their own progress tells. A ban tells by the book, and the
/// sockets that were ended by not being there; each write that is spared is one sync less before the drop.
fn keeps_progress(step: &Action) -> bool {
    matches!(step, Action::Restart(_))
}

fn has_gate(record: &ActionRecord) -> bool {
    record.plan.steps.iter().any(|step| matches!(step, Action::AcceptOnlyFrom { .. }))
}

/// What the bans come to: for each target the longest of its times.
pub(crate) fn wanted_bans(bans: &[Ban], now: Time) -> BTreeMap<Target, Duration> {
    let mut wanted: BTreeMap<Target, Duration> = BTreeMap::new();
    for ban in bans {
        let left = ban.until.since(now);
        if !left.is_zero() {
            let time = wanted.entry(Target::of(ban)).or_default();
            *time = left.max(*time);
        }
    }
    wanted
}

/// All that the kernel should hold according to the book.
fn standing(ledger: &dyn Ledger, now: Time) -> Result<Wanted> {
    let open = ledger.open_actions()?;
    let ids: BTreeSet<ActionId> = open.iter().map(|record| record.id).collect();
    let bans: Vec<Ban> = ledger.bans()?.into_iter().filter(|ban| ids.contains(&ban.action)).collect();
    let gates = open
        .iter()
        // One that is only intended has never been announced; it is put in by its own step.
        .filter(|record| record.state != ActionState::Intended)
        .flat_map(|record| record.plan.steps.iter().filter_map(|step| gate(record, step, now)))
        .collect();
    Ok(Wanted { bans: wanted_bans(&bans, now), gates })
}

/// What the kernel holds of what is wanted, and (as long as that can be listed) beside it.
fn held_for(firewall: &mut dyn Firewall, wanted: &Wanted) -> Result<Option<Held>> {
    if wanted.bans.len() > LISTED_MAX {
        return firewall.held_of(&wanted.bans.keys().collect::<Vec<_>>());
    }
    let Some(mut held) = firewall.held()? else { return Ok(None) };
    let unseen: Vec<&Target> = wanted.bans.keys().filter(|target| !held.bans.contains_key(target)).collect();
    if !unseen.is_empty()
        && let Some(found) = firewall.held_of(&unseen)?
    {
        held.bans.extend(found.bans);
    }
    Ok(Some(held))
}

/// Makes the kernel's table anew from the book.
pub(crate) fn rebuild(firewall: &mut dyn Firewall, ledger: &dyn Ledger, now: Time) -> Result<()> {
    firewall.rebuild(&standing(ledger, now)?)
}

/// Puts bans in; if somebody has taken the table apart, all of the book goes in anew.
pub(crate) fn put_or_rebuild(
    firewall: &mut dyn Firewall,
    ledger: &dyn Ledger,
    now: Time,
    bans: &BTreeMap<Target, Duration>,
) -> Result<()> {
    match firewall.put(bans) {
        Err(Error::Gone { .. }) => rebuild(firewall, ledger, now),
        other => other,
    }
}

/// After bans were taken out of the book: the kernel drops what nobody wants any more, and what another action still
/// wants gets that one's time.
pub(crate) fn put_back_what_is_left(
    firewall: &mut dyn Firewall,
    ledger: &dyn Ledger,
    now: Time,
    targets: Vec<Target>,
) -> Result<()> {
    let prefixes: Vec<Prefix> = targets.iter().map(|target| target.prefix).collect();
    let wanted = wanted_bans(&ledger.bans_of(&prefixes)?, now);
    let (kept, gone): (Vec<Target>, Vec<Target>) =
        targets.into_iter().partition(|target| wanted.contains_key(target));
    let kept: BTreeMap<Target, Duration> = kept
        .into_iter()
        .filter_map(|target| wanted.get(&target).map(|time| (target.clone(), *time)))
        .collect();
    let mut outcome = if gone.is_empty() { Ok(()) } else { firewall.remove(&gone) };
    if outcome.is_ok() && !kept.is_empty() {
        outcome = firewall.put(&kept);
    }
    match outcome {
        Err(Error::Gone { .. }) => rebuild(firewall, ledger, now),
        other => other,
    }
}
