//! A shop with a blog, as usual visitors use it.

use std::fmt::Write as _;

use super::Offence;
use super::random::{Random, Weighted};

/// What was asked, how it was answered, and the rest of an access log's line.
pub(crate) struct Asked<'a> {
    /// What stands in the place of the user's name.
    pub(crate) user: &'a str,
    pub(crate) method: &'static str,
    /// See [`super::Request::path`].
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    /// Bytes sent; `-` for none.
    pub(crate) bytes: Option<u32>,
    pub(crate) referer: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) duration_us: u32,
    pub(crate) offence: Option<Offence>,
}

/// Kinds of requests with how often they come, in a thousand.
const ROUTES: [(Route, f64); 15] = [
    (Route::Asset, 300.0),
    (Route::Item, 165.0),
    (Route::Upload, 100.0),
    (Route::Blog, 95.0),
    (Route::Home, 65.0),
    (Route::ApiItem, 60.0),
    (Route::Category, 55.0),
    (Route::Ajax, 40.0),
    (Route::Search, 30.0),
    (Route::Stock, 20.0),
    (Route::Gone, 20.0),
    (Route::Cart, 16.0),
    (Route::Icon, 16.0),
    (Route::Feed, 13.0),
    (Route::Robots, 5.0),
];

#[derive(Clone, Copy)]
enum Route {
    Asset,
    Item,
    Upload,
    Blog,
    Home,
    ApiItem,
    Category,
    Ajax,
    Search,
    Stock,
    Gone,
    Cart,
    Icon,
    Feed,
    Robots,
}

const WORDS: [&str; 24] = [
    "summer", "garden", "wooden", "blue", "shoes", "jacket", "coffee", "lamp", "travel", "guide", "review",
    "winter", "cable", "desk", "phone", "kids", "linen", "walnut", "repair", "bottle", "green", "heavy",
    "silent", "folding",
];
const EXTENSIONS: [&str; 6] = ["css", "js", "png", "webp", "woff2", "svg"];
const REFERERS: [&str; 8] = [
    "-",
    "-",
    "-",
    "https://www.example.org/",
    "https://www.example.org/category/garden/page/2/",
    "https://www.google.com/",
    "https://duckduckgo.com/",
    "https://t.co/abcDEF1234",
];

const ITEMS: usize = 40_000;
const ASSETS: usize = 400;

/// What is there, and how popular each part is.
pub(crate) struct Site {
    routes: Weighted,
    items: Weighted,
    assets: Weighted,
    agents: Vec<String>,
    popular_agents: Weighted,
}

impl Site {
    pub(crate) fn new() -> Self {
        let agents = agents();
        Self {
            routes: Weighted::new(&ROUTES.map(|(_, weight)| weight)),
            items: Weighted::zipf(ITEMS, 0.8),
            assets: Weighted::zipf(ASSETS, 0.7),
            popular_agents: Weighted::zipf(agents.len(), 0.9),
            agents,
        }
    }

    /// Which agent a client has.
    pub(crate) fn pick_agent(&self, random: &mut Random) -> u16 {
        self.popular_agents.pick(random) as u16
    }

    /// A usual request of someone with this agent; `line` becomes the request line.
    pub(crate) fn visit(&self, random: &mut Random, agent: u16, line: &mut String) -> Asked<'_> {
        let (route, _) = ROUTES[self.routes.pick(random)];
        let (one, two) = (*random.one(&WORDS), *random.one(&WORDS));
        let (mut method, mut path) = ("GET", "");
        // Median and spread of the duration in microseconds, median of the size in bytes.
        let (mut slow, mut size) = ((60_000.0, 0.9), 18_000.0);
        let is_static = matches!(route, Route::Asset | Route::Upload | Route::Icon | Route::Robots);
        if is_static {
            (slow, size) = ((310.0, 0.8), 9_000.0);
        }
        let target = &mut *line;
        target.clear();
        // What varies is a number, a word, a date: as sites have it. Writing to a string does not fail.
        let _ = match route {
            Route::Asset => {
                let at = self.assets.pick(random);
                let (word, extension) = (WORDS[at % WORDS.len()], EXTENSIONS[at % EXTENSIONS.len()]);
                write!(target, "/assets/{word}-{:07x}.{extension}", at * 40_503 % 0xfff_ffff)
            }
            Route::Item => {
                let item = self.items.pick(random);
                write!(target, "/product/{}-{}-{item}/", WORDS[item % 24], WORDS[item / 24 % 24])
            }
            Route::Upload => {
                let at = self.assets.pick(random);
                size = 60_000.0;
                write!(target, "/wp-content/uploads/2024/{:02}/{one}-{}.jpg", 1 + at % 12, at / 12)
            }
            Route::Blog => {
                let post = self.assets.pick(random);
                let name = (2018 + post % 7, 1 + post % 12, WORDS[post % 24], WORDS[post / 24 % 24]);
                write!(target, "/blog/{}/{:02}/{}-{}/", name.0, name.1, name.2, name.3).and_then(|()| {
                    if random.chance(0.3) { write!(target, "?utm_source=mail&p={post}") } else { Ok(()) }
                })
            }
            Route::ApiItem => {
                slow = (25_000.0, 0.6);
                size = 900.0;
                write!(target, "/api/v1/items/{}?fields=name,price", self.items.pick(random))
            }
            Route::Category => write!(target, "/category/{one}/page/{}/", 1 + random.below(40)),
            Route::Search => {
                slow = (180_000.0, 1.0);
                path = "/search";
                write!(target, "/search?q={one}+{two}")
            }
            Route::Gone => {
                size = 1_200.0;
                write!(target, "/old/{one}/{}.html", random.below(4_000))
            }
            Route::Home
            | Route::Ajax
            | Route::Stock
            | Route::Cart
            | Route::Icon
            | Route::Feed
            | Route::Robots => {
                (method, path) = match route {
                    Route::Ajax => ("POST", "/wp-admin/admin-ajax.php"),
                    Route::Stock => ("GET", "/api/v1/stock"),
                    Route::Cart => ("POST", "/cart/add"),
                    Route::Icon => ("GET", "/favicon.ico"),
                    Route::Feed => ("GET", "/feed/"),
                    Route::Robots => ("GET", "/robots.txt"),
                    _ => ("GET", "/"),
                };
                target.write_str(path)
            }
        };
        line.insert(0, ' ');
        line.insert_str(0, method);
        line.push_str(if random.chance(0.97) { " HTTP/1.1" } else { " HTTP/1.0" });
        let status = match route {
            Route::Gone => 404,
            _ if is_static && random.chance(0.15) => 304,
            _ => match random.below(10_000) {
                0..100 => 301,
                100..130 => 403,
                130..140 => 500,
                140..144 => 503,
                _ => 200,
            },
        };
        if status == 304 {
            slow.0 = 140.0;
        }
        let bytes = (status != 304).then(|| random.log_normal(size, 0.7) as u32);
        let duration_us = random.log_normal(slow.0, slow.1) as u32;
        let referer = REFERERS[random.below(REFERERS.len())];
        let agent = self.agents[usize::from(agent)].as_str();
        Asked { user: "-", method, path, status, bytes, referer, agent, duration_us, offence: None }
    }
}

/// Browsers in their versions, crawlers, tools, and one whose name needs escapes.
fn agents() -> Vec<String> {
    const SYSTEMS: [&str; 4] = [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "Linux; Android 10; K",
    ];
    let mut agents = Vec::new();
    for version in (112..124).rev() {
        let system = SYSTEMS[version % 4];
        agents.push(format!(
            "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
        ));
        agents.push(format!("Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"));
    }
    for version in (12..18).rev() {
        agents.push(format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS {version}_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/{version}.4 Mobile/15E148 Safari/604.1"
        ));
    }
    agents.extend(
        [
            "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
            "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
            "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
            "FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)",
            "curl/7.88.1",
            "python-requests/2.31.0",
            "-",
            r#"Shop \"Reader\" 1.0 C:\\"#,
        ]
        .map(str::to_owned),
    );
    agents
}
