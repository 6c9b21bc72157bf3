//! What the kernel's messages mean. Each reader knows one kind; the sentences stand beside the words, in
//! [`KernelWord::meaning`].

use memchr::memmem;
use toban_model::event::KernelWord;

use crate::scan::Scan;

/// What the message means.
pub(super) fn word(text: &[u8]) -> KernelWord {
    READERS.iter().find_map(|read| read(text)).unwrap_or(KernelWord::Other)
}

type Reader = fn(&[u8]) -> Option<KernelWord>;

/// Each knows one kind of message.
const READERS: &[Reader] = &[
    oom_killed,
    oom_constraint,
    oom_invoked,
    syn_flooding,
    said,
    hung_task,
    lockup,
    io_error,
    filesystem,
    link,
    segfault,
    oom_task,
    oom_limit,
    window,
    allocation,
    machine,
    disk,
    transmit,
    crash,
];

/// `Memory cgroup out of memory: Killed process 19617 (apache2) total-vm:245364kB, anon-rss:28416kB, …`. Until 5.0 this
/// was two lines, `Out of memory: Kill process …` and `Killed process …`; the second is the kill.
fn oom_killed(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text);
    let cgroup = scan.literal(b"Memory cgroup out of memory: ").is_some();
    if !cgroup && scan.literal(b"Out of memory").is_some() {
        // Some say on whose behalf: `Out of memory (oom_kill_allocating_task): `.
        scan.until(b": ")?;
    }
    scan.literal(b"Killed process ")?;
    let pid = u32::try_from(scan.number()?).ok()?;
    scan.until(b"(")?;
    // A name may hold anything, a parenthesis too; what follows it may not.
    let end = memmem::rfind(scan.rest, b") total-vm:").or_else(|| memmem::rfind(scan.rest, b")"))?;
    let comm = owned(scan.take(end)?);
    let total_vm_kb = amount(scan.rest, b"total-vm:");
    let anon_rss_kb = amount(scan.rest, b"anon-rss:");
    Some(KernelWord::OomKilled { pid, comm, anon_rss_kb, total_vm_kb, cgroup })
}

fn amount(text: &[u8], key: &[u8]) -> Option<u64> {
    let mut scan = Scan::new(text);
    scan.until(key)?;
    scan.number()
}

/// `oom-kill:constraint=CONSTRAINT_MEMCG,…,oom_memcg=/lab,task_memcg=/lab/web1,task=apache2,pid=19617,uid=33`.
fn oom_constraint(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text);
    scan.literal(b"oom-kill:constraint=")?;
    let memcg = memmem::find(scan.rest, b",oom_memcg=")
        .map(|at| &scan.rest[at + 11..])
        .map(|rest| &rest[..memmem::find(rest, b",task_memcg=").unwrap_or(rest.len())]);
    let end = memmem::rfind(scan.rest, b",pid=")?;
    let before = &scan.rest[..end];
    let task = &before[memmem::find(before, b",task=")? + 6..];
    let pid = Scan::new(&scan.rest[end + 5..]).number()?;
    Some(KernelWord::OomConstraint {
        memcg: memcg.map(owned),
        task: owned(task),
        pid: u32::try_from(pid).ok()?,
    })
}

/// `apache2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0`.
fn oom_invoked(text: &[u8]) -> Option<KernelWord> {
    let at = memmem::find(text, b" invoked oom-killer: ")?;
    Some(KernelWord::OomInvoked { comm: owned(&text[..at]) })
}

/// `TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:110. Sending cookies.`, before 5.15 the port alone.
fn syn_flooding(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text);
    scan.until(b"Possible SYN flooding on port ")?;
    let listener = scan.until(b". ")?;
    let port = listener.rsplit(|b| *b == b':').next()?;
    Some(KernelWord::SynFlooding { port: u16::try_from(crate::scan::number(port)?).ok()? })
}

/// Messages that say all by being there. The name of a task could hold any of these words, so they are looked for at
/// the start of the text or behind the part of the kernel that says them.
fn said(text: &[u8]) -> Option<KernelWord> {
    let has = |words: &[u8]| memmem::find(text, words).is_some();
    let word = if text.starts_with(b"nf_conntrack") && has(b"table full, dropping packet") {
        KernelWord::ConntrackFull
    } else if text.starts_with(b"neighbour: ") && has(b"table overflow") {
        KernelWord::NeighbourTableFull
    } else if text.starts_with(b"TCP: out of memory")
        || text.starts_with(b"TCP: request_sock_TCP: out of memory")
    {
        KernelWord::TcpMemory
    } else if text.starts_with(b"TCP: too many") && has(b"orphan") {
        KernelWord::OrphanSockets
    } else if text.starts_with(b"VFS: file-max limit ") {
        KernelWord::FileLimit
    } else if text.starts_with(b"mce: [Hardware Error]")
        || text.starts_with(b"{1}[Hardware Error]")
        || text.starts_with(b"EDAC ") && has(b" UE ")
    {
        KernelWord::HardwareError
    } else {
        return None;
    };
    Some(word)
}

/// `INFO: task kworker/0:1:123 blocked for more than 120 seconds.`
fn hung_task(text: &[u8]) -> Option<KernelWord> {
    let task = text.strip_prefix(b"INFO: task ")?;
    let end = memmem::rfind(task, b" blocked for more than ")?;
    let seconds = Scan::new(&task[end + 23..]).number()?;
    let colon = memchr::memrchr(b':', &task[..end])?;
    let pid = crate::scan::number(&task[colon + 1..end])?;
    Some(KernelWord::HungTask { comm: owned(&task[..colon]), pid: u32::try_from(pid).ok()?, seconds })
}

/// `watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [apache2:7]`, `rcu: INFO: rcu_sched self-detected stall on CPU`.
fn lockup(text: &[u8]) -> Option<KernelWord> {
    let text =
        text.strip_prefix(b"watchdog: ").or_else(|| text.strip_prefix(b"NMI watchdog: ")).unwrap_or(text);
    let text = text.strip_prefix(b"rcu: ").unwrap_or(text);
    if text.starts_with(b"INFO: rcu_") && memmem::find(text, b"stall").is_some() {
        return Some(KernelWord::RcuStall);
    }
    let stuck = text.starts_with(b"BUG: soft lockup") || text.starts_with(b"Watchdog detected hard LOCKUP");
    stuck.then_some(KernelWord::Lockup)
}

/// `I/O error, dev sda, sector 2048 op 0x0:(READ) …`, `Buffer I/O error on dev dm-0, logical block 5, …`.
fn io_error(text: &[u8]) -> Option<KernelWord> {
    let text = text.strip_prefix(b"blk_update_request: ").unwrap_or(text);
    let text = text
        .strip_prefix(b"critical medium error, dev ")
        .or_else(|| text.strip_prefix(b"I/O error, dev "))
        .or_else(|| {
            text.strip_prefix(b"Buffer I/O error on dev ")
                .or_else(|| text.strip_prefix(b"Buffer I/O error on device "))
        })?;
    let end = text.iter().position(|b| *b == b',' || *b == b' ').unwrap_or(text.len());
    Some(KernelWord::IoError { device: owned(&text[..end]) })
}

/// `EXT4-fs error (device sda1): …`, `EXT4-fs (sda1): Remounting filesystem read-only`, `XFS (sda1): Corruption …`.
fn filesystem(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text);
    let name = scan.until(b" (")?;
    let device = scan.until(b")")?;
    let device = device.strip_prefix(b"device ").unwrap_or(device);
    match name {
        b"EXT4-fs" | b"EXT3-fs" | b"EXT2-fs"
            if memmem::find(scan.rest, b"Remounting filesystem read-only").is_some() =>
        {
            Some(KernelWord::ReadOnly)
        }
        b"EXT4-fs error" | b"EXT3-fs error" | b"EXT2-fs error" | b"BTRFS error" | b"BTRFS critical" => {
            let forced = memmem::find(scan.rest, b"forced readonly").is_some();
            let device = device.split(|b| *b == b' ').next().unwrap_or_default();
            Some(if forced {
                KernelWord::ReadOnly
            } else {
                KernelWord::FilesystemError { device: owned(device) }
            })
        }
        b"EXT4-fs"
            if memmem::find(scan.rest, b"I/O error while writing superblock").is_some()
                || memmem::find(scan.rest, b"mounting fs with errors").is_some() =>
        {
            Some(KernelWord::FilesystemError { device: owned(device) })
        }
        b"XFS"
            if memmem::find(scan.rest, b"orruption").is_some()
                || memmem::find(scan.rest, b"Shutting down").is_some()
                || memmem::find(scan.rest, b"I/O error").is_some() =>
        {
            Some(KernelWord::FilesystemError { device: owned(device) })
        }
        _ => None,
    }
}

/// `e1000e 0000:00:19.0 eno1: NIC Link is Down`, `virtio_net virtio0 eth0: Link is Down`.
fn link(text: &[u8]) -> Option<KernelWord> {
    let at = memmem::rfind(text, b"ink is ")?;
    let before = &text[..at];
    let interface = [&b": NIC L"[..], b": L", b" NIC L"].iter().find_map(|end| before.strip_suffix(*end))?;
    let interface = owned(interface.rsplit(|b| *b == b' ').next()?);
    let state = &text[at + 7..];
    if state.starts_with(b"Down") || state.starts_with(b"down") {
        Some(KernelWord::LinkDown { interface })
    } else if state.starts_with(b"Up") || state.starts_with(b"up") {
        Some(KernelWord::LinkUp { interface })
    } else {
        None
    }
}

/// `apache2[143]: segfault at 0 ip 00007f… sp … error 4 in …`.
fn segfault(text: &[u8]) -> Option<KernelWord> {
    let at = memmem::rfind(text, b"]: segfault at ")?;
    let open = memchr::memrchr(b'[', &text[..at])?;
    let pid = u32::try_from(crate::scan::number(&text[open + 1..at])?).ok()?;
    Some(KernelWord::Segfault { comm: owned(&text[..open]), pid })
}

/// `[  19617]    33 19617    61341     9044   233472        0             0 apache2`: pid, then uid, tgid, total_vm and rss,
/// some columns more or fewer by the kernel's version, and the name.
fn oom_task(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text.strip_prefix(b"[")?.trim_ascii_start());
    let pid = u32::try_from(scan.number()?).ok()?;
    let mut rest = scan.rest.strip_prefix(b"]")?.trim_ascii_start();
    let mut columns = 0;
    let mut rss_pages = 0;
    loop {
        let end = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
        let Some(value) = crate::scan::number(rest[..end].strip_prefix(b"-").unwrap_or(&rest[..end])) else {
            break;
        };
        columns += 1;
        if columns == 4 {
            rss_pages = value;
        }
        rest = rest[end..].trim_ascii_start();
    }
    (columns >= 6 && !rest.is_empty()).then(|| KernelWord::OomTask { pid, comm: owned(rest), rss_pages })
}

/// `memory: usage 655360kB, limit 655360kB, failcnt 5300`.
fn oom_limit(text: &[u8]) -> Option<KernelWord> {
    let mut scan = Scan::new(text);
    scan.literal(b"memory: usage ")?;
    let usage_kb = scan.number()?;
    scan.literal(b"kB, limit ")?;
    Some(KernelWord::OomLimit { usage_kb, limit_kb: scan.number()? })
}

/// `TCP: Peer 10.0.0.7:2054/80 unexpectedly shrunk window 1:2 (repaired)`, until 2.6 `TCP: Treason uncloaked! Peer …`; and
/// `IPv4: martian source 10.0.0.2 from 10.0.0.9, on dev eth0`.
fn window(text: &[u8]) -> Option<KernelWord> {
    let text = text.strip_prefix(b"TCP: ").or_else(|| text.strip_prefix(b"IPv4: ")).unwrap_or(text);
    if let Some(rest) = text.strip_prefix(b"martian ") {
        let at = memmem::find(rest, b" on dev ")? + 8;
        let end = rest[at..].iter().position(|b| !b.is_ascii_graphic()).unwrap_or(rest.len() - at);
        return Some(KernelWord::Martian { interface: owned(&rest[at..at + end]) });
    }
    let old = text.strip_prefix(b"Treason uncloaked! ");
    let peer = old.unwrap_or(text).strip_prefix(b"Peer ")?;
    let (peer, said) = peer.split_at(peer.iter().position(|b| *b == b' ')?);
    if old.is_none() && !said.starts_with(b" unexpectedly shrunk window") {
        return None;
    }
    let address = &peer[..memchr::memrchr(b':', peer)?];
    Some(KernelWord::ShrunkWindow { peer: crate::scan::address(address) })
}

/// `apache2: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP), …`.
fn allocation(text: &[u8]) -> Option<KernelWord> {
    let at = memmem::find(text, b": page allocation failure")?;
    Some(KernelWord::PageAllocation { comm: owned(&text[..at]) })
}

/// `CPU0: Package temperature above threshold, cpu clock throttled (total events = 1)`, `EDAC MC0: 1 CE memory read error …`.
fn machine(text: &[u8]) -> Option<KernelWord> {
    let text = text.strip_prefix(b"mce: ").unwrap_or(text);
    if text.starts_with(b"CPU") && memmem::find(text, b"temperature above threshold").is_some() {
        return Some(KernelWord::Thermal);
    }
    let corrected = text.starts_with(b"EDAC ") && memmem::find(text, b" CE ").is_some();
    corrected.then_some(KernelWord::MemoryCorrected)
}

/// `ata1: hard resetting link`, `ata1.00: exception Emask 0x0 …`, `nvme nvme0: I/O 12 QID 4 timeout, aborting`,
/// `sd 0:0:0:0: [sda] tag#0 Sense Key : Medium Error [current]`, `Aborting journal on device sda1-8.`
fn disk(text: &[u8]) -> Option<KernelWord> {
    if let Some(rest) = text.strip_prefix(b"ata") {
        let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
        let said = &rest[memmem::find(rest, b": ")? + 2..];
        let reset = said.starts_with(b"hard resetting link")
            || said.starts_with(b"soft resetting link")
            || said.starts_with(b"exception Emask");
        return (digits > 0 && reset).then(|| KernelWord::DiskLinkReset { port: owned(&text[..3 + digits]) });
    }
    if let Some(rest) = text.strip_prefix(b"nvme ") {
        let colon = memchr::memchr(b':', rest)?;
        let said = &rest[colon..];
        let late = memmem::find(said, b" timeout, ").is_some() || said.starts_with(b": controller is down");
        return late.then(|| KernelWord::DiskTimeout { device: owned(&rest[..colon]) });
    }
    if text.starts_with(b"sd ") && memmem::find(text, b"Sense Key : Medium Error").is_some() {
        let open = memchr::memchr(b'[', text)?;
        let close = open + memchr::memchr(b']', &text[open..])?;
        return Some(KernelWord::IoError { device: owned(&text[open + 1..close]) });
    }
    let device = text.strip_prefix(b"Aborting journal on device ")?;
    Some(KernelWord::FilesystemError { device: owned(device.strip_suffix(b".").unwrap_or(device)) })
}

/// `NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out`, since 6.7 `e1000e 0000:00:1f.6 eth0: NETDEV WATCHDOG: …`.
fn transmit(text: &[u8]) -> Option<KernelWord> {
    let at = memmem::find(text, b"NETDEV WATCHDOG: ")?;
    memmem::find(&text[at..], b"transmit queue ")?;
    let before = text[..at].strip_suffix(b": ").and_then(|before| before.rsplit(|b| *b == b' ').next());
    let interface = before.or_else(|| text[at + 17..].split(|b| *b == b' ').next())?;
    Some(KernelWord::TransmitTimeout { interface: owned(interface) })
}

/// `traps: php[77] general protection fault ip:… sp:…`; `kernel BUG at …`, `BUG: unable to handle page fault …`, `Oops: …`.
fn crash(text: &[u8]) -> Option<KernelWord> {
    if let Some(rest) = text.strip_prefix(b"traps: ") {
        let open = memchr::memchr(b'[', rest)?;
        let close = open + memchr::memchr(b']', &rest[open..])?;
        let pid = u32::try_from(crate::scan::number(&rest[open + 1..close])?).ok()?;
        memmem::find(&rest[close..], b" ip:")?;
        return Some(KernelWord::Trap { comm: owned(&rest[..open]), pid });
    }
    [
        &b"kernel BUG at "[..],
        b"BUG: unable to handle ",
        b"BUG: kernel NULL pointer",
        b"Oops: ",
        b"Kernel panic - ",
    ]
    .iter()
    .any(|words| text.starts_with(words))
    .then_some(KernelWord::KernelBug)
}

/// A name from the kernel: short, but of any bytes.
fn owned(bytes: &[u8]) -> String {
    /// The longest that is kept: a path of a cgroup; a task's name has 15.
    const NAME_BYTES_MAX: usize = 256;
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_BYTES_MAX)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        let check = |text: &str, expected: &str| {
            assert_eq!(format!("{:?}", word(text.as_bytes())), expected, "{text}");
        };
        check(
            "Out of memory: Killed process 7 (a) b) total-vm:9kB, anon-rss:5kB, file-rss:0kB",
            r#"OomKilled { pid: 7, comm: "a) b", anon_rss_kb: Some(5), total_vm_kb: Some(9), cgroup: false }"#,
        );
        check(
            "Killed process 7 (httpd) total-vm:9kB, anon-rss:5kB, file-rss:0kB",
            r#"OomKilled { pid: 7, comm: "httpd", anon_rss_kb: Some(5), total_vm_kb: Some(9), cgroup: false }"#,
        );
        check("Out of memory: Kill process 7 (httpd) score 11 or sacrifice child", "Other");
        check(
            "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task=mysqld,pid=7,uid=0",
            r#"OomConstraint { memcg: None, task: "mysqld", pid: 7 }"#,
        );
        check(
            "TCP: request_sock_TCP: Possible SYN flooding on port [::]:80. Sending cookies.  Check SNMP counters.",
            "SynFlooding { port: 80 }",
        );
        check(
            "TCP: request_sock_TCP: Possible SYN flooding on port 443. Sending cookies.  Check SNMP counters.",
            "SynFlooding { port: 443 }",
        );
        check("nf_conntrack: table full, dropping packet", "ConntrackFull");
        check("neighbour: arp_cache: neighbor table overflow!", "NeighbourTableFull");
        check("TCP: out of memory -- consider tuning tcp_mem", "TcpMemory");
        check("TCP: too many orphaned sockets", "OrphanSockets");
        check("VFS: file-max limit 1024 reached", "FileLimit");
        check(
            "INFO: task kworker/0:1:123 blocked for more than 120 seconds.",
            r#"HungTask { comm: "kworker/0:1", pid: 123, seconds: 120 }"#,
        );
        check("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [apache2:7]", "Lockup");
        check("rcu: INFO: rcu_sched self-detected stall on CPU", "RcuStall");
        check(
            "blk_update_request: I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0",
            r#"IoError { device: "sda" }"#,
        );
        check(
            "Buffer I/O error on dev dm-0, logical block 5, async page read",
            r#"IoError { device: "dm-0" }"#,
        );
        check(
            "EXT4-fs error (device sda1): ext4_lookup:1: inode #2: comm ls: deleted inode",
            r#"FilesystemError { device: "sda1" }"#,
        );
        check("EXT4-fs (sda1): Remounting filesystem read-only", "ReadOnly");
        check("EXT4-fs (sda1): mounted filesystem with ordered data mode", "Other");
        check("mce: [Hardware Error]: Machine check events logged", "HardwareError");
        check("e1000e 0000:00:19.0 eno1: NIC Link is Down", r#"LinkDown { interface: "eno1" }"#);
        check("virtio_net virtio0 eth0: Link is Up - 1Gbps/Full", r#"LinkUp { interface: "eth0" }"#);
        check(
            "apache2[143]: segfault at 0 ip 00007f sp 00007f error 4 in libc.so.6",
            r#"Segfault { comm: "apache2", pid: 143 }"#,
        );
        check(
            "[  19617]    33 19617    61341     9044   233472        0             0 apache2",
            r#"OomTask { pid: 19617, comm: "apache2", rss_pages: 9044 }"#,
        );
        check(
            "[    412]     0   412     4123      961      321      640        0    77824        0         -1000 sshd: a b",
            r#"OomTask { pid: 412, comm: "sshd: a b", rss_pages: 961 }"#,
        );
        check("[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name", "Other");
        check(
            "memory: usage 655360kB, limit 655360kB, failcnt 5300",
            "OomLimit { usage_kb: 655360, limit_kb: 655360 }",
        );
        check(
            "TCP: Peer 192.0.2.7:2054/80 unexpectedly shrunk window 12:34 (repaired)",
            "ShrunkWindow { peer: Some(192.0.2.7) }",
        );
        check(
            "TCP: Treason uncloaked! Peer 192.0.2.7:2054/80 shrinks window 12:34. Repaired.",
            "ShrunkWindow { peer: Some(192.0.2.7) }",
        );
        check("IPv4: martian source 10.0.0.2 from 10.0.0.9, on dev eth0", r#"Martian { interface: "eth0" }"#);
        check(
            "php-fpm8.2: page allocation failure: order:4, mode:0x40cc0",
            r#"PageAllocation { comm: "php-fpm8.2" }"#,
        );
        check(
            "mce: CPU3: Package temperature above threshold, cpu clock throttled (total events = 9)",
            "Thermal",
        );
        check("EDAC MC0: 1 CE memory read error on CPU_SrcID#0", "MemoryCorrected");
        check("EDAC MC0: 1 UE memory read error on CPU_SrcID#0", "HardwareError");
        check("ata3: hard resetting link", r#"DiskLinkReset { port: "ata3" }"#);
        check(
            "ata3.00: exception Emask 0x0 SAct 0x0 SErr 0x0 action 0x6 frozen",
            r#"DiskLinkReset { port: "ata3" }"#,
        );
        check("ata3: SATA link up 6.0 Gbps (SStatus 133 SControl 300)", "Other");
        check("nvme nvme0: I/O 12 QID 4 timeout, aborting", r#"DiskTimeout { device: "nvme0" }"#);
        check("sd 0:0:0:0: [sda] tag#9 Sense Key : Medium Error [current]", r#"IoError { device: "sda" }"#);
        check("Aborting journal on device sda1-8.", r#"FilesystemError { device: "sda1-8" }"#);
        check(
            "NETDEV WATCHDOG: eth0 (e1000e): transmit queue 0 timed out",
            r#"TransmitTimeout { interface: "eth0" }"#,
        );
        check(
            "e1000e 0000:00:1f.6 eno1: NETDEV WATCHDOG: CPU: 3: transmit queue 0 timed out 5000 ms",
            r#"TransmitTimeout { interface: "eno1" }"#,
        );
        check("igb 0000:01:00.0 eth2: igb: eth2 NIC Link is Down", r#"LinkDown { interface: "eth2" }"#);
        check(
            "traps: php[77] general protection fault ip:7f sp:7f error:0 in libc.so.6",
            r#"Trap { comm: "php", pid: 77 }"#,
        );
        check("BUG: kernel NULL pointer dereference, address: 0000000000000000", "KernelBug");
        check("", "Other");
    }
}
