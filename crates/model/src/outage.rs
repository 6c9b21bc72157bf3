//! A time when the host was gone.

use serde::{Deserialize, Serialize};

use crate::{Finding, Time, Vital};

/// The host stopped without being shut down, and was started again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outage {
    /// The last sample before it.
    pub last: Time,
    /// When the kernel started again.
    pub boot: Time,
    /// What was out of its usual in the last minutes before, each with its worst value, the most unusual first.
    pub vitals: Vec<Vital>,
    /// What had been found in the last minutes before.
    pub findings: Vec<Finding>,
}
