//! What a key means: a change of how it is looked at, or a wish for the program.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use toban_views::top::{Lens, Panel, Prompt, Sort};

/// Rows of a page.
const PAGE: usize = 10;
/// A line that is typed ends here.
const TYPED_MAX: usize = 80;

/// What the program is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Quit,
    /// To the background, as Ctrl-Z does.
    Suspend,
    /// Stop the present, or go on.
    Pause,
    /// Back to the present.
    Now,
    /// So many seconds on, or back.
    By(i64),
    /// The next sample.
    Next,
    /// The sample before.
    Previous,
    /// To a time as somebody wrote it.
    GoTo(String),
}

/// Takes a key.
pub(crate) fn press(lens: &mut Lens, key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    lens.message = None;
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Some(Wish::Quit),
        KeyCode::Char('z') if control => return Some(Wish::Suspend),
        _ => {}
    }
    if lens.prompt.is_some() {
        return typed(lens, key.code, control);
    }
    if lens.help {
        lens.help = false;
        return None;
    }
    let far = key.modifiers.contains(KeyModifiers::SHIFT);
    let seconds = if far { 60 } else { 1 };
    match key.code {
        KeyCode::Char('q') => return Some(Wish::Quit),
        KeyCode::Char(' ') => return Some(Wish::Pause),
        KeyCode::Char('n') | KeyCode::End => return Some(Wish::Now),
        KeyCode::Char('t') => return Some(Wish::Next),
        KeyCode::Char('T') => return Some(Wish::Previous),
        KeyCode::Left => return Some(Wish::By(-seconds)),
        KeyCode::Right => return Some(Wish::By(seconds)),
        KeyCode::Char('[') => return Some(Wish::By(-600)),
        KeyCode::Char(']') => return Some(Wish::By(600)),
        KeyCode::Char('b') => lens.prompt = Some(Prompt::GoTo(String::new())),
        KeyCode::Char('/') => lens.prompt = Some(Prompt::Filter),
        KeyCode::Char('P') => sort(lens, Sort::Cpu),
        KeyCode::Char('M') => sort(lens, Sort::Memory),
        KeyCode::Char('I') => sort(lens, Sort::Io),
        KeyCode::Char('N') => sort(lens, Sort::Threads),
        KeyCode::Char('F') => sort(lens, Sort::Handles),
        KeyCode::Char('c') => lens.full_command = !lens.full_command,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => lens.help = true,
        KeyCode::Tab => turn(lens, 1),
        KeyCode::BackTab => turn(lens, Panel::ALL.len() - 1),
        KeyCode::Up => scroll(lens, |row| row.saturating_sub(1)),
        KeyCode::Down => scroll(lens, |row| row.saturating_add(1)),
        KeyCode::PageUp => scroll(lens, |row| row.saturating_sub(PAGE)),
        KeyCode::PageDown => scroll(lens, |row| row.saturating_add(PAGE)),
        KeyCode::Home => scroll(lens, |_| 0),
        KeyCode::Esc => lens.filter.clear(),
        _ => {}
    }
    None
}

fn typed(lens: &mut Lens, key: KeyCode, control: bool) -> Option<Wish> {
    let text = match &mut lens.prompt {
        Some(Prompt::GoTo(text)) => text,
        _ => &mut lens.filter,
    };
    match key {
        KeyCode::Char('u') if control => text.clear(),
        KeyCode::Char(c) if !control && !c.is_control() && text.len() < TYPED_MAX => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Esc => {
            text.clear();
            lens.prompt = None;
        }
        KeyCode::Enter => {
            if let Some(Prompt::GoTo(text)) = lens.prompt.take() {
                return (!text.trim().is_empty()).then_some(Wish::GoTo(text));
            }
        }
        _ => {}
    }
    None
}

fn sort(lens: &mut Lens, by: Sort) {
    lens.sort = by;
    lens.panel = Panel::Processes;
    lens.scroll[0] = 0;
}

fn turn(lens: &mut Lens, by: usize) {
    let at = place(lens);
    lens.panel = Panel::ALL[(at + by) % Panel::ALL.len()];
}

fn scroll(lens: &mut Lens, to: impl FnOnce(usize) -> usize) {
    let at = place(lens);
    lens.scroll[at] = to(lens.scroll[at]);
}

/// Where the panel stands among all.
pub(crate) fn place(lens: &Lens) -> usize {
    Panel::ALL.iter().position(|panel| *panel == lens.panel).unwrap_or(0)
}
