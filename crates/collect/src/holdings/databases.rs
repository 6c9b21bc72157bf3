//! A database's connections against its `max_connections`: counted at its sockets, the limit read from its
//! configuration. Nothing is asked of the database: it would need a connection.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use toban_model::{Connection, Database, DatabaseClient, Owner, TcpState};

use super::owner;
use super::ports::programs;
use crate::procfs::{self, FdTarget, Process};
use crate::sockets::{self, Filter, States};
use crate::{Root, limits};

/// From this part of the limit on it is looked up who has them.
const NEAR: f64 = 0.8;
const CLIENTS_TOLD_MAX: usize = 6;
const DATABASES_MAX: usize = 4;
const INCLUDES_MAX: usize = 64;
/// What a server has without a setting: mysqld's and mariadbd's, and PostgreSQL's.
const MYSQL_DEFAULT: u64 = 151;
const POSTGRESQL_DEFAULT: u64 = 100;

/// Processes that are no database, with when they were found not to be, and whether that was for the second time: names
/// change seldom, but a process that was just begun has its parent's.
#[derive(Default)]
pub(super) struct Others(HashMap<u32, (Instant, bool)>);

/// A number is given anew and a program can be exchanged, so they are asked again.
const OTHER_STANDS: Duration = Duration::from_secs(60);

/// The databases among these processes.
pub(super) fn look(root: &Root, pids: &[u32], others: &mut Others) -> Vec<Database> {
    let mut buffer = Vec::new();
    let mut all = Vec::new();
    others.0.retain(|_, (found, _)| found.elapsed() < OTHER_STANDS);
    for pid in pids {
        let before = others.0.get(pid).map(|(_, again)| *again);
        if before == Some(true) {
            continue;
        }
        let Ok(comm) = root.read(format!("/proc/{pid}/comm"), &mut buffer) else { continue };
        let name = match comm.trim_ascii() {
            b"mariadbd" => "mariadb",
            b"mysqld" => "mysql",
            b"postgres" => "postgresql",
            _ => {
                others.0.insert(*pid, (Instant::now(), before.is_some()));
                continue;
            }
        };
        // PostgreSQL's first process has children of the same name, one for each connection.
        let Some(process) = Process::read(root, *pid, &mut buffer) else { continue };
        let of_same =
            Process::read(root, process.ppid, &mut buffer).is_some_and(|parent| parent.comm == process.comm);
        if !of_same && all.len() < DATABASES_MAX {
            all.extend(database(root, pids, *pid, name));
        }
    }
    all
}

fn database(root: &Root, pids: &[u32], pid: u32, name: &str) -> Option<Database> {
    let postgresql = name == "postgresql";
    let arguments = procfs::arguments(root, pid);
    let (limit, limit_from) =
        if postgresql { postgresql_limit(root, pid, &arguments) } else { mysql_limit(root, &arguments) };
    let mut buffer = Vec::new();
    let mut own: HashSet<u64> = HashSet::new();
    let children = if postgresql { procfs::children(root, pid, &mut buffer) } else { Vec::new() };
    for pid in std::iter::once(pid).chain(children) {
        procfs::for_each_fd(root, pid, |_, target| {
            if let FdTarget::Socket(inode) = target {
                own.insert(inode);
            }
        });
    }
    let ends = Ends::of(root, &own)?;
    let used = (ends.tcp.len() + ends.unix.len()) as u64;
    // More than that cannot be: it was set while the server runs.
    let believed = Some(limit).filter(|limit| used <= limit + 1);
    let near = believed.is_some_and(|limit| used as f64 >= NEAR * limit as f64);
    Some(Database {
        name: name.to_owned(),
        owner: owner(root, pid)?,
        used,
        limit: believed,
        limit_from,
        clients: if near { ends.clients(root, pids) } else { Vec::new() },
        full_since: None,
    })
}

/// The database's ends of its connections.
pub(super) struct Ends {
    pub(super) tcp: Vec<Connection>,
    /// The other ends' inodes; 0 where the kernel does not tell.
    unix: Vec<u64>,
}

impl Ends {
    pub(super) fn of(root: &Root, own: &HashSet<u64>) -> Option<Ends> {
        let filter = Filter { states: States::LISTEN, local_ports: Vec::new(), with_info: false };
        let listeners = sockets::tcp_connections(root, &filter).ok()?;
        let mut ports: Vec<u16> = listeners
            .iter()
            .filter(|socket| own.contains(&socket.inode))
            .map(|socket| socket.local.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        let mut tcp = Vec::new();
        if !ports.is_empty() {
            let states = States::of(TcpState::Established).and(States::of(TcpState::CloseWait));
            let filter = Filter { states, local_ports: ports, with_info: false };
            tcp = sockets::tcp_connections(root, &filter).ok()?;
            tcp.retain(|connection| own.contains(&connection.inode));
        }
        let unix = sockets::unix_sockets(root, true).unwrap_or_default();
        let unix = unix
            .iter()
            .filter(|socket| !socket.listens && own.contains(&socket.inode))
            .map(|socket| socket.peer);
        Some(Ends { tcp, unix: unix.collect() })
    }

    /// Who is at the other ends: programs of this host by name, others by address.
    pub(super) fn clients(&self, root: &Root, pids: &[u32]) -> Vec<DatabaseClient> {
        let who = sockets::owners(root, pids);
        let filter = Filter { states: States::OPEN, local_ports: Vec::new(), with_info: false };
        let here = sockets::tcp_connections(root, &filter).unwrap_or_default();
        let here: HashMap<_, u64> = here.iter().map(|end| ((end.local, end.peer), end.inode)).collect();
        let mut local: Vec<u32> = self.unix.iter().filter_map(|inode| who.get(inode).copied()).collect();
        let mut remote: HashMap<IpAddr, u64> = HashMap::new();
        for end in &self.tcp {
            match here.get(&(end.peer, end.local)) {
                Some(inode) => local.extend(who.get(inode)),
                None => *remote.entry(end.peer.ip()).or_insert(0) += 1,
            }
        }
        let local = programs(root, local.into_iter()).into_iter().map(|(owner, used): (Owner, u32)| {
            DatabaseClient { owner: Some(owner), address: None, used: u64::from(used) }
        });
        let remote = remote.into_iter().map(|(address, used)| DatabaseClient {
            owner: None,
            address: Some(address),
            used,
        });
        let mut all: Vec<DatabaseClient> = local.chain(remote).collect();
        all.sort_by_key(|client| (std::cmp::Reverse(client.used), client.address));
        all.truncate(CLIENTS_TOLD_MAX);
        all
    }
}

/// The command line's, else the last one that the option files set, else the default.
fn mysql_limit(root: &Root, arguments: &[String]) -> (u64, String) {
    let own = arguments.iter().filter_map(|argument| argument.strip_prefix("--")?.split_once('='));
    if let Some((_, value)) = own.clone().rev().find(|(key, _)| is_key(key))
        && let Ok(limit) = value.parse()
    {
        return (limit, "--max-connections".to_owned());
    }
    let given = own.clone().find(|(key, _)| *key == "defaults-file").map(|(_, path)| PathBuf::from(path));
    let stock = ["/etc/my.cnf", "/etc/mysql/my.cnf"].map(PathBuf::from).to_vec();
    let mut files = given.map_or(stock, |path| vec![path]);
    let mut found = (MYSQL_DEFAULT, "the server's default".to_owned());
    let mut at = 0;
    while at < files.len().min(INCLUDES_MAX) {
        let file = files[at].clone();
        let text = root.read_config(&file).unwrap_or_default();
        let mut section = String::new();
        let mut included = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_end_matches(']').to_owned();
            } else if let Some(folder) = line.strip_prefix("!includedir") {
                included.extend(option_files(root, Path::new(folder.trim())));
            } else if let Some(path) = line.strip_prefix("!include") {
                included.push(PathBuf::from(path.trim()));
            } else if let Some((key, value)) = line.split_once('=')
                && is_key(key.trim())
                && ["mysqld", "mariadb", "mariadbd", "server"].iter().any(|of| {
                    section.trim_end_matches(|c: char| c == '-' || c == '.' || c.is_ascii_digit()) == *of
                })
                && let Ok(limit) = value.split('#').next().unwrap_or_default().trim().parse()
            {
                found = (limit, file.display().to_string());
            }
        }
        // What is included is read where it stands; settings that follow it in the same file are rare.
        files.splice(at + 1..at + 1, included);
        at += 1;
    }
    found
}

fn is_key(key: &str) -> bool {
    key.trim_start_matches('-').replace('-', "_") == "max_connections"
}

/// The option files of a directory, in the order of their names.
fn option_files(root: &Root, folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root.at(folder)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| folder.join(entry.file_name())).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "cnf"));
    files.sort();
    files.truncate(limits::CONFIG_FILES_MAX);
    files
}

/// `-c max_connections=`, else `postgresql.conf` of the data directory or of the one that `config_file` names.
fn postgresql_limit(root: &Root, pid: u32, arguments: &[String]) -> (u64, String) {
    let settings = |key: &str| {
        arguments
            .iter()
            .find_map(|argument| argument.trim_start_matches("--").strip_prefix(key)?.strip_prefix('='))
    };
    if let Some(limit) = settings("max_connections").and_then(|value| value.parse().ok()) {
        return (limit, "max_connections on the command line".to_owned());
    }
    let directory =
        arguments.iter().position(|argument| argument == "-D").and_then(|at| arguments.get(at + 1));
    let directory =
        directory.map(PathBuf::from).or_else(|| std::fs::read_link(root.at(format!("/proc/{pid}/cwd"))).ok());
    let main = settings("config_file").map(PathBuf::from);
    let main = main.or_else(|| directory.as_ref().map(|at| at.join("postgresql.conf")));
    // ALTER SYSTEM writes the second, which wins.
    let auto = directory.map(|at| at.join("postgresql.auto.conf"));
    let mut found = (POSTGRESQL_DEFAULT, "the server's default".to_owned());
    for file in main.into_iter().chain(auto) {
        for line in root.read_config(&file).unwrap_or_default().lines() {
            let line = line.split('#').next().unwrap_or_default();
            let Some(rest) = line.trim_start().strip_prefix("max_connections") else { continue };
            let value = rest.trim_start().trim_start_matches('=').trim().trim_matches('\'');
            if let Ok(limit) = value.parse() {
                found = (limit, file.display().to_string());
            }
        }
    }
    found
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn the_limit_that_counts_is_found() {
        let tree = tempfile::tempdir().unwrap();
        let root = Root::new(tree.path());
        let put = |path: &str, text: &str| {
            let path = root.at(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        assert_eq!(mysql_limit(&root, &[]).0, 151);
        put(
            "/etc/mysql/my.cnf",
            "[client]\nmax_connections = 7\n!includedir /etc/mysql/conf.d/\n!includedir /etc/mysql/mariadb.conf.d/\n",
        );
        put(
            "/etc/mysql/mariadb.conf.d/50-server.cnf",
            "[mysqld]\n#max_connections = 100\nmax-connections = 40 # few\n",
        );
        put("/etc/mysql/mariadb.conf.d/60-galera.cnf", "[galera]\nmax_connections=9\n");
        put("/etc/mysql/conf.d/a.txt", "[mysqld]\nmax_connections=3\n");
        let found = mysql_limit(&root, &["mariadbd".into()]);
        assert_eq!(found, (40, "/etc/mysql/mariadb.conf.d/50-server.cnf".into()));
        assert_eq!(mysql_limit(&root, &["mysqld".into(), "--max_connections=12".into()]).0, 12);
        put("/data/postgresql.conf", "port = 5432\nmax_connections = 60\t# (change requires restart)\n");
        let postgres: Vec<String> = ["postgres", "-D", "/data"].map(String::from).to_vec();
        assert_eq!(postgresql_limit(&root, 1, &postgres), (60, "/data/postgresql.conf".into()));
        put("/data/postgresql.auto.conf", "max_connections = '80'\n");
        assert_eq!(postgresql_limit(&root, 1, &postgres).0, 80);
    }
}
