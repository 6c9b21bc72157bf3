//! Story S3: page views fall and the kernel kills for memory, because of one path and one prefix.

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::kernel::{all_dropped, dropped, prefixes};
use crate::stage::{Stage, alone, brief, epoch, say, sleep_until, wait_for};

/// The cause is one path from one prefix, and the kills and the fall are its effects.
#[track_caller]
fn assert_explained(stage: &Stage, answer: &Value) {
    let finding = &answer["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{answer:#}");
    stage.assert_culprits(finding);
    for culprit in finding["culprits"].as_array().unwrap() {
        assert_eq!(culprit["where"]["path"], stage.truth.where_["path"], "{culprit:#}");
    }
    let effects: Vec<&str> =
        finding["effects"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert!(effects.contains(&"oom-kills"), "{:#}", finding["effects"]);
    assert!(effects.contains(&"page-views"), "{:#}", finding["effects"]);
}

#[test]
fn a_flood_is_traced_from_the_kills_to_its_path_and_ended_by_an_agent_that_comes_late() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("xmlrpc-flood") else { return };
    // A fall is told against a minute of what is usual.
    stage.quiet(65);
    let began = stage.attack(150);
    sleep_until(began + 22.0);
    let said = stage.toban(&["why", "--json"]);
    say(&format!("why --json took {:.2} s at {:.1} s of the attack", said.took.as_secs_f64(), now() - began));
    assert!(said.took.as_secs_f64() < 10.0, "{:?}", said.took);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert_explained(&stage, &said.json());
    let during = stage.lab.stats_between(began, now() - 10.0).unwrap();
    say(&format!("meanwhile {}", brief(&during)));

    // Installed while it burns.
    let agent = Agent::start(&stage, &["--mode", "act"]);
    let drop_at = all_dropped(&stage, 45.0);
    say(&format!("from the agent's start to the drop: {:.1} s", drop_at - agent.started));
    assert_recovered(&stage);
    agent.stop(&stage);
}

/// Clients are served again 30 s after the plan's start, and the action is known to have worked.
#[track_caller]
pub(crate) fn assert_recovered(stage: &Stage) {
    let actions = || stage.toban(&["actions", "--json"]).json()["actions"].as_array().unwrap().clone();
    let plan = actions().iter().map(|action| epoch(&action["at"])).fold(f64::INFINITY, f64::min);
    let stats = stage.share_between(plan + 30.0, plan + 46.0);
    say(&format!("from 30 s after the plan's start: {}", brief(&stats)));
    assert!(stats.total > 100, "{}", brief(&stats));
    assert!(stats.ok_share.is_some_and(|share| share >= 0.99), "{}\n{}", brief(&stats), Agent::words(stage));
    stage.assert_harmless(&prefixes(&dropped(stage)));
    wait_for(60.0, "an action that worked", || {
        actions().iter().any(|a| a["action"] == "ban" && a["state"] == "worked").then_some(())
    });
}
