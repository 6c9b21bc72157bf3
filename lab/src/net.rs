//! The network of one lab: a router with a bridge for the servers and a link for each party outside.
//!
//! Namespaces have no names: a sleeping process holds each, and it is gone with that process. All links are made
//! inside the router's namespace, so nothing ever appears among the machine's own.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;

use crate::plan::LanPlan;

const UNSHARE_MAX: Duration = Duration::from_secs(10);

/// A network namespace and the process that holds it.
pub(crate) struct Netns {
    holder: Child,
}

impl Netns {
    /// The holder ends with the thread that calls this, and after `lifetime` anyway.
    pub(crate) fn new(lifetime: Duration) -> anyhow::Result<Self> {
        let holder = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--net", "sleep"])
            .arg(lifetime.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("could not start a namespace's holder")?;
        let netns = Self { holder };
        let own = std::fs::read_link("/proc/self/ns/net")?;
        let until = Instant::now() + UNSHARE_MAX;
        while std::fs::read_link(netns.path()).is_ok_and(|its| its == own) {
            if Instant::now() > until {
                bail!("a network namespace was not made within {UNSHARE_MAX:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(netns)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.holder.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.pid())
    }

    /// A command that will run inside, with this process as its parent.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program);
        command
    }

    pub(crate) fn end(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// The router, and what is connected to it so far.
pub(crate) struct Router {
    netns: Netns,
    lan: LanPlan,
    links: u8,
}

impl Router {
    pub(crate) fn new(lan: &LanPlan, lifetime: Duration) -> anyhow::Result<Self> {
        let router = Self { netns: Netns::new(lifetime)?, lan: lan.clone(), links: 0 };
        let length = lan.prefix.prefix_len();
        // What has no route must vanish without an answer: an ICMP error would end a waiting connect() at once.
        let script = format!(
            "link set lo up\n\
             link add lan type bridge\n\
             addr add {}/{length} dev lan\n\
             link set lan up\n\
             route add blackhole default\n",
            lan.router
        );
        ip(router.netns.pid(), &script)?;
        sysctl(router.netns.pid(), "net.ipv4.ip_forward", "1")?;
        Ok(router)
    }

    /// A server on the bridge; its namespace is that of `pid`.
    pub(crate) fn connect_server(&self, name: &str, pid: u32, address: Ipv4Addr) -> anyhow::Result<()> {
        let length = self.lan.prefix.prefix_len();
        ip(
            self.netns.pid(),
            &format!(
                "link add {name} type veth peer name eth0 netns {pid}\nlink set {name} master lan\nlink set {name} up\n"
            ),
        )?;
        ip(
            pid,
            &format!(
                "link set lo up\n\
                 addr add {address}/{length} brd + dev eth0\n\
                 link set eth0 up\n\
                 route add default via {}\n",
                self.lan.router
            ),
        )
    }

    /// A party outside that owns whole prefixes. Each address of them can be bound there, since a `local` route
    /// makes it an own address ("AnyIP"), and the router sends answers there.
    pub(crate) fn connect_outside(
        &mut self,
        name: &str,
        prefixes: &[Ipv4Net],
        lifetime: Duration,
    ) -> anyhow::Result<Netns> {
        let netns = Netns::new(lifetime)?;
        self.links += 1;
        let (ours, theirs) = (Ipv4Addr::new(169, 254, self.links, 1), Ipv4Addr::new(169, 254, self.links, 2));
        let mut at_router = format!(
            "link add {name} type veth peer name eth0 netns {}\naddr add {ours}/30 dev {name}\nlink set {name} up\n",
            netns.pid()
        );
        let mut outside = format!("link set lo up\naddr add {theirs}/30 dev eth0\nlink set eth0 up\n");
        for prefix in prefixes {
            at_router.push_str(&format!("route add {prefix} via {theirs}\n"));
            outside.push_str(&format!("route add local {prefix} dev lo\n"));
        }
        // A party of one address speaks with it without having to bind it.
        let source = match prefixes {
            [one] if one.prefix_len() == 32 => format!(" src {}", one.addr()),
            _ => String::new(),
        };
        outside.push_str(&format!("route add default via {ours}{source}\n"));
        ip(self.netns.pid(), &at_router)?;
        ip(netns.pid(), &outside)?;
        Ok(netns)
    }

    pub(crate) fn end(&mut self) {
        self.netns.end();
    }
}

/// Runs a batch of `ip` commands in the network namespace of `pid`.
fn ip(pid: u32, script: &str) -> anyhow::Result<()> {
    let mut child = Command::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(["--", "ip", "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("could not run ip")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(script.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    if !done.status.success() {
        bail!("ip failed: {}\n{script}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// /proc/sys/net shows the namespace of whoever opens it, so a shell inside writes it.
fn sysctl(pid: u32, name: &str, value: &str) -> anyhow::Result<()> {
    let file = name.replace('.', "/");
    let done = Command::new("nsenter")
        .arg(format!("--net=/proc/{pid}/ns/net"))
        .args(["--", "sh", "-c", &format!("echo {value} >/proc/sys/{file}")])
        .output()?;
    if !done.status.success() {
        bail!("could not set {name}: {}", String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}
