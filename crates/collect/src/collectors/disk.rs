//! `disk.*:device`: requests, bytes, time with work and the queue of each disk.

use toban_model::Sample;

use super::Collector;
use crate::kept::Kept;
use crate::parts::{Parts, Stem, each_counter, each_gauge};
use crate::{Error, Root, procfs};

static DISK: [Stem; 7] = [
    each_counter("disk.busy", "%"),
    each_counter("disk.reads", "/s"),
    each_counter("disk.writes", "/s"),
    each_counter("disk.read", "B/s"),
    each_counter("disk.written", "B/s"),
    each_counter("disk.queue", ""),
    each_gauge("disk.in_flight", ""),
];
/// Of hosts with more disks only the busiest.
const DISKS_TOLD_MAX: usize = 8;

/// Reads `/proc/diskstats`.
pub(super) struct Disk {
    file: Kept,
    disks: Parts<7>,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk { file: Kept::new("/proc/diskstats"), disks: Parts::new(&DISK, DISKS_TOLD_MAX) }
    }
}

impl Collector for Disk {
    fn id(&self) -> &'static str {
        "disk"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        // Containers may lack it.
        for disk in procfs::disks(self.file.try_read(root).unwrap_or_default()) {
            let values = [
                // Milliseconds in a second are tenths of a percent.
                disk.busy_ms as f64 / 10.0,
                disk.reads as f64,
                disk.writes as f64,
                disk.read_bytes as f64,
                disk.written_bytes as f64,
                disk.queued_ms as f64 / 1000.0,
                disk.in_flight as f64,
            ];
            self.disks.note(disk.name, disk.busy_ms as f64, values.map(Some));
        }
        self.disks.tell(&mut out.readings);
        Ok(())
    }
}
