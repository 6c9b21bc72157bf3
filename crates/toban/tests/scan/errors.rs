//! What web servers complain about: their error logs alone, which say nothing of those who did right.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::log::{DAY, DAY_S, Entry, Log};
use crate::web::Part;

/// What each of the two servers writes of a client.
fn complains<'a>(
    log: &'a mut Log,
    draw: &mut Draw,
    service: &str,
    at: f64,
    who: IpAddr,
    what: Complaint<'_>,
) -> &'a mut Entry {
    let (pid, port) = (draw.from_to(100, 9_000), draw.from_to(1_025, 65_535));
    let text = if service == "apache" {
        let (module, text) = match what {
            Complaint::Password(user) => (
                "auth_basic",
                format!("AH01617: user {user}: authentication failure for \"/private/\": Password Mismatch"),
            ),
            Complaint::NoUser(user) => ("auth_basic", format!("AH01618: user {user} not found: /private/")),
            Complaint::Closed(path) => {
                ("authz_core", format!("AH01630: client denied by server configuration: /var/www{path}"))
            }
            Complaint::Missing(path) => {
                ("php", format!("script '/var/www{path}' not found or unable to stat"))
            }
        };
        let host = if who.is_ipv6() { format!("[{who}]:{port}") } else { format!("{who}:{port}") };
        format!("[{module}:error] [pid {pid}:tid {pid}] [client {host}] {text}")
    } else {
        let (text, path) = match what {
            Complaint::Password(user) => (format!("user \"{user}\": password mismatch"), "/private/"),
            Complaint::NoUser(user) => {
                (format!("user \"{user}\" was not found in \"/etc/nginx/users\""), "/private/")
            }
            Complaint::Closed(path) => ("access forbidden by rule".into(), path),
            Complaint::Missing(path) => {
                (format!("open() \"/var/www{path}\" failed (2: No such file or directory)"), path)
            }
        };
        let request = format!(
            "client: {who}, server: example.jp, request: \"GET {path} HTTP/1.1\", host: \"example.jp\""
        );
        format!("[error] {pid}#{pid}: *{port} {text}, {request}")
    };
    log.line(at, Some(who), text)
}

enum Complaint<'a> {
    Password(&'a str),
    NoUser(&'a str),
    Closed(&'a str),
    Missing(&'a str),
}

/// Files that are missing or closed, and some who mistype, from everywhere and from an office with many people.
pub(crate) fn usual(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let office = draw.v4().into();
    for nth in 0..300 {
        let (who, at) =
            (if nth % 9 == 0 { office } else { draw.address() }, DAY + draw.below(DAY_S as u64 - 100) as f64);
        for step in 0..draw.from_to(1, 8) {
            let at = at + step as f64 * 3.0;
            let path = format!("/img/{}.png", draw.below(12));
            let what = if nth % 2 == 0 { Complaint::Missing(&path) } else { Complaint::Closed(&path) };
            complains(log, draw, service, at, who, what);
        }
        if nth % 3 == 0 {
            let user = format!("user{nth}");
            for step in 0..draw.from_to(1, 4) {
                complains(log, draw, service, at + 30.0 + step as f64 * 8.0, who, Complaint::Password(&user));
            }
        }
    }
    // A program with an old password.
    let job = draw.address();
    for nth in 0..280 {
        complains(log, draw, service, DAY + 9.0 + f64::from(nth) * 300.0, job, Complaint::Password("report"));
    }
}

pub(crate) fn guesses(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["credential-attack"], service);
    for single in [true, false] {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for _ in 0..draw.from_to(30, 200) {
            at += draw.gap(3.0);
            let what = match draw.below(2) {
                0 if !single => Complaint::NoUser(draw.pick(&["root", "test", "guest"])),
                _ if single => Complaint::Password("admin"),
                _ => Complaint::Password(draw.pick(&["anna", "admin", "john smith"])),
            };
            complains(log, draw, service, at, who, what).counts(attack);
        }
    }
}

pub(crate) fn scans(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["scanner"], service);
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    for nth in 0..draw.from_to(40, 120) {
        at += draw.gap(1.0);
        let path = [
            "/.env",
            "/.git/config",
            "/.htpasswd",
            "/.svn/entries",
            "/wp-config.php",
            "/.aws/credentials",
            "/server-status",
        ][nth as usize % 7];
        complains(log, draw, service, at, who, Complaint::Closed(path)).counts(attack);
    }
}

pub(crate) const ATTACKS: &[(&str, Part)] =
    &[("complaints of guesses", guesses), ("complaints of scans", scans)];
