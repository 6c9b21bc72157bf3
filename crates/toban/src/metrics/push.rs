//! Remote write 1.0: what is known now and then, sent to a store that takes it, in order. While it does not, moments wait
//! packed; when there are too many, the oldest go.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use toban_model::{Text, Time};
use toban_views::prometheus;

use super::Moment;
use crate::config::Url;

/// Moments that wait to be packed.
const HANDED_MAX: usize = 4;
/// What waits: an hour of moments fifteen seconds apart, at some 15 KiB each.
const WAITING_MAX: usize = 240;
const WAITING_BYTES_MAX: usize = 8 << 20;
/// What the store may take to answer.
const ANSWER_FOR: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 4 << 10;
/// Between tries: doubled each time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
const STACK_BYTES: usize = 512 << 10;

/// A running sender. It ends when this is dropped; what it waits for is not waited for.
pub(crate) struct Pusher {
    moments: SyncSender<Arc<Moment>>,
    every: Duration,
    put: Option<Time>,
    troubles: Arc<Mutex<Vec<Text>>>,
}

impl Pusher {
    pub(crate) fn start(url: Url, every: Duration) -> anyhow::Result<Pusher> {
        let (moments, taken) = sync_channel(HANDED_MAX);
        let troubles = Arc::<Mutex<Vec<Text>>>::default();
        let of_thread = troubles.clone();
        std::thread::Builder::new()
            .name("toban-push".into())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&url, &taken, &of_thread))
            .context("could not start to send metrics")?;
        Ok(Pusher { moments, every, put: None, troubles })
    }

    /// Has this moment sent if it is time for one. Never waits: where the sender is that far behind, it goes without.
    pub(super) fn put(&mut self, moment: &Arc<Moment>) {
        // A look comes a little early or late.
        let due = self.put.is_none_or(|put| {
            moment.at < put || moment.at.since(put) + Duration::from_millis(500) >= self.every
        });
        if due {
            self.put = Some(moment.at);
            drop(self.moments.try_send(moment.clone()));
        }
    }

    pub(super) fn troubles(&self) -> Vec<Text> {
        std::mem::take(&mut *self.troubles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What waits to be sent, the oldest first.
#[derive(Default)]
struct Waiting {
    requests: VecDeque<Vec<u8>>,
    bytes: usize,
    lost: u64,
}

impl Waiting {
    fn put(&mut self, request: Vec<u8>) {
        self.bytes += request.len();
        self.requests.push_back(request);
        while self.requests.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            self.take();
            self.lost += 1;
        }
    }

    fn take(&mut self) {
        self.bytes -= self.requests.pop_front().map_or(0, |request| request.len());
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Taken,
    /// It would be refused again.
    Refused(u16),
    /// It may be taken later, not before so long if the store says so.
    Later(String, Option<Duration>),
}

fn run(url: &Url, moments: &Receiver<Arc<Moment>>, troubles: &Mutex<Vec<Text>>) {
    let tell = |text: Text| troubles.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    let mut waiting = Waiting::default();
    let mut pause = PAUSE_MIN;
    let mut not_before = Instant::now();
    let (mut failing, mut refused) = (false, false);
    let to = format!("http://{}{}", url.host, url.path);
    loop {
        let wait = if waiting.requests.is_empty() {
            Duration::from_secs(3600)
        } else {
            not_before.saturating_duration_since(Instant::now())
        };
        match moments.recv_timeout(wait) {
            Ok(moment) => {
                let request = prometheus::write_request(&moment.known());
                if let Ok(packed) = snap::raw::Encoder::new().compress_vec(&request) {
                    waiting.put(packed);
                }
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let Some(request) = waiting.requests.front() else { continue };
        match send(url, request) {
            Outcome::Taken => {
                waiting.take();
                pause = PAUSE_MIN;
                if std::mem::take(&mut failing) {
                    let lost = waiting.lost;
                    tell(Text::new(
                        format!("metrics are sent to {to} again; {lost} moments were lost"),
                        format!("{to} へのメトリクス送信を再開しました。失われた時点は {lost} 件です"),
                    ));
                }
            }
            Outcome::Refused(status) => {
                waiting.take();
                waiting.lost += 1;
                if !std::mem::replace(&mut refused, true) {
                    tell(Text::new(
                        format!("{to} refuses metrics with status {status}; they are not sent again"),
                        format!("{to} がメトリクスをステータス {status} で拒否しました。再送はしません"),
                    ));
                }
            }
            Outcome::Later(why, asked) => {
                not_before = Instant::now() + asked.unwrap_or(pause).clamp(PAUSE_MIN, PAUSE_MAX);
                pause = (pause * 2).min(PAUSE_MAX);
                if !std::mem::replace(&mut failing, true) {
                    tell(Text::new(
                        format!("metrics wait to be sent to {to}: {why}"),
                        format!("{to} に送信できず、メトリクスの送信を待っています: {why}"),
                    ));
                }
            }
        }
    }
}

fn send(url: &Url, request: &[u8]) -> Outcome {
    match exchange(url, request) {
        Ok(head) => judge(&head),
        Err(error) => Outcome::Later(error.to_string(), None),
    }
}

/// Sends a request; returns the beginning of the answer.
fn exchange(url: &Url, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in url.host.to_socket_addrs()? {
        let mut connection = match TcpStream::connect_timeout(&address, ANSWER_FOR) {
            Ok(connection) => connection,
            Err(error) => {
                last = error;
                continue;
            }
        };
        connection.set_read_timeout(Some(ANSWER_FOR))?;
        connection.set_write_timeout(Some(ANSWER_FOR))?;
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: toban/{}\r\nContent-Type: application/x-protobuf\r\n\
             Content-Encoding: snappy\r\nX-Prometheus-Remote-Write-Version: 0.1.0\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            url.path,
            url.host,
            env!("CARGO_PKG_VERSION"),
            request.len()
        );
        connection.write_all(head.as_bytes())?;
        connection.write_all(request)?;
        let mut answer = Vec::new();
        let until = Instant::now() + ANSWER_FOR;
        let mut limited = connection.take(ANSWER_BYTES_MAX);
        let mut part = [0; 512];
        while memchr::memmem::find(&answer, b"\r\n\r\n").is_none() && Instant::now() < until {
            match limited.read(&mut part)? {
                0 => break,
                read => answer.extend_from_slice(&part[..read]),
            }
        }
        return Ok(answer);
    }
    Err(last)
}

/// What the specification says of an answer: 2xx is taken, 5xx and 429 may be tried again, all else must not be.
fn judge(head: &[u8]) -> Outcome {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let speaks = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    let status = words.next().and_then(|status| status.parse::<u16>().ok()).filter(|_| speaks);
    match status {
        Some(200..=299) => Outcome::Taken,
        Some(429 | 500..=599) => {
            let after = lines.find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("retry-after").then(|| value.trim().parse().ok())?
            });
            let status = status.unwrap_or_default();
            Outcome::Later(format!("status {status}"), after.map(Duration::from_secs))
        }
        Some(status) => Outcome::Refused(status),
        None => Outcome::Later("the answer is no HTTP".to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use toban_model::{Reading, ReadingKind, Verdict};

    use super::*;

    fn moment(second: i64) -> Arc<Moment> {
        let reading = Reading {
            name: "load.1".into(),
            value: second as f64,
            unit: "".into(),
            kind: ReadingKind::Gauge,
        };
        Arc::new(Moment {
            at: Time::from_secs(second),
            host: "web1".into(),
            readings: vec![reading],
            vitals: Vec::new(),
            verdict: Verdict::Ok,
            findings: Vec::new(),
        })
    }

    #[test]
    fn answers() {
        let check = |head: &str, expected: Outcome| assert_eq!(judge(head.as_bytes()), expected, "{head}");
        check("HTTP/1.1 204 No Content\r\n\r\n", Outcome::Taken);
        check("HTTP/1.1 400 Bad Request\r\n\r\n", Outcome::Refused(400));
        check("HTTP/1.1 307 Temporary Redirect\r\n\r\n", Outcome::Refused(307));
        check("HTTP/1.1 503 x\r\n\r\n", Outcome::Later("status 503".into(), None));
        check(
            "HTTP/1.1 429 x\r\nretry-AFTER: 7\r\n\r\n",
            Outcome::Later("status 429".into(), Some(Duration::from_secs(7))),
        );
        for strange in ["", "\0", "SSH-2.0-x\r\n", "HTTP/1.1", "HTTP/1.1 x"] {
            check(strange, Outcome::Later("the answer is no HTTP".into(), None));
        }
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_stay() {
        let mut waiting = Waiting::default();
        for nth in 0..1000u32 {
            waiting.put(nth.to_le_bytes().repeat(100));
        }
        assert_eq!((waiting.requests.len(), waiting.lost), (WAITING_MAX, 760));
        assert_eq!(waiting.requests.front().unwrap()[..4], 760u32.to_le_bytes());
        waiting.put(vec![0; WAITING_BYTES_MAX]);
        assert_eq!((waiting.requests.len(), waiting.bytes), (1, WAITING_BYTES_MAX));
    }

    #[test]
    fn a_moment_is_put_when_it_is_time() {
        let (moments, taken) = sync_channel(HANDED_MAX);
        let every = Duration::from_secs(15);
        let mut pusher = Pusher { moments, every, put: None, troubles: Arc::default() };
        (0..31).for_each(|second| pusher.put(&moment(second)));
        let put: Vec<i64> = taken.try_iter().map(|moment| moment.at.as_secs()).collect();
        assert_eq!(put, [0, 15, 30]);
        // Nobody takes them: the agent does not wait.
        (31..3600).for_each(|second| pusher.put(&moment(second)));
        assert_eq!(taken.try_iter().count(), HANDED_MAX);
    }

    /// A store that is away, then overloaded, then well has every moment, each once and in order.
    #[test]
    fn what_is_not_taken_is_sent_again() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = Url { host: listener.local_addr().unwrap().to_string(), path: "/w".into() };
        let mut pusher = Pusher::start(url, Duration::from_secs(1)).unwrap();
        (1..=3).for_each(|second| pusher.put(&moment(second)));
        let mut bodies = Vec::new();
        for nth in 0..5 {
            let (mut connection, _) = listener.accept().unwrap();
            // The first one is broken off.
            if nth == 0 {
                continue;
            }
            let mut bytes = Vec::new();
            let mut part = [0; 4096];
            let body = loop {
                let read = connection.read(&mut part).unwrap();
                bytes.extend_from_slice(&part[..read]);
                let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") else { continue };
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                if bytes.len() >= end + 4 + len.parse::<usize>().unwrap() {
                    assert!(
                        head.starts_with("POST /w HTTP/1.1\r\n")
                            && head.contains("\r\nContent-Encoding: snappy\r\n")
                    );
                    break bytes[end + 4..].to_vec();
                }
            };
            let status: &[u8] = if nth == 1 { b"HTTP/1.1 503 x\r\n\r\n" } else { b"HTTP/1.1 204 x\r\n\r\n" };
            connection.write_all(status).unwrap();
            if nth > 1 {
                bodies.push(snap::raw::Decoder::new().decompress_vec(&body).unwrap());
            }
        }
        let expected: Vec<Vec<u8>> =
            (1..=3).map(|second| prometheus::write_request(&moment(second).known())).collect();
        assert_eq!(bodies, expected);
        assert!(pusher.troubles()[0].en.contains("metrics wait"));
    }
}
