//! What toban knows as Prometheus knows things: vitals and findings as families of metrics, as text to be scraped and
//! as a remote-write request.
//!
//! A vital `disk.read:sda` is the counter `toban_disk_read_bytes_total{device="sda"}`: the stem is the name, what stands
//! behind the colon is a label, and units are the base units that Prometheus asks for (a share of 25 % is 0.25, a
//! counter of per cent and seconds is of seconds). Formats: Prometheus text 0.0.4, OpenMetrics 1.0, remote write 1.0.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use toban_model::{Finding, Lang, Reading, ReadingKind, Time, Verdict, Vital};

use crate::vital_label;

/// A host that has more series than this has something that makes them up; the rest is left out, and counted.
const SERIES_MAX: usize = 5000;
/// The longest value of a label.
const LABEL_BYTES_MAX: usize = 256;

/// What is shown, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// When.
    pub at: Time,
    /// The host's name.
    pub host: &'a str,
    /// toban's version.
    pub version: &'a str,
    /// As the kernel and the servers gave them.
    pub readings: &'a [Reading],
    /// The vitals against their usual; those that no reading tells (`http.requests`) are shown from here.
    pub vitals: &'a [Vital],
    /// The verdict on all of it.
    pub verdict: Verdict,
    /// What was found.
    pub findings: &'a [Finding],
}

/// How the text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus text 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// What the `Content-Type` header says.
    pub fn content_type(self) -> &'static str {
        match self {
            TextFormat::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            TextFormat::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
}

struct Family {
    help: String,
    kind: Kind,
    unit: &'static str,
    series: BTreeMap<Labels, f64>,
}

type Labels = Vec<(&'static str, String)>;

/// The families by name, a counter's without `_total`.
#[derive(Default)]
struct Families {
    all: BTreeMap<String, Family>,
    series: usize,
    left_out: usize,
}

impl Families {
    fn of(known: &Known<'_>) -> Families {
        let mut families = Families::default();
        families.own(known);
        for reading in known.readings {
            families.vital(&reading.name, reading.value, &reading.unit, reading.kind);
        }
        let told: HashSet<&str> = known.readings.iter().map(|r| &*r.name).collect();
        for vital in known.vitals.iter().filter(|vital| !told.contains(vital.name.as_str())) {
            families.vital(&vital.name, vital.value, &vital.unit, ReadingKind::Gauge);
        }
        let left_out = families.left_out as f64;
        families.gauge(
            "toban_series_left_out",
            "Series that are more than toban shows.",
            Labels::new(),
            left_out,
        );
        families
    }

    fn own(&mut self, known: &Known<'_>) {
        let version = vec![("version", known.version.to_owned())];
        self.gauge("toban_build_info", "The version of toban that runs here.", version, 1.0);
        for (name, verdict) in
            [("ok", Verdict::Ok), ("watch", Verdict::Watch), ("incident", Verdict::Incident)]
        {
            let is = f64::from(u8::from(known.verdict == verdict));
            let labels = vec![("verdict", name.to_owned())];
            self.gauge("toban_verdict", "1 for the verdict that holds now.", labels, is);
        }
        let count = known.findings.len() as f64;
        self.gauge("toban_findings", "Causes that are found now.", Labels::new(), count);
        let mut told = HashSet::new();
        for finding in known.findings.iter().filter(|finding| told.insert(finding.cause.as_str())) {
            let labels = || vec![("cause", finding.cause.clone())];
            let help = "How sure a cause is that is found now, from 0 to 1.";
            self.gauge("toban_finding_confidence_ratio", help, labels(), finding.confidence);
            let since = finding.since.as_micros() as f64 / 1e6;
            let help = "Since when it has been so, in seconds since 1970.";
            self.gauge("toban_finding_since_timestamp_seconds", help, labels(), since);
        }
        let unusual = known.vitals.iter().filter(|vital| vital.since.is_some());
        self.gauge(
            "toban_unusual_vitals",
            "Vitals above what lasts here.",
            Labels::new(),
            unusual.count() as f64,
        );
    }

    fn gauge(&mut self, name: &str, help: &str, labels: Labels, value: f64) {
        self.put(name.to_owned(), Kind::Gauge, "", || help.to_owned(), labels, value);
    }

    fn vital(&mut self, name: &str, value: f64, unit: &str, kind: ReadingKind) {
        let (stem, of) = name.split_once(':').map_or((name, None), |(stem, of)| (stem, Some(of)));
        let (unit, kind, value) = match (kind, unit) {
            (ReadingKind::Gauge, "%") => ("ratio", Kind::Gauge, value / 100.0),
            (ReadingKind::Gauge, "B") => ("bytes", Kind::Gauge, value),
            (ReadingKind::Gauge, "ms") => ("seconds", Kind::Gauge, value / 1e3),
            (ReadingKind::Gauge, "B/s") => ("bytes_per_second", Kind::Gauge, value),
            (ReadingKind::Gauge, "/s") => ("per_second", Kind::Gauge, value),
            (ReadingKind::Gauge, _) => ("", Kind::Gauge, value),
            (ReadingKind::Counter, "%") => ("seconds", Kind::Counter, value / 100.0),
            (ReadingKind::Counter, "ms") => ("seconds", Kind::Counter, value / 1e3),
            // How many there are, times how long.
            (ReadingKind::Counter, "") => ("seconds", Kind::Counter, value),
            (ReadingKind::Counter, "B/s" | "B") => ("bytes", Kind::Counter, value),
            (ReadingKind::Counter, _) => ("", Kind::Counter, value),
        };
        let stem = stem.strip_suffix(".count").unwrap_or(stem);
        let mut metric = String::from("toban_");
        metric.extend(
            stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }),
        );
        // Words that mean something else at the end of a name.
        if kind == Kind::Gauge
            && ["_total", "_sum", "_bucket", "_info", "_created", "_count"]
                .iter()
                .any(|end| metric.ends_with(end))
        {
            metric.push_str("_now");
        }
        if !unit.is_empty() && !metric.ends_with(&format!("_{unit}")) {
            metric.push('_');
            metric.push_str(unit);
        }
        let labels = of.map(|of| (label_of(stem), of.to_owned())).into_iter().collect();
        let help = || format!("{}: toban's vital {stem}.", vital_label(stem, Lang::En));
        self.put(metric, kind, unit, help, labels, value);
    }

    fn put(
        &mut self,
        name: String,
        kind: Kind,
        unit: &'static str,
        help: impl FnOnce() -> String,
        mut labels: Labels,
        value: f64,
    ) {
        if !value.is_finite() {
            return;
        }
        for (_, value) in &mut labels {
            while value.len() > LABEL_BYTES_MAX {
                value.pop();
            }
        }
        let full = self.series >= SERIES_MAX;
        let family = match self.all.entry(name) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(_) if full => {
                self.left_out += 1;
                return;
            }
            Entry::Vacant(entry) => {
                entry.insert(Family { help: help(), kind, unit, series: BTreeMap::new() })
            }
        };
        // Two that would have one name are no family.
        if full || family.kind != kind || family.series.contains_key(&labels) {
            self.left_out += 1;
            return;
        }
        family.series.insert(labels, value);
        self.series += 1;
    }
}

/// What stands behind a vital's colon.
fn label_of(stem: &str) -> &'static str {
    match stem {
        "disk.used" | "disk.inodes" | "disk.free" => "mount",
        _ => match stem.split('.').next().unwrap_or(stem) {
            "cpu" => "core",
            "disk" => "device",
            "network" => "interface",
            "unit" => "unit",
            "cgroup" => "cgroup",
            "mail" => "queue",
            "recorder" => "part",
            _ => "of",
        },
    }
}

/// As text, to be scraped.
pub fn text(known: &Known<'_>, format: TextFormat) -> String {
    let open = format == TextFormat::OpenMetrics;
    let families = Families::of(known);
    let mut out = String::with_capacity(families.series * 96);
    for (name, family) in &families.all {
        let (kind, total) = match family.kind {
            Kind::Gauge => ("gauge", ""),
            Kind::Counter => ("counter", "_total"),
        };
        let declared = if open { "" } else { total };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "# HELP {name}{declared} {}", escaped(&family.help, open));
        let _ = writeln!(out, "# TYPE {name}{declared} {kind}");
        if open && !family.unit.is_empty() {
            let _ = writeln!(out, "# UNIT {name} {}", family.unit);
        }
        for (labels, value) in &family.series {
            let _ = write!(out, "{name}{total}");
            for (at, (key, value)) in labels.iter().enumerate() {
                let _ = write!(out, "{}{key}=\"{}\"", if at == 0 { '{' } else { ',' }, escaped(value, true));
            }
            let _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
        }
    }
    if open {
        out.push_str("# EOF\n");
    }
    out
}

fn escaped(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            // Some that scrape take it for a line's end.
            '\r' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// As the `prometheus.WriteRequest` of remote write 1.0, not yet compressed. Each series has `job="toban"` and the
/// host's name as `instance`.
///
/// <https://prometheus.io/docs/specs/prw/remote_write_spec/>
pub fn write_request(known: &Known<'_>) -> Vec<u8> {
    let families = Families::of(known);
    let mut out = Vec::with_capacity(families.series * 128);
    let millis = known.at.as_micros().div_euclid(1000);
    for (name, family) in &families.all {
        let total = if family.kind == Kind::Counter { "_total" } else { "" };
        let metric = format!("{name}{total}");
        for (labels, value) in &family.series {
            // The receiver asks for them sorted by name.
            let mut pairs: Vec<(&str, &str)> =
                vec![("__name__", &metric), ("instance", known.host), ("job", "toban")];
            pairs.extend(labels.iter().map(|(key, value)| (*key, value.as_str())));
            pairs.sort_unstable();
            let mut series = Vec::new();
            for (key, value) in pairs {
                let mut label = Vec::new();
                field(&mut label, 1, key.as_bytes());
                field(&mut label, 2, value.as_bytes());
                field(&mut series, 1, &label);
            }
            let mut sample = vec![1 << 3 | 1];
            sample.extend(value.to_le_bytes());
            sample.push(2 << 3);
            varint(&mut sample, millis.cast_unsigned());
            field(&mut series, 2, &sample);
            field(&mut out, 1, &series);
        }
    }
    for (name, family) in &families.all {
        let (kind, total) = match family.kind {
            Kind::Counter => (1, "_total"),
            Kind::Gauge => (2, ""),
        };
        let mut metadata = vec![1 << 3, kind];
        field(&mut metadata, 2, format!("{name}{total}").as_bytes());
        field(&mut metadata, 4, family.help.as_bytes());
        field(&mut metadata, 5, family.unit.as_bytes());
        field(&mut out, 3, &metadata);
    }
    out
}

/// A protobuf field of bytes: strings and messages.
fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
