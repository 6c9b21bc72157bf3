//! `file_handles.used`: open files of the whole machine against fs.file-max.

use toban_model::Reading;

use super::{Collector, gauge, percent};
use crate::{Error, Root, procfs};

/// Reads `/proc/sys/fs/file-nr`.
#[derive(Default)]
pub(super) struct FileHandles {
    buffer: Vec<u8>,
}

impl Collector for FileHandles {
    fn id(&self) -> &'static str {
        "file_handles"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        let Ok(bytes) = root.read("/proc/sys/fs/file-nr", &mut self.buffer) else { return Ok(()) };
        let mut words = bytes.split(|b| b.is_ascii_whitespace()).filter_map(procfs::number);
        // Allocated, allocated and unused (always 0 since 2.6), maximum.
        let (Some(allocated), Some(_), Some(max)) = (words.next(), words.next(), words.next()) else {
            return Ok(());
        };
        if let Some(used) = percent(allocated as f64, max as f64) {
            out.push(gauge("file_handles.used", used, "%"));
        }
        Ok(())
    }
}
