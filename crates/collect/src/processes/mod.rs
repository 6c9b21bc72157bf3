//! All processes, every second, for a few microseconds each.
//!
//! A process is looked at by its `stat` file alone, through a handle that is kept: that is half the cost of opening it,
//! asks the kernel for no memory, and cannot be mistaken for a later process of the same number. Only those that did
//! something are asked for more ([`look::Looker::ask_more`]), and only those that are told of for their texts
//! ([`facts`]).
//!
//! A process that has used no processor time for a while **rests**: it is looked at once in some seconds. This is safe
//! because the kernel also tells how much time all tasks used together: where those that were looked at do not account
//! for it, the resting ones are looked at in the same second. What is left then was used by processes that began and
//! ended in between, and is told as `processes.cpu_unseen`.
//!
//! A pass has its share of time. What it did not get to in its share is where the next second's begins.

use std::time::{Duration, Instant};

use toban_model::{ProcessId, Sample};

use crate::collectors::{counter, gauge, thread_time};
use crate::kept::Kept;
use crate::{Error, Root, procfs};

mod facts;
mod look;
mod rows;
mod units;

use facts::Facts;
pub(crate) use facts::group_of;
use look::{Look, Looker};
pub(crate) use rows::ROWS_MAX;
use rows::Rows;
use units::Units;

/// Looks without processor time after which a process rests.
const REST_AFTER: u8 = 5;
/// A resting process is looked at once in so many seconds.
const REST_S: u32 = 8;
/// What is asked beyond `stat` (bytes read, handles) is asked of an idle process once in so many seconds.
const MORE_S: u32 = 32;
/// Most processes that are asked for more in one second: each costs as much as two looks.
const MORE_MAX: u32 = 256;
/// Its cgroup is read again once in so many seconds: processes are moved soon after they begin.
const FACTS_S: u32 = 64;
/// Ticks that the kernel's sum and ours may be apart without cause: both are rounded, at different moments.
const ROUNDING_TICKS: u64 = 3;

/// One process, as it is kept from second to second.
pub(crate) struct Entry {
    id: ProcessId,
    handle: Option<rustix::fd::OwnedFd>,
    /// It was looked at, and is there.
    known: bool,
    /// The second of its first look.
    since: u32,
    /// It began while we watched, so all of its processor time is new.
    born: bool,
    is_kernel: bool,
    state: u8,
    parent: u32,
    threads: u32,
    comm: [u8; 16],
    cpu_ticks: u64,
    resident_pages: u64,
    handles: Option<u32>,
    read: Option<u64>,
    written: Option<u64>,
    /// The second in which it was looked at, and the one in which it was asked for more.
    looked: u32,
    idle_looks: u8,
    unit: u16,
    /// Its facts were asked for, and never answered so far.
    asked: bool,
    /// Work that fades by half each second, which is what makes a process busy.
    cpu_heat: u64,
    io_heat: u64,
}

impl Entry {
    fn new(pid: u32, born: bool) -> Entry {
        Entry {
            id: ProcessId { pid, start_ticks: 0 },
            handle: None,
            known: false,
            since: 0,
            born,
            is_kernel: false,
            state: b'?',
            parent: 0,
            threads: 0,
            comm: [0; 16],
            cpu_ticks: 0,
            resident_pages: 0,
            handles: None,
            read: None,
            written: None,
            looked: 0,
            idle_looks: 0,
            unit: units::NONE,
            asked: false,
            cpu_heat: 0,
            io_heat: 0,
        }
    }

    /// Whether this is its turn in a rotation of so many seconds.
    fn turn(&self, second: u32, of: u32) -> bool {
        self.id.pid.wrapping_add(second).is_multiple_of(of)
    }

    /// It is worth more than a look: it has lived for a second, or was there before us. What is asked of it takes locks
    /// that older kernels hold while a program is loaded from a disk.
    fn is_settled(&self, second: u32) -> bool {
        self.known && (!self.born || self.since < second)
    }

    fn wants_look(&self, second: u32) -> bool {
        self.idle_looks < REST_AFTER || self.turn(second, REST_S)
    }
}

/// How long one pass may take, in processor time and on the clock. The first one may take longer: until it is through,
/// little is known.
struct Share {
    cpu_until: Duration,
    until: Instant,
    steps: u32,
}

/// Between two looks at the clock.
const STEPS: u32 = 16;

impl Share {
    fn begin(cpu: Duration, clock: Duration) -> Share {
        Share { cpu_until: thread_time() + cpu, until: Instant::now() + clock, steps: 0 }
    }

    fn is_over(&mut self) -> bool {
        self.steps += 1;
        self.steps.is_multiple_of(STEPS) && (thread_time() >= self.cpu_until || Instant::now() >= self.until)
    }
}

/// All processes of a host.
pub(crate) struct Table {
    looker: Looker,
    stat: Kept,
    entries: Vec<Entry>,
    pids: Vec<u32>,
    new: Vec<u32>,
    second: u32,
    /// The process at which the next pass begins.
    resume: u32,
    share: (Duration, Duration),
    units: Units,
    facts: Facts,
    rows: Rows,
    cpu: Accounts,
}

/// Processor time in ticks: what all tasks used, and whose it was.
#[derive(Default)]
struct Accounts {
    all_at_first: Option<u64>,
    all: u64,
    seen: u64,
    /// What is left as a rule when everybody was looked at.
    left: u64,
    unseen: u64,
}

impl Accounts {
    /// More was used in this second than by those that were looked at, and than is left anyway.
    fn is_short(&self, used: u64, seen: u64) -> bool {
        used > seen + self.left + ROUNDING_TICKS + used / 20
    }

    /// What is told only grows: time that was seen late lets it stand still.
    fn unseen(&mut self) -> u64 {
        let used = self.all.saturating_sub(self.all_at_first.unwrap_or(self.all));
        self.unseen = self.unseen.max(used.saturating_sub(self.seen));
        self.unseen
    }
}

impl Table {
    /// Nothing is known yet. A pass may take so much processor time, and so long on the clock.
    pub(crate) fn new(cpu: Duration, clock: Duration) -> Table {
        Table {
            looker: Looker::new(),
            stat: Kept::new("/proc/stat"),
            entries: Vec::new(),
            pids: Vec::new(),
            new: Vec::new(),
            second: 0,
            resume: 0,
            share: (cpu, clock),
            units: Units::new(),
            facts: Facts::new(),
            rows: Rows::new(),
            cpu: Accounts::default(),
        }
    }

    /// Looks at the processes and tells of them.
    pub(crate) fn sample(&mut self, root: &Root, out: &mut Sample) -> Result<(), Error> {
        const FIRST: u32 = 10;
        let first = self.second == 0;
        let more = if first { FIRST } else { 1 };
        let mut share = Share::begin(self.share.0 * more, self.share.1 * more);
        let bytes = self.stat.read(root)?;
        let Some(stat) = procfs::Stat::parse(bytes) else {
            return Err(self.stat.form(root, "a line that begins with cpu"));
        };
        let all = stat.all.of_tasks();
        self.cpu.all_at_first.get_or_insert(all);
        let used = if first { 0 } else { all.saturating_sub(self.cpu.all) };
        self.cpu.all = all;

        let count = self.looker.list(root, &mut self.pids)?;
        self.second += 1;
        self.meet(first);
        self.facts.take(&mut self.entries, &mut self.units, &mut self.rows, self.second);
        let mut pass = self.pass(&mut share, Look::Wanted);
        if pass.left_out == 0 && self.cpu.is_short(used, pass.seen) {
            let rest = self.pass(&mut share, Look::Resting);
            pass.seen += rest.seen;
            pass.left_out = rest.left_out;
            if pass.left_out == 0 {
                self.cpu.left = used.saturating_sub(pass.seen).max(self.cpu.left);
            }
        }
        // Short lives come in bursts: what they leave is expected again for some seconds.
        self.cpu.left -= self.cpu.left.div_ceil(8);
        self.adopt();
        self.cpu.seen += pass.seen;
        if pass.left_out == 0 {
            self.resume = 0;
        }

        self.ask(root, first)?;
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        out.processes.count = number(count);
        out.processes.looked_at = number(self.entries.len()).saturating_sub(pass.left_out);
        self.rows.tell(&mut self.looker, &mut self.entries, self.second, out);
        self.tell(&stat, out);
        Ok(())
    }

    /// Lets go of the processes that ended, and takes in those that are new.
    fn meet(&mut self, first: bool) {
        let (pids, new) = (&self.pids, &mut self.new);
        new.clear();
        let mut at = 0;
        self.entries.retain_mut(|entry| {
            entry.cpu_heat /= 2;
            entry.io_heat /= 2;
            while pids.get(at).is_some_and(|pid| *pid < entry.id.pid) {
                new.push(pids[at]);
                at += 1;
            }
            let here = pids.get(at) == Some(&entry.id.pid);
            at += usize::from(here);
            here
        });
        new.extend_from_slice(&pids[at..]);
        if new.is_empty() {
            return;
        }
        // Room for twice as many is taken at once, so that it is not asked for while the host has none.
        let room = if self.entries.capacity() == 0 { new.len() * 2 + 1024 } else { new.len() };
        if self.entries.try_reserve(room).is_err() || self.rows.reserve(self.entries.capacity()).is_err() {
            return;
        }
        self.entries.extend(new.iter().map(|pid| Entry::new(*pid, !first)));
        self.entries.sort_unstable_by_key(|entry| entry.id.pid);
    }

    /// Looks at the processes of one kind, from where the last pass was cut, until the share is over.
    fn pass(&mut self, share: &mut Share, which: Look) -> Pass {
        let mut pass = Pass::default();
        self.looker.handles = self.entries.iter().filter(|entry| entry.handle.is_some()).count();
        let begin = self.entries.partition_point(|entry| entry.id.pid < self.resume);
        let (before, after) = self.entries.split_at_mut(begin);
        let mut more = 0;
        let mut over = false;
        for entry in after.iter_mut().chain(before) {
            let wanted = match which {
                Look::Wanted => entry.wants_look(self.second),
                Look::Resting => entry.looked != self.second,
            };
            if !wanted {
                continue;
            }
            if over {
                pass.left_out += 1;
                continue;
            }
            let grown = self.looker.look(entry, self.second);
            pass.seen += grown;
            self.units.used(entry.unit, grown);
            if entry.is_settled(self.second)
                && !entry.is_kernel
                && more < MORE_MAX
                && (grown > 0
                    || entry.state == b'D'
                    || entry.read.is_none()
                    || entry.turn(self.second, MORE_S))
            {
                more += 1;
                self.looker.ask_more(entry);
            }
            if share.is_over() {
                over = true;
                // Past the last one it begins at the first again.
                self.resume = entry.id.pid + 1;
            }
        }
        pass
    }

    /// A process begins in its parent's unit; most short lives end there too.
    fn adopt(&mut self) {
        for at in 0..self.entries.len() {
            let entry = &self.entries[at];
            if entry.unit != units::NONE || !entry.born || !entry.known || entry.is_kernel {
                continue;
            }
            let parent = self.entries.binary_search_by_key(&entry.parent, |parent| parent.id.pid);
            if let Ok(parent) = parent {
                let unit = self.entries[parent].unit;
                self.units.used(unit, entry.cpu_ticks);
                self.entries[at].unit = unit;
            }
        }
    }

    /// Asks for what may have to be waited for; only the first sample waits, and not long.
    fn ask(&mut self, root: &Root, first: bool) -> Result<(), Error> {
        const FIRST_WAIT: Duration = Duration::from_millis(300);
        let begun = Instant::now();
        self.rows.choose(&self.entries, self.second);
        loop {
            let waiting = self.facts.ask(root, &mut self.entries, &mut self.rows, self.second)?;
            if !first || !waiting || begun.elapsed() > FIRST_WAIT {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
            self.facts.take(&mut self.entries, &mut self.units, &mut self.rows, self.second);
        }
    }

    fn tell(&mut self, stat: &procfs::Stat, out: &mut Sample) {
        let cores = f64::from(stat.cores.max(1));
        let percent = |ticks: u64| ticks as f64 / procfs::TICKS_PER_SECOND as f64 * 100.0 / cores;
        let zombies = self.entries.iter().filter(|entry| entry.state == b'Z').count();
        let readings = &mut out.readings;
        readings.push(gauge("processes.count", f64::from(out.processes.count), ""));
        readings.push(gauge("processes.running", stat.running as f64, ""));
        readings.push(gauge("processes.blocked", stat.blocked as f64, ""));
        readings.push(gauge("processes.zombies", zombies as f64, ""));
        readings.push(counter("processes.forks", stat.forks as f64, "/s"));
        readings.push(counter("processes.cpu_unseen", percent(self.cpu.unseen()), "%"));
        self.units.tell(&mut self.entries, percent, readings);
    }
}

/// What one pass saw.
#[derive(Default)]
struct Pass {
    /// Ticks that those who were looked at used since they were last looked at.
    seen: u64,
    /// How many it did not get to.
    left_out: u32,
}

#[cfg(test)]
mod tests;
