//! `tcp.*`: connections by state, and what the kernel counts when queues overflow or packets are lost.

use toban_model::{Reading, TcpState};

use super::{Collector, counter, gauge};
use crate::sockets::{self, States};
use crate::{Error, Root, procfs};

/// Reads `/proc/net/{snmp,netstat,sockstat}` and asks for half-open connections.
#[derive(Default)]
pub(super) struct Tcp {
    buffer: Vec<u8>,
}

impl Collector for Tcp {
    fn id(&self) -> &'static str {
        "tcp"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let snmp = root.read("/proc/net/snmp", &mut self.buffer)?;
        if let Some(count) = procfs::paired(snmp, "Tcp", "CurrEstab") {
            out.push(gauge("tcp.established", count as f64, ""));
        }
        for (vital, name) in [
            ("tcp.retransmits", "RetransSegs"),
            ("tcp.accepted", "PassiveOpens"),
            ("tcp.resets_sent", "OutRsts"),
        ] {
            if let Some(count) = procfs::paired(snmp, "Tcp", name) {
                out.push(counter(vital, count as f64, "/s"));
            }
        }
        // Absent in some containers.
        if let Ok(netstat) = root.read("/proc/net/netstat", &mut self.buffer) {
            for (vital, name) in [
                ("tcp.listen_overflows", "ListenOverflows"),
                ("tcp.listen_drops", "ListenDrops"),
                ("tcp.syn_cookies", "SyncookiesSent"),
            ] {
                if let Some(count) = procfs::paired(netstat, "TcpExt", name) {
                    out.push(counter(vital, count as f64, "/s"));
                }
            }
        }
        if let Ok(sockstat) = root.read("/proc/net/sockstat", &mut self.buffer) {
            // Orphans are the sockets of killed workers; no process's table shows them.
            for (vital, name) in [("tcp.orphans", "orphan"), ("tcp.time_wait", "tw")] {
                if let Some(count) = procfs::sockstat(sockstat, "TCP", name) {
                    out.push(gauge(vital, count as f64, ""));
                }
            }
        }
        let half_open = sockets::count(root, States::of(TcpState::SynRecv))?;
        out.push(gauge("tcp.syn_recv", half_open as f64, ""));
        Ok(())
    }
}
