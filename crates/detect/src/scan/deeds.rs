//! *Deeds*: what a client did to a service that counts against it, summed up, and where the first of them stand.

use std::net::IpAddr;

use memchr::memmem;
use toban_model::Time;
use toban_model::event::{Act, Event, Offence, Request};

use super::Place;
use crate::census::{Bits, Tally, bits};
use crate::offence::{Login, is_call, is_miss, is_probed, login, offence};
use crate::tables::{HashMap, HashSet};

/// Places that are told of one who is blamed.
pub(super) const LINES_MAX: usize = 1000;
/// Places that are held of all together, 24 bytes each: 12 MiB. When a great many are at it, fewer of each are held.
const MARKS_MAX: usize = 1 << 19;
const MARKS_OF_ONE_MIN: usize = 16;
/// Accounts that are told apart, 8 bytes each: 0.5 MiB.
const LIVE_MAX: usize = 1 << 16;

/// Something that counts against a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Deed {
    /// A wrong password, or an account that does not exist.
    Guess,
    /// A remote procedure of WordPress, which a password guesser calls as well as an honest program, and which answers
    /// both with 200.
    Call,
    /// Something was to be passed on to a third host.
    Relay,
    /// A look for a weakness, or for whether something is there at all.
    Probe,
    /// A connection that came to nothing, or spoke another protocol.
    Garbage,
    /// A page that is not there, and that no link led to.
    Miss,
}

impl Deed {
    pub(super) const ALL: [Deed; 6] =
        [Deed::Guess, Deed::Call, Deed::Relay, Deed::Probe, Deed::Garbage, Deed::Miss];

    fn of(offence: Offence) -> Deed {
        match offence {
            Offence::AuthFailure => Deed::Guess,
            Offence::RelayAttempt => Deed::Relay,
            Offence::Probe => Deed::Probe,
            Offence::ProtocolError => Deed::Garbage,
        }
    }
}

/// What a deed was about, an account or a path or a host, as a hash.
pub(super) type What = u32;
/// Nobody says what it was about.
pub(super) const UNSAID: What = 0;
/// There is only one thing that it can have been about.
pub(super) const ONE: What = 1;

/// Where a password was tried, the path of a form, as a hash.
pub(super) type Door = u16;

fn what(name: &[u8]) -> What {
    use std::hash::BuildHasher as _;
    let mut lower = [0; 96];
    let len = name.len().min(lower.len());
    lower[..len].copy_from_slice(&name[..len]);
    lower.make_ascii_lowercase();
    (foldhash::quality::FixedState::with_seed(0).hash_one(&lower[..len]) as u32).max(ONE + 1)
}

/// Which log tells of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Way {
    /// One of requests.
    Requests,
    /// A server's complaints, which say nothing of those who did right.
    Errors,
    /// What a service says of all who log in or fail to.
    Logins,
}

/// What one line says of a client.
pub(super) struct Told<'a> {
    pub(super) client: IpAddr,
    pub(super) time: Time,
    /// The service's own name, if the line has it.
    pub(super) service: Option<&'a [u8]>,
    pub(super) way: Way,
    pub(super) deed: Option<Deed>,
    pub(super) what: What,
    pub(super) door: Door,
    pub(super) times: u32,
    pub(super) login: bool,
}

/// What a line says of a client, if that matters here.
pub(super) fn told<'a>(event: &Event<'a>) -> Option<Told<'a>> {
    match event {
        Event::Request(request) => told_of_request(request, false),
        Event::Error(error) => {
            // Whoever follows a broken link asks for what is closed too.
            let deed = match Deed::of(error.offence?) {
                Deed::Probe if !is_probed(error.text) => Deed::Miss,
                deed => deed,
            };
            Some(Told {
                client: error.peer?,
                time: error.time?,
                service: None,
                way: Way::Errors,
                deed: Some(deed),
                what: match deed {
                    Deed::Guess => error.account.map_or(UNSAID, what),
                    _ => what(asked(error.text)),
                },
                door: 0,
                times: 1,
                login: false,
            })
        }
        Event::Service(said) => {
            let offence = match said.act {
                Act::Offence(offence) => Some(offence),
                Act::LoggedIn => None,
                Act::Other => return None,
            };
            let to = recipient(said.text);
            let (deed, about) = match offence.map(Deed::of) {
                Some(Deed::Probe | Deed::Garbage) if to.is_none() => (Some(Deed::Garbage), words(said.text)),
                Some(deed @ (Deed::Relay | Deed::Probe)) => (Some(deed), to),
                deed => (deed, said.account),
            };
            Some(Told {
                client: said.client?,
                time: said.time?,
                service: Some(said.service),
                way: Way::Logins,
                deed,
                what: about.map_or(UNSAID, what),
                door: 0,
                times: said.times,
                login: deed.is_none(),
            })
        }
        Event::Kernel(_) | Event::Silent => None,
    }
}

/// The same of a request, to a server that may be there to pass requests on.
#[inline]
pub(super) fn told_of_request<'a>(request: &Request<'_>, passes_on: bool) -> Option<Told<'a>> {
    let (deed, about, login) = match offence(request) {
        Some(Offence::RelayAttempt) if passes_on => return None,
        Some(offence) => (Some(Deed::of(offence)), about(request, offence), false),
        None => match login(request) {
            Some(Login::As(user)) => (None, what(user), true),
            Some(Login::Somebody) => (None, UNSAID, true),
            None if is_call(request) => (Some(Deed::Call), UNSAID, false),
            None if is_miss(request) => (Some(Deed::Miss), what(request.path), false),
            None => return None,
        },
    };
    Some(Told {
        client: request.client.or(request.peer)?,
        time: request.time,
        service: None,
        way: Way::Requests,
        deed,
        what: about,
        door: if deed == Some(Deed::Guess) { what(request.path) as Door } else { 0 },
        times: 1,
        login,
    })
}

fn about(request: &Request<'_>, offence: Offence) -> What {
    match (offence, request.user) {
        (Offence::AuthFailure, Some(user)) => what(user),
        // A program that sends what it was once given; people fill in forms.
        (Offence::AuthFailure, None) if !crate::offence::is_form(request.path) => ONE,
        (Offence::RelayAttempt, _) if request.method == b"CONNECT" => ONE,
        (Offence::RelayAttempt | Offence::Probe, _) => what(crate::offence::authority_or_path(request.path)),
        _ => UNSAID,
    }
}

/// What nginx says was asked for, or the whole complaint but for where its client came from.
fn asked(text: &[u8]) -> &[u8] {
    let text = memmem::find(text, b", request: \"").map_or(text, |at| &text[at..]);
    let ends = [memmem::find(text, b", host: "), memmem::find(text, b", referer: ")];
    &text[..ends.into_iter().flatten().min().unwrap_or(text.len())]
}

/// What kind of a message this is.
fn words(text: &[u8]) -> Option<&[u8]> {
    const KIND_BYTES: usize = 8;
    Some(&text[..text.len().min(KIND_BYTES)])
}

/// Whom a mail was for.
fn recipient(text: &[u8]) -> Option<&[u8]> {
    let rest = &text[memmem::rfind(text, b" to=<")? + 5..];
    Some(&rest[..memchr::memchr(b'>', rest)?])
}

/// To whom something was done, by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Who {
    pub(super) service: u8,
    pub(super) client: Bits,
}

impl Who {
    pub(super) fn new(client: IpAddr, service: u8) -> Who {
        Who { client: bits(toban_model::canonical(client)), service }
    }
}

/// How often something was done, and when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) lines: u32,
    /// A line may sum up several times.
    pub(super) times: u32,
    pub(super) first: Time,
    pub(super) last: Time,
}

impl Sum {
    pub(super) fn add(&mut self, other: &Sum) {
        if self.lines == 0 {
            *self = *other;
        } else if other.lines > 0 {
            self.lines = self.lines.saturating_add(other.lines);
            self.times = self.times.saturating_add(other.times);
            self.first = self.first.min(other.first);
            self.last = self.last.max(other.last);
        }
    }
}

/// All that a client did to a service.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deeds {
    pub(super) sums: [Sum; Deed::ALL.len()],
    pub(super) logins: u32,
    /// The accounts that logged in, a bit each.
    pub(super) own: Accounts,
}

impl Deeds {
    #[inline]
    pub(super) fn add(&mut self, told: &Told<'_>) {
        if let Some(deed) = told.deed {
            let one = Sum { lines: 1, times: told.times, first: told.time, last: told.time };
            self.sums[deed as usize].add(&one);
        }
        if told.login {
            self.logins = self.logins.saturating_add(1);
            self.own.add(told.what);
        }
    }
}

impl Tally for Deeds {
    fn weight(&self) -> u32 {
        let misses = self.sums[Deed::Miss as usize].lines;
        self.sums.iter().map(|sum| sum.lines).sum::<u32>() - misses + misses / 4
    }

    fn merge(&mut self, other: &Deeds) {
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            mine.add(theirs);
        }
        self.logins = self.logins.saturating_add(other.logins);
        self.own.merge(other.own);
    }
}

/// Some accounts, a bit of 64 each. Of an account that is in doubt it says that it is there: this makes for fewer who
/// are blamed, not for more.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Accounts(u64);

impl Accounts {
    pub(super) fn add(&mut self, account: What) {
        if account != UNSAID {
            self.0 |= 1 << (account & 63);
        }
    }

    pub(super) fn has(self, account: What) -> bool {
        account != UNSAID && self.0 & 1 << (account & 63) != 0
    }

    pub(super) fn merge(&mut self, other: Accounts) {
        self.0 |= other.0;
    }

    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }
}

/// The accounts with which anybody logged in, at whatever service. Where there are too many to be told apart, all are.
#[derive(Clone, Debug, Default)]
pub(super) struct Live(HashSet<What>);

impl Live {
    pub(super) fn add(&mut self, account: What) {
        if account != UNSAID && self.0.len() < LIVE_MAX {
            self.0.insert(account);
        }
    }

    pub(super) fn has(&self, account: What) -> bool {
        self.0.len() >= LIVE_MAX || self.0.contains(&account)
    }

    pub(super) fn absorb(&mut self, other: Live) {
        other.0.into_iter().for_each(|account| self.add(account));
    }
}

/// A line that counts against somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    offset: u64,
    file: u32,
    /// Seconds since the epoch.
    pub(super) at: u32,
    pub(super) what: What,
    pub(super) door: Door,
    pub(super) times: u16,
}

impl Mark {
    pub(super) fn place(&self) -> Place {
        (self.file, self.offset)
    }
}

/// The first lines of everybody. Parts of a log come in any order, so what is first is known only at the end.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    of: HashMap<(Who, Deed), Vec<Mark>>,
    held: usize,
    of_one_max: usize,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { of: HashMap::default(), held: 0, of_one_max: LINES_MAX }
    }
}

impl Marks {
    #[inline]
    pub(super) fn add(&mut self, who: Who, told: &Told<'_>, (file, offset): Place) {
        let Some(deed) = told.deed else { return };
        let mark = Mark {
            offset,
            file,
            at: u32::try_from(told.time.as_secs()).unwrap_or_default(),
            what: told.what,
            door: told.door,
            times: u16::try_from(told.times).unwrap_or(u16::MAX),
        };
        let marks = self.of.entry((who, deed)).or_default();
        marks.push(mark);
        self.held += 1;
        // Half as many more, so that it is not done for each.
        if marks.len() > self.of_one_max * 3 / 2 {
            self.held -= keep_first(marks, self.of_one_max);
        }
        if self.held > MARKS_MAX {
            self.thin();
        }
    }

    #[cold]
    fn thin(&mut self) {
        while self.held > MARKS_MAX / 2 && self.of_one_max > MARKS_OF_ONE_MIN {
            self.of_one_max = (self.of_one_max / 4).max(MARKS_OF_ONE_MIN);
            for marks in self.of.values_mut() {
                self.held -= keep_first(marks, self.of_one_max);
                marks.shrink_to_fit();
            }
        }
    }

    pub(super) fn forget(&mut self, who: Who) {
        for deed in Deed::ALL {
            self.held -= self.of.remove(&(who, deed)).map_or(0, |marks| marks.len());
        }
    }

    pub(super) fn absorb(&mut self, other: Marks, name: impl Fn(Who) -> Who) {
        self.of_one_max = self.of_one_max.min(other.of_one_max);
        for ((who, deed), theirs) in other.of {
            let marks = self.of.entry((name(who), deed)).or_default();
            self.held += theirs.len();
            if marks.is_empty() {
                *marks = theirs;
            } else {
                marks.extend(theirs);
            }
            self.held -= keep_first(marks, self.of_one_max);
        }
        if self.held > MARKS_MAX {
            self.thin();
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// The first lines of one with such a deed, in order.
    pub(super) fn of(&self, who: Who, deed: Deed) -> Vec<Mark> {
        let mut marks = self.of.get(&(who, deed)).cloned().unwrap_or_default();
        keep_first(&mut marks, self.of_one_max);
        marks.sort_unstable_by_key(Mark::place);
        marks
    }
}

/// Keeps the first ones; returns how many it put out.
fn keep_first(marks: &mut Vec<Mark>, max: usize) -> usize {
    if marks.len() <= max {
        return 0;
    }
    marks.select_nth_unstable_by_key(max, Mark::place);
    let out = marks.len() - max;
    marks.truncate(max);
    out
}
