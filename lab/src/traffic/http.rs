//! As much of an HTTP/1.1 client as the lab's traffic needs: own source address, keep-alive, a deadline on everything.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

/// A longer head or body is no answer of these servers.
const HEAD_LINES_MAX: usize = 100;
const BODY_BYTES_MAX: u64 = 64 << 20;

/// Sends a SYN from a port of `source`, and again as the kernel does for as long as the answer is kept.
pub(super) fn knock(source: Ipv4Addr, port: u16, target: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(source, port))?;
    match connect(&socket, &target) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
    }
}

/// Connects from `source`. The kernel sends SYNs again as for any client, until `deadline`.
pub(super) fn dial(source: Ipv4Addr, target: SocketAddrV4, deadline: Instant) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrV4::new(source, 0))?;
    match connect(&socket, &target) {
        Ok(()) => {}
        Err(rustix::io::Errno::INPROGRESS) => {
            let left = left(deadline)?;
            let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let mut wait = [PollFd::new(&socket, PollFlags::OUT)];
            if poll(&mut wait, Some(&time))? == 0 {
                return Err(ErrorKind::TimedOut.into());
            }
            sockopt::socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    let stream = TcpStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connection on which requests follow each other.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
}

pub(super) struct Answer {
    pub(super) status: u16,
    /// The server will take another request on this connection.
    pub(super) stays: bool,
}

impl Connection {
    pub(super) fn open(source: Ipv4Addr, target: SocketAddrV4, deadline: Instant) -> io::Result<Self> {
        Ok(Self { stream: BufReader::new(dial(source, target, deadline)?) })
    }

    /// Sends one whole request and reads the whole answer.
    pub(super) fn request(&mut self, request: &[u8], deadline: Instant) -> io::Result<Answer> {
        self.stream.get_ref().set_write_timeout(Some(left(deadline)?))?;
        self.stream.get_mut().write_all(request)?;
        let status = self
            .line(deadline)?
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no status line"))?;
        let (mut length, mut chunked, mut stays) = (None, false, true);
        for _ in 0..HEAD_LINES_MAX {
            let line = self.line(deadline)?.to_ascii_lowercase();
            let Some((name, value)) = line.split_once(':') else { break };
            match (name, value.trim()) {
                ("content-length", value) => length = value.parse::<u64>().ok(),
                ("transfer-encoding", "chunked") => chunked = true,
                ("connection", "close") => stays = false,
                _ => {}
            }
        }
        if chunked {
            loop {
                let size = u64::from_str_radix(self.line(deadline)?.trim(), 16)
                    .map_err(|_| io::Error::new(ErrorKind::InvalidData, "no chunk size"))?;
                self.skip(size, deadline)?;
                self.line(deadline)?;
                if size == 0 {
                    break;
                }
            }
        } else if let Some(length) = length {
            self.skip(length, deadline)?;
        } else if !matches!(status, 204 | 304) {
            stays = false;
            self.skip(u64::MAX, deadline)?;
        }
        Ok(Answer { status, stays })
    }

    fn line(&mut self, deadline: Instant) -> io::Result<String> {
        self.stream.get_ref().set_read_timeout(Some(left(deadline)?))?;
        let mut line = Vec::new();
        self.stream.by_ref().take(8192).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Reads `length` bytes, or to the end if it is `u64::MAX`.
    fn skip(&mut self, length: u64, deadline: Instant) -> io::Result<()> {
        let mut missing = length.min(BODY_BYTES_MAX);
        while missing > 0 {
            self.stream.get_ref().set_read_timeout(Some(left(deadline)?))?;
            let has = self.stream.fill_buf()?.len() as u64;
            if has == 0 {
                return if length == u64::MAX { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) };
            }
            let take = has.min(missing);
            self.stream.consume(take as usize);
            missing -= take;
        }
        Ok(())
    }
}

/// How long until then; an error when it is over.
pub(super) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}
