//! `slow-readers`: strangers ask both web servers for a large document and never read it. Each answer stays in a worker's
//! memory until the workers and then the memory are used up; the kernel kills workers, and the dead ones' sockets live on.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{
    Counts, Neighbourhood, PAGE_PHP, balancer, default_site, file, health_php, mod_php_host, nth, prefork,
    site, sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, Plan, Truth, Way};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "slow-readers",
    about: "strangers ask two web servers for a large page and never read it: no worker, no memory (haproxy, apache2 prefork, mod_php)",
    draw,
};

const AGENTS: &[&str] = &[
    "Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:102.0) Gecko/20100101 Firefox/102.0",
    "Wget/1.21.3",
];
/// What the servers need beside such requests.
const BASE_MIB: u64 = 96;
/// A page of so many bytes, once in PHP and once in apache's hands.
const PAGE_MIB: u64 = 8;
const WORKER_MIB: u64 = 28;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 55..=70, client_prefixes: 15..=25, attacker_prefixes: 1..=3 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 50..=64)?;
    // The limit looks right for the pages that people ask for.
    let room_for = draw.number("memory-for-workers", workers * 5 / 8..=workers * 6 / 8)?;
    let memory = draw
        .number("memory-mib", (BASE_MIB + WORKER_MIB * room_for)..=(BASE_MIB + WORKER_MIB * room_for))?
        << 20;
    let connections = draw.number("attack-connections", 2 * workers + 40..=2 * workers + 80)?;
    let addresses = draw.number("attacker-addresses", 8..=14)?;
    let path = draw.text("attack-path", "/catalogue.php")?;
    let check_every = draw.number("check-every-s", 2..=3)?;
    if !path.starts_with('/') || !path.ends_with(".php") || path.contains("..") {
        return Err(LabError::Usage(format!("--attack-path {path}: not of the form /name.php")));
    }
    // Beside the first one, and not the balancer, which has a lower number.
    let second = SocketAddrV4::new(nth(who.lan.prefix, last_byte(who.web) + 1), who.web.port());

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) =
        sources(draw.rng(), &who.attacker_prefixes, addresses as usize, connections as usize);
    let agent = *draw.rng().choice(AGENTS).unwrap_or(&"-");
    let requests =
        vec![format!("GET {path}?all=1 HTTP/1.1\r\nHost: {}\r\nUser-Agent: {agent}\r\n\r\n", who.site)];
    let clients = who.clients_plan(draw, SocketAddrV4::new(who.balancer, 80), site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);

    let log_format = r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D %{X-Forwarded-For}i"#;
    files.push(default_site(&who.site, log_format, ""));
    files.push(prefork(workers));
    files.push(file("/var/www/html/index.php", format!("<?php\n{PAGE_PHP}")));
    files.push(file(&format!("/var/www/html{path}"), catalogue_php()));
    files.push(health_php());
    let web = |name: &str, at: SocketAddrV4| mod_php_host(name, at, Some(memory), files.clone());
    let truth = Truth {
        where_: [("method", "GET"), ("path", path.as_str())].map(|(k, v)| (k.into(), v.into())).into(),
        balancer: Some(who.balancer),
        ..who.truth("slow-clients", who.server(workers, None, Some(memory)), attackers, connections)
    };
    let attack = AttackPlan {
        target: who.web,
        also: vec![second],
        prefixes: who.attacker_prefixes.clone(),
        sources,
        patience_ms: 120_000,
        way: Way::Unread,
        requests,
    };
    let hosts = vec![
        web("web1", who.web),
        web("web2", second),
        balancer(who.balancer, &[who.web, second], check_every),
    ];
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}

fn last_byte(web: SocketAddrV4) -> u32 {
    u32::from(web.ip().octets()[3])
}

/// Everything on one page. Built in memory, as pages are.
fn catalogue_php() -> String {
    format!(
        "<?php\n\
         ini_set('memory_limit', '256M');\n\
         $row = '<tr><td>' . str_repeat('catalogue ', 100) . '</td></tr>';\n\
         $page = str_repeat($row, {});\n\
         header('Content-Type: text/html');\n\
         ob_start();\n\
         echo '<!doctype html><table>', $page, '</table>';\n\
         ob_end_flush();\n",
        (PAGE_MIB << 20) / 1024
    )
}
