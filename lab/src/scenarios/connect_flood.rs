//! `connect-flood`: strangers send CONNECT straight to the web server's own address, past the balancer. Each request
//! waits for a host that never answers and holds a worker until the proxy's timeout; soon there is no worker left,
//! the balancer calls the server down, and load, CPU, memory and disk look as on any other day.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{Counts, Neighbourhood, PAGE_PHP, default_site, file, site, sources};
use super::stack::{Limits, behind_balancer};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "connect-flood",
    about: "CONNECT requests past the balancer hold every worker of apache2 (haproxy, apache2 prefork, php-fpm)",
    draw,
};

const TARGETS: &[&str] = &[
    "www.pawmotor.example",
    "www.acenursing.example",
    "login.webmail.example",
    "api.tickets.example",
    "www.sneakers.example",
    "accounts.games.example",
];
const REFERERS: &[&str] = &[
    "",
    "https://www.yahoo.com",
    "https://www.google.com",
    "https://www.facebook.com",
    "https://www.gmail.com",
];
const AGENTS: &[&str] = &[
    "Mozilla/5.0 (Windows NT 6.1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/35.0.1916.153 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_3) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/43.0.2357.134 Safari/537.36",
    "Mozilla/5.0 (Windows NT 6.0; WOW64; rv:40.0) Gecko/20100101 Firefox/40.0",
    "Mozilla/5.0 (iPad; CPU OS 8_0 like Mac OS X) AppleWebKit/600.1.4 (KHTML, like Gecko) Version/8.0 Mobile/12A365 Safari/600.1.4",
    "Mozilla/5.0 (X11; Ubuntu; Linux i686; rv:40.0) Gecko/20100101 Firefox/40.0",
];
/// Different requests to choose from; more variety than this tells nothing new.
const REQUESTS: usize = 60;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 55..=70, client_prefixes: 15..=25, attacker_prefixes: 2..=3 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 50..=70)?;
    let children = draw.number("php-children", 8..=8)?;
    let proxy_timeout = draw.number("proxy-timeout-s", 18..=22)?;
    let relay_timeout = draw.number("relay-timeout-s", 25..=25)?;
    let connections = draw.number("attack-connections", 85..=95)?;
    let addresses = draw.number("attacker-addresses", 10..=14)?;
    let check_every = draw.number("check-every-s", 2..=3)?;
    let memory = draw.number("memory-mib", 2048..=2048)? << 20;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) =
        sources(draw.rng(), &who.attacker_prefixes, addresses as usize, connections as usize);
    let requests = std::iter::repeat_with(|| request(draw.rng())).take(REQUESTS).collect();
    let clients = who.clients_plan(draw, SocketAddrV4::new(who.balancer, 80), site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);

    let proxy = format!("\tProxyTimeout {proxy_timeout}");
    let log_format = r#"%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\" %D %{X-Forwarded-For}i %{X-Forwarded-Proto}i any"#;
    files.push(default_site(&who.site, log_format, &proxy));
    files.push(file("/var/www/html/index.php", index_php(&who, relay_timeout)));
    let hosts = behind_balancer(&who, files, &Limits { workers, children, memory, check_every });
    let truth = Truth {
        where_: [("method", "CONNECT"), ("via_balancer", "no")].map(|(k, v)| (k.into(), v.into())).into(),
        balancer: Some(who.balancer),
        ..who.truth(
            "open-proxy-abuse",
            who.server(workers, Some(children), Some(memory)),
            attackers,
            connections,
        )
    };
    let attack = who.attack(60_000, sources, requests);
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}

/// The front controller has an old relay in it: whatever is asked for by CONNECT, it connects to, and waits. There is
/// no resolver, so a name becomes an address that nobody has.
fn index_php(who: &Neighbourhood, relay_timeout: u64) -> String {
    let prefix = who.never_answers.network().octets();
    let (a, b) = (prefix[0], prefix[1]);
    format!(
        "<?php\n\
         if ($_SERVER['REQUEST_METHOD'] === 'CONNECT') {{\n\
         \x20   $target = $_SERVER['HTTP_HOST'] ?? $_SERVER['REQUEST_URI'];\n\
         \x20   [$name, $port] = explode(':', $target . ':443');\n\
         \x20   $sum = crc32($name);\n\
         \x20   $peer = fsockopen(sprintf('{a}.{b}.%d.%d', $sum >> 8 & 255, $sum & 255), (int) $port ?: 443, $no, $why, {relay_timeout});\n\
         \x20   http_response_code($peer ? 200 : 504);\n\
         \x20   exit;\n\
         }}\n{PAGE_PHP}"
    )
}

fn request(rng: &mut fastrand::Rng) -> String {
    let pick = |rng: &mut fastrand::Rng, from: &[&'static str]| rng.choice(from).copied().unwrap_or_default();
    let (target, agent, referer) = (pick(rng, TARGETS), pick(rng, AGENTS), pick(rng, REFERERS));
    let referer = if referer.is_empty() { String::new() } else { format!("Referer: {referer}\r\n") };
    format!("CONNECT {target}:443 HTTP/1.1\r\nHost: {target}:443\r\n{referer}User-Agent: {agent}\r\n\r\n")
}
