//! The sets of bans and how they are called: the name says all, so that what is found in the kernel explains itself.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toban_model::{ActionId, Prefix};

use crate::firewall::Target;

/// The sets and gates that the table has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) sets: BTreeSet<BanSet>,
    pub(super) gates: BTreeSet<ActionId>,
}

/// One set of bans: a family, a prefix length, a list of ports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BanSet {
    /// For bans that come by the thousand: its elements have no counters of their own. The kernel keeps such a counter
    /// for each processor, which takes more time and memory than everything else about a ban.
    pub(super) crowd: bool,
    pub(super) v6: bool,
    pub(super) len: u8,
    pub(super) ports: Vec<u16>,
}

impl BanSet {
    pub(super) fn of(target: &Target, crowd: bool) -> BanSet {
        BanSet {
            crowd,
            v6: matches!(target.prefix, Prefix::V6(_)),
            len: target.prefix.prefix_len(),
            ports: target.ports.clone(),
        }
    }

    pub(super) fn name(&self) -> String {
        let kind = if self.crowd { "crowd" } else { "ban" };
        format!("{kind}{}_{}_{}", if self.v6 { 6 } else { 4 }, self.len, ports_name(&self.ports))
    }

    pub(super) fn parse(name: &str) -> Option<BanSet> {
        let (crowd, rest) = match name.strip_prefix("crowd") {
            Some(rest) => (true, rest),
            None => (false, name.strip_prefix("ban")?),
        };
        let mut parts = rest.split('_');
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
        let set = BanSet { crowd, v6, len, ports };
        (set.name() == name).then_some(set)
    }

    pub(super) fn key_len(&self) -> u32 {
        if self.v6 { 16 } else { 4 }
    }

    pub(super) fn target(&self, key: &[u8]) -> Option<Target> {
        let address: IpAddr = if self.v6 {
            Ipv6Addr::from(<[u8; 16]>::try_from(key).ok()?).into()
        } else {
            Ipv4Addr::from(<[u8; 4]>::try_from(key).ok()?).into()
        };
        Some(Target { prefix: Prefix::new(address, self.len).ok()?, ports: self.ports.clone() })
    }
}

pub(super) fn ports_name(ports: &[u16]) -> String {
    if ports.is_empty() {
        return "all".to_owned();
    }
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join("_")
}

pub(super) fn key_of(prefix: &Prefix) -> Vec<u8> {
    match prefix.network() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(super) fn mask_of(prefix: &Prefix) -> Vec<u8> {
    match prefix.netmask() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(super) fn gate_name(action: ActionId) -> String {
    format!("gate_{}", action.0)
}
