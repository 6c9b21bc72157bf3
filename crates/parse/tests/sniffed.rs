//! No log is taken for one of another format, whatever else stands in it.

use toban_model::Time;
use toban_parse::formats::{self, Unit};
use toban_parse::{Clock, sniff};

fn clock() -> Clock {
    Clock { now: Time::from_secs(1_795_312_800), zone: jiff::tz::TimeZone::fixed(jiff::tz::offset(9)) }
}

/// The lines of a unit's most usual format.
fn own(unit: &Unit) -> Vec<&'static [u8]> {
    let usual = unit.samples.iter().filter(|s| s.format == unit.samples[0].format && s.event != "none");
    usual.map(|sample| sample.line.as_bytes()).collect()
}

#[test]
fn a_few_lines_of_another_format_change_nothing() {
    for unit in formats::ALL {
        for other in formats::ALL.iter().filter(|other| other.id != unit.id) {
            let mut lines = own(unit);
            lines.extend(own(other).iter().take(2));
            let found = sniff(&lines, &clock()).unwrap();
            // HAProxy writes one log of both kinds, and one of its formats reads both.
            let either = unit.id.starts_with("haproxy") && found.id() == "haproxy-tcp";
            // A file in which several services write is syslog's, and no line of it is lost.
            let mixed = found.id() == "syslog" && found.clone().parse(lines[0]).is_some();
            assert!(
                found.id() == unit.id || either || mixed,
                "{} with lines of {} is {}",
                unit.id,
                other.id,
                found.id()
            );
        }
    }
}

#[test]
fn what_is_no_log_is_none() {
    for lines in [
        &["[mysqld]", "port = 3306", "# a comment", ""][..],
        &["{", "  \"a\": 1", "}"],
        &["date,time,ip", "2026-11-22,01:23:44,192.0.2.10"],
        &[r#"{"level":"info","ts":1795310624.5,"msg":"started"}"#],
        &["2026-11-22 01:23:44 INFO Server started"],
    ] {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        assert_eq!(sniff(&lines, &clock()).map(|format| format.id()), None, "{lines:?}");
    }
}

/// The columns and the names that the first lines gave are known to the reader that was found by them.
#[test]
fn what_was_learnt_is_kept() {
    let header = "#Fields: date time c-ip cs-method cs-uri-stem sc-status time-taken";
    let line = "2026-11-22 01:23:44 192.0.2.10 GET /a 200 15";
    let mut format = sniff(&[header.as_bytes(), line.as_bytes()], &clock()).unwrap();
    assert_eq!(format.id(), "w3c");
    assert!(format.parse(line.as_bytes()).is_some());
    assert!(format.clone().parse(line.as_bytes()).is_some());
    let names = br#"{"ts":1795310624,"remote_host":"crawler.example.com","request":"GET / HTTP/1.1"}"#;
    let address = br#"{"ts":1795310624,"remote_host":"192.0.2.10","request":"GET / HTTP/1.1"}"#;
    let mut format = sniff(&[names, address], &clock()).unwrap();
    assert_eq!(format.request(address).unwrap().peer, None);
}
