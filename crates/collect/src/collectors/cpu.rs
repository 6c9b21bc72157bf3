//! `cpu.*`: shares of all processors together, `cpu.core:N` of each one, and interrupts and switches a second.
//!
//! The readings are seconds of work × 100 / cores, so that the growth a second is a percentage.

use toban_model::Sample;

use super::{Collector, counter};
use crate::kept::Kept;
use crate::parts::{Parts, Stem, each_counter};
use crate::{Error, Root, procfs};

static CORE: [Stem; 1] = [each_counter("cpu.core", "%")];
/// Of hosts with more processors only the busiest.
const CORES_TOLD_MAX: usize = 32;

/// Reads `/proc/stat`.
pub(super) struct Cpu {
    stat: Kept,
    cores: Parts<1>,
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu { stat: Kept::new("/proc/stat"), cores: Parts::new(&CORE, CORES_TOLD_MAX) }
    }
}

impl Collector for Cpu {
    fn id(&self) -> &'static str {
        "cpu"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let bytes = self.stat.read(root)?;
        let Some(stat) = procfs::Stat::parse(bytes) else {
            return Err(self.stat.form(root, "a line that begins with cpu"));
        };
        let percent = |ticks: u64| ticks as f64 / procfs::TICKS_PER_SECOND as f64 * 100.0;
        let all = &stat.all;
        for (name, ticks) in [
            ("cpu.busy", all.busy()),
            ("cpu.iowait", all.iowait),
            ("cpu.steal", all.steal),
            ("cpu.user", all.user),
            ("cpu.nice", all.nice),
            ("cpu.system", all.system),
            ("cpu.irq", all.irq),
            ("cpu.softirq", all.softirq),
            ("cpu.guest", all.guest),
        ] {
            out.readings.push(counter(name, percent(ticks) / f64::from(stat.cores.max(1)), "%"));
        }
        out.readings.push(counter("cpu.interrupts", stat.interrupts as f64, "/s"));
        out.readings.push(counter("cpu.switches", stat.switches as f64, "/s"));
        for (core, ticks) in procfs::cores(bytes) {
            let busy = percent(ticks.busy());
            self.cores.note(core, busy, [Some(busy)]);
        }
        self.cores.tell(&mut out.readings);
        Ok(())
    }
}
