//! Passwords tried at sshd, while the administrator is logged in and mistypes one once. `ssh-dictionary`: some addresses
//! of one network, so many at a time that sshd's limit of those it asks is reached. `ssh-crowd`: many networks, of each an
//! address or two, that try now and then.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Scenario;
use super::parts::{
    Counts, Neighbourhood, PAGE_PHP, addresses, argv, base_setup, default_site, file, listen_on, mod_php,
    net, prefork, site, sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, HostPlan, Plan, Truth, Way};

pub(super) const DICTIONARY: Scenario = Scenario {
    id: "ssh-dictionary",
    about: "addresses of one network try passwords at sshd until it takes nobody more (openssh-server, rsyslog)",
    draw: |draw| self::draw(draw, false),
};
pub(super) const CROWD: Scenario = Scenario {
    id: "ssh-crowd",
    about: "many addresses try passwords at sshd, each below any limit (openssh-server, rsyslog)",
    draw: |draw| self::draw(draw, true),
};

const USERS: &[&str] =
    &["admin", "test", "oracle", "postgres", "ubuntu", "git", "deploy", "ftpuser", "pi", "guest"];

fn draw(draw: &mut Draw, crowd: bool) -> Result<Plan, LabError> {
    let counts = Counts { clients: 40..=60, client_prefixes: 15..=25, attacker_prefixes: 1..=1 };
    let mut who = Neighbourhood::draw(draw, counts)?;
    let (attackers, sources, pause_ms) = if crowd {
        let networks = draw.number("attacker-networks", 44..=50)? as usize;
        let pause_ms = draw.number("pause-ms", 4_000..=6_000)?;
        who.attacker_prefixes = strangers(draw.rng(), networks.min(200));
        let each = |prefix: &Ipv4Net| addresses(draw.rng(), &[*prefix], 1);
        let mut all: Vec<Ipv4Addr> = who.attacker_prefixes.iter().flat_map(each).collect();
        all.sort_unstable();
        (all.clone(), all, pause_ms)
    } else {
        let connections = draw.number("attack-connections", 16..=20)? as usize;
        let addresses = draw.number("attacker-addresses", 4..=8)? as usize;
        let (attackers, sources) = sources(draw.rng(), &who.attacker_prefixes, addresses, connections);
        (attackers, sources, draw.number("pause-ms", 200..=600)?)
    };
    let names = draw.number("user-names", 3..=6)?.clamp(1, USERS.len() as u64) as usize;
    let mut users: Vec<String> = USERS.iter().map(|user| (*user).to_owned()).collect();
    draw.rng().shuffle(&mut users);
    users.truncate(names);
    users.push("root".into());
    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let mut clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    clients.requests_per_s = 5.0;
    let mut admin = who.admin_plan(&site_plan);
    admin.mistypes = true;

    files.push(default_site(
        &who.site,
        r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""#,
        "",
    ));
    files.push(prefork(60));
    if crowd {
        // They are not to be turned away: that each of them tries little is what is told here.
        files.push(file("/etc/ssh/sshd_config.d/startups.conf", "MaxStartups 100:30:200\n"));
    }
    files.push(file("/var/www/html/index.php", format!("<?php\n{PAGE_PHP}")));
    let host = HostPlan {
        name: "web1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: None,
        files,
        setup: [base_setup(), mod_php(), listen_on(who.web.port())].concat(),
        services: vec![argv("rsyslogd"), argv("service ssh start"), argv("service apache2 start")],
    };
    let cause = if crowd { "distributed-credential-attack" } else { "credential-attack" };
    let truth = Truth {
        where_: [("service".into(), "sshd".into())].into(),
        ..who.truth(cause, who.server(60, None, None), attackers, sources.len() as u64)
    };
    let mut target = who.web;
    target.set_port(22);
    let attack = AttackPlan {
        target,
        also: Vec::new(),
        prefixes: who.attacker_prefixes.clone(),
        sources,
        patience_ms: 20_000,
        requests: Vec::new(),
        way: Way::Ssh { users, pause_ms },
    };
    Ok(Plan { lan: who.lan, hosts: vec![host], clients, admin, attack, truth })
}

/// Networks of nobody else, of many providers: in the range that is reserved for ever (RFC 1112), which Linux routes.
fn strangers(rng: &mut fastrand::Rng, count: usize) -> Vec<Ipv4Net> {
    let mut found: Vec<Ipv4Net> = Vec::new();
    while found.len() < count {
        let new = net(Ipv4Addr::new(rng.u8(240..=254), rng.u8(..), rng.u8(..), 0), 24);
        if !found.contains(&new) {
            found.push(new);
        }
    }
    found
}
