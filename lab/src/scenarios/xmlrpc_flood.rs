//! `xmlrpc-flood`: a flood of `POST /xmlrpc.php`, each of which takes much memory for some seconds. The host runs
//! out of it, the kernel kills workers, and page views fall to a third and less.

use super::Scenario;
use super::parts::{
    COMBINED, Counts, Neighbourhood, PAGE_PHP, default_site, file, mod_php_host, prefork, site, sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "xmlrpc-flood",
    about: "POST /xmlrpc.php takes all memory of the host: OOM kills, and page views fall (apache2 prefork, mod_php)",
    draw,
};

/// What the host needs before the first such request: the servers, their idle workers, files in memory.
const BASE_MIB: u64 = 96;

const AGENTS: &[&str] = &[
    "Mozilla/4.0 (compatible: MSIE 7.0; Windows NT 6.0)",
    "Mozilla/5.0 (compatible; Googlebot/2.1; http://www.google.com/bot.html)",
    "-",
];

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 110..=140, client_prefixes: 30..=45, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let each_mib = draw.number("xmlrpc-mib", 25..=29)?;
    let work_ms = draw.number("xmlrpc-ms", 4000..=4600)?;
    let room_for = draw.number("memory-for-workers", 19..=21)?;
    // A limit that looks right for pages and is a few too many for these requests. Far more would make each kill
    // serve the queue, and pages would come through between the kills.
    let workers = draw.number("workers", room_for + 4..=room_for + 6)?;
    let memory =
        draw.number("memory-mib", (BASE_MIB + each_mib * room_for)..=(BASE_MIB + each_mib * room_for))? << 20;
    let connections = draw.number("attack-connections", 86..=94)?;
    let addresses = draw.number("attacker-addresses", 6..=14)?;
    let path = draw.text("attack-path", "/xmlrpc.php")?;
    let with_duration = draw.number("log-duration", 1..=1)? != 0;
    if !path.starts_with('/') || !path.ends_with(".php") || path.contains("..") {
        return Err(LabError::Usage(format!("--attack-path {path}: not of the form /name.php")));
    }

    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) =
        sources(draw.rng(), &who.attacker_prefixes, addresses as usize, connections as usize);
    let agent = *draw.rng().choice(AGENTS).unwrap_or(&"-");
    let requests = (0..8).map(|n| request(&who.site, &path, agent, n)).collect();
    let clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);

    let log_format = if with_duration { format!("{COMBINED} %D") } else { COMBINED.to_owned() };
    files.push(default_site(&who.site, &log_format, ""));
    files.push(prefork(workers));
    files.push(file("/var/www/html/index.php", format!("<?php\n{PAGE_PHP}")));
    files.push(file(&format!("/var/www/html{path}"), xmlrpc_php(each_mib, work_ms)));
    let web = mod_php_host("web1", who.web, Some(memory), files);
    let truth = Truth {
        where_: [("method", "POST"), ("path", path.as_str())].map(|(k, v)| (k.into(), v.into())).into(),
        ..who.truth("http-flood", who.server(workers, None, Some(memory)), attackers, connections)
    };
    let attack = who.attack(40_000, sources, requests);
    Ok(Plan { lan: who.lan, hosts: vec![web], clients, admin, attack, truth })
}

/// Many calls in one (`system.multicall`), as these floods send them: the answers are built in memory, and each call
/// waits for its password to be looked up.
fn xmlrpc_php(each_mib: u64, work_ms: u64) -> String {
    let (slice_us, wait_us) = (10_000, work_ms * 1000 / 50);
    format!(
        "<?php\n\
         $call = file_get_contents('php://input');\n\
         $answers = [];\n\
         for ($i = 0; $i < {each_mib}; $i++) {{\n\
         \x20   $answers[] = str_repeat(hash('sha256', $call . $i), 1 << 14);\n\
         \x20   usleep({slice_us});\n\
         }}\n\
         for ($i = 0; $i < 50; $i++) {{\n\
         \x20   md5($answers[$i % {each_mib}]);\n\
         \x20   usleep({wait_us});\n\
         }}\n\
         header('Content-Type: text/xml');\n\
         echo '<?xml version=\"1.0\"?><methodResponse><fault><value><int>403</int></value></fault></methodResponse>';\n"
    )
}

fn request(site: &str, path: &str, agent: &str, n: usize) -> String {
    let mut body =
        String::from("<?xml version=\"1.0\"?><methodCall><methodName>system.multicall</methodName><params>");
    for call in 0..20 {
        body.push_str(&format!("<param><value>wp.getUsersBlogs admin word{}</value></param>", n * 20 + call));
    }
    body.push_str("</params></methodCall>");
    format!(
        "POST {path} HTTP/1.0\r\nHost: {site}\r\nUser-Agent: {agent}\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
