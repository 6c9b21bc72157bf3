//! What a request counts against its client: the offences that a web server's log tells by itself.
//!
//! A single one proves nothing, and none is counted against a client that the server did not see.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use toban_model::event::{Offence, Request};

/// Parts of paths that nobody has a link to, in lower case. In front of them stands nothing or another directory. None is
/// a directory in which a site may have pages of its own, and miss one.
const PROBED: &[&str] = &[
    "/.env",
    "/.git/",
    "/.gitconfig",
    "/.svn/",
    "/.hg/",
    "/.aws/",
    "/.ssh/",
    "/.docker",
    "/.kube/",
    "/.npmrc",
    "/.vscode/",
    "/.ds_store",
    "/.ht",
    "/.bash_history",
    "/phpmyadmin",
    "/pma/",
    "/myadmin",
    "/adminer",
    "/phpunit",
    "/eval-stdin",
    "/phpinfo",
    "/info.php",
    "/wp-config",
    "/wp-login.php",
    "/wp-admin/install.php",
    "/wp-admin/setup-config.php",
    "/xmlrpc.php",
    "/wlwmanifest.xml",
    "/cgi-bin/luci",
    "/cgi-bin/test-cgi",
    "/boaform",
    "/hnap1",
    "/gponform",
    "/setup.cgi",
    "/shell.php",
    "/cmd.php",
    "/c99.php",
    "/r57.php",
    "/wso.php",
    "/actuator/",
    "/solr/admin",
    "/manager/html",
    "/jenkins/login",
    "/jmx-console",
    "/_ignition",
    "/telescope/requests",
    "/debug/default/view",
    "/owa/auth",
    "/ecp/",
    "/remote/login",
    "/remote/fgt_lang",
    "/dana-na/",
    "/vpn/index",
    "/etc/passwd",
    "/..",
    "/%2e",
    "%2e%2e",
    "/id_rsa",
    "/web.config",
    "/config.php",
    "/config.yml",
    "/backup.zip",
    "/backup.sql",
    "/backup.tar",
    "/db.sql",
    "/dump.sql",
    "/database.sql",
    "/server-status",
    "/server-info",
    "/geoserver",
    "/console/login",
    "/druid/index",
    "/nmaplowercheck",
    "/evox/about",
    "/v2/_catalog",
    "/_all_dbs",
    "/azenv.php",
];

/// What people fill in. A form that is shown again with 200 was not believed.
const FORMS: &[&[u8]] = &[b"/wp-login.php", b"/administrator/index.php", b"/user/login"];
/// What WordPress's programs call, with a name and a password in each call.
const CALLED: &[u8] = b"/xmlrpc.php";
/// Parts of paths that are sent a name and a password by whatever program.
const LOGINS: &[&str] =
    &["login", "signin", "sign_in", "sign-in", "logon", "auth", "session", "j_security_check", "token"];

/// The offence of a request, if it is one.
#[inline]
pub fn offence(request: &Request<'_>) -> Option<Offence> {
    let status = request.status.unwrap_or(0);
    // Nearly all requests end here.
    if status < 400 && request.method == b"GET" && request.path.first() == Some(&b'/') {
        return (is_hidden(request.path) && is_probed(request.path)).then_some(Offence::Probe);
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
        if is_form(path) && (status == 200 || status == 401 || status == 403) {
            return Some(Offence::AuthFailure);
        }
        if matches!(status, 401 | 403 | 422 | 429) && takes_a_password(path) {
            return Some(Offence::AuthFailure);
        }
    }
    // A site whose every page is the same program answers 200 to everything.
    let absent = (400..500).contains(&status);
    ((absent || is_hidden(path)) && !is_call(request) && is_probed(path)).then_some(Offence::Probe)
}

/// Who proved to know a password.
pub(crate) enum Login<'a> {
    /// Somebody with this account.
    As(&'a [u8]),
    /// Somebody.
    Somebody,
}

/// Whether a request proves that its client knows a password.
#[inline]
pub(crate) fn login<'a>(request: &Request<'a>) -> Option<Login<'a>> {
    let status = request.status.unwrap_or(0);
    if !(200..400).contains(&status) {
        return None;
    }
    if let Some(user) = request.user {
        return Some(Login::As(user));
    }
    let path = request.path;
    // A form sends on whom it believed. What tells a wrong password by its status tells a right one so too.
    let believed = request.method == b"POST"
        && if is_form(path) { matches!(status, 302 | 303) } else { takes_a_password(path) };
    believed.then_some(Login::Somebody)
}

/// A remote procedure of WordPress.
pub(crate) fn is_call(request: &Request<'_>) -> bool {
    request.method == b"POST" && request.path.ends_with(CALLED)
}

/// What is not there, and nobody sent its client to it.
#[inline]
pub(crate) fn is_miss(request: &Request<'_>) -> bool {
    matches!(request.status, Some(403 | 404 | 410)) && request.referer.is_none()
}

/// The form that people fill in to log in.
pub(crate) fn is_form(path: &[u8]) -> bool {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    FORMS.iter().any(|form| path.ends_with(form))
}

fn takes_a_password(path: &[u8]) -> bool {
    static PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| search(LOGINS));
    PARTS.is_match(path)
}

/// The host of an absolute target, or the path.
pub(crate) fn authority_or_path(path: &[u8]) -> &[u8] {
    match memchr::memmem::find(path, b"://") {
        Some(at) if path[0] != b'/' => path[at + 3..].split(|b| *b == b'/').next().unwrap_or_default(),
        _ => path,
    }
}

/// An absolute target asks for somebody else's page, unless it names the host itself.
fn is_elsewhere(request: &Request<'_>) -> bool {
    let authority = authority_or_path(request.path);
    if authority.len() == request.path.len() {
        return false;
    }
    let name = |host: &[u8]| host.split(|b| *b == b':').next().map(<[u8]>::to_ascii_lowercase);
    request.host.is_none_or(|host| name(host) != name(authority))
}

/// Part of a path begins with a dot, and is not for everybody (RFC 8615).
#[inline]
fn is_hidden(path: &[u8]) -> bool {
    memchr::memchr_iter(b'.', path)
        .any(|at| at > 0 && path[at - 1] == b'/' && !path[at..].starts_with(b".well-known/"))
}

/// Whether somebody who looks for a way in would ask for this.
pub(crate) fn is_probed(path: &[u8]) -> bool {
    static PARTS: LazyLock<AhoCorasick> = LazyLock::new(|| search(PROBED));
    PARTS.is_match(path)
}

/// Looks for some words at once, in whatever case.
fn search(words: &[&str]) -> AhoCorasick {
    let search = AhoCorasick::builder().ascii_case_insensitive(true).build(words);
    search.expect("a short list of short words")
}

#[cfg(test)]
mod tests {

    use super::*;

    fn check(line: &str, status: u16, user: Option<&str>, expected: Option<Offence>) {
        let mut words = line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next());
        let request = Request {
            method: if path.is_some() { method.as_bytes() } else { b"" },
            path: path.unwrap_or_default().as_bytes(),
            protocol: b"HTTP/1.1",
            status: Some(status),
            host: Some(b"www.example.jp"),
            user: user.map(str::as_bytes),
            raw_request: line.as_bytes(),
            ..Request::BLANK
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
        // Nobody can tell by a single one.
        check("POST /blog/xmlrpc.php", 200, None, None);
        check("POST /blog/xmlrpc.php", 403, None, None);
        check("GET /blog/xmlrpc.php", 404, None, Some(Probe));
        // Found or not, nobody is sent there.
        check("GET /.git/config", 200, None, Some(Probe));
        check("GET /.well-known/acme-challenge/x", 200, None, None);
        check("GET /v1.2/a.b", 200, None, None);
        check("POST /api/auth/login", 200, None, None);
        check("POST /api/auth/login", 401, None, Some(AuthFailure));
        check("POST /cart/add", 403, None, None);
        check("\\x16\\x03\\x01", 400, None, Some(ProtocolError));
        check("-", 408, None, None);
    }
}
