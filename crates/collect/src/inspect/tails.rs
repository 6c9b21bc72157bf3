//! The ends of logs: what was said last. Nothing is followed here, so nothing is missed and nothing is kept.

use std::path::{Path, PathBuf};

use crate::{Error, Root, limits};

/// Files in which all programs of a host write, of Debian, Red Hat and SUSE.
const SPOKEN: &[&str] =
    &["/var/log/syslog", "/var/log/messages", "/var/log/daemon.log", "/var/log/mail.log", "/var/log/maillog"];

/// The syslog files that this host has.
pub fn spoken_logs(root: &Root) -> Vec<PathBuf> {
    SPOKEN.iter().map(PathBuf::from).filter(|path| root.at(path).is_file()).collect()
}

/// The last whole lines of a file, at most [`limits::TAIL_LOOK_BYTES`] of them.
pub fn last_lines(root: &Root, path: &Path) -> Result<Vec<u8>, Error> {
    use std::os::unix::fs::FileExt;
    let real = root.at(path);
    let file = crate::root::open_regular(&real)?;
    let failed = |source| Error::reading(&real, source);
    let len = file.metadata().map_err(failed)?.len();
    let from = len.saturating_sub(limits::TAIL_LOOK_BYTES as u64);
    let mut bytes = vec![0; usize::try_from(len - from).unwrap_or(0)];
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], from + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    bytes.truncate(read);
    if from > 0 {
        // It begins in the middle of a line.
        let first = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |end| end + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let log = dir.path().join("log");
        std::fs::write(&log, "one\ntwo\n").unwrap();
        assert_eq!(last_lines(&root, Path::new("/log")).unwrap(), b"one\ntwo\n");
        let line = format!("{}\n", "x".repeat(99));
        std::fs::write(&log, line.repeat(limits::TAIL_LOOK_BYTES / 100 + 5)).unwrap();
        let bytes = last_lines(&root, Path::new("/log")).unwrap();
        assert!(
            bytes.len() <= limits::TAIL_LOOK_BYTES && bytes.len().is_multiple_of(100) && !bytes.is_empty()
        );
        assert!(last_lines(&root, Path::new("/none")).is_err());
    }
}
