//! What can go wrong when the host is changed: each kind says what is missing and where.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// An error of the part that acts. Messages fit after "could not act: ".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel would, but this process may not.
    #[error("no right to {doing}: CAP_NET_ADMIN in this network namespace is needed (run as root)")]
    NoRights {
        /// What was tried.
        doing: &'static str,
    },
    /// The kernel cannot: a part of nf_tables is not there.
    #[error("this kernel has no {missing}, without which nothing can be banned")]
    NoNftables {
        /// The part that is missing, with its kernel option.
        missing: &'static str,
    },
    /// The kernel cannot end sockets.
    #[error("this kernel cannot end sockets: {missing} is missing")]
    NoSockDestroy {
        /// The kernel option.
        missing: &'static str,
    },
    /// toban's table or one of its parts is not in the kernel any more: somebody flushed it.
    #[error("toban's table is not whole in the kernel: {what}")]
    Gone {
        /// What is missing or other than it should be.
        what: String,
    },
    /// The kernel answered, and what was to be there is not.
    #[error("the kernel said yes, and yet {missing} of {of} bans are not in it (the first is {first})")]
    NotInKernel {
        /// How many are missing.
        missing: usize,
        /// Of how many.
        of: usize,
        /// One of them.
        first: String,
    },
    /// Something is larger than its limit.
    #[error("{what}: {value} is more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        value: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Another error of a netlink request.
    #[error("{doing}: {source}{}", .said.as_deref().map(|said| format!(" (the kernel says: {said})")).unwrap_or_default())]
    Netlink {
        /// What was tried.
        doing: &'static str,
        /// The kernel's error number.
        source: io::Error,
        /// The kernel's own words, where it has some.
        said: Option<String>,
    },
    /// Bytes from the kernel that make no sense.
    #[error("the kernel's answer to {doing} is not understood")]
    Malformed {
        /// What was asked.
        doing: &'static str,
    },
    /// Sockets that did not go away.
    #[error("{left} sockets of the banned peers are still there after {rounds} rounds")]
    SocketsLeft {
        /// How many.
        left: usize,
        /// How often it was tried.
        rounds: u32,
    },
    /// A file or program could not be used.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A command ended badly.
    #[error("`{command}` ended with {status}: {output}")]
    Command {
        /// Its words.
        command: String,
        /// How it ended.
        status: String,
        /// What it wrote, cut.
        output: String,
    },
    /// A command did not end; it and its children were killed.
    #[error("`{command}` did not end within {} s and was killed with its children", .limit.as_secs())]
    Deadline {
        /// Its words.
        command: String,
        /// Its time.
        limit: Duration,
    },
    /// A process is not the one that the plan named, or is one that is never stopped.
    #[error("process {pid} is left alone: {why}")]
    NotThatProcess {
        /// Its number.
        pid: u32,
        /// Why.
        why: String,
    },
    /// A service cannot be restarted in the way that the plan named.
    #[error("service {service}: {why}")]
    Restart {
        /// Its id.
        service: String,
        /// Why.
        why: String,
    },
    /// The ledger could not be written or read: nothing is done without it.
    #[error("the ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// There is no such action, or it is not in a state in which that can be done.
    #[error("action {id}: {why}")]
    NoSuchAction {
        /// Its number.
        id: i64,
        /// Why.
        why: String,
    },
}

/// What a ledger says when it fails.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LedgerError(pub String);

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
