//! Network links with their speed and losses, and while one is busy, who talks most.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use toban_model::{Holdings, Link, Talker, TcpState};

use super::owner;
use crate::sockets::{self, Filter, States};
use crate::{Root, procfs};

/// From this part of its speed on it is looked up who talks.
const BUSY: f64 = 0.6;
/// The two readings of every connection's bytes are so far apart.
const TALK_FOR: Duration = Duration::from_millis(500);
const TALKERS_TOLD_MAX: usize = 6;
const LINKS_MAX: usize = 32;

/// The links' bytes at the last look, both ways, with the packets that were lost.
#[derive(Default)]
pub(super) struct Links(HashMap<String, (Instant, u64, u64, u64)>);

impl Links {
    pub(super) fn look(&mut self, root: &Root, pids: &[u32], found: &mut Holdings) {
        let mut buffer = Vec::new();
        let Ok(bytes) = root.read("/proc/net/dev", &mut buffer) else { return };
        found.links = links(root, bytes);
        let now = Instant::now();
        let mut busy = false;
        for link in &found.links {
            let this = (now, link.received_bytes, link.sent_bytes, link.overruns);
            let Some((at, received, sent, lost)) = self.0.insert(link.name.clone(), this) else { continue };
            let seconds = now.duration_since(at).as_secs_f64().max(0.1);
            let most = link.received_bytes.saturating_sub(received).max(link.sent_bytes.saturating_sub(sent));
            busy |= link.speed_bytes_s.is_some_and(|speed| most as f64 / seconds >= BUSY * speed)
                || link.overruns > lost;
        }
        if busy {
            found.talkers = talkers(root, pids);
        }
    }
}

/// Real devices, told by their `device` in sysfs, and bonds of them. What is virtual has no speed of its own.
fn links(root: &Root, dev: &[u8]) -> Vec<Link> {
    let mut all = Vec::new();
    let mut buffer = Vec::new();
    for line in procfs::lines(dev) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let Ok(name) = std::str::from_utf8(line[..colon].trim_ascii()) else { continue };
        let folder = format!("/sys/class/net/{name}");
        let real = ["device", "bonding"].iter().any(|part| root.at(format!("{folder}/{part}")).exists());
        if !real || all.len() >= LINKS_MAX {
            continue;
        }
        let mut columns = [0; 16];
        for (column, word) in columns.iter_mut().zip(procfs::fields(&line[colon + 1..])) {
            *column = procfs::number(word).unwrap_or(0);
        }
        // In Mbit/s; -1 or an error where the device does not know, as many virtual machines' do not.
        let speed = root.read(format!("{folder}/speed"), &mut buffer).ok().and_then(procfs::number);
        let missed = root.read(format!("{folder}/statistics/rx_missed_errors"), &mut buffer).ok();
        let missed = missed.and_then(procfs::number).unwrap_or(0);
        all.push(Link {
            name: name.to_owned(),
            speed_bytes_s: speed.filter(|speed| *speed > 0).map(|speed| speed as f64 * 125e3),
            received_bytes: columns[0],
            received_packets: columns[1],
            // Column 5 is rx_fifo_errors; the kernel adds missed ones to what /proc/net/dev calls drops.
            overruns: columns[4] + missed,
            sent_bytes: columns[8],
            ..Link::default()
        });
    }
    all
}

/// Bytes of every TCP connection by its other end, over half a second. Other protocols are not told by peer.
fn talkers(root: &Root, pids: &[u32]) -> Vec<Talker> {
    let filter =
        Filter { states: States::OPEN.and(States::LISTEN), local_ports: Vec::new(), with_info: true };
    let dump = || sockets::tcp_connections(root, &filter).unwrap_or_default();
    let (before, began) = (dump(), Instant::now());
    std::thread::sleep(TALK_FOR);
    let after = dump();
    let seconds = began.elapsed().as_secs_f64();
    let ends = |local: SocketAddr, peer: SocketAddr| (local, peer);
    let before: HashMap<_, (u64, u64)> = before
        .iter()
        .map(|c| (ends(c.local, c.peer), (c.bytes_acked.unwrap_or(0), c.bytes_received.unwrap_or(0))))
        .collect();
    let listens: Vec<u16> =
        after.iter().filter(|c| c.state == TcpState::Listen).map(|c| c.local.port()).collect();
    // By peer and service: sent, received, and the inode of the connection that moved most.
    let mut sums: BTreeMap<(IpAddr, u16), (f64, f64, f64, u64)> = BTreeMap::new();
    for c in after.iter().filter(|c| c.state != TcpState::Listen && !c.peer.ip().is_loopback()) {
        let (sent, received) = before.get(&ends(c.local, c.peer)).copied().unwrap_or_default();
        let sent = c.bytes_acked.unwrap_or(0).saturating_sub(sent) as f64 / seconds;
        let received = c.bytes_received.unwrap_or(0).saturating_sub(received) as f64 / seconds;
        let port = if listens.contains(&c.local.port()) { c.local.port() } else { c.peer.port() };
        let sum = sums.entry((c.peer.ip(), port)).or_default();
        sum.0 += sent;
        sum.1 += received;
        if sent + received >= sum.2 {
            (sum.2, sum.3) = (sent + received, c.inode);
        }
    }
    let mut all: Vec<_> = sums.into_iter().filter(|(_, sum)| sum.0 + sum.1 > 0.0).collect();
    all.sort_by(|a, b| (b.1.0 + b.1.1).total_cmp(&(a.1.0 + a.1.1)));
    all.truncate(TALKERS_TOLD_MAX);
    let who = sockets::owners(root, pids);
    all.into_iter()
        .map(|((peer, port), (sent_bytes_s, received_bytes_s, _, inode))| {
            let owner = who.get(&inode).and_then(|pid| owner(root, *pid));
            Talker { peer, port, owner, sent_bytes_s, received_bytes_s }
        })
        .collect()
}
