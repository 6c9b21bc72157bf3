//! Asks this host's name servers for the root's own name servers: every one of them knows those, and the question says
//! nothing of what is looked for here.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use toban_model::{Asked, canonical};

use crate::{Root, procfs};

const PORT: u16 = 53;
/// Type NS, class IN, of the root, recursion desired. See RFC 1035, section 4.
const QUESTION: [u8; 15] = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// Asks a name server and waits at most so long.
pub fn ask(address: IpAddr, wait: Duration) -> Asked {
    ask_at(SocketAddr::new(address, PORT), wait).unwrap_or(Asked::Refused)
}

fn ask_at(server: SocketAddr, wait: Duration) -> std::io::Result<Asked> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    // The port is random and the socket connected; the number only tells answers apart.
    let id = socket.local_addr()?.port().to_be_bytes();
    let begun = Instant::now();
    socket.send(&[&id[..], &QUESTION].concat())?;
    let mut answer = [0; 512];
    loop {
        let left = wait.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(Asked::Silent);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut answer) {
            // Any answer shows that somebody is there, a refusal to look up the root too.
            Ok(len) if len >= 12 && answer[..2] == id && answer[2] & 0x80 != 0 => {
                return Ok(Asked::Answered(u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX)));
            }
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// For each name server the sockets of programs that are connected to it: each waits for an answer.
pub fn waiting(root: &Root, resolvers: &[IpAddr]) -> Vec<u32> {
    let mut counts = vec![0; resolvers.len()];
    let mut buffer = Vec::new();
    for file in ["/proc/net/udp", "/proc/net/udp6"] {
        let Ok(bytes) = root.read(file, &mut buffer) else { continue };
        for line in procfs::lines(bytes).skip(1) {
            // sl local_address rem_address st …
            let Some(peer) = procfs::fields(line).nth(2).and_then(hex_socket) else { continue };
            if peer.port() == PORT
                && let Some(at) = resolvers.iter().position(|resolver| *resolver == peer.ip())
            {
                counts[at] += 1;
            }
        }
    }
    counts
}

/// `0100007F:0035`: words in the host's byte order.
fn hex_socket(text: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let address = match address.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (n, part) in bytes.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(n * 8)?);
            }
            canonical(IpAddr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_answers_one_is_silent_one_is_not_there() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let answering = std::thread::spawn(move || {
            let mut question = [0; 512];
            let (len, from) = server.recv_from(&mut question).unwrap();
            assert_eq!(len, 17);
            // First something that is no answer to it.
            server.send_to(&[0; 20], from).unwrap();
            question[2] |= 0x80;
            server.send_to(&question[..len], from).unwrap();
        });
        assert!(matches!(ask_at(address, Duration::from_secs(30)).unwrap(), Asked::Answered(_)));
        answering.join().unwrap();
        // It has ended, so nobody is at its port.
        let gone = ask_at(address, Duration::from_secs(5)).unwrap_or(Asked::Refused);
        assert_eq!(gone, Asked::Refused);
        let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(ask_at(deaf.local_addr().unwrap(), Duration::from_millis(50)).unwrap(), Asked::Silent);
    }

    #[test]
    fn who_waits() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
        let to = |address: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(address));
        let text = format!(
            "  sl  local_address rem_address   st\n 1: 00000000:1234 {}:0035 01\n 2: 00000000:0035 00000000:0000 07\n 3: 00000000:1235 {}:007B 01\n",
            to([10, 0, 0, 53]),
            to([10, 0, 0, 53])
        );
        std::fs::write(dir.path().join("proc/net/udp"), text).unwrap();
        let resolvers = ["10.0.0.53".parse().unwrap(), "10.0.0.54".parse().unwrap()];
        assert_eq!(waiting(&Root::new(dir.path()), &resolvers), [1, 0]);
    }
}
