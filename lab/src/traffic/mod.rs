//! Traffic: normal clients, the administrator and the attackers, each a process in a network namespace of its own.
//!
//! One thread for each connection that is open: they sleep nearly always, so they cost no CPU worth counting, and
//! every wait has an end.

pub(crate) mod admin;
pub(crate) mod attackers;
pub(crate) mod clients;
mod http;
mod mail;
mod ssh;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use crate::stats::Outcome;

/// Hours of traffic; a lab ends long before, and a file that grows without end does not.
const OUTCOMES_MAX: u32 = 500_000;

/// Threads here read into small buffers and call nothing deep.
const STACK_BYTES: usize = 256 * 1024;

/// The file of outcomes, written by all threads.
struct Record(Mutex<(File, u32)>);

impl Record {
    fn create(path: &Path) -> anyhow::Result<Self> {
        Ok(Self(Mutex::new((File::create(path)?, 0))))
    }

    fn push(&self, outcome: &Outcome) {
        let Ok(mut file) = self.0.lock() else { return };
        let (file, count) = &mut *file;
        if *count < OUTCOMES_MAX {
            *count += 1;
            // A full disk loses outcomes; the traffic goes on.
            let _ = file.write_all(outcome.line().as_bytes());
        }
    }
}
