//! `cargo xtask test`: every test, on a machine that has no more than a Rust toolchain and a C compiler.
//!
//! As root on Debian it first installs the servers that the lab is made of. Tests that bring up a lab bring real
//! servers to their knees and measure seconds; they run last, one at a time, when nothing is left to compile.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;

use toban_lab::LabError;

use crate::steps::{Steps, Stop, cargo, has_cargo, root, show};
use crate::{check, fuzz};

/// Arguments of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out format, lints, documentation and licences
    #[arg(long)]
    no_check: bool,
    /// Leave out the inputs that are made up anew; those that were kept are tests as all others
    #[arg(long)]
    no_fuzz: bool,
    /// Leave out the tests that bring up a lab
    #[arg(long)]
    no_lab: bool,
}

/// A test that cannot be here says so in a line with this word.
const SKIPPED: &str = "SKIPPED";
/// The tests that bring up a lab; the same words stand in `.config/nextest.toml`.
const LAB_TESTS: &str = "kind(test) & (package(toban-lab) | binary(/^(lab|up_and_down)/))";

/// Runs all tests.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut steps = Steps::new();
    if args.no_lab {
        steps.skip("lab", "--no-lab was given");
    } else {
        install(&mut steps);
    }
    if args.no_check {
        steps.skip("checks", "--no-check was given");
    } else {
        check::all(&mut steps);
    }
    // Documentation's examples first: what they compile is not in the lab's way later.
    steps.run("doc tests", &mut cargo(["test", "--workspace", "--doc", "--quiet"]));
    if args.no_fuzz {
        steps.skip("fuzz", "--no-fuzz was given");
    } else {
        fuzz::step(&mut steps);
    }
    if has_cargo("nextest") {
        nextest(&mut steps, args);
    } else {
        libtest(&mut steps, args);
    }
    steps.finish()
}

/// The lab's packages. Where they cannot be, its tests skip themselves; that is said first and last.
fn install(steps: &mut Steps) {
    steps.measured("lab", "installing its Debian packages", || {
        // What it lacks after an installation that went well is this machine's nature, not a mistake.
        match toban_lab::install().and_then(|()| toban_lab::check()) {
            Ok(()) => Ok("it can be here".into()),
            Err(LabError::Skip { because }) => Err(Stop::Skipped(because)),
            Err(error) => Err(Stop::Failed(format!("its packages could not be installed: {error}"))),
        }
    });
}

fn nextest(steps: &mut Steps, args: &Args) {
    if !steps.run("build", &mut cargo(["nextest", "run", "--workspace", "--no-run"])) {
        return;
    }
    // Below the workspace's own directory wherever cargo builds: `[store]` in its configuration says so.
    let report = root().join("target/nextest/default/tests.xml");
    // A report of an earlier run must not speak for this one.
    let _ = fs::remove_file(&report);
    let mut command = cargo(["nextest", "run", "--workspace", "--no-fail-fast", "--status-level", "slow"]);
    if args.no_lab {
        command.args(["-E", &format!("not ({LAB_TESTS})")]);
    }
    let mut skipped = Vec::new();
    steps.measured("tests", &show(&command), || {
        let status = command.stdin(Stdio::null()).status().map_err(|error| error.to_string())?;
        let report = fs::read_to_string(&report).unwrap_or_default();
        skipped = report.lines().filter_map(skip_line).collect();
        let number = |key| attribute(&report, key).unwrap_or_else(|| "?".into());
        let remark = format!("{} run, {} failed", number("tests"), number("failures"));
        if status.success() { Ok(remark) } else { Err(remark.into()) }
    });
    steps.skipped_tests(skipped);
}

/// Without nextest: cargo's own runner, the lab's tests apart and on one thread.
fn libtest(steps: &mut Steps, args: &Args) {
    if !steps.run("build", &mut cargo(["test", "--workspace", "--no-run", "--quiet"])) {
        return;
    }
    let (lab, others) = test_targets();
    // The same selection of packages for both, since another one would compile them anew with other features.
    let mut first = cargo(["test", "--workspace", "--no-fail-fast", "--quiet", "--lib", "--bins"]);
    first.args(others.iter().flat_map(|name| ["--test", name])).args(["--", "--show-output"]);
    with_output(steps, "tests", &mut first);
    if args.no_lab || lab.is_empty() {
        return;
    }
    let mut second = cargo(["test", "--workspace", "--no-fail-fast"]);
    second.args(lab.iter().flat_map(|name| ["--test", name]));
    second.args(["--", "--show-output", "--test-threads=1"]);
    with_output(steps, "tests in the lab", &mut second);
}

/// The names of the integration tests: those that bring up a lab, and all others.
fn test_targets() -> (Vec<String>, Vec<String>) {
    let mut packages = ["fuzz", "lab", "xtask"].map(|name| root().join(name)).to_vec();
    let crates = fs::read_dir(root().join("crates")).into_iter().flatten().flatten();
    packages.extend(crates.map(|entry| entry.path()));
    let (mut lab, mut others) = (Vec::new(), Vec::new());
    for package in packages {
        for entry in fs::read_dir(package.join("tests")).into_iter().flatten().flatten() {
            let path = entry.path();
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
            if path.extension().is_none_or(|extension| extension != "rs") && !path.join("main.rs").exists() {
                continue;
            }
            let of_lab = package.ends_with("lab") || name.starts_with("lab");
            if of_lab { lab.push(name.to_owned()) } else { others.push(name.to_owned()) }
        }
    }
    (lab, others)
}

/// Runs a command with its output shown, and keeps what it says about tests.
fn with_output(steps: &mut Steps, name: &'static str, command: &mut Command) {
    let said = Mutex::new(Vec::new());
    steps.measured(name, &show(command), || {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        thread::scope(|scope| {
            for from in [child.stdout.take().map(boxed), child.stderr.take().map(boxed)].into_iter().flatten()
            {
                scope.spawn(|| pass_on(from, &said));
            }
        });
        let status = child.wait().map_err(|error| error.to_string())?;
        let said = said.lock().map_err(|error| error.to_string())?;
        let (passed, failed) =
            said.iter().filter_map(|line| counts(line)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let remark = format!("{} run, {failed} failed", passed + failed);
        if status.success() { Ok(remark) } else { Err(remark.into()) }
    });
    steps.skipped_tests(
        said.into_inner().unwrap_or_default().iter().filter_map(|line| skip_line(line)).collect(),
    );
}

fn boxed(from: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(from)
}

fn pass_on(from: Box<dyn Read + Send>, said: &Mutex<Vec<String>>) {
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line).into_owned();
        // Nobody reads any more: the tests go on, and their result is still the exit code.
        let _ = writeln!(std::io::stderr(), "{line}");
        if (line.contains(SKIPPED) || line.starts_with("test result:"))
            && let Ok(mut said) = said.lock()
        {
            said.push(line);
        }
    }
}

/// `test result: ok. 12 passed; 0 failed; …`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let rest = line.strip_prefix("test result:")?;
    let before = |word: &str| rest.split(word).next()?.trim_end().rsplit(' ').next()?.parse().ok();
    Some((before("passed")?, before("failed")?))
}

/// The line of a test that was skipped, without the word itself and the report's quoting.
fn skip_line(line: &str) -> Option<String> {
    let (_, after) = line.split_once(SKIPPED)?;
    let after = after.trim_start_matches([' ', ':', ',']);
    let plain = [("&quot;", "\""), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    Some(plain.iter().fold(after.to_owned(), |text, (from, to)| text.replace(from, to)))
}

/// The first attribute of this name in an XML document.
fn attribute(xml: &str, name: &str) -> Option<String> {
    let (_, after) = xml.split_once(&format!(" {name}=\""))?;
    Some(after.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runners_say_is_understood() {
        assert_eq!(counts("test result: ok. 12 passed; 3 failed; 0 ignored; 0 measured"), Some((12, 3)));
        assert_eq!(counts("test a ... ok"), None);
        assert_eq!(skip_line("x SKIPPED, because &apos;a&apos;").unwrap(), "because 'a'");
        assert_eq!(attribute(r#"<testsuites name="n" tests="7""#, "tests").unwrap(), "7");
    }

    #[test]
    fn nextest_and_this_agree_about_the_tests_in_the_lab() {
        let config = fs::read_to_string(root().join(".config/nextest.toml")).unwrap();
        assert!(config.contains(&format!("filter = '{LAB_TESTS}'")));
        let (lab, others) = test_targets();
        assert!(lab.contains(&"up_and_down".to_owned()) && others.contains(&"tidy".to_owned()));
    }
}
