//! `disk.used:/mount`, `disk.inodes:/mount`, `disk.busy:device`: space, inodes and time with work.

use toban_model::Reading;

use super::{Collector, counter, gauge, percent};
use crate::{Error, Root, procfs};

/// Reads `/proc/mounts`, statvfs(2) of each real file system, and `/proc/diskstats`.
#[derive(Default)]
pub(super) struct Disk {
    buffer: Vec<u8>,
}

impl Collector for Disk {
    fn id(&self) -> &'static str {
        "disk"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        if let Ok(bytes) = root.read("/proc/diskstats", &mut self.buffer) {
            for disk in procfs::disks(bytes) {
                out.push(counter(format!("disk.busy:{}", disk.name), disk.busy_ms as f64 / 10.0, "%"));
            }
        }
        // Mounts of one's own namespace: /proc/mounts is a link to self/mounts.
        let mounts = procfs::mounts(root.read("/proc/mounts", &mut self.buffer)?);
        let mut seen = Vec::with_capacity(mounts.len());
        for mount in mounts {
            // A file that something is bound onto is no place that fills up.
            if !root.at(&mount.point).is_dir() {
                continue;
            }
            // A mount that cannot be asked (stale, no right) is absent, the others still count.
            let Ok(stat) = rustix::fs::statvfs(root.at(&mount.point)) else { continue };
            // Bind mounts and overlays on one disk report the same numbers; the first name is enough.
            let same = (stat.f_fsid, stat.f_blocks, stat.f_bfree, stat.f_files, stat.f_ffree);
            if stat.f_blocks == 0 || seen.contains(&same) {
                continue;
            }
            seen.push(same);
            // As df(1): what is reserved for root counts as used up for everyone else.
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let name = mount.point.display();
            if let Some(share) = percent(used as f64, used.saturating_add(stat.f_bavail) as f64) {
                out.push(gauge(format!("disk.used:{name}"), share, "%"));
            }
            // btrfs and others make inodes as needed and report none.
            if let Some(share) =
                percent(stat.f_files.saturating_sub(stat.f_ffree) as f64, stat.f_files as f64)
            {
                out.push(gauge(format!("disk.inodes:{name}"), share, "%"));
            }
        }
        Ok(())
    }
}
