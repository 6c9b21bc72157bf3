//! `end-sockets`: the TCP sockets that some peers hold are ended, accepted or not.
//!
//! A drop rule stops packets; what the peers already hold (workers, places in the accept queue) they keep until a
//! timeout. SOCK_DESTROY (sock_diag(7); `ss -K`) ends a socket as if the network had reset it: a worker's read
//! returns at once, and a connection in the accept queue is answered by nobody. Layout: `linux/inet_diag.h`,
//! `linux/sock_diag.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toban_model::{Action, Prefix, Text, canonical};

use super::{Form, Room, not_mine, nothing_to_take_back};
use crate::netlink::{NLM_F_ACK, NLM_F_DUMP, Netlink, Refused, Writer};
use crate::{Error, Result};

pub(super) const FORM: Form = Form {
    id: "end-sockets",
    text: Text::fixed(
        "Ends the TCP sockets, accepted or waiting, that prefixes have on some local ports.",
        "指定したプレフィックスのTCPソケットを、受け付け済みのものも待ち行列にあるものも切断します。",
    ),
    reversible: false,
    // A restart after it empties the same stores more roughly.
    needed: false,
    carry_out,
    take_back: nothing_to_take_back,
};

const NETLINK_SOCK_DIAG: isize = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// ESTABLISHED, SYN_RECV, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT, LAST_ACK, CLOSING (`net/tcp_states.h`): what holds
/// something of the server. TIME_WAIT holds nothing, SYN_SENT and LISTEN are the host's own.
const STATES: u32 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
/// inet_diag_req_v2 and inet_diag_msg.
const SOCK_ID: usize = 48;
const MESSAGE: usize = 72;
/// While some end, others may come out of a state between (a request that just became a connection). With the drop
/// rule in front none is new, so this ends soon.
const ROUNDS: u32 = 4;
/// A dump that is cut is repeated by the next round; this many sockets are ended in one.
const SOCKETS_PER_ROUND: usize = 262_144;

/// One socket, with the kernel's own id of it (addresses, ports, interface, cookie).
struct Socket {
    family: u8,
    id: [u8; SOCK_ID],
}

fn carry_out(_: &mut Room<'_>, action: &Action) -> Result<String> {
    let Action::EndSockets { prefixes, ports } = action else { return Err(not_mine(action)) };
    let mut netlink = Netlink::open(NETLINK_SOCK_DIAG).map_err(|source| Error::Netlink {
        doing: "open a sock_diag socket",
        source,
        said: None,
    })?;
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let sockets = of_peers(&mut netlink, prefixes, ports)?;
        if sockets.is_empty() {
            return Ok(format!("end-sockets: {ended} ended, none left"));
        }
        for socket in &sockets {
            ended += usize::from(destroy(&mut netlink, socket)?);
        }
    }
    match of_peers(&mut netlink, prefixes, ports)?.len() {
        0 => Ok(format!("end-sockets: {ended} ended, none left")),
        left => Err(Error::SocketsLeft { left, rounds: ROUNDS }),
    }
}

fn of_peers(netlink: &mut Netlink, prefixes: &[Prefix], ports: &[u16]) -> Result<Vec<Socket>> {
    let mut found = Vec::new();
    // A v4 client of a v6 listener is in the v6 dump as ::ffff:a.b.c.d.
    for family in [AF_INET, AF_INET6] {
        let seq = netlink.seq();
        let mut writer = Writer::default();
        writer.message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, seq, &request(family, STATES, &[0; SOCK_ID]), |_| {});
        netlink
            .ask(&writer, |_, payload| {
                if let Some(socket) = parse(payload)
                    && found.len() < SOCKETS_PER_ROUND
                    && (ports.is_empty() || ports.contains(&socket.0))
                    && prefixes.iter().any(|prefix| prefix.contains(&socket.1))
                {
                    found.push(socket.2);
                }
            })
            .map_err(|error| refused("list sockets", error))?;
    }
    Ok(found)
}

/// Local port, peer, socket.
fn parse(message: &[u8]) -> Option<(u16, IpAddr, Socket)> {
    let message = message.get(..MESSAGE)?;
    let id: [u8; SOCK_ID] = message[4..4 + SOCK_ID].try_into().ok()?;
    let port = u16::from_be_bytes([id[0], id[1]]);
    let peer = &id[20..36];
    let peer: IpAddr = match message[0] {
        AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(&peer[..4]).ok()?).into(),
        AF_INET6 => canonical(Ipv6Addr::from(<[u8; 16]>::try_from(peer).ok()?).into()),
        _ => return None,
    };
    Some((port, peer, Socket { family: message[0], id }))
}

fn request(family: u8, states: u32, id: &[u8; SOCK_ID]) -> Vec<u8> {
    let mut request = vec![family, IPPROTO_TCP, 0, 0];
    request.extend_from_slice(&states.to_ne_bytes());
    request.extend_from_slice(id);
    request
}

/// `true`: ended by us; `false`: it had gone by itself.
fn destroy(netlink: &mut Netlink, socket: &Socket) -> Result<bool> {
    let seq = netlink.seq();
    let mut writer = Writer::default();
    writer.message(SOCK_DESTROY, NLM_F_ACK, seq, &request(socket.family, STATES, &socket.id), |_| {});
    match netlink.transact(&writer) {
        Ok(()) => Ok(true),
        // ENOENT: not there any more. EINVAL: in a state in which it cannot be ended, so it is ending; the next look
        // tells. ESTALE: another socket with its addresses by now.
        Err(error) if matches!(error.errno, 2 | 22 | 116) => Ok(false),
        Err(error) => Err(refused("end a socket", error)),
    }
}

fn refused(doing: &'static str, error: Refused) -> Error {
    match error.errno {
        1 => Error::NoRights { doing },
        95 => Error::NoSockDestroy { missing: "CONFIG_INET_DIAG_DESTROY" },
        2 | 93 => Error::NoSockDestroy { missing: "CONFIG_INET_DIAG" },
        _ => Error::Netlink { doing, source: error.io(), said: error.said },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_peer_is_found_by_its_v4_prefix() {
        let mut message = vec![0; MESSAGE];
        message[0] = AF_INET6;
        message[4..6].copy_from_slice(&80_u16.to_be_bytes());
        let mapped: Ipv6Addr = "::ffff:198.51.100.7".parse().unwrap();
        message[24..40].copy_from_slice(&mapped.octets());
        let (port, peer, _) = parse(&message).unwrap();
        assert_eq!((port, peer), (80, "198.51.100.7".parse().unwrap()));
        assert!(parse(&message[..MESSAGE - 1]).is_none());
    }
}
