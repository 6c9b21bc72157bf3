//! `network-loss`: this host's own network is cut or loses packets: no signal, a gateway that does not answer, a link that
//! comes and goes, packets that are sent again to everybody.

use toban_model::{CulpritKind, KernelWord, NetworkTrouble, Text, Trouble, Verdict, Vital, VitalState};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::named;
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "network-loss",
    about: Text::fixed(
        "this host's network is cut or loses packets",
        "このホストのネットワークが切断されているか、パケットが失われています",
    ),
    rules_out: &["dns-failure"],
    needs: Needs::Nothing,
    judge,
};

/// Of all packets so many are sent again only where they are lost.
const RESENT_SHARE_MIN: f64 = 0.05;
/// Below so many a second one slow client is enough.
const RESENT_MIN: f64 = 20.0;

/// Whether nothing can leave this host.
pub(super) fn is_cut(picture: &Picture<'_>) -> bool {
    picture.situation.failures.network.iter().any(|trouble| !matches!(trouble.trouble, Trouble::Flaps(_)))
}

fn judge(picture: &Picture<'_>) -> Judged {
    let situation = picture.situation;
    let mut troubles: Vec<&NetworkTrouble> = situation.failures.network.iter().collect();
    troubles.sort_by_key(|trouble| (matches!(trouble.trouble, Trouble::Flaps(_)), trouble.since));
    let Some(first) = troubles.first() else { return of_packets(picture) };
    let interface = clean(&first.interface).into_owned();
    let (verdict, confidence, en, ja) = match &first.trouble {
        Trouble::NoCarrier => (
            Verdict::Incident,
            0.95,
            format!("{interface} has no signal: nothing can be sent or received there."),
            format!("{interface} のリンクが切れており、送受信できません。"),
        ),
        Trouble::GatewaySilent(gateway) => (
            Verdict::Incident,
            0.85,
            format!("The gateway {gateway} on {interface} does not answer: nothing leaves this network."),
            format!("{interface} のゲートウェイ {gateway} が応答せず、外部と通信できません。"),
        ),
        Trouble::Flaps(times) => (
            Verdict::Watch,
            0.85,
            format!("The link of {interface} went down {times} times within minutes."),
            format!("{interface} のリンクが数分間に {times} 回切断されました。"),
        ),
    };
    let culprit = match &first.trouble {
        Trouble::GatewaySilent(gateway) => named(CulpritKind::Host, gateway.to_string()),
        _ => named(CulpritKind::Host, interface.clone()),
    };
    let down = situation.kernel.said.iter().filter(|said| matches!(said.word, KernelWord::LinkDown { .. }));
    Judged::Is(Candidate {
        verdict,
        confidence,
        culprits: vec![culprit],
        evidence: troubles
            .iter()
            .map(|trouble| {
                let name = clean(&trouble.interface).into_owned();
                let (en, ja) = match &trouble.trouble {
                    Trouble::NoCarrier => ("no signal".to_owned(), "リンクなし".to_owned()),
                    Trouble::GatewaySilent(gateway) => (
                        format!("{gateway} does not tell its hardware address (ARP incomplete)"),
                        format!("{gateway} の ARP が未解決"),
                    ),
                    Trouble::Flaps(times) => {
                        (format!("lost its signal {times} times"), format!("リンク断 {times} 回"))
                    }
                };
                evidence("network", Text::new(name.clone(), name), Text::new(en, ja), 1.0, Some(0.0), "sysfs")
            })
            .chain(down.map(|said| {
                let times = said.count;
                evidence(
                    "link-down",
                    Text::fixed("the kernel says", "カーネルの記録"),
                    Text::new(format!("link down ×{times}"), format!("リンク断 {times} 件")),
                    f64::from(times),
                    Some(0.0),
                    "kernel",
                )
            }))
            .collect(),
        summary: Text::new(en, ja),
        advice: vec![Text::new(
            format!(
                "look at the cable, the switch port or the virtual switch: ip -s link show {interface}; ethtool {interface}; ip neigh"
            ),
            format!(
                "ケーブル、スイッチのポート、仮想スイッチを確認してください: ip -s link show {interface}; ethtool {interface}; ip neigh"
            ),
        )],
        since: Some(first.since),
        ..Candidate::default()
    })
}

/// Packets that are sent again far more than usual, for minutes, whoever they are for.
fn of_packets(picture: &Picture<'_>) -> Judged {
    let vitals = &picture.situation.vitals;
    let vital = |name: &str| vitals.iter().find(|vital| vital.name == name);
    let Some(resent) = vital("tcp.retransmits") else { return Judged::Unknown };
    let sent: f64 = vitals
        .iter()
        .filter(|vital| vital.name.starts_with("network.packets_sent") && !vital.name.ends_with(":lo"))
        .map(|vital| vital.value)
        .sum();
    let share = resent.value / sent.max(1.0);
    let errors: Vec<&Vital> = vitals
        .iter()
        .filter(|vital| {
            vital.name.starts_with("network.errors:")
                && vital.state == VitalState::High
                && vital.since.is_some()
        })
        .collect();
    let lost = resent.state == VitalState::High
        && resent.since.is_some()
        && resent.value >= RESENT_MIN
        && share >= RESENT_SHARE_MIN;
    // A link that breaks frames, or somebody's bad line: the first is this host's own.
    if !lost || errors.is_empty() {
        let percent = share * 100.0;
        return Judged::Not(Text::new(
            format!("{percent:.1} % of packets are sent again"),
            format!("再送は送信パケットの {percent:.1} % です"),
        ));
    }
    let interface = errors[0].name.rsplit(':').next().unwrap_or_default().to_owned();
    let (percent, rate) = (share * 100.0, errors[0].value);
    Judged::Is(Candidate {
        verdict: Verdict::Watch,
        confidence: 0.7,
        culprits: vec![named(CulpritKind::Host, interface.clone())],
        evidence: vec![
            evidence(
                "resent",
                Text::fixed("packets sent again", "再送パケット"),
                Text::new(format!("{percent:.0} % of all"), format!("全体の {percent:.0} %")),
                share,
                resent.usual.map(|usual| usual.high / sent.max(1.0)),
                "procfs",
            ),
            evidence(
                "interface-errors",
                Text::new(format!("errors on {interface}"), format!("{interface} のエラー")),
                Text::new(format!("{rate:.1} a second"), format!("毎秒 {rate:.1} 件")),
                rate,
                errors[0].usual.map(|usual| usual.high),
                "procfs",
            ),
        ],
        summary: Text::new(
            format!(
                "{interface} loses packets: {percent:.0} % are sent again, and the interface counts errors."
            ),
            format!(
                "{interface} でパケットが失われています。{percent:.0} % が再送され、インターフェースのエラーも増えています。"
            ),
        ),
        advice: vec![Text::new(
            format!(
                "look at the counters and the duplex: ethtool -S {interface}; ethtool {interface}; then change cable and port"
            ),
            format!(
                "カウンタと duplex を確認し(ethtool -S {interface}; ethtool {interface})、ケーブルとポートを交換してください"
            ),
        )],
        since: resent.since,
        ..Candidate::default()
    })
}
