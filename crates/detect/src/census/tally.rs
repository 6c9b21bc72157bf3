//! What is summed up for whatever requests have in common.

use super::frequent::Tally;

/// The sum of some requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) requests: u32,
    /// Answered below 400.
    pub(crate) ok: u32,
    /// Answered with 500 and above.
    pub(crate) server_errors: u32,
    pub(crate) held_us: u64,
}

impl Sum {
    /// The sum of one request.
    #[inline]
    pub(crate) fn one(status: u16, held_us: u64) -> Sum {
        Sum {
            requests: 1,
            ok: u32::from((100..400).contains(&status)),
            server_errors: u32::from(status >= 500),
            held_us,
        }
    }

    /// Adds other requests.
    #[inline]
    pub(crate) fn add(&mut self, other: &Sum) {
        self.requests = self.requests.saturating_add(other.requests);
        self.ok = self.ok.saturating_add(other.ok);
        self.server_errors = self.server_errors.saturating_add(other.server_errors);
        self.held_us = self.held_us.saturating_add(other.held_us);
    }
}

impl Tally for Sum {
    fn weight(&self) -> u32 {
        self.requests
    }

    fn merge(&mut self, other: &Sum) {
        self.add(other);
    }
}

/// The requests of an address, and how many came in its busiest minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Visits {
    pub(crate) requests: u32,
    /// Minutes since the epoch of the minute that is counted.
    minute: u32,
    in_minute: u32,
    pub(crate) busiest: u32,
}

impl Visits {
    /// Adds requests of one minute. Minutes are expected one after another; one that comes in pieces counts as the
    /// largest of them.
    #[inline]
    pub(crate) fn add(&mut self, minute: u32, requests: u32) {
        self.requests = self.requests.saturating_add(requests);
        self.in_minute =
            if self.minute == minute { self.in_minute.saturating_add(requests) } else { requests };
        self.minute = minute;
        self.busiest = self.busiest.max(self.in_minute);
    }
}

impl Tally for Visits {
    fn weight(&self) -> u32 {
        self.requests
    }

    fn merge(&mut self, other: &Visits) {
        self.requests = self.requests.saturating_add(other.requests);
        self.busiest = self.busiest.max(other.busiest);
        if self.minute == other.minute {
            self.in_minute = self.in_minute.saturating_add(other.in_minute);
            self.busiest = self.busiest.max(self.in_minute);
        }
    }
}
