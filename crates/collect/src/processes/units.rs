//! Which unit of systemd, or which container, a process belongs to; and what the processes of each use together.

use toban_model::{Reading, unit_name, unit_of};

use super::Entry;
use crate::parts::{Parts, Stem, each_counter, each_gauge};

static UNIT: [Stem; 3] =
    [each_counter("unit.cpu", "%"), each_gauge("unit.memory", "B"), each_gauge("unit.processes", "")];
/// Of hosts with more units only the busiest.
const UNITS_TOLD_MAX: usize = 14;
/// Most units that are told apart; the processes of the others count as of none.
const UNITS_MAX: usize = 512;
/// The unit of a process of which nothing is known yet.
pub(super) const NONE: u16 = u16::MAX;
/// The unit of the kernel's own threads, and of those outside of every unit.
const KERNEL: &str = "kernel";
const OUTSIDE: &str = "none";

struct Unit {
    path: Box<str>,
    name: Box<str>,
    ticks: u64,
    resident_pages: u64,
    processes: u32,
}

/// The sums over the processes of each unit.
pub(super) struct Units {
    units: Vec<Unit>,
    parts: Parts<3>,
}

impl Units {
    pub(super) fn new() -> Units {
        let fixed = |name: &str| Unit {
            path: name.into(),
            name: name.into(),
            ticks: 0,
            resident_pages: 0,
            processes: 0,
        };
        Units { units: vec![fixed(OUTSIDE), fixed(KERNEL)], parts: Parts::new(&UNIT, UNITS_TOLD_MAX) }
    }

    /// The unit of a cgroup. A unit that has no process any more gives its place away.
    pub(super) fn of(&mut self, group: &str) -> u16 {
        let path = unit_of(group);
        if let Some(at) = self.units.iter().position(|unit| *unit.path == *path) {
            // Until they are counted anew it has at least the one that is asked for.
            self.units[at].processes = self.units[at].processes.max(1);
            return at as u16;
        }
        let Some(name) = unit_name(path) else { return 0 };
        let unit = Unit { path: path.into(), name: name.into(), ticks: 0, resident_pages: 0, processes: 1 };
        if self.units.len() < UNITS_MAX {
            self.units.push(unit);
            return (self.units.len() - 1) as u16;
        }
        match self.units.iter().skip(2).position(|unit| unit.processes == 0) {
            Some(at) => {
                self.units[at + 2] = unit;
                (at + 2) as u16
            }
            None => 0,
        }
    }

    /// Processor time that a process of the unit used.
    pub(super) fn used(&mut self, unit: u16, ticks: u64) {
        if let Some(unit) = self.units.get_mut(usize::from(unit)) {
            unit.ticks += ticks;
        }
    }

    /// Sums up and tells. `percent` makes a share of all processors of ticks.
    pub(super) fn tell(
        &mut self,
        entries: &mut [Entry],
        percent: impl Fn(u64) -> f64,
        out: &mut Vec<Reading>,
    ) {
        for unit in &mut self.units {
            (unit.resident_pages, unit.processes) = (0, 0);
        }
        for entry in entries.iter_mut().filter(|entry| entry.known) {
            if entry.unit == NONE && entry.is_kernel {
                entry.unit = 1;
            }
            if let Some(unit) = self.units.get_mut(usize::from(entry.unit)) {
                unit.resident_pages += entry.resident_pages;
                unit.processes += 1;
            }
        }
        let page = rustix::param::page_size() as f64;
        for unit in self.units.iter().filter(|unit| unit.processes > 0) {
            let memory = unit.resident_pages as f64 * page;
            let cpu = percent(unit.ticks);
            self.parts.note(&unit.name, cpu, [Some(cpu), Some(memory), Some(f64::from(unit.processes))]);
        }
        self.parts.tell(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_only_so_many() {
        let mut units = Units::new();
        let places: Vec<u16> = (0..1000).map(|n| units.of(&format!("/system.slice/u{n}.service"))).collect();
        assert!(units.units.len() <= UNITS_MAX);
        assert!(places.iter().all(|place| usize::from(*place) < UNITS_MAX));
        assert_eq!(units.of("/"), 0);
    }
}
