//! Passwords tried at sshd, and at a mail server until it has no room for its users (story S2).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;
use toban_lab::now;

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
    wait_for(150.0, "the wrong passwords", || {
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

/// How long half of the clients waited for the banner, in ms.
fn banner_ms(stage: &Stage, from: f64, to: f64) -> u64 {
    let all = stage.lab.outcomes().unwrap();
    let mut waits: Vec<u64> =
        all.iter().filter(|o| o.kind == "banner" && o.at >= from && o.at < to).map(|o| o.ms).collect();
    waits.sort_unstable();
    waits.get(waits.len() / 2).copied().unwrap_or(0)
}

#[test]
fn who_uses_up_a_mail_servers_logins_is_named_with_the_slow_banner() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("mail-dictionary") else { return };
    let up = now();
    wait_for(60.0, "mail that is fetched", || (stage.lab.outcomes().ok()?.len() >= 8).then_some(()));
    stage.quiet(8);
    assert_quiet(&stage);
    let agent = Agent::start(&stage, &[]);
    stage.quiet(4);
    let began = stage.attack(120);
    wait_for(60.0, "a banner that comes late", || {
        (banner_ms(&stage, began, now()) > banner_ms(&stage, up, began) * 10).then_some(())
    });
    wait_for(60.0, "what dovecot says of each of them", || {
        let log = stage.run(&["cat", "/var/log/mail.log"]).out;
        let told = |who: &Ipv4Addr| {
            let (ended, asked) = (format!("rip={who},"), format!(",{who},<"));
            log.lines().filter(|line| line.contains(&ended) || line.contains(&asked)).count() >= 10
        };
        stage.truth.attackers.addresses.iter().all(told).then_some(())
    });
    let finding = wait_for(60.0, "the cause", || {
        let answer = why(&stage).json();
        let finding = answer["findings"][0].clone();
        // Until the queue is full it is only watched; and until dovecot has said of whom passwords were wrong, it is
        // not clear, and nobody is named.
        if finding["cause"] == "not-clear" {
            assert_eq!(finding["culprits"].as_array().map(Vec::len), Some(0), "{finding:#}");
            return None;
        }
        (answer["verdict"] == "incident").then_some(finding)
    });
    assert_named(&stage, &finding);
    say(finding["summary"].as_str().unwrap());
    let resource = finding["resource"]["name"].as_str().unwrap();
    assert!(resource.starts_with("dovecot"), "{finding:#}");
    let effects = finding["effects"].as_array().unwrap();
    for what in ["slow-greeting", "half-open"] {
        assert!(effects.iter().any(|effect| effect["what"] == what), "{what} in {finding:#}");
    }
    assert_opened(&stage);
    agent.stop(&stage);
}
