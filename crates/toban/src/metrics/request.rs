//! The head of an HTTP/1 request, as much of it as a place with one page needs. Whatever comes is answered; nothing of
//! it is believed.

use toban_views::prometheus::TextFormat;

/// What a head may be long: that of Prometheus is some 400 bytes.
pub(super) const HEAD_BYTES_MAX: usize = 8 << 10;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The metrics, or with HEAD only what they would be.
    Metrics { format: TextFormat, body: bool },
    /// Something that is not here.
    Elsewhere,
    /// Another method than GET and HEAD.
    Otherwise,
    /// No HTTP.
    Garbage,
}

/// Where the head ends, if all of it is there: behind the empty line.
pub(super) fn end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Reads a whole head.
pub(super) fn read(head: &[u8]) -> Asked {
    let Ok(head) = std::str::from_utf8(head) else { return Asked::Garbage };
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Asked::Garbage;
    };
    let is_token = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    if !is_token(method) || !target.starts_with('/') {
        return Asked::Garbage;
    }
    let mut format = TextFormat::Prometheus;
    for line in lines.filter(|line| !line.is_empty()) {
        let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_token(name)) else {
            return Asked::Garbage;
        };
        if name.eq_ignore_ascii_case("accept") && value.contains("application/openmetrics-text") {
            format = TextFormat::OpenMetrics;
        }
    }
    let body = match method {
        "GET" => true,
        "HEAD" => false,
        _ => return Asked::Otherwise,
    };
    match target.split('?').next() {
        Some("/metrics") => Asked::Metrics { format, body },
        _ => Asked::Elsewhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asked = Asked::Metrics { format: TextFormat::Prometheus, body: true };

    #[test]
    fn requests() {
        let check = |head: &str, expected: Asked| assert_eq!(read(head.as_bytes()), expected, "{head:?}");
        check("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", PLAIN);
        check("GET /metrics?name[]=x HTTP/1.0\r\n\r\n", PLAIN);
        check(
            "GET /metrics HTTP/1.1\r\naCCept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n\r\n",
            Asked::Metrics { format: TextFormat::OpenMetrics, body: true },
        );
        check(
            "HEAD /metrics HTTP/1.1\r\n\r\n",
            Asked::Metrics { format: TextFormat::Prometheus, body: false },
        );
        check("GET / HTTP/1.1\r\n\r\n", Asked::Elsewhere);
        check("GET /metrics/../x HTTP/1.1\r\n\r\n", Asked::Elsewhere);
        check("POST /metrics HTTP/1.1\r\n\r\n", Asked::Otherwise);
        for garbage in [
            "",
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET /metrics\r\n\r\n",
            "GET  /metrics HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/2\r\n\r\n",
            "GET /metrics HTTP/1.1 x\r\n\r\n",
            "GET metrics HTTP/1.1\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
            "GET /metrics HTTP/1.1\r\n : x\r\n\r\n",
            "G\0T /metrics HTTP/1.1\r\n\r\n",
            "\u{16}\u{3}\u{1}",
        ] {
            check(garbage, Asked::Garbage);
        }
        assert_eq!(read(b"GET /\xff HTTP/1.1\r\n\r\n"), Asked::Garbage);
    }

    /// A whole request, changed at every place to every byte, and cut everywhere, is read without a panic; only what
    /// still is that request is answered as one.
    #[test]
    fn what_is_changed_anywhere_does_no_harm() {
        let whole = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain\r\n\r\n";
        for at in 0..whole.len() {
            let cut = &whole[..at];
            assert!(end(cut).is_none());
            read(cut);
            for byte in 0..=255 {
                let mut changed = whole.to_vec();
                changed[at] = byte;
                if read(&changed) == PLAIN {
                    let other_version = at == 20 && byte == b'0';
                    assert!(at > 20 || changed == whole || other_version, "{}", changed.escape_ascii());
                }
            }
        }
    }
}
