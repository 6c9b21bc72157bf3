//! The layout of `record.db`, version by version. A step is never edited once it is released: append a new one.
//!
//! Times are microseconds since the epoch. What is only ever read back whole (findings, plans) is JSON; what is
//! searched by is a column.

use rusqlite::{Connection, TransactionBehavior};

/// `PRAGMA application_id`: "toba". Lets file(1) and us tell the record from any other SQLite file.
pub(crate) const APPLICATION_ID: i32 = 0x746f_6261;

/// Step n brings layout n to n + 1.
const STEPS: &[&str] = &[
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

    CREATE TABLE state (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

    CREATE TABLE allowed (prefix TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
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
];

/// The newest layout known here.
pub(crate) const KNOWN: u32 = STEPS.len() as u32;

/// Brings the database up to [`KNOWN`]. Returns the layout found when it is newer than that.
pub(crate) fn migrate(connection: &mut Connection) -> rusqlite::Result<Result<(), u32>> {
    let found = version(connection)?;
    if found > KNOWN {
        return Ok(Err(found));
    }
    if found == KNOWN {
        return Ok(Ok(()));
    }
    // Immediate, and the version read again inside: another opener may have migrated while we waited.
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&tx)?;
    for step in STEPS.iter().skip(found as usize) {
        tx.execute_batch(step)?;
    }
    if found < KNOWN {
        tx.pragma_update(None, "user_version", KNOWN)?;
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    tx.commit()?;
    Ok(Ok(()))
}

fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
