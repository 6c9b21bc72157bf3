//! When the finite things are looked at: now and then beside the samples, and twice for a single answer.

use std::time::{Duration, Instant};

use toban_collect::Root;
use toban_collect::holdings::Reader;
use toban_detect::Watch;
use toban_model::Time;

/// They are looked at so often.
const EVERY: Duration = Duration::from_secs(5);

/// The looks at one host.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// None before the first look, and where it could not be started.
    reader: Option<Reader>,
    asked: Option<Time>,
}

impl Looks {
    /// Takes what the last look found, if it has ended, and asks for the next one now and then. Waits for nothing.
    pub(crate) fn follow(&mut self, root: &Root, now: Time, watch: &mut Watch) {
        if self.asked.is_none() {
            self.reader = Reader::start(root.clone()).ok();
        }
        let Some(reader) = &mut self.reader else { return };
        if let Some(found) = reader.take(Duration::ZERO) {
            watch.holdings(found);
        }
        if self.asked.is_none_or(|asked| now.since(asked) >= EVERY) {
            self.asked = Some(now);
            reader.ask(now);
        }
    }

    /// Waits for the look that is under way and for one more that begins now: what grows is seen by two. Whether both
    /// came.
    pub(crate) fn settle(&mut self, now: impl Fn() -> Time, until: Instant, watch: &mut Watch) -> bool {
        let Some(reader) = &mut self.reader else { return true };
        let mut came = true;
        for last in [false, true] {
            if last {
                reader.ask(now());
            }
            match reader.take(until.saturating_duration_since(Instant::now())) {
                Some(found) => watch.holdings(found),
                // There may be none under way yet.
                None => came = !last,
            }
        }
        came
    }
}
