//! What this host is and what runs on it, found by looking: listening sockets → processes → their open log files
//! and their configuration. No configuration of toban's own is needed, and nothing is asked of the servers.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use toban_model::{Host, LogDialect, LogRole, LogSource, ProcessId, Service, ServiceKind, Supervisor};

use crate::procfs::{self, FdTarget, Process};
use crate::sockets::{self, Filter, States};
use crate::{Root, limits};

pub mod apache;
mod facts;
mod files;
mod logins;
pub mod nginx;
pub mod php_fpm;
mod said;
mod supervisor;

pub use files::ServerConfig;

/// Every process is looked into at least this often.
const ALL_EVERY: Duration = Duration::from_secs(60);

/// Looks at the whole host. What cannot be looked at is absent and stands in [`Host::blind`]; it never fails.
///
/// Costs some tens of milliseconds on a host with some hundreds of processes: every process's table of open files
/// is read once to find who has the listening sockets.
pub fn discover(root: &Root) -> Host {
    look(root, &mut Seen::default()).0
}

/// Looks again at what a host is known by (addresses, gateways, name servers) and at who is logged in at the services that
/// are known; at nothing else that runs.
pub fn refresh(root: &Root, host: &mut Host) {
    facts::add_addresses(root, host);
    facts::add_logins(root, host);
}

/// What one look leaves for the next: who had no listening socket among those that there were.
#[derive(Debug, Default)]
pub struct Seen {
    listening: HashSet<u64>,
    without: HashSet<ProcessId>,
    all_looked_at: Option<Instant>,
}

impl Seen {
    /// A listening socket that is new may be anybody's. One that was there can be given to a process that was there,
    /// too; that is seldom, and found within [`ALL_EVERY`].
    fn begin(&mut self, listening: HashSet<u64>, processes: &Processes) {
        let all = self.all_looked_at.is_none_or(|at| at.elapsed() >= ALL_EVERY);
        if all {
            self.all_looked_at = Some(Instant::now());
        }
        if all || !listening.is_subset(&self.listening) {
            self.without.clear();
        }
        self.without.retain(|id| processes.get(&id.pid).is_some_and(|process| process.id == *id));
        self.listening = listening;
    }
}

/// As [`discover`], again and again at less cost; with the processes that were seen.
pub fn look(root: &Root, seen: &mut Seen) -> (Host, Vec<Process>) {
    // What toban serves itself is none of the host's services.
    look_without(root, root.is_live().then(std::process::id), seen)
}

fn look_without(root: &Root, own: Option<u32>, seen: &mut Seen) -> (Host, Vec<Process>) {
    let mut host = facts::read(root);
    let processes = all_processes(root, &mut host.blind);
    let listeners = Listeners::find(root, &processes, own, seen, &mut host.blind);
    host.services = services(root, &processes, &listeners, &mut host);
    let known: Vec<PathBuf> =
        host.services.iter().flat_map(|s| &s.logs).map(|log| log.path.clone()).collect();
    host.service_logs = said::find(root, &processes, &known);
    facts::add_logins(root, &mut host);
    host.blind.sort();
    host.blind.dedup();
    (host, processes.into_values().collect())
}

/// The server that a program is, by its short name.
fn kind_of(comm: &str) -> ServiceKind {
    match comm {
        "apache2" | "httpd" | "httpd.worker" | "httpd.event" | "httpd-prefork" | "httpd-worker"
        | "httpd-event" => ServiceKind::Apache,
        "nginx" | "openresty" => ServiceKind::Nginx,
        "sshd" | "sshd-session" | "dropbear" => ServiceKind::Sshd,
        _ if comm.starts_with("php-fpm") => ServiceKind::PhpFpm,
        _ => ServiceKind::Other,
    }
}

type Processes = HashMap<u32, Process>;

fn all_processes(root: &Root, blind: &mut Vec<String>) -> Processes {
    let mut buffer = Vec::new();
    match procfs::pids(root) {
        Ok(pids) => pids
            .into_iter()
            .filter_map(|pid| Process::read(root, pid, &mut buffer).map(|process| (pid, process)))
            .collect(),
        Err(error) => {
            blind.push(format!("processes: could not {error}"));
            Processes::new()
        }
    }
}

/// The listening sockets and which processes have them.
#[derive(Default)]
struct Listeners {
    tcp: HashMap<u64, SocketAddr>,
    unix: HashMap<u64, PathBuf>,
    of: HashMap<u32, Vec<u64>>,
}

impl Listeners {
    fn find(
        root: &Root,
        processes: &Processes,
        own: Option<u32>,
        seen: &mut Seen,
        blind: &mut Vec<String>,
    ) -> Listeners {
        let mut found = Listeners::default();
        match sockets::tcp(
            root,
            &Filter { states: States::LISTEN, local_ports: Vec::new(), with_info: false },
        ) {
            Ok(sockets) => {
                let listening = sockets.list.into_iter().map(|socket| socket.connection);
                found.tcp = listening.map(|connection| (connection.inode, connection.local)).collect();
            }
            Err(error) => blind.push(format!("listening sockets: could not {error}")),
        }
        match sockets::unix_listeners(root) {
            Ok(sockets) => {
                found.unix = sockets.into_iter().map(|socket| (socket.inode, socket.path)).collect();
            }
            Err(error) => blind.push(format!("unix sockets: could not {error}")),
        }
        let mut hidden = 0;
        seen.begin(found.tcp.keys().chain(found.unix.keys()).copied().collect(), processes);
        for (pid, process) in processes {
            if Some(*pid) == own || seen.without.contains(&process.id) {
                continue;
            }
            let mut inodes = Vec::new();
            let readable = procfs::for_each_fd(root, *pid, |_, target| {
                if let FdTarget::Socket(inode) = target
                    && (found.tcp.contains_key(&inode) || found.unix.contains_key(&inode))
                {
                    inodes.push(inode);
                }
            });
            hidden += usize::from(!readable && process.state != 'Z');
            if inodes.is_empty() {
                if readable {
                    seen.without.insert(process.id);
                }
            } else {
                inodes.sort_unstable();
                inodes.dedup();
                found.of.insert(*pid, inodes);
            }
        }
        if hidden > 0 && root.is_live() && !rustix::process::geteuid().is_root() {
            blind.push(format!(
                "open files of {hidden} processes: permission denied; run as root to see their sockets"
            ));
        }
        found
    }
}

fn services(root: &Root, processes: &Processes, listeners: &Listeners, host: &mut Host) -> Vec<Service> {
    let children = children_of(processes);
    let mut masters: Vec<u32> = Vec::new();
    for (pid, process) in processes {
        let known = kind_of(&process.comm) != ServiceKind::Other;
        let serves = listeners
            .of
            .get(pid)
            .is_some_and(|inodes| known || inodes.iter().any(|inode| listeners.tcp.contains_key(inode)));
        // Without the right to see open files a known name has to do.
        if serves || known {
            let master = master_of(*pid, processes);
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
    }
    // A session of sshd or a stray child without any listener is no service, unless nothing can be seen at all.
    let seeing = !listeners.of.is_empty();
    masters.retain(|master| {
        !seeing || family(*master, processes, &children).iter().any(|pid| listeners.of.contains_key(pid))
    });
    let mut services: Vec<Service> = masters
        .into_iter()
        .filter_map(|master| service(root, master, processes, &children, listeners, host))
        .collect();
    // By kind and lowest port, so that ids do not change with pids.
    services.sort_by_key(|service| {
        let port = service.listens.iter().map(SocketAddr::port).min().unwrap_or(u16::MAX);
        (service.kind as u8, port, service.master.pid)
    });
    let mut used: HashMap<String, u32> = HashMap::new();
    for service in &mut services {
        let times = used.entry(service.id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            service.id = format!("{}-{times}", service.id);
        }
    }
    services
}

fn children_of(processes: &Processes) -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, process) in processes {
        children.entry(process.ppid).or_default().push(*pid);
    }
    children
}

/// The topmost ancestor that runs the same program.
fn master_of(pid: u32, processes: &Processes) -> u32 {
    let mut master = pid;
    // Pids do not form loops, but a tree read while it changes might.
    for _ in 0..64 {
        let Some(process) = processes.get(&master) else { break };
        match processes.get(&process.ppid) {
            Some(parent) if parent.comm == process.comm => master = process.ppid,
            _ => break,
        }
    }
    master
}

/// The master and its descendants that run the same program, the master first.
fn family(master: u32, processes: &Processes, children: &HashMap<u32, Vec<u32>>) -> Vec<u32> {
    let comm = processes.get(&master).map(|process| process.comm.as_str()).unwrap_or_default();
    let mut family = vec![master];
    let mut seen = HashSet::from([master]);
    let mut at = 0;
    while let Some(pid) = family.get(at).copied() {
        at += 1;
        let mut below: Vec<u32> = children.get(&pid).cloned().unwrap_or_default();
        below.retain(|child| {
            processes.get(child).is_some_and(|process| process.comm == comm) && seen.insert(*child)
        });
        below.sort_unstable();
        family.extend(below);
    }
    family
}

fn service(
    root: &Root,
    master: u32,
    processes: &Processes,
    children: &HashMap<u32, Vec<u32>>,
    listeners: &Listeners,
    host: &mut Host,
) -> Option<Service> {
    let process = processes.get(&master)?;
    let kind = kind_of(&process.comm);
    let pids = family(master, processes, children);
    let exe = procfs::exe(root, master).unwrap_or_else(|| PathBuf::from(&process.comm));
    let arguments = procfs::arguments(root, master);
    let config = match kind {
        ServiceKind::Apache => apache::read(
            root,
            &apache::Start {
                exe: exe.clone(),
                arguments: arguments.clone(),
                environment: procfs::environment(root, master),
            },
        ),
        ServiceKind::Nginx => nginx::read(root, &arguments, host.cores),
        ServiceKind::PhpFpm => php_fpm::read(root, &arguments, &exe),
        ServiceKind::Sshd | ServiceKind::Other => ServerConfig::default(),
    };
    let id = match kind {
        ServiceKind::Apache => "apache".to_owned(),
        ServiceKind::Nginx => "nginx".to_owned(),
        ServiceKind::PhpFpm => "php-fpm".to_owned(),
        ServiceKind::Sshd => "sshd".to_owned(),
        ServiceKind::Other => kebab(&process.comm),
    };
    host.blind.extend(config.notes.iter().map(|note| format!("{id}: {note}")));
    let files_of = |pid: &str| std::fs::read_link(root.at(format!("/proc/{pid}/ns/mnt"))).ok();
    if let (Some(its), Some(ours)) = (files_of(&master.to_string()), files_of("self"))
        && its != ours
    {
        // Its paths mean other files than ours do.
        host.blind.push(format!("{id}: runs in a mount namespace of its own (a container or PrivateTmp=)"));
    }

    let mut listens = Vec::new();
    let mut listens_unix = Vec::new();
    for inode in pids.iter().filter_map(|pid| listeners.of.get(pid)).flatten() {
        if let Some(address) = listeners.tcp.get(inode)
            && !listens.contains(address)
        {
            listens.push(*address);
        }
        if let Some(path) = listeners.unix.get(inode)
            && !listens_unix.contains(path)
        {
            listens_unix.push(path.clone());
        }
    }
    if listens.is_empty() && listens_unix.is_empty() {
        listens = config.listens.clone();
        listens_unix = config.listens_unix.clone();
    }
    listens.sort();
    listens_unix.sort();

    let mut logs = config.logs;
    let dialect = match kind {
        ServiceKind::Apache => LogDialect::Apache,
        ServiceKind::Nginx => LogDialect::Nginx,
        ServiceKind::PhpFpm => LogDialect::PhpFpm,
        _ => LogDialect::Unknown,
    };
    for (path, fd) in open_logs(root, &pids) {
        if logs.iter().any(|log| same_file(root, &log.path, &path)) {
            continue;
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_error = fd == 2 || name.contains("error");
        let role = if !is_error && name.contains("access") { LogRole::Access } else { LogRole::Error };
        // The configuration does not know it, so only an error log's own form may be assumed.
        let dialect = if is_error { dialect } else { LogDialect::Unknown };
        logs.push(LogSource { path, role, dialect, format: None, remoteip: false });
    }

    // Threads in a child mean that one process serves many connections, where no configuration says it.
    let threads = pids.get(1).and_then(|child| processes.get(child)).map_or(1, |child| child.threads);
    let one_connection_per_process = config.one_connection_per_process.unwrap_or(match kind {
        ServiceKind::Apache => threads == 1,
        ServiceKind::PhpFpm => true,
        _ => false,
    });
    Some(Service {
        id,
        kind,
        master: process.id,
        supervisor: supervisor::of(root, kind, master, &exe),
        pids,
        exe,
        listens,
        listens_unix,
        worker_limit: config.worker_limit,
        worker_limit_from: config.worker_limit_from,
        trusted_proxies: config.trusted_proxies,
        backends: config.backends,
        logs,
        config: config.files,
        one_connection_per_process,
    })
}

/// Letters, digits and single hyphens: fit for the first part of a vital's name.
fn kebab(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.ends_with('-') && !out.is_empty() {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "server".to_owned() } else { out.to_owned() }
}

/// Two names of one file, as logs behind a symbolic link have.
fn same_file(root: &Root, one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    if one == other {
        return true;
    }
    let stat = |path: &Path| std::fs::metadata(root.at(path)).ok().map(|meta| (meta.dev(), meta.ino()));
    stat(one).is_some_and(|found| stat(other) == Some(found))
}

/// Regular files that the processes have open for appending: their logs. Workers share the master's, so a few
/// processes are enough.
fn open_logs(root: &Root, pids: &[u32]) -> Vec<(PathBuf, u32)> {
    const LOOKED_AT: usize = 4;
    const O_APPEND: u64 = 0o2000;
    let mut logs: Vec<(PathBuf, u32)> = Vec::new();
    let mut buffer = Vec::new();
    for pid in pids.iter().take(LOOKED_AT) {
        let mut open = Vec::new();
        procfs::for_each_fd(root, *pid, |fd, target| {
            if let FdTarget::Path(path) = target {
                open.push((path, fd));
            }
        });
        for (path, fd) in open {
            let text = path.to_string_lossy();
            if ["/dev/", "/proc/", "/sys/", "/memfd:", "/SYSV"].iter().any(|prefix| text.starts_with(prefix))
                || text.ends_with(" (deleted)")
                || logs.iter().any(|(known, _)| *known == path)
                || logs.len() >= limits::LOGS_MAX
            {
                continue;
            }
            let appends =
                root.read(format!("/proc/{pid}/fdinfo/{fd}"), &mut buffer).ok().is_some_and(|bytes| {
                    procfs::lines(bytes)
                        .find_map(|line| line.strip_prefix(b"flags:"))
                        .and_then(|value| {
                            u64::from_str_radix(std::str::from_utf8(value).ok()?.trim(), 8).ok()
                        })
                        .is_some_and(|flags| flags & O_APPEND != 0)
                });
            if appends && root.at(&path).is_file() {
                logs.push((path, fd));
            }
        }
    }
    logs
}

/// The ports that a service listens on.
pub(crate) fn ports(service: &Service) -> Vec<u16> {
    let mut ports: Vec<u16> = service.listens.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Whether this service's supervisor can restart it by name, rather than only by its command line.
pub fn is_supervised(service: &Service) -> bool {
    service.supervisor != Supervisor::CommandLine
}

#[cfg(test)]
pub(crate) mod fixtures {
    use super::*;

    /// A fresh tree with Debian 12's apache2 (mpm_prefork, proxy_fcgi and php8.2-fpm enabled) in `/etc`.
    pub(crate) fn debian_12<T>(look: impl FnOnce(&Root) -> T) -> T {
        let root = Root::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/debian-12"));
        look(&root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_to_listen_is_found_by_a_look_that_remembers() {
        let mut seen = Seen::default();
        let mut listening = |address: SocketAddr| -> Vec<u32> {
            let (host, _) = look_without(&Root::host(), None, &mut seen);
            let services = host.services.into_iter().filter(|service| service.listens.contains(&address));
            services.flat_map(|service| service.pids).collect()
        };
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let me = std::process::id();
        assert!(listening(address).contains(&me));
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(listening(other.local_addr().unwrap()).contains(&me));

        // A process that is new, with a socket that is not.
        let inherited = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
        let mut child = std::process::Command::new("sleep").arg("60").stdin(inherited).spawn().unwrap();
        drop(listener);
        let found = [listening(address), listening(address)];
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.iter().all(|pids| pids.contains(&child.id()) && !pids.contains(&me)), "{found:?}");
        assert!(listening(address).is_empty());
    }

    #[test]
    fn who_had_no_listener_is_left_alone_until_something_new_listens() {
        let process = |pid, start_ticks| {
            let stat =
                format!("{pid} (x) S 1 1 1 0 -1 0 0 0 0 0 7 3 0 0 20 0 1 0 {start_ticks} 1000000 250 0");
            (pid, Process::parse(stat.as_bytes()).unwrap())
        };
        let processes: Processes = [process(7, 1), process(8, 1)].into();
        let mut seen = Seen::default();
        let mut left_alone = |listening: &[u64], processes: &Processes| {
            seen.begin(listening.iter().copied().collect(), processes);
            let alone = seen.without.len();
            seen.without.extend(processes.values().map(|process| process.id));
            alone
        };
        assert_eq!(left_alone(&[1, 2], &processes), 0);
        assert_eq!(left_alone(&[1, 2], &processes), 2);
        assert_eq!(left_alone(&[2], &processes), 2, "one less tells nothing of who is left");
        assert_eq!(left_alone(&[2, 3], &processes), 0);
        assert_eq!(left_alone(&[2, 3], &[process(8, 2)].into()), 0, "another process of the same number");
        assert_eq!(left_alone(&[2, 3], &processes), 0, "nobody of those that were not there");
        assert_eq!(left_alone(&[2, 3], &processes), 2);
        seen.all_looked_at = Instant::now().checked_sub(ALL_EVERY);
        seen.begin([2, 3].into(), &processes);
        assert!(seen.without.is_empty(), "everybody is looked into from time to time");
    }

    #[test]
    fn names() {
        assert_eq!(kebab("(sd-pam) x_y"), "sd-pam-x-y");
        assert_eq!(kebab("é"), "server");
        assert_eq!(kind_of("php-fpm8.2"), ServiceKind::PhpFpm);
        assert_eq!(kind_of("httpd"), ServiceKind::Apache);
    }

    #[test]
    fn an_empty_root_is_blind_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let host = discover(&Root::new(dir.path()));
        assert!(host.services.is_empty());
        assert!(host.blind.iter().any(|note| note.contains("processes")), "{:?}", host.blind);
    }

    #[test]
    fn this_host() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (host, _) = look_without(&Root::host(), None, &mut Seen::default());
        assert!(host.cores > 0 && host.memory_bytes > 0 && !host.name.is_empty());
        assert!(host.own.contains(&"127.0.0.1".parse().unwrap()), "{:?}", host.own);
        let me = host.services.iter().find(|service| service.listens.contains(&address)).unwrap();
        assert!(me.pids.contains(&std::process::id()));
        assert_eq!(me.kind, ServiceKind::Other);
        let without = discover(&Root::host());
        assert!(!without.services.iter().any(|service| service.listens.contains(&address)));
    }
}
