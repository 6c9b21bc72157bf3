//! What the causes about tried passwords and weak spots share: which attempts are worth telling, what they exhaust, who
//! is named, and whom a ban would hit.

use std::collections::{BTreeMap, BTreeSet};

use toban_model::{
    Action, Attempts, Collateral, Culprit, CulpritKind, Evidence, Plan, Prefix, Remedy, ResourceUse, Risk,
    Text, Time, Verdict, Where, prefix_of, same_family_contains,
};

use crate::causes::{Candidate, Judged};
use crate::picture::Picture;
use crate::tell;

/// Offences within ten minutes by one or a few, and by a crowd of which each does little: every server on the internet
/// has some from everywhere.
const ALONE_MIN: u32 = 15;
const CROWD_MIN: u32 = 60;
/// So many times what is usual here; and so many in ten minutes that they are told however usual.
const TIMES_USUAL: f64 = 3.0;
const ANYWAY: u32 = 600;
/// More culprits than this are told by what they have in common.
const CULPRITS_MAX: usize = 100;
/// So much of a service's connections is theirs, if they use it up; and a network with fewer is not told one by one.
const HELD_MIN: f64 = 0.5;
const UNTOLD_MAX: u32 = 3;
const BAN_FOR_S: u64 = 3600;
/// Fewer handshakes are on their way at every moment.
const HALF_OPEN_MIN: u32 = 8;
/// Clients that a finding's words name one by one.
const NAMED_MAX: usize = 3;

/// The words of one kind of attempt.
pub(crate) struct Words {
    pub(crate) cause: &'static str,
    /// "try passwords at", in both languages.
    pub(crate) what: Text,
    /// What is counted.
    pub(crate) offences: Text,
    pub(crate) confidence: f64,
}

/// The attempts of a kind that are more than everyday noise.
pub(crate) fn told<'a>(picture: &Picture<'a>, cause: &str) -> Vec<&'a Attempts> {
    let attempts = picture.situation.strangers.attempts.iter().filter(|attempt| attempt.cause == cause);
    attempts
        .filter(|attempt| is_told(attempt) || exhausted(picture, attempt).is_some())
        .filter(|attempt| !is_floods(picture, attempt))
        .collect()
}

/// Whether most connections at their service can be of those who try something there, by where they come from.
fn may_hold_most(picture: &Picture<'_>, attempt: &Attempts) -> bool {
    let connected = &picture.situation.strangers.connected;
    let connected = connected.iter().filter(|one| attempt.ports.contains(&one.port));
    let all = picture.situation.strangers.attempts.iter().filter(|one| one.service == attempt.service);
    let clients = all.flat_map(|one| &one.clients);
    let theirs: BTreeSet<Prefix> = clients.map(|client| prefix_of(*client, 24, 48)).collect();
    let (mut all, mut held) = (0, 0);
    for one in connected {
        all += one.count;
        let told = |network: &Prefix| one.networks.iter().find(|(known, _)| known == network);
        held += theirs
            .iter()
            .map(|n| told(n).map_or(UNTOLD_MAX, |(_, count)| *count))
            .sum::<u32>()
            .min(one.count);
    }
    f64::from(held) >= HELD_MIN * f64::from(all)
}

fn is_told(attempt: &Attempts) -> bool {
    let count = attempt.in_ten_minutes;
    let least = if attempt.clients.len() > NAMED_MAX { CROWD_MIN } else { ALONE_MIN };
    let unusual = attempt.usual.is_none_or(|usual| f64::from(attempt.all) > usual * TIMES_USUAL);
    attempt.entered.is_some() || count >= ANYWAY || count >= least && unusual
}

/// They are those who hold the workers: a flood, whatever they ask for.
fn is_floods(picture: &Picture<'_>, attempt: &Attempts) -> bool {
    let Some(group) = picture.group.as_ref().filter(|_| picture.is_incident()) else { return false };
    let inside = |client: &&std::net::IpAddr| {
        group.offenders.iter().any(|offender| same_family_contains(&offender.prefix, **client))
    };
    attempt.entered.is_none()
        && picture.traffic.is_some_and(|traffic| traffic.service == attempt.service)
        && attempt.clients.iter().filter(inside).count() * 2 > attempt.clients.len()
}

/// What the attempts use up: the queue of connections or the processes of the service that they are made at.
fn exhausted<'a>(picture: &Picture<'a>, attempt: &Attempts) -> Option<&'a ResourceUse> {
    if !may_hold_most(picture, attempt) {
        return None;
    }
    let queues =
        picture.situation.strangers.queues.iter().filter(|queue| attempt.ports.contains(&queue.port));
    let names: Vec<String> = queues
        .filter_map(|queue| Some(format!("{}.accept-queue:{}", queue.service.as_ref()?, queue.port)))
        .chain([format!("{}.processes", attempt.service)])
        .collect();
    let out = |resource: &&ResourceUse| resource.exhausted_since.is_some() && names.contains(&resource.name);
    picture.situation.resources.iter().find(out)
}

/// Judges one kind of attempt.
pub(crate) fn judge(picture: &Picture<'_>, words: &Words) -> Judged {
    let all = told(picture, words.cause);
    let known = picture.situation.strangers.attempts.iter().filter(|attempt| attempt.cause == words.cause);
    if all.is_empty() {
        let most = known.map(|attempt| attempt.in_ten_minutes).max().unwrap_or(0);
        return Judged::Not(Text::new(
            format!("no more than {most} {} within ten minutes by anybody", words.offences.en),
            format!("{}は 10 分間で最大 {most} 件です", words.offences.ja),
        ));
    }
    let is_grave = |attempt: &&Attempts| attempt.entered.is_some() || exhausted(picture, attempt).is_some();
    // Beside what does harm, what does none is no news.
    let grave: Vec<&Attempts> = all.iter().copied().filter(is_grave).collect();
    let (verdict, all) = if grave.is_empty() { (Verdict::Watch, all) } else { (Verdict::Incident, grave) };
    let resource = all.iter().find_map(|attempt| exhausted(picture, attempt)).cloned();
    let since = all.iter().map(|attempt| attempt.first).min();
    let mut advice = Vec::new();
    if let Some((client, at)) = entered(&all) {
        advice.push(Text::new(
            format!(
                "somebody is in: look at what they did since (`last -i`, `who`, the log lines of {client} after {}), end their sessions, and change the password",
                clock(at)
            ),
            format!(
                "侵入された可能性があります。{} 以降の {client} の操作を `last -i`、`who` とログで確認し、セッションを切断してパスワードを変更してください",
                clock(at)
            ),
        ));
    }
    if all.iter().any(|attempt| !attempt.peers) {
        advice.push(Text::fixed(
            "they come through a proxy: block them there, a packet filter here would hit everybody",
            "プロキシ経由のため、このサーバのパケットフィルタではなくプロキシ側で遮断してください",
        ));
    }
    Judged::Is(Candidate {
        verdict,
        confidence: words.confidence + if resource.is_some() { 0.06 } else { 0.0 },
        culprits: culprits(&all),
        evidence: all.iter().take(4).flat_map(|attempt| evidence(attempt, words)).collect(),
        summary: summary(&all, words, resource.as_ref()),
        remedies: ban(&all, words.cause, resource.as_ref()).into_iter().collect(),
        advice,
        since,
        effects: resource
            .iter()
            .map(effect)
            .chain(resource.iter().flat_map(|_| waiting(picture, &all)))
            .chain(resource.iter().flat_map(|_| half_open(picture, &all)))
            .collect(),
        resource,
    })
}

fn entered(all: &[&Attempts]) -> Option<(std::net::IpAddr, Time)> {
    all.iter().filter_map(|attempt| attempt.entered).min_by_key(|(_, at)| *at)
}

/// Seconds of the day would need a zone; an epoch is exact and can be given to every tool.
fn clock(at: Time) -> String {
    format!("@{}", at.as_secs())
}

fn effect(resource: &ResourceUse) -> Evidence {
    let (name, used) = (&resource.name, resource.used);
    let (en, ja) = resource.limit.map_or_else(Default::default, |limit| {
        (format!(": {used:.0} of {limit:.0}"), format!(": {limit:.0} のうち {used:.0}"))
    });
    tell::evidence(
        "exhausted",
        Text::default(),
        Text::new(format!("{name} used up{en}"), format!("{name} を使い切っています{ja}")),
        used,
        resource.usual.map(|usual| usual[1]),
        "sock_diag",
    )
}

/// Connections that nobody has taken yet: whoever made them waits for the first word of the server.
fn waiting(picture: &Picture<'_>, all: &[&Attempts]) -> Option<Evidence> {
    let queues = picture.situation.strangers.queues.iter().filter(|queue| queue.len > 0);
    let theirs = queues.filter(|queue| all.iter().any(|attempt| attempt.ports.contains(&queue.port)));
    let queue = theirs.max_by_key(|queue| queue.len)?;
    let (port, len, limit) = (queue.port, queue.len, queue.limit);
    Some(tell::evidence(
        "slow-greeting",
        Text::default(),
        Text::new(
            format!("the server greets late: {len} connections wait at port {port} (it holds {limit})"),
            format!("応答(バナー)が遅延しています: {port} 番ポートで {len} 接続が待機中です(上限 {limit})"),
        ),
        f64::from(len),
        Some(0.0),
        "sock_diag",
    ))
}

/// Handshakes at their service that never end, by where they come from: whoever only begins them may forge that, so
/// nobody is named by it.
fn half_open(picture: &Picture<'_>, all: &[&Attempts]) -> Option<Evidence> {
    let ports = picture.situation.strangers.half_open.iter().filter(|port| port.count >= HALF_OPEN_MIN);
    let theirs = ports.filter(|one| all.iter().any(|attempt| attempt.ports.contains(&one.port)));
    let most = theirs.max_by_key(|one| one.count)?;
    let (port, count) = (most.port, most.count);
    let first = most.networks.iter().take(NAMED_MAX);
    let rest = count.saturating_sub(first.clone().map(|(_, count)| count).sum());
    let named: String = first.map(|(network, count)| format!("{network} {count} · ")).collect();
    Some(tell::evidence(
        "half-open",
        Text::default(),
        Text::new(
            format!("{count} half-open connections at port {port}: {named}all others {rest}"),
            format!("{port} 番ポートに確立途中の接続が {count} 件あります: {named}その他 {rest}"),
        ),
        f64::from(count),
        Some(0.0),
        "sock_diag",
    ))
}

/// Whom a packet filter would have to drop: networks that hold several of them and nobody else, and addresses.
fn prefixes(attempt: &Attempts) -> Vec<Prefix> {
    let mut all = attempt.networks.clone();
    let inside = |client: &std::net::IpAddr| {
        attempt.networks.iter().any(|network| same_family_contains(network, *client))
    };
    all.extend(attempt.clients.iter().filter(|client| !inside(client)).map(|client| Prefix::from(*client)));
    all
}

fn culprits(all: &[&Attempts]) -> Vec<Culprit> {
    let total: f64 = all.iter().map(|attempt| f64::from(attempt.in_ten_minutes)).sum::<f64>().max(1.0);
    let mut out: Vec<Culprit> = Vec::new();
    for attempt in all {
        let share = f64::from(attempt.in_ten_minutes) / total;
        let mut r#where = Where::from([("service".to_owned(), attempt.service.clone())]);
        for (key, value) in [("path", &attempt.path), ("account", &attempt.account)] {
            if let Some(value) = value {
                r#where.insert(key.into(), tell::clean(value).into_owned());
            }
        }
        let culprit = |kind, value: String, share: f64| Culprit {
            kind,
            value,
            share: (share * 1e3).round() / 1e3,
            r#where: r#where.clone(),
            process: None,
        };
        let prefixes = prefixes(attempt);
        if prefixes.len() > CULPRITS_MAX {
            // Nobody stands out: what they have in common is the answer. The networks are named as far as they hold many.
            let clients = attempt.clients.len() as f64;
            for network in attempt.networks.iter().take(CULPRITS_MAX / 2) {
                let inside = attempt.clients.iter().filter(|c| same_family_contains(network, **c)).count();
                out.push(culprit(CulpritKind::Prefix, network.to_string(), share * inside as f64 / clients));
            }
            let (kind, value) = match (&attempt.path, &attempt.account) {
                (Some(path), _) => (CulpritKind::Path, path.clone()),
                (None, Some(account)) => (CulpritKind::Account, account.clone()),
                (None, None) => (CulpritKind::Unit, attempt.service.clone()),
            };
            out.push(culprit(kind, value, share));
            continue;
        }
        let parts = prefixes.len().max(1) as f64;
        for prefix in prefixes {
            let host = prefix.prefix_len() == prefix.max_prefix_len();
            let (kind, value) = if host {
                (CulpritKind::Address, prefix.addr().to_string())
            } else {
                (CulpritKind::Prefix, prefix.to_string())
            };
            match out.iter_mut().find(|known| known.kind == kind && known.value == value) {
                Some(known) => known.share += (share / parts * 1e3).round() / 1e3,
                None => out.push(culprit(kind, value, share / parts)),
            }
        }
    }
    out
}

/// Who, in a sentence: some by name, else how many.
fn who(attempt: &Attempts) -> Text {
    let prefixes = prefixes(attempt);
    if prefixes.len() <= NAMED_MAX {
        let bare = |prefix: &Prefix| {
            if prefix.prefix_len() == prefix.max_prefix_len() {
                prefix.addr().to_string()
            } else {
                prefix.to_string()
            }
        };
        let names = prefixes.iter().map(bare).collect::<Vec<_>>().join(", ");
        return Text::new(names.clone(), names);
    }
    let clients = attempt.clients.len();
    Text::new(format!("{clients} addresses"), format!("{clients} 個のアドレス"))
}

fn summary(all: &[&Attempts], words: &Words, resource: Option<&ResourceUse>) -> Text {
    let (mut en, mut ja) = (Vec::new(), Vec::new());
    for attempt in all.iter().take(NAMED_MAX) {
        let (who, service) = (who(attempt), tell::clean(&attempt.service));
        let (count, minute, things) = (attempt.in_ten_minutes, attempt.in_a_minute, attempt.things);
        let thing = attempt.path.as_deref().or(attempt.account.as_deref()).map(tell::clean);
        let (about_en, about_ja) = match (&thing, things) {
            (Some(thing), _) => (format!(", at {thing}"), format!("(対象: {thing})")),
            (None, 2..) => (format!(", of {things} names"), format!("({things} 種類の名前)")),
            _ => (String::new(), String::new()),
        };
        en.push(format!(
            "{} {} {service}: {count} {} within ten minutes, {minute} in the last{about_en}.",
            who.en, words.what.en, words.offences.en
        ));
        ja.push(format!(
            "{} が {service} に対して{}。{}は 10 分間で {count} 件、直近 1 分間で {minute} 件です{about_ja}。",
            who.ja, words.what.ja, words.offences.ja
        ));
        if let Some((client, _)) = attempt.entered {
            en.push(format!("{client} GOT IN after its failures."));
            ja.push(format!("{client} は失敗を繰り返した後にログインに成功しています。"));
        }
    }
    let more = all.len().saturating_sub(NAMED_MAX);
    if more > 0 {
        en.push(format!("And {more} more."));
        ja.push(format!("ほか {more} 件あります。"));
    }
    if let Some(resource) = resource {
        let name = &resource.name;
        en.push(format!("This uses up {name}."));
        ja.push(format!("これにより {name} を使い切っています。"));
    }
    Text::new(en.join("\n"), ja.join("\n"))
}

fn evidence(attempt: &Attempts, words: &Words) -> Vec<Evidence> {
    let service = tell::clean(&attempt.service).into_owned();
    let source = if attempt.path.is_some() { "access_log" } else { "log" };
    let all = attempt.all;
    let against = |usual: Option<f64>| {
        usual.map_or((String::new(), String::new()), |usual| {
            (
                format!("; below {:.0} usually", usual.max(1.0)),
                format!("(平常時は {:.0} 未満)", usual.max(1.0)),
            )
        })
    };
    let (usual_en, usual_ja) = against(attempt.usual);
    let (sources_en, sources_ja) = against(attempt.usual_sources);
    let clients = attempt.clients.len();
    let mut out = vec![
        tell::evidence(
            "attempts",
            Text::new(
                format!("{service}: {} in ten minutes", words.offences.en),
                format!("{service} の{}(10 分間)", words.offences.ja),
            ),
            Text::new(
                format!("{} of {all} by them{usual_en}", attempt.in_ten_minutes),
                format!("全 {all} 件のうち {} 件{usual_ja}", attempt.in_ten_minutes),
            ),
            f64::from(attempt.in_ten_minutes),
            attempt.usual,
            source,
        ),
        tell::evidence(
            "clients",
            Text::new(format!("{service}: from where"), format!("{service} の送信元")),
            Text::new(
                format!(
                    "{clients} addresses of {} with failures{sources_en}",
                    attempt.sources.max(clients as u32)
                ),
                format!(
                    "{clients} アドレス(全 {} アドレス中){sources_ja}",
                    attempt.sources.max(clients as u32)
                ),
            ),
            clients as f64,
            attempt.usual_sources,
            source,
        ),
    ];
    if let Some((client, at)) = attempt.entered {
        out.insert(
            0,
            tell::evidence(
                "entered",
                Text::fixed("a login behind failures", "失敗後のログイン成功"),
                Text::new(
                    format!("{client} at {}; it never logged in before", clock(at)),
                    format!("{client}({})。以前のログイン履歴はありません", clock(at)),
                ),
                1.0,
                Some(0.0),
                source,
            ),
        );
    }
    out
}

/// Drop them at the ports of the services that they are at.
fn ban(all: &[&Attempts], cause: &str, resource: Option<&ResourceUse>) -> Option<Remedy> {
    let mut by_ports: BTreeMap<Vec<u16>, Vec<Prefix>> = BTreeMap::new();
    let mut collateral = Collateral::default();
    for attempt in all {
        let (hit, of) = attempt.usual_clients;
        // Whom a usual client shares its address with is spoken to, not banned; and without ports everything would be.
        if !attempt.peers || attempt.ports.is_empty() || hit > 0 {
            continue;
        }
        collateral.of += u64::from(of);
        by_ports.entry(attempt.ports.clone()).or_default().extend(prefixes(attempt));
    }
    if by_ports.is_empty() {
        return None;
    }
    let mut steps = Vec::new();
    let (mut named, mut ports) = (Vec::<String>::new(), Vec::<u16>::new());
    for (on, mut prefixes) in by_ports {
        prefixes.sort_unstable();
        prefixes.dedup();
        named.extend(prefixes.iter().map(ToString::to_string));
        ports.extend(&on);
        steps.push(Action::Ban { prefixes: prefixes.clone(), ports: on.clone(), for_s: BAN_FOR_S });
        // What is in the queue already is taken in its turn, drop rule or not.
        steps.push(Action::EndSockets { prefixes, ports: on });
    }
    ports.sort_unstable();
    ports.dedup();
    named.dedup();
    let on = ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let list = named.iter().take(NAMED_MAX * 2).cloned().collect::<Vec<_>>().join(", ");
    let more = named.len().saturating_sub(NAMED_MAX * 2);
    let (more_en, more_ja) = if more > 0 {
        (format!(" and {more} more"), format!(" ほか {more} 件"))
    } else {
        Default::default()
    };
    let count: u32 = all.iter().map(|attempt| attempt.in_ten_minutes).sum();
    Some(Remedy {
        id: 0,
        text: Text::new(
            format!("drop {list}{more_en} on {on} for 1 h, end their connections"),
            format!("{list}{more_ja} からの {on} 番ポート宛て通信を 1 時間遮断し、接続を切断します"),
        ),
        risk: Risk::Low,
        reversible: true,
        plan: Plan {
            cause: cause.to_owned(),
            reason: Text::new(
                format!("{cause}: {count} offences within ten minutes"),
                format!("{cause}: 10 分間に {count} 件"),
            ),
            steps,
            predicted: resource.map(|resource| (resource.name.clone(), 0.0)).into_iter().collect(),
            collateral,
        },
    })
}
