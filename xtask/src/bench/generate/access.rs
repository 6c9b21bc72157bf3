//! A day of a web server: Apache's `combined` format with `%D`, a crowd that comes and goes with the hours, and attacks.

use std::io::Write as _;
use std::net::IpAddr;

use jiff::civil::Date;

use super::actors::Plan;
use super::clients;
use super::random::{Random, Weighted};
use super::site::{Asked, Site};
use super::{DAY_S, Generate, Line, Request, clock};

/// A large log has so many clients, of whom the k-th busiest comes 1/k as often as the busiest.
const CLIENTS_MAX: u64 = 200_000;
/// A smaller one has one for so many lines.
const LINES_PER_CLIENT: u64 = 25;

/// One day.
pub(crate) struct Access {
    seed: u64,
    lines: u64,
    day: Date,
}

impl Access {
    pub(crate) fn new(seed: u64, lines: u64, day: Date) -> Self {
        Self { seed, lines, day }
    }

    /// How many lines there are by the end of each second, of `lines` in the day: fewest at four, most at sixteen.
    fn rhythm(lines: u64) -> impl Iterator<Item = u64> {
        let weight = |second: u32| {
            let hour = f64::from(second) / 3600.0;
            1.0 - 0.7 * ((hour - 4.0) / 24.0 * std::f64::consts::TAU).cos()
        };
        let all: f64 = (0..DAY_S).map(weight).sum();
        (0..DAY_S).scan(0.0, move |sum, second| {
            *sum += weight(second);
            Some(if second + 1 == DAY_S { lines } else { (*sum / all * lines as f64) as u64 })
        })
    }
}

impl Generate for Access {
    fn each(&self, show: &mut dyn FnMut(&Line<'_>)) {
        // The usual clients are the same on all days of a seed; what they and others do is not.
        let mut random = Random::new(self.seed, 10);
        let count = (self.lines / LINES_PER_CLIENT).clamp(200, CLIENTS_MAX) as usize;
        let mut usual = clients::usual(&mut random, count);
        let site = Site::new();
        let agents: Vec<u16> = usual.iter().map(|_| site.pick_agent(&mut random)).collect();
        let mut random = Random::new(self.seed, 1_000 + u64::from(self.day.day_of_year().unsigned_abs()));
        let plan = Plan::new(&mut random, self.lines, &usual, &self.victims());
        // Two usual clients live beside the attackers.
        for (nth, attacker) in plan.actors.iter().filter(|actor| actor.address.is_ipv4()).take(2).enumerate()
        {
            if let IpAddr::V4(address) = attacker.address {
                let [a, b, c, _] = address.octets();
                usual[count / 40 + nth] = clients::neighbour([a, b, c], nth);
            }
        }
        let names: Vec<String> = usual.iter().map(IpAddr::to_string).collect();
        let busy = Weighted::zipf(count, 1.0);

        let day = self.day.strftime("%d/%b/%Y").to_string();
        let mut steps = plan.steps.iter().peekable();
        let crowd = self.lines.saturating_sub(plan.steps.len() as u64);
        let (mut before, mut raw, mut text) = (0, String::new(), Vec::new());
        for (second, until) in (0..).zip(Self::rhythm(crowd)) {
            let mut visits = until - before;
            before = until;
            loop {
                let acts = steps.peek().is_some_and(|(at, ..)| *at <= second);
                if acts && (visits == 0 || random.chance(0.3)) {
                    let Some(&(_, who, step)) = steps.next() else { break };
                    let actor = &plan.actors[who as usize];
                    let asked = plan.act(&mut random, actor, step, &mut raw);
                    let who = (actor.address, &*actor.address.to_string());
                    write(&mut text, show, &day, second, who, &asked, &raw);
                } else if visits > 0 {
                    visits -= 1;
                    let client = busy.pick(&mut random);
                    let asked = site.visit(&mut random, agents[client], &mut raw);
                    write(&mut text, show, &day, second, (usual[client], &names[client]), &asked, &raw);
                } else {
                    break;
                }
            }
        }
    }

    fn victims(&self) -> Vec<IpAddr> {
        clients::victims(&mut Random::new(self.seed, 11))
    }
}

/// One line, of a request that ended in this second.
fn write(
    text: &mut Vec<u8>,
    show: &mut dyn FnMut(&Line<'_>),
    day: &str,
    second: u32,
    (client, name): (IpAddr, &str),
    asked: &Asked<'_>,
    raw: &str,
) {
    let Asked { user, method, path, status, bytes, referer, agent, duration_us, offence } = *asked;
    // The stamp is when it began, which was on this day.
    let duration_us = duration_us.min(second.saturating_mul(1_000_000) | 0xf_ffff);
    let began = second - (duration_us / 1_000_000).min(second);
    let time = clock(began);
    text.clear();
    // Writing to memory does not fail.
    let _ = write!(text, "{name} - {user} [{day}:{time} +0000] \"{raw}\" {status} ");
    let _ = match bytes {
        Some(bytes) => write!(text, "{bytes}"),
        None => write!(text, "-"),
    };
    let _ = write!(text, " \"{referer}\" \"{agent}\" {duration_us}");
    let request = Some(Request { method, path, agent, duration_us });
    show(&Line {
        text,
        client: Some(client),
        second: began,
        offence: offence.map(|offence| (offence, 1)),
        request,
    });
}
