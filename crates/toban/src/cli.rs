//! The command line: what can be asked for, and how it is written. It decides nothing; it does no I/O.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Termination};
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};
use toban_model::{Lang, Mode, Prefix, Time};

use crate::config;

/// How a command ended, for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All well.
    Ok,
    /// `why` and `status`: there is a finding.
    Finding,
    /// The command line or the configuration is wrong.
    Usage,
    /// It could not be done.
    CouldNot,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Finding => 1,
            Exit::Usage => 2,
            Exit::CouldNot => 3,
        })
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

/// The engineer on call who lives on your server.
///
/// toban says why this server is slow or down, who or what did it, and what to do now. It changes nothing unless it is
/// told to.
///
/// Exit status: 0 all well, 1 a finding (why, status), 2 wrong usage or configuration, 3 could not do it.
#[derive(Debug, Parser)]
#[command(
    name = "toban",
    version,
    max_term_width = 100,
    after_help = "Examples:
  toban why                      # why is this server slow or down, now?
  toban why --lang ja --at 19:02 # the same in Japanese, about a past moment
  toban run                      # watch this server, change nothing
  toban fix 1 --dry-run          # what would the first remedy do?"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// Language of the text; taken from LC_ALL, LC_MESSAGES or LANG when not given
    #[arg(long, global = true, value_name = "en|ja", value_parser = lang, hide_possible_values = true)]
    pub(crate) lang: Option<Lang>,
    /// Colour
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Configuration file; /etc/toban/toban.toml if it exists
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Where the record is kept, instead of what the configuration says
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state: Option<PathBuf>,
}

impl Global {
    /// The language asked for, or the one of the environment. `var` reads a variable.
    pub(crate) fn language(&self, var: impl Fn(&str) -> Option<String>) -> Lang {
        self.lang.unwrap_or_else(|| {
            // The first that is set and not empty decides, also when it says C. See locale(7).
            let locale = ["LC_ALL", "LC_MESSAGES", "LANG"]
                .into_iter()
                .find_map(|name| var(name).filter(|value| !value.is_empty()));
            Lang::from_locale(locale.as_deref().unwrap_or_default())
        })
    }
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Watch this server: the agent, in the foreground
    ///
    /// Needs no configuration: it finds the web servers that run here, their logs and limits by itself. It samples the
    /// host once a second, records, opens an incident when something is exhausted, and names the cause. In mode
    /// "observe", the default, it changes nothing.
    #[command(after_help = "Examples:
  toban run                                   # watch, change nothing
  toban run --mode act                        # also carry out the remedies that the configuration allows
  toban run --config toban.toml --state ./st  # another configuration, another place for the record")]
    Run(Run),
    /// Say why this server is slow or down, who or what did it, and what to do now
    ///
    /// Works with or without a running agent. Without one, what is usual here is learned from the logs on disk. Exit
    /// status 1 means that there is a finding.
    #[command(after_help = "Examples:
  toban why                                        # now
  toban why --at '2020-12-24 19:02'                # a past moment
  toban why --since -2h --until -1h --json         # a stretch of time, for a script
  toban why --log access.log --log error.log       # log files alone
  toban why --root /mnt/disk --at '2020-12-24 19:02'
  toban why --watch 5                              # again every five seconds")]
    Why(Why),
    /// Every vital of this server against its usual, the most unusual first
    ///
    /// One screen. Exit status 1 means that something is wrong.
    #[command(after_help = "Examples:
  toban status
  toban status --json")]
    Status(Json),
    /// Vitals, processes, sockets and incidents of this host: live, and back in time
    ///
    /// In a terminal, a screen that goes on; `?` shows its keys. What is past comes from the recording that `toban run`
    /// makes. Without a terminal it prints one screen as text.
    #[command(after_help = "Examples:
  toban top
  toban top --at '2020-12-24 19:02'
  toban top --at -2h > before.txt   # one screen as text")]
    Top(Top),
    /// Carry out a remedy of the current finding
    ///
    /// Without N it shows the remedies. It asks before it does anything, checks the safety rules, measures the effect,
    /// and takes back what did not help.
    #[command(after_help = "Examples:
  toban fix                              # which remedies are there?
  toban fix 1 --dry-run                  # what would the first one do?
  toban fix 1 --yes                      # do it without asking
  toban fix 2 --confirm-within 60s       # taken back unless confirmed within a minute")]
    Fix(Fix),
    /// Take an action back
    #[command(
        long_about = "Take an action back\n\nThe number is that of `toban actions`.",
        after_help = "Examples:
  toban undo 7"
    )]
    Undo {
        /// The action's number
        #[arg(value_name = "ID")]
        id: i64,
    },
    /// What toban did here: predicted, measured, by whom and why
    ///
    /// The audit trail, newest first. It is written before anything is done.
    #[command(after_help = "Examples:
  toban actions
  toban actions --json")]
    Actions(Json),
    /// Drop what comes from an address or a prefix, for a time
    ///
    /// The same safety rules hold as for the agent: own addresses, gateways, resolvers, balancers, live logins and the
    /// allowlist are refused.
    #[command(after_help = "Examples:
  toban ban 198.51.100.0/24
  toban ban 198.51.100.7 --for 2h --ports 80,443 --reason 'CONNECT flood'
  toban ban 203.0.113.5 --force --reason 'our old balancer, given back'")]
    Ban(Ban),
    /// Let an address or a prefix in again
    #[command(
        long_about = "Let an address or a prefix in again\n\nThe prefix is one of `toban bans`.",
        after_help = "Examples:
  toban unban 198.51.100.0/24"
    )]
    Unban {
        /// The prefix, as `toban bans` shows it
        #[arg(value_parser = config::parse_prefix)]
        prefix: Prefix,
    },
    /// Who is banned now, on which ports, for how much longer and why
    #[command(
        long_about = "Who is banned now, on which ports, for how much longer and why\n\nBans survive a restart of \
                      toban, of the firewall and of the host, and end at their time.",
        after_help = "Examples:
  toban bans
  toban bans --json"
    )]
    Bans(Json),
    /// Never ban an address or a prefix
    ///
    /// Puts it on the allowlist, and ends the bans that it is in.
    #[command(after_help = "Examples:
  toban allow 203.0.113.10
  toban allow 2001:db8::/32")]
    Allow {
        /// An address or a prefix
        #[arg(value_parser = config::parse_prefix)]
        prefix: Prefix,
    },
    /// What happened here
    ///
    /// The incidents that the agent recorded, newest first.
    #[command(after_help = "Examples:
  toban incidents
  toban incidents --json")]
    Incidents(Json),
    /// An incident as one file
    ///
    /// It holds what was seen, every second's sample and what the logs said, and can be judged again elsewhere:
    /// see `toban replay`.
    #[command(
        subcommand,
        after_help = "Examples:
  toban case export 7 -o night.case"
    )]
    Case(Case),
    /// Judge a case again
    ///
    /// The same version gives the same finding, byte for byte; where this one judges otherwise than the one that
    /// recorded it, that is said on stderr. Exit status 1 means that there is a finding.
    #[command(after_help = "Examples:
  toban replay night.case
  toban replay night.case --json --lang ja")]
    Replay {
        /// What `toban case export` wrote
        #[arg(value_name = "CASE", value_hint = ValueHint::FilePath)]
        case: PathBuf,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Validate the configuration
    ///
    /// Every mistake is shown with file, line and column and what would be right. Exit status 2 means that there is
    /// one.
    #[command(after_help = "Examples:
  toban check
  toban check --config ./toban.toml
  toban check --defaults > toban.toml  # a file to start from")]
    Check(Check),
    /// Show a log as events, one a line
    ///
    /// The format is taken from --format, or found from the lines. Lines that are not understood are counted on stderr.
    #[command(after_help = "Examples:
  toban parse /var/log/apache2/access.log
  toban parse --json --tz Asia/Tokyo --format '%h %l %u %t \"%r\" %>s %b %D' access.log")]
    Parse(Parse),
    /// Say whom toban's own detectors would blame for what stands in these logs
    ///
    /// Offline: nothing is looked at but the files, each as it is named (rotated files have to be named too; compressed
    /// ones are read). The format of each is found from its lines. Exit status 3 means that something could not be read.
    #[command(after_help = "Examples:
  toban scan /var/log/auth.log
  toban scan --json access.log access.log.1 access.log.2.gz
  toban scan --top 10 access.log  # also the busiest addresses, networks, paths, agents")]
    Scan(Scan),
    /// Print the completions for a shell
    ///
    /// For packagers.
    #[command(
        hide = true,
        after_help = "Examples:
  toban completions bash"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory
    ///
    /// For packagers.
    #[command(
        hide = true,
        after_help = "Examples:
  toban man ./man1"
    )]
    Man {
        /// Where to; it must exist
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Run {
    /// What toban may do by itself, instead of what the configuration says
    #[arg(long, value_name = "observe|ask|act", value_parser = mode)]
    pub(crate) mode: Option<Mode>,
    /// What the acting process starts its child with
    #[arg(long = "watch-for-actor", hide = true)]
    pub(crate) watch: bool,
}

/// The argument of [`Run::watch`].
pub(crate) const WATCH_ARGUMENT: &str = "--watch-for-actor";

#[derive(Clone, Debug, Args)]
pub(crate) struct Why {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
    /// Also say what was found on this host: services, logs, limits, and what could not be looked at
    #[arg(long)]
    pub(crate) explain: bool,
    /// A past moment
    #[arg(long, value_name = "T", allow_hyphen_values = true, conflicts_with_all = ["since", "until", "watch"])]
    pub(crate) at: Option<When>,
    /// From when on
    #[arg(long, value_name = "T", allow_hyphen_values = true, conflicts_with = "watch")]
    pub(crate) since: Option<When>,
    /// Until when; now if not given
    #[arg(long, value_name = "T", allow_hyphen_values = true, requires = "since")]
    pub(crate) until: Option<When>,
    /// Read everything below this directory: a mounted disk of another host
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) root: Option<PathBuf>,
    /// Judge by this log alone, and not by this host; can be given several times
    #[arg(long, value_name = "FILE[=FORMAT]", value_hint = ValueHint::FilePath)]
    pub(crate) log: Vec<LogArg>,
    /// Ask again every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600), conflicts_with = "json")]
    pub(crate) watch: Option<u64>,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Case {
    /// Write an incident into one file: samples, looks, actions, and what the logs said
    ///
    /// With --anonymize addresses, host names, mail addresses, accounts, and what is private in paths and command lines
    /// are replaced, everywhere by the same; networks stay together.
    #[command(after_help = "Examples:
  toban case export 7 -o night.case
  toban case export 7 --anonymize -o night.case  # to be sent to others")]
    Export(Export),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Export {
    /// The incident's number in `toban incidents`
    #[arg(value_name = "ID")]
    pub(crate) id: i64,
    /// Without the people in it
    #[arg(long)]
    pub(crate) anonymize: bool,
    /// Where to; it must not exist
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Top {
    /// Begin at a past moment
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) at: Option<When>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Check {
    /// Print the default configuration, every key explained, instead
    #[arg(long, conflicts_with = "config")]
    pub(crate) defaults: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Json {
    /// Print one JSON document
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Fix {
    /// Which remedy, by its number in `toban why`
    #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) n: Option<u32>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) yes: bool,
    /// Take it back unless it is confirmed within this time
    #[arg(long, value_name = "60s", value_parser = config::duration)]
    pub(crate) confirm_within: Option<Duration>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Ban {
    /// An address or a prefix
    #[arg(value_parser = config::parse_prefix)]
    pub(crate) prefix: Prefix,
    /// For how long, instead of what the configuration says
    #[arg(long = "for", value_name = "1h", value_parser = config::duration)]
    pub(crate) length: Option<Duration>,
    /// On which TCP ports; on all ports and protocols if not given
    #[arg(long, value_name = "80,443", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) ports: Vec<u16>,
    /// Why, for the audit trail
    #[arg(long, value_name = "TEXT", required_if_eq("force", "true"))]
    pub(crate) reason: Option<String>,
    /// Also if a safety rule speaks against it; what it overrides is printed and kept, and --reason is needed. This host's
    /// own addresses are never banned
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Parse {
    /// The server's own format string; found from the lines if not given
    #[arg(long, value_name = "F")]
    pub(crate) format: Option<String>,
    /// The clock that years and ages are judged by
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) now: Option<When>,
    /// The zone of times without one: an IANA name or a POSIX TZ rule
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) tz: Option<TimeZone>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// The log
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) log: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Scan {
    /// The server's own format string for all of the logs; found from the lines of each if not given
    #[arg(long, value_name = "F")]
    pub(crate) format: Option<String>,
    /// The clock that years and ages are judged by
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    pub(crate) now: Option<When>,
    /// The zone of times without one: an IANA name or a POSIX TZ rule
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    pub(crate) tz: Option<TimeZone>,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
    /// Also print the N busiest addresses, networks, paths, agents and combinations
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) top: Option<u16>,
    /// On so many threads; on as many as there are processors if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    /// The logs
    #[arg(required = true, value_name = "LOG", value_hint = ValueHint::FilePath)]
    pub(crate) logs: Vec<PathBuf>,
}

impl Scan {
    /// On how many threads to read.
    pub(crate) fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or_else(all, usize::from)
    }
}

/// A log file with the format of its lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogArg {
    pub(crate) path: PathBuf,
    /// The server's format string; found from the lines when absent.
    pub(crate) format: Option<String>,
}

impl FromStr for LogArg {
    type Err = String;

    fn from_str(text: &str) -> Result<LogArg, String> {
        let (path, format) = match text.split_once('=') {
            Some((path, format)) => (path, Some(format.to_owned())),
            None => (text, None),
        };
        if path.is_empty() {
            return Err("the file is missing before =".to_owned());
        }
        if format.as_deref().is_some_and(|format| format.trim().is_empty()) {
            return Err("the format is missing after =; leave both out to have it found".to_owned());
        }
        Ok(LogArg { path: PathBuf::from(path), format })
    }
}

/// A moment as people write it; it becomes a [`Time`] when the present and the zone are known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum When {
    /// RFC 3339, or epoch seconds.
    Absolute(Time),
    /// `2020-12-24 19:02`: by the host's clock on the wall.
    Local(civil::DateTime),
    /// `19:02`: the last time that the clock showed it.
    TimeOfDay(civil::Time),
    /// `-2h`.
    Ago(Duration),
}

/// Why a [`When`] is no moment that can be looked at. Usage errors.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum WhenError {
    /// It is still to come.
    #[error("{0} is in the future; it is {1} now")]
    Future(String, String),
    /// The calendar has no such moment.
    #[error("{0} does not exist")]
    Nowhere(String),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<When, String> {
        let text = text.trim();
        if text == "now" {
            return Ok(When::Ago(Duration::ZERO));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return config::duration(ago).map(When::Ago).map_err(|_| expected_time(text));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            let seconds: f64 = text.parse().map_err(|_| expected_time(text))?;
            return Ok(When::Absolute(Time::from_micros((seconds * 1e6).round() as i64)));
        }
        if let Ok(timestamp) = text.parse::<Timestamp>() {
            return Ok(When::Absolute(Time::from_micros(timestamp.as_microsecond())));
        }
        let has_date = text.len() >= 10 && text.as_bytes()[4] == b'-';
        match (has_date, text.parse::<civil::DateTime>(), text.parse::<civil::Time>()) {
            (true, Ok(local), _) => Ok(When::Local(local)),
            (false, _, Ok(time)) => Ok(When::TimeOfDay(time)),
            _ => Err(expected_time(text)),
        }
    }
}

fn expected_time(text: &str) -> String {
    format!(
        "expected a time such as 2020-12-24T19:02:40+09:00, \"2020-12-24 19:02\", 19:02, -2h or epoch seconds, \
         found \"{}\"",
        text.escape_debug()
    )
}

impl When {
    /// The moment, for a host whose clock shows `now` in the zone `tz`.
    pub(crate) fn resolve(&self, now: Time, tz: &TimeZone) -> Result<Time, WhenError> {
        let micros = |zoned: jiff::Zoned| Time::from_micros(zoned.timestamp().as_microsecond());
        let local = |at: civil::DateTime| {
            at.to_zoned(tz.clone()).map(micros).map_err(|_| WhenError::Nowhere(at.to_string()))
        };
        match self {
            When::Absolute(at) => Ok(*at),
            When::Local(at) => local(*at),
            When::Ago(ago) => Ok(now - *ago),
            When::TimeOfDay(time) => {
                let today = Timestamp::from_microsecond(now.as_micros())
                    .map_err(|_| WhenError::Nowhere(time.to_string()))?
                    .to_zoned(tz.clone())
                    .date();
                let at = local(today.to_datetime(*time))?;
                if at <= now {
                    return Ok(at);
                }
                let yesterday = today.yesterday().map_err(|_| WhenError::Nowhere(time.to_string()))?;
                local(yesterday.to_datetime(*time))
            }
        }
    }

    /// The same for what looks back: a moment in the future is a usage error.
    pub(crate) fn resolve_past(&self, now: Time, tz: &TimeZone) -> Result<Time, WhenError> {
        let at = self.resolve(now, tz)?;
        if at > now {
            return Err(WhenError::Future(toban_views::moment(at, tz), toban_views::moment(now, tz)));
        }
        Ok(at)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Absolute(at) => write!(f, "{}", at.as_secs()),
            When::Local(at) => write!(f, "{at}"),
            When::TimeOfDay(time) => write!(f, "{time}"),
            When::Ago(ago) => write!(f, "-{}s", ago.as_secs()),
        }
    }
}

fn lang(text: &str) -> Result<Lang, String> {
    match text {
        "en" => Ok(Lang::En),
        "ja" => Ok(Lang::Ja),
        _ => Err("expected en or ja".to_owned()),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "observe" => Ok(Mode::Observe),
        "ask" => Ok(Mode::Ask),
        "act" => Ok(Mode::Act),
        _ => Err("expected observe, ask or act".to_owned()),
    }
}

/// A zone by its name, or by a rule such as `JST-9`.
fn zone(text: &str) -> Result<TimeZone, String> {
    TimeZone::get(text)
        .or_else(|_| TimeZone::posix(text))
        .map_err(|_| "expected a zone such as Asia/Tokyo or JST-9".to_owned())
}

/// Writes the completions for a shell.
pub(crate) fn completions(shell: clap_complete::Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut Cli::command(), "toban", out);
}

/// Writes `toban.1` and one page for each command.
pub(crate) fn man(dir: &Path) -> io::Result<()> {
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(words(line))
    }

    /// As a shell would split it: spaces, single quotes, a comment at the end.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '\'' => quoted = !quoted,
                '#' | '>' if !quoted => break,
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    fn tokyo() -> TimeZone {
        TimeZone::posix("JST-9").unwrap()
    }

    /// 2020-12-24 19:02:40 JST.
    const NOW: Time = Time::from_secs(1_608_804_160);

    #[test]
    fn clap_is_content() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_and_its_examples_work() {
        let top = Cli::command();
        let commands = std::iter::once(&top).chain(top.get_subcommands());
        for command in commands {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} has no about");
            assert!(command.get_long_about().is_some(), "{name} has no long help");
            let after =
                command.get_after_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
            let examples: Vec<&str> = after.strip_prefix("Examples:\n").expect(name).lines().collect();
            assert!(!examples.is_empty());
            for example in examples {
                let example = example.trim();
                if let Err(error) = parse(example) {
                    panic!("{example}\n{error}");
                }
                assert!(
                    name == "toban" || example.starts_with(&format!("toban {name}")),
                    "{name}: {example}"
                );
            }
        }
    }

    #[test]
    fn times_are_read() {
        for (text, at) in [
            ("2020-12-24T19:02:40+09:00", 1_608_804_160),
            ("2020-12-24T10:02:40Z", 1_608_804_160),
            ("2020-12-24 19:02", 1_608_804_120),
            ("2020-12-24 19:02:40", 1_608_804_160),
            ("2020-12-24", 1_608_735_600),
            ("19:02", 1_608_804_120),
            // The clock last showed it yesterday.
            ("19:03", 1_608_804_180 - 86_400),
            ("-2h", 1_608_804_160 - 7200),
            ("-1h30m", 1_608_804_160 - 5400),
            ("now", 1_608_804_160),
            ("1608804160", 1_608_804_160),
        ] {
            let when: When = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(when.resolve_past(NOW, &tokyo()), Ok(Time::from_secs(at)), "{text}");
        }
        for wrong in ["", "tomorrow", "25:00", "2020-13-01 00:00", "-2", "-x", "12-24 19:02", "1.2.3"] {
            let error = wrong.parse::<When>().expect_err(wrong);
            assert!(error.contains("expected a time such as"), "{error}");
        }
    }

    #[test]
    fn the_future_cannot_be_looked_at() {
        let when: When = "2021-01-01 00:00".parse().unwrap();
        assert_eq!(
            when.resolve_past(NOW, &tokyo()).unwrap_err().to_string(),
            "2021-01-01 00:00:00 JST is in the future; it is 2020-12-24 19:02:40 JST now"
        );
        assert!(when.resolve(NOW, &tokyo()).is_ok());
    }

    #[test]
    fn options_go_before_and_after_the_command() {
        for line in ["toban --lang ja why --at -2h", "toban why --at -2h --lang ja"] {
            let cli = parse(line).unwrap();
            assert_eq!(cli.global.lang, Some(Lang::Ja));
            let Command::Why(why) = cli.command else { panic!("{line}") };
            assert_eq!(why.at, Some(When::Ago(Duration::from_secs(7200))));
        }
        let Command::Ban(ban) = parse("toban ban 198.51.100.7 --ports 80,443 --for 2h").unwrap().command
        else {
            panic!()
        };
        assert_eq!((ban.prefix.to_string().as_str(), &ban.ports[..]), ("198.51.100.7/32", &[80, 443][..]));
        let Command::Why(why) = parse("toban why --log a.log --log b.log=combined").unwrap().command else {
            panic!()
        };
        assert_eq!(why.log[1], LogArg { path: "b.log".into(), format: Some("combined".into()) });
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_status_2() {
        for line in [
            "toban",
            "toban why --at -2h --since -1h",
            "toban why --until -1h",
            "toban why --lang de",
            "toban why --watch 0",
            "toban fix 0",
            "toban fix 1 --yes --dry-run",
            "toban ban 10.1.2.3/8",
            "toban ban example.com",
            "toban ban 192.0.2.1 --ports 0",
            "toban ban 192.0.2.1 --for 5",
            "toban run --mode atc",
            "toban parse --tz Mars/Olympus x.log",
            "toban undo seven",
            "toban why --log =x",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn the_environment_chooses_the_language() {
        let language = |line: &str, vars: &[(&str, &str)]| {
            let vars: Vec<(String, String)> =
                vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            parse(line)
                .unwrap()
                .global
                .language(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
        };
        assert_eq!(language("toban why", &[]), Lang::En);
        assert_eq!(language("toban why", &[("LANG", "ja_JP.UTF-8")]), Lang::Ja);
        assert_eq!(language("toban why", &[("LC_ALL", "C"), ("LANG", "ja_JP.UTF-8")]), Lang::En);
        assert_eq!(language("toban why", &[("LC_ALL", ""), ("LANG", "ja_JP.UTF-8")]), Lang::Ja);
        assert_eq!(language("toban why --lang en", &[("LANG", "ja_JP.UTF-8")]), Lang::En);
    }

    #[test]
    fn completions_and_manual_pages_are_made() {
        let mut out = Vec::new();
        completions(clap_complete::Shell::Bash, &mut out);
        assert!(String::from_utf8(out).unwrap().contains("toban"));
        let dir = tempfile::tempdir().unwrap();
        man(dir.path()).unwrap();
        let page = std::fs::read_to_string(dir.path().join("toban-why.1")).unwrap();
        assert!(page.contains("Examples"), "{page}");
        assert!(dir.path().join("toban.1").exists());
    }
}
