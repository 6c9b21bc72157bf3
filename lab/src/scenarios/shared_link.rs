//! `shared-link`: a link to the site went round, and many people follow it. Each looks at pages as anybody does; together
//! they are more than php-fpm can serve, and apache's workers fill with those who wait.
//!
//! With `--flood-connections` somebody floods the same server past the balancer besides.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{Counts, Neighbourhood, PAGE_PHP, default_site, file, site};
use super::stack::{LOG_FORMAT, Limits, behind_balancer, flood};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "shared-link",
    about: "a link went round: many people at once, each as usual (haproxy, apache2 prefork, php-fpm)",
    draw,
};

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 55..=70, client_prefixes: 15..=25, attacker_prefixes: 2..=3 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 40..=60)?;
    let children = draw.number("php-children", 8..=10)?;
    // What a page asks of others before it is made.
    let page_ms = draw.number("page-ms", 220..=300)?;
    let check_every = draw.number("check-every-s", 2..=3)?;
    let memory = draw.number("memory-mib", 2048..=2048)? << 20;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let mut clients = who.clients_plan(draw, SocketAddrV4::new(who.balancer, 80), site_plan.clone())?;
    clients.crowd = Some(Box::new(who.crowd(draw, 700..=900, 180..=220, &clients)?));
    let admin = who.admin_plan(&site_plan);
    let (flooders, attack) = flood(draw, &who)?;
    files.push(default_site(&who.site, LOG_FORMAT, ""));
    files.push(file("/var/www/html/index.php", format!("<?php\nusleep({page_ms}000);\n{PAGE_PHP}")));
    let truth = Truth {
        balancer: Some(who.balancer),
        ..who.truth(
            "flash-crowd",
            who.server(workers, Some(children), Some(memory)),
            flooders,
            attack.sources.len() as u64,
        )
    };
    let hosts = behind_balancer(&who, files, &Limits { workers, children, memory, check_every });
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}
