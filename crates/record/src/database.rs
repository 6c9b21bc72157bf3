//! One SQLite file: opened whole or set aside, written in transactions, and read row by row.
//!
//! Several processes may have it open. What is written is on the disk when the call returns (`synchronous=FULL`).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toban_model::{Prefix, Time};

use crate::Error;
use crate::schema::{self, Layout};

/// How long a writer waits for another process. Every transaction here is a few milliseconds; a disk that stalls
/// for longer is a fault that the caller must hear of.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// An open database.
#[derive(Debug)]
pub(crate) struct Database {
    /// Transactions are milliseconds, so one connection behind a lock is enough and keeps their order.
    connection: Mutex<Connection>,
    /// For messages; `:memory:` when there is no file.
    pub(crate) path: PathBuf,
    pub(crate) set_aside: Option<PathBuf>,
}

impl Database {
    /// Opens the layout's file in `dir`, creating it (directory 0700, file 0600) when it is missing. A damaged
    /// database is renamed to `NAME.damaged-<epoch seconds>`, never deleted, and a new one begun.
    pub(crate) fn open(dir: &Path, layout: &Layout) -> Result<Database, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(layout.name);
        // One opener at a time decides whether the file is whole: two must not set aside each other's new one.
        let lock_path = dir.join("open.lock");
        let lock = private_file(&lock_path)?;
        lock.lock().map_err(|e| Error::io(&lock_path, e))?;
        match Database::open_file(&path, layout) {
            Err(Error::Damaged { .. }) => {
                let aside = set_aside(&path)?;
                let mut database = Database::open_file(&path, layout)?;
                database.set_aside = Some(aside);
                Ok(database)
            }
            other => other,
        }
    }

    /// Opens it only if there is one. A damaged database is an error here, because the agent may have it open.
    pub(crate) fn open_existing(dir: &Path, layout: &Layout) -> Result<Option<Database>, Error> {
        let path = dir.join(layout.name);
        match path.try_exists() {
            Ok(true) => Database::open_file(&path, layout).map(Some),
            Ok(false) => Ok(None),
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    /// Opens it, if there is one, for reading alone: by somebody who may not write it.
    pub(crate) fn open_to_read(dir: &Path, layout: &Layout) -> Result<Option<Database>, Error> {
        let path = dir.join(layout.name);
        if !path.try_exists().map_err(|e| Error::io(&path, e))? {
            return Ok(None);
        }
        let fail = |e| Error::database(&path, e);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        match schema::version(&connection).map_err(fail)? {
            // It was made this moment and has no layout yet.
            0 => Ok(None),
            found if found > layout.known() => {
                Err(Error::TooNew { path: path.clone(), found, known: layout.known() })
            }
            _ => Ok(Some(Database { connection: Mutex::new(connection), path, set_aside: None })),
        }
    }

    /// One that is gone when it is dropped.
    pub(crate) fn in_memory(layout: &Layout) -> Result<Database, Error> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| Error::database(&path, e))?;
        Database::prepare(connection, path, layout)
    }

    fn open_file(path: &Path, layout: &Layout) -> Result<Database, Error> {
        // SQLite creates files 0644; made here first, -wal and -shm inherit the mode.
        drop(private_file(path)?);
        let fail = |e| Error::database(path, e);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(fail)?;
        connection.busy_timeout(BUSY).map_err(fail)?;
        // In this order: reading the header tells a damaged file before anything is written to it.
        let found: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fail)?;
        if found != "ok" {
            return Err(Error::Damaged { path: path.to_owned(), detail: found });
        }
        // Readers do not wait for the writer, and the other way round.
        connection.pragma_update(None, "journal_mode", "wal").map_err(fail)?;
        connection.pragma_update(None, "synchronous", "full").map_err(fail)?;
        Database::prepare(connection, path.to_owned(), layout)
    }

    fn prepare(mut connection: Connection, path: PathBuf, layout: &Layout) -> Result<Database, Error> {
        match schema::migrate(&mut connection, layout).map_err(|e| Error::database(&path, e))? {
            Ok(()) => Ok(Database { connection: Mutex::new(connection), path, set_aside: None }),
            Err(found) => Err(Error::TooNew { path, found, known: layout.known() }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves the connection whole: an open transaction rolls back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        query(&self.lock(), sql, params, of).map_err(|e| self.fail(e))
    }

    pub(crate) fn fail(&self, source: rusqlite::Error) -> Error {
        match source {
            rusqlite::Error::FromSqlConversionFailure(_, _, detail) => {
                Error::Row { path: self.path.clone(), what: "a row".into(), detail: detail.to_string() }
            }
            source => Error::database(&self.path, source),
        }
    }

    pub(crate) fn json(&self, what: &str, value: &impl Serialize) -> Result<String, Error> {
        serde_json::to_string(value).map_err(|e| Error::Row {
            path: self.path.clone(),
            what: what.into(),
            detail: e.to_string(),
        })
    }

    /// A unit variant as its bare name, so that the database can be read and searched by hand.
    pub(crate) fn word(&self, value: &impl Serialize) -> Result<String, Error> {
        Ok(self.json("a state", value)?.trim_matches('"').to_owned())
    }

    pub(crate) fn in_one(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let mut connection = self.lock();
        let whole = || -> rusqlite::Result<()> {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            work(&tx)?;
            tx.commit()
        };
        whole().map_err(|e| self.fail(e))
    }
}

fn query<T>(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
    of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(params, of)?.collect()
}

pub(crate) fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(crate) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Time> {
    row.get(column).map(Time::from_micros)
}

pub(crate) fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| unreadable(row, column, &e.to_string()))
}

pub(crate) fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(word))
        .map_err(|e| unreadable(row, column, &e.to_string()))
}

pub(crate) fn parsed(row: &Row<'_>, column: &str) -> rusqlite::Result<Prefix> {
    let text: String = row.get(column)?;
    text.parse().map_err(|e: ipnet::AddrParseError| unreadable(row, column, &e.to_string()))
}

fn unreadable(row: &Row<'_>, column: &str, detail: &str) -> rusqlite::Error {
    let id = row.get::<_, i64>("id").map(|id| format!(" of row {id}")).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, format!("{column}{id}: {detail}").into())
}

/// Opens or creates a file that only its owner can read.
fn private_file(path: &Path) -> Result<File, Error> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|e| Error::io(path, e))
}

/// Renames a damaged database with its write-ahead log, so that a person can still look at it.
fn set_aside(path: &Path) -> Result<PathBuf, Error> {
    // The only clock in this crate: it names a file, nothing is judged by it.
    let stamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let suffixed = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let mut aside = suffixed(&format!(".damaged-{stamp}"));
    let mut turn = 1;
    while aside.exists() {
        aside = suffixed(&format!(".damaged-{stamp}.{turn}"));
        turn += 1;
    }
    std::fs::rename(path, &aside).map_err(|e| Error::io(path, e))?;
    for tail in ["-wal", "-shm"] {
        let from = suffixed(tail);
        let mut to = aside.as_os_str().to_owned();
        to.push(tail);
        match std::fs::rename(&from, &to) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::io(&from, e)),
            _ => {}
        }
    }
    Ok(aside)
}
