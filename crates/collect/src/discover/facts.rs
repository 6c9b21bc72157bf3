//! The host's own facts: name, size, addresses, neighbours that must never be banned, and where the kernel speaks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use toban_model::{Host, canonical};

use crate::collectors::MemoryCgroup;
use crate::procfs::{self, Meminfo, Stat};
use crate::{Root, limits};

pub(super) fn read(root: &Root) -> Host {
    let mut host = Host::default();
    let mut buffer = Vec::new();
    host.name = name(root);
    match root.read("/proc/stat", &mut buffer).ok().and_then(Stat::parse) {
        Some(stat) => {
            host.cores = stat.cores.max(1);
            host.boot = toban_model::Time::from_secs(i64::try_from(stat.boot_s).unwrap_or(0));
        }
        None => host.blind.push("processors and boot time: could not read /proc/stat".to_owned()),
    }
    match root.read("/proc/meminfo", &mut buffer).ok().and_then(Meminfo::parse) {
        Some(memory) => {
            let cgroup = MemoryCgroup::find(root, memory.total_bytes);
            host.memory_bytes = cgroup.map_or(memory.total_bytes, |cgroup| cgroup.limit_bytes);
        }
        None => host.blind.push("memory: could not read /proc/meminfo".to_owned()),
    }
    if !add_addresses(root, &mut host) {
        host.blind.push("own addresses: could not read /proc/net/fib_trie and /proc/net/if_inet6".to_owned());
    }
    host.kernel_logs = kernel_logs(root);
    if host.kernel_logs.is_empty() {
        host.blind.push("kernel log: no readable kern.log, messages, syslog or /dev/kmsg".to_owned());
    }
    host
}

/// Own addresses, gateways and name servers. False where none of its own can be read; what was known holds then.
pub(super) fn add_addresses(root: &Root, host: &mut Host) -> bool {
    let own = own_addresses(root);
    let found = !own.is_empty();
    if found || host.own.is_empty() {
        (host.own, host.gateways, host.resolvers) = (own, gateways(root), resolvers(root));
    }
    found
}

fn name(root: &Root) -> String {
    let mut buffer = Vec::new();
    for path in ["/proc/sys/kernel/hostname", "/etc/hostname"] {
        if let Ok(bytes) = root.read(path, &mut buffer) {
            let name = String::from_utf8_lossy(bytes).trim().to_owned();
            if !name.is_empty() {
                return name;
            }
        }
    }
    "localhost".to_owned()
}

fn sorted(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// v4 from the local table of `fib_trie` (a leaf is followed by its `/32 host LOCAL`), v6 from `if_inet6`.
fn own_addresses(root: &Root) -> Vec<IpAddr> {
    let mut own = Vec::new();
    let mut buffer = Vec::new();
    if let Ok(bytes) = root.read("/proc/net/fib_trie", &mut buffer) {
        let mut leaf: Option<Ipv4Addr> = None;
        for line in procfs::lines(bytes) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let line = line.trim();
            if let Some(address) = line.strip_prefix("|-- ") {
                leaf = address.parse().ok();
            } else if line.starts_with("/32 host LOCAL")
                && let Some(address) = leaf
            {
                own.push(IpAddr::V4(address));
            }
        }
    }
    if let Ok(bytes) = root.read("/proc/net/if_inet6", &mut buffer) {
        for line in procfs::lines(bytes) {
            own.extend(procfs::fields(line).next().and_then(hex_v6).map(IpAddr::V6));
        }
    }
    sorted(own)
}

fn hex_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let text = std::str::from_utf8(text).ok()?;
    (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok().map(Ipv6Addr::from))?
}

/// Flag RTF_GATEWAY of linux/route.h.
const GATEWAY: u32 = 0x2;

fn gateways(root: &Root) -> Vec<IpAddr> {
    let mut gateways = Vec::new();
    let mut buffer = Vec::new();
    // Iface Destination Gateway Flags …: the address is a word in the host's byte order.
    if let Ok(bytes) = root.read("/proc/net/route", &mut buffer) {
        for line in procfs::lines(bytes).skip(1) {
            let hex = |text: Option<&[u8]>| u32::from_str_radix(std::str::from_utf8(text?).ok()?, 16).ok();
            let mut words = procfs::fields(line).skip(2);
            if let (Some(gateway), Some(flags)) = (hex(words.next()), hex(words.next()))
                && flags & GATEWAY != 0
            {
                gateways.push(IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes())));
            }
        }
    }
    // destination len source len next-hop metric refcount use flags device
    if let Ok(bytes) = root.read("/proc/net/ipv6_route", &mut buffer) {
        for line in procfs::lines(bytes) {
            let words: Vec<&[u8]> = procfs::fields(line).collect();
            let flags =
                words.get(8).and_then(|text| u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok());
            if let (Some(hop), Some(flags)) = (words.get(4).and_then(|text| hex_v6(text)), flags)
                && flags & GATEWAY != 0
                && !hop.is_unspecified()
            {
                gateways.push(IpAddr::V6(hop));
            }
        }
    }
    sorted(gateways)
}

fn resolvers(root: &Root) -> Vec<IpAddr> {
    let text = root.read_config("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "nameserver").then(|| words.next())?
    });
    // A link-local server carries its interface: fe80::1%eth0.
    sorted(servers.filter_map(|text| text.split('%').next()?.parse().ok()).map(canonical).collect())
}

/// Source addresses of live logins.
pub(super) fn add_logins(root: &Root, host: &mut Host) {
    host.logins = sorted(super::logins::find(root, host));
}

/// Where the kernel's words can be read, best first. A file is this host's own; `/dev/kmsg` is the machine's, with
/// every container's lines, but is there before any logger runs.
fn kernel_logs(root: &Root) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    let readable = |path: &str| crate::root::open_regular(&root.at(path)).ok();
    // It holds nothing but kernel lines, and is empty for a while after each rotation.
    if readable("/var/log/kern.log").is_some() {
        logs.push(PathBuf::from("/var/log/kern.log"));
    }
    for path in ["/var/log/messages", "/var/log/syslog"] {
        if readable(path).is_some_and(|file| has_kernel_lines(&file)) {
            logs.push(PathBuf::from(path));
        }
    }
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
    if rustix::fs::open(root.at("/dev/kmsg"), flags, rustix::fs::Mode::empty()).is_ok() {
        logs.push(PathBuf::from("/dev/kmsg"));
    }
    logs
}

fn has_kernel_lines(file: &std::fs::File) -> bool {
    use std::os::unix::fs::FileExt;
    let len = file.metadata().map_or(0, |meta| meta.len());
    let mut end = vec![0; limits::SYSLOG_PROBE_BYTES];
    let from = len.saturating_sub(end.len() as u64);
    let read = file.read_at(&mut end, from).unwrap_or(0);
    memchr::memmem::find(&end[..read], b" kernel: ").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_from_a_tree() {
        let dir = tempfile::tempdir().unwrap();
        let mut utmp = vec![0u8; 384 * 3];
        for (at, kind, pid, host) in
            [(0, 7i16, 42u32, "192.0.2.99"), (384, 7, 43, "192.0.2.98"), (768, 8, 42, "192.0.2.97")]
        {
            utmp[at..at + 2].copy_from_slice(&kind.to_ne_bytes());
            utmp[at + 4..at + 8].copy_from_slice(&pid.to_ne_bytes());
            utmp[at + 76..at + 76 + host.len()].copy_from_slice(host.as_bytes());
        }
        for (path, bytes) in [
            ("proc/sys/kernel/hostname", &b"web1\n"[..]),
            ("proc/stat", b"cpu 1 1 1 1 1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nbtime 1600000000\n"),
            ("proc/meminfo", b"MemTotal: 2048 kB\nMemAvailable: 1024 kB\n"),
            ("proc/self/cgroup", b"4:memory:/web\n0::/\n"),
            ("sys/fs/cgroup/memory/web/memory.limit_in_bytes", b"1048576\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", b"9223372036854771712\n"),
            ("proc/net/fib_trie", b"Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.0.21\n        /32 host LOCAL\n     |-- 10.0.0.255\n        /32 link BROADCAST\n"),
            ("proc/net/if_inet6", b"20010db8000000000000000000000021 02 40 00 80 eth0\n"),
            ("proc/net/route", b"Iface\tDestination\tGateway\tFlags\neth0\t00000000\t0100000A\t0003\t0\neth0\t0000000A\t00000000\t0001\n"),
            ("etc/resolv.conf", b"# x\nnameserver 10.0.0.53\nnameserver fe80::1%eth0\nsearch a\n"),
            ("var/log/syslog", b"Nov 22 01:00:00 web1 kernel: [1.0] hello\n"),
            ("var/log/messages", b"Nov 22 01:00:00 web1 cron: hello\n"),
            ("proc/42/stat", b"x"),
            ("run/utmp", &utmp),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        let root = Root::new(dir.path());
        let mut host = read(&root);
        add_logins(&root, &mut host);
        let addresses = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!((host.name.as_str(), host.cores, host.memory_bytes), ("web1", 2, 1 << 20));
        assert_eq!(host.boot.as_secs(), 1_600_000_000);
        assert_eq!(addresses(&host.own), ["10.0.0.21", "2001:db8::21"]);
        assert_eq!(addresses(&host.gateways), ["10.0.0.1"]);
        assert_eq!(addresses(&host.resolvers), ["10.0.0.53", "fe80::1"]);
        assert_eq!(addresses(&host.logins), ["192.0.2.99"]);
        assert_eq!(host.kernel_logs, [PathBuf::from("/var/log/syslog")]);
        assert!(host.blind.is_empty(), "{:?}", host.blind);
    }
}
