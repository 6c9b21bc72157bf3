//! `catalogue-reader`: an honest crawler asks for robots.txt and then for page after page of a large site, with so many
//! connections that php-fpm and apache have none left for people. With few (`--crawler-connections`) it is only busy.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{Counts, Neighbourhood, PAGE_PHP, default_site, file, site, sources};
use super::stack::{LOG_FORMAT, Limits, behind_balancer};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, Plan, Truth, Way};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "catalogue-reader",
    about: "an honest crawler reads faster than pages can be made (haproxy, apache2 prefork, php-fpm)",
    draw,
};

const AGENTS: &[&str] = &[
    "Mozilla/5.0 (compatible; ExampleBot/2.1; +http://bot.example.net/about)",
    "Mozilla/5.0 (compatible; archive-spider/1.4; +https://spider.example.org/)",
    "LargeIndexCrawler/3.0 (https://crawl.example.com/; crawl@example.com)",
];
/// A site with so many pages is not read to its end.
const PAGES: u64 = 6_000;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 55..=70, client_prefixes: 15..=25, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 40..=50)?;
    let children = draw.number("php-children", 8..=10)?;
    let page_ms = draw.number("page-ms", 220..=300)?;
    let connections = draw.number("crawler-connections", 75..=85)? as usize;
    let addresses = draw.number("crawler-addresses", 6..=10)? as usize;
    let check_every = draw.number("check-every-s", 2..=3)?;
    let memory = draw.number("memory-mib", 2048..=2048)? << 20;
    let first = draw.number("first-page", 1000..=80_000)?;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let balancer = SocketAddrV4::new(who.balancer, 80);
    let clients = who.clients_plan(draw, balancer, site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);
    let (crawler, sources) = sources(draw.rng(), &who.attacker_prefixes, addresses, connections);
    let agent = *draw.rng().choice(AGENTS).unwrap_or(&"");
    let site = &who.site;
    let get = |path: String| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {site}\r\nUser-Agent: {agent}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
        )
    };
    let pages = (first..first + PAGES).map(|n| get(format!("/articles/{n}")));
    let requests = std::iter::once(get("/robots.txt".into())).chain(pages).collect();
    files.push(default_site(site, LOG_FORMAT, ""));
    files.push(file("/var/www/html/robots.txt", "User-agent: *\nDisallow: /contact\n"));
    files.push(file("/var/www/html/index.php", format!("<?php\nusleep({page_ms}000);\n{PAGE_PHP}")));
    let truth = Truth {
        balancer: Some(who.balancer),
        ..who.truth(
            "aggressive-crawler",
            who.server(workers, Some(children), Some(memory)),
            crawler,
            sources.len() as u64,
        )
    };
    let hosts = behind_balancer(&who, files, &Limits { workers, children, memory, check_every });
    let prefixes = who.attacker_prefixes.clone();
    let attack = AttackPlan {
        target: balancer,
        also: Vec::new(),
        prefixes,
        sources,
        patience_ms: 40_000,
        requests,
        way: Way::Requests,
    };
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}
