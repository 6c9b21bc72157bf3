//! Logs that are no logs, or only half: a clear word, the right exit code, and nothing lost that can be read.

use std::fs;
use std::io::Write as _;

use serde_json::Value;
use tempfile::TempDir;

use crate::check::scan;

/// A guesser at sshd, forty lines from this minute on, and somebody who logs in.
fn guesses(minute: u32) -> String {
    let line = |nth: u32| {
        let (minute, second) = (minute + nth / 20, nth % 20 * 3);
        let head = format!("2026-03-10T09:{minute:02}:{second:02}+00:00 web1 sshd[{}]:", 1000 + nth);
        if nth % 10 == 3 {
            format!("{head} Accepted publickey for anna from 192.0.2.10 port 4 ssh2: ED25519 SHA256:x\n")
        } else {
            format!("{head} Failed password for root from 198.51.100.7 port 4 ssh2\n")
        }
    };
    (0..40).map(line).collect()
}

/// Their numbers.
fn lines() -> Vec<u64> {
    (0..40).filter(|nth| nth % 10 != 3).map(|nth| nth + 1).collect()
}

fn at(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|line| line.as_u64().unwrap()).collect()
}

/// The one who is blamed, and on which lines.
#[track_caller]
fn one(said: &[Value]) -> Vec<u64> {
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0]["client"], "198.51.100.7");
    assert_eq!(said[0]["cause"], "credential-attack");
    assert_eq!(said[0]["service"], "sshd");
    numbers(&said[0]["lines"])
}

#[track_caller]
fn refused(args: &[&str], code: i32, words: &[&str]) {
    let (said, errors, exit) = scan(args);
    assert_eq!(exit, code, "{args:?}: {errors}");
    assert!(said.is_empty(), "{args:?}: {said:?}");
    for word in words {
        assert!(errors.contains(word), "{args:?}: {word:?} is not in {errors}");
    }
}

#[test]
fn what_cannot_be_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let good = at(&dir, "auth.log", guesses(0));
    let empty = at(&dir, "empty.log", "");
    refused(&[&empty], 0, &["empty.log", "empty"]);
    let binary: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    refused(&[&at(&dir, "binary.log", &binary)], 3, &["binary.log", "no known format", "--format"]);
    refused(&[&at(&dir, "zeros.log", vec![0; 100_000])], 3, &["zeros.log", "no known format"]);
    refused(&[&at(&dir, "prose.txt", "To be,\nor not to be.\n")], 3, &["prose.txt", "no known format"]);
    refused(&[dir.path().to_str().unwrap()], 3, &[dir.path().to_str().unwrap()]);
    refused(&["/no/such/file.log"], 3, &["/no/such/file.log", "no such file"]);
    refused(&["--format", "cobol", &good], 2, &["cobol"]);
    refused(&["--format", "%h %q", &good], 2, &[]);
    refused(&["--format", "nginx-main", &good], 3, &["auth.log", "nginx-main"]);
    refused(&["--now", "yesterday", &good], 2, &["yesterday"]);
    refused(&["--tz", "Mars/Olympus", &good], 2, &["Mars/Olympus"]);
    refused(&[], 2, &["LOG"]);
}

#[test]
fn of_several_logs_the_good_ones_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let good = at(&dir, "auth.log", guesses(0));
    let (said, errors, code) = scan(&["/no/such/file.log", &good]);
    assert_eq!((one(&said), code), (lines(), 3), "{errors}");
    assert!(errors.contains("/no/such/file.log"), "{errors}");
    let empty = at(&dir, "empty.log", "");
    let (said, errors, code) = scan(&[&empty, &good]);
    assert_eq!((one(&said), code), (lines(), 0), "{errors}");
}

#[test]
fn line_endings_and_lines_that_are_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let text = guesses(0);
    let (said, errors, code) = scan(&[&at(&dir, "crlf.log", text.replace('\n', "\r\n"))]);
    assert_eq!((one(&said), code), (lines(), 0), "{errors}");
    let (said, errors, code) = scan(&[&at(&dir, "unended.log", text.trim_end())]);
    assert_eq!((one(&said), code), (lines(), 0), "{errors}");
    let (said, errors, _) = scan(&[&at(&dir, "gaps.log", text.replace('\n', "\n\n"))]);
    assert_eq!(one(&said), lines().iter().map(|line| line * 2 - 1).collect::<Vec<_>>(), "{errors}");
    // Longer than any line is, in its middle and at its end.
    let (first, rest) = text.split_at(text.lines().take(20).map(|line| line.len() + 1).sum());
    let long = "x".repeat(3_000_000);
    for form in ["sshd", "syslog"] {
        let path = at(&dir, "long.log", format!("{first}{long}\n{rest}{long}"));
        let (said, errors, code) = scan(&["--format", form, &path]);
        let numbers: Vec<u64> = lines().iter().map(|line| line + u64::from(*line > 20)).collect();
        assert_eq!((one(&said), code), (numbers, 0), "{errors}");
        assert!(errors.contains(" 2 did not fit"), "{errors}");
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn archives_whole_and_broken() {
    let dir = tempfile::tempdir().unwrap();
    let (said, errors, code) = scan(&[&at(&dir, "auth.log.2.gz", gzip(&guesses(0)))]);
    assert_eq!((one(&said), code), (lines(), 0), "{errors}");
    // Much of it is lost, and the guesser was at the start.
    let mut noise = guesses(0);
    for nth in 0..40_000u32 {
        let odd = nth.wrapping_mul(2_654_435_761);
        noise += &format!("2026-03-10T10:00:00+00:00 web1 sshd[{nth}]: Server listening on :: port {odd}.\n");
    }
    let packed = gzip(&noise);
    let (said, errors, code) = scan(&[&at(&dir, "cut.log.gz", &packed[..packed.len() / 2])]);
    assert_eq!((one(&said), code), (lines(), 3), "{errors}");
    assert!(errors.contains("cut.log.gz") && errors.contains("could not read all"), "{errors}");
    let mut bent = packed.clone();
    let middle = packed.len() / 2;
    bent[middle..middle + 40].fill(0x55);
    let (said, errors, code) = scan(&[&at(&dir, "bent.log.gz", &bent)]);
    assert_eq!((one(&said), code), (lines(), 3), "{errors}");
    refused(&[&at(&dir, "prose.log.gz", "no archive\n")], 3, &["prose.log.gz", "gzip"]);
}

#[test]
fn a_log_and_what_was_rotated_away_are_one() {
    let dir = tempfile::tempdir().unwrap();
    // Four guesses in each are no attack, together they are.
    let text = guesses(58);
    let at_end: String = text.lines().skip(13).take(7).map(|line| format!("{line}\n")).collect();
    let at_start: String = text.lines().skip(20).take(8).map(|line| format!("{line}\n")).collect();
    let old = at(&dir, "auth.log.1.gz", gzip(&at_end));
    let new = at(&dir, "auth.log", &at_start);
    assert!(scan(&[&old]).0.is_empty() && scan(&[&new]).0.is_empty());
    let (said, errors, code) = scan(&[&old, &new]);
    one(&said);
    assert_eq!(code, 0, "{errors}");
    let logs = said[0]["logs"].as_array().unwrap();
    let told: Vec<(&str, Vec<u64>)> =
        logs.iter().map(|log| (log["log"].as_str().unwrap(), numbers(&log["lines"]))).collect();
    assert_eq!(told, [(old.as_str(), vec![2, 3, 4, 5, 6, 7]), (new.as_str(), vec![1, 2, 3, 5, 6, 7, 8])]);
    assert_eq!(said[0]["count"], 13);
}

/// A stamp without a year is of the last year that it can be of, in the zone that is given.
#[test]
fn years_and_zones_are_by_the_clock_that_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..30)
        .map(|n| {
            format!(
                "Dec 31 23:59:{n:02} web1 sshd[7]: Failed password for root from 198.51.100.7 port 4 ssh2\n"
            )
        })
        .collect();
    let path = at(&dir, "auth.log", text);
    for (now, zone, first) in [
        ("2026-01-02T00:00:00Z", "UTC", 1_767_225_540.0),
        ("2026-01-02T00:00:00Z", "Asia/Tokyo", 1_767_225_540.0 - 32_400.0),
        ("2026-01-02T00:00:00Z", "EST5EDT", 1_767_225_540.0 + 18_000.0),
        ("2025-06-01T00:00:00Z", "UTC", 1_767_225_540.0 - 365.0 * 86_400.0),
    ] {
        let (said, errors, _) = scan(&["--now", now, "--tz", zone, &path]);
        one(&said);
        assert_eq!(said[0]["first"], first, "{now} {zone}: {errors}");
        assert_eq!(said[0]["last"], first + 29.0);
    }
}

/// However it is read, the answer is the same.
#[test]
fn on_any_number_of_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for nth in 0..90_000u32 {
        // Twenty a second, for an hour and a quarter.
        let (hour, minute, second) = (nth / 72_000, nth / 1_200 % 60, nth / 20 % 60);
        let stamp = format!("10/Mar/2026:{hour:02}:{minute:02}:{second:02} +0000");
        let (who, what, status) = match nth % 9 {
            0 if (10..20).contains(&minute) => ("198.51.100.7".to_owned(), "POST /wp-login.php", 200),
            1 if (40..48).contains(&minute) => (format!("2001:db8::{:x}", nth % 7), "GET /search?q=1", 200),
            2..=8 if (40..48).contains(&minute) => ("198.51.100.99".to_owned(), "GET /shop", 503),
            _ => (format!("203.0.113.{}", nth % 250), ["GET /", "GET /a", "GET /b"][nth as usize % 3], 200),
        };
        text += &format!("{who} - - [{stamp}] \"{what} HTTP/1.1\" {status} 5 \"-\" \"x\"\n");
    }
    let path = at(&dir, "access.log", &text);
    let (first, errors, _) = scan(&["--threads", "1", &path]);
    let causes: Vec<&str> = first.iter().filter_map(|said| said["cause"].as_str()).collect();
    assert_eq!(causes, ["http-flood", "credential-attack"], "{first:?} {errors}");
    for threads in ["2", "3", "8"] {
        assert_eq!(scan(&["--threads", threads, &path]).0, first, "{threads} threads");
    }
}
