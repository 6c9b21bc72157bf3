//! `bench reaction`: from a line in a log to the drop in the kernel, toban beside the programs that do that otherwise.
//!
//! Each runs in namespaces of its own (network, processes, and a `/var/log` in memory), so nobody is banned and nothing is
//! left. Who is dropped is seen by `nft monitor`, the same for all.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::crowd::{Started, start};
use crate::steps::release_toban;

const LOG: &str = "/var/log/auth.log";
/// More failures than any of them wants to see, of one address in one write.
const FAILURES: usize = 20;
/// Who is not dropped by then is not counted.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries, with a part that differs each time, so that nothing falls into step with somebody's clock.
const PAUSE: Duration = Duration::from_millis(300);
const PAUSE_MORE_MS: u64 = 1301;

/// Arguments of `bench reaction`.
#[derive(clap::Args)]
pub(super) struct ReactionArgs {
    /// Addresses that guess passwords, one after the other
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries: u32,
    /// The same of the slower programs
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=1000))]
    tries_of_others: u32,
    /// Lines of others that are written at once before those of the address, in a last try
    #[arg(long, default_value_t = 100_000)]
    burst: u32,
    /// This program, instead of a release build of this workspace
    #[arg(long, value_name = "PATH")]
    toban: Option<PathBuf>,
    /// Inside the namespaces: measure this one
    #[arg(long, hide = true)]
    inside: Option<String>,
}

/// One of the programs.
struct Way {
    name: &'static str,
    program: &'static str,
    /// Starts it; all of it ends with the namespace.
    begin: fn(&Path, &Path) -> Result<Started>,
}

const WAYS: &[Way] = &[
    Way { name: "toban", program: "unshare", begin: toban },
    Way { name: "sshguard", program: "sshguard", begin: sshguard },
    Way { name: "fail2ban", program: "fail2ban-server", begin: fail2ban },
];

pub(super) fn run(args: &ReactionArgs) -> Result<ExitCode> {
    if let Some(name) = &args.inside {
        let way = WAYS.iter().find(|way| way.name == name).context("no such program")?;
        let toban = args.toban.as_deref().context("--toban is missing")?;
        return measure(way, args, toban).map(|()| ExitCode::SUCCESS);
    }
    ensure!(
        rustix::process::geteuid().is_root(),
        "drops need root; every program runs in namespaces of its own"
    );
    let toban = match &args.toban {
        Some(path) => path.clone(),
        None => release_toban()?,
    };
    println!(
        "{FAILURES} failed logins of a new address in one write to {LOG}, until nft monitor shows the drop; ms"
    );
    println!(
        "{:10}{:>7}{:>8}{:>9}{:>9}{:>9}{:>9}{:>15}",
        "", "tries", "missed", "least", "median", "p99", "most", "behind a burst"
    );
    for way in WAYS {
        if !super::bans::is_there(way.program) || !super::bans::is_there("nft") {
            println!("{:10} is not installed", way.name);
            continue;
        }
        let tries = if way.name == "toban" { args.tries } else { args.tries_of_others };
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        command.arg(std::env::current_exe()?).args(["bench", "reaction", "--inside", way.name]);
        command.args(["--tries", &tries.to_string(), "--burst", &args.burst.to_string()]);
        ensure!(command.arg("--toban").arg(&toban).status()?.success(), "{} could not be measured", way.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(way: &Way, args: &ReactionArgs, program: &Path) -> Result<()> {
    shell(
        "ip link set lo up; mount -t tmpfs none /var/log; mount -t tmpfs none /run; mount -t tmpfs none /mnt",
    )?;
    File::create(LOG)?;
    let running = (way.begin)(program, Path::new("/mnt"))?;
    let dropped = dropped()?;
    sleep(Duration::from_secs(3));
    let (mut took, mut missed) = (Vec::new(), 0);
    for nth in 0..args.tries {
        sleep(PAUSE + Duration::from_millis(u64::from(nth) * 7919 % PAUSE_MORE_MS));
        match react(&dropped, nth, 0)? {
            Some(time) => took.push(time.as_secs_f64() * 1e3),
            None => missed += 1,
        }
    }
    let burst = react(&dropped, args.tries, args.burst)?;
    took.sort_by(f64::total_cmp);
    let at = |share: f64| took.get(((took.len() as f64 * share) as usize).min(took.len().saturating_sub(1)));
    let shown = |time: Option<&f64>| time.map_or("-".to_owned(), |time| format!("{time:.1}"));
    println!(
        "{:10}{:>7}{missed:>8}{:>9}{:>9}{:>9}{:>9}{:>15}",
        way.name,
        args.tries,
        shown(took.first()),
        shown(at(0.5)),
        shown(at(0.99)),
        shown(took.last()),
        shown(burst.map(|time| time.as_secs_f64() * 1e3).as_ref())
    );
    drop(running);
    Ok(())
}

/// The time until the `nth` address is dropped, with so many lines of others before its own.
fn react(dropped: &Receiver<(Instant, String)>, nth: u32, others: u32) -> Result<Option<Duration>> {
    let address = format!("11.{}.{}.{}", nth / 200 + 1, nth % 200 + 1, nth % 199 + 17);
    let stamp = jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string();
    let mut lines = String::new();
    for nth in 0..others {
        let (port, key) = (1024 + nth % 60_000, nth % 1000);
        writeln!(
            lines,
            "{stamp} web sshd[{key}]: Connection closed by 12.0.{}.{} port {port}",
            key / 250,
            key % 250
        )?;
    }
    for nth in 0..FAILURES {
        writeln!(
            lines,
            "{stamp} web sshd[{}]: Failed password for root from {address} port {} ssh2",
            2000 + nth,
            40_000 + nth
        )?;
    }
    while dropped.try_recv().is_ok() {}
    let begun = Instant::now();
    File::options().append(true).open(LOG)?.write_all(lines.as_bytes())?;
    while let Some(left) = PATIENCE.checked_sub(begun.elapsed()) {
        match dropped.recv_timeout(left) {
            Ok((at, line)) if line.contains(&address) => return Ok(Some(at.duration_since(begun))),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    Ok(None)
}

/// What is put into sets, as the kernel says it.
fn dropped() -> Result<Receiver<(Instant, String)>> {
    let mut command = Command::new("stdbuf");
    command.args(["-oL", "nft", "monitor"]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut monitor = command.spawn().context("could not start nft monitor")?;
    let lines = BufReader::new(monitor.stdout.take().context("nft monitor has no output")?).lines();
    let (told, dropped) = channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok).filter(|line| line.contains("element")) {
            let _ = told.send((Instant::now(), line));
        }
        drop(monitor);
    });
    Ok(dropped)
}

fn toban(program: &Path, dir: &Path) -> Result<Started> {
    let config = dir.join("toban.toml");
    let text = format!(
        "[agent]\nmode = \"act\"\nact_on = [\"credential-attack\"]\nstate = \"{}\"\n",
        dir.join("state").display()
    );
    fs::write(&config, text)?;
    let running = start(Command::new(program).arg("run").arg("--config").arg(&config))?;
    wait_for("toban", || dir.join("state/book/book.db").exists())?;
    Ok(running)
}

fn sshguard(_: &Path, _: &Path) -> Result<Started> {
    let dir = ["/usr/libexec/sshguard", "/usr/lib/sshguard"].into_iter().find(|dir| Path::new(dir).exists());
    let dir = dir.context("sshguard's programs are not where they usually are")?;
    let pipe = format!(
        "{dir}/sshg-logtail {LOG} | {dir}/sshg-parser | {dir}/sshg-blocker -a 30 | {dir}/sshg-fw-nft-sets"
    );
    start(Command::new("sh").args(["-c", &pipe]))
}

fn fail2ban(_: &Path, dir: &Path) -> Result<Started> {
    shell(&format!("cp -r /etc/fail2ban/. {0}; rm -f {0}/jail.d/*", dir.display()))?;
    fs::write(dir.join("fail2ban.local"), "[Definition]\ndbfile = :memory:\n")?;
    let jail = format!(
        "[DEFAULT]\nbackend = pyinotify\nbanaction = nftables-multiport\nmaxretry = 5\n[sshd]\nenabled = true\nlogpath = {LOG}\n"
    );
    fs::write(dir.join("jail.local"), jail)?;
    let (socket, pid) = (dir.join("socket"), dir.join("pid"));
    let mut command = Command::new("fail2ban-server");
    command.arg("-c").arg(dir).arg("-s").arg(&socket).arg("-p").arg(pid);
    command.args(["--logtarget", "/dev/null", "-xf", "start"]);
    let running = start(&mut command)?;
    wait_for("fail2ban", || socket.exists())?;
    Ok(running)
}

fn wait_for(what: &str, there: impl Fn() -> bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !there() {
        if Instant::now() > until {
            bail!("{what} did not begin");
        }
        sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn shell(script: &str) -> Result<()> {
    ensure!(Command::new("sh").args(["-ec", script]).status()?.success(), "could not do: {script}");
    Ok(())
}
