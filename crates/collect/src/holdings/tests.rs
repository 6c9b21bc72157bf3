//! Against a made tree where the kernel's answers are files, and against this host where they are not.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};

use super::*;

fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let tree = crate::root::tests::tree(files);
    let root = Root::new(tree.path());
    (tree, root)
}

#[test]
fn a_table_of_connections_is_read_when_it_is_nearly_full() {
    let mut table = String::new();
    for n in 0..90 {
        table.push_str(&format!(
            "ipv4     2 tcp      6 118 SYN_SENT src=198.51.100.{} dst=192.0.2.1 sport=4{n:03} dport=80 [UNREPLIED] src=192.0.2.1 dst=198.51.100.7 sport=80 dport=4{n:03} mark=0 use=1\n",
            if n < 80 { 7 } else { 8 }
        ));
    }
    let sysctl = "/proc/sys/net/netfilter";
    let files = [
        (&*format!("{sysctl}/nf_conntrack_count"), "90\n"),
        (&*format!("{sysctl}/nf_conntrack_max"), "100\n"),
        ("/proc/net/stat/nf_conntrack", "entries drop early_drop\n5a 3 1\n5a 1 0\n"),
        ("/proc/net/nf_conntrack", &table),
    ];
    let (_tree, root) = tree(&files);
    let tracked = ports::tracked(&root).unwrap();
    assert_eq!((tracked.used, tracked.limit, tracked.drops), (90, 100, 5));
    assert_eq!((tracked.read, tracked.unanswered), (90, 90));
    let source = |text: &str, n| (text.parse().unwrap(), n);
    assert_eq!(tracked.sources, [source("198.51.100.7", 80), source("198.51.100.8", 10)]);
    std::fs::write(root.at(format!("{sysctl}/nf_conntrack_max")), "1000\n").unwrap();
    assert_eq!(ports::tracked(&root).unwrap().read, 0, "room enough: nobody asks whose it is");
}

#[test]
fn ports_towards_one_place_are_counted_once_few_are_left() {
    let mut tcp = String::from(
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
    );
    let line = |port: u16, peer: &str, state: &str| {
        format!(
            "   0: 010200C0:{port:04X} {peer} {state} 00000000:00000000 00:00000000 00000000    33        0 0 1\n"
        )
    };
    for port in 40_000..40_080 {
        tcp.push_str(&line(port, "050200C0:0CEA", "06"));
    }
    tcp.push_str(&line(40_090, "050200C0:0CEA", "01"));
    tcp.push_str(&line(80, "076433C6:9C40", "01"));
    let files = [
        ("/proc/sys/net/ipv4/ip_local_port_range", "40000\t40099\n"),
        ("/proc/sys/net/ipv4/ip_local_reserved_ports", "40098-40099\n"),
        ("/proc/net/sockstat", "sockets: used 9\nTCP: inuse 2 orphan 0 tw 80 alloc 3 mem 1\n"),
        ("/proc/net/tcp", &tcp),
    ];
    let (_tree, root) = tree(&files);
    let found = ports::ephemeral(&root, &[]).unwrap();
    assert_eq!(found.limit, 98);
    let [to] = &found.destinations[..] else { panic!("{found:?}") };
    assert_eq!(
        (to.to, to.used, to.time_wait, to.established),
        ("192.0.2.5:3306".parse().unwrap(), 81, 80, 1)
    );
    // Where ports in TIME-WAIT are given out again they are not taken.
    std::fs::write(root.at("/proc/sys/net/ipv4/tcp_tw_reuse"), "1\n").unwrap();
    assert_eq!(ports::ephemeral(&root, &[]).unwrap().destinations, []);
}

#[test]
fn this_process_is_seen_near_a_limit_and_its_files_by_kind() {
    let (_tree, root) = tree(&[
        ("/proc/sys/fs/file-nr", "1000\t0\t100000\n"),
        ("/proc/7/stat", "7 (api) S 1 7 7 0 -1 4194560 1 0 0 0 7 3 0 0 20 0 5 0 123 1000 250 0 0"),
        (
            "/proc/7/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            24                   4096                 files     \n",
        ),
        ("/proc/7/cgroup", "0::/system.slice/api.service\n"),
    ]);
    std::fs::create_dir_all(root.at("/proc/7/fd")).unwrap();
    for fd in 0..22 {
        std::os::unix::fs::symlink(format!("socket:[{fd}]"), root.at(format!("/proc/7/fd/{fd}"))).unwrap();
    }
    let mut found = Holdings::default();
    let mut limits = handles::Limits::default();
    limits.look(&root, &[7], &mut found);
    let [holder] = &found.handle_holders[..] else { panic!("{found:?}") };
    assert_eq!((holder.used, holder.limit), (22, 24));
    assert_eq!(holder.mostly, Some(("socket".into(), 22)));
    assert_eq!((holder.owner.comm.as_str(), holder.owner.unit.as_deref()), ("api", Some("api.service")));
}

#[test]
fn a_process_far_from_its_limit_is_looked_at_in_turn_or_when_the_machine_says_so() {
    let stat = "7 (api) S 1 7 7 0 -1 4194560 1 0 0 0 7 3 0 0 20 0 5 0 123 1000 250 0 0";
    let limit = "Max open files            24                   4096                 files     \n";
    let (_tree, root) =
        tree(&[("/proc/7/stat", stat), ("/proc/7/limits", limit), ("/proc/7/cgroup", "0::/\n")]);
    std::fs::create_dir_all(root.at("/proc/7/fd")).unwrap();
    let machine = |used: u64| {
        std::fs::create_dir_all(root.at("/proc/sys/fs")).unwrap();
        std::fs::write(root.at("/proc/sys/fs/file-nr"), format!("{used}\t0\t100000\n")).unwrap();
    };
    let open = |fds: std::ops::Range<u32>| {
        fds.for_each(|fd| {
            std::os::unix::fs::symlink("socket:[1]", root.at(format!("/proc/7/fd/{fd}"))).unwrap();
        });
    };
    let sees = |limits: &mut handles::Limits| {
        let mut found = Holdings::default();
        limits.look(&root, &[7], &mut found);
        !found.handle_holders.is_empty()
    };
    let (mut by_turn, mut by_machine) = (handles::Limits::default(), handles::Limits::default());
    machine(1000);
    open(0..10);
    assert!(!sees(&mut by_turn) && !sees(&mut by_machine));
    open(10..23);
    let looks: Vec<bool> = (0..5).map(|_| sees(&mut by_turn)).collect();
    assert!(!looks[0] && looks[3] && looks[4], "late by a few looks, then in each: {looks:?}");
    machine(1200);
    assert!(sees(&mut by_machine), "somebody opened many");
}

#[test]
fn a_search_finds_the_deepest_place_that_holds_most() {
    let (tree, root) =
        tree(&[("/etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")]);
    for n in 0..30 {
        let folder = tree.path().join(format!("var/lib/php/sessions/{}", n % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("sess_{n}")), "x").unwrap();
    }
    let large = tree.path().join("var/log/big one.log");
    std::fs::create_dir_all(large.parent().unwrap()).unwrap();
    std::fs::write(&large, vec![b'x'; 4 << 20]).unwrap();
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(tree.path()).unwrap());
    let now = Time::from_secs(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64);
    let found = places::search(&root, std::path::Path::new("/"), device, true, now);
    let (bytes, inodes) = (found.bytes_in.unwrap(), found.inodes_in.unwrap());
    assert_eq!(bytes.path, "/var/log", "{bytes:?}");
    assert!(bytes.bytes >= 4 << 20 && bytes.bytes_of_today >= 4 << 20 && bytes.complete, "{bytes:?}");
    assert_eq!((inodes.path.as_str(), inodes.entries), ("/var/lib/php/sessions", 33));
    assert_eq!(found.files[0].path, "/var/log/big one.log");
}

#[test]
fn databases_are_counted_at_their_sockets() {
    // A database by its name alone: this test's own sockets stand for it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let held: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    let accepted: Vec<TcpStream> = (0..3).map(|_| listener.accept().unwrap().0).collect();
    let mut own = std::collections::HashSet::new();
    procfs::for_each_fd(&Root::host(), std::process::id(), |_, target| {
        if let procfs::FdTarget::Socket(inode) = target {
            own.insert(inode);
        }
    });
    let ends = databases::Ends::of(&Root::host(), &own).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ends.tcp.iter().filter(|end| end.local.port() == port).count(), 3);
    let clients = ends.clients(&Root::host(), &[std::process::id()]);
    assert!(
        clients
            .iter()
            .any(|client| client.owner.as_ref().is_some_and(|owner| owner.process.pid == std::process::id()))
    );
    drop((held, accepted));
}

#[test]
fn a_look_at_this_host_answers() {
    let mut reader = Reader::start(Root::host()).unwrap();
    reader.ask(Time::from_secs(1_700_000_000));
    let found = reader.take(Duration::from_secs(30)).expect("a look takes a few seconds at most");
    assert!(found.at >= Time::from_secs(1_700_000_000));
    assert!(
        found.filesystems.iter().all(|one| one.size_bytes > 0 && one.used_bytes <= one.size_bytes),
        "{found:?}"
    );
    assert_eq!(reader.take(Duration::ZERO), None, "each question has one answer");
}

/// A file that is written to its end, one that is deleted and open, and one that a database writes in between.
#[test]
fn open_files_are_told_by_how_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut log = std::fs::OpenOptions::new().append(true).create(true).open(path("a.log")).unwrap();
    log.write_all(&vec![b'x'; 2 << 20]).unwrap();
    let mut gone = std::fs::File::create(path("gone.tmp")).unwrap();
    gone.write_all(&vec![b'x'; 1 << 20]).unwrap();
    std::fs::remove_file(path("gone.tmp")).unwrap();
    let database = std::fs::File::create(path("ibdata1")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&database, &vec![b'x'; 3 << 20], 0).unwrap();
    let root = Root::host();
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(folder.path()).unwrap());
    let files = space::open_files_on(&root, &[std::process::id()], device);
    let of = |name: &str| files.iter().find(|file| file.path == path(name).to_string_lossy()).unwrap();
    assert!(of("a.log").appended && !of("a.log").deleted);
    assert!(of("gone.tmp").deleted && of("gone.tmp").bytes >= 1 << 20);
    assert!(!of("ibdata1").appended && of("ibdata1").bytes >= 3 << 20);
    assert_eq!(of("a.log").writer.as_ref().map(|owner| owner.process.pid), Some(std::process::id()));
}
