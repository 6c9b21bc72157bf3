//! People whose programs fetch their mail by POP3, now and then with a mistyped password first, and a monitor that
//! looks at the banner every few seconds and never logs in.

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::http::{dial, left};
use super::{Record, STACK_BYTES};
use crate::now;
use crate::plan::{ClientsPlan, MailPlan};
use crate::stats::Outcome;

/// Of a hundred fetches, those that begin with a mistyped password.
const MISTYPED_PERCENT: u8 = 2;
const MONITOR_EVERY: Duration = Duration::from_secs(3);

pub(super) fn run(plan: &ClientsPlan, mail: &MailPlan, record: Record) -> anyhow::Result<()> {
    let (record, patience) = (Arc::new(record), Duration::from_millis(plan.patience_ms));
    let (target, monitor, its) = (plan.target, mail.monitor, Arc::clone(&record));
    thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
        loop {
            thread::sleep(MONITOR_EVERY);
            told(&its, "monitor", monitor, || {
                let mut talk = Talk::open(monitor, target, Instant::now() + patience)?;
                talk.say("QUIT")
            });
        }
    })?;
    let mut rng = fastrand::Rng::new();
    loop {
        let pause = -(1.0 - rng.f64()).ln() / mail.fetches_per_s;
        thread::sleep(Duration::from_secs_f64(pause.min(5.0)));
        let Some((source, user, password)) = rng.choice(&mail.people).cloned() else { continue };
        let (record, mistyped) = (Arc::clone(&record), rng.u8(..100) < MISTYPED_PERCENT);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || {
            if mistyped {
                let deadline = Instant::now() + patience;
                let _ =
                    Talk::open(source, target, deadline).and_then(|mut talk| talk.login(&user, "pasword"));
            }
            let deadline = Instant::now() + patience;
            let talk = told(&record, "banner", source, || Talk::open(source, target, deadline));
            let Some(mut talk) = talk else { return };
            told(&record, "fetch", source, || {
                talk.login(&user, &password)?;
                talk.say("STAT")?;
                talk.say("QUIT")
            });
        })?;
    }
}

/// Does it and records how it went.
fn told<T>(record: &Record, kind: &str, client: Ipv4Addr, what: impl FnOnce() -> io::Result<T>) -> Option<T> {
    let (at, began) = (now(), Instant::now());
    let done = what().ok();
    record.push(&Outcome {
        at,
        ms: began.elapsed().as_millis() as u64,
        kind: kind.into(),
        status: if done.is_some() { 200 } else { 0 },
        ok: done.is_some(),
        client: client.to_string(),
        path: "pop3".into(),
    });
    done
}

/// One connection to a POP3 server whose banner has come (RFC 1939).
struct Talk {
    stream: BufReader<TcpStream>,
    deadline: Instant,
}

impl Talk {
    fn open(source: Ipv4Addr, target: SocketAddrV4, deadline: Instant) -> io::Result<Talk> {
        let mut talk = Talk { stream: BufReader::new(dial(source, target, deadline)?), deadline };
        talk.answer()?;
        Ok(talk)
    }

    fn login(&mut self, user: &str, password: &str) -> io::Result<()> {
        self.say(&format!("USER {user}"))?;
        self.say(&format!("PASS {password}"))
    }

    fn say(&mut self, words: &str) -> io::Result<()> {
        self.stream.get_ref().set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.get_mut().write_all(format!("{words}\r\n").as_bytes())?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<()> {
        self.stream.get_ref().set_read_timeout(Some(left(self.deadline)?))?;
        let mut line = Vec::new();
        self.stream.by_ref().take(512).read_until(b'\n', &mut line)?;
        if line.starts_with(b"+OK") { Ok(()) } else { Err(ErrorKind::ConnectionRefused.into()) }
    }
}
