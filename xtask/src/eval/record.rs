//! Makes a case: a scenario of the lab, an agent that looks on, and what it saw.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use toban_lab::{Lab, Params};

use super::{Expected, folder};
use crate::steps::release_toban;

const QUIET: Duration = Duration::from_secs(40);
/// From the incident's beginning to the export.
const WATCHED: Duration = Duration::from_secs(45);
/// The agent reads what is on the disk first.
const AGENT_BEFORE: Duration = Duration::from_secs(10);

pub(super) fn record(scenario: &str, seed: u64) -> Result<()> {
    toban_lab::install()?;
    toban_lab::check()?;
    let toban = match std::env::var_os("TOBAN_BIN") {
        Some(given) => given.into(),
        None => release_toban()?,
    };
    let mut lab = Lab::up(scenario, &Params::new(seed))?;
    std::fs::copy(&toban, lab.path(lab.web(), "/usr/local/bin/toban")?).context("could not install toban")?;
    eprintln!("{scenario}: quiet for {} s", QUIET.as_secs());
    thread::sleep(QUIET - AGENT_BEFORE);
    let mut agent = lab.spawn(lab.web(), &["toban", "run"])?;
    thread::sleep(AGENT_BEFORE);
    lab.start_incident(WATCHED * 2)?;
    thread::sleep(WATCHED);
    let inside = "/run/toban.case";
    let said = lab.exec(lab.web(), &["toban", "case", "export", "1", "-o", inside])?;
    ensure!(said.status.success(), "no case: {}", String::from_utf8_lossy(&said.stderr));
    let truth = lab.truth()?;
    let innocents = truth.clients.addresses.iter().chain(&truth.balancer).chain([
        &truth.admin,
        &truth.gateway,
        &truth.web.address,
    ]);
    let expected = Expected {
        cause: truth.cause.clone(),
        culprits: truth.attackers.addresses.iter().copied().map(IpAddr::V4).collect(),
        innocents: innocents.copied().map(IpAddr::V4).collect(),
    };
    std::fs::create_dir_all(folder())?;
    let to = folder().join(format!("{scenario}.case"));
    std::fs::copy(lab.path(lab.web(), inside)?, &to)?;
    std::fs::write(to.with_extension("json"), serde_json::to_string_pretty(&expected)? + "\n")?;
    eprintln!("{}: {} bytes", to.display(), std::fs::metadata(&to)?.len());
    let _ = lab.exec(lab.web(), &["pkill", "-INT", "-x", "toban"]);
    let _ = agent.wait();
    lab.down()?;
    Ok(())
}
