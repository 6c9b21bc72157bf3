//! What a machine must have to hold a lab, and the installation of the packages.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use crate::LabError;
use crate::plan::Plan;

/// Debian packages that the scenarios are made of. `nftables`, `procps` and `curl` are independent readers for tests.
const PACKAGES: &[&str] = &[
    "apache2",
    "ca-certificates",
    "curl",
    "dovecot-imapd",
    "dovecot-pop3d",
    "haproxy",
    "iproute2",
    "libapache2-mod-php",
    "lxcfs",
    "mariadb-server",
    "nftables",
    "openssh-client",
    "openssh-server",
    "openssl",
    "php-fpm",
    "php-mysql",
    "postfix",
    "procps",
    "rsyslog",
    "util-linux",
];

/// Programs without which no scenario runs; what its services are besides, its plan says. lxcfs is not among them: without
/// it a host shows the machine's vitals.
const PROGRAMS: &[&str] = &[
    "/usr/sbin/rsyslogd",
    "/usr/sbin/sshd",
    "/usr/bin/ssh",
    "/usr/bin/ssh-keygen",
    "/usr/bin/nsenter",
    "/usr/bin/unshare",
    "/usr/bin/setpriv",
    "/usr/sbin/service",
];

/// What services are started by, and the programs that they are.
const SERVICES: &[(&str, &str)] = &[
    ("apache2", "/usr/sbin/apache2"),
    ("dovecot", "/usr/sbin/dovecot"),
    ("haproxy", "/usr/sbin/haproxy"),
    ("mariadb", "/usr/sbin/mariadbd"),
    ("postfix", "/usr/sbin/postfix"),
];

/// Says what the services of a plan need and this machine does not have.
pub(crate) fn check_plan(plan: &Plan) -> Result<(), LabError> {
    fn words<'p>(lists: impl Iterator<Item = &'p Vec<Vec<String>>>) -> Vec<&'p str> {
        let is_apart = |c: char| !c.is_ascii_alphanumeric() && c != '-';
        lists.flatten().flatten().flat_map(|word| word.split(is_apart)).collect()
    }
    let started = words(plan.hosts.iter().map(|host| &host.services));
    let missing = SERVICES.iter().find(|(name, path)| started.contains(name) && !Path::new(path).exists());
    // In workers or on its own: either way it is configured by its version.
    let is_php = |word: &&str| word.len() > 3 && word.starts_with("php");
    let php = words(plan.hosts.iter().map(|host| &host.setup)).iter().any(is_php);
    match missing {
        Some((_, path)) => Err(missing_program(path)),
        None if php && php_version().is_none() => Err(missing_program("php-fpm")),
        None => Ok(()),
    }
}

fn missing_program(program: &str) -> LabError {
    LabError::Skip { because: format!("{program} is missing (cargo xtask lab install)") }
}

/// Says why this machine cannot hold a lab, if it cannot.
pub fn check() -> Result<(), LabError> {
    let skip = |because: String| Err(LabError::Skip { because });
    if !rustix::process::geteuid().is_root() {
        return skip("the lab needs root".into());
    }
    if let Some(missing) = PROGRAMS.iter().find(|program| !Path::new(program).exists()) {
        return Err(missing_program(missing));
    }
    // The namespaces, tried rather than guessed: containers differ in what they withhold.
    let tried = Command::new("unshare")
        .args(["--net", "--pid", "--mount", "--uts", "--ipc", "--cgroup", "--fork", "--mount-proc", "true"])
        .stdin(Stdio::null())
        .output()?;
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return skip(format!("no namespaces of one's own here ({why})"));
    }
    let tried = Command::new("unshare")
        .args(["--net", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"])
        .stdin(Stdio::null())
        .output()?;
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return skip(format!("no virtual network links here ({why})"));
    }
    if !crate::cgroup::has_memory() {
        return skip("no memory cgroup controller is mounted here".into());
    }
    Ok(())
}

/// The newest php-fpm that is installed, such as `8.2`.
pub(crate) fn php_version() -> Option<String> {
    let mut versions: Vec<String> = fs::read_dir("/etc/php")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|version| Path::new(&format!("/usr/sbin/php-fpm{version}")).exists())
        .collect();
    versions.sort();
    versions.pop()
}

/// Installs the lab's packages with apt. Nothing that is installed starts outside a lab. Fast when all is there.
pub fn install() -> Result<(), LabError> {
    install_packages(PACKAGES)
}

/// The same for packages that something else needs.
pub fn install_packages(packages: &[&str]) -> Result<(), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::Skip { because: "installing packages needs root".into() });
    }
    let missing = missing_packages(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let _no_starts = NoStarts::new()?;
    apt(&["update"])?;
    let mut args = vec!["install", "--yes", "--no-install-recommends"];
    args.extend(&missing);
    apt(&args)?;
    Ok(())
}

fn missing_packages<'a>(packages: &[&'a str]) -> anyhow::Result<Vec<&'a str>> {
    if !Path::new("/usr/bin/dpkg-query").exists() {
        bail!("this is no Debian: install {} by hand", packages.join(", "));
    }
    let asked =
        Command::new("dpkg-query").args(["-W", "-f", "${Package} ${Status}\n"]).args(packages).output()?;
    let said = String::from_utf8_lossy(&asked.stdout);
    let there = |package: &&str| said.lines().any(|line| line == format!("{package} install ok installed"));
    Ok(packages.iter().copied().filter(|package| !there(package)).collect())
}

fn apt(args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("apt-get")
        .args(["-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"])
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .context("could not run apt-get")?;
    if !done.status.success() {
        let said = [done.stdout, done.stderr].concat();
        bail!("apt-get {} failed:\n{}", args.join(" "), String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// While this lives, no package starts a service: `invoke-rc.d` asks policy-rc.d, and 101 means no.
/// <https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>
struct NoStarts {
    before: Option<(Vec<u8>, fs::Permissions)>,
}

impl NoStarts {
    const POLICY: &str = "/usr/sbin/policy-rc.d";

    fn new() -> anyhow::Result<Self> {
        let before = match (fs::read(Self::POLICY), fs::metadata(Self::POLICY)) {
            (Ok(content), Ok(meta)) => Some((content, meta.permissions())),
            _ => None,
        };
        fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(Self::POLICY, fs::Permissions::from_mode(0o755))?;
        Ok(Self { before })
    }
}

impl Drop for NoStarts {
    fn drop(&mut self) {
        // Nothing sensible can be done where putting it back fails.
        let _ = match &self.before {
            Some((content, permissions)) => fs::write(Self::POLICY, content)
                .and_then(|()| fs::set_permissions(Self::POLICY, permissions.clone())),
            None => fs::remove_file(Self::POLICY),
        };
    }
}
