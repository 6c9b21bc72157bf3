//! Reads a row file record by record, in a window of bounded size, past whatever is damaged.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use toban_model::{Name, ReadingKind, Sample, Time};

use super::rows::{self, RunReader, Scope, Taken};
use super::version1::Dictionary;
use super::wire::{self, Framed};
use super::{
    HEADER_BYTES, Losses, RECORD_BYTES_MAX, RECORD_HEAD_BYTES, TAG_FIRST, TAG_NEXT, TAG_SAMPLE, VERSION,
};
use crate::Error;

/// Looking for the next valid record stops after this many bytes have been checksummed: a bound on what one damaged
/// file can cost. What is left of the file is then given up.
const RESYNC_BYTES_MAX: usize = 64 << 20;
/// A read: several records of the largest kind.
const WINDOW_BYTES: u64 = 2 * RECORD_BYTES_MAX as u64;

/// A row file, and the sample that was read last.
#[derive(Debug)]
pub(super) struct RowFile {
    path: PathBuf,
    file: File,
    window: Vec<u8>,
    /// Where the window begins in the file, and where the reader stands in the window.
    offset: u64,
    at: usize,
    ended: bool,
    resync_left: usize,
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    One(Dictionary, Sample),
    Two(Box<RunReader>),
}

impl RowFile {
    /// Opens a row file. `None` within for what is not one or is of a newer version; an empty file is one, whose header
    /// is not written yet.
    pub(super) fn open(path: &Path, scope: Scope) -> Result<Option<RowFile>, Error> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let mut rows = RowFile {
            path: path.to_owned(),
            file,
            window: Vec::new(),
            offset: 0,
            at: 0,
            ended: false,
            resync_left: RESYNC_BYTES_MAX,
            decoder: Decoder::Two(Box::new(RunReader::new(scope))),
        };
        rows.fill()?;
        if rows.window.is_empty() {
            return Ok(Some(rows));
        }
        match wire::read_header(&rows.window) {
            Some(1) => rows.decoder = Decoder::One(Dictionary::default(), Sample::default()),
            Some(VERSION) => {}
            _ => return Ok(None),
        }
        rows.at = HEADER_BYTES;
        Ok(Some(rows))
    }

    /// Goes to the next sample. False at the end.
    pub(super) fn advance(&mut self, losses: &mut Losses) -> Result<bool, Error> {
        while let Some(len) = self.find(losses)? {
            let record = &self.window[self.at..self.at + len];
            let payload = &record[RECORD_HEAD_BYTES..];
            self.at += len;
            match (&mut self.decoder, payload[0]) {
                (Decoder::One(dictionary, newest), TAG_SAMPLE) => match dictionary.read(&payload[1..]) {
                    Some((sample, nameless)) => {
                        losses.nameless_readings += nameless;
                        *newest = sample;
                        return Ok(true);
                    }
                    None => losses.damaged_bytes += len as u64,
                },
                (Decoder::Two(run), TAG_FIRST | TAG_NEXT) => {
                    match run.take(payload, rows::checksum(record)) {
                        Taken::Sample => return Ok(true),
                        Taken::Orphan => losses.orphaned_samples += 1,
                        Taken::Senseless => losses.damaged_bytes += len as u64,
                    }
                }
                // The end mark, or a kind of record that a later version added.
                _ => {}
            }
        }
        Ok(false)
    }

    /// When the sample was begun that was read last.
    pub(super) fn moment(&self) -> Time {
        match &self.decoder {
            Decoder::One(_, newest) => newest.at,
            Decoder::Two(run) => run.at(),
        }
    }

    /// When the sample was begun that [`RowFile::advance`] goes to, if it surely goes to one of the same run.
    pub(super) fn next_moment(&mut self) -> Result<Option<Time>, Error> {
        self.fill()?;
        let rest = &self.window[self.at..];
        Ok(match (&self.decoder, wire::framed(rest)) {
            (Decoder::Two(run), Framed::Valid(len)) => run.next_at(&rest[RECORD_HEAD_BYTES..len]),
            _ => None,
        })
    }

    /// The sample that was read last.
    pub(super) fn sample(&self) -> Sample {
        match &self.decoder {
            Decoder::One(_, newest) => newest.clone(),
            Decoder::Two(run) => run.sample(),
        }
    }

    /// One vital of the sample that was read last, with its unit. `hint` makes the next search short.
    pub(super) fn value(&self, name: &str, hint: &mut usize) -> Option<(Name, ReadingKind, f64)> {
        match &self.decoder {
            Decoder::One(_, newest) => {
                let reading = newest.readings.iter().find(|reading| reading.name == *name)?;
                Some((reading.unit.clone(), reading.kind, reading.value))
            }
            Decoder::Two(run) => run.value(name, hint),
        }
    }

    /// Skips, without decoding it, what is certainly before `at` and not needed to read on from there.
    pub(super) fn skip_to(&mut self, at: Time) -> Result<(), Error> {
        if matches!(self.decoder, Decoder::One(..)) {
            return Ok(());
        }
        let begin = self.position();
        let (mut run, mut before) = (begin, Time::from_micros(i64::MIN));
        while let Some(len) = self.find(&mut Losses::default())? {
            let payload = &self.window[self.at + RECORD_HEAD_BYTES..self.at + len];
            if let Some((moment, first)) = rows::moment(payload) {
                if moment < before {
                    // Out of order, as a clock set back on a full disk leaves it: nothing is certain.
                    run = begin;
                    break;
                }
                if moment > at {
                    break;
                }
                before = moment;
                if first {
                    run = self.position();
                }
            }
            self.at += len;
        }
        self.file.seek(SeekFrom::Start(run)).map_err(|e| Error::io(&self.path, e))?;
        (self.offset, self.at, self.ended) = (run, 0, false);
        self.window.clear();
        self.resync_left = RESYNC_BYTES_MAX;
        Ok(())
    }

    /// Where the last valid record ends, and how many bytes follow it.
    pub(super) fn valid_end(mut self) -> Result<(u64, u64), Error> {
        let mut end = self.position();
        let mut losses = Losses::default();
        while let Some(len) = self.find(&mut losses)? {
            self.at += len;
            end = self.position();
        }
        // Given up is not searched: whatever is there stays.
        Ok((end, if self.resync_left == 0 { 0 } else { losses.torn_bytes }))
    }

    fn position(&self) -> u64 {
        self.offset + self.at as u64
    }

    /// Goes to the next valid record, and says how long it is with its head.
    fn find(&mut self, losses: &mut Losses) -> Result<Option<usize>, Error> {
        let mut skipped = 0u64;
        loop {
            self.fill()?;
            let rest = &self.window[self.at..];
            if rest.is_empty() {
                losses.torn_bytes += skipped;
                return Ok(None);
            }
            let likely = if skipped == 0 { Some(0) } else { wire::plausible(rest) };
            if let Some(cost) = likely {
                if cost > self.resync_left {
                    self.resync_left = 0;
                    let end = self.file.metadata().map_err(|e| Error::io(&self.path, e))?.len();
                    losses.torn_bytes += skipped + end.saturating_sub(self.position());
                    (self.offset, self.at, self.ended) = (end, 0, true);
                    self.window.clear();
                    return Ok(None);
                }
                self.resync_left -= cost;
                if let Framed::Valid(len) = wire::framed(rest) {
                    losses.damaged_bytes += skipped;
                    return Ok(Some(len));
                }
            }
            self.at += 1;
            skipped += 1;
        }
    }

    /// Sees to it that a whole record is in the window, unless the file ends before.
    fn fill(&mut self) -> Result<(), Error> {
        if self.ended || self.window.len() - self.at >= RECORD_BYTES_MAX + RECORD_HEAD_BYTES {
            return Ok(());
        }
        self.window.drain(..self.at);
        self.offset += self.at as u64;
        self.at = 0;
        let read = (&self.file).take(WINDOW_BYTES).read_to_end(&mut self.window);
        self.ended = (read.map_err(|e| Error::io(&self.path, e))? as u64) < WINDOW_BYTES;
        Ok(())
    }
}
