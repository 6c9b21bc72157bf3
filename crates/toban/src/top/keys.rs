//! What a key means: a change of how it is looked at, or a wish for the program.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use toban_views::top::{Look, Panel, Prompt, Sort};

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
pub(crate) fn press(look: &mut Look, key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    look.message = None;
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Some(Wish::Quit),
        KeyCode::Char('z') if control => return Some(Wish::Suspend),
        _ => {}
    }
    if look.prompt.is_some() {
        return typed(look, key.code, control);
    }
    if look.help {
        look.help = false;
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
        KeyCode::Char('b') => look.prompt = Some(Prompt::GoTo(String::new())),
        KeyCode::Char('/') => look.prompt = Some(Prompt::Filter),
        KeyCode::Char('P') => sort(look, Sort::Cpu),
        KeyCode::Char('M') => sort(look, Sort::Memory),
        KeyCode::Char('I') => sort(look, Sort::Io),
        KeyCode::Char('N') => sort(look, Sort::Threads),
        KeyCode::Char('F') => sort(look, Sort::Handles),
        KeyCode::Char('c') => look.full_command = !look.full_command,
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => look.help = true,
        KeyCode::Tab => turn(look, 1),
        KeyCode::BackTab => turn(look, Panel::ALL.len() - 1),
        KeyCode::Up => scroll(look, |row| row.saturating_sub(1)),
        KeyCode::Down => scroll(look, |row| row.saturating_add(1)),
        KeyCode::PageUp => scroll(look, |row| row.saturating_sub(PAGE)),
        KeyCode::PageDown => scroll(look, |row| row.saturating_add(PAGE)),
        KeyCode::Home => scroll(look, |_| 0),
        KeyCode::Esc => look.filter.clear(),
        _ => {}
    }
    None
}

fn typed(look: &mut Look, key: KeyCode, control: bool) -> Option<Wish> {
    let text = match &mut look.prompt {
        Some(Prompt::GoTo(text)) => text,
        _ => &mut look.filter,
    };
    match key {
        KeyCode::Char('u') if control => text.clear(),
        KeyCode::Char(c) if !control && !c.is_control() && text.len() < TYPED_MAX => text.push(c),
        KeyCode::Backspace => {
            text.pop();
        }
        KeyCode::Esc => {
            text.clear();
            look.prompt = None;
        }
        KeyCode::Enter => {
            if let Some(Prompt::GoTo(text)) = look.prompt.take() {
                return (!text.trim().is_empty()).then_some(Wish::GoTo(text));
            }
        }
        _ => {}
    }
    None
}

fn sort(look: &mut Look, by: Sort) {
    look.sort = by;
    look.panel = Panel::Processes;
    look.scroll[0] = 0;
}

fn turn(look: &mut Look, by: usize) {
    let at = place(look);
    look.panel = Panel::ALL[(at + by) % Panel::ALL.len()];
}

fn scroll(look: &mut Look, to: impl FnOnce(usize) -> usize) {
    let at = place(look);
    look.scroll[at] = to(look.scroll[at]);
}

/// Where the panel stands among all.
pub(crate) fn place(look: &Look) -> usize {
    Panel::ALL.iter().position(|panel| *panel == look.panel).unwrap_or(0)
}
