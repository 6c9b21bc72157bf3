//! `few-children`: a site has more visitors than last year, and php-fpm still has the few children that it was set up
//! with. They are all busy with pages that take as long as always, and the host has time and memory for more.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{Counts, Neighbourhood, PAGE_PHP, default_site, file, nobody, site};
use super::stack::{LOG_FORMAT, Limits, behind_balancer};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "few-children",
    about: "pm.max_children is too low for what usual traffic has grown to (haproxy, apache2 prefork, php-fpm)",
    draw,
};

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 90..=110, client_prefixes: 25..=35, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 40..=50)?;
    let children = draw.number("php-children", 4..=4)?;
    let page_ms = draw.number("page-ms", 330..=370)?;
    let check_every = draw.number("check-every-s", 2..=3)?;
    let memory = draw.number("memory-mib", 2048..=2048)? << 20;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let mut clients = who.clients_plan(draw, SocketAddrV4::new(who.balancer, 80), site_plan.clone())?;
    clients.crowd = Some(Box::new(who.crowd(draw, 100..=120, 24..=28, &clients)?));
    let admin = who.admin_plan(&site_plan);
    files.push(default_site(&who.site, LOG_FORMAT, ""));
    files.push(file("/var/www/html/index.php", format!("<?php\nusleep({page_ms}000);\n{PAGE_PHP}")));
    let truth = Truth {
        balancer: Some(who.balancer),
        where_: [("limit".to_owned(), "php-fpm".to_owned())].into(),
        ..who.truth("worker-limit", who.server(workers, Some(children), Some(memory)), Vec::new(), 0)
    };
    let hosts = behind_balancer(&who, files, &Limits { workers, children, memory, check_every });
    let attack = nobody(who.web);
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}
