//! `many-workers`: apache may have more workers than the memory holds. As long as few people come at once nobody
//! notices; when the site has grown, usual pages alone take all memory, and the kernel kills workers.

use super::Scenario;
use super::parts::{
    COMBINED, Counts, Neighbourhood, PAGE_PHP, default_site, file, mod_php_host, nobody, prefork, site,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "many-workers",
    about: "more workers are allowed than the memory holds, and usual pages use it up (apache2 prefork, mod_php)",
    draw,
};

/// What the host needs before the first page: the servers, their idle workers, files in memory.
const BASE_MIB: u64 = 150;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 110..=140, client_prefixes: 30..=45, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let page_mib = draw.number("page-mib", 25..=29)?;
    let page_ms = draw.number("page-ms", 600..=700)?;
    let room_for = draw.number("memory-for-workers", 19..=21)?;
    // Some more than fit: far more would keep the host without a page of its own programs in memory.
    let workers = draw.number("workers", room_for + 6..=room_for + 8)?;
    let memory_mib = BASE_MIB + page_mib * room_for;
    let memory = draw.number("memory-mib", memory_mib..=memory_mib)? << 20;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let mut clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    clients.crowd = Some(Box::new(who.crowd(draw, 160..=200, 66..=72, &clients)?));
    let admin = who.admin_plan(&site_plan);
    files.push(default_site(&who.site, &format!("{COMBINED} %D"), ""));
    files.push(prefork(workers));
    files.push(file(
        "/var/www/html/index.php",
        format!("<?php\n{}{PAGE_PHP}", gallery_php(page_mib, page_ms)),
    ));
    let web = mod_php_host("web1", who.web, Some(memory), files);
    let truth = Truth {
        where_: [("limit".to_owned(), "apache".to_owned())].into(),
        ..who.truth("worker-limit", who.server(workers, None, Some(memory)), Vec::new(), 0)
    };
    let attack = nobody(who.web);
    Ok(Plan { lan: who.lan, hosts: vec![web], clients, admin, attack, truth })
}

/// A page that is put together from pictures in memory.
fn gallery_php(page_mib: u64, page_ms: u64) -> String {
    let slice_us = page_ms * 1000 / page_mib;
    format!(
        "$pictures = [];\n\
         for ($i = 0; $i < {page_mib}; $i++) {{\n\
         \x20   $pictures[] = str_repeat(chr(65 + $i % 26), 1 << 20);\n\
         \x20   usleep({slice_us});\n\
         }}\n"
    )
}
