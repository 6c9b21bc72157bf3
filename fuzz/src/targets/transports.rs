//! Any messages of services, through every head that a syslog daemon may put before them.
//!
//! The input is a format's name, and lines of a program's name and its message. Whatever the head, the message says the
//! same, also about what earlier messages said.

use toban_model::event::Event;
use toban_parse::{Format, formats, show};

use crate::{Target, known};

pub(super) const TARGET: Target = Target { id: "transports", run, seeds };

/// All say the same moment; `@` is the program's name.
const HEADS: &[&str] = &[
    "Nov 22 10:23:44 web1 @[7]: ",
    "<86>Nov 22 10:23:44 web1 @[7]: ",
    "Nov 22 10:23:44 @[7]: ",
    "2026-11-22T10:23:44+01:00 web1 @[7]: ",
    "<34>1 2026-11-22T09:23:44Z web1 @ 7 ID47 - ",
    r#"1 2026-11-22T09:23:44.000Z web1 @ 7 - [a@1 k="\"]"][b@1] "#,
];

fn run(input: &[u8]) {
    let (name, lines) = known::first_line(input);
    let mut readers: Vec<(&str, Format)> = HEADS.iter().map(|head| (*head, known::format(name))).collect();
    for line in lines.split(|byte| *byte == b'\n') {
        let (program, message) = match memchr::memchr(b' ', line) {
            Some(space) => (&line[..space], &line[space + 1..]),
            None => (line, &b""[..]),
        };
        // No daemon has a name with what ends a name, or the one that stands for none; and none begins a message as only
        // RFC 5424 does.
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"/-_.".contains(byte);
        if matches!(program, b"" | b"-")
            || !program.iter().all(is_name)
            || message.starts_with(b"\xef\xbb\xbf")
        {
            continue;
        }
        let mut first: Option<Option<String>> = None;
        for (head, format) in &mut readers {
            let (before, behind) = head.split_once('@').unwrap_or((head, ""));
            let line = [before.as_bytes(), program, behind.as_bytes(), message].concat();
            let event = format.parse(&line);
            // The kernel's own line has no process.
            let said = event.as_ref().filter(|event| !matches!(event, Event::Kernel(_))).map(show);
            let expected = first.get_or_insert_with(|| said.clone());
            assert_eq!(&said, expected, "behind {head:?}: {}", line.escape_ascii());
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for unit in formats::ALL {
        let messages: Vec<u8> =
            unit.samples.iter().filter_map(|sample| message(sample.line)).flatten().collect();
        if !messages.is_empty() {
            seeds.push((unit.id.to_owned(), [unit.id.as_bytes(), b"\n", &messages].concat()));
        }
    }
    seeds
}

/// `Nov 22 10:23:44 web1 sshd[7]: text` as `sshd text`.
fn message(line: &str) -> Option<Vec<u8>> {
    let (head, text) = line.split_once(": ")?;
    let stamped = head.starts_with("Nov ") || head.starts_with("2026-11-22T") || head.starts_with('<');
    let (_, program) = head.rsplit_once(' ').filter(|_| stamped)?;
    let program = program.split('[').next()?;
    Some(format!("{program} {text}\n").into_bytes())
}
