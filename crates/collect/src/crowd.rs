//! All processes at one moment, put together: which are of the same kind, and who holds the memory.
//!
//! The rows of a second hold the busiest alone. What sleeps or is stuck by the hundred is in none of them, so all are
//! read here, for some microseconds each; seldom, and no more than [`limits::CROWD_MAX`] of them.

use std::collections::HashMap;

use toban_model::{Crowd, Kin, MemoryHolder, Time, unit_of};

use crate::closer::{booted, command, named};
use crate::procfs::{self, ProcessStat};
use crate::{Root, limits};

/// Fewer of a kind are not told of.
const KIN_MIN: usize = 8;
/// Groups told of.
const KIN_MAX: usize = 16;
/// Start times told of one group.
const STARTS_MAX: usize = 512;
/// Members that are asked what they wait in.
const ASKED_MAX: usize = 8;
/// Parents whose command line is read.
const PARENTS_MAX: usize = 1024;
/// Holders of memory told of.
const HOLDERS_MAX: usize = 8;
/// A process with less is not asked how much of it is shared.
const LARGE_BYTES: u64 = 4 << 20;

struct Row {
    id: toban_model::ProcessId,
    comm: String,
    parent: u32,
    state: u8,
    cpu_ticks: u64,
    resident_bytes: u64,
}

/// Reads all processes.
pub fn count(root: &Root, now: Time) -> Crowd {
    let booted = booted(root, now);
    let page = rustix::param::page_size() as u64;
    let mut buffer = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    for pid in procfs::pids(root).unwrap_or_default().into_iter().take(limits::CROWD_MAX) {
        let Ok(bytes) = root.read(format!("/proc/{pid}/stat"), &mut buffer) else { continue };
        let Some(stat) = ProcessStat::parse(bytes).filter(|stat| !stat.is_kernel && stat.state != b'Z')
        else {
            continue;
        };
        rows.push(Row {
            id: stat.id,
            comm: String::from_utf8_lossy(stat.comm).into_owned(),
            parent: stat.ppid,
            state: stat.state,
            cpu_ticks: stat.cpu_ticks,
            resident_bytes: stat.rss_pages.saturating_mul(page),
        });
    }
    let kin = kin(root, &rows, booted, &mut buffer);
    let memory = memory(root, &rows, booted, &mut buffer);
    let stuck = rows.iter().filter(|row| row.state == b'D').count();
    Crowd { at: now, kin, memory, stuck: u32::try_from(stuck).unwrap_or(u32::MAX) }
}

fn kin(root: &Root, rows: &[Row], booted: Time, buffer: &mut Vec<u8>) -> Vec<Kin> {
    let mut by_comm: HashMap<&str, Vec<&Row>> = HashMap::new();
    for row in rows {
        by_comm.entry(&row.comm).or_default().push(row);
    }
    let mut commands: HashMap<u32, String> = HashMap::new();
    let mut groups: HashMap<(&str, String), Vec<&Row>> = HashMap::new();
    for row in by_comm.values().filter(|rows| rows.len() >= KIN_MIN).flatten() {
        if !commands.contains_key(&row.parent) && commands.len() < PARENTS_MAX {
            commands.insert(row.parent, command(root, row.parent));
        }
        let parent = commands.get(&row.parent).cloned().unwrap_or_default();
        groups.entry((&row.comm, parent)).or_default().push(row);
    }
    let mut groups: Vec<_> = groups.into_iter().filter(|(_, rows)| rows.len() >= KIN_MIN).collect();
    groups.sort_by(|(a, some), (b, others)| others.len().cmp(&some.len()).then_with(|| a.cmp(b)));
    groups.truncate(KIN_MAX);
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let told = groups.into_iter().filter_map(|((comm, _), mut rows)| {
        rows.sort_by_key(|row| row.id.start_ticks);
        let in_state = |state: u8| number(rows.iter().filter(|row| row.state == state).count());
        let oldest = named(root, rows[0].id.pid, booted, buffer).filter(|named| named.id == rows[0].id)?;
        let like_parent = oldest.parents.first().is_some_and(|parent| parent.comm == comm);
        Some(Kin {
            count: number(rows.len()),
            stuck: in_state(b'D'),
            running: in_state(b'R'),
            starts: rows.iter().take(STARTS_MAX).map(|row| row.id.started(booted)).collect(),
            cpu_us: rows.iter().map(|row| row.cpu_ticks).sum::<u64>().saturating_mul(10_000),
            waits_in: waits_in(root, &rows, buffer),
            like_parent,
            serves: false,
            oldest,
        })
    });
    told.collect()
}

/// The kernel function that most of them wait in, the stuck ones asked first.
fn waits_in(root: &Root, rows: &[&Row], buffer: &mut Vec<u8>) -> Option<String> {
    let stuck = rows.iter().filter(|row| row.state == b'D');
    let others = rows.iter().filter(|row| row.state != b'D');
    let mut found: HashMap<String, usize> = HashMap::new();
    for row in stuck.chain(others).take(ASKED_MAX) {
        if let Some(function) = procfs::wchan(root, row.id.pid, buffer) {
            *found.entry(function).or_insert(0) += 1;
        }
    }
    found.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0))).map(|(function, _)| function)
}

fn memory(root: &Root, rows: &[Row], booted: Time, buffer: &mut Vec<u8>) -> Vec<MemoryHolder> {
    struct Sum<'a> {
        is_unit: bool,
        processes: u32,
        private_bytes: u64,
        largest: (u64, &'a Row),
    }
    let page = rustix::param::page_size() as u64;
    let mut sums: HashMap<String, Sum<'_>> = HashMap::new();
    for row in rows.iter().filter(|row| row.resident_bytes >= LARGE_BYTES) {
        // size resident shared …, in pages.
        let shared = root
            .read(format!("/proc/{}/statm", row.id.pid), buffer)
            .ok()
            .and_then(|bytes| procfs::number(procfs::fields(bytes).nth(2)?))
            .unwrap_or(0);
        let private = row.resident_bytes.saturating_sub(shared.saturating_mul(page));
        let unit = unit_name(root, row.id.pid, buffer);
        let is_unit = unit.is_some();
        let sum = sums.entry(unit.unwrap_or_else(|| row.comm.clone())).or_insert(Sum {
            is_unit,
            processes: 0,
            private_bytes: 0,
            largest: (0, row),
        });
        sum.processes += 1;
        sum.private_bytes += private;
        if private > sum.largest.0 {
            sum.largest = (private, row);
        }
    }
    let mut sums: Vec<(String, Sum<'_>)> = sums.into_iter().collect();
    sums.sort_by(|(a, some), (b, other)| other.private_bytes.cmp(&some.private_bytes).then_with(|| a.cmp(b)));
    sums.truncate(HOLDERS_MAX);
    let told = sums.into_iter().filter_map(|(name, sum)| {
        Some(MemoryHolder {
            name,
            is_unit: sum.is_unit,
            processes: sum.processes,
            private_bytes: sum.private_bytes,
            largest: named(root, sum.largest.1.id.pid, booted, buffer)?,
            largest_bytes: sum.largest.0,
        })
    });
    told.collect()
}

/// The unit or container that a process is in. A session of a person, and a group that is neither, is none: there the
/// program says more.
fn unit_name(root: &Root, pid: u32, buffer: &mut Vec<u8>) -> Option<String> {
    let bytes = root.read(format!("/proc/{pid}/cgroup"), buffer).ok()?;
    let group = String::from_utf8_lossy(crate::processes::group_of(bytes)).into_owned();
    let unit = unit_of(&group);
    let last = unit.rsplit('/').next()?;
    let is_container = last.bytes().filter(u8::is_ascii_hexdigit).count() >= 32;
    (last.ends_with(".service") || is_container).then(|| toban_model::unit_name(unit))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::tree;

    fn process(
        pid: u32,
        comm: &str,
        parent: u32,
        state: char,
        start: u32,
        pages: u32,
    ) -> [(String, String); 2] {
        let stat = format!(
            "{pid} ({comm}) {state} {parent} 1 1 0 -1 0 0 0 0 0 3 4 0 0 20 0 1 0 {start} 1 {pages} 0 0\n"
        );
        [
            (format!("proc/{pid}/stat"), stat),
            (format!("proc/{pid}/statm"), format!("{pages} {pages} 100 0 0 0 0\n")),
        ]
    }

    #[test]
    fn kin_are_found_by_name_and_their_parents_command() {
        let mut files = vec![("proc/stat".into(), "cpu 1 1 1 1\nbtime 1700000000\n".into())];
        // Each minute another shell begins the same job, and none ends.
        for n in 0..12 {
            files.extend(process(100 + n, "sh", 50, 'S', 1000 + n * 6000, 10));
            files.push((format!("proc/{}/cmdline", 100 + n), "/bin/sh\0-c\0/opt/job\0".into()));
            files.extend(process(200 + n, "job", 100 + n, 'D', 1010 + n * 6000, 2000));
            files.push((format!("proc/{}/wchan", 200 + n), "rpc_wait_bit_killable".into()));
        }
        files.extend(process(50, "cron", 1, 'S', 10, 10));
        files.push(("proc/50/cmdline".into(), "/usr/sbin/cron\0-f\0".into()));
        for n in 0..3 {
            files.extend(process(300 + n, "job", 299, 'D', 100, 10));
        }
        let dir = tree(&files);
        let crowd = count(&Root::new(dir.path()), Time::from_secs(1_700_001_000));
        assert_eq!(crowd.stuck, 15);
        let told: Vec<_> =
            crowd.kin.iter().map(|k| (k.oldest.comm.as_str(), k.count, k.stuck, k.like_parent)).collect();
        assert_eq!(told, [("job", 12, 12, false), ("sh", 12, 0, false)]);
        let job = &crowd.kin[0];
        assert_eq!(job.oldest.id.pid, 200);
        assert_eq!(job.oldest.parents.iter().map(|p| p.pid).collect::<Vec<_>>(), [100, 50]);
        assert_eq!(job.waits_in.as_deref(), Some("rpc_wait_bit_killable"));
        assert_eq!((job.starts.len(), job.cpu_us), (12, 12 * 70_000));
        assert_eq!(job.starts[1].since(job.starts[0]).as_secs(), 60);
    }

    #[test]
    fn memory_is_told_by_unit_else_by_program() {
        let mut files = vec![("proc/stat".into(), "cpu 1 1 1 1\nbtime 1700000000\n".into())];
        for n in 0..2 {
            files.extend(process(10 + n, "worker", 1, 'S', 100, 10_000 * (n + 1)));
            files.push((format!("proc/{}/cgroup", 10 + n), "0::/system.slice/app.service\n".into()));
        }
        files.extend(process(20, "loose", 1, 'S', 100, 5_000));
        files.push(("proc/20/cgroup".into(), "0::/user.slice/session-1.scope\n".into()));
        files.extend(process(30, "small", 1, 'S', 100, 5));
        let dir = tree(&files);
        let page = rustix::param::page_size() as u64;
        let memory = count(&Root::new(dir.path()), Time::from_secs(1_700_001_000)).memory;
        let told: Vec<_> = memory
            .iter()
            .map(|m| (m.name.as_str(), m.is_unit, m.processes, m.private_bytes / page))
            .collect();
        assert_eq!(told, [("app.service", true, 2, 29_800), ("loose", false, 1, 4_900)]);
        assert_eq!((memory[0].largest.id.pid, memory[0].largest_bytes / page), (11, 19_900));
    }

    #[test]
    fn this_host_is_counted() {
        let mut children: Vec<std::process::Child> =
            (0..KIN_MIN).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        let now = Time::from_micros(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64);
        let ours = |crowd: &Crowd| {
            let parent = std::process::id();
            crowd.kin.iter().any(|kin| {
                kin.oldest.comm == "sleep"
                    && kin.count as usize >= KIN_MIN
                    && kin.oldest.parents.first().is_some_and(|p| p.pid == parent)
            })
        };
        // A child has its new name only once it has begun its program.
        let until = std::time::Instant::now() + std::time::Duration::from_secs(30);
        let mut crowd = count(&Root::host(), now);
        while !ours(&crowd) && std::time::Instant::now() < until {
            std::thread::sleep(std::time::Duration::from_millis(50));
            crowd = count(&Root::host(), now);
        }
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(ours(&crowd), "{crowd:#?}");
    }
}
