//! Story S4: CONNECT past the balancer holds every worker, and nothing else looks unusual.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use ipnet::Ipv4Net;
use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::kernel::{all_dropped, dropped, prefixes};
use crate::stage::{Stage, alone, brief, epoch, net, say, sleep_until, wait_for};

/// The promise: an answer within this.
const ANSWER_S: f64 = 10.0;
/// From the first packet to the drop.
const DROP_S: f64 = 15.0;
/// From the plan's start until clients are served again.
const RECOVERED_S: f64 = 30.0;

#[test]
fn a_server_that_toban_has_never_seen_is_explained_within_ten_seconds() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("connect-flood") else { return };
    stage.quiet(40);
    let began = stage.attack(90);
    sleep_until(began + 8.0);

    let said = stage.toban(&["why", "--json"]);
    say(&format!("why --json took {:.2} s at {:.1} s of the attack", said.took.as_secs_f64(), now() - began));
    assert!(said.took.as_secs_f64() < ANSWER_S, "{:?}", said.took);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let answer = said.json();
    assert_eq!(answer["verdict"], "incident", "{answer:#}");
    let finding = &answer["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{answer:#}");
    assert!(finding["confidence"].as_f64().unwrap() >= 0.8, "{finding:#}");
    stage.assert_culprits(finding);
    for culprit in finding["culprits"].as_array().unwrap() {
        for (key, value) in &stage.truth.where_ {
            assert_eq!(culprit["where"][key], *value, "{culprit:#}");
        }
    }

    let resource = &finding["resource"];
    let limit = stage.truth.web.worker_limit as f64;
    assert_eq!(resource["name"], "apache.workers");
    assert_eq!(resource["limit"].as_f64(), Some(limit));
    let used = resource["used"].as_f64().unwrap();
    assert!(used <= limit && used >= limit * 0.9, "{used} of {limit}");

    assert_vitals_usual(&answer);
    assert!(!finding["ruled_out"].as_array().unwrap().is_empty(), "{finding:#}");
    assert!(!finding["evidence"].as_array().unwrap().is_empty(), "{finding:#}");
    let remedy = &finding["remedies"][0];
    assert_eq!((&remedy["action"], &remedy["collateral"]["usual_clients_hit"]), (&"ban".into(), &0.into()));
    let known = remedy["collateral"]["of"].as_u64().unwrap() as usize;
    assert!(known > stage.truth.clients.addresses.len() / 2, "{remedy:#}");
    assert!(remedy["ports"].as_array().unwrap().contains(&stage.truth.web.port.into()), "{remedy:#}");
    let targets: Vec<_> =
        remedy["targets"].as_array().unwrap().iter().map(|t| net(t.as_str().unwrap())).collect();
    stage.assert_harmless(&targets);

    let english = stage.toban(&["why", "--lang", "en"]);
    let japanese = stage.toban(&["why", "--lang", "ja"]);
    assert_eq!((english.code, japanese.code), (1, 1));
    assert_ne!(english.out, japanese.out);
    assert!(japanese.out.contains("ワーカー") && !english.out.contains("ワーカー"), "{}", japanese.out);
    for prefix in Stage::culprits(finding) {
        for said in [&english, &japanese] {
            assert!(said.out.contains(&prefix.to_string()) && said.out.contains("CONNECT"), "{}", said.out);
        }
    }

    // The first of their requests have timed out by now and stand in the log.
    sleep_until(began + 27.0);
    let log = "/tmp/copy-of-access.log";
    stage.run(&["cp", "/var/log/apache2/access.log", log]);
    let said = stage.toban(&["why", "--json", "--log", log]);
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    let answer = said.json();
    let finding = &answer["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{answer:#}");
    stage.assert_culprits(finding);
    say(&format!("why --json --log took {:.2} s", said.took.as_secs_f64()));

    assert_refused(&stage);
}

/// Also a person, in the middle of it all, does not get past the safety rules.
#[track_caller]
fn assert_refused(stage: &Stage) {
    let truth = &stage.truth;
    for (prefix, rule) in [
        (truth.balancer.unwrap().to_string(), "balancer:"),
        (truth.admin.to_string(), "login:"),
        (format!("{}/24", truth.admin), "login:"),
        (truth.gateway.to_string(), "gateway:"),
        (truth.web.address.to_string(), "own-address:"),
        ("127.0.0.1".to_owned(), "special-range:"),
        (truth.lan.supernet().unwrap().to_string(), "own-address:"),
        (Ipv4Net::new(truth.attackers.addresses[0], 8).unwrap().trunc().to_string(), "too-wide:"),
        ("::/0".to_owned(), "too-wide:"),
    ] {
        let prefix = prefix.parse::<Ipv4Net>().map_or(prefix, |net| net.trunc().to_string());
        let said = stage.toban(&["ban", &prefix]);
        assert_eq!(said.code, 3, "{prefix}: {}{}", said.out, said.err);
        assert!(said.out.contains("refused") && said.out.contains(rule), "{prefix}: {}", said.out);
    }
    assert_eq!(dropped(stage), []);
}

/// The engineer's table: what was looked at first, and was as on any other day. (How busy the disk is, is the
/// machine's and unknown on the first day.)
#[track_caller]
fn assert_vitals_usual(answer: &Value) {
    let vitals = answer["vitals"].as_array().unwrap();
    for wanted in ["cpu.busy", "load.1", "disk.used:", "disk.inodes:"] {
        let found: Vec<&Value> = vitals
            .iter()
            .filter(|v| {
                let name = v["name"].as_str().unwrap();
                name == wanted || (wanted.ends_with(':') && name.starts_with(wanted))
            })
            .collect();
        assert!(!found.is_empty(), "there is no vital {wanted}");
        for vital in found {
            assert_eq!(vital["state"], "usual", "{vital}");
        }
    }
}

#[test]
fn an_agent_that_may_act_brings_the_pages_back() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("connect-flood") else { return };
    stage.quiet(30);
    let mut agent = Agent::start(&stage, &["--mode", "act"]);
    say(&format!("on duty after {:.1} s", now() - agent.started));
    let began = stage.attack(150);
    let drop_at = all_dropped(&stage, DROP_S * 3.0);
    say(&format!("from the first packet to the drop: {:.1} s", drop_at - began));
    assert!(drop_at - began <= DROP_S, "{:.1} s\n{}", drop_at - began, Agent::words(&stage));

    let plan = stage.toban(&["actions", "--json"]).json()["actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|action| epoch(&action["at"]))
        .fold(f64::INFINITY, f64::min);
    let recovered = plan + RECOVERED_S;
    let up =
        wait_for(recovered - now(), "the balancer's word that the server is up", || is_up(&stage).then(now));
    sleep_until(recovered);
    assert!(is_up(&stage), "the balancer calls the server down again");
    let stats = stage.share_between(recovered, recovered + 18.0);
    say(&format!("the balancer says up {:.1} s after the plan's start; then {}", up - plan, brief(&stats)));
    assert!(stats.total > 150, "{}", brief(&stats));
    assert!(stats.ok_share.is_some_and(|share| share >= 0.99), "{}\n{}", brief(&stats), Agent::words(&stage));

    let held = dropped(&stage);
    stage.assert_harmless(&prefixes(&held));
    assert!(held.iter().any(|d| d.packets > 0.0), "nothing has been dropped: {held:?}");

    let worked = |action: &Value| action["action"] == "ban" && action["state"] == "worked";
    let actions = wait_for(60.0, "an action that worked", || {
        let actions = stage.toban(&["actions", "--json"]).json()["actions"].as_array().unwrap().clone();
        actions.iter().any(worked).then_some(actions)
    });
    for action in &actions {
        let targets = action["targets"].as_array().unwrap();
        if action["action"] == "ban" {
            stage.assert_harmless(&targets.iter().map(|t| net(t.as_str().unwrap())).collect::<Vec<_>>());
        }
        assert!(!matches!(action["state"].as_str(), Some("failed" | "refused")), "{action:#}");
    }
    let action = actions.iter().find(|a| worked(a)).unwrap();
    let figure = |of: &str| action[of]["apache.workers"].as_f64();
    let (predicted, measured) = (figure("predicted").unwrap(), figure("measured").unwrap());
    say(&format!("workers: {predicted} predicted, {measured} measured"));
    assert!(measured < stage.truth.web.worker_limit as f64 / 2.0, "{action:#}");
    assert!(agent.lives());
    let cost = agent.cost(&stage);
    say(&format!("the agent's cost: {cost}"));
    agent.stop(&stage);
    assert_case(&stage);
}

/// The incident as a file: judged again it is the same, byte for byte, and without its people it is still the same cause.
#[track_caller]
fn assert_case(stage: &Stage) {
    let id = the_incident(stage).to_string();
    let export = |to: &str, more: &[&str]| {
        let said = stage.toban(&[&["case", "export", &id, "-o", to], more].concat());
        assert_eq!(said.code, 0, "{}{}", said.out, said.err);
        say(said.err.trim());
    };
    export("/run/night.case", &[]);
    let replay = |case: &str| {
        let said = stage.toban(&["replay", case, "--json"]);
        assert_eq!((said.code, said.err.as_str()), (1, ""), "{}", said.out);
        said
    };
    let (first, again) = (replay("/run/night.case"), replay("/run/night.case"));
    assert_eq!(first.out, again.out);
    let finding = &first.json()["findings"][0];
    assert_eq!(finding["cause"], stage.truth.cause, "{finding:#}");
    stage.assert_culprits(finding);

    export("/run/nobody.case", &["--anonymize"]);
    let nobody = replay("/run/nobody.case").json();
    assert_eq!(nobody["findings"][0]["cause"], stage.truth.cause, "{nobody:#}");
    let packed = std::fs::read(stage.lab.path(stage.lab.web(), "/run/nobody.case").unwrap()).unwrap();
    let text = zstd::decode_all(&packed[packed.iter().position(|b| *b == b'\n').unwrap() + 1..]).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.len() > 100_000, "{}", text.len());
    let people = stage.truth.attackers.addresses.iter().chain(&stage.truth.clients.addresses);
    for address in people.map(ToString::to_string) {
        let leaked = text.match_indices(&address).any(|(at, found)| {
            let digit =
                |at: Option<usize>| at.and_then(|at| text.as_bytes().get(at)).is_some_and(u8::is_ascii_digit);
            !digit(at.checked_sub(1)) && !digit(Some(at + found.len()))
        });
        assert!(!leaked, "{address} stands in the anonymized case");
    }
}

/// Whether haproxy calls the server up, asked at its own socket.
fn is_up(stage: &Stage) -> bool {
    let socket = stage.lab.path("lb", "/run/haproxy/admin.sock").unwrap();
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"show stat\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let column = said.lines().next().unwrap().split(',').position(|name| name == "status").unwrap();
    let row = said.lines().find(|line| line.starts_with("web,web1,")).unwrap();
    row.split(',').nth(column).unwrap().starts_with("UP")
}

#[test]
fn an_incident_goes_on_after_kill_9_and_a_flush_and_no_ban_is_lost_or_doubled() {
    let _alone = alone();
    let Some(mut stage) = Stage::up("connect-flood") else { return };
    stage.quiet(30);
    let agent = Agent::start(&stage, &["--mode", "act"]);
    // Addresses that nobody has: a ban by hand that will end while we look.
    let nobody = format!("{}/24", stage.truth.never_answers.network());
    let began = stage.attack(200);
    let before = wait_for(45.0, "the kernel's drop of all attackers", || {
        let held = dropped(&stage);
        stage.missed(&prefixes(&held)).is_empty().then_some(held)
    });
    let by_hand = now();
    let said = stage.toban(&["ban", &nobody, "--for", "60s", "--reason", "a test"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    say(&format!("dropped after {:.1} s; now kill -9 and nft flush ruleset", by_hand - began));

    let incident = the_incident(&stage);
    agent.kill_9(&stage);
    assert_eq!(stage.run(&["nft", "flush", "ruleset"]).code, 0);
    assert_eq!(dropped(&stage), []);
    thread::sleep(Duration::from_secs(1));
    let killed_for = now() - by_hand;

    let agent = Agent::start(&stage, &["--mode", "act"]);
    let restored = wait_for(10.0, "the return of all bans", || {
        let held = prefixes(&dropped(&stage));
        (stage.missed(&held).is_empty() && held.contains(&net(&nobody))).then(now)
    });
    say(&format!(
        "{killed_for:.1} s without an agent; bans back {:.1} s after its start",
        restored - agent.started
    ));

    // Some looks later still: the same, each once, with the time that was left.
    thread::sleep(Duration::from_secs(8));
    let after = dropped(&stage);
    let mut unique = prefixes(&after);
    unique.dedup();
    assert_eq!(unique, prefixes(&after), "doubled");
    for ban in &before {
        let again = after.iter().find(|d| d.prefix == ban.prefix);
        let again = again.unwrap_or_else(|| panic!("{} is lost: {after:?}", ban.prefix));
        assert!(again.left_s < ban.left_s && again.left_s > ban.left_s - 60.0, "{ban:?} became {again:?}");
    }
    let attackers: Vec<_> = after.iter().map(|d| d.prefix).filter(|p| *p != net(&nobody)).collect();
    stage.assert_harmless(&attackers);
    assert_eq!(the_incident(&stage), incident);
    assert_banned_once(&stage);
    let bans = stage.toban(&["bans", "--json"]).json();
    let listed: Vec<_> =
        bans["bans"].as_array().unwrap().iter().map(|b| net(b["prefix"].as_str().unwrap())).collect();
    let mut sorted = listed.clone();
    sorted.sort();
    assert_eq!(sorted, prefixes(&after), "the list and the kernel differ");

    // The ban by hand was made for 60 s and has survived all that; it ends on time and not before.
    sleep_until(by_hand + 55.0);
    assert!(prefixes(&dropped(&stage)).contains(&net(&nobody)), "unbanned early");
    sleep_until(by_hand + 64.0);
    assert!(!prefixes(&dropped(&stage)).contains(&net(&nobody)), "not unbanned: {:?}", dropped(&stage));
    let bans = stage.toban(&["bans", "--json"]).json();
    assert!(!bans["bans"].as_array().unwrap().iter().any(|b| b["prefix"] == *nobody), "{bans:#}");

    let to = now();
    let stats = stage.lab.stats_between(to - 15.0, to - 1.0).unwrap();
    say(&format!("a minute after kill -9: {}", brief(&stats)));
    assert!(stats.ok_share.is_some_and(|share| share >= 0.99), "{}\n{}", brief(&stats), Agent::words(&stage));
    assert_eq!(the_incident(&stage), incident);
    assert_banned_once(&stage);
    agent.stop(&stage);
}

/// The id of the one incident that there is.
#[track_caller]
fn the_incident(stage: &Stage) -> i64 {
    let incidents = stage.toban(&["incidents", "--json"]).json();
    let all = incidents["incidents"].as_array().unwrap();
    assert_eq!(all.len(), 1, "{incidents:#}");
    assert_eq!(all[0]["cause"], stage.truth.cause);
    all[0]["id"].as_i64().unwrap()
}

/// No prefix was banned by two actions.
#[track_caller]
fn assert_banned_once(stage: &Stage) {
    let actions = stage.toban(&["actions", "--json"]).json();
    let mut banned: Vec<String> = actions["actions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|action| action["action"] == "ban")
        .flat_map(|action| action["targets"].as_array().unwrap())
        .map(|target| target.as_str().unwrap().to_owned())
        .collect();
    banned.sort();
    let all = banned.len();
    banned.dedup();
    assert_eq!(banned.len(), all, "{actions:#}");
}
