//! `bad-edit`: an administrator mistypes a line of a site's configuration and restarts the server, which does not come
//! again; its certificate runs out within days besides. The same host's php-fpm can be stopped alone: then the web server
//! is well and what it hands requests on to is gone.

use super::Scenario;
use super::parts::{
    COMBINED, Counts, Neighbourhood, PAGE_PHP, argv, base_setup, default_site, file, prefork, shell, site,
    sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{FilePlan, HostPlan, Plan, Truth};

pub(super) const SCENARIO: Scenario = Scenario {
    id: "bad-edit",
    about: "a mistyped line keeps apache2 from starting; its certificate is about to run out (apache2, php-fpm)",
    draw,
};

/// Makes the mistake and restarts as a unit would: the server's words go to syslog.
const RESTART: &str = "/usr/local/sbin/edit-and-restart";

fn draw(draw: &mut Draw) -> Result<Plan, LabError> {
    let counts = Counts { clients: 30..=40, client_prefixes: 8..=12, attacker_prefixes: 1..=1 };
    let who = Neighbourhood::draw(draw, counts)?;
    let children = draw.number("php-children", 6..=10)?;
    let days = draw.number("certificate-days", 2..=12)?;
    // Behind the opening line and three others.
    let line = draw.number("mistyped-line", 5..=30)?;
    let name = *draw.rng().choice(&["ssl", "shop", "www-tls"]).unwrap_or(&"ssl");
    let name = draw.text("site-file", name)?;
    let (site_plan, mut files) = site(draw.rng(), "/contact");
    let (nobody, source) = sources(draw.rng(), &who.attacker_prefixes, 1, 1);
    let clients = who.clients_plan(draw, who.web, site_plan.clone())?;
    let admin = who.admin_plan(&site_plan);

    let log_format = format!("{COMBINED} %D");
    let sites = "/etc/apache2/sites-available";
    files.push(default_site(&who.site, &log_format, ""));
    files.push(prefork(50));
    files.push(file("/var/www/html/index.php", format!("<?php\n{PAGE_PHP}")));
    files.push(file(&format!("{sites}/{name}.conf"), tls_site(&who.site, line)));
    files.push(FilePlan { path: RESTART.into(), mode: 0o755, content: restart(sites, &name) });
    let php = crate::prerequisites::php_version().unwrap_or_default();
    let web = HostPlan {
        name: "web1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: Some(1 << 30),
        files,
        setup: [base_setup(), web_setup(&php, children, &name, &who.site, days)].concat(),
        services: vec![
            argv("rsyslogd"),
            argv("service ssh start"),
            argv(&format!("service php{php}-fpm start")),
            argv("service apache2 start"),
        ],
    };
    let place = format!("/etc/apache2/sites-enabled/{name}.conf:{line}");
    let truth = Truth {
        where_: [("file", place), ("php", php)].map(|(k, v)| (k.into(), v)).into(),
        ..who.truth(
            "config-error",
            who.server(50, Some(children), Some(1 << 30)),
            nobody,
            source.len() as u64,
        )
    };
    // Nobody attacks here; the incident is what the administrator runs.
    let attack = who.attack(1000, source, vec![format!("GET / HTTP/1.0\r\nHost: {}\r\n\r\n", who.site)]);
    Ok(Plan { lan: who.lan, hosts: vec![web], clients, admin, attack, truth })
}

/// A site whose certificate stands in this line of its file.
fn tls_site(site: &str, line: u64) -> String {
    let mut text = format!("<VirtualHost *:443>\n\tServerName {site}\n\tDocumentRoot /var/www/html\n");
    (4..line).for_each(|n| text.push_str(&format!("\t# {n}: as it was set up\n")));
    text.push_str(
        "\tSSLCertificateFile /etc/ssl/lab/site.pem\n\tSSLCertificateKeyFile /etc/ssl/lab/site.key\n\tSSLEngine on\n</VirtualHost>\n",
    );
    text
}

fn restart(sites: &str, name: &str) -> String {
    format!(
        "#!/bin/sh\n\
         sed -i 's/SSLCertificateFile/SSLCertficateFile/' {sites}/{name}.conf\n\
         pid=$(cat /run/apache2/apache2.pid)\n\
         kill -TERM $pid\n\
         while kill -0 $pid 2>/dev/null; do sleep 0.1; done\n\
         apache2ctl start 2>&1 | logger --id=$$ -t apachectl\n"
    )
}

fn web_setup(php: &str, children: u64, name: &str, site: &str, days: u64) -> Vec<Vec<String>> {
    vec![
        shell(&format!("a2dismod -q -f php{php} || true")),
        argv("a2enmod -q mpm_prefork proxy_fcgi setenvif ssl status"),
        argv(&format!("a2enconf -q php{php}-fpm")),
        argv("install -d -m 700 /etc/ssl/lab"),
        shell(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {days} -subj /CN={site} \
             -addext subjectAltName=DNS:{site} -keyout /etc/ssl/lab/site.key -out /etc/ssl/lab/site.pem"
        )),
        argv(&format!("a2ensite -q {name}")),
        shell(&format!(
            "sed -i 's/^pm.max_children =.*/pm.max_children = {children}/' /etc/php/{php}/fpm/pool.d/www.conf"
        )),
    ]
}
