//! An access log that is made to fill memory: every line has an address of its own and a path of its own.

use std::io::Write as _;
use std::net::IpAddr;

use super::clients::{scattered_four, scattered_six};
use super::random::Random;
use super::{DAY, DAY_S, Generate, Line, Request, clock};

const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Safari/537.36";

/// So many clients who all come once, for something that nobody else asks for.
pub(crate) struct Distinct {
    seed: u64,
    lines: u64,
}

impl Distinct {
    pub(crate) fn new(seed: u64, lines: u64) -> Self {
        Self { seed, lines }
    }
}

impl Generate for Distinct {
    fn each(&self, show: &mut dyn FnMut(&Line<'_>)) {
        let mut random = Random::new(self.seed, 30);
        let (key, secret, mut text) = (random.bits(), random.bits() | 1, Vec::new());
        let day = DAY.strftime("%d/%b/%Y");
        for nth in 0..self.lines {
            let second = (u128::from(nth) * u128::from(DAY_S) / u128::from(self.lines)) as u32;
            let client =
                if random.chance(0.5) { scattered_six(nth, key) } else { scattered_four(nth as u32, key) };
            let path = (nth + 1).wrapping_mul(secret);
            let duration_us = random.log_normal(40_000.0, 0.8) as u32;
            text.clear();
            // Writing to memory does not fail.
            let _ = write!(
                text,
                "{client} - - [{day}:{} +0000] \"GET /{path:016x} HTTP/1.1\" 200 {} \"-\" \"{AGENT}\" {duration_us}",
                clock(second),
                200 + random.below(9_000),
            );
            let request = Request { method: "GET", path: "", agent: AGENT, duration_us };
            show(&Line { text: &text, client: Some(client), second, offence: None, request: Some(request) });
        }
    }

    fn victims(&self) -> Vec<IpAddr> {
        Vec::new()
    }
}
