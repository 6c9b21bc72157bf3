//! What strangers do to this host's services beyond holding workers, and what this host does to strangers.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Prefix, ProcessId, Time};

/// All of it, in one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Strangers {
    /// Who tries passwords or looks for weak spots, as the logs tell; at most 64, the busiest first.
    pub attempts: Vec<Attempts>,
    /// What services said of clients that they had no room for.
    pub refusals: Vec<Refusals>,
    /// The accept queues of all TCP listeners.
    pub queues: Vec<ListenQueue>,
    /// Connections whose handshake has not ended, by listener.
    pub half_open: Vec<HalfOpen>,
    /// Established connections, by listener.
    #[serde(default)]
    pub connected: Vec<Connected>,
    /// Who reads page after page as a program does; the busiest first.
    pub crawls: Vec<Crawl>,
    /// The mails that this host takes in and sends on; `None` without any.
    pub mail: Option<MailFlow>,
    /// Processes that open connections to many others at once.
    pub outbound: Vec<Outbound>,
}

/// What one client, or several together, did to one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempts {
    /// The cause that the rules name, by its id in the catalogue.
    pub cause: String,
    /// The service, as its log calls it.
    pub service: String,
    /// The ports that it is reached by.
    pub ports: Vec<u16>,
    /// Who, in order.
    pub clients: Vec<IpAddr>,
    /// They are TCP peers: a packet filter can drop them.
    pub peers: bool,
    /// Networks that hold several of them and nobody else who is known.
    pub networks: Vec<Prefix>,
    /// Offences within the last ten minutes, and within the last minute.
    pub in_ten_minutes: u32,
    /// See there.
    pub in_a_minute: u32,
    /// Different accounts or paths that were tried, as far as the log says.
    pub things: u32,
    /// The account or the path that nearly all were about. Strangers' texts.
    pub account: Option<String>,
    /// See there.
    pub path: Option<String>,
    /// Since when, within the last hour.
    pub first: Time,
    /// The last offence.
    pub last: Time,
    /// The first who got in behind failures, and when.
    pub entered: Option<(IpAddr, Time)>,
    /// Offences of this kind at this service within the last ten minutes by everybody, and how many of nine of ten
    /// such spans before they stayed below; `None` where less than an hour is known.
    pub all: u32,
    /// See there.
    pub usual: Option<f64>,
    /// Different clients with such offences within the last ten minutes, and usually.
    pub sources: u32,
    /// See there.
    pub usual_sources: Option<f64>,
    /// Clients that log in here and that a packet filter for all named would hit, of how many.
    pub usual_clients: (u32, u32),
}

/// A service said that it had no room for a client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusals {
    /// The service, as its log calls it.
    pub service: String,
    /// How many in the last minute.
    pub count: u32,
    /// The limit that it named.
    pub limit: Option<u32>,
    /// The first of this run.
    pub first: Time,
    /// The newest.
    pub last: Time,
}

/// A TCP listener's queue of connections that wait to be accepted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListenQueue {
    /// The port.
    pub port: u16,
    /// The service that listens, by its id.
    pub service: Option<String>,
    /// How many wait.
    pub len: u32,
    /// How many may: one more fits in.
    pub limit: u32,
    /// Since when it has been full, if it is or just was.
    pub full_since: Option<Time>,
}

/// Half-open connections at one port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HalfOpen {
    /// The port.
    pub port: u16,
    /// How many are in SYN_RECV.
    pub count: u32,
    /// The networks with most of them. Who only sends SYNs may have forged these addresses.
    pub networks: Vec<(Prefix, u32)>,
}

/// Established connections at one port, accepted or waiting for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connected {
    /// The port.
    pub port: u16,
    /// The service that listens there, by its id.
    pub service: Option<String>,
    /// How many there are.
    pub count: u32,
    /// The networks with most of them (/24 or /48), the first first; a network with fewer than four is not told.
    pub networks: Vec<(Prefix, u32)>,
}

/// Who reads page after page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Crawl {
    /// The web service.
    pub service: String,
    /// The network that it comes from.
    pub network: Prefix,
    /// What it calls itself. A stranger's text.
    pub agent: String,
    /// Requests in the last minutes, over `seconds`.
    pub requests: u32,
    /// See there.
    pub seconds: f64,
    /// Different addresses.
    pub clients: u32,
    /// The part of them that was answered well.
    pub ok_share: f64,
    /// The part that only reads: `GET` and `HEAD`.
    pub reads_share: f64,
    /// Different paths for each request.
    pub distinct_share: f64,
    /// When it asked for `/robots.txt`.
    pub robots: Option<Time>,
    /// Its first request.
    pub first: Time,
}

/// Mails of the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MailFlow {
    /// Mails that wait in the queue now, and a minute ago; `None` where the queue was not looked at.
    pub queued: Option<u64>,
    /// Growth of the queue a minute.
    pub growth: Option<f64>,
    /// What is usual.
    pub usual: Option<[f64; 2]>,
    /// Mails that local users and accounts handed in, the busiest first.
    pub senders: Vec<Sender>,
    /// Tries that were accepted by the receiver's server.
    pub sent: u32,
    /// Tries that were put off.
    pub deferred: u32,
    /// Mails that were refused for good.
    pub bounced: u32,
    /// Different receiving domains of tries that failed.
    pub domains: u32,
    /// The reasons of failures with how often, most often first: relay, status code. Of servers' words.
    pub reasons: Vec<Reason>,
    /// Since when more fails than is delivered.
    pub failing_since: Option<Time>,
    /// Scripts that PHP says have sent mail, with how often; the busiest first.
    pub scripts: Vec<(String, u32)>,
    /// Who posted to the path of the first script, with how many requests, and whether each asks for nothing else.
    pub posters: Vec<(IpAddr, u32, bool)>,
}

/// Who hands mails in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sender {
    /// A local user's number, of mails that a program here handed in.
    pub uid: Option<u32>,
    /// The account that logged in to send. A stranger's text.
    pub account: Option<String>,
    /// Mails in the last ten minutes.
    pub mails: u32,
    /// How many of nine of ten such spans before it stayed below; `None` where less than an hour is known.
    pub usual: Option<f64>,
    /// Since when.
    pub first: Time,
    /// Addresses that the account was used from.
    pub clients: Vec<IpAddr>,
}

/// Why mails are not delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// Where they were to be handed on to; empty where nobody was reached.
    pub relay: String,
    /// The enhanced status code (RFC 3463).
    pub code: String,
    /// How often.
    pub count: u32,
}

/// A process that opens connections to many others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outbound {
    /// Which process.
    pub process: ProcessId,
    /// Its parent's number.
    pub parent: u32,
    /// Its name and command line.
    pub comm: String,
    /// See there.
    pub command: String,
    /// Its program; a stranger can choose its name, not where the kernel read it from.
    pub exe: String,
    /// Its user.
    pub user: u32,
    /// The port at the other ends.
    pub port: u16,
    /// Connections that are being opened, and different addresses of them.
    pub opening: u32,
    /// See there.
    pub peers: u32,
}
