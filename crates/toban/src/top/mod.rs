//! `toban top`: the screen of [`toban_views::top`], live and back in time.
//!
//! One loop orders what happens. Keys, this host's samples, the recording and signals come from threads of their own,
//! so a disk that does not answer stops no key.

mod keys;
mod live;
mod past;
mod screen;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self, KeyEvent};
use ratatui::crossterm::execute;
use ratatui::crossterm::style::force_color_output;
use ratatui::crossterm::terminal::{Clear, ClearType};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use toban_collect::{Root, discover};
use toban_model::{Host, Incident};
use toban_record::Record;
use toban_views::top::Moment;

use crate::cli::{Exit, Top};
use crate::clock;
use crate::out::{print_all, style};
use crate::why::Asked;
use live::Live;
use past::{Found, Step, Tape};
use screen::{Next, Viewer};

/// How often this host is looked at, and the screen drawn at least.
const EVERY: Duration = Duration::from_secs(1);
/// How often the record is asked for incidents.
const INCIDENTS_EVERY: Duration = Duration::from_secs(5);
const INCIDENTS_MAX: usize = 50;
/// One screen as text.
const TEXT: (u16, u16) = (120, 60);

/// What the loop is told.
enum Event {
    Key(KeyEvent),
    Live(Box<Moment>),
    Incidents(Vec<Incident>),
    Past(Found),
    /// The recording could not be read.
    Failed(String),
    /// The window has another size.
    Resized,
    /// The program was stopped and goes on.
    Resumed,
    End,
    /// A thread of ours is gone.
    Broken,
}

/// `toban top`.
pub(crate) fn top(asked: &Asked<'_>, top: &Top) -> anyhow::Result<Exit> {
    let present = clock::now();
    let at = top.at.as_ref().map(|at| at.resolve_past(present, &asked.zone)).transpose()?;
    let host = discover(&Root::host());
    let record = Record::open_existing(asked.state).context("could not read the record");
    let mut viewer = Viewer::new(asked, host.name.clone(), users());
    let mut record = match record {
        Ok(record) => record.map(Arc::new),
        Err(error) if at.is_some() => return Err(error),
        Err(error) => {
            viewer.say(format!("{error:#}"));
            None
        }
    };
    if let Some(at) = at {
        let Some(record) = record.clone() else { bail!("{}", viewer.nothing_recorded()) };
        let found = Tape::new(record, &host).go(Step::To(at)).context("could not read the recording")?;
        if matches!(found, Found::NothingBefore(_)) {
            bail!("{}", viewer.nothing_before(at));
        }
        viewer.found(found);
    }
    if let Some(record) = &record {
        viewer.incidents = record.incidents(INCIDENTS_MAX).unwrap_or_default();
    }
    if io::stdout().is_terminal() {
        return interact(asked, viewer, record.take(), host);
    }
    if at.is_none() {
        let mut live = Live::begin(asked.config, asked.zone.clone(), record.as_ref());
        let first = live.look(Duration::ZERO).sample;
        // Rates need two looks, and on a host that is short of time not every look reaches every process.
        let mut last = None;
        for _ in 0..2 {
            thread::sleep(EVERY);
            last = Some(live.look(Duration::ZERO));
        }
        viewer.live = last.map(|last| Moment { before: Some(first), ..last });
    }
    print_all(&viewer.screen(clock::now()).text(TEXT.0, TEXT.1));
    Ok(Exit::Ok)
}

/// The names of the host's users, as far as its own file knows them.
fn users() -> BTreeMap<u32, String> {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().rev().filter_map(user).collect()
}

/// The terminal as it was is restored when this is dropped.
struct Window(ratatui::DefaultTerminal);

impl Window {
    fn open() -> anyhow::Result<Window> {
        let terminal = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()));
        let window = Window(terminal.context("could not use this terminal")?);
        // It may not be blank where a stopped program goes on.
        execute!(io::stdout(), Clear(ClearType::All)).context("could not use this terminal")?;
        Ok(window)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // Where the terminal is gone there is nobody to tell.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

fn interact(
    asked: &Asked<'_>,
    mut viewer: Viewer<'_>,
    record: Option<Arc<Record>>,
    host: Host,
) -> anyhow::Result<Exit> {
    let (tell, told) = mpsc::channel();
    let signals =
        Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCONT]).context("could not handle signals")?;
    let mut window = Window::open()?;
    force_color_output(style(asked.colour).colour);
    spawn("toban-signals", &tell, move |tell| hear(signals, tell))?;
    spawn("toban-keys", &tell, read_keys)?;
    let (config, zone, of_live) = (asked.config.clone(), asked.zone.clone(), record.clone());
    let state = asked.state.to_owned();
    spawn("toban-live", &tell, move |tell| look(&config, zone, of_live, &state, tell))?;
    let (orders, ordered) = mpsc::channel();
    let state = asked.state.to_owned();
    spawn("toban-past", &tell, move |tell| play(record, &state, &host, &ordered, tell))?;
    loop {
        let screen = viewer.screen(clock::now());
        window.0.draw(|frame| frame.render_widget(screen, frame.area())).context("could not draw")?;
        let first = match told.recv_timeout(EVERY) {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(Exit::CouldNot),
        };
        for event in first.into_iter().chain(told.try_iter()) {
            let next = match event {
                Event::Key(key) => viewer.key(key, clock::now()),
                Event::Live(moment) => viewer.looked(*moment),
                Event::Incidents(incidents) => viewer.knows(incidents),
                Event::Past(found) => viewer.found(found),
                Event::Failed(text) => viewer.failed(text),
                Event::Resized => Next::Nothing,
                Event::Resumed => {
                    drop(window);
                    window = Window::open()?;
                    Next::Nothing
                }
                Event::End => Next::Quit,
                Event::Broken => return Ok(Exit::CouldNot),
            };
            match next {
                Next::Nothing => {}
                Next::Read(step) => drop(orders.send(step)),
                Next::Suspend => {
                    drop(window);
                    // It returns when the program goes on.
                    signal_hook::low_level::emulate_default_handler(SIGTSTP).context("could not stop")?;
                    window = Window::open()?;
                }
                Next::Quit => return Ok(Exit::Ok),
            }
        }
    }
}

/// A thread that tells the loop when it panicked: the hook has then restored the terminal.
fn spawn(
    name: &str,
    tell: &Sender<Event>,
    run: impl FnOnce(&Sender<Event>) + Send + 'static,
) -> anyhow::Result<()> {
    struct Told(Sender<Event>);
    impl Drop for Told {
        fn drop(&mut self) {
            if thread::panicking() {
                drop(self.0.send(Event::Broken));
            }
        }
    }
    let told = Told(tell.clone());
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || run(&told.0))
        .with_context(|| format!("could not start {name}"))?;
    Ok(())
}

fn hear(mut signals: Signals, tell: &Sender<Event>) {
    for signal in signals.forever() {
        let event = if signal == SIGCONT { Event::Resumed } else { Event::End };
        if tell.send(event).is_err() {
            return;
        }
    }
}

fn read_keys(tell: &Sender<Event>) {
    loop {
        let event = match event::read() {
            Ok(event::Event::Key(key)) => Event::Key(key),
            Ok(event::Event::Resize(..)) => Event::Resized,
            Ok(_) => continue,
            // The terminal is gone.
            Err(_) => Event::End,
        };
        let ends = matches!(event, Event::End);
        if tell.send(event).is_err() || ends {
            return;
        }
    }
}

/// Looks at this host once a second.
fn look(
    config: &crate::config::Config,
    zone: TimeZone,
    mut record: Option<Arc<Record>>,
    state: &std::path::Path,
    tell: &Sender<Event>,
) {
    let mut live = Live::begin(config, zone, record.as_ref());
    let mut next = Instant::now();
    let mut asked = Instant::now();
    loop {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        let late = Instant::now().saturating_duration_since(next);
        if tell.send(Event::Live(Box::new(live.look(late)))).is_err() {
            return;
        }
        if asked.elapsed() >= INCIDENTS_EVERY {
            asked = Instant::now();
            record = record.or_else(|| Record::open_existing(state).ok().flatten().map(Arc::new));
            if let Some(Ok(incidents)) = record.as_ref().map(|record| record.incidents(INCIDENTS_MAX)) {
                drop(tell.send(Event::Incidents(incidents)));
            }
        }
        // What was missed is not made up for.
        next = (next + EVERY).max(Instant::now());
    }
}

/// Reads the recording as it is told to.
fn play(
    mut record: Option<Arc<Record>>,
    state: &std::path::Path,
    host: &Host,
    orders: &Receiver<Step>,
    tell: &Sender<Event>,
) {
    let mut tape: Option<Tape> = None;
    for step in orders {
        record = record.or_else(|| Record::open_existing(state).ok().flatten().map(Arc::new));
        tape = tape.or_else(|| record.clone().map(|record| Tape::new(record, host)));
        let event = match tape.as_mut().map(|tape| tape.go(step)) {
            Some(Ok(found)) => Event::Past(found),
            Some(Err(error)) => Event::Failed(error.to_string()),
            None => Event::Past(Found::NoRecord),
        };
        if tell.send(event).is_err() {
            return;
        }
    }
}
