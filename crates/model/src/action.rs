//! Typed plans: all that the part which changes the host is ever given, and what became of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{Collateral, IncidentId, Prefix, ProcessId, Supervisor, Text, Time};

/// What toban may do by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Change nothing.
    #[default]
    Observe,
    /// Prepare, and wait for a person.
    Ask,
    /// Act on the causes that the user listed.
    Act,
}

/// A service to stop and start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// The service's id.
    pub service: String,
    /// Its first process, with its start: another process with this number is left alone.
    pub master: ProcessId,
    /// Who does it.
    pub supervisor: Supervisor,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Drop packets from these prefixes to these TCP ports (all ports and protocols when empty) for a time.
    Ban {
        /// Whom.
        prefixes: Vec<Prefix>,
        /// On which ports.
        ports: Vec<u16>,
        /// For how many seconds.
        for_s: u64,
    },
    /// End the TCP sockets, accepted or waiting, that these prefixes have on these ports.
    EndSockets {
        /// Whose.
        prefixes: Vec<Prefix>,
        /// On which local ports; all when empty.
        ports: Vec<u16>,
    },
    /// Stop a service and start it again: a reload keeps the queue that the attack filled.
    Restart(Restart),
    /// End one process: ask it to, and kill it if it does not.
    StopProcess {
        /// Which one, with its start: another process with this number is left alone.
        process: ProcessId,
    },
    /// Let only these reach the ports. Risky: reverted unless confirmed.
    AcceptOnlyFrom {
        /// Which ports.
        ports: Vec<u16>,
        /// Who.
        from: Vec<Prefix>,
        /// Reverted after so many seconds without a confirmation.
        confirm_within_s: u64,
    },
}

impl Action {
    /// Its id in the contract: `ban`, `end-sockets`, `restart`, `stop-process`, `accept-only-from`.
    pub const fn id(&self) -> &'static str {
        match self {
            Action::Ban { .. } => "ban",
            Action::EndSockets { .. } => "end-sockets",
            Action::Restart(_) => "restart",
            Action::StopProcess { .. } => "stop-process",
            Action::AcceptOnlyFrom { .. } => "accept-only-from",
        }
    }
}

/// Steps that belong together, with what they are expected to bring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The cause that it answers; `manual` for a person's own.
    pub cause: String,
    /// Why, in words. Built by toban from typed values, never from a stranger's text.
    pub reason: Text,
    /// In this order.
    pub steps: Vec<Action>,
    /// What the named resources and vitals should come down (or up) to.
    pub predicted: BTreeMap<String, f64>,
    /// The usual clients that it hits.
    pub collateral: Collateral,
}

/// What must never be hit: the safety rules' data, gathered anew for each plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Protected {
    /// This host's own addresses.
    pub own: Vec<IpAddr>,
    /// Its gateways.
    pub gateways: Vec<IpAddr>,
    /// Its name servers.
    pub resolvers: Vec<IpAddr>,
    /// Proxies in front of it.
    pub balancers: Vec<IpAddr>,
    /// Where live logins come from.
    pub logins: Vec<IpAddr>,
    /// What the user never wants banned.
    pub allowlist: Vec<Prefix>,
    /// TCP peers of the usual time with their number of requests.
    pub usual_peers: Vec<(IpAddr, u32)>,
    /// Processes that are not stopped one by one: the services' first ones, and all of SSH servers.
    #[serde(default)]
    pub processes: Vec<u32>,
}

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Actor {
    /// The agent, in `act` mode.
    Agent,
    /// A person at the command line.
    Person,
}

/// The record's number of an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ActionId(pub i64);

/// How far an action has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActionState {
    /// Written down before anything was done. Found at start: it is not known how far it came.
    Intended,
    /// Done, and seen to be so where it can be looked at.
    Done,
    /// Could not be done; nothing of it stands.
    Failed,
    /// A safety rule forbade it; nothing was done.
    Refused,
    /// Done, measured, and it helped.
    Worked,
    /// Done, measured, no effect, taken back.
    NoEffect,
    /// Done, it harmed, taken back.
    Harmed,
    /// Taken back by a person, or because nobody confirmed it.
    Undone,
    /// Its time ran out.
    Expired,
}

/// One line of the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRecord {
    /// Its number.
    pub id: ActionId,
    /// When it was intended.
    pub at: Time,
    /// For which incident.
    pub incident: Option<IncidentId>,
    /// Who asked.
    pub by: Actor,
    /// What, why, and with what prediction.
    pub plan: Plan,
    /// How far it came.
    pub state: ActionState,
    /// What was measured after it, by the names of `plan.predicted`.
    pub measured: BTreeMap<String, f64>,
    /// What each step said: `ban: 2 prefixes in the kernel`, or the error.
    pub notes: Vec<String>,
    /// When it was last changed.
    pub changed: Time,
}

/// One prefix that is dropped for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Whom.
    pub prefix: Prefix,
    /// On which TCP ports; all ports and protocols when empty.
    pub ports: Vec<u16>,
    /// Since when.
    pub since: Time,
    /// Until when.
    pub until: Time,
    /// The action that it belongs to.
    pub action: ActionId,
    /// Why, in toban's own words.
    pub reason: String,
}
