//! `toban scan`: logs of a day are made from a seed, with attackers in them and with people and programs who look like
//! some; the program must name every attacker, for what they did and with the lines on which they did it, and nobody else.
//!
//! `TOBAN_SEED=7 TOBAN_SEEDS=40 cargo test -p toban --test scan` takes forty other seeds, from 7 on.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what went wrong")]

mod check;
mod draw;
mod errors;
mod forgery;
mod input;
mod log;
mod mail;
mod mixes;
mod ssh;
mod web;

use jiff::tz::TimeZone;

use check::{Outcome, check};
use draw::Draw;
use log::{Format, Log};
use web::Part;

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn seeds() -> std::ops::Range<u64> {
    let first = from_env("TOBAN_SEED").unwrap_or(1);
    first..first + from_env("TOBAN_SEEDS").unwrap_or(1)
}

/// Makes a log of these parts for each seed and format, and sums up what came of it.
fn run(name: &str, parts: &[Part], formats: &[Format]) -> Outcome {
    run_any(name, formats, |_, _| parts.to_vec())
}

/// The same of the parts that are picked each time.
fn run_any(name: &str, formats: &[Format], pick: impl Fn(&mut Draw, Format) -> Vec<Part>) -> Outcome {
    let dir = tempfile::tempdir().unwrap();
    let mut sum = Outcome::default();
    for seed in seeds() {
        for format in formats {
            let mut draw = Draw::new(seed, &format!("{name} {format:?}"));
            let mut log = Log::default();
            let zone = draw.pick(&["UTC", "Asia/Tokyo", "America/St_Johns"]);
            let zone = TimeZone::get(zone).unwrap();
            for part in pick(&mut draw, *format) {
                part(&mut log, &mut draw, format.service());
            }
            let outcome = check(&format!("{name} {format:?} {seed}"), &mut log, *format, &zone, dir.path());
            if !outcome.problems.is_empty() {
                println!("{name}, {format:?}, seed {seed}:");
                outcome.problems.iter().take(12).for_each(|problem| println!("    {problem}"));
            }
            sum.logs += 1;
            sum.wrong += usize::from(!outcome.problems.is_empty());
            sum.attackers += outcome.attackers;
            sum.missed += outcome.missed;
            sum.innocents += outcome.innocents;
        }
    }
    if sum.wrong > 0 {
        let _kept_to_be_looked_at = dir.keep();
    }
    sum
}

#[track_caller]
fn passes(sums: impl IntoIterator<Item = (String, Outcome)>) {
    let mut wrong = Vec::new();
    for (name, sum) in sums {
        let Outcome { logs, wrong: bad, attackers, missed, innocents, .. } = sum;
        println!(
            "{name}: {logs} logs, {bad} wrong; {missed} of {attackers} attackers missed, {innocents} innocents named"
        );
        if bad > 0 {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "wrong: {}", wrong.join(", "));
}

/// What a format cannot tell is left out.
fn formats(name: &str) -> Vec<Format> {
    let silent = ["speaks no http", "relays", "network relays"].contains(&name);
    log::WEB.into_iter().filter(|format| !silent || *format != Format::Iis).collect()
}

const SYSLOG: &[Format] = &[Format::Bsd, Format::Iso];

#[test]
fn web_attackers_are_named() {
    passes(
        web::ATTACKS
            .iter()
            .map(|(name, attack)| ((*name).to_owned(), run(name, &[web::usual, *attack], &formats(name)))),
    );
}

#[test]
fn web_innocents_are_not() {
    let all = web::INNOCENT.iter().chain(web::INNOCENT_ALONE);
    passes(all.map(|(name, part)| ((*name).to_owned(), run(name, &[web::usual, *part], &formats(name)))));
}

#[test]
fn a_web_server_with_everything() {
    for (nth, format) in log::WEB.into_iter().enumerate() {
        let attacks = web::ATTACKS.iter().filter(|(name, _)| formats(name).contains(&format));
        let parts: Vec<Part> = std::iter::once(web::usual as Part)
            .chain(web::INNOCENT.iter().chain(attacks).map(|(_, p)| *p))
            .collect();
        passes([(format!("everything {nth}"), run(&format!("everything {nth}"), &parts, &[format]))]);
    }
}

#[test]
fn guessers_at_sshd_are_named() {
    passes(
        ssh::ATTACKS
            .iter()
            .map(|(name, attack)| ((*name).to_owned(), run(name, &[ssh::usual, *attack], SYSLOG))),
    );
}

#[test]
fn who_logs_in_to_sshd_is_not() {
    passes(
        ssh::INNOCENT
            .iter()
            .map(|(name, part)| ((*name).to_owned(), run(name, &[ssh::usual, ssh::others, *part], SYSLOG))),
    );
}

#[test]
fn an_sshd_with_everything() {
    let all = ssh::INNOCENT.iter().chain(ssh::ATTACKS).map(|(_, part)| *part);
    let parts: Vec<Part> = [ssh::usual as Part, ssh::others].into_iter().chain(all).collect();
    passes([("everything".into(), run("everything", &parts, SYSLOG))]);
}

#[test]
fn guessers_at_mail_are_named() {
    passes(
        mail::ATTACKS
            .iter()
            .map(|(name, attack)| ((*name).to_owned(), run(name, &[mail::usual, *attack], SYSLOG))),
    );
}

#[test]
fn who_uses_mail_is_not() {
    passes(
        mail::INNOCENT
            .iter()
            .map(|(name, part)| ((*name).to_owned(), run(name, &[mail::usual, ssh::others, *part], SYSLOG))),
    );
}

/// One file in which all daemons of a host write.
#[test]
fn a_syslog_with_everything() {
    let all = [ssh::INNOCENT, ssh::ATTACKS, mail::INNOCENT, mail::ATTACKS]
        .into_iter()
        .flatten()
        .map(|(_, part)| *part);
    let parts: Vec<Part> = [ssh::usual as Part, ssh::others, mail::usual].into_iter().chain(all).collect();
    passes([("a syslog with everything".into(), run("a syslog with everything", &parts, SYSLOG))]);
}

#[test]
fn an_ftp_server() {
    passes([("ftp".into(), run("ftp", &[mail::ftp_usual, mail::ftp_guesses], &[Format::Vsftpd]))]);
    passes([("ftp in quiet".into(), run("ftp in quiet", &[mail::ftp_usual], &[Format::Vsftpd]))]);
}

#[test]
fn error_logs_tell_of_attackers() {
    let formats = &[Format::ApacheError, Format::NginxError];
    passes([("complaints".into(), run("complaints", &[errors::usual], formats))]);
    passes(
        errors::ATTACKS
            .iter()
            .map(|(name, attack)| ((*name).to_owned(), run(name, &[errors::usual, *attack], formats))),
    );
}
