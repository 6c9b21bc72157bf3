//! Whether the host was gone: its recording ends, nothing stopped it in order, and the kernel was started anew.

use std::collections::BTreeMap;
use std::time::Duration;

use toban_collect::{Root, shutdown};
use toban_detect::Watch;
use toban_model::{Host, Outage, Time, Vital, VitalState};
use toban_record::Record;

use crate::why;

/// Where the record keeps when the agent was last stopped in order.
const STOPPED: &str = "stopped";
/// So long after the start it is told: who comes in the morning must still read it.
const TOLD_FOR: Duration = Duration::from_secs(24 * 3600);
/// What is told of the time before.
const LAST_MINUTES: Duration = Duration::from_secs(120);
/// The last sample may be younger than the word that the agent was stopped.
const SLACK: Duration = Duration::from_secs(5);

/// Keeps that the agent is stopped in order.
pub(crate) fn stopped(record: &Record, at: Time) -> Result<(), toban_record::Error> {
    record.put_state(STOPPED, at.as_micros().to_string().as_bytes())
}

/// The last outage of this host, if it is to be told of.
pub(crate) fn look(record: &Record, host: &Host, now: Time) -> Option<Outage> {
    let boot = host.boot;
    if boot == Time::ZERO || now.since(boot) > TOLD_FOR {
        return None;
    }
    let last = record.moment(boot - Duration::from_micros(1)).ok()?.0?.at;
    let stopped = record.state(STOPPED).ok().flatten();
    let stopped = stopped.and_then(|text| String::from_utf8(text).ok()?.parse().ok()).map(Time::from_micros);
    if stopped.is_some_and(|stopped| stopped + SLACK >= last && stopped <= boot)
        || shutdown::was_shut_down(&Root::host(), last - SLACK, boot + LAST_MINUTES)
    {
        return None;
    }
    let findings = record.look_before(last).ok().flatten().map(|look| look.findings).unwrap_or_default();
    Some(Outage { last, boot, vitals: unusual(record, host, last), findings })
}

/// What was out of its usual in the last minutes, with its worst value.
fn unusual(record: &Record, host: &Host, last: Time) -> Vec<Vital> {
    let mut watch = Watch::new(host.clone(), Vec::new());
    why::remember(&mut watch, record, last - LAST_MINUTES);
    let Ok(samples) = record.frames(last - LAST_MINUTES, last) else { return Vec::new() };
    let mut worst: BTreeMap<String, Vital> = BTreeMap::new();
    for sample in samples.readings_only().flatten() {
        watch.sample(&sample, false);
        let vitals = watch.close(sample.at, false).vitals.into_iter();
        let unusual = |vital: &Vital| matches!(vital.state, VitalState::High | VitalState::Low);
        for vital in vitals.filter(|vital| vital.usual.is_some() && unusual(vital)) {
            if worst.get(&vital.name).is_none_or(|known| vital.strangeness() > known.strangeness()) {
                worst.insert(vital.name.clone(), vital);
            }
        }
    }
    let mut all: Vec<Vital> = worst.into_values().collect();
    all.sort_by(|a, b| b.strangeness().total_cmp(&a.strangeness()));
    all
}

#[cfg(test)]
mod tests {
    use toban_model::{Reading, ReadingKind, Sample};
    use toban_record::{Frames, Limits};

    use super::*;

    #[test]
    fn a_hang_is_told_and_a_shutdown_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record::open(dir.path()).unwrap();
        let begun = Time::from_secs(1_700_000_000);
        let mut frames = Frames::open(&record.frames_dir().unwrap(), Limits::default()).unwrap();
        // A quiet hour, and then memory fills within two minutes.
        for t in 0..3600 {
            let used = if t < 3500 { 40.0 + f64::from(t % 7) } else { f64::from(t - 3500) * 0.5 + 47.0 };
            let name = "memory.used".into();
            let readings = vec![Reading { name, value: used, unit: "%".into(), kind: ReadingKind::Gauge }];
            let at = begun + Duration::from_secs(t as u64);
            frames.append(&Sample { at, readings, ..Sample::default() }).unwrap();
        }
        frames.flush().unwrap();
        let last = begun + Duration::from_secs(3599);
        let (boot, now) = (last + Duration::from_secs(600), last + Duration::from_secs(700));
        let host = |boot| Host { boot, cores: 1, ..Host::default() };
        let outage = look(&record, &host(boot), now).unwrap();
        assert_eq!((outage.last, outage.boot), (last, boot));
        assert_eq!(outage.vitals[0].name, "memory.used");
        assert!(outage.vitals[0].value > 90.0, "{:?}", outage.vitals[0]);
        assert_eq!(look(&record, &host(boot), boot + TOLD_FOR * 2), None, "long ago");
        assert_eq!(look(&record, &host(begun - SLACK), now), None, "it was recorded since it was started");
        stopped(&record, last).unwrap();
        assert_eq!(look(&record, &host(boot), now), None, "the agent was stopped in order");
    }
}
