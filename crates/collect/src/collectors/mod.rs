//! The vitals of the host, one file a collector, and the sampler that runs them all.

use std::time::Instant;

use toban_model::{Name, Reading, ReadingKind, Sample, Time};

use crate::{Error, Root};

mod conntrack;
mod cpu;
mod disk;
mod file_handles;
mod load;
mod memory;
mod network;
mod pressure;
mod processes;
mod tcp;

/// One unit that reads some vitals. It keeps its own buffers between calls.
///
/// A collector never waits for anything but the kernel, pushes what it could read, and leaves out what this host
/// does not have: absent is neither zero nor an error. On an error what it pushed before stays.
pub trait Collector: Send {
    /// Its name, the same as its file's.
    fn id(&self) -> &'static str;
    /// Reads once.
    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error>;
}

/// How a collector is made anew.
pub type Make = fn() -> Box<dyn Collector>;

/// All collectors, in the order of their vitals on screen.
pub static ALL: &[(&str, Make)] = &[
    ("cpu", || Box::<cpu::Cpu>::default()),
    ("load", || Box::<load::Load>::default()),
    ("memory", || Box::<memory::Memory>::default()),
    ("disk", || Box::<disk::Disk>::default()),
    ("network", || Box::<network::Network>::default()),
    ("tcp", || Box::<tcp::Tcp>::default()),
    ("processes", || Box::<processes::Processes>::default()),
    ("pressure", || Box::<pressure::Pressure>::default()),
    ("conntrack", || Box::<conntrack::Conntrack>::default()),
    ("file_handles", || Box::<file_handles::FileHandles>::default()),
];

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
    collectors: Vec<Box<dyn Collector>>,
    failures: Vec<Failure>,
    readings: usize,
}

impl Sampler {
    /// With all collectors.
    pub fn new(root: Root) -> Sampler {
        let collectors = ALL.iter().map(|(_, make)| make()).collect();
        Sampler { root, collectors, failures: Vec::new(), readings: 0 }
    }

    /// One sample. `late_us` is the caller's to set: only the caller knows when it was planned.
    pub fn sample(&mut self, now: Time) -> Sample {
        let begun = Instant::now();
        let mut readings = Vec::with_capacity(self.readings);
        for collector in &mut self.collectors {
            if let Err(error) = collector.collect(&self.root, &mut readings) {
                let id = collector.id();
                match self.failures.iter_mut().find(|failure| failure.collector == id) {
                    Some(failure) => {
                        failure.times += 1;
                        failure.last = error.to_string();
                    }
                    None => self.failures.push(Failure { collector: id, times: 1, last: error.to_string() }),
                }
            }
        }
        self.readings = readings.len();
        let took_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
        Sample { at: now, took_us, readings, ..Sample::default() }
    }

    /// What failed so far.
    pub fn failures(&self) -> &[Failure] {
        &self.failures
    }
}

/// The share of `part` in `whole`, in percent; `None` of nothing.
pub(crate) fn percent(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| 100.0 * part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_and_the_folder_agree() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/collectors");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
            .filter(|name| name != "mod")
            .collect();
        files.sort();
        let mut listed: Vec<&str> = ALL.iter().map(|(id, _)| *id).collect();
        for (id, make) in ALL {
            assert_eq!(*id, make().id());
        }
        listed.sort_unstable();
        assert_eq!(files, listed);
    }

    #[test]
    fn this_host_has_vitals() {
        let mut sampler = Sampler::new(Root::host());
        let sample = sampler.sample(Time::from_secs(1));
        let names: Vec<&str> = sample.readings.iter().map(|reading| reading.name.as_ref()).collect();
        for name in [
            "cpu.busy",
            "cpu.iowait",
            "load.1",
            "memory.used",
            "memory.available",
            "disk.used:/",
            "network.received",
            "network.sent",
            "tcp.established",
            "tcp.syn_recv",
            "tcp.listen_overflows",
            "tcp.retransmits",
            "processes.count",
            "processes.running",
            "processes.blocked",
            "processes.forks",
        ] {
            assert!(names.contains(&name), "{name} is missing in {names:?}");
        }
        let unique: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "a name is given twice");
        assert!(sample.readings.iter().all(|reading| reading.value.is_finite() && reading.value >= 0.0));
        assert_eq!(sampler.failures(), []);
    }

    #[test]
    fn an_empty_root_fails_by_collector_and_goes_on() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("proc/loadavg"), "1.50 0.5 0.1 1/9 77\n").unwrap();
        let mut sampler = Sampler::new(Root::new(root.path()));
        let sample = sampler.sample(Time::ZERO);
        let load = sample.readings.iter().find(|reading| reading.name == "load.1").unwrap();
        assert_eq!(load.value, 1.5);
        sampler.sample(Time::ZERO);
        let cpu = sampler.failures().iter().find(|failure| failure.collector == "cpu").unwrap();
        assert_eq!(cpu.times, 2);
        assert!(cpu.last.contains("proc/stat"), "{}", cpu.last);
    }
}
