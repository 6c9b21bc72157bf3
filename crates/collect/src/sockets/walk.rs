//! All TCP sockets, again and again: by one dump for both address families, without asking for memory.

use std::net::IpAddr;

use toban_model::TcpState;

use super::{AF_INET, AF_INET6, Link, SOCK_DIAG_BY_FAMILY, States, diag_address, proc_socket, state_of};
use crate::{Error, Root, procfs};

/// The older question (`TCPDIAG_GETSOCK`), which the kernel answers for both families in one walk of its tables. The
/// newer one has to be asked twice, and a table of many empty places is what costs on a quiet host.
const BOTH_FAMILIES: u16 = 18;

/// As much of a socket as is counted.
pub(crate) struct Met {
    pub(crate) state: TcpState,
    pub(crate) local_port: u16,
    pub(crate) peer: IpAddr,
}

/// A walk that can be repeated.
#[derive(Default)]
pub(crate) struct Walk {
    link: Option<Link>,
    /// The older question was refused.
    one_by_one: bool,
    /// Netlink was refused.
    by_file: bool,
    buffer: Vec<u8>,
}

impl Walk {
    /// Hands over every socket, listeners of a family before its others.
    pub(crate) fn each(&mut self, root: &Root, each: &mut dyn FnMut(Met)) -> Result<(), Error> {
        if !root.is_live() {
            self.by_file = true;
        }
        while !self.by_file {
            let mut begun = false;
            let answer = self.ask(&mut |met| {
                begun = true;
                each(met);
            });
            match answer {
                Ok(()) => return Ok(()),
                // A dump that broke off in the middle cannot be begun anew with the same receiver.
                Err(error) if begun => return Err(error),
                Err(_) if !self.one_by_one => self.one_by_one = true,
                Err(_) => self.by_file = true,
            }
        }
        for (file, required) in [("/proc/net/tcp", true), ("/proc/net/tcp6", false)] {
            let bytes = match root.read(file, &mut self.buffer) {
                Ok(bytes) => bytes,
                // Without IPv6 there is no tcp6.
                Err(error) if !required && error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            for socket in procfs::lines(bytes).skip(1).filter_map(proc_socket) {
                let socket = socket.connection;
                each(Met { state: socket.state, local_port: socket.local.port(), peer: socket.peer.ip() });
            }
        }
        Ok(())
    }

    fn ask(&mut self, each: &mut dyn FnMut(Met)) -> Result<(), Error> {
        let mut link = match self.link.take() {
            Some(link) => link,
            None => Link::open("TCP")?,
        };
        let mut take = |payload: &[u8]| {
            if let Some(met) = met(payload) {
                each(met);
            }
        };
        if self.one_by_one {
            for family in [AF_INET, AF_INET6] {
                let mut request = [0; 56];
                request[0] = family;
                request[1] = super::IPPROTO_TCP;
                request[4..8].copy_from_slice(&States::ALL.0.to_ne_bytes());
                link.dump(SOCK_DIAG_BY_FAMILY, &request, &mut take)?;
            }
        } else {
            // struct inet_diag_req: four bytes, the socket's id of 48, its states, and a word.
            let mut request = [0; 60];
            request[0] = AF_INET;
            request[52..56].copy_from_slice(&States::ALL.0.to_ne_bytes());
            link.dump(BOTH_FAMILIES, &request, &mut take)?;
        }
        // After an error answers to the old question may still come: only a link that ended well is kept.
        self.link = Some(link);
        Ok(())
    }
}

/// The head of a `struct inet_diag_msg`.
fn met(message: &[u8]) -> Option<Met> {
    let head = message.get(..40)?;
    Some(Met {
        state: state_of(head[1])?,
        local_port: u16::from_be_bytes([head[4], head[5]]),
        peer: diag_address(head[0], &head[24..40])?,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// However the kernel is asked, it names the same sockets.
    #[test]
    fn every_way_sees_the_same() {
        let (v4, v6) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0"));
        let ports: Vec<u16> = [Some(&v4), v6.as_ref().ok()]
            .into_iter()
            .flatten()
            .map(|l| l.local_addr().unwrap().port())
            .collect();
        let held: Vec<_> = [Some(&v4), v6.as_ref().ok()]
            .into_iter()
            .flatten()
            .map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
            .collect();
        for (one_by_one, by_file) in [(false, false), (true, false), (true, true)] {
            let mut walk = Walk { one_by_one, by_file, ..Walk::default() };
            for round in 0..3 {
                let mut found = Vec::new();
                walk.each(&Root::host(), &mut |met| {
                    if ports.contains(&met.local_port) {
                        found.push((met.local_port, met.state));
                    }
                })
                .unwrap();
                for port in &ports {
                    let states = [TcpState::Listen, TcpState::Established];
                    let of: Vec<_> =
                        states.iter().filter(|state| found.contains(&(*port, **state))).collect();
                    assert_eq!(of.len(), 2, "round {round}, port {port}, by file {by_file}: {found:?}");
                }
                assert_eq!(found.len(), 2 * ports.len(), "each once: {found:?}");
            }
            assert_eq!((walk.one_by_one, walk.by_file), (one_by_one, by_file), "this host allows every way");
        }
        drop(held);
    }
}
