//! What is really in a generated log: exact counts of everything that can be asked, and who attacked.
//!
//! It is counted from what the generator did, and never read from the text.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;

use super::generate::{Generate, Offence};

/// Who offends this often within [`WITHIN_S`] is plainly an attacker, and must be found. Twice what fail2ban bans for.
const PLAIN_MIN: u64 = 10;
const WITHIN_S: u32 = 600;

/// The truth about one log.
pub(crate) struct Truth {
    /// Lines of the log.
    pub(crate) lines: u64,
    pub(crate) offenders: BTreeMap<IpAddr, Offender>,
    /// See [`Generate::victims`].
    pub(crate) victims: Vec<IpAddr>,
    /// Sorted by client.
    cells: Vec<(Cell, u64)>,
    methods: Words,
    paths: Words,
    agents: Words,
    /// Sorted.
    durations_us: Vec<u32>,
}

/// Someone who attacks.
#[derive(Default)]
pub(crate) struct Offender {
    pub(crate) offences: BTreeMap<Offence, u64>,
    /// Numbers of all lines that this address caused, from 1.
    pub(crate) lines: Vec<u64>,
    /// Second and number of those that are no accident.
    guesses: Vec<(u32, u32)>,
}

/// Requests that are alike in all of this are counted together. Words are numbers of [`Words`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cell {
    client: IpAddr,
    method: u16,
    path: u16,
    agent: u16,
}

/// Words of a kind, each with its number.
#[derive(Default)]
struct Words {
    all: Vec<String>,
    numbers: HashMap<String, u16>,
}

impl Words {
    fn number(&mut self, word: &str) -> u16 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        // There are some hundred of them.
        let number = self.all.len() as u16;
        self.all.push(word.to_owned());
        self.numbers.insert(word.to_owned(), number);
        number
    }
}

/// Which requests are asked for; what is absent may be anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Which {
    pub(crate) client: Option<IpNet>,
    pub(crate) method: Option<String>,
    /// Empty: a path with a part that varies.
    pub(crate) path: Option<String>,
    pub(crate) agent: Option<String>,
}

impl Truth {
    pub(crate) fn of(log: &dyn Generate) -> Self {
        let (mut methods, mut paths, mut agents) = (Words::default(), Words::default(), Words::default());
        let (mut cells, mut durations_us) = (Vec::new(), Vec::new());
        let mut offenders: BTreeMap<IpAddr, Offender> = BTreeMap::new();
        let mut lines = 0;
        log.each(&mut |line| {
            lines += 1;
            let Some(client) = line.client else { return };
            let (mut method, mut path, mut agent) = ("", "", "");
            if let Some(request) = line.request {
                (method, path, agent) = (request.method, request.path, request.agent);
                durations_us.push(request.duration_us);
            }
            let (method, path) = (methods.number(method), paths.number(path));
            cells.push(Cell { client, method, path, agent: agents.number(agent) });
            if let Some((offence, times)) = line.offence {
                let offender = offenders.entry(client).or_default();
                *offender.offences.entry(offence).or_default() += u64::from(times);
                // A connection that ends early, or bytes that are no HTTP, may be a mistake.
                if !matches!(offence, Offence::SshPreauth | Offence::NotHttp) {
                    offender.guesses.push((line.second, times));
                }
            }
        });
        // Also the lines before someone's first offence are theirs.
        let mut number = 0;
        log.each(&mut |line| {
            number += 1;
            if let Some(offender) = line.client.and_then(|client| offenders.get_mut(&client)) {
                offender.lines.push(number);
            }
        });
        cells.sort_unstable();
        durations_us.sort_unstable();
        let cells = cells.chunk_by(|a, b| a == b).map(|alike| (alike[0], alike.len() as u64)).collect();
        Self { lines, offenders, victims: log.victims(), cells, methods, paths, agents, durations_us }
    }

    /// How many requests are like that. A word that never came has none.
    pub(crate) fn requests(&self, which: &Which) -> u64 {
        let number = |words: &Words, word: &Option<String>| match word {
            None => Some(None),
            Some(word) => words.numbers.get(word).map(|number| Some(*number)),
        };
        let (Some(method), Some(path), Some(agent)) = (
            number(&self.methods, &which.method),
            number(&self.paths, &which.path),
            number(&self.agents, &which.agent),
        ) else {
            return 0;
        };
        let fits = |wanted: Option<u16>, is: u16| wanted.is_none_or(|wanted| wanted == is);
        let alike = self.of_network(which.client).iter().filter(|(cell, _)| {
            fits(method, cell.method) && fits(path, cell.path) && fits(agent, cell.agent)
        });
        alike.map(|(_, count)| count).sum()
    }

    /// Paths without a part that varies.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.all.iter().map(String::as_str).filter(|path| !path.is_empty())
    }

    /// Agents that introduced themselves.
    pub(crate) fn agents(&self) -> impl Iterator<Item = &str> {
        self.agents.all.iter().map(String::as_str).filter(|agent| !agent.is_empty() && *agent != "-")
    }

    /// Networks (/`four` or /`six`) with their requests, of those with at least so many. With a path, only its requests.
    pub(crate) fn networks(&self, four: u8, six: u8, path: Option<&str>, at_least: u64) -> Vec<(IpNet, u64)> {
        let path = path.map(|path| self.paths.numbers.get(path));
        let network = |client: IpAddr| {
            let length = if client.is_ipv4() { four } else { six };
            IpNet::new_assert(client, length).trunc()
        };
        let neighbours = self.cells.chunk_by(|(a, _), (b, _)| network(a.client) == network(b.client));
        let counted = neighbours.map(|cells| {
            let fitting = cells.iter().filter(|(cell, _)| path.is_none_or(|path| path == Some(&cell.path)));
            (network(cells[0].0.client), fitting.map(|(_, count)| count).sum())
        });
        counted.filter(|(_, count)| *count >= at_least).collect()
    }

    /// Addresses that came.
    pub(crate) fn clients(&self) -> impl Iterator<Item = IpAddr> {
        self.clients_of(None)
    }

    /// Addresses of a network that came.
    pub(crate) fn clients_of(&self, network: Option<IpNet>) -> impl Iterator<Item = IpAddr> {
        let alike = self.of_network(network).chunk_by(|(a, _), (b, _)| a.client == b.client);
        alike.map(|cells| cells[0].0.client)
    }

    /// The duration that this share of the requests does not exceed, in seconds.
    pub(crate) fn duration(&self, share: f64) -> Option<f64> {
        let at = (self.durations_us.len() as f64 * share) as usize;
        let found = self.durations_us.get(at.min(self.durations_us.len().checked_sub(1)?))?;
        Some(f64::from(*found) / 1e6)
    }

    fn of_network(&self, network: Option<IpNet>) -> &[(Cell, u64)] {
        let Some(network) = network else { return &self.cells };
        let (first, last) = (network.network(), network.broadcast());
        let from = self.cells.partition_point(|(cell, _)| cell.client < first);
        let to = self.cells.partition_point(|(cell, _)| cell.client <= last);
        &self.cells[from..to]
    }
}

impl Offender {
    /// Whether anyone would call this an attack; see [`PLAIN_MIN`].
    pub(crate) fn is_plain(&self) -> bool {
        let (mut from, mut sum) = (0, 0);
        self.guesses.iter().any(|&(second, times)| {
            sum += u64::from(times);
            while self.guesses[from].0 + WITHIN_S < second {
                sum -= u64::from(self.guesses[from].1);
                from += 1;
            }
            sum >= PLAIN_MIN
        })
    }

    /// More than this cannot be said of them.
    pub(crate) fn count_max(&self) -> u64 {
        self.offences.values().sum::<u64>().max(self.lines.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generate::{Access, DAY};

    /// Counted once more, from the text: the truth is about the log that is written.
    #[test]
    fn counts_are_those_of_the_text() {
        let log = Access::new(21, 30_000, DAY);
        let truth = Truth::of(&log);
        let (mut clients, mut networks, mut pairs, mut agents) =
            (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
        log.each(&mut |line| {
            let text = std::str::from_utf8(line.text).unwrap();
            let client = text.split(' ').next().unwrap();
            *clients.entry(client.to_owned()).or_insert(0) += 1;
            if let Some((network, _)) = client.rsplit_once('.') {
                *networks.entry(format!("{network}.0/24")).or_insert(0) += 1;
            }
            if text.contains("] \"POST /xmlrpc.php") {
                *pairs.entry(client.to_owned()).or_insert(0) += 1;
            }
            // What a stranger writes has a backslash before each quote.
            let (agent, _duration) = text.rsplit_once("\" \"").unwrap().1.rsplit_once("\" ").unwrap();
            *agents.entry(agent.to_owned()).or_insert(0) += 1;
        });
        assert_eq!(truth.lines, 30_000);
        assert_eq!(truth.clients().count(), clients.len());
        let at = |network: &str| Some(network.parse().unwrap());
        for (client, count) in &clients {
            let client = at(&IpNet::from(client.parse::<IpAddr>().unwrap()).to_string());
            assert_eq!(truth.requests(&Which { client, ..Which::default() }), *count);
        }
        for (network, count) in &networks {
            assert_eq!(truth.requests(&Which { client: at(network), ..Which::default() }), *count);
        }
        let found: HashMap<String, u64> = truth
            .networks(24, 64, None, 1)
            .into_iter()
            .map(|(network, count)| (network.to_string(), count))
            .collect();
        assert!(networks.iter().all(|(network, count)| found[network] == *count));
        assert!(pairs.len() > 3);
        for (client, count) in &pairs {
            let client = Some(client.parse::<IpAddr>().unwrap().into());
            let [method, path] = ["POST", "/xmlrpc.php"].map(|word| Some(word.to_owned()));
            assert_eq!(truth.requests(&Which { client, method, path, agent: None }), *count);
        }
        for (agent, count) in &agents {
            let agent = Some(agent.clone());
            assert_eq!(truth.requests(&Which { agent, ..Which::default() }), *count);
        }
    }

    #[test]
    fn plain_is_who_comes_often_in_a_short_time() {
        let offender = |guesses: &[(u32, u32)]| Offender { guesses: guesses.to_vec(), ..Offender::default() };
        assert!(offender(&[(0, 1); 10]).is_plain());
        assert!(!offender(&[(0, 1); 9]).is_plain());
        assert!(offender(&[(5, 4), (9, 4), (600, 2)]).is_plain());
        assert!(!offender(&[(5, 4), (9, 4), (606, 2)]).is_plain());
    }
}
