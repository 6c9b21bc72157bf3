//! A command of the user's own on an event: what happened comes on its standard input, as JSON; no shell, a deadline, an
//! end with its children.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Stdio;
use std::time::Duration;

use rustix::fs::MemfdFlags;

use crate::{Error, Result, command};

/// Runs `words` (the program and its arguments) with `TOBAN_EVENT` set to `event` and `input` on its standard input.
/// Returns the end of what it printed, made harmless for a terminal.
///
/// # Errors
/// It could not be started, ended with another exit code than 0, or not within `limit`: then it is killed with its process
/// group.
pub fn run(words: &[String], event: &str, input: &[u8], limit: Duration) -> Result<String> {
    let [program, arguments @ ..] = words else { return Ok(String::new()) };
    let failed = |source| Error::Io { path: program.into(), source };
    // Not a pipe: one that is not read would keep us waiting.
    let mut stdin =
        File::from(rustix::fs::memfd_create("event", MemfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?);
    stdin.write_all(input).and_then(|()| stdin.seek(SeekFrom::Start(0))).map_err(failed)?;
    let mut command = command::clean(program);
    command.args(arguments).env("TOBAN_EVENT", event).stdin(Stdio::from(stdin));
    command::run(&mut command, limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn it_is_given_what_happened_and_nothing_is_a_shell_to_it() {
        let limit = Duration::from_secs(30);
        let script = "printf '%s ' \"$TOBAN_EVENT\" \"$1\"; cat";
        let said =
            run(&words(&["/bin/sh", "-c", script, "sh", "$(id)"]), "finding", b"{\"a\":1}", limit).unwrap();
        assert_eq!(said, "finding $(id) {\"a\":1}");
        assert!(run(&words(&["/no/such/hook"]), "finding", b"", limit).is_err());
    }

    #[test]
    fn one_that_spins_is_ended() {
        let spins = words(&["/bin/sh", "-c", "while :; do :; done"]);
        let error = run(&spins, "action", b"{}", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::Deadline { .. }), "{error}");
    }
}
