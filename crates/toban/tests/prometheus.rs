//! The real `toban run` beside a real Prometheus: what it serves is scraped, what it sends is taken, and promtool has
//! nothing to say against it. Skipped, aloud, where Prometheus is not installed.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TOBAN: &str = env!("CARGO_BIN_EXE_toban");
/// On a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command, log: &Path) -> Running {
    let log = File::create(log).unwrap();
    let errors = log.try_clone().unwrap();
    Running(command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().unwrap())
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The body of a page, once there is one.
fn fetch(address: SocketAddr, path: &str) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: */*\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

fn wait_for<T>(what: &str, logs: &[&Path], mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        if Instant::now() > until {
            let said: Vec<String> =
                logs.iter().map(|log| std::fs::read_to_string(log).unwrap_or_default()).collect();
            panic!("no {what}\n{}", said.join("\n----\n"));
        }
        std::thread::sleep(Duration::from_millis(300));
    }
}

/// How many series a query finds.
fn count(prometheus: SocketAddr, query: &str) -> Option<f64> {
    let answer = fetch(prometheus, &format!("/api/v1/query?query={query}"))?;
    let (_, value) = answer.rsplit_once(",\"")?;
    value.split('"').next()?.parse().ok()
}

#[test]
fn a_real_prometheus_takes_what_is_served_and_what_is_sent() {
    let here = |program: &str| Command::new(program).arg("--version").output().is_ok();
    if !here("prometheus") || !here("promtool") {
        eprintln!("SKIPPED: prometheus is not installed (Debian's package prometheus)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (served, store) = (free(), free());
    let (toban_log, store_log) = (dir.path().join("toban.log"), dir.path().join("store.log"));
    let logs = [toban_log.as_path(), store_log.as_path()];
    let config = dir.path().join("toban.toml");
    let state = dir.path().join("state");
    std::fs::write(
        &config,
        format!(
            "[agent]\nstate = \"{}\"\n[metrics]\nlisten = \"{served}\"\npush = \"http://{store}/api/v1/write\"\npush_every = \"1s\"\n",
            state.display()
        ),
    )
    .unwrap();
    let scrape = dir.path().join("prometheus.yml");
    std::fs::write(
        &scrape,
        format!("scrape_configs:\n- job_name: scraped\n  scrape_interval: 1s\n  static_configs:\n  - targets: ['{served}']\n"),
    )
    .unwrap();
    // The store comes later than what it is sent.
    let _toban = start(Command::new(TOBAN).args(["run", "--config"]).arg(&config), &toban_log);
    // A counter that has been read twice is a vital.
    let text = wait_for("metrics", &logs, || {
        fetch(served, "/metrics").filter(|text| text.contains("toban_cpu_busy"))
    });
    let _store = start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", scrape.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={store}"))
            .arg("--web.enable-remote-write-receiver"),
        &store_log,
    );
    let series = text.lines().filter(|line| !line.starts_with('#')).count() as f64;
    assert!(series > 100.0, "{text}");
    for job in ["scraped", "toban"] {
        // Some come and go: an interface, a unit.
        let query = format!("count({{__name__=~%22toban_.*%22,job=%22{job}%22}})");
        wait_for(job, &logs, || count(store, &query).filter(|count| *count > series * 0.8));
        let query = format!("rate(toban_cpu_busy_seconds_total{{job=%22{job}%22}}[1m])");
        wait_for(job, &logs, || count(store, &query).filter(|busy| (0.0..=1.1).contains(busy)));
    }

    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&checked.stderr).into_owned() + &String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.is_empty(), "{said}\n{text}");
}
