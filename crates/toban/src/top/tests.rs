//! Keys, steps in time, and a recording that was made for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use toban_model::*;
use toban_record::{Frames, Limits, Record};
use toban_views::top::{Lens, Moment, Panel, Place, Prompt, Sort};

use super::keys::{Wish, press};
use super::past::{Found, Seen, Step, Tape};
use super::screen::{Next, Viewer};
use crate::cli::Colour;
use crate::config::Config;
use crate::why::Asked;

const BEGUN: i64 = 1_700_000_000;

fn at(seconds: i64) -> Time {
    Time::from_secs(BEGUN + seconds)
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn with(code: KeyCode, modifiers: KeyModifiers) -> KeyEvent {
    KeyEvent::new(code, modifiers)
}

#[test]
fn each_key_means_one_thing() {
    use KeyCode::{BackTab, Char, Down, End, F, Home, Left, Null, PageDown, PageUp, Right, Tab, Up};
    for (code, wish) in [
        (Char('q'), Wish::Quit),
        (Char(' '), Wish::Pause),
        (Char('n'), Wish::Now),
        (End, Wish::Now),
        (Char('t'), Wish::Next),
        (Char('T'), Wish::Previous),
        (Left, Wish::By(-1)),
        (Right, Wish::By(1)),
        (Char('['), Wish::By(-600)),
        (Char(']'), Wish::By(600)),
    ] {
        let mut lens = Lens::default();
        assert_eq!(press(&mut lens, key(code)), Some(wish));
        assert_eq!(lens, Lens::default(), "{code:?} changes nothing on the screen by itself");
    }
    let mut lens = Lens::default();
    for (code, modifiers, wish) in [
        (Left, KeyModifiers::SHIFT, Wish::By(-60)),
        (Right, KeyModifiers::SHIFT, Wish::By(60)),
        (Char('c'), KeyModifiers::CONTROL, Wish::Quit),
        (Char('z'), KeyModifiers::CONTROL, Wish::Suspend),
    ] {
        assert_eq!(press(&mut lens, with(code, modifiers)), Some(wish));
    }
    type Check = fn(&Lens) -> bool;
    let changes: &[(&[KeyCode], Check)] = &[
        (&[Char('M')], |lens| lens.sort == Sort::Memory),
        (&[Char('I')], |lens| lens.sort == Sort::Io),
        (&[Char('N')], |lens| lens.sort == Sort::Threads),
        (&[Char('F')], |lens| lens.sort == Sort::Handles),
        (&[Char('M'), Char('P')], |lens| lens.sort == Sort::Cpu),
        (&[Char('c')], |lens| lens.full_command),
        (&[Char('c'), Char('c')], |lens| !lens.full_command),
        (&[Char('?')], |lens| lens.help),
        (&[F(1)], |lens| lens.help),
        (&[Tab], |lens| lens.panel == Panel::Vitals),
        (&[Tab, Tab, Tab, Tab], |lens| lens.panel == Panel::Processes),
        (&[BackTab], |lens| lens.panel == Panel::Incidents),
        (&[Down, Down, Up], |lens| lens.scroll == [1, 0, 0, 0]),
        (&[Tab, PageDown], |lens| lens.scroll == [0, 10, 0, 0]),
        (&[Up, PageUp], |lens| lens.scroll == [0; 4]),
        (&[PageDown, Home], |lens| lens.scroll == [0; 4]),
        (&[Null], |lens| *lens == Lens::default()),
    ];
    for (codes, check) in changes {
        let mut lens = Lens::default();
        for code in *codes {
            assert_eq!(press(&mut lens, key(*code)), None, "{codes:?}");
        }
        assert!(check(&lens), "{codes:?}: {lens:?}");
    }
}

/// In the help and at a prompt a key does not what it does elsewhere.
#[test]
fn prompts_and_help_take_the_keys() {
    let mut lens = Lens { help: true, ..Lens::default() };
    assert_eq!(press(&mut lens, key(KeyCode::Char('q'))), None);
    assert_eq!(lens, Lens::default());

    let typed = |lens: &mut Lens, text: &str| {
        text.chars().filter_map(|c| press(lens, key(KeyCode::Char(c)))).collect::<Vec<_>>()
    };
    assert_eq!(typed(&mut lens, "b19:02q"), []);
    assert_eq!(lens.prompt, Some(Prompt::GoTo("19:02q".into())));
    assert_eq!(press(&mut lens, key(KeyCode::Backspace)), None);
    assert_eq!(press(&mut lens, key(KeyCode::Enter)), Some(Wish::GoTo("19:02".into())));
    assert_eq!(lens.prompt, None);
    typed(&mut lens, "b");
    assert_eq!(press(&mut lens, key(KeyCode::Enter)), None, "nothing was typed");
    typed(&mut lens, "b19");
    assert_eq!(press(&mut lens, key(KeyCode::Esc)), None);
    assert_eq!((lens.prompt.clone(), lens.filter.as_str()), (None, ""));

    typed(&mut lens, "/phq");
    assert_eq!(
        (lens.prompt.clone(), lens.filter.as_str()),
        (Some(Prompt::Filter), "phq"),
        "it works while typed"
    );
    press(&mut lens, with(KeyCode::Char('u'), KeyModifiers::CONTROL));
    typed(&mut lens, "日本");
    press(&mut lens, key(KeyCode::Enter));
    assert_eq!((lens.prompt.clone(), lens.filter.as_str()), (None, "日本"));
    press(&mut lens, key(KeyCode::Esc));
    assert_eq!(lens.filter, "");
    assert_eq!(press(&mut lens, with(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Wish::Quit));
}

fn viewed<T>(check: impl FnOnce(&mut Viewer<'_>) -> T) -> T {
    let config = Config::default();
    let asked = Asked {
        config: &config,
        state: Path::new("/nowhere"),
        zone: TimeZone::UTC,
        lang: Lang::En,
        colour: Colour::Never,
    };
    check(&mut Viewer::new(&asked, "host".into(), BTreeMap::new()))
}

fn looked(seconds: i64) -> Moment {
    Moment { sample: Sample { at: at(seconds), ..Sample::default() }, ..Moment::default() }
}

fn seen(seconds: i64) -> Found {
    Found::Seen(Box::new(Seen { at: at(seconds), moment: looked(seconds), damaged: false }))
}

#[test]
fn steps_back_lead_from_the_present_into_the_recording_and_n_back() {
    viewed(|viewer| {
        let present = at(1000);
        let press = |viewer: &mut Viewer<'_>, code| viewer.key(key(code), present);
        assert_eq!(press(viewer, KeyCode::Char('T')), Next::Nothing, "nothing was read yet");
        viewer.looked(looked(999));
        assert_eq!(press(viewer, KeyCode::Char('t')), Next::Nothing, "the present has no next");
        assert_eq!(press(viewer, KeyCode::Char('T')), Next::Read(Step::Before(at(999))));
        assert_eq!(viewer.place, Place::Live, "until it is there");
        viewer.found(seen(998));
        assert_eq!((viewer.place, viewer.screen(present).at), (Place::Past, at(998)));
        // The host goes on and is not shown.
        viewer.looked(looked(1001));
        assert_eq!(viewer.screen(present).moment.unwrap().sample.at, at(998));

        assert_eq!(press(viewer, KeyCode::Left), Next::Read(Step::To(at(997))));
        viewer.found(seen(997));
        assert_eq!(press(viewer, KeyCode::Char('[')), Next::Read(Step::To(at(397))));
        viewer.found(seen(397));
        assert_eq!(press(viewer, KeyCode::Char('t')), Next::Read(Step::After(at(397))));
        viewer.found(Found::NothingAfter);
        assert!(viewer.lens.message.as_ref().unwrap().contains("newest"));
        assert_eq!(
            (viewer.place, viewer.screen(present).at),
            (Place::Past, at(397)),
            "it stays where it was"
        );
        press(viewer, KeyCode::Char('n'));
        assert_eq!(viewer.place, Place::Live);
        assert_eq!(viewer.screen(present).moment.unwrap().sample.at, at(1001));
    });
}

#[test]
fn a_key_that_is_held_down_asks_no_more_than_is_answered() {
    viewed(|viewer| {
        let present = at(1000);
        viewer.looked(looked(999));
        let left = |viewer: &mut Viewer<'_>| viewer.key(key(KeyCode::Left), present);
        assert_eq!(left(viewer), Next::Read(Step::To(at(998))));
        assert_eq!([left(viewer), left(viewer)], [Next::Nothing; 2]);
        assert_eq!(viewer.found(seen(998)), Next::Read(Step::To(at(996))), "no step is lost");
        viewer.found(seen(996));
        assert_eq!(viewer.key(key(KeyCode::Char('T')), present), Next::Read(Step::Before(at(996))));
        assert_eq!(viewer.key(key(KeyCode::Char('T')), present), Next::Nothing);
        assert_eq!(viewer.found(seen(995)), Next::Read(Step::Before(at(995))));
        // Back to the present: what is still read is not shown.
        viewer.key(key(KeyCode::Char('n')), present);
        assert_eq!(viewer.found(seen(994)), Next::Nothing);
        assert_eq!(viewer.place, Place::Live);
        // And a step after that begins at the present again.
        assert_eq!(left(viewer), Next::Read(Step::To(at(998))));
        // Too far on is the present.
        viewer.found(seen(998));
        viewer.key(key(KeyCode::Char(']')), present);
        assert_eq!(viewer.place, Place::Live);
    });
}

#[test]
fn a_pause_holds_what_is_shown() {
    viewed(|viewer| {
        let present = at(1000);
        let space = |viewer: &mut Viewer<'_>| viewer.key(key(KeyCode::Char(' ')), present);
        viewer.looked(looked(10));
        space(viewer);
        viewer.looked(looked(11));
        assert_eq!((viewer.place, viewer.screen(present).at), (Place::Paused, at(10)));
        assert_eq!(viewer.screen(present).moment.unwrap().sample.at, at(10));
        assert_eq!(viewer.key(key(KeyCode::Left), present), Next::Read(Step::To(at(9))));
        viewer.found(Found::NothingBefore(at(9)));
        assert_eq!(viewer.place, Place::Paused);
        assert!(viewer.lens.message.as_ref().unwrap().contains("no reading is kept"));
        space(viewer);
        assert_eq!((viewer.place, viewer.screen(present).at), (Place::Live, present));
    });
}

#[test]
fn a_time_is_typed_as_elsewhere() {
    viewed(|viewer| {
        let present = at(100_000);
        let go = |viewer: &mut Viewer<'_>, text: &str| {
            for c in format!("b{text}").chars() {
                viewer.key(key(KeyCode::Char(c)), present);
            }
            viewer.key(key(KeyCode::Enter), present)
        };
        assert_eq!(go(viewer, "-2h"), Next::Read(Step::To(at(100_000 - 7200))));
        viewer.found(seen(92_800));
        assert_eq!(go(viewer, &(BEGUN + 7).to_string()), Next::Read(Step::To(at(7))));
        viewer.found(seen(7));
        assert_eq!(go(viewer, "tomorrow"), Next::Nothing);
        assert!(viewer.lens.message.as_ref().unwrap().contains("expected a time"));
        assert_eq!(go(viewer, "2999-01-01"), Next::Nothing);
        assert!(viewer.lens.message.as_ref().unwrap().contains("future"));
    });
}

#[test]
fn rows_end_where_the_last_one_is() {
    viewed(|viewer| {
        let mut moment = looked(1);
        moment.vitals = ["a", "b", "c"]
            .map(|name| Vital {
                name: name.into(),
                value: 1.0,
                unit: String::new(),
                usual: None,
                state: VitalState::Unknown,
                since: None,
            })
            .to_vec();
        viewer.looked(moment);
        for code in [KeyCode::Tab, KeyCode::PageDown, KeyCode::PageDown] {
            viewer.key(key(code), at(1));
        }
        assert_eq!(viewer.lens.scroll, [0, 2, 0, 0]);
    });
}

/// A sample of a host whose one process counts its processor time by the seconds that it has lived.
fn sample(seconds: i64) -> Sample {
    let mut texts = Texts::default();
    let process = ProcessUse {
        id: ProcessId { pid: 7, start_ticks: 70 },
        parent: 1,
        user: 0,
        state: b'R',
        threads: 1,
        cpu_us: (seconds * 500_000) as u64,
        resident: 1 << 20,
        handles: None,
        read: None,
        written: None,
        comm: texts.push("spin"),
        command: texts.push("spin --for ever"),
        group: Span::default(),
        waits_in: Span::default(),
    };
    let reading =
        |name: &'static str, value, kind| Reading { name: name.into(), value, unit: "".into(), kind };
    Sample {
        at: at(seconds),
        readings: vec![
            reading("load.1", seconds as f64, ReadingKind::Gauge),
            reading("processes.forks", 3.0 * seconds as f64, ReadingKind::Counter),
        ],
        processes: Processes { count: 1, looked_at: 1, busiest: vec![process] },
        texts,
        ..Sample::default()
    }
}

/// A recording of an hour and a bit (its first part is closed by then), with a gap of 13 seconds and one of two minutes.
fn recorded(dir: &Path) -> Arc<Record> {
    let record = Arc::new(Record::open(dir).unwrap());
    let mut frames = Frames::open(&record.frames_dir().unwrap(), Limits::default()).unwrap();
    let gap = |s: &i64| (4000..4013).contains(s) || (4100..4220).contains(s);
    for seconds in (3000..4400).filter(|s| !gap(s)) {
        frames.append(&sample(seconds)).unwrap();
    }
    frames.flush().unwrap();
    record
}

#[track_caller]
fn went(tape: &mut Tape, step: Step) -> (Time, Moment) {
    match tape.go(step).unwrap() {
        Found::Seen(seen) => {
            assert!(!seen.damaged);
            (seen.at, seen.moment)
        }
        other => panic!("{step:?}: {other:?}"),
    }
}

#[test]
fn the_tape_goes_to_every_moment_from_every_side() {
    let dir = tempfile::tempdir().unwrap();
    let mut tape = Tape::new(recorded(dir.path()), &Host { cores: 2, ..Host::default() });
    // From one to the next, and back.
    let mut forth = vec![went(&mut tape, Step::To(at(3995))).0];
    while forth.len() < 10 {
        forth.push(went(&mut tape, Step::After(*forth.last().unwrap())).0);
    }
    let seconds: Vec<i64> = forth.iter().map(|t| t.as_secs() - BEGUN).collect();
    assert_eq!(seconds, [3995, 3996, 3997, 3998, 3999, 4013, 4014, 4015, 4016, 4017]);
    let mut back = vec![at(4017)];
    while back.len() < 10 {
        back.push(went(&mut tape, Step::Before(*back.last().unwrap())).0);
    }
    back.reverse();
    assert_eq!(forth, back);
    // In the gap stands the newest before it, and the time is the one asked for.
    let (stands, moment) = went(&mut tape, Step::To(at(4007)));
    assert_eq!((stands, moment.sample.at), (at(4007), at(3999)));
    // Beyond a long gap too the one before is the one before.
    let (_, moment) = went(&mut tape, Step::After(at(4099)));
    assert_eq!((moment.sample.at, moment.before.unwrap().at), (at(4220), at(4099)));
    // The ends.
    assert!(matches!(tape.go(Step::To(at(2999))).unwrap(), Found::NothingBefore(_)));
    assert_eq!(went(&mut tape, Step::After(at(0))).0, at(3000), "the first one is after nothing");
    assert!(matches!(tape.go(Step::Before(at(3000))).unwrap(), Found::NothingBefore(_)));
    assert!(matches!(tape.go(Step::After(at(4399))).unwrap(), Found::NothingAfter));
    assert_eq!(went(&mut tape, Step::To(at(99_999))).1.sample.at, at(4399));
}

/// What is told of a moment does not hang on how one came there.
#[test]
fn a_moment_is_the_same_by_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let record = recorded(dir.path());
    let host = Host { cores: 2, ..Host::default() };
    let mut tape = Tape::new(record.clone(), &host);
    went(&mut tape, Step::To(at(3500)));
    for step in [Step::After(at(3500)), Step::To(at(3502)), Step::To(at(3530))] {
        let (stands, moment) = went(&mut tape, step);
        let (_, anew) = went(&mut Tape::new(record.clone(), &host), Step::To(stands));
        assert_eq!((&moment.sample, &moment.before), (&anew.sample, &anew.before), "{step:?}");
        assert_eq!(moment.sample, sample(moment.sample.at.as_secs() - BEGUN));
        let value = |moment: &Moment, name: &str| {
            moment.vitals.iter().find(|vital| vital.name == name).map(|vital| vital.value)
        };
        assert_eq!(value(&moment, "load.1"), Some(moment.sample.readings[0].value));
        assert_eq!(value(&moment, "processes.forks"), Some(3.0), "a counter is a rate");
        assert_eq!(value(&anew, "processes.forks"), Some(3.0));
    }
}

#[test]
fn what_is_recorded_meanwhile_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let record = recorded(dir.path());
    let mut tape = Tape::new(record.clone(), &Host::default());
    went(&mut tape, Step::To(at(4399)));
    assert!(matches!(tape.go(Step::After(at(4399))).unwrap(), Found::NothingAfter));
    let mut frames = Frames::open(&record.frames_dir().unwrap(), Limits::default()).unwrap();
    frames.append(&sample(4400)).unwrap();
    frames.flush().unwrap();
    assert_eq!(went(&mut tape, Step::After(at(4399))).1.sample, sample(4400));
}

#[test]
fn users_have_the_names_of_the_host() {
    assert_eq!(super::users().get(&0).map(String::as_str), Some("root"));
}
