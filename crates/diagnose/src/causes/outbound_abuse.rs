//! `outbound-abuse`: this host sends the spam or the flood.
//!
//! Needs, of mail: somebody here hands in far more than usual, and the receivers do not take it; the script that does it
//! by PHP's own word, and who posts to it and does nothing else. Of connections: one process that opens them to many
//! others at once, and is no mail server doing its work.

use toban_model::{Culprit, CulpritKind, MailFlow, NamedProcess, Outbound, Sender, Text, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "outbound-abuse",
    about: Text::fixed("this host sends spam or a flood", "このサーバからスパムや攻撃が送信されています"),
    rules_out: &["mail-queue-growth"],
    needs: Needs::Nothing,
    judge,
};

/// Mails within ten minutes by one sender: forms and cron jobs send some.
const MAILS_MIN: u32 = 60;
const TIMES_USUAL: f64 = 5.0;
/// Tries of which this part fails are no newsletter to people who asked for it.
const FAILED_MIN: f64 = 0.4;
const TRIES_MIN: u32 = 20;
/// Scripts that send this part of the mails.
const SCRIPT_SHARE_MIN: f64 = 0.3;
/// Connections to so many others at one port, being opened at one moment, by one process.
const PEERS_MIN: u32 = 50;
const SMTP: u16 = 25;
const SMTP_PEERS_MIN: u32 = 20;
/// Programs whose work it is to reach many others, by where they stand.
const REACHES_MANY: &[&str] = &[
    "/postfix/",
    "/exim",
    "/sendmail",
    "/qmail",
    "/opensmtpd",
    "/squid",
    "/named",
    "/unbound",
    "/tor",
    "/nmap",
    "/masscan",
    "/zmap",
    "/bitcoind",
    "/transmission",
    "/qbittorrent",
    "/geth",
];

/// The sender who hands in what nobody wants.
fn spammer(mail: &MailFlow) -> Option<&Sender> {
    let failed = mail.deferred + mail.bounced;
    let tries = failed + mail.sent;
    let unwanted = tries >= TRIES_MIN && f64::from(failed) >= FAILED_MIN * f64::from(tries);
    let sender = mail.senders.first().filter(|_| unwanted)?;
    let floor = f64::from(MAILS_MIN).max(sender.usual.unwrap_or(0.0) * TIMES_USUAL);
    // Root's mails are cron's and monitors' own.
    (f64::from(sender.mails) >= floor && sender.uid != Some(0)).then_some(sender)
}

/// Somebody here hands in so much that the queue says nothing of the way out.
pub(super) fn is_it(picture: &Picture<'_>) -> bool {
    picture.situation.strangers.mail.as_ref().is_some_and(|mail| spammer(mail).is_some())
}

fn flooder<'a>(picture: &Picture<'a>) -> Option<&'a Outbound> {
    picture.situation.strangers.outbound.iter().find(|outbound| {
        let works = REACHES_MANY.iter().any(|part| outbound.exe.contains(part));
        let least = if outbound.port == SMTP { SMTP_PEERS_MIN } else { PEERS_MIN };
        !works && outbound.peers >= least
    })
}

fn judge(picture: &Picture<'_>) -> Judged {
    if let Some((mail, sender)) =
        picture.situation.strangers.mail.as_ref().and_then(|mail| Some((mail, spammer(mail)?)))
    {
        return Judged::Is(spam(mail, sender));
    }
    if let Some(outbound) = flooder(picture) {
        return Judged::Is(flood(picture, outbound));
    }
    let mails = picture
        .situation
        .strangers
        .mail
        .as_ref()
        .and_then(|mail| mail.senders.first())
        .map_or(0, |s| s.mails);
    Judged::Not(Text::new(
        format!(
            "nobody here handed in more than {mails} mails within ten minutes, and no process reaches out to many"
        ),
        format!(
            "このサーバからのメール投入は 10 分間で最大 {mails} 通であり、多数の宛先へ接続するプロセスもありません"
        ),
    ))
}

fn spam(mail: &MailFlow, sender: &Sender) -> Candidate {
    let mails = sender.mails;
    let (who_en, who_ja) = match (&sender.account, sender.uid) {
        (Some(account), _) => {
            let account = tell::clean(account);
            (format!("the account {account}"), format!("アカウント {account}"))
        }
        (None, uid) => {
            let uid = uid.unwrap_or_default();
            (format!("a program of user {uid}"), format!("ユーザー(uid {uid})のプログラム"))
        }
    };
    let script = mail.scripts.first().filter(|(_, times)| {
        sender.account.is_none() && f64::from(*times) >= SCRIPT_SHARE_MIN * f64::from(mails)
    });
    let mut culprits = Vec::new();
    let culprit = |kind, value: String, share: f64| Culprit {
        kind,
        value,
        share: (share.min(1.0) * 100.0).round() / 100.0,
        r#where: Where::new(),
        process: None,
    };
    if let Some((script, times)) = script {
        culprits.push(culprit(CulpritKind::File, script.clone(), f64::from(*times) / f64::from(mails)));
        let posts: f64 = mail.posters.iter().map(|(_, posts, _)| f64::from(*posts)).sum();
        // Who also reads pages may be somebody who only filled in a form.
        for (client, posts_of, _) in mail.posters.iter().filter(|(_, _, alone)| *alone) {
            culprits.push(culprit(
                CulpritKind::Address,
                client.to_string(),
                f64::from(*posts_of) / posts.max(1.0),
            ));
        }
    }
    if let Some(account) = &sender.account {
        culprits.push(culprit(CulpritKind::Account, account.clone(), 1.0));
    }
    // Whose programs it is, where none of them is known.
    let is_known = !culprits.is_empty();
    if let Some(uid) = sender.uid.filter(|_| !is_known) {
        culprits.push(culprit(CulpritKind::Account, format!("uid {uid}"), 1.0));
    }
    let failed = mail.deferred + mail.bounced;
    let tries = failed + mail.sent;
    let usual = sender.usual.map_or_else(String::new, |usual| format!("; {usual:.0} usually"));
    let usual_ja = sender.usual.map_or_else(String::new, |usual| format!("(平常時 {usual:.0} 通)"));
    let by = script.map(|(script, _)| tell::clean(script).into_owned());
    let (by_en, by_ja) = match &by {
        Some(script) => (format!(" by {script}"), format!("(スクリプト: {script})")),
        None => Default::default(),
    };
    let queued = mail.queued.unwrap_or(0);
    let mut advice = Vec::new();
    if let Some(script) = &by {
        advice.push(Text::new(
            format!("look at {script} and take it out of the way: `chmod 000 '{script}'`; find what else came with it: `find / -xdev -newerct '2 days ago' -name '*.php'`"),
            format!("{script} の内容を確認し、`chmod 000 '{script}'` で無効化してください。同時に置かれたファイルは `find / -xdev -newerct '2 days ago' -name '*.php'` で探せます"),
        ));
    } else if sender.account.is_none() {
        advice.push(Text::fixed(
            "find the script: set `mail.log = /var/log/php-mail.log` in php.ini and restart PHP; `postcat -q ID | grep X-PHP-Originating-Script`",
            "php.ini に `mail.log = /var/log/php-mail.log` を設定して PHP を再起動し、スクリプトを特定してください。`postcat -q ID | grep X-PHP-Originating-Script` でも確認できます",
        ));
    }
    if let Some(account) = sender.account.as_deref().map(tell::clean) {
        advice.push(Text::new(
            format!("change the password of {account} and end its sessions"),
            format!("{account} のパスワードを変更し、セッションを切断してください"),
        ));
    }
    advice.push(Text::fixed(
        "hold what waits before it goes out: `postsuper -h ALL`, and delete it when you have looked: `postsuper -d ALL deferred`",
        "送信待ちのメールを `postsuper -h ALL` で保留し、確認後に `postsuper -d ALL deferred` で削除してください",
    ));
    Candidate {
        verdict: Verdict::Incident,
        confidence: if is_known { 0.92 } else { 0.7 },
        evidence: vec![
            tell::evidence(
                "mails-handed-in",
                Text::fixed("mails handed in, ten minutes", "投入されたメール(10 分間)"),
                Text::new(
                    format!("{mails} by {who_en}{usual}"),
                    format!("{who_ja}から {mails} 通{usual_ja}"),
                ),
                f64::from(mails),
                sender.usual,
                "mail_log",
            ),
            tell::evidence(
                "mails-failed",
                Text::fixed("what became of them", "配送結果"),
                Text::new(
                    format!("{failed} of {tries} tries failed; {queued} wait"),
                    format!("{tries} 回の配送のうち {failed} 回が失敗。キューに {queued} 通"),
                ),
                f64::from(failed),
                None,
                "mail_log",
            ),
        ],
        summary: Text::new(
            format!(
                "This host sends mail that is not wanted: {mails} within ten minutes from {who_en}{by_en}; {failed} of {tries} deliveries failed."
            ),
            format!(
                "このサーバから大量のメールが送信されています。10 分間に{who_ja}から {mails} 通{by_ja}、配送 {tries} 回のうち {failed} 回が失敗しています。"
            ),
        ),
        culprits,
        advice,
        since: Some(sender.first),
        ..Candidate::default()
    }
}

fn flood(picture: &Picture<'_>, outbound: &Outbound) -> Candidate {
    let Outbound { process, comm, command, port, opening, peers, user, parent, .. } = outbound;
    let (comm, command) = (tell::clean(comm).into_owned(), tell::clean(command).into_owned());
    let pid = process.pid;
    let what = if *port == SMTP { ("mail", "メール") } else { ("connections", "接続") };
    Candidate {
        verdict: Verdict::Incident,
        confidence: 0.85,
        culprits: vec![Culprit {
            kind: CulpritKind::Process,
            value: comm.clone(),
            share: 1.0,
            r#where: Where::from([
                ("command".to_owned(), command.clone()),
                ("exe".to_owned(), tell::clean(&outbound.exe).into_owned()),
                ("parent".to_owned(), parent.to_string()),
                ("user".to_owned(), user.to_string()),
            ]),
            process: Some(NamedProcess {
                command: command.clone(),
                ..NamedProcess::known_by(*process, &outbound.comm, picture.situation.host.boot)
            }),
        }],
        evidence: vec![tell::evidence(
            "connections-opened",
            Text::new(format!("being opened to port {port}"), format!("{port} 番ポートへの接続試行")),
            Text::new(
                format!("{opening} at this moment, to {peers} addresses, by pid {pid}"),
                format!("pid {pid} が現在 {peers} アドレスへ {opening} 接続を試行中"),
            ),
            f64::from(*opening),
            None,
            "sock_diag",
        )],
        summary: Text::new(
            format!(
                "This host sends {} to many others: {comm} (pid {pid}, user {user}) is opening connections to {peers} addresses at port {port}.",
                what.0
            ),
            format!(
                "このサーバから多数の宛先へ{}が送信されています。{comm}(pid {pid}、uid {user})が {peers} アドレスの {port} 番ポートへ接続を試みています。",
                what.1
            ),
        ),
        advice: vec![
            Text::new(
                format!(
                    "stop it and keep it to be looked at: `kill -STOP {pid}`, `ls -l /proc/{pid}/exe /proc/{pid}/cwd`, `cat /proc/{pid}/environ | tr '\\0' '\\n'`"
                ),
                format!(
                    "`kill -STOP {pid}` で停止し、`ls -l /proc/{pid}/exe /proc/{pid}/cwd`、`cat /proc/{pid}/environ | tr '\\0' '\\n'` で調査してください"
                ),
            ),
            Text::new(
                format!(
                    "let nobody but the mail server out meanwhile: `nft` or the provider's firewall, destination port {port}"
                ),
                format!(
                    "調査中は `nft` や事業者のファイアウォールで宛先 {port} 番ポートへの送信を制限してください"
                ),
            ),
        ],
        since: Some(picture.situation.at),
        ..Candidate::default()
    }
}
