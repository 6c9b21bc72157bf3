//! `vsftpd`: vsftpd's own log (`vsftpd.log`), and what it writes through syslog.
//!
//! The user's name stands before the client's address, and paths and commands behind it, all as a stranger wrote them.
//! So the address counts only if nothing else in the line could be taken for it.

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{Act, Event};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, address};
use crate::service::{AUTH_FAILURE, NOTHING, Said, pam_failure};
use crate::stamp::{Dates, ctime};
use crate::syslog::{self, Head};

pub(crate) const UNIT: Unit = Unit {
    id: "vsftpd",
    about: Text::fixed("vsftpd's log of logins and transfers", "vsftpd のログインと転送のログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(read),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
    let mut scan = Scan::new(line);
    // `Sun Nov 22 10:23:44 2026 [pid 7] [anna] OK LOGIN: Client "192.0.2.7"`.
    if let Some(time) = ctime(&mut scan, dates) {
        scan.literal(b" [pid ")?;
        let pid = u32::try_from(scan.number()?).ok();
        scan.literal(b"] ")?;
        return Some(event(&Head { time: Some(time), tag: b"vsftpd", pid, text: scan.rest }));
    }
    let head = syslog::head(line, dates)?;
    (head.tag == b"vsftpd").then(|| event(&head))
}

/// The event of a line that vsftpd wrote.
pub(crate) fn event<'a>(head: &Head<'a>) -> Event<'a> {
    // PAM writes into another file than vsftpd, and each is all that its file says.
    let said = pam_failure(head.text).map(|said| said.act(AUTH_FAILURE)).or_else(|| client(head.text));
    said.unwrap_or(NOTHING).by(b"vsftpd", head)
}

/// `[NAME] FAIL LOGIN: Client "ADDR"`, `CONNECT: Client "ADDR"`.
fn client(text: &[u8]) -> Option<Said<'_>> {
    let mut places = memmem::find_iter(text, b": Client \"");
    let (Some(at), None) = (places.next(), places.next()) else { return None };
    let host = &text[at + 10..];
    let said = Said::of(address(&host[..memchr::memchr(b'"', host)?]));
    let Some(before) = text[..at].strip_prefix(b"[") else { return Some(said) };
    let end = memmem::rfind(before, b"] ")?;
    let said = said.account(&before[..end]);
    Some(match &before[end + 2..] {
        b"OK LOGIN" => said.act(Act::LoggedIn),
        b"FAIL LOGIN" => said.act(AUTH_FAILURE),
        _ => said,
    })
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: r#"Sun Nov 22 10:23:44 2026 [pid 7] [anna] OK LOGIN: Client "::ffff:192.0.2.10""#,
        event: r#"time=2026-11-22T01:23:44Z service=vsftpd pid=7 client=192.0.2.10 act=logged-in account=anna text="[anna] OK LOGIN: Client "::ffff:192.0.2.10"""#,
    },
    Sample {
        format: "",
        line: r#"Sun Nov 22 10:23:44 2026 [pid 7] [john smith] FAIL LOGIN: Client "198.51.100.11""#,
        event: r#"time=2026-11-22T01:23:44Z service=vsftpd pid=7 client=198.51.100.11 offence=auth-failure account="john smith" text="[john smith] FAIL LOGIN: Client "198.51.100.11"""#,
    },
    Sample {
        format: "",
        line: r#"Sun Nov 22 10:23:44 2026 [pid 7] CONNECT: Client "2001:db8::7""#,
        event: r#"time=2026-11-22T01:23:44Z service=vsftpd pid=7 client=2001:db8::7 text="CONNECT: Client "2001:db8::7"""#,
    },
    Sample {
        format: "",
        line: r#"Sun Nov 22 10:23:44 2026 [pid 7] [anna] OK UPLOAD: Client "192.0.2.10", "/in/a b.txt", 1234 bytes, 5.67Kbyte/sec"#,
        event: r#"time=2026-11-22T01:23:44Z service=vsftpd pid=7 client=192.0.2.10 account=anna text="[anna] OK UPLOAD: Client "192.0.2.10", "/in/a b.txt", 1234 bytes, 5.67Kbyte/sec""#,
    },
    Sample {
        format: "",
        line: r#"2026-11-22T10:23:44.168259-05:00 ftp1 vsftpd[7]: [guest] FAIL LOGIN: Client "198.51.100.11", "User is not in the allow user list.""#,
        event: r#"time=2026-11-22T15:23:44.168259Z service=vsftpd pid=7 client=198.51.100.11 offence=auth-failure account=guest text="[guest] FAIL LOGIN: Client "198.51.100.11", "User is not in the allow user list."""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 ftp1 vsftpd: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=test rhost=198.51.100.11",
        event: r#"time=2026-11-22T01:23:44Z service=vsftpd client=198.51.100.11 offence=auth-failure account=test text="pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=test rhost=198.51.100.11""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "Sun Nov 22 10:23:44 2026",
            "Sun Nov 22 10:23:44 2026 1 192.0.2.10 5 /a b _ o r anna ftp 0 * c",
            "[pid 7] [anna] OK LOGIN: Client \"192.0.2.10\"",
            "Nov 22 10:23:44 web1 sshd[7]: [anna] OK LOGIN: Client \"192.0.2.10\"",
        ] {
            check("vsftpd", line.as_bytes(), "none");
        }
    }
}
