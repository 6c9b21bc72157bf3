//! A day of a mail and file server: Dovecot, Postfix and vsftpd, their users, and those who guess or want to relay.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::log::{DAY, DAY_S, Entry, Log};
use crate::web::Part;

const GUESS: &[&str] = &["credential-attack"];
const SPREAD: &[&str] = &["distributed-credential-attack", "credential-attack"];
const NAMES: [&str; 9] =
    ["info", "sales", "admin", "test", "scan", "office", "support", "root", "backup@example.jp"];

/// One connection of a mail program, and whether it was let in.
pub(crate) fn imap<'l>(
    log: &'l mut Log,
    draw: &mut Draw,
    at: f64,
    who: IpAddr,
    name: &str,
    failures: u32,
) -> &'l mut Entry {
    let session = format!("{:011x}", draw.below(1 << 44));
    let end = format!("user=<{name}>, method=PLAIN, rip={who}, lip=10.0.0.25, TLS, session=<{session}>");
    let text = if failures > 0 {
        let seconds = failures * 3;
        format!("imap-login: Disconnected (auth failed, {failures} attempts in {seconds} secs): {end}")
    } else {
        format!("imap-login: Login: {end}").replace(", TLS", ", mpid=77, TLS")
    };
    log.said(at, Some(who), "dovecot", 812, text)
}

/// Postfix refuses a password.
fn smtp<'l>(log: &'l mut Log, draw: &mut Draw, at: f64, who: IpAddr, name: &str) -> &'l mut Entry {
    let pid = draw.between(1000, 30_000);
    log.said(at - 0.4, Some(who), "postfix/smtpd", pid, format!("connect from unknown[{who}]"));
    log.said(
        at + 0.2,
        Some(who),
        "postfix/smtpd",
        pid,
        format!("lost connection after AUTH from unknown[{who}]"),
    );
    let text = format!(
        "warning: unknown[{who}]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username={name}"
    );
    log.said(at, Some(who), "postfix/smtpd", pid, text)
}

/// Somebody sends a mail with a password.
fn sends(log: &mut Log, draw: &mut Draw, at: f64, who: IpAddr, name: &str) {
    let pid = draw.between(1000, 30_000);
    let id = format!("{:010X}", draw.below(1 << 40));
    let text = format!("{id}: client=host.example.net[{who}], sasl_method=PLAIN, sasl_username={name}");
    log.said(at, Some(who), "postfix/submission/smtpd", pid, text);
    log.said(
        at + 1.0,
        None,
        "postfix/qmgr",
        900,
        format!("{id}: from=<{name}@example.jp>, size=1234, nrcpt=1 (queue active)"),
    );
    log.said(at + 3.0, None, "postfix/qmgr", 900, format!("{id}: removed"));
}

/// A mail for elsewhere is refused.
fn relay<'l>(log: &'l mut Log, draw: &mut Draw, at: f64, who: IpAddr, to: &str) -> &'l mut Entry {
    let pid = draw.between(1000, 30_000);
    let text = format!(
        "NOQUEUE: reject: RCPT from unknown[{who}]: 554 5.7.1 <{to}>: Relay access denied; from=<a@example.org> to=<{to}> \
         proto=ESMTP helo=<[10.9.8.7]>"
    );
    log.said(at, Some(who), "postfix/smtpd", pid, text)
}

pub(crate) fn usual(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for user in 0..draw.between(80, 150) {
        let (who, name) = (draw.address(), format!("user{user}@example.jp"));
        for _ in 0..draw.between(2, 12) {
            let at = DAY + draw.below(DAY_S as u64 - 10) as f64;
            imap(log, draw, at, who, &name, 0);
            if draw.one_in(4) {
                sends(log, draw, at + 3.0, who, &name);
            }
        }
    }
    // Mail from elsewhere, some of it for people who have left.
    for _ in 0..400 {
        let (who, at, pid) =
            (draw.address(), DAY + draw.below(DAY_S as u64) as f64, draw.between(1000, 30_000));
        log.said(at, Some(who), "postfix/smtpd", pid, format!("connect from mail.example.org[{who}]"));
        if draw.one_in(6) {
            let to = format!("left{}@example.jp", draw.below(40));
            let text = format!(
                "NOQUEUE: reject: RCPT from mail.example.org[{who}]: 550 5.1.1 <{to}>: Recipient address rejected: User \
                 unknown in local recipient table; from=<b@example.org> to=<{to}> proto=ESMTP helo=<mail.example.org>"
            );
            log.said(at + 1.0, Some(who), "postfix/smtpd", pid, text);
        }
        log.said(
            at + 2.0,
            Some(who),
            "postfix/smtpd",
            pid,
            format!("disconnect from mail.example.org[{who}] ehlo=1 quit=1 commands=2"),
        );
    }
}

/// Users who mistype, those whose telephone has the old password, and one whose addresses change by the hour.
pub(crate) fn mistypes(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for user in 0..60 {
        let (who, at) = (draw.address(), DAY + draw.below(80_000) as f64);
        let name = format!("user{user}@example.jp");
        for nth in 0..draw.between(1, 4) {
            let at = at + nth as f64 * 20.0;
            if draw.one_in(2) {
                imap(log, draw, at, who, &name, 1);
            } else {
                smtp(log, draw, at, who, &name);
            }
        }
        imap(log, draw, at + 300.0, who, &name, 0);
    }
    for (every, failures) in [(900.0, 1), (300.0, 3), (60.0, 1)] {
        let (who, mut at) = (draw.address(), DAY + 60.0 + draw.below(600) as f64);
        while at < DAY + DAY_S - 60.0 {
            imap(log, draw, at, who, "old@example.jp", failures);
            at += every + draw.below(20) as f64 / 10.0;
        }
    }
    let carriers: Vec<Vec<IpAddr>> = (0..3).map(|_| draw.network(30, false)).collect();
    for hour in 0..24 {
        let who = carriers[draw.below(3) as usize][hour as usize];
        for nth in 0..4 {
            let at = DAY + (hour as f64) * 3_600.0 + (nth as f64) * 800.0 + draw.below(60) as f64;
            imap(log, draw, at, who, "roams@example.jp", 1);
        }
    }
}

/// Programs that forgot their password try to send without one; servers send to addresses of long ago.
pub(crate) fn honest_relays(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..10 {
        let (who, at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for nth in 0..draw.between(1, 4) {
            relay(log, draw, at + nth as f64 * 70.0, who, "friend@example.net");
        }
    }
    let who = draw.address();
    let mut at = DAY + 100.0;
    while at < DAY + 80_000.0 {
        relay(log, draw, at, who, "alarms@example.net");
        at += 300.0;
    }
}

/// A server that watches whether mail is taken.
pub(crate) fn monitors(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let who = draw.address();
    for nth in 0..1430 {
        let (at, pid) = (DAY + (nth as f64) * 60.0 + 5.0, draw.between(1000, 30_000));
        log.said(at, Some(who), "postfix/smtpd", pid, format!("connect from unknown[{who}]"));
        log.said(
            at + 0.1,
            Some(who),
            "postfix/smtpd",
            pid,
            format!("lost connection after UNKNOWN from unknown[{who}]"),
        );
        let text = format!(
            "pop3-login: Disconnected (no auth attempts in 0 secs): user=<>, rip={who}, lip=10.0.0.25"
        );
        log.said(at + 1.0, Some(who), "dovecot", 812, text);
    }
}

pub(crate) fn guesses_at_imap(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(GUESS, "dovecot");
    for slow in [false, true] {
        let (who, mut at) = (draw.address(), DAY + draw.below(3_000) as f64);
        for nth in 0..draw.between(30, 120) {
            let failures = draw.between(1, 3) as u32;
            let name = NAMES[(nth % 9) as usize];
            imap(log, draw, at, who, name, failures).counts_times(attack, failures);
            at += draw.gap(if slow { 600.0 } else { 10.0 });
        }
    }
}

pub(crate) fn guesses_at_smtp(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(GUESS, "postfix");
    for slow in [false, true] {
        let (who, mut at) = (draw.address(), DAY + draw.below(3_000) as f64);
        for nth in 0..draw.between(25, 120) {
            let name = if slow { NAMES[(nth % 9) as usize] } else { draw.pick(&["info", "info@example.jp"]) };
            smtp(log, draw, at, who, name).counts(attack);
            at += draw.gap(if slow { 600.0 } else { 15.0 });
        }
    }
}

pub(crate) fn everybody_guesses(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(SPREAD, "postfix");
    for _ in 0..200 {
        let who = draw.address();
        for _ in 0..draw.between(2, 3) {
            let at = DAY + draw.below(DAY_S as u64 - 5) as f64;
            let name = draw.pick(&["info@example.jp", "user7@example.jp", "admin@example.jp"]);
            smtp(log, draw, at, who, name).counts(attack);
        }
    }
}

pub(crate) fn relays(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(&["scanner", "open-proxy-abuse"], "postfix");
    for single in [true, false] {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for _ in 0..draw.between(15, 60) {
            let to =
                if single { "spam@example.net".into() } else { format!("t{}@example.com", draw.below(99)) };
            relay(log, draw, at, who, &to).counts(attack);
            at += draw.gap(12.0);
        }
    }
}

/// Tries which mailboxes there are.
pub(crate) fn harvests(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(&["scanner"], "postfix");
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    for nth in 0..draw.between(60, 200) {
        let pid = draw.between(1000, 30_000);
        let text = format!(
            "NOQUEUE: reject: RCPT from unknown[{who}]: 550 5.1.1 <n{nth}@example.jp>: Recipient address rejected: User \
             unknown in virtual mailbox table; from=<> to=<n{nth}@example.jp> proto=SMTP helo=<x>"
        );
        log.said(at, Some(who), "postfix/smtpd", pid, text).counts(attack);
        at += draw.gap(3.0);
    }
}

/// Bots that speak before they are asked, or speak something else.
pub(crate) fn speaks_no_smtp(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(&["scanner"], "postfix");
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    for _ in 0..draw.between(15, 60) {
        let pid = draw.between(1000, 30_000);
        let text = match draw.below(3) {
            0 => format!("lost connection after UNKNOWN from unknown[{who}]"),
            1 => format!("improper command pipelining after EHLO from unknown[{who}]: QUIT"),
            _ => format!("warning: non-SMTP command from unknown[{who}]: GET / HTTP/1.1"),
        };
        log.said(at, Some(who), "postfix/smtpd", pid, text).counts(attack);
        at += draw.gap(8.0);
    }
}

/// vsftpd's own log: users, one who mistypes, a job with an old password.
pub(crate) fn ftp_usual(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let says = |log: &mut Log, draw: &mut Draw, at: f64, who: IpAddr, text: &str| {
        let pid = draw.between(1000, 30_000);
        log.line(at, Some(who), format!("[pid {pid}] {text}: Client \"{who}\""));
    };
    for user in 0..60 {
        let (who, at) = (draw.address(), DAY + draw.below(80_000) as f64);
        says(log, draw, at, who, "CONNECT");
        if user % 5 == 0 {
            for nth in 0..draw.between(1, 4) {
                says(log, draw, at + 5.0 * nth as f64, who, &format!("[user{user}] FAIL LOGIN"));
            }
        }
        says(log, draw, at + 30.0, who, &format!("[user{user}] OK LOGIN"));
        log.line(
            at + 40.0,
            Some(who),
            format!(
                "[pid 7] [user{user}] OK UPLOAD: Client \"{who}\", \"/in/a b.txt\", 12 bytes, 5.67Kbyte/sec"
            ),
        );
    }
    let job = draw.address();
    for nth in 0..140 {
        says(log, draw, DAY + 100.0 + (nth as f64) * 600.0, job, "[report] FAIL LOGIN");
    }
}

pub(crate) fn ftp_guesses(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(GUESS, "vsftpd");
    for slow in [false, true] {
        let (who, mut at) = (draw.address(), DAY + draw.below(3_000) as f64);
        for nth in 0..draw.between(30, 120) {
            let (pid, name) = (draw.between(1000, 30_000), NAMES[(nth % 9) as usize]);
            log.line(at, Some(who), format!("[pid {pid}] CONNECT: Client \"{who}\""));
            log.line(at + 1.0, Some(who), format!("[pid {pid}] [{name}] FAIL LOGIN: Client \"{who}\""))
                .counts(attack);
            at += draw.gap(if slow { 600.0 } else { 5.0 });
        }
    }
}

pub(crate) const INNOCENT: &[(&str, Part)] =
    &[("mail users mistype", mistypes), ("honest relays", honest_relays), ("mail monitors", monitors)];

pub(crate) const ATTACKS: &[(&str, Part)] = &[
    ("guesses at imap", guesses_at_imap),
    ("guesses at smtp", guesses_at_smtp),
    ("everybody guesses at smtp", everybody_guesses),
    ("mail relays", relays),
    ("harvests", harvests),
    ("speaks no smtp", speaks_no_smtp),
];
