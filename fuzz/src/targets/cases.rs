//! Any documents as a case that a stranger sent, judged again and rid of its people.
//!
//! The input is what stands in a case's frame. It is read or refused; what is read is judged, twice the same, and can be
//! anonymized, whatever its numbers say.

use std::collections::BTreeMap;

use toban_diagnose::diagnose;
use toban_model::{
    Client, Finding, Holder, Host, Incident, IncidentId, Look, OomKill, ProcessId, Rate, ResourceUse,
    ServerView, Side, Situation, Symptom, SymptomKind, Text, Time, Traffic, Via, Waiting, Worker,
};
use toban_record::Case;
use toban_record::case::{Anonymizer, MAGIC};

use crate::Target;

pub(super) const TARGET: Target = Target { id: "cases", run, seeds };

fn run(input: &[u8]) {
    let packed = zstd::bulk::compress(input, 1).expect("memory takes all");
    let Ok(case) = Case::from_reader(&mut &[MAGIC, &packed].concat()[..]) else { return };
    for look in &case.looks {
        let diagnosis = diagnose(&look.situation);
        assert_eq!(diagnosis, diagnose(&look.situation), "a replay is exact");
        for finding in &diagnosis.findings {
            assert!(is_told(finding), "{finding:?}");
        }
    }
    if let Ok(nobody) = Anonymizer::new([7; 32]).case(&case) {
        assert_eq!(nobody.looks.len(), case.looks.len());
    }
}

fn is_told(finding: &Finding) -> bool {
    let texts = [&finding.summary].into_iter().chain(finding.evidence.iter().map(|evidence| &evidence.text));
    (0.0..=1.0).contains(&finding.confidence)
        && texts.clone().all(|text| !text.en.is_empty() && !text.ja.is_empty())
}

fn seeds() -> Vec<(String, Vec<u8>)> {
    let shapes = [
        ("connect", "CONNECT", "www.example.net:443", Via::Direct, Waiting::Backend),
        ("flood", "POST", "/xmlrpc.php", Via::None, Waiting::Backend),
        ("slow", "GET", "/", Via::None, Waiting::Client),
        ("backend", "GET", "/", Via::Balancer, Waiting::Backend),
    ];
    shapes
        .into_iter()
        .map(|(name, method, path, via, waiting)| {
            let at = Time::from_secs(1_700_000_000);
            let incident = Incident {
                id: IncidentId(1),
                since: at,
                opened: at,
                ended: None,
                cause: String::new(),
                findings: Vec::new(),
            };
            let look = Look { situation: situation(at, method, path, via, waiting), ..Look::default() };
            let documents = [
                serde_json::to_string(&BTreeMap::from([("incident", incident)])),
                serde_json::to_string(&BTreeMap::from([("look", look)])),
            ];
            let text: String =
                documents.into_iter().map(|text| text.expect("plain structs") + "\n").collect();
            (name.to_owned(), text.into_bytes())
        })
        .collect()
}

/// A server whose workers are held by one network.
fn situation(at: Time, method: &str, path: &str, via: Via, waiting: Waiting) -> Situation {
    let peer = if via == Via::Balancer { "10.0.0.1" } else { "198.51.100.7" };
    let peer = peer.parse().expect("an address");
    let holder = |requests: u32, held_s: f64, usual: bool| Holder {
        client: Client {
            address: if usual {
                "192.0.2.9".parse().expect("an address")
            } else {
                "198.51.100.7".parse().expect("an address")
            },
            peer,
            via,
        },
        method: if usual { "GET" } else { method }.into(),
        path: if usual { "/" } else { path }.into(),
        agent: "".into(),
        requests,
        ok: requests,
        server_errors: 0,
        held_s,
    };
    let side = |seconds: f64, holders| Side { seconds, holders, ..Side::default() };
    let since = Time::from_secs(at.as_secs() - 20);
    Situation {
        at,
        from: since,
        host: Host { name: "web1".into(), cores: 2, memory_bytes: 4 << 30, ..Host::default() },
        symptoms: vec![Symptom {
            kind: SymptomKind::Exhausted,
            what: "apache.workers".into(),
            text: Text::fixed("full", "満杯"),
            value: 10.0,
            usual: None,
            since,
        }],
        resources: vec![ResourceUse {
            name: "apache.workers".into(),
            used: 10.0,
            limit: Some(10.0),
            usual: Some([1.0, 3.0]),
            exhausted_since: Some(since),
            limit_from: None,
        }],
        servers: vec![ServerView {
            service: "apache".into(),
            at,
            workers: (0..10)
                .map(|n| Worker {
                    process: ProcessId { pid: 100 + n, start_ticks: 1 },
                    peer: Some((peer, 40_000).into()),
                    port: Some(80),
                    held_ms: Some(5000),
                    waiting,
                    method: None,
                    path: None,
                    asks: None,
                    rss_bytes: 1 << 24,
                })
                .collect(),
            busy: 10,
            limit: Some(10),
            queue: Vec::new(),
            queue_len: 3,
            queue_limit: 511,
        }],
        traffic: vec![Traffic {
            service: "apache".into(),
            now: side(60.0, vec![holder(5, 100.0, false), holder(1, 0.1, true)]),
            usual: side(200.0, vec![holder(2000, 60.0, true)]),
            live: (0..10).map(|_| holder(1, 5.0, false)).collect(),
            requests: Rate { now: 1.0, usual: 10.0 },
            clients: Rate { now: 2.0, usual: 50.0 },
            onset: Some(since),
            last_line: Some(at),
            held_s_usual_median: 0.02,
            ..Traffic::default()
        }],
        kernel: toban_model::KernelNews {
            oom: vec![OomKill {
                at: since,
                pid: 7,
                comm: "apache2".into(),
                anon_rss_bytes: 1 << 25,
                cgroup: true,
            }],
            oom_count: 1,
            ..toban_model::KernelNews::default()
        },
        usual_seconds: 200.0,
        ..Situation::default()
    }
}
