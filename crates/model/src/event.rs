//! *Events*: what one line of a log says, borrowed from that line.
//!
//! Two kinds of text stand side by side here and must not be mixed up. Addresses (`peer`, `client`) are what the
//! server itself saw. Everything that is `&[u8]` may have been written by a stranger, as they liked it: it can
//! describe what they did, and never name who did it.

use std::net::IpAddr;

pub use crate::kernel_word::KernelWord;

use crate::Time;

/// What one line of a log says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A web server or proxy answered a request.
    Request(Request<'a>),
    /// A server complained.
    Error(ErrorLine<'a>),
    /// The kernel said something.
    Kernel(KernelLine<'a>),
    /// Another service said something: a login, a refusal, a session's end.
    Service(ServiceLine<'a>),
    /// A line of the format that says nothing by itself: a header, one field of a longer record.
    Silent,
}

/// What a service itself counts against a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// It gave a wrong password or key, or an account that does not exist.
    AuthFailure,
    /// It asked this host to pass something on to a third one: a proxy request, mail for elsewhere.
    RelayAttempt,
    /// It looked for a weakness, or for whether something is there at all.
    Probe,
    /// It does not speak the service's protocol.
    ProtocolError,
}

impl Offence {
    /// All of them.
    pub const ALL: [Offence; 4] =
        [Offence::AuthFailure, Offence::RelayAttempt, Offence::Probe, Offence::ProtocolError];

    /// Its name for ever.
    pub fn id(self) -> &'static str {
        match self {
            Offence::AuthFailure => "auth-failure",
            Offence::RelayAttempt => "relay-attempt",
            Offence::Probe => "probe",
            Offence::ProtocolError => "protocol-error",
        }
    }
}

/// What a line of a service means for whoever it speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// They proved who they are.
    LoggedIn,
    /// They did something that counts against them.
    Offence(Offence),
    /// Anything else.
    Other,
}

/// One line of a service that is no web server: `sshd`, `dovecot`, `postfix`…
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceLine<'a> {
    /// When it was written.
    pub time: Option<Time>,
    /// The service, as its log calls it.
    pub service: &'a [u8],
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// The address in the service's own field, found by structure; `None` where a stranger's text could have put
    /// another one in its place.
    pub client: Option<IpAddr>,
    /// The account in question, which is a stranger's text.
    pub account: Option<&'a [u8]>,
    /// What it means.
    pub act: Act,
    /// How often it happened: more than once where the daemon sums up what happened since its last line.
    pub times: u32,
    /// The message.
    pub text: &'a [u8],
}

/// One request of a web server's access log, borrowed from its line.
///
/// Byte fields are as the log has them, with the log's own escapes (`\"`, `\x16`). What the line does not say, or says
/// with `-`, is `None` (or empty for the fields of the request line).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Request<'a> {
    /// When the request was received. For a log that stamps the end, this is the end less the duration.
    pub time: Time,
    /// The other end of the TCP connection, as the server saw it; `None` if the field is a name, `-`, or replaced by
    /// what a proxy reported.
    pub peer: Option<IpAddr>,
    /// What the server itself says is the client: the peer, or the address that a trusted proxy reported.
    pub client: Option<IpAddr>,
    /// `X-Forwarded-For` as it came: a stranger's text unless the peer is a trusted proxy.
    pub forwarded: Option<&'a [u8]>,
    /// The method; empty if the request line is not HTTP's.
    pub method: &'a [u8],
    /// The request's target without its query; for `CONNECT` the authority. A target in absolute form (`http://…`) is
    /// kept as it is: that is how a proxy is asked.
    pub path: &'a [u8],
    /// `HTTP/1.1`; empty if absent.
    pub protocol: &'a [u8],
    /// The status that the client got.
    pub status: Option<u16>,
    /// Bytes sent.
    pub bytes: Option<u64>,
    /// Time to serve the request, in microseconds.
    pub duration_us: Option<u64>,
    /// `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// `Referer`.
    pub referer: Option<&'a [u8]>,
    /// The virtual host or the `Host` header, whichever the format has.
    pub host: Option<&'a [u8]>,
    /// The user of HTTP authentication, which with status 401 is only claimed.
    pub user: Option<&'a [u8]>,
    /// The whole request line as logged; empty if the format has only its pieces.
    pub raw_request: &'a [u8],
}

impl Request<'_> {
    /// One of which nothing is known.
    pub const BLANK: Request<'static> = Request {
        time: Time::ZERO,
        peer: None,
        client: None,
        forwarded: None,
        method: b"",
        path: b"",
        protocol: b"",
        status: None,
        bytes: None,
        duration_us: None,
        agent: None,
        referer: None,
        host: None,
        user: None,
        raw_request: b"",
    };
}

/// How serious a server thinks its line is; syslog's scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The system is unusable.
    Emergency,
    /// Must be corrected at once.
    Alert,
    /// Critical.
    Critical,
    /// Something failed.
    Error,
    /// Something may fail.
    Warning,
    /// Normal, but worth a line.
    Notice,
    /// For information.
    Info,
    /// For debugging, with Apache's trace levels.
    Debug,
}

/// One line of a server's error log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorLine<'a> {
    /// When it was written.
    pub time: Option<Time>,
    /// How serious the server thinks it is.
    pub level: Level,
    /// The process that wrote it.
    pub pid: Option<u32>,
    /// The address in the server's own client field, found by structure; `None` where a stranger's text could have
    /// put another one in its place.
    pub peer: Option<IpAddr>,
    /// The server's number for this message, such as `AH01075`.
    pub code: Option<&'a str>,
    /// The part of the server that speaks: a module, a pool.
    pub module: Option<&'a [u8]>,
    /// What the server says that the peer did wrong.
    pub offence: Option<Offence>,
    /// The account in question, which is a stranger's text.
    pub account: Option<&'a [u8]>,
    /// The message, without what the other fields hold.
    pub text: &'a [u8],
}

/// One line of the kernel log.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelLine<'a> {
    /// When it was logged by the wall clock; the kernel's own ring buffer does not say.
    pub time: Option<Time>,
    /// Microseconds since boot, the kernel's own stamp.
    pub boot_us: Option<u64>,
    /// The message.
    pub text: &'a [u8],
    /// What it means, if it is one of those that matter.
    pub word: KernelWord,
}
