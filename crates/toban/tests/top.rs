//! The real `toban top`: as text where nobody looks, and in a terminal that is as it was when it ends.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use tempfile::TempDir;

const TOBAN: &str = env!("CARGO_BIN_EXE_toban");
/// On a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

fn command(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(TOBAN);
    command.args(["--state", state.to_str().unwrap(), "top"]).args(args);
    command.env("LC_ALL", "C").env_remove("NO_COLOR").env("TERM", "xterm-256color");
    command
}

fn said(state: &Path, args: &[&str]) -> Output {
    command(state, args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn without_a_terminal_it_prints_one_screen() {
    let state = TempDir::new().unwrap();
    for (lang, words) in [
        ("en", ["live", "Processes", "Sockets", "No incident"]),
        ("ja", ["現在", "プロセス", "ソケット", "障害はあり"]),
    ] {
        let out = said(state.path(), &["--lang", lang]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        for word in words {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        let pid = |line: &str| line.split_whitespace().next().is_some_and(|word| word.parse::<u32>().is_ok());
        assert!(text.lines().any(pid), "there is no process in {text}");
    }
    assert!(state.path().read_dir().unwrap().next().is_none(), "a look leaves nothing behind");
}

#[test]
fn what_was_not_recorded_cannot_be_shown() {
    let state = TempDir::new().unwrap();
    let out = said(state.path(), &["--at", "-1h"]);
    let err = String::from_utf8(out.stderr).unwrap();
    assert_eq!((out.status.code(), out.stdout.len()), (Some(3), 0));
    assert!(err.contains("nothing is recorded in") && err.contains("toban run"), "{err}");
    assert_eq!(said(state.path(), &["--at", "2999-01-01"]).status.code(), Some(2));
}

/// What a terminal of 80 columns and 24 lines shows: as much of one as is needed here.
struct Glass {
    cells: Vec<[char; 80]>,
    at: (usize, usize),
    raw: String,
}

impl Glass {
    fn new() -> Glass {
        Glass { cells: vec![[' '; 80]; 24], at: (0, 0), raw: String::new() }
    }

    /// Takes all that was written so far.
    fn draw(&mut self) {
        self.cells = vec![[' '; 80]; 24];
        let mut rest = self.raw.as_str();
        while let Some(c) = rest.chars().next() {
            let sequence = rest.strip_prefix("\u{1b}[").and_then(|rest| {
                let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
                Some((&rest[..end], &rest[end..=end], &rest[end + 1..]))
            });
            if let Some((numbers, kind, after)) = sequence {
                let mut numbers = numbers.split(';').map(|n| n.parse().unwrap_or(1));
                match kind {
                    "H" => self.at = (numbers.next().unwrap_or(1) - 1, numbers.next().unwrap_or(1) - 1),
                    "J" => self.cells = vec![[' '; 80]; 24],
                    _ => {}
                }
                rest = after;
                continue;
            }
            if let Some(cell) = self.cells.get_mut(self.at.0).and_then(|row| row.get_mut(self.at.1)) {
                *cell = c;
            }
            self.at.1 += 1;
            rest = &rest[c.len_utf8()..];
        }
    }

    fn text(&self) -> String {
        self.cells.iter().map(|row| row.iter().collect::<String>() + "\n").collect()
    }
}

/// `toban top` in a terminal of 80 columns and 24 lines.
struct Session {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    glass: Glass,
    slave: OwnedFd,
    before: Termios,
}

impl Session {
    fn begin(state: &Path, env: &[(&str, &str)]) -> Session {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let slave = || File::options().read(true).write(true).open(&path).unwrap();
        let ours = OwnedFd::from(slave());
        tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let before = tcgetattr(&ours).unwrap();
        let mut command = command(state, &[]);
        command.envs(env.iter().copied()).stdin(slave()).stdout(slave()).stderr(slave());
        let child = command.spawn().unwrap();
        let keyboard = File::from(master);
        let mut output = keyboard.try_clone().unwrap();
        let (send, screen) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                if send.send(bytes[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Session { child, keyboard, screen, glass: Glass::new(), slave: ours, before }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until it shows all of these at once.
    #[track_caller]
    fn shows(&mut self, words: &[&str]) {
        self.waits(|glass| words.iter().all(|word| glass.text().contains(word)));
    }

    #[track_caller]
    fn waits(&mut self, until: impl Fn(&Glass) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !until(&self.glass) {
            match self.screen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.glass.raw.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => panic!("it shows\n{}", self.glass.text()),
            }
            self.glass.draw();
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// It ended, and the terminal is as it was.
    #[track_caller]
    fn ended(&mut self) -> ExitStatus {
        self.waits(|glass| glass.raw.contains(LEAVES));
        let until = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "it does not end");
            thread::sleep(Duration::from_millis(20));
        };
        let after = tcgetattr(&self.slave).unwrap();
        assert!(self.before.local_modes.contains(LocalModes::ECHO | LocalModes::ICANON));
        assert_eq!(after.local_modes, self.before.local_modes);
        status
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_are_heard_and_the_terminal_is_as_it_was() {
    let state = TempDir::new().unwrap();
    let mut session = Session::begin(state.path(), &[]);
    session.waits(|glass| glass.raw.contains(ENTERS));
    session.shows(&["Processes", "by CPU"]);
    session.types("M");
    session.shows(&["memory"]);
    session.types("?");
    session.shows(&["Keys", "back to now"]);
    session.types("x\t");
    session.shows(&["Vitals"]);
    // Nothing was recorded here.
    session.types("T");
    session.shows(&["nothing is recorded"]);
    session.types("q");
    assert!(session.ended().success());
}

#[test]
fn a_signal_ends_it_and_restores_the_terminal() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let state = TempDir::new().unwrap();
        let mut session = Session::begin(state.path(), &[]);
        session.shows(&["Processes"]);
        session.signal(signal);
        assert!(session.ended().success(), "{signal:?}");
    }
}

#[test]
fn it_is_drawn_anew_when_it_was_stopped() {
    let state = TempDir::new().unwrap();
    let mut session = Session::begin(state.path(), &[]);
    session.shows(&["Processes"]);
    session.glass = Glass::new();
    session.signal(Signal::STOP);
    session.signal(Signal::CONT);
    session.waits(|glass| glass.raw.contains(ENTERS));
    session.shows(&["Processes", "by CPU", "quit"]);
    session.types("q");
    assert!(session.ended().success());
}

/// A message in the last line is coloured.
#[test]
fn colour_only_where_it_is_wanted() {
    for (no_color, coloured) in [("1", false), ("", true)] {
        let state = TempDir::new().unwrap();
        let mut session = Session::begin(state.path(), &[("NO_COLOR", no_color)]);
        session.shows(&["Processes"]);
        session.types("T");
        session.shows(&["nothing is recorded"]);
        // As crossterm writes a colour of the sixteen.
        assert_eq!(session.glass.raw.contains("\u{1b}[38;5;"), coloured, "{:?}", session.glass.raw);
        session.types("q");
        assert!(session.ended().success());
    }
}
