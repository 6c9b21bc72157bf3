//! The same for people: one screen of text, in English or Japanese.

mod lists;
mod scan;

use std::cmp::Ordering;

use jiff::tz::TimeZone;
use toban_model::{
    Action, Evidence, Finding, Host, Lang, LogRole, Plan, Remedy, Text, Time, Verdict, Vital, VitalState,
};

pub use lists::{actions, bans, incidents};
pub use scan::{blamed, busiest};

use crate::Answer;
use crate::format::{bytes, count, duration, moment, value};
use crate::layout::{Style, Table, Tone, pad, safe, width, wrap};
use crate::words;

/// Evidence that was said at a moment, which is its value in seconds since the epoch.
const SAID: &[&str] = &["kernel-word", "last-words"];
/// Vitals in the "as usual" line; what is beyond is counted.
const USUAL_SHOWN: usize = 10;
/// Vitals out of their usual that a verdict without a finding lists.
const UNUSUAL_SHOWN: usize = 8;

/// `toban why`.
pub fn why(answer: &Answer<'_>, lang: Lang, tz: &TimeZone, style: Style) -> String {
    let page = Page { lang, tz, style };
    let mut out = String::new();
    page.headline(&mut out, answer);
    match answer.findings {
        [] => page.no_finding(&mut out, answer),
        [first, others @ ..] => {
            page.finding(&mut out, answer, first);
            for other in others {
                out.push('\n');
                page.section(&mut out, &format!("{}: {}", words::ALSO.lang(lang), safe(&other.cause)));
                page.finding(&mut out, answer, other);
            }
        }
    }
    out.push('\n');
    page.history(&mut out, answer);
    for note in answer.notes {
        out.push('\n');
        page.paragraph(&mut out, &format!("{}: {}", words::NOTE.lang(lang), note.lang(lang)));
    }
    if answer.explain {
        out.push('\n');
        out.push_str(&explain(answer.host, lang, style));
    }
    out
}

/// `toban status`: every vital against its usual, the most unusual first.
pub fn status(answer: &Answer<'_>, lang: Lang, tz: &TimeZone, style: Style) -> String {
    let page = Page { lang, tz, style };
    let mut out = String::new();
    page.headline(&mut out, answer);
    if let Some(finding) = answer.findings.first() {
        out.push('\n');
        page.paragraph(&mut out, finding.summary.lang(lang));
    }
    out.push('\n');
    let mut vitals: Vec<&Vital> = answer.vitals.iter().collect();
    vitals.sort_by(|a, b| by_strangeness(a, b));
    page.vitals(&mut out, answer.at, &vitals);
    crate::agent::print(&mut out, answer.agent, lang, style);
    out
}

/// What was found on the host: `toban why --explain`.
pub fn explain(host: &Host, lang: Lang, style: Style) -> String {
    let mut out = String::new();
    let page = Page { lang, tz: &TimeZone::UTC, style };
    page.section(&mut out, words::FOUND.lang(lang));
    let mut table = Table::new(4, &[]);
    let mut row = |label: &Text, text: String| table.row(Tone::Plain, [label.lang(lang).to_owned(), text]);
    row(
        &words::MACHINE,
        match lang {
            Lang::En => format!("{} cores · {} of memory", host.cores, bytes(host.memory_bytes as f64)),
            Lang::Ja => format!("{} コア · メモリ {}", host.cores, bytes(host.memory_bytes as f64)),
        },
    );
    row(&words::ADDRESSES, joined(&host.own, lang));
    row(
        &words::KERNEL,
        joined(&host.kernel_logs.iter().map(|path| path.display()).collect::<Vec<_>>(), lang),
    );
    table.print(&mut out, style);
    if host.services.is_empty() {
        out.push('\n');
        page.paragraph(&mut out, words::NO_SERVICE.lang(lang));
    }
    for service in &host.services {
        out.push('\n');
        let kind = words::service_kind(service.kind);
        page.section(&mut out, &safe(&format!("{} · {kind} · pid {}", service.id, service.master.pid)));
        let mut table = Table::new(4, &[]);
        let mut row =
            |label: &Text, text: String| table.row(Tone::Plain, [label.lang(lang).to_owned(), text]);
        let unix = service.listens_unix.iter().map(|path| path.display().to_string());
        let listens: Vec<String> = service.listens.iter().map(ToString::to_string).chain(unix).collect();
        row(&words::LISTENS, joined(&listens, lang));
        row(
            &words::WORKERS,
            match (service.worker_limit, &service.worker_limit_from) {
                (Some(limit), Some(from)) => format!("{} ({from})", count(limit.into())),
                (Some(limit), None) => count(limit.into()),
                (None, _) => words::NO_LIMIT.lang(lang).to_owned(),
            },
        );
        for log in &service.logs {
            let role = match log.role {
                LogRole::Access => "access",
                LogRole::Error => "error",
                LogRole::Kernel => "kernel",
                LogRole::Service => "service",
            };
            let format = log.format.as_deref().unwrap_or_else(|| words::NO_FORMAT.lang(lang));
            row(&words::LOGS, format!("{} · {role} · {format}", log.path.display()));
        }
        if !service.trusted_proxies.is_empty() {
            row(&words::PROXIES, joined(&service.trusted_proxies, lang));
        }
        if !service.backends.is_empty() {
            row(&words::BACKENDS, joined(&service.backends, lang));
        }
        row(&words::RESTARTED_BY, words::supervisor(&service.supervisor, lang));
        if !service.config.is_empty() {
            row(&words::CONFIG, config_files(&service.config, lang));
        }
        table.print(&mut out, style);
    }
    if !host.blind.is_empty() {
        out.push('\n');
        page.section(&mut out, words::BLIND.lang(lang));
        for blind in &host.blind {
            page.indented(&mut out, 4, blind);
        }
    }
    out
}

/// The main file and how many more there are: a stock Apache has fifty.
fn config_files(files: &[std::path::PathBuf], lang: Lang) -> String {
    let main = files.first().map(|path| path.display().to_string()).unwrap_or_default();
    match (files.len().saturating_sub(1), lang) {
        (0, _) => main,
        (more, Lang::En) => format!("{main} and {more} more"),
        (more, Lang::Ja) => format!("{main} ほか {more} 件"),
    }
}

/// A plan before it is carried out: `toban fix N --dry-run`, and the question that `toban fix N` asks.
pub fn plan(plan: &Plan, lang: Lang, style: Style) -> String {
    let page = Page { lang, tz: &TimeZone::UTC, style };
    let mut out = String::new();
    page.section(&mut out, words::PLAN.lang(lang));
    let mut table = Table::new(4, &[0]);
    for (i, action) in plan.steps.iter().enumerate() {
        table.row(Tone::Plain, [format!("{}.", i + 1), words::step(action, lang)]);
    }
    table.gap = 1;
    table.print(&mut out, style);
    out.push('\n');
    page.paragraph(&mut out, plan.reason.lang(lang));
    let brings = page.brings(plan, None);
    if !brings.is_empty() {
        page.paragraph(&mut out, &brings);
    }
    out
}

/// The most unusual first: what has been so for minutes, what is so now, what is at the upper end of its range; what
/// cannot be compared comes last.
pub(crate) fn by_strangeness(a: &Vital, b: &Vital) -> Ordering {
    let rank = |vital: &Vital| (vital.since.is_some(), vital.strangeness());
    let ((lasts_a, a_strange), (lasts_b, b_strange)) = (rank(a), rank(b));
    lasts_b.cmp(&lasts_a).then(b_strange.total_cmp(&a_strange)).then_with(|| a.name.cmp(&b.name))
}

fn is_unusual(vital: &Vital) -> bool {
    matches!(vital.state, VitalState::High | VitalState::Low)
}

fn joined(items: &[impl ToString], lang: Lang) -> String {
    if items.is_empty() {
        return words::NONE.lang(lang).to_owned();
    }
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" · ")
}

/// What every part of a screen needs.
struct Page<'a> {
    lang: Lang,
    tz: &'a TimeZone,
    style: Style,
}

impl Page<'_> {
    fn headline(&self, out: &mut String, answer: &Answer<'_>) {
        let mut left = moment(answer.at, self.tz);
        if !answer.host.name.is_empty() {
            // Log files alone have no host.
            left = format!("{} · {left}", safe(&answer.host.name));
        }
        let word = words::verdict(answer.verdict);
        let mut right = word.lang(self.lang).to_owned();
        if let Some(since) = answer.since().filter(|_| answer.verdict != Verdict::Ok) {
            let lasted = duration(answer.at.since(since).as_secs_f64(), self.lang);
            right.push_str(&match self.lang {
                Lang::En => format!(" for {lasted}"),
                Lang::Ja => format!("（{lasted}前から）"),
            });
        }
        let tone = match answer.verdict {
            Verdict::Ok => Tone::Good,
            Verdict::Watch => Tone::Warn,
            Verdict::Incident => Tone::Bad,
        };
        let room = self.style.columns().saturating_sub(width(&left) + width(&right));
        let space = if room < 2 { "\n".to_owned() } else { " ".repeat(room) };
        out.push_str(&self.style.paint(Tone::Strong, &left));
        out.push_str(&space);
        out.push_str(&self.style.paint(tone, &right));
        out.push('\n');
    }

    /// How far back the usual can reach.
    fn history(&self, out: &mut String, answer: &Answer<'_>) {
        let Some(from) = answer.history_from else {
            return self.paragraph(out, words::NO_HISTORY.lang(self.lang));
        };
        let (from, back) = (moment(from, self.tz), duration(answer.at.since(from).as_secs_f64(), self.lang));
        let text = match self.lang {
            Lang::En => format!("History read back to {from}, {back}."),
            Lang::Ja => format!("履歴は {from} まで、{back}さかのぼって読みました。"),
        };
        self.paragraph(out, &text);
    }

    fn section(&self, out: &mut String, title: &str) {
        out.push_str("  ");
        out.push_str(&self.style.paint(Tone::Strong, title));
        out.push('\n');
    }

    fn paragraph(&self, out: &mut String, text: &str) {
        self.indented(out, 2, text);
    }

    fn indented(&self, out: &mut String, indent: usize, text: &str) {
        for line in wrap(text, self.style.columns() - indent) {
            out.push_str(&" ".repeat(indent));
            out.push_str(&line);
            out.push('\n');
        }
    }

    fn finding(&self, out: &mut String, answer: &Answer<'_>, finding: &Finding) {
        out.push('\n');
        self.summary(out, finding);
        self.facts(out, &words::EVIDENCE, &finding.evidence);
        self.facts(out, &words::DID, &finding.effects);
        // Once, for the answer: it is the same for every finding.
        if answer.findings.first().is_some_and(|first| std::ptr::eq(first, finding)) {
            let line = self.usual_line(answer.vitals);
            if !line.is_empty() {
                out.push('\n');
                self.section(out, words::AS_USUAL.lang(self.lang));
                self.indented(out, 4, &line);
            }
        }
        if !finding.ruled_out.is_empty() {
            out.push('\n');
            self.section(out, words::RULED_OUT.lang(self.lang));
            let mut table = Table::new(4, &[]);
            for ruled_out in &finding.ruled_out {
                let because = ruled_out.because.lang(self.lang).to_owned();
                table.row(Tone::Plain, [ruled_out.cause.clone(), because]);
            }
            table.print(out, self.style);
        }
        self.remedies(out, answer, finding);
        self.advice(out, finding);
    }

    /// The sentence, and at its end at the right edge how sure it is.
    fn summary(&self, out: &mut String, finding: &Finding) {
        let (word, _) = words::level(finding.confidence);
        let percent = (finding.confidence * 100.0).round().clamp(0.0, 100.0);
        let sure = match self.lang {
            Lang::En => format!("{} ({percent} %)", word.lang(self.lang)),
            Lang::Ja => format!("{}（{percent} %）", word.lang(self.lang)),
        };
        let room = self.style.columns() - 2;
        let mut lines = wrap(finding.summary.lang(self.lang), room);
        let last = lines.pop().unwrap_or_default();
        for line in lines {
            out.push_str(&format!("  {line}\n"));
        }
        let fits = width(&last) + width(&sure) + 2 <= room;
        if fits {
            out.push_str(&format!("  {}", pad(&last, room - width(&sure))));
        } else {
            out.push_str(&format!("  {last}\n  {}", pad("", room - width(&sure))));
        }
        out.push_str(&self.style.paint(Tone::Strong, &sure));
        out.push('\n');
    }

    fn facts(&self, out: &mut String, title: &Text, facts: &[Evidence]) {
        if facts.is_empty() {
            return;
        }
        out.push('\n');
        self.section(out, title.lang(self.lang));
        let mut table = Table::new(4, &[]);
        for fact in facts {
            let mut text = fact.text.lang(self.lang).to_owned();
            if SAID.contains(&fact.what.as_str()) {
                text = format!("{} {text}", moment(Time::from_micros((fact.value * 1e6) as i64), self.tz));
            }
            let cells = vec![fact.label.lang(self.lang).to_owned(), text];
            table.row(Tone::Plain, cells);
        }
        table.print(out, self.style);
    }

    fn usual_line(&self, vitals: &[Vital]) -> String {
        let mut usual: Vec<&Vital> = vitals.iter().filter(|vital| vital.state == VitalState::Usual).collect();
        usual.sort_by_key(|vital| words::vital_rank(&vital.name));
        let shown = usual.iter().take(USUAL_SHOWN);
        let mut parts: Vec<String> = shown
            .map(|v| format!("{} {}", words::vital_label(&v.name, self.lang), value(v.value, &v.unit)))
            .collect();
        if let Some(more) = usual.len().checked_sub(USUAL_SHOWN).filter(|more| *more > 0) {
            parts.push(match self.lang {
                Lang::En => format!("and {more} more vitals"),
                Lang::Ja => format!("ほか {more} 項目"),
            });
        }
        parts.join(" · ")
    }

    fn remedies(&self, out: &mut String, answer: &Answer<'_>, finding: &Finding) {
        if finding.remedies.is_empty() {
            return;
        }
        out.push('\n');
        let whens: Vec<&str> = (0..finding.remedies.len()).map(|i| self.when(&finding.remedies, i)).collect();
        let widest = whens.iter().map(|when| width(when)).max().unwrap_or(0);
        for (remedy, when) in finding.remedies.iter().zip(whens) {
            let command = format!("toban fix {}", remedy.id);
            let before = 2 + widest + 2 + width(&command) + 3;
            let brings = self.brings(&remedy.plan, Some((answer, finding)));
            let room = self.style.columns().saturating_sub(before).max(20);
            let mut lines = wrap(remedy.text.lang(self.lang), room);
            if !brings.is_empty() {
                // Beside the text if there is room for it, else below.
                let beside = lines.len() == 1 && width(&lines[0]) + 5 + width(&brings) <= room;
                if beside {
                    lines[0].push_str(&format!("     {}", safe(&brings)));
                } else {
                    lines.extend(wrap(&brings, room));
                }
            }
            for (i, line) in lines.iter().enumerate() {
                if i == 0 {
                    out.push_str("  ");
                    out.push_str(&pad(when, widest + 2));
                    out.push_str(&self.style.paint(Tone::Strong, &command));
                    out.push_str("   ");
                } else {
                    out.push_str(&" ".repeat(before));
                }
                out.push_str(line);
                out.push('\n');
            }
        }
    }

    fn advice(&self, out: &mut String, finding: &Finding) {
        let by_hand = words::YOURSELF.lang(self.lang);
        let before = 2 + width(by_hand) + 2;
        for (i, advice) in finding.advice.iter().enumerate() {
            let lines = wrap(advice.lang(self.lang), self.style.columns().saturating_sub(before).max(20));
            for (j, line) in lines.iter().enumerate() {
                match (i, j) {
                    (0, 0) => out.push_str(&format!("\n  {by_hand}  ")),
                    _ => out.push_str(&" ".repeat(before)),
                }
                out.push_str(line);
                out.push('\n');
            }
        }
    }

    /// First things first; what changes who may come at all is for good.
    fn when(&self, remedies: &[Remedy], i: usize) -> &'static str {
        let for_good =
            |remedy: &Remedy| remedy.plan.steps.iter().any(|s| matches!(s, Action::AcceptOnlyFrom { .. }));
        let word = if for_good(&remedies[i]) {
            &words::FOR_GOOD
        } else if remedies[..i].iter().all(for_good) {
            &words::DO_NOW
        } else {
            &words::THEN
        };
        word.lang(self.lang)
    }

    /// What a plan is expected to bring, and whom it would hit.
    fn brings(&self, plan: &Plan, seen: Option<(&Answer<'_>, &Finding)>) -> String {
        let mut parts = Vec::new();
        for (name, to) in &plan.predicted {
            let unit = seen.and_then(|(answer, _)| answer.vitals.iter().find(|vital| vital.name == *name));
            let from = seen.and_then(|(answer, finding)| now_of(name, answer, finding));
            let to = value(*to, unit.map_or("", |vital| vital.unit.as_str()));
            let from = from.map(|from| value(from, unit.map_or("", |vital| vital.unit.as_str())));
            let label = words::vital_label(name, self.lang);
            parts.push(match from {
                Some(from) => format!("{label} {from} → ~{to}"),
                None => format!("{label} → ~{to}"),
            });
        }
        let drops = plan.steps.iter().any(|s| !matches!(s, Action::Restart(_) | Action::StopProcess { .. }));
        if drops {
            let (hit, of) = (count(plan.collateral.usual_clients_hit), count(plan.collateral.of));
            parts.push(match (plan.collateral.of, self.lang) {
                (0, lang) => words::HARMS_UNKNOWN.lang(lang).to_owned(),
                (_, Lang::En) => format!("harms {hit} of {of} usual clients"),
                (_, Lang::Ja) => format!("巻き添え 平常時のクライアント {of} 件中 {hit} 件"),
            });
        }
        parts.join(" · ")
    }

    fn no_finding(&self, out: &mut String, answer: &Answer<'_>) {
        out.push('\n');
        let sentence = match answer.verdict {
            Verdict::Ok => &words::NOTHING,
            Verdict::Watch => &words::WATCH_ONLY,
            Verdict::Incident => &words::NO_CAUSE,
        };
        self.paragraph(out, sentence.lang(self.lang));
        let mut unusual: Vec<&Vital> = answer.vitals.iter().filter(|vital| is_unusual(vital)).collect();
        unusual.sort_by(|a, b| by_strangeness(a, b));
        unusual.truncate(UNUSUAL_SHOWN);
        if answer.verdict != Verdict::Ok && !answer.symptoms.is_empty() {
            out.push('\n');
            self.section(out, words::OUT_OF_USUAL.lang(self.lang));
            for symptom in answer.symptoms {
                self.indented(out, 4, symptom.text.lang(self.lang));
            }
        }
        if !unusual.is_empty() {
            out.push('\n');
            self.vitals(out, answer.at, &unusual);
        }
        out.push('\n');
        self.section(out, words::CHECKED.lang(self.lang));
        for line in self.checked(answer) {
            self.indented(out, 4, &line);
        }
    }

    /// What an answer without a finding rests on: "all well" means little without it.
    fn checked(&self, answer: &Answer<'_>) -> Vec<String> {
        let lang = self.lang;
        let mut lines = Vec::new();
        let line = self.usual_line(answer.vitals);
        if !line.is_empty() {
            lines.push(line);
        }
        for service in &answer.host.services {
            let logs = service.logs.len();
            let limit = service.worker_limit.map(|limit| count(limit.into()));
            lines.push(match (lang, limit) {
                (Lang::En, Some(limit)) => {
                    format!("{}: {limit} workers, {}", service.id, plural(logs, "log"))
                }
                (Lang::En, None) => format!("{}: {}", service.id, plural(logs, "log")),
                (Lang::Ja, Some(limit)) => format!("{}: ワーカー上限 {limit}、ログ {logs} 件", service.id),
                (Lang::Ja, None) => format!("{}: ログ {logs} 件", service.id),
            });
        }
        lines.push(if answer.usual_seconds < 60.0 {
            match lang {
                Lang::En => format!("Compared with {}.", words::NO_USUAL.en),
                Lang::Ja => format!("比較対象: {}。", words::NO_USUAL.ja),
            }
        } else {
            let usual = duration(answer.usual_seconds, lang);
            match lang {
                Lang::En => format!("Compared with {usual} of usual time."),
                Lang::Ja => format!("平常時 {usual}分の記録と比較しました。"),
            }
        });
        lines
    }

    fn vitals(&self, out: &mut String, at: Time, vitals: &[&Vital]) {
        let lang = self.lang;
        let mut table = Table::new(2, &[1, 2]);
        table.heading = [&words::VITAL, &words::NOW, &words::USUAL, &words::STATE]
            .iter()
            .map(|word| word.lang(lang).to_owned())
            .collect();
        for vital in vitals {
            let (tone, cells) = vital_row(vital, at, lang);
            table.row(tone, cells);
        }
        table.print(out, self.style);
    }
}

/// A vital's row in a table: name, now, usual, state.
pub(crate) fn vital_row(vital: &Vital, at: Time, lang: Lang) -> (Tone, [String; 4]) {
    let usual = match vital.usual {
        Some(usual) => range(usual.low, usual.high, &vital.unit),
        None => "-".to_owned(),
    };
    let tone = match vital.state {
        VitalState::High | VitalState::Low => Tone::Warn,
        VitalState::Usual => Tone::Plain,
        VitalState::Unknown => Tone::Faint,
    };
    let mut state = words::vital_state(vital.state).lang(lang).to_owned();
    if let Some(since) = vital.since {
        let lasted = duration(at.since(since).as_secs_f64(), lang);
        state = match lang {
            Lang::En => format!("{state} for {lasted}"),
            Lang::Ja => format!("{state}（{lasted}前から）"),
        };
    }
    (tone, [vital.name.clone(), value(vital.value, &vital.unit), usual, state])
}

/// The present value of what a prediction speaks of.
fn now_of(name: &str, answer: &Answer<'_>, finding: &Finding) -> Option<f64> {
    let resource = finding.resource.as_ref().filter(|resource| resource.name == name);
    resource
        .map(|resource| resource.used)
        .or_else(|| answer.vitals.iter().find(|vital| vital.name == name).map(|vital| vital.value))
}

fn range(low: f64, high: f64, unit: &str) -> String {
    let (low_text, high_text) = (value(low, unit), value(high, unit));
    if low_text == high_text {
        return high_text;
    }
    // `10–50 %`, not `10 %–50 %`, when the unit is the same.
    let bare = |text: &str| text.split_once(' ').map(|(n, unit)| (n.to_owned(), unit.to_owned()));
    match (bare(&low_text), bare(&high_text)) {
        (Some((low, a)), Some((high, b))) if a == b => format!("{low}–{high} {a}"),
        _ => format!("{low_text}–{high_text}"),
    }
}

fn plural(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[cfg(test)]
mod tests;
