//! What is done behind the writer's back: row files become columns, and what there is no room for becomes minutes.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::column_file::{self, ColumnFile, Magic};
use super::minutes::Fold;
use super::page::Columns;
use super::places::{self, COLUMNS, Segment};
use super::read::Open;
use super::row_file::RowFile;
use super::rows::Scope;
use super::{Limits, Losses};
use crate::Error;

/// The share of all room that minutes may take.
const MINUTES_SHARE: u64 = 8;

/// Closes what nobody writes any more, then makes room. What fails is left as it is and the rest is done; the first
/// failure is told.
pub(super) fn keep(dir: &Path, limits: Limits) -> Result<(), Error> {
    let lock = File::open(dir).map_err(|e| Error::io(dir, e))?;
    if !locked(&lock, dir)? {
        // Another writer does it at this moment.
        return Ok(());
    }
    for (_, path) in places::unfinished(dir)? {
        places::remove(&path)?;
    }
    let mut told = Ok(());
    for segment in places::segments(dir)? {
        told = told.and(close(dir, &segment));
    }
    told.and(make_room(dir, limits))
}

/// Takes a lock that goes with the file. False if somebody else has it.
pub(super) fn locked(file: &File, path: &Path) -> Result<bool, Error> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::io(path, e)),
    }
}

/// Opens a row file that nobody writes. None if somebody does, or if it is gone.
pub(super) fn left(path: &Path) -> Result<Option<File>, Error> {
    let file = match OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io(path, e)) {
        Ok(file) => file,
        Err(e) if e.is_gone() => return Ok(None),
        Err(e) => return Err(e),
    };
    Ok(if locked(&file, path)? { Some(file) } else { None })
}

/// Turns a row file into columns.
fn close(dir: &Path, segment: &Segment) -> Result<(), Error> {
    let Some(path) = &segment.rows else { return Ok(()) };
    let Some(_lock) = left(path)? else { return Ok(()) };
    if let Some(columns) = &segment.columns
        && ColumnFile::open(columns, Magic::Samples)?.is_some()
    {
        // Somebody died before removing it.
        return places::remove(path);
    }
    let Some(mut rows) = RowFile::open(path, Scope::All)? else { return Ok(()) };
    let mut columns = Columns::default();
    let mut losses = Losses::default();
    while rows.advance(&mut losses)? {
        columns.push(&rows.sample());
    }
    losses.torn_bytes = 0;
    let (pages, columns) = columns.finish();
    if !pages.is_empty() || losses != Losses::default() {
        places::write_whole(&places::path(dir, segment.start, COLUMNS), |out| {
            column_file::write(out, Magic::Samples, pages, &columns, losses)
        })?;
    }
    places::remove(path)
}

/// Folds the oldest segments into minutes until what is there, and one segment more, fits; then drops the oldest days.
fn make_room(dir: &Path, limits: Limits) -> Result<(), Error> {
    let minutes = limits.retain_bytes / MINUTES_SHARE;
    let room = (limits.retain_bytes - minutes).saturating_sub(limits.segment_bytes);
    let segments = places::segments(dir)?;
    let mut total: u64 = segments.iter().map(|segment| places::bytes(segment.path())).sum();
    let mut told = Ok(());
    for segment in segments {
        if total <= room {
            break;
        }
        let bytes = places::bytes(segment.path());
        let _lock = match &segment.rows {
            Some(path) if segment.columns.is_none() => match left(path)? {
                Some(lock) => Some(lock),
                None => continue,
            },
            _ => None,
        };
        // The room is promised first: what cannot be folded, for example because the disk is full, is not kept for it.
        told = told.and(fold(dir, &segment));
        for path in segment.rows.iter().chain(&segment.columns) {
            places::remove(path)?;
        }
        total -= bytes;
    }
    let days = places::days(dir)?;
    let mut total: u64 = days.iter().map(|(_, path)| places::bytes(path)).sum();
    for (_, path) in days {
        if total <= minutes {
            break;
        }
        total -= places::bytes(&path);
        places::remove(&path)?;
    }
    told
}

fn fold(dir: &Path, segment: &Segment) -> Result<(), Error> {
    let mut losses = Losses::default();
    let Some(mut open) = Open::segment(segment, true, &mut losses)? else { return Ok(()) };
    let mut fold = Fold::default();
    while let Some(sample) = open.next(&mut losses)? {
        fold.push(&sample);
    }
    fold.write(dir)
}
