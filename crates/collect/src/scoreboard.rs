//! Apache's scoreboard, read from its shared memory without asking the server.
//!
//! When every worker is held, mod_status cannot answer: its request would need a worker, too. The scoreboard itself
//! is a shared mapping of the master (anonymous, System V, or a file), and who may trace the master may read it
//! through `/proc/PID/mem`. It tells what no socket does: each worker's state, its request's method and path, and
//! when that request began.
//!
//! The layout is that of httpd 2.4 (`include/scoreboard.h`), and is not believed but checked: the mapping must have
//! exactly the size that its own limits give, the children known from `/proc` must stand in the process table, and
//! their slots must carry their own numbers. The client field is never used: it may hold what a forwarded header
//! said, and the peer is known from the socket.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use toban_model::{ProcessId, Time};

use crate::{Root, limits, patience, procfs};

/// What a worker does, by the server's own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// `.`: no process in this slot.
    Dead,
    /// `S`.
    Starting,
    /// `_`: waits for a connection.
    Ready,
    /// `R`: reads a request.
    Reading,
    /// `W`: works on a request or sends its answer.
    Writing,
    /// `K`: waits for the next request of the same connection.
    KeepAlive,
    /// `L`.
    Logging,
    /// `D`: asks the name service.
    Dns,
    /// `C`: closes the connection.
    Closing,
    /// `G`: finishes its request, then ends.
    Graceful,
    /// `I`: ends because too many are idle.
    IdleKill,
}

impl Status {
    fn of(number: u8) -> Option<Status> {
        Some(match number {
            0 => Status::Dead,
            1 => Status::Starting,
            2 => Status::Ready,
            3 => Status::Reading,
            4 => Status::Writing,
            5 => Status::KeepAlive,
            6 => Status::Logging,
            7 => Status::Dns,
            8 => Status::Closing,
            9 => Status::Graceful,
            10 => Status::IdleKill,
            _ => return None,
        })
    }

    /// The letter that mod_status shows.
    pub fn letter(self) -> char {
        match self {
            Status::Dead => '.',
            Status::Starting => 'S',
            Status::Ready => '_',
            Status::Reading => 'R',
            Status::Writing => 'W',
            Status::KeepAlive => 'K',
            Status::Logging => 'L',
            Status::Dns => 'D',
            Status::Closing => 'C',
            Status::Graceful => 'G',
            Status::IdleKill => 'I',
        }
    }

    /// A request is in this worker, or on its way in or out.
    pub fn is_busy(self) -> bool {
        matches!(
            self,
            Status::Reading
                | Status::Writing
                | Status::Logging
                | Status::Dns
                | Status::Closing
                | Status::Graceful
        )
    }
}

/// One worker (a process, or a thread of one).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its process.
    pub pid: u32,
    /// Which thread of the process, from 0.
    pub thread: u32,
    /// What it does.
    pub status: Status,
    /// The method of the request in it. A stranger's text.
    pub method: Option<String>,
    /// The target of the request without its query, as far as the scoreboard's 63 bytes reach. A stranger's text.
    pub path: Option<String>,
    /// When the request began.
    pub began: Option<Time>,
}

/// Reads the scoreboard of one server, and remembers where it was found.
#[derive(Default)]
pub struct Scoreboard {
    found: Option<Found>,
    master: Option<ProcessId>,
    note: Option<String>,
    buffer: Vec<u8>,
}

#[derive(Clone, Copy)]
struct Found {
    start: u64,
    len: usize,
    layout: Layout,
}

/// Where the parts stand in the mapping, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Layout {
    servers: usize,
    threads: usize,
    processes_at: usize,
    process_bytes: usize,
    workers_at: usize,
    worker_bytes: usize,
    request_at: usize,
}

// Offsets in struct worker_score of 2.4 with threads in APR, the same in every release on 64 bits:
// tid 8, thread_num 4, pid 4, generation 4, status 1, (pad 1), conn_count 2, conn_bytes 8, access_count 8,
// bytes_served 8, my_access_count 8, my_bytes_served 8, start_time 8, stop_time 8, last_used 8, tms 32, client 32,
// request 64. What follows grew over the years, so the whole size is looked for.
const THREAD_NUM_AT: usize = 8;
const STATUS_AT: usize = 20;
const START_TIME_AT: usize = 64;
const REQUEST_AT: usize = 152;
const REQUEST_BYTES: usize = 64;
/// Its size in 2.4.71.
const WORKER_BYTES_USUAL: usize = 336;

impl Scoreboard {
    /// Nothing found yet.
    pub fn new() -> Scoreboard {
        Scoreboard::default()
    }

    /// Every slot that has a live process, or `None` with a [note](Scoreboard::note) why it cannot be read.
    pub fn read(&mut self, root: &Root, master: ProcessId, children: &[u32]) -> Option<Vec<Slot>> {
        if self.master != Some(master) {
            *self = Scoreboard { master: Some(master), ..Scoreboard::default() };
        }
        let path = root.at(format!("/proc/{}/mem", master.pid));
        let memory = match File::open(&path) {
            Ok(memory) => Arc::new(memory),
            Err(error) => {
                self.note = Some(format!("scoreboard of process {}: {error}; run as root", master.pid));
                return None;
            }
        };
        if let Some(found) = self.found {
            if self.take(&memory, found.start, found.len)?
                && check(&self.buffer, found.layout, children).is_some()
            {
                // The first look may have been at a server that had not had a request yet.
                let layout =
                    Layout { request_at: request_offset(&self.buffer, found.layout), ..found.layout };
                return Some(self.slots(layout, children));
            }
            // A restart maps a new one.
            self.found = None;
        }
        let Some(mappings) = shared_mappings(root, master.pid) else {
            self.silent();
            return None;
        };
        for (start, len) in mappings {
            if !self.take(&memory, start, len)? {
                continue;
            }
            if let Some(layout) = find_layout(&self.buffer, children) {
                self.found = Some(Found { start, len, layout });
                self.note = None;
                return Some(self.slots(layout, children));
            }
        }
        self.note = Some(format!(
            "scoreboard of process {}: no shared mapping of it has the form of httpd 2.4",
            master.pid
        ));
        None
    }

    /// Why there is nothing, after `read` gave `None`.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn silent(&mut self) {
        self.note = Some(
            "the scoreboard was not read: the server's memory is locked, and no answer came in time".into(),
        );
    }

    /// Reads that part of the memory; `None` when no answer comes.
    fn take(&mut self, memory: &Arc<File>, start: u64, len: usize) -> Option<bool> {
        let (memory, mut buffer) = (memory.clone(), std::mem::take(&mut self.buffer));
        let taken = patience::within(move || {
            buffer.resize(len, 0);
            memory.read_exact_at(&mut buffer, start).is_ok().then_some(buffer)
        });
        match taken {
            Some(bytes) => {
                self.buffer = bytes.unwrap_or_default();
                Some(!self.buffer.is_empty())
            }
            None => {
                self.silent();
                None
            }
        }
    }

    fn slots(&self, layout: Layout, children: &[u32]) -> Vec<Slot> {
        let mut slots = Vec::new();
        for server in 0..layout.servers {
            let Some(pid) = u32_at(&self.buffer, layout.processes_at + server * layout.process_bytes) else {
                break;
            };
            if pid == 0 || !children.contains(&pid) {
                continue;
            }
            for thread in 0..layout.threads {
                let at = layout.workers_at + (server * layout.threads + thread) * layout.worker_bytes;
                let Some(worker) = self.buffer.get(at..at + layout.worker_bytes) else { break };
                let Some(status) = Status::of(worker[STATUS_AT]) else { continue };
                if status == Status::Dead {
                    continue;
                }
                slots.push(slot(worker, layout, pid, u32::try_from(thread).unwrap_or(0), status));
            }
        }
        slots
    }
}

fn slot(worker: &[u8], layout: Layout, pid: u32, thread: u32, status: Status) -> Slot {
    let mut slot = Slot { pid, thread, status, method: None, path: None, began: None };
    // When a worker becomes free or begins to read, the text of its last request may still stand there.
    if matches!(status, Status::Writing | Status::Logging | Status::Dns | Status::Closing | Status::Graceful)
    {
        let text = worker.get(layout.request_at..layout.request_at + REQUEST_BYTES).unwrap_or_default();
        if let Some((method, path)) = request(text) {
            slot.method = Some(method);
            slot.path = Some(path);
        }
        let began = worker.get(START_TIME_AT..START_TIME_AT + 8).and_then(|bytes| bytes.try_into().ok());
        slot.began = began.map(i64::from_ne_bytes).filter(|micros| *micros > 0).map(Time::from_micros);
    }
    slot
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// Method and target (without query) at the start of a NUL-terminated field.
fn request(field: &[u8]) -> Option<(String, String)> {
    const METHOD_MAX: usize = 32;
    let text = &field[..memchr::memchr(0, field).unwrap_or(field.len())];
    let space = memchr::memchr(b' ', text)?;
    let (method, rest) = (&text[..space], &text[space + 1..]);
    // Tokens of RFC 9110; "SeeRequestTail On" keeps the end of the line instead, which does not look like one.
    let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
    if method.is_empty() || method.len() > METHOD_MAX || !method.iter().all(is_token) {
        return None;
    }
    let target = rest.split(|b| matches!(b, b' ' | b'?')).next()?;
    (!target.is_empty())
        .then(|| (String::from_utf8_lossy(method).into_owned(), String::from_utf8_lossy(target).into_owned()))
}

/// The shared writable mappings of a process that may be a scoreboard: start and length.
fn shared_mappings(root: &Root, pid: u32) -> Option<Vec<(u64, usize)>> {
    let root = root.clone();
    let maps = patience::within(move || {
        let mut bytes = Vec::new();
        let _ = root.read(format!("/proc/{pid}/maps"), &mut bytes);
        bytes
    })?;
    let mut mappings = Vec::new();
    for line in procfs::lines(&maps) {
        let Ok(line) = std::str::from_utf8(line) else { continue };
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        if !rights.starts_with("rw") || !rights.ends_with('s') {
            continue;
        }
        let Some((start, end)) = range.split_once('-') else { continue };
        let (Ok(start), Ok(end)) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16)) else {
            continue;
        };
        let Ok(len) = usize::try_from(end.saturating_sub(start)) else { continue };
        if (1..=limits::SCOREBOARD_BYTES_MAX).contains(&len) {
            mappings.push((start, len));
        }
    }
    // One opcache or session cache must not cost a copy of 16 MiB before the small one is tried.
    mappings.sort_by_key(|(_, len)| *len);
    Some(mappings)
}

/// Finds the layout that the bytes themselves confirm.
fn find_layout(bytes: &[u8], children: &[u32]) -> Option<Layout> {
    // apr_shm puts the segment's size in front of an anonymous one, nothing in front of a file.
    for global in [8, 0, 16] {
        let (Some(servers), Some(threads)) = (u32_at(bytes, global), u32_at(bytes, global + 4)) else {
            continue;
        };
        let (servers, threads) = (usize::try_from(servers).ok()?, usize::try_from(threads).ok()?);
        if servers == 0 || threads == 0 || servers > 200_000 || threads > 20_000 {
            continue;
        }
        // struct global_score: two limits, generation, restart time, and times of the master where APR has them.
        for head in [56, 24] {
            // struct process_score is 40 bytes; it grew before and may again.
            for process_bytes in [40, 48, 32, 56, 24, 64] {
                let processes_at = global + head;
                let workers_at = processes_at + servers * process_bytes;
                let layout = Layout {
                    servers,
                    threads,
                    processes_at,
                    process_bytes,
                    workers_at,
                    worker_bytes: 0,
                    request_at: REQUEST_AT,
                };
                if let Some(layout) = find_worker_size(bytes, layout, children) {
                    return Some(layout);
                }
            }
        }
    }
    None
}

fn find_worker_size(bytes: &[u8], layout: Layout, children: &[u32]) -> Option<Layout> {
    const SMALLEST: usize = REQUEST_AT + REQUEST_BYTES;
    const LARGEST: usize = 1024;
    let rest = bytes.len().checked_sub(layout.workers_at)?;
    let slots = layout.servers.checked_mul(layout.threads)?;
    let candidates = (SMALLEST..=LARGEST).step_by(8).filter_map(|worker_bytes| {
        // The mapping is as long as the table, rounded up to pages.
        let left = rest.checked_sub(slots.checked_mul(worker_bytes)?)?;
        if left >= rustix::param::page_size() {
            return None;
        }
        let layout = Layout { worker_bytes, ..layout };
        let confirmed = check(bytes, layout, children)?;
        // A server with one child confirms every size; then the one that is known wins.
        Some(((confirmed, worker_bytes == WORKER_BYTES_USUAL, std::cmp::Reverse(left)), layout))
    });
    let (_, layout) = candidates.max_by_key(|(key, _)| *key)?;
    Some(Layout { request_at: request_offset(bytes, layout), ..layout })
}

/// How many children stand where the layout says, in slots that carry their numbers; `None` if it is not theirs.
fn check(bytes: &[u8], layout: Layout, children: &[u32]) -> Option<usize> {
    if bytes.len() < layout.workers_at {
        return None;
    }
    let (mut found, mut confirmed) = (0, 0);
    for server in 0..layout.servers {
        let pid = u32_at(bytes, layout.processes_at + server * layout.process_bytes)?;
        if pid == 0 || !children.contains(&pid) {
            continue;
        }
        found += 1;
        let at = layout.workers_at + server * layout.threads * layout.worker_bytes;
        let worker = bytes.get(at..at + layout.worker_bytes)?;
        let number = usize::try_from(u32_at(worker, THREAD_NUM_AT)?).ok()?;
        // The number is written when the worker becomes ready for the first time.
        match Status::of(worker[STATUS_AT])? {
            Status::Dead | Status::Starting => {}
            _ if number == server * layout.threads => confirmed += 1,
            _ => return None,
        }
    }
    // Some children were made or have ended between the two looks.
    let most = |part: usize, whole: usize| part > 0 && part * 2 >= whole;
    (most(found, children.len().min(layout.servers)) && most(confirmed, found)).then_some(confirmed)
}

/// Where request lines begin in a slot: where 2.4 has them, unless they are seen elsewhere.
fn request_offset(bytes: &[u8], layout: Layout) -> usize {
    let seen_at = |offset: usize| {
        (0..layout.servers * layout.threads)
            .filter_map(|slot| bytes.get(layout.workers_at + slot * layout.worker_bytes + offset..))
            .filter(|field| {
                let field = &field[..field.len().min(REQUEST_BYTES)];
                request(field).is_some_and(|(method, path)| {
                    method.bytes().all(|b| b.is_ascii_uppercase())
                        && method.len() >= 3
                        && (path.starts_with(['/', '*']) || method == "CONNECT")
                })
            })
            .count()
    };
    if seen_at(REQUEST_AT) > 0 {
        return REQUEST_AT;
    }
    let last = layout.worker_bytes.saturating_sub(REQUEST_BYTES);
    (START_TIME_AT..=last).step_by(4).find(|offset| seen_at(*offset) > 0).unwrap_or(REQUEST_AT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(
        servers: usize,
        threads: usize,
        worker_bytes: usize,
        request_at: usize,
        pids: &[u32],
    ) -> Vec<u8> {
        let len = 8 + 56 + servers * 40 + servers * threads * worker_bytes;
        let mut bytes = vec![0u8; len.next_multiple_of(4096)];
        let put =
            |bytes: &mut Vec<u8>, at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(&mut bytes, 8, &u32::try_from(servers).unwrap().to_ne_bytes());
        put(&mut bytes, 12, &u32::try_from(threads).unwrap().to_ne_bytes());
        for (server, pid) in pids.iter().enumerate() {
            put(&mut bytes, 64 + server * 40, &pid.to_ne_bytes());
            for thread in 0..threads {
                let number = server * threads + thread;
                let at = 64 + servers * 40 + number * worker_bytes;
                put(&mut bytes, at + THREAD_NUM_AT, &u32::try_from(number).unwrap().to_ne_bytes());
                put(&mut bytes, at + STATUS_AT, &[4]);
                put(&mut bytes, at + START_TIME_AT, &1_000_000i64.to_ne_bytes());
                put(&mut bytes, at + request_at, format!("POST /x{number}?q=1 HTTP/1.1\0").as_bytes());
            }
        }
        bytes
    }

    #[test]
    fn the_layout_is_found_by_structure() {
        for (servers, threads, worker_bytes, request_at) in
            [(256, 1, 336, 152), (16, 64, 336, 152), (256, 1, 256, 152), (4, 4, 400, 176)]
        {
            let pids = [4001, 4002, 4007];
            let bytes = board(servers, threads, worker_bytes, request_at, &pids);
            let layout = find_layout(&bytes, &pids).unwrap();
            assert_eq!((layout.servers, layout.threads, layout.request_at), (servers, threads, request_at));
            let scoreboard = Scoreboard { buffer: bytes, ..Scoreboard::default() };
            let slots = scoreboard.slots(layout, &pids);
            assert_eq!(slots.len(), 3 * threads);
            let last = slots.last().unwrap();
            assert_eq!((last.pid, last.status.letter(), last.method.as_deref()), (4007, 'W', Some("POST")));
            assert_eq!(last.path.as_deref(), Some(format!("/x{}", 3 * threads - 1).as_str()));
            assert_eq!(last.began, Some(Time::from_secs(1)));
        }
    }

    #[test]
    fn what_is_no_scoreboard_is_not_taken_for_one() {
        for bytes in [vec![0; 8192], vec![1; 8192], vec![0xff; 8192], vec![2; 3], Vec::new()] {
            assert_eq!(find_layout(&bytes, &[1, 2, 3]), None);
        }
        let foreign = board(256, 1, 336, 152, &[5001, 5002]);
        assert_eq!(find_layout(&foreign, &[1, 2, 3]), None);
    }

    #[test]
    fn request_lines() {
        let cut = format!("GET /{} HT", "x".repeat(58));
        for (field, expected) in [
            (&b"GET /a?b=c HTTP/1.1\0rest"[..], Some(("GET", "/a"))),
            (b"CONNECT example.com:443 HTTP/1.1\0", Some(("CONNECT", "example.com:443"))),
            (b"OPTIONS * HTTP/1.0\0", Some(("OPTIONS", "*"))),
            (b"\0GET / HTTP", None),
            (b"/tail of a request HTTP/1.1\0", None),
            (b"GET \0", None),
            (b"", None),
            (&cut.as_bytes()[..63], Some(("GET", &cut[4..63]))),
        ] {
            let read = request(field);
            assert_eq!(
                read.as_ref().map(|(m, p)| (m.as_str(), p.as_str())),
                expected.map(|(m, p)| (m, p.split(' ').next().unwrap()))
            );
        }
    }
}
