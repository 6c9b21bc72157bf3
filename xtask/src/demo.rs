//! `cargo xtask demo`: a real Apache behind a real balancer is brought to its knees, and toban, which was never there
//! before, solves it before the reader's eyes. It ends in a verdict by the lab's own truth, so it is a test as well.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks")]

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use toban_lab::{Lab, LabError, Params, Truth};

use crate::steps::release_toban;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Addresses, counts and rates are drawn from this
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The language that toban speaks
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Lang {
    En,
    Ja,
}

/// Time in which toban sees what is usual.
const QUIET: Duration = Duration::from_secs(25);
/// toban is started when some of the quiet is still to come.
const QUIET_WATCHED: Duration = Duration::from_secs(5);
/// The attack goes on until the end; what stops it is toban.
const ATTACK: Duration = Duration::from_secs(120);
/// Without a recovery by now there is none.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
/// Recovered means that this share of normal requests goes well, in two lines.
const WELL: f64 = 0.99;
/// One line about the clients covers this much.
const LINE: Duration = Duration::from_secs(3);
/// After the recovery, so that the measured effect stands in the audit trail.
const AFTERWARDS: Duration = Duration::from_secs(12);

/// Runs the demo. Where there can be no lab, it says why and what would help.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match show(args) {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        Err(error) => match error.downcast_ref::<LabError>() {
            Some(LabError::Skip { because }) => bail!("there can be no demo here: {because}"),
            _ => Err(error),
        },
    }
}

fn show(args: &Args) -> Result<bool> {
    toban_lab::install()?;
    toban_lab::check()?;
    let toban = release_toban()?;
    let words = Words(args.lang);
    let clock = Clock(Instant::now());
    clock.say(&words.coming_up());
    let mut lab = Lab::up("connect-flood", &Params::new(args.seed))?;
    let truth = lab.truth()?;
    // Where a person would have put it; the host's files are its own.
    std::fs::copy(&toban, lab.path(lab.web(), "/usr/local/bin/toban")?).context("could not install toban")?;
    clock.say(&words.up(&truth));

    quiet(&clock, &lab, QUIET.saturating_sub(QUIET_WATCHED))?;
    clock.say("# toban run --mode act");
    let mut agent = lab.spawn(lab.web(), &["toban", "--lang", words.code(), "run", "--mode", "act"])?;
    let clock = Arc::new(clock);
    let speaking = [agent.stdout.take().map(boxed), agent.stderr.take().map(boxed)];
    let speaking: Vec<_> = speaking.into_iter().flatten().map(|from| listen(from, clock.clone())).collect();
    quiet(&clock, &lab, QUIET_WATCHED)?;

    clock.say(&words.attack(&truth));
    let attacked = Instant::now();
    lab.start_incident(ATTACK)?;
    let recovered = recovery(&clock, &lab, attacked)?;
    thread::sleep(if recovered.is_some() { AFTERWARDS } else { Duration::ZERO });
    for command in ["actions", "bans"] {
        println!("\n# toban {command}");
        let said = lab.exec(lab.web(), &["toban", "--lang", words.code(), command])?;
        print!("{}", String::from_utf8_lossy(&said.stdout));
        eprint!("{}", String::from_utf8_lossy(&said.stderr));
    }
    let banned = banned(&lab)?;
    // The agent is asked to stop, so that its last words are heard; the lab takes along whatever is left.
    let _ = lab.exec(lab.web(), &["pkill", "-INT", "-x", "toban"]);
    let _ = agent.wait();
    for thread in speaking {
        let _ = thread.join();
    }
    lab.down()?;
    println!();
    Ok(verdict(&words, &truth, recovered, &banned))
}

fn quiet(clock: &Clock, lab: &Lab, during: Duration) -> Result<()> {
    let until = Instant::now() + during;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        thread::sleep(left.min(LINE * 2));
        clients(clock, lab, LINE * 2)?;
    }
    Ok(())
}

/// One line about the clients at a time, until something is banned and they are well for two lines. How long that
/// took, and how bad it was.
fn recovery(clock: &Clock, lab: &Lab, attacked: Instant) -> Result<Option<(Duration, f64)>> {
    let (mut worst, mut well) = (1.0_f64, 0);
    while attacked.elapsed() < RECOVERED_WITHIN {
        thread::sleep(LINE);
        let share = clients(clock, lab, LINE)?;
        worst = worst.min(share);
        // The attack needs some seconds to be felt, so two good lines alone say nothing.
        let acted = share >= WELL && !banned(lab)?.is_empty();
        well = if acted { well + 1 } else { 0 };
        if well == 2 {
            return Ok(Some((attacked.elapsed().saturating_sub(LINE), worst)));
        }
    }
    Ok(None)
}

fn clients(clock: &Clock, lab: &Lab, window: Duration) -> Result<f64> {
    let stats = lab.stats(window)?;
    let share = stats.ok_share.unwrap_or(0.0);
    let bar = "█".repeat((share * 20.0).round() as usize);
    let median = stats.p50_ms.map_or_else(String::new, |ms| format!(", median {ms} ms"));
    clock.say(&format!("clients  {bar:<20} {:>5.1} % ok{median}", share * 100.0));
    Ok(share)
}

fn banned(lab: &Lab) -> Result<BTreeSet<String>> {
    let said = lab.exec(lab.web(), &["toban", "bans", "--json"])?;
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).context("could not read the bans")?;
    let bans = json["bans"].as_array().context("there is no list of bans")?;
    Ok(bans.iter().filter_map(|ban| ban["prefix"].as_str().map(str::to_owned)).collect())
}

/// By the lab's truth: the clients are well, whoever is banned was an attacker.
fn verdict(
    words: &Words,
    truth: &Truth,
    recovered: Option<(Duration, f64)>,
    banned: &BTreeSet<String>,
) -> bool {
    let of_attackers = |ban: &String| {
        let ban: Option<ipnet::IpNet> = ban.parse().ok();
        ban.is_some_and(|ban| {
            truth.attackers.prefixes.iter().any(|own| ipnet::IpNet::V4(*own).contains(&ban))
        })
    };
    let strangers: Vec<&String> = banned.iter().filter(|ban| !of_attackers(ban)).collect();
    match recovered {
        Some((after, worst)) => println!("{}", words.recovered(after, worst)),
        None => println!("{}", words.not_recovered()),
    }
    if strangers.is_empty() {
        println!("{}", words.only_attackers(banned.len()));
    } else {
        println!("{}", words.others_too(&strangers));
    }
    recovered.is_some() && strangers.is_empty() && !banned.is_empty()
}

fn boxed(from: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(from)
}

fn listen(from: Box<dyn Read + Send>, clock: Arc<Clock>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            clock.say(&format!("toban │  {line}"));
        }
    })
}

/// Seconds since the beginning, before each line.
struct Clock(Instant);

impl Clock {
    fn say(&self, line: &str) {
        let seconds = self.0.elapsed().as_secs();
        println!("{:>2}:{:02}  {line}", seconds / 60, seconds % 60);
    }
}

/// What the demo itself says.
struct Words(Lang);

impl Words {
    fn code(&self) -> &'static str {
        if self.0 == Lang::Ja { "ja" } else { "en" }
    }

    fn pick(&self, en: String, ja: String) -> String {
        if self.0 == Lang::Ja { ja } else { en }
    }

    fn coming_up(&self) -> String {
        self.pick(
            "a network of its own comes up: a load balancer, a stock web server, visitors".into(),
            "専用のネットワークに、ロードバランサーと標準構成の Web サーバー、利用者を用意します".into(),
        )
    }

    fn up(&self, truth: &Truth) -> String {
        let (site, workers, visitors) =
            (&truth.web.site, truth.web.worker_limit, truth.clients.addresses.len());
        self.pick(
            format!("{site} is up: apache2 with {workers} workers behind haproxy, {visitors} visitors"),
            format!(
                "{site} が稼働しました: haproxy の背後に apache2({workers} ワーカー)、利用者 {visitors} 人"
            ),
        )
    }

    fn attack(&self, truth: &Truth) -> String {
        let (connections, networks) = (truth.attackers.connections, truth.attackers.prefixes.len());
        self.pick(
            format!("THE ATTACK: {connections} connections from {networks} networks send CONNECT past the balancer"),
            format!("攻撃開始: {networks} 個のネットワークから {connections} 本の接続がロードバランサーを通らず CONNECT を送ります"),
        )
    }

    fn recovered(&self, after: Duration, worst: f64) -> String {
        let (after, worst) = (after.as_secs(), worst * 100.0);
        self.pick(
            format!("The visitors are well again {after} s after the attack began ({worst:.0} % at the worst), and it still goes on."),
            format!("攻撃は続いていますが、開始から {after} 秒で利用者は正常に戻りました(最悪時 {worst:.0} %)。"),
        )
    }

    fn not_recovered(&self) -> String {
        self.pick("The visitors did not recover.".into(), "利用者への応答は回復しませんでした。".into())
    }

    fn only_attackers(&self, bans: usize) -> String {
        self.pick(
            format!("{bans} networks are banned, and every one is an attacker's."),
            format!("遮断した {bans} 個のネットワークは、すべて攻撃者のものです。"),
        )
    }

    fn others_too(&self, strangers: &[&String]) -> String {
        let list = strangers.iter().map(|ban| ban.as_str()).collect::<Vec<_>>().join(", ");
        self.pick(
            format!("Banned, but not the attackers': {list}"),
            format!("攻撃者のものではない遮断: {list}"),
        )
    }
}
