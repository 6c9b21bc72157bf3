//! The safety rules: each plan passes all of them, whoever asked, right before anything is done.
//!
//! A rule refuses the plan as a whole. A plan of which one prefix is this host's own balancer rests on a wrong
//! diagnosis, and its other prefixes are no better founded. What can be made safe without changing what the plan
//! says (one form of an address, doubles, limits of time) is made safe instead of refused.
//!
//! A person may override some of them ([`check_forced`], a second function, so that no caller gets it by accident): those
//! that guard against a wrong guess of toban's, not those without which a plan makes no sense.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use toban_model::{Action, Actor, Plan, Prefix, Protected, Restart, Supervisor, Text, canonical};

use crate::nft::{GATE_FROM_MAX, PORTS_MAX};

/// Wider prefixes need a person: a /16 is a provider's customers of one city, and no attack seen so far needed more.
pub const WIDEST_V4: u8 = 16;
/// The smallest block that a registry gives to a provider.
pub const WIDEST_V6: u8 = 32;
/// The agent bans wider prefixes than this only on named ports without [`ADMIN_PORTS`]: an admin who is not logged
/// in just now is unknown, and may sit in the attacker's network (a mobile carrier's, say). A /24 is the smallest
/// block that is routed by itself, and what an attacker can be expected to hold all of.
pub const NARROW_V4: u8 = 24;
/// The same for v6: what one site gets.
pub const NARROW_V6: u8 = 48;
/// Where admins come in.
pub const ADMIN_PORTS: &[u16] = &[22];
/// A ban that is shorter would be over before its effect can be measured.
pub const BAN_S_MIN: u64 = 60;
/// Addresses change hands; what is still hostile after a month is banned again.
pub const BAN_S_MAX: u64 = 30 * 24 * 3600;
/// Prefixes in one step: a longer list is not a diagnosis. (Bans add up over many plans.)
pub const PREFIXES_MAX: usize = 16_384;
/// A prefix that carried more than this share of usual requests carries usual clients.
pub const USUAL_SHARE_MAX: f64 = 0.001;
/// Below so many usual requests in all, a thousandth of them is less than one request and says nothing.
pub const USUAL_TOTAL_MIN: u64 = 1_000;
/// A single usual peer with at least this share is somebody important (a proxy, an office, a monitor), however
/// little is known.
pub const HEAVY_PEER_SHARE: f64 = 0.05;
/// … and with at least so many requests, so that the second of two requests ever seen is not "heavy".
pub const HEAVY_PEER_MIN: u32 = 20;
/// A gate that nobody confirms opens again. Shorter, and nobody has the time to look; longer is a long lockout.
pub const CONFIRM_S_MIN: u64 = 10;
/// Ten minutes of lockout are too many already.
pub const CONFIRM_S_MAX: u64 = 600;
/// Steps of one plan.
pub const STEPS_MAX: usize = 16;

/// Why a plan is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The rule's id.
    pub rule: &'static str,
    /// Which step of the plan, from 0.
    pub step: usize,
    /// What it would hit: a prefix, a service.
    pub target: String,
    /// In words.
    pub text: Text,
}

/// A rule: it says why a step must not be, or nothing.
pub struct Rule {
    /// Its id, kebab-case.
    pub id: &'static str,
    /// What it protects and why, for the manual.
    pub text: Text,
    /// A person who knows better may ban all the same.
    pub forcible: bool,
    look: fn(&Case<'_>, &mut dyn FnMut(String, Text)),
}

/// What a rule looks at.
struct Case<'a> {
    step: &'a Action,
    protected: &'a Protected,
    by: Actor,
}

impl Case<'_> {
    /// The prefixes that this step cuts off.
    fn cut_off(&self) -> &[Prefix] {
        match self.step {
            Action::Ban { prefixes, .. } | Action::EndSockets { prefixes, .. } => prefixes,
            Action::Restart(_) | Action::StopProcess { .. } | Action::AcceptOnlyFrom { .. } => &[],
        }
    }
}

/// Every rule, in the order in which they are asked.
pub static RULES: &[Rule] = &[
    Rule {
        id: "plan-form",
        text: Text::fixed(
            "A plan has a few steps, each with at least one target, at most 16 ports and a bounded list of prefixes.",
            "計画の手順は少数で、各手順に対象が1つ以上あり、ポートは16個まで、プレフィックスの数にも上限があります。",
        ),
        forcible: false,
        look: plan_form,
    },
    Rule {
        id: "special-range",
        text: Text::fixed(
            "Loopback, link-local, unspecified, multicast and broadcast ranges are never banned, nor v4 addresses by way of v6.",
            "ループバック、リンクローカル、未指定、マルチキャスト、ブロードキャストの範囲は遮断しません。IPv6表記によるIPv4アドレス全体の遮断もしません。",
        ),
        forcible: false,
        look: special_range,
    },
    Rule {
        id: "too-wide",
        text: Text::fixed(
            "A prefix wider than /16 (v4) or /32 (v6) is never banned by toban.",
            "/16(IPv4)または/32(IPv6)より広いプレフィックスは遮断しません。",
        ),
        forcible: true,
        look: too_wide,
    },
    Rule {
        id: "own-address",
        text: Text::fixed(
            "This host's own addresses are never banned.",
            "このホスト自身のアドレスは遮断しません。",
        ),
        forcible: false,
        look: |case, refuse| {
            addresses(
                case,
                &case.protected.own,
                refuse,
                "an address of this host",
                "このホスト自身のアドレス",
            );
        },
    },
    Rule {
        id: "gateway",
        text: Text::fixed("Gateways are never banned.", "ゲートウェイは遮断しません。"),
        forcible: true,
        look: |case, refuse| addresses(case, &case.protected.gateways, refuse, "a gateway", "ゲートウェイ"),
    },
    Rule {
        id: "resolver",
        text: Text::fixed(
            "Name servers that this host asks are never banned.",
            "このホストが使うネームサーバーは遮断しません。",
        ),
        forcible: true,
        look: |case, refuse| {
            addresses(
                case,
                &case.protected.resolvers,
                refuse,
                "a name server of this host",
                "このホストが使うネームサーバー",
            );
        },
    },
    Rule {
        id: "balancer",
        text: Text::fixed(
            "Proxies in front of this host are never banned: everybody comes through them.",
            "このホストの手前にあるプロキシは遮断しません。すべての利用者がそこを通ります。",
        ),
        forcible: true,
        look: |case, refuse| {
            addresses(
                case,
                &case.protected.balancers,
                refuse,
                "a load balancer or proxy in front of this host",
                "手前のロードバランサーまたはプロキシ",
            );
        },
    },
    Rule {
        id: "login",
        text: Text::fixed(
            "Where somebody is logged in from is never banned.",
            "現在ログイン中の接続元は遮断しません。",
        ),
        forcible: true,
        look: |case, refuse| {
            addresses(
                case,
                &case.protected.logins,
                refuse,
                "the source of a live login",
                "現在ログイン中の接続元",
            );
        },
    },
    Rule {
        id: "allowlist",
        text: Text::fixed("What the user allows is never banned.", "許可リストにあるものは遮断しません。"),
        forcible: true,
        look: allowlist,
    },
    Rule {
        id: "usual-traffic",
        text: Text::fixed(
            "A prefix that carried more than 0.1 % of the usual requests, or a heavy usual peer, is never banned; a gate never shuts such out.",
            "通常時のリクエストの0.1 %以上を占めたプレフィックスや、通常時の主要な接続元は遮断しません。接続元の限定でも締め出しません。",
        ),
        forcible: true,
        look: usual_traffic,
    },
    Rule {
        id: "admin-port",
        text: Text::fixed(
            "The agent keeps networks wider than /24 (v4) or /48 (v6) off named ports only, and never off port 22; it never gates port 22.",
            "エージェントは、/24(IPv4)または/48(IPv6)より広い範囲については、ポートを指定した場合だけ遮断し、22番ポートは遮断しません。22番ポートの接続元も限定しません。",
        ),
        forcible: false,
        look: admin_port,
    },
    Rule {
        id: "process",
        text: Text::fixed(
            "Process 1, the kernel's own, toban and those it was started by, SSH servers are never stopped; a service's first process never alone; and a process only under its start time.",
            "プロセス1、カーネルのプロセス、toban自身とその起動元、SSHサーバーは停止しません。サービスの最初のプロセスは単独では停止しません。プロセスの停止は、起動時刻が一致する場合に限ります。",
        ),
        forcible: false,
        look: process,
    },
];

/// Makes a plan safe, or says everything that speaks against it.
///
/// The plan that comes back is the one to carry out: prefixes in their one form (v4-mapped v6 is v4, host bits cut),
/// those inside another one left out, ports sorted, times within their limits, and the host's own, its logins',
/// balancers' and allowlist's addresses among those that a gate lets in.
pub fn check(plan: &Plan, protected: &Protected, by: Actor) -> Result<Plan, Vec<Refusal>> {
    let (safe, refusals) = judge(plan, protected, by);
    if refusals.is_empty() { Ok(safe) } else { Err(refusals) }
}

/// As [`check`], for a person who insists: with the plan come the refusals that were overridden. Those of rules that cannot
/// be ([`Rule::forcible`]) stay refusals.
pub fn check_forced(plan: &Plan, protected: &Protected) -> Result<(Plan, Vec<Refusal>), Vec<Refusal>> {
    let (safe, refusals) = judge(plan, protected, Actor::Person);
    let forcible = |refusal: &Refusal| RULES.iter().any(|rule| rule.id == refusal.rule && rule.forcible);
    let (overridden, stands): (Vec<Refusal>, Vec<Refusal>) = refusals.into_iter().partition(forcible);
    if stands.is_empty() { Ok((safe, overridden)) } else { Err(stands) }
}

fn judge(plan: &Plan, protected: &Protected, by: Actor) -> (Plan, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let mut safe = plan.clone();
    if plan.steps.is_empty() || plan.steps.len() > STEPS_MAX {
        refusals.push(Refusal {
            rule: "plan-form",
            step: 0,
            target: String::new(),
            text: Text::new(
                format!("a plan has 1 to {STEPS_MAX} steps, this one has {}", plan.steps.len()),
                format!("計画の手順は1から{STEPS_MAX}個ですが、{}個あります", plan.steps.len()),
            ),
        });
    }
    // A gate is named after its action, and two gates in one plan would be one too many to think through at night.
    if plan.steps.iter().filter(|step| matches!(step, Action::AcceptOnlyFrom { .. })).count() > 1 {
        refusals.push(Refusal {
            rule: "plan-form",
            step: 0,
            target: "accept-only-from".to_owned(),
            text: Text::fixed("a plan has one gate at most", "1つの計画で接続元を限定できるのは1回だけです"),
        });
    }
    for (index, step) in safe.steps.iter_mut().enumerate() {
        make_safe(step, protected);
        let case = Case { step, protected, by };
        for rule in RULES {
            (rule.look)(&case, &mut |target, text| {
                refusals.push(Refusal { rule: rule.id, step: index, target, text });
            });
        }
    }
    (safe, refusals)
}

fn make_safe(step: &mut Action, protected: &Protected) {
    match step {
        Action::Ban { prefixes, ports, for_s } => {
            *prefixes = one_form(prefixes);
            ports.sort_unstable();
            ports.dedup();
            *for_s = (*for_s).clamp(BAN_S_MIN, BAN_S_MAX);
        }
        Action::EndSockets { prefixes, ports } => {
            *prefixes = one_form(prefixes);
            ports.sort_unstable();
            ports.dedup();
        }
        Action::Restart(_) | Action::StopProcess { .. } => {}
        Action::AcceptOnlyFrom { ports, from, confirm_within_s } => {
            ports.sort_unstable();
            ports.dedup();
            // An empty list is a mistake and stays one: the rule refuses it.
            if !from.is_empty() {
                let friends = protected.own.iter().chain(&protected.logins).chain(&protected.balancers);
                from.extend(friends.map(|address| Prefix::from(canonical(*address))));
                from.extend(&protected.allowlist);
            }
            *from = one_form(from);
            *confirm_within_s = (*confirm_within_s).clamp(CONFIRM_S_MIN, CONFIRM_S_MAX);
        }
    }
}

/// `::ffff:a.b.c.d/(96+n)` is `a.b.c.d/n`: a dual-stack listener sees the one, the packet filter the other.
pub(crate) fn canonical_prefix(prefix: &Prefix) -> Prefix {
    if let Prefix::V6(v6) = prefix
        && v6.prefix_len() >= 96
        && let Some(v4) = v6.network().to_ipv4_mapped()
        && let Ok(v4) = Ipv4Net::new(v4, v6.prefix_len() - 96)
    {
        return Prefix::V4(v4.trunc());
    }
    prefix.trunc()
}

/// Canonical, sorted, and without those that lie inside another one. Neighbours are not joined: a prefix in the plan
/// stays one that somebody named.
fn one_form(prefixes: &[Prefix]) -> Vec<Prefix> {
    let mut all: Vec<Prefix> = prefixes.iter().map(canonical_prefix).collect();
    // By family, network, then length, so that one that holds others comes right before them.
    all.sort_unstable_by_key(|prefix| (prefix.network(), prefix.prefix_len()));
    let mut kept: Vec<Prefix> = Vec::with_capacity(all.len());
    for prefix in all {
        if !kept.last().is_some_and(|last| last.contains(&prefix)) {
            kept.push(prefix);
        }
    }
    kept
}

fn overlap(a: &Prefix, b: &Prefix) -> bool {
    a.contains(b) || b.contains(a)
}

fn plan_form(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    let (prefixes, ports, prefix_limit) = match case.step {
        Action::Ban { prefixes, ports, .. } | Action::EndSockets { prefixes, ports } => {
            (prefixes, ports, PREFIXES_MAX)
        }
        Action::AcceptOnlyFrom { ports, from, .. } => (from, ports, GATE_FROM_MAX),
        Action::Restart(_) | Action::StopProcess { .. } => return,
    };
    let id = case.step.id();
    if prefixes.is_empty() {
        refuse(id.to_owned(), Text::fixed("no prefix is named", "プレフィックスが指定されていません"));
    }
    if prefixes.len() > prefix_limit {
        refuse(
            id.to_owned(),
            Text::new(
                format!("{} prefixes are more than {prefix_limit}", prefixes.len()),
                format!("プレフィックスが{}個あり、上限の{prefix_limit}個を超えています", prefixes.len()),
            ),
        );
    }
    if ports.len() > PORTS_MAX {
        refuse(
            id.to_owned(),
            Text::new(
                format!("{} ports are more than {PORTS_MAX}; name none for all of them", ports.len()),
                format!(
                    "ポートが{}個あり、上限の{PORTS_MAX}個を超えています。すべてを対象にする場合は指定を省いてください",
                    ports.len()
                ),
            ),
        );
    }
    if ports.contains(&0) {
        refuse(id.to_owned(), Text::fixed("port 0 does not exist", "ポート0は存在しません"));
    }
    if matches!(case.step, Action::AcceptOnlyFrom { .. }) && ports.is_empty() {
        refuse(
            id.to_owned(),
            Text::fixed("a gate needs named ports", "接続元を限定するにはポートの指定が必要です"),
        );
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, len: u8) -> Prefix {
    Prefix::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len))
}

const fn v6(first: u16, len: u8) -> Prefix {
    Prefix::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), len))
}

/// What is no peer on a network, with its names. From the IANA special-purpose address registries.
const SPECIAL: &[(Prefix, &str, &str)] = &[
    (v4(0, 0, 0, 0, 8), "the unspecified range", "未指定アドレスの範囲"),
    (v4(127, 0, 0, 0, 8), "loopback", "ループバック"),
    (v4(169, 254, 0, 0, 16), "link-local", "リンクローカル"),
    (v4(224, 0, 0, 0, 4), "multicast", "マルチキャスト"),
    (v4(240, 0, 0, 0, 4), "the reserved and broadcast range", "予約済み・ブロードキャストの範囲"),
    (v6(0xfe80, 10), "link-local", "リンクローカル"),
    (v6(0xff00, 8), "multicast", "マルチキャスト"),
    (
        Prefix::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
        "the unspecified address",
        "未指定アドレス",
    ),
    (Prefix::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128)), "loopback", "ループバック"),
    // Whatever lies inside has become v4; what is left contains all of v4.
    (
        Prefix::V6(Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96)),
        "all v4-mapped addresses",
        "IPv4射影アドレス全体",
    ),
];

fn special_range(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    for prefix in case.cut_off() {
        for (special, en, ja) in SPECIAL {
            if overlap(prefix, special) {
                refuse(prefix.to_string(), hits(prefix, special, en, ja));
            }
        }
    }
}

fn hits(prefix: &Prefix, what: &dyn std::fmt::Display, en: &str, ja: &str) -> Text {
    Text::new(
        format!("{prefix} would hit {what}, {en}"),
        format!("{prefix}は{what}({ja})を含むため対象にできません"),
    )
}

fn too_wide(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    for prefix in case.cut_off() {
        let widest = match prefix {
            Prefix::V4(_) => WIDEST_V4,
            Prefix::V6(_) => WIDEST_V6,
        };
        if prefix.prefix_len() < widest {
            refuse(
                prefix.to_string(),
                Text::new(
                    format!("{prefix} is wider than /{widest}, the widest that is banned; split it"),
                    format!("{prefix}は/{widest}より広い範囲です。/{widest}以下に分割してください"),
                ),
            );
        }
    }
}

fn addresses(
    case: &Case<'_>,
    protected: &[IpAddr],
    refuse: &mut dyn FnMut(String, Text),
    en: &'static str,
    ja: &'static str,
) {
    for prefix in case.cut_off() {
        for address in protected.iter().map(|address| canonical(*address)) {
            if prefix.contains(&address) {
                refuse(prefix.to_string(), hits(prefix, &address, en, ja));
            }
        }
    }
}

fn allowlist(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    for prefix in case.cut_off() {
        for allowed in case.protected.allowlist.iter().map(canonical_prefix) {
            // A v6 entry that holds all mapped addresses was meant to hold v4 ones.
            let holds_all_v4 = matches!((prefix, allowed), (Prefix::V4(_), Prefix::V6(v6))
                if v6.contains(&Ipv4Addr::UNSPECIFIED.to_ipv6_mapped()));
            if overlap(prefix, &allowed) || holds_all_v4 {
                refuse(prefix.to_string(), hits(prefix, &allowed, "which is on the allowlist", "許可リスト"));
            }
        }
    }
}

fn usual_traffic(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    let peers = &case.protected.usual_peers;
    let total: u64 = peers.iter().map(|(_, requests)| u64::from(*requests)).sum();
    let mut judge = |target: &str, hit: &dyn Fn(IpAddr) -> bool| {
        let hit: Vec<u32> =
            peers.iter().filter(|(peer, _)| hit(canonical(*peer))).map(|(_, requests)| *requests).collect();
        let requests: u64 = hit.iter().map(|requests| u64::from(*requests)).sum();
        let share = requests as f64 / total.max(1) as f64;
        let heavy = hit.iter().any(|requests| {
            *requests >= HEAVY_PEER_MIN && f64::from(*requests) / total.max(1) as f64 >= HEAVY_PEER_SHARE
        });
        if heavy || (total >= USUAL_TOTAL_MIN && share > USUAL_SHARE_MAX) {
            refuse(
                target.to_owned(),
                Text::new(
                    format!(
                        "{target} would cut off {requests} of {total} usual requests ({:.1} %)",
                        share * 100.0
                    ),
                    format!(
                        "{target}は通常時のリクエスト{total}件のうち{requests}件({:.1} %)を遮断します",
                        share * 100.0
                    ),
                ),
            );
        }
    };
    for prefix in case.cut_off() {
        judge(&prefix.to_string(), &|peer| prefix.contains(&peer));
    }
    if let Action::AcceptOnlyFrom { from, .. } = case.step {
        judge(case.step.id(), &|peer| !from.iter().any(|prefix| prefix.contains(&peer)));
    }
}

fn admin_port(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    if case.by == Actor::Person {
        return;
    }
    let touches_admin =
        |ports: &[u16]| ports.is_empty() || ports.iter().any(|port| ADMIN_PORTS.contains(port));
    match case.step {
        Action::Ban { prefixes, ports, .. } if touches_admin(ports) => {
            for prefix in prefixes {
                let narrow = match prefix {
                    Prefix::V4(_) => NARROW_V4,
                    Prefix::V6(_) => NARROW_V6,
                };
                if prefix.prefix_len() < narrow {
                    refuse(
                        prefix.to_string(),
                        Text::new(
                            format!(
                                "{prefix} is wider than /{narrow} and would lose port 22, too: name the service's ports"
                            ),
                            format!(
                                "{prefix}は/{narrow}より広く、22番ポートも遮断されます。サービスのポートを指定してください"
                            ),
                        ),
                    );
                }
            }
        }
        Action::AcceptOnlyFrom { ports, .. } if touches_admin(ports) => refuse(
            case.step.id().to_owned(),
            Text::fixed(
                "port 22 is never gated by the agent",
                "22番ポートの接続元をエージェントが限定することはありません",
            ),
        ),
        _ => {}
    }
}

fn process(case: &Case<'_>, refuse: &mut dyn FnMut(String, Text)) {
    let (target, process) = match case.step {
        Action::Restart(restart) => (restart.service.clone(), restart.master),
        Action::StopProcess { process } => (process.pid.to_string(), *process),
        _ => return,
    };
    let mut no = |en: &'static str, ja: &'static str| refuse(target.clone(), Text::fixed(en, ja));
    if process.pid <= 2 {
        no(
            "processes 0, 1 and 2 are the kernel's and the system's first",
            "プロセス0、1、2はカーネルとシステムの最初のプロセスです",
        );
    } else if crate::process::own_line().contains(&process.pid) {
        no("that is toban itself, or what it was started by", "toban自身、またはtobanの起動元です");
    }
    if process.start_ticks == 0 {
        no(
            "without its start time a process may be another one",
            "起動時刻がないと、別のプロセスである可能性があります",
        );
    }
    if matches!(case.step, Action::StopProcess { .. }) && case.protected.processes.contains(&process.pid) {
        no(
            "it is a service's first process or an SSH server: it is not stopped alone",
            "サービスの最初のプロセスまたはSSHサーバーです。単独では停止しません",
        );
    }
    let Action::Restart(Restart { service, supervisor, .. }) = case.step else { return };
    if names_sshd(service) {
        no("an SSH server is never stopped: it is the way in", "SSHサーバーは停止しません。管理用の入口です");
    }
    match supervisor {
        Supervisor::Systemd(unit) => {
            if !is_unit_name(unit) {
                no("that is not a unit's name", "ユニット名として正しくありません");
            }
            if names_sshd(unit) {
                no(
                    "an SSH server is never stopped: it is the way in",
                    "SSHサーバーは停止しません。管理用の入口です",
                );
            }
        }
        Supervisor::Initd(path) => {
            if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
                no(
                    "an init script is named by its absolute path",
                    "initスクリプトは絶対パスで指定してください",
                );
            }
            if path.file_name().is_some_and(|name| names_sshd(&name.to_string_lossy())) {
                no(
                    "an SSH server is never stopped: it is the way in",
                    "SSHサーバーは停止しません。管理用の入口です",
                );
            }
        }
        Supervisor::CommandLine => {}
    }
}

/// `ssh`, `sshd`, `ssh.service`, `sshd@3.service`, `dropbear`, `openssh-server`.
pub(crate) fn names_sshd(name: &str) -> bool {
    let stem = name.split(['.', '@']).next().unwrap_or(name);
    matches!(stem, "ssh" | "sshd" | "sshd-session" | "openssh-server" | "openssh" | "dropbear")
}

/// What systemd.unit(5) allows, and nothing that `systemctl` could take for an option or a pattern.
fn is_unit_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(prefixes: &[&str], ports: &[u16]) -> Plan {
        let prefixes = prefixes.iter().map(|prefix| prefix.parse().unwrap()).collect();
        Plan { steps: vec![Action::Ban { prefixes, ports: ports.to_vec(), for_s: 3600 }], ..Plan::default() }
    }

    fn protected() -> Protected {
        Protected {
            own: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            gateways: vec!["192.0.2.254".parse().unwrap()],
            resolvers: vec!["192.0.2.53".parse().unwrap()],
            balancers: vec!["::ffff:203.0.113.5".parse().unwrap()],
            logins: vec!["198.51.100.99".parse().unwrap()],
            allowlist: vec!["203.0.113.128/26".parse().unwrap()],
            usual_peers: vec![],
            processes: vec![800],
        }
    }

    #[track_caller]
    fn expect(plan: &Plan, by: Actor, expected: &[&str]) {
        let found: Vec<&str> = match check(plan, &protected(), by) {
            Ok(_) => vec![],
            Err(refusals) => refusals.iter().map(|refusal| refusal.rule).collect(),
        };
        assert_eq!(found, expected, "{plan:?}");
    }

    #[test]
    fn processes_that_others_live_by_are_not_stopped() {
        let own = std::process::id();
        let parent = crate::process::own_line()[1];
        for (pid, start_ticks, passes) in [
            (4321, 7, true),
            (4321, 0, false),
            (0, 7, false),
            (1, 7, false),
            (2, 7, false),
            (own, 7, false),
            (parent, 7, false),
            (800, 7, false),
        ] {
            let process = toban_model::ProcessId { pid, start_ticks };
            let plan = Plan { steps: vec![Action::StopProcess { process }], ..Plan::default() };
            for by in [Actor::Person, Actor::Agent] {
                let refused = check(&plan, &protected(), by).err().unwrap_or_default();
                assert!(refused.iter().all(|refusal| refusal.rule == "process"), "{refused:?}");
                assert_eq!(refused.is_empty(), passes, "{pid}: {refused:?}");
            }
        }
    }

    #[test]
    fn each_rule_refuses_what_it_protects() {
        for (prefix, rules) in [
            ("198.51.100.7/32", &[] as &[&str]),
            ("2001:db8:5::/48", &[]),
            ("192.0.2.1/32", &["own-address"]),
            ("::ffff:192.0.2.1/128", &["own-address"]),
            ("2001:db8::/64", &["own-address"]),
            ("192.0.2.254/32", &["gateway"]),
            ("192.0.2.53/32", &["resolver"]),
            ("203.0.113.4/31", &["balancer"]),
            ("198.51.100.96/29", &["login"]),
            ("203.0.113.130/32", &["allowlist"]),
            ("203.0.113.128/25", &["allowlist"]),
            ("127.0.0.1/32", &["special-range"]),
            ("fe80::1/128", &["special-range"]),
            ("0.0.0.0/32", &["special-range"]),
            ("::1/128", &["special-range"]),
            ("239.1.2.3/32", &["special-range"]),
            ("255.255.255.255/32", &["special-range"]),
        ] {
            expect(&ban(&[prefix], &[]), Actor::Agent, rules);
        }
        expect(&ban(&["10.0.0.0/8"], &[80]), Actor::Person, &["too-wide"]);
        expect(&ban(&["10.0.0.0/16"], &[80]), Actor::Agent, &[]);
        expect(&ban(&["10.0.0.0/16"], &[]), Actor::Agent, &["admin-port"]);
        expect(&ban(&["10.0.0.0/16"], &[22, 80]), Actor::Agent, &["admin-port"]);
        expect(&ban(&["10.0.0.0/16"], &[22, 80]), Actor::Person, &[]);
        expect(&ban(&[], &[]), Actor::Agent, &["plan-form"]);
        expect(&ban(&["198.51.100.7/32"], &[0]), Actor::Agent, &["plan-form"]);
        expect(&Plan::default(), Actor::Agent, &["plan-form"]);
    }

    #[test]
    fn who_insists_may_ban_what_toban_would_not_and_never_the_host_itself() {
        for (prefix, rule) in [
            ("203.0.113.4/31", "balancer"),
            ("198.51.100.96/29", "login"),
            ("203.0.113.130/32", "allowlist"),
            ("192.0.2.254/32", "gateway"),
            ("10.0.0.0/8", "too-wide"),
        ] {
            let (safe, overridden) = check_forced(&ban(&[prefix], &[80]), &protected()).unwrap();
            assert_eq!(safe.steps.len(), 1);
            assert_eq!(overridden.iter().map(|refusal| refusal.rule).collect::<Vec<_>>(), [rule], "{prefix}");
        }
        for (prefix, rule) in [
            ("192.0.2.1/32", "own-address"),
            ("127.0.0.0/8", "special-range"),
            ("0.0.0.0/0", "special-range"),
        ] {
            let refusals = check_forced(&ban(&[prefix], &[80]), &protected()).unwrap_err();
            assert!(refusals.iter().any(|refusal| refusal.rule == rule), "{prefix}: {refusals:?}");
        }
    }

    #[test]
    fn the_whole_internet_hits_everything() {
        for everything in ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "::/64"] {
            let refusals = check(&ban(&[everything], &[]), &protected(), Actor::Person).unwrap_err();
            assert!(
                refusals.iter().any(|refusal| refusal.rule == "special-range"),
                "{everything}: {refusals:?}"
            );
        }
    }

    #[test]
    fn a_plan_is_brought_to_one_form() {
        let mut plan = ban(
            &["198.51.100.9/24", "::ffff:198.51.100.7/128", "10.1.0.0/17", "10.1.128.0/17"],
            &[443, 80, 443],
        );
        let Action::Ban { for_s, .. } = &mut plan.steps[0] else { unreachable!() };
        *for_s = u64::MAX;
        let protected = Protected { logins: vec![], ..protected() };
        let safe = check(&plan, &protected, Actor::Agent).unwrap();
        let Action::Ban { prefixes, ports, for_s } = &safe.steps[0] else { unreachable!() };
        let shown: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.1.0.0/17", "10.1.128.0/17", "198.51.100.0/24"]);
        assert_eq!((ports.as_slice(), *for_s), ([80, 443].as_slice(), BAN_S_MAX));
        assert_eq!(check(&safe, &protected, Actor::Agent).unwrap(), safe);
    }

    #[test]
    fn usual_traffic_is_not_cut_off() {
        let usual_peers = (0..100).map(|n| (IpAddr::from([198, 51, 100, n]), 100)).collect();
        let mut protected = Protected { usual_peers, ..Protected::default() };
        let refused = |plan: &Plan, protected: &Protected| check(plan, protected, Actor::Agent).is_err();
        assert!(refused(&ban(&["198.51.100.7/32"], &[80]), &protected), "1 % of the usual requests");
        assert!(!refused(&ban(&["198.51.100.200/32"], &[80]), &protected));
        protected.usual_peers.push(("203.0.113.1".parse().unwrap(), 5));
        assert!(!refused(&ban(&["203.0.113.1/32"], &[80]), &protected), "0.05 % is less than its share");
        // Little is known: one visit is nothing, a third of everything is somebody.
        protected.usual_peers =
            vec![("203.0.113.1".parse().unwrap(), 2), ("203.0.113.9".parse().unwrap(), 40)];
        assert!(!refused(&ban(&["203.0.113.1/32"], &[80]), &protected));
        assert!(refused(&ban(&["203.0.113.0/28"], &[80]), &protected));
    }

    #[test]
    fn a_gate_lets_friends_in_and_usual_clients_are_not_shut_out() {
        let gate = |ports: &[u16], from: &[&str]| Plan {
            steps: vec![Action::AcceptOnlyFrom {
                ports: ports.to_vec(),
                from: from.iter().map(|prefix| prefix.parse().unwrap()).collect(),
                confirm_within_s: 0,
            }],
            ..Plan::default()
        };
        let safe = check(&gate(&[80], &["10.0.0.0/16"]), &protected(), Actor::Agent).unwrap();
        let Action::AcceptOnlyFrom { from, confirm_within_s, .. } = &safe.steps[0] else { unreachable!() };
        for friend in ["192.0.2.1", "203.0.113.5", "198.51.100.99", "203.0.113.130", "10.0.3.4"] {
            let friend: IpAddr = friend.parse().unwrap();
            assert!(from.iter().any(|prefix| prefix.contains(&friend)), "{friend} in {from:?}");
        }
        assert_eq!(*confirm_within_s, CONFIRM_S_MIN);
        expect(&gate(&[80], &[]), Actor::Agent, &["plan-form"]);
        expect(&gate(&[], &["10.0.0.0/16"]), Actor::Person, &["plan-form"]);
        expect(&gate(&[22], &["10.0.0.0/16"]), Actor::Agent, &["admin-port"]);
        let usual =
            Protected { usual_peers: vec![("198.51.100.1".parse().unwrap(), 500)], ..Protected::default() };
        assert!(check(&gate(&[80], &["10.0.0.0/16"]), &usual, Actor::Agent).is_err());
    }

    #[test]
    fn what_keeps_the_host_reachable_is_not_stopped() {
        let restart = |service: &str, pid: u32, supervisor: Supervisor| Plan {
            steps: vec![Action::Restart(Restart {
                service: service.to_owned(),
                master: toban_model::ProcessId { pid, start_ticks: 77 },
                supervisor,
            })],
            ..Plan::default()
        };
        let unit = |name: &str| Supervisor::Systemd(name.to_owned());
        expect(&restart("apache", 4000, unit("apache2.service")), Actor::Agent, &[]);
        expect(&restart("apache", 1, unit("apache2.service")), Actor::Agent, &["process"]);
        expect(&restart("apache", std::process::id(), Supervisor::CommandLine), Actor::Agent, &["process"]);
        expect(&restart("sshd", 4000, Supervisor::CommandLine), Actor::Person, &["process"]);
        expect(&restart("x", 4000, unit("ssh.service")), Actor::Person, &["process"]);
        expect(&restart("x", 4000, unit("--now")), Actor::Person, &["process"]);
        expect(&restart("x", 4000, unit("a b")), Actor::Person, &["process"]);
        expect(&restart("x", 4000, Supervisor::Initd("../x".into())), Actor::Person, &["process"]);
    }

    #[test]
    fn the_list_is_in_order() {
        for (index, rule) in RULES.iter().enumerate() {
            assert!(RULES[..index].iter().all(|other| other.id != rule.id), "{} twice", rule.id);
            assert!(!rule.text.en.is_empty() && !rule.text.ja.is_empty(), "{}", rule.id);
        }
    }
}
