//! The recording, moment by moment. The noun is the [`Tape`]: it goes to a time or to a neighbouring sample, and says
//! what was known then.

use std::sync::Arc;
use std::time::Duration;

use toban_detect::Watch;
use toban_model::{Host, Sample, Time};
use toban_record::{Cursor, Error, Losses, Record};
use toban_views::top::Moment;

use crate::why::remember;

/// The smallest step in time.
const TICK: Duration = Duration::from_micros(1);
/// No sample is later.
const END: Time = Time::from_micros(i64::MAX);
/// So far ahead it is cheaper to read on than to begin anew.
const NEAR: Duration = Duration::from_secs(60);

/// Where to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// To the newest sample at or before a time.
    To(Time),
    /// To the sample after a time.
    After(Time),
    /// To the sample before a time.
    Before(Time),
}

/// What was found there.
#[derive(Debug)]
pub(crate) enum Found {
    /// A moment.
    Seen(Box<Seen>),
    /// Nothing is recorded at or before this time, or by the second no longer.
    NothingBefore(Time),
    /// There is no recording.
    NoRecord,
    /// Nothing is recorded after it.
    NothingAfter,
}

#[derive(Debug)]
pub(crate) struct Seen {
    /// Where the tape stands.
    pub(crate) at: Time,
    pub(crate) moment: Moment,
    /// A part of the recording around it could not be read.
    pub(crate) damaged: bool,
}

/// What was read last, and what goes on from there.
struct Stand {
    sample: Sample,
    before: Option<Sample>,
    watch: Watch,
    next: Option<Sample>,
    ahead: Option<Cursor>,
    damaged: bool,
}

/// The recording of one host.
pub(crate) struct Tape {
    record: Arc<Record>,
    host: Host,
    stand: Option<Stand>,
}

impl Tape {
    /// Of `host` its number of processors is needed: a load is judged by it.
    pub(crate) fn new(record: Arc<Record>, host: &Host) -> Tape {
        let host = Host { cores: host.cores, ..Host::default() };
        Tape { record, host, stand: None }
    }

    /// Goes somewhere and reads what is there.
    pub(crate) fn go(&mut self, step: Step) -> Result<Found, Error> {
        let at = match step {
            Step::To(at) => at,
            Step::Before(at) => at - TICK,
            Step::After(at) => match self.after(at)? {
                Some(next) => next,
                None => return Ok(Found::NothingAfter),
            },
        };
        let near = self.stand.as_ref().is_some_and(|s| at >= s.sample.at && at.since(s.sample.at) <= NEAR);
        if near {
            self.read_on(at)?;
        } else {
            self.read_anew(at)?;
        }
        let Some(stand) = &mut self.stand else { return Ok(Found::NothingBefore(at)) };
        let at = if matches!(step, Step::To(_)) { at } else { stand.sample.at };
        let moment = Moment {
            sample: stand.sample.clone(),
            before: stand.before.clone(),
            vitals: stand.watch.close(stand.sample.at, false).vitals,
        };
        Ok(Found::Seen(Box::new(Seen { at, moment, damaged: stand.damaged })))
    }

    /// When the sample after a time was begun.
    fn after(&mut self, at: Time) -> Result<Option<Time>, Error> {
        if self.stand.as_ref().is_none_or(|stand| stand.sample.at != at) {
            self.read_anew(at)?;
        }
        match &mut self.stand {
            Some(stand) => Ok(stand.next(&self.record)?.map(|next| next.at)),
            None => Ok(self.record.frames(at + TICK, END)?.next().transpose()?.map(|first| first.at)),
        }
    }

    fn read_anew(&mut self, at: Time) -> Result<(), Error> {
        self.stand = None;
        let (sample, losses) = self.record.moment(at)?;
        let Some(sample) = sample else { return Ok(()) };
        let (before, _) = self.record.moment(sample.at - TICK)?;
        let mut watch = Watch::new(self.host.clone(), Vec::new());
        remember(&mut watch, &self.record, sample.at);
        // What is being written at this moment is no damage.
        let damaged = Losses { torn_bytes: 0, ..losses } != Losses::default();
        self.stand = Some(Stand { sample, before, watch, next: None, ahead: None, damaged });
        Ok(())
    }

    fn read_on(&mut self, to: Time) -> Result<(), Error> {
        let Some(stand) = &mut self.stand else { return Ok(()) };
        while stand.next(&self.record)?.is_some_and(|next| next.at <= to) {
            let Some(next) = stand.next.take() else { break };
            stand.watch.sample(&next, false);
            stand.before = Some(std::mem::replace(&mut stand.sample, next));
        }
        Ok(())
    }
}

impl Stand {
    /// The sample after this one, if one is recorded.
    fn next(&mut self, record: &Record) -> Result<Option<&Sample>, Error> {
        if self.next.is_none() {
            let ahead = match &mut self.ahead {
                Some(ahead) => ahead,
                None => self.ahead.insert(record.frames(self.sample.at + TICK, END)?),
            };
            self.next = ahead.next().transpose()?;
            if self.next.is_none() {
                // More may have been recorded when it is asked for again.
                self.ahead = None;
            }
        }
        Ok(self.next.as_ref())
    }
}
