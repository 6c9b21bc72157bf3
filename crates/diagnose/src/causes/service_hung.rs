//! `service-hung`: a server is there and takes nothing that comes to it, though it is not full.
//!
//! Needs: connections wait and nothing moves (no processor time, none accepted), with all its processes stopped by a signal,
//! waiting for a disk, or waiting for each other. A server whose workers are all busy is none of this.

use std::collections::BTreeMap;

use toban_model::{Action, Collateral, CulpritKind, Hung, Plan, Remedy, Restart, Risk, Text};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::named;
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "service-hung",
    about: Text::fixed(
        "a server is running and answers nobody",
        "サーバは動作していますが、誰にも応答していません",
    ),
    rules_out: &["slow-backend", "http-flood", "slow-clients"],
    needs: Needs::Nothing,
    judge,
};

/// What its processes are in.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// Stopped by a signal.
    Halted,
    /// In an uninterruptible wait.
    Disk,
    /// All wait for a lock.
    Lock,
}

fn held(hung: &Hung) -> Option<Held> {
    let [halted, disk, asleep, running] = hung.states;
    let waits_for_lock = hung.waits_in.as_deref().is_some_and(|at| at.contains("futex"));
    if halted > 0 && disk + asleep + running == 0 {
        Some(Held::Halted)
    } else if disk > 0 && running == 0 && disk >= asleep {
        Some(Held::Disk)
    } else if asleep > 0 && running + disk == 0 && hung.queue > 0 && waits_for_lock {
        Some(Held::Lock)
    } else {
        None
    }
}

fn judge(picture: &Picture<'_>) -> Judged {
    let hung = &picture.situation.failures.hung;
    let Some((first, held)) = hung.iter().find_map(|hung| Some((hung, held(hung)?))) else {
        return if hung.is_empty() && !picture.situation.host.services.is_empty() {
            Judged::Not(Text::fixed(
                "no server leaves its connections waiting while it does nothing",
                "何もせずに接続を待たせているサーバはありません",
            ))
        } else {
            Judged::Unknown
        };
    };
    let (service, pid, queue) = (&first.service, first.master.pid, first.queue);
    let (confidence, why_en, why_ja) = match held {
        Held::Halted => (
            0.97,
            "all its processes are stopped by a signal (state T)",
            "全プロセスがシグナルで停止しています(状態 T)",
        ),
        Held::Disk => (
            0.85,
            "its processes wait for a disk that does not answer (state D)",
            "プロセスが応答のないディスクを待っています(状態 D)",
        ),
        Held::Lock => (
            0.6,
            "its processes wait for a lock that nobody gives up",
            "プロセスが解放されないロックを待っています",
        ),
    };
    let waits = first.waits_in.as_deref().map(|at| clean(at).into_owned()).unwrap_or_else(|| "-".into());
    let advice = match held {
        Held::Halted => Text::new(
            format!("find out who stopped it, then let it go on: kill -CONT {pid} (and its children)"),
            format!("停止させた操作を確認し、再開してください: kill -CONT {pid}(子プロセスも)"),
        ),
        Held::Disk => Text::new(
            format!(
                "see what it waits for: cat /proc/{pid}/stack; look at the disks and network mounts: dmesg -T | tail, df"
            ),
            format!(
                "待っている対象を確認してください: cat /proc/{pid}/stack。ディスクとネットワークマウントも確認してください: dmesg -T | tail、df"
            ),
        ),
        Held::Lock => Text::new(
            format!(
                "keep what it waits for before it is restarted: gdb -p {pid} -batch -ex 'thread apply all bt'"
            ),
            format!("再起動の前に待ち状態を保存してください: gdb -p {pid} -batch -ex 'thread apply all bt'"),
        ),
    };
    // A process that waits for a disk cannot be ended, and one that was stopped only has to go on.
    let restart = (held == Held::Lock).then(|| restart(picture, first)).flatten();
    Judged::Is(Candidate {
        confidence,
        culprits: vec![named(CulpritKind::Unit, service.clone())],
        evidence: vec![
            evidence(
                "waiting",
                Text::fixed("connections that wait", "待たされている接続"),
                Text::new(format!("{queue}, and none was accepted"), format!("{queue} 件(accept されず)")),
                f64::from(queue),
                Some(0.0),
                "sock_diag",
            ),
            evidence(
                "states",
                Text::fixed("its processes", "プロセスの状態"),
                Text::new(
                    format!(
                        "stopped {}, disk {}, asleep {}, running {}; the first waits in {waits}",
                        first.states[0], first.states[1], first.states[2], first.states[3]
                    ),
                    format!(
                        "停止 {}、ディスク待ち {}、スリープ {}、実行中 {}(先頭のプロセスは {waits} で待機)",
                        first.states[0], first.states[1], first.states[2], first.states[3]
                    ),
                ),
                f64::from(first.states[0] + first.states[1]),
                Some(0.0),
                "procfs",
            ),
        ],
        summary: Text::new(
            format!("{service} answers nobody: {why_en}."),
            format!("{service} が応答していません。{why_ja}。"),
        ),
        remedies: restart.into_iter().collect(),
        advice: vec![advice],
        since: Some(first.since),
        ..Candidate::default()
    })
}

fn restart(picture: &Picture<'_>, hung: &Hung) -> Option<Remedy> {
    let service = picture.situation.host.services.iter().find(|service| service.id == hung.service)?;
    let restart = Restart {
        service: service.id.clone(),
        master: service.master,
        supervisor: service.supervisor.clone(),
    };
    let name = &service.id;
    Some(Remedy {
        id: 0,
        text: Text::new(format!("restart {name}"), format!("{name} を再起動します")),
        risk: Risk::Medium,
        reversible: false,
        plan: Plan {
            cause: CAUSE.id.to_owned(),
            reason: Text::new(
                format!("{name} takes no connection"),
                format!("{name} が接続を受け付けていません"),
            ),
            steps: vec![Action::Restart(restart)],
            predicted: BTreeMap::new(),
            collateral: Collateral::default(),
        },
    })
}
