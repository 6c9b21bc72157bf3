//! Cells of a terminal: columns of fixed width, so that nothing moves from one second to the next.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::layout::{Tone, cut, pad, pad_left, safe};

/// Where it is drawn, and whether in colour.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) colour: bool,
}

impl Canvas<'_> {
    /// Writes at the left of a line, and returns what is left of it.
    pub(super) fn put(&mut self, line: Rect, text: &str, tone: Tone) -> Rect {
        let style = self.style(tone);
        self.styled(line, text, style)
    }

    /// A line that heads something: shown the other way round in all its length.
    pub(super) fn bar(&mut self, line: Rect, text: &str, strong: bool) {
        let mut style = Style::new().add_modifier(Modifier::REVERSED);
        if strong {
            style = style.add_modifier(Modifier::BOLD);
        }
        self.styled(line, &pad(&cut(text, line.width.into()), line.width.into()), style);
    }

    fn styled(&mut self, line: Rect, text: &str, style: Style) -> Rect {
        let line = line.intersection(self.buffer.area);
        if line.is_empty() {
            return line;
        }
        let text = cut(text, line.width.into());
        let (x, _) = self.buffer.set_stringn(line.x, line.y, text, line.width.into(), style);
        Rect { x, width: line.right().saturating_sub(x), ..line }
    }

    fn style(&self, tone: Tone) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let coloured = |colour| if self.colour { bold.fg(colour) } else { bold };
        match tone {
            Tone::Plain => Style::new(),
            Tone::Strong => bold,
            Tone::Faint => Style::new().add_modifier(Modifier::DIM),
            Tone::Good => coloured(Color::Green),
            Tone::Warn => coloured(Color::Yellow),
            Tone::Bad => coloured(Color::Red),
        }
    }
}

/// A text of a stranger, harmless for a terminal. Also what is not seen is shown as its code: terminals differ in how
/// wide it is, and one that thinks it wider than we do would break the line.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let unseen = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0000}'..='\u{e0fff}');
        if unseen {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    safe(&out)
}

pub(super) struct Column {
    head: String,
    /// 0 for one that is left out.
    width: u16,
    right: bool,
}

impl Column {
    pub(super) fn left(head: &str, width: u16) -> Column {
        Column { head: head.to_owned(), width, right: false }
    }

    pub(super) fn right(head: &str, width: u16) -> Column {
        Column { right: true, ..Column::left(head, width) }
    }

    /// As wide as what is left.
    pub(super) fn rest(head: &str) -> Column {
        Column::left(head, u16::MAX)
    }
}

/// A table. What does not fit into a column is cut.
pub(super) struct Grid {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<(Tone, Vec<String>)>,
}

impl Grid {
    /// Draws the rows from `first` on, below their heading.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect, first: usize, heading: bool) {
        let mut lines = area.rows();
        if heading && let Some(line) = lines.next() {
            let heads: Vec<&str> = self.columns.iter().map(|column| column.head.as_str()).collect();
            canvas.put(line, &self.line(&heads, line.width), Tone::Faint);
        }
        let first = first.min(self.rows.len().saturating_sub(1));
        for (line, (tone, cells)) in lines.zip(self.rows.iter().skip(first)) {
            let cells: Vec<String> = cells.iter().map(|cell| plain(cell)).collect();
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            canvas.put(line, &self.line(&cells, line.width), *tone);
        }
    }

    fn line(&self, cells: &[&str], width: u16) -> String {
        let mut line = String::new();
        let mut left = usize::from(width);
        for (column, cell) in self.columns.iter().zip(cells).filter(|(column, _)| column.width > 0) {
            let room = usize::from(column.width).min(left);
            let cell = cut(cell, room);
            line.push_str(&if column.right { pad_left(&cell, room) } else { pad(&cell, room) });
            line.push(' ');
            left = left.saturating_sub(room + 1);
        }
        line.trim_end().to_owned()
    }
}
