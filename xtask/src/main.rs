//! Every command that a person or CI needs.
fn main() {}
