//! A lab with toban installed on its web server, and what toban says there.

use std::env;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use serde_json::Value;
use toban_lab::{Lab, LabError, Params, Stats, Truth, now};

/// Where the binary stands inside the web server's host.
pub(crate) const TOBAN: &str = "/usr/local/bin/toban";
const SEED: u64 = 5;
/// No command of toban may take longer, whatever happens.
const COMMAND_S: &str = "60";

/// Says it past the capture of the test runner: figures and skips are worth reading also where all is green.
pub(crate) fn say(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}

/// One test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has dropped its lab, so the next one may go on.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One lab with toban in it.
pub(crate) struct Stage {
    pub(crate) lab: Lab,
    pub(crate) truth: Truth,
}

/// What a command of toban said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

impl Said {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error} in (exit {}) {}{}", self.code, self.out, self.err))
    }
}

impl Stage {
    /// Brings a lab up and puts toban into it; `None`, said aloud, where no lab can be.
    pub(crate) fn up(scenario: &str) -> Option<Stage> {
        Self::up_with(scenario, &[])
    }

    /// The same with some parameters given.
    pub(crate) fn up_with(scenario: &str, given: &[(&str, u64)]) -> Option<Stage> {
        let seed = env::var("LAB_SEED").map_or(SEED, |text| text.parse().expect("LAB_SEED is a number"));
        let params = Params::new(seed).lifetime(Duration::from_secs(1200));
        let params = given.iter().fold(params, |params, (name, value)| params.with(name, value));
        let lab = match Lab::up(scenario, &params) {
            Err(LabError::Skip { because }) => {
                say(&format!("skipped: {because}"));
                return None;
            }
            lab => lab.unwrap(),
        };
        // A copy, because a host is a picture of this machine as it was when the lab came up.
        let inside = lab.path(lab.web(), TOBAN).unwrap();
        fs::copy(binary(), &inside).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
        let truth = lab.truth().unwrap();
        say(&format!("{scenario}: seed {seed}, attackers {:?}", truth.attackers.prefixes));
        Some(Stage { lab, truth })
    }

    /// Runs a command inside the web server's host.
    pub(crate) fn run(&self, argv: &[&str]) -> Said {
        let begun = Instant::now();
        let ended = self.lab.exec(self.lab.web(), argv).unwrap();
        Said {
            code: ended.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&ended.stdout).into_owned(),
            err: String::from_utf8_lossy(&ended.stderr).into_owned(),
            took: begun.elapsed(),
        }
    }

    /// Runs toban there.
    #[track_caller]
    pub(crate) fn toban(&self, args: &[&str]) -> Said {
        let said = self.run(&[&["timeout", "-k", "1", COMMAND_S, TOBAN], args].concat());
        assert_ne!(
            said.code, 124,
            "toban {args:?} did not end within {COMMAND_S} s: {}{}",
            said.out, said.err
        );
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }

    /// Normal traffic for a while; it has to be normal.
    pub(crate) fn quiet(&self, seconds: u64) {
        let stats = self.lab.quiet(Duration::from_secs(seconds)).unwrap();
        assert!(
            stats.ok_share.is_some_and(|share| share >= 0.98),
            "the quiet is not quiet: {}",
            brief(&stats)
        );
    }

    /// Lets the attackers loose and returns when their first packet has left, with its time.
    pub(crate) fn attack(&mut self, at_most_s: u64) -> f64 {
        self.lab.start_incident(Duration::from_secs(at_most_s)).unwrap();
        wait_for(10.0, "the first attack packet", || self.lab.truth().unwrap().times.first_attack_packet)
    }

    /// Whether a prefix holds attackers and nobody else.
    pub(crate) fn is_attackers(&self, prefix: &Ipv4Net) -> bool {
        self.truth.attackers.prefixes.iter().any(|theirs| theirs.contains(prefix))
    }

    /// Attackers that none of the prefixes holds.
    pub(crate) fn missed(&self, prefixes: &[Ipv4Net]) -> Vec<Ipv4Addr> {
        let all = self.truth.attackers.addresses.iter();
        all.filter(|address| !prefixes.iter().any(|p| p.contains(*address))).copied().collect()
    }

    /// Nobody but attackers, and by name none of those who matter.
    #[track_caller]
    pub(crate) fn assert_harmless(&self, prefixes: &[Ipv4Net]) {
        let truth = &self.truth;
        let friends: Vec<Ipv4Addr> = [truth.web.address, truth.gateway, truth.admin]
            .into_iter()
            .chain(truth.balancer)
            .chain(truth.clients.addresses.iter().copied())
            .collect();
        for prefix in prefixes {
            let hit: Vec<_> = friends.iter().filter(|friend| prefix.contains(*friend)).collect();
            assert!(hit.is_empty(), "{prefix} would hit {hit:?}");
            assert!(self.is_attackers(prefix), "{prefix} is not the attackers'");
        }
    }

    /// The culprits of a finding as prefixes.
    #[track_caller]
    pub(crate) fn culprits(finding: &Value) -> Vec<Ipv4Net> {
        finding["culprits"].as_array().unwrap().iter().map(|c| net(c["value"].as_str().unwrap())).collect()
    }

    /// Exactly the attackers are named.
    #[track_caller]
    pub(crate) fn assert_culprits(&self, finding: &Value) {
        let culprits = Self::culprits(finding);
        self.assert_harmless(&culprits);
        let missed = self.missed(&culprits);
        assert!(missed.is_empty(), "{culprits:?} does not cover {missed:?}");
        for culprit in finding["culprits"].as_array().unwrap() {
            let kind = culprit["kind"].as_str().unwrap();
            let host = culprit["value"].as_str().unwrap().parse::<Ipv4Addr>().is_ok();
            assert_eq!(kind, if host { "address" } else { "prefix" });
        }
        // A number for each, and together no more than there is.
        let shares: f64 =
            finding["culprits"].as_array().unwrap().iter().map(|c| c["share"].as_f64().unwrap()).sum();
        assert!(shares > 0.3 && shares < 1.05, "{shares}");
    }

    /// How normal clients fared whose requests began between two times.
    pub(crate) fn share_between(&self, from: f64, to: f64) -> Stats {
        sleep_until(to);
        // A request that began in the window may take its time to fail: it is waited for a little.
        thread::sleep(Duration::from_secs(2));
        self.lab.stats_between(from, to).unwrap()
    }
}

/// A prefix, or an address as one.
#[track_caller]
pub(crate) fn net(text: &str) -> Ipv4Net {
    match text.parse::<Ipv4Addr>() {
        Ok(address) => Ipv4Net::from(address),
        Err(_) => text.parse().unwrap_or_else(|_| panic!("{text} is no v4 prefix")),
    }
}

/// Seconds since the epoch of a time in RFC 3339.
#[track_caller]
pub(crate) fn epoch(text: &Value) -> f64 {
    let stamp: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
    stamp.as_microsecond() as f64 / 1e6
}

/// The figures that matter, in a line.
pub(crate) fn brief(stats: &Stats) -> String {
    let seconds: Vec<String> = stats.seconds.iter().map(|s| format!("{}/{}", s.ok, s.total)).collect();
    format!(
        "{} of {} ok ({:.1} %), p95 {:?} ms; {}",
        stats.ok,
        stats.total,
        stats.ok_share.unwrap_or(0.0) * 100.0,
        stats.p95_ms,
        seconds.join(" ")
    )
}

pub(crate) fn sleep_until(at: f64) {
    thread::sleep(Duration::from_secs_f64((at - now()).max(0.0)));
}

/// Looks five times a second until there is something.
#[track_caller]
pub(crate) fn wait_for<T>(at_most_s: f64, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = now() + at_most_s;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(now() < until, "{what} did not come within {at_most_s} s");
        thread::sleep(Duration::from_millis(200));
    }
}

/// The toban to test: named, or beside this test, or built.
fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(given) = env::var_os("TOBAN_BIN") {
                return given.into();
            }
            // <target>/<profile>/deps/<this test>
            let own = env::current_exe().unwrap();
            let profile = own.ancestors().nth(2).unwrap();
            let beside = profile.join("toban");
            if !beside.is_file() {
                let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
                build.args(["build", "-p", "toban", "--target-dir"]).arg(profile.parent().unwrap());
                if profile.ends_with("release") {
                    build.arg("--release");
                }
                let status = build.stdin(Stdio::null()).status().unwrap();
                assert!(status.success(), "could not build toban");
            }
            beside
        })
        .clone()
}
