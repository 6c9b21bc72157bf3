//! The slow look at what may have failed, in a thread of its own: a disk, a log or a name server may not answer, and
//! nobody waits for them longer than they want to.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use toban_collect::inspect::Pulses;
use toban_collect::sockets::Socket;
use toban_collect::{Root, discover, inspect};
use toban_detect::Watch;
use toban_model::{
    Certificate, Edited, Host, Inspection, KnownServer, LifeLine, LifeWord, LogDialect, LogRole, LogSource,
    ResolverLook, ServerLook, Supervisor, Time,
};
use toban_parse::{Clock, Format, Spokesman, life_line, life_word, shown, unit_word};

use crate::clock;
use crate::flow::lines_of;

/// What may have failed is looked at this often, and this often while something is gone.
const EVERY: Duration = Duration::from_secs(10);
const GONE_EVERY: Duration = Duration::from_secs(2);
/// A name server is given so long to answer.
const DNS_WAIT: Duration = Duration::from_secs(1);
/// And is asked no more often than this.
const DNS_EVERY: Duration = Duration::from_secs(30);
/// As many name servers as glibc takes from resolv.conf(5).
const RESOLVERS_MAX: usize = 3;
/// Certificates change seldom.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(3600);
/// Changes of configuration files that are of interest.
const EDITED_WITHIN: Duration = Duration::from_secs(86_400);
const EDITED_MAX: usize = 8;
/// A message of two lines is written at once.
const GOES_ON_WITHIN: Duration = Duration::from_secs(2);

/// What a look is asked for.
struct Question {
    /// Servers that were seen and are gone.
    missing: Vec<KnownServer>,
}

/// What a look found.
struct Answer {
    /// What runs here: found anyway, and as costly as all the rest.
    host: Host,
    inspection: Inspection,
}

/// The thread that looks.
pub(crate) struct Inspector {
    questions: Sender<Question>,
    answers: Receiver<Answer>,
    asked: Option<Instant>,
    waiting: bool,
    pulses: Pulses,
}

impl Inspector {
    /// Starts the thread. It ends when this is dropped; what it asks may never answer, so it is not waited for.
    pub(crate) fn start(root: Root, clock: Clock) -> Inspector {
        let (questions, asked) = channel::<Question>();
        let (answer, answers) = channel();
        let run = move || {
            let mut eyes = Eyes::new(root, clock);
            for question in asked {
                if answer.send(eyes.look(question.missing)).is_err() {
                    break;
                }
            }
        };
        // Without a thread nothing is told of failures, and all else is.
        let _ = std::thread::Builder::new().name("toban-inspect".into()).spawn(run);
        Inspector { questions, answers, asked: None, waiting: false, pulses: Pulses::default() }
    }

    /// Looks whether the servers live, takes what the slow look has found, and asks for the next one. Returns the host
    /// when it was looked at anew.
    pub(crate) fn look(
        &mut self,
        root: &Root,
        watch: &mut Watch,
        listeners: &[Socket],
        now: Time,
    ) -> Option<Host> {
        let pulses = self.pulses.take(root, &watch.host().services, listeners);
        let gone = pulses.iter().any(|pulse| !pulse.lives);
        watch.pulse(now, pulses);
        let host = self.answer(Duration::ZERO).map(|found| {
            watch.inspect(found.inspection);
            found.host
        });
        let missing = watch.missing();
        let gone = gone || watch.standing().misses_upstream();
        let every = if gone || !missing.is_empty() { GONE_EVERY } else { EVERY };
        self.ask(missing, every);
        host
    }

    /// Waits for the look that was asked for, and for a second one: what is gone in one alone was being restarted.
    /// Whether both came.
    pub(crate) fn finish(&mut self, watch: &mut Watch, deadline: Instant) -> bool {
        for _ in 0..2 {
            self.ask(watch.missing(), Duration::ZERO);
            let Some(found) = self.answer(deadline.saturating_duration_since(Instant::now())) else {
                return false;
            };
            watch.inspect(found.inspection);
        }
        true
    }

    /// Asks for a look unless one is under way or the last was asked for less than `every` ago.
    fn ask(&mut self, missing: Vec<KnownServer>, every: Duration) {
        if self.waiting || self.asked.is_some_and(|asked| asked.elapsed() < every) {
            return;
        }
        self.waiting = self.questions.send(Question { missing }).is_ok();
        self.asked = Some(Instant::now());
    }

    /// What was found since, waiting at most so long for it.
    fn answer(&mut self, wait: Duration) -> Option<Answer> {
        if !self.waiting {
            return None;
        }
        let answer = self.answers.recv_timeout(wait).ok()?;
        self.waiting = false;
        Some(answer)
    }
}

/// What the thread remembers from look to look.
struct Eyes {
    root: Root,
    seen: discover::Seen,
    clock: Clock,
    certificates: Vec<Certificate>,
    read_certificates: Option<(Instant, Vec<PathBuf>)>,
    asked_names: Option<Instant>,
}

impl Eyes {
    fn new(root: Root, clock: Clock) -> Eyes {
        let seen = discover::Seen::default();
        Eyes { root, seen, clock, certificates: Vec::new(), read_certificates: None, asked_names: None }
    }

    fn look(&mut self, missing: Vec<KnownServer>) -> Answer {
        let at = clock::now();
        self.clock.now = at;
        let (host, processes) = discover::look(&self.root, &mut self.seen);
        let resolvers = self.resolvers(&host);
        let mut all = inspect::known_servers(&self.root, &host);
        for gone in missing {
            if !all.iter().any(|known| known.service == gone.service) {
                all.push(KnownServer {
                    enabled: inspect::known::enabled(&self.root, &gone.supervisor),
                    ..gone
                });
            }
        }
        let mut servers: Vec<ServerLook> = all
            .into_iter()
            .map(|known| {
                let running = inspect::known::running_since(&self.root, &known, host.boot, &processes);
                let running_since = running.or_else(|| served(&host, &known).then_some(host.boot));
                let edited = edited(&self.root, &known, at);
                ServerLook { known, running_since, words: Vec::new(), edited }
            })
            .collect();
        self.listen(&mut servers);
        self.read_certificates(&servers);
        let inspection = Inspection {
            at,
            maintenance: inspect::runs_maintenance(&processes),
            upstreams: inspect::upstreams(&self.root, &host),
            resolvers,
            links: inspect::links(&self.root),
            gateways: inspect::gateways(&self.root),
            certificates: self.certificates.clone(),
            servers,
        };
        Answer { host, inspection }
    }

    fn resolvers(&mut self, host: &Host) -> Vec<ResolverLook> {
        if self.asked_names.is_some_and(|asked| asked.elapsed() < DNS_EVERY) {
            return Vec::new();
        }
        self.asked_names = Some(Instant::now());
        let link_local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let resolvers: Vec<IpAddr> =
            host.resolvers.iter().copied().filter(|r| !link_local(r)).take(RESOLVERS_MAX).collect();
        // Before toban's own questions are among them.
        let waiting = inspect::waiting(&self.root, &resolvers);
        let asking: Vec<_> = resolvers
            .iter()
            .map(|address| {
                let address = *address;
                std::thread::spawn(move || inspect::ask(address, DNS_WAIT))
            })
            .collect();
        resolvers
            .into_iter()
            .zip(waiting)
            .zip(asking)
            .filter_map(|((address, waiting), asked)| {
                Some(ResolverLook { address, asked: asked.join().ok()?, waiting })
            })
            .collect()
    }

    /// What was said of the servers that do not run, or whose configuration was changed while they run.
    fn listen(&self, servers: &mut [ServerLook]) {
        let wanted = |look: &ServerLook| {
            look.known.enabled != Some(false) && (look.running_since.is_none() || !look.edited.is_empty())
        };
        if !servers.iter().any(wanted) {
            return;
        }
        for path in inspect::spoken_logs(&self.root) {
            let Ok(bytes) = inspect::last_lines(&self.root, &path) else { continue };
            self.listen_to(&path, &bytes, servers);
        }
        for look in servers.iter_mut().filter(|look| wanted(look)) {
            for path in look.known.logs.clone() {
                let Ok(bytes) = inspect::last_lines(&self.root, &path) else { continue };
                let Some(mut format) = error_format(&look.known, &path, &bytes, &self.clock) else {
                    continue;
                };
                let source = path.display().to_string();
                for line in lines_of(&bytes) {
                    let program = look.known.service.as_str();
                    if let Some(line) = life_line(&mut format, program, line, &source) {
                        look.words.push(line);
                    }
                }
            }
            look.words.sort_by_key(|line| line.at);
            keep_what_matters(&mut look.words);
        }
    }

    fn listen_to(&self, path: &Path, bytes: &[u8], servers: &mut [ServerLook]) {
        let mut reader = Spokesman::new(&self.clock);
        let source = path.display().to_string();
        let mut last: HashMap<usize, (Time, bool)> = HashMap::new();
        for line in lines_of(bytes) {
            let Some(spoken) = reader.read(line) else { continue };
            let Some(at) = spoken.at else { continue };
            for (n, look) in servers.iter_mut().enumerate() {
                let of_unit = match &look.known.supervisor {
                    Supervisor::Systemd(unit) if spoken.program == b"systemd" => {
                        unit_word(spoken.text).filter(|(name, _)| name == unit)
                    }
                    _ => None,
                };
                let own = is_of(spoken.program, &look.known);
                let word = match of_unit {
                    Some((_, word)) => word,
                    None if own => life_word(spoken.program, spoken.text),
                    None => continue,
                };
                // What is wrong stands in the line behind the one that says where.
                if let (LifeWord::Other, Some((said, true)), Some(complaint)) =
                    (&word, last.get(&n), look.words.last_mut())
                    && at.since(*said) <= GOES_ON_WITHIN
                {
                    complaint.text = shown(format!("{} {}", complaint.text, shown(spoken.text)).as_bytes());
                    last.remove(&n);
                    continue;
                }
                last.insert(n, (at, matches!(word, LifeWord::Complaint { .. })));
                look.words.push(LifeLine { at, word, text: shown(spoken.text), source: source.clone() });
            }
        }
    }

    fn read_certificates(&mut self, servers: &[ServerLook]) {
        let in_use: Vec<&KnownServer> = servers
            .iter()
            .filter(|look| {
                look.running_since.is_some() || look.words.iter().any(|w| w.word != LifeWord::Other)
            })
            .filter(|look| look.known.enabled != Some(false) || look.running_since.is_some())
            .map(|look| &look.known)
            .collect();
        let files: Vec<PathBuf> = in_use.iter().flat_map(|known| known.config.clone()).collect();
        let fresh = self
            .read_certificates
            .as_ref()
            .is_some_and(|(read, of)| read.elapsed() < CERTIFICATES_EVERY && *of == files);
        if !fresh {
            self.certificates = inspect::certificates(&self.root, &in_use);
            self.read_certificates = Some((Instant::now(), files));
        }
    }
}

/// The lines that tell of its life, and those right before the last of them.
fn keep_what_matters(words: &mut Vec<LifeLine>) {
    const BESIDE: usize = 6;
    let len = words.len();
    let mut n = 0;
    words.retain(|line| {
        n += 1;
        line.word != LifeWord::Other || n + BESIDE > len
    });
    let too_many = words.len().saturating_sub(ServerLook::WORDS_MAX);
    words.drain(..too_many);
}

/// Somebody listens in its place.
fn served(host: &Host, known: &KnownServer) -> bool {
    let ports: Vec<u16> = known.listens.iter().map(|listen| listen.port()).collect();
    host.services.iter().any(|service| {
        service.listens.iter().any(|listen| ports.contains(&listen.port()))
            || service.listens_unix.iter().any(|path| known.listens_unix.contains(path))
    })
}

/// Whether a program of syslog is this server, or a part of it.
fn is_of(program: &[u8], known: &KnownServer) -> bool {
    let Ok(program) = std::str::from_utf8(program) else { return false };
    let exe = known.exe.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    match known.service.as_str() {
        _ if program == exe => true,
        "apache" => matches!(program, "apachectl" | "apache2ctl" | "apache2" | "httpd"),
        "dovecot" => program == "doveconf",
        "postfix" => matches!(program, "postfix/master" | "postfix/postfix-script" | "postfix" | "postconf"),
        "mariadbd" | "mysqld" => matches!(program, "mariadbd" | "mysqld" | "mysqld_safe"),
        _ => false,
    }
}

fn error_format(known: &KnownServer, path: &Path, bytes: &[u8], clock: &Clock) -> Option<Format> {
    use toban_model::ServiceKind::{Apache, Nginx, PhpFpm};
    let dialect = match known.kind {
        Apache => LogDialect::Apache,
        Nginx => LogDialect::Nginx,
        PhpFpm => LogDialect::PhpFpm,
        _ => {
            let first: Vec<&[u8]> = lines_of(bytes).take(crate::flow::SNIFFED_LINES).collect();
            return toban_parse::sniff(&first, clock);
        }
    };
    let source =
        LogSource { path: path.into(), role: LogRole::Error, dialect, format: None, remoteip: false };
    Format::from_source(&source, clock).and_then(Result::ok)
}

/// The configuration files that were changed lately, the newest first.
fn edited(root: &Root, known: &KnownServer, at: Time) -> Vec<Edited> {
    let mut edited: Vec<Edited> = known
        .config
        .iter()
        .filter_map(|path| {
            let changed = std::fs::metadata(root.at(path)).ok()?.modified().ok()?;
            let changed = changed.duration_since(std::time::UNIX_EPOCH).ok()?;
            let changed = Time::from_micros(i64::try_from(changed.as_micros()).ok()?);
            (at.since(changed) <= EDITED_WITHIN).then(|| Edited { path: path.clone(), at: changed })
        })
        .collect();
    edited.sort_by_key(|edit| std::cmp::Reverse(edit.at));
    edited.truncate(EDITED_MAX);
    edited
}
