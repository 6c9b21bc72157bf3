//! What scenarios share: who lives at which address, the web site, and a stock Debian's logs and logins.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use crate::LabError;
use crate::params::Draw;
use crate::plan::{
    AdminPlan, AttackPlan, Attackers, Clients, ClientsPlan, FilePlan, HostPlan, LanPlan, Server, SitePlan,
    Times, Truth, Way,
};

/// Documentation prefixes (RFC 5737); most of the internet of a lab is in the benchmark range (RFC 2544).
const DOCUMENTATION: &[[u8; 3]] = &[[192, 0, 2], [198, 51, 100], [203, 0, 113]];

/// Everyone's addresses.
pub(super) struct Neighbourhood {
    pub(super) lan: LanPlan,
    pub(super) balancer: Ipv4Addr,
    pub(super) web: SocketAddrV4,
    pub(super) site: String,
    pub(super) admin: Ipv4Addr,
    pub(super) client_prefixes: Vec<Ipv4Net>,
    pub(super) clients: Vec<Ipv4Addr>,
    pub(super) attacker_prefixes: Vec<Ipv4Net>,
    pub(super) never_answers: Ipv4Net,
}

/// How many there are of each; a scenario's own ranges.
pub(super) struct Counts {
    pub(super) clients: std::ops::RangeInclusive<u64>,
    pub(super) client_prefixes: std::ops::RangeInclusive<u64>,
    pub(super) attacker_prefixes: std::ops::RangeInclusive<u64>,
}

impl Neighbourhood {
    pub(super) fn draw(draw: &mut Draw, counts: Counts) -> Result<Self, LabError> {
        let rng = draw.rng();
        let lan = net(Ipv4Addr::new(10, rng.u8(1..=250), rng.u8(1..=250), 0), 24);
        let (low, high) = (rng.u32(10..=40), rng.u32(60..=200));
        let mut pool: Vec<Ipv4Net> =
            DOCUMENTATION.iter().map(|[a, b, c]| net(Ipv4Addr::new(*a, *b, *c, 0), 24)).collect();
        while pool.len() < 64 {
            let new = net(Ipv4Addr::new(198, 18 + rng.u8(0..2), rng.u8(..), 0), 24);
            if !pool.contains(&new) {
                pool.push(new);
            }
        }
        rng.shuffle(&mut pool);
        let never = net(Ipv4Addr::new(100, rng.u8(64..128), 0, 0), 16);
        let site = *rng
            .choice(&["www.example.jp", "shop.example.com", "www.example.org"])
            .unwrap_or(&"www.example.jp");
        let (admin_host, client_seed) = (rng.u32(1..=254), rng.u64(..));

        let lan = draw.prefix("lan", lan)?;
        let balancer = draw.address("balancer", nth(lan, low))?;
        let web = draw.address("web", nth(lan, high))?;
        let port = draw.number("web-port", 80..=80)? as u16;
        let site = draw.text("site", site)?;
        let never_answers = draw.prefix("never-answers", never)?;
        let attackers = draw.number("attacker-prefix-count", counts.attacker_prefixes)?.max(1) as usize;
        let attacker_prefixes = draw.prefixes("attacker-prefixes", &pool[..attackers.min(8)])?;
        let admin = draw.address("admin", nth(pool[8], admin_host))?;
        let clients = draw.number("clients", counts.clients)? as usize;
        let prefixes = draw.number("client-prefix-count", counts.client_prefixes)?.clamp(1, 50) as usize;
        let client_prefixes = draw.prefixes("client-prefixes", &pool[9..9 + prefixes])?;
        if attacker_prefixes.iter().any(|theirs| client_prefixes.iter().any(|ours| overlap(theirs, ours))) {
            return Err(LabError::Usage(
                "attackers and clients must not share a prefix: truth would be unclear".into(),
            ));
        }
        let clients = addresses(&mut fastrand::Rng::with_seed(client_seed), &client_prefixes, clients);
        Ok(Self {
            lan: LanPlan { prefix: lan, router: nth(lan, 1) },
            balancer,
            web: SocketAddrV4::new(web, port),
            site,
            admin,
            client_prefixes,
            clients,
            attacker_prefixes,
            never_answers,
        })
    }

    /// Normal traffic towards `target`.
    pub(super) fn clients_plan(
        &self,
        draw: &mut Draw,
        target: SocketAddrV4,
        site: SitePlan,
    ) -> Result<ClientsPlan, LabError> {
        Ok(ClientsPlan {
            target,
            host_header: self.site.clone(),
            prefixes: self.client_prefixes.clone(),
            addresses: self.clients.clone(),
            requests_per_s: draw.number("requests-per-s", 15..=20)? as f64,
            patience_ms: draw.number("patience-ms", 10_000..=10_000)?,
            site,
            crowd: None,
            mail: None,
        })
    }

    /// Other people than the usual clients, in networks of their own, who want the same.
    pub(super) fn crowd(
        &self,
        draw: &mut Draw,
        people: std::ops::RangeInclusive<u64>,
        requests_per_s: std::ops::RangeInclusive<u64>,
        like: &ClientsPlan,
    ) -> Result<ClientsPlan, LabError> {
        let people = draw.number("crowd", people)? as usize;
        let networks = draw.number("crowd-prefix-count", 50..=60)?.clamp(1, 200) as usize;
        let requests_per_s = draw.number("crowd-requests-per-s", requests_per_s)? as f64;
        let rng = draw.rng();
        let taken = [&self.client_prefixes[..], &self.attacker_prefixes].concat();
        let mut prefixes: Vec<Ipv4Net> = Vec::new();
        while prefixes.len() < networks {
            let new = net(Ipv4Addr::new(198, 18 + rng.u8(0..2), rng.u8(..), 0), 24);
            if !taken.contains(&new) && !prefixes.contains(&new) && !new.contains(&self.admin) {
                prefixes.push(new);
            }
        }
        let addresses = addresses(rng, &prefixes, people);
        Ok(ClientsPlan { prefixes, addresses, requests_per_s, ..like.clone() })
    }

    pub(super) fn admin_plan(&self, site: &SitePlan) -> AdminPlan {
        AdminPlan {
            address: self.admin,
            web: self.web,
            host_header: self.site.clone(),
            pages: site.pages[..site.pages.len().min(3)].to_vec(),
            every_ms: 8000,
            patience_ms: 30_000,
            deed: None,
            mistypes: false,
        }
    }

    /// The web server, as it is set up.
    pub(super) fn server(
        &self,
        worker_limit: u64,
        backend_limit: Option<u64>,
        memory_limit_bytes: Option<u64>,
    ) -> Server {
        Server {
            host: "web1".into(),
            address: *self.web.ip(),
            port: self.web.port(),
            site: self.site.clone(),
            worker_limit,
            backend_limit,
            memory_limit_bytes,
        }
    }

    /// The attackers send requests to the web server itself: one connection for each source, held for so long.
    pub(super) fn attack(
        &self,
        patience_ms: u64,
        sources: Vec<Ipv4Addr>,
        requests: Vec<String>,
    ) -> AttackPlan {
        AttackPlan {
            prefixes: self.attacker_prefixes.clone(),
            sources,
            patience_ms,
            requests,
            ..nobody(self.web)
        }
    }

    /// What really is the case, without what is the scenario's own: `where_`, and a balancer.
    pub(super) fn truth(
        &self,
        cause: &str,
        web: Server,
        attackers: Vec<Ipv4Addr>,
        connections: u64,
    ) -> Truth {
        Truth {
            scenario: String::new(),
            seed: 0,
            parameters: BTreeMap::new(),
            cause: cause.into(),
            where_: BTreeMap::new(),
            web,
            balancer: None,
            admin: self.admin,
            lan: self.lan.prefix,
            gateway: self.lan.router,
            clients: Clients { prefixes: self.client_prefixes.clone(), addresses: self.clients.clone() },
            attackers: Attackers {
                prefixes: self.attacker_prefixes.clone(),
                addresses: attackers,
                connections,
            },
            never_answers: self.never_answers,
            times: Times::default(),
        }
    }
}

/// `count` different addresses, spread over the prefixes.
pub(super) fn addresses(rng: &mut fastrand::Rng, prefixes: &[Ipv4Net], count: usize) -> Vec<Ipv4Addr> {
    let room: usize = prefixes.iter().map(|prefix| hosts(*prefix) as usize).sum();
    let mut found = Vec::new();
    while found.len() < count.min(room) {
        let Some(prefix) = rng.choice(prefixes) else { break };
        let address = nth(*prefix, rng.u32(1..=hosts(*prefix)));
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// One source for each connection: the first prefix has most, as in the stories, and no address has none.
pub(super) fn sources(
    rng: &mut fastrand::Rng,
    prefixes: &[Ipv4Net],
    address_count: usize,
    connections: usize,
) -> (Vec<Ipv4Addr>, Vec<Ipv4Addr>) {
    let mut all = Vec::new();
    for (n, prefix) in prefixes.iter().enumerate() {
        let left = address_count.saturating_sub(all.len());
        let last = n + 1 == prefixes.len();
        let share = if last { left } else { (left * 6 / 10).max(1) };
        all.extend(addresses(rng, &[*prefix], share.max(1)));
    }
    let mut sources: Vec<Ipv4Addr> = all.iter().copied().cycle().take(connections).collect();
    // The even turn is disturbed a little: some are keener than others.
    for source in sources.iter_mut().skip(all.len()) {
        if rng.u8(..4) == 0 {
            *source = all[rng.usize(..all.len())];
        }
    }
    let mut used = sources.clone();
    used.sort_unstable();
    used.dedup();
    (used, sources)
}

/// Nobody attacks: the incident is what else begins with it.
pub(super) fn nobody(target: SocketAddrV4) -> AttackPlan {
    AttackPlan {
        target,
        also: Vec::new(),
        prefixes: Vec::new(),
        sources: Vec::new(),
        patience_ms: 1000,
        requests: Vec::new(),
        way: Way::Requests,
    }
}

pub(super) fn net(address: Ipv4Addr, length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address, length)
}

pub(super) fn nth(prefix: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(prefix.network()).wrapping_add(n))
}

/// Addresses of a prefix that can be someone's: not the first, not the last.
fn hosts(prefix: Ipv4Net) -> u32 {
    u32::from(prefix.broadcast()).wrapping_sub(u32::from(prefix.network())).saturating_sub(1).max(1)
}

fn overlap(a: &Ipv4Net, b: &Ipv4Net) -> bool {
    a.contains(b) || b.contains(a)
}

pub(super) fn file(path: &str, content: impl Into<String>) -> FilePlan {
    FilePlan { path: path.into(), mode: 0o644, content: content.into() }
}

pub(super) fn argv(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

pub(super) fn shell(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

/// A site of some articles, with its static files below /var/www/html.
pub(super) fn site(rng: &mut fastrand::Rng, post: &str) -> (SitePlan, Vec<FilePlan>) {
    let topics = ["garden", "rail", "tea", "camera", "hiking", "bread", "radio", "paper"];
    let mut pages = vec!["/".to_owned(), "/about".to_owned()];
    pages.extend((0..24).map(|_| format!("/articles/{}", rng.u32(100..3000))));
    pages.extend(topics.iter().map(|topic| format!("/category/{topic}")));
    let mut statics = Vec::new();
    let mut files = Vec::new();
    let build = rng.u32(..);
    for (folder, name, count) in [("assets", "css", 2), ("assets", "js", 3), ("images", "jpg", 12)] {
        for n in 0..count {
            let path = format!("/{folder}/{n}-{build:08x}.{name}");
            let size = rng.usize(1_500..24_000);
            let content: String = std::iter::repeat_with(|| rng.alphanumeric()).take(size).collect();
            files.push(file(&format!("/var/www/html{path}"), content));
            statics.push(path);
        }
    }
    let missing =
        vec!["/favicon.ico".into(), "/apple-touch-icon.png".into(), format!("/old/{}.html", rng.u16(..))];
    (SitePlan { pages, statics, missing, post: post.into() }, files)
}

/// The part of the site's front controller that every scenario has; ends with an open `<?php`.
pub(super) const PAGE_PHP: &str = r#"$path = strtok($_SERVER['REQUEST_URI'] ?? '/', '?');
if ($_SERVER['REQUEST_METHOD'] === 'POST') {
    header('Location: /about', true, 303);
    exit;
}
if (!preg_match('#^/($|about$|index\.php$|articles/\d+$|category/\w+$)#', $path)) {
    http_response_code(404);
    echo '<!doctype html><title>Not found</title><p>There is no such page.';
    exit;
}
$seed = $path;
$body = '';
for ($i = 0; $i < 120; $i++) {
    $seed = hash('sha256', $seed . $i);
    $body .= '<p>' . chunk_split($seed, 8, ' ') . "</p>\n";
}
echo '<!doctype html><html><head><title>' . htmlspecialchars($path) . '</title></head><body>', $body, '</body></html>';
"#;

/// What a Debian server with syslog and ssh needs before its web server: no machine-wide kernel log, a place for sshd.
pub(super) fn base_setup() -> Vec<Vec<String>> {
    vec![
        shell(
            "sed -i '/imklog/d' /etc/rsyslog.conf && sed -i '/^module(load=\"imklog\"/d' /etc/rsyslog.conf",
        ),
        argv("install -d -m 755 /run/sshd /run/php /run/haproxy /var/spool/rsyslog"),
        argv("chown www-data:www-data /run/php"),
        // As toban's package makes it: the agent's watch becomes this user.
        shell("getent passwd toban >/dev/null || useradd --system toban"),
        // Stock machines have it since their installation; images of them often come without.
        argv("ssh-keygen -q -A"),
        argv("rm -f /var/www/html/index.html"),
    ]
}

/// Apache's prefork with PHP in its workers.
pub(super) fn mod_php() -> Vec<Vec<String>> {
    let php = crate::prerequisites::php_version().unwrap_or_default();
    vec![
        argv(&format!("a2enmod -q mpm_prefork php{php} status")),
        shell(&format!("a2disconf -q -f php{php}-fpm || true")),
    ]
}

/// A host with apache's prefork and PHP in its workers.
pub(super) fn mod_php_host(
    name: &str,
    at: SocketAddrV4,
    memory_limit_bytes: Option<u64>,
    files: Vec<FilePlan>,
) -> HostPlan {
    HostPlan {
        name: name.into(),
        address: *at.ip(),
        memory_limit_bytes,
        files,
        setup: [base_setup(), mod_php(), listen_on(at.port())].concat(),
        services: vec![argv("rsyslogd"), argv("service ssh start"), argv("service apache2 start")],
    }
}

/// Debian's default site at another port than 80.
pub(super) fn listen_on(port: u16) -> Vec<Vec<String>> {
    vec![
        shell(&format!("sed -i 's/^Listen 80$/Listen {port}/' /etc/apache2/ports.conf")),
        shell(&format!("sed -i 's/:80>/:{port}>/' /etc/apache2/sites-available/000-default.conf")),
    ]
}

/// Apache's `combined`, with the quotes as they stand in its configuration.
pub(super) const COMBINED: &str = r#"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\""#;

/// A web site's front controller and Debian's default site, with the log format of the scenario.
pub(super) fn default_site(site: &str, log_format: &str, extra: &str) -> FilePlan {
    let content = format!(
        "<VirtualHost *:80>\n\
         \tServerName {site}\n\
         \tServerAdmin webmaster@localhost\n\
         \tDocumentRoot /var/www/html\n\
         \tDirectoryIndex index.php\n\
         \tFallbackResource /index.php\n\
         {extra}\n\
         \tLogFormat \"{log_format}\" site\n\
         \tErrorLog ${{APACHE_LOG_DIR}}/error.log\n\
         \tCustomLog ${{APACHE_LOG_DIR}}/access.log site\n\
         </VirtualHost>\n"
    );
    file("/etc/apache2/sites-available/000-default.conf", content)
}

/// Debian's prefork settings with another limit; above 256 apache wants to be told twice.
pub(super) fn prefork(worker_limit: u64) -> FilePlan {
    let server_limit =
        if worker_limit > 256 { format!("ServerLimit {worker_limit}\n") } else { String::new() };
    file(
        "/etc/apache2/mods-available/mpm_prefork.conf",
        format!(
            "# prefork MPM\n{server_limit}StartServers            5\nMinSpareServers         5\nMaxSpareServers        10\n\
             MaxRequestWorkers     {worker_limit}\nMaxConnectionsPerChild  0\n"
        ),
    )
}

/// What the balancer asks for, to see whether a server is well.
pub(super) fn health_php() -> FilePlan {
    file("/var/www/html/health.php", "<?php\nheader('Content-Type: text/plain');\necho \"ok\\n\";\n")
}

/// A host with haproxy before the web servers.
pub(super) fn balancer(address: Ipv4Addr, webs: &[SocketAddrV4], check_every_s: u64) -> HostPlan {
    let servers: String = webs
        .iter()
        .zip(1..)
        .map(|(web, n)| format!("\tserver web{n} {web} check inter {check_every_s}s fall 3 rise 2\n"))
        .collect();
    let config = format!(
        "global
\tlog /dev/log\tlocal0
\tlog /dev/log\tlocal1 notice
\tchroot /var/lib/haproxy
\tstats socket /run/haproxy/admin.sock mode 660 level admin
\tstats timeout 30s
\tuser haproxy
\tgroup haproxy
\tdaemon
\tmaxconn 4000

defaults
\tlog\tglobal
\tmode\thttp
\toption\thttplog
\toption\tdontlognull
\toption\tforwardfor
\toption\thttp-server-close
\tretries\t3
\ttimeout connect 3s
\ttimeout client  30s
\ttimeout server  15s
\ttimeout check   3s
\ttimeout http-keep-alive 5s

frontend www
\tbind :80
\thttp-request set-header X-Forwarded-Proto http
\tdefault_backend web

backend web
\toption httpchk GET /health.php
\thttp-check expect status 200
{servers}"
    );
    HostPlan {
        name: "lb".into(),
        address,
        memory_limit_bytes: Some(512 << 20),
        files: vec![file("/etc/haproxy/haproxy.cfg", config)],
        setup: base_setup(),
        services: vec![argv("rsyslogd"), argv("service haproxy start")],
    }
}
