//! The acting part: it alone holds the firewall and the book, takes typed plans one at a time, and looks regularly
//! whether what should be enforced is.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use toban_model::{ActionId, ActionRecord, Actor, IncidentId, Plan, Protected, Time};
use toban_record::Record;
use toban_respond::verify::Outcome;
use toban_respond::{Engine, Nftables, Reconciled};

use crate::clock;
use crate::ledger::Book;

/// The kernel's sets are compared with the book this often: a foreign flush stands no longer than this.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);

/// What the agent asks for.
pub(crate) enum Order {
    /// Carry a plan out.
    CarryOut { plan: Plan, protected: Box<Protected>, incident: Option<IncidentId> },
    /// Say what an action has brought, and take it back if that was nothing.
    Conclude { id: ActionId, outcome: Outcome, measured: std::collections::BTreeMap<String, f64> },
}

/// What the agent is told.
pub(crate) enum Report {
    /// A plan was carried out, refused, or failed; what it became stands in the record.
    Acted(Box<ActionRecord>),
    /// The kernel did not hold what the book says, and does again.
    Reconciled(Reconciled),
    /// It could not be done.
    Failed(String),
}

/// One acting part on a host at a time: the agent's and a person's command wait for each other.
pub(crate) struct Turn(#[expect(dead_code, reason = "held for its lock, which ends with it")] File);

impl Turn {
    /// Waits for the turn.
    pub(crate) fn take(dir: &Path) -> anyhow::Result<Turn> {
        let path = dir.join("actor.lock");
        let file = File::create(&path).with_context(|| format!("could not open {}", path.display()))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .with_context(|| format!("could not lock {}", path.display()))?;
        Ok(Turn(file))
    }
}

/// Opens the engine on this host's record and firewall.
pub(crate) fn engine(record: &Arc<Record>) -> toban_respond::Result<Engine> {
    Ok(Engine::new(Box::new(Book(record.clone())), Box::new(Nftables::open()?)))
}

/// The acting part in a thread of its own: restarting a service takes seconds, and sampling must not wait for it.
pub(crate) struct ActorThread {
    pub(crate) orders: Sender<Order>,
    pub(crate) reports: Receiver<Report>,
    thread: JoinHandle<()>,
}

impl ActorThread {
    /// Restores at once what the book says and the kernel does not hold, and begins to wait for orders.
    pub(crate) fn start(record: &Arc<Record>, dir: &Path) -> toban_respond::Result<ActorThread> {
        let engine = engine(record)?;
        let (orders, inbox) = channel();
        let (outbox, reports) = channel();
        let dir = dir.to_owned();
        let thread = std::thread::spawn(move || serve(engine, &dir, &inbox, &outbox));
        Ok(ActorThread { orders, reports, thread })
    }

    /// Ends it after what it is doing. Bans stay in the kernel until their time.
    pub(crate) fn stop(self) {
        drop(self.orders);
        // A panic in it was told when it happened; there is nothing more to do about it here.
        let _ = self.thread.join();
    }
}

fn serve(mut engine: Engine, dir: &Path, inbox: &Receiver<Order>, outbox: &Sender<Report>) {
    let tell = |report| drop(outbox.send(report));
    loop {
        match Turn::take(dir) {
            Ok(_turn) => keep(&mut engine, &tell),
            Err(error) => tell(Report::Failed(format!("{error:#}"))),
        }
        let order = match inbox.recv_timeout(RECONCILE_EVERY) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let _turn = match Turn::take(dir) {
            Ok(turn) => turn,
            Err(error) => {
                tell(Report::Failed(format!("{error:#}")));
                continue;
            }
        };
        let done = match order {
            Order::CarryOut { plan, protected, incident } => {
                engine.carry_out(clock::now(), &plan, &protected, Actor::Agent, incident)
            }
            Order::Conclude { id, outcome, measured } => {
                engine.conclude(clock::now(), id, outcome, &measured)
            }
        };
        match done {
            Ok(record) => tell(Report::Acted(Box::new(record))),
            Err(error) => tell(Report::Failed(error.to_string())),
        }
    }
}

/// Ends what is over and puts back what is missing.
fn keep(engine: &mut Engine, tell: &impl Fn(Report)) {
    let now: Time = clock::now();
    match engine.expire(now).and_then(|_| engine.reconcile(now)) {
        Ok(reconciled) if reconciled.was_in_order() => {}
        Ok(reconciled) => tell(Report::Reconciled(reconciled)),
        Err(error) => tell(Report::Failed(error.to_string())),
    }
}
