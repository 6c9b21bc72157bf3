//! Compressed log files, told by their first bytes and inflated as a stream.

use std::borrow::Borrow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names;
use crate::{Error, limits};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// xz, as in its file format 1.2.
    Xz,
    /// bzip2.
    Bzip2,
}

impl Compression {
    /// Tells it by the file's first bytes; `None` is a plain file. One that calls itself compressed and is not, or in
    /// a way that is not known, is an error.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Option<Compression>, Error> {
        let mut magic = [0; 10];
        let found = fill(At::new(file), &mut magic).map_err(|source| Error::reading(path, source))?;
        let magic = &magic[..found];
        // After the level come the digits of π, which begin a block, or of √π in an archive of nothing.
        let blocks: [&[u8]; 2] = [b"\x31\x41\x59\x26\x53\x59", b"\x17\x72\x45\x38\x50\x90"];
        Ok(match magic {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] if blocks.contains(&block) => {
                Some(Compression::Bzip2)
            }
            [] => None,
            _ if names::is_compressed(path) => {
                let expected = "gzip, zstd, xz or bzip2, as its name says";
                return Err(Error::Form { path: path.to_path_buf(), expected });
            }
            _ => None,
        })
    }

    /// The lines of the archive as a stream; all members of it one after the other.
    pub(crate) fn inflate<'a>(
        self,
        compressed: impl Read + Send + 'a,
    ) -> io::Result<Box<dyn Read + Send + 'a>> {
        let input = BufReader::with_capacity(limits::ARCHIVE_INPUT_BYTES, compressed);
        Ok(match self {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(limits::ARCHIVE_MEMORY_MAX.ilog2())?;
                Box::new(decoder)
            }
            Compression::Xz => {
                let limit = limits::ARCHIVE_MEMORY_MAX as u64;
                let stream =
                    liblzma::stream::Stream::new_stream_decoder(limit, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        })
    }

    /// How many bytes the archive holds, if it says so. gzip says it modulo 4 GiB and of its last member alone, so this
    /// is a hint.
    pub(super) fn inflated_bytes(self, file: &File, size: u64) -> Option<u64> {
        const HEAD_AND_TRAILER: u64 = 18;
        let mut trailer = [0; 4];
        if self != Compression::Gzip || size < HEAD_AND_TRAILER {
            return None;
        }
        file.read_exact_at(&mut trailer, size - 4).ok()?;
        Some(u64::from(u32::from_le_bytes(trailer)))
    }

    /// The same, guessed where it does not say: logs shrink to about a twentieth.
    pub(super) fn inflated_bytes_about(self, file: &File, size: u64) -> u64 {
        const RATIO: u64 = 20;
        self.inflated_bytes(file, size).unwrap_or(size.saturating_mul(RATIO))
    }
}

/// Reads a file from its start without moving the cursor that its handle shares, and counts.
pub(crate) struct At<'a, F> {
    file: F,
    at: u64,
    count: Option<&'a AtomicU64>,
}

impl<'a, F> At<'a, F> {
    pub(crate) fn new(file: F) -> At<'a, F> {
        At { file, at: 0, count: None }
    }

    pub(super) fn counted(file: F, count: &'a AtomicU64) -> At<'a, F> {
        At { file, at: 0, count: Some(count) }
    }
}

impl<F: Borrow<File>> Read for At<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.borrow().read_at(buffer, self.at)?;
        self.at += read as u64;
        if let Some(count) = self.count {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
        Ok(read)
    }
}

/// Reads until the buffer is full or the stream ends; returns how many bytes there are.
pub(crate) fn fill(mut stream: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    fill_from(&mut stream, buffer, &mut filled).map(|()| filled)
}

/// The same behind what the buffer holds already. `filled` is right also when the stream breaks off.
pub(super) fn fill_from(stream: &mut dyn Read, buffer: &mut [u8], filled: &mut usize) -> io::Result<()> {
    while *filled < buffer.len() {
        match stream.read(&mut buffer[*filled..]) {
            Ok(0) => break,
            Ok(read) => *filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
