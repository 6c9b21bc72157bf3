//! One closed window of a host: everything that a judgement may rest on, and nothing that needs a look outside.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Activity, Failures, Finding, Holdings, Host, KernelSaid, OomReport, Outage, Prefix, ResourceUse,
    ServerView, Strangers, Text, Time, Verdict, Vital,
};

/// How a request came to this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Via {
    /// Through a proxy that this host trusts.
    Balancer,
    /// Straight to this host's own address, although a balancer stands in front of it.
    Direct,
    /// There is no balancer, or none is known.
    None,
}

/// Whom a request was for, as the server itself saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Client {
    /// The client: the peer, or the address that a trusted proxy reported.
    pub address: IpAddr,
    /// The TCP peer: the only address that a packet filter can drop.
    pub peer: IpAddr,
    /// By which way.
    pub via: Via,
}

/// Requests that are alike in all that attribution looks at, and what they held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub client: Client,
    /// With which method. A stranger's text, cut to 32 bytes.
    pub method: Arc<str>,
    /// For which path without query, as a template. A stranger's text, cut to 256 bytes.
    pub path: Arc<str>,
    /// With which user agent. A stranger's text, cut to 256 bytes; empty where it is not known, `*` for one of many.
    pub agent: Arc<str>,
    /// How many requests.
    pub requests: u32,
    /// How many of them were answered with a status below 400.
    pub ok: u32,
    /// How many of them were answered with a status of 500 and above.
    pub server_errors: u32,
    /// For how many worker-seconds they held a worker.
    pub held_s: f64,
}

/// The traffic of one window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Its length in seconds; 0 when nothing is known.
    pub seconds: f64,
    /// Who held what.
    pub holders: Vec<Holder>,
    /// The TCP peers that requests came from: addresses, and networks with what came from those in them that are not
    /// known one by one.
    pub origins: Vec<(Prefix, u32)>,
    /// In the same way the clients behind proxies.
    pub forwarded: Vec<(Prefix, u32)>,
    /// Holders that were folded into wider ones because there were too many.
    pub folded: u64,
}

/// A number of events a second, now and usually.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// In the window.
    pub now: f64,
    /// The median of the usual time.
    pub usual: f64,
}

/// The traffic of one web service, now against its usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// The service's id.
    pub service: String,
    /// Ended in the window.
    pub now: Side,
    /// Ended before the incident began.
    pub usual: Side,
    /// Workers that are held at this moment, one entry a worker (`requests` 1, `held_s` its age): what no log says yet.
    pub live: Vec<Holder>,
    /// Connections that wait in the accept queue, by peer; method and path are empty.
    pub queued: Vec<Holder>,
    /// Requests that ended, a second.
    pub requests: Rate,
    /// Page views: requests for pages (not for static files), by everybody but the later culprits, that ended well.
    pub pages_ok: Rate,
    /// Answers of 500 and above, a second.
    pub server_errors: Rate,
    /// Distinct client addresses a minute.
    pub clients: Rate,
    /// When this traffic left its usual, if it did.
    pub onset: Option<Time>,
    /// The newest line that was read.
    pub last_line: Option<Time>,
    /// The most workers that ended requests held at once in the last half minute, in hindsight.
    pub held_peak: f64,
    /// Median seconds that a request holds a worker, usually.
    pub held_s_usual_median: f64,
}

/// One kind of line in an error log, now against its usual.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorClass {
    /// The service's id.
    pub service: String,
    /// Its code (`AH01075`) or a fixed name (`seems-busy`).
    pub code: String,
    /// How many in the window.
    pub count: u32,
    /// How many in as long a time, usually.
    pub usual: f64,
    /// The first of this run.
    pub first: Time,
    /// The newest.
    pub last: Time,
}

/// A process that the kernel killed for memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomKill {
    /// When, in wall-clock time.
    pub at: Time,
    /// Its number, in the machine's own pid namespace.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its anonymous memory, in bytes.
    pub anon_rss_bytes: u64,
    /// A memory cgroup ran out, not the machine.
    pub cgroup: bool,
}

/// What the kernel said in the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelNews {
    /// Kills for memory, oldest first, at most 1024.
    pub oom: Vec<OomKill>,
    /// All kills, also those beyond the list.
    pub oom_count: u32,
    /// Kills in the usual time, scaled to the window.
    pub oom_usual: u32,
    /// `Possible SYN flooding` lines, by port.
    pub syn_flooding: Vec<u16>,
    /// `nf_conntrack: table full` was said.
    pub conntrack_full: bool,
    /// Every word that is known, by kind, the newest first.
    #[serde(default)]
    pub said: Vec<KernelSaid>,
    /// The newest reports of the OOM killer, oldest first.
    #[serde(default)]
    pub reports: Vec<OomReport>,
}

/// What is seen, before it is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SymptomKind {
    /// A resource is used up.
    Exhausted,
    /// A vital is above its usual.
    High,
    /// A vital is below its usual.
    Fall,
    /// The kernel killed for memory.
    OomKill,
    /// The server reports errors that it usually does not.
    Errors,
    /// A check fails: what should answer does not, what should be valid is not.
    Failed,
}

/// Something out of the usual, with its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Symptom {
    /// Its kind.
    pub kind: SymptomKind,
    /// The vital, resource or error class.
    pub what: String,
    /// In words.
    pub text: Text,
    /// The number.
    pub value: f64,
    /// What is usual.
    pub usual: Option<f64>,
    /// Since when.
    pub since: Time,
}

/// One closed window, and what it was judged to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// What was seen.
    pub situation: Situation,
    /// What it was found to be, in one word.
    pub verdict: Verdict,
    /// The causes.
    pub findings: Vec<Finding>,
}

/// Everything about one host in one window; the only input of a judgement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Situation {
    /// The moment that is judged.
    pub at: Time,
    /// The window's start.
    pub from: Time,
    /// The host.
    pub host: Host,
    /// Its vitals against their usual.
    pub vitals: Vec<Vital>,
    /// What is out of the usual, oldest first.
    pub symptoms: Vec<Symptom>,
    /// Everything finite, with how much of it is used.
    pub resources: Vec<ResourceUse>,
    /// The servers at this moment; empty when only logs were read.
    pub servers: Vec<ServerView>,
    /// Their traffic.
    pub traffic: Vec<Traffic>,
    /// Their error logs.
    pub errors: Vec<ErrorClass>,
    /// The kernel's words.
    pub kernel: KernelNews,
    /// Peers that carry other people's requests: configured, or learned from the usual time.
    pub balancers: Vec<IpAddr>,
    /// How many seconds of usual time are known.
    pub usual_seconds: f64,
    /// What there is only so much of, with its holders.
    #[serde(default)]
    pub holdings: Holdings,
    /// What has failed or is about to.
    #[serde(default)]
    pub failures: Failures,
    /// What strangers do beyond holding workers, and what this host does to strangers.
    #[serde(default)]
    pub strangers: Strangers,
    /// When the host was gone, if that was not long ago.
    pub outage: Option<Outage>,
    /// What its processes do.
    #[serde(default)]
    pub activity: Activity,
}
