//! What normal clients got: one line for each request, and figures over a window of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// One request of a normal client.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// When it began, in seconds since the epoch.
    pub at: f64,
    /// How long it took.
    pub ms: u64,
    /// `page`, `static`, `post` or `missing`.
    pub kind: String,
    /// The HTTP status; 0 where no answer came.
    pub status: u16,
    /// The expected answer came in time.
    pub ok: bool,
    /// Who asked.
    pub client: String,
    /// For what.
    pub path: String,
}

impl Outcome {
    /// When it ended, in seconds since the epoch.
    pub fn ended(&self) -> f64 {
        self.at + self.ms as f64 / 1000.0
    }

    /// As a line of the outcomes' file.
    pub(crate) fn line(&self) -> String {
        let Self { at, ms, kind, status, ok, client, path } = self;
        format!("{at:.3} {ms} {kind} {status} {} {client} {path}\n", u8::from(*ok))
    }

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(' ');
        Some(Self {
            at: fields.next()?.parse().ok()?,
            ms: fields.next()?.parse().ok()?,
            kind: fields.next()?.to_owned(),
            status: fields.next()?.parse().ok()?,
            ok: fields.next()? == "1",
            client: fields.next()?.to_owned(),
            path: fields.next()?.to_owned(),
        })
    }
}

/// Reads all outcomes so far; a line that is being written is left for the next time.
pub(crate) fn read(path: &Path) -> Vec<Outcome> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(Outcome::parse).collect()
}

/// Figures over a window of time.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// The window, in seconds since the epoch.
    pub from: f64,
    /// Its end.
    pub to: f64,
    /// Requests in it.
    pub total: usize,
    /// Those that went well.
    pub ok: usize,
    /// ok ÷ total; absent where there was none.
    pub ok_share: Option<f64>,
    /// Requests a second.
    pub per_s: f64,
    /// The middle one's time.
    pub p50_ms: Option<u64>,
    /// The time that 95 % kept.
    pub p95_ms: Option<u64>,
    /// The same by kind of request.
    pub kinds: BTreeMap<String, KindStats>,
    /// Second by second.
    pub seconds: Vec<Second>,
}

/// Figures of one kind of request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct KindStats {
    /// Requests of this kind.
    pub total: usize,
    /// Those that went well.
    pub ok: usize,
}

/// One second of a window.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Second {
    /// Its beginning, in seconds since the epoch.
    pub at: u64,
    /// Requests in it.
    pub total: usize,
    /// Those that went well.
    pub ok: usize,
}

impl Stats {
    /// Figures over the requests that `when` places between `from` and `to`.
    pub fn over(outcomes: &[Outcome], from: f64, to: f64, when: impl Fn(&Outcome) -> f64) -> Self {
        let within: Vec<(f64, &Outcome)> = outcomes
            .iter()
            .map(|outcome| (when(outcome), outcome))
            .filter(|(at, _)| (from..to).contains(at))
            .collect();
        let mut kinds: BTreeMap<String, KindStats> = BTreeMap::new();
        let mut seconds: BTreeMap<u64, Second> = BTreeMap::new();
        for (at, outcome) in &within {
            let kind = kinds.entry(outcome.kind.clone()).or_default();
            let second = seconds.entry(*at as u64).or_default();
            kind.total += 1;
            second.total += 1;
            kind.ok += usize::from(outcome.ok);
            second.ok += usize::from(outcome.ok);
        }
        // A second without any request is a row, too: silence is what an outage looks like.
        let seconds = (from as u64..to.ceil() as u64)
            .map(|at| Second { at, ..seconds.remove(&at).unwrap_or_default() })
            .collect();
        let mut times: Vec<u64> = within.iter().map(|(_, outcome)| outcome.ms).collect();
        times.sort_unstable();
        let percentile = |share: f64| {
            let last = times.len().checked_sub(1)?;
            times.get((last as f64 * share).round() as usize).copied()
        };
        let (total, ok) = (within.len(), within.iter().filter(|(_, outcome)| outcome.ok).count());
        Self {
            from,
            to,
            total,
            ok,
            ok_share: (total > 0).then(|| ok as f64 / total as f64),
            per_s: total as f64 / (to - from).max(0.001),
            p50_ms: percentile(0.5),
            p95_ms: percentile(0.95),
            kinds,
            seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let outcome = Outcome {
            at: 12.5,
            ms: 40,
            kind: "page".into(),
            status: 200,
            ok: true,
            client: "192.0.2.1".into(),
            path: "/".into(),
        };
        assert_eq!(Outcome::parse(outcome.line().trim_end()), Some(outcome.clone()));
        let stats = Stats::over(&[outcome], 11.0, 14.0, Outcome::ended);
        assert_eq!((stats.total, stats.ok, stats.seconds.len()), (1, 1, 3));
        assert_eq!(stats.ok_share, Some(1.0));
    }
}
