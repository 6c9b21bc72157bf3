//! What servers, systemd and init scripts say of a server's life: that it started, stopped, failed, or does not
//! understand its own configuration.
//!
//! The words are looked for where the program itself puts them, at the start of its message or behind its own words. A
//! stranger who fills a path or a referrer with the same words says nothing here.

use std::path::PathBuf;

use memchr::memmem;
use toban_model::event::{Event, Level};
use toban_model::{LifeLine, LifeWord, Time};

use crate::scan::number;
use crate::stamp::Dates;
use crate::{Clock, Format, syslog};

/// One line of a file in which many programs write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// When; the file may leave it out.
    pub at: Option<Time>,
    /// The program, as its head names it.
    pub program: &'a [u8],
    /// The message.
    pub text: &'a [u8],
}

/// Reads syslog files for what is said of servers.
#[derive(Clone, Debug)]
pub struct Spokesman(Dates);

impl Spokesman {
    /// With the zone of the files.
    pub fn new(clock: &Clock) -> Spokesman {
        Spokesman(Dates::new(clock))
    }

    /// Reads one line; `None` if it has no head.
    pub fn read<'a>(&mut self, line: &'a [u8]) -> Option<Spoken<'a>> {
        let head = syslog::head(line, &mut self.0)?;
        Some(Spoken { at: head.time, program: head.tag, text: head.text })
    }
}

/// The line of a server's own error log as a line of its life; `None` if it has no time.
pub fn life_line(format: &mut Format, program: &str, line: &[u8], source: &str) -> Option<LifeLine> {
    let Event::Error(error) = format.parse(line)? else { return None };
    // nginx puts its level before its words, and only one level is about its configuration.
    let word = match (program, error.level) {
        ("nginx", Level::Emergency) => emergency(error.text),
        ("nginx", _) => nginx(error.text),
        _ => life_word(program.as_bytes(), error.text),
    };
    Some(LifeLine { at: error.time?, word, text: shown(error.text), source: source.to_owned() })
}

/// Longest text that is kept of a line, in characters.
const SHOWN_MAX: usize = 200;

/// A message as it may be shown and kept.
pub fn shown(text: &[u8]) -> String {
    let printable = |c: char| if c.is_control() { '?' } else { c };
    String::from_utf8_lossy(text).chars().take(SHOWN_MAX).map(printable).collect()
}

/// What a program's message says of its life.
pub fn life_word(program: &[u8], text: &[u8]) -> LifeWord {
    let program = program.rsplit(|b| *b == b'/').next().unwrap_or(program);
    match program {
        b"apache2" | b"apachectl" | b"apache2ctl" | b"httpd" | b"apache" => apache(text),
        b"nginx" => match text.strip_prefix(b"nginx: [emerg] ") {
            Some(text) => emergency(text),
            None => nginx(text),
        },
        b"dovecot" | b"doveconf" => dovecot(text),
        b"master" | b"postfix-script" | b"postfix" | b"postconf" => postfix(text),
        b"mariadbd" | b"mysqld" | b"mysqld_safe" | b"mariadb" | b"mysql" => mysql(text),
        b"haproxy" => haproxy(text),
        b"sshd" => sshd(text),
        b"postgres" | b"postgresql" => postgres(text),
        b"named" => named(text),
        _ if program.starts_with(b"php-fpm") || program.starts_with(b"php") && program.ends_with(b"fpm") => {
            php_fpm(text)
        }
        _ => LifeWord::Other,
    }
}

/// What systemd says of a unit: the unit's name, and the word.
pub fn unit_word(text: &[u8]) -> Option<(&str, LifeWord)> {
    if let Some((unit, said)) = split(text, b".service: ") {
        let unit = std::str::from_utf8(&text[..unit.len() + 8]).ok()?;
        let word = if [&b"Failed with result"[..], b"Main process exited", b"Control process exited"]
            .iter()
            .any(|words| said.starts_with(words))
            || said.starts_with(b"A process of this unit has been killed by the OOM killer")
            || said.starts_with(b"Start request repeated too quickly")
        {
            LifeWord::Failed
        } else if said.starts_with(b"Deactivated successfully") || said.starts_with(b"Succeeded") {
            LifeWord::Stopped
        } else {
            LifeWord::Other
        };
        return (!unit.contains(' ')).then_some((unit, word));
    }
    for (words, word) in [
        (&b"Started "[..], LifeWord::Started),
        (b"Stopped ", LifeWord::Stopped),
        (b"Stopping ", LifeWord::Stopped),
        (b"Failed to start ", LifeWord::Failed),
    ] {
        // Since version 250 the unit's name stands before its description.
        if let Some(rest) = text.strip_prefix(words) {
            let name = rest.split(|b| *b == b' ').next()?;
            let unit = std::str::from_utf8(name).ok()?.trim_end_matches('.');
            return unit.ends_with(".service").then_some((unit, word));
        }
    }
    None
}

fn has(text: &[u8], words: &[u8]) -> bool {
    memmem::find(text, words).is_some()
}

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = memmem::find(text, at)?;
    Some((&text[..found], &text[found + at.len()..]))
}

fn complaint(file: &[u8], line: Option<&[u8]>) -> Option<LifeWord> {
    let file = std::str::from_utf8(file).ok()?.trim_matches(['"', '\'']);
    let line = match line {
        Some(line) => Some(u32::try_from(number(line)?).ok()?),
        None => None,
    };
    (file.starts_with('/') && file.len() < 512)
        .then(|| LifeWord::Complaint { file: Some(PathBuf::from(file)), line })
}

/// The digits that a text begins with.
fn digits(text: &[u8]) -> &[u8] {
    &text[..text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len())]
}

const UNPLACED: LifeWord = LifeWord::Complaint { file: None, line: None };

/// `PATH:LINE` at the end of the text.
fn place_at_end(text: &[u8]) -> Option<LifeWord> {
    let colon = memchr::memrchr(b':', text)?;
    complaint(&text[..colon], Some(&text[colon + 1..]))
}

/// `AH00526: Syntax error on line 5 of /etc/apache2/sites-enabled/ssl.conf:`; an error in an included file is told as one
/// of all that include it, the innermost last.
fn apache(text: &[u8]) -> LifeWord {
    let text = text.strip_prefix(b"apache2: ").or_else(|| text.strip_prefix(b"httpd: ")).unwrap_or(text);
    let said = match split(text, b": ") {
        Some((code, rest)) if code.starts_with(b"AH") && number(&code[2..]).is_some() => rest,
        _ => text,
    };
    const SYNTAX: &[u8] = b"Syntax error on line ";
    if said.starts_with(SYNTAX) {
        let innermost = memmem::rfind(said, SYNTAX).unwrap_or(0) + SYNTAX.len();
        let placed = split(&said[innermost..], b" of ").and_then(|(line, rest)| {
            let end = rest.iter().position(|b| *b == b':').unwrap_or(rest.len());
            complaint(&rest[..end], Some(line))
        });
        return placed.unwrap_or(UNPLACED);
    }
    if said.ends_with(b"resuming normal operations") {
        LifeWord::Started
    } else if said.starts_with(b"caught SIGTERM, shutting down") || said.starts_with(b"caught SIGWINCH") {
        LifeWord::Stopped
    } else if [
        &b"Pre-configuration failed"[..],
        b"Configuration check failed",
        b"Configuration Failed",
        b"Unable to open logs",
        b"no listening sockets available",
        b"make_sock: could not bind",
        b"seg fault or similar nasty error",
        b"Failed to configure at least one certificate",
        b"Action 'start' failed",
        b"The apache2 configtest failed",
    ]
    .iter()
    .any(|words| said.starts_with(words) || said.starts_with(b"(98)") && has(said, words))
    {
        LifeWord::Failed
    } else {
        LifeWord::Other
    }
}

/// What nginx says behind `[emerg]`: `unknown directive "listne" in /etc/nginx/sites-enabled/shop:7`.
fn emergency(text: &[u8]) -> LifeWord {
    let placed = memmem::rfind(text, b" in /").and_then(|at| place_at_end(&text[at + 4..]));
    placed.unwrap_or(LifeWord::Failed)
}

fn nginx(text: &[u8]) -> LifeWord {
    let signal = text.starts_with(b"signal ");
    if text.starts_with(b"start worker processes") {
        LifeWord::Started
    } else if signal
        && (has(text, b" received from ") || has(text, b" received,"))
        && (text.ends_with(b"exiting") || text.ends_with(b"shutting down"))
    {
        LifeWord::Stopped
    } else if has(text, b"nginx: configuration file ") && text.ends_with(b"test failed") {
        LifeWord::Failed
    } else {
        LifeWord::Other
    }
}

/// `[/etc/php/8.2/fpm/pool.d/www.conf:23] unknown entry 'pm.max_childern'`.
fn php_fpm(text: &[u8]) -> LifeWord {
    // Through syslog or a terminal its level stands before its words.
    let text = match split(text, b"ERROR: ").or_else(|| split(text, b"ALERT: ")) {
        Some((before, rest)) if before.is_empty() || is_stamp(before) => rest,
        _ => text,
    };
    if let Some(placed) = text
        .strip_prefix(b"[/")
        .and_then(|rest| rest.iter().position(|b| *b == b']'))
        .and_then(|end| place_at_end(&text[1..end + 2]))
    {
        return placed;
    }
    if text.starts_with(b"fpm is running") || text.starts_with(b"ready to handle connections") {
        LifeWord::Started
    } else if text.starts_with(b"exiting, bye-bye") || text.starts_with(b"Terminating ...") {
        LifeWord::Stopped
    } else if [
        &b"failed to load configuration file"[..],
        b"FPM initialization failed",
        b"unable to bind listening socket",
        b"failed to post process the configuration",
        b"Unable to include ",
        b"No pool defined",
    ]
    .iter()
    .any(|words| text.starts_with(words))
    {
        LifeWord::Failed
    } else {
        LifeWord::Other
    }
}

/// `[22-Nov-2026 10:23:44] `, with or without fractions of a second, and nothing more.
fn is_stamp(text: &[u8]) -> bool {
    matches!(text.len(), 23 | 30) && text[0] == b'[' && text[1].is_ascii_digit() && text.ends_with(b"] ")
}

/// `doveconf: Fatal: Error in configuration file /etc/dovecot/dovecot.conf line 12: Unknown setting: sll`.
fn dovecot(text: &[u8]) -> LifeWord {
    const PLACE: &[u8] = b"rror in configuration file ";
    if let Some((before, rest)) = split(text, PLACE)
        && before.len() < 40
    {
        let placed = match split(rest, b" line ") {
            Some((file, behind)) => complaint(file, Some(digits(behind))),
            None => split(rest, b": ").and_then(|(file, _)| complaint(file, None)),
        };
        return placed.unwrap_or(UNPLACED);
    }
    let text = text.strip_prefix(b"master: ").unwrap_or(text);
    if text.starts_with(b"Dovecot v") && has(text, b" starting up") {
        LifeWord::Started
    } else if text.starts_with(b"Warning: Killed with signal 15") {
        LifeWord::Stopped
    } else if text.starts_with(b"Fatal: ") || text.starts_with(b"Error: Killed with signal") {
        LifeWord::Failed
    } else {
        LifeWord::Other
    }
}

/// `fatal: /etc/postfix/main.cf, line 40: missing '=' after attribute name: "smtpd_banner"`.
fn postfix(text: &[u8]) -> LifeWord {
    if let Some(rest) = text.strip_prefix(b"fatal: ") {
        if rest.starts_with(b"the Postfix mail system is ") {
            return LifeWord::Other;
        }
        let placed = split(rest, b", line ").and_then(|(file, behind)| complaint(file, Some(digits(behind))));
        let bad = rest.starts_with(b"bad ") && has(rest, b" configuration: ");
        return placed.unwrap_or(if bad { UNPLACED } else { LifeWord::Failed });
    }
    if text.starts_with(b"daemon started") || text.starts_with(b"starting the Postfix mail system") {
        LifeWord::Started
    } else if text.starts_with(b"terminating on signal 15") || text.starts_with(b"stopping the Postfix mail")
    {
        LifeWord::Stopped
    } else {
        LifeWord::Other
    }
}

/// `/usr/sbin/mariadbd: unknown variable 'max_conections=200'`; the client library names the file for what it reads itself:
/// `error: Found option without preceding group in config file: /etc/mysql/my.cnf at line: 1`.
fn mysql(text: &[u8]) -> LifeWord {
    if let Some((before, rest)) =
        split(text, b" in config file: ").or_else(|| split(text, b" in config file "))
        && (before.starts_with(b"error: ") || before.starts_with(b"Found option") || before.len() < 80)
        && let Some((file, line)) = split(rest, b" at line: ").or_else(|| split(rest, b" at line "))
    {
        return complaint(file, Some(digits(line))).unwrap_or(UNPLACED);
    }
    let said = match split(text, b": ") {
        Some((program, rest)) if program.starts_with(b"/") && !program.contains(&b' ') => rest,
        _ => text,
    };
    if said.starts_with(b"unknown variable '")
        || said.starts_with(b"unknown option '")
        || said.starts_with(b"ambiguous option '")
        || said.starts_with(b"option '") && has(said, b"requires an argument")
    {
        UNPLACED
    } else if has(said, b"ready for connections") {
        LifeWord::Started
    } else if has(said, b"Shutdown complete")
        || has(said, b"Normal shutdown")
        || has(said, b"SHUTDOWN from user")
    {
        LifeWord::Stopped
    } else if said.starts_with(b"Aborting")
        || has(said, b"mysqld got signal")
        || has(said, b"mariadbd got signal")
    {
        LifeWord::Failed
    } else {
        LifeWord::Other
    }
}

/// `[ALERT]    (77) : config : parsing [/etc/haproxy/haproxy.cfg:22] : unknown keyword 'servre' in 'backend' section`.
fn haproxy(text: &[u8]) -> LifeWord {
    if text.starts_with(b"[ALERT]") {
        let placed = split(text, b": parsing [")
            .and_then(|(_, rest)| place_at_end(&rest[..memchr::memchr(b']', rest)?]));
        return placed.unwrap_or(LifeWord::Failed);
    }
    if text.starts_with(b"Proxy ") && text.ends_with(b" started.") {
        LifeWord::Started
    } else if text.starts_with(b"Proxy ") && has(text, b" stopped (") {
        LifeWord::Stopped
    } else {
        LifeWord::Other
    }
}

/// `/etc/ssh/sshd_config: line 12: Bad configuration option: PermitRootLogn`.
fn sshd(text: &[u8]) -> LifeWord {
    if text.starts_with(b"/") {
        let placed = split(text, b": line ")
            .or_else(|| split(text, b" line "))
            .and_then(|(file, rest)| complaint(file, Some(digits(rest))));
        return placed.unwrap_or(LifeWord::Failed);
    }
    if text.starts_with(b"Server listening on ") {
        LifeWord::Started
    } else if text.starts_with(b"Received signal 15; terminating") {
        LifeWord::Stopped
    } else {
        LifeWord::Other
    }
}

/// `LOG:  syntax error in file "/etc/postgresql/15/main/postgresql.conf" line 5, near token "x"`.
fn postgres(text: &[u8]) -> LifeWord {
    if let Some((before, rest)) = split(text, b"syntax error in file \"")
        && before.len() < 80
        && let Some((file, line)) = split(rest, b"\" line ")
    {
        return complaint(file, Some(digits(line))).unwrap_or(UNPLACED);
    }
    if text.ends_with(b"database system is ready to accept connections") {
        LifeWord::Started
    } else if text.ends_with(b"database system is shut down") {
        LifeWord::Stopped
    } else {
        LifeWord::Other
    }
}

/// `/etc/bind/named.conf.options:12: unknown option 'forwardrs'`.
fn named(text: &[u8]) -> LifeWord {
    if text.starts_with(b"/")
        && let Some((place, said)) = split(text, b": ")
        && (said.starts_with(b"unknown option") || said.starts_with(b"missing ") || has(said, b"expected"))
    {
        return place_at_end(place).unwrap_or(UNPLACED);
    }
    match text {
        b"running" | b"all zones loaded" => LifeWord::Started,
        b"exiting" | b"shutting down" => LifeWord::Stopped,
        _ if text.starts_with(b"exiting (due to ") || text.starts_with(b"loading configuration: ") => {
            LifeWord::Failed
        }
        _ => LifeWord::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tests::clock;

    fn check(program: &str, text: &str, expected: &str) {
        let said = match life_word(program.as_bytes(), text.as_bytes()) {
            LifeWord::Complaint { file, line } => {
                let file = file.map_or("?".to_owned(), |file| file.display().to_string());
                format!("{file}:{}", line.unwrap_or(0))
            }
            word => format!("{word:?}"),
        };
        assert_eq!(said, expected, "{program}: {text}");
    }

    #[test]
    fn complaints_name_file_and_line() {
        check(
            "apachectl",
            "AH00526: Syntax error on line 5 of /etc/apache2/sites-enabled/ssl.conf:",
            "/etc/apache2/sites-enabled/ssl.conf:5",
        );
        check(
            "apache2",
            "apache2: Syntax error on line 146 of /etc/apache2/apache2.conf: Syntax error on line 1 of /etc/apache2/mods-enabled/x.load: Cannot load /usr/lib/x.so into server",
            "/etc/apache2/mods-enabled/x.load:1",
        );
        check(
            "nginx",
            "nginx: [emerg] unknown directive \"listne\" in /etc/nginx/sites-enabled/shop:7",
            "/etc/nginx/sites-enabled/shop:7",
        );
        check(
            "php-fpm8.2",
            "[/etc/php/8.2/fpm/pool.d/www.conf:23] unknown entry 'pm.max_childern'",
            "/etc/php/8.2/fpm/pool.d/www.conf:23",
        );
        check(
            "php-fpm8.2",
            "[22-Nov-2026 10:23:44] ERROR: [/etc/php/8.2/fpm/pool.d/www.conf:23] unknown entry 'x'",
            "/etc/php/8.2/fpm/pool.d/www.conf:23",
        );
        check(
            "doveconf",
            "Fatal: Error in configuration file /etc/dovecot/conf.d/10-ssl.conf line 12: Unknown setting: sll",
            "/etc/dovecot/conf.d/10-ssl.conf:12",
        );
        check(
            "postfix/postfix-script",
            "fatal: /etc/postfix/main.cf, line 40: missing '=' after attribute name: \"smtpd_banner\"",
            "/etc/postfix/main.cf:40",
        );
        check("mariadbd", "/usr/sbin/mariadbd: unknown variable 'max_conections=200'", "?:0");
        check(
            "mariadbd",
            "error: Found option without preceding group in config file: /etc/mysql/my.cnf at line: 1",
            "/etc/mysql/my.cnf:1",
        );
        check(
            "haproxy",
            "[ALERT]    (77) : config : parsing [/etc/haproxy/haproxy.cfg:22] : unknown keyword 'servre' in 'backend' section",
            "/etc/haproxy/haproxy.cfg:22",
        );
        check(
            "sshd",
            "/etc/ssh/sshd_config: line 12: Bad configuration option: PermitRootLogn",
            "/etc/ssh/sshd_config:12",
        );
        check(
            "postgres",
            "2026-11-22 10:23:44.123 JST [77] LOG:  syntax error in file \"/etc/postgresql/15/main/postgresql.conf\" line 5, near token \"x\"",
            "/etc/postgresql/15/main/postgresql.conf:5",
        );
        check(
            "named",
            "/etc/bind/named.conf.options:12: unknown option 'forwardrs'",
            "/etc/bind/named.conf.options:12",
        );
    }

    #[test]
    fn starts_and_ends() {
        check(
            "apache2",
            "AH00163: Apache/2.4.62 (Debian) configured -- resuming normal operations",
            "Started",
        );
        check("apache2", "AH00169: caught SIGTERM, shutting down", "Stopped");
        check(
            "apache2",
            "(98)Address already in use: AH00072: make_sock: could not bind to address [::]:80",
            "Failed",
        );
        check("apache2", "no listening sockets available, shutting down", "Failed");
        check("nginx", "signal 15 (SIGTERM) received from 1, exiting", "Stopped");
        check("nginx", "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", "Failed");
        check("php-fpm8.2", "exiting, bye-bye!", "Stopped");
        check("php-fpm8.2", "ready to handle connections", "Started");
        check("dovecot", "master: Warning: Killed with signal 15 (by pid=77 uid=0 code=kill)", "Stopped");
        check(
            "dovecot",
            "master: Dovecot v2.3.19.1 (9b53102964) starting up for pop3 (core dumps disabled)",
            "Started",
        );
        check("postfix/master", "terminating on signal 15", "Stopped");
        check("postfix/postfix-script", "fatal: the Postfix mail system is already running", "Other");
        check("mariadbd", "/usr/sbin/mariadbd: ready for connections.", "Started");
        check("mariadbd", "/usr/sbin/mariadbd: Shutdown complete", "Stopped");
        check("cron", "AH00169: caught SIGTERM, shutting down", "Other");
    }

    #[test]
    fn a_strangers_words_are_none_of_the_servers() {
        check(
            "apache2",
            "AH01276: Cannot serve directory /var/www/: x, referer: Syntax error on line 5 of /etc/apache2/apache2.conf:",
            "Other",
        );
        check("apache2", "script '/var/www/AH00169: caught SIGTERM, shutting down' not found", "Other");
        check("php-fpm8.2", "[pool www] child 7 said into stderr: \"ERROR: [/etc/x:1] y\"", "Other");
        check(
            "nginx",
            "open() \"/var/www/unknown directive in /etc/nginx/nginx.conf:7\" failed (2: No such file)",
            "Other",
        );
        let mut format = Format::from_name_or_string("nginx-error", &clock()).unwrap();
        let line = b"2026/11/22 10:23:44 [error] 7#7: *1 open() \"/x in /etc/nginx/nginx.conf:7\" failed";
        assert_eq!(life_line(&mut format, "nginx", line, "x").unwrap().word, LifeWord::Other);
        let line = b"2026/11/22 10:23:44 [emerg] 7#7: unknown directive \"x\" in /etc/nginx/nginx.conf:7";
        assert!(matches!(
            life_line(&mut format, "nginx", line, "x").unwrap().word,
            LifeWord::Complaint { line: Some(7), .. }
        ));
    }

    #[test]
    fn systemd_says_the_unit() {
        let said = |text: &str| unit_word(text.as_bytes()).map(|(unit, word)| format!("{unit} {word:?}"));
        assert_eq!(
            said("apache2.service: Failed with result 'exit-code'.").unwrap(),
            "apache2.service Failed"
        );
        assert_eq!(
            said("nginx.service: Main process exited, code=killed, status=9/KILL").unwrap(),
            "nginx.service Failed"
        );
        assert_eq!(said("apache2.service: Deactivated successfully.").unwrap(), "apache2.service Stopped");
        assert_eq!(
            said("Started apache2.service - The Apache HTTP Server.").unwrap(),
            "apache2.service Started"
        );
        assert_eq!(said("Failed to start nginx.service - A server.").unwrap(), "nginx.service Failed");
        assert_eq!(said("Started Session 3 of User root."), None);
        assert_eq!(said("session-3.scope: Deactivated successfully."), None);
    }

    #[test]
    fn heads() {
        let mut reader = Spokesman::new(&clock());
        let spoken = reader.read(b"Nov 22 01:36:56 web1 apachectl[293]: AH00526: x").unwrap();
        assert_eq!((spoken.program, spoken.text), (&b"apachectl"[..], &b"AH00526: x"[..]));
        assert!(spoken.at.is_some());
    }
}
