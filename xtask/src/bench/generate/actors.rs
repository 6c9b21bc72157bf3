//! Those on a web server who follow a plan: attackers, and a few honest ones who look like them at first sight.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::clients;
use super::random::Random;
use super::site::Asked;
use super::{DAY, DAY_S, Offence};

/// Of 1000 lines so many are an attack's.
const ATTACK_PER_MILLE: u64 = 20;

/// One of them.
pub(crate) struct Actor {
    pub(crate) address: IpAddr,
    pub(crate) role: Role,
    pub(crate) agent: String,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    Xmlrpc,
    WpLogin {
        forges: bool,
    },
    WpLoginSpread,
    Relay,
    Scanner,
    NotHttp,
    /// Logs in at the second try.
    Editor,
    /// Uses xmlrpc as it is meant.
    App,
    /// Asks once a minute whether the site is there.
    Monitor,
}

/// Something that an actor does: in which second, who, and which of their steps it is.
pub(crate) type Step = (u32, u32, u32);

/// All actors and what they do, in order.
pub(crate) struct Plan {
    pub(crate) actors: Vec<Actor>,
    pub(crate) steps: Vec<Step>,
    /// Who is written about in what attackers send, [`clients::victims`] and two of the usual clients: the address, and
    /// the text that ends in a line of theirs.
    forged: Vec<(String, String)>,
}

/// How a kind of attack is made up.
struct Attack {
    role: Role,
    /// Of all lines of attacks.
    per_mille: u64,
    /// More attackers than this there are not; fewer where each would have less than `lines_min`.
    attackers_max: u64,
    lines_min: u64,
    /// They are in so many networks; 0: each is on its own.
    networks: usize,
    /// Lines of a burst, and the seconds between them.
    burst: (usize, usize),
    gap: f64,
}

const ATTACKS: [Attack; 5] = [
    Attack {
        role: Role::Xmlrpc,
        per_mille: 450,
        attackers_max: 24,
        lines_min: 60,
        networks: 3,
        burst: (80, 800),
        gap: 0.2,
    },
    Attack {
        role: Role::WpLogin { forges: false },
        per_mille: 310,
        attackers_max: 24,
        lines_min: 40,
        networks: 3,
        burst: (40, 200),
        gap: 1.2,
    },
    Attack {
        role: Role::Relay,
        per_mille: 90,
        attackers_max: 12,
        lines_min: 30,
        networks: 1,
        burst: (40, 300),
        gap: 0.3,
    },
    Attack {
        role: Role::Scanner,
        per_mille: 80,
        attackers_max: 18,
        lines_min: 24,
        networks: 0,
        burst: (24, 160),
        gap: 0.5,
    },
    Attack {
        role: Role::NotHttp,
        per_mille: 30,
        attackers_max: 500,
        lines_min: 6,
        networks: 0,
        burst: (3, 8),
        gap: 20.0,
    },
];

/// What is left of the attacks' lines: one network, each address of it three times in ten minutes.
const SPREAD_ADDRESSES: usize = 60;
const SPREAD_TRIES: u32 = 3;

impl Plan {
    /// For a log of so many lines. Some of the usual clients become actors as well.
    pub(crate) fn new(random: &mut Random, lines: u64, usual: &[IpAddr], victims: &[IpAddr]) -> Self {
        let busy = [usual[usual.len() / 50], usual[usual.len() / 20]];
        let stamp = DAY.strftime("%d/%b/%Y");
        let forged = (0..).zip(victims.iter().chain(&busy)).map(|(nth, victim)| {
            // As Apache writes a quote and the end of a line that came in a header.
            let (before, quote) = (["Mozilla/5.0", "x\\\" 200 5 \\\"-\\\" \\\"y"][nth % 2], "\\\"");
            let text = format!(
                "{before}\\n{victim} - - [{stamp}:12:00:0{} +0000] {quote}POST /xmlrpc.php HTTP/1.1{quote} 200 403 \
                 {quote}-{quote} {quote}-",
                nth % 10
            );
            (victim.to_string(), text)
        });
        let mut plan = Self { actors: Vec::new(), steps: Vec::new(), forged: forged.collect() };
        let mut left = lines * ATTACK_PER_MILLE / 1000;
        let all = left;
        for attack in &ATTACKS {
            let share = all * attack.per_mille / 1000;
            plan.attack(random, attack, share);
            left = left.saturating_sub(share);
        }
        plan.spread(random, left);
        plan.honest(random, lines, usual);
        plan.steps.sort_unstable();
        plan
    }

    fn attack(&mut self, random: &mut Random, attack: &Attack, lines: u64) {
        let attackers = (lines / attack.lines_min).clamp(1, attack.attackers_max) as usize;
        let networks: Vec<[u8; 3]> = (0..attack.networks).map(|_| clients::hostile_network(random)).collect();
        for nth in 0..attackers {
            let address = match networks.len() {
                0 if nth % 6 == 5 => clients::attacker_six(random),
                0 => clients::attacker(clients::hostile_network(random), nth),
                _ if nth % 12 == 11 => clients::attacker_six(random),
                of => clients::attacker(networks[nth % of], nth),
            };
            let role = match attack.role {
                Role::WpLogin { .. } => Role::WpLogin { forges: nth % 3 == 0 },
                role => role,
            };
            let who = self.actor(random, address, role);
            let mut left = (lines as usize * (nth + 1) / attackers) - lines as usize * nth / attackers;
            let mut step = 0;
            while left > 0 {
                let burst = left.min(random.between(attack.burst.0, attack.burst.1));
                left -= burst;
                self.burst(random, who, &mut step, burst, attack.gap);
            }
        }
    }

    fn burst(&mut self, random: &mut Random, who: u32, step: &mut u32, lines: usize, gap: f64) {
        let length = lines as f64 * gap * 1.5;
        let mut at = random.unit() * (f64::from(DAY_S) - length).max(0.0);
        for _ in 0..lines {
            self.steps.push(((at as u32).min(DAY_S - 1), who, *step));
            *step += 1;
            at += random.gap(gap);
        }
    }

    fn spread(&mut self, random: &mut Random, lines: u64) {
        let network = clients::hostile_network(random);
        let first = self.actors.len() as u32;
        for nth in 0..SPREAD_ADDRESSES {
            self.actor(random, clients::attacker(network, nth), Role::WpLoginSpread);
        }
        let mut left = lines as u32;
        let mut round = 0;
        while left > 0 {
            let start = random.below(DAY_S as usize - 700) as u32;
            for nth in 0..SPREAD_ADDRESSES as u32 {
                for try_ in 0..SPREAD_TRIES.min(left) {
                    let second = start + random.below(600) as u32;
                    self.steps.push((second, first + nth, round * SPREAD_TRIES + try_));
                    left -= 1;
                }
            }
            round += 1;
        }
    }

    fn honest(&mut self, random: &mut Random, lines: u64, usual: &[IpAddr]) {
        for nth in 0..(lines / 20_000).max(3) as usize {
            let who = self.actor(random, usual[(usual.len() / 10 + 7 * nth) % usual.len()], Role::Editor);
            let at = random.below(DAY_S as usize - 100) as u32;
            // The form, a password that is wrong, the right one, and then work.
            self.steps.extend((0..6).map(|step| (at + 12 * step, who, step)));
        }
        // Few of them in a small log, or they would be most of it.
        let pause = ((3_000_000 / lines.max(1)) as u32).clamp(1, 20);
        for (role, every, nth) in [(Role::App, 2_700 * pause, 1), (Role::Monitor, 60 * pause, 2)] {
            let who = self.actor(random, usual[usual.len() - nth], role);
            self.steps.extend((0..DAY_S / every).map(|step| (step * every + 7, who, step)));
        }
    }

    fn actor(&mut self, random: &mut Random, address: IpAddr, role: Role) -> u32 {
        const OLD_BROWSERS: [&str; 4] = [
            "Mozilla/5.0 (Windows NT 6.1; WOW64; rv:40.0) Gecko/20100101 Firefox/40.1",
            "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:62.0) Gecko/20100101 Firefox/62.0",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/58.0.3029.110 Safari/537.3",
            "Go-http-client/1.1",
        ];
        let agent = match role {
            Role::Relay | Role::NotHttp => "-",
            Role::Monitor => "check_http/v2.3.3 (monitoring-plugins 2.3.3)",
            Role::App => "Jetpack by WordPress.com",
            _ => random.one(&OLD_BROWSERS),
        };
        self.actors.push(Actor { address, role, agent: agent.to_owned() });
        self.actors.len() as u32 - 1
    }

    /// What an actor sends in a step; `line` becomes the request line.
    pub(crate) fn act<'a>(
        &'a self,
        random: &mut Random,
        actor: &'a Actor,
        step: u32,
        line: &mut String,
    ) -> Asked<'a> {
        let (victim, forged) = &self.forged[step as usize % self.forged.len()];
        let (mut agent, mut user, mut referer) = (actor.agent.as_str(), "-", "-");
        let (method, path, status, bytes, slow, offence) = match actor.role {
            Role::Xmlrpc => {
                ("POST", "/xmlrpc.php", 200, 403 + random.below(3), 350_000.0, Some(Offence::Xmlrpc))
            }
            Role::App => ("POST", "/xmlrpc.php", 200, 800, 200_000.0, None),
            Role::WpLogin { forges } => {
                if forges && step.is_multiple_of(2) {
                    agent = &self.forged[step as usize / 2 % self.forged.len()].1;
                }
                referer = "https://www.example.org/wp-login.php";
                ("POST", "/wp-login.php", 200, 7_200 + random.below(40), 240_000.0, Some(Offence::WpLogin))
            }
            Role::WpLoginSpread => {
                ("POST", "/wp-login.php", 200, 7_200, 240_000.0, Some(Offence::WpLoginSpread))
            }
            Role::Editor => match step {
                0 => ("GET", "/wp-login.php", 200, 6_900, 90_000.0, None),
                1 => ("POST", "/wp-login.php", 200, 7_210, 240_000.0, None),
                2 => ("POST", "/wp-login.php", 302, 0, 260_000.0, None),
                _ => ("POST", "/wp-admin/admin-ajax.php", 200, 600, 80_000.0, None),
            },
            Role::Monitor => ("HEAD", "/", 200, 0, 60_000.0, None),
            Role::Relay => ("CONNECT", "", 405, 571, 900.0, Some(Offence::Relay)),
            Role::NotHttp => ("", "", 400, 484, 250.0, Some(Offence::NotHttp)),
            Role::Scanner => {
                match step % 9 {
                    3 => referer = forged,
                    6 => user = victim,
                    _ => {}
                }
                let status = if user == "-" { 404 } else { 401 };
                let path = if step % 9 == 8 { "/" } else { "" };
                ("GET", path, status, 490, 1_500.0, Some(Offence::Probe))
            }
        };
        line.clear();
        // Writing to a string does not fail.
        let _ = match actor.role {
            Role::Relay => {
                write!(line, "CONNECT {}.example.net:443 HTTP/1.1", random.one(&["mail", "www", "api"]))
            }
            Role::NotHttp => write!(line, "{}", random.one(&NOT_HTTP)),
            Role::Scanner if path == "/" => write!(line, "GET /?q={} HTTP/1.1", forged.replace(' ', "+")),
            Role::Scanner => write!(line, "GET {} HTTP/1.1", PROBES[step as usize % PROBES.len()]),
            Role::App => write!(line, "POST /xmlrpc.php?for=jetpack HTTP/1.1"),
            _ => write!(line, "{method} {path} HTTP/1.1"),
        };
        let duration_us = random.log_normal(slow, 0.6) as u32;
        Asked { user, method, path, status, bytes: Some(bytes as u32), referer, agent, duration_us, offence }
    }
}

/// The beginning of a TLS connection and other things that are no HTTP, as Apache writes them.
const NOT_HTTP: [&str; 4] = [
    r"\x16\x03\x01\x02",
    r"\x16\x03\x01\x01\x17\x01",
    r"\x03",
    r"\x16\x03\x01\x05\xa8\x01\x05\xa4\x03\x03\\q\x8b\x9e\x12",
];

const PROBES: [&str; 26] = [
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/phpmyadmin/index.php",
    "/pma/index.php",
    "/wp-config.php.bak",
    "/.aws/credentials",
    "/backup.zip",
    "/db.sql",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/cgi-bin/luci/;stok=/locale",
    "/boaform/admin/formLogin",
    "/actuator/health",
    "/.ssh/id_rsa",
    "/server-status",
    "/admin/config.php",
    "/shell.php",
    "/config.json",
    "/.DS_Store",
    "/solr/admin/info/system",
    "/.env.production",
    "/api/.env",
    "/old/wp-admin/install.php",
    "/HNAP1/",
    "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/autodiscover/autodiscover.json",
];
