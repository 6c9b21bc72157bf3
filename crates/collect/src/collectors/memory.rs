//! `memory.used`, `memory.available`, `memory.swap_used`, `memory.oom_kills`: of the machine, or of the cgroup
//! that this process is in where its limit is lower.

use toban_model::Reading;

use super::{Collector, counter, gauge, percent};
use crate::{Error, Root, procfs};

/// Reads `/proc/meminfo`, `/proc/vmstat` and the memory cgroup.
#[derive(Default)]
pub(super) struct Memory {
    buffer: Vec<u8>,
    cgroup: Option<Option<procfs::MemoryCgroup>>,
}

impl Collector for Memory {
    fn id(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let machine =
            procfs::Meminfo::parse(root.read("/proc/meminfo", &mut self.buffer)?).ok_or_else(|| {
                Error::Form { path: root.at("/proc/meminfo"), expected: "MemTotal and MemAvailable" }
            })?;
        // Which cgroup limits us changes only when someone moves us; the search costs some dozens of opens.
        let cgroup = self.cgroup.get_or_insert_with(|| procfs::MemoryCgroup::find(root, machine.total_bytes));
        let used = cgroup
            .as_ref()
            .and_then(|group| Some((group.limit_bytes, group.used_bytes(root, &mut self.buffer)?)));
        let (total, available) = match used {
            Some((limit, used)) => (limit, limit.saturating_sub(used).min(machine.available_bytes)),
            None => (machine.total_bytes, machine.available_bytes),
        };
        if let Some(used) = percent(total.saturating_sub(available) as f64, total as f64) {
            out.push(gauge("memory.used", used, "%"));
        }
        out.push(gauge("memory.available", available as f64, "B"));
        out.push(gauge("memory.swap_used", machine.swap_used_bytes as f64, "B"));
        let kills = match cgroup {
            Some(group) => group.oom_kills(root, &mut self.buffer),
            None => {
                procfs::value_of(root.read("/proc/vmstat", &mut self.buffer).unwrap_or_default(), b"oom_kill")
            }
        };
        if let Some(kills) = kills {
            out.push(counter("memory.oom_kills", kills as f64, "/s"));
        }
        Ok(())
    }
}
