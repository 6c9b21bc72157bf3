//! `db-connections`: a database takes no more connections.
//!
//! Needs: as many connections as `max_connections`, or clients' logs that say so. Connections of workers that one group
//! of clients holds, or that wait for a slow statement, are an effect of those; they are told beside it.

use toban_model::{Culprit, CulpritKind, Database, DatabaseClient, Text, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::holdings::{self, share, shown};
use crate::picture::Picture;
use crate::tell::evidence;

pub(super) const CAUSE: Cause = Cause {
    id: "db-connections",
    about: Text::fixed("a database takes no more connections", "データベースの接続数が上限に達しています"),
    rules_out: &["fd-exhaustion", "port-exhaustion"],
    needs: Needs::Nothing,
    judge,
};

const SAID: &[(&str, &str)] = &[("too-many-connections", "Too many connections")];
/// A client with this part of them has them.
const MOST: f64 = 0.5;
/// Logs alone: fewer lines are a burst that is over.
const LINES_MIN: u32 = 3;

fn judge(picture: &Picture<'_>) -> Judged {
    let databases = &picture.situation.holdings.databases;
    let full = databases.iter().find_map(|database| Some((database, database.full_since?)));
    let said = holdings::said(picture, "too-many-connections");
    let lines: u32 = said.iter().map(|class| class.count).sum();
    if full.is_none() && lines < LINES_MIN {
        return match databases.iter().max_by_key(|database| database.used) {
            Some(Database { name, used, limit: Some(limit), .. }) => Judged::Not(Text::new(
                format!("{name} has {used} of {limit} connections"),
                format!("{name} の接続数は {limit} のうち {used} です"),
            )),
            _ => Judged::Unknown,
        };
    }
    // Held by a group's requests: that group is why, and this is how it is felt.
    if let Some(group) = picture.group.as_ref().filter(|_| picture.is_incident()) {
        let held = group.held;
        return Judged::Not(Text::new(
            format!("the connections are those of the {held:.0} workers that the group holds: an effect"),
            format!("接続は、この集団が占有した {held:.0} ワーカーのものであり、結果にすぎません"),
        ));
    }
    let Some((database, seen)) = full else {
        let first = said.iter().map(|class| class.first).min();
        return Judged::Is(Candidate {
            confidence: 0.75,
            summary: Text::new(
                format!(
                    "A database refuses connections: its clients logged “Too many connections” {lines} times. Who has them is not clear."
                ),
                format!(
                    "データベースが接続を拒否しています。クライアントのログに「Too many connections」が {lines} 件あります。どのクライアントが接続を占めているかは不明です。"
                ),
            ),
            advice: vec![show_list("mysql"), show_list("postgresql")],
            since: first,
            effects: holdings::effects(picture, SAID, first.unwrap_or(picture.situation.from)),
            ..Candidate::default()
        });
    };
    let since = holdings::since(picture, SAID, seen);
    let used = database.used as f64;
    let first = database.clients.first().filter(|client| client.used as f64 >= MOST * used);
    let name = &database.name;
    let limit = database.limit.unwrap_or(database.used);
    let (by_en, by_ja) = match first {
        Some(client) => {
            let (who, n) = (who(client), client.used);
            (format!("{who} has {n} of them."), format!("うち {n} は {who} の接続です。"))
        }
        None => ("Who has them is not clear.".into(), "どのクライアントが占めているかは不明です。".into()),
    };
    let named: Vec<String> =
        database.clients.iter().take(4).map(|c| format!("{} {}", who(c), c.used)).collect();
    let named = named.join(" · ");
    let mut told = Vec::new();
    if !named.is_empty() {
        told.push(evidence(
            "database-clients",
            Text::fixed("who has the connections", "接続元"),
            Text::new(named.clone(), named),
            first.map_or(0.0, |client| client.used as f64),
            None,
            "sock_diag",
        ));
    }
    let from = shown(&database.limit_from);
    let doubled = limit.saturating_mul(2);
    Judged::Is(Candidate {
        confidence: if said.is_empty() { 0.85 } else { 0.95 },
        culprits: first.map(|client| culprit(picture, client, used)).into_iter().collect(),
        evidence: told,
        summary: Text::new(
            format!("{name} takes no more connections: {} of {limit} are open.\n{by_en}", database.used),
            format!("{name} の接続数が上限に達しています({limit} のうち {})。\n{by_ja}", database.used),
        ),
        advice: vec![
            show_list(name),
            Text::new(
                format!(
                    "if the memory is there for them: max_connections = {doubled} (now from {from}); otherwise fewer workers or a smaller pool in the client"
                ),
                format!(
                    "メモリに余裕がある場合は max_connections = {doubled} に増やしてください(現在の設定元: {from})。余裕がない場合は、クライアント側のワーカー数やプールを減らしてください"
                ),
            ),
        ],
        since: Some(since),
        resource: holdings::resource(picture, &format!("{name}.connections")).cloned(),
        effects: holdings::effects(picture, SAID, since),
        ..Candidate::default()
    })
}

fn who(client: &DatabaseClient) -> String {
    match (&client.owner, client.address) {
        (Some(owner), _) => holdings::owner(owner),
        (None, Some(address)) => address.to_string(),
        (None, None) => "?".to_owned(),
    }
}

fn culprit(picture: &Picture<'_>, client: &DatabaseClient, used: f64) -> Culprit {
    let share = share(client.used as f64, used);
    match (&client.owner, client.address) {
        (Some(owner), _) => holdings::process(picture, owner, share),
        (None, address) => Culprit {
            kind: CulpritKind::Address,
            value: address.map(|address| address.to_string()).unwrap_or_default(),
            share,
            r#where: Where::new(),
            process: None,
        },
    }
}

/// What the connections do, and for how long: asked over the one connection that is kept for the administrator.
fn show_list(name: &str) -> Text {
    let command = if name == "postgresql" {
        r#"sudo -u postgres psql -c "select pid, usename, client_addr, state, now()-state_change as since, left(query,60) from pg_stat_activity order by since desc limit 30""#
    } else {
        r#"mysql -e "select id, user, host, command, time, state, left(info,60) from information_schema.processlist order by time desc limit 30""#
    };
    Text::new(
        format!("see what they do, the oldest first: {command}"),
        format!("接続の状態を古い順に確認してください: {command}"),
    )
}

#[cfg(test)]
mod tests {
    use toban_model::{ErrorClass, Owner, ProcessId, Situation, Time};

    use super::*;
    use crate::diagnose;

    const NOW: Time = Time::from_secs(1_700_000_000);

    fn with(used: u64, full: bool, lines: u32) -> Situation {
        let owner = |comm: &str, pid| Owner {
            process: ProcessId { pid, start_ticks: 1 },
            comm: comm.into(),
            unit: None,
        };
        let client = |owner, used| DatabaseClient { owner: Some(owner), address: None, used };
        let mut situation = Situation { at: NOW, ..Situation::default() };
        situation.holdings.databases.push(Database {
            name: "mariadb".into(),
            owner: owner("mariadbd", 8),
            used,
            limit: Some(151),
            limit_from: "the server's default".into(),
            clients: vec![client(owner("importer", 30), 120), client(owner("php-fpm8.2", 9), 31)],
            full_since: full.then_some(NOW),
        });
        if lines > 0 {
            situation.errors.push(ErrorClass {
                service: "apache".into(),
                code: "too-many-connections".into(),
                count: lines,
                usual: 0.0,
                first: NOW - std::time::Duration::from_secs(20),
                last: NOW,
            });
        }
        situation
    }

    #[test]
    fn who_has_the_connections_is_named_while_there_is_none_left() {
        let found = diagnose(&with(151, true, 12)).findings;
        assert_eq!(
            (found[0].cause.as_str(), found[0].culprits[0].value.as_str()),
            ("db-connections", "importer")
        );
        assert_eq!(found[0].since, NOW - std::time::Duration::from_secs(20));
        assert_eq!(found[0].effects.len(), 1);
        // Only the clients' words: nobody is named.
        let found = diagnose(&with(60, false, 12)).findings;
        assert_eq!((found[0].cause.as_str(), found[0].culprits.len()), ("db-connections", 0));
        assert_eq!(diagnose(&with(140, false, 0)).findings, []);
    }
}
