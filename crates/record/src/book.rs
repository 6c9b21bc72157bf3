//! The book of the part that acts: the audit trail, the bans and the allowlist, in a file and a directory of their own
//! (`book/book.db`), which that part alone may write.
//!
//! What the book says is enforced, so whoever reads strangers' text must not be able to write it; they may look.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{OptionalExtension, Row, params};
use toban_model::{ActionId, ActionRecord, ActionState, Actor, Ban, IncidentId, Plan, Prefix, Time};

use crate::Error;
use crate::database::{Database, from_json, from_word, parsed, row_limit, time};
use crate::schema;

/// The book's directory in the record's directory.
pub const BOOK: &str = "book";

/// The book of one host.
#[derive(Debug)]
pub struct Book {
    pub(crate) database: Database,
}

impl Book {
    /// Opens the book in `BOOK` of a record's directory, creating it (directories 0700, file 0600) when it is missing.
    /// A damaged one is renamed to `book.db.damaged-<epoch seconds>`, never deleted; see [`Book::set_aside`].
    pub fn open(dir: &Path) -> Result<Book, Error> {
        Database::open(&dir.join(BOOK), &schema::BOOK).map(|database| Book { database })
    }

    /// Opens it, if there is one, to look and not to write.
    pub fn open_to_read(dir: &Path) -> Result<Option<Book>, Error> {
        let found = Database::open_to_read(&dir.join(BOOK), &schema::BOOK)?;
        Ok(found.map(|database| Book { database }))
    }

    /// One that is gone when it is dropped.
    pub fn in_memory() -> Result<Book, Error> {
        Database::in_memory(&schema::BOOK).map(|database| Book { database })
    }

    /// Where the damaged file went that [`Book::open`] found. Say it to the user.
    pub fn set_aside(&self) -> Option<&Path> {
        self.database.set_aside.as_deref()
    }

    /// A number that changes with every write to the book, by this or by another process.
    pub fn version(&self) -> Result<u64, Error> {
        let connection = self.database.lock();
        // The first counts what others committed, the second what was changed here.
        let others = connection.query_row("PRAGMA data_version", [], |row| row.get::<_, u32>(0));
        let own = connection.query_row("SELECT total_changes()", [], |row| row.get::<_, i64>(0));
        let both = others.and_then(|others| Ok((others, own?))).map_err(|e| self.database.fail(e))?;
        Ok(u64::from(both.0) << 40 | (both.1.unsigned_abs() & ((1 << 40) - 1)))
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
        let json = self.database.json("an action's plan", plan)?;
        let connection = self.database.lock();
        connection
            .execute(
                "INSERT INTO action (at, incident, by, state, plan, measured, notes, changed)
                 VALUES (?1, ?2, ?3, ?4, ?5, '{}', '[]', ?1)",
                params![
                    at.as_micros(),
                    incident.map(|i| i.0),
                    self.database.word(&by)?,
                    self.database.word(&ActionState::Intended)?,
                    json
                ],
            )
            .map_err(|e| self.database.fail(e))?;
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
            .database
            .lock()
            .execute(
                "UPDATE action SET state = ?2, measured = ?3, notes = ?4, changed = ?5 WHERE id = ?1",
                params![
                    action.id.0,
                    self.database.word(&action.state)?,
                    self.database.json("an action's measured values", &action.measured)?,
                    self.database.json("an action's notes", &action.notes)?,
                    action.changed.as_micros()
                ],
            )
            .map_err(|e| self.database.fail(e))?;
        if changed == 0 { Err(Error::NoAction(action.id)) } else { Ok(()) }
    }

    /// The newest actions, newest first.
    pub fn actions(&self, limit: usize) -> Result<Vec<ActionRecord>, Error> {
        self.database.list("SELECT * FROM action ORDER BY id DESC LIMIT ?1", [row_limit(limit)], action_of)
    }

    /// One action.
    pub fn action(&self, id: ActionId) -> Result<ActionRecord, Error> {
        self.database
            .list("SELECT * FROM action WHERE id = ?1", [id.0], action_of)?
            .pop()
            .ok_or(Error::NoAction(id))
    }

    /// All actions that are in one of these states, oldest first: at start, what was `Intended` and what still stands.
    pub fn actions_in_state(&self, states: &[ActionState]) -> Result<Vec<ActionRecord>, Error> {
        let mut all = Vec::new();
        for state in states {
            let word = self.database.word(state)?;
            all.extend(self.database.list("SELECT * FROM action WHERE state = ?1", [word], action_of)?);
        }
        all.sort_by_key(|action| action.id);
        all.dedup_by_key(|action| action.id);
        Ok(all)
    }

    // ---- bans

    /// Writes bans, all or none. The same prefix on the same ports by the same action is one ban: the newer one
    /// replaces the older.
    pub fn put_bans(&self, bans: &[Ban]) -> Result<(), Error> {
        self.database.in_one(|tx| {
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
        self.database.in_one(|tx| {
            for ban in bans {
                tx.execute(
                    "DELETE FROM ban WHERE action = ?1 AND prefix = ?2 AND ports = ?3",
                    params![ban.action.0, ban.prefix.to_string(), ports_text(&ban.ports)],
                )?;
            }
            Ok(())
        })
    }

    /// The bans that stand at `now`.
    pub fn bans(&self, now: Time) -> Result<Vec<Ban>, Error> {
        self.database.list(
            "SELECT * FROM ban WHERE until > ?1 ORDER BY since, prefix",
            [now.as_micros()],
            ban_of,
        )
    }

    /// All bans, also those whose time has run out and that nobody has removed yet.
    pub fn all_bans(&self) -> Result<Vec<Ban>, Error> {
        self.database.list("SELECT * FROM ban ORDER BY since, prefix", [], ban_of)
    }

    /// The bans of these prefixes, also those whose time has run out.
    pub fn bans_of(&self, prefixes: &[Prefix]) -> Result<Vec<Ban>, Error> {
        let mut found = Vec::new();
        for prefix in prefixes {
            let sql = "SELECT * FROM ban WHERE prefix = ?1";
            found.extend(self.database.list(sql, [prefix.to_string()], ban_of)?);
        }
        Ok(found)
    }

    // ---- the allowlist

    /// Puts a prefix on the allowlist. True if it was not there.
    pub fn allow(&self, prefix: &Prefix, at: Time) -> Result<bool, Error> {
        let added = self
            .database
            .lock()
            .execute(
                "INSERT OR IGNORE INTO allowed (prefix, at) VALUES (?1, ?2)",
                params![prefix.to_string(), at.as_micros()],
            )
            .map_err(|e| self.database.fail(e))?;
        Ok(added > 0)
    }

    /// Takes a prefix off the allowlist. True if it was there.
    pub fn disallow(&self, prefix: &Prefix) -> Result<bool, Error> {
        let removed = self
            .database
            .lock()
            .execute("DELETE FROM allowed WHERE prefix = ?1", [prefix.to_string()])
            .map_err(|e| self.database.fail(e))?;
        Ok(removed > 0)
    }

    /// What the user never wants banned, oldest entry first.
    pub fn allowed(&self) -> Result<Vec<Prefix>, Error> {
        self.database.list("SELECT prefix FROM allowed ORDER BY at, prefix", [], |row| parsed(row, "prefix"))
    }

    // ---- how far actions have come

    /// Keeps how far an action has come, as its owner writes it; replaces what was kept for it.
    pub fn put_progress(&self, id: ActionId, progress: &[u8]) -> Result<(), Error> {
        self.database
            .lock()
            .execute(
                "INSERT OR REPLACE INTO progress (action, progress) VALUES (?1, ?2)",
                params![id.0, progress],
            )
            .map_err(|e| self.database.fail(e))?;
        Ok(())
    }

    /// What was kept last for an action.
    pub fn progress(&self, id: ActionId) -> Result<Option<Vec<u8>>, Error> {
        self.database
            .lock()
            .query_row("SELECT progress FROM progress WHERE action = ?1", [id.0], |row| row.get(0))
            .optional()
            .map_err(|e| self.database.fail(e))
    }
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

/// Ports as the key holds them: a JSON array.
fn ports_text(ports: &[u16]) -> String {
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    format!("[{list}]")
}
