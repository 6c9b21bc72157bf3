//! Strangers write a victim's address into all that they can write: names, paths, agents, the name of their own address.
//! Whatever a log is made of, the victim is never in what the program says.

use std::fmt::Write as _;
use std::path::Path;

use crate::check::scan;
use crate::draw::Draw;

const VICTIMS: [&str; 2] = ["203.0.113.9", "2001:db8:bad::9"];
/// Who attack, and forge.
const OWN: [&str; 3] = ["198.51.100.11", "2001:db8::7", "192.0.2.44"];

/// One kind of line of an attack. `@` is who really wrote it, `~` the second, and `¤` what they like.
struct Line {
    format: &'static str,
    line: &'static str,
    write: fn(&str) -> String,
}

const fn line(format: &'static str, line: &'static str, write: fn(&str) -> String) -> Line {
    Line { format, line, write }
}

const LINES: &[Line] = &[
    line(
        "combined",
        r#"@ - - [22/Nov/2026:01:2~ +0000] "POST /wp-login.php HTTP/1.1" 200 5 "¤" "¤""#,
        apache,
    ),
    line("combined user", r#"@ - ¤ [22/Nov/2026:01:2~ +0000] "GET /x HTTP/1.1" 401 5 "-" "¤""#, apache),
    line("combined path", r#"@ - - [22/Nov/2026:01:2~ +0000] "GET /.env?¤ HTTP/1.1" 404 5 "-" "¤""#, apache),
    line("combined garbage", r#"@ - - [22/Nov/2026:01:2~ +0000] "¤" 400 5 "-" "-""#, apache),
    line(
        "vhost",
        r#"www:443 @ - ¤ [22/Nov/2026:01:2~ +0000] "POST /wp-login.php HTTP/1.1" 200 5 "¤" "¤""#,
        apache,
    ),
    line(
        "nginx",
        r#"@ - ¤ [22/Nov/2026:01:2~ +0000] "POST /wp-login.php HTTP/1.1" 200 5 "¤" "¤" "¤""#,
        nginx,
    ),
    line(
        "json",
        r#"{"time_iso8601":"2026-11-22T01:2~+00:00","http_user_agent":"¤","remote_addr":"@","remote_user":"¤","request":"POST /wp-login.php HTTP/1.1","status":"200","http_referer":"¤","http_x_forwarded_for":"¤"}"#,
        json,
    ),
    line("iis", "2026-11-22 01:2~ 10.0.0.5 POST /wp-login.php ¤ 443 ¤ @ ¤ ¤ 200 0 0 125", |text| {
        text.replace([' ', '\n'], "+")
    }),
    line(
        "haproxy",
        r#"Nov 22 10:2~ lb1 haproxy[1]: @:5 [22/Nov/2026:10:2~.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 {¤} "POST /wp-login.php?¤ HTTP/1.1""#,
        haproxy,
    ),
    line(
        "apache-error",
        "[Sun Nov 22 10:2~.168259 2026] [auth_basic:error] [pid 143] [client @:5] AH01618: user ¤ not found: /¤, referer: ¤",
        apache,
    ),
    line(
        "nginx-error",
        r#"2026/11/22 10:2~ [error] 7#7: *9 user "¤": password mismatch, client: @, server: _, request: "GET /¤ HTTP/1.1", host: "¤", referrer: "¤""#,
        as_it_is,
    ),
    line(
        "sshd",
        "Nov 22 10:2~ web1 sshd[7]: Failed password for invalid user ¤ from @ port 4 ssh2",
        as_it_is,
    ),
    line("sshd name", "2026-11-22T10:2~+09:00 web1 sshd[7]: Invalid user ¤ from @ port 4", as_it_is),
    line(
        "sshd end",
        "Nov 22 10:2~ web1 sshd[7]: Connection closed by authenticating user ¤ @ port 4 [preauth]",
        as_it_is,
    ),
    line(
        "sshd words",
        "Nov 22 10:2~ web1 sshd[7]: Bad protocol version identification '¤' from @ port 4",
        as_it_is,
    ),
    line("sshd host", "Nov 22 10:2~ web1 sshd[7]: refused connect from ¤ (@)", as_it_is),
    line(
        "dovecot",
        "Nov 22 10:2~ mx1 dovecot: imap-login: Disconnected (auth failed, 3 attempts in 9 secs): user=<¤>, method=PLAIN, rip=@, lip=10.0.0.1, TLS",
        as_it_is,
    ),
    line(
        "postfix",
        "Nov 22 10:2~ mx1 postfix/smtpd[7]: warning: unknown[@]: SASL LOGIN authentication failed: UGFz, sasl_username=¤",
        as_it_is,
    ),
    line(
        "postfix relay",
        "Nov 22 10:2~ mx1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[@]: 554 5.7.1 <¤>: Relay access denied; from=<¤> to=<¤> proto=ESMTP helo=<¤>",
        as_it_is,
    ),
    line("vsftpd", "Sun Nov 22 10:2~ 2026 [pid 7] [¤] FAIL LOGIN: Client \"@\"", as_it_is),
    line(
        "mysql",
        "2026-11-22 10:2~ 5 [Warning] Access denied for user '¤'@'@' (using password: YES)",
        as_it_is,
    ),
    line(
        "lighttpd-error",
        "2026-11-22 10:2~: (mod_auth.c.828) password doesn't match for /x username: ¤ IP: @",
        as_it_is,
    ),
];

fn apache(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn nginx(text: &str) -> String {
    text.replace('\\', "\\x5C").replace('"', "\\x22").replace('\n', "\\x0A")
}

fn json(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn haproxy(text: &str) -> String {
    text.replace('#', "#23")
        .replace('"', "#22")
        .replace('{', "#7B")
        .replace('}', "#7D")
        .replace('|', "#7C")
        .replace('\n', "#0A")
}

fn as_it_is(text: &str) -> String {
    text.replace('\n', "")
}

/// Lines of all kinds about a victim, and pieces of them that end or begin within a field.
fn forged(draw: &mut Draw, victim: &str) -> String {
    let whole = LINES[draw.below(LINES.len() as u64) as usize].line.replace('@', victim).replace("~", "3:44");
    let whole = whole.replace('¤', "root");
    let words: Vec<&str> = whole.split(' ').collect();
    let (from, to) = (draw.below(words.len() as u64) as usize, words.len());
    match draw.below(6) {
        0 => whole,
        1 => format!("x\" 200 5 \"-\" \"-\"\n{whole}"),
        2 => format!("root from {victim} port 22 ssh2"),
        3 => words[from..to].join(" "),
        4 => format!("x{}", words[..=from.min(to - 1)].join(" ")),
        _ => victim.to_owned(),
    }
}

#[test]
fn a_victim_is_never_in_what_is_said() {
    let mut wrong = Vec::new();
    for seed in crate::seeds() {
        for kind in LINES {
            let mut draw = Draw::new(seed, kind.format);
            let mut text = String::new();
            for nth in 0..500 {
                let victim = VICTIMS[nth % 2];
                let second = format!("{}:{:02}", nth / 60, nth % 60);
                let mut line = kind.line.replace('@', OWN[nth % 3]).replace('~', &second);
                while let Some(at) = line.find('¤') {
                    let forged =
                        if draw.one_in(3) { "x".into() } else { (kind.write)(&forged(&mut draw, victim)) };
                    line.replace_range(at..at + '¤'.len_utf8(), &forged);
                }
                writeln!(text, "{line}").unwrap();
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("forged.log");
            std::fs::write(&path, &text).unwrap();
            let victims = named(&path);
            if !victims.is_empty() {
                let _kept = dir.keep();
                wrong.push(format!("{}, seed {seed}, {}: {victims:?}", kind.format, path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is said of whom, beyond those who really wrote.
fn named(path: &Path) -> Vec<String> {
    let (said, errors, code) =
        scan(&["--top", "50", "--tz", "Asia/Tokyo", "--now", "2026-11-23T00:00:00Z", path.to_str().unwrap()]);
    assert!(code == 0, "{}: {errors}", path.display());
    let mut wrong = Vec::new();
    for object in said {
        let who = if object["top"].is_string() {
            // What was asked for, and with which agent, is told as it came.
            match object["top"].as_str().unwrap() {
                "address" | "prefix" => object["value"].to_string(),
                _ => object["value"]["address"].to_string(),
            }
        } else {
            format!("{} {} {}", object["client"], object["prefix"], object["clients"])
        };
        if ["203.0", "2001:db8:bad"].iter().any(|victim| who.contains(victim)) {
            wrong.push(object.to_string());
        }
    }
    wrong
}

/// The server looks names up, and whoever owns an address chooses its name: an address, why not.
#[test]
fn the_name_of_an_address_is_nobodys_address() {
    let mut text = String::new();
    for nth in 0..60_000 {
        // The attacker's own name comes often, and other names only in the middle of the log.
        let who = if nth == 20_000 { "host-9.example.net" } else { VICTIMS[0] };
        let (minute, second) = (nth / 60 % 60, nth % 60);
        writeln!(
            text,
            r#"{who} - - [22/Nov/2026:01:{minute:02}:{second:02} +0000] "POST /wp-login.php HTTP/1.1" 200 5 "-" "x""#
        )
        .unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("names.log");
    std::fs::write(&path, text).unwrap();
    let (said, errors, _) = scan(&["--threads", "2", path.to_str().unwrap()]);
    assert!(said.is_empty(), "{said:?}");
    assert!(errors.contains("names"), "{errors}");
}
