//! What each collector tells of a host that is made of files, and what all of them tell of this one.

use super::*;

#[test]
fn the_list_and_the_folder_agree() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/collectors");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .filter(|name| name != "mod" && name != "tests")
        .collect();
    files.sort();
    let mut listed: Vec<&str> = ALL.iter().map(|(id, _)| *id).collect();
    for (id, make) in ALL {
        assert_eq!(*id, make().id());
    }
    listed.sort_unstable();
    assert_eq!(files, listed);
}

#[test]
fn this_host_has_vitals() {
    let mut sampler = Sampler::new(Root::host());
    let mut sample = Sampler::empty();
    sampler.sample(Time::from_secs(1), &mut sample);
    let names: Vec<&str> = sample.readings.iter().map(|reading| reading.name.as_ref()).collect();
    for name in [
        "cpu.busy",
        "cpu.iowait",
        "load.1",
        "memory.used",
        "memory.available",
        "disk.used:/",
        "network.received",
        "network.sent",
        "tcp.established",
        "tcp.syn_recv",
        "tcp.listen_overflows",
        "tcp.retransmits",
        "processes.count",
        "processes.running",
        "processes.blocked",
        "processes.forks",
    ] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    let unique: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len(), "a name is given twice");
    assert!(sample.readings.iter().all(|reading| reading.value.is_finite() && reading.value >= 0.0));
    assert_eq!(sampler.failures(), []);
}

#[test]
fn an_empty_root_fails_by_collector_and_goes_on() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("proc")).unwrap();
    std::fs::write(root.path().join("proc/loadavg"), "1.50 0.5 0.1 1/9 77\n").unwrap();
    let mut sampler = Sampler::new(Root::new(root.path()));
    let mut sample = Sampler::empty();
    sampler.sample(Time::ZERO, &mut sample);
    let load = sample.readings.iter().find(|reading| reading.name == "load.1").unwrap();
    assert_eq!(load.value, 1.5);
    sampler.sample(Time::ZERO, &mut sample);
    let cpu = sampler.failures().iter().find(|failure| failure.collector == "cpu").unwrap();
    assert_eq!(cpu.times, 2);
    assert!(cpu.last.contains("proc/stat"), "{}", cpu.last);
}

/// What a collector tells of a host that is made of these files.
fn check(collector: &str, files: &[(&str, &str)], expected: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let make = ALL.iter().find(|(id, _)| *id == collector).unwrap().1;
    let mut collector = make();
    let mut sample = Sampler::empty();
    // The second time from the handles that are kept.
    for _ in 0..2 {
        sample.readings.clear();
        collector.collect(&Root::new(dir.path()), &mut sample).unwrap();
        let show = |reading: &Reading| {
            let kind = if reading.kind == ReadingKind::Counter { "+" } else { "" };
            format!("{}={}{}{kind}", reading.name, reading.value, reading.unit)
        };
        let told: Vec<String> = sample.readings.iter().map(show).collect();
        for line in expected {
            assert!(told.iter().any(|told| told == line), "{line} is missing in {told:#?}");
        }
        assert_eq!(told.len(), expected.len(), "{told:#?}");
    }
}

#[test]
fn cpu() {
    check(
        "cpu",
        &[(
            "proc/stat",
            "cpu  200 20 60 900 10 2 4 8 6 0\ncpu0 150 0 0 0 0 0 0 0 0 0\ncpu1 50 20 60 900 10 2 4 8 6 0\n\
             intr 77 1 2 3\nctxt 99\nbtime 1\nprocesses 5\nprocs_running 1\nprocs_blocked 0\n",
        )],
        &[
            "cpu.busy=147%+",
            "cpu.iowait=5%+",
            "cpu.steal=4%+",
            "cpu.user=100%+",
            "cpu.nice=10%+",
            "cpu.system=30%+",
            "cpu.irq=1%+",
            "cpu.softirq=2%+",
            "cpu.guest=3%+",
            "cpu.interrupts=77/s+",
            "cpu.switches=99/s+",
            "cpu.core:0=150%+",
            "cpu.core:1=144%+",
        ],
    );
}

#[test]
fn load() {
    let expected = ["load.1=0.5", "load.5=1.25", "load.15=2", "load.threads=345"];
    check("load", &[("proc/loadavg", "0.50 1.25 2.00 3/345 6789\n")], &expected);
}

#[test]
fn memory() {
    check(
        "memory",
        &[
            (
                "proc/meminfo",
                "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\nBuffers: 10 kB\nCached: 200 kB\n\
                 SwapCached: 1 kB\nSwapTotal: 80 kB\nSwapFree: 60 kB\nDirty: 5 kB\nAnonPages: 300 kB\n",
            ),
            (
                "proc/vmstat",
                "pgfault 1000\npgmajfault 7\npswpin 3\npgscan_kswapd 4\npgscan_direct 5\n\
                 pgscan_direct_throttle 9\nallocstall_normal 6\nallocstall_movable 1\noom_kill 2\n",
            ),
        ],
        &[
            "memory.used=75%",
            "memory.available=256000B",
            "memory.swap_used=20480B",
            "memory.total=1024000B",
            "memory.free=102400B",
            "memory.buffers=10240B",
            "memory.cached=204800B",
            "memory.anonymous=307200B",
            "memory.dirty=5120B",
            "memory.swap_total=81920B",
            "memory.faults=1000/s+",
            "memory.major_faults=7/s+",
            "memory.swapped_in=3/s+",
            "memory.scanned=9/s+",
            "memory.scanned_directly=5/s+",
            "memory.stalls=7/s+",
            "memory.oom_kills=2/s+",
        ],
    );
}

/// Where a cgroup limits us, memory is what it leaves us, and a death in it is ours.
#[test]
fn memory_in_a_cgroup() {
    let unit = "sys/fs/cgroup/system.slice/toban.service";
    let in_unit = |file: &str| format!("{unit}/{file}");
    check(
        "memory",
        &[
            ("proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 900 kB\n"),
            ("proc/self/cgroup", "0::/system.slice/toban.service\n"),
            (&in_unit("memory.max"), "102400\n"),
            (&in_unit("memory.current"), "61440\n"),
            (&in_unit("memory.stat"), "anon 1\ninactive_file 10240\n"),
            (&in_unit("memory.events"), "max 3\noom_kill 4\n"),
        ],
        &[
            "memory.used=50%",
            "memory.available=51200B",
            "memory.swap_used=0B",
            "memory.total=1024000B",
            "memory.oom_kills=4/s+",
        ],
    );
}

#[test]
fn disk() {
    check(
        "disk",
        &[(
            "proc/diskstats",
            " 8 0 sda 10 1 16 3 20 2 32 4 5 1250 7500\n 8 1 sda1 9 0 0 0 9 0 0 0 0 9 9\n 7 0 loop0 1 0 0 0 1 0 0 0 0 1 1\n",
        )],
        &[
            "disk.busy:sda=125%+",
            "disk.reads:sda=10/s+",
            "disk.writes:sda=20/s+",
            "disk.read:sda=8192B/s+",
            "disk.written:sda=16384B/s+",
            "disk.queue:sda=7.5+",
            "disk.in_flight:sda=5",
        ],
    );
}

#[test]
fn network() {
    check(
        "network",
        &[(
            "proc/net/dev",
            "Inter-|   Receive\n face |bytes packets\n    lo: 500 5 0 0 0 0 0 0 500 5 0 0 0 0 0 0\n\
             eth0:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0\n  veth: 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
        )],
        &[
            "network.received=1000B/s+",
            "network.sent=2000B/s+",
            "network.received:lo=500B/s+",
            "network.sent:lo=500B/s+",
            "network.packets_received:lo=5/s+",
            "network.packets_sent:lo=5/s+",
            "network.errors:lo=0/s+",
            "network.drops:lo=0/s+",
            "network.received:eth0=1000B/s+",
            "network.sent:eth0=2000B/s+",
            "network.packets_received:eth0=10/s+",
            "network.packets_sent:eth0=20/s+",
            "network.errors:eth0=4/s+",
            "network.drops:eth0=6/s+",
        ],
    );
}

#[test]
fn tcp() {
    check(
        "tcp",
        &[
            (
                "proc/net/snmp",
                "Ip: InReceives\nIp: 1\nTcp: MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab RetransSegs OutRsts\n\
                 Tcp: -1 1 2 3 4 5 6 7\n",
            ),
            (
                "proc/net/netstat",
                "TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPFromZeroWindowAdv TCPToZeroWindowAdv PruneCalled TCPBacklogDrop\n\
                 TcpExt: 1 2 3 4 5 6 7\nIpExt: InOctets\nIpExt: 9\n",
            ),
            (
                "proc/net/sockstat",
                "sockets: used 33\nTCP: inuse 5 orphan 70 tw 8 alloc 9 mem 0\nUDP: inuse 1 mem 2\n",
            ),
        ],
        &[
            "tcp.established=5",
            "tcp.retransmits=6/s+",
            "tcp.accepted=2/s+",
            "tcp.opened=1/s+",
            "tcp.attempts_failed=3/s+",
            "tcp.resets_received=4/s+",
            "tcp.resets_sent=7/s+",
            "tcp.listen_overflows=2/s+",
            "tcp.listen_drops=3/s+",
            "tcp.syn_cookies=1/s+",
            "tcp.zero_window_sent=5/s+",
            "tcp.zero_window_ended=4/s+",
            "tcp.receive_drops=13/s+",
            "tcp.orphans=70",
            "tcp.time_wait=8",
            "tcp.memory=0B",
            "sockets.used=33",
        ],
    );
}

#[test]
fn ip_of_both_families() {
    check(
        "ip",
        &[
            (
                "proc/net/snmp",
                "Ip: InReceives OutRequests\nIp: 10 20\nIcmp: InMsgs OutMsgs\nIcmp: 1 2\n\
                 Udp: InDatagrams NoPorts InErrors\nUdp: 3 4 5\nUdpLite: InDatagrams\nUdpLite: 99\n",
            ),
            (
                "proc/net/snmp6",
                "Ip6InReceives\t100\nIp6OutRequests\t200\nIcmp6InMsgs 10\nUdp6InDatagrams 30\n",
            ),
        ],
        &[
            "ip.received=110/s+",
            "ip.sent=220/s+",
            "icmp.received=11/s+",
            "icmp.sent=2/s+",
            "udp.received=33/s+",
            "udp.no_port=4/s+",
            "udp.errors=5/s+",
        ],
    );
}

#[test]
fn pressure() {
    check(
        "pressure",
        &[
            (
                "proc/pressure/io",
                "some avg10=1.50 avg60=9.00 avg300=9.00 total=20000\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=10000\n",
            ),
            // Older kernels have no line of it.
            ("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=30000\n"),
        ],
        &[
            "pressure.cpu=3%+",
            "pressure.cpu.avg10=0%",
            "pressure.io=2%+",
            "pressure.io.avg10=1.5%",
            "pressure.io.full=1%+",
            "pressure.io.full.avg10=0.25%",
        ],
    );
}

#[test]
fn conntrack_and_file_handles() {
    let of = |name: &str| format!("proc/sys/net/netfilter/nf_conntrack_{name}");
    check(
        "conntrack",
        &[(&of("count"), "250\n"), (&of("max"), "1000\n")],
        &["conntrack.count=250", "conntrack.used=25%"],
    );
    check("conntrack", &[], &[]);
    let expected = ["file_handles.count=50", "file_handles.used=5%"];
    check("file_handles", &[("proc/sys/fs/file-nr", "50\t0\t1000\n")], &expected);
}

/// The sockets of a host that is made of files.
#[test]
fn sockets_from_files() {
    let line = |n: u32, local: &str, peer: &str, state: &str| {
        format!("   {n}: {local} {peer} {state} 00000000:00000000 00:00000000 00000000 0 0 {n} 1\n")
    };
    let text = ["  sl  local_address\n".into(), line(0, "00000000:0050", "00000000:0000", "0A")]
        .into_iter()
        .chain((1..7).map(|n| line(n, "0100007F:0050", &format!("{n:02X}0200C0:1234"), "08")))
        .collect::<String>();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("proc/net")).unwrap();
    std::fs::write(dir.path().join("proc/net/tcp"), text).unwrap();
    let mut sample = Sampler::empty();
    let mut collector = sockets::Sockets::default();
    collector.collect(&Root::new(dir.path()), &mut sample).unwrap();
    let rows: Vec<_> =
        sample.sockets.iter().map(|row| (row.state, row.port, row.peers.is_some(), row.count)).collect();
    let close_wait = toban_model::TcpState::CloseWait;
    assert_eq!(
        rows,
        [
            (close_wait, 80, false, 6),
            (toban_model::TcpState::Listen, 80, false, 1),
            (close_wait, 80, true, 6)
        ]
    );
    let gauge = sample.readings.iter().find(|reading| reading.name == "tcp.close_wait").unwrap();
    assert_eq!(gauge.value, 6.0);
}

/// File systems are asked for themselves, so the fixture's own is what is told of.
#[test]
fn space() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("proc")).unwrap();
    std::fs::create_dir_all(dir.path().join("srv")).unwrap();
    std::fs::write(dir.path().join("proc/mounts"), "/dev/a /srv ext4 rw 0 0\nnas:/ /nas nfs4 rw 0 0\n")
        .unwrap();
    let mut sample = Sampler::empty();
    space::Space::default().collect(&Root::new(dir.path()), &mut sample).unwrap();
    let reading =
        |name: &str| sample.readings.iter().find(|reading| reading.name == name).map(|reading| reading.value);
    let stat = rustix::fs::statvfs(dir.path()).unwrap();
    assert!((0.0..=100.0).contains(&reading("disk.used:/srv").unwrap()));
    let free = stat.f_bavail as f64 * stat.f_frsize as f64;
    assert!((reading("disk.free:/srv").unwrap() / free - 1.0).abs() < 0.1);
    assert_eq!(reading("disk.free:/nas"), None, "its server may be gone");
}
