//! `kernel`: the kernel's words, as `/dev/kmsg` has them, as syslog daemons write them to `kern.log`, and as `dmesg`
//! prints them.
//!
//! A process may write to `/dev/kmsg` and say what the kernel would say. The kernel marks such records with another
//! facility than its own, so there they mean nothing; a file has lost that mark.

use memchr::memmem;
use toban_model::event::{Event, KernelLine, KernelWord};
use toban_model::{Text, Time};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, decimal_micros};
use crate::stamp::{Dates, ctime};
use crate::syslog;

pub(crate) const UNIT: Unit = Unit {
    id: "kernel",
    about: Text::fixed(
        "the kernel log: /dev/kmsg records, kern.log, dmesg",
        "カーネルログです(/dev/kmsg のレコード、kern.log、dmesg)",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Kernel)),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<KernelLine<'a>> {
    record(line).or_else(|| ring(line, dates)).or_else(|| logged(line, dates))
}

/// `6,1234,5678901,-;text`, see <https://docs.kernel.org/admin-guide/abi-testing.html> (`/dev/kmsg`). Lines of a
/// record that start with a space carry its keys and are not read.
fn record(line: &[u8]) -> Option<KernelLine<'_>> {
    let mut scan = Scan::new(line);
    let priority = scan.number()?;
    scan.literal(b",")?;
    scan.number()?;
    scan.literal(b",")?;
    let boot_us = scan.number()?;
    scan.literal(b",")?;
    scan.until(b";")?;
    let text = scan.rest;
    let facility = priority >> 3;
    let word = if facility == 0 { word(text) } else { KernelWord::Other };
    Some(KernelLine { time: None, boot_us: Some(boot_us), text, word })
}

/// `[  123.456789] text`, or `[Sun Nov 22 10:23:44 2026] text` by `dmesg -T`.
fn ring<'a>(line: &'a [u8], dates: &mut Dates) -> Option<KernelLine<'a>> {
    if let Some((boot_us, text)) = boot(line) {
        return Some(KernelLine { time: None, boot_us: Some(boot_us), text, word: word(text) });
    }
    let mut scan = Scan::new(line);
    scan.literal(b"[")?;
    let time = ctime(&mut scan, dates)?;
    scan.literal(b"] ")?;
    // Apache's error log starts in the same way, and goes on with another bracket.
    if scan.rest.starts_with(b"[") {
        return None;
    }
    Some(KernelLine { time: Some(time), boot_us: None, text: scan.rest, word: word(scan.rest) })
}

/// `Nov 22 10:23:44 web1 kernel: [  123.456789] text`, the stamp in brackets or not.
fn logged<'a>(line: &'a [u8], dates: &mut Dates) -> Option<KernelLine<'a>> {
    let head = syslog::head(line, dates)?;
    if head.tag != b"kernel" {
        return None;
    }
    Some(message(head.time, head.text))
}

/// What stands behind a syslog head.
pub(crate) fn message(time: Option<Time>, text: &[u8]) -> KernelLine<'_> {
    let (boot_us, text) = match boot(text) {
        Some((boot_us, text)) => (Some(boot_us), text),
        None => (None, text),
    };
    KernelLine { time, boot_us, text, word: word(text) }
}

fn boot(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut scan = Scan::new(text);
    scan.literal(b"[")?;
    let stamp = scan.until(b"] ")?.trim_ascii_start();
    stamp.contains(&b'.').then_some(())?;
    Some((decimal_micros(stamp)?, scan.rest))
}

/// What the message means.
fn word(text: &[u8]) -> KernelWord {
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
    let stuck = text.starts_with(b"BUG: soft lockup")
        || text.starts_with(b"Watchdog detected hard LOCKUP")
        || text.starts_with(b"INFO: rcu_") && memmem::find(text, b"stall").is_some();
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
        b"XFS"
            if memmem::find(scan.rest, b"orruption").is_some()
                || memmem::find(scan.rest, b"Shutting down").is_some() =>
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
    let interface = before.strip_suffix(b": NIC L").or_else(|| before.strip_suffix(b": L"))?;
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

/// A name from the kernel: short, but of any bytes.
fn owned(bytes: &[u8]) -> String {
    /// The longest that is kept: a path of a cgroup; a task's name has 15.
    const NAME_BYTES_MAX: usize = 256;
    String::from_utf8_lossy(&bytes[..bytes.len().min(NAME_BYTES_MAX)]).into_owned()
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "3,1234,5678901,-;Memory cgroup out of memory: Killed process 19617 (apache2) total-vm:245364kB, anon-rss:28416kB, file-rss:5836kB, shmem-rss:1972kB, UID:33 pgtables:228kB oom_score_adj:0",
        event: r#"boot_us=5678901 word=OomKilled { pid: 19617, comm: "apache2", anon_rss_kb: Some(28416), total_vm_kb: Some(245364), cgroup: true } text="Memory cgroup out of memory: Killed process 19617 (apache2) total-vm:245364kB, anon-rss:28416kB, file-rss:5836kB, shmem-rss:1972kB, UID:33 pgtables:228kB oom_score_adj:0""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 kernel: [  123.456789] apache2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
        event: r#"time=2026-11-22T01:23:44Z boot_us=123456789 word=OomInvoked { comm: "apache2" } text="apache2 invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.123456+09:00 web1 kernel: TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:110. Sending cookies.",
        event: r#"time=2026-11-22T01:23:44.123456Z word=SynFlooding { port: 110 } text="TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:110. Sending cookies.""#,
    },
    Sample {
        format: "",
        line: "[  123.456789] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/lab,task_memcg=/lab/web1,task=apache2,pid=19617,uid=33",
        event: r#"boot_us=123456789 word=OomConstraint { memcg: Some("/lab"), task: "apache2", pid: 19617 } text=oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/lab,task_memcg=/lab/web1,task=apache2,pid=19617,uid=33"#,
    },
    Sample {
        format: "",
        line: "[Sun Nov 22 10:23:44 2026] nf_conntrack: nf_conntrack: table full, dropping packet",
        event: r#"time=2026-11-22T01:23:44Z word=ConntrackFull text="nf_conntrack: nf_conntrack: table full, dropping packet""#,
    },
    Sample {
        format: "",
        line: "6,1,0,-;Linux version 6.1.0-28-amd64",
        event: r#"boot_us=0 word=Other text="Linux version 6.1.0-28-amd64""#,
    },
    // Not the kernel's own facility: a process wrote it.
    Sample {
        format: "",
        line: "12,1235,5678902,-;Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB",
        event: r#"boot_us=5678902 word=Other text="Out of memory: Killed process 1 (init) total-vm:1kB, anon-rss:1kB""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
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
        check("rcu: INFO: rcu_sched self-detected stall on CPU", "Lockup");
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
        check("", "Other");
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            " SUBSYSTEM=cpu",
            "Nov 22 10:23:44 web1 sshd[7]: Failed password for root from 192.0.2.10 port 22 ssh2",
            "Nov 22 10:23:44 web1 sshd[7]: kernel: nf_conntrack: table full, dropping packet",
            "[Sun Nov 22 10:23:44.168259 2026] [core:error] [pid 7] x",
            "6,1,0",
        ] {
            check("kernel", line.as_bytes(), "none");
        }
    }
}
