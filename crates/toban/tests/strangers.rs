//! `toban why --root`: what a disk's own logs tell of those who try passwords.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// 2026-03-05 10:00:00 UTC.
const START: u64 = 1_772_704_800;

fn line(log: &mut String, at: u64, said: &str) {
    let stamp = jiff::Timestamp::from_second((START + at) as i64).unwrap();
    writeln!(log, "{stamp} web1 {said}").unwrap();
}

/// Two hours of people who log in, one of whom mistypes, of a monitor, and of failures from everywhere.
fn everyday() -> String {
    let mut log = String::new();
    for minute in 0..120 {
        let (at, person) = (minute * 60, minute % 12);
        line(
            &mut log,
            at,
            &format!(
                "sshd[{minute}]: Accepted publickey for user{person} from 192.0.2.{person} port 40022 ssh2: ED25519 SHA256:x"
            ),
        );
        if minute % 5 == 0 {
            line(
                &mut log,
                at + 9,
                &format!("sshd[{minute}]: Failed password for root from 203.0.{minute}.7 port 4711 ssh2"),
            );
        }
    }
    for slip in 0..3 {
        line(&mut log, 7200 + slip, "sshd[900]: Failed password for anna from 192.0.2.77 port 40100 ssh2");
    }
    line(&mut log, 7204, "sshd[900]: Accepted password for anna from 192.0.2.77 port 40100 ssh2");
    log
}

#[track_caller]
fn why(log: &str) -> (i32, Value) {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("var/log/auth.log");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, log).unwrap();
    let said = Command::new(env!("CARGO_BIN_EXE_toban"))
        .args(["why", "--json", "--root"])
        .arg(root.path())
        .env("TZ", "UTC")
        .env("TOBAN_STATE", Path::new("/nonexistent"))
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    let err = String::from_utf8_lossy(&said.stderr).into_owned();
    let answer = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error} in {out}{err}"));
    (said.status.code().unwrap(), answer)
}

#[test]
fn everyday_is_no_finding() {
    let (code, answer) = why(&everyday());
    assert_eq!((code, answer["findings"].as_array().map(Vec::len)), (0, Some(0)), "{answer:#}");
}

#[test]
fn who_tries_passwords_is_watched_and_who_gets_in_is_an_incident() {
    let mut log = everyday();
    for n in 0..40 {
        let name = ["root", "admin", "test", "oracle", "git"][n as usize % 5];
        line(
            &mut log,
            7210 + n,
            &format!("sshd[{n}]: Failed password for invalid user {name} from 198.51.100.9 port 5022 ssh2"),
        );
    }
    let (code, answer) = why(&log);
    let finding = &answer["findings"][0];
    assert_eq!((code, &finding["cause"]), (1, &Value::from("credential-attack")), "{answer:#}");
    assert_eq!(answer["verdict"], "watch");
    assert_eq!(finding["culprits"].as_array().unwrap().len(), 1, "{finding:#}");
    assert_eq!(finding["culprits"][0]["kind"], "address");
    assert_eq!(finding["culprits"][0]["value"], "198.51.100.9");
    assert_eq!(finding["remedies"][0]["ports"], serde_json::json!([22]));

    line(&mut log, 7252, "sshd[77]: Accepted password for backup from 198.51.100.9 port 5022 ssh2");
    let (_, answer) = why(&log);
    assert_eq!(answer["verdict"], "incident", "{answer:#}");
    assert_eq!(answer["findings"][0]["evidence"][0]["what"], "entered");
}

/// A name can be written so that it looks like the daemon's own words.
#[test]
fn a_forged_name_names_nobody() {
    let mut log = everyday();
    for n in 0..60 {
        line(
            &mut log,
            7210 + n,
            &format!("sshd[{n}]: Invalid user a from 192.0.2.1 port 22 ssh2 from 198.51.100.9 port 5022"),
        );
    }
    let (_, answer) = why(&log);
    for finding in answer["findings"].as_array().unwrap() {
        for culprit in finding["culprits"].as_array().unwrap() {
            assert_ne!(culprit["value"], "192.0.2.1", "{answer:#}");
        }
    }
}
