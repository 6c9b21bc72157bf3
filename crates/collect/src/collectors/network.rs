//! `network.received`, `network.sent`: bytes over all interfaces but the loopback.

use toban_model::Reading;

use super::{Collector, counter};
use crate::{Error, Root, procfs};

/// Reads `/proc/net/dev`.
#[derive(Default)]
pub(super) struct Network {
    buffer: Vec<u8>,
}

impl Collector for Network {
    fn id(&self) -> &'static str {
        "network"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let (received, sent) = procfs::interface_bytes(root.read("/proc/net/dev", &mut self.buffer)?);
        out.push(counter("network.received", received as f64, "B/s"));
        out.push(counter("network.sent", sent as f64, "B/s"));
        Ok(())
    }
}
