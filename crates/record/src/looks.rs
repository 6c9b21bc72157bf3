//! The looks of an incident: what was seen at some of its moments, whole, so that it can be judged again.
//!
//! An incident has at most 24 of them, and the newest 32 incidents have any.

use rusqlite::params;
use toban_model::{IncidentId, Look, Time};

use crate::{Error, Record};

/// Looks that one incident keeps; more are not taken.
const LOOKS_MAX: usize = 24;
/// Incidents whose looks are kept.
const INCIDENTS_MAX: u32 = 32;

const LEVEL: i32 = 3;
/// More than any look that a [`Record`] writes; what claims to be larger is damaged.
const LOOK_BYTES_MAX: usize = 256 << 20;

impl Record {
    /// Keeps a look at an incident, and lets go of those of the oldest incidents. Of one incident 24 are kept at most.
    pub fn put_look(&self, incident: IncidentId, look: &Look) -> Result<(), Error> {
        let json = self.database.json("a look", look)?;
        let packed =
            zstd::bulk::compress(json.as_bytes(), LEVEL).map_err(|e| Error::io(&self.database.path, e))?;
        self.database.in_one(|tx| {
            tx.execute(
                "INSERT OR IGNORE INTO look (incident, at, look)
                 SELECT ?1, ?2, ?3 WHERE (SELECT count(*) FROM look WHERE incident = ?1) < ?4",
                params![incident.0, look.situation.at.as_micros(), packed, LOOKS_MAX as i64],
            )?;
            tx.execute(
                "DELETE FROM look WHERE incident <= ?1 - ?2",
                params![incident.0, i64::from(INCIDENTS_MAX)],
            )?;
            Ok(())
        })
    }

    /// The looks at an incident, oldest first.
    pub fn looks(&self, incident: IncidentId) -> Result<Vec<Look>, Error> {
        let packed: Vec<Vec<u8>> = self.database.list(
            "SELECT look FROM look WHERE incident = ?1 ORDER BY at",
            [incident.0],
            |row| row.get(0),
        )?;
        packed.iter().map(|packed| self.unpacked(packed)).collect()
    }

    /// The newest look at or before a moment in an incident that was going on then.
    pub fn look_before(&self, at: Time) -> Result<Option<Look>, Error> {
        let packed: Vec<Vec<u8>> = self.database.list(
            "SELECT look FROM look JOIN incident ON incident.id = look.incident
             WHERE look.at <= ?1 AND coalesce(incident.ended, ?1) >= ?1 ORDER BY look.at DESC LIMIT 1",
            [at.as_micros()],
            |row| row.get(0),
        )?;
        packed.first().map(|packed| self.unpacked(packed)).transpose()
    }

    fn unpacked(&self, packed: &[u8]) -> Result<Look, Error> {
        let fail =
            |detail: String| Error::Row { path: self.database.path.clone(), what: "a look".into(), detail };
        let json = zstd::bulk::decompress(packed, LOOK_BYTES_MAX).map_err(|e| fail(e.to_string()))?;
        serde_json::from_slice(&json).map_err(|e| fail(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use toban_model::{Situation, Time};

    use super::*;

    fn look(at: i64) -> Look {
        let situation =
            Situation { at: Time::from_secs(at), usual_seconds: 0.1 + 0.2, ..Situation::default() };
        Look { situation, ..Look::default() }
    }

    #[test]
    fn a_moment_of_an_incident_is_found_again() {
        let record = Record::in_memory().unwrap();
        let [first, second] = [0, 1].map(|n| {
            let since = Time::from_secs(1000 * n);
            let incident = record.open_incident(since, since, &[]).unwrap();
            for at in 0..LOOKS_MAX as i64 + 9 {
                record.put_look(incident.id, &look(1000 * n + at * 10)).unwrap();
            }
            record.end_incident(incident.id, Time::from_secs(1000 * n + 500)).unwrap();
            incident.id
        });
        assert_eq!(record.looks(first).unwrap().len(), LOOKS_MAX);
        assert_eq!(record.looks(second).unwrap()[1], look(1010));
        let before =
            |at| record.look_before(Time::from_secs(at)).unwrap().map(|look| look.situation.at.as_secs());
        assert_eq!(
            [before(-1), before(0), before(19), before(450), before(501), before(1009)],
            [None, Some(0), Some(10), Some(230), None, Some(1000)]
        );
    }

    #[test]
    fn looks_of_old_incidents_are_let_go() {
        let record = Record::in_memory().unwrap();
        for n in 0..i64::from(INCIDENTS_MAX) + 3 {
            let incident = record.open_incident(Time::ZERO, Time::ZERO, &[]).unwrap();
            record.put_look(incident.id, &look(n)).unwrap();
        }
        let with: Vec<i64> = (1..=i64::from(INCIDENTS_MAX) + 3)
            .filter(|id| !record.looks(IncidentId(*id)).unwrap().is_empty())
            .collect();
        assert_eq!(with, (4..=i64::from(INCIDENTS_MAX) + 3).collect::<Vec<_>>());
    }
}
