//! The exposition and the write request, byte by byte.

use expect_test::expect;

use super::*;
use crate::fixtures;

fn reading(name: &str, value: f64, unit: &str, kind: ReadingKind) -> Reading {
    Reading { name: name.to_owned().into(), value, unit: unit.to_owned().into(), kind }
}

fn readings() -> Vec<Reading> {
    use ReadingKind::{Counter, Gauge};
    vec![
        reading("cpu.busy", 12_345.0, "%", Counter),
        reading("memory.used", 25.0, "%", Gauge),
        reading("disk.read:sda", 4096.0, "B/s", Counter),
        reading("disk.used:/srv/\"a\\b\"\nc", 50.0, "%", Gauge),
        reading("processes.count", 590.0, "", Gauge),
        reading("recorder.age:sockets", 1500.0, "ms", Gauge),
        reading("network.errors:eth0", f64::NAN, "/s", Counter),
    ]
}

fn known<'a>(readings: &'a [Reading], vitals: &'a [Vital], findings: &'a [Finding]) -> Known<'a> {
    let at = Time::from_secs(fixtures::AT);
    Known { at, host: "web1", version: "1.2.3", readings, vitals, verdict: Verdict::Incident, findings }
}

#[test]
fn each_vital_has_its_type_its_unit_and_its_label() {
    let (readings, findings) = (readings(), [fixtures::finding()]);
    let requests = Vital {
        name: "http.requests".into(),
        value: 21.5,
        unit: "/s".into(),
        usual: None,
        state: toban_model::VitalState::Unknown,
        since: None,
    };
    let vitals = [requests];
    let known = known(&readings, &vitals, &findings);
    expect![[r##"
        # HELP toban_build_info The version of toban that runs here.
        # TYPE toban_build_info gauge
        toban_build_info{version="1.2.3"} 1
        # HELP toban_cpu_busy_seconds CPU: toban's vital cpu.busy.
        # TYPE toban_cpu_busy_seconds counter
        # UNIT toban_cpu_busy_seconds seconds
        toban_cpu_busy_seconds_total 123.45
        # HELP toban_disk_read_bytes disk.read: toban's vital disk.read.
        # TYPE toban_disk_read_bytes counter
        # UNIT toban_disk_read_bytes bytes
        toban_disk_read_bytes_total{device="sda"} 4096
        # HELP toban_disk_used_ratio disk: toban's vital disk.used.
        # TYPE toban_disk_used_ratio gauge
        # UNIT toban_disk_used_ratio ratio
        toban_disk_used_ratio{mount="/srv/\"a\\b\"\nc"} 0.5
        # HELP toban_finding_confidence_ratio How sure a cause is that is found now, from 0 to 1.
        # TYPE toban_finding_confidence_ratio gauge
        toban_finding_confidence_ratio{cause="open-proxy-abuse"} 0.974
        # HELP toban_finding_since_timestamp_seconds Since when it has been so, in seconds since 1970.
        # TYPE toban_finding_since_timestamp_seconds gauge
        toban_finding_since_timestamp_seconds{cause="open-proxy-abuse"} 1608793797
        # HELP toban_findings Causes that are found now.
        # TYPE toban_findings gauge
        toban_findings 1
        # HELP toban_http_requests_per_second requests: toban's vital http.requests.
        # TYPE toban_http_requests_per_second gauge
        # UNIT toban_http_requests_per_second per_second
        toban_http_requests_per_second 21.5
        # HELP toban_memory_used_ratio memory: toban's vital memory.used.
        # TYPE toban_memory_used_ratio gauge
        # UNIT toban_memory_used_ratio ratio
        toban_memory_used_ratio 0.25
        # HELP toban_processes processes: toban's vital processes.
        # TYPE toban_processes gauge
        toban_processes 590
        # HELP toban_recorder_age_seconds recorder.age: toban's vital recorder.age.
        # TYPE toban_recorder_age_seconds gauge
        # UNIT toban_recorder_age_seconds seconds
        toban_recorder_age_seconds{part="sockets"} 1.5
        # HELP toban_series_left_out Series that are more than toban shows.
        # TYPE toban_series_left_out gauge
        toban_series_left_out 0
        # HELP toban_unusual_vitals Vitals above what lasts here.
        # TYPE toban_unusual_vitals gauge
        toban_unusual_vitals 0
        # HELP toban_verdict 1 for the verdict that holds now.
        # TYPE toban_verdict gauge
        toban_verdict{verdict="incident"} 1
        toban_verdict{verdict="ok"} 0
        toban_verdict{verdict="watch"} 0
        # EOF
    "##]]
    .assert_eq(&text(&known, TextFormat::OpenMetrics));
    let plain = text(&known, TextFormat::Prometheus);
    assert!(plain.contains(
        "# TYPE toban_disk_read_bytes_total counter\ntoban_disk_read_bytes_total{device=\"sda\"} 4096\n"
    ));
    assert!(!plain.contains("# EOF") && !plain.contains("# UNIT"));
}

#[test]
fn a_host_with_too_many_series_says_so() {
    let name = |nth: usize| format!("unit.cpu:{nth}{}", "長".repeat(200));
    let readings: Vec<Reading> =
        (0..SERIES_MAX + 100).map(|nth| reading(&name(nth), 1.0, "%", ReadingKind::Counter)).collect();
    let text = text(&known(&readings, &[], &[]), TextFormat::Prometheus);
    let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(series.len(), SERIES_MAX);
    assert!(series.iter().all(|line| line.len() < LABEL_BYTES_MAX + 80));
}

/// A receiver's view of the bytes, read by the rules of protobuf and by nothing of the writer's.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, Vec<u8>)> {
    fn number(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let (value, len) = match key & 7 {
            0 => (number(&mut bytes), 0),
            1 => (0, 8),
            2 => (0, number(&mut bytes) as usize),
            other => panic!("wire type {other}"),
        };
        all.push((key >> 3, value, bytes[..len].to_vec()));
        bytes = &bytes[len..];
    }
    all
}

#[test]
fn a_write_request_is_what_the_protocol_says() {
    let readings = readings();
    let bytes = write_request(&known(&readings, &[], &[]));
    let mut seen = Vec::new();
    for (_, _, series) in fields(&bytes).iter().filter(|(number, ..)| *number == 1) {
        let parts = fields(series);
        let labels: Vec<(String, String)> = parts
            .iter()
            .filter(|(number, ..)| *number == 1)
            .map(|(_, _, label)| {
                let label = fields(label);
                let text = |at: usize| String::from_utf8(label[at].2.clone()).unwrap();
                (text(0), text(1))
            })
            .collect();
        assert!(labels.is_sorted(), "{labels:?}");
        let sample = fields(&parts.last().unwrap().2);
        let value = f64::from_le_bytes(sample[0].2.clone().try_into().unwrap());
        assert_eq!(sample[1].1, fixtures::AT as u64 * 1000);
        seen.push((labels, value));
    }
    let pairs =
        |of: &[(&str, &str)]| of.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
    let disk = pairs(&[
        ("__name__", "toban_disk_read_bytes_total"),
        ("device", "sda"),
        ("instance", "web1"),
        ("job", "toban"),
    ]);
    assert!(seen.contains(&(disk, 4096.0)), "{seen:?}");
    assert!(fields(&bytes).iter().any(|(number, ..)| *number == 3), "metadata");
}
