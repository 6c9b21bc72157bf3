//! Runs a test in a network namespace of its own: the test binary starts itself again under unshare(1), since a
//! namespace entered by one thread would need unsafe code and leak into the others.
#![expect(clippy::print_stderr, reason = "what is skipped is said aloud")]

use std::process::Command;

const INSIDE: &str = "TOBAN_TEST_INSIDE_NETNS";

/// `true` inside the namespace, where the test goes on. Outside it runs the same test inside and returns `false`;
/// it says aloud when it cannot.
pub(crate) fn enter(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        sh("ip link set lo up");
        return true;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED {test}: it needs root, for a network namespace of its own");
        return false;
    }
    for program in ["unshare", "ip"] {
        if !has(program) {
            eprintln!("SKIPPED {test}: the program {program} is missing");
            return false;
        }
    }
    let status = Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed inside its network namespace");
    false
}

pub(crate) fn has(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).exists())
}

#[track_caller]
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
