//! `[metrics]`: where vitals can be fetched, and where they are sent.

use std::net::SocketAddr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, Wrong, found, quoted};

/// More often brings nothing that was not known; more seldom is a gap to Prometheus.
pub(super) const PUSH_EVERY: std::ops::RangeInclusive<std::time::Duration> =
    std::time::Duration::from_secs(1)..=std::time::Duration::from_secs(240);

/// Where remote write goes: plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// With its port, as a connection wants it.
    pub(crate) host: String,
    pub(crate) path: String,
}

/// `"off"` or an address with its port.
pub(super) fn listen(value: &Spanned<DeValue<'_>>) -> Result<Option<SocketAddr>, Vec<Wrong>> {
    let text = value.get_ref().as_str().unwrap_or_default();
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Some(address)),
        _ => Wrong::expected(value, "\"off\" or an address with its port such as \"127.0.0.1:9797\""),
    }
}

pub(super) fn public(value: &Spanned<DeValue<'_>>) -> Result<bool, Vec<Wrong>> {
    value.get_ref().as_bool().map_or_else(|| Wrong::expected(value, "true or false"), Ok)
}

/// `"off"` or a URL.
pub(super) fn push(value: &Spanned<DeValue<'_>>) -> Result<Option<Url>, Vec<Wrong>> {
    const WANTED: &str = "\"off\" or a URL such as \"http://127.0.0.1:9090/api/v1/write\"";
    match value.get_ref().as_str() {
        Some("off") => Ok(None),
        Some(text) if text.starts_with("https://") => Wrong::one(
            value,
            format!("{}: only http:// is spoken; put a proxy that speaks TLS on this host", quoted(text)),
        ),
        Some(text) => url(text).map_or_else(|| Wrong::expected(value, WANTED), |url| Ok(Some(url))),
        None => Wrong::one(value, format!("expected {WANTED}, found {}", found(value.get_ref()))),
    }
}

fn url(text: &str) -> Option<Url> {
    let rest = text.strip_prefix("http://")?;
    let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    // It goes into the head of a request as it is.
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if host.is_empty() || host.contains('@') || !is_plain(host) || !is_plain(path) {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(name, port)| {
        (!name.contains(':') || name.ends_with(']')) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let host = match has_port {
        true => host.to_owned(),
        false if host.contains(':') && !host.ends_with(']') => return None,
        false => format!("{host}:80"),
    };
    Some(Url { host, path: path.to_owned() })
}

/// Whoever reaches the address reads everything: that it is more than this host has to be said.
pub(super) fn check(config: &Config, table: &DeTable<'_>, wrong: &mut Vec<Wrong>) {
    let metrics = &config.metrics;
    let Some(address) = metrics.listen.filter(|listen| !listen.ip().is_loopback() && !metrics.public) else {
        return;
    };
    let value = table.get("metrics").and_then(|section| section.get_ref().as_table()?.get("listen"));
    let span = value.map_or(0..0, Spanned::span);
    wrong.push(Wrong::at(
        span,
        format!(
            "{address} can be reached from other hosts, and whoever does reads everything; if that is meant, add public = true"
        ),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = url(text);
            assert_eq!(found.as_ref().map(|url| (url.host.as_str(), url.path.as_str())), expected, "{text}");
        };
        check("http://store:9090/api/v1/write", Some(("store:9090", "/api/v1/write")));
        check("http://store", Some(("store:80", "/")));
        check("http://[::1]:9090/w?a=b", Some(("[::1]:9090", "/w?a=b")));
        check("http://[::1]/w", Some(("[::1]:80", "/w")));
        for wrong in [
            "ftp://store/w",
            "http://",
            "http:///w",
            "http://store:0/w",
            "http://store:x/w",
            "http://::1/w",
            "http://me@store/w",
            "http://store/w w",
            "http://store/w\r\nHost: other",
        ] {
            check(wrong, None);
        }
    }
}
