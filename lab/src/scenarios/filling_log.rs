//! `filling-log`: somebody asks the site for an export, and the export writes a log without end into the site's own file
//! system. When that is full, pages that keep a session fail.

use super::Scenario;
use super::parts::{
    COMBINED, Counts, Neighbourhood, PAGE_PHP, argv, default_site, file, mod_php_host, prefork, shell, site,
    sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{FilePlan, Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "filling-log",
    about: "an export logs without end into the site's own file system; pages that keep a session fail (apache2 prefork, mod_php)",
    draw,
};

const WORKERS: u64 = 60;

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 60..=80, client_prefixes: 20..=30, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let name = *draw.rng().choice(&["app", "shop", "portal"]).unwrap_or(&"app");
    let place = draw.text("place", &format!("/var/lib/{name}"))?;
    let log = draw.text("log", &format!("{place}/log/export.log"))?;
    let size_mib = draw.number("size-mib", 80..=120)?;
    // What has always been there and is large: nobody's fault.
    let archive_mib = draw.number("archive-mib", size_mib / 4..=size_mib / 4)?;
    let rate_mib = draw.number("mib-per-s", 8..=12)?;
    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) = sources(draw.rng(), &who.attacker_prefixes, 1, 1);
    let clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);
    let combined = format!("{COMBINED} %D");
    files.push(default_site(&who.site, &combined, ""));
    files.push(prefork(WORKERS));
    files.push(file("/var/www/html/index.php", format!("<?php\n{}{PAGE_PHP}", session_php(&place))));
    let export = format!("/usr/local/bin/{name}-export");
    files.push(file(
        "/var/www/html/export.php",
        format!("<?php\nexec('{export} >/dev/null 2>&1 &');\necho 'begun';\n"),
    ));
    files.push(FilePlan { path: export, mode: 0o755, content: export_sh(&place, &log, rate_mib) });
    let mut web = mod_php_host("web1", who.web, None, files);
    web.setup.extend([
        argv(&format!("mkdir -p {place}")),
        argv(&format!("mount -t tmpfs -o size={size_mib}m,mode=755 {name} {place}")),
        argv(&format!("install -d -o www-data -g www-data {place}/log {place}/sessions")),
        shell(&format!("head -c {archive_mib}M /dev/urandom >{place}/archive.dat && touch -d '90 days ago' {place}/archive.dat")),
    ]);
    let truth = Truth {
        where_: [("file", log), ("mount", place), ("process", format!("{name}-export"))]
            .map(|(k, v)| (k.into(), v))
            .into(),
        ..who.truth("disk-full", who.server(WORKERS, None, None), attackers, 1)
    };
    let site = &who.site;
    let attack = who.attack(
        40_000,
        sources,
        vec![format!("GET /export.php HTTP/1.1\r\nHost: {site}\r\nUser-Agent: Mozilla/5.0\r\n\r\n")],
    );
    Ok(Plan { lan: who.lan, hosts: vec![web], clients, admin, attack, truth })
}

/// Every page keeps a session; the file is small and replaced by the next one.
fn session_php(place: &str) -> String {
    format!(
        "$session = '{place}/sessions/' . (crc32($_SERVER['REMOTE_ADDR']) % 200);\n\
         if (file_put_contents($session, str_repeat('s', 9000) . microtime()) === false) {{\n\
         \x20   http_response_code(500);\n\
         \x20   exit('no session');\n\
         }}\n"
    )
}

/// One export at a time. It has its log open for as long as it runs, and does not mind that nothing fits any more.
fn export_sh(place: &str, log: &str, rate_mib: u64) -> String {
    format!(
        "#!/bin/sh\n\
         exec 9>>{place}/log/export.lock\n\
         flock -n 9 || exit 0\n\
         exec 3>>{log}\n\
         while :; do\n\
         \x20   head -c {rate_mib}M /dev/zero | tr '\\0' x >&3\n\
         \x20   sleep 1\n\
         done\n"
    )
}
