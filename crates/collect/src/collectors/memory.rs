//! `memory.*`: `used`, `available` and `oom_kills` of the machine, or of the cgroup that this process is in where its
//! limit is lower; everything else of the machine.

use std::path::Path;

use toban_model::Sample;

use super::{Collector, counter, gauge, percent};
use crate::kept::Kept;
use crate::sums::{self, Sum, events, kilobytes};
use crate::{Error, Root, procfs};

static MEMINFO: [Sum; 15] = [
    kilobytes("memory.total", &["MemTotal"]),
    kilobytes("memory.free", &["MemFree"]),
    kilobytes("memory.buffers", &["Buffers"]),
    kilobytes("memory.cached", &["Cached"]),
    kilobytes("memory.anonymous", &["AnonPages"]),
    kilobytes("memory.mapped", &["Mapped"]),
    kilobytes("memory.shared", &["Shmem"]),
    kilobytes("memory.dirty", &["Dirty"]),
    kilobytes("memory.writeback", &["Writeback"]),
    kilobytes("memory.slab", &["Slab"]),
    kilobytes("memory.slab_unreclaimable", &["SUnreclaim"]),
    kilobytes("memory.page_tables", &["PageTables"]),
    kilobytes("memory.kernel_stacks", &["KernelStack"]),
    kilobytes("memory.committed", &["Committed_AS"]),
    kilobytes("memory.swap_total", &["SwapTotal"]),
];

// Kernels before 4.8 count by zone, and have the sums under no name of their own.
static VMSTAT: [Sum; 8] = [
    events("memory.faults", &["pgfault"]),
    events("memory.major_faults", &["pgmajfault"]),
    events("memory.swapped_in", &["pswpin"]),
    events("memory.swapped_out", &["pswpout"]),
    events("memory.scanned", &["pgscan_kswapd", "pgscan_direct", "pgscan_khugepaged", "pgscan_proactive"]),
    events("memory.scanned_directly", &["pgscan_direct"]),
    events(
        "memory.stalls",
        &[
            "allocstall_dma",
            "allocstall_dma32",
            "allocstall_normal",
            "allocstall_movable",
            "allocstall_device",
        ],
    ),
    events("memory.compact_stalls", &["compact_stall"]),
];

/// Reads `/proc/meminfo`, `/proc/vmstat` and the memory cgroup.
pub(super) struct Memory {
    meminfo: Kept,
    vmstat: Kept,
    cgroup: Option<Option<MemoryCgroup>>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { meminfo: Kept::new("/proc/meminfo"), vmstat: Kept::new("/proc/vmstat"), cgroup: None }
    }
}

impl Collector for Memory {
    fn id(&self) -> &'static str {
        "memory"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let meminfo = self.meminfo.read(root)?;
        let Some(machine) = procfs::Meminfo::parse(meminfo) else {
            return Err(self.meminfo.form(root, "MemTotal and MemAvailable"));
        };
        // Which cgroup limits us changes only when someone moves us; the search costs some dozens of opens.
        let cgroup = self.cgroup.get_or_insert_with(|| MemoryCgroup::find(root, machine.total_bytes));
        let used = cgroup.as_mut().and_then(|group| Some((group.limit_bytes, group.used_bytes(root)?)));
        let (total, available) = match used {
            Some((limit, used)) => (limit, limit.saturating_sub(used).min(machine.available_bytes)),
            None => (machine.total_bytes, machine.available_bytes),
        };
        let readings = &mut out.readings;
        if let Some(used) = percent(total.saturating_sub(available) as f64, total as f64) {
            readings.push(gauge("memory.used", used, "%"));
        }
        readings.push(gauge("memory.available", available as f64, "B"));
        readings.push(gauge("memory.swap_used", machine.swap_used_bytes as f64, "B"));
        sums::tell(&MEMINFO, procfs::keyed(meminfo), readings);
        let vmstat = self.vmstat.try_read(root).unwrap_or_default();
        sums::tell(&VMSTAT, procfs::keyed(vmstat), readings);
        let kills = match cgroup {
            Some(group) => group.oom_kills(root),
            None => procfs::value_of(vmstat, b"oom_kill"),
        };
        if let Some(kills) = kills {
            readings.push(counter("memory.oom_kills", kills as f64, "/s"));
        }
        Ok(())
    }
}

/// The memory cgroup of this process, where one limits it.
pub(crate) struct MemoryCgroup {
    usage: Kept,
    stat: Kept,
    events: Kept,
    inactive_file: &'static [u8],
    /// The limit, in bytes.
    pub(crate) limit_bytes: u64,
}

impl MemoryCgroup {
    /// The lowest limit between this process's cgroup and the root of the hierarchy, if it is below the machine's
    /// memory. A limit counts wherever it stands on the way up.
    pub(crate) fn find(root: &Root, machine_bytes: u64) -> Option<MemoryCgroup> {
        let mut buffer = Vec::new();
        let text = String::from_utf8_lossy(root.read("/proc/self/cgroup", &mut buffer).ok()?).into_owned();
        let mut best: Option<MemoryCgroup> = None;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let v2 = hierarchy == "0" && controllers.is_empty();
            if !v2 && !controllers.split(',').any(|controller| controller == "memory") {
                continue;
            }
            let bases: &[&str] =
                if v2 { &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] } else { &["/sys/fs/cgroup/memory"] };
            for base in bases {
                // Inside a container the path may be the machine's while only the container's part is mounted;
                // the walk ends at the mount itself, which is then the container's own cgroup.
                for level in Path::new(path).ancestors() {
                    let dir = Path::new(base).join(level.strip_prefix("/").unwrap_or(level));
                    let file = dir.join(if v2 { "memory.max" } else { "memory.limit_in_bytes" });
                    // v2 says "max" where there is no limit; v1 gives a number beyond all memory.
                    let Some(limit_bytes) = root.read(&file, &mut buffer).ok().and_then(procfs::number)
                    else {
                        continue;
                    };
                    if limit_bytes < machine_bytes
                        && best.as_ref().is_none_or(|b| limit_bytes < b.limit_bytes)
                    {
                        best = Some(MemoryCgroup::new(&dir, v2, limit_bytes));
                    }
                }
            }
        }
        best
    }

    fn new(dir: &Path, v2: bool, limit_bytes: u64) -> MemoryCgroup {
        let file = |name: &str| Kept::new(dir.join(name).to_string_lossy());
        MemoryCgroup {
            usage: file(if v2 { "memory.current" } else { "memory.usage_in_bytes" }),
            stat: file("memory.stat"),
            events: file(if v2 { "memory.events" } else { "memory.oom_control" }),
            inactive_file: if v2 { b"inactive_file" } else { b"total_inactive_file" },
            limit_bytes,
        }
    }

    /// Bytes in use that cannot simply be dropped (without the inactive file cache).
    fn used_bytes(&mut self, root: &Root) -> Option<u64> {
        let usage = procfs::number(self.usage.try_read(root)?)?;
        let stat = self.stat.try_read(root).unwrap_or_default();
        Some(usage.saturating_sub(procfs::value_of(stat, self.inactive_file).unwrap_or(0)))
    }

    /// Processes that the kernel killed here because the limit was met, since the cgroup was made.
    fn oom_kills(&mut self, root: &Root) -> Option<u64> {
        procfs::value_of(self.events.try_read(root)?, b"oom_kill")
    }
}
