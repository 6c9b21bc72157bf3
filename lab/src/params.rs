//! Parameters of a scenario: each is drawn from the seed, and each can be given instead.
//!
//! A value is drawn even when another one was given, so giving one parameter does not move the others.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use ipnet::Ipv4Net;

use crate::LabError;

/// A lab that nobody ends goes away after this long: a forgotten one must not load the machine for a day.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 60);

/// What the caller asks of a lab: the seed and the parameters that the seed shall not decide.
#[derive(Debug, Clone)]
pub struct Params {
    /// Everything that was not given is drawn from this.
    pub seed: u64,
    /// Parameters given by name.
    pub given: BTreeMap<String, String>,
    /// The lab ends itself after this long.
    pub lifetime: Duration,
}

impl Default for Params {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Params {
    /// All parameters drawn from `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed, given: BTreeMap::new(), lifetime: LIFETIME_DEFAULT }
    }

    /// The same with one parameter given.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.given.insert(name.to_owned(), value.to_string());
        self
    }

    /// The same with another lifetime.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}

/// The draw of one lab's parameters. It remembers what was used, and so which names exist.
pub(crate) struct Draw {
    rng: fastrand::Rng,
    given: BTreeMap<String, String>,
    used: BTreeMap<String, String>,
}

impl Draw {
    pub(crate) fn new(params: &Params) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(params.seed),
            given: params.given.clone(),
            used: BTreeMap::new(),
        }
    }

    /// The generator, for what is drawn in bulk and is no parameter of its own.
    pub(crate) fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    pub(crate) fn number(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<u64, LabError> {
        let drawn = self.rng.u64(range);
        self.settle(name, drawn)
    }

    pub(crate) fn address(&mut self, name: &str, drawn: Ipv4Addr) -> Result<Ipv4Addr, LabError> {
        self.settle(name, drawn)
    }

    pub(crate) fn prefix(&mut self, name: &str, drawn: Ipv4Net) -> Result<Ipv4Net, LabError> {
        self.settle(name, drawn)
    }

    pub(crate) fn text(&mut self, name: &str, drawn: &str) -> Result<String, LabError> {
        self.settle(name, drawn.to_owned())
    }

    /// A list, given as `a,b,c`.
    pub(crate) fn prefixes(&mut self, name: &str, drawn: &[Ipv4Net]) -> Result<Vec<Ipv4Net>, LabError> {
        let drawn = drawn.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let text: String = self.settle(name, drawn)?;
        text.split(',').map(|part| parse(name, part.trim())).collect()
    }

    /// The parameters as they stand; an error if one was given that no one asked for.
    pub(crate) fn finish(self) -> Result<BTreeMap<String, String>, LabError> {
        let unknown = self.given.keys().find(|name| !self.used.contains_key(*name));
        if let Some(name) = unknown {
            let known = self.used.keys().map(|known| format!("--{known}")).collect::<Vec<_>>().join(" ");
            return Err(LabError::Usage(format!("unknown parameter --{name}; this scenario has {known}")));
        }
        Ok(self.used)
    }

    fn settle<T>(&mut self, name: &str, drawn: T) -> Result<T, LabError>
    where
        T: FromStr + Display,
        T::Err: Display,
    {
        let value = match self.given.get(name) {
            Some(text) => parse(name, text)?,
            None => drawn,
        };
        self.used.insert(name.to_owned(), value.to_string());
        Ok(value)
    }
}

fn parse<T>(name: &str, text: &str) -> Result<T, LabError>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse().map_err(|why| LabError::Usage(format!("--{name} {text}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_parameter_does_not_move_the_others() {
        let mut free = Draw::new(&Params::new(7));
        let mut bound = Draw::new(&Params::new(7).with("a", 3));
        assert_ne!(free.number("a", 10..=90).unwrap(), 3);
        assert_eq!(bound.number("a", 10..=90).unwrap(), 3);
        assert_eq!(free.number("b", 1..=1_000_000).unwrap(), bound.number("b", 1..=1_000_000).unwrap());
    }

    #[test]
    fn an_unknown_parameter_is_an_error_that_names_the_known_ones() {
        let mut draw = Draw::new(&Params::new(7).with("wrokers", 3));
        draw.number("workers", 1..=2).unwrap();
        let said = draw.finish().unwrap_err().to_string();
        assert_eq!(said, "unknown parameter --wrokers; this scenario has --workers");
    }
}
