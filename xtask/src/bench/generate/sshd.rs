//! A day of a server's `auth.log`, as rsyslog writes it: people, jobs and machines who log in, and all those who guess.

use std::net::IpAddr;

use super::clients;
use super::random::{Random, Weighted};
use super::{DAY, DAY_S, Generate, Line, Offence, clock};

/// The k-th busiest attacker comes 1/k as often as the busiest.
const ATTACKERS: usize = 2_000;
/// Six in ten of them share so many networks; the others are on their own.
const NETWORKS: usize = 40;
/// Places from which people log in.
const PLACES: usize = 400;
const USERS: [&str; 12] =
    ["deploy", "git", "backup", "anna", "piotr", "ci", "yuki", "marta", "jonas", "sato", "lena", "ops"];
const GUESSED: [&str; 16] = [
    "admin",
    "test",
    "oracle",
    "ubuntu",
    "postgres",
    "user",
    "ftp",
    "guest",
    "pi",
    "minecraft",
    "jenkins",
    "hadoop",
    "es",
    "www",
    "steam",
    "support",
];
const KEY: &str = "ED25519 SHA256:Qm9vYmFyYmF6cXV4cXV1eGNvcmdlZ3JhdWx0Z2FycGx5";

/// One day.
pub(crate) struct Sshd {
    seed: u64,
    lines: u64,
}

impl Sshd {
    pub(crate) fn new(seed: u64, lines: u64) -> Self {
        Self { seed, lines }
    }
}

impl Generate for Sshd {
    fn each(&self, show: &mut dyn FnMut(&Line<'_>)) {
        let mut day = Day::new(Random::new(self.seed, 20), self.victims());
        while day.lines.len() < self.lines as usize {
            day.session();
        }
        day.lines.truncate(self.lines as usize);
        // A stable sort: the lines of a session stay in order within a second.
        day.lines.sort_by_key(|said| said.second);
        let date = DAY.strftime("%b %e").to_string();
        for Said { second, text, client, offence } in day.lines {
            let text = format!("{date} {} web1 {text}", clock(second));
            show(&Line { text: text.as_bytes(), client, second, offence, request: None });
        }
    }

    fn victims(&self) -> Vec<IpAddr> {
        clients::victims(&mut Random::new(self.seed, 21))
    }
}

/// A line without its stamp.
struct Said {
    second: u32,
    text: String,
    client: Option<IpAddr>,
    offence: Option<(Offence, u32)>,
}

struct Attacker {
    address: IpAddr,
    /// When they are at it: start and length in seconds.
    campaigns: Vec<(usize, usize)>,
}

struct Day {
    random: Random,
    attackers: Vec<Attacker>,
    busy: Weighted,
    places: Vec<IpAddr>,
    victims: Vec<IpAddr>,
    sessions: usize,
    forgeries: usize,
    lines: Vec<Said>,
}

impl Day {
    fn new(mut random: Random, victims: Vec<IpAddr>) -> Self {
        let networks: Vec<[u8; 3]> = (0..NETWORKS).map(|_| clients::hostile_network(&mut random)).collect();
        let attackers = (0..ATTACKERS).map(|nth| {
            let address = match random.below(20) {
                0 => clients::attacker_six(&mut random),
                1..8 => clients::attacker(clients::hostile_network(&mut random), nth),
                _ => clients::attacker(networks[nth % NETWORKS], nth / NETWORKS),
            };
            let campaigns = (0..random.between(1, 6)).map(|_| {
                let length = random.between(300, 10_800);
                (random.below(DAY_S as usize - length), length)
            });
            Attacker { address, campaigns: campaigns.collect() }
        });
        let attackers: Vec<Attacker> = attackers.collect();
        let mut places = clients::usual(&mut random, PLACES);
        for place in places.iter_mut().step_by(3) {
            *place = IpAddr::from([10, 8, random.below(4) as u8, random.between(10, 250) as u8]);
        }
        let busy = Weighted::zipf(ATTACKERS, 1.0);
        Self { random, attackers, busy, places, victims, sessions: 0, forgeries: 0, lines: Vec::new() }
    }

    /// Someone comes, and what the host writes until they are gone.
    fn session(&mut self) {
        self.sessions += 1;
        let kind = self.random.below(1000);
        let mut session = Session { pid: self.random.between(800, 400_000), at: 0, client: None, day: self };
        match kind {
            0..250 => session.guesses_root(),
            250..400 => session.guesses_a_name(),
            400..480 => session.leaves_early(),
            480..485 => session.writes_into_the_name(),
            485..735 => session.works(),
            735..750 => session.mistypes(),
            750..800 => session.sudo(),
            800..990 => session.cron(),
            _ => session.is_looked_after(),
        }
    }
}

struct Session<'a> {
    pid: usize,
    at: u32,
    client: Option<IpAddr>,
    day: &'a mut Day,
}

impl Session<'_> {
    /// One of the attackers comes; their address and port.
    fn attacker(&mut self) -> (IpAddr, usize) {
        let random = &mut self.day.random;
        let Attacker { address, campaigns } = &self.day.attackers[self.day.busy.pick(random)];
        let (start, length) = *random.one(campaigns);
        self.at = (start + random.below(length)) as u32;
        self.client = Some(*address);
        (*address, random.between(1_025, 65_535))
    }

    /// Someone who may log in comes; from where, and who.
    fn person(&mut self) -> (IpAddr, usize, &'static str) {
        let random = &mut self.day.random;
        let place = random.below(self.day.places.len());
        self.at = random.below(DAY_S as usize - 60) as u32;
        self.client = Some(self.day.places[place]);
        (self.day.places[place], random.between(30_000, 65_535), USERS[place % USERS.len()])
    }

    /// sshd says something about the client.
    fn says(&mut self, text: &str) {
        let text = format!("sshd[{}]: {text}", self.pid);
        self.day.lines.push(Said { second: self.at, text, client: self.client, offence: None });
    }

    /// sshd says that the client did wrong, so many times.
    fn offends(&mut self, text: &str, offence: Offence, times: u32) {
        self.says(text);
        if let Some(said) = self.day.lines.last_mut() {
            said.offence = Some((offence, times));
        }
    }

    /// Something is said about no client.
    fn aside(&mut self, text: String) {
        self.day.lines.push(Said { second: self.at, text, client: None, offence: None });
    }

    fn later(&mut self, seconds: usize) {
        self.at = (self.at + self.day.random.below(seconds + 1) as u32).min(DAY_S - 1);
    }

    fn guesses_root(&mut self) {
        let (address, port) = self.attacker();
        let failure = "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser=";
        self.says(&format!("{failure} rhost={address}  user=root"));
        self.later(2);
        let failed = format!("Failed password for root from {address} port {port} ssh2");
        self.offends(&failed, Offence::Ssh, 1);
        match self.day.random.below(10) {
            0 => {
                self.later(6);
                self.offends(&format!("message repeated 2 times: [ {failed}]"), Offence::Ssh, 2);
            }
            1 => {
                for _ in 0..5 {
                    self.later(4);
                    self.offends(&failed, Offence::Ssh, 1);
                }
                let too_many = format!("maximum authentication attempts exceeded for root from {address}");
                self.says(&format!("error: {too_many} port {port} ssh2 [preauth]"));
            }
            _ => {}
        }
        self.later(1);
        self.says(&format!("Received disconnect from {address} port {port}:11: Bye Bye [preauth]"));
        self.says(&format!("Disconnected from authenticating user root {address} port {port} [preauth]"));
    }

    fn guesses_a_name(&mut self) {
        let (address, port) = self.attacker();
        let name = *self.day.random.one(&GUESSED);
        self.guess_by_name(name, address, port);
    }

    /// The name is all that a stranger can write here, and they write another log line into it.
    fn writes_into_the_name(&mut self) {
        let (address, port) = self.attacker();
        let nth = self.day.forgeries;
        self.day.forgeries += 1;
        let victim = self.day.victims[nth % self.day.victims.len()];
        let name = match nth / self.day.victims.len() % 3 {
            0 => format!("root from {victim} port 22 ssh2"),
            1 => format!(
                "x\\n{} 12:00:00 web1 sshd[9]: Failed password for root from {victim} port 22 ssh2",
                "Mar 14"
            ),
            _ => format!("from {victim}"),
        };
        self.guess_by_name(&name, address, port);
    }

    fn guess_by_name(&mut self, name: &str, address: IpAddr, port: usize) {
        self.says(&format!("Invalid user {name} from {address} port {port}"));
        self.later(1);
        self.aside(format!("sshd[{}]: pam_unix(sshd:auth): check pass; user unknown", self.pid));
        self.later(2);
        let failed = format!("Failed password for invalid user {name} from {address} port {port} ssh2");
        self.offends(&failed, Offence::Ssh, 1);
        self.later(1);
        self.says(&format!("Connection closed by invalid user {name} {address} port {port} [preauth]"));
    }

    fn leaves_early(&mut self) {
        let (address, port) = self.attacker();
        let said = match self.day.random.below(4) {
            0 => format!("Connection closed by {address} port {port} [preauth]"),
            1 => format!("banner exchange: Connection from {address} port {port}: invalid format"),
            2 => format!("Connection reset by {address} port {port} [preauth]"),
            _ => format!(
                "Unable to negotiate with {address} port {port}: no matching key exchange method found. Their offer: \
                 diffie-hellman-group14-sha1,diffie-hellman-group1-sha1 [preauth]"
            ),
        };
        self.offends(&said, Offence::SshPreauth, 1);
    }

    /// Logs in and out again.
    fn works(&mut self) {
        let (address, port, user) = self.person();
        self.says(&format!("Accepted publickey for {user} from {address} port {port} ssh2: {KEY}"));
        self.logged_in(address, port, user);
    }

    fn mistypes(&mut self) {
        let (address, port, user) = self.person();
        self.says(&format!("Failed password for {user} from {address} port {port} ssh2"));
        self.later(8);
        self.says(&format!("Accepted password for {user} from {address} port {port} ssh2"));
        self.logged_in(address, port, user);
    }

    fn logged_in(&mut self, address: IpAddr, port: usize, user: &str) {
        let (pid, number) = (self.pid, self.day.sessions);
        let pam = format!("sshd[{pid}]: pam_unix(sshd:session): session");
        self.aside(format!("{pam} opened for user {user}(uid=1001) by (uid=0)"));
        self.aside(format!("systemd-logind[512]: New session {number} of user {user}."));
        self.later(1_800);
        self.says(&format!("Received disconnect from {address} port {port}:11: disconnected by user"));
        self.says(&format!("Disconnected from user {user} {address} port {port}"));
        self.aside(format!("{pam} closed for user {user}"));
        self.aside(format!(
            "systemd-logind[512]: Session {number} logged out. Waiting for processes to exit."
        ));
        self.aside(format!("systemd-logind[512]: Removed session {number}."));
    }

    fn sudo(&mut self) {
        let (_, _, user) = self.person();
        let command = "COMMAND=/usr/bin/systemctl status app";
        self.aside(format!("sudo:     {user} : TTY=pts/1 ; PWD=/home/{user} ; USER=root ; {command}"));
        let pam = "sudo: pam_unix(sudo:session): session";
        self.aside(format!("{pam} opened for user root(uid=0) by {user}(uid=1001)"));
        self.later(5);
        self.aside(format!("{pam} closed for user root"));
    }

    fn cron(&mut self) {
        // On the minute.
        self.at = self.day.random.below(DAY_S as usize / 60) as u32 * 60 + 1;
        let pam = format!("CRON[{}]: pam_unix(cron:session): session", self.pid);
        self.aside(format!("{pam} opened for user root(uid=0) by (uid=0)"));
        self.later(2);
        self.aside(format!("{pam} closed for user root"));
    }

    /// A monitoring host sees whether the port answers, and leaves.
    fn is_looked_after(&mut self) {
        self.at = self.day.random.below(DAY_S as usize) as u32;
        let (address, port) = (IpAddr::from([10, 8, 0, 9]), self.day.random.between(30_000, 65_535));
        self.client = Some(address);
        self.says(&format!("Connection closed by {address} port {port} [preauth]"));
    }
}
