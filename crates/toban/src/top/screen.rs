//! What is looked at, and where in time: keys and readings in, a screen and orders for the recording out.

use std::collections::BTreeMap;
use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;
use toban_model::{Incident, Lang, Text, Time};
use toban_views::top::{Lens, Moment, Place, Screen};

use super::EVERY;
use super::keys::{self, Wish, press};
use super::past::{Found, Step};
use crate::cli::When;
use crate::out::style;
use crate::why::Asked;

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Nothing,
    /// Go there in the recording.
    Read(Step),
    Suspend,
    Quit,
}

/// Where somebody wants to go in the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aim {
    To(Time),
    Next,
    Previous,
}

/// An order for the recording that is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    /// False when somebody has gone back to the present meanwhile.
    wanted: bool,
    /// Where to go on to from there.
    then: Option<Aim>,
}

/// Somebody at the screen.
pub(crate) struct Viewer<'a> {
    asked: &'a Asked<'a>,
    host: String,
    users: BTreeMap<u32, String>,
    colour: bool,
    pub(crate) lens: Lens,
    pub(crate) place: Place,
    /// The newest look at this host.
    pub(crate) live: Option<Moment>,
    /// The moment that is shown where it is not the present.
    shown: Option<(Time, Moment)>,
    /// Where steps in time have led, which the recording has not reached yet.
    ahead: Option<Time>,
    order: Option<Order>,
    pub(crate) incidents: Vec<Incident>,
}

impl<'a> Viewer<'a> {
    pub(crate) fn new(asked: &'a Asked<'a>, host: String, users: BTreeMap<u32, String>) -> Viewer<'a> {
        Viewer {
            asked,
            host,
            users,
            colour: style(asked.colour).colour,
            lens: Lens::default(),
            place: Place::Live,
            live: None,
            shown: None,
            ahead: None,
            order: None,
            incidents: Vec::new(),
        }
    }

    pub(crate) fn screen(&self, present: Time) -> Screen<'_> {
        let shown = self.shown.as_ref().filter(|_| self.place != Place::Live);
        Screen {
            host: &self.host,
            lang: self.asked.lang,
            tz: &self.asked.zone,
            colour: self.colour,
            place: self.place,
            at: shown.map_or(present, |(at, _)| *at),
            present,
            every: if self.place == Place::Past { self.asked.config.agent.interval } else { EVERY },
            moment: shown.map(|(_, moment)| moment).or(self.live.as_ref()),
            incidents: &self.incidents,
            users: &self.users,
            lens: &self.lens,
        }
    }

    pub(crate) fn say(&mut self, text: String) {
        self.lens.message = Some(text);
    }

    fn tell(&mut self, text: &Text) {
        self.say(text.lang(self.asked.lang).to_owned());
    }

    /// This host was looked at.
    pub(crate) fn looked(&mut self, moment: Moment) -> Next {
        self.live = Some(moment);
        Next::Nothing
    }

    pub(crate) fn knows(&mut self, incidents: Vec<Incident>) -> Next {
        self.incidents = incidents;
        Next::Nothing
    }

    pub(crate) fn key(&mut self, key: KeyEvent, present: Time) -> Next {
        let next = match press(&mut self.lens, key) {
            Some(wish) => self.wish(wish, present),
            None => Next::Nothing,
        };
        let rows = self.screen(present).rows(self.lens.panel);
        let first = &mut self.lens.scroll[keys::place(&self.lens)];
        *first = (*first).min(rows.saturating_sub(1));
        next
    }

    fn wish(&mut self, wish: Wish, present: Time) -> Next {
        match wish {
            Wish::Quit => Next::Quit,
            Wish::Suspend => Next::Suspend,
            Wish::Now => self.go_live(),
            Wish::Pause => match (self.place, &self.live) {
                (Place::Live, Some(live)) => {
                    self.shown = Some((live.sample.at, live.clone()));
                    self.place = Place::Paused;
                    Next::Nothing
                }
                (Place::Paused, _) => self.go_live(),
                _ => Next::Nothing,
            },
            Wish::By(seconds) => {
                let step = Duration::from_secs(seconds.unsigned_abs());
                let from = self.ahead.or(self.stands_at()).unwrap_or(present);
                let to = if seconds < 0 { from - step } else { from + step };
                if to >= present { self.go_live() } else { self.go(Aim::To(to)) }
            }
            Wish::Next if self.place == Place::Live => Next::Nothing,
            Wish::Next => self.go(Aim::Next),
            Wish::Previous => self.go(Aim::Previous),
            Wish::GoTo(text) => {
                let zone = &self.asked.zone;
                let when = text.parse::<When>().map(|when| when.resolve_past(present, zone));
                match when {
                    Ok(Ok(at)) => self.go(Aim::To(at)),
                    Ok(Err(error)) => self.answer(error.to_string()),
                    Err(error) => self.answer(error),
                }
            }
        }
    }

    fn answer(&mut self, text: String) -> Next {
        self.say(text);
        Next::Nothing
    }

    fn go_live(&mut self) -> Next {
        self.place = Place::Live;
        (self.shown, self.ahead) = (None, None);
        if let Some(order) = &mut self.order {
            *order = Order { wanted: false, then: None };
        }
        Next::Nothing
    }

    /// One order at a time; of those that come meanwhile the last counts. So a key that is held down goes as fast as
    /// the disk does, and stops when it is let go.
    fn go(&mut self, aim: Aim) -> Next {
        self.ahead = match aim {
            Aim::To(at) => Some(at),
            Aim::Next | Aim::Previous => None,
        };
        if let Some(order) = &mut self.order {
            order.then = Some(aim);
            return Next::Nothing;
        }
        let step = match aim {
            Aim::To(at) => Some(Step::To(at)),
            Aim::Next => self.sample_at().map(Step::After),
            Aim::Previous => self.sample_at().map(Step::Before),
        };
        // Before the first reading there is nothing to step from.
        let Some(step) = step else { return Next::Nothing };
        self.order = Some(Order { wanted: true, then: None });
        Next::Read(step)
    }

    fn stands_at(&self) -> Option<Time> {
        match &self.shown {
            Some((at, _)) => Some(*at),
            None => self.sample_at(),
        }
    }

    fn sample_at(&self) -> Option<Time> {
        let shown = self.shown.as_ref().map(|(_, moment)| moment);
        shown.or(self.live.as_ref()).map(|moment| moment.sample.at)
    }

    /// The recording answered.
    pub(crate) fn found(&mut self, found: Found) -> Next {
        let order = self.order.take().unwrap_or(Order { wanted: true, then: None });
        if order.wanted {
            self.show(found);
        }
        match order.then {
            Some(aim) => self.go(aim),
            None => {
                self.ahead = None;
                Next::Nothing
            }
        }
    }

    /// The recording could not be read.
    pub(crate) fn failed(&mut self, text: String) -> Next {
        (self.order, self.ahead) = (None, None);
        self.answer(text)
    }

    fn show(&mut self, found: Found) {
        match found {
            Found::Seen(seen) => {
                if seen.damaged {
                    self.tell(&Text::fixed(
                        "a part of the recording here is damaged and left out",
                        "この付近の記録の一部が壊れているため、読み飛ばしました",
                    ));
                }
                self.place = Place::Past;
                self.shown = Some((seen.at, seen.moment));
            }
            Found::NothingBefore(at) => self.say(self.nothing_before(at)),
            Found::NothingAfter => self.tell(&Text::fixed(
                "this is the newest reading; n goes back to now",
                "これより新しい計測はありません。n で現在に戻ります",
            )),
            Found::NoRecord => self.say(self.nothing_recorded()),
        }
    }

    pub(crate) fn nothing_recorded(&self) -> String {
        let state = self.asked.state.display();
        match self.asked.lang {
            Lang::En => format!("nothing is recorded in {state}; `toban run` records"),
            Lang::Ja => format!("{state} に記録がありません。`toban run` を実行すると記録されます"),
        }
    }

    pub(crate) fn nothing_before(&self, at: Time) -> String {
        let at = toban_views::moment(at, &self.asked.zone);
        match self.asked.lang {
            Lang::En => format!("no reading is kept of {at} or before"),
            Lang::Ja => format!("{at} 以前の計測は残っていません"),
        }
    }
}
