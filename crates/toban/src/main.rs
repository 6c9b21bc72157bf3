//! `toban`: command line, configuration, wiring.
mod cli;
mod config;

fn main() {}
