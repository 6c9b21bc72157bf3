//! `runaway-process`: a process keeps a core busy for as long as it lives and does nothing: a client whose peer is long
//! gone and that asks again and again for what will never come.
//!
//! Needs: a core used without a pause, and proof that nothing is done with it. Bytes that move are work, however long
//! it takes. What spins shows one of these: calls that bring nothing, by the thousand; or a connection whose other end
//! is closed and silent, and all the time spent in the kernel. One that only computes may be doing what it is for: it is
//! told of after hours, as unusual and no more.

use std::collections::BTreeMap;
use std::time::Duration;

use toban_model::{
    Action, BusyProcess, Collateral, Culprit, CulpritKind, Evidence, NamedProcess, Plan, ProcessPeer, Remedy,
    ResourceUse, Risk, TcpState, Text, Verdict, Where,
};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell::{self, clean};

pub(super) const CAUSE: Cause = Cause {
    id: "runaway-process",
    about: Text::fixed(
        "a process keeps a core busy and does nothing with it",
        "プロセスが CPU コアを占有し続けていますが、処理は何も進んでいません",
    ),
    rules_out: &[],
    needs: Needs::Nothing,
    judge,
};

/// Younger ones are left alone: many programs spin for a moment.
const BUSY_MIN: Duration = Duration::from_secs(30);
/// Without a dead peer it takes longer to believe.
const BUSY_ALONE: Duration = Duration::from_secs(120);
/// Empty calls a second of processor time. A system call takes about a microsecond, one that is traced a hundred.
const EMPTY_CALLS: f64 = 300.0;
/// A peer that is closed and has been silent for so long says nothing more.
const SILENT_MS: u32 = 15_000;
/// Own code hardly appears in a loop of system calls.
const SYSTEM_SHARE: f64 = 0.3;
/// Loops that never end do not wait; a few pauses a second are those of a program that paces itself.
const RESTS_MAX: f64 = 2.0;
/// Memory that is touched for the first time is work.
const FAULTS_MAX: f64 = 20.0;
/// It wants a core nearly without a pause; on a host where many do it gets a part of one.
const WANTED_MIN: f64 = 0.7;
/// How long one must have been looked at: two looks half a second apart.
const STILL_MIN: f64 = 0.3;
/// One that only computes is told of after this, and only if it was looked at for long.
const COMPUTES: Duration = Duration::from_secs(3600);
const COMPUTES_STILL: f64 = 300.0;
/// Of its whole life, in cores: below this it has rested.
const LIFE_CORES: f64 = 0.9;

/// What keeps it in its loop.
#[derive(Clone, Copy, PartialEq)]
enum Loop {
    /// Calls that bring nothing, and the end of a connection.
    DeadPeer { counted: bool },
    /// Calls that bring nothing.
    EmptyCalls,
    /// Nothing that can be seen from outside.
    Computes,
}

fn judge(picture: &Picture<'_>) -> Judged {
    let busy = &picture.situation.activity.busy;
    let found: Vec<(&BusyProcess, Loop, f64, Verdict)> = busy
        .iter()
        .filter_map(|process| {
            let (what, confidence, verdict) = judge_one(picture, process)?;
            Some((process, what, confidence, verdict))
        })
        .collect();
    // The surest first; the others are culprits beside it if they are as sure.
    let Some(gravest) = found.iter().map(|(.., verdict)| *verdict).max() else { return not(busy) };
    let mut named: Vec<_> = found.into_iter().filter(|(.., verdict)| *verdict == gravest).collect();
    named.sort_by(|a, b| b.2.total_cmp(&a.2));
    let (first, what, confidence, _) = named[0];
    let all: f64 = named.iter().map(|(process, ..)| process.cores).sum();
    let remedies = if gravest == Verdict::Incident {
        named.iter().filter(|(process, ..)| can_stop(process)).map(|(process, ..)| stop(process)).collect()
    } else {
        Vec::new()
    };
    Judged::Is(Candidate {
        verdict: gravest,
        confidence,
        culprits: named.iter().map(|(process, ..)| culprit(process, all)).collect(),
        evidence: evidence(picture, first, what),
        summary: summary(picture, first, what),
        remedies,
        advice: advice(first, what),
        since: Some(first.since),
        resource: Some(ResourceUse {
            name: "cpu.core".into(),
            used: (first.cores * 100.0).round() / 100.0,
            limit: Some(1.0),
            usual: None,
            exhausted_since: Some(first.since),
            limit_from: None,
        }),
        effects: Vec::new(),
    })
}

/// Why the busy ones are at work: their number speaks.
fn not(busy: &[BusyProcess]) -> Judged {
    let Some(most) = busy.iter().find(|process| process.still_s == 0.0) else { return Judged::Unknown };
    let comm = clean(&most.last.process.comm);
    Judged::Not(Text::new(
        format!("{comm}, the longest busy, moves data: it is at work"),
        format!("最も長く CPU を使っている {comm} はデータを処理しており、正常に動作しています"),
    ))
}

fn judge_one(picture: &Picture<'_>, process: &BusyProcess) -> Option<(Loop, f64, Verdict)> {
    let last = &process.last;
    let lasted = picture.situation.at.since(process.since);
    if lasted < BUSY_MIN || process.still_s < STILL_MIN || process.wanted < WANTED_MIN {
        return None;
    }
    // Only its first thread's pauses are counted, so they say nothing of the others'.
    let never_rests = process.rests.is_none_or(|rests| rests < RESTS_MAX);
    let nothing_changes = !process.handles_changed && process.faults < FAULTS_MAX;
    if !nothing_changes || (!never_rests && last.threads == 1) {
        return None;
    }
    let is_empty = process.empty_calls.is_some_and(|calls| calls >= EMPTY_CALLS);
    let dead = dead_peer(process).is_some();
    let serves = process.serves || last.listens;
    if dead && (is_empty || process.system_share >= SYSTEM_SHARE) && !serves {
        let sure = if is_empty { 0.95 } else { 0.85 };
        let long = if lasted >= BUSY_ALONE { 0.03 } else { 0.0 };
        return Some((Loop::DeadPeer { counted: is_empty }, sure + long, Verdict::Incident));
    }
    // Alone it needs a longer look: in half a second one that polls may have had bad luck.
    if is_empty && lasted >= BUSY_ALONE && has_no_live_peer(process) {
        let watched = if process.still_s >= 10.0 { 0.1 } else { 0.0 };
        return Some(if serves {
            (Loop::EmptyCalls, 0.6 + watched, Verdict::Watch)
        } else {
            (Loop::EmptyCalls, 0.75 + watched, Verdict::Incident)
        });
    }
    let is_meant = last.is_nice || last.has_terminal || last.threads > 1 || serves;
    let for_long =
        lasted >= COMPUTES && process.still_s >= COMPUTES_STILL && process.life_cores >= LIFE_CORES;
    (for_long && !is_meant).then_some((Loop::Computes, 0.55, Verdict::Watch))
}

/// The connection whose other end is closed and silent, if none is alive beside it.
fn dead_peer(process: &BusyProcess) -> Option<&ProcessPeer> {
    let silent = |peer: &&ProcessPeer| {
        peer.state == TcpState::CloseWait
            && peer.unread <= 1
            && peer.silent_ms.is_none_or(|ms| ms >= SILENT_MS)
    };
    has_no_live_peer(process).then(|| process.last.peers.iter().find(silent)).flatten()
}

fn has_no_live_peer(process: &BusyProcess) -> bool {
    let alive = |peer: &ProcessPeer| {
        let ends = matches!(
            peer.state,
            TcpState::CloseWait
                | TcpState::Close
                | TcpState::LastAck
                | TcpState::Closing
                | TcpState::FinWait1
        );
        !ends && peer.silent_ms.is_some_and(|ms| ms < SILENT_MS)
    };
    !process.last.peers.iter().any(alive)
}

/// Those that others live by are for a person to stop. The acting part looks again, and at more.
fn can_stop(process: &BusyProcess) -> bool {
    !process.serves && !process.last.listens && process.last.process.id.pid > 2
}

fn culprit(process: &BusyProcess, all: f64) -> Culprit {
    let mut r#where = Where::new();
    if let Some(parent) = process.last.process.parents.first() {
        let command = if parent.command.is_empty() { &parent.comm } else { &parent.command };
        r#where.insert("parent".into(), command.clone());
    }
    if let Some(peer) = dead_peer(process) {
        r#where.insert("peer".into(), peer.address.to_string());
    }
    Culprit {
        kind: CulpritKind::Process,
        value: process.last.process.comm.clone(),
        share: (process.cores / all.max(0.01) * 100.0).round() / 100.0,
        r#where,
        process: Some(process.last.process.clone()),
    }
}

fn stop(process: &BusyProcess) -> Remedy {
    let NamedProcess { id, comm, .. } = &process.last.process;
    let (pid, comm) = (id.pid, clean(comm));
    Remedy {
        id: 0,
        text: Text::new(
            format!("stop process {pid} ({comm})"),
            format!("プロセス {pid}({comm})を停止します"),
        ),
        risk: Risk::Low,
        reversible: false,
        plan: Plan {
            cause: CAUSE.id.to_owned(),
            reason: Text::new(
                format!("{}: it uses {:.2} of a core and moves nothing", CAUSE.id, process.cores),
                format!("{}: コアの {:.2} を使い、何も処理していません", CAUSE.id, process.cores),
            ),
            steps: vec![Action::StopProcess { process: *id }],
            predicted: BTreeMap::from([("cpu.core".to_owned(), 0.0)]),
            collateral: Collateral::default(),
        },
    }
}

fn summary(picture: &Picture<'_>, process: &BusyProcess, what: Loop) -> Text {
    let NamedProcess { id, comm, parents, .. } = &process.last.process;
    let (comm, pid) = (clean(comm), id.pid);
    let (time_en, time_ja) = tell::lasted(picture.situation.at.since(process.since));
    let (loop_en, loop_ja) = the_loop(process, what);
    let (from_en, from_ja) = match parents.first() {
        Some(parent) => {
            let command = if parent.command.is_empty() { &parent.comm } else { &parent.command };
            let (command, pid) = (clean(command), parent.pid);
            (format!(" It was started by {command} ({pid})."), format!("起動元は {command}({pid})です。"))
        }
        None => (String::new(), String::new()),
    };
    Text::new(
        format!("{comm} (process {pid}) has kept a core busy for {time_en}. {loop_en}{from_en}"),
        format!("{comm}(プロセス {pid})が {time_ja}にわたり CPU コアを占有しています。{loop_ja}{from_ja}"),
    )
}

/// The loop that it sits in.
fn the_loop(process: &BusyProcess, what: Loop) -> (String, String) {
    let calls = process.empty_calls.unwrap_or(0.0);
    let peer = dead_peer(process).map(|peer| peer.address.to_string()).unwrap_or_default();
    match what {
        Loop::DeadPeer { counted: true } => (
            format!(
                "Its peer {peer} has closed the connection, and it reads the end of it again and again, {calls:.0} times a second."
            ),
            format!(
                "接続先 {peer} は接続を閉じていますが、終端の読み込みを毎秒 {calls:.0} 回繰り返しています。"
            ),
        ),
        Loop::DeadPeer { counted: false } => (
            format!(
                "Its peer {peer} has closed the connection, and it asks the kernel for more again and again; no byte moves."
            ),
            format!(
                "接続先 {peer} は接続を閉じていますが、カーネルへの問い合わせを繰り返しており、データは 1 バイトも流れていません。"
            ),
        ),
        Loop::EmptyCalls => (
            format!("It reads or writes {calls:.0} times a second, and no byte moves."),
            format!("毎秒 {calls:.0} 回の読み書きを繰り返していますが、データは 1 バイトも流れていません。"),
        ),
        Loop::Computes => (
            "It reads and writes nothing; it may compute something long, or be caught in a loop.".into(),
            "読み書きをまったく行っていません。長い計算の途中か、ループに陥っている可能性があります。".into(),
        ),
    }
}

fn evidence(picture: &Picture<'_>, process: &BusyProcess, what: Loop) -> Vec<Evidence> {
    let last = &process.last;
    let mut out = Vec::new();
    let age = picture.situation.at.since(last.process.started);
    let (age_en, age_ja) = tell::lasted(age);
    let used = (last.user_us + last.system_us) as f64 / 1e6;
    let (used_en, used_ja) = tell::lasted(Duration::from_secs_f64(used.max(0.0)));
    out.push(tell::evidence(
        "core-used",
        Text::fixed("processor time of its life", "起動からの CPU 時間"),
        Text::new(
            format!(
                "{used_en} of {age_en}; {:.2} of a core now, {:.0} % in the kernel",
                process.cores,
                process.system_share * 100.0
            ),
            format!(
                "{age_ja}のうち {used_ja}。現在はコアの {:.2}(カーネル内 {:.0} %)",
                process.cores,
                process.system_share * 100.0
            ),
        ),
        used,
        None,
        "procfs",
    ));
    let (still_en, still_ja) = tell::lasted(Duration::from_secs_f64(process.still_s));
    let calls = process.empty_calls.unwrap_or(0.0);
    if what != Loop::Computes || calls > 0.0 {
        out.push(tell::evidence(
            "empty-calls",
            Text::fixed("calls that moved nothing", "データの動かない呼び出し"),
            Text::new(
                format!("{calls:.0} a second, 0 bytes, for {still_en} of watching"),
                format!("毎秒 {calls:.0} 回、0 バイト({still_ja}の観測)"),
            ),
            calls,
            None,
            "procfs",
        ));
    } else {
        out.push(tell::evidence(
            "no-bytes",
            Text::fixed("bytes read and written", "読み書きしたバイト数"),
            Text::new(format!("0 for {still_en} of watching"), format!("0({still_ja}の観測)")),
            0.0,
            None,
            "procfs",
        ));
    }
    if let Some(peer) = dead_peer(process) {
        let address = peer.address;
        let (silent_en, silent_ja) = match peer.silent_ms {
            Some(ms) => {
                let (en, ja) = tell::lasted(Duration::from_millis(ms.into()));
                (format!(", silent for {en}"), format!("、{ja}無通信"))
            }
            None => (String::new(), String::new()),
        };
        out.push(tell::evidence(
            "dead-peer",
            Text::fixed("its connection", "接続"),
            Text::new(
                format!("{address} has closed it (CLOSE-WAIT){silent_en}"),
                format!("{address} が切断済み(CLOSE-WAIT){silent_ja}"),
            ),
            f64::from(peer.silent_ms.unwrap_or(0)) / 1000.0,
            None,
            "sock_diag",
        ));
    }
    if !last.process.parents.is_empty() {
        let chain = |of: &str| {
            let one = |parent: &toban_model::Ancestor| {
                let command = if parent.command.is_empty() { &parent.comm } else { &parent.command };
                format!("{} ({})", clean(command), parent.pid)
            };
            last.process.parents.iter().take(4).map(one).collect::<Vec<_>>().join(of)
        };
        out.push(tell::evidence(
            "parents",
            Text::fixed("started by", "起動元"),
            Text::new(chain(" < "), chain(" ← ")),
            last.process.parents.len() as f64,
            None,
            "procfs",
        ));
    }
    let load = picture.situation.vitals.iter().find(|vital| vital.name == "load.1" && vital.since.is_some());
    if let Some(load) = load {
        let usual = load.usual.map(|usual| usual.high);
        out.push(tell::evidence(
            "load",
            Text::fixed("load of the host", "ホストの負荷"),
            Text::new(
                format!("{:.2}, up to {:.2} is usual", load.value, usual.unwrap_or(0.0)),
                format!("{:.2}(平常時は {:.2} まで)", load.value, usual.unwrap_or(0.0)),
            ),
            load.value,
            usual,
            "procfs",
        ));
    }
    out
}

fn advice(process: &BusyProcess, what: Loop) -> Vec<Text> {
    let pid = process.last.process.id.pid;
    let mut out = Vec::new();
    if what == Loop::Computes || !can_stop(process) {
        out.push(Text::new(
            format!(
                "see what it does before you stop it: timeout 5 strace -c -p {pid}; cat /proc/{pid}/stack"
            ),
            format!(
                "停止する前に動作を確認してください: timeout 5 strace -c -p {pid}、cat /proc/{pid}/stack"
            ),
        ));
    }
    if let (Loop::DeadPeer { .. }, Some(parent)) = (what, process.last.process.parents.first()) {
        let command = clean(if parent.command.is_empty() { &parent.comm } else { &parent.command });
        out.push(Text::new(
            format!("so that it does not come again, give the call a time limit where it is made ({command}): timeout 30 …"),
            format!("再発を防ぐには、呼び出し元({command})で実行時間を制限してください: timeout 30 …"),
        ));
    }
    out
}
