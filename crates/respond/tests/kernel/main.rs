//! The real kernel, in network namespaces that the tests make themselves. Needs root; skips aloud without it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may panic, and says aloud what it skips"
)]

mod book;
mod netns;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use netns::{enter, has, sh};
use toban_model::{Action, ActionState, Actor, Plan, Prefix, Protected, Time};
use toban_respond::{Engine, Error, Firewall, MemoryLedger, Nftables, Reconciled, Target, Wanted};

/// What the independent reader sees; `None` (said aloud) without the `nft` program.
fn nft(arguments: &str) -> Option<String> {
    if !has("nft") {
        eprintln!("SKIPPED the independent reader: the program nft is missing (apt-get install nftables)");
        return None;
    }
    Some(sh(&format!("nft {arguments}")))
}

/// Addresses of this namespace, so that connections come from them.
fn own(addresses: &[&str]) {
    for address in addresses {
        let length = if address.parse::<IpAddr>().unwrap().is_ipv4() { 32 } else { 128 };
        sh(&format!("ip addr add {address}/{length} dev lo nodad"));
    }
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn ban_step(prefixes: &[&str], ports: &[u16], for_s: u64) -> Action {
    Action::Ban { prefixes: prefixes.iter().map(|p| prefix(p)).collect(), ports: ports.to_vec(), for_s }
}

fn plan(steps: Vec<Action>) -> Plan {
    Plan { cause: "manual".to_owned(), steps, ..Plan::default() }
}

fn engine(ledger: &MemoryLedger) -> Engine {
    let mut engine = Engine::new(Box::new(ledger.clone()), Box::new(Nftables::open().unwrap()));
    engine.reconcile(now()).unwrap();
    engine
}

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_micros(i64::try_from(since.as_micros()).unwrap())
}

#[track_caller]
fn act(engine: &mut Engine, steps: Vec<Action>) -> toban_model::ActionRecord {
    let record = engine.carry_out(now(), &plan(steps), &Protected::default(), Actor::Agent, None).unwrap();
    assert_eq!(record.state, ActionState::Done, "{:?}", record.notes);
    record
}

/// Connects from one address of this namespace to another. Not std's, which cannot bind first.
fn connect_from(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};
    let from: IpAddr = from.parse().unwrap();
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let fd = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    bind(&fd, &SocketAddr::new(from, 0))?;
    sockopt::set_socket_timeout(fd.as_fd(), sockopt::Timeout::Send, Some(Duration::from_millis(700)))?;
    connect(&fd, &to)?;
    Ok(TcpStream::from(fd))
}

fn held(engine: &mut Engine) -> Vec<String> {
    engine.bans_in_kernel().unwrap().iter().map(|ban| ban.target.to_string()).collect()
}

#[test]
fn a_ban_drops_what_it_says_and_nothing_else() {
    if !enter("a_ban_drops_what_it_says_and_nothing_else") {
        return;
    }
    own(&["192.0.2.1", "198.51.100.7", "198.51.100.200", "203.0.113.9", "2001:db8::1", "2001:db8:7::7"]);
    let all = TcpListener::bind("[::]:0").unwrap();
    let other = TcpListener::bind("[::]:0").unwrap();
    let port = all.local_addr().unwrap().port();
    let other_port = other.local_addr().unwrap().port();
    let at = |address: &str, port: u16| SocketAddr::new(address.parse().unwrap(), port);
    let open = |from: &str, port: u16| {
        let to = if from.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        match connect_from(from, at(to, port)) {
            Ok(_) => true,
            Err(error) => {
                // EAGAIN or EINPROGRESS: nobody answered within the time.
                assert!(matches!(error.raw_os_error(), Some(11 | 110 | 115)), "{from} to {port}: {error}");
                false
            }
        }
    };
    let ledger = MemoryLedger::default();
    let mut engine = engine(&ledger);
    let everybody = ["198.51.100.7", "198.51.100.200", "203.0.113.9", "2001:db8:7::7"];
    for from in everybody {
        // A new v6 address may take a moment to be routed.
        let reached = |port| (0..5).any(|_| open(from, port));
        assert!(reached(port) && reached(other_port), "{from} before");
    }

    // One prefix on one port, one address on all ports, one v6 network; overlapping ones side by side.
    act(&mut engine, vec![ban_step(&["198.51.100.0/25"], &[port], 600)]);
    act(&mut engine, vec![ban_step(&["203.0.113.9/32"], &[], 600)]);
    act(&mut engine, vec![ban_step(&["2001:db8:7::/48"], &[port, 443], 600)]);
    act(&mut engine, vec![ban_step(&["198.51.100.7/32"], &[port], 6000)]);
    act(&mut engine, vec![ban_step(&["198.51.100.0/28"], &[port], 60)]);
    let expected = [
        ("198.51.100.7", false, true),
        ("198.51.100.200", true, true),
        ("203.0.113.9", false, false),
        ("2001:db8:7::7", false, true),
    ];
    for (from, on_port, on_other) in expected {
        assert_eq!(
            (open(from, port), open(from, other_port)),
            (on_port, on_other),
            "{from} {:?}",
            nft("list ruleset")
        );
    }
    let bans = engine.bans_in_kernel().unwrap();
    assert_eq!(bans.len(), 5);
    for ban in &bans {
        let longest = if ban.target.prefix == prefix("198.51.100.7/32") { 6000 } else { 600 };
        assert!(ban.remaining.unwrap() <= Duration::from_secs(longest), "{ban:?}");
    }
    let packets: u64 = bans.iter().filter_map(|ban| ban.packets).sum();
    assert!(packets >= 4, "the elements count what they drop: {bans:?}");

    // The independent reader sees the same.
    if let Some(text) = nft("list table inet toban") {
        // Newer versions leave the operator out.
        let text = text.replace(" == @", " @");
        for part in [
            "type filter hook prerouting priority raw; policy accept;",
            &format!("ip saddr & 255.255.255.128 @ban4_25_{port} tcp dport @ports_{port} counter"),
            "ip saddr @ban4_32_all counter",
            "203.0.113.9 ",
            "timeout 10m",
            "ip6 saddr & ffff:ffff:ffff:: @ban6_48_443",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
    }

    // Undone, one by one, until nothing is left of toban.
    let before_last =
        engine.bans().unwrap().iter().map(|ban| ban.action).collect::<std::collections::BTreeSet<_>>();
    for id in before_last {
        assert_eq!(engine.undo(now(), id).unwrap().state, ActionState::Undone);
    }
    for from in everybody {
        assert!(open(from, port) && open(from, other_port), "{from} afterwards");
    }
    engine.reconcile(now()).unwrap();
    if let Some(text) = nft("list ruleset") {
        assert_eq!(text, "");
    }
}

#[test]
fn the_kernel_ends_a_ban_by_itself_and_a_new_time_counts() {
    if !enter("the_kernel_ends_a_ban_by_itself_and_a_new_time_counts") {
        return;
    }
    let mut nft = Nftables::open().unwrap();
    let target = |text: &str| Target::new(prefix(text), &[80]);
    let put = |nft: &mut Nftables, text: &str, ms: u64| {
        nft.put(&BTreeMap::from([(target(text), Duration::from_millis(ms))])).unwrap();
    };
    put(&mut nft, "198.51.100.7/32", 1500);
    put(&mut nft, "198.51.100.8/32", 1500);
    put(&mut nft, "198.51.100.8/32", 60_000);
    put(&mut nft, "198.51.100.9/32", 60_000);
    put(&mut nft, "198.51.100.9/32", 1500);
    assert_eq!(nft.held().unwrap().unwrap().bans.len(), 3);
    std::thread::sleep(Duration::from_millis(1700));
    let left: Vec<Target> = nft.held().unwrap().unwrap().bans.into_keys().collect();
    assert_eq!(left, [target("198.51.100.8/32")]);
    // What ended is no error for whoever takes it out or puts it in again.
    nft.remove(&[target("198.51.100.7/32"), target("203.0.113.1/32")]).unwrap();
    put(&mut nft, "198.51.100.7/32", 60_000);
    assert_eq!(nft.held().unwrap().unwrap().bans.len(), 2);
}

#[test]
fn whatever_somebody_does_to_the_table_is_put_right() {
    if !enter("whatever_somebody_does_to_the_table_is_put_right") {
        return;
    }
    if nft("list ruleset").is_none() {
        return;
    }
    let ledger = MemoryLedger::default();
    let mut engine = engine(&ledger);
    act(&mut engine, vec![ban_step(&["198.51.100.0/24", "2001:db8:7::/64"], &[80, 443], 600)]);
    act(&mut engine, vec![ban_step(&["203.0.113.9/32"], &[], 900)]);
    let book = held(&mut engine);
    assert_eq!(book.len(), 3);
    assert!(engine.reconcile(now()).unwrap().was_in_order());

    for (damage, rebuilt) in [
        ("flush ruleset", true),
        ("delete table inet toban", true),
        ("flush table inet toban", true),
        ("flush chain inet toban bans", true),
        ("insert rule inet toban bans accept", true),
        ("flush set inet toban ports_80_443", true),
        ("flush set inet toban ban4_24_80_443", false),
        ("delete element inet toban ban4_32_all { 203.0.113.9 }", false),
        ("add element inet toban ban4_32_all { 192.0.2.55 timeout 1h }", false),
        ("add element inet toban ban4_32_all { 192.0.2.56 }", false),
        ("add set inet toban mine { type ipv4_addr; }", true),
    ] {
        nft(&format!("'{damage}'"));
        let report = engine.reconcile(now()).unwrap();
        assert!(!report.was_in_order(), "{damage}");
        assert_eq!(report.rebuilt.is_some(), rebuilt, "{damage}: {report:?}");
        assert_eq!(held(&mut engine), book, "{damage}");
        assert!(engine.reconcile(now()).unwrap().was_in_order(), "{damage}, second look");
    }

    // A ban after damage that nobody has noticed yet: it says so only when it is true.
    for damage in ["flush ruleset", "flush chain inet toban bans", "insert rule inet toban bans accept"] {
        nft(&format!("'{damage}'"));
        let record = act(&mut engine, vec![ban_step(&["192.0.2.77/32"], &[80, 443], 600)]);
        assert_eq!(held(&mut engine).len(), 4, "{damage}");
        assert!(engine.reconcile(now()).unwrap().was_in_order(), "{damage}");
        engine.undo(now(), record.id).unwrap();
    }
    // Other tables are nobody's business.
    nft("add table inet other");
    nft("'add rule inet toban bans accept'");
    engine.reconcile(now()).unwrap();
    assert!(nft("list tables").unwrap().contains("other"));
}

#[test]
fn a_new_engine_finds_what_the_old_one_left() {
    if !enter("a_new_engine_finds_what_the_old_one_left") {
        return;
    }
    let ledger = MemoryLedger::default();
    act(&mut engine(&ledger), vec![ban_step(&["198.51.100.0/24"], &[80], 600)]);
    let mut second = Engine::new(Box::new(ledger.clone()), Box::new(Nftables::open().unwrap()));
    assert_eq!(second.reconcile(now()).unwrap(), Reconciled::default());
    act(&mut second, vec![ban_step(&["198.51.100.0/24"], &[80], 3600)]);
    let bans = second.bans_in_kernel().unwrap();
    assert_eq!(bans.len(), 1, "never doubled");
    assert!(bans[0].remaining.unwrap() > Duration::from_secs(3500));
    // The longer one is undone: the shorter one's time counts again.
    second.undo(now(), toban_model::ActionId(2)).unwrap();
    assert!(second.bans_in_kernel().unwrap()[0].remaining.unwrap() <= Duration::from_secs(600));
    // The host was restarted: the kernel is empty, time has passed.
    Nftables::open().unwrap().rebuild(&Wanted::default()).unwrap();
    let later = now() + Duration::from_secs(300);
    let mut third = Engine::new(Box::new(ledger), Box::new(Nftables::open().unwrap()));
    assert_eq!(third.reconcile(later).unwrap().restored.len(), 1);
    let left = third.bans_in_kernel().unwrap()[0].remaining.unwrap();
    assert!(left > Duration::from_secs(290) && left <= Duration::from_secs(300), "{left:?}");
    // And its time runs out.
    let expired = third.expire(later + Duration::from_secs(301)).unwrap();
    assert_eq!(expired.iter().map(|record| record.state).collect::<Vec<_>>(), [ActionState::Expired]);
    assert_eq!(third.bans_in_kernel().unwrap(), []);
}

#[test]
fn sockets_of_the_banned_are_ended_and_of_nobody_else() {
    if !enter("sockets_of_the_banned_are_ended_and_of_nobody_else") {
        return;
    }
    own(&["192.0.2.1", "198.51.100.7", "203.0.113.9", "2001:db8::1", "2001:db8:7::7"]);
    let listener = TcpListener::bind("[::]:0").unwrap();
    let v4_only = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let v4_port = v4_only.local_addr().unwrap().port();
    let v4: SocketAddr = format!("192.0.2.1:{port}").parse().unwrap();
    let v6: SocketAddr = format!("[2001:db8::1]:{port}").parse().unwrap();
    let plain: SocketAddr = format!("192.0.2.1:{v4_port}").parse().unwrap();

    // Accepted by the server: one bad (v4 on the v6 listener) and one good.
    let bad = connect_from("198.51.100.7", v4).unwrap();
    let mut bad_accepted = listener.accept().unwrap().0;
    let mut good = connect_from("203.0.113.9", v4).unwrap();
    let mut good_accepted = listener.accept().unwrap().0;
    let bad_plain = connect_from("198.51.100.7", plain).unwrap();
    // In the accept queue: ten bad, a v6 one, one that has closed already, and a good one.
    let queued: Vec<TcpStream> = (0..10).map(|_| connect_from("198.51.100.7", v4).unwrap()).collect();
    let queued_v6 = connect_from("2001:db8:7::7", v6).unwrap();
    drop(connect_from("198.51.100.7", v4).unwrap());
    let good_queued = connect_from("203.0.113.9", v4).unwrap();

    let ledger = MemoryLedger::default();
    let mut engine = engine(&ledger);
    let prefixes = ["198.51.100.0/24", "2001:db8:7::/64"];
    let record = act(
        &mut engine,
        vec![
            ban_step(&prefixes, &[port], 600),
            Action::EndSockets { prefixes: prefixes.iter().map(|p| prefix(p)).collect(), ports: vec![port] },
        ],
    );
    // The server's ends of 13; the clients' ends have other local ports, so they are not counted.
    assert_eq!(record.notes[1], "end-sockets: 13 ended, none left", "{:?}", record.notes);

    bad_accepted.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let ended = bad_accepted.read(&mut [0; 8]);
    assert!(
        ended.as_ref().is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock),
        "the worker is free: {ended:?}"
    );
    good.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    good_accepted.read_exact(&mut hello).unwrap();
    let table = sh(&format!("ss -Htan 'sport = :{port}'"));
    let others =
        table.lines().filter(|line| line.contains("198.51.100.7") || line.contains("2001:db8:7::7")).count();
    assert_eq!(others, 0, "{table}");
    assert!(table.contains("203.0.113.9"), "{table}");
    // Another port than the plan's is left alone.
    assert!(sh(&format!("ss -Htan 'sport = :{v4_port}'")).contains("198.51.100.7"));
    drop((bad, bad_plain, queued, queued_v6, good_queued));
}

#[test]
fn a_gate_opens_by_itself_unless_it_is_confirmed() {
    if !enter("a_gate_opens_by_itself_unless_it_is_confirmed") {
        return;
    }
    // A veth pair: what comes over loopback is never gated.
    let peer = std::process::id();
    let peer_ns = format!("toban-gate-{peer}");
    sh(&format!("ip netns add {peer_ns} && ip link add gate0 type veth peer name gate1 netns {peer_ns}"));
    struct Cleanup(String);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            sh(&format!("ip netns del {}", self.0));
        }
    }
    let cleanup = Cleanup(peer_ns.clone());
    sh(&format!(
        "ip addr add 192.0.2.1/24 dev gate0 && ip link set gate0 up && \
         ip -n {peer_ns} addr add 192.0.2.2/24 dev gate1 && ip -n {peer_ns} addr add 192.0.2.3/24 dev gate1 && ip -n {peer_ns} link set gate1 up"
    ));
    let listener = TcpListener::bind("192.0.2.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let open = |from: &str| {
        std::process::Command::new("ip")
            .args(["netns", "exec", &peer_ns, "timeout", "1", "bash", "-c"])
            // bash cannot bind, so the route chooses the source.
            .arg(format!("ip route replace 192.0.2.1 dev gate1 src {from} && : < /dev/tcp/192.0.2.1/{port}"))
            .status()
            .unwrap()
            .success()
    };
    assert!(open("192.0.2.2") && open("192.0.2.3"));
    let ledger = MemoryLedger::default();
    let mut engine = engine(&ledger);
    let gate = Action::AcceptOnlyFrom {
        ports: vec![port],
        from: vec![prefix("192.0.2.2/32")],
        confirm_within_s: 10,
    };
    let first = act(&mut engine, vec![gate.clone()]);
    assert!(open("192.0.2.2") && !open("192.0.2.3"), "{:?}", nft("list ruleset"));
    assert!(TcpStream::connect(("192.0.2.1", port)).is_ok(), "the host reaches itself");
    assert!(engine.reconcile(now()).unwrap().was_in_order());

    // Nobody confirms, and toban is gone: the kernel opens it.
    drop(engine);
    std::thread::sleep(Duration::from_millis(9_500));
    assert!(open("192.0.2.3"), "{:?}", nft("list ruleset"));
    let mut engine = Engine::new(Box::new(ledger.clone()), Box::new(Nftables::open().unwrap()));
    engine.reconcile(now() + Duration::from_secs(1)).unwrap();
    assert_eq!(engine.action(first.id).unwrap().unwrap().state, ActionState::Undone);

    // Confirmed, it stands, also after a flush; undone, nothing is left.
    let second = act(&mut engine, vec![gate]);
    assert_eq!(engine.confirm(now(), second.id).unwrap().state, ActionState::Worked);
    Nftables::open().unwrap().rebuild(&Wanted::default()).unwrap();
    engine.reconcile(now() + Duration::from_secs(3600)).unwrap();
    assert!(open("192.0.2.2") && !open("192.0.2.3"));
    engine.undo(now(), second.id).unwrap();
    assert!(open("192.0.2.3"));
    engine.reconcile(now()).unwrap();
    if let Some(text) = nft("list ruleset") {
        assert_eq!(text, "");
    }
    drop(cleanup);
}

#[test]
fn without_rights_it_says_so() {
    if std::env::var_os("TOBAN_TEST_NO_RIGHTS").is_some() {
        let error = Nftables::open().err().unwrap();
        assert!(matches!(error, Error::NoRights { .. }), "{error}");
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
        return;
    }
    let mut command = std::process::Command::new("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--reuid=65534", "--clear-groups"]);
    if !rustix::process::geteuid().is_root() || !netns::has("setpriv") {
        eprintln!("SKIPPED without_rights_it_says_so: it needs root and setpriv, to give rights away");
        return;
    }
    // The binary may lie where only root can go.
    let directory = tempfile::tempdir().unwrap();
    let binary = directory.path().join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    sh(&format!("chmod 755 {} {}", directory.path().display(), binary.display()));
    let status = command
        .arg(&binary)
        .args(["--exact", "without_rights_it_says_so", "--nocapture"])
        .env("TOBAN_TEST_NO_RIGHTS", "1")
        .status()
        .unwrap();
    assert!(status.success());
}

/// Figures, and that ten thousand bans are one round: `cargo nextest run -p toban-respond many_bans --no-capture`.
#[test]
fn many_bans_are_loaded_at_once_and_one_more_is_quick() {
    if !enter("many_bans_are_loaded_at_once_and_one_more_is_quick") {
        return;
    }
    let count: u32 = std::env::var("TOBAN_TEST_BANS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let mut nft = Nftables::open().unwrap();
    let host = |n: u32| Target::new(Prefix::from(IpAddr::from((0x0b00_0000 + n).to_be_bytes())), &[80, 443]);
    let bans: BTreeMap<Target, Duration> = (0..count).map(|n| (host(n), Duration::from_secs(3600))).collect();
    let begun = Instant::now();
    nft.put(&bans).unwrap();
    let loaded = begun.elapsed();
    let mut one: Vec<Duration> = (0..200)
        .map(|n| {
            let begun = Instant::now();
            nft.put(&BTreeMap::from([(host(count + n), Duration::from_secs(3600))])).unwrap();
            begun.elapsed()
        })
        .collect();
    one.sort();
    let begun = Instant::now();
    assert_eq!(nft.held().unwrap().unwrap().bans.len() as u32, count + 200);
    let read = begun.elapsed();
    eprintln!(
        "{count} bans in and seen {loaded:?}; one more, in and seen: median {:?}, p99 {:?}; all read back {read:?}; {}",
        one[100],
        one[198],
        sh(&format!("grep VmHWM /proc/{}/status", std::process::id())).trim()
    );
    // Ten times what it takes on a quiet machine: a guard against another order of growth.
    assert!(one[100] < Duration::from_millis(20), "{:?}", one[100]);
    let begun = Instant::now();
    nft.remove(&bans.keys().cloned().collect::<Vec<_>>()).unwrap();
    eprintln!("taken out in {:?}", begun.elapsed());
    assert_eq!(nft.held().unwrap().unwrap().bans.len(), 200);

    // The whole way of a plan with the book in memory.
    let ledger = MemoryLedger::default();
    let mut engine = engine(&ledger);
    let mut whole: Vec<Duration> = (0..200)
        .map(|n| {
            let step = Action::Ban { prefixes: vec![host(n).prefix], ports: vec![80, 443], for_s: 3600 };
            let begun = Instant::now();
            act(&mut engine, vec![step]);
            begun.elapsed()
        })
        .collect();
    whole.sort();
    eprintln!("a plan, checked, in the kernel and seen: median {:?}, p99 {:?}", whole[100], whole[198]);
}

/// A crowd of bans goes into sets without counters, one by one into sets with; whichever it is, it is one ban.
#[test]
fn a_ban_is_one_whether_it_came_alone_or_in_a_crowd() {
    if !enter("a_ban_is_one_whether_it_came_alone_or_in_a_crowd") {
        return;
    }
    let mut nft = Nftables::open().unwrap();
    let host = |n: u32| Target::new(Prefix::from(IpAddr::from((0x0b00_0000 + n).to_be_bytes())), &[80]);
    let hour = Duration::from_secs(3600);
    let alone = BTreeMap::from([(host(1 << 20), hour)]);
    nft.put(&alone).unwrap();
    let crowd: BTreeMap<Target, Duration> = (0..5_000).map(|n| (host(n), hour)).collect();
    nft.put(&crowd).unwrap();
    let look = |nft: &mut Nftables, n: u32| {
        let target = host(n);
        nft.held_of(&[&target]).unwrap().unwrap().bans.remove(&target)
    };
    assert!(look(&mut nft, 1 << 20).unwrap().packets.is_some());
    assert_eq!(look(&mut nft, 7).unwrap().packets, None);
    // A new time for one of the crowd does not make two of it.
    let before = nft.generation().unwrap();
    nft.put(&BTreeMap::from([(host(7), hour * 2)])).unwrap();
    assert_ne!(nft.generation().unwrap(), before);
    assert!(look(&mut nft, 7).unwrap().remaining.unwrap() > hour);
    nft.remove(&[host(7), host(1 << 20)]).unwrap();
    assert_eq!((look(&mut nft, 7), look(&mut nft, 1 << 20)), (None, None));
    assert_eq!(nft.held_of(&crowd.keys().collect::<Vec<_>>()).unwrap().unwrap().bans.len(), 4_999);
    let unchanged = nft.generation().unwrap();
    assert_eq!(nft.generation().unwrap(), unchanged);
}
