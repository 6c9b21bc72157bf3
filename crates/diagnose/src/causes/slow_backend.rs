//! `slow-backend`: what the workers hand requests on to answers slowly, so that every request holds a worker long.
//!
//! Needs: workers used up, waiting for the backend; requests arrive as usual; nobody stands out. Where the children of a
//! pool are all stuck at one upstream, that is seen whoever else holds workers besides.

use toban_model::{Culprit, CulpritKind, Text, Waiting, Where};

use super::{Candidate, Cause, Judged, Needs};
use crate::backend::Backend;
use crate::picture::Picture;
use crate::tell;

pub(super) const CAUSE: Cause = Cause {
    id: "slow-backend",
    about: Text::fixed(
        "the backend answers slowly, so every request holds a worker long",
        "バックエンドの応答が遅く、すべてのリクエストがワーカーを長く占有しています",
    ),
    rules_out: &["http-flood", "open-proxy-abuse", "flash-crowd", "slow-clients"],
    needs: Needs::Saturation,
    judge,
};

const WAITING_SHARE_MIN: f64 = 0.5;
const SLOWER_MIN: f64 = 5.0;
/// With fewer workers it cannot be told what most of them do.
const LIMIT_MIN: u32 = 5;

fn judge(picture: &Picture<'_>) -> Judged {
    let backend = picture.backend.as_ref();
    if let Some(found) = backend.and_then(|backend| stuck(picture, backend)) {
        return Judged::Is(found);
    }
    if let Some(group) = &picture.group {
        let (share, ratio) = (group.share() * 100.0, group.ratio);
        return Judged::Not(Text::new(
            format!(
                "{share:.0} % of held workers belong to one group at {ratio:.0} times its usual share; a slow backend is slow for all alike"
            ),
            format!(
                "占有中のワーカーの {share:.0} % が特定の集団のもので、平常時の割合の {ratio:.0} 倍です。バックエンドの遅延なら全員が一様に遅くなります"
            ),
        ));
    }
    if picture.spread.is_some() {
        return Judged::Not(Text::fixed(
            "what holds the workers is not what is usually asked for",
            "ワーカーを占有しているのは、平常時に来るリクエストではありません",
        ));
    }
    // What a page usually takes is not known, and each is soon done: the next one is already there.
    if backend.is_some_and(|backend| backend.usual_s <= 0.0 && backend.is_quick()) {
        return Judged::Unknown;
    }
    if let Some(backend) = backend.filter(|backend| backend.is_as_usual()) {
        let (held, usual) = (backend.held_s, backend.usual_s);
        return Judged::Not(Text::new(
            format!(
                "a page has held its child of {} for {held:.2} s so far, {usual:.2} s is usual",
                backend.view.service
            ),
            format!(
                "{} の子プロセスは 1 ページあたり現在まで {held:.2} 秒占有されており、平常時は {usual:.2} 秒です",
                backend.view.service
            ),
        ));
    }
    let waiting = picture.waiting_share(Waiting::Backend);
    if let Some(share) = waiting.filter(|s| *s < WAITING_SHARE_MIN) {
        let percent = share * 100.0;
        return Judged::Not(Text::new(
            format!("{percent:.0} % of held workers wait for the backend"),
            format!("バックエンドの応答を待っているワーカーは {percent:.0} % です"),
        ));
    }
    let Some(traffic) = picture.traffic.filter(|_| picture.workers_full() || picture.server.is_none()) else {
        return Judged::Unknown;
    };
    let requests: f64 = traffic.now.holders.iter().map(|h| f64::from(h.requests)).sum();
    let held = traffic.now.holders.iter().map(|h| h.held_s).sum::<f64>() / requests.max(1.0);
    // By the log alone it has to be known what is usual, and workers that are seen free wait for nobody.
    let usual = traffic.held_s_usual_median;
    let seen = picture.server.is_some_and(|view| view.limit.is_some_and(|limit| limit >= LIMIT_MIN));
    if waiting.is_none() && (seen || usual <= 0.0 || held < usual * SLOWER_MIN) {
        return Judged::Unknown;
    }
    if picture.throughput_ratio().is_some_and(|r| r > 2.0) {
        return Judged::Unknown;
    }
    let backends = picture.service.map(|s| s.backends.clone()).unwrap_or_default();
    Judged::Is(Candidate {
        confidence: 0.6 + 0.25 * waiting.unwrap_or(0.4),
        culprits: backends
            .into_iter()
            .take(1)
            .map(|value| Culprit {
                kind: CulpritKind::Upstream,
                value,
                share: waiting.unwrap_or(1.0),
                r#where: Where::new(),
                process: None,
            })
            .collect(),
        evidence: vec![tell::evidence(
            "held-per-request",
            Text::fixed("how long a request holds a worker", "1 リクエストのワーカー占有時間"),
            Text::new(format!("mean {held:.2} s"), format!("平均 {held:.2} 秒")),
            held,
            Some(traffic.held_s_usual_median),
            "access_log",
        )],
        summary: summary(picture),
        ..Candidate::default()
    })
}

/// The pool's children wait for one upstream, each far longer than a page takes.
fn stuck(picture: &Picture<'_>, backend: &Backend<'_>) -> Option<Candidate> {
    let (upstream, share) = backend.asks.filter(|_| backend.is_stuck())?;
    let by_group = picture.group.as_ref().map_or(0.0, |group| group.share());
    let (en, ja) = tell::exhaustion(picture);
    let (held, service) = (backend.held_s, &backend.view.service);
    let (count, of) = ((share * f64::from(backend.view.busy)).round(), backend.view.busy);
    let database = database_at(picture, upstream);
    let name = database.map_or_else(|| tell::clean(upstream).into_owned(), str::to_owned);
    let place = tell::clean(upstream);
    Some(Candidate {
        // Who holds most of the workers dominates.
        confidence: 0.55 + 0.4 * (1.0 - by_group),
        culprits: vec![Culprit {
            kind: CulpritKind::Upstream,
            value: upstream.to_owned(),
            share: (share * 100.0).round() / 100.0,
            r#where: database.map(|name| ("process".to_owned(), name.to_owned())).into_iter().collect(),
            process: None,
        }],
        evidence: vec![tell::evidence(
            "children-waiting",
            Text::fixed("what the children wait for", "子プロセスの待機先"),
            Text::new(
                format!("{count:.0} of {of} of {service} at {place}, held for {held:.1} s so far"),
                format!("{service} の {of} のうち {count:.0} が {place} を待機中(現在まで平均 {held:.1} 秒)"),
            ),
            held,
            (backend.usual_s > 0.0).then_some(backend.usual_s),
            "sock_diag",
        )],
        summary: Text::new(
            format!("{en}\nThey wait for {service}, and that waits for {name}, which does not answer."),
            format!(
                "{ja}\n{service} の応答待ちです。{service} は {name} の応答を待っており、{name} が応答していません。"
            ),
        ),
        advice: database.map(|_| what_it_does()).into_iter().collect(),
        ..Candidate::default()
    })
}

/// The database of this host that has its socket or port there; the only one, since their places are not told.
fn database_at<'a>(picture: &'a Picture<'_>, upstream: &str) -> Option<&'a str> {
    let [database] = &picture.situation.holdings.databases[..] else { return None };
    let known = match database.name.as_str() {
        "postgresql" => ["postgres", "PGSQL", ":5432"],
        _ => ["mysql", "mariadb", ":3306"],
    };
    known.iter().any(|word| upstream.contains(word)).then_some(database.name.as_str())
}

fn what_it_does() -> Text {
    Text::fixed(
        "see what it works on and who holds the lock, the oldest first: mysql -e \"select id, user, command, time, state, left(info,60) from information_schema.processlist order by time desc limit 30\" (PostgreSQL: pg_stat_activity, pg_blocking_pids)",
        "実行中の処理とロックの保持者を、古い順に確認してください: mysql -e \"select id, user, command, time, state, left(info,60) from information_schema.processlist order by time desc limit 30\"(PostgreSQL では pg_stat_activity と pg_blocking_pids)",
    )
}

fn summary(picture: &Picture<'_>) -> Text {
    let (en, ja) = tell::exhaustion(picture);
    Text::new(
        format!("{en}\nThey wait for the backend: requests come as usual, and everybody's are slow."),
        format!(
            "{ja}\nバックエンドの応答待ちです。リクエスト数は平常どおりで、全員が一様に遅くなっています。"
        ),
    )
}
