//! A collector that may have to wait for more than the kernel's processor time, in a thread of its own.
//!
//! To ask a file system for its free space can hang as long as its disk does. Such a collector fills a sample of its
//! own now and then, and the sampler takes what is there, without ever waiting for its lock. What it tells of are
//! gauges: a counter that stands still between its looks would have wrong rates.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use toban_model::{Name, Reading, Sample};

use crate::collectors::gauge;
use crate::{Collector, Error, Root, priority};

/// How long the first sample waits for the first answer, so that a single look at a host has it too.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// An answer that is so many times older than usual is no longer told: a disk hangs.
const STALE_AFTER: u32 = 6;

/// A collector in a thread of its own.
pub(crate) struct Aside {
    inner: Option<Box<dyn Collector>>,
    id: &'static str,
    age: Name,
    every: Duration,
    shared: Arc<Shared>,
    thread: Option<Thread>,
    latest: Vec<Reading>,
    at: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    answer: Mutex<Answer>,
    come: Condvar,
    over: AtomicBool,
}

#[derive(Default)]
struct Answer {
    readings: Vec<Reading>,
    error: Option<Error>,
    at: Option<Instant>,
}

impl Shared {
    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Aside {
    /// Lets a collector look once in so long.
    pub(crate) fn new(inner: Box<dyn Collector>, every: Duration) -> Aside {
        let id = inner.id();
        Aside {
            inner: Some(inner),
            id,
            age: format!("recorder.age:{id}").into(),
            every,
            shared: Arc::default(),
            thread: None,
            latest: Vec::new(),
            at: None,
        }
    }

    fn start(&mut self, root: &Root) -> Result<(), Error> {
        let Some(mut inner) = self.inner.take() else { return Ok(()) };
        let (shared, root, every) = (self.shared.clone(), root.clone(), self.every);
        let run = move || {
            priority::ordinary_thread();
            let mut sample = Sample::default();
            while !shared.over.load(Ordering::Relaxed) {
                sample.readings.clear();
                let error = inner.collect(&root, &mut sample).err();
                {
                    // Held for as long as it takes to swap three words.
                    let mut answer = shared.answer();
                    std::mem::swap(&mut answer.readings, &mut sample.readings);
                    answer.error = error;
                    answer.at = Some(Instant::now());
                }
                shared.come.notify_one();
                std::thread::park_timeout(every);
            }
        };
        let handle = std::thread::Builder::new()
            .name(format!("toban-{}", self.id))
            .stack_size(256 << 10)
            .spawn(run)
            .map_err(|source| Error::Thread { what: self.id, source })?;
        self.thread = Some(handle.thread().clone());
        let answer = self.shared.answer();
        drop(self.shared.come.wait_timeout_while(answer, FIRST_WAIT, |answer| answer.at.is_none()));
        Ok(())
    }
}

impl Collector for Aside {
    fn id(&self) -> &'static str {
        self.id
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        self.start(root)?;
        let mut error = None;
        if let Ok(mut answer) = self.shared.answer.try_lock()
            && let Some(at) = answer.at.take()
        {
            self.at = Some(at);
            std::mem::swap(&mut self.latest, &mut answer.readings);
            error = answer.error.take();
        }
        if let Some(age) = self.at.map(|at| at.elapsed()) {
            out.readings.push(gauge(self.age.clone(), age.as_secs_f64() * 1e3, "ms"));
            if age < self.every * STALE_AFTER {
                out.readings.extend_from_slice(&self.latest);
            }
        }
        error.map_or(Ok(()), Err)
    }
}

impl Drop for Aside {
    /// The thread is not waited for: what it asks may never answer.
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Answers as often as it is allowed to.
    struct Disk(mpsc::Receiver<f64>);

    impl Collector for Disk {
        fn id(&self) -> &'static str {
            "disk"
        }
        fn collect(&mut self, _: &Root, out: &mut Sample) -> Result<(), Error> {
            if let Ok(value) = self.0.recv() {
                out.readings.push(gauge("disk.used", value, "%"));
            }
            Ok(())
        }
    }

    fn told(aside: &mut Aside) -> Option<f64> {
        let mut sample = Sample::default();
        aside.collect(&Root::host(), &mut sample).unwrap();
        sample.readings.iter().find(|reading| reading.name == "disk.used").map(|reading| reading.value)
    }

    #[test]
    fn a_disk_that_hangs_is_not_waited_for() {
        let (disk, answers) = mpsc::channel();
        disk.send(40.0).unwrap();
        let mut aside = Aside::new(Box::new(Disk(answers)), Duration::from_millis(50));
        assert_eq!(told(&mut aside), Some(40.0), "the first answer is waited for");
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        assert_eq!(told(&mut aside), Some(40.0), "the last answer stands in");
        assert!(begun.elapsed() < Duration::from_millis(50));
        std::thread::sleep(Duration::from_millis(250));
        assert_eq!(told(&mut aside), None, "it has hung for too long");
        disk.send(50.0).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(told(&mut aside), Some(50.0));
    }
}
