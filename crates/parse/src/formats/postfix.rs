//! `postfix`: what Postfix's daemons write through syslog.
//!
//! Postfix writes a client as `name[address]`, where the name comes from the DNS but was checked to be a host's name,
//! without spaces or brackets. It stands right behind Postfix's own words; whatever a client said (HELO, addresses,
//! a SASL user) comes later in the line.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{Act, Event, Offence};

use super::{Sample, Unit, Way};
use crate::scan::address;
use crate::service::{AUTH_FAILURE, NOTHING, Said, first_word};
use crate::stamp::Dates;
use crate::syslog::{self, Head};

pub(crate) const UNIT: Unit = Unit {
    id: "postfix",
    about: Text::fixed("Postfix's messages in a syslog file", "syslog に書かれた Postfix のメッセージです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(read),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
    let head = syslog::head(line, dates)?;
    is_tag(head.tag).then(|| event(&head))
}

/// `postfix/smtpd`, `postfix/submission/smtpd`, `postfix-incoming/smtpd`.
pub(crate) fn is_tag(tag: &[u8]) -> bool {
    tag.strip_prefix(b"postfix").is_some_and(|rest| matches!(rest.first(), Some(b'/' | b'-')))
}

/// The event of a line that one of Postfix's daemons wrote.
pub(crate) fn event<'a>(head: &Head<'a>) -> Event<'a> {
    let daemon = head.tag.rsplit(|b| *b == b'/').next();
    let said = match daemon {
        Some(b"smtpd" | b"smtps") => smtpd(head.text),
        Some(b"postscreen") => postscreen(head.text),
        _ => None,
    };
    said.unwrap_or(NOTHING).by(b"postfix", head)
}

fn smtpd(text: &[u8]) -> Option<Said<'_>> {
    if let Some(rest) = text.strip_prefix(b"warning: ") {
        return sasl(rest).or_else(|| complaint(rest));
    }
    let (id, rest) = first_word(text);
    if let Some(rest) = rest.strip_prefix(b"client=") {
        return Some(message(rest));
    }
    if id.ends_with(b":") {
        return rejected(rest);
    }
    match id {
        b"connect" | b"disconnect" => client_behind(text, b" from "),
        b"lost" | b"timeout" => {
            let said = client_behind(text, b" from ")?;
            // What was tried before an end behind AUTH has a line of its own.
            let alien = text.starts_with(b"lost connection after UNKNOWN from ");
            Some(if alien { said.offence(Offence::ProtocolError) } else { said })
        }
        b"SSL_accept" => client_behind(text, b" from "),
        _ => complaint(text),
    }
}

/// `name[ADDR]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=x`.
fn sasl(text: &[u8]) -> Option<Said<'_>> {
    let (client, rest) = first_word(text);
    let client = client.strip_suffix(b":")?;
    let Some(rest) = rest.strip_prefix(b"SASL ") else { return Some(Said::of(host(client))) };
    let (_method, rest) = first_word(rest);
    let Some(reason) = rest.strip_prefix(b"authentication failed:") else {
        return Some(Said::of(host(client)));
    };
    let reason = reason.trim_ascii_start();
    let user = memmem::find(reason, b"sasl_username=").map(|at| &reason[at + 14..]);
    let said =
        Said::of(host(client)).account(user.filter(|user| *user != b"(unavailable)").unwrap_or_default());
    Some(if reason.starts_with(b"Connection lost to authentication server") {
        said
    } else if reason.starts_with(b"Invalid authentication mechanism") {
        said.offence(Offence::ProtocolError)
    } else {
        said.act(AUTH_FAILURE)
    })
}

/// Complaints about how a client speaks, or how often it comes.
fn complaint(text: &[u8]) -> Option<Said<'_>> {
    let garbage = [
        &b"improper command pipelining after "[..],
        b"too many errors after ",
        b"non-SMTP command from ",
        b"Illegal address syntax from ",
    ];
    let often = [
        &b"Connection rate limit exceeded: "[..],
        b"Connection concurrency limit exceeded: ",
        b"AUTH command rate limit exceeded: ",
    ];
    let is = |list: &[&[u8]]| list.iter().any(|words| text.starts_with(words));
    if is(&garbage) {
        Some(client_behind(text, b" from ")?.offence(Offence::ProtocolError))
    } else if is(&often) {
        client_behind(text, b" from ")
    } else {
        None
    }
}

/// `client=name[ADDR], sasl_method=LOGIN, sasl_username=x`.
fn message(rest: &[u8]) -> Said<'_> {
    let (client, rest) = first_word(rest);
    let said = Said::of(host(client.strip_suffix(b",").unwrap_or(client)));
    let user = rest
        .strip_prefix(b"sasl_method=")
        .and_then(|rest| first_word(rest).1.strip_prefix(b"sasl_username="));
    match user {
        Some(user) => {
            let end = memmem::find(user, b", sasl_sender=").unwrap_or(user.len());
            said.account(&user[..end]).act(Act::LoggedIn)
        }
        None => said,
    }
}

/// `reject: RCPT from name[ADDR]: 554 5.7.1 <a@b>: Relay access denied; from=<…> to=<…> proto=ESMTP helo=<…>`.
fn rejected(rest: &[u8]) -> Option<Said<'_>> {
    let rest = rest.strip_prefix(b"milter-").unwrap_or(rest).strip_prefix(b"reject: ")?;
    let said = client_behind(rest, b" from ")?;
    // Up to the semicolon stands the answer, with the address that it is about.
    let answer = &rest[..memmem::find(rest, b"; from=<").unwrap_or(rest.len())];
    let has = |words: &[u8]| memmem::find(answer, words).is_some();
    Some(if has(b"Relay access denied") {
        said.offence(Offence::RelayAttempt)
    } else if has(b"User unknown") || has(b"ndeliverable address") {
        said.offence(Offence::Probe)
    } else if has(b"Helo command rejected: ") || has(b"ommand rejected: ") {
        said.offence(Offence::ProtocolError)
    } else {
        said
    })
}

fn postscreen(text: &[u8]) -> Option<Said<'_>> {
    let (word, rest) = first_word(text);
    if word.ends_with(b":") {
        return rejected(rest);
    }
    let garbage = [&b"PREGREET "[..], b"NON-SMTP COMMAND ", b"COMMAND PIPELINING ", b"BARE NEWLINE "];
    match word {
        b"CONNECT" | b"PREGREET" | b"HANGUP" | b"COMMAND" | b"NON-SMTP" | b"BARE" => {
            let said = client_behind(text, b" from ")?;
            let strange = garbage.iter().any(|words| text.starts_with(words));
            Some(if strange { said.offence(Offence::ProtocolError) } else { said })
        }
        b"DNSBL" => client_behind(text, b" for "),
        b"DISCONNECT" => Some(Said::of(host(rest))),
        b"PASS" => Some(Said::of(host(first_word(rest).1))),
        _ => None,
    }
}

/// The client right behind the first such word. Before it stand only Postfix's own words.
fn client_behind<'a>(text: &'a [u8], words: &[u8]) -> Option<Said<'a>> {
    let at = memmem::find(text, words)? + words.len();
    Some(Said::of(host(first_word(&text[at..]).0)))
}

/// `name[ADDR]`, `name[ADDR]:4711`, `[ADDR]:4711`, each perhaps with a colon behind it.
fn host(text: &[u8]) -> Option<IpAddr> {
    let close = memchr::memrchr(b']', text)?;
    let port = text[close + 1..].iter().all(|b| b.is_ascii_digit() || *b == b':');
    let open = memchr::memchr(b'[', text)?;
    let is_name = text[..open].iter().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(b));
    if port && is_name { address(text.get(open + 1..close)?) } else { None }
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: unknown[198.51.100.11]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=info@example.jp",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=198.51.100.11 offence=auth-failure account=info@example.jp text="warning: unknown[198.51.100.11]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=info@example.jp""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.168259-05:00 mx1 postfix/submission/smtpd[7]: warning: mail.example.com[2001:db8::7]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=john smith",
        event: r#"time=2026-11-22T15:23:44.168259Z service=postfix pid=7 client=2001:db8::7 offence=auth-failure account="john smith" text="warning: mail.example.com[2001:db8::7]: SASL PLAIN authentication failed: (reason unavailable), sasl_username=john smith""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/smtpd[7]: NOQUEUE: reject: RCPT from host-11.example.com[198.51.100.11]: 554 5.7.1 <a@example.net>: Relay access denied; from=<b@example.org> to=<a@example.net> proto=ESMTP helo=<[192.0.2.99]>",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=198.51.100.11 offence=relay-attempt text="NOQUEUE: reject: RCPT from host-11.example.com[198.51.100.11]: 554 5.7.1 <a@example.net>: Relay access denied; from=<b@example.org> to=<a@example.net> proto=ESMTP helo=<[192.0.2.99]>""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/smtpd[7]: 4Fk2Dz1Mq0z9: client=host.example.jp[198.51.100.11], sasl_method=PLAIN, sasl_username=anna@example.jp",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=198.51.100.11 act=logged-in account=anna@example.jp text="4Fk2Dz1Mq0z9: client=host.example.jp[198.51.100.11], sasl_method=PLAIN, sasl_username=anna@example.jp""#,
    },
    Sample {
        format: "",
        line: r#"Nov 22 10:23:44 mx1 postfix/postscreen[7]: PREGREET 14 after 0.08 from [198.51.100.11]:59415: EHLO ylmf-pc\r\n"#,
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=198.51.100.11 offence=protocol-error text="PREGREET 14 after 0.08 from [198.51.100.11]:59415: EHLO ylmf-pc\r\n""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/smtpd[7]: lost connection after AUTH from unknown[198.51.100.11]",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=198.51.100.11 text="lost connection after AUTH from unknown[198.51.100.11]""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/qmgr[7]: 4Fk2Dz1Mq0z9: removed",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 text="4Fk2Dz1Mq0z9: removed""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 mx1 postfix/smtpd[7]: warning: hostname evil.example.com does not resolve to address 198.51.100.11",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 text="warning: hostname evil.example.com does not resolve to address 198.51.100.11""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn what_smtpd_says() {
        let check = |message: &str, expected: &str| {
            let line = format!("Nov 22 10:23:44 mx1 postfix/smtpd[7]: {message}");
            let space = if expected.is_empty() { "" } else { " " };
            let event = format!(
                "time=2026-11-22T01:23:44Z service=postfix pid=7 {expected}{space}text=\"{message}\""
            );
            check("postfix", line.as_bytes(), &event);
        };
        check(
            "warning: a.example[192.0.2.7]:55729: SASL login authentication failed: authentication failure",
            "client=192.0.2.7 offence=auth-failure",
        );
        check(
            "warning: a.example[192.0.2.7]: SASL PLAIN authentication failed: x, sasl_username=(unavailable)",
            "client=192.0.2.7 offence=auth-failure",
        );
        check(
            "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: Connection lost to authentication server",
            "client=192.0.2.7",
        );
        check("warning: unknown[192.0.2.7]: SASL LOGIN authentication aborted", "client=192.0.2.7");
        check(
            "NOQUEUE: reject: RCPT from unknown[2001:db8::7]: 550 5.1.1 <a@b>: Recipient address rejected: User unknown in local recipient table; from=<> to=<a@b> proto=ESMTP helo=<x>",
            "client=2001:db8::7 offence=probe",
        );
        check(
            "NOQUEUE: reject: EHLO from unknown[192.0.2.7]: 504 5.5.2 <User>: Helo command rejected: need fully-qualified hostname; proto=SMTP helo=<User>",
            "client=192.0.2.7 offence=protocol-error",
        );
        check(
            "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 450 4.2.0 <a@b>: Recipient address rejected: Greylisted; from=<> to=<a@b> proto=ESMTP helo=<x>",
            "client=192.0.2.7",
        );
        check(
            "improper command pipelining after EHLO from unknown[192.0.2.7]: QUIT",
            "client=192.0.2.7 offence=protocol-error",
        );
        check(
            "too many errors after RCPT from a.example[192.0.2.7]",
            "client=192.0.2.7 offence=protocol-error",
        );
        check(
            "warning: non-SMTP command from unknown[192.0.2.7]: GET / HTTP/1.1",
            "client=192.0.2.7 offence=protocol-error",
        );
        check(
            "lost connection after UNKNOWN from unknown[192.0.2.7]",
            "client=192.0.2.7 offence=protocol-error",
        );
        check("4Fk2Dz1Mq0z9: client=unknown[192.0.2.7]", "client=192.0.2.7");
        check("disconnect from unknown[192.0.2.7] ehlo=1 auth=0/1 quit=1 commands=2/3", "client=192.0.2.7");
        check("connect from unknown[unknown]", "");
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "postfix/smtpd[7]: connect from unknown[192.0.2.7]",
            "Nov 22 10:23:44 mx1 dovecot: imap-login: Login: user=<anna>, rip=192.0.2.7",
            "Nov 22 10:23:44 mx1 postfixes: a",
        ] {
            check("postfix", line.as_bytes(), "none");
        }
    }
}
