//! `pressure.cpu`, `pressure.memory`, `pressure.io`: the share of time in which some task had to wait for it.

use toban_model::Reading;

use super::{Collector, counter};
use crate::{Error, Root, procfs};

/// Reads `/proc/pressure/*`; kernels without PSI have none, and these vitals are then absent.
#[derive(Default)]
pub(super) struct Pressure {
    buffer: Vec<u8>,
}

impl Collector for Pressure {
    fn id(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, root: &Root, out: &mut Vec<Reading>) -> Result<(), Error> {
        for (file, name) in [
            ("/proc/pressure/cpu", "pressure.cpu"),
            ("/proc/pressure/memory", "pressure.memory"),
            ("/proc/pressure/io", "pressure.io"),
        ] {
            // With psi=0 the files exist and cannot be read (EOPNOTSUPP).
            let Ok(bytes) = root.read(file, &mut self.buffer) else { continue };
            let total_us = procfs::lines(bytes).find(|line| line.starts_with(b"some ")).and_then(|line| {
                procfs::fields(line).find_map(|word| procfs::number(word.strip_prefix(b"total=")?))
            });
            if let Some(total_us) = total_us {
                out.push(counter(name, total_us as f64 / 1e4, "%"));
            }
        }
        Ok(())
    }
}
