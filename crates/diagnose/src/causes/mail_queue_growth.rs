//! `mail-queue-growth`: honest mail waits because it cannot be handed on: the next server is down, refuses or is not
//! found.
//!
//! Needs: a queue that is longer than usual and grows, or tries that fail for one reason; and nobody here who hands in
//! more than usual, which would be `outbound-abuse`.

use toban_model::{Culprit, CulpritKind, MailFlow, ResourceUse, Text, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "mail-queue-growth",
    about: Text::fixed("mails wait and cannot be delivered", "メールが配送できずキューに滞留しています"),
    rules_out: &["outbound-abuse"],
    needs: Needs::Nothing,
    judge,
};

/// Mails that always wait somewhere: receivers that are gone, greylisting.
const QUEUED_MIN: f64 = 20.0;
const TIMES_USUAL: f64 = 3.0;
/// Growth a minute, where nothing is known to be usual.
const GROWTH_MIN: f64 = 2.0;
const FAILED_MIN: u32 = 5;
/// Nothing else is the matter while this part of the tries succeeds.
const SENT_MAX: f64 = 0.5;
/// One relay with this part of all failures is the one that is down.
const RELAY_SHARE_MIN: f64 = 0.6;
/// So many waiting are told, whatever the log says.
const MANY: f64 = 1000.0;

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(mail) = &picture.situation.strangers.mail else { return Judged::Unknown };
    let queued = mail.queued.unwrap_or(0) as f64;
    if super::outbound_abuse::is_it(picture) {
        let mails = mail.senders.first().map_or(0, |sender| sender.mails);
        return Judged::Not(Text::new(
            format!("{mails} mails were handed in here within ten minutes: the queue grows by what comes in"),
            format!("10 分間に {mails} 通がこのサーバで投入されており、キューの増加は投入側が原因です"),
        ));
    }
    let failed = mail.deferred + mail.bounced;
    let tries = failed + mail.sent;
    let stuck = failed >= FAILED_MIN && f64::from(mail.sent) <= SENT_MAX * f64::from(tries);
    let grows = mail.growth.is_some_and(|growth| growth >= GROWTH_MIN);
    let long = match mail.usual {
        Some([_, high]) => queued > (high * TIMES_USUAL).max(QUEUED_MIN),
        None => queued >= QUEUED_MIN && (grows || stuck),
    };
    if !long || !(stuck || grows || queued >= MANY) {
        return Judged::Not(Text::new(
            format!(
                "{queued:.0} mails wait, and {} of {tries} tries within ten minutes succeeded",
                mail.sent
            ),
            format!(
                "キューは {queued:.0} 通で、10 分間の配送 {tries} 回のうち {} 回が成功しています",
                mail.sent
            ),
        ));
    }
    Judged::Is(candidate(mail, queued, failed, tries, stuck))
}

fn candidate(mail: &MailFlow, queued: f64, failed: u32, tries: u32, stuck: bool) -> Candidate {
    let reason = mail.reasons.first();
    let relay = reason.filter(|reason| {
        !reason.relay.is_empty() && f64::from(reason.count) >= RELAY_SHARE_MIN * f64::from(failed.max(1))
    });
    let why = reason.map(|reason| {
        let (relay, code) = (tell::clean(&reason.relay), tell::clean(&reason.code));
        let (way_en, way_ja) = meaning(&reason.code);
        let at = if relay.is_empty() { String::new() } else { format!(" ({relay})") };
        (
            format!("{way_en}{at}, dsn {code}, {} times", reason.count),
            format!("{way_ja}{at}、dsn {code}、{} 回", reason.count),
        )
    });
    let (why_en, why_ja) =
        why.clone().unwrap_or_else(|| ("the log does not say why".into(), "理由はログにありません".into()));
    let growth = mail.growth.unwrap_or(0.0);
    let usual = mail.usual.map(|usual| usual[1]);
    let (usual_en, usual_ja) = usual.map_or_else(Default::default, |usual| {
        (format!("; {usual:.0} usually"), format!("(平常時 {usual:.0} 通)"))
    });
    Candidate {
        verdict: if stuck { Verdict::Incident } else { Verdict::Watch },
        confidence: if relay.is_some() { 0.88 } else { 0.75 },
        culprits: relay
            .map(|reason| Culprit {
                kind: CulpritKind::Upstream,
                value: tell::clean(&reason.relay).into_owned(),
                share: (f64::from(reason.count) / f64::from(failed.max(1)) * 100.0).round() / 100.0,
                r#where: Where::from([("dsn".to_owned(), tell::clean(&reason.code).into_owned())]),
                process: None,
            })
            .into_iter()
            .collect(),
        evidence: vec![
            tell::evidence(
                "mail-queue",
                Text::fixed("mails that wait", "キューのメール"),
                Text::new(
                    format!("{queued:.0}, {growth:+.0} a minute{usual_en}"),
                    format!("{queued:.0} 通、毎分 {growth:+.0} 通{usual_ja}"),
                ),
                queued,
                usual,
                "spool",
            ),
            tell::evidence(
                "mails-failed",
                Text::fixed("tries within ten minutes", "配送結果(10 分間)"),
                Text::new(
                    format!("{failed} of {tries} failed: {why_en}"),
                    format!("{tries} 回のうち {failed} 回が失敗: {why_ja}"),
                ),
                f64::from(failed),
                None,
                "mail_log",
            ),
        ],
        summary: Text::new(
            format!("{queued:.0} mails wait and cannot be delivered: {why_en}."),
            format!("{queued:.0} 通のメールが配送できずに滞留しています: {why_ja}。"),
        ),
        advice: vec![
            Text::fixed(
                "see what waits for whom: `postqueue -p | tail -1`, `qshape deferred`; try again when the way is free: `postqueue -f`",
                "`postqueue -p | tail -1` と `qshape deferred` で宛先別の滞留を確認し、復旧後に `postqueue -f` で再送してください",
            ),
            Text::fixed(
                "reach the next server by hand: `nc -vz RELAY 25`, `dig MX DOMAIN`; port 25 may be closed by the provider",
                "`nc -vz RELAY 25` や `dig MX DOMAIN` で次の配送先への到達性を確認してください。事業者により 25 番ポートが閉じられている場合もあります",
            ),
        ],
        since: mail.failing_since,
        resource: Some(ResourceUse {
            name: "mail.queue".into(),
            used: queued,
            limit: None,
            usual: mail.usual,
            exhausted_since: None,
            limit_from: None,
        }),
        ..Candidate::default()
    }
}

/// What an enhanced status code means (RFC 3463).
fn meaning(code: &str) -> (&'static str, &'static str) {
    let mut parts = code.split('.').skip(1);
    match (parts.next(), parts.next()) {
        (Some("1"), Some("1")) => ("the mailboxes do not exist", "宛先のメールボックスが存在しません"),
        (Some("2"), Some("2")) => ("the mailboxes are full", "宛先のメールボックスが満杯です"),
        (Some("3"), _) => ("the next server has no room", "配送先サーバの資源が不足しています"),
        (Some("4"), Some("1")) => ("the next server does not answer", "配送先サーバが応答しません"),
        (Some("4"), Some("2")) => ("the connection breaks off", "配送先との接続が切断されます"),
        (Some("4"), Some("3" | "4")) => {
            ("the next server is not found by DNS", "配送先を DNS で解決できません")
        }
        (Some("7"), _) => ("the next server refuses this host", "配送先サーバに拒否されています"),
        _ => ("the next server does not take them", "配送先サーバが受け付けません"),
    }
}
