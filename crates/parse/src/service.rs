//! What a service's message says of whoever it speaks of, and the small readers that the formats of services share.
//!
//! A message is part the service's own words and part a stranger's: an account's name may hold spaces, and look like
//! the rest of the line. So an address is read only from a place that the service's own words fix: right behind them at
//! the start, or right before them at the end. Where two places would fit, nobody is named.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::event::{Act, Event, Offence, ServiceLine};

use crate::scan::{address, number};
use crate::syslog::Head;
use crate::window::find_far;

/// What a message says, beyond its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Said<'a> {
    pub(crate) client: Option<IpAddr>,
    pub(crate) account: Option<&'a [u8]>,
    pub(crate) act: Act,
    pub(crate) times: u32,
}

/// A message that speaks of nobody.
pub(crate) const NOTHING: Said<'static> = Said { client: None, account: None, act: Act::Other, times: 1 };

/// A failed login.
pub(crate) const AUTH_FAILURE: Act = Act::Offence(Offence::AuthFailure);

impl<'a> Said<'a> {
    pub(crate) fn of(client: Option<IpAddr>) -> Said<'a> {
        Said { client, ..NOTHING }
    }

    pub(crate) fn account(mut self, account: &'a [u8]) -> Said<'a> {
        self.account = Some(account).filter(|account| !account.is_empty());
        self
    }

    pub(crate) fn act(self, act: Act) -> Said<'a> {
        Said { act, ..self }
    }

    pub(crate) fn offence(self, offence: Offence) -> Said<'a> {
        self.act(Act::Offence(offence))
    }

    /// The event of a line with this head.
    #[inline]
    pub(crate) fn by(self, service: &'a [u8], head: &Head<'a>) -> Event<'a> {
        Event::Service(ServiceLine {
            time: head.time,
            service,
            pid: head.pid,
            client: self.client,
            account: self.account,
            act: self.act,
            times: self.times,
            text: head.text,
        })
    }
}

/// When an offence counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Counts {
    Always,
    /// It sums up what ends, which may have been counted while it went on.
    UnlessToldBefore,
}

/// Those of whom an offence was counted already, each by a number of its own: a process, a session. One is forgotten
/// when another with the same low bits counts one; then an attempt may count twice.
#[derive(Clone, Debug)]
pub(crate) struct Told(Box<[u32; TOLD]>);

/// More processes than this are not started while one connection is open: 16 KiB.
const TOLD: usize = 4096;

impl Default for Told {
    fn default() -> Told {
        Told(Box::new([0; TOLD]))
    }
}

impl Told {
    /// Remembers an offence, or takes one away that was counted before.
    #[inline]
    pub(crate) fn weigh(&mut self, said: &mut Said<'_>, counts: Counts, who: Option<u32>) {
        let Some(who) = who else { return };
        let place = &mut self.0[who as usize % TOLD];
        match counts {
            Counts::Always if matches!(said.act, Act::Offence(_)) => *place = who,
            Counts::UnlessToldBefore if *place == who => {
                *place = 0;
                (said.act, said.times) = (Act::Other, 1);
            }
            _ => {}
        }
    }
}

/// What stands before and behind the last space.
pub(crate) fn last_word(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b' ', text) {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (b"", text),
    }
}

/// What stands before and behind the first space.
pub(crate) fn first_word(text: &[u8]) -> (&[u8], &[u8]) {
    match find_far(text, b' ') {
        Some(space) => (&text[..space], &text[space + 1..]),
        None => (text, b""),
    }
}

/// The address in the brackets at the end: `name[192.0.2.7]`. The name is whatever the DNS said.
pub(crate) fn bracketed_end(text: &[u8]) -> Option<IpAddr> {
    let text = text.strip_suffix(b"]")?;
    address(&text[memchr::memrchr(b'[', text)? + 1..])
}

/// PAM modules' `…; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=root`: the account and the remote host.
/// `ruser` and `user` are a stranger's, and each may hold what looks like another field; `rhost` may be a name.
pub(crate) fn pam_fields(text: &[u8]) -> Said<'_> {
    let mut hosts = memmem::find_iter(text, b"rhost=");
    let (Some(at), None) = (hosts.next(), hosts.next()) else { return NOTHING };
    let (host, rest) = first_word(&text[at + 6..]);
    let said = Said::of(address(host));
    let before = &text[..at];
    match rest.trim_ascii_start().strip_prefix(b"user=") {
        Some(user) => said.account(user.trim_ascii_end()),
        None => match memmem::find(before, b" ruser=") {
            Some(ruser) => said.account(before[ruser + 7..].trim_ascii_end()),
            None => said,
        },
    }
}

/// `pam_unix(sshd:auth): authentication failure; …`: what it says of whom, if it says that.
pub(crate) fn pam_failure(text: &[u8]) -> Option<Said<'_>> {
    // Some write `(pam_unix)`. The administrator names the modules, so no stranger's text comes first.
    let rest = text.strip_prefix(b"pam_").or_else(|| text.strip_prefix(b"(pam_"))?;
    let rest = &rest[memchr::memchr(b')', rest)? + 1..];
    let message = rest.strip_prefix(b":").unwrap_or(rest).strip_prefix(b" ")?;
    message.starts_with(b"authentication failure;").then(|| pam_fields(message))
}

/// A number, if it is one and fits.
pub(crate) fn count(text: &[u8]) -> Option<u32> {
    number(text).and_then(|count| u32::try_from(count).ok())
}
