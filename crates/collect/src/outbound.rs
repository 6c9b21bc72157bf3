//! Processes that open connections to many others at once: what a host looks like that sends a flood or spam by itself.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use toban_model::{Outbound, TcpState, is_private};

use crate::Root;
use crate::procfs::{self, FdTarget, Process};
use crate::sockets::{self, Filter, States};

/// With fewer connections on their way (SYN_SENT) it is not worth to read all processes' open files.
pub const OPENING_MIN: f64 = 20.0;
/// Fewer others than this are a program with some servers.
const PEERS_MIN: usize = 20;
const TOLD_MAX: usize = 8;
const COMMAND_BYTES: usize = 256;

/// The processes that are opening connections to many public addresses at one port, the busiest first. What cannot be
/// read is left out.
pub fn look(root: &Root) -> Vec<Outbound> {
    let filter = Filter { states: States::of(TcpState::SynSent), local_ports: Vec::new(), with_info: false };
    let Ok(connections) = sockets::tcp_connections(root, &filter) else { return Vec::new() };
    let by_inode: HashMap<u64, (u16, IpAddr)> = connections
        .iter()
        .filter(|c| c.inode != 0 && !is_private(c.peer.ip()))
        .map(|c| (c.inode, (c.peer.port(), c.peer.ip())))
        .collect();
    if by_inode.len() < PEERS_MIN {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut buffer = Vec::new();
    for pid in procfs::pids(root).unwrap_or_default() {
        let mut by_port: HashMap<u16, (u32, HashSet<IpAddr>)> = HashMap::new();
        procfs::for_each_fd(root, pid, |_, target| {
            if let FdTarget::Socket(inode) = target
                && let Some((port, peer)) = by_inode.get(&inode)
            {
                let (opening, peers) = by_port.entry(*port).or_default();
                *opening += 1;
                peers.insert(*peer);
            }
        });
        for (port, (opening, peers)) in by_port {
            if peers.len() < PEERS_MIN {
                continue;
            }
            let Some(process) = Process::read(root, pid, &mut buffer) else { continue };
            let exe = procfs::exe(root, pid).map(|exe| exe.display().to_string()).unwrap_or_default();
            let mut command = procfs::arguments(root, pid).join(" ");
            let end = command.char_indices().map(|(at, _)| at).find(|at| *at >= COMMAND_BYTES);
            command.truncate(end.unwrap_or(command.len()));
            found.push(Outbound {
                process: process.id,
                parent: process.ppid,
                comm: process.comm,
                command,
                exe,
                user: user_of(root, pid),
                port,
                opening,
                peers: peers.len() as u32,
            });
        }
    }
    found.sort_by(|a, b| (b.opening, a.process.pid, a.port).cmp(&(a.opening, b.process.pid, b.port)));
    found.truncate(TOLD_MAX);
    found
}

fn user_of(root: &Root, pid: u32) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(root.at(format!("/proc/{pid}"))).map_or(0, |meta| meta.uid())
}
