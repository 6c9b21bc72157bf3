//! The rules that make the sets effective, and whether the kernel's rule is the one that was sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toban_model::Prefix;

use super::sets::{BanSet, gate_name, key_of, mask_of, ports_name};
use super::wire::*;
use crate::firewall::Gate;
use crate::netlink::{Writer, as_str, as_u32, attr_of, attrs};

/// A rule as a list of expressions: name, and its data as attributes.
pub(super) type Expr = (&'static str, Vec<u8>);

pub(super) fn expr(name: &'static str, body: impl FnOnce(&mut Writer)) -> Expr {
    let mut writer = Writer::default();
    body(&mut writer);
    (name, writer.bytes)
}

pub(super) fn meta(key: u32) -> Expr {
    expr("meta", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, key);
    })
}

pub(super) fn cmp(op: u32, value: &[u8]) -> Expr {
    expr("cmp", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, op);
        w.nest(3, |w| w.attr(DATA_VALUE, value));
    })
}

pub(super) fn payload(base: u32, offset: u32, len: u32) -> Expr {
    expr("payload", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, base);
        w.attr_u32(3, offset);
        w.attr_u32(4, len);
    })
}

pub(super) fn masked(mask: &[u8]) -> Expr {
    let len = u32::try_from(mask.len()).expect("a mask is 4 or 16 bytes");
    expr("bitwise", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, REG_1);
        w.attr_u32(3, len);
        w.nest(4, |w| w.attr(DATA_VALUE, mask));
        w.nest(5, |w| w.attr(DATA_VALUE, &vec![0; mask.len()]));
    })
}

pub(super) fn lookup(set: &str) -> Expr {
    expr("lookup", |w| {
        w.attr_str(1, set);
        w.attr_u32(2, REG_1);
    })
}

pub(super) fn counter() -> Expr {
    expr("counter", |_| {})
}

pub(super) fn verdict(code: u32) -> Expr {
    expr("immediate", |w| {
        w.attr_u32(1, REG_VERDICT);
        w.nest(2, |w| w.nest(DATA_VERDICT, |w| w.attr_u32(VERDICT_CODE, code)));
    })
}

pub(super) const CMP_EQ: u32 = 0;
pub(super) const CMP_NEQ: u32 = 1;
pub(super) const META_IIFTYPE: u32 = 8;
pub(super) const META_NFPROTO: u32 = 15;
pub(super) const META_L4PROTO: u32 = 16;
pub(super) const BASE_NETWORK: u32 = 1;
pub(super) const BASE_TRANSPORT: u32 = 2;
pub(super) const IPPROTO_TCP: u8 = 6;

/// `ip saddr & mask` in register 1.
pub(super) fn masked_source(v6: bool, len: u8, mask: &[u8]) -> Vec<Expr> {
    let (proto, offset, bytes) = if v6 { (NFPROTO_IPV6, 8, 16) } else { (NFPROTO_IPV4, 12, 4) };
    let mut exprs = vec![meta(META_NFPROTO), cmp(CMP_EQ, &[proto]), payload(BASE_NETWORK, offset, bytes)];
    if u32::from(len) < bytes * 8 {
        exprs.push(masked(mask));
    }
    exprs
}

/// `tcp dport @set`.
pub(super) fn to_ports(set: &str) -> Vec<Expr> {
    vec![meta(META_L4PROTO), cmp(CMP_EQ, &[IPPROTO_TCP]), payload(BASE_TRANSPORT, 2, 2), lookup(set)]
}

pub(super) fn ban_rule(set: &BanSet) -> Vec<Expr> {
    let any = if set.v6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    let mask =
        Prefix::new(any, set.len).map(|prefix| mask_of(&prefix)).expect("lengths were checked by the parser");
    let mut exprs = masked_source(set.v6, set.len, &mask);
    exprs.push(lookup(&set.name()));
    if !set.ports.is_empty() {
        exprs.extend(to_ports(&format!("ports_{}", ports_name(&set.ports))));
    }
    exprs.push(counter());
    exprs.push(verdict(NF_DROP));
    exprs
}

pub(super) fn gate_rules(gate: &Gate) -> Vec<Vec<Expr>> {
    let name = gate_name(gate.action);
    let mut rules: Vec<Vec<Expr>> = gate
        .from
        .iter()
        .map(|from| {
            let mut exprs = masked_source(matches!(from, Prefix::V6(_)), from.prefix_len(), &mask_of(from));
            exprs.push(cmp(CMP_EQ, &key_of(from)));
            exprs.extend(to_ports(&name));
            exprs.push(verdict(NF_ACCEPT));
            exprs
        })
        .collect();
    // Only what is for this host (a container's own request to somebody's port 80 passes prerouting, too), and never
    // the host's talk to itself.
    pub(super) const ARPHRD_LOOPBACK: u16 = 772;
    pub(super) const RTN_LOCAL: u32 = 2;
    pub(super) const FIB_RESULT_ADDRTYPE: u32 = 3;
    pub(super) const FIB_DADDR: u32 = 2;
    let mut exprs = vec![
        meta(META_IIFTYPE),
        cmp(CMP_NEQ, &ARPHRD_LOOPBACK.to_ne_bytes()),
        expr("fib", |w| {
            w.attr_u32(1, REG_1);
            w.attr_u32(2, FIB_RESULT_ADDRTYPE);
            w.attr_u32(3, FIB_DADDR);
        }),
        cmp(CMP_EQ, &RTN_LOCAL.to_ne_bytes()),
    ];
    exprs.extend(to_ports(&name));
    exprs.push(counter());
    exprs.push(verdict(NF_DROP));
    rules.push(exprs);
    rules
}

/// Whether the kernel's rule is the one that was sent: each of our attributes is there with our bytes. The kernel
/// adds some of its own (a counter's numbers, the operation of a bitwise).
pub(super) fn same_rule(kernel: &[u8], ours: &[Expr]) -> bool {
    let mut theirs = attrs(kernel).filter(|(kind, _)| *kind == LIST_ELEM);
    for (name, data) in ours {
        let Some((_, element)) = theirs.next() else { return false };
        if attr_of(element, EXPR_NAME).and_then(as_str) != Some(name) {
            return false;
        }
        let kernel_data = attr_of(element, EXPR_DATA).unwrap_or(&[]);
        if !covers(kernel_data, data) {
            return false;
        }
    }
    theirs.next().is_none()
}

/// Whether each attribute of `ours` is among `theirs`. Values that are themselves attributes differ in the nested
/// flag from kernel to kernel, so they are compared with that bit cleared.
pub(super) fn covers(theirs: &[u8], ours: &[u8]) -> bool {
    attrs(ours).all(|(kind, value)| {
        attr_of(theirs, kind).is_some_and(|found| without_nested_flag(found) == without_nested_flag(value))
    })
}

pub(super) fn without_nested_flag(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    let mut at = 0;
    // Only a value that is one well-formed list of attributes is touched.
    while let Some(head) = value.get(at..at + 4) {
        let len = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        if len < 4 || at + len > value.len() {
            break;
        }
        if cfg!(target_endian = "little") {
            value[at + 3] &= 0x7f;
        } else {
            value[at + 2] &= 0x7f;
        }
        at += (len + 3) & !3;
    }
    value
}

pub(super) fn looks_into(rule: &[u8], set: &str) -> bool {
    attrs(rule).any(|(_, element)| {
        attr_of(element, EXPR_NAME).and_then(as_str) == Some("lookup")
            && attr_of(element, EXPR_DATA).and_then(|lookup| attr_of(lookup, 1)).and_then(as_str) == Some(set)
    })
}

pub(super) fn drops(rule: &[u8]) -> bool {
    attrs(rule).last().and_then(|(_, element)| attr_of(element, EXPR_DATA)).is_some_and(|data| {
        let verdict = attr_of(data, 2).and_then(|data| attr_of(data, DATA_VERDICT));
        verdict.and_then(|verdict| attr_of(verdict, VERDICT_CODE)).and_then(as_u32) == Some(NF_DROP)
    })
}
