//! Open files: of the machine against `fs.file-max`, and of each process against its own limit.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, readlinkat, statat};
use toban_model::{HandleHolder, Handles, Holdings};

use super::{open_dir, owner};
use crate::{Root, limits, procfs};

/// Limits change by prlimit(2) alone, and then seldom.
const LIMIT_STANDS: Duration = Duration::from_secs(60);
/// From this part of its limit on a process is told of.
const NEAR: f64 = 0.8;
/// While the machine uses so much of its limit, the greatest holders are told of too.
const MACHINE_NEAR: f64 = 0.7;
const TOLD_MAX: usize = 8;
/// Handles of one process that are looked at for what they are.
const KINDS_OF_MAX: usize = 20_000;

/// Below this part of its limit a process **rests**: it is looked at once in so many looks, unless the machine's own
/// number says that somebody opened or closed more than so many since the last look.
const RESTS_BELOW: f64 = 0.5;
const REST_LOOKS: u32 = 4;
const MOVED: u64 = 128;
/// What every process has open anyway; its limit is not asked for.
const FEW: u64 = 8;

/// What one look leaves for the next.
#[derive(Default)]
pub(super) struct Limits {
    /// The limit of every process with more than a few, by its number, with its start.
    limits: HashMap<u32, (u64, u64, Instant)>,
    looks: u32,
    machine: Option<u64>,
    resting: HashSet<u32>,
    /// Since Linux 6.2 the size of `/proc/PID/fd` is the number of files.
    sized: Option<bool>,
}

impl Limits {
    pub(super) fn look(&mut self, root: &Root, pids: &[u32], found: &mut Holdings) {
        let mut buffer = Vec::new();
        found.handles = machine(root, &mut buffer);
        let machine = found.handles.map_or(0.0, |all| all.used as f64 / all.limit.max(1) as f64);
        let pids_are: HashSet<u32> = pids.iter().copied().collect();
        self.limits.retain(|pid, _| pids_are.contains(pid));
        self.resting.retain(|pid| pids_are.contains(pid));
        let used_before = std::mem::replace(&mut self.machine, found.handles.map(|all| all.used));
        let moved = used_before.zip(self.machine).is_none_or(|(before, now)| before.abs_diff(now) > MOVED);
        if moved || machine >= MACHINE_NEAR {
            self.resting.clear();
        }
        let sized = *self.sized.get_or_insert_with(|| {
            root.is_live() && std::fs::metadata("/proc/self/fd").is_ok_and(|fd| fd.len() > 0)
        });
        self.looks = self.looks.wrapping_add(1);
        let mut near: Vec<(f64, u32, u64, u64)> = Vec::new();
        for pid in pids {
            let turn = pid.wrapping_add(self.looks).is_multiple_of(REST_LOOKS);
            if !turn && self.resting.contains(pid) {
                continue;
            }
            let Some(used) = count(root, *pid, sized) else { continue };
            if used <= FEW {
                self.resting.insert(*pid);
                continue;
            }
            let Some(limit) = self.limit(root, *pid, &mut buffer) else { continue };
            let share = used as f64 / limit.max(1) as f64;
            if share < RESTS_BELOW {
                self.resting.insert(*pid);
            } else {
                self.resting.remove(pid);
            }
            if share >= NEAR {
                near.push((1.0 + share, *pid, used, limit));
            } else if machine >= MACHINE_NEAR {
                near.push((used as f64 / 1e12, *pid, used, limit));
            }
        }
        near.sort_by(|a, b| b.0.total_cmp(&a.0));
        near.truncate(TOLD_MAX);
        found.handle_holders = near
            .into_iter()
            .filter_map(|(_, pid, used, limit)| {
                let (owner, mostly) = (owner(root, pid)?, mostly(root, pid));
                Some(HandleHolder { owner, used, limit, mostly, full_since: None, grown: 0 })
            })
            .collect();
    }

    /// The soft limit of `/proc/PID/limits`.
    fn limit(&mut self, root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Option<u64> {
        let start = procfs::Process::read(root, pid, buffer)?.id.start_ticks;
        if let Some((of, limit, at)) = self.limits.get(&pid)
            && *of == start
            && at.elapsed() < LIMIT_STANDS
        {
            return Some(*limit);
        }
        let bytes = root.read(format!("/proc/{pid}/limits"), buffer).ok()?;
        let line = procfs::lines(bytes).find_map(|line| line.strip_prefix(b"Max open files"))?;
        // `unlimited` is no number: there is nothing to reach.
        let limit = procfs::fields(line).next().and_then(procfs::number)?;
        self.limits.insert(pid, (start, limit, Instant::now()));
        Some(limit)
    }
}

fn machine(root: &Root, buffer: &mut Vec<u8>) -> Option<Handles> {
    let bytes = root.read("/proc/sys/fs/file-nr", buffer).ok()?;
    let mut words = procfs::fields(bytes).filter_map(procfs::number);
    let (used, _, limit) = (words.next()?, words.next()?, words.next()?);
    Some(Handles { used, limit })
}

/// How many files a process has open; where the directory's size does not say it, they are counted.
fn count(root: &Root, pid: u32, sized: bool) -> Option<u64> {
    let path = root.at(format!("/proc/{pid}/fd"));
    if sized {
        return u64::try_from(statat(CWD, &path, AtFlags::empty()).ok()?.st_size).ok();
    }
    let entries = Dir::read_from(open_dir(&path)?).ok()?;
    let count = entries.flatten().take(limits::FDS_PER_PROCESS_MAX + 2).count();
    Some(count.saturating_sub(2) as u64)
}

/// What most of a process's handles are, if most are one thing.
fn mostly(root: &Root, pid: u32) -> Option<(String, u64)> {
    let dir = open_dir(&root.at(format!("/proc/{pid}/fd")))?;
    let mut kinds: HashMap<Vec<u8>, u64> = HashMap::new();
    let mut all = 0;
    for entry in Dir::read_from(&dir).ok()?.flatten().take(KINDS_OF_MAX) {
        let Ok(link) = readlinkat(&dir, entry.file_name(), Vec::new()) else { continue };
        let bytes = link.as_bytes();
        let kind = if bytes.first() == Some(&b'/') {
            bytes
        } else {
            bytes.split(|b| *b == b':').next().unwrap_or(bytes)
        };
        *kinds.entry(kind.to_vec()).or_insert(0) += 1;
        all += 1;
    }
    // Files of one directory, each by its own name, are one thing too.
    let most =
        |kinds: HashMap<Vec<u8>, u64>| kinds.into_iter().max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(&a.0)));
    let (kind, count) = most(kinds.clone())?;
    if count * 2 > all {
        return Some((String::from_utf8_lossy(&kind).into_owned(), count));
    }
    let mut folders: HashMap<Vec<u8>, u64> = HashMap::new();
    for (kind, count) in kinds.iter().filter(|(kind, _)| kind.first() == Some(&b'/')) {
        let end = kind.iter().rposition(|b| *b == b'/').unwrap_or(0);
        *folders.entry(kind[..=end].to_vec()).or_insert(0) += count;
    }
    let (folder, count) = most(folders).filter(|(_, count)| count * 2 > all)?;
    Some((String::from_utf8_lossy(&folder).into_owned(), count))
}
