//! Whether the host was shut down in order: what init wrote into wtmp when it was.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use toban_model::Time;

use crate::Root;

const WTMP: &str = "/var/log/wtmp";
/// Of wtmp(5): type at 0, user at 44, seconds at 340.
const RECORD_BYTES: usize = 384;
/// `RUN_LVL`, as which shutdown(8) and systemd write it.
const RUN_LEVEL: i16 = 1;
/// The newest records alone: thousands of logins.
const READ_BYTES: u64 = RECORD_BYTES as u64 * 4096;

/// Whether a shutdown was written down between these moments.
pub fn was_shut_down(root: &Root, from: Time, to: Time) -> bool {
    let Ok(mut file) = File::open(root.at(WTMP)) else { return false };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let whole = length - length % RECORD_BYTES as u64;
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(whole.saturating_sub(READ_BYTES)));
    if read.and_then(|_| file.take(READ_BYTES).read_to_end(&mut bytes)).is_err() {
        return false;
    }
    bytes.chunks_exact(RECORD_BYTES).any(|record| {
        let seconds = i32::from_ne_bytes([record[340], record[341], record[342], record[343]]);
        let at = Time::from_secs(i64::from(seconds));
        i16::from_ne_bytes([record[0], record[1]]) == RUN_LEVEL
            && record[44..].starts_with(b"shutdown\0")
            && at >= from
            && at <= to
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_is_found_among_logins() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let record = |kind: i16, user: &str, seconds: i32| {
            let mut record = vec![0u8; RECORD_BYTES];
            record[..2].copy_from_slice(&kind.to_ne_bytes());
            record[44..44 + user.len()].copy_from_slice(user.as_bytes());
            record[340..344].copy_from_slice(&seconds.to_ne_bytes());
            record
        };
        let at = Time::from_secs;
        assert!(!was_shut_down(&root, at(0), at(9000)), "there is no wtmp");
        std::fs::create_dir_all(dir.path().join("var/log")).unwrap();
        let records = [
            record(7, "shutdown", 2000),
            record(1, "runlevel", 2000),
            record(1, "shutdown", 3000),
            vec![0; 7],
        ];
        std::fs::write(dir.path().join("var/log/wtmp"), records.concat()).unwrap();
        assert!(was_shut_down(&root, at(2500), at(3500)));
        assert!(!was_shut_down(&root, at(1500), at(2500)));
        assert!(!was_shut_down(&root, at(3001), at(9000)));
    }
}
