//! `cargo xtask bench`: how fast toban reads logs and how right it is, beside its peers, on the same input in the same run.
//!
//! The input is made from a seed, with the truth about it. Commands take turns, so that whatever else the machine does
//! hits all of them; what counts is the CPU time, which other load disturbs least.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks")]

mod accuracy;
mod bans;
mod crowd;
mod crowdsec;
mod files;
mod generate;
mod measure;
mod peers;
mod reaction;
mod recorder;
mod storm;
mod table;
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use self::accuracy::Answer;
use self::files::{Files, Log};
use self::measure::Run;
use self::peers::{ALL, Peer, Setup, TOP};
use self::table::{Row, grouped};
use self::truth::Truth;
use crate::steps::{Steps, Stop, release_toban};

/// Arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Read a large log, side by side with other programs, and compare toban's answer with the truth
    ///
    /// Makes a day of Apache's access log with attacks in it, and a day of sshd's log, from a seed; runs toban and all
    /// peers that are installed over them in turns; prints lines a second, CPU time and memory; and says whether toban
    /// found all attackers, blamed nobody else, and counted within the bounds that it stated. The exit status is 1 if
    /// it did not.
    ///
    /// A peer that is slow reads a part of the log, and its figures are scaled by lines. One that takes more than two
    /// minutes runs once.
    #[command(after_help = "Examples:
  cargo xtask bench log                                # everything that is installed, about half an hour
  cargo xtask bench log --install                      # as root on Debian: install the peers first
  cargo xtask bench log --lines 500000 --rounds 1      # a quick look
  cargo xtask bench log --only toban,wc --seed 7       # other addresses, attackers and times
  cargo xtask bench log --only toban --distinct        # 10 million clients, each with its own path
  cargo xtask bench log --only toban --history         # a question about ten days of compressed logs
  cargo xtask bench log --only toban --toban ./toban --json bench.json")]
    Log(LogArgs),
    /// Only make the logs, and print where they are
    #[command(after_help = "Examples:
  cargo xtask bench files
  cargo xtask bench files --lines 20000 --dir /tmp/logs --distinct")]
    Files(FilesArgs),
    /// Put many bans into the kernel, beside nft and ipset
    ///
    /// Needs root. Every program runs in a network namespace of its own, so nobody is banned.
    #[command(after_help = "Examples:
  cargo xtask bench bans
  cargo xtask bench bans --hosts 100000 --networks 10000 --rounds 1")]
    Bans(bans::BansArgs),
    /// Watch many processes every second, beside other programs that do, and read a week back
    ///
    /// Starts idle and busy processes, and at the same time toban, atop, sysstat's sadc and node_exporter, as far as they
    /// are installed; prints what each costs, and what more processes and sockets cost toban; then times reading from a
    /// week that was recorded. About ten minutes, and the figures are only as good as the machine is quiet.
    Recorder(recorder::RecorderArgs),
    /// Let a host drown, and see for how long toban and atop are blind
    ///
    /// Hundreds of processes that turn in loops, each in a session of its own, fork loops, memory that runs out in a
    /// control group that also holds the recorders, and writers to the disk. Needs root. The exit status is 1 if toban
    /// was blind for longer than it promises. Everything that it starts ends by itself a minute later at most.
    Storm(storm::StormArgs),
    /// See how soon who guesses passwords is dropped, beside sshguard and fail2ban
    ///
    /// Needs root, nft and stdbuf. Every program runs in namespaces of its own, so nobody is banned. Some ten minutes.
    #[command(after_help = "Examples:
  cargo xtask bench reaction
  cargo xtask bench reaction --tries 20 --tries-of-others 5")]
    Reaction(reaction::ReactionArgs),
    /// One of the processes of `bench recorder` and `bench storm`
    #[command(hide = true)]
    Part(crowd::Part),
}

#[derive(clap::Args)]
struct FilesArgs {
    #[command(flatten)]
    files: Files,
    /// Also a log in which every line has an address and a path of its own
    #[arg(long)]
    distinct: bool,
    /// Also ten days of a rotated log, about 1 GB compressed
    #[arg(long)]
    history: bool,
}

#[derive(clap::Args)]
struct LogArgs {
    #[command(flatten)]
    logs: FilesArgs,
    /// How often each command runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only these
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,
    /// Install the peers first, as far as they can be had (root, Debian); nothing of them is started
    #[arg(long)]
    install: bool,
    /// This program, instead of a release build of this workspace
    #[arg(long, value_name = "PATH")]
    toban: Option<PathBuf>,
    /// Also write everything, with each single run, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    let mut names: Vec<&str> = ALL.iter().map(|peer| peer.id).collect();
    names.sort_unstable();
    names.dedup();
    PossibleValuesParser::new(names)
}

/// What takes longer is not done again.
const SLOW: Duration = Duration::from_secs(120);
/// `toban why` answers within this.
const WHY_WITHIN: Duration = Duration::from_secs(10);

/// Runs the benchmark.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match args.command {
        What::Files(args) => make(&args).map(|()| ExitCode::SUCCESS),
        What::Log(args) => log(&args),
        What::Bans(args) => bans::run(&args),
        What::Recorder(args) => recorder::run(&args),
        What::Storm(args) => storm::run(&args),
        What::Reaction(args) => reaction::run(&args),
        What::Part(part) => crowd::play(&part).map(|()| ExitCode::SUCCESS),
    }
}

fn make(args: &FilesArgs) -> Result<()> {
    let FilesArgs { files, .. } = args;
    for log in args.logs() {
        files.make(log)?;
        println!("{}", files.path(log).display());
    }
    if args.history {
        files.make_history()?;
        println!("{}", files.history().display());
    }
    Ok(())
}

impl FilesArgs {
    fn logs(&self) -> impl Iterator<Item = Log> {
        [Log::Access, Log::Sshd].into_iter().chain(self.distinct.then_some(Log::Distinct))
    }

    /// Makes the logs in a process of its own, which takes the memory for it along when it ends; see
    /// [`Run::peak_bytes`].
    fn make_aside(&self) -> Result<()> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "files", "--seed", &self.files.seed.to_string()]);
        command.args(["--lines", &self.files.lines.to_string(), "--dir"]).arg(self.files.dir());
        command.args(self.distinct.then_some("--distinct")).args(self.history.then_some("--history"));
        let status = command.stdout(io::stderr()).status()?;
        if !status.success() {
            bail!("the logs could not be made");
        }
        Ok(())
    }
}

fn log(args: &LogArgs) -> Result<ExitCode> {
    let LogArgs { logs, .. } = args;
    let dir = logs.files.dir();
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    let mut steps = Steps::new();
    let mut setup = Setup { dir, toban: args.toban.clone() };
    if args.install {
        steps.measured("install", "the peers, as Debian and PyPI have them", || {
            let failed = peers::install(&setup);
            if failed.is_empty() { Ok(String::new()) } else { Err(Stop::Skipped(failed.join("; "))) }
        });
    }
    steps.measured("logs", &format!("made from seed {}", logs.files.seed), || {
        logs.make_aside()?;
        Ok(setup.dir.display().to_string())
    });
    let chosen = |peer: &&Peer| args.only.is_empty() || args.only.iter().any(|only| only == peer.id);
    let chosen = |peer: &&Peer| chosen(peer) && logs.logs().any(|log| log == peer.log);
    if setup.toban.is_none() && ALL.iter().filter(chosen).any(Peer::is_toban) {
        steps.measured("build", "toban, as users get it", || {
            setup.toban = Some(release_toban()?);
            Ok(String::new())
        });
    }
    let (there, absent): (Vec<&Peer>, Vec<&Peer>) =
        ALL.iter().filter(chosen).partition(|peer| peer.is_there(&setup));
    for id in BTreeSet::from_iter(absent.iter().map(|peer| peer.id)) {
        steps.skip("absent", format!("{id} is not here (--install installs what can be had)"));
    }

    let mut rows = Vec::new();
    let mut floor_bytes = 0;
    steps.measured("measure", &format!("{} rounds, in turns", args.rounds), || {
        let failed = rounds(args, &setup, &there, &mut rows)?;
        floor_bytes = measure::run(&mut Command::new("true"), None, &setup.own("true.out"))?.peak_bytes;
        if failed.is_empty() { Ok(String::new()) } else { Err(failed.join("; ").into()) }
    });
    print!("{}", table::text(&rows, logs.files.seed, floor_bytes));
    let versions: BTreeMap<&str, String> =
        there.iter().filter_map(|peer| Some((peer.id, peer.version(&setup)?))).collect();
    let mut document = table::json(&rows, &versions, logs.files.seed);
    document["accuracy"] = judge(&mut steps, &logs.files, &rows);
    if logs.history {
        steps.measured("history", "toban why about ten days", || why(&setup, &logs.files, &mut document));
    }
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&document)? + "\n";
        fs::write(path, text).with_context(|| format!("could not write {}", path.display()))?;
    }
    Ok(steps.finish())
}

/// All rounds; what failed that must not.
fn rounds(
    args: &LogArgs,
    setup: &Setup,
    there: &[&'static Peer],
    rows: &mut Vec<Row>,
) -> Result<Vec<String>> {
    let (mut failed, mut parts) = (Vec::new(), Vec::new());
    for (nth, peer) in there.iter().enumerate() {
        let whole = args.logs.files.path(peer.log);
        let log_lines = args.logs.files.lines_of(peer.log);
        let (log, start) = match peer.part {
            Some(lines) => (files::middle(&whole, lines)?, Some(files::middle(&whole, 1)?)),
            None => (whole.clone(), None),
        };
        let lines = if peer.part.is_some() { files::count(&log)? } else { log_lines };
        // Everything is in memory before the first is measured.
        io::copy(&mut File::open(&log)?, &mut io::sink())?;
        rows.push(Row {
            peer,
            log_lines,
            log_bytes: whole.metadata()?.len(),
            lines,
            runs: Vec::new(),
            starts: Vec::new(),
            out: setup.own(&format!("{nth}-{}.out", peer.id)),
        });
        parts.push((log, start));
    }
    let mut broken = vec![false; rows.len()];
    for round in 1..=args.rounds {
        for (nth, row) in rows.iter_mut().enumerate() {
            if broken[nth] || row.runs.first().is_some_and(|run| run.wall > SLOW) {
                continue;
            }
            eprint!("   {round} of {}: {}, {} … ", args.rounds, row.peer.shown, row.peer.log.name());
            let _ = io::stderr().flush();
            let (log, start) = &parts[nth];
            let measured = once(setup, row.peer, log, &row.out).and_then(|run| {
                let starts = start.as_ref().map(|line| once(setup, row.peer, line, &setup.own("start.out")));
                Ok((run, starts.transpose()?))
            });
            match measured {
                Ok((run, start)) => {
                    eprintln!("{:.2} s, {:.2} s of CPU", run.wall.as_secs_f64(), run.cpu.as_secs_f64());
                    row.runs.push(run);
                    row.starts.extend(start);
                }
                Err(error) => {
                    eprintln!("{error:#}");
                    broken[nth] = true;
                    if row.peer.is_toban() {
                        failed.push(format!("{}, {}: {error:#}", row.peer.shown, row.peer.log.name()));
                    }
                }
            }
        }
    }
    Ok(failed)
}

fn once(setup: &Setup, peer: &Peer, log: &Path, out: &Path) -> Result<Run> {
    peer.prepare(setup)?;
    let stdin = peer.reads_stdin.then_some(log);
    let run = measure::run(&mut peer.command(setup, log), stdin, out)?;
    // 1 is what several of them say when they found nothing, or something.
    if !matches!(run.status.code(), Some(0 | 1)) {
        let said = fs::read_to_string(out.with_extension("err")).unwrap_or_default();
        bail!("{}: {}", run.status, said.lines().last().unwrap_or_default());
    }
    Ok(run)
}

/// Compares each of toban's answers with the truth.
fn judge(steps: &mut Steps, files: &Files, rows: &[Row]) -> Value {
    let mut truths: BTreeMap<Log, Truth> = BTreeMap::new();
    let mut all = Vec::new();
    for row in rows.iter().filter(|row| row.peer.is_toban() && !row.runs.is_empty()) {
        let (log, shown) = (row.peer.log, row.peer.shown);
        steps.measured("accuracy", &format!("{shown}, {}", log.name()), || {
            let truth = truths.entry(log).or_insert_with(|| Truth::of(&*files.generator(log)));
            let said = fs::read_to_string(&row.out).context("its answer could not be read")?;
            let top = if log == Log::Sshd { 0 } else { TOP };
            let checks = accuracy::compare(truth, &Answer::read(&said)?, top);
            let mut wrong = 0;
            for check in &checks {
                let verdict = if check.wrong.is_empty() { "ok" } else { "WRONG" };
                println!("  {verdict:<7}{:<34}{}", check.what, check.remark);
                for what in check.wrong.iter().take(5) {
                    println!("         {what}");
                }
                if check.wrong.len() > 5 {
                    println!("         and {} more", check.wrong.len() - 5);
                }
                wrong += usize::from(!check.wrong.is_empty());
                all.push(json!({"log": log.name(), "by": shown, "what": check.what, "remark": check.remark,
                                "wrong": check.wrong}));
            }
            match wrong {
                0 => Ok(format!("{shown}, {}: {} things compared", log.name(), checks.len())),
                _ => {
                    Err(format!("{shown}, {}: {wrong} of {} things are wrong", log.name(), checks.len())
                        .into())
                }
            }
        });
    }
    all.into()
}

/// One question about a log with ten days behind it.
fn why(setup: &Setup, files: &Files, document: &mut Value) -> Result<String, Stop> {
    let Some(toban) = &setup.toban else { return Err(Stop::Skipped("toban is left out".into())) };
    let log = files.history();
    let folder = log.parent().unwrap_or(&log);
    let mut bytes = 0;
    for entry in fs::read_dir(folder).map_err(anyhow::Error::from)?.flatten() {
        let mut file = File::open(entry.path()).map_err(anyhow::Error::from)?;
        bytes += io::copy(&mut file, &mut io::sink()).map_err(anyhow::Error::from)?;
    }
    let out = setup.own("why.out");
    let began = Instant::now();
    let run = measure::run(Command::new(toban).args(["why", "--json", "--log"]).arg(&log), None, &out)?;
    let took = began.elapsed();
    let said = fs::read_to_string(&out).unwrap_or_default();
    let answer: Value =
        serde_json::from_str(&said).map_err(|error| format!("no answer ({}): {error}", run.status))?;
    println!(
        "\nwhy: {} MB in {}, {:.1} s, {:.1} s of CPU, {} MiB",
        grouped(bytes / 1_000_000),
        folder.display(),
        took.as_secs_f64(),
        run.cpu.as_secs_f64(),
        run.peak_bytes >> 20
    );
    // How far back it reached is in its notes.
    for note in answer["notes"].as_array().into_iter().flatten() {
        println!("     {}", note.as_str().unwrap_or_default());
    }
    document["history"] = json!({"bytes": bytes, "wall_s": took.as_secs_f64(), "cpu_s": run.cpu.as_secs_f64(),
        "peak_bytes": run.peak_bytes, "verdict": answer["verdict"], "notes": answer["notes"]});
    let remark = format!("verdict {}", answer["verdict"].as_str().unwrap_or("?"));
    if took > WHY_WITHIN {
        Err(format!("{remark}, but after {} s", took.as_secs()).into())
    } else {
        Ok(remark)
    }
}
