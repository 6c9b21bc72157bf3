//! `processes.*`: how many there are, run, wait for a disk, and are made a second.

use toban_model::Reading;

use super::{Collector, counter, gauge};
use crate::{Error, Root, procfs};

/// Reads `/proc/stat` and counts the entries of `/proc`.
#[derive(Default)]
pub(super) struct Processes {
    buffer: Vec<u8>,
}

impl Collector for Processes {
    fn id(&self) -> &'static str {
        "processes"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        // The count of /proc/loadavg would be cheaper, but it counts threads, and the machine's in a container.
        out.push(gauge("processes.count", procfs::pids(root)?.len() as f64, ""));
        let stat = procfs::Stat::parse(root.read("/proc/stat", &mut self.buffer)?).ok_or_else(|| {
            Error::Form { path: root.at("/proc/stat"), expected: "a line that begins with cpu" }
        })?;
        out.push(gauge("processes.running", stat.running as f64, ""));
        out.push(gauge("processes.blocked", stat.blocked as f64, ""));
        out.push(counter("processes.forks", stat.forks as f64, "/s"));
        Ok(())
    }
}
