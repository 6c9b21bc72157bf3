//! `conntrack.used`: how full the table of tracked connections is; a full one drops new connections.

use toban_model::Sample;

use super::{Collector, counter, gauge, percent};
use crate::kept::Kept;
use crate::{Error, Root, procfs};

/// Reads `/proc/sys/net/netfilter/nf_conntrack_*` and its drops; absent where connections are not tracked.
pub(super) struct Conntrack {
    count: Kept,
    max: Kept,
    stat: Kept,
}

impl Default for Conntrack {
    fn default() -> Conntrack {
        Conntrack {
            count: Kept::new("/proc/sys/net/netfilter/nf_conntrack_count"),
            max: Kept::new("/proc/sys/net/netfilter/nf_conntrack_max"),
            stat: Kept::new("/proc/net/stat/nf_conntrack"),
        }
    }
}

impl Collector for Conntrack {
    fn id(&self) -> &'static str {
        "conntrack"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let count = self.count.try_read(root).and_then(procfs::number);
        let max = self.max.try_read(root).and_then(procfs::number);
        if let (Some(count), Some(max)) = (count, max) {
            out.readings.push(gauge("conntrack.count", count as f64, ""));
            if let Some(used) = percent(count as f64, max as f64) {
                out.readings.push(gauge("conntrack.used", used, "%"));
            }
        }
        if let Some(drops) = self.stat.try_read(root).and_then(drops) {
            out.readings.push(counter("conntrack.drops", drops as f64, "/s"));
        }
        Ok(())
    }
}

/// Connections that found no place, over all processors: a line of names, then a line for each processor, in hex.
pub(crate) fn drops(bytes: &[u8]) -> Option<u64> {
    let mut lines = procfs::lines(bytes);
    let names = lines.next()?;
    let wanted = |name: &[u8]| matches!(name, b"drop" | b"early_drop" | b"insert_failed");
    procfs::fields(names).find(|name| wanted(name))?;
    let hex = |word: &[u8]| u64::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok();
    let of_line = |line| {
        let columns = procfs::fields(names).zip(procfs::fields(line));
        columns.filter(|(name, _)| wanted(name)).filter_map(|(_, word)| hex(word)).sum::<u64>()
    };
    Some(lines.map(of_line).sum())
}

#[cfg(test)]
mod tests {
    #[test]
    fn drops_over_all_processors() {
        let text = b"entries found drop early_drop search_restart\n0a 00 0f 01 ff\n0a 00 01 00 ff\n";
        assert_eq!(super::drops(text), Some(15 + 1 + 1));
        assert_eq!(super::drops(b"entries found\n0a 00\n"), None);
    }
}
