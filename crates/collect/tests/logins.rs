//! Who is logged in, by a real sshd: clients that are let in, with a terminal and without, and clients that are not.
//! Needs root and OpenSSH; without them it says aloud that it is skipped.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use toban_collect::{Root, discover};

/// Ended with the test, also where it fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn source(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 77, n)
}

fn key(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn a_login_is_who_was_let_in() {
    if !rustix::process::geteuid().is_root()
        || !["/usr/sbin/sshd", "/usr/bin/ssh"].iter().all(|p| Path::new(p).exists())
    {
        let _ = writeln!(std::io::stderr().lock(), "skipped: needs root and openssh-server, openssh-client");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    // Users other than root read their key from here.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    key(&at("host"));
    key(&at("key"));
    let ask = at("ask");
    fs::write(&ask, "#!/bin/sh\nexec sleep 120\n").unwrap();
    fs::set_permissions(&ask, fs::Permissions::from_mode(0o755)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\n\
         UsePAM no\nPidFile none\nPasswordAuthentication yes\nLoginGraceTime 120\n",
        at("host").display(),
        at("key.pub").display()
    );
    fs::write(at("config"), config).unwrap();
    let sshd = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f"])
        .arg(at("config"))
        .stderr(Stdio::null())
        .spawn();
    let _sshd = Running(sshd.unwrap());
    let connect = || TcpStream::connect(("127.0.0.1", port));
    let until = Instant::now() + Duration::from_secs(30);
    while connect().is_err() {
        assert!(Instant::now() < until, "sshd does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }

    let ssh = |n: u8, user: &str, args: &[&str]| {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        command.args(["-o", "IdentitiesOnly=yes", "-b", &source(n).to_string(), "-p", &port.to_string()]);
        command.args(["-l", user]).args(args);
        command.env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force");
        Running(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    };
    let key = at("key");
    let key = key.to_str().unwrap();
    let nobody_with_a_name = ["-o", "PreferredAuthentications=password", "127.0.0.1"];
    let _clients = [
        ssh(1, "root", &["-tt", "-i", key, "127.0.0.1", "sleep 100"]),
        ssh(2, "root", &["-T", "-i", key, "127.0.0.1", "sleep 100"]),
        ssh(3, "root", &["-N", "-i", key, "127.0.0.1"]),
        ssh(4, "nobody", &["-N", "-i", key, "127.0.0.1"]),
        // These are asked for their password, and one of them has no account.
        ssh(11, "root", &nobody_with_a_name),
        ssh(12, "nosuchuser", &nobody_with_a_name),
    ];
    // One that says only who it is, and one that says nothing.
    let mut talks = connect().unwrap();
    let mut banner = String::new();
    BufReader::new(talks.try_clone().unwrap()).read_line(&mut banner).unwrap();
    talks.write_all(b"SSH-2.0-Go\r\n").unwrap();
    let _silent = connect().unwrap();

    let mine = |address: &std::net::IpAddr| address.to_string().starts_with("127.0.");
    let let_in: Vec<std::net::IpAddr> = (1..=4).map(|n| source(n).into()).collect();
    let until = Instant::now() + Duration::from_secs(60);
    let mut same = 0;
    // They come in one after the other; then it stays so.
    while same < 5 {
        let mut logins = discover(&Root::host()).logins;
        logins.retain(mine);
        same = if logins == let_in { same + 1 } else { 0 };
        assert!(Instant::now() < until, "{logins:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
