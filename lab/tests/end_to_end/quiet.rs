//! Five minutes of normal traffic under an agent that may act: nothing is found and nothing is done.

use std::env;
use std::thread;
use std::time::Duration;

use toban_lab::now;

use crate::agent::Agent;
use crate::kernel::{all_dropped, dropped};
use crate::stage::{Stage, alone, brief, say};
use crate::xmlrpc_flood::assert_recovered;

#[test]
fn in_the_quiet_nothing_is_found_and_nothing_is_done() {
    let _alone = alone();
    let seconds =
        env::var("LAB_QUIET_SECONDS").map_or(300, |text| text.parse().expect("a number of seconds"));
    let Some(connect) = Stage::up("connect-flood") else { return };
    let Some(mut xmlrpc) = Stage::up("xmlrpc-flood") else { return };
    let agents = [&connect, &xmlrpc].map(|stage| Agent::start(stage, &["--mode", "act"]));
    let from = now();
    thread::sleep(Duration::from_secs(seconds));
    let mut watching = Vec::new();
    for (stage, mut agent) in [&connect, &xmlrpc].into_iter().zip(agents) {
        let stats = stage.lab.stats_between(from, now() - 2.0).unwrap();
        assert!(stats.ok_share.is_some_and(|share| share >= 0.98), "not quiet: {}", brief(&stats));
        assert!(agent.lives(), "{}", Agent::words(stage));
        let cost = agent.cost(stage);
        let name = &stage.truth.scenario;
        say(&format!("{name}: {} requests in {:.0} s; agent: {cost}", stats.total, now() - from));
        let words = Agent::words(stage);
        for (command, list) in [("incidents", "incidents"), ("actions", "actions"), ("bans", "bans")] {
            let answer = stage.toban(&[command, "--json"]).json();
            assert_eq!(answer[list].as_array().map(Vec::len), Some(0), "{answer:#}\n{words}");
        }
        assert_eq!(dropped(stage), []);
        let why = stage.toban(&["why", "--json"]);
        assert_eq!(why.code, 0, "{}", why.out);
        assert_eq!(why.json()["findings"].as_array().map(Vec::len), Some(0), "{}", why.out);
        watching.push(agent);
    }
    let on_xmlrpc = watching.pop().unwrap();
    watching.pop().unwrap().stop(&connect);
    connect.lab.down().unwrap();

    // The watchman that saw nothing for so long is awake.
    let began = xmlrpc.attack(120);
    let drop_at = all_dropped(&xmlrpc, 45.0);
    say(&format!("xmlrpc-flood: from the first packet to the drop {:.1} s", drop_at - began));
    assert!(drop_at - began <= 15.0, "{}", Agent::words(&xmlrpc));
    assert_recovered(&xmlrpc);
    on_xmlrpc.stop(&xmlrpc);
}
