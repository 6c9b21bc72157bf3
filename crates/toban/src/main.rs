//! `toban`: command line, configuration, wiring. What deserves a unit test lives in another crate.

mod actor;
mod case;
mod cli;
mod clock;
mod commands;
mod config;
mod flow;
mod holdings;
mod hooks;
mod inspector;
mod ledger;
mod meter;
mod metrics;
mod out;
mod outage;
mod plans;
mod recorder;
mod rights;
mod run;
mod scan;
mod top;
mod why;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use jiff::tz::TimeZone;

use crate::cli::{Cli, Command, Exit, WhenError};
use crate::config::Config;
use crate::out::{eprint_all, print_all};
use crate::run::Settings;
use crate::why::Asked;

fn main() -> Exit {
    let cli = Cli::parse();
    match answer(&cli) {
        Ok(exit) => exit,
        Err(error) => {
            eprint_all(&format!("toban: {error:#}\n"));
            let usage =
                error.is::<config::Error>() || error.is::<WhenError>() || error.is::<toban_parse::Error>();
            if usage { Exit::Usage } else { Exit::CouldNot }
        }
    }
}

fn answer(cli: &Cli) -> anyhow::Result<Exit> {
    let config = load(cli.global.config.as_deref())?;
    let lang = cli.global.language(|name| std::env::var(name).ok());
    let zone = TimeZone::system();
    let state = cli.global.state.clone().unwrap_or_else(|| state_of(&config));
    let asked = Asked { config: &config, state: &state, zone: zone.clone(), lang, colour: cli.global.color };
    match &cli.command {
        Command::Run(run) => {
            let mode = run.mode.unwrap_or(config.agent.mode);
            let for_actor = run.watch;
            let settings =
                Settings { mode, state: state.clone(), zone, lang, config: config.clone(), for_actor };
            run::run(settings)
        }
        Command::Why(why) => why::why(&asked, why),
        Command::Status(json) => Ok(why::status(&asked, json.json)),
        Command::Top(top) => top::top(&asked, top),
        Command::Fix(fix) => commands::fix(&asked, fix),
        Command::Undo { id } => commands::undo(&asked, *id),
        Command::Actions(json) => commands::actions(&asked, json.json),
        Command::Ban(ban) => commands::ban(&asked, ban),
        Command::Unban { prefix } => commands::unban(&asked, *prefix),
        Command::Bans(json) => commands::bans(&asked, json.json),
        Command::Allow { prefix } => commands::allow(&asked, *prefix),
        Command::Incidents(json) => commands::incidents(&asked, json.json),
        Command::Case(cli::Case::Export(export)) => case::export(&asked, export),
        Command::Replay { case, json } => case::replay(&asked, case, *json),
        Command::Check(check) => {
            print_all(&if check.defaults {
                config::DEFAULT.to_owned()
            } else {
                "the configuration is right\n".into()
            });
            Ok(Exit::Ok)
        }
        Command::Parse(parse) => commands::parse(&asked, parse),
        Command::Scan(scan) => scan::scan(&asked, scan),
        Command::Completions { shell } => {
            cli::completions(*shell, &mut std::io::stdout());
            Ok(Exit::Ok)
        }
        Command::Man { dir } => {
            cli::man(dir)?;
            Ok(Exit::Ok)
        }
    }
}

/// Where the record is kept: a user without rights to the host's place keeps one of their own (XDG base directories).
fn state_of(config: &Config) -> PathBuf {
    let root = rustix::process::geteuid().is_root();
    if root || config.agent.state != Config::default().agent.state {
        return config.agent.state.clone();
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let own =
        std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or_else(home);
    own.map_or_else(|| config.agent.state.clone(), |dir| dir.join("toban"))
}

/// The configuration that was named, or the host's own if there is one, or the defaults.
fn load(named: Option<&Path>) -> anyhow::Result<Config> {
    let causes: Vec<&str> = toban_diagnose::causes::ALL.iter().map(|cause| cause.id).collect();
    let path = match named {
        Some(path) => path,
        None if Path::new(config::PATH).exists() => Path::new(config::PATH),
        None => return Ok(Config::default()),
    };
    Ok(Config::load(path, &causes)?)
}
