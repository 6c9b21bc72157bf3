//! `file_handles.used`: open files of the whole machine against fs.file-max.

use toban_model::Sample;

use super::{Collector, gauge, percent};
use crate::kept::Kept;
use crate::{Error, Root, procfs};

/// Reads `/proc/sys/fs/file-nr`.
pub(super) struct FileHandles {
    file: Kept,
}

impl Default for FileHandles {
    fn default() -> FileHandles {
        FileHandles { file: Kept::new("/proc/sys/fs/file-nr") }
    }
}

impl Collector for FileHandles {
    fn id(&self) -> &'static str {
        "file_handles"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let bytes = self.file.try_read(root).unwrap_or_default();
        let mut words = bytes.split(|b| b.is_ascii_whitespace()).filter_map(procfs::number);
        // Allocated, allocated and unused (always 0 since 2.6), maximum.
        if let (Some(allocated), Some(_), Some(max)) = (words.next(), words.next(), words.next()) {
            out.readings.push(gauge("file_handles.count", allocated as f64, ""));
            if let Some(used) = percent(allocated as f64, max as f64) {
                out.readings.push(gauge("file_handles.used", used, "%"));
            }
        }
        Ok(())
    }
}
