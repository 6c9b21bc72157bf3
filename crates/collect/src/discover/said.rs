//! Where services that are no web servers write who logs in: found by what the syslog daemon has open, else in the
//! stock places.

use std::path::{Path, PathBuf};

use toban_model::{LogDialect, LogRole, LogSource};

use super::{Processes, open_logs, same_file};
use crate::Root;

/// Programs that write what others say.
const WRITERS: &[&str] = &["rsyslogd", "syslogd", "syslog-ng", "sysklogd", "metalog", "busybox"];
/// Each line of a log is written into one of these, or of a few into each of several: so one of each row is read, the
/// first that there is.
const STOCK: &[&[&str]] = &[
    &["/var/log/auth.log", "/var/log/secure", "/var/log/authlog"],
    &["/var/log/mail.log", "/var/log/maillog", "/var/log/mail"],
];
/// Where everything goes on a host that keeps none of them apart.
const MIXED: &[&str] = &["/var/log/messages", "/var/log/syslog"];
/// What services write by themselves.
const OWN: &[&str] = &["/var/log/vsftpd.log", "/var/log/dovecot.log", "/var/log/dovecot-info.log"];

/// Files of PHP's configuration that are looked into.
const INI_MAX: usize = 128;

/// Where PHP's `mail()` writes which script sent what (`mail.log`), if it is told to.
fn php_mail_logs(root: &Root) -> Vec<PathBuf> {
    let mut folders =
        vec![PathBuf::from("/etc"), PathBuf::from("/etc/php.d"), PathBuf::from("/etc/php-fpm.d")];
    for version in children(root, Path::new("/etc/php")) {
        for sapi in children(root, &version) {
            folders.extend([sapi.join("conf.d"), sapi.join("pool.d"), sapi]);
        }
    }
    let files = folders.iter().flat_map(|folder| {
        let is_ini = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // All of /etc is not PHP's.
            if folder.as_os_str() == "/etc" {
                name == "php.ini"
            } else {
                name.ends_with(".ini") || name.ends_with(".conf")
            }
        };
        children(root, folder).into_iter().filter(is_ini).collect::<Vec<_>>()
    });
    let (mut found, mut buffer) = (Vec::new(), Vec::new());
    for file in files.take(INI_MAX) {
        let Ok(bytes) = root.read(&file, &mut buffer) else { continue };
        for line in String::from_utf8_lossy(bytes).lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            let key = key.trim();
            let is_it = key == "mail.log" || key.starts_with("php_") && key.ends_with("[mail.log]");
            let path = PathBuf::from(value.split(';').next().unwrap_or_default().trim().trim_matches('"'));
            if is_it && path.is_absolute() && !found.contains(&path) {
                found.push(path);
            }
        }
    }
    found
}

fn children(root: &Root, folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root.at(folder)) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|entry| folder.join(entry.file_name())).collect();
    all.sort();
    all
}

/// The logs, each once. What `known` services write themselves is left out.
pub(super) fn find(root: &Root, processes: &Processes, known: &[PathBuf]) -> Vec<LogSource> {
    let writers = processes.iter().filter(|(_, process)| WRITERS.contains(&process.comm.as_str()));
    let pids: Vec<u32> = writers.map(|(pid, _)| *pid).collect();
    let open: Vec<PathBuf> = open_logs(root, &pids).into_iter().map(|(path, _)| path).collect();
    let there = |path: &&&str| root.at(path).is_file();
    let mut found: Vec<(PathBuf, bool)> = Vec::new();
    for row in STOCK {
        let names: Vec<&str> = row.iter().filter_map(|path| path.rsplit('/').next()).collect();
        let is_named = |path: &&PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| names.contains(&name))
        };
        let stock = || row.iter().find(there).map(PathBuf::from);
        found.extend(open.iter().find(is_named).cloned().or_else(stock).map(|path| (path, true)));
    }
    if found.is_empty() {
        found.extend(MIXED.iter().find(there).map(|path| (PathBuf::from(path), true)));
    }
    found.extend(OWN.iter().filter(there).map(|path| (PathBuf::from(path), false)));
    let is_known = |path: &Path| known.iter().any(|other| same_file(root, other, path));
    found.retain(|(path, _)| !is_known(path));
    let source = |(path, mixed): (PathBuf, bool)| LogSource {
        path,
        role: LogRole::Service,
        dialect: LogDialect::Unknown,
        // Programs that have not yet said anything write into it, too.
        format: mixed.then(|| "syslog".to_owned()),
        remoteip: false,
    };
    let php = php_mail_logs(root).into_iter().map(|path| LogSource {
        path,
        role: LogRole::Service,
        dialect: LogDialect::Unknown,
        format: Some("php-mail".to_owned()),
        remoteip: false,
    });
    found.into_iter().map(source).chain(php).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[&str], known: &[&str], expected: &[&str]) {
        let tree = tempfile::tempdir().unwrap();
        for file in files {
            let path = tree.path().join(&file[1..]);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let known: Vec<PathBuf> = known.iter().map(PathBuf::from).collect();
        let found = find(&Root::new(tree.path()), &Processes::new(), &known);
        let paths: Vec<&str> = found.iter().filter_map(|log| log.path.to_str()).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn one_log_of_each_kind() {
        let debian = ["/var/log/auth.log", "/var/log/mail.log", "/var/log/mail.err", "/var/log/syslog"];
        check(&debian, &[], &["/var/log/auth.log", "/var/log/mail.log"]);
        check(
            &["/var/log/secure", "/var/log/maillog", "/var/log/messages"],
            &[],
            &["/var/log/secure", "/var/log/maillog"],
        );
        check(&["/var/log/messages"], &[], &["/var/log/messages"]);
        check(
            &["/var/log/auth.log", "/var/log/vsftpd.log"],
            &["/var/log/vsftpd.log"],
            &["/var/log/auth.log"],
        );
        check(&[], &[], &[]);
    }

    #[test]
    fn where_php_says_who_mails() {
        let tree = tempfile::tempdir().unwrap();
        let folder = tree.path().join("etc/php/8.2/apache2/conf.d");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("../php.ini"), "; mail.log = /no\nmail.log =\n").unwrap();
        std::fs::write(folder.join("90-mail.ini"), "mail.log = \"/var/log/php-mail.log\" ; who\n").unwrap();
        let found = find(&Root::new(tree.path()), &Processes::new(), &[]);
        let paths: Vec<&str> = found.iter().filter_map(|log| log.path.to_str()).collect();
        assert_eq!(paths, ["/var/log/php-mail.log"]);
    }
}
