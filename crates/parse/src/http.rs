//! Pieces of a request as logs other than those with a format string have them.

use memchr::{memchr, memmem};
use toban_model::event::Request;

use crate::window::find_far;

/// Text that is there: not `-`, not empty.
#[inline(always)]
pub(crate) fn present(text: &[u8]) -> Option<&[u8]> {
    match text {
        [] | [b'-'] => None,
        text => Some(text),
    }
}

/// A target without its query.
#[inline(always)]
pub(crate) fn path<'a>(method: &[u8], target: &'a [u8]) -> &'a [u8] {
    match find_far(target, b'?') {
        Some(query) if method != b"CONNECT" => &target[..query],
        _ => target,
    }
}

/// What a status field says; `Some(None)` where no answer was sent (`-`, `0`, `000`, `-1`), `None` if it is no status.
#[inline]
pub(crate) fn status(text: &[u8]) -> Option<Option<u16>> {
    match text {
        b"" | b"-" | b"0" | b"000" | b"-1" => Some(None),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            let digit = |byte: &u8| u16::from(byte - b'0');
            Some(Some(digit(a) * 100 + digit(b) * 10 + digit(c)))
        }
        _ => None,
    }
}

/// Puts the target in its place, without its query; the method must be in its own already.
#[inline]
pub(crate) fn take_target<'a>(request: &mut Request<'a>, target: &'a [u8]) {
    request.path = path(request.method, target);
}

/// Takes apart a URL that the server itself put together from the host and the target (`https://www.example.jp:443/a?b`):
/// what in a request line is the mark of an open proxy is in such a log on every line.
pub(crate) fn take_url<'a>(request: &mut Request<'a>, url: &'a [u8]) {
    let Some(scheme) = memmem::find(&url[..url.len().min(16)], b"://") else {
        return take_target(request, url);
    };
    let rest = &url[scheme + 3..];
    let slash = rest.iter().position(|b| b"/?".contains(b)).unwrap_or(rest.len());
    let (host, target) = rest.split_at(slash);
    request.host = present(host);
    take_target(request, if request.method == b"CONNECT" { host } else { target });
}

/// Takes apart a request line whose target is a URL that the server itself put together.
pub(crate) fn take_url_line<'a>(request: &mut Request<'a>, line: &'a [u8]) {
    let (method, rest) = line.split_at(memchr(b' ', line).unwrap_or(line.len()));
    // `- http://www.example.jp:80- -` where none came.
    let Some(method) = present(method) else { return };
    request.raw_request = line;
    if !method.iter().all(|b| b.is_ascii_uppercase() || b"-_".contains(b)) {
        return;
    }
    request.method = method;
    let rest = rest.trim_ascii();
    let (url, protocol) = match memchr::memrchr(b' ', rest) {
        Some(space) => (&rest[..space], &rest[space + 1..]),
        None => (rest, &b""[..]),
    };
    request.protocol = present(protocol).unwrap_or_default();
    take_url(request, url);
}
