//! Logs made from a seed, with the truth about them.
//!
//! The noun is the [`Line`]: the text as a server would have written it, and beside it what really happened. Truth is
//! never read from the text, so a mistake in reading cannot hide itself.

mod access;
mod actors;
mod clients;
mod distinct;
mod random;
mod site;
mod sshd;

use std::net::IpAddr;

use jiff::civil::{Date, date};

pub(crate) use self::access::Access;
pub(crate) use self::distinct::Distinct;
pub(crate) use self::sshd::Sshd;

/// Is part of every file's name: raise it when what a seed makes has changed.
pub(crate) const VERSION: u32 = 1;

/// The day of all logs, in UTC; `--history` looks back from it. It has passed, wherever this runs.
pub(crate) const DAY: Date = date(2025, 3, 14);
/// Its length in seconds.
const DAY_S: u32 = 86_400;

/// One line, and what really happened.
pub(crate) struct Line<'a> {
    /// Without the newline.
    pub(crate) text: &'a [u8],
    /// Who caused it; nobody where the host speaks of itself.
    pub(crate) client: Option<IpAddr>,
    /// When, in seconds of the day.
    pub(crate) second: u32,
    /// What of it is an offence, and how many at once.
    pub(crate) offence: Option<(Offence, u32)>,
    /// What was asked of a web server.
    pub(crate) request: Option<Request<'a>>,
}

/// A request as the client really sent it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Empty if it is not HTTP.
    pub(crate) method: &'static str,
    /// One of the paths without a part that varies, without its query; empty for all others.
    pub(crate) path: &'static str,
    /// As the log shows it.
    pub(crate) agent: &'a str,
    pub(crate) duration_us: u32,
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Offence {
    /// A flood of `POST /xmlrpc.php`.
    Xmlrpc,
    /// Guessing passwords at `/wp-login.php`.
    WpLogin,
    /// Guessing there with many addresses of one network, few times each.
    WpLoginSpread,
    /// `CONNECT`: this host is to be a relay.
    Relay,
    /// Looking for files that are not there: secrets, backups, known holes.
    Probe,
    /// Bytes that are no HTTP.
    NotHttp,
    /// Guessing passwords at sshd.
    Ssh,
    /// Connections to sshd that end before anybody logs in.
    SshPreauth,
}

/// Something that can be made: every line of it, in the order of the file.
pub(crate) trait Generate {
    /// Shows all lines.
    fn each(&self, show: &mut dyn FnMut(&Line<'_>));

    /// Addresses that appear in the text only, where attackers wrote them. They did nothing.
    fn victims(&self) -> Vec<IpAddr>;
}

/// `07:08:09`.
fn clock(second: u32) -> String {
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Each line as text.
    fn lines(of: &dyn Generate) -> Vec<String> {
        let mut lines = Vec::new();
        of.each(&mut |line| lines.push(String::from_utf8(line.text.to_vec()).unwrap()));
        lines
    }

    #[test]
    fn a_seed_is_an_input() {
        let make = |seed| -> [Vec<String>; 3] {
            [
                lines(&Access::new(seed, 3_000, DAY)),
                lines(&Sshd::new(seed, 3_000)),
                lines(&Distinct::new(seed, 3_000)),
            ]
        };
        let (once, again, other) = (make(1), make(1), make(2));
        for at in 0..3 {
            assert_eq!(once[at].len(), 3_000);
            assert!(once[at] == again[at]);
            assert!(once[at] != other[at]);
        }
    }

    /// What a careful reader finds in the text is what really happened. Fields are told apart by the quotes that
    /// are not escaped, as Apache writes them.
    #[test]
    fn the_text_of_an_access_log_says_what_happened() {
        let log = Access::new(5, 40_000, DAY);
        let mut paths = BTreeSet::new();
        log.each(&mut |line| {
            paths.insert(line.request.unwrap().path);
        });
        assert!(paths.len() > 8);
        let mut hostile = BTreeSet::new();
        log.each(&mut |line| {
            let text = String::from_utf8(line.text.to_vec()).unwrap();
            let mut fields = vec![String::new()];
            let mut escaped = false;
            for letter in text.chars() {
                if letter == '"' && !escaped {
                    fields.push(String::new());
                } else {
                    fields.last_mut().unwrap().push(letter);
                }
                escaped = letter == '\\' && !escaped;
            }
            let [head, asked, status, _referer, _, agent, duration] = &fields[..] else { panic!("{text}") };
            let request = line.request.unwrap();
            assert_eq!(head.split(' ').next().unwrap().parse::<IpAddr>().ok(), line.client, "{text}");
            assert_eq!(agent, request.agent, "{text}");
            assert_eq!(duration.trim().parse::<u32>().unwrap(), request.duration_us, "{text}");
            assert!(asked.starts_with(request.method), "{text}");
            let path = asked.split([' ', '?']).nth(1).unwrap_or_default();
            assert_eq!(paths.get(path).copied().unwrap_or_default(), request.path, "{text}");
            assert!(
                status.trim().split(' ').all(|word| word == "-" || word.parse::<u32>().is_ok()),
                "{text}"
            );
            if let Some((offence, times)) = line.offence {
                assert_eq!(times, 1);
                hostile.insert(offence);
            }
        });
        assert_eq!(hostile.len(), 6, "{hostile:?}");
    }

    #[test]
    fn stamps_are_of_the_day_and_follow_each_other() {
        let mut last = 0;
        Access::new(6, 20_000, DAY).each(&mut |line| {
            let text = std::str::from_utf8(line.text).unwrap();
            let (day, time) = text.split_once('[').unwrap().1[..20].split_once(':').unwrap();
            assert_eq!(day, "14/Mar/2025");
            assert_eq!(time, clock(line.second));
            // Apache writes a line when the request ends, with the time at which it began.
            let ended = line.second + line.request.unwrap().duration_us / 1_000_000;
            assert!(ended + 1 >= last, "{text}");
            last = last.max(ended);
        });
        assert!(last > DAY_S - 600);
        let mut last = 0;
        Sshd::new(6, 20_000).each(&mut |line| {
            assert!(line.text.starts_with(format!("Mar 14 {} ", clock(line.second)).as_bytes()));
            assert!(line.second >= last);
            last = line.second;
        });
        assert!(last > DAY_S - 3600);
    }

    /// sshd puts the address after the name, so it is the last one in the line, whatever the name says.
    #[test]
    fn the_text_of_an_sshd_log_says_what_happened() {
        let (mut offences, mut honest) = (BTreeMap::new(), 0);
        Sshd::new(7, 30_000).each(&mut |line| {
            let text = std::str::from_utf8(line.text).unwrap();
            let words = text.split([' ', '=']).map(|word| word.trim_end_matches(':'));
            let last = words.rev().find_map(|word| word.parse::<IpAddr>().ok());
            assert_eq!(last, line.client, "{text}");
            if let Some((offence, times)) = line.offence {
                *offences.entry(offence).or_insert(0) += times;
                assert!(times == 1 || text.contains(&format!("message repeated {times} times")));
            } else if text.contains("Failed password") {
                honest += 1;
            }
        });
        assert!(offences[&Offence::Ssh] > 3_000 && offences[&Offence::SshPreauth] > 500, "{offences:?}");
        assert!(honest > 3, "users who mistype are missing");
    }

    #[test]
    fn who_is_distinct_is_distinct() {
        let (mut clients, mut paths) = (BTreeSet::new(), BTreeSet::new());
        Distinct::new(8, 50_000).each(&mut |line| {
            clients.insert(line.client.unwrap());
            paths.insert(std::str::from_utf8(line.text).unwrap().split(' ').nth(6).unwrap().to_owned());
        });
        assert_eq!((clients.len(), paths.len()), (50_000, 50_000));
        let six = clients.iter().filter(|client| client.is_ipv6()).count();
        assert!((10_000..40_000).contains(&six), "{six}");
    }

    #[test]
    fn victims_are_written_about_and_never_come() {
        for log in [&Access::new(9, 40_000, DAY) as &dyn Generate, &Sshd::new(9, 40_000)] {
            let victims: BTreeSet<IpAddr> = log.victims().into_iter().collect();
            let mut named = BTreeSet::new();
            log.each(&mut |line| {
                assert!(line.client.is_none_or(|client| !victims.contains(&client)));
                let text = String::from_utf8_lossy(line.text);
                named.extend(victims.iter().filter(|victim| text.contains(&victim.to_string())).copied());
            });
            assert_eq!(named, victims);
        }
    }
}
