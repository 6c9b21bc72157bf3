//! `network.received`, `network.sent`: bytes over all interfaces but the loopback; and what each interface did.

use toban_model::Sample;

use super::{Collector, counter};
use crate::kept::Kept;
use crate::parts::{Parts, Stem, each_counter};
use crate::{Error, Root, procfs};

static INTERFACE: [Stem; 6] = [
    each_counter("network.received", "B/s"),
    each_counter("network.sent", "B/s"),
    each_counter("network.packets_received", "/s"),
    each_counter("network.packets_sent", "/s"),
    each_counter("network.errors", "/s"),
    each_counter("network.drops", "/s"),
];
/// Of hosts with more interfaces only the busiest.
const INTERFACES_TOLD_MAX: usize = 8;

/// Reads `/proc/net/dev`.
pub(super) struct Network {
    file: Kept,
    interfaces: Parts<6>,
}

impl Default for Network {
    fn default() -> Network {
        Network { file: Kept::new("/proc/net/dev"), interfaces: Parts::new(&INTERFACE, INTERFACES_TOLD_MAX) }
    }
}

impl Collector for Network {
    fn id(&self) -> &'static str {
        "network"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let (mut received, mut sent) = (0.0, 0.0);
        for line in procfs::lines(self.file.read(root)?) {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let Ok(name) = std::str::from_utf8(line[..colon].trim_ascii()) else { continue };
            // Eight columns of what was received (bytes, packets, errors, drops, …), then eight of what was sent.
            let mut columns = [0.0; 16];
            for (column, word) in columns.iter_mut().zip(procfs::fields(&line[colon + 1..])) {
                *column = procfs::number(word).unwrap_or(0) as f64;
            }
            if name != "lo" {
                received += columns[0];
                sent += columns[8];
            }
            // Many virtual ones are there and never did anything.
            if columns.iter().all(|column| *column == 0.0) {
                continue;
            }
            let errors = columns[2] + columns[10];
            let drops = columns[3] + columns[11];
            let values = [columns[0], columns[8], columns[1], columns[9], errors, drops];
            self.interfaces.note(name, columns[0] + columns[8], values.map(Some));
        }
        out.readings.push(counter("network.received", received, "B/s"));
        out.readings.push(counter("network.sent", sent, "B/s"));
        self.interfaces.tell(&mut out.readings);
        Ok(())
    }
}
