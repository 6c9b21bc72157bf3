//! toban on real incidents: the real binary inside the real lab, compared with the lab's ground truth.
//!
//! Needs root and the lab's packages; without them each test says aloud that it is skipped. `LAB_SEED` draws another
//! lab, `LAB_QUIET_SECONDS` shortens the quiet, `TOBAN_BIN` names the binary. One test runs at a time: two floods on
//! one small machine would be a third incident, which nobody asked for.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod agent;
mod bad_edit;
mod connect_flood;
mod filling_log;
mod kernel;
mod logins;
mod look_alikes;
mod memory;
mod outbound;
mod processes;
mod quiet;
mod slow_readers;
mod stage;
mod xmlrpc_flood;
