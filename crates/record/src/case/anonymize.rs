//! A case without the people in it: addresses, host names, mail addresses, accounts, and what is private in paths and
//! command lines are replaced, everywhere by the same, so that the case is judged as before.
//!
//! An address keeps its company: two that share a prefix share one of the same length afterwards (Xu, Fan, Ammar and
//! Moon, *Prefix-preserving IP address anonymization*, ICNP 2002, with BLAKE3 as the keyed function). Private, loopback
//! and other special ranges stay what they are. Without the key nothing can be taken back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use toban_model::{Prefix, Sample, Texts};

use super::{Case, LogLine};

/// Parts of paths that tell nothing of anybody: where systems and well-known software keep their things.
#[rustfmt::skip]
const PUBLIC: &[&str] = &[
    "etc", "usr", "var", "log", "run", "proc", "dev", "sys", "lib", "lib64", "bin", "sbin", "opt", "srv", "tmp", "home",
    "root", "local", "share", "spool", "cache", "mail", "cron", "cron.d", "systemd", "system", "journal", "www", "html",
    "htdocs", "public_html", "apache2", "httpd", "nginx", "php", "fpm", "pool.d", "mysql", "mariadb", "postfix",
    "mysqld", "mysqld.sock", "postgresql", ".s.PGSQL.5432", "dovecot", "conf", "conf.d", "conf-enabled", "mods-enabled", "sites-enabled", "sites-available", "access.log",
    "error.log", "other_vhosts_access.log", "access_log", "error_log", "auth.log", "secure", "syslog", "messages",
    "mail.log", "maillog", "kern.log", "vsftpd.log", "apache2.conf", "httpd.conf", "nginx.conf", "www.conf",
    "php-fpm.conf", "mpm_prefork.conf", "mpm_event.conf", "ports.conf", "000-default.conf", "default", "kmsg",
    "index.php", "index.html", "wp-cron.php", "wp-admin", "wp-content", "wp-includes",
    "wp-json", "admin-ajax.php", "uploads", "plugins", "themes", "robots.txt", "favicon.ico", "sitemap.xml", "login",
    "logout", "admin", "api", "static", "assets", "css", "js", "images", "img", "cgi-bin", ".env", ".git",
    "phpmyadmin", "server-status", "*", ".", "..",
];
/// Directories of programs: their names are nobody's secret.
const PROGRAMS: &[&str] = &["bin", "sbin", "lib", "lib64"];
/// Fields that hold an account.
const ACCOUNTS: &[&str] = &["account", "user", "login"];

/// Replaces what tells of people, by a key.
#[derive(Debug)]
pub struct Anonymizer {
    key: [u8; 32],
    /// Names of the host, and what stands for them; the longest first.
    names: Vec<(String, String)>,
}

impl Anonymizer {
    /// With a key that nobody should know: random, and forgotten afterwards.
    pub fn new(key: [u8; 32]) -> Anonymizer {
        Anonymizer { key, names: Vec::new() }
    }

    /// The case without the people in it. Its findings are told in words, so they are left out: judge the looks again.
    ///
    /// # Errors
    /// Says what could not be put together again.
    pub fn case(mut self, case: &Case) -> Result<Case, String> {
        let names: Vec<&str> = case.looks.iter().map(|look| look.situation.host.name.as_str()).collect();
        for name in names.into_iter().filter(|name| name.len() > 1) {
            for name in [name, name.split('.').next().unwrap_or(name)] {
                if !self.names.iter().any(|(known, _)| known == name) {
                    self.names.push((name.to_owned(), self.token("host", name)));
                }
            }
        }
        self.names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let mut incident = case.incident.clone();
        incident.findings.clear();
        let mut looks = Vec::new();
        for look in &case.looks {
            let mut look = look.clone();
            look.findings.clear();
            looks.push(self.document(&look)?);
        }
        Ok(Case {
            incident,
            looks,
            samples: case.samples.iter().map(|sample| self.sample(sample)).collect(),
            actions: case.actions.iter().map(|action| self.document(action)).collect::<Result<_, _>>()?,
            logs: case
                .logs
                .iter()
                .map(|log| LogLine {
                    path: self.text(&log.path.to_string_lossy()).into(),
                    line: self.text(&log.line),
                })
                .collect(),
        })
    }

    fn document<T: Serialize + DeserializeOwned>(&self, of: &T) -> Result<T, String> {
        let mut value = serde_json::to_value(of).map_err(|e| e.to_string())?;
        self.value(&mut value, "");
        serde_json::from_value(value).map_err(|e| e.to_string())
    }

    fn value(&self, value: &mut Value, key: &str) {
        match value {
            Value::String(text) if ACCOUNTS.contains(&key) && !text.is_empty() => {
                *text = self.token("user", text);
            }
            Value::String(text) if key == "certified_name" => *text = self.token("host", text),
            // What a CONNECT asks for is no path, but a host.
            Value::String(text) if key == "path" && !text.starts_with(['/', '*']) => {
                *text = match text.rsplit_once(':') {
                    Some((host, port)) => format!("{}:{port}", self.token("host", host)),
                    None => self.token("host", text),
                };
            }
            // Arguments hold anything, passwords among it.
            Value::String(text) if key == "command" => {
                *text = self.text(text.split(' ').next().unwrap_or_default());
            }
            Value::String(text) => *text = self.text(text),
            Value::Array(list) => list.iter_mut().for_each(|item| self.value(item, key)),
            Value::Object(object) => {
                let of_account = object.get("kind").is_some_and(|kind| kind == "account");
                for (key, item) in object {
                    self.value(item, if of_account && key == "value" { ACCOUNTS[0] } else { key });
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn sample(&self, sample: &Sample) -> Sample {
        let mut out = sample.clone();
        out.texts = Texts::default();
        for process in &mut out.processes.busiest {
            let old = &sample.texts;
            // Arguments hold anything, passwords among it.
            let program = old.get(process.command).split(' ').next().unwrap_or_default();
            process.command = out.texts.push(&self.text(program));
            process.comm = out.texts.push(old.get(process.comm));
            process.group = out.texts.push(&self.text(old.get(process.group)));
            process.waits_in = out.texts.push(old.get(process.waits_in));
        }
        for count in &mut out.sockets {
            count.peers = count.peers.map(|peers| self.prefix(peers));
        }
        out
    }

    /// A word that stands for another, of the same kind everywhere.
    fn token(&self, kind: &str, of: &str) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(kind.as_bytes()).update(b"\0").update(of.as_bytes());
        format!("{kind}-{}", &hasher.finalize().to_hex()[..8])
    }

    /// Replaces addresses, mail addresses, hosts in URLs, names of this host and what is private in paths.
    pub fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = ' ';
        while let Some(c) = rest.chars().next() {
            let begins_word = !before.is_ascii_alphanumeric() && before != '_';
            let taken = match c {
                '/' if !before.is_ascii_alphanumeric() && before != '/' => self.path(rest, &mut out),
                ':' if rest.starts_with("://") => self.url(rest, &mut out),
                _ if begins_word => self.address_in(rest, &mut out).or_else(|| self.name(rest, &mut out)),
                _ => None,
            };
            let taken = taken.unwrap_or_else(|| {
                out.push(c);
                c.len_utf8()
            });
            before = rest[..taken].chars().next_back().unwrap_or(c);
            rest = &rest[taken..];
        }
        out
    }

    /// An address, with its prefix length, at the beginning of a text.
    fn address_in(&self, text: &str, out: &mut String) -> Option<usize> {
        let run = text.bytes().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count();
        // `192.0.2.7:443`, and a full stop after it.
        let ends = (3..=run).rev().filter(|end| {
            let next = text.as_bytes().get(*end);
            *end == run && !next.is_some_and(u8::is_ascii_alphanumeric)
                || matches!(text.as_bytes().get(*end), Some(b':' | b'.'))
        });
        let (end, address) =
            ends.filter_map(|end| Some((end, text[..end].parse::<IpAddr>().ok()?))).next()?;
        let length = text[end..]
            .strip_prefix('/')
            .map(|rest| &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()]);
        let prefix = length.and_then(|length| Prefix::new(address, length.parse().ok()?).ok());
        match (prefix, length) {
            (Some(prefix), Some(length)) => {
                out.push_str(&self.prefix(prefix).to_string());
                Some(end + 1 + length.len())
            }
            _ => {
                out.push_str(&self.address(address).to_string());
                Some(end)
            }
        }
    }

    /// A mail address, or a name of this host.
    fn name(&self, text: &str, out: &mut String) -> Option<usize> {
        let word = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"._%+-@".contains(b)).count();
        if let Some((user, host)) =
            text[..word].split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty())
        {
            out.push_str(&format!("{}@{}", self.token("user", user), self.token("host", host)));
            return Some(word);
        }
        let (name, instead) = self.names.iter().find(|(name, _)| {
            text.starts_with(name.as_str())
                && !text.as_bytes().get(name.len()).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
        })?;
        out.push_str(instead);
        Some(name.len())
    }

    /// `://host:port/path`.
    fn url(&self, text: &str, out: &mut String) -> Option<usize> {
        let host = text[3..].bytes().take_while(|b| b.is_ascii_alphanumeric() || b"._-".contains(b)).count();
        out.push_str("://");
        let name = &text[3..3 + host];
        match name.parse::<IpAddr>() {
            Ok(address) => out.push_str(&self.address(address).to_string()),
            Err(_) if host > 0 => out.push_str(&self.token("host", name)),
            Err(_) => {}
        }
        let after = &text[3 + host..];
        let port = after.bytes().take_while(|b| *b == b':' || b.is_ascii_digit()).count();
        out.push_str(&after[..port]);
        let path = after[port..].starts_with('/').then(|| self.path(&after[port..], out)).flatten();
        Some(3 + host + port + path.unwrap_or(0))
    }

    /// A path with its query. What is not known to be everybody's is replaced; its ending tells the kind of file.
    fn path(&self, text: &str, out: &mut String) -> Option<usize> {
        let end =
            text.find(|c: char| c.is_whitespace() || "\"'<>()[]{},;:?=".contains(c)).unwrap_or(text.len());
        let mut programs = false;
        for (n, part) in text[..end].split('/').enumerate() {
            if n > 0 {
                out.push('/');
            }
            let public = PUBLIC.contains(&part) || (programs && n > 1);
            programs |= PROGRAMS.contains(&part);
            if public || part.is_empty() {
                out.push_str(part);
                continue;
            }
            out.push_str(&self.token("p", part));
            if let Some((_, ending)) = part.rsplit_once('.').filter(|(name, ending)| {
                !name.is_empty()
                    && (1..=5).contains(&ending.len())
                    && ending.bytes().all(|b| b.is_ascii_alphanumeric())
            }) {
                out.push('.');
                out.push_str(ending);
            }
        }
        let query = text[end..]
            .starts_with('?')
            .then(|| text[end..].find(|c: char| c.is_whitespace() || c == '"').unwrap_or(text.len() - end));
        if let Some(query) = query {
            out.push('?');
            out.push_str(&self.token("q", &text[end..end + query]));
        }
        Some(end + query.unwrap_or(0))
    }

    fn prefix(&self, prefix: Prefix) -> Prefix {
        Prefix::new(self.address(prefix.network()), prefix.prefix_len())
            .map_or(prefix, |prefix| prefix.trunc())
    }

    /// Each bit is turned or not by what stands before it.
    pub fn address(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                Ipv4Addr::from_bits(self.bits(u128::from(v4.to_bits()) << 96, kept_of(v4), 32) as u32).into()
            }
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) => match self.address(v4.into()) {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
                    other => other,
                },
                None => Ipv6Addr::from_bits(self.bits(v6.to_bits(), kept_of_v6(v6), 128)).into(),
            },
        }
    }

    /// `bits` stand at the upper end; the first `kept` of `all` stay as they are. Returns them at the lower end.
    fn bits(&self, bits: u128, kept: u32, all: u32) -> u128 {
        let mut out = bits;
        for at in kept..all {
            let before = bits & !(u128::MAX >> at);
            let mut hasher = blake3::Hasher::new_keyed(&self.key);
            hasher.update(&[all as u8, at as u8]).update(&before.to_be_bytes());
            out ^= u128::from(hasher.finalize().as_bytes()[0] & 1) << (127 - at);
        }
        out >> (128 - all)
    }
}

/// How many of its first bits say that it is special: those stay. All of it for loopback and the like.
fn kept_of(address: Ipv4Addr) -> u32 {
    let [a, b, ..] = address.octets();
    match (a, b) {
        (0 | 127 | 255, _) => 32,
        (10, _) => 8,
        (100, 64..=127) => 10,
        (172, 16..=31) => 12,
        (192, 168) | (169, 254) => 16,
        (224..=239, _) => 4,
        // A stranger's stays a stranger's: nobody's address may become a private one, so the first byte is kept.
        _ => 8,
    }
}

fn kept_of_v6(address: Ipv6Addr) -> u32 {
    match address.segments()[0] {
        0 => 128,
        0xfc00..=0xfdff => 7,
        0xfe80..=0xfebf => 10,
        0xff00..=0xffff => 16,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anonymizer() -> Anonymizer {
        Anonymizer {
            key: [7; 32],
            names: vec![("web1.example.jp".into(), "host-0".into()), ("web1".into(), "host-1".into())],
        }
    }

    #[test]
    fn addresses_keep_their_company() {
        let it = anonymizer();
        let mapped = |text: &str| it.address(text.parse().unwrap());
        let shared = |a: &str, b: &str| {
            let bits = |text: &str| match mapped(text) {
                IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
                IpAddr::V6(v6) => v6.to_bits(),
            };
            (bits(a) ^ bits(b)).leading_zeros()
        };
        assert_eq!(shared("198.51.100.7", "198.51.100.8"), 28);
        assert_eq!(shared("198.51.100.7", "198.51.200.8"), 16);
        assert_eq!(shared("2001:db8::1", "2001:db8:0:1::1"), 63);
        for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
            assert_eq!(mapped(address).to_string(), address);
        }
        assert_ne!(mapped("198.51.100.7").to_string(), "198.51.100.7");
        assert!(mapped("10.1.2.3").to_string().starts_with("10."));
        assert!(mapped("192.168.1.2").to_string().starts_with("192.168."));
        assert_eq!(mapped("::ffff:198.51.100.7").to_string(), format!("::ffff:{}", mapped("198.51.100.7")));
    }

    #[test]
    fn a_text_keeps_its_form_and_loses_its_people() {
        let it = anonymizer();
        let address = it.address("198.51.100.11".parse().unwrap());
        let check = |text: &str, expected: &str| assert_eq!(it.text(text), expected, "{text}");
        check("[client 198.51.100.11:29588] AH01075: x", &format!("[client {address}:29588] AH01075: x"));
        check("from 198.51.100.11.", &format!("from {address}."));
        check("198.51.100.0/24 271", &format!("{} 271", it.prefix("198.51.100.0/24".parse().unwrap())));
        check("took 0.25 s at 16:09:57, AH00161 ×3", "took 0.25 s at 16:09:57, AH00161 ×3");
        check("web1.example.jp kernel: on web1, web10", "host-0 kernel: on host-1, web10");
        check(
            "apache.workers GET /wp-admin/index.php HTTP/1.1",
            "apache.workers GET /wp-admin/index.php HTTP/1.1",
        );
        check("Mozilla/5.0 (X11; Linux)", "Mozilla/5.0 (X11; Linux)");
        check("/usr/sbin/apache2 -k start", "/usr/sbin/apache2 -k start");
        let private = it.text("GET /customers/tanaka.html?id=7 https://shop.example/a for tanaka@example.jp");
        for leaked in ["customers", "tanaka", "id=7", "shop", "example"] {
            assert!(!private.contains(leaked), "{private}");
        }
        for (text, leaked) in [
            ("disk:/customers is full", "customers"),
            ("https://shop.example:8443/orders/tanaka.html", "tanaka"),
            ("file:///home/tanaka/list", "tanaka"),
        ] {
            let private = it.text(text);
            assert!(!private.contains(leaked) && private.contains("/p-"), "{private}");
        }
        assert!(private.contains(".html?q-") && private.contains("https://host-"), "{private}");
    }

    #[test]
    fn a_case_is_the_same_case_afterwards() {
        let case = super::super::tests::case();
        let out = Anonymizer::new([1; 32]).case(&case).unwrap();
        assert_eq!(out.looks.len(), case.looks.len());
        assert_eq!(out.samples[0].readings, case.samples[0].readings);
        assert_eq!(out.incident.cause, case.incident.cause);
    }
}
