//! The command line and the cgroup of a process, read in threads of their own.
//!
//! To read a command line waits for the lock of the process's memory, which a process that waits for its disk may
//! hold; older kernels hold one lock for all cgroups. The sampler waits for neither: it hands over questions and takes
//! the answers that are there. Both go through queues without locks, larger than the number of questions there are, so
//! that neither side ever finds one full; and the threads have the sampler's own priority.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;
use toban_model::ProcessId;

use super::rows::{COMMAND_BYTES, GROUP_BYTES, Rows};
use super::units::Units;
use super::{Entry, FACTS_S};
use crate::{Error, Root, procfs};

/// Questions that can be open at once.
const QUESTIONS: usize = 64;
/// After so many seconds without an answer the thread waits for a process that hangs, and another takes its place.
pub(super) const STUCK_S: u32 = 3;
/// Most threads, and so most processes that hang before the others' texts are no longer read.
const THREADS_MAX: usize = 8;

struct Question {
    id: ProcessId,
    with_command: bool,
    command: String,
    group: String,
}

struct Queues {
    asked: ArrayQueue<Question>,
    answered: ArrayQueue<Question>,
    over: AtomicBool,
}

/// The asking side.
pub(super) struct Facts {
    queues: Arc<Queues>,
    threads: Vec<Thread>,
    idle: Vec<Question>,
    /// The second of the last answer, or of the last one in which all questions were answered.
    answered: u32,
}

impl Facts {
    pub(super) fn new() -> Facts {
        let question = || Question {
            id: ProcessId { pid: 0, start_ticks: 0 },
            with_command: false,
            command: String::with_capacity(COMMAND_BYTES),
            group: String::with_capacity(GROUP_BYTES),
        };
        let queue = || ArrayQueue::new(2 * QUESTIONS);
        Facts {
            queues: Arc::new(Queues { asked: queue(), answered: queue(), over: AtomicBool::new(false) }),
            threads: Vec::with_capacity(THREADS_MAX),
            idle: (0..QUESTIONS).map(|_| question()).collect(),
            answered: 0,
        }
    }

    /// Takes the answers that came.
    pub(super) fn take(&mut self, entries: &mut [Entry], units: &mut Units, rows: &mut Rows, second: u32) {
        if self.queues.asked.is_empty() {
            self.answered = second;
        }
        while let Some(answer) = self.queues.answered.pop() {
            self.answered = second;
            let at = entries.binary_search_by_key(&answer.id.pid, |entry| entry.id.pid);
            if let Ok(at) = at
                && entries[at].id == answer.id
            {
                entries[at].unit = units.of(&answer.group);
                if answer.with_command
                    && let Some(told) = rows.of(answer.id)
                {
                    told.learn(&answer.command, &answer.group);
                }
            }
            self.idle.push(answer);
        }
    }

    /// Asks about the rows first, then about those that were never asked about, then again in turn. True while some
    /// that were never asked about are left or not answered.
    pub(super) fn ask(
        &mut self,
        root: &Root,
        entries: &mut [Entry],
        rows: &mut Rows,
        second: u32,
    ) -> Result<bool, Error> {
        if self.threads.is_empty() || second - self.answered >= STUCK_S && self.threads.len() < THREADS_MAX {
            self.start(root)?;
            self.answered = second;
        }
        for at in 0..rows.chosen().len() {
            let entry = &mut entries[rows.chosen()[at] as usize];
            let Some(told) = rows.of(entry.id) else { continue };
            if entry.is_kernel || told.asked && !entry.turn(second, FACTS_S) {
                continue;
            }
            told.asked = self.question(entry, true);
        }
        let mut left = false;
        for entry in entries.iter_mut().filter(|entry| entry.is_settled(second) && !entry.is_kernel) {
            if !entry.asked || entry.turn(second, FACTS_S) {
                left |= !self.question(entry, false);
            }
        }
        if !self.queues.asked.is_empty() {
            self.threads.iter().for_each(Thread::unpark);
        }
        Ok(left || self.idle.len() < QUESTIONS)
    }

    fn question(&mut self, entry: &mut Entry, with_command: bool) -> bool {
        let Some(mut question) = self.idle.pop() else { return false };
        question.id = entry.id;
        question.with_command = with_command;
        match self.queues.asked.push(question) {
            Ok(()) => {
                entry.asked = true;
                true
            }
            Err(question) => {
                self.idle.push(question);
                false
            }
        }
    }

    fn start(&mut self, root: &Root) -> Result<(), Error> {
        let (queues, root) = (self.queues.clone(), root.clone());
        let mut buffer = Vec::new();
        let run = move || {
            while !queues.over.load(Ordering::Relaxed) {
                while let Some(mut question) = queues.asked.pop() {
                    question.answer(&root, &mut buffer);
                    drop(queues.answered.push(question));
                }
                std::thread::park();
            }
        };
        let handle = std::thread::Builder::new()
            .name("toban-facts".into())
            .stack_size(256 << 10)
            .spawn(run)
            .map_err(|source| Error::Thread { what: "facts", source })?;
        self.threads.push(handle.thread().clone());
        Ok(())
    }
}

impl Drop for Facts {
    /// The threads are not waited for: what they ask may never answer.
    fn drop(&mut self) {
        self.queues.over.store(true, Ordering::Relaxed);
        self.threads.iter().for_each(Thread::unpark);
    }
}

impl Question {
    fn answer(&mut self, root: &Root, buffer: &mut Vec<u8>) {
        self.command.clear();
        self.group.clear();
        let pid = self.id.pid;
        let cgroups = root.read(format!("/proc/{pid}/cgroup"), buffer).unwrap_or_default();
        put(&mut self.group, group_of(cgroups), GROUP_BYTES);
        if self.with_command {
            buffer.clear();
            if let Ok(file) = std::fs::File::open(root.at(format!("/proc/{pid}/cmdline"))) {
                // A process may have a command line of megabytes; on an error what came before it counts.
                let _ = file.take(COMMAND_BYTES as u64).read_to_end(buffer);
            }
            let arguments = buffer.strip_suffix(b"\0").unwrap_or(buffer);
            put(&mut self.command, arguments, COMMAND_BYTES);
        }
    }
}

/// Appends bytes as text, arguments apart by blanks, as much as there is room for.
fn put(text: &mut String, bytes: &[u8], room: usize) {
    for chunk in bytes.utf8_chunks() {
        let invalid = if chunk.invalid().is_empty() { None } else { Some(char::REPLACEMENT_CHARACTER) };
        for letter in chunk.valid().chars().chain(invalid) {
            let letter = if letter == '\0' { ' ' } else { letter };
            if text.len() + letter.len_utf8() > room {
                return;
            }
            text.push(letter);
        }
    }
}

/// The cgroup that says most: of the one hierarchy, of systemd's own, then of any, that is not the root.
pub(crate) fn group_of(cgroups: &[u8]) -> &[u8] {
    let rank = |controllers: &[u8]| match controllers {
        b"" => 0,
        b"name=systemd" => 1,
        b"memory" => 2,
        _ => 3,
    };
    procfs::lines(cgroups)
        .filter_map(|line| {
            let mut parts = line.splitn(3, |b| *b == b':').skip(1);
            Some((rank(parts.next()?), parts.next()?))
        })
        .filter(|(_, path)| *path != b"/")
        .min_by_key(|(rank, _)| *rank)
        .map_or(b"/", |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_that_says_most() {
        let of = |text: &str| String::from_utf8(group_of(text.as_bytes()).to_vec()).unwrap();
        assert_eq!(of("0::/system.slice/nginx.service\n"), "/system.slice/nginx.service");
        assert_eq!(
            of("4:memory:/a\n1:name=systemd:/system.slice/b.service\n0::/\n"),
            "/system.slice/b.service"
        );
        assert_eq!(of("5:cpu,cpuacct:/\n4:memory:/docker/abc:d\n0::/\n"), "/docker/abc:d");
        assert_eq!(of("0::/\n"), "/");
        assert_eq!(of(""), "/");
        assert_eq!(of("rubbish\n\n:\n"), "/");
    }

    #[test]
    fn texts_are_cut_where_there_is_no_more_room() {
        let mut text = String::new();
        put(&mut text, "a\0日本".as_bytes(), 5);
        assert_eq!(text, "a 日");
        text.clear();
        put(&mut text, b"\xffx", 16);
        assert_eq!(text, "\u{fffd}x");
    }
}
