//! `syslog`: a file in which many programs write (`auth.log`, `mail.log`, `messages`), and what `journalctl` prints.
//!
//! Each line goes to whoever knows the program that its head names. A head is only as honest as the socket that it came
//! through: any process of this host may write under any name.

use toban_model::Text;
use toban_model::event::Event;

use super::{
    Reader, Sample, Unit, Way, apache_error, dovecot, haproxy_tcp, kernel, mysql_error, nginx_error, php_fpm,
    postfix, sshd, vsftpd,
};
use crate::service::{NOTHING, Told};
use crate::stamp::Dates;
use crate::syslog::{self, Head};

pub(crate) const UNIT: Unit = Unit {
    id: "syslog",
    about: Text::fixed(
        "a syslog file of many programs, or what journalctl prints",
        "複数のプログラムが書き込む syslog ファイル、または journalctl の出力です",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(Mixed::default())),
};

/// Reads the lines of many programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mixed {
    sshd: Told,
    dovecot: Told,
    /// A line with a head was read, so that lines without one may belong to it.
    begun: bool,
}

impl Reader for Mixed {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let Some(head) = syslog::head(line, dates) else {
            // journalctl indents the further lines of a message, and says `-- Boot … --` in between.
            let beside =
                self.begun && line.starts_with(b"    ") || line.starts_with(b"-- ") && line.ends_with(b" --");
            return beside.then_some(Event::Silent);
        };
        self.begun = true;
        Some(self.event(&head, dates))
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl Mixed {
    /// The event of a line with this head.
    pub(crate) fn event<'a>(&mut self, head: &Head<'a>, dates: &mut Dates) -> Event<'a> {
        let known = match head.tag {
            tag if sshd::is_tag(tag) => Some(sshd::event(head, &mut self.sshd)),
            b"kernel" => Some(Event::Kernel(kernel::message(head.time, head.text))),
            b"dovecot" | b"auth" | b"dovecot-auth" => Some(dovecot::event(head, &mut self.dovecot)),
            b"vsftpd" => Some(vsftpd::event(head)),
            b"mysqld" | b"mariadbd" => mysql_error::event(head, dates),
            b"haproxy" => haproxy_tcp::event(head.text, dates),
            b"nginx" => nginx_error::read(head.text, dates).map(Event::Error),
            b"apache2" | b"httpd" => apache_error::event(head),
            tag if tag.starts_with(b"php-fpm") => php_fpm::event(head),
            tag if postfix::is_tag(tag) => Some(postfix::event(head)),
            _ => None,
        };
        known.unwrap_or_else(|| {
            let tag = if head.tag.is_empty() { b"syslog" } else { head.tag };
            NOTHING.by(tag, head)
        })
    }
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sshd[7]: Failed password for root from 198.51.100.11 port 29588 ssh2",
        event: r#"time=2026-11-22T01:23:44Z service=sshd pid=7 client=198.51.100.11 offence=auth-failure account=root text="Failed password for root from 198.51.100.11 port 29588 ssh2""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 sudo:   anna : TTY=pts/8 ; PWD=/home/anna ; USER=root ; COMMAND=/usr/bin/id",
        event: r#"time=2026-11-22T01:23:44Z service=sudo text="  anna : TTY=pts/8 ; PWD=/home/anna ; USER=root ; COMMAND=/usr/bin/id""#,
    },
    Sample {
        format: "",
        line: "2026-11-22T10:23:44.168259-05:00 web1 CRON[7]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)",
        event: r#"time=2026-11-22T15:23:44.168259Z service=CRON pid=7 text="pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)""#,
    },
    Sample {
        format: "",
        line: "<22>1 2026-11-22T10:23:44+09:00 mx1 postfix/smtpd 7 - - warning: unknown[2001:db8::7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=john smith",
        event: r#"time=2026-11-22T01:23:44Z service=postfix pid=7 client=2001:db8::7 offence=auth-failure account="john smith" text="warning: unknown[2001:db8::7]: SASL LOGIN authentication failed: UGFzc3dvcmQ6, sasl_username=john smith""#,
    },
    Sample {
        format: "",
        line: r#"<30>1 - - dovecot - - [origin@1 ip="203.0.113.9"] imap-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.10, lip=192.0.2.1"#,
        event: r#"service=dovecot client=192.0.2.10 act=logged-in account=anna text="imap-login: Login: user=<anna>, method=PLAIN, rip=192.0.2.10, lip=192.0.2.1""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 kernel: [ 1234.567890] TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.",
        event: r#"time=2026-11-22T01:23:44Z boot_us=1234567890 word=SynFlooding { port: 443 } text="TCP: request_sock_TCP: Possible SYN flooding on port 0.0.0.0:443. Sending cookies.""#,
    },
    Sample {
        format: "",
        line: r#"Nov 22 10:23:45 lb1 haproxy[123]: 198.51.100.11:29588 [22/Nov/2026:10:23:44.168] web web/web1 0/0/0/12/12 200 374 - - ---- 1/1/0/0/0 0/0 "GET /a?b HTTP/1.1""#,
        event: "time=2026-11-22T01:23:44.168Z peer=198.51.100.11 method=GET path=/a protocol=HTTP/1.1 status=200 bytes=374 duration_us=12000",
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 mariadbd[7]: 2026-11-22 10:23:44 5 [Warning] Access denied for user 'root'@'198.51.100.11' (using password: YES)",
        event: r#"time=2026-11-22T01:23:44Z service=mysql pid=7 client=198.51.100.11 offence=auth-failure account=root text="Access denied for user 'root'@'198.51.100.11' (using password: YES)""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 apache2[7]: [authz_core:error] [pid 8] [client 198.51.100.11:58585] AH01630: client denied by server configuration: /home/www/",
        event: r#"time=2026-11-22T01:23:44Z level=error pid=8 peer=198.51.100.11 code=AH01630 module=authz_core offence=probe text="client denied by server configuration: /home/www/""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 php-fpm[7]: [WARNING] [pool www] server reached pm.max_children setting (8), consider raising it",
        event: r#"time=2026-11-22T01:23:44Z level=warning pid=7 code=max-children module=www text="server reached pm.max_children setting (8), consider raising it""#,
    },
    Sample {
        format: "",
        line: "Nov 22 10:23:44 web1 last message repeated 3 times",
        event: r#"time=2026-11-22T01:23:44Z service=syslog text="last message repeated 3 times""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::{check, clock};

    #[test]
    fn one_program_is_its_own_format() {
        let sniffed = |lines: &[&str]| {
            let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
            crate::sniff(&lines, &clock()).map(|format| format.id())
        };
        let sshd = "Nov 22 10:23:44 web1 sshd[7]: Server listening on :: port 22.";
        let cron = "Nov 22 10:23:44 web1 CRON[7]: (root) CMD (true)";
        let kernel = "Nov 22 10:23:44 web1 kernel: [ 1.5] x";
        let postfix = "Nov 22 10:23:44 web1 postfix/qmgr[7]: 4Fk2Dz1Mq0z9: removed";
        assert_eq!(sniffed(&[sshd, sshd]), Some("sshd"));
        assert_eq!(sniffed(&[sshd, cron]), Some("syslog"));
        assert_eq!(sniffed(&[kernel, kernel]), Some("kernel"));
        assert_eq!(sniffed(&[postfix, kernel]), Some("syslog"));
        assert_eq!(sniffed(&["    at com.example.Main(Main.java:1)", "    at x"]), None);
    }

    #[test]
    fn what_journalctl_puts_between() {
        check("syslog", b"-- Boot 0123456789abcdef --", "silent");
        check("syslog", b"Nov 22 10:23:44 web1 app[7]: a\n            b", "silent");
    }

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "            b",
            "192.0.2.10 - - [22/Nov/2026:01:23:44 +0000] \"GET / HTTP/1.1\" 200 5",
            "2026-11-22 10:23:44 12 [Warning] Access denied for user 'a'@'192.0.2.7' (using password: YES)",
            "[22-Nov-2026 10:23:44] NOTICE: fpm is running, pid 77",
            "2026-11-22T10:23:44Z INFO started",
        ] {
            check("syslog", line.as_bytes(), "none");
        }
    }
}
