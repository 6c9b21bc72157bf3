//! What has failed or is about to: servers that are gone or answer nobody, what they and their supervisors said last,
//! upstreams without a listener, resolvers, links, certificates.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ProcessId, ServiceKind, Supervisor, Time};

/// What a line of a server, of its supervisor or of init says about the server's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LifeWord {
    /// It has started and serves.
    Started,
    /// It was told to stop, and does or did.
    Stopped,
    /// It ended by itself, by a signal or with an error; or it could not be started.
    Failed,
    /// It does not understand its own configuration.
    Complaint {
        /// The file.
        file: Option<PathBuf>,
        /// The line in it, from 1.
        line: Option<u32>,
    },
    /// Anything else.
    Other,
}

/// One line about a server's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifeLine {
    /// When it was written.
    pub at: Time,
    /// What it means.
    pub word: LifeWord,
    /// The line, made printable and cut to 200 characters.
    pub text: String,
    /// The log that it stands in.
    pub source: String,
}

/// A server that is installed or was seen, and how it is started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownServer {
    /// Its id as a service: `apache`.
    pub service: String,
    /// What it is.
    pub kind: ServiceKind,
    /// The program.
    pub exe: PathBuf,
    /// Who starts and stops it.
    pub supervisor: Supervisor,
    /// Whether that is done at boot; `None` where nobody is known to.
    pub enabled: Option<bool>,
    /// Where it listens, or is told to.
    pub listens: Vec<SocketAddr>,
    /// The unix sockets.
    pub listens_unix: Vec<PathBuf>,
    /// Its configuration files, the main one first.
    pub config: Vec<PathBuf>,
    /// Its error logs.
    pub logs: Vec<PathBuf>,
    /// Where it hands requests on to.
    pub backends: Vec<String>,
}

/// A file that was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edited {
    /// Which.
    pub path: PathBuf,
    /// When.
    pub at: Time,
}

/// A look at one server that is known to this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerLook {
    /// The server.
    pub known: KnownServer,
    /// When its first process began; `None` when it has none and nobody listens in its place.
    pub running_since: Option<Time>,
    /// What was said of its life, the oldest first, at most [`ServerLook::WORDS_MAX`] lines.
    pub words: Vec<LifeLine>,
    /// Its configuration files that were changed in the last day, the newest first.
    pub edited: Vec<Edited>,
}

impl ServerLook {
    /// Lines that are kept of one server.
    pub const WORDS_MAX: usize = 32;
}

/// One upstream that a server of this host hands requests on to, and that is on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upstream {
    /// As the configuration writes it: a path or `host:port`.
    pub name: String,
    /// The service that hands on.
    pub of: String,
    /// Something listens there.
    pub listens: bool,
}

/// What became of a question to a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// It answered, after so many milliseconds.
    Answered(u32),
    /// It did not, in the time that it had.
    Silent,
    /// The host or the network said that nobody is there.
    Refused,
}

/// A name server of this host, asked for the root's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolverLook {
    /// Which.
    pub address: IpAddr,
    /// What became of it.
    pub asked: Asked,
    /// Sockets of this host's programs that wait for it.
    pub waiting: u32,
}

/// One interface that is meant to be up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkLook {
    /// Its name.
    pub interface: String,
    /// The default route goes out here.
    pub default_route: bool,
    /// A signal is on the line.
    pub carrier: bool,
    /// How often that changed since it was made.
    pub changes: u64,
    /// A cable or a radio ends in it; it is not made of software alone.
    pub hardware: bool,
}

/// What the neighbour table says of a gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayLook {
    /// Which.
    pub address: IpAddr,
    /// On which interface.
    pub interface: String,
    /// It has told its hardware address; when not, it is being asked in vain.
    pub answers: bool,
}

/// A certificate that a server of this host shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The file.
    pub path: PathBuf,
    /// The services that use it.
    pub services: Vec<String>,
    /// Whom it is for: its first name.
    #[serde(rename = "certified_name")]
    pub name: String,
    /// From when on it is valid.
    pub not_before: Time,
    /// Until when.
    pub not_after: Time,
}

/// One look at what may have failed. It is taken aside, every ten seconds or so, since disks and networks may not answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// When it was begun.
    pub at: Time,
    /// The servers.
    pub servers: Vec<ServerLook>,
    /// A package manager or a log rotation is at work, which restarts servers.
    pub maintenance: bool,
    /// Where requests are handed on to.
    pub upstreams: Vec<Upstream>,
    /// The name servers.
    pub resolvers: Vec<ResolverLook>,
    /// The interfaces.
    pub links: Vec<LinkLook>,
    /// The gateways.
    pub gateways: Vec<GatewayLook>,
    /// The certificates.
    pub certificates: Vec<Certificate>,
}

/// A look at whether a server takes what comes to it, once a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// The service's id.
    pub service: String,
    /// Its first process.
    pub master: ProcessId,
    /// That process is still there.
    pub lives: bool,
    /// Connections that wait to be accepted.
    pub queue: u32,
    /// Processor ticks of all its processes since their start.
    pub cpu_ticks: u64,
    /// How many of its processes are stopped by a signal, wait uninterruptibly, sleep, and run.
    pub states: [u32; 4],
    /// Where its first process waits in the kernel.
    pub waits_in: Option<String>,
}

/// A server that should serve and does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stopped {
    /// The server, as it was seen last.
    pub known: KnownServer,
    /// Since when; the best that is known.
    pub since: Time,
    /// For how many seconds it was seen to serve before; 0 when that is known from its logs alone.
    pub served_s: u64,
    /// What was said of its life, the oldest first.
    pub words: Vec<LifeLine>,
    /// Its configuration files that were changed lately, the newest first.
    pub edited: Vec<Edited>,
    /// The kernel killed it for memory.
    pub out_of_memory: bool,
}

/// A server that runs, and whose configuration it would not start with again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Misconfigured {
    /// The server.
    pub known: KnownServer,
    /// What it said of its configuration.
    pub complaint: LifeLine,
    /// The files that were changed.
    pub edited: Vec<Edited>,
}

/// A server that accepts connections, or lets them queue, and serves none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hung {
    /// The service's id.
    pub service: String,
    /// Its first process.
    pub master: ProcessId,
    /// Since when nothing has moved.
    pub since: Time,
    /// Connections that wait.
    pub queue: u32,
    /// Processes that are stopped by a signal, wait uninterruptibly, sleep, and run.
    pub states: [u32; 4],
    /// Where it waits in the kernel.
    pub waits_in: Option<String>,
}

/// An upstream of this host that nobody listens at, and who misses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamGone {
    /// As the configuration writes it.
    pub name: String,
    /// The service that hands on.
    pub of: String,
    /// Since when.
    pub since: Time,
    /// Lines in which that service says that it was refused there, in the window.
    pub refused: u32,
    /// It was seen to listen before.
    pub listened: bool,
}

/// How name resolution stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resolution {
    /// The name servers, as asked last.
    pub resolvers: Vec<ResolverLook>,
    /// Since when none has answered, over how many questions.
    pub silent: Option<(Time, u32)>,
    /// One of them has answered before.
    pub answered_before: bool,
    /// Lines of the window in which a program says that a name could not be resolved.
    pub said: u32,
}

/// An interface or a gateway that is not as it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetworkTrouble {
    /// The interface.
    pub interface: String,
    /// What is the matter.
    pub trouble: Trouble,
    /// Since when.
    pub since: Time,
}

/// What is the matter with a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// No signal on the line that the default route uses, or that had one before.
    NoCarrier,
    /// The gateway does not tell its hardware address.
    GatewaySilent(IpAddr),
    /// The signal came and went so often in the window.
    Flaps(u32),
}

/// Everything that has failed or is about to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failures {
    /// Servers that should run and do not.
    pub stopped: Vec<Stopped>,
    /// Servers that would not start again.
    pub misconfigured: Vec<Misconfigured>,
    /// Servers that serve nobody.
    pub hung: Vec<Hung>,
    /// Upstreams without a listener.
    pub upstreams: Vec<UpstreamGone>,
    /// Name resolution.
    pub resolution: Resolution,
    /// Links and gateways.
    pub network: Vec<NetworkTrouble>,
    /// Certificates in use.
    pub certificates: Vec<Certificate>,
}
