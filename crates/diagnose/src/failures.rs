//! What the causes of failure share: how a server is called, what it said last, what the kernel said, how it is started.

use std::path::Path;
use std::time::Duration;

use toban_model::{
    Culprit, CulpritKind, Evidence, KernelWord, KnownServer, LifeLine, LifeWord, ServiceKind, Situation,
    Stopped, Supervisor, Text, Where,
};

use crate::tell::{clean, evidence};

/// Lines of a log that are shown.
const WORDS_SHOWN: usize = 3;
/// Kinds of kernel words that are shown.
const KERNEL_SHOWN: usize = 5;

/// The name that an administrator calls a server by: its unit, its init script, or its program.
pub(crate) fn unit_of(known: &KnownServer) -> String {
    let name =
        |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match &known.supervisor {
        Supervisor::Systemd(unit) => unit.clone(),
        Supervisor::Initd(script) => name(script),
        Supervisor::CommandLine => name(&known.exe),
    }
}

/// The server as a culprit.
pub(crate) fn unit_culprit(known: &KnownServer) -> Culprit {
    named(CulpritKind::Unit, unit_of(known))
}

/// Somebody or something that has all of it.
pub(crate) fn named(kind: CulpritKind, value: String) -> Culprit {
    Culprit { kind, value, share: 1.0, r#where: Where::new(), process: None }
}

/// Where it should listen: `80, 443` or a path; empty where that is not known.
pub(crate) fn places(known: &KnownServer) -> String {
    let mut ports: Vec<u16> = known.listens.iter().map(|listen| listen.port()).collect();
    ports.sort_unstable();
    ports.dedup();
    let ports = ports.iter().map(ToString::to_string);
    let paths = known.listens_unix.iter().map(|path| path.display().to_string());
    ports.chain(paths).take(6).collect::<Vec<_>>().join(", ")
}

/// Its last lines, as evidence; their value is the time in seconds since the epoch.
pub(crate) fn last_words(lines: &[LifeLine]) -> Vec<Evidence> {
    // What it said of its life comes before what else it said.
    let mut shown: Vec<&LifeLine> =
        lines.iter().rev().filter(|line| line.word != LifeWord::Other).take(WORDS_SHOWN).collect();
    shown.reverse();
    shown
        .into_iter()
        .map(|line| {
            let text = words(line);
            evidence(
                "last-words",
                Text::new(line.source.clone(), line.source.clone()),
                Text::new(text.clone(), text),
                line.at.as_secs_f64(),
                None,
                "log",
            )
        })
        .collect()
}

/// A line of a log as it may be shown; it was cut when it was read.
pub(crate) fn words(line: &LifeLine) -> String {
    let fine = |c: char| c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
    line.text.chars().map(|c| if fine(c) { c } else { '?' }).collect()
}

/// The newest line in which it says that it does not understand its configuration, and that it has not recovered from.
pub(crate) fn complaint(stopped: &Stopped) -> Option<&LifeLine> {
    let mut life = stopped.words.iter().rev().filter(|line| line.word != LifeWord::Other);
    life.find(|line| matches!(line.word, LifeWord::Complaint { .. } | LifeWord::Started))
        .filter(|line| line.word != LifeWord::Started)
}

/// How its configuration is tested, and how it is started.
pub(crate) fn commands(known: &KnownServer) -> (Option<String>, String) {
    let exe = known.exe.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let test = match (known.kind, known.service.as_str()) {
        (ServiceKind::Apache, _) => Some("apachectl -t".to_owned()),
        (ServiceKind::Nginx, _) => Some("nginx -t".to_owned()),
        (ServiceKind::PhpFpm, _) => Some(format!("{exe} -t")),
        (ServiceKind::Sshd, _) => Some("sshd -t".to_owned()),
        (_, "dovecot") => Some("doveconf -n > /dev/null".to_owned()),
        (_, "postfix") => Some("postfix check".to_owned()),
        (_, "mariadbd" | "mysqld") => Some(format!("{exe} --verbose --help > /dev/null")),
        (_, "haproxy") => Some("haproxy -c -f /etc/haproxy/haproxy.cfg".to_owned()),
        (_, "named") => Some("named-checkconf".to_owned()),
        _ => None,
    };
    let start = match &known.supervisor {
        Supervisor::Systemd(unit) => format!("systemctl start {unit}"),
        Supervisor::Initd(script) => format!("{} start", script.display()),
        Supervisor::CommandLine => known.exe.display().to_string(),
    };
    (test, start)
}

/// What to read about its end.
pub(crate) fn where_to_read(known: &KnownServer) -> String {
    match (&known.supervisor, known.logs.first()) {
        (Supervisor::Systemd(unit), _) => format!("systemctl status {unit}; journalctl -u {unit} -n 50"),
        (_, Some(log)) => format!("tail -n 50 {}", log.display()),
        _ => "tail -n 50 /var/log/syslog".to_owned(),
    }
}

/// Whether this stopped server is what a place (a path, or `host:port`) leads to.
pub(crate) fn serves(known: &KnownServer, place: &str) -> bool {
    known.listens_unix.iter().any(|path| path == Path::new(place))
        || place
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok())
            .is_some_and(|port| known.listens.iter().any(|listen| listen.port() == port))
}

/// What the kernel said in the window, each with its meaning; the value is the time in seconds since the epoch.
pub(crate) fn kernel_words(situation: &Situation) -> Vec<Evidence> {
    let from = situation.from - Duration::from_secs(60);
    let mut out: Vec<Evidence> = situation
        .kernel
        .said
        .iter()
        // A report's lines are told together, below; a link that came up says nothing by itself.
        .filter(|said| {
            !matches!(
                said.word,
                KernelWord::OomInvoked { .. } | KernelWord::OomConstraint { .. } | KernelWord::LinkUp { .. }
            )
        })
        .filter(|said| said.last >= from)
        .take(KERNEL_SHOWN)
        .filter_map(|said| {
            let (id, meaning) = (said.word.id()?, said.word.meaning()?);
            let (times, of) = (said.count, about(&said.word));
            Some(evidence(
                "kernel-word",
                Text::new(format!("kernel: {id}"), format!("カーネル: {id}")),
                Text::new(format!("×{times}{of}: {}", meaning.en), format!("{times} 件{of}: {}", meaning.ja)),
                said.last.as_secs_f64(),
                None,
                "kernel",
            ))
        })
        .collect();
    if let Some(report) = situation.kernel.reports.last().filter(|report| report.at >= from) {
        let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
        let limit = report.limit_bytes.map(megabytes).unwrap_or_default();
        let (whose_en, whose_ja) = match &report.memcg {
            Some(group) => {
                let group = clean(group);
                (
                    format!("cgroup {group} at its limit {limit}"),
                    format!("cgroup {group} が上限 {limit} に到達"),
                )
            }
            None => ("the whole machine out of memory".into(), "マシン全体のメモリ不足".into()),
        };
        let largest: Vec<String> = report
            .largest
            .iter()
            .take(3)
            .map(|(name, count, bytes)| format!("{} ×{count} {}", clean(name), megabytes(*bytes)))
            .collect();
        let largest = largest.join(", ");
        let (asked, victim) = (clean(&report.asked_by), clean(&report.victim));
        out.push(evidence(
            "kernel-word",
            Text::fixed("kernel: oom-report", "カーネル: oom-report"),
            Text::new(
                format!("{whose_en}; {asked} asked, {victim} was killed; resident: {largest}"),
                format!("{whose_ja}。要求: {asked}、強制終了: {victim}、常駐メモリ: {largest}"),
            ),
            report.at.as_secs_f64(),
            None,
            "kernel",
        ));
    }
    out
}

/// The device, interface or program that a word is about, in brackets.
fn about(word: &KernelWord) -> String {
    let of = match word {
        KernelWord::OomKilled { comm, .. }
        | KernelWord::HungTask { comm, .. }
        | KernelWord::Segfault { comm, .. }
        | KernelWord::Trap { comm, .. }
        | KernelWord::PageAllocation { comm } => comm,
        KernelWord::IoError { device }
        | KernelWord::FilesystemError { device }
        | KernelWord::DiskTimeout { device } => device,
        KernelWord::LinkDown { interface }
        | KernelWord::Martian { interface }
        | KernelWord::TransmitTimeout { interface } => interface,
        KernelWord::DiskLinkReset { port } => port,
        KernelWord::SynFlooding { port } => return format!(" ({port})"),
        KernelWord::ShrunkWindow { peer: Some(peer) } => return format!(" ({peer})"),
        _ => return String::new(),
    };
    format!(" ({})", clean(of))
}
