//! What there is only so much of and who has it, read in a thread of its own: to ask a file system or to look through
//! a directory can take as long as its disk does.
//!
//! The noun is the [`Reader`]: it is asked for a look and answers when it has one. Cheap numbers are read in every
//! look; who holds something is looked up only while little of it is left, within fixed times and counts.

mod databases;
mod handles;
mod links;
mod places;
mod ports;
mod space;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use toban_model::{Holdings, Owner, Time, unit_name, unit_of};

use crate::procfs::{self, Process};
use crate::{Root, priority};

/// Looks, one after the other, each when it is asked for.
#[derive(Debug)]
pub struct Reader {
    asked: SyncSender<(Time, Instant)>,
    answers: Receiver<Holdings>,
    under_way: bool,
}

impl Reader {
    /// Begins a thread that waits for questions; it ends with the reader, or when what it waits for answers.
    pub fn start(root: Root) -> Result<Reader, crate::Error> {
        let (asked, questions) = sync_channel::<(Time, Instant)>(1);
        let (answer, answers) = sync_channel(1);
        let run = move || {
            priority::ordinary_thread();
            let mut eye = Eye::default();
            for (now, asked) in questions {
                if answer.send(eye.look(&root, now + asked.elapsed())).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new()
            .name("toban-holdings".into())
            .stack_size(512 << 10)
            .spawn(run)
            .map_err(|source| crate::Error::Thread { what: "holdings", source })?;
        Ok(Reader { asked, answers, under_way: false })
    }

    /// Asks for a look at what is at `now`; nothing while one is under way.
    pub fn ask(&mut self, now: Time) {
        if !self.under_way {
            self.under_way = self.asked.try_send((now, Instant::now())).is_ok();
        }
    }

    /// The look that was asked for, if it comes within so long.
    pub fn take(&mut self, wait: Duration) -> Option<Holdings> {
        if !self.under_way {
            return None;
        }
        let answer = if wait.is_zero() {
            self.answers.try_recv().map_err(|error| error == TryRecvError::Disconnected)
        } else {
            self.answers.recv_timeout(wait).map_err(|error| error == RecvTimeoutError::Disconnected)
        };
        match answer {
            Ok(found) => {
                self.under_way = false;
                Some(found)
            }
            // A thread that panicked answers no more, and is not asked again.
            Err(_) => None,
        }
    }
}

/// What one look leaves for the next.
#[derive(Default)]
struct Eye {
    space: space::Space,
    handles: handles::Limits,
    links: links::Links,
    others: databases::Others,
}

impl Eye {
    fn look(&mut self, root: &Root, now: Time) -> Holdings {
        let pids = procfs::pids(root).unwrap_or_default();
        let mut found = Holdings { at: now, ..Holdings::default() };
        found.filesystems = self.space.look(root, &pids, now);
        self.handles.look(root, &pids, &mut found);
        found.tracked = ports::tracked(root);
        found.ports = ports::ephemeral(root, &pids);
        found.databases = databases::look(root, &pids, &mut self.others);
        self.links.look(root, &pids, &mut found);
        found
    }
}

/// A process by its number, as people know it.
fn owner(root: &Root, pid: u32) -> Option<Owner> {
    let mut buffer = Vec::new();
    let process = Process::read(root, pid, &mut buffer)?;
    let groups = root.read(format!("/proc/{pid}/cgroup"), &mut buffer).unwrap_or_default();
    let group = String::from_utf8_lossy(crate::processes::group_of(groups)).into_owned();
    let unit = unit_of(&group);
    // Outside of every unit the whole path comes back.
    let of_unit = [".service", ".scope"].iter().any(|kind| unit.ends_with(kind));
    let unit = unit_name(unit).filter(|_| of_unit);
    Some(Owner { process: process.id, comm: process.comm, unit })
}

/// A directory to be read.
fn open_dir(path: &std::path::Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}
