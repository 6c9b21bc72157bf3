//! A disk that a log fills, named cold and by the agent, also when the log is deleted and still open.

use serde_json::Value;

use crate::agent::Agent;
use crate::stage::{Stage, alone, say, wait_for};

/// The file, who writes it, and nobody else.
#[track_caller]
fn assert_named(stage: &Stage, finding: &Value) {
    let truth = &stage.truth.where_;
    assert_eq!(finding["cause"], stage.truth.cause, "{finding:#}");
    let culprits = finding["culprits"].as_array().unwrap();
    assert_eq!(culprits.len(), 1, "{culprits:#?}");
    assert_eq!(culprits[0]["kind"], "file");
    assert_eq!(culprits[0]["value"], truth["file"]);
    assert_eq!(culprits[0]["where"]["process"], truth["process"], "{culprits:#?}");
}

#[test]
fn a_log_that_fills_the_disk_is_named_with_its_writer_also_when_it_is_deleted() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("filling-log") else { return };
    stage.quiet(10);
    let quiet = stage.toban(&["why", "--json"]);
    assert_eq!(quiet.json()["findings"].as_array().map(Vec::len), Some(0), "{}", quiet.out);
    let agent = Agent::start(&stage, &[]);
    stage.attack(120);
    let mount = stage.truth.where_["mount"].clone();
    wait_for(60.0, "a full disk", || {
        (stage.run(&["stat", "-f", "-c", "%a", &mount]).out.trim() == "0").then_some(())
    });
    let said = stage.toban(&["why", "--json"]);
    say(&format!("why --json took {:.2} s on a full disk", said.took.as_secs_f64()));
    assert!(said.took.as_secs_f64() < 10.0, "{:?}", said.took);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let finding = &said.json()["findings"][0];
    assert_named(&stage, finding);
    assert_eq!(finding["resource"]["name"], format!("disk:{mount}"));

    let incident = wait_for(30.0, "the agent's incident", || {
        let answer = stage.toban(&["incidents", "--json"]).json();
        answer["incidents"].as_array()?.iter().find(|one| one["cause"] == "disk-full").cloned()
    });
    say(&format!("{incident:#}"));
    wait_for(30.0, "the pages' failing under the cause", || {
        let finding = stage.toban(&["why", "--json"]).json()["findings"][0].clone();
        assert_named(&stage, &finding);
        finding["effects"].as_array()?.iter().find(|effect| effect["what"] == "error-log").map(|_| ())
    });

    let file = stage.truth.where_["file"].clone();
    assert_eq!(stage.run(&["rm", &file]).code, 0);
    let said = stage.toban(&["why", "--json"]);
    let finding = &said.json()["findings"][0];
    assert_named(&stage, finding);
    assert_eq!(finding["culprits"][0]["where"]["deleted"], "yes", "{finding:#}");
    agent.stop(&stage);
}
