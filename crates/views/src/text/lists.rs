//! The tables of what toban did and saw: actions, bans, incidents.

use jiff::tz::TimeZone;
use toban_model::{ActionRecord, ActionState, Ban, Incident, Lang, Text, Time};

use crate::format::{duration, short_moment, value};
use crate::layout::{Style, Table, Tone};
use crate::words;

/// `toban actions`: the audit trail, in the order given, with what was predicted and what was measured.
pub fn actions(actions: &[ActionRecord], lang: Lang, tz: &TimeZone, style: Style) -> String {
    let headings = [&words::ID, &words::WHEN, &words::BY, &words::STATE, &words::WHAT];
    let mut table = table(&headings, &[0], lang);
    for action in actions {
        let steps: Vec<String> = action.plan.steps.iter().map(|step| words::step(step, lang)).collect();
        let mut what = vec![steps.join(match lang {
            Lang::En => "; then ",
            Lang::Ja => "、次に ",
        })];
        what.push(action.plan.reason.lang(lang).to_owned());
        for (name, predicted) in &action.plan.predicted {
            let measured = action.measured.get(name).map_or_else(
                || words::NOT_MEASURED.lang(lang).to_owned(),
                |measured| match lang {
                    Lang::En => format!("measured {}", value(*measured, "")),
                    Lang::Ja => format!("実測 {}", value(*measured, "")),
                },
            );
            let label = words::vital_label(name, lang);
            let (told, predicted) = (words::PREDICTED.lang(lang), value(*predicted, ""));
            what.push(match lang {
                Lang::En => format!("{label}: {told} {predicted}, {measured}"),
                Lang::Ja => format!("{label}: {told} {predicted}、{measured}"),
            });
        }
        what.extend(action.notes.iter().cloned());
        what.retain(|line| !line.is_empty());
        let tone = match action.state {
            ActionState::Failed | ActionState::Harmed => Tone::Bad,
            ActionState::Refused | ActionState::NoEffect | ActionState::Intended => Tone::Warn,
            ActionState::Done | ActionState::Worked => Tone::Plain,
            ActionState::Undone | ActionState::Expired => Tone::Faint,
        };
        for (i, line) in what.into_iter().enumerate() {
            table.row(
                tone,
                if i == 0 {
                    [
                        action.id.0.to_string(),
                        short_moment(action.at, tz),
                        words::actor(action.by).lang(lang).to_owned(),
                        words::action_state(action.state).lang(lang).to_owned(),
                        line,
                    ]
                } else {
                    [String::new(), String::new(), String::new(), String::new(), line]
                },
            );
        }
    }
    print(&table, &words::NO_ACTIONS, lang, style)
}

/// `toban bans`: the bans that stand, with what is left of each at `now`.
pub fn bans(bans: &[Ban], now: Time, lang: Lang, tz: &TimeZone, style: Style) -> String {
    let headings =
        [&words::PREFIX, &words::PORTS, &words::WHEN, &words::LEFT, &words::ACTION, &words::REASON];
    let mut table = table(&headings, &[4], lang);
    for ban in bans {
        table.row(
            Tone::Plain,
            [
                ban.prefix.to_string(),
                words::ports(&ban.ports, lang),
                short_moment(ban.since, tz),
                duration(ban.until.since(now).as_secs_f64(), lang),
                ban.action.0.to_string(),
                ban.reason.clone(),
            ],
        );
    }
    print(&table, &words::NO_BANS, lang, style)
}

/// `toban incidents`: what happened, in the order given.
pub fn incidents(incidents: &[Incident], now: Time, lang: Lang, tz: &TimeZone, style: Style) -> String {
    let headings = [&words::ID, &words::WHEN, &words::LASTED, &words::STATE, &words::CAUSE, &words::SUMMARY];
    let mut table = table(&headings, &[0], lang);
    for incident in incidents {
        let lasted = incident.ended.unwrap_or(now).since(incident.since);
        let (tone, state) = match incident.ended {
            Some(_) => (Tone::Plain, words::ENDED.lang(lang).to_owned()),
            None => (Tone::Bad, words::STILL_OPEN.lang(lang).to_owned()),
        };
        let summary = incident.findings.first().map_or("", |finding| finding.summary.lang(lang));
        table.row(
            tone,
            [
                incident.id.0.to_string(),
                short_moment(incident.since, tz),
                duration(lasted.as_secs_f64(), lang),
                state,
                incident.cause.clone(),
                summary.to_owned(),
            ],
        );
    }
    print(&table, &words::NO_INCIDENTS, lang, style)
}

pub(super) fn table(headings: &[&Text], right: &'static [usize], lang: Lang) -> Table {
    let mut table = Table::new(0, right);
    table.gap = 2;
    table.heading = headings.iter().map(|word| word.lang(lang).to_owned()).collect();
    table
}

pub(super) fn print(table: &Table, none: &Text, lang: Lang, style: Style) -> String {
    let mut out = String::new();
    if table.rows.is_empty() {
        out.push_str(none.lang(lang));
        out.push('\n');
    } else {
        table.print(&mut out, style);
    }
    out
}
