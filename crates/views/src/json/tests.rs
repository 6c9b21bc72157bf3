//! The documents byte for byte, and the fields that scripts rely on.

use expect_test::expect_file;
use serde_json::Value;

use super::*;
use crate::fixtures::{self, AT, tokyo};

#[test]
fn why_has_the_contracts_fields() {
    let situation = fixtures::situation();
    let findings = [fixtures::finding()];
    let history_from = Some(Time::from_secs(AT - 9 * 86_400));
    let answer = Answer { history_from, ..Answer::new(&situation, Verdict::Incident, &findings) };
    let text = why(&answer, Lang::En, &tokyo());
    expect_file!["documents/why.json"].assert_eq(&text);

    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["version"], 1);
    assert_eq!(json["at"], "2020-12-24T19:02:40+09:00");
    assert_eq!(json["window"]["to"], json["at"]);
    assert_eq!(json["history_from"], "2020-12-15T19:02:40+09:00");
    assert_eq!(json["history_s"], 9 * 86_400);
    let finding = &json["findings"][0];
    assert_eq!(finding["resource"]["used"].as_u64(), Some(300));
    assert_eq!(finding["culprits"][0]["where"]["via_balancer"], "no");
    assert_eq!(finding["culprits"][0].get("pid"), None);
    assert_eq!(finding["culprits"][1]["age_s"], 86_400 - 3600);
    let remedy = &finding["remedies"][0];
    assert_eq!((remedy["action"].as_str(), remedy["target"].as_str()), (Some("ban"), Some("136.175.9.0/24")));
    assert_eq!(remedy["ports"], serde_json::json!([80, 443]));
    assert_eq!(remedy["predicted"]["apache.workers"], 29);
    assert_eq!(remedy["collateral"]["of"], 48_211);

    let japanese: Value = serde_json::from_str(&why(&answer, Lang::Ja, &tokyo())).unwrap();
    assert_ne!(japanese["findings"][0]["summary"], finding["summary"]);
    assert_eq!(japanese["findings"][0]["culprits"], finding["culprits"]);
}

#[test]
fn explain_adds_what_was_found() {
    let situation = fixtures::situation();
    let answer = Answer { explain: true, ..Answer::new(&situation, Verdict::Ok, &[]) };
    let json: Value = serde_json::from_str(&why(&answer, Lang::En, &tokyo())).unwrap();
    assert_eq!(json["found"]["services"][0]["worker_limit"], 300);
    assert_eq!(json["verdict"], "ok");
}

#[test]
fn the_lists_are_one_document_each() {
    let now = Time::from_secs(AT + 600);
    let tz = tokyo();
    expect_file!["documents/bans.json"].assert_eq(&bans(&fixtures::bans(), now, &tz));
    let json: Value = serde_json::from_str(&actions(&fixtures::actions(), Lang::Ja, &tz)).unwrap();
    assert_eq!(json["actions"][0]["state"], "worked");
    assert_eq!(json["actions"][0]["measured"]["apache.workers"], 31);
    assert_eq!(json["actions"][0]["steps"][2]["service"], "php-fpm");
    let json: Value = serde_json::from_str(&incidents(&fixtures::incidents(), now, Lang::En, &tz)).unwrap();
    assert_eq!(json["incidents"][0]["ended"], Value::Null);
    assert_eq!(json["incidents"][0]["lasted_s"], 10_363 + 600);
    let situation = fixtures::situation();
    let json: Value =
        serde_json::from_str(&status(&Answer::new(&situation, Verdict::Watch, &[]), Lang::En, &tz)).unwrap();
    assert_eq!(json["vitals"][0]["state"], "high");
    assert_eq!(json["verdict"], "watch");
}

#[test]
fn what_is_no_number_is_null() {
    assert_eq!(
        serde_json::to_string(&[Number(f64::NAN), Number(1.0), Number(0.5), Number(-0.0)]).unwrap(),
        "[null,1,0.5,0]"
    );
}
