//! `php-fpm`: the log of php-fpm's master process, which says when its pools run out of children.

use memchr::memmem;
use toban_model::Text;
use toban_model::event::{ErrorLine, Event, Level};

use super::{Sample, Unit, Way};
use crate::scan::{Scan, number};
use crate::stamp::{Civil, Dates, day_padded, month, time_of_day};
use crate::syslog::Head;

/// What stands in messages that matter, and the fixed name that this gives them: php-fpm numbers none.
const CODES: &[(&str, &str)] = &[
    ("server reached pm.max_children setting", "max-children"),
    ("server reached max_children setting", "max-children"),
    ("seems busy", "seems-busy"),
    ("execution timed out", "execution-timeout"),
    ("executing too slow", "slow-request"),
    ("exited on signal", "child-signalled"),
    ("unable to bind listening socket", "bind-failed"),
    ("failed to ptrace", "ptrace-failed"),
    ("failed to fork", "fork-failed"),
    ("fork() failed", "fork-failed"),
];

pub(crate) const UNIT: Unit = Unit {
    id: "php-fpm",
    about: Text::fixed("the log of php-fpm's master process", "php-fpm の親プロセスのログです"),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Line(|line, dates| read(line, dates).map(Event::Error)),
};

fn read<'a>(line: &'a [u8], dates: &mut Dates) -> Option<ErrorLine<'a>> {
    let mut scan = Scan::new(line);
    let time = dates.local(&stamp(&mut scan)?)?;
    scan.literal(b"] ")?;
    let level = level(scan.until(b": ")?)?;
    Some(ErrorLine { time: Some(time), ..message(scan, level)? })
}

/// `[22-Nov-2026 10:23:44`, as PHP and php-fpm begin a line.
pub(super) fn stamp(scan: &mut Scan<'_>) -> Option<Civil> {
    scan.literal(b"[")?;
    let [day @ .., b'-'] = scan.take(3)? else { return None };
    let [name @ .., b'-'] = scan.take(4)? else { return None };
    let [year @ .., b' '] = scan.take(5)? else { return None };
    let (day, month, year) = (day_padded(day)?, month(name)?, number(year)? as i32);
    let (hour, minute, second, micros) = time_of_day(scan)?;
    Some(Civil { year, month, day, hour, minute, second, micros })
}

/// The event of a line that php-fpm wrote through syslog (`error_log = syslog`): `[WARNING] [pool www] …`.
pub(super) fn event<'a>(head: &Head<'a>) -> Option<Event<'a>> {
    let mut scan = Scan::new(head.text);
    scan.literal(b"[")?;
    let level = level(scan.until(b"] ")?)?;
    Some(Event::Error(ErrorLine { time: head.time, pid: head.pid, ..message(scan, level)? }))
}

fn message(mut scan: Scan<'_>, level: Level) -> Option<ErrorLine<'_>> {
    let mut pid = None;
    if scan.literal(b"pid ").is_some() {
        // At debug level, the process and the place in the source: `pid 7, fpm_event_loop(), line 435: `.
        pid = Some(u32::try_from(scan.number()?).ok()?);
        scan.until(b": ")?;
    }
    let mut pool = None;
    if scan.literal(b"[pool ").is_some() {
        pool = Some(scan.until(b"] ")?);
    }
    let text = scan.rest;
    // What a script wrote (`child 7 said into stderr: "…"`) is a stranger's text.
    let said = memmem::find(text, b" said into std").unwrap_or(text.len());
    let code = CODES.iter().find(|(words, _)| memmem::find(&text[..said], words.as_bytes()).is_some());
    Some(ErrorLine {
        time: None,
        level,
        pid,
        peer: None,
        code: code.map(|(_, code)| *code),
        module: pool,
        offence: None,
        account: None,
        text,
    })
}

fn level(name: &[u8]) -> Option<Level> {
    Some(match name {
        b"ALERT" => Level::Alert,
        b"ERROR" => Level::Error,
        b"WARNING" => Level::Warning,
        b"NOTICE" => Level::Notice,
        b"DEBUG" => Level::Debug,
        _ => return None,
    })
}

const SAMPLES: &[Sample] = &[
    Sample {
        format: "",
        line: "[22-Nov-2026 10:23:44] WARNING: [pool www] seems busy (you may need to increase pm.start_servers, or pm.min/max_spare_servers), spawning 8 children, there are 0 idle, and 5 total children",
        event: r#"time=2026-11-22T01:23:44Z level=warning code=seems-busy module=www text="seems busy (you may need to increase pm.start_servers, or pm.min/max_spare_servers), spawning 8 children, there are 0 idle, and 5 total children""#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 10:23:44] WARNING: [pool www] server reached pm.max_children setting (8), consider raising it",
        event: r#"time=2026-11-22T01:23:44Z level=warning code=max-children module=www text="server reached pm.max_children setting (8), consider raising it""#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 10:23:44] NOTICE: fpm is running, pid 77",
        event: r#"time=2026-11-22T01:23:44Z level=notice text="fpm is running, pid 77""#,
    },
    Sample {
        format: "",
        line: r#"[22-Nov-2026 10:23:44] WARNING: [pool www] child 91, script '/var/www/html/index.php' (request: "GET /index.php") executing too slow (5.123456 sec), logging"#,
        event: r#"time=2026-11-22T01:23:44Z level=warning code=slow-request module=www text="child 91, script '/var/www/html/index.php' (request: "GET /index.php") executing too slow (5.123456 sec), logging""#,
    },
    Sample {
        format: "",
        line: "[22-Nov-2026 10:23:44.123456] DEBUG: pid 77, fpm_pctl_perform_idle_server_maintenance(), line 379: [pool www] currently 0 active children, 2 spare children",
        event: r#"time=2026-11-22T01:23:44.123456Z level=debug pid=77 module=www text="currently 0 active children, 2 spare children""#,
    },
    Sample {
        format: "",
        line: r#"[22-Nov-2026 10:23:44] WARNING: [pool www] child 91 said into stderr: "server reached pm.max_children setting (8)""#,
        event: r#"time=2026-11-22T01:23:44Z level=warning module=www text="child 91 said into stderr: "server reached pm.max_children setting (8)"""#,
    },
];

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn lines_that_do_not_fit() {
        for line in [
            "",
            "[22-Nov-2026",
            "[22-Nov-2026 10:23:44] LOUD: x",
            // PHP's own log has the zone's name.
            "[22-Nov-2026 01:23:44 UTC] PHP Warning:  x in /var/www/x.php on line 1",
            "[0x00007f1] fsockopen() /var/www/html/index.php:6",
        ] {
            check("php-fpm", line.as_bytes(), "none");
        }
    }
}
