//! What can go wrong with the record, each with the file that it happened to.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use toban_model::{ActionId, IncidentId};

/// Why something could not be kept or read back. Fits after "could not …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not this user's to read or write.
    #[error("{}: permission denied; the record belongs to the user that runs the agent, usually root", path.display())]
    NoRights {
        /// The file or directory.
        path: PathBuf,
    },
    /// No room is left. Nothing that was written before is lost.
    #[error("{}: no space left on the disk", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// The bytes on disk are not what was written.
    #[error("{}: the database is damaged ({detail}); `toban run` sets it aside and starts a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// Another process holds the database for longer than is waited.
    #[error("{}: another process is writing to it and did not finish in {waited_s} s", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
        /// How long was waited.
        waited_s: u64,
    },
    /// A newer toban wrote it.
    #[error(
        "{}: written by a newer toban (layout {found}, this one knows up to {known}); use that one", path.display()
    )]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Its layout.
        found: u32,
        /// The newest layout known here.
        known: u32,
    },
    /// A row says something that cannot be understood.
    #[error("{}: cannot read {what}: {detail}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Which row.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file that was given as a case is none, or not a whole one.
    #[error("{}: not a readable case: {detail}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no such action.
    #[error("no action {} in the record", .0.0)]
    NoAction(ActionId),
    /// There is no such incident.
    #[error("no incident {} in the record", .0.0)]
    NoIncident(IncidentId),
    /// Anything else that the database library says.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, source: io::Error) -> Error {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::DiskFull { path },
            io::ErrorKind::PermissionDenied => Error::NoRights { path },
            _ => Error::Io { path, source },
        }
    }

    /// What was to be opened is not there: a file of samples that was closed or given up between being listed and now.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn database(path: &Path, source: rusqlite::Error) -> Error {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Error::DiskFull { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                Error::Busy { path, waited_s: crate::database::BUSY.as_secs() }
            }
            Some(
                ErrorCode::PermissionDenied
                | ErrorCode::ReadOnly
                | ErrorCode::AuthorizationForStatementDenied,
            ) => Error::NoRights { path },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Error::Damaged { path, detail: source.to_string() }
            }
            _ => Error::Database { path, source },
        }
    }
}
