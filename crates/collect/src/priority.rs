//! What keeps the recorder running while its host drowns, and lets a single answer come there: locked memory, the
//! kernel's last choice when memory is out, more open files, and a turn on the processor before everybody else's.
//!
//! Each is tried, and where it is not permitted the next best is; what is missing then is said.

use std::io;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};
use toban_model::Text;

/// Of the kernel's range to 1000. Not the lowest: should this program be what ate the memory, it has to be ended.
const OOM_SCORE: &str = "-900";
/// proc_pid_oom_score_adj(5).
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";
/// The lowest real-time priority but one: above all ordinary programs, below whoever needs real time in earnest.
const PRIORITY: u8 = 2;
const NICE: i32 = -10;
/// Where sessions share the processor, the nice value of this one's (sched(7)).
const AUTOGROUP: &str = "/proc/self/autogroup";
/// Handles that this process asks to be allowed: one for each process, and one for each log.
const HANDLES: u64 = 16_384;
/// The capability that lets a process lock any amount of memory (linux/capability.h).
const CAP_IPC_LOCK: u32 = 14;

/// Shields this process; returns what was not permitted.
pub fn shield() -> Vec<Text> {
    let mut notes = Vec::new();
    let handles = getrlimit(Resource::Nofile);
    let wanted = handles.maximum.map_or(HANDLES, |maximum| maximum.min(HANDLES));
    if handles.current.is_some_and(|current| current < wanted) {
        // With fewer, processes are opened anew each time: slower, and just as right.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..handles });
    }
    if let Err(error) = end_last() {
        notes.push(Text::new(
            format!("could not ask to be ended last when memory is out: {error}"),
            format!("メモリ不足のとき最後に終了されるようにはできませんでした: {error}"),
        ));
    }
    if let Err(error) = lock_memory() {
        notes.push(Text::new(
            format!("could not lock its memory: {error}; give it CAP_IPC_LOCK or an unlimited RLIMIT_MEMLOCK"),
            format!(
                "メモリを固定できませんでした: {error}。CAP_IPC_LOCK を与えるか RLIMIT_MEMLOCK を無制限にしてください"
            ),
        ));
    }
    notes
}

/// Asks the kernel to end this process after all others when memory is out.
pub fn end_last() -> io::Result<()> {
    std::fs::write(OOM_SCORE_ADJ, OOM_SCORE)
}

/// What was asked for in haste, given back when this is dropped: what the program starts later shall not inherit it.
#[derive(Debug)]
pub struct Haste {
    session: Option<String>,
    nice: i32,
    oom_score: Option<String>,
}

/// Lets the answer of a command come on a host that drowns, as far as that is permitted: its turn before ordinary
/// programs', and no page of it thrown out again once it was read. Call it before threads are started: they inherit
/// it. It is for seconds, so it asks for no real-time priority.
pub fn hasten() -> Haste {
    let nice = rustix::process::getpriority_process(None).unwrap_or(0);
    let _ = rustix::process::setpriority_process(None, NICE);
    // The caller's shell is in the same session and shall not keep it.
    let session = std::fs::read_to_string(AUTOGROUP).ok().and_then(|text| {
        let (_, nice) = text.trim_end().rsplit_once(" nice ")?;
        std::fs::write(AUTOGROUP, NICE.to_string()).is_ok().then(|| nice.to_owned())
    });
    let oom_score = std::fs::read_to_string(OOM_SCORE_ADJ).ok();
    let _ = end_last();
    let _ = lock_memory();
    Haste { session, nice, oom_score }
}

impl Drop for Haste {
    fn drop(&mut self) {
        let _ = rustix::process::setpriority_process(None, self.nice);
        for (place, before) in [(AUTOGROUP, &self.session), (OOM_SCORE_ADJ, &self.oom_score)] {
            if let Some(before) = before {
                let _ = std::fs::write(place, before.trim_end());
            }
        }
    }
}

/// Locks what is in memory now, and what comes into it later when it does: not what is only reserved.
fn lock_memory() -> io::Result<()> {
    // With a limit, what is asked for beyond it would be refused from then on, and nothing survives that.
    if getrlimit(Resource::Memlock).current.is_some() && !has_capability(CAP_IPC_LOCK) {
        return Err(rustix::io::Errno::PERM.into());
    }
    Ok(mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)?)
}

fn has_capability(capability: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << capability) != 0)
}

/// Gives this thread its turn before others: in real time, or else by a lower nice value. The threads that it starts
/// inherit it.
pub fn raise_thread() -> Option<Text> {
    let real_time = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let Ok(priority) = ThreadPriorityValue::try_from(PRIORITY) else { return None };
    let Err(error) = set_thread_priority_and_policy(
        thread_native_id(),
        ThreadPriority::Crossplatform(priority),
        real_time,
    ) else {
        return None;
    };
    // Where sessions share the processor among themselves, a nice value counts only within one; the session has its own.
    let _ = std::fs::write(AUTOGROUP, NICE.to_string());
    let nicer = rustix::process::setpriority_process(None, NICE);
    let error = match error {
        thread_priority::Error::OS(code) => io::Error::from_raw_os_error(code).to_string(),
        other => format!("{other:?}"),
    };
    Some(match nicer {
        Ok(()) => Text::new(
            format!("no real-time priority ({error}): it runs at nice {NICE}, and may be late in a storm"),
            format!(
                "リアルタイム優先度が得られず ({error})、nice {NICE} で動きます。高負荷時に遅れることがあります"
            ),
        ),
        Err(_) => Text::new(
            format!("no higher priority ({error}): in a storm it will be late; give it CAP_SYS_NICE"),
            format!(
                "優先度を上げられませんでした ({error})。高負荷時に遅れます。CAP_SYS_NICE を与えてください"
            ),
        ),
    })
}

/// Takes the priority that it inherited off this thread: what it does can wait.
pub fn ordinary_thread() {
    use thread_priority::NormalThreadSchedulePolicy::Other;
    let ordinary = ThreadSchedulePolicy::Normal(Other);
    if thread_priority::thread_schedule_policy().is_ok_and(|policy| policy != ordinary) {
        let _ = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, ordinary);
        let _ = rustix::process::setpriority_process(None, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The scheduling policy of this thread: field 41 of its `stat`; 0 is the ordinary one, 2 round robin.
    fn policy() -> u32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().nth(38).unwrap().parse().unwrap()
    }

    #[test]
    fn haste_is_given_back() {
        std::thread::spawn(|| {
            let nice = || rustix::process::getpriority_process(None).unwrap();
            let before = nice();
            let haste = hasten();
            if nice() == before {
                println!("skipped: no right to a turn before others");
            }
            drop(haste);
            assert_eq!(nice(), before);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_is_raised_and_lowered_again() {
        std::thread::spawn(|| {
            assert_eq!(policy(), 0);
            match raise_thread() {
                None => {
                    assert_eq!(policy(), 2);
                    let inherited = std::thread::spawn(|| {
                        let inherited = policy();
                        ordinary_thread();
                        (inherited, policy(), rustix::process::getpriority_process(None).unwrap())
                    });
                    assert_eq!(inherited.join().unwrap(), (2, 0, 0));
                }
                Some(note) => println!("skipped: {}", note.en),
            }
        })
        .join()
        .unwrap();
        assert_eq!(policy(), 0, "only the thread itself");
    }
}
