//! A log that is to be, with the truth about it, and how servers write it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Seconds since the epoch, with what is below a second.
pub(crate) type At = f64;

/// 2026-03-10 00:00:00 UTC: the day that logs are of.
pub(crate) const DAY: At = 1_773_100_800.0;
pub(crate) const DAY_S: f64 = 86_400.0;

/// An attack, and what must be said of it.
#[derive(Debug)]
pub(crate) struct Attack {
    /// Each of these is right.
    pub(crate) causes: &'static [&'static str],
    pub(crate) service: &'static str,
    /// All of its lines count. Else some may not: what a scanner asks for may be there.
    pub(crate) exact: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Request {
        user: String,
        line: String,
        status: u16,
        referer: String,
        agent: String,
    },
    /// A daemon says something through syslog.
    Said {
        tag: &'static str,
        pid: u64,
        text: String,
    },
    /// A whole line, but for its stamp.
    Line(String),
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: At,
    /// Who caused it, if anybody did.
    pub(crate) client: Option<IpAddr>,
    /// For which attack it counts, and how many times.
    pub(crate) counts: Option<(usize, u32)>,
    pub(crate) what: What,
}

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Entry>,
    pub(crate) attacks: Vec<Attack>,
}

pub(crate) const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:137.0) Gecko/20100101 Firefox/137.0";
pub(crate) const SITE: &str = "https://www.example.jp/";

impl Log {
    pub(crate) fn attack(&mut self, causes: &'static [&'static str], service: &'static str) -> usize {
        self.attacks.push(Attack { causes, service, exact: true });
        self.attacks.len() - 1
    }

    fn add(&mut self, at: At, client: Option<IpAddr>, what: What) -> &mut Entry {
        self.entries.push(Entry { at, client, counts: None, what });
        self.entries.last_mut().unwrap()
    }

    /// A request as a browser makes it: `GET /a`.
    pub(crate) fn request(&mut self, at: At, client: IpAddr, line: &str, status: u16) -> &mut Entry {
        self.add(
            at,
            Some(client),
            What::Request {
                user: "-".into(),
                line: format!("{line} HTTP/1.1"),
                status,
                referer: "-".into(),
                agent: BROWSER.into(),
            },
        )
    }

    /// What came in place of a request.
    pub(crate) fn bytes(&mut self, at: At, client: IpAddr, bytes: &str) -> &mut Entry {
        let entry = self.request(at, client, "", 400).by("-");
        if let What::Request { line, .. } = &mut entry.what {
            *line = bytes.into();
        }
        entry
    }

    pub(crate) fn said(
        &mut self,
        at: At,
        client: Option<IpAddr>,
        tag: &'static str,
        pid: u64,
        text: String,
    ) -> &mut Entry {
        self.add(at, client, What::Said { tag, pid, text })
    }

    pub(crate) fn line(&mut self, at: At, client: Option<IpAddr>, text: String) -> &mut Entry {
        self.add(at, client, What::Line(text))
    }
}

impl Entry {
    pub(crate) fn counts(&mut self, attack: usize) -> &mut Entry {
        self.counts_times(attack, 1)
    }

    pub(crate) fn counts_times(&mut self, attack: usize, times: u32) -> &mut Entry {
        self.counts = Some((attack, times));
        self
    }

    pub(crate) fn user(&mut self, name: &str) -> &mut Entry {
        if let What::Request { user, .. } = &mut self.what {
            *user = name.into();
        }
        self
    }

    pub(crate) fn by(&mut self, name: &str) -> &mut Entry {
        if let What::Request { agent, .. } = &mut self.what {
            *agent = name.into();
        }
        self
    }

    pub(crate) fn from(&mut self, page: &str) -> &mut Entry {
        if let What::Request { referer, .. } = &mut self.what {
            *referer = page.into();
        }
        self
    }
}

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Combined,
    Vhost,
    NginxMain,
    Json,
    Iis,
    /// `Mar 10 09:00:00 web1 sshd[7]: `, local time.
    Bsd,
    /// rsyslog's `2026-03-10T00:00:00.123456+00:00 web1 sshd[7]: `.
    Iso,
    ApacheError,
    NginxError,
    Vsftpd,
}

pub(crate) const WEB: [Format; 5] =
    [Format::Combined, Format::Vhost, Format::NginxMain, Format::Json, Format::Iis];

impl Format {
    /// What toban calls the service whose log this is.
    pub(crate) fn service(self) -> &'static str {
        match self {
            Format::Combined | Format::Vhost | Format::ApacheError => "apache",
            Format::NginxMain | Format::NginxError => "nginx",
            _ => "web",
        }
    }

    /// What stands before the first line.
    fn header(self) -> &'static str {
        match self {
            Format::Iis => {
                "#Software: Microsoft Internet Information Services 10.0\n#Version: 1.0\n#Date: 2026-03-10 00:00:00\n\
                 #Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) \
                 cs(Referer) sc-status sc-substatus sc-win32-status time-taken\n"
            }
            _ => "",
        }
    }

    fn is_fine(self) -> bool {
        matches!(self, Format::Iso | Format::ApacheError)
    }

    fn write(self, out: &mut String, entry: &Entry, zone: &TimeZone) {
        let client = entry.client.map_or("-".into(), |client| client.to_string());
        let local = Timestamp::from_microsecond((entry.at * 1e6) as i64).unwrap().to_zoned(zone.clone());
        let clf = local.strftime("%d/%b/%Y:%H:%M:%S %z");
        match (self, &entry.what) {
            (Format::Combined, What::Request { user, line, status, referer, agent }) => {
                writeln!(out, r#"{client} - {user} [{clf}] "{line}" {status} 512 "{referer}" "{agent}""#)
            }
            (Format::Vhost, What::Request { user, line, status, referer, agent }) => writeln!(
                out,
                r#"www.example.jp:443 {client} - {user} [{clf}] "{line}" {status} 512 "{referer}" "{agent}""#
            ),
            (Format::NginxMain, What::Request { user, line, status, referer, agent }) => {
                writeln!(out, r#"{client} - {user} [{clf}] "{line}" {status} 512 "{referer}" "{agent}" "-""#)
            }
            (Format::Json, What::Request { user, line, status, referer, agent }) => {
                let time = local.strftime("%Y-%m-%dT%H:%M:%S%:z");
                let line = line.replace("\\x", "\\u00");
                writeln!(
                    out,
                    r#"{{"time_iso8601":"{time}","remote_addr":"{client}","remote_user":"{user}","request":"{line}","status":"{status}","body_bytes_sent":"512","request_time":"0.000","http_referer":"{referer}","http_user_agent":"{agent}","host":"www.example.jp"}}"#
                )
            }
            (Format::Iis, What::Request { user, line, status, referer, agent }) => {
                let time = local.with_time_zone(TimeZone::UTC);
                let time = time.strftime("%Y-%m-%d %H:%M:%S");
                let mut words = line.split(' ');
                let (method, target) = (words.next().unwrap(), words.next().unwrap_or("-"));
                let (path, query) = target.split_once('?').unwrap_or((target, "-"));
                let agent = agent.replace(' ', "+");
                writeln!(
                    out,
                    "{time} 10.0.0.5 {method} {path} {query} 443 {user} {client} {agent} {referer} {status} 0 0 0"
                )
            }
            (Format::Bsd, What::Said { tag, pid, text }) => {
                writeln!(out, "{} web1 {tag}[{pid}]: {text}", local.strftime("%b %e %H:%M:%S"))
            }
            (Format::Iso, What::Said { tag, pid, text }) => {
                writeln!(out, "{} web1 {tag}[{pid}]: {text}", local.strftime("%Y-%m-%dT%H:%M:%S%.6f%:z"))
            }
            (Format::ApacheError, What::Line(text)) => {
                writeln!(out, "[{}] {text}", local.strftime("%a %b %d %H:%M:%S%.6f %Y"))
            }
            (Format::NginxError, What::Line(text)) => {
                writeln!(out, "{} {text}", local.strftime("%Y/%m/%d %H:%M:%S"))
            }
            (Format::Vsftpd, What::Line(text)) => {
                writeln!(out, "{} {text}", local.strftime("%a %b %e %H:%M:%S %Y"))
            }
            (format, what) => panic!("{format:?} has no {what:?}"),
        }
        .unwrap();
    }
}

/// The numbers of lines, how often each counts, and when.
pub(crate) type Lines = Vec<(u64, u32, At)>;

/// What is true of a log that was written.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// By attack and client: number, times and moment of each line that counts.
    pub(crate) attacks: BTreeMap<usize, BTreeMap<IpAddr, Lines>>,
    /// Everybody, and whether they did anything in an attack.
    pub(crate) clients: BTreeMap<IpAddr, bool>,
}

/// Writes a log in the order of its moments.
pub(crate) fn write(log: &mut Log, format: Format, zone: &TimeZone) -> (String, Truth) {
    log.entries.sort_by(|a, b| a.at.total_cmp(&b.at));
    // Linux counts its processes, and begins anew.
    let mut pids = BTreeMap::new();
    for entry in &mut log.entries {
        if let What::Said { tag: "sshd", pid, .. } = &mut entry.what {
            let next = 300 + pids.len() as u64 * 3 % 32_000;
            *pid = *pids.entry(*pid).or_insert(next);
        }
    }
    let mut out = format.header().to_owned();
    let mut number = out.lines().count() as u64;
    let mut truth = Truth::default();
    for entry in &log.entries {
        number += 1;
        format.write(&mut out, entry, zone);
        if let Some(client) = entry.client {
            *truth.clients.entry(client).or_default() |= entry.counts.is_some();
            if let Some((attack, times)) = entry.counts {
                let at = if format.is_fine() { entry.at } else { entry.at.floor() };
                let lines = truth.attacks.entry(attack).or_default().entry(client).or_default();
                lines.push((number, times, at));
            }
        }
    }
    (out, truth)
}
