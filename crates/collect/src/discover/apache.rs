//! Apache httpd's configuration, as far as it tells how the server logs, how many requests it can hold, whom it
//! trusts and where it hands requests on to.
//!
//! Read as the server reads it: in order, `LoadModule`, `Define` and the `If…` sections taking effect where they
//! stand. Nothing is executed and nothing is looked up by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use toban_model::{LogDialect, LogRole, LogSource};

use super::files::{Files, ServerConfig, backend_of, listen_address};
use crate::{Root, limits};

/// How the running server was started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Its program.
    pub exe: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, as far as it may be seen.
    pub environment: Vec<(String, String)>,
}

/// The common log format, used where no format is named.
const COMMON: &str = "%h %l %u %t \"%r\" %>s %b";

/// Modules that distributions link in, so that no `LoadModule` names them.
const BUILT_IN: &[&str] = &[
    "core.c",
    "core_module",
    "http_core.c",
    "http_module",
    "mod_so.c",
    "so_module",
    "mod_log_config.c",
    "log_config_module",
    "mod_logio.c",
    "logio_module",
    "mod_version.c",
    "version_module",
    "mod_unixd.c",
    "unixd_module",
    "mod_watchdog.c",
    "watchdog_module",
];

/// Reads the configuration of a server that was started like this.
pub fn read(root: &Root, start: &Start) -> ServerConfig {
    let mut reader = Reader::new(root, start);
    let main = reader.main_file(&start.arguments);
    for directive in argument_values(&start.arguments, "-C") {
        reader.line(&directive, Path::new("command line"), 0);
    }
    reader.file(&main, 0);
    for directive in argument_values(&start.arguments, "-c") {
        reader.line(&directive, Path::new("command line"), 0);
    }
    reader.finish()
}

/// Every value of an option, written `-x value` or `-xvalue`.
fn argument_values(arguments: &[String], option: &str) -> Vec<String> {
    let mut values = Vec::new();
    let mut rest = arguments.iter().skip(1);
    while let Some(argument) = rest.next() {
        if argument == option {
            values.extend(rest.next().cloned());
        } else if let Some(value) = argument.strip_prefix(option) {
            values.push(value.to_owned());
        }
    }
    values
}

struct Scope {
    name: String,
    active: bool,
    vhost: Option<usize>,
}

struct Log {
    path: PathBuf,
    format: String,
    vhost: Option<usize>,
}

/// What a server or virtual host says of its error log.
#[derive(Default)]
struct ErrorLog {
    /// `Some(None)`: to what is not a file.
    path: Option<Option<PathBuf>>,
    format: Option<String>,
}

struct Reader<'a> {
    files: Files<'a>,
    config: ServerConfig,
    server_root: PathBuf,
    environment: HashMap<String, String>,
    defines: HashMap<String, String>,
    modules: HashSet<String>,
    scopes: Vec<Scope>,
    vhosts: usize,
    /// Files that are being read now, so that one that includes itself ends.
    open: Vec<PathBuf>,
    formats: HashMap<String, String>,
    transfer_format: String,
    logs: Vec<Log>,
    /// By virtual host; that of the server itself is the first.
    error_logs: BTreeMap<Option<usize>, ErrorLog>,
    remoteip: HashSet<Option<usize>>,
    numbers: HashMap<&'static str, (u32, PathBuf)>,
    mpm: Option<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(root: &'a Root, start: &Start) -> Reader<'a> {
        let debian = start.exe.file_name().is_some_and(|name| name == "apache2")
            || !root.at("/etc/httpd").is_dir() && root.at("/etc/apache2").is_dir();
        let server_root = argument_values(&start.arguments, "-d")
            .pop()
            .map_or_else(|| PathBuf::from(if debian { "/etc/apache2" } else { "/etc/httpd" }), PathBuf::from);
        let mut environment = HashMap::new();
        if let Ok(text) = root.read_config(server_root.join("envvars")) {
            environment = envvars(&text);
        }
        environment.extend(start.environment.iter().cloned());
        let defines =
            argument_values(&start.arguments, "-D").into_iter().map(|name| (name, String::new())).collect();
        Reader {
            files: Files::new(root),
            config: ServerConfig::default(),
            server_root,
            environment,
            defines,
            modules: BUILT_IN.iter().map(|name| (*name).to_owned()).collect(),
            scopes: Vec::new(),
            vhosts: 0,
            open: Vec::new(),
            formats: HashMap::from([("common".to_owned(), COMMON.to_owned())]),
            transfer_format: COMMON.to_owned(),
            logs: Vec::new(),
            error_logs: BTreeMap::new(),
            remoteip: HashSet::new(),
            numbers: HashMap::new(),
            mpm: None,
        }
    }

    fn main_file(&self, arguments: &[String]) -> PathBuf {
        if let Some(file) = argument_values(arguments, "-f").pop() {
            return self.server_root.join(file);
        }
        let candidates =
            ["apache2.conf", "conf/httpd.conf", "httpd.conf"].map(|name| self.server_root.join(name));
        let exists = |path: &&PathBuf| self.files.root.at(path).is_file();
        candidates.iter().find(exists).unwrap_or(&candidates[0]).clone()
    }

    fn file(&mut self, path: &Path, depth: usize) {
        if depth > limits::INCLUDE_DEPTH_MAX {
            let note = format!("{}: included more than {} deep", path.display(), limits::INCLUDE_DEPTH_MAX);
            self.config.note(note);
            return;
        }
        if self.open.iter().any(|open| open == path) {
            self.config.note(format!("{}: includes itself", path.display()));
            return;
        }
        let Some(text) = self.files.read(path, &mut self.config) else { return };
        self.open.push(path.to_path_buf());
        let sections = self.scopes.len();
        let mut joined = String::new();
        for line in text.lines() {
            let line = line.strip_suffix('\r').unwrap_or(line);
            let room = limits::CONFIG_LINE_BYTES_MAX.saturating_sub(joined.len());
            let (part, goes_on) = match line.strip_suffix('\\') {
                // An escaped backslash at the end of a line is not a continuation.
                Some(rest) if !rest.ends_with('\\') => (rest, true),
                _ => (line, false),
            };
            let part = if part.len() <= room {
                part
            } else {
                part.get(..floor_char(part, room)).unwrap_or_default()
            };
            joined.push_str(part);
            if !goes_on {
                let line = std::mem::take(&mut joined);
                self.line(&line, path, depth);
            }
        }
        if !joined.is_empty() {
            self.line(&joined, path, depth);
        }
        // A section must end in the file that opens it; a broken one must not swallow the rest of the tree.
        self.scopes.truncate(sections);
        self.open.pop();
    }

    fn active(&self) -> bool {
        self.scopes.last().is_none_or(|scope| scope.active)
    }

    fn vhost(&self) -> Option<usize> {
        self.scopes.last().and_then(|scope| scope.vhost)
    }

    fn line(&mut self, line: &str, file: &Path, depth: usize) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return;
        }
        if let Some(section) = line.strip_prefix("</") {
            let name = section.trim_end_matches('>').trim().to_ascii_lowercase();
            if let Some(at) = self.scopes.iter().rposition(|scope| scope.name == name) {
                self.scopes.truncate(at);
            }
            return;
        }
        if let Some(section) = line.strip_prefix('<') {
            let section = section.strip_suffix('>').unwrap_or(section);
            let mut words = words(section);
            let name = if words.is_empty() { String::new() } else { words.remove(0).to_ascii_lowercase() };
            self.section(name, &words);
            return;
        }
        if !self.active() {
            return;
        }
        let mut arguments: Vec<String> = words(line).into_iter().map(|word| self.expand(&word)).collect();
        if arguments.is_empty() {
            return;
        }
        let name = arguments.remove(0).to_ascii_lowercase();
        self.directive(&name, &arguments, file, depth);
    }

    fn section(&mut self, name: String, arguments: &[String]) {
        const SCOPES_MAX: usize = 1_000;
        if self.scopes.len() >= SCOPES_MAX {
            return;
        }
        let condition = arguments.first().map(|text| self.expand(text)).unwrap_or_default();
        let (negated, subject) = match condition.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, condition.as_str()),
        };
        let holds = match name.as_str() {
            "ifmodule" => self.modules.contains(subject) != negated,
            "ifdefine" => self.defines.contains_key(subject) != negated,
            "iffile" => self.files.root.at(self.server_root.join(subject)).exists() != negated,
            // A macro's body is a template; what `Use` makes of it is not followed.
            "macro" => {
                self.config.note("mod_macro is used; what its macros define is not read");
                false
            }
            _ => true,
        };
        let mut vhost = self.vhost();
        if name == "virtualhost" {
            self.vhosts += 1;
            vhost = Some(self.vhosts);
        }
        let active = self.active() && holds;
        self.scopes.push(Scope { name, active, vhost });
    }

    fn directive(&mut self, name: &str, arguments: &[String], file: &Path, depth: usize) {
        let first = arguments.first().map(String::as_str).unwrap_or_default();
        match name {
            "include" | "includeoptional" => self.include(first, file, depth, name == "include"),
            "serverroot" => self.server_root = PathBuf::from(first),
            "define" => {
                self.defines.insert(first.to_owned(), arguments.get(1).cloned().unwrap_or_default());
            }
            "undefine" => {
                self.defines.remove(first);
            }
            "loadmodule" => self.load(first, arguments.get(1).map(String::as_str).unwrap_or_default()),
            "logformat" => match arguments {
                [format, nickname, ..] => {
                    self.formats.insert(nickname.clone(), format.clone());
                }
                [one] => self.transfer_format = self.formats.get(one).unwrap_or(one).clone(),
                [] => {}
            },
            "customlog" | "globallog" => {
                let format = arguments
                    .get(1)
                    .filter(|text| !text.starts_with("env=") && !text.starts_with("expr="))
                    .cloned()
                    .unwrap_or_else(|| self.transfer_format.clone());
                self.access_log(first, format, file);
            }
            "transferlog" => self.access_log(first, self.transfer_format.clone(), file),
            "errorlog" => {
                let path = self.log_path(first, file);
                self.error_logs.entry(self.vhost()).or_default().path = Some(path);
            }
            // Of two arguments the first is `connection` or `request`: what is said once for each, on a line of its own.
            "errorlogformat" if arguments.len() == 1 => {
                self.error_logs.entry(self.vhost()).or_default().format = Some(first.to_owned());
            }
            "maxrequestworkers" | "maxclients" => self.number("MaxRequestWorkers", first, file),
            "serverlimit" => self.number("ServerLimit", first, file),
            "threadsperchild" => self.number("ThreadsPerChild", first, file),
            "listen" => self.config.listens.extend(listen_address(first)),
            "remoteipheader" => {
                self.remoteip.insert(self.vhost());
            }
            "remoteipinternalproxy" | "remoteiptrustedproxy" => {
                for text in arguments {
                    self.config.trust(text, file);
                }
            }
            "remoteipinternalproxylist" | "remoteiptrustedproxylist" => {
                let path = self.server_root.join(first);
                let text = self.files.read(&path, &mut self.config).unwrap_or_default();
                for text in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
                    if !text.is_empty() {
                        self.config.trust(text, &path);
                    }
                }
            }
            "proxypass" | "proxypassmatch" => {
                // Inside <Location> the path is left out and the URL comes first.
                let url =
                    arguments.iter().take(2).find(|text| text.contains("://") || text.starts_with("unix:"));
                self.config.backend(url.and_then(|url| backend_of(url)));
            }
            "balancermember" => {
                let url =
                    arguments.iter().take(2).find(|text| text.contains("://") || text.starts_with("unix:"));
                self.config.backend(url.and_then(|url| backend_of(url)));
            }
            "sethandler" | "addhandler" => {
                self.config.backend(first.strip_prefix("proxy:").and_then(backend_of));
            }
            "rewriterule" => {
                let proxied = arguments.get(2).is_some_and(|flags| {
                    flags.trim_matches(['[', ']']).split(',').any(|flag| matches!(flag.trim(), "P" | "proxy"))
                });
                if proxied {
                    self.config.backend(arguments.get(1).and_then(|url| backend_of(url)));
                }
            }
            _ => {}
        }
    }

    fn include(&mut self, pattern: &str, from: &Path, depth: usize, required: bool) {
        let pattern = self.server_root.join(pattern);
        let found = self.files.glob(&pattern);
        if found.is_empty() && required {
            self.config.note(format!("{}: Include {} names no file", from.display(), pattern.display()));
        }
        for path in found {
            if self.files.root.at(&path).is_dir() {
                // A directory stands for all files below it.
                self.include(&path.join("*").to_string_lossy(), from, depth + 1, false);
            } else {
                self.file(&path, depth + 1);
            }
            if depth > limits::INCLUDE_DEPTH_MAX {
                return;
            }
        }
    }

    fn load(&mut self, module: &str, path: &str) {
        self.modules.insert(module.to_owned());
        if let Some(stem) = Path::new(path).file_stem().and_then(|stem| stem.to_str()) {
            // IfModule names the source file; that of a shared object is its name with .c.
            self.modules.insert(format!("{stem}.c"));
        }
        match module {
            "mpm_prefork_module" => {
                self.mpm = Some("prefork");
                self.modules.insert("prefork.c".to_owned());
            }
            "mpm_worker_module" => {
                self.mpm = Some("worker");
                self.modules.insert("worker.c".to_owned());
            }
            "mpm_event_module" => {
                self.mpm = Some("event");
                self.modules.insert("event.c".to_owned());
            }
            "php_module" => {
                self.modules.insert("mod_php.c".to_owned());
            }
            "php7_module" => {
                self.modules.insert("mod_php7.c".to_owned());
            }
            "php5_module" => {
                self.modules.insert("mod_php5.c".to_owned());
            }
            _ => {}
        }
    }

    fn number(&mut self, key: &'static str, text: &str, file: &Path) {
        match text.parse() {
            Ok(number) => {
                self.numbers.insert(key, (number, file.to_path_buf()));
            }
            Err(_) => self.config.note(format!("{}: {key} {text} is not a number", file.display())),
        }
    }

    /// The path of a log, unless it goes elsewhere than to a file.
    fn log_path(&mut self, text: &str, file: &Path) -> Option<PathBuf> {
        let elsewhere = text.starts_with('|')
            || text.starts_with("syslog")
            || text.starts_with("journald")
            || text.starts_with("/dev/")
            || text.starts_with("/proc/");
        if elsewhere || text.is_empty() {
            if text != "/dev/null" {
                self.config
                    .note(format!("{}: the log {text:?} is not a file and is not followed", file.display()));
            }
            return None;
        }
        if text.contains("${") {
            self.config.note(format!("{}: {text} names a variable that is not set", file.display()));
            return None;
        }
        Some(self.server_root.join(text))
    }

    fn access_log(&mut self, text: &str, format: String, file: &Path) {
        if let Some(path) = self.log_path(text, file) {
            self.logs.push(Log { path, format, vhost: self.vhost() });
        }
    }

    /// `${NAME}`: a definition, else the environment, else left as it is, as the server does.
    fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(end) = rest[start..].find('}') else { break };
            let name = &rest[start + 2..start + end];
            out.push_str(&rest[..start]);
            match self.defines.get(name).or_else(|| self.environment.get(name)) {
                Some(value) if out.len() + value.len() <= limits::CONFIG_LINE_BYTES_MAX => {
                    out.push_str(value);
                }
                _ => out.push_str(&rest[start..=start + end]),
            }
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
        out
    }

    fn finish(mut self) -> ServerConfig {
        for log in std::mem::take(&mut self.logs) {
            let remoteip =
                self.remoteip.contains(&None) || log.vhost.is_some() && self.remoteip.contains(&log.vhost);
            // Nicknames are looked up when logs are opened, after everything is read.
            let format = self.formats.get(&log.format).cloned().unwrap_or(log.format);
            self.config.log(LogSource {
                path: log.path,
                role: LogRole::Access,
                dialect: LogDialect::Apache,
                format: Some(format),
                remoteip,
            });
        }
        let error_logs = std::mem::take(&mut self.error_logs);
        let server = error_logs.get(&None);
        for log in error_logs.values() {
            // What a virtual host does not say is as the server's.
            let path = log.path.as_ref().or_else(|| server?.path.as_ref()).cloned().flatten();
            let format = log.format.as_ref().or_else(|| server?.format.as_ref()).cloned();
            let Some(path) = path else { continue };
            self.config.log(LogSource {
                path,
                role: LogRole::Error,
                dialect: LogDialect::Apache,
                format,
                remoteip: false,
            });
        }
        let get = |key: &str| self.numbers.get(key).map(|(number, _)| *number);
        let threaded = matches!(self.mpm, Some("worker" | "event"));
        let (default_servers, threads) =
            if threaded { (16, get("ThreadsPerChild").unwrap_or(25)) } else { (256, 1) };
        let servers = get("ServerLimit").unwrap_or(default_servers);
        let room = servers.saturating_mul(threads);
        // The server lowers MaxRequestWorkers to what ServerLimit has room for (AH00180, AH00513).
        let (limit, from) = match self.numbers.get("MaxRequestWorkers") {
            Some((workers, file)) if *workers <= room => {
                (*workers, format!("MaxRequestWorkers in {}", file.display()))
            }
            _ => match self.numbers.get("ServerLimit") {
                Some((_, file)) if threaded => {
                    (room, format!("ServerLimit × ThreadsPerChild in {}", file.display()))
                }
                Some((_, file)) => (room, format!("ServerLimit in {}", file.display())),
                None => (room, format!("default of the {} MPM", self.mpm.unwrap_or("prefork"))),
            },
        };
        self.config.worker_limit = Some(limit);
        self.config.worker_limit_from = Some(from);
        self.config.one_connection_per_process = self.mpm.map(|mpm| mpm == "prefork");
        self.config
    }
}

/// The variables that Debian's `envvars` exports; `$SUFFIX` is that of a second instance and empty otherwise.
fn envvars(text: &str) -> HashMap<String, String> {
    let mut variables: HashMap<String, String> = HashMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else { continue };
        if line.starts_with('#')
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            || name == "SUFFIX"
        {
            continue;
        }
        let mut value =
            value.trim().trim_matches(['"', '\'']).replace("$SUFFIX", "").replace("${SUFFIX}", "");
        for (known, known_value) in &variables {
            value = value
                .replace(&format!("${{{known}}}"), known_value)
                .replace(&format!("${known}"), known_value);
        }
        if value.len() <= limits::CONFIG_LINE_BYTES_MAX {
            variables.insert(name.to_owned(), value);
        }
    }
    variables
}

/// Splits as ap_getword_conf does: blanks separate, quotes hold together, a backslash escapes the quote and itself.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_whitespace()).is_some() {}
        let Some(first) = chars.peek().copied() else { return words };
        let quote = matches!(first, '"' | '\'').then_some(first);
        if quote.is_some() {
            chars.next();
        }
        let mut word = String::new();
        while let Some(c) = chars.next() {
            match quote {
                Some(quote) if c == quote => break,
                None if c.is_whitespace() => break,
                _ => {}
            }
            if c == '\\'
                && let Some(escaped) = chars.next_if(|next| *next == '\\' || Some(*next) == quote)
            {
                word.push(escaped);
                continue;
            }
            word.push(c);
        }
        words.push(word);
    }
}

fn floor_char(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_tree(files: &[(&str, &str)], start: &Start) -> ServerConfig {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(&Root::new(dir.path()), start)
    }

    fn debian() -> Start {
        Start {
            exe: "/usr/sbin/apache2".into(),
            arguments: vec!["/usr/sbin/apache2".into(), "-k".into(), "start".into()],
            ..Start::default()
        }
    }

    fn log<'a>(config: &'a ServerConfig, path: &str) -> &'a LogSource {
        config
            .logs
            .iter()
            .find(|log| log.path == Path::new(path))
            .unwrap_or_else(|| panic!("{path} in {config:#?}"))
    }

    /// The files of Debian 12's apache2 with mpm_prefork, as installed, without their comments.
    #[test]
    fn a_stock_debian_12() {
        let config = crate::discover::fixtures::debian_12(|root| read(root, &debian()));
        assert!(config.notes.is_empty(), "{:?}", config.notes);
        assert_eq!(config.worker_limit, Some(150));
        assert_eq!(
            config.worker_limit_from.as_deref(),
            Some("MaxRequestWorkers in /etc/apache2/mods-enabled/mpm_prefork.conf")
        );
        assert_eq!(config.one_connection_per_process, Some(true));
        let access = log(&config, "/var/log/apache2/access.log");
        assert_eq!(
            access.format.as_deref(),
            Some(r#"%h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#)
        );
        assert!(!access.remoteip);
        let vhosts = log(&config, "/var/log/apache2/other_vhosts_access.log");
        assert!(vhosts.format.as_deref().unwrap().starts_with("%v:%p %h "));
        assert_eq!(log(&config, "/var/log/apache2/error.log").role, LogRole::Error);
        assert_eq!(config.backends, ["/run/php/php8.2-fpm.sock"]);
        assert_eq!(config.files[0], Path::new("/etc/apache2/apache2.conf"));
        assert_eq!(config.listens.len(), 1, "443 needs mod_ssl, which is not loaded");
    }

    #[test]
    fn a_tree_with_everything() {
        let main = r#"
ServerRoot "/srv/httpd"
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule remoteip_module modules/mod_remoteip.so
Define LOGS /srv/log
<IfModule mpm_event_module>
  ServerLimit 4
  ThreadsPerChild 10
  MaxRequestWorkers \
     100
</IfModule>
<IfModule !mod_remoteip.c>
  CustomLog never.log common
</IfModule>
<IfDefine SSL>
  CustomLog ssl.log "%h"
</IfDefine>
LogFormat "%a \"%r\" %D" timed
CustomLog "${LOGS}/access.log" timed env=!dontlog
CustomLog "|/usr/bin/rotatelogs /x 86400" common
TransferLog logs/transfer_log
ErrorLog syslog:local1
Include conf.d
<VirtualHost *:80>
  RemoteIPHeader X-Forwarded-For
  RemoteIPInternalProxy 10.0.0.0/8 192.0.2.7 lb.example
  RemoteIPTrustedProxyList proxies.txt
  CustomLog ${LOGS}/site.log timed
  ProxyPass "/app" "http://10.0.0.9:8080/app" retry=0
  <Location /ws>
    ProxyPass ws://10.0.0.9:8081/
  </Location>
  ProxyPass /static !
  <Proxy balancer://pool>
    BalancerMember ajp://10.0.0.10 route=a
  </Proxy>
</VirtualHost>
<VirtualHost *:81>
  CustomLog ${LOGS}/other.log timed
  ErrorLog ${NOWHERE}/error.log
"#;
        let config = read_tree(
            &[
                ("/srv/httpd/httpd.conf", main),
                (
                    "/srv/httpd/conf.d/a/b.conf",
                    "Include /srv/httpd/httpd.conf\nSetHandler \"proxy:fcgi://127.0.0.1:9000\"\n",
                ),
                ("/srv/httpd/proxies.txt", "# ours\n198.51.100.0/24 # a\n\n"),
            ],
            &Start {
                exe: "/usr/sbin/httpd".into(),
                arguments: ["httpd", "-DSSL", "-d", "/srv/httpd", "-f", "httpd.conf"]
                    .map(str::to_owned)
                    .to_vec(),
                ..Start::default()
            },
        );
        assert_eq!(config.worker_limit, Some(40), "4 × 10, whatever is asked for");
        assert_eq!(config.one_connection_per_process, Some(false));
        assert_eq!(log(&config, "/srv/log/access.log").format.as_deref(), Some(r#"%a "%r" %D"#));
        assert!(!log(&config, "/srv/log/access.log").remoteip);
        assert!(log(&config, "/srv/log/site.log").remoteip);
        assert!(!log(&config, "/srv/log/other.log").remoteip);
        assert_eq!(log(&config, "/srv/httpd/ssl.log").format.as_deref(), Some("%h"));
        assert_eq!(log(&config, "/srv/httpd/logs/transfer_log").format.as_deref(), Some(COMMON));
        assert!(!config.logs.iter().any(|log| log.path.ends_with("never.log")));
        let trusted: Vec<_> = config.trusted_proxies.iter().map(ToString::to_string).collect();
        assert_eq!(trusted, ["10.0.0.0/8", "192.0.2.7/32", "198.51.100.0/24"]);
        assert_eq!(config.backends, ["127.0.0.1:9000", "10.0.0.9:8080", "10.0.0.9:8081", "10.0.0.10:8009"]);
        let notes = config.notes.join("\n");
        for part in ["rotatelogs", "syslog:local1", "includes itself", "lb.example", "${NOWHERE}"] {
            assert!(notes.contains(part), "{part} in {notes}");
        }
    }

    #[test]
    fn error_logs_in_the_formats_of_their_hosts() {
        let main = r#"
<VirtualHost *:80>
  ErrorLog /var/log/a.log
</VirtualHost>
<VirtualHost *:81>
  ErrorLogFormat "[%t] [%l] %a b \"%{User-Agent}i\": %M"
  ErrorLog /var/log/b.log
</VirtualHost>
<VirtualHost *:82>
  ErrorLogFormat "[%t] c %M"
</VirtualHost>
<VirtualHost *:83>
  ErrorLog syslog
</VirtualHost>
ErrorLog /var/log/never.log
ErrorLog /var/log/error.log
ErrorLogFormat request "[%{uc}t] [R:%L] UA:'%+{User-Agent}i'"
ErrorLogFormat "[%{cu}t] [%-m:%l] [pid %P] %M"
"#;
        let config = read_tree(&[("/etc/apache2/apache2.conf", main)], &debian());
        let logs: Vec<_> =
            config.logs.iter().map(|l| (l.path.to_str().unwrap(), l.format.as_deref().unwrap())).collect();
        assert_eq!(
            logs,
            [
                ("/var/log/error.log", "[%{cu}t] [%-m:%l] [pid %P] %M"),
                ("/var/log/a.log", "[%{cu}t] [%-m:%l] [pid %P] %M"),
                ("/var/log/b.log", r#"[%t] [%l] %a b "%{User-Agent}i": %M"#),
            ]
        );
        assert!(config.logs.iter().all(|log| log.role == LogRole::Error));
        let notes = config.notes.join("\n");
        for part in ["/var/log/error.log: written in two formats", "\"syslog\" is not a file"] {
            assert!(notes.contains(part), "{part} in {notes}");
        }
    }

    #[test]
    fn rubbish_does_not_panic() {
        for text in [
            "<",
            "</",
            "<>",
            "</>",
            "<IfModule",
            "<IfModule>",
            "Include",
            "Include /",
            "Include *",
            "LogFormat",
            "LogFormat \"",
            "CustomLog",
            "CustomLog \"\\",
            "${",
            "${}",
            "Define",
            "MaxRequestWorkers -1\n<VirtualHost",
            "\\",
            "\u{0}\u{1}",
            "Define A ${A}${A}\nDefine A ${A}${A}",
            "ErrorLog ${",
            "LoadModule x",
            "Listen x:y",
            "ServerRoot",
            "<Macro x>\n<Macro y>",
            "RemoteIPTrustedProxyList /etc",
            "BalancerMember",
            "'",
            "\"a\\",
        ] {
            let config = read_tree(&[("/etc/apache2/apache2.conf", text)], &debian());
            assert!(config.worker_limit.is_some(), "{text}");
        }
        let deep: String = (0..5_000).map(|_| "<Directory x>\n").collect();
        read_tree(&[("/etc/apache2/apache2.conf", &deep)], &debian());
    }
}
