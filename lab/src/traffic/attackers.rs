//! The attackers: a closed loop of connections, each opened again when it ends. When packets are dropped on the way
//! a connection waits as a real one does: SYNs again and again, then a pause, then anew.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use super::STACK_BYTES;
use super::http::{dial, knock};
use crate::now;
use crate::plan::{AttackPlan, Way};

/// Their patience with a SYN that nothing answers: the kernel has then sent five.
const CONNECT_MAX: Duration = Duration::from_secs(20);
/// A refused connection is not tried again faster than this, or it would be a SYN flood.
const REFUSED_PAUSE_MS: std::ops::Range<u64> = 200..800;
/// All do not come in the same instant.
const BEGIN_WITHIN_MS: u64 = 1500;

/// Ports of connections that never complete: the answers to them are dropped. Below the kernel's own choice.
const KNOCKING: RangeInclusive<u16> = 20_000..=29_999;
/// Whoever knocks goes on to another port after this.
const KNOCK_MS: std::ops::Range<u64> = 2_000..5_000;

pub(super) struct Attackers {
    pub(super) plan: AttackPlan,
    began: Once,
    began_file: PathBuf,
    next: AtomicUsize,
}

impl Attackers {
    /// Said before the first SYN, so that no witness can have seen an earlier one.
    pub(super) fn begin(&self) {
        self.began.call_once(|| {
            let _ = fs::write(&self.began_file, format!("{:.6}\n", now()));
        });
    }
}

pub(crate) fn run(spec: &Path, out: &Path) -> anyhow::Result<()> {
    crate::roles::end_with_parent()?;
    let plan: AttackPlan = serde_json::from_slice(&fs::read(spec)?)?;
    let began_file = out.to_owned();
    let attackers = Arc::new(Attackers { plan, began: Once::new(), began_file, next: AtomicUsize::new(0) });
    if attackers.plan.sources.is_empty() {
        // Nobody attacks; the incident is what else begins now.
        attackers.begin();
    }
    let mut rng = fastrand::Rng::new();
    let askpass = super::ssh::wrong_password(out)?;
    let mut threads = Vec::new();
    let spawn = |work: Box<dyn FnOnce() + Send>| thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
    let targets: Vec<SocketAddrV4> =
        std::iter::once(attackers.plan.target).chain(attackers.plan.also.iter().copied()).collect();
    // Each of them goes to each target in turn.
    let mut turns: HashMap<Ipv4Addr, usize> = HashMap::new();
    for source in attackers.plan.sources.clone() {
        let turn = turns.entry(source).or_default();
        let target = targets[*turn % targets.len()];
        *turn += 1;
        let (all, rng, askpass) = (Arc::clone(&attackers), rng.fork(), askpass.clone());
        threads.push(spawn(Box::new(move || match &all.plan.way {
            Way::Requests | Way::Unread | Way::HalfOpen(_) => attack(&all, source, target, rng),
            Way::Ssh { users, pause_ms } => super::ssh::guess(&all, source, users, *pause_ms, &askpass, rng),
        }))?);
    }
    if let Way::HalfOpen(count) = attackers.plan.way {
        drop_answers()?;
        for _ in 0..count {
            let (all, rng) = (Arc::clone(&attackers), rng.fork());
            threads.push(spawn(Box::new(move || knock_on(&all, rng)))?);
        }
    }
    // They never end by themselves: the keeper kills the process when the incident is over.
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn attack(all: &Attackers, source: Ipv4Addr, target: SocketAddrV4, mut rng: fastrand::Rng) {
    thread::sleep(Duration::from_millis(rng.u64(..BEGIN_WITHIN_MS)));
    let Some(requests) = (!all.plan.requests.is_empty()).then_some(&all.plan.requests) else { return };
    loop {
        all.begin();
        // One after another: a reader who begins at the beginning does not read a page twice.
        let request = &requests[all.next.fetch_add(1, Ordering::Relaxed) % requests.len()];
        if one(all, source, target, request).is_err() {
            thread::sleep(Duration::from_millis(rng.u64(REFUSED_PAUSE_MS)));
        }
    }
}

/// One connection from its first packet to its end.
fn one(all: &Attackers, source: Ipv4Addr, target: SocketAddrV4, request: &str) -> std::io::Result<()> {
    let mut stream = dial(source, target, Instant::now() + CONNECT_MAX)?;
    let patience = Duration::from_millis(all.plan.patience_ms);
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request.as_bytes())?;
    if matches!(all.plan.way, Way::Unread) {
        thread::sleep(patience);
        return Ok(());
    }
    // The answer is of no interest; the server closes, or patience ends.
    let until = Instant::now() + patience;
    let mut answer = [0; 4096];
    while Instant::now() < until && stream.read(&mut answer)? > 0 {}
    Ok(())
}

/// In the attackers' own namespace: so no handshake from these ports is ever completed.
fn drop_answers() -> anyhow::Result<()> {
    let (low, high) = KNOCKING.into_inner();
    let rules = format!(
        "table inet knocking {{ chain answers {{ type filter hook input priority 0; tcp dport {low}-{high} drop; }}; }}"
    );
    let done = Command::new("nft").arg(rules).stdin(Stdio::null()).status()?;
    anyhow::ensure!(done.success(), "nft ended with {done}");
    Ok(())
}

fn knock_on(all: &Attackers, mut rng: fastrand::Rng) {
    loop {
        let Some(source) = rng.choice(&all.plan.sources) else { return };
        let knocking = knock(*source, rng.u16(KNOCKING), all.plan.target);
        thread::sleep(Duration::from_millis(rng.u64(KNOCK_MS)));
        drop(knocking);
    }
}
