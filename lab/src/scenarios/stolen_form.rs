//! `stolen-form`: somebody has put a script beside a web site, and has it hand mail after mail to postfix, to people of
//! many domains. The provider's relay takes none of it. The site's own form sends its mails as on every day.

use super::Scenario;
use super::parts::{
    COMBINED, Counts, Neighbourhood, PAGE_PHP, argv, base_setup, default_site, file, listen_on, mod_php,
    prefork, shell, site, sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{HostPlan, Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "stolen-form",
    about: "a script among a site's uploads sends mail to people of many domains (apache2, mod_php, postfix)",
    draw,
};

const FOLDERS: &[&str] = &["uploads", "images", "cache", "themes/old", "media/2019"];
const NAMES: &[&str] = &["ms", "wp-conf", "about-us", "x1", "index2", "gallery"];

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 40..=60, client_prefixes: 15..=25, attacker_prefixes: 1..=2 };
    let who = Neighbourhood::draw(draw, counts)?;
    let connections = draw.number("attack-connections", 2..=3)?;
    let each = draw.number("mails-a-request", 3..=5)?;
    let tells = draw.number("php-mail-log", 1..=1)? != 0;
    let rng = draw.rng();
    let folder = *rng.choice(FOLDERS).unwrap_or(&"uploads");
    let name = *rng.choice(NAMES).unwrap_or(&"ms");
    let path = draw.text("script", &format!("/{folder}/{name}.php"))?;
    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (attackers, sources) = sources(draw.rng(), &who.attacker_prefixes, 2, connections as usize);
    let mut clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    clients.requests_per_s = 6.0;
    let admin = who.admin_plan(&site_plan);

    files.push(default_site(&who.site, COMBINED, ""));
    files.push(prefork(40));
    files.push(file("/var/www/html/index.php", format!("<?php\n{FORM_PHP}{PAGE_PHP}")));
    files.push(file(&format!("/var/www/html{path}"), mailer_php(each)));
    // The provider's relay is where the balancer of other scenarios would be: here nobody answers at that address.
    files.push(file(
        "/etc/postfix/main.cf",
        format!("{}relayhost = [{}]\n", super::mail_dictionary::MAIN_CF, who.balancer),
    ));
    let php = crate::prerequisites::php_version().unwrap_or_default();
    if tells {
        let ini = "mail.log = /var/log/php-mail.log\n";
        files.push(file(&format!("/etc/php/{php}/apache2/conf.d/90-mail.ini"), ini));
    }
    let host = HostPlan {
        name: "web1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: None,
        files,
        setup: [
            base_setup(),
            mod_php(),
            listen_on(who.web.port()),
            vec![shell("install -o www-data -g www-data -m 640 /dev/null /var/log/php-mail.log")],
        ]
        .concat(),
        services: vec![
            argv("rsyslogd"),
            argv("service ssh start"),
            argv("service postfix start"),
            argv("service apache2 start"),
        ],
    };
    let script = format!("/var/www/html{path}");
    let truth = Truth {
        where_: [("script".to_owned(), script)].into(),
        ..who.truth("outbound-abuse", who.server(40, None, None), attackers, connections)
    };
    let requests = (0..8u32).map(|n| request(&who.site, &path, n)).collect();
    let attack = who.attack(20_000, sources, requests);
    Ok(Plan { lan: who.lan, hosts: vec![host], clients, admin, attack, truth })
}

/// The site's form tells its owner what somebody wrote.
const FORM_PHP: &str = "if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    mail('root@localhost', 'Contact', \"Somebody wrote to us.\\n\");
}
";

/// Some mails for each request, not faster than a mail server takes them.
fn mailer_php(each: u64) -> String {
    format!(
        "<?php\n\
         for ($i = 0; $i < {each}; $i++) {{\n\
         \x20   $who = substr(md5(mt_rand()), 0, 6);\n\
         \x20   mail(\"$who@\" . substr($who, 0, 3) . '.example.net', 'Hello', 'Look at this.');\n\
         \x20   usleep(200000);\n\
         }}\n\
         echo 'ok';\n"
    )
}

fn request(site: &str, path: &str, n: u32) -> String {
    let body = format!("key=letmein&list={n}");
    format!(
        "POST {path} HTTP/1.0\r\nHost: {site}\r\nUser-Agent: Mozilla/5.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
