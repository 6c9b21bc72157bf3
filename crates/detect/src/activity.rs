//! What single processes do: who has kept a core busy, whose memory grows, who uses the disks; in bounded memory.
//!
//! The rows of each second say who is busy. Of those that stay so a few are *suspects*: the caller looks at them
//! closely and hands the looks in. Nothing is judged here.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use toban_model::{
    Activity, BusyProcess, Crowd, DiskLoad, DiskUser, Host, ProcessId, ProcessLook, Sample, Time,
};

use crate::growth::Growths;

/// A row that is not seen for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// This part of a core is a busy process: on a host where all processors are wanted by many nobody gets a whole one.
/// Whether it wants more is asked by a closer look.
const BUSY_CORES: f64 = 0.03;
/// Busy for so long, and it is looked at closely.
const SUSPECT_AFTER: Duration = Duration::from_secs(10);
/// Suspects of one look.
const SUSPECTS: usize = 4;
/// Looks that are kept of processes, those that turned out to move among them.
const LOOKED_AT_MAX: usize = 32;
/// Between two looks at one process: while little is known, while it moves nothing, and while it moves.
const EVERY_FIRST: Duration = Duration::from_millis(400);
const EVERY_STILL: Duration = Duration::from_secs(5);
const EVERY_MOVING: Duration = Duration::from_secs(30);
const FIRST_LOOKS: u32 = 3;
/// A look of longer ago says nothing of now.
const FRESH: Duration = Duration::from_secs(20);
/// Between two counts of all processes.
const CROWD_EVERY: Duration = Duration::from_secs(10);
/// Sizes of groups of kin are remembered for this long.
const KIN_FOR: Duration = Duration::from_secs(600);
const KIN_KEPT: usize = 1024;
/// Over this the disks' and their users' figures are means.
const DISK_WINDOW: Duration = Duration::from_secs(30);
/// Busier than this, in percent, a disk has no pause.
const DISK_BUSY: f64 = 90.0;
const DISKS_MAX: usize = 8;
const TRACKS_MAX: usize = 256;
const USERS_TOLD: usize = 8;

/// One process as the rows of the seconds show it.
#[derive(Debug)]
struct Track {
    at: Time,
    cpu_us: u64,
    busy_since: Option<Time>,
    /// Cores that it used last, or in its life so far.
    cores: f64,
    /// When, read, written, waiting for a disk.
    storage: VecDeque<(Time, u64, u64, bool)>,
    comm: String,
    command: String,
    group: String,
}

/// The closer looks at one process.
#[derive(Debug)]
struct Looks {
    first: ProcessLook,
    /// Since this one it has moved no byte.
    still: ProcessLook,
    last: ProcessLook,
    count: u32,
    handles_changed: bool,
}

/// One disk.
#[derive(Debug, Default)]
struct Disk {
    /// When, busy in percent, queue, bytes a second read and written.
    seconds: VecDeque<(Time, f64, f64, [f64; 2])>,
    since: Option<Time>,
}

/// The size of a group of kin at one time, by its oldest.
type KinSize = (ProcessId, u32, Time);

#[derive(Debug, Default)]
pub(crate) struct Processes {
    tracks: HashMap<ProcessId, Track>,
    looks: HashMap<ProcessId, Looks>,
    crowd: Crowd,
    kin: VecDeque<KinSize>,
    disks: HashMap<String, Disk>,
    waiting: VecDeque<(Time, f64)>,
    pub(crate) growths: Growths,
    pub(crate) killed_in: Option<(Time, String)>,
}

impl Processes {
    /// Takes the rows of a second, and of its vitals what disks and units do.
    pub(crate) fn sample(&mut self, sample: &Sample, vitals: &dyn Fn(&str) -> Option<f64>, boot: Time) {
        let at = sample.at;
        for row in &sample.processes.busiest {
            let started = row.id.started(boot);
            let life_s = at.since(started).as_secs_f64();
            let known = self.tracks.len();
            let track = match self.tracks.entry(row.id) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(_) if known >= TRACKS_MAX => continue,
                std::collections::hash_map::Entry::Vacant(new) => new.insert(Track {
                    at: Time::ZERO,
                    cpu_us: row.cpu_us,
                    // One that is met for the first time and was as busy for its whole life has been so since its start.
                    busy_since: (row.cpu_us as f64 >= BUSY_CORES * life_s * 1e6).then_some(started),
                    cores: row.cpu_us as f64 / 1e6 / life_s.max(1.0),
                    storage: VecDeque::new(),
                    comm: sample.texts.get(row.comm).to_owned(),
                    command: String::new(),
                    group: String::new(),
                }),
            };
            if track.at != Time::ZERO && at > track.at {
                let cores = row.cpu_us.saturating_sub(track.cpu_us) as f64 / 1e6;
                let cores = cores / at.since(track.at).as_secs_f64();
                track.cores = cores;
                track.busy_since =
                    if cores >= BUSY_CORES { track.busy_since.or(Some(track.at)) } else { None };
            }
            (track.at, track.cpu_us) = (at, row.cpu_us);
            // A program may begin another one under the same number, and its texts come a second late.
            for (kept, span) in [
                (&mut track.comm, row.comm),
                (&mut track.command, row.command),
                (&mut track.group, row.group),
            ] {
                let text = sample.texts.get(span);
                if kept != text {
                    text.clone_into(kept);
                }
            }
            if let (Some(read), Some(written)) = (row.read, row.written) {
                track.storage.push_back((at, read, written, row.state == b'D'));
            }
            while track.storage.front().is_some_and(|(then, ..)| at.since(*then) > DISK_WINDOW) {
                track.storage.pop_front();
            }
        }
        self.tracks.retain(|_, track| at.since(track.at) <= FORGOTTEN);
        self.looks.retain(|id, looks| self.tracks.contains_key(id) || at.since(looks.last.at) <= FORGOTTEN);
        self.take_disks(sample, vitals);
        self.growths.sample(sample, vitals);
    }

    fn take_disks(&mut self, sample: &Sample, vitals: &dyn Fn(&str) -> Option<f64>) {
        let at = sample.at;
        for reading in &sample.readings {
            let Some(device) = reading.name.strip_prefix("disk.busy:") else { continue };
            let Some(busy) = vitals(&reading.name) else { continue };
            if !self.disks.contains_key(device) && self.disks.len() >= DISKS_MAX {
                continue;
            }
            let of = |stem: &str| vitals(&format!("{stem}:{device}")).unwrap_or(0.0);
            let disk = self.disks.entry(device.to_owned()).or_default();
            let bytes = [of("disk.read"), of("disk.written")];
            disk.seconds.push_back((at, busy, of("disk.queue"), bytes));
            while disk.seconds.front().is_some_and(|(then, ..)| at.since(*then) > DISK_WINDOW) {
                disk.seconds.pop_front();
            }
            let mean = mean(disk.seconds.iter().map(|(_, busy, ..)| *busy));
            disk.since = if mean >= DISK_BUSY {
                disk.since.or(disk.seconds.front().map(|(then, ..)| *then))
            } else {
                None
            };
        }
        if let Some(blocked) = vitals("processes.blocked") {
            self.waiting.push_back((at, blocked));
        }
        while self.waiting.front().is_some_and(|(then, _)| at.since(*then) > DISK_WINDOW) {
            self.waiting.pop_front();
        }
    }

    /// The processes that are to be looked at closely now, at most four.
    pub(crate) fn suspects(&self, now: Time) -> Vec<ProcessId> {
        let due = |id: &ProcessId| {
            let Some(looks) = self.looks.get(id) else { return true };
            let every = match looks {
                looks if looks.count < FIRST_LOOKS => EVERY_FIRST,
                looks if looks.still.at < looks.last.at => EVERY_STILL,
                _ => EVERY_MOVING,
            };
            now.since(looks.last.at) >= every
        };
        let busy = self.tracks.iter().filter_map(|(id, track)| {
            let since = track.busy_since?;
            (now.since(since) >= SUSPECT_AFTER && now.since(track.at) < FRESH).then_some((
                since,
                *id,
                track.cores,
            ))
        });
        let mut busy: Vec<(Time, ProcessId, f64)> = busy.filter(|(_, id, _)| due(id)).collect();
        // Those that are still first, then those nobody has looked at, then the others, each by what they use: many
        // honest ones at work for days hide nobody.
        busy.sort_by_key(|(since, id, cores)| {
            let rank = match self.looks.get(id) {
                Some(looks) if looks.still.at < looks.last.at => 0,
                None => 1,
                Some(_) => 2,
            };
            (rank, std::cmp::Reverse((cores * 100.0) as u64), *since, id.pid)
        });
        busy.into_iter().take(SUSPECTS).map(|(_, id, _)| id).collect()
    }

    /// Takes the looks at those that were asked for; one that did not come is gone.
    pub(crate) fn looked(&mut self, asked: &[ProcessId], looks: Vec<ProcessLook>) {
        for id in asked {
            if !looks.iter().any(|look| look.process.id == *id) {
                self.looks.remove(id);
                self.tracks.remove(id);
            }
        }
        for look in looks {
            let id = look.process.id;
            let has_room = self.looks.len() < LOOKED_AT_MAX;
            match self.looks.get_mut(&id) {
                Some(known) => {
                    let moved = look.bytes.is_none() || look.bytes != known.last.bytes;
                    if moved {
                        known.still = look.clone();
                        known.handles_changed = false;
                    } else {
                        known.handles_changed |= look.handles != known.last.handles;
                    }
                    known.count += 1;
                    known.last = look;
                }
                None if has_room => {
                    let (first, still) = (look.clone(), look.clone());
                    let new = Looks { first, still, last: look, count: 1, handles_changed: false };
                    self.looks.insert(id, new);
                }
                None => {}
            }
        }
    }

    /// Whether it is time to count all processes.
    pub(crate) fn wants_crowd(&self, now: Time) -> bool {
        now.since(self.crowd.at) >= CROWD_EVERY
    }

    /// Takes all processes put together.
    pub(crate) fn crowd(&mut self, crowd: Crowd) {
        self.kin.extend(self.crowd.kin.iter().map(|kin| (kin.oldest.id, kin.count, self.crowd.at)));
        while self.kin.len() > KIN_KEPT
            || self.kin.front().is_some_and(|(_, _, then)| crowd.at.since(*then) > KIN_FOR)
        {
            self.kin.pop_front();
        }
        self.crowd = crowd;
    }

    pub(crate) fn close(&mut self, at: Time, host: &Host) -> Activity {
        let serves = |pid: u32| host.services.iter().any(|service| service.pids.contains(&pid));
        let mut busy: Vec<BusyProcess> = self
            .looks
            .iter()
            .filter(|(_, looks)| at.since(looks.last.at) <= EVERY_MOVING + FRESH)
            .filter_map(|(id, looks)| {
                let since = self.tracks.get(id)?.busy_since?;
                Some(looks.closed(since, serves(id.pid)))
            })
            .collect();
        busy.sort_by_key(|busy| (busy.since, busy.last.process.id.pid));
        let mut crowd = self.crowd.clone();
        for kin in &mut crowd.kin {
            kin.serves = serves(kin.oldest.id.pid);
        }
        let kin_before = crowd
            .kin
            .iter()
            .filter_map(|kin| self.kin.iter().find(|(oldest, ..)| *oldest == kin.oldest.id).copied())
            .collect();
        let mut disks: Vec<DiskLoad> =
            self.disks.iter().filter_map(|(name, disk)| disk.closed(name)).collect();
        disks.sort_by(|a, b| b.busy.total_cmp(&a.busy).then_with(|| a.device.cmp(&b.device)));
        let waiting = self.waiting.iter().map(|(_, blocked)| *blocked);
        let waited = waiting.clone().map(|blocked| f64::from(u8::from(blocked >= 1.0)));
        let disk_users = if disks.is_empty() { Vec::new() } else { self.users() };
        Activity {
            busy,
            crowd,
            kin_before,
            growing: self.growths.close(),
            growing_soon: self.growths.soon(),
            disks,
            disk_users,
            waiting: [mean(waited), mean(waiting)],
            killed_in: self
                .killed_in
                .as_ref()
                .filter(|(killed, _)| at.since(*killed) <= KIN_FOR)
                .map(|(_, group)| group.clone()),
        }
    }

    fn users(&self) -> Vec<DiskUser> {
        let mut users: Vec<DiskUser> = self
            .tracks
            .iter()
            .filter_map(|(id, track)| {
                let (first, last) = (track.storage.front()?, track.storage.back()?);
                let seconds = last.0.since(first.0).as_secs_f64();
                let rate = |then: u64, now: u64| now.saturating_sub(then) as f64 / seconds;
                let bytes = [rate(first.1, last.1), rate(first.2, last.2)];
                let waits = mean(track.storage.iter().map(|look| f64::from(u8::from(look.3))));
                (seconds > 0.0 && (bytes[0] + bytes[1] > 0.0 || waits > 0.0)).then(|| DiskUser {
                    id: *id,
                    comm: track.comm.clone(),
                    command: track.command.clone(),
                    group: track.group.clone(),
                    bytes,
                    waits,
                })
            })
            .collect();
        let all = |user: &DiskUser| user.bytes[0] + user.bytes[1];
        users.sort_by(|a, b| all(b).total_cmp(&all(a)).then_with(|| a.id.pid.cmp(&b.id.pid)));
        // Those that wait and move nothing are the ones who suffer: they are told of, too.
        let suffer: Vec<DiskUser> = users
            .iter()
            .skip(USERS_TOLD)
            .filter(|user| user.waits >= 0.5)
            .take(USERS_TOLD)
            .cloned()
            .collect();
        users.truncate(USERS_TOLD);
        users.extend(suffer);
        users
    }
}

impl Looks {
    fn closed(&self, since: Time, serves: bool) -> BusyProcess {
        let last = &self.last;
        // While it stands still all figures are of that time; else of all that was seen.
        let from = if self.still.at < last.at { &self.still } else { &self.first };
        let seconds = last.at.since(from.at).as_secs_f64();
        let cpu = |look: &ProcessLook| (look.user_us + look.system_us) as f64 / 1e6;
        let used = cpu(last) - cpu(from);
        let system = last.system_us.saturating_sub(from.system_us) as f64 / 1e6;
        let queued = match (from.queued_us, last.queued_us) {
            (Some(from), Some(to)) => to.saturating_sub(from) as f64 / 1e6,
            _ => 0.0,
        };
        let a_second = |from: Option<u64>, to: Option<u64>, seconds: f64| {
            Some(to?.saturating_sub(from?) as f64 / seconds).filter(|_| seconds > 0.0)
        };
        let still_s = last.at.since(self.still.at).as_secs_f64();
        let life_s = last.at.since(last.process.started).as_secs_f64();
        BusyProcess {
            since,
            cores: if seconds > 0.0 { used / seconds } else { 0.0 },
            wanted: if seconds > 0.0 { (used + queued) / seconds } else { 0.0 },
            life_cores: cpu(last) / life_s.max(0.01),
            watched_s: last.at.since(self.first.at).as_secs_f64(),
            still_s,
            system_share: if used > 0.0 { (system / used).min(1.0) } else { 0.0 },
            empty_calls: a_second(from.calls, last.calls, used).filter(|_| still_s > 0.0),
            rests: a_second(from.rests, last.rests, seconds),
            faults: a_second(Some(from.faults), Some(last.faults), seconds).unwrap_or(0.0),
            handles_changed: self.handles_changed,
            serves,
            last: last.clone(),
        }
    }
}

impl Disk {
    fn closed(&self, device: &str) -> Option<DiskLoad> {
        let seconds = &self.seconds;
        Some(DiskLoad {
            device: device.to_owned(),
            busy: mean(seconds.iter().map(|second| second.1)),
            queue: mean(seconds.iter().map(|second| second.2)),
            since: self.since?,
            bytes: [mean(seconds.iter().map(|s| s.3[0])), mean(seconds.iter().map(|s| s.3[1]))],
        })
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count > 0.0 { sum / count } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use toban_model::{NamedProcess, ProcessUse, Reading, ReadingKind, Texts};

    use super::*;

    const BOOT: Time = Time::from_secs(1_700_000_000);

    fn second(n: u64) -> Time {
        BOOT + Duration::from_secs(100_000 + n)
    }

    fn id(pid: u32, started_s: u64) -> ProcessId {
        ProcessId { pid, start_ticks: started_s * 100 }
    }

    /// A second with these rows: who, and processor time in milliseconds.
    fn sample(n: u64, rows: &[(ProcessId, u64)]) -> Sample {
        let mut texts = Texts::with_room();
        let comm = texts.push("job");
        let row = |(id, cpu_ms): &(ProcessId, u64)| ProcessUse {
            id: *id,
            parent: 1,
            user: 0,
            state: b'R',
            threads: 1,
            cpu_us: cpu_ms * 1000,
            resident: 1 << 20,
            handles: None,
            read: Some(n * 1000),
            written: Some(0),
            comm,
            command: comm,
            group: comm,
            waits_in: comm,
        };
        let mut sample = Sample { at: second(n), ..Sample::default() };
        sample.processes.busiest = rows.iter().map(row).collect();
        sample.texts = texts;
        sample
    }

    fn look(id: ProcessId, n: u64, calls: u64, bytes: u64) -> ProcessLook {
        let process = NamedProcess {
            id,
            started: BOOT + Duration::from_millis(id.start_ticks * 10),
            comm: "job".into(),
            command: "job".into(),
            parents: Vec::new(),
        };
        ProcessLook {
            at: second(n),
            process,
            threads: 1,
            is_nice: false,
            has_terminal: false,
            user_us: n * 100_000,
            system_us: n * 900_000,
            queued_us: None,
            rests: Some(2),
            faults: 7,
            calls: Some(calls),
            bytes: Some(bytes),
            handles: Some(1),
            peers: Vec::new(),
            listens: false,
        }
    }

    fn nothing(_: &str) -> Option<f64> {
        None
    }

    #[test]
    fn one_that_was_busy_all_its_life_is_a_suspect_at_once_and_a_new_one_after_a_while() {
        let (old, new) = (id(7, 90_000), id(8, 50_000));
        let mut processes = Processes::default();
        // 10,000 s old, 9,900 s of processor time; the other has rested until now.
        let rows = |n: u64| [(old, 9_900_000 + n * 990), (new, 1_000 + n * 990)];
        processes.sample(&sample(0, &rows(0)), &nothing, BOOT);
        assert_eq!(processes.suspects(second(0)), [old]);
        for n in 1..=9 {
            processes.sample(&sample(n, &rows(n)), &nothing, BOOT);
        }
        assert_eq!(processes.suspects(second(9)), [old]);
        processes.sample(&sample(10, &rows(10)), &nothing, BOOT);
        assert_eq!(processes.suspects(second(10)), [old, new]);
        // It rests for a second: it begins anew.
        processes.sample(&sample(11, &[(old, 9_911_000), (new, 10_900)]), &nothing, BOOT);
        assert_eq!(processes.suspects(second(11)), [old]);
    }

    #[test]
    fn what_stands_still_is_measured_from_when_it_did() {
        let who = id(7, 90_000);
        let mut processes = Processes::default();
        processes.sample(&sample(0, &[(who, 9_900_000)]), &nothing, BOOT);
        // It moves, then it does not.
        for (n, bytes) in [(0, 100), (2, 200), (4, 300), (9, 300), (14, 300)] {
            processes.looked(&[who], vec![look(who, n, n * 1000, bytes)]);
        }
        processes.sample(&sample(14, &[(who, 9_914_000)]), &nothing, BOOT);
        let activity = processes.close(second(14), &Host::default());
        let [busy] = &activity.busy[..] else { panic!("{activity:?}") };
        assert_eq!((busy.still_s, busy.watched_s), (10.0, 14.0));
        assert_eq!((busy.empty_calls, busy.rests), (Some(1000.0), Some(0.0)));
        assert!((busy.system_share - 0.9).abs() < 1e-9 && (busy.cores - 1.0).abs() < 1e-9, "{busy:?}");
        assert_eq!(busy.since, BOOT + Duration::from_secs(90_000));
        // Asked for and not there: gone.
        processes.looked(&[who], Vec::new());
        assert!(processes.close(second(15), &Host::default()).busy.is_empty());
        assert!(processes.suspects(second(15)).is_empty());
    }

    #[test]
    fn the_honest_do_not_hide_the_one_that_stands_still() {
        let mut processes = Processes::default();
        let ids: Vec<ProcessId> = (0..20).map(|n| id(100 + n, 50_000 + u64::from(n))).collect();
        let rows: Vec<(ProcessId, u64)> = ids.iter().map(|id| (*id, 50_000_000)).collect();
        let spinner = *ids.last().unwrap();
        let mut found = false;
        for n in 0..60 {
            let rows: Vec<_> = rows.iter().map(|(id, cpu)| (*id, cpu + n * 990)).collect();
            processes.sample(&sample(n, &rows), &nothing, BOOT);
            let asked = processes.suspects(second(n));
            assert!(asked.len() <= SUSPECTS);
            let looks =
                asked.iter().map(|id| look(*id, n, n, if *id == spinner { 1 } else { n + 2 })).collect();
            processes.looked(&asked, looks);
            let busy = processes.close(second(n), &Host::default()).busy;
            assert!(busy.len() <= LOOKED_AT_MAX);
            found |= busy.iter().any(|b| b.last.process.id == spinner && b.still_s > 0.0);
        }
        assert!(found, "it was never looked at twice");
    }

    #[test]
    fn a_disk_is_told_when_it_has_no_pause_and_its_users_by_what_they_move() {
        let mut processes = Processes::default();
        let who = id(7, 90_000);
        let at = |busy: f64| {
            move |name: &str| match name {
                "disk.busy:sda" => Some(busy),
                "disk.queue:sda" => Some(9.0),
                "processes.blocked" => Some(3.0),
                _ => None,
            }
        };
        for n in 0..40 {
            let mut sample = sample(n, &[(who, 1000)]);
            let (name, unit, kind) = ("disk.busy:sda".into(), "%".into(), ReadingKind::Counter);
            sample.readings.push(Reading { name, value: 1.0, unit, kind });
            processes.sample(&sample, &at(if n < 5 { 10.0 } else { 99.0 }), BOOT);
        }
        let activity = processes.close(second(39), &Host::default());
        let disk = &activity.disks[0];
        assert!(disk.busy > 95.0 && disk.queue == 9.0 && disk.since >= second(2), "{disk:?}");
        assert_eq!((activity.waiting, activity.disk_users[0].bytes), ([1.0, 3.0], [1000.0, 0.0]));
    }
}
