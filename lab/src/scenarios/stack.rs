//! The stack that most web scenarios share: haproxy, behind it apache2 prefork, behind that php-fpm, as Debian sets them up.

use super::parts::{
    Neighbourhood, argv, balancer, base_setup, health_php, listen_on, nobody, prefork, shell, sources,
};
use crate::LabError;
use crate::params::Draw;
use crate::plan::{AttackPlan, FilePlan, HostPlan, Way};

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
    files.push(health_php());
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
    vec![web, balancer(who.balancer, &[who.web], limits.check_every)]
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
    Ok((
        flooders,
        AttackPlan {
            target: who.web,
            also: Vec::new(),
            prefixes,
            sources,
            patience_ms: 40_000,
            requests,
            way: Way::Requests,
        },
    ))
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
