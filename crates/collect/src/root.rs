//! The root of the file system that is read: the live host's `/`, a fixture, or another host's disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, limits};

/// What is read at once at least.
const READ_BYTES: usize = 4096;

/// The directory that stands for `/`. Paths of the host (`/proc/stat`, `/var/log`) are looked up below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Default for Root {
    fn default() -> Self {
        Root::host()
    }
}

impl Root {
    /// The live host.
    pub fn host() -> Root {
        Root(PathBuf::from("/"))
    }

    /// Another tree.
    pub fn new(path: impl Into<PathBuf>) -> Root {
        Root(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// This is the running host, so the kernel may be asked by other ways than files (netlink, clocks).
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// A path of the host, as this process has to open it.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A path as this process opened it, as the host calls it.
    pub fn host_path(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.0).map_or_else(|_| path.to_path_buf(), |rest| Path::new("/").join(rest))
    }

    /// Reads a small file whole into `buffer`, up to [`limits::PROC_FILE_BYTES_MAX`]; returns the bytes.
    pub fn read<'a>(&self, path: impl AsRef<Path>, buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Error> {
        let path = self.at(path);
        read_file(&path, limits::PROC_FILE_BYTES_MAX, buffer)
            .map_err(|source| Error::reading(&path, source))?;
        Ok(buffer)
    }

    /// Reads a regular file that a person wrote, up to [`limits::CONFIG_FILE_BYTES_MAX`].
    ///
    /// A FIFO or device where a configuration file should be must not block, so it is opened without waiting and
    /// refused.
    pub fn read_config(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let path = self.at(path);
        let file = open_regular(&path)?;
        let mut bytes = Vec::new();
        read_open(&file, limits::CONFIG_FILE_BYTES_MAX, &mut bytes)
            .map_err(|source| Error::reading(&path, source))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Opens a regular file for reading; anything else is a typed error and never blocks.
pub(crate) fn open_regular(path: &Path) -> Result<std::fs::File, Error> {
    use rustix::fs::{FileType, Mode, OFlags};
    // Without O_NONBLOCK the open of a FIFO waits for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => file,
        // A unix socket cannot be opened at all.
        Err(rustix::io::Errno::NXIO) => return Err(Error::NotRegular { path: path.into(), found: "socket" }),
        Err(errno) => return Err(Error::reading(path, errno.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(|errno| Error::reading(path, errno.into()))?;
    let found = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => return Ok(file.into()),
        FileType::Directory => return Err(Error::Directory { path: path.into() }),
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice => "character device",
        FileType::BlockDevice => "block device",
        _ => "special file",
    };
    Err(Error::NotRegular { path: path.into(), found })
}

fn read_file(path: &Path, limit: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    read_open(&file, limit, buffer)
}

/// Files of `/proc` have no size, so the buffer that the caller keeps decides how much one system call brings.
fn read_open(file: &std::fs::File, limit: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    use rustix::buffer::spare_capacity;
    buffer.clear();
    buffer.reserve(READ_BYTES.min(limit));
    while buffer.len() < limit {
        if buffer.len() == buffer.capacity() {
            buffer.reserve(buffer.len());
        }
        match rustix::io::read(file, spare_capacity(buffer)) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => {
                buffer.clear();
                return Err(errno.into());
            }
        }
    }
    buffer.truncate(limit);
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A host's files, made for a test: paths below its root, and what is in them.
    pub(crate) fn tree<P: AsRef<Path>, T: AsRef<[u8]>>(files: &[(P, T)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = path.as_ref();
            let path = dir.path().join(path.strip_prefix("/").unwrap_or(path));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    #[test]
    fn paths_stay_below_the_root() {
        let root = Root::new("/fixture");
        assert_eq!(root.at("/proc/stat"), Path::new("/fixture/proc/stat"));
        assert_eq!(root.host_path(Path::new("/fixture/var/log/a")), Path::new("/var/log/a"));
        assert_eq!(Root::host().at("/proc/stat"), Path::new("/proc/stat"));
    }
}
