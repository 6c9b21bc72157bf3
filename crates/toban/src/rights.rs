//! What each of the two processes may do: the watch gives away every right to change the host before it reads a line
//! that a stranger wrote, and the acting part keeps what its actions need.
//!
//! The watch keeps the capabilities to read (any file, any process' tables, the kernel log) and to be on time, becomes
//! the user `toban` where the host has one, can never gain a right again, and may not call what reaches into another
//! process, starts a program, or changes the system (capabilities(7), seccomp(2)). Landlock is not used: it would also
//! keep it from *looking* at other processes' memory maps and open files, which is what it is for.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, lchown};
use std::path::Path;

use anyhow::Context as _;
use rustix::process::{DumpableBehavior, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use toban_model::Text;
use toban_record::{BOOK, Record};
use toban_views::{Process, Role};

/// Whom the watch becomes where there is such a user: `useradd --system toban`.
const USER: &str = "toban";

const WATCH: CapabilitySet = CapabilitySet::DAC_READ_SEARCH
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYSLOG)
    // For the flight recorder: locked memory, its turn before others, and to be the last that is ended.
    .union(CapabilitySet::IPC_LOCK)
    .union(CapabilitySet::SYS_NICE)
    .union(CapabilitySet::SYS_RESOURCE);

/// To drop packets and end sockets, to stop processes, to see how a service was started, and to start it as its user.
/// What it starts (an init script) has root's usual rights.
const ACTING: CapabilitySet = CapabilitySet::NET_ADMIN
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    // The book's files belong to the group that may read them.
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::SYS_RESOURCE);

/// Calls that the watch has no use for: into other processes, new programs, the system's state, and around files' names.
const DENIED: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_io_uring_setup,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
];

/// Where the record keeps the agent's process numbers.
const PROCESSES: &str = "agent.processes";

/// Lets `toban status` find the agent's processes: this one, and the one that acts for it.
pub(crate) fn note_processes(record: &Record, with_parent: bool) -> Result<(), toban_record::Error> {
    let parent = rustix::process::getppid().filter(|_| with_parent);
    let numbers =
        [Some(rustix::process::getpid()), parent].map(|pid| pid.map(|pid| pid.as_raw_nonzero().get()));
    let json = serde_json::to_vec(&numbers).unwrap_or_default();
    record.put_state(PROCESSES, &json)
}

/// What each of the agent's processes holds, as the kernel says; none where no agent runs.
pub(crate) fn held_by_agent(record: &Record) -> Vec<Process> {
    let json = record.state(PROCESSES).ok().flatten().unwrap_or_default();
    let numbers: [Option<i32>; 2] = serde_json::from_slice(&json).unwrap_or_default();
    let roles = [Role::Watch, Role::Acting];
    roles.into_iter().zip(numbers).filter_map(|(role, number)| process(role, number?)).collect()
}

fn process(role: Role, number: i32) -> Option<Process> {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()
    };
    // Another program has that number by now.
    if !field("Name")?.starts_with(env!("CARGO_PKG_NAME")) {
        return None;
    }
    let effective = u64::from_str_radix(field("CapEff")?, 16).ok()?;
    let names = CapabilitySet::from_bits_truncate(effective).iter_names();
    Some(Process {
        role,
        pid: number.unsigned_abs(),
        uid: field("Uid")?.parse().ok()?,
        capabilities: names.map(|(name, _)| format!("cap_{}", name.to_lowercase())).collect(),
        no_new_privileges: field("NoNewPrivs") == Some("1"),
        calls_filtered: field("Seccomp") == Some("2"),
    })
}

/// Gives away what the watch does not need. Call it before the first thread is started: a thread has rights of its own.
///
/// `with_parent`: it ends with the process that started it.
pub(crate) fn watch_only(state: &Path, with_parent: bool) -> anyhow::Result<Text> {
    if with_parent {
        // Started by the kernel's link to the program, it would be called after that.
        rustix::thread::set_name(c"toban-watch").context("could not take a name")?;
    }
    let root = rustix::process::geteuid().is_root();
    let user = if root { account(USER) } else { None };
    give_away(state, root, user, with_parent)?;
    let filtered = filter_calls();
    let said = match (root, user) {
        (false, _) => Text::fixed(
            "it runs without root's rights and sees what its user may see",
            "root 権限なしで動いているため、このユーザーに見える範囲だけを監視します",
        ),
        (true, Some(_)) => Text::fixed(
            "the watch runs as user toban and can change nothing outside its record",
            "監視プロセスはユーザー toban で動き、記録以外は何も変更できません",
        ),
        (true, None) => Text::fixed(
            "the watch gave its capabilities away and is still root towards files; with a user for it it would not be: \
             useradd --system toban",
            "監視プロセスはケーパビリティを手放していますが、ファイルに対しては root のままです。\
             専用ユーザーを作ると分離されます: useradd --system toban",
        ),
    };
    // Not every kernel and processor can; what was given away before holds all the same.
    Ok(match filtered {
        Ok(()) => said,
        Err(error) => Text::new(
            format!("{}; system calls are not filtered: {error}", said.en),
            format!("{}。システムコールの制限はできませんでした: {error}", said.ja),
        ),
    })
}

fn give_away(state: &Path, root: bool, user: Option<Account>, with_parent: bool) -> anyhow::Result<()> {
    rustix::thread::set_no_new_privs(true).context("could not give up new rights")?;
    if root {
        // Made or handed over while that is still possible.
        prepare(state, user).with_context(|| format!("could not prepare {}", state.display()))?;
        keep_only(WATCH, user).context("could not give root's rights away")?;
    }
    if with_parent {
        // If it is gone already, the line to it has ended, which is noticed, too.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    Ok(())
}

/// Has the kernel refuse the calls that the watch has no use for.
fn filter_calls() -> anyhow::Result<()> {
    let rules = DENIED.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let errno = u32::try_from(libc::EPERM).unwrap_or(1);
    let filter: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into()?,
    )?
    .try_into()?;
    Ok(seccompiler::apply_filter(&filter)?)
}

/// Gives away what the acting part does not need.
pub(crate) fn act_only(state: &Path) -> anyhow::Result<()> {
    // It is small, and without it nothing can be done about memory that is out.
    let _ = toban_collect::priority::end_last();
    if rustix::process::geteuid().is_root() {
        prepare(state, account(USER)).with_context(|| format!("could not prepare {}", state.display()))?;
        // What it starts needs the rest, so the bounding set stays.
        let sets = CapabilitySets {
            effective: ACTING & held()?,
            permitted: ACTING & held()?,
            inheritable: CapabilitySet::empty(),
        };
        rustix::thread::set_capabilities(None, sets).context("could not give rights away")?;
    }
    Ok(())
}

/// A user's number and its group's.
type Account = (u32, u32);

/// Of `/etc/passwd`: a system user for a daemon is made there.
fn account(name: &str) -> Option<Account> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2).map(|number| number.parse().ok());
    let (user, group) = (numbers.next()??, numbers.next()??);
    (user != 0).then_some((user, group))
}

fn held() -> io::Result<CapabilitySet> {
    Ok(rustix::thread::capabilities(None)?.permitted)
}

/// In this order: the bounding set needs a right that goes, and a change of the user would take all of them.
fn keep_only(wanted: CapabilitySet, user: Option<Account>) -> io::Result<()> {
    let wanted = wanted & held()?;
    for capability in CapabilitySet::all().iter().filter(|capability| !wanted.contains(*capability)) {
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // One that this kernel does not know.
            Err(rustix::io::Errno::INVAL) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some((user, group)) = user {
        let (user, group) = (rustix::process::Uid::from_raw(user), rustix::process::Gid::from_raw(group));
        rustix::thread::set_keep_capabilities(true)?;
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(group, group, group)?;
        rustix::thread::set_thread_res_uid(user, user, user)?;
    }
    let sets = CapabilitySets { effective: wanted, permitted: wanted, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    // Its own files under /proc belong to it again: it asks there to be ended last.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    Ok(())
}

/// The record's directory is root's, with the sticky bit: the watch may keep its own files there, and can neither replace
/// the book nor put something in its place. It may read the book.
fn prepare(state: &Path, user: Option<Account>) -> io::Result<()> {
    let book = state.join(BOOK);
    DirBuilder::new().recursive(true).mode(0o700).create(&book)?;
    let Some((user, group)) = user else { return Ok(()) };
    for (dir, mode) in [(state, 0o1770), (&book, 0o750)] {
        lchown(dir, Some(0), Some(group))?;
        std::fs::set_permissions(dir, Permissions::from_mode(mode))?;
    }
    for entry in std::fs::read_dir(&book)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_file() {
            lchown(&path, Some(0), Some(group))?;
            std::fs::set_permissions(&path, Permissions::from_mode(0o640))?;
        }
    }
    hand_over(state, &book, (user, group))
}

/// What a run as root left is the watch's from now on. Nothing that it has already is looked into: it could have put
/// links there.
fn hand_over(dir: &Path, except: &Path, (user, group): Account) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = path.symlink_metadata()?;
        if path == except || metadata.uid() != 0 || metadata.is_symlink() {
            continue;
        }
        if metadata.is_dir() {
            hand_over(&path, except, (user, group))?;
        }
        lchown(&path, Some(user), Some(group))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::process::Command;

    use rustix::process::Pid;
    use toban_respond::Nftables;

    use super::*;

    /// In a thread of its own, since the rights are a thread's: it tries whatever would change something, and what it has
    /// to be able to read.
    #[test]
    fn who_takes_the_watch_over_can_look_and_change_nothing() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root has rights to give away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let state = dir.path().join("state");
        let secret = dir.path().join("secret");
        fs::write(&secret, "log").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        drop(toban_record::Record::open(&state).unwrap());
        // The acting part has it open as long as there is a watch.
        let kept = toban_record::Book::open(&state).unwrap();
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let of_other = format!("/proc/{}", other.id());
        let tried = std::thread::spawn(move || {
            give_away(&state, true, Some((64_321, 64_321)), false).unwrap();
            filter_calls().unwrap();
            let book = state.join(BOOK).join("book.db");
            let denied = |what: &str, done: io::Result<()>| {
                let error = done.expect_err(what);
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{what}: {error}");
            };
            let writable = |path: &Path| OpenOptions::new().write(true).open(path).map(drop);
            denied("another's file", writable(&secret));
            denied("a new file elsewhere", fs::write(dir.path().join("new"), "x"));
            denied("the system's settings", writable(Path::new("/etc/passwd")));
            denied("the kernel's settings", writable(Path::new("/proc/sys/kernel/hostname")));
            denied("the book", writable(&book));
            denied("the book's removal", fs::remove_file(&book));
            denied("another book", fs::rename(state.join(BOOK), state.join("old")));
            denied("a log of the book's", fs::write(state.join(BOOK).join("book.db-wal"), "x"));
            let another = Path::new(&of_other);
            denied("another's memory", writable(&another.join("mem")));
            denied("another's place in the queue of the dying", writable(&another.join("oom_score_adj")));
            denied("a signal", rustix::process::kill_process(Pid::INIT, Signal::USR1).map_err(Into::into));
            denied("a program", Command::new("true").status().map(drop));
            denied("root", rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).map_err(Into::into));
            let all = CapabilitySets {
                effective: CapabilitySet::all(),
                permitted: CapabilitySet::all(),
                inheritable: CapabilitySet::empty(),
            };
            denied("capabilities", rustix::thread::set_capabilities(None, all).map_err(Into::into));
            assert!(matches!(Nftables::open(), Err(toban_respond::Error::NoRights { .. })));

            assert_eq!(fs::read_to_string(&secret).unwrap(), "log");
            let look = |name: &str| fs::read(another.join(name)).unwrap();
            assert!(
                !look("maps").is_empty() && !look("environ").is_empty(),
                "where a server keeps its scoreboard"
            );
            assert!(fs::read_dir(another.join("fd")).unwrap().next().is_some(), "who holds which socket");
            fs::File::open(another.join("mem")).unwrap();
            assert!(toban_record::Book::open_to_read(&state).unwrap().is_some());
            toban_record::Record::open(&state).unwrap().put_state("k", b"v").unwrap();
        })
        .join();
        drop(kept);
        other.kill().unwrap();
        other.wait().unwrap();
        tried.unwrap();
    }

    #[test]
    fn links_in_the_record_are_not_followed() {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: only root may hand files over");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (state, outside) = (dir.path().join("state"), dir.path().join("outside"));
        fs::create_dir_all(&state).unwrap();
        fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, state.join("frames")).unwrap();
        fs::write(state.join("record.db"), "").unwrap();
        prepare(&state, Some((64_321, 64_321))).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        assert_eq!([owner(&outside), owner(&state.join("record.db")), owner(&state)], [0, 64_321, 0]);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o1770);
    }
}
