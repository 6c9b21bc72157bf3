//! Every command that a person or CI needs.

mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every command that a person or CI needs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Real incidents on real software, in namespaces of their own
    Lab(lab::Args),
}

fn main() -> ExitCode {
    if let Some(code) = toban_lab::run_role() {
        return ExitCode::from(code as u8);
    }
    let done = match Args::parse().command {
        Command::Lab(args) => lab::run(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "messages go to stderr")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::from(3)
        }
    }
}
