//! `toban top`: one host at one moment as a screen of a terminal. The noun is the [`Screen`]; to draw it is a pure
//! function of it.
//!
//! A large window has all panels at once; in a small one they share it by turns, and the most unusual vitals stay.

mod grid;
mod panels;
mod processes;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::Widget;
use toban_model::{Incident, Lang, Sample, Time, Vital};

use crate::layout::width;
use grid::Canvas;

/// From so many columns and lines on all panels are shown at once.
const LARGE: (u16, u16) = (120, 36);
/// In a small window, vitals above the panel; in one that is lower still, none.
const STRIP: u16 = 4;
const STRIP_FROM: u16 = 16;
/// A reading that is later than this is worth a word.
const LATE_US: u32 = 100_000;

/// What is known of a host at a moment.
#[derive(Clone, Debug, Default)]
pub struct Moment {
    /// The sample, the newest at or before the moment.
    pub sample: Sample,
    /// The one before it, from which rates come.
    pub before: Option<Sample>,
    /// The vitals against their usual.
    pub vitals: Vec<Vital>,
}

/// Which moment is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// The present.
    #[default]
    Live,
    /// The moment at which the present was stopped.
    Paused,
    /// One of the recording.
    Past,
}

/// The parts of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Panel {
    /// Who uses what.
    #[default]
    Processes,
    /// Against their usual.
    Vitals,
    /// By state and port.
    Sockets,
    /// What was found.
    Incidents,
}

impl Panel {
    /// All, in the order in which one goes from each to the next.
    pub const ALL: [Panel; 4] = [Panel::Processes, Panel::Vitals, Panel::Sockets, Panel::Incidents];
}

/// What the processes are sorted by, the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Sort {
    #[default]
    Cpu,
    Memory,
    Io,
    Threads,
    Handles,
}

/// What is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// A time to go to.
    GoTo(String),
    /// The filter, which works while it is typed.
    Filter,
}

/// How somebody looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lens {
    /// The panel that the keys are for.
    pub panel: Panel,
    /// The order of the processes.
    pub sort: Sort,
    /// Only processes with this text, whatever its case; all if empty.
    pub filter: String,
    /// Whole command lines instead of names.
    pub full_command: bool,
    /// What is being typed.
    pub prompt: Option<Prompt>,
    /// The keys are shown.
    pub help: bool,
    /// The first row of each panel, in the order of [`Panel::ALL`].
    pub scroll: [usize; 4],
    /// Something to tell, until the next key.
    pub message: Option<String>,
}

/// Everything on the screen, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug)]
pub struct Screen<'a> {
    /// The host's name.
    pub host: &'a str,
    /// The language.
    pub lang: Lang,
    /// The zone.
    pub tz: &'a TimeZone,
    /// Colour is an addition; all is said without it.
    pub colour: bool,
    /// Which moment it is.
    pub place: Place,
    /// The moment.
    pub at: Time,
    /// The present.
    pub present: Time,
    /// How often readings are taken.
    pub every: Duration,
    /// What is known of the moment, if anything yet.
    pub moment: Option<&'a Moment>,
    /// What the record holds of incidents, newest first.
    pub incidents: &'a [Incident],
    /// The users' names by their numbers.
    pub users: &'a BTreeMap<u32, String>,
    /// How it is looked at.
    pub lens: &'a Lens,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let [rest, foot] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
        let mut canvas = Canvas { buffer, colour: self.colour };
        self.draw(&mut canvas, rest);
        panels::foot(&self, &mut canvas, foot);
    }
}

impl Screen<'_> {
    /// The screen as text, for what is no terminal: of `columns`, and as long as it is but at most `lines`.
    pub fn text(&self, columns: u16, lines: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, lines));
        let area = buffer.area;
        self.draw(&mut Canvas { buffer: &mut buffer, colour: false }, area);
        text(&buffer)
    }

    /// How many rows a panel has.
    pub fn rows(&self, panel: Panel) -> usize {
        let moment = |count: fn(&Moment, &Screen<'_>) -> usize| self.moment.map_or(0, |m| count(m, self));
        match panel {
            Panel::Processes => moment(|moment, screen| processes::rows(moment, screen).len()),
            Panel::Vitals => moment(|moment, _| moment.vitals.len()),
            Panel::Sockets => moment(|moment, _| panels::sums(moment).count()),
            Panel::Incidents => panels::known(self).count(),
        }
    }

    fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let head = panels::head(self, canvas, area);
        let [_, body] = Layout::vertical([Constraint::Length(head), Constraint::Min(0)]).areas(area);
        let large = area.width >= LARGE.0 && area.height >= LARGE.1;
        let Some(moment) = self.moment.filter(|_| !self.lens.help) else {
            if self.lens.help {
                panels::help(self, canvas, body);
            }
            return;
        };
        if large {
            let [above, middle, below] = Layout::vertical([
                Constraint::Percentage(34),
                Constraint::Min(0),
                Constraint::Length(if self.lens.panel == Panel::Incidents { 12 } else { 5 }),
            ])
            .areas(body);
            let [left, _, right] =
                Layout::horizontal([Constraint::Percentage(54), Constraint::Length(1), Constraint::Min(0)])
                    .areas(above);
            panels::vitals(self, moment, canvas, left);
            panels::sockets(self, moment, canvas, right);
            panels::processes(self, moment, canvas, middle);
            panels::incidents(self, canvas, below);
            return;
        }
        let strip = if area.height < STRIP_FROM || self.lens.panel == Panel::Vitals { 0 } else { STRIP };
        let [above, body] = Layout::vertical([Constraint::Length(strip), Constraint::Min(0)]).areas(body);
        panels::vital_rows(self, moment, above.width).draw(canvas, above, 0, false);
        match self.lens.panel {
            Panel::Processes => panels::processes(self, moment, canvas, body),
            Panel::Vitals => panels::vitals(self, moment, canvas, body),
            Panel::Sockets => panels::sockets(self, moment, canvas, body),
            Panel::Incidents => panels::incidents(self, canvas, body),
        }
    }
}

/// The lines of a buffer; of blank ones between panels one is enough.
fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for row in buffer.area.rows() {
        let mut line = String::new();
        let mut x = row.x;
        while x < row.right() {
            let symbol = buffer[(x, row.y)].symbol();
            line.push_str(symbol);
            x += u16::try_from(width(symbol)).unwrap_or(1).max(1);
        }
        let line = line.trim_end();
        if !(line.is_empty() && out.ends_with("\n\n")) {
            out.push_str(line);
            out.push('\n');
        }
    }
    format!("{}\n", out.trim_end())
}
