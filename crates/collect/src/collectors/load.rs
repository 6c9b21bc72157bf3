//! `load.1`, `load.5`, `load.15`: tasks that run or wait for a disk, averaged over so many minutes by the kernel; and
//! `load.threads`, all tasks that there are.

use toban_model::Sample;

use super::{Collector, gauge};
use crate::kept::Kept;
use crate::{Error, Root, procfs};

/// Reads `/proc/loadavg`.
pub(super) struct Load {
    file: Kept,
}

impl Default for Load {
    fn default() -> Load {
        Load { file: Kept::new("/proc/loadavg") }
    }
}

impl Collector for Load {
    fn id(&self) -> &'static str {
        "load"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let mut told = 0;
        let mut words = procfs::fields(self.file.read(root)?);
        for name in ["load.1", "load.5", "load.15"] {
            let word = words.next().and_then(|word| std::str::from_utf8(word).ok());
            if let Some(load) = word.and_then(|word| word.trim_ascii_end().parse().ok()) {
                out.readings.push(gauge(name, load, ""));
                told += 1;
            }
        }
        // Tasks that run, a slash, all tasks.
        let tasks = words.next().and_then(|word| procfs::number(&word[memchr::memchr(b'/', word)? + 1..]));
        if let Some(tasks) = tasks {
            out.readings.push(gauge("load.threads", tasks as f64, ""));
        }
        drop(words);
        if told > 0 { Ok(()) } else { Err(self.file.form(root, "a load average")) }
    }
}
