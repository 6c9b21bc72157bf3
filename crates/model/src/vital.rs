//! Vitals and their samples: what the host's numbers are, and what is usual for them.

use serde::{Deserialize, Serialize};

use crate::{Name, Processes, SocketCount, Texts, Time};

/// How a raw reading becomes a vital.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadingKind {
    /// The number itself is the vital.
    Gauge,
    /// The kernel counts up; the vital is the growth a second between two neighbouring samples.
    Counter,
}

/// One raw number, as the kernel or a server gave it. Rates are derived when reading, never stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The vital that it belongs to, dotted from wide to narrow: `cpu.busy`, `apache.workers.busy`, `disk.used:/var`.
    pub name: Name,
    /// The number, in `unit` (or `unit` × seconds for a counter whose vital is a share).
    pub value: f64,
    /// The vital's unit: `%`, `B`, `B/s`, `/s`, `ms` or empty for a count.
    pub unit: Name,
    /// Gauge or counter.
    pub kind: ReadingKind,
}

/// Every reading of one second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When it was begun.
    pub at: Time,
    /// How long it took, in microseconds.
    pub took_us: u32,
    /// How much later than planned it was begun, in microseconds.
    pub late_us: u32,
    /// The readings; a number that could not be read is absent, not zero.
    pub readings: Vec<Reading>,
    /// The processes.
    pub processes: Processes,
    /// The TCP sockets by state and local port: first the sums, then the networks with the most peers.
    pub sockets: Vec<SocketCount>,
    /// The texts of `processes`.
    pub texts: Texts,
}

/// What is usual for a vital here: a robust range, and how much is known about it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// How many seconds of history it rests on.
    pub seconds: u32,
}

/// Where a vital stands against its usual.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VitalState {
    /// Inside its range.
    Usual,
    /// Above it.
    High,
    /// Below it: a fall is a symptom too.
    Low,
    /// Too little is known.
    Unknown,
}

/// A named number of the host with what is usual for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vital {
    /// Its name, for ever the same.
    pub name: String,
    /// Now, in `unit`.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// What is usual, if known.
    pub usual: Option<Usual>,
    /// The two compared.
    pub state: VitalState,
    /// Since when it has been out of its usual, if that has lasted for minutes: then it is a symptom.
    pub since: Option<Time>,
}

impl Vital {
    /// Where it stands: within its usual range from 0 to 1, beyond it by widths of the range more than 1; below 0 where
    /// too little is known.
    pub fn strangeness(&self) -> f64 {
        let Some(usual) = self.usual.filter(|_| self.state != VitalState::Unknown) else { return -1.0 };
        // A range without width (always 0, now 1) must not divide by nothing.
        let wide = (usual.high - usual.low).abs().max(usual.high.abs() * 0.05).max(1e-9);
        match self.state {
            VitalState::High => 1.0 + ((self.value - usual.high).max(0.0) / wide).min(1e12),
            VitalState::Low => 1.0 + ((usual.low - self.value).max(0.0) / wide).min(1e12),
            VitalState::Usual | VitalState::Unknown => ((self.value - usual.low) / wide).clamp(0.0, 1.0),
        }
    }
}
