//! `io-saturation`: a disk has no pause any more, and others than those who use it wait for it.
//!
//! Needs: the disk busy nearly all the time with requests queued, and processes stuck that are not the one which reads
//! or writes. A backup that has a disk for itself is at work; a disk that swaps is memory's matter.

use std::time::Duration;

use toban_model::{
    Culprit, CulpritKind, DiskLoad, DiskUser, NamedProcess, ResourceUse, Text, Verdict, Where,
};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell::{self, clean};

pub(super) const CAUSE: Cause = Cause {
    id: "io-saturation",
    about: Text::fixed(
        "a disk is used up and processes wait for it",
        "ディスクが限界に達し、プロセスが待たされています",
    ),
    rules_out: &["memory-exhaustion"],
    needs: Needs::Nothing,
    judge,
};

/// Requests in the disk's queue, on average. Disks that serve many at once are busy with one, and have no queue.
const QUEUE_MIN: f64 = 2.0;
/// Looks in which somebody waited for a disk.
const WAITING_MIN: f64 = 0.7;
/// Processes that wait beside the one which uses the disk.
const VICTIMS_MIN: u32 = 2;
/// Who moves this part of all bytes is the one.
const HOLDER_SHARE: f64 = 0.5;
/// Pages a second: the disk is busy with memory.
const SWAPPING: f64 = 200.0;
/// The kernel's own figure of how long tasks waited, in percent: below, nobody did.
const PRESSURE_MIN: f64 = 10.0;
/// So long is an incident, and not a burst.
const LASTS: Duration = Duration::from_secs(60);

fn judge(picture: &Picture<'_>) -> Judged {
    let situation = picture.situation;
    let activity = &situation.activity;
    let Some(disk) = activity.disks.iter().find(|disk| disk.queue >= QUEUE_MIN) else {
        return match activity.disks.first() {
            Some(disk) => Judged::Not(Text::new(
                format!("{} is busy, but nothing queues for it", disk.device),
                format!("{} は稼働していますが、待ち行列はありません", disk.device),
            )),
            None => Judged::Not(Text::fixed(
                "no disk is busy without a pause",
                "休みなく稼働しているディスクはありません",
            )),
        };
    };
    let vital = |name: &str| situation.vitals.iter().find(|v| v.name == name).map(|v| v.value);
    let swapped = vital("memory.swapped_in").unwrap_or(0.0) + vital("memory.swapped_out").unwrap_or(0.0);
    if swapped >= SWAPPING {
        return Judged::Not(Text::new(
            format!("the disk is busy with swapping, {swapped:.0} pages a second: memory is short"),
            format!("ディスクはスワップ処理中です(毎秒 {swapped:.0} ページ)。不足しているのはメモリです"),
        ));
    }
    let pressure = vital("pressure.io").or(vital("pressure.io.avg10"));
    let mine = |user: &&DiskUser| !user.command.is_empty();
    let all: f64 = activity.disk_users.iter().filter(mine).map(moved).sum();
    let holder =
        activity.disk_users.iter().find(mine).filter(|user| moved(user) >= HOLDER_SHARE * all && all > 0.0);
    let own = u32::from(holder.is_some_and(|holder| holder.waits >= 0.3));
    let victims = activity.crowd.stuck.saturating_sub(own);
    let [waiting, tasks] = activity.waiting;
    if victims < VICTIMS_MIN || waiting < WAITING_MIN || pressure.is_some_and(|share| share < PRESSURE_MIN) {
        return Judged::Not(Text::new(
            format!("{} is busy, and nobody else waits for it ({victims} do)", disk.device),
            format!(
                "{} は稼働していますが、ほかに待たされているプロセスはほとんどありません({victims} 個)",
                disk.device
            ),
        ));
    }
    let lasts = situation.at.since(disk.since) >= LASTS;
    let share = holder.map_or(0.0, |holder| moved(holder) / all);
    let more = [(lasts, 0.1), (share >= 0.8, 0.1), (pressure.is_some_and(|share| share >= 40.0), 0.05)];
    let confidence = 0.6 + more.iter().filter(|(is, _)| *is).map(|(_, more)| more).sum::<f64>();
    Judged::Is(Candidate {
        verdict: if lasts && victims > VICTIMS_MIN { Verdict::Incident } else { Verdict::Watch },
        confidence,
        culprits: holder.map(|holder| culprit(picture, holder, share)).into_iter().collect(),
        evidence: vec![
            tell::evidence(
                "disk-busy",
                Text::new(format!("{} busy", disk.device), format!("{} の稼働率", disk.device)),
                Text::new(
                    format!("{:.0} % of the time, {:.0} requests queued", disk.busy, disk.queue),
                    format!("{:.0} %、待ち行列 {:.0} 件", disk.busy, disk.queue),
                ),
                disk.busy,
                None,
                "procfs",
            ),
            tell::evidence(
                "waiting",
                Text::fixed("processes that wait", "待機中のプロセス"),
                Text::new(
                    format!("{victims} beside the one that uses it; {tasks:.0} tasks on average"),
                    format!("ディスクの使用元以外に {victims} 個(平均 {tasks:.0} タスク)"),
                ),
                f64::from(victims),
                None,
                "procfs",
            ),
        ],
        summary: summary(disk, holder, share, victims),
        advice: advice(holder),
        since: Some(disk.since),
        resource: Some(ResourceUse {
            name: format!("disk.busy:{}", disk.device),
            used: disk.busy.round(),
            limit: Some(100.0),
            usual: None,
            exhausted_since: Some(disk.since),
            limit_from: None,
        }),
        ..Candidate::default()
    })
}

fn moved(user: &DiskUser) -> f64 {
    user.bytes[0] + user.bytes[1]
}

fn culprit(picture: &Picture<'_>, user: &DiskUser, share: f64) -> Culprit {
    Culprit {
        kind: CulpritKind::Process,
        value: user.comm.clone(),
        share: (share * 100.0).round() / 100.0,
        r#where: Where::from([("group".to_owned(), user.group.clone())]),
        process: Some(NamedProcess {
            command: user.command.clone(),
            ..NamedProcess::known_by(user.id, &user.comm, picture.situation.host.boot)
        }),
    }
}

fn summary(disk: &DiskLoad, holder: Option<&DiskUser>, share: f64, victims: u32) -> Text {
    let device = clean(&disk.device);
    let (who_en, who_ja) = match holder {
        Some(user) => {
            let (comm, pid, percent) = (clean(&user.comm), user.id.pid, share * 100.0);
            let [read, written] = user.bytes.map(tell::bytes);
            (
                format!(
                    " {comm} (process {pid}) moves {percent:.0} % of it: {read}/s read, {written}/s written."
                ),
                format!(
                    "{comm}(プロセス {pid})がその {percent:.0} %(読み込み {read}/s、書き込み {written}/s)を占めています。"
                ),
            )
        }
        None => {
            (" No single process moves most of it.".to_owned(), "突出したプロセスはありません。".to_owned())
        }
    };
    Text::new(
        format!(
            "Disk {device} has no pause any more ({:.0} % busy), and {victims} processes wait for it.{who_en}",
            disk.busy
        ),
        format!(
            "ディスク {device} が休みなく稼働し(稼働率 {:.0} %)、{victims} 個のプロセスが待たされています。{who_ja}",
            disk.busy
        ),
    )
}

fn advice(holder: Option<&DiskUser>) -> Vec<Text> {
    match holder {
        Some(user) => {
            let pid = user.id.pid;
            vec![Text::new(
                format!(
                    "let the others go first: ionice -c 3 -p {pid}; or stop it if it can wait: kill -STOP {pid} (kill -CONT {pid} lets it go on)"
                ),
                format!(
                    "ほかの処理を優先させてください: ionice -c 3 -p {pid}。後回しにできるなら kill -STOP {pid}(再開は kill -CONT {pid})"
                ),
            )]
        }
        None => vec![Text::fixed(
            "see who reads and writes: iotop -oPa, or pidstat -d 5",
            "読み書きしているプロセスを確認してください: iotop -oPa または pidstat -d 5",
        )],
    }
}
