//! `ip.*`, `udp.*`, `icmp.*`: packets of both address families, and those that were thrown away.

use toban_model::Sample;

use super::Collector;
use crate::kept::Kept;
use crate::sums::{self, Sum, events};
use crate::{Error, Root, procfs};

static IP: [Sum; 6] = [
    events("ip.received", &["InReceives", "Ip6InReceives"]),
    events("ip.sent", &["OutRequests", "Ip6OutRequests"]),
    events("ip.forwarded", &["ForwDatagrams", "Ip6OutForwDatagrams"]),
    events("ip.discarded", &["InDiscards", "OutDiscards", "Ip6InDiscards", "Ip6OutDiscards"]),
    events("ip.no_route", &["OutNoRoutes", "Ip6OutNoRoutes", "Ip6InNoRoutes"]),
    events("ip.reassembly_failed", &["ReasmFails", "Ip6ReasmFails"]),
];
static UDP: [Sum; 5] = [
    events("udp.received", &["InDatagrams", "Udp6InDatagrams"]),
    events("udp.sent", &["OutDatagrams", "Udp6OutDatagrams"]),
    events("udp.no_port", &["NoPorts", "Udp6NoPorts"]),
    events("udp.errors", &["InErrors", "Udp6InErrors"]),
    events("udp.buffer_full", &["RcvbufErrors", "SndbufErrors", "Udp6RcvbufErrors", "Udp6SndbufErrors"]),
];
static ICMP: [Sum; 2] =
    [events("icmp.received", &["InMsgs", "Icmp6InMsgs"]), events("icmp.sent", &["OutMsgs", "Icmp6OutMsgs"])];

/// Reads `/proc/net/snmp` and `/proc/net/snmp6`.
pub(super) struct Ip {
    v4: Kept,
    v6: Kept,
}

impl Default for Ip {
    fn default() -> Ip {
        Ip { v4: Kept::new("/proc/net/snmp"), v6: Kept::new("/proc/net/snmp6") }
    }
}

impl Collector for Ip {
    fn id(&self) -> &'static str {
        "ip"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let v4 = self.v4.read(root)?;
        // Without IPv6 there is none.
        let v6 = self.v6.try_read(root).unwrap_or_default();
        sums::tell(&IP, procfs::paired(v4, "Ip").chain(procfs::keyed(v6)), &mut out.readings);
        sums::tell(&UDP, procfs::paired(v4, "Udp").chain(procfs::keyed(v6)), &mut out.readings);
        sums::tell(&ICMP, procfs::paired(v4, "Icmp").chain(procfs::keyed(v6)), &mut out.readings);
        Ok(())
    }
}
