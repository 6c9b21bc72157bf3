//! Interfaces that are meant to be up and whether they have a signal; gateways and whether they tell their hardware
//! address.

use std::net::{IpAddr, Ipv4Addr};

use toban_model::{GatewayLook, LinkLook};

use crate::{Root, procfs};

/// Of hosts with more interfaces only the first.
const LINKS_MAX: usize = 64;

/// Flags of linux/if.h, linux/route.h and linux/if_arp.h.
const IFF_UP: u64 = 0x1;
const RTF_GATEWAY: u64 = 0x2;
const ATF_COMPLETE: u64 = 0x2;

/// The default routes of version 4: interface and gateway.
fn default_routes(root: &Root) -> Vec<(String, IpAddr)> {
    let mut buffer = Vec::new();
    let Ok(bytes) = root.read("/proc/net/route", &mut buffer) else { return Vec::new() };
    // Iface Destination Gateway Flags …: addresses are words in the host's byte order.
    procfs::lines(bytes)
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> =
                procfs::fields(line).filter_map(|word| std::str::from_utf8(word).ok()).collect();
            let flags = u64::from_str_radix(words.get(3)?, 16).ok()?;
            let gateway = u32::from_str_radix(words.get(2)?, 16).ok()?;
            (words.get(1) == Some(&"00000000") && flags & RTF_GATEWAY != 0)
                .then(|| ((*words[0]).to_owned(), Ipv4Addr::from(gateway.to_ne_bytes()).into()))
        })
        .collect()
}

/// The interfaces that an administrator has set up, but for the loopback.
pub fn links(root: &Root) -> Vec<LinkLook> {
    let routes = default_routes(root);
    let Ok(entries) = std::fs::read_dir(root.at("/sys/class/net")) else { return Vec::new() };
    let mut buffer = Vec::new();
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let Ok(interface) = entry.file_name().into_string() else { continue };
        let mut text = |file: &str| {
            let bytes = root.read(format!("/sys/class/net/{interface}/{file}"), &mut buffer).ok()?;
            Some(String::from_utf8_lossy(bytes).trim().to_owned())
        };
        let flags =
            text("flags").and_then(|flags| u64::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
        if interface == "lo" || flags.is_none_or(|flags| flags & IFF_UP == 0) {
            continue;
        }
        let Some(carrier) = text("carrier") else { continue };
        let changes = text("carrier_changes").and_then(|changes| changes.parse().ok()).unwrap_or(0);
        all.push(LinkLook {
            default_route: routes.iter().any(|(name, _)| *name == interface),
            carrier: carrier == "1",
            changes,
            hardware: root.at(format!("/sys/class/net/{interface}/device")).exists(),
            interface,
        });
    }
    all.sort_by(|a, b| a.interface.cmp(&b.interface));
    all.truncate(LINKS_MAX);
    all
}

/// The gateways of the default routes that are in the table of neighbours: one that is not has not been needed.
pub fn gateways(root: &Root) -> Vec<GatewayLook> {
    let routes = default_routes(root);
    let mut buffer = Vec::new();
    let Ok(bytes) = root.read("/proc/net/arp", &mut buffer) else { return Vec::new() };
    // IP address, HW type, Flags, HW address, Mask, Device.
    procfs::lines(bytes)
        .skip(1)
        .filter_map(|line| {
            let words: Vec<&str> =
                procfs::fields(line).filter_map(|word| std::str::from_utf8(word).ok()).collect();
            let address: IpAddr = words.first()?.parse().ok()?;
            let flags = u64::from_str_radix(words.get(2)?.trim_start_matches("0x"), 16).ok()?;
            let interface = (*words.get(5)?).to_owned();
            let ours = routes.iter().any(|(name, gateway)| *gateway == address && *name == interface);
            let answers = flags & ATF_COMPLETE != 0;
            ours.then_some(GatewayLook { address, interface, answers })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_without_signal_and_a_gateway_without_address() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = format!("{:08X}", u32::from_ne_bytes([10, 0, 0, 1]));
        for (path, text) in [
            ("proc/net/route", format!("Iface\tDestination\tGateway\tFlags\neth0\t00000000\t{gateway}\t0003\t0\neth0\t0000000A\t00000000\t0001\n")),
            ("proc/net/arp", "IP address       HW type     Flags       HW address            Mask     Device\n10.0.0.1         0x1         0x0         00:00:00:00:00:00     *        eth0\n10.0.0.7         0x1         0x0         00:00:00:00:00:00     *        eth0\n".to_owned()),
            ("sys/class/net/lo/flags", "0x9\n".to_owned()),
            ("sys/class/net/eth0/flags", "0x1003\n".to_owned()),
            ("sys/class/net/eth0/carrier", "0\n".to_owned()),
            ("sys/class/net/eth0/carrier_changes", "7\n".to_owned()),
            ("sys/class/net/eth0/device/vendor", "x".to_owned()),
            ("sys/class/net/eth1/flags", "0x1002\n".to_owned()),
            ("sys/class/net/eth1/carrier", "0\n".to_owned()),
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::new(dir.path());
        let expected = LinkLook {
            interface: "eth0".into(),
            default_route: true,
            carrier: false,
            changes: 7,
            hardware: true,
        };
        assert_eq!(links(&root), [expected]);
        let expected =
            GatewayLook { address: "10.0.0.1".parse().unwrap(), interface: "eth0".into(), answers: false };
        assert_eq!(gateways(&root), [expected]);
    }

    #[test]
    fn this_host() {
        assert!(links(&Root::host()).iter().all(|link| link.interface != "lo"));
        gateways(&Root::host());
    }
}
