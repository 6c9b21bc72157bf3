//! The rules: who is blamed for what, once it is known what all did.
//!
//! Numbers are fixed here, and not what is usual, since a log alone may hold nothing that is usual. Each has its reason,
//! and lies well above what people and their programs do by mistake: the rules are made to miss rather than to name an
//! innocent.
//!
//! First everybody is judged alone, then those of one network together, then all who guess at the same accounts. Who
//! was named is left out of what follows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use toban_model::{Prefix, prefix_of};

use super::deeds::{Deed, Door, Live, ONE, UNSAID, Way, What};
use super::story::{Steps, Story, WINDOW_S};
use crate::census::{Bits, address};
use crate::tables::HashMap;

/// What one is blamed for: the cause, and the deeds that count.
pub(super) type Cause = (&'static str, &'static [Deed]);

/// Wrong passwords within ten minutes: nobody types so many, of which sshd tells some twice, and two in a minute no
/// program tries that has a wrong one.
const GUESSES_MIN: u32 = 12;
const PROGRAM_GUESSES_MIN: u32 = 20;
/// Guesses within ten minutes, or at any time, at different accounts: nobody has forgotten three names.
const NAMES_MIN: usize = 3;
const NAMED_GUESSES_MIN: u32 = 5;
const SLOW_GUESSES_MIN: u32 = 10;
/// Forms that were filled in wrongly, by one who does little else and was never let in.
const SLOW_FORMS_MIN: u32 = 30;
/// Fewer failures than this are forgiven to who logs in, or three for each account that does; fewer than
/// [`GUESSES_MIN`] if they were for several others.
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
/// Who guesses a little each, from so many different /16 (IPv6: /32). A phone with a wrong password has many addresses,
/// of few networks.
const SPREAD_MIN: usize = 20;
const SPREAD_NETWORKS_MIN: usize = 8;
/// Or within ten minutes from so many different /24 (IPv6: /64), of however few providers: no phone moves so fast.
const AT_ONCE_NETWORKS_MIN: usize = 40;
/// An account that so many clients guess at; and one that nobody has and that is guessed at from so many networks is on
/// a list: people slip, but not alike.
const SHARED_MIN: usize = 8;
const LISTED_NETWORKS_MIN: usize = 3;
/// The same where the account is not said: so many who do hardly anything else, and more than failed as they did but were
/// let in. Of those who have forgotten their password some give up, but most do not.
const SPREAD_UNSAID_MIN: usize = 50;
const SPREAD_UNSAID_PART: u32 = 75;

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

/// The accounts of a service that those guess at who were never let in.
struct Prey<'a> {
    /// By how many clients, and from how many networks.
    guessed: HashMap<What, (usize, usize)>,
    /// Those that are guessed at from everywhere at once.
    at_once: BTreeSet<What>,
    live: &'a Live,
}

impl<'a> Prey<'a> {
    fn of<'s>(stories: impl IntoIterator<Item = &'s Story>, live: &'a Live) -> Prey<'a> {
        let mut by_account: HashMap<What, Vec<&Story>> = HashMap::default();
        for story in stories.into_iter().filter(|story| story.logins == 0) {
            for account in story.accounts() {
                by_account.entry(account).or_default().push(story);
            }
        }
        let count = |(account, crowd): (&What, &Vec<&Story>)| {
            let networks: BTreeSet<_> = crowd.iter().map(|story| story.wide_network()).collect();
            (*account, (crowd.len(), networks.len()))
        };
        let guessed = by_account.iter().map(count).collect();
        let at_once = by_account.iter().filter(|(_, crowd)| come_at_once(crowd));
        Prey { guessed, at_once: at_once.map(|(account, _)| *account).collect(), live }
    }

    fn networks(&self, account: What) -> usize {
        self.guessed.get(&account).map_or(0, |(_, networks)| *networks)
    }

    /// Many guess at it.
    fn is_shared(&self, account: What) -> bool {
        self.guessed.get(&account).is_some_and(|(clients, _)| *clients >= SHARED_MIN)
    }

    /// It is guessed at from everywhere.
    fn is_hunted(&self, account: What) -> bool {
        self.networks(account) >= SPREAD_NETWORKS_MIN || self.at_once.contains(&account)
    }

    /// Nobody has it, and yet it is guessed at from several places.
    fn is_listed(&self, account: What) -> bool {
        !self.live.has(account) && self.networks(account) >= LISTED_NETWORKS_MIN
    }
}

/// Whether they guess for the first time within ten minutes, from many networks.
fn come_at_once(crowd: &[&Story]) -> bool {
    if crowd.len() < AT_ONCE_NETWORKS_MIN {
        return false;
    }
    let first =
        |story: &&Story| Some((story.marks(Deed::Guess).iter().map(|mark| mark.at).min()?, story.network()));
    let mut firsts: Vec<_> = crowd.iter().filter_map(first).collect();
    firsts.sort_unstable_by_key(|(at, _)| *at);
    let (mut from, mut inside, mut most) = (0, HashMap::<Option<Prefix>, usize>::default(), 0);
    for (at, network) in &firsts {
        *inside.entry(*network).or_default() += 1;
        while at - firsts[from].0 >= WINDOW_S {
            let left = inside.entry(firsts[from].1).or_default();
            *left -= 1;
            if *left == 0 {
                inside.remove(&firsts[from].1);
            }
            from += 1;
        }
        most = most.max(inside.len());
    }
    most >= AT_ONCE_NETWORKS_MIN
}

/// Who is blamed among those who did something to a service.
pub(super) fn judge(stories: &[Story], live: &Live) -> Vec<(Story, Cause)> {
    let prey = Prey::of(stories, live);
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
            together.extend(everywhere(&mut left, stories, live));
        }
        alone(&mut left, Bar::Low);
        blamed.extend(together);
    }
    blamed
}

/// Those who together did what one of them is not blamed for, by network.
fn neighbours(left: &mut Vec<&Story>, rule: &Rule, prey: &Prey) -> Vec<(Story, Cause)> {
    let mut networks: BTreeMap<_, Vec<&Story>> = BTreeMap::new();
    for story in left.iter().filter(|story| story.logins == 0) {
        networks.entry(story.network()).or_default().push(story);
    }
    let mut found = Vec::new();
    for (network, stories) in networks {
        let is_v6 = network.is_some_and(|network| network.addr().is_ipv6());
        let several = if is_v6 { NEIGHBOURS_V6_MIN } else { NEIGHBOURS_MIN };
        let sure: Vec<&Story> =
            stories.iter().copied().filter(|story| (rule.may_belong)(story, prey)).collect();
        let Some(together) = Story::together(sure.iter().copied()).filter(|_| sure.len() >= several) else {
            continue;
        };
        let Some((cause, deeds)) = (rule.judge)(&together, Bar::Usual, prey) else { continue };
        // And who did nothing but what these did.
        let tried = together.whats(deeds);
        let same = |story: &&Story| {
            let whats = story.whats(deeds);
            (rule.may_belong)(story, prey) || !whats.is_empty() && whats.is_subset(&tried)
        };
        let Some(story) = Story::together(stories.into_iter().filter(same)) else { continue };
        left.retain(|other| story.clients.binary_search(&other.clients[0]).is_err());
        let cause = if cause == "credential-attack" { "distributed-credential-attack" } else { cause };
        found.push((story, (cause, deeds)));
    }
    found
}

/// Those who guess a little each, from everywhere: at the same accounts, or where it is not said at which.
fn everywhere(left: &mut Vec<&Story>, all: &[Story], live: &Live) -> Vec<(Story, Cause)> {
    // Who was named already says nothing of those who are left.
    let prey = Prey::of(left.iter().copied(), live);
    let strangers = || left.iter().copied().filter(|story| story.logins == 0);
    let named: Vec<&Story> = strangers().filter(|story| guesses_as_many_do(story, &prey)).collect();
    let mut crowds = vec![(named, SPREAD_MIN)];
    // By where they guess.
    let mut unsaid: BTreeMap<Door, Vec<&Story>> = BTreeMap::new();
    for story in strangers().filter(|story| guesses_unsaid(story)) {
        unsaid.entry(story.door()).or_default().push(story);
    }
    unsaid.retain(|_, crowd| crowd.len() >= SPREAD_UNSAID_MIN);
    crowds.extend(unsaid.into_iter().map(|(door, crowd)| {
        let like_them = |story: &&Story| {
            let times = story.marks(Deed::Guess).iter().filter(|mark| mark.door == door).count();
            story.logins > 0 && (times > 1 || story.way == Way::Logins)
        };
        let let_in = all.iter().filter(like_them).count();
        (crowd, let_in + 1)
    }));
    let mut found = Vec::new();
    for (crowd, least) in crowds {
        let networks: BTreeSet<_> = crowd.iter().map(|story| story.wide_network()).collect();
        if crowd.len() < least || networks.len() < SPREAD_NETWORKS_MIN && !come_at_once(&crowd) {
            continue;
        }
        let Some(story) = Story::together(crowd) else { continue };
        left.retain(|other| story.clients.binary_search(&other.clients[0]).is_err());
        found.push((story, ("distributed-credential-attack", &[Deed::Guess][..])));
    }
    found
}

/// Who guesses so little of all that is guessed at a service does not stand out among many, in hundredths.
const CROWD_PART: u32 = 10;

/// The same, told for a live host: many who are blamed for guessing at one service, from everywhere, and of whom none stands
/// out, are one crowd.
pub(super) fn gathered(blamed: Vec<(Story, Cause)>) -> Vec<(Story, Cause)> {
    const DEEDS: &[Deed] = &[Deed::Guess];
    let guesses = |deeds: &[Deed]| deeds == DEEDS;
    let guessed = blamed.iter().filter(|(_, (_, deeds))| guesses(deeds));
    let all: u32 = guessed.map(|(story, _)| story.times(Deed::Guess)).sum();
    let is_one_of_many = |(story, (_, deeds)): &(Story, Cause)| {
        let times = u64::from(story.times(Deed::Guess));
        let little = times * 100 <= u64::from(all) * u64::from(CROWD_PART);
        guesses(deeds) && story.logins == 0 && (little || story.clients.len() >= SPREAD_MIN)
    };
    let (crowd, mut rest): (Vec<_>, Vec<_>) = blamed.into_iter().partition(is_one_of_many);
    let stories: Vec<&Story> = crowd.iter().map(|(story, _)| story).collect();
    let clients = || crowd.iter().flat_map(|(story, _)| self::clients(story));
    let networks: BTreeSet<_> = clients().map(|client| prefix_of(client, 16, 32)).collect();
    let many = clients().count() >= SPREAD_MIN;
    let everywhere = networks.len() >= SPREAD_NETWORKS_MIN
        || crowd.iter().any(|(story, _)| story.networks() >= AT_ONCE_NETWORKS_MIN)
        || come_at_once(&stories);
    if let Some(story) = Story::together(stories).filter(|_| many && everywhere) {
        rest.push((story, ("distributed-credential-attack", DEEDS)));
    } else {
        rest.extend(crowd);
    }
    // Of one network: that is one who has several addresses.
    for (story, (cause, deeds)) in &mut rest {
        if guesses(deeds) && story.networks() == 1 {
            *cause = "credential-attack";
        }
    }
    rest
}

/// Guesses at nothing but what many others guess at, and not as a machine does that has an old password.
fn guesses_as_many_do(story: &Story, prey: &Prey) -> bool {
    let (marks, accounts) = (story.marks(Deed::Guess), story.accounts());
    if marks.iter().any(|mark| mark.what <= ONE) || Steps::new(marks).are_by_the_clock() {
        return false;
    }
    // One wrong password for an account that somebody has is that somebody's mistake.
    let is_hunted =
        |account: &What| prey.is_hunted(*account) && (marks.len() > 1 || !prey.live.has(*account));
    let is_listed = |account: &What| accounts.len() > 1 && prey.is_listed(*account);
    !accounts.is_empty() && accounts.iter().all(|account| is_hunted(account) || is_listed(account))
}

/// Does little but guess, and it is not said at which account.
fn guesses_unsaid(story: &Story) -> bool {
    let marks = story.marks(Deed::Guess);
    story.way != Way::Errors
        && marks.len() > 1
        && marks.iter().all(|mark| mark.what <= ONE)
        && story.is_part(story.times(Deed::Guess), SPREAD_UNSAID_PART)
        && !Steps::new(marks).are_by_the_clock()
}

/// A few guesses by one who has no account here that anybody knows of.
fn guesses_without_business(story: &Story, prey: &Prey) -> bool {
    let (marks, accounts) = (story.marks(Deed::Guess), story.accounts());
    // The programs of a provider's customers may all fail at once.
    let at_forms = marks.iter().all(|mark| mark.what == UNSAID);
    accounts.len() > 1
        || accounts.iter().any(|account| prey.is_shared(*account))
        || at_forms && marks.len() > 1 && story.is_mostly(Deed::Guess)
}

fn guesses(story: &Story, bar: Bar, prey: &Prey) -> Option<Cause> {
    const BLAME: Option<Cause> = Some(("credential-attack", &[Deed::Guess]));
    let times = story.times(Deed::Guess);
    if times == 0 || !story.is_part(times, PART_MIN) {
        return None;
    }
    let marks = story.marks(Deed::Guess);
    let forgiven = forgiven(story, prey);
    let steps = Steps::new(marks.iter().filter(|mark| !forgiven.contains(&mark.what)));
    if steps.len() == 0 {
        return None;
    }
    let names = steps.things();
    if story.logins > 0 {
        let own = if names > 0 { story.own.count() } else { story.logins };
        let strange = if names > 0 { steps.total() } else { times };
        let least = if names >= NAMES_MIN { GUESSES_MIN } else { FORGIVEN };
        if strange < least.max(own.saturating_mul(FORGIVEN_EACH)) {
            return None;
        }
    }
    let quick = steps.most(WINDOW_S);
    // Of those who did right a log of complaints says nothing: behind an address there may be many people.
    let many = story.way == Way::Errors && names >= NAMES_MIN;
    let several = names >= NAMES_MIN
        && !many
        && (bar == Bar::Low && quick >= NAMED_GUESSES_MIN || steps.total() >= SLOW_GUESSES_MIN);
    // Guesses at one account that nobody has and many guess at.
    let hunts = names > 0
        && steps.total() >= PROGRAM_GUESSES_MIN
        && marks.iter().all(|mark| prey.is_hunted(mark.what) && !prey.live.has(mark.what));
    let forms = names == 0
        && forgiven.is_empty()
        && story.is_web()
        && times >= SLOW_FORMS_MIN
        && story.is_mostly(Deed::Guess);
    // Of a program's interface it is not known whether it was one account.
    let typed = marks.iter().any(|mark| mark.what != ONE);
    let one = forms
        || typed && quick >= PROGRAM_GUESSES_MIN
        || (quick >= GUESSES_MIN && !many || hunts) && !steps.are_by_the_clock();
    if several || one { BLAME } else { None }
}

/// The accounts whose wrong passwords are no guesses: one's own, unless it was only the last of those that were tried;
/// and one that somebody has, where a machine has its old password.
fn forgiven(story: &Story, prey: &Prey) -> BTreeSet<What> {
    let all = story.steps(&[Deed::Guess]);
    let found = story.own.count() == 1
        && all.things() >= NAMES_MIN
        && all.total() >= FORGIVEN
        && all.most(WINDOW_S) >= GUESSES_MIN;
    let is_forgiven = |account: &What| {
        let steps = Steps::new(story.marks(Deed::Guess).iter().filter(|mark| mark.what == *account));
        let own = story.own.has(*account) && steps.len() < FORGIVEN as usize;
        let old =
            prey.live.has(*account) && steps.most(WINDOW_S) < PROGRAM_GUESSES_MIN && steps.are_by_the_clock();
        own && !found || old
    };
    story.accounts().into_iter().filter(is_forgiven).collect()
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
        let harvest = story.steps(&[Deed::Probe]).most(WINDOW_S) >= MAILBOXES_MIN;
        return (is_garbage(&garbage) || harvest).then_some(("scanner", DEEDS));
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
pub(super) fn clients(story: &Story) -> impl Iterator<Item = IpAddr> {
    story.clients.iter().map(|bits: &Bits| address(*bits))
}
