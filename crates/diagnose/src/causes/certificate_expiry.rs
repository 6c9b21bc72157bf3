//! `certificate-expiry`: a certificate that a server of this host shows has run out, or will soon.

use std::time::Duration;

use toban_model::{Certificate, CulpritKind, Text, Time, Verdict};

use super::{Candidate, Cause, Judged, Needs};
use crate::failures::named;
use crate::picture::Picture;
use crate::tell::{clean, evidence};

pub(super) const CAUSE: Cause = Cause {
    id: "certificate-expiry",
    about: Text::fixed(
        "a certificate in use has run out or soon will",
        "使用中の証明書の有効期限が切れたか、まもなく切れます",
    ),
    rules_out: &[],
    needs: Needs::Nothing,
    judge,
};

/// Renewal by itself comes weeks before; so late somebody has to do it.
const SOON: Duration = Duration::from_secs(14 * 86_400);
const DAY_S: f64 = 86_400.0;
const SHOWN_MAX: usize = 5;

fn judge(picture: &Picture<'_>) -> Judged {
    let at = picture.situation.at;
    let mut bad: Vec<&Certificate> = picture
        .situation
        .failures
        .certificates
        .iter()
        .filter(|certificate| certificate.not_after <= at + SOON || certificate.not_before > at)
        .collect();
    bad.sort_by_key(|certificate| certificate.not_after);
    let Some(first) = bad.first() else { return Judged::Unknown };
    let invalid = |certificate: &Certificate| certificate.not_after <= at || certificate.not_before > at;
    let verdict = if bad.iter().any(|c| invalid(c)) { Verdict::Incident } else { Verdict::Watch };
    let name = if first.name.is_empty() { first.path.display().to_string() } else { first.name.clone() };
    let name = clean(&name).into_owned();
    let (how_en, how_ja) = until(first, at);
    let more = bad.len() - 1;
    let (more_en, more_ja) = if more > 0 {
        (format!(" So do {more} more."), format!("ほかに {more} 件あります。"))
    } else {
        (String::new(), String::new())
    };
    Judged::Is(Candidate {
        verdict,
        confidence: 0.99,
        culprits: bad.iter().map(|c| named(CulpritKind::File, c.path.display().to_string())).collect(),
        evidence: bad
            .iter()
            .take(SHOWN_MAX)
            .map(|certificate| {
                let (path, of) = (certificate.path.display(), certificate.services.join(", "));
                let (how_en, how_ja) = until(certificate, at);
                evidence(
                    "certificate",
                    Text::fixed("certificate", "証明書"),
                    Text::new(format!("{path} ({of}) {how_en}"), format!("{path}({of}){how_ja}")),
                    days(certificate.not_after, at),
                    None,
                    "file",
                )
            })
            .collect(),
        summary: Text::new(
            format!("The certificate of {name} {how_en}.{more_en}"),
            format!("{name} の証明書は{how_ja}。{more_ja}"),
        ),
        advice: vec![Text::new(
            format!(
                "renew it (certbot renew, or a new one from who issued it) and reload {}; then look: openssl x509 -enddate -noout -in {}",
                first.services.join(", "),
                first.path.display()
            ),
            format!(
                "更新(certbot renew、または発行元での再発行)して {} をリロードし、確認してください: openssl x509 -enddate -noout -in {}",
                first.services.join("、"),
                first.path.display()
            ),
        )],
        since: Some(if first.not_after <= at { first.not_after } else { (first.not_after - SOON).min(at) }),
        ..Candidate::default()
    })
}

/// Days that are left; below zero those since.
fn days(not_after: Time, at: Time) -> f64 {
    ((not_after.as_secs_f64() - at.as_secs_f64()) / DAY_S * 10.0).round() / 10.0
}

fn until(certificate: &Certificate, at: Time) -> (String, String) {
    if certificate.not_before > at {
        return ("is not valid yet".into(), "まだ有効期間に入っていません".into());
    }
    let left = (certificate.not_after.as_secs_f64() - at.as_secs_f64()) / DAY_S;
    if left <= 0.0 {
        let ago = -left;
        (format!("ran out {ago:.0} days ago"), format!("{ago:.0} 日前に期限切れになりました"))
    } else if left < 2.0 {
        let hours = left * 24.0;
        (format!("runs out in {hours:.0} hours"), format!("あと {hours:.0} 時間で期限切れになります"))
    } else {
        (format!("runs out in {left:.0} days"), format!("あと {left:.0} 日で期限切れになります"))
    }
}
