//! What a stranger may write into a service's log, an account's name, a HELO, a path, never makes someone else the
//! client: neither by looking like the rest of the line nor by looking like a whole one.

#![expect(clippy::unwrap_used, reason = "a test says no better what went wrong")]

use std::net::IpAddr;

use proptest::prelude::*;
use toban_model::Time;
use toban_model::event::Event;
use toban_parse::{Clock, Format, formats, show};

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

/// Lines by format; `{}` is what the stranger at 192.0.2.7 writes. The client is known where they write no more than a
/// name.
const LINES: &[(&str, &[&str])] = &[
    (
        "sshd",
        &[
            "Nov 22 10:23:44 web1 sshd[7]: Failed password for invalid user {} from 192.0.2.7 port 4 ssh2",
            "Nov 22 10:23:44 web1 sshd[7]: Failed none for invalid user {} from 192.0.2.7 port 4 ssh2",
            "Nov 22 10:23:44 web1 sshd[7]: Failed keyboard-interactive/pam for invalid user {} from 192.0.2.7 port 4 ssh2 [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: Failed publickey for invalid user {} from 192.0.2.7 port 4 ssh2: RSA SHA256:v3dp",
            "Nov 22 10:23:44 web1 sshd[7]: Failed publickey for root from 192.0.2.7 port 4 ssh2: RSA-CERT SHA256:x ID {} (serial 0) CA RSA SHA256:y",
            "Nov 22 10:23:44 web1 sshd[7]: Failed hostbased for invalid user {} from 192.0.2.7 port 4 ssh2: RSA SHA256:x, client user \"{}\", client host \"{}\"",
            "Nov 22 10:23:44 web1 sshd[7]: message repeated 2 times: [ Failed password for invalid user {} from 192.0.2.7 port 4 ssh2]",
            "Nov 22 10:23:44 web1 sshd[7]: Invalid user {} from 192.0.2.7 port 4",
            "Nov 22 10:23:44 web1 sshd[7]: Invalid user {} from 192.0.2.7",
            "Nov 22 10:23:44 web1 sshd[7]: Connection closed by authenticating user {} 192.0.2.7 port 4 [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: Connection reset by invalid user {} 192.0.2.7 port 4 [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: Disconnected from authenticating user {} 192.0.2.7 port 4 [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: Disconnecting invalid user {} 192.0.2.7 port 4: Change of username or service not allowed: ({},ssh-connection) -> ({},ssh-connection) [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: error: maximum authentication attempts exceeded for invalid user {} from 192.0.2.7 port 4 ssh2 [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: error: PAM: Authentication failure for illegal user {} from 192.0.2.7",
            "Nov 22 10:23:44 web1 sshd[7]: Bad protocol version identification '{}' from 192.0.2.7 port 4",
            "Nov 22 10:23:44 web1 sshd[7]: Received disconnect from 192.0.2.7 port 4:11: {} [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: Unable to negotiate with 192.0.2.7 port 4: no matching cipher found. Their offer: {} [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: ssh_dispatch_run_fatal: Connection from invalid user {} 192.0.2.7 port 4: Connection corrupted [preauth]",
            "Nov 22 10:23:44 web1 sshd[7]: reverse mapping checking getaddrinfo for {} [192.0.2.7] failed.",
            "Nov 22 10:23:44 web1 sshd[7]: Address 192.0.2.7 maps to {}, but this does not map back to the address.",
            "Nov 22 10:23:44 web1 sshd[7]: refused connect from {} (192.0.2.7)",
            "Nov 22 10:23:44 web1 sshd[7]: pam_sss(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser={} rhost=192.0.2.7 user={}",
        ],
    ),
    (
        "dovecot",
        &[
            "Nov 22 10:23:44 mx1 dovecot: imap-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, TLS",
            "Nov 22 10:23:44 pop3-login: Info: Aborted login (auth failed, 1 attempts in 2 secs): user=<{}>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1",
            "Nov 22 10:23:44 mx1 dovecot: auth: passwd-file({},192.0.2.7,<6brQWt/vCADDhP/+>): unknown user",
            "Nov 22 10:23:44 mx1 dovecot: auth-worker(9): conn unix:auth-worker (uid=143): auth-worker<1>: sql({},192.0.2.7): Password mismatch",
        ],
    ),
    (
        "postfix",
        &[
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: UGFz, sasl_username={}",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <{}>: Relay access denied; from=<{}> to=<{}> proto=ESMTP helo=<{}>",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: improper command pipelining after EHLO from unknown[192.0.2.7]: {}",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: non-SMTP command from unknown[192.0.2.7]: {}",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: unknown[192.0.2.7]: request longer than 2048: {}",
            "Nov 22 10:23:44 mx1 postfix/postscreen[7]: PREGREET 14 after 0.08 from [192.0.2.7]:59415: {}",
        ],
    ),
    (
        "vsftpd",
        &[
            "Sun Nov 22 10:23:44 2026 [pid 7] [{}] FAIL LOGIN: Client \"192.0.2.7\"",
            "Sun Nov 22 10:23:44 2026 [pid 7] [ftp] OK LOGIN: Client \"192.0.2.7\", anon password \"{}\"",
            "Sun Nov 22 10:23:44 2026 [pid 7] [ftp] FAIL DOWNLOAD: Client \"192.0.2.7\", \"{}\", 0.00Kbyte/sec",
            "Sun Nov 22 10:23:44 2026 [pid 7] FTP command: Client \"192.0.2.7\", \"{}\"",
            "Nov 22 10:23:44 ftp1 vsftpd: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser={} rhost=192.0.2.7",
        ],
    ),
    (
        "mysql-error",
        &[
            "2026-11-22T01:23:44.123456Z 12 [Note] [MY-010926] [Server] Access denied for user '{}'@'192.0.2.7' (using password: YES)",
            "2026-11-22 10:23:44 5 [Warning] Access denied for user '{}'@'192.0.2.7'",
            "2026-11-22 10:23:44 5 [Warning] Aborted connection 5 to db: '{}' user: '{}' host: '192.0.2.7' (Got timeout reading communication packets)",
        ],
    ),
    (
        "apache-error",
        &[
            "[Sun Nov 22 10:24:04.168259 2026] [auth_basic:error] [pid 143] [client 192.0.2.7:51390] AH01618: user {} not found: /{}, referer: {}",
            "[Sun Nov 22 10:24:04 2026] [error] [client 192.0.2.7] user {} not found: /{}",
        ],
    ),
    (
        "nginx-error",
        &[
            "2026/11/22 10:23:44 [error] 7#7: *9 user \"{}\": password mismatch, client: 192.0.2.7, server: _, request: \"GET /{} HTTP/1.1\", host: \"{}\", referrer: \"{}\"",
            "2026/11/22 10:23:44 [error] 7#7: *9 access forbidden by rule, client: 192.0.2.7, server: _, request: \"GET /{} HTTP/1.1\", host: \"{}\"",
            "2026/11/22 10:23:44 [error] 7#7: *9 open() \"/srv/{}\" failed (2: No such file or directory), client: 192.0.2.7, server: _, request: \"GET /{} HTTP/1.1\"",
        ],
    ),
];

/// Pieces of lines with someone else's address, and what may stand around them.
const PIECES: &[&str] = &[
    " from 203.0.113.9 port 22 ssh2",
    " from 203.0.113.9 port 22 ssh2: RSA SHA256:x",
    " from 203.0.113.9 port 22",
    " from 203.0.113.9",
    " 203.0.113.9 port 22",
    " 203.0.113.9 port 22: ",
    " [preauth]",
    "]",
    " [203.0.113.9] failed.",
    " (203.0.113.9)",
    " rhost=203.0.113.9  user=root",
    ">, method=PLAIN, rip=203.0.113.9, lip=192.0.2.1, TLS",
    " rip=203.0.113.9",
    ",203.0.113.9): unknown user",
    ",203.0.113.9,<6brQWt/vCADDhP/+>): Password mismatch",
    " from unknown[203.0.113.9]: ",
    "unknown[203.0.113.9]: SASL LOGIN authentication failed: UGFz, sasl_username=x",
    "; from=<a@b> to=<c@d> proto=ESMTP helo=<x>",
    "] FAIL LOGIN: Client \"203.0.113.9\"",
    ": Client \"203.0.113.9",
    "\"",
    "'@'203.0.113.9' (using password: YES)",
    "'@'203.0.113.9",
    "' host: '203.0.113.9' (Got timeout",
    "[client 203.0.113.9:51390] AH01618: ",
    " not found: /",
    ", client: 203.0.113.9, server: _, request: \"",
    "\": password mismatch, client: 203.0.113.9, server: _, request: \"GET / HTTP/1.1\"",
    "sshd[7]: Failed password for root from 203.0.113.9 port 22 ssh2",
    "Nov 22 10:23:44 web1 sshd[7]: Failed password for root from 203.0.113.9 port 22 ssh2",
    "2026/11/22 10:23:44 [error] 7#7: *9 access forbidden by rule, client: 203.0.113.9, server: _",
    "Sun Nov 22 10:23:44 2026 [pid 7] [x] FAIL LOGIN: Client \"203.0.113.9\"",
    "invalid user ",
    "x",
    ": ",
    " ",
    "",
];

fn read(format: &str, line: &str) -> (Option<IpAddr>, String) {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    let mut format = Format::from_name_or_string(format, &clock).unwrap();
    let event = format.parse(line.as_bytes());
    let shown = event.as_ref().map(show).unwrap_or_default();
    let client = match event {
        Some(Event::Service(said)) => said.client,
        Some(Event::Error(error)) => error.peer,
        _ => None,
    };
    (client, shown)
}

/// All lines, and those that come through syslog once more as lines of a mixed file.
fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    LINES.iter().flat_map(|(format, lines)| {
        lines.iter().flat_map(move |line| {
            let mixed = line.starts_with("Nov 22 10:23:44 ") && line.contains("1 ");
            std::iter::once((*format, *line)).chain(mixed.then_some(("syslog", *line)))
        })
    })
}

#[test]
fn a_plain_name_leaves_the_client_named() {
    for (format, line) in lines() {
        let (client, shown) = read(format, &line.replace("{}", "bob"));
        // A log of Dovecot's own is no syslog file.
        if !(format == "syslog" && line.contains("Info: ")) {
            assert_eq!(client, Some(STRANGER), "{format}: {line}\n{shown}");
        }
    }
}

#[test]
fn a_sample_as_a_name_names_nobody_else() {
    for sample in formats::ALL.iter().flat_map(|unit| unit.samples) {
        // With every address of the sample someone else's.
        let name = sample
            .line
            .replace("198.51.100.11", "203.0.113.9")
            .replace("192.0.2.10", "203.0.113.9")
            .replace("2001:db8::7", "203.0.113.9");
        for name in name.split('\n') {
            for (format, line) in lines() {
                let (client, shown) = read(format, &line.replace("{}", name));
                assert!(client.is_none_or(|client| client == STRANGER), "{format}: {shown}");
            }
        }
    }
}

#[test]
fn a_host_name_is_no_address() {
    for name in
        ["203.0.113.9", "x[203.0.113.9]", "[203.0.113.9]", "203.0.113.9]", "a[203.0.113.9", "203.0.113.9]:["]
    {
        for line in [
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: {}[192.0.2.7]: SASL LOGIN authentication failed: UGFz",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from {}[192.0.2.7]: 554 5.7.1 <a@b>: Relay access denied; from=<> to=<a@b> proto=ESMTP helo=<x>",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: lost connection after UNKNOWN from {}[192.0.2.7]",
            "Nov 22 10:23:44 mx1 postfix/smtpd[7]: 4Fk2Dz1Mq0z9: client={}[192.0.2.7], sasl_method=PLAIN, sasl_username=a",
        ] {
            let (client, shown) = read("postfix", &line.replace("{}", name));
            assert!(client.is_none_or(|client| client == STRANGER), "{shown}");
        }
    }
}

#[test]
fn where_two_readings_are_possible_nobody_is_named() {
    let check = |format: &str, line: &str| assert_eq!(read(format, line).0, None, "{line}");
    check(
        "sshd",
        "Nov 22 10:23:44 web1 sshd[7]: Failed publickey for invalid user x from 203.0.113.9 port 22 ssh2: RSA from 192.0.2.7 port 4 ssh2: RSA SHA256:v3dp",
    );
    check(
        "vsftpd",
        "Sun Nov 22 10:23:44 2026 [pid 7] [x] FAIL LOGIN: Client \"203.0.113.9\"] FAIL LOGIN: Client \"192.0.2.7\"",
    );
    check(
        "dovecot",
        "Nov 22 10:23:44 mx1 dovecot: imap-login: Login: user=<x>, rip=203.0.113.9, lip=1>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1",
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_else_is_named(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 1..5),
        places in prop::collection::vec(any::<bool>(), 4),
    ) {
        let name = pieces.concat();
        for (format, line) in lines() {
            // Everywhere, or only in some of the places.
            let mut parts = line.split("{}");
            let mut forged = parts.next().unwrap().to_owned();
            for (place, part) in parts.enumerate() {
                forged.push_str(if places[place] { &name } else { "bob" });
                forged.push_str(part);
            }
            let (client, shown) = read(format, &forged);
            prop_assert!(client.is_none_or(|client| client == STRANGER), "{}: {}\n{}", format, forged, shown);
        }
    }
}
