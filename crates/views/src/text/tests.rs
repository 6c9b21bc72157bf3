//! Whole screens, in both languages.

use expect_test::{ExpectFile, expect_file};
use toban_model::{Situation, Time};

use super::*;
use crate::fixtures::{self, AT, tokyo};
use crate::layout::width;

fn check(actual: &str, expect: &ExpectFile) {
    for line in actual.lines() {
        assert!(width(line) <= 100, "{} columns: {line}", width(line));
        assert_eq!(line, line.trim_end(), "spaces at the end of a line");
    }
    expect.assert_eq(actual);
}

/// The whole screen in both languages, beside this file: `UPDATE_EXPECT=1 cargo nextest run` rewrites them.
fn both(name: &str, show: impl Fn(Lang) -> String) {
    let (english, japanese) = (show(Lang::En), show(Lang::Ja));
    check(&english, &expect_file![format!("screens/{name}.en.txt")]);
    check(&japanese, &expect_file![format!("screens/{name}.ja.txt")]);
    assert_ne!(english, japanese);
}

#[test]
fn why_with_a_finding() {
    let situation = fixtures::situation();
    let findings = [fixtures::finding()];
    let history_from = Some(Time::from_secs(AT - 9 * 86_400 - 3600));
    let answer = Answer { history_from, ..Answer::new(&situation, Verdict::Incident, &findings) };
    both("why", |lang| why(&answer, lang, &tokyo(), Style::default()));
}

#[test]
fn why_with_two_findings_on_a_narrow_screen() {
    let situation = fixtures::situation();
    let mut second = fixtures::finding();
    second.cause = "memory-exhaustion".into();
    second.confidence = 0.55;
    second.remedies[0].id = 3;
    second.remedies.truncate(1);
    let findings = [fixtures::finding(), second];
    let answer = Answer::new(&situation, Verdict::Incident, &findings);
    let style = Style { colour: false, width: 60 };
    both("why-narrow", |lang| why(&answer, lang, &tokyo(), style));
}

#[test]
fn why_when_all_is_well() {
    let mut situation = fixtures::situation();
    situation.symptoms.clear();
    situation.vitals.retain(|vital| vital.state == VitalState::Usual);
    let history_from = Some(Time::from_secs(AT - 3 * 86_400));
    let answer = Answer { history_from, ..Answer::new(&situation, Verdict::Ok, &[]) };
    both("why-ok", |lang| why(&answer, lang, &tokyo(), Style::default()));
}

#[test]
fn why_to_watch() {
    let situation = fixtures::situation();
    let notes = [Text::fixed("the agent is not running", "エージェントは動作していません")];
    let answer = Answer { notes: &notes, ..Answer::new(&situation, Verdict::Watch, &[]) };
    both("why-watch", |lang| why(&answer, lang, &tokyo(), Style::default()));
}

#[test]
fn why_about_nothing_at_all() {
    let situation = Situation { at: Time::from_secs(AT), ..Situation::default() };
    let answer = Answer::new(&situation, Verdict::Ok, &[]);
    both("why-nothing-known", |lang| why(&answer, lang, &tokyo(), Style::default()));
}

#[test]
fn what_was_found() {
    both("explain", |lang| explain(&fixtures::host(), lang, Style::default()));
}

#[test]
fn vitals_most_unusual_first() {
    let situation = fixtures::situation();
    let findings = [fixtures::finding()];
    let answer = Answer::new(&situation, Verdict::Incident, &findings);
    both("status", |lang| status(&answer, lang, &tokyo(), Style::default()));
}

#[test]
fn the_audit_trail() {
    both("actions", |lang| actions(&fixtures::actions(), lang, &tokyo(), Style::default()));
    both("actions-none", |lang| actions(&[], lang, &tokyo(), Style::default()));
}

#[test]
fn the_bans() {
    let now = Time::from_secs(AT + 30);
    both("bans", |lang| bans(&fixtures::bans(), now, lang, &tokyo(), Style::default()));
}

#[test]
fn the_incidents() {
    let now = Time::from_secs(AT);
    both("incidents", |lang| incidents(&fixtures::incidents(), now, lang, &tokyo(), Style::default()));
}

#[test]
fn a_plan_before_it_is_done() {
    both("plan", |lang| plan(&fixtures::plan(), lang, Style::default()));
}

#[test]
fn colour_only_when_asked_and_nothing_else_changes() {
    let situation = fixtures::situation();
    let findings = [fixtures::finding()];
    let answer = Answer::new(&situation, Verdict::Incident, &findings);
    for lang in [Lang::En, Lang::Ja] {
        let plain = why(&answer, lang, &tokyo(), Style::default());
        assert!(!plain.contains('\x1b'));
        let coloured = why(&answer, lang, &tokyo(), Style { colour: true, ..Style::default() });
        assert!(coloured.contains("\x1b[1m"));
        let mut stripped = String::new();
        let mut inside = false;
        for c in coloured.chars() {
            match c {
                '\x1b' => inside = true,
                'm' if inside => inside = false,
                c if !inside => stripped.push(c),
                _ => {}
            }
        }
        assert_eq!(stripped, plain);
    }
}

#[test]
fn a_strangers_text_cannot_drive_the_terminal() {
    let mut finding = fixtures::finding();
    let nasty = "\x1b]0;owned\x07\u{202e}/xmlrpc.php\r";
    finding.cause = nasty.into();
    finding.summary = Text::new(nasty, nasty);
    finding.evidence[0].text = Text::new(nasty, nasty);
    finding.ruled_out[0].because = Text::new(nasty, nasty);
    finding.remedies[0].text = Text::new(nasty, nasty);
    let mut situation = fixtures::situation();
    situation.host.name = nasty.into();
    situation.host.blind = vec![nasty.into()];
    situation.host.services[0].id = nasty.into();
    situation.host.services[0].backends = vec![nasty.into()];
    situation.vitals[0].name = nasty.into();
    situation.vitals[1].name = format!("disk.used:{nasty}");
    let findings = [finding.clone(), finding];
    for findings in [&findings[..], &[]] {
        let answer = Answer { explain: true, ..Answer::new(&situation, Verdict::Incident, findings) };
        for lang in [Lang::En, Lang::Ja] {
            for screen in [
                why(&answer, lang, &tokyo(), Style::default()),
                status(&answer, lang, &tokyo(), Style::default()),
            ] {
                assert!(
                    !screen.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
                    "{screen:?}"
                );
            }
        }
    }
}
