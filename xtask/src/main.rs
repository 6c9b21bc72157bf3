//! Every command that a person or CI needs.

mod bench;
mod check;
mod demo;
mod eval;
mod fuzz;
mod lab;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Every command that a person or CI needs.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Every test; as root on Debian it installs what they need, otherwise it says what it skips
    Test(test::Args),
    /// Format, lints, documentation, structure, licences: all that needs no running
    Check,
    /// See a real Apache flooded, and toban solving it, in under two minutes (root)
    Demo(demo::Args),
    /// How fast toban reads logs and how right it is, beside its peers, on input made from a seed
    Bench(bench::Args),
    /// How often the right cause is named, on recorded cases and on variants of them drawn from a seed
    Eval(eval::Args),
    /// Feed the log engine what strangers could feed it, and see that it keeps its promises
    Fuzz(fuzz::Args),
    /// Real incidents on real software, in namespaces of their own
    Lab(lab::Args),
}

fn main() -> ExitCode {
    if let Some(code) = toban_lab::run_role() {
        return ExitCode::from(code as u8);
    }
    let done = match Args::parse().command {
        Command::Test(args) => Ok(test::run(&args)),
        Command::Check => Ok(check::run()),
        Command::Demo(args) => demo::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Eval(args) => eval::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
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
