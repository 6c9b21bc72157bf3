//! The lab's own processes are one program in several roles. Whoever drives a lab calls [`run_role`] first.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::{boot, keeper, traffic};

/// Runs the role that this process was started for and returns its exit code; `None` for an ordinary start.
pub fn run_role() -> Option<i32> {
    let args: Vec<String> = env::args().collect();
    if rustix::process::getpid().is_init() && args.first().is_some_and(|name| name == "/sbin/init") {
        boot::init();
    }
    let [_, marker, role, rest @ ..] = &args[..] else { return None };
    if marker != "lab-role" {
        return None;
    }
    let rest: Vec<&Path> = rest.iter().map(Path::new).collect();
    let done = match (role.as_str(), &rest[..]) {
        ("keeper", [dir]) => keeper::keep(dir),
        ("boot", [spec]) => boot::boot(spec),
        ("clients", [spec, out]) => traffic::clients::run(spec, out),
        ("admin", [spec, out]) => traffic::admin::run(spec, out),
        ("attackers", [spec, out]) => traffic::attackers::run(spec, out),
        _ => Err(anyhow::anyhow!("no such role: {role} {rest:?}")),
    };
    if let Err(error) = &done {
        #[expect(clippy::print_stderr, reason = "a role has no caller; its stderr is the keeper's log")]
        {
            eprintln!("{role}: {error:#}");
        }
    }
    Some(if done.is_ok() { 0 } else { 1 })
}

/// The program that has the roles: this one, or `toban-lab` beside a test.
pub(crate) fn helper() -> anyhow::Result<PathBuf> {
    if let Some(given) = env::var_os("TOBAN_LAB_HELPER") {
        return Ok(given.into());
    }
    let own = env::current_exe().context("could not find this program")?;
    if own.file_stem().is_some_and(|name| name == "xtask" || name == "toban-lab") {
        return Ok(own);
    }
    let near = own.ancestors().skip(1).take(2).map(|dir| dir.join("toban-lab"));
    match near.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => {
            bail!("no toban-lab near {}; cargo build -p toban-lab, or set TOBAN_LAB_HELPER", own.display())
        }
    }
}

/// A role ends when its parent does. The parent may have gone before this was said, so it is looked at afterwards.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    let parent = rustix::process::getppid();
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if rustix::process::getppid() != parent {
        bail!("the parent is gone");
    }
    Ok(())
}
