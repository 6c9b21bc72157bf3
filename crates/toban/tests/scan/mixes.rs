//! Other rates, and any mix: botnets of all sizes, people in crowds, and logs of whatever parts a seed picks.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::log::{DAY, DAY_S, Format, Log, SITE, WEB};
use crate::web::Part;
use crate::{SYSLOG, errors, formats, mail, passes, run_any, ssh, web};

const SPREAD: &[&str] = &["distributed-credential-attack", "credential-attack"];
const WORDS: [&str; 12] = [
    "admin", "root", "test", "oracle", "backup", "nagios", "git", "postgres", "info", "sales", "office",
    "service",
];

/// What a botnet has been told: its addresses, the accounts and hours to try, and how often each may.
struct Botnet {
    bots: Vec<IpAddr>,
    accounts: Vec<String>,
    begin: f64,
    length: f64,
    tries_max: u64,
}

impl Botnet {
    /// Each account is tried from a dozen addresses and more.
    fn new(draw: &mut Draw, least: u64, own: &[&str]) -> Botnet {
        let bots: Vec<IpAddr> = (0..draw.between(least, 400)).map(|_| draw.address()).collect();
        let n = draw.between(1, bots.len() as u64 / 12);
        let accounts = if draw.one_in(3) {
            own.iter().map(|name| (*name).to_owned()).collect()
        } else {
            (0..n)
                .map(|nth| {
                    format!("{}{}", draw.pick(&WORDS), if nth < 4 { String::new() } else { nth.to_string() })
                })
                .collect()
        };
        let length = draw.between(1, 24) as f64 * 3_600.0 - 10.0;
        let begin = DAY + draw.below((DAY_S - length) as u64) as f64;
        Botnet { bots, accounts, begin, length, tries_max: draw.between(2, 6) }
    }

    /// Each try: who, when, and at which account.
    fn tries(&self, draw: &mut Draw) -> Vec<(IpAddr, f64, String)> {
        let mut all = Vec::new();
        for bot in &self.bots {
            for _ in 0..draw.between(2, self.tries_max) {
                let at = self.begin + draw.below(self.length as u64) as f64;
                all.push((*bot, at, self.accounts[draw.below(self.accounts.len() as u64) as usize].clone()));
            }
        }
        all
    }
}

fn botnet_at_sshd(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(SPREAD, "sshd");
    let botnet = Botnet::new(draw, 40, &["root", "anna", "deploy"]);
    for (who, at, name) in botnet.tries(draw) {
        ssh::guess(log, draw, at, who, &name, Some(attack));
    }
}

fn botnet_at_imap(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(SPREAD, "dovecot");
    let botnet = Botnet::new(draw, 40, &["user3@example.jp", "user4@example.jp"]);
    for (who, at, name) in botnet.tries(draw) {
        let failures = draw.between(1, 2) as u32;
        mail::imap(log, draw, at, who, &name, failures).counts_times(attack, failures);
    }
}

/// At a form, at a program's interface, or at names that the server itself asks for.
fn botnet_at_web(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(SPREAD, service);
    let botnet = Botnet::new(draw, 120, &["anna", "ben"]);
    let (line, status) = [("POST /wp-login.php", 200), ("POST /api/login", 401), ("GET /private/", 401)]
        [draw.below(3) as usize];
    for (who, at, name) in botnet.tries(draw) {
        let user = if line.starts_with("GET") { &name } else { "-" };
        log.request(at, who, line, status).user(user).counts(attack);
    }
}

/// People everywhere who mistype their own names and passwords, and of whom some give up.
fn students(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for nth in 0..80 {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        let name = format!("s{}", 20_100 + nth * 7);
        for _ in 0..draw.between(0, 5) {
            let typed = if draw.one_in(6) { &name[..5] } else { &name };
            ssh::guess(log, draw, at, who, typed, None);
            at += draw.between(5, 300) as f64;
        }
        if !draw.one_in(8) {
            ssh::enter(log, draw, at, who, &name);
        }
    }
}

/// A mailbox is closed, and the devices of whoever had it ask on, one of them on the way through many networks.
fn closed_mailbox(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..4 {
        let (who, mut at) = (draw.address(), DAY + draw.below(900) as f64);
        while at < DAY + DAY_S - 1_000.0 {
            mail::imap(log, draw, at, who, "left@example.jp", 1);
            at += 300.0 + draw.below(600) as f64;
        }
    }
    let carriers: Vec<Vec<IpAddr>> = (0..3).map(|_| draw.network(40, false)).collect();
    for stop in 0..90 {
        let who = carriers[draw.below(3) as usize][stop as usize % 40];
        let at = DAY + f64::from(stop) * 900.0 + draw.below(800) as f64;
        mail::imap(log, draw, at, who, "left@example.jp", 1);
    }
}

/// People of one house read their mail, and four telephones there have an old password.
fn old_telephones(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let house = draw.v4().into();
    for nth in 0..40 {
        let name = format!("person{nth}@example.jp");
        for _ in 0..draw.between(2, 9) {
            let at = DAY + 25_000.0 + draw.below(40_000) as f64;
            mail::imap(log, draw, at, house, &name, 0);
        }
        if nth % 10 == 0 {
            let (mut at, every) = (DAY + draw.below(900) as f64, draw.between(4, 20) as f64 * 60.0);
            while at < DAY + DAY_S - 100.0 {
                mail::imap(log, draw, at, house, &name, 1);
                at += every + draw.below(80) as f64 / 10.0;
            }
        }
    }
}

/// Customers of a shop log in at a form; some need several tries, some give up.
fn customers(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..250 {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for path in ["/", "/wp-login.php", "/style.css", "/logo.png"] {
            log.request(at, who, &format!("GET {path}"), 200).from(SITE);
        }
        let wrong = if draw.one_in(3) { draw.between(1, 6) } else { 0 };
        for _ in 0..wrong {
            at += draw.between(4, 40) as f64;
            log.request(at, who, "POST /wp-login.php", 200).from(SITE);
        }
        if wrong == 0 || !draw.one_in(5) {
            log.request(at + 9.0, who, "POST /wp-login.php", 302).from(SITE);
            log.request(at + 10.0, who, "GET /my/orders", 200).from(SITE);
        }
    }
}

/// An app's right to come in again has run out on many telephones; most of their owners type their password once more.
fn expired(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..400 {
        let (who, mut at) = (draw.address(), DAY + draw.below(86_000) as f64);
        for _ in 0..draw.between(1, 4) {
            log.request(at, who, "POST /api/auth/refresh", 401).by("app/5.2");
            at += draw.between(1, 30) as f64;
        }
        if !draw.one_in(6) {
            log.request(at, who, "POST /api/auth/login", 200).by("app/5.2");
            log.request(at + 1.0, who, "GET /api/items", 200).by("app/5.2");
        }
    }
}

const SSHD: &[(&str, Part)] = &[("a botnet at sshd", botnet_at_sshd), ("students", students)];
const MAIL: &[(&str, Part)] = &[
    ("a botnet at imap", botnet_at_imap),
    ("a closed mailbox", closed_mailbox),
    ("old telephones", old_telephones),
];
const SITES: &[(&str, Part)] =
    &[("a botnet", botnet_at_web), ("customers", customers), ("an expired app", expired)];

/// Any of these parts.
fn some(draw: &mut Draw, of: &[&[(&str, Part)]]) -> Vec<Part> {
    of.iter().copied().flatten().map(|(_, part)| *part).filter(|_| draw.one_in(2)).collect()
}

fn with(usual: &[Part], others: impl IntoIterator<Item = Part>) -> Vec<Part> {
    usual.iter().copied().chain(others).collect()
}

#[test]
fn at_other_rates() {
    for (usual, all, formats) in [
        (&[ssh::usual as Part][..], SSHD, SYSLOG),
        (&[mail::usual as Part], MAIL, SYSLOG),
        (&[web::usual as Part], SITES, &WEB[..]),
    ] {
        passes(
            all.iter().map(|(name, part)| {
                ((*name).to_owned(), run_any(name, formats, |_, _| with(usual, [*part])))
            }),
        );
    }
}

#[test]
fn any_mix_of_daemons() {
    let mix = |draw: &mut Draw, _: Format| {
        let parts = some(draw, &[ssh::INNOCENT, ssh::ATTACKS, mail::INNOCENT, mail::ATTACKS, SSHD, MAIL]);
        with(&[ssh::usual, ssh::others, mail::usual], parts)
    };
    passes([("a mix of daemons".into(), run_any("a mix of daemons", SYSLOG, mix))]);
}

#[test]
fn any_mix_at_a_web_server() {
    let mix = |draw: &mut Draw, format: Format| {
        let told: Vec<(&str, Part)> =
            web::ATTACKS.iter().copied().filter(|(name, _)| formats(name).contains(&format)).collect();
        with(&[web::usual], some(draw, &[web::INNOCENT, &told, SITES]))
    };
    passes([("a mix of requests".into(), run_any("a mix of requests", &WEB, mix))]);
}

#[test]
fn any_mix_of_complaints() {
    let formats = &[Format::ApacheError, Format::NginxError];
    let mix = |draw: &mut Draw, _: Format| with(&[errors::usual], some(draw, &[errors::ATTACKS]));
    passes([("a mix of complaints".into(), run_any("a mix of complaints", formats, mix))]);
}
