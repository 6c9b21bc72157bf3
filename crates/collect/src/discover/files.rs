//! Configuration files: globs, includes and what a server's configuration says, whatever its language.

use std::net::SocketAddr;
use std::path::{Component, Path, PathBuf};

use toban_model::{LogDialect, LogRole, LogSource, Prefix, canonical};

use crate::{Root, limits};

/// What is taken from a server's configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerConfig {
    /// The files that were read, the main one first.
    pub files: Vec<PathBuf>,
    /// Logs that it names.
    pub logs: Vec<LogSource>,
    /// Requests at once.
    pub worker_limit: Option<u32>,
    /// Which setting says so, and where.
    pub worker_limit_from: Option<String>,
    /// Proxies whose forwarded header it trusts.
    pub trusted_proxies: Vec<Prefix>,
    /// Where it hands requests on to.
    pub backends: Vec<String>,
    /// TCP addresses that it is told to listen on.
    pub listens: Vec<SocketAddr>,
    /// Unix sockets that it is told to listen on.
    pub listens_unix: Vec<PathBuf>,
    /// One process serves one connection, if the configuration tells.
    pub one_connection_per_process: Option<bool>,
    /// What could not be understood or read.
    pub notes: Vec<String>,
}

impl ServerConfig {
    pub(super) fn note(&mut self, note: impl Into<String>) {
        const NOTES_MAX: usize = 50;
        let note = note.into();
        if self.notes.len() < NOTES_MAX && !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    pub(super) fn backend(&mut self, backend: Option<String>) {
        if let Some(backend) = backend
            && !self.backends.contains(&backend)
        {
            self.backends.push(backend);
        }
    }

    /// A path is one log however often it is named; where two formats fight over it the first stands.
    pub(super) fn log(&mut self, log: LogSource) {
        match self.logs.iter().find(|known| known.path == log.path) {
            None => self.logs.push(log),
            Some(known) if known.format != log.format => {
                let note = format!("{}: written in two formats, read as the first", log.path.display());
                self.note(note);
            }
            Some(_) => {}
        }
    }

    pub(super) fn error_log(&mut self, path: PathBuf, dialect: LogDialect) {
        self.log(LogSource { path, role: LogRole::Error, dialect, format: None, remoteip: false });
    }

    pub(super) fn trust(&mut self, text: &str, file: &Path) {
        match prefix(text) {
            Some(prefix) if !self.trusted_proxies.contains(&prefix) => self.trusted_proxies.push(prefix),
            Some(_) => {}
            None => {
                self.note(format!("{}: trusted proxy {text} is not an address or prefix", file.display()));
            }
        }
    }
}

/// An address or a prefix, as servers write them.
pub(super) fn prefix(text: &str) -> Option<Prefix> {
    if let Ok(prefix) = text.parse::<Prefix>() {
        return Some(prefix.trunc());
    }
    if let Some((address, mask)) = text.split_once('/') {
        // The long form: 10.0.0.0/255.0.0.0.
        let mask = mask.parse().ok()?;
        let net = ipnet::Ipv4Net::with_netmask(address.parse().ok()?, mask).ok()?;
        return Some(Prefix::V4(net.trunc()));
    }
    text.parse().ok().map(|address| Prefix::from(canonical(address)))
}

/// The listening address in `80`, `*:80`, `1.2.3.4:80`, `[::]:80`.
pub(super) fn listen_address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port)));
    }
    if let Some(port) = text.strip_prefix("*:") {
        return Some(SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port.parse().ok()?)));
    }
    text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse().ok()?, 80)))
}

/// `host:port` (or a unix path) of a backend's URL, with the scheme's own port when none is written.
pub(super) fn backend_of(url: &str) -> Option<String> {
    if let Some(rest) = url.strip_prefix("unix:") {
        // Apache writes `unix:/path|fcgi://localhost/`, nginx `unix:/path` or `http://unix:/path:/uri`.
        let path = rest.split(['|', ';']).next()?.split(":/").next()?;
        return path.starts_with('/').then(|| path.to_owned());
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if rest.starts_with("unix:") {
        return backend_of(rest);
    }
    let host = rest.split(['/', '?', '|']).next()?.rsplit('@').next()?;
    if host.is_empty() || host.contains(['$', '%']) || scheme == "balancer" {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(left, port)| {
        port.bytes().all(|b| b.is_ascii_digit())
            && !port.is_empty()
            && (!left.contains(':') || left.ends_with(']'))
    });
    if has_port {
        return Some(host.to_owned());
    }
    let port = match scheme {
        "http" | "ws" | "h2c" => 80,
        "https" | "wss" | "h2" | "grpcs" => 443,
        // mod_proxy_fcgi's default; php-fpm's usual 9000 is always written out.
        "fcgi" => 8000,
        "ajp" => 8009,
        "uwsgi" => 3031,
        "scgi" => 4000,
        _ => return None,
    };
    Some(format!("{host}:{port}"))
}

/// Reads configuration files within the limits of number, size and depth.
pub(super) struct Files<'a> {
    pub(super) root: &'a Root,
    left: usize,
}

impl<'a> Files<'a> {
    pub(super) fn new(root: &'a Root) -> Files<'a> {
        Files { root, left: limits::CONFIG_FILES_MAX }
    }

    /// The file's text, or a note why there is none.
    pub(super) fn read(&mut self, path: &Path, config: &mut ServerConfig) -> Option<String> {
        if self.left == 0 {
            config.note(format!(
                "{}: more than {} files, not read",
                path.display(),
                limits::CONFIG_FILES_MAX
            ));
            return None;
        }
        self.left -= 1;
        match self.root.read_config(path) {
            Ok(text) => {
                if text.len() >= limits::CONFIG_FILE_BYTES_MAX {
                    config.note(format!("{}: longer than 1 MiB, read to there", path.display()));
                }
                if !config.files.iter().any(|known| known == path) {
                    config.files.push(path.to_path_buf());
                }
                Some(text)
            }
            Err(error) => {
                config.note(format!("could not {error}"));
                None
            }
        }
    }

    /// The paths that a pattern names, sorted; a pattern without wildcards is itself.
    pub(super) fn glob(&self, pattern: &Path) -> Vec<PathBuf> {
        glob(self.root, pattern)
    }
}

/// Expands `*`, `?` and `[a-z]` in every component of a path of the host.
pub(super) fn glob(root: &Root, pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for component in pattern.components() {
        let Component::Normal(name) = component else { continue };
        let name = name.to_string_lossy();
        if !name.contains(['*', '?', '[']) {
            for path in &mut found {
                path.push(name.as_ref());
            }
            continue;
        }
        let mut next = Vec::new();
        for dir in &found {
            let Ok(entries) = std::fs::read_dir(root.at(dir)) else { continue };
            for entry in entries.flatten() {
                let file_name = entry.file_name();
                let entry_name = file_name.to_string_lossy();
                // As in the shell and in apr_fnmatch(APR_FNM_PERIOD) a leading dot must be written out.
                if entry_name.starts_with('.') && !name.starts_with('.') {
                    continue;
                }
                if matches(name.as_bytes(), entry_name.as_bytes()) {
                    next.push(dir.join(&file_name));
                }
            }
        }
        next.sort();
        next.truncate(limits::CONFIG_FILES_MAX);
        found = next;
    }
    found.retain(|path| root.at(path).symlink_metadata().is_ok());
    found
}

/// Shell-style match without recursion, so that a hostile pattern costs at most the product of both lengths.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(1),
            Some(b'[') => class(&pattern[p..], text[t]),
            Some(b'\\') if p + 1 < pattern.len() => (pattern[p + 1] == text[t]).then_some(2),
            Some(b) => (*b == text[t]).then_some(1),
            None => None,
        };
        match (step, star) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// The length of the class `[…]` at the start of `pattern` if it holds the byte.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let start = if negated { 2 } else { 1 };
    let end = start + 1 + memchr::memchr(b']', pattern.get(start + 1..)?)?;
    let set = &pattern[start..end];
    let mut hit = false;
    let mut at = 0;
    while at < set.len() {
        if at + 2 < set.len() && set[at + 1] == b'-' {
            hit |= (set[at]..=set[at + 2]).contains(&byte);
            at += 3;
        } else {
            hit |= set[at] == byte;
            at += 1;
        }
    }
    (hit != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.conf~", false),
            ("[0-9]*-x?", "000-xy", true),
            ("[!a]*", "abc", false),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("[", "[", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn backends() {
        for (url, expected) in [
            ("unix:/run/php/php8.2-fpm.sock|fcgi://localhost", Some("/run/php/php8.2-fpm.sock")),
            ("fcgi://127.0.0.1:9000/srv/", Some("127.0.0.1:9000")),
            ("http://app.example/x", Some("app.example:80")),
            ("http://[2001:db8::1]:8080/", Some("[2001:db8::1]:8080")),
            ("http://[2001:db8::1]/", Some("[2001:db8::1]:80")),
            ("http://unix:/run/app.sock:/", Some("/run/app.sock")),
            ("127.0.0.1:9000", Some("127.0.0.1:9000")),
            ("balancer://pool", None),
            ("http://$host", None),
            ("!", None),
        ] {
            assert_eq!(backend_of(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn prefixes() {
        for (text, expected) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/255.0.0.0", Some("10.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("::ffff:192.0.2.7", Some("192.0.2.7/32")),
            ("balancer.example", None),
        ] {
            assert_eq!(prefix(text).map(|p| p.to_string()).as_deref(), expected, "{text}");
        }
    }
}
