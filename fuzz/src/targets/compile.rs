//! Any format string, and lines for it.
//!
//! The input is one letter for who wrote the string, the string up to a line of `---`, and lines. A string that means
//! nothing is an error with words; one that compiles means the same every time, and its lines say the same on the way
//! that is taken for nearly all of them and on the one for lines that do not fit straight.

use toban_parse::{Error, Format, formats};

use crate::{Target, known};

pub(super) const TARGET: Target = Target { id: "compile", run, seeds };

const SEPARATOR: &[u8] = b"\n---\n";

type Compile = fn(&str) -> Result<Format, Error>;

/// By the first letter: what the configuration of a server says, and what a user writes.
const WRITERS: &[(u8, Compile)] = &[
    (b'a', |string| Format::apache(string, false, &known::clock())),
    (b'A', |string| Format::apache(string, true, &known::clock())),
    (b'n', |string| Format::nginx(string, false, &known::clock())),
    (b'N', |string| Format::nginx(string, true, &known::clock())),
    (b'e', |string| Format::apache_error(string, &known::clock())),
    (b'u', |string| Format::from_name_or_string(string, &known::clock())),
];

fn run(input: &[u8]) {
    let Some((letter, rest)) = input.split_first() else { return };
    let split = memchr::memmem::find(rest, SEPARATOR);
    let (string, lines) = split.map_or((rest, &b""[..]), |at| (&rest[..at], &rest[at + SEPARATOR.len()..]));
    let string = String::from_utf8_lossy(string);
    let writer = WRITERS.iter().find(|(known, _)| known == letter);
    let (_, compile) = writer.unwrap_or(&WRITERS[usize::from(*letter) % WRITERS.len()]);
    let mut format = match compile(&string) {
        Ok(format) => format,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    assert_eq!(Ok(format.describe()), compile(&string).map(|again| again.describe()));
    // JSON is read in one way only.
    let has_plan = matches!(format.id(), "apache-access" | "nginx-access");
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let mut slow = format.clone();
        let retried = slow.request_retried(line);
        let request = format.request(line);
        // The slow way looks for a field's end no further than the next quote, since no server that escapes quotes writes
        // one inside a field.
        if has_plan && (retried.is_some() || !line.contains(&b'"')) {
            assert_eq!(request, retried, "left: straight, right: slowly");
        }
    }
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for unit in formats::ALL {
        for (n, (format, samples)) in known::samples(unit).into_iter().enumerate() {
            let nickname = unit.nicknames.iter().find(|(name, _)| *name == format).or(unit.nicknames.first());
            let (letter, string) = match (unit.id, nickname) {
                (_, _) if format.contains(['%', '$', ':']) => ("u", format),
                ("apache-access", Some((_, string))) => ("a", *string),
                ("nginx-access", Some((_, string))) => ("n", *string),
                _ => continue,
            };
            let input =
                [letter.as_bytes(), string.as_bytes(), SEPARATOR, &known::lines_of(&samples)].concat();
            seeds.push((format!("{}-{n}", unit.id), input));
        }
    }
    seeds
}
