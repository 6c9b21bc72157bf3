//! A file of columns: which pages and columns it has stands in a directory, before them and again behind them.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use toban_model::Time;

use super::series::{Key, Vital};
use super::wire::{Bytes, varint};
use super::{DIRECTORY_BYTES_MAX, HEADER_BYTES, Losses};
use crate::Error;

const VERSION: u32 = 1;
/// Most files' directory and times are within this, so one vital takes two reads.
const FIRST_READ_BYTES: usize = 32 * 1024;
const CRC_BYTES: usize = size_of::<u32>();
const LEVEL: i32 = 6;
/// A directory, unpacked.
const UNPACKED_BYTES_MAX: usize = 4 * DIRECTORY_BYTES_MAX;

/// What kind of file it is, by its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    /// The samples of a closed segment.
    Samples,
    /// The minutes of a day.
    Minutes,
}

impl Magic {
    const fn bytes(self) -> &'static [u8; 8] {
        match self {
            Magic::Samples => b"TBNCOLUM",
            Magic::Minutes => b"TBNMINUT",
        }
    }
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// When each sample was begun, and what else is one number a sample. It stands twice: without it, the others say
    /// nothing.
    Times,
    /// One vital.
    Vital(Vital),
    /// The processes.
    Processes,
    /// The sockets.
    Sockets,
}

/// Samples that follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Page {
    /// The earliest of their moments.
    pub(super) first: Time,
    /// The latest.
    pub(super) last: Time,
    pub(super) samples: usize,
}

/// A column, and where its first and last chunk begin and end. Worked out when reading.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) what: What,
    begin: u64,
    end: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Directory {
    pub(super) pages: Vec<Page>,
    pub(super) columns: Vec<Column>,
    /// How long the chunk of each column in each page is, column by column; 0 where there is none.
    chunks: Vec<u32>,
    /// What was lost before the columns were made.
    pub(super) losses: Losses,
}

impl Directory {
    fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        varint(&mut out, self.pages.len() as u64);
        for page in &self.pages {
            out.extend_from_slice(&page.first.as_micros().to_le_bytes());
            out.extend_from_slice(&page.last.as_micros().to_le_bytes());
            varint(&mut out, page.samples as u64);
        }
        varint(&mut out, self.columns.len() as u64);
        let chunks = self.chunks.chunks(self.pages.len().max(1)).chain(std::iter::repeat(&[][..]));
        for (column, chunks) in self.columns.iter().zip(chunks) {
            match &column.what {
                What::Times => out.push(0),
                What::Vital(vital) => {
                    out.push(1);
                    vital.write(&mut out);
                }
                What::Processes => out.push(2),
                What::Sockets => out.push(3),
            }
            for len in chunks {
                varint(&mut out, (*len).into());
            }
        }
        for lost in self.losses.numbers() {
            varint(&mut out, lost);
        }
        out
    }

    fn read(bytes: &[u8], mut offset: u64) -> Option<Directory> {
        let mut rest = Bytes(bytes);
        let mut directory = Directory::default();
        for _ in 0..rest.count()? {
            directory.pages.push(Page {
                first: Time::from_micros(rest.i64()?),
                last: Time::from_micros(rest.i64()?),
                samples: usize::try_from(rest.varint()?).ok().filter(|n| *n <= super::PAGE_SAMPLES_MAX)?,
            });
        }
        for _ in 0..rest.count()? {
            let what = match rest.u8()? {
                0 => What::Times,
                1 => What::Vital(Vital::read(&mut rest)?),
                2 => What::Processes,
                3 => What::Sockets,
                _ => return None,
            };
            let begin = offset;
            for _ in 0..directory.pages.len() {
                let len = rest.small()?;
                directory.chunks.push(len);
                offset += u64::from(len);
            }
            directory.columns.push(Column { what, begin, end: offset });
        }
        let mut lost = [0; Losses::KINDS];
        for number in &mut lost {
            *number = rest.varint()?;
        }
        directory.losses = Losses::of(lost);
        Some(directory)
    }
}

/// What a column has for each page: a sealed chunk, or nothing.
pub(super) type Chunks = Vec<Vec<u8>>;

/// The bytes of a chunk with its checksum behind them.
pub(super) fn sealed(mut body: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&body);
    body.extend_from_slice(&crc.to_le_bytes());
    body
}

/// Writes a whole file. Every column has as many chunks as there are pages.
pub(super) fn write(
    out: &mut impl Write,
    magic: Magic,
    pages: Vec<Page>,
    columns: &[(What, Chunks)],
    losses: Losses,
) -> io::Result<()> {
    let directory = Directory {
        pages,
        columns: columns.iter().map(|(what, _)| Column { what: what.clone(), begin: 0, end: 0 }).collect(),
        chunks: columns.iter().flat_map(|(_, chunks)| chunks).map(|chunk| chunk.len() as u32).collect(),
        losses,
    };
    let directory = zstd::bulk::compress(&directory.write(), LEVEL)?;
    let mut head = [0; HEADER_BYTES];
    head[..8].copy_from_slice(magic.bytes());
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&(directory.len() as u32).to_le_bytes());
    head[16..20].copy_from_slice(&crc32fast::hash(&directory).to_le_bytes());
    let crc = crc32fast::hash(&head[..20]);
    head[20..].copy_from_slice(&crc.to_le_bytes());

    out.write_all(&head)?;
    out.write_all(&directory)?;
    for chunk in columns.iter().flat_map(|(_, chunks)| chunks) {
        out.write_all(chunk)?;
    }
    out.write_all(&directory)?;
    out.write_all(&head)
}

/// A file of columns, open for reading.
#[derive(Debug)]
pub(super) struct ColumnFile {
    path: PathBuf,
    file: File,
    pub(super) directory: Directory,
    /// What was read so far in one piece, and where it begins.
    loaded: (u64, Vec<u8>),
}

impl ColumnFile {
    /// Opens a file of columns. `None` within for what is not one, is of a newer version, or has lost both directories.
    pub(super) fn open(path: &Path, magic: Magic) -> Result<Option<ColumnFile>, Error> {
        let fail = |e| Error::io(path, e);
        let file = File::open(path).map_err(fail)?;
        let len = file.metadata().map_err(fail)?.len();
        let mut start = read_up_to(&file, 0, FIRST_READ_BYTES).map_err(fail)?;
        if let Some((directory_len, crc)) = read_head(&start, magic) {
            let end = HEADER_BYTES + directory_len;
            if start.len() < end {
                start = read_up_to(&file, 0, end).map_err(fail)?;
            }
            let packed = start.get(HEADER_BYTES..end);
            if let Some(directory) = packed.and_then(|packed| unpacked(packed, crc, end as u64)) {
                let loaded = (0, start);
                return Ok(Some(ColumnFile { path: path.to_owned(), file, directory, loaded }));
            }
        }
        // The copy behind the chunks.
        let Some(tail) = len.checked_sub(HEADER_BYTES as u64) else { return Ok(None) };
        let head = read_up_to(&file, tail, HEADER_BYTES).map_err(fail)?;
        let Some((directory_len, crc)) = read_head(&head, magic) else { return Ok(None) };
        let Some(begin) = tail.checked_sub(directory_len as u64) else { return Ok(None) };
        let packed = read_up_to(&file, begin, directory_len).map_err(fail)?;
        let offset = (HEADER_BYTES + directory_len) as u64;
        Ok(unpacked(&packed, crc, offset).map(|directory| ColumnFile {
            path: path.to_owned(),
            file,
            directory,
            loaded: (0, start),
        }))
    }

    /// Reads a stretch of columns in one piece, so that what follows needs no more reads.
    pub(super) fn load(&mut self, columns: impl Iterator<Item = usize>) -> Result<(), Error> {
        let spans: Vec<(u64, u64)> = columns
            .filter_map(|at| self.directory.columns.get(at))
            .map(|column| (column.begin, column.end))
            .collect();
        let begin = spans.iter().map(|(begin, _)| *begin).min().unwrap_or(0);
        let end = spans.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let held = self.loaded.0..self.loaded.0 + self.loaded.1.len() as u64;
        if held.start > begin || held.end < end {
            let bytes = read_up_to(&self.file, begin, (end - begin) as usize);
            self.loaded = (begin, bytes.map_err(|e| Error::io(&self.path, e))?);
        }
        Ok(())
    }

    /// A chunk without its checksum; `None` within if it is damaged or there is none.
    pub(super) fn chunk(
        &self,
        column: usize,
        page: usize,
        losses: &mut Losses,
    ) -> Result<Option<Vec<u8>>, Error> {
        let pages = self.directory.pages.len();
        let chunks = &self.directory.chunks[column * pages..(column + 1) * pages];
        let len = chunks[page] as usize;
        if len == 0 {
            return Ok(None);
        }
        let before: u64 = chunks[..page].iter().map(|len| u64::from(*len)).sum();
        let begin = self.directory.columns[column].begin + before;
        let held = begin
            .checked_sub(self.loaded.0)
            .and_then(|at| self.loaded.1.get(at as usize..)?.get(..len))
            .map(<[u8]>::to_vec);
        let mut chunk = match held {
            Some(chunk) => chunk,
            None => read_up_to(&self.file, begin, len).map_err(|e| Error::io(&self.path, e))?,
        };
        let body = chunk.len().saturating_sub(CRC_BYTES);
        if chunk.len() == len
            && len > CRC_BYTES
            && crc32fast::hash(&chunk[..body]).to_le_bytes() == chunk[body..]
        {
            chunk.truncate(body);
            return Ok(Some(chunk));
        }
        losses.damaged_pages += 1;
        Ok(None)
    }

    /// The places of the columns that hold something.
    pub(super) fn columns(&self, is: impl Fn(&What) -> bool) -> Vec<usize> {
        let columns = &self.directory.columns;
        (0..columns.len()).filter(|&at| is(&columns[at].what)).collect()
    }
}

/// The directory's length and checksum.
fn read_head(bytes: &[u8], magic: Magic) -> Option<(usize, u32)> {
    let head = bytes.get(..HEADER_BYTES)?;
    let mut rest = Bytes(head);
    let found = rest.take(8)?;
    let version = rest.u32()?;
    let (len, crc) = (rest.u32()? as usize, rest.u32()?);
    let whole = rest.u32()? == crc32fast::hash(&head[..20]);
    (found == magic.bytes() && version == VERSION && whole && len <= DIRECTORY_BYTES_MAX)
        .then_some((len, crc))
}

fn unpacked(packed: &[u8], crc: u32, offset: u64) -> Option<Directory> {
    if crc32fast::hash(packed) != crc {
        return None;
    }
    let len = zstd::bulk::Decompressor::upper_bound(packed).filter(|len| *len <= UNPACKED_BYTES_MAX)?;
    let bytes = zstd::bulk::decompress(packed, len).ok()?;
    Directory::read(&bytes, offset)
}

/// As many bytes as there are, at most `len`.
fn read_up_to(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut read = 0;
    while read < len {
        match file.read_at(&mut bytes[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(read);
    Ok(bytes)
}
