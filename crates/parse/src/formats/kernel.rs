//! `kernel`: the kernel's words, as `/dev/kmsg` has them, as syslog daemons write them to `kern.log`, and as `dmesg`
//! prints them.
//!
//! A process may write to `/dev/kmsg` and say what the kernel would say. The kernel marks such records with another
//! facility than its own, so there they mean nothing; a file has lost that mark.

use toban_model::event::{Event, KernelLine, KernelWord};
use toban_model::{Text, Time};

use self::words::word;
use super::{Sample, Unit, Way};
use crate::scan::{Scan, decimal_micros};
use crate::stamp::{Dates, ctime};
use crate::syslog;

mod words;

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
