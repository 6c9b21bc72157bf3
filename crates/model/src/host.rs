//! What this host is and what runs on it, as found by looking.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Prefix, Time};

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// The number in the host's own pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot. See proc_pid_stat(5).
    pub start_ticks: u64,
}

impl ProcessId {
    /// When it began, on a host that was started at `boot`. Ticks are hundredths of a second on every Linux that a
    /// program sees (proc_pid_stat(5)).
    pub fn started(self, boot: Time) -> Time {
        boot + Duration::from_millis(self.start_ticks.saturating_mul(10))
    }
}

/// The kinds of server that toban understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceKind {
    /// Apache httpd, any MPM.
    Apache,
    /// nginx.
    Nginx,
    /// php-fpm.
    PhpFpm,
    /// An SSH server.
    Sshd,
    /// Something that listens, not known closer.
    Other,
}

/// Who can start and stop a service here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supervisor {
    /// A running systemd, by unit name.
    Systemd(String),
    /// An init script, by path.
    Initd(PathBuf),
    /// Nobody known: stop by signal and start with its own command line, working directory and environment.
    CommandLine,
}

/// What a log file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogRole {
    /// One line a request, when it has ended.
    Access,
    /// The server's own words.
    Error,
    /// The kernel's words.
    Kernel,
    /// What services that are no web servers say: logins, mails.
    Service,
}

/// In which language a format string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDialect {
    /// Apache `LogFormat`.
    Apache,
    /// nginx `log_format`.
    Nginx,
    /// php-fpm's own.
    PhpFpm,
    /// The kernel log, from `/dev/kmsg` or a file.
    Kernel,
    /// To be found from the lines.
    Unknown,
}

/// One log, with how to read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSource {
    /// The file, as the host sees it.
    pub path: PathBuf,
    /// What it is for.
    pub role: LogRole,
    /// The language of `format`.
    pub dialect: LogDialect,
    /// The server's own format string, if its configuration gives one.
    pub format: Option<String>,
    /// mod_remoteip (or nginx realip) rewrites the client field of this log.
    pub remoteip: bool,
}

/// A server that runs here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its id, unique on the host, first part of its vitals' names: `apache`, `php-fpm`, `nginx`.
    pub id: String,
    /// What it is.
    pub kind: ServiceKind,
    /// Its first process.
    pub master: ProcessId,
    /// All its processes, the master first.
    pub pids: Vec<u32>,
    /// The program.
    pub exe: PathBuf,
    /// TCP addresses that it listens on.
    pub listens: Vec<SocketAddr>,
    /// Unix sockets that it listens on.
    pub listens_unix: Vec<PathBuf>,
    /// How many requests it can work on at once, and by which setting.
    pub worker_limit: Option<u32>,
    /// Where the limit stands: `MaxRequestWorkers in /etc/apache2/mods-enabled/mpm_prefork.conf`.
    pub worker_limit_from: Option<String>,
    /// Proxies whose forwarded header it trusts by its own configuration.
    pub trusted_proxies: Vec<Prefix>,
    /// Where it hands requests on to: unix paths or `host:port`.
    pub backends: Vec<String>,
    /// Its logs.
    pub logs: Vec<LogSource>,
    /// Its configuration files, the main one first.
    pub config: Vec<PathBuf>,
    /// Who starts and stops it.
    pub supervisor: Supervisor,
    /// A worker process serves one connection at a time (prefork, php-fpm).
    pub one_connection_per_process: bool,
}

/// This host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Processors online.
    pub cores: u32,
    /// Memory, or the memory cgroup's limit if that is lower, in bytes.
    pub memory_bytes: u64,
    /// When the kernel started.
    pub boot: Time,
    /// Addresses of its own interfaces.
    pub own: Vec<IpAddr>,
    /// Its gateways.
    pub gateways: Vec<IpAddr>,
    /// Its name servers.
    pub resolvers: Vec<IpAddr>,
    /// Source addresses of live logins.
    pub logins: Vec<IpAddr>,
    /// Where the kernel's words can be read, best first.
    pub kernel_logs: Vec<PathBuf>,
    /// Where services that are no web servers write who logs in: `auth.log`, `mail.log`.
    #[serde(default)]
    pub service_logs: Vec<LogSource>,
    /// What serves here.
    pub services: Vec<Service>,
    /// What could not be looked at, and why; shown by `--explain`.
    pub blind: Vec<String>,
}
