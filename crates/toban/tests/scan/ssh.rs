//! A day of sshd: people, jobs and monitors that log in or only knock, and those who guess.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::log::{DAY, DAY_S, Log};

const SERVICE: &str = "sshd";
const GUESS: &[&str] = &["credential-attack"];
const SPREAD: &[&str] = &["distributed-credential-attack", "credential-attack"];
const KEY: &str = "ED25519 SHA256:Qm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0Z2FycGx5";
const NAMES: [&str; 14] = [
    "admin",
    "test",
    "oracle",
    "ubuntu",
    "postgres",
    "user",
    "ftp",
    "guest",
    "pi",
    "hadoop",
    "es",
    "steam",
    "support",
    "john smith",
];
const PEOPLE: [&str; 6] = ["anna", "piotr", "yuki", "marta", "deploy", "EXAMPLE\\jonas"];

/// One connection: its process and port.
struct Session<'a> {
    log: &'a mut Log,
    pid: u64,
    port: u64,
    who: IpAddr,
}

impl<'a> Session<'a> {
    fn new(log: &'a mut Log, draw: &mut Draw, who: IpAddr) -> Session<'a> {
        let pid = 100 + log.entries.len() as u64 * 3 % 4_000_000 + draw.below(3);
        Session { log, pid, port: draw.between(1_025, 65_535), who }
    }

    fn says(&mut self, at: f64, text: &str) -> &mut crate::log::Entry {
        let text = text.replace("ADDR", &self.who.to_string()).replace("PORT", &self.port.to_string());
        self.log.said(at, Some(self.who), "sshd", self.pid, text)
    }

    /// A wrong password for an account that exists.
    fn fails(&mut self, at: f64, name: &str, attack: Option<usize>) {
        self.says(at, &format!("pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=ADDR  user={name}"));
        let entry = self.says(at + 1.5, &format!("Failed password for {name} from ADDR port PORT ssh2"));
        if let Some(attack) = attack {
            entry.counts(attack);
        }
    }

    /// And for one that does not.
    fn fails_unknown(&mut self, at: f64, name: &str, attack: Option<usize>) {
        let lines = [
            format!("Invalid user {name} from ADDR port PORT"),
            format!("Failed password for invalid user {name} from ADDR port PORT ssh2"),
        ];
        for (nth, line) in lines.iter().enumerate() {
            let entry = self.says(at + nth as f64 * 1.2, line);
            if let Some(attack) = attack {
                entry.counts(attack);
            }
        }
        self.says(at + 1.3, &format!("Connection closed by invalid user {name} ADDR port PORT [preauth]"));
    }

    fn logs_in(&mut self, at: f64, name: &str, how: &str) {
        let behind = if how == "publickey" { format!(": {KEY}") } else { String::new() };
        self.says(at, &format!("Accepted {how} for {name} from ADDR port PORT ssh2{behind}"));
        self.says(
            at + 0.1,
            &format!("pam_unix(sshd:session): session opened for user {name}(uid=1001) by (uid=0)"),
        );
        self.says(at + 60.0, "Received disconnect from ADDR port PORT:11: disconnected by user");
        self.says(at + 60.1, &format!("Disconnected from user {name} ADDR port PORT"));
    }
}

/// Somebody tries a password, for an account that exists as it seems.
pub(crate) fn guess(log: &mut Log, draw: &mut Draw, at: f64, who: IpAddr, name: &str, attack: Option<usize>) {
    let mut session = Session::new(log, draw, who);
    if PEOPLE.contains(&name) || name == "root" {
        session.fails(at, name, attack);
    } else {
        session.fails_unknown(at, name, attack);
    }
}

pub(crate) fn enter(log: &mut Log, draw: &mut Draw, at: f64, who: IpAddr, name: &str) {
    Session::new(log, draw, who).logs_in(at, name, "password");
}

/// An ordinary day of a server that is on the Internet.
pub(crate) fn usual(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let places: Vec<IpAddr> = (0..20).map(|_| draw.address()).collect();
    for _ in 0..draw.between(150, 300) {
        let at = DAY + draw.below(DAY_S as u64 - 200) as f64;
        let place = draw.below(20) as usize;
        let name = PEOPLE[place % PEOPLE.len()];
        Session::new(log, draw, places[place]).logs_in(at, name, "publickey");
    }
    // From each of many addresses one try, or none.
    for _ in 0..draw.between(60, 150) {
        let (who, at) = (draw.address(), DAY + draw.below(DAY_S as u64 - 10) as f64);
        let name = format!("{}{}", draw.pick(&NAMES), draw.below(1000));
        let kind = draw.below(4);
        let mut session = Session::new(log, draw, who);
        match kind {
            0 => session.fails_unknown(at, &name, None),
            _ => {
                session.says(
                    at,
                    draw.pick(&[
                        "Connection closed by ADDR port PORT [preauth]",
                        "Did not receive identification string from ADDR port PORT",
                        "banner exchange: Connection from ADDR port PORT: invalid format",
                    ]),
                );
            }
        }
    }
}

/// The rest of what is in such a file.
pub(crate) fn others(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for nth in 0..1440 {
        let (at, pid) = (DAY + f64::from(nth) * 60.0 + 1.0, 3000 + nth as u64 * 7);
        log.said(
            at,
            None,
            "CRON",
            pid,
            "pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)".into(),
        );
        log.said(at + 0.5, None, "CRON", pid, "pam_unix(cron:session): session closed for user root".into());
        if draw.one_in(9) {
            let text =
                "  anna : TTY=pts/1 ; PWD=/home/anna ; USER=root ; COMMAND=/usr/bin/systemctl status app";
            log.said(at + 7.0, None, "sudo", pid + 1, text.into());
        }
    }
}

pub(crate) fn mistypes(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for nth in 0..15 {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        let name = PEOPLE[nth % PEOPLE.len()];
        let tries = draw.between(1, 4);
        let wrong_name = draw.one_in(4);
        let mut session = Session::new(log, draw, who);
        for _ in 0..tries {
            if wrong_name {
                session.fails_unknown(at, &name[1..], None);
            } else {
                session.fails(at, name, None);
            }
            at += 7.0;
        }
        session.logs_in(at, name, "password");
    }
}

pub(crate) fn forgets(log: &mut Log, draw: &mut Draw, _: &'static str) {
    // Two give it up.
    for (nth, name) in PEOPLE.into_iter().take(6).chain(["lena", "lena"]).enumerate() {
        let (who, mut at) = (draw.address(), DAY + draw.below(70_000) as f64);
        for _ in 0..6 {
            at += draw.between(10, 590) as f64;
            Session::new(log, draw, who).fails(at, name, None);
        }
        if nth < 6 {
            Session::new(log, draw, who).logs_in(at + 100.0, name, "password");
        }
    }
}

/// Opens and closes a connection each minute, and each quarter of a minute, as three kinds of monitors do.
pub(crate) fn monitors(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for (every, text) in [
        (60.0, "Did not receive identification string from ADDR port PORT"),
        (15.0, "Connection closed by ADDR port PORT [preauth]"),
        (120.0, "Bad protocol version identification 'GET / HTTP/1.0' from ADDR port PORT"),
        (3.0, "banner exchange: Connection from ADDR port PORT: could not read protocol version"),
        (10.0, "Did not receive identification string from ADDR port PORT"),
    ] {
        let who = if every == 3.0 { "10.0.0.7".parse().unwrap() } else { draw.address() };
        let mut at = DAY + draw.below(60) as f64;
        while at < DAY + DAY_S - 100.0 {
            // It is restarted now and then.
            if draw.one_in(1500) {
                at += 300.0;
            }
            Session::new(log, draw, who).says(at + draw.below(10) as f64 / 10.0, text);
            at += every * if every == 3.0 { 4.0 } else { 1.0 };
        }
    }
}

/// A job that logs in by its key each minute; one with a password that was changed, every ten minutes, and one that
/// tries three times in a row; one that knows only ciphers of long ago, each hour.
pub(crate) fn jobs(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let all = [draw.address(), draw.address(), draw.address(), draw.address()];
    for minute in 0..1435 {
        let at = DAY + f64::from(minute) * 60.0 + 2.0;
        if minute % 2 == 0 {
            Session::new(log, draw, all[0]).logs_in(at, "backup", "publickey");
        }
        if minute % 10 == 3 {
            Session::new(log, draw, all[1]).fails(at, "report", None);
            let mut session = Session::new(log, draw, all[2]);
            for nth in 0..3 {
                session.fails(at + f64::from(nth) * 2.5, "root", None);
            }
            session.says(at + 8.0, "Connection closed by authenticating user root ADDR port PORT [preauth]");
        }
        if minute % 60 == 9 {
            Session::new(log, draw, all[3]).says(
                at,
                "Unable to negotiate with ADDR port PORT: no matching key exchange method found. Their offer: diffie-hellman-group1-sha1 [preauth]",
            );
        }
    }
}

/// Many people behind one address, of whom some mistype.
pub(crate) fn office(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let who = draw.v4().into();
    for person in 0..200 {
        let (name, mut at) = (format!("user{person}"), DAY + 30_000.0 + draw.below(30_000) as f64);
        if draw.one_in(4) {
            for _ in 0..draw.between(1, 3) {
                Session::new(log, draw, who).fails(at, &name, None);
                at += 9.0;
            }
        }
        if draw.one_in(30) {
            Session::new(log, draw, who).fails_unknown(at, "usr", None);
        }
        Session::new(log, draw, who).logs_in(at + 5.0, &name, "password");
    }
}

pub(crate) fn guesses_quickly(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(GUESS, SERVICE);
    for nth in 0..draw.between(2, 4) {
        let (who, mut at) = (draw.address(), DAY + draw.below(70_000) as f64);
        let mean = draw.between(1, 20) as f64;
        for _ in 0..draw.between(20, 300) {
            at += draw.gap(mean);
            let mut session = Session::new(log, draw, who);
            match draw.below(if nth == 0 { 1 } else { 3 }) {
                0 => {
                    session.fails(at, "root", Some(attack));
                    session.says(
                        at + 1.6,
                        "Disconnected from authenticating user root ADDR port PORT [preauth]",
                    );
                }
                // Where only keys are let in.
                1 => {
                    session
                        .says(at, "Connection closed by authenticating user root ADDR port PORT [preauth]")
                        .counts(attack);
                }
                _ => session.fails_unknown(at, draw.pick(&NAMES), Some(attack)),
            }
        }
        if draw.one_in(3) {
            Session::new(log, draw, who).logs_in(at + 3.0, "root", "password");
        }
    }
}

pub(crate) fn guesses_slowly(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(GUESS, SERVICE);
    for by_the_clock in [false, true] {
        let (who, mean) = (draw.address(), draw.between(200, 1200) as f64);
        let mut at = DAY + draw.below(60) as f64;
        while at < DAY + DAY_S - 1300.0 {
            let name = draw.pick(&NAMES);
            if draw.one_in(3) {
                Session::new(log, draw, who).fails(at, "root", Some(attack));
            } else {
                Session::new(log, draw, who).fails_unknown(at, name, Some(attack));
            }
            at += if by_the_clock { mean } else { draw.gap(mean).min(1200.0) };
        }
    }
}

/// Each address of a network a few times, within two hours.
pub(crate) fn network_guesses(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(SPREAD, SERVICE);
    let (begin, v6, n) = (DAY + draw.below(70_000) as f64, draw.one_in(2), draw.between(12, 60) as usize);
    for who in draw.network(n, v6) {
        for _ in 0..draw.between(2, 6) {
            let at = begin + draw.below(7_200) as f64;
            if draw.one_in(2) {
                Session::new(log, draw, who).fails(at, "root", Some(attack));
            } else {
                let name = NAMES[draw.below(5) as usize];
                Session::new(log, draw, who).fails_unknown(at, name, Some(attack));
            }
        }
    }
}

/// Two hundred addresses from everywhere, each two or three times a day at few accounts.
pub(crate) fn everybody_guesses(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(SPREAD, SERVICE);
    let known = draw.one_in(2);
    for _ in 0..200 {
        let who = draw.address();
        for _ in 0..draw.between(2, 3) {
            let at = DAY + draw.below(DAY_S as u64 - 5) as f64;
            if known {
                let name = draw.pick(&["root", "anna", "deploy"]);
                Session::new(log, draw, who).fails(at, name, Some(attack));
            } else {
                let name = draw.pick(&["admin", "test", "oracle", "pi"]);
                Session::new(log, draw, who).fails_unknown(at, name, Some(attack));
            }
        }
    }
}

pub(crate) fn probes(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let attack = log.attack(&["scanner"], SERVICE);
    for _ in 0..draw.between(1, 3) {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for _ in 0..draw.between(15, 80) {
            at += draw.gap(5.0);
            let text = draw.pick(&[
                "Did not receive identification string from ADDR port PORT",
                "banner exchange: Connection from ADDR port PORT: invalid format",
                "Bad protocol version identification '\\003' from ADDR port PORT",
                "Unable to negotiate with ADDR port PORT: no matching host key type found. Their offer: ssh-dss [preauth]",
                "ssh_dispatch_run_fatal: Connection from ADDR port PORT: Connection corrupted [preauth]",
            ]);
            Session::new(log, draw, who).says(at, text).counts(attack);
        }
    }
}

pub(crate) const INNOCENT: &[(&str, crate::web::Part)] = &[
    ("mistypes", mistypes),
    ("forgets", forgets),
    ("monitors", monitors),
    ("jobs", jobs),
    ("an office", office),
];

pub(crate) const ATTACKS: &[(&str, crate::web::Part)] = &[
    ("guesses quickly", guesses_quickly),
    ("guesses slowly", guesses_slowly),
    ("network guesses", network_guesses),
    ("everybody guesses", everybody_guesses),
    ("probes", probes),
];
