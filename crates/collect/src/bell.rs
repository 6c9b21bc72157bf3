//! A bell: wakes one who waits for several things at once (eventfd(2)).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

/// Rung from any thread. A clone is the same bell.
#[derive(Clone, Debug)]
pub struct Bell(Arc<OwnedFd>);

impl Bell {
    /// One that has not been rung.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn new() -> io::Result<Bell> {
        Ok(Bell(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Wakes whoever waits, now or the next time.
    pub fn ring(&self) {
        // It fails only when it was rung 2^64 times and nobody came.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Waits until it is rung, at most this long.
    pub fn wait(&self, at_most: Duration) {
        if is_any_ready(&mut [PollFd::new(self, PollFlags::IN)], at_most) {
            self.hush();
        }
    }

    /// Takes in that it was rung.
    pub(crate) fn hush(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits until one of these is ready, at most this long.
pub(crate) fn is_any_ready(fds: &mut [PollFd<'_>], at_most: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    matches!(poll(fds, Some(&timeout)), Ok(1..))
}
