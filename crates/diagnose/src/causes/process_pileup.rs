//! `process-pileup`: jobs of one kind are begun again and again and do not end: they are stuck, or wait for each other.
//! The load rises with their number and the processors have nothing to do.
//!
//! Needs: many processes of one name whose parents are of one command, begun one after the other, with hardly any
//! processor time among them. Most of them cannot be interrupted; or they sleep and become more. What a server keeps as
//! its workers, and what one job began at once, is no pile-up.

use std::time::Duration;

use toban_model::{Culprit, CulpritKind, Evidence, Kin, Text, Time, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell::{self, clean};

pub(super) const CAUSE: Cause = Cause {
    id: "process-pileup",
    about: Text::fixed(
        "jobs of one kind are begun again and again and do not end",
        "同じ種類のジョブが終わらないまま次々に起動され、溜まっています",
    ),
    rules_out: &["io-saturation"],
    needs: Needs::Nothing,
    judge,
};

/// Fewer are no pile.
const STUCK_MIN: u32 = 8;
const SLEEPING_MIN: u32 = 20;
/// They were begun over at least this long …
const SPREAD_MIN: Duration = Duration::from_secs(10);
/// … and no more than this part of them within two seconds: what one job begins at once belongs together.
const BURST_MAX: f64 = 0.5;
/// Of the processors, of all their lives.
const CPU_SHARE_MAX: f64 = 0.05;
/// Growth of one that only sleeps must have been seen for so long.
const SEEN_MIN: Duration = Duration::from_secs(60);
/// A pile grows by the minute; what comes to be over hours are people's sessions.
const GAP_MAX: Duration = Duration::from_secs(900);
/// Who begins jobs by the clock.
const SCHEDULERS: &[&str] = &["cron", "crond", "CRON", "anacron", "fcron", "atd", "busybox"];

fn judge(picture: &Picture<'_>) -> Judged {
    let crowd = &picture.situation.activity.crowd;
    let piles = crowd.kin.iter().filter_map(|kin| Some((kin, judge_one(picture, kin)?)));
    let Some((kin, (confidence, verdict))) = piles.max_by(|a, b| {
        a.1.1.cmp(&b.1.1).then(a.1.0.total_cmp(&b.1.0)).then_with(|| a.0.count.cmp(&b.0.count))
    }) else {
        return match crowd.kin.first() {
            Some(most) => {
                let (count, comm) = (most.count, clean(&most.oldest.comm));
                Judged::Not(Text::new(
                    format!("the largest group, {count} of {comm}, is a server's, began at once, or works"),
                    format!(
                        "最大のグループ({comm} {count} 個)は、サーバのワーカー、一斉起動、または動作中のものです"
                    ),
                ))
            }
            None => Judged::Unknown,
        };
    };
    Judged::Is(Candidate {
        verdict,
        confidence,
        culprits: vec![culprit(kin)],
        evidence: evidence(picture, kin),
        summary: summary(kin, picture.situation.at),
        advice: advice(kin),
        since: kin.starts.first().copied(),
        ..Candidate::default()
    })
}

fn is_stuck(kin: &Kin) -> bool {
    kin.stuck >= STUCK_MIN && kin.stuck * 2 >= kin.count
}

fn judge_one(picture: &Picture<'_>, kin: &Kin) -> Option<(f64, Verdict)> {
    let at = picture.situation.activity.crowd.at;
    let (first, last) = (*kin.starts.first()?, *kin.starts.last()?);
    // Those whose parent is process 1 are daemons, or orphans of which nobody knows whose they were.
    if kin.serves || kin.like_parent || kin.oldest.parents.is_empty() || last.since(first) < SPREAD_MIN {
        return None;
    }
    let burst = kin
        .starts
        .iter()
        .enumerate()
        .map(|(n, start)| {
            kin.starts[n..].partition_point(|other| other.since(*start) <= Duration::from_secs(2))
        })
        .max()
        .unwrap_or(0);
    let lived: f64 = kin.starts.iter().map(|start| at.since(*start).as_secs_f64()).sum();
    let works = kin.cpu_us as f64 / 1e6 > CPU_SHARE_MAX * lived;
    if burst as f64 > BURST_MAX * kin.starts.len() as f64 || works || kin.running * 2 > kin.count {
        return None;
    }
    let before = picture.situation.activity.kin_before.iter().find(|(oldest, ..)| *oldest == kin.oldest.id);
    let seen_for = before.map_or(Duration::ZERO, |(_, _, then)| at.since(*then));
    let grows = before.is_some_and(|(_, count, _)| kin.count > count + 2);
    if seen_for >= SEEN_MIN && !grows {
        return None;
    }
    let gap = gap(kin);
    if is_stuck(kin) {
        // The last one was begun a moment ago, by the pace that they come at.
        let comes_on = at.since(last) <= (gap * 4).max(Duration::from_secs(30));
        let vital = |name: &str| picture.situation.vitals.iter().find(|v| v.name == name).map(|v| v.value);
        let idle = vital("cpu.busy").is_some_and(|busy| busy < 60.0);
        let loaded = vital("load.1").is_some_and(|load| load >= f64::from(kin.stuck) * 0.2);
        let more = [(grows, 0.1), (comes_on, 0.05), (idle && loaded, 0.05), (kin.count >= 20, 0.05)];
        let more: f64 = more.iter().filter(|(is, _)| *is).map(|(_, more)| more).sum();
        return Some((0.7 + more, Verdict::Incident));
    }
    let scheduled = kin.oldest.parents.iter().any(|parent| SCHEDULERS.contains(&parent.comm.as_str()));
    if kin.count < SLEEPING_MIN || gap > GAP_MAX || kin.stuck + kin.running > kin.count / 2 {
        return None;
    }
    match (seen_for >= SEEN_MIN && grows, scheduled) {
        (true, true) => Some((0.75, Verdict::Watch)),
        (true, false) => Some((0.65, Verdict::Watch)),
        // A look at one moment: the clock begins them, and none has ended.
        (false, true) => Some((0.6, Verdict::Watch)),
        (false, false) => None,
    }
}

/// The median time between one start and the next.
fn gap(kin: &Kin) -> Duration {
    let mut gaps: Vec<Duration> = kin.starts.windows(2).map(|two| two[1].since(two[0])).collect();
    gaps.sort_unstable();
    gaps.get(gaps.len() / 2).copied().unwrap_or_default()
}

/// The nearest ancestor that is more than a shell which was told one command.
fn origin(kin: &Kin) -> String {
    let parents = &kin.oldest.parents;
    let says_more = |command: &str| !command.contains(" -c ");
    let parent = parents
        .iter()
        .find(|p| !p.command.is_empty() && says_more(&p.command) && !SCHEDULERS.contains(&p.comm.as_str()))
        .or(parents.first());
    let Some(parent) = parent else { return "?".into() };
    clean(if parent.command.is_empty() { &parent.comm } else { &parent.command }).into_owned()
}

fn culprit(kin: &Kin) -> Culprit {
    let mut r#where = Where::new();
    if let Some(parent) = kin.oldest.parents.first() {
        let command = if parent.command.is_empty() { &parent.comm } else { &parent.command };
        r#where.insert("parent".into(), command.clone());
    }
    r#where.insert("count".into(), kin.count.to_string());
    Culprit {
        kind: CulpritKind::Process,
        value: kin.oldest.comm.clone(),
        share: 1.0,
        r#where,
        process: Some(kin.oldest.clone()),
    }
}

fn summary(kin: &Kin, at: Time) -> Text {
    let (comm, count, stuck) = (clean(&kin.oldest.comm), kin.count, kin.stuck);
    let origin = origin(kin);
    let (age_en, age_ja) = tell::lasted(at.since(kin.oldest.started));
    if is_stuck(kin) {
        Text::new(
            format!(
                "{count} processes {comm} have piled up, {stuck} of them stuck in the kernel; the oldest began {age_en} ago. All were started by {origin}. They raise the load and use no processor."
            ),
            format!(
                "{comm} のプロセスが {count} 個溜まり、うち {stuck} 個はカーネル内で停止しています。最も古いものは {age_ja}前に起動されました。起動元はすべて {origin} です。負荷は上がりますが CPU は使っていません。"
            ),
        )
    } else {
        Text::new(
            format!(
                "{count} processes {comm} wait and become more; the oldest began {age_en} ago and has not ended. All were started by {origin}."
            ),
            format!(
                "{comm} のプロセス {count} 個が待機したまま増え続けています。最も古いものは {age_ja}前に起動され、まだ終わっていません。起動元はすべて {origin} です。"
            ),
        )
    }
}

fn evidence(picture: &Picture<'_>, kin: &Kin) -> Vec<Evidence> {
    let mut out = Vec::new();
    let (gap_en, gap_ja) = tell::lasted(gap(kin));
    let before = picture.situation.activity.kin_before.iter().find(|(oldest, ..)| *oldest == kin.oldest.id);
    let (was_en, was_ja) = before.map_or_else(Default::default, |(_, count, then)| {
        let (en, ja) = tell::lasted(picture.situation.activity.crowd.at.since(*then));
        (format!("; {count} were there {en} ago"), format!("({ja}前は {count} 個)"))
    });
    out.push(tell::evidence(
        "pile",
        Text::fixed("how many, and since when", "個数と起動間隔"),
        Text::new(
            format!("{} there, another about every {gap_en}{was_en}", kin.count),
            format!("{} 個。約 {gap_ja}ごとに起動{was_ja}", kin.count),
        ),
        f64::from(kin.count),
        before.map(|(_, count, _)| f64::from(*count)),
        "procfs",
    ));
    let waits = kin.waits_in.as_deref().map_or("?", |function| function);
    out.push(tell::evidence(
        "stuck",
        Text::fixed("what they wait in", "待機箇所"),
        Text::new(
            format!("{} uninterruptible (D), most in {waits}", kin.stuck),
            format!("割り込み不可(D)が {} 個、主に {waits}", kin.stuck),
        ),
        f64::from(kin.stuck),
        None,
        "procfs",
    ));
    let used = kin.cpu_us as f64 / 1e6;
    out.push(tell::evidence(
        "processor-time",
        Text::fixed("processor time of all", "CPU 時間の合計"),
        Text::new(format!("{used:.1} s"), format!("{used:.1} 秒")),
        used,
        None,
        "procfs",
    ));
    out
}

fn advice(kin: &Kin) -> Vec<Text> {
    let pid = kin.oldest.id.pid;
    let origin = origin(kin);
    vec![
        Text::new(
            format!(
                "see what the oldest waits for: cat /proc/{pid}/stack; ls -l /proc/{pid}/fd; a mount that hangs shows in: timeout 5 df"
            ),
            format!(
                "最も古いプロセスが何を待っているか確認してください: cat /proc/{pid}/stack、ls -l /proc/{pid}/fd。応答しないマウントは timeout 5 df で分かります"
            ),
        ),
        Text::new(
            format!(
                "begin no more of them: pause {origin}, and let it take a lock (flock -n) and a time limit (timeout)"
            ),
            format!(
                "新たな起動を止めてください: {origin} を一時停止し、flock -n による多重起動防止と timeout による時間制限を加えます"
            ),
        ),
    ]
}
