//! What is measured side by side: a list of commands, each on one log.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::crowdsec;
use super::files::Log;

/// How long the lists are that toban is asked for.
pub(crate) const TOP: usize = 20;

/// One command.
pub(crate) struct Peer {
    /// What `--only` calls it; several rows may share it.
    pub(crate) id: &'static str,
    /// What is done, for the table.
    pub(crate) shown: &'static str,
    /// What must be installed: a program on the path, or with a path of its own.
    pub(crate) program: &'static str,
    pub(crate) log: Log,
    /// Slow ones get so many lines of its middle, and the time that one line takes is taken off: that is their start.
    pub(crate) part: Option<u64>,
    /// The log is its standard input.
    pub(crate) reads_stdin: bool,
    command: fn(&Setup, &Path) -> Command,
    /// What must be put in order before each run.
    prepare: Option<fn(&Setup) -> Result<()>>,
    /// What makes it say its version.
    version: &'static [&'static str],
}

/// What commands need beside their log.
pub(crate) struct Setup {
    /// A folder of the benchmark's own.
    pub(crate) dir: PathBuf,
    /// The program toban, unless it is left out.
    pub(crate) toban: Option<PathBuf>,
}

const USUAL: Peer = Peer {
    id: "",
    shown: "",
    program: "",
    log: Log::Access,
    part: None,
    reads_stdin: false,
    command: |_, _| Command::new("true"),
    prepare: None,
    version: &["--version"],
};

/// In the order of the table.
pub(crate) const ALL: &[Peer] = &[
    TOBAN,
    Peer { shown: "toban scan, 2 threads", command: |setup, log| scan(setup, log, 2), ..TOBAN },
    Peer { id: "wc", shown: "wc -l", program: "wc", command: |_, log| with("wc", &["-l"], log), ..USUAL },
    Peer {
        id: "ripgrep",
        shown: "rg -c, one literal",
        program: "rg",
        command: |_, log| with("rg", &["-c", "POST /xmlrpc"], log),
        ..USUAL
    },
    Peer {
        id: "ripgrep",
        shown: "rg -c, a regex like fail2ban's",
        program: "rg",
        command: |_, log| {
            let regex = r#"^(\S+) \S+ \S+ \[[^\]]+\] "POST /(xmlrpc|wp-login)\.php[^"]*" \d{3}"#;
            with("rg", &["-c", regex], log)
        },
        ..USUAL
    },
    Peer {
        id: "duckdb",
        shown: "DuckDB, GROUP BY address",
        program: "venv/bin/python",
        command: |setup, log| {
            let mut command = Command::new(setup.own("venv/bin/python"));
            command.args(["-c", DUCKDB]).arg(log);
            command
        },
        version: &["-c", "import duckdb; print('DuckDB', duckdb.__version__)"],
        ..USUAL
    },
    Peer {
        id: "goaccess",
        shown: "GoAccess to JSON",
        program: "goaccess",
        command: |setup, log| {
            let format = r#"--log-format=%h %^[%d:%t %^] "%r" %s %b "%R" "%u" %D"#;
            let (date, time) = ("--date-format=%d/%b/%Y", "--time-format=%H:%M:%S");
            let mut command = with("goaccess", &[], log);
            command.args([format, date, time, "--no-global-config", "--no-progress", "-o"]);
            command.arg(setup.own("goaccess.json"));
            command
        },
        ..USUAL
    },
    Peer {
        id: "fail2ban",
        shown: "fail2ban-regex, one failregex",
        program: "fail2ban-regex",
        part: Some(200_000),
        command: |setup, log| {
            let mut command = with("fail2ban-regex", &[], log);
            command.arg(setup.own("fail2ban.conf"));
            command
        },
        prepare: Some(|setup| Ok(fs::write(setup.own("fail2ban.conf"), FAIL2BAN)?)),
        ..USUAL
    },
    Peer {
        id: "crowdsec",
        shown: "CrowdSec, its packaged scenarios",
        program: "crowdsec",
        part: Some(5_000),
        command: |setup, log| crowdsec::replay(setup, log, "apache2"),
        prepare: Some(crowdsec::prepare),
        version: &["-version"],
        ..USUAL
    },
    Peer { log: Log::Sshd, shown: "toban scan, 1 thread", ..TOBAN },
    Peer {
        id: "ripgrep",
        shown: "rg -c, one literal",
        program: "rg",
        log: Log::Sshd,
        command: |_, log| with("rg", &["-c", "Failed password"], log),
        ..USUAL
    },
    Peer {
        id: "sshguard",
        shown: "sshguard's parser",
        program: "/usr/libexec/sshguard/sshg-parser",
        log: Log::Sshd,
        reads_stdin: true,
        command: |_, _| Command::new("/usr/libexec/sshguard/sshg-parser"),
        version: &[],
        ..USUAL
    },
    Peer {
        id: "fail2ban",
        shown: "fail2ban-regex, its sshd filter",
        program: "fail2ban-regex",
        log: Log::Sshd,
        part: Some(100_000),
        command: |_, log| {
            let mut command = with("fail2ban-regex", &[], log);
            command.arg("sshd");
            command
        },
        ..USUAL
    },
    Peer {
        id: "crowdsec",
        shown: "CrowdSec, its packaged scenarios",
        program: "crowdsec",
        log: Log::Sshd,
        part: Some(50_000),
        command: |setup, log| crowdsec::replay(setup, log, "syslog"),
        prepare: Some(crowdsec::prepare),
        version: &["-version"],
        ..USUAL
    },
    Peer { log: Log::Distinct, ..TOBAN },
];

const TOBAN: Peer =
    Peer { id: "toban", shown: "toban scan, 1 thread", command: |setup, log| scan(setup, log, 1), ..USUAL };

fn scan(setup: &Setup, log: &Path, threads: u32) -> Command {
    let mut command = Command::new(setup.toban.as_deref().unwrap_or(Path::new("toban")));
    let (threads, top) = (threads.to_string(), TOP.to_string());
    command.args(["scan", "--json", "--top", &top, "--threads", &threads]).arg(log);
    command
}

fn with(program: &str, args: &[&str], log: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(args).arg(log);
    command
}

const DUCKDB: &str = r#"
import duckdb, sys
print(duckdb.sql(f"""
    SELECT regexp_extract(line, '^(\S+) ', 1) AS address, count(*) AS requests
    FROM read_csv('{sys.argv[1]}', columns = {{'line': 'VARCHAR'}}, delim = '\x01', quote = '', escape = '',
                  header = false, auto_detect = false)
    GROUP BY address ORDER BY requests DESC LIMIT 20""").fetchall())
"#;

/// What an administrator would write against the two floods.
const FAIL2BAN: &str = r#"[Definition]
failregex = ^<HOST> \S+ \S+ \[[^\]]*\] "POST /(?:xmlrpc|wp-login)\.php[^"]*" \d{3}
ignoreregex =
datepattern = %%d/%%b/%%Y:%%H:%%M:%%S %%z
"#;

impl Peer {
    pub(crate) fn command(&self, setup: &Setup, log: &Path) -> Command {
        (self.command)(setup, log)
    }

    pub(crate) fn prepare(&self, setup: &Setup) -> Result<()> {
        self.prepare
            .map_or(Ok(()), |prepare| prepare(setup))
            .with_context(|| format!("could not prepare {}", self.shown))
    }

    pub(crate) fn is_toban(&self) -> bool {
        self.id == TOBAN.id
    }

    /// Whether it is here.
    pub(crate) fn is_there(&self, setup: &Setup) -> bool {
        if self.is_toban() {
            return setup.toban.is_some();
        }
        let found = |folder: PathBuf| folder.join(self.program).is_file();
        setup.own(self.program).is_file()
            || env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(found))
    }

    /// The first line of what it says about itself.
    pub(crate) fn version(&self, setup: &Setup) -> Option<String> {
        let program = match &setup.toban {
            Some(toban) if self.is_toban() => toban.clone(),
            _ if setup.own(self.program).is_file() => setup.own(self.program),
            _ => PathBuf::from(self.program),
        };
        if self.version.is_empty() {
            return None;
        }
        let said = Command::new(program).args(self.version).stdin(Stdio::null()).output().ok()?;
        let said = [said.stdout, said.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let first = said.lines().map(str::trim).find(|line| !line.is_empty())?;
        // CrowdSec logs it, with the time.
        Some(first.split_once(" version: ").map_or(first, |(_, version)| version).to_owned())
    }
}

impl Setup {
    /// A file of the benchmark's own.
    pub(crate) fn own(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

/// Debian's packages of the peers.
const PACKAGES: [&str; 6] = ["ripgrep", "goaccess", "fail2ban", "sshguard", "crowdsec", "python3-venv"];

/// Installs what can be installed; what could not be, and why.
pub(crate) fn install(setup: &Setup) -> Vec<String> {
    let mut failed = Vec::new();
    crowdsec::stay_offline();
    for package in PACKAGES {
        if let Err(error) = toban_lab::install_packages(&[package]) {
            failed.push(format!("{package}: {error:#}"));
        }
    }
    let duckdb = || -> Result<()> {
        let venv = setup.own("venv");
        done(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        done(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "duckdb"]))
    };
    if !setup.own("venv/bin/python").is_file()
        && let Err(error) = duckdb()
    {
        failed.push(format!("duckdb: {error:#}"));
    }
    failed
}

/// Runs a command whose words matter only if it fails.
pub(crate) fn done(command: &mut Command) -> Result<()> {
    let shown = crate::steps::show(command);
    let said = command.stdin(Stdio::null()).output().with_context(|| format!("could not run {shown}"))?;
    anyhow::ensure!(said.status.success(), "{shown}: {}", String::from_utf8_lossy(&said.stderr).trim());
    Ok(())
}
