//! The place where metrics are fetched: one page over HTTP/1.1, one request a connection, so many at once, so long each.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use toban_views::prometheus;

use super::Newest;
use super::request::{self, Asked, HEAD_BYTES_MAX};

/// Connections that are answered at once; others wait in the kernel's queue.
const AT_ONCE: usize = 4;
/// A request has to be here within so long, and an answer taken: who is slower holds a place that others need.
const REQUEST_FOR: Duration = Duration::from_secs(2);
const ANSWER_FOR: Duration = Duration::from_secs(5);
/// After an error that stays (no handles left), so that it is not met in a loop.
const PAUSE: Duration = Duration::from_millis(200);
const STACK_BYTES: usize = 256 << 10;

/// Begins to serve. The threads wait for connections as long as the process lives.
pub(super) fn start(address: SocketAddr, newest: &Newest) -> anyhow::Result<SocketAddr> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("could not serve metrics at {address}"))?;
    let bound = listener.local_addr().context("could not serve metrics")?;
    for _ in 0..AT_ONCE {
        let listener = listener.try_clone().context("could not serve metrics")?;
        let newest = newest.clone();
        std::thread::Builder::new()
            .name("toban-metrics".into())
            .stack_size(STACK_BYTES)
            .spawn(move || {
                loop {
                    match listener.accept() {
                        // Whoever goes away in the middle has no use for an error.
                        Ok((connection, _)) => drop(answer(connection, &newest)),
                        Err(_) => std::thread::sleep(PAUSE),
                    }
                }
            })
            .context("could not serve metrics")?;
    }
    Ok(bound)
}

fn answer(mut connection: TcpStream, newest: &Newest) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let (status, kind, body, with_body) = match head(&mut connection)? {
        Head::Whole(Asked::Metrics { format, body }) => {
            let moment = newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match moment {
                Some(moment) => {
                    ("200 OK", format.content_type(), prometheus::text(&moment.known(), format), body)
                }
                None => plain("503 Service Unavailable", "nothing is known yet\n"),
            }
        }
        Head::Whole(Asked::Elsewhere) => plain("404 Not Found", "there is only /metrics\n"),
        Head::Whole(Asked::Otherwise) => plain("405 Method Not Allowed", "only GET and HEAD\n"),
        Head::Whole(Asked::Garbage) => plain("400 Bad Request", "this is no HTTP/1.1 request\n"),
        Head::TooLong => plain("431 Request Header Fields Too Large", "the request is too long\n"),
        Head::TooSlow => plain("408 Request Timeout", "the request came too slowly\n"),
    };
    let allow = if status.starts_with("405") { "Allow: GET, HEAD\r\n" } else { "" };
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if with_body {
        bytes.extend_from_slice(body.as_bytes());
    }
    write(&mut connection, &bytes)?;
    connection.shutdown(std::net::Shutdown::Write)
}

fn plain(status: &'static str, text: &str) -> (&'static str, &'static str, String, bool) {
    (status, "text/plain; charset=utf-8", text.to_owned(), true)
}

enum Head {
    Whole(Asked),
    TooLong,
    TooSlow,
}

/// Reads up to the empty line. The time is for all of it: a byte now and then buys none.
fn head(connection: &mut TcpStream) -> io::Result<Head> {
    let until = Instant::now() + REQUEST_FOR;
    let mut bytes = [0; HEAD_BYTES_MAX];
    let mut len = 0;
    loop {
        if let Some(end) = request::end(&bytes[..len]) {
            return Ok(Head::Whole(request::read(&bytes[..end])));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Head::TooSlow);
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut bytes[len..]) {
            Ok(0) if len == HEAD_BYTES_MAX => return Ok(Head::TooLong),
            Ok(0) if len == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(0) => return Ok(Head::Whole(Asked::Garbage)),
            Ok(read) => len += read,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => return Ok(Head::TooSlow),
                _ => return Err(error),
            },
        }
    }
}

fn write(connection: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    let until = Instant::now() + ANSWER_FOR;
    while !bytes.is_empty() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connection.set_write_timeout(Some(left))?;
        match connection.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use toban_model::{ReadingKind, Time, Verdict};

    use super::super::Moment;
    use super::*;

    fn served() -> (SocketAddr, Newest) {
        let newest = Newest::default();
        (start("127.0.0.1:0".parse().unwrap(), &newest).unwrap(), newest)
    }

    fn moment() -> Arc<Moment> {
        let reading = toban_model::Reading {
            name: "memory.used".into(),
            value: 25.0,
            unit: "%".into(),
            kind: ReadingKind::Gauge,
        };
        Arc::new(Moment {
            at: Time::from_secs(1),
            host: "web1".into(),
            readings: vec![reading],
            vitals: Vec::new(),
            verdict: Verdict::Ok,
            findings: Vec::new(),
        })
    }

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.write_all(request).unwrap();
        let mut answer = Vec::new();
        // What was sent beyond the head may be refused when the answer has been read.
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn each_request_has_its_answer() {
        let (address, newest) = served();
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
        *newest.lock().unwrap() = Some(moment());
        let answer = ask(address, b"GET /metrics HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        assert!(body.contains("\ntoban_memory_used_ratio 0.25\n"), "{body}");
        let answer = ask(address, b"HEAD /metrics HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert!(ask(address, b"GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(address, b"DELETE /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(ask(address, b"\x16\x03\x01\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(ask(address, &[b'a'; HEAD_BYTES_MAX]).starts_with("HTTP/1.1 431 "));
    }

    /// More than there are places hold their connections without a word: others are answered all the same.
    #[test]
    fn who_says_nothing_keeps_nobody_out() {
        let (address, newest) = served();
        *newest.lock().unwrap() = Some(moment());
        let silent: Vec<TcpStream> = (0..AT_ONCE * 2).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
        for mut connection in silent {
            let mut answer = String::new();
            connection.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    }

    #[test]
    fn a_place_that_is_taken_is_said() {
        let (address, _) = served();
        let error = start(address, &Arc::new(Mutex::new(None))).unwrap_err();
        assert!(format!("{error:#}").contains(&address.to_string()), "{error:#}");
    }
}
