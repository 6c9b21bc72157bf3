//! `cargo xtask check`: what is said about the code without running it. Format, lints, documentation, the promises of
//! its structure, and the licences and origins of what it is made of.

use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::steps::{Steps, cargo, has_cargo};

/// The advisories' database is cloned from the network; where there is none, this is long enough to know.
const FETCH_MAX: Duration = Duration::from_secs(60);

/// Runs all checks.
pub(crate) fn run() -> ExitCode {
    let mut steps = Steps::new();
    all(&mut steps);
    tidy(&mut steps);
    steps.finish()
}

/// The checks as steps, the quick ones first.
pub(crate) fn all(steps: &mut Steps) {
    if has_cargo("fmt") {
        steps.run("format", &mut cargo(["fmt", "--all", "--check"]));
    } else {
        steps.skip("format", "rustfmt is not installed (rustup component add rustfmt)");
    }
    deny(steps);
    if has_cargo("clippy") {
        let lints = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        steps.run("clippy", &mut cargo(lints));
    } else {
        steps.skip("clippy", "clippy is not installed (rustup component add clippy)");
    }
    // Private items, too: a link in a comment for maintainers goes stale as well.
    let docs = ["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"];
    steps.run("documentation", cargo(docs).env("RUSTDOCFLAGS", "-D warnings"));
}

/// The promises about the structure, which are tests of this package.
pub(crate) fn tidy(steps: &mut Steps) {
    let tests = ["test", "--package", "xtask", "--quiet", "--test", "arrows", "--test", "tidy"];
    steps.run("tidy", &mut cargo(tests));
}

fn deny(steps: &mut Steps) {
    if !has_cargo("deny") {
        steps.skip("deny", "cargo-deny is not installed (cargo install --locked cargo-deny)");
        return;
    }
    steps.run("deny", &mut cargo(["deny", "--log-level", "error", "check", "licenses", "bans", "sources"]));
    match fetch_advisories() {
        Ok(()) => {
            let check = ["deny", "--log-level", "error", "check", "--disable-fetch", "advisories"];
            steps.run("advisories", &mut cargo(check));
        }
        Err(why) => steps.skip("advisories", format!("their database cannot be reached ({why})")),
    }
}

fn fetch_advisories() -> Result<(), String> {
    let mut fetch = cargo(["deny", "--log-level", "off", "fetch", "db"]);
    // No question for a password, in a place where nobody answers.
    fetch.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = fetch.spawn().map_err(|error| error.to_string())?;
    let until = Instant::now() + FETCH_MAX;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(_) => return Err("no network, or no git".into()),
            None if Instant::now() > until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("no answer within {} s", FETCH_MAX.as_secs()));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
