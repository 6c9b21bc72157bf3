//! A real php-fpm of its own, really full: its queue is a unix socket's and in no file of `/proc`. Needs root and
//! Debian's php-fpm; otherwise it says so and is skipped.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use toban_collect::servers::{ViewState, view};
use toban_collect::{Root, discover};
use toban_model::{LogDialect, ServiceKind, Time, Waiting};

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Debian's program carries its version in its name.
fn program() -> Option<PathBuf> {
    let found = std::fs::read_dir("/usr/sbin").ok()?.flatten().map(|entry| entry.path());
    found
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
}

/// A FastCGI request for a script, as short as it may be (responder, no keep-alive).
fn request(script: &Path) -> Vec<u8> {
    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[1, kind, 0, 1, len[0], len[1], 0, 0][..], content].concat()
    }
    fn pair(name: &str, value: &str) -> Vec<u8> {
        let head = [u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap()];
        [&head[..], name.as_bytes(), value.as_bytes()].concat()
    }
    let script = script.to_str().unwrap();
    let params =
        [pair("SCRIPT_FILENAME", script), pair("REQUEST_METHOD", "GET"), pair("SCRIPT_NAME", "/wait.php")]
            .concat();
    [record(1, &[0, 1, 0, 0, 0, 0, 0, 0]), record(4, &params), record(4, &[]), record(5, &[])].concat()
}

#[test]
fn its_children_and_its_queue() {
    let Some(program) = program().filter(|_| rustix::process::geteuid().is_root()) else {
        println!("skipped: a private php-fpm needs root and /usr/sbin/php-fpm*");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let at = |name: &str| dir.path().join(name);
    let here = dir.path().display();
    std::fs::write(at("wait.php"), "<?php sleep(60);").unwrap();
    std::fs::write(
        at("fpm.conf"),
        format!("[global]\ndaemonize = no\nerror_log = {here}/error.log\ninclude = {here}/pool.d/*.conf\n"),
    )
    .unwrap();
    std::fs::create_dir(at("pool.d")).unwrap();
    std::fs::write(
        at("pool.d/www.conf"),
        format!(
            "[www]\nuser = www-data\ngroup = www-data\nlisten = {here}/fpm.sock\nlisten.backlog = 9\npm = static\n\
             pm.max_children = 3\nslowlog = {here}/slow.log\nrequest_slowlog_timeout = 30s\n"
        ),
    )
    .unwrap();
    let master = Command::new(&program)
        .args(["-F", "-y", at("fpm.conf").to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let master = Ended(master);
    let begun = Instant::now();
    let connect = || {
        let mut stream = UnixStream::connect(at("fpm.sock")).ok()?;
        stream.write_all(&request(&at("wait.php"))).ok()?;
        Some(stream)
    };
    let mut held = Vec::new();
    while held.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "php-fpm does not listen");
        match connect() {
            Some(stream) => held.push(stream),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    let root = Root::host();
    let host = discover(&root);
    let service = host.services.iter().find(|service| service.master.pid == master.0.id()).unwrap();
    assert_eq!(service.kind, ServiceKind::PhpFpm);
    assert_eq!(service.worker_limit, Some(3));
    assert_eq!(service.listens_unix, [at("fpm.sock")]);
    assert!(service.logs.iter().any(|log| log.path == at("error.log") && log.dialect == LogDialect::PhpFpm));
    assert_eq!(service.config, [at("fpm.conf"), at("pool.d/www.conf")]);

    let mut state = ViewState::new();
    let mut look = || {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        view(&root, service, Time::from_micros(i64::try_from(since.as_micros()).unwrap()), &mut state)
    };
    let begun = Instant::now();
    while look().busy != 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "two busy children wanted: {:#?}", look());
        std::thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(look().workers.len(), 3);
    held.extend((0..5).filter_map(|_| connect()));
    std::thread::sleep(Duration::from_millis(300));
    let full = look();
    assert_eq!((full.busy, full.limit), (3, Some(3)));
    assert_eq!((full.queue_len, full.queue_limit), (4, 9), "seven requests, three children");
    std::thread::sleep(Duration::from_millis(300));
    for worker in look().workers {
        assert_eq!(worker.waiting, Waiting::Backend);
        assert!(worker.held_ms.unwrap() >= 300, "{worker:?}");
    }
}
