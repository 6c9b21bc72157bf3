//! Questions to the kernel that may have to wait for another process, asked with patience that ends.
//!
//! The command line, the mappings and the memory of a process are behind the lock of its memory, and a process that
//! forks or maps while there is no memory holds that lock until it gets some: `ps` hangs on such a host. So these are
//! asked in a thread beside, which is left behind when it does not answer; it ends when it is answered after all.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::time::Duration;

/// An answer takes some microseconds. On a busy host the thread may have to wait for its turn.
const PATIENCE: Duration = Duration::from_millis(300);
/// Threads that hang at once before nothing more is asked: this bounds what all questions together can cost.
const HANGING_MAX: usize = 8;

/// What has become of the questions.
struct Count {
    /// Asked and not answered yet.
    open: AtomicUsize,
    unanswered: AtomicU64,
}

impl Count {
    const fn new() -> Count {
        Count { open: AtomicUsize::new(0), unanswered: AtomicU64::new(0) }
    }
}

/// Of this process: what hangs for one thread hangs for all.
static COUNT: Count = Count::new();

type Job = Box<dyn FnOnce() + Send>;

thread_local! {
    /// Whom this thread asks; none before its first question, and after one without an answer.
    static HELPER: RefCell<Option<Sender<Job>>> = const { RefCell::new(None) };
}

/// What `ask` finds, or `None` when that takes too long.
pub(crate) fn within<T: Send + 'static>(ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    within_for(PATIENCE, &COUNT, ask)
}

fn within_for<T: Send + 'static>(
    patience: Duration,
    count: &'static Count,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let few = count.open.load(Ordering::Relaxed) < HANGING_MAX;
    let found = few.then(|| asked(patience, count, ask)).flatten();
    if found.is_none() {
        count.unanswered.fetch_add(1, Ordering::Relaxed);
    }
    found
}

fn asked<T: Send + 'static>(
    patience: Duration,
    count: &'static Count,
    ask: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (answer, answers) = sync_channel(1);
    let open = Open::new(count);
    let job: Job = Box::new(move || {
        let found = ask();
        drop(open);
        // Nobody may wait any more.
        let _ = answer.send(found);
    });
    HELPER.with_borrow_mut(|helper| {
        let jobs = match helper {
            Some(jobs) => jobs,
            None => helper.insert(start()?),
        };
        let found = jobs.send(job).ok().and_then(|()| answers.recv_timeout(patience).ok());
        if found.is_none() {
            *helper = None;
        }
        found
    })
}

/// A question that is not answered yet.
struct Open(&'static Count);

impl Open {
    fn new(count: &'static Count) -> Open {
        count.open.fetch_add(1, Ordering::Relaxed);
        Open(count)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn start() -> Option<Sender<Job>> {
    let (jobs, questions) = channel::<Job>();
    let run = move || questions.into_iter().for_each(|job| job());
    let started = std::thread::Builder::new().name("toban-asks".into()).stack_size(256 << 10).spawn(run);
    started.is_ok().then_some(jobs)
}

/// How many questions about processes were left without an answer since this was last asked for.
pub fn unanswered() -> u64 {
    COUNT.unanswered.swap(0, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Instant;

    use super::*;

    /// The test's own, since others may ask beside it.
    static OWN: Count = Count::new();

    #[test]
    fn who_does_not_answer_is_left_behind() {
        let ask = |number: u32| within_for(Duration::from_secs(30), &OWN, move || number);
        assert_eq!([ask(7), ask(8)], [Some(7), Some(8)]);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let hang = || {
            let held = held.clone();
            within_for(Duration::from_millis(20), &OWN, move || drop(held.lock().map(|held| held.recv())))
        };
        assert!((0..HANGING_MAX + 3).all(|_| hang().is_none()));
        assert_eq!(OWN.unanswered.load(Ordering::Relaxed), HANGING_MAX as u64 + 3);
        assert_eq!(OWN.open.load(Ordering::Relaxed), HANGING_MAX, "the last ones were not even asked");
        assert_eq!(ask(9), None);
        drop(release);
        let until = Instant::now() + Duration::from_secs(30);
        while ask(10) != Some(10) {
            assert!(Instant::now() < until, "those that were released still count");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
