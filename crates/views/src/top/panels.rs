//! The parts of the screen, each into its area: head, vitals, processes, sockets, incidents, help, foot.

use ratatui::layout::Rect;
use toban_model::{Incident, Lang, SocketCount, Text, Vital};

use super::grid::{Canvas, Column, Grid, plain};
use super::{LATE_US, Moment, Panel, Place, Prompt, Screen, Sort, processes, words};
use crate::format::{count, duration, moment as moment_text, short_moment, value};
use crate::layout::{Tone, width, wrap};
use crate::text::{by_strangeness, vital_row};
use crate::words as common;

/// The vitals that every screen begins with, in the order in which people ask for them.
const SUMS: &[&str] =
    &["load.1", "cpu.busy", "cpu.iowait", "memory.used", "processes.count", "processes.blocked"];

/// What is told of an incident above everything else.
const INCIDENT_LINES: usize = 2;

fn line_of(area: Rect, n: u16) -> Rect {
    Rect { y: area.y.saturating_add(n), height: 1, ..area }.intersection(area)
}

/// Host, moment, what is wrong with the reading, the sums, the incident. Returns how many lines it took.
pub(super) fn head(screen: &Screen<'_>, canvas: &mut Canvas<'_>, area: Rect) -> u16 {
    let lang = screen.lang;
    let place = match screen.place {
        Place::Live => words::LIVE.lang(lang).to_owned(),
        Place::Paused => words::PAUSED.lang(lang).to_owned(),
        Place::Past => {
            let ago = duration(screen.present.since(screen.at).as_secs_f64(), lang);
            match lang {
                Lang::En => format!("{}, {ago} ago", words::PAST.en),
                Lang::Ja => format!("{}（{ago}前）", words::PAST.ja),
            }
        }
    };
    let first = line_of(area, 0);
    let told = reading(screen).join(" · ");
    let rest = canvas.put(
        first,
        &format!("{} · {} · {place}", plain(screen.host), moment_text(screen.at, screen.tz)),
        Tone::Strong,
    );
    let room = usize::from(rest.width).saturating_sub(width(&told)).max(2);
    canvas.put(rest, &format!("{}{told}", " ".repeat(room)), Tone::Bad);
    let Some(moment) = screen.moment else { return 1 };
    let sums = SUMS.iter().filter_map(|name| moment.vitals.iter().find(|vital| vital.name == *name));
    let sums: Vec<String> =
        sums.map(|v| format!("{} {}", common::vital_label(&v.name, lang), value(v.value, &v.unit))).collect();
    canvas.put(line_of(area, 1), &sums.join(" · "), Tone::Plain);
    let Some(incident) = known(screen).find(|incident| is_on(incident, screen)) else { return 2 };
    let lasts = duration(screen.at.since(incident.since).as_secs_f64(), lang);
    let what = incident.findings.first().map_or(incident.cause.as_str(), |f| f.summary.lang(lang));
    let text = match lang {
        Lang::En => format!("{} {} for {lasts}: {what}", common::INCIDENT.en, incident.id.0),
        Lang::Ja => format!("{} {}（{lasts}前から）: {what}", common::INCIDENT.ja, incident.id.0),
    };
    let lines = wrap(&plain(&text), area.width.into());
    let mut taken = 2;
    for line in lines.iter().take(INCIDENT_LINES) {
        canvas.put(line_of(area, taken), line, Tone::Bad);
        taken += 1;
    }
    taken
}

/// What is wrong with the reading: late, missing.
fn reading(screen: &Screen<'_>) -> Vec<String> {
    let lang = screen.lang;
    let Some(moment) = screen.moment else { return vec![words::NO_READING_YET.lang(lang).to_owned()] };
    let mut told = Vec::new();
    let sample = &moment.sample;
    let gap_from = screen.every * 5 / 2;
    let since = screen.at.since(sample.at);
    let before = moment.before.as_ref().map(|before| sample.at.since(before.at)).unwrap_or_default();
    let seconds = |gap: std::time::Duration| duration(gap.as_secs_f64(), lang);
    if since > gap_from {
        told.push(match lang {
            Lang::En => format!("no reading for {}", seconds(since)),
            Lang::Ja => format!("{}間計測なし", seconds(since)),
        });
    } else if before > gap_from {
        told.push(match lang {
            Lang::En => format!("no reading in the {} before", seconds(before)),
            Lang::Ja => format!("直前の {}間計測なし", seconds(before)),
        });
    }
    if sample.late_us >= LATE_US {
        let late = duration(f64::from(sample.late_us) / 1e6, lang);
        told.push(match lang {
            Lang::En => format!("{late} late"),
            Lang::Ja => format!("{late}の遅れ"),
        });
    }
    told
}

/// The bar over a panel; the one that the keys are for is marked. Returns what is below.
fn title(screen: &Screen<'_>, canvas: &mut Canvas<'_>, area: Rect, panel: Panel, parts: &[String]) -> Rect {
    let name = match panel {
        Panel::Processes => &words::PROCESSES,
        Panel::Vitals => &words::VITALS,
        Panel::Sockets => &words::SOCKETS,
        Panel::Incidents => &words::INCIDENTS,
    };
    let chosen = screen.lens.panel == panel;
    let mut text = format!("{} {}", if chosen { '>' } else { ' ' }, name.lang(screen.lang));
    for part in parts.iter().filter(|part| !part.is_empty()) {
        text.push_str(&format!(" · {}", plain(part)));
    }
    canvas.bar(line_of(area, 0), &text, chosen);
    let taken = area.height.min(1);
    Rect { y: area.y + taken, height: area.height - taken, ..area }
}

fn table(screen: &Screen<'_>, canvas: &mut Canvas<'_>, area: Rect, panel: Panel, grid: &Grid, none: &Text) {
    if grid.rows.is_empty() {
        canvas.put(line_of(area, 0), &format!("  {}", none.lang(screen.lang)), Tone::Faint);
        return;
    }
    let first = Panel::ALL.iter().position(|p| *p == panel).map_or(0, |at| screen.lens.scroll[at]);
    grid.draw(canvas, area, first, true);
}

pub(super) fn vital_rows(screen: &Screen<'_>, moment: &Moment, width: u16) -> Grid {
    let mut vitals: Vec<&Vital> = moment.vitals.iter().collect();
    vitals.sort_by(|a, b| by_strangeness(a, b));
    let rows = vitals.into_iter().map(|vital| {
        let (tone, cells) = vital_row(vital, screen.at, screen.lang);
        (tone, cells.to_vec())
    });
    let lang = screen.lang;
    let columns = vec![
        Column::left(common::VITAL.lang(lang), (width / 3).clamp(16, 34)),
        Column::right(common::NOW.lang(lang), 9),
        Column::right(common::USUAL.lang(lang), 15),
        Column::rest(common::STATE.lang(lang)),
    ];
    Grid { columns, rows: rows.collect() }
}

pub(super) fn vitals(screen: &Screen<'_>, moment: &Moment, canvas: &mut Canvas<'_>, area: Rect) {
    let area = title(screen, canvas, area, Panel::Vitals, &[]);
    let grid = vital_rows(screen, moment, area.width);
    table(screen, canvas, area, Panel::Vitals, &grid, &words::NO_VITALS);
}

pub(super) fn processes(screen: &Screen<'_>, moment: &Moment, canvas: &mut Canvas<'_>, area: Rect) {
    let (lens, lang, all) = (screen.lens, screen.lang, &moment.sample.processes);
    let rows = processes::rows(moment, screen);
    let shown = count(rows.len() as u64);
    let sort = match lens.sort {
        Sort::Cpu => &words::BY_CPU,
        Sort::Memory => &words::BY_MEMORY,
        Sort::Io => &words::BY_IO,
        Sort::Threads => &words::BY_THREADS,
        Sort::Handles => &words::BY_HANDLES,
    };
    let mut parts = vec![
        match lang {
            Lang::En => format!("{shown} of {}", count(all.count.into())),
            Lang::Ja => format!("{} 件中 {shown} 件", count(all.count.into())),
        },
        sort.lang(lang).to_owned(),
    ];
    if !lens.filter.is_empty() {
        parts.push(format!("{} \"{}\"", words::FILTER.lang(lang), lens.filter));
    }
    if let Some(missed) = all.count.checked_sub(all.looked_at).filter(|missed| *missed > 0) {
        parts.push(match lang {
            Lang::En => format!("{} not looked at in this second", count(missed.into())),
            Lang::Ja => format!("{} 件はこの秒に未計測", count(missed.into())),
        });
    }
    let area = title(screen, canvas, area, Panel::Processes, &parts);
    let grid = processes::grid(&rows, moment, screen, area.width);
    table(screen, canvas, area, Panel::Processes, &grid, &words::NO_PROCESS);
}

/// The sums by state and port.
pub(super) fn sums(moment: &Moment) -> impl Iterator<Item = &SocketCount> {
    moment.sample.sockets.iter().filter(|socket| socket.peers.is_none() && socket.count > 0)
}

pub(super) fn sockets(screen: &Screen<'_>, moment: &Moment, canvas: &mut Canvas<'_>, area: Rect) {
    let lang = screen.lang;
    let mut sums: Vec<&SocketCount> = sums(moment).collect();
    sums.sort_by_key(|sum| (std::cmp::Reverse(sum.count), sum.port, sum.state.number()));
    let all: u64 = sums.iter().map(|sum| u64::from(sum.count)).sum();
    let rows = sums.into_iter().map(|sum| {
        let same = |socket: &&SocketCount| (socket.state, socket.port) == (sum.state, sum.port);
        let mut peers: Vec<_> = moment.sample.sockets.iter().filter(same).collect();
        peers.sort_by_key(|socket| (std::cmp::Reverse(socket.count), socket.peers));
        let peers = peers.into_iter().filter_map(|socket| Some((socket.peers?, socket.count)));
        let peers: Vec<String> = peers.map(|(peers, n)| format!("{peers} {}", count(n.into()))).collect();
        let port = match sum.port {
            0 => words::OTHER_PORT.lang(lang).to_owned(),
            port => port.to_string(),
        };
        let cells = vec![words::tcp_state(sum).to_owned(), port, count(sum.count.into()), peers.join(" · ")];
        (Tone::Plain, cells)
    });
    let columns = vec![
        Column::left(words::TCP_STATE.lang(lang), 11),
        Column::right(words::PORT.lang(lang), 6),
        Column::right(words::COUNT.lang(lang), 7),
        Column::rest(words::PEERS.lang(lang)),
    ];
    let grid = Grid { columns, rows: rows.collect() };
    let area = title(screen, canvas, area, Panel::Sockets, &[count(all)]);
    table(screen, canvas, area, Panel::Sockets, &grid, &words::NO_SOCKETS);
}

/// The incidents that had begun by the moment.
pub(super) fn known<'a>(screen: &Screen<'a>) -> impl Iterator<Item = &'a Incident> {
    let at = screen.at;
    screen.incidents.iter().filter(move |incident| incident.since <= at)
}

fn is_on(incident: &Incident, screen: &Screen<'_>) -> bool {
    incident.since <= screen.at && incident.ended.is_none_or(|ended| ended >= screen.at)
}

pub(super) fn incidents(screen: &Screen<'_>, canvas: &mut Canvas<'_>, area: Rect) {
    let lang = screen.lang;
    let rows = known(screen).map(|incident| {
        let on = is_on(incident, screen);
        let until = incident.ended.filter(|_| !on).unwrap_or(screen.at);
        let state = if on { &common::STILL_OPEN } else { &common::ENDED };
        let summary = incident.findings.first().map_or("", |finding| finding.summary.lang(lang));
        let cells = vec![
            incident.id.0.to_string(),
            short_moment(incident.since, screen.tz),
            duration(until.since(incident.since).as_secs_f64(), lang),
            state.lang(lang).to_owned(),
            incident.cause.clone(),
            summary.to_owned(),
        ];
        (if on { Tone::Bad } else { Tone::Plain }, cells)
    });
    let columns = vec![
        Column::right(common::ID.lang(lang), 4),
        Column::left(common::WHEN.lang(lang), 14),
        Column::left(common::LASTED.lang(lang), 12),
        Column::left(common::STATE.lang(lang), 6),
        Column::left(common::CAUSE.lang(lang), (area.width / 6).clamp(12, 24)),
        Column::rest(common::SUMMARY.lang(lang)),
    ];
    let grid = Grid { columns, rows: rows.collect() };
    let area = title(screen, canvas, area, Panel::Incidents, &[]);
    table(screen, canvas, area, Panel::Incidents, &grid, &common::NO_INCIDENTS);
}

pub(super) fn help(screen: &Screen<'_>, canvas: &mut Canvas<'_>, area: Rect) {
    canvas.bar(line_of(area, 0), &format!("  {}", words::KEYS.lang(screen.lang)), true);
    let keys = words::KEY_LIST.iter().map(|(key, does)| {
        (Tone::Plain, vec![String::new(), (*key).to_owned(), does.lang(screen.lang).to_owned()])
    });
    let columns = vec![Column::left("", 1), Column::left("", 18), Column::rest("")];
    Grid { columns, rows: keys.collect() }.draw(canvas, line_of_all(area), 0, false);
}

fn line_of_all(area: Rect) -> Rect {
    Rect { y: area.y.saturating_add(1), height: area.height.saturating_sub(1), ..area }
}

/// What is typed, or what there is to tell, or what the keys are.
pub(super) fn foot(screen: &Screen<'_>, canvas: &mut Canvas<'_>, line: Rect) {
    let (lens, lang) = (screen.lens, screen.lang);
    let (label, typed, forms) = match &lens.prompt {
        Some(Prompt::GoTo(text)) => (&words::GO_TO, text, &words::GO_TO_FORMS),
        Some(Prompt::Filter) => (&words::FILTER, &lens.filter, &words::FILTER_FORMS),
        None => {
            match &lens.message {
                Some(message) => canvas.put(line, &plain(message), Tone::Warn),
                None => canvas.put(line, words::HINTS.lang(lang), Tone::Faint),
            };
            return;
        }
    };
    let rest = canvas.put(line, &format!("{}: {}_", label.lang(lang), plain(typed)), Tone::Strong);
    canvas.put(rest, &format!("   {}", forms.lang(lang)), Tone::Faint);
}
