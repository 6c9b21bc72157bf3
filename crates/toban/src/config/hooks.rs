//! `[hooks]`: programs of the user's own that are run on an event.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Wrong, each, quoted};

/// What takes longer than ten minutes is a service, not a hook.
pub(super) const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);

/// A program by its whole path, and its arguments; no shell reads them.
pub(super) fn program(value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Vec<Wrong>> {
    const WANTED: &str = "a list such as [\"/usr/local/bin/tell\", \"--urgent\"]";
    let words = each(value, |word| match word.get_ref().as_str() {
        Some(text) if !text.contains('\0') => Ok(text.to_owned()),
        _ => Wrong::expected(word, "text in quotes"),
    })?;
    match words.first() {
        Some(program) if !Path::new(program).is_absolute() => Wrong::one(
            value,
            format!("{}: the program needs its whole path; expected {WANTED}", quoted(program)),
        ),
        _ => Ok(words),
    }
}

/// The user's own commands: a program by its whole path and its arguments, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hooks {
    pub(crate) finding: Vec<String>,
    pub(crate) action: Vec<String>,
    pub(crate) recovery: Vec<String>,
    pub(crate) timeout: Duration,
}

impl Hooks {
    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        [&self.finding, &self.action, &self.recovery].iter().any(|words| !words.is_empty())
    }
}

impl Default for Hooks {
    fn default() -> Hooks {
        let none = Vec::new;
        Hooks { finding: none(), action: none(), recovery: none(), timeout: Duration::from_secs(30) }
    }
}
