//! The one line of flow: host and logs in, a closed [`Situation`] out. The agent, `toban why` without an agent, past
//! moments and log files alone differ only in what is fed in here.

mod looks;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use toban_collect::history::Wanted;
use toban_collect::kernel::KernelLog;
use toban_collect::servers::ViewState;
use toban_collect::tail::{LogId, Position, Start, Tailer};
use toban_collect::{Root, Sampler, discover, history};
use toban_detect::{Part, Watch};
use toban_model::event::{Event, KernelWord};
use toban_model::{Host, LogDialect, LogRole, LogSource, Situation, Text, Time};
use toban_parse::{Clock, Format, sniff};

use crate::cli::LogArg;
use crate::config::Config;
use crate::holdings::Looks;
use crate::inspector::Inspector;
use crate::meter;

/// Each thread that reads a log's past has a census of its own, some 10 MiB. Where processors are short there is one.
const THREADS_MAX: usize = 2;
/// Lines that did not fit and are shown.
const MISFITS_SHOWN: usize = 3;
/// How long log files alone are read: the answer comes within ten seconds.
const LOGS_FOR: Duration = Duration::from_secs(8);
/// Lines that a format is found from.
pub(crate) const SNIFFED_LINES: usize = 200;
/// Where servers log when nobody has the file open: a mounted disk, a stopped server.
const STOCK_LOGS: &[(&str, LogRole)] = &[
    ("/var/log/apache2/access.log", LogRole::Access),
    ("/var/log/apache2/other_vhosts_access.log", LogRole::Access),
    ("/var/log/apache2/error.log", LogRole::Error),
    ("/var/log/httpd/access_log", LogRole::Access),
    ("/var/log/httpd/error_log", LogRole::Error),
    ("/var/log/nginx/access.log", LogRole::Access),
    ("/var/log/nginx/error.log", LogRole::Error),
];

/// One log that is read, and what became of its lines.
pub(crate) struct Reader {
    pub(crate) path: PathBuf,
    service: String,
    format: Option<Format>,
    pub(crate) lines: u64,
    pub(crate) misfits: u64,
    first_misfits: Vec<String>,
    /// From when on it was read without a gap, from how many files, and whether time cut it short.
    since: Option<Time>,
    files: usize,
    cut: bool,
    /// Whether it tells of requests, by which the usual is known.
    requests: bool,
    /// It is a log of many programs, of which the web servers' and the kernel's are read elsewhere.
    of_services: bool,
}

impl Reader {
    fn new(service: &str, path: &Path, format: Option<Format>) -> Reader {
        Reader {
            path: path.to_owned(),
            service: service.to_owned(),
            format,
            lines: 0,
            misfits: 0,
            first_misfits: Vec::new(),
            since: None,
            files: 0,
            cut: false,
            requests: false,
            of_services: false,
        }
    }

    /// Which format it took, and what did not fit.
    pub(crate) fn describe(&self) -> Text {
        let format = self.format.as_ref().map_or_else(|| "?".to_owned(), Format::describe);
        let path = self.path.display();
        let (lines, misfits) = (toban_views::count(self.lines), toban_views::count(self.misfits));
        let (mut files_en, mut files_ja) = (String::new(), String::new());
        if self.files > 1 {
            files_en = format!(" of {} files", self.files);
            files_ja = format!("{} ファイル、", self.files);
        }
        let examples: String = self.first_misfits.iter().map(|line| format!("\n    {line}")).collect();
        Text::new(
            format!("{path}: {format}; {lines} lines{files_en}, {misfits} did not fit{examples}"),
            format!(
                "{path}: {format}。{files_ja}{lines} 行のうち {misfits} 行は形式に合いませんでした{examples}"
            ),
        )
    }

    fn misfit(&mut self, line: &[u8]) {
        self.misfits += 1;
        if self.first_misfits.len() < MISFITS_SHOWN {
            self.first_misfits.push(shown(line));
        }
    }
}

/// Everything that is fed in, and the watch that it is fed into.
pub(crate) struct Flow {
    root: Root,
    clock: Clock,
    configured: Vec<LogSource>,
    kernel_path: Option<PathBuf>,
    pub(crate) watch: Watch,
    pub(crate) holdings: Looks,
    /// Of a host that nobody samples for this one.
    sampler: Option<Sampler>,
    views: ViewState,
    readers: Vec<Reader>,
    tailer: Tailer,
    by_log: HashMap<LogId, usize>,
    kernel: Option<(KernelLog, Format)>,
    /// Of this host as it is now alone.
    pub(crate) inspector: Option<Inspector>,
    /// Nothing after this moment is taken in: a past moment is judged by what was known then.
    until: Option<Time>,
    /// What the reader of an answer should know.
    pub(crate) notes: Vec<Text>,
    /// Told how far a long reading is.
    progress: Option<Arc<history::Progress>>,
}

impl Flow {
    /// Looks at a host: this one, or a mounted disk.
    pub(crate) fn host(root: Root, config: &Config, zone: TimeZone, now: Time, until: Option<Time>) -> Flow {
        let mut host = discover(&root);
        if host.services.iter().all(|s| s.logs.is_empty()) {
            host.blind.push("no running server has a log open; the stock places are read".into());
        }
        let configured = config
            .logs
            .files
            .iter()
            .map(|file| LogSource {
                path: file.path.clone(),
                role: LogRole::Access,
                dialect: dialect_of(file.format.as_deref()),
                format: file.format.clone(),
                remoteip: false,
            })
            .collect();
        let kernel_path = config.kernel.log.clone().or_else(|| host.kernel_logs.first().cloned());
        let clock = Clock { now, zone };
        let inspector =
            (root.is_live() && until.is_none()).then(|| Inspector::start(root.clone(), clock.clone()));
        Flow { configured, kernel_path, inspector, ..Flow::new(root, host, config, clock, until) }
    }

    /// Judges log files alone.
    pub(crate) fn logs(
        logs: &[LogArg],
        config: &Config,
        zone: TimeZone,
        now: Time,
        until: Option<Time>,
    ) -> anyhow::Result<Flow> {
        let name = logs.first().map(|l| l.path.display().to_string()).unwrap_or_default();
        let mut host = Host { name, cores: 1, ..Host::default() };
        host.blind.push("only log files were given: sockets, processes and vitals are not known".into());
        let mut flow = Flow::new(Root::host(), host, config, Clock { now, zone }, until);
        for log in logs {
            let format = match &log.format {
                Some(text) => Some(
                    Format::from_name_or_string(text, &flow.clock)
                        .map_err(|e| anyhow::anyhow!("--log {}: {e}", log.path.display()))?,
                ),
                None => None,
            };
            let path = std::path::absolute(&log.path).unwrap_or_else(|_| log.path.clone());
            flow.readers.push(Reader::new("web", &path, format));
        }
        let deadline = Instant::now() + LOGS_FOR;
        flow.watched(|flow| {
            let all = flow.readers.len();
            (0..all).try_for_each(|reader| flow.read_past(reader, share(deadline, all - reader)).map(|_| ()))
        })?;
        if let Some(unknown) = flow.readers.iter().find(|r| r.lines > 0 && r.misfits == r.lines) {
            let path = unknown.path.display();
            let example = unknown.first_misfits.first().map_or("", String::as_str);
            anyhow::bail!(
                "{path}: none of its lines fits a known format; say which with --log {path}=FORMAT. It begins: {example}"
            );
        }
        flow.notes = flow.readers.iter().map(Reader::describe).collect();
        Ok(flow)
    }

    fn new(root: Root, host: Host, config: &Config, clock: Clock, until: Option<Time>) -> Flow {
        Flow {
            clock,
            configured: Vec::new(),
            kernel_path: None,
            watch: Watch::new(host, config.proxy.trusted.clone()),
            holdings: Looks::default(),
            sampler: None,
            views: ViewState::new(),
            readers: Vec::new(),
            tailer: Tailer::new(root.clone()),
            by_log: HashMap::new(),
            kernel: None,
            inspector: None,
            root,
            until,
            notes: Vec::new(),
            progress: None,
        }
    }

    /// The logs that are to be read on this host, each once, with the service that they belong to.
    pub(crate) fn sources(&self) -> Vec<(String, LogSource)> {
        let host = self.watch.host();
        let mut all: Vec<(String, LogSource)> = Vec::new();
        let found = host.services.iter().flat_map(|s| s.logs.iter().map(|l| (s.id.clone(), l.clone())));
        let web = host
            .services
            .iter()
            .find(|s| matches!(s.kind, toban_model::ServiceKind::Apache | toban_model::ServiceKind::Nginx))
            .map_or("web", |s| s.id.as_str());
        let configured = self.configured.iter().map(|l| (web.to_owned(), l.clone()));
        let nothing = host.services.iter().all(|s| s.logs.is_empty());
        let stock = STOCK_LOGS.iter().filter(|_| nothing).map(|(path, role)| {
            let dialect = if path.contains("nginx") { LogDialect::Nginx } else { LogDialect::Apache };
            let service = if path.contains("nginx") { "nginx" } else { "apache" };
            let source = LogSource { path: path.into(), role: *role, dialect, format: None, remoteip: false };
            (service.to_owned(), source)
        });
        let said = host.service_logs.iter().map(|l| ("services".to_owned(), l.clone()));
        for (service, source) in configured.chain(found).chain(stock).chain(said) {
            // php-fpm's slow log tells of requests that have not ended, and tells nobody's address.
            let slow = source.format.as_deref() == Some(discover::php_fpm::SLOW_LOG_FORMAT);
            if source.role != LogRole::Kernel
                && !slow
                && !all.iter().any(|(_, known)| known.path == source.path)
            {
                all.push((service, source));
            }
        }
        all
    }

    /// Reads what is on disk, the newest first, and begins to follow. What cannot be read is noted, not fatal.
    pub(crate) fn read_history(&mut self, deadline: Instant) {
        let mut sources = self.sources();
        // What servers complain of is little, and tells much.
        sources.sort_by_key(|(_, source)| source.role == LogRole::Access);
        self.watched(|flow| {
            let all = sources.len();
            for (at, (service, source)) in sources.iter().enumerate() {
                flow.begin(service, source, share(deadline, all - at));
            }
        });
        self.open_kernel();
    }

    /// Reads with a bar on the terminal that shows how far it is.
    fn watched<T>(&mut self, read: impl FnOnce(&mut Flow) -> T) -> T {
        let progress = Arc::new(history::Progress::default());
        self.progress = Some(progress.clone());
        let result = meter::during(&progress, || read(self));
        self.progress = None;
        result
    }

    fn begin(&mut self, service: &str, source: &LogSource, deadline: Instant) {
        let reader = self.readers.len();
        let format = Format::from_source(source, &self.clock).and_then(Result::ok);
        let of_services = source.role == LogRole::Service;
        self.readers.push(Reader { of_services, ..Reader::new(service, &source.path, format) });
        let start = match self.read_past(reader, deadline) {
            // Cut off for want of time: what is missed is less harm than what would be read twice.
            Ok(position) => position.map_or(Start::End, Start::At),
            Err(error) => {
                // A stock place that is empty is no news.
                if !matches!(&error, toban_collect::Error::Missing { .. }) {
                    let at = source.path.display();
                    self.notes.push(Text::new(
                        format!("could not read {at}: {error}"),
                        format!("{at} を読めませんでした: {error}"),
                    ));
                    return;
                }
                Start::Beginning
            }
        };
        if let Ok(id) = self.tailer.add(&source.path, start) {
            self.by_log.insert(id, reader);
        }
    }

    /// Reads a log's past until the deadline. Returns where following begins.
    fn read_past(
        &mut self,
        reader: usize,
        deadline: Instant,
    ) -> Result<Option<Position>, toban_collect::Error> {
        let path = self.readers[reader].path.clone();
        let root = self.root.clone();
        let now = self.clock.now;
        let sample = history::sample(&root, &path)?;
        self.find_format(reader, &sample);
        let Reader { service, format, .. } = &self.readers[reader];
        let dated = RefCell::new(format.clone());
        let time_of = |line: &[u8]| time_of(dated.borrow_mut().as_mut()?, line);
        let newest = lines_of(&sample).filter_map(time_of).max();
        let requests = format.as_ref().is_some_and(|format| tells_of_requests(&mut format.clone(), &sample));
        let progress = self.progress.clone();
        let wanted = Wanted {
            deadline: Some(deadline),
            time_of: &time_of,
            progress: progress.as_deref(),
            ..Wanted::default()
        };
        let report = match (format, newest) {
            (Some(format), Some(newest)) if requests && !format.leans_on_earlier_lines() => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let busy = self.watch.vital("load.1").is_some_and(|load| load >= cores as f64);
                let threads = if busy { 1 } else { cores.min(THREADS_MAX) };
                let long_ago = newest - Part::FRESH_FOR;
                let mut workers: Vec<Worker> =
                    (0..threads).map(|_| Worker::new(self.watch.part(service), format)).collect();
                let shared = Mutex::new(&mut self.watch);
                let until = self.until;
                let report = history::read(&root, &path, &wanted, &mut workers, |worker, chunk| {
                    worker.take(&shared, chunk.bytes, long_ago, until, service);
                    ControlFlow::Continue(())
                })?;
                let reader = &mut self.readers[reader];
                for worker in workers {
                    self.watch.absorb(worker.part);
                    reader.lines += worker.lines;
                    reader.misfits += worker.misfits;
                    reader.first_misfits.extend(worker.first_misfits);
                }
                reader.first_misfits.truncate(MISFITS_SHOWN);
                report
            }
            _ => {
                let mut workers = [(&mut *self, None)];
                let report = history::read(&root, &path, &wanted, &mut workers, |(flow, end), chunk| {
                    // What does not follow on from the one before is of an earlier time, and continues no record.
                    if *end != Some((chunk.file, chunk.offset)) {
                        flow.begin_anew(reader);
                    }
                    flow.take_chunk(reader, chunk.bytes, now);
                    *end = Some((chunk.file, chunk.offset + chunk.bytes.len() as u64));
                    ControlFlow::Continue(())
                })?;
                self.begin_anew(reader);
                report
            }
        };
        for file in report.files.iter().filter(|f| f.problem.is_some()) {
            let problem = file.problem.as_deref().unwrap_or_default();
            let at = file.path.display();
            self.notes.push(Text::new(
                format!("could not read all of {at}: {problem}"),
                format!("{at} を最後まで読めませんでした: {problem}"),
            ));
        }
        let reader = &mut self.readers[reader];
        (reader.since, reader.requests) = (report.since, requests);
        reader.files = report.files.iter().filter(|file| file.part != history::Part::Nothing).count();
        reader.cut = report.stopped == Some(history::Stop::Deadline);
        if reader.cut {
            self.notes.push(self.readers_reach(&path, report.since));
        }
        Ok(report.end)
    }

    /// How far back a log was read that was not read whole.
    fn readers_reach(&self, path: &Path, since: Option<Time>) -> Text {
        let at = path.display();
        let back = since.map(|since| toban_views::moment(since, &self.clock.zone));
        match back {
            Some(back) => Text::new(
                format!("{at} was read back to {back}, as far as the time allowed"),
                format!("{at} は時間内に読める {back} までさかのぼって読みました"),
            ),
            None => Text::new(
                format!("{at} was read only in part, as far as the time allowed"),
                format!("{at} は時間内に読める範囲だけ読みました"),
            ),
        }
    }

    /// Finds the format of a log from its lines, if nothing else tells it.
    fn find_format(&mut self, reader: usize, lines: &[u8]) {
        let reader = &mut self.readers[reader];
        if reader.format.is_some() {
            return;
        }
        let first: Vec<&[u8]> = lines_of(lines).take(SNIFFED_LINES).collect();
        reader.format = sniff(&first, &self.clock);
        if let (Some(format), "web") = (&reader.format, reader.service.as_str()) {
            reader.service = service_of(format).to_owned();
        }
    }

    /// What comes next does not continue what was read last.
    fn begin_anew(&mut self, reader: usize) {
        let format = &mut self.readers[reader].format;
        *format = format.clone();
    }

    fn take_chunk(&mut self, reader: usize, chunk: &[u8], read: Time) {
        self.find_format(reader, chunk);
        for line in lines_of(chunk) {
            self.take(reader, line, read);
        }
    }

    fn take(&mut self, reader: usize, line: &[u8], read: Time) {
        let until = self.until;
        let fresh = |at: Time| until.is_none_or(|until| at <= until);
        let Reader { service, format, lines, of_services, .. } = &mut self.readers[reader];
        let event = format.as_mut().and_then(|format| format.parse(line));
        if event.is_none() && is_blank(line) {
            return;
        }
        *lines += 1;
        match event {
            Some(Event::Service(said)) if fresh(said.time.unwrap_or(read)) => self.watch.said(read, &said),
            Some(_) if *of_services => {}
            Some(Event::Request(request)) if fresh(request.time) => self.watch.request(service, &request),
            Some(Event::Error(error)) if fresh(error.time.unwrap_or(read)) => {
                self.watch.error(service, read, &error);
            }
            Some(Event::Kernel(kernel)) => {
                let at = kernel.time.unwrap_or(read);
                if fresh(at) && kernel.word != KernelWord::Other {
                    self.watch.kernel(at, &kernel.word);
                }
            }
            Some(_) => {}
            None => self.readers[reader].misfit(line),
        }
    }

    fn open_kernel(&mut self) {
        let Some(path) = self.kernel_path.clone() else { return };
        let source = LogSource {
            path: path.clone(),
            role: LogRole::Kernel,
            dialect: LogDialect::Kernel,
            format: None,
            remoteip: false,
        };
        let format = Format::from_source(&source, &self.clock).and_then(Result::ok);
        match (KernelLog::open(&self.root, &path, Start::Beginning), format) {
            (Ok(log), Some(format)) => {
                self.kernel = Some((log, format));
                self.follow_kernel(self.clock.now);
            }
            (Err(error), _) => {
                let at = path.display();
                self.notes.push(Text::new(
                    format!("could not read the kernel log {at}: {error}"),
                    format!("カーネルログ {at} を読めませんでした: {error}"),
                ));
            }
            (Ok(_), None) => {}
        }
    }

    fn follow_kernel(&mut self, now: Time) {
        let Some((log, format)) = &mut self.kernel else { return };
        let until = self.until;
        let watch = &mut self.watch;
        let read = log.read(now, &mut |stamp, line| {
            if let Some(Event::Kernel(kernel)) = format.parse(line) {
                let at = stamp.or(kernel.time).unwrap_or(now);
                if kernel.word != KernelWord::Other && until.is_none_or(|until| at <= until) {
                    watch.kernel(at, &kernel.word);
                }
            }
        });
        if read.is_err() {
            self.kernel = None;
        }
    }

    /// Takes in what was written since the last look.
    pub(crate) fn follow(&mut self, now: Time) {
        loop {
            let mut lines: Vec<(usize, Vec<u8>)> = Vec::new();
            let by_log = &self.by_log;
            let outcome = self.tailer.read(&mut |id, line| {
                if let Some(reader) = by_log.get(&id) {
                    lines.push((*reader, line.to_vec()));
                }
            });
            for (reader, line) in lines {
                if self.readers[reader].format.is_none() {
                    let mut chunk = line;
                    chunk.push(b'\n');
                    self.take_chunk(reader, &chunk, now);
                } else {
                    self.take(reader, &line, now);
                }
            }
            if !outcome.more {
                break;
            }
        }
        self.follow_kernel(now);
    }

    /// Looks again at what runs here.
    pub(crate) fn rediscover(&mut self) {
        let host = discover(&self.root);
        self.host_found(host);
    }

    /// Takes a new look at the host: servers are restarted, people log in and out, logs appear.
    fn host_found(&mut self, host: Host) {
        self.watch.host_changed(host);
        for (service, source) in self.sources() {
            if !self.readers.iter().any(|r| r.path == source.path) {
                self.begin(&service, &source, Instant::now() + Duration::from_secs(1));
            }
        }
    }

    /// The closed window at `at`.
    pub(crate) fn close(&mut self, at: Time, live: bool) -> Situation {
        self.watch.close(at, live)
    }

    /// How far back the requests reach that were read of.
    pub(crate) fn history_from(&self) -> Option<Time> {
        let read = self.readers.iter().filter(|reader| reader.requests).filter_map(|reader| reader.since);
        read.min().or(self.watch.history_from()).filter(|from| self.until.is_none_or(|until| *from <= until))
    }

    /// The zone that times are told in.
    pub(crate) fn zone(&self) -> &TimeZone {
        &self.clock.zone
    }

    /// What could not be looked at on this host's servers.
    pub(crate) fn blind_spots(&self) -> Vec<String> {
        self.views.notes()
    }

    /// The logs that are read.
    pub(crate) fn readers(&self) -> &[Reader] {
        &self.readers
    }
}

/// The lines of a chunk, without their ends. A blank one counts: it may be what ends a record.
pub(crate) fn lines_of(chunk: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = chunk;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// Whether a line that fits no format is none.
pub(crate) fn is_blank(line: &[u8]) -> bool {
    matches!(line, b"" | b"\r")
}

/// A line that did not fit, as it can be shown.
pub(crate) fn shown(line: &[u8]) -> String {
    line.escape_ascii().to_string().chars().take(160).collect()
}

/// The part of the time that is left for one of so many logs.
pub(crate) fn share(deadline: Instant, logs: usize) -> Instant {
    let now = Instant::now();
    now + deadline.saturating_duration_since(now) / u32::try_from(logs).unwrap_or(1)
}

/// When a line was written, if it tells.
pub(crate) fn time_of(format: &mut Format, line: &[u8]) -> Option<Time> {
    match format.parse(line)? {
        Event::Request(request) => Some(request.time),
        Event::Error(error) => error.time,
        Event::Kernel(kernel) => kernel.time,
        Event::Service(said) => said.time,
        Event::Silent => None,
    }
}

/// The one watch, held from its first use to the end of a chunk.
fn held<'g, 's, 'w>(
    guard: &'g mut Option<MutexGuard<'s, &'w mut Watch>>,
    shared: &'s Mutex<&'w mut Watch>,
) -> &'g mut Watch {
    guard.get_or_insert_with(|| shared.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Whether most lines are requests: an access log, whoever writes it.
fn tells_of_requests(format: &mut Format, lines: &[u8]) -> bool {
    let lines = lines_of(lines).filter(|line| !is_blank(line)).take(SNIFFED_LINES);
    let (requests, all) = lines.fold((0, 0), |(requests, all), line| {
        (requests + usize::from(format.request(line).is_some()), all + 1)
    });
    requests * 2 > all
}

/// One thread that reads a log's past.
struct Worker {
    part: Part,
    format: Format,
    lines: u64,
    misfits: u64,
    first_misfits: Vec<String>,
}

impl Worker {
    fn new(part: Part, format: &Format) -> Worker {
        Worker { part, format: format.clone(), lines: 0, misfits: 0, first_misfits: Vec::new() }
    }

    /// Takes whole lines: those of long ago by itself, the others into the one watch.
    fn take(
        &mut self,
        shared: &Mutex<&mut Watch>,
        lines: &[u8],
        long_ago: Time,
        until: Option<Time>,
        service: &str,
    ) {
        let mut guard = None;
        for line in lines_of(lines) {
            let event = self.format.parse(line);
            if event.is_none() && is_blank(line) {
                continue;
            }
            self.lines += 1;
            match event {
                Some(Event::Request(request)) if until.is_some_and(|until| request.time > until) => {}
                Some(Event::Request(request)) if request.time < long_ago => self.part.request(&request),
                Some(Event::Request(request)) => held(&mut guard, shared).request(service, &request),
                Some(Event::Error(error)) => {
                    if let Some(time) = error.time.filter(|time| until.is_none_or(|until| *time <= until)) {
                        held(&mut guard, shared).error(service, time, &error);
                    }
                }
                Some(_) => {}
                None => {
                    self.misfits += 1;
                    if self.first_misfits.len() < MISFITS_SHOWN {
                        self.first_misfits.push(shown(line));
                    }
                }
            }
        }
    }
}

fn dialect_of(format: Option<&str>) -> LogDialect {
    match format {
        Some(text) if text.contains('%') => LogDialect::Apache,
        Some(text) if text.contains('$') => LogDialect::Nginx,
        _ => LogDialect::Unknown,
    }
}

/// The service that a log of this format is most likely of, when only the log is known.
pub(crate) fn service_of(format: &Format) -> &'static str {
    match format.id() {
        id if id.starts_with("apache") => "apache",
        id if id.starts_with("nginx") => "nginx",
        id if id.starts_with("haproxy") => "haproxy",
        id if id.starts_with("lighttpd") => "lighttpd",
        "squid" => "squid",
        "alb" => "alb",
        "cloudfront" => "cloudfront",
        _ => "web",
    }
}
