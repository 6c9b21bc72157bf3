//! Connections that the kernel has only so much room for: ephemeral ports towards one place, and the table of tracked
//! connections.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use toban_model::{Destination, Owner, Ports, TcpState, Tracked, canonical};

use super::owner;
use crate::sockets::{self, Filter, States};
use crate::{Root, limits, procfs};

/// Fewer sockets than this part of the ports exhaust nothing, and are not looked at one by one.
const LOOKED_AT: f64 = 0.5;
const DESTINATIONS_TOLD_MAX: usize = 4;
const OWNERS_TOLD_MAX: usize = 3;
/// From this part on the table of tracked connections is read.
const TABLE_NEAR: f64 = 0.8;
const TABLE_LINES_MAX: usize = 300_000;
const TABLE_FOR: Duration = Duration::from_millis(1200);
const SOURCES_MAX: usize = 65_536;
const SOURCES_TOLD_MAX: usize = 8;

/// Where most ephemeral ports are taken to.
pub(super) fn ephemeral(root: &Root, pids: &[u32]) -> Option<Ports> {
    let mut buffer = Vec::new();
    let range = root.read("/proc/sys/net/ipv4/ip_local_port_range", &mut buffer).ok()?;
    let ends: Vec<u16> =
        procfs::fields(range).filter_map(|word| u16::try_from(procfs::number(word)?).ok()).collect();
    let [low, high] = ends[..] else { return None };
    let reserved = root.read("/proc/sys/net/ipv4/ip_local_reserved_ports", &mut buffer).unwrap_or_default();
    let reserved = reserved_in(reserved, low, high);
    let limit = (u32::from(high) + 1).saturating_sub(u32::from(low)).saturating_sub(reserved);
    let mut ports = Ports { limit, destinations: Vec::new() };
    if f64::from(u32::try_from(open_sockets(root)).unwrap_or(u32::MAX)) >= LOOKED_AT * f64::from(limit) {
        ports.destinations = destinations(root, pids, low, high, limit).unwrap_or_default();
    }
    Some(ports)
}

/// `8080,9148-9150`: how many of them lie in the range.
fn reserved_in(text: &[u8], low: u16, high: u16) -> u32 {
    let text = String::from_utf8_lossy(text);
    let parts = text.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.trim().parse::<u16>().ok()?.max(low), to.trim().parse::<u16>().ok()?.min(high)))
    });
    parts.filter(|(from, to)| from <= to).map(|(from, to)| u32::from(to - from) + 1).sum()
}

/// TCP sockets in use and in TIME-WAIT, by the kernel's own count.
fn open_sockets(root: &Root) -> u64 {
    let mut buffer = Vec::new();
    let mut sum = 0;
    for (file, group) in [("/proc/net/sockstat", "TCP"), ("/proc/net/sockstat6", "TCP6")] {
        let bytes = root.read(file, &mut buffer).unwrap_or_default();
        let counted = |name: &[u8]| name == b"inuse" || name == b"tw";
        sum += procfs::sockstat(bytes, group).filter(|(name, _)| counted(name)).map(|(_, n)| n).sum::<u64>();
    }
    sum
}

/// A place with the ports that are taken towards it, and the sockets of those that are open.
type Counted = (Destination, HashSet<u16>, Vec<u64>);

fn destinations(root: &Root, pids: &[u32], low: u16, high: u16, limit: u32) -> Option<Vec<Destination>> {
    let filter = Filter { states: States::ALL, local_ports: Vec::new(), with_info: false };
    let all = sockets::tcp(root, &filter).ok()?.list;
    let listens: HashSet<u16> = (all.iter().map(|socket| &socket.connection))
        .filter(|connection| connection.state == TcpState::Listen)
        .map(|connection| connection.local.port())
        .collect();
    // 1: a port in TIME-WAIT is given out again after a second; 2, the default, on the loopback alone.
    let mut buffer = Vec::new();
    let reuse = root.read("/proc/sys/net/ipv4/tcp_tw_reuse", &mut buffer).ok().and_then(procfs::number);
    let mut found: HashMap<(IpAddr, SocketAddr), Counted> = HashMap::new();
    for connection in all.iter().map(|socket| &socket.connection) {
        let port = connection.local.port();
        let own =
            connection.state != TcpState::Listen && (low..=high).contains(&port) && !listens.contains(&port);
        if !own {
            continue;
        }
        let (from, to) = (connection.local.ip(), connection.peer);
        let new = || {
            let owners = Vec::new();
            let counts =
                Destination { from, to, used: 0, time_wait: 0, established: 0, owners, full_since: None };
            (counts, HashSet::new(), Vec::new())
        };
        let (told, ports, inodes) = found.entry((from, to)).or_insert_with(new);
        let waits = connection.state == TcpState::TimeWait;
        *if waits { &mut told.time_wait } else { &mut told.established } += 1;
        if !(waits && (reuse == Some(1) || reuse == Some(2) && to.ip().is_loopback())) {
            ports.insert(port);
        }
        inodes.extend((connection.inode != 0).then_some(connection.inode));
    }
    let mut all: Vec<(Destination, Vec<u64>)> = found
        .into_values()
        .map(|(told, ports, inodes)| {
            (Destination { used: u32::try_from(ports.len()).unwrap_or(0), ..told }, inodes)
        })
        .filter(|(told, _)| f64::from(told.used) >= LOOKED_AT * f64::from(limit))
        .collect();
    all.sort_by_key(|(told, _)| (std::cmp::Reverse(told.used), told.to));
    all.truncate(DESTINATIONS_TOLD_MAX);
    let who = if all.is_empty() { HashMap::new() } else { sockets::owners(root, pids) };
    let named = all.into_iter().map(|(told, inodes)| {
        let pids = inodes.iter().filter_map(|inode| who.get(inode).copied());
        Destination { owners: programs(root, pids), ..told }
    });
    Some(named.collect())
}

/// Programs by how often one of their processes is given, the most first. Processes of one program in one unit count
/// as one.
pub(super) fn programs(root: &Root, pids: impl Iterator<Item = u32>) -> Vec<(Owner, u32)> {
    let mut by_pid: HashMap<u32, u32> = HashMap::new();
    pids.for_each(|pid| *by_pid.entry(pid).or_insert(0) += 1);
    let mut by_pid: Vec<(u32, u32)> = by_pid.into_iter().collect();
    by_pid.sort_unstable();
    let mut all: Vec<(Owner, u32)> = Vec::new();
    for (pid, count) in by_pid {
        let Some(owner) = owner(root, pid) else { continue };
        match all.iter_mut().find(|(known, _)| known.comm == owner.comm && known.unit == owner.unit) {
            Some((_, sum)) => *sum += count,
            None => all.push((owner, count)),
        }
    }
    all.sort_by_key(|(owner, count)| (std::cmp::Reverse(*count), owner.process.pid));
    all.truncate(OWNERS_TOLD_MAX);
    all
}

/// How full the table of tracked connections is, and of whom; `None` where connections are not tracked.
pub(super) fn tracked(root: &Root) -> Option<Tracked> {
    let mut buffer = Vec::new();
    let mut number = |name: &str| {
        procfs::number(root.read(format!("/proc/sys/net/netfilter/{name}"), &mut buffer).ok()?.trim_ascii())
    };
    let (used, limit) = (number("nf_conntrack_count")?, number("nf_conntrack_max")?);
    let stat = root.read("/proc/net/stat/nf_conntrack", &mut buffer).ok();
    let drops = stat.and_then(crate::collectors::conntrack_drops).unwrap_or(0);
    let mut tracked = Tracked { used, limit, drops, ..Tracked::default() };
    if used as f64 >= TABLE_NEAR * limit as f64 {
        read_table(root, &mut tracked);
    }
    Some(tracked)
}

/// `/proc/net/nf_conntrack`, where the kernel has it and this process may: the first `src=` of a line is who began.
fn read_table(root: &Root, tracked: &mut Tracked) {
    let Ok(file) = std::fs::File::open(root.at("/proc/net/nf_conntrack")) else { return };
    let until = Instant::now() + TABLE_FOR;
    let mut reader = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    let mut sources: HashMap<IpAddr, u64> = HashMap::new();
    for n in 0..TABLE_LINES_MAX {
        line.clear();
        if n % 256 == 0 && Instant::now() > until
            || !reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0)
        {
            break;
        }
        line.truncate(limits::CONFIG_LINE_BYTES_MAX);
        let source = procfs::fields(&line).find_map(|word| word.strip_prefix(b"src="));
        let source = source.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()).map(canonical);
        let Some(source) = source else { continue };
        tracked.read += 1;
        tracked.unanswered += u64::from(memchr::memmem::find(&line, b"[UNREPLIED]").is_some());
        if sources.len() < SOURCES_MAX || sources.contains_key(&source) {
            *sources.entry(source).or_insert(0) += 1;
        }
    }
    let mut sources: Vec<(IpAddr, u64)> = sources.into_iter().collect();
    sources.sort_by_key(|(source, count)| (std::cmp::Reverse(*count), *source));
    sources.truncate(SOURCES_TOLD_MAX);
    tracked.sources = sources;
}

#[cfg(test)]
mod unit {
    #[test]
    fn reserved_ports_are_not_given_out() {
        assert_eq!(super::reserved_in(b"8080,40000-40009,60999-61010\n", 32768, 60999), 11);
        assert_eq!(super::reserved_in(b"\n", 32768, 60999), 0);
    }
}
