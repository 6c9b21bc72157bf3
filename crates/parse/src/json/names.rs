//! What servers call the fields of a request where they log it as JSON, and what a user says that theirs are called.
//!
//! A name is compared letter by letter, with the names of the objects around it: `request.remote_ip`. That is not
//! pedantry. Traefik makes names of a stranger's headers (`request_Remote-Ip`), and Caddy gives each header a name inside
//! `request.headers`: any leniency here would let a header pass for the server's own field.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use foldhash::fast::FixedState;

use crate::Error;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// When, if nothing better is known; `end` if it is of the request's end.
    Time { end: bool },
    /// An address that the server itself saw or judged.
    Address(Whose),
    /// One of the texts.
    Text(Word),
    /// The status.
    Status,
    /// Bytes sent.
    Bytes,
    /// How long it took.
    Duration(Unit),
    /// Caddy's name for the part of it that speaks.
    Logger,
}

/// Whose address it is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The TCP peer, even where a proxy reported another client.
    Peer,
    /// The client: the peer, or whom a trusted proxy reported.
    Client,
    /// A name that people give by hand, and not always to what the server saw: counts where there is no other.
    Someone,
    /// Traefik's `ClientHost`, which is the client, or the `X-Forwarded-For` that it was let in with. Like the last, and
    /// otherwise the header.
    Header,
}

/// The fields that are text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Request,
    Method,
    /// The target as it was asked for.
    Target,
    /// An address in full, which the server put together: `https://www.example.jp/a`.
    Url,
    Protocol,
    Agent,
    Referer,
    Host,
    User,
    Forwarded,
}

impl Word {
    pub(crate) const COUNT: usize = Word::Forwarded as usize + 1;
}

/// What a duration without a unit of its own (`1.5ms`) is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Micros,
    Nanos,
    /// Seconds with a fraction, milliseconds without.
    Unsure,
}

/// A field, and how good a name for it this is: of two on one line the lower rank counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) field: Field,
    pub(crate) rank: u16,
    /// Addresses only: which one, so that two of the same name are known as such.
    pub(crate) bit: u64,
}

/// The names in use. No stranger puts one in, so that where they are put is no secret.
#[derive(Debug)]
pub(crate) struct Names {
    slots: HashMap<Vec<u8>, Slot, FixedState>,
    /// What stands before the dots.
    scopes: HashSet<Vec<u8>, FixedState>,
}

/// The known names of each field, the best first. A name in small letters stands for its other spellings too:
/// `remote_addr` for `remoteAddr`, `RemoteAddr`, `remote-addr` and `remoteaddr`.
///
/// nginx's are those of its variables; Caddy's, Traefik's, Envoy's, Google's, Cloudflare's, the API gateway's and those of
/// the Elastic Common Schema are the ones of their manuals.
const KNOWN: &[(Field, &str)] = &[
    (Field::Time { end: false }, "StartUTC StartLocal start_time EdgeStartTimestamp request_time_epoch"),
    (
        Field::Time { end: true },
        "msec ts time_iso8601 time_local @timestamp timestamp EdgeEndTimestamp end_time time datetime date_time date t",
    ),
    (Field::Address(Whose::Peer), "realip_remote_addr downstream_direct_remote_address ClientAddr"),
    (Field::Address(Whose::Peer), "request.remote_ip request.remote_addr"),
    (
        Field::Address(Whose::Client),
        "remote_addr remote_ip remote_address downstream_remote_address remoteIP ClientIP",
    ),
    (Field::Address(Whose::Client), "request.client_ip httpRequest.remoteIp source.ip client.ip"),
    (
        Field::Address(Whose::Someone),
        "client_ip client client_addr client_address remote remote_host peer peer_ip peer_addr source_ip src_ip c-ip ip ip_address clientIP source.address client.address",
    ),
    (Field::Address(Whose::Header), "ClientHost"),
    (
        Field::Text(Word::Forwarded),
        "http_x_forwarded_for x_forwarded_for xff forwarded_for request_X-Forwarded-For request.headers.X-Forwarded-For",
    ),
    (Field::Text(Word::Request), "request request_line requestline r"),
    (Field::Text(Word::Method), "request_method method http_method verb request.method ClientRequestMethod"),
    (Field::Text(Word::Method), "httpRequest.requestMethod http.request.method cs-method"),
    (Field::Text(Word::Target), "request_uri request.uri uri path request_path url_path ClientRequestURI"),
    (Field::Text(Word::Target), "url.path resource_path cs-uri-stem"),
    (Field::Text(Word::Url), "httpRequest.requestUrl request_url url url.original url.full"),
    (
        Field::Text(Word::Protocol),
        "server_protocol request.proto protocol request_protocol proto http_protocol",
    ),
    (Field::Text(Word::Protocol), "httpRequest.protocol ClientRequestProtocol http.version http_version"),
    (
        Field::Text(Word::Agent),
        "http_user_agent user_agent agent ua request_User-Agent request.headers.User-Agent httpRequest.userAgent user_agent.original ClientRequestUserAgent headers.User-Agent",
    ),
    (
        Field::Text(Word::Referer),
        "http_referer referer http_referrer referrer request_Referer request.headers.Referer httpRequest.referer http.request.referrer ClientRequestReferer headers.Referer",
    ),
    (
        Field::Text(Word::Host),
        "server_name vhost virtual_host http_host request.host request_host RequestAddr authority ClientRequestHost url.domain host domain",
    ),
    (Field::Text(Word::User), "remote_user user_id ClientUsername username user auth_user user.name"),
    (
        Field::Status,
        "status DownstreamStatus response_code status_code http_status response_status code httpRequest.status http.response.status_code EdgeResponseStatus response.status sc-status OriginStatus",
    ),
    (
        Field::Bytes,
        "bytes_sent body_bytes_sent size DownstreamContentSize bytes response_size response_length bytes_out body_bytes httpRequest.responseSize http.response.bytes http.response.body.bytes EdgeResponseBytes sc-bytes content_length",
    ),
    (
        Field::Duration(Unit::Seconds),
        "request_time request_time_s duration_s duration_sec duration_seconds time_taken_s",
    ),
    (
        Field::Duration(Unit::Millis),
        "duration_ms request_time_ms response_time_ms latency_ms elapsed_ms took_ms time_taken_ms request_duration_ms process_time_ms",
    ),
    (
        Field::Duration(Unit::Micros),
        "duration_us request_time_us response_time_us latency_us elapsed_us took_us time_taken_us duration_micros request_duration_us microseconds",
    ),
    (Field::Duration(Unit::Nanos), "Duration duration_ns latency_ns event.duration"),
    (
        Field::Duration(Unit::Unsure),
        "duration latency response_time request_duration elapsed took time_taken process_time httpRequest.latency",
    ),
    (Field::Logger, "logger"),
];

/// What a user may name, behind `json:`.
const MAPPED: &[(&str, Field)] = &[
    ("time", Field::Time { end: false }),
    ("end", Field::Time { end: true }),
    ("peer", Field::Address(Whose::Peer)),
    ("client", Field::Address(Whose::Client)),
    ("forwarded", Field::Text(Word::Forwarded)),
    ("request", Field::Text(Word::Request)),
    ("method", Field::Text(Word::Method)),
    ("path", Field::Text(Word::Target)),
    ("url", Field::Text(Word::Url)),
    ("protocol", Field::Text(Word::Protocol)),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("duration_s", Field::Duration(Unit::Seconds)),
    ("duration_ms", Field::Duration(Unit::Millis)),
    ("duration_us", Field::Duration(Unit::Micros)),
    ("duration_ns", Field::Duration(Unit::Nanos)),
    ("agent", Field::Text(Word::Agent)),
    ("referer", Field::Text(Word::Referer)),
    ("host", Field::Text(Word::Host)),
    ("user", Field::Text(Word::User)),
];

static KNOWN_NAMES: LazyLock<Arc<Names>> = LazyLock::new(|| Arc::new(Names::build(&[])));

impl Names {
    /// The known ones.
    pub(crate) fn known() -> Arc<Names> {
        KNOWN_NAMES.clone()
    }

    /// The known ones, but for the fields that a user named: `time=ts,client=request.ip,duration_ms=took`.
    pub(crate) fn mapped(mapping: &str) -> Result<Arc<Names>, Error> {
        let mut mapped: Vec<(Field, &str)> = Vec::new();
        for pair in mapping.split(',') {
            let wrong =
                |expected: String| Err(Error::Mapping { found: pair.chars().take(40).collect(), expected });
            let (ours, theirs) = pair.split_once('=').unwrap_or((pair, ""));
            let (ours, theirs) = (ours.trim(), theirs.trim());
            let Some((_, field)) = MAPPED.iter().find(|(name, _)| *name == ours) else {
                let known: Vec<&str> = MAPPED.iter().map(|(name, _)| *name).collect();
                return wrong(format!("FIELD=NAME with one of {} as the field", known.join(", ")));
            };
            if theirs.is_empty() {
                return wrong(format!("{ours}=NAME with the name that the log has for it"));
            }
            if mapped.iter().any(|(known, _)| known == field) {
                return wrong("each field once".to_owned());
            }
            mapped.push((*field, theirs));
        }
        Ok(Arc::new(Names::build(&mapped)))
    }

    fn build(mapped: &[(Field, &str)]) -> Names {
        let mut names = Names { slots: HashMap::default(), scopes: HashSet::default() };
        let (mut rank, mut bit) = (0, 1);
        let mut add = |field: Field, name: &str, variants: &[String]| {
            for variant in variants {
                let slot = Slot { field, rank, bit };
                names.slots.entry(variant.as_bytes().to_vec()).or_insert(slot);
            }
            for (dot, _) in name.match_indices('.') {
                names.scopes.insert(name.as_bytes()[..dot].to_vec());
            }
            rank += 1;
            if matches!(field, Field::Address(_)) {
                bit <<= 1;
            }
        };
        for (field, name) in mapped {
            add(*field, name, &[(*name).to_owned()]);
        }
        let told = |field: &Field| mapped.iter().any(|(known, _)| same_field(known, field));
        for (field, known) in KNOWN.iter().filter(|(field, _)| !told(field)) {
            for name in known.split(' ') {
                add(*field, name, &spellings(name));
            }
        }
        names
    }

    /// What a key inside the objects `scope` stands for.
    pub(crate) fn slot(&self, scope: &[u8], key: &[u8]) -> Option<Slot> {
        dotted(scope, key, |name| self.slots.get(name).copied())
    }

    /// The whole name of the object that this key opens, if any known name stands inside it.
    pub(crate) fn scope(&self, scope: &[u8], key: &[u8]) -> Option<&[u8]> {
        dotted(scope, key, |name| self.scopes.get(name).map(Vec::as_slice))
    }
}

fn dotted<T>(scope: &[u8], key: &[u8], then: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
    /// No known or sensible name is longer.
    const NAME_BYTES_MAX: usize = 128;
    if scope.is_empty() {
        return then(key);
    }
    let mut name = [0; NAME_BYTES_MAX];
    let whole = name.get_mut(..scope.len() + 1 + key.len())?;
    whole[..scope.len()].copy_from_slice(scope);
    whole[scope.len()] = b'.';
    whole[scope.len() + 1..].copy_from_slice(key);
    then(whole)
}

/// Whether both say the same of a request.
fn same_field(one: &Field, other: &Field) -> bool {
    match (one, other) {
        // A request line says it all, and so does a URL with the method.
        (Field::Text(Word::Target | Word::Url), Field::Text(Word::Target | Word::Url | Word::Request)) => {
            true
        }
        (Field::Text(one), Field::Text(other)) => one == other,
        _ => std::mem::discriminant(one) == std::mem::discriminant(other),
    }
}

/// A name in small letters as other people spell it; any other name as it is.
fn spellings(name: &str) -> Vec<String> {
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return vec![name.to_owned()];
    }
    let words: Vec<&str> = name.split('_').collect();
    let capitals = |words: &[&str]| -> String {
        words.iter().flat_map(|word| [word[..1].to_ascii_uppercase(), word[1..].to_owned()]).collect()
    };
    vec![
        name.to_owned(),
        words[0].to_owned() + &capitals(&words[1..]),
        capitals(&words),
        words.join("-"),
        words.concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_stands_for_one_thing() {
        let mut seen = HashSet::new();
        for name in KNOWN.iter().flat_map(|(_, names)| names.split(' ')) {
            assert!(seen.insert(name), "{name} twice");
        }
        let bits = KNOWN.iter().filter(|(field, _)| matches!(field, Field::Address(_)));
        // With room for what a user adds.
        assert!(bits.flat_map(|(_, names)| names.split(' ')).count() < 48);
    }

    #[test]
    fn no_header_has_the_name_of_an_address() {
        // What a stranger may choose stands behind these, with a capital letter.
        for (name, slot) in &Names::known().slots {
            let name = String::from_utf8_lossy(name);
            for head in ["request_", "origin_", "downstream_", "request.headers.", "headers."] {
                let header = name
                    .strip_prefix(head)
                    .is_some_and(|rest| rest.starts_with(|c: char| !c.is_ascii_lowercase()));
                assert!(!header || matches!(slot.field, Field::Text(_)), "{name}");
            }
        }
    }

    #[test]
    fn spelt_as_others_do() {
        assert_eq!(
            spellings("remote_addr"),
            ["remote_addr", "remoteAddr", "RemoteAddr", "remote-addr", "remoteaddr"]
        );
        assert_eq!(spellings("StartUTC"), ["StartUTC"]);
        assert_eq!(spellings("request.uri"), ["request.uri"]);
    }
}
