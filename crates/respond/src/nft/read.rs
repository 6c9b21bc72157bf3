//! What the kernel holds: dumped, looked up, and held against what it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use toban_model::ActionId;

use super::rules::{Expr, ban_rule, drops, looks_into, same_rule};
use super::sets::{BanSet, Parts, gate_name, key_of, ports_name};
use super::wire::*;
use super::{BANS, DUMP_TRIES, GATES, LOOKUPS_PER_REQUEST, Nftables, PRIORITY_RAW, TABLE, refused};
use crate::firewall::Target;
use crate::netlink::{NLM_F_DUMP, Writer, as_str, as_u32, as_u64, attr_of, attrs};
use crate::{Error, Result};

/// One element as the kernel has it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Element {
    /// In which of a target's two sets.
    pub(super) crowd: bool,
    pub(super) remaining: Option<Duration>,
    pub(super) packets: Option<u64>,
    pub(super) bytes: Option<u64>,
}

pub(super) fn collect_elements(payload: &[u8], found: &mut BTreeMap<Vec<u8>, Element>) {
    for (_, element) in attr_of(payload, ELEMENTS).into_iter().flat_map(attrs) {
        let Some(key) = attr_of(element, ELEMENT_KEY).and_then(|key| attr_of(key, DATA_VALUE)) else {
            continue;
        };
        // With one expression older and newer kernels say it in one attribute, with several in a list.
        let counter = attr_of(element, ELEMENT_EXPR)
            .or_else(|| attr_of(element, ELEMENT_EXPRESSIONS).and_then(|list| attr_of(list, LIST_ELEM)))
            .filter(|expr| attr_of(expr, EXPR_NAME).and_then(as_str) == Some("counter"))
            .and_then(|expr| attr_of(expr, EXPR_DATA));
        let number = |kind| counter.and_then(|counter| attr_of(counter, kind)).and_then(as_u64);
        let timed = attr_of(element, ELEMENT_TIMEOUT).or(attr_of(element, ELEMENT_EXPIRATION)).is_some();
        found.insert(
            key.to_vec(),
            Element {
                crowd: false,
                remaining: timed.then(|| {
                    Duration::from_millis(attr_of(element, ELEMENT_EXPIRATION).and_then(as_u64).unwrap_or(0))
                }),
                packets: number(COUNTER_PACKETS),
                bytes: number(COUNTER_BYTES),
            },
        );
    }
}

impl Nftables {
    pub(super) fn dump(
        &mut self,
        doing: &'static str,
        kind: u16,
        body: impl Fn(&mut Writer),
        mut each: impl FnMut(&[u8]),
    ) -> Result<bool> {
        let seq = self.netlink.seq();
        let mut writer = Writer::default();
        writer.message(kind, NLM_F_DUMP, seq, &[NFPROTO_INET, 0, 0, 0], |w| body(w));
        self.netlink
            .ask(&writer, |_, payload| each(payload.get(4..).unwrap_or(&[])))
            .map_err(|error| refused(doing, error))
    }

    /// Dumps into a fresh `T` until a dump was not cut by a change.
    pub(super) fn dump_whole<T: Default>(
        &mut self,
        doing: &'static str,
        kind: u16,
        body: impl Fn(&mut Writer),
        each: impl Fn(&mut T, &[u8]),
    ) -> Result<T> {
        for _ in 0..DUMP_TRIES {
            let mut found = T::default();
            if self.dump(doing, kind, &body, |payload| each(&mut found, payload))? {
                return Ok(found);
            }
        }
        Err(Error::Netlink { doing, source: rustix::io::Errno::INTR.into(), said: None })
    }

    pub(super) fn table_exists(&mut self) -> Result<bool> {
        self.dump_whole(
            "list tables",
            GETTABLE,
            |_| {},
            |found: &mut bool, payload| {
                *found |= attr_of(payload, TABLE_NAME).and_then(as_str) == Some(TABLE);
            },
        )
    }

    /// What the table consists of, after having made sure that each part does what it should: a set that no rule
    /// looks into bans nobody. `None` without a table.
    pub(super) fn look_at_parts(&mut self) -> Result<Option<Parts>> {
        if !self.table_exists()? {
            return Ok(None);
        }
        let chains = self.dump_whole(
            "list chains",
            GETCHAIN,
            |_| {},
            |found: &mut Vec<(String, bool)>, payload| {
                if attr_of(payload, CHAIN_TABLE).and_then(as_str) != Some(TABLE) {
                    return;
                }
                let name = attr_of(payload, CHAIN_NAME).and_then(as_str).unwrap_or_default().to_owned();
                let hook = attr_of(payload, CHAIN_HOOK).unwrap_or(&[]);
                let priority = attr_of(hook, HOOK_PRIORITY).and_then(as_u32).map(u32::cast_signed);
                let wanted = match name.as_str() {
                    BANS => Some(PRIORITY_RAW),
                    GATES => Some(PRIORITY_RAW + 1),
                    _ => None,
                };
                let good =
                    attr_of(hook, HOOK_NUM).and_then(as_u32) == Some(HOOK_PREROUTING) && priority == wanted;
                found.push((name, good));
            },
        )?;
        for chain in [BANS, GATES] {
            if !chains.iter().any(|(name, good)| name == chain && *good) {
                return Err(Error::Gone { what: format!("chain {chain} is missing or hooked elsewhere") });
            }
        }
        if let Some((other, _)) = chains.iter().find(|(name, _)| name != BANS && name != GATES) {
            return Err(Error::Gone { what: format!("there is a foreign chain {other} in it") });
        }
        let names = self.dump_whole(
            "list sets",
            GETSET,
            |w| w.attr_str(SET_TABLE, TABLE),
            |found: &mut Vec<(String, u32)>, payload| {
                if attr_of(payload, SET_TABLE).and_then(as_str) == Some(TABLE) {
                    let flags = attr_of(payload, SET_FLAGS).and_then(as_u32).unwrap_or(0);
                    found.push((
                        attr_of(payload, SET_NAME).and_then(as_str).unwrap_or_default().to_owned(),
                        flags,
                    ));
                }
            },
        )?;
        let mut parts = Parts::default();
        let mut port_sets = BTreeSet::new();
        for (name, flags) in &names {
            let timed = flags & SET_FLAG_TIMEOUT != 0;
            if let Some(set) = BanSet::parse(name).filter(|_| timed) {
                parts.sets.insert(set);
            } else if let Some(action) =
                name.strip_prefix("gate_").and_then(|id| id.parse().ok()).filter(|_| timed)
            {
                parts.gates.insert(ActionId(action));
            } else if name.starts_with("ports_") {
                port_sets.insert(name.clone());
            } else {
                return Err(Error::Gone { what: format!("there is a foreign set {name} in it") });
            }
        }
        for set in &parts.sets {
            let name = format!("ports_{}", ports_name(&set.ports));
            if set.ports.is_empty() {
                continue;
            }
            let mut ports: Vec<u16> = if port_sets.contains(&name) {
                self.elements(&name)?
                    .keys()
                    .filter_map(|key| Some(u16::from_be_bytes(key.as_slice().try_into().ok()?)))
                    .collect()
            } else {
                vec![]
            };
            ports.sort_unstable();
            if ports != set.ports {
                return Err(Error::Gone { what: format!("set {name} does not hold its ports") });
            }
        }
        let rules = self.rules(BANS)?;
        // A rule in front that accepts would switch off all that follow, so the chain has to be exactly ours.
        let mut unseen: Vec<(&BanSet, Vec<Expr>)> =
            parts.sets.iter().map(|set| (set, ban_rule(set))).collect();
        for (_, rule) in &rules {
            let Some(at) = unseen.iter().position(|(_, ours)| same_rule(rule, ours)) else {
                return Err(Error::Gone {
                    what: "there is a foreign or changed rule in chain bans".to_owned(),
                });
            };
            unseen.swap_remove(at);
        }
        if let Some((set, _)) = unseen.first() {
            return Err(Error::Gone { what: format!("no rule looks into set {}", set.name()) });
        }
        Ok(Some(parts))
    }

    /// The number of the last transaction of anybody in this network namespace: while it stays, nothing was changed,
    /// though bans end by themselves. `None` on kernels before 3.18.
    pub(super) fn last_transaction(&mut self) -> Result<Option<u32>> {
        let mut found = None;
        let seq = self.netlink.seq();
        let mut writer = Writer::default();
        writer.message(GETGEN, 0, seq, &[0; 4], |_| {});
        self.netlink
            .ask_many(&writer, EOPNOTSUPP, |payload| {
                found = attr_of(payload.get(4..).unwrap_or(&[]), GEN_ID).and_then(as_u32);
            })
            .map_err(|error| refused("ask for the last change", error))?;
        Ok(found)
    }

    /// The rules of a chain: handle and expressions.
    pub(super) fn rules(&mut self, chain: &'static str) -> Result<Vec<(u64, Vec<u8>)>> {
        self.dump_whole(
            "list rules",
            GETRULE,
            |w| {
                w.attr_str(RULE_TABLE, TABLE);
                w.attr_str(RULE_CHAIN, chain);
            },
            |found: &mut Vec<(u64, Vec<u8>)>, payload| {
                // Kernels before 4.19 ignore the filter.
                if attr_of(payload, RULE_TABLE).and_then(as_str) == Some(TABLE)
                    && attr_of(payload, RULE_CHAIN).and_then(as_str) == Some(chain)
                {
                    let handle = attr_of(payload, RULE_HANDLE).and_then(as_u64).unwrap_or(0);
                    found.push((handle, attr_of(payload, RULE_EXPRESSIONS).unwrap_or(&[]).to_vec()));
                }
            },
        )
    }

    pub(super) fn elements(&mut self, set: &str) -> Result<BTreeMap<Vec<u8>, Element>> {
        // By key: a walk over a hash that is being resized may meet an element twice.
        self.dump_whole(
            "list a set's elements",
            GETSETELEM,
            |w| {
                w.attr_str(ELEMENTS_TABLE, TABLE);
                w.attr_str(ELEMENTS_SET, set);
            },
            |found: &mut BTreeMap<Vec<u8>, Element>, payload| collect_elements(payload, found),
        )
    }

    /// Those of the targets that the kernel holds. Each is looked up by its key, many in one request: the kernel's
    /// dump of a hash set starts over for each page, so that reading a large one takes time by its square.
    pub(super) fn present<'a>(
        &mut self,
        targets: impl Iterator<Item = &'a Target>,
    ) -> Result<BTreeMap<Target, Element>> {
        let mut found = BTreeMap::new();
        let parts = self.parts.clone();
        let sets = |target: &Target| [false, true].map(|crowd| BanSet::of(target, crowd));
        let mut places = targets
            .flat_map(|target| sets(target).map(|set| (target, set)))
            .filter(|(_, set)| parts.sets.contains(set))
            .peekable();
        while places.peek().is_some() {
            let mut writer = Writer::default();
            for (target, set) in places.by_ref().take(LOOKUPS_PER_REQUEST) {
                let seq = self.netlink.seq();
                writer.message(GETSETELEM, 0, seq, &[NFPROTO_INET, 0, 0, 0], |w| {
                    w.attr_str(ELEMENTS_TABLE, TABLE);
                    w.attr_str(ELEMENTS_SET, &set.name());
                    w.nest(ELEMENTS, |w| {
                        w.nest(LIST_ELEM, |w| {
                            w.nest(ELEMENT_KEY, |w| w.attr(DATA_VALUE, &key_of(&target.prefix)));
                        });
                    });
                });
            }
            self.netlink
                .ask_many(&writer, ENOENT, |payload| {
                    let payload = payload.get(4..).unwrap_or(&[]);
                    let set = attr_of(payload, ELEMENTS_SET).and_then(as_str).and_then(BanSet::parse);
                    let mut elements = BTreeMap::new();
                    collect_elements(payload, &mut elements);
                    for (key, element) in elements {
                        let Some(set) = &set else { continue };
                        if let Some(target) = set.target(&key) {
                            found.insert(target, Element { crowd: set.crowd, ..element });
                        }
                    }
                })
                .map_err(|error| refused("look up bans", error))?;
        }
        Ok(found)
    }

    /// A gate works if its ports are there and its last rule drops.
    pub(super) fn gate_holds(&mut self, action: ActionId) -> Result<bool> {
        let name = gate_name(action);
        let ports = self.elements(&name)?;
        let rules = self.rules(GATES)?;
        let last = rules.iter().rev().find(|(_, rule)| looks_into(rule, &name));
        Ok(!ports.is_empty() && last.is_some_and(|(_, rule)| drops(rule)))
    }
}
