//! Story S1: two web servers hang, and nothing is in their access logs.

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::kernel::all_dropped;
use crate::stage::{Stage, alone, say, sleep_until, wait_for};

/// Readers that do not read hold the workers, and the kernel's kills are an effect of that.
#[track_caller]
fn assert_explained(stage: &Stage, answer: &Value) {
    let finding = &answer["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{answer:#}");
    stage.assert_culprits(finding);
    let effects: Vec<&str> =
        finding["effects"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
    assert!(effects.contains(&"oom-kills"), "{:#}", finding["effects"]);
}

/// Connections of attackers that the server's kernel has.
fn theirs(stage: &Stage) -> usize {
    let held = stage.run(&["ss", "-Htn", "state", "connected", "exclude", "time-wait", "sport", "=", ":80"]);
    let theirs = |line: &&str| {
        let peer = line.split_whitespace().nth(4).unwrap_or_default();
        let peer = peer.trim_start_matches("[::ffff:").split([']', ':']).next().unwrap_or_default();
        peer.parse().is_ok_and(|peer| stage.truth.attackers.addresses.contains(&peer))
    };
    held.out.lines().filter(theirs).count()
}

#[test]
fn readers_that_do_not_read_are_named_and_a_ban_with_their_sockets_frees_the_workers() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("slow-readers") else { return };
    stage.quiet(35);
    let quiet = stage.toban(&["why", "--json"]);
    assert_eq!(quiet.json()["findings"].as_array().unwrap().len(), 0, "{}", quiet.out);
    let began = stage.attack(150);
    sleep_until(began + 20.0);
    let said = stage.toban(&["why", "--json"]);
    say(&format!("why --json took {:.2} s at {:.1} s of the attack", said.took.as_secs_f64(), now() - began));
    assert!(said.took.as_secs_f64() < 10.0, "{:?}", said.took);
    assert_explained(&stage, &said.json());
    assert!(theirs(&stage) > 20);

    let agent = Agent::start(&stage, &["--mode", "act"]);
    let drop_at = all_dropped(&stage, 45.0);
    say(&format!("from the agent's start to the drop: {:.1} s", drop_at - agent.started));
    // A rule stops packets, not workers: what they hold has to go, too, also what no process owns any more.
    wait_for(30.0, "the end of their connections", || (theirs(&stage) == 0).then_some(()));
    say(&format!("their connections are gone {:.1} s after the drop", now() - drop_at));
    agent.stop(&stage);
}
