//! A plan is a scenario after the draw: every host, file, address and rate of one lab, and its ground truth.
//! It is written to the lab's directory, and the keeper does what it says.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) lan: LanPlan,
    pub(crate) hosts: Vec<HostPlan>,
    pub(crate) clients: ClientsPlan,
    pub(crate) admin: AdminPlan,
    pub(crate) attack: AttackPlan,
    pub(crate) truth: Truth,
}

/// The servers' own network; everything else is behind the router.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LanPlan {
    pub(crate) prefix: Ipv4Net,
    pub(crate) router: Ipv4Addr,
}

/// One test host and what is done to make a stock Debian into this server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HostPlan {
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) files: Vec<FilePlan>,
    /// Commands that configure it, before anything runs there.
    pub(crate) setup: Vec<Vec<String>>,
    /// Commands that start its services, in order.
    pub(crate) services: Vec<Vec<String>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FilePlan {
    pub(crate) path: String,
    pub(crate) mode: u32,
    pub(crate) content: String,
}

/// Normal people with browsers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ClientsPlan {
    pub(crate) target: SocketAddrV4,
    pub(crate) host_header: String,
    pub(crate) prefixes: Vec<Ipv4Net>,
    pub(crate) addresses: Vec<Ipv4Addr>,
    pub(crate) requests_per_s: f64,
    /// A person leaves after waiting this long for one answer.
    pub(crate) patience_ms: u64,
    pub(crate) site: SitePlan,
    /// People who come besides when the incident begins.
    pub(crate) crowd: Option<Box<ClientsPlan>>,
    /// They fetch their mail instead of reading pages.
    pub(crate) mail: Option<MailPlan>,
}

/// People with mailboxes, by POP3, and a monitor that looks at the banner and leaves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct MailPlan {
    /// Of each the address, the user and the password.
    pub(crate) people: Vec<(Ipv4Addr, String, String)>,
    pub(crate) fetches_per_s: f64,
    pub(crate) monitor: Ipv4Addr,
}

/// What there is to ask for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SitePlan {
    pub(crate) pages: Vec<String>,
    pub(crate) statics: Vec<String>,
    pub(crate) missing: Vec<String>,
    pub(crate) post: String,
}

/// The person who runs the server: a login that stays, and a page now and then past the balancer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AdminPlan {
    pub(crate) address: Ipv4Addr,
    pub(crate) web: SocketAddrV4,
    pub(crate) host_header: String,
    pub(crate) pages: Vec<String>,
    pub(crate) every_ms: u64,
    pub(crate) patience_ms: u64,
    /// A command that runs on the web server for as long as the incident lasts.
    pub(crate) deed: Option<Vec<String>>,
    /// Mistypes a password once, some seconds after the services run.
    pub(crate) mistypes: bool,
}

/// A closed loop: a fixed number of connections, each opened again when it ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct AttackPlan {
    pub(crate) target: SocketAddrV4,
    /// Attacked beside it, in turn.
    pub(crate) also: Vec<SocketAddrV4>,
    pub(crate) prefixes: Vec<Ipv4Net>,
    /// One source for each connection, so the same address stands here many times; none where nobody attacks.
    pub(crate) sources: Vec<Ipv4Addr>,
    pub(crate) patience_ms: u64,
    /// Whole requests; the next is taken for each connection.
    pub(crate) requests: Vec<String>,
    pub(crate) way: Way,
}

/// What the connections of an attack are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) enum Way {
    /// Each says one of the requests and waits for the answer.
    #[default]
    Requests,
    /// Each says one of the requests, and the answer is left lying with the server.
    Unread,
    /// Each says one and waits, and beside them so many at a time that never complete their handshake.
    HalfOpen(u64),
    /// Logins at sshd by OpenSSH's own client, which tries one password for one of these users.
    Ssh { users: Vec<String>, pause_ms: u64 },
}

/// What really is the case in a lab, for tests to compare findings with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The scenario's id.
    pub scenario: String,
    /// The seed that everything was drawn from.
    pub seed: u64,
    /// Every parameter as it was drawn or given.
    pub parameters: BTreeMap<String, String>,
    /// The cause of the catalogue that explains the incident.
    pub cause: String,
    /// What else is true of the attackers' requests: method, path, through the balancer or not.
    #[serde(rename = "where")]
    pub where_: BTreeMap<String, String>,
    /// The web server under attack.
    pub web: Server,
    /// The load balancer, if the scenario has one.
    pub balancer: Option<Ipv4Addr>,
    /// The administrator's address: pages past the balancer, and a login that stays.
    pub admin: Ipv4Addr,
    /// The servers' own network.
    pub lan: Ipv4Net,
    /// The servers' gateway.
    pub gateway: Ipv4Addr,
    /// Normal clients.
    pub clients: Clients,
    /// Who did it.
    pub attackers: Attackers,
    /// Packets to here are dropped without a word.
    pub never_answers: Ipv4Net,
    /// When it happened.
    pub times: Times,
}

/// The web server of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Its test host's name.
    pub host: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Its name in requests.
    pub site: String,
    /// `MaxRequestWorkers`.
    pub worker_limit: u64,
    /// `pm.max_children`, where php runs on its own.
    pub backend_limit: Option<u64>,
    /// Memory limit of the host's cgroup.
    pub memory_limit_bytes: Option<u64>,
}

/// The normal clients of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clients {
    /// Prefixes that hold them all.
    pub prefixes: Vec<Ipv4Net>,
    /// Every one of them.
    pub addresses: Vec<Ipv4Addr>,
}

/// The attackers of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attackers {
    /// Prefixes that hold them all; no one else is in there.
    pub prefixes: Vec<Ipv4Net>,
    /// Every one of them, each once.
    pub addresses: Vec<Ipv4Addr>,
    /// Connections that they keep open together.
    pub connections: u64,
}

/// When things happened, in seconds since the epoch. The latest incident overwrites an earlier one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// The services ran and clients began.
    pub up: f64,
    /// The first packet of the attack.
    pub first_attack_packet: Option<f64>,
    /// The attackers went away.
    pub attack_end: Option<f64>,
}
