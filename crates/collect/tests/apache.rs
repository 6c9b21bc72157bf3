//! A real Apache of its own (prefork, loopback, a high port), really held: what it works on must be seen without
//! asking it. Needs root and Debian's apache2; otherwise it says so and is skipped.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests may panic, and skip aloud")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use toban_collect::servers::{ViewState, view};
use toban_collect::{Root, discover};
use toban_model::{Host, LogDialect, LogRole, ServerView, Service, ServiceKind, Supervisor, Time, Waiting};

const APACHE: &str = "/usr/sbin/apache2";
const MODULES: &str = "/usr/lib/apache2/modules";

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap())
}

/// Ends the server it started, and nothing else.
struct Apache {
    master: Child,
    port: u16,
    dir: tempfile::TempDir,
    _backend: TcpListener,
}

impl Drop for Apache {
    fn drop(&mut self) {
        // SIGTERM lets the master end its children.
        let pid = rustix::process::Pid::from_child(&self.master);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.master.wait();
    }
}

impl Apache {
    /// `extra` comes before the site.
    fn start(mpm: &str, extra: &str) -> Option<Apache> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: a private Apache needs root");
            return None;
        }
        if !Path::new(APACHE).exists() || !Path::new(MODULES).join(format!("mod_mpm_{mpm}.so")).exists() {
            println!("skipped: {APACHE} with mpm_{mpm} is not installed");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        // It takes connections (the kernel does) and never answers.
        let backend = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = dir.path().join("apache2.conf");
        let here = dir.path().display();
        let backend_port = backend.local_addr().unwrap().port();
        std::fs::write(dir.path().join("page.txt"), "hello\n".repeat(4_000_000)).unwrap();
        std::fs::write(dir.path().join("small.txt"), "hello\n").unwrap();
        std::fs::write(
            &config,
            format!(
                "ServerRoot {here}\nServerName localhost\nListen {port}\nPidFile {here}/pid\n\
                 LoadModule mpm_{mpm}_module {MODULES}/mod_mpm_{mpm}.so\nLoadModule authz_core_module {MODULES}/mod_authz_core.so\n\
                 LoadModule proxy_module {MODULES}/mod_proxy.so\nLoadModule proxy_http_module {MODULES}/mod_proxy_http.so\n\
                 LoadModule reqtimeout_module {MODULES}/mod_reqtimeout.so\nRequestReadTimeout header=60 body=60\n\
                 ExtendedStatus On\nUser www-data\nGroup www-data\nTimeout 60\nKeepAlive On\nKeepAliveTimeout 60\n\
                 LogFormat \"%h %D \\\"%r\\\"\" timed\nCustomLog {here}/access.log timed\nErrorLog {here}/error.log\n{extra}\n\
                 <VirtualHost *:{port}>\nDocumentRoot {here}\n<Location /held>\nProxyPass http://127.0.0.1:{backend_port}/\n</Location>\n\
                 <Directory {here}>\nRequire all granted\n</Directory>\n\
                 <IfModule !mod_nothing.c>\nProxyPassMatch ^/?$ http://127.0.0.1:{backend_port}/\n</IfModule>\n</VirtualHost>\n"
            ),
        )
        .unwrap();
        std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let master = Command::new(APACHE)
            .args(["-f", config.to_str().unwrap(), "-DFOREGROUND"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            // On SIGTERM prefork signals its whole process group, which must not be ours.
            .process_group(0)
            .spawn()
            .unwrap();
        let apache = Apache { master, port, dir, _backend: backend };
        wait_for("apache to listen", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(apache)
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    fn service(&self, host: &Host) -> Service {
        let master = self.master.id();
        host.services
            .iter()
            .find(|service| service.master.pid == master)
            .unwrap_or_else(|| panic!("{host:#?}"))
            .clone()
    }
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn worker_of(view: &ServerView, peer: SocketAddr) -> &toban_model::Worker {
    view.workers
        .iter()
        .find(|worker| worker.peer == Some(peer))
        .unwrap_or_else(|| panic!("{peer} in {view:#?}"))
}

#[test]
fn held_workers_are_seen_with_method_path_and_peer() {
    let Some(apache) = Apache::start(
        "prefork",
        "<IfModule mpm_prefork_module>\nStartServers 3\nMinSpareServers 2\nMaxSpareServers 20\nMaxRequestWorkers 8\n</IfModule>\nListenBacklog 7\n",
    ) else {
        return;
    };
    let root = Root::host();
    let host = discover(&root);
    let service = apache.service(&host);
    assert_eq!(service.kind, ServiceKind::Apache);
    assert_eq!(service.worker_limit, Some(8));
    assert!(service.worker_limit_from.as_deref().unwrap().starts_with("MaxRequestWorkers in "));
    assert!(service.one_connection_per_process);
    assert_eq!(service.supervisor, Supervisor::CommandLine, "no init script started this one");
    assert_eq!(service.listens.len(), 1);
    assert_eq!(service.listens[0].port(), apache.port);
    let file = |name: &str| -> PathBuf { apache.dir.path().join(name) };
    let log = |role| service.logs.iter().find(|log| log.role == role).unwrap();
    assert_eq!(log(LogRole::Access).path, file("access.log"));
    assert_eq!(log(LogRole::Access).format.as_deref(), Some("%h %D \"%r\""));
    assert_eq!(
        (&log(LogRole::Error).path, log(LogRole::Error).dialect),
        (&file("error.log"), LogDialect::Apache)
    );
    assert_eq!(service.logs.len(), 2, "{:?}", service.logs);
    assert_eq!(service.config, [file("apache2.conf")]);
    assert_eq!(service.backends.len(), 1);

    let mut state = ViewState::new();
    let quiet = view(&root, &service, now(), &mut state);
    assert_eq!((quiet.busy, quiet.queue.len()), (0, 0), "{quiet:#?}");
    assert!(state.notes().is_empty(), "{:?}", state.notes());

    let held = [
        ("GET", "/held/page", "GET /held/page?secret=1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("POST", "/held/xmlrpc.php", "POST /held/xmlrpc.php HTTP/1.0\r\nContent-Length: 2\r\n\r\nab"),
        ("CONNECT", "shop.example:443", "CONNECT shop.example:443 HTTP/1.1\r\nHost: shop.example\r\n\r\n"),
        (
            "GET",
            "/held/forged",
            "GET /held/forged HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n",
        ),
    ]
    .map(|(method, path, request)| (method, path, apache.send(request)));
    // One that reads nothing of a long answer, one that sends half a request, one that is kept alive.
    let slow_reader = apache.send("GET /page.txt HTTP/1.0\r\n\r\n");
    let slow_sender = apache.send("GET /half HTTP/1.1\r\nHost: a\r\n");
    let mut kept_alive = apache.send("GET /small.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut answer = [0; 4096];
    let len = kept_alive.read(&mut answer).unwrap();
    assert!(answer[..len].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..len]));

    let mut look = || view(&root, &service, now(), &mut state);
    wait_for("seven held workers", || {
        look().workers.iter().filter(|worker| worker.peer.is_some()).count() == 7
    });
    std::thread::sleep(Duration::from_millis(400));
    let held_view = look();
    for (method, path, stream) in &held {
        let worker = worker_of(&held_view, stream.local_addr().unwrap());
        assert_eq!(worker.method.as_deref(), Some(*method), "{worker:?}");
        assert_eq!(worker.path.as_deref(), Some(*path), "{worker:?}");
        assert_eq!(worker.waiting, Waiting::Backend, "{worker:?}");
        assert_eq!(worker.port, Some(apache.port));
        assert!((300..20_000).contains(&worker.held_ms.unwrap()), "{worker:?}");
        assert!(worker.rss_bytes > 1 << 20);
    }
    let worker = worker_of(&held_view, slow_reader.local_addr().unwrap());
    assert_eq!((worker.waiting, worker.path.as_deref()), (Waiting::Client, Some("/page.txt")), "{worker:?}");
    let worker = worker_of(&held_view, slow_sender.local_addr().unwrap());
    assert_eq!((worker.waiting, worker.path.as_deref()), (Waiting::Client, None), "{worker:?}");
    assert!(worker.held_ms.unwrap() >= 300, "{worker:?}");
    let worker = worker_of(&held_view, kept_alive.local_addr().unwrap());
    assert_eq!((worker.waiting, worker.held_ms), (Waiting::Idle, None), "{worker:?}");
    assert_eq!(held_view.busy, 6);
    assert_eq!(held_view.limit, Some(8));

    // The eighth worker and then the queue.
    let eighth = apache.send("GET /held/eighth HTTP/1.0\r\n\r\n");
    wait_for("the eighth", || look().workers.iter().filter(|worker| worker.peer.is_some()).count() == 8);
    let queued = apache.send("GET /held/ninth HTTP/1.0\r\n\r\n");
    let gone = apache.send("GET /held/tenth HTTP/1.0\r\n\r\n");
    let (queued_peer, gone_peer) = (queued.local_addr().unwrap(), gone.local_addr().unwrap());
    drop(gone);
    wait_for("the queue", || look().queue.len() == 2);
    wait_for("the one that went", || look().queue.iter().any(|queued| queued.gone));
    let full = look();
    assert_eq!((full.queue_len, full.busy), (2, 7), "{full:#?}");
    assert_eq!(full.queue_limit, 7, "ListenBacklog");
    for (peer, is_gone) in [(queued_peer, false), (gone_peer, true)] {
        let entry = full.queue.iter().find(|queued| queued.peer == peer).unwrap();
        assert_eq!((entry.gone, entry.port), (is_gone, apache.port));
    }
    drop(eighth);
    const ROUNDS: u32 = 50;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        look();
    }
    println!("measured: one view of {} workers takes {:?}", full.workers.len(), begun.elapsed() / ROUNDS);
}

#[test]
fn a_threaded_server_is_seen_by_its_connections() {
    let Some(apache) = Apache::start(
        "event",
        "StartServers 1\nServerLimit 2\nThreadsPerChild 10\nThreadLimit 16\nMinSpareThreads 1\nMaxSpareThreads 20\nMaxRequestWorkers 20\n",
    ) else {
        return;
    };
    let root = Root::host();
    let service = apache.service(&discover(&root));
    assert!(!service.one_connection_per_process);
    assert_eq!(service.worker_limit, Some(20));
    let held: Vec<TcpStream> = (0..5)
        .map(|n| {
            // Apart in time, so that threads and connections can be told apart.
            std::thread::sleep(Duration::from_millis(250));
            apache.send(&format!("GET /held/{n} HTTP/1.1\r\nHost: a\r\n\r\n"))
        })
        .collect();
    let mut state = ViewState::new();
    wait_for("five held threads", || view(&root, &service, now(), &mut state).busy == 5);
    let seen = view(&root, &service, now(), &mut state);
    for (n, stream) in held.iter().enumerate() {
        let worker = worker_of(&seen, stream.local_addr().unwrap());
        assert_eq!(worker.waiting, Waiting::Backend, "{worker:?}");
        assert_eq!(worker.path.as_deref(), Some(format!("/held/{n}").as_str()), "{worker:?}");
    }
    let mut scoreboard = toban_collect::scoreboard::Scoreboard::new();
    let mut buffer = Vec::new();
    let children = toban_collect::procfs::children(&root, service.master.pid, &mut buffer);
    let slots = scoreboard.read(&root, service.master, &children).unwrap();
    let mut paths: Vec<_> = slots
        .iter()
        .filter(|slot| slot.status.letter() == 'W')
        .filter_map(|slot| slot.path.as_deref())
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/held/0", "/held/1", "/held/2", "/held/3", "/held/4"]);
}

#[test]
fn a_hundred_held_workers_cost_little_to_see() {
    let Some(apache) = Apache::start(
        "prefork",
        "StartServers 100\nMinSpareServers 100\nMaxSpareServers 120\nMaxRequestWorkers 100\n",
    ) else {
        return;
    };
    let root = Root::host();
    let service = apache.service(&discover(&root));
    let held: Vec<TcpStream> =
        (0..100).map(|n| apache.send(&format!("POST /held/{n} HTTP/1.0\r\n\r\n"))).collect();
    let mut state = ViewState::new();
    wait_for("a hundred", || view(&root, &service, now(), &mut state).busy == 100);
    const ROUNDS: u32 = 20;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        view(&root, &service, now(), &mut state);
    }
    println!("measured: one view of 100 held workers takes {:?}", begun.elapsed() / ROUNDS);
    let seen = view(&root, &service, now(), &mut state);
    for (n, stream) in held.iter().enumerate() {
        let worker = worker_of(&seen, stream.local_addr().unwrap());
        assert_eq!(worker.path.as_deref(), Some(format!("/held/{n}").as_str()));
    }
}
