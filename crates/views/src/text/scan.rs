//! `toban scan`: whom the logs speak against, and what was busiest.

use jiff::tz::TimeZone;
use toban_model::{Blamed, Busiest, Lang, Text};

use super::lists::{print, table};
use crate::format::{count, short_moment, value};
use crate::layout::{Style, Tone, safe};
use crate::words;

/// Clients of a spread attack that are shown one by one.
const CLIENTS_SHOWN: usize = 3;

/// Those who are blamed, the heaviest first.
pub fn blamed(blamed: &[Blamed], lang: Lang, tz: &TimeZone, style: Style) -> String {
    let headings =
        [&words::COUNT, &words::WHO, &words::CAUSE, &words::SERVICE_HEADING, &words::FIRST, &words::LAST];
    let mut table = table(&headings, &[0], lang);
    for one in blamed {
        table.row(
            Tone::Plain,
            [
                count(one.count.into()),
                who(one, lang),
                one.cause.to_owned(),
                safe(&one.service),
                short_moment(one.first, tz),
                short_moment(one.last, tz),
            ],
        );
    }
    print(&table, &words::NOBODY_BLAMED, lang, style)
}

fn who(blamed: &Blamed, lang: Lang) -> String {
    if let Some(client) = blamed.client {
        return client.to_string();
    }
    let shown: Vec<String> = blamed.clients.iter().take(CLIENTS_SHOWN).map(ToString::to_string).collect();
    let many = count(blamed.clients.len() as u64);
    let clients = match lang {
        Lang::En => format!("{many} clients: {}, …", shown.join(", ")),
        Lang::Ja => format!("{many} クライアント: {} ほか", shown.join("、")),
    };
    blamed.prefix.map_or_else(|| clients.clone(), |prefix| format!("{prefix} ({clients})"))
}

/// What was asked for most, and by whom.
pub fn busiest(busiest: &Busiest, lang: Lang, style: Style) -> String {
    let mut out = String::new();
    let mut section = |heading: &Text, rows: Vec<(u32, u32, String)>| {
        if rows.is_empty() {
            return;
        }
        let mut table = table(&[&words::REQUESTS, heading], &[0], lang);
        for (requests, missed, what) in rows {
            let requests = count(requests.into());
            let told = if missed == 0 { requests } else { format!("{requests} (+{})", count(missed.into())) };
            table.row(Tone::Plain, [told, safe(&what)]);
        }
        out.push('\n');
        table.print(&mut out, style);
    };
    let origins = |all: &[toban_model::Origin], whole: bool| {
        let told =
            |o: &toban_model::Origin| if whole { o.prefix.to_string() } else { o.prefix.addr().to_string() };
        all.iter().map(|o| (o.requests, o.missed, told(o))).collect()
    };
    let named = |all: &[toban_model::Named]| {
        all.iter().map(|named| (named.requests, named.missed, named.name.to_string())).collect()
    };
    section(&words::ADDRESS, origins(&busiest.addresses, false));
    section(&words::PREFIX, origins(&busiest.prefixes, true));
    section(&words::PATH, named(&busiest.paths));
    section(&words::USER_AGENT, named(&busiest.agents));
    let combined = busiest.combinations.iter().map(|combined| {
        let client = combined.client.map(|client| client.to_string());
        let parts =
            [client.as_deref(), Some(combined.method), combined.path.as_deref(), combined.agent.as_deref()];
        let what: Vec<&str> = parts.into_iter().map(|part| part.unwrap_or("*")).collect();
        (combined.requests, combined.missed, what.join("  "))
    });
    section(&words::COMBINATION, combined.collect());
    let (clients, error) = busiest.clients;
    out.push_str(&match lang {
        Lang::En => format!("\n{} different clients (±{})\n", count(clients), count(error)),
        Lang::Ja => format!("\n異なるクライアント {} (±{})\n", count(clients), count(error)),
    });
    if let Some([half, most, slow]) = busiest.durations_s {
        let [half, most, slow] = [half, most, slow].map(|seconds| value(seconds, "s"));
        out.push_str(&match lang {
            Lang::En => format!("served in {half} (median), {most} (90 %), {slow} (99 %)\n"),
            Lang::Ja => format!("応答時間: 中央値 {half}、90 % は {most} 以内、99 % は {slow} 以内\n"),
        });
    }
    out
}
