//! A transaction under construction.

use std::time::Duration;

use super::rules::{Expr, ban_rule, gate_rules};
use super::sets::{BanSet, gate_name, ports_name};
use super::wire::*;
use super::{BANS, ELEMENTS_PER_MESSAGE, GATES, PRIORITY_RAW, TABLE};
use crate::firewall::Gate;
use crate::netlink::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, Netlink, Refused, Writer};

/// An element's key: the bytes of a network's first address, or of a port.
pub(super) type Key = Vec<u8>;
/// Keys with their times.
pub(super) type Elements = Vec<(Key, Option<Duration>)>;

/// A transaction under construction: everything in it happens, or nothing.
pub(super) struct Batch {
    pub(super) writer: Writer,
    seq: u32,
    set_id: u32,
}

impl Batch {
    pub(super) fn begin(netlink: &mut Netlink) -> Batch {
        let mut batch = Batch { writer: Writer::default(), seq: netlink.seq(), set_id: 0 };
        let seq = batch.seq;
        batch.writer.message(BATCH_BEGIN, 0, seq, &BATCH_HEAD, |_| {});
        batch
    }

    pub(super) fn add(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        self.writer.message(kind, flags | NLM_F_ACK, seq, &[NFPROTO_INET, 0, 0, 0], body);
    }

    pub(super) fn commit(mut self, netlink: &mut Netlink) -> Result<(), Refused> {
        let seq = self.seq.wrapping_add(1);
        self.writer.message(BATCH_END, 0, seq, &BATCH_HEAD, |_| {});
        netlink.skip_to(seq);
        netlink.transact(&self.writer)
    }

    pub(super) fn table(&mut self) {
        self.add(NEWTABLE, NLM_F_CREATE, |w| w.attr_str(TABLE_NAME, TABLE));
        for (chain, priority) in [(BANS, PRIORITY_RAW), (GATES, PRIORITY_RAW + 1)] {
            self.add(NEWCHAIN, NLM_F_CREATE, |w| {
                w.attr_str(CHAIN_TABLE, TABLE);
                w.attr_str(CHAIN_NAME, chain);
                w.nest(CHAIN_HOOK, |w| {
                    w.attr_u32(HOOK_NUM, HOOK_PREROUTING);
                    w.attr(HOOK_PRIORITY, &priority.to_be_bytes());
                });
                w.attr_u32(CHAIN_POLICY, NF_ACCEPT);
                w.attr_str(CHAIN_TYPE, "filter");
            });
        }
    }

    pub(super) fn set(&mut self, name: &str, key_type: u32, key_len: u32, flags: u32, counts: bool) {
        self.set_id += 1;
        let id = self.set_id;
        self.add(NEWSET, NLM_F_CREATE, |w| {
            w.attr_str(SET_TABLE, TABLE);
            w.attr_str(SET_NAME, name);
            w.attr_u32(SET_FLAGS, flags);
            w.attr_u32(SET_KEY_TYPE, key_type);
            w.attr_u32(SET_KEY_LEN, key_len);
            w.attr_u32(SET_ID, id);
            if counts {
                w.nest(SET_EXPR, |w| w.attr_str(EXPR_NAME, "counter"));
            }
        });
    }

    pub(super) fn rule(&mut self, chain: &str, exprs: &[Expr]) {
        self.add(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |w| {
            w.attr_str(RULE_TABLE, TABLE);
            w.attr_str(RULE_CHAIN, chain);
            w.nest(RULE_EXPRESSIONS, |w| {
                for (name, data) in exprs {
                    w.nest(LIST_ELEM, |w| {
                        w.attr_str(EXPR_NAME, name);
                        w.nest(EXPR_DATA, |w| w.bytes.extend_from_slice(data));
                    });
                }
            });
        });
    }

    pub(super) fn ban_set(&mut self, set: &BanSet, port_list_is_new: bool, counts: bool) {
        if port_list_is_new {
            let name = format!("ports_{}", ports_name(&set.ports));
            self.set(&name, TYPE_INET_SERVICE, 2, 0, false);
            let ports: Vec<_> = set.ports.iter().map(|port| (port.to_be_bytes().to_vec(), None)).collect();
            self.elements(NEWSETELEM, &name, &ports);
        }
        let kind = if set.v6 { TYPE_IP6ADDR } else { TYPE_IPADDR };
        self.set(&set.name(), kind, set.key_len(), SET_FLAG_TIMEOUT, counts && !set.crowd);
        self.rule(BANS, &ban_rule(set));
    }

    pub(super) fn gate(&mut self, gate: &Gate) {
        let name = gate_name(gate.action);
        self.set(&name, TYPE_INET_SERVICE, 2, SET_FLAG_TIMEOUT, false);
        let ports: Vec<_> =
            gate.ports.iter().map(|port| (port.to_be_bytes().to_vec(), gate.lapses_in)).collect();
        self.elements(NEWSETELEM, &name, &ports);
        for rule in gate_rules(gate) {
            self.rule(GATES, &rule);
        }
    }

    pub(super) fn elements(&mut self, kind: u16, set: &str, elements: &[(Key, Option<Duration>)]) {
        for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
            let flags = if kind == NEWSETELEM { NLM_F_CREATE } else { 0 };
            self.add(kind, flags, |w| {
                w.attr_str(ELEMENTS_TABLE, TABLE);
                w.attr_str(ELEMENTS_SET, set);
                w.nest(ELEMENTS, |w| {
                    for (key, timeout) in part {
                        w.nest(LIST_ELEM, |w| {
                            w.nest(ELEMENT_KEY, |w| w.attr(DATA_VALUE, key));
                            if let Some(timeout) = timeout {
                                w.attr_u64(ELEMENT_TIMEOUT, millis(*timeout));
                            }
                        });
                    }
                });
            });
        }
    }
}

/// Never zero: that would mean for ever.
pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
