//! A day of a web server: people, programs that look like attackers at first sight, and attackers.

use std::net::IpAddr;

use crate::draw::Draw;
use crate::log::{BROWSER, DAY, DAY_S, Log, SITE};

/// Adds something to a log of this service.
pub(crate) type Part = fn(&mut Log, &mut Draw, &'static str);

const PAGES: [&str; 8] = [
    "/",
    "/news/17",
    "/about",
    "/shop/list?page=2",
    "/contact",
    "/blog/2026/03/spring/",
    "/search?q=tea",
    "/shop/7",
];
const ASSETS: [&str; 4] = ["/style.css", "/app.js", "/logo.png", "/img/hero.jpg"];
const AGENTS: [&str; 4] = [
    BROWSER,
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 Version/18.3 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/134.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:136.0) Gecko/20100101 Firefox/136.0",
];

/// Somebody reads a page.
fn page(log: &mut Log, draw: &mut Draw, at: f64, who: IpAddr, agent: &str) {
    log.request(at, who, &format!("GET {}", draw.pick(&PAGES)), 200).by(agent);
    for nth in 0..draw.between(1, 4) {
        let asset = ASSETS[nth as usize];
        log.request(at + 0.2 + nth as f64 * 0.1, who, &format!("GET {asset}"), 200).by(agent).from(SITE);
    }
    if draw.one_in(20) {
        log.request(at + 1.0, who, "GET /old/missing.png", 404).by(agent).from(SITE);
    }
    if draw.one_in(30) {
        log.request(at + 1.0, who, "GET /favicon.ico", 404).by(agent);
    }
}

/// People of an ordinary day, with all that goes on on any site.
pub(crate) fn usual(log: &mut Log, draw: &mut Draw, service: &'static str) {
    for _ in 0..draw.between(250, 400) {
        let (who, agent) = (draw.address(), draw.pick(&AGENTS));
        let mut at = DAY + draw.below(DAY_S as u64 - 3_000) as f64;
        for _ in 0..draw.between(1, 8) {
            page(log, draw, at, who, agent);
            at += 5.0 + draw.gap(60.0);
        }
    }
    // What every server on the Internet gets, from each address a little.
    for _ in 0..30 {
        let (who, at) = (draw.address(), DAY + draw.below(DAY_S as u64) as f64);
        let path = draw.pick(&["/.env", "/wp-login.php", "/robots.txt", "/.git/config", "/actuator/health"]);
        log.request(at, who, &format!("GET {path}"), 404).by("-");
        if service != "web" && draw.one_in(3) {
            log.bytes(at + 2.0, who, r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        }
    }
}

// People and programs of which nobody should say anything.

/// Types the wrong password of a form up to four times, and then the right one.
pub(crate) fn mistypes(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..12 {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        log.request(at, who, "GET /wp-login.php", 200);
        for _ in 0..draw.between(1, 4) {
            at += draw.between(4, 30) as f64;
            log.request(at, who, "POST /wp-login.php", 200).from("https://www.example.jp/wp-login.php");
        }
        at += 6.0;
        log.request(at, who, "POST /wp-login.php", 302).from("https://www.example.jp/wp-login.php");
        for nth in 0..10 {
            log.request(at + f64::from(nth) * 15.0, who, "POST /wp-admin/admin-ajax.php", 200).from(SITE);
        }
    }
}

/// Has forgotten it, and finds it after six failures within an hour; so do those whom the server asks for it.
pub(crate) fn forgets(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for nth in 0..8 {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for _ in 0..6 {
            at += draw.between(5, 500) as f64;
            if nth % 2 == 0 {
                log.request(at, who, "POST /wp-login.php", 200);
            } else {
                log.request(at, who, "GET /private/", 401).user("anna");
            }
        }
        at += 60.0;
        if nth % 2 == 0 {
            log.request(at, who, "POST /wp-login.php", 302);
        }
        for nth in 0..5 {
            log.request(at + f64::from(nth) * 9.0, who, "GET /private/report", 200).user("anna");
        }
    }
}

/// Watches one page every ten seconds; another finds that a page is not there and tries on; one speaks TLS to a port
/// without it, every half minute.
pub(crate) fn monitors(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let all = [draw.address(), draw.address(), draw.address(), draw.address()];
    let shift = draw.below(10) as f64;
    for nth in 0..(DAY_S / 20.0) as u64 {
        let at = DAY + shift + nth as f64 * 20.0;
        log.request(at, all[0], "HEAD /health", 200).by("check_http/v2.3.3 (monitoring-plugins 2.3.3)");
        log.request(at + 10.0, all[0], "HEAD /health", 200)
            .by("check_http/v2.3.3 (monitoring-plugins 2.3.3)");
        if nth % 3 == 0 {
            log.request(at, all[1], "GET /server-status?auto", 403).by("Zabbix");
        }
        if nth % 2 == 0 && service != "web" {
            let late = draw.below(3) as f64 * 0.4;
            log.bytes(at + late, all[2], r"\x16\x03\x01\x01\x17\x01\x00\x01\x13\x03\x03");
        }
        if nth % 90 == 0 {
            log.request(at, all[3], "POST /xmlrpc.php?for=jetpack", 200).by("Jetpack by WordPress.com");
        }
    }
}

/// Two hundred people behind one address, a few of whom mistype.
pub(crate) fn office(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let who = draw.v4().into();
    for person in 0..200 {
        let agent = draw.pick(&AGENTS);
        let mut at = DAY + 28_800.0 + draw.below(36_000) as f64;
        for _ in 0..draw.between(3, 12) {
            page(log, draw, at, who, agent);
            at += draw.gap(200.0);
        }
        let name = format!("user{person}");
        if draw.one_in(4) {
            for _ in 0..draw.between(1, 3) {
                log.request(at, who, "GET /intern/", 401).user(&name).by(agent);
                at += 8.0;
            }
        }
        for _ in 0..3 {
            log.request(at, who, "GET /intern/list", 200).user(&name).by(agent);
            at += 20.0;
        }
        if draw.one_in(8) {
            log.request(at, who, "POST /wp-login.php", 200).by(agent);
        }
        if draw.one_in(4) {
            log.request(at + 9.0, who, "POST /wp-login.php", 302).by(agent);
        }
        if draw.one_in(40) {
            let path =
                draw.pick(&["/.env", "/phpmyadmin/", "/.git/HEAD", "/wp-config.php.bak", "/backup.zip"]);
            log.request(at + 20.0, who, &format!("GET {path}"), 404).by("curl/8.5.0");
        }
        if draw.one_in(15) && service != "web" {
            log.bytes(at + 30.0, who, r"\x16\x03\x01\x00\xf1\x01");
        }
    }
}

/// Reads the whole site, says who it is, and follows links of last year that are dead.
pub(crate) fn crawler(log: &mut Log, draw: &mut Draw, _: &'static str) {
    const AGENT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
    for who in draw.network(3, false) {
        let mut at = DAY + draw.below(3_600) as f64;
        log.request(at, who, "GET /robots.txt", 200).by(AGENT);
        for nth in 0..draw.between(600, 1200) {
            at += draw.gap(55.0);
            let (path, status) = match draw.below(12) {
                0 => (format!("/archive/{}-gone", draw.below(400)), 404),
                1 => (format!("/tag/{}", draw.below(50)), 301),
                _ => (format!("/product/{nth}"), 200),
            };
            log.request(at, who, &format!("GET {path}"), status).by(AGENT);
        }
    }
    // Another one is in a hurry.
    let who = draw.address();
    let mut at = DAY + 20_000.0 + draw.below(40_000) as f64;
    for nth in 0..draw.between(1500, 2500) {
        at += draw.gap(0.15);
        log.request(at, who, &format!("GET /product/{nth}"), if nth % 25 == 0 { 404 } else { 200 })
            .by("AhrefsBot/7.0");
    }
}

/// A page has a link that leads nowhere, and everybody follows it; a gallery has lost all its pictures.
pub(crate) fn broken_links(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for _ in 0..500 {
        let (who, agent) = (draw.address(), draw.pick(&AGENTS));
        let at = DAY + draw.below(DAY_S as u64 - 100) as f64;
        page(log, draw, at, who, agent);
        for nth in 0..draw.between(1, 9) {
            let path = draw.pick(&["/vendor/bootstrap/theme.css", "/config.json", "/img/banner.png"]);
            log.request(at + 2.0 + nth as f64 * 7.0, who, &format!("GET {path}"), 404).by(agent).from(SITE);
        }
    }
    for _ in 0..6 {
        let (who, at) = (draw.address(), DAY + draw.below(80_000) as f64);
        log.request(at, who, "GET /gallery/", 200);
        for nth in 0..120 {
            let line = format!("GET /gallery/{nth}.jpg");
            log.request(at + 0.5 + f64::from(nth) * 0.02, who, &line, 404)
                .from("https://www.example.jp/gallery/");
        }
    }
    // Some link to it elsewhere, and a reader of news asks for it all day.
    let who = draw.address();
    for nth in 0..280 {
        log.request(DAY + f64::from(nth) * 300.0, who, "GET /feed/old.xml", 404).by("NewsReader/2.1");
    }
}

/// After it was on television everybody wants one page, also from behind the networks of mobile carriers.
pub(crate) fn television(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let begin = DAY + 40_000.0 + draw.below(20_000) as f64;
    let carriers = [draw.network(120, false), draw.network(90, true)].concat();
    for nth in 0..1500 {
        let who = if nth % 3 == 0 { carriers[draw.below(210) as usize] } else { draw.address() };
        let (agent, at) = (draw.pick(&AGENTS), begin + draw.gap(180.0));
        log.request(at, who, "GET /shop/as-seen-on-tv", if draw.one_in(8) { 503 } else { 200 }).by(agent);
        if draw.one_in(3) {
            log.request(at + 6.0, who, "GET /shop/as-seen-on-tv", 200).by(agent);
        }
        log.request(at + 1.0, who, "GET /style.css", 200).by(agent).from(SITE);
    }
}

/// A program that asks one thing five times a second, all day. Here: for three hours, of which the log is.
pub(crate) fn busy_program(log: &mut Log, draw: &mut Draw, _: &'static str) {
    let who = draw.address();
    let (length, method) = (10_800.0, draw.pick(&["POST /api/v1/metrics", "GET /api/v1/stock"]));
    let mut at = DAY + 30_000.0;
    while at < DAY + 30_000.0 + length {
        log.request(at, who, method, 200).by("shop-sync/1.4");
        at += draw.gap(0.2);
    }
    // The log is of these hours.
    log.entries.retain(|entry| (DAY + 30_000.0..DAY + 30_000.0 + length).contains(&entry.at));
}

/// Programs with a password that was changed: they try it every few minutes, all day.
pub(crate) fn stale_passwords(log: &mut Log, draw: &mut Draw, _: &'static str) {
    for (every, tries, line, user) in [
        (600.0, 1, "PROPFIND /dav/anna/", "anna"),
        (300.0, 3, "GET /calendar/", "ben"),
        (600.0, 1, "POST /api/login", "-"),
        (30.0, 1, "POST /oauth/token", "-"),
    ] {
        let (who, shift) = (draw.address(), draw.below(300) as f64);
        let mut at = DAY + shift;
        while at < DAY + DAY_S - 60.0 {
            for nth in 0..tries {
                log.request(at + f64::from(nth) * 2.0, who, line, 401).user(user).by("sync/3");
            }
            at += every + draw.below(3) as f64 * 0.5;
        }
    }
}

/// All of it comes through a proxy of the host's own, attacks and all.
pub(crate) fn proxied(log: &mut Log, draw: &mut Draw, service: &'static str) {
    for attack in [guesses_at_a_form, guesses_at_basic, calls_quickly, scans_quickly, floods, relays] {
        attack(log, draw, service);
    }
    let proxy: IpAddr =
        draw.pick(&["127.0.0.1", "10.0.0.3", "172.17.0.1", "::1", "fd00::3"]).parse().unwrap();
    for entry in &mut log.entries {
        entry.client = Some(proxy);
        entry.counts = None;
    }
    log.attacks.clear();
}

// Attacks.

const GUESS: &[&str] = &["credential-attack"];
const SPREAD: &[&str] = &["distributed-credential-attack", "credential-attack"];
const FLOOD: &[&str] = &["http-flood"];

pub(crate) fn guesses_at_a_form(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(GUESS, service);
    for _ in 0..draw.between(1, 3) {
        let (who, mean) = (draw.address(), draw.between(1, 20) as f64 / 5.0);
        let mut at = DAY + draw.below(60_000) as f64;
        for nth in 0..draw.between(40, 400) {
            if nth % 50 == 0 {
                log.request(at, who, "GET /wp-login.php", 200);
            }
            at += draw.gap(mean);
            log.request(at, who, "POST /wp-login.php", 200).by(AGENTS[nth as usize % 4]).counts(attack);
        }
    }
}

pub(crate) fn guesses_at_a_form_slowly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(GUESS, service);
    let who = draw.address();
    let form = draw.pick(&["POST /wp-login.php", "POST /blog/wp-login.php", "POST /administrator/index.php"]);
    let (mut at, mean) = (DAY, draw.between(150, 700) as f64);
    let by_the_clock = draw.one_in(2);
    while at < DAY + DAY_S - 700.0 {
        at += if by_the_clock { mean } else { draw.gap(mean) };
        log.request(at.min(DAY + DAY_S - 1.0), who, form, 200).counts(attack);
    }
}

const NAMES: [&str; 12] = [
    "admin", "root", "test", "user", "manager", "backup", "info", "guest", "oracle", "office", "sales", "web",
];

pub(crate) fn guesses_at_basic(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(GUESS, service);
    for single in [true, false] {
        let (who, mut at) = (draw.address(), DAY + draw.below(60_000) as f64);
        for _ in 0..draw.between(50, 300) {
            at += draw.gap(1.5);
            let name = if single { "admin" } else { draw.pick(&NAMES) };
            log.request(at, who, "GET /private/", 401).user(name).counts(attack);
        }
        // And gets in.
        if draw.one_in(3) {
            log.request(at + 1.0, who, "GET /private/", 200).user("admin");
            log.request(at + 2.0, who, "GET /private/all.zip", 200).user("admin");
        }
    }
}

pub(crate) fn guesses_at_basic_slowly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(GUESS, service);
    let (who, mean) = (draw.address(), draw.between(200, 900) as f64);
    let mut at = DAY + draw.gap(mean);
    while at < DAY + DAY_S {
        log.request(at, who, "GET /private/", 401).user(draw.pick(&NAMES)).counts(attack);
        at += draw.gap(mean);
    }
}

/// Sixty addresses of one network, each some times within ten minutes.
pub(crate) fn network_guesses(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(SPREAD, service);
    let begin = DAY + draw.below(80_000) as f64;
    let v6 = draw.one_in(3);
    for who in draw.network(60, v6) {
        for _ in 0..draw.between(2, 4) {
            log.request(begin + draw.below(600) as f64, who, "POST /wp-login.php", 200).counts(attack);
        }
    }
}

/// Hundreds of addresses from everywhere, each two or three times a day.
pub(crate) fn everybody_guesses(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(SPREAD, service);
    let basic = draw.one_in(2);
    for _ in 0..200 {
        let who = draw.address();
        for _ in 0..draw.between(2, 3) {
            let at = DAY + draw.below(DAY_S as u64) as f64;
            if basic {
                let name = draw.pick(&["admin", "webmaster", "root"]);
                log.request(at, who, "GET /private/", 401).user(name).counts(attack);
            } else {
                log.request(at, who, "POST /wp-login.php", 200).counts(attack);
            }
        }
    }
}

pub(crate) fn calls_quickly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(FLOOD, service);
    let (n, v6) = (draw.between(1, 3) as usize, draw.one_in(3));
    for who in draw.network(n, v6) {
        let (mut at, mean) = (DAY + draw.below(80_000) as f64, 1.0 / draw.between(3, 30) as f64);
        for _ in 0..draw.between(200, 1500) {
            at += draw.gap(mean);
            log.request(at, who, "POST /xmlrpc.php", if draw.one_in(9) { 500 } else { 200 })
                .by("-")
                .counts(attack);
        }
    }
}

pub(crate) fn calls_slowly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(GUESS, service);
    let (who, mut at) = (draw.address(), DAY + draw.below(60_000) as f64);
    for _ in 0..draw.between(300, 600) {
        at += 2.0 + draw.gap(4.0);
        log.request(at, who, "POST /xmlrpc.php", 200).by("-").counts(attack);
    }
}

pub(crate) fn relays(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["open-proxy-abuse"], service);
    for nth in 0..draw.between(2, 4) {
        let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
        for step in 0..draw.between(6, 150) {
            at += draw.gap(3.0);
            let host = ["mail.example.net", "www.example.com", "api.example.org"][step as usize % 3];
            let status = draw.pick(&[&200u16, &405, &403, &504]);
            let line =
                if nth % 2 == 0 { format!("CONNECT {host}:443") } else { format!("GET http://{host}/ip") };
            log.request(at, who, &line, *status).by("-").counts(attack);
        }
    }
}

/// Each address of a network once or twice.
pub(crate) fn network_relays(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["open-proxy-abuse"], service);
    let begin = DAY + draw.below(80_000) as f64;
    for who in draw.network(40, false) {
        for _ in 0..draw.between(1, 2) {
            log.request(begin + draw.below(900) as f64, who, "CONNECT www.example.org:443", 504)
                .counts(attack);
        }
    }
}

const PROBES: [&str; 30] = [
    "/.env",
    "/.git/config",
    "/.git/HEAD",
    "/phpmyadmin/index.php",
    "/pma/index.php",
    "/wp-config.php.bak",
    "/.aws/credentials",
    "/backup.zip",
    "/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php",
    "/cgi-bin/luci/;stok=/locale",
    "/boaform/admin/formLogin",
    "/actuator/health",
    "/.ssh/id_rsa",
    "/server-status",
    "/solr/admin/info/system",
    "/.env.production",
    "/api/.env",
    "/HNAP1/",
    "/cgi-bin/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/shell.php",
    "/.DS_Store",
    "/adminer.php",
    "/web.config",
    "/.svn/entries",
    "/config.php",
    "/remote/login",
    "/owa/auth/logon.aspx",
    "/wlwmanifest.xml",
    "/.vscode/sftp.json",
    "/info.php",
];

fn scan(log: &mut Log, draw: &mut Draw, service: &'static str, mean: f64, n: u64) {
    let attack = log.attack(&["scanner"], service);
    log.attacks[attack].exact = false;
    let who = draw.address();
    // Some sites answer 200 to everything.
    let answers = draw.one_in(4);
    let mut at = DAY + draw.below(500) as f64 + if mean < 60.0 { draw.below(70_000) as f64 } else { 0.0 };
    for nth in 0..n {
        let path = match draw.below(3) {
            0 if !answers => {
                format!("/{}{}.php", draw.pick(&["up", "x", "admin", "test", "old/a"]), draw.below(5000))
            }
            _ => PROBES[draw.below(30) as usize].to_owned(),
        };
        let hidden = path.contains("/.");
        let status = match draw.below(10) {
            _ if answers => 200,
            0 => 403,
            1 => 301,
            _ => 404,
        };
        let method = if nth % 17 == 5 { "HEAD" } else { "GET" };
        let entry = log.request(at, who, &format!("{method} {path}"), status).by("Go-http-client/1.1");
        if status >= 400 || hidden {
            entry.counts(attack);
        }
        at = (at + draw.gap(mean)).min(DAY + DAY_S - 1.0);
    }
}

/// Hundreds of probes in a minute.
pub(crate) fn scans_quickly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let n = draw.between(100, 400);
    scan(log, draw, service, 0.2, n);
}

pub(crate) fn scans_slowly(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let n = draw.between(60, 200);
    scan(log, draw, service, 80_000.0 / n as f64, n);
}

/// With a list of words that nobody knows.
pub(crate) fn scans_by_words(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["scanner"], service);
    log.attacks[attack].exact = false;
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    for _ in 0..draw.between(200, 900) {
        at += draw.gap(0.1);
        let path = format!("/{:x}{}", draw.below(1 << 30), draw.pick(&["", ".php", "/", ".zip"]));
        let status = if draw.one_in(12) { 200 } else { 404 };
        let entry = log.request(at, who, &format!("GET {path}"), status).by("-");
        if status == 404 {
            entry.counts(attack);
        }
    }
}

pub(crate) fn speaks_no_http(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(&["scanner"], service);
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    for nth in 0..draw.between(15, 60) {
        at += draw.gap(8.0);
        let bytes = draw.pick(&[
            r"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            r"\x03\x00\x00/*\xe0\x00\x00",
            r"\x16\x03\x01\x00\xee\x01",
        ]);
        log.bytes(at, who, bytes).counts(attack);
        if nth == 9 {
            log.request(at, who, "GET /", 200).by("-");
        }
    }
}

/// One address asks for one page.
pub(crate) fn floods(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(FLOOD, service);
    let (who, mut at) = (draw.address(), DAY + draw.below(80_000) as f64);
    let end = at + draw.between(80, 200) as f64;
    let rate = draw.between(8, 30) as f64;
    let page = draw.pick(&["/search", "/shop/list", "/", "/wp-json/wp/v2/posts"]);
    while at < end {
        log.request(
            at,
            who,
            &format!("GET {page}?q={}", draw.below(1 << 40)),
            if draw.one_in(3) { 503 } else { 200 },
        )
        .counts(attack);
        at += draw.gap(1.0 / rate);
    }
}

/// A network asks for one page.
pub(crate) fn network_floods(log: &mut Log, draw: &mut Draw, service: &'static str) {
    let attack = log.attack(FLOOD, service);
    let begin = DAY + draw.below(80_000) as f64;
    let (mut at, end) = (begin, begin + draw.between(120, 300) as f64);
    let (rate, n, v6) = (draw.between(12, 30), draw.between(10, 60), draw.one_in(3));
    let all = draw.network(n as usize, v6);
    while at < end {
        let who = all[draw.below(n) as usize];
        log.request(at, who, "GET /search?q=tea", 200).counts(attack);
        at += draw.gap(1.0 / rate as f64);
    }
}

pub(crate) const INNOCENT: &[(&str, Part)] = &[
    ("mistypes", mistypes),
    ("forgets", forgets),
    ("monitors", monitors),
    ("an office", office),
    ("a crawler", crawler),
    ("broken links", broken_links),
    ("television", television),
    ("stale passwords", stale_passwords),
];

/// These change all of a log, and stand alone.
pub(crate) const INNOCENT_ALONE: &[(&str, Part)] = &[("a busy program", busy_program), ("a proxy", proxied)];

pub(crate) const ATTACKS: &[(&str, Part)] = &[
    ("guesses at a form", guesses_at_a_form),
    ("guesses at a form slowly", guesses_at_a_form_slowly),
    ("guesses at basic", guesses_at_basic),
    ("guesses at basic slowly", guesses_at_basic_slowly),
    ("network guesses", network_guesses),
    ("everybody guesses", everybody_guesses),
    ("calls quickly", calls_quickly),
    ("calls slowly", calls_slowly),
    ("relays", relays),
    ("network relays", network_relays),
    ("scans quickly", scans_quickly),
    ("scans slowly", scans_slowly),
    ("scans by words", scans_by_words),
    ("speaks no http", speaks_no_http),
    ("floods", floods),
    ("network floods", network_floods),
];
