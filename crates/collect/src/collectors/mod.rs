//! What is read of the host every second, one file a collector, and the sampler that runs them all.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use toban_model::{Name, Reading, ReadingKind, Sample, Texts, Time};

use crate::aside::Aside;
use crate::beside::Beside;
use crate::{Error, Root};

mod conntrack;
mod cpu;
mod disk;
mod file_handles;
mod groups;
mod ip;
mod load;
mod mail_queue;
mod memory;
mod network;
mod pressure;
mod processes;
mod sockets;
mod space;
mod tcp;

pub(crate) use conntrack::drops as conntrack_drops;
pub(crate) use memory::MemoryCgroup;

/// One unit that reads some vitals. It keeps its own buffers, names and handles between calls, so that from its second
/// call on it asks for no memory as long as the host has the same parts.
///
/// A collector never waits for anything but the kernel's processor time, adds what it could read to the sample, and
/// leaves out what this host does not have: absent is neither zero nor an error. On an error what it added before
/// stays. One that may have to wait for a disk or a lock runs aside.
pub trait Collector: Send {
    /// Its name, the same as its file's.
    fn id(&self) -> &'static str;
    /// Reads once.
    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error>;
}

/// How a collector is made anew.
pub type Make = fn() -> Box<dyn Collector>;

/// All collectors, in the order of their vitals on screen.
pub static ALL: &[(&str, Make)] = &[
    ("cpu", || Box::<cpu::Cpu>::default()),
    ("load", || Box::<load::Load>::default()),
    ("memory", || Box::<memory::Memory>::default()),
    ("disk", || Box::<disk::Disk>::default()),
    ("space", || aside(Box::<space::Space>::default(), 5)),
    ("network", || Box::<network::Network>::default()),
    ("tcp", || Box::<tcp::Tcp>::default()),
    ("ip", || Box::<ip::Ip>::default()),
    ("sockets", || Box::<sockets::Sockets>::default()),
    ("processes", || Box::new(Beside::new(Box::<processes::Processes>::default(), PROCESSES_WAIT))),
    ("groups", || aside(Box::<groups::Groups>::default(), 10)),
    ("pressure", || Box::<pressure::Pressure>::default()),
    ("mail_queue", || aside(Box::<mail_queue::MailQueue>::default(), 10)),
    ("conntrack", || Box::<conntrack::Conntrack>::default()),
    ("file_handles", || Box::<file_handles::FileHandles>::default()),
];

/// A pass over all processes takes no longer than its share, unless one of them keeps it waiting.
const PROCESSES_WAIT: Duration = Duration::from_millis(200);

fn aside(collector: Box<dyn Collector>, every_s: u64) -> Box<dyn Collector> {
    Box::new(Aside::new(collector, Duration::from_secs(every_s)))
}

/// Readings of a host that has more parts of every kind than are told of.
const READINGS_ROOM: usize = 448;

/// A number that is itself the vital.
pub(crate) fn gauge(name: impl Into<Name>, value: f64, unit: &'static str) -> Reading {
    Reading { name: name.into(), value, unit: unit.into(), kind: ReadingKind::Gauge }
}

/// A number whose growth a second is the vital.
pub(crate) fn counter(name: impl Into<Name>, value: f64, unit: &'static str) -> Reading {
    Reading { name: name.into(), value, unit: unit.into(), kind: ReadingKind::Counter }
}

/// A collector that failed, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub collector: &'static str,
    /// How often since the sampler was made.
    pub times: u64,
    /// What it said last.
    pub last: String,
}

/// Runs every collector once a sample. One that fails does not stop the others.
pub struct Sampler {
    root: Root,
    collectors: Vec<(Box<dyn Collector>, Duration)>,
    failures: Vec<Failure>,
    failing: usize,
}

impl Sampler {
    /// With all collectors.
    pub fn new(root: Root) -> Sampler {
        let collectors = ALL.iter().map(|(_, make)| (make(), Duration::ZERO)).collect();
        Sampler { root, collectors, failures: Vec::new(), failing: 0 }
    }

    /// A sample with room for all that one second has.
    pub fn empty() -> Sample {
        let mut sample = Sample { texts: Texts::with_room(), ..Sample::default() };
        sample.readings.reserve(READINGS_ROOM);
        sample.processes.busiest.reserve(crate::processes::ROWS_MAX);
        sample.sockets.reserve(sockets::ROWS_MAX);
        sample
    }

    /// Fills a sample; nothing of what it held before stays. `late_us` is the caller's to set: only the caller knows
    /// when it was planned.
    pub fn sample(&mut self, now: Time, out: &mut Sample) {
        let begun = Instant::now();
        clear(out);
        out.at = now;
        self.failing = 0;
        for (collector, cost) in &mut self.collectors {
            let before = thread_time();
            if let Err(error) = collector.collect(&self.root, out) {
                self.failing += 1;
                let id = collector.id();
                match self.failures.iter_mut().find(|failure| failure.collector == id) {
                    Some(failure) => {
                        failure.times += 1;
                        failure.last = error.to_string();
                    }
                    None => self.failures.push(Failure { collector: id, times: 1, last: error.to_string() }),
                }
            }
            *cost += thread_time().saturating_sub(before);
        }
        out.took_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    }

    /// How many collectors failed in the last sample.
    pub fn failing(&self) -> usize {
        self.failing
    }

    /// What failed so far.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// The processor time that each collector took so far, of those in a thread of their own what the sampler spent.
    pub fn costs(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.collectors.iter().map(|(collector, cost)| (collector.id(), *cost))
    }
}

/// Takes out what a sample holds, and keeps its room.
pub(crate) fn clear(sample: &mut Sample) {
    sample.late_us = 0;
    sample.readings.clear();
    sample.processes.busiest.clear();
    (sample.processes.count, sample.processes.looked_at) = (0, 0);
    sample.sockets.clear();
    sample.texts.clear();
}

/// Processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The share of `part` in `whole`, in percent; `None` of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| 100.0 * part / whole)
}

#[cfg(test)]
mod tests;
