//! `disk.used:/mount`, `disk.inodes:/mount`, `disk.free:/mount`: how full the file systems are, every few seconds.

use toban_model::Sample;

use super::{Collector, percent};
use crate::parts::{Parts, Stem, each_gauge};
use crate::{Error, Root, procfs};

static SPACE: [Stem; 3] =
    [each_gauge("disk.used", "%"), each_gauge("disk.inodes", "%"), each_gauge("disk.free", "B")];
/// Of hosts with more file systems only those whose use changes most.
const MOUNTS_TOLD_MAX: usize = 12;

/// Reads `/proc/mounts` and asks each real file system by statvfs(2). One that hangs keeps the answer: it runs aside.
pub(super) struct Space {
    buffer: Vec<u8>,
    mounts: Parts<3>,
}

impl Default for Space {
    fn default() -> Space {
        Space { buffer: Vec::new(), mounts: Parts::new(&SPACE, MOUNTS_TOLD_MAX) }
    }
}

impl Collector for Space {
    fn id(&self) -> &'static str {
        "space"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        // Mounts of one's own namespace: /proc/mounts is a link to self/mounts.
        let mounts = procfs::mounts(root.read("/proc/mounts", &mut self.buffer)?);
        let mut seen = Vec::with_capacity(mounts.len());
        for mount in mounts {
            let path = root.at(&mount.point);
            // A file that something is bound onto is no place that fills up.
            if !path.is_dir() {
                continue;
            }
            // A mount that cannot be asked (stale, no right) is absent, the others still count.
            let Ok(stat) = rustix::fs::statvfs(&path) else { continue };
            // Bind mounts and overlays on one disk report the same numbers; the first name is enough.
            let same = (stat.f_fsid, stat.f_blocks, stat.f_bfree, stat.f_files, stat.f_ffree);
            if stat.f_blocks == 0 || seen.contains(&same) {
                continue;
            }
            seen.push(same);
            // As df(1): what is reserved for root counts as used up for everyone else.
            let used = stat.f_blocks.saturating_sub(stat.f_bfree);
            let share = percent(used as f64, used.saturating_add(stat.f_bavail) as f64);
            // btrfs and others make inodes as needed and report none.
            let inodes = percent(stat.f_files.saturating_sub(stat.f_ffree) as f64, stat.f_files as f64);
            let free = stat.f_bavail.saturating_mul(stat.f_frsize) as f64;
            self.mounts.note(&mount.point.to_string_lossy(), used as f64, [share, inodes, Some(free)]);
        }
        self.mounts.tell(&mut out.readings);
        Ok(())
    }
}
