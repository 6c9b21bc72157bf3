//! The rules: who is blamed for what, once it is known what all did.
//!
//! Numbers are fixed here, and not what is usual, since a log alone may hold nothing that is usual. Each has its reason,
//! and lies well above what people and their programs do by mistake: the rules are made to miss rather than to name an
//! innocent.
//!
//! First everybody is judged alone, then those of one network together, then all who guess at the same accounts. Who
//! was named is left out of what follows.

use std::collections::{BTreeMap, BTreeSet};

use super::deeds::{Accounts, Deed, ONE, UNSAID, Way, What};
use super::story::{Steps, Story, WINDOW_S};
use crate::census::{Bits, address};
use crate::tables::HashMap;

/// What one is blamed for: the cause, and the deeds that count.
pub(super) type Cause = (&'static str, &'static [Deed]);

/// Wrong passwords within ten minutes: nobody types so many, and two in a minute no program tries that has a wrong one.
const GUESSES_MIN: u32 = 10;
const PROGRAM_GUESSES_MIN: u32 = 20;
/// Guesses within ten minutes, or at any time, at different accounts: nobody has forgotten three names.
const NAMES_MIN: usize = 3;
const NAMED_GUESSES_MIN: u32 = 5;
const SLOW_GUESSES_MIN: u32 = 10;
/// Forms that were filled in wrongly, by one who does little else and was never let in.
const SLOW_FORMS_MIN: u32 = 30;
/// So many failures are forgiven to who logs in, or three for each account, and so many of one account.
const FORGIVEN: u32 = 20;
const FORGIVEN_EACH: u32 = 3;
/// Procedures called within ten minutes: an app that is opened calls some twenty. Beyond one a second it is a flood.
const CALLS_MIN: u32 = 40;
const CALLS_FLOOD_MIN: u32 = 60;
/// Requests for other hosts: a proxy's word is no mistake, and whole addresses of two hosts are none.
const RELAYS_MIN: u32 = 3;
const HOSTS_MIN: usize = 2;
/// Mails for elsewhere within ten minutes: a program that forgot its password tries some, for one or two people.
const MAILS_MIN: u32 = 10;
const MAILS_TO_SEVERAL_MIN: u32 = 5;
/// Known weaknesses asked for: one link may be wrong, not five.
const WEAKNESSES_MIN: usize = 5;
/// Pages that are not there, within ten minutes, of one who finds nearly none; with a known weakness fewer will do.
const MISSES_MIN: usize = 50;
const MISSES_BESIDE_MIN: usize = 20;
/// Connections that came to nothing, or spoke another protocol, within ten minutes, and at any time.
const PROBES_MIN: u32 = 8;
const SLOW_PROBES_MIN: u32 = 20;
/// Mailboxes that are not there, within ten minutes: lists of subscribers have a few.
const MAILBOXES_MIN: u32 = 20;
/// What a client is blamed for is at least this part of what it asks for, in hundredths. Behind an address with more
/// than that beside it there are many people.
const PART_MIN: u32 = 10;
/// Clients of one network that are judged together.
const NEIGHBOURS_MIN: usize = 4;
const NEIGHBOURS_V6_MIN: usize = 2;
/// Clients with some guesses each, in different /16 (IPv6: /32), at accounts that so many guess at. A phone with a wrong
/// password has many addresses, of few networks.
const SPREAD_MIN: usize = 20;
const SPREAD_NETWORKS_MIN: usize = 8;
const ACCOUNT_CLIENTS_MIN: u32 = 8;
/// The same at a form, which does not say the account: and so many for each who was let in.
const SPREAD_FORMS_MIN: usize = 50;
const SPREAD_FORMS_EACH: usize = 4;

/// Whether few guesses at several accounts are enough.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bar {
    Usual,
    Low,
}

/// One kind of blame.
struct Rule {
    judge: fn(&Story, Bar, &Prey) -> Option<Cause>,
    /// Whether one with a few such deeds may belong with others of its network.
    may_belong: fn(&Story, &Prey) -> bool,
    /// Whether it is also done from everywhere.
    spreads: bool,
}

const RULES: [Rule; 4] = [
    Rule { judge: guesses, may_belong: guesses_without_business, spreads: true },
    Rule { judge: calls, may_belong: |story, _| story.is_mostly(Deed::Call), spreads: false },
    Rule { judge: relays, may_belong: |story, _| story.times(Deed::Relay) > 0, spreads: false },
    Rule {
        judge: probes,
        may_belong: |story, _| story.is_web() && story.times(Deed::Probe) > 0,
        spreads: false,
    },
];

/// Accounts of a service that many guess at.
#[derive(Default)]
struct Prey {
    clients: HashMap<What, u32>,
    /// Accounts that somebody has.
    live: Accounts,
}

impl Prey {
    fn of(stories: &[Story]) -> Prey {
        let mut prey = Prey::default();
        for story in stories {
            prey.live.merge(story.own);
            if story.logins == 0 {
                let accounts: BTreeSet<What> =
                    story.marks(Deed::Guess).iter().map(|mark| mark.what).collect();
                for account in accounts.into_iter().filter(|account| *account != UNSAID) {
                    *prey.clients.entry(account).or_default() += 1;
                }
            }
        }
        prey
    }

    fn has(&self, account: What) -> bool {
        self.clients.get(&account).is_some_and(|clients| *clients >= ACCOUNT_CLIENTS_MIN)
    }
}

/// Who is blamed among those who did something to a service.
pub(super) fn judge(stories: &[Story]) -> Vec<(Story, Cause)> {
    let prey = Prey::of(stories);
    let mut blamed: Vec<(Story, Cause)> = Vec::new();
    for rule in &RULES {
        let mut left: Vec<&Story> = stories.iter().collect();
        let mut alone = |left: &mut Vec<&Story>, bar| {
            left.retain(|story| match (rule.judge)(story, bar, &prey) {
                Some(cause) => {
                    blamed.push(((*story).clone(), cause));
                    false
                }
                None => true,
            });
        };
        alone(&mut left, Bar::Usual);
        let mut together = neighbours(&mut left, rule, &prey);
        if rule.spreads {
            together.extend(everywhere(&mut left, stories, &prey));
        }
        alone(&mut left, Bar::Low);
        blamed.extend(together);
    }
    blamed
}

/// Those who together did what one of them is not blamed for, by network.
fn neighbours(left: &mut Vec<&Story>, rule: &Rule, prey: &Prey) -> Vec<(Story, Cause)> {
    let mut networks: BTreeMap<_, Vec<&Story>> = BTreeMap::new();
    for story in left.iter().filter(|story| story.logins == 0 && (rule.may_belong)(story, prey)) {
        networks.entry(story.network()).or_default().push(story);
    }
    let mut found = Vec::new();
    for (network, stories) in networks {
        let is_v6 = network.is_some_and(|network| network.addr().is_ipv6());
        if stories.len() < if is_v6 { NEIGHBOURS_V6_MIN } else { NEIGHBOURS_MIN } {
            continue;
        }
        let Some(story) = Story::together(stories) else { continue };
        if let Some((cause, deeds)) = (rule.judge)(&story, Bar::Usual, prey) {
            left.retain(|other| !story.clients.contains(&other.clients[0]));
            let cause = if cause == "credential-attack" { "distributed-credential-attack" } else { cause };
            found.push((story, (cause, deeds)));
        }
    }
    found
}

/// Those who guess a little each, from everywhere, at the same accounts.
fn everywhere(left: &mut Vec<&Story>, all: &[Story], prey: &Prey) -> Option<(Story, Cause)> {
    let guessers: Vec<&Story> = left.iter().copied().filter(|story| story.logins == 0).collect();
    let at_prey = |story: &&Story| {
        let marks = story.marks(Deed::Guess);
        // One wrong password for an account that somebody has is that somebody's mistake.
        let enough = |what| !prey.live.has(what) || marks.len() > 1;
        !marks.is_empty() && marks.iter().all(|mark| prey.has(mark.what) && enough(mark.what))
    };
    let at_forms = |story: &&Story| {
        let marks = story.marks(Deed::Guess);
        story.is_web()
            && marks.len() > 1
            && marks.iter().all(|mark| mark.what == UNSAID)
            && story.is_mostly(Deed::Guess)
    };
    let let_in = all.iter().filter(|story| story.logins > 0).count();
    let named: Vec<&Story> = guessers.iter().copied().filter(at_prey).collect();
    let unnamed: Vec<&Story> = guessers.iter().copied().filter(at_forms).collect();
    let crowd = if named.len() >= SPREAD_MIN {
        named
    } else if unnamed.len() >= SPREAD_FORMS_MIN.max(SPREAD_FORMS_EACH * let_in) {
        unnamed
    } else {
        return None;
    };
    let networks: BTreeSet<_> =
        crowd.iter().map(|story| toban_model::prefix_of(address(story.clients[0]), 16, 32)).collect();
    if networks.len() < SPREAD_NETWORKS_MIN {
        return None;
    }
    let story = Story::together(crowd)?;
    left.retain(|other| story.clients.binary_search(&other.clients[0]).is_err());
    Some((story, ("distributed-credential-attack", &[Deed::Guess])))
}

/// A few guesses by one who has no account here that anybody knows of.
fn guesses_without_business(story: &Story, prey: &Prey) -> bool {
    let marks = story.marks(Deed::Guess);
    let named = Steps::new(marks).things();
    named > 1
        || marks.iter().any(|mark| prey.has(mark.what))
        || named == 0 && marks.len() > 1 && story.is_mostly(Deed::Guess)
}

fn guesses(story: &Story, bar: Bar, prey: &Prey) -> Option<Cause> {
    const BLAME: Option<Cause> = Some(("credential-attack", &[Deed::Guess]));
    let times = story.times(Deed::Guess);
    if times == 0 || !story.is_part(times, PART_MIN) {
        return None;
    }
    let marks = story.marks(Deed::Guess);
    let steps = Steps::new(marks.iter().filter(|mark| !is_forgiven(story, mark.what)));
    let names = steps.things();
    if story.logins > 0 {
        let own = if names > 0 { story.own.count() } else { story.logins };
        let strange = if names > 0 { steps.total() } else { times };
        if strange < FORGIVEN.max(own.saturating_mul(FORGIVEN_EACH)) {
            return None;
        }
    }
    let quick = steps.most(WINDOW_S);
    let several = names >= NAMES_MIN
        && match story.way {
            // Of those who did right a log of complaints says nothing: behind an address there may be many people.
            Way::Errors => quick >= GUESSES_MIN,
            _ if bar == Bar::Low => quick >= NAMED_GUESSES_MIN,
            _ => quick >= GUESSES_MIN || steps.total() >= SLOW_GUESSES_MIN,
        };
    // Guesses at one account that nobody has and many guess at.
    let hunts = names > 0
        && steps.total() >= PROGRAM_GUESSES_MIN
        && marks.iter().all(|mark| prey.has(mark.what) && !prey.live.has(mark.what));
    let forms = names == 0 && story.is_web() && times >= SLOW_FORMS_MIN && story.is_mostly(Deed::Guess);
    // Of a program's interface it is not known whether it was one account.
    let typed = marks.iter().any(|mark| mark.what != ONE);
    let one = forms
        || typed && quick >= PROGRAM_GUESSES_MIN
        || (quick >= GUESSES_MIN || hunts) && !steps.are_by_the_clock();
    if several || one { BLAME } else { None }
}

/// A wrong password for one's own account.
fn is_forgiven(story: &Story, account: What) -> bool {
    story.own.has(account)
        && story.marks(Deed::Guess).iter().filter(|mark| mark.what == account).count() <= FORGIVEN as usize
}

fn calls(story: &Story, _: Bar, _: &Prey) -> Option<Cause> {
    let steps = story.steps(&[Deed::Call]);
    if steps.most(WINDOW_S) < CALLS_MIN || !story.is_part(story.times(Deed::Call), PART_MIN) {
        return None;
    }
    let cause = if steps.most(60) >= CALLS_FLOOD_MIN { "http-flood" } else { "credential-attack" };
    Some((cause, &[Deed::Call]))
}

fn relays(story: &Story, _: Bar, _: &Prey) -> Option<Cause> {
    const DEEDS: &[Deed] = &[Deed::Relay];
    let (times, marks) = (story.times(Deed::Relay), story.marks(Deed::Relay));
    if times == 0 || !story.is_part(times, PART_MIN) {
        return None;
    }
    let steps = Steps::new(marks);
    if story.is_web() {
        let connects = marks.iter().any(|mark| mark.what == ONE);
        let is_blamed = times >= RELAYS_MIN && (connects || steps.things() >= HOSTS_MIN);
        return is_blamed.then_some(("open-proxy-abuse", DEEDS));
    }
    let quick = steps.most(WINDOW_S);
    let several = quick >= MAILS_TO_SEVERAL_MIN && steps.things() >= NAMES_MIN;
    let many = (quick >= MAILS_MIN || times >= SLOW_PROBES_MIN) && !steps.are_by_the_clock();
    (several || many).then_some(("scanner", DEEDS))
}

fn probes(story: &Story, _: Bar, _: &Prey) -> Option<Cause> {
    const DEEDS: &[Deed] = &[Deed::Probe, Deed::Garbage];
    const WITH_MISSES: &[Deed] = &[Deed::Probe, Deed::Garbage, Deed::Miss];
    let probes = story.times(Deed::Probe);
    let garbage = story.steps(&[Deed::Garbage]);
    let is_garbage = |steps: &Steps| {
        (steps.most(WINDOW_S) >= PROBES_MIN || steps.total() >= SLOW_PROBES_MIN) && !steps.are_by_the_clock()
    };
    if story.way == Way::Logins {
        let mailboxes = Steps::new(story.marks(Deed::Probe).iter().filter(|mark| mark.what != UNSAID));
        let nothing = story.marks(Deed::Probe).iter().filter(|mark| mark.what == UNSAID);
        let knocks = Steps::new(nothing.chain(story.marks(Deed::Garbage)));
        return (is_garbage(&knocks) || mailboxes.most(WINDOW_S) >= MAILBOXES_MIN)
            .then_some(("scanner", DEEDS));
    }
    let misses = story.times(Deed::Miss);
    let all = probes + garbage.total() + misses;
    if probes + garbage.total() > 0 && story.is_part(all, PART_MIN) {
        let weaknesses = story.steps(&[Deed::Probe]).things();
        let beside = || {
            weaknesses > 0
                && story.is_part(all, 50)
                && story.steps(&[Deed::Miss]).things() >= MISSES_BESIDE_MIN
        };
        if weaknesses >= WEAKNESSES_MIN || beside() {
            return Some(("scanner", WITH_MISSES));
        }
        if is_garbage(&garbage) {
            return Some(("scanner", DEEDS));
        }
    }
    let missed = story.steps(&[Deed::Miss]);
    let many = missed.most(WINDOW_S) as usize >= MISSES_MIN && missed.things() >= MISSES_MIN;
    (many && story.is_part(misses, 80)).then_some(("scanner", WITH_MISSES))
}

/// The clients of a verdict, in order.
pub(super) fn clients(story: &Story) -> impl Iterator<Item = std::net::IpAddr> {
    story.clients.iter().map(|bits: &Bits| address(*bits))
}
