//! *Story*: what a client, or several together, did to a service, in order. The rules are told in its words.

use std::collections::BTreeSet;

use toban_model::Prefix;

use super::deeds::{Accounts, Deed, Deeds, Door, Mark, Marks, ONE, Sum, UNSAID, Way, What, Who};
use crate::census::{Bits, address};

/// What is done within this time is one go at something.
pub(super) const WINDOW_S: u32 = 600;
/// Steps so close together are one visit.
const VISIT_S: u32 = 5;
/// So many gaps between visits tell whether they come by the clock.
const GAPS_MIN: usize = 8;
/// What goes on for so long, often, and hardly more in one ten minutes than in the others, goes by the clock as well.
const EVEN_S: u32 = 3600;
const EVEN_MIN: f64 = 5.0;

/// What some clients did to a service.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) clients: Vec<Bits>,
    pub(super) service: u8,
    pub(super) way: Way,
    /// Requests of all kinds.
    pub(super) asked: u32,
    pub(super) logins: u32,
    /// The accounts that they have.
    pub(super) own: Accounts,
    sums: [Sum; Deed::ALL.len()],
    /// The first lines of each deed, in order.
    marks: [Vec<Mark>; Deed::ALL.len()],
}

impl Story {
    pub(super) fn new(who: Who, deeds: &Deeds, way: Way, asked: u32, marks: &Marks) -> Story {
        let done = |deed: Deed| deeds.sums[deed as usize].lines > 0;
        Story {
            clients: vec![who.client],
            service: who.service,
            way,
            asked,
            logins: deeds.logins,
            own: deeds.own,
            sums: deeds.sums,
            marks: Deed::ALL.map(|deed| if done(deed) { marks.of(who, deed) } else { Vec::new() }),
        }
    }

    /// Accounts that it has at whatever service.
    pub(super) fn know(&mut self, own: Accounts) {
        self.own.merge(own);
        self.logins = self.logins.max(own.count().min(1));
    }

    /// What several did together.
    pub(super) fn together<'s>(stories: impl IntoIterator<Item = &'s Story>) -> Option<Story> {
        let mut stories = stories.into_iter();
        let mut all = stories.next()?.clone();
        for story in stories {
            all.clients.extend(&story.clients);
            all.asked = all.asked.saturating_add(story.asked);
            all.logins = all.logins.saturating_add(story.logins);
            for deed in Deed::ALL {
                all.sums[deed as usize].add(&story.sums[deed as usize]);
                all.marks[deed as usize].extend(&story.marks[deed as usize]);
            }
        }
        all.clients.sort_unstable();
        all.marks.iter_mut().for_each(|marks| marks.sort_unstable_by_key(Mark::place));
        Some(all)
    }

    pub(super) fn is_web(&self) -> bool {
        self.way == Way::Requests
    }

    pub(super) fn sum(&self, deed: Deed) -> &Sum {
        &self.sums[deed as usize]
    }

    pub(super) fn times(&self, deed: Deed) -> u32 {
        self.sums[deed as usize].times
    }

    pub(super) fn marks(&self, deed: Deed) -> &[Mark] {
        &self.marks[deed as usize]
    }

    /// These deeds in the order of their times.
    pub(super) fn steps(&self, deeds: &[Deed]) -> Steps {
        Steps::new(deeds.iter().flat_map(|deed| self.marks(*deed)))
    }

    /// What these deeds were about, as far as it is known.
    pub(super) fn whats(&self, deeds: &[Deed]) -> BTreeSet<What> {
        let marks = deeds.iter().flat_map(|deed| self.marks(*deed));
        marks.map(|mark| mark.what).filter(|what| *what != UNSAID).collect()
    }

    /// Whether so many of a hundred of its requests are such.
    pub(super) fn is_part(&self, times: u32, percent: u32) -> bool {
        u64::from(times) * 100 >= u64::from(self.asked) * u64::from(percent)
    }

    /// Whether it asks for little else.
    pub(super) fn is_mostly(&self, deed: Deed) -> bool {
        self.times(deed) > 0 && self.is_part(self.times(deed), 50)
    }

    /// The accounts that it guessed at, as far as it is known.
    pub(super) fn accounts(&self) -> BTreeSet<What> {
        let mut accounts = self.whats(&[Deed::Guess]);
        accounts.remove(&ONE);
        accounts
    }

    /// Where it guessed first.
    pub(super) fn door(&self) -> Door {
        self.marks(Deed::Guess).first().map_or(0, |mark| mark.door)
    }

    /// Its own network, or the network of the first of several.
    pub(super) fn network(&self) -> Option<Prefix> {
        self.within(24, 64)
    }

    /// The network of its provider, or a part of it.
    pub(super) fn wide_network(&self) -> Option<Prefix> {
        self.within(16, 32)
    }

    /// How many networks several of them are of.
    pub(super) fn networks(&self) -> usize {
        let networks = self.clients.iter().map(|client| toban_model::prefix_of(address(*client), 24, 64));
        networks.collect::<BTreeSet<_>>().len()
    }

    fn within(&self, v4: u8, v6: u8) -> Option<Prefix> {
        Some(toban_model::prefix_of(address(*self.clients.first()?), v4, v6))
    }
}

/// Some deeds in the order of their times.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps(Vec<Mark>);

impl Steps {
    pub(super) fn new<'m>(marks: impl IntoIterator<Item = &'m Mark>) -> Steps {
        let mut steps: Vec<Mark> = marks.into_iter().copied().collect();
        steps.sort_by_key(|mark| mark.at);
        Steps(steps)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn total(&self) -> u32 {
        self.0.iter().map(|step| u32::from(step.times)).sum()
    }

    /// The most in so many seconds.
    pub(super) fn most(&self, within_s: u32) -> u32 {
        let (mut from, mut sum, mut most) = (0, 0, 0);
        for step in &self.0 {
            sum += u32::from(step.times);
            while step.at - self.0[from].at >= within_s {
                sum -= u32::from(self.0[from].times);
                from += 1;
            }
            most = most.max(sum);
        }
        most
    }

    /// How many different things they were about.
    pub(super) fn things(&self) -> usize {
        let mut all: Vec<What> = self.0.iter().map(|step| step.what).filter(|what| *what != UNSAID).collect();
        all.sort_unstable();
        all.dedup();
        all.len()
    }

    /// A machine that does one thing again and again, every so often or evenly for hours: a monitor, a job with a
    /// password that was changed. Nobody who looks for a way in tries one door by the clock.
    pub(super) fn are_by_the_clock(&self) -> bool {
        if self.things() > 1 {
            return false;
        }
        let mut gaps: Vec<u32> = self.0.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
        gaps.retain(|gap| *gap >= VISIT_S);
        if gaps.len() >= GAPS_MIN {
            gaps.sort_unstable();
            let median = gaps[gaps.len() / 2];
            let near = gaps.iter().filter(|gap| gap.abs_diff(median) <= (median / 10).max(1)).count();
            if near * 5 >= gaps.len() * 4 {
                return true;
            }
        }
        let span = self.0.last().map_or(0, |last| last.at - self.0[0].at);
        let mean = f64::from(self.total()) * f64::from(WINDOW_S) / f64::from(span.max(1));
        span >= EVEN_S && mean >= EVEN_MIN && f64::from(self.most(WINDOW_S)) <= mean * 1.25 + 2.0
    }
}
