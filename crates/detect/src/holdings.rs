//! What several looks at the finite things say: what is full since when, what fills how fast, and which files grew.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use toban_model::event::KernelWord;
use toban_model::{Filesystem, Holdings, Link, ResourceUse, Time, Vital};

use crate::{Baseline, FULL};

/// Looks of one file system that are kept: twenty minutes of one every five seconds.
const LOOKS_MAX: usize = 240;
const LOOKS_FOR: Duration = Duration::from_secs(1200);
/// File systems, processes, destinations… that are followed.
const FOLLOWED_MAX: usize = 256;
/// Files whose growth is known.
const FILES_MAX: usize = 512;
/// What was full and is not so for less than this is so still: a server at its limit frees and takes.
const FLICKERS: Duration = Duration::from_secs(10);
/// Growth is told over so long.
const GROWS_OVER: Duration = Duration::from_secs(60);
/// A pause in growing is as long as this with less than a quarter of it.
const GROWS_STEP: Duration = Duration::from_secs(10);
/// A look that old tells of the past.
const STALE: Duration = Duration::from_secs(120);
/// The kernel says once in a while that its table is full.
const SAID_FOR: Duration = Duration::from_secs(60);
/// The last of many come and go between two looks.
const LAST_ONES: f64 = 0.99;
/// A link at its speed carries frames and gaps beside the bytes that are counted.
const LINK_FULL: f64 = 0.9;
/// Fewer losses are a burst.
const LOSES: f64 = 0.001;
/// What is usually as full as this, in percent, has always been full.
const ALWAYS_FULL: f64 = 99.5;

/// What is known from several looks.
#[derive(Debug, Default)]
pub(crate) struct HoldingsWatch {
    last: Holdings,
    spaces: HashMap<String, VecDeque<(Time, u64)>>,
    files: HashMap<(u64, u64), (Time, u64)>,
    handles: HashMap<u32, (Time, u64)>,
    full: HashMap<String, (Time, Time)>,
    conntrack_said: Option<Time>,
}

impl HoldingsWatch {
    /// Takes a look.
    pub(crate) fn look(&mut self, mut found: Holdings) {
        let at = found.at;
        for filesystem in &mut found.filesystems {
            self.follow_space(at, filesystem);
        }
        for holder in &mut found.handle_holders {
            let name = format!("handles:{}", holder.owner.process.pid);
            let full = holder.used + 1 >= holder.limit;
            holder.full_since = self.since(at, &name, full);
            let first = first_of(&mut self.handles, FOLLOWED_MAX, holder.owner.process.pid, at, holder.used);
            holder.grown = holder.used.saturating_sub(first);
        }
        if let Some(tracked) = &mut found.tracked {
            let before = self.last.tracked.as_ref().filter(|_| self.last.at < at);
            if let Some(before) = before {
                let seconds = at.since(self.last.at).as_secs_f64();
                tracked.drops_per_s = tracked.drops.saturating_sub(before.drops) as f64 / seconds;
            }
            let full = tracked.used as f64 >= tracked.limit as f64 * LAST_ONES
                || tracked.used as f64 >= tracked.limit as f64 * FULL && tracked.drops_per_s > 0.0;
            tracked.full_since = self.since(at, "conntrack", full && tracked.limit > 0);
        }
        if let Some(ports) = &mut found.ports {
            for to in &mut ports.destinations {
                let full = f64::from(to.used) >= f64::from(ports.limit) * LAST_ONES;
                to.full_since = self.since(at, &format!("ports:{}:{}", to.from, to.to), full);
            }
        }
        for database in &mut found.databases {
            let full = database.limit.is_some_and(|limit| database.used >= limit);
            let name = format!("connections:{}", database.owner.process.pid);
            database.full_since = self.since(at, &name, full);
        }
        for link in &mut found.links {
            self.follow_link(at, link);
        }
        self.full.retain(|_, (_, last)| at.since(*last) <= FLICKERS);
        self.handles.retain(|_, (last, _)| at.since(*last) < LOOKS_FOR);
        self.files.retain(|_, (last, _)| at.since(*last) < LOOKS_FOR);
        self.spaces.retain(|_, looks| looks.back().is_some_and(|(last, _)| at.since(*last) < LOOKS_FOR));
        self.last = found;
    }

    /// Takes one word of the kernel.
    pub(crate) fn kernel(&mut self, at: Time, word: &KernelWord) {
        if *word == KernelWord::ConntrackFull {
            self.conntrack_said = self.conntrack_said.max(Some(at));
        }
    }

    /// Since when something has been full, if it is or was a moment ago.
    fn since(&mut self, at: Time, name: &str, full: bool) -> Option<Time> {
        if full && (self.full.len() < FOLLOWED_MAX || self.full.contains_key(name)) {
            self.full.entry(name.to_owned()).or_insert((at, at)).1 = at;
        }
        self.full.get(name).filter(|(_, last)| at.since(*last) <= FLICKERS).map(|(since, _)| *since)
    }

    fn follow_space(&mut self, at: Time, filesystem: &mut Filesystem) {
        let Filesystem { mount, size_bytes, free_bytes, inodes, inodes_free, .. } = &*filesystem;
        let full = is_full(*free_bytes, *size_bytes);
        let of_inodes = *inodes > 0 && *inodes_free <= (inodes / 10_000).min(64);
        let (mount, used) = (mount.clone(), filesystem.used_bytes);
        filesystem.full_since = self.since(at, &format!("disk:{mount}"), full);
        filesystem.inodes_full_since = self.since(at, &format!("inodes:{mount}"), of_inodes);
        if self.spaces.len() < FOLLOWED_MAX || self.spaces.contains_key(&mount) {
            let looks = self.spaces.entry(mount).or_default();
            looks.push_back((at, used));
            while looks.len() > LOOKS_MAX || looks.front().is_some_and(|(t, _)| at.since(*t) > LOOKS_FOR) {
                looks.pop_front();
            }
            (filesystem.growth_bytes_s, filesystem.growing_s) = growth(looks);
            filesystem.grown_bytes =
                looks.iter().map(|(_, used)| *used).min().map_or(0, |least| used - least);
        }
        for file in &mut filesystem.files {
            let first = first_of(&mut self.files, FILES_MAX, file.id, at, file.bytes);
            file.grown_bytes = file.bytes.saturating_sub(first);
        }
    }

    fn follow_link(&mut self, at: Time, link: &mut Link) {
        let before = self.last.links.iter().find(|known| known.name == link.name);
        let Some(before) = before.filter(|_| self.last.at < at).cloned() else { return };
        let seconds = at.since(self.last.at).as_secs_f64();
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        link.received_bytes_s = rate(link.received_bytes, before.received_bytes);
        link.sent_bytes_s = rate(link.sent_bytes, before.sent_bytes);
        let lost = rate(link.overruns, before.overruns);
        let packets = rate(link.received_packets, before.received_packets);
        link.lost_share = if lost > 0.0 { lost / (lost + packets) } else { 0.0 };
        let most = link.received_bytes_s.max(link.sent_bytes_s);
        let full = link.speed_bytes_s.is_some_and(|speed| most >= LINK_FULL * speed);
        link.full_since = self.since(at, &format!("link:{}", link.name), full);
        link.losing_since = self.since(at, &format!("loss:{}", link.name), link.lost_share >= LOSES);
    }

    /// What is known at a moment. Where nobody looked, what was recorded of the file systems is all there is.
    pub(crate) fn close(&self, at: Time, vitals: &[Vital]) -> Holdings {
        if self.last.at != Time::ZERO && at.since(self.last.at) < STALE {
            let mut holdings = self.last.clone();
            let said = self.conntrack_said.filter(|said| *said <= at && at.since(*said) < SAID_FOR);
            if let (Some(tracked), Some(said)) = (&mut holdings.tracked, said) {
                tracked.full_since = Some(tracked.full_since.map_or(said, |since| since.min(said)));
            }
            return holdings;
        }
        Holdings { at: Time::ZERO, filesystems: recorded(at, vitals), ..Holdings::default() }
    }
}

/// What was first seen of a thing that is followed.
fn first_of<K: Eq + std::hash::Hash>(
    known: &mut HashMap<K, (Time, u64)>,
    most: usize,
    key: K,
    at: Time,
    now: u64,
) -> u64 {
    if known.len() >= most && !known.contains_key(&key) {
        return now;
    }
    let entry = known.entry(key).or_insert((at, now));
    // What became smaller began anew: a log was cut.
    *entry = (at, entry.1.min(now));
    entry.1
}

fn is_full(free: u64, size: u64) -> bool {
    size > 0 && free <= (size / 1000).min(1 << 20)
}

/// How fast it grows, in bytes a second over the last minute, and for how many seconds without a pause.
fn growth(looks: &VecDeque<(Time, u64)>) -> (f64, f64) {
    let Some((now, used)) = looks.back().copied() else { return (0.0, 0.0) };
    let rate_since = |(at, before): (Time, u64), (now, used): (Time, u64)| {
        let seconds = now.since(at).as_secs_f64();
        if seconds > 0.0 { (used as f64 - before as f64) / seconds } else { 0.0 }
    };
    let Some(first) = looks.iter().find(|(at, _)| now.since(*at) <= GROWS_OVER) else { return (0.0, 0.0) };
    let rate = rate_since(*first, (now, used));
    if rate <= 0.0 {
        return (0.0, 0.0);
    }
    let mut from = (now, used);
    let mut later = from;
    for look in looks.iter().rev() {
        if later.0.since(look.0) < GROWS_STEP && look.0 != looks[0].0 {
            continue;
        }
        if look.0 != later.0 && rate_since(*look, later) < rate / 4.0 {
            break;
        }
        (from, later) = (*look, *look);
    }
    (rate, now.since(from.0).as_secs_f64())
}

/// File systems as samples tell of them: what is full, not by whom.
fn recorded(at: Time, vitals: &[Vital]) -> Vec<Filesystem> {
    let value = |name: String| vitals.iter().find(|vital| vital.name == name).map(|vital| vital.value);
    let mounts =
        vitals.iter().filter_map(|vital| Some((vital.name.strip_prefix("disk.used:")?, vital.value)));
    mounts
        .filter_map(|(mount, used)| {
            let free = value(format!("disk.free:{mount}"))?;
            let size = if used < 100.0 { free / (1.0 - used / 100.0) } else { 0.0 };
            let full = if used < 100.0 { is_full(free as u64, size as u64) } else { free < 1.0 };
            let of_inodes = value(format!("disk.inodes:{mount}")).is_some_and(|used| used >= 99.99);
            Some(Filesystem {
                mount: mount.to_owned(),
                size_bytes: size as u64,
                used_bytes: (size - free).max(0.0) as u64,
                free_bytes: free as u64,
                full_since: full.then_some(at),
                inodes_full_since: of_inodes.then_some(at),
                ..Filesystem::default()
            })
        })
        .collect()
}

/// The finite things as resources. What has always been full here is not exhausted by anything.
pub(crate) fn resources(holdings: &Holdings, at: Time, baseline: &Baseline) -> Vec<ResourceUse> {
    let usual = |vital: &str, whole: f64| {
        baseline.usual(at, vital).map(|usual| [usual.low / 100.0 * whole, usual.high / 100.0 * whole])
    };
    let always = |vital: &str| baseline.least(at, vital).is_some_and(|least| least >= ALWAYS_FULL);
    let resource = |name: String, used: f64, limit: f64, since: Option<Time>| ResourceUse {
        name,
        used,
        limit: Some(limit),
        usual: None,
        exhausted_since: since,
        limit_from: None,
    };
    let mut all = Vec::new();
    for filesystem in &holdings.filesystems {
        let mount = &filesystem.mount;
        let (bytes, inodes) = (format!("disk.used:{mount}"), format!("disk.inodes:{mount}"));
        // A kernel that does not fit /boot any more is no outage.
        let exhausts = |vital: &str| !always(vital) && !is_boot(mount);
        let size = filesystem.size_bytes as f64;
        let since = filesystem.full_since.filter(|_| exhausts(&bytes));
        let used = filesystem.used_bytes as f64;
        let usual_bytes = usual(&bytes, size);
        all.push(ResourceUse { usual: usual_bytes, ..resource(format!("disk:{mount}"), used, size, since) });
        if filesystem.inodes > 0 || filesystem.inodes_full_since.is_some() {
            let size = filesystem.inodes as f64;
            let used = size - filesystem.inodes_free as f64;
            let since = filesystem.inodes_full_since.filter(|_| exhausts(&inodes));
            let usual = usual(&inodes, size);
            all.push(ResourceUse { usual, ..resource(format!("inodes:{mount}"), used, size, since) });
        }
    }
    if let Some(handles) = holdings.handles {
        let (used, limit) = (handles.used as f64, handles.limit as f64);
        let since = (used >= limit * LAST_ONES).then_some(holdings.at);
        let usual = usual("file_handles.used", limit);
        all.push(ResourceUse {
            usual,
            limit_from: Some("fs.file-max".into()),
            ..resource("file-handles".into(), used, limit, since)
        });
    }
    for holder in &holdings.handle_holders {
        let name = format!("file-handles:{}", holder.owner.comm);
        let from = Some("RLIMIT_NOFILE".to_owned());
        let (used, limit) = (holder.used as f64, holder.limit as f64);
        if !all.iter().any(|known| known.name == name) {
            all.push(ResourceUse { limit_from: from, ..resource(name, used, limit, holder.full_since) });
        }
    }
    if let Some(tracked) = &holdings.tracked {
        let (used, limit) = (tracked.used as f64, tracked.limit as f64);
        let usual = usual("conntrack.used", limit);
        let from = Some("net.netfilter.nf_conntrack_max".to_owned());
        all.push(ResourceUse {
            usual,
            limit_from: from,
            ..resource("conntrack".into(), used, limit, tracked.full_since)
        });
    }
    if let Some(ports) = &holdings.ports {
        for to in &ports.destinations {
            let from = Some("net.ipv4.ip_local_port_range".to_owned());
            let (used, limit) = (f64::from(to.used), f64::from(ports.limit));
            all.push(ResourceUse {
                limit_from: from,
                ..resource(format!("ports:{}", to.to), used, limit, to.full_since)
            });
        }
    }
    for database in &holdings.databases {
        if let Some(limit) = database.limit {
            let from = Some(format!("max_connections in {}", database.limit_from));
            let name = format!("{}.connections", database.name);
            all.push(ResourceUse {
                limit_from: from,
                ..resource(name, database.used as f64, limit as f64, database.full_since)
            });
        }
    }
    for link in &holdings.links {
        if let Some(speed) = link.speed_bytes_s {
            // A busy link is not used up: what it cannot carry waits.
            let used = link.received_bytes_s.max(link.sent_bytes_s);
            all.push(resource(format!("network:{}", link.name), used, speed, None));
        }
    }
    all
}

fn is_boot(mount: &str) -> bool {
    mount == "/boot" || mount.starts_with("/boot/") || mount == "/efi"
}

#[cfg(test)]
mod tests {
    use toban_model::{FileUse, HandleHolder, Owner, ProcessId, Tracked, VitalState};

    use super::*;

    const GB: u64 = 1 << 30;

    fn at(seconds: u64) -> Time {
        Time::from_secs(1_700_000_000) + Duration::from_secs(seconds)
    }

    fn disk(free: u64, log: u64) -> Filesystem {
        let file = FileUse {
            path: "/srv/app.log".into(),
            id: (1, 2),
            bytes: log,
            deleted: false,
            appended: true,
            born: None,
            modified: Time::ZERO,
            writer: None,
            fd: None,
            grown_bytes: 0,
        };
        Filesystem {
            mount: "/srv".into(),
            size_bytes: 100 * GB,
            used_bytes: 100 * GB - free,
            free_bytes: free,
            files: vec![file],
            ..Filesystem::default()
        }
    }

    fn look(watch: &mut HoldingsWatch, seconds: u64, filesystem: Filesystem) -> Filesystem {
        watch.look(Holdings { at: at(seconds), filesystems: vec![filesystem], ..Holdings::default() });
        watch.close(at(seconds), &[]).filesystems[0].clone()
    }

    #[test]
    fn a_disk_that_fills_is_told_with_its_speed_and_the_file_that_grew() {
        let mut watch = HoldingsWatch::default();
        let mut last = Filesystem::default();
        for second in (0..=120).step_by(5) {
            last = look(&mut watch, second, disk(10 * GB - second * (GB / 20), GB + second * (GB / 20)));
        }
        let expected = GB as f64 / 20.0;
        assert!((last.growth_bytes_s / expected - 1.0).abs() < 0.1, "{last:?}");
        assert!(last.growing_s >= 100.0, "{last:?}");
        let grown = 120 * (GB / 20);
        assert_eq!((last.files[0].grown_bytes, last.grown_bytes), (grown, grown));
        assert_eq!(last.full_since, None);
        let full = look(&mut watch, 125, disk(0, 10 * GB));
        assert_eq!(full.full_since, Some(at(125)));
        // It frees a little and takes it again: that is one time.
        look(&mut watch, 130, disk(GB, 9 * GB));
        assert_eq!(look(&mut watch, 135, disk(0, 10 * GB)).full_since, Some(at(125)));
        look(&mut watch, 150, disk(50 * GB, GB));
        assert_eq!(look(&mut watch, 155, disk(50 * GB, GB)).full_since, None);
    }

    #[test]
    fn a_burst_after_quiet_has_not_lasted() {
        let mut watch = HoldingsWatch::default();
        for second in (0..=300).step_by(5) {
            look(&mut watch, second, disk(20 * GB, GB));
        }
        look(&mut watch, 305, disk(19 * GB, GB));
        let last = look(&mut watch, 310, disk(18 * GB, GB));
        assert!(last.growth_bytes_s > 0.0 && last.growing_s < 30.0, "{last:?}");
    }

    #[test]
    fn the_kernels_word_is_enough_for_a_table_that_flickers() {
        let mut watch = HoldingsWatch::default();
        let tracked = |used, drops| Some(Tracked { used, limit: 1000, drops, ..Tracked::default() });
        let full = |watch: &HoldingsWatch, second| watch.close(at(second), &[]).tracked.unwrap().full_since;
        watch.look(Holdings { at: at(0), tracked: tracked(960, 5), ..Holdings::default() });
        assert_eq!(full(&watch, 0), None, "what was dropped since boot is no news");
        watch.look(Holdings { at: at(5), tracked: tracked(970, 25), ..Holdings::default() });
        assert_eq!(full(&watch, 5), Some(at(5)), "nearly full, and dropping");
        let mut watch = HoldingsWatch::default();
        watch.look(Holdings { at: at(0), tracked: tracked(900, 0), ..Holdings::default() });
        watch.kernel(at(1), &KernelWord::ConntrackFull);
        assert_eq!(full(&watch, 2), Some(at(1)));
        assert_eq!(full(&watch, 100), None);
    }

    #[test]
    fn handles_that_grow_are_known_and_memory_is_bounded() {
        let mut watch = HoldingsWatch::default();
        let holder = |pid, used| HandleHolder {
            owner: Owner { process: ProcessId { pid, start_ticks: 1 }, comm: "api".into(), unit: None },
            used,
            limit: 1024,
            mostly: None,
            full_since: None,
            grown: 0,
        };
        for (second, used) in [(0, 830), (5, 900), (10, 1023)] {
            let handle_holders = vec![holder(7, used)];
            watch.look(Holdings { at: at(second), handle_holders, ..Holdings::default() });
        }
        let found = watch.close(at(10), &[]);
        assert_eq!((found.handle_holders[0].grown, found.handle_holders[0].full_since), (193, Some(at(10))));
        for pid in 0..5000 {
            watch.look(Holdings {
                at: at(11),
                handle_holders: vec![holder(pid, 1024)],
                ..Holdings::default()
            });
        }
        assert!(watch.handles.len() <= FOLLOWED_MAX && watch.full.len() <= FOLLOWED_MAX);
    }

    #[test]
    fn what_was_recorded_of_a_past_moment_tells_that_a_disk_was_full() {
        let vital = |name: &str, value| Vital {
            name: name.into(),
            value,
            unit: "%".into(),
            usual: None,
            state: VitalState::Unknown,
            since: None,
        };
        let watch = HoldingsWatch::default();
        let vitals = [
            vital("disk.used:/srv", 100.0),
            vital("disk.free:/srv", 0.0),
            vital("disk.used:/", 97.0),
            vital("disk.free:/", 3e9),
        ];
        let found = watch.close(at(0), &vitals);
        let full: Vec<_> = found
            .filesystems
            .iter()
            .filter(|one| one.full_since.is_some())
            .map(|one| one.mount.as_str())
            .collect();
        assert_eq!(full, ["/srv"]);
    }

    #[test]
    fn what_has_always_been_full_is_not_exhausted() {
        let mut watch = HoldingsWatch::default();
        let holdings = Holdings {
            at: at(86_400),
            filesystems: vec![look(&mut watch, 86_400, disk(0, GB))],
            ..Holdings::default()
        };
        let mut baseline = Baseline::new(2);
        let exhausted = |baseline: &Baseline| resources(&holdings, at(86_400), baseline)[0].exhausted_since;
        assert_eq!(exhausted(&baseline), Some(at(86_400)));
        for minute in 0..1440 {
            baseline.see(at(minute * 60), "disk.used:/srv", 100.0, "%", true);
        }
        assert_eq!(exhausted(&baseline), None);
    }
}
