//! Whether servers take what comes to them: is the first process still there, do connections wait, and do its processes
//! use the processor while they wait.

use std::net::{IpAddr, SocketAddr};

use toban_model::{Host, ProcessId, Pulse, Service, Upstream};

use crate::Root;
use crate::procfs::{self, ProcessStat};
use crate::sockets::{self, Socket};

/// Services looked at; a host with more has its pulse taken of the first.
const SERVICES_MAX: usize = 64;
/// Processes of one service whose states are looked at.
const PROCESSES_MAX: usize = 128;

/// Takes the pulse of services, keeping its buffer.
#[derive(Debug, Default)]
pub struct Pulses {
    buffer: Vec<u8>,
}

impl Pulses {
    /// Looks once. The states are read only of a service that may be in trouble: something waits for it, or its first
    /// process is stopped.
    pub fn take(&mut self, root: &Root, services: &[Service], listeners: &[Socket]) -> Vec<Pulse> {
        let unix = if services.iter().any(|service| !service.listens_unix.is_empty()) {
            sockets::unix_listeners(root).unwrap_or_default()
        } else {
            Vec::new()
        };
        services
            .iter()
            .take(SERVICES_MAX)
            .map(|service| {
                let master = self
                    .process(root, service.master.pid)
                    .filter(|(id, state, _)| *id == service.master && *state != b'Z');
                let tcp = listeners
                    .iter()
                    .map(|socket| &socket.connection)
                    .filter(|connection| service.listens.contains(&connection.local))
                    .map(|connection| &connection.recv_queue);
                let paths = unix
                    .iter()
                    .filter(|socket| service.listens_unix.contains(&socket.path))
                    .map(|socket| &socket.queue_len);
                let queue = tcp.chain(paths).sum();
                let mut pulse = Pulse {
                    service: service.id.clone(),
                    master: service.master,
                    lives: master.is_some(),
                    queue,
                    cpu_ticks: 0,
                    states: [0; 4],
                    waits_in: None,
                };
                if queue > 0 || master.is_some_and(|(_, state, _)| matches!(state, b'T' | b't')) {
                    for pid in service.pids.iter().take(PROCESSES_MAX) {
                        let Some((_, state, ticks)) = self.process(root, *pid) else { continue };
                        pulse.cpu_ticks += ticks;
                        match state {
                            b'T' | b't' => pulse.states[0] += 1,
                            b'D' => pulse.states[1] += 1,
                            b'R' => pulse.states[3] += 1,
                            b'Z' | b'X' => {}
                            _ => pulse.states[2] += 1,
                        }
                    }
                    pulse.waits_in = procfs::wchan(root, service.master.pid, &mut self.buffer);
                }
                pulse
            })
            .collect()
    }

    fn process(&mut self, root: &Root, pid: u32) -> Option<(ProcessId, u8, u64)> {
        let stat = ProcessStat::parse(root.read(format!("/proc/{pid}/stat"), &mut self.buffer).ok()?)?;
        Some((stat.id, stat.state, stat.cpu_ticks))
    }
}

/// Where the services of this host hand requests on to on this same host, and whether anybody listens there.
pub fn upstreams(root: &Root, host: &Host) -> Vec<Upstream> {
    // Without the list of listeners nobody can be said not to be on it.
    let (Ok(tcp), Ok(unix)) = (sockets::listeners(root), sockets::unix_listeners(root)) else {
        return Vec::new();
    };
    let tcp = tcp.list;
    let mut all = Vec::new();
    for service in host.services.iter().take(SERVICES_MAX) {
        for name in &service.backends {
            let listens = if name.starts_with('/') {
                // A path may go through a link (`/var/run`).
                let real = |path: &std::path::Path| std::fs::canonicalize(root.at(path)).ok();
                let at = real(name.as_ref());
                unix.iter().any(|socket| {
                    socket.path == std::path::Path::new(name) || at.is_some() && real(&socket.path) == at
                })
            } else {
                let Some(place) = local_place(name, &host.own) else { continue };
                tcp.iter().map(|socket| socket.connection.local).any(|address| {
                    address.port() == place.port()
                        && (address.ip().is_unspecified()
                            || address.ip() == place.ip()
                            || name.starts_with("localhost:") && address.ip().is_loopback())
                })
            };
            all.push(Upstream { name: name.clone(), of: service.id.clone(), listens });
        }
    }
    all
}

/// `127.0.0.1:9000`, `localhost:9000`, `[::1]:9000` or an address of this host's own.
fn local_place(name: &str, own: &[IpAddr]) -> Option<SocketAddr> {
    let place: SocketAddr = match name.strip_prefix("localhost:") {
        Some(port) => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port.parse().ok()?),
        None => name.parse().ok()?,
    };
    (place.ip().is_loopback() || own.contains(&place.ip())).then_some(place)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use toban_model::{ServiceKind, Supervisor};

    use super::*;

    /// What waits in a queue that nobody empties is seen, and gone when the process is.
    #[test]
    fn a_queue_that_nobody_empties() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (master, ..) =
            Pulses::default().process(&Root::host(), std::process::id()).expect("this process is in /proc");
        let service = Service {
            id: "own".into(),
            kind: ServiceKind::Other,
            master,
            pids: vec![master.pid],
            exe: "/proc/self/exe".into(),
            listens: vec![address],
            listens_unix: Vec::new(),
            worker_limit: None,
            worker_limit_from: None,
            trusted_proxies: Vec::new(),
            backends: vec![address.to_string(), "/nowhere.sock".into(), "192.0.2.1:80".into()],
            logs: Vec::new(),
            config: Vec::new(),
            supervisor: Supervisor::CommandLine,
            one_connection_per_process: false,
        };
        let host = Host { services: vec![service.clone()], ..Host::default() };
        let pulses = |services: &[Service]| {
            let listeners = sockets::listeners(&Root::host()).unwrap().list;
            Pulses::default().take(&Root::host(), services, &listeners)
        };
        let take = || pulses(std::slice::from_ref(&service)).remove(0);
        assert!(take().lives);
        let _waiting = TcpStream::connect(address).unwrap();
        let pulse = take();
        assert!(pulse.queue >= 1, "{pulse:?}");
        assert!(pulse.states.iter().sum::<u32>() >= 1, "{pulse:?}");
        let mut other = service.clone();
        other.master.start_ticks += 1;
        assert!(!pulses(&[other])[0].lives, "a later process of the same number");
        let found = upstreams(&Root::host(), &host);
        let listens: Vec<bool> = found.iter().map(|upstream| upstream.listens).collect();
        assert_eq!(listens, [true, false], "elsewhere is not for this host to see: {found:?}");
        drop(listener);
        assert!(!upstreams(&Root::host(), &host)[0].listens);
    }
}
