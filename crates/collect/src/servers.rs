//! What a server does at this moment: its workers, whom each serves, what it waits for, and who queues.
//!
//! All of it from sockets, processes and shared memory: a server that cannot answer any more is seen as well as one
//! that can. An access log tells of a request only when it has ended.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use toban_model::{
    Connection, QueuedPeer, ServerView, Service, ServiceKind, TcpState, Time, Waiting, Worker, canonical,
};

use crate::discover::ports;
use crate::procfs::{self, Process};
use crate::scoreboard::{Scoreboard, Slot, Status};
use crate::sockets::{self, Filter, Socket, States};
use crate::{Error, Root, limits};

/// A connection in the hands of a process: pid, its start, the socket's inode.
type Hold = (u32, u64, u64);

/// What views remember from one look to the next.
#[derive(Default)]
pub struct ViewState {
    first_seen: HashMap<String, HashMap<Hold, Time>>,
    scoreboards: HashMap<String, Scoreboard>,
    notes: HashMap<String, String>,
}

impl ViewState {
    /// Nothing seen yet.
    pub fn new() -> ViewState {
        ViewState::default()
    }

    /// What could not be seen in the last view of each service, and why.
    pub fn notes(&self) -> Vec<String> {
        let mut notes: Vec<String> =
            self.notes.iter().map(|(service, note)| format!("{service}: {note}")).collect();
        notes.sort();
        notes
    }
}

/// One server now. `now` is the wall clock's time of this call.
///
/// A worker of a one-connection-per-process server is a process; of any other server it is a connection that one
/// of its processes has.
pub fn view(root: &Root, service: &Service, now: Time, state: &mut ViewState) -> ServerView {
    state.notes.remove(&service.id);
    let processes = processes(root, service);
    let pids: Vec<u32> = processes.iter().map(|process| process.id.pid).collect();
    let mut look = Look::take(root, service, &pids, state);
    let slots = scoreboard(root, service, &pids, state);

    let before = state.first_seen.remove(&service.id).unwrap_or_default();
    let mut holds = Holds { before, after: HashMap::new(), now };
    let workers = if service.one_connection_per_process {
        let mut workers = by_process(service, &processes, &look, slots.as_deref(), &mut holds);
        // Every connection of the host is read for that, which is not worth it while nobody waits.
        if workers.iter().any(|worker| worker.waiting == Waiting::Backend) {
            if let Err(error) = look.find_upstreams(root, service) {
                state.notes.insert(service.id.clone(), format!("could not {error}"));
            }
            name_upstreams(root, &look, &mut workers);
        }
        workers
    } else {
        by_connection(&processes, &look, slots.as_deref().unwrap_or_default(), &mut holds)
    };
    state.first_seen.insert(service.id.clone(), holds.after);

    let busy = workers.iter().filter(|worker| worker.waiting != Waiting::Idle).count();
    // Of threads the scoreboard tells which are busy; a connection may be kept alive without one.
    let busy = match &slots {
        Some(slots) if !service.one_connection_per_process => {
            slots.iter().filter(|slot| slot.status.is_busy()).count()
        }
        _ => busy,
    };
    look.queue.truncate(limits::QUEUE_LISTED_MAX);
    ServerView {
        service: service.id.clone(),
        at: now,
        workers,
        busy: u32::try_from(busy).unwrap_or(u32::MAX),
        limit: service.worker_limit,
        queue: look.queue,
        queue_len: look.queue_len,
        queue_limit: look.queue_limit,
    }
}

/// The processes that serve: the master's children of the same program, or the master itself if it has none.
fn processes(root: &Root, service: &Service) -> Vec<Process> {
    let mut buffer = Vec::new();
    let master = Process::read(root, service.master.pid, &mut buffer).filter(|p| p.id == service.master);
    let Some(master) = master else { return Vec::new() };
    let mut list: Vec<Process> = procfs::children(root, master.id.pid, &mut buffer)
        .into_iter()
        .take(limits::WORKERS_MAX)
        .filter_map(|pid| Process::read(root, pid, &mut buffer))
        // Piped loggers, CGI programs and mod_cgid's daemon are children, too; the latter has no connections.
        .filter(|process| process.comm == master.comm && process.state != 'Z')
        .collect();
    if list.is_empty() || service.kind == ServiceKind::Other {
        list.push(master);
    }
    list
}

/// The sockets of a server, put where they belong.
#[derive(Default)]
struct Look {
    /// Connections to the server's ports, by inode.
    connections: HashMap<u64, Socket>,
    /// Accepted connections on its unix sockets.
    unix: HashSet<u64>,
    /// What else its processes have connections to, by inode: where they are servers' clients themselves.
    upstreams: HashMap<u64, Box<str>>,
    /// Which process has which socket.
    by_pid: HashMap<u32, Vec<u64>>,
    queue: Vec<QueuedPeer>,
    queue_len: u32,
    queue_limit: u32,
    /// Open files of its processes could be read.
    owned: bool,
}

impl Look {
    fn take(root: &Root, service: &Service, pids: &[u32], state: &mut ViewState) -> Look {
        let mut look = Look::default();
        let mut note = |text: String| {
            state.notes.insert(service.id.clone(), text);
        };
        // Owners first: a connection that is accepted between the two looks is then in the queue and nowhere else.
        let mut unreadable = 0;
        for pid in pids {
            let mut inodes = Vec::new();
            let readable = procfs::for_each_fd(root, *pid, |_, target| {
                if let procfs::FdTarget::Socket(inode) = target {
                    inodes.push(inode);
                }
            });
            unreadable += usize::from(!readable);
            look.owned |= readable;
            look.by_pid.insert(*pid, inodes);
        }
        if unreadable > 0 && !look.owned {
            note(format!(
                "open files of {unreadable} workers cannot be read; run as root to see whom they serve"
            ));
        }
        let ports = ports(service);
        if !ports.is_empty() {
            let filter =
                Filter { states: States::OPEN.and(States::LISTEN), local_ports: ports, with_info: true };
            match sockets::tcp(root, &filter) {
                Ok(sockets) => look.sort(service, sockets.list),
                Err(error) => note(format!("could not {error}")),
            }
        }
        if !service.listens_unix.is_empty() {
            match sockets::unix_sockets(root, true) {
                Ok(list) => {
                    for socket in
                        list.into_iter().filter(|socket| service.listens_unix.contains(&socket.path))
                    {
                        if socket.listens {
                            look.queue_len = look.queue_len.saturating_add(socket.queue_len);
                            look.queue_limit = look.queue_limit.saturating_add(socket.queue_limit);
                        } else if socket.inode != 0 {
                            look.unix.insert(socket.inode);
                        }
                    }
                }
                Err(error) => note(format!("could not {error}")),
            }
        }
        look
    }

    /// Looks for the connections to other servers, by unix sockets and by TCP.
    fn find_upstreams(&mut self, root: &Root, service: &Service) -> Result<(), Error> {
        let unix = sockets::unix_sockets(root, true);
        let elsewhere = unix.iter().flatten().filter(|end| !service.listens_unix.contains(&end.path));
        for end in elsewhere.filter(|end| end.peer != 0 && !end.listens) {
            self.upstreams.insert(end.peer, end.path.to_string_lossy().into());
        }
        if service.kind != ServiceKind::Other {
            self.find_tcp_upstreams(root, service);
        }
        unix.map(drop)
    }

    fn find_tcp_upstreams(&mut self, root: &Root, service: &Service) {
        let states = States::of(TcpState::Established);
        let filter = Filter { states, local_ports: Vec::new(), with_info: false };
        let ours = ports(service);
        let theirs = sockets::tcp_connections(root, &filter).unwrap_or_default();
        for end in theirs.iter().filter(|end| end.inode != 0 && !ours.contains(&end.local.port())) {
            self.upstreams.insert(end.inode, end.peer.to_string().into());
        }
    }

    /// The one thing that a process has connections to.
    fn only_upstream(&self, pid: u32) -> Option<&str> {
        let mut all = self.by_pid.get(&pid)?.iter().filter_map(|inode| self.upstreams.get(inode));
        let first = all.next()?;
        all.all(|other| other == first).then_some(first)
    }

    fn sort(&mut self, service: &Service, list: Vec<Socket>) {
        for socket in list {
            let connection = &socket.connection;
            match connection.state {
                TcpState::Listen if service.listens.contains(&connection.local) => {
                    self.queue_len = self.queue_len.saturating_add(connection.recv_queue);
                    self.queue_limit = self.queue_limit.saturating_add(connection.send_queue);
                }
                TcpState::Listen => {}
                // Without an owner and not closed by us: it waits to be accepted.
                TcpState::Established | TcpState::CloseWait
                    if connection.inode == 0 && is_ours(service, connection) =>
                {
                    self.queue.push(QueuedPeer {
                        peer: connection.peer,
                        port: connection.local.port(),
                        gone: connection.state == TcpState::CloseWait,
                    });
                }
                _ if connection.inode != 0 => {
                    self.connections.insert(connection.inode, socket);
                }
                // Orphans of killed workers.
                _ => {}
            }
        }
    }
}

fn is_ours(service: &Service, connection: &Connection) -> bool {
    service.listens.iter().any(|listens| {
        let address = canonical(listens.ip());
        listens.port() == connection.local.port()
            && (address.is_unspecified() || address == canonical(connection.local.ip()))
    })
}

fn scoreboard(root: &Root, service: &Service, pids: &[u32], state: &mut ViewState) -> Option<Vec<Slot>> {
    if service.kind != ServiceKind::Apache || pids.is_empty() {
        return None;
    }
    let scoreboard = state.scoreboards.entry(service.id.clone()).or_default();
    let slots = scoreboard.read(root, service.master, pids);
    let note = match &slots {
        None => scoreboard.note().map(str::to_owned),
        // The text of a request is kept only with ExtendedStatus, which mod_status turns on.
        Some(slots) => {
            let mut writing = slots.iter().filter(|slot| slot.status == Status::Writing).peekable();
            let off =
                writing.peek().is_some() && writing.all(|slot| slot.method.is_none() && slot.began.is_none());
            off.then(|| "ExtendedStatus is off, so method and path of held requests are not known".to_owned())
        }
    };
    if let Some(note) = note {
        state.notes.entry(service.id.clone()).or_insert(note);
    }
    slots
}

/// For how long each process has had its connection, as far as it was watched.
struct Holds {
    before: HashMap<Hold, Time>,
    after: HashMap<Hold, Time>,
    now: Time,
}

impl Holds {
    /// Since when; what is not held any more is forgotten with the view.
    fn since(&mut self, hold: Hold) -> Time {
        let since = self.before.get(&hold).copied().unwrap_or(self.now).min(self.now);
        if self.after.len() < limits::FIRST_SEEN_MAX {
            self.after.insert(hold, since);
        }
        since
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn by_process(
    service: &Service,
    processes: &[Process],
    look: &Look,
    slots: Option<&[Slot]>,
    holds: &mut Holds,
) -> Vec<Worker> {
    let slots: HashMap<u32, &Slot> = slots.unwrap_or_default().iter().map(|slot| (slot.pid, slot)).collect();
    let mut workers = Vec::with_capacity(processes.len());
    for process in processes {
        let inodes = look.by_pid.get(&process.id.pid).map(Vec::as_slice).unwrap_or_default();
        let slot = slots.get(&process.id.pid).copied();
        let socket = inodes
            .iter()
            .filter_map(|inode| look.connections.get(inode))
            // A worker may still hold the end of its last connection.
            .min_by_key(|socket| socket.connection.state != TcpState::Established);
        let unix = inodes.iter().find(|inode| look.unix.contains(inode));
        let mut worker = Worker {
            process: process.id,
            peer: None,
            port: None,
            held_ms: None,
            waiting: Waiting::Idle,
            method: None,
            path: None,
            rss_bytes: process.rss_bytes(),
            asks: None,
        };
        if let Some(socket) = socket {
            let connection = &socket.connection;
            worker.peer = Some(connection.peer);
            worker.port = Some(connection.local.port());
            worker.waiting = waiting(socket, process.state, slot.map(|slot| slot.status));
            let since = holds.since((process.id.pid, process.id.start_ticks, connection.inode));
            if worker.waiting != Waiting::Idle {
                worker.held_ms = Some(held_ms(socket, slot, worker.waiting, since, holds.now));
            }
        } else if let Some(inode) = unix {
            worker.waiting = if process.state == 'R' { Waiting::Running } else { Waiting::Backend };
            let since = holds.since((process.id.pid, process.id.start_ticks, *inode));
            worker.held_ms = Some(millis(holds.now.since(since)));
        } else if let Some(slot) = slot {
            // Its socket is closed, but it says that it works: logging, or a client that has just gone.
            worker.waiting = if slot.status.is_busy() { Waiting::Backend } else { Waiting::Idle };
            worker.held_ms =
                slot.began.filter(|_| slot.status.is_busy()).map(|began| millis(holds.now.since(began)));
        } else if !look.owned && service.kind != ServiceKind::Other {
            worker.waiting = Waiting::Unknown;
        } else if process.state == 'R' {
            worker.waiting = Waiting::Running;
        }
        if let Some(slot) = slot
            && worker.waiting != Waiting::Idle
        {
            worker.method.clone_from(&slot.method);
            worker.path.clone_from(&slot.path);
        }
        workers.push(worker);
    }
    workers
}

/// Says of the workers that wait at a socket what they ask. One that is a process waits for one thing at a time.
fn name_upstreams(root: &Root, look: &Look, workers: &mut [Worker]) {
    let mut buffer = Vec::new();
    for worker in workers.iter_mut().filter(|worker| worker.waiting == Waiting::Backend) {
        let pid = worker.process.pid;
        if let Some(upstream) = look.only_upstream(pid)
            && procfs::wchan(root, pid, &mut buffer).is_some_and(|at| waits_at_socket(&at))
        {
            worker.asks = Some(upstream.into());
        }
    }
}

/// Whether the kernel's function in which a process sleeps is one of waiting for a socket, and not for a clock, a lock or
/// a child.
fn waits_at_socket(function: &str) -> bool {
    ["poll", "unix_stream", "sk_wait", "wait_woken"].iter().any(|name| function.contains(name))
}

fn by_connection(processes: &[Process], look: &Look, slots: &[Slot], holds: &mut Holds) -> Vec<Worker> {
    let mut workers = Vec::new();
    for process in processes {
        let inodes = look.by_pid.get(&process.id.pid).map(Vec::as_slice).unwrap_or_default();
        let mut held: Vec<&Socket> = inodes.iter().filter_map(|inode| look.connections.get(inode)).collect();
        held.sort_by_key(|socket| socket.connection.inode);
        held.dedup_by_key(|socket| socket.connection.inode);
        // The process's memory is shared by all that it serves; the sum over workers stays right.
        let rss_bytes = process.rss_bytes() / (held.len().max(1) as u64);
        let all = held.clone();
        let threads: Vec<&Slot> =
            slots.iter().filter(|slot| slot.pid == process.id.pid && slot.status.is_busy()).collect();
        for socket in held.into_iter().take(limits::WORKERS_MAX.saturating_sub(workers.len())) {
            let connection = &socket.connection;
            let waiting = waiting(socket, 'S', None);
            let since = holds.since((process.id.pid, process.id.start_ticks, connection.inode));
            let request =
                (waiting != Waiting::Idle).then(|| thread_of(socket, &all, &threads, holds.now)).flatten();
            workers.push(Worker {
                process: process.id,
                peer: Some(connection.peer),
                port: Some(connection.local.port()),
                held_ms: (waiting != Waiting::Idle).then(|| held_ms(socket, None, waiting, since, holds.now)),
                waiting,
                method: request.and_then(|slot| slot.method.clone()),
                path: request.and_then(|slot| slot.path.clone()),
                rss_bytes,
                asks: None,
            });
        }
    }
    workers
}

/// The thread that serves this connection, as well as the times tell: nothing outside the server ties a thread to a
/// socket. A request begins in the scoreboard when its last byte has come in, so the two clocks must agree; where
/// several threads began in the same moment, only what all of them say is taken.
fn thread_of<'a>(socket: &Socket, all: &[&Socket], threads: &[&'a Slot], now: Time) -> Option<&'a Slot> {
    const SAME_MOMENT_US: i64 = 100_000;
    let came = |socket: &Socket| {
        let ago = i64::from(socket.connection.last_received_ms?).saturating_mul(1000);
        Some(now.as_micros().saturating_sub(ago))
    };
    let came_at = came(socket).filter(|_| socket.connection.bytes_received.is_some_and(|bytes| bytes > 0))?;
    let near = |other: i64| other.saturating_sub(came_at).abs() <= SAME_MOMENT_US;
    let candidates: Vec<&'a Slot> = threads
        .iter()
        .copied()
        .filter(|slot| slot.began.is_some_and(|began| near(began.as_micros())))
        .collect();
    let rivals = all.iter().filter(|other| came(other).is_some_and(near)).count();
    let first = candidates.first()?;
    let agree = candidates.iter().all(|slot| slot.method == first.method && slot.path == first.path);
    (agree && rivals <= candidates.len()).then_some(*first)
}

/// What a worker with this connection waits for.
fn waiting(socket: &Socket, process_state: char, status: Option<Status>) -> Waiting {
    let connection = &socket.connection;
    // The peer does not take what was sent: whatever else is true, it holds the worker.
    let unread = connection.persist || connection.send_queue > 0;
    match status {
        Some(Status::Ready | Status::KeepAlive | Status::Starting | Status::IdleKill | Status::Dead) => {
            return Waiting::Idle;
        }
        Some(Status::Reading | Status::Closing) => return Waiting::Client,
        Some(Status::Writing | Status::Logging | Status::Dns | Status::Graceful) if unread => {
            return Waiting::Client;
        }
        _ if process_state == 'R' => return Waiting::Running,
        Some(_) => return Waiting::Backend,
        None => {}
    }
    if unread {
        return Waiting::Client;
    }
    if !matches!(connection.state, TcpState::Established | TcpState::CloseWait) {
        // The answer is out and the connection is being closed.
        return Waiting::Client;
    }
    match (connection.bytes_received, connection.bytes_acked) {
        // Nothing has come yet.
        (Some(0), _) => Waiting::Client,
        (Some(_), Some(0)) => Waiting::Backend,
        (Some(_), Some(_)) => match (connection.last_received_ms, socket.last_sent_ms) {
            // Answered after the last that came in: kept alive for the next request.
            (Some(received), Some(sent)) if sent <= received => Waiting::Idle,
            _ => Waiting::Backend,
        },
        // By /proc/net/tcp nothing more can be told.
        _ => Waiting::Unknown,
    }
}

/// For how long this request has held its worker, in milliseconds.
fn held_ms(socket: &Socket, slot: Option<&Slot>, waiting: Waiting, since: Time, now: Time) -> u64 {
    let watched = millis(now.since(since));
    // The server's own clock for this request is exact; a start in the future is another host's or a jump's.
    if let Some(began) = slot.and_then(|slot| slot.began)
        && began <= now
    {
        return millis(now.since(began));
    }
    let silent = u64::from(socket.connection.last_received_ms.unwrap_or(0));
    match waiting {
        // A request is in since the last byte came; its connection may be much older.
        Waiting::Backend | Waiting::Running => {
            if socket.connection.last_received_ms.is_some() {
                silent
            } else {
                watched
            }
        }
        // A slow client sends a byte now and then: what counts is since when it has the worker.
        _ => silent.max(watched),
    }
}

/// The peers of all busy workers, for a quick look.
pub fn busy_peers(view: &ServerView) -> Vec<SocketAddr> {
    view.workers
        .iter()
        .filter(|worker| worker.waiting != Waiting::Idle)
        .filter_map(|worker| worker.peer)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(received: u64, acked: u64, last_received: u32, last_sent: u32) -> Socket {
        Socket {
            connection: Connection {
                local: "10.0.0.1:80".parse().unwrap(),
                peer: "192.0.2.7:1234".parse().unwrap(),
                state: TcpState::Established,
                recv_queue: 0,
                send_queue: 0,
                inode: 9,
                pid: None,
                persist: false,
                last_received_ms: Some(last_received),
                bytes_received: Some(received),
                bytes_acked: Some(acked),
            },
            last_sent_ms: Some(last_sent),
        }
    }

    #[test]
    fn what_a_worker_waits_for() {
        let fresh = socket(0, 0, 5000, 5000);
        let asked = socket(200, 0, 4000, 9000);
        let answered = socket(200, 900, 4000, 3900);
        let asked_again = socket(400, 900, 100, 3900);
        let mut slow = socket(200, 900, 4000, 3900);
        slow.connection.persist = true;
        slow.connection.send_queue = 32_850;
        for (name, socket, state, status, expected) in [
            ("no byte yet", &fresh, 'S', None, Waiting::Client),
            ("a request without answer", &asked, 'S', None, Waiting::Backend),
            ("kept alive", &answered, 'S', None, Waiting::Idle),
            ("its next request", &asked_again, 'S', None, Waiting::Backend),
            ("a client that does not read", &slow, 'S', None, Waiting::Client),
            ("on the processor", &asked, 'R', Some(Status::Writing), Waiting::Running),
            ("half a request", &asked, 'S', Some(Status::Reading), Waiting::Client),
            ("kept alive by its own word", &asked, 'S', Some(Status::KeepAlive), Waiting::Idle),
            ("does not read, by both", &slow, 'S', Some(Status::Writing), Waiting::Client),
            ("works", &asked, 'S', Some(Status::Writing), Waiting::Backend),
        ] {
            assert_eq!(waiting(socket, state, status), expected, "{name}");
        }
    }

    #[test]
    fn a_server_that_is_gone_has_no_workers() {
        let service = Service {
            id: "x".into(),
            kind: ServiceKind::Apache,
            master: toban_model::ProcessId { pid: 1, start_ticks: u64::MAX },
            pids: vec![1],
            exe: "/x".into(),
            listens: Vec::new(),
            listens_unix: Vec::new(),
            worker_limit: Some(3),
            worker_limit_from: None,
            trusted_proxies: Vec::new(),
            backends: Vec::new(),
            logs: Vec::new(),
            config: Vec::new(),
            supervisor: toban_model::Supervisor::CommandLine,
            one_connection_per_process: true,
        };
        let view = view(&Root::host(), &service, Time::from_secs(1), &mut ViewState::new());
        assert_eq!((view.workers.len(), view.busy, view.limit), (0, 0, Some(3)));
    }

    #[test]
    fn what_a_process_asks_is_told_if_it_can_be_only_one_thing() {
        let mut look = Look::default();
        for (inode, to) in
            [(1, "/run/mysqld/mysqld.sock"), (2, "/run/mysqld/mysqld.sock"), (3, "10.0.0.5:6379")]
        {
            look.upstreams.insert(inode, to.into());
        }
        // 9 is the connection that it serves.
        for (pid, inodes) in [(10, vec![9, 1]), (11, vec![1, 9, 2]), (12, vec![1, 3]), (13, vec![9])] {
            look.by_pid.insert(pid, inodes);
        }
        let asked = [10, 11, 12, 13, 14].map(|pid| look.only_upstream(pid));
        assert_eq!(
            asked,
            [Some("/run/mysqld/mysqld.sock"), Some("/run/mysqld/mysqld.sock"), None, None, None]
        );
        let at_socket = ["poll_schedule_timeout.constprop.0", "unix_stream_data_wait", "sk_wait_data"];
        assert!(at_socket.iter().all(|function| waits_at_socket(function)));
        let elsewhere = ["hrtimer_nanosleep", "futex_wait_queue", "do_wait", "inet_csk_accept"];
        assert!(!elsewhere.iter().any(|function| waits_at_socket(function)));
    }
}
