//! What looks like a flood from outside and is none: a crowd, a slow database, a crawler, limits that do not fit.

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::kernel::dropped;
use crate::stage::{Stage, alone, brief, epoch, say, sleep_until, wait_for};

/// How long the usual is watched before: rates are told against half a minute of it.
const QUIET_S: u64 = 40;
/// How long the incident has gone on when the cold question is asked.
const ASKED_AT_S: f64 = 20.0;

/// Quiet with an agent in it, then the incident: asked cold at its height, and found by the agent. Both answers.
fn play(stage: &mut Stage) -> [Value; 2] {
    stage.quiet(QUIET_S);
    let quiet = stage.toban(&["why", "--json"]);
    assert_eq!(quiet.json()["findings"].as_array().map(Vec::len), Some(0), "{}", quiet.out);
    let agent = Agent::start(stage, &[]);
    let began = stage.attack(120);
    sleep_until(began + ASKED_AT_S);
    // Without the agent's record: as on a host that toban was installed on just now.
    let cold = stage.toban(&["why", "--json", "--state", "/run/no-state"]);
    let figures = stage.lab.stats_between(began, now() - 8.0).unwrap();
    say(&format!("why --json took {:.2} s; meanwhile {}", cold.took.as_secs_f64(), brief(&figures)));
    assert!(cold.took.as_secs_f64() < 10.0, "{:?}", cold.took);
    assert_eq!(cold.code, 1, "{}{}", cold.out, cold.err);
    let incident = wait_for(30.0, "the agent's incident", || {
        let answer = stage.toban(&["incidents", "--json"]).json();
        answer["incidents"].as_array()?.first().cloned()
    });
    let cause = stage.truth.cause.clone();
    let warm = wait_for(30.0, "the agent's cause", || {
        let answer = stage.toban(&["why", "--json"]).json();
        (answer["findings"][0]["cause"] == cause).then_some(answer)
    });
    say(&format!("the agent's incident: {}", incident["cause"]));
    assert_eq!(incident["cause"], cause, "{incident:#}\n{}", Agent::words(stage));
    // Not in the quiet; an incident's beginning is looked for in what was before it was seen.
    assert!(epoch(&incident["since"]) >= began - 5.0, "began {began}: {incident:#}");
    assert!(dropped(stage).is_empty());
    agent.stop(stage);
    [cold.json(), warm]
}

/// No address of anybody stands in what is named or to be done.
#[track_caller]
pub(crate) fn assert_nobody(answer: &Value) {
    for finding in answer["findings"].as_array().unwrap() {
        for culprit in finding["culprits"].as_array().unwrap() {
            let kind = culprit["kind"].as_str().unwrap();
            assert!(!matches!(kind, "address" | "prefix" | "asn"), "{culprit:#}");
        }
        for remedy in finding["remedies"].as_array().unwrap() {
            assert_ne!(remedy["action"], "ban", "{remedy:#}");
        }
    }
}

/// The right cause is the answer.
#[track_caller]
pub(crate) fn assert_first<'a>(stage: &Stage, answer: &'a Value) -> &'a Value {
    let finding = &answer["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{answer:#}");
    say(&format!("{} {}", finding["confidence"], finding["summary"].as_str().unwrap_or_default()));
    finding
}

#[test]
fn a_crowd_that_followed_a_link_is_nobodys_fault() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("shared-link") else { return };
    for answer in play(&mut stage) {
        let finding = assert_first(&stage, &answer);
        assert_eq!(finding["culprits"].as_array().map(Vec::len), Some(0), "{finding:#}");
        assert_nobody(&answer);
    }
}

#[test]
fn a_lock_in_the_database_is_named_and_nobody_who_waits_for_it() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("table-lock") else { return };
    for answer in play(&mut stage) {
        let finding = assert_first(&stage, &answer);
        let culprits = finding["culprits"].as_array().unwrap();
        assert_eq!(culprits.len(), 1, "{finding:#}");
        assert_eq!(culprits[0]["kind"], "upstream", "{finding:#}");
        assert_eq!(culprits[0]["where"]["process"], stage.truth.where_["upstream"], "{finding:#}");
        assert_nobody(&answer);
    }
}

#[test]
fn a_crawler_that_fills_the_workers_is_named_and_not_banned() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("catalogue-reader") else { return };
    for answer in play(&mut stage) {
        let finding = assert_first(&stage, &answer);
        stage.assert_harmless(&Stage::culprits(finding));
        assert!(stage.missed(&Stage::culprits(finding)).is_empty(), "{finding:#}");
        assert!(answer["findings"].as_array().unwrap().iter().all(|one| {
            one["remedies"].as_array().unwrap().iter().all(|remedy| remedy["action"] != "ban")
        }));
    }
}

#[test]
fn a_crawler_that_only_reads_much_is_no_finding() {
    let _alone = alone();
    let Some(mut stage) = Stage::up_with("catalogue-reader", &[("crawler-connections", 3)]) else { return };
    stage.quiet(QUIET_S);
    let began = stage.attack(60);
    sleep_until(began + ASKED_AT_S);
    let said = stage.toban(&["why", "--json"]);
    assert_eq!(said.json()["findings"].as_array().map(Vec::len), Some(0), "{}", said.out);
    let figures = stage.lab.stats_between(began, now() - 2.0).unwrap();
    say(&format!("meanwhile {}", brief(&figures)));
    assert!(figures.ok_share.is_some_and(|share| share >= 0.95), "{}", brief(&figures));
}

#[test]
fn too_few_children_for_usual_pages_are_named_and_nobody_who_came() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("few-children") else { return };
    for answer in play(&mut stage) {
        let finding = assert_first(&stage, &answer);
        let culprits = finding["culprits"].as_array().unwrap();
        assert_eq!(culprits.len(), 1, "{finding:#}");
        assert_eq!(culprits[0]["value"], stage.truth.where_["limit"], "{finding:#}");
        assert_nobody(&answer);
    }
}

/// A scenario with a flood past the balancer besides: both are named, and of addresses only the flooders'.
fn both(scenario: &str, connections: u64) {
    let _alone = alone();
    let Some(mut stage) = Stage::up_with(scenario, &[("flood-connections", connections)]) else { return };
    stage.quiet(QUIET_S);
    let began = stage.attack(60);
    sleep_until(began + ASKED_AT_S);
    let answer = stage.toban(&["why", "--json"]).json();
    let findings = answer["findings"].as_array().unwrap();
    let causes: Vec<&str> = findings.iter().map(|one| one["cause"].as_str().unwrap()).collect();
    say(&format!("{causes:?}"));
    assert!(causes.contains(&stage.truth.cause.as_str()), "{answer:#}");
    let is_flood = |one: &&Value| one["cause"] == "http-flood" || one["cause"] == "load-balancer-bypass";
    let flood = findings.iter().find(is_flood).unwrap_or_else(|| panic!("{answer:#}"));
    // Of a network whose few connections are as anybody's nothing is said; who is named is a flooder.
    let named = Stage::culprits(flood);
    stage.assert_harmless(&named);
    assert!(!named.is_empty(), "{flood:#}");
    assert!(findings[..2].iter().any(|one| one["cause"] == flood["cause"]), "{causes:?}");
}

#[test]
fn a_flood_in_the_midst_of_a_crowd_is_told_from_it() {
    both("shared-link", 160);
}

#[test]
fn a_flood_on_a_locked_database_is_told_beside_the_lock() {
    both("table-lock", 30);
}
