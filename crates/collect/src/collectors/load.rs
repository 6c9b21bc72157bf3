//! `load.1`: tasks that run or wait for a disk, averaged over a minute by the kernel.

use toban_model::Reading;

use super::{Collector, gauge};
use crate::{Error, Root, procfs};

/// Reads `/proc/loadavg`.
#[derive(Default)]
pub(super) struct Load {
    buffer: Vec<u8>,
}

impl Collector for Load {
    fn id(&self) -> &'static str {
        "load"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let load = procfs::load_1(root.read("/proc/loadavg", &mut self.buffer)?)
            .ok_or_else(|| Error::Form { path: root.at("/proc/loadavg"), expected: "a load average" })?;
        out.push(gauge("load.1", load, ""));
        Ok(())
    }
}
