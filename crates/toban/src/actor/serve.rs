//! The acting process: starts the watch, takes its orders, keeps book and kernel the same, and outlives what befalls it.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal};
use toban_collect::Root;
use toban_collect::discover::Seen;
use toban_model::{ActionRecord, Actor, Host, IncidentId, Mode, Plan, Protected};
use toban_record::Book;
use toban_respond::Engine;

use super::line::{self, Inbox};
use super::{Order, Report, Turn};
use crate::cli::Exit;
use crate::config::Config;
use crate::hooks::Hooks;
use crate::out::eprint_all;
use crate::plans::Budget;
use crate::{clock, plans};

/// The kernel's sets are compared with the book this often: a foreign flush stands no longer than this.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);
/// A signal, and the watch's end, are heard so soon.
const HEARS_WITHIN: Duration = Duration::from_millis(250);
/// A watch that is asked to end has this long; it writes what it knows.
const ENDS_WITHIN: Duration = Duration::from_secs(15);
/// A watch that fell is started again after so long, each time twice as long, up to the second.
const PAUSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// One that has held out so long had no trouble at its start.
const HELD_OUT: Duration = Duration::from_secs(120);
/// All that runs here is looked at so often, while nothing else is to be done; and at each order if that was longer ago.
/// Who is logged in and what this host is known by is looked at with each order.
const LOOKS_EVERY: Duration = Duration::from_secs(30);
const LOOKED_MAX: Duration = Duration::from_secs(60);
/// A plan's cause and reason are toban's own words; the longest lists some prefixes.
const WORDS_BYTES_MAX: usize = 4096;

/// What an order has to keep to.
pub(crate) struct Terms {
    pub(crate) mode: Mode,
    pub(crate) config: Config,
    pub(crate) state: PathBuf,
}

/// Serves until it is asked to end, or the watch ended by its own decision.
pub(crate) fn serve(
    terms: Terms,
    engine: Option<Engine>,
    book: Arc<Book>,
    stop: &Arc<AtomicBool>,
) -> anyhow::Result<Exit> {
    let mut acting = Acting::new(terms, engine, book);
    let mut pause = PAUSE[0];
    loop {
        let (near, far) = UnixStream::pair().context("could not make a line to the watch")?;
        let began = Instant::now();
        let watch = start_watch(far)?;
        let status = acting.attend(watch, &near, stop)?;
        // What it decided to end with stands; what befell it (a signal, a panic) does not end the duty.
        if stop.load(Ordering::Relaxed) || !fell(status) {
            return Ok(match status.code() {
                Some(0) => Exit::Ok,
                Some(2) => Exit::Usage,
                _ => Exit::CouldNot,
            });
        }
        if began.elapsed() > HELD_OUT {
            pause = PAUSE[0];
        }
        eprint_all(&format!("the watch ended with {status}; it is started again in {} s\n", pause.as_secs()));
        let until = Instant::now() + pause;
        while Instant::now() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(HEARS_WITHIN.min(until.saturating_duration_since(Instant::now())));
            acting.keep(&mut |_| {});
        }
        pause = (pause * 2).min(PAUSE[1]);
    }
}

/// Rust ends with this when a thread that all waits for has panicked.
const PANICKED: i32 = 101;

fn fell(status: ExitStatus) -> bool {
    status.signal().is_some() || status.code() == Some(PANICKED)
}

/// The same command again, told to watch alone, with its end of the line as its standard input.
fn start_watch(line: UnixStream) -> anyhow::Result<Child> {
    let mut arguments = std::env::args_os();
    // By the kernel's own link: the program's file may have been replaced by an upgrade meanwhile.
    let mut command = Command::new("/proc/self/exe");
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).arg(crate::cli::WATCH_ARGUMENT).stdin(Stdio::from(OwnedFd::from(line)));
    command.spawn().context("could not start the watch")
}

struct Acting {
    terms: Terms,
    /// None where there is nothing to act on: it runs hooks alone.
    engine: Option<Engine>,
    book: Arc<Book>,
    hooks: Hooks,
    budget: Budget,
    /// What this side knows of the host by itself, and since when.
    host: Option<(Instant, Host)>,
    seen: Seen,
}

impl Acting {
    fn new(terms: Terms, engine: Option<Engine>, book: Arc<Book>) -> Acting {
        let (hooks, budget, seen) = (Hooks::new(), Budget::default(), Seen::default());
        Acting { terms, engine, book, hooks, budget, host: None, seen }
    }

    /// Serves one watch until it has ended.
    fn attend(
        &mut self,
        mut watch: Child,
        line: &UnixStream,
        stop: &AtomicBool,
    ) -> anyhow::Result<ExitStatus> {
        line.set_nonblocking(false)?;
        line.set_read_timeout(Some(HEARS_WITHIN))?;
        // What it does not take of what it is told within this, it does without.
        line.set_write_timeout(Some(HEARS_WITHIN))?;
        let mut inbox = Inbox::<Order>::new();
        let (mut kept, mut asked, mut open) = (None::<Instant>, None::<Instant>, true);
        loop {
            if stop.load(Ordering::Relaxed) && asked.is_none() {
                asked = Some(Instant::now());
                signal(&watch, Signal::TERM);
            }
            if asked.is_some_and(|since| since.elapsed() > ENDS_WITHIN) {
                signal(&watch, Signal::KILL);
            }
            let mut tell = |report| drop(line::send(line, &report));
            if kept.is_none_or(|at| at.elapsed() >= RECONCILE_EVERY) {
                self.keep(&mut tell);
                self.look_if_longer_than(LOOKS_EVERY);
                kept = Some(Instant::now());
            }
            self.hooks.ended().into_iter().for_each(|said| tell(Report::Hook(said)));
            if open {
                match inbox.fill(line) {
                    Ok(more) => open = more,
                    Err(error) => {
                        eprint_all(&format!("the watch made itself not understood ({error}) and is ended\n"));
                        signal(&watch, Signal::KILL);
                        open = false;
                    }
                }
                loop {
                    match inbox.next() {
                        Ok(Some(order)) => self.take_order(order).into_iter().for_each(&mut tell),
                        Ok(None) => break,
                        Err(error) => {
                            eprint_all(&format!("the watch gave no order ({error}) and is ended\n"));
                            signal(&watch, Signal::KILL);
                            open = false;
                            break;
                        }
                    }
                }
            } else {
                std::thread::sleep(HEARS_WITHIN / 10);
            }
            if let Some(status) = watch.try_wait().context("could not wait for the watch")? {
                return Ok(status);
            }
        }
    }

    /// Does what it is asked, if that may be; the answer, where there is one at once.
    fn take_order(&mut self, order: Order) -> Option<Report> {
        let done = match order {
            Order::Hook { event, json } => {
                return self.hooks.start(&self.terms.config.hooks, event, json).err().map(Report::Hook);
            }
            Order::CarryOut { plan, protected, incident } => self.carry_out(&plan, *protected, incident),
            Order::Conclude { id, outcome, measured } => {
                self.in_turn(|engine| engine.conclude(clock::now(), id, outcome, &measured))
            }
        };
        Some(done.map_or_else(Report::Failed, |record| Report::Acted(Box::new(record))))
    }

    fn carry_out(
        &mut self,
        plan: &Plan,
        told: Protected,
        incident: Option<IncidentId>,
    ) -> Result<ActionRecord, String> {
        self.may(plan)?;
        let protected = self.with_own_knowledge(told)?;
        let now = clock::now();
        self.budget.spend(plan, now);
        self.in_turn(|engine| engine.carry_out(now, plan, &protected, Actor::Agent, incident))
    }

    /// With the engine, while no other acting part is at work.
    fn in_turn<T>(
        &mut self,
        work: impl FnOnce(&mut Engine) -> toban_respond::Result<T>,
    ) -> Result<T, String> {
        let engine = self.engine.as_mut().ok_or("nothing can be acted on here")?;
        let _turn = Turn::take(&self.terms.state).map_err(|error| format!("{error:#}"))?;
        work(engine).map_err(|error| error.to_string())
    }

    /// Whether the user lets the agent act at all, on this cause, and still this hour.
    fn may(&mut self, plan: &Plan) -> Result<(), String> {
        if self.terms.mode != Mode::Act {
            return Err("not in mode act: nothing is done".to_owned());
        }
        let Plan { cause, reason, .. } = plan;
        if !self.terms.config.agent.act_on.contains(cause) {
            return Err("the configuration does not list this cause under act_on: nothing is done".to_owned());
        }
        if [&reason.en, &reason.ja].iter().any(|t| t.len() > WORDS_BYTES_MAX || t.contains(char::is_control))
        {
            return Err("a reason that toban does not write: nothing is done".to_owned());
        }
        if !self.budget.allows(plan, clock::now()) {
            return Err("as much as may be done within an hour is done: nothing more for now".to_owned());
        }
        Ok(())
    }

    /// What the watch says must not be hit, and what this side sees itself: the host's own addresses, gateways and name
    /// servers, who is logged in, the processes that others live by, and what the user allows.
    fn with_own_knowledge(&mut self, told: Protected) -> Result<Protected, String> {
        let allowed = self.book.allowed().map_err(|error| error.to_string())?;
        let is_new = self.look_if_longer_than(LOOKED_MAX);
        let Some((_, host)) = &mut self.host else { return Err("this host is not known".to_owned()) };
        if !is_new {
            toban_collect::discover::refresh(&Root::host(), host);
        }
        Ok(plans::guarded(told, host, &self.terms.config, &allowed))
    }

    /// Looks at all that runs here if the last time is so long ago; whether it did.
    fn look_if_longer_than(&mut self, age: Duration) -> bool {
        let due = self.engine.is_some() && self.host.as_ref().is_none_or(|(at, _)| at.elapsed() >= age);
        if due {
            let (host, _) = toban_collect::discover::look(&Root::host(), &mut self.seen);
            self.host = Some((Instant::now(), host));
        }
        due
    }

    /// Ends what is over and puts back what is missing.
    fn keep(&mut self, tell: &mut impl FnMut(Report)) {
        if self.engine.is_none() {
            return;
        }
        match self.in_turn(|engine| engine.reconcile(clock::now())) {
            Ok(reconciled) if reconciled.was_in_order() => {}
            Ok(reconciled) => tell(Report::Reconciled { restored: reconciled.restored.len() }),
            Err(error) => tell(Report::Failed(error)),
        }
    }
}

/// It is a child that was not waited for, so its number is still its own.
fn signal(watch: &Child, signal: Signal) {
    if let Some(pid) = i32::try_from(watch.id()).ok().and_then(Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use toban_model::{Action, ActionId, ActionState, Text};
    use toban_respond::verify::Outcome;
    use toban_respond::{Firewall, Gate, Held, MemoryLedger, Target, Wanted};

    use super::*;

    /// A kernel that nothing is let through to but what the test allows.
    struct Kernel(Arc<AtomicBool>);

    impl Firewall for Kernel {
        fn put(&mut self, bans: &BTreeMap<Target, Duration>) -> toban_respond::Result<()> {
            assert!(self.0.load(Ordering::Relaxed), "{bans:?}");
            Ok(())
        }
        fn remove(&mut self, _: &[Target]) -> toban_respond::Result<()> {
            Ok(())
        }
        fn put_gate(&mut self, gate: &Gate) -> toban_respond::Result<()> {
            panic!("{gate:?}")
        }
        fn remove_gate(&mut self, _: toban_model::ActionId) -> toban_respond::Result<()> {
            Ok(())
        }
        fn held(&mut self) -> toban_respond::Result<Option<Held>> {
            Ok(None)
        }
        fn held_of(&mut self, _: &[&Target]) -> toban_respond::Result<Option<Held>> {
            self.held()
        }
        fn generation(&mut self) -> toban_respond::Result<Option<u32>> {
            Ok(None)
        }
        fn rebuild(&mut self, _: &Wanted) -> toban_respond::Result<()> {
            Ok(())
        }
    }

    fn acting(mode: Mode, state: &std::path::Path) -> (Acting, Arc<AtomicBool>) {
        let book = Arc::new(Book::open(state).unwrap());
        let open = Arc::new(AtomicBool::new(false));
        let engine = Engine::new(Box::new(MemoryLedger::default()), Box::new(Kernel(open.clone())));
        let terms = Terms { mode, config: Config::default(), state: state.to_owned() };
        (Acting::new(terms, Some(engine), book), open)
    }

    fn order(cause: &str, reason: &str, prefix: &str) -> Order {
        let plan = Plan {
            cause: cause.to_owned(),
            reason: Text::new(reason, reason),
            steps: vec![Action::Ban { prefixes: vec![prefix.parse().unwrap()], ports: vec![80], for_s: 600 }],
            ..Plan::default()
        };
        // As one would say it who was talked into it: there is nobody to be spared.
        Order::CarryOut { plan, protected: Box::default(), incident: None }
    }

    #[test]
    fn what_the_user_did_not_allow_is_not_done_whoever_asks() {
        let dir = tempfile::tempdir().unwrap();
        let (mut observing, _) = acting(Mode::Observe, dir.path());
        let good = || order("http-flood", "a flood", "203.0.113.7/32");
        assert!(
            matches!(observing.take_order(good()).unwrap(), Report::Failed(why) if why.contains("mode act"))
        );

        let (mut acting, open) = acting(Mode::Act, dir.path());
        for (order, word) in [
            (order("certificate-expiry", "a flood", "203.0.113.7/32"), "act_on"),
            (order("http-flood", "a\u{1b}[2Jflood", "203.0.113.7/32"), "reason"),
            (order("http-flood", &"x".repeat(5000), "203.0.113.7/32"), "reason"),
        ] {
            assert!(
                matches!(acting.take_order(order).unwrap(), Report::Failed(why) if why.contains(word)),
                "{word}"
            );
        }
        // What this side knows by itself is spared though nobody told.
        acting.book.allow(&"203.0.113.0/28".parse().unwrap(), clock::now()).unwrap();
        for prefix in ["127.0.0.1/32", "0.0.0.0/0", "203.0.113.7/32", "10.0.0.0/8"] {
            let refused = acting.take_order(order("http-flood", "a flood", prefix)).unwrap();
            assert!(
                matches!(&refused, Report::Acted(record) if record.state == ActionState::Refused),
                "{prefix}: {refused:?}"
            );
        }
        let conclude =
            Order::Conclude { id: ActionId(77), outcome: Outcome::Harmed, measured: BTreeMap::new() };
        assert!(matches!(acting.take_order(conclude).unwrap(), Report::Failed(_)));

        open.store(true, Ordering::Relaxed);
        let done = acting.take_order(order("http-flood", "a flood", "198.51.100.7/32")).unwrap();
        assert!(matches!(&done, Report::Acted(record) if record.state == ActionState::Done), "{done:?}");
        let hour = Plan {
            steps: vec![Action::Ban {
                prefixes: vec!["198.51.100.7/32".parse().unwrap(); 2000],
                ports: vec![80],
                for_s: 600,
            }],
            ..Plan::default()
        };
        acting.budget.spend(&hour, clock::now());
        let more = acting.take_order(order("http-flood", "a flood", "198.51.100.8/32")).unwrap();
        assert!(matches!(&more, Report::Failed(why) if why.contains("hour")), "{more:?}");
    }
}
