//! The layouts of `record.db` and `book.db`, version by version. A step is never edited once it is released: append a
//! new one.
//!
//! Times are microseconds since the epoch. What is only ever read back whole (findings, plans) is JSON; what is
//! searched by is a column.

use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA application_id`: "toba". Lets file(1) and us tell our files from any other SQLite file.
pub(crate) const APPLICATION_ID: i32 = 0x746f_6261;

/// One file's layout.
pub(crate) struct Layout {
    /// The file's name.
    pub(crate) name: &'static str,
    /// Step n brings layout n to n + 1.
    steps: &'static [&'static str],
}

impl Layout {
    /// The newest version known here.
    pub(crate) fn known(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }
}

/// What was seen.
pub(crate) const RECORD: Layout = Layout {
    name: crate::DATABASE,
    steps: &[
        "
    CREATE TABLE incident (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        since INTEGER NOT NULL,
        opened INTEGER NOT NULL,
        ended INTEGER,
        cause TEXT NOT NULL,
        findings TEXT NOT NULL
    ) STRICT;
    CREATE INDEX incident_open ON incident (id) WHERE ended IS NULL;

    CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
",
        "
    -- What was seen at some moments of an incident: a look, JSON in a zstd frame.
    CREATE TABLE look (
        incident INTEGER NOT NULL REFERENCES incident (id),
        at INTEGER NOT NULL,
        look BLOB NOT NULL,
        PRIMARY KEY (incident, at)
    ) STRICT;
    CREATE INDEX look_at ON look (at);
",
    ],
};

/// What was done.
pub(crate) const BOOK: Layout = Layout {
    name: "book.db",
    steps: &["
    -- AUTOINCREMENT: a number is never used twice, so `toban undo 7` cannot mean another action later.
    CREATE TABLE action (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        incident INTEGER,
        by TEXT NOT NULL,
        state TEXT NOT NULL,
        plan TEXT NOT NULL,
        measured TEXT NOT NULL,
        notes TEXT NOT NULL,
        changed INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX action_state ON action (state);

    CREATE TABLE ban (
        prefix TEXT NOT NULL,
        ports TEXT NOT NULL,
        since INTEGER NOT NULL,
        until INTEGER NOT NULL,
        action INTEGER NOT NULL,
        reason TEXT NOT NULL,
        -- An address may be banned by several actions; undoing one leaves the others standing.
        PRIMARY KEY (action, prefix, ports)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ban_prefix ON ban (prefix);

    -- How far an action has come, as the acting part writes it.
    CREATE TABLE progress (action INTEGER PRIMARY KEY, progress BLOB NOT NULL) STRICT;

    CREATE TABLE allowed (prefix TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"],
};

/// Brings the database up to the newest version. Returns the version found when it is newer than that.
pub(crate) fn migrate(connection: &mut Connection, layout: &Layout) -> rusqlite::Result<Result<(), u32>> {
    let known = layout.known();
    let found = version(connection)?;
    if found > known {
        return Ok(Err(found));
    }
    if found == known {
        return Ok(Ok(()));
    }
    // Immediate, and the version read again inside: another opener may have migrated while we waited.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&tx)?;
    for step in layout.steps.iter().skip(found as usize) {
        tx.execute_batch(step)?;
    }
    if found < known {
        tx.pragma_update(None, "user_version", known)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    tx.commit()?;
    Ok(Ok(()))
}

/// The version of an open file; 0 before it has any.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
