//! `conntrack.used`: how full the table of tracked connections is; a full one drops new connections.

use toban_model::Reading;

use super::{Collector, gauge, percent};
use crate::{Error, Root, procfs};

/// Reads `/proc/sys/net/netfilter/nf_conntrack_*`; absent where connections are not tracked.
#[derive(Default)]
pub(super) struct Conntrack {
    buffer: Vec<u8>,
}

impl Collector for Conntrack {
    fn id(&self) -> &'static str {
        "conntrack"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let mut read = |name: &str| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_{name}");
            root.read(path, &mut self.buffer).ok().and_then(procfs::number)
        };
        if let (Some(count), Some(max)) = (read("count"), read("max"))
            && let Some(used) = percent(count as f64, max as f64)
        {
            out.push(gauge("conntrack.used", used, "%"));
        }
        Ok(())
    }
}
