//! The lab's own processes, for tests that have no other program with the roles. Driven by the library only.

fn main() {
    std::process::exit(toban_lab::run_role().unwrap_or(2));
}
