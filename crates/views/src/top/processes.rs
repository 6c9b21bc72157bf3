//! The table of processes: rates from two neighbouring samples, an order, a filter, and the columns that fit.

use std::collections::HashMap;

use toban_model::{ProcessId, ProcessUse, unit_name, unit_of};

use super::grid::{Column, Grid};
use super::{Lens, Moment, Screen, Sort, words};
use crate::format::bytes;
use crate::layout::Tone;

/// Screens that are narrower show what matters most.
const WIDE: u16 = 120;
/// Here there is also room for the function that a process waits in.
const VERY_WIDE: u16 = 150;

/// A process with what it did since the sample before: known if it was told of in both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) process: &'a ProcessUse,
    /// In percent of one core.
    pub(super) cpu: Option<f64>,
    /// Bytes a second.
    pub(super) read: Option<f64>,
    pub(super) written: Option<f64>,
}

impl Row<'_> {
    fn io(&self) -> Option<f64> {
        self.read.or(self.written).map(|_| self.read.unwrap_or(0.0) + self.written.unwrap_or(0.0))
    }

    fn key(&self, sort: Sort) -> f64 {
        let key = match sort {
            Sort::Cpu => self.cpu,
            Sort::Memory => Some(self.process.resident as f64),
            Sort::Io => self.io(),
            Sort::Threads => Some(f64::from(self.process.threads)),
            Sort::Handles => self.process.handles.map(f64::from),
        };
        key.unwrap_or(-1.0)
    }
}

/// The processes that are to be shown, in their order.
pub(super) fn rows<'a>(moment: &'a Moment, screen: &Screen<'_>) -> Vec<Row<'a>> {
    let lens = screen.lens;
    let before: HashMap<ProcessId, &ProcessUse> = moment
        .before
        .iter()
        .flat_map(|before| before.processes.busiest.iter().map(|process| (process.id, process)))
        .collect();
    let seconds = moment.before.as_ref().map_or(0.0, |b| moment.sample.at.since(b.at).as_secs_f64());
    let rate = |now: Option<u64>, before: Option<u64>| {
        let grown = now?.checked_sub(before?)? as f64;
        (seconds > 0.0).then_some(grown / seconds)
    };
    // Where a pass was cut, one that seems to have done nothing may only not have been looked at.
    let all = &moment.sample.processes;
    let cut = all.looked_at < all.count;
    let wanted = lens.filter.to_lowercase();
    let mut rows: Vec<Row<'a>> = moment
        .sample
        .processes
        .busiest
        .iter()
        .filter(|process| wanted.is_empty() || told_of(process, moment, screen).contains(&wanted))
        .map(|process| {
            let then = before.get(&process.id);
            Row {
                process,
                cpu: rate(Some(process.cpu_us), then.map(|p| p.cpu_us))
                    .map(|us| us / 10_000.0)
                    .filter(|percent| !cut || *percent > 0.0),
                read: rate(process.read, then.and_then(|p| p.read)),
                written: rate(process.written, then.and_then(|p| p.written)),
            }
        })
        .collect();
    rows.sort_by(|a, b| {
        let (first, second) = (b.key(lens.sort), a.key(lens.sort));
        let ties = || b.key(Sort::Cpu).total_cmp(&a.key(Sort::Cpu));
        let more = || b.process.resident.cmp(&a.process.resident);
        first.total_cmp(&second).then_with(ties).then_with(more).then(a.process.id.pid.cmp(&b.process.id.pid))
    });
    rows
}

/// Everything that the filter looks at.
fn told_of(process: &ProcessUse, moment: &Moment, screen: &Screen<'_>) -> String {
    let texts = &moment.sample.texts;
    let [comm, command, group] = [process.comm, process.command, process.group].map(|span| texts.get(span));
    let (pid, user, unit) = (process.id.pid, user_of(process, screen), unit_of(group));
    format!("{pid}\n{user}\n{comm}\n{command}\n{unit}").to_lowercase()
}

fn user_of(process: &ProcessUse, screen: &Screen<'_>) -> String {
    screen.users.get(&process.user).cloned().unwrap_or_else(|| process.user.to_string())
}

/// The table as it fits into so many columns.
pub(super) fn grid(rows: &[Row<'_>], moment: &Moment, screen: &Screen<'_>, width: u16) -> Grid {
    let (lens, lang) = (screen.lens, screen.lang);
    let (wide, very_wide) = (width >= WIDE, width >= VERY_WIDE);
    // Half of what the command line can do with.
    let unit = if lens.full_command && !wide { 0 } else { (width / 6).clamp(12, 26) };
    let columns = vec![
        Column::right("PID", 7),
        Column::left(words::USER.lang(lang), 8),
        Column::left("S", 1),
        Column::right("CPU%", 5),
        Column::right(words::MEMORY.lang(lang), 6),
        Column::right("THR", 4),
        Column::right(words::IO.lang(lang), if wide { 0 } else { 6 }),
        Column::right(words::READ.lang(lang), if wide { 7 } else { 0 }),
        Column::right(words::WRITTEN.lang(lang), if wide { 7 } else { 0 }),
        Column::right("FD", 5),
        Column::left(words::UNIT.lang(lang), unit),
        Column::left(words::WAITS_IN.lang(lang), if very_wide { 16 } else { 0 }),
        Column::rest(words::COMMAND.lang(lang)),
    ];
    let rows = rows.iter().map(|row| {
        let process = row.process;
        let texts = &moment.sample.texts;
        let unit = unit_name(unit_of(texts.get(process.group))).unwrap_or_default();
        // As systemctl(1) takes it too.
        let unit = unit.strip_suffix(".service").unwrap_or(&unit).to_owned();
        let tone = match process.state {
            b'D' => Tone::Warn,
            b'Z' => Tone::Faint,
            _ => Tone::Plain,
        };
        let cells = vec![
            process.id.pid.to_string(),
            user_of(process, screen),
            char::from(process.state).to_string(),
            row.cpu.map_or_else(unknown, percent),
            bytes(process.resident as f64),
            few(process.threads),
            row.io().map_or_else(unknown, bytes),
            row.read.map_or_else(unknown, bytes),
            row.written.map_or_else(unknown, bytes),
            process.handles.map_or_else(unknown, few),
            unit,
            texts.get(process.waits_in).to_owned(),
            command_of(process, moment, lens),
        ];
        (tone, cells)
    });
    Grid { columns, rows: rows.collect() }
}

fn command_of(process: &ProcessUse, moment: &Moment, lens: &Lens) -> String {
    let texts = &moment.sample.texts;
    let (comm, command) = (texts.get(process.comm), texts.get(process.command));
    match command {
        // As ps(1) shows what has no command line: kernel threads, zombies.
        "" => format!("[{comm}]"),
        line if lens.full_command => line.to_owned(),
        _ => comm.to_owned(),
    }
}

fn unknown() -> String {
    "-".to_owned()
}

fn percent(share: f64) -> String {
    if share < 999.95 { format!("{share:.1}") } else { format!("{share:.0}") }
}

/// A count in five columns.
fn few(n: u32) -> String {
    match n {
        0..100_000 => n.to_string(),
        100_000..10_000_000 => format!("{}k", n / 1000),
        _ => format!("{}M", n / 1_000_000),
    }
}
