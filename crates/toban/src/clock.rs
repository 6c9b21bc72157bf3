//! The one place where the time is read; everything below gets it as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use toban_model::Time;

/// Now, by the wall clock.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
