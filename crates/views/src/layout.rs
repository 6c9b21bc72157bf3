//! Columns and lines: what is wide, where a line breaks, and what a terminal must not be told.

use anstyle::{AnsiColor, Style as Ansi};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How the text is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colour and bold.
    pub colour: bool,
    /// Columns; below 40 it is laid out for 40.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Style {
        Style { colour: false, width: 100 }
    }
}

/// Narrower than this no table makes sense.
const WIDTH_MIN: usize = 40;
/// Wider than this a line is hard to read.
const WIDTH_MAX: usize = 120;

/// What a word means, which decides its colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Faint,
    Good,
    Warn,
    Bad,
}

impl Style {
    pub(crate) fn columns(self) -> usize {
        self.width.clamp(WIDTH_MIN, WIDTH_MAX)
    }

    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        let ansi = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Strong => Ansi::new().bold(),
            Tone::Faint => Ansi::new().dimmed(),
            Tone::Good => Ansi::new().bold().fg_color(Some(AnsiColor::Green.into())),
            Tone::Warn => Ansi::new().bold().fg_color(Some(AnsiColor::Yellow.into())),
            Tone::Bad => Ansi::new().bold().fg_color(Some(AnsiColor::Red.into())),
        };
        if self.colour && !text.is_empty() { format!("{ansi}{text}{ansi:#}") } else { text.to_owned() }
    }
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Filled up with spaces on the right.
pub(crate) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Filled up with spaces on the left.
pub(crate) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Cut to so many columns, with an ellipsis for what is missing.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > columns {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

/// Makes text harmless for a terminal: parts of it may come from a request. Control characters (escape sequences),
/// and the marks that turn the reading direction, are shown as their code.
pub(crate) fn safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c == '\n' {
            out.push(' ');
        } else if c.is_control() || turns || c == '\u{2028}' || c == '\u{2029}' {
            out.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that must not begin a line (行頭禁則).
fn clings_back(c: char) -> bool {
    "、。，．・：；？！）」』】〕｝〉》ー々％,.:;?!)]}%".contains(c)
}

/// Characters that must not end a line (行末禁則).
fn clings_on(c: char) -> bool {
    "（「『【〔｛〈《([{".contains(c)
}

/// Breaks a text into lines of at most `columns`: between words, and between ideographs. A word that is longer than
/// a line is broken where the line ends.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(10);
    let mut lines = Vec::new();
    let mut line = String::new();
    for piece in pieces(&safe(text)) {
        let fits = width(&line) + width(piece.trim_end()) <= columns;
        if !fits && !line.trim().is_empty() {
            lines.push(std::mem::take(&mut line).trim_end().to_owned());
        }
        let piece = if line.is_empty() { piece.trim_start() } else { piece };
        if width(piece.trim_end()) <= columns {
            line.push_str(piece);
            continue;
        }
        for c in piece.chars() {
            if width(&line) + c.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(c);
        }
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// The parts of a text that stay together, each with the space after it.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut before = ' ';
    let mut chars = text.char_indices().peekable();
    while let Some((_, c)) = chars.next() {
        let Some(&(next_at, next)) = chars.peek() else { break };
        let space = c == ' ' && next != ' ';
        let wide = |c: char| c.width().unwrap_or(0) > 1;
        let katakana = |c: char| ('\u{30a0}'..='\u{30ff}').contains(&c);
        let between = (wide(c) || wide(next)) && c != ' ' && next != ' ' && !(katakana(c) && katakana(next));
        let breaks = space || (between && !clings_back(next) && !clings_on(c));
        // A unit stays with its number (`4 %`, `1 h`, `30 秒`), the mark with what is before it (`·` ends a line).
        let glued = space && (next == '·' || (before.is_ascii_digit() && is_unit(&text[next_at..])));
        before = c;
        if breaks && !glued {
            pieces.push(&text[begin..next_at]);
            begin = next_at;
        }
    }
    pieces.push(&text[begin..]);
    pieces
}

/// Whether a text begins with what is counted rather than with the next word.
fn is_unit(text: &str) -> bool {
    const UNITS: &[&str] =
        &["%", "s", "m", "h", "d", "ms", "B", "kB", "MB", "GB", "TB", "B/s", "kB/s", "MB/s", "/s"];
    let word = text.split([' ', ',', '.', ';', ')']).next().unwrap_or(text);
    UNITS.contains(&word) || text.chars().next().is_some_and(|c| c.width() == Some(2))
}

/// Rows of columns; the last column takes what is left of the line and wraps, the others are as wide as their widest
/// cell, at most `limit`.
pub(crate) struct Table {
    pub(crate) indent: usize,
    pub(crate) gap: usize,
    pub(crate) limit: usize,
    /// Columns (but the last) whose cells stand at their right edge: numbers.
    pub(crate) right: &'static [usize],
    pub(crate) heading: Vec<String>,
    pub(crate) rows: Vec<(Tone, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(indent: usize, right: &'static [usize]) -> Table {
        Table { indent, gap: 3, limit: 34, right, heading: Vec::new(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, tone: Tone, cells: impl IntoIterator<Item = String>) {
        let cells = cells.into_iter().map(|cell| safe(&cell)).collect();
        self.rows.push((tone, cells));
    }

    pub(crate) fn print(&self, out: &mut String, style: Style) {
        let columns = self.heading.len().max(self.rows.iter().map(|(_, row)| row.len()).max().unwrap_or(0));
        if columns == 0 {
            return;
        }
        let all = || std::iter::once(&self.heading).chain(self.rows.iter().map(|(_, row)| row));
        let mut widths = vec![0; columns - 1];
        for row in all() {
            for (cell, widest) in row.iter().zip(&mut widths) {
                *widest = width(cell).min(self.limit).max(*widest);
            }
        }
        let before: usize = self.indent + widths.iter().map(|w| w + self.gap).sum::<usize>();
        let rest = style.columns().saturating_sub(before).max(16);
        let heading = std::iter::once((Tone::Faint, &self.heading)).filter(|(_, row)| !row.is_empty());
        for (tone, row) in heading.chain(self.rows.iter().map(|(tone, row)| (*tone, row))) {
            let mut line = " ".repeat(self.indent);
            for (i, widest) in widths.iter().enumerate() {
                let cell = cut(row.get(i).map_or("", String::as_str), *widest);
                line.push_str(&if self.right.contains(&i) {
                    pad_left(&cell, *widest)
                } else {
                    pad(&cell, *widest)
                });
                line.push_str(&" ".repeat(self.gap));
            }
            let last = row.get(columns - 1).map_or("", String::as_str);
            for (i, part) in wrap(last, rest).iter().enumerate() {
                let line =
                    if i == 0 { format!("{line}{part}") } else { format!("{}{part}", " ".repeat(before)) };
                let trimmed = line.trim_end();
                let body = trimmed.trim_start();
                out.push_str(&" ".repeat(trimmed.len() - body.len()));
                out.push_str(&style.paint(tone, body));
                out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_where_people_break_them() {
        for (text, columns, lines) in [
            ("one two three four", 10, vec!["one two", "three four"]),
            ("ワーカーに空きがありません。", 14, vec!["ワーカーに空き", "がありません。"]),
            ("（遮断）した後に", 10, vec!["（遮断）し", "た後に"]),
            ("300 個中 300 個", 10, vec!["300 個中", "300 個"]),
            ("abcdefghijklmnop", 10, vec!["abcdefghij", "klmnop"]),
            ("for 1 h 52 m ok", 11, vec!["for 1 h", "52 m ok"]),
            ("切断したリクエスト", 12, vec!["切断した", "リクエスト"]),
            ("約 10 分 30 秒", 10, vec!["約 10 分", "30 秒"]),
            ("CPU 4 % · load 0.3", 10, vec!["CPU 4 % ·", "load 0.3"]),
            ("", 10, vec![""]),
        ] {
            assert_eq!(wrap(text, columns), lines, "{text}");
            assert!(wrap(text, columns).iter().all(|line| width(line) <= columns + 2));
        }
    }

    #[test]
    fn no_escape_sequence_of_a_stranger_reaches_the_terminal() {
        let nasty = "/\x1b[2J\x1b]0;x\x07\u{9b}31m\u{202e}\r\nend";
        for text in [safe(nasty), wrap(nasty, 80).join("")] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(!text.contains('\u{202e}'));
            assert!(text.contains("\\u{1b}[2J"), "{text}");
        }
    }

    #[test]
    fn cut_counts_columns() {
        assert_eq!(cut("日本語の文", 6), "日本…");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(width(&pad("日本", 6)), 6);
    }
}
