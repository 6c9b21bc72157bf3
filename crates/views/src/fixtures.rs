//! Hand-made values for the snapshots: story S4 as toban would find it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use toban_model::*;

pub(crate) const AT: i64 = 1_608_804_160;

pub(crate) fn tokyo() -> TimeZone {
    // A fixed rule: the snapshot does not depend on the machine's zone database.
    TimeZone::posix("JST-9").unwrap()
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

fn vital(name: &str, value: f64, unit: &str, usual: Option<(f64, f64)>, state: VitalState) -> Vital {
    let usual = usual.map(|(low, high)| Usual { low, high, seconds: 86_400 });
    Vital { name: name.into(), value, unit: unit.into(), usual, state, since: None }
}

fn evidence(what: &str, label: Text, text: Text, value: f64, usual: Option<f64>, source: &str) -> Evidence {
    Evidence { what: what.into(), label, text, value, usual, source: source.into() }
}

pub(crate) fn plan() -> Plan {
    Plan {
        cause: "open-proxy-abuse".into(),
        reason: Text::new(
            "271 of 300 workers of apache are held by CONNECT requests from 136.175.9.0/24",
            "apache の 300 個中 271 個のワーカーが 136.175.9.0/24 からの CONNECT リクエストに占有されているため",
        ),
        steps: vec![
            Action::Ban { prefixes: vec![prefix("136.175.9.0/24")], ports: vec![80, 443], for_s: 3600 },
            Action::EndSockets { prefixes: vec![prefix("136.175.9.0/24")], ports: vec![80, 443] },
            Action::Restart(Restart {
                service: "php-fpm".into(),
                master: ProcessId { pid: 812, start_ticks: 4211 },
                supervisor: Supervisor::Systemd("php8.2-fpm.service".into()),
            }),
        ],
        predicted: BTreeMap::from([("apache.workers".to_owned(), 29.0)]),
        collateral: Collateral { usual_clients_hit: 0, of: 48_211 },
    }
}

pub(crate) fn finding() -> Finding {
    Finding {
        cause: "open-proxy-abuse".into(),
        verdict: toban_model::Verdict::Incident,
        confidence: 0.974,
        since: Time::from_secs(AT - 10_363),
        summary: Text::new(
            "Apache has no free worker: 300 of 300 busy, 10–50 is usual. 271 of them are held by CONNECT requests \
             from 136.175.9.0/24, sent straight to this host, past the load balancer.",
            "Apache に空きワーカーがありません。300 個すべてが使用中です（平常時は 10〜50 個）。\
             うち 271 個は、ロードバランサーを経由せず 136.175.9.0/24 から直接送られた CONNECT リクエストが占有しています。",
        ),
        resource: Some(ResourceUse {
            name: "apache.workers".into(),
            used: 300.0,
            limit: Some(300.0),
            usual: Some([10.0, 50.0]),
            exhausted_since: Some(Time::from_secs(AT - 10_360)),
            limit_from: Some("MaxRequestWorkers in /etc/apache2/mods-enabled/mpm_prefork.conf".into()),
        }),
        culprits: vec![
            Culprit {
                kind: CulpritKind::Prefix,
                value: "136.175.9.0/24".into(),
                share: 0.9033,
                r#where: BTreeMap::from([
                    ("method".to_owned(), "CONNECT".to_owned()),
                    ("via_balancer".to_owned(), "no".to_owned()),
                ]),
                process: None,
            },
            Culprit {
                kind: CulpritKind::Process,
                value: "whois".into(),
                share: 0.01,
                r#where: BTreeMap::new(),
                process: Some(NamedProcess {
                    id: ProcessId { pid: 1066, start_ticks: 360_000 },
                    started: Time::from_secs(AT - 86_400 + 3600),
                    comm: "whois".into(),
                    command: "whois 203.0.113.7".into(),
                    parents: vec![Ancestor {
                        pid: 1060,
                        comm: "logwatch.sh".into(),
                        command: "/bin/bash /usr/local/bin/logwatch.sh".into(),
                    }],
                }),
            },
        ],
        evidence: vec![
            evidence(
                "workers-held",
                Text::fixed("workers held, by network", "占有中のワーカー（ネットワーク別）"),
                Text::fixed(
                    "136.175.9.0/24 271 · 216.144.247.0/24 14 · all others 15",
                    "136.175.9.0/24 271 · 216.144.247.0/24 14 · その他 15",
                ),
                271.0,
                Some(0.0),
                "sock_diag",
            ),
            evidence(
                "held-time",
                Text::fixed("how long they hold one", "1 件あたりの占有時間"),
                Text::fixed("median 243 s; everyone else 0.04 s", "中央値 243 秒（それ以外は 0.04 秒）"),
                243.0,
                Some(0.04),
                "access_log",
            ),
        ],
        effects: vec![evidence(
            "page-views",
            Text::fixed("pages served", "正常に返したページ"),
            Text::fixed("0.4 a second, 12.1 is usual", "毎秒 0.4 件（平常時 12.1 件）"),
            0.4,
            Some(12.1),
            "access_log",
        )],
        ruled_out: vec![RuledOut {
            cause: "flash-crowd".into(),
            because: Text::fixed(
                "29 clients a minute, 59 is usual: a crowd would be many more",
                "クライアントは毎分 29 件で平常時（59 件）より少なく、アクセス集中ではありません",
            ),
        }],
        remedies: vec![
            Remedy {
                id: 1,
                plan: plan(),
                text: Text::fixed(
                    "drop 136.175.9.0/24 on 80,443 for 1 h, end its connections, stop and start php-fpm",
                    "136.175.9.0/24 を 80,443 番で 1 時間遮断し、接続を切断して php-fpm を再起動します",
                ),
                risk: Risk::Low,
                reversible: true,
            },
            Remedy {
                id: 2,
                plan: Plan {
                    steps: vec![Action::AcceptOnlyFrom {
                        ports: vec![80, 443],
                        from: vec![prefix("10.0.0.0/16")],
                        confirm_within_s: 60,
                    }],
                    collateral: Collateral { usual_clients_hit: 3, of: 48_211 },
                    ..Plan::default()
                },
                text: Text::fixed(
                    "accept 80,443 only from the balancer (10.0.0.0/16)",
                    "80,443 番はロードバランサー (10.0.0.0/16) からのみ受け付けます",
                ),
                risk: Risk::Medium,
                reversible: true,
            },
        ],
        advice: Vec::new(),
    }
}

pub(crate) fn situation() -> Situation {
    Situation {
        at: Time::from_secs(AT),
        from: Time::from_secs(AT - 300),
        host: host(),
        vitals: vec![
            Vital {
                since: Some(Time::from_secs(AT - 260)),
                ..vital("apache.workers.busy", 300.0, "", Some((10.0, 50.0)), VitalState::High)
            },
            vital("cpu.busy", 4.2, "%", Some((2.0, 30.0)), VitalState::Usual),
            vital("disk.used:/", 42.3, "%", Some((41.0, 43.0)), VitalState::Usual),
            vital("disk.used:/var", 61.0, "%", Some((55.0, 70.0)), VitalState::Usual),
            vital("load.1", 0.3, "", Some((0.1, 0.6)), VitalState::Usual),
            vital("network.received", 1_234_567.0, "B/s", None, VitalState::Unknown),
            vital("apache.pages", 0.4, "/s", Some((8.0, 16.0)), VitalState::Low),
        ],
        symptoms: vec![Symptom {
            kind: SymptomKind::Fall,
            what: "apache.pages".into(),
            text: Text::fixed(
                "pages fell to 0.4 a second, 8–16 is usual",
                "ページ表示が毎秒 0.4 件に減りました（平常時 8〜16 件）",
            ),
            value: 0.4,
            usual: Some(12.1),
            since: Time::from_secs(AT - 400),
        }],
        usual_seconds: 86_400.0 * 3.0,
        ..Situation::default()
    }
}

pub(crate) fn host() -> Host {
    Host {
        name: "web1".into(),
        cores: 4,
        memory_bytes: 8_000_000_000,
        boot: Time::from_secs(AT - 86_400),
        own: vec!["10.0.3.7".parse().unwrap()],
        kernel_logs: vec![PathBuf::from("/dev/kmsg")],
        services: vec![Service {
            id: "apache".into(),
            kind: ServiceKind::Apache,
            master: ProcessId { pid: 640, start_ticks: 4000 },
            pids: vec![640, 641, 642],
            exe: PathBuf::from("/usr/sbin/apache2"),
            listens: vec!["[::]:80".parse().unwrap(), "[::]:443".parse().unwrap()],
            listens_unix: vec![],
            worker_limit: Some(300),
            worker_limit_from: Some("MaxRequestWorkers in /etc/apache2/mods-enabled/mpm_prefork.conf".into()),
            trusted_proxies: vec![prefix("10.0.0.0/16")],
            backends: vec!["/run/php/php8.2-fpm.sock".into()],
            logs: vec![
                LogSource {
                    path: PathBuf::from("/var/log/apache2/access.log"),
                    role: LogRole::Access,
                    dialect: LogDialect::Apache,
                    format: Some("%h %l %u %t \"%r\" %>s %b %D".into()),
                    remoteip: false,
                },
                LogSource {
                    path: PathBuf::from("/var/log/apache2/error.log"),
                    role: LogRole::Error,
                    dialect: LogDialect::Apache,
                    format: None,
                    remoteip: false,
                },
            ],
            config: vec![PathBuf::from("/etc/apache2/apache2.conf")],
            supervisor: Supervisor::Systemd("apache2.service".into()),
            one_connection_per_process: true,
        }],
        blind: vec!["/proc/640/fd: permission denied".into()],
        ..Host::default()
    }
}

pub(crate) fn actions() -> Vec<ActionRecord> {
    let action = |id, state, measured: &[(&str, f64)], notes: &[&str]| ActionRecord {
        id: ActionId(id),
        at: Time::from_secs(AT + id),
        incident: Some(IncidentId(3)),
        by: Actor::Agent,
        plan: plan(),
        state,
        measured: measured.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        notes: notes.iter().map(|note| (*note).to_owned()).collect(),
        changed: Time::from_secs(AT + id + 4),
    };
    vec![
        action(2, ActionState::Worked, &[("apache.workers", 31.0)], &["ban: 1 prefix in the kernel"]),
        action(1, ActionState::Refused, &[], &["203.0.113.9 is the address of a live login"]),
    ]
}

pub(crate) fn bans() -> Vec<Ban> {
    vec![
        Ban {
            prefix: prefix("136.175.9.0/24"),
            ports: vec![80, 443],
            since: Time::from_secs(AT),
            until: Time::from_secs(AT + 3600),
            action: ActionId(2),
            reason: "open-proxy-abuse: held 271 of 300 workers".into(),
        },
        Ban {
            prefix: prefix("2001:db8:7::/48"),
            ports: vec![],
            since: Time::from_secs(AT - 60),
            until: Time::from_secs(AT + 90),
            action: ActionId(1),
            reason: "by hand".into(),
        },
    ]
}

pub(crate) fn incidents() -> Vec<Incident> {
    let incident = |id, ended| Incident {
        id: IncidentId(id),
        since: Time::from_secs(AT - 10_363),
        opened: Time::from_secs(AT - 10_350),
        ended,
        cause: "open-proxy-abuse".into(),
        findings: vec![finding()],
    };
    vec![incident(3, None), incident(2, Some(Time::from_secs(AT - 9000)))]
}
