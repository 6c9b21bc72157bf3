//! CrowdSec as Debian packages it, replaying a log: with a configuration and a database of its own, and without its
//! central service.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::peers::{Setup, done};

const CONFIGURATION: &str = "/etc/crowdsec";
const DATA: &str = "/var/lib/crowdsec/data";
const CENTRAL: &str = "/etc/crowdsec/online_api_credentials.yaml";

/// The package registers the host with a central service when it is installed, and fails without a network. It does
/// not where there are credentials already.
pub(crate) fn stay_offline() {
    let registered = fs::metadata(CENTRAL).is_ok_and(|file| file.len() > 0);
    if !registered && fs::create_dir_all(CONFIGURATION).is_ok() {
        // Where this cannot be written, the installation says what it lacks.
        let _ = fs::write(CENTRAL, "# no central service\n");
    }
}

/// A fresh copy of its configuration and data.
pub(crate) fn prepare(setup: &Setup) -> Result<()> {
    let own = setup.own("crowdsec");
    let _ = fs::remove_dir_all(&own);
    copy(Path::new(CONFIGURATION), &own).context(CONFIGURATION)?;
    copy(Path::new(DATA), &own.join("data")).context(DATA)?;
    for entry in fs::read_dir(own.join("data"))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("crowdsec.db") {
            fs::remove_file(entry.path())?;
        }
    }
    // Debian 12 ships this list under another name than its scenario asks for; without it each event logs a long error.
    let (asked, shipped) = (own.join("data/http_path_traversal.txt"), own.join("data/path_traversal.txt"));
    if !asked.exists() && shipped.exists() {
        fs::copy(shipped, asked)?;
    }
    let (api, metrics) = (free_port()?, free_port()?);
    let config = own.join("config.yaml");
    fs::write(&config, apart(&fs::read_to_string(&config)?, &own.to_string_lossy(), api, metrics))?;
    let credentials = own.join("local_api_credentials.yaml");
    fs::write(&credentials, format!("url: http://127.0.0.1:{api}/\nlogin: bench\npassword: bench-bench\n"))?;
    let mut register = Command::new("cscli");
    register.arg("-c").arg(&config);
    register
        .args(["machines", "add", "bench", "--password", "bench-bench", "--force", "-f"])
        .arg(&credentials);
    done(&mut register)?;
    // It writes the address of a configuration that it does not read here.
    fs::write(&credentials, format!("url: http://127.0.0.1:{api}/\nlogin: bench\npassword: bench-bench\n"))?;
    Ok(())
}

/// Its configuration, with places and ports of its own and without the central service.
fn apart(config: &str, own: &str, api: u16, metrics: u16) -> String {
    let mut lines: Vec<&str> = config.lines().collect();
    if let Some(at) = lines.iter().position(|line| line.trim_start().starts_with("online_client:")) {
        // The key, and the path of the credentials below it.
        lines.drain(at..(at + 2).min(lines.len()));
    }
    lines
        .join("\n")
        .replace("/etc/crowdsec/", &format!("{own}/"))
        .replace("/var/lib/crowdsec/data/", &format!("{own}/data/"))
        .replace("log_dir: /var/log/", &format!("log_dir: {own}/"))
        .replace("daemonize: true", "daemonize: false")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{api}"))
        .replace("listen_port: 6060", &format!("listen_port: {metrics}"))
}

/// One run over a log.
pub(crate) fn replay(setup: &Setup, log: &Path, kind: &str) -> Command {
    let mut command = Command::new("crowdsec");
    command.arg("-c").arg(setup.own("crowdsec/config.yaml"));
    command.arg("-dsn").arg(format!("file://{}", log.display())).args(["-type", kind]);
    command
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A folder with all that is in it. Links stay links: that is how it knows what is enabled.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if kind.is_file() {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_apart_from_the_installed_one() {
        let config = "common:\n  daemonize: true\n  log_dir: /var/log/\nconfig_paths:\n  config_dir: /etc/crowdsec/\n  \
                      data_dir: /var/lib/crowdsec/data/\n  hub_dir: /var/lib/crowdsec/hub/\napi:\n  server:\n    \
                      listen_uri: 127.0.0.1:8080\n    online_client: # Central API credentials\n      \
                      credentials_path: /etc/crowdsec/online_api_credentials.yaml\n    trusted_ips:\n      - 127.0.0.1\n\
                      prometheus:\n  listen_port: 6060\n";
        let expected = "common:\n  daemonize: false\n  log_dir: /b/\nconfig_paths:\n  config_dir: /b/\n  \
                        data_dir: /b/data/\n  hub_dir: /var/lib/crowdsec/hub/\napi:\n  server:\n    \
                        listen_uri: 127.0.0.1:81\n    trusted_ips:\n      - 127.0.0.1\nprometheus:\n  listen_port: 82";
        assert_eq!(apart(config, "/b", 81, 82), expected);
    }
}
