//! The recorder's beat: one sample a second, whatever the host does.
//!
//! A thread of raised priority fills samples that it has had from the start, and hands them to whoever writes them.
//! The two share no lock: samples go to and fro through queues that neither can block, so that a disk that hangs stops
//! the writer and nothing else. While the writer is behind, samples wait, about a minute of them in some 6 MiB; when it
//! is behind for longer, every second one of the older half is let go, so that what is kept reaches back ever further at
//! ever wider steps. Their number is told as `recorder.dropped`.
//!
//! A beat that comes late says by how much; one that is missed is counted in `recorder.missed` and not made up for.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rtrb::{Consumer, Producer, PushError, RingBuffer};
use toban_model::{ProcessId, ProcessUse, Sample, SocketCount, Span, TcpState, Text, Time};

use crate::collectors::{counter, gauge};
use crate::{Error, Root, Sampler, priority};

/// How often it beats.
pub const EVERY: Duration = Duration::from_secs(1);
/// Samples that there are, at 110 KiB each, of which a half is reserved for texts and is seldom touched.
pub const SAMPLES: usize = 64;
/// Samples on their way to the writer; the others wait where they can still be thinned out.
const HANDED_MAX: usize = 8;
/// At the end, how soon after there is room those that wait are handed on.
const LEFT_EVERY: Duration = Duration::from_millis(5);

/// A running beat. It ends when this is dropped.
pub struct Beat {
    filled: Consumer<Sample>,
    emptied: Producer<Sample>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    notes: Vec<Text>,
}

#[derive(Default)]
struct Shared {
    writer: OnceLock<Thread>,
    /// No more samples are taken.
    ends: AtomicBool,
    /// Nobody takes those that wait.
    over: AtomicBool,
}

/// A sample to be written. Dropped, it goes back to be filled again.
pub struct Filled<'a> {
    sample: Option<Sample>,
    emptied: &'a mut Producer<Sample>,
}

impl Deref for Filled<'_> {
    type Target = Sample;

    fn deref(&self) -> &Sample {
        self.sample.as_ref().expect("it is taken out only when this is dropped")
    }
}

impl Drop for Filled<'_> {
    fn drop(&mut self) {
        if let Some(sample) = self.sample.take() {
            // There is room for all that there are.
            drop(self.emptied.push(sample));
        }
    }
}

impl Beat {
    /// Shields this process and begins to sample.
    pub fn start(root: Root) -> Result<Beat, Error> {
        let shared: Arc<Shared> = Arc::default();
        // Neither side ever waits or turns in a loop for the other, however long it is not run.
        let (to_writer, filled) = RingBuffer::new(HANDED_MAX);
        let (emptied, from_writer) = RingBuffer::new(SAMPLES);
        let mut notes = priority::shield();
        let (raised, note) = mpsc::channel();
        let of_thread = shared.clone();
        let run = move || {
            drop(raised.send(priority::raise_thread()));
            run(root, &of_thread, to_writer, from_writer);
        };
        let thread = std::thread::Builder::new()
            .name("toban-beat".into())
            .spawn(run)
            .map_err(|source| Error::Thread { what: "the beat", source })?;
        notes.extend(note.recv().ok().flatten());
        Ok(Beat { filled, emptied, shared, thread: Some(thread), notes })
    }

    /// What was not permitted, and what it means.
    pub fn notes(&self) -> &[Text] {
        &self.notes
    }

    /// The next sample, in order, or none within this time. To be called from one thread alone: it is the one woken.
    pub fn next(&mut self, wait: Duration) -> Option<Filled<'_>> {
        self.shared.writer.get_or_init(std::thread::current);
        let until = Instant::now() + wait;
        loop {
            if let Ok(sample) = self.filled.pop() {
                return Some(Filled { sample: Some(sample), emptied: &mut self.emptied });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Takes no more samples. Those that wait are still to be had, and then it has ended.
    pub fn end(&self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// Whether all that there will ever be is there to be had.
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        self.end();
        if let Some(thread) = self.thread.take() {
            // A panic there was shown when it happened.
            let _ = thread.join();
        }
    }
}

fn run(root: Root, shared: &Shared, mut filled: Producer<Sample>, mut emptied: Consumer<Sample>) {
    let mut sampler = Sampler::new(root);
    let mut backlog = Backlog::new((0..SAMPLES).map(|_| Sampler::empty()));
    backlog.empty.iter_mut().for_each(touch);
    let mut plan = Plan::begin(Instant::now() + to_next_second(wall_clock()));
    while wait_for(plan.next, shared) {
        let now = wall_clock();
        let late = plan.take(Instant::now());
        while let Ok(sample) = emptied.pop() {
            backlog.empty.push(sample);
        }
        let Some(mut sample) = backlog.take() else { continue };
        sampler.sample(now, &mut sample);
        sample.late_us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
        let readings = &mut sample.readings;
        readings.push(counter("recorder.dropped", backlog.dropped as f64, "/s"));
        readings.push(counter("recorder.missed", plan.missed as f64, "/s"));
        readings.push(gauge("recorder.behind", backlog.waiting.len() as f64, ""));
        readings.push(gauge("recorder.failing", sampler.failing() as f64, ""));
        backlog.waiting.push_back(sample);
        hand_on(&mut backlog, &mut filled, shared);
    }
    while !shared.over.load(Ordering::Relaxed) && !backlog.waiting.is_empty() {
        hand_on(&mut backlog, &mut filled, shared);
        std::thread::park_timeout(LEFT_EVERY);
    }
}

/// Hands on what there is room for, the oldest first.
fn hand_on(backlog: &mut Backlog, filled: &mut Producer<Sample>, shared: &Shared) {
    while let Some(oldest) = backlog.waiting.pop_front() {
        if let Err(PushError::Full(oldest)) = filled.push(oldest) {
            backlog.waiting.push_front(oldest);
            break;
        }
    }
    if let Some(writer) = shared.writer.get() {
        writer.unpark();
    }
}

/// Memory that is only reserved is had when it is first written to; a host that has none left would not give it then.
fn touch(sample: &mut Sample) {
    const TEXTS_BYTES: usize = 16 << 10;
    let reading = gauge("", 0.0, "");
    sample.readings.resize(sample.readings.capacity(), reading);
    let row = ProcessUse {
        id: ProcessId { pid: 0, start_ticks: 0 },
        parent: 0,
        user: 0,
        state: 0,
        threads: 0,
        cpu_us: 0,
        resident: 0,
        handles: None,
        read: None,
        written: None,
        comm: sample.texts.push(&" ".repeat(TEXTS_BYTES)),
        command: Span::default(),
        group: Span::default(),
        waits_in: Span::default(),
    };
    sample.processes.busiest.resize(sample.processes.busiest.capacity(), row);
    let count = SocketCount { state: TcpState::Listen, port: 0, peers: None, count: 0 };
    sample.sockets.resize(sample.sockets.capacity(), count);
}

fn wall_clock() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// Beats fall on whole seconds of the wall clock as it was at the start.
fn to_next_second(now: Time) -> Duration {
    let micros = now.as_micros().rem_euclid(1_000_000);
    Duration::from_micros((1_000_000 - micros).unsigned_abs())
}

/// False when it ends.
fn wait_for(moment: Instant, shared: &Shared) -> bool {
    while !shared.ends.load(Ordering::Relaxed) {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        std::thread::park_timeout(left);
    }
    false
}

/// When the beats fall.
struct Plan {
    next: Instant,
    missed: u64,
}

impl Plan {
    fn begin(first: Instant) -> Plan {
        Plan { next: first, missed: 0 }
    }

    /// Takes the beat that is due and plans the next one after `now`; returns how late it is.
    fn take(&mut self, now: Instant) -> Duration {
        let late = now.saturating_duration_since(self.next);
        let missed = u32::try_from(late.as_nanos() / EVERY.as_nanos()).unwrap_or(u32::MAX - 1);
        self.next += EVERY * (missed + 1);
        self.missed += u64::from(missed);
        late
    }
}

/// The samples that are here: empty ones, and those that wait for the writer, the oldest first.
struct Backlog {
    empty: Vec<Sample>,
    waiting: VecDeque<Sample>,
    dropped: u64,
}

impl Backlog {
    fn new(samples: impl Iterator<Item = Sample>) -> Backlog {
        let empty: Vec<_> = samples.collect();
        Backlog { waiting: VecDeque::with_capacity(empty.len()), empty, dropped: 0 }
    }

    /// An empty sample; where there is none, one of two is let go in the older half of those that wait.
    fn take(&mut self) -> Option<Sample> {
        if self.empty.is_empty() {
            let half = self.waiting.len() / 2;
            for at in (1..half.max(2)).rev().step_by(2) {
                if let Some(sample) = self.waiting.remove(at) {
                    self.empty.push(sample);
                    self.dropped += 1;
                }
            }
        }
        self.empty.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_beat_is_not_made_up_for() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut plan = Plan::begin(at(0));
        assert_eq!(plan.take(at(3)), Duration::from_millis(3));
        assert_eq!((plan.next, plan.missed), (at(1000), 0));
        assert_eq!(plan.take(at(1999)), Duration::from_millis(999));
        assert_eq!((plan.next, plan.missed), (at(2000), 0));
        assert_eq!(plan.take(at(5500)), Duration::from_millis(3500));
        assert_eq!((plan.next, plan.missed), (at(6000), 3));
        assert_eq!(to_next_second(Time::from_micros(5_250_000)), Duration::from_millis(750));
    }

    /// However long nobody writes, the newest are whole, the oldest is kept, and the steps widen to the past.
    #[test]
    fn what_waits_is_thinned_out() {
        const DEPTH: usize = 16;
        let mut backlog = Backlog::new((0..DEPTH).map(|_| Sample::default()));
        for second in 0..10_000 {
            let mut sample = backlog.take().unwrap();
            sample.at = Time::from_secs(second);
            backlog.waiting.push_back(sample);
            let times: Vec<i64> = backlog.waiting.iter().map(|sample| sample.at.as_secs()).collect();
            assert_eq!(times[0], 0, "the first is never let go");
            assert!(times.is_sorted());
            assert_eq!(times.len() as u64 + backlog.dropped, second as u64 + 1);
            let recent = &times[times.len().saturating_sub(DEPTH / 2)..];
            assert!(recent.windows(2).all(|pair| pair[1] - pair[0] == 1), "{times:?}");
        }
    }

    #[test]
    fn one_that_waits_alone_is_let_go_for_the_next() {
        let mut backlog = Backlog::new((0..2).map(|_| Sample::default()));
        for _ in 0..3 {
            let sample = backlog.take().unwrap();
            backlog.waiting.push_back(sample);
        }
        assert_eq!(backlog.dropped, 1);
    }

    #[test]
    fn it_beats_while_nobody_writes() {
        let mut beat = Beat::start(Root::host()).unwrap();
        let first = beat.next(Duration::from_secs(5)).unwrap();
        assert!(first.readings.iter().any(|reading| reading.name == "cpu.busy"));
        assert!(first.processes.count > 0 && !first.processes.busiest.is_empty());
        let first_at = first.at;
        // One is held, as by a writer whose disk hangs.
        std::thread::sleep(Duration::from_millis(3_300));
        drop(first);
        let next: Vec<Time> =
            std::iter::from_fn(|| beat.next(Duration::ZERO).map(|sample| sample.at)).collect();
        assert!((3..=4).contains(&next.len()), "{next:?}");
        for (at, n) in next.iter().zip(1..) {
            let off = at.as_micros() - (first_at + EVERY * n).as_micros();
            assert!(off.abs() < 500_000, "{off} µs");
        }
        let begun = Instant::now();
        drop(beat);
        assert!(begun.elapsed() < EVERY, "it ends at once");
    }

    #[test]
    fn what_waits_at_the_end_is_still_handed_on() {
        let mut beat = Beat::start(Root::host()).unwrap();
        let first = beat.next(Duration::from_secs(30)).unwrap().at;
        // More than are handed on at a time.
        std::thread::sleep(EVERY * (HANDED_MAX as u32 + 2));
        beat.end();
        let mut left = 0;
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until {
            let ended = beat.has_ended();
            match beat.next(Duration::from_millis(50)) {
                Some(sample) => {
                    assert!(sample.at > first);
                    left += 1;
                }
                None if ended => break,
                None => {}
            }
        }
        assert!(left > HANDED_MAX, "{left}");
    }
}
