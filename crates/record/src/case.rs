//! The *case*: an incident in one file, to be judged again elsewhere.
//!
//! ```text
//! toban case 1\n
//! zstd frame of JSON, one document a line, in this order:
//!   {"incident": Incident}                       once
//!   {"look": Look}                               what was seen at some moments, and what it was judged to be
//!   {"sample": Sample}                           every second, from before it began until it was over
//!   {"action": ActionRecord}                     what was done about it
//!   {"log": {"path": …, "line": …}}              what the logs said meanwhile
//! ```
//!
//! `tail -n +2 FILE | zstd -dc | jq` reads it. Lines of a kind that is not known are passed over, so newer ones can have
//! more.

mod anonymize;

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toban_model::{ActionRecord, Incident, Look, Sample};

pub use anonymize::Anonymizer;

use crate::Error;

/// What the file begins with.
pub const MAGIC: &[u8] = b"toban case 1\n";
const LEVEL: i32 = 9;
/// A case that a stranger sends may claim any size; one of a long incident is a few MiB.
const BYTES_MAX: u64 = 512 << 20;

/// An incident with all that it was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// As it stands in the record.
    pub incident: Incident,
    /// Oldest first.
    pub looks: Vec<Look>,
    /// Oldest first.
    pub samples: Vec<Sample>,
    /// Oldest first.
    pub actions: Vec<ActionRecord>,
    /// In the order of each log.
    pub logs: Vec<LogLine>,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The log.
    pub path: PathBuf,
    /// The line without its end; what is no UTF-8 is replaced.
    pub line: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
enum Document<'a> {
    Incident(Cow<'a, Incident>),
    Look(Cow<'a, Look>),
    Sample(Cow<'a, Sample>),
    Action(Cow<'a, ActionRecord>),
    Log(Cow<'a, LogLine>),
}

impl Case {
    /// Writes it into a new file that only its owner can read; one that is there is an error.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let io = |e| Error::io(path, e);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
        file.write_all(MAGIC).map_err(io)?;
        let mut out = zstd::Encoder::new(BufWriter::new(file), LEVEL).map_err(io)?;
        let documents = std::iter::once(Document::Incident(Cow::Borrowed(&self.incident)))
            .chain(self.looks.iter().map(|look| Document::Look(Cow::Borrowed(look))))
            .chain(self.samples.iter().map(|sample| Document::Sample(Cow::Borrowed(sample))))
            .chain(self.actions.iter().map(|action| Document::Action(Cow::Borrowed(action))))
            .chain(self.logs.iter().map(|log| Document::Log(Cow::Borrowed(log))));
        for document in documents {
            serde_json::to_writer(&mut out, &document).map_err(|e| io(e.into()))?;
            out.write_all(b"\n").map_err(io)?;
        }
        let file = out.finish().and_then(|out| out.into_inner().map_err(|e| e.into_error())).map_err(io)?;
        file.sync_all().map_err(io)
    }

    /// Reads one. What a stranger made up is an error, never more than 512 MiB of it read.
    pub fn read(path: &Path) -> Result<Case, Error> {
        let io = |e| Error::io(path, e);
        let mut file = BufReader::new(File::open(path).map_err(io)?);
        Case::from_reader(&mut file).map_err(|detail| Error::Case { path: path.to_owned(), detail })
    }

    /// Reads one from a stream; an error says what is wrong with it.
    pub fn from_reader(input: &mut impl BufRead) -> Result<Case, String> {
        let mut magic = Vec::new();
        input.by_ref().take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| e.to_string())?;
        if magic != MAGIC {
            return Err("it does not begin as a case does (\"toban case 1\")".to_owned());
        }
        let unpacked = zstd::Decoder::with_buffer(input).map_err(|e| e.to_string())?;
        let mut unpacked = BufReader::new(unpacked.take(BYTES_MAX));
        let mut incident = None;
        let (mut looks, mut samples, mut actions, mut logs) = (vec![], vec![], vec![], vec![]);
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if unpacked.read_until(b'\n', &mut line).map_err(|e| e.to_string())? == 0 {
                break;
            }
            match serde_json::from_slice(&line) {
                Ok(Document::Incident(it)) => incident = Some(it.into_owned()),
                Ok(Document::Look(it)) => looks.push(it.into_owned()),
                Ok(Document::Sample(it)) => samples.push(it.into_owned()),
                Ok(Document::Action(it)) => actions.push(it.into_owned()),
                Ok(Document::Log(it)) => logs.push(it.into_owned()),
                Err(_) if is_of_unknown_kind(&line) => {}
                Err(error) => return Err(format!("document {number}: {error}")),
            }
        }
        if unpacked.into_inner().limit() == 0 {
            return Err(format!("it is larger than {} MiB", BYTES_MAX >> 20));
        }
        let incident = incident.ok_or("it holds no incident")?;
        Ok(Case { incident, looks, samples, actions, logs })
    }
}

/// A document of a newer version.
fn is_of_unknown_kind(line: &[u8]) -> bool {
    let kind = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(line);
    kind.is_ok_and(|object| {
        object.len() == 1
            && object.keys().all(|key| !["incident", "look", "sample", "action", "log"].contains(&&**key))
    })
}

#[cfg(test)]
mod tests {
    use toban_model::{IncidentId, Name, Reading, ReadingKind, Situation, Time};

    use super::*;

    pub(super) fn case() -> Case {
        let at = Time::from_secs(1_700_000_000);
        let reading = Reading {
            name: Name::from("load.1"),
            value: 0.1 + 0.2,
            unit: "".into(),
            kind: ReadingKind::Gauge,
        };
        Case {
            incident: Incident {
                id: IncidentId(7),
                since: at,
                opened: at,
                ended: None,
                cause: "http-flood".into(),
                findings: vec![],
            },
            looks: vec![Look { situation: Situation { at, ..Situation::default() }, ..Look::default() }],
            samples: vec![Sample { at, readings: vec![reading], ..Sample::default() }],
            actions: vec![],
            logs: vec![LogLine { path: "/var/log/syslog".into(), line: "a \"b\"\tc".into() }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.case");
        case().write(&path).unwrap();
        assert_eq!(Case::read(&path).unwrap(), case());
        assert!(matches!(case().write(&path), Err(Error::Io { .. })), "nothing is written over");
    }

    #[test]
    fn what_is_no_case_says_why() {
        let read = |bytes: &[u8]| Case::from_reader(&mut &bytes[..]).unwrap_err();
        assert!(read(b"PK\x03\x04 something else").contains("does not begin"));
        let packed = |text: &str| [MAGIC, &zstd::bulk::compress(text.as_bytes(), 1).unwrap()].concat();
        assert!(read(&packed("{\"look\": 7}\n")).contains("document 1"));
        assert!(read(&packed("{\"newer\": 7}\n")).contains("no incident"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.case");
        case().write(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 5, 20, whole.len() / 2, whole.len() - 1] {
            assert!(!read(&whole[..cut]).is_empty());
        }
    }
}
