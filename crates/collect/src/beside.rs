//! A collector in a thread of its own that is asked each second, and waited for only for a while.
//!
//! To read another process's `stat` can wait: the kernel takes locks of that process, and on a host that drowns their
//! holder may not get its turn for seconds. The host's own vitals must not wait with it. So this collector has its own
//! sample and is asked at the beat; what is there in time is told of that second, and what comes later is told of the
//! second in which it is there, while it is not asked anew until then. Asking takes no memory, and the lock is held for
//! as long as it takes to move two words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use toban_model::{Name, Sample};

use crate::collectors::{clear, gauge};
use crate::{Collector, Error, Root, Sampler};

/// How long the first answer is waited for, so that a single look at a host has it.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// A collector beside the sampler's own thread.
pub(crate) struct Beside {
    inner: Option<Box<dyn Collector>>,
    id: &'static str,
    late: Name,
    patience: Duration,
    shared: Arc<Shared>,
    /// Here while nothing is asked.
    sample: Option<Box<Sample>>,
    asked: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    place: Mutex<Place>,
    /// A question or an answer is there.
    come: Condvar,
    over: AtomicBool,
}

#[derive(Default)]
struct Place {
    question: Option<Box<Sample>>,
    answer: Option<(Box<Sample>, Option<Error>)>,
}

impl Shared {
    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beside {
    /// Waits so long for each answer.
    pub(crate) fn new(inner: Box<dyn Collector>, patience: Duration) -> Beside {
        let id = inner.id();
        let sample = Some(Box::new(Sampler::empty()));
        let late = format!("recorder.late:{id}").into();
        Beside { inner: Some(inner), id, late, patience, shared: Arc::default(), sample, asked: None }
    }

    /// The thread inherits this one's priority.
    fn start(&mut self, root: &Root) -> Result<(), Error> {
        let Some(mut inner) = self.inner.take() else { return Ok(()) };
        let (shared, root) = (self.shared.clone(), root.clone());
        let run = move || {
            let mut place = shared.place();
            while !shared.over.load(Ordering::Relaxed) {
                let Some(mut sample) = place.question.take() else {
                    place = shared.come.wait(place).unwrap_or_else(PoisonError::into_inner);
                    continue;
                };
                drop(place);
                let error = inner.collect(&root, &mut sample).err();
                place = shared.place();
                place.answer = Some((sample, error));
                shared.come.notify_all();
            }
        };
        std::thread::Builder::new()
            .name(format!("toban-{}", self.id))
            .stack_size(512 << 10)
            .spawn(run)
            .map_err(|source| Error::Thread { what: self.id, source })?;
        Ok(())
    }
}

impl Collector for Beside {
    fn id(&self) -> &'static str {
        self.id
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let patience = if self.inner.is_some() { FIRST_WAIT } else { self.patience };
        self.start(root)?;
        let mut place = self.shared.place();
        if let Some(mut sample) = self.sample.take() {
            clear(&mut sample);
            sample.at = out.at;
            place.question = Some(sample);
            self.asked = Some(Instant::now());
            self.shared.come.notify_all();
        }
        let waited = self.shared.come.wait_timeout_while(place, patience, |place| place.answer.is_none());
        let answer = waited.unwrap_or_else(PoisonError::into_inner).0.answer.take();
        let asked = self.asked.map_or(Duration::ZERO, |at| at.elapsed());
        if asked > self.patience {
            out.readings.push(gauge(self.late.clone(), asked.as_secs_f64() * 1e3, "ms"));
        }
        let Some((mut sample, error)) = answer else { return Ok(()) };
        out.readings.append(&mut sample.readings);
        std::mem::swap(&mut out.processes, &mut sample.processes);
        std::mem::swap(&mut out.texts, &mut sample.texts);
        self.sample = Some(sample);
        error.map_or(Ok(()), Err)
    }
}

impl Drop for Beside {
    /// The thread is not waited for: what it asks may not answer for long.
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        drop(self.shared.place());
        self.shared.come.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says how often it was asked; each answer after the first waits until it is let go.
    struct Slow {
        times: u32,
        go: std::sync::mpsc::Receiver<()>,
    }

    impl Collector for Slow {
        fn id(&self) -> &'static str {
            "slow"
        }

        fn collect(&mut self, _: &Root, out: &mut Sample) -> Result<(), Error> {
            self.times += 1;
            if self.times > 1 {
                let _ = self.go.recv();
            }
            out.readings.push(gauge("slow.times", f64::from(self.times), ""));
            out.processes.count = self.times;
            Ok(())
        }
    }

    #[test]
    fn what_is_late_keeps_nobody_and_is_told_when_it_is_there() {
        let (go, wait) = std::sync::mpsc::channel();
        let mut beside = Beside::new(Box::new(Slow { times: 0, go: wait }), Duration::from_millis(50));
        let mut told = || {
            let mut out = Sampler::empty();
            beside.collect(&Root::host(), &mut out).unwrap();
            let times = out.readings.iter().find(|reading| reading.name == "slow.times").map(|r| r.value);
            let late = out.readings.iter().any(|reading| reading.name == "recorder.late:slow");
            (times, late, out.processes.count)
        };
        assert_eq!(told(), (Some(1.0), false, 1));
        assert_eq!(told(), (None, true, 0));
        assert_eq!(told(), (None, true, 0), "it was asked once");
        go.send(()).unwrap();
        let until = Instant::now() + Duration::from_secs(30);
        let late = loop {
            let (times, _, count) = told();
            if times.is_some() || Instant::now() > until {
                break (times, count);
            }
        };
        assert_eq!(late, (Some(2.0), 2));
        go.send(()).unwrap();
        let begun = Instant::now();
        let _ = told();
        drop(beside);
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
