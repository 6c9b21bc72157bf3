//! The kernel's own words, with true times: from `/dev/kmsg`, or from the file that a syslog daemon writes.

use std::path::Path;

use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Mode, OFlags, SeekFrom};
use toban_model::Time;

use crate::tail::{Position, Start, Tailer};
use crate::{Error, Root, limits, procfs};

enum Source {
    Device { device: OwnedFd, next: Option<u64> },
    File(Tailer),
}

/// The kernel log.
pub struct KernelLog {
    source: Source,
    lost: u64,
}

impl KernelLog {
    /// Opens the device or a file, at its beginning (`/dev/kmsg`: the oldest record still kept) or at its end.
    pub fn open(root: &Root, path: &Path, start: Start) -> Result<KernelLog, Error> {
        let real = root.at(path);
        let kind = std::fs::metadata(&real).map_err(|source| Error::reading(&real, source))?;
        use std::os::unix::fs::MetadataExt;
        if FileType::from_raw_mode(kind.mode()) != FileType::CharacterDevice {
            let mut tailer = Tailer::new(root.clone());
            tailer.add(path, start)?;
            return Ok(KernelLog { source: Source::File(tailer), lost: 0 });
        }
        let failed = |errno: rustix::io::Errno| Error::reading(&real, errno.into());
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let device = rustix::fs::open(&real, flags, Mode::empty()).map_err(failed)?;
        if start == Start::End {
            rustix::fs::seek(&device, SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(KernelLog { source: Source::Device { device, next: None }, lost: 0 })
    }

    /// Hands over what is there now, without waiting.
    ///
    /// From the device a line is the message alone, with its time: the kernel's clock against `now`, which must be
    /// the time of this call. From a file it is the whole line as the syslog daemon wrote it, and its time stands in
    /// it. Messages that programs wrote into the kernel's log are left out: they are not the kernel's words.
    pub fn read(&mut self, now: Time, each: &mut dyn FnMut(Option<Time>, &[u8])) -> Result<u64, Error> {
        let mut lines = 0;
        match &mut self.source {
            Source::File(tailer) => {
                while tailer
                    .read(&mut |_, line| {
                        lines += 1;
                        each(None, line);
                    })
                    .more
                {}
            }
            Source::Device { device, next } => {
                let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let since_boot_us =
                    clock.tv_sec.saturating_mul(1_000_000).saturating_add(clock.tv_nsec / 1000);
                let boot_us = now.as_micros().saturating_sub(since_boot_us);
                let mut record = vec![0; limits::KMSG_RECORD_BYTES_MAX];
                // The ring holds some ten thousand records; a kernel that writes faster than we read must not
                // keep us here.
                const RECORDS_MAX: usize = 200_000;
                for _ in 0..RECORDS_MAX {
                    let len = match rustix::io::read(&*device, &mut record[..]) {
                        Ok(0) | Err(rustix::io::Errno::AGAIN) => break,
                        Ok(len) => len,
                        // Overwritten before it was read: the next read goes on with the oldest kept, and its
                        // number tells how many are missing.
                        Err(rustix::io::Errno::PIPE | rustix::io::Errno::INTR | rustix::io::Errno::INVAL) => {
                            continue;
                        }
                        Err(errno) => {
                            return Err(Error::Read { path: "/dev/kmsg".into(), source: errno.into() });
                        }
                    };
                    let Some(message) = record.get(..len).and_then(Message::parse) else { continue };
                    if let Some(next) = *next {
                        self.lost = self.lost.saturating_add(message.sequence.saturating_sub(next));
                    }
                    *next = Some(message.sequence.saturating_add(1));
                    if message.is_kernels {
                        let at = boot_us.saturating_add(i64::try_from(message.since_boot_us).unwrap_or(0));
                        lines += 1;
                        each(Some(Time::from_micros(at)), message.text);
                    }
                }
            }
        }
        Ok(lines)
    }

    /// Records that were overwritten before they could be read.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// How far a file was read; the device has no positions that outlive a boot.
    pub fn position(&self) -> Option<Position> {
        match &self.source {
            Source::File(tailer) => tailer.positions().pop().map(|(_, position)| position),
            Source::Device { .. } => None,
        }
    }
}

/// One record: `priority,sequence,microseconds,flags;text`, then a dictionary. See Documentation/ABI/testing/dev-kmsg.
struct Message<'a> {
    is_kernels: bool,
    sequence: u64,
    since_boot_us: u64,
    text: &'a [u8],
}

impl Message<'_> {
    fn parse(record: &[u8]) -> Option<Message<'_>> {
        let semicolon = memchr::memchr(b';', record)?;
        let mut head = record[..semicolon].split(|b| *b == b',');
        let priority = procfs::number(head.next()?)?;
        let sequence = procfs::number(head.next()?)?;
        let since_boot_us = procfs::number(head.next()?)?;
        let text = &record[semicolon + 1..];
        let text = &text[..memchr::memchr(b'\n', text).unwrap_or(text.len())];
        // Facility 0 is the kernel; /dev/kmsg gives writers from user space facility 1 and above.
        Some(Message { is_kernels: priority >> 3 == 0, sequence, since_boot_us, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let message =
            Message::parse(b"6,1234,5678901,-;Out of memory: Killed process 1 (a;b)\n SUBSYSTEM=x\n")
                .unwrap();
        assert!(message.is_kernels);
        assert_eq!((message.sequence, message.since_boot_us), (1234, 5_678_901));
        assert_eq!(message.text, b"Out of memory: Killed process 1 (a;b)");
        assert!(!Message::parse(b"12,1,1,-;systemd[1]: hello").unwrap().is_kernels);
        assert!(Message::parse(b"no record").is_none());
    }

    #[test]
    fn the_device_if_it_can_be_read() {
        let mut log = match KernelLog::open(&Root::host(), Path::new("/dev/kmsg"), Start::Beginning) {
            Ok(log) => log,
            Err(error) => {
                println!("skipped: the kernel log cannot be read here: {error}");
                return;
            }
        };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Time::from_micros(i64::try_from(now.as_micros()).unwrap());
        let mut last = Time::ZERO;
        log.read(now, &mut |at, _| last = last.max(at.unwrap())).unwrap();
        assert!(last <= now);
        assert_eq!(log.read(now, &mut |_, _| {}).unwrap_or(0), 0);
    }

    #[test]
    fn a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kern.log");
        std::fs::write(&path, "Nov 22 01:00:00 web1 kernel: [1.0] hello\n").unwrap();
        let mut log = KernelLog::open(&Root::host(), &path, Start::Beginning).unwrap();
        let mut lines = Vec::new();
        log.read(Time::ZERO, &mut |at, line| lines.push((at, line.to_vec()))).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].0, None);
        assert!(log.position().unwrap().last.offset > 0);
        assert!(KernelLog::open(&Root::host(), dir.path(), Start::End).is_err());
    }
}
