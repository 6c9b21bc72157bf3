//! php-fpm's pool files: where it listens, how many children it may have, and where it logs.

use std::path::{Path, PathBuf};

use toban_model::{LogDialect, LogRole, LogSource};

use super::files::{Files, ServerConfig, listen_address};
use crate::{Root, limits};

/// php-fpm's own default for `access.format`.
const ACCESS_FORMAT: &str = "%R - %u %t \"%m %r\" %s";

/// What stands in the place of a format for the slow log, whose entries are blocks of lines.
pub const SLOW_LOG_FORMAT: &str = "slowlog";

/// Reads the configuration of a server that was started with these arguments.
pub fn read(root: &Root, arguments: &[String], exe: &Path) -> ServerConfig {
    let mut reader =
        Reader { files: Files::new(root), config: ServerConfig::default(), pools: Vec::new(), section: None };
    let main = main_file(root, arguments, exe);
    reader.file(&main, 0);
    reader.finish()
}

/// The master rewrites its arguments to `php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)`.
fn main_file(root: &Root, arguments: &[String], exe: &Path) -> PathBuf {
    let line = arguments.join(" ");
    if let Some((_, rest)) = line.split_once("master process (")
        && let Some((path, _)) = rest.rsplit_once(')')
    {
        return PathBuf::from(path);
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if matches!(word.as_str(), "-y" | "--fpm-config") {
            return words.next().map(PathBuf::from).unwrap_or_default();
        }
    }
    let version = exe.file_name().and_then(|name| name.to_str()?.strip_prefix("php-fpm")).unwrap_or_default();
    let debian = PathBuf::from(format!("/etc/php/{version}/fpm/php-fpm.conf"));
    if root.at(&debian).is_file() { debian } else { PathBuf::from("/etc/php-fpm.conf") }
}

#[derive(Default)]
struct Pool {
    name: String,
    max_children: Option<u32>,
    access_log: Option<String>,
    access_format: Option<String>,
}

struct Reader<'a> {
    files: Files<'a>,
    config: ServerConfig,
    pools: Vec<Pool>,
    section: Option<usize>,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) {
        if depth > limits::INCLUDE_DEPTH_MAX {
            let note = format!("{}: included more than {} deep", path.display(), limits::INCLUDE_DEPTH_MAX);
            self.config.note(note);
            return;
        }
        let Some(text) = self.files.read(path, &mut self.config) else { return };
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with([';', '#']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
                self.section = (!name.eq_ignore_ascii_case("global")).then(|| self.pool(name));
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.split(" ;").next().unwrap_or_default().trim().trim_matches(['"', '\'']);
            self.setting(key.trim(), value, path, depth);
        }
    }

    fn pool(&mut self, name: &str) -> usize {
        const POOLS_MAX: usize = 2_000;
        if let Some(at) = self.pools.iter().position(|pool| pool.name == name) {
            return at;
        }
        if self.pools.len() < POOLS_MAX {
            self.pools.push(Pool { name: name.to_owned(), ..Pool::default() });
        }
        self.pools.len() - 1
    }

    fn setting(&mut self, key: &str, value: &str, file: &Path, depth: usize) {
        if key == "include" {
            for path in self.files.glob(Path::new(value)) {
                self.file(&path, depth + 1);
            }
            return;
        }
        let Some(pool) = self.section.and_then(|at| self.pools.get_mut(at)) else {
            if key == "error_log" {
                self.error_log(value, None);
            }
            return;
        };
        let value = value.replace("$pool", &pool.name);
        match key {
            "listen" if value.starts_with('/') => self.config.listens_unix.push(PathBuf::from(value)),
            "listen" => self.config.listens.extend(listen_address(&value)),
            "pm.max_children" => match value.parse() {
                Ok(children) => {
                    pool.max_children = Some(children);
                    self.config.worker_limit_from = Some(format!("pm.max_children in {}", file.display()));
                }
                Err(_) => {
                    self.config.note(format!("{}: pm.max_children {value} is not a number", file.display()));
                }
            },
            "slowlog" => self.error_log(&value, Some(SLOW_LOG_FORMAT)),
            "access.log" => pool.access_log = Some(value),
            "access.format" => pool.access_format = Some(value),
            _ => {}
        }
    }

    fn error_log(&mut self, value: &str, format: Option<&str>) {
        if matches!(value, "syslog" | "") || value.starts_with("/dev/") || value.starts_with("/proc/") {
            if !value.is_empty() && value != "/dev/null" {
                self.config.note(format!("php-fpm: the log {value:?} is not a file and is not followed"));
            }
            return;
        }
        // A path that is not absolute is below the prefix that php was built with.
        let path = Path::new("/var").join(value);
        let format = format.map(str::to_owned);
        self.config.log(LogSource {
            path,
            role: LogRole::Error,
            dialect: LogDialect::PhpFpm,
            format,
            remoteip: false,
        });
    }

    fn finish(mut self) -> ServerConfig {
        let limits: Vec<u32> = self.pools.iter().filter_map(|pool| pool.max_children).collect();
        if !limits.is_empty() {
            self.config.worker_limit = Some(limits.iter().fold(0, |sum, n| sum.saturating_add(*n)));
        }
        if limits.len() > 1 {
            self.config.worker_limit_from = Some(format!("pm.max_children of {} pools", limits.len()));
        }
        for pool in std::mem::take(&mut self.pools) {
            if let Some(path) = pool.access_log {
                self.config.log(LogSource {
                    path: Path::new("/var").join(path),
                    role: LogRole::Access,
                    dialect: LogDialect::PhpFpm,
                    format: Some(pool.access_format.unwrap_or_else(|| ACCESS_FORMAT.to_owned())),
                    remoteip: false,
                });
            }
        }
        self.config.one_connection_per_process = Some(true);
        self.config
    }
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
            &["php-fpm: master process (/etc/php/8.2/fpm/php-fpm.conf)".into()],
            Path::new("/usr/sbin/php-fpm8.2"),
        )
    }

    #[test]
    fn two_pools() {
        let config = read_tree(&[
            (
                "/etc/php/8.2/fpm/php-fpm.conf",
                "[global]\npid = /run/x.pid\nerror_log = /var/log/php8.2-fpm.log\ninclude=/etc/php/8.2/fpm/pool.d/*.conf\n",
            ),
            (
                "/etc/php/8.2/fpm/pool.d/www.conf",
                "[www]\nlisten = /run/php/php8.2-fpm.sock\npm.max_children = 5\n; slowlog = x\n",
            ),
            (
                "/etc/php/8.2/fpm/pool.d/shop.conf",
                "[shop]\nlisten = 127.0.0.1:9000\npm.max_children = 7\nslowlog = log/$pool.slow\n",
            ),
        ]);
        assert_eq!(config.worker_limit, Some(12));
        assert_eq!(config.worker_limit_from.as_deref(), Some("pm.max_children of 2 pools"));
        assert_eq!(config.listens_unix, [PathBuf::from("/run/php/php8.2-fpm.sock")]);
        assert_eq!(config.listens, ["127.0.0.1:9000".parse().unwrap()]);
        let paths: Vec<_> = config.logs.iter().map(|log| log.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/var/log/php8.2-fpm.log", "/var/log/shop.slow"]);
    }

    #[test]
    fn rubbish_does_not_panic() {
        for text in [
            "[",
            "[]",
            "=",
            "include=",
            "include=/etc/php/8.2/fpm/php-fpm.conf",
            "[a]\npm.max_children=x",
            "[a]\nlisten=",
            "pm.max_children = 3",
        ] {
            read_tree(&[("/etc/php/8.2/fpm/php-fpm.conf", text)]);
        }
    }
}
