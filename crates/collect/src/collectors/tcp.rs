//! `tcp.*`: what the kernel counts of connections, when queues overflow, packets are lost or windows close. How many
//! sockets are in which state is counted by the collector `sockets`.

use toban_model::Sample;

use super::{Collector, gauge};
use crate::kept::Kept;
use crate::sums::{self, Sum, amount, events};
use crate::{Error, Root, procfs};

static SNMP: [Sum; 8] = [
    amount("tcp.established", &["CurrEstab"]),
    events("tcp.retransmits", &["RetransSegs"]),
    events("tcp.accepted", &["PassiveOpens"]),
    events("tcp.opened", &["ActiveOpens"]),
    events("tcp.attempts_failed", &["AttemptFails"]),
    events("tcp.resets_received", &["EstabResets"]),
    events("tcp.resets_sent", &["OutRsts"]),
    events("tcp.errors", &["InErrs"]),
];

static NETSTAT: [Sum; 18] = [
    events("tcp.listen_overflows", &["ListenOverflows"]),
    events("tcp.listen_drops", &["ListenDrops"]),
    events("tcp.syn_cookies", &["SyncookiesSent"]),
    events("tcp.syn_cookies_received", &["SyncookiesRecv"]),
    events("tcp.syn_cookies_failed", &["SyncookiesFailed"]),
    events("tcp.syn_queue_full", &["TCPReqQFullDrop", "TCPReqQFullDoCookies"]),
    events("tcp.syn_retransmits", &["TCPSynRetrans"]),
    // A window that we close is a process that does not read; one that the peer closes, a client that does not.
    events("tcp.zero_window_sent", &["TCPToZeroWindowAdv"]),
    events("tcp.zero_window_ended", &["TCPFromZeroWindowAdv"]),
    events("tcp.zero_window_probes", &["TCPWinProbe"]),
    events("tcp.timeouts", &["TCPTimeouts"]),
    events("tcp.retransmits_lost", &["TCPLostRetransmit"]),
    events("tcp.aborts_on_memory", &["TCPAbortOnMemory"]),
    events("tcp.aborts_on_timeout", &["TCPAbortOnTimeout"]),
    events("tcp.aborts_on_close", &["TCPAbortOnData", "TCPAbortOnClose"]),
    events("tcp.receive_drops", &["TCPRcvQDrop", "TCPBacklogDrop", "PruneCalled", "RcvPruned"]),
    events("tcp.memory_pressures", &["TCPMemoryPressures"]),
    events("tcp.time_wait_overflows", &["TCPTimeWaitOverflow"]),
];

static SOCKSTAT: [Sum; 2] = [
    // Orphans are the sockets of killed workers; no process's table shows them.
    amount("tcp.orphans", &["orphan"]),
    amount("tcp.time_wait", &["tw"]),
];

/// Reads `/proc/net/{snmp,netstat,sockstat}`.
pub(super) struct Tcp {
    snmp: Kept,
    netstat: Kept,
    sockstat: Kept,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp {
            snmp: Kept::new("/proc/net/snmp"),
            netstat: Kept::new("/proc/net/netstat"),
            sockstat: Kept::new("/proc/net/sockstat"),
        }
    }
}

impl Collector for Tcp {
    fn id(&self) -> &'static str {
        "tcp"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        sums::tell(&SNMP, procfs::paired(self.snmp.read(root)?, "Tcp"), &mut out.readings);
        // Absent in some containers.
        let netstat = self.netstat.try_read(root).unwrap_or_default();
        sums::tell(&NETSTAT, procfs::paired(netstat, "TcpExt"), &mut out.readings);
        let sockstat = self.sockstat.try_read(root).unwrap_or_default();
        sums::tell(&SOCKSTAT, procfs::sockstat(sockstat, "TCP"), &mut out.readings);
        let pages = procfs::sockstat(sockstat, "TCP").find(|(name, _)| *name == b"mem");
        if let Some((_, pages)) = pages {
            let bytes = pages as f64 * rustix::param::page_size() as f64;
            out.readings.push(gauge("tcp.memory", bytes, "B"));
        }
        if let Some((_, used)) = procfs::sockstat(sockstat, "sockets").next() {
            out.readings.push(gauge("sockets.used", used as f64, ""));
        }
        Ok(())
    }
}
