//! The certificates that servers show, found by the servers' own configuration and read for how long they are valid.

use std::path::{Path, PathBuf};

use toban_model::{Certificate, KnownServer, Time};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

use crate::{Error, Root, limits};

/// The settings of servers that name a certificate, in small letters.
const SETTINGS: &[&str] = &[
    "sslcertificatefile",
    "ssl_certificate",
    "ssl_cert",
    "smtpd_tls_cert_file",
    "smtpd_tls_chain_files",
    "ssl-cert",
];

/// The certificates of these servers, each file once. What cannot be read as one is left out.
pub fn certificates(root: &Root, servers: &[&KnownServer]) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for server in servers {
        let base = server.config.first().and_then(|main| main.parent()).unwrap_or(Path::new("/"));
        for file in &server.config {
            let text = root.read_config(file).unwrap_or_default();
            for path in text.lines().filter_map(|line| named(line, base)) {
                if let Some(known) = all.iter_mut().find(|known| known.path == path) {
                    if !known.services.contains(&server.service) {
                        known.services.push(server.service.clone());
                    }
                } else if all.len() < limits::CERTIFICATES_MAX {
                    all.extend(read(root, path, &server.service).ok().flatten());
                }
            }
        }
    }
    all
}

/// The file that a line of a configuration names: `SSLCertificateFile /x.pem`, `ssl_certificate /x.pem;`,
/// `ssl_cert = </x.pem`.
fn named(line: &str, base: &Path) -> Option<PathBuf> {
    let line = line.trim_start();
    let end = line.find([' ', '\t', '='])?;
    let (key, value) = line.split_at(end);
    if !SETTINGS.contains(&key.to_ascii_lowercase().as_str()) {
        return None;
    }
    let value = value.trim_start_matches([' ', '\t', '=', '<']).trim_end().trim_end_matches(';');
    let value = value.split([',', ' ', '\t']).next()?.trim_matches(['"', '\'']);
    // With a variable the name is only known when a client asks.
    (!value.is_empty() && !value.contains(['$', '%'])).then(|| base.join(value))
}

fn read(root: &Root, path: PathBuf, service: &str) -> Result<Option<Certificate>, Error> {
    let text = root.read_config(&path)?;
    // The server's own comes first, those that vouch for it behind.
    let Some(pem) = Pem::iter_from_buffer(text.as_bytes())
        .flatten()
        .find(|pem| pem.label == "CERTIFICATE" || pem.label == "TRUSTED CERTIFICATE")
    else {
        return Ok(None);
    };
    let Ok(certificate) = pem.parse_x509() else { return Ok(None) };
    let host = certificate.subject_alternative_name().ok().flatten().and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
    });
    let common = certificate.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let validity = certificate.validity();
    Ok(Some(Certificate {
        name: host.or_else(|| common.map(str::to_owned)).unwrap_or_default(),
        not_before: Time::from_secs(validity.not_before.timestamp()),
        not_after: Time::from_secs(validity.not_after.timestamp()),
        services: vec![service.to_owned()],
        path,
    }))
}

#[cfg(test)]
mod tests {
    use toban_model::{ServiceKind, Supervisor};

    use super::*;

    /// Made with `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30`.
    const PEM: &str = include_str!("../../tests/fixtures/certificate.pem");

    #[test]
    fn settings_of_every_server() {
        let base = Path::new("/etc/nginx");
        for (line, path) in [
            ("\tSSLCertificateFile\t/etc/ssl/x.pem", Some("/etc/ssl/x.pem")),
            ("  ssl_certificate certs/x.pem;", Some("/etc/nginx/certs/x.pem")),
            ("ssl_cert = </etc/dovecot/x.pem", Some("/etc/dovecot/x.pem")),
            ("ssl_cert=</etc/dovecot/x.pem", Some("/etc/dovecot/x.pem")),
            ("smtpd_tls_cert_file=/etc/ssl/x.pem", Some("/etc/ssl/x.pem")),
            ("#SSLCertificateFile /etc/ssl/x.pem", None),
            ("SSLCertificateKeyFile /etc/ssl/x.key", None),
            ("ssl_certificate_key /etc/ssl/x.key;", None),
            ("ssl_certificate /etc/ssl/$ssl_server_name.pem;", None),
        ] {
            assert_eq!(named(line, base).as_deref(), path.map(Path::new), "{line}");
        }
    }

    #[test]
    fn how_long_it_is_valid_and_for_whom() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x.pem"), PEM).unwrap();
        std::fs::write(dir.path().join("ssl.conf"), "SSLCertificateFile /x.pem\n").unwrap();
        std::fs::write(
            dir.path().join("broken.pem"),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("more.conf"),
            "SSLCertificateFile /broken.pem\nSSLCertificateFile /none.pem\n",
        )
        .unwrap();
        let server = KnownServer {
            service: "apache".into(),
            kind: ServiceKind::Apache,
            exe: "/usr/sbin/apache2".into(),
            supervisor: Supervisor::CommandLine,
            enabled: None,
            listens: Vec::new(),
            listens_unix: Vec::new(),
            config: vec!["/ssl.conf".into(), "/more.conf".into()],
            logs: Vec::new(),
            backends: Vec::new(),
        };
        let found = certificates(&Root::new(dir.path()), &[&server, &server]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].name, "www.example.jp");
        assert_eq!(found[0].services, ["apache"]);
        assert_eq!(found[0].not_after.since(found[0].not_before).as_secs(), 30 * 86_400);
    }
}
