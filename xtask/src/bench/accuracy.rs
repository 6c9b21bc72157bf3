//! toban's answer beside the truth: who was found, who was blamed wrongly, and whether each count is within its bounds.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use ipnet::IpNet;
use serde_json::Value;

use super::truth::{Truth, Which};

/// What has less than this share of all lines may be missing from a list that has room for it.
const HEAVY: f64 = 0.002;
/// Quantiles of durations may be wrong by this share.
const DURATION_WITHIN: f64 = 0.05;

/// What `toban scan --json --top N` said.
pub(crate) struct Answer {
    blamed: Vec<Blamed>,
    top: Vec<Top>,
    /// Distinct clients, and how far off that may be.
    clients: Option<(f64, f64)>,
    /// The shares of requests and their seconds.
    durations: Vec<(f64, f64)>,
}

struct Blamed {
    /// Whoever is named: addresses and networks.
    who: Vec<IpNet>,
    count: u64,
    lines: Vec<u64>,
}

struct Top {
    of: Dimension,
    shown: String,
    which: Which,
    /// The bounds of its requests, both included.
    requests: (u64, u64),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Dimension {
    Address,
    Prefix,
    Path,
    Agent,
    Combination,
}

const DIMENSIONS: [(Dimension, &str); 5] = [
    (Dimension::Address, "address"),
    (Dimension::Prefix, "prefix"),
    (Dimension::Path, "path"),
    (Dimension::Agent, "agent"),
    (Dimension::Combination, "combination"),
];

impl Answer {
    /// Reads it: one object a line. What is not as agreed is an error, for then nothing can be said about the rest.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut answer = Self { blamed: Vec::new(), top: Vec::new(), clients: None, durations: Vec::new() };
        for line in text.lines() {
            let object: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
            answer.take(&object).with_context(|| format!("not understood: {line}"))?;
        }
        Ok(answer)
    }

    fn take(&mut self, object: &Value) -> Result<()> {
        match object["top"].as_str() {
            None => self.blamed.push(blamed(object)?),
            Some("clients") => {
                self.clients = Some((number(object, "requests")?, number(object, "error")?));
            }
            Some("duration") => {
                let share =
                    object["value"].as_str().and_then(|value| value.strip_prefix('p')?.parse::<f64>().ok());
                let share = share.context("value is not such as p50")? / 100.0;
                self.durations.push((share, number(object, "seconds")?));
            }
            Some(name) => {
                let of =
                    DIMENSIONS.iter().find(|(_, known)| *known == name).context("an unknown dimension")?.0;
                let which = which(of, &object["value"])?;
                let (least, error) = (number(object, "requests")? as u64, number(object, "error")? as u64);
                let shown = object["value"].as_str().map_or(object["value"].to_string(), str::to_owned);
                self.top.push(Top { of, shown, which, requests: (least, least + error) });
            }
        }
        Ok(())
    }
}

fn number(object: &Value, key: &str) -> Result<f64> {
    object[key].as_f64().filter(|number| *number >= 0.0).with_context(|| format!("{key} is no number"))
}

fn network(text: &str) -> Result<IpNet> {
    let parsed = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    parsed.with_context(|| format!("{text} is no address or prefix"))
}

fn blamed(object: &Value) -> Result<Blamed> {
    let mut who = Vec::new();
    for key in ["client", "prefix"] {
        who.extend(object[key].as_str().map(network).transpose()?);
    }
    for client in object["clients"].as_array().into_iter().flatten() {
        who.push(network(client.as_str().context("clients are not strings")?)?);
    }
    if who.is_empty() || object["cause"].as_str().is_none() {
        bail!("nobody is named, or no cause");
    }
    let lines = object["lines"].as_array().context("lines are missing")?.iter().filter_map(Value::as_u64);
    Ok(Blamed { who, count: number(object, "count")? as u64, lines: lines.collect() })
}

fn which(of: Dimension, value: &Value) -> Result<Which> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let alone = || text(value).context("value is no string");
    Ok(match of {
        Dimension::Address | Dimension::Prefix => {
            Which { client: Some(network(&alone()?)?), ..Which::default() }
        }
        Dimension::Path => Which { path: Some(alone()?), ..Which::default() },
        Dimension::Agent => Which { agent: Some(alone()?), ..Which::default() },
        Dimension::Combination => {
            value.as_object().context("value is no object")?;
            Which {
                client: value["address"].as_str().map(network).transpose()?,
                method: text(&value["method"]),
                path: text(&value["path"]),
                agent: text(&value["agent"]),
            }
        }
    })
}

/// One thing that was compared.
pub(crate) struct Check {
    pub(crate) what: String,
    /// How it is, in a few words.
    pub(crate) remark: String,
    /// All that is wrong with it.
    pub(crate) wrong: Vec<String>,
}

/// Compares an answer with the truth. `top` is how long its lists may be; 0: there are none.
pub(crate) fn compare(truth: &Truth, answer: &Answer, top: usize) -> Vec<Check> {
    let mut checks =
        vec![found(truth, answer), strangers(truth, answer), victims(truth, answer), lines(truth, answer)];
    if top > 0 {
        checks.extend(DIMENSIONS.iter().map(|(of, name)| list(truth, answer, *of, name, top)));
        checks.push(clients(truth, answer));
        checks.push(durations(truth, answer));
    }
    checks
}

fn found(truth: &Truth, answer: &Answer) -> Check {
    let named = |client: &IpAddr| answer.blamed.iter().flat_map(|b| &b.who).any(|who| who.contains(client));
    let (mut plain, mut faint, mut wrong) = ((0, 0), (0, 0), Vec::new());
    for (client, offender) in &truth.offenders {
        let is_plain = offender.is_plain();
        let (all, found) = if is_plain { (&mut plain.0, &mut plain.1) } else { (&mut faint.0, &mut faint.1) };
        *all += 1;
        if named(client) {
            *found += 1;
        } else if is_plain {
            wrong.push(format!("{client} is not named, with {:?}", offender.offences));
        }
    }
    let remark = format!("{} of {} who are plain, {} of {} others", plain.1, plain.0, faint.1, faint.0);
    Check { what: "attackers found".into(), remark, wrong }
}

fn strangers(truth: &Truth, answer: &Answer) -> Check {
    let mut wrong = BTreeSet::new();
    for who in answer.blamed.iter().flat_map(|blamed| &blamed.who) {
        let mut there = 0;
        for client in truth.clients_of(Some(*who)) {
            there += 1;
            if !truth.offenders.contains_key(&client) {
                wrong.insert(format!("{who} is blamed, and {client} did nothing"));
            }
        }
        if there == 0 {
            wrong.insert(format!("{who} is blamed, and was never here"));
        }
    }
    let (wrong, named) = (Vec::from_iter(wrong), answer.blamed.len());
    Check { what: "blamed wrongly".into(), remark: format!("{} of {named} named", wrong.len()), wrong }
}

fn victims(truth: &Truth, answer: &Answer) -> Check {
    let top = answer.top.iter().filter(|top| top.of != Dimension::Combination || top.which.client.is_some());
    let named: Vec<&IpNet> = answer
        .blamed
        .iter()
        .flat_map(|blamed| &blamed.who)
        .chain(top.filter_map(|top| top.which.client.as_ref()))
        .collect();
    let is_named = |victim: &&IpAddr| named.iter().any(|network| network.contains(*victim));
    let wrong: Vec<String> = truth
        .victims
        .iter()
        .filter(is_named)
        .map(|v| format!("{v} is named, and is only written about"))
        .collect();
    let remark = format!("{} of {}", wrong.len(), truth.victims.len());
    Check { what: "victims of forged lines named".into(), remark, wrong }
}

fn lines(truth: &Truth, answer: &Answer) -> Check {
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for Blamed { who, count, lines } in &answer.blamed {
        let theirs =
            || truth.offenders.iter().filter(|(client, _)| who.iter().any(|net| net.contains(*client)));
        let name = &who[0];
        let count_max = theirs().map(|(_, offender)| offender.count_max()).sum::<u64>();
        if *count == 0 || *count > count_max {
            wrong.push(format!("{name}: a count of {count}, but it can be {count_max} at most"));
        }
        let foreign = lines.iter().find(|line| theirs().all(|(_, o)| o.lines.binary_search(line).is_err()));
        wrong.extend(foreign.map(|line| format!("{name}: line {line} is not theirs")));
        compared += lines.len();
    }
    Check {
        what: "lines and counts of those blamed".into(),
        remark: format!("{compared} lines compared"),
        wrong,
    }
}

fn list(truth: &Truth, answer: &Answer, of: Dimension, name: &str, top: usize) -> Check {
    let listed: Vec<&Top> = answer.top.iter().filter(|top| top.of == of).collect();
    let (mut wrong, mut exact) = (Vec::new(), 0);
    if listed.len() > top {
        wrong.push(format!("{} are listed", listed.len()));
    }
    for Top { shown, which, requests: (least, most), .. } in &listed {
        let is_template = |word: &Option<String>| word.as_deref().is_some_and(|word| word.contains('*'));
        let varies = which.path.as_ref().is_some_and(|path| truth.paths().all(|known| known != path));
        if !varies && !is_template(&which.agent) {
            exact += 1;
            let really = truth.requests(which);
            if !(*least..=*most).contains(&really) {
                wrong.push(format!("{shown}: between {least} and {most}, but it is {really}"));
            }
        } else {
            // What toban puts together is its own affair; it cannot have more than all that could belong to it.
            let could = at_most(truth, which);
            if *least > could {
                wrong.push(format!("{shown}: at least {least}, but all that could be meant are {could}"));
            }
        }
    }
    // Whatever certainly has more than one that is listed should stand before it.
    let beaten = listed.iter().map(|top| top.requests.1).min().unwrap_or(u64::MAX - 1);
    let heavy = if listed.len() < top { (truth.lines as f64 * HEAVY) as u64 } else { u64::MAX };
    let missed = heaviest(truth, of, heavy.min(beaten + 1))
        .into_iter()
        .filter(|(which, _)| !listed.iter().any(|top| covers(of, &top.which, which)));
    let before = wrong.len();
    wrong.extend(missed.map(|(which, count)| format!("{which:?} is missing, with {count}")));
    let remark = format!(
        "{} listed, {exact} exactly comparable, {before} out of bounds, {} missing",
        listed.len(),
        wrong.len() - before
    );
    Check { what: format!("top {name}"), remark, wrong }
}

/// All requests that a template can stand for: those whose path varies, and those whose path fits it.
fn at_most(truth: &Truth, which: &Which) -> u64 {
    let mut which = which.clone();
    if which.agent.as_deref() == Some("*") {
        which.agent = None;
    }
    let Some(template) = which.path.take() else { return truth.requests(&which) };
    let fits = |path: &&str| {
        let (mut parts, mut stars) = (path.split('/'), template.split('/'));
        template == "*"
            || stars.by_ref().all(|star| parts.next().is_some_and(|part| star == "*" || star == part))
                && parts.next().is_none()
    };
    let paths = std::iter::once("").chain(truth.paths().filter(fits));
    paths.map(|path| truth.requests(&Which { path: Some(path.to_owned()), ..which.clone() })).sum()
}

/// Everything of a dimension that has at least so many requests.
fn heaviest(truth: &Truth, of: Dimension, at_least: u64) -> Vec<(Which, u64)> {
    let client = |(network, count)| (Which { client: Some(network), ..Which::default() }, count);
    let words: Vec<Which> = match of {
        Dimension::Address => {
            return truth.networks(32, 128, None, at_least).into_iter().map(client).collect();
        }
        Dimension::Prefix => return truth.networks(24, 64, None, at_least).into_iter().map(client).collect(),
        Dimension::Combination => {
            let pairs = truth.paths().flat_map(|path| {
                let pair = move |(network, count)| {
                    (Which { client: Some(network), path: Some(path.to_owned()), ..Which::default() }, count)
                };
                truth.networks(32, 128, Some(path), at_least).into_iter().map(pair)
            });
            return pairs.collect();
        }
        Dimension::Path => {
            truth.paths().map(|path| Which { path: Some(path.to_owned()), ..Which::default() }).collect()
        }
        Dimension::Agent => {
            truth.agents().map(|agent| Which { agent: Some(agent.to_owned()), ..Which::default() }).collect()
        }
    };
    let counted = words.into_iter().map(|which| (truth.requests(&which), which));
    counted.filter(|(count, _)| *count >= at_least).map(|(count, which)| (which, count)).collect()
}

/// Whether something that is listed stands for it: the same, or a network around it or in it, or a combination that
/// does not contradict it.
fn covers(of: Dimension, listed: &Which, which: &Which) -> bool {
    let agrees =
        |listed: &Option<String>, is: &Option<String>| listed.is_none() || is.is_none() || listed == is;
    let near = match (&listed.client, &which.client) {
        (Some(listed), Some(is)) if of == Dimension::Prefix => listed.contains(is) || is.contains(listed),
        (Some(listed), Some(is)) => listed.contains(is),
        (None, _) => true,
        (Some(_), None) => false,
    };
    near && agrees(&listed.method, &which.method)
        && agrees(&listed.path, &which.path)
        && agrees(&listed.agent, &which.agent)
}

fn clients(truth: &Truth, answer: &Answer) -> Check {
    let really = truth.clients().count() as f64;
    let (remark, wrong) = match answer.clients {
        None => ("missing".into(), vec!["they are not estimated".into()]),
        Some((estimate, error)) => {
            let remark = format!("{estimate:.0} ± {error:.0}, really {really}");
            let far = ((estimate - really).abs() > error).then(|| remark.clone());
            (remark, far.into_iter().collect())
        }
    };
    Check { what: "distinct clients".into(), remark, wrong }
}

fn durations(truth: &Truth, answer: &Answer) -> Check {
    let (mut remarks, mut wrong) = (Vec::new(), Vec::new());
    if answer.durations.is_empty() {
        wrong.push("they are not estimated".into());
    }
    for (share, said) in &answer.durations {
        let really = truth.duration(*share).unwrap_or(0.0);
        let remark = format!("p{:.0} {said:.6} s, really {really:.6} s", share * 100.0);
        if (said - really).abs() > really * DURATION_WITHIN {
            wrong.push(remark.clone());
        }
        remarks.push(remark);
    }
    Check { what: "durations".into(), remark: remarks.join("; "), wrong }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::bench::generate::{Access, DAY, Distinct, Generate, Sshd};

    const TOP: usize = 20;

    /// A right answer. Tests spoil it.
    fn right(truth: &Truth) -> Vec<Value> {
        let mut answer = Vec::new();
        for (client, offender) in truth.offenders.iter().filter(|(_, offender)| offender.is_plain()) {
            answer.push(json!({
                "client": client, "prefix": null, "cause": "credential-attack", "service": "apache",
                "count": offender.lines.len(), "first": 0.0, "last": 1.0, "lines": offender.lines,
            }));
        }
        for (of, name) in DIMENSIONS {
            let mut all = heaviest(truth, of, 1);
            all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
            for (which, count) in all.into_iter().take(TOP) {
                let client = which.client.map(|network| match of {
                    Dimension::Prefix => network.to_string(),
                    _ => network.addr().to_string(),
                });
                let value = match of {
                    Dimension::Address | Dimension::Prefix => json!(client),
                    Dimension::Path => json!(which.path),
                    Dimension::Agent => json!(which.agent),
                    Dimension::Combination => json!({"address": client, "path": which.path}),
                };
                answer.push(json!({"top": name, "value": value, "requests": count - count / 100, "error": count / 50}));
            }
        }
        answer.push(
            json!({"top": "clients", "value": null, "requests": truth.clients().count() + 9, "error": 10}),
        );
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            answer.push(
                json!({"top": "duration", "value": name, "seconds": truth.duration(share).map(|really| really * 1.01)}),
            );
        }
        answer
    }

    fn judge(truth: &Truth, answer: &[Value], top: usize) -> Vec<Check> {
        let text: Vec<String> = answer.iter().map(Value::to_string).collect();
        compare(truth, &Answer::read(&text.join("\n")).unwrap(), top)
    }

    /// The names of what is wrong.
    fn wrong(checks: &[Check]) -> Vec<&str> {
        checks.iter().filter(|check| !check.wrong.is_empty()).map(|check| check.what.as_str()).collect()
    }

    fn first<'a>(answer: &'a mut [Value], top: &str) -> &'a mut Value {
        answer.iter_mut().find(|object| object["top"] == top).unwrap()
    }

    #[test]
    fn a_right_answer_passes_and_a_spoilt_one_does_not() {
        let truth = Truth::of(&Access::new(11, 60_000, DAY));
        let answer = right(&truth);
        assert_eq!(wrong(&judge(&truth, &answer, TOP)), [""; 0]);
        let usual = truth.clients().find(|client| !truth.offenders.contains_key(client)).unwrap();
        let spoilt = |spoil: &dyn Fn(&mut Vec<Value>), expected: &[&str]| {
            let mut answer = answer.clone();
            spoil(&mut answer);
            assert_eq!(wrong(&judge(&truth, &answer, TOP)), expected);
        };
        spoilt(&|answer| drop(answer.remove(3)), &["attackers found"]);
        spoilt(&|answer| answer[2]["clients"] = json!([usual]), &["blamed wrongly"]);
        spoilt(&|answer| answer[0]["prefix"] = json!("8.8.8.0/24"), &["blamed wrongly"]);
        spoilt(
            &|answer| answer[0]["clients"] = json!([truth.victims[1]]),
            &["blamed wrongly", "victims of forged lines named"],
        );
        spoilt(
            &|answer| answer[1]["lines"] = answer[2]["lines"].clone(),
            &["lines and counts of those blamed"],
        );
        spoilt(&|answer| answer[1]["count"] = json!(70_000), &["lines and counts of those blamed"]);
        for (_, name) in DIMENSIONS {
            let wrong = [&*format!("top {name}")];
            spoilt(&|answer| answer.retain(|object| object["top"] != name), &wrong);
            spoilt(
                &|answer| {
                    let top = first(answer, name);
                    top["requests"] = json!(top["requests"].as_u64().unwrap() * 2);
                },
                &wrong,
            );
            spoilt(
                &|answer| {
                    let top = first(answer, name);
                    top["requests"] = json!(top["requests"].as_u64().unwrap() / 2);
                },
                &wrong,
            );
        }
        // The busiest is not there, and the others are.
        for name in ["address", "prefix", "agent", "path"] {
            let spoil = |answer: &mut Vec<Value>| {
                let at = answer.iter().position(|object| object["top"] == name).unwrap();
                answer.remove(at);
            };
            spoilt(&spoil, &[&format!("top {name}")]);
        }
        spoilt(
            &|answer| first(answer, "address")["value"] = json!(truth.victims[0]),
            &["victims of forged lines named", "top address"],
        );
        // Only few paths can be meant by the one, and many by the other.
        spoilt(&|answer| first(answer, "path")["value"] = json!("/product/*"), &["top path"]);
        let product = json!({"top": "path", "value": "/product/*", "requests": 9_000, "error": 0});
        spoilt(&|answer| answer.push(product.clone()), &[]);
        spoilt(&|answer| first(answer, "clients")["requests"] = json!(7), &["distinct clients"]);
        spoilt(&|answer| first(answer, "duration")["seconds"] = json!(77.0), &["durations"]);
        spoilt(
            &|answer| answer.clear(),
            &[
                "attackers found",
                "top address",
                "top prefix",
                "top path",
                "top agent",
                "top combination",
                "distinct clients",
                "durations",
            ],
        );
    }

    #[test]
    fn what_is_not_as_agreed_is_no_answer() {
        for text in [
            "scanned 5 lines",
            r#"{"client": null, "prefix": null, "cause": "scanner", "count": 1, "lines": [1]}"#,
            r#"{"top": "address", "value": "web1", "requests": 1, "error": 0}"#,
            r#"{"top": "address", "value": "5.1.2.3", "requests": -1, "error": 0}"#,
            r#"{"top": "weather", "value": "5.1.2.3", "requests": 1, "error": 0}"#,
        ] {
            assert!(Answer::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn guessing_at_sshd_is_compared_too() {
        let truth = Truth::of(&Sshd::new(12, 30_000));
        let mut answer = right(&truth);
        answer.retain(|object| object["top"].is_null());
        assert_eq!(wrong(&judge(&truth, &answer, 0)), [""; 0]);
        assert!(answer.len() > 10, "{} plain attackers", answer.len());
        answer.pop();
        // Someone who mistyped once.
        let mut mistyped = None;
        Sshd::new(12, 30_000).each(&mut |line| {
            if line.offence.is_none() && String::from_utf8_lossy(line.text).contains("Failed password") {
                mistyped = line.client;
            }
        });
        answer[0]["client"] = json!(mistyped);
        let wrong = wrong(&judge(&truth, &answer, 0)).join(", ");
        assert_eq!(wrong, "attackers found, blamed wrongly, lines and counts of those blamed");
    }

    #[test]
    fn in_a_crowd_of_strangers_nobody_is_heavy() {
        let truth = Truth::of(&Distinct::new(13, 20_000));
        let said = |error: u64| {
            [
                json!({"top": "clients", "value": null, "requests": 20_100, "error": error}),
                json!({"top": "duration", "value": "p50", "seconds": truth.duration(0.5)}),
                json!({"top": "agent", "value": truth.agents().next(), "requests": 20_000, "error": 0}),
                json!({"top": "address", "value": truth.clients().next(), "requests": 0, "error": 40}),
            ]
        };
        assert_eq!(wrong(&judge(&truth, &said(200), TOP)), [""; 0]);
        assert_eq!(wrong(&judge(&truth, &said(20), TOP)), ["distinct clients"]);
    }
}
