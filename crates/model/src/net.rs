//! Addresses and prefixes: one form for each peer, whichever socket family it came in by.

use std::net::{IpAddr, Ipv6Addr};

/// An address block with a length.
pub type Prefix = ipnet::IpNet;

/// The one form of an address: a v4-mapped v6 address (`::ffff:a.b.c.d`, what a dual-stack listener sees) is v4.
#[inline]
pub fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The prefix of `len_v4` or `len_v6` bits that holds the (canonical) address; lengths are cut to the family's.
pub fn prefix_of(address: IpAddr, len_v4: u8, len_v6: u8) -> Prefix {
    match canonical(address) {
        IpAddr::V4(v4) => Prefix::V4(
            ipnet::Ipv4Net::new(v4, len_v4.min(32)).expect("a length of at most 32 bits is valid").trunc(),
        ),
        IpAddr::V6(v6) => Prefix::V6(
            ipnet::Ipv6Net::new(v6, len_v6.min(128)).expect("a length of at most 128 bits is valid").trunc(),
        ),
    }
}

/// Whether the prefix holds the address, after both are brought to one form (`::ffff:0:0/96` and below is v4).
pub fn same_family_contains(prefix: &Prefix, address: IpAddr) -> bool {
    let address = canonical(address);
    match (prefix, address) {
        (Prefix::V6(v6), IpAddr::V4(v4)) => {
            let mapped: Ipv6Addr = v4.to_ipv6_mapped();
            v6.contains(&mapped)
        }
        _ => prefix.contains(&address),
    }
}

/// RFC 1918, RFC 4193, RFC 6598, link-local and loopback: no stranger's packets come from there.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_peer_is_its_v4_self() {
        let mapped: IpAddr = "::ffff:192.0.2.7".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!(prefix_of(mapped, 24, 64).to_string(), "192.0.2.0/24");
        let all_mapped: Prefix = "::ffff:0:0/96".parse().unwrap();
        assert!(same_family_contains(&all_mapped, mapped));
    }
}
