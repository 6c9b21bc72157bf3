//! A file of `/proc` or `/sys` that is read again and again: opened once, read from its start each time.
//!
//! To read a handle that is kept asks the kernel for no memory and walks no path, so it works while a host has none
//! to give; and it costs half of opening, reading and closing.

use std::path::PathBuf;

use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::{Error, Root, limits};

/// What does not exist is looked for again after this many reads.
const MISSING_READS: u32 = 64;
/// Most files fit; the others grow it once.
const BUFFER_BYTES: usize = 4 << 10;

/// One such file with its buffer.
pub(crate) struct Kept {
    path: String,
    full: PathBuf,
    handle: Option<OwnedFd>,
    buffer: Vec<u8>,
    skip: u32,
}

impl Kept {
    /// The file at a path of the host.
    pub(crate) fn new(path: impl Into<String>) -> Kept {
        Kept { path: path.into(), full: PathBuf::new(), handle: None, buffer: Vec::new(), skip: 0 }
    }

    /// What stands in it now; an error if it cannot be read.
    pub(crate) fn read(&mut self, root: &Root) -> Result<&[u8], Error> {
        self.take(root).map_err(|errno| Error::reading(&root.at(&self.path), errno.into()))?;
        Ok(&self.buffer)
    }

    /// What stands in it now, of a file that a host need not have.
    pub(crate) fn try_read(&mut self, root: &Root) -> Option<&[u8]> {
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        match self.take(root) {
            Ok(()) => Some(&self.buffer),
            Err(_) => {
                self.skip = MISSING_READS;
                None
            }
        }
    }

    /// The error of a file that was read and does not have its documented form.
    pub(crate) fn form(&self, root: &Root, expected: &'static str) -> Error {
        Error::Form { path: root.at(&self.path), expected }
    }

    fn take(&mut self, root: &Root) -> Result<(), Errno> {
        if self.full.as_os_str().is_empty() {
            self.full = root.at(&self.path);
        }
        let handle = match self.handle.take() {
            Some(handle) => handle,
            None => rustix::fs::open(
                &self.full,
                OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
                Mode::empty(),
            )?,
        };
        read_at_start(&handle, &mut self.buffer, BUFFER_BYTES)?;
        self.handle = Some(handle);
        Ok(())
    }
}

/// Reads a handle from its start to its end into a buffer that is kept, up to [`limits::PROC_FILE_BYTES_MAX`]. A short
/// read is no end: the kernel hands over many files by the page.
pub(crate) fn read_at_start(handle: &OwnedFd, buffer: &mut Vec<u8>, room: usize) -> Result<(), Errno> {
    buffer.clear();
    buffer.reserve(room);
    while buffer.len() < limits::PROC_FILE_BYTES_MAX {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len());
        }
        let read = buffer.len() as u64;
        match rustix::io::pread(handle, spare_capacity(buffer), read) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                buffer.clear();
                return Err(errno);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_its_start_each_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let path = dir.path().join("proc/loadavg");
        let root = Root::new(dir.path());
        let mut kept = Kept::new("/proc/loadavg");
        assert!(kept.read(&root).is_err_and(|error| error.is_missing()));
        let long = "7".repeat(3 * BUFFER_BYTES);
        for text in ["1.5 a", "2.25 bcd", long.as_str(), ""] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(kept.read(&root).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_is_missing_is_looked_for_now_and_then() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let mut kept = Kept::new("/conntrack");
        assert_eq!(kept.try_read(&root), None);
        std::fs::write(dir.path().join("conntrack"), "5").unwrap();
        let reads = (1..).find(|_| kept.try_read(&root).is_some()).unwrap();
        assert_eq!(reads, MISSING_READS + 1);
    }
}
