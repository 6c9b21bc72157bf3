//! `sshd`: what OpenSSH's daemon writes through syslog, from version 6 to 10 (which calls itself `sshd-session` and
//! `sshd-auth` too).
//!
//! An account's name comes from the client before anything is proved, may hold spaces, and stands in front of the
//! address. So the address is read from the end of the line, where sshd's own words are; and where sshd may put more
//! behind it (a key's name, the name of a host), only if no other place could be taken for it.
//!
//! One attempt is one offence, as far as a line and its process id tell. sshd says some things twice:
//! - `Failed …` counts, but not for `none` (the question which methods there are) and not for the public keys of an
//!   account that exists, since an honest client offers each of its keys in turn.
//! - `Invalid user` counts: where only keys are let in, it is all that is said. Where passwords are asked for,
//!   `Failed password for invalid user` follows and counts for the password. fail2ban counts both too.
//! - `error: PAM: … for` counts: at the usual log level, keyboard-interactive logins fail with nothing else.
//! - That a client which was authenticating goes away, or has tried too often, counts only if the process counted
//!   nothing yet. That is how a server without passwords sees guesses at accounts that exist.
//! - PAM's own `authentication failure` never counts: sshd says it again.

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{Act, Event, Offence};

use super::{Reader, Sample, Unit, Way};
use crate::scan::address;
use crate::service::{
    AUTH_FAILURE, Counts, NOTHING, Said, Told, bracketed_end, count, first_word, last_word, pam_failure,
    pam_fields,
};
use crate::stamp::Dates;
use crate::syslog::{self, Head};

pub(crate) const UNIT: Unit = Unit {
    id: "sshd",
    about: Text::fixed("OpenSSH's messages in a syslog file", "syslog に書かれた OpenSSH のメッセージです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Sshd::default())),
};

/// Reads sshd's lines; what it remembers are processes.
#[derive(Clone, Debug, Default)]
struct Sshd(Told);

impl Reader for Sshd {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let head = syslog::head(line, dates)?;
        is_tag(head.tag).then(|| event(&head, &mut self.0))
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

/// sshd writes under this name.
pub(crate) fn is_tag(tag: &[u8]) -> bool {
    matches!(tag, b"sshd" | b"sshd-session" | b"sshd-auth")
}

/// The event of a line that sshd wrote.
#[inline]
pub(crate) fn event<'a>(head: &Head<'a>, told: &mut Told) -> Event<'a> {
    // rsyslog sums up: `message repeated 2 times: [ Failed password for … ]`.
    let (text, times) = repeated(head.text).unwrap_or((head.text, 1));
    let (mut said, counts) = message(text);
    said.times = times;
    told.weigh(&mut said, counts, head.pid);
    said.by(b"sshd", head)
}

fn repeated(text: &[u8]) -> Option<(&[u8], u32)> {
    let (times, rest) = first_word(text.strip_prefix(b"message repeated ")?);
    Some((rest.strip_prefix(b"times: [ ")?.strip_suffix(b"]")?, count(times)?))
}

fn message(text: &[u8]) -> (Said<'_>, Counts) {
    let text = text.strip_prefix(b"error: ").or_else(|| text.strip_prefix(b"fatal: ")).unwrap_or(text);
    // What sshd's monitor passes on; some daemons leave a space.
    let text = text.trim_ascii_end();
    let text = text.strip_suffix(b" [preauth]").unwrap_or(text);
    if let Some(rest) = CLOSING.iter().find_map(|words| text.strip_prefix(*words)) {
        return (closed(rest), Counts::UnlessToldBefore);
    }
    if let Some(rest) = text.strip_prefix(b"maximum authentication attempts exceeded for ") {
        let said = rest.strip_suffix(b" ssh2").and_then(named).unwrap_or(NOTHING);
        return (said.act(AUTH_FAILURE), Counts::UnlessToldBefore);
    }
    (other(text).unwrap_or(NOTHING), Counts::Always)
}

const CLOSING: [&[u8]; 3] = [b"Connection closed by ", b"Connection reset by ", b"Disconnected from "];

/// All messages but those of an end, by their first letter.
fn other(text: &[u8]) -> Option<Said<'_>> {
    match text.first()? {
        b'A' => accepted(text).or_else(|| denied(text)).or_else(|| at(text, b"Address ")),
        b'B' => bad_version(text),
        b'C' => at(text, b"Connection from "),
        b'D' => disconnecting(text).or_else(|| {
            at(text, b"Did not receive identification string from ").map(|said| said.offence(Offence::Probe))
        }),
        b'F' => failed(text),
        b'I' => Some(named(text.strip_prefix(b"Invalid user ")?).unwrap_or(NOTHING).act(AUTH_FAILURE)),
        b'P' => pam_error(text),
        b'R' => at(text, b"Received disconnect from ").or_else(|| {
            at(text, b"ROOT LOGIN REFUSED FROM ").map(|said| said.account(b"root").act(AUTH_FAILURE))
        }),
        b'T' => at(text, b"Timeout before authentication for connection from ")
            .or_else(|| at(text, b"Timeout before authentication for ")),
        b'U' => not_allowed(text).or_else(|| {
            at(text, b"Unable to negotiate with ").map(|said| said.offence(Offence::ProtocolError))
        }),
        b'b' => {
            at(text, b"banner exchange: Connection from ").map(|said| said.offence(Offence::ProtocolError))
        }
        b'd' => dropped(text),
        b'p' => pam_failure(text),
        b'r' => refused(text).or_else(|| reverse_mapping(text)),
        b's' => broken(text),
        _ => None,
    }
}

/// The address right behind sshd's own words: `192.0.2.7 port 4711`, `192.0.2.7: 11: Bye`.
fn at<'a>(text: &'a [u8], words: &[u8]) -> Option<Said<'a>> {
    let (host, _) = first_word(text.strip_prefix(words)?);
    Some(Said::of(address(host.strip_suffix(b":").unwrap_or(host))))
}

/// The text without ` port 4711` at its end.
fn without_port(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    text[..text.len() - digits].strip_suffix(b" port ")
}

/// `[invalid user ]NAME from HOST[ port N]`, to the very end.
fn named(text: &[u8]) -> Option<Said<'_>> {
    let (before, host) = last_word(without_port(text).unwrap_or(text));
    // An empty name leaves nothing before ` from`.
    let name = before.strip_suffix(b"from")?;
    let name = if name.is_empty() { name } else { name.strip_suffix(b" ")? };
    let name =
        name.strip_prefix(b"invalid user ").or_else(|| name.strip_prefix(b"illegal user ")).unwrap_or(name);
    Some(Said::of(address(host)).account(name))
}

/// The one place that looks like `NAME from ADDR port N ssh2`, at the end or before a colon; nobody if there are two.
fn only_place(text: &[u8]) -> Option<Said<'_>> {
    let mut found = None;
    for end in memmem::find_iter(text, b" ssh") {
        if let [b'1' | b'2'] | [b'1' | b'2', b':', ..] = text[end + 4..]
            && let Some(before) = without_port(&text[..end])
            && let Some(said) = named(before)
            && found.replace(said).is_some()
        {
            return None;
        }
    }
    found
}

/// `Accepted publickey for NAME from ADDR port N ssh2: ED25519 SHA256:…`.
fn accepted(text: &[u8]) -> Option<Said<'_>> {
    let (_method, rest) = first_word(text.strip_prefix(b"Accepted ")?);
    let rest = rest.strip_prefix(b"for ")?;
    let (name, behind) = first_word(rest);
    let said = match behind.strip_prefix(b"from ") {
        Some(behind) => Said::of(address(first_word(behind).0)).account(name),
        // The name exists, and may have spaces only in a directory (`EXAMPLE\john smith`).
        None => only_place(rest).unwrap_or(NOTHING),
    };
    Some(said.act(Act::LoggedIn))
}

/// `Failed METHOD for [invalid user ]NAME from ADDR port N ssh2[: …]`.
fn failed(text: &[u8]) -> Option<Said<'_>> {
    let (method, rest) = first_word(text.strip_prefix(b"Failed ")?);
    let rest = rest.strip_prefix(b"for ")?;
    let said = only_place(rest).unwrap_or(NOTHING);
    Some(match method {
        b"none" => said,
        b"publickey" if !rest.starts_with(b"invalid user ") => said,
        _ => said.act(AUTH_FAILURE),
    })
}

/// `authenticating user NAME ADDR port N`, `invalid user …` (which was counted by that line), `user …` after a login,
/// or the address alone.
fn closed(rest: &[u8]) -> Said<'_> {
    let (before, host) = last_word(without_port(rest).unwrap_or(rest));
    let said = Said::of(address(host));
    if let Some(name) = before.strip_prefix(b"authenticating user ") {
        return said.account(name).act(AUTH_FAILURE);
    }
    let name = before.strip_prefix(b"invalid user ").or_else(|| before.strip_prefix(b"user "));
    said.account(name.unwrap_or_default())
}

/// `authenticating user NAME ADDR port N: …` or `ADDR port N: …`, where more of a stranger's text may follow.
fn connection(text: &[u8]) -> Said<'_> {
    if let Some(host) = address(first_word(text).0) {
        return Said::of(Some(host));
    }
    let mut found = None;
    for at in memmem::find_iter(text, b" port ") {
        let digits = text[at + 6..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0
            && text.get(at + 6 + digits) == Some(&b':')
            && found.replace(closed(&text[..at])).is_some()
        {
            return NOTHING;
        }
    }
    found.unwrap_or(NOTHING).act(Act::Other)
}

fn disconnecting(text: &[u8]) -> Option<Said<'_>> {
    let said = connection(text.strip_prefix(b"Disconnecting ")?);
    // The only line on the second of two accounts tried in one connection.
    let changed = memmem::find(text, b": Change of username or service not allowed: ").is_some();
    Some(if changed { said.act(AUTH_FAILURE) } else { said })
}

/// `ssh_dispatch_run_fatal: Connection from ADDR port N: Connection corrupted`.
fn broken(text: &[u8]) -> Option<Said<'_>> {
    let rest = text.strip_prefix(b"ssh_dispatch_run_fatal: Connection from ")?;
    let garbage = [&b": Connection corrupted"[..], b": invalid format", b": incomplete message"];
    let said = connection(rest);
    // After the login, the line itself is likelier to be bad.
    let strange = !rest.starts_with(b"user ") && garbage.iter().any(|words| rest.ends_with(words));
    Some(if strange { said.offence(Offence::ProtocolError) } else { said })
}

/// `Bad protocol version identification 'GET / HTTP/1.1' from ADDR port N`.
fn bad_version(text: &[u8]) -> Option<Said<'_>> {
    let said = named(text.strip_prefix(b"Bad protocol version identification ")?).unwrap_or(NOTHING);
    Some(Said::of(said.client).offence(Offence::ProtocolError))
}

/// `PAM: Authentication failure for [illegal user ]NAME from HOST[ via ADDR]`, or the summary `PAM 2 more
/// authentication failures; logname= …`.
fn pam_error(text: &[u8]) -> Option<Said<'_>> {
    if text.starts_with(b"PAM ") {
        return Some(pam_fields(text));
    }
    let text = text.strip_prefix(b"PAM: ")?;
    let rest = &text[memmem::find(text, b" for ")? + 5..];
    let rest = last_word(rest).0.strip_suffix(b" via").unwrap_or(rest);
    Some(named(rest)?.act(AUTH_FAILURE))
}

/// `Access denied for user NAME by PAM account configuration`.
fn denied(text: &[u8]) -> Option<Said<'_>> {
    let rest = text.strip_prefix(b"Access denied for user ")?;
    Some(NOTHING.account(rest.strip_suffix(b" by PAM account configuration")?).act(AUTH_FAILURE))
}

/// `User NAME from HOST not allowed because …`; without `from HOST` where the account itself is the reason.
fn not_allowed(text: &[u8]) -> Option<Said<'_>> {
    let rest = text.strip_prefix(b"User ")?;
    let rest = &rest[..memmem::rfind(rest, b" not allowed because ")?];
    Some(named(rest).unwrap_or(NOTHING.account(rest)).act(AUTH_FAILURE))
}

/// `drop connection #10 from [ADDR]:4711 on [ADDR]:22 past MaxStartups`, or for a penalty that was counted before.
fn dropped(text: &[u8]) -> Option<Said<'_>> {
    let (_number, rest) = first_word(text.strip_prefix(b"drop connection #")?);
    let rest = rest.strip_prefix(b"from [")?;
    Some(Said::of(address(&rest[..memchr::memchr(b']', rest)?])))
}

/// `refused connect from NAME (ADDR)`, by /etc/hosts.deny.
fn refused(text: &[u8]) -> Option<Said<'_>> {
    let rest = text.strip_prefix(b"refused connect from ")?.strip_suffix(b")")?;
    let host = &rest[memchr::memrchr(b'(', rest)? + 1..];
    Some(Said::of(address(host)).offence(Offence::Probe))
}

/// `reverse mapping checking getaddrinfo for NAME [ADDR] failed.`
fn reverse_mapping(text: &[u8]) -> Option<Said<'_>> {
    let rest = text.strip_prefix(b"reverse mapping checking getaddrinfo for ")?;
    let rest = rest.strip_suffix(b" - POSSIBLE BREAK-IN ATTEMPT!").unwrap_or(rest);
    let rest = rest.strip_suffix(b".").unwrap_or(rest);
    Some(Said::of(bracketed_end(rest.strip_suffix(b" failed")?)))
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: Failed password for root from 198.51.100.11 port 29588 ssh2",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=root text="Failed password for root from 198.51.100.11 port 29588 ssh2""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.168259+09:00 web1 sshd-session[7]: Failed password for invalid user john smith from 2001:db8::7 port 29588 ssh2",
        event: r#"time=2026-11-22T01:23:44.168259Z service=sshd pid=7 client=2001:db8::7 offence=auth-failure account="john smith" text="Failed password for invalid user john smith from 2001:db8::7 port 29588 ssh2""#,
    },
    Sample {
        format: "",
        line: "<38>1 2026-11-22T10:23:44.168259-05:00 web1 sshd 7 - - Invalid user admin from 198.51.100.11 port 29588",
        event: r#"time=2026-11-22T15:23:44.168259Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=admin text="Invalid user admin from 198.51.100.11 port 29588""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: Accepted publickey for anna from 192.0.2.10 port 50203 ssh2: ED25519 SHA256:Qm9vYmFyYmF6cXV4",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=192.0.2.10 act=logged-in account=anna text="Accepted publickey for anna from 192.0.2.10 port 50203 ssh2: ED25519 SHA256:Qm9vYmFyYmF6cXV4""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: Connection closed by authenticating user root 198.51.100.11 port 29588 [preauth]",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=root text="Connection closed by authenticating user root 198.51.100.11 port 29588 [preauth]""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: message repeated 3 times: [ Failed password for root from 198.51.100.11 port 29588 ssh2]",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure times=3 account=root text="message repeated 3 times: [ Failed password for root from 198.51.100.11 port 29588 ssh2]""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd-auth[7]: banner exchange: Connection from 198.51.100.11 port 29588: invalid format",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 offence=protocol-error text="banner exchange: Connection from 198.51.100.11 port 29588: invalid format""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: error: kex_exchange_identification: Connection closed by remote host",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 text="error: kex_exchange_identification: Connection closed by remote host""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.11  user=root",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 account=root text="pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=198.51.100.11  user=root""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: pam_unix(sshd:session): session opened for user anna(uid=1000) by (uid=0)",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 text="pam_unix(sshd:session): session opened for user anna(uid=1000) by (uid=0)""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use crate::Format;

    /// Reads messages of one connection, and shows what each says of whom.
    fn check_all(messages: &[(&str, &str)]) {
        let mut format = Format::from_name_or_string("sshd", &super::super::tests::clock()).unwrap();
        for (message, expected) in messages {
            let line = format!("Nov 22 10:23:44 web1 sshd[7]: {message}");
            let event = format.parse(line.as_bytes()).map(|event| crate::show(&event)).unwrap();
            let said = event.strip_prefix("time=2026-11-22T01:23:44Z service=sshd pid=7 ").unwrap();
            assert_eq!(said[..said.find("text=").unwrap()].trim_end(), *expected, "{message}");
        }
    }

    fn each(messages: &[(&str, &str)]) {
        messages.iter().for_each(|message| check_all(&[*message]));
    }

    #[test]
    fn failures() {
        each(&[
            (
                "Failed keyboard-interactive/pam for invalid user x from 192.0.2.7 port 4 ssh2",
                "client=192.0.2.7 offence=auth-failure account=x",
            ),
            ("Failed none for invalid user x from 192.0.2.7 port 4 ssh2", "client=192.0.2.7 account=x"),
            (
                "Failed publickey for git from 192.0.2.7 port 4 ssh2: RSA SHA256:v3d/p+g",
                "client=192.0.2.7 account=git",
            ),
            (
                "Failed publickey for invalid user git from 192.0.2.7 port 4 ssh2: RSA SHA256:v3d [preauth]",
                "client=192.0.2.7 offence=auth-failure account=git",
            ),
            (
                "Failed hostbased for dan from 192.0.2.7 port 4 ssh2: RSA 8c:e3, client user \"dan\", client host \"x\"",
                "client=192.0.2.7 offence=auth-failure account=dan",
            ),
            ("Invalid user  from 192.0.2.7 port 34916", "client=192.0.2.7 offence=auth-failure"),
            ("Invalid user ftp from 192.0.2.7", "client=192.0.2.7 offence=auth-failure account=ftp"),
            (
                "error: maximum authentication attempts exceeded for invalid user a b from 2001:db8::7 port 4 ssh2 [preauth]",
                "client=2001:db8::7 offence=auth-failure account=\"a b\"",
            ),
            (
                "error: PAM: Authentication failure for illegal user x from 192.0.2.7",
                "client=192.0.2.7 offence=auth-failure account=x",
            ),
            (
                "error: PAM: authentication error for james from host.example.com via 192.0.2.1",
                "offence=auth-failure account=james",
            ),
            (
                "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7  user=a",
                "client=192.0.2.7 account=a",
            ),
            (
                "User root from 192.0.2.7 not allowed because not listed in AllowUsers",
                "client=192.0.2.7 offence=auth-failure account=root",
            ),
            (
                "User root from host.example.com not allowed because a group is listed in DenyGroups",
                "offence=auth-failure account=root",
            ),
            ("User bob not allowed because account is locked", "offence=auth-failure account=bob"),
            (
                "ROOT LOGIN REFUSED FROM 192.0.2.7 port 4",
                "client=192.0.2.7 offence=auth-failure account=root",
            ),
            (
                "fatal: Access denied for user bob by PAM account configuration [preauth]",
                "offence=auth-failure account=bob",
            ),
            (
                "Disconnecting invalid user a 192.0.2.7 port 4: Change of username or service not allowed: (a,ssh-connection) -> (b,ssh-connection) [preauth]",
                "client=192.0.2.7 offence=auth-failure account=a",
            ),
        ]);
    }

    #[test]
    fn probes_and_garbage() {
        each(&[
            ("Did not receive identification string from 192.0.2.7 port 4", "client=192.0.2.7 offence=probe"),
            ("Did not receive identification string from 192.0.2.7", "client=192.0.2.7 offence=probe"),
            ("refused connect from name@2001:db8::7 (2001:db8::7)", "client=2001:db8::7 offence=probe"),
            (
                "Bad protocol version identification 'GET / HTTP/1.1' from 192.0.2.7 port 4",
                "client=192.0.2.7 offence=protocol-error",
            ),
            (
                "fatal: Unable to negotiate with 192.0.2.7 port 4: no matching cipher found. Their offer: aes256-cbc [preauth]",
                "client=192.0.2.7 offence=protocol-error",
            ),
            (
                "ssh_dispatch_run_fatal: Connection from authenticating user a b 192.0.2.7 port 4: Connection corrupted [preauth]",
                "client=192.0.2.7 offence=protocol-error account=\"a b\"",
            ),
            (
                "ssh_dispatch_run_fatal: Connection from user anna 192.0.2.7 port 4: Connection corrupted",
                "client=192.0.2.7 account=anna",
            ),
        ]);
    }

    #[test]
    fn said_of_someone_without_blame() {
        each(&[
            ("Received disconnect from 192.0.2.7 port 4:11: Bye Bye [preauth]", "client=192.0.2.7"),
            ("Received disconnect from 2001:db8::7: 11: disconnected by user", "client=2001:db8::7"),
            ("Connection from 192.0.2.7 port 4 on 192.0.2.1 port 22 rdomain \"\"", "client=192.0.2.7"),
            ("Connection closed by 192.0.2.7 port 4 [preauth]", "client=192.0.2.7"),
            ("Connection closed by 192.0.2.7 [preauth]", "client=192.0.2.7"),
            ("Connection reset by 192.0.2.7 port 4", "client=192.0.2.7"),
            ("Connection closed by invalid user  192.0.2.7 port 4 [preauth]", "client=192.0.2.7"),
            ("Disconnected from user anna 192.0.2.7 port 4", "client=192.0.2.7 account=anna"),
            (
                "Disconnecting authenticating user root 192.0.2.7 port 4: Too many authentication failures [preauth]",
                "client=192.0.2.7 account=root",
            ),
            ("Timeout before authentication for 192.0.2.7 port 4", "client=192.0.2.7"),
            (
                "Timeout before authentication for connection from 192.0.2.7 to 192.0.2.1, pid = 9",
                "client=192.0.2.7",
            ),
            (
                "drop connection #10 from [2001:db8::7]:46482 on [2001:db8::1]:22 past MaxStartups",
                "client=2001:db8::7",
            ),
            (
                "drop connection #0 from [192.0.2.7]:46482 on [192.0.2.1]:22 penalty: failed authentication",
                "client=192.0.2.7",
            ),
            (
                "reverse mapping checking getaddrinfo for evil.example.com [192.0.2.7] failed - POSSIBLE BREAK-IN ATTEMPT!",
                "client=192.0.2.7",
            ),
            (
                "Address 192.0.2.7 maps to evil.example.com, but this does not map back to the address.",
                "client=192.0.2.7",
            ),
            (
                "Accepted password for EXAMPLE\\john smith from 192.0.2.7 port 4 ssh2",
                "client=192.0.2.7 act=logged-in account=\"EXAMPLE\\john smith\"",
            ),
            ("Server listening on :: port 22.", ""),
            ("fatal: Read from socket failed: Connection reset by peer [preauth]", ""),
        ]);
    }

    #[test]
    fn one_attempt_is_one_offence() {
        let closed = "Connection closed by authenticating user root 192.0.2.7 port 4 [preauth]";
        let failed = "Failed password for root from 192.0.2.7 port 4 ssh2";
        check_all(&[
            (failed, "client=192.0.2.7 offence=auth-failure account=root"),
            (failed, "client=192.0.2.7 offence=auth-failure account=root"),
            (
                "Disconnected from authenticating user root 192.0.2.7 port 4 [preauth]",
                "client=192.0.2.7 account=root",
            ),
            // The next connection of a process with the same id.
            (closed, "client=192.0.2.7 offence=auth-failure account=root"),
            (closed, "client=192.0.2.7 offence=auth-failure account=root"),
        ]);
        check_all(&[
            (failed, "client=192.0.2.7 offence=auth-failure account=root"),
            (
                "error: maximum authentication attempts exceeded for root from 192.0.2.7 port 4 ssh2 [preauth]",
                "client=192.0.2.7 account=root",
            ),
        ]);
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Nov 22 10:23:44",
            "sshd[7]: Failed password for root from 192.0.2.7 port 4 ssh2",
            "Nov 22 10:23:44 web1 CRON[7]: pam_unix(cron:session): session closed for user root",
            "Nov 22 10:23:44 web1 su: sshd[7]: Failed password for root from 192.0.2.7 port 4 ssh2",
            "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5",
        ] {
            check("sshd", line.as_bytes(), "none");
        }
    }
}
