//! `toban`: command line, configuration, wiring.
fn main() {}
