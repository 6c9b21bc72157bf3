//! `cargo xtask lab`: labs by hand. Data goes to stdout as JSON, messages to stderr.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use toban_lab::{Lab, LabError, Life, Params, Stats};

/// Arguments of `lab`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the Debian packages that the lab is made of (root, apt)
    Install,
    /// Bring a lab up: `lab up connect-flood --seed 7 --workers 80`
    Up {
        /// The instance's name; also the scenario's unless --scenario is given
        name: String,
        /// --scenario ID, --seed N, --lifetime 30m, and the scenario's own parameters, as `--key value`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        parameters: Vec<String>,
    },
    /// Let normal traffic flow for a while and show how it went
    Quiet {
        name: String,
        #[arg(long = "for", default_value = "60s", value_parser = duration)]
        during: Duration,
    },
    /// Let the attackers loose
    Incident {
        name: String,
        #[arg(long = "for", default_value = "60s", value_parser = duration)]
        during: Duration,
        /// Return at once; the attack ends by itself
        #[arg(long)]
        background: bool,
    },
    /// End the attack
    StopIncident { name: String },
    /// Run a command inside a test host: `lab exec NAME [HOST] -- ss -tn`
    Exec {
        name: String,
        /// The web server's host unless given
        host: Option<String>,
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Print what really is the case
    Truth { name: String },
    /// Print how normal clients fared
    Stats {
        name: String,
        #[arg(long = "for", default_value = "30s", value_parser = duration)]
        during: Duration,
    },
    /// Take a lab down
    Down { name: String },
    /// List the labs of this machine
    List,
    /// List the scenarios
    Scenarios,
}

/// Runs one command; a lab that cannot be here is no failure of the command.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    match lab(args.command) {
        Ok(code) => Ok(code),
        Err(error) => match error.downcast_ref::<LabError>() {
            Some(LabError::Usage(_)) => {
                eprintln!("error: {error}");
                Ok(ExitCode::from(2))
            }
            _ => Err(error),
        },
    }
}

fn lab(command: Command) -> Result<ExitCode> {
    match command {
        Command::Install => toban_lab::install()?,
        Command::Up { name, parameters } => {
            let (scenario, params) = parse(&name, &parameters)?;
            let lab = Lab::up_named(&name, &scenario, &params, Life::Detached)?;
            eprintln!("lab {name} is up: hosts {}", lab.hosts().join(", "));
            if !lab.has_own_vitals() {
                eprintln!("lxcfs does not work here: hosts show the machine's memory, CPU and load");
            }
        }
        Command::Quiet { name, during } => print_stats(&Lab::open(&name)?.quiet(during)?)?,
        Command::Incident { name, during, background } => {
            let mut lab = Lab::open(&name)?;
            lab.start_incident(during)?;
            if !background {
                std::thread::sleep(during);
                lab.stop_incident()?;
                print_stats(&lab.stats(during)?)?;
            }
        }
        Command::StopIncident { name } => Lab::open(&name)?.stop_incident()?,
        Command::Exec { name, host, command } => {
            let lab = Lab::open(&name)?;
            let host = host.unwrap_or_else(|| lab.web().to_owned());
            let argv: Vec<&str> = command.iter().map(String::as_str).collect();
            let status = lab.command(&host, &argv)?.status().context("could not enter the host")?;
            return Ok(ExitCode::from(status.code().unwrap_or(255) as u8));
        }
        Command::Truth { name } => println!("{}", serde_json::to_string_pretty(&Lab::open(&name)?.truth()?)?),
        Command::Stats { name, during } => print_stats(&Lab::open(&name)?.stats(during)?)?,
        Command::Down { name } => Lab::down_named(&name)?,
        Command::List => println!("{}", serde_json::to_string_pretty(&toban_lab::list())?),
        Command::Scenarios => {
            for scenario in toban_lab::scenarios::ALL {
                println!("{}\t{}", scenario.id, scenario.about);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The head as one object, and a row for each second.
fn print_stats(stats: &Stats) -> Result<()> {
    println!("{}", serde_json::to_string(stats)?);
    let share = stats.ok_share.map_or("none".to_owned(), |share| format!("{:.1} %", share * 100.0));
    eprintln!(
        "{} requests in {:.0} s, {share} ok, p50 {} ms, p95 {} ms",
        stats.total,
        stats.to - stats.from,
        stats.p50_ms.unwrap_or(0),
        stats.p95_ms.unwrap_or(0)
    );
    Ok(())
}

/// `--key value` and `--key=value`; which keys exist only the scenario knows.
fn parse(name: &str, parameters: &[String]) -> Result<(String, Params)> {
    let (mut scenario, mut params) = (name.to_owned(), Params::default());
    let mut rest = parameters.iter();
    while let Some(word) = rest.next() {
        let Some(key) = word.strip_prefix("--") else { bail!("expected --key value, found {word}") };
        let (key, value) = match key.split_once('=') {
            Some((key, value)) => (key, value.to_owned()),
            None => (key, rest.next().with_context(|| format!("--{key} has no value"))?.clone()),
        };
        match key {
            "scenario" => scenario = value,
            "seed" => params.seed = value.parse().with_context(|| format!("--seed {value}"))?,
            "lifetime" => params.lifetime = duration(&value).map_err(anyhow::Error::msg)?,
            _ => params = params.with(key, value),
        }
    }
    Ok((scenario, params))
}

/// `90`, `90s`, `15m`, `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(format!("{text}: use s, m or h")),
    };
    number
        .parse::<u64>()
        .map(|n| Duration::from_secs(n * factor))
        .map_err(|_| format!("{text}: not a duration"))
}
