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
//! **Timeouts are the kernel's.** A ban ends on time though toban be dead.
//!
//! Layout: `linux/netfilter/nf_tables.h`, `linux/netfilter/nfnetlink.h`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use toban_model::{ActionId, Prefix};

use crate::firewall::{Firewall, Gate, Held, KernelBan, Target, Wanted};
use crate::netlink::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, Netlink, Refused, Writer, as_str, as_u32, as_u64,
    attr_of, attrs,
};
use crate::{Error, Result};

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
/// A dump that is cut by changes in between is asked for again so many times.
const DUMP_TRIES: u32 = 8;
/// An element that the kernel drops between our look and our change fails the transaction; look again, so often.
const RACE_TRIES: u32 = 3;

const NETLINK_NETFILTER: isize = 12;
const SUBSYS: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// nfgenmsg of both ends of a transaction: any family, version 0, and the subsystem (10, nf_tables) as big-endian `res_id`.
const BATCH_HEAD: [u8; 4] = [0, 0, 0, 10];
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const HOOK_PREROUTING: u32 = 0;

// enum nf_tables_msg_types
const NEWTABLE: u16 = SUBSYS;
const GETTABLE: u16 = SUBSYS | 1;
const DELTABLE: u16 = SUBSYS | 2;
const NEWCHAIN: u16 = SUBSYS | 3;
const GETCHAIN: u16 = SUBSYS | 4;
const NEWRULE: u16 = SUBSYS | 6;
const GETRULE: u16 = SUBSYS | 7;
const DELRULE: u16 = SUBSYS | 8;
const NEWSET: u16 = SUBSYS | 9;
const GETSET: u16 = SUBSYS | 10;
const DELSET: u16 = SUBSYS | 11;
const NEWSETELEM: u16 = SUBSYS | 12;
const GETSETELEM: u16 = SUBSYS | 13;
const DELSETELEM: u16 = SUBSYS | 14;

// Attributes, by the object they belong to.
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUM: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_HANDLE: u16 = 3;
const RULE_EXPRESSIONS: u16 = 4;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_ID: u16 = 10;
const SET_EXPR: u16 = 17;
const SET_FLAG_TIMEOUT: u32 = 0x10;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS: u16 = 3;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_TIMEOUT: u16 = 4;
const ELEMENT_EXPIRATION: u16 = 5;
const ELEMENT_EXPR: u16 = 7;
const ELEMENT_EXPRESSIONS: u16 = 11;
const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const COUNTER_BYTES: u16 = 1;
const COUNTER_PACKETS: u16 = 2;

const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;

// nft's own numbers of types (`include/datatype.h` of nftables): only for showing the elements as what they are.
const TYPE_IPADDR: u32 = 7;
const TYPE_IP6ADDR: u32 = 8;
const TYPE_INET_SERVICE: u32 = 13;

/// An element's key: the bytes of a network's first address, or of a port.
type Key = Vec<u8>;
/// Keys with their times.
type Elements = Vec<(Key, Option<Duration>)>;

/// The real packet filter.
pub struct Nftables {
    netlink: Netlink,
    /// What is known to be in the kernel; each use is checked against it afterwards.
    parts: Parts,
    /// The kernel takes a counter for each element (Linux 5.7).
    counts_elements: bool,
}

/// The sets and gates that the table has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Parts {
    sets: BTreeSet<BanSet>,
    gates: BTreeSet<ActionId>,
}

/// One set of bans: a family, a prefix length, a list of ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct BanSet {
    v6: bool,
    len: u8,
    ports: Vec<u16>,
}

impl BanSet {
    fn of(target: &Target) -> BanSet {
        BanSet {
            v6: matches!(target.prefix, Prefix::V6(_)),
            len: target.prefix.prefix_len(),
            ports: target.ports.clone(),
        }
    }

    fn name(&self) -> String {
        format!("ban{}_{}_{}", if self.v6 { 6 } else { 4 }, self.len, ports_name(&self.ports))
    }

    fn parse(name: &str) -> Option<BanSet> {
        let mut parts = name.strip_prefix("ban")?.split('_');
        let v6 = match parts.next()? {
            "4" => false,
            "6" => true,
            _ => return None,
        };
        let len = parts.next()?.parse().ok().filter(|len| *len <= if v6 { 128 } else { 32 })?;
        let rest: Vec<&str> = parts.collect();
        let ports = if rest == ["all"] {
            vec![]
        } else {
            rest.iter().map(|p| p.parse().ok()).collect::<Option<Vec<u16>>>()?
        };
        let set = BanSet { v6, len, ports };
        (set.name() == name).then_some(set)
    }

    fn key_len(&self) -> u32 {
        if self.v6 { 16 } else { 4 }
    }

    fn target(&self, key: &[u8]) -> Option<Target> {
        let address: IpAddr = if self.v6 {
            Ipv6Addr::from(<[u8; 16]>::try_from(key).ok()?).into()
        } else {
            Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?).into()
        };
        Some(Target { prefix: Prefix::new(address, self.len).ok()?, ports: self.ports.clone() })
    }
}

fn ports_name(ports: &[u16]) -> String {
    if ports.is_empty() {
        return "all".to_owned();
    }
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join("_")
}

fn key_of(prefix: &Prefix) -> Vec<u8> {
    match prefix.network() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn mask_of(prefix: &Prefix) -> Vec<u8> {
    match prefix.netmask() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn gate_name(action: ActionId) -> String {
    format!("gate_{}", action.0)
}

/// A rule as a list of expressions: name, and its data as attributes.
type Expr = (&'static str, Vec<u8>);

fn expr(name: &'static str, body: impl FnOnce(&mut Writer)) -> Expr {
    let mut writer = Writer::default();
    body(&mut writer);
    (name, writer.bytes)
}

fn meta(key: u32) -> Expr {
    expr("meta", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, key);
    })
}

fn cmp(op: u32, value: &[u8]) -> Expr {
    expr("cmp", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, op);
        w.nest(3, |w| w.attr(DATA_VALUE, value));
    })
}

fn payload(base: u32, offset: u32, len: u32) -> Expr {
    expr("payload", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, base);
        w.attr_u32(3, offset);
        w.attr_u32(4, len);
    })
}

fn masked(mask: &[u8]) -> Expr {
    let len = u32::try_from(mask.len()).expect("a mask is 4 or 16 bytes");
    expr("bitwise", |w| {
        w.attr_u32(1, REG_1);
        w.attr_u32(2, REG_1);
        w.attr_u32(3, len);
        w.nest(4, |w| w.attr(DATA_VALUE, mask));
        w.nest(5, |w| w.attr(DATA_VALUE, &vec![0; mask.len()]));
    })
}

fn lookup(set: &str) -> Expr {
    expr("lookup", |w| {
        w.attr_str(1, set);
        w.attr_u32(2, REG_1);
    })
}

fn counter() -> Expr {
    expr("counter", |_| {})
}

fn verdict(code: u32) -> Expr {
    expr("immediate", |w| {
        w.attr_u32(1, REG_VERDICT);
        w.nest(2, |w| w.nest(DATA_VERDICT, |w| w.attr_u32(VERDICT_CODE, code)));
    })
}

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const META_IIFTYPE: u32 = 8;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const BASE_NETWORK: u32 = 1;
const BASE_TRANSPORT: u32 = 2;
const IPPROTO_TCP: u8 = 6;

/// `ip saddr & mask` in register 1.
fn masked_source(v6: bool, len: u8, mask: &[u8]) -> Vec<Expr> {
    let (proto, offset, bytes) = if v6 { (NFPROTO_IPV6, 8, 16) } else { (NFPROTO_IPV4, 12, 4) };
    let mut exprs = vec![meta(META_NFPROTO), cmp(CMP_EQ, &[proto]), payload(BASE_NETWORK, offset, bytes)];
    if u32::from(len) < bytes * 8 {
        exprs.push(masked(mask));
    }
    exprs
}

/// `tcp dport @set`.
fn to_ports(set: &str) -> Vec<Expr> {
    vec![meta(META_L4PROTO), cmp(CMP_EQ, &[IPPROTO_TCP]), payload(BASE_TRANSPORT, 2, 2), lookup(set)]
}

fn ban_rule(set: &BanSet) -> Vec<Expr> {
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

fn gate_rules(gate: &Gate) -> Vec<Vec<Expr>> {
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
    const ARPHRD_LOOPBACK: u16 = 772;
    const RTN_LOCAL: u32 = 2;
    const FIB_RESULT_ADDRTYPE: u32 = 3;
    const FIB_DADDR: u32 = 2;
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
fn same_rule(kernel: &[u8], ours: &[Expr]) -> bool {
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
fn covers(theirs: &[u8], ours: &[u8]) -> bool {
    attrs(ours).all(|(kind, value)| {
        attr_of(theirs, kind).is_some_and(|found| without_nested_flag(found) == without_nested_flag(value))
    })
}

fn without_nested_flag(value: &[u8]) -> Vec<u8> {
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

/// A transaction under construction: everything in it happens, or nothing.
struct Batch {
    writer: Writer,
    seq: u32,
    set_id: u32,
}

impl Batch {
    fn begin(netlink: &mut Netlink) -> Batch {
        let mut batch = Batch { writer: Writer::default(), seq: netlink.seq(), set_id: 0 };
        let seq = batch.seq;
        batch.writer.message(BATCH_BEGIN, 0, seq, &BATCH_HEAD, |_| {});
        batch
    }

    fn add(&mut self, kind: u16, flags: u16, body: impl FnOnce(&mut Writer)) {
        self.seq = self.seq.wrapping_add(1);
        let seq = self.seq;
        self.writer.message(kind, flags | NLM_F_ACK, seq, &[NFPROTO_INET, 0, 0, 0], body);
    }

    fn commit(mut self, netlink: &mut Netlink) -> Result<(), Refused> {
        let seq = self.seq.wrapping_add(1);
        self.writer.message(BATCH_END, 0, seq, &BATCH_HEAD, |_| {});
        netlink.skip_to(seq);
        netlink.transact(&self.writer)
    }

    fn table(&mut self) {
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

    fn set(&mut self, name: &str, key_type: u32, key_len: u32, flags: u32, counts: bool) {
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

    fn rule(&mut self, chain: &str, exprs: &[Expr]) {
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

    fn ban_set(&mut self, set: &BanSet, port_list_is_new: bool, counts: bool) {
        if port_list_is_new {
            let name = format!("ports_{}", ports_name(&set.ports));
            self.set(&name, TYPE_INET_SERVICE, 2, 0, false);
            let ports: Vec<_> = set.ports.iter().map(|port| (port.to_be_bytes().to_vec(), None)).collect();
            self.elements(NEWSETELEM, &name, &ports);
        }
        let kind = if set.v6 { TYPE_IP6ADDR } else { TYPE_IPADDR };
        self.set(&set.name(), kind, set.key_len(), SET_FLAG_TIMEOUT, counts);
        self.rule(BANS, &ban_rule(set));
    }

    fn gate(&mut self, gate: &Gate) {
        let name = gate_name(gate.action);
        self.set(&name, TYPE_INET_SERVICE, 2, SET_FLAG_TIMEOUT, false);
        let ports: Vec<_> =
            gate.ports.iter().map(|port| (port.to_be_bytes().to_vec(), gate.lapses_in)).collect();
        self.elements(NEWSETELEM, &name, &ports);
        for rule in gate_rules(gate) {
            self.rule(GATES, &rule);
        }
    }

    fn elements(&mut self, kind: u16, set: &str, elements: &[(Key, Option<Duration>)]) {
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
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;
const EPROTONOSUPPORT: i32 = 93;
const EINVAL: i32 = 22;

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

    fn dump(
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
    fn dump_whole<T: Default>(
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

    fn table_exists(&mut self) -> Result<bool> {
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
    fn look_at_parts(&mut self) -> Result<Option<Parts>> {
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

    /// The rules of a chain: handle and expressions.
    fn rules(&mut self, chain: &'static str) -> Result<Vec<(u64, Vec<u8>)>> {
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

    fn elements(&mut self, set: &str) -> Result<BTreeMap<Vec<u8>, Element>> {
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
    fn present<'a>(
        &mut self,
        targets: impl Iterator<Item = &'a Target>,
    ) -> Result<BTreeMap<Target, Element>> {
        let mut found = BTreeMap::new();
        let mut targets = targets.filter(|target| self.parts.sets.contains(&BanSet::of(target))).peekable();
        while targets.peek().is_some() {
            let mut writer = Writer::default();
            for target in targets.by_ref().take(LOOKUPS_PER_REQUEST) {
                let seq = self.netlink.seq();
                writer.message(GETSETELEM, 0, seq, &[NFPROTO_INET, 0, 0, 0], |w| {
                    w.attr_str(ELEMENTS_TABLE, TABLE);
                    w.attr_str(ELEMENTS_SET, &BanSet::of(target).name());
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
                        if let Some(target) = set.as_ref().and_then(|set| set.target(&key)) {
                            found.insert(target, element);
                        }
                    }
                })
                .map_err(|error| refused("look up bans", error))?;
        }
        Ok(found)
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

    /// One round of changes. Elements are grouped by set, and the transaction is cut where it grows too large;
    /// the parts come with the first piece, so no piece ever stands without its rule.
    fn change(
        &mut self,
        remove: &[&Target],
        put: &BTreeMap<&Target, Duration>,
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
        let wanted: BTreeSet<BanSet> = put.keys().map(|target| BanSet::of(target)).collect();
        self.add_parts(&mut batch, &wanted, &mut parts).map_err(Unable::Other)?;
        for gate in replace_all.unwrap_or_default() {
            batch.gate(gate);
            parts.gates.insert(gate.action);
        }
        let mut groups: BTreeMap<(u16, BanSet), Elements> = BTreeMap::new();
        for target in remove {
            groups.entry((1, BanSet::of(target))).or_default().push((key_of(&target.prefix), None));
        }
        for (target, time) in put {
            groups.entry((2, BanSet::of(target))).or_default().push((key_of(&target.prefix), Some(*time)));
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

/// One element as the kernel has it.
#[derive(Clone, Copy, Debug, Default)]
struct Element {
    remaining: Option<Duration>,
    packets: Option<u64>,
    bytes: Option<u64>,
}

fn collect_elements(payload: &[u8], found: &mut BTreeMap<Vec<u8>, Element>) {
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
                remaining: timed.then(|| {
                    Duration::from_millis(attr_of(element, ELEMENT_EXPIRATION).and_then(as_u64).unwrap_or(0))
                }),
                packets: number(COUNTER_PACKETS),
                bytes: number(COUNTER_BYTES),
            },
        );
    }
}

/// How far the kernel's remaining time may be from the wanted one without being set anew: what passes between
/// the plan's clock and the kernel's.
const TIME_SLACK: Duration = Duration::from_secs(1);

impl Nftables {
    /// Looks whether each of the bans is in the kernel with its time, and whether the rules that make them work are.
    fn verify(&mut self, bans: &BTreeMap<Target, Duration>, begun: Instant) -> Result<()> {
        match self.look_at_parts()? {
            Some(parts) => self.parts = parts,
            None => return Err(Error::Gone { what: "there is no table toban".to_owned() }),
        }
        let present = self.present(bans.keys())?;
        // A million take seconds, in which the first ones' time runs.
        let slack = TIME_SLACK * 2 + begun.elapsed();
        let mut missing = bans.iter().filter(|(target, time)| {
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

    /// A gate works if its ports are there and its last rule drops.
    fn gate_holds(&mut self, action: ActionId) -> Result<bool> {
        let name = gate_name(action);
        let ports = self.elements(&name)?;
        let rules = self.rules(GATES)?;
        let last = rules.iter().rev().find(|(_, rule)| looks_into(rule, &name));
        Ok(!ports.is_empty() && last.is_some_and(|(_, rule)| drops(rule)))
    }
}

fn looks_into(rule: &[u8], set: &str) -> bool {
    attrs(rule).any(|(_, element)| {
        attr_of(element, EXPR_NAME).and_then(as_str) == Some("lookup")
            && attr_of(element, EXPR_DATA).and_then(|lookup| attr_of(lookup, 1)).and_then(as_str) == Some(set)
    })
}

fn drops(rule: &[u8]) -> bool {
    attrs(rule).last().and_then(|(_, element)| attr_of(element, EXPR_DATA)).is_some_and(|data| {
        let verdict = attr_of(data, 2).and_then(|data| attr_of(data, DATA_VERDICT));
        verdict.and_then(|verdict| attr_of(verdict, VERDICT_CODE)).and_then(as_u32) == Some(NF_DROP)
    })
}

impl Firewall for Nftables {
    fn put(&mut self, bans: &BTreeMap<Target, Duration>) -> Result<()> {
        let begun = Instant::now();
        for _ in 0..RACE_TRIES {
            let present = self.present(bans.keys())?;
            let mut old = Vec::new();
            let mut new = BTreeMap::new();
            for (target, time) in bans {
                match present.get(target) {
                    Some(element)
                        if element.remaining.is_some_and(|left| left.abs_diff(*time) <= TIME_SLACK) => {}
                    Some(_) => {
                        old.push(target);
                        new.insert(target, *time);
                    }
                    None => {
                        new.insert(target, *time);
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
            let outcome = self.change(&present.keys().collect::<Vec<_>>(), &BTreeMap::new(), None);
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
        let Some(parts) = self.look_at_parts()? else {
            self.parts = Parts::default();
            return Ok(None);
        };
        self.parts = parts.clone();
        let mut held = Held::default();
        for set in &parts.sets {
            for (key, element) in self.elements(&set.name())? {
                let Some(target) = set.target(&key) else {
                    return Err(Error::Malformed { doing: "list a set's elements" });
                };
                let ban = KernelBan {
                    target: target.clone(),
                    remaining: element.remaining,
                    packets: element.packets,
                    bytes: element.bytes,
                };
                held.bans.insert(target, ban);
            }
        }
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

    fn rebuild(&mut self, wanted: &Wanted) -> Result<()> {
        let begun = Instant::now();
        for _ in 0..RACE_TRIES {
            let put: BTreeMap<&Target, Duration> =
                wanted.bans.iter().map(|(target, time)| (target, *time)).collect();
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
