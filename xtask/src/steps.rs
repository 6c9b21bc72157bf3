//! Steps of a command, one after the other: each is announced, timed and remembered, and the end says how all went.
//!
//! A failed step does not stop the others, so that one run shows everything that is wrong. What is skipped is said
//! where it happens and again at the end.
#![expect(clippy::print_stderr, reason = "a command line speaks")]

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Why a step did not come to its end.
pub(crate) enum Stop {
    /// Something is wrong.
    Failed(String),
    /// It cannot be done here, and that is no fault.
    Skipped(String),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

struct Done {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    remark: String,
}

/// What was done so far.
pub(crate) struct Steps {
    began: Instant,
    done: Vec<Done>,
    /// Single tests that were skipped, each with its reason.
    skipped_tests: Vec<String>,
}

impl Steps {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), done: Vec::new(), skipped_tests: Vec::new() }
    }

    /// Runs a command as a step; whether it succeeded.
    pub(crate) fn run(&mut self, name: &'static str, command: &mut Command) -> bool {
        self.measured(name, &show(command), || match command.stdin(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(String::new()),
            Ok(status) => Err(status.to_string().into()),
            Err(error) => Err(format!("could not be started: {error}").into()),
        })
    }

    /// Runs something as a step; the remark that it answers with stands in the summary.
    pub(crate) fn measured(
        &mut self,
        name: &'static str,
        about: &str,
        work: impl FnOnce() -> Result<String, Stop>,
    ) -> bool {
        eprintln!("\n── {name}: {about}");
        let began = Instant::now();
        let (outcome, remark) = match work() {
            Ok(remark) => (Outcome::Passed, remark),
            Err(Stop::Failed(remark)) => (Outcome::Failed, remark),
            Err(Stop::Skipped(remark)) => (Outcome::Skipped, remark),
        };
        let passed = matches!(outcome, Outcome::Passed);
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed => eprintln!("── {name} FAILED: {remark}"),
            Outcome::Skipped => eprintln!("── {name} SKIPPED: {remark}"),
        }
        self.done.push(Done { name, outcome, took: began.elapsed(), remark });
        passed
    }

    /// Says aloud that a step is left out.
    pub(crate) fn skip(&mut self, name: &'static str, because: impl Into<String>) {
        let because = because.into();
        eprintln!("\n── {name} SKIPPED: {because}");
        self.done.push(Done { name, outcome: Outcome::Skipped, took: Duration::ZERO, remark: because });
    }

    /// Remembers tests that skipped themselves.
    pub(crate) fn skipped_tests(&mut self, lines: Vec<String>) {
        self.skipped_tests.extend(lines);
    }

    /// The closing summary, and the exit code that goes with it.
    pub(crate) fn finish(self) -> ExitCode {
        let wide = self.done.iter().map(|done| done.name.len()).max().unwrap_or(0);
        eprintln!("\n══ summary");
        for Done { name, outcome, took, remark } in &self.done {
            let word = match outcome {
                Outcome::Passed => "ok",
                Outcome::Failed => "FAILED",
                Outcome::Skipped => "skipped",
            };
            let took = if took.is_zero() { String::new() } else { spoken(*took) };
            eprintln!("{}", format!("  {word:<8} {name:<wide$} {took:>10}  {remark}").trim_end());
        }
        for line in &self.skipped_tests {
            eprintln!("  skipped  {line}");
        }
        let count = |wanted: fn(&Outcome) -> bool| self.done.iter().filter(|d| wanted(&d.outcome)).count();
        let failed = count(|outcome| matches!(outcome, Outcome::Failed));
        let skipped = count(|outcome| matches!(outcome, Outcome::Skipped));
        let tests = self.skipped_tests.len();
        let left_out = match (skipped, tests) {
            (0, 0) => "nothing was skipped".to_owned(),
            (steps, 0) => format!("skipped: {steps} of the steps"),
            (0, tests) => format!("skipped: {tests} tests or parts of tests"),
            (steps, tests) => format!("skipped: {steps} of the steps, {tests} tests or parts of tests"),
        };
        let verdict = match failed {
            0 => "PASSED".to_owned(),
            failed => format!("FAILED: {failed} of {} steps", self.done.len()),
        };
        eprintln!("══ {verdict}, in {}; {left_out}", spoken(self.began.elapsed()));
        if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// The workspace's directory. Known since the build: nobody moves a checkout between building xtask and running it.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// Where this build's results are: the directory above `debug/xtask`.
pub(crate) fn target_dir() -> PathBuf {
    let beside = |own: PathBuf| Some(own.parent()?.parent()?.to_owned());
    env::current_exe().ok().and_then(beside).unwrap_or_else(|| root().join("target"))
}

/// The program as users get it. The first time takes minutes; later there is nothing to do.
pub(crate) fn release_toban() -> Result<PathBuf> {
    eprintln!("building toban");
    let built =
        cargo(["build", "--release", "--package", "toban"]).status().context("could not run cargo")?;
    if !built.success() {
        bail!("toban could not be built");
    }
    Ok(target_dir().join("release/toban"))
}

/// `cargo ARGS`, with the cargo that runs this.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(args).current_dir(root());
    command
}

/// Whether `cargo NAME` is there.
pub(crate) fn has_cargo(name: &str) -> bool {
    let asked =
        cargo([name, "--version"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    asked.is_ok_and(|status| status.success())
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// `42 s`, `3 min 05 s`.
pub(crate) fn spoken(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 1..60 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
