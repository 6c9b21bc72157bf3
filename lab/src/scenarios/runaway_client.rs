//! `runaway-client`: a script that watches a log asks a registry about every new address. One answer breaks off early,
//! and the client that waits for its end reads the end of the connection for ever, with a core of its own.
//!
//! Beside it a job runs by the clock. While `/run/share-hangs` exists, it does not end, and the next ones neither.

use super::Scenario;
use super::parts::{
    Counts, Neighbourhood, PAGE_PHP, argv, base_setup, default_site, file, mod_php, prefork, shell, site,
    sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{FilePlan, HostPlan, Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "runaway-client",
    about: "a client started by a log watcher spins at the end of a connection that its server closed (perl, bash, apache2)",
    draw,
};

const CLIENTS: &[&str] = &["lookup", "netinfo", "ask-registry", "origin"];
const WATCHERS: &[&str] = &["watch-log.sh", "guard.sh", "who-asks.sh"];
const REGISTRY_PORT: u16 = 43;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 60..=80, client_prefixes: 20..=30, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let client = draw.rng().choice(CLIENTS).map_or("lookup", |name| *name);
    let client = draw.text("client", client)?;
    let watcher = draw.rng().choice(WATCHERS).map_or("watch.sh", |name| *name);
    let watcher = draw.text("watcher", watcher)?;
    let workers = draw.number("workers", 20..=30)?;
    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) = sources(draw.rng(), &who.attacker_prefixes, 1, 1);
    let clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);
    let path = "/.env";
    let requests = vec![format!("GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: -\r\n\r\n", who.site)];
    let format = r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D"#;
    files.push(default_site(&who.site, format, ""));
    files.push(prefork(workers));
    files.push(file("/var/www/html/index.php", format!("<?php\n{PAGE_PHP}")));
    files.push(program(&format!("/usr/local/bin/{client}"), CLIENT_PL));
    let script = WATCHER_SH.replace("CLIENT", &client).replace("REGISTRY", &who.balancer.to_string());
    files.push(program(&format!("/usr/local/bin/{watcher}"), &script));
    files.push(program("/usr/local/bin/share-sync", JOB_PL));
    files.push(program("/usr/local/sbin/by-the-clock.sh", CLOCK_SH));
    let aside = |path: &str| shell(&format!("setsid {path} </dev/null >/dev/null 2>&1 &"));
    let web = HostPlan {
        name: "web1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: Some(768 << 20),
        files,
        setup: [base_setup(), mod_php()].concat(),
        services: vec![
            argv("rsyslogd"),
            argv("service ssh start"),
            argv("service apache2 start"),
            aside(&format!("/usr/local/bin/{watcher}")),
            aside("/usr/local/sbin/by-the-clock.sh"),
        ],
    };
    let cut_off = who.attacker_prefixes.first().map(ToString::to_string).unwrap_or_default();
    let cut_off = cut_off.split_once("0/").map_or(cut_off.as_str(), |(network, _)| network).to_owned();
    let registry = HostPlan {
        name: "registry".into(),
        address: who.balancer,
        memory_limit_bytes: Some(256 << 20),
        files: vec![program(
            "/usr/local/sbin/registryd",
            &REGISTRY_PL.replace("PORT", &REGISTRY_PORT.to_string()).replace("CUTOFF", &cut_off),
        )],
        setup: Vec::new(),
        services: vec![aside("/usr/local/sbin/registryd")],
    };
    let truth = Truth {
        where_: [
            ("comm", client),
            ("script", format!("/usr/local/bin/{watcher}")),
            ("peer", format!("{}:{REGISTRY_PORT}", who.balancer)),
        ]
        .map(|(key, value)| (key.into(), value))
        .into(),
        ..who.truth("runaway-process", who.server(workers, None, Some(768 << 20)), attackers, 1)
    };
    // The server keeps the connection open for its next request, which never comes.
    let attack = who.attack(20_000, sources, requests);
    Ok(Plan { lan: who.lan, hosts: vec![web, registry], clients, admin, attack, truth })
}

fn program(path: &str, content: &str) -> FilePlan {
    FilePlan { mode: 0o755, ..file(path, content) }
}

/// Waits for the line that ends an answer. At the end of the connection it reads nothing, and tries again.
const CLIENT_PL: &str = r#"#!/usr/bin/perl
use strict;
use IO::Select;
use IO::Socket::INET;
my ($server, $what) = @ARGV;
my $socket = IO::Socket::INET->new(PeerAddr => $server, PeerPort => 43, Timeout => 10) or exit 1;
print $socket "$what\r\n";
$socket->flush;
my ($ready, $answer) = (IO::Select->new($socket), '');
until ($answer =~ /^% end/m) {
    $ready->can_read(10) or next;
    sysread($socket, my $part, 65488);
    $answer .= $part if defined $part;
}
print $answer;
"#;

/// Asks about each address once that asked for what is not there.
const WATCHER_SH: &str = r#"#!/bin/bash
declare -A seen
tail -n 0 -F /var/log/apache2/access.log 2>/dev/null | while read -r line; do
    case "$line" in
        *'" 404 '*) ;;
        *) continue ;;
    esac
    address=${line%% *}
    [ -n "${seen[$address]}" ] && continue
    seen[$address]=1
    /usr/local/bin/CLIENT REGISTRY "$address" | grep -i '^country' >>/var/log/lookups.log
done
"#;

/// Answers, and hangs up in the middle of the answer about one network.
const REGISTRY_PL: &str = r#"#!/usr/bin/perl
use strict;
use IO::Socket::INET;
my $listener = IO::Socket::INET->new(LocalPort => PORT, Listen => 64, ReuseAddr => 1) or die;
while (my $peer = $listener->accept) {
    my $what = <$peer> // '';
    print $peer "% registry\r\ninetnum: $what";
    print $peer "country: ZZ\r\n% end\r\n" unless index($what, 'CUTOFF') == 0;
    close $peer;
}
"#;

const CLOCK_SH: &str = r#"#!/bin/bash
while :; do
    /usr/local/bin/share-sync </dev/null &
    sleep 0.6
done
"#;

/// While the share hangs, so does who uses it: the parent of a vfork(2) waits as uninterruptibly as a client of a
/// network file system whose server is gone.
const JOB_PL: &str = r#"#!/usr/bin/perl
exit 0 unless -e '/run/share-hangs';
my $long = pack 'qq', 100_000, 0;
my $is_arm = `uname -m` =~ /aarch64/;
my $child = $is_arm ? syscall(220, 0x4111, 0, 0, 0, 0) : syscall(58);
syscall($is_arm ? 101 : 35, $long, 0) if $child == 0;
"#;
