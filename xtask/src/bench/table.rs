//! What was measured, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::files::Log;
use super::measure::{Run, spread};
use super::peers::Peer;

/// The runs of one command.
pub(crate) struct Row {
    pub(crate) peer: &'static Peer,
    /// All of the log, whatever part of it was read.
    pub(crate) log_lines: u64,
    pub(crate) log_bytes: u64,
    /// What was read.
    pub(crate) lines: u64,
    pub(crate) runs: Vec<Run>,
    /// The same on a single line, where only a part was read.
    pub(crate) starts: Vec<Run>,
    /// What the last run printed.
    pub(crate) out: PathBuf,
}

impl Row {
    /// Seconds for the whole log: median, least, most. Of a part, without the time for the start, and scaled.
    fn seconds(&self, of: fn(&Run) -> f64) -> Option<[f64; 3]> {
        let start = spread(self.starts.iter().map(of).collect()).map_or(0.0, |[median, ..]| median);
        let scale = self.log_lines as f64 / self.lines as f64;
        let runs = self.runs.iter().map(|run| (of(run) - start).max(0.0) * scale);
        spread(runs.collect())
    }

    fn wall(&self) -> Option<[f64; 3]> {
        self.seconds(|run| run.wall.as_secs_f64())
    }

    fn cpu(&self) -> Option<[f64; 3]> {
        self.seconds(|run| run.cpu.as_secs_f64())
    }

    fn peak_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0)
    }

    fn json(&self, version: Option<&String>) -> Value {
        let runs = |runs: &[Run]| -> Vec<Value> {
            let one = |run: &Run| {
                json!({"wall_s": run.wall.as_secs_f64(), "cpu_s": run.cpu.as_secs_f64(),
                       "peak_bytes": run.peak_bytes, "exit": run.status.code()})
            };
            runs.iter().map(one).collect()
        };
        json!({
            "id": self.peer.id, "what": self.peer.shown, "version": version, "log": self.peer.log.name(),
            "lines": self.lines, "runs": runs(&self.runs), "starts": runs(&self.starts),
            "lines_per_s": self.wall().map(|[median, ..]| self.log_lines as f64 / median),
            "bytes_per_s": self.wall().map(|[median, ..]| self.log_bytes as f64 / median),
            "cpu_s_per_million_lines": self.cpu().map(|[median, ..]| median / self.log_lines as f64 * 1e6),
        })
    }
}

/// A table for each log. `floor_bytes` is the least peak that can be measured.
pub(crate) fn text(rows: &[Row], seed: u64, floor_bytes: u64) -> String {
    let mut text = String::new();
    for log in [Log::Access, Log::Sshd, Log::Distinct] {
        let of_log: Vec<&Row> =
            rows.iter().filter(|row| row.peer.log == log && !row.runs.is_empty()).collect();
        let Some(first) = of_log.first() else { continue };
        let (lines, bytes) = (grouped(first.log_lines), grouped(first.log_bytes / 1_000_000));
        // Writing to a string does not fail.
        let _ = writeln!(text, "\n{}: {lines} lines, {bytes} MB, seed {seed}", log.name());
        let head = ("lines/s", "MB/s", "CPU s (least–most)", "peak MiB", "CPU, toban = 1");
        let _ =
            writeln!(text, "{:<34}{:>12}{:>8}{:>24}{:>10}{:>16}", "", head.0, head.1, head.2, head.3, head.4);
        let toban = of_log.iter().find(|row| row.peer.is_toban()).and_then(|row| row.cpu());
        for row in &of_log {
            let (Some([wall, ..]), Some([cpu, least, most])) = (row.wall(), row.cpu()) else { continue };
            let about = if row.peer.part.is_some() { "≈ " } else { "" };
            let ratio = toban.map_or("–".to_owned(), |[toban, ..]| short(cpu / toban));
            let peak = match row.peak_bytes() {
                bytes if bytes <= floor_bytes + (1 << 20) => format!("< {}", (floor_bytes >> 20) + 2),
                bytes => (bytes >> 20).to_string(),
            };
            let range = match row.runs.len() {
                1 => "once".to_owned(),
                _ => format!("{}–{}", short(least), short(most)),
            };
            let cost = format!("{about}{} ({range})", short(cpu));
            let (per_s, mb) =
                (grouped((row.log_lines as f64 / wall) as u64), short(row.log_bytes as f64 / wall / 1e6));
            let _ = writeln!(text, "{:<34}{per_s:>12}{mb:>8}{cost:>24}{peak:>10}{ratio:>16}", row.peer.shown);
        }
        for row in of_log.iter().filter(|row| row.peer.part.is_some()) {
            let start = spread(row.starts.iter().map(|run| run.cpu.as_secs_f64()).collect());
            let _ = writeln!(
                text,
                "≈ {}: measured on {} lines, without the {:.1} s of CPU for its start, and scaled to all lines",
                row.peer.shown,
                grouped(row.lines),
                start.map_or(0.0, |[median, ..]| median),
            );
        }
    }
    text
}

/// Everything, with each single run.
pub(crate) fn json(rows: &[Row], versions: &BTreeMap<&str, String>, seed: u64) -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let mut logs = BTreeMap::new();
    for row in rows {
        let log = json!({"lines": row.log_lines, "bytes": row.log_bytes, "seed": seed});
        logs.insert(row.peer.log.name(), log);
    }
    let rows: Vec<Value> = rows.iter().map(|row| row.json(versions.get(row.peer.id))).collect();
    json!({
        "version": 1,
        "machine": {
            "cpu": cpu,
            "threads": std::thread::available_parallelism().map_or(1, usize::from),
            "kernel": read("/proc/sys/kernel/osrelease").trim(),
            "load": read("/proc/loadavg").trim(),
        },
        "logs": logs,
        "rows": rows,
    })
}

/// Three digits, or all before the point.
fn short(number: f64) -> String {
    match number {
        100.0.. => grouped(number.round() as u64),
        10.0.. => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

/// `5,000,000`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;
    use crate::bench::peers::ALL;

    fn row(id: &str, lines: u64, cpu_s: &[f64], start_s: &[f64]) -> Row {
        let run = |seconds: &f64| Run {
            wall: Duration::from_secs_f64(seconds * 2.0),
            cpu: Duration::from_secs_f64(*seconds),
            peak_bytes: 30 << 20,
            status: ExitStatus::from_raw(0),
        };
        Row {
            peer: ALL.iter().find(|peer| peer.id == id).unwrap(),
            log_lines: 5_000_000,
            log_bytes: 1_000_000_000,
            lines,
            runs: cpu_s.iter().map(run).collect(),
            starts: start_s.iter().map(run).collect(),
            out: PathBuf::new(),
        }
    }

    #[test]
    fn a_part_is_scaled_without_its_start() {
        let rows = [row("toban", 5_000_000, &[2.0, 3.0, 2.5], &[]), row("fail2ban", 200_000, &[6.0], &[1.0])];
        let text = text(&rows, 1, 8 << 20);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[3][4..], ["1,000,000", "200", "2.50", "(2.00–3.00)", "30", "1.00"]);
        // 5 s for 200,000 lines are 125 s for all.
        assert_eq!(lines[4][3..], ["20,000", "4.00", "≈", "125", "(once)", "30", "50.0"]);
        assert!(text.contains("measured on 200,000 lines, without the 1.0 s"));
    }

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
