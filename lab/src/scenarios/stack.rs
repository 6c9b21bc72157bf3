//! The stack that most web scenarios share: haproxy, behind it apache2 prefork, behind that php-fpm, as Debian sets them up.

use std::net::SocketAddrV4;

use super::parts::{Neighbourhood, argv, base_setup, file, listen_on, nobody, prefork, shell, sources};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, FilePlan, HostPlan};

/// Combined, with how long each took and whom the balancer asked for.
pub(super) const LOG_FORMAT: &str =
    r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\" %D %{X-Forwarded-For}i"#;

/// How much of each there is.
pub(super) struct Limits {
    /// `MaxRequestWorkers`.
    pub(super) workers: u64,
    /// `pm.max_children`.
    pub(super) children: u64,
    /// Bytes of the web server's host.
    pub(super) memory: u64,
    /// Seconds between the balancer's checks.
    pub(super) check_every: u64,
}

/// The web server with the scenario's files, and the balancer before it.
pub(super) fn behind_balancer(
    who: &Neighbourhood,
    mut files: Vec<FilePlan>,
    limits: &Limits,
) -> Vec<HostPlan> {
    files.push(prefork(limits.workers));
    files.push(file(
        "/var/www/html/health.php",
        "<?php\nheader('Content-Type: text/plain');\necho \"ok\\n\";\n",
    ));
    let php = crate::prerequisites::php_version().unwrap_or_default();
    let web = HostPlan {
        name: "web1".into(),
        address: *who.web.ip(),
        memory_limit_bytes: Some(limits.memory),
        files,
        setup: [base_setup(), web_setup(&php, limits.children, who.web.port())].concat(),
        services: vec![
            argv("rsyslogd"),
            argv("service ssh start"),
            argv(&format!("service php{php}-fpm start")),
            argv("service apache2 start"),
        ],
    };
    let balancer = HostPlan {
        name: "lb".into(),
        address: who.balancer,
        memory_limit_bytes: Some(512 << 20),
        files: vec![file("/etc/haproxy/haproxy.cfg", haproxy_cfg(who.web, limits.check_every))],
        setup: base_setup(),
        services: vec![argv("rsyslogd"), argv("service haproxy start")],
    };
    vec![web, balancer]
}

/// Who floods the web server's own address besides, if the parameters want it: the addresses, and their plan.
pub(super) fn flood(
    draw: &mut Draw,
    who: &Neighbourhood,
) -> Result<(Vec<std::net::Ipv4Addr>, AttackPlan), LabError> {
    let connections = draw.number("flood-connections", 0..=0)? as usize;
    let addresses = draw.number("flood-addresses", 8..=14)? as usize;
    let (site, rng) = (&who.site, draw.rng());
    let requests = std::iter::repeat_with(|| {
        let word: String = std::iter::repeat_with(|| rng.lowercase()).take(9).collect();
        format!(
            "GET /?s={word} HTTP/1.1\r\nHost: {site}\r\nUser-Agent: Mozilla/5.0 (Windows NT 6.1)\r\nConnection: close\r\n\r\n"
        )
    });
    let requests = requests.take(400).collect();
    if connections == 0 {
        return Ok((Vec::new(), nobody(who.web)));
    }
    let (flooders, sources) = sources(rng, &who.attacker_prefixes, addresses, connections);
    let prefixes = who.attacker_prefixes.clone();
    Ok((flooders, AttackPlan { target: who.web, prefixes, sources, patience_ms: 40_000, requests }))
}

fn web_setup(php: &str, children: u64, port: u16) -> Vec<Vec<String>> {
    let pool = format!("/etc/php/{php}/fpm/pool.d/www.conf");
    let fpm = vec![
        shell(&format!("a2dismod -q -f php{php} || true")),
        argv("a2enmod -q mpm_prefork proxy_fcgi setenvif status"),
        argv(&format!("a2enconf -q php{php}-fpm")),
        shell(&format!(
            "sed -i -e 's/^pm.max_children =.*/pm.max_children = {children}/' \
             -e 's|^;*slowlog =.*|slowlog = /var/log/php{php}-fpm-slow.log|' \
             -e 's/^;*request_slowlog_timeout =.*/request_slowlog_timeout = 5s/' {pool}"
        )),
    ];
    [fpm, listen_on(port)].concat()
}

fn haproxy_cfg(web: SocketAddrV4, check_every: u64) -> String {
    format!(
        "global
	log /dev/log	local0
	log /dev/log	local1 notice
	chroot /var/lib/haproxy
	stats socket /run/haproxy/admin.sock mode 660 level admin
	stats timeout 30s
	user haproxy
	group haproxy
	daemon
	maxconn 4000

defaults
	log	global
	mode	http
	option	httplog
	option	dontlognull
	option	forwardfor
	option	http-server-close
	retries	3
	timeout connect 3s
	timeout client  30s
	timeout server  15s
	timeout check   3s
	timeout http-keep-alive 5s

frontend www
	bind :80
	http-request set-header X-Forwarded-Proto http
	default_backend web

backend web
	option httpchk GET /health.php
	http-check expect status 200
	server web1 {web} check inter {check_every}s fall 3 rise 2
"
    )
}
