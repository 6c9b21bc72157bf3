//! `table-lock`: somebody's statement on the database holds what every page needs. Pages wait for it, php-fpm's children
//! are all held by waiting pages, and apache's workers by requests that wait for a child. Traffic is as on any day.
//!
//! With `--flood-connections` somebody floods the same server past the balancer besides.

use std::net::SocketAddrV4;

use super::Scenario;
use super::parts::{Counts, Neighbourhood, PAGE_PHP, argv, default_site, file, shell, site};
use super::stack::{LOG_FORMAT, Limits, behind_balancer, flood};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "table-lock",
    about: "a lock in the database holds every page (haproxy, apache2 prefork, php-fpm, mariadb)",
    draw,
};

/// Who holds the lock: a backup by hand, and a report that never commits.
const LOCKS: &[&str] = &[
    "LOCK TABLES articles WRITE; SELECT SLEEP(600);",
    "BEGIN; UPDATE articles SET views = views + 1; SELECT SLEEP(600);",
];

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 55..=70, client_prefixes: 15..=25, attacker_prefixes: 2..=3 };
    let who = Neighbourhood::draw(draw, counts)?;
    let workers = draw.number("workers", 40..=60)?;
    let children = draw.number("php-children", 8..=10)?;
    let check_every = draw.number("check-every-s", 2..=3)?;
    let memory = draw.number("memory-mib", 2048..=2048)? << 20;
    let lock = draw.number("lock", 0..=LOCKS.len() as u64 - 1)? as usize;
    let name = *draw.rng().choice(&["site", "shop", "wp"]).unwrap_or(&"site");
    let name = draw.text("database", name)?;

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let clients = who.clients_plan(draw, SocketAddrV4::new(who.balancer, 80), site_plan.clone())?;
    let mut admin = who.admin_plan(&site_plan);
    let statement = LOCKS.get(lock).copied().unwrap_or_default();
    admin.deed = Some(["mariadb", &name, "-e", statement].map(str::to_owned).to_vec());
    let (flooders, attack) = flood(draw, &who)?;
    files.push(default_site(&who.site, LOG_FORMAT, ""));
    files.push(file("/var/www/html/index.php", format!("<?php\n{}{PAGE_PHP}", lookup_php(&name))));
    files.push(file("/root/schema.sql", schema(&name, &site_plan.pages)));
    let truth = Truth {
        balancer: Some(who.balancer),
        where_: [("upstream".to_owned(), "mariadb".to_owned())].into(),
        ..who.truth(
            "slow-backend",
            who.server(workers, Some(children), Some(memory)),
            flooders,
            attack.sources.len() as u64,
        )
    };
    let mut hosts = behind_balancer(&who, files, &Limits { workers, children, memory, check_every });
    // Before the web server, so that the first page finds it.
    hosts[0].services.insert(0, argv("service mariadb start"));
    hosts[0].services.insert(1, shell("mariadb </root/schema.sql"));
    Ok(Plan { lan: who.lan, hosts, clients, admin, attack, truth })
}

fn schema(name: &str, pages: &[String]) -> String {
    let mut text = format!(
        "CREATE DATABASE {name};\nUSE {name};\n\
         CREATE TABLE articles (path VARCHAR(100) PRIMARY KEY, title VARCHAR(100), views INT NOT NULL DEFAULT 0);\n\
         CREATE USER {name}@localhost IDENTIFIED BY 'not-secret';\nGRANT ALL ON {name}.* TO {name}@localhost;\n"
    );
    for page in pages {
        text.push_str(&format!("INSERT IGNORE INTO articles VALUES ('{page}', 'About {page}', 0);\n"));
    }
    text
}

/// Each page counts its views and reads its title.
fn lookup_php(name: &str) -> String {
    format!(
        "$db = new mysqli('localhost', '{name}', 'not-secret', '{name}');\n\
         $asked = $db->real_escape_string(strtok($_SERVER['REQUEST_URI'] ?? '/', '?'));\n\
         $db->query(\"UPDATE articles SET views = views + 1 WHERE path = '$asked'\");\n\
         $row = $db->query(\"SELECT title FROM articles WHERE path = '$asked'\")->fetch_row();\n"
    )
}
