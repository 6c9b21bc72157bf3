//! Which unit of systemd, or which container, a process belongs to; and what the processes of each use together.

use toban_model::Reading;

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

/// The part of a cgroup's path that is the unit's: up to the first service, scope or container in it. Below may be
/// what the unit made for itself.
pub(crate) fn unit_of(group: &str) -> &str {
    let mut end = 0;
    for part in group.split('/').skip(1) {
        end += 1 + part.len();
        let is_unit =
            [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|kind| part.ends_with(kind));
        if is_unit || is_container(part) {
            return &group[..end];
        }
    }
    group
}

/// Container engines name a group by the container's 64 hexadecimal digits, some by 32.
fn is_container(part: &str) -> bool {
    part.len() >= 32 && part.bytes().all(|b| b.is_ascii_hexdigit())
}

/// How a unit is shown: its own name, of a long row of digits the first twelve as container engines do; none of the
/// root.
pub(crate) fn name_of(unit: &str) -> Option<String> {
    const DIGITS_SHOWN: usize = 12;
    let last = unit.rsplit('/').find(|part| !part.is_empty())?;
    let mut name = String::new();
    let mut run = 0;
    for letter in last.chars() {
        run = if letter.is_ascii_hexdigit() { run + 1 } else { 0 };
        name.push(letter);
        let rest = &last[name.len().min(last.len())..];
        let ends = !rest.starts_with(|next: char| next.is_ascii_hexdigit());
        if ends && run >= 32 {
            name.truncate(name.len() - (run - DIGITS_SHOWN));
            name.push_str(rest);
            return Some(name);
        }
    }
    Some(name)
}

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
        let Some(name) = name_of(path) else { return 0 };
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
    fn a_unit_is_the_first_that_is_one() {
        let id = "0123456789abcdef".repeat(4);
        for (group, unit, name) in [
            ("/system.slice/nginx.service", "/system.slice/nginx.service", "nginx.service"),
            (
                "/user.slice/user-0.slice/user@0.service/app.slice/x.service",
                "/user.slice/user-0.slice/user@0.service",
                "user@0.service",
            ),
            (
                "/user.slice/user-0.slice/session-4.scope",
                "/user.slice/user-0.slice/session-4.scope",
                "session-4.scope",
            ),
            (&format!("/docker/{id}/inner"), &format!("/docker/{id}"), "0123456789ab"),
            (
                &format!("/system.slice/docker-{id}.scope"),
                &format!("/system.slice/docker-{id}.scope"),
                "docker-0123456789ab.scope",
            ),
            ("/init.scope", "/init.scope", "init.scope"),
            ("/own/group", "/own/group", "group"),
        ] {
            assert_eq!(unit_of(group), unit);
            assert_eq!(name_of(unit).unwrap(), name);
        }
        assert_eq!(name_of(unit_of("/")), None);
        assert_eq!(unit_of(""), "");
    }

    #[test]
    fn there_are_only_so_many() {
        let mut units = Units::new();
        let places: Vec<u16> = (0..1000).map(|n| units.of(&format!("/system.slice/u{n}.service"))).collect();
        assert!(units.units.len() <= UNITS_MAX);
        assert!(places.iter().all(|place| usize::from(*place) < UNITS_MAX));
        assert_eq!(units.of("/"), 0);
    }
}
