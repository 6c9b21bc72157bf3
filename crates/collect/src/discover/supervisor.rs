//! Who can start and stop a server here.

use std::path::{Path, PathBuf};

use toban_model::{ServiceKind, Supervisor};

use crate::{Root, procfs};

/// systemd's unit when systemd runs, else the init script whose pid file names this very process, else nobody.
///
/// A script by name alone is not enough: a second instance, started by hand, would be taken for the first.
pub(super) fn of(root: &Root, kind: ServiceKind, master: u32, exe: &Path) -> Supervisor {
    if root.at("/run/systemd/system").is_dir()
        && let Some(unit) = unit(root, master)
    {
        return Supervisor::Systemd(unit);
    }
    script(root, kind, master, exe).map_or(Supervisor::CommandLine, Supervisor::Initd)
}

/// The last component of the process's cgroup that is a service.
fn unit(root: &Root, pid: u32) -> Option<String> {
    let mut buffer = Vec::new();
    let text =
        String::from_utf8_lossy(root.read(format!("/proc/{pid}/cgroup"), &mut buffer).ok()?).into_owned();
    // v2 has one line, `0::`; v1 has systemd's own named hierarchy.
    text.lines().filter(|line| line.starts_with("0::") || line.contains(":name=systemd:")).find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        path.split('/')
            .rev()
            .find(|part| part.ends_with(".service") && !part.starts_with("user@"))
            .map(str::to_owned)
    })
}

fn script(root: &Root, kind: ServiceKind, master: u32, exe: &Path) -> Option<PathBuf> {
    let program = exe.file_name()?.to_str()?.to_owned();
    let mut names = vec![program.clone()];
    match kind {
        ServiceKind::Apache => names.extend(["apache2".to_owned(), "httpd".to_owned()]),
        ServiceKind::Sshd => names.extend(["ssh".to_owned(), "sshd".to_owned()]),
        ServiceKind::PhpFpm => {
            // Debian calls the program php-fpm8.2 and its service php8.2-fpm.
            let version = program.strip_prefix("php-fpm").unwrap_or_default();
            names.extend([format!("php{version}-fpm"), "php-fpm".to_owned()]);
        }
        ServiceKind::Nginx | ServiceKind::Other => {}
    }
    names.into_iter().map(|name| (PathBuf::from(format!("/etc/init.d/{name}")), name)).find_map(
        |(path, name)| {
            let text = root.read_config(&path).ok()?;
            let conventional = [
                format!("/run/{name}.pid"),
                format!("/run/{name}/{name}.pid"),
                format!("/run/{program}.pid"),
                format!("/run/php/{name}.pid"),
                format!("/var/run/{name}.pid"),
                format!("/var/run/{name}/{name}.pid"),
            ];
            let named = text.lines().filter_map(|line| {
                let (key, value) = line.trim().split_once('=')?;
                (key.eq_ignore_ascii_case("pidfile") && !value.contains('$'))
                    .then(|| value.trim_matches('"').to_owned())
            });
            conventional
                .into_iter()
                .chain(named)
                .any(|file| pid_in(root, &file) == Some(master))
                .then_some(path)
        },
    )
}

fn pid_in(root: &Root, file: &str) -> Option<u32> {
    u32::try_from(procfs::number(root.read_config(file).ok()?.as_bytes())?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::tests::tree;

    #[test]
    fn who_supervises() {
        let exe = Path::new("/usr/sbin/php-fpm8.2");
        for (files, expected) in [
            (
                &[("run/systemd/system/x", ""), ("proc/7/cgroup", "0::/system.slice/php8.2-fpm.service\n")][..],
                Supervisor::Systemd("php8.2-fpm.service".into()),
            ),
            (
                &[
                    ("run/systemd/system/x", ""),
                    (
                        "proc/7/cgroup",
                        "3:cpu:/\n1:name=systemd:/system.slice/system-php.slice/php@8.service\n",
                    ),
                ][..],
                Supervisor::Systemd("php@8.service".into()),
            ),
            (
                &[("etc/init.d/php8.2-fpm", "#!/bin/sh"), ("run/php/php8.2-fpm.pid", "7\n")][..],
                Supervisor::Initd("/etc/init.d/php8.2-fpm".into()),
            ),
            (
                &[("etc/init.d/php8.2-fpm", "#!/bin/sh"), ("run/php/php8.2-fpm.pid", "8\n")][..],
                Supervisor::CommandLine,
            ),
            (
                &[("etc/init.d/php-fpm", "PIDFILE=/srv/x.pid"), ("srv/x.pid", "7")][..],
                Supervisor::Initd("/etc/init.d/php-fpm".into()),
            ),
        ] {
            let dir = tree(files);
            assert_eq!(of(&Root::new(dir.path()), ServiceKind::PhpFpm, 7, exe), expected);
        }
    }
}
