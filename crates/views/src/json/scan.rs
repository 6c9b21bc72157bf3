//! `toban scan --json`: one object a line.

use std::net::IpAddr;

use serde::Serialize;
use toban_model::{Blamed, Busiest, Named, Origin};

/// Those who are blamed, and then what was busiest if that was asked for; one object a line.
///
/// With several `logs`, which are named here, each line number is also told with its log. What is busiest has `"top"`
/// with its dimension. A count lies between `requests` and `requests + error`.
pub fn scan(blamed: &[Blamed], busiest: Option<&Busiest>, logs: &[String]) -> String {
    #[derive(Serialize)]
    struct LogJson<'a> {
        log: &'a str,
        lines: Vec<u64>,
    }
    #[derive(Serialize)]
    struct BlamedJson<'a> {
        client: Option<IpAddr>,
        prefix: Option<String>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        clients: &'a [IpAddr],
        cause: &'a str,
        service: &'a str,
        count: u32,
        first: f64,
        last: f64,
        lines: Vec<u64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        logs: Vec<LogJson<'a>>,
    }
    let mut out = String::new();
    for blamed in blamed {
        let by_log = blamed.lines.chunk_by(|(one, _), (other, _)| one == other).map(|lines| LogJson {
            log: logs.get(lines[0].0).map_or("", String::as_str),
            lines: lines.iter().map(|(_, line)| *line).collect(),
        });
        push(
            &mut out,
            &BlamedJson {
                client: blamed.client,
                prefix: blamed.prefix.map(|prefix| prefix.to_string()),
                clients: &blamed.clients,
                cause: blamed.cause,
                service: &blamed.service,
                count: blamed.count,
                first: blamed.first.as_secs_f64(),
                last: blamed.last.as_secs_f64(),
                lines: blamed.lines.iter().map(|(_, line)| *line).collect(),
                logs: if logs.len() > 1 { by_log.collect() } else { Vec::new() },
            },
        );
    }
    if let Some(busiest) = busiest {
        tops(&mut out, busiest);
    }
    out
}

#[derive(Serialize)]
struct Top<V> {
    top: &'static str,
    value: V,
    requests: u64,
    error: u64,
}

fn tops(out: &mut String, busiest: &Busiest) {
    #[derive(Serialize)]
    struct CombinationJson<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        method: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        agent: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct DurationJson {
        top: &'static str,
        value: &'static str,
        seconds: f64,
    }
    for Origin { prefix, requests, missed } in &busiest.addresses {
        push(out, &top("address", prefix.addr().to_string(), *requests, *missed));
    }
    for Origin { prefix, requests, missed } in &busiest.prefixes {
        push(out, &top("prefix", prefix.to_string(), *requests, *missed));
    }
    for (dimension, all) in [("path", &busiest.paths), ("agent", &busiest.agents)] {
        for Named { name, requests, missed } in all {
            push(out, &top(dimension, &**name, *requests, *missed));
        }
    }
    for combined in &busiest.combinations {
        let value = CombinationJson {
            address: combined.client,
            method: Some(combined.method).filter(|method| *method != "*"),
            path: combined.path.as_deref(),
            agent: combined.agent.as_deref(),
        };
        push(out, &top("combination", value, combined.requests, combined.missed));
    }
    let (clients, error) = busiest.clients;
    push(out, &Top { top: "clients", value: (), requests: clients, error });
    for (value, seconds) in ["p50", "p90", "p99"].into_iter().zip(busiest.durations_s.into_iter().flatten()) {
        push(out, &DurationJson { top: "duration", value, seconds });
    }
}

fn top<V>(top: &'static str, value: V, requests: u32, missed: u32) -> Top<V> {
    Top { top, value, requests: requests.into(), error: missed.into() }
}

fn push(out: &mut String, object: &impl Serialize) {
    out.push_str(&serde_json::to_string(object).expect("numbers and text serialize"));
    out.push('\n');
}
