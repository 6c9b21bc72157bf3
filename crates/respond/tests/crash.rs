//! The crash matrix: the engine is killed before and after everything that it writes, in book or kernel, and opened
//! again on what it left. Afterwards book and kernel say the same, and nothing is lost or doubled.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use toban_model::{Action, ActionId, ActionRecord, ActionState, Actor, Ban, Plan, Protected, Time};
use toban_respond::verify::Outcome;
use toban_respond::{
    Engine, Error, Firewall, Gate, Held, KernelBan, Ledger, LedgerError, MemoryLedger, Progress, Result,
    Target, Wanted,
};

/// Counts what is written, and dies at a chosen moment: even ones before the write, odd ones after it.
#[derive(Clone, Default)]
struct Fuse(Arc<Mutex<(u32, Option<u32>)>>);

impl Fuse {
    fn around<T>(&self, work: impl FnOnce() -> T) -> T {
        self.burn();
        let result = work();
        self.burn();
        result
    }

    fn burn(&self) {
        let mut state = self.0.lock().unwrap();
        let now = state.0;
        state.0 += 1;
        let dies = state.1 == Some(now);
        drop(state);
        if dies {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }
}

#[derive(Clone, Default)]
struct Kernel {
    held: Arc<Mutex<Option<Held>>>,
    fuse: Fuse,
    fails: Arc<Mutex<bool>>,
}

impl Kernel {
    fn change(&self, work: impl FnOnce(&mut Held)) -> Result<()> {
        if *self.fails.lock().unwrap() {
            return Err(Error::NoRights { doing: "add bans" });
        }
        self.fuse.around(|| work(self.held.lock().unwrap().get_or_insert_default()));
        Ok(())
    }
}

fn in_kernel(target: &Target, time: Duration) -> (Target, KernelBan) {
    (
        target.clone(),
        KernelBan { target: target.clone(), remaining: Some(time), packets: Some(0), bytes: Some(0) },
    )
}

impl Firewall for Kernel {
    fn put(&mut self, bans: &BTreeMap<Target, Duration>) -> Result<()> {
        self.change(|held| held.bans.extend(bans.iter().map(|(target, time)| in_kernel(target, *time))))
    }
    fn remove(&mut self, targets: &[Target]) -> Result<()> {
        self.change(|held| held.bans.retain(|target, _| !targets.contains(target)))
    }
    fn put_gate(&mut self, gate: &Gate) -> Result<()> {
        self.change(|held| {
            held.gates.retain(|id| *id != gate.action);
            held.gates.push(gate.action);
        })
    }
    fn remove_gate(&mut self, action: ActionId) -> Result<()> {
        self.change(|held| held.gates.retain(|id| *id != action))
    }
    fn held(&mut self) -> Result<Option<Held>> {
        Ok(self.held.lock().unwrap().clone())
    }
    fn held_of(&mut self, _: &[&Target]) -> Result<Option<Held>> {
        self.held()
    }
    fn generation(&mut self) -> Result<Option<u32>> {
        Ok(None)
    }
    fn rebuild(&mut self, wanted: &Wanted) -> Result<()> {
        self.change(|held| {
            *held = Held {
                bans: wanted.bans.iter().map(|(target, time)| in_kernel(target, *time)).collect(),
                gates: wanted.gates.iter().map(|gate| gate.action).collect(),
            };
        })?;
        if *wanted == Wanted::default() {
            *self.held.lock().unwrap() = None;
        }
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Book {
    inner: MemoryLedger,
    fuse: Fuse,
}

impl Ledger for Book {
    fn intend(&mut self, record: &ActionRecord) -> Result<ActionId, LedgerError> {
        self.fuse.clone().around(|| self.inner.intend(record))
    }
    fn update(&mut self, record: &ActionRecord) -> Result<(), LedgerError> {
        self.fuse.clone().around(|| self.inner.update(record))
    }
    fn action(&self, id: ActionId) -> Result<Option<ActionRecord>, LedgerError> {
        self.inner.action(id)
    }
    fn open_actions(&self) -> Result<Vec<ActionRecord>, LedgerError> {
        self.inner.open_actions()
    }
    fn bans(&self) -> Result<Vec<Ban>, LedgerError> {
        self.inner.bans()
    }
    fn put_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        self.fuse.clone().around(|| self.inner.put_bans(bans))
    }
    fn remove_bans(&mut self, bans: &[Ban]) -> Result<(), LedgerError> {
        self.fuse.clone().around(|| self.inner.remove_bans(bans))
    }
    fn put_progress(&mut self, id: ActionId, progress: &Progress) -> Result<(), LedgerError> {
        self.fuse.clone().around(|| self.inner.put_progress(id, progress))
    }
    fn progress(&self, id: ActionId) -> Result<Option<Progress>, LedgerError> {
        self.inner.progress(id)
    }
}

#[derive(Clone, Default)]
struct Host {
    book: Book,
    kernel: Kernel,
}

impl Host {
    fn new() -> Host {
        let fuse = Fuse::default();
        Host {
            book: Book { fuse: fuse.clone(), ..Book::default() },
            kernel: Kernel { fuse, ..Kernel::default() },
        }
    }

    fn engine(&self) -> Engine {
        Engine::new(Box::new(self.book.clone()), Box::new(self.kernel.clone()))
    }

    fn dies_at(&self, moment: Option<u32>) {
        *self.book.fuse.0.lock().unwrap() = (0, moment);
    }
}

const NOW: Time = Time::from_secs(1_800_000_000);

fn at(seconds: u64) -> Time {
    NOW + Duration::from_secs(seconds)
}

fn ban(prefixes: &[&str], for_s: u64) -> Plan {
    let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
    Plan { steps: vec![Action::Ban { prefixes, ports: vec![80, 443], for_s }], ..Plan::default() }
}

fn carry_out(engine: &mut Engine, now: Time, plan: &Plan) -> ActionRecord {
    engine.carry_out(now, plan, &Protected::default(), Actor::Agent, None).unwrap()
}

/// Book and kernel agree, exactly, and the audit trail has nothing open that is not so.
fn assert_in_order(host: &Host, now: Time, when: &str) {
    let mut engine = host.engine();
    engine.reconcile(now).unwrap();
    assert!(engine.reconcile(now).unwrap().was_in_order(), "{when}: a second look finds something");
    let mut wanted: BTreeMap<Target, Time> = BTreeMap::new();
    for ban in engine.bans().unwrap() {
        let record = engine.action(ban.action).unwrap().unwrap();
        assert!(matches!(record.state, ActionState::Done | ActionState::Worked), "{when}: {record:?}");
        let until = wanted.entry(Target::of(&ban)).or_insert(ban.until);
        *until = ban.until.max(*until);
    }
    let held = engine.bans_in_kernel().unwrap();
    let found: Vec<&Target> = held.iter().map(|ban| &ban.target).collect();
    assert_eq!(found, wanted.keys().collect::<Vec<_>>(), "{when}");
    for ban in &held {
        let left = wanted[&ban.target].since(now);
        assert!(ban.remaining.unwrap().abs_diff(left) <= Duration::from_secs(5), "{when}: {ban:?}");
    }
    for record in host.book.open_actions().unwrap() {
        assert_ne!(record.state, ActionState::Intended, "{when}");
    }
}

/// Runs a story with a death at each of its moments.
fn at_every_moment(story: impl Fn(&mut Engine), then: impl Fn(&Host, &str)) {
    let host = Host::new();
    prepare(&host);
    host.dies_at(None);
    story(&mut host.engine());
    let moments = host.book.fuse.0.lock().unwrap().0;
    assert!(moments >= 4, "{moments} moments are no story");
    for moment in 0..moments {
        for flushed in [false, true] {
            let host = Host::new();
            prepare(&host);
            host.dies_at(Some(moment));
            let died = catch_unwind(AssertUnwindSafe(|| story(&mut host.engine()))).is_err();
            assert!(died, "moment {moment}");
            host.dies_at(None);
            let when = format!("killed at moment {moment} of {moments}, flushed: {flushed}");
            if flushed {
                *host.kernel.held.lock().unwrap() = None;
            }
            assert_in_order(&host, at(20), &when);
            then(&host, &when);
            // And killed again while it puts itself right.
            for second in 0..40 {
                host.dies_at(Some(second));
                let _ = catch_unwind(AssertUnwindSafe(|| host.engine().reconcile(at(20))));
                host.dies_at(None);
            }
            assert_in_order(&host, at(20), &when);
            then(&host, &when);
        }
    }
}

/// Something that stands before: one ban, which no crash of another may touch.
fn prepare(host: &Host) {
    carry_out(&mut host.engine(), NOW, &ban(&["203.0.113.0/24"], 7200));
}

fn stands(host: &Host, prefix: &str) -> bool {
    let prefix = prefix.parse().unwrap();
    host.engine().bans_in_kernel().unwrap().iter().any(|ban| ban.target.prefix == prefix)
}

#[test]
fn killed_while_banning() {
    at_every_moment(
        |engine| {
            carry_out(engine, at(10), &ban(&["198.51.100.0/24", "192.0.2.9/32"], 3600));
        },
        |host, when| {
            assert!(stands(host, "203.0.113.0/24"), "{when}");
            // Both or none.
            assert_eq!(stands(host, "198.51.100.0/24"), stands(host, "192.0.2.9/32"), "{when}");
            if let Some(record) = host.book.action(ActionId(2)).unwrap() {
                let expected =
                    if stands(host, "192.0.2.9/32") { ActionState::Done } else { ActionState::Failed };
                assert_eq!(record.state, expected, "{when}");
            }
        },
    );
}

#[test]
fn killed_while_undoing_or_judging_or_unbanning() {
    let undone = |host: &Host, when: &str| {
        let state = host.book.action(ActionId(1)).unwrap().unwrap().state;
        let open = matches!(state, ActionState::Done | ActionState::Worked);
        assert!(!stands(host, "203.0.113.0/24") || open, "{when}: {state:?}");
    };
    at_every_moment(|engine| drop(engine.undo(at(10), ActionId(1)).unwrap()), undone);
    at_every_moment(
        |engine| drop(engine.conclude(at(10), ActionId(1), Outcome::NoEffect, &BTreeMap::new()).unwrap()),
        undone,
    );
    at_every_moment(|engine| drop(engine.unban(at(10), "203.0.113.0/24".parse().unwrap()).unwrap()), undone);
}

#[test]
fn killed_while_extending() {
    at_every_moment(
        |engine| {
            let second = carry_out(engine, at(5), &ban(&["203.0.113.0/24"], 100_000));
            engine.undo(at(6), second.id).unwrap();
            carry_out(engine, at(7), &ban(&["203.0.113.0/24"], 60));
        },
        |host, when| {
            assert!(
                stands(host, "203.0.113.0/24"),
                "{when}: the first ban stands whatever becomes of others"
            );
        },
    );
}

#[test]
fn killed_while_expiring() {
    at_every_moment(
        |engine| {
            carry_out(engine, at(1), &ban(&["198.51.100.7/32"], 60));
            engine.expire(at(100)).unwrap();
        },
        |host, when| assert!(stands(host, "203.0.113.0/24"), "{when}"),
    );
}

#[test]
fn a_gate_that_was_cut_short_is_taken_out() {
    let gate = Plan {
        steps: vec![Action::AcceptOnlyFrom {
            ports: vec![80],
            from: vec!["10.0.0.0/16".parse().unwrap()],
            confirm_within_s: 60,
        }],
        ..Plan::default()
    };
    at_every_moment(
        |engine| drop(carry_out(engine, at(10), &gate)),
        |host, when| {
            let gates = host.kernel.held.lock().unwrap().clone().unwrap_or_default().gates;
            let state = host.book.action(ActionId(2)).unwrap().map(|record| record.state);
            assert_eq!(!gates.is_empty(), state == Some(ActionState::Done), "{when}: {state:?}");
        },
    );
}

#[test]
fn a_kernel_that_refuses_leaves_nothing() {
    let host = Host::new();
    *host.kernel.fails.lock().unwrap() = true;
    let plan = Plan {
        steps: vec![
            ban(&["198.51.100.0/24"], 600).steps.remove(0),
            Action::EndSockets { prefixes: vec!["198.51.100.0/24".parse().unwrap()], ports: vec![80] },
        ],
        ..Plan::default()
    };
    let record = carry_out(&mut host.engine(), NOW, &plan);
    assert_eq!(record.state, ActionState::Failed);
    assert!(record.notes[0].contains("CAP_NET_ADMIN"), "{:?}", record.notes);
    assert_eq!(record.notes[1], "end-sockets: left out after that");
    assert_eq!(host.book.bans().unwrap(), []);
    assert_eq!(host.book.action(record.id).unwrap().unwrap(), record);
}

#[test]
fn a_refused_plan_is_in_the_audit_trail_and_nowhere_else() {
    let host = Host::new();
    let protected = Protected { own: vec!["198.51.100.1".parse().unwrap()], ..Protected::default() };
    let plan = ban(&["198.51.100.0/24"], 600);
    let record = host.engine().carry_out(NOW, &plan, &protected, Actor::Person, None).unwrap();
    assert_eq!((record.state, record.id), (ActionState::Refused, ActionId(1)));
    assert!(
        record.notes[0].starts_with("own-address: 198.51.100.0/24 would hit 198.51.100.1"),
        "{:?}",
        record.notes
    );
    assert!(host.kernel.held.lock().unwrap().is_none() && host.book.bans().unwrap().is_empty());
    assert!(host.engine().undo(NOW, record.id).is_err());
}

#[test]
fn judged_by_what_was_measured() {
    let host = Host::new();
    prepare(&host);
    let mut engine = host.engine();
    let measured = BTreeMap::from([("apache.workers".to_owned(), 29.0)]);
    let record = engine.conclude(at(30), ActionId(1), Outcome::Worked, &measured).unwrap();
    assert_eq!((record.state, record.measured), (ActionState::Worked, measured));
    assert!(stands(&host, "203.0.113.0/24"));
    assert_eq!(engine.expire(at(7300)).unwrap()[0].state, ActionState::Expired);
    let second = carry_out(&mut engine, at(8000), &ban(&["203.0.113.0/24"], 7200));
    let record = engine.conclude(at(8100), second.id, Outcome::Harmed, &BTreeMap::new()).unwrap();
    assert_eq!(record.state, ActionState::Harmed);
    assert!(!stands(&host, "203.0.113.0/24"));
    assert!(engine.undo(at(8200), second.id).is_err(), "it does not stand any more");
}
