//! What a request counts against its client: the offences that a web server's log tells by itself.
//!
//! A single one proves nothing, and none is counted against a client that the server did not see.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use toban_model::event::{Offence, Request};

/// Parts of paths that nobody has a link to. In front of them stands nothing or another directory.
const PROBED: &[&str] = &[
    "/.env",
    "/.git/",
    "/.svn/",
    "/.hg/",
    "/.aws/",
    "/.ssh/",
    "/.vscode/",
    "/.DS_Store",
    "/.htpasswd",
    "/phpmyadmin",
    "/pma/",
    "/myadmin",
    "/adminer",
    "/phpunit",
    "/eval-stdin",
    "/phpinfo",
    "/wp-config",
    "/wlwmanifest.xml",
    "/cgi-bin/",
    "/boaform",
    "/HNAP1",
    "/GponForm",
    "/setup.cgi",
    "/shell",
    "/actuator",
    "/solr/admin",
    "/manager/html",
    "/jenkins",
    "/_ignition",
    "/telescope/",
    "/owa/auth",
    "/ecp/",
    "/autodiscover",
    "/remote/login",
    "/vendor/",
    "/etc/passwd",
    "/..",
    "/%2e",
    "%2e%2e",
    "/backup.",
    "/dump.sql",
    "/config.json",
    "/server-status",
    "/luci/",
    "/geoserver",
    "/console/login",
    "/druid/",
    "/nmaplowercheck",
    "/version",
    "/azenv.php",
];

/// What is sent a name and a password. A form that is shown again with 200 was not believed.
const FORMS: &[&[u8]] = &[b"/wp-login.php", b"/xmlrpc.php", b"/administrator/index.php", b"/user/login"];
/// Parts of paths that are sent a name and a password by whatever program; what they answer with 200 is unknown.
const LOGINS: &[&[u8]] = &[
    b"login",
    b"signin",
    b"sign_in",
    b"sign-in",
    b"logon",
    b"auth",
    b"session",
    b"j_security_check",
    b"token",
];

/// The offence of a request, if it is one.
#[inline]
pub fn offence(request: &Request<'_>) -> Option<Offence> {
    let status = request.status.unwrap_or(0);
    // Nearly all requests end here.
    if status < 400 && request.method == b"GET" && request.path.first() == Some(&b'/') {
        return None;
    }
    unusual(request, status)
}

fn unusual(request: &Request<'_>, status: u16) -> Option<Offence> {
    let Request { method, path, .. } = request;
    if method.is_empty() {
        // `-` is a connection on which nothing was asked: a browser's spare one, a timeout.
        let asked = !request.raw_request.is_empty() && request.raw_request != b"-";
        return (asked && (status == 400 || status == 0)).then_some(Offence::ProtocolError);
    }
    if *method == b"CONNECT" || is_elsewhere(request) {
        return Some(Offence::RelayAttempt);
    }
    if status == 401 && request.user.is_some() {
        return Some(Offence::AuthFailure);
    }
    if *method == b"POST" {
        let path = path.strip_suffix(b"/").unwrap_or(path);
        if FORMS.iter().any(|form| path.ends_with(form)) && (status == 200 || status >= 400) {
            return Some(Offence::AuthFailure);
        }
        if matches!(status, 401 | 403 | 422 | 429) && LOGINS.iter().any(|word| contains(path, word)) {
            return Some(Offence::AuthFailure);
        }
    }
    ((400..500).contains(&status) && is_probed(path)).then_some(Offence::Probe)
}

/// Whether a request proves that its client knows a password.
pub(crate) fn is_login(request: &Request<'_>) -> bool {
    let status = request.status.unwrap_or(0);
    match request.method {
        b"POST" => {
            matches!(status, 302 | 303)
                && (FORMS.iter().any(|form| request.path.ends_with(form))
                    || LOGINS.iter().any(|word| contains(request.path, word)))
        }
        _ => request.user.is_some() && (200..400).contains(&status),
    }
}

/// An absolute target asks for somebody else's page, unless it names the host itself.
fn is_elsewhere(request: &Request<'_>) -> bool {
    if request.path.first() == Some(&b'/') {
        return false;
    }
    let Some(at) = memchr::memmem::find(request.path, b"://") else { return false };
    let authority = request.path[at + 3..].split(|b| *b == b'/').next().unwrap_or_default();
    let name = |host: &[u8]| host.split(|b| *b == b':').next().map(<[u8]>::to_ascii_lowercase);
    request.host.is_none_or(|host| name(host) != name(authority))
}

/// Whether somebody who looks for a way in would ask for this.
fn is_probed(path: &[u8]) -> bool {
    static PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| {
        let parts = AhoCorasick::builder().ascii_case_insensitive(true).build(PROBED);
        parts.expect("a short list of short words")
    });
    PARTS.is_match(path)
}

/// A part of a path, in whatever case.
fn contains(path: &[u8], part: &[u8]) -> bool {
    let first = part[0];
    path.len() >= part.len()
        && path
            .windows(part.len())
            .any(|window| window[0].eq_ignore_ascii_case(&first) && window.eq_ignore_ascii_case(part))
}

#[cfg(test)]
mod tests {
    use toban_model::Time;

    use super::*;

    fn check(line: &str, status: u16, user: Option<&str>, expected: Option<Offence>) {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next());
        let request = Request {
            time: Time::ZERO,
            peer: None,
            client: None,
            forwarded: None,
            method: if path.is_some() { method.as_bytes() } else { b"" },
            path: path.unwrap_or_default().as_bytes(),
            protocol: b"HTTP/1.1",
            status: Some(status),
            bytes: None,
            duration_us: None,
            agent: None,
            referer: None,
            host: Some(b"www.example.jp"),
            user: user.map(str::as_bytes),
            raw_request: line.as_bytes(),
        };
        assert_eq!(offence(&request), expected, "{line} {status}");
    }

    #[test]
    fn offences() {
        use Offence::{AuthFailure, Probe, ProtocolError, RelayAttempt};
        check("GET /", 200, None, None);
        check("GET /favicon.ico", 404, None, None);
        check("GET /.env", 404, None, Some(Probe));
        check("GET /old/.git/config", 403, None, Some(Probe));
        check("GET /PhpMyAdmin/index.php", 404, None, Some(Probe));
        // It is there, and may be somebody's own.
        check("GET /phpmyadmin/", 200, None, None);
        check("CONNECT www.example.com:443", 405, None, Some(RelayAttempt));
        check("CONNECT www.example.com:443", 200, None, Some(RelayAttempt));
        check("GET http://www.example.com/", 200, None, Some(RelayAttempt));
        check("GET http://WWW.example.jp:80/", 200, None, None);
        check("GET /private", 401, None, None);
        check("GET /private", 401, Some("bob"), Some(AuthFailure));
        check("POST /wp-login.php", 200, None, Some(AuthFailure));
        check("POST /wp-login.php", 302, None, None);
        check("POST /blog/xmlrpc.php", 403, None, Some(AuthFailure));
        check("POST /api/auth/login", 200, None, None);
        check("POST /api/auth/login", 401, None, Some(AuthFailure));
        check("POST /cart/add", 403, None, None);
        check("\\x16\\x03\\x01", 400, None, Some(ProtocolError));
        check("-", 408, None, None);
    }
}
