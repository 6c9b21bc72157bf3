//! What can be wrong with a format that someone asked for. Lines are never an error: one that does not fit is `None`.

use crate::formats;

/// Why a format cannot be used. Each message fits after "could not use the log format: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a name nor a format string.
    #[error("{name:?} is no known format{}; known are {}, or give a LogFormat string with % or a log_format string with $", nearest(.name), formats::names().join(", "))]
    UnknownName {
        /// What was given.
        name: String,
    },
    /// What a user says of a JSON log's names.
    #[error("behind json: stands {found:?}; {expected} would be right")]
    Mapping {
        /// What stands there.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A directive that is not finished or cannot be one.
    #[error("at byte {at} of the format, {found:?} is no complete directive; {expected} would be right")]
    Directive {
        /// Where it starts.
        at: usize,
        /// What stands there.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// Two fields that no reader can tell apart.
    #[error(
        "at byte {at} of the format, {found:?} follows {before:?} with nothing between, and where one ends nobody can tell; a space or a quote between them would be right"
    )]
    Adjacent {
        /// Where the second one starts.
        at: usize,
        /// The first one.
        before: String,
        /// The second one.
        found: String,
    },
    /// Without a time a line cannot be placed.
    #[error("the format has no time of the request; {expected} would be right")]
    NoTime {
        /// What would be right.
        expected: &'static str,
    },
    /// Without a message there is nothing to read.
    #[error("the format has no message; %M would be right")]
    NoMessage,
    /// A format string is at most this long, so that compiling is bounded.
    #[error("the format is {len} bytes long; at most {} are allowed", crate::FORMAT_BYTES_MAX)]
    TooLong {
        /// How long it is.
        len: usize,
    },
}

fn nearest(name: &str) -> String {
    formats::names()
        .into_iter()
        .map(|known| (distance(name.as_bytes(), known.as_bytes()), known))
        .filter(|(distance, _)| *distance <= 3 && *distance < name.len())
        .min()
        .map_or(String::new(), |(_, known)| format!(" (did you mean {known}?)"))
}

/// Levenshtein's distance; names are short, and this crate keeps its dependencies few.
fn distance(a: &[u8], b: &[u8]) -> usize {
    if a.len().abs_diff(b.len()) > 3 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_finds_its_neighbour() {
        let check = |name: &str, expected: &str| assert_eq!(nearest(name), expected, "{name}");
        check("combind", " (did you mean combined?)");
        check("php_fpm", " (did you mean php-fpm?)");
        check("something else", "");
        check("", "");
    }
}
