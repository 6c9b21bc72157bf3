//! The configuration: one TOML file, checked whole and without looking at the host.
//!
//! `default-config.toml` is the documentation and the defaults at once; a test parses it and compares. Every problem of
//! a file is reported, each with line and column, what was found, and what would be right.

mod hooks;
mod metrics;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toban_model::{Mode, Prefix};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(crate) use hooks::Hooks;
pub(crate) use metrics::Url;

/// The defaults, with every key explained.
pub(crate) const DEFAULT: &str = include_str!("default-config.toml");

/// Where the configuration is looked for when nobody says where. It need not exist.
pub(crate) const PATH: &str = "/etc/toban/toban.toml";

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Config {
    pub(crate) agent: Agent,
    pub(crate) ban: Ban,
    pub(crate) allow: Allow,
    pub(crate) proxy: Proxy,
    pub(crate) logs: Logs,
    pub(crate) kernel: Kernel,
    pub(crate) record: Record,
    pub(crate) metrics: Metrics,
    pub(crate) hooks: Hooks,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Agent {
    pub(crate) mode: Mode,
    pub(crate) act_on: Vec<String>,
    pub(crate) state: PathBuf,
    pub(crate) interval: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ban {
    pub(crate) length: Duration,
    pub(crate) ports: BanPorts,
}

/// On which ports a ban drops.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BanPorts {
    /// Those of the service that is attacked.
    Service,
    /// These.
    List(Vec<u16>),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Allow {
    pub(crate) prefixes: Vec<Prefix>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Proxy {
    pub(crate) trusted: Vec<Prefix>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Logs {
    pub(crate) files: Vec<LogFile>,
}

/// A log that nobody has open, or that is not found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LogFile {
    pub(crate) path: PathBuf,
    /// The server's format string; read from the lines when absent.
    pub(crate) format: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kernel {
    /// `None`: wherever it is found.
    pub(crate) log: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) retain_bytes: u64,
}

/// For Prometheus and its like.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metrics {
    /// Where `/metrics` is served.
    pub(crate) listen: Option<SocketAddr>,
    /// Also at an address that others can reach.
    pub(crate) public: bool,
    /// Where remote write sends to.
    pub(crate) push: Option<Url>,
    pub(crate) push_every: Duration,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics { listen: None, public: false, push: None, push_every: Duration::from_secs(15) }
    }
}

impl Default for Agent {
    fn default() -> Agent {
        Agent {
            mode: Mode::Observe,
            act_on: vec!["open-proxy-abuse".into(), "http-flood".into(), "slow-clients".into()],
            state: "/var/lib/toban".into(),
            interval: Duration::from_secs(1),
        }
    }
}

impl Default for Ban {
    fn default() -> Ban {
        Ban { length: Duration::from_secs(3600), ports: BanPorts::Service }
    }
}

impl Default for Record {
    fn default() -> Record {
        Record { retain_bytes: 1 << 30 }
    }
}

/// Faster costs more than it tells; slower misses what an incident begins with.
const INTERVAL: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// Shorter is over before its effect can be measured; longer is a firewall rule, not a ban.
const BAN: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(30 * 86_400);
/// Two segments of samples.
const RETAIN_BYTES_MIN: u64 = 8 << 20;

/// What was found wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It says something wrong.
    #[error("{}", Problems(problems))]
    Wrong {
        /// Each thing, in the order of the file; never empty.
        problems: Vec<Problem>,
    },
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) file: String,
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

struct Problems<'a>(&'a [Problem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file. `causes` are the ids that `act_on` may name.
    pub(crate) fn load(path: &Path, causes: &[&str]) -> Result<Config, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
        Config::parse(&path.display().to_string(), &text, causes)
    }

    /// Reads a text; `file` is what its problems are reported under.
    pub(crate) fn parse(file: &str, text: &str, causes: &[&str]) -> Result<Config, Error> {
        let mut wrong = Vec::new();
        let mut config = Config::default();
        let (table, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            config.fill(table.get_ref(), causes, &mut wrong);
        }
        // What was recovered from a file that is no TOML would only add noise to the errors that made it so.
        wrong.extend(errors.iter().map(|error| {
            let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join("; ");
            Wrong { span: error.span().unwrap_or(0..0), message }
        }));
        if wrong.is_empty() {
            return Ok(config);
        }
        wrong.sort_by_key(|wrong| wrong.span.start);
        let problems = wrong
            .into_iter()
            .map(|Wrong { span, message }| {
                let (line, column) = position(text, span.start);
                Problem { file: file.to_owned(), line, column, message }
            })
            .collect();
        Err(Error::Wrong { problems })
    }

    fn fill(&mut self, table: &DeTable<'_>, causes: &[&str], wrong: &mut Vec<Wrong>) {
        for (name, value) in table {
            let Some(section) = SECTIONS.iter().find(|section| section.name == name.get_ref()) else {
                let names = SECTIONS.iter().map(|section| section.name);
                let hint = match SECTIONS.iter().find(|s| s.key(name.get_ref()).is_some()) {
                    Some(home) => format!("; it belongs in [{}]", home.name),
                    None => nearest(name.get_ref(), names)
                        .map_or_else(String::new, |near| format!("; did you mean [{near}]?")),
                };
                let what = if value.get_ref().is_table() { "section" } else { "key" };
                let shown =
                    if what == "section" { format!("[{}]", name.get_ref()) } else { quoted(name.get_ref()) };
                wrong.push(Wrong::at(name.span(), format!("unknown {what} {shown}{hint}")));
                continue;
            };
            let Some(keys) = value.get_ref().as_table() else {
                let message = format!("{0} is a section; write [{0}] on a line of its own", section.name);
                wrong.push(Wrong::at(name.span(), message));
                continue;
            };
            for (key, value) in keys {
                match section.key(key.get_ref()) {
                    Some(known) => {
                        if let Err(found) = (known.set)(self, value, causes) {
                            wrong.extend(found);
                        }
                    }
                    None => wrong.push(Wrong::at(key.span(), section.unknown(key.get_ref()))),
                }
            }
        }
        metrics::check(self, table, wrong);
    }
}

/// Every section with its keys: the one list that everything else asks.
static SECTIONS: &[Section] = &[
    Section {
        name: "agent",
        keys: &[
            Key { name: "mode", set: |c, v, _| one_of(v, MODES).map(|mode| c.agent.mode = mode) },
            Key { name: "act_on", set: |c, v, causes| act_on(v, causes).map(|ids| c.agent.act_on = ids) },
            Key { name: "state", set: |c, v, _| absolute(v).map(|path| c.agent.state = path) },
            Key { name: "interval", set: |c, v, _| within(v, INTERVAL).map(|time| c.agent.interval = time) },
        ],
    },
    Section {
        name: "ban",
        keys: &[
            Key { name: "for", set: |c, v, _| within(v, BAN).map(|time| c.ban.length = time) },
            Key { name: "ports", set: |c, v, _| ban_ports(v).map(|ports| c.ban.ports = ports) },
        ],
    },
    Section {
        name: "allow",
        keys: &[Key { name: "prefixes", set: |c, v, _| each(v, prefix).map(|list| c.allow.prefixes = list) }],
    },
    Section {
        name: "proxy",
        keys: &[Key { name: "trusted", set: |c, v, _| each(v, prefix).map(|list| c.proxy.trusted = list) }],
    },
    Section {
        name: "logs",
        keys: &[Key { name: "files", set: |c, v, _| each(v, log_file).map(|list| c.logs.files = list) }],
    },
    Section {
        name: "kernel",
        keys: &[Key { name: "log", set: |c, v, _| kernel_log(v).map(|log| c.kernel.log = log) }],
    },
    Section {
        name: "record",
        keys: &[Key { name: "retain", set: |c, v, _| retain(v).map(|bytes| c.record.retain_bytes = bytes) }],
    },
    Section {
        name: "metrics",
        keys: &[
            Key { name: "listen", set: |c, v, _| metrics::listen(v).map(|at| c.metrics.listen = at) },
            Key { name: "public", set: |c, v, _| metrics::public(v).map(|yes| c.metrics.public = yes) },
            Key { name: "push", set: |c, v, _| metrics::push(v).map(|url| c.metrics.push = url) },
            Key {
                name: "push_every",
                set: |c, v, _| within(v, metrics::PUSH_EVERY).map(|time| c.metrics.push_every = time),
            },
        ],
    },
    Section {
        name: "hooks",
        keys: &[
            Key { name: "finding", set: |c, v, _| hooks::program(v).map(|words| c.hooks.finding = words) },
            Key { name: "action", set: |c, v, _| hooks::program(v).map(|words| c.hooks.action = words) },
            Key { name: "recovery", set: |c, v, _| hooks::program(v).map(|words| c.hooks.recovery = words) },
            Key {
                name: "timeout",
                set: |c, v, _| within(v, hooks::TIMEOUT).map(|time| c.hooks.timeout = time),
            },
        ],
    },
];

static MODES: &[(&str, Mode)] = &[("observe", Mode::Observe), ("ask", Mode::Ask), ("act", Mode::Act)];

struct Section {
    name: &'static str,
    keys: &'static [Key],
}

/// Takes a value over, or says what is wrong with it; the last argument is the causes that there are.
type Set = fn(&mut Config, &Spanned<DeValue<'_>>, &[&str]) -> Result<(), Vec<Wrong>>;

struct Key {
    name: &'static str,
    set: Set,
}

impl Section {
    fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn unknown(&self, name: &str) -> String {
        let hint = match nearest(name, self.keys.iter().map(|key| key.name)) {
            Some(near) => format!("; did you mean {}?", quoted(near)),
            None => match SECTIONS.iter().find(|section| section.key(name).is_some()) {
                Some(home) => format!("; it belongs in [{}]", home.name),
                None => format!("; known are {}", listed(self.keys.iter().map(|key| key.name))),
            },
        };
        format!("unknown key {} in [{}]{hint}", quoted(name), self.name)
    }
}

/// Something wrong, where it stands in the text.
struct Wrong {
    span: Range<usize>,
    message: String,
}

impl Wrong {
    fn at(span: Range<usize>, message: impl Into<String>) -> Wrong {
        Wrong { span, message: message.into() }
    }

    fn one<T>(value: &Spanned<DeValue<'_>>, message: impl Into<String>) -> Result<T, Vec<Wrong>> {
        Err(vec![Wrong::at(value.span(), message)])
    }

    fn expected<T>(value: &Spanned<DeValue<'_>>, what: &str) -> Result<T, Vec<Wrong>> {
        Wrong::one(value, format!("expected {what}, found {}", found(value.get_ref())))
    }
}

// ---- kinds of values

fn one_of<T: Copy>(value: &Spanned<DeValue<'_>>, known: &[(&str, T)]) -> Result<T, Vec<Wrong>> {
    let names = || known.iter().map(|(name, _)| *name);
    let Some(text) = value.get_ref().as_str() else {
        return Wrong::expected(value, &format!("one of {}", listed(names())));
    };
    match known.iter().find(|(name, _)| *name == text) {
        Some((_, known)) => Ok(*known),
        None => {
            let hint = nearest(text, names())
                .map_or_else(String::new, |near| format!("; did you mean {}?", quoted(near)));
            Wrong::one(value, format!("expected one of {}, found {}{hint}", listed(names()), quoted(text)))
        }
    }
}

/// A list, each entry by `read`; all that is wrong in it is told.
fn each<T>(
    value: &Spanned<DeValue<'_>>,
    read: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Vec<Wrong>>,
) -> Result<Vec<T>, Vec<Wrong>> {
    let Some(entries) = value.get_ref().as_array() else { return Wrong::expected(value, "a list in [ ]") };
    let mut list = Vec::with_capacity(entries.len());
    let mut wrong = Vec::new();
    for entry in entries.iter() {
        match read(entry) {
            Ok(entry) => list.push(entry),
            Err(found) => wrong.extend(found),
        }
    }
    if wrong.is_empty() { Ok(list) } else { Err(wrong) }
}

fn act_on(value: &Spanned<DeValue<'_>>, causes: &[&str]) -> Result<Vec<String>, Vec<Wrong>> {
    each(value, |entry| {
        let Some(id) = entry.get_ref().as_str() else { return Wrong::expected(entry, "the name of a cause") };
        if causes.contains(&id) {
            return Ok(id.to_owned());
        }
        let hint = match nearest(id, causes.iter().copied()) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("known are {}", listed(causes.iter().copied())),
        };
        Wrong::one(entry, format!("unknown cause {}; {hint}", quoted(id)))
    })
}

fn absolute(value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Vec<Wrong>> {
    match value.get_ref().as_str() {
        Some(text) if Path::new(text).is_absolute() => Ok(PathBuf::from(text)),
        Some(text) => Wrong::one(value, format!("expected a path from / on, found {}", quoted(text))),
        None => Wrong::expected(value, "a path from / on"),
    }
}

fn kernel_log(value: &Spanned<DeValue<'_>>) -> Result<Option<PathBuf>, Vec<Wrong>> {
    if value.get_ref().as_str() == Some("auto") { Ok(None) } else { absolute(value).map(Some) }
}

fn within(value: &Spanned<DeValue<'_>>, range: RangeInclusive<Duration>) -> Result<Duration, Vec<Wrong>> {
    let Some(text) = value.get_ref().as_str() else {
        return match value.get_ref() {
            DeValue::Integer(n) => Wrong::expected(
                value,
                &format!("a duration with its unit, such as {}", quoted(&format!("{n}s"))),
            ),
            _ => Wrong::expected(value, "a duration such as \"90s\" or \"1h30m\""),
        };
    };
    match duration(text) {
        Ok(time) if range.contains(&time) => Ok(time),
        Ok(_) => {
            let (low, high) = (spelled(*range.start()), spelled(*range.end()));
            Wrong::one(value, format!("expected a duration from {low} to {high}, found {}", quoted(text)))
        }
        Err(message) => Wrong::one(value, message),
    }
}

fn retain(value: &Spanned<DeValue<'_>>) -> Result<u64, Vec<Wrong>> {
    let Some(text) = value.get_ref().as_str() else {
        return Wrong::expected(value, "a size with its unit, such as \"1GiB\"");
    };
    match size(text) {
        Ok(bytes) if bytes >= RETAIN_BYTES_MIN => Ok(bytes),
        Ok(_) => Wrong::one(value, format!("expected at least 8MiB, found {}", quoted(text))),
        Err(message) => Wrong::one(value, message),
    }
}

fn ban_ports(value: &Spanned<DeValue<'_>>) -> Result<BanPorts, Vec<Wrong>> {
    match value.get_ref() {
        DeValue::String(text) if text == "service" => Ok(BanPorts::Service),
        DeValue::Array(entries) if entries.is_empty() => {
            Wrong::one(value, "the list of ports is empty; write \"service\" or name at least one")
        }
        DeValue::Array(_) => each(value, port).map(BanPorts::List),
        _ => Wrong::expected(value, "\"service\" or a list of ports such as [80, 443]"),
    }
}

fn port(value: &Spanned<DeValue<'_>>) -> Result<u16, Vec<Wrong>> {
    let number = match value.get_ref() {
        DeValue::Integer(n) if n.radix() == 10 => n.as_str().parse::<u16>().ok(),
        _ => None,
    };
    match number.filter(|port| *port > 0) {
        Some(port) => Ok(port),
        None => Wrong::expected(value, "a port from 1 to 65535"),
    }
}

fn prefix(value: &Spanned<DeValue<'_>>) -> Result<Prefix, Vec<Wrong>> {
    match value.get_ref().as_str() {
        Some(text) => parse_prefix(text).or_else(|message| Wrong::one(value, message)),
        None => Wrong::expected(value, "an address or a prefix such as \"192.0.2.0/24\""),
    }
}

fn log_file(value: &Spanned<DeValue<'_>>) -> Result<LogFile, Vec<Wrong>> {
    let Some(table) = value.get_ref().as_table() else {
        return Wrong::expected(value, "a table such as { path = \"/srv/www/access.log\" }");
    };
    let (mut path, mut format) = (None, None);
    let mut wrong = Vec::new();
    for (key, value) in table {
        match key.get_ref().as_ref() {
            "path" => match absolute(value) {
                Ok(found) => path = Some(found),
                Err(found) => wrong.extend(found),
            },
            "format" => match value.get_ref().as_str() {
                Some(text) if !text.trim().is_empty() => format = Some(text.to_owned()),
                _ => wrong.push(Wrong::at(
                    value.span(),
                    format!("expected the server's format string, found {}", found(value.get_ref())),
                )),
            },
            other => {
                let hint = nearest(other, ["path", "format"]).unwrap_or("path\" or \"format");
                let message = format!("unknown key {} in a log; did you mean \"{hint}\"?", quoted(other));
                wrong.push(Wrong::at(key.span(), message));
            }
        }
    }
    match path {
        Some(path) if wrong.is_empty() => Ok(LogFile { path, format }),
        None if wrong.is_empty() => Wrong::one(value, "a log needs a path; add path = \"/…\""),
        _ => Err(wrong),
    }
}

// ---- values as they are written; the command line uses these too

/// A length of time: `90s`, `1h30m`, `500ms`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as \"90s\" or \"1h30m\", found {}", quoted(text));
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        let after = &rest[digits..];
        let unit = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let millis = match &after[..unit] {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(format!("{} has no unit; write \"{text}s\" for seconds", quoted(text))),
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = after[unit..].trim_start();
    }
    Ok(total)
}

/// A number of bytes: `64MiB`, `1GiB`, `500MB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a size such as \"64MiB\" or \"1GiB\", found {}", quoted(text));
    let text_trimmed = text.trim();
    let digits = text_trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(text_trimmed.len());
    let number: u64 = text_trimmed[..digits].parse().map_err(|_| wrong())?;
    let unit: u64 = match text_trimmed[digits..].trim_start() {
        "B" => 1,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "" => return Err(format!("{} has no unit; write \"{text}MiB\" or \"{text}GiB\"", quoted(text))),
        _ => return Err(wrong()),
    };
    number.checked_mul(unit).ok_or_else(wrong)
}

/// An address or a prefix. Bits beyond the length are a mistake that is better told than guessed.
pub(crate) fn parse_prefix(text: &str) -> Result<Prefix, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(Prefix::from(toban_model::canonical(address)));
    }
    let prefix: Prefix = text.parse().map_err(|_| {
        format!("expected an address or a prefix such as \"192.0.2.0/24\", found {}", quoted(text))
    })?;
    if prefix != prefix.trunc() {
        return Err(format!(
            "{} has address bits beyond its length; did you mean \"{}\"?",
            quoted(text),
            prefix.trunc()
        ));
    }
    Ok(prefix)
}

// ---- words for messages

fn quoted(text: &str) -> String {
    // What stands in the file may hold control characters; the message goes to a terminal.
    format!("\"{}\"", text.escape_debug())
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(quoted).collect::<Vec<_>>().join(", ")
}

fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(n) => format!("the number {n}"),
        DeValue::Float(n) => format!("the number {n}"),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(time) => format!("the date {time}"),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn spelled(time: Duration) -> String {
    match time.as_millis() {
        ms if ms % 86_400_000 == 0 => format!("{}d", ms / 86_400_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}

/// The known name that somebody who wrote this most likely meant.
fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Jaro-Winkler forgives a typo and a missing end; below 0.8 the two have little in common.
    known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, known)| known)
}

/// Line and column, both from 1, of a byte in a text.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAUSES: &[&str] = &["open-proxy-abuse", "http-flood", "slow-clients"];

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse("toban.toml", text, CAUSES)
    }

    /// The files of a folder of this crate, by name.
    fn folder(name: &str) -> Vec<(String, String)> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        files.sort();
        assert!(files.len() > 3, "{}", dir.display());
        files
    }

    #[test]
    fn the_default_file_is_the_defaults() {
        assert_eq!(parse(DEFAULT).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
    }

    #[test]
    fn the_default_file_explains_every_key() {
        let table = DeTable::parse(DEFAULT).unwrap();
        for section in SECTIONS {
            let keys =
                table.get_ref().get(section.name).and_then(|v| v.get_ref().as_table()).expect(section.name);
            for key in section.keys {
                assert!(keys.contains_key(key.name), "[{}] {}", section.name, key.name);
                let line =
                    DEFAULT.lines().position(|line| line.starts_with(&format!("{} =", key.name))).unwrap();
                assert!(
                    DEFAULT.lines().nth(line - 1).unwrap().starts_with('#'),
                    "{} has no comment",
                    key.name
                );
            }
        }
    }

    #[test]
    fn valid_files_are_read() {
        for (name, text) in folder("valid") {
            if let Err(error) = Config::parse(&name, &text, CAUSES) {
                panic!("{error}");
            }
        }
    }

    /// Each invalid file says at its head, in `#!` lines, what is wrong with it.
    #[test]
    fn invalid_files_are_explained() {
        let mut wrong = Vec::new();
        for (name, text) in folder("invalid") {
            let expected: Vec<String> = text
                .lines()
                .filter_map(|line| line.strip_prefix("#! "))
                .map(|message| format!("{name}:{message}"))
                .collect();
            let error = Config::parse(&name, &text, CAUSES).expect_err(&name).to_string();
            if error != expected.join("\n") {
                wrong.push(error);
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn everything_can_be_set() {
        let (_, text) = folder("valid").into_iter().find(|(name, _)| name == "everything.toml").unwrap();
        let config = parse(&text).unwrap();
        let default = Config::default();
        assert_ne!(config.agent.mode, default.agent.mode);
        assert_ne!(config.agent.act_on, default.agent.act_on);
        assert_ne!(config.agent.state, default.agent.state);
        assert_ne!(config.agent.interval, default.agent.interval);
        assert_ne!(config.ban.length, default.ban.length);
        assert_eq!(config.ban.ports, BanPorts::List(vec![80, 443]));
        assert_eq!(config.allow.prefixes.len(), 3);
        assert_eq!(config.proxy.trusted.len(), 1);
        assert_eq!(config.logs.files.len(), 2);
        assert_eq!(config.kernel.log, Some("/var/log/kern.log".into()));
        assert_eq!(config.record.retain_bytes, 64 << 20);
        assert_ne!(config.metrics.listen, default.metrics.listen);
        assert_ne!(config.metrics.public, default.metrics.public);
        assert_ne!(config.metrics.push, default.metrics.push);
        assert_ne!(config.metrics.push_every, default.metrics.push_every);
        for (set, unset) in [
            (&config.hooks.finding, &default.hooks.finding),
            (&config.hooks.action, &default.hooks.action),
            (&config.hooks.recovery, &default.hooks.recovery),
        ] {
            assert_ne!(set, unset);
        }
        assert_ne!(config.hooks.timeout, default.hooks.timeout);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = Config::load(Path::new("/no/such/toban.toml"), CAUSES).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/toban.toml: "), "{error}");
    }

    #[test]
    fn durations_and_sizes() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2d 1s"), Ok(Duration::from_secs(172_801)));
        for wrong in ["", "h", "1x", "-1s", "1.5h", "99999999999999999999s", "9999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(duration("5").unwrap_err().contains("write \"5s\""));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1 GB"), Ok(1_000_000_000));
        for wrong in ["", "MiB", "1 mib", "-1B", "99999999999999TiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn prefixes() {
        assert_eq!(parse_prefix("192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(parse_prefix("::ffff:192.0.2.7").unwrap().to_string(), "192.0.2.7/32");
        assert_eq!(parse_prefix("2001:db8::/32").unwrap().to_string(), "2001:db8::/32");
        assert!(parse_prefix("10.1.2.3/8").unwrap_err().contains("did you mean \"10.0.0.0/8\"?"));
        assert!(parse_prefix("example.com").is_err());
    }
}
