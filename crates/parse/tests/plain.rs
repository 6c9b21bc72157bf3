//! What the fast reader reads is what a plain one reads: one that takes `combined` apart byte by byte, with nothing but
//! the standard library and a calendar. Thousands of lines, whole and damaged.

#![expect(clippy::unwrap_used, reason = "a test says no better what went wrong")]

use std::cell::RefCell;
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use toban_model::Time;
use toban_model::event::{Event, Request};
use toban_parse::{Clock, Format};

fn format(name: &str) -> Format {
    let clock = Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::UTC };
    Format::from_name_or_string(name, &clock).unwrap()
}

fn read<'a>(format: &'a mut Format, line: &'a [u8]) -> Option<Request<'a>> {
    let mut other = format.clone();
    let event = other.parse(line).map(|event| match event {
        Event::Request(request) => request,
        other => panic!("{other:?} of {}", line.escape_ascii()),
    });
    reads_over_another(format.clone(), line);
    let request = format.request(line);
    assert_eq!(event, request);
    request
}

/// A request that was filled from the line before is filled from this one as a fresh one is.
fn reads_over_another(mut format: Format, line: &[u8]) {
    thread_local!(static BEFORE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) });
    let before = BEFORE.replace(line.to_vec());
    let mut request = Request::BLANK;
    format.read(&before, &mut request);
    let mut other = format.clone();
    let fits = format.read(line, &mut request);
    let fresh = other.request(line);
    assert_eq!(fits.then_some(request), fresh, "after {}", before.escape_ascii());
    if let (Some(client), Some(request)) = (format.leading_client(line), fresh) {
        assert_eq!(request.client, Some(client));
    }
}

/// The formats that the plain reader knows.
#[derive(Clone, Copy, Debug)]
struct Way {
    name: &'static str,
    /// Between the address and the user: an ident and a space, or these bytes.
    ident: bool,
    /// `%h`, which may be a name.
    names: bool,
    /// Whether there is a duration at the end, in units of so many microseconds.
    unit_us: Option<u64>,
}

const WAYS: &[Way] = &[
    Way { name: "combined", ident: true, names: true, unit_us: None },
    Way { name: "combined-us", ident: true, names: true, unit_us: Some(1) },
    Way { name: "nginx-combined", ident: false, names: false, unit_us: None },
    Way { name: "nginx-combined-s", ident: false, names: false, unit_us: Some(1_000_000) },
];

fn split<'a>(text: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = (0..text.len()).find(|from| text[*from..].starts_with(at))?;
    Some((&text[..found], &text[found + at.len()..]))
}

/// What stands before a quote that an even number of backslashes precedes, and what stands behind it.
fn split_quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut escaped = false;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'"' if !escaped => return Some((&text[..at], &text[at + 1..])),
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

fn there(text: &[u8]) -> Option<&[u8]> {
    (!matches!(text, b"" | b"-")).then_some(text)
}

fn number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 19 && text.iter().all(u8::is_ascii_digit);
    if digits { std::str::from_utf8(text).unwrap().parse().ok() } else { None }
}

/// The outer `None` says that it is neither a number nor absent.
fn optional(text: &[u8], value: Option<u64>) -> Option<Option<u64>> {
    let absent = there(text).is_none() || text[0] == b'-' && number(&text[1..]).is_some();
    if absent { Some(None) } else { value.map(Some) }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    let octets: Vec<Option<u8>> = text
        .split(|b| *b == b'.')
        .map(|octet| {
            number(octet).filter(|_| octet.len() == 1 || octet.first() != Some(&b'0'))?.try_into().ok()
        })
        .collect();
    if let [Some(a), Some(b), Some(c), Some(d)] = octets[..] {
        return Some([a, b, c, d].into());
    }
    // With an interface's name as its scope.
    let unscoped = text.split(|b| *b == b'%').next().filter(|_| text.len() <= 61)?;
    let address: std::net::Ipv6Addr = std::str::from_utf8(unscoped).ok()?.parse().ok()?;
    Some(address.to_ipv4_mapped().map_or(address.into(), IpAddr::from))
}

fn stamp(text: &[u8]) -> Option<Time> {
    let text = std::str::from_utf8(text).ok()?;
    let shape = "dd/aaa/dddd:dd:dd:dd sdddd";
    let fits = |(byte, shape): (u8, u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_alphabetic(),
        b's' => byte == b'+' || byte == b'-',
        _ => byte == shape,
    };
    if text.len() != 26 || !text.bytes().zip(shape.bytes()).all(fits) {
        return None;
    }
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = months.iter().position(|month| *month == &text[3..6])? as i8 + 1;
    let field = |at: std::ops::Range<usize>| text[at].parse::<i16>().unwrap();
    let small = |at: std::ops::Range<usize>| field(at) as i8;
    let minute =
        jiff::civil::DateTime::new(field(7..11), month, small(0..2), small(12..14), small(15..17), 0, 0);
    let minute = minute.ok().filter(|minute| minute.year() > 0)?;
    let (hours, minutes) = (field(22..24), field(24..26));
    if hours > 23 || minutes > 59 || small(18..20) > 60 {
        return None;
    }
    let east = i64::from(hours * 60 + minutes) * if &text[21..22] == "-" { -60 } else { 60 };
    let utc = minute.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_second();
    Some(Time::from_secs(utc - east + i64::from(field(18..20))))
}

/// The plain reader.
fn plain(way: Way, line: &[u8]) -> Option<Request<'_>> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut request = Request::BLANK;
    let (client, rest) = split(line, b" ")?;
    request.peer = address(client);
    request.client = request.peer;
    if request.peer.is_none() && !way.names && client != b"-" && !client.starts_with(b"unix:") {
        return None;
    }
    let (_, rest) = if way.ident { split(rest, b" ")? } else { (&b""[..], rest.strip_prefix(b"- ")?) };
    // The user may hold spaces and brackets, and ends at the first place from which on the rest fits. It holds no quote,
    // so behind one no other place than the first is tried.
    let quote = split_quoted(rest).map_or(rest.len(), |(before, _)| before.len());
    let ends = (0..rest.len()).filter(|end| rest[*end..].starts_with(b" ["));
    ends.enumerate().filter(|(nth, end)| *nth == 0 || *end <= quote).find_map(|(_, end)| {
        let request = Request { user: there(&rest[..end]), ..request };
        behind_user(way, &rest[end + 2..], request)
    })
}

fn behind_user<'a>(way: Way, rest: &'a [u8], mut request: Request<'a>) -> Option<Request<'a>> {
    let (time, rest) = rest.split_at_checked(26)?;
    request.time = stamp(time)?;
    let (asked, rest) = split_quoted(rest.strip_prefix(b"] \"")?)?;
    let (status, rest) = split(rest.strip_prefix(b" ")?, b" ")?;
    let three = if status.len() == 3 { number(status) } else { None };
    request.status = optional(status, three)?.map(|status| status as u16);
    let (bytes, rest) = split(rest, b" ")?;
    request.bytes = optional(bytes, number(bytes))?;
    let (referer, rest) = split_quoted(rest.strip_prefix(b"\"")?)?;
    let (agent, rest) = split_quoted(rest.strip_prefix(b" \"")?)?;
    (request.referer, request.agent) = (there(referer), there(agent));
    match way.unit_us {
        None => rest.is_empty().then_some(())?,
        Some(unit_us) => {
            let text = rest.strip_prefix(b" ")?;
            let value = match split(text, b".") {
                _ if unit_us == 1 => number(text),
                None => number(text).and_then(|whole| whole.checked_mul(unit_us)),
                Some((whole, part)) if part.iter().all(u8::is_ascii_digit) => {
                    let millionths = [part, b"000000"].concat();
                    number(whole)
                        .and_then(|whole| whole.checked_mul(unit_us))
                        .and_then(|whole| whole.checked_add(number(&millionths[..6])?))
                }
                Some(_) => None,
            };
            request.duration_us = optional(text, value)?;
        }
    }
    if !way.ident {
        // nginx stamps the end.
        let start = request.time.as_micros().saturating_sub_unsigned(request.duration_us.unwrap_or(0));
        request.time = Time::from_micros(start);
    }
    let Some(asked) = there(asked) else { return Some(request) };
    request.raw_request = asked;
    let (method, rest) = split(asked, b" ").unwrap_or((asked, b""));
    if !method.iter().all(|b| b.is_ascii_alphanumeric() || b"-_!#$%&'*+.^`|~".contains(b)) {
        return Some(request);
    }
    request.method = method;
    request.path = rest;
    if let Some(space) = rest.iter().rposition(|b| *b == b' ')
        && rest[space + 1..].starts_with(b"HTTP/")
    {
        (request.path, request.protocol) = (&rest[..space], &rest[space + 1..]);
    }
    if method != b"CONNECT" {
        request.path = request.path.split(|b| *b == b'?').next().unwrap();
    }
    Some(request)
}

/// Texts that strangers send and servers write, escaped as servers do.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{0,40}".prop_map(String::into_bytes),
        1 => select(vec![
            &b"\\\""[..], b"\\\\", b"\\\\\\\"", b"\\x16\\x03\\x01", b"\\n", b" [", b"] ", b" - ", b"?", b"\xff\xfe", b"\0", b"\xe5\xbd\x93",
            b"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0",
        ]).prop_map(<[u8]>::to_vec),
    ];
    prop_oneof![
        1 => Just(b"-".to_vec()),
        1 => Just(Vec::new()),
        6 => prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat()),
    ]
}

fn client() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => any::<[u8; 4]>().prop_map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        1 => select(vec!["0.0.0.0", "255.255.255.255", "1.1.1.1", "10.20.30.4", "100.2.3.255"]).prop_map(str::to_owned),
        2 => any::<[u8; 16]>().prop_map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        1 => select(vec!["::1", "2001:db8::7", "::ffff:192.0.2.7", "fe80::1%eth0", "-", "unix:"]).prop_map(str::to_owned),
    ]
}

fn asked() -> impl Strategy<Value = Vec<u8>> {
    let method = select(vec!["GET", "GET", "POST", "HEAD", "CONNECT", "PROPFIND", "G ET", "GE\\x00T", ""]);
    let protocol = select(vec![
        " HTTP/1.1",
        " HTTP/1.1",
        " HTTP/2.0",
        " HTTP/1.0",
        " HTTP/3",
        " HTTP/",
        " HTTP/1. ",
        " HTTP/ .1",
        " HTTPS/1.1",
        "",
    ]);
    let whole = (method, text(), protocol).prop_map(|(method, target, protocol)| {
        [method.as_bytes(), b" /", &target, protocol.as_bytes()].concat()
    });
    prop_oneof![5 => whole, 1 => text()]
}

/// Moments around which calendars turn, and any other.
fn moment() -> impl Strategy<Value = i64> {
    // The year 2027; 29 February 2028; the ends of summer time in Europe; 2000; the end of a day.
    let turns = select(vec![1_798_761_600, 1_835_395_200, 1_792_890_000, 1_774_746_000, 951_868_800, 86_400]);
    prop_oneof![3 => (turns, -90..90i64).prop_map(|(turn, off)| turn + off), 1 => 0..4_000_000_000i64]
}

#[derive(Clone, Debug)]
struct Wanted {
    client: String,
    user: String,
    secs: i64,
    east_minutes: i32,
    asked: Vec<u8>,
    status: u16,
    bytes: Option<u64>,
    referer: Vec<u8>,
    agent: Vec<u8>,
    held: u64,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    let bytes = prop_oneof![1 => Just(None), 4 => (0..6u32, any::<u32>()).prop_map(|(shift, n)| Some(u64::from(n) >> (5 * shift)))];
    let user = prop_oneof![4 => Just("-".to_owned()), 1 => "[a-z]{1,20}", 1 => "[a-z]{1,8} [a-z]{1,8}"];
    let zone = select(vec![0, 540, -210, 60, 120, 825]);
    ((client(), user, moment(), zone, asked()), (100..600u16, bytes, text(), text(), 0..100_000_000u64))
        .prop_map(|((client, user, secs, east_minutes, asked), (status, bytes, referer, agent, held))| {
            Wanted { client, user, secs, east_minutes, asked, status, bytes, referer, agent, held }
        })
}

impl Wanted {
    fn line(&self, way: Way) -> Vec<u8> {
        let offset = jiff::tz::Offset::from_seconds(self.east_minutes * 60).unwrap();
        let date = jiff::Timestamp::from_second(self.secs).unwrap().to_zoned(offset.to_time_zone());
        let date = date.strftime("%d/%b/%Y:%H:%M:%S %z").to_string();
        let bytes = self.bytes.map_or("-".to_owned(), |bytes| bytes.to_string());
        let mut line = format!("{} - {} [{date}] \"", self.client, self.user).into_bytes();
        line.extend(&self.asked);
        line.extend(format!("\" {} {bytes} \"", self.status).into_bytes());
        line.extend([&self.referer[..], b"\" \"", &self.agent, b"\""].concat());
        match way.unit_us {
            None => {}
            Some(1) => line.extend(format!(" {}", self.held).into_bytes()),
            Some(_) => line.extend(format!(" {}.{:03}", self.held / 1000, self.held % 1000).into_bytes()),
        }
        line
    }
}

/// A change that a disk, a rotation or a stranger makes to a line.
fn damage() -> impl Strategy<Value = (prop::sample::Index, Vec<u8>, usize)> {
    let bytes = prop_oneof![
        2 => select(vec![
            &b"\""[..], b"\\", b" ", b"-", b"[", b"]", b" [", b"] \"", b"\" ", b" \"", b"\" \"", b".", b"0", b"256", b"\r", b"\0", b"\xff",
        ]).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    (any::<prop::sample::Index>(), bytes, 0..4usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A line as a server writes it says what was put into it.
    #[test]
    fn whole_lines(wanted in wanted(), way in select(WAYS), ending in select(vec![&b""[..], b"\n", b"\r\n", b"\r"])) {
        let line = [&wanted.line(way)[..], ending].concat();
        let mut format = format(way.name);
        let request = read(&mut format, &line).unwrap();
        let held = way.unit_us.map(|unit_us| if unit_us == 1 { wanted.held } else { wanted.held * 1000 });
        let late = if way.ident { 0 } else { held.unwrap_or(0) as i64 };
        prop_assert_eq!(request.time, Time::from_micros(wanted.secs * 1_000_000 - late));
        prop_assert_eq!(request.peer, address(wanted.client.as_bytes()));
        prop_assert_eq!(request.client, request.peer);
        prop_assert_eq!(request.user, there(wanted.user.as_bytes()));
        prop_assert_eq!(request.raw_request, there(&wanted.asked).unwrap_or_default());
        prop_assert_eq!(request.status, Some(wanted.status));
        prop_assert_eq!(request.bytes, wanted.bytes);
        prop_assert_eq!(request.referer, there(&wanted.referer));
        prop_assert_eq!(request.agent, there(&wanted.agent));
        prop_assert_eq!(request.duration_us, held);
        prop_assert_eq!(Some(request), plain(way, &line));
    }

    /// A damaged line says what is left, or nothing; and what was read before changes nothing.
    #[test]
    fn damaged_lines(
        lines in prop::collection::vec((wanted(), prop::collection::vec(damage(), 0..3), any::<prop::sample::Index>(), 0..4u8), 4),
        way in select(WAYS),
    ) {
        let mut used = format(way.name);
        for (wanted, damages, cut, whole) in lines {
            let mut line = wanted.line(way);
            for (at, bytes, removed) in damages {
                let at = at.index(line.len() + 1);
                let end = (at + removed).min(line.len());
                line.splice(at..end, bytes);
            }
            if whole == 0 {
                line.truncate(cut.index(line.len() + 1));
            }
            let expected = plain(way, &line);
            let mut format = format(way.name);
            prop_assert_eq!(read(&mut format, &line), expected, "{}", line.escape_ascii());
            // Where names were seen, addresses are believed no more.
            if !used.has_names() {
                prop_assert_eq!(read(&mut used, &line), expected, "{}", line.escape_ascii());
            }
        }
    }
}
