//! `dovecot`: what Dovecot 2.2 to 2.4 writes, through syslog or into a log of its own.
//!
//! The login processes sum a connection up when it ends (`auth failed, 3 attempts in 17 secs`), and that line counts for
//! as many attempts, unless the authentication process said of each that it failed (with `auth_verbose`), which its
//! session tells. What PAM says is the same again and never counts.
//!
//! A user's name is a stranger's text. Dovecot allows only harmless letters in it by default, but that can be changed;
//! so a second field that looks like the client's address makes nobody the client.

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{Act, Event, Offence};

use super::{Reader, Sample, Unit, Way};
use crate::scan::{Scan, address};
use crate::service::{AUTH_FAILURE, Counts, NOTHING, Said, Told, count, first_word, pam_failure};
use crate::stamp::{self, Dates};
use crate::syslog::{self, Head};

pub(crate) const UNIT: Unit = Unit {
    id: "dovecot",
    about: Text::fixed(
        "Dovecot's log of logins and mail access",
        "Dovecot のログインとメールアクセスのログです",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Dovecot::default())),
};

/// Reads Dovecot's lines; what it remembers are sessions.
#[derive(Clone, Debug, Default)]
struct Dovecot(Told);

impl Reader for Dovecot {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let told = &mut self.0;
        if let Some((head, message)) = own(line, dates) {
            return Some(said(head.tag, message, told).by(b"dovecot", &head));
        }
        let head = syslog::head(line, dates)?;
        match head.tag {
            b"dovecot" => Some(event(&head, told)),
            // A log of its own with the usual stamp looks like one without a host.
            tag if is_process(tag) => Some(said(tag, level(head.text)?, told).by(b"dovecot", &head)),
            _ => None,
        }
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

/// A line of its own log with `log_timestamp = "%Y-%m-%d %H:%M:%S "`: its head, where the process is the tag, and what
/// follows the level.
fn own<'a>(line: &'a [u8], dates: &mut Dates) -> Option<(Head<'a>, &'a [u8])> {
    let mut scan = Scan::new(line);
    if !line.first()?.is_ascii_digit() {
        return None;
    }
    let time = stamp::iso(&mut scan, dates)?;
    scan.literal(b" ")?;
    let text = scan.rest;
    let tag = scan.until(b": ")?;
    let message = level(scan.rest).filter(|_| is_process(tag))?;
    Some((Head { time: Some(time), tag, pid: None, text }, message))
}

/// The event of a line that Dovecot wrote through syslog.
pub(crate) fn event<'a>(head: &Head<'a>, told: &mut Told) -> Event<'a> {
    if head.tag != b"dovecot" {
        // PAM, in the name of the process: `auth`, `dovecot-auth`.
        return pam_failure(head.text).unwrap_or(NOTHING).by(b"dovecot", head);
    }
    let mut scan = Scan::new(head.text);
    let _doubled = scan.literal(b"dovecot: ");
    let said = match scan.until(b": ") {
        Some(process) => said(process, level(scan.rest).unwrap_or(scan.rest), told),
        None => NOTHING,
    };
    said.by(b"dovecot", head)
}

/// What follows the level, in a log of Dovecot's own.
fn level(text: &[u8]) -> Option<&[u8]> {
    [&b"Info: "[..], b"Warning: ", b"Error: ", b"Debug: ", b"Fatal: ", b"Panic: "]
        .iter()
        .find_map(|level| text.strip_prefix(*level))
}

/// `imap-login`, `auth-worker(123)`, `imap(anna)<123><session>`.
fn is_process(name: &[u8]) -> bool {
    let name = base(name);
    name.ends_with(b"-login")
        || [
            &b"auth"[..],
            b"auth-worker",
            b"imap",
            b"pop3",
            b"lmtp",
            b"lda",
            b"managesieve",
            b"submission",
            b"master",
            b"anvil",
            b"config",
            b"log",
            b"stats",
            b"indexer",
            b"indexer-worker",
            b"dict",
            b"doveadm",
            b"imap-hibernate",
            b"ssl-params",
            b"quota-status",
            b"replicator",
        ]
        .contains(&name)
}

fn base(process: &[u8]) -> &[u8] {
    &process[..process.iter().position(|b| matches!(b, b'(' | b'<')).unwrap_or(process.len())]
}

fn said<'a>(process: &[u8], text: &'a [u8], told: &mut Told) -> Said<'a> {
    let name = base(process);
    let (mut said, session, counts) = if name.ends_with(b"-login") {
        let session = memmem::rfind(text, b", session=<").map(|at| &text[at + 11..]);
        (login(text), session.and_then(|session| session.strip_suffix(b">")), Counts::UnlessToldBefore)
    } else if name.starts_with(b"auth") {
        let (said, session) = auth(text).unwrap_or((NOTHING, None));
        (said, session, Counts::Always)
    } else {
        return NOTHING;
    };
    told.weigh(&mut said, counts, session.map(number_of));
    said
}

/// A session's number, by FNV-1a. Clients do not choose their session.
fn number_of(session: &[u8]) -> u32 {
    session.iter().fold(0x811c_9dc5, |hash: u32, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// `Disconnected: Inactivity (auth failed, 3 attempts in 17 secs): user=<x>, method=PLAIN, rip=ADDR, lip=ADDR, TLS`.
fn login(text: &[u8]) -> Said<'_> {
    // Up to the first field these are Dovecot's own words.
    let fields = [&b" user=<"[..], b" method=", b" rip="];
    let Some(start) = fields.iter().filter_map(|field| memmem::find(text, field)).min() else {
        return NOTHING;
    };
    let (words, fields) = text.split_at(start);
    let mut said = person(fields);
    if words == b"Login:" || words == b"Logged in:" {
        return said.act(Act::LoggedIn);
    }
    let has = |text: &[u8]| memmem::find(words, text).is_some();
    if let Some(at) = memmem::find(words, b" failed, ") {
        // `auth failed, 3 attempts`, `authorization failed, 1 attempts`.
        said.times = count(first_word(&words[at + 9..]).0).filter(|times| *times > 0).unwrap_or(1);
        return said.act(AUTH_FAILURE);
    }
    if has(b"(tried to use ")
        || has(b"(proxy dest auth failed")
        || has(b"(user disabled")
        || has(b"(password expired")
    {
        return said.act(AUTH_FAILURE);
    }
    // Another protocol spoken to this port. Where no login was tried, nothing in the line is a stranger's.
    let alien = has(b"Too many invalid commands")
        || has(b"(sent invalid base64")
        || has(b"(no auth attempts")
            && [&b"wrong version number"[..], b"http request", b"unknown protocol"]
                .iter()
                .any(|words| memmem::find(text, words).is_some());
    if alien { said.offence(Offence::ProtocolError) } else { said }
}

/// Whom the fields name, if only one of them can be the address.
fn person(fields: &[u8]) -> Said<'_> {
    let mut addresses = memmem::find_iter(fields, b" rip=");
    let (Some(at), None) = (addresses.next(), addresses.next()) else { return NOTHING };
    let value = &fields[at + 5..];
    let said = Said::of(address(&value[..memchr::memchr(b',', value).unwrap_or(value.len())]));
    let user = fields.strip_prefix(b" user=<").and_then(|rest| {
        let before = &rest[..at.checked_sub(7)?];
        Some(&before[..memmem::rfind(before, b">,")?])
    });
    said.account(user.unwrap_or_default())
}

/// `pam(NAME,ADDR,<session>): unknown user`, perhaps behind `conn unix:auth-worker (uid=143): auth-worker<13247>: `; and
/// the session.
fn auth(text: &[u8]) -> Option<(Said<'_>, Option<&[u8]>)> {
    let text = match text.strip_prefix(b"conn ") {
        Some(rest) => &rest[memmem::find(rest, b">: ")? + 3..],
        None => text,
    };
    if let Some(said) = pam_failure(text) {
        return Some((said, None));
    }
    let open = memchr::memchr(b'(', text)?;
    let mut ends = memmem::find_iter(text, b"): ");
    let (Some(close), None) = (ends.next(), ends.next()) else { return None };
    let inside = text.get(open + 1..close)?;
    let (person, session) = match memmem::rfind(inside, b",<") {
        Some(at) if inside.ends_with(b">") => (&inside[..at], Some(&inside[at + 2..inside.len() - 1])),
        _ => (inside.strip_suffix(b",").unwrap_or(inside), None),
    };
    let comma = memchr::memrchr(b',', person)?;
    let said = Said::of(Some(address(&person[comma + 1..])?)).account(&person[..comma]);
    let reason = text[close + 3..].to_ascii_lowercase();
    let refused =
        [&b"unknown user"[..], b"password mismatch", b"invalid credentials", b"pam_authenticate() failed"];
    let failed = refused.iter().any(|words| reason.starts_with(words));
    Some((if failed { said.act(AUTH_FAILURE) } else { said }, session))
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 dovecot: imap-login: Disconnected (auth failed, 3 attempts in 17 secs): user=<info@example.jp>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS, session=<6brQWt/vCADDhP/+>",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot client=198.51.100.11 offence=auth-failure times=3 account=info@example.jp text="imap-login: Disconnected (auth failed, 3 attempts in 17 secs): user=<info@example.jp>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS, session=<6brQWt/vCADDhP/+>""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 dovecot: imap-login: Login: user=<anna>, method=PLAIN, rip=2001:db8::7, lip=2001:db8::1, mpid=77, TLS, session=<YADINsQCDs5BH8Pg>",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot client=2001:db8::7 act=logged-in account=anna text="imap-login: Login: user=<anna>, method=PLAIN, rip=2001:db8::7, lip=2001:db8::1, mpid=77, TLS, session=<YADINsQCDs5BH8Pg>""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.168259-05:00 mx1 dovecot[7]: pop3-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<john smith>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS, session=<YADINsQCDs5BH8Pg>",
        event: r#"time=2026-11-22T15:23:44.168259Z service=dovecot pid=7 client=198.51.100.11 offence=auth-failure account="john smith" text="pop3-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) (auth_failed): user=<john smith>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS, session=<YADINsQCDs5BH8Pg>""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 imap-login: Info: Aborted login (auth failed, 1 attempts in 2 secs): user=<grace>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot client=198.51.100.11 offence=auth-failure account=grace text="Info: Aborted login (auth failed, 1 attempts in 2 secs): user=<grace>, method=PLAIN, rip=198.51.100.11, lip=192.0.2.1, TLS""#,
    },
    Sample {
        format: "",
        line: "2026-11-22 10:23:44 auth-worker(9): Info: pam(anna,198.51.100.11,<YADINsQCDs5BH8Pg>): unknown user",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot client=198.51.100.11 offence=auth-failure account=anna text="auth-worker(9): Info: pam(anna,198.51.100.11,<YADINsQCDs5BH8Pg>): unknown user""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 dovecot: imap(anna)<77><YADINsQCDs5BH8Pg>: Logged out in=93 out=1093",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot text="imap(anna)<77><YADINsQCDs5BH8Pg>: Logged out in=93 out=1093""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 dovecot: managesieve-login: Disconnected: Too many invalid commands. (no auth attempts in 0 secs): user=<>, rip=198.51.100.11, lip=192.0.2.1",
        event: r#"time=2026-11-22T01:23:44Z service=dovecot client=198.51.100.11 offence=protocol-error text="managesieve-login: Disconnected: Too many invalid commands. (no auth attempts in 0 secs): user=<>, rip=198.51.100.11, lip=192.0.2.1""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn what_the_processes_say() {
        let check = |message: &str, expected: &str| {
            let line = format!("Nov 22 10:23:44 mx1 dovecot: {message}");
            let space = if expected.is_empty() { "" } else { " " };
            let event =
                format!("time=2026-11-22T01:23:44Z service=dovecot {expected}{space}text=\"{message}\"");
            check("dovecot", line.as_bytes(), &event);
        };
        check(
            "imap-login: Disconnected: Inactivity (auth failed, 2 attempts): user=<a>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1",
            "client=192.0.2.7 offence=auth-failure times=2 account=a",
        );
        check(
            "imap-login: Disconnected (auth failed, 1 attempts): method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, TLS: Disconnected",
            "client=192.0.2.7 offence=auth-failure",
        );
        check(
            "pop3-login: Aborted login (tried to use disabled plaintext auth): rip=192.0.2.7, lip=192.0.2.1",
            "client=192.0.2.7 offence=auth-failure",
        );
        check(
            "imap-login: Disconnected: Connection closed: SSL_accept() failed: error:1408F10B:SSL routines:ssl3_get_record:wrong version number (no auth attempts in 0 secs): user=<>, rip=192.0.2.7, lip=192.0.2.1, TLS handshaking: SSL_accept() failed: error:1408F10B:SSL routines:ssl3_get_record:wrong version number",
            "client=192.0.2.7 offence=protocol-error",
        );
        check(
            "imap-login: Disconnected (no auth attempts in 4 secs): user=<>, rip=192.0.2.7, lip=192.0.2.1",
            "client=192.0.2.7",
        );
        check(
            "imap-login: Logged in: user=<anna>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1",
            "client=192.0.2.7 act=logged-in account=anna",
        );
        check(
            "auth: passwd-file(x,192.0.2.7): Password mismatch",
            "client=192.0.2.7 offence=auth-failure account=x",
        );
        check(
            "auth: ldap(dog,192.0.2.7,): invalid credentials",
            "client=192.0.2.7 offence=auth-failure account=dog",
        );
        check(
            "auth-worker(5787): conn unix:auth-worker (pid=27359,uid=97): auth-worker<55>: sql(webapps,2001:db8::7): unknown user",
            "client=2001:db8::7 offence=auth-failure account=webapps",
        );
        check("lmtp(77): Connect from local", "");
    }

    #[test]
    fn one_attempt_is_one_offence() {
        let mut format =
            crate::Format::from_name_or_string("dovecot", &super::super::tests::clock()).unwrap();
        let mut check = |message: &str, expected: &str| {
            let line = format!("Nov 22 10:23:44 mx1 dovecot: {message}");
            let event = crate::show(&format.parse(line.as_bytes()).unwrap());
            let said =
                event.strip_prefix("time=2026-11-22T01:23:44Z service=dovecot client=192.0.2.7 ").unwrap();
            assert_eq!(said[..said.find("text=").unwrap()].trim_end(), expected, "{message}");
        };
        let ended = |session: &str| {
            format!(
                "imap-login: Disconnected (auth failed, 2 attempts in 9 secs): user=<a>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.1, session=<{session}>"
            )
        };
        check("auth: pam(a,192.0.2.7,<6brQWt/vCAD>): unknown user", "offence=auth-failure account=a");
        check("auth: pam(a,192.0.2.7,<6brQWt/vCAD>): Password mismatch", "offence=auth-failure account=a");
        check(&ended("6brQWt/vCAD"), "account=a");
        check(&ended("q454Xu/vMwB"), "offence=auth-failure times=2 account=a");
        check(
            "auth: Info: pam_unix(dovecot:auth): authentication failure; logname= uid=0 euid=0 tty=dovecot ruser=a rhost=192.0.2.7",
            "account=a",
        );
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Nov 22 10:23:44 mx1 sshd[7]: Failed password for root from 192.0.2.7 port 4 ssh2",
            "Nov 22 10:23:44 app: Info: started",
            "2026-11-22 10:23:44 imap-login: no level",
            "2026-11-22 10:23:44 app: Info: started",
        ] {
            check("dovecot", line.as_bytes(), "none");
        }
    }
}
