//! Bans in the kernel: toban's own nf_tables table, written, and read back byte for byte.
//!
//! ```text
//! table inet toban {
//!     set ports_80_443 { type inet_service; elements = { 80, 443 } }
//!     set ban4_24_80_443 { type ipv4_addr; flags timeout; counter; elements = { 198.51.100.0 timeout 1h } }
//!     chain bans {
//!         type filter hook prerouting priority raw; policy accept;
//!         meta nfproto ipv4 ip saddr & 255.255.255.0 @ban4_24_80_443 tcp dport @ports_80_443 counter drop
//!     }
//!     chain gates { type filter hook prerouting priority raw + 1; policy accept; … }
//! }
//! ```
//!
//! **Prerouting at raw priority (-300).** It sees what goes to this host and what is forwarded to containers, before
//! destination NAT, before conntrack spends a microsecond and memory on a packet, and whether or not a connection
//! is established. `netdev` ingress drops equally fast but has to be bound to each interface by name, misses those
//! that appear later, and sees fragments and VLAN tags as they come.
//!
//! **A hash set for each prefix length, not an interval set.** A ban is exactly one element, so what the book says
//! and what the kernel holds can be compared one to one; overlapping prefixes live in different sets and need no
//! splitting; adding one costs the same beside a hundred thousand; and the interval sets' known troubles (`auto-merge`
//! with timeouts, ends that outlive their starts) cannot occur. The price is one masked lookup a packet for each
//! length in use, and those are few: /32, /24, /64, /128.
//!
//! **Counters where they are read.** Each element of `ban…` counts what it dropped; thousands that come at one time go
//! into `crowd…` sets, whose elements do not: a counter takes the kernel longer than the element (1 M: 1.6 s without,
//! 4.3–6.8 s with). Their rules count for all.
//!
//! **Timeouts are the kernel's.** A ban ends on time though toban be dead.
//!
//! Layout: `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`.

mod batch;
mod read;
mod rules;
mod sets;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use toban_model::ActionId;

use crate::firewall::{Firewall, Gate, Held, KernelBan, Target, Wanted};
use crate::netlink::{NLM_F_CREATE, Netlink, Refused};
use crate::{Error, Result};

use batch::{Batch, Elements};
use rules::looks_into;
use sets::{BanSet, Parts, gate_name, key_of};
use wire::*;

/// The table's name. Nobody else's table is ever touched.
pub const TABLE: &str = "toban";
const BANS: &str = "bans";
const GATES: &str = "gates";
/// `NF_IP_PRI_RAW`.
const PRIORITY_RAW: i32 = -300;

/// Different lists of ports at one time. Each costs a rule for each prefix length; plans name a service's ports, so
/// a handful is usual.
const PORT_LISTS_MAX: usize = 64;
/// Ports in one list: they are part of a set's name, which the kernel bounds to 255 bytes.
pub(crate) const PORTS_MAX: usize = 16;
/// Prefixes in one gate: each is a rule.
pub(crate) const GATE_FROM_MAX: usize = 128;
/// Gates at one time.
const GATES_MAX: usize = 16;
/// Elements of one message: a v6 element takes 40 bytes and a list less than 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 1_000;
/// Bytes of one transaction: fits the send buffer of a process that may not exceed Debian's wmem_max.
const TRANSACTION_BYTES: usize = 300_000;
/// Bans that are looked up in one request: their answers have to fit the receive buffer together.
const LOOKUPS_PER_REQUEST: usize = 32;
/// So many new bans at one time go into sets without counters.
const CROWD: usize = 4_096;
/// Of a crowd, each so-many-th is looked up at once; the engine's next look finds what else is missing.
const CROWD_LOOKED_UP: usize = 64;
/// A dump that is cut by changes in between is asked for again so many times.
const DUMP_TRIES: u32 = 8;
/// An element that the kernel drops between our look and our change fails the transaction; look again, so often.
const RACE_TRIES: u32 = 3;

/// The real packet filter.
pub struct Nftables {
    netlink: Netlink,
    /// What is known to be in the kernel; each use is checked against it afterwards.
    parts: Parts,
    /// The kernel takes a counter for each element (Linux 5.7).
    counts_elements: bool,
}

fn refused(doing: &'static str, refused: Refused) -> Error {
    match refused.errno {
        EPERM => Error::NoRights { doing },
        EOPNOTSUPP => Error::NoNftables { missing: "nf_tables (CONFIG_NF_TABLES)" },
        EAFNOSUPPORT => Error::NoNftables { missing: "nf_tables for inet (CONFIG_NF_TABLES_INET)" },
        EPROTONOSUPPORT => Error::NoNftables { missing: "nfnetlink (CONFIG_NETFILTER_NETLINK)" },
        ENOENT => Error::Gone { what: "a part that the change needs is not there".to_owned() },
        _ => Error::Netlink { doing, source: refused.io(), said: refused.said },
    }
}

/// The kernel refused a change, or one of toban's own limits did.
enum Unable {
    Kernel(Refused),
    Other(Error),
}

impl From<Refused> for Unable {
    fn from(refused: Refused) -> Unable {
        Unable::Kernel(refused)
    }
}

/// How far the kernel's remaining time may be from the wanted one without being set anew: what passes between
/// the plan's clock and the kernel's.
const TIME_SLACK: Duration = Duration::from_secs(1);

impl Nftables {
    /// Opens the way to the kernel's packet filter in this process's network namespace and looks whether it can be
    /// used: a kernel without nf_tables and a process without rights are told apart here, before any plan is made.
    /// Changes nothing.
    pub fn open() -> Result<Nftables> {
        let netlink = Netlink::open(NETLINK_NETFILTER).map_err(|source| match source.raw_os_error() {
            Some(EPROTONOSUPPORT | EAFNOSUPPORT) => {
                Error::NoNftables { missing: "nfnetlink (CONFIG_NETFILTER_NETLINK)" }
            }
            Some(EPERM) => Error::NoRights { doing: "open a netlink socket" },
            _ => Error::Netlink { doing: "open a netlink socket", source, said: None },
        })?;
        let mut nft = Nftables { netlink, parts: Parts::default(), counts_elements: true };
        // Dumping needs no nf_tables to be usable and, on most kernels, CAP_NET_ADMIN; an empty transaction asks both.
        let batch = Batch::begin(&mut nft.netlink);
        batch.commit(&mut nft.netlink).map_err(|error| refused("use nf_tables", error))?;
        match nft.look_at_parts() {
            Ok(parts) => nft.parts = parts.unwrap_or_default(),
            // Left half by somebody: the engine's first reconcile rebuilds it.
            Err(Error::Gone { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(nft)
    }

    /// Adds what the targets need of sets and rules to a transaction.
    fn add_parts(&self, batch: &mut Batch, wanted: &BTreeSet<BanSet>, parts: &mut Parts) -> Result<()> {
        for set in wanted {
            if parts.sets.contains(set) {
                continue;
            }
            let port_lists: BTreeSet<&Vec<u16>> = parts.sets.iter().map(|set| &set.ports).collect();
            let new_list = !port_lists.contains(&set.ports);
            if new_list && port_lists.len() >= PORT_LISTS_MAX {
                return Err(Error::TooMany {
                    what: "different lists of ports",
                    value: port_lists.len() + 1,
                    limit: PORT_LISTS_MAX,
                });
            }
            if set.ports.len() > PORTS_MAX {
                return Err(Error::TooMany {
                    what: "ports in one ban",
                    value: set.ports.len(),
                    limit: PORTS_MAX,
                });
            }
            batch.ban_set(set, new_list && !set.ports.is_empty(), self.counts_elements);
            parts.sets.insert(set.clone());
        }
        Ok(())
    }

    /// One round of changes, each in its counted or its crowd set (`true`). Elements are grouped by set, and the transaction is cut where it grows too large;
    /// the parts come with the first piece, so no piece ever stands without its rule.
    fn change(
        &mut self,
        remove: &[(&Target, bool)],
        put: &BTreeMap<(&Target, bool), Duration>,
        replace_all: Option<&[Gate]>,
    ) -> Result<(), Unable> {
        let mut parts = if replace_all.is_some() { Parts::default() } else { self.parts.clone() };
        let table_is_new = parts == Parts::default();
        let mut batch = Batch::begin(&mut self.netlink);
        if let Some(gates) = replace_all {
            // Create, then delete, then create: deleting alone fails when there is none (as `nft` scripts do it).
            batch.add(NEWTABLE, NLM_F_CREATE, |w| w.attr_str(TABLE_NAME, TABLE));
            batch.add(DELTABLE, 0, |w| w.attr_str(TABLE_NAME, TABLE));
            if put.is_empty() && gates.is_empty() {
                batch.commit(&mut self.netlink)?;
                self.parts = Parts::default();
                return Ok(());
            }
        }
        if table_is_new {
            batch.table();
        }
        let wanted: BTreeSet<BanSet> = put.keys().map(|(target, crowd)| BanSet::of(target, *crowd)).collect();
        self.add_parts(&mut batch, &wanted, &mut parts).map_err(Unable::Other)?;
        for gate in replace_all.unwrap_or_default() {
            batch.gate(gate);
            parts.gates.insert(gate.action);
        }
        let mut groups: BTreeMap<(u16, BanSet), Elements> = BTreeMap::new();
        for (target, crowd) in remove {
            groups.entry((1, BanSet::of(target, *crowd))).or_default().push((key_of(&target.prefix), None));
        }
        for ((target, crowd), time) in put {
            groups
                .entry((2, BanSet::of(target, *crowd)))
                .or_default()
                .push((key_of(&target.prefix), Some(*time)));
        }
        // An element that gets a new time is taken out and put in: kernels before 6.12 do not change the time of one
        // that is there. Both have to be in one transaction, or it would be free in between; so only changes that
        // are all new or all old are cut.
        for ((order, set), elements) in &groups {
            let kind = if *order == 1 { DELSETELEM } else { NEWSETELEM };
            for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
                batch.elements(kind, &set.name(), part);
                if batch.writer.bytes.len() > TRANSACTION_BYTES && (remove.is_empty() || put.is_empty()) {
                    let full = std::mem::replace(&mut batch, Batch::begin(&mut self.netlink));
                    full.commit(&mut self.netlink)?;
                    self.parts = parts.clone();
                }
            }
        }
        batch.commit(&mut self.netlink)?;
        self.parts = parts;
        Ok(())
    }

    /// Looks whether each of the bans is in the kernel with its time, and whether the rules that make them work are.
    fn verify(&mut self, bans: &BTreeMap<Target, Duration>, begun: Instant) -> Result<()> {
        match self.look_at_parts()? {
            Some(parts) => self.parts = parts,
            None => return Err(Error::Gone { what: "there is no table toban".to_owned() }),
        }
        let sparse = if bans.len() > CROWD { CROWD_LOOKED_UP } else { 1 };
        let looked_up = || bans.iter().step_by(sparse);
        let present = self.present(looked_up().map(|(target, _)| target))?;
        // A million take seconds, in which the first ones' time runs.
        let slack = TIME_SLACK * 2 + begun.elapsed();
        let mut missing = looked_up().filter(|(target, time)| {
            !present.get(target).is_some_and(|element| {
                element.remaining.is_some_and(|left| left + slack >= **time)
                // One that was asked for a moment only may have ended before we looked.
            }) && **time > slack
        });
        let Some((first, _)) = missing.next() else { return Ok(()) };
        Err(Error::NotInKernel { missing: 1 + missing.count(), of: bans.len(), first: first.to_string() })
    }

    /// After ENOENT: was it only an element that ended in between, or is the table not what we think?
    fn is_still_whole(&mut self) -> Result<()> {
        match self.look_at_parts()? {
            Some(parts) if parts == self.parts => Ok(()),
            found => {
                self.parts = found.unwrap_or_default();
                Err(Error::Gone { what: "somebody else changed it".to_owned() })
            }
        }
    }

    /// Runs a change, and decides what a refusal means. `true`: done; `false`: look again and retry.
    fn settle(&mut self, doing: &'static str, outcome: Result<(), Unable>) -> Result<bool> {
        match outcome {
            Ok(()) => Ok(true),
            Err(Unable::Other(error)) => Err(error),
            Err(Unable::Kernel(error)) if error.errno == ENOENT => self.is_still_whole().map(|()| false),
            // Linux before 5.7 has no counters in set elements: the rule's own counter has to do.
            Err(Unable::Kernel(error))
                if self.counts_elements && matches!(error.errno, EINVAL | EOPNOTSUPP) =>
            {
                self.counts_elements = false;
                Ok(false)
            }
            Err(Unable::Kernel(error)) => Err(refused(doing, error)),
        }
    }

    /// Deletes a gate's rules and set within a transaction.
    fn drop_gate(&mut self, batch: &mut Batch, action: ActionId) -> Result<()> {
        let name = gate_name(action);
        for (handle, rule) in self.rules(GATES)? {
            if looks_into(&rule, &name) {
                batch.add(DELRULE, 0, |w| {
                    w.attr_str(RULE_TABLE, TABLE);
                    w.attr_str(RULE_CHAIN, GATES);
                    w.attr_u64(RULE_HANDLE, handle);
                });
            }
        }
        batch.add(DELSET, 0, |w| {
            w.attr_str(SET_TABLE, TABLE);
            w.attr_str(SET_NAME, &name);
        });
        Ok(())
    }
}

fn kernel_ban(target: Target, element: read::Element) -> KernelBan {
    KernelBan { target, remaining: element.remaining, packets: element.packets, bytes: element.bytes }
}

impl Nftables {
    /// The gates of the table, once all of it is seen to be as it should be.
    fn whole_table(&mut self) -> Result<Option<Held>> {
        let Some(parts) = self.look_at_parts()? else {
            self.parts = Parts::default();
            return Ok(None);
        };
        self.parts = parts.clone();
        let mut held = Held::default();
        for action in &parts.gates {
            if self.gate_holds(*action)? {
                held.gates.push(*action);
            }
        }
        let names: Vec<String> = parts.gates.iter().map(|action| gate_name(*action)).collect();
        if self.rules(GATES)?.iter().any(|(_, rule)| !names.iter().any(|name| looks_into(rule, name))) {
            return Err(Error::Gone { what: "there is a foreign rule in chain gates".to_owned() });
        }
        Ok(Some(held))
    }
}

impl Firewall for Nftables {
    fn put(&mut self, bans: &BTreeMap<Target, Duration>) -> Result<()> {
        let begun = Instant::now();
        for _ in 0..RACE_TRIES {
            let crowd = bans.len() > CROWD;
            // To look each one up first would take longer than to put it in. One that is there keeps its time on older
            // kernels, which the engine's next look sets right.
            let present = if crowd { BTreeMap::new() } else { self.present(bans.keys())? };
            let mut old = Vec::new();
            let mut new = BTreeMap::new();
            for (target, time) in bans {
                match present.get(target) {
                    Some(element)
                        if element.remaining.is_some_and(|left| left.abs_diff(*time) <= TIME_SLACK) => {}
                    Some(element) => {
                        old.push((target, element.crowd));
                        new.insert((target, element.crowd), *time);
                    }
                    None => {
                        new.insert((target, crowd), *time);
                    }
                }
            }
            if new.is_empty() {
                break;
            }
            let outcome = self.change(&old, &new, None);
            if self.settle("add bans", outcome)? {
                break;
            }
        }
        self.verify(bans, begun)
    }

    fn remove(&mut self, targets: &[Target]) -> Result<()> {
        for _ in 0..RACE_TRIES {
            let present = self.present(targets.iter())?;
            if present.is_empty() {
                return Ok(());
            }
            let old: Vec<(&Target, bool)> =
                present.iter().map(|(target, element)| (target, element.crowd)).collect();
            let outcome = self.change(&old, &BTreeMap::new(), None);
            self.settle("remove bans", outcome)?;
        }
        match self.present(targets.iter())?.len() {
            0 => Ok(()),
            left => {
                Err(Error::TooMany { what: "bans still in the kernel after removal", value: left, limit: 0 })
            }
        }
    }

    fn put_gate(&mut self, gate: &Gate) -> Result<()> {
        if gate.from.len() > GATE_FROM_MAX {
            return Err(Error::TooMany {
                what: "prefixes in one gate",
                value: gate.from.len(),
                limit: GATE_FROM_MAX,
            });
        }
        if self.parts.gates.len() >= GATES_MAX && !self.parts.gates.contains(&gate.action) {
            return Err(Error::TooMany {
                what: "gates",
                value: self.parts.gates.len() + 1,
                limit: GATES_MAX,
            });
        }
        let mut batch = Batch::begin(&mut self.netlink);
        batch.table();
        if self.parts.gates.contains(&gate.action) {
            self.drop_gate(&mut batch, gate.action)?;
        }
        batch.gate(gate);
        batch.commit(&mut self.netlink).map_err(|error| refused("add a gate", error))?;
        self.parts.gates.insert(gate.action);
        if self.gate_holds(gate.action)? {
            return Ok(());
        }
        Err(Error::NotInKernel { missing: 1, of: 1, first: gate_name(gate.action) })
    }

    fn remove_gate(&mut self, action: ActionId) -> Result<()> {
        if !self.parts.gates.contains(&action) {
            return Ok(());
        }
        let mut batch = Batch::begin(&mut self.netlink);
        self.drop_gate(&mut batch, action)?;
        match batch.commit(&mut self.netlink) {
            Ok(()) => {}
            Err(error) if error.errno == ENOENT => {
                if let Some(parts) = self.look_at_parts()? {
                    self.parts = parts;
                    return Err(Error::Gone { what: "a gate was changed by somebody else".to_owned() });
                }
            }
            Err(error) => return Err(refused("remove a gate", error)),
        }
        self.parts.gates.remove(&action);
        Ok(())
    }

    fn held(&mut self) -> Result<Option<Held>> {
        let Some(mut held) = self.whole_table()? else { return Ok(None) };
        for set in self.parts.sets.clone() {
            for (key, element) in self.elements(&set.name())? {
                let Some(target) = set.target(&key) else {
                    return Err(Error::Malformed { doing: "list a set's elements" });
                };
                held.bans.insert(target.clone(), kernel_ban(target, element));
            }
        }
        Ok(Some(held))
    }

    fn held_of(&mut self, targets: &[&Target]) -> Result<Option<Held>> {
        let Some(mut held) = self.whole_table()? else { return Ok(None) };
        let found = self.present(targets.iter().copied())?;
        held.bans = found
            .into_iter()
            .map(|(target, element)| (target.clone(), kernel_ban(target, element)))
            .collect();
        Ok(Some(held))
    }

    fn generation(&mut self) -> Result<Option<u32>> {
        self.last_transaction()
    }

    fn rebuild(&mut self, wanted: &Wanted) -> Result<()> {
        let begun = Instant::now();
        for _ in 0..RACE_TRIES {
            let crowd = wanted.bans.len() > CROWD;
            let put: BTreeMap<(&Target, bool), Duration> =
                wanted.bans.iter().map(|(target, time)| ((target, crowd), *time)).collect();
            let outcome = self.change(&[], &put, Some(&wanted.gates));
            if self.settle("rebuild toban's table", outcome)? {
                break;
            }
        }
        if *wanted == Wanted::default() {
            return Ok(());
        }
        self.verify(&wanted.bans, begun)?;
        for gate in &wanted.gates {
            if !self.gate_holds(gate.action)? {
                return Err(Error::NotInKernel {
                    missing: 1,
                    of: wanted.gates.len(),
                    first: gate_name(gate.action),
                });
            }
        }
        Ok(())
    }
}
