//! `mail-dictionary`: some addresses try words as users and passwords at a mail server, stay connected without a word, and
//! knock without ever completing a handshake, until its login processes and its queue are used up and the banner is slow
//! for everybody (story S2).

use super::Scenario;
use super::parts::{Counts, Neighbourhood, argv, base_setup, file, shell, site, sources};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, FilePlan, HostPlan, MailPlan, Plan, Server, Truth, Way};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "mail-dictionary",
    about: "a POP3 dictionary attack and half-open connections use up dovecot's login processes: the banner is slow (dovecot, postfix)",
    draw,
};

const WORDS: &[&str] = &[
    "family",
    "edward",
    "info",
    "sales",
    "test",
    "backup",
    "scanner",
    "office",
    "admin",
    "webmaster",
    "support",
    "contact",
    "billing",
    "david",
    "anna",
    "peter",
    "accounts",
    "printer",
];
const NAMES: &[&str] = &["haru", "sora", "yui", "mei", "ren", "aoi", "mio", "riku", "hina", "yuto"];

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 40..=60, client_prefixes: 20..=30, attacker_prefixes: 1..=2 };
    let who = Neighbourhood::draw(draw, counts)?;
    let processes = draw.number("login-processes", 20..=30)?;
    let connections = draw.number("attack-connections", processes * 3..=processes * 4)?;
    let half_open = draw.number("half-open", 40..=60)?;
    let addresses = draw.number("attacker-addresses", 2..=5)?;
    let auth_verbose = draw.number("auth-verbose", 0..=1)? != 0;
    let fetches = draw.number("fetches-per-10s", 12..=20)?;
    let (site_plan, _) = site(draw.rng(), "/contact");
    let (attackers, sources) =
        sources(draw.rng(), &who.attacker_prefixes, addresses as usize, connections as usize);
    let mut target = who.web;
    target.set_port(110);

    let people: Vec<_> = who.clients[1..]
        .iter()
        .enumerate()
        .map(|(n, address)| {
            let name = format!("{}{}", draw.rng().choice(NAMES).unwrap_or(&"haru"), n);
            (*address, name, format!("p{:08x}", draw.rng().u32(..)))
        })
        .collect();
    // Most try a password and wait to be sent away; some never say a word.
    let mut requests: Vec<String> = WORDS
        .iter()
        .map(|word| format!("USER {word}\r\nPASS {word}{}\r\n", draw.rng().u16(1..2000)))
        .collect();
    requests.extend(std::iter::repeat_n(String::new(), WORDS.len() / 3));
    let mut clients = who.clients_plan(draw, target, site_plan.clone())?;
    clients.patience_ms = 20_000;
    clients.mail = Some(MailPlan {
        fetches_per_s: fetches as f64 / 10.0,
        monitor: who.clients[0],
        people: people.clone(),
    });
    let mut admin = who.admin_plan(&site_plan);
    admin.pages.clear();

    let host = HostPlan {
        name: "mail1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: None,
        files: files(&people, processes, auth_verbose),
        setup: [
            base_setup(),
            vec![
                shell("getent passwd vmail >/dev/null || useradd --system --uid 5000 --user-group --home-dir /var/vmail vmail"),
                argv("install -d -o vmail -g vmail -m 770 /var/vmail"),
                argv("chown root:dovecot /etc/dovecot/users"),
            ],
        ]
        .concat(),
        services: vec![
            argv("rsyslogd"),
            argv("service ssh start"),
            argv("service postfix start"),
            argv("service dovecot start"),
        ],
    };
    let server = Server { host: "mail1".into(), port: 110, ..who.server(processes, None, None) };
    let truth = Truth {
        where_: [("service".into(), "dovecot".into())].into(),
        ..who.truth("credential-attack", server, attackers, connections)
    };
    let attack = AttackPlan {
        target,
        also: Vec::new(),
        prefixes: who.attacker_prefixes.clone(),
        sources,
        patience_ms: 9_000,
        requests,
        way: Way::HalfOpen(half_open),
    };
    Ok(Plan { lan: who.lan, hosts: vec![host], clients, admin, attack, truth })
}

fn files(
    people: &[(std::net::Ipv4Addr, String, String)],
    processes: u64,
    auth_verbose: bool,
) -> Vec<FilePlan> {
    let users: String = people
        .iter()
        .map(|(_, user, password)| format!("{user}:{{PLAIN}}{password}:5000:5000::/var/vmail/{user}::\n"))
        .collect();
    let verbose = if auth_verbose { "yes" } else { "no" };
    vec![
        file(
            "/etc/dovecot/conf.d/10-auth.conf",
            "disable_plaintext_auth = no\nauth_mechanisms = plain login\n!include auth-passwdfile.conf.ext\n",
        ),
        file(
            "/etc/dovecot/local.conf",
            format!(
                "mail_location = maildir:~/Maildir\nssl = no\nauth_verbose = {verbose}\nfirst_valid_uid = 100\n\
                 service pop3-login {{\n  process_limit = {processes}\n}}\n"
            ),
        ),
        FilePlan { mode: 0o640, ..file("/etc/dovecot/users", users) },
        file("/etc/postfix/main.cf", MAIN_CF),
    ]
}

/// A mail server that takes mail for its own users.
pub(super) const MAIN_CF: &str = "smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)\n\
    biff = no\n\
    append_dot_mydomain = no\n\
    compatibility_level = 3.6\n\
    mydestination = $myhostname, localhost.localdomain, localhost\n\
    mynetworks = 127.0.0.0/8\n\
    inet_protocols = ipv4\n\
    alias_maps =\n\
    alias_database =\n";
