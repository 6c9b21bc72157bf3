//! What can go wrong while reading a host; every variant says where, and what would be right.

use std::io;
use std::path::{Path, PathBuf};

/// A reading that failed. Messages fit after "could not …".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be opened or read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file, as this process sees it.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// There is no such file.
    #[error("read {}: no such file; give the path of an existing log", path.display())]
    Missing {
        /// The path asked for.
        path: PathBuf,
    },
    /// This process may not read the file.
    #[error("read {}: permission denied; run as root or add this user to the file's group (Debian: adm)", path.display())]
    Denied {
        /// The path asked for.
        path: PathBuf,
    },
    /// A directory was given where a log file is wanted.
    #[error("read {}: it is a directory; give the log file in it, such as {}", path.display(), path.join("access.log").display())]
    Directory {
        /// The path asked for.
        path: PathBuf,
    },
    /// A FIFO, socket or device was given where a log file is wanted.
    #[error("read {}: it is a {found}, not a regular file; have the server write its log to a regular file", path.display())]
    NotRegular {
        /// The path asked for.
        path: PathBuf,
        /// What it is instead: `FIFO`, `socket`, `character device`, `block device`.
        found: &'static str,
    },
    /// A file of the kernel does not have the form that is documented.
    #[error("understand {}: {expected} was expected", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What should have stood there.
        expected: &'static str,
    },
    /// The kernel refused a socket dump.
    #[error("ask the kernel for its sockets ({what}): {source}")]
    Netlink {
        /// Which dump.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Watching directories for changes is not possible.
    #[error("watch {}: {source}; fs.inotify.max_user_instances may be too low", path.display())]
    Watch {
        /// The directory, or the file whose directory it is.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("start a thread for {what}: {source}; the limit of tasks may be met")]
    Thread {
        /// Whose.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More was asked for than the named limit allows.
    #[error("follow {}: {limit} logs are followed already", path.display())]
    TooMany {
        /// The one that was too many.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
}

impl Error {
    /// The error of reading `path`, told apart by what would help.
    pub(crate) fn reading(path: &Path, source: io::Error) -> Error {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::NotFound => Error::Missing { path },
            io::ErrorKind::PermissionDenied => Error::Denied { path },
            io::ErrorKind::IsADirectory => Error::Directory { path },
            _ => Error::Read { path, source },
        }
    }

    /// The thing is absent here, as opposed to present and unreadable.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Missing { .. })
    }
}
