//! What the kernel drops, as nft reads it: independent of toban.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::Value;
use toban_lab::now;

use crate::stage::{Stage, wait_for};

/// A prefix that the kernel drops packets from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dropped {
    pub(crate) prefix: Ipv4Net,
    /// Seconds until it ends.
    pub(crate) left_s: f64,
    /// Of so many.
    pub(crate) timeout_s: f64,
    pub(crate) packets: f64,
}

/// Everything that a `drop` rule with a set of sources drops, once for each element.
pub(crate) fn dropped(stage: &Stage) -> Vec<Dropped> {
    let said = stage.run(&["nft", "-j", "list", "ruleset"]);
    assert_eq!(said.code, 0, "{}", said.err);
    read(&said.json())
}

fn read(ruleset: &Value) -> Vec<Dropped> {
    let objects = ruleset["nftables"].as_array().unwrap();
    let sets: BTreeMap<&str, &Value> = objects
        .iter()
        .filter_map(|object| object.get("set"))
        .map(|set| (set["name"].as_str().unwrap(), set))
        .collect();
    let mut all = Vec::new();
    for rule in objects.iter().filter_map(|object| object.get("rule")) {
        let expressions = rule["expr"].as_array().unwrap();
        if !expressions.iter().any(|e| e.get("drop").is_some()) {
            continue;
        }
        for expression in expressions {
            let (left, right) = (&expression["match"]["left"], &expression["match"]["right"]);
            let Some(name) = right.as_str().and_then(|text| text.strip_prefix('@')) else { continue };
            // `ip saddr @set`, or `ip saddr & mask @set`.
            let (field, mask) = match left.get("&").and_then(Value::as_array) {
                Some(and) => (&and[0], and[1].as_str().unwrap()),
                None => (left, "255.255.255.255"),
            };
            if field["payload"]["field"] != "saddr" || field["payload"]["protocol"] != "ip" {
                continue;
            }
            let length = u32::from(mask.parse::<Ipv4Addr>().unwrap()).count_ones() as u8;
            for element in sets[name].get("elem").and_then(Value::as_array).into_iter().flatten() {
                let element = &element["elem"];
                let address: Ipv4Addr = element["val"].as_str().unwrap().parse().unwrap();
                all.push(Dropped {
                    prefix: Ipv4Net::new(address, length).unwrap(),
                    left_s: element["expires"].as_f64().unwrap(),
                    timeout_s: element["timeout"].as_f64().unwrap(),
                    packets: element["counter"]["packets"].as_f64().unwrap_or(0.0),
                });
            }
        }
    }
    all.sort_by_key(|d| d.prefix);
    all
}

pub(crate) fn prefixes(dropped: &[Dropped]) -> Vec<Ipv4Net> {
    dropped.iter().map(|d| d.prefix).collect()
}

/// Waits until the kernel drops all attackers, and nobody else at any moment; when that was.
#[track_caller]
pub(crate) fn all_dropped(stage: &Stage, at_most_s: f64) -> f64 {
    wait_for(at_most_s, "the kernel's drop of all attackers", || {
        let held = prefixes(&dropped(stage));
        stage.assert_harmless(&held);
        stage.missed(&held).is_empty().then(now)
    })
}
