//! Wrong passwords at sshd, by OpenSSH's own client: of attackers one after the other, of an administrator once.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::attackers::Attackers;

/// A program that answers every question for a password with a wrong one.
pub(super) fn wrong_password(beside: &Path) -> anyhow::Result<PathBuf> {
    let path = beside.with_extension("askpass");
    fs::write(&path, "#!/bin/sh\necho wrong$$\n")?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// One connection with one wrong password.
pub(super) fn try_login(source: Ipv4Addr, target: Ipv4Addr, user: &str, askpass: &Path) {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "ssh", "-F", "none", "-b", &source.to_string(), "-l", user]);
    for option in [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "PreferredAuthentications=password",
        "NumberOfPasswordPrompts=1",
        "ConnectTimeout=10",
    ] {
        command.args(["-o", option]);
    }
    command.arg(target.to_string()).arg("true").env_clear();
    command.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/nonexistent");
    command.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
    // Whether it got through or not, it goes on.
    let _ = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

/// Goes on until the incident is over.
pub(super) fn guess(
    all: &Attackers,
    source: Ipv4Addr,
    users: &[String],
    pause_ms: u64,
    askpass: &Path,
    mut rng: fastrand::Rng,
) {
    loop {
        thread::sleep(Duration::from_millis(rng.u64(pause_ms / 2..=pause_ms * 3 / 2)));
        all.begin();
        let Some(user) = rng.choice(users) else { return };
        try_login(source, *all.plan.target.ip(), user, askpass);
    }
}
