//! `slow-backend`: what the workers hand requests on to answers slowly, so that every request holds a worker long.
//!
//! Needs: workers used up, waiting for the backend; requests arrive as usual; nobody stands out.

use toban_model::{Culprit, CulpritKind, Text, Waiting, Where};

use super::{Candidate, Cause, Judged, Needs};
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

fn judge(picture: &Picture<'_>) -> Judged {
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
    let slower = held / traffic.held_s_usual_median.max(0.001);
    if waiting.is_none() && slower < SLOWER_MIN {
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

fn summary(picture: &Picture<'_>) -> Text {
    let (en, ja) = tell::exhaustion(picture);
    Text::new(
        format!("{en}\nThey wait for the backend: requests come as usual, and everybody's are slow."),
        format!(
            "{ja}\nバックエンドの応答待ちです。リクエスト数は平常どおりで、全員が一様に遅くなっています。"
        ),
    )
}
