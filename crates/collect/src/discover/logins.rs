//! Who is logged in: the peers of sshd's sessions that were let in, and the hosts of utmp's entries whose process lives.
//!
//! Whoever tries passwords has a connection to sshd, too. Its processes tell the two apart: until a client is let in, its
//! connection is also held by a child without any rights (`sshd: root [net]`), or by one that knows nobody yet
//! (`sshd: [accepted]`); later only by the monitor and by what runs as the user. What cannot be told counts as a login:
//! an administrator must never be shut out.

use std::collections::HashMap;
use std::net::IpAddr;

use toban_model::{Connection, Host, ServiceKind, TcpState, canonical};

use crate::Root;
use crate::procfs::{self, FdTarget, Process};
use crate::sockets::{self, Filter, States};

/// Processes that hold one connection: sshd's monitor, its child, and one for each terminal.
const HOLDERS_MAX: usize = 16;

/// Source addresses of live logins.
pub(super) fn find(root: &Root, host: &Host) -> Vec<IpAddr> {
    let sshd = host.services.iter().filter(|service| service.kind == ServiceKind::Sshd);
    let ports: Vec<u16> = sshd.flat_map(super::ports).collect();
    let mut logins = sessions(root, &ports);
    let mut buffer = Vec::new();
    for path in ["/run/utmp", "/var/run/utmp"] {
        if let Ok(bytes) = root.read(path, &mut buffer) {
            logins.extend(utmp_hosts(root, bytes));
            break;
        }
    }
    logins
}

/// Peers of the connections at these ports that nothing shows to be before their login.
fn sessions(root: &Root, ports: &[u16]) -> Vec<IpAddr> {
    let mut found = let_in(root, established(root, ports));
    if found.iter().any(|(_, is_sure)| !is_sure) {
        // For an instant, when its processes begin or end, a connection is neither; one that ended is gone by now.
        let mut still = established(root, ports);
        still.retain(|now| found.iter().any(|(known, _)| known.inode == now.inode));
        found = let_in(root, still);
    }
    found.into_iter().map(|(connection, _)| connection.peer.ip()).collect()
}

/// Those that are not before their login, and whether that is sure.
fn let_in(root: &Root, connections: Vec<Connection>) -> Vec<(Connection, bool)> {
    let holders = holders(root, &connections);
    let judged = connections.into_iter().filter_map(|connection| {
        let titles = holders.get(&connection.inode).map_or(&[][..], Vec::as_slice);
        let is_sure = titles.iter().any(|title| !title.ends_with(" [priv]"));
        (!titles.iter().any(|title| is_before_login(title))).then_some((connection, is_sure))
    });
    judged.collect()
}

fn established(root: &Root, ports: &[u16]) -> Vec<Connection> {
    if ports.is_empty() {
        return Vec::new();
    }
    let filter =
        Filter { states: States::of(TcpState::Established), local_ports: ports.to_vec(), with_info: false };
    let mut found = sockets::tcp_connections(root, &filter).unwrap_or_default();
    // One in the accept queue is nobody's login.
    found.retain(|connection| connection.inode != 0);
    found
}

/// What the processes of sshd that hold each connection call themselves.
fn holders(root: &Root, connections: &[Connection]) -> HashMap<u64, Vec<String>> {
    let mut holders: HashMap<u64, Vec<String>> =
        connections.iter().map(|connection| (connection.inode, Vec::new())).collect();
    if holders.is_empty() {
        return holders;
    }
    let mut buffer = Vec::new();
    for pid in procfs::pids(root).unwrap_or_default() {
        let Some(process) = Process::read(root, pid, &mut buffer) else { continue };
        if !process.comm.starts_with("sshd") {
            continue;
        }
        let mut held = Vec::new();
        procfs::for_each_fd(root, pid, |_, target| match target {
            FdTarget::Socket(inode) if holders.contains_key(&inode) => held.push(inode),
            _ => {}
        });
        let title = procfs::arguments(root, pid).into_iter().next().unwrap_or_default();
        for inode in held {
            let Some(titles) = holders.get_mut(&inode) else { continue };
            if titles.len() < HOLDERS_MAX {
                titles.push(title.clone());
            }
        }
    }
    holders
}

/// A title that sshd gives a process whose client is not let in yet: `sshd: [accepted]`, `sshd: [net]`,
/// `sshd: anna [net]`; `sshd-session: …` since OpenSSH 9.8, `sshd-auth: …` since 10.0. The name in it is one of this
/// host's own users, or `unknown`, so a client cannot choose these words. Behind `[listener]` stands the number of those
/// that are being asked, and the process is none of them.
fn is_before_login(title: &str) -> bool {
    let Some((program, rest)) = title.split_once(": ") else { return false };
    let program = program.rsplit('/').next().unwrap_or(program);
    match program {
        "sshd" | "sshd-session" => {
            let rest = rest.trim_end();
            rest == "[accepted]" || rest == "unknown [priv]" || rest == "[net]" || rest.ends_with(" [net]")
        }
        // A program that does nothing but to ask who somebody is.
        "sshd-auth" => true,
        _ => false,
    }
}

/// utmp(5): records of 384 bytes; type at 0, pid at 4, host at 76.
fn utmp_hosts(root: &Root, bytes: &[u8]) -> Vec<IpAddr> {
    const RECORD: usize = 384;
    const USER_PROCESS: i16 = 7;
    bytes
        .chunks_exact(RECORD)
        .filter_map(|record| {
            let kind = i16::from_ne_bytes(record.get(..2)?.try_into().ok()?);
            let pid = u32::from_ne_bytes(record.get(4..8)?.try_into().ok()?);
            let host = record.get(76..76 + 256)?;
            let host = std::str::from_utf8(host.split(|b| *b == 0).next()?).ok()?;
            let alive = root.at(format!("/proc/{pid}")).exists();
            (kind == USER_PROCESS && alive).then(|| host.parse().ok().map(canonical))?
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn titles_of_openssh_before_and_after_the_login() {
        for title in [
            "sshd: [accepted]",
            "sshd: unknown [priv]",
            "sshd: [net]",
            "sshd: root [net]",
            "sshd: anna@example.jp [net]",
            "sshd: unknown [net]",
            "sshd-session: anna [net]",
            "sshd-session: [accepted]",
            "sshd-auth: anna [net]",
        ] {
            assert!(is_before_login(title), "{title}");
        }
        for title in [
            "sshd: root@pts/0",
            "sshd: root@notty",
            "sshd: anna [priv]",
            "sshd: anna",
            "sshd-session: anna@pts/1,pts/2",
            "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups",
            "",
            "/usr/sbin/dropbear",
        ] {
            assert!(!is_before_login(title), "{title}");
        }
    }

    /// A made /proc with one connection at port 22 for each list of processes.
    #[track_caller]
    fn check(connections: &[&[(&str, &str)]], logins: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().join("proc");
        std::fs::create_dir_all(proc.join("net")).unwrap();
        let mut tcp = String::from("  sl  local_address rem_address   st\n");
        let mut pid = 100;
        for (n, processes) in connections.iter().enumerate() {
            let inode = 500 + n;
            tcp.push_str(&format!(
                "   {n}: 1500000A:0016 {:02X}0200C0:C350 01 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0 20 4 30 10 -1\n",
                n + 1
            ));
            for (comm, title) in *processes {
                let of = proc.join(pid.to_string());
                std::fs::create_dir_all(of.join("fd")).unwrap();
                let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 100 0 100 0\n");
                std::fs::write(of.join("stat"), stat).unwrap();
                std::fs::write(of.join("cmdline"), format!("{title}\0\0\0")).unwrap();
                symlink(format!("socket:[{inode}]"), of.join("fd/4")).unwrap();
                pid += 1;
            }
        }
        std::fs::write(proc.join("net/tcp"), tcp).unwrap();
        let found: Vec<String> =
            sessions(&Root::new(dir.path()), &[22]).iter().map(ToString::to_string).collect();
        assert_eq!(found, logins);
    }

    #[test]
    fn who_is_let_in_and_who_is_being_asked() {
        check(
            &[
                &[("sshd", "sshd: root [priv]"), ("sshd", "sshd: root [net]")],
                &[("sshd", "sshd: [accepted]")],
                &[("sshd", "sshd: root@pts/0")],
                // Port forwarding alone: no session, so only the monitor, and for other users its child.
                &[("sshd", "sshd: root [priv]")],
                &[("sshd", "sshd: anna [priv]"), ("sshd", "sshd: anna")],
                &[("sshd-session", "sshd-session: anna [priv]"), ("sshd-auth", "sshd-auth: anna [net]")],
                // Another server, of which nothing is known.
                &[("dropbear", "/usr/sbin/dropbear -F")],
            ],
            &["192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.7"],
        );
    }
}
