//! Keeps everything: incidents, positions and baselines in one SQLite file (`record.db`), the audit trail and bans in
//! another ([`Book`]), and the samples of every second in files of their own ([`frames`]).
//!
//! [`Record`] is the database. Several processes may have the same directory open: the agent, and any number of
//! commands. An action is written and on the disk before it is done, so after a crash the book knows at least as much
//! as was done. The record never knows who reads it, and reads no clock: time comes in.

mod book;
pub mod case;
mod database;
mod error;
pub mod frames;
mod looks;
mod schema;

use std::path::{Path, PathBuf};

use rusqlite::{OptionalExtension, Row, params};
use toban_model::{Finding, Incident, IncidentId, Sample, Time};

pub use book::{BOOK, Book};
pub use case::Case;
pub use error::Error;
pub use frames::{Cursor, Frames, Limits, Losses, Series};

use crate::database::{Database, from_json, row_limit, time};

/// The database's name in the record's directory.
pub const DATABASE: &str = "record.db";

/// The samples' directory in the record's directory.
pub const FRAMES: &str = "frames";

/// The record of one host.
#[derive(Debug)]
pub struct Record {
    database: Database,
    dir: Option<PathBuf>,
}

impl Record {
    /// Opens the record in `dir`, creating it (directory 0700, file 0600) when it is missing. A damaged database is
    /// renamed to `record.db.damaged-<epoch seconds>`, never deleted, and a new one begun; see [`Record::set_aside`].
    pub fn open(dir: &Path) -> Result<Record, Error> {
        let database = Database::open(dir, &schema::RECORD)?;
        Ok(Record { database, dir: Some(dir.to_owned()) })
    }

    /// Opens the record in `dir` only if there is one: for commands that look and must not leave traces. A damaged
    /// database is an error here, because the agent may have it open.
    pub fn open_existing(dir: &Path) -> Result<Option<Record>, Error> {
        let found = Database::open_existing(dir, &schema::RECORD)?;
        Ok(found.map(|database| Record { database, dir: Some(dir.to_owned()) }))
    }

    /// A record that is gone when it is dropped: for `toban why` without an agent, and for replays.
    pub fn in_memory() -> Result<Record, Error> {
        Ok(Record { database: Database::in_memory(&schema::RECORD)?, dir: None })
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
        self.database.set_aside.as_deref()
    }

    // ---- incidents

    /// Opens an incident, and gives it its number.
    pub fn open_incident(&self, since: Time, opened: Time, findings: &[Finding]) -> Result<Incident, Error> {
        let cause = cause_of(findings);
        let json = self.database.json("an incident's findings", &findings)?;
        let connection = self.database.lock();
        connection
            .execute(
                "INSERT INTO incident (since, opened, cause, findings) VALUES (?1, ?2, ?3, ?4)",
                params![since.as_micros(), opened.as_micros(), cause, json],
            )
            .map_err(|e| self.database.fail(e))?;
        let id = IncidentId(connection.last_insert_rowid());
        Ok(Incident { id, since, opened, ended: None, cause, findings: findings.to_vec() })
    }

    /// Writes what is now known of an incident: its start, cause, findings and end.
    pub fn update_incident(&self, incident: &Incident) -> Result<(), Error> {
        let json = self.database.json("an incident's findings", &incident.findings)?;
        let changed = self
            .database
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
            .map_err(|e| self.database.fail(e))?;
        if changed == 0 { Err(Error::NoIncident(incident.id)) } else { Ok(()) }
    }

    /// Ends an incident. One that has ended already keeps its first end.
    pub fn end_incident(&self, id: IncidentId, at: Time) -> Result<(), Error> {
        let changed = self
            .database
            .lock()
            .execute(
                "UPDATE incident SET ended = coalesce(ended, ?2) WHERE id = ?1",
                params![id.0, at.as_micros()],
            )
            .map_err(|e| self.database.fail(e))?;
        if changed == 0 { Err(Error::NoIncident(id)) } else { Ok(()) }
    }

    /// The incident that is open, if one is: after a restart the same one goes on.
    pub fn open_incident_now(&self) -> Result<Option<Incident>, Error> {
        let mut found = self.database.list(
            "SELECT * FROM incident WHERE ended IS NULL ORDER BY id DESC LIMIT 1",
            [],
            incident_of,
        )?;
        Ok(found.pop())
    }

    /// One incident.
    pub fn incident(&self, id: IncidentId) -> Result<Incident, Error> {
        self.database
            .list("SELECT * FROM incident WHERE id = ?1", [id.0], incident_of)?
            .pop()
            .ok_or(Error::NoIncident(id))
    }

    /// The newest incidents, newest first.
    pub fn incidents(&self, limit: usize) -> Result<Vec<Incident>, Error> {
        self.database.list(
            "SELECT * FROM incident ORDER BY id DESC LIMIT ?1",
            [row_limit(limit)],
            incident_of,
        )
    }

    // ---- positions, baselines and whatever else must outlive a restart

    /// Keeps a value under a key. It outlives a kill -9 at once and a power loss within seconds: it is written every
    /// second or so and is cheap to lose, so it does not wait for the disk as actions and bans do.
    pub fn put_state(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        let connection = self.database.lock();
        let put = || -> rusqlite::Result<()> {
            connection.pragma_update(None, "synchronous", "normal")?;
            connection
                .execute("INSERT OR REPLACE INTO state (key, value) VALUES (?1, ?2)", params![key, value])?;
            Ok(())
        };
        let done = put();
        let restored = connection.pragma_update(None, "synchronous", "full");
        done.and(restored).map_err(|e| self.database.fail(e))
    }

    /// The value under a key.
    pub fn state(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.database
            .lock()
            .query_row("SELECT value FROM state WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(|e| self.database.fail(e))
    }

    /// Forgets a key. True if it was there.
    pub fn remove_state(&self, key: &str) -> Result<bool, Error> {
        let removed = self
            .database
            .lock()
            .execute("DELETE FROM state WHERE key = ?1", [key])
            .map_err(|e| self.database.fail(e))?;
        Ok(removed > 0)
    }
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

#[cfg(test)]
mod tests;
