//! The servers that are installed here, whether or not they run: program, who starts them, whether at boot, and their
//! configuration and logs. Found from files alone, so that a server that is gone is known all the same.

use std::path::{Path, PathBuf};

use toban_model::{Host, KnownServer, LogRole, Service, ServiceKind, Supervisor, Time};

use crate::discover::{ServerConfig, apache, nginx, php_fpm};
use crate::procfs::{self, Process};
use crate::{Root, limits};

/// One server that distributions package.
struct Packaged {
    service: &'static str,
    kind: ServiceKind,
    programs: &'static [&'static str],
    /// Names of its unit and of its init script.
    units: &'static [&'static str],
    config: &'static [&'static str],
    logs: &'static [&'static str],
}

/// Servers whose words are understood.
const PACKAGED: &[Packaged] = &[
    Packaged {
        service: "apache",
        kind: ServiceKind::Apache,
        programs: &["/usr/sbin/apache2", "/usr/sbin/httpd"],
        units: &["apache2", "httpd"],
        config: &["/etc/apache2/apache2.conf", "/etc/httpd/conf/httpd.conf"],
        logs: &["/var/log/apache2/error.log", "/var/log/httpd/error_log"],
    },
    Packaged {
        service: "nginx",
        kind: ServiceKind::Nginx,
        programs: &["/usr/sbin/nginx", "/usr/bin/nginx"],
        units: &["nginx"],
        config: &["/etc/nginx/nginx.conf"],
        logs: &["/var/log/nginx/error.log"],
    },
    Packaged {
        service: "dovecot",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/dovecot"],
        units: &["dovecot"],
        config: &["/etc/dovecot/dovecot.conf"],
        logs: &[],
    },
    Packaged {
        service: "postfix",
        kind: ServiceKind::Other,
        programs: &["/usr/lib/postfix/sbin/master", "/usr/libexec/postfix/master"],
        units: &["postfix", "postfix@-"],
        config: &["/etc/postfix/main.cf", "/etc/postfix/master.cf"],
        logs: &[],
    },
    Packaged {
        service: "mariadbd",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/mariadbd", "/usr/libexec/mariadbd"],
        units: &["mariadb", "mysql"],
        config: &["/etc/mysql/mariadb.cnf", "/etc/my.cnf"],
        logs: &["/var/log/mysql/error.log", "/var/log/mariadb/mariadb.log"],
    },
    Packaged {
        service: "mysqld",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/mysqld", "/usr/libexec/mysqld"],
        units: &["mysql", "mysqld"],
        config: &["/etc/mysql/my.cnf", "/etc/my.cnf"],
        logs: &["/var/log/mysql/error.log", "/var/log/mysqld.log"],
    },
    Packaged {
        service: "haproxy",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/haproxy"],
        units: &["haproxy"],
        config: &["/etc/haproxy/haproxy.cfg"],
        logs: &[],
    },
    Packaged {
        service: "named",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/named"],
        units: &["named", "bind9"],
        config: &["/etc/bind/named.conf", "/etc/named.conf"],
        logs: &[],
    },
    Packaged {
        service: "vsftpd",
        kind: ServiceKind::Other,
        programs: &["/usr/sbin/vsftpd"],
        units: &["vsftpd"],
        config: &["/etc/vsftpd.conf", "/etc/vsftpd/vsftpd.conf"],
        logs: &[],
    },
];

/// The servers of a host that are known from its files, and those that run there.
pub fn known_servers(root: &Root, host: &Host) -> Vec<KnownServer> {
    let mut all: Vec<KnownServer> = host
        .services
        .iter()
        .filter(|service| service.kind != ServiceKind::Sshd)
        .map(|service| of_service(root, service))
        .collect();
    let here = |path: &str| root.at(path).is_file();
    for packaged in PACKAGED {
        let Some(exe) = packaged.programs.iter().find(|path| here(path)).map(PathBuf::from) else { continue };
        // A link to the one of another name (`mysqld` to `mariadbd`) is no second server.
        if std::fs::symlink_metadata(root.at(&exe)).is_ok_and(|meta| meta.is_symlink())
            || all.iter().any(|known| known.exe == exe)
        {
            continue;
        }
        let Some(supervisor) = supervisor(root, packaged.units) else { continue };
        let first =
            |paths: &[&str]| paths.iter().filter(|path| here(path)).map(PathBuf::from).collect::<Vec<_>>();
        let config = read(root, packaged.kind, &exe, host.cores);
        let mut known = KnownServer {
            service: packaged.service.to_owned(),
            kind: packaged.kind,
            enabled: enabled(root, &supervisor),
            supervisor,
            listens: config.listens,
            listens_unix: config.listens_unix,
            config: config.files,
            logs: config
                .logs
                .into_iter()
                .filter(|log| log.role == LogRole::Error)
                .map(|log| log.path)
                .collect(),
            backends: config.backends,
            exe,
        };
        if known.config.is_empty() {
            known.config = with_snippets(root, first(packaged.config));
        }
        if known.logs.is_empty() {
            known.logs = first(packaged.logs);
        }
        all.push(known);
    }
    for version in php_versions(root) {
        let exe = PathBuf::from(format!("/usr/sbin/php-fpm{version}"));
        if !root.at(&exe).is_file() || all.iter().any(|known| known.exe == exe) {
            continue;
        }
        let unit = format!("php{version}-fpm");
        let Some(supervisor) = supervisor(root, &[&unit]) else { continue };
        let config = php_fpm::read(root, &[], &exe);
        all.push(KnownServer {
            service: "php-fpm".to_owned(),
            kind: ServiceKind::PhpFpm,
            enabled: enabled(root, &supervisor),
            supervisor,
            listens: config.listens,
            listens_unix: config.listens_unix,
            config: config.files,
            logs: config
                .logs
                .into_iter()
                .filter(|log| log.role == LogRole::Error)
                .map(|log| log.path)
                .collect(),
            backends: Vec::new(),
            exe,
        });
    }
    all
}

/// A server that runs, as it will be known when it does not.
pub fn of_service(root: &Root, service: &Service) -> KnownServer {
    let packaged = PACKAGED
        .iter()
        .find(|packaged| packaged.programs.iter().any(|program| Path::new(program) == service.exe));
    let mut config = service.config.clone();
    if let (true, Some(packaged)) = (config.is_empty(), packaged) {
        let here = packaged.config.iter().filter(|path| root.at(path).is_file());
        config = with_snippets(root, here.map(PathBuf::from).collect());
    }
    KnownServer {
        service: packaged
            .map_or(&*service.id, |packaged| {
                if service.kind == ServiceKind::Other { packaged.service } else { &service.id }
            })
            .to_owned(),
        kind: service.kind,
        exe: service.exe.clone(),
        supervisor: service.supervisor.clone(),
        enabled: enabled(root, &service.supervisor),
        listens: service.listens.clone(),
        listens_unix: service.listens_unix.clone(),
        config,
        logs: service
            .logs
            .iter()
            .filter(|log| log.role == LogRole::Error)
            .map(|log| log.path.clone())
            .collect(),
        backends: service.backends.clone(),
    }
}

fn read(root: &Root, kind: ServiceKind, exe: &Path, cores: u32) -> ServerConfig {
    match kind {
        ServiceKind::Apache => {
            apache::read(root, &apache::Start { exe: exe.to_owned(), ..apache::Start::default() })
        }
        ServiceKind::Nginx => nginx::read(root, &[], cores),
        _ => ServerConfig::default(),
    }
}

/// The main files and what lies in the folders beside them by convention (`conf.d`).
fn with_snippets(root: &Root, mut files: Vec<PathBuf>) -> Vec<PathBuf> {
    let folders: Vec<PathBuf> = files
        .iter()
        .filter_map(|file| Some(file.parent()?.to_path_buf()))
        .filter(|dir| dir != Path::new("/etc"))
        .collect();
    for folder in
        folders.iter().flat_map(|dir| ["conf.d", "mariadb.conf.d", "mysql.conf.d"].map(|name| dir.join(name)))
    {
        let Ok(entries) = std::fs::read_dir(root.at(&folder)) else { continue };
        for entry in entries.flatten().take(limits::CONFIG_FILES_MAX) {
            let path = folder.join(entry.file_name());
            let named = path.extension().is_some_and(|end| end == "conf" || end == "cnf" || end == "cf");
            if named && !files.contains(&path) {
                files.push(path);
            }
        }
    }
    files
}

fn php_versions(root: &Root) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root.at("/etc/php")) else { return Vec::new() };
    let mut versions: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).take(16).collect();
    versions.sort();
    versions
}

/// Folders of unit files, the administrator's own first. See systemd.unit(5).
const UNIT_FOLDERS: &[&str] =
    &["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// Who starts a server of one of these names: systemd where it runs, else an init script.
fn supervisor(root: &Root, names: &[&str]) -> Option<Supervisor> {
    if root.at("/run/systemd/system").is_dir() || root.at("/etc/systemd/system").is_dir() && !root.is_live() {
        let unit = names.iter().map(|name| format!("{name}.service")).find(|unit| {
            UNIT_FOLDERS.iter().any(|folder| {
                let path = root.at(Path::new(folder).join(unit));
                // An alias is the unit that it points to; one that points to /dev/null is masked.
                std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
            })
        });
        if let Some(unit) = unit {
            return Some(Supervisor::Systemd(unit));
        }
    }
    let script = names.iter().map(|name| PathBuf::from(format!("/etc/init.d/{name}")));
    script.into_iter().find(|path| root.at(path).is_file()).map(Supervisor::Initd)
}

/// Whether a supervisor starts its server at boot; `None` where nobody is known to.
pub fn enabled(root: &Root, supervisor: &Supervisor) -> Option<bool> {
    match supervisor {
        Supervisor::Systemd(unit) => {
            let mut folders = UNIT_FOLDERS.to_vec();
            folders.extend(["/run/systemd/generator", "/run/systemd/generator.late"]);
            Some(folders.iter().any(|folder| wanted(root, Path::new(folder), unit)))
        }
        Supervisor::Initd(script) => {
            let name = script.file_name()?.to_str()?;
            Some((2..=5).any(|level| {
                let Ok(links) = std::fs::read_dir(root.at(format!("/etc/rc{level}.d"))) else { return false };
                links.flatten().any(|link| {
                    // `S01apache2`.
                    link.file_name()
                        .to_str()
                        .is_some_and(|link| link.starts_with('S') && link.get(3..) == Some(name))
                })
            }))
        }
        Supervisor::CommandLine => None,
    }
}

/// A link of this name in one of the folder's `*.wants` and `*.requires`.
fn wanted(root: &Root, folder: &Path, unit: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(root.at(folder)) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let wants = name.to_str().is_some_and(|name| name.ends_with(".wants") || name.ends_with(".requires"));
        wants && std::fs::symlink_metadata(entry.path().join(unit)).is_ok()
    })
}

/// When the first process of a server's program began; `None` if there is none. A zombie is none.
pub fn running_since(root: &Root, known: &KnownServer, boot: Time, processes: &[Process]) -> Option<Time> {
    let name = known.exe.file_name()?.to_str()?;
    // The kernel keeps 15 bytes of a name.
    let comm = name.get(..15).unwrap_or(name);
    processes
        .iter()
        .filter(|process| process.comm == comm && !matches!(process.state, 'Z' | 'X'))
        .filter(|process| {
            // `master` is the name of many; where the program can be seen, it decides.
            procfs::exe(root, process.id.pid).is_none_or(|exe| {
                exe == known.exe || exe.file_name().is_some_and(|exe| exe.to_string_lossy().starts_with(name))
            })
        })
        .map(|process| process.id.started(boot))
        .min()
}

/// Every process of the host.
pub fn processes(root: &Root) -> Vec<Process> {
    let mut buffer = Vec::new();
    let pids = procfs::pids(root).unwrap_or_default();
    pids.into_iter().filter_map(|pid| Process::read(root, pid, &mut buffer)).collect()
}

/// Whether a package manager or a log rotation is at work: they stop servers and start them again.
pub fn runs_maintenance(processes: &[Process]) -> bool {
    const PROGRAMS: &[&str] = &[
        "dpkg",
        "apt",
        "apt-get",
        "unattended-upgr",
        "yum",
        "dnf",
        "rpm",
        "zypper",
        "apk",
        "pacman",
        "needrestart",
        "logrotate",
    ];
    processes.iter().any(|process| PROGRAMS.contains(&process.comm.as_str()) && process.state != 'Z')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        dir
    }

    #[test]
    fn installed_and_started_by_init() {
        let dir = tree(&["usr/sbin/nginx", "etc/init.d/nginx", "etc/nginx/nginx.conf", "etc/rc2.d/S01nginx"]);
        let root = Root::new(dir.path());
        let known = known_servers(&root, &Host::default());
        assert_eq!(known.len(), 1, "{known:?}");
        assert_eq!(known[0].service, "nginx");
        assert_eq!(known[0].supervisor, Supervisor::Initd("/etc/init.d/nginx".into()));
        assert_eq!(known[0].enabled, Some(true));
        assert_eq!(known[0].config, [PathBuf::from("/etc/nginx/nginx.conf")]);
        std::fs::rename(dir.path().join("etc/rc2.d/S01nginx"), dir.path().join("etc/rc2.d/K01nginx"))
            .unwrap();
        assert_eq!(known_servers(&root, &Host::default())[0].enabled, Some(false));
    }

    #[test]
    fn units_are_enabled_by_a_link() {
        let dir = tree(&[
            "usr/sbin/nginx",
            "lib/systemd/system/nginx.service",
            "run/systemd/system/x",
            "etc/systemd/system/multi-user.target.wants/x",
        ]);
        let root = Root::new(dir.path());
        let known = known_servers(&root, &Host::default());
        assert_eq!(known[0].supervisor, Supervisor::Systemd("nginx.service".into()));
        assert_eq!(known[0].enabled, Some(false));
        std::os::unix::fs::symlink(
            "/lib/systemd/system/nginx.service",
            dir.path().join("etc/systemd/system/multi-user.target.wants/nginx.service"),
        )
        .unwrap();
        assert_eq!(enabled(&root, &known[0].supervisor), Some(true));
        assert_eq!(enabled(&root, &Supervisor::CommandLine), None);
    }

    #[test]
    fn a_program_without_a_supervisor_is_not_meant_to_run() {
        let dir = tree(&["usr/sbin/nginx", "etc/nginx/nginx.conf"]);
        assert!(known_servers(&Root::new(dir.path()), &Host::default()).is_empty());
    }
}
