//! *Mail*: who hands mails in, what becomes of them, and which scripts and requests stand behind them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use memchr::memmem;
use toban_model::event::{Act, Request, ServiceLine};
use toban_model::{MailFlow, Reason, Sender, Time, canonical};

use crate::scan::Recent;

const MINUTE: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_secs(600);
/// Senders, and their minutes: a day each, 1440 of 16 bytes.
const SENDERS_MAX: usize = 64;
const MINUTES_MAX: usize = 1440;
const CLIENTS_MAX: usize = 16;
/// A sender that paused for so long begins anew.
const PAUSE: Duration = Duration::from_secs(120);
/// Tries, requests and looks at the queue that are remembered one by one.
const TRIES_MAX: usize = 8192;
const POSTS_MAX: usize = 8192;
const SCRIPTS_MAX: usize = 256;
const TEXT_BYTES: usize = 256;
/// The queue's growth is measured over this.
const GROWTH: Duration = Duration::from_secs(60);
/// Who posts and does nothing else: this part of what it asks for.
const ALONE: f64 = 0.9;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    User(u32),
    Account(Box<str>),
}

#[derive(Debug, Default)]
struct Handed {
    minutes: BTreeMap<Time, u32>,
    first: Time,
    last: Time,
    clients: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Sent,
    Deferred,
    Bounced,
}

#[derive(Debug)]
struct Try {
    at: Time,
    outcome: Outcome,
    relay: Box<str>,
    code: Box<str>,
    domain: Box<str>,
}

#[derive(Debug)]
struct Post {
    at: Time,
    client: IpAddr,
    path: Box<str>,
}

/// Scripts with their mails, and who posts, how often, and whether nothing else.
type Scripts = Vec<(String, u32)>;
type Posters = Vec<(IpAddr, u32, bool)>;

#[derive(Debug, Default)]
pub(super) struct Mail {
    senders: BTreeMap<Who, Handed>,
    tries: VecDeque<Try>,
    scripts: BTreeMap<Box<str>, BTreeMap<Time, u32>>,
    posts: VecDeque<Post>,
    queue: VecDeque<(Time, f64)>,
    since: Option<Time>,
    newest: Time,
}

fn text(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES)]).into()
}

/// What stands between two words, the first of each.
fn between<'a>(text: &'a [u8], before: &[u8], behind: &[u8]) -> Option<&'a [u8]> {
    let rest = &text[memmem::find(text, before)? + before.len()..];
    Some(&rest[..memmem::find(rest, behind).unwrap_or(rest.len())])
}

impl Mail {
    pub(super) fn said(&mut self, line: &ServiceLine<'_>) {
        let Some(at) = line.time else { return };
        match line.service {
            b"postfix" => self.postfix(at, line),
            b"php-mail" => self.script(at, line.text),
            _ => {}
        }
    }

    fn postfix(&mut self, at: Time, line: &ServiceLine<'_>) {
        // `ID: uid=33 from=<www-data>`, `ID: to=<a@b>, relay=…, dsn=4.4.1, status=deferred (…)`.
        let Some(colon) = memmem::find(line.text, b": ") else { return };
        let (id, rest) = (&line.text[..colon], &line.text[colon + 2..]);
        if !id.iter().all(u8::is_ascii_alphanumeric) {
            return;
        }
        self.since = Some(self.since.map_or(at, |since| since.min(at)));
        if let Some(uid) = rest.strip_prefix(b"uid=") {
            let digits = &uid[..uid.iter().position(|b| !b.is_ascii_digit()).unwrap_or(uid.len())];
            if let Some(uid) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()) {
                self.handed(at, Who::User(uid), None);
            }
        } else if line.act == Act::LoggedIn {
            if let Some(account) = line.account {
                self.handed(at, Who::Account(text(account)), line.client.map(canonical));
            }
        } else if let Some(to) = rest.strip_prefix(b"to=<") {
            self.tried(at, to);
        }
    }

    fn handed(&mut self, at: Time, who: Who, client: Option<IpAddr>) {
        if self.senders.len() >= SENDERS_MAX && !self.senders.contains_key(&who) {
            return;
        }
        let handed = self.senders.entry(who).or_default();
        if at.since(handed.last) > PAUSE {
            handed.first = at;
            handed.clients.clear();
        }
        // A log's past comes in pieces, the newest first.
        if handed.last.since(at) <= PAUSE {
            handed.first = handed.first.min(at);
        }
        handed.last = handed.last.max(at);
        *handed.minutes.entry(at.bucket(MINUTE)).or_default() += 1;
        if handed.minutes.len() > MINUTES_MAX {
            handed.minutes.pop_first();
        }
        if handed.clients.len() < CLIENTS_MAX {
            handed.clients.extend(client);
        }
    }

    fn tried(&mut self, at: Time, to: &[u8]) {
        self.newest = self.newest.max(at);
        if self.newest.since(at) > WINDOW {
            return;
        }
        // What the other server said stands in brackets behind the status, and may look like anything.
        let Some(end) = memmem::find(to, b">, ") else { return };
        let (recipient, fields) = (&to[..end], &to[end + 3..]);
        let Some(status) = between(fields, b"status=", b" ") else { return };
        let outcome = match status {
            b"sent" => Outcome::Sent,
            b"deferred" => Outcome::Deferred,
            b"bounced" | b"expired" => Outcome::Bounced,
            _ => return,
        };
        let domain = memchr::memrchr(b'@', recipient).map_or(&b""[..], |at| &recipient[at + 1..]);
        let relay = between(fields, b"relay=", b",").filter(|relay| *relay != b"none").unwrap_or_default();
        let code = between(fields, b"dsn=", b",").unwrap_or_default();
        self.tries.push_back(Try {
            at,
            outcome,
            relay: text(relay),
            code: text(code),
            domain: text(domain).to_ascii_lowercase().into(),
        });
        if self.tries.len() > TRIES_MAX {
            self.tries.pop_front();
        }
    }

    fn script(&mut self, at: Time, script: &[u8]) {
        let name = text(script);
        if self.scripts.len() >= SCRIPTS_MAX && !self.scripts.contains_key(&name) {
            return;
        }
        let minutes = self.scripts.entry(name).or_default();
        *minutes.entry(at.bucket(MINUTE)).or_default() += 1;
        if minutes.len() > MINUTES_MAX {
            minutes.pop_first();
        }
    }

    #[inline]
    pub(super) fn request(&mut self, request: &Request<'_>) {
        if request.method != b"POST" {
            return;
        }
        let Some(client) = request.peer.or(request.client).map(canonical) else { return };
        self.posts.push_back(Post { at: request.time, client, path: text(request.path) });
        if self.posts.len() > POSTS_MAX {
            self.posts.pop_front();
        }
    }

    pub(super) fn queued(&mut self, at: Time, mails: f64) {
        self.queue.push_back((at, mails));
        while self.queue.front().is_some_and(|(then, _)| at.since(*then) > GROWTH * 2) {
            self.queue.pop_front();
        }
    }

    pub(super) fn close(&self, at: Time, recent: &Recent) -> Option<MailFlow> {
        let queued = self.queue.back().map(|(_, mails)| *mails);
        let within = |then: Time| then <= at && at.since(then) <= WINDOW;
        let tries: Vec<&Try> = self.tries.iter().filter(|one| within(one.at)).collect();
        let senders = self.senders(at);
        if queued.is_none_or(|queued| queued < 1.0) && tries.is_empty() && senders.is_empty() {
            return None;
        }
        let count = |outcome| tries.iter().filter(|one| one.outcome == outcome).count() as u32;
        let failed = || tries.iter().filter(|one| one.outcome != Outcome::Sent);
        let mut reasons: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        failed().for_each(|one| *reasons.entry((&one.relay, &one.code)).or_default() += 1);
        let reason = |((relay, code), count): ((&str, &str), u32)| Reason {
            relay: relay.to_owned(),
            code: code.to_owned(),
            count,
        };
        let mut reasons: Vec<Reason> = reasons.into_iter().map(reason).collect();
        reasons.sort_by(|a, b| {
            b.count.cmp(&a.count).then_with(|| (&a.relay, &a.code).cmp(&(&b.relay, &b.code)))
        });
        reasons.truncate(8);
        let growth = self.queue.front().zip(self.queue.back()).and_then(|((from, before), (to, now))| {
            let seconds = to.since(*from).as_secs_f64();
            (seconds >= GROWTH.as_secs_f64() / 2.0).then(|| (now - before) / seconds * 60.0)
        });
        let (scripts, posters) = self.behind(at, recent, &senders);
        let (sent, deferred, bounced) =
            (count(Outcome::Sent), count(Outcome::Deferred), count(Outcome::Bounced));
        Some(MailFlow {
            queued: queued.map(|mails| mails as u64),
            growth,
            usual: None,
            senders,
            sent,
            deferred,
            bounced,
            domains: failed().map(|one| &one.domain).collect::<BTreeSet<_>>().len() as u32,
            reasons,
            failing_since: failed().map(|one| one.at).min().filter(|_| deferred + bounced > sent),
            scripts,
            posters,
        })
    }

    fn senders(&self, at: Time) -> Vec<Sender> {
        let window = at - WINDOW;
        let tell = |(who, handed): (&Who, &Handed)| {
            let mails: u32 = handed.minutes.range(window.bucket(MINUTE)..=at).map(|(_, mails)| mails).sum();
            if mails == 0 {
                return None;
            }
            // Ten-minute spans before it began, in which mostly nothing was handed in.
            let until = handed.first.bucket(WINDOW);
            let since = self.since.unwrap_or(at).max(at - MINUTE * MINUTES_MAX as u32);
            let spans = (until.since(since).as_secs() / WINDOW.as_secs()) as usize;
            let mut by_span: BTreeMap<Time, f64> = BTreeMap::new();
            for (minute, mails) in handed.minutes.range(..until) {
                *by_span.entry(minute.bucket(WINDOW)).or_default() += f64::from(*mails);
            }
            let mut all: Vec<f64> = by_span.into_values().collect();
            all.resize(spans.max(all.len()), 0.0);
            all.sort_by(f64::total_cmp);
            let (uid, account) = match who {
                Who::User(uid) => (Some(*uid), None),
                Who::Account(account) => (None, Some(account.to_string())),
            };
            Some(Sender {
                uid,
                account,
                mails,
                usual: (spans >= 6).then(|| all[(all.len() - 1) * 9 / 10]),
                first: handed.first,
                clients: handed.clients.iter().copied().collect(),
            })
        };
        let mut all: Vec<Sender> = self.senders.iter().filter_map(tell).collect();
        all.sort_by(|a, b| b.mails.cmp(&a.mails).then_with(|| (a.uid, &a.account).cmp(&(b.uid, &b.account))));
        all
    }

    /// The scripts that send, and who posts to the busiest of them.
    fn behind(&self, at: Time, recent: &Recent, senders: &[Sender]) -> (Scripts, Posters) {
        let window = (at - WINDOW).bucket(MINUTE);
        let sum =
            |minutes: &BTreeMap<Time, u32>| minutes.range(window..=at).map(|(_, times)| times).sum::<u32>();
        let mut scripts: Vec<(String, u32)> =
            self.scripts.iter().map(|(script, minutes)| (script.to_string(), sum(minutes))).collect();
        scripts.retain(|(_, times)| *times > 0);
        scripts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        scripts.truncate(8);
        let (Some((script, _)), Some(sender)) = (scripts.first(), senders.first()) else {
            return (scripts, Vec::new());
        };
        // The address of a script ends its file's name: `/var/www/html` + `/a/b.php`.
        let from = sender.first - MINUTE;
        let mut by_client: BTreeMap<IpAddr, u32> = BTreeMap::new();
        for post in self.posts.iter().filter(|post| post.at >= from && post.at <= at) {
            if post.path.len() > 1 && script.ends_with(&*post.path) {
                *by_client.entry(post.client).or_default() += 1;
            }
        }
        let alone = |client, posts: u32| f64::from(posts) >= ALONE * f64::from(recent.asked_by(client));
        let mut posters: Vec<(IpAddr, u32, bool)> =
            by_client.into_iter().map(|(client, posts)| (client, posts, alone(client, posts))).collect();
        posters.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        posters.truncate(16);
        (scripts, posters)
    }
}
