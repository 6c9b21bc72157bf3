//! A server that is gone: because of what it hands requests on to, and because of a mistyped line.

use serde_json::Value;
use toban_lab::now;

use crate::agent::Agent;
use crate::stage::{Said, Stage, alone, say, wait_for};

fn causes(answer: &Value) -> Vec<&str> {
    answer["findings"].as_array().unwrap().iter().map(|finding| finding["cause"].as_str().unwrap()).collect()
}

fn culprits(finding: &Value) -> Vec<(&str, &str)> {
    let all = finding["culprits"].as_array().unwrap();
    all.iter().map(|c| (c["kind"].as_str().unwrap(), c["value"].as_str().unwrap())).collect()
}

fn why(stage: &Stage) -> Said {
    let said = stage.toban(&["why", "--json", "--state", "/run/nothing-known"]);
    say(&format!("why --json took {:.2} s: {:?}", said.took.as_secs_f64(), causes(&said.json())));
    said
}

#[test]
fn what_is_gone_is_named_with_why() {
    let _alone = alone();
    let Some(stage) = Stage::up("bad-edit") else { return };
    stage.quiet(12);
    let php = stage.truth.where_["php"].clone();
    let agent = Agent::start(&stage, &[]);
    stage.quiet(12);

    // In the quiet there is nothing but the certificate, which runs out in days.
    let quiet = why(&stage).json();
    assert_eq!(causes(&quiet), ["certificate-expiry"], "{quiet:#}");
    assert_eq!(quiet["verdict"], "watch");
    let certificate = ("file", "/etc/ssl/lab/site.pem");
    assert_eq!(culprits(&quiet["findings"][0]), [certificate]);

    // php-fpm alone is stopped: the web server is well, and what it hands on to is gone.
    assert_eq!(stage.run(&["service", &format!("php{php}-fpm"), "stop"]).code, 0);
    let began = now();
    let socket = format!("/run/php/php{php}-fpm.sock");
    let opened = |cause: &str| {
        let incidents = stage.toban(&["incidents", "--json"]).json();
        let all = incidents["incidents"].as_array().unwrap().clone();
        all.into_iter().find(|incident| incident["cause"] == cause)
    };
    wait_for(60.0, "the agent's dependency-down", || opened("dependency-down"));
    say(&format!("dependency-down was opened after {:.1} s", now() - began));
    let cold = why(&stage).json();
    assert_eq!(causes(&cold), ["dependency-down", "certificate-expiry"], "{cold:#}");
    assert_eq!(culprits(&cold["findings"][0]), [("upstream", &*socket)]);
    assert_eq!(stage.run(&["service", &format!("php{php}-fpm"), "start"]).code, 0);

    // The mistyped line.
    assert_eq!(stage.run(&["/usr/local/sbin/edit-and-restart"]).code, 0);
    let began = now();
    wait_for(60.0, "the agent's config-error", || opened("config-error"));
    say(&format!("config-error was opened after {:.1} s", now() - began));
    let cold = why(&stage);
    assert!(cold.took.as_secs_f64() < 12.0, "{:?}", cold.took);
    let cold = cold.json();
    // The mistyped line is the one that names the certificate: who never saw the old one cannot know of it.
    assert_eq!(causes(&cold), [&*stage.truth.cause], "{cold:#}");
    let finding = &cold["findings"][0];
    assert_eq!(culprits(finding), [("file", &*stage.truth.where_["file"])], "{finding:#}");
    assert!(
        finding["effects"].as_array().unwrap().iter().any(|e| e["what"] == "service-down"),
        "{finding:#}"
    );
    assert!(finding["summary"].as_str().unwrap().contains("SSLCertficateFile"), "{finding:#}");
    agent.stop(&stage);
}
