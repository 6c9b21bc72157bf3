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
use toban_record::BOOK;

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

/// Gives away what the watch does not need. Call it before the first thread is started: a thread has rights of its own.
///
/// `with_parent`: it ends with the process that started it.
pub(crate) fn watch_only(state: &Path, with_parent: bool) -> anyhow::Result<Text> {
    rustix::thread::set_no_new_privs(true).context("could not give up new rights")?;
    let root = rustix::process::geteuid().is_root();
    let user = if root { account(USER) } else { None };
    if root {
        // Made or handed over while that is still possible.
        prepare(state, user).with_context(|| format!("could not prepare {}", state.display()))?;
        keep_only(WATCH, user).context("could not give root's rights away")?;
    }
    if with_parent {
        // If it is gone already, the line to it has ended, which is noticed, too.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    let rules = DENIED.iter().map(|call| (*call, Vec::new())).collect::<BTreeMap<_, _>>();
    let errno = u32::try_from(libc::EPERM).unwrap_or(1);
    let filter: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        std::env::consts::ARCH.try_into().context("no filter of calls for this processor")?,
    )
    .and_then(TryInto::try_into)
    .context("could not make the filter of calls")?;
    seccompiler::apply_filter(&filter).context("could not set the filter of calls")?;
    Ok(match (root, user) {
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
    })
}

/// Gives away what the acting part does not need.
pub(crate) fn act_only(state: &Path) -> anyhow::Result<()> {
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
