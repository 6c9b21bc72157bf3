//! `json-access`: access logs of one JSON object a line, whoever writes them: nginx and Apache with a format string that
//! looks like JSON, Caddy, Traefik, Envoy, load balancers of the clouds, or anything whose names a user gives.
//!
//! See <https://caddyserver.com/docs/logging>,
//! <https://doc.traefik.io/traefik/observability/access-logs/>,
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>,
//! <https://cloud.google.com/logging/docs/reference/v2/rest/v2/LogEntry#HttpRequest>,
//! <https://www.elastic.co/guide/en/ecs/current/ecs-http.html>.
//!
//! # Who may be named
//!
//! Names are compared letter by letter ([`crate::json::names`]), so a header is no address. What a stranger writes stands
//! between quotes that the server escapes. One who writes the log without escapes (`escape=none`) lets strangers add
//! fields of their own. Such a line names nobody: one field is there twice and says two things, or fields disagree that
//! not every line of this log has.

use std::net::IpAddr;
use std::sync::Arc;

use toban_model::event::{Event, Request};
use toban_model::{Text as About, Time};

use super::{Reader, Sample, Way};
use crate::http::{present, status, take_target, take_url};
use crate::json::names::{Field, Names, Slot, Unit, Whose, Word};
use crate::json::{self, Sink, Text, Value};
use crate::plan::take_request_line;
use crate::scan::{Scan, address, address_with_port, decimal_micros, number};
use crate::stamp::{Dates, iso};
use crate::{Error, syslog};

pub(crate) const UNIT: super::Unit = super::Unit {
    id: "json-access",
    about: About::fixed(
        "An access log of JSON objects: nginx, Apache, Caddy, Traefik, Envoy, clouds; json:FIELD=NAME,… for others",
        "JSON のアクセスログです(nginx、Apache、Caddy、Traefik、Envoy、クラウド)。その他は json:項目=名前,… と指定します",
    ),
    nicknames: &[],
    samples: SAMPLES,
    way: Way::Record(|| Box::new(JsonReader::with(Names::known()))),
};

/// Addresses on one line that are looked at; more are no log of requests.
const ADDRESSES_MAX: usize = 8;
/// Objects within objects that known names stand in.
const SCOPES_MAX: usize = 4;
/// Keys whose meaning is remembered from line to line, and how long ones: some are a stranger's.
const KEYS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 64;

/// Reads JSON lines; remembers which keys the last line had.
#[derive(Clone, Debug)]
pub(crate) struct JsonReader {
    names: Arc<Names>,
    /// The keys of earlier lines, in their order: the next line mostly has the same.
    memo: Vec<Memo>,
    /// The objects met so far, by their dotted names; the first is the line itself.
    scopes: Vec<Vec<u8>>,
    /// Text without its escapes, for as long as the event lives.
    text: Vec<u8>,
    /// Names of addresses that every line had.
    always: u64,
    /// Names of addresses under which a host name was seen: the server looks names up, and whoever owns an address
    /// chooses its name, even `192.0.2.7`.
    host_names: u64,
}

#[derive(Clone, Debug)]
struct Memo {
    scope: usize,
    key: Vec<u8>,
    slot: Option<Slot>,
    opens: Option<usize>,
}

/// A value with the rank of the name it stands under.
type Ranked<T> = (u16, Option<T>);

/// What one line has for each field, as far as it was read.
struct Found<'a> {
    words: [Ranked<Value<'a>>; Word::COUNT],
    time: Ranked<(Value<'a>, bool)>,
    status: Ranked<Value<'a>>,
    bytes: Ranked<Value<'a>>,
    duration: Ranked<(Value<'a>, Unit)>,
    addresses: [Option<(Slot, Value<'a>)>; ADDRESSES_MAX],
    /// There were more of them.
    more_addresses: bool,
    logger: Option<Value<'a>>,
}

struct Walk<'r, 'a> {
    reader: &'r mut JsonReader,
    found: &'r mut Found<'a>,
    /// Which scope is open, inside which others.
    open: [usize; SCOPES_MAX],
    depth: usize,
    index: usize,
}

impl<'a> Sink<'a> for Walk<'_, 'a> {
    #[inline]
    fn open(&mut self, key: Text<'a>) -> bool {
        let Some(scope) = self.known(key.raw).1 else { return false };
        if self.depth + 1 >= self.open.len() {
            return false;
        }
        self.depth += 1;
        self.open[self.depth] = scope;
        true
    }

    #[inline]
    fn close(&mut self) {
        self.depth -= 1;
    }

    #[inline]
    fn value(&mut self, key: Text<'a>, value: Value<'a>) {
        if let (Some(slot), _) = self.known(key.raw) {
            self.found.take(slot, value);
        }
    }
}

impl Walk<'_, '_> {
    /// What the next key stands for: a field, an object with fields.
    #[inline]
    fn known(&mut self, key: &[u8]) -> (Option<Slot>, Option<usize>) {
        let (index, scope) = (self.index, self.open[self.depth]);
        self.index += 1;
        match self.reader.memo.get(index) {
            Some(memo) if memo.scope == scope && same(&memo.key, key) => (memo.slot, memo.opens),
            _ => self.reader.look_up(index, scope, key),
        }
    }
}

/// `slice::eq` calls memcmp, which for such lengths takes longer than this.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(a), Some(b), Some(y), Some(z)) if one.len() <= 16 => {
            one.len() == other.len() && a == b && y == z
        }
        (None, None, ..) => one.len() == other.len() && one.iter().zip(other).all(|(a, b)| a == b),
        _ => one == other,
    }
}

impl JsonReader {
    fn with(names: Arc<Names>) -> JsonReader {
        JsonReader {
            names,
            memo: Vec::new(),
            scopes: vec![Vec::new()],
            text: Vec::new(),
            always: u64::MAX,
            host_names: 0,
        }
    }

    /// With the names that a user gave: `time=ts,client=ip,duration_ms=took`.
    pub(crate) fn mapped(mapping: &str) -> Result<JsonReader, Error> {
        Names::mapped(mapping).map(JsonReader::with)
    }

    #[cold]
    fn look_up(&mut self, index: usize, scope: usize, key: &[u8]) -> (Option<Slot>, Option<usize>) {
        let within = &self.scopes[scope];
        let slot = self.names.slot(within, key);
        let opens = self.names.scope(within, key).map(|name| {
            // Only objects that known names stand in, so there are not many.
            self.scopes.iter().position(|known| known == name).unwrap_or_else(|| {
                self.scopes.push(name.to_vec());
                self.scopes.len() - 1
            })
        });
        if index < KEYS_MAX && key.len() <= KEY_BYTES_MAX {
            let unset = Memo { scope, key: Vec::new(), slot: None, opens: None };
            self.memo.resize(self.memo.len().max(index + 1), unset);
            let memo = &mut self.memo[index];
            (memo.scope, memo.slot, memo.opens) = (scope, slot, opens);
            memo.key.clear();
            memo.key.extend_from_slice(key);
        }
        (slot, opens)
    }

    /// The peer and the client, where nothing is in doubt.
    fn who(&mut self, found: &Found<'_>) -> (Option<IpAddr>, Option<IpAddr>) {
        let surely = |whose| matches!(whose, Whose::Peer | Whose::Client);
        let sure = found.addresses().any(|(_, whose, _)| surely(whose));
        let mut seen = [(0, Whose::Someone, None); ADDRESSES_MAX];
        let (mut count, mut keys, mut host_names) = (0, 0, 0);
        for (slot, whose, text) in found.addresses() {
            if whose == Whose::Header && sure {
                continue;
            }
            let named = address(text).or_else(|| address_with_port(text));
            if seen[..count].iter().any(|(bit, _, other)| *bit == slot.bit && *other != named) {
                return (None, None);
            }
            let nobody = present(text).is_none() || text == b"null" || text.starts_with(b"unix:");
            host_names |= if named.is_none() && !nobody { slot.bit } else { 0 };
            keys |= slot.bit;
            seen[count] = (slot.bit, whose, named);
            count += 1;
        }
        if count == 0 || found.more_addresses {
            return (None, None);
        }
        self.host_names |= host_names;
        self.always &= keys;
        let seen = &mut seen[..count];
        for (bit, _, named) in seen.iter_mut() {
            *named = named.filter(|_| self.host_names & *bit == 0);
        }
        let differ = seen.iter().any(|(.., named)| *named != seen[0].2);
        if differ && keys & !self.always != 0 {
            return (None, None);
        }
        // The one address of those whose names say this, if any of the names does.
        let one = |wanted: fn(Whose) -> bool| {
            let mut all =
                seen.iter().filter(|(_, whose, _)| wanted(*whose)).map(|(.., named)| *named).peekable();
            all.peek()?;
            let mut named = all.flatten();
            let first = named.next();
            Some(first.filter(|first| named.all(|other| other == *first)))
        };
        if !sure {
            let someone = one(|_| true).flatten();
            return (someone, someone);
        }
        let (peer, client) = (one(|whose| whose == Whose::Peer), one(|whose| whose == Whose::Client));
        (peer.or(client).flatten(), client.or(peer).flatten())
    }
}

impl Reader for JsonReader {
    fn read<'a>(&'a mut self, line: &'a [u8], dates: &mut Dates) -> Option<Event<'a>> {
        let object = match line {
            [b'{', ..] => line,
            _ => behind_syslog(line, dates)?,
        };
        let mut found = Found::NONE;
        let open = [0; SCOPES_MAX];
        json::read(object, &mut Walk { reader: self, found: &mut found, open, depth: 0, index: 0 })?;
        // Caddy logs a request that failed a second time, for the error.
        if found.logger.is_some_and(|logger| logger.bytes().starts_with(b"http.log.error")) {
            return Some(Event::Silent);
        }
        let is_request = found.has(Word::Request)
            || (found.has(Word::Target) || found.has(Word::Url))
                && (found.has(Word::Method)
                    || found.status.1.is_some_and(|value| status(value.bytes()).is_some()));
        let (stamp, mut end) = found.time.1.filter(|_| is_request)?;
        let mut request = Request::BLANK;
        (request.peer, request.client) = self.who(&found);
        let words = found.words(&mut self.text);
        let word = |word: Word| words[word as usize].resolve(&self.text);
        request.forwarded = word(Word::Forwarded).or_else(|| found.header(request.peer));
        request.protocol = word(Word::Protocol).unwrap_or_default();
        request.agent = word(Word::Agent);
        request.referer = word(Word::Referer);
        request.host = word(Word::Host);
        request.user = word(Word::User);
        request.method = word(Word::Method).unwrap_or_default();
        if let Some(target) = word(Word::Target) {
            take_target(&mut request, target);
        } else if let Some(url) = word(Word::Url) {
            let host = request.host;
            take_url(&mut request, url);
            request.host = host.or(request.host);
        }
        match word(Word::Request) {
            // Some call the target alone the request.
            Some(target @ [b'/', ..]) => take_target(&mut request, target),
            Some(line) => take_request_line(&mut request, line),
            None => {}
        }
        request.status = found.status.1.and_then(|value| status(value.bytes())).flatten();
        request.bytes = found.bytes.1.and_then(|value| number(value.bytes()));
        let (time, bracketed) = moment(stamp.bytes(), dates)?;
        // Apache's own way to write a time, and that is when the request came.
        end &= !bracketed;
        let took = found.duration.1;
        request.duration_us = took.and_then(|(value, unit)| held(value.bytes(), unit, bracketed));
        let held = if end { request.duration_us.unwrap_or(0) } else { 0 };
        request.time = Time::from_micros(time.saturating_sub_unsigned(held));
        Some(Event::Request(request))
    }

    fn fork(&self) -> Box<dyn Reader> {
        Box::new(self.clone())
    }
}

impl<'a> Value<'a> {
    /// As the line has it; of text what stands between the quotes.
    fn bytes(self) -> &'a [u8] {
        match self {
            Value::Text(text) => text.raw,
            Value::Bare(bare) => bare,
        }
    }
}

impl<'a> Found<'a> {
    const NONE: Found<'a> = Found {
        words: [(0, None); Word::COUNT],
        time: (0, None),
        status: (0, None),
        bytes: (0, None),
        duration: (0, None),
        addresses: [None; ADDRESSES_MAX],
        more_addresses: false,
        logger: None,
    };

    #[inline]
    fn take(&mut self, slot: Slot, value: Value<'a>) {
        fn keep<T>(known: &mut Ranked<T>, rank: u16, value: T) {
            // Of two under one name the first counts: what was added by a stranger's text may come behind it.
            if known.1.is_none() || rank < known.0 {
                *known = (rank, Some(value));
            }
        }
        match slot.field {
            Field::Time { end } => keep(&mut self.time, slot.rank, (value, end)),
            Field::Text(word) => keep(&mut self.words[word as usize], slot.rank, value),
            Field::Status => keep(&mut self.status, slot.rank, value),
            Field::Bytes => keep(&mut self.bytes, slot.rank, value),
            Field::Duration(unit) => keep(&mut self.duration, slot.rank, (value, unit)),
            Field::Logger => self.logger = self.logger.or(Some(value)),
            Field::Address(_) => match self.addresses.iter_mut().find(|place| place.is_none()) {
                Some(place) => *place = Some((slot, value)),
                None => self.more_addresses = true,
            },
        }
    }

    fn addresses(&self) -> impl Iterator<Item = (Slot, Whose, &'a [u8])> {
        self.addresses.iter().flatten().filter_map(|(slot, value)| match slot.field {
            Field::Address(whose) => Some((*slot, whose, value.bytes())),
            _ => None,
        })
    }

    /// What Traefik was told of the client, where it is not the client itself.
    fn header(&self, peer: Option<IpAddr>) -> Option<&'a [u8]> {
        let (.., text) = self.addresses().find(|(_, whose, _)| *whose == Whose::Header)?;
        present(text).filter(|text| peer.is_none() || address(text) != peer)
    }

    fn has(&self, word: Word) -> bool {
        self.words[word as usize].1.is_some()
    }

    /// The texts, those with escapes written out into `into`.
    fn words(&self, into: &mut Vec<u8>) -> [Piece<'a>; Word::COUNT] {
        into.clear();
        self.words.map(|(_, value)| match value {
            Some(Value::Text(Text { raw, escaped: true })) => {
                let start = into.len();
                json::unescape(raw, into);
                Piece::Written(start, into.len())
            }
            Some(Value::Text(text)) => Piece::Line(text.raw),
            Some(Value::Bare(b"null")) | None => Piece::Line(b""),
            Some(Value::Bare(bare)) => Piece::Line(bare),
        })
    }
}

/// Where a text stands.
#[derive(Clone, Copy)]
enum Piece<'a> {
    Line(&'a [u8]),
    /// Between these bytes of the text that was written out.
    Written(usize, usize),
}

impl<'a> Piece<'a> {
    #[inline]
    fn resolve(self, written: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Piece::Line(text) => present(text),
            Piece::Written(start, end) => written.get(start..end).and_then(present),
        }
    }
}

/// What nginx sends to a syslog daemon, and others with a cookie that says that JSON follows.
#[cold]
fn behind_syslog<'a>(line: &'a [u8], dates: &mut Dates) -> Option<&'a [u8]> {
    let text = syslog::head(line, dates).map_or(line, |head| head.text).trim_ascii();
    let text = text.strip_prefix(b"@cee:").unwrap_or(text).trim_ascii_start();
    text.starts_with(b"{").then_some(text)
}

/// Microseconds since the epoch, and whether it is written as only Apache does.
fn moment(text: &[u8], dates: &mut Dates) -> Option<(i64, bool)> {
    if let Some(inside) = text.strip_prefix(b"[") {
        return Some((dates.clf(inside.first_chunk::<26>()?)?, true));
    }
    match text {
        [_, _, _, _, b'-', ..] => Some((iso(&mut Scan::new(text), dates)?.as_micros(), false)),
        [_, _, b'/', ..] => Some((dates.clf(text.first_chunk::<26>()?)?, false)),
        _ => {
            let whole = text.iter().take_while(|b| b.is_ascii_digit()).count();
            // Seconds, milliseconds, microseconds, nanoseconds: by how many there were since 1970.
            let micros = match whole {
                9 | 10 => decimal_micros(text)?,
                12 | 13 => decimal_micros(text)? / 1000,
                15 | 16 => number(&text[..whole])?,
                18 | 19 => number(&text[..whole])? / 1000,
                _ => return None,
            };
            Some((i64::try_from(micros).ok()?, false))
        }
    }
}

/// Microseconds of a duration.
fn held(text: &[u8], unit: Unit, of_apache: bool) -> Option<u64> {
    if text.last()?.is_ascii_alphabetic() {
        return spelt_out(text);
    }
    match unit {
        Unit::Seconds => decimal_micros(text),
        Unit::Millis => Some(decimal_micros(text)? / 1000),
        Unit::Micros => Some(decimal_micros(text)? / 1_000_000),
        Unit::Nanos => Some(number(text)? / 1000),
        Unit::Unsure if text.contains(&b'.') => decimal_micros(text),
        // Its `%D`.
        Unit::Unsure if of_apache => number(text),
        Unit::Unsure => number(text)?.checked_mul(1000),
    }
}

/// `1.5ms`, `2m0.25s`, `0.051s`, as Go and Google write it.
fn spelt_out(mut text: &[u8]) -> Option<u64> {
    let mut micros = 0u64;
    while !text.is_empty() {
        let digits = text.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        let (amount, rest) = text.split_at(digits);
        let letters = rest.iter().take_while(|b| !b.is_ascii_digit()).count();
        let (unit, rest) = rest.split_at(letters);
        let millionths = decimal_micros(amount)?;
        micros = micros.checked_add(match unit {
            b"h" => millionths.checked_mul(3600)?,
            b"m" => millionths.checked_mul(60)?,
            b"s" => millionths,
            b"ms" => millionths / 1000,
            b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => millionths / 1_000_000,
            b"ns" => millionths / 1_000_000_000,
            _ => return None,
        })?;
        text = rest;
    }
    Some(micros)
}

const SAMPLES: &[Sample] = &[
    // nginx, with a log_format that looks like JSON.
    Sample {
        format: "",
        line: r#"{"time_iso8601":"2026-11-22T10:23:45+09:00","remote_addr":"192.0.2.10","remote_user":"","request":"GET /index.html?page=2 HTTP/1.1","status":"200","body_bytes_sent":"5120","request_time":"1.250","upstream_response_time":"1.248","http_referer":"https://www.example.jp/","http_user_agent":"Mozilla/5.0 (X11; Linux x86_64) \"x\"","http_x_forwarded_for":"198.51.100.7, 192.0.2.99","host":"www.example.jp"}"#,
        event: r#"time=2026-11-22T01:23:43.75Z peer=192.0.2.10 forwarded="198.51.100.7, 192.0.2.99" method=GET path=/index.html protocol=HTTP/1.1 status=200 bytes=5120 duration_us=1250000 agent="Mozilla/5.0 (X11; Linux x86_64) "x"" referer=https://www.example.jp/ host=www.example.jp"#,
    },
    // The same without escape=json, and with what it does not say left out; TLS spoken to a port that does not.
    Sample {
        format: "",
        line: r#"{ "msec": 1795310624.123, "remote_addr": "2001:db8::7", "remote_user": "-", "request": "\x16\x03\x01", "status": 400, "bytes_sent": 157, "request_time": 0.000, "upstream_time": - }"#,
        event: r#"time=2026-11-22T01:23:44.123Z peer=2001:db8::7 status=400 bytes=157 duration_us=0 raw="\u{16}\u{3}\u{1}""#,
    },
    // Caddy, behind a trusted proxy.
    Sample {
        format: "",
        line: r#"{"level":"info","ts":1795310624.5241024,"logger":"http.log.access.log0","msg":"handled request","request":{"remote_ip":"192.0.2.3","remote_port":"41342","client_ip":"198.51.100.7","proto":"HTTP/2.0","method":"GET","host":"www.example.jp","uri":"/a?b=c","headers":{"X-Forwarded-For":["198.51.100.7"],"User-Agent":["curl/8.5.0"],"Accept":["*/*","text/html"]},"tls":{"resumed":false,"version":772,"cipher_suite":4865,"proto":"h2","server_name":"www.example.jp"}},"bytes_read":0,"user_id":"mary ann","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"],"Content-Type":["text/html"]}}"#,
        event: r#"time=2026-11-22T01:23:44.523173Z peer=192.0.2.3 client=198.51.100.7 forwarded=198.51.100.7 method=GET path=/a protocol=HTTP/2.0 status=200 bytes=10900 duration_us=929 agent=curl/8.5.0 host=www.example.jp user="mary ann""#,
    },
    // Traefik: its ClientHost is the X-Forwarded-For of whoever sent one.
    Sample {
        format: "",
        line: r#"{"ClientAddr":"192.0.2.10:53412","ClientHost":"203.0.113.9","ClientPort":"53412","ClientUsername":"-","DownstreamContentSize":1516,"DownstreamStatus":404,"Duration":1532671,"OriginContentSize":1516,"OriginDuration":1389012,"OriginStatus":404,"Overhead":143659,"RequestAddr":"www.example.jp","RequestContentSize":0,"RequestCount":42,"RequestHost":"www.example.jp","RequestMethod":"GET","RequestPath":"/.env?a=1\u0026b=2","RequestPort":"-","RequestProtocol":"HTTP/1.1","RequestScheme":"https","RetryAttempts":0,"RouterName":"web@docker","ServiceAddr":"172.18.0.3:80","StartLocal":"2026-11-22T10:23:44.123456789+09:00","StartUTC":"2026-11-22T01:23:44.123456789Z","entryPointName":"websecure","level":"info","msg":"","request_User-Agent":"Go-http-client/1.1","time":"2026-11-22T10:23:44+09:00"}"#,
        event: "time=2026-11-22T01:23:44.123456Z peer=192.0.2.10 forwarded=203.0.113.9 method=GET path=/.env protocol=HTTP/1.1 status=404 bytes=1516 duration_us=1532 agent=Go-http-client/1.1 host=www.example.jp",
    },
    // Envoy, as Istio sets it up.
    Sample {
        format: "",
        line: r#"{"authority":"www.example.jp","bytes_received":0,"bytes_sent":178,"downstream_local_address":"10.0.0.5:8443","downstream_remote_address":"192.0.2.10:61234","duration":15000,"method":"POST","path":"/login","protocol":"HTTP/1.1","request_id":"84961386","response_code":0,"response_flags":"DC","start_time":"2026-11-22T01:23:44.168Z","upstream_host":null,"user_agent":"curl/7.80.0","x_forwarded_for":null}"#,
        event: "time=2026-11-22T01:23:44.168Z peer=192.0.2.10 method=POST path=/login protocol=HTTP/1.1 bytes=178 duration_us=15000000 agent=curl/7.80.0 host=www.example.jp",
    },
    // A load balancer of Google's cloud.
    Sample {
        format: "",
        line: r#"{"httpRequest":{"latency":"0.500s","remoteIp":"2001:db8::7","requestMethod":"GET","requestSize":"245","requestUrl":"https://www.example.jp/a?b","responseSize":"5120","serverIp":"10.0.0.2","status":502,"userAgent":"Mozilla/5.0"},"insertId":"1x","jsonPayload":{"statusDetails":"failed_to_connect_to_backend"},"logName":"projects/p/logs/requests","resource":{"labels":{"zone":"global"},"type":"http_load_balancer"},"severity":"WARNING","timestamp":"2026-11-22T01:23:44.668Z"}"#,
        event: "time=2026-11-22T01:23:44.168Z peer=2001:db8::7 method=GET path=/a status=502 bytes=5120 duration_us=500000 agent=Mozilla/5.0 host=www.example.jp",
    },
    // Apache, with a LogFormat that looks like JSON, of a connection that was closed before a request came.
    Sample {
        format: "",
        line: r#"{"time":"[22/Nov/2026:10:23:44 +0900]","remoteIP":"192.0.2.10","host":"www.example.jp","request":"-","status":"408","bytes":-,"duration":20002740,"userAgent":"-","referer":"-"}"#,
        event: "time=2026-11-22T01:23:44Z peer=192.0.2.10 status=408 duration_us=20002740 host=www.example.jp",
    },
    Sample {
        format: "json:time=at,client=from.ip,request=req,status=code,duration_ms=took,user=who",
        line: r#"{"at":1795310624123,"from":{"ip":"192.0.2.10","name":"x"},"req":"CONNECT www.example.com:443 HTTP/1.1","code":504,"took":20002.5,"who":"mary ann","ip":"203.0.113.9","request_time":1}"#,
        event: r#"time=2026-11-22T01:23:44.123Z peer=192.0.2.10 method=CONNECT path=www.example.com:443 protocol=HTTP/1.1 status=504 duration_us=20002500 user="mary ann""#,
    },
    // Caddy's own affairs.
    Sample {
        format: "",
        line: r#"{"level":"info","ts":1795310624.5,"logger":"admin","msg":"admin endpoint started","address":"localhost:2019"}"#,
        event: "none",
    },
];

#[cfg(test)]
mod tests;
