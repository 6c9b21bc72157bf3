//! Story S0, a client that spins at the end of a connection; and jobs that hang and pile up.

use std::fs;

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::stage::{Stage, alone, say, sleep_until, wait_for};

const CONFIG: &str = "/etc/toban-test.toml";

/// The numbers of the processes of that name.
fn pids(stage: &Stage, comm: &str) -> Vec<u64> {
    let out = stage.run(&["pgrep", "-x", comm]).out;
    out.lines().filter_map(|line| line.trim().parse().ok()).collect()
}

#[track_caller]
fn assert_runaway(stage: &Stage, finding: &Value, pid: u64) {
    let truth = &stage.truth;
    assert_eq!(finding["cause"], truth.cause, "{finding:#}");
    let culprits = finding["culprits"].as_array().unwrap();
    assert_eq!(culprits.len(), 1, "{finding:#}");
    let culprit = &culprits[0];
    assert_eq!((&culprit["kind"], &culprit["pid"]), (&"process".into(), &pid.into()), "{culprit:#}");
    assert_eq!(culprit["comm"], truth.where_["comm"], "{culprit:#}");
    assert_eq!(culprit["where"]["peer"], truth.where_["peer"], "{culprit:#}");
    assert!(culprit["cmdline"].as_str().unwrap().contains(&truth.where_["comm"]), "{culprit:#}");
    let age = culprit["age_s"].as_f64().unwrap();
    assert!((20.0..600.0).contains(&age), "{culprit:#}");
    let parents = culprit["parents"].as_array().unwrap();
    assert!(
        parents.iter().any(|parent| parent.as_str().unwrap().contains(&truth.where_["script"])),
        "{culprit:#}"
    );
    let summary = finding["summary"].as_str().unwrap();
    assert!(summary.contains(&truth.where_["comm"]) && summary.contains(&truth.where_["peer"]), "{summary}");
}

#[test]
fn a_client_that_spins_is_named_with_its_script_and_stopped_by_the_agent() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("runaway-client") else { return };
    let comm = stage.truth.where_["comm"].clone();
    stage.quiet(6);
    let said = stage.toban(&["why", "--json"]);
    assert_eq!(said.json()["findings"].as_array().map(Vec::len), Some(0), "{}", said.out);
    stage.attack(300);
    // Those that get their answer end within the second.
    let pid = wait_for(40.0, "the client that stays", || {
        let first = pids(&stage, &comm).first().copied()?;
        sleep_until(now() + 2.0);
        (pids(&stage, &comm) == [first]).then_some(first)
    });
    sleep_until(now() + 31.0);
    assert_eq!(pids(&stage, &comm), [pid]);
    let said = stage.toban(&["why", "--json"]);
    say(&format!("why --json took {:.2} s", said.took.as_secs_f64()));
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(said.took.as_secs_f64() < 10.0, "{:?}", said.took);
    let answer = said.json();
    assert_eq!(answer["findings"].as_array().map(Vec::len), Some(1), "{}", said.out);
    assert_runaway(&stage, &answer["findings"][0], pid);
    say(answer["findings"][0]["summary"].as_str().unwrap());

    let config = stage.lab.path(stage.lab.web(), CONFIG).unwrap();
    // The user's own commands keep what they are told.
    let hook = |event: &str| format!("{event} = [\"/bin/sh\", \"-c\", \"cat >>/run/told-$TOBAN_EVENT\"]\n");
    let hooks = ["finding", "action", "recovery"].map(hook).concat();
    fs::write(config, format!("[agent]\nmode = \"act\"\nact_on = [\"runaway-process\"]\n[hooks]\n{hooks}"))
        .unwrap();
    let agent = Agent::start(&stage, &["--config", CONFIG]);
    let until = now() + 60.0;
    while pids(&stage, &comm).contains(&pid) {
        let words = || format!("{}{}", Agent::words(&stage), stage.toban(&["actions"]).out);
        assert!(now() < until, "it was not stopped: {}", words());
        sleep_until(now() + 0.5);
    }
    say(&format!("from the agent's start to its end: {:.1} s", now() - agent.started));
    let actions = || stage.toban(&["actions", "--json"]).json()["actions"].as_array().unwrap().clone();
    let done = wait_for(60.0, "an action that worked", || {
        let all = actions();
        all.iter().any(|action| action["state"] == "worked").then_some(all)
    });
    assert_eq!(done.len(), 1, "{done:#?}\n{}", Agent::words(&stage));
    assert_eq!(done[0]["action"], "stop-process", "{:#}", done[0]);
    assert_eq!(done[0]["steps"][0]["pid"], pid, "{:#}", done[0]);
    let incidents = stage.toban(&["incidents", "--json"]).json();
    assert_runaway(&stage, &incidents["incidents"][0]["findings"][0], pid);
    let told = |event: &str| -> Vec<Value> {
        let out = stage.run(&["cat", &format!("/run/told-{event}")]).out;
        serde_json::Deserializer::from_str(&out).into_iter().map(Result::unwrap).collect()
    };
    assert_runaway(&stage, &told("finding")[0]["findings"][0], pid);
    assert_eq!(told("action")[0]["actions"][0]["action"], "stop-process");
    // The script goes on, and so does everything else.
    assert!(!stage.run(&["pgrep", "-f", &stage.truth.where_["script"]]).out.is_empty());
    assert!(!pids(&stage, "apache2").is_empty());
    agent.stop(&stage);
}

#[test]
fn jobs_that_hang_are_named_by_what_starts_them() {
    let _alone = alone();
    let Some(stage) = Stage::up("runaway-client") else { return };
    stage.quiet(3);
    assert_eq!(stage.run(&["touch", "/run/share-hangs"]).code, 0);
    wait_for(60.0, "the pile", || (pids(&stage, "share-sync").len() >= 50).then_some(()));
    let said = stage.toban(&["why", "--json"]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let answer = said.json();
    let findings = answer["findings"].as_array().unwrap();
    assert_eq!(findings.len(), 1, "{}", said.out);
    let culprit = &findings[0]["culprits"][0];
    assert_eq!(findings[0]["cause"], "process-pileup", "{}", said.out);
    assert_eq!((&culprit["kind"], &culprit["comm"]), (&"process".into(), &"share-sync".into()));
    assert!(culprit["where"]["parent"].as_str().unwrap().contains("by-the-clock.sh"), "{culprit:#}");
    say(findings[0]["summary"].as_str().unwrap());
}
