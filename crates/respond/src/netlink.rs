//! Netlink messages, as few as toban needs: written into one buffer, read as attributes in place.
//!
//! Own code, although crates for it exist: of all of nf_tables toban needs four objects, a hundred thousand elements
//! must fit into one buffer without an allocation each, and "is it really in the kernel" is a comparison of attribute
//! bytes, which a typed binding hides. The layout is that of `linux/netlink.h`: header, payload, attributes, each
//! aligned to four bytes.

use std::io;
use std::time::Duration;

use netlink_sys::Socket;
use rustix::net::sockopt;

/// The header: length, type, flags, sequence number, port. All in the host's byte order.
const HEADER: usize = 16;
/// An attribute's length and type.
const ATTR_HEADER: usize = 4;
/// `NLA_F_NESTED | NLA_F_NET_BYTEORDER` are flags beside the type.
const ATTR_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

pub(crate) const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_ACK: u16 = 4;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;

/// The kernel answers within the system call that asks, so an answer that takes this long never comes.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The largest answer: a dump's skb is at most 32 KiB, an error quotes at most the message it is about.
const ANSWER_BYTES: usize = 128 * 1024;
/// Asked of the kernel for sending. A transaction has to be one `send`; without the right to exceed
/// `net.core.wmem_max` (it is 212,992 on most systems, doubled by the kernel) less is granted, and
/// `nft.rs` keeps its transactions below that.
const SEND_BUFFER_BYTES: usize = 8 * 1024 * 1024;

const fn aligned(len: usize) -> usize {
    (len + 3) & !3
}

/// Messages under construction.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// One message: `head` is the payload that precedes the attributes (nfgenmsg, inet_diag_req_v2).
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        seq: u32,
        head: &[u8],
        body: impl FnOnce(&mut Writer),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(head);
        self.pad();
        body(self);
        let len = u32::try_from(self.bytes.len() - start).expect("a transaction is cut long before 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(ATTR_HEADER + value.len()).expect("values are names, keys and numbers");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// Numbers inside nf_tables' attributes are big-endian.
    pub(crate) fn attr_u32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn attr_u64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn attr_str(&mut self, kind: u16, value: &str) {
        let mut with_end = Vec::with_capacity(value.len() + 1);
        with_end.extend_from_slice(value.as_bytes());
        with_end.push(0);
        self.attr(kind, &with_end);
    }

    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        body(self);
        let len =
            u16::try_from(self.bytes.len() - start).expect("lists are cut below 64 KiB by their writer");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

/// The attributes in some bytes: type without its flags, and value. Ends at the first that makes no sense.
pub(crate) fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & ATTR_TYPE_MASK;
        let value = bytes.get(ATTR_HEADER..len)?;
        bytes = bytes.get(aligned(len)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The value of one attribute.
pub(crate) fn attr_of(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

pub(crate) fn as_str(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

pub(crate) fn as_u32(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

pub(crate) fn as_u64(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// What the kernel refused: its error number, and its words if it has some.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) errno: i32,
    pub(crate) said: Option<String>,
}

impl Refused {
    pub(crate) fn io(&self) -> io::Error {
        io::Error::from_raw_os_error(self.errno)
    }

    fn from_io(error: &io::Error) -> Refused {
        Refused { errno: error.raw_os_error().unwrap_or(rustix::io::Errno::IO.raw_os_error()), said: None }
    }
}

/// One netlink socket. The kernel ties it to the network namespace in which it was opened.
pub(crate) struct Netlink {
    socket: Socket,
    seq: u32,
    answer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn open(protocol: isize) -> io::Result<Netlink> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        // Both are comfort: an error without a copy of the request, and with words. Kernels without them work, too.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        // Dumps are read as they come; this is for the acknowledgements of one large transaction.
        let _ = sockopt::set_socket_recv_buffer_size(&socket, SEND_BUFFER_BYTES);
        if sockopt::set_socket_send_buffer_size_force(&socket, SEND_BUFFER_BYTES).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
        }
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(ANSWER_LIMIT))?;
        Ok(Netlink { socket, seq: 1, answer: vec![0; ANSWER_BYTES] })
    }

    /// The next sequence number.
    pub(crate) fn seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    /// After messages that were numbered elsewhere.
    pub(crate) fn skip_to(&mut self, seq: u32) {
        self.seq = seq;
    }

    /// Sends messages of which each one that succeeds or fails is answered, and returns the first refusal.
    /// nfnetlink and sock_diag work within `send`, so all answers are there when it returns.
    pub(crate) fn transact(&mut self, writer: &Writer) -> Result<(), Refused> {
        self.discard();
        self.socket.send(&writer.bytes, 0).map_err(|error| Refused::from_io(&error))?;
        let mut first = None;
        loop {
            let len = match self.recv(rustix::net::RecvFlags::DONTWAIT) {
                Ok(len) => len,
                Err(rustix::io::Errno::AGAIN) => break,
                // Acknowledgements were lost, not refusals of a later message: whoever needs to know looks.
                Err(rustix::io::Errno::NOBUFS) => continue,
                Err(errno) => return Err(Refused { errno: errno.raw_os_error(), said: None }),
            };
            for message in messages(&self.answer[..len]) {
                if message.kind == NLMSG_ERROR {
                    first = first.or(refusal(&message));
                }
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// Asks once and hands over each answer: its type and its payload. For a dump, until it is done; otherwise
    /// until the acknowledgement. `Ok(false)`: the dump was cut by a change in between and should be asked anew.
    pub(crate) fn ask(&mut self, writer: &Writer, mut each: impl FnMut(u16, &[u8])) -> Result<bool, Refused> {
        self.discard();
        self.socket.send(&writer.bytes, 0).map_err(|error| Refused::from_io(&error))?;
        let mut whole = true;
        loop {
            let len = self
                .recv(rustix::net::RecvFlags::empty())
                .map_err(|errno| Refused { errno: errno.raw_os_error(), said: None })?;
            for message in messages(&self.answer[..len]) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_ERROR => return refusal(&message).map_or(Ok(whole), Err),
                    NLMSG_DONE => {
                        // A dump that fails midway says so in its last message.
                        let errno = message
                            .payload
                            .get(0..4)
                            .map_or(0, |b| i32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
                        return if errno < 0 {
                            Err(Refused { errno: -errno, said: None })
                        } else {
                            Ok(whole)
                        };
                    }
                    kind => each(kind, message.payload),
                }
            }
        }
    }

    /// Sends several questions that each have one answer or none, and hands over the payloads of those that have.
    /// `no_answer` is the error that means none.
    pub(crate) fn ask_many(
        &mut self,
        writer: &Writer,
        no_answer: i32,
        mut each: impl FnMut(&[u8]),
    ) -> Result<(), Refused> {
        self.discard();
        self.socket.send(&writer.bytes, 0).map_err(|error| Refused::from_io(&error))?;
        loop {
            let len = match self.recv(rustix::net::RecvFlags::DONTWAIT) {
                Ok(len) => len,
                Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(Refused { errno: errno.raw_os_error(), said: None }),
            };
            for message in messages(&self.answer[..len]) {
                match message.kind {
                    NLMSG_ERROR => {
                        if let Some(refused) = refusal(&message).filter(|refused| refused.errno != no_answer)
                        {
                            return Err(refused);
                        }
                    }
                    _ => each(message.payload),
                }
            }
        }
    }

    /// Answers to an earlier question that nobody read to its end.
    fn discard(&mut self) {
        while self.recv(rustix::net::RecvFlags::DONTWAIT).is_ok() {}
    }

    fn recv(&mut self, flags: rustix::net::RecvFlags) -> Result<usize, rustix::io::Errno> {
        rustix::net::recv(&self.socket, self.answer.as_mut_slice(), flags).map(|(len, _)| len)
    }
}

struct Message<'a> {
    kind: u16,
    flags: u16,
    payload: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?)).ok()?;
        let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
        let flags = u16::from_ne_bytes(bytes.get(6..8)?.try_into().ok()?);
        let payload = bytes.get(HEADER..len)?;
        bytes = bytes.get(aligned(len)..).unwrap_or(&[]);
        Some(Message { kind, flags, payload })
    })
}

/// The refusal in an NLMSG_ERROR; none if it is an acknowledgement.
fn refusal(message: &Message<'_>) -> Option<Refused> {
    let errno = i32::from_ne_bytes(message.payload.get(0..4)?.try_into().ok()?);
    if errno == 0 {
        return None;
    }
    let quoted =
        message.payload.get(4..8).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let skip = if message.flags & NLM_F_CAPPED == 0 { 4 + aligned(quoted) } else { 4 + HEADER };
    let said = (message.flags & NLM_F_ACK_TLVS != 0)
        .then(|| attr_of(message.payload.get(skip..)?, NLMSGERR_ATTR_MSG).and_then(as_str).map(str::to_owned))
        .flatten();
    Some(Refused { errno: -errno, said })
}
