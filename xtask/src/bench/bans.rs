//! `cargo xtask bench bans`: many bans with their times in the kernel, toban beside the programs that do that otherwise.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail, ensure};

use super::measure::{self, Run, spread};
use super::table::grouped;
use crate::steps::{cargo, target_dir};

/// Arguments of `bench bans`.
#[derive(clap::Args)]
pub(super) struct BansArgs {
    /// Addresses that are banned
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    hosts: u32,
    /// Networks (/24) that are banned
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    networks: u32,
    /// How often each program runs
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
}

/// One of the programs; each is started in a network namespace of its own, which takes all along when it ends.
struct Way {
    name: &'static str,
    program: &'static str,
    command: fn(&Input) -> Command,
}

struct Input {
    toban: PathBuf,
    dir: PathBuf,
    count: u32,
    length: u32,
}

const WAYS: &[Way] = &[
    Way {
        name: "toban",
        program: "unshare",
        command: |input| aside(&input.toban, &[&input.count, &input.length]),
    },
    Way {
        name: "nft -f",
        program: "nft",
        command: |input| aside(Path::new("nft"), &[&"-f", &input.file("nft")]),
    },
    Way {
        name: "ipset restore",
        program: "ipset",
        command: |input| aside(Path::new("ipset"), &[&"restore", &"-f", &input.file("ipset")]),
    },
];

fn aside(program: &Path, arguments: &[&dyn ToString]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--"]).arg(program).args(arguments.iter().map(|argument| argument.to_string()));
    command
}

impl Input {
    fn file(&self, kind: &str) -> String {
        self.dir.join(format!("bans-{}.{kind}", self.length)).display().to_string()
    }

    /// The same bans in the other programs' words: an hour each.
    fn write(&self) -> Result<()> {
        let network = |n: u32| (Ipv4Addr::from(0x0b00_0000 + (n << (32 - self.length))), self.length);
        // As a script would do it: in commands of some thousand, which nft reads fastest.
        const AT_ONCE: u32 = 5_000;
        let is_host = self.length == 32;
        let mut nft = BufWriter::new(File::create(self.file("nft"))?);
        let flags = if is_host { "timeout" } else { "interval, timeout" };
        writeln!(nft, "table inet bench {{\n set bans {{ type ipv4_addr; flags {flags};\n }}\n}}")?;
        for from in (0..self.count).step_by(AT_ONCE as usize) {
            write!(nft, "add element inet bench bans {{ ")?;
            for n in from..(from + AT_ONCE).min(self.count) {
                let (address, length) = network(n);
                let length = if is_host { String::new() } else { format!("/{length}") };
                write!(nft, "{address}{length} timeout 1h, ")?;
            }
            writeln!(nft, "}}")?;
        }
        let mut ipset = BufWriter::new(File::create(self.file("ipset"))?);
        let kind = if is_host { "ip" } else { "net" };
        writeln!(ipset, "create bans hash:{kind} timeout 3600 maxelem {}", self.count)?;
        for n in 0..self.count {
            let (address, length) = network(n);
            writeln!(ipset, "add bans {address}/{length}")?;
        }
        nft.flush()?;
        Ok(ipset.flush()?)
    }
}

/// Runs the benchmark.
pub(super) fn run(args: &BansArgs) -> Result<ExitCode> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "bans need root; every program runs in a network namespace of its own"
    );
    let toban = build()?;
    let dir = std::env::temp_dir().join(format!("toban-bench-bans-{}", std::process::id()));
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    for (what, count, length) in [("addresses", args.hosts, 32), ("networks (/24)", args.networks, 24)] {
        let input = Input { toban: toban.clone(), dir: dir.clone(), count, length };
        input.write()?;
        println!("{} {what}, an hour each, {} rounds in turns", grouped(u64::from(count)), args.rounds);
        println!("  {:<14} {:>20} {:>9} {:>9} {:>12}", "", "wall s", "CPU s", "peak MiB", "toban's CPU ×");
        let mut runs: Vec<(&Way, Vec<Run>)> = WAYS.iter().map(|way| (way, Vec::new())).collect();
        for _ in 0..args.rounds {
            for (way, runs) in &mut runs {
                if is_there(way.program) {
                    let run = measure::run(
                        &mut (way.command)(&input),
                        None,
                        &dir.join(way.name.replace(' ', "-")),
                    )?;
                    ensure!(run.status.success(), "{} failed with {}", way.name, run.status);
                    runs.push(run);
                }
            }
        }
        let mut own = None;
        for (way, runs) in runs {
            let Some([wall, least, most]) = spread(runs.iter().map(|run| run.wall.as_secs_f64()).collect())
            else {
                println!("  {:<14} is not here", way.name);
                continue;
            };
            let [cpu, ..] =
                spread(runs.iter().map(|run| run.cpu.as_secs_f64()).collect()).unwrap_or_default();
            let peak = runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0) >> 20;
            let ratio = cpu / *own.get_or_insert(cpu);
            println!(
                "  {:<14} {:>20} {cpu:>9.2} {peak:>9} {ratio:>12.1}",
                way.name,
                format!("{wall:.2} ({least:.2}–{most:.2})")
            );
        }
        let one = fs::read_to_string(dir.join("toban"))?;
        if let [median, p99] = one.split_whitespace().collect::<Vec<_>>()[..] {
            println!("  one more by toban, looked up: median {:.2} ms, p99 {:.2} ms", ms(median)?, ms(p99)?);
        }
    }
    fs::remove_dir_all(&dir)?;
    Ok(ExitCode::SUCCESS)
}

fn ms(seconds: &str) -> Result<f64> {
    Ok(seconds.parse::<f64>()? * 1000.0)
}

pub(super) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn build() -> Result<PathBuf> {
    let built = cargo(["build", "--release", "--package", "toban-respond", "--example", "bans"]).status()?;
    if !built.success() {
        bail!("the measurement could not be built");
    }
    Ok(target_dir().join("release/examples/bans"))
}
