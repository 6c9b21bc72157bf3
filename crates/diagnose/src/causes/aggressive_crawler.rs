//! `aggressive-crawler`: an honest program reads page after page, faster than the server can make them.
//!
//! Needs: something used up; a network that holds a good part of it, asked for `robots.txt` when it came, only reads, is
//! answered well, and asks for each page once. What it calls itself proves nothing: a flood may call itself the same, and
//! asks for one thing again and again, or posts.

use toban_model::{Crawl, Culprit, CulpritKind, Text, Verdict, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "aggressive-crawler",
    about: Text::fixed(
        "an honest crawler reads faster than the server can answer",
        "正規のクローラのアクセスがサーバの処理能力を超えています",
    ),
    rules_out: &["http-flood", "flash-crowd", "slow-backend"],
    needs: Needs::Nothing,
    judge,
};

/// An honest program is answered well, only reads, and asks for each page once.
const OK_MIN: f64 = 0.9;
const READS_MIN: f64 = 0.98;
const DISTINCT_MIN: f64 = 0.7;
/// Requests a second that a server can feel.
const RATE_MIN: f64 = 2.0;
/// The part of all requests that makes it the one who fills the server.
const SHARE_MIN: f64 = 0.3;

/// It behaves as honest crawlers do.
fn is_honest(crawl: &Crawl) -> bool {
    let names_itself = |agent: &str| {
        let agent = agent.to_ascii_lowercase();
        ["bot", "crawl", "spider", "slurp", "http://", "https://"].iter().any(|word| agent.contains(word))
    };
    crawl.robots.is_some()
        && names_itself(&crawl.agent)
        && crawl.ok_share >= OK_MIN
        && crawl.reads_share >= READS_MIN
        && crawl.distinct_share >= DISTINCT_MIN
}

/// Whether a group's networks are an honest crawler's, and by which numbers.
pub(super) fn is_it<'a>(picture: &Picture<'a>) -> Option<&'a Crawl> {
    let crawls = &picture.situation.strangers.crawls;
    let honest = crawls.iter().find(|crawl| is_honest(crawl) && rate(crawl) >= RATE_MIN)?;
    let of_group = |group: &crate::attribution::Group| {
        let theirs = group.offenders.iter().filter(|offender| {
            honest.network.contains(&offender.prefix) || offender.prefix.contains(&honest.network)
        });
        theirs.map(|offender| offender.held).sum::<f64>() * 2.0 >= group.held
    };
    match &picture.group {
        Some(group) => of_group(group).then_some(honest),
        None => (share(picture, honest) >= SHARE_MIN).then_some(honest),
    }
}

fn rate(crawl: &Crawl) -> f64 {
    f64::from(crawl.requests) / crawl.seconds.max(1.0)
}

/// Its part of the requests that ended.
fn share(picture: &Picture<'_>, crawl: &Crawl) -> f64 {
    let traffic = picture.situation.traffic.iter().find(|traffic| traffic.service == crawl.service);
    traffic.map_or(0.0, |traffic| rate(crawl) / traffic.requests.now.max(rate(crawl)).max(0.1))
}

fn judge(picture: &Picture<'_>) -> Judged {
    let Some(crawl) = is_it(picture) else {
        let busiest = picture.situation.strangers.crawls.iter().find(|crawl| crawl.robots.is_some());
        return match busiest {
            Some(crawl) => {
                let (distinct, rate) = (crawl.distinct_share * 100.0, rate(crawl));
                Judged::Not(Text::new(
                    format!(
                        "the busiest that read robots.txt asks {rate:.1} times a second, {distinct:.0} % for new pages"
                    ),
                    format!(
                        "robots.txt を取得した最も活発なクライアントは毎秒 {rate:.1} リクエスト、うち新しいページは {distinct:.0} % です"
                    ),
                ))
            }
            None => Judged::Not(Text::fixed(
                "nobody who read robots.txt reads page after page",
                "robots.txt を取得して連続的にページを読んでいるクライアントはありません",
            )),
        };
    };
    let web = |name: &str| name.ends_with(".workers") || name.ends_with(".accept-queue");
    let exhausted = picture.situation.resources.iter().find(|resource| {
        resource.exhausted_since.is_some()
            && web(&resource.name)
            && picture
                .situation
                .servers
                .iter()
                .any(|view| resource.name.starts_with(&format!("{}.", view.service)))
    });
    let Some(resource) = exhausted else {
        let rate = rate(crawl);
        return Judged::Not(Text::new(
            format!("it reads {rate:.1} pages a second, and nothing is used up by it"),
            format!("毎秒 {rate:.1} ページを読んでいますが、資源の枯渇はありません"),
        ));
    };
    let (rate, clients, share) = (rate(crawl), crawl.clients, share(picture, crawl));
    let agent = tell::clean(&crawl.agent).into_owned();
    let distinct = crawl.distinct_share * 100.0;
    let network = crawl.network;
    Judged::Is(Candidate {
        verdict: Verdict::Incident,
        confidence: 0.84,
        culprits: vec![Culprit {
            kind: CulpritKind::Prefix,
            value: network.to_string(),
            share: (share * 100.0).round() / 100.0,
            r#where: Where::from([("user_agent".to_owned(), agent.clone())]),
            process: None,
        }],
        evidence: vec![
            tell::evidence(
                "crawl-rate",
                Text::fixed("pages that it reads", "クローラの読み取り"),
                Text::new(
                    format!(
                        "{rate:.1} a second from {clients} addresses, {:.0} % of all requests",
                        share * 100.0
                    ),
                    format!("{clients} アドレスから毎秒 {rate:.1} リクエスト(全体の {:.0} %)", share * 100.0),
                ),
                rate,
                None,
                "access_log",
            ),
            tell::evidence(
                "crawl-honest",
                Text::fixed("how it behaves", "クローラのふるまい"),
                Text::new(
                    format!(
                        "asked for robots.txt, {distinct:.0} % new pages, {:.0} % answered well",
                        crawl.ok_share * 100.0
                    ),
                    format!(
                        "robots.txt を取得し、{distinct:.0} % が新しいページ、{:.0} % が正常応答",
                        crawl.ok_share * 100.0
                    ),
                ),
                crawl.distinct_share,
                None,
                "access_log",
            ),
        ],
        summary: Text::new(
            format!(
                "{} is used up: a crawler from {network} ({agent}) reads {rate:.1} pages a second.",
                resource.name
            ),
            format!(
                "{} を使い切っています。{network} のクローラ({agent})が毎秒 {rate:.1} ページを読んでいます。",
                resource.name
            ),
        ),
        remedies: Vec::new(),
        advice: vec![
            Text::new(
                format!(
                    "slow it down rather than ban it: answer 429 beyond a rate (nginx `limit_req`, Apache `mod_evasive` or `mod_qos`) for {network}"
                ),
                format!(
                    "遮断ではなく減速を推奨します。{network} に対し、一定の頻度を超えたら 429 を返してください(nginx の `limit_req`、Apache の `mod_evasive` や `mod_qos`)"
                ),
            ),
            Text::fixed(
                "ask it to be slower: `Crawl-delay` in robots.txt, or the search engine's own console",
                "robots.txt の `Crawl-delay` や検索エンジンの管理画面で、クロール頻度を下げてください",
            ),
            Text::new(
                format!("see whether its names are honest: `dig -x` for an address of {network}, and back"),
                format!("{network} のアドレスを `dig -x` で逆引きし、正引きと一致するか確認してください"),
            ),
        ],
        since: Some(crawl.first),
        resource: Some(resource.clone()),
        effects: Vec::new(),
    })
}
