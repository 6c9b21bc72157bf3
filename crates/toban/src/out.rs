//! Standard output and standard error: written to with care for closed ends, and what a terminal there can show.

use std::io::{IsTerminal as _, Write as _};

use toban_views::Style;

use crate::cli::Colour;

/// Colour and width of this terminal.
pub(crate) fn style(colour: Colour) -> Style {
    let terminal = std::io::stdout().is_terminal();
    let colour = match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(0, |size| usize::from(size.ws_col));
    Style { colour, width: if width >= 40 { width.min(120) } else { 100 } }
}

/// A closed terminal or pipe ends the words, not the watch.
pub(crate) fn print_all(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub(crate) fn eprint_all(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
