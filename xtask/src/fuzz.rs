//! `cargo xtask fuzz`: feeds the log engine what strangers could feed it, and sees that no promise breaks.
//!
//! The engine is libFuzzer, built from source. The compiler puts counters into the code that is fed, by which the engine
//! sees that an input led somewhere new and is worth going on from. That needs no more than stable Rust and a C++
//! compiler: nothing is unsafe in toban, so no sanitizer is needed to find more than panics, hangs and memory.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use std::{env, fmt, fs};

use anyhow::{Context as _, Result, bail};

use crate::steps::{Steps, Stop, cargo, root, show, target_dir};

/// Arguments of `fuzz`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to feed, by the names of the files in fuzz/src/targets [default: all]
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each is fed
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// What chance begins with [default: another number each time, which is said]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
    /// How many processes feed a target
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    jobs: u32,
    /// Feed this file once, and nothing else
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Make the seeds anew that come from the formats' samples, and feed nothing
    #[arg(long, conflicts_with_all = ["targets", "input"])]
    seeds: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask fuzz                                every target for a minute
  cargo xtask fuzz lines --seconds 3600 --jobs 8  one target for an hour on eight cores
  cargo xtask fuzz lines --seed 7                 one target, by the same chances as another time
  cargo xtask fuzz lines --input FILE             see again what an input does
  cargo xtask fuzz --seeds                        after a format's samples have changed

What is found stands in target/fuzz/found/TARGET. Once it is mended, its input belongs into
fuzz/regressions/TARGET, where an ordinary test feeds it for ever. What led somewhere new is kept in
target/fuzz/corpus/TARGET, and the next run goes on from there.";

/// What makes the compiler put in counters: those of `cargo fuzz`, all of which a stable compiler takes.
const INSTRUMENT: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    // Two conditions made one would be one place less to get to.
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "--cfg=fuzzing",
];

/// Longer inputs cost more than they find: every limit that stands in the code and not in a file's size is within this.
const INPUT_BYTES_MAX: usize = 8192;
/// One input takes some milliseconds, seldom a second; who takes this long, hangs, however busy the machine is.
const HANG: Duration = Duration::from_secs(60);
/// Bounded is what does not need more than this, in MiB.
const MEMORY_MIB: u32 = 1024;
/// How many inputs each target is fed as a test: some seconds' worth.
const TEST_INPUTS: &[(&str, u64)] = &[
    ("archives", 3000),
    ("cases", 4000),
    ("compile", 15_000),
    ("detect", 300),
    ("forgery", 50_000),
    ("lines", 10_000),
    ("sniff", 2000),
    ("transports", 10_000),
];

/// How inputs are made up.
#[derive(Clone, Copy)]
enum Feeding {
    /// Going on from what earlier ones found.
    Explore { seconds: u64, seed: u32, jobs: u32 },
    /// So many, and the same every time and everywhere: then it is the change that makes a test fail.
    Same { inputs: u64 },
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if args.seeds {
        let mut seeds =
            cargo(["test", "--package", "toban-fuzz", "--quiet", "--test", "replay", "the_seeds"]);
        return exit_code(seeds.env("UPDATE_EXPECT", "1"));
    }
    let known = targets()?;
    if let Some(target) = args.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no target {target:?}; there are {}", known.join(", "));
    }
    if let Some(input) = &args.input {
        let [target] = &args.targets[..] else { bail!("--input needs the one target that it is for") };
        let built = build().map_err(|stop| match stop {
            Stop::Failed(why) | Stop::Skipped(why) => anyhow::anyhow!(why),
        })?;
        return exit_code(engine(&built, target).arg(input));
    }
    let mut steps = Steps::new();
    // Zero is the engine's word for a seed of its own.
    let seed = args.seed.unwrap_or_else(|| (RandomState::new().hash_one(0) as u32).max(1));
    let feeding = Feeding::Explore { seconds: args.seconds, seed, jobs: args.jobs };
    let mut engine = None;
    steps.measured("build", "the engine, and the code with its counters", || {
        engine = Some(build()?);
        Ok(String::new())
    });
    for target in if args.targets.is_empty() { known } else { args.targets.clone() } {
        let Some(engine) = &engine else { break };
        let log = place("log", &target);
        let about = format!("for {} s with --seed {seed}; its log is {}", args.seconds, log.display());
        // The summary's names live as long as the program, and so do these few.
        steps.measured(target.clone().leak(), &about, || Ok(feed(engine, &target, feeding)?.to_string()));
    }
    Ok(steps.finish())
}

/// All targets with the same inputs every time, as a step of the tests.
pub(crate) fn step(steps: &mut Steps) {
    steps.measured("fuzz", "each target for some seconds, with the same inputs as ever", || {
        let engine = build()?;
        let (mut fed, mut wrong) = (0, Vec::new());
        for (target, inputs) in TEST_INPUTS {
            match feed(&engine, target, Feeding::Same { inputs: *inputs }) {
                Ok(done) => fed += done.inputs,
                Err(Stop::Failed(why)) => wrong.push(why),
                Err(skipped) => return Err(skipped),
            }
        }
        match wrong.is_empty() {
            true => Ok(format!("{} targets, {fed} inputs", TEST_INPUTS.len())),
            false => Err(wrong.join("\n").into()),
        }
    });
}

fn exit_code(command: &mut Command) -> Result<ExitCode> {
    let status = command.status().with_context(|| format!("could not run {}", show(command)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The names of all targets.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/src/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if name != "mod" {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Where something of a target is kept.
fn place(what: &str, target: &str) -> PathBuf {
    target_dir().join("fuzz").join(what).join(target)
}

/// Builds the engine with all targets; the program.
fn build() -> Result<PathBuf, Stop> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let asked = Command::new(&compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !asked.is_ok_and(|status| status.success()) {
        return Err(Stop::Skipped(format!("there is no C++ compiler ({})", compiler.display())));
    }
    let about = cargo(["-vV"]).output().context("could not run cargo")?;
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo names no host")?;
    let folder = target_dir().join("fuzz");
    let mut build = cargo(["build", "--package", "toban-fuzz", "--features", "engine", "--profile", "fuzz"]);
    // Named, so that the flags are for the program and not for what helps to build it.
    build.args(["--target", host]).arg("--target-dir").arg(&folder);
    build.env("CARGO_ENCODED_RUSTFLAGS", INSTRUMENT.join("\x1f"));
    let built = build.status().context("could not run cargo")?;
    if !built.success() {
        return Err("the engine could not be built".to_owned().into());
    }
    Ok(folder.join(host).join("fuzz/toban-fuzz"))
}

/// The engine for a target, which ends where an input hangs or eats memory.
fn engine(engine: &Path, target: &str) -> Command {
    let mut command = Command::new(engine);
    command.env("TOBAN_FUZZ_TARGET", target);
    command.arg(format!("-timeout={}", HANG.as_secs())).arg(format!("-rss_limit_mb={MEMORY_MIB}"));
    command
}

/// What came of feeding.
struct Fed {
    inputs: u64,
    took: Duration,
    /// Places in the code that inputs came to.
    places: u64,
}

impl fmt::Display for Fed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fed { inputs, took, places } = self;
        write!(f, "{inputs} inputs, {} a second, came to {places} places", inputs / took.as_secs().max(1))
    }
}

fn feed(program: &Path, target: &str, feeding: Feeding) -> Result<Fed, Stop> {
    let (corpus, found, log) = (place("corpus", target), place("found", target), place("log", target));
    for folder in [&corpus, &found, log.parent().expect("it was joined")] {
        fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
    }
    let mut command = engine(program, target);
    command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    // With the slash it is a folder.
    command.arg(format!("-artifact_prefix={}/", found.display()));
    command.current_dir(root().join("fuzz"));
    let kept = ["seeds", "regressions"].map(|kept| Path::new(kept).join(target));
    let kept = kept.into_iter().filter(|folder| root().join("fuzz").join(folder).exists());
    match feeding {
        Feeding::Explore { seconds, seed, jobs } => {
            command.arg(format!("-max_total_time={seconds}")).arg(format!("-seed={seed}"));
            if jobs > 1 {
                command.arg(format!("-fork={jobs}"));
            }
            // What is new is written to the first, and all are begun with.
            command.arg(&corpus).args(kept);
        }
        Feeding::Same { inputs } => {
            command.arg(format!("-runs={inputs}")).arg("-seed=1");
            // Numbers that were compared may be addresses in memory, which are others each time.
            command.arg("-use_cmp=0");
            // A folder's own order depends on the file system.
            let files: Vec<String> = kept.map(|folder| files(&folder)).collect::<Result<Vec<_>>>()?.concat();
            command.arg(format!("-seed_inputs={}", files.join(",")));
        }
    }
    let output = fs::File::create(&log).with_context(|| format!("could not write {}", log.display()))?;
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).status();
    let status = status.context("could not run the engine")?;
    // What it says holds bytes of the inputs.
    let said = fs::read(&log).with_context(|| format!("could not read {}", log.display()))?;
    let said = String::from_utf8_lossy(&said);
    if status.success() {
        let (inputs, places) = reached(&said).context("the engine does not say what it did")?;
        return Ok(Fed { inputs, places, took: began.elapsed() });
    }
    let mut why = format!("{target}: {}", what_happened(&said).unwrap_or_else(|| status.to_string()));
    match said.lines().find_map(|line| line.split_once("Test unit written to ")) {
        Some((_, input)) => {
            why +=
                &format!("\n  the input: {input}\n  see it again: cargo xtask fuzz {target} --input {input}");
        }
        None => why += &format!("\n  its log: {}", log.display()),
    }
    Err(why.into())
}

/// The files in a folder below `fuzz`, in the order of their names.
fn files(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let list = fs::read_dir(root().join("fuzz").join(folder));
    for entry in list.with_context(|| format!("could not list {}", folder.display()))? {
        files.push(folder.join(entry?.file_name()).display().to_string());
    }
    files.sort();
    Ok(files)
}

/// Inputs and places, by the last line of the engine that counts them: `#1024 NEW cov: 17 ft: 20 …`.
fn reached(said: &str) -> Option<(u64, u64)> {
    said.lines().rev().find_map(|line| {
        let (inputs, rest) = line.strip_prefix('#')?.split_once([' ', '\t', ':'])?;
        let places = rest.split_once("cov: ")?.1.split(' ').next()?;
        Some((inputs.parse().ok()?, places.parse().ok()?))
    })
}

/// The panic, or what the engine itself did not like.
fn what_happened(said: &str) -> Option<String> {
    let lines: Vec<&str> = said.lines().collect();
    if let Some(at) =
        lines.iter().position(|line| line.contains("' panicked at ") || line.contains(") panicked at "))
    {
        let until =
            lines[at..].iter().position(|line| line.starts_with("note: ")).map_or(at + 2, |end| at + end);
        return Some(lines[at..until.min(lines.len())].join("\n  "));
    }
    let error = lines.iter().find_map(|line| line.split_once("ERROR: libFuzzer: "))?.1;
    Some(error.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_engine_says_is_understood() {
        let said = "INFO: Seed: 1\n#2\tINITED cov: 7 ft: 7 corp: 1/1b\n#3543287\tDONE   cov: 81 ft: 8 corp: 2/7b\n\nDone 3 runs";
        assert_eq!(reached(said), Some((3_543_287, 81)));
        assert_eq!(reached("#42: cov: 12 ft: 34 corp: 5 exec/s 1000 time: 10s\n"), Some((42, 12)));
        assert_eq!(reached("INFO: Seed: 1"), None);
        let panicked = "#2\n\nthread '<unnamed>' (7) panicked at src/a.rs:1:2:\nassertion failed: a\nnote: run with\n==7== ERROR: libFuzzer: deadly signal";
        assert_eq!(
            what_happened(panicked).as_deref(),
            Some("thread '<unnamed>' (7) panicked at src/a.rs:1:2:\n  assertion failed: a")
        );
        let hung = "==7== ERROR: libFuzzer: timeout after 11 seconds";
        assert_eq!(what_happened(hung).as_deref(), Some("timeout after 11 seconds"));
    }

    #[test]
    fn every_target_is_fed_as_a_test_and_has_seeds() {
        let targets = targets().unwrap();
        assert!(TEST_INPUTS.iter().map(|(target, _)| *target).eq(targets.iter().map(String::as_str)));
        for target in targets {
            let folder = root().join("fuzz/seeds").join(&target);
            assert!(fs::read_dir(&folder).is_ok_and(|mut seeds| seeds.next().is_some()), "{target}");
        }
    }
}
