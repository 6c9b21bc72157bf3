//! Whole screens in both languages, and what must hold on every screen.

use expect_test::expect_file;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use toban_model::*;

use super::*;
use crate::fixtures::{AT, incidents, tokyo};

struct Process<'a> {
    id: (u32, u64),
    state: u8,
    cpu_s: f64,
    resident: u64,
    io: Option<u64>,
    comm: &'a str,
    command: &'a str,
    group: &'a str,
}

fn process(
    pid: u32,
    cpu_s: f64,
    resident: u64,
    comm: &'static str,
    command: &'static str,
) -> Process<'static> {
    let group = "/system.slice/apache2.service";
    Process { id: (pid, 100), state: b'S', cpu_s, resident, io: Some(0), comm, command, group }
}

fn sample(at: i64, processes: &[Process<'_>]) -> Sample {
    let mut texts = Texts::default();
    let mut busiest = Vec::new();
    for (n, process) in processes.iter().enumerate() {
        busiest.push(ProcessUse {
            id: ProcessId { pid: process.id.0, start_ticks: process.id.1 },
            parent: 1,
            user: [0, 33][n % 2],
            state: process.state,
            threads: 1 + n as u32 * 7,
            cpu_us: (process.cpu_s * 1e6) as u64,
            resident: process.resident,
            handles: process.io.map(|_| 10 + n as u32),
            read: process.io,
            written: process.io.map(|bytes| bytes / 4),
            comm: texts.push(process.comm),
            command: texts.push(process.command),
            group: texts.push(process.group),
            waits_in: texts.push(if process.state == b'D' { "folio_wait_bit" } else { "" }),
        });
    }
    let socket = |state, port, peers: Option<&str>, count| SocketCount {
        state,
        port,
        peers: peers.map(|peers| peers.parse().unwrap()),
        count,
    };
    Sample {
        at: Time::from_secs(at),
        processes: Processes { count: 231, looked_at: 231, busiest },
        sockets: vec![
            socket(TcpState::Listen, 22, None, 2),
            socket(TcpState::Established, 443, None, 1288),
            socket(TcpState::TimeWait, 80, None, 57),
            socket(TcpState::Established, 0, None, 12),
            socket(TcpState::Established, 443, Some("198.51.100.0/24"), 14),
            socket(TcpState::Established, 443, Some("203.0.113.0/24"), 1271),
            socket(TcpState::Established, 443, Some("2001:db8:7::/48"), 3),
        ],
        texts,
        ..Sample::default()
    }
}

fn vital(name: &str, value: f64, unit: &str, usual: Option<(f64, f64)>, state: VitalState) -> Vital {
    let usual = usual.map(|(low, high)| Usual { low, high, seconds: 86_400 });
    Vital { name: name.into(), value, unit: unit.into(), usual, state, since: None }
}

/// A busy web server a second after `before`.
fn moment() -> Moment {
    let before = sample(
        AT - 1,
        &[
            process(812, 10.0, 300 << 20, "php-fpm8.2", "php-fpm: pool www"),
            process(4242, 90.0, 2 << 30, "mysqld", "/usr/sbin/mariadbd --defaults-file=/etc/mysql/my.cnf"),
        ],
    );
    let mut vitals = vec![
        vital("cpu.busy", 87.0, "%", Some((2.0, 61.0)), VitalState::High),
        vital("cpu.iowait", 0.4, "%", Some((0.0, 10.0)), VitalState::Usual),
        vital("load.1", 31.0, "", Some((0.1, 2.5)), VitalState::High),
        vital("memory.used", 61.0, "%", Some((50.0, 90.0)), VitalState::Usual),
        vital("processes.count", 231.0, "", Some((200.0, 260.0)), VitalState::Usual),
        vital("network.received", 1.2e6, "B/s", Some((2e5, 3e6)), VitalState::Usual),
        vital("disk.busy:sda", 3.0, "%", None, VitalState::Unknown),
    ];
    vitals[2].since = Some(Time::from_secs(AT - 10_363));
    Moment {
        sample: sample(
            AT,
            &[
                process(812, 10.42, 301 << 20, "php-fpm8.2", "php-fpm: pool www"),
                Process {
                    state: b'D',
                    io: Some(12_000_000),
                    ..process(
                        4242,
                        91.7,
                        2 << 30,
                        "mysqld",
                        "/usr/sbin/mariadbd --defaults-file=/etc/mysql/my.cnf",
                    )
                },
                Process {
                    group: "/user.slice/user-1000.slice/session-3.scope",
                    ..process(
                        20_001,
                        1.0,
                        12 << 20,
                        "集計",
                        "sh /home/taro/日次集計.sh --対象 2020年12月 \u{1b}[2J\u{202e}",
                    )
                },
                Process { id: (2, 0), io: None, group: "/", ..process(2, 0.0, 0, "kthreadd", "") },
            ],
        ),
        before: Some(before),
        vitals,
    }
}

fn drawn(columns: u16, lines: u16, lang: Lang, change: impl FnOnce(&mut Screen<'_>, &mut Lens)) -> Buffer {
    drawn_of(&moment(), columns, lines, lang, change)
}

/// Draws a screen into a terminal that is none.
fn drawn_of(
    moment: &Moment,
    columns: u16,
    lines: u16,
    lang: Lang,
    change: impl FnOnce(&mut Screen<'_>, &mut Lens),
) -> Buffer {
    let (incidents, tz) = (incidents(), tokyo());
    let users = BTreeMap::from([(0, "root".to_owned()), (33, "www-data".to_owned())]);
    let mut lens = Lens::default();
    let mut screen = Screen {
        host: "web1",
        lang,
        tz: &tz,
        colour: false,
        place: Place::Live,
        at: Time::from_secs(AT),
        present: Time::from_secs(AT),
        every: Duration::from_secs(1),
        moment: Some(moment),
        incidents: &incidents,
        users: &users,
        lens: &Lens::default(),
    };
    change(&mut screen, &mut lens);
    screen.lens = &lens;
    let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
    terminal.draw(|frame| frame.render_widget(screen, frame.area())).unwrap();
    terminal.backend().buffer().clone()
}

fn shown(columns: u16, lines: u16, lang: Lang, change: impl FnOnce(&mut Screen<'_>, &mut Lens)) -> String {
    all_lines(&drawn(columns, lines, lang, change))
}

/// Also blank ones: it is the place that counts.
fn all_lines(buffer: &Buffer) -> String {
    let rows = buffer.area.rows().map(|row| {
        let mut one = Buffer::empty(row);
        for x in row.x..row.right() {
            one[(x, row.y)] = buffer[(x, row.y)].clone();
        }
        text(&one)
    });
    rows.collect()
}

#[test]
fn screens() {
    for (lang, code) in [(Lang::En, "en"), (Lang::Ja, "ja")] {
        for (columns, lines) in [(80, 24), (160, 50)] {
            let file = format!("screens/{code}-{columns}x{lines}.txt");
            expect_file![file].assert_eq(&shown(columns, lines, lang, |_, _| {}));
        }
        for panel in [Panel::Vitals, Panel::Sockets, Panel::Incidents] {
            let file = format!("screens/{code}-{}.txt", format!("{panel:?}").to_lowercase());
            let screen = shown(80, 24, lang, |screen, lens| {
                lens.panel = panel;
                screen.place = Place::Past;
                screen.present = Time::from_secs(AT + 7200);
            });
            expect_file![file].assert_eq(&screen);
        }
        let file = format!("screens/{code}-help.txt");
        expect_file![file].assert_eq(&shown(80, 24, lang, |_, lens| lens.help = true));
    }
}

#[test]
fn colour_is_an_addition() {
    let [without, with] = [false, true].map(|colour| drawn(160, 50, Lang::En, |s, _| s.colour = colour));
    assert!(without.content.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert!(with.content.iter().any(|cell| cell.fg == Color::Red));
    assert_eq!(text(&without), text(&with));
}

/// Whatever somebody calls a process: a line stays a line, and nothing reaches the terminal but cells.
#[test]
fn no_name_breaks_the_screen() {
    let nasty = [
        "\u{1b}[2J\u{1b}]0;x\u{7}\r\n\t",
        "\u{202e}txt.exe\u{2066}",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦 ❤\u{fe0f} 👍\u{1f3fd}",
        "日本語のとても長いコマンドラインが端まで続いていても行は壊れません。日本語のとても長いコマンドライン",
        "か\u{3099}は\u{309a}e\u{301}",
        "\u{feff}\u{ad}\u{200b}\u{e0041}",
    ];
    for columns in [79, 80, 81, 120, 121] {
        for name in nasty {
            let full = nasty.concat();
            let mut moment = moment();
            let one = Process { comm: name, command: &full, group: name, ..process(7, 1.0, 1, "", "") };
            moment.sample = sample(AT, &[one, process(8, 1.0, 1, "after", "after it")]);
            for full in [false, true] {
                let buffer = drawn_of(&moment, columns, 24, Lang::En, |_, lens| lens.full_command = full);
                let screen = text(&buffer);
                assert!(screen.lines().all(|line| width(line) <= columns.into()), "{screen}");
                assert!(!screen.chars().any(|c| c.is_control() && c != '\n'), "{screen:?}");
                for hidden in ['\u{202e}', '\u{200d}', '\u{200b}', '\u{e0041}', '\u{fe0f}'] {
                    assert!(!screen.contains(hidden), "{hidden:?} in {screen}");
                }
                assert!(screen.contains("after"), "{screen}");
            }
        }
    }
}

#[test]
fn no_window_is_too_small() {
    for columns in 0..30 {
        for lines in 0..20 {
            for panel in Panel::ALL {
                drawn(columns, lines, Lang::Ja, |_, lens| lens.panel = panel);
            }
        }
    }
    drawn(200, 4, Lang::En, |screen, _| screen.moment = None);
}

fn with_rows<T>(lens: &Lens, check: impl FnOnce(&[processes::Row<'_>]) -> T) -> T {
    let (moment, tz, users) = (moment(), tokyo(), BTreeMap::from([(0, "root".to_owned())]));
    let screen = Screen {
        host: "",
        lang: Lang::En,
        tz: &tz,
        colour: false,
        place: Place::Live,
        at: moment.sample.at,
        present: moment.sample.at,
        every: Duration::from_secs(1),
        moment: Some(&moment),
        incidents: &[],
        users: &users,
        lens,
    };
    check(&processes::rows(&moment, &screen))
}

#[test]
fn rates_are_of_the_same_process_in_both_samples() {
    with_rows(&Lens::default(), |rows| {
        let of = |pid| rows.iter().find(|row| row.process.id.pid == pid).unwrap();
        assert!((of(812).cpu.unwrap() - 42.0).abs() < 1e-6);
        assert_eq!(of(4242).read, Some(12e6));
        assert_eq!(of(4242).written, Some(3e6));
        assert_eq!((of(20_001).cpu, of(20_001).read), (None, None), "it was not told of before");
    });
    // What did nothing did nothing only if it was looked at.
    let mut idle = moment();
    idle.sample.processes.busiest[0].cpu_us = 10_000_000;
    let screen =
        |moment: &Moment| text(&drawn_of(moment, 80, 24, Lang::En, |_, lens| lens.filter = "812".into()));
    assert!(screen(&idle).contains("    812 root     S   0.0"), "{}", screen(&idle));
    idle.sample.processes.looked_at = 200;
    assert!(screen(&idle).contains("    812 root     S     -"), "{}", screen(&idle));
    assert!(screen(&idle).contains("31 not looked at in this second"), "{}", screen(&idle));
    // A later process with the same number is another one.
    let mut later = moment();
    later.sample.processes.busiest[0].id.start_ticks += 1;
    assert!(screen(&later).contains("    812 root     S     -"), "{}", screen(&later));
}

#[test]
fn sorted_and_filtered() {
    for (sort, pids) in [
        (Sort::Cpu, [4242, 812, 20_001, 2]),
        (Sort::Memory, [4242, 812, 20_001, 2]),
        (Sort::Io, [4242, 812, 20_001, 2]),
        (Sort::Threads, [2, 20_001, 4242, 812]),
        (Sort::Handles, [20_001, 4242, 812, 2]),
    ] {
        let lens = Lens { sort, ..Lens::default() };
        with_rows(&lens, |rows| {
            let found: Vec<u32> = rows.iter().map(|row| row.process.id.pid).collect();
            assert_eq!(found, pids, "{sort:?}");
        });
    }
    for (filter, found) in [
        ("PHP", 1),
        ("my.cnf", 1),
        ("日次", 1),
        ("session-3", 1),
        ("root", 2),
        ("33", 2),
        ("nothing", 0),
        ("", 4),
    ] {
        let lens = Lens { filter: filter.into(), ..Lens::default() };
        assert_eq!(with_rows(&lens, |rows| rows.len()), found, "{filter}");
    }
}

#[test]
fn a_gap_and_a_late_reading_are_told() {
    let first = |lang, change: &dyn Fn(&mut Moment), at: i64, every: u64| {
        let mut moment = moment();
        change(&mut moment);
        let buffer = drawn_of(&moment, 120, 10, lang, |screen, _| {
            screen.at = Time::from_secs(at);
            screen.every = Duration::from_secs(every);
        });
        text(&buffer).lines().next().unwrap().to_owned()
    };
    let as_is = |_: &mut Moment| {};
    assert!(first(Lang::En, &as_is, AT, 1).ends_with("JST · live"));
    assert!(first(Lang::En, &as_is, AT + 13, 1).ends_with("no reading for 13 s"));
    assert!(first(Lang::Ja, &as_is, AT + 13, 1).ends_with("13 秒間計測なし"));
    assert!(first(Lang::En, &as_is, AT + 13, 10).ends_with("live"), "one in ten seconds is the rule there");
    let gap = |moment: &mut Moment| moment.before.as_mut().unwrap().at = Time::from_secs(AT - 42);
    assert!(first(Lang::En, &gap, AT, 1).ends_with("no reading in the 42 s before"));
    let late = |moment: &mut Moment| moment.sample.late_us = 1_250_000;
    assert!(first(Lang::En, &late, AT, 1).ends_with("1.2 s late"));
    assert!(first(Lang::Ja, &late, AT, 1).ends_with("1.2 秒の遅れ"));
}

#[test]
fn an_incident_is_shown_while_it_went_on() {
    let line = |at: i64| shown(120, 24, Lang::En, |screen, _| screen.at = Time::from_secs(at));
    // The newest goes on; the one before it ended at AT - 9000, and began when it did.
    assert!(line(AT).contains("INCIDENT 3 for 2 h 52 m: Apache has no free worker"));
    assert!(!line(AT - 20_000).contains("INCIDENT"));
}

#[test]
fn panels_scroll_and_count_their_rows() {
    let screen = shown(80, 24, Lang::En, |_, lens| lens.scroll[0] = 2);
    assert!(!screen.contains("mysqld") && screen.contains("kthreadd"), "{screen}");
    // Beyond the end the last row stays.
    assert!(shown(80, 24, Lang::En, |_, lens| lens.scroll[0] = 99).contains("kthreadd"));
    drawn(80, 24, Lang::En, |screen, _| {
        let rows = Panel::ALL.map(|panel| screen.rows(panel));
        assert_eq!(rows, [4, 7, 4, 2]);
    });
}

#[test]
fn prompts_and_messages_take_the_last_line() {
    let last = |change: &dyn Fn(&mut Lens)| {
        let screen = shown(100, 24, Lang::En, |_, lens| change(lens));
        screen.lines().last().unwrap().to_owned()
    };
    assert!(last(&|_| {}).starts_with("q quit  ? help"));
    assert!(
        last(&|lens| lens.prompt = Some(Prompt::GoTo("19:0".into())))
            .starts_with("go to: 19:0_   2020-12-24")
    );
    assert!(
        last(&|lens| {
            lens.prompt = Some(Prompt::Filter);
            lens.filter = "php".into();
        })
        .starts_with("filter: php_")
    );
    assert_eq!(last(&|lens| lens.message = Some("not\u{7} there".into())), "not\\u{7} there");
}
