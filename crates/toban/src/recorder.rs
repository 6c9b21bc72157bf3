//! The recorder at work in the agent: takes each second's sample from the beat, writes it, and hands it on.
//!
//! It has a thread of its own, because writing may wait for the disk. The beat before it and the agent behind it go on
//! meanwhile: what the agent is not there to take, it goes without. It has its turn on the processor with the beat: of
//! what is sampled in a storm and not written, nothing is left after the reset.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use toban_collect::beat::Beat;
use toban_collect::bell::Bell;
use toban_collect::{Root, priority};
use toban_model::{Reading, Sample, Text};
use toban_record::{Frames, Limits};

/// Samples on their way to the agent.
const HANDED_MAX: usize = 16;
/// How soon a stop is heard.
const WAIT: Duration = Duration::from_millis(200);

/// A running recorder. It ends when this is dropped, with everything on the disk that the disk takes.
pub(crate) struct Recorder {
    samples: Receiver<Sample>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// What the servers said last, to be written with the next sample.
    servers: Mutex<Vec<Reading>>,
    /// What the agent should tell.
    troubles: Mutex<Vec<Text>>,
    over: AtomicBool,
}

impl Shared {
    fn tell(&self, trouble: Text) {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner).push(trouble);
    }
}

impl Recorder {
    /// Shields this process and begins to record in `dir`; with `None` samples are only handed on.
    /// The bell is rung for each sample.
    pub(crate) fn start(
        root: Root,
        dir: Option<PathBuf>,
        limits: Limits,
        bell: Bell,
    ) -> anyhow::Result<Recorder> {
        let beat = Beat::start(root).context("could not begin to sample")?;
        let shared: Arc<Shared> = Arc::default();
        beat.notes().iter().for_each(|note| shared.tell(note.clone()));
        let frames = dir.and_then(|dir| match Frames::open(&dir, limits) {
            Ok(frames) => Some(frames),
            Err(error) => {
                shared.tell(Text::new(
                    format!("no samples are kept: {error}"),
                    format!("サンプルを記録できません: {error}"),
                ));
                None
            }
        });
        let (to_agent, samples) = sync_channel(HANDED_MAX);
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("toban-record".into())
            .spawn(move || run(beat, frames, &of_thread, &to_agent, &bell))
            .context("could not start the recorder")?;
        Ok(Recorder { samples, shared, thread: Some(thread) })
    }

    /// The samples that came since it was last asked, in order.
    pub(crate) fn taken(&self) -> impl Iterator<Item = Sample> {
        self.samples.try_iter()
    }

    /// Has what the servers say now written with the next sample.
    pub(crate) fn put_servers(&self, readings: Vec<Reading>) {
        *self.shared.servers.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }

    /// What went wrong since it was last asked.
    pub(crate) fn troubles(&self) -> Vec<Text> {
        std::mem::take(&mut *self.shared.troubles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there was shown when it happened.
            let _ = thread.join();
        }
    }
}

fn run(
    mut beat: Beat,
    mut frames: Option<Frames>,
    shared: &Shared,
    to_agent: &SyncSender<Sample>,
    bell: &Bell,
) {
    // What is not permitted here was not permitted to the beat either, which has said so.
    let _ = priority::raise_thread();
    if let Some(frames) = &mut frames {
        frames.keeper_begins_with(priority::ordinary_thread);
    }
    let mut unkept = false;
    let mut over = false;
    loop {
        if !over && shared.over.load(Ordering::Relaxed) {
            over = true;
            beat.end();
        }
        // Asked before: what it left is there by then.
        let ended = beat.has_ended();
        let sample = match beat.next(WAIT) {
            Some(sample) => sample,
            None if ended => break,
            None => continue,
        };
        // The beat's own has room for a second of the busiest host; this one is as large as it has to be.
        let mut sample = sample.clone();
        sample.readings.extend(shared.servers.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        if let Some(frames) = &mut frames {
            match frames.append(&sample) {
                Err(error) if !unkept => {
                    unkept = true;
                    shared.tell(Text::new(
                        format!("samples wait for the disk: {error}"),
                        format!("ディスクに書き込めず、サンプルの記録を待っています: {error}"),
                    ));
                }
                Ok(()) if unkept => {
                    unkept = false;
                    let lost = frames.dropped();
                    shared.tell(Text::new(
                        format!("samples are kept again; {lost} were lost"),
                        format!("サンプルの記録を再開しました。失われたサンプルは {lost} 件です"),
                    ));
                }
                _ => {}
            }
        }
        let _ = to_agent.try_send(sample);
        bell.ring();
    }
    if let Some(frames) = &mut frames {
        let _ = frames.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use toban_model::ReadingKind;

    use super::*;

    #[test]
    fn each_second_is_handed_on_and_written_with_what_the_servers_say() {
        let dir = tempfile::tempdir().unwrap();
        let frames = dir.path().join("frames");
        let bell = Bell::new().unwrap();
        let recorder = Recorder::start(Root::host(), Some(frames.clone()), Limits::default(), bell).unwrap();
        let said = Reading {
            name: "apache.workers.busy".into(),
            value: 7.0,
            unit: "".into(),
            kind: ReadingKind::Gauge,
        };
        recorder.put_servers(vec![said.clone()]);
        let mut handed: Vec<Sample> = Vec::new();
        let until = Instant::now() + Duration::from_secs(30);
        while handed.len() < 3 && Instant::now() < until {
            std::thread::sleep(WAIT);
            handed.extend(recorder.taken());
        }
        // A reader that was late finds several.
        handed.truncate(3);
        let handed: [Sample; 3] = handed.try_into().expect("one a second");
        drop(recorder);
        for sample in &handed {
            assert!(sample.readings.contains(&said) && sample.processes.count > 0);
        }
        let (from, to) = (handed[0].at, handed[2].at);
        let kept: Vec<Sample> =
            toban_record::frames::frames(&frames, from, to).unwrap().map(Result::unwrap).collect();
        assert_eq!(kept.iter().map(|s| s.at).collect::<Vec<_>>(), handed.each_ref().map(|s| s.at));
        assert!(kept[2].readings.iter().any(|reading| reading.name == said.name && reading.value == 7.0));
    }
}
