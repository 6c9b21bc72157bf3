//! TCP and unix sockets as the kernel has them, by sock_diag(7), or by `/proc/net/tcp` where that is refused.
//!
//! The codec is small and own: two requests and two answers of fixed layout (linux/inet_diag.h,
//! linux/unix_diag.h, linux/tcp.h), where the packet crates would bring a tree of types for all of netlink.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use toban_model::{Connection, TcpState, canonical};

use crate::{Error, Root, limits, procfs};

mod walk;

pub(crate) use walk::{Met, Walk};

/// A set of TCP states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct States(u32);

impl States {
    /// What holds or waits for a worker: ESTABLISHED, CLOSE_WAIT, and sockets on their way out with data unsent.
    pub const OPEN: States = States(1 << 1 | 1 << 4 | 1 << 8 | 1 << 9 | 1 << 11);
    /// Listeners.
    pub const LISTEN: States = States(1 << 10);
    /// Every state, with half-open connections and TIME_WAIT.
    pub const ALL: States = States(0xffe);

    /// One state.
    pub const fn of(state: TcpState) -> States {
        States(1 << state.number())
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: States) -> States {
        States(self.0 | other.0)
    }

    /// Whether the state is in the set.
    pub const fn contains(self, state: TcpState) -> bool {
        self.0 & (1 << state.number()) != 0
    }
}

fn state_of(number: u8) -> Option<TcpState> {
    /// The kernel's own name for a request socket: NEW_SYN_RECV.
    const NEW_SYN_RECV: u8 = 12;
    match number {
        NEW_SYN_RECV => Some(TcpState::SynRecv),
        number => TcpState::of_number(number),
    }
}

/// Which TCP sockets are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// In these states. TIME_WAIT and SYN_RECV can be many; ask for them only when needed.
    pub states: States,
    /// With one of these ports at our end; empty for any.
    pub local_ports: Vec<u16>,
    /// With what tcp_info tells (times and byte counts); costs the kernel some microseconds a socket.
    pub with_info: bool,
}

/// How the answer was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// sock_diag(7).
    Netlink,
    /// `/proc/net/tcp` and `tcp6`: no times, no byte counts, no queue limits.
    Proc,
}

/// A connection with what the model does not carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// The connection.
    pub connection: Connection,
    /// Milliseconds since data was last sent, if known.
    pub last_sent_ms: Option<u32>,
}

/// The sockets that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// At most [`limits::CONNECTIONS_MAX`] of them.
    pub list: Vec<Socket>,
    /// How many more there were.
    pub cut: u64,
    /// How they were read.
    pub source: Source,
}

/// The TCP connections that match, with nothing more than the model's fields.
pub fn tcp_connections(root: &Root, filter: &Filter) -> Result<Vec<Connection>, Error> {
    Ok(tcp(root, filter)?.list.into_iter().map(|socket| socket.connection).collect())
}

/// The TCP listeners.
pub fn listeners(root: &Root) -> Result<Sockets, Error> {
    tcp(root, &Filter { states: States::LISTEN, local_ports: Vec::new(), with_info: false })
}

/// The TCP sockets that match, of both families; v4-mapped addresses are brought to v4.
pub fn tcp(root: &Root, filter: &Filter) -> Result<Sockets, Error> {
    let mut list = Vec::new();
    let mut cut = 0;
    let mut take = |socket: Socket| {
        if list.len() < limits::CONNECTIONS_MAX { list.push(socket) } else { cut += 1 }
    };
    let source = each_tcp(root, filter, &mut take)?;
    Ok(Sockets { list, cut, source })
}

fn each_tcp(root: &Root, filter: &Filter, take: &mut dyn FnMut(Socket)) -> Result<Source, Error> {
    let mut begun = false;
    if root.is_live() {
        let answer = each_tcp_netlink(filter, &mut |socket| {
            begun = true;
            take(socket);
        });
        match answer {
            Ok(()) => return Ok(Source::Netlink),
            // A dump that broke off in the middle cannot be begun anew with the same receiver.
            Err(error) if begun => return Err(error),
            // Refused (containers, seccomp, a kernel without inet_diag): the slower way.
            Err(_) => {}
        }
    }
    each_tcp_proc(root, filter, take)?;
    Ok(Source::Proc)
}

const AF_UNIX: u8 = 1;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH.
const DUMP_FLAGS: u16 = 0x301;
const INET_DIAG_INFO: u16 = 2;
/// The zero-window probe timer (inet_diag's `idiag_timer`, and `tr` of `/proc/net/tcp`).
const TIMER_PERSIST: u8 = 4;

fn each_tcp_netlink(filter: &Filter, take: &mut dyn FnMut(Socket)) -> Result<(), Error> {
    let mut link = Link::open("TCP")?;
    // The kernel compares one port itself; with more it would have to be given a byte-code program, and walking
    // its table once a port is cheap as long as there are few.
    let in_kernel: &[u16] = match filter.local_ports.len() {
        0 => &[0],
        1..=4 => &filter.local_ports,
        _ => &[0],
    };
    for family in [AF_INET, AF_INET6] {
        for port in in_kernel {
            let mut request = [0u8; 56];
            request[0] = family;
            request[1] = IPPROTO_TCP;
            request[2] = if filter.with_info { 1 << (INET_DIAG_INFO - 1) } else { 0 };
            request[4..8].copy_from_slice(&filter.states.0.to_ne_bytes());
            request[8..10].copy_from_slice(&port.to_be_bytes());
            link.dump(SOCK_DIAG_BY_FAMILY, &request, |payload| {
                if let Some(socket) = inet_socket(payload)
                    && (filter.local_ports.is_empty()
                        || filter.local_ports.contains(&socket.connection.local.port()))
                {
                    take(socket);
                }
            })?;
        }
    }
    Ok(())
}

fn u16_ne(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_ne(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_ne(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// One `struct inet_diag_msg` with its attributes.
fn inet_socket(message: &[u8]) -> Option<Socket> {
    const HEAD: usize = 72;
    let head = message.get(..HEAD)?;
    let family = head[0];
    let state = state_of(head[1])?;
    let port = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let local = SocketAddr::new(diag_address(family, head.get(8..24)?)?, port(4));
    let peer = SocketAddr::new(diag_address(family, head.get(24..40)?)?, port(6));
    let info = attributes(&message[HEAD..]).find(|(kind, _)| *kind == INET_DIAG_INFO).map(|(_, value)| value);
    // Offsets in struct tcp_info, which only grows at its end. A listener's is not about data.
    let info = info.filter(|_| state != TcpState::Listen);
    Some(Socket {
        connection: Connection {
            local,
            peer,
            state,
            recv_queue: u32_ne(head, 56)?,
            send_queue: u32_ne(head, 60)?,
            inode: u64::from(u32_ne(head, 68)?),
            pid: None,
            persist: head[2] == TIMER_PERSIST,
            last_received_ms: info.and_then(|info| u32_ne(info, 52)),
            bytes_received: info.and_then(|info| u64_ne(info, 128)),
            bytes_acked: info.and_then(|info| u64_ne(info, 120)),
        },
        last_sent_ms: info.and_then(|info| u32_ne(info, 44)),
    })
}

fn diag_address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(..4)?).ok()?))),
        AF_INET6 => Some(canonical(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)))),
        _ => None,
    }
}

/// The attributes after a fixed head: length, type, value, padded to four bytes.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_ne(bytes, 0)?);
        let kind = u16_ne(bytes, 2)?;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A netlink socket to sock_diag.
struct Link {
    socket: rustix::fd::OwnedFd,
    buffer: Vec<u8>,
    what: &'static str,
}

impl Link {
    fn open(what: &'static str) -> Result<Link, Error> {
        let failed = |errno: rustix::io::Errno| Error::Netlink { what, source: errno.into() };
        let socket = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )
        .map_err(failed)?;
        // The kernel answers at once or not at all; this bound is for a kernel that does the latter.
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Recv,
            Some(std::time::Duration::from_secs(limits::NETLINK_WAIT_S)),
        )
        .map_err(failed)?;
        Ok(Link { socket, buffer: vec![0; 64 << 10], what })
    }

    /// Sends one dump request and hands over each answer's payload.
    fn dump(&mut self, kind: u16, request: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Error> {
        let what = self.what;
        let failed = |source: std::io::Error| Error::Netlink { what, source };
        let mut message = [0; 96];
        let len = 16 + request.len();
        message[..4].copy_from_slice(&u32::try_from(len).unwrap_or(0).to_ne_bytes());
        message[4..6].copy_from_slice(&kind.to_ne_bytes());
        message[6..8].copy_from_slice(&DUMP_FLAGS.to_ne_bytes());
        message[16..len].copy_from_slice(request);
        let kernel = SocketAddrNetlink::new(0, 0);
        rustix::net::sendto(&self.socket, &message[..len], SendFlags::empty(), &kernel)
            .map_err(|e| failed(e.into()))?;
        loop {
            let len = match rustix::net::recv(&self.socket, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((_, len)) => len,
                Err(rustix::io::Errno::INTR) => continue,
                Err(errno) => return Err(failed(errno.into())),
            };
            let mut rest = self.buffer.get(..len).unwrap_or_default();
            if rest.is_empty() {
                return Err(failed(std::io::ErrorKind::UnexpectedEof.into()));
            }
            while let (Some(len), Some(answer)) = (u32_ne(rest, 0), u16_ne(rest, 4)) {
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let Some(payload) = rest.get(16..len) else { break };
                match answer {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let code = u32_ne(payload, 0).unwrap_or(0).cast_signed();
                        if code == 0 {
                            return Ok(());
                        }
                        return Err(failed(std::io::Error::from_raw_os_error(-code)));
                    }
                    _ if answer == kind => each(payload),
                    _ => {}
                }
                rest = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

fn each_tcp_proc(root: &Root, filter: &Filter, take: &mut dyn FnMut(Socket)) -> Result<(), Error> {
    let mut buffer = Vec::new();
    for (file, required) in [("/proc/net/tcp", true), ("/proc/net/tcp6", false)] {
        let bytes = match root.read(file, &mut buffer) {
            Ok(bytes) => bytes,
            // Without IPv6 there is no tcp6.
            Err(error) if !required && error.is_missing() => continue,
            Err(error) => return Err(error),
        };
        for line in procfs::lines(bytes).skip(1) {
            if let Some(socket) = proc_socket(line)
                && filter.states.contains(socket.connection.state)
                && (filter.local_ports.is_empty()
                    || filter.local_ports.contains(&socket.connection.local.port()))
            {
                take(socket);
            }
        }
    }
    Ok(())
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`
fn proc_socket(line: &[u8]) -> Option<Socket> {
    let line = std::str::from_utf8(line).ok()?;
    let mut words = line.split_ascii_whitespace();
    let local = proc_address(words.nth(1)?)?;
    let peer = proc_address(words.next()?)?;
    let state = state_of(u8::from_str_radix(words.next()?, 16).ok()?)?;
    let (send, receive) = words.next()?.split_once(':')?;
    let timer = words.next()?.split_once(':')?.0;
    let inode = words.nth(3)?.parse().ok()?;
    Some(Socket {
        connection: Connection {
            local,
            peer,
            state,
            recv_queue: u32::from_str_radix(receive, 16).ok()?,
            send_queue: u32::from_str_radix(send, 16).ok()?,
            inode,
            pid: None,
            persist: u8::from_str_radix(timer, 16) == Ok(TIMER_PERSIST),
            last_received_ms: None,
            bytes_received: None,
            bytes_acked: None,
        },
        last_sent_ms: None,
    })
}

/// Addresses are printed as 32-bit words in the host's byte order, ports as numbers.
fn proc_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for part in 0..4 {
                bytes[part * 4..part * 4 + 4].copy_from_slice(&word(part * 8)?);
            }
            canonical(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// A unix socket with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The name that it is bound to; for an accepted connection its listener's.
    pub path: PathBuf,
    /// It listens; otherwise it is one side of a connection.
    pub listens: bool,
    /// Connections that wait to be accepted (of a listener, known by sock_diag only).
    pub queue_len: u32,
    /// How many may wait; 0 when not known.
    pub queue_limit: u32,
    /// 0 while no process has it.
    pub inode: u64,
    /// The other end's inode of a connection; 0 when not known.
    pub peer: u64,
}

/// Every unix socket that listens on a path, with its queue. Abstract names are left out.
pub fn unix_listeners(root: &Root) -> Result<Vec<UnixSocket>, Error> {
    unix_sockets(root, false)
}

/// Unix sockets with a path: the listeners, and with `connected` also the connections that they accepted.
pub fn unix_sockets(root: &Root, connected: bool) -> Result<Vec<UnixSocket>, Error> {
    let mut list = Vec::new();
    let mut begun = false;
    if root.is_live() {
        let answer = unix_by_netlink(connected, &mut |socket| {
            begun = true;
            if list.len() < limits::UNIX_SOCKETS_MAX {
                list.push(socket);
            }
        });
        match answer {
            Ok(()) => return Ok(list),
            Err(error) if begun => return Err(error),
            Err(_) => {}
        }
    }
    let mut buffer = Vec::new();
    let bytes = root.read("/proc/net/unix", &mut buffer)?;
    // Num RefCount Protocol Flags Type St Inode Path. Flag 0x10000 is __SO_ACCEPTCON; state 3 is connected.
    for line in procfs::lines(bytes).skip(1) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (Some(flags), Some(state), Some(inode), Some(path)) =
            (words.get(3), words.get(5), words.get(6), words.get(7))
        else {
            continue;
        };
        let listens = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 0x10000 != 0);
        if !path.starts_with('/') || !(listens || connected && *state == "03") {
            continue;
        }
        if list.len() < limits::UNIX_SOCKETS_MAX {
            let inode = inode.parse().unwrap_or(0);
            let path = PathBuf::from(path);
            list.push(UnixSocket { path, listens, queue_len: 0, queue_limit: 0, inode, peer: 0 });
        }
    }
    Ok(list)
}

fn unix_by_netlink(connected: bool, take: &mut dyn FnMut(UnixSocket)) -> Result<(), Error> {
    const SHOW_NAME: u32 = 1;
    const SHOW_PEER: u32 = 4;
    const SHOW_RQLEN: u32 = 0x10;
    const ATTRIBUTE_NAME: u16 = 0;
    const ATTRIBUTE_PEER: u16 = 2;
    const ATTRIBUTE_RQLEN: u16 = 4;
    const ESTABLISHED: u8 = 1;
    const LISTEN: u8 = 10;
    let states: u32 = 1 << LISTEN | if connected { 1 << ESTABLISHED } else { 0 };
    let mut request = [0u8; 24];
    request[0] = AF_UNIX;
    request[4..8].copy_from_slice(&states.to_ne_bytes());
    request[12..16].copy_from_slice(&(SHOW_NAME | SHOW_PEER | SHOW_RQLEN).to_ne_bytes());
    Link::open("unix")?.dump(SOCK_DIAG_BY_FAMILY, &request, |message| {
        let (Some(head), Some(rest)) = (message.get(..16), message.get(16..)) else { return };
        let mut path = None;
        let mut queue = (0, 0);
        let mut peer = 0;
        for (kind, value) in attributes(rest) {
            match kind {
                ATTRIBUTE_NAME => {
                    use std::os::unix::ffi::OsStrExt;
                    let name = value.strip_suffix(b"\0").unwrap_or(value);
                    if name.first() == Some(&b'/') {
                        path = Some(PathBuf::from(std::ffi::OsStr::from_bytes(name)));
                    }
                }
                ATTRIBUTE_PEER => peer = u32_ne(value, 0).map_or(0, u64::from),
                ATTRIBUTE_RQLEN => queue = (u32_ne(value, 0).unwrap_or(0), u32_ne(value, 4).unwrap_or(0)),
                _ => {}
            }
        }
        let Some(path) = path else { return };
        let listens = head[2] == LISTEN;
        // Of a connection the same two numbers are bytes; they are of no use here.
        let (queue_len, queue_limit) = if listens { queue } else { (0, 0) };
        take(UnixSocket {
            path,
            listens,
            queue_len,
            queue_limit,
            inode: u64::from(u32_ne(head, 4).unwrap_or(0)),
            peer,
        });
    })
}

/// Which of the given processes has which socket, by inode. A socket that several share goes to the first.
pub fn owners(root: &Root, pids: &[u32]) -> HashMap<u64, u32> {
    let mut owners = HashMap::new();
    for pid in pids.iter().take(limits::PROCESSES_MAX) {
        procfs::for_each_fd(root, *pid, |_, target| {
            if let procfs::FdTarget::Socket(inode) = target {
                owners.entry(inode).or_insert(*pid);
            }
        });
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn proc_lines_are_read() {
        let line = b"   0: 0100007F:1F90 020000C0:C350 01 0000000A:00000003 04:00000010 00000000    33        0 4242 1";
        let socket = proc_socket(line).unwrap().connection;
        assert_eq!(socket.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(socket.peer, "192.0.0.2:50000".parse().unwrap());
        assert_eq!((socket.state, socket.send_queue, socket.recv_queue), (TcpState::Established, 10, 3));
        assert_eq!((socket.inode, socket.persist), (4242, true));
        let mapped = "0000000000000000FFFF0000026433C6:0050";
        assert_eq!(proc_address(mapped).unwrap(), "198.51.100.2:80".parse().unwrap());
        for cut in 0..line.len() {
            let _ = proc_socket(&line[..cut]);
        }
    }

    #[test]
    fn rubbish_from_netlink_is_no_panic() {
        for len in 0..200 {
            let _ = inet_socket(&vec![0xff; len]);
            let _ = inet_socket(&vec![2; len]);
            assert!(attributes(&vec![0; len]).count() <= len);
        }
    }

    /// Both ways must see the same connections; the queue and the owner are what the kernel says.
    #[test]
    fn a_real_connection_is_seen_both_ways() {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut held = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        held.write_all(b"GET /").unwrap();
        let waiting = TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(30));
        let filter =
            Filter { states: States::OPEN.and(States::LISTEN), local_ports: vec![port], with_info: true };
        let owners = owners(&Root::host(), &[std::process::id()]);
        let mut by_proc = Vec::new();
        each_tcp_proc(&Root::host(), &filter, &mut |socket| by_proc.push(socket)).unwrap();
        let by_netlink = tcp(&Root::host(), &filter).unwrap();
        for list in [&by_netlink.list, &by_proc] {
            let find = |peer: SocketAddr| {
                list.iter()
                    .map(|socket| &socket.connection)
                    .find(|connection| connection.peer == peer)
                    .unwrap()
            };
            let connection = find(held.local_addr().unwrap());
            assert_eq!(connection.recv_queue, 5);
            assert_eq!(connection.state, TcpState::Established);
            assert_eq!(owners.get(&connection.inode), Some(&std::process::id()));
            let queued = find(waiting.local_addr().unwrap());
            assert_eq!(queued.inode, 0, "nobody has accepted it");
            let listen = list.iter().find(|socket| socket.connection.state == TcpState::Listen).unwrap();
            assert_eq!(listen.connection.recv_queue, 1);
        }
        if by_netlink.source == Source::Netlink {
            let connection =
                by_netlink.list.iter().find(|s| s.connection.peer == held.local_addr().unwrap()).unwrap();
            assert_eq!(connection.connection.bytes_received, Some(5));
            assert_eq!(connection.connection.bytes_acked, Some(0));
            assert!(connection.connection.last_received_ms.unwrap() < 5_000);
        }
        drop(accepted);
    }

    #[test]
    fn a_unix_queue_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backend.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let accepted = listener.accept().unwrap();
        let _second = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let _third = std::os::unix::net::UnixStream::connect(&path).unwrap();
        let list = unix_sockets(&Root::host(), true).unwrap();
        let seen = list.iter().find(|socket| socket.path == path && socket.listens).unwrap();
        if seen.queue_limit > 0 {
            assert_eq!(seen.queue_len, 2);
        }
        let owners = owners(&Root::host(), &[std::process::id()]);
        let taken =
            list.iter().filter(|s| s.path == path && !s.listens && owners.contains_key(&s.inode)).count();
        assert_eq!(taken, 1);
        drop(accepted);
        let listeners = unix_listeners(&Root::host()).unwrap();
        assert!(listeners.iter().all(|socket| socket.listens));
    }
}
