//! toban's own fixed words, each in both languages side by side, and the names that vitals and steps go by.

use toban_model::{
    Action, ActionState, Actor, Lang, Prefix, ServiceKind, Supervisor, Text, Verdict, VitalState,
};

use crate::format::{count, duration};

macro_rules! words {
    ($($name:ident: $en:literal, $ja:literal;)*) => {
        $(pub(crate) static $name: Text = Text::fixed($en, $ja);)*
        /// Every one of them, for the tests.
        #[cfg(test)]
        pub(crate) static ALL: &[(&str, &Text)] = &[$((stringify!($name), &$name)),*];
    };
}
pub(crate) use words;

words! {
    OK: "OK", "正常";
    WATCH: "WATCH", "要注意";
    INCIDENT: "INCIDENT", "障害発生中";
    EVIDENCE: "Evidence", "根拠";
    DID: "What it did", "影響";
    AS_USUAL: "As usual, so not the cause", "平常どおり（原因ではありません）";
    OUT_OF_USUAL: "Out of the usual", "平常時と異なるもの";
    RULED_OUT: "Ruled out", "除外した原因";
    DO_NOW: "Do now", "今すぐ";
    THEN: "Then", "次に";
    FOR_GOOD: "For good", "恒久対策";
    YOURSELF: "By hand", "手作業で";
    CERTAIN: "certain", "ほぼ確実";
    LIKELY: "likely", "可能性が高い";
    NOT_CLEAR: "not clear", "断定できません";
    NOTHING: "Nothing out of the usual.", "平常時と異なる点はありません。";
    NO_CAUSE: "Something is out of the usual, and no cause that toban knows explains it.",
        "平常時と異なる状態ですが、toban が知っている原因では説明できません。";
    WATCH_ONLY: "Out of the usual, but nothing is exhausted.", "平常時と異なりますが、枯渇しているリソースはありません。";
    ALSO: "Also found", "ほかに見つかったもの";
    CHECKED: "Checked", "確認したもの";
    NO_USUAL: "nothing yet: too little history to know what is usual here",
        "なし（このホストの平常時を知るための履歴がまだ足りません）";
    NOTE: "Note", "注";
    VITAL: "vital", "項目";
    NOW: "now", "現在";
    USUAL: "usual", "平常時";
    STATE: "state", "状態";
    HIGH: "high", "高い";
    LOW: "low", "低い";
    AS_IS: "usual", "平常";
    UNKNOWN: "no history", "履歴なし";
    FOUND: "What toban found on this host", "このホストで見つかったもの";
    LISTENS: "listens on", "待ち受け";
    WORKERS: "workers", "ワーカー";
    LOGS: "logs", "ログ";
    BACKENDS: "hands on to", "転送先";
    PROXIES: "trusts the proxies", "信頼するプロキシ";
    RESTARTED_BY: "restarted by", "再起動の方法";
    CONFIG: "configuration", "設定ファイル";
    KERNEL: "kernel log", "カーネルログ";
    ADDRESSES: "own addresses", "自身のアドレス";
    MACHINE: "machine", "マシン";
    WATCHING: "agent, watching", "エージェント(監視)";
    ACTING: "agent, acting", "エージェント(対処)";
    NO_CAPABILITY: "no capability", "ケーパビリティなし";
    NO_NEW_PRIVILEGES: "can gain no new right", "新しい権限を得られません";
    CALLS_FILTERED: "system calls filtered", "システムコール制限あり";
    BLIND: "Could not look at", "確認できなかったもの";
    NO_SERVICE: "no service that listens was found", "待ち受けているサービスは見つかりませんでした";
    NO_HISTORY: "No log that tells of requests was read.", "リクエストを記録したログは読んでいません。";
    NO_LIMIT: "no limit found", "上限は不明";
    NO_FORMAT: "format read from its lines", "形式は行の内容から判別";
    NONE: "none", "なし";
    ID: "id", "番号";
    WHEN: "when", "日時";
    BY: "by", "実行者";
    WHAT: "what", "内容";
    PREDICTED: "predicted", "予測";
    NOT_MEASURED: "not measured", "実測なし";
    NO_ACTIONS: "toban has changed nothing here.", "toban はこのホストに何も変更していません。";
    NO_BANS: "Nobody is banned.", "遮断中のアドレスはありません。";
    NOBODY_BLAMED: "These logs speak against nobody.", "これらのログから責められるべき相手は見つかりません。";
    WHO: "who", "相手";
    COUNT: "count", "回数";
    FIRST: "first", "最初";
    LAST: "last", "最後";
    SERVICE_HEADING: "service", "サービス";
    REQUESTS: "requests", "リクエスト";
    ADDRESS: "address", "アドレス";
    PATH: "path", "パス";
    USER_AGENT: "user agent", "ユーザーエージェント";
    COMBINATION: "client  method  path  agent", "クライアント  メソッド  パス  ユーザーエージェント";
    NO_INCIDENTS: "No incident is recorded.", "記録された障害はありません。";
    PREFIX: "prefix", "アドレス範囲";
    PORTS: "ports", "ポート";
    LEFT: "ends in", "残り時間";
    REASON: "why", "理由";
    ACTION: "action", "対処";
    CAUSE: "cause", "原因";
    LASTED: "lasted", "継続時間";
    STILL_OPEN: "open", "継続中";
    ENDED: "ended", "終了";
    SUMMARY: "what happened", "概要";
    ALL_PORTS: "all ports", "全ポート";
    AGENT: "agent", "エージェント";
    PERSON: "person", "人";
    INTENDED: "intended", "着手";
    DONE: "done", "実行済み";
    FAILED: "failed", "失敗";
    REFUSED: "refused", "安全規則により拒否";
    WORKED: "worked", "効果あり";
    NO_EFFECT: "no effect, taken back", "効果なし・取消済み";
    HARMED: "harmed, taken back", "悪影響あり・取消済み";
    UNDONE: "undone", "取消済み";
    EXPIRED: "expired", "期限切れ";
    PLAN: "Plan", "手順";
    HARMS_UNKNOWN: "no usual traffic known to compare with", "比較できる平常時の通信がありません";
    UNIT: "systemd unit", "systemd ユニット";
    SCRIPT: "init script", "init スクリプト";
    BY_HAND: "its own command line", "起動時のコマンドライン";
}

/// The verdict as the headline says it.
pub(crate) fn verdict(verdict: Verdict) -> &'static Text {
    match verdict {
        Verdict::Ok => &OK,
        Verdict::Watch => &WATCH,
        Verdict::Incident => &INCIDENT,
    }
}

/// A confidence as people say it. The number is a score, not a measured probability: the word is what it is good for.
pub(crate) fn level(confidence: f64) -> (&'static Text, &'static str) {
    if confidence >= 0.9 {
        (&CERTAIN, "certain")
    } else if confidence >= 0.6 {
        (&LIKELY, "likely")
    } else {
        (&NOT_CLEAR, "not-clear")
    }
}

pub(crate) fn vital_state(state: VitalState) -> &'static Text {
    match state {
        VitalState::Usual => &AS_IS,
        VitalState::High => &HIGH,
        VitalState::Low => &LOW,
        VitalState::Unknown => &UNKNOWN,
    }
}

pub(crate) fn action_state(state: ActionState) -> &'static Text {
    match state {
        ActionState::Intended => &INTENDED,
        ActionState::Done => &DONE,
        ActionState::Failed => &FAILED,
        ActionState::Refused => &REFUSED,
        ActionState::Worked => &WORKED,
        ActionState::NoEffect => &NO_EFFECT,
        ActionState::Harmed => &HARMED,
        ActionState::Undone => &UNDONE,
        ActionState::Expired => &EXPIRED,
    }
}

pub(crate) fn actor(actor: Actor) -> &'static Text {
    match actor {
        Actor::Agent => &AGENT,
        Actor::Person => &PERSON,
    }
}

pub(crate) fn service_kind(kind: ServiceKind) -> &'static str {
    match kind {
        ServiceKind::Apache => "Apache httpd",
        ServiceKind::Nginx => "nginx",
        ServiceKind::PhpFpm => "php-fpm",
        ServiceKind::Sshd => "SSH",
        ServiceKind::Other => "-",
    }
}

pub(crate) fn supervisor(supervisor: &Supervisor, lang: Lang) -> String {
    match supervisor {
        Supervisor::Systemd(unit) => format!("{} {unit}", UNIT.lang(lang)),
        Supervisor::Initd(path) => format!("{} {}", SCRIPT.lang(lang), path.display()),
        Supervisor::CommandLine => BY_HAND.lang(lang).to_owned(),
    }
}

/// What reading a vital means, by the part of its name before the colon. Names that are not here are shown as they
/// are; the order is that of the "as usual" line, what people ask for first.
static VITALS: &[(&str, Text)] = &[
    ("cpu.busy", Text::fixed("CPU", "CPU")),
    ("load.1", Text::fixed("load", "ロードアベレージ")),
    ("memory.used", Text::fixed("memory", "メモリ")),
    ("disk.used", Text::fixed("disk", "ディスク")),
    ("disk.inodes", Text::fixed("inodes", "inode")),
    ("network.received", Text::fixed("network in", "受信")),
    ("network.sent", Text::fixed("network out", "送信")),
    ("http.requests", Text::fixed("requests", "リクエスト")),
    ("http.pages", Text::fixed("pages", "ページ表示")),
    ("cpu.iowait", Text::fixed("waiting for disks", "I/O 待ち")),
    ("cpu.steal", Text::fixed("stolen CPU", "CPU steal")),
    ("disk.busy", Text::fixed("disk busy", "ディスク使用率")),
    ("swap.used", Text::fixed("swap", "スワップ")),
    ("files.used", Text::fixed("open files", "オープンファイル")),
    ("conntrack.used", Text::fixed("conntrack", "conntrack")),
    ("tcp.established", Text::fixed("TCP connections", "TCP 接続")),
    ("tcp.retransmits", Text::fixed("TCP retransmits", "TCP 再送")),
    ("processes.count", Text::fixed("processes", "プロセス")),
    ("processes.blocked", Text::fixed("blocked processes", "I/O 待ちプロセス")),
];

/// Where a vital stands in [`VITALS`]; those that are not in it come last.
pub(crate) fn vital_rank(name: &str) -> usize {
    let stem = name.split(':').next().unwrap_or(name);
    VITALS.iter().position(|(known, _)| *known == stem).unwrap_or(VITALS.len())
}

/// What people call a vital: `CPU`, `disk /var`; `ディスク /var`.
pub fn vital_label(name: &str, lang: Lang) -> String {
    let (stem, of) = name.split_once(':').map_or((name, None), |(stem, of)| (stem, Some(of)));
    let label = match VITALS.iter().find(|(known, _)| *known == stem) {
        Some((_, text)) => text.lang(lang),
        None => return name.to_owned(),
    };
    // `disk /` says no more than `disk`.
    match of.filter(|of| *of != "/") {
        Some(of) => format!("{label} {of}"),
        None => label.to_owned(),
    }
}

/// Ports as they are typed: `80,443`, or `all ports`.
pub fn ports(ports: &[u16], lang: Lang) -> String {
    if ports.is_empty() {
        return ALL_PORTS.lang(lang).to_owned();
    }
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",")
}

/// Prefixes for one line: the first few, and how many more.
pub(crate) fn prefixes(prefixes: &[Prefix], lang: Lang) -> String {
    const SHOWN: usize = 4;
    let mut text = prefixes.iter().take(SHOWN).map(Prefix::to_string).collect::<Vec<_>>().join(", ");
    if let Some(more) = prefixes.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&match lang {
            Lang::En => format!(" and {} more", count(more as u64)),
            Lang::Ja => format!(" ほか {} 件", count(more as u64)),
        });
    }
    text
}

/// One step of a plan in words.
pub fn step(action: &Action, lang: Lang) -> String {
    let on = |list: &[u16]| ports(list, lang);
    match (action, lang) {
        (Action::Ban { prefixes: who, ports, for_s }, Lang::En) => {
            format!("drop {} on {} for {}", prefixes(who, lang), on(ports), duration(*for_s as f64, lang))
        }
        (Action::Ban { prefixes: who, ports, for_s }, Lang::Ja) => format!(
            "{} からの通信を遮断（ポート {}、{}）",
            prefixes(who, lang),
            on(ports),
            duration(*for_s as f64, lang)
        ),
        (Action::EndSockets { prefixes: who, ports }, Lang::En) => {
            format!("end the connections of {} on {}", prefixes(who, lang), on(ports))
        }
        (Action::EndSockets { prefixes: who, ports }, Lang::Ja) => {
            format!("{} の接続を切断（ポート {}）", prefixes(who, lang), on(ports))
        }
        (Action::Restart(restart), Lang::En) => format!("stop and start {}", restart.service),
        (Action::Restart(restart), Lang::Ja) => format!("{} を停止して起動", restart.service),
        (Action::StopProcess { process }, Lang::En) => format!("stop process {}", process.pid),
        (Action::StopProcess { process }, Lang::Ja) => format!("プロセス {} を停止", process.pid),
        (Action::AcceptOnlyFrom { ports, from, confirm_within_s }, Lang::En) => format!(
            "accept {} only from {}; reverted unless confirmed within {}",
            on(ports),
            prefixes(from, lang),
            duration(*confirm_within_s as f64, lang)
        ),
        (Action::AcceptOnlyFrom { ports, from, confirm_within_s }, Lang::Ja) => format!(
            "ポート {} を {} からのみ受け付け（{}以内に確認がなければ元に戻します）",
            on(ports),
            prefixes(from, lang),
            duration(*confirm_within_s as f64, lang)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_exists_in_both_languages() {
        let same = ["conntrack", "CPU"];
        let top = crate::top::words::ALL;
        for (name, text) in
            ALL.iter().chain(top).copied().chain(VITALS.iter().map(|(name, text)| (*name, text)))
        {
            assert!(!text.en.trim().is_empty() && !text.ja.trim().is_empty(), "{name}");
            assert!(text.en.is_ascii(), "{name}: {}", text.en);
            if !same.contains(&text.en.as_ref()) {
                assert_ne!(text.en, text.ja, "{name}");
            }
        }
    }

    #[test]
    fn steps_in_both_languages() {
        let who: Vec<Prefix> = (0..6).map(|n| format!("198.51.{n}.0/24").parse().unwrap()).collect();
        for action in [
            Action::Ban { prefixes: who.clone(), ports: vec![80, 443], for_s: 3600 },
            Action::EndSockets { prefixes: who[..1].to_vec(), ports: vec![] },
            Action::AcceptOnlyFrom { ports: vec![80], from: who[..2].to_vec(), confirm_within_s: 60 },
        ] {
            let (en, ja) = (step(&action, Lang::En), step(&action, Lang::Ja));
            assert!(en.is_ascii(), "{en}");
            assert_ne!(en, ja);
            assert!(ja.contains("198.51.0.0/24"));
        }
        assert_eq!(
            step(&Action::Ban { prefixes: who, ports: vec![], for_s: 90 }, Lang::En),
            "drop 198.51.0.0/24, 198.51.1.0/24, 198.51.2.0/24, 198.51.3.0/24 and 2 more on all ports for 1 m 30 s"
        );
    }
}
