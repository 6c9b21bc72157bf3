//! nginx's configuration, as far as it tells how the server logs, how much it can hold, whom it trusts and where
//! it hands requests on to.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use toban_model::{LogDialect, LogRole, LogSource};

use super::files::{Files, ServerConfig, backend_of, listen_address};
use crate::{Root, limits};

/// The format that needs no definition.
const COMBINED: &str = r#"$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent""#;

/// Reads the configuration of a server that was started with these arguments.
pub fn read(root: &Root, arguments: &[String], cores: u32) -> ServerConfig {
    // The master rewrites its arguments: `nginx: master process /usr/sbin/nginx -c /x.conf`, as one or more words.
    let line = arguments.join(" ");
    let mut words = line.split_ascii_whitespace();
    let (mut prefix, mut file) = (None, None);
    while let Some(word) = words.next() {
        match word {
            "-c" => file = words.next().map(PathBuf::from),
            "-p" => prefix = words.next().map(PathBuf::from),
            _ => {}
        }
    }
    let main = match (&prefix, file) {
        (Some(prefix), Some(file)) => prefix.join(file),
        (None, Some(file)) => Path::new("/etc/nginx").join(file),
        (Some(prefix), None) => prefix.join("conf/nginx.conf"),
        (None, None) => PathBuf::from("/etc/nginx/nginx.conf"),
    };
    let mut reader = Reader {
        files: Files::new(root),
        base: main.parent().unwrap_or(Path::new("/")).to_path_buf(),
        prefix: prefix.unwrap_or_else(|| PathBuf::from("/usr/share/nginx")),
        cores,
        config: ServerConfig::default(),
        formats: HashMap::from([("combined".to_owned(), COMBINED.to_owned())]),
        logs: Vec::new(),
        upstreams: HashMap::new(),
        passes: Vec::new(),
        processes: None,
        connections: None,
        realip: false,
        depth: 0,
    };
    let mut blocks = Vec::new();
    reader.file(&main, &mut blocks);
    reader.finish(&main)
}

struct Reader<'a> {
    files: Files<'a>,
    base: PathBuf,
    prefix: PathBuf,
    cores: u32,
    config: ServerConfig,
    formats: HashMap<String, String>,
    logs: Vec<(PathBuf, String)>,
    upstreams: HashMap<String, Vec<String>>,
    passes: Vec<String>,
    processes: Option<u32>,
    connections: Option<u32>,
    realip: bool,
    depth: usize,
}

enum Token {
    Word(String),
    End,
    Open,
    Close,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, blocks: &mut Vec<Vec<String>>) {
        if self.depth > limits::INCLUDE_DEPTH_MAX {
            let note = format!("{}: included more than {} deep", path.display(), limits::INCLUDE_DEPTH_MAX);
            self.config.note(note);
            return;
        }
        let Some(text) = self.files.read(path, &mut self.config) else { return };
        self.depth += 1;
        let outer = blocks.len();
        let mut words = Vec::new();
        for token in tokens(&text) {
            match token {
                Token::Word(word) => words.push(word),
                Token::End => {
                    let directive = std::mem::take(&mut words);
                    self.directive(&directive, blocks, path);
                }
                Token::Open => {
                    const BLOCKS_MAX: usize = 1_000;
                    let block = std::mem::take(&mut words);
                    if blocks.len() < BLOCKS_MAX {
                        blocks.push(block);
                    }
                }
                Token::Close => {
                    words.clear();
                    if blocks.len() > outer {
                        blocks.pop();
                    }
                }
            }
        }
        blocks.truncate(outer);
        self.depth -= 1;
    }

    fn directive(&mut self, words: &[String], blocks: &mut Vec<Vec<String>>, file: &Path) {
        let Some((name, arguments)) = words.split_first() else { return };
        let first = arguments.first().map(String::as_str).unwrap_or_default();
        match name.as_str() {
            "include" => {
                let pattern = self.base.join(first);
                for path in self.files.glob(&pattern) {
                    self.file(&path, blocks);
                }
            }
            "log_format" => {
                let parts = arguments.iter().skip(1).filter(|part| !part.starts_with("escape="));
                self.formats.insert(first.to_owned(), parts.map(String::as_str).collect());
            }
            "access_log" => {
                if first == "off" {
                    return;
                }
                let format =
                    arguments.get(1).filter(|text| !text.contains('=')).map_or("combined", String::as_str);
                if let Some(path) = self.log_path(first, file) {
                    self.logs.push((path, format.to_owned()));
                }
            }
            "error_log" => {
                if let Some(path) = self.log_path(first, file) {
                    self.config.error_log(path, LogDialect::Nginx);
                }
            }
            "worker_processes" => {
                self.processes = if first == "auto" { Some(self.cores) } else { first.parse().ok() }
            }
            "worker_connections" => self.connections = first.parse().ok(),
            "set_real_ip_from" => {
                if first != "unix:" {
                    self.config.trust(first, file);
                }
                self.realip = true;
            }
            "listen"
                if blocks.last().is_some_and(|block| block.first().is_some_and(|name| name == "server")) =>
            {
                match first.strip_prefix("unix:") {
                    Some(path) => self.config.listens_unix.push(PathBuf::from(path)),
                    None => self.config.listens.extend(listen_address(first)),
                }
            }
            "server" => {
                // In an upstream block this is a member; elsewhere it opens a block and does not come here.
                if let Some([kind, upstream, ..]) = blocks.last().map(Vec::as_slice)
                    && kind == "upstream"
                {
                    let member = backend_of(first).unwrap_or_else(|| format!("{first}:80"));
                    self.upstreams.entry(upstream.clone()).or_default().push(member);
                }
            }
            "fastcgi_pass" | "proxy_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" => {
                self.passes.push(first.to_owned());
            }
            _ => {}
        }
    }

    fn log_path(&mut self, text: &str, file: &Path) -> Option<PathBuf> {
        if text.is_empty() || text == "/dev/null" {
            return None;
        }
        if text == "stderr"
            || text.starts_with("syslog:")
            || text.starts_with("memory:")
            || text.starts_with("/dev/")
        {
            self.config
                .note(format!("{}: the log {text:?} is not a file and is not followed", file.display()));
            return None;
        }
        if text.contains('$') {
            self.config
                .note(format!("{}: {text} depends on the request and is not followed", file.display()));
            return None;
        }
        Some(self.prefix.join(text))
    }

    fn finish(mut self, main: &Path) -> ServerConfig {
        for (path, format) in std::mem::take(&mut self.logs) {
            let format = self.formats.get(&format).cloned();
            self.config.log(LogSource {
                path,
                role: LogRole::Access,
                dialect: LogDialect::Nginx,
                format,
                remoteip: self.realip,
            });
        }
        for pass in std::mem::take(&mut self.passes) {
            let (scheme, rest) = pass.split_once("://").unwrap_or(("", &pass));
            let name = rest.split('/').next().unwrap_or_default();
            match self.upstreams.get(name).cloned() {
                Some(members) => {
                    for member in members {
                        self.config.backend(Some(member));
                    }
                }
                None => self.config.backend(backend_of(&pass).or_else(|| {
                    (scheme.is_empty() && !name.contains('$') && !name.is_empty()).then(|| name.to_owned())
                })),
            }
        }
        let connections = self.connections.unwrap_or(512);
        self.config.worker_limit = Some(self.processes.unwrap_or(1).saturating_mul(connections));
        self.config.worker_limit_from =
            Some(format!("worker_processes × worker_connections in {}", main.display()));
        self.config.one_connection_per_process = Some(false);
        self.config
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            _ if c.is_whitespace() => {}
            '#' => while chars.next_if(|c| *c != '\n').is_some() {},
            ';' => tokens.push(Token::End),
            '{' => tokens.push(Token::Open),
            '}' => tokens.push(Token::Close),
            '"' | '\'' => {
                let mut word = String::new();
                while let Some(next) = chars.next() {
                    match next {
                        _ if next == c => break,
                        '\\' => match chars.next() {
                            Some(escaped) if escaped == c || escaped == '\\' => word.push(escaped),
                            Some('t') => word.push('\t'),
                            Some('n') => word.push('\n'),
                            Some('r') => word.push('\r'),
                            Some(other) => word.extend(['\\', other]),
                            None => {}
                        },
                        _ => word.push(next),
                    }
                }
                tokens.push(Token::Word(word));
            }
            _ => {
                let mut word = String::from(c);
                while let Some(next) = chars.peek().copied() {
                    // `${name}` is part of a word, a lone brace is not.
                    let variable = next == '{' && word.ends_with('$');
                    if next.is_whitespace() || matches!(next, ';' | '}') || next == '{' && !variable {
                        break;
                    }
                    chars.next();
                    word.push(next);
                    if variable {
                        for inner in chars.by_ref() {
                            word.push(inner);
                            if inner == '}' {
                                break;
                            }
                        }
                    }
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_tree(files: &[(&str, &str)]) -> ServerConfig {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path.trim_start_matches('/'));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        read(
            &Root::new(dir.path()),
            &["nginx: master process /usr/sbin/nginx -g daemon on; master_process on;".into()],
            4,
        )
    }

    #[test]
    fn a_site_with_a_backend() {
        let config = read_tree(&[
            (
                "/etc/nginx/nginx.conf",
                "worker_processes auto; error_log /var/log/nginx/error.log;\nevents { worker_connections 768; }\n\
                 http { # comment; }\n log_format timed '$remote_addr \"$request\" '\n  '$request_time';\n\
                 access_log /var/log/nginx/access.log;\n include /etc/nginx/sites-enabled/*; }\n",
            ),
            (
                "/etc/nginx/sites-enabled/default",
                "upstream app { server 10.0.0.5:8080; server unix:/run/app.sock; }\n\
                 server { listen 80; listen [::]:443 ssl; set_real_ip_from 10.0.0.0/8; access_log /srv/a.log timed buffer=32k;\n\
                 location ~ \\.php${x} { fastcgi_pass unix:/run/php/php8.2-fpm.sock; }\n\
                 location / { proxy_pass http://app/; } location /b { proxy_pass http://$host; access_log off; } }\n",
            ),
        ]);
        assert!(config.notes.is_empty(), "{:?}", config.notes);
        assert_eq!(config.worker_limit, Some(4 * 768));
        assert_eq!(config.backends, ["/run/php/php8.2-fpm.sock", "10.0.0.5:8080", "/run/app.sock"]);
        let log = config.logs.iter().find(|log| log.path == Path::new("/srv/a.log")).unwrap();
        assert_eq!(log.format.as_deref(), Some(r#"$remote_addr "$request" $request_time"#));
        assert!(log.remoteip);
        let log = config.logs.iter().find(|log| log.path.ends_with("access.log")).unwrap();
        assert_eq!(log.format.as_deref(), Some(COMBINED));
        assert_eq!(config.listens.len(), 2);
        assert_eq!(config.files.len(), 2);
    }

    #[test]
    fn rubbish_does_not_panic() {
        for text in [
            "{",
            "}",
            "}}};",
            "\"",
            "'\\",
            "${",
            "include",
            "include *;",
            "access_log;",
            "a{b{c{",
            "log_format;",
            "include nginx.conf;",
            "upstream { server; }",
            "upstream a { server; } proxy_pass a;",
            "listen;",
            "\u{0}",
        ] {
            let config = read_tree(&[("/etc/nginx/nginx.conf", text)]);
            assert!(config.worker_limit.is_some());
        }
    }
}
