//! Keeps everything: incidents, the audit trail, bans, positions and baselines in one SQLite file (`record.db`), and
//! the samples of every second in files of their own ([`frames`]).
//!
//! [`Record`] is the database. Several processes may have the same directory open: the agent, and any number of
//! commands. An action is written and on the disk before it is done (`synchronous=FULL`), so after a crash the record
//! knows at least as much as was done. The record never knows who reads it, and reads no clock: time comes in.

pub mod case;
mod error;
pub mod frames;
mod looks;
mod schema;

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toban_model::{
    ActionId, ActionRecord, ActionState, Actor, Ban, Finding, Incident, IncidentId, Plan, Prefix, Sample,
    Time,
};

pub use case::Case;
pub use error::Error;
pub use frames::{Cursor, Frames, Limits, Losses, Series};

/// The database's name in the record's directory.
pub const DATABASE: &str = "record.db";

/// The samples' directory in the record's directory.
pub const FRAMES: &str = "frames";

/// How long a writer waits for another process. Every transaction here is a few milliseconds; a disk that stalls
/// for longer is a fault that the caller must hear of.
pub(crate) const BUSY: Duration = Duration::from_secs(5);

/// The record of one host.
#[derive(Debug)]
pub struct Record {
    /// Transactions are milliseconds, so one connection behind a lock is enough and keeps their order.
    connection: Mutex<Connection>,
    dir: Option<PathBuf>,
    /// For messages; `:memory:` when there is no file.
    path: PathBuf,
    set_aside: Option<PathBuf>,
}

impl Record {
    /// Opens the record in `dir`, creating it (directory 0700, file 0600) when it is missing. A damaged database is
    /// renamed to `record.db.damaged-<epoch seconds>`, never deleted, and a new one begun; see [`Record::set_aside`].
    pub fn open(dir: &Path) -> Result<Record, Error> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| Error::io(dir, e))?;
        let path = dir.join(DATABASE);
        // One opener at a time decides whether the file is whole: two must not set aside each other's new one.
        let lock_path = dir.join("open.lock");
        let lock = private_file(&lock_path)?;
        lock.lock().map_err(|e| Error::io(&lock_path, e))?;
        match Record::open_file(dir, &path) {
            Err(Error::Damaged { .. }) => {
                let aside = set_aside(&path)?;
                let mut record = Record::open_file(dir, &path)?;
                record.set_aside = Some(aside);
                Ok(record)
            }
            other => other,
        }
    }

    /// Opens the record in `dir` only if there is one: for commands that look and must not leave traces. A damaged
    /// database is an error here, because the agent may have it open.
    pub fn open_existing(dir: &Path) -> Result<Option<Record>, Error> {
        let path = dir.join(DATABASE);
        match path.try_exists() {
            Ok(true) => Record::open_file(dir, &path).map(Some),
            Ok(false) => Ok(None),
            Err(e) => Err(Error::io(&path, e)),
        }
    }

    /// A record that is gone when it is dropped: for `toban why` without an agent, and for replays.
    pub fn in_memory() -> Result<Record, Error> {
        let path = PathBuf::from(":memory:");
        let connection = Connection::open_in_memory().map_err(|e| Error::database(&path, e))?;
        Record::prepare(connection, None, path)
    }

    fn open_file(dir: &Path, path: &Path) -> Result<Record, Error> {
        // SQLite creates files 0644; made here first, -wal and -shm inherit the mode.
        drop(private_file(path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| Error::database(path, e))?;
        Record::prepare(connection, Some(dir.to_owned()), path.to_owned())
    }

    fn prepare(mut connection: Connection, dir: Option<PathBuf>, path: PathBuf) -> Result<Record, Error> {
        let fail = |e| Error::database(&path, e);
        connection.busy_timeout(BUSY).map_err(fail)?;
        if dir.is_some() {
            // In this order: reading the header tells a damaged file before anything is written to it.
            let found: String =
                connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(fail)?;
            if found != "ok" {
                return Err(Error::Damaged { path, detail: found });
            }
            // Readers do not wait for the writer, and the other way round.
            connection.pragma_update(None, "journal_mode", "wal").map_err(fail)?;
            connection.pragma_update(None, "synchronous", "full").map_err(fail)?;
        }
        match schema::migrate(&mut connection).map_err(fail)? {
            Ok(()) => Ok(Record { connection: Mutex::new(connection), dir, path, set_aside: None }),
            Err(found) => Err(Error::TooNew { path, found, known: schema::KNOWN }),
        }
    }

    /// Where it is, unless it is in memory.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_deref()
    }

    /// Where the samples belong, unless it is in memory.
    pub fn frames_dir(&self) -> Option<PathBuf> {
        self.dir.as_ref().map(|dir| dir.join(FRAMES))
    }

    /// The samples from `from` up to and with `to`; none for a record in memory.
    pub fn frames(&self, from: Time, to: Time) -> Result<Cursor, Error> {
        // An empty path is no directory, and what does not exist holds no samples.
        frames::frames(&self.frames_dir().unwrap_or_default(), from, to)
    }

    /// One vital from `from` up to and with `to`: its seconds, and minutes where these are all that is kept.
    pub fn vital(&self, name: &str, from: Time, to: Time) -> Result<Series, Error> {
        frames::vital(&self.frames_dir().unwrap_or_default(), name, from, to)
    }

    /// The newest sample at or before a moment, and what could not be read of the time around it.
    pub fn moment(&self, at: Time) -> Result<(Option<Sample>, Losses), Error> {
        frames::moment(&self.frames_dir().unwrap_or_default(), at)
    }

    /// Where the damaged database went that [`Record::open`] found. Say it to the user.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    // ---- incidents

    /// Opens an incident, and gives it its number.
    pub fn open_incident(&self, since: Time, opened: Time, findings: &[Finding]) -> Result<Incident, Error> {
        let cause = cause_of(findings);
        let json = self.json("an incident's findings", &findings)?;
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO incident (since, opened, cause, findings) VALUES (?1, ?2, ?3, ?4)",
                params![since.as_micros(), opened.as_micros(), cause, json],
            )
            .map_err(|e| self.fail(e))?;
        let id = IncidentId(connection.last_insert_rowid());
        Ok(Incident { id, since, opened, ended: None, cause, findings: findings.to_vec() })
    }

    /// Writes what is now known of an incident: its start, cause, findings and end.
    pub fn update_incident(&self, incident: &Incident) -> Result<(), Error> {
        let json = self.json("an incident's findings", &incident.findings)?;
        let changed = self
            .lock()
            .execute(
                "UPDATE incident SET since = ?2, opened = ?3, ended = ?4, cause = ?5, findings = ?6 WHERE id = ?1",
                params![
                    incident.id.0,
                    incident.since.as_micros(),
                    incident.opened.as_micros(),
                    incident.ended.map(Time::as_micros),
                    incident.cause,
                    json
                ],
            )
            .map_err(|e| self.fail(e))?;
        if changed == 0 { Err(Error::NoIncident(incident.id)) } else { Ok(()) }
    }

    /// Ends an incident. One that has ended already keeps its first end.
    pub fn end_incident(&self, id: IncidentId, at: Time) -> Result<(), Error> {
        let changed = self
            .lock()
            .execute(
                "UPDATE incident SET ended = coalesce(ended, ?2) WHERE id = ?1",
                params![id.0, at.as_micros()],
            )
            .map_err(|e| self.fail(e))?;
        if changed == 0 { Err(Error::NoIncident(id)) } else { Ok(()) }
    }

    /// The incident that is open, if one is: after a restart the same one goes on.
    pub fn open_incident_now(&self) -> Result<Option<Incident>, Error> {
        let mut found = self.list(
            "SELECT * FROM incident WHERE ended IS NULL ORDER BY id DESC LIMIT 1",
            [],
            incident_of,
        )?;
        Ok(found.pop())
    }

    /// One incident.
    pub fn incident(&self, id: IncidentId) -> Result<Incident, Error> {
        self.list("SELECT * FROM incident WHERE id = ?1", [id.0], incident_of)?
            .pop()
            .ok_or(Error::NoIncident(id))
    }

    /// The newest incidents, newest first.
    pub fn incidents(&self, limit: usize) -> Result<Vec<Incident>, Error> {
        self.list("SELECT * FROM incident ORDER BY id DESC LIMIT ?1", [row_limit(limit)], incident_of)
    }

    // ---- the audit trail

    /// Writes an action down before it is done; it is on the disk when this returns.
    pub fn intend_action(
        &self,
        at: Time,
        incident: Option<IncidentId>,
        by: Actor,
        plan: &Plan,
    ) -> Result<ActionRecord, Error> {
        let json = self.json("an action's plan", plan)?;
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO action (at, incident, by, state, plan, measured, notes, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, '{}', '[]', ?1)",
                params![
                    at.as_micros(),
                    incident.map(|i| i.0),
                    self.word(&by)?,
                    self.word(&ActionState::Intended)?,
                    json
                ],
            )
            .map_err(|e| self.fail(e))?;
        Ok(ActionRecord {
            id: ActionId(connection.last_insert_rowid()),
            at,
            incident,
            by,
            plan: plan.clone(),
            state: ActionState::Intended,
            measured: BTreeMap::new(),
            notes: Vec::new(),
            changed: at,
        })
    }

    /// Writes how far an action has come: state, what was measured, notes, and when. What was intended, by whom and
    /// for which incident stays as it was written: that is what makes it an audit trail.
    pub fn update_action(&self, action: &ActionRecord) -> Result<(), Error> {
        let changed = self
            .lock()
            .execute(
                "UPDATE action SET state = ?2, measured = ?3, notes = ?4, changed = ?5 WHERE id = ?1",
                params![
                    action.id.0,
                    self.word(&action.state)?,
                    self.json("an action's measured values", &action.measured)?,
                    self.json("an action's notes", &action.notes)?,
                    action.changed.as_micros()
                ],
            )
            .map_err(|e| self.fail(e))?;
        if changed == 0 { Err(Error::NoAction(action.id)) } else { Ok(()) }
    }

    /// The newest actions, newest first.
    pub fn actions(&self, limit: usize) -> Result<Vec<ActionRecord>, Error> {
        self.list("SELECT * FROM action ORDER BY id DESC LIMIT ?1", [row_limit(limit)], action_of)
    }

    /// One action.
    pub fn action(&self, id: ActionId) -> Result<ActionRecord, Error> {
        self.list("SELECT * FROM action WHERE id = ?1", [id.0], action_of)?.pop().ok_or(Error::NoAction(id))
    }

    /// All actions that are in one of these states, oldest first: at start, what was `Intended` and what still stands.
    pub fn actions_in_state(&self, states: &[ActionState]) -> Result<Vec<ActionRecord>, Error> {
        let mut all = Vec::new();
        for state in states {
            let word = self.word(state)?;
            all.extend(self.list("SELECT * FROM action WHERE state = ?1", [word], action_of)?);
        }
        all.sort_by_key(|action| action.id);
        all.dedup_by_key(|action| action.id);
        Ok(all)
    }

    // ---- bans

    /// Writes bans, all or none. The same prefix on the same ports by the same action is one ban: the newer one
    /// replaces the older.
    pub fn put_bans(&self, bans: &[Ban]) -> Result<(), Error> {
        self.in_one(|tx| {
            for ban in bans {
                tx.execute(
                    "INSERT OR REPLACE INTO ban (prefix, ports, since, until, action, reason)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        ban.prefix.to_string(),
                        ports_text(&ban.ports),
                        ban.since.as_micros(),
                        ban.until.as_micros(),
                        ban.action.0,
                        ban.reason
                    ],
                )?;
            }
            Ok(())
        })
    }

    /// Removes bans by action, prefix and ports, all or none. One that is not there is no error.
    pub fn remove_bans(&self, bans: &[Ban]) -> Result<(), Error> {
        self.in_one(|tx| {
            for ban in bans {
                tx.execute(
                    "DELETE FROM ban WHERE action = ?1 AND prefix = ?2 AND ports = ?3",
                    params![ban.action.0, ban.prefix.to_string(), ports_text(&ban.ports)],
                )?;
            }
            Ok(())
        })
    }

    fn in_one(
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

    /// The bans that stand at `now`.
    pub fn bans(&self, now: Time) -> Result<Vec<Ban>, Error> {
        self.list("SELECT * FROM ban WHERE until > ?1 ORDER BY since, prefix", [now.as_micros()], ban_of)
    }

    /// All bans, also those whose time has run out and that nobody has removed yet.
    pub fn all_bans(&self) -> Result<Vec<Ban>, Error> {
        self.list("SELECT * FROM ban ORDER BY since, prefix", [], ban_of)
    }

    // ---- positions, baselines and whatever else must outlive a restart

    /// Keeps a value under a key. It outlives a kill -9 at once and a power loss within seconds: it is written every
    /// second or so and is cheap to lose, so it does not wait for the disk as actions and bans do.
    pub fn put_state(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let connection = self.lock();
        let put = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "synchronous", "normal")?;
            connection
                .execute("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)", params![key, value])?;
            Ok(())
        };
        let done = put();
        let restored = connection.pragma_update(None, "synchronous", "full");
        done.and(restored).map_err(|e| self.fail(e))
    }

    /// The value under a key.
    pub fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.lock()
            .query_row("SELECT value FROM state WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|e| self.fail(e))
    }

    /// Forgets a key. True if it was there.
    pub fn remove_state(&self, key: &str) -> Result<bool, Error> {
        let removed =
            self.lock().execute("DELETE FROM state WHERE key = ?1", [key]).map_err(|e| self.fail(e))?;
        Ok(removed > 0)
    }

    // ---- the allowlist

    /// Puts a prefix on the allowlist. True if it was not there.
    pub fn allow(&self, prefix: &Prefix, at: Time) -> Result<bool, Error> {
        let added = self
            .lock()
            .execute(
                "INSERT OR IGNORE INTO allowed (prefix, at) VALUES (?1, ?2)",
                params![prefix.to_string(), at.as_micros()],
            )
            .map_err(|e| self.fail(e))?;
        Ok(added > 0)
    }

    /// Takes a prefix off the allowlist. True if it was there.
    pub fn disallow(&self, prefix: &Prefix) -> Result<bool, Error> {
        let removed = self
            .lock()
            .execute("DELETE FROM allowed WHERE prefix = ?1", [prefix.to_string()])
            .map_err(|e| self.fail(e))?;
        Ok(removed > 0)
    }

    /// What the user never wants banned, oldest entry first.
    pub fn allowed(&self) -> Result<Vec<Prefix>, Error> {
        self.list("SELECT prefix FROM allowed ORDER BY at, prefix", [], |row| parsed(row, "prefix"))
    }

    // ---- what the above is made of

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves the connection whole: an open transaction rolls back when it is dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list<T>(
        &self,
        sql: &str,
        params: impl rusqlite::Params,
        of: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, Error> {
        query(&self.lock(), sql, params, of).map_err(|e| self.fail(e))
    }

    fn fail(&self, source: rusqlite::Error) -> Error {
        match source {
            rusqlite::Error::FromSqlConversionFailure(_, _, detail) => {
                Error::Row { path: self.path.clone(), what: "a row".into(), detail: detail.to_string() }
            }
            source => Error::database(&self.path, source),
        }
    }

    fn json(&self, what: &str, value: &impl Serialize) -> Result<String, Error> {
        serde_json::to_string(value).map_err(|e| Error::Row {
            path: self.path.clone(),
            what: what.into(),
            detail: e.to_string(),
        })
    }

    /// A unit variant as its bare name, so that the database can be read and searched by hand.
    fn word(&self, value: &impl Serialize) -> Result<String, Error> {
        Ok(self.json("a state", value)?.trim_matches('"').to_owned())
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

fn row_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn cause_of(findings: &[Finding]) -> String {
    findings.first().map_or_else(|| "unknown".to_owned(), |finding| finding.cause.clone())
}

fn incident_of(row: &Row<'_>) -> rusqlite::Result<Incident> {
    Ok(Incident {
        id: IncidentId(row.get("id")?),
        since: time(row, "since")?,
        opened: time(row, "opened")?,
        ended: row.get::<_, Option<i64>>("ended")?.map(Time::from_micros),
        cause: row.get("cause")?,
        findings: from_json(row, "findings")?,
    })
}

fn action_of(row: &Row<'_>) -> rusqlite::Result<ActionRecord> {
    Ok(ActionRecord {
        id: ActionId(row.get("id")?),
        at: time(row, "at")?,
        incident: row.get::<_, Option<i64>>("incident")?.map(IncidentId),
        by: from_word(row, "by")?,
        plan: from_json(row, "plan")?,
        state: from_word(row, "state")?,
        measured: from_json(row, "measured")?,
        notes: from_json(row, "notes")?,
        changed: time(row, "changed")?,
    })
}

fn ban_of(row: &Row<'_>) -> rusqlite::Result<Ban> {
    Ok(Ban {
        prefix: parsed(row, "prefix")?,
        ports: from_json(row, "ports")?,
        since: time(row, "since")?,
        until: time(row, "until")?,
        action: ActionId(row.get("action")?),
        reason: row.get("reason")?,
    })
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Time> {
    row.get(column).map(Time::from_micros)
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|e| unreadable(row, column, &e.to_string()))
}

fn from_word<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let word: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(word))
        .map_err(|e| unreadable(row, column, &e.to_string()))
}

fn parsed(row: &Row<'_>, column: &str) -> rusqlite::Result<Prefix> {
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

#[cfg(test)]
mod tests;

/// Ports as the key holds them: a JSON array.
fn ports_text(ports: &[u16]) -> String {
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    format!("[{list}]")
}
