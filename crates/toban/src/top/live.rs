//! This host as it is now, once a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use toban_collect::{Root, Sampler, discover};
use toban_model::Sample;
use toban_record::Record;
use toban_views::top::Moment;

use crate::clock;
use crate::config::Config;
use crate::flow::Flow;
use crate::why::remember;

/// Servers are restarted; who has which workers is looked at anew this often.
const REDISCOVER_EVERY: Duration = Duration::from_secs(10);

/// A host that is looked at.
pub(crate) struct Live {
    flow: Flow,
    sampler: Sampler,
    before: Option<Sample>,
    discovered: Instant,
}

impl Live {
    /// What is usual is taken from the record, if there is one.
    pub(crate) fn begin(config: &Config, zone: TimeZone, record: Option<&Arc<Record>>) -> Live {
        let now = clock::now();
        let mut flow = Flow::host(Root::host(), config, zone, now, None);
        if let Some(record) = record {
            remember(&mut flow.watch, record, now);
        }
        Live { flow, sampler: Sampler::new(Root::host()), before: None, discovered: Instant::now() }
    }

    /// Looks, so much later than it was meant to.
    pub(crate) fn look(&mut self, late: Duration) -> Moment {
        if self.discovered.elapsed() >= REDISCOVER_EVERY {
            self.flow.watch.host_changed(discover(&Root::host()));
            self.discovered = Instant::now();
        }
        let now = clock::now();
        let mut sample = Sampler::empty();
        self.sampler.sample(now, &mut sample);
        sample.readings.extend(self.flow.look_at_servers(now));
        self.flow.watch.sample(&sample, false);
        sample.late_us = u32::try_from(late.as_micros()).unwrap_or(u32::MAX);
        let vitals = self.flow.close(now, true).vitals;
        let before = self.before.replace(sample.clone());
        Moment { sample, before, vitals }
    }
}
