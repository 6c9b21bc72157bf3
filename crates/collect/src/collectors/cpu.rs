//! `cpu.busy`, `cpu.iowait`, `cpu.steal`: shares of all processors together.
//!
//! The readings are seconds of work × 100 / cores, so that the growth a second is a percentage.

use toban_model::Reading;

use super::{Collector, counter};
use crate::{Error, Root, procfs};

/// Reads `/proc/stat`.
#[derive(Default)]
pub(super) struct Cpu {
    buffer: Vec<u8>,
}

impl Collector for Cpu {
    fn id(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let stat = procfs::Stat::parse(root.read("/proc/stat", &mut self.buffer)?).ok_or_else(|| {
            Error::Form { path: root.at("/proc/stat"), expected: "a line that begins with cpu" }
        })?;
        let share = |ticks: u64| {
            ticks as f64 / procfs::TICKS_PER_SECOND as f64 * 100.0 / f64::from(stat.cores.max(1))
        };
        out.push(counter("cpu.busy", share(stat.busy_ticks), "%"));
        out.push(counter("cpu.iowait", share(stat.iowait_ticks), "%"));
        out.push(counter("cpu.steal", share(stat.steal_ticks), "%"));
        Ok(())
    }
}
