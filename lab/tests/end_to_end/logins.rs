//! Passwords tried at sshd, and at a mail server until it has no room for its users (story S2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use crate::agent::Agent;
use crate::stage::{Said, Stage, alone, say, wait_for};

/// Asked as on a host that toban was installed on just now.
fn why(stage: &Stage) -> Said {
    let said = stage.toban(&["why", "--json", "--state", "/run/no-state"]);
    let answer = said.json();
    let findings = answer["findings"].as_array().unwrap();
    let causes: Vec<&str> = findings.iter().map(|finding| finding["cause"].as_str().unwrap()).collect();
    say(&format!("why --json took {:.2} s: {causes:?}", said.took.as_secs_f64()));
    assert!(said.took.as_secs_f64() < 10.0, "{:?}", said.took);
    assert_eq!(said.code, i32::from(!causes.is_empty()), "{}{}", said.out, said.err);
    said
}

/// Nothing is found.
#[track_caller]
fn assert_quiet(stage: &Stage) {
    let said = why(stage);
    assert_eq!(said.json()["findings"].as_array().map(Vec::len), Some(0), "{}", said.out);
}

/// The right cause first, of the right service, exactly the attackers, and all of them can be banned.
#[track_caller]
fn assert_named(stage: &Stage, finding: &Value) {
    assert_eq!(finding["cause"], stage.truth.cause, "{finding:#}");
    stage.assert_culprits(finding);
    for culprit in finding["culprits"].as_array().unwrap() {
        assert_eq!(culprit["where"]["service"], stage.truth.where_["service"], "{culprit:#}");
    }
    assert_eq!(finding["remedies"][0]["action"], "ban", "{finding:#}");
}

/// The agent opens an incident of this cause.
#[track_caller]
fn assert_opened(stage: &Stage) {
    let incident = wait_for(30.0, "the agent's incident", || {
        let answer = stage.toban(&["incidents", "--json"]).json();
        answer["incidents"].as_array()?.first().cloned()
    });
    assert_eq!(incident["cause"], stage.truth.cause, "{incident:#}\n{}", Agent::words(stage));
}

/// Wrong passwords in sshd's log, by who tried them.
fn failures(stage: &Stage) -> BTreeMap<Ipv4Addr, usize> {
    let log = stage.run(&["cat", "/var/log/auth.log"]).out;
    let mut by = BTreeMap::new();
    for line in log.lines() {
        let Some((_, rest)) = line.split_once(": Failed password for ") else { continue };
        let from = rest.split(' ').rev().nth(3).and_then(|from| from.parse().ok());
        *by.entry(from.unwrap_or_else(|| panic!("{line}"))).or_default() += 1;
    }
    by
}

/// Waits until each of them has tried so many passwords.
fn wait_for_failures(stage: &Stage, whose: &[Ipv4Addr], each: usize) {
    wait_for(90.0, "the wrong passwords", || {
        let by = failures(stage);
        whose.iter().all(|who| by.get(who).is_some_and(|times| *times >= each)).then_some(())
    });
}

fn tried_at_sshd(scenario: &str, each: usize) {
    let _alone = alone();
    let Some(mut stage) = Stage::up(scenario) else { return };
    wait_for_failures(&stage, &[stage.truth.admin], 1);
    assert_quiet(&stage);
    stage.attack(180);
    wait_for_failures(&stage, &stage.truth.attackers.addresses, each);
    let said = why(&stage);
    let finding = &said.json()["findings"][0];
    assert_named(&stage, finding);
    say(finding["summary"].as_str().unwrap());
    // All of them can be banned, though they have connections to sshd.
    let dry = stage.toban(&["fix", "1", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}{}", dry.out, dry.err);
}

#[test]
fn who_tries_passwords_at_sshd_until_it_takes_nobody_more_is_named_and_can_be_banned() {
    tried_at_sshd("ssh-dictionary", 8);
}

#[test]
fn many_who_try_a_few_passwords_each_at_sshd_are_named_together() {
    tried_at_sshd("ssh-crowd", 2);
}
