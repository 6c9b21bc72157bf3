//! `pressure.cpu`, `pressure.memory`, `pressure.io`: the share of time in which some task had to wait for it; `….full`
//! the share in which all had to; `….avg10` as the kernel averages it over ten seconds.

use toban_model::Sample;

use super::{Collector, counter, gauge};
use crate::kept::Kept;
use crate::{Error, Root, procfs};

/// Reads `/proc/pressure/*`; kernels without PSI have none, and these vitals are then absent. With psi=0 the files
/// exist and cannot be read.
pub(super) struct Pressure {
    files: [(Kept, Names); 3],
}

struct Names {
    some: [&'static str; 2],
    full: [&'static str; 2],
}

impl Default for Pressure {
    fn default() -> Pressure {
        let cpu = Names {
            some: ["pressure.cpu", "pressure.cpu.avg10"],
            full: ["pressure.cpu.full", "pressure.cpu.full.avg10"],
        };
        let memory = Names {
            some: ["pressure.memory", "pressure.memory.avg10"],
            full: ["pressure.memory.full", "pressure.memory.full.avg10"],
        };
        let io = Names {
            some: ["pressure.io", "pressure.io.avg10"],
            full: ["pressure.io.full", "pressure.io.full.avg10"],
        };
        let files = [("cpu", cpu), ("memory", memory), ("io", io)];
        Pressure { files: files.map(|(file, names)| (Kept::new(format!("/proc/pressure/{file}")), names)) }
    }
}

impl Collector for Pressure {
    fn id(&self) -> &'static str {
        "pressure"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        for (file, names) in &mut self.files {
            for line in procfs::lines(file.try_read(root).unwrap_or_default()) {
                let mut words = procfs::fields(line);
                let [total_name, average_name] = match words.next() {
                    Some(b"some") => names.some,
                    Some(b"full") => names.full,
                    _ => continue,
                };
                for word in words {
                    if let Some(total_us) = word.strip_prefix(b"total=").and_then(procfs::number) {
                        out.readings.push(counter(total_name, total_us as f64 / 1e4, "%"));
                    }
                    let average =
                        word.strip_prefix(b"avg10=").and_then(|word| std::str::from_utf8(word).ok());
                    if let Some(average) = average.and_then(|word| word.parse().ok()) {
                        out.readings.push(gauge(average_name, average, "%"));
                    }
                }
            }
        }
        Ok(())
    }
}
