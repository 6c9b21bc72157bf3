//! The processes that are told of, each with a row: the busiest by processor time, memory, I/O, threads and handles.

use std::collections::TryReserveError;

use toban_model::{ProcessId, ProcessUse, Sample};

use super::Entry;
use super::look::Looker;
use crate::procfs;

/// How much a process has of what makes it worth a row.
type Weight = fn(&Entry) -> u64;

/// How many have a row for what.
const BY: [(usize, Weight); 5] = [
    (16, |entry| entry.cpu_heat),
    (12, |entry| entry.resident_pages),
    (8, |entry| entry.io_heat),
    // A process has one thread anyway.
    (6, |entry| u64::from(entry.threads.saturating_sub(1))),
    (6, |entry| u64::from(entry.handles.unwrap_or(0))),
];
/// Most rows.
pub(crate) const ROWS_MAX: usize = 16 + 12 + 8 + 6 + 6;
/// Texts kept: twice as many as there can be rows, so that one that comes back is not read again.
const TEXTS_KEPT: usize = 2 * ROWS_MAX;
/// What changes seldom is read again once in so many seconds.
const SELDOM_S: u32 = 8;

/// Longest command line that is kept, and longest path of a cgroup.
pub(super) const COMMAND_BYTES: usize = 512;
pub(super) const GROUP_BYTES: usize = 256;
const WAITS_IN_BYTES: usize = 64;
const MICROS_PER_TICK: u64 = 1_000_000 / procfs::TICKS_PER_SECOND;

/// What a row says in words, and what is read for rows alone.
pub(super) struct Told {
    owner: ProcessId,
    /// The second in which it last had a row.
    used: u32,
    pub(super) asked: bool,
    user: Option<u32>,
    command: String,
    group: String,
    waits_in: String,
}

impl Told {
    fn begin(&mut self, owner: ProcessId) {
        self.owner = owner;
        self.asked = false;
        self.user = None;
        self.command.clear();
        self.group.clear();
        self.waits_in.clear();
    }

    pub(super) fn learn(&mut self, command: &str, group: &str) {
        self.command.clear();
        self.command.push_str(command);
        self.group.clear();
        self.group.push_str(group);
    }
}

/// The rows of a second, and the texts of those that have had one of late.
pub(super) struct Rows {
    ranks: Vec<(u64, u32)>,
    /// Which entries.
    chosen: Vec<u32>,
    told: Vec<Told>,
}

impl Rows {
    pub(super) fn new() -> Rows {
        let told = || Told {
            owner: ProcessId { pid: 0, start_ticks: 0 },
            used: 0,
            asked: false,
            user: None,
            command: String::with_capacity(COMMAND_BYTES),
            group: String::with_capacity(GROUP_BYTES),
            waits_in: String::with_capacity(WAITS_IN_BYTES),
        };
        Rows {
            ranks: Vec::new(),
            chosen: Vec::with_capacity(ROWS_MAX),
            told: (0..TEXTS_KEPT).map(|_| told()).collect(),
        }
    }

    /// Takes room for the ranks of so many processes.
    pub(super) fn reserve(&mut self, entries: usize) -> Result<(), TryReserveError> {
        self.ranks.clear();
        self.ranks.try_reserve(entries)
    }

    /// What is kept for a process, if it has had a row of late.
    pub(super) fn of(&mut self, owner: ProcessId) -> Option<&mut Told> {
        self.told.iter_mut().find(|told| told.owner == owner)
    }

    /// The places of those with a row.
    pub(super) fn chosen(&self) -> &[u32] {
        &self.chosen
    }

    /// Chooses who has a row in this second.
    pub(super) fn choose(&mut self, entries: &[Entry], second: u32) {
        self.chosen.clear();
        for (most, weight) in BY {
            self.ranks.clear();
            let known = entries.iter().enumerate().filter(|(_, entry)| entry.known);
            let weighed =
                known.map(|(at, entry)| (weight(entry), at as u32)).filter(|(weight, _)| *weight > 0);
            self.ranks.extend(weighed);
            if self.ranks.len() > most {
                self.ranks.select_nth_unstable_by(most, |a, b| b.cmp(a));
                self.ranks.truncate(most);
            }
            for (_, at) in &self.ranks {
                if !self.chosen.contains(at) {
                    self.chosen.push(*at);
                }
            }
        }
        self.chosen.sort_unstable();
        for at in &self.chosen {
            let owner = entries[*at as usize].id;
            let kept = self.told.iter().position(|told| told.owner == owner);
            let place = kept.or_else(|| (0..TEXTS_KEPT).min_by_key(|place| self.told[*place].used));
            let Some(told) = place.and_then(|place| self.told.get_mut(place)) else { continue };
            if kept.is_none() {
                told.begin(owner);
            }
            told.used = second;
        }
    }

    /// Writes the rows.
    pub(super) fn tell(&mut self, looker: &mut Looker, entries: &mut [Entry], second: u32, out: &mut Sample) {
        for at in &self.chosen {
            let entry = &mut entries[*at as usize];
            let Some(told) = self.told.iter_mut().find(|told| told.owner == entry.id) else { continue };
            let pid = entry.id.pid;
            let seldom = entry.turn(second, SELDOM_S);
            if seldom || told.user.is_none() {
                told.user = looker.user(pid);
                entry.handles = looker.count_handles(pid).or(entry.handles);
            }
            match entry.state {
                b'S' | b'I' if !seldom && !told.waits_in.is_empty() => {}
                b'S' | b'I' | b'D' => {
                    told.waits_in.clear();
                    let waits_in = looker.waits_in(pid).unwrap_or_default();
                    let shown = waits_in.get(..waits_in.len().min(WAITS_IN_BYTES));
                    told.waits_in.push_str(shown.unwrap_or_default());
                }
                _ => told.waits_in.clear(),
            }
            let comm = &entry.comm[..entry.comm.iter().position(|b| *b == 0).unwrap_or(entry.comm.len())];
            let comm = comm.utf8_chunks().next().map_or("", |chunk| chunk.valid());
            out.processes.busiest.push(ProcessUse {
                id: entry.id,
                parent: entry.parent,
                user: told.user.unwrap_or(0),
                state: entry.state,
                threads: entry.threads,
                cpu_us: entry.cpu_ticks.saturating_mul(MICROS_PER_TICK),
                resident: entry.resident_pages.saturating_mul(rustix::param::page_size() as u64),
                handles: entry.handles,
                read: entry.read,
                written: entry.written,
                comm: out.texts.push(comm),
                command: out.texts.push(&told.command),
                group: out.texts.push(&told.group),
                waits_in: out.texts.push(&told.waits_in),
            });
        }
    }
}
