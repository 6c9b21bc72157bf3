//! A host that sends what nobody asked for.

use serde_json::Value;

use crate::agent::Agent;
use crate::stage::{Stage, alone, say, wait_for};

/// Mails that wait to be delivered.
fn queued(stage: &Stage) -> usize {
    let script = "find /var/spool/postfix/active /var/spool/postfix/deferred -type f | wc -l";
    stage.run(&["sh", "-c", script]).out.trim().parse().unwrap()
}

/// The script and who calls it, and nobody else.
#[track_caller]
fn assert_named(stage: &Stage, finding: &Value) {
    assert_eq!(finding["cause"], stage.truth.cause, "{finding:#}");
    let culprits = finding["culprits"].as_array().unwrap();
    assert_eq!(culprits[0]["kind"], "file", "{finding:#}");
    assert_eq!(culprits[0]["value"], stage.truth.where_["script"], "{finding:#}");
    let mut callers: Vec<String> =
        culprits[1..].iter().map(|culprit| culprit["value"].as_str().unwrap().to_owned()).collect();
    let mut attackers: Vec<String> =
        stage.truth.attackers.addresses.iter().map(ToString::to_string).collect();
    callers.sort();
    attackers.sort();
    assert_eq!(callers, attackers, "{finding:#}");
}

#[test]
fn a_script_that_sends_spam_is_named_with_who_calls_it() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("stolen-form") else { return };
    stage.quiet(10);
    let quiet = stage.toban(&["why", "--json"]);
    assert_eq!(quiet.json()["findings"].as_array().map(Vec::len), Some(0), "{}", quiet.out);
    let agent = Agent::start(&stage, &[]);
    stage.attack(150);
    wait_for(90.0, "a queue that fills", || (queued(&stage) > 120).then_some(()));
    let said = stage.toban(&["why", "--json", "--state", "/run/no-state"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let finding = &said.json()["findings"][0];
    assert_named(&stage, finding);
    say(finding["summary"].as_str().unwrap());
    let incident = wait_for(30.0, "the agent's incident", || {
        let answer = stage.toban(&["incidents", "--json"]).json();
        answer["incidents"].as_array()?.first().cloned()
    });
    assert_eq!(incident["cause"], stage.truth.cause, "{incident:#}");
    agent.stop(&stage);
}
