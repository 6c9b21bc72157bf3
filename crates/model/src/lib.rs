//! The nouns that all other crates share. Nothing here does I/O, reads a clock, logs or spawns.
//!
//! Words are the field's own: a *sample* is read, a *vital* is a named number, a *symptom* is a vital out of its
//! usual, a *resource* has *holders*, a *cause* explains them, a *finding* is a cause here and now, a *remedy* is
//! proposed, an *action* is done, an *incident* groups all of it in time.

mod action;
mod activity;
mod blame;
pub mod event;
mod failure;
mod finding;
mod holdings;
mod host;
mod kernel_word;
mod name;
mod net;
mod outage;
mod process;
mod server;
mod situation;
mod strangers;
mod text;
mod time;
mod unit;
mod vital;

pub use action::{Action, ActionId, ActionRecord, ActionState, Actor, Ban, Mode, Plan, Protected, Restart};
pub use activity::{
    Activity, Ancestor, BusyProcess, Crowd, DiskLoad, DiskUser, Growth, Kin, MemoryHolder, NamedProcess,
    ProcessLook, ProcessPeer,
};
pub use blame::{Blamed, Busiest, Combined, Named, Origin};
pub use failure::{
    Asked, Certificate, Edited, Failures, GatewayLook, Hung, Inspection, KnownServer, LifeLine, LifeWord,
    LinkLook, Misconfigured, NetworkTrouble, Pulse, Resolution, ResolverLook, ServerLook, Stopped, Trouble,
    Upstream, UpstreamGone,
};
pub use finding::{
    Collateral, Culprit, CulpritKind, Evidence, Finding, Incident, IncidentId, Remedy, ResourceUse, Risk,
    RuledOut, Verdict, Where,
};
pub use holdings::{
    Database, DatabaseClient, Destination, FileUse, Filesystem, HandleHolder, Handles, Holdings, Link, Owner,
    Place, Ports, Talker, Tracked,
};
pub use host::{Host, LogDialect, LogRole, LogSource, ProcessId, Service, ServiceKind, Supervisor};
pub use kernel_word::{KernelSaid, KernelTopic, KernelWord, OomReport};
pub use name::Name;
pub use net::{Prefix, canonical, is_private, prefix_of, same_family_contains};
pub use outage::Outage;
pub use process::{ProcessUse, Processes, SocketCount, Span, Texts};
pub use server::{Connection, QueuedPeer, ServerView, TcpState, Waiting, Worker};
pub use situation::{
    Client, ErrorClass, Holder, KernelNews, Look, OomKill, Rate, Side, Situation, Symptom, SymptomKind,
    Traffic, Via,
};
pub use strangers::{
    Attempts, Connected, Crawl, HalfOpen, ListenQueue, MailFlow, Outbound, Reason, Refusals, Sender,
    Strangers,
};
pub use text::{Lang, Text};
pub use time::Time;
pub use unit::{unit_name, unit_of};
pub use vital::{Reading, ReadingKind, Sample, Usual, Vital, VitalState};
