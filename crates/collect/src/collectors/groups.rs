//! `cgroup.*:unit`: what each unit of systemd and each container uses of its limits, every ten seconds.
//!
//! The kernel counts here what the processes of a unit used, those that ended included. To read these files may wait
//! for locks of the whole machine, so this runs aside; shares are worked out over its own interval.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use toban_model::{Sample, unit_name, unit_of};

use super::{Collector, percent};
use crate::parts::{Parts, Stem, each_gauge};
use crate::{Error, Root, procfs};

static GROUP: [Stem; 8] = [
    each_gauge("cgroup.cpu", "%"),
    each_gauge("cgroup.cpu_limit", "%"),
    each_gauge("cgroup.throttled", "%"),
    each_gauge("cgroup.memory", "B"),
    each_gauge("cgroup.memory_used", "%"),
    each_gauge("cgroup.oom_kills", ""),
    each_gauge("cgroup.tasks", ""),
    each_gauge("cgroup.tasks_used", "%"),
];
/// Of hosts with more units only the busiest.
const GROUPS_TOLD_MAX: usize = 10;
/// Most directories looked into; beyond are hosts with a thousand containers, whose first are enough.
const DIRECTORIES_MAX: usize = 4_096;
const DEPTH_MAX: usize = 8;

/// Reads the cgroup file systems, of version 1, 2 or both.
#[derive(Default)]
pub(super) struct Groups {
    parts: Option<Parts<8>>,
    buffer: Vec<u8>,
    before: HashMap<String, Group>,
    at: Option<Instant>,
}

/// What one unit uses, from all hierarchies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Group {
    cpu_us: Option<u64>,
    throttled_us: Option<u64>,
    /// Processors that it may use.
    cpus: Option<f64>,
    memory: Option<u64>,
    memory_limit: Option<u64>,
    oom_kills: Option<u64>,
    tasks: Option<u64>,
    tasks_limit: Option<u64>,
}

impl Collector for Groups {
    fn id(&self) -> &'static str {
        "groups"
    }

    fn collect(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        let stat = procfs::Stat::parse(root.read("/proc/stat", &mut self.buffer).unwrap_or_default());
        let cores = f64::from(stat.map_or(1, |stat| stat.cores.max(1)));
        let meminfo =
            procfs::Meminfo::parse(root.read("/proc/meminfo", &mut self.buffer).unwrap_or_default());
        let machine_bytes = meminfo.map_or(u64::MAX, |memory| memory.total_bytes);
        let now = Instant::now();
        let seconds = self.at.map(|at| now.duration_since(at).as_secs_f64());
        let mut found: HashMap<String, Group> = HashMap::new();
        for mount in mounts(root.read("/proc/mounts", &mut self.buffer)?) {
            let mut left = DIRECTORIES_MAX;
            walk(&root.at(&mount), "", DEPTH_MAX, &mut left, &mut |dir, unit| {
                let files = Files { root, dir: root.host_path(dir) };
                files.add(found.entry(unit.to_owned()).or_default(), &mut self.buffer);
            });
        }
        let parts = self.parts.get_or_insert_with(|| Parts::new(&GROUP, GROUPS_TOLD_MAX));
        for (unit, group) in &found {
            let Some(name) = unit_name(unit) else { continue };
            let before = self.before.get(unit).copied().unwrap_or_default();
            // Of microseconds in some seconds the share in percent.
            let share = |now: Option<u64>, before: Option<u64>| {
                Some(now?.checked_sub(before?)? as f64 / 1e4 / seconds.filter(|seconds| *seconds > 0.0)?)
            };
            let limit = group.memory_limit.filter(|limit| *limit < machine_bytes);
            let of = |part: Option<u64>, whole: Option<u64>| percent(part? as f64, whole? as f64);
            let values = [
                share(group.cpu_us, before.cpu_us).map(|cpu| cpu / cores),
                group.cpus.map(|cpus| cpus * 100.0 / cores),
                share(group.throttled_us, before.throttled_us),
                group.memory.map(|bytes| bytes as f64),
                of(group.memory, limit),
                group.oom_kills.map(|kills| kills as f64),
                group.tasks.map(|tasks| tasks as f64),
                of(group.tasks, group.tasks_limit),
            ];
            // Those that use nothing now are ranked by their memory.
            let work = group.cpu_us.unwrap_or(0) as f64 + group.memory.unwrap_or(0) as f64 / 1e6;
            parts.note(&name, work, values);
        }
        parts.tell(&mut out.readings);
        self.before = found;
        self.at = Some(now);
        Ok(())
    }
}

/// Where cgroups are mounted, as the host calls it.
fn mounts(bytes: &[u8]) -> Vec<PathBuf> {
    let is_cgroups = |line: &&[u8]| matches!(procfs::fields(line).nth(2), Some(b"cgroup" | b"cgroup2"));
    let point = |line| Some(PathBuf::from(std::str::from_utf8(procfs::fields(line).nth(1)?).ok()?));
    let mut points: Vec<PathBuf> = procfs::lines(bytes).filter(is_cgroups).filter_map(point).collect();
    points.sort();
    points.dedup();
    points
}

/// Hands over the units below a directory: what is named as one, and what has nothing below it.
fn walk(dir: &Path, group: &str, depth: usize, left: &mut usize, each: &mut dyn FnMut(&Path, &str)) {
    if *left == 0 || depth == 0 {
        return;
    }
    *left -= 1;
    let below = |entry: std::fs::DirEntry| {
        entry.file_type().is_ok_and(|kind| kind.is_dir()).then(|| entry.file_name().into_string().ok())?
    };
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(below).collect();
    names.sort();
    if names.is_empty() && !group.is_empty() {
        return each(dir, group);
    }
    for name in names {
        let (dir, group) = (dir.join(&name), format!("{group}/{name}"));
        let is_unit = unit_of(&format!("{group}/below")) == group;
        if is_unit { each(&dir, &group) } else { walk(&dir, &group, depth - 1, left, each) }
    }
}

/// The files of one cgroup; those of controllers that it does not have are missing.
struct Files<'a> {
    root: &'a Root,
    dir: PathBuf,
}

impl Files<'_> {
    fn read<T>(&self, file: &str, buffer: &mut Vec<u8>, parse: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        parse(self.root.read(self.dir.join(file), buffer).ok()?)
    }

    fn add(&self, group: &mut Group, buffer: &mut Vec<u8>) {
        let number = procfs::number;
        if let Some(memory) = self.read("memory.current", buffer, number) {
            group.memory = Some(memory);
            // "max" where there is no limit.
            group.memory_limit = self.read("memory.max", buffer, number);
            group.oom_kills = self.read("memory.events", buffer, |text| procfs::value_of(text, b"oom_kill"));
        } else if let Some(memory) = self.read("memory.usage_in_bytes", buffer, number) {
            group.memory = Some(memory);
            // A number beyond all memory where there is none.
            group.memory_limit = self.read("memory.limit_in_bytes", buffer, number);
            group.oom_kills =
                self.read("memory.oom_control", buffer, |text| procfs::value_of(text, b"oom_kill"));
        }
        if let Some(tasks) = self.read("pids.current", buffer, number) {
            group.tasks = Some(tasks);
            group.tasks_limit = self.read("pids.max", buffer, number);
        }
        let of_stat = |text: &[u8]| {
            Some((procfs::value_of(text, b"usage_usec"), procfs::value_of(text, b"throttled_usec")))
        };
        let (usage, throttled) = self.read("cpu.stat", buffer, of_stat).unwrap_or_default();
        if usage.is_some() {
            (group.cpu_us, group.throttled_us) = (usage, throttled);
            group.cpus = self.read("cpu.max", buffer, quota);
            return;
        }
        if let Some(ns) = self.read("cpuacct.usage", buffer, number) {
            group.cpu_us = Some(ns / 1000);
        }
        let throttled = self.read("cpu.stat", buffer, |text| procfs::value_of(text, b"throttled_time"));
        if let Some(ns) = throttled {
            group.throttled_us = Some(ns / 1000);
            // -1 where there is none.
            let quota = self.read("cpu.cfs_quota_us", buffer, number);
            let period = self.read("cpu.cfs_period_us", buffer, number).filter(|period| *period > 0);
            group.cpus = quota.zip(period).map(|(quota, period)| quota as f64 / period as f64);
        }
    }
}

/// Processors of `cpu.max`: `max 100000`, or `50000 100000`.
fn quota(bytes: &[u8]) -> Option<f64> {
    let mut words = procfs::fields(bytes);
    let (quota, period) = (procfs::number(words.next()?)?, procfs::number(words.next()?)?);
    (period > 0).then(|| quota as f64 / period as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let fixed = [
            ("proc/stat", "cpu 1 1 1 1\ncpu0 1 1 1 1\ncpu1 1 1 1 1\n"),
            ("proc/meminfo", "MemTotal: 1000000 kB\nMemAvailable: 500000 kB\n"),
        ];
        for (path, text) in fixed.iter().chain(files) {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn told(groups: &mut Groups, root: &Root) -> Vec<(String, f64)> {
        let mut sample = Sample::default();
        groups.collect(root, &mut sample).unwrap();
        sample.readings.iter().map(|reading| (reading.name.to_string(), reading.value)).collect()
    }

    #[test]
    fn version_2() {
        let unit = "sys/fs/cgroup/system.slice/web.service";
        let files = |usage| {
            [
                ("proc/mounts".to_owned(), "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n".to_owned()),
                (format!("{unit}/cpu.stat"), format!("usage_usec {usage}\nthrottled_usec {usage}\n")),
                (format!("{unit}/cpu.max"), "50000 100000\n".into()),
                (format!("{unit}/memory.current"), "1024000\n".into()),
                (format!("{unit}/memory.max"), "4096000\n".into()),
                (format!("{unit}/memory.events"), "low 0\noom 3\noom_kill 2\n".into()),
                (format!("{unit}/pids.current"), "7\n".into()),
                (format!("{unit}/pids.max"), "max\n".into()),
                (format!("{unit}/below/memory.current"), "1\n".into()),
            ]
        };
        let first = files(1_000_000);
        let dir = fixture(&first.each_ref().map(|(path, text)| (path.as_str(), text.as_str())));
        let root = Root::new(dir.path());
        let mut groups = Groups::default();
        let of = |readings: &[(String, f64)], name: &str| {
            readings.iter().find(|(n, _)| *n == format!("{name}:web.service")).map(|(_, value)| *value)
        };
        let readings = told(&mut groups, &root);
        assert_eq!(of(&readings, "cgroup.cpu"), None, "nothing is known of the time before");
        assert_eq!(of(&readings, "cgroup.cpu_limit"), Some(25.0));
        assert_eq!(of(&readings, "cgroup.memory_used"), Some(25.0));
        assert_eq!(of(&readings, "cgroup.oom_kills"), Some(2.0));
        assert_eq!((of(&readings, "cgroup.tasks"), of(&readings, "cgroup.tasks_used")), (Some(7.0), None));
        assert!(readings.iter().all(|(name, _)| name.ends_with(":web.service")), "{readings:?}");
        std::thread::sleep(std::time::Duration::from_millis(200));
        std::fs::write(
            dir.path().join(unit).join("cpu.stat"),
            "usage_usec 1100000\nthrottled_usec 1100000\n",
        )
        .unwrap();
        let readings = told(&mut groups, &root);
        // A tenth of a second in at least a fifth, on two processors.
        let cpu = of(&readings, "cgroup.cpu").unwrap();
        assert!(cpu > 5.0 && cpu <= 25.0, "{cpu}");
        let throttled = of(&readings, "cgroup.throttled").unwrap();
        assert!((throttled / cpu - 2.0).abs() < 0.01, "{throttled}");
    }

    #[test]
    fn version_1_in_several_hierarchies() {
        let id = "0123456789abcdef".repeat(4);
        let at = |controller: &str, file: &str| format!("sys/fs/cgroup/{controller}/docker/{id}/{file}");
        let files = [
            (
                "proc/mounts".to_owned(),
                "a /sys/fs/cgroup/memory cgroup rw,memory 0 0\nb /sys/fs/cgroup/cpu,cpuacct cgroup rw 0 0\nc /proc proc rw 0 0\n",
            ),
            (at("memory", "memory.usage_in_bytes"), "2048000\n"),
            (at("memory", "memory.limit_in_bytes"), "9223372036854771712\n"),
            (at("memory", "memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
            (at("cpu,cpuacct", "cpuacct.usage"), "5000000000\n"),
            (at("cpu,cpuacct", "cpu.stat"), "nr_periods 0\nthrottled_time 7000\n"),
            (at("cpu,cpuacct", "cpu.cfs_quota_us"), "-1\n"),
            (at("cpu,cpuacct", "cpu.cfs_period_us"), "100000\n"),
        ];
        let dir = fixture(&files.each_ref().map(|(path, text)| (path.as_str(), *text)));
        let mut groups = Groups::default();
        let readings = told(&mut groups, &Root::new(dir.path()));
        let names: Vec<&str> = readings.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["cgroup.memory:0123456789ab", "cgroup.oom_kills:0123456789ab"]);
        let group = groups.before.values().next().unwrap();
        assert_eq!((group.cpu_us, group.throttled_us, group.cpus), (Some(5_000_000), Some(7), None));
    }
}
